// What waits give a body, now and when it runs again (runtime.md 11: 34, 35).
#include <algorithm>

#include "oracle.hpp"
#include "platform/situations.hpp"
#include "world.hpp"

namespace dbos::sim {

namespace {

bool clock_is_set_back() {
    return std::ranges::any_of(world->plan.faults, [](const Fault& fault) {
        return fault.kind == FaultKind::wall_jump && fault.amount < 0;
    });
}

std::int64_t wall_ms() {
    return std::chrono::floor<std::chrono::milliseconds>(seam::wall_now()).time_since_epoch().count();
}

}  // namespace

/// Not before the instant that its first run has recorded; and where nothing goes wrong, not long after it.
void Oracle::slept(const std::string& workflow_id, int n, Nanos length) {
    const Unseen unseen;
    const Quiet nobody_else;
    const auto rows =
        ask("SELECT output, started_at_epoch_ms FROM operation_outputs WHERE workflow_uuid = ? AND "
            "function_name = 'DBOS.sleep' ORDER BY function_id LIMIT 1 OFFSET " +
                std::to_string(n),
            {workflow_id});
    if (!rows || clock_is_set_back()) return;
    const std::string what = "sleep " + std::to_string(n) + " of " + workflow_id;
    if (rows->empty()) {
        if (known_.deleting.contains(workflow_id)) return;
        fail(what + " has ended, and has no record");
    }
    const std::int64_t until = std::stoll((*rows)[0][0].value_or("0"));
    const std::int64_t begun = std::stoll((*rows)[0][1].value_or("0"));
    const std::int64_t wanted = (length + kMillisecond - 1) / kMillisecond;
    if (until - begun < wanted - 1 || until - begun > wanted + 1)
        fail(what + " was to take " + std::to_string(wanted) + " ms, its record says " +
             std::to_string(until - begun));
    const std::int64_t now = wall_ms();
    if (now < until) fail(what + " ends " + std::to_string(until - now) + " ms too early");
    constexpr std::int64_t kBoundMs = 3000;
    const bool first = slept_.emplace(workflow_id, n).second;
    if (!first) {
        seam::reach(seam::Situation::sleep_replayed);
    } else if (calm_ && serving_ > 0 && now > until + kBoundMs) {
        fail(what + " ends " + std::to_string(now - until) + " ms too late");
    }
}

/// A wait gives every run of its body what it gave the first one: what timed out has timed out for ever.
void Oracle::told(const std::string& workflow_id, std::size_t n, const std::string& value) {
    const Unseen unseen;
    const Quiet nobody_else;
    auto& values = told_[workflow_id];
    if (n == values.size()) {
        values.push_back(value);
        return;
    }
    if (n > values.size() || values[n] != value)
        fail("wait " + std::to_string(n) + " of " + workflow_id + " gives \"" + value +
             "\", before it gave \"" + (n < values.size() ? values[n] : "nothing") + "\"");
    if (value != "-,") return;
    const auto there =
        ask("SELECT 1 FROM notifications WHERE destination_uuid = ? AND NOT consumed LIMIT 1", {workflow_id});
    if (there && !there->empty()) seam::reach(seam::Situation::timeout_seen_again);
}

}  // namespace dbos::sim
