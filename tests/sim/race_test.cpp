// The thread sanitizer sees through the baton: it is told what locks and atomics order, and nothing else.
#include <gtest/gtest.h>

#include <mutex>

#include "campaign.hpp"

namespace {

using namespace dbos;
using namespace dbos::sim;

#ifdef DBOS_UNDER_TSAN

/// Whether the sanitizer reports a race in the world of one of a few seeds.
bool reported(const std::function<void()>& scenario) {
    constexpr std::uint64_t kWorlds = 5;
    const auto result =
        run_campaign({.worlds = kWorlds, .jobs = 1, .batch = 1}, [&](std::uint64_t seed, Tasks tasks) {
            Plan plan;
            plan.seed = seed;
            plan.tasks = tasks;
            return run(plan, scenario);
        });
    for (const auto& [seed, what] : result.failures) {
        EXPECT_NE(what.find("exit code 66"), std::string::npos) << "seed " << seed << ": " << what;
    }
    EXPECT_EQ(result.failures.size() + result.outcomes.size(), kWorlds);
    return !result.failures.empty();
}

/// Two tasks that do the same.
void twice(const std::function<void()>& work) {
    auto a = seam::spawn("a", work);
    auto b = seam::spawn("b", work);
    a.join();
    b.join();
}

TEST(Races, a_plain_int_written_by_two_tasks_is_reported) {
    EXPECT_TRUE(reported([] {
        int plain = 0;
        twice([&] {
            seam::point("x");
            ++plain;
            seam::point("x");
        });
    }));
}

TEST(Races, under_a_lock_it_is_none) {
    EXPECT_FALSE(reported([] {
        seam::Mutex mutex;
        int plain = 0;
        twice([&] {
            std::lock_guard lock(mutex);
            seam::point("x");
            ++plain;
        });
    }));
}

void publish(std::memory_order order) {
    seam::Atomic<bool> ready{false};
    int plain = 0;
    auto writer = seam::spawn("writer", [&] {
        plain = 1;
        ready.store(true, order);
    });
    auto reader = seam::spawn("reader", [&] {
        while (!ready.load(std::memory_order_acquire)) seam::sleep_for(std::chrono::milliseconds(1));
        if (plain != 1) fail("not published");
    });
    writer.join();
    reader.join();
}

TEST(Races, a_release_store_publishes) {
    EXPECT_FALSE(reported([] { publish(std::memory_order_release); }));
}

TEST(Races, a_relaxed_store_publishes_nothing) {
    EXPECT_TRUE(reported([] { publish(std::memory_order_relaxed); }));
}

TEST(Races, a_join_orders) {
    EXPECT_FALSE(reported([] {
        int plain = 0;
        auto outer = seam::spawn("outer", [&] {
            auto inner = seam::spawn("inner", [&] { ++plain; });
            inner.join();
            ++plain;
        });
        outer.join();
    }));
}

#endif

}  // namespace
