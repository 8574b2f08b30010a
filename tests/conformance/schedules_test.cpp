// Schedules that an application fires: on the virtual clock, so that every tick is known.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "core/schedule_ids.hpp"
#include "dbos/testing.hpp"
#include "support/app.hpp"
#include "testing/test_app.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::Context;
using dbos::testing::TestApp;
using dbos::testing::TestAppOptions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Time = std::chrono::system_clock::time_point;
constexpr auto Report = dbos::workflow<void(Time, std::string)>("report");
constexpr auto Plain = dbos::workflow<void(Time, dbos::Value)>("plain");

Time at(const char* text) { return Time(std::chrono::milliseconds(dbos::Instant(text).epoch_ms())); }

std::string iso(Time time) {
    return dbos::core::instant_text(std::chrono::floor<std::chrono::seconds>(time));
}

class Schedules : public ::testing::TestWithParam<dbos::sql::Backend> {
   public:
    void SetUp() override {
        if (postgres() && !dbos::test::need_postgres()) GTEST_SKIP();
    }
    void TearDown() override {
        if (HasFailure()) std::cerr << log.text();
    }
    bool postgres() const { return GetParam() == dbos::sql::Backend::postgres; }
    TestAppOptions options(const char* now = "2026-03-01T11:59:30Z") {
        TestAppOptions options;
        if (postgres()) options.system_database_url = *dbos::test::postgres_url();
        options.app.log_sink = log.sink();
        options.now = at(now);
        return options;
    }
    /// A TestApp whose workflows note what they were given.
    std::unique_ptr<TestApp> make(TestAppOptions given) {
        auto app = std::make_unique<TestApp>(std::move(given));
        app->implement(Report, [this](Context&, Time time, const std::string& context) {
            note(iso(time) + " " + context);
        });
        app->implement(Plain, [this](Context&, Time time, const dbos::Value& context) {
            note(iso(time) + " " + dbos::serializers::portable_json()->encode(context));
        });
        return app;
    }
    std::unique_ptr<TestApp> make() { return make(options()); }
    void note(std::string text) {
        std::lock_guard lock(mutex_);
        noted_.push_back(std::move(text));
    }
    std::vector<std::string> noted() {
        std::lock_guard lock(mutex_);
        return noted_;
    }
    /// The ids of the runs of a schedule, in their order, without `sched-<name>-`.
    static std::vector<std::string> runs(TestApp& app, const std::string& schedule) {
        std::vector<std::string> ids;
        for (const auto& status : app.client().list_workflows({.schedule_name = schedule}))
            ids.push_back(status.workflow_id.substr(7 + schedule.size()));
        std::sort(ids.begin(), ids.end());
        return ids;
    }
    static std::string last_fired(TestApp& app, const std::string& schedule) {
        const auto found = app.client().get_schedule(schedule);
        return found ? found->last_fired_at.value_or("never") : "gone";
    }
    dbos::test::LogBook log;

   private:
    std::mutex mutex_;
    std::vector<std::string> noted_;
};
DBOS_FOR_EVERY_DATABASE(Schedules);

TEST_P(Schedules, each_tick_runs_once_with_its_instant_and_the_context) {
    const auto app = make();
    app->client().create_schedule(
        {.schedule_name = "minutes", .workflow_name = "report", .schedule = "* * * * *", .context = "sales"});
    app->clock().advance(29s);
    EXPECT_THAT(noted(), IsEmpty());
    app->clock().advance(1s);
    EXPECT_THAT(noted(), ElementsAre("2026-03-01T12:00:00Z sales"));
    app->clock().advance(125s);
    EXPECT_THAT(noted(), SizeIs(3));
    EXPECT_THAT(runs(*app, "minutes"), ElementsAre("2026-03-01T12:00:00+00:00", "2026-03-01T12:01:00+00:00",
                                                   "2026-03-01T12:02:00+00:00"));
    EXPECT_EQ(last_fired(*app, "minutes"), "2026-03-01T12:02:00+00:00");
    const auto run = app->client().list_workflows({.limit = 1, .schedule_name = "minutes"}).at(0);
    EXPECT_EQ(run.status, "SUCCESS");
    EXPECT_EQ(run.queue_name, "_dbos_internal_queue");
    EXPECT_EQ(run.app_version, "test-app-1");
    EXPECT_EQ(run.application_name, "test-app");
    EXPECT_EQ(run.name, "report");
}

