// The checks of the waiter hub: what is due is asked for, and what is known goes to whoever waits.
#include <algorithm>

#include "client/hub.hpp"
#include "core/log.hpp"
#include "dbos/error.hpp"
#include "dbos/types.hpp"
#include "platform/situations.hpp"
#include "sysdb/database.hpp"

namespace dbos::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kWaitsPerCheck = 2500;  // ten thousand waits: four statements a second
/// From so many waits on, a check takes along what is due within the next half of its interval: waits that were registered one
/// after another would otherwise be asked for one after another for ever.
constexpr std::size_t kMany = 16;
constexpr seam::Duration kEarliest = milliseconds(500);
/// What a wake-up that names nobody may cost: ten thousand waits are looked at once a second for it, as without it.
constexpr seam::Duration kPauseForEach = std::chrono::microseconds(100);
constexpr std::size_t kRowsPerRead = 100;
constexpr std::int64_t kBytesPerRead = std::int64_t{8} << 20;
constexpr seam::Duration kMaxBackOff = seconds(10);
constexpr seam::Duration kVanished = seconds(1);
constexpr seam::Duration kFailureCap = seconds(5);

/// Calls `read` with batches of what is to be read: bounded in number and in bytes, a big one alone.
template <class Key, class Read>
void in_batches(std::vector<std::pair<Key, std::int64_t>> sizes, Read read) {
    std::vector<Key> batch;
    std::int64_t bytes = 0;
    for (auto& [key, size] : sizes) {
        if (!batch.empty() && (batch.size() == kRowsPerRead || bytes + size > kBytesPerRead)) {
            read(batch);
            batch.clear();
            bytes = 0;
        }
        bytes += size;
        batch.push_back(std::move(key));
    }
    if (!batch.empty()) read(batch);
}

}  // namespace

bool WaiterHub::early(const Wait& wait, seam::SteadyTime now) const noexcept {
    return waits_.size() >= kMany && !wait.woken && !wait.missing_since && wait.deadline != wait.due &&
           wait.due - now <= std::min<seam::Duration>(wait.interval / 2, kEarliest);
}

WaiterHub::Due WaiterHub::collect(seam::SteadyTime now) {
    Due due;
    while (!due_.empty() && due.waits.size() < kWaitsPerCheck) {
        const WaitId id = due_.begin()->second;
        Wait& wait = waits_.at(id);
        if (wait.due > now && !early(wait, now)) break;
        due.waits.push_back(id);
        due.by_wake = due.by_wake || wait.woken;
        due.woken_all += wait.woken_all ? 1 : 0;
        wait.woken = wait.woken_all = false;
        seam::Duration pause = wait.interval;
        switch (wait.kind) {
            case Kind::event: due.events.insert({wait.workflow_id, wait.key}); break;
            case Kind::stream: due.streams.insert({wait.workflow_id, wait.key, wait.offset}); break;
            default:
                due.ids.insert(wait.workflow_id);
                if (!wait.seen) {
                    pause = std::max(pause, wait.back_off);
                    wait.back_off = std::min(wait.back_off * 2, kMaxBackOff);
                }
        }
        // Before the statement, so that a wake-up during it makes the wait due again.
        wait.asked = now;
        make_due(id, wait, now + pause);
    }
    return due;
}

void WaiterHub::check(Lock& lock) {
    const seam::SteadyTime begun = seam::steady_now();
    const Due due = collect(begun);
    bool productive = false;
    bool transient = false;
    bool connection = false;
    std::exception_ptr error;
    checking_ = true;
    lock.unlock();
    try {
        connect();
        ask(due, productive);
        failures_ = 0;
    } catch (const DatabaseError& failed) {
        error = std::current_exception();
        connection = failed.kind() == DatabaseErrorKind::connection;
        transient = failed.transient() || failed.kind() == DatabaseErrorKind::timeout ||
                    failed.kind() == DatabaseErrorKind::closed;
    } catch (...) {
        error = std::current_exception();
    }
    lock.lock();
    checking_ = false;
    if (error) return check_failed(lock, due.waits, error, transient, connection);
    if (due.by_wake) {
        const seam::SteadyTime end = seam::steady_now();
        // Wake-ups that bring nothing must not become a load; those that bring results come as often as results do.
        wake_not_before_ = end + (productive ? std::max<seam::Duration>(milliseconds(1), (end - begun) * 2)
                                             : std::max<seam::Duration>(milliseconds(5), (end - begun) * 10));
        if (!productive) {
            all_not_before_ =
                std::max(all_not_before_, begun) + kPauseForEach * static_cast<std::int64_t>(due.woken_all);
        }
    }
}

void WaiterHub::ask(const Due& due, bool& productive) {
    if (!due.ids.empty()) ask_results({due.ids.begin(), due.ids.end()}, productive);
    if (!due.events.empty()) ask_events({due.events.begin(), due.events.end()}, productive);
    if (!due.streams.empty()) ask_streams({due.streams.begin(), due.streams.end()}, productive);
    end_overdue(due.waits);
}

// ---------------------------------------------------------------------------------------------------- results and ends

