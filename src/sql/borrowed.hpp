// The caller's own connection, with a transaction that the caller has begun and will end.
#pragma once

#include <memory>
#include <string>

#include "sql/connection.hpp"

struct pg_conn;
struct sqlite3;

namespace dbos::sql {

/// Statements go out unprepared; nothing is begun, committed or rolled back, and the handle is not kept beyond the object.
/// Throws UsageError that says what to do: no transaction is open, or it has failed, or the connection is in a state (pipeline
/// mode, COPY, another client_encoding) in which nothing can be written.
std::unique_ptr<Connection> borrow(pg_conn* connection, const std::string& schema);
/// The same for SQLite; the tables must be in its main file.
std::unique_ptr<Connection> borrow(sqlite3* connection);

/// What tells databases apart: host, port and name, or the path of the main file.
std::string identity(pg_conn* connection);
std::string identity(sqlite3* connection);

}  // namespace dbos::sql
