#include "sysdb/schema/state.hpp"

#include <algorithm>
#include <array>

#include "dbos/error.hpp"
#include "sysdb/schema/catalog.hpp"
#include "sysdb/schema/ddl.hpp"

namespace dbos::sysdb::schema {
namespace {

// pg_attribute, never information_schema: the latter hides tables that the role may not touch.
constexpr const char* kPostgresColumns = R"(
SELECT c.relname::text, a.attname::text,
       pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
           AND pg_catalog.has_table_privilege(c.oid, 'DELETE')
FROM pg_catalog.pg_namespace n
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped)";

constexpr const char* kPostgresSchema = R"(
SELECT current_user::text, n.oid IS NOT NULL, coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), true)
FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1)";

constexpr const char* kSqliteColumns = R"(
SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table')";

bool is_legacy(const Table& table, const Column& column) {
    constexpr std::array<std::string_view, 4> kLegacy{"inputs", "output", "error", "request"};
    return table.name == "event_dispatch_kv" ||
           (table.name == "workflow_status" && std::ranges::find(kLegacy, column.name) != kLegacy.end());
}

}  // namespace

const TableState* State::table(std::string_view name) const {
    const auto found = tables.find(name);
    return found == tables.end() ? nullptr : &found->second;
}

bool State::has(std::string_view table_name, std::string_view column) const {
    const TableState* found = table(table_name);
    return found != nullptr && found->columns.contains(column);
}

bool State::untouched() const {
    return std::ranges::none_of(schema::tables(), [&](const Table& t) { return has(t.name); });
}

std::vector<std::string> State::missing() const {
    std::vector<std::string> out;
    const bool newer = version > kKnownVersion;
    const std::int64_t promised = newer || version < kSharedBase ? kSharedBase - 1 : version;
    for (const Table& expected : schema::tables()) {
        if (expected.postgres_only && backend == sql::Backend::sqlite) continue;
        for (const Column& column : expected.columns) {
            if (std::max(expected.since, column.since) > promised) continue;
            if (newer && is_legacy(expected, column)) continue;
            if (!has(expected.name, column.name)) {
                out.push_back(std::string(expected.name) + "." + std::string(column.name));
            }
        }
    }
    return out;
}

bool State::has_own_tables() const {
    const Table& own = executors_table();
    return std::ranges::all_of(own.columns, [&](const Column& column) { return has(own.name, column.name); });
}

State read_state(sql::Connection& connection, const std::string& schema) {
    State state;
    state.backend = connection.backend();
    const bool postgres = state.backend == sql::Backend::postgres;
    if (postgres) {
        const sql::Result row = connection.query(kPostgresSchema, {std::string_view(schema)});
        state.role = row.at(0, 0).string();
        state.schema_exists = row.at(0, 1).boolean();
        state.schema_usable = row.at(0, 2).boolean();
    }
    const sql::Result rows = postgres ? connection.query(kPostgresColumns, {std::string_view(schema)})
                                      : connection.query(kSqliteColumns);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        TableState& table = state.tables[rows.at(i, 0).string()];
        table.columns.insert(rows.at(i, 1).string());
        if (postgres) {
            table.readable = rows.at(i, 2).boolean();
            table.writable = rows.at(i, 3).boolean();
        }
    }
    if (const TableState* migrations = state.table("dbos_migrations"); migrations != nullptr) {
        state.version_known = state.schema_usable && migrations->readable;
        if (state.version_known) {
            const sql::Result version = connection.query("SELECT max(version) FROM @dbos_migrations");
            state.version = version.at(0, 0).optional_integer().value_or(0);
        }
    }
    return state;
}

void refuse_unusable(const State& state, const std::string& schema) {
    if (state.sharded()) {
        throw ConfigError(
            "system database schema " + quote_name(schema) +
            " is sharded (workflow_status has a column shard_key); this library works on unsharded "
            "schemas only: use another schema, or the SDK that created this one");
    }
    if (!state.schema_exists || state.schema_usable) return;
    throw ConfigError("role " + quote_name(state.role) + " may not use schema " + quote_name(schema) +
                      "; run as its owner: GRANT USAGE ON SCHEMA " + quote_name(schema) + " TO " +
                      quote_name(state.role) + ";");
}

}  // namespace dbos::sysdb::schema
