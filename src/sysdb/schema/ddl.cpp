#include "sysdb/schema/ddl.hpp"

namespace dbos::sysdb::schema {
namespace {

std::string quoted(std::string_view text, char quote) {
    std::string out(1, quote);
    for (const char c : text) {
        if (c == quote) out += quote;
        out += c;
    }
    out += quote;
    return out;
}

std::string_view type_name(const Target& target, Type type) {
    const bool sqlite = target.sqlite();
    switch (type) {
        case Type::text: return "TEXT";
        case Type::varchar255: return sqlite ? "TEXT" : "VARCHAR(255)";
        case Type::int4: return sqlite ? "INTEGER" : "INT4";
        case Type::int8: return sqlite ? "INTEGER" : "BIGINT";
        case Type::int8_added: return "BIGINT";
        case Type::boolean: return "BOOLEAN";
        case Type::real: return sqlite ? "REAL" : "DOUBLE PRECISION";
        case Type::json: return sqlite ? "TEXT" : "JSONB";
        case Type::numeric_seq: return sqlite ? "NUMERIC" : "NUMERIC(38,0)";
        case Type::numeric_time: return sqlite ? "NUMERIC" : "NUMERIC(38,15)";
    }
    return "TEXT";
}

std::string_view default_text(const Target& target, Default value) {
    const bool sqlite = target.sqlite();
    switch (value) {
        case Default::none: return {};
        case Default::null: return "NULL";
        // unixepoch('subsec') would be NULL before SQLite 3.42.
        case Default::epoch_ms:
            return sqlite ? "(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))"
                          : "(EXTRACT(epoch FROM now()) * 1000.0)::bigint";
        case Default::uuid: return sqlite ? "(hex(randomblob(16)))" : "gen_random_uuid()";
        case Default::uuid_text: return sqlite ? "(hex(randomblob(16)))" : "gen_random_uuid()::text";
        case Default::no: return "FALSE";
        case Default::zero: return "0";
        case Default::one: return "1.0";
        case Default::empty: return "''";
        case Default::active: return "'ACTIVE'";
        case Default::lease: return "7000";
    }
    return {};
}

constexpr std::string_view kCascade = " ON DELETE CASCADE ON UPDATE CASCADE";

std::string foreign_key(const Target& target, const Table& table) {
    return "FOREIGN KEY (" + std::string(table.workflow_key) + ") REFERENCES " +
           target.name("workflow_status") + " (workflow_uuid)" + std::string(kCascade);
}

}  // namespace

std::string quote_name(std::string_view name) { return quoted(name, '"'); }
std::string quote_literal(std::string_view text) { return quoted(text, '\''); }

std::string Target::name(std::string_view object) const {
    if (sqlite()) return std::string(object);
    return quote_name(schema) + "." + std::string(object);
}

std::string column_definition(const Target& target, const Column& column) {
    std::string out = quote_name(column.name) + " " + std::string(type_name(target, column.type));
    if (column.null == Null::no || (column.null == Null::no_on_postgres && !target.sqlite()))
        out += " NOT NULL";
    if (column.value != Default::none) out += " DEFAULT " + std::string(default_text(target, column.value));
    return out;
}

std::string create_table(const Target& target, const Table& table, Shape shape, bool if_not_exists,
                         std::string_view as_name) {
    std::string out = if_not_exists ? "CREATE TABLE IF NOT EXISTS " : "CREATE TABLE ";
    out += target.name(as_name.empty() ? table.name : as_name) + " (\n";
    for (const Column& column : table.columns) {
        if (shape == Shape::base && column.since > table.since && column.since >= kSharedBase) continue;
        out += "    " + column_definition(target, column) + ",\n";
    }
    out += "    PRIMARY KEY (" + std::string(table.primary_key) + ")";
    if (!table.unique.empty()) out += ",\n    UNIQUE (" + std::string(table.unique) + ")";
    if (!table.workflow_key.empty()) out += ",\n    " + foreign_key(target, table);
    return out + "\n)";
}

std::string add_column(const Target& target, const Table& table, const Column& column) {
    return "ALTER TABLE " + target.name(table.name) + " ADD COLUMN " +
           (target.sqlite() ? "" : "IF NOT EXISTS ") + column_definition(target, column);
}

std::string add_foreign_key(const Target& target, const Table& table) {
    return "ALTER TABLE " + target.name(table.name) + " ADD " + foreign_key(target, table);
}

std::string create_index(const Target& target, const Index& index, bool concurrently) {
    std::string out = index.unique ? "CREATE UNIQUE INDEX " : "CREATE INDEX ";
    if (concurrently && !target.sqlite() && !target.cockroach) out += "CONCURRENTLY ";
    out += "IF NOT EXISTS " + std::string(index.name) + " ON " + target.name(index.table);
    if (index.gin) out += " USING gin";
    out += " (" + std::string(index.columns);
    const bool trailing = !index.include.empty() && target.sqlite();
    if (trailing) out += ", " + std::string(index.include);
    out += ")";
    if (!index.include.empty() && !trailing) out += " INCLUDE (" + std::string(index.include) + ")";
    const std::string_view where = target.sqlite() ? index.where_sqlite : index.where_postgres;
    if (!where.empty()) out += " WHERE " + std::string(where);
    return out;
}

std::string drop_index(const Target& target, std::string_view name, bool concurrently) {
    const bool online = concurrently && !target.sqlite() && !target.cockroach;
    return std::string(online ? "DROP INDEX CONCURRENTLY IF EXISTS " : "DROP INDEX IF EXISTS ") +
           target.name(name);
}

std::string record_version(const Target& target, int version) {
    const std::string table = target.name("dbos_migrations");
    const std::string number = std::to_string(version);
    // Two rows are an old accident of unguarded writers; an UPDATE of both would violate the primary key.
    return "DELETE FROM " + table + " WHERE version < (SELECT max(version) FROM " + table + ");\n" +
           "UPDATE " + table + " SET version = " + number + " WHERE version < " + number + ";\n" +
           "INSERT INTO " + table + " (version) SELECT " + number + " WHERE NOT EXISTS (SELECT 1 FROM " +
           table + ");\n";
}

std::string create_everything(const Target& target) {
    std::string out;
    for (const Table& table : tables()) {
        if (table.postgres_only && target.sqlite()) continue;
        out += create_table(target, table, Shape::final, false) + ";\n";
    }
    for (const Index& index : indexes()) {
        if (index.gin && target.sqlite()) continue;
        out += create_index(target, index, false) + ";\n";
    }
    if (!target.sqlite()) {
        out += enqueue_function(target, EnqueueForm::payloads) + ";\n" + send_function(target) + ";\n";
        if (!target.cockroach) out += notify_function(target) + ";\n" + notify_trigger(target) + ";\n";
    }
    return out + record_version(target, kKnownVersion);
}

}  // namespace dbos::sysdb::schema
