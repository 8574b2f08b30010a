// Schedules, their backfills and triggers, and queue definitions: rows, ids and refusals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dbos/types.hpp"
#include "support/client_rows.hpp"

namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

class ClientSchedules : public dbos::test::ClientTest {
   public:
    std::string column(const std::string& name, const std::string& where = "1 = 1") {
        return query_text("SELECT " + name + " FROM @workflow_schedules WHERE " + where);
    }
    std::vector<std::string> names(const dbos::ListSchedulesOptions& options) {
        std::vector<std::string> found;
        for (const auto& schedule : client().list_schedules(options)) found.push_back(schedule.schedule_name);
        return found;
    }
    void add_version(const std::string& version, int timestamp) {
        insert("application_versions", {{"version_id", version},
                                        {"version_name", version},
                                        {"version_timestamp", timestamp},
                                        {"created_at", timestamp}});
    }
};
DBOS_FOR_EVERY_DATABASE(ClientSchedules);

TEST_P(ClientSchedules, a_schedule_is_made_read_changed_and_deleted) {
    client().create_schedule({.schedule_name = "daily",
                              .workflow_name = "report",
                              .schedule = "0 5 * * *",
                              .context = dbos::Object{{"k", 1}},
                              .workflow_class_name = "Reports",
                              .cron_timezone = "Europe/Berlin",
                              .queue_name = "q"});
    client()
        .create_schedule_async({.schedule_name = "plain", .workflow_name = "report", .schedule = "@hourly"})
        .get();
    EXPECT_THROW(
        client().create_schedule({.schedule_name = "daily", .workflow_name = "x", .schedule = "* * * * *"}),
        dbos::AlreadyExists);
    const auto daily = client().get_schedule("daily");
    ASSERT_TRUE(daily);
    EXPECT_EQ(daily->workflow_name, "report");
    EXPECT_EQ(daily->workflow_class_name, "Reports");
    EXPECT_EQ(daily->schedule, "0 5 * * *");
    EXPECT_EQ(daily->status, "ACTIVE");
    EXPECT_EQ(daily->context.at("k").as_int(), 1);
    EXPECT_EQ(daily->last_fired_at, std::nullopt);
    EXPECT_FALSE(daily->automatic_backfill);
    EXPECT_EQ(daily->cron_timezone, "Europe/Berlin");
    EXPECT_EQ(daily->queue_name, "q");
    EXPECT_EQ(daily->application_name, std::nullopt);
    const auto plain = client().get_schedule_async("plain").get();
    ASSERT_TRUE(plain);
    EXPECT_TRUE(plain->context.is_null());
    EXPECT_EQ(plain->raw_context, "null");
    EXPECT_EQ(plain->cron_timezone, std::nullopt);
    EXPECT_EQ(client().get_schedule("none"), std::nullopt) << "";

    client().pause_schedule("daily");
    EXPECT_EQ(client().get_schedule("daily")->status, "PAUSED");
    client().resume_schedule_async("daily").get();
    EXPECT_EQ(client().get_schedule("daily")->status, "ACTIVE");
    client().pause_schedule_async("none").get();
    client().resume_schedule("none");
    client().update_schedule("daily", {.schedule = "0 6 * * *", .cron_timezone = "", .queue_name = ""});
    const auto changed = client().get_schedule("daily");
    EXPECT_EQ(changed->schedule, "0 6 * * *");
    EXPECT_EQ(changed->cron_timezone, std::nullopt);
    EXPECT_EQ(changed->queue_name, std::nullopt);
    EXPECT_EQ(changed->schedule_id, daily->schedule_id);
    EXPECT_EQ(changed->context.at("k").as_int(), 1);
    client().update_schedule_async("daily", {.context = "new", .automatic_backfill = true}).get();
    EXPECT_EQ(client().get_schedule("daily")->context.as_string(), "new");
    EXPECT_TRUE(client().get_schedule("daily")->automatic_backfill);
    EXPECT_THROW(client().update_schedule("none", {}), dbos::NotFound);
    client().delete_schedule("daily");
    client().delete_schedule_async("daily").get();
    EXPECT_THAT(names({}), ElementsAre("plain"));
}

