#include "dbos/app.hpp"

#include <utility>

#include "client/marks.hpp"
#include "runtime/app_impl.hpp"

namespace dbos {

App::App(AppOptions options) : impl_(new Impl(std::move(options))) {}

App::~App() {
    // In a forked child the threads are not there and the connections are the parent's: forget everything.
    if (impl_->forked()) impl_.release();
}

void App::add(detail::Implementation implementation) {
    impl_->checked("implement()").implement(std::move(implementation));
}

void App::declare_schedule(std::string_view workflow_name, ScheduleOptions&& options, Value&& context) {
    impl_->checked("schedule()").declare_schedule(workflow_name, std::move(options), std::move(context));
}

void App::register_queue(const QueueOptions& options) {
    impl_->checked("register_queue()").register_queue(options);
}

std::shared_ptr<runtime::Datasource> App::system_datasource(bool sqlite) {
    return impl_->checked("system_datasource()").transactions().system_datasource(sqlite);
}

void App::register_datasource(const detail::DatasourceBase& datasource) {
    impl_->checked("register_datasource()").transactions().add(datasource.state());
}

void App::launch() { impl_->checked("launch()").launch(); }

void App::wait() {
    auto& executor = impl_->checked("wait()");
    executor.wait_for_end();
    executor.shutdown(Duration(0), Duration(5));
}

std::vector<std::string> App::shutdown(Duration completion_timeout, Duration step_timeout) {
    auto& executor = impl_->checked("shutdown()");
    if (client::thread_marks().body_database != nullptr) {
        throw UsageError(
            "shutdown() was called in a workflow body, which it would wait for: call it on another thread");
    }
    if (executor.launched()) executor.callbacks()->check_may_block("shutdown()");
    return executor.shutdown(completion_timeout, step_timeout);
}

const std::string& App::executor_id() const { return impl_->executor.executor_id(); }

const std::string& App::application_version() const { return impl_->executor.application_version(); }

Client& App::client() { return impl_->checked("client()").client(); }

std::shared_ptr<detail::HandleState> App::start(const detail::CallTarget& target, EnqueueOptions&& options,
                                                Arguments&& arguments) {
    return impl_->checked("start_workflow").start(target, std::move(options), std::move(arguments));
}

void App::start_async(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                      detail::HandleDone done) {
    impl_->checked("start_workflow_async")
        .start_async(target, std::move(options), std::move(arguments), std::move(done));
}

const std::shared_ptr<detail::CallbackQueue>& App::callbacks() const {
    return impl_->checked("start_workflow_async").callbacks();
}

}  // namespace dbos
