// A seed is worth nothing if it does not give the same world again.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "campaign.hpp"
#include "scenario.hpp"
#include "template.hpp"

namespace {

using namespace dbos::sim;

class SameTrace : public testing::Test {
   protected:
    static CampaignResult play_all(std::uint64_t worlds, std::uint64_t batch, Tasks tasks) {
        const std::string& database = database_template();
        return run_campaign({.first = 1, .worlds = worlds, .jobs = 2, .batch = batch, .tasks = tasks},
                            [&](std::uint64_t seed, Tasks kind) {
                                Scenario scenario = scenario_of(seed);
                                scenario.plan.tasks = kind;
                                return play(scenario, database);
                            });
    }
};

TEST_F(SameTrace, from_fibers_and_threads_in_batches_and_alone) {
    constexpr std::uint64_t kWorlds = 200;
    const auto fibers = play_all(kWorlds, 20, Tasks::fibers);
    const auto alone = play_all(kWorlds, 1, Tasks::fibers);
    const auto threads = play_all(kWorlds, 20, Tasks::threads);
    const auto again = play_all(kWorlds, 1, Tasks::threads);
    ASSERT_TRUE(fibers.failures.empty()) << fibers.failures.begin()->second;
    ASSERT_EQ(fibers.outcomes.size(), kWorlds);
    for (const auto& [seed, outcome] : fibers.outcomes) {
        for (const auto* other : {&alone, &threads, &again}) {
            ASSERT_TRUE(other->outcomes.contains(seed)) << seed;
            EXPECT_EQ(other->outcomes.at(seed).hash, outcome.hash) << "seed " << seed;
            EXPECT_EQ(other->outcomes.at(seed).steps, outcome.steps) << "seed " << seed;
        }
    }
}

TEST_F(SameTrace, differs_between_seeds) {
    const auto worlds = play_all(10, 5, Tasks::fibers);
    std::set<std::uint64_t> hashes;
    for (const auto& [seed, outcome] : worlds.outcomes) hashes.insert(outcome.hash);
    EXPECT_EQ(hashes.size(), worlds.outcomes.size());
    EXPECT_EQ(worlds.outcomes.size(), 10u);
}

}  // namespace
