#include "client/hub.hpp"

#include <algorithm>

#include "core/log.hpp"
#include "dbos/error.hpp"
#include "dbos/types.hpp"
#include "platform/situations.hpp"
#include "sysdb/database.hpp"

namespace dbos::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// A reply that is later counts as a lost connection: a firewall may have dropped it without a word.
constexpr seam::Duration kReplyTimeout = seconds(10);

std::unique_ptr<sql::Connection> open_connection(sysdb::SystemDatabase::Core& core) {
    if (core.backend == sql::Backend::sqlite) return core.open_dedicated(false);
    sql::OpenOptions options = core.options.open;
    options.reply_timeout = kReplyTimeout;
    options.pinned_plans = true;  // planning would take longer than looking
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
    return add_row_wait(Kind::result, std::move(workflow_id), options, std::move(done));
}

WaiterHub::WaitId WaiterHub::add_end(std::string workflow_id, const WaitOptions& options, Done done) {
    return add_row_wait(Kind::end, std::move(workflow_id), options, std::move(done));
}

WaiterHub::WaitId WaiterHub::add_row_wait(Kind kind, std::string workflow_id, const WaitOptions& options,
                                          Done done) {
    Wait wait;
    wait.kind = kind;
    wait.workflow_id = std::move(workflow_id);
    wait.done = [done = std::move(done)](Answer answer, std::exception_ptr error) mutable {
        done(std::move(answer.row), std::move(error));
    };
    return add_wait(std::move(wait), options);
}

WaiterHub::WaitId WaiterHub::add_event(sysdb::EventKey key, const WaitOptions& options, EventDone done) {
    Wait wait;
    wait.kind = Kind::event;
    wait.workflow_id = std::move(key.workflow_id);
    wait.key = std::move(key.key);
    wait.done = [done = std::move(done)](Answer answer, std::exception_ptr error) mutable {
        done(std::move(answer.event), std::move(error));
    };
    return add_wait(std::move(wait), options);
}

WaiterHub::WaitId WaiterHub::add_stream(sysdb::StreamPosition position, const WaitOptions& options,
                                        StreamDone done) {
    Wait wait;
    wait.kind = Kind::stream;
    wait.workflow_id = std::move(position.workflow_id);
    wait.key = std::move(position.key);
    wait.offset = position.offset;
    wait.done = [done = std::move(done)](const Answer& answer, std::exception_ptr error) mutable {
        done(answer.ready, std::move(error));
    };
    return add_wait(std::move(wait), options);
}

