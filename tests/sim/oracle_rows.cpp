// What must hold at the end of the rows themselves, whatever the bodies did (runtime.md 11: 1, 3, 4, 10, 11, 23, 25).
#include "oracle.hpp"

namespace dbos::sim {

void Oracle::judge_rows() {
    none("a workflow that has ended keeps what only an active one has, or lacks its end",
         "SELECT workflow_uuid, status, completed_at, deduplication_id, owner_xid, queue_name, "
         "started_at_epoch_ms FROM "
         "workflow_status WHERE completed_at IS NULL OR deduplication_id IS NOT NULL OR owner_xid IS NOT "
         "NULL OR (status "
         "NOT IN ('SUCCESS', 'ERROR') AND (queue_name IS NOT NULL OR started_at_epoch_ms IS NOT NULL))");
    none("a workflow has another payload than its end",
         "SELECT w.workflow_uuid, w.status, o.output, o.error FROM workflow_status w LEFT JOIN "
         "workflow_output o ON "
         "o.workflow_uuid = w.workflow_uuid WHERE (w.status = 'SUCCESS') <> (o.output IS NOT NULL) OR "
         "(w.status = "
         "'ERROR') <> (o.error IS NOT NULL) OR w.output IS NOT NULL OR w.error IS NOT NULL");
    none("a payload has no workflow, or a workflow no input",
         "SELECT 'input', workflow_uuid FROM workflow_input WHERE workflow_uuid NOT IN (SELECT workflow_uuid "
         "FROM "
         "workflow_status) UNION ALL SELECT 'output', workflow_uuid FROM workflow_output WHERE workflow_uuid "
         "NOT IN "
         "(SELECT workflow_uuid FROM workflow_status) UNION ALL SELECT 'no input', workflow_uuid FROM "
         "workflow_status WHERE "
         "workflow_uuid NOT IN (SELECT workflow_uuid FROM workflow_input)");
    none("a record has a value and an error, or no times, or ends before it begins",
         "SELECT workflow_uuid, function_id, function_name FROM operation_outputs WHERE (output IS NOT NULL "
         "AND error IS "
         "NOT NULL) OR started_at_epoch_ms IS NULL OR completed_at_epoch_ms IS NULL OR completed_at_epoch_ms "
         "< "
         "started_at_epoch_ms");
    // A wait that lost a select leaves its deadline, and one whose value was there at once does without.
    none("a workflow that ended by itself has a gap in its records",
         "SELECT o.workflow_uuid, o.function_id, o.function_name FROM operation_outputs o JOIN "
         "workflow_status w ON "
         "w.workflow_uuid = o.workflow_uuid WHERE w.status IN ('SUCCESS', 'ERROR') AND o.function_id > 1 AND "
         "NOT "
         "(o.function_name = 'DBOS.sleep' AND o.completed_at_epoch_ms = o.started_at_epoch_ms) AND NOT "
         "EXISTS (SELECT 1 "
         "FROM operation_outputs p WHERE p.workflow_uuid = o.workflow_uuid AND (p.function_id = "
         "o.function_id - 1 OR "
         "(p.function_id = o.function_id - 2 AND p.function_name IN ('DBOS.recv', 'DBOS.getEvent'))))");
    none("a child and the record of its start are not both there",
         "SELECT 'no child', o.workflow_uuid, o.child_workflow_id FROM operation_outputs o WHERE "
         "o.child_workflow_id IS NOT "
         "NULL AND o.function_name <> 'DBOS.getResult' AND o.error IS NULL AND o.child_workflow_id NOT IN "
         "(SELECT "
         "workflow_uuid FROM workflow_status) UNION ALL SELECT 'no record', w.workflow_uuid, "
         "w.parent_workflow_id FROM "
         "workflow_status w WHERE w.parent_workflow_id IN (SELECT workflow_uuid FROM workflow_status) AND "
         "NOT EXISTS "
         "(SELECT 1 FROM operation_outputs o WHERE o.workflow_uuid = w.parent_workflow_id AND "
         "o.child_workflow_id = "
         "w.workflow_uuid AND o.function_name IN (w.name, 'DBOS.debounce_delayed_workflow'))");
    none("a recorded result is not the child's",
         "SELECT o.workflow_uuid, o.function_id, o.output, r.output FROM operation_outputs o JOIN "
         "workflow_status w ON "
         "w.workflow_uuid = o.child_workflow_id LEFT JOIN workflow_output r ON r.workflow_uuid = "
         "o.child_workflow_id WHERE "
         "o.function_name = 'DBOS.getResult' AND o.output IS NOT NULL AND (w.status <> 'SUCCESS' OR r.output "
         "<> o.output)");
}

/// A fork has what its original has recorded below the cut, and the original is marked.
void Oracle::judge_forks() {
    for (const auto& [id, fork] : known_.forks) {
        if (!rows_.contains(id)) continue;  // its client has not come to it
        const auto& [original, from] = fork;
        none("a fork does not have what its original has recorded",
             "SELECT o.function_id, o.function_name, o.output, f.function_name, f.output FROM "
             "operation_outputs o LEFT JOIN operation_outputs f ON f.workflow_uuid = '" +
                 id + "' AND f.function_id = o.function_id WHERE o.workflow_uuid = '" + original +
                 "' AND o.function_id < " + std::to_string(from) +
                 " AND (f.function_name, f.output, f.error, f.child_workflow_id) IS NOT (o.function_name, "
                 "o.output, o.error, o.child_workflow_id)");
        none("the original of a fork is not marked",
             "SELECT workflow_uuid FROM workflow_status WHERE "
             "workflow_uuid = '" +
                 original + "' AND NOT was_forked_from");
    }
}

}  // namespace dbos::sim
