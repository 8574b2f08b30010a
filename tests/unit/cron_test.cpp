// Cron expressions beyond the vectors: messages, far years, transitions, ranges of instants.
#include "core/cron.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "dbos/error.hpp"
#include "value/time_text.hpp"

namespace dbos::core {
namespace {

using namespace std::chrono_literals;

Cron::Millis at(const char* text) {
    return Cron::Millis(std::chrono::milliseconds(parse_epoch_ms(text).value()));
}

std::string written(std::optional<Instant> instant) {
    if (!instant) return "never";
    std::string text = format_epoch_ms(instant->time_since_epoch().count() * 1000);
    return text.replace(text.size() - 5, 4, "");
}

TimeZone new_york() { return TimeZone::from_rule("America/New_York", "EST5EDT,M3.2.0,M11.1.0"); }

std::string refusal(const char* text, const CronOptions& options = {}) {
    try {
        Cron::parse(text, options);
    } catch (const UsageError& error) {
        return error.what();
    }
    return "accepted";
}

std::string next(const char* text, const char* base, const TimeZone& zone = {},
                 const CronOptions& options = {}) {
    return written(Cron::parse(text, options).next_after(at(base), zone));
}

std::vector<std::string> all(CronRange range) {
    std::vector<std::string> result;
    while (const auto tick = range.next()) result.push_back(written(tick));
    return result;
}

TEST(Cron, RefusalsNameTheFieldWhatItGotAndWhatWasExpected) {
    EXPECT_EQ(refusal("0 0 * * 8"),
              "cron \"0 0 * * 8\": day of week: got \"8\", expected 0-7 (0 and 7 are Sunday), sun … sat, "
              "d#n, Ld or ?");
    EXPECT_EQ(refusal("61 0 0 * * *"), "cron \"61 0 0 * * *\": second: got \"61\", expected 0-59");
    EXPECT_EQ(refusal("0 0 1 Foo *"), "cron \"0 0 1 Foo *\": month: got \"foo\", expected 1-12 or jan … dec");
    EXPECT_EQ(refusal("20-10 * * * *"),
              "cron \"20-10 * * * *\": minute: got \"20-10\", expected a range that does not run backwards");
    EXPECT_EQ(refusal("*/0 * * * *"),
              "cron \"*/0 * * * *\": minute: got \"*/0\", expected a step of at least 1 after the slash");
    EXPECT_EQ(refusal("0 0 * * mon#6"),
              "cron \"0 0 * * mon#6\": day of week: got \"mon#6\", expected a number 1-5 after one #");
    EXPECT_NE(refusal("@reboot").find("@hourly"), std::string::npos);
    EXPECT_NE(refusal("* * *").find("got 3 fields, expected 5"), std::string::npos);
    EXPECT_NE(refusal("R * * * *").find("random"), std::string::npos);
    EXPECT_NE(refusal("0 0 0 1 1 * 2030").find("Python"), std::string::npos);
}

TEST(Cron, HostileTextsAreRefusedShortly) {
    const std::string zeros(100'000, '9');
    EXPECT_LT(refusal((zeros + " * * * *").c_str()).size(), 500U);
    EXPECT_LT(refusal(("*/" + zeros + "x * * * *").c_str()).size(), 500U);
    EXPECT_EQ(refusal(("*/" + zeros + " * * * *").c_str()),
              "accepted");  // a step beyond the field: its first value
    EXPECT_EQ(refusal("0 0\n1\x01 * *"),
              "cron \"0 0?1? * *\": day of month: got \"1?\", expected 1-31, L or ?");
    EXPECT_NE(refusal("0 0 \xC3\xA4 * *"), "accepted");
}

TEST(Cron, StrictlyAfterTheBaseAndItsFraction) {
    EXPECT_EQ(next("* * * * * *", "2026-05-15T12:34:56Z"), "2026-05-15T12:34:57Z");
    EXPECT_EQ(next("* * * * * *", "2026-05-15T12:34:56.999Z"), "2026-05-15T12:34:57Z");
    EXPECT_EQ(next("0 0 1 1 *", "2026-01-01T00:00:00Z"), "2027-01-01T00:00:00Z");
    EXPECT_EQ(next("0 0 1 1 *", "2025-12-31T23:59:59.999Z"), "2026-01-01T00:00:00Z");
    EXPECT_EQ(next("59 23 31 12 *", "1969-12-31T23:58:59.5Z"), "1969-12-31T23:59:00Z");
}

TEST(Cron, PreviousIsStrictlyBefore) {
    const Cron hourly = Cron::parse("@hourly");
    EXPECT_EQ(written(hourly.previous_before(at("2026-05-15T12:00:00Z"), {})), "2026-05-15T11:00:00Z");
    EXPECT_EQ(written(hourly.previous_before(at("2026-05-15T12:00:00.001Z"), {})), "2026-05-15T12:00:00Z");
    const Cron february = Cron::parse("0 0 29 2 *");
    EXPECT_EQ(written(february.previous_before(at("2103-01-01T00:00:00Z"), {})), "2096-02-29T00:00:00Z");
    EXPECT_EQ(written(Cron::parse("0 0 30 2 *").previous_before(at("2026-01-01T00:00:00Z"), {})), "never");
}

TEST(Cron, WhatNeverFiresEndsAndIsKnown) {
    for (const char* text : {"0 0 30 2 *", "0 0 31 4,6,9,11 *"}) {
        const Cron cron = Cron::parse(text);
        EXPECT_FALSE(cron.can_fire()) << text;
        EXPECT_FALSE(cron.next_after(at("2026-01-01T00:00:00Z"), new_york())) << text;
    }
    EXPECT_FALSE(Cron::parse("0 0 0 30 2 * 2026", {.years = true}).can_fire());
    EXPECT_FALSE(Cron::parse("0 0 0 29 2 * 2027", {.years = true}).can_fire());
    EXPECT_TRUE(Cron::parse("0 0 0 1 1 * 2099", {.years = true}).can_fire());
    EXPECT_TRUE(Cron::parse("0 0 0 1 1 * 1970", {.years = true}).can_fire());
    EXPECT_TRUE(Cron::parse("0 0 29 2 mon", {.day_rule = DayRule::both}).can_fire());
    EXPECT_TRUE(Cron::parse("0 0 29 2 *").can_fire());
    EXPECT_TRUE(Cron::parse("0 0 30 2 mon").can_fire());  // either
    EXPECT_FALSE(Cron::parse("0 0 30 2 mon", {.day_rule = DayRule::both}).can_fire());
}

TEST(Cron, FarYearsAndTheEndsOfTime) {
    EXPECT_EQ(next("0 12 * * *", "2400-07-01T00:00:00Z", new_york()), "2400-07-01T16:00:00Z");
    EXPECT_EQ(next("0 12 * * *", "2400-12-01T00:00:00Z", new_york()), "2400-12-01T17:00:00Z");
    EXPECT_EQ(next("0 0 29 2 *", "2096-03-01T00:00:00Z"), "2104-02-29T00:00:00Z");
    EXPECT_EQ(next("0 0 1 1 *", "9998-12-31T00:00:00Z"), "9999-01-01T00:00:00Z");
    EXPECT_EQ(next("0 0 1 1 *", "9999-06-01T00:00:00Z"), "never");
    const Cron daily = Cron::parse("0 0 * * *");
    EXPECT_FALSE(daily.next_after(Cron::Millis::max(), new_york()));
    EXPECT_FALSE(daily.previous_before(Cron::Millis::min(), new_york()));
    EXPECT_TRUE(daily.next_after(Cron::Millis::min(), new_york()));
    EXPECT_TRUE(daily.previous_before(Cron::Millis::max(), new_york()));
}

TEST(Cron, SkippedWallTimesNeverFireAndRepeatedOnesFireTwice) {
    const auto range = [](const char* text, const char* begin, const char* end) {
        return all(CronRange(Cron::parse(text), new_york(), at(begin), at(end)));
    };
    using List = std::vector<std::string>;
    EXPECT_EQ(range("30 2 * * *", "2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z"),
              List{"2026-03-09T06:30:00Z"});
    EXPECT_EQ(range("0 1-3 * * *", "2026-03-08T05:00:00Z", "2026-03-08T12:00:00Z"),
              (List{"2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z"}));
    EXPECT_EQ(range("30 1 * * *", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
              (List{"2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"}));
    EXPECT_EQ(range("*/20 1 * * *", "2026-11-01T05:00:00Z", "2026-11-01T08:00:00Z").size(), 5U);
}

TEST(Cron, RangesExcludeBothEnds) {
    using List = std::vector<std::string>;
    const Cron hourly = Cron::parse("@hourly");
    const auto range = [&](const char* begin, const char* end, bool include_end = false) {
        return all(CronRange(hourly, TimeZone(), at(begin), at(end), include_end));
    };
    EXPECT_EQ(range("2026-01-01T00:00:00Z", "2026-01-01T03:00:00Z"),
              (List{"2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"}));
    EXPECT_EQ(range("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", true), List{"2026-01-01T01:00:00Z"});
    EXPECT_EQ(range("2026-01-01T00:59:59.999Z", "2026-01-01T01:00:00.001Z"), List{"2026-01-01T01:00:00Z"});
    EXPECT_EQ(range("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), List{});
    EXPECT_EQ(range("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"), List{});
}

TEST(Cron, NewestTicksCostWhatTheyGive) {
    const Cron every_second = Cron::parse("* * * * * *");
    const NewestTicks newest =
        newest_ticks(every_second, new_york(), at("1990-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), 1000);
    ASSERT_EQ(newest.ticks.size(), 1000U);
    EXPECT_TRUE(newest.more);
    EXPECT_EQ(written(newest.ticks.back()), "2025-12-31T23:59:59Z");
    EXPECT_EQ(newest.ticks.back() - newest.ticks.front(), 999s);
    EXPECT_TRUE(
        newest_ticks(every_second, new_york(), at("2026-01-02T00:00:00Z"), at("2026-01-01T00:00:00Z"), 9)
            .ticks.empty());
}

TEST(Cron, TheOwnersDayRule) {
    // 13 February 2026 is a Friday.
    EXPECT_EQ(next("0 0 13 * fri", "2026-02-01T00:00:00Z"), "2026-02-06T00:00:00Z");
    EXPECT_EQ(next("0 0 13 * fri", "2026-02-01T00:00:00Z", {}, {.day_rule = DayRule::both}),
              "2026-02-13T00:00:00Z");
    EXPECT_EQ(next("0 0 1-31 * mon", "2026-01-01T00:00:00Z"), "2026-01-02T00:00:00Z");
    EXPECT_EQ(next("0 0 1-31 * */2", "2026-01-01T00:00:00Z"), "2026-01-03T00:00:00Z");
    EXPECT_EQ(next("0 0 20 * fri#2", "2026-02-01T00:00:00Z"), "2026-02-13T00:00:00Z");
    EXPECT_EQ(next("0 0 20 * fri#2", "2026-02-01T00:00:00Z", {}, {.day_rule = DayRule::both}), "never");
}

TEST(Cron, SundayIsTheSeventhDayAtTheEndOfARange) {
    const char* monday = "2026-01-05T00:00:00Z";
    EXPECT_EQ(next("0 0 * * sat-0", monday), "2026-01-10T00:00:00Z");
    EXPECT_EQ(next("0 0 0 * * 7", monday), "2026-01-11T00:00:00Z");
    for (const char* text : {"0 0 * * sun-sun", "0 0 * * 0-0", "0 0 * * 7-7", "0 0 * * 7-0", "0 0 * * 7/2"}) {
        EXPECT_EQ(next(text, monday), "2026-01-11T00:00:00Z") << text;
    }
}

TEST(Cron, WrappedRangesCountOnOverTheEnd) {
    const CronOptions wrap{.wrapped_ranges = true};
    EXPECT_EQ(next("0 22-2 * * *", "2026-01-01T23:30:00Z", {}, wrap), "2026-01-02T00:00:00Z");
    EXPECT_EQ(next("0 22-2 * * *", "2026-01-02T02:00:00Z", {}, wrap), "2026-01-02T22:00:00Z");
    EXPECT_EQ(next("0 0 1 nov-feb/2 *", "2026-01-15T00:00:00Z", {}, wrap), "2026-11-01T00:00:00Z");
    EXPECT_EQ(next("0 0 * * sat-mon", "2026-01-06T00:00:00Z", {}, wrap),
              "2026-01-10T00:00:00Z");  // a Saturday
}

}  // namespace
}  // namespace dbos::core