TEST_P(Schedules, ids_and_last_fired_at_have_the_offset_of_the_zone) {
    // New York: the clocks go forward on March 8th at 2:00.
    const auto app = make(options("2026-03-07T12:00:00Z"));
    for (const auto& [name, cron] : {std::pair("noon", "0 12 * * *"), std::pair("gap", "30 2 * * *")})
        app->client().create_schedule({.schedule_name = name,
                                       .workflow_name = "plain",
                                       .schedule = cron,
                                       .cron_timezone = "America/New_York"});
    app->clock().advance(72h);
    EXPECT_THAT(runs(*app, "noon"), ElementsAre("2026-03-07T12:00:00-05:00", "2026-03-08T12:00:00-04:00",
                                                "2026-03-09T12:00:00-04:00"));
    EXPECT_THAT(runs(*app, "gap"), ElementsAre("2026-03-09T02:30:00-04:00", "2026-03-10T02:30:00-04:00"));
    EXPECT_EQ(last_fired(*app, "gap"), "2026-03-10T02:30:00-04:00");
    EXPECT_THAT(noted(), ::testing::Contains("2026-03-08T16:00:00Z null"));
}

TEST_P(Schedules, a_paused_one_rests_and_goes_on_without_what_it_missed) {
    const auto app = make();
    app->client().create_schedule({.schedule_name = "m", .workflow_name = "plain", .schedule = "* * * * *"});
    app->clock().advance(60s);
    app->client().pause_schedule("m");
    app->clock().advance(180s);
    EXPECT_THAT(runs(*app, "m"), ElementsAre("2026-03-01T12:00:00+00:00"));
    app->client().resume_schedule("m");
    app->clock().advance(60s);
    EXPECT_THAT(runs(*app, "m"), ElementsAre("2026-03-01T12:00:00+00:00", "2026-03-01T12:04:00+00:00"));
}

TEST_P(Schedules, a_resumed_one_with_automatic_backfill_makes_up_for_its_pause) {
    const auto app = make();
    app->client().create_schedule({.schedule_name = "m",
                                   .workflow_name = "plain",
                                   .schedule = "* * * * *",
                                   .automatic_backfill = true});
    app->clock().advance(60s);
    app->client().pause_schedule("m");
    app->clock().advance(150s);
    app->client().resume_schedule("m");
    app->clock().advance(1s);
    EXPECT_THAT(runs(*app, "m"), ElementsAre("2026-03-01T12:00:00+00:00", "2026-03-01T12:01:00+00:00",
                                             "2026-03-01T12:02:00+00:00", "2026-03-01T12:03:00+00:00"));
    EXPECT_EQ(last_fired(*app, "m"), "2026-03-01T12:03:00+00:00");
}

TEST_P(Schedules, a_deleted_one_stops_and_another_may_have_its_name) {
    const auto app = make();
    app->client().create_schedule(
        {.schedule_name = "m", .workflow_name = "report", .schedule = "* * * * *", .context = "old"});
    app->clock().advance(60s);
    app->client().delete_schedule("m");
    app->clock().advance(180s);
    EXPECT_THAT(noted(), ElementsAre("2026-03-01T12:00:00Z old"));
    app->client().create_schedule(
        {.schedule_name = "m", .workflow_name = "report", .schedule = "0 0 1 1 *", .context = "far"});
    app->clock().advance(120s);
    EXPECT_THAT(noted(), SizeIs(1));
    app->client().delete_schedule("m");
    app->client().create_schedule(
        {.schedule_name = "m", .workflow_name = "report", .schedule = "* * * * *", .context = "new"});
    app->clock().advance(60s);
    EXPECT_THAT(noted(), ElementsAre("2026-03-01T12:00:00Z old", "2026-03-01T12:06:00Z new"));
}