WaiterHub::WaitId WaiterHub::add_wait(Wait wait, const WaitOptions& options) {
    database_.core().check_process();
    const bool may_run_here = wait.kind == Kind::result && options_.runs_here;
    WaitId id = 0;
    std::string watched;
    {
        Lock lock(mutex_);
        if (closed_) {
            lock.unlock();
            wait.done({}, std::make_exception_ptr(ClientClosed()));
            return 0;
        }
        if (!thread_.joinable()) thread_ = seam::spawn("dbos-waits", [this] { run(); });
        id = next_id_++;
        const seam::SteadyTime now = seam::steady_now();
        auto& group = by_id_[wait.workflow_id];
        if (group.empty()) by_hash_.emplace(sysdb::wake_hash(wait.workflow_id), wait.workflow_id);
        group.insert(id);
        if (const std::string payload = wait.payload(); !payload.empty()) by_payload_[payload].insert(id);
        wait.interval = std::max<seam::Duration>(options.polling_interval, milliseconds(1));
        if (options.timeout) wait.deadline = now + *options.timeout;
        // Registered first, looked at afterwards: an end that is delivered meanwhile finds the wait.
        wait.due = may_run_here ? now + wait.interval : now;
        if (wait.deadline) wait.due = std::min(wait.due, *wait.deadline);
        wait.seen = options.seen;
        wait.fail_if_missing = options.fail_if_missing;
        wait.inside = options.inside;
        due_.emplace(wait.due, id);
        const std::string& name = waits_.emplace(id, std::move(wait)).first->second.workflow_id;
        waiting_.store(waits_.size());
        if (!may_run_here) {
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
    Told dropped;  // destroyed outside of the lock
    const Lock lock(mutex_);
    const auto position = waits_.find(id);
    if (position == waits_.end()) return;
    dropped = take(position).done;
    seam::reach(seam::Situation::wait_withdrawn);
}

sysdb::ResultRow WaiterHub::wait(const std::string& workflow_id, const WaitOptions& options) {
    return block_until_told<sysdb::ResultRow>([&](Done done) { add(workflow_id, options, std::move(done)); });
}

std::optional<sysdb::EventRow> WaiterHub::wait_event(const sysdb::EventKey& key, const WaitOptions& options) {
    return block_until_told<std::optional<sysdb::EventRow>>(
        [&](EventDone done) { add_event(key, options, std::move(done)); });
}

bool WaiterHub::wait_stream(const sysdb::StreamPosition& position, const WaitOptions& options) {
    return block_until_told<bool>([&](StreamDone done) { add_stream(position, options, std::move(done)); });
}

void WaiterHub::notify_ended(const std::string& workflow_id) noexcept {
    if (waiting_.load() == 0) return;
    const Lock lock(mutex_);
    const auto group = by_id_.find(workflow_id);
    if (group == by_id_.end()) return;
    const seam::SteadyTime now = seam::steady_now();
    for (const WaitId id : group->second) {
        Wait& wait = waits_.at(id);
        if (wait.kind != Kind::event) make_due(id, wait, now);
    }
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
    if (checking_) seam::reach(seam::Situation::wake_during_check);
    const bool all = event.all || event.all_workflows;
    seam::SteadyTime due = std::max(seam::steady_now(), wake_not_before_);
    if (all) due = std::max(due, all_not_before_);
    bool any = false;
    const auto wake = [&](const std::set<WaitId>& ids) {
        for (const WaitId id : ids) {
            Wait& wait = waits_.at(id);
            wait.woken = true;
            wait.woken_all = all;
            if (due < wait.due) make_due(id, wait, due);
            any = true;
        }
    };
    if (all) {
        for (const auto& [workflow_id, ids] : by_id_) wake(ids);
    } else if (!event.channel.empty()) {
        // Compared whole: ids and keys may hold the separator.
        if (const auto group = by_payload_.find(event.channel + '\n' + event.payload);
            group != by_payload_.end())
            wake(group->second);
    } else {
        for (const std::uint32_t hash : event.workflow_hashes) {
            const auto [first, last] = by_hash_.equal_range(hash);
            for (auto position = first; position != last; ++position) wake(by_id_.at(position->second));
        }
    }
    if (any) changed_.notify_one();
}

void WaiterHub::notify_published(const std::string& channel, const std::string& payload) noexcept {
    if (waiting_.load() == 0) return;
    sysdb::Wakeups::Event event;
    event.channel = channel;
    event.payload = payload;
    woken(event);
}

WaiterHub::Stats WaiterHub::stats() const {
    const Lock lock(mutex_);
    return {waits_.size(), checks_, payloads_, connection_ != nullptr};
}

bool WaiterHub::at_rest(std::size_t& outside) const {
    const Lock lock(mutex_);
    outside = static_cast<std::size_t>(
        std::ranges::count_if(waits_, [](const auto& entry) { return !entry.second.inside; }));
    const bool news = std::ranges::any_of(waits_, [](const auto& entry) { return entry.second.woken; });
    return !checking_ && !news && (due_.empty() || due_.begin()->first > seam::steady_now());
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

std::string WaiterHub::Wait::payload() const {
    if (kind != Kind::event && kind != Kind::stream) return {};
    const char* const channel = kind == Kind::event ? sysdb::kEventChannel : sysdb::kStreamChannel;
    return std::string(channel) + '\n' + workflow_id + "::" + key;
}

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
    if (const auto same = by_payload_.find(wait.payload()); same != by_payload_.end()) {
        same->second.erase(position->first);
        if (same->second.empty()) by_payload_.erase(same);
    }
    waits_.erase(position);
    waiting_.store(waits_.size());
    return wait;
}

void WaiterHub::finish(std::vector<Finished>& finished) noexcept {
    for (Finished& item : finished) {
        try {
            item.done(std::move(item.answer), std::move(item.error));
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

}  // namespace dbos::client
