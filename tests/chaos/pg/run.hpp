// One chaos run.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace dbos::chaos {

struct Settings {
    std::uint64_t seed = 1;
    std::chrono::seconds duration{20};
    std::chrono::seconds drain{150};  // what a lost claim left behind is looked for every 30 s
    bool calm = false;                // no faults at all
    bool every_kind = false;          // every kind of fault must occur; so it is anyway from 60 s on
    std::string misbehave;            // what the workers do wrong (misbehave.hpp)
};

/// The exit code: 0 = nothing found, 1 = something, 2 = it could not run. Prints what it found; the last line is the verdict.
int run(const Settings& settings);

/// prove_history(), and runs this program once for each way to misbehave, and once well; 0 if every one ended with the verdict
/// that it must have.
int prove();

/// The oracles on made-up histories; the number of those that were judged wrongly.
int prove_history();

}  // namespace dbos::chaos
