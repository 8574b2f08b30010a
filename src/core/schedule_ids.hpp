// Ids of the workflows that a schedule starts. The time text in them is all that keeps the processes on one schedule from
// running a tick twice, so it must be written exactly as the owner's SDK writes it. Pure.
//
//     sched-<schedule name>-<time>             a tick of the scheduler, or of a backfill
//     sched-<schedule name>-trigger-<now>      trigger_schedule
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/time_zone.hpp"

namespace dbos::core {

/// Who owns a schedule. C++ applications write their ids as Python does.
enum class ScheduleDialect : std::uint8_t { python, typescript, go, java };

/// A point in time as the clock gives it.
using Moment = std::chrono::sys_time<std::chrono::nanoseconds>;

/// The id of a tick of the live scheduler. `zone`: the schedule's, UTC if it has none; for go and java the zone that THAT process
/// renders in: go always its own local zone, java its own if the schedule has none.
///
///     python      sched-n-2026-03-08T12:00:00-04:00    offset always in numbers (py: dbos/_scheduler.py, datetime.isoformat)
///     typescript  sched-n-2026-03-08T16:00:00.000Z     always UTC (ts: scheduler, Date.toISOString)
///     go          sched-n-2026-03-08T16:00:00Z         Z where the offset is 0 (go: time.RFC3339)
///     java        sched-n-2026-03-08T12:00-04:00       seconds only if not 0 (java: OffsetDateTime.toString)
std::string tick_id(ScheduleDialect dialect, std::string_view schedule_name, Instant tick,
                    const TimeZone& zone);

/// What follows the schedule's name in tick_id; as the Python SDK stores it in last_fired_at.
std::string tick_text(ScheduleDialect dialect, Instant tick, const TimeZone& zone);

/// In UTC, for people: `2026-03-08T16:00:00Z`.
std::string instant_text(Instant instant);

/// The id of a tick of a backfill: as tick_id, but java adds the zone (`2026-03-08T12:00-04:00[America/New_York]`), so that its
/// live ids and its backfill do not match. For go `zone` is that of the start argument.
std::string backfill_id(ScheduleDialect dialect, std::string_view schedule_name, Instant tick,
                        const TimeZone& zone);

/// The id of a trigger at `now`.
///
///     python      sched-n-trigger-2026-03-01T05:00:00.123456+00:00    UTC, microseconds, none if 0
///     typescript  sched-n-trigger-2026-03-01T05:00:00.123Z
///     go          sched-n-trigger-2026-03-01T05:00:00.123456789Z      nanoseconds without closing zeros, in `zone`
///     java        sched-n-trigger-2026-03-01T05:00:00.123456Z         0, 3, 6 or 9 digits (java: Instant.toString)
std::string trigger_id(ScheduleDialect dialect, std::string_view schedule_name, Moment now,
                       const TimeZone& zone = {});

/// Every id under which some SDK may have run this tick already: all dialects, live and backfill, in the schedule's zone and in
/// UTC. The Python one comes first, none comes twice. A process checks them before it fires. A go or java process in a third zone
/// is not foreseen.
std::vector<std::string> possible_tick_ids(std::string_view schedule_name, Instant tick,
                                           const TimeZone& zone);

}  // namespace dbos::core
