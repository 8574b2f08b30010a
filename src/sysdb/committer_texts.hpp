// What the committer's texts for PostgreSQL have in common.
#pragma once

#include <string>

#include "sysdb/committer_statements.hpp"

namespace dbos::sysdb::texts {

inline constexpr const char* kNow = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// A run that may write: the pair, and nobody has cancelled it without clearing the owner (older SDKs do). The status is
/// compared as an expression, so that no index on it can be chosen for rows that are reached by their id.
inline std::string fence(const std::string& token) {
    return "w.owner_xid = " + token + " AND w.status || '' = 'PENDING'";
}

inline constexpr const char* kStepInsert =
    "INSERT INTO @operation_outputs AS o (workflow_uuid, function_id, function_name, output, error, "
    "child_workflow_id, "
    "started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name, retention_timestamp) ";

/// The payloads of rows that this statement has created, as further parts of its WITH. One that meets a payload had an id of a
/// workflow that an older SDK deleted, which leaves steps and payloads behind: they go.
inline constexpr const char* kInputInto =
    "i AS (INSERT INTO @workflow_input AS i (workflow_uuid, inputs, retention_timestamp) ";
inline constexpr const char* kInputUpsert =
    " ON CONFLICT (workflow_uuid) DO UPDATE SET inputs = EXCLUDED.inputs, retention_timestamp = "
    "EXCLUDED.retention_timestamp RETURNING i.workflow_uuid, i.xmax <> 0 AS met), d AS (DELETE FROM "
    "@operation_outputs o WHERE o.workflow_uuid = ANY(ARRAY(SELECT workflow_uuid FROM i WHERE met))), "
    "e AS (DELETE FROM @workflow_output o WHERE o.workflow_uuid = ANY(ARRAY(SELECT workflow_uuid FROM i "
    "WHERE met))) ";

}  // namespace dbos::sysdb::texts
