// Schedules that a program declares, and the versions that run them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "queue_fixture.hpp"
#include "runtime/app_impl.hpp"
#include "support/app.hpp"

namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

using Time = std::chrono::system_clock::time_point;
constexpr auto Report = dbos::workflow<void(Time, std::string)>("report");
constexpr auto Plain = dbos::workflow<void(Time, std::optional<int>)>("plain");

class DeclaredSchedules : public dbos::test::AppTest {
   public:
    dbos::AppOptions version(const std::string& name) {
        dbos::AppOptions options = app_options();
        options.application_version = name;
        return options;
    }
    static void implement(dbos::App& app) {
        app.implement(Report, [](dbos::Context&, Time, const std::string&) {});
        app.implement(Plain, [](dbos::Context&, Time, std::optional<int>) {});
    }
    template <class F>
    static bool eventually(F&& condition) {
        const auto give_up = std::chrono::steady_clock::now() + 30s;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > give_up) return false;
            std::this_thread::sleep_for(10ms);
        }
        return true;
    }
    std::string row(const std::string& name) {
        return scalar(
            "SELECT workflow_name || ' ' || schedule || ' ' || context || ' ' || status || ' ' || "
            "COALESCE(cron_timezone, '-') || ' ' || COALESCE(queue_name, '-') || ' ' || "
            "application_name FROM @workflow_schedules WHERE schedule_name = '" +
            name + "'");
    }
    template <class F>
    static std::string refusal(F&& call) {
        try {
            call();
        } catch (const dbos::UsageError& error) {
            return error.what();
        }
        return "not refused";
    }
};
DBOS_FOR_EVERY_DATABASE(DeclaredSchedules);

TEST_P(DeclaredSchedules, stand_in_the_database_after_the_launch_and_fire) {
    dbos::App app(app_options());
    std::atomic<int> runs{0};
    app.implement(Report,
                  [&](dbos::Context&, Time, const std::string& to) { runs += to == "sales" ? 1 : 100; });
    app.register_queue({.name = "reports"});
    app.schedule(Report, {.schedule_name = "often", .schedule = "* * * * * *", .queue_name = "reports"},
                 "sales");
    app.schedule(
        Report, {.schedule_name = "daily", .schedule = "0 5 * * *", .cron_timezone = "Europe/Berlin"}, "all");
    app.launch();
    EXPECT_EQ(row("often"), "report * * * * * * \"sales\" ACTIVE - reports test-app");
    EXPECT_EQ(row("daily"), "report 0 5 * * * \"all\" ACTIVE Europe/Berlin - test-app");
    EXPECT_TRUE(eventually([&] { return runs.load() >= 2; }));
    EXPECT_LT(runs.load(), 100);
    const auto ids = app.client().list_workflows({.schedule_name = "often"});
    EXPECT_THAT(ids.at(0).workflow_id, ::testing::MatchesRegex("sched-often-....-..-..T..:..:..\\+00:00"));
    // A far tick is nothing to wait for.
    EXPECT_THAT(app.shutdown(), ::testing::IsEmpty());
}

TEST_P(DeclaredSchedules, that_stand_there_are_not_written_again_and_keep_their_state) {
    const auto launch = [&](const char* cron) {
        dbos::App app(app_options());
        implement(app);
        app.schedule(Plain, {.schedule_name = "s", .schedule = cron});
        app.launch();
    };
    launch("0 5 * * *");
    const std::string id = scalar("SELECT schedule_id FROM @workflow_schedules");
    execute("UPDATE @workflow_schedules SET status = 'PAUSED', last_fired_at = '2026-01-01T05:00:00+00:00'");
    launch("0 5 * * *");
    EXPECT_EQ(row("s"), "plain 0 5 * * * null PAUSED - - test-app");
    launch("0 6 * * *");
    EXPECT_EQ(row("s"), "plain 0 6 * * * null PAUSED - - test-app");
    EXPECT_EQ(scalar("SELECT schedule_id FROM @workflow_schedules"), id);
    EXPECT_EQ(scalar("SELECT last_fired_at FROM @workflow_schedules"), "2026-01-01T05:00:00+00:00");
}

