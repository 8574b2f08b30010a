// The real server of a chaos run, reached without the proxy: what it remembers for the oracles, and what is done to it.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "sql/connection.hpp"
#include "support/database.hpp"

namespace dbos::chaos {

/// Text of a parameter of a PostgreSQL connection string; empty if it is not there.
std::string parameter(const std::string& url, const char* keyword);

/// A new directory for the logs of a run and the proxy's socket; `name` begins its name.
std::string make_run_directory(const std::string& name);
/// The connection string of a database, but through a proxy: by its Unix socket in `directory`, or by TCP.
std::string proxied_url(const std::string& url, int port, const std::string& directory, bool local);

class Server {
   public:
    explicit Server(const test::TestDatabase& database) : options_(database.options()) {}

    std::unique_ptr<sql::Connection> open() const { return sql::open(options_); }
    /// Whether it was started with track_commit_timestamp=on, without which nothing can be judged.
    bool commits_have_times() const;
    /// Makes triggers write every change of a workflow's state, of an outcome, of a record and of a lease to the table
    /// chaos_history, with who made it: the setting chaos.actor of the connection. Call once the tables are there.
    void watch() const;
    /// Whether it is a server of scripts/with-postgres, which may be restarted.
    bool may_restart() const;
    /// As after a crash (pg_ctl restart -m immediate); returns when it accepts connections. Throws std::runtime_error.
    void restart() const;
    /// Locks the status rows of some workflows that have not ended, as an open transaction of a user does, and lets go after
    /// `duration`. Returns the number of rows; 0 also if the server was not there.
    std::size_t hold_rows(std::chrono::milliseconds duration) const;

   private:
    const sql::OpenOptions options_;
};

}  // namespace dbos::chaos
