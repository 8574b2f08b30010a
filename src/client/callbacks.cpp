#include "client/callbacks.hpp"

#include <string>
#include <system_error>

#include "client/marks.hpp"
#include "core/log.hpp"

namespace dbos::client {

Callbacks::Callbacks(LogSink log, CallbackExecutor executor)
    : log_(std::move(log)), executor_(std::move(executor)) {}

Callbacks::~Callbacks() {
    // The thread holds a reference while it runs, so it has ended, or this is its own last act.
    if (!thread_.joinable()) return;
    if (on_this_thread()) {
        thread_.detach();
    } else {
        thread_.join();
    }
}

bool Callbacks::on_this_thread() const noexcept { return thread_marks().callbacks == this; }

void Callbacks::check_may_block(const char* operation) const {
    if (on_this_thread()) {
        throw UsageError(
            std::string(operation) +
            " would block the callback thread, on which every other callback waits; use its _async twin "
            "and then(), or return the Future from the callback");
    }
    refuse_in_transaction(operation);
    if (thread_marks().body_database != nullptr) {
        throw UsageError(std::string(operation) +
                         " was called in the body of a workflow, where waits must be durable; use the ctx. "
                         "twin, or call it in "
                         "a step");
    }
}

void Callbacks::post(detail::OnceFunction<void()> task) noexcept {
    if (executor_) return hand_to_executor(std::move(task));
    try {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        tasks_.push_back(std::move(task));
        if (running_) {
            changed_.notify_one();
            return;
        }
        if (thread_.joinable()) {
            // It left its loop after close() and ends; on that thread itself only a detach is possible.
            if (on_this_thread()) {
                thread_.detach();
            } else {
                thread_.join();
            }
        }
        thread_ = seam::spawn("dbos-callback", [self = shared_from_this()] { self->run(self); });
        running_ = true;  // the thread waits for the lock
        if (closed_) thread_.detach();
        return;
    } catch (const std::system_error&) {
        // No thread can be made now: the next task, or close(), brings this one along.
    } catch (...) {
        return log_to(log_, LogLevel::error, "a callback could not be queued");
    }
    log_to(log_, LogLevel::error, "the callback thread could not be started; callbacks wait");
}

void Callbacks::run(const std::shared_ptr<Callbacks>& self) noexcept {
    static_cast<void>(self);
    thread_marks().callbacks = this;
    std::unique_lock<seam::Mutex> lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
        if (tasks_.empty()) break;
        {
            detail::OnceFunction<void()> task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            run_one(task);
        }
        lock.lock();
    }
    running_ = false;
}

void Callbacks::run_one(detail::OnceFunction<void()>& task) noexcept {
    try {
        task();
    } catch (...) {
        // Continuations deliver their errors; what comes here is a coroutine or a destructor that threw.
        unobserved(std::current_exception());
    }
    task = {};
}

void Callbacks::hand_to_executor(detail::OnceFunction<void()> task) noexcept {
    auto shared = std::make_shared<detail::OnceFunction<void()>>(std::move(task));
    auto self = shared_from_this();
    try {
        executor_([shared, self] { self->run_one(*shared); });
    } catch (...) {
        unobserved(std::current_exception());
    }
}

void Callbacks::unobserved(std::exception_ptr error) noexcept {
    std::string text = "an exception that is no std::exception";
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& known) {
        text = known.what();
    } catch (...) {
    }
    log_to(log_, LogLevel::error,
           "an error of a Future was observed by nobody: add then(…, on_error) or get()", {{"error", text}});
}

void Callbacks::close() noexcept {
    seam::Thread ended;
    std::deque<detail::OnceFunction<void()>> left;
    {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        if (closed_) return;
        closed_ = true;
        changed_.notify_all();
        if (!running_ && !thread_.joinable()) {
            left.swap(tasks_);  // of a thread that could not be started
        } else if (!thread_.joinable()) {
            return;
        } else if (on_this_thread()) {
            thread_.detach();
        } else {
            ended = std::move(thread_);
        }
    }
    if (ended.joinable()) ended.join();
    for (auto& task : left) run_one(task);
}

}  // namespace dbos::client