TEST_P(DeclaredSchedules, of_an_older_version_do_not_undo_those_of_the_latest) {
    const auto launch = [&](const std::string& name, const char* cron, bool latest) {
        dbos::AppOptions options = version(name);
        options.make_latest_version = latest;
        dbos::App app(options);
        implement(app);
        app.schedule(Plain, {.schedule_name = "s", .schedule = cron});
        if (name == "v1") app.schedule(Plain, {.schedule_name = "old", .schedule = "0 1 * * *"});
        app.launch();
    };
    launch("v1", "0 1 * * *", false);
    launch("v2", "0 2 * * *", false);
    execute("DELETE FROM @workflow_schedules WHERE schedule_name = 'old'");
    launch("v1", "0 1 * * *", false);
    EXPECT_THAT(row("s"), HasSubstr("0 2 * * *"));
    EXPECT_EQ(log.count("keeps the definition of a newer version"), 1);
    EXPECT_THAT(row("old"), HasSubstr("0 1 * * *")) << "one that is not there is made";
    // A roll-back.
    launch("v1", "0 1 * * *", true);
    EXPECT_THAT(row("s"), HasSubstr("0 1 * * *"));
    EXPECT_EQ(
        scalar("SELECT version_name FROM @application_versions ORDER BY version_timestamp DESC LIMIT 1"),
        "v1");
}

TEST_P(DeclaredSchedules, that_cannot_be_fired_are_refused_and_nothing_is_written) {
    dbos::App app(app_options());
    app.implement(Report, [](dbos::Context&, Time, const std::string&) {});
    const auto declare = [&](dbos::ScheduleOptions options) {
        return refusal([&] { app.schedule(Report, std::move(options), "x"); });
    };
    EXPECT_THAT(declare({.schedule_name = "s", .schedule = "* * *"}), HasSubstr("got 3 fields"));
    EXPECT_THAT(declare({.schedule_name = "s", .schedule = "0 0 30 2 *"}), HasSubstr("a date exists"));
    EXPECT_THAT(declare({.schedule_name = "s", .schedule = "* * * * *", .cron_timezone = "Mars/Olympus"}),
                HasSubstr("Mars/Olympus"));
    EXPECT_THAT(declare({.schedule_name = " ", .schedule = "* * * * *"}), HasSubstr("schedule_name"));
    EXPECT_THAT(declare({.schedule_name = "s", .workflow_name = "other", .schedule = "* * * * *"}),
                HasSubstr("workflow_name"));
    EXPECT_THAT(declare({.schedule_name = "s", .schedule = "* * * * *", .context = 1}), HasSubstr("context"));
    EXPECT_THAT(declare({.schedule_name = "s", .schedule = "* * * * *", .application_name = "billing"}),
                HasSubstr("application_name"));
    EXPECT_EQ(declare({.schedule_name = "s", .schedule = "* * * * *"}), "not refused");
    EXPECT_THAT(declare({.schedule_name = "s", .schedule = "* * * * *"}), HasSubstr("declared already"));
    app.launch();
    EXPECT_THAT(declare({.schedule_name = "late", .schedule = "* * * * *"}), HasSubstr("after launch()"));

    dbos::App without(app_options());
    without.schedule(Report, {.schedule_name = "t", .schedule = "* * * * *"}, "x");
    EXPECT_THAT(refusal([&] { without.launch(); }), HasSubstr("\"report\" has no body"));
    dbos::App queueless(app_options());
    implement(queueless);
    queueless.schedule(Report, {.schedule_name = "t", .schedule = "* * * * *", .queue_name = "nowhere"}, "x");
    EXPECT_THAT(refusal([&] { queueless.launch(); }), HasSubstr("\"nowhere\" is not known"));
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_schedules"), "1");
}

