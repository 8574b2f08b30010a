// What the methods of Client and App take and return: statuses, instants, filters, and what listings show.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dbos/export.hpp"
#include "dbos/value.hpp"

namespace dbos {

/// The seven statuses of a workflow. On the wire they are the upper-case texts of to_string().
enum class Status : std::uint8_t {
    pending,                         ///< running, or waiting to be recovered
    success,                         ///< ended with a result
    error,                           ///< ended with an error
    max_recovery_attempts_exceeded,  ///< given up after too many recoveries
    cancelled,
    enqueued,  ///< waits in a queue
    delayed,   ///< waits for its time, then in a queue
};

/// `PENDING`, `SUCCESS`, `ERROR`, `MAX_RECOVERY_ATTEMPTS_EXCEEDED`, `CANCELLED`, `ENQUEUED`, `DELAYED`.
DBOS_EXPORT const char* to_string(Status status) noexcept;
inline bool operator==(std::string_view text, Status status) noexcept { return text == to_string(status); }
/// Whether a workflow of this status (its text) is over: none of PENDING, ENQUEUED, DELAYED.
DBOS_EXPORT bool is_terminal(std::string_view status) noexcept;

/// An instant of a filter: RFC 3339 text (`Z`, `+hh:mm`, fractions; without an offset it is UTC) or a time
/// point. Cut to milliseconds, the unit of the database. Throws UsageError for other text.
class DBOS_EXPORT Instant {
   public:
    Instant(std::chrono::system_clock::time_point time) noexcept;
    Instant(std::string_view text);
    Instant(const std::string& text) : Instant(std::string_view(text)) {}
    Instant(const char* text) : Instant(std::string_view(text)) {}
    std::int64_t epoch_ms() const noexcept { return epoch_ms_; }

   private:
    std::int64_t epoch_ms_;
};

/// A filter: one text or several. Default and `{}` = no filter; an empty *vector* = no row matches; `""`
/// matches rows whose column is empty or NULL.
class DBOS_EXPORT OneOrMany {
   public:
    OneOrMany() = default;
    OneOrMany(std::nullopt_t) noexcept {}
    OneOrMany(const char* one) : OneOrMany(std::string(one)) {}
    OneOrMany(std::string_view one) : OneOrMany(std::string(one)) {}
    OneOrMany(std::string one);
    OneOrMany(Status one) : OneOrMany(std::string(to_string(one))) {}
    OneOrMany(std::optional<std::string> one);
    OneOrMany(std::vector<std::string> many);
    OneOrMany(const std::vector<Status>& many);
    OneOrMany(std::initializer_list<std::string_view> many);
    OneOrMany(std::initializer_list<Status> many);

    /// Absent = no filter.
    const std::optional<std::vector<std::string>>& values() const noexcept { return values_; }

