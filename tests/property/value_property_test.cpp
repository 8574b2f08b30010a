// Random values survive every way there and back. RC_PARAMS="seed=…" repeats a run.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <bit>
#include <cmath>

#include "dbos/codec.hpp"
#include "dbos/serializer.hpp"
#include "value/json.hpp"
#include "value/rendering.hpp"
#include "value/text.hpp"
#include "value/time_text.hpp"

namespace {

using dbos::Array;
using dbos::Object;
using dbos::Value;

std::string text() {
    std::string result;
    for (const std::uint32_t raw :
         *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::arbitrary<std::uint32_t>())) {
        // Controls, the marks of the JSON scanner, the ends of the UTF-8 lengths, else anything but surrogates.
        constexpr std::uint32_t corners[] = {0,     0x1F,  '"',    '\\',   0x7F,    0x80,
                                             0x7FF, 0x800, 0xFDD0, 0xFFFF, 0x10000, 0x10FFFF};
        std::uint32_t code = raw % 3 == 0 ? corners[raw / 3 % std::size(corners)] : raw % 0x110000;
        if (code >= 0xD800 && code <= 0xDFFF) code = '/';
        dbos::append_utf8(result, code);
    }
    return result;
}

Value scalar(bool portable) {
    switch (*rc::gen::inRange(0, portable ? 6 : 9)) {
        case 0: return nullptr;
        case 1: return *rc::gen::arbitrary<bool>();
        case 2: return *rc::gen::arbitrary<std::int64_t>();
        case 3: {
            std::string digits(static_cast<std::size_t>(*rc::gen::inRange(1, 400)), '0');
            for (char& digit : digits) digit = static_cast<char>(*rc::gen::inRange<int>('0', '9' + 1));
            return Value::integer((*rc::gen::arbitrary<bool>() ? "-" : "") + digits);
        }
        case 4: {
            const auto bits = *rc::gen::arbitrary<std::uint64_t>();
            const auto number = std::bit_cast<double>(bits);
            return std::isfinite(number) ? number : *rc::gen::arbitrary<double>();
        }
        case 5: return text();
        case 6: {
            dbos::Bytes bytes;
            for (const auto byte : *rc::gen::arbitrary<std::vector<std::uint8_t>>())
                bytes.push_back(std::byte{byte});
            return bytes;
        }
        case 7:
            return dbos::Timestamp{*rc::gen::inRange<std::int64_t>(-60'000'000'000, 200'000'000'000),
                                   *rc::gen::inRange(0, 1'000'000'000), 60 * *rc::gen::inRange(-1439, 1440)};
        default: return std::nan("");
    }
}

Value tree(int depth, bool portable) {
    const int shape = depth <= 0 ? 0 : *rc::gen::inRange(0, 4);
    if (shape <= 1) return scalar(portable);
    const int size = *rc::gen::inRange(0, 5);
    if (shape == 2) {
        Array items;
        for (int i = 0; i < size; ++i) items.push_back(tree(depth - 1, portable));
        return items;
    }
    Value members = Object();
    for (int i = 0; i < size; ++i) members.set(text(), tree(depth - 1, portable));
    return members;
}

template <class F>
void check(const char* name, F&& property) {
    EXPECT_TRUE(rc::check(name, std::forward<F>(property)));
}

TEST(ValueProperty, PortableJsonRoundTrip) {
    const auto format = dbos::serializers::portable_json();
    check("decode(encode(v)) == v", [&] {
        const Value value = tree(4, true);
        RC_ASSERT(format->decode(format->encode(value)) == value);
        const dbos::Arguments arguments{{value, nullptr}, {{"n", value}}};
        RC_ASSERT(format->decode_inputs(format->encode_inputs(arguments)) == arguments);
        dbos::Failure failure;
        failure.type_name = text();
        failure.message = text();
        failure.data = value;
        dbos::Failure back = format->decode_error(format->encode_error(failure));
        back.raw.clear();
        back.format.clear();
        RC_ASSERT(back == failure);
    });
}

TEST(ValueProperty, RenderingRoundTrip) {
    check("from_rendering(render(v)) == v", [] {
        const Value value = tree(4, false);
        const Value back = dbos::from_rendering(dbos::parse_json(dbos::render(value)));
        RC_ASSERT(back == value);
    });
}

TEST(ValueProperty, Base64AndTimesRoundTrip) {
    check("from_base64(to_base64(bytes)) == bytes",
          [](const std::string& bytes) { RC_ASSERT(dbos::from_base64(dbos::to_base64(bytes)) == bytes); });
    check("parse(format(t)) == t", [] {
        dbos::Timestamp time{*rc::gen::inRange<std::int64_t>(-8'640'000'000'000, 8'640'000'000'000),
                             *rc::gen::inRange(0, 1'000'000'000), 0};
        RC_ASSERT(dbos::parse_rfc3339(dbos::format_utc(time, 9)) == time);
    });
}

TEST(ValueProperty, ParserRefusesOrParsesWhateverItGets) {
    check("mutated JSON never crashes, and what parses is written and parsed to the same", [] {
        std::string bytes = dbos::render(tree(3, true));
        for (const auto& [at, by] : *rc::gen::arbitrary<std::vector<std::pair<std::size_t, char>>>()) {
            if (!bytes.empty()) bytes[at % bytes.size()] = by;
        }
        try {
            const Value value = dbos::parse_json(bytes, {.nonfinite = true});
            const auto format = dbos::serializers::portable_json();
            std::string again;
            try {
                again = format->encode(value);
            } catch (const dbos::EncodeError&) {
                return;  // NaN or a lone surrogate
            }
            RC_ASSERT(format->decode(again) == value);
        } catch (const dbos::DecodeError&) {
        }
    });
}

}  // namespace
