// Crash points on a real server: many tours (support/tour.hpp) in three workers behind the proxy, which are killed and stopped
// until enough of them have died in different places; then every tour must have come to the one outcome.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dbos::chaos {

struct TourSettings {
    std::uint64_t seed = 1;
    /// A crash point is a tour and the number of its records when the process that ran it was killed.
    std::size_t crash_points = 1'000;
};

/// Prints, last, `tours: N tours, P crash points, K kills, S stops, C cuts, 0 wrong`. Returns the exit code.
int run_tours(const TourSettings& settings);

/// The worker process: `arguments` are --tour-worker, URL, schema, side log, log file. The side log gets `up PID EXECUTOR`.
int work_on_tours(const std::vector<std::string>& arguments);

}  // namespace dbos::chaos
