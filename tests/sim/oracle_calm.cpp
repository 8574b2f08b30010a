// What must happen soon where nothing goes wrong (runtime.md 11: 39; fairness of queues), and how what is not run must end (7, 44).
#include "oracle.hpp"
#include "platform/situations.hpp"

namespace dbos::sim {

namespace {

constexpr Nanos kBound = 3 * kSecond;  // a tick a second, and what it takes

bool terminal(const std::string& status) {
    return status != "PENDING" && status != "ENQUEUED" && status != "DELAYED";
}

std::int64_t wall_ms() {
    return std::chrono::floor<std::chrono::milliseconds>(seam::wall_now()).time_since_epoch().count();
}

}  // namespace

/// A passed deadline cancels; and as long as all applications serve, who waits in a queue with free slots is claimed, however many
/// wait in others.
void Oracle::judge_calm() {
    const std::int64_t now_ms = wall_ms();
    if (all_serve_since_ == 0 && leases_.size() >= serving_) all_serve_since_ = world_ns();
    std::map<std::string, std::int64_t> running;
    std::set<std::string> waiting;
    std::int64_t flood = 0;
    for (const auto& [id, row] : rows_) {
        if (terminal(row.status)) continue;
        if (row.deadline && now_ms > *row.deadline + kBound / kMillisecond)
            fail("the deadline of " + id + " passed " + std::to_string(now_ms - *row.deadline) +
                 " ms ago, and it is " + row.status);
        if (row.status == "PENDING") ++running[row.queue];
        if (row.status != "ENQUEUED") continue;
        waiting.insert(row.queue);
        if (row.queue == kFlood) ++flood;
        if (serving_ > 0) judge_service(row, id);
    }
    if (flood > 8 && running.contains(kWide)) seam::reach(seam::Situation::served_beside_a_flood);
    if (serving_ == 0 || all_serve_since_ == 0) return;
    const std::pair<const char*, std::int64_t> limits[] = {
        {kShared, kSharedLimit}, {kNarrow, kNarrowLimit * static_cast<std::int64_t>(serving_)}};
    for (const auto& [queue, limit] : limits) {
        if (!waiting.contains(queue) || running[queue] >= limit) {
            slot_free_since_.erase(queue);
            continue;
        }
        const Nanos since =
            std::max(slot_free_since_.emplace(queue, world_ns()).first->second, all_serve_since_);
        if (world_ns() - since > kBound)
            fail("somebody waits in the queue \"" + std::string(queue) +
                 "\", and nobody takes its free slot for " +
                 std::to_string((world_ns() - since) / kMillisecond) + " ms");
    }
}

/// One that waits in a queue without limits.
void Oracle::judge_service(const Row& row, const std::string& id) const {
    if (row.queue != kWide || all_serve_since_ == 0) return;
    const Nanos since = std::max(row.since, all_serve_since_);
    if (world_ns() - since > kBound)
        fail("workflow " + id + " waits in the queue \"" + row.queue + "\", which has no limits, for " +
             std::to_string((world_ns() - since) / kMillisecond) + " ms");
}

/// What could not be run is an error; who was given up has killed its process too often; who is past a deadline by its parent is
/// cancelled with it.
void Oracle::judge_ends() {
    for (const auto& id : known_.unrunnable) {
        const auto row = rows_.find(id);
        if (row == rows_.end()) continue;  // its transaction was undone
        if (row->second.status != "ERROR")
            fail("workflow " + id + " cannot be run, and ended as " + row->second.status);
        if (steps_.contains(id)) fail("workflow " + id + " cannot be run, and has recorded a step");
        seam::reach(seam::Situation::ended_unrun);
    }
    for (const auto& [id, row] : rows_) {
        const bool given_up = row.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED";
        if (given_up && (row.name != Fragile.name() || row.attempts < kFragileLimit + 2))
            fail("workflow " + id + " was given up after " + std::to_string(row.attempts) + " attempts");
        if (row.status == "SUCCESS" && row.name == Fragile.name() && row.attempts > kFragileLimit + 1)
            fail("workflow " + id + " has run in its " + std::to_string(row.attempts) + "th attempt");
        if (row.status == "CANCELLED" && row.deadline && !row.timeout && !row.parent.empty())
            seam::reach(seam::Situation::child_overdue);
    }
}

/// A fork whose code does another thing than what it has copied ends with an error that names both, and does nothing more.
void Oracle::judge_misfits() {
    for (const auto& [id, step] : known_.misfits) {
        const auto row = rows_.find(id);
        if (row == rows_.end()) continue;  // its client has not come to it
        const std::string place = "step " + std::to_string(step) + " of workflow";
        const std::string& outcome = row->second.outcome;
        if (row->second.status != "ERROR" || outcome.find(place) == std::string::npos ||
            outcome.find("was recorded as") == std::string::npos)
            fail("the code of " + id + " does not fit its record of step " + std::to_string(step) +
                 ", and it ended as " + row->second.status + " " + outcome);
        none("a workflow whose code does not fit its history has gone on",
             "SELECT f.workflow_uuid, f.function_id, f.function_name FROM operation_outputs f JOIN "
             "workflow_status w ON w.workflow_uuid = f.workflow_uuid WHERE f.workflow_uuid = '" +
                 id +
                 "' AND NOT EXISTS (SELECT 1 FROM operation_outputs o WHERE o.workflow_uuid = "
                 "w.forked_from AND o.function_id = f.function_id AND o.function_name = f.function_name)");
        seam::reach(seam::Situation::history_unfit);
    }
}

}  // namespace dbos::sim
