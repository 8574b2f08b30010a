// A workflow that uses every operation of a body, and whose outcome is the same whatever goes wrong on its way: what is killed,
// stopped and cut at each of its calls, in simulated worlds and on a real server.
#pragma once

#include <functional>
#include <string>

#include "dbos/dbos.hpp"

namespace dbos::test {

inline constexpr auto Tour = workflow<std::string(std::int64_t)>("tour");
/// What a tour starts, cancels, resumes, forks, rewinds and deletes.
inline constexpr auto Guest = workflow<std::string(std::int64_t)>("guest");

// Its queues.
inline constexpr const char* kTourQueue = "wide";
inline constexpr const char* kHeldQueue = "narrow";

/// The children of a tour: four that it waits for, the held one, and the debounced one.
inline constexpr int kTourChildren = 6;

/// A guest of the tour that is cancelled, resumed and rewound, and the fork of it that is deleted.
inline std::string held_by(const std::string& tour_id) { return tour_id + "-held"; }
inline std::string forked_by(const std::string& tour_id) { return tour_id + "-forked"; }

/// What a tour returns.
extern const char* const kTourResult;

/// What the callables of steps do: return the value, after some attempts that throw.
using TourStep = std::function<std::string(StepContext&, const std::string& value, int failures)>;
/// Two transactional steps that add 10 and 20 to what the tour has in a database, and a third that returns their sum.
using TourLedger = std::function<std::string(Context&)>;

std::string tour(Context& ctx, const TourStep& step, const TourLedger& ledger);
std::string guest(Context& ctx, const TourStep& step);

}  // namespace dbos::test
