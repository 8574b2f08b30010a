// What the scheduler of an application reads in a row of workflow_schedules.
#pragma once

#include <optional>
#include <string>

#include "sysdb/records.hpp"

namespace dbos::sysdb {

/// The instant in a last_fired_at, as any SDK writes it: py, ts: the tick in ISO 8601; go: the wall time of the firing, with up to
/// nine digits; java: without seconds if they are 0. nullopt: none, or a text that is no instant.
std::optional<Millis> fired_instant(const Text& last_fired_at);

/// Throws UsageError if the runs of a schedule could never be claimed from this queue: they have no partition key.
void require_schedulable(const std::string& schedule_name, const QueueRow& queue);

}  // namespace dbos::sysdb
