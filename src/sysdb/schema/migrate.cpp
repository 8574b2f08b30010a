#include "sysdb/schema/migrate.hpp"

#include "sysdb/schema/internal.hpp"

namespace dbos::sysdb {
namespace schema {

bool Job::complete() const {
    if (state.version < kKnownVersion || !state.missing().empty() || !state.has_own_tables()) return false;
    const TableState* own = state.table(executors_table().name);
    return own->readable && own->writable;
}

void Job::log(LogLevel level, const char* message,
              std::vector<std::pair<std::string, std::string>> fields) const {
    if (!options.log) return;
    try {
        options.log({level, message, std::move(fields)});
    } catch (...) {  // a sink may throw; nothing may depend on it
    }
}

std::string Job::place() const {
    return target.sqlite() ? std::string("the SQLite file") : "schema " + quote_name(target.schema);
}

void refuse(const Job& job) {
    refuse_unusable(job.state, job.target.schema);
    if (!job.state.version_known) {
        throw ConfigError(
            "role " + quote_name(job.state.role) + " may not read " + job.target.name("dbos_migrations") +
            "; run as its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " +
            quote_name(job.target.schema) + " TO " + quote_name(job.state.role) + ";");
    }
    if (job.state.version <= kKnownVersion) return;
    const std::vector<std::string> missing = job.state.missing();
    if (missing.empty()) return;
    std::string names;
    for (const std::string& name : missing) names += (names.empty() ? "" : ", ") + name;
    throw ConfigError("the system database (" + job.place() + ") is at version " +
                      std::to_string(job.state.version) + ", newer than this library (" +
                      std::to_string(kKnownVersion) + "), and lacks " + names + "; upgrade this library");
}

std::string own_tables_script(const Job& job) {
    const Table& own = executors_table();
    if (!job.state.has(own.name)) return create_table(job.target, own, Shape::final, true) + ";\n";
    std::string out;
    for (const Column& column : own.columns) {
        if (!job.state.has(own.name, column.name)) out += add_column(job.target, own, column) + ";\n";
    }
    return out;
}

void refuse_own_tables_closed(const Job& job) {
    const Table& own = executors_table();
    const TableState* found = job.state.table(own.name);
    if (found == nullptr || (found->readable && found->writable)) return;
    throw ConfigError("role " + quote_name(job.state.role) + " may not use " + job.target.name(own.name) +
                      "; run as its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON " +
                      job.target.name(own.name) + " TO " + quote_name(job.state.role) + ";");
}

/// Who can do what this role may not.
std::string cure(const Job& job) {
    if (job.target.sqlite()) return "Make the file and its directory writable for it";
    const std::string schema = quote_name(job.target.schema);
    const std::string role = quote_name(job.state.role);
    const std::string place = job.state.schema_exists
                                  ? "owns the tables of schema " + schema + " and may CREATE in it"
                                  : "may CREATE in this database";
    return "Launch an application once as a role that " + place + "; afterwards " + role +
           " needs no more than, run by that role: GRANT USAGE ON SCHEMA " + schema + " TO " + role +
           "; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + schema + " TO " + role +
           "; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA " + schema + " TO " + role + ";";
}

void explain_refusal(const Job& job, const DatabaseError& error) {
    if (error.kind() != DatabaseErrorKind::permission && error.kind() != DatabaseErrorKind::read_only) return;
    const std::string who = job.target.sqlite() ? "this process" : "role " + quote_name(job.state.role);
    if (job.state.version >= kKnownVersion && !job.damaged()) {
        std::string sql = own_tables_script(job);
        if (!job.target.sqlite()) {
            sql += "GRANT SELECT, INSERT, UPDATE, DELETE ON " + job.target.name(executors_table().name) +
                   " TO " + quote_name(job.state.role) + ";";
        }
        throw ConfigError("the system database (" + job.place() +
                          ") has no complete table dbos_cpp_executors, and " + who + " may not create it (" +
                          error.what() + "). Run as the owner of the schema:\n" + sql);
    }
    throw ConfigError("the system database (" + job.place() + ") is at version " +
                      std::to_string(job.state.version) + ", this library needs " +
                      std::to_string(kKnownVersion) + ", and " + who + " may not upgrade it (" +
                      error.what() + "). " + cure(job));
}

namespace {

/// What `connect` returns. If the database is missing it is created first, if it may be.
template <class Connect>
auto connect_or_create(const sql::Url& url, const MigrateOptions& options, const Connect& connect) {
    try {
        return connect();
    } catch (const DatabaseError& error) {
        if (url.backend == sql::Backend::sqlite || !options.create_database) throw;
        // 3D000: no such database; poolers say 08P01. A server out of reach or a wrong password is not asked twice.
        if (error.sqlstate() != "3D000" && error.sqlstate() != "08P01") throw;
        const std::exception_ptr refused = std::current_exception();
        try {
            sql::create_database_if_missing(url);
        } catch (const DatabaseError& creation) {
            const bool collided = creation.sqlstate() == "42P04" || creation.sqlstate() == "23505";
            if (creation.kind() == DatabaseErrorKind::permission) {
                throw ConfigError(std::string("cannot open the system database (") + error.what() +
                                  "), nor create it (" + creation.what() + ")");
            }
            if (!collided) std::rethrow_exception(refused);
        }
    }
    return connect();
}

MigrateResult run(Job& job) {
    if (job.connection.in_transaction())
        throw UsageError("migrate() was given a connection inside a transaction");
    try {
        job.read();
        refuse(job);
        return job.target.sqlite() ? migrate_sqlite(job) : migrate_postgres(job);
    } catch (const DatabaseError& error) {
        explain_refusal(job, error);
        throw;
    }
}

}  // namespace
}  // namespace schema

MigrateResult migrate(sql::Connection& connection, const std::string& schema_name,
                      const MigrateOptions& options) {
    schema::Job job{connection, {connection.backend(), schema_name}, options};
    return schema::run(job);
}

MigrateResult migrate(const sql::OpenOptions& open, const MigrateOptions& options) {
    const auto connection = schema::connect_or_create(open.url, options, [&open] { return sql::open(open); });
    return migrate(*connection, open.schema, options);
}

Layout migrate(sql::Pool& pool, const MigrateOptions& options) {
    const sql::OpenOptions& open = pool.options();
    const sql::Pool::Lease connection =
        schema::connect_or_create(open.url, options, [&pool] { return pool.acquire(); });
    schema::Job job{*connection, {open.url.backend, open.schema}, options};
    if (schema::run(job).changed) job.read();
    return schema::layout_of(job.state, open.schema);
}

}  // namespace dbos::sysdb
