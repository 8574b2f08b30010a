#include "runtime/thread_pool.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include "platform/planted.hpp"
#include "platform/situations.hpp"

namespace dbos::runtime {

namespace {

constexpr std::size_t kLetGo = 16;  // of so many held jobs at least one begins from look to look

}  // namespace

ThreadPool::ThreadPool(std::size_t max_threads, seam::Duration idle_time, std::function<bool()> held)
    : max_threads_(std::max<std::size_t>(1, max_threads)), idle_time_(idle_time), held_(std::move(held)) {
    std::lock_guard lock(mutex_);
    add_worker();
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() noexcept {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    for (const auto& worker : idle_) {
        worker->woken = true;
        worker->signal.raise();
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
    queue_.push_back(std::move(job));
    pass_on(std::move(lock));
}

void ThreadPool::look_again() noexcept {
    if (seam::planted(seam::Bug::held_for_ever)) return;
    std::unique_lock lock(mutex_);
    const std::size_t taken = std::exchange(taken_, 0);
    if (queue_.empty()) return;
    const std::size_t least = 1 + queue_.size() / kLetGo;
    let_go_ = least - std::min(least, taken);
    pass_on(std::move(lock));
}

std::shared_ptr<ThreadPool::Worker> ThreadPool::start_one() {
    if (queue_.empty() || starting_ >= kStarting) return nullptr;
    if (!stopping_ && held_ && held_()) {
        seam::reach(seam::Situation::jobs_held);
        if (let_go_ == 0) return nullptr;
        --let_go_;
    }
    if (!idle_.empty()) {
        auto worker = std::move(idle_.back());
        idle_.pop_back();
        worker->woken = worker->starting = true;
        ++starting_;
        return worker;
    }
    if (workers_.size() < max_threads_) {
        try {
            add_worker().starting = true;
            ++starting_;
        } catch (const std::system_error&) {
            // No more threads to be had: back-pressure, not the end of the process.
        }
    }
    return nullptr;
}

void ThreadPool::pass_on(std::unique_lock<seam::Mutex> lock) {
    const auto next = start_one();
    const auto finished = std::move(finished_);
    finished_.clear();
    lock.unlock();
    if (next) next->signal.raise();  // without the lock, which it wants first
    for (const auto& worker : finished) worker->thread.join();
}

ThreadPool::Worker& ThreadPool::add_worker() {
    const auto& worker = workers_.emplace_back(std::make_shared<Worker>());
    try {
        worker->thread = seam::spawn("dbos-run", [this, self = worker.get()] { work(*self); });
    } catch (...) {
        workers_.pop_back();
        throw;
    }
    return *worker;
}

bool ThreadPool::next_job(Worker& self, std::function<void()>& job) {
    std::unique_lock lock(mutex_);
    for (;;) {
        if (std::exchange(self.starting, false)) --starting_;
        self.woken = false;
        if (!queue_.empty()) {
            job = std::move(queue_.front());
            queue_.pop_front();
            ++taken_;
            pass_on(std::move(lock));
            return true;
        }
        if (stopping_) return false;  // the destructor joins this thread
        idle_.push_back(self.shared_from_this());
        for (;;) {
            lock.unlock();
            if (self.signal.wait_for(idle_time_)) break;
            lock.lock();
            if (self.woken || workers_.size() == 1) continue;
            const auto mine = std::ranges::find(workers_, &self, &std::shared_ptr<Worker>::get);
            std::erase(idle_, *mine);
            finished_.push_back(std::move(*mine));  // whoever comes next joins this thread
            workers_.erase(mine);
            return false;
        }
        lock.lock();
    }
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
