// What a system database can hold, found by looking at its columns: clients never migrate, and serve what they find.
#pragma once

#include <cstdint>
#include <string>

#include "sql/connection.hpp"

namespace dbos::sysdb {

/// Capabilities of a system database by column existence (version numbers below 100 differ by SDK and prove nothing).
/// A plain value. The number in a comment is the shared migration that brings the capability.
struct Layout {
    std::int64_t version = 0;     // as recorded; may be newer than this library
    bool payload_tables = false;  // 109: workflow_input and workflow_output; else the legacy columns
    bool creator_token =
        false;  // 123: workflow_status.creator_xid; else the token goes to owner_xid and is compared there
    bool ownership = false;       // 100-104: application_name on all five tables
    bool step_retention = false;  // 110: operation_outputs.retention_timestamp
    bool recv_marker = false;     // 121: notifications.consumed_by_function_id
    bool partition_limits =
        false;  // 108: queues.partition_…; else partition_queue makes `concurrency` per partition
    bool attributes = false;           // workflow_status.attributes
    bool schedule_name = false;        // workflow_status.schedule_name
    bool debounce = false;             // is_debounced and debounce_deadline_epoch_ms
    bool delay = false;                // delay_until_epoch_ms
    bool rate_limited = false;         // workflow_status.rate_limited
    bool completed_at = false;         // workflow_status.completed_at
    bool queues = false;               // table queues
    bool schedules = false;            // table workflow_schedules, with application use (schedule columns)
    bool versions = false;             // table application_versions
    bool legacy_payloads = false;      // workflow_status.inputs, output and error are still there
    bool executors = false;            // table dbos_cpp_executors, complete
    bool executors_permitted = false;  // … and the role may read and write it
    std::string executors_fix = {};    // what to run if it is not: CREATE TABLE or GRANT
    std::string write_fix = {};        // the GRANT to run if the role may not write all of the other tables

    friend bool operator==(const Layout&, const Layout&) = default;
};

/// Looks at the system database; `schema` is ignored on SQLite. Two or three small queries.
/// Throws ConfigError: schema or tables missing, sharded, older than any supported release, or a table that exists but is
/// not permitted (with the GRANT to run); DatabaseError.
Layout probe(sql::Connection& connection, const std::string& schema);
namespace schema {
struct State;
/// The same, of what read_state() found there.
Layout layout_of(const State& state, const std::string& schema);
}  // namespace schema

/// What an application needs beyond a client: version 123 (fencing), rights to write, and the table of leases. Throws
/// ConfigError that says what to run.
void require_app_floor(const Layout& layout);

}  // namespace dbos::sysdb
