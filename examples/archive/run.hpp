// One run of the program: prepare, enqueue, supervise, verify, report.
#pragma once

#include "options.hpp"

namespace archive {

/// Returns the exit code. Throws std::exception with a sentence.
int run(const Options& options);

}  // namespace archive
