// The simulator itself: that it finds what it must find, and that its primitives do what the real ones do.
#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "campaign.hpp"
#include "core/time_zone.hpp"
#include "dbos/error.hpp"
#include "platform/zone_file.hpp"

namespace {

using namespace dbos;
using namespace dbos::sim;
using namespace std::chrono_literals;

/// Runs `scenario` under many seeds; how many failed, and one of the reasons.
CampaignResult explore(std::uint64_t worlds, const std::function<void()>& scenario,
                       const Plan& pattern = {}) {
    return run_campaign({.worlds = worlds,
                         .jobs = 1,
                         .batch = kUsualTasks == Tasks::threads ? 1 : worlds,
                         .most_failures = 3},
                        [&](std::uint64_t seed, Tasks tasks) {
                            Plan plan = pattern;
                            plan.seed = seed;
                            plan.tasks = tasks;
                            return run(plan, scenario);
                        });
}
std::string reason(const CampaignResult& result) {
    return result.failures.empty() ? std::string() : result.failures.begin()->second;
}

TEST(Primitives, zones_come_from_memory) {
    const auto zone = core::load_time_zone("America/New_York", seam::read_zone_file);
    EXPECT_EQ(zone.offset_at(core::Instant(1'772'953'199s)), -5h);  // 2026-03-08T06:59:59Z
    EXPECT_EQ(zone.offset_at(core::Instant(1'772'953'200s)), -4h);
    EXPECT_EQ(core::load_time_zone("Europe/Berlin", seam::read_zone_file).offset_at(core::Instant(0s)), 1h);
    EXPECT_THROW(core::load_time_zone("Asia/Tokyo", seam::read_zone_file), UsageError);
}

TEST(Primitives, a_lost_update_is_found) {
    const auto result = explore(50, [] {
        seam::Atomic<int> counter{0};
        auto add = [&] { counter.store(counter.load() + 1); };
        auto a = seam::spawn("a", add);
        auto b = seam::spawn("b", add);
        a.join();
        b.join();
        if (counter.load() != 2) fail("an update is lost");
    });
    EXPECT_NE(reason(result).find("an update is lost"), std::string::npos);
    EXPECT_FALSE(result.outcomes.empty()) << "no seed let it pass: that is no race";
}

TEST(Primitives, a_mutex_excludes_and_a_condition_variable_wakes) {
    const auto result = explore(50, [] {
        seam::Mutex mutex;
        seam::CondVar changed;
        int inside = 0, passed = 0;
        auto work = [&] {
            std::unique_lock lock(mutex);
            if (++inside != 1) fail("two tasks hold one mutex");
            seam::point("inside");
            --inside;
            ++passed;
            changed.notify_all();
        };
        auto a = seam::spawn("a", work);
        auto b = seam::spawn("b", work);
        {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return passed == 2; });
        }
        a.join();
        b.join();
    });
    EXPECT_EQ(reason(result), "");
    EXPECT_EQ(result.outcomes.size(), 50u);
}

TEST(Primitives, a_check_before_the_registration_is_a_deadlock_of_some_seed) {
    const auto result = explore(200, [] {
        seam::Mutex mutex;
        seam::CondVar changed;
        seam::Atomic<bool> ready{false};
        auto sets = seam::spawn("sets", [&] {
            ready.store(true);  // not under the lock
            changed.notify_all();
        });
        {
            std::unique_lock lock(mutex);
            while (!ready.load()) changed.wait(lock);
        }
        sets.join();
    });
    EXPECT_NE(reason(result).find("everybody waits for ever"), std::string::npos);
}

TEST(Primitives, a_futex_that_dies_before_its_notifier_is_found) {
    const auto result = explore(200, [] {
        auto slot = std::make_unique<seam::Atomic<int>>(0);
        seam::Atomic<int>* raw = slot.get();
        auto notifier = seam::spawn("notifier", [raw] {
            raw->store(1);
            raw->notify_one();
        });
        slot->wait(0);
        // What the waiter's stack would be: gone, its bytes still there.
        raw->~Atomic();
        notifier.join();
        ::operator delete(slot.release());
    });
    EXPECT_NE(reason(result).find("used after its destruction"), std::string::npos);
}

TEST(Primitives, virtual_time_passes_at_once_and_sleep_of_the_host_is_not_steady) {
    Plan plan;
    plan.faults = {{.at_step = 5, .kind = FaultKind::host_sleep, .instance = 0, .amount = 3600 * kSecond}};
    const auto result = explore(
        5,
        [] {
            const int process = start_process(0, "host", [] {
                const auto steady = seam::steady_now();
                const auto boot = seam::boot_now();
                for (int i = 0; i < 100; ++i) seam::point("x");
                seam::sleep_for(10s);
                if (seam::steady_now() - steady > 20s)
                    fail("the steady clock has counted the sleep of the host");
                if (seam::boot_now() - boot < 3600s) fail("the boot clock has not counted it");
            });
            while (!ended(process)) seam::sleep_for(1s);
        },
        plan);
    EXPECT_EQ(reason(result), "");
}

TEST(Primitives, a_crash_freezes_one_process_and_no_other) {
    Plan plan;
    plan.faults = {{.at_step = 200, .kind = FaultKind::crash, .instance = 0, .amount = 0}};
    const auto result = explore(
        20,
        [] {
            int first = 0, second = 0;
            const int killed = start_process(0, "host", [&] {
                for (;;) {
                    ++first;
                    seam::sleep_for(1ms);
                }
            });
            const int survivor = start_process(1, "host", [&] {
                for (int i = 0; i < 1000; ++i) {
                    ++second;
                    seam::sleep_for(1ms);
                }
            });
            while (!ended(killed)) seam::sleep_for(10ms);
            const int at_death = first;
            while (!ended(survivor)) seam::sleep_for(10ms);
            if (first != at_death) fail("the dead process went on");
            if (second != 1000) fail("the other one did not");
            if (!crashed(killed) || crashed(survivor)) fail("the wrong one crashed");
        },
        plan);
    EXPECT_EQ(reason(result), "");
}

TEST(Primitives, locals_belong_to_their_task) {
    const auto result = explore(10, [] {
        struct Tag {};
        using Mark = seam::Local<int, Tag>;
        Mark::get() = 1;
        auto other = seam::spawn("other", [] {
            if (Mark::get() != 0) fail("a task sees the value of another one");
            Mark::get() = 2;
        });
        other.join();
        if (Mark::get() != 1) fail("a task has changed the value of another one");
    });
    EXPECT_EQ(reason(result), "");
}

}  // namespace
