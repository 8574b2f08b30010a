// The stored formats on their golden vectors.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "dbos/codec.hpp"
#include "dbos/serializer.hpp"
#include "support/vectors.hpp"
#include "value/json.hpp"
#include "value/rendering.hpp"
#include "value/text.hpp"

namespace {

using dbos::Array;
using dbos::Object;
using dbos::Value;
using dbos::test::load;
using dbos::test::text_of;

std::string stored(const Value& vector) {
    if (vector.find("stored_base64") != nullptr) return *dbos::from_base64(text_of(vector, "stored_base64"));
    return text_of(vector, "stored");
}

Value failure_value(const dbos::Failure& failure) {
    Object members{{"name", failure.type_name}, {"message", failure.message}};
    if (!failure.code.is_null()) members.emplace_back("code", failure.code);
    if (!failure.data.is_null()) members.emplace_back("data", failure.data);
    return Value::annotated("error", std::move(members));
}

Value decode(const dbos::Serializer& format, const std::string& kind, const std::string& text) {
    if (kind == "inputs") {
        dbos::Arguments arguments = format.decode_inputs(text);
        return Object{{"positional", std::move(arguments.positional)}, {"named", std::move(arguments.named)}};
    }
    if (kind == "error") return failure_value(format.decode_error(text));
    return format.decode(text);
}

std::string encode(const dbos::Serializer& format, const std::string& kind, const Value& value) {
    if (kind == "inputs") {
        return format.encode_inputs({value.at("positional").as_array(), value.at("named").as_object()});
    }
    if (kind == "error") {
        const Value& state = value.as_opaque().state;
        dbos::Failure failure;
        failure.type_name = state.at("name").as_string();
        failure.message = state.at("message").as_string();
        if (const Value* code = state.find("code")) {
            if (code->kind() == dbos::Kind::integer) failure.code = code->as_int();
            if (code->kind() == dbos::Kind::string) failure.code = code->as_string();
        }
        if (const Value* data = state.find("data")) failure.data = *data;
        return format.encode_error(failure);
    }
    return format.encode(value);
}

TEST(PortableVectors, EveryVectorDecodes) {
    std::size_t count = 0;
    const dbos::Serializer* format = dbos::find_serializer("portable_json");
    ASSERT_NE(format, nullptr);
    for (const Value& vector : load("portable_json.json")) {
        const std::string kind = text_of(vector, "kind");
        SCOPED_TRACE("vector " + text_of(vector, "name"));
        ++count;
        try {
            Value value = decode(*format, kind, stored(vector));
            if (kind == "authenticated_roles" && value.is_null()) value = Array();
            const Value expected = dbos::from_rendering(vector.at("value"));
            EXPECT_EQ(value, expected) << value.dump() << "\nexpected " << expected.dump();
            // The rendering itself: what the vectors hold comes back from it.
            EXPECT_EQ(dbos::parse_json(dbos::render(value)), vector.at("value"));
        } catch (const std::exception& error) {
            ADD_FAILURE() << error.what();
        }
    }
    EXPECT_GE(count, 100U);
}

TEST(PortableVectors, TwoWayVectorsEncode) {
    std::size_t count = 0;
    const dbos::Serializer* format = dbos::find_serializer("portable_json");
    for (const Value& vector : load("portable_json.json")) {
        if (text_of(vector, "direction") != "both") continue;
        const std::string kind = text_of(vector, "kind");
        SCOPED_TRACE("vector " + text_of(vector, "name"));
        ++count;
        const Value value = dbos::from_rendering(vector.at("value"));
        const std::string text = encode(*format, kind, value);
        EXPECT_EQ(nlohmann::json::parse(text), nlohmann::json::parse(text_of(vector, "encoded"))) << text;
        EXPECT_EQ(text, text_of(vector, "encoded"));
        EXPECT_EQ(decode(*format, kind, text), value);
    }
    EXPECT_GE(count, 19U);
}

bool allowed(const Value& expect, const std::string& refusal) {
    if (const Value* one = expect.find("refuse")) {
        if (one->as_string() == refusal) return true;
    }
    if (const Value* several = expect.find("or")) {
        for (const Value& other : several->as_array()) {
            if (other.kind() == dbos::Kind::string && other.as_string() == refusal) return true;
        }
    }
    return false;
}

Value subject(const Value& vector) {
    if (vector.find("value_recipe") == nullptr) return dbos::from_rendering(vector.at("value"));
    // The only recipe of this format: the integer 1 inside 600 nested lists.
    Value value = 1;
    for (int i = 0; i < 600; ++i) {
        Array outer;
        outer.push_back(std::move(value));
        value = std::move(outer);
    }
    return value;
}

TEST(PortableVectors, InvalidOnesAreRefused) {
    // The vectors refuse what any SDK would round; so does this serializer if it is told to.
    const auto strict =
        dbos::serializers::portable_json({.refuse_unsafe_integers = true, .refuse_sub_millisecond = true});
    std::size_t count = 0;
    for (const Value& vector : load("invalid.json")) {
        if (text_of(vector, "serialization") != "portable_json") continue;
        ++count;
        SCOPED_TRACE("vector " + text_of(vector, "name"));
        const std::string kind = text_of(vector, "kind");
        const bool encoding = text_of(vector, "direction") == "encode";
        try {
            if (encoding) {
                ADD_FAILURE() << "encoded as " << encode(*strict, kind, subject(vector));
            } else {
                ADD_FAILURE() << "decoded as " << decode(*strict, kind, stored(vector)).dump();
            }
        } catch (const dbos::DecodeError& error) {
            EXPECT_FALSE(encoding);
            EXPECT_TRUE(allowed(vector.at("expect"), error.refusal()))
                << error.refusal() << ": " << error.what();
        } catch (const dbos::EncodeError& error) {
            EXPECT_TRUE(encoding);
            EXPECT_TRUE(allowed(vector.at("expect"), "cannot_encode")) << error.what();
        }
    }
    EXPECT_GE(count, 30U);
}

TEST(PortableVectors, UnknownNamesHaveNoSerializer) {
    for (const char* name :
         {"custom_serializer", "js_legacy", "Portable_JSON", "portable_json ", "", "DBOS_GOB"}) {
        EXPECT_EQ(dbos::find_serializer(name), nullptr) << name;
    }
}

// Every rendering of every format's vectors survives Value: the other formats are tested against the same correspondence.
TEST(Rendering, AllVectorsSurvive) {
    for (const char* file : {"portable_json.json", "py_pickle.json", "js_superjson.json", "dbos_json.json",
                             "java_jackson.json"}) {
        for (const Value& vector : load(file)) {
            SCOPED_TRACE(std::string(file) + " vector " + text_of(vector, "name"));
            const Value value = dbos::from_rendering(vector.at("value"));
            EXPECT_EQ(dbos::parse_json(dbos::render(value)), vector.at("value")) << dbos::render(value);
            EXPECT_EQ(dbos::from_rendering(dbos::parse_json(dbos::render(value))), value);
        }
    }
}

}  // namespace
