// What the migrators of both back ends share.
#pragma once

#include <string>

#include "dbos/error.hpp"
#include "sql/connection.hpp"
#include "sysdb/schema/ddl.hpp"
#include "sysdb/schema/migrate.hpp"
#include "sysdb/schema/state.hpp"

namespace dbos::sysdb::schema {

struct Job {
    sql::Connection& connection;
    Target target;
    const MigrateOptions& options;
    State state = {};  // as last read

    void read() { state = read_state(connection, target.schema); }
    /// Version 125 or newer, no column missing, own tables complete and permitted.
    bool complete() const;
    /// At version 100 or newer, and columns of that version are missing: a release of another lineage jumped over them.
    bool damaged() const { return state.version >= kSharedBase && !state.missing().empty(); }
    void log(LogLevel level, const char* message,
             std::vector<std::pair<std::string, std::string>> fields = {}) const;
    /// `schema "dbos"` or `the SQLite file`.
    std::string place() const;
};

/// Throws ConfigError if a newer version than ours lacks columns that we need, or the schema is sharded or closed to us.
void refuse(const Job& job);

/// CREATE TABLE, or ALTER TABLE for columns that are missing, of dbos_cpp_executors. Empty: nothing to do.
std::string own_tables_script(const Job& job);
/// The own table exists and the role may not use it: ConfigError with the GRANT.
void refuse_own_tables_closed(const Job& job);
/// Rethrows a refusal of the server as ConfigError that says what is missing and what to run; returns on other errors.
void explain_refusal(const Job& job, const DatabaseError& error);

MigrateResult migrate_sqlite(Job& job);
MigrateResult migrate_postgres(Job& job);

}  // namespace dbos::sysdb::schema