void WaiterHub::ask_results(const std::vector<std::string>& ids, bool& productive) {
    if (ids.size() == 1) {
        // One statement instead of two for the common case.
        static_cast<void>(read_payloads(ids, productive));
        return;
    }
    std::map<std::string, std::string> statuses;
    for (auto& [id, status] : sysdb::wait_statuses(*connection_, ids))
        statuses.emplace(std::move(id), std::move(status));
    std::vector<std::string> ended;
    std::vector<Finished> finished;
    {
        const Lock lock(mutex_);
        ++checks_;
        for (const auto& [id, status] : statuses) {
            const auto group = by_id_.find(id);
            if (!is_terminal(status) || group == by_id_.end()) continue;
            bool payload = false;
            const std::set<WaitId> waits = group->second;
            for (const WaitId wait : waits) {
                const auto position = waits_.find(wait);
                payload = payload || position->second.kind == Kind::result;
                if (position->second.kind == Kind::end)
                    finished.push_back(
                        {take(position).done, {.row = {.workflow_id = id, .status = status}}, {}});
            }
            if (payload) ended.push_back(id);
        }
    }
    productive = productive || !finished.empty();
    finish(finished);
    apply_statuses(ids, statuses);
    if (ended.empty()) return;
    if (ended.size() == 1) return read_ended(ended, productive);
    in_batches(sysdb::wait_sizes(database_.core(), *connection_, ended),
               [&](const std::vector<std::string>& batch) { read_ended(batch, productive); });
}

void WaiterHub::read_ended(const std::vector<std::string>& ids, bool& productive) {
    if (!read_payloads(ids, productive)) seam::reach(seam::Situation::ended_row_resumed);
}

bool WaiterHub::read_payloads(const std::vector<std::string>& ids, bool& productive) {
    std::vector<sysdb::ResultRow> rows = sysdb::wait_results(database_.core(), *connection_, ids);
    std::map<std::string, std::string> statuses;
    std::vector<Finished> finished;
    {
        const Lock lock(mutex_);
        ++payloads_;
        for (sysdb::ResultRow& row : rows) {
            statuses.emplace(row.workflow_id, row.status);
            // A row that is no longer terminal (resumed meanwhile) is waited for.
            if (is_terminal(row.status)) apply_row(row, finished);
        }
    }
    productive = productive || !finished.empty();
    finish(finished);
    apply_statuses(ids, statuses);
    return std::ranges::all_of(rows, [](const auto& row) { return is_terminal(row.status); });
}

void WaiterHub::apply_row(const sysdb::ResultRow& row, std::vector<Finished>& finished) {
    const auto group = by_id_.find(row.workflow_id);
    if (group == by_id_.end()) return;
    const seam::SteadyTime now = seam::steady_now();
    const std::set<WaitId> ids = group->second;
    for (const WaitId id : ids) {
        const auto position = waits_.find(id);
        if (position->second.kind == Kind::result || position->second.kind == Kind::end) {
            finished.push_back({take(position).done, {.row = row}, {}});
        } else if (position->second.kind == Kind::stream) {  // it may be over
            make_due(id, position->second, std::min(position->second.due, now));
        }
    }
}

void WaiterHub::apply_statuses(const std::vector<std::string>& ids,
                               const std::map<std::string, std::string>& statuses) {
    std::vector<Finished> finished;
    {
        const Lock lock(mutex_);
        const seam::SteadyTime now = seam::steady_now();
        for (const std::string& workflow_id : ids) {
            const auto group = by_id_.find(workflow_id);
            if (group == by_id_.end()) continue;
            const auto status = statuses.find(workflow_id);
            if (status != statuses.end() && is_terminal(status->second))
                continue;  // its payload is being read
            const std::set<WaitId> waits = group->second;
            for (const WaitId id : waits) {
                const auto position = waits_.find(id);
                Wait& wait = position->second;
                if (wait.kind == Kind::event || wait.kind == Kind::stream) continue;
                std::exception_ptr error;
                if (status != statuses.end()) {
                    wait.missing_since.reset();
                    if (!wait.seen) {
                        wait.seen = true;
                        make_due(id, wait, std::min(wait.due, now + wait.interval));
                    }
                } else if (wait.fail_if_missing && !wait.seen) {
                    error = std::make_exception_ptr(NonexistentWorkflow(workflow_id));
                } else if (wait.seen && !wait.missing_since) {
                    wait.missing_since = now;
                    make_due(id, wait, std::min(wait.due, now + kVanished));
                } else if (!wait.seen) {
                    seam::reach(seam::Situation::unseen_id_waited_for);
                } else if (now - *wait.missing_since >= kVanished) {
                    seam::reach(seam::Situation::seen_id_missing);
                    error = std::make_exception_ptr(NonexistentWorkflow(workflow_id));
                }
                if (!error && wait.deadline && wait.asked >= *wait.deadline) {
                    error = std::make_exception_ptr(Timeout(
                        "the workflow did not end in time" +
                            std::string(status != statuses.end() ? "; its status is " + status->second
                                                                 : "; no workflow of this id is known"),
                        workflow_id));
                }
                if (error) finished.push_back({take(position).done, {}, error});
            }
        }
    }
    finish(finished);
}

