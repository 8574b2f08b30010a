// Migration of SQLite files: everything in one BEGIN IMMEDIATE transaction, which also makes starters take turns.
#include <algorithm>
#include <cctype>

#include "sysdb/schema/internal.hpp"

namespace dbos::sysdb::schema {
namespace {

// Uniqueness, columns and predicate of a CREATE INDEX, however it is spelled: what decides whether two indexes are the same.
std::string essence(std::string_view sql) {
    std::string out;
    for (const char c : sql) {
        if (std::isspace(static_cast<unsigned char>(c)) != 0 || c == '"') continue;
        out += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    return (out.starts_with("CREATEUNIQUE") ? "UNIQUE" : "") +
           out.substr(std::min(out.find('('), out.size()));
}

class SqliteMigrator {
   public:
    explicit SqliteMigrator(Job& job) : job_(job), target_(job.target) {}

    void reconcile() {
        for (const Table& table : tables()) {
            if (table.postgres_only || table.since != 0) continue;
            run(create_table(target_, table, Shape::base, true));
            if (!job_.state.has(table.name)) continue;
            for (const Column& column : table.columns) {
                if (column.since == 0) add_missing(table, column);
            }
        }
        job_.read();
        for (const Index& index : indexes()) {
            if (index.gin || index.since != 0) continue;
            const std::string wanted = create_index(target_, index, false);
            const std::string found = stored_sql(index.name);
            if (!found.empty() && essence(found) != essence(wanted))
                run(drop_index(target_, index.name, false));
            run(wanted);
        }
        for (const char* name :
             {"uq_workflow_status_queue_name_dedup_id", "workflow_status_executor_id_index",
              "workflow_status_status_index", "idx_workflow_status_queue_status_started",
              "idx_workflow_status_partition_dequeue"}) {
            run(drop_index(target_, name, false));
        }
    }

    void apply(int version) {
        for (const Table& table : tables()) {
            if (table.postgres_only) continue;
            if (table.since == version) run(create_table(target_, table, Shape::final, true));
            for (const Column& column : table.columns) {
                // 110 needs a default that ALTER TABLE does not take: the table is rebuilt.
                if (column.since == version && version != 110) add_missing(table, column);
            }
        }
        if (version == 110 || version == 112) rebuild_steps(version);
        for (const Index& index : indexes()) {
            if (index.since == version && !index.gin) run(create_index(target_, index, false));
        }
        for (const DroppedIndex& index : dropped_indexes()) {
            if (index.version == version) run(drop_index(target_, index.name, false));
        }
    }

   private:
    void run(const std::string& text) { job_.connection.script(text); }

    void add_missing(const Table& table, const Column& column) {
        if (job_.state.has(table.name, column.name)) return;
        run(add_column(target_, table, column));
        job_.state.tables[std::string(table.name)].columns.emplace(column.name);
    }

    std::string stored_sql(std::string_view index) {
        const sql::Result row = job_.connection.query(
            "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = $1", {index});
        return row.empty() ? std::string() : row.at(0, 0).string();
    }

    bool steps_are_final() {
        const sql::Result keys =
            job_.connection.query("SELECT count(*) FROM pragma_foreign_key_list('operation_outputs')");
        const sql::Result column = job_.connection.query(
            "SELECT \"notnull\" FROM pragma_table_info('operation_outputs') WHERE name = "
            "'retention_timestamp'");
        return keys.at(0, 0).integer() == 0 && !column.empty() && column.at(0, 0).boolean();
    }

    // 110 and 112: retention_timestamp NOT NULL with a default, and no foreign key. SQLite can only copy the table.
    void rebuild_steps(int version) {
        if (steps_are_final()) return;
        const Table& table = *find_table("operation_outputs");
        constexpr std::string_view kNew = "operation_outputs_rebuilt";
        run(create_table(target_, table, Shape::final, false, kNew));
        std::string names;
        std::string values;
        for (const Column& column : table.columns) {
            if (!job_.state.has(table.name, column.name)) continue;
            const std::string name = quote_name(column.name);
            names += (names.empty() ? "" : ", ") + name;
            values += values.empty() ? "" : ", ";
            values +=
                column.name == "retention_timestamp"
                    ? "coalesce(" + name + ", CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))"
                    : name;
        }
        run("INSERT INTO " + std::string(kNew) + " (" + names + ") SELECT " + values +
            " FROM operation_outputs");
        run("DROP TABLE operation_outputs");
        run("ALTER TABLE " + std::string(kNew) + " RENAME TO operation_outputs");
        for (const Index& index : indexes()) {
            if (index.table == table.name && index.since <= version) run(create_index(target_, index, false));
        }
        for (const Column& column : table.columns) {
            job_.state.tables[std::string(table.name)].columns.emplace(column.name);
        }
    }

    Job& job_;
    const Target& target_;
};

}  // namespace

MigrateResult migrate_sqlite(Job& job) {
    MigrateResult result{job.state.version, job.state.version, false};
    if (job.complete()) return result;
    sql::Transaction transaction(job.connection);
    job.read();
    refuse(job);
    result = {job.state.version, job.state.version, false};
    if (job.complete()) return result;

    SqliteMigrator migrator(job);
    if (job.state.version == 0 && job.state.untouched()) {
        job.connection.script(create_everything(job.target));
    } else if (job.state.version < kKnownVersion || job.damaged()) {
        int next = static_cast<int>(job.state.version) + 1;
        if (job.state.version < kSharedBase || job.damaged()) {
            migrator.reconcile();
            next = kSharedBase;
        }
        for (; next <= kKnownVersion; ++next) migrator.apply(next);
        job.connection.script(record_version(job.target, kKnownVersion));
    }
    if (const std::string script = own_tables_script(job); !script.empty()) job.connection.script(script);
    transaction.commit();
    job.read();
    result.version = job.state.version;
    result.changed = true;
    job.log(LogLevel::info, "system database migrated",
            {{"from", std::to_string(result.found)}, {"to", std::to_string(result.version)}});
    return result;
}

}  // namespace dbos::sysdb::schema