   private:
    std::optional<std::vector<std::string>> values_ = {};
};

/// A workflow as get_status() and the listings show it. Times are epoch milliseconds. What the row does not
/// have, or was not loaded, is absent. (Fields of the Python SDK's WorkflowStatus, dbos/_sys_db.py.)
struct DBOS_EXPORT WorkflowStatus {
    std::string workflow_id = {};
    /// Compare with `==` to a dbos::Status or a text.
    std::string status = {};
    std::string name = {};
    std::optional<std::string> class_name = {};
    std::optional<std::string> config_name = {};
    std::optional<std::string> authenticated_user = {};
    std::optional<std::string> assumed_role = {};
    std::vector<std::string> authenticated_roles = {};
    /// The arguments. If the stored text cannot be decoded, `raw_input` holds it instead.
    std::optional<Arguments> input = {};
    std::optional<std::string> raw_input = {};
    /// The result; if its text cannot be decoded, that text as a string.
    std::optional<Value> output = {};
    /// The error; if its text cannot be decoded, only `raw` and `format` are set.
    std::optional<Failure> error = {};
    std::int64_t created_at = 0;
    std::int64_t updated_at = 0;
    std::optional<std::string> queue_name = {};
    std::optional<std::string> executor_id = {};
    std::optional<std::string> app_version = {};
    std::optional<std::string> app_id = {};
    std::optional<std::int64_t> workflow_timeout_ms = {};
    std::optional<std::int64_t> workflow_deadline_epoch_ms = {};
    std::optional<std::string> deduplication_id = {};
    std::int64_t priority = 0;
    std::optional<std::string> queue_partition_key = {};
    std::optional<std::string> forked_from = {};
    bool was_forked_from = false;
    std::optional<std::string> parent_workflow_id = {};
    std::optional<std::int64_t> dequeued_at = {};
    std::optional<std::int64_t> delay_until_epoch_ms = {};
    std::optional<std::int64_t> completed_at = {};
    std::optional<Value> attributes = {};
    std::optional<std::string> schedule_name = {};
    std::optional<std::string> application_name = {};
    std::int64_t recovery_attempts = 0;
    /// Name of the format of the payloads.
    std::optional<std::string> serialization = {};
};

/// A recorded step, as list_workflow_steps() shows it. Times are epoch milliseconds.
struct DBOS_EXPORT StepInfo {
    std::int64_t function_id = 0;
    std::string function_name = {};
    /// The result; if its text cannot be decoded, that text as a string.
    std::optional<Value> output = {};
    std::optional<Failure> error = {};
    std::optional<std::string> child_workflow_id = {};
    std::optional<std::int64_t> started_at_epoch_ms = {};
    std::optional<std::int64_t> completed_at_epoch_ms = {};
    std::optional<std::string> serialization = {};
};

/// A registered version of an application. Times are epoch milliseconds. (Fields of the Python SDK's VersionInfo,
/// dbos/_sys_db.py.)
struct DBOS_EXPORT VersionInfo {
    std::string version_id = {};
    std::string version_name = {};
    /// When it was registered or last made the latest; the highest is the latest.
    std::int64_t version_timestamp = 0;
    std::int64_t created_at = 0;
    std::optional<std::string> application_name = {};
};

/// How many rows rename_application() has given to the new name.
struct DBOS_EXPORT RenamedRows {
    std::int64_t queues = 0;
    std::int64_t schedules = 0;
    std::int64_t versions = 0;
    std::int64_t workflows = 0;
    std::int64_t steps = 0;
};

/// What garbage_collect() has removed.
struct DBOS_EXPORT CollectedRows {
    std::int64_t workflows = 0;
    /// Rows of inputs and outputs.
    std::int64_t payloads = 0;
    std::int64_t steps = 0;
    /// Somebody else was collecting (any SDK), so this call stopped.
    bool busy = false;
};

/// A message to a workflow, as get_all_notifications() shows it.
struct DBOS_EXPORT Notification {
    /// Absent: it was sent without one.
    std::optional<std::string> topic = {};
    Value message = {};
    std::int64_t created_at_epoch_ms = 0;
    /// A receive has taken it.
    bool consumed = false;
};

/// One group of get_workflow_aggregates(). What was not asked for is absent; so is the value of a group of rows whose
/// column is NULL.
struct DBOS_EXPORT WorkflowAggregate {
    std::optional<std::string> status = {};
    std::optional<std::string> name = {};
    std::optional<std::string> queue_name = {};
    std::optional<std::string> executor_id = {};
    std::optional<std::string> application_version = {};
    std::optional<std::string> application_name = {};
    /// Start of the slice of time, in epoch milliseconds: a multiple of its width.
    std::optional<std::int64_t> time_bucket = {};
    std::optional<std::int64_t> count = {};
    std::optional<std::int64_t> min_created_at = {};
    std::optional<std::int64_t> max_queue_wait_ms = {};
    std::optional<std::int64_t> max_total_latency_ms = {};
};

/// One group of get_step_aggregates().
struct DBOS_EXPORT StepAggregate {
    std::optional<std::string> function_name = {};
    std::optional<std::string> status = {};
    std::optional<std::string> application_name = {};
    std::optional<std::int64_t> time_bucket = {};
    std::optional<std::int64_t> count = {};
    std::optional<std::int64_t> max_duration_ms = {};
};

}  // namespace dbos
