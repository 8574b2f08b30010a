// What the schema tests share: databases of their own, dumps of catalogs in the shape of tests/vectors/schema.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sql/connection.hpp"
#include "sysdb/schema/migrate.hpp"

namespace dbos::schema_test {

using Json = nlohmann::json;

/// A vector file of tests/vectors/schema.
Json schema_vector(const std::string& name);

/// An empty PostgreSQL database of its own on the server of DBOS_TEST_POSTGRES_URL, dropped at the end.
class PostgresDatabase {
   public:
    /// Whether a server is there; a test without one is skipped, or fails if DBOS_TEST_REQUIRE_POSTGRES is 1.
    static bool available();
    explicit PostgresDatabase(const std::string& copy_of = {});
    ~PostgresDatabase();
    PostgresDatabase(const PostgresDatabase&) = delete;
    PostgresDatabase& operator=(const PostgresDatabase&) = delete;

    const std::string& name() const { return name_; }
    /// The URL, with another role if given.
    std::string url(const std::string& role = {}) const;
    sql::OpenOptions options(const std::string& schema = "dbos", const std::string& role = {}) const;
    std::unique_ptr<sql::Connection> connect(const std::string& schema = "dbos",
                                             const std::string& role = {}) const;

   private:
    std::string name_;
};

/// A path for a SQLite file that does not exist yet; file and side files are removed at the end.
class SqliteFile {
   public:
    SqliteFile();
    ~SqliteFile();
    SqliteFile(const SqliteFile&) = delete;
    SqliteFile& operator=(const SqliteFile&) = delete;
    const std::string& path() const { return path_; }
    sql::OpenOptions options() const;
    std::unique_ptr<sql::Connection> connect() const;

   private:
    std::string path_;
};

/// The catalog as in postgres-catalog.json (tables without a dbos_cpp_ prefix) or of our own tables.
Json dump_postgres(sql::Connection& connection, const std::string& schema, bool own = false);
Json dump_sqlite(sql::Connection& connection, bool own = false);
/// A vector without what says nothing of the database: version, notes, names that SQLite does not have.
Json expected_catalog(Json vector);
/// Column order set aside: tables that grew by migrations have another one.
Json without_column_order(Json catalog);
/// What differs, for a readable failure; empty = equal.
std::string difference(const Json& expected, const Json& actual);

/// DDL that builds a catalog vector on PostgreSQL (tables, indexes, the version row), for databases of older versions.
std::string build_script(const Json& catalog, const std::string& schema);

/// Options without waiting times, with the log lines collected if asked.
sysdb::MigrateOptions quick(std::vector<std::string>* log = nullptr);

std::string scalar(sql::Connection& connection, const std::string& text);

#define SKIP_WITHOUT_POSTGRES()                                                                   \
    do {                                                                                          \
        if (!::dbos::schema_test::PostgresDatabase::available()) {                                \
            GTEST_SKIP() << "DBOS_TEST_POSTGRES_URL is not set: run under scripts/with-postgres"; \
        }                                                                                         \
    } while (false)

}  // namespace dbos::schema_test