TEST_P(ClientSchedules, listings_filter) {
    for (const char* name : {"b-1", "a_1", "a%2", "a1"})
        client().create_schedule({.schedule_name = name,
                                  .workflow_name = name[0] == 'a' ? "f" : "g",
                                  .schedule = "* * * * *",
                                  .application_name = name[1] == '1' ? "other" : ""});
    client().pause_schedule("a1");
    EXPECT_THAT(names({}), ElementsAre("a%2", "a1", "a_1", "b-1"));
    EXPECT_THAT(names({.status = "PAUSED"}), ElementsAre("a1"));
    EXPECT_THAT(names({.status = {"PAUSED", "ACTIVE"}, .workflow_name = "g"}), ElementsAre("b-1"));
    EXPECT_THAT(names({.schedule_name_prefix = {"a_", "a%"}}), ElementsAre("a%2", "a_1"));
    EXPECT_THAT(names({.application_name = "mine"}), ElementsAre("a%2", "a_1", "b-1"));
    auto options = client_options();
    options.application_name = "mine";
    EXPECT_EQ(make_client(options)->list_schedules().size(), 3u);
    EXPECT_EQ(make_client(options)->list_schedules_async({.application_name = "other"}).get().size(), 4u);
}

TEST_P(ClientSchedules, bad_input_is_refused_and_nothing_is_written) {
    const auto create = [&](dbos::ScheduleOptions options) {
        return refusal([&] { client().create_schedule(options); });
    };
    EXPECT_THAT(create({.workflow_name = "f", .schedule = "* * * * *"}), HasSubstr("schedule_name"));
    EXPECT_THAT(create({.schedule_name = "s", .schedule = "* * * * *"}), HasSubstr("workflow_name"));
    EXPECT_THAT(create({.schedule_name = "s", .workflow_name = "f"}), HasSubstr("cron"));
    EXPECT_THAT(create({.schedule_name = "s", .workflow_name = "f", .schedule = "61 * * * *"}),
                HasSubstr("61"));
    EXPECT_THAT(create({.schedule_name = "s", .workflow_name = "f", .schedule = "0 0 30 2 *"}),
                HasSubstr("a date exists"));
    EXPECT_THAT(create({.schedule_name = "s",
                        .workflow_name = "f",
                        .schedule = "* * * * *",
                        .cron_timezone = "Mars/Base"}),
                HasSubstr("Mars/Base"));
    EXPECT_THAT(create({.schedule_name = "s",
                        .workflow_name = "f",
                        .schedule = "* * * * *",
                        .context = 1,
                        .raw_context = "x"}),
                HasSubstr("both"));
    EXPECT_THAT(refusal([&] {
                    client().apply_schedules(
                        {{.schedule_name = "fine", .workflow_name = "f", .schedule = "* * * * *"},
                         {.schedule_name = "bad", .workflow_name = "f", .schedule = "nonsense"}});
                }),
                HasSubstr("nonsense"));
    EXPECT_EQ(column("count(*)"), "0");
    EXPECT_THAT(refusal([&] { client().update_schedule("none", {.schedule = "x"}); }), HasSubstr("x"));
}

TEST_P(ClientSchedules, a_partitioned_queue_is_refused) {
    add_version("v1", 1);
    client().register_queue({.name = "tenants", .partition_concurrency = 1}, dbos::QueueConflict::update);
    client().register_queue({.name = "plain"}, dbos::QueueConflict::update);
    const dbos::ScheduleOptions wrong{
        .schedule_name = "s", .workflow_name = "f", .schedule = "0 1 * * *", .queue_name = "tenants"};
    const auto clear = testing::AllOf(HasSubstr("schedule \"s\""), HasSubstr("\"tenants\" is partitioned"),
                                      HasSubstr("another queue_name"));
    EXPECT_THAT(refusal([&] { client().create_schedule(wrong); }), clear);
    EXPECT_THAT(refusal([&] {
                    client().apply_schedules(
                        {{.schedule_name = "fine", .workflow_name = "f", .schedule = "* * * * *"}, wrong});
                }),
                clear);
    EXPECT_EQ(column("count(*)"), "0");
    dbos::ScheduleOptions right = wrong;
    right.queue_name = "plain";
    client().create_schedule(right);
    EXPECT_THAT(refusal([&] { client().update_schedule("s", {.queue_name = "tenants"}); }), clear);
    EXPECT_EQ(column("queue_name"), "plain");
    // One that somebody else has written: it can be mended, but its runs would wait for ever.
    execute("UPDATE @workflow_schedules SET queue_name = 'tenants'");
    client().update_schedule("s", {.schedule = "0 2 * * *"});
    EXPECT_THAT(refusal([&] { client().trigger_schedule("s"); }), clear);
    EXPECT_THAT(
        refusal([&] { client().backfill_schedule("s", "2026-03-07T00:00:00Z", "2026-03-09T04:00:00Z"); }),
        clear);
    EXPECT_EQ(query_text("SELECT count(*) FROM @workflow_status"), "0");
    client().update_schedule("s", {.queue_name = "plain"});
    client().trigger_schedule("s");
    EXPECT_EQ(query_text("SELECT count(*) FROM @workflow_status"), "1");
}

