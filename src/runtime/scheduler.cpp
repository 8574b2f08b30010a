#include "runtime/scheduler.hpp"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "core/durations.hpp"
#include "core/log.hpp"
#include "core/schedule_ids.hpp"
#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "platform/zone_file.hpp"
#include "runtime/executor.hpp"
#include "sysdb/firing.hpp"

namespace dbos::runtime {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

// py: dbos/_scheduler.py
constexpr sysdb::Millis kLongestJitter = 10'000;
/// The host may sleep, and the clock of the database be set, while the thread waits.
constexpr auto kLook = seconds(1);
/// A tick that is waited for is fired however late. Those behind it are fired in their order if they are no older than this, or
/// else not at all: a schedule whose ticks are close together loses none to the jitter of one and to a slow database, and no host
/// that wakes up fires a night's worth (safety 57).
constexpr sysdb::Millis kLatest = 2 * kLongestJitter;
/// After a failure of the database.
constexpr sysdb::Millis kAgain = 1000;
constexpr auto kReadAgain = milliseconds(kAgain);
constexpr std::size_t kMostBackfilled = 1000;
constexpr std::size_t kTicksAtOnce = 100;

sysdb::Millis millis_of(core::Instant instant) { return instant.time_since_epoch().count() * 1000; }

core::Instant instant_of(sysdb::Millis millis) {
    return std::chrono::floor<seconds>(core::Cron::Millis(milliseconds(millis)));
}

/// What makes a timer start anew when it changes.
auto signature(const sysdb::ScheduleRow& row) {
    return std::tie(row.workflow_name, row.workflow_class_name, row.schedule, row.context, row.cron_timezone,
                    row.queue_name);
}

/// Rows hold what their SDKs accept: Python a seventh field, TypeScript and Python 3.4 ranges that wrap around.
constexpr core::CronOptions kTolerant{
    .day_rule = core::DayRule::either, .years = true, .wrapped_ranges = true};

}  // namespace

Scheduler::Scheduler(Executor& executor) : executor_(executor) {}

Scheduler::~Scheduler() { stop(); }

void Scheduler::start() {
    {
        std::lock_guard lock(mutex_);
        if (stopping_) return;
        reload_ = true;
    }
    thread_ = seam::spawn("dbos-schedules", [this] { run(); });
}

void Scheduler::request_stop() noexcept {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
}

void Scheduler::stop() noexcept {
    request_stop();
    if (thread_.joinable()) thread_.join();
}

void Scheduler::look_again() noexcept {
    std::lock_guard lock(mutex_);
    reload_ = true;
    changed_.notify_all();
}

void Scheduler::time_has_passed() noexcept {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
}

bool Scheduler::at_rest(std::optional<sysdb::Millis>& next) const {
    std::lock_guard lock(mutex_);
    if (stopping_) return true;
    if (reload_ || busy_) return false;
    earliest(next, next_due_);
    return !next_due_ || *next_due_ > executor_.durable_now();
}

bool Scheduler::stopping() const {
    std::lock_guard lock(mutex_);
    return stopping_;
}

core::Instant Scheduler::instant() const { return instant_of(executor_.durable_now()); }

void Scheduler::run() {
    while (wait()) {
        bool read = false;
        {
            std::lock_guard lock(mutex_);
            read = std::exchange(reload_, false);
        }
        if (read || seam::steady_now() >= next_poll_) reload();
        fire_due();
        publish();
    }
}

void Scheduler::publish() {
    std::optional<sysdb::Millis> next;
    for (const auto& [id, timer] : timers_) {
        if (timer.tick) earliest(next, timer.due);
    }
    std::lock_guard lock(mutex_);
    next_due_ = next;
    busy_ = false;
}

bool Scheduler::wait() {
    std::unique_lock lock(mutex_);
    for (;;) {
        if (stopping_) return false;
        const auto now = seam::steady_now();
        const auto rest = next_due_ ? *next_due_ - executor_.durable_now() : core::to_millis(Duration(kLook));
        if (reload_ || now >= next_poll_ || rest <= 0) break;
        changed_.wait_until(lock,
                            std::min({next_poll_, now + kLook, now + seam::Duration(milliseconds(rest))}));
    }
    busy_ = true;
    return true;
}

