// The caller's own connections (dbos/connection_source.hpp), as the drivers use them. For src/sql and who opens a database.
#pragma once

#include "dbos/connection_source.hpp"
#include "sql/connection.hpp"

namespace dbos {

class ConnectionSource {
   public:
    using Postgres = pg_conn;
    using Sqlite = sqlite3;
    std::function<Postgres*()> acquire_postgres = {};
    std::function<void(Postgres*, bool)> release_postgres = {};
    std::function<Sqlite*()> acquire_sqlite = {};
    std::function<void(Sqlite*, bool)> release_sqlite = {};

    bool sqlite() const noexcept { return static_cast<bool>(acquire_sqlite); }
};

namespace sql {

/// The caller's connection. Never null. Throws DatabaseError: what `acquire` throws, or of kind `connection`.
template <class Connection>
Connection* acquire(const std::function<Connection*()>& from) {
    std::string why = "acquire() returned nullptr";
    try {
        if (Connection* connection = from()) return connection;
    } catch (const DatabaseError&) {
        throw;
    } catch (const std::exception& error) {
        why = std::string("acquire() threw: ") + error.what();
    }
    throw DatabaseError(DatabaseErrorKind::connection, "system_database_engine gave no connection: " + why);
}

/// What a source's connections are connected to: one is acquired and looked at. Throws DatabaseError, ConfigError.
Url url_of(const ConnectionSource& source);

namespace postgres {
Url url_of(const pg_conn* connection);
}
namespace sqlite {
Url url_of(sqlite3* connection);
}

}  // namespace sql
}  // namespace dbos
