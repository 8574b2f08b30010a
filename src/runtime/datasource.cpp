#include "runtime/datasource.hpp"

#include <exception>
#include <filesystem>
#include <system_error>
#include <utility>

#include "sql/open.hpp"
#include "sql/source.hpp"
#include "sql/text.hpp"
#include "sysdb/system_database.hpp"

namespace dbos {

namespace runtime {
namespace {

constexpr sql::Statement kTablePostgres{
    "datasource_table",
    "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE "
    "n.nspname = $1 AND c.relname = 'datasource_outputs'",
    sql::Access::read};
constexpr sql::Statement kTableSqlite{
    "datasource_table",
    "SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = 'datasource_outputs'",
    sql::Access::read};
constexpr sql::Statement kFind{
    "datasource_find",
    "SELECT output, error, serialization FROM @datasource_outputs WHERE workflow_id = $1 AND step_id = $2",
    sql::Access::read};
constexpr sql::Statement kInsert{
    "datasource_insert",
    "INSERT INTO @datasource_outputs (workflow_id, step_id, output, error, serialization, created_at) VALUES "
    "($1, $2, $3, $4, $5, $6) ON CONFLICT (workflow_id, step_id) DO NOTHING RETURNING step_id"};
constexpr sql::Statement kForget{"datasource_forget",
                                 "DELETE FROM @datasource_outputs WHERE workflow_id = $1 AND step_id >= $2"};

std::string columns(bool postgres) {
    return std::string(
               "(workflow_id TEXT NOT NULL, step_id INT NOT NULL, output TEXT, error TEXT, "
               "serialization TEXT, created_at BIGINT NOT NULL DEFAULT ") +
           (postgres ? "(EXTRACT(epoch FROM clock_timestamp()) * 1000)::bigint"
                     : "(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))") +
           ", PRIMARY KEY (workflow_id, step_id))";
}

std::int64_t wall_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(seam::wall_now().time_since_epoch()).count();
}

}  // namespace

Datasource::Datasource(sql::OpenOptions open, std::size_t pool_size)
    : open_(std::move(open)), pool_(open_, pool_size) {}

Datasource::Datasource(sql::OpenOptions open, std::size_t pool_size, const Executor& owner)
    : open_(std::move(open)), owner_(&owner), pool_(open_, pool_size) {}

bool Datasource::same_file(const sql::Url& other) const {
    if (!sqlite() || other.backend != sql::Backend::sqlite) return false;
    std::error_code unreadable;
    return open_.url.path == other.path ||
           std::filesystem::equivalent(open_.url.path, other.path, unreadable);
}

void Datasource::bind(std::shared_ptr<sysdb::SystemDatabase> database) {
    const std::lock_guard lock(mutex_);
    database_ = std::move(database);
}

void Datasource::close() noexcept { pool_.close(); }

sql::Pool& Datasource::pool() {
    if (owner_ == nullptr) return pool_;
    const std::lock_guard lock(mutex_);
    if (!database_) {
        throw UsageError(
            "a transaction in the system database was begun before launch() or after shutdown(): it needs "
            "the "
            "App running");
    }
    return open_.url.path == sql::kMemoryPath ? database_->pool() : pool_;
}

bool Datasource::has_table(sql::Connection& connection) const {
    if (sqlite()) return !connection.execute(kTableSqlite).empty();
    return !connection.execute(kTablePostgres, {std::string_view(open_.schema)}).empty();
}

void Datasource::ensure_table(sql::Connection& connection) {
    if (table_known_.load()) return;
    const std::string create = "CREATE TABLE IF NOT EXISTS @datasource_outputs " + columns(!sqlite());
    for (int attempt = 0; !has_table(connection); ++attempt) {
        try {
            sql::Transaction transaction(connection);
            if (!sqlite()) {
                // Two that create at once would meet in the catalogs; one waits here.
                connection.query("SELECT pg_advisory_xact_lock(hashtext('dbos_cpp.datasource_outputs'))", {});
                connection.query("CREATE SCHEMA IF NOT EXISTS " + sql::quote_identifier(open_.schema), {},
                                 sql::Access::write);
            }
            connection.query(create, {}, sql::Access::write);
            transaction.commit();
        } catch (const DatabaseError& error) {
            if (error.transient() || attempt == 0) {
                if (error.transient()) throw;
                if (has_table(connection)) break;  // somebody else has created it meanwhile
            }
            throw DatabaseError(
                error.kind(),
                "the table datasource_outputs is not in " + open_.url.printable +
                    " and could not be created; let its owner execute: " +
                    (sqlite() ? ""
                              : "CREATE SCHEMA IF NOT EXISTS " + sql::quote_identifier(open_.schema) + "; ") +
                    "CREATE TABLE " + (sqlite() ? "" : sql::quote_identifier(open_.schema) + ".") +
                    "datasource_outputs " + columns(!sqlite()) +
                    (sqlite() ? "" : " and grant SELECT, INSERT and DELETE on it") +
                    ". The error was: " + error.what(),
                error.sqlstate());
        }
    }
    table_known_.store(true);
}

std::optional<Witness> Datasource::find(sql::Connection& connection, const std::string& key,
                                        std::int32_t step) {
    const sql::Result found = connection.execute(kFind, {std::string_view(key), std::int64_t{step}});
    if (found.empty()) return std::nullopt;
    return Witness{found.at(0, 0).optional_text(), found.at(0, 1).optional_text(),
                   found.at(0, 2).optional_text()};
}

bool Datasource::insert(sql::Connection& connection, const std::string& key, std::int32_t step,
                        const Witness& witness) {
    return !connection
                .execute(kInsert, {std::string_view(key), std::int64_t{step}, sql::opt(witness.output),
                                   sql::opt(witness.error), sql::opt(witness.serialization), wall_ms()})
                .empty();
}

void Datasource::forget(sql::Connection& connection, const std::string& key, std::int64_t from) {
    connection.execute(kForget, {std::string_view(key), from});
}

sql::Isolation isolation_of(const Datasource& datasource, const TransactionOptions& options) {
    if (datasource.sqlite())
        return options.read_only ? sql::Isolation::read_only : sql::Isolation::serializable;
    switch (options.isolation_level) {
        case IsolationLevel::read_committed: return sql::Isolation::read_committed;
        case IsolationLevel::repeatable_read: return sql::Isolation::repeatable_read;
        case IsolationLevel::serializable: break;
    }
    return sql::Isolation::serializable;
}

bool lost_against_another(std::string_view sqlstate, const std::exception_ptr& error) {
    if (sqlstate == "40001" || sqlstate == "40P01" || sqlstate == "sqlite:5") return true;
    if (!error) return false;
    try {
        std::rethrow_exception(error);
    } catch (const DatabaseError& thrown) {
        return thrown.kind() == DatabaseErrorKind::serialization || thrown.kind() == DatabaseErrorKind::busy;
    } catch (...) {  // the program's own: only the database can tell
        return false;
    }
}

}  // namespace runtime

