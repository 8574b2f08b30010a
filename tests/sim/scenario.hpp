// One world of the campaign: several applications and a client on one database, and what may go wrong.
#pragma once

#include "sim.hpp"

namespace dbos::sim {

/// What a seed means. Everything that differs between worlds is drawn here.
struct Scenario {
    Plan plan;
    int apps = 2;
    int host_keys = 0;  // 0: all on one host; 1: each its own; 2: unreadable
    int direct = 2;     // workflows that each application starts
    int queued = 4;     // workflows that the client enqueues
    int cancels = 0;
    int shutdowns = 0;   // graceful ends, followed by a new start
    bool fresh = false;  // the database is empty: the applications migrate it
    bool check_pid = true;
    bool retry = true;       // the applications repeat calls after a lost connection
    Nanos client_pause = 0;  // longest pause of the client between two calls
};

Scenario scenario_of(std::uint64_t seed);
/// What a seed's world is, in one line.
std::string describe(const Scenario& scenario);
/// The bytes of a migrated database without workflows; empty worlds begin with them.
std::string make_template();
/// Runs it; a failure ends the OS process (sim::on_failure).
Outcome play(const Scenario& scenario, const std::string& database_template);

}  // namespace dbos::sim
