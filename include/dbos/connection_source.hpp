// Connections of the program's own pool, for ClientOptions::system_database_engine and AppOptions::system_database_engine.
//
//   auto engine = dbos::postgres_connections([&] { return pool.take(); },
//                                            [&](PGconn* connection, bool good) { pool.put(connection, good); });
//   dbos::Client client({.system_database_engine = engine});
#pragma once

#include <functional>
#include <memory>

#include "dbos/export.hpp"

struct pg_conn;  // libpq's PGconn
struct sqlite3;

namespace dbos {

/// Where connections come from that the library neither opens nor closes. Made by the functions below; may be shared by several
/// clients and applications, which must be destroyed before what the functions refer to.
class ConnectionSource;

/// PostgreSQL. Both functions are called from any thread, several at a time.
///
/// `acquire` returns an open connection that is idle, outside of a transaction and not in pipeline mode, with client_encoding
/// UTF8, and leaves it to the client until `release`. It may wait. nullptr and exceptions count as a lost connection, which is
/// tried again; a DatabaseError goes to the caller as it is. A client holds up to system_database_pool_size connections, two to
/// write (once something was enqueued), and while something is waited for two more; an application, from its launch on, up to
/// nine beside its pool. One of them listens (LISTEN, ended by UNLISTEN before it is given back), unless use_listen_notify is
/// false: so direct connections, or a pooler of sessions. Nothing else is set for longer than a transaction.
///
/// `release` must not throw. Unless `good`, the connection is broken or in the middle of something: close it. The settings of a
/// good one are as they were; prepared statements stay on it, whose names begin with `dbos_`.
DBOS_EXPORT std::shared_ptr<ConnectionSource> postgres_connections(
    std::function<pg_conn*()> acquire, std::function<void(pg_conn* connection, bool good)> release);

/// SQLite: the same for connections to one database file (not `:memory:`), opened for reading and writing. While the client
/// has one it is in WAL mode, with foreign_keys on and synchronous FULL, and has the client's busy handler, progress handler
/// and WAL hook. Given back it has the busy_timeout, foreign_keys and synchronous of before, and neither of these hooks; WAL
/// mode and extended result codes stay.
DBOS_EXPORT std::shared_ptr<ConnectionSource> sqlite_connections(
    std::function<sqlite3*()> acquire, std::function<void(sqlite3* connection, bool good)> release);

}  // namespace dbos
