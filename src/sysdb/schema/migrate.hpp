// Creating and upgrading the system database.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "dbos/log.hpp"
#include "sql/connection.hpp"
#include "sysdb/schema/layout.hpp"

namespace dbos::sysdb {

struct MigrateOptions {
    /// PostgreSQL: create the database of the URL if it is missing (through the database `postgres`).
    bool create_database = true;
    LogSink log = {};
    /// PostgreSQL: a role that shall get all rights of an application on the schema (USAGE, tables, functions, and defaults for
    /// later objects). Empty: tables made here get the rights that workflow_status already grants, nothing else.
    std::string application_role = {};
    /// How long to wait for another process that migrates; then go on without the lock, with a warning.
    seam::Duration lock_wait = std::chrono::seconds(30);
    /// A database between two versions is left alone until its version has not changed for so long (SDKs without a lock
    /// may be at work), but not for longer than `peer_wait`.
    seam::Duration peer_quiet = std::chrono::seconds(5);
    seam::Duration peer_wait = std::chrono::seconds(60);
};

struct MigrateResult {
    std::int64_t found = 0;    // version before; 0 = nothing was there
    std::int64_t version = 0;  // version now; greater than ours if it was
    bool changed = false;
};

/// Brings the system database to version 125, whatever release of any SDK left it, and creates the tables of this library.
/// Version 125 or newer: only those are looked at; nothing changes if they are there. Safe to call from any number of
/// processes at once, and again after a crash. Fresh databases are created in one transaction.
/// Throws ConfigError (sharded schema, missing rights with what to run, a newer schema that lacks columns), DatabaseError.
MigrateResult migrate(const sql::OpenOptions& open, const MigrateOptions& options = {});

/// The same on a connection that stands outside of a transaction. It must be direct or session-pooled on PostgreSQL.
MigrateResult migrate(sql::Connection& connection, const std::string& schema,
                      const MigrateOptions& options = {});

/// The same on a connection of the pool, which keeps it. Returns what the database can hold then, as probe() does.
Layout migrate(sql::Pool& pool, const MigrateOptions& options);

}  // namespace dbos::sysdb
