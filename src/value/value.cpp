#include "dbos/value.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "value/rendering.hpp"

namespace dbos {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr std::size_t kExcerpt = 40;

bool same_number(double a, double b) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
    return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

bool same_members(const Object& a, const Object& b) {
    if (a.size() != b.size()) return false;
    if (std::equal(a.begin(), a.end(), b.begin(),
                   [](const auto& x, const auto& y) { return x.first == y.first && x.second == y.second; })) {
        return true;
    }
    const auto sorted = [](const Object& members) {
        std::vector<const Object::value_type*> order;
        order.reserve(members.size());
        for (const auto& member : members) order.push_back(&member);
        std::stable_sort(order.begin(), order.end(), [](auto* x, auto* y) { return x->first < y->first; });
        return order;
    };
    const auto left = sorted(a);
    const auto right = sorted(b);
    return std::equal(left.begin(), left.end(), right.begin(),
                      [](auto* x, auto* y) { return x->first == y->first && x->second == y->second; });
}

// At most kExcerpt bytes, cut between UTF-8 characters.
std::string excerpt(const std::string& text) {
    if (text.size() <= kExcerpt) return text;
    std::size_t end = kExcerpt;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
    return text.substr(0, end) + "…";
}

[[noreturn]] void wrong_kind(const char* expected, const Value& found) {
    fail_decode(Path(), expected, found);
}

}  // namespace

const char* to_string(Kind kind) noexcept {
    constexpr const char* names[] = {"null",  "boolean",   "integer", "big integer", "number", "string",
                                     "bytes", "timestamp", "array",   "object",      "opaque"};
    return names[static_cast<std::size_t>(kind)];
}

Timestamp Timestamp::from(std::chrono::system_clock::time_point time) noexcept {
    const auto whole = std::chrono::floor<std::chrono::seconds>(time);
    const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(time - whole);
    return {whole.time_since_epoch().count(), static_cast<std::int32_t>(rest.count()), 0};
}

Timestamp Timestamp::from_ms(std::int64_t epoch_ms) noexcept {
    std::int64_t whole = epoch_ms / 1000;
    std::int64_t rest = epoch_ms % 1000;
    if (rest < 0) {
        rest += 1000;
        --whole;
    }
    return {whole, static_cast<std::int32_t>(rest * 1'000'000), 0};
}

std::chrono::system_clock::time_point Timestamp::time_point() const {
    using std::chrono::system_clock;
    constexpr std::int64_t limit = std::numeric_limits<std::int64_t>::max() / kNanosPerSecond - 1;
    if (seconds > limit || seconds < -limit) {
        throw DecodeError("$", "an instant between the years 1678 and 2261",
                          "timestamp " + std::to_string(seconds) + " s");
    }
    return system_clock::time_point(std::chrono::duration_cast<system_clock::duration>(
        std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanos)));
}

Value::Value(Opaque opaque) : data_(std::make_shared<const Opaque>(std::move(opaque))) {}
Value::Value(const Value&) = default;
Value::Value(Value&&) noexcept = default;
Value& Value::operator=(const Value&) = default;
Value& Value::operator=(Value&&) noexcept = default;
Value::~Value() = default;

Value Value::integer(std::string_view decimal) {
    std::string_view digits = decimal;
    const bool negative = !digits.empty() && digits.front() == '-';
    if (negative) digits.remove_prefix(1);
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (digits.empty() || !std::all_of(digits.begin(), digits.end(), is_digit)) {
        throw DecodeError("$", "decimal digits", "\"" + excerpt(std::string(decimal)) + "\"", "bad_number");
    }
    digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size() - 1));
    std::string text = (negative && digits != "0" ? "-" : "") + std::string(digits);
    std::int64_t small = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), small);
    if (error == std::errc() && end == text.data() + text.size()) return small;
    return BigInteger(std::move(text));
}

Value Value::annotated(std::string name, Object members) {
    return Opaque{"", std::move(name), Value(std::move(members))};
}

const Value& Value::plain() const noexcept {
    if (kind() != Kind::opaque) return *this;
    const Opaque& opaque = **std::get_if<std::shared_ptr<const Opaque>>(&data_);
    if (!opaque.module.empty() || opaque.name == "opaque") return *this;
    if (const Value* items = opaque.state.find("items")) return *items;
    // The states of these hold the value itself under "value"; a float's is text where JSON has no form for
    // it.
    if (const Value* value = opaque.state.find("value")) return *value;
    return *this;
}

bool Value::as_bool() const {
    if (const bool* value = std::get_if<bool>(&plain().data_)) return *value;
    wrong_kind("boolean", *this);
}

