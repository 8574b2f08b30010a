// The contexts of schedules in the forms of other SDKs, on the golden vectors of Python's pickle.
#include <gtest/gtest.h>

#include "codec/plain_pickle.hpp"
#include "codec/schedule_context.hpp"
#include "dbos/error.hpp"
#include "dbos/serializer.hpp"
#include "support/vectors.hpp"
#include "value/rendering.hpp"

namespace {

using dbos::Array;
using dbos::Object;
using dbos::ScheduleStyle;
using dbos::Value;
using dbos::test::load;
using dbos::test::text_of;

/// No form beyond JSON in it.
bool plain(const Value& rendering) {
    if (rendering.kind() == dbos::Kind::array) {
        for (const Value& item : rendering.as_array()) {
            if (!plain(item)) return false;
        }
    } else if (rendering.kind() == dbos::Kind::object) {
        for (const auto& [key, item] : rendering.as_object()) {
            if (key == "$type" || !plain(item)) return false;
        }
    }
    return rendering.kind() != dbos::Kind::big_integer;
}

TEST(PlainPickle, ReadsAndWritesAsPythonDoes) {
    std::size_t read = 0;
    std::size_t written = 0;
    for (const Value& vector : load("py_pickle.json")) {
        const std::string kind = text_of(vector, "kind");
        if (kind == "inputs" || kind == "error" || !plain(vector.at("value"))) continue;
        SCOPED_TRACE("vector " + text_of(vector, "name"));
        const Value expected = dbos::from_rendering(vector.at("value"));
        try {
            EXPECT_EQ(dbos::read_plain_pickle(text_of(vector, "stored")), expected);
            ++read;
        } catch (const dbos::DecodeError& error) {  // beyond what it promises, and refused as such
            EXPECT_TRUE(error.refusal() == "bad_opcode" || error.refusal() == "bad_memo") << error.what();
        }
        if (vector.find("encoded") == nullptr) continue;
        const std::string text = dbos::write_plain_pickle(expected);
        EXPECT_TRUE(text == text_of(vector, "encoded")) << text.substr(0, 200);
        EXPECT_EQ(dbos::read_plain_pickle(text), expected);
        ++written;
    }
    EXPECT_GE(read, 20U);
    EXPECT_GE(written, 10U);
}

TEST(PlainPickle, RefusesWhatIsInvalid) {
    std::size_t count = 0;
    for (const Value& vector : load("invalid.json")) {
        const std::string kind = text_of(vector, "kind");
        if (text_of(vector, "serialization") != "py_pickle" || kind == "inputs" || kind == "error") continue;
        if (text_of(vector, "direction") != "decode" || vector.find("stored") == nullptr) continue;
        if (text_of(vector, "name") == "pickle_append_to_tuple") continue;  // a tuple is a list here
        SCOPED_TRACE("vector " + text_of(vector, "name"));
        EXPECT_THROW(dbos::read_plain_pickle(text_of(vector, "stored")), dbos::DecodeError);
        ++count;
    }
    EXPECT_GE(count, 50U);
}

TEST(PlainPickle, RefusesWhatIsNotOfJson) {
    EXPECT_THROW(dbos::write_plain_pickle(dbos::Bytes()), dbos::EncodeError);
    EXPECT_THROW(dbos::write_plain_pickle(Array{Value::integer("123456789012345678901")}), dbos::EncodeError);
    EXPECT_THROW(dbos::write_plain_pickle("\xff"), dbos::EncodeError);
    Value deep = 1;
    for (int i = 0; i < 600; ++i) {
        Array outer;
        outer.push_back(std::move(deep));
        deep = std::move(outer);
    }
    EXPECT_THROW(dbos::write_plain_pickle(deep), dbos::EncodeError);
    for (const std::int64_t edge :
         {INT64_MIN, INT64_MIN + 1, std::int64_t{-2147483649}, std::int64_t{-2147483648}, std::int64_t{-1},
          std::int64_t{255}, std::int64_t{256}, std::int64_t{65536}, std::int64_t{2147483648},
          std::int64_t{549755813887}, std::int64_t{549755813888}, INT64_MAX})
        EXPECT_EQ(dbos::read_plain_pickle(dbos::write_plain_pickle(edge)), Value(edge));
}

TEST(ScheduleContext, IsWrittenAsItsApplicationReadsIt) {
    const dbos::Serializer& own = *dbos::find_serializer("portable_json");
    const Value context = Object{{"region", "eu"}, {"limit", 10}};
    const auto write = [&](const Value& value, ScheduleStyle style) {
        return dbos::write_schedule_context(value, style, own);
    };
    EXPECT_EQ(write({}, ScheduleStyle::python), "gAROLg==");
    EXPECT_EQ(write(Object{{"region", "eu"}}, ScheduleStyle::python), "gAR9jAZyZWdpb26MAmV1cy4=");
    EXPECT_EQ(write(context, ScheduleStyle::typescript),
              R"({"json":{"region":"eu","limit":10},"__dbos_serializer":"superjson"})");
    EXPECT_EQ(write(context, ScheduleStyle::go), R"({"region":"eu","limit":10})");
    EXPECT_EQ(write(context, ScheduleStyle::cpp), R"({"region":"eu","limit":10})");
    EXPECT_THROW(write(std::int64_t{1} << 60, ScheduleStyle::typescript), dbos::EncodeError);
    for (const ScheduleStyle style :
         {ScheduleStyle::cpp, ScheduleStyle::python, ScheduleStyle::typescript, ScheduleStyle::go})
        EXPECT_EQ(dbos::read_schedule_context(write(context, style), own), context);
}

TEST(ScheduleContext, OfOthersIsRecognised) {
    const dbos::Serializer& own = *dbos::find_serializer("portable_json");
    const auto read = [&](const char* text) { return dbos::read_schedule_context(text, own); };
    EXPECT_EQ(read("gASVEgAAAAAAAAB9lIwGcmVnaW9ulIwCZXWUcy4="), (Value(Object{{"region", "eu"}})));
    EXPECT_EQ(read("gAVOLg=="), Value());
    EXPECT_EQ(read(R"({"json":null,"meta":{"values":["undefined"]},"__dbos_serializer":"superjson"})"),
              Value());
    EXPECT_EQ(read(R"({"__dbos_serializer":"mine"})"), (Value(Object{{"__dbos_serializer", "mine"}})));
    EXPECT_THROW(read(R"({"json":"2026-01-01","meta":{"values":["Date"]},"__dbos_serializer":"superjson"})"),
                 dbos::DecodeError);
    EXPECT_THROW(read("gA"), dbos::DecodeError);
}

}  // namespace
