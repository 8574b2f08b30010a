// Cron expressions against tests/vectors/cron.json, or the same file in the directory DBOS_VECTORS.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/cron.hpp"
#include "core/schedule_ids.hpp"
#include "dbos/error.hpp"
#include "platform/zone_file.hpp"
#include "value/json.hpp"
#include "value/time_text.hpp"

namespace dbos::core {
namespace {

using Instants = std::vector<std::string>;

std::vector<Value> load_vectors() {
    const char* directory = std::getenv("DBOS_VECTORS");
    const std::string path =
        std::string(directory != nullptr && *directory != '\0' ? directory : DBOS_TEST_VECTORS) +
        "/cron.json";
    std::ifstream stream(path, std::ios::binary);
    EXPECT_TRUE(stream.good()) << "cannot read " << path;
    return parse_json(std::string{std::istreambuf_iterator<char>(stream), {}}).at("vectors").as_array();
}

std::string text_of(const Value& vector, const char* key) {
    const Value* found = vector.find(key);
    return found != nullptr && found->kind() == Kind::string ? found->as_string() : std::string();
}

/// The list under a key; nullopt if there is none.
std::optional<Instants> list_of(const Value& vector, const char* key) {
    const Value* found = vector.find(key);
    if (found == nullptr || found->kind() != Kind::array) return std::nullopt;
    Instants result;
    for (const Value& item : found->as_array()) result.push_back(item.as_string());
    return result;
}

bool is_true(const Value& vector, const char* key) {
    const Value* found = vector.find(key);
    return found != nullptr && found->as_bool();
}

std::string label(const Value& vector) {
    return "vector " + std::to_string(vector.at("id").as_int()) + " " + text_of(vector, "category") + " \"" +
           text_of(vector, "expr") + "\" in " + text_of(vector, "tz") + " from " + text_of(vector, "base");
}

Cron::Millis base_of(const Value& vector) {
    return Cron::Millis(std::chrono::milliseconds(parse_epoch_ms(text_of(vector, "base")).value()));
}

std::string written(Instant instant) {
    std::string text = format_epoch_ms(instant.time_since_epoch().count() * 1000);
    return text.replace(text.size() - 5, 4, "");  // .000
}

const TimeZone& zone_of(const Value& vector) {
    static std::map<std::string, TimeZone> zones;
    const std::string name = text_of(vector, "tz");
    const auto found = zones.find(name);
    if (found != zones.end()) return found->second;
    return zones.emplace(name, load_time_zone(name, seam::read_zone_file)).first->second;
}

/// What the rule of this project says; the reference where that is the same.
Instants expected_of(const Value& vector) {
    if (auto list = list_of(vector, "rule_next")) return *list;
    return list_of(vector, "next").value_or(Instants{});
}

Instants five_from(const Cron& cron, const Value& vector) {
    Instants result;
    Cron::Millis at = base_of(vector);
    while (result.size() < 5) {
        const auto found = cron.next_after(at, zone_of(vector));
        if (!found) break;
        result.push_back(written(*found));
        at = *found;
    }
    return result;
}

/// Day 0 in six fields, a defect of the reference that the rule does not copy.
bool is_day_zero(const Value& vector) { return text_of(vector, "expr") == "0 0 0 0 * *"; }

constexpr CronOptions kReference{.day_rule = DayRule::either, .years = true, .wrapped_ranges = false};

TEST(CronVectors, EveryAcceptedTextFiresAsTheRuleSays) {
    std::size_t count = 0;
    for (const Value& vector : load_vectors()) {
        if (!is_true(vector, "valid") || is_day_zero(vector)) continue;
        ++count;
        try {
            const Cron cron = Cron::parse(text_of(vector, "expr"), kReference);
            EXPECT_EQ(five_from(cron, vector), expected_of(vector)) << label(vector);
        } catch (const Error& error) {
            ADD_FAILURE() << label(vector) << ": " << error.what();
        }
    }
    EXPECT_GE(count, 269U);
}

TEST(CronVectors, EveryOtherTextIsRefusedByName) {
    std::size_t count = 0;
    for (const Value& vector : load_vectors()) {
        if (is_true(vector, "valid") && !is_day_zero(vector)) continue;
        ++count;
        try {
            Cron::parse(text_of(vector, "expr"), kReference);
            ADD_FAILURE() << label(vector) << ": was accepted";
        } catch (const UsageError& error) {
            const std::string message = error.what();
            EXPECT_EQ(message.rfind("cron \"", 0), 0U) << message;
            EXPECT_NE(message.find("got "), std::string::npos) << message;
        }
    }
    EXPECT_GE(count, 109U);
}

TEST(CronVectors, BackwardsTheSameInstantsInReverse) {
    for (const Value& vector : load_vectors()) {
        if (!is_true(vector, "valid") || is_day_zero(vector)) continue;
        const Cron cron = Cron::parse(text_of(vector, "expr"), kReference);
        const TimeZone& zone = zone_of(vector);
        std::vector<Instant> forwards;
        Cron::Millis at = base_of(vector);
        for (auto found = cron.next_after(at, zone); found && forwards.size() < 5;
             found = cron.next_after(at, zone)) {
            forwards.push_back(*found);
            at = *found;
        }
        if (forwards.empty()) continue;
        const Cron::Millis end = Cron::Millis(forwards.back()) + std::chrono::milliseconds(1);
        const NewestTicks newest = newest_ticks(cron, zone, base_of(vector), end, 5);
        EXPECT_EQ(newest.ticks, forwards) << label(vector);
        EXPECT_FALSE(newest.more) << label(vector);
        if (forwards.size() > 1) {
            EXPECT_TRUE(newest_ticks(cron, zone, base_of(vector), end, forwards.size() - 1).more)
                << label(vector);
        }
    }
}

/// Compares with the list that another SDK gave, where it accepts the text and so do we.
std::size_t compare_with(const char* sdk, const CronOptions& options) {
    std::size_t count = 0;
    for (const Value& vector : load_vectors()) {
        if (text_of(vector, sdk) == "refused") continue;
        const std::optional<Instants> own = list_of(vector, sdk);
        std::optional<Cron> cron;
        try {
            cron = Cron::parse(text_of(vector, "expr"), options);
        } catch (const UsageError& error) {
            // What only their grammar has: full names, L-n, nW, 5L, mixed lists, @every, blanks around a word, 1*.
            EXPECT_EQ(text_of(vector, "category"), "invalid") << label(vector) << ": " << error.what();
            continue;
        }
        ++count;
        EXPECT_EQ(five_from(*cron, vector), own ? *own : expected_of(vector)) << sdk << ' ' << label(vector);
    }
    return count;
}

TEST(CronVectors, BothDayFieldsMustMatchForTypescript) {
    EXPECT_GE(compare_with("ts", {.day_rule = DayRule::both, .wrapped_ranges = true}), 220U);
}

TEST(CronVectors, GoFiresAtTheSameInstants) { EXPECT_GE(compare_with("go", {}), 30U); }

TEST(CronVectors, IdsAreThoseOfTheReference) {
    std::size_t count = 0;
    for (const Value& vector : load_vectors()) {
        const std::optional<Instants> local = list_of(vector, "next_local");
        // In `dst` the reference itself writes offsets that do not hold at the instant.
        if (!local || text_of(vector, "category") != "zone_plain") continue;
        const Instants instants = list_of(vector, "next").value();
        ASSERT_EQ(local->size(), instants.size());
        for (std::size_t i = 0; i < instants.size(); ++i) {
            const Instant tick(std::chrono::seconds(parse_epoch_ms(instants[i]).value() / 1000));
            EXPECT_EQ(tick_id(ScheduleDialect::python, "s", tick, zone_of(vector)), "sched-s-" + (*local)[i])
                << label(vector);
            ++count;
        }
    }
    EXPECT_GE(count, 100U);
}

TEST(CronVectors, SevenFieldsAreRefusedUnlessAskedFor) {
    for (const Value& vector : load_vectors()) {
        if (text_of(vector, "category") != "years7") continue;
        EXPECT_THROW(Cron::parse(text_of(vector, "expr")), UsageError) << label(vector);
    }
}

}  // namespace
}  // namespace dbos::core
