#include "runtime/thread_pool.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

namespace dbos::runtime {

ThreadPool::ThreadPool(std::size_t max_threads, seam::Duration idle_time)
    : max_threads_(std::max<std::size_t>(1, max_threads)), idle_time_(idle_time) {
    std::lock_guard lock(mutex_);
    add_worker({});
}

ThreadPool::~ThreadPool() {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    for (Worker* worker : idle_) {
        worker->woken = true;
        worker->cv.notify_one();
    }
    idle_.clear();
    while (!workers_.empty()) {
        Worker* worker = workers_.front().get();
        seam::Thread thread = std::move(worker->thread);
        lock.unlock();
        thread.join();
        lock.lock();
        std::erase_if(workers_, [&](const auto& w) { return w.get() == worker; });
    }
    auto finished = std::move(finished_);
    lock.unlock();
    for (auto& worker : finished) worker->thread.join();
}

void ThreadPool::submit(std::function<void()> job) {
    std::unique_lock lock(mutex_);
    if (!idle_.empty()) {
        Worker* worker = idle_.back();
        idle_.pop_back();
        worker->job = std::move(job);
        worker->woken = true;
        worker->cv.notify_one();
        return;
    }
    if (workers_.size() < max_threads_) {
        try {
            add_worker(job);
            auto finished = std::move(finished_);
            finished_.clear();
            lock.unlock();
            for (auto& ended : finished) ended->thread.join();
            return;
        } catch (const std::
                     system_error&) {  // no more threads to be had: back-pressure, not the end of the process
        }
    }
    queue_.push_back(std::move(job));
}

void ThreadPool::add_worker(std::function<void()> job) {
    auto& worker = *workers_.emplace_back(std::make_unique<Worker>());
    worker.woken = static_cast<bool>(job);
    worker.job = std::move(job);
    try {
        worker.thread = seam::spawn("dbos-run", [this, &worker] { work(worker); });
    } catch (...) {
        workers_.pop_back();
        throw;
    }
}

bool ThreadPool::next_job(Worker& self, std::function<void()>& job) {
    std::unique_lock lock(mutex_);
    if (!self.woken) {
        if (!queue_.empty()) {
            job = std::move(queue_.front());
            queue_.pop_front();
            return true;
        }
        if (!stopping_) {
            idle_.push_back(&self);
            while (!self.woken) {
                self.cv.wait_until(lock, seam::steady_now() + idle_time_, [&] { return self.woken; });
                if (!self.woken && workers_.size() > 1) {
                    std::erase(idle_, &self);
                    break;
                }
            }
        }
    }
    if (self.woken) {
        self.woken = false;
        job = std::exchange(self.job, {});
        if (job) return true;
    }
    // The end: the next submit (or the destructor) joins this thread.
    auto mine =
        std::find_if(workers_.begin(), workers_.end(), [&](const auto& w) { return w.get() == &self; });
    if (!stopping_) {
        finished_.push_back(std::move(*mine));
        workers_.erase(mine);
    }
    return false;
}

void ThreadPool::work(Worker& self) {
    std::function<void()> job;
    while (next_job(self, job)) {
        job();
        job = {};
    }
}

std::size_t ThreadPool::threads() const {
    std::lock_guard lock(mutex_);
    return workers_.size();
}

std::size_t ThreadPool::waiting_jobs() const {
    std::lock_guard lock(mutex_);
    return queue_.size();
}

}  // namespace dbos::runtime
