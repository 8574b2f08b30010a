// Who holds the lock that a statement waits for. PostgreSQL only knows it while the statement waits.
#pragma once

#include <cstdint>
#include <string>

#include "sysdb/database.hpp"

namespace dbos::sysdb {

/// Asks on a connection of its own, from construction until it has an answer or finish().
class Blockers {
   public:
    /// `connection` is about to wait.
    Blockers(SystemDatabase::Core& core, sql::Connection& connection);
    ~Blockers();
    Blockers(const Blockers&) = delete;
    Blockers& operator=(const Blockers&) = delete;
    /// Server processes, "12, 34"; "(unknown)" if nothing was found.
    std::string finish();

   private:
    void stop() noexcept;

    std::string pids_;
    seam::Atomic<bool> done_{false};
    seam::Thread asking_;
};

}  // namespace dbos::sysdb
