// The scheduler of an App: one thread that fires the ticks of all schedules of the application whose workflows are implemented
// here, and reads them again when the tick says that they have changed (queues-and-schedules.md 4.2; safety 56, 57).
//
// Every process of the application fires every tick; the id of its workflow, made of the schedule's name and the tick, lets one
// of them succeed.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "core/cron.hpp"
#include "platform/seam.hpp"
#include "sysdb/records.hpp"

namespace dbos::runtime {

class Executor;

class Scheduler {
   public:
    explicit Scheduler(Executor& executor);
    ~Scheduler();
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;

    /// Reads the schedules, backfills those that want it, and fires from now on.
    void start();
    /// Nothing is fired any more but what is being fired now.
    void request_stop() noexcept;
    /// The same, and waits for it.
    void stop() noexcept;
    /// A schedule has changed: reads them all again, at once.
    void look_again() noexcept;

    // --- for dbos::testing
    /// Whether nothing is due and nothing has to be read; `next` becomes the next tick, if that is earlier.
    bool at_rest(std::optional<sysdb::Millis>& next) const;
    void time_has_passed() noexcept;

   private:
    /// What is known of one schedule; only the thread touches it.
    struct Timer {
        sysdb::ScheduleRow row = {};
        // None: its definition cannot be used, or no date is left.
        std::optional<core::Cron> cron = {};
        core::TimeZone zone = {};
        std::optional<core::Instant> tick = {};
        sysdb::Millis due = 0;  // of the tick, with its jitter
    };
    enum class Fire : std::uint8_t {
        done,     // or lost for good
        changed,  // the schedule is another one now
        later,    // the database did not answer
    };

    void run();
    /// Waits for the next thing to do. False: the end.
    bool wait();
    void reload();
    void adopt(const sysdb::ScheduleRow& row);
    /// A timer that first ticks after `base`.
    Timer make(const sysdb::ScheduleRow& row, core::Instant base);
    void set_next(Timer& timer, core::Instant base);
    void fire_due();
    /// The tick has been dealt with; on to the next one.
    void advance(Timer& timer);
    /// Starts what has not run of the ticks after `after`, not after now.
    Fire backfill(const Timer& timer, sysdb::Millis after);
    Fire fire(const Timer& timer, const std::vector<core::Instant>& ticks);
    bool stopping() const;
    core::Instant instant() const;
    /// Tells the others what the thread knows.
    void publish();

    Executor& executor_;
    std::map<std::string, Timer> timers_;  // by schedule_id
    seam::SteadyTime next_poll_{};
    bool failing_ = false;

    mutable seam::Mutex mutex_;  // guards what follows
    seam::CondVar changed_;
    bool stopping_ = false;
    bool reload_ = false;
    bool busy_ = false;
    std::optional<sysdb::Millis> next_due_ = {};
    seam::Thread thread_;
};

}  // namespace dbos::runtime