void Scheduler::reload() {
    next_poll_ = seam::steady_now() + core::to_nanos(executor_.options().scheduler_polling_interval);
    std::vector<sysdb::ScheduleRow> rows;
    try {
        rows = executor_.database().list_schedules();
        failing_ = false;
    } catch (const std::exception& error) {  // everything goes on as it is
        if (!failing_ && !stopping()) {
            log_to(executor_.log(), LogLevel::warn, "the schedules cannot be read; trying again",
                   {{"error", error.what()}});
        }
        failing_ = true;
        next_poll_ = seam::steady_now() + kReadAgain;
        return;
    }
    std::erase_if(rows, [&](const sysdb::ScheduleRow& row) {
        const bool own = !row.application_name || *row.application_name == executor_.application_name();
        return !own || row.status != "ACTIVE" || executor_.find_implementation(row.workflow_name) == nullptr;
    });
    std::erase_if(timers_, [&](const auto& timer) {
        return std::ranges::none_of(
            rows, [&](const sysdb::ScheduleRow& row) { return row.schedule_id == timer.first; });
    });
    for (const auto& row : rows) {
        if (stopping()) return;
        adopt(row);
    }
}

void Scheduler::adopt(const sysdb::ScheduleRow& row) {
    const auto known = timers_.find(row.schedule_id);
    if (known == timers_.end()) {
        Timer timer = make(row, instant());
        const auto last = sysdb::fired_instant(row.last_fired_at);
        if (row.automatic_backfill && last && timer.cron && backfill(timer, *last) != Fire::done) {
            next_poll_ = seam::steady_now() + kReadAgain;
            return;  // it is taken up then, as it stands then
        }
        timers_.emplace(row.schedule_id, std::move(timer));
        return;
    }
    Timer& timer = known->second;
    const bool same = signature(timer.row) == signature(row);
    timer.row = row;
    if (same) return;
    // A tick of the old definition that has not been fired yet is one of the new definition, if it has it.
    core::Instant base = instant();
    if (timer.tick && *timer.tick <= base) base = *timer.tick - seconds(1);
    timer = make(row, base);
}

Scheduler::Timer Scheduler::make(const sysdb::ScheduleRow& row, core::Instant base) {
    Timer timer;
    timer.row = row;
    try {
        timer.zone = core::load_time_zone(row.cron_timezone.value_or(""), seam::read_zone_file);
        timer.cron = core::Cron::parse(row.schedule, kTolerant);
    } catch (const std::exception& error) {
        log_to(executor_.log(), LogLevel::error,
               "a schedule cannot be fired here: its definition cannot be used; nothing runs until it is "
               "changed",
               {{"schedule", row.schedule_name}, {"error", error.what()}});
        return timer;
    }
    // Only where another SDK has written it, or the queue was changed: our own calls refuse it.
    if (row.queue_name && executor_.claimer().partitioned(*row.queue_name)) {
        log_to(executor_.log(), LogLevel::warn,
               "what a schedule starts will never run: its queue is partitioned, and a tick has no partition "
               "key; give the schedule another queue",
               {{"schedule", row.schedule_name}, {"queue", *row.queue_name}});
    }
    set_next(timer, base);
    return timer;
}

void Scheduler::set_next(Timer& timer, core::Instant base) {
    timer.tick = timer.cron->next_after(base, timer.zone);
    if (!timer.tick) {
        log_to(executor_.log(), LogLevel::warn, "a schedule has no date left to fire at",
               {{"schedule", timer.row.schedule_name}, {"cron", timer.row.schedule}});
        return;
    }
    const sysdb::Millis at = millis_of(*timer.tick);
    const sysdb::Millis rest = at - executor_.durable_now();
    timer.due = at;
    // So that the processes of an application do not all ask at once. The clock of tests is exact.
    if (rest > 0 && executor_.database().options().virtual_now == nullptr) {
        const auto most = static_cast<std::uint64_t>(std::min(rest / 10, kLongestJitter));
        timer.due += static_cast<sysdb::Millis>(seam::random_u64() % (most + 1));
    }
}

void Scheduler::fire_due() {
    // In the order in which they are due; which is decided once, so that one with many ticks does not hold up the others.
    std::vector<std::pair<sysdb::Millis, std::string>> due;
    const sysdb::Millis now_ms = executor_.durable_now();
    for (const auto& [id, timer] : timers_) {
        if (timer.tick && timer.due <= now_ms) due.emplace_back(timer.due, id);
    }
    std::ranges::sort(due);
    bool changed = false;
    for (const auto& [at, id] : due) {
        if (stopping()) return;
        Timer& timer = timers_.at(id);
        switch (fire(timer, {*timer.tick})) {
            case Fire::done: advance(timer); break;
            case Fire::changed: changed = true; [[fallthrough]];  // the tick may be one of the new definition
            case Fire::later: timer.due = now_ms + kAgain; break;
        }
    }
    if (changed) look_again();
}