// ---------------------------------------------------------------------------------------------------- events and streams

void WaiterHub::ask_events(const std::vector<sysdb::EventKey>& keys, bool& productive) {
    if (keys.size() == 1) return read_events(keys, productive);
    auto sizes = sysdb::wait_event_sizes(*connection_, keys);
    {
        const Lock lock(mutex_);
        ++checks_;
    }
    in_batches(std::move(sizes),
               [&](const std::vector<sysdb::EventKey>& batch) { read_events(batch, productive); });
}

void WaiterHub::read_events(const std::vector<sysdb::EventKey>& keys, bool& productive) {
    const std::vector<sysdb::EventRow> rows = sysdb::wait_events(*connection_, keys);
    std::vector<Finished> finished;
    {
        const Lock lock(mutex_);
        ++payloads_;
        for (const sysdb::EventRow& row : rows) {
            const auto group = by_id_.find(row.at.workflow_id);
            if (group == by_id_.end()) continue;
            const std::set<WaitId> waits = group->second;
            for (const WaitId id : waits) {
                const auto position = waits_.find(id);
                if (position->second.kind == Kind::event && position->second.key == row.at.key)
                    finished.push_back({take(position).done, {.event = row}, {}});
            }
        }
    }
    productive = productive || !finished.empty();
    finish(finished);
}

void WaiterHub::ask_streams(const std::vector<sysdb::StreamPosition>& positions, bool& productive) {
    const std::vector<sysdb::StreamState> states = sysdb::wait_streams(*connection_, positions);
    std::vector<Finished> finished;
    {
        const Lock lock(mutex_);
        ++checks_;
        for (std::size_t n = 0; n < positions.size(); ++n) {
            const sysdb::StreamPosition& at = positions[n];
            const auto group = by_id_.find(at.workflow_id);
            if (states[n] == sysdb::StreamState::nothing_yet || group == by_id_.end()) continue;
            const std::exception_ptr error =
                states[n] == sysdb::StreamState::no_workflow
                    ? std::make_exception_ptr(NonexistentWorkflow(at.workflow_id))
                    : nullptr;
            const std::set<WaitId> waits = group->second;
            for (const WaitId id : waits) {
                const auto position = waits_.find(id);
                const Wait& wait = position->second;
                if (wait.kind == Kind::stream && wait.key == at.key && wait.offset == at.offset)
                    finished.push_back({take(position).done, {.ready = true}, error});
            }
        }
    }
    productive = productive || !finished.empty();
    finish(finished);
}

void WaiterHub::end_overdue(const std::vector<WaitId>& waits) {
    std::vector<Finished> finished;
    {
        const Lock lock(mutex_);
        for (const WaitId id : waits) {
            const auto position = waits_.find(id);
            if (position == waits_.end()) continue;
            const Wait& wait = position->second;
            if (wait.kind != Kind::event && wait.kind != Kind::stream) continue;
            if (wait.deadline && wait.asked >= *wait.deadline)
                finished.push_back({take(position).done, {}, {}});
        }
    }
    finish(finished);
}

// ---------------------------------------------------------------------------------------------------- failures

void WaiterHub::fail(const std::vector<WaitId>& waits, bool only_overdue, const std::exception_ptr& error,
                     std::vector<Finished>& finished) {
    const seam::SteadyTime now = seam::steady_now();
    for (const WaitId id : waits) {
        const auto position = waits_.find(id);
        if (position == waits_.end()) continue;
        const auto& deadline = position->second.deadline;
        if (only_overdue && !(deadline && *deadline <= now)) continue;
        if (only_overdue) seam::reach(seam::Situation::timed_wait_unread);
        finished.push_back({take(position).done, {}, error});
    }
}

void WaiterHub::check_failed(Lock& lock, const std::vector<WaitId>& waits, std::exception_ptr error,
                             bool transient, bool connection) {
    std::vector<Finished> finished;
    bool again = false;
    if (connection_ && !connection_->usable()) connection_.reset();
    if (!closed_ && connection && !options_.retry_connection_errors) {
        while (!waits_.empty()) finished.push_back({take(waits_.begin()).done, {}, error});
    } else if (!closed_ && transient) {
        pause_until_ = seam::steady_now() + sql::retry_delay(failures_++, kFailureCap);
        // "No value in time" may only be said after a read that succeeded.
        fail(waits, true, error, finished);
        for (const WaitId id : waits) {
            if (const auto position = waits_.find(id); position != waits_.end())
                make_due(id, position->second, pause_until_);
        }
        again = true;
        seam::reach(seam::Situation::check_repeated);
    } else {
        fail(waits, false, error, finished);
    }
    lock.unlock();
    if (again) {
        log_to(options_.log, LogLevel::warn, "waiting for results: the database did not answer, trying again",
               {{"attempt", std::to_string(failures_)}});
    }
    finish(finished);
    lock.lock();
}

}  // namespace dbos::client
