#include "dbos/value.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <type_traits>

#include "unit/value_printer.hpp"

namespace {

using dbos::Array;
using dbos::Bytes;
using dbos::DecodeError;
using dbos::Kind;
using dbos::Object;
using dbos::Value;

template <class F>
std::string decode_text(F&& call) {
    try {
        call();
    } catch (const DecodeError& error) {
        return error.what();
    }
    return "no error";
}

// A pointer is no value, and never a bool.
static_assert(!std::is_constructible_v<Value, int*>);
static_assert(!std::is_constructible_v<Value, void*>);
static_assert(!std::is_constructible_v<Value, char>);
struct Foreign {};
static_assert(!std::is_constructible_v<Value, Foreign>);
static_assert(std::is_nothrow_move_constructible_v<Value> && std::is_nothrow_move_assignable_v<Value>);

TEST(Value, ConstructorsChooseTheKind) {
    EXPECT_EQ(Value().kind(), Kind::null);
    EXPECT_EQ(Value(nullptr).kind(), Kind::null);
    EXPECT_EQ(Value(true).kind(), Kind::boolean);
    EXPECT_EQ(Value(1).kind(), Kind::integer);
    EXPECT_EQ(Value(0).kind(), Kind::integer);
    EXPECT_EQ(Value(1U).kind(), Kind::integer);
    EXPECT_EQ(Value(static_cast<signed char>(-3)).as_int(), -3);
    EXPECT_EQ(Value(1.5F).kind(), Kind::number);
    EXPECT_EQ(Value("x").kind(), Kind::string);
    EXPECT_EQ(Value(std::string("x")), Value(std::string_view("x")));
    EXPECT_EQ(Value(Bytes{}).kind(), Kind::bytes);
    EXPECT_EQ(Value(dbos::Timestamp{}).kind(), Kind::timestamp);
    EXPECT_EQ(Value(Array{}).kind(), Kind::array);
    EXPECT_EQ(Value(Object{}).kind(), Kind::object);
    EXPECT_EQ(Value(dbos::Opaque{"app", "Task", {}}).kind(), Kind::opaque);
}

TEST(Value, IntegersOfAnySize) {
    EXPECT_EQ(Value(std::numeric_limits<std::uint64_t>::max()).kind(), Kind::big_integer);
    EXPECT_EQ(Value(std::numeric_limits<std::uint64_t>::max()).integer_text(), "18446744073709551615");
    EXPECT_EQ(Value::integer("9223372036854775807"), Value(std::numeric_limits<std::int64_t>::max()));
    EXPECT_EQ(Value::integer("-9223372036854775808"), Value(std::numeric_limits<std::int64_t>::min()));
    EXPECT_EQ(Value::integer("9223372036854775808").kind(), Kind::big_integer);
    EXPECT_EQ(Value::integer("0009223372036854775808").integer_text(), "9223372036854775808");
    EXPECT_EQ(Value::integer("-0"), Value(0));
    EXPECT_EQ(Value::integer("-000000000000000000000000000000001"), Value(-1));
    for (const char* bad : {"", "-", "+1", "1.0", "1e3", " 1", "0x1"}) {
        EXPECT_THROW((void)Value::integer(bad), DecodeError) << bad;
    }
    EXPECT_DOUBLE_EQ(Value::integer("1" + std::string(30, '0')).as_double(), 1e30);
    EXPECT_THROW((void)Value::integer("1" + std::string(400, '0')).as_double(), DecodeError);
    EXPECT_THROW((void)Value::integer("9223372036854775808").as_int(), DecodeError);
}

TEST(Value, AccessorsSayWhatIsThere) {
    EXPECT_EQ(decode_text([] { (void)Value("three").as_int(); }),
              "at $: expected integer, got string \"three\"");
    EXPECT_EQ(decode_text([] { (void)Value(5.5).as_int(); }), "at $: expected integer, got number 5.5");
    EXPECT_EQ(decode_text([] { (void)Value(Array{1, 2}).as_object(); }),
              "at $: expected object, got array of 2");
    EXPECT_EQ(decode_text([] { (void)Value().as_string(); }), "at $: expected string, got null");
    EXPECT_EQ(decode_text([] { (void)Value(Object{{"a", 1}}).at("b"); }),
              "at $: expected a member \"b\", got object of 1 without it");
    EXPECT_EQ(decode_text([] { (void)Value(Array{1}).at(1); }),
              "at $: expected an element 1, got array of 1");
    // Long texts are cut between characters.
    const std::string text = decode_text([] { (void)Value(std::string(39, 'a') + "éééé").as_int(); });
    EXPECT_EQ(text, "at $: expected integer, got string \"" + std::string(39, 'a') + "…\"");
}

TEST(Value, ObjectsKeepOrderAndCompareWithoutIt) {
    Value v = Object{{"b", 1}, {"a", 2}};
    v.set("c", "new");
    v.set("b", 3);
    EXPECT_EQ(v.as_object()[0].first, "b");
    EXPECT_EQ(v.at("b"), Value(3));
    EXPECT_EQ(v.size(), 3U);
    EXPECT_EQ(v, (Value(Object{{"a", 2}, {"c", "new"}, {"b", 3}})));
    EXPECT_NE(v, (Value(Object{{"a", 2}, {"c", "new"}, {"b", 4}})));
    EXPECT_NE(v, (Value(Object{{"a", 2}, {"c", "new"}})));
    EXPECT_EQ(v.find("absent"), nullptr);
    EXPECT_EQ(Value(1).find("absent"), nullptr);
    Value fresh;
    fresh.set("x", 1);
    EXPECT_EQ(fresh, (Value(Object{{"x", 1}})));
}

TEST(Value, NumbersCompareByBits) {
    const double nan = std::nan("");
    EXPECT_EQ(Value(nan), Value(-nan));
    EXPECT_NE(Value(0.0), Value(-0.0));
    EXPECT_NE(Value(1), Value(1.0));
    EXPECT_NE(Value(1), Value(true));
}

TEST(Value, CopiesAreIndependent) {
    Value a = Array{1, Object{{"k", "v"}}};
    Value b = a;
    b.as_array()[1].set("k", "changed");
    EXPECT_EQ(a.at(1).at("k"), Value("v"));
    EXPECT_EQ(b.at(1).at("k"), Value("changed"));
    const Value moved = std::move(b);
    EXPECT_EQ(moved.at(1).at("k"), Value("changed"));
}

TEST(Value, AccessorsLookThroughAnnotations) {
    const Value java_long = Value::annotated("int", {{"value", 5}, {"flavor", "java.lang.Long"}});
    EXPECT_EQ(java_long.kind(), Kind::opaque);
    EXPECT_EQ(java_long.as_int(), 5);
    EXPECT_NE(java_long, Value(5));
    const Value set = Value::annotated("set", {{"items", Array{1, 2}}});
    EXPECT_EQ(set.as_array().size(), 2U);
    EXPECT_EQ(set.size(), 2U);
    const Value task = dbos::Opaque{"app", "Task", Object{{"value", 1}}};
    EXPECT_THROW((void)task.as_int(), DecodeError);
    EXPECT_EQ(decode_text([&] { (void)task.as_int(); }),
              "at $: expected integer, got an instance of app.Task");
}

TEST(Value, DumpShowsEveryKind) {
    const Value v = Object{{"n", nullptr},
                           {"i", Value::integer("9007199254740993")},
                           {"f", 5.0},
                           {"z", -0.0},
                           {"s", "a\"b\n"},
                           {"b", Bytes{std::byte{0}, std::byte{255}}},
                           {"t", dbos::Timestamp{1750000000, 123000000, 7200}},
                           {"o", dbos::Opaque{"app.jobs", "Task", Object{{"state", Object{{"id", 1}}}}}}};
    EXPECT_EQ(
        v.dump(),
        R"({"n":null,"i":{"$type":"int","value":"9007199254740993"},"f":5.0,"z":{"$type":"float","value":"-0"},)"
        R"("s":"a\"b\n","b":{"$type":"bytes","base64":"AP8="},)"
        R"("t":{"$type":"datetime","local":"2025-06-15T17:06:40.123","offset_seconds":7200},)"
        R"("o":{"$type":"opaque","class":"app.jobs.Task","state":{"id":1}}})");
    EXPECT_EQ(Value("\xFF").dump(), R"({"$type":"str","wtf8_base64":"/w=="})");
    EXPECT_EQ(Value(Object{{"$type", 1}}).dump(), R"({"$type":"map","entries":[["$type",1]]})");
}

TEST(Timestamp, FloorsBeforeTheEpoch) {
    EXPECT_EQ(dbos::Timestamp::from_ms(-1), (dbos::Timestamp{-1, 999'000'000, 0}));
    EXPECT_EQ(dbos::Timestamp::from_ms(-1).epoch_ms(), -1);
    EXPECT_EQ(dbos::Timestamp::from_ms(1'750'000'000'123).epoch_ms(), 1'750'000'000'123);
    const std::chrono::system_clock::time_point t{std::chrono::nanoseconds(-1)};
    EXPECT_EQ(dbos::Timestamp::from(t), (dbos::Timestamp{-1, 999'999'999, 0}));
    EXPECT_EQ(dbos::Timestamp::from(t).time_point(), t);
    EXPECT_THROW((void)(dbos::Timestamp{1'000'000'000'000, 0, 0}.time_point()), DecodeError);
}

}  // namespace
