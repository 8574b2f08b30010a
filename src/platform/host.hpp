// What the runtime asks of the host once: its name, how many threads and processors it may have, and whether it was told to end.
#pragma once

#include <cstddef>
#include <string>

#include "platform/seam.hpp"

namespace dbos::seam {

/// Host name, cut to what fits in an executor id; `host` if unreadable.
std::string host_name();
/// vm.max_map_count, which bounds how many threads with guarded stacks a process can have; its default if unreadable.
std::size_t map_count_limit() noexcept;
/// Processors that this process may use; at least 1.
std::size_t processors() noexcept;

/// Catches SIGINT and SIGTERM while it lives, then restores what was there. One object at a time per process; a second one
/// throws UsageError.
class TerminationSignals {
   public:
    TerminationSignals();
    ~TerminationSignals();  // NOLINT(performance-trivially-destructible): only the simulated one is
    TerminationSignals(const TerminationSignals&) = delete;
    TerminationSignals& operator=(const TerminationSignals&) = delete;
    bool arrived() const noexcept;
    /// Returns when a signal has arrived or the time has passed.
    void wait(Duration at_most);
};

}  // namespace dbos::seam
