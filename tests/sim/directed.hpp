// Directed worlds: what chance reaches rarely is brought about, in a world that is random in everything else.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "oracle.hpp"
#include "scenario.hpp"

namespace dbos::sim {

/// One world in so many is a directed one.
inline constexpr std::uint64_t kDirectedEvery = 8;

enum class Direction : std::uint8_t {
    none,
    two_runs_in_one_batch,      // a stale run and its successor write at the same time, in one process
    renewed_before_sweep,       // who was judged dead renews before the sweep
    stopped_in_claim,           // the claim has committed, its process stands still until a peer has the row
    database_away,              // for longer than a lease; who runs something is the last to renew
    database_flaps,             // every other tick fails, and no renewal of who runs something passes
    orphan_check_during_start,  // rows that no run holds are looked for while direct starts are committed
    client_dies_before_signal,  // between the commit of an enqueue and its wake-up; the log is not watched
    cancel_while_asleep,        // a body in a durable sleep is cancelled, and nothing else happens
    lost_ack_of_claim,
    lost_ack_of_start,         // of a direct one, which is not repeated
    lapse_healed_in_back_off,  // between two attempts of a step the process is stopped, and renews first of all
    host_sleeps_in_back_off,
    shutdown_in_long_step,
    resumed_under_wait,  // between the look at a status and that at the payload
    id_taken_over,       // a process with the same configured id takes over from one that stands still
    count,
};

const char* name_of(Direction direction);
/// Makes a drawn scenario a directed one.
void direct(Scenario& scenario, Direction direction);

/// Sees what happens in its world, and interferes.
std::unique_ptr<Director> make_director(const Scenario& scenario, const Oracle& oracle,
                                        std::function<void(int instance)> shut_down);

}  // namespace dbos::sim
