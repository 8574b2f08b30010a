// The context of a schedule: the one stored value whose row does not say in which format it is. It must be in that of the
// application that fires the schedule; one that it cannot read ends the whole scheduler of a Python application.
// (py: dbos/_scheduler.py _ScheduleThread, ts: src/scheduler/scheduler.ts)
#pragma once

#include <string>
#include <string_view>

#include "dbos/schedule.hpp"
#include "dbos/serializer.hpp"
#include "dbos/value.hpp"

namespace dbos {

/// As an application of this style reads it; `own` is the format of styles that have none here. Python and TypeScript: what
/// JSON can hold. Throws EncodeError.
std::string write_schedule_context(const Value& context, ScheduleStyle style, const Serializer& own);

/// Whoever wrote it: Python's and TypeScript's plain values are recognised, everything else is read in the format `own`.
/// Throws DecodeError.
Value read_schedule_context(std::string_view text, const Serializer& own);

}  // namespace dbos
