// What must hold in every committed state: the table chaos_history, which triggers fill (Server::watch), in the order of the
// commits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "chaos/pg/oracle.hpp"
#include "chaos/pg/timeline.hpp"
#include "sql/connection.hpp"

namespace dbos::chaos {

/// A row of chaos_history; what is NULL is empty.
struct Event {
    std::string kind = {};     // row, output, record, lease
    std::string subject = {};  // workflow; workflow and step of a record; executor of a lease
    std::string actor = {};    // pid of the worker that did it, or client
    std::string verb = {};     // INSERT, UPDATE, DELETE
    std::string old_status = {}, status = {}, old_owner = {}, owner = {}, old_executor = {}, executor = {},
                queue = {}, old_outcome = {}, outcome = {};
    int pid = 0;                     // of a lease's process
    std::int64_t expires_at_ms = 0;  // of a lease
    std::string key = {};            // partition key of a row
    std::int64_t started_at_ms = 0;  // of a row; 0 = NULL
    Micros at = 0;                   // of the commit
};

/// In the order of the commits.
std::vector<Event> read_events(sql::Connection& server);

/// Adds to the verdict: limits, robbed, changed, deaf, and lost for what was deleted.
void judge_events(const std::vector<Event>& events, const std::vector<std::string>& side_log,
                  const Timeline& timeline, Verdict& verdict);

}  // namespace dbos::chaos