TEST_P(ClientSchedules, apply_keeps_id_status_and_others) {
    client().create_schedule({.schedule_name = "a", .workflow_name = "f", .schedule = "0 1 * * *"});
    client().create_schedule({.schedule_name = "b", .workflow_name = "f", .schedule = "0 1 * * *"});
    client().pause_schedule("a");
    execute("UPDATE @workflow_schedules SET last_fired_at = '2026-01-01T00:00:00+00:00'");
    const std::string id = column("schedule_id", "schedule_name = 'a'");
    client().apply_schedules(
        {{.schedule_name = "a", .workflow_name = "g", .schedule = "0 2 * * *", .context = 5},
         {.schedule_name = "c", .workflow_name = "h", .schedule = "0 3 * * *"}});
    client().apply_schedules_async({}).get();
    EXPECT_THAT(names({}), ElementsAre("a", "b", "c"));
    const auto a = client().get_schedule("a");
    EXPECT_EQ(a->schedule_id, id);
    EXPECT_EQ(a->status, "PAUSED");
    EXPECT_EQ(a->workflow_name, "g");
    EXPECT_EQ(a->schedule, "0 2 * * *");
    EXPECT_EQ(a->context.as_int(), 5);
    EXPECT_EQ(a->last_fired_at, "2026-01-01T00:00:00+00:00");
    EXPECT_EQ(client().get_schedule("c")->status, "ACTIVE");
}

TEST_P(ClientSchedules, a_name_belongs_to_one_application) {
    client().create_schedule(
        {.schedule_name = "a", .workflow_name = "f", .schedule = "0 1 * * *", .application_name = "one"});
    const dbos::ScheduleOptions theirs{
        .schedule_name = "a", .workflow_name = "f", .schedule = "0 1 * * *", .application_name = "two"};
    EXPECT_THAT(refusal([&] { client().create_schedule(theirs); }), HasSubstr("\"one\" owns"));
    EXPECT_THAT(refusal([&] {
                    client().apply_schedules(
                        {{.schedule_name = "new", .workflow_name = "f", .schedule = "* * * * *"}, theirs});
                }),
                HasSubstr("\"one\" owns"));
    EXPECT_EQ(column("count(*)"), "1");
    // An application takes what nobody owns.
    client().create_schedule({.schedule_name = "free", .workflow_name = "f", .schedule = "0 1 * * *"});
    client().apply_schedules({{.schedule_name = "free",
                               .workflow_name = "f",
                               .schedule = "0 2 * * *",
                               .application_name = "two"}});
    EXPECT_EQ(column("application_name", "schedule_name = 'free'"), "two");
}

