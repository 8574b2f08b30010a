// The state behind dbos::PostgresDatasource and the like: connections to a database of the program, and the table in it whose rows
// say that a transaction has been committed (runtime protocol 3.6; the shape of the Python SDK's datasource_outputs).
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "dbos/datasource.hpp"
#include "sql/connection.hpp"
#include "sysdb/records.hpp"

namespace dbos::sysdb {
class SystemDatabase;
}

namespace dbos::runtime {

class Executor;

/// What was committed with a transaction.
struct Witness {
    sysdb::Text output = {};
    sysdb::Text error = {};
    sysdb::Text serialization = {};
};

class Datasource {
   public:
    /// `open.schema` is that of the table.
    Datasource(sql::OpenOptions open, std::size_t pool_size);
    /// The system database of `owner`, which must call bind() when it has opened it.
    Datasource(sql::OpenOptions open, std::size_t pool_size, const Executor& owner);
    Datasource(const Datasource&) = delete;
    Datasource& operator=(const Datasource&) = delete;

    bool sqlite() const noexcept { return open_.url.backend == sql::Backend::sqlite; }
    /// Whose system database this is; null = a database of the program.
    const Executor* owner() const noexcept { return owner_; }
    const std::string& printable() const noexcept { return open_.url.printable; }
    /// Whether this is the file of that database, which has one writer lock.
    bool same_file(const sql::Url& other) const;

    void bind(std::shared_ptr<sysdb::SystemDatabase> database);
    /// Every waiting and every later transaction fails with kind `closed`.
    void close() noexcept;
    /// Throws UsageError for a system database that is not open yet.
    sql::Pool& pool();

    /// Creates the table if it is not there; looks before, so that a role without the right to create can use one that is.
    void ensure_table(sql::Connection& connection);
    std::optional<Witness> find(sql::Connection& connection, const std::string& key, std::int32_t step);
    /// False if there is one. In the open transaction.
    bool insert(sql::Connection& connection, const std::string& key, std::int32_t step,
                const Witness& witness);
    /// Removes those of a workflow's life with numbers from `from` on. In the open transaction, or alone.
    void forget(sql::Connection& connection, const std::string& key, std::int64_t from);

   private:
    bool has_table(sql::Connection& connection) const;

    const sql::OpenOptions open_;
    const Executor* const owner_ = nullptr;
    sql::Pool pool_;
    seam::Atomic<bool> table_known_{false};
    seam::Mutex mutex_;
    std::shared_ptr<sysdb::SystemDatabase> database_;  // for ":memory:", which is one connection pool's alone
};

/// How a transaction of these options begins.
sql::Isolation isolation_of(const Datasource& datasource, const TransactionOptions& options);

/// Whether a transaction may succeed if it is run again as a whole: the database said so (40001, 40P01; SQLITE_BUSY, as far as it
/// can be seen afterwards), or the callable, by throwing a DatabaseError of the kind `serialization` or `busy`.
bool lost_against_another(std::string_view sqlstate, const std::exception_ptr& error);

}  // namespace dbos::runtime
