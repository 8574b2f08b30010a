// The campaign finds the bugs that are planted: each with the seed that planted.txt names or soon behind it, and not without
// the bug.
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "hunt.hpp"
#include "scenario.hpp"
#include "template.hpp"

namespace {

using namespace dbos;
using namespace dbos::sim;

TEST(Planted, each_bug_is_found_and_its_seed_ends_well_without_it) {
    const std::string& database = database_template();
    std::ifstream file(DBOS_SIM_PLANTED);
    ASSERT_TRUE(file) << "cannot read " << DBOS_SIM_PLANTED;
    const auto finds = read_finds(file);
    constexpr std::uint64_t kFurther = 500;
    const auto wrong = prove(finds, 2, kFurther, [&](std::uint64_t seed, Tasks tasks) {
        Scenario scenario = scenario_of(seed);
        scenario.plan.tasks = tasks;
        return play(scenario, database);
    });
    for (const auto& what : wrong)
        ADD_FAILURE() << what << "; if the scenarios were changed, renew the file with dbos_sim --hunt";
    EXPECT_GE(finds.size(), 12u);
}

TEST(Planted, none_is_left_out) {
    std::ifstream file(DBOS_SIM_PLANTED);
    std::set<std::string> missing;
    for (int i = 1; i < static_cast<int>(seam::Bug::count); ++i)
        missing.insert(name_of(static_cast<seam::Bug>(i)));
    for (const auto& find : read_finds(file)) missing.erase(name_of(find.bug));
    std::string names;
    for (const auto& name : missing) names += name + " ";
    EXPECT_EQ(names, "") << "planted.txt has no seed that finds them";
}

}  // namespace
