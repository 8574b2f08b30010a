#include "value/json.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "unit/value_printer.hpp"

namespace {

using dbos::Array;
using dbos::Object;
using dbos::Value;

std::string refusal(std::string_view text, const dbos::JsonReadOptions& options = {}) {
    try {
        return "parsed " + dbos::parse_json(text, options).dump();
    } catch (const dbos::DecodeError& error) {
        return error.refusal();
    }
}

TEST(Json, NumbersKeepTheirKind) {
    EXPECT_EQ(dbos::parse_json("5"), Value(5));
    EXPECT_EQ(dbos::parse_json("5.0"), Value(5.0));
    EXPECT_EQ(dbos::parse_json("1e2"), Value(100.0));
    EXPECT_EQ(dbos::parse_json("-0"), Value(0));
    EXPECT_EQ(dbos::parse_json("-0.0"), Value(-0.0));
    EXPECT_EQ(dbos::parse_json("9223372036854775807"), Value(std::numeric_limits<std::int64_t>::max()));
    EXPECT_EQ(dbos::parse_json("9223372036854775808").integer_text(), "9223372036854775808");
    EXPECT_EQ(dbos::parse_json("-9223372036854775809").integer_text(), "-9223372036854775809");
    EXPECT_EQ(dbos::parse_json("18446744073709551616").integer_text(), "18446744073709551616");
    for (const std::size_t digits : {299U, 300U, 301U, 308U, 309U, 400U, 4300U}) {
        const std::string text(digits, '7');
        EXPECT_EQ(dbos::parse_json(" [ " + text + " ]").at(std::size_t{0}).integer_text(), text);
        EXPECT_EQ(dbos::parse_json("-" + text).integer_text(), "-" + text);
    }
    EXPECT_EQ(refusal(std::string(4301, '7')), "bad_number");
    EXPECT_EQ(refusal("0" + std::string(400, '7')), "bad_json");
    EXPECT_EQ(refusal("[" + std::string(400, '7') + "x]"), "bad_json");
    EXPECT_EQ(refusal("{" + std::string(400, '7') + ":1}"), "bad_json");
    EXPECT_EQ(refusal("1e400"), "bad_number");
    EXPECT_EQ(dbos::parse_json("[1.10]", {.number_text = true}).at(std::size_t{0}),
              Value::annotated("number", {{"value", 1.1}, {"text", "1.10"}}));
}

TEST(Json, NonfiniteTokensOnlyWhereAllowed) {
    const dbos::JsonReadOptions python{.nonfinite = true};
    EXPECT_EQ(dbos::parse_json("[NaN,Infinity,-Infinity,\"NaN\"]", python),
              (Value(Array{std::nan(""), HUGE_VAL, -HUGE_VAL, "NaN"})));
    EXPECT_EQ(refusal("NaN"), "bad_json");
    for (const char* bad : {"{NaN:1}", "NaNN", "[1NaN]", "-NaN", "--Infinity", "[NaN Infinity]", "Inf"}) {
        EXPECT_EQ(refusal(bad, python), "bad_json") << bad;
    }
}

TEST(Json, SurrogatesAndTheMarkItself) {
    EXPECT_EQ(dbos::parse_json(R"("\ud834\udd1e")"), Value("𝄞"));
    EXPECT_EQ(dbos::parse_json(R"("x\ud800y")"), Value("x\xED\xA0\x80y"));
    EXPECT_EQ(dbos::parse_json(R"("\udfff\ud800")"), Value("\xED\xBF\xBF\xED\xA0\x80"));
    EXPECT_EQ(dbos::parse_json(R"("\ud800\ud834\udd1e")"), Value("\xED\xA0\x80𝄞"));
    EXPECT_EQ(dbos::parse_json(R"({"\ud800":1})"), (Value(Object{{"\xED\xA0\x80", 1}})));
    // The noncharacter that marks replacements is an ordinary character of the text, escaped or not.
    const std::string mark = "\xEF\xB7\x90";
    EXPECT_EQ(dbos::parse_json("[\"" + mark + "n\",\"\\ufdd0n\",\"\\uFDD0s1234\",\"\\ud800\"]"),
              (Value(Array{mark + "n", mark + "n", mark + "s1234", "\xED\xA0\x80"})));
    EXPECT_EQ(dbos::parse_json("{\"" + mark + "n\":NaN}", {.nonfinite = true}),
              (Value(Object{{mark + "n", std::nan("")}})));
    EXPECT_EQ(refusal(R"("\ud8")"), "bad_json");
    EXPECT_EQ(refusal(R"("\u12g4")"), "bad_json");
    EXPECT_EQ(refusal("\"\\"), "bad_json");
    EXPECT_EQ(refusal("\"\\ud800"), "bad_json");
}

TEST(Json, DuplicatesLastWinsAtThePlaceOfTheFirst) {
    const Value v = dbos::parse_json(R"({"b":1,"a":2,"b":3,"c":4,"a":5,"b":6})");
    ASSERT_EQ(v.size(), 3U);
    EXPECT_EQ(v.as_object()[0], (std::pair<std::string, Value>("b", 6)));
    EXPECT_EQ(v.as_object()[1], (std::pair<std::string, Value>("a", 5)));
    EXPECT_EQ(v.as_object()[2], (std::pair<std::string, Value>("c", 4)));
}

TEST(Json, Limits) {
    const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
    EXPECT_EQ(dbos::parse_json(nested(512)).kind(), dbos::Kind::array);
    EXPECT_EQ(refusal(nested(513)), "depth");
    EXPECT_EQ(refusal(std::string(200'000, '[')), "depth");
    EXPECT_EQ(refusal("[1,2,3]", {.limits = {.nodes = 3}}), "limit");
    EXPECT_EQ(refusal("[1,2,3]", {.limits = {.nodes = 4}}), "parsed [1,2,3]");
    EXPECT_EQ(refusal("[1,2,3]", {.limits = {.bytes = 6}}), "limit");
    EXPECT_EQ(refusal("\xEF\xBB\xBF[]"), "bad_json");
    EXPECT_EQ(refusal("\"\xED\xA0\x80\""), "bad_utf8");
    EXPECT_EQ(refusal(std::string_view("[]\0", 3)), "bad_json");
}

TEST(Json, ErrorsNameFormatAndPlace) {
    try {
        (void)dbos::parse_json("{\"a\":tru}", {.format = "portable_json"});
        FAIL();
    } catch (const dbos::DecodeError& error) {
        EXPECT_EQ(error.format(), "portable_json");
        EXPECT_NE(error.found().find("at byte 9"), std::string::npos) << error.what();
        EXPECT_EQ(std::string(error.what()).find("json.exception"), std::string::npos) << error.what();
    }
}

TEST(Json, NumbersAreWrittenShortest) {
    const std::pair<double, const char*> cases[] = {
        {5.0, "5.0"},    {0.1, "0.1"}, {-0.0, "-0.0"},     {1e21, "1e+21"},
        {1e-7, "1e-07"}, {1.5, "1.5"}, {5e-324, "5e-324"}, {1.0 / 3, "0.3333333333333333"}};
    for (const auto& [value, text] : cases) {
        std::string out;
        dbos::append_json_number(out, value);
        EXPECT_EQ(out, text);
        EXPECT_EQ(dbos::parse_json(out), Value(value));
    }
}

TEST(Json, StringsEscapeOnlyWhatTheyMust) {
    std::string out;
    ASSERT_TRUE(dbos::append_json_string(out, std::string_view("a\0\x1f\"\\/\b\f\n\r\t é✓𝄞\x7f", 22)));
    EXPECT_EQ(out, "\"a\\u0000\\u001f\\\"\\\\/\\b\\f\\n\\r\\t é✓𝄞\x7f\"");
    EXPECT_FALSE(dbos::append_json_string(out, "\xFF"));
    EXPECT_FALSE(dbos::append_json_string(out, "\xED\xA0\x80"));
}

}  // namespace
