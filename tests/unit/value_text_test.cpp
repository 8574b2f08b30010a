#include "value/text.hpp"

#include <gtest/gtest.h>

#include <set>

#include "dbos/log.hpp"
#include "value/time_text.hpp"
#include "value/uuid.hpp"

namespace {

TEST(Base64, RoundTripsAndRefuses) {
    const char* pairs[][2] = {{"", ""},
                              {"f", "Zg=="},
                              {"fo", "Zm8="},
                              {"foo", "Zm9v"},
                              {"foob", "Zm9vYg=="},
                              {"fooba", "Zm9vYmE="},
                              {"foobar", "Zm9vYmFy"}};
    for (const auto& pair : pairs) {
        EXPECT_EQ(dbos::to_base64(std::string_view(pair[0])), pair[1]);
        EXPECT_EQ(dbos::from_base64(pair[1]), pair[0]);
    }
    std::string all;
    for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
    EXPECT_EQ(dbos::from_base64(dbos::to_base64(all)), all);
    for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zm9v=", "Zm9=v",
                            "Zh==", "Zm9vYmF!", "Zm9v\n", "Zg==Zg=="}) {
        EXPECT_EQ(dbos::from_base64(bad), std::nullopt) << bad;
    }
    EXPECT_EQ(dbos::from_base64("Zm 9v\r\nZg==\n", true), "foof");
    EXPECT_EQ(dbos::from_base64("Zm_v", true), std::nullopt);
}

TEST(Utf8, FindsTheFirstInvalidByte) {
    constexpr auto valid = std::string_view::npos;
    EXPECT_EQ(dbos::find_invalid_utf8("aé✓𝄞"), valid);
    EXPECT_EQ(dbos::find_invalid_utf8(std::string_view("\0", 1)), valid);
    EXPECT_EQ(dbos::find_invalid_utf8("\xF4\x8F\xBF\xBF"), valid);
    for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x9F\xBF", "\xED\xA0\x80",
                            "\xE2\x82", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
        EXPECT_EQ(dbos::find_invalid_utf8("ab" + std::string(bad)), 2U) << bad;
    }
    EXPECT_TRUE(dbos::has_surrogate("x\xED\xA0\x80y"));
    EXPECT_FALSE(dbos::has_surrogate("x✓"));
    EXPECT_FALSE(dbos::has_surrogate("x\xFF"));
}

TEST(Fnv1a, KnownValues) {
    static_assert(dbos::fnv1a_32("") == 0x811c9dc5U);
    static_assert(dbos::fnv1a_32("a") == 0xe40c292cU);
    static_assert(dbos::fnv1a_32("foobar") == 0xbf9cf968U);
}

