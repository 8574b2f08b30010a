// Random expressions in zones with transitions: what next_after says against every second between.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <string>

#include "core/cron.hpp"
#include "dbos/error.hpp"

namespace {

using dbos::core::Cron;
using dbos::core::Instant;
using dbos::core::TimeZone;
using std::chrono::seconds;

/// One field of `least`-`most`, mostly `*` so that expressions fire often.
std::string field(int least, int most) {
    const auto value = [&] { return *rc::gen::inRange(least, most + 1); };
    switch (*rc::gen::inRange(0, 7)) {
        case 0: return std::to_string(value());
        case 1: return "*/" + std::to_string(*rc::gen::inRange(1, 30));
        case 2: {
            const int one = value();
            const int two = value();
            return std::to_string(std::min(one, two)) + '-' + std::to_string(std::max(one, two));
        }
        case 3: return std::to_string(value()) + ',' + std::to_string(value());
        default: return "*";
    }
}

std::string expression() {
    std::string weekday = field(0, 7);
    if (*rc::gen::inRange(0, 8) == 0)
        weekday = std::to_string(*rc::gen::inRange(0, 8)) + "#" + std::to_string(*rc::gen::inRange(1, 6));
    std::string day = field(1, 31);
    if (*rc::gen::inRange(0, 8) == 0) day = "L";
    return field(0, 59) + ' ' + field(0, 59) + ' ' + field(0, 23) + ' ' + day + ' ' + field(1, 12) + ' ' +
           weekday;
}

const TimeZone& zone() {
    static const std::array<TimeZone, 6> zones = {
        TimeZone(),
        TimeZone::from_rule("America/New_York", "EST5EDT,M3.2.0,M11.1.0"),
        TimeZone::from_rule("Australia/Lord_Howe", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"),
        TimeZone::from_rule("Antarctica/Troll", "<+00>0<+02>-2,M3.5.0/1,M10.5.0/3"),
        TimeZone::from_rule("America/Santiago", "<-04>4<-03>,M9.1.6/24,M4.1.6/24"),
        TimeZone::from_rule("America/Nuuk", "<-02>2<-01>,M3.5.0/-1,M10.5.0/0"),
    };
    return zones[*rc::gen::inRange<std::size_t>(0, zones.size())];
}

/// Near a change of the zone in half of the cases.
Instant base(const TimeZone& zone) {
    const Instant any(seconds(*rc::gen::inRange<std::int64_t>(0, 4'102'444'800)));
    const Instant end = zone.span_at(any).end;
    if (end == Instant::max() || *rc::gen::inRange(0, 2) == 0) return any;
    return end + seconds(*rc::gen::inRange<std::int64_t>(-7200, 7200));
}

TEST(CronProperty, NextIsTheFirstInstantThatMatches) {
    rc::check([] {
        const std::string text = expression();
        const Cron cron = Cron::parse(text);
        const TimeZone& in = zone();
        const Instant from = base(in);
        RC_LOG() << text << " in " << in.name() << " from " << from.time_since_epoch().count();
        const auto next = cron.next_after(from, in);
        const Instant end = std::min(next.value_or(Instant::max()), from + seconds(5400));
        for (Instant at = from + seconds(1); at < end; at += seconds(1)) RC_ASSERT(!cron.matches(at, in));
        if (!next) return;
        RC_ASSERT(*next > from);
        RC_ASSERT(cron.matches(*next, in));
    });
}

TEST(CronProperty, PreviousIsTheLastInstantThatMatches) {
    rc::check([] {
        const std::string text = expression();
        const Cron cron = Cron::parse(text);
        const TimeZone& in = zone();
        const Instant from = base(in);
        RC_LOG() << text << " in " << in.name() << " from " << from.time_since_epoch().count();
        const auto previous = cron.previous_before(from, in);
        const Instant begin = std::max(previous.value_or(Instant::min()), from - seconds(5400));
        for (Instant at = from - seconds(1); at > begin; at -= seconds(1)) RC_ASSERT(!cron.matches(at, in));
        if (!previous) return;
        RC_ASSERT(*previous < from);
        RC_ASSERT(cron.matches(*previous, in));
        const auto next = cron.next_after(*previous, in);
        RC_ASSERT(!next || *next >= from);
    });
}

TEST(CronProperty, NextIsMonotone) {
    rc::check([] {
        const std::string text = expression();
        const Cron cron = Cron::parse(text);
        const TimeZone& in = zone();
        const Instant from = base(in);
        const Instant later = from + seconds(*rc::gen::inRange<std::int64_t>(0, std::int64_t{400} * 86400));
        RC_LOG() << text << " in " << in.name() << " from " << from.time_since_epoch().count();
        const auto first = cron.next_after(from, in);
        const auto second = cron.next_after(later, in);
        RC_ASSERT(!second || (first && *first <= *second));
        if (first && *first > later) RC_ASSERT(first == second);
    });
}

TEST(CronProperty, AnyTextIsParsedOrRefused) {
    rc::check([] {
        constexpr std::string_view kLetters = "0123456789*/-,?#LlWRH @\tsunmonjfeb";
        std::string text;
        for (const auto at : *rc::gen::container<std::vector<std::size_t>>(
                 rc::gen::inRange<std::size_t>(0, kLetters.size()))) {
            text += kLetters[at];
        }
        try {
            Cron::parse(text, {.years = true, .wrapped_ranges = true}).can_fire();
        } catch (const dbos::UsageError&) {
        }
    });
}

}  // namespace
