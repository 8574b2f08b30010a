// Two versions of an application on one database, in both orders: what is queued, debounced, scheduled or left behind by the dead
// runs on the version that it is for, through promotions and roll-backs (queues-and-schedules.md 6).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "runtime/app_impl.hpp"
#include "support/app.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;
using testing::Each;

using Time = std::chrono::system_clock::time_point;
constexpr auto Who = dbos::workflow<std::string()>("who");
constexpr auto Hold = dbos::workflow<std::string(int)>("hold");
constexpr auto Plain = dbos::workflow<void(Time, std::optional<int>)>("plain");

class Upgrade : public dbos::test::AppTest {
   public:
    std::unique_ptr<dbos::App> launch(const std::string& version, bool make_latest = false) {
        dbos::AppOptions options = app_options();
        options.application_version = version;
        options.make_latest_version = make_latest;
        auto app = std::make_unique<dbos::App>(options);
        app->implement(Who, [](dbos::Context& ctx) { return ctx.application_version(); });
        app->implement(Hold, [this](dbos::Context& ctx, int gate) {
            gates_.at(static_cast<std::size_t>(gate)).pass();
            return ctx.application_version();
        });
        app->implement(Plain, [](dbos::Context&, Time, std::optional<int>) {});
        app->register_queue({.name = "one", .concurrency = 1});
        app->launch();
        return app;
    }
    /// Waits until both have heard which version is the latest: with their next ticks.
    static void settle(dbos::App& a, dbos::App& b, const std::string& latest) {
        for (dbos::App* app : {&a, &b}) {
            const bool is = app->application_version() == latest;
            ASSERT_TRUE(eventually([&] { return app->impl().executor.claimer().is_latest() == is; }, 60));
        }
    }
    using Handles = std::vector<dbos::WorkflowHandle<std::string>>;
    static std::vector<std::string> results(const Handles& handles) {
        std::vector<std::string> all;
        for (const auto& handle : handles) all.push_back(handle.get_result({.timeout = 30s}));
        return all;
    }
    /// While rows stand in a queue, `now` becomes the latest version: they run where they are to.
    template <class Promote>
    void promote_over_a_queue(dbos::App& a, dbos::App& b, const std::string& now, int gate,
                              Promote&& promote) {
        const auto holder = a.start_workflow(Hold, {.queue_name = "one"}, gate);
        ASSERT_TRUE(gates_.at(static_cast<std::size_t>(gate)).wait_for_arrivals(1));
        Handles of_none, of_a, of_b;
        const auto queue = [&](Handles& handles, const std::string& version) {
            for (dbos::App* app : {&a, &b})
                handles.push_back(app->client().enqueue(Who, {.queue_name = "one", .app_version = version}));
        };
        for (int round = 0; round < 2; ++round) {
            queue(of_none, "");
            queue(of_a, a.application_version());
            queue(of_b, b.application_version());
        }
        dbos::Debouncer debouncer(a.client(), Who, {.queue = "one"});
        const auto debounced = debouncer.debounce(now, 3600s);
        promote();
        settle(a, b, now);
        EXPECT_EQ(debouncer.debounce(now, 0s).workflow_id(), debounced.workflow_id());
        gates_.at(static_cast<std::size_t>(gate)).open();
        EXPECT_EQ(holder.get_result({.timeout = 30s}), a.application_version());
        EXPECT_THAT(results(of_none), Each(now));
        EXPECT_THAT(results(of_a), Each(a.application_version()));
        EXPECT_THAT(results(of_b), Each(b.application_version()));
        EXPECT_EQ(debounced.get_result({.timeout = 30s}), now);
        // A tick is the latest version's, whoever fires it.
        for (dbos::App* app : {&a, &b}) {
            const auto tick = app->client().trigger_schedule("s");
            tick.get_result({.timeout = 30s});
            EXPECT_EQ(tick.get_status().app_version, now);
            const std::string& there = (now == a.application_version() ? a : b).executor_id();
            if (single_) {
                EXPECT_EQ(tick.get_status().executor_id, there);
            }
        }
    }
    void roll(const std::string& first, const std::string& second) {
        const auto one = launch(first);
        auto two = launch(second);
        one->client().create_schedule(
            {.schedule_name = "s", .workflow_name = "plain", .schedule = "@yearly"});
        settle(*one, *two, second);
        // Back and forth by hand, from either side.
        promote_over_a_queue(*one, *two, first, 0,
                             [&] { two->client().set_latest_application_version(first); });
        promote_over_a_queue(*two, *one, second, 1,
                             [&] { one->client().set_latest_application_version(second); });
        // A roll-back by a launch: of an executor more, so that the old one is still there.
        single_ = false;
        std::unique_ptr<dbos::App> three;
        promote_over_a_queue(*one, *two, first, 2, [&] { three = launch(first, true); });
        // A launch that is not meant as one changes nothing.
        const auto four = launch(second);
        EXPECT_EQ(four->client().get_latest_application_version().version_name, first);
        settle(*four, *two, first);
    }

