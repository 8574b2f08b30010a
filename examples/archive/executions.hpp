// What the verification found, and its heart: the side log held against the records of steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sidelog.hpp"

namespace archive {

struct Findings {
    std::vector<std::string> violations;  // one sentence each
    std::vector<std::string> notes;       // files that are not in the archive, and why
    std::size_t files = 0;                // in the manifest
    std::size_t archived = 0;
    std::size_t rehashed = 0;  // sources read again and found equal
    std::int64_t bytes = 0;
    std::int64_t object_bytes = 0;
    std::size_t steps = 0;       // recorded in the database
    std::size_t executions = 0;  // in the side log
    std::size_t repeats =
        0;  // executions beyond the first of their step: each cut off by the end of its process
};

/// What the database says of steps.
struct Recorded {
    /// Of each recorded step, the execution that produced the result; empty for a recorded error.
    std::map<LogState::StepKey, std::string> steps = {};
    /// Workflows that ended with a result or an error: all of their steps must be recorded.
    std::set<std::string> finished = {};
};
/// Holds the side log against it; a part of verify().
void check_executions(const LogState& state, const Recorded& recorded, Findings& findings);

}  // namespace archive