TEST_P(ClientSchedules, a_backfill_has_the_ids_of_the_live_scheduler) {
    add_version("v1", 1);
    add_version("v2", 2);
    client().create_schedule({.schedule_name = "hourly",
                              .workflow_name = "report",
                              .schedule = "0 * * * *",
                              .context = "ctx",
                              .workflow_class_name = "C",
                              .cron_timezone = "America/New_York",
                              .queue_name = "q"});
    client().pause_schedule("hourly");
    const auto handles = client().backfill_schedule("hourly", "2026-03-07T00:00:00Z", "2026-03-07T04:00:00Z");
    ASSERT_EQ(handles.size(), 3u);  // both ends are left out
    EXPECT_EQ(handles[0].workflow_id(), "sched-hourly-2026-03-06T20:00:00-05:00");
    EXPECT_EQ(handles[2].workflow_id(), "sched-hourly-2026-03-06T22:00:00-05:00");
    const auto row = handles[0].get_status();
    EXPECT_EQ(row.status, "ENQUEUED");
    EXPECT_EQ(row.name, "report");
    EXPECT_EQ(row.class_name, "C");
    EXPECT_EQ(row.queue_name, "q");
    EXPECT_EQ(row.app_version, "v2");
    EXPECT_EQ(row.schedule_name, "hourly");
    ASSERT_EQ(row.input->positional.size(), 2u);
    EXPECT_EQ(
        dbos::from_value<std::chrono::system_clock::time_point>(row.input->positional[0]),
        std::chrono::system_clock::time_point(std::chrono::sys_days(std::chrono::year(2026) / 3 / 7)) + 1h);
    EXPECT_EQ(row.input->positional[1].as_string(), "ctx");
    // Again, and overlapping: nothing twice.
    EXPECT_EQ(client()
                  .backfill_schedule_async("hourly", "2026-03-07T02:30:00Z", "2026-03-07T05:30:00Z")
                  .get()
                  .size(),
              3u);
    EXPECT_EQ(query_text("SELECT count(*) FROM @workflow_status"), "5");
    EXPECT_TRUE(client().backfill_schedule("hourly", "2026-03-07T02:30:00Z", "2026-03-07T02:40:00Z").empty());
    EXPECT_EQ(client()
                  .backfill_schedule("hourly", "2026-03-08T00:30:00Z", "2026-03-08T01:30:00Z",
                                     {.style = dbos::ScheduleStyle::typescript})
                  .at(0)
                  .workflow_id(),
              "sched-hourly-2026-03-08T01:00:00.000Z");
    EXPECT_EQ(client().backfill_schedule("hourly", "2026-01-01T00:00:00Z", "2026-01-11T00:00:00Z").size(),
              239u);
    EXPECT_EQ(client().get_schedule("hourly")->last_fired_at, std::nullopt);
    EXPECT_THROW(client().backfill_schedule("none", "2026-01-01", "2026-01-02"), dbos::NotFound);
}

TEST_P(ClientSchedules, a_trigger_starts_one_run_now) {
    client().create_schedule({.schedule_name = "s", .workflow_name = "f", .schedule = "0 0 1 1 *"});
    EXPECT_THROW(client().trigger_schedule("s"), dbos::InitializationError);
    EXPECT_THROW(client().backfill_schedule("s", "2020-01-01", "2026-01-02"), dbos::InitializationError);
    add_version("v", 1);
    const auto first = client().trigger_schedule("s");
    const auto second = client().trigger_schedule_async("s").get();
    EXPECT_THAT(first.workflow_id(), testing::StartsWith("sched-s-trigger-20"));
    EXPECT_NE(first.workflow_id(), second.workflow_id());
    EXPECT_EQ(first.get_status().queue_name, "_dbos_internal_queue");
    EXPECT_EQ(first.get_status().schedule_name, "s");
    EXPECT_TRUE(first.get_status().input->positional.at(1).is_null());
    EXPECT_THROW(client().trigger_schedule("none"), dbos::NotFound);
    execute("UPDATE @workflow_schedules SET context = 'gASVJAAAAAAAAAB9lC4='");
    EXPECT_THROW(client().trigger_schedule("s"), dbos::DecodeError);
    EXPECT_EQ(client().get_schedule("s")->context.as_string(), "gASVJAAAAAAAAAB9lC4=");
}

