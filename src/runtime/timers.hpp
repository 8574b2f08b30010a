// One thread for all timers of an application: step time-outs and the back-off of asynchronous steps.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "platform/seam.hpp"

namespace dbos::runtime {

class Timers {
   public:
    using Id = std::pair<seam::SteadyTime, std::uint64_t>;
    Timers();
    /// Drops what has not fired.
    ~Timers();
    Timers(const Timers&) = delete;
    Timers& operator=(const Timers&) = delete;

    /// `action` runs on the timer thread: quick, no throw.
    Id at(seam::SteadyTime when, std::function<void()> action);
    /// After it has returned, the action does not run: it waits for one that runs now. Not to be called from an action.
    void cancel(const Id& id);

   private:
    void run();
    seam::Mutex mutex_;
    seam::CondVar changed_;
    seam::CondVar finished_;
    std::map<Id, std::function<void()>> timers_;
    Id running_{};
    bool is_running_ = false;
    std::uint64_t next_ = 0;
    bool stopping_ = false;
    seam::Thread thread_;
};

}  // namespace dbos::runtime
