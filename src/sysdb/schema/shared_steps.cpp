// The shared migrations 100 to 125 on PostgreSQL, from the catalog; indexes; rights.
#include <algorithm>

#include "sysdb/schema/postgres.hpp"

namespace dbos::sysdb::schema {
namespace {

// Indexes that are not valid, and whether a session builds them at this moment.
constexpr const char* kInvalidIndexes = R"(
SELECT x.relname::text,
       EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index g
               WHERE g.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
                 AND g.index_relid = i.indexrelid)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND NOT i.indisvalid AND c.relname = ANY($2))";

// One row if there is an index of that name: unique, valid, key columns as PostgreSQL prints them, included, predicate.
constexpr const char* kIndex = R"(
SELECT i.indisunique, i.indisvalid,
       (SELECT string_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k, true)
                          || CASE WHEN i.indoption[k - 1] & 1 = 1 THEN ' DESC' ELSE '' END, ', ' ORDER BY k)
        FROM generate_series(1, i.indnkeyatts::int) k),
       coalesce((SELECT string_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k, true), ', ' ORDER BY k)
                 FROM generate_series(i.indnkeyatts + 1, i.indnatts::int) k), ''),
       coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), '')
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
WHERE n.nspname = $1 AND x.relname = $2)";

// Rights on workflow_status that others than its owner hold and that a table of ours does not grant yet.
constexpr const char* kMissingGrants = R"(
WITH held AS (
    SELECT a.grantee, a.privilege_type
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
    WHERE n.nspname = $1 AND c.relname = 'workflow_status' AND a.grantee <> c.relowner
      AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))
SELECT pg_catalog.format('GRANT %s ON %I.%I TO %s', string_agg(DISTINCT h.privilege_type, ', '), n.nspname, t.relname,
                         CASE WHEN h.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END)
FROM pg_catalog.pg_class t
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
CROSS JOIN held h
LEFT JOIN pg_catalog.pg_roles r ON r.oid = h.grantee
WHERE n.nspname = $1 AND t.relname = ANY($2) AND pg_catalog.pg_has_role(t.relowner, 'USAGE') AND h.grantee <> t.relowner
  AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(t.relacl) x
                  WHERE x.grantee = h.grantee AND x.privilege_type = h.privilege_type)
GROUP BY n.nspname, t.relname, h.grantee, r.rolname
ORDER BY 1)";

// How long an index that a peer builds CONCURRENTLY is left to it (only SDKs without the lock, or after its time-out).
constexpr seam::Duration kBuildByPeer = std::chrono::minutes(10);

sql::TextArray table_names() {
    sql::TextArray names;
    for (const Table& table : tables()) names.emplace_back(table.name);
    names.emplace_back(executors_table().name);
    return names;
}

void build_index(Job& job, const Index& index, bool online) {
    for (int attempt = 1;; ++attempt) {
        job.connection.script(create_index(job.target, index, online));
        if (!online || job.target.cockroach) return;
        const sql::Result row =
            job.connection.query(kIndex, {std::string_view(job.target.schema), index.name});
        if (!row.empty() && row.at(0, 1).boolean()) return;
        // IF NOT EXISTS passes over an index that a peer builds or has left unfinished.
        if (attempt == 3) {
            throw DatabaseError(DatabaseErrorKind::busy,
                                "index " + std::string(index.name) + " of schema " +
                                    quote_name(job.target.schema) +
                                    " stays invalid; drop it and migrate again",
                                "55P03");
        }
        seam::sleep_for(std::chrono::seconds(1));
        drop_invalid_indexes(job);
    }
}

// What a version changes beside columns, tables and indexes.
std::string special_changes(const Job& job, int version, bool payload_functions) {
    const Target& target = job.target;
    switch (version) {
        case 105:
            return drop_old_enqueue_functions(target, false, true) +
                   enqueue_function(target, payload_functions ? EnqueueForm::payloads : EnqueueForm::named) +
                   ";\n";
        case 112: {
            std::string out;
            for (const char* name :
                 {"operation_outputs_workflow_uuid_foreign", "operation_outputs_workflow_uuid_fkey"}) {
                out += "ALTER TABLE " + target.name("operation_outputs") + " DROP CONSTRAINT IF EXISTS " +
                       name + ";\n";
            }
            return out;
        }
        case 113: return enqueue_function(target, EnqueueForm::payloads) + ";\n";
        default: return {};
    }
}

}  // namespace

