// What the committer says to SQLite: row statements inside one BEGIN IMMEDIATE transaction, which is the lock.
#include <string>

#include "platform/planted.hpp"
#include "sysdb/committer_statements.hpp"

namespace dbos::sysdb {

void CommitterStatements::make_sqlite() {
    std::string values;
    for (std::size_t n = 1; n <= columns_.size(); ++n) values += "$" + std::to_string(n) + ", ";
    const std::string stamp = "$" + std::to_string(columns_.size() + 1);
    start_row = make("start_row", "INSERT INTO @workflow_status (" + column_names() + ") VALUES (" + values +
                                      stamp + ", " + stamp + ") ON CONFLICT DO NOTHING");
    if (!layout.payload_tables) return;
    input_row = make(
        "input_row",
        "INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp) VALUES ($1, $2, $3) ON "
        "CONFLICT DO NOTHING");
    input_update =
        make("input_update",
             "UPDATE @workflow_input SET inputs = $2, retention_timestamp = $3 WHERE workflow_uuid = $1");
    delete_steps = make("delete_steps", "DELETE FROM @operation_outputs WHERE workflow_uuid = $1");
    delete_output = make("delete_output", "DELETE FROM @workflow_output WHERE workflow_uuid = $1");
    if (!layout.creator_token || !layout.step_retention) return;  // no runs there, only clients

    // The unary plus keeps partial indexes on the status away.
    const std::string token =
        seam::planted(seam::Bug::fence_by_two_arrays) ? "instr($2, owner_xid) > 0" : "owner_xid = $2";
    const std::string owned = seam::planted(seam::Bug::outcome_without_fence)
                                  ? "$2 IS NOT NULL"
                                  : token + " AND +status = 'PENDING'";
    const std::string fence =
        " FROM @workflow_status w WHERE w.workflow_uuid = $1 AND " + token + " AND +w.status = 'PENDING'";
    step_row = make(
        "step_row",
        "INSERT INTO @operation_outputs (workflow_uuid, function_id, function_name, output, error, "
        "child_workflow_id, started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name, "
        "retention_timestamp) SELECT $1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12" +
            fence + " ON CONFLICT (workflow_uuid, function_id) DO NOTHING");
    make_sqlite_effects();
    outcome_row =
        make("outcome_row",
             "UPDATE @workflow_status SET status = $3, owner_xid = NULL, deduplication_id = NULL, updated_at "
             "= $4, "
             "completed_at = $4 WHERE workflow_uuid = $1 AND " +
                 owned);
    output_row = make(
        "output_row",
        "INSERT INTO @workflow_output (workflow_uuid, output, error, retention_timestamp) VALUES ($1, $2, "
        "$3, "
        "$4) ON CONFLICT (workflow_uuid) DO UPDATE SET output = excluded.output, error = excluded.error, "
        "retention_timestamp = excluded.retention_timestamp");
}

}  // namespace dbos::sysdb
