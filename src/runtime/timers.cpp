#include "runtime/timers.hpp"

namespace dbos::runtime {

Timers::Timers() : thread_(seam::spawn("dbos-timers", [this] { run(); })) {}

Timers::~Timers() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

Timers::Id Timers::at(seam::SteadyTime when, std::function<void()> action) {
    std::lock_guard lock(mutex_);
    const Id id{when, next_++};
    const bool first = timers_.empty() || id < timers_.begin()->first;
    timers_.emplace(id, std::move(action));
    if (first) changed_.notify_one();
    return id;
}

void Timers::cancel(const Id& id) {
    std::unique_lock lock(mutex_);
    timers_.erase(id);
    finished_.wait(lock, [&] { return !is_running_ || running_ != id; });
}

void Timers::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        if (timers_.empty()) {
            changed_.wait(lock, [&] { return stopping_ || !timers_.empty(); });
            continue;
        }
        const auto first = timers_.begin();
        // A copy: the wait looks at its end again afterwards, when the timer may be cancelled and gone.
        if (const auto when = first->first.first; when > seam::steady_now()) {
            changed_.wait_until(lock, when);
            continue;
        }
        auto action = std::move(first->second);
        running_ = first->first;
        is_running_ = true;
        timers_.erase(first);
        lock.unlock();
        action();
        lock.lock();
        is_running_ = false;
        finished_.notify_all();
    }
}

}  // namespace dbos::runtime