void drop_invalid_indexes(Job& job) {
    if (job.target.cockroach) return;
    const seam::SteadyTime end = seam::steady_now() + kBuildByPeer;
    for (;;) {
        const sql::Result rows =
            job.connection.query(kInvalidIndexes, {std::string_view(job.target.schema), table_names()});
        bool being_built = false;
        for (std::size_t i = 0; i < rows.size(); ++i) being_built = being_built || rows.at(i, 1).boolean();
        if (being_built && seam::steady_now() < end) {
            seam::sleep_for(std::chrono::seconds(1));
            continue;
        }
        for (std::size_t i = 0; i < rows.size(); ++i) {
            job.connection.script(drop_index(job.target, quote_name(rows.at(i, 0).text()), true));
        }
        return;
    }
}

void reconcile_index(Job& job, const Index& index) {
    const sql::Result row = job.connection.query(kIndex, {std::string_view(job.target.schema), index.name});
    if (!row.empty()) {
        const bool same = row.at(0, 0).boolean() == index.unique && row.at(0, 2).text() == index.columns &&
                          row.at(0, 3).text() == index.include && row.at(0, 4).text() == index.where_postgres;
        if (same) return;
        job.connection.script(drop_index(job.target, index.name, true));
    }
    build_index(job, index, true);
}

void apply_postgres(Job& job, int version, bool payload_functions) {
    const Target& target = job.target;
    if (is_online(version)) {
        drop_invalid_indexes(job);
        for (const Index& index : indexes()) {
            if (index.since == version) build_index(job, index, true);
        }
        for (const DroppedIndex& index : dropped_indexes()) {
            if (index.version == version) job.connection.script(drop_index(target, index.name, true));
        }
        sql::Transaction transaction(job.connection);
        job.connection.script(record_version(target, version));
        transaction.commit();
        return;
    }
    std::string script;
    for (const Table& table : tables()) {
        if (table.since == version) script += create_table(target, table, Shape::final, true) + ";\n";
        for (const Column& column : table.columns) {
            if (column.since == version) script += add_column(target, table, column) + ";\n";
        }
    }
    for (const Index& index : indexes()) {
        if (index.since == version) script += create_index(target, index, false) + ";\n";
    }
    script += special_changes(job, version, payload_functions);
    sql::Transaction transaction(job.connection);
    job.connection.script(script + record_version(target, version));
    transaction.commit();
}

void grant_rights(Job& job) {
    if (job.target.cockroach) return;
    const sql::Result rows =
        job.connection.query(kMissingGrants, {std::string_view(job.target.schema), table_names()});
    for (std::size_t i = 0; i < rows.size(); ++i) job.connection.script(rows.at(i, 0).string());

    if (job.options.application_role.empty()) return;
    const std::string role = " TO " + quote_name(job.options.application_role) + ";\n";
    const std::string in = " IN SCHEMA " + quote_name(job.target.schema);
    const std::string defaults = "ALTER DEFAULT PRIVILEGES" + in + " GRANT ";
    sql::Transaction transaction(job.connection);
    job.connection.script("GRANT USAGE ON SCHEMA " + quote_name(job.target.schema) + role +
                          "GRANT ALL ON ALL TABLES" + in + role + "GRANT ALL ON ALL SEQUENCES" + in + role +
                          "GRANT EXECUTE ON ALL FUNCTIONS" + in + role + defaults + "ALL ON TABLES" + role +
                          defaults + "ALL ON SEQUENCES" + role + defaults + "EXECUTE ON FUNCTIONS" + role);
    transaction.commit();
}

}  // namespace dbos::sysdb::schema
