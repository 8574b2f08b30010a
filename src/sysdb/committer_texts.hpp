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

}  // namespace dbos::sysdb::texts
