#include "client/hub.hpp"

#include <algorithm>

#include "core/log.hpp"
#include "dbos/error.hpp"
#include "dbos/types.hpp"
#include "sysdb/database.hpp"

namespace dbos::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kIdsPerCheck = 2000;
constexpr std::size_t kRowsPerRead = 100;
constexpr std::int64_t kBytesPerRead = std::int64_t{8} << 20;
constexpr seam::Duration kMaxBackOff = seconds(10);
constexpr seam::Duration kVanished = seconds(1);
constexpr seam::Duration kFailureCap = seconds(5);
/// A reply that is later counts as a lost connection: a firewall may have dropped it without a word.
constexpr seam::Duration kReplyTimeout = seconds(10);

std::unique_ptr<sql::Connection> open_connection(sysdb::SystemDatabase::Core& core) {
    if (core.backend == sql::Backend::sqlite) return core.open_dedicated(false);
    sql::OpenOptions options = core.options.open;
    options.reply_timeout = kReplyTimeout;
    auto connection = sql::open(options);
    return core.options.decorate ? core.options.decorate(std::move(connection)) : std::move(connection);
}

}  // namespace

WaiterHub::WaiterHub(sysdb::SystemDatabase& database, HubOptions options)
    : database_(database), options_(std::move(options)) {}

WaiterHub::~WaiterHub() {
    close();
    join();
}

WaiterHub::WaitId WaiterHub::add(std::string workflow_id, const WaitOptions& options, Done done) {
    database_.core().check_process();
    WaitId id = 0;
    std::string watched;
    {
        Lock lock(mutex_);
        if (closed_) {
            lock.unlock();
            done({}, std::make_exception_ptr(ClientClosed()));
            return 0;
        }
        if (!thread_.joinable()) thread_ = seam::spawn("dbos-waits", [this] { run(); });
        id = next_id_++;
        const seam::SteadyTime now = seam::steady_now();
        auto& group = by_id_[workflow_id];
        if (group.empty()) by_hash_.emplace(sysdb::wake_hash(workflow_id), workflow_id);
        group.insert(id);
        Wait wait;
        wait.workflow_id = std::move(workflow_id);
        wait.done = std::move(done);
        wait.interval = std::max<seam::Duration>(options.polling_interval, milliseconds(1));
        if (options.timeout) wait.deadline = now + *options.timeout;
        // Registered first, looked at afterwards: an end that is delivered meanwhile finds the wait.
        wait.due = options_.runs_here ? now + wait.interval : now;
        if (wait.deadline) wait.due = std::min(wait.due, *wait.deadline);
        wait.seen = options.seen;
        wait.fail_if_missing = options.fail_if_missing;
        due_.emplace(wait.due, id);
        const std::string& name = waits_.emplace(id, std::move(wait)).first->second.workflow_id;
        waiting_.store(waits_.size());
        if (!options_.runs_here) {
            changed_.notify_one();
            return id;
        }
        watched = name;
        if (due_.begin()->second == id || options.timeout) changed_.notify_one();
    }
    if (!options_.runs_here(watched)) notify_ended(watched);
    return id;
}

void WaiterHub::withdraw(WaitId id) noexcept {
    if (seam::process_id() != database_.core().process)
        return;    // a forked child: the lock may be held for ever
    Done dropped;  // destroyed outside of the lock
    const Lock lock(mutex_);
    const auto position = waits_.find(id);
    if (position != waits_.end()) dropped = take(position).done;
}

sysdb::ResultRow WaiterHub::wait(const std::string& workflow_id, const WaitOptions& options) {
    struct Slot {
        seam::Mutex mutex;
        seam::CondVar changed;
        bool ready = false;
        sysdb::ResultRow row;
        std::exception_ptr error;
    };
    // Shared: the notifier still holds it when this thread has gone on.
    const auto slot = std::make_shared<Slot>();
    add(workflow_id, options, [slot](sysdb::ResultRow row, std::exception_ptr error) {
        const std::lock_guard<seam::Mutex> lock(slot->mutex);
        slot->row = std::move(row);
        slot->error = std::move(error);
        slot->ready = true;
        slot->changed.notify_one();
    });
    std::unique_lock<seam::Mutex> lock(slot->mutex);
    slot->changed.wait(lock, [&] { return slot->ready; });
    if (slot->error) std::rethrow_exception(slot->error);
    return std::move(slot->row);
}

void WaiterHub::notify_ended(const std::string& workflow_id) noexcept {
    if (waiting_.load() == 0) return;
    const Lock lock(mutex_);
    const auto group = by_id_.find(workflow_id);
    if (group == by_id_.end()) return;
    const seam::SteadyTime now = seam::steady_now();
    for (const WaitId id : group->second) make_due(id, waits_.at(id), now);
    changed_.notify_one();
}

void WaiterHub::deliver(const sysdb::ResultRow& row) noexcept {
    if (waiting_.load() == 0) return;
    std::vector<Finished> finished;
    {
        const Lock lock(mutex_);
        apply_row(row, finished);
    }
    finish(finished);
}