TEST_P(ClientSchedules, those_of_other_languages_are_written_and_run_as_their_applications_need) {
    add_version("v", 1);
    client().create_schedule({.schedule_name = "py",
                              .workflow_name = "f",
                              .schedule = "0 0 1 1 *",
                              .context = dbos::Object{{"region", "eu"}},
                              .style = dbos::ScheduleStyle::python});
    EXPECT_EQ(column("context", "schedule_name = 'py'"), "gAR9jAZyZWdpb26MAmV1cy4=");
    EXPECT_EQ(column("COALESCE(workflow_class_name, 'none')", "schedule_name = 'py'"), "none");
    // NULL would be another class than none to TypeScript: its scheduler would refuse its own runs.
    client().apply_schedules({{.schedule_name = "ts",
                               .workflow_name = "f",
                               .schedule = "0 0 1 1 *",
                               .context = "ctx",
                               .style = dbos::ScheduleStyle::typescript}});
    EXPECT_EQ(column("context", "schedule_name = 'ts'"), R"({"json":"ctx","__dbos_serializer":"superjson"})");
    EXPECT_EQ(column("workflow_class_name", "schedule_name = 'ts'"), "");
    EXPECT_EQ(client().get_schedule("ts")->workflow_class_name, std::nullopt);
    EXPECT_EQ(client().get_schedule("ts")->context, dbos::Value("ctx"));
    EXPECT_EQ(client().get_schedule("py")->context.at("region"), dbos::Value("eu"));
    const auto run = client().trigger_schedule("ts", {.style = dbos::ScheduleStyle::typescript}).get_status();
    EXPECT_EQ(run.input->positional.at(1), dbos::Value("ctx"));
    EXPECT_EQ(run.class_name, std::nullopt);
    const auto other = client().trigger_schedule("py").get_status();
    EXPECT_EQ(other.input->positional.at(1).at("region"), dbos::Value("eu"));
    client().update_schedule("py", {.context = nullptr, .style = dbos::ScheduleStyle::python});
    EXPECT_EQ(column("context", "schedule_name = 'py'"), "gAROLg==");
    EXPECT_THROW(
        client().update_schedule("py", {.context = dbos::Bytes(), .style = dbos::ScheduleStyle::python}),
        dbos::EncodeError);
}

TEST_P(ClientSchedules, queues_are_defined_changed_and_deleted) {
    EXPECT_EQ(client().retrieve_queue("q"), std::nullopt);
    EXPECT_TRUE(client().list_queues().empty());
    const auto made = client().register_queue({.name = "q",
                                               .worker_concurrency = 2,
                                               .concurrency = 8,
                                               .limiter = dbos::RateLimit{5, 1.5s},
                                               .partition_worker_concurrency = 1,
                                               .partition_concurrency = 2,
                                               .partition_limiter = dbos::RateLimit{3, 10s},
                                               .polling_interval = 250ms});
    const auto check = [](const dbos::QueueDefinition& queue) {
        EXPECT_EQ(queue.worker_concurrency, 2);
        EXPECT_EQ(queue.concurrency, 8);
        EXPECT_EQ(queue.limiter, (dbos::RateLimit{5, 1.5s}));
        EXPECT_EQ(queue.partition_worker_concurrency, 1);
        EXPECT_EQ(queue.partition_concurrency, 2);
        EXPECT_EQ(queue.partition_limiter, (dbos::RateLimit{3, 10s}));
        EXPECT_EQ(queue.polling_interval, dbos::Duration(250ms));
        EXPECT_TRUE(queue.partition_queue);
    };
    check(made);
    check(*client().retrieve_queue("q"));
    check(client().list_queues_async().get().at(0));
    check(client().register_queue({.name = "q"}, dbos::QueueConflict::keep));
    const auto changed = client().register_queue_async({.name = "q", .worker_concurrency = 3}).get();
    EXPECT_EQ(changed.worker_concurrency, 3);
    EXPECT_EQ(changed.concurrency, std::nullopt);
    EXPECT_TRUE(changed.limiter.none());
    EXPECT_FALSE(changed.partition_queue);
    client().enqueue({.workflow_name = "f", .queue_name = "q"});
    client().delete_queue("q");
    client().delete_queue_async("q").get();
    EXPECT_EQ(client().retrieve_queue_async("q").get(), std::nullopt);
    EXPECT_EQ(query_text("SELECT status FROM @workflow_status"), "ENQUEUED");
}