TEST_P(DeclaredSchedules, on_a_partitioned_queue_are_refused) {
    const auto launch = [&](bool declares_queue) {
        dbos::App app(app_options());
        implement(app);
        if (declares_queue) app.register_queue({.name = "tenants", .partition_concurrency = 1});
        app.schedule(Report, {.schedule_name = "s", .schedule = "* * * * *", .queue_name = "tenants"}, "x");
        return refusal([&] { app.launch(); });
    };
    const auto clear = AllOf(HasSubstr("schedule \"s\""), HasSubstr("\"tenants\" is partitioned"),
                             HasSubstr("another queue_name"));
    {
        dbos::App creator(app_options());
        creator.launch();
    }
    EXPECT_THAT(launch(true), clear);
    EXPECT_EQ(scalar("SELECT count(*) FROM @queues"), "0") << "what the program says itself is told first";
    {
        dbos::App other(app_options());
        other.register_queue({.name = "tenants", .partition_concurrency = 1});
        other.launch();
    }
    EXPECT_THAT(launch(false), clear);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_schedules"), "0");
}

TEST_P(DeclaredSchedules, several_executors_run_each_tick_once) {
    std::vector<std::unique_ptr<dbos::App>> apps;
    for (int n = 0; n < 3; ++n) {
        apps.push_back(std::make_unique<dbos::App>(app_options()));
        implement(*apps.back());
        apps.back()->schedule(Plain, {.schedule_name = "s", .schedule = "* * * * * *"});
        apps.back()->launch();
    }
    const auto ended = [&] {
        return std::stoi(scalar("SELECT count(*) FROM @workflow_status WHERE status = 'SUCCESS'"));
    };
    ASSERT_TRUE(eventually([&] { return ended() >= 4; }));
    apps.pop_back();
    ASSERT_TRUE(eventually([&] { return ended() >= 6; }));
    apps.clear();
    // One run a second from the first to the last: none is missing, and ids are unique.
    const std::string first = scalar("SELECT min(workflow_uuid) FROM @workflow_status");
    const std::string last = scalar("SELECT max(workflow_uuid) FROM @workflow_status");
    const auto second = [](const std::string& id) {
        return dbos::Instant(id.substr(std::string("sched-s-").size())).epoch_ms() / 1000;
    };
    EXPECT_EQ(std::to_string(second(last) - second(first) + 1),
              scalar("SELECT count(*) FROM @workflow_status"));
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE recovery_attempts > 1"), "0");
}

TEST_P(DeclaredSchedules, firing_goes_on_when_the_database_is_back) {
    auto away = std::make_shared<std::atomic<bool>>(false);
    auto refused = std::make_shared<std::atomic<int>>(0);
    auto hooks = std::make_shared<dbos::sysdb::test::HookedConnection::Hooks>();
    hooks->before = [away, refused](const dbos::sql::Statement&, const dbos::sql::Params&) {
        if (!away->load()) return;
        ++*refused;
        throw dbos::DatabaseError(dbos::DatabaseErrorKind::connection, "the database is away (test)",
                                  "08006");
    };
    for (const bool retry : {true, false}) {
        dbos::AppOptions options = app_options();
        options.retry_connection_errors = retry;
        dbos::App app(options);
        app.impl().executor.instrument({.database = [hooks](dbos::sysdb::DatabaseOptions& database) {
            database.decorate =
                [hooks](
                    std::unique_ptr<dbos::sql::Connection> inner) -> std::unique_ptr<dbos::sql::Connection> {
                return std::make_unique<dbos::sysdb::test::HookedConnection>(std::move(inner), hooks);
            };
        }});
        implement(app);
        app.schedule(Plain, {.schedule_name = retry ? "s" : "t", .schedule = "* * * * * *"});
        app.launch();
        const auto runs = [&] {
            return std::stoi(scalar("SELECT count(*) FROM @workflow_status WHERE schedule_name = '" +
                                    std::string(retry ? "s" : "t") + "'"));
        };
        ASSERT_TRUE(eventually([&] { return runs() >= 1; }));
        const int before = refused->load();
        away->store(true);
        ASSERT_TRUE(eventually([&] { return refused->load() > before + 3; }));
        const int then = runs();
        away->store(false);
        EXPECT_TRUE(eventually([&] { return runs() >= then + 2; })) << retry;
    }
}