void WaiterHub::woken(const sysdb::Wakeups::Event& event) noexcept {
    const Lock lock(mutex_);
    const seam::SteadyTime due = std::max(seam::steady_now(), wake_not_before_);
    bool any = false;
    const auto wake = [&](const std::set<WaitId>& ids) {
        for (const WaitId id : ids) {
            Wait& wait = waits_.at(id);
            wait.woken = true;
            if (due < wait.due) make_due(id, wait, due);
            any = true;
        }
    };
    if (event.all || event.all_workflows) {
        for (const auto& [workflow_id, ids] : by_id_) wake(ids);
    } else {
        for (const std::uint32_t hash : event.workflow_hashes) {
            const auto [first, last] = by_hash_.equal_range(hash);
            for (auto position = first; position != last; ++position) wake(by_id_.at(position->second));
        }
    }
    if (any) changed_.notify_one();
}

WaiterHub::Stats WaiterHub::stats() const {
    const Lock lock(mutex_);
    return {waits_.size(), checks_, payloads_, connection_ != nullptr};
}

void WaiterHub::close() noexcept {
    std::vector<Finished> finished;
    {
        const Lock lock(mutex_);
        if (closed_) return;
        closed_ = true;
        const std::exception_ptr error = std::make_exception_ptr(ClientClosed());
        while (!waits_.empty()) finished.push_back({take(waits_.begin()).done, {}, error});
        if (connection_) connection_->interrupt();
        changed_.notify_all();
    }
    finish(finished);
}

void WaiterHub::join() noexcept {
    seam::Thread thread;
    {
        const Lock lock(mutex_);
        thread = std::move(thread_);
    }
    if (thread.joinable()) thread.join();
}

// ---------------------------------------------------------------------------------------------------- book-keeping

void WaiterHub::make_due(WaitId id, Wait& wait, seam::SteadyTime due) {
    due_.erase({wait.due, id});
    // The last look is at the deadline, or the first one after it.
    wait.due = wait.deadline && *wait.deadline > wait.asked ? std::min(due, *wait.deadline) : due;
    due_.emplace(wait.due, id);
}

WaiterHub::Wait WaiterHub::take(std::map<WaitId, Wait>::iterator position) {
    Wait wait = std::move(position->second);
    due_.erase({wait.due, position->first});
    const auto group = by_id_.find(wait.workflow_id);
    group->second.erase(position->first);
    if (group->second.empty()) {
        by_id_.erase(group);
        const auto [first, last] = by_hash_.equal_range(sysdb::wake_hash(wait.workflow_id));
        const auto entry =
            std::find_if(first, last, [&](const auto& item) { return item.second == wait.workflow_id; });
        if (entry != last) by_hash_.erase(entry);
    }
    waits_.erase(position);
    waiting_.store(waits_.size());
    return wait;
}

void WaiterHub::finish(std::vector<Finished>& finished) noexcept {
    for (Finished& item : finished) {
        try {
            item.done(std::move(item.row), std::move(item.error));
        } catch (...) {
            // A consumer that cannot take its result has nobody else to tell.
        }
    }
    finished.clear();
}

// ---------------------------------------------------------------------------------------------------- the thread

void WaiterHub::run() noexcept {
    Lock lock(mutex_);
    while (!closed_) {
        if (waits_.empty()) {
            idle(lock);
            continue;
        }
        const seam::SteadyTime next = std::max(due_.begin()->first, pause_until_);
        if (next > seam::steady_now()) {
            changed_.wait_until(lock, next);
            continue;
        }
        check(lock);
    }
    disconnect(lock);
}

void WaiterHub::idle(Lock& lock) {
    const auto wanted = [this] { return closed_ || !waits_.empty(); };
    if (!connection_ && !wakeups_) {
        changed_.wait(lock, wanted);
    } else if (!changed_.wait_for(lock, options_.idle_close, wanted)) {
        disconnect(lock);
    }
}

void WaiterHub::disconnect(Lock& lock) noexcept {
    const std::unique_ptr<sql::Connection> connection = std::move(connection_);
    lock.unlock();
    wakeups_.reset();  // joins its thread, whose handler takes the lock
    lock.lock();
    static_cast<void>(connection);
}

void WaiterHub::connect() {
    if (!wakeups_ && options_.wakeups) {
        wakeups_ = std::make_unique<sysdb::Wakeups>(
            database_, [this](const sysdb::Wakeups::Event& event) { woken(event); });
    }
    if (connection_ && connection_->usable()) return;
    auto fresh = open_connection(database_.core());
    const Lock lock(mutex_);
    std::swap(connection_, fresh);
    if (closed_) throw DatabaseError(DatabaseErrorKind::closed, "the client or application has been closed");
}

