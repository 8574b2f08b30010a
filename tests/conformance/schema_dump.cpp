// Catalogs as JSON, and DDL from JSON.
#include <algorithm>

#include "schema_support.hpp"

namespace dbos::schema_test {
namespace {

// One JSON text per table: columns in order, keys, indexes. NOT NULL entries of pg_constraint (PostgreSQL 18) are left out.
constexpr const char* kTables = R"(
SELECT c.relname::text, json_build_object(
  'columns', (SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                'nullable', NOT a.attnotnull, 'default', pg_get_expr(d.adbin, d.adrelid)) ORDER BY a.attnum)
              FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'primary_key', (SELECT json_build_object('name', o.conname, 'columns', columns_of(o.conrelid, o.conkey))
                  FROM pg_constraint o WHERE o.conrelid = c.oid AND o.contype = 'p'),
  'uniques', (SELECT coalesce(json_agg(json_build_object('name', o.conname, 'columns', columns_of(o.conrelid, o.conkey))
                ORDER BY o.conname), '[]') FROM pg_constraint o WHERE o.conrelid = c.oid AND o.contype = 'u'),
  'foreign_keys', (SELECT coalesce(json_agg(json_build_object('name', o.conname, 'columns', columns_of(o.conrelid, o.conkey),
                'ref_table', r.relname, 'ref_columns', columns_of(o.confrelid, o.confkey),
                'on_delete', CASE o.confdeltype WHEN 'c' THEN 'CASCADE' ELSE o.confdeltype::text END,
                'on_update', CASE o.confupdtype WHEN 'c' THEN 'CASCADE' ELSE o.confupdtype::text END) ORDER BY o.conname), '[]')
                FROM pg_constraint o JOIN pg_class r ON r.oid = o.confrelid
                WHERE o.conrelid = c.oid AND o.contype = 'f'),
  'indexes', (SELECT coalesce(json_agg(json_build_object('name', x.relname, 'unique', i.indisunique,
                'columns', (SELECT json_agg(pg_get_indexdef(i.indexrelid, k, true)
                              || CASE WHEN (i.indoption[k - 1] & 1) = 1 THEN ' DESC' ELSE '' END ORDER BY k)
                            FROM generate_series(1, i.indnkeyatts::int) k),
                'include', (SELECT coalesce(json_agg(pg_get_indexdef(i.indexrelid, k, true) ORDER BY k), '[]')
                            FROM generate_series(i.indnkeyatts + 1, i.indnatts::int) k),
                'predicate', pg_get_expr(i.indpred, i.indrelid), 'method', m.amname) ORDER BY x.relname), '[]')
              FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
              WHERE i.indrelid = c.oid AND i.indisvalid
                AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u'))))::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'r' AND (c.relname LIKE 'dbos\_cpp\_%') = $2 ORDER BY c.relname)";

constexpr const char* kColumnsOf = R"(
CREATE OR REPLACE FUNCTION pg_temp.columns_of(rel oid, keys int2[]) RETURNS json LANGUAGE sql AS
'SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(keys) WITH ORDINALITY k(number, n)
 JOIN pg_attribute a ON a.attrelid = rel AND a.attnum = k.number')";

constexpr const char* kFunctions = R"(
SELECT coalesce(json_agg(json_build_object('name', p.proname, 'returns', format_type(p.prorettype, NULL), 'language', l.lanname,
  'security_definer', p.prosecdef, 'settings', coalesce(to_json(p.proconfig), '[]'),
  'args', (SELECT coalesce(json_agg(json_build_object('name', p.proargnames[k.n], 'type', format_type(k.type, NULL),
             'has_default', k.n > p.pronargs - p.pronargdefaults) ORDER BY k.n), '[]')
           FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY k(type, n))) ORDER BY p.proname, p.pronargs), '[]')::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang WHERE n.nspname = $1)";

constexpr const char* kTriggers = R"(
SELECT coalesce(json_agg(json_build_object('table', c.relname, 'name', t.tgname,
  'timing', CASE WHEN t.tgtype & 2 = 2 THEN 'BEFORE' ELSE 'AFTER' END,
  'level', CASE WHEN t.tgtype & 1 = 1 THEN 'ROW' ELSE 'STATEMENT' END,
  'events', array_remove(ARRAY[CASE WHEN t.tgtype & 4 = 4 THEN 'INSERT' END, CASE WHEN t.tgtype & 8 = 8 THEN 'DELETE' END,
                               CASE WHEN t.tgtype & 16 = 16 THEN 'UPDATE' END], NULL),
  'function', p.proname) ORDER BY t.tgname), '[]')::text
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid WHERE n.nspname = $1 AND NOT t.tgisinternal)";

std::string list(const Json& names) {
    std::string out;
    for (const auto& name : names) {
        std::string text = name.get<std::string>();
        if (text == "offset") text = "\"offset\"";
        out += (out.empty() ? "" : ", ") + text;
    }
    return out;
}

Json sqlite_columns(sql::Connection& connection, const std::string& table, Json& keys) {
    const sql::Result rows =
        connection.query("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('" + table +
                         "') ORDER BY cid");
    Json columns = Json::array();
    std::vector<std::pair<std::int64_t, std::string>> key;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        Json value = rows.at(i, 3).null() ? Json() : Json(rows.at(i, 3).string());
        if (value == "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)")
            value = "unixepoch('subsec') * 1000";
        columns.push_back({{"name", rows.at(i, 0).string()},
                           {"type", rows.at(i, 1).string()},
                           {"nullable", !rows.at(i, 2).boolean()},
                           {"default", value}});
        if (rows.at(i, 4).integer() > 0) key.emplace_back(rows.at(i, 4).integer(), rows.at(i, 0).string());
    }
    std::ranges::sort(key);
    for (const auto& entry : key) keys.push_back(entry.second);
    return columns;
}