std::int64_t Value::as_int() const {
    const Value& value = plain();
    if (const auto* integer = std::get_if<std::int64_t>(&value.data_)) return *integer;
    wrong_kind(value.kind() == Kind::big_integer ? "integer of at most 64 bits" : "integer", *this);
}

double Value::as_double() const {
    const Value& value = plain();
    if (const auto* number = std::get_if<double>(&value.data_)) return *number;
    if (const auto* integer = std::get_if<std::int64_t>(&value.data_)) return static_cast<double>(*integer);
    if (const auto* big = std::get_if<BigInteger>(&value.data_)) {
        double number = 0;
        const std::string& text = big->text();
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error == std::errc()) return number;
        wrong_kind("number within the range of a double", *this);
    }
    wrong_kind("number", *this);
}

std::string Value::integer_text() const {
    const Value& value = plain();
    if (const auto* integer = std::get_if<std::int64_t>(&value.data_)) return std::to_string(*integer);
    if (const auto* big = std::get_if<BigInteger>(&value.data_)) return big->text();
    wrong_kind("integer", *this);
}

const std::string& Value::as_string() const {
    if (const auto* text = std::get_if<std::string>(&plain().data_)) return *text;
    wrong_kind("string", *this);
}

const Bytes& Value::as_bytes() const {
    if (const auto* bytes = std::get_if<Bytes>(&plain().data_)) return *bytes;
    wrong_kind("bytes", *this);
}

Timestamp Value::as_timestamp() const {
    if (const auto* time = std::get_if<Timestamp>(&plain().data_)) return *time;
    wrong_kind("timestamp", *this);
}

const Array& Value::as_array() const {
    if (const auto* items = std::get_if<Array>(&plain().data_)) return *items;
    wrong_kind("array", *this);
}

const Object& Value::as_object() const {
    if (const auto* members = std::get_if<Object>(&plain().data_)) return *members;
    wrong_kind("object", *this);
}

const Opaque& Value::as_opaque() const {
    if (const auto* opaque = std::get_if<std::shared_ptr<const Opaque>>(&data_)) return **opaque;
    wrong_kind("opaque value", *this);
}

Array& Value::as_array() {
    if (auto* items = std::get_if<Array>(&data_)) return *items;
    wrong_kind("array", *this);
}

Object& Value::as_object() {
    if (auto* members = std::get_if<Object>(&data_)) return *members;
    wrong_kind("object", *this);
}

const Value* Value::find(std::string_view key) const noexcept {
    const auto* members = std::get_if<Object>(&data_);
    return members == nullptr ? nullptr : detail::find_member(*members, key);
}

const Value& Value::at(std::string_view key) const {
    if (const Value* found = detail::find_member(as_object(), key)) return *found;
    throw DecodeError("$", "a member \"" + std::string(key) + "\"", describe() + " without it");
}

const Value& Value::at(std::size_t index) const {
    const Array& items = as_array();
    if (index < items.size()) return items[index];
    throw DecodeError("$", "an element " + std::to_string(index), describe());
}

Value& Value::set(std::string_view key, Value value) {
    if (is_null()) data_ = Object();
    for (auto& [name, member] : as_object()) {
        if (name == key) return member = std::move(value);
    }
    return as_object().emplace_back(std::string(key), std::move(value)).second;
}

std::size_t Value::size() const noexcept {
    const Value& value = plain();
    if (const auto* items = std::get_if<Array>(&value.data_)) return items->size();
    if (const auto* members = std::get_if<Object>(&value.data_)) return members->size();
    return 0;
}

bool operator==(const Value& a, const Value& b) {
    if (a.data_.index() != b.data_.index()) return false;
    switch (a.kind()) {
        case Kind::number: return same_number(*std::get_if<double>(&a.data_), *std::get_if<double>(&b.data_));
        case Kind::object:
            return same_members(*std::get_if<Object>(&a.data_), *std::get_if<Object>(&b.data_));
        case Kind::opaque: return a.as_opaque() == b.as_opaque();
        default: return a.data_ == b.data_;
    }
}

std::string Value::describe() const {
    switch (kind()) {
        case Kind::null: return "null";
        case Kind::array: return "array of " + std::to_string(size());
        case Kind::object: return "object of " + std::to_string(size());
        case Kind::bytes: return std::to_string(as_bytes().size()) + " bytes";
        case Kind::opaque: {
            const Opaque& opaque = as_opaque();
            return opaque.module.empty() ? "a value of kind " + opaque.name
                                         : "an instance of " + opaque.module + "." + opaque.name;
        }
        case Kind::string: return "string " + render(Value(excerpt(as_string())));
        case Kind::big_integer: return "integer " + excerpt(integer_text());
        default: return std::string(to_string(kind())) + " " + excerpt(render(*this));
    }
}

std::string Value::dump() const { return render(*this); }

}  // namespace dbos
