// The exceptions of the library. Everything a user may catch derives from dbos::Error (a std::runtime_error), but for
// dbos::Interrupt, which unwinds a workflow body and must never be swallowed.
//
// The classes hold plain values; copies are independent. Thread-safe as any const object.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "dbos/export.hpp"

namespace dbos {

/// Base of all errors of the library.
///
/// `code()` is the number that the Python SDK gives to the same condition (py: dbos/_error.py), the TypeScript number
/// where Python has none (20, 21, 29, 32), else 0. `workflow_id()` is empty where no workflow is concerned.
class DBOS_EXPORT Error : public std::runtime_error {
   public:
    explicit Error(const std::string& message, int code = 0, std::string workflow_id = {});
    ~Error() override;
    int code() const noexcept { return code_; }
    const std::string& workflow_id() const noexcept { return workflow_id_; }

   private:
    int code_ = 0;
    std::string workflow_id_;
};

/// The program used the library wrongly: a call on the wrong thread, a bad option, a nested step. Never retried.
class DBOS_EXPORT UsageError : public Error {
   public:
    explicit UsageError(const std::string& message, std::string workflow_id = {});
    ~UsageError() override;
};

/// A connection string, an option or the system database itself does not fit: malformed URL, schema too old, sharded.
class DBOS_EXPORT ConfigError : public Error {
   public:
    explicit ConfigError(const std::string& message);
    ~ConfigError() override;
};

/// What kind of failure a DatabaseError reports. Only `connection`, `serialization` and `busy` may pass by themselves.
enum class DatabaseErrorKind : std::uint8_t {
    connection,        ///< lost, refused or timed out (SQLSTATE 08, 53, 57 but 57014; no route to the server)
    serialization,     ///< 40001, 40P01, 40003: the transaction lost against another one
    busy,              ///< 55P03, SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL: a lock was not granted in time
    blocked,           ///< a write waited 30 s for a lock that somebody holds
    unique_violation,  ///< 23505, SQLITE_CONSTRAINT_UNIQUE or _PRIMARYKEY
    foreign_key,       ///< 23503, SQLITE_CONSTRAINT_FOREIGNKEY
    undefined_object,  ///< 42P01, 42703, 3F000, "no such table": the schema is missing or older
    permission,        ///< 42501, 28xxx, SQLITE_PERM, SQLITE_AUTH: not allowed, wrong password
    read_only,         ///< 25006, SQLITE_READONLY
    timeout,           ///< 57014: the statement took too long
    closed,            ///< the client or application was closed meanwhile
    other,
};

/// A database call failed. Texts never hold a password.
class DBOS_EXPORT DatabaseError : public Error {
   public:
    DatabaseError(DatabaseErrorKind kind, const std::string& message, std::string sqlstate = {},
                  std::string constraint = {}, bool outcome_unknown = false);
    ~DatabaseError() override;
    DatabaseErrorKind kind() const noexcept { return kind_; }
    /// Five characters on PostgreSQL, `sqlite:<extended code>` on SQLite, empty if there was no answer.
    const std::string& sqlstate() const noexcept { return sqlstate_; }
    /// Name of the violated constraint (PostgreSQL) or the columns (SQLite), if any.
    const std::string& constraint() const noexcept { return constraint_; }
    /// Whether the transaction may have been committed although the call failed (its acknowledgement was lost).
    bool outcome_unknown() const noexcept { return outcome_unknown_; }
    /// Whether the same call may succeed if it is repeated: connection, serialization or busy.
    bool transient() const noexcept;

   private:
    DatabaseErrorKind kind_;
    std::string sqlstate_;
    std::string constraint_;
    bool outcome_unknown_;
};

}  // namespace dbos
