// A workflow that uses every operation of a body, and whose outcome is the same whatever goes wrong on its way.
#pragma once

#include <string>

#include "workload.hpp"

namespace dbos::sim {

inline constexpr auto Tour = workflow<std::string(std::int64_t)>("tour");
/// A workflow that a tour starts, cancels, resumes, forks, rewinds and deletes.
inline constexpr auto Guest = workflow<std::string(std::int64_t)>("guest");

inline constexpr const char* kTour = "tour";           // the id of the one tour of a world
inline constexpr const char* kHeld = "tour-held";      // cancelled, resumed and rewound
inline constexpr const char* kForked = "tour-forked";  // a fork of it, deleted
inline constexpr const char* kShop = "shop.sqlite";  // a database of the program, for its transactional steps

/// What a tour returns.
extern const char* const kTourResult;

/// Attaches both bodies and the queues, before launch().
void prepare_tour(App& app, StepWatch& watch);

}  // namespace dbos::sim
