// Bringing an old or damaged PostgreSQL database to version 99, by looking at what is there: numbers below 100 differ by SDK.
#include <algorithm>

#include "sysdb/schema/postgres.hpp"

namespace dbos::sysdb::schema {
namespace {

// Columns of foreign keys to workflow_status, by table: `table|column,column`.
constexpr const char* kForeignKeys = R"(
SELECT c.relname || '|' || string_agg(a.attname::text, ',' ORDER BY k.position)
FROM pg_catalog.pg_constraint o
JOIN pg_catalog.pg_class c ON c.oid = o.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class r ON r.oid = o.confrelid AND r.relname = 'workflow_status'
CROSS JOIN unnest(o.conkey) WITH ORDINALITY k(number, position)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
WHERE n.nspname = $1 AND o.contype = 'f'
GROUP BY o.oid, c.relname)";

constexpr const char* kHasPrimaryKey = R"(
SELECT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND i.indisprimary))";

constexpr const char* kColumnType = R"(
SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3)";

constexpr const char* kFunctionExists = R"(
SELECT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.proname = $2 AND p.pronargs = $3))";

bool ask(Job& job, const char* text, sql::Params params) {
    params.insert(params.begin(), std::string_view(job.target.schema));
    const sql::Result row = job.connection.query(text, params);
    return !row.empty() && row.at(0, 0).boolean();
}

void reconcile_tables(Job& job) {
    const Target& target = job.target;
    const State before = job.state;
    std::string script;
    if (!before.schema_exists) script += "CREATE SCHEMA " + quote_name(target.schema) + ";\n";
    for (const Table& table : tables()) {
        if (table.since != 0) continue;
        if (!before.has(table.name)) {
            script += create_table(target, table, Shape::base, true) + ";\n";
            continue;
        }
        for (const Column& column : table.columns) {
            if (column.since == 0 && !before.has(table.name, column.name))
                script += add_column(target, table, column) + ";\n";
        }
    }
    // The oldest releases of the T lineage kept inputs in a table of their own, which is dropped below.
    if (before.has("workflow_inputs", "inputs") && before.has("workflow_inputs", "workflow_uuid")) {
        script += "UPDATE " + target.name("workflow_status") + " s SET inputs = i.inputs FROM " +
                  target.name("workflow_inputs") +
                  " i WHERE i.workflow_uuid = s.workflow_uuid AND s.inputs IS NULL;\n";
    }
    if (!script.empty()) job.connection.script(script);
}

void reconcile_keys(Job& job) {
    const Target& target = job.target;
    const sql::Result type = job.connection.query(
        kColumnType, {std::string_view(target.schema), std::string_view("workflow_status"),
                      std::string_view("owner_xid")});
    if (!type.empty() && type.at(0, 0).text() != "text") {
        job.connection.script("ALTER TABLE " + target.name("workflow_status") +
                              " ALTER COLUMN owner_xid TYPE TEXT");
    }
    if (!ask(job, kHasPrimaryKey, {std::string_view("notifications")})) {
        job.connection.script("ALTER TABLE " + target.name("notifications") +
                              " ADD PRIMARY KEY (message_uuid)");
    }
    const sql::Result rows = job.connection.query(kForeignKeys, {std::string_view(target.schema)});
    for (const Table& table : tables()) {
        if (table.workflow_key.empty()) continue;
        const std::string wanted = std::string(table.name) + "|" + std::string(table.workflow_key);
        bool found = false;
        for (std::size_t i = 0; i < rows.size(); ++i) found = found || rows.at(i, 0).text() == wanted;
        if (!found) job.connection.script(add_foreign_key(target, table));
    }
}

// Functions as of version 99, the triggers and tables that are gone by then, and the number.
void reconcile_functions(Job& job) {
    const Target& target = job.target;
    const bool named = ask(job, kFunctionExists, {std::string_view("enqueue_workflow"), std::int64_t{17}});
    std::string script;
    for (const auto& [table, trigger] : {std::pair{"streams", "dbos_streams_trigger"},
                                         std::pair{"workflow_events", "dbos_workflow_events_trigger"}}) {
        script += "DROP TRIGGER IF EXISTS " + std::string(trigger) + " ON " + target.name(table) + ";\n";
    }
    script += "DROP FUNCTION IF EXISTS " + target.name("streams_function") + "();\n";
    script += "DROP FUNCTION IF EXISTS " + target.name("workflow_events_function") + "();\n";
    script += drop_old_enqueue_functions(target, true, true);
    // With 17 parameters it belongs to a later version, and a second overload would make calls ambiguous.
    if (!named) script += enqueue_function(target, EnqueueForm::base) + ";\n";
    script += drop_send_function(target) + ";\n" + send_function(target) + ";\n";
    const bool notifies =
        ask(job, kFunctionExists, {std::string_view("notifications_function"), std::int64_t{0}});
    if (!target.cockroach) {
        if (notifies) {
            script += "ALTER FUNCTION " + target.name("notifications_function") +
                      "() SET search_path = pg_catalog, pg_temp;\n";
        } else if (job.state.version ==
                   0) {  // an interrupted creation, not a database made without LISTEN/NOTIFY
            script += notify_function(target) + ";\n" + notify_trigger(target) + ";\n";
        }
    }
    for (const char* table : {"workflow_inputs", "workflow_queue", "scheduler_state"}) {
        script += "DROP TABLE IF EXISTS " + target.name(table) + ";\n";
    }
    job.connection.script(script + record_version(target, kSharedBase - 1));
}

}  // namespace

void reconcile_postgres(Job& job) {
    const Target& target = job.target;
    {
        sql::Transaction transaction(job.connection);
        reconcile_tables(job);
        reconcile_keys(job);
        transaction.commit();
    }
    drop_invalid_indexes(job);
    for (const Index& index : indexes()) {
        if (index.since == 0) reconcile_index(job, index);
    }
    if (!target.cockroach) {
        job.connection.script("ALTER TABLE " + target.name("workflow_status") +
                              " DROP CONSTRAINT IF EXISTS uq_workflow_status_queue_name_dedup_id");
    }
    for (const char* name :
         {"workflow_status_executor_id_index", "workflow_status_status_index",
          "idx_workflow_status_queue_status_started", "idx_workflow_status_partition_dequeue"}) {
        job.connection.script(drop_index(target, name, true));
    }
    sql::Transaction transaction(job.connection);
    reconcile_functions(job);
    transaction.commit();
}

}  // namespace dbos::sysdb::schema
