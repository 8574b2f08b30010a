// Ids of scheduled runs, as each SDK writes them.
#include "core/schedule_ids.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "value/time_text.hpp"

namespace dbos::core {
namespace {

using namespace std::chrono_literals;

constexpr auto kPython = ScheduleDialect::python;
constexpr auto kTypescript = ScheduleDialect::typescript;
constexpr auto kGo = ScheduleDialect::go;
constexpr auto kJava = ScheduleDialect::java;

Instant at(const char* text) { return Instant(std::chrono::seconds(parse_epoch_ms(text).value() / 1000)); }
TimeZone new_york() { return TimeZone::from_rule("America/New_York", "EST5EDT,M3.2.0,M11.1.0"); }
TimeZone london() { return TimeZone::from_rule("Europe/London", "GMT0BST,M3.5.0/1,M10.5.0"); }

TEST(ScheduleIds, Python) {
    EXPECT_EQ(tick_id(kPython, "nightly", at("2026-03-07T00:05:00Z"), {}),
              "sched-nightly-2026-03-07T00:05:00+00:00");
    EXPECT_EQ(tick_id(kPython, "n", at("2026-03-08T16:00:00Z"), new_york()),
              "sched-n-2026-03-08T12:00:00-04:00");
    EXPECT_EQ(tick_id(kPython, "n", at("2026-03-01T05:00:00Z"), new_york()),
              "sched-n-2026-03-01T00:00:00-05:00");
    EXPECT_EQ(backfill_id(kPython, "n", at("2026-03-01T05:00:07Z"), {}), "sched-n-2026-03-01T05:00:07+00:00");
    EXPECT_EQ(
        tick_id(kPython, "n", at("2026-03-01T00:00:00Z"), TimeZone::from_rule("A/B", "<+0545>-5:45:30")),
        "sched-n-2026-03-01T05:45:30+05:45:30");
}

TEST(ScheduleIds, Typescript) {
    EXPECT_EQ(tick_id(kTypescript, "n", at("2026-03-08T16:00:00Z"), new_york()),
              "sched-n-2026-03-08T16:00:00.000Z");
    EXPECT_EQ(backfill_id(kTypescript, "n", at("2026-03-01T05:00:00Z"), {}),
              "sched-n-2026-03-01T05:00:00.000Z");
}

TEST(ScheduleIds, Go) {
    EXPECT_EQ(tick_id(kGo, "n", at("2026-03-01T05:00:00Z"), {}), "sched-n-2026-03-01T05:00:00Z");
    EXPECT_EQ(tick_id(kGo, "n", at("2026-03-08T16:00:00Z"), new_york()), "sched-n-2026-03-08T12:00:00-04:00");
    EXPECT_EQ(tick_id(kGo, "n", at("2026-12-01T05:00:00Z"), london()), "sched-n-2026-12-01T05:00:00Z");
    EXPECT_EQ(tick_id(kGo, "n", at("2026-07-01T05:00:00Z"), london()), "sched-n-2026-07-01T06:00:00+01:00");
}

TEST(ScheduleIds, Java) {
    EXPECT_EQ(tick_id(kJava, "n", at("2026-03-07T17:00:00Z"), new_york()), "sched-n-2026-03-07T12:00-05:00");
    EXPECT_EQ(tick_id(kJava, "n", at("2026-03-01T05:00:00Z"), {}), "sched-n-2026-03-01T05:00Z");
    EXPECT_EQ(tick_id(kJava, "n", at("2026-03-01T05:00:09Z"), {}), "sched-n-2026-03-01T05:00:09Z");
    EXPECT_EQ(backfill_id(kJava, "n", at("2026-03-07T17:00:00Z"), new_york()),
              "sched-n-2026-03-07T12:00-05:00[America/New_York]");
}

TEST(ScheduleIds, RepeatedHoursHaveTwoIdsExceptWithoutOffset) {
    const Instant first = at("2026-11-01T05:30:00Z");
    EXPECT_EQ(tick_id(kPython, "n", first, new_york()), "sched-n-2026-11-01T01:30:00-04:00");
    EXPECT_EQ(tick_id(kPython, "n", first + 1h, new_york()), "sched-n-2026-11-01T01:30:00-05:00");
}

TEST(ScheduleIds, Triggers) {
    const Moment whole = at("2026-03-01T05:00:00Z");
    EXPECT_EQ(trigger_id(kPython, "n", whole + 123456us, new_york()),
              "sched-n-trigger-2026-03-01T05:00:00.123456+00:00");
    EXPECT_EQ(trigger_id(kPython, "n", whole + 120ms), "sched-n-trigger-2026-03-01T05:00:00.120000+00:00");
    EXPECT_EQ(trigger_id(kPython, "n", whole), "sched-n-trigger-2026-03-01T05:00:00+00:00");
    EXPECT_EQ(trigger_id(kPython, "n", whole + 999ns), "sched-n-trigger-2026-03-01T05:00:00+00:00");
    EXPECT_EQ(trigger_id(kTypescript, "n", whole + 123456us), "sched-n-trigger-2026-03-01T05:00:00.123Z");
    EXPECT_EQ(trigger_id(kTypescript, "n", whole), "sched-n-trigger-2026-03-01T05:00:00.000Z");
    EXPECT_EQ(trigger_id(kGo, "n", whole + 123456789ns), "sched-n-trigger-2026-03-01T05:00:00.123456789Z");
    EXPECT_EQ(trigger_id(kGo, "n", whole + 120ms, new_york()),
              "sched-n-trigger-2026-03-01T00:00:00.12-05:00");
    EXPECT_EQ(trigger_id(kGo, "n", whole), "sched-n-trigger-2026-03-01T05:00:00Z");
    EXPECT_EQ(trigger_id(kJava, "n", whole + 123456us), "sched-n-trigger-2026-03-01T05:00:00.123456Z");
    EXPECT_EQ(trigger_id(kJava, "n", whole + 120ms), "sched-n-trigger-2026-03-01T05:00:00.120Z");
    EXPECT_EQ(trigger_id(kJava, "n", whole), "sched-n-trigger-2026-03-01T05:00:00Z");
    EXPECT_EQ(trigger_id(kPython, "n", at("1969-12-31T23:59:59Z") + 500ms),
              "sched-n-trigger-1969-12-31T23:59:59.500000+00:00");
}

TEST(ScheduleIds, EveryIdThatMayHaveRun) {
    const auto ids = possible_tick_ids("n", at("2026-03-08T16:00:00Z"), new_york());
    EXPECT_EQ(ids.front(), "sched-n-2026-03-08T12:00:00-04:00");
    for (const char* id :
         {"sched-n-2026-03-08T16:00:00.000Z", "sched-n-2026-03-08T16:00:00Z",
          "sched-n-2026-03-08T12:00-04:00", "sched-n-2026-03-08T12:00-04:00[America/New_York]",
          "sched-n-2026-03-08T16:00Z", "sched-n-2026-03-08T16:00:00+00:00"}) {
        EXPECT_EQ(std::count(ids.begin(), ids.end(), id), 1) << id;
    }
    EXPECT_EQ(possible_tick_ids("n", at("2026-03-08T16:00:00Z"), {}).size(), 5U);
}

}  // namespace
}  // namespace dbos::core