void sqlite_indexes(sql::Connection& connection, const std::string& table, Json& uniques, Json& indexes) {
    const sql::Result rows = connection.query(
        "SELECT l.name, l.\"unique\", l.origin, coalesce(m.sql, '') FROM pragma_index_list('" + table +
        "') l JOIN sqlite_master m ON m.name = l.name ORDER BY l.name");
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const std::string name = rows.at(i, 0).string();
        const sql::Result parts = connection.query(
            "SELECT name || CASE WHEN desc THEN ' DESC' ELSE '' END "
            "FROM pragma_index_xinfo('" +
            name + "') WHERE key = 1 ORDER BY seqno");
        Json columns = Json::array();
        for (std::size_t k = 0; k < parts.size(); ++k) columns.push_back(parts.at(k, 0).string());
        if (rows.at(i, 2).text() == "u") uniques.push_back({{"columns", columns}});
        if (rows.at(i, 2).text() != "c") continue;
        const std::string sql = rows.at(i, 3).string();
        const std::size_t where = sql.find(" WHERE ");
        indexes.push_back({{"name", name},
                           {"unique", rows.at(i, 1).boolean()},
                           {"columns", columns},
                           {"include", Json::array()},
                           {"predicate", where == std::string::npos ? Json() : Json(sql.substr(where + 7))},
                           {"method", "btree"}});
    }
}

void differ(const Json& expected, const Json& actual, const std::string& path, std::string& out) {
    if (expected == actual) return;
    if (expected.is_object() && actual.is_object()) {
        for (const auto& [key, value] : expected.items()) {
            if (actual.contains(key)) {
                differ(value, actual[key], path + "/" + key, out);
            } else {
                out += path + "/" + key + " is missing\n";
            }
        }
        for (const auto& [key, value] : actual.items()) {
            if (!expected.contains(key)) out += path + "/" + key + " is unexpected: " + value.dump() + "\n";
        }
        return;
    }
    if (expected.is_array() && actual.is_array() && expected.size() == actual.size()) {
        for (std::size_t i = 0; i < expected.size(); ++i)
            differ(expected[i], actual[i], path + "/" + std::to_string(i), out);
        return;
    }
    out += path + ": expected " + expected.dump() + ", got " + actual.dump() + "\n";
}

}  // namespace

Json dump_postgres(sql::Connection& connection, const std::string& schema, bool own) {
    connection.script(kColumnsOf);
    std::string text = kTables;
    for (std::size_t at = 0; (at = text.find("columns_of(", at)) != std::string::npos; at += 19)
        text.insert(at, "pg_temp.");
    Json out;
    out["tables"] = Json::object();
    const sql::Result rows = connection.query(text, {std::string_view(schema), own});
    for (std::size_t i = 0; i < rows.size(); ++i)
        out["tables"][rows.at(i, 0).string()] = Json::parse(rows.at(i, 1).text());
    if (own) return out;
    out["functions"] = Json::parse(connection.query(kFunctions, {std::string_view(schema)}).at(0, 0).text());
    out["triggers"] = Json::parse(connection.query(kTriggers, {std::string_view(schema)}).at(0, 0).text());
    return out;
}

