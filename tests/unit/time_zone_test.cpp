// Zone files and rules: offsets, far years, damaged files, names.
#include "core/time_zone.hpp"

#include <gtest/gtest.h>

#include <string>

#include "core/posix_rule.hpp"
#include "dbos/error.hpp"
#include "platform/zone_file.hpp"
#include "value/time_text.hpp"

namespace dbos::core {
namespace {

using std::chrono::seconds;

Instant at(const char* text) { return Instant(seconds(parse_epoch_ms(text).value() / 1000)); }
std::int64_t offset(const TimeZone& zone, const char* text) { return zone.offset_at(at(text)).count(); }
TimeZone load(const char* name) { return load_time_zone(name, seam::read_zone_file); }

std::string big_endian(std::uint64_t value, std::size_t bytes) {
    std::string text;
    for (std::size_t i = bytes; i-- > 0;) text += static_cast<char>(value >> (8 * i) & 0xFFU);
    return text;
}

struct File {
    char version = '2';
    std::vector<std::int64_t> changes = {};
    std::string which = {};  // one byte a change
    std::vector<std::int32_t> offsets = {0};
    std::size_t leaps = 0;
    std::string footer = "\nUTC0\n";

    std::string header(bool empty) const {
        std::string text = std::string("TZif") + version + std::string(15, '\0');
        const std::size_t counts[] = {0, 0, leaps, changes.size(), offsets.size(), 4};
        for (const std::size_t count : counts) text += big_endian(empty ? 0 : count, 4);
        return text;
    }
    std::string bytes() const {
        std::string text = header(true) + header(false);
        for (const std::int64_t change : changes) text += big_endian(static_cast<std::uint64_t>(change), 8);
        text += which;
        for (const std::int32_t offset : offsets) {
            text += big_endian(static_cast<std::uint32_t>(offset), 4) + std::string(2, '\0');
        }
        return text + std::string("LMT\0", 4) + std::string(leaps * 12, '\0') + footer;
    }
};

std::string refusal(const File& file) {
    try {
        TimeZone::from_tzif("Test/Zone", file.bytes());
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "accepted";
}

TEST(TimeZone, UtcNeedsNoFile) {
    const ZoneReader none = [](const std::string&) -> std::optional<std::string> {
        ADD_FAILURE() << "asked for a file";
        return std::nullopt;
    };
    for (const char* name : {"", "UTC", "Etc/UTC", "Zulu"}) {
        const TimeZone zone = load_time_zone(name, none);
        EXPECT_EQ(zone.offset_at(at("2026-07-01T00:00:00Z")), seconds(0));
        EXPECT_EQ(zone.span_at(at("2026-07-01T00:00:00Z")).end, Instant::max());
        EXPECT_EQ(zone.name(), *name == '\0' ? "UTC" : name);
    }
}

TEST(TimeZone, UnknownAndImpossibleNamesAreErrorsAndNeverUtc) {
    const auto message = [](const std::string& name) -> std::string {
        try {
            load_time_zone(name, seam::read_zone_file);
        } catch (const UsageError& error) {
            return error.what();
        }
        return "accepted";
    };
    EXPECT_NE(message("Mars/Phobos").find("\"Mars/Phobos\""), std::string::npos) << message("Mars/Phobos");
    EXPECT_NE(message("Mars/Phobos").find("tzdata"), std::string::npos);
    for (const char* name :
         {"../../../etc/passwd", "/etc/localtime", "Europe/", "Europe//Berlin", "Europe", "a b", "localtime",
          "posixrules", "Europe/Berlin\n", "tzdata.zi", "zone.tab", " "}) {
        EXPECT_EQ(message(name).rfind("time zone: got \"", 0), 0U) << name << ": " << message(name);
    }
    EXPECT_NE(message(std::string(5000, 'a')), "accepted");
    EXPECT_LT(message(std::string(5000, 'a')).size(), 500U);
}

TEST(TimeZone, OffsetsOfTheInstalledDatabase) {
    const TimeZone berlin = load("Europe/Berlin");
    EXPECT_EQ(berlin.name(), "Europe/Berlin");
    EXPECT_EQ(offset(berlin, "2026-03-29T00:59:59Z"), 3600);
    EXPECT_EQ(offset(berlin, "2026-03-29T01:00:00Z"), 7200);
    EXPECT_EQ(offset(berlin, "2026-10-25T00:59:59Z"), 7200);
    EXPECT_EQ(offset(berlin, "2026-10-25T01:00:00Z"), 3600);
    EXPECT_EQ(offset(berlin, "1850-01-01T00:00:00Z"), 53 * 60 + 28);  // local mean time
    const TimeZone apia = load("Pacific/Apia");                       // 30 December 2011 was left out
    EXPECT_EQ(offset(apia, "2011-12-30T09:59:59Z"), -10 * 3600);
    EXPECT_EQ(offset(apia, "2011-12-30T10:00:00Z"), 14 * 3600);
    const TimeZone dublin = load("Europe/Dublin");  // its rule calls winter the daylight time
    EXPECT_EQ(offset(dublin, "2026-07-01T00:00:00Z"), 3600);
    EXPECT_EQ(offset(dublin, "2026-12-01T00:00:00Z"), 0);
    EXPECT_EQ(offset(load("Asia/Kathmandu"), "2026-07-01T00:00:00Z"), 20700);
    EXPECT_EQ(offset(load("Etc/GMT+5"), "2026-07-01T00:00:00Z"), -5 * 3600);
}

TEST(TimeZone, TheRuleAtTheEndOfTheFileHoldsForFarYears) {
    const TimeZone berlin = load("Europe/Berlin");
    const TimeZone new_york = load("America/New_York");
    EXPECT_EQ(offset(berlin, "2090-07-01T00:00:00Z"), 7200);
    EXPECT_EQ(offset(berlin, "2500-07-01T00:00:00Z"), 7200);
    EXPECT_EQ(offset(berlin, "2500-12-01T00:00:00Z"), 3600);
    EXPECT_EQ(offset(new_york, "2300-07-01T00:00:00Z"), -4 * 3600);
    EXPECT_EQ(offset(load("Australia/Lord_Howe"), "2300-01-01T00:00:00Z"), 11 * 3600);
    EXPECT_EQ(offset(load("Australia/Lord_Howe"), "2300-07-01T00:00:00Z"), 10 * 3600 + 1800);
    EXPECT_EQ(offset(load("Asia/Tokyo"), "2300-07-01T00:00:00Z"), 9 * 3600);
}

TEST(TimeZone, SpansCoverTimeWithoutGaps) {
    for (const char* name : {"America/New_York", "Africa/Casablanca", "Antarctica/Troll", "Asia/Gaza",
                             "Asia/Tokyo", "America/Nuuk", "Pacific/Apia", "Europe/Dublin"}) {
        const TimeZone zone = load(name);
        EXPECT_EQ(zone.span_at(Instant::min()).begin, Instant::min());
        Instant now = at("1800-01-01T00:00:00Z");
        int spans = 0;
        while (now < at("2200-01-01T00:00:00Z")) {
            const TimeZone::Span span = zone.span_at(now);
            ASSERT_LE(span.begin, now) << name;
            ASSERT_GT(span.end, now) << name;
            ASSERT_EQ(zone.span_at(std::max(span.begin, at("1800-01-01T00:00:00Z"))).offset, span.offset)
                << name;
            if (span.end == Instant::max()) break;
            ASSERT_EQ(zone.span_at(span.end - seconds(1)).offset, span.offset) << name;
            ASSERT_EQ(zone.span_at(span.end).begin, span.end) << name;
            now = span.end;
            ++spans;
        }
        EXPECT_GT(spans, 0) << name;
    }
}

TEST(TimeZone, RulesInEveryForm) {
    const auto rule = [](const char* text, const char* when) {
        return offset(TimeZone::from_rule("Test/Rule", text), when);
    };
    EXPECT_EQ(rule("<+0545>-5:45", "2026-01-01T00:00:00Z"), 20700);
    EXPECT_EQ(rule("IST-1GMT0,M10.5.0,M3.5.0/1", "2026-07-01T00:00:00Z"), 3600);
    EXPECT_EQ(rule("IST-1GMT0,M10.5.0,M3.5.0/1", "2026-12-01T00:00:00Z"), 0);
    EXPECT_EQ(rule("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T00:59:59Z"), -7200);
    EXPECT_EQ(rule("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T01:00:00Z"), -3600);
    EXPECT_EQ(rule("EET-2EEST,M3.4.4/50,M10.4.4/50", "2026-03-28T00:00:00Z"),
              10800);  // 50 h after a Thursday
    EXPECT_EQ(rule("EET-2EEST,M3.4.4/50,M10.4.4/50", "2026-03-27T23:59:59Z"), 7200);
    EXPECT_EQ(rule("AAA0BBB,J60/0,J300/0", "2028-03-01T00:00:00Z"), 3600);  // J60 = 1 March, leap year or not
    EXPECT_EQ(rule("AAA0BBB,J60/0,J300/0", "2028-02-29T23:59:59Z"), 0);
    EXPECT_EQ(rule("AAA0BBB,J60/0,J300/0", "2027-03-01T00:00:00Z"), 3600);
    EXPECT_EQ(rule("AAA0BBB,59/0,300/0", "2028-02-29T00:00:00Z"), 3600);         // 59 = the sixtieth day
    EXPECT_EQ(rule("XXX3EDT4,0/0,J365/23", "2026-01-01T03:00:00Z"), -4 * 3600);  // daylight time all year
    EXPECT_EQ(rule("XXX3EDT4,0/0,J365/23", "2026-01-01T02:59:59Z"), -4 * 3600);
    EXPECT_EQ(rule("NZST-12NZDT,M9.5.0,M4.1.0/3", "2026-01-01T00:00:00Z"), 13 * 3600);
    for (const char* text :
         {"", "UTC", "EST5EDT", "E5", "EST5EDT,M3.2.0", "EST5EDT,M13.2.0,M11.1.0", "<+05>-5 ",
          "EST5EDT,M3.2.7,M11.1.0", "EST5EDT,M3.0.0,M11.1.0", "EST5EDT,J0,J365", "EST25",
          "EST5EDT,M3.2.0/168,M11.1.0", "EST5:60", "<EST5", "EST5EDT,366,1", "EST5EDT,,"}) {
        EXPECT_THROW(TimeZone::from_rule("Test/Rule", text), ConfigError) << text;
    }
}

TEST(TimeZone, FilesMadeByHand) {
    File file;
    file.offsets = {1000, 3600, -3600};
    file.changes = {-100, 100};
    file.which = std::string("\x01\x02", 2);
    file.footer = "\n\n";  // no rule: the last offset for ever
    const TimeZone zone = TimeZone::from_tzif("Test/Zone", file.bytes());
    EXPECT_EQ(zone.offset_at(Instant(seconds(-101))), seconds(1000));
    EXPECT_EQ(zone.offset_at(Instant(seconds(-100))), seconds(3600));
    EXPECT_EQ(zone.offset_at(Instant(seconds(99))), seconds(3600));
    EXPECT_EQ(zone.offset_at(Instant(seconds(100))), seconds(-3600));
    EXPECT_EQ(zone.span_at(Instant(seconds(100))).end, Instant::max());
    EXPECT_EQ(offset(zone, "2500-07-01T00:00:00Z"), -3600);
}

TEST(TimeZone, DamagedFilesAreRefusedAndNeverGuessed) {
    EXPECT_EQ(refusal(File()), "accepted");
    File file;
    file.version = '\0';
    EXPECT_NE(refusal(file).find("version 1"), std::string::npos) << refusal(file);
    file = File();
    file.leaps = 1;
    EXPECT_NE(refusal(file).find("leap seconds"), std::string::npos) << refusal(file);
    file = File();
    file.footer = "";
    EXPECT_NE(refusal(file).find("rule"), std::string::npos) << refusal(file);
    file.footer = "\nnonsense\n";
    EXPECT_NE(refusal(file).find("nonsense"), std::string::npos) << refusal(file);
    file = File();
    file.changes = {5, 5};
    file.which = std::string(2, '\0');
    EXPECT_NE(refusal(file).find("order"), std::string::npos) << refusal(file);
    file.changes = {5, 6};
    file.which = std::string("\0\x07", 2);
    EXPECT_NE(refusal(file).find("lacks"), std::string::npos) << refusal(file);
    file = File();
    file.offsets = {100'000};
    EXPECT_NE(refusal(file).find("100000"), std::string::npos) << refusal(file);
    file.offsets = {};
    EXPECT_NE(refusal(file), "accepted");
}

TEST(TimeZone, EveryCutOfAFileIsRefused) {
    const std::optional<std::string> bytes = seam::read_zone_file("Europe/Berlin");
    ASSERT_TRUE(bytes);
    for (std::size_t size = 0; size < bytes->size(); ++size) {
        EXPECT_THROW(TimeZone::from_tzif("Europe/Berlin", std::string_view(*bytes).substr(0, size)),
                     ConfigError)
            << size;
    }
}

}  // namespace
}  // namespace dbos::core
