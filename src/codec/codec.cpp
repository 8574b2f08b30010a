#include "dbos/codec.hpp"

#include <cmath>
#include <cstring>

#include "value/text.hpp"
#include "value/time_text.hpp"

namespace dbos {
namespace {

// The state of an annotation of this name; nullptr for other values.
const Value* annotation(const Value& value, std::string_view name) {
    if (value.kind() != Kind::opaque) return nullptr;
    const Opaque& opaque = value.as_opaque();
    return opaque.module.empty() && opaque.name == name ? &opaque.state : nullptr;
}

}  // namespace

namespace detail {

bool decode_bool(const Value& value, const Path& path) {
    const Value& plain = value.plain();
    if (plain.kind() != Kind::boolean) fail_decode(path, "boolean", value);
    return plain.as_bool();
}

std::int64_t decode_int(const Value& value, const Path& path, std::int64_t low, std::int64_t high) {
    const Value& plain = value.plain();
    if (plain.kind() == Kind::integer) {
        const std::int64_t integer = plain.as_int();
        if (integer >= low && integer <= high) return integer;
    } else if (plain.kind() != Kind::big_integer) {
        fail_decode(path, "integer", value);
    }
    fail_decode(path, "integer from " + std::to_string(low) + " to " + std::to_string(high), value);
}

std::uint64_t decode_unsigned(const Value& value, const Path& path, std::uint64_t high) {
    const Value& plain = value.plain();
    if (plain.kind() == Kind::integer) {
        const std::int64_t integer = plain.as_int();
        if (integer >= 0 && static_cast<std::uint64_t>(integer) <= high)
            return static_cast<std::uint64_t>(integer);
    } else if (plain.kind() == Kind::big_integer) {
        const std::string text = plain.integer_text();
        // Texts of one length compare as numbers; a 64-bit maximum has 20 digits.
        const std::string limit = std::to_string(high);
        if (text.front() != '-' &&
            (text.size() < limit.size() || (text.size() == limit.size() && text <= limit))) {
            return std::stoull(text);
        }
    } else {
        fail_decode(path, "integer", value);
    }
    fail_decode(path, "integer from 0 to " + std::to_string(high), value);
}

double decode_double(const Value& value, const Path& path) {
    const Value& plain = value.plain();
    switch (plain.kind()) {
        case Kind::number:
        case Kind::integer: return plain.as_double();
        case Kind::big_integer: try { return plain.as_double();
            } catch (const DecodeError& error) {
                fail_decode(path, error.expected(), value);
            }
        default: fail_decode(path, "number", value);
    }
}

float decode_float(const Value& value, const Path& path) {
    const double number = decode_double(value, path);
    const auto narrow = static_cast<float>(number);
    if (std::isfinite(number) && !std::isfinite(narrow))
        fail_decode(path, "number within the range of a float", value);
    return narrow;
}

const std::string& decode_string(const Value& value, const Path& path) {
    const Value& plain = value.plain();
    if (plain.kind() != Kind::string) fail_decode(path, "string", value);
    return plain.as_string();
}

Bytes decode_bytes(const Value& value, const Path& path) {
    const Value& plain = value.plain();
    if (plain.kind() == Kind::bytes) return plain.as_bytes();
    if (plain.kind() == Kind::string) {
        if (const auto raw = from_base64(plain.as_string())) {
            Bytes bytes(raw->size());
            if (!raw->empty()) std::memcpy(bytes.data(), raw->data(), raw->size());
            return bytes;
        }
    }
    fail_decode(path, "bytes or base64 text", value);
}

Timestamp decode_timestamp(const Value& value, const Path& path) {
    const Value& plain = value.plain();
    if (plain.kind() == Kind::timestamp) return plain.as_timestamp();
    if (plain.kind() == Kind::string) {
        if (const auto time = parse_rfc3339(plain.as_string())) return *time;
    }
    fail_decode(path, "timestamp or RFC 3339 text", value);
}

std::chrono::system_clock::time_point decode_time(const Value& value, const Path& path) {
    const Timestamp time = decode_timestamp(value, path);
    try {
        return time.time_point();
    } catch (const DecodeError& error) {
        fail_decode(path, error.expected(), value);
    }
}

const Array& decode_array(const Value& value, const Path& path) {
    const Value& plain = value.plain();
    if (plain.kind() != Kind::array) fail_decode(path, "array", value);
    return plain.as_array();
}

const Array& decode_array(const Value& value, const Path& path, std::size_t size) {
    const Value& plain = value.plain();
    if (plain.kind() != Kind::array || plain.as_array().size() != size) {
        fail_decode(path, "array of " + std::to_string(size), value);
    }
    return plain.as_array();
}

const Object& decode_object(const Value& value, const Path& path, Object& scratch) {
    const Value& plain = value.plain();
    if (plain.kind() == Kind::object) return plain.as_object();
    // A JavaScript Map, a Python OrderedDict: pairs, whose keys may all be texts.
    const Value* map = annotation(value, "map");
    const Value* entries = map != nullptr ? map->find("entries") : nullptr;
    if (entries == nullptr || entries->kind() != Kind::array) fail_decode(path, "object", value);
    for (const Value& entry : entries->as_array()) {
        if (entry.kind() != Kind::array || entry.size() != 2) fail_decode(path, "object", value);
        const Value& key = entry.at(std::size_t{0}).plain();
        if (key.kind() != Kind::string) fail_decode(path, "object with text keys", value);
        scratch.emplace_back(key.as_string(), entry.at(1));
    }
    return scratch;
}

double decode_seconds(const Value& value, const Path& path) {
    if (const Value* state = annotation(value, "duration")) {
        const auto part = [&](std::string_view name) {
            const Value* found = state->find(name);
            return found != nullptr ? found->as_double() : 0.0;
        };
        return part("days") * 86400.0 + part("seconds") + part("nanos") / 1e9;
    }
    const Value& plain = value.plain();
    if (plain.kind() != Kind::number && plain.kind() != Kind::integer)
        fail_decode(path, "a number of seconds", value);
    return plain.as_double();
}

void add_member(Object& members, const char* name, Value value) {
    members.emplace_back(name, std::move(value));
}

void add_enumerator(std::string& names, const char* name) {
    names += (names.empty() ? " \"" : ", \"") + std::string(name) + "\"";
}

void fail_enumerator(const Path& path, const std::string& names, const Value& found) {
    fail_decode(path, "one of" + names, found);
}

void fail_unknown_enumerator(long long value) {
    throw EncodeError("$", "the enum value " + std::to_string(value) +
                               " has no name in its DBOS_ENUM: add the enumerator there");
}

void add_reason(std::string& reasons, const DecodeError& error) {
    reasons += std::string(" [") + error.what() + "]";
}

void fail_variant(const Path& path, const std::string& reasons) {
    fail_decode(path, "one of the variant's alternatives", "a value that fits none:" + reasons);
}

void fail_ambiguous_variant(std::size_t held, std::size_t earlier) {
    throw EncodeError(
        "$",
        "the variant holds alternative " + std::to_string(held) + ", but alternative " +
            std::to_string(earlier) +
            " would be read back: order the alternatives from the strictest to the loosest, or give them "
            "members that differ");
}

void fail_duration() {
    throw EncodeError("$",
                      "the duration does not survive as a number of seconds: use a type of coarser ticks "
                      "(milliseconds, seconds)");
}

double round_to_integer(double value) noexcept { return std::round(value); }

void add_named(Arguments& arguments, Named argument) {
    if (argument.name.empty())
        throw UsageError("a named argument has an empty name: write dbos::named(\"name\", value)");
    if (find_member(arguments.named, argument.name) != nullptr) {
        throw UsageError("the argument \"" + argument.name + "\" is named twice in one call");
    }
    arguments.named.emplace_back(std::move(argument.name), std::move(argument.value));
}

}  // namespace detail
Value Codec<Bytes>::encode(const Bytes& value) { return value; }
Value Codec<Object>::encode(const Object& value) { return value; }
Object Codec<Object>::decode(const Value& value, const Path& path) {
    Object scratch;
    return detail::decode_object(value, path, scratch);
}

}  // namespace dbos
