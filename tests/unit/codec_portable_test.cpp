#include <gtest/gtest.h>

#include <cmath>

#include "codec/portable_json.hpp"
#include "dbos/codec.hpp"
#include "unit/value_printer.hpp"

namespace {

using dbos::Array;
using dbos::Object;
using dbos::PortableJson;
using dbos::Value;

std::string refusal(const Value& value, const PortableJson& format = PortableJson()) {
    try {
        return "encoded " + format.encode(value);
    } catch (const dbos::EncodeError& error) {
        return error.what();
    }
}

TEST(PortableJson, IntegersAreExactUnlessToldOtherwise) {
    const PortableJson exact;
    for (const char* text : {"9007199254740993", "-9223372036854775808", "123456789012345678901234567890"}) {
        EXPECT_EQ(exact.encode(Value::integer(text)), text);
        EXPECT_EQ(exact.decode(text), Value::integer(text));
    }
    const PortableJson strict({.refuse_unsafe_integers = true});
    EXPECT_EQ(strict.encode(9007199254740991), "9007199254740991");
    EXPECT_EQ(refusal(Object{{"n", Array{9007199254740992}}}, strict),
              "at $.n[0]: an integer beyond 2^53 - 1 would be rounded by TypeScript, and "
              "refuse_unsafe_integers is set (format "
              "portable_json)");
    EXPECT_NE(refusal(Value::integer(std::string(4301, '1'))).find("4300 digits"), std::string::npos);
}

TEST(PortableJson, Times) {
    const PortableJson format;
    EXPECT_EQ(format.encode(dbos::Timestamp{1'750'000'000, 0, 0}), "\"2025-06-15T15:06:40.000Z\"");
    EXPECT_EQ(format.encode(dbos::Timestamp{1'750'000'000, 123'000'000, 7200}),
              "\"2025-06-15T15:06:40.123Z\"");
    EXPECT_EQ(format.encode(dbos::Timestamp{1'750'000'000, 123'456'000, 0}),
              "\"2025-06-15T15:06:40.123456Z\"");
    EXPECT_EQ(format.encode(dbos::Timestamp{1'750'000'000, 1, 0}), "\"2025-06-15T15:06:40.000000001Z\"");
    const std::chrono::system_clock::time_point now{std::chrono::nanoseconds(1'750'000'000'123'456'789)};
    EXPECT_EQ(dbos::from_value<std::chrono::system_clock::time_point>(
                  format.decode(format.encode(dbos::to_value(now)))),
              now);
}

TEST(PortableJson, KindsWithoutAForm) {
    EXPECT_EQ(refusal(Array{1, std::nan("")}),
              "at $[1]: NaN and infinities have no form in JSON (format portable_json)");
    EXPECT_EQ(refusal(dbos::Bytes{}),
              "at $: bytes have no form in JSON: send base64 text in a std::string (format portable_json)");
    EXPECT_EQ(refusal("\xFF"),
              "at $: a string is not valid UTF-8: send bytes as base64 text (format portable_json)");
    EXPECT_EQ(refusal(Object{{"\xED\xA0\x80", 1}}).substr(0, 2), "at");
    EXPECT_EQ(refusal(dbos::Opaque{"app", "Task", {}}),
              "at $: an instance of app.Task has no form in JSON (format portable_json)");
    EXPECT_EQ(refusal(Value::annotated("set", {{"items", Array{1}}})), "encoded [1]");
    EXPECT_EQ(refusal(Value::annotated("int", {{"value", 5}, {"flavor", "java.lang.Long"}})), "encoded 5");
    EXPECT_EQ(refusal(Value::annotated("decimal", {{"value", "1.10"}})), "encoded \"1.10\"");
    EXPECT_EQ(refusal(Value::annotated("map", {{"entries", Array{Value(Array{"a", 1})}}})),
              "encoded {\"a\":1}");
}

TEST(PortableJson, LimitsHoldBothWays) {
    const auto nested = [](int depth) {
        Value value = 1;
        for (int i = 0; i < depth; ++i) {
            Array outer;
            outer.push_back(std::move(value));
            value = std::move(outer);
        }
        return value;
    };
    const PortableJson format;
    EXPECT_EQ(format.decode(format.encode(nested(512))), nested(512));
    EXPECT_THROW((void)format.encode(nested(513)), dbos::EncodeError);
    // Whatever is written can be read: the envelope of the arguments counts.
    const dbos::Arguments deepest{{nested(510)}, {}};
    EXPECT_EQ(format.decode_inputs(format.encode_inputs(deepest)), deepest);
    EXPECT_THROW((void)format.encode_inputs({{nested(511)}, {}}), dbos::EncodeError);
    const PortableJson small({}, {.bytes = 10, .nodes = 3});
    EXPECT_THROW((void)small.encode("0123456789"), dbos::EncodeError);
    EXPECT_EQ(small.encode("01234567"), "\"01234567\"");
    EXPECT_THROW((void)small.encode(Array{1, 2, 3}), dbos::EncodeError);
    EXPECT_THROW((void)small.decode("[1,2,3]"), dbos::DecodeError);
}

TEST(PortableJson, ErrorsKeepWhatTheyHave) {
    const PortableJson format;
    dbos::Failure failure;
    failure.type_name = "ValueError";
    EXPECT_EQ(format.encode_error(failure), R"({"name":"ValueError","message":""})");
    failure.code = "E1";
    failure.data = Object{{"k", 1}};
    const std::string text = format.encode_error(failure);
    EXPECT_EQ(text, R"({"name":"ValueError","message":"","code":"E1","data":{"k":1}})");
    dbos::Failure back = format.decode_error(text);
    EXPECT_EQ(back.raw, text);
    EXPECT_EQ(back.format, "portable_json");
    back.raw.clear();
    back.format.clear();
    EXPECT_EQ(back, failure);
}

TEST(ReadFailure, FallsBackToTheShapeThenToTheText) {
    const dbos::Serializer* portable = dbos::find_serializer("portable_json");
    EXPECT_EQ(dbos::read_failure(R"({"name":"E","message":"m"})", portable).type_name, "E");
    EXPECT_EQ(dbos::read_failure(R"({"name":"E","message":"m"})", nullptr).message, "m");
    for (const char* text : {"plain text", "[1]", "\"quoted\"", "{\"a\":1}", ""}) {
        const dbos::Failure failure = dbos::read_failure(text, nullptr);
        EXPECT_EQ(failure.type_name, "error") << text;
        EXPECT_EQ(failure.message, text);
        EXPECT_EQ(failure.raw, text);
    }
}

}  // namespace
