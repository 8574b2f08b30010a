#include "runtime/ticker.hpp"

#include <algorithm>
#include <utility>

#include "core/log.hpp"
#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "runtime/executor.hpp"

namespace dbos::runtime {

using std::chrono::seconds;

namespace {
constexpr auto kTick = seconds(1);
constexpr auto kNeighbours = std::chrono::milliseconds(200);
constexpr auto kOrphans = seconds(30);
constexpr auto kNames = seconds(5);
constexpr auto kLatest = seconds(60);

/// The rows of a report that a verdict names.
std::vector<sysdb::LeaseRow> rows_of(const sysdb::TickReport& report,
                                     const std::vector<core::ObservedLease>& found) {
    std::vector<sysdb::LeaseRow> rows;
    for (const auto& lease : found) {
        for (const auto& row : report.leases) {
            if (row.executor_id == lease.executor_id && row.incarnation == lease.incarnation)
                rows.push_back(row);
        }
    }
    return rows;
}
}  // namespace

Maintenance::Maintenance() : thread_(seam::spawn("dbos-upkeep", [this] { run(); })) {}

Maintenance::~Maintenance() { stop(); }

void Maintenance::stop() noexcept {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        jobs_.clear();
        changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
}

void Maintenance::add(const std::string& name, std::function<void()> job) {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    for (const auto& [waiting, ignored] : jobs_) {
        if (waiting == name) return;
    }
    jobs_.emplace_back(name, std::move(job));
    changed_.notify_all();
}

void Maintenance::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
        if (stopping_) return;
        const auto job = std::move(jobs_.front().second);
        jobs_.pop_front();
        lock.unlock();
        job();
        lock.lock();
    }
}

Ticker::Ticker(Executor& executor) : executor_(executor) {}

Ticker::~Ticker() { stop(); }

void Ticker::start() {
    const sysdb::LeaseRow& mine = executor_.lease().row();
    core::LapseOptions options;
    options.executor_id = mine.executor_id;
    options.incarnation = mine.incarnation;
    options.host_key = mine.host_key.value_or("");
    options.lease = executor_.lease_duration();
    options.check_processes = executor_.options().check_pid;
    judge_ = std::make_unique<core::LapseJudge>(std::move(options));
    next_orphans_ = seam::steady_now() + kOrphans;
    next_names_ = seam::steady_now() + kTick;
    maintenance_.add("versions", [this] {
        executor_.guarded("looking for versions without an executor", [&] { warn_of_stranded_versions(); });
    });
    thread_ = seam::spawn("dbos-tick", [this] { run(); });
}

void Ticker::stop() noexcept {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
    maintenance_.stop();
}

void Ticker::poke() noexcept {
    std::lock_guard lock(mutex_);
    poked_ = true;
    changed_.notify_all();
}

void Ticker::run() {
    auto next = seam::steady_now();
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            const auto until = std::min(next, seam::steady_now() + kNeighbours);
            const bool poked = changed_.wait_until(lock, until, [&] { return stopping_ || poked_; });
            if (stopping_) return;
            poked_ = false;
            lock.unlock();
            if (!poked && seam::steady_now() < next && !somebody_ended()) continue;
        }
        const auto begun = seam::steady_now();
        tick();
        // A lapse is judged over several ticks, so a short lease needs a faster one. Queues may ask for a faster one too, but
        // that must not become a load: it rests ten times as long as it took.
        const auto slowest = std::min<seam::Duration>(kTick, executor_.lease_duration() / 5);
        const auto wanted =
            std::max(executor_.claimer().polling_interval(), (seam::steady_now() - begun) * 11);
        next = begun + std::min(slowest, wanted);
        if (seam::steady_now() >= next_orphans_) {
            next_orphans_ = seam::steady_now() + kOrphans;
            executor_.claimer().check_orphans();
        }
        if (seam::steady_now() >= next_names_) {
            next_names_ = seam::steady_now() + kNames;
            maintenance_.add("names", [this] {
                executor_.guarded("looking for workflows that nobody implements",
                                  [&] { warn_of_unknown_names(); });
            });
        }
    }
}

bool Ticker::somebody_ended() {
    std::lock_guard lock(judge_mutex_);
    return judge_->somebody_ended();
}

