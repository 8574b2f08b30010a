// Many worlds in forked children: frozen stacks and a failed world cost nothing, and every core is used.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sim.hpp"

namespace dbos::sim {

struct Campaign {
    std::uint64_t first = 1;
    std::uint64_t worlds = 1000;
    unsigned jobs = 2;
    // Worlds of one child. One for the thread sanitizer, which would compare frozen tasks with those of the next world.
    std::uint64_t batch = kUsualTasks == Tasks::threads ? 1 : 25;
    Tasks tasks = kUsualTasks;
    unsigned seconds_per_world = 120;  // real time; more is a failure
    unsigned most_failures = 20;       // then it stops
    std::function<void(std::uint64_t seed, const std::string& what)> failed = {};
    std::function<void(std::uint64_t done)> progress = {};
};
struct CampaignResult {
    std::map<std::uint64_t, Outcome> outcomes;  // of the worlds that ended well
    std::map<std::uint64_t, std::string> failures;
    double seconds = 0;
};

/// `play` runs one seed in a child.
CampaignResult run_campaign(const Campaign& campaign,
                            const std::function<Outcome(std::uint64_t seed, Tasks tasks)>& play);

/// Memory for the counters of situations that children share; sets sim::situations.
void share_situations();

}  // namespace dbos::sim