// ---------------------------------------------------------------------------------------------------- versions

class RollingUpgrade : public DeclaredSchedules {
   public:
    /// Launches two versions in this order, and tells which one runs what.
    void roll(const std::string& first, const std::string& second) {
        constexpr auto Who = dbos::workflow<std::string()>("who");
        const auto make = [&](const std::string& name) {
            auto app = std::make_unique<dbos::App>(version(name));
            implement(*app);
            app->implement(Who, [](dbos::Context& ctx) { return ctx.application_version(); });
            app->register_queue({.name = "q"});
            app->launch();
            return app;
        };
        const auto one = make(first);
        const auto ask = [&](dbos::App& app, const std::string& wanted) {
            return app.client()
                .enqueue(Who, {.queue_name = "q", .app_version = wanted})
                .get_result({.timeout = 30s});
        };
        EXPECT_EQ(ask(*one, ""), first);
        const auto two = make(second);
        EXPECT_EQ(one->client().get_latest_application_version().version_name, second);
        // One of no version is for the latest, whoever enqueues it; those of a version for that one.
        // The other one finds out within a tick that it is not the latest any more.
        int in_a_row = 0;
        ASSERT_TRUE(eventually([&] {
            in_a_row = ask(in_a_row % 2 == 0 ? *one : *two, "") == second ? in_a_row + 1 : 0;
            return in_a_row == 20;
        }));
        EXPECT_EQ(ask(*two, first), first);
        EXPECT_EQ(ask(*one, second), second);
        // What starts in a program is of its version, also on a queue.
        EXPECT_EQ(one->start_workflow(Who, {}).get_result({.timeout = 30s}), first);
        EXPECT_EQ(one->start_workflow(Who, {.queue_name = "q"}).get_result({.timeout = 30s}), first);
        // Ticks are the latest version's, whoever fires them.
        two->client().create_schedule(
            {.schedule_name = "s", .workflow_name = "plain", .schedule = "* * * * * *"});
        ASSERT_TRUE(eventually([&] {
            return scalar(
                       "SELECT count(*) FROM @workflow_status WHERE schedule_name = 's' AND status = "
                       "'SUCCESS'") >= "2";
        }));
        EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE schedule_name = 's' AND "
                         "application_version <> '" +
                         second + "'"),
                  "0");
        // A roll-back by hand.
        two->client().set_latest_application_version(first);
        EXPECT_EQ(two->client().list_application_versions().at(0).version_name, first);
        ASSERT_TRUE(eventually([&] { return ask(*two, "") == first; }));
        two->shutdown();
        EXPECT_EQ(ask(*one, ""), first);
    }
};
DBOS_FOR_EVERY_DATABASE(RollingUpgrade);

TEST_P(RollingUpgrade, from_the_older_to_the_newer_name) { roll("v1", "v2"); }
TEST_P(RollingUpgrade, from_the_newer_to_the_older_name) { roll("v2", "v1"); }

TEST_P(RollingUpgrade, work_of_a_version_that_nobody_runs_is_told_at_launch) {
    {
        dbos::App old(version("v1"));
        implement(old);
        old.register_queue({.name = "q"});
        old.launch();
        old.start_workflow(Plain, {.queue_name = "q", .delay = 3600s}, Time(), 1);
        old.start_workflow(Plain, {.queue_name = "q", .delay = 3600s}, Time(), 2);
    }
    dbos::App app(version("v2"));
    implement(app);
    app.register_queue({.name = "q"});
    app.launch();
    ASSERT_TRUE(eventually([&] { return log.count("workflows wait for an application version") == 1; }));
    EXPECT_EQ(log.count("version=v1 workflows=2"), 1) << log.text();
}

}  // namespace
