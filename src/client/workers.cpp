#include "client/workers.hpp"

namespace dbos::client {

void Workers::post(detail::OnceFunction<void()> task) {
    {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        if (!closed_) {
            // Counted against the queue: an idle thread that was promised a task is not free for the next.
            if (idle_ <= tasks_.size() && threads_.size() < limit_) {
                threads_.push_back(seam::spawn("dbos-client", [this] { run(); }));
            }
            tasks_.push_back(std::move(task));
            changed_.notify_one();
            return;
        }
    }
    task();
}

void Workers::run() {
    std::unique_lock<seam::Mutex> lock(mutex_);
    for (;;) {
        ++idle_;
        changed_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
        --idle_;
        if (tasks_.empty()) return;
        {
            detail::OnceFunction<void()> task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            task();
        }
        lock.lock();
    }
}

void Workers::close() noexcept {
    std::vector<seam::Thread> ended;
    {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        closed_ = true;
        changed_.notify_all();
        ended = std::move(threads_);
        threads_.clear();
    }
    for (seam::Thread& thread : ended) thread.join();
}

}  // namespace dbos::client
