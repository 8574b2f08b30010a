// What a database holds, read once: tables, columns, permissions, the recorded version.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sql/connection.hpp"

namespace dbos::sysdb::schema {

struct TableState {
    std::set<std::string, std::less<>> columns;
    bool readable = true;
    bool writable = true;  // INSERT, UPDATE and DELETE
};

struct State {
    sql::Backend backend = sql::Backend::postgres;
    bool schema_exists = true;
    bool schema_usable = true;
    std::string role;           // PostgreSQL: current_user
    std::int64_t version = 0;   // 0: no table, or no row
    bool version_known = true;  // false: dbos_migrations is there, but the role may not read it
    std::map<std::string, TableState, std::less<>> tables;

    const TableState* table(std::string_view name) const;
    bool has(std::string_view table_name) const { return table(table_name) != nullptr; }
    bool has(std::string_view table_name, std::string_view column) const;
    /// No table of the catalog is there.
    bool untouched() const;
    /// Another SDK keeps a sharded schema here; nothing else may touch it.
    bool sharded() const { return has("workflow_status", "shard_key"); }
    /// `table.column` of what the recorded version promises (all of the base below version 100) and is not there.
    /// Newer versions than we know may have dropped what is legacy today: those columns are not asked for.
    std::vector<std::string> missing() const;
    /// The tables of this library are there, with all columns.
    bool has_own_tables() const;
};

/// Reads catalog and version. Missing schema, table or row: version 0. Throws DatabaseError.
State read_state(sql::Connection& connection, const std::string& schema);

/// Throws ConfigError for a sharded schema, or a schema that the role may not use.
void refuse_unusable(const State& state, const std::string& schema);

}  // namespace dbos::sysdb::schema
