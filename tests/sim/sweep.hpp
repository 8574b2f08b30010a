// A crash at every database call: the tour of tour.hpp, once for each call that it makes and each way in which the call can end.
#pragma once

#include <string>
#include <vector>

#include "sim.hpp"

namespace dbos::sim {

enum class Mishap : std::uint8_t {
    none,
    dies_before,  // the process, instead of the call
    dies_after,   // the process, when a write has been committed
    no_answer,    // a write is committed, and its caller is told that the connection was lost
    refused,      // the connection is lost before the call
    stopped,      // the process, until a peer has gone on with its work: then both go on
};
const char* name_of(Mishap mishap) noexcept;

/// One world: what happens at which call of the first process, from 1.
struct CrashPoint {
    Mishap mishap = Mishap::none;
    std::uint64_t call = 0;
};

/// Every point of a tour; plays it without a mishap to count its calls.
std::vector<CrashPoint> crash_points(const std::string& database_template);
/// A failure ends the OS process (sim::on_failure).
Outcome play(const CrashPoint& point, const Plan& plan, const std::string& database_template);

}  // namespace dbos::sim
