// Workflow schedules and queue definitions, as a Client manages them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dbos/codec.hpp"
#include "dbos/options.hpp"
#include "dbos/serializer.hpp"
#include "dbos/types.hpp"
#include "dbos/value.hpp"

namespace dbos {

/// The SDK of the application that fires a schedule. It decides how the context is stored, which that application must be
/// able to read or none of its schedules run; how the ids of runs are written, which is all that keeps a backfill from
/// running a tick again; and what a day of month beside a day of week means. (client-side facts of py: dbos/_scheduler.py,
/// ts: src/scheduler, go: scheduler.go, java: SchedulerService)
enum class ScheduleStyle : std::uint8_t {
    cpp,         ///< an application of this library; ids as of the Python SDK
    typescript,  ///< contexts in the form of SuperJSON; ids in UTC with milliseconds; both days must match; ranges may wrap around
    go,          ///< contexts in plain JSON; ids without a fraction
    java,        ///< live ids and backfill ids differ, so a backfill may repeat a tick
    python,      ///< contexts are pickled: what JSON can hold
};

/// Options of create_schedule, and the entries of apply_schedules.
struct ScheduleOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Unique in a system database. Required.
    std::string schedule_name = {};
    /// The workflow to start. Required.
    std::string workflow_name = {};
    /// Five fields, six with seconds first, or `@hourly` and the like. Required.
    std::string schedule = {};
    /// Given to every run.
    std::optional<Any> context = {};
    std::string workflow_class_name = {};
    /// Start what was missed while no application ran.
    bool automatic_backfill = false;
    /// IANA name, `Europe/Berlin`. Default: UTC.
    std::string cron_timezone = {};
    /// Default: the internal queue. A partitioned queue is refused: a run of a schedule has no partition key.
    std::string queue_name = {};
    /// Application that fires it. Default: that of the client.
    std::string application_name = {};
    /// Format of the context, which the row does not name. Default: as `style` says; for `cpp` and `java` that of the client.
    std::shared_ptr<const Serializer> serializer = {};
    /// The context as the application's own format has it, for values that this library does not write. Instead of `context`.
    std::optional<std::string> raw_context = {};
    ScheduleStyle style = ScheduleStyle::cpp;
};

/// What update_schedule changes. Absent = stays as it is.
struct ScheduleUpdate {
    detail::named_members_only only_named_members = detail::named_members_only();
    std::optional<std::string> schedule = {};
    std::optional<Any> context = {};
    std::optional<bool> automatic_backfill = {};
    /// Empty = UTC.
    std::optional<std::string> cron_timezone = {};
    /// Empty = the internal queue.
    std::optional<std::string> queue_name = {};
    std::shared_ptr<const Serializer> serializer = {};
    std::optional<std::string> raw_context = {};
    ScheduleStyle style = ScheduleStyle::cpp;
};

/// Options of list_schedules. All given filters must hold.
struct ListSchedulesOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// `ACTIVE` or `PAUSED`.
    OneOrMany status = {};
    OneOrMany workflow_name = {};
    OneOrMany schedule_name_prefix = {};
    /// Default: the application_name of the client, if it has one. Schedules without an owner match in any case.
    OneOrMany application_name = {};
};

/// Options of backfill_schedule and trigger_schedule.
struct RunScheduleOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    ScheduleStyle style = ScheduleStyle::cpp;
};

/// A row of workflow_schedules. (Fields of the Python SDK's WorkflowSchedule.)
struct WorkflowSchedule {
    std::string schedule_id = {};
    std::string schedule_name = {};
    std::string workflow_name = {};
    std::optional<std::string> workflow_class_name = {};
    std::string schedule = {};
    /// `ACTIVE` or `PAUSED`.
    std::string status = {};
    /// Decoded: plain values of Python and TypeScript, all else with the client's format; its text if that cannot be done.
    Value context = {};
    std::string raw_context = {};
    /// As the application wrote it: ISO 8601.
    std::optional<std::string> last_fired_at = {};
    bool automatic_backfill = false;
    std::optional<std::string> cron_timezone = {};
    std::optional<std::string> queue_name = {};
    std::optional<std::string> application_name = {};
};

/// A queue as it is defined in the system database, for applications of every SDK.
struct QueueDefinition {
    detail::named_members_only only_named_members = detail::named_members_only();
    std::string name = {};
    /// As in QueueOptions.
    std::optional<std::int64_t> worker_concurrency = {};
    std::optional<std::int64_t> concurrency = {};
    RateLimit limiter = {};
    std::optional<std::int64_t> partition_worker_concurrency = {};
    std::optional<std::int64_t> partition_concurrency = {};
    RateLimit partition_limiter = {};
    Duration polling_interval = std::chrono::seconds(1);
    /// Default of a registration: that of the client.
    std::string application_name = {};
    /// Only read: set when a partition limit is. Set without one, the queue is of an old form: its plain limits hold for each
    /// partition key.
    bool partition_queue = false;
};

}  // namespace dbos
