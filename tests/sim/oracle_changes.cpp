// What running and recovering may change of a row, and who may run it (runtime.md 11: 6, 7, 9, 13, 28, 40, 42). Looked at in each
// committed state, against the one before it.
#include <algorithm>

#include "oracle.hpp"
#include "platform/situations.hpp"
#include "world.hpp"

namespace dbos::sim {

namespace {

constexpr std::int64_t kUsualLimit = 100;  // max_recovery_attempts of all but one workflow

std::string in_words(const std::optional<std::int64_t>& value) {
    return value ? std::to_string(*value) : "none";
}

bool may_run(const std::string& status) { return status == "PENDING" || status == "ENQUEUED"; }

}  // namespace

/// A row has appeared. A direct start is its first run; a child may not outlive its parent.
void Oracle::judge_birth(const std::string& id, const Row& row) const {
    if (exact_ && may_run(row.status) && row.attempts != (row.status == "PENDING" ? 1 : 0))
        fail("workflow " + id + " begins as " + row.status + " with " + std::to_string(row.attempts) +
             " attempts");
    const auto parent = rows_.find(row.parent);
    if (!exact_ || parent == rows_.end() || row.timeout || parent->second.status != "PENDING") return;
    if (row.deadline != parent->second.deadline)
        fail("child " + id + " has the deadline " + in_words(row.deadline) + ", its parent " +
             in_words(parent->second.deadline));
}

void Oracle::judge_change(const std::string& id, const Row& before, const Row& now) {
    if (before.identity != now.identity)
        fail("workflow " + id + " has changed from " + before.identity + " to " + now.identity);
    if (before.attributes != now.attributes && !known_.rearranged.contains(id))
        fail("the attributes of " + id + " have changed from " + before.attributes + " to " + now.attributes);
    if (!before.version.empty() && now.version != before.version)
        fail("the version of " + id + " has changed from " + before.version + " to " + now.version);
    const auto cut = known_.rewound.find(id);
    const bool again = known_.managed.contains(id) || cut != known_.rewound.end();
    if (before.deadline && now.deadline != before.deadline && !(again && (!now.deadline || !exact_)))
        fail("the deadline of " + id + " has changed from " + in_words(before.deadline) + " to " +
             in_words(now.deadline));
    if (!before.deadline && now.deadline && !now.timeout)
        fail("workflow " + id + " has no time-out, and got the deadline " + in_words(now.deadline));
    if (!exact_) return;
    judge_attempts(id, before, now);
    judge_version(id, before, now);
    const bool rewound = cut != known_.rewound.end() && before.ended_at > 0 && now.status == "ENQUEUED";
    if (rewound) judge_cut(id, cut->second);
}

/// Each claim counts, and nothing else does; a resume and a rewind begin anew.
void Oracle::judge_attempts(const std::string& id, const Row& before, const Row& now) {
    const bool claimed =
        now.status == "PENDING" && (before.status == "ENQUEUED" || before.owner != now.owner);
    const bool again = known_.managed.contains(id) || known_.rewound.contains(id);
    bool right = now.attempts == before.attempts + (claimed ? 1 : 0);
    if (again && now.status == "ENQUEUED") {
        // Also of one that waits or runs; a run may be handed back besides.
        if (now.attempts == 0) {
            right = true;
            runs_.erase(id);
        } else if (before.ended_at > 0) {
            right = false;
        }
    }
    // A run that has been parked for a minute does not kill its process.
    const bool settled = now.attempts == 1 && before.status == "PENDING" && now.owner == before.owner;
    if (settled) runs_[id] = {now.owner};
    if (!right && !settled)
        fail("workflow " + id + " went from " + before.status + " with " + std::to_string(before.attempts) +
             " attempts to " + now.status + " with " + std::to_string(now.attempts));
}

/// A body begins under the claim that the row shows.
void Oracle::judge_run(const std::string& id) {
    const auto row = rows_.find(id);
    if (known_.unrunnable.contains(id)) fail("the body of " + id + " runs, which cannot be run");
    if (row == rows_.end() || row->second.status != "PENDING" || row->second.owner.empty()) return;
    const auto limit = row->second.name == Fragile.name() ? kFragileLimit : kUsualLimit;
    auto& runs = runs_[id];
    runs.insert(row->second.owner);
    if (std::ssize(runs) > limit + 1)
        fail("the body of " + id + " runs for the " + std::to_string(runs.size()) + "th time, the limit is " +
             std::to_string(limit));
}

/// Within one claim no attempt of a step comes twice, and none is left out; with a new claim they begin anew.
void Oracle::judge_attempt(const std::string& id, int step, int attempt) {
    const auto row = rows_.find(id);
    if (row == rows_.end()) return;
    Try& last = tries_[{id, step}];
    const bool same = last.owner == row->second.owner && last.process == current_process();
    const int expected = same ? last.attempt + 1 : 1;
    if (attempt != expected)
        fail("attempt " + std::to_string(attempt) + " of step " + std::to_string(step) + " of " + id +
             " begins, expected attempt " + std::to_string(expected) + " of this run");
    last = {row->second.owner, current_process(), attempt};
}

bool Oracle::dies(const std::string& workflow_id) {
    const Unseen unseen;
    const auto deadly = known_.deadly.find(workflow_id);
    return deadly != known_.deadly.end() && deaths_[workflow_id]++ < deadly->second;
}

/// Inputs change while a debounced workflow waits, and never afterwards.
void Oracle::note_input(const Line& line) {
    const std::string id = line[0].value_or("");
    const auto [at, added] = inputs_.emplace(id, line[1].value_or(""));
    if (added || at->second == line[1]) return;
    const auto row = rows_.find(id);
    if (exact_ && (row == rows_.end() || row->second.status != "DELAYED"))
        fail("the inputs of " + id + " have changed from " + at->second + " to " + line[1].value_or(""));
    at->second = line[1].value_or("");
}

void Oracle::note_latest() {
    const auto rows =
        ask("SELECT version_name FROM application_versions ORDER BY version_timestamp DESC LIMIT 1");
    if (!rows || rows->empty() || rows->front()[0] == latest_) return;
    if (!latest_.empty()) latest_until_[latest_] = world_ns();
    latest_ = rows->front()[0].value_or("");
}

bool Oracle::version_fits(const std::string& executor_id, const std::string& version) const {
    const auto processes = processes_.find(executor_id);
    if (versions_.empty() || processes == processes_.end()) return true;
    return std::ranges::any_of(processes->second, [&](int process) {
        const auto of = versions_.find(process);
        return of != versions_.end() && of->second == version;
    });
}

/// Who claims a row has its version, or is the latest, which then stamps it. A version may learn a tick later that it is not the
/// latest any more.
void Oracle::judge_version(const std::string& id, const Row& before, const Row& now) const {
    if (versions_.empty() || now.status != "PENDING" || before.status != "ENQUEUED") return;
    if (now.version.empty() || !version_fits(now.executor, now.version))
        fail("workflow " + id + " of version " + now.version + " was claimed by executor " + now.executor +
             ", which has another one");
    if (!before.version.empty() || latest_.empty()) return;
    const auto was = latest_until_.find(now.version);
    constexpr Nanos kBound = 3 * kSecond;
    if (now.version == latest_) {
        if (!latest_until_.empty()) seam::reach(seam::Situation::left_to_the_latest);
    } else if (was == latest_until_.end() || (calm_ && world_ns() - was->second > kBound)) {
        fail("workflow " + id + " has no version, and was claimed by " + now.version +
             ", but the latest is " + latest_);
    }
}

/// A rewind has committed: nothing stands above its cut, and events are what they were there.
void Oracle::judge_cut(const std::string& id, int cut) {
    seam::reach(seam::Situation::history_cut);
    const std::string where = "workflow_uuid = '" + id + "'";
    const std::string above = " WHERE " + where + " AND function_id >= " + std::to_string(cut);
    none("a rewind has left",
         "SELECT 'a record', function_id, function_name FROM operation_outputs" + above +
             " UNION ALL SELECT 'an event', function_id, key FROM workflow_events_history" + above +
             " UNION ALL SELECT 'an outcome', 0, output FROM workflow_output WHERE " + where +
             " UNION ALL SELECT 'a message', consumed_by_function_id, message FROM notifications WHERE "
             "destination_uuid = '" +
             id + "' AND (NOT consumed OR consumed_by_function_id >= " + std::to_string(cut) + ")");
    none("an event is not as it was at the cut",
         "SELECT e.key, e.value FROM workflow_events e WHERE e." + where +
             " AND e.value IS NOT (SELECT x.value FROM workflow_events_history x WHERE x.workflow_uuid = "
             "e.workflow_uuid AND x.key = e.key ORDER BY x.function_id DESC LIMIT 1) UNION ALL SELECT x.key, "
             "'gone' FROM workflow_events_history x WHERE x." +
             where +
             " AND NOT EXISTS (SELECT 1 FROM workflow_events e WHERE e.workflow_uuid = x.workflow_uuid AND "
             "e.key = x.key)");
    auto& steps = steps_[id];
    steps.erase(steps.lower_bound(cut), steps.end());
}

}  // namespace dbos::sim
