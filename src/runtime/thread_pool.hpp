// An elastic pool: every job gets a thread, an idle one if there is one (the one that idled last, whose stack is warm), else a new
// one. Threads that idle for 30 s end. At the cap, jobs wait in order.
//
// Threads are woken one by the other, a thread the next before it does its own job: a claim of two hundred workflows makes not
// two hundred threads runnable at once, which would leave nothing of the processors to whom they wait for (the database, on the
// same host, took ten times as long for a claim), and a thread that is done takes the next job without a switch.
//
// While jobs are held, they wait for threads that are done with theirs: what a further thread would begin has to wait anyway.
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
    static constexpr seam::Duration kIdleTime = std::chrono::seconds(30);

    /// Starts one thread, which stays; throws std::system_error if even that cannot be made. `held` tells whether jobs are held;
    /// it is called under a lock, and must not throw.
    explicit ThreadPool(std::size_t max_threads, seam::Duration idle_time = kIdleTime,
                        std::function<bool()> held = {});
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    /// Never waits. A job must not throw. If no thread can be made, the job waits for one that becomes free.
    void submit(std::function<void()> job);
    /// To be called whenever jobs may no longer be held. Where they still are, and hardly a thread was done since the last look,
    /// a few begin all the same: threads that are never done keep no job for ever.
    void look_again() noexcept;
    /// Waits for all jobs, held or not, then for all threads.
    void stop() noexcept;
    std::size_t threads() const;
    /// Whether threads run short: three quarters of the bound are there.
    bool crowded() const { return threads() >= max_threads_ - max_threads_ / 4; }
    std::size_t waiting_jobs() const;

   private:
    struct Worker : std::enable_shared_from_this<Worker> {
        bool woken = false;     // for a job or the end: `signal` is raised, or will be
        bool starting = false;  // for a job that it has not taken yet
        seam::Signal signal = {};
        seam::Thread thread = {};
    };
    static constexpr std::size_t kStarting = 2;
    // With the lock held:
    Worker& add_worker();
    /// Sees to it that somebody takes the next job, unless threads enough are on their way: the one to be woken, or null.
    std::shared_ptr<Worker> start_one();
    /// Releases it, wakes whom start_one() has chosen, and joins threads that have ended.
    void pass_on(std::unique_lock<seam::Mutex> lock);
    void work(Worker& self);
    bool next_job(Worker& self, std::function<void()>& job);

    const std::size_t max_threads_;
    const seam::Duration idle_time_;
    const std::function<bool()> held_;
    mutable seam::Mutex mutex_;
    std::list<std::shared_ptr<Worker>> workers_;
    std::vector<std::shared_ptr<Worker>> idle_;      // last in, first out
    std::vector<std::shared_ptr<Worker>> finished_;  // ended, to be joined
    std::deque<std::function<void()>> queue_;
    std::size_t starting_ = 0;
    std::size_t let_go_ = 0;  // how many jobs begin although jobs are held
    std::size_t taken_ = 0;   // jobs since the last look
    bool stopping_ = false;
};

}  // namespace dbos::runtime
