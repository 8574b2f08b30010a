// An elastic pool: a job always gets a thread at once, an idle one if there is one (the one that idled last, whose stack is
// warm), else a new one. Threads that idle for 30 s end. At the cap, jobs wait in order.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "platform/seam.hpp"

namespace dbos::runtime {

class ThreadPool {
   public:
    /// Starts one thread, which stays; throws std::system_error if even that cannot be made.
    explicit ThreadPool(std::size_t max_threads, seam::Duration idle_time = std::chrono::seconds(30));
    /// Waits for all jobs, then for all threads.
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    /// Never waits. A job must not throw. If no thread can be made, the job waits for one that becomes free.
    void submit(std::function<void()> job);
    std::size_t threads() const;
    /// Whether threads run short: three quarters of the bound are there.
    bool crowded() const { return threads() >= max_threads_ - max_threads_ / 4; }
    std::size_t waiting_jobs() const;

   private:
    struct Worker {
        std::function<void()> job = {};  // handed over under mutex_
        bool woken = false;              // a job or the end
        seam::CondVar cv = {};           // the worker's own: nobody shares a condition variable
        seam::Thread thread = {};
    };
    void add_worker(std::function<void()> job);
    void work(Worker& self);
    bool next_job(Worker& self, std::function<void()>& job);

    const std::size_t max_threads_;
    const seam::Duration idle_time_;
    mutable seam::Mutex mutex_;
    std::list<std::unique_ptr<Worker>> workers_;
    std::vector<Worker*> idle_;                      // last in, first out
    std::vector<std::unique_ptr<Worker>> finished_;  // ended, to be joined
    std::deque<std::function<void()>> queue_;
    bool stopping_ = false;
};

}  // namespace dbos::runtime