TEST_P(Schedules, a_changed_definition_holds_at_the_next_tick) {
    const auto app = make();
    app->client().create_schedule(
        {.schedule_name = "m", .workflow_name = "report", .schedule = "0 * * * *", .context = "one"});
    app->clock().advance(60s);
    const std::string id = app->client().get_schedule("m")->schedule_id;
    app->client().update_schedule("m", {.schedule = "* * * * *", .context = "two"});
    app->clock().advance(60s);
    app->client().apply_schedules(
        {{.schedule_name = "m", .workflow_name = "plain", .schedule = "30 * * * * *", .context = "three"}});
    app->clock().advance(60s);
    EXPECT_THAT(noted(), ElementsAre("2026-03-01T12:00:00Z one", "2026-03-01T12:01:00Z two",
                                     "2026-03-01T12:02:30Z \"three\""));
    EXPECT_EQ(app->client().get_schedule("m")->schedule_id, id);
    app->client().update_schedule("m", {.cron_timezone = "Asia/Kolkata"});
    app->clock().advance(60s);
    EXPECT_EQ(last_fired(*app, "m"), "2026-03-01T17:33:30+05:30");
}

TEST_P(Schedules, a_tick_of_a_definition_that_others_have_just_changed_is_one_of_the_new) {
    const auto app = make();
    app->client().create_schedule(
        {.schedule_name = "m", .workflow_name = "report", .schedule = "* * * * *", .context = "old"});
    app->clock().advance(1s);
    // Another process: the scheduler here is not told, and finds out when it fires.
    app->impl().connect()->query("UPDATE @workflow_schedules SET context = '\"new\"'", {},
                                 dbos::sql::Access::write);
    app->clock().advance(29s);
    EXPECT_THAT(noted(), ElementsAre("2026-03-01T12:00:00Z new"));
    app->impl().connect()->query("UPDATE @workflow_schedules SET status = 'PAUSED'", {},
                                 dbos::sql::Access::write);
    app->clock().advance(600s);
    EXPECT_THAT(noted(), SizeIs(1));
}

TEST_P(Schedules, ticks_that_were_missed_are_lost_without_backfill_and_run_with_it) {
    const auto app = make();
    app->client().create_schedule(
        {.schedule_name = "without", .workflow_name = "plain", .schedule = "0 * * * *"});
    app->client().create_schedule({.schedule_name = "with",
                                   .workflow_name = "plain",
                                   .schedule = "0 * * * *",
                                   .automatic_backfill = true});
    app->clock().advance(60s);
    app->crash();
    app->clock().advance(3h);
    app->launch();
    app->clock().advance(1h);
    EXPECT_THAT(runs(*app, "without"), ElementsAre("2026-03-01T12:00:00+00:00", "2026-03-01T16:00:00+00:00"));
    EXPECT_THAT(runs(*app, "with"), ElementsAre("2026-03-01T12:00:00+00:00", "2026-03-01T13:00:00+00:00",
                                                "2026-03-01T14:00:00+00:00", "2026-03-01T15:00:00+00:00",
                                                "2026-03-01T16:00:00+00:00"));
}

