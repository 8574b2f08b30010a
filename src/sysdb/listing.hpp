// Reads for people and for waits: listings of workflows and steps, and what the waiter hub asks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sysdb/records.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::sysdb {

/// Filters of a listing; all given ones must hold. In a list of texts `""` also means NULL.
struct ListQuery {
    using Texts = std::optional<std::vector<std::string>>;  // nullopt = no filter, empty = no row
    Texts workflow_ids;
    Texts status;
    Texts name;
    Texts app_version;
    Texts forked_from;
    Texts parent_workflow_id;
    Texts user;
    Texts queue_name;
    Texts workflow_id_prefix;
    Texts executor_id;
    Texts schedule_name;
    Texts application_name;  // rows without an owner match in any case
    std::optional<Millis> created_from, created_to;
    std::optional<Millis> completed_from, completed_to;
    std::optional<Millis> dequeued_from, dequeued_to;
    std::optional<bool> was_forked_from;
    std::optional<bool> has_parent;
    std::optional<bool> is_fork;
    std::optional<bool> is_debounced;
    Texts class_name;
    Texts config_name;
    Texts deduplication_id;
    Text attributes;  // JSON text of an object; PostgreSQL only
    bool queues_only = false;
    std::optional<std::int64_t> limit;
    std::optional<std::int64_t> offset;
    bool descending = false;
    bool load_input = true;
    bool load_output = true;
    Millis timeout_ms = 0;  // PostgreSQL's statement_timeout; 0 = that of the server
};

/// A row of a listing. Payloads as stored.
struct ListedWorkflow {
    std::string workflow_id;
    std::string status;
    std::string name;
    Text class_name;
    Text config_name;
    Text authenticated_user;
    Text assumed_role;
    Text authenticated_roles;
    Text inputs;
    Text output;
    Text error;
    Text serialization;
    Millis created_at = 0;
    Millis updated_at = 0;
    Text queue_name;
    Text executor_id;
    Text application_version;
    Text application_id;
    std::optional<Millis> timeout_ms;
    std::optional<Millis> deadline_ms;
    Text deduplication_id;
    std::int64_t priority = 0;
    Text queue_partition_key;
    Text forked_from;
    bool was_forked_from = false;
    Text parent_workflow_id;
    std::optional<Millis> started_at_ms;
    std::optional<Millis> delay_until_ms;
    std::optional<Millis> completed_at_ms;
    Text attributes;
    Text schedule_name;
    Text application_name;
    std::int64_t recovery_attempts = 0;
};

struct StepQuery {
    std::string workflow_id;
    bool load_output = true;
    std::optional<std::int64_t> limit;
    std::optional<std::int64_t> offset;
};

/// Reads function_id, function_name, child_workflow_id, started_at_epoch_ms, completed_at_epoch_ms, serialization, output and
/// error, in this order from `column` on.
StepRecord read_step(const sql::Result& result, std::size_t row, std::size_t column);

// --- for the waiter hub, on a connection of its own. Nothing is retried here but a changed layout, once.

/// Which of these ids exist, and their status.
std::vector<std::pair<std::string, std::string>> wait_statuses(sql::Connection& connection,
                                                               std::span<const std::string> ids);
/// Stored bytes of the payloads of these ids (without decompressing them).
std::vector<std::pair<std::string, std::int64_t>> wait_sizes(SystemDatabase::Core& core,
                                                             sql::Connection& connection,
                                                             std::span<const std::string> ids);
/// Status and payload of these ids in one snapshot.
std::vector<ResultRow> wait_results(SystemDatabase::Core& core, sql::Connection& connection,
                                    std::span<const std::string> ids);

/// Which of these events exist, with the bytes of their values.
std::vector<std::pair<EventKey, std::int64_t>> wait_event_sizes(sql::Connection& connection,
                                                                std::span<const EventKey> keys);
/// The values of these events, as far as they exist.
std::vector<EventRow> wait_events(sql::Connection& connection, std::span<const EventKey> keys);
/// Order as given.
std::vector<StreamState> wait_streams(sql::Connection& connection, std::span<const StreamPosition> positions);

}  // namespace dbos::sysdb
