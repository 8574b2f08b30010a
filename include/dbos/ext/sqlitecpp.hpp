// Transactional steps with SQLiteCpp (3.x).
//
//   dbos::SqliteCppDatasource db("shop.sqlite");
//   ctx.transaction(db, "debit", [&](SQLite::Database& database) {
//       SQLite::Statement debit(database, "UPDATE accounts SET cents = cents - ? WHERE id = ?");
//       …
//   });
//
// The database is in the transaction that the library has begun: no SQLite::Transaction (a SQLite::Savepoint is fine). The system
// database cannot be lent so: SQLiteCpp opens its own connections.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "dbos/datasource.hpp"

namespace dbos {

namespace detail {

/// The databases of one datasource, by their handles.
class SqliteCppPool : public std::enable_shared_from_this<SqliteCppPool> {
   public:
    explicit SqliteCppPool(std::string path) : path_(std::move(path)) {}
    std::shared_ptr<ConnectionSource> source() {
        return sqlite_connections(
            [pool = shared_from_this()] { return pool->acquire(); },
            [pool = shared_from_this()](sqlite3* handle, bool) { pool->close(handle); });
    }
    SQLite::Database& of(sqlite3* handle) {
        const std::lock_guard lock(mutex_);
        for (const auto& database : open_) {
            if (database->getHandle() == handle) return *database;
        }
        throw UsageError("SqliteCppDatasource: a connection that it has not opened");
    }

   private:
    sqlite3* acquire() {
        auto database =
            std::make_unique<SQLite::Database>(path_, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        sqlite3* const handle = database->getHandle();
        const std::lock_guard lock(mutex_);
        open_.push_back(std::move(database));
        return handle;
    }
    void close(sqlite3* handle) {
        const std::lock_guard lock(mutex_);
        std::erase_if(open_, [handle](const auto& database) { return database->getHandle() == handle; });
    }

    const std::string path_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<SQLite::Database>> open_;
};

}  // namespace detail

/// A SQLite file of the program, whose callables get a `SQLite::Database&`. Otherwise as SqliteDatasource.
class SqliteCppDatasource : public DatasourceOf<SqliteCppDatasource, SQLite::Database&> {
   public:
    static constexpr bool is_sqlite = true;
    /// The path of a file, which is created if it is missing. Opens it at once; throws SQLite::Exception if that fails.
    explicit SqliteCppDatasource(const std::string& path, const DatasourceOptions& options = {})
        : SqliteCppDatasource(std::make_shared<detail::SqliteCppPool>(path), options) {}

    template <class With>
    void lend(const detail::LentConnection& connection, With&& with) const {
        with(pool_->of(connection.sqlite));
    }

   private:
    SqliteCppDatasource(std::shared_ptr<detail::SqliteCppPool> pool, const DatasourceOptions& options)
        : DatasourceOf(detail::borrowing_datasource(pool->source(), is_sqlite, options)),
          pool_(std::move(pool)) {}
    std::shared_ptr<detail::SqliteCppPool> pool_;
};

}  // namespace dbos
