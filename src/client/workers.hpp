// A few threads for the asynchronous forms of short database calls: listings, status, retrieve, cancel.
#pragma once

#include <deque>
#include <vector>

#include "dbos/future.hpp"
#include "platform/seam.hpp"

namespace dbos::client {

/// Starts a thread when a task comes and none is free, up to `limit`. Thread-safe.
class Workers {
   public:
    explicit Workers(std::size_t limit) : limit_(limit) {}
    ~Workers() { close(); }
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    /// Runs `task`, which must not throw. After close(): runs it on the calling thread, where its call finds the database
    /// closed.
    void post(detail::OnceFunction<void()> task);
    /// Ends the threads when the queue is empty, and joins them.
    void close() noexcept;

   private:
    void run();

    const std::size_t limit_;
    seam::Mutex mutex_;
    seam::CondVar changed_;
    std::deque<detail::OnceFunction<void()>> tasks_;
    std::vector<seam::Thread> threads_;
    std::size_t idle_ = 0;
    bool closed_ = false;
};

}  // namespace dbos::client
