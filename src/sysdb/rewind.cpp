// The same workflow again from a step on (ts 5.3: system_database.ts rewindWorkflow; py 3.4.0 runs the same statements).
#include "platform/planted.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/manage.hpp"
#include "sysdb/managed_write.hpp"

namespace dbos::sysdb {
namespace {

// $1 = id, $2 = first step that goes. In this order: the history is read before it is cut.
constexpr sql::Statement kEvents{
    "rewind_events",
    "DELETE FROM @workflow_events WHERE workflow_uuid = $1 AND key IN (SELECT h.key FROM "
    "@workflow_events_history h WHERE h.workflow_uuid = $1 AND h.function_id >= $2)"};
constexpr sql::Statement kEventsBefore{
    "rewind_events_before",
    "INSERT INTO @workflow_events (workflow_uuid, key, value, serialization) SELECT h.workflow_uuid, h.key, "
    "h.value, h.serialization FROM @workflow_events_history h WHERE h.workflow_uuid = $1 AND h.function_id < "
    "$2 AND EXISTS (SELECT 1 FROM @workflow_events_history g WHERE g.workflow_uuid = $1 AND g.key = h.key "
    "AND "
    "g.function_id >= $2) AND NOT EXISTS (SELECT 1 FROM @workflow_events_history l WHERE l.workflow_uuid = "
    "$1 "
    "AND l.key = h.key AND l.function_id < $2 AND l.function_id > h.function_id)"};
// Go and older TypeScript write the bare marker.
constexpr sql::Statement kStreamEnds{
    "rewind_stream_ends",
    "DELETE FROM @streams WHERE workflow_uuid = $1 AND function_id >= $2 AND ((value = "
    "'\"__DBOS_STREAM_CLOSED__\"' AND serialization = 'portable_json') OR (value = '__DBOS_STREAM_CLOSED__' "
    "AND COALESCE(serialization, '') = ''))"};
constexpr sql::Statement kSteps{
    "rewind_steps", "DELETE FROM @operation_outputs WHERE workflow_uuid = $1 AND function_id >= $2"};
constexpr sql::Statement kHistory{
    "rewind_history", "DELETE FROM @workflow_events_history WHERE workflow_uuid = $1 AND function_id >= $2"};
constexpr sql::Statement kMessages{
    "rewind_messages",
    "DELETE FROM @notifications WHERE destination_uuid = $1 AND (consumed_by_function_id >= $2 OR NOT "
    "consumed)"};
constexpr sql::Statement kOutput{"rewind_output", "DELETE FROM @workflow_output WHERE workflow_uuid = $1"};

bool ended(const std::string& status) {
    return status != "PENDING" && status != "ENQUEUED" && status != "DELAYED";
}

}  // namespace

void SystemDatabase::rewind(const Rewind& how, Gate* gate) {
    const std::string ids[] = {how.workflow_id};
    const std::string queue = how.queue_name.value_or(std::string(kInternalQueue));
    if (core_->options.rewinding) core_->options.rewinding(how.workflow_id, how.start_step);
    managed_write(
        *core_, {.name = "rewind_workflow", .ids = ids, .repeat = Repeat::never, .gate = gate},
        [&](ManagedWrite& write) {
            const Layout& layout = write.layout;
            if (!layout.payload_tables || !layout.creator_token || !layout.recv_marker) {
                throw ConfigError("rewind_workflow needs a system database of version 123 or newer, got " +
                                  std::to_string(layout.version) + ": migrate it with a current release");
            }
            const auto rows = write.lock(ids);
            check_all_exist(ids, rows);
            check_name(rows.front(), how.expected_name);
            if (!ended(rows.front().status)) {
                throw UsageError("rewind_workflow of \"" + how.workflow_id +
                                     "\": expected a workflow that has ended, got status " +
                                     rows.front().status + "; cancel it first",
                                 how.workflow_id);
            }
            write.queues.insert(queue);
            const std::int64_t first = how.start_step + (seam::planted(seam::Bug::rewind_cuts_late) ? 1 : 0);
            const sql::Params cut{std::string_view(how.workflow_id), first};
            for (const sql::Statement* statement :
                 {&kEvents, &kEventsBefore, &kStreamEnds, &kSteps, &kHistory, &kMessages}) {
                write.connection.execute(*statement, cut);
            }
            write.connection.execute(kOutput, {std::string_view(how.workflow_id)});
            std::string sets =
                "status = 'ENQUEUED', owner_xid = NULL, queue_name = $2, queue_partition_key = $3, "
                "recovery_attempts = 0, workflow_deadline_epoch_ms = NULL, deduplication_id = NULL, "
                "started_at_epoch_ms = NULL, updated_at = $4, application_version = COALESCE($5, "
                "application_version)";
            if (layout.completed_at) sets += ", completed_at = NULL";
            if (layout.legacy_payloads) sets += ", output = NULL, error = NULL";
            write.write(
                "UPDATE @workflow_status SET " + sets + " WHERE workflow_uuid = $1",
                {std::string_view(how.workflow_id), std::string_view(queue),
                 sql::opt(how.queue_partition_key), write.now_ms(), sql::opt(how.application_version)});
        });
}

}  // namespace dbos::sysdb
