// The programs of docs/how-to/schedules.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>
#include <dbos/testing.hpp>

using namespace std::chrono_literals;

namespace {

// [body]
using Time = std::chrono::system_clock::time_point;

inline constexpr auto Report =
    dbos::workflow<std::string(Time, std::string)>("report");

std::string report(dbos::Context& ctx, Time tick, const std::string& team) {
    return ctx.step("count", [&] {
        const auto day = std::chrono::floor<std::chrono::days>(tick);
        return team + ", day " + std::to_string(day.time_since_epoch().count());
    });
}
// [body]

// [declare]
void configure(dbos::App& app) {
    app.implement(Report, report);
    app.register_queue({.name = "reports", .worker_concurrency = 2});
    app.schedule(Report,
                 {.schedule_name = "sales-daily",
                  .schedule = "0 5 * * *",
                  .automatic_backfill = true,
                  .cron_timezone = "Europe/Berlin",
                  .queue_name = "reports"},
                 "sales");
}
// [declare]

// [operate]
void close_for_stocktaking(dbos::Client& client) {
    client.pause_schedule("sales-daily");
    client.update_schedule("sales-daily", {.schedule = "30 5 * * mon-fri"});
    client.resume_schedule("sales-daily");
}
// [operate]

// [runs]
std::vector<std::string> results(dbos::Client& client) {
    std::vector<std::string> texts;
    for (const auto& run : client.list_workflows(
             {.status = "SUCCESS", .schedule_name = "sales-daily"})) {
        texts.push_back(run.workflow_id);
    }
    return texts;
}
// [runs]

// [test]
TEST(Schedules, a_report_a_day) {
    dbos::testing::TestApp app(
        {.now = std::chrono::sys_days(std::chrono::year(2026) / 3 / 27)});
    app.configure(configure);
    app.launch();
    app.clock().advance(72h);  // the clocks go forward on the 29th
    EXPECT_THAT(results(app.client()),
                testing::UnorderedElementsAre(
                    "sched-sales-daily-2026-03-27T05:00:00+01:00",
                    "sched-sales-daily-2026-03-28T05:00:00+01:00",
                    "sched-sales-daily-2026-03-29T05:00:00+02:00"));
}
// [test]

TEST(Schedules, operations) {
    dbos::testing::TestApp app(
        {.now = std::chrono::sys_days(std::chrono::year(2026) / 3 / 27)});
    app.configure(configure);
    app.launch();
    close_for_stocktaking(app.client());
    app.clock().advance(24h);
    EXPECT_THAT(
        results(app.client()),
        testing::ElementsAre("sched-sales-daily-2026-03-27T05:30:00+01:00"));

    // [now]
    auto now = app.client().trigger_schedule("sales-daily");
    auto missed = app.client().backfill_schedule(
        "sales-daily", "2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z");
    // [now]
    now.get_result();
    EXPECT_EQ(missed.size(), 5u);
    for (auto& run : missed) run.get_result();
}

}  // namespace
