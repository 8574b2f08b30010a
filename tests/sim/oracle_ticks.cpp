// What must hold of the ticks of schedules (safety 56, 57). Each tick has one id, which is all that can make two runs of it; so what is
// asked is whether that id follows from the tick, and whether the schedule stood there, active, when it was fired.
#include <algorithm>

#include "oracle.hpp"
#include "value/time_text.hpp"
#include "world.hpp"

namespace dbos::sim {

namespace {

constexpr std::string_view kPrefix = "sched-";

/// `2026-03-01T05:00:00+00:00` of `sched-<name>-2026-03-01T05:00:00+00:00`.
std::string instant_of(const std::string& id, const std::string& schedule) {
    return id.substr(kPrefix.size() + schedule.size() + 1);
}

}  // namespace

/// A workflow has appeared in the state that has just been committed: if it is a tick, its schedule is active in that state, and gave
/// it its context.
void Oracle::judge_tick(const std::string& id) {
    if (!id.starts_with(kPrefix)) return;
    const auto rows =
        ask("SELECT s.status, s.context, i.inputs, w.schedule_name FROM workflow_status w JOIN "
            "workflow_input i ON "
            "i.workflow_uuid = w.workflow_uuid LEFT JOIN workflow_schedules s ON s.schedule_name = "
            "w.schedule_name "
            "WHERE w.workflow_uuid = ?",
            {id});
    if (!rows || rows->empty()) return;
    const Line& row = rows->front();
    if (row[0] != "ACTIVE")
        fail("tick " + id + " was fired, but its schedule is " + row[0].value_or("deleted"));
    const std::string ending = "," + row[1].value_or("") + "],\"namedArgs\":{}}";
    if (!row[2] || !row[2]->ends_with(ending))
        fail("tick " + id + " was fired with " + row[2].value_or("nothing") + ", but the context is " +
             row[1].value_or(""));
    const auto instant = parse_epoch_ms(instant_of(id, row[3].value_or("")));
    if (!instant || *instant % 1000 != 0) fail("tick " + id + " has an instant in its id that is no tick");
}

/// Where missed ticks are made up for, none is missing from the beginning to the last that ran. (What ran before that was fired by
/// processes whose clock was set back.) Nothing is asked where a clock is set back in the middle: what was fired before is then
/// ahead of everybody.
void Oracle::judge_ticks() {
    const bool set_back = std::ranges::any_of(world->plan.faults, [](const Fault& fault) {
        return fault.kind == FaultKind::wall_jump && fault.amount < 0;
    });
    if (set_back) return;
    for (const auto& [schedule, begin] : known_.schedules) {
        const auto rows =
            ask("SELECT workflow_uuid FROM workflow_status WHERE schedule_name = ? ORDER BY 1", {schedule});
        if (!rows) continue;
        std::optional<std::int64_t> last;
        for (const Line& row : *rows) {
            const auto instant = parse_epoch_ms(instant_of(*row[0], schedule));
            if (*instant < begin) continue;
            if (last && *instant != *last + 1000)
                fail("ticks of " + schedule +
                     " are missing: " + std::to_string((*instant - *last) / 1000 - 1) + " before " + *row[0]);
            last = instant;
        }
    }
}

}  // namespace dbos::sim
