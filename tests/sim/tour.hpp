// The tour (support/tour.hpp) in a simulated world.
#pragma once

#include <string>

#include "support/tour.hpp"
#include "workload.hpp"

namespace dbos::sim {

inline constexpr const char* kTour = "tour";         // the id of the one tour of a world
inline constexpr const char* kShop = "shop.sqlite";  // a database of the program, for its transactional steps

/// What a tour returns here.
const std::string& tour_result();

/// Attaches both bodies and the queues, before launch().
void prepare_tour(App& app, StepWatch& watch);

}  // namespace dbos::sim
