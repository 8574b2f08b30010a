// The one callback thread of a client or application: continuations of Futures run on it, one after another.
#pragma once

#include <deque>
#include <memory>

#include "dbos/future.hpp"
#include "dbos/log.hpp"
#include "dbos/options.hpp"
#include "platform/seam.hpp"

namespace dbos::client {

/// Starts its thread at the first task. After close() tasks still run: on the thread if it has not ended, else the last one
/// starts it again for as long as there are tasks, so that a continuation is never lost. Thread-safe. Held by shared_ptr,
/// because it must live until its thread has ended.
class Callbacks final : public detail::CallbackQueue, public std::enable_shared_from_this<Callbacks> {
   public:
    Callbacks(LogSink log, CallbackExecutor executor);
    ~Callbacks() override;

    void post(detail::OnceFunction<void()> task) noexcept override;
    bool on_this_thread() const noexcept override;
    void unobserved(std::exception_ptr error) noexcept override;
    void check_may_block(const char* operation) const override;

    /// Runs what is queued and joins the thread. Called on the thread itself: it ends by itself after this task.
    void close() noexcept;

   private:
    void run(const std::shared_ptr<Callbacks>& self) noexcept;
    void run_one(detail::OnceFunction<void()>& task) noexcept;
    void hand_to_executor(detail::OnceFunction<void()> task) noexcept;

    const LogSink log_;
    const CallbackExecutor executor_;
    mutable seam::Mutex mutex_;
    seam::CondVar changed_;
    std::deque<detail::OnceFunction<void()>> tasks_;
    seam::Thread thread_;
    bool running_ = false;  // the thread is in its loop
    bool closed_ = false;
};

}  // namespace dbos::client