TEST_P(ClientSchedules, a_queue_is_changed_as_it_is_then) {
    client().register_queue({.name = "q", .worker_concurrency = 2, .concurrency = 8});
    const auto changed = client().update_queue("q", [](dbos::QueueDefinition& queue) {
        EXPECT_EQ(queue.concurrency, 8);
        queue.concurrency = 9;
        queue.partition_limiter = {3, 10s};
        queue.name = "other";
        queue.application_name = "other";
    });
    EXPECT_EQ(changed.name, "q");
    EXPECT_EQ(changed.concurrency, 9);
    EXPECT_EQ(changed.worker_concurrency, 2);
    EXPECT_TRUE(changed.partition_queue);
    EXPECT_EQ(client().retrieve_queue("q")->partition_limiter, (dbos::RateLimit{3, 10s}));
    const auto back =
        client()
            .update_queue_async("q", [](dbos::QueueDefinition& queue) { queue.partition_limiter = {}; })
            .get();
    EXPECT_FALSE(back.partition_queue);
    EXPECT_THAT(refusal([&] {
                    client().update_queue(
                        "q", [](dbos::QueueDefinition& queue) { queue.worker_concurrency = 10; });
                }),
                HasSubstr("at most concurrency (9)"));
    EXPECT_EQ(client().retrieve_queue("q")->worker_concurrency, 2);
    EXPECT_THROW(client().update_queue("nobody", [](dbos::QueueDefinition&) {}), dbos::NotFound);
    EXPECT_THROW(client().update_queue("q", [](dbos::QueueDefinition&) { throw std::domain_error("no"); }),
                 std::domain_error);
}

TEST_P(ClientSchedules, limits_that_contradict_each_other_are_refused) {
    const auto define = [&](dbos::QueueDefinition queue) {
        return refusal([&] { client().register_queue(queue); });
    };
    EXPECT_THAT(define({.name = ""}), HasSubstr("queue name"));
    EXPECT_THAT(define({.name = "_dbos_x"}), HasSubstr("_dbos_"));
    EXPECT_THAT(define({.name = "q", .worker_concurrency = -1}), HasSubstr("worker_concurrency"));
    EXPECT_THAT(define({.name = "q", .concurrency = 0}), HasSubstr("concurrency"));
    EXPECT_THAT(define({.name = "q", .concurrency = 1, .partition_worker_concurrency = 2}),
                HasSubstr("partition_worker_concurrency"));
    EXPECT_THAT(define({.name = "q", .partition_concurrency = 0}), HasSubstr("partition_concurrency"));
    EXPECT_THAT(define({.name = "q", .partition_worker_concurrency = 0}), HasSubstr("partition_worker"));
    EXPECT_THAT(define({.name = "q", .partition_limiter = dbos::RateLimit{0, 1s}}),
                HasSubstr("partition_limiter"));
    EXPECT_THAT(define({.name = "q", .limiter = dbos::RateLimit{-1, 1s}}), HasSubstr("limiter"));
    EXPECT_THAT(refusal([&] {
                    client().register_queue({.name = "q"}, dbos::QueueConflict::update_if_latest_version);
                }),
                HasSubstr("no version"));
    EXPECT_THAT(define({.name = "q", .worker_concurrency = 3, .concurrency = 2}),
                HasSubstr("worker_concurrency"));
    EXPECT_THAT(define({.name = "q", .limiter = dbos::RateLimit{0, 1s}}), HasSubstr("limiter"));
    EXPECT_THAT(define({.name = "q", .limiter = dbos::RateLimit{1, 0s}}), HasSubstr("period"));
    EXPECT_THAT(define({.name = "q", .partition_worker_concurrency = 3, .partition_concurrency = 2}),
                HasSubstr("partition_worker_concurrency"));
    EXPECT_THAT(define({.name = "q", .worker_concurrency = 1, .partition_worker_concurrency = 2}),
                HasSubstr("worker_concurrency (1)"));
    EXPECT_THAT(define({.name = "q", .concurrency = 1, .partition_concurrency = 2}),
                HasSubstr("partition_concurrency"));
    EXPECT_THAT(define({.name = "q", .polling_interval = 0s}), HasSubstr("polling_interval"));
    EXPECT_TRUE(client().list_queues().empty());
    client().register_queue({.name = "q", .application_name = "one"});
    EXPECT_THAT(define({.name = "q", .application_name = "two"}), HasSubstr("\"one\" owns"));
    client().register_queue({.name = "free"});
    EXPECT_EQ(client().list_queues("two").size(), 1u);
    EXPECT_EQ(client().list_queues("one").size(), 2u);
}

}  // namespace