namespace detail {
namespace {

sql::OpenOptions checked(const DatasourceOptions& options, sql::Url url) {
    if (options.pool_size < 1) {
        throw UsageError("DatasourceOptions.pool_size: expected 1 or more, got " +
                         std::to_string(options.pool_size));
    }
    if (options.schema.empty()) throw UsageError("DatasourceOptions.schema: expected a name, got \"\"");
    sql::OpenOptions open;
    open.url = std::move(url);
    open.schema = options.schema;
    return open;
}

std::shared_ptr<runtime::Datasource> made(sql::OpenOptions open, const DatasourceOptions& options) {
    return std::make_shared<runtime::Datasource>(std::move(open),
                                                 static_cast<std::size_t>(options.pool_size));
}

}  // namespace

std::shared_ptr<runtime::Datasource> postgres_datasource(const std::string& url,
                                                         const DatasourceOptions& options) {
    sql::Url parsed = sql::Url::parse(url);
    if (parsed.backend != sql::Backend::postgres) {
        throw ConfigError("PostgresDatasource: expected postgresql://…, got " + parsed.printable +
                          "; a file of SQLite is a SqliteDatasource");
    }
    return made(checked(options, std::move(parsed)), options);
}

std::shared_ptr<runtime::Datasource> sqlite_datasource(const std::string& path,
                                                       const DatasourceOptions& options) {
    const bool url = path.starts_with("sqlite:") || path.find("://") != std::string::npos;
    if (path.empty()) throw ConfigError("SqliteDatasource: expected the path of a file, got \"\"");
    sql::Url parsed;
    if (url) {
        parsed = sql::Url::parse(path);
    } else {
        parsed.path = path;
        parsed.printable = "sqlite:///" + path;
    }
    if (parsed.backend != sql::Backend::sqlite) {
        throw ConfigError("SqliteDatasource: expected a path or sqlite:///…, got " + parsed.printable +
                          "; a database of PostgreSQL is a PostgresDatasource");
    }
    return made(checked(options, std::move(parsed)), options);
}

std::shared_ptr<runtime::Datasource> borrowing_datasource(std::shared_ptr<ConnectionSource> source,
                                                          bool sqlite, const DatasourceOptions& options) {
    if (!source) throw ConfigError("datasource: expected a source of connections, got nullptr");
    if (source->sqlite() != sqlite) {
        throw ConfigError(std::string("datasource: expected connections to ") +
                          (sqlite ? "SQLite (sqlite_connections), got some to PostgreSQL"
                                  : "PostgreSQL (postgres_connections), got some to SQLite"));
    }
    sql::OpenOptions open = checked(options, sql::url_of(*source));
    open.source = std::move(source);
    return made(std::move(open), options);
}

}  // namespace detail

}  // namespace dbos