void Scheduler::advance(Timer& timer) {
    const core::Instant fired = *timer.tick;
    const sysdb::Millis now_ms = executor_.durable_now();
    if (seam::planted(seam::Bug::next_tick_after_now)) return set_next(timer, instant_of(now_ms));
    set_next(timer, fired);
    if (!timer.tick || millis_of(*timer.tick) >= now_ms - kLatest) return;
    seam::reach(seam::Situation::ticks_passed_over);
    if (!timer.row.automatic_backfill) {
        log_to(executor_.log(), LogLevel::warn,
               "ticks of a schedule were missed and are not made up for; backfill_schedule does it, or "
               "automatic_backfill",
               {{"schedule", timer.row.schedule_name}, {"after", core::instant_text(fired)}});
    } else if (backfill(timer, millis_of(fired)) != Fire::done) {
        timer.tick =
            fired;  // so that the new definition, if there is one, makes up for what is behind it as well
        timer.due = now_ms + kAgain;
        return;
    }
    set_next(timer, instant_of(now_ms));
}

Scheduler::Fire Scheduler::backfill(const Timer& timer, sysdb::Millis after) {
    const sysdb::Millis until = executor_.durable_now() + 1;
    if (after >= until) return Fire::done;
    const auto found = core::newest_ticks(*timer.cron, timer.zone, core::Cron::Millis(milliseconds(after)),
                                          core::Cron::Millis(milliseconds(until)), kMostBackfilled);
    if (found.more) {
        log_to(executor_.log(), LogLevel::warn,
               "a backfill makes up for the newest ticks only; older ones are lost",
               {{"schedule", timer.row.schedule_name},
                {"ticks", std::to_string(kMostBackfilled)},
                {"lost_before", core::instant_text(found.ticks.front())}});
    }
    for (std::size_t n = 0; n < found.ticks.size() && !stopping(); n += kTicksAtOnce) {
        const auto begin = found.ticks.begin() + static_cast<std::ptrdiff_t>(n);
        const auto end = begin + static_cast<std::ptrdiff_t>(std::min(kTicksAtOnce, found.ticks.size() - n));
        seam::reach(seam::Situation::ticks_backfilled);
        const Fire result = fire(timer, {begin, end});
        if (result != Fire::done) return result;
    }
    return Fire::done;
}

Scheduler::Fire Scheduler::fire(const Timer& timer, const std::vector<core::Instant>& ticks) {
    const sysdb::ScheduleRow& row = timer.row;
    try {
        sysdb::Firing firing;
        firing.schedule = row;
        firing.application_name = executor_.application_name();
        for (const core::Instant tick : ticks) {
            auto ids = core::possible_tick_ids(row.schedule_name, tick, timer.zone);
            firing.ticks.push_back({.row = executor_.core().run_of(row, ids.front(), tick), .ids = ids});
        }
        firing.newest_ms = millis_of(ticks.back());
        firing.newest = core::tick_text(core::ScheduleDialect::python, ticks.back(), timer.zone);
        const sysdb::Fired fired = executor_.database().fire(firing);
        if (fired.kind == sysdb::Fired::Kind::changed) return Fire::changed;
        if (fired.kind == sysdb::Fired::Kind::no_version) {
            log_to(executor_.log(), LogLevel::error,
                   "a tick of a schedule is lost: its application has no registered version",
                   {{"schedule", row.schedule_name}, {"tick", firing.newest}});
        }
        failing_ = false;
    } catch (const DatabaseError& error) {
        if (!std::exchange(failing_, true) && !stopping()) {
            log_to(executor_.log(), LogLevel::warn, "a tick of a schedule cannot be fired; trying again",
                   {{"schedule", row.schedule_name}, {"error", error.what()}});
        }
        return Fire::later;
    } catch (const std::exception& error) {
        if (!stopping()) {
            log_to(executor_.log(), LogLevel::error, "a tick of a schedule is lost",
                   {{"schedule", row.schedule_name},
                    {"tick", core::instant_text(ticks.back())},
                    {"error", error.what()}});
        }
    }
    return Fire::done;
}

}  // namespace dbos::runtime
