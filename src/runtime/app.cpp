#include "dbos/app.hpp"

#include <utility>

#include "client/marks.hpp"
#include "runtime/executor.hpp"

namespace dbos {

struct App::Impl {
    explicit Impl(AppOptions options) : executor(std::move(options)) {}
    const int pid = seam::process_id();
    runtime::Executor executor;
};

App::App(AppOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}

App::~App() {
    // In a forked child the threads are not there and the connections are the parent's: forget everything.
    if (seam::process_id() != impl_->pid)
        static_cast<void>(impl_.release());  // NOLINT(bugprone-unused-return-value)
}

void App::add(detail::Implementation implementation) { impl_->executor.implement(std::move(implementation)); }

void App::register_queue(const QueueOptions& options) { impl_->executor.register_queue(options); }

void App::launch() { impl_->executor.launch(); }

void App::wait() {
    impl_->executor.wait_for_end();
    impl_->executor.shutdown(Duration(0), Duration(5));
}

std::vector<std::string> App::shutdown(Duration completion_timeout, Duration step_timeout) {
    if (client::thread_marks().body_database != nullptr) {
        throw UsageError(
            "shutdown() was called in a workflow body, which it would wait for: call it on another thread");
    }
    if (impl_->executor.launched()) impl_->executor.callbacks()->check_may_block("shutdown()");
    return impl_->executor.shutdown(completion_timeout, step_timeout);
}

const std::string& App::executor_id() const { return impl_->executor.executor_id(); }

const std::string& App::application_version() const { return impl_->executor.application_version(); }

Client& App::client() { return impl_->executor.client(); }

std::shared_ptr<detail::HandleState> App::start(const detail::CallTarget& target, EnqueueOptions&& options,
                                                Arguments&& arguments) {
    return impl_->executor.start(target, std::move(options), std::move(arguments));
}

void App::start_async(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                      detail::HandleDone done) {
    impl_->executor.start_async(target, std::move(options), std::move(arguments), std::move(done));
}

const std::shared_ptr<detail::CallbackQueue>& App::callbacks() const { return impl_->executor.callbacks(); }

}  // namespace dbos