void Ticker::tick() {
    sysdb::TickRequest request{.now_ms = executor_.durable_now(),
                               .application_name = executor_.application_name(),
                               .application_version = executor_.application_version(),
                               .is_latest_version = executor_.claimer().is_latest(),
                               .workflow_names = executor_.workflow_names(),
                               .running = executor_.running(),
                               .queues = executor_.claimer().queues(),
                               .limits = executor_.claimer().limits()};
    const auto sent = seam::boot_now();
    try {
        const auto report = executor_.database().tick(request);
        const auto received = seam::boot_now();
        executor_.database().clock().observe(report.database_now_ms, sent, received);
        failing_ = false;
        act(report, sent, received);
    } catch (const std::exception& error) {
        {
            std::lock_guard lock(judge_mutex_);
            judge_->tick_failed();
        }
        bool stopping = false;
        {
            std::lock_guard lock(mutex_);
            stopping = stopping_;
        }
        if (!failing_ && !stopping)
            log_to(executor_.log(), LogLevel::warn, "the tick failed; trying again every second",
                   {{"error", error.what()}});
        failing_ = true;
    }
}

void Ticker::act(const sysdb::TickReport& report, seam::Duration sent, seam::Duration received) {
    for (const auto& lost : report.lost) executor_.run_lost(lost.fence, lost.status);
    executor_.claimer().set_latest(!report.latest_version ||
                                   *report.latest_version == executor_.application_version());
    for (const auto& queue : report.queues_with_work) {
        if (!seam::planted(seam::Bug::no_poll_floor)) executor_.claimer().has_work(queue);
    }
    if (queues_stale_.exchange(false) || report.queues_fingerprint != queues_fingerprint_) {
        maintenance_.add("queues", [this] {
            if (!executor_.guarded("reading the queues", [&] { executor_.reload_queues(); }))
                queues_stale_.store(true);
        });
        queues_fingerprint_ = report.queues_fingerprint;
    }
    if (report.schedules_fingerprint != schedules_fingerprint_) {
        executor_.schedules_changed();
        schedules_fingerprint_ = report.schedules_fingerprint;
    }
    if (report.due_delays) {
        seam::reach(seam::Situation::delay_due);
        maintenance_.add("delays", [this] {
            executor_.guarded("moving due workflows to their queues", [&] {
                for (const auto& queue : executor_.database().enqueue_due(executor_.durable_now(),
                                                                          executor_.application_name())) {
                    executor_.claimer().has_work(queue);
                }
            });
        });
    }
    if (report.passed_deadlines && !seam::planted(seam::Bug::overdue_unseen)) {
        seam::reach(seam::Situation::deadline_passed);
        maintenance_.add("deadlines", [this] {
            executor_.guarded("cancelling workflows past their deadline", [&] {
                executor_.database().cancel_overdue(executor_.durable_now(), executor_.application_name());
                poke();  // the next tick tells which of our runs were among them
            });
        });
    }
    warn_of_lost_latest(report);
    judge(report, sent, received);
}

void Ticker::warn_of_lost_latest(const sysdb::TickReport& report) {
    const bool lost =
        report.latest_version && *report.latest_version != executor_.application_version() &&
        std::none_of(report.leases.begin(), report.leases.end(), [&](const sysdb::LeaseRow& row) {
            return row.version == *report.latest_version && row.expires_at > report.database_now_ms;
        });
    if (!lost) {
        next_latest_ = {};
        return;
    }
    if (seam::steady_now() < next_latest_) return;
    next_latest_ = seam::steady_now() + kLatest;
    log_to(executor_.log(), LogLevel::warn,
           "the latest version of the application has no living executor: workflows without a version, and "
           "the runs of schedules, wait for one; start one, or make this version the latest: "
           "client.set_latest_application_version(version), or AppOptions::make_latest_version",
           {{"version", executor_.application_version()}, {"latest", *report.latest_version}});
}

