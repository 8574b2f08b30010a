// A firing is tied to the row of its schedule (safety 56), and moves last_fired_at forward only (57).
#include "sysdb/firing.hpp"

#include "queue_fixture.hpp"

namespace dbos::sysdb::test {
namespace {

using Kind = Fired::Kind;

class Firings : public QueueTest {
   public:
    void SetUp() override {
        QueueTest::SetUp();
        if (IsSkipped() || HasFatalFailure() || (postgres() && !dbos::test::postgres_url())) return;
        version("v1", 5);
        process().create_schedule(schedule());
    }
    void version(const std::string& name, int timestamp,
                 const std::optional<std::string>& application = "app") {
        insert("application_versions", {{"version_id", "id-" + name},
                                        {"version_name", name},
                                        {"version_timestamp", std::to_string(timestamp)},
                                        {"created_at", "1"},
                                        {"application_name", application}});
    }
    static ScheduleRow schedule() {
        ScheduleRow row;
        row.schedule_id = "schedule-1";
        row.schedule_name = "s";
        row.workflow_name = "job";
        row.schedule = "0 * * * *";
        row.context = "null";
        row.application_name = "app";
        return row;
    }
    /// A tick at this hour of 2026-03-01.
    static Firing::Tick tick(int hour) {
        Firing::Tick tick;
        tick.row.workflow_id = "sched-s-" + text(hour);
        tick.row.token = "token-" + std::to_string(hour);
        tick.row.status = "ENQUEUED";
        tick.row.name = "job";
        tick.row.inputs = "[]";
        tick.row.serialization = "portable_json";
        tick.row.queue_name = "q";
        tick.row.application_name = "app";
        tick.row.schedule_name = "s";
        tick.ids = {tick.row.workflow_id, "foreign-" + std::to_string(hour)};
        return tick;
    }
    static std::string text(int hour) {
        return "2026-03-01T" + std::string(hour < 10 ? "0" : "") + std::to_string(hour) + ":00:00+00:00";
    }
    static Firing firing(std::vector<int> hours, ScheduleRow row = schedule()) {
        Firing firing;
        firing.schedule = std::move(row);
        firing.application_name = "app";
        for (const int hour : hours) firing.ticks.push_back(tick(hour));
        firing.newest = text(hours.back());
        firing.newest_ms = *fired_instant(firing.newest);
        return firing;
    }
    std::string last_fired() {
        const auto found =
            run("SELECT last_fired_at FROM @workflow_schedules WHERE schedule_id = 'schedule-1'");
        return found.empty() ? "(gone)" : found.at(0, 0).string();
    }
    void change(const std::string& sets) { run("UPDATE @workflow_schedules SET " + sets); }
};
DBOS_FOR_EVERY_DATABASE(Firings);

TEST_P(Firings, A_tick_is_inserted_once_with_the_latest_version) {
    version("v2", 9);
    version("other", 99, "billing");
    auto& mine = process();
    const Fired fired = mine.fire(firing({5}));
    EXPECT_EQ(fired.kind, Kind::done);
    EXPECT_EQ(fired.started, 1u);
    const std::string id = tick(5).row.workflow_id;
    EXPECT_EQ(value("status", id), "ENQUEUED");
    EXPECT_EQ(value("application_version", id), "v2");
    EXPECT_EQ(value("application_name", id), "app");
    EXPECT_EQ(value("schedule_name", id), "s");
    EXPECT_EQ(value("owner_xid", id), std::nullopt);
    EXPECT_EQ(value("recovery_attempts", id), "0");
    EXPECT_GT(number("created_at", id), now() - 60'000);
    const auto input = run("SELECT inputs, retention_timestamp FROM @workflow_input");
    ASSERT_EQ(input.size(), 1u);
    EXPECT_EQ(input.at(0, 0).text(), "[]");
    EXPECT_EQ(input.at(0, 1).integer(), number("created_at", id));
    EXPECT_EQ(last_fired(), text(5));
    EXPECT_EQ(process().fire(firing({5})).started, 0u);
    EXPECT_EQ(mine.fire(firing({5})).kind, Kind::done);
    EXPECT_EQ(count("1 = 1"), 1);
}

TEST_P(Firings, What_another_SDK_has_run_is_not_run_again) {
    workflow("foreign-5");
    const Fired fired = process().fire(firing({5}));
    EXPECT_EQ(fired.kind, Kind::done);
    EXPECT_EQ(fired.started, 0u);
    EXPECT_EQ(count("1 = 1"), 1);
    EXPECT_EQ(last_fired(), text(5));  // as Python does
}

TEST_P(Firings, Nothing_is_fired_after_a_pause_a_delete_or_a_change) {
    auto& mine = process();
    const Firing read = firing({5});
    mine.set_schedule_status("s", "PAUSED");
    EXPECT_EQ(mine.fire(read).kind, Kind::changed);
    mine.set_schedule_status("s", "ACTIVE");
    for (const char* sets : {"workflow_name = 'other'", "workflow_class_name = 'C'", "schedule = '1 * * * *'",
                             "context = '1'", "cron_timezone = 'Europe/Berlin'", "queue_name = 'q'"}) {
        change(sets);
        EXPECT_EQ(mine.fire(read).kind, Kind::changed) << sets;
        change(
            "workflow_name = 'job', workflow_class_name = NULL, schedule = '0 * * * *', context = 'null', "
            "cron_timezone = NULL, queue_name = NULL");
    }
    mine.delete_schedule("s");
    EXPECT_EQ(mine.fire(read).kind, Kind::changed);
    ScheduleRow again = schedule();
    again.schedule_id = "schedule-2";  // the same name, another schedule
    mine.create_schedule(again);
    EXPECT_EQ(mine.fire(read).kind, Kind::changed);
    EXPECT_EQ(count("1 = 1"), 0);
}

TEST_P(Firings, What_is_no_part_of_the_definition_may_change) {
    // '' is what TypeScript writes where others write NULL.
    change("workflow_class_name = '', cron_timezone = '', queue_name = ''");
    change(postgres() ? "automatic_backfill = TRUE" : "automatic_backfill = 1");
    change("application_name = NULL, last_fired_at = '2026-03-01T04:00:00+00:00'");
    EXPECT_EQ(process().fire(firing({5})).started, 1u);
}

TEST_P(Firings, Without_a_version_there_is_nobody_to_run_it) {
    run("DELETE FROM @application_versions");
    version("other", 99, "billing");
    EXPECT_EQ(process().fire(firing({5})).kind, Kind::no_version);
    EXPECT_EQ(count("1 = 1"), 0);
    EXPECT_EQ(last_fired(), "");
    version("unclaimed", 1, std::nullopt);
    EXPECT_EQ(process().fire(firing({5})).started, 1u);
}

TEST_P(Firings, A_schedule_of_nobody_runs_on_the_version_of_who_fires) {
    change("application_name = NULL");
    version("billing-1", 99, "billing");
    EXPECT_EQ(process().fire(firing({5})).started, 1u);
    EXPECT_EQ(value("application_version", tick(5).row.workflow_id), "v1");
}

TEST_P(Firings, An_older_tick_that_comes_last_does_not_set_it_back) {
    auto& mine = process();
    mine.fire(firing({6}));
    mine.fire(firing({5}));
    EXPECT_EQ(count("1 = 1"), 2);
    EXPECT_EQ(last_fired(), text(6));
    // go: the wall time, nanoseconds; java: no seconds; a text of nobody.
    change("last_fired_at = '2026-03-01T09:00:00.123456789+02:00'");
    mine.fire(firing({7}));
    EXPECT_EQ(last_fired(), "2026-03-01T09:00:00.123456789+02:00");
    change("last_fired_at = '2026-03-01T07:00Z'");
    mine.fire(firing({8}));
    EXPECT_EQ(last_fired(), text(8));
    change("last_fired_at = 'yesterday'");
    mine.fire(firing({9}));
    EXPECT_EQ(last_fired(), text(9));
}

TEST_P(Firings, A_backfill_is_one_transaction_of_what_has_not_run) {
    auto& mine = process();
    mine.fire(firing({2}));
    workflow("foreign-3");
    const Fired fired = mine.fire(firing({1, 2, 3, 4}));
    EXPECT_EQ(fired.started, 2u);
    EXPECT_EQ(last_fired(), text(4));
    EXPECT_EQ(count("schedule_name = 's'"), 3);
    EXPECT_EQ(run("SELECT count(*) FROM @workflow_input").at(0, 0).integer(), 4);
}

TEST_P(Firings, A_lost_acknowledgement_is_no_second_run) {
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    bool lost = false;
    hooks->lose_ack = [&](const std::string& what) { return what == "commit" && !std::exchange(lost, true); };
    std::vector<std::string> woken;
    auto& mine = process(hooks, {.enqueued = [&](const std::string& queue) { woken.push_back(queue); }});
    EXPECT_EQ(mine.fire(firing({5})).kind, Kind::done);
    EXPECT_TRUE(lost);
    EXPECT_EQ(count("1 = 1"), 1);
    EXPECT_EQ(last_fired(), text(5));
    EXPECT_THAT(woken, testing::ElementsAre("q"));  // whoever has written it, nobody else tells this process
}

TEST_P(Firings, Eight_processes_fire_each_tick_once) {
    std::vector<seam::Thread> threads;
    seam::Atomic<std::size_t> started{0};
    seam::Atomic<int> failures{0};
    for (int n = 0; n < 8; ++n) {
        SystemDatabase& mine = process();
        threads.push_back(seam::spawn("scheduler", [&] {
            try {
                for (int hour = 0; hour < 20; ++hour) started.fetch_add(mine.fire(firing({hour})).started);
            } catch (const std::exception&) {
                failures.fetch_add(1);
            }
        }));
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(failures.load(), 0);
    EXPECT_EQ(started.load(), 20u);
    EXPECT_EQ(count("1 = 1"), 20);
    EXPECT_EQ(last_fired(), text(19));
}

TEST_P(Firings, Eight_applies_at_once_leave_one_row) {
    std::vector<seam::Thread> threads;
    seam::Atomic<int> failures{0};
    for (int n = 0; n < 8; ++n) {
        SystemDatabase& mine = process();
        threads.push_back(seam::spawn("apply", [&mine, &failures, n] {
            ScheduleRow row = schedule();
            row.schedule_name = "new";
            row.schedule_id = "id-" + std::to_string(n);
            row.context = std::to_string(n);
            try {
                mine.apply_schedules(std::span(&row, 1));
            } catch (const std::exception&) {
                failures.fetch_add(1);
            }
        }));
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(failures.load(), 0);
    EXPECT_EQ(run("SELECT count(*) FROM @workflow_schedules WHERE schedule_name = 'new'").at(0, 0).integer(),
              1);
}

TEST_P(Firings, The_scheduler_of_the_process_is_told_of_changes) {
    int told = 0;
    auto& mine = process(nullptr, {.schedules_changed = [&] { ++told; }});
    ScheduleRow second = schedule();
    second.schedule_id = "schedule-2";
    second.schedule_name = "t";
    mine.create_schedule(second);
    mine.apply_schedules(std::span(&second, 1));
    mine.update_schedule("t", [](ScheduleRow& row) { row.context = "2"; });
    mine.set_schedule_status("t", "PAUSED");
    mine.delete_schedule("t");
    EXPECT_EQ(told, 5);
    EXPECT_THROW(mine.update_schedule("t", [](ScheduleRow&) {}), NotFound);
    EXPECT_EQ(told, 5);
}

}  // namespace
}  // namespace dbos::sysdb::test