TEST_P(Schedules, a_host_that_wakes_up_fires_the_tick_it_waited_for_and_no_storm) {
    const auto app = make();
    app->client().create_schedule(
        {.schedule_name = "without", .workflow_name = "plain", .schedule = "* * * * *"});
    app->client().create_schedule({.schedule_name = "with",
                                   .workflow_name = "plain",
                                   .schedule = "* * * * *",
                                   .automatic_backfill = true});
    app->clock().advance(1s);
    // The clock of tests stops at each tick; a host that was suspended does not.
    app->impl().now->store(app->impl().now->load() + 600'000);
    app->clock().advance(60s);
    EXPECT_THAT(runs(*app, "without"), ElementsAre("2026-03-01T12:00:00+00:00", "2026-03-01T12:10:00+00:00"));
    EXPECT_EQ(log.count("ticks of a schedule were missed"), 1);
    EXPECT_THAT(runs(*app, "with"), SizeIs(11));
    EXPECT_EQ(last_fired(*app, "with"), "2026-03-01T12:10:00+00:00");
}

TEST_P(Schedules, a_short_delay_loses_no_tick) {
    const auto app = make();
    app->client().create_schedule(
        {.schedule_name = "s", .workflow_name = "plain", .schedule = "* * * * * *"});
    app->clock().advance(2s);
    app->impl().now->store(app->impl().now->load() + 8'000);
    app->clock().advance(2s);
    EXPECT_THAT(runs(*app, "s"), SizeIs(12));
    EXPECT_EQ(log.count("ticks of a schedule were missed"), 0);
}

TEST_P(Schedules, a_backfill_keeps_the_newest_thousand_ticks_and_says_so) {
    const auto app = make();
    app->client().create_schedule({.schedule_name = "m",
                                   .workflow_name = "plain",
                                   .schedule = "* * * * *",
                                   .automatic_backfill = true});
    app->client().pause_schedule("m");
    app->clock().advance(0s);  // the pause is seen
    app->impl().connect()->query("UPDATE @workflow_schedules SET last_fired_at = '2025-03-01T11:00:00+00:00'",
                                 {}, dbos::sql::Access::write);
    app->client().resume_schedule("m");
    app->clock().advance(0s);
    const auto ids = runs(*app, "m");
    ASSERT_THAT(ids, SizeIs(1000));
    EXPECT_EQ(ids.back(), "2026-03-01T11:59:00+00:00");
    EXPECT_EQ(ids.front(), "2026-02-28T19:20:00+00:00");
    EXPECT_EQ(last_fired(*app, "m"), "2026-03-01T11:59:00+00:00");
    EXPECT_EQ(log.count("older ones are lost"), 1);
}

TEST_P(Schedules, ticks_that_another_SDK_has_run_are_left_alone) {
    const auto app = make(options("2026-03-01T04:59:30Z"));
    app->client().create_schedule({.schedule_name = "m",
                                   .workflow_name = "plain",
                                   .schedule = "* * * * *",
                                   .cron_timezone = "America/New_York"});
    const auto connection = app->impl().connect();
    for (const char* id : {"sched-m-2026-03-01T05:00:00.000Z", "sched-m-2026-03-01T05:01:00Z",
                           "sched-m-2026-03-01T00:02:00-05:00", "sched-m-2026-03-01T00:03-05:00"}) {
        connection->query("INSERT INTO @workflow_status (workflow_uuid, status, name) VALUES ('" +
                              std::string(id) + "', 'SUCCESS', 'plain')",
                          {}, dbos::sql::Access::write);
    }
    app->clock().advance(300s);
    EXPECT_THAT(runs(*app, "m"), ElementsAre("2026-03-01T00:04:00-05:00"));
}

TEST_P(Schedules, only_what_this_application_has_and_implements_is_fired) {
    const auto app = make();
    app->client().create_schedule(
        {.schedule_name = "unknown", .workflow_name = "stranger", .schedule = "* * * * *"});
    app->client().create_schedule({.schedule_name = "foreign",
                                   .workflow_name = "plain",
                                   .schedule = "* * * * *",
                                   .application_name = "billing"});
    app->client().create_schedule(
        {.schedule_name = "orphan", .workflow_name = "plain", .schedule = "* * * * *"});
    app->impl().connect()->query(
        "UPDATE @workflow_schedules SET application_name = NULL WHERE schedule_name = 'orphan'", {},
        dbos::sql::Access::write);
    app->clock().advance(120s);
    EXPECT_THAT(runs(*app, "unknown"), IsEmpty());
    EXPECT_THAT(app->client().list_workflows({.schedule_name = "foreign", .application_name = "billing"}),
                IsEmpty());
    EXPECT_THAT(runs(*app, "orphan"), SizeIs(2));
    EXPECT_EQ(app->client().list_workflows({.schedule_name = "orphan"}).at(0).application_name, "test-app");
}

TEST_P(Schedules, one_of_another_sdk_on_a_partitioned_queue_is_warned_of) {
    const auto app = make();
    app->app().register_queue({.name = "tenants", .partition_concurrency = 1});
    app->impl().connect()->query(
        "INSERT INTO @workflow_schedules (schedule_id, schedule_name, workflow_name, schedule, status, "
        "context, queue_name) VALUES ('s', 's', 'plain', '* * * * *', 'ACTIVE', 'null', 'tenants')",
        {}, dbos::sql::Access::write);
    app->launch();
    EXPECT_TRUE(dbos::test::eventually([&] {
        return log.count("will never run: its queue is partitioned") == 1;
    })) << log.text();
}

TEST_P(Schedules, one_that_cannot_be_used_does_not_disturb_the_others) {
    const auto app = make();
    const auto connection = app->impl().connect();
    app->launch();
    const auto row = [&](const std::string& name, const std::string& cron, const std::string& zone,
                         const std::string& context) {
        connection->query(
            "INSERT INTO @workflow_schedules (schedule_id, schedule_name, workflow_name, schedule, "
            "status, context, cron_timezone) VALUES ('" +
                name + "', '" + name + "', 'plain', '" + cron + "', 'ACTIVE', '" + context + "', " +
                (zone.empty() ? "NULL" : "'" + zone + "'") + ")",
            {}, dbos::sql::Access::write);
    };
    row("a-cron", "* * *", "", "null");
    row("b-zone", "* * * * *", "Mars/Olympus", "null");
    row("c-never", "0 0 30 2 *", "", "null");
    row("d-context", "* * * * *", "", "{");
    app->client().create_schedule(
        {.schedule_name = "good", .workflow_name = "plain", .schedule = "* * * * *"});
    app->clock().advance(120s);
    EXPECT_THAT(runs(*app, "good"), SizeIs(2));
    EXPECT_THAT(noted(), SizeIs(2));
    EXPECT_EQ(log.count("its definition cannot be used"), 2) << log.text();
    EXPECT_EQ(log.count("no date left to fire"), 1);
    EXPECT_EQ(log.count("a tick of a schedule is lost"), 2);
    app->client().update_schedule("b-zone", {.cron_timezone = "Europe/Berlin"});
    app->client().update_schedule("d-context", {.context = 1});
    app->clock().advance(60s);
    EXPECT_THAT(runs(*app, "b-zone"), ElementsAre("2026-03-01T13:02:00+01:00"));
    EXPECT_THAT(runs(*app, "d-context"), ElementsAre("2026-03-01T12:02:00+00:00"));
}

TEST_P(Schedules, rows_of_Python_and_TypeScript_are_understood) {
    const auto app = make();
    const auto connection = app->impl().connect();
    app->launch();
    const auto row = [&](const std::string& name, const std::string& cron, const std::string& context) {
        connection->query(
            "INSERT INTO @workflow_schedules (schedule_id, schedule_name, workflow_name, "
            "workflow_class_name, schedule, status, context) VALUES ('" +
                name + "', '" + name + "', 'plain', '', '" + cron + "', 'ACTIVE', '" + context + "')",
            {}, dbos::sql::Access::write);
    };
    row("py", "0 * * * * * 2026", "gAROLg==");
    row("ts", "59-0 * * * *", R"({"json":{"k":1},"__dbos_serializer":"superjson"})");
    app->client().pause_schedule("nothing");  // the scheduler reads them now, not within a second
    app->clock().advance(60s);
    EXPECT_THAT(noted(), ::testing::UnorderedElementsAre("2026-03-01T12:00:00Z null",
                                                         "2026-03-01T12:00:00Z {\"k\":1}"));
}

TEST_P(Schedules, a_failing_workflow_does_not_stop_its_schedule) {
    auto app = std::make_unique<TestApp>(options());
    app->implement(Plain, [this](Context&, Time, const dbos::Value&) {
        note("run");
        throw std::runtime_error("no");
    });
    app->client().create_schedule({.schedule_name = "m", .workflow_name = "plain", .schedule = "* * * * *"});
    app->clock().advance(180s);
    EXPECT_THAT(noted(), SizeIs(3));
    EXPECT_EQ(app->client().list_workflows({.status = "ERROR", .schedule_name = "m"}).size(), 3u);
}

TEST_P(Schedules, runs_go_to_the_queue_of_the_schedule) {
    const auto app = make();
    app->register_queue({.name = "reports"});
    app->client().create_schedule(
        {.schedule_name = "m", .workflow_name = "plain", .schedule = "* * * * *", .queue_name = "reports"});
    app->clock().advance(60s);
    const auto run = app->client().list_workflows({.schedule_name = "m"}).at(0);
    EXPECT_EQ(run.queue_name, "reports");
    EXPECT_EQ(run.status, "SUCCESS");
    EXPECT_EQ(app->client().trigger_schedule("m").get_status().queue_name, "reports");
}

TEST_P(Schedules, a_trigger_runs_now_also_while_it_is_paused) {
    const auto app = make();
    app->client().create_schedule(
        {.schedule_name = "m", .workflow_name = "report", .schedule = "0 0 1 1 *", .context = "by hand"});
    app->client().pause_schedule("m");
    const auto handle = app->client().trigger_schedule("m");
    handle.get_result({.timeout = 20s});
    EXPECT_THAT(handle.workflow_id(), ::testing::StartsWith("sched-m-trigger-"));
    EXPECT_THAT(noted(), ElementsAre(HasSubstr("by hand")));
    EXPECT_THROW(app->client().trigger_schedule("none"), dbos::NotFound);
}

TEST_P(Schedules, a_backfill_of_a_client_and_the_live_ticks_are_the_same_runs) {
    const auto app = make();
    app->client().create_schedule({.schedule_name = "m", .workflow_name = "plain", .schedule = "* * * * *"});
    app->clock().advance(120s);
    const auto handles = app->client().backfill_schedule("m", "2026-03-01T11:57:00Z", "2026-03-01T12:02:00Z");
    ASSERT_THAT(handles, SizeIs(4));
    for (const auto& handle : handles) handle.get_result({.timeout = 20s});
    EXPECT_THAT(noted(), SizeIs(4));
    EXPECT_THAT(runs(*app, "m"), SizeIs(4));
}

TEST_P(Schedules, operations_of_a_body_reach_the_scheduler_at_once) {
    constexpr auto Manage = dbos::workflow<void()>("manage");
    const auto app = make();
    app->implement(Manage, [](Context& ctx) {
        ctx.create_schedule({.schedule_name = "m", .workflow_name = "plain", .schedule = "* * * * * *"});
        ctx.sleep(2500ms);
        ctx.pause_schedule("m");
        ctx.sleep(5s);
        ctx.resume_schedule("m");
        ctx.sleep(1s);
        ctx.delete_schedule("m");
        ctx.sleep(5s);
    });
    app->run(Manage, {});
    EXPECT_THAT(runs(*app, "m"), ElementsAre("2026-03-01T11:59:31+00:00", "2026-03-01T11:59:32+00:00",
                                             "2026-03-01T11:59:38+00:00"));
}

TEST_P(Schedules, a_schedule_of_another_process_is_seen_at_the_next_tick) {
    const auto app = make();
    app->launch();
    app->impl().connect()->query(
        "INSERT INTO @workflow_schedules (schedule_id, schedule_name, workflow_name, schedule, status, "
        "context) "
        "VALUES ('x', 'x', 'plain', '* * * * *', 'ACTIVE', 'null')",
        {}, dbos::sql::Access::write);
    // The clock is set to the tick when the scheduler waits for it.
    std::optional<std::int64_t> next;
    const auto give_up = std::chrono::steady_clock::now() + 20s;
    while (!next && std::chrono::steady_clock::now() < give_up) {
        app->impl().executor().at_rest(next);
        std::this_thread::sleep_for(20ms);
    }
    ASSERT_TRUE(next);
    app->clock().advance(60s);
    EXPECT_THAT(runs(*app, "x"), SizeIs(1));
}

}  // namespace