void Ticker::judge(const sysdb::TickReport& report, seam::Duration sent, seam::Duration received) {
    std::vector<core::ObservedLease> observed;
    observed.reserve(report.leases.size());
    for (const auto& row : report.leases) {
        observed.push_back({.executor_id = row.executor_id,
                            .incarnation = row.incarnation,
                            .counter = row.counter,
                            .expires_at_ms = row.expires_at,
                            .lease_ms = row.lease_ms,
                            .host_key = row.host_key,
                            .pid = row.pid,
                            .process_start = static_cast<std::uint64_t>(row.process_start)});
    }
    core::LapseJudge::Verdict verdict;
    {
        std::lock_guard lock(judge_mutex_);
        if (executor_.lease().last_renewal().count() > 0) judge_->renewed(executor_.lease().last_renewal());
        verdict = judge_->tick(observed, report.database_now_ms, sent, received);
    }
    auto dead = rows_of(report, verdict.dead);
    for (const auto& row : dead) {
        // Each launch finds the executors of all earlier ones: news is only what is handed back.
        log_to(executor_.log(), LogLevel::debug, "an executor is dead; its workflows go back to their queues",
               {{"executor_id", row.executor_id}});
    }
    if (dead.size() == 1) {
        maintenance_.add("sweep " + dead.front().executor_id, [this, row = dead.front()] { sweep(row); });
    } else if (!dead.empty()) {
        // A launch finds all that have died in a month: few of them left anything.
        const std::string name = "sweep from " + dead.front().executor_id;
        maintenance_.add(name, [this, rows = std::move(dead)] {
            executor_.guarded("handing back the workflows of dead executors", [&] { sweep_named(rows); });
        });
    }
    if (verdict.again.empty()) return;
    maintenance_.add("again", [this, rows = rows_of(report, verdict.again)] {
        executor_.guarded("looking again at dead executors", [&] {
            sweep_named(rows);
            executor_.database().prune_leases(executor_.application_name());
        });
    });
}

void Ticker::sweep_named(const std::vector<sysdb::LeaseRow>& dead) {
    auto named =
        executor_.database().pending_executors(executor_.application_name(), executor_.application_version());
    std::sort(named.begin(), named.end());
    for (const auto& row : dead) {
        if (std::binary_search(named.begin(), named.end(), row.executor_id)) sweep(row);
    }
}

void Ticker::sweep(const sysdb::LeaseRow& dead) {
    executor_.guarded("handing back the workflows of a dead executor", [&] {
        const auto result =
            executor_.database().sweep(dead, executor_.application_name(), executor_.application_version());
        if (result.judged_wrong) {
            std::lock_guard lock(judge_mutex_);
            judge_->acquit(dead.executor_id, dead.incarnation);
            return;
        }
        if (result.handed_back > 0) {
            log_to(executor_.log(), LogLevel::info, "workflows of a dead executor were handed back",
                   {{"executor_id", dead.executor_id}, {"count", std::to_string(result.handed_back)}});
        }
        for (const auto& queue : result.queues) executor_.claimer().has_work(queue);
        if (result.more) maintenance_.add("sweep " + dead.executor_id, [this, dead] { sweep(dead); });
    });
}

void Ticker::warn_of_unknown_names() {
    for (const auto& [name, queue] : executor_.database().unknown_names(
             executor_.claimer().queues(), executor_.workflow_names(), executor_.application_name())) {
        if (!warned_names_.insert(name).second) continue;
        log_to(executor_.log(), LogLevel::warn,
               "a queued workflow stays ENQUEUED: no body is implemented here under its name; implement it, "
               "or start a process that does",
               {{"workflow", name}, {"queue", queue}});
    }
}

void Ticker::warn_of_stranded_versions() {
    const auto leases = executor_.database().list_leases(executor_.application_name());
    for (const auto& [version, count] : executor_.database().active_versions(executor_.application_name())) {
        if (version == executor_.application_version()) continue;
        const bool alive = std::any_of(leases.begin(), leases.end(), [&](const sysdb::LeaseRow& row) {
            return row.version == version && row.expires_at > executor_.database().clock().real_now_ms();
        });
        if (alive) continue;
        log_to(executor_.log(), LogLevel::warn,
               "workflows wait for an application version that no executor of this library runs",
               {{"version", version}, {"workflows", std::to_string(count)}});
    }
}

}  // namespace dbos::runtime