    /// A row as a dead executor of the version has left it.
    void leave_behind(const std::string& executor, const std::string& version) {
        execute(
            "INSERT INTO @workflow_status (workflow_uuid, status, name, executor_id, created_at, updated_at, "
            "application_version, application_name, recovery_attempts, serialization, owner_xid, "
            "creator_xid) "
            "VALUES ('of-" +
            executor + "', 'PENDING', 'who', '" + executor + "', 1000, 1000, '" + version +
            "', 'test-app', 1, 'portable_json', 'old-token', 'old-token')");
        execute("INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp) VALUES ('of-" +
                executor + "', '{\"positionalArgs\":[],\"namedArgs\":{}}', 1000)");
        execute(
            "INSERT INTO @dbos_cpp_executors (application_name, executor_id, incarnation, version, counter, "
            "expires_at, lease_ms, pid, process_start, started_at, updated_at) VALUES ('test-app', '" +
            executor + "', 'inc', '" + version + "', 5, 1000, 1500, 1, 1, 1, 1)");
    }
    std::string status(const std::string& executor) {
        return scalar("SELECT status || ' ' || executor_id FROM @workflow_status WHERE workflow_uuid = 'of-" +
                      executor + "'");
    }
    /// What `dead` has left behind waits for that version; `other` takes what is its own.
    void recover(const std::string& dead, const std::string& other, bool dead_is_latest) {
        {
            launch(dead)->shutdown();  // creates the database, registers the version
        }
        leave_behind("dead-1", dead);
        const auto served = launch(other);
        if (dead_is_latest) served->client().set_latest_application_version(dead);
        // Its own dead are taken, one after another, by sweeps that have seen the others as well.
        for (const std::string executor : {"own-1", "own-2"}) {
            leave_behind(executor, other);
            ASSERT_TRUE(eventually([&] { return status(executor) == "SUCCESS " + served->executor_id(); }));
            EXPECT_EQ(status("dead-1"), "PENDING dead-1");
        }
        const auto heir = launch(dead);
        ASSERT_TRUE(eventually([&] { return status("dead-1") == "SUCCESS " + heir->executor_id(); }));
        EXPECT_EQ(served->retrieve_workflow(Who, "of-dead-1").get_result(), dead);
        EXPECT_EQ(served->retrieve_workflow("of-dead-1").get_status().recovery_attempts, 2);
    }

   private:
    std::array<Gate, 3> gates_;
    bool single_ = true;  // one executor of each version
};
DBOS_FOR_EVERY_DATABASE(Upgrade);

TEST_P(Upgrade, promotions_move_what_is_queued_from_the_older_to_the_newer_name) { roll("v1", "v2"); }
TEST_P(Upgrade, promotions_move_what_is_queued_from_the_newer_to_the_older_name) { roll("v2", "v1"); }

TEST_P(Upgrade, what_the_dead_of_an_older_version_left_waits_for_that_version) { recover("v1", "v2", false); }
TEST_P(Upgrade, what_the_dead_of_the_latest_version_left_waits_for_that_version) {
    recover("v2", "v1", true);
}

}  // namespace