TEST(Rfc3339, ParsesWhatTheSdksWrite) {
    EXPECT_EQ(dbos::parse_epoch_ms("1970-01-01T00:00:00Z"), 0);
    EXPECT_EQ(dbos::parse_epoch_ms("2025-06-15T15:06:40.123Z"), 1'750'000'000'123);
    EXPECT_EQ(dbos::parse_epoch_ms("2025-06-15T17:06:40.123+02:00"), 1'750'000'000'123);
    EXPECT_EQ(dbos::parse_epoch_ms("2025-06-15 17:06:40.123456789+0200"), 1'750'000'000'123);
    EXPECT_EQ(dbos::parse_epoch_ms("1969-12-31T23:59:59.9999Z"), -1);
    EXPECT_EQ(dbos::parse_epoch_ms("2024-02-29T00:00:00Z"), 1'709'164'800'000);
    EXPECT_EQ(dbos::parse_epoch_ms("+275760-09-13T00:00:00.000Z"), 8'640'000'000'000'000);
    EXPECT_EQ(dbos::parse_epoch_ms("-271821-04-20T00:00:00.000Z"), -8'640'000'000'000'000);
    EXPECT_EQ(dbos::parse_rfc3339("2025-06-15T10:30:00", true)->seconds, 1'749'983'400);
    for (const char* bad :
         {"", "2025-06-15", "2025-06-15T10:30:00", "2025-02-29T00:00:00Z", "2025-13-01T00:00:00Z",
          "2025-00-01T00:00:00Z", "2025-01-00T00:00:00Z", "2025-01-01T24:00:00Z", "2025-01-01T00:60:00Z",
          "2025-01-01T00:00:60Z", "2025-01-01T00:00:00.Z", "2025-01-01T00:00:00.1234567890Z",
          "2025-01-01T00:00:00Zx", "2025-01-01T00:00:00+25:00", "2025-1-1T00:00:00Z",
          "2024-01-01T09:00:00+01:00[Europe/Paris]"}) {
        EXPECT_EQ(dbos::parse_rfc3339(bad), std::nullopt) << bad;
    }
}

TEST(Rfc3339, Formats) {
    EXPECT_EQ(dbos::format_epoch_ms(1'750'000'000'123), "2025-06-15T15:06:40.123Z");
    EXPECT_EQ(dbos::format_epoch_ms(-1), "1969-12-31T23:59:59.999Z");
    EXPECT_EQ(dbos::format_utc({1'750'000'000, 5, 0}, 9), "2025-06-15T15:06:40.000000005Z");
    EXPECT_EQ(dbos::format_utc({1'750'000'000, 5, 0}, 0), "2025-06-15T15:06:40Z");
    EXPECT_EQ(dbos::format_epoch_ms(8'640'000'000'000'000), "+275760-09-13T00:00:00.000Z");
    EXPECT_EQ(dbos::format_local({1'750'000'000, 500'000'000, -3600}), "2025-06-15T14:06:40.5");
    for (std::int64_t day = -200'000; day < 200'000; day += 97) {
        const std::int64_t ms = day * 86'400'000 + 1;
        EXPECT_EQ(dbos::parse_epoch_ms(dbos::format_epoch_ms(ms)), ms);
    }
}

TEST(Uuid7, IncreasesAlsoWhenTheClockGoesBack) {
    std::int64_t now = 1'750'000'000'000;
    std::uint64_t random = 1;
    dbos::Uuid7Generator generator([&] { return now; },
                                   [&] { return random = random * 6364136223846793005ULL + 1; });
    std::string last;
    std::set<std::string> seen;
    for (int i = 0; i < 20'000; ++i) {
        if (i % 1000 == 0) now += 3;
        if (i % 1700 == 0) now -= 10;
        const std::string id = generator.next();
        EXPECT_LT(last, id);
        EXPECT_TRUE(seen.insert(id).second);
        last = id;
    }
    ASSERT_EQ(last.size(), 36U);
    EXPECT_EQ(last[8], '-');
    EXPECT_EQ(last[13], '-');
    EXPECT_EQ(last[14], '7');
    EXPECT_EQ(last[18], '-');
    EXPECT_NE(std::string("89ab").find(last[19]), std::string::npos);
    EXPECT_EQ(last[23], '-');
}

TEST(Uuid7, BeginsWithTheMilliseconds) {
    dbos::Uuid7Generator generator([] { return std::int64_t{0x0197'2A3B'4C5D}; },
                                   [] { return std::uint64_t{0}; });
    EXPECT_EQ(generator.next(), "01972a3b-4c5d-7000-8000-000000000000");
    EXPECT_EQ(generator.next(), "01972a3b-4c5d-7001-8000-000000000000");
}

TEST(Log, LineIsLogfmt) {
    const dbos::LogRecord record{
        dbos::LogLevel::warn,
        "lease lapsed",
        {{"executor", "host-1"}, {"text", "a b=\"c\"\n"}, {"empty", ""}, {"raw", "\xFF"}}};
    EXPECT_EQ(dbos::to_logfmt(record),
              "level=warn msg=\"lease lapsed\" executor=host-1 text=\"a b=\\\"c\\\"\\n\" "
              "empty=\"\" raw=\"(not UTF-8)\"");
}

TEST(Log, DefaultSinkDropsBelowItsLevel) {
    testing::internal::CaptureStderr();
    const dbos::LogSink sink = dbos::stderr_log_sink();
    sink({dbos::LogLevel::debug, "hidden", {}});
    sink({dbos::LogLevel::info, "shown", {{"k", "v"}}});
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_EQ(text.find("hidden"), std::string::npos);
    EXPECT_NE(text.find(" level=info msg=\"shown\" k=v\n"), std::string::npos);
    EXPECT_EQ(text.rfind("time=", 0), 0U);
}

}  // namespace
