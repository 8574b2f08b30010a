// The side connection: writes that wait for a lock somebody holds, and large payloads. PostgreSQL only.
#include <algorithm>
#include <set>
#include <string>
#include <system_error>

#include "sysdb/blockers.hpp"
#include "sysdb/committer.hpp"

namespace dbos::sysdb {
namespace {

/// How long one write may wait for its lock before the next one has its turn.
constexpr seam::Duration kSlice = std::chrono::milliseconds(200);
constexpr seam::Duration kLoneSlice = std::chrono::seconds(1);
/// How long to wait where no thread can be made.
constexpr seam::Duration kNoThread = std::chrono::milliseconds(100);

/// What other writes must not overtake.
std::vector<std::string> order_keys(const Write& write) {
    std::vector<std::string> keys;
    if (write.workflow) {
        keys.push_back("w" + write.workflow->workflow_id);
        if (write.workflow->deduplication_id) {
            keys.push_back("d" + write.workflow->queue_name.value_or("") + '\0' +
                           *write.workflow->deduplication_id);
        }
    }
    if (write.fence) keys.push_back("w" + write.fence->workflow_id);
    return keys;
}

std::string seconds(seam::Duration duration) {
    return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count());
}

}  // namespace

bool Committer::goes_aside(const Write& write) {
    if (side_count_.load(std::memory_order_acquire) == 0) return false;
    const std::vector<std::string> keys = order_keys(write);
    const std::lock_guard<seam::Mutex> lock(side_mutex_);
    return std::any_of(keys.begin(), keys.end(),
                       [this](const std::string& key) { return side_keys_.contains(key); });
}

/// False if the thread is needed and cannot be made now.
bool Committer::start_side() {
    const std::lock_guard<seam::Mutex> lock(side_mutex_);
    if (side_thread_.joinable() || stopping_.load()) return true;
    try {
        side_thread_ = seam::spawn("dbos-commit-2", [this] { side_loop(); });
        return true;
    } catch (const std::system_error&) {
        return false;
    }
}

void Committer::move_aside(Write& write) {
    write.side_keys = order_keys(write);
    while (!start_side()) core_.stop.wait(kNoThread);  // back-pressure: nothing is committed meanwhile
    {
        const std::lock_guard<seam::Mutex> lock(side_mutex_);
        if (side_thread_.joinable() && !side_ended_) {
            for (const std::string& key : write.side_keys) ++side_keys_[key];
            side_count_.fetch_add(1);
            side_inbox_.push_back(&write);
            side_changed_.notify_one();
            return;
        }
    }
    std::deque<Write*> late{&write};  // close() is under way
    fail_all(late);
}

void Committer::leave_side(Write& write) {
    {
        const std::lock_guard<seam::Mutex> lock(side_mutex_);
        for (const std::string& key : write.side_keys) {
            const auto found = side_keys_.find(key);
            if (found != side_keys_.end() && --found->second == 0) side_keys_.erase(found);
        }
        side_count_.fetch_sub(1);
    }
    write.side_keys.clear();
    Write* const only = &write;
    announce({&only, 1});
    complete(write);
    tell_of_room();
}

void Committer::side_loop() {
    std::deque<Write*> queue;
    for (;;) {
        {
            std::unique_lock<seam::Mutex> lock(side_mutex_);
            while (queue.empty() && side_inbox_.empty() && !stopping_.load()) side_changed_.wait(lock);
            queue.insert(queue.end(), side_inbox_.begin(), side_inbox_.end());
            side_inbox_.clear();
            side_ended_ = stopping_.load();
        }
        if (side_ended_) {  // written by this thread alone
            fail_all(queue);
            return;
        }
        side_pass(queue);
    }
}

void Committer::side_pass(std::deque<Write*>& queue) {
    side_.writer->set_lock_timeout(queue.size() > 1 ? kSlice : kLoneSlice);
    std::set<std::string> waiting;  // of a write before, in this pass
    std::deque<Write*> kept;
    for (Write* write : queue) {
        const auto behind = [&waiting](const std::string& key) { return waiting.contains(key); };
        const bool follows = std::any_of(write->side_keys.begin(), write->side_keys.end(), behind);
        std::exception_ptr failure;
        Ran ran = Ran::done;
        if (follows) {
            ran = Ran::blocked;
        } else if (!fails_with_its_run(*write)) {
            ran = run_writes(side_, {&write, 1}, failure);
        }
        if (ran == Ran::blocked && !follows && !still_waits(*write)) ran = Ran::done;
        if (ran == Ran::failed || ran == Ran::refused) fail(*write, failure);
        if (ran == Ran::blocked || goes_again(*write)) {
            waiting.insert(write->side_keys.begin(), write->side_keys.end());
            kept.push_back(write);
        } else {
            leave_side(*write);
        }
    }
    queue.swap(kept);
}

bool Committer::still_waits(Write& write) {
    const seam::SteadyTime now = seam::steady_now();
    if (write.since == seam::SteadyTime{}) write.since = write.reported = now;
    if (now - write.reported < core_.options.blocked_after) return true;
    write.reported = now;
    explain_block(write);
    return !write.resolved && !write.again;
}

void Committer::explain_block(Write& write) {
    Blockers blockers(core_, *side_.connection);
    Write* const only = &write;
    std::exception_ptr failure;
    side_.writer->set_lock_timeout(kLoneSlice);
    const Ran ran = run_writes(side_, {&only, 1}, failure);
    const std::string pids = blockers.finish();
    if (ran == Ran::failed || ran == Ran::refused) fail(write, failure);
    if (ran != Ran::blocked) return;
    const std::string text = write.describe() + " has waited " + seconds(seam::steady_now() - write.since) +
                             " s for a lock; held by server process " + pids + " (pg_stat_activity.pid)";
    if (write.kind == WriteKind::start) {
        fail(write,
             std::make_exception_ptr(DatabaseError(
                 DatabaseErrorKind::blocked,
                 text + "; does this thread, or another program, hold an open transaction?", "55P03")));
    } else {  // a run has nobody to ask: it waits on
        log(LogLevel::warn, "a checkpoint waits for a lock", &write, text);
    }
}

}  // namespace dbos::sysdb