Json dump_sqlite(sql::Connection& connection, bool own) {
    Json out;
    out["tables"] = Json::object();
    const sql::Result tables =
        connection.query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name");
    for (std::size_t i = 0; i < tables.size(); ++i) {
        const std::string name = tables.at(i, 0).string();
        if (name.starts_with("dbos_cpp_") != own) continue;
        Json keys = Json::array();
        Json uniques = Json::array();
        Json indexes = Json::array();
        Json foreign = Json::array();
        const Json columns = sqlite_columns(connection, name, keys);
        sqlite_indexes(connection, name, uniques, indexes);
        const sql::Result links = connection.query(
            "SELECT \"from\", \"table\", \"to\", on_delete, on_update FROM pragma_foreign_key_list('" + name +
            "')");
        for (std::size_t k = 0; k < links.size(); ++k) {
            foreign.push_back({{"columns", {links.at(k, 0).string()}},
                               {"ref_table", links.at(k, 1).string()},
                               {"ref_columns", {links.at(k, 2).string()}},
                               {"on_delete", links.at(k, 3).string()},
                               {"on_update", links.at(k, 4).string()}});
        }
        out["tables"][name] = {{"columns", columns},
                               {"primary_key", {{"columns", keys}}},
                               {"uniques", uniques},
                               {"foreign_keys", foreign},
                               {"indexes", indexes}};
    }
    if (own) return out;
    out["functions"] = Json::array();
    out["triggers"] = Json::array();
    return out;
}

Json expected_catalog(Json vector) {
    return {
        {"tables", vector["tables"]}, {"functions", vector["functions"]}, {"triggers", vector["triggers"]}};
}

Json without_column_order(Json catalog) {
    for (auto& [name, table] : catalog["tables"].items()) {
        std::vector<Json> columns = table["columns"];
        std::ranges::sort(columns, {}, [](const Json& column) { return column["name"].get<std::string>(); });
        table["columns"] = columns;
    }
    return catalog;
}

std::string difference(const Json& expected, const Json& actual) {
    std::string out;
    differ(expected, actual, "", out);
    return out;
}

std::string build_script(const Json& catalog, const std::string& schema) {
    const std::string prefix = "\"" + schema + "\".";
    std::string out = "CREATE SCHEMA \"" + schema + "\";\n";
    std::string keys;
    for (const auto& [name, table] : catalog["tables"].items()) {
        out += "CREATE TABLE " + prefix + name + " (";
        for (const auto& column : table["columns"]) {
            out += "\"" + column["name"].get<std::string>() + "\" " + column["type"].get<std::string>();
            if (!column["nullable"].get<bool>()) out += " NOT NULL";
            if (!column["default"].is_null()) out += " DEFAULT " + column["default"].get<std::string>();
            out += ", ";
        }
        out += "PRIMARY KEY (" + list(table["primary_key"]["columns"]) + ")";
        for (const auto& unique : table["uniques"]) out += ", UNIQUE (" + list(unique["columns"]) + ")";
        out += ");\n";
        for (const auto& key : table["foreign_keys"]) {
            keys += "ALTER TABLE " + prefix + name + " ADD FOREIGN KEY (" + list(key["columns"]) +
                    ") REFERENCES " + prefix + key["ref_table"].get<std::string>() + " (" +
                    list(key["ref_columns"]) + ") ON DELETE CASCADE ON UPDATE CASCADE;\n";
        }
        for (const auto& index : table["indexes"]) {
            keys += std::string("CREATE ") + (index["unique"].get<bool>() ? "UNIQUE " : "") + "INDEX " +
                    index["name"].get<std::string>() + " ON " + prefix + name + " USING " +
                    index["method"].get<std::string>() + " (" + list(index["columns"]) + ")";
            if (!index["include"].empty()) keys += " INCLUDE (" + list(index["include"]) + ")";
            if (!index["predicate"].is_null()) keys += " WHERE " + index["predicate"].get<std::string>();
            keys += ";\n";
        }
    }
    out += keys + "INSERT INTO " + prefix + "dbos_migrations VALUES (" +
           std::to_string(catalog["migration_version"].get<int>()) + ");\n";
    return out;
}

}  // namespace dbos::schema_test
