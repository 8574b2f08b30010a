// Two workflows that talk to each other: what the one sends, sets and writes, the other waits for in every way there is.
#pragma once

#include "workload.hpp"

namespace dbos::sim {

/// Starts a Listener, tells it things, and waits for it.
inline constexpr auto Duet = workflow<std::string(std::int64_t)>("duet");
/// Waits for messages and an event of the workflow that has started it, some of them in a select.
inline constexpr auto Listener = workflow<std::string(std::int64_t)>("listener");

std::string duet(Context& ctx, std::int64_t bits, Nanos pace);
std::string listener(Context& ctx, std::int64_t bits, Nanos pace, StepWatch& watch);

}  // namespace dbos::sim
