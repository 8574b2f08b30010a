// How the drivers are opened. For src/sql only.
#pragma once

#include <memory>

#include "sql/connection.hpp"

namespace dbos::sql {

namespace postgres {
std::unique_ptr<Connection> open_postgres(const OpenOptions& options);
/// The two halves of open_postgres: what is not connected yet can be interrupted already.
std::unique_ptr<Connection> make_unconnected(const OpenOptions& options);
void connect(Connection& made, const OpenOptions& options);
bool create_database_if_missing(const Url& url);
}  // namespace postgres

namespace sqlite {
std::unique_ptr<Connection> open_sqlite(const OpenOptions& options);

/// One private `:memory:` database. Its connections take turns on one handle: for one call, or for a whole transaction.
class MemoryDatabase {
   public:
    explicit MemoryDatabase(const OpenOptions& options);
    ~MemoryDatabase();
    MemoryDatabase(const MemoryDatabase&) = delete;
    MemoryDatabase& operator=(const MemoryDatabase&) = delete;
    std::unique_ptr<Connection> connect();

   private:
    struct Shared;
    std::shared_ptr<Shared> shared_;
};
}  // namespace sqlite

inline constexpr const char* kMemoryPath = ":memory:";

}  // namespace dbos::sql