std::vector<std::string> WaiterHub::collect(seam::SteadyTime now, bool& by_wake) {
    std::set<std::string> ids;
    while (!due_.empty() && due_.begin()->first <= now && ids.size() < kIdsPerCheck) {
        const WaitId id = due_.begin()->second;
        Wait& wait = waits_.at(id);
        ids.insert(wait.workflow_id);
        by_wake = by_wake || wait.woken;
        wait.woken = false;
        seam::Duration pause = wait.interval;
        if (!wait.seen) {
            pause = std::max(pause, wait.back_off);
            wait.back_off = std::min(wait.back_off * 2, kMaxBackOff);
        }
        // Before the statement, so that a wake-up during it makes the wait due again.
        wait.asked = now;
        make_due(id, wait, now + pause);
    }
    return {ids.begin(), ids.end()};
}

void WaiterHub::check(Lock& lock) {
    bool by_wake = false;
    const seam::SteadyTime begun = seam::steady_now();
    const std::vector<std::string> ids = collect(begun, by_wake);
    bool productive = false;
    bool transient = false;
    bool connection = false;
    std::exception_ptr error;
    lock.unlock();
    try {
        connect();
        ask(ids, productive);
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
    if (error) return check_failed(lock, ids, error, transient, connection);
    if (by_wake) {
        const seam::SteadyTime end = seam::steady_now();
        // Wake-ups that bring nothing must not become a load; those that bring results come as often as results do.
        wake_not_before_ = end + (productive ? std::max<seam::Duration>(milliseconds(1), (end - begun) * 2)
                                             : std::max<seam::Duration>(milliseconds(5), (end - begun) * 10));
    }
}

void WaiterHub::ask(const std::vector<std::string>& ids, bool& productive) {
    if (ids.size() == 1) {
        // One statement instead of two for the common case.
        read_payloads(ids, productive);
        return;
    }
    std::map<std::string, std::string> statuses;
    for (auto& [id, status] : sysdb::wait_statuses(*connection_, ids))
        statuses.emplace(std::move(id), std::move(status));
    {
        const Lock lock(mutex_);
        ++checks_;
    }
    std::vector<std::string> ended;
    for (const auto& [id, status] : statuses) {
        if (is_terminal(status)) ended.push_back(id);
    }
    apply_statuses(ids, statuses);
    std::vector<std::string> batch;
    if (ended.size() == 1) {
        read_payloads(ended, productive);
        return;
    }
    if (ended.empty()) return;
    std::int64_t bytes = 0;
    for (auto& [id, size] : sysdb::wait_sizes(database_.core(), *connection_, ended)) {
        if (!batch.empty() && (batch.size() == kRowsPerRead || bytes + size > kBytesPerRead)) {
            read_payloads(batch, productive);
            batch.clear();
            bytes = 0;
        }
        bytes += size;
        batch.push_back(std::move(id));
    }
    if (!batch.empty()) read_payloads(batch, productive);
}

void WaiterHub::read_payloads(const std::vector<std::string>& ids, bool& productive) {
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
}

void WaiterHub::apply_row(const sysdb::ResultRow& row, std::vector<Finished>& finished) {
    const auto group = by_id_.find(row.workflow_id);
    if (group == by_id_.end()) return;
    const std::set<WaitId> ids = group->second;
    for (const WaitId id : ids) finished.push_back({take(waits_.find(id)).done, row, {}});
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
                } else if (wait.seen && now - *wait.missing_since >= kVanished) {
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

void WaiterHub::finish_ids(const std::vector<std::string>& ids, bool only_overdue, std::exception_ptr error,
                           std::vector<Finished>& finished) {
    const seam::SteadyTime now = seam::steady_now();
    for (const std::string& workflow_id : ids) {
        const auto group = by_id_.find(workflow_id);
        if (group == by_id_.end()) continue;
        const std::set<WaitId> waits = group->second;
        for (const WaitId id : waits) {
            const auto position = waits_.find(id);
            const auto& deadline = position->second.deadline;
            if (only_overdue && !(deadline && *deadline <= now)) continue;
            finished.push_back({take(position).done, {}, error});
        }
    }
}

void WaiterHub::check_failed(Lock& lock, const std::vector<std::string>& ids, std::exception_ptr error,
                             bool transient, bool connection) {
    std::vector<Finished> finished;
    bool again = false;
    if (connection_ && !connection_->usable()) connection_.reset();
    if (!closed_ && connection && !options_.retry_connection_errors) {
        while (!waits_.empty()) finished.push_back({take(waits_.begin()).done, {}, error});
    } else if (!closed_ && transient) {
        pause_until_ = seam::steady_now() + sql::retry_delay(failures_++, kFailureCap);
        // "No value in time" may only be said after a read that succeeded.
        finish_ids(ids, true, error, finished);
        for (const std::string& workflow_id : ids) {
            const auto group = by_id_.find(workflow_id);
            if (group == by_id_.end()) continue;
            for (const WaitId id : group->second) make_due(id, waits_.at(id), pause_until_);
        }
        again = true;
    } else {
        finish_ids(ids, false, error, finished);
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
