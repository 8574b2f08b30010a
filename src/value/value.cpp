#include "dbos/value.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <new>
#include <numeric>
#include <variant>

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
        std::vector<std::size_t> order(members.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::sort(order.begin(), order.end(), [&members](std::size_t x, std::size_t y) {
            const int names = members[x].first.compare(members[y].first);
            return names != 0 ? names < 0 : x < y;
        });
        return order;
    };
    const std::vector<std::size_t> left = sorted(a);
    const std::vector<std::size_t> right = sorted(b);
    return std::equal(left.begin(), left.end(), right.begin(), [&a, &b](std::size_t x, std::size_t y) {
        return a[x].first == b[y].first && a[x].second == b[y].second;
    });
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

// The annotation's shared_ptr is immutable, so copies may share it.
namespace {
using Variant = std::variant<std::monostate, bool, std::int64_t, BigInteger, double, std::string, Bytes,
                             Timestamp, Array, Object, std::shared_ptr<const Opaque>>;
}
struct Value::Data : Variant {
    using Variant::Variant;
};

Value::Data& Value::data() noexcept { return *std::launder(reinterpret_cast<Data*>(storage_)); }
const Value::Data& Value::data() const noexcept {
    return *std::launder(reinterpret_cast<const Data*>(storage_));
}

Value::Value() noexcept {
    static_assert(sizeof(Data) <= sizeof storage_ && alignof(Data) <= alignof(std::max_align_t));
    ::new (storage_) Data();
}
Value::Value(const char* text) { ::new (storage_) Data(std::string(text)); }
Value::Value(std::string_view text) { ::new (storage_) Data(std::string(text)); }
Value::Value(std::string text) noexcept { ::new (storage_) Data(std::move(text)); }
Value::Value(Bytes bytes) noexcept { ::new (storage_) Data(std::move(bytes)); }
Value::Value(Timestamp time) noexcept { ::new (storage_) Data(time); }
Value::Value(Array items) noexcept { ::new (storage_) Data(std::move(items)); }
Value::Value(Object members) noexcept { ::new (storage_) Data(std::move(members)); }
Value::Value(BigInteger integer) noexcept { ::new (storage_) Data(std::move(integer)); }
Value::Value(Opaque opaque) { ::new (storage_) Data(std::make_shared<const Opaque>(std::move(opaque))); }

void Value::hold_bool(bool value) noexcept { ::new (storage_) Data(value); }
void Value::hold_int(std::int64_t value) noexcept { ::new (storage_) Data(value); }
void Value::hold_double(double value) noexcept { ::new (storage_) Data(value); }
void Value::hold_unsigned(std::uint64_t value) {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        ::new (storage_) Data(BigInteger(std::to_string(value)));
    } else {
        hold_int(static_cast<std::int64_t>(value));
    }
}

Kind Value::kind() const noexcept { return static_cast<Kind>(data().index()); }
Value::Value(const Value& other) { ::new (storage_) Data(other.data()); }
Value::Value(Value&& other) noexcept { ::new (storage_) Data(std::move(other.data())); }
// By way of a third object: `value = value.at(0)` assigns what the assignment destroys.
Value& Value::operator=(const Value& other) { return *this = Value(other); }
Value& Value::operator=(Value&& other) noexcept {
    Value taken(std::move(other));
    data() = std::move(taken.data());
    return *this;
}
Value::~Value() { data().~Data(); }

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
    const Opaque& opaque = **std::get_if<std::shared_ptr<const Opaque>>(static_cast<const Variant*>(&data()));
    if (!opaque.module.empty() || opaque.name == "opaque") return *this;
    if (const Value* items = opaque.state.find("items")) return *items;
    // The states of these hold the value itself under "value"; a float's is text where JSON has no form for
    // it.
    if (const Value* value = opaque.state.find("value")) return *value;
    return *this;
}

bool Value::as_bool() const {
    if (const bool* value = std::get_if<bool>(static_cast<const Variant*>(&plain().data()))) return *value;
    wrong_kind("boolean", *this);
}

std::int64_t Value::as_int() const {
    const Value& value = plain();
    if (const auto* integer = std::get_if<std::int64_t>(static_cast<const Variant*>(&value.data())))
        return *integer;
    wrong_kind(value.kind() == Kind::big_integer ? "integer of at most 64 bits" : "integer", *this);
}

double Value::as_double() const {
    const Value& value = plain();
    if (const auto* number = std::get_if<double>(static_cast<const Variant*>(&value.data()))) return *number;
    if (const auto* integer = std::get_if<std::int64_t>(static_cast<const Variant*>(&value.data())))
        return static_cast<double>(*integer);
    if (const auto* big = std::get_if<BigInteger>(static_cast<const Variant*>(&value.data()))) {
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
    if (const auto* integer = std::get_if<std::int64_t>(static_cast<const Variant*>(&value.data())))
        return std::to_string(*integer);
    if (const auto* big = std::get_if<BigInteger>(static_cast<const Variant*>(&value.data())))
        return big->text();
    wrong_kind("integer", *this);
}

const std::string& Value::as_string() const {
    if (const auto* text = std::get_if<std::string>(static_cast<const Variant*>(&plain().data())))
        return *text;
    wrong_kind("string", *this);
}

const Bytes& Value::as_bytes() const {
    if (const auto* bytes = std::get_if<Bytes>(static_cast<const Variant*>(&plain().data()))) return *bytes;
    wrong_kind("bytes", *this);
}

Timestamp Value::as_timestamp() const {
    if (const auto* time = std::get_if<Timestamp>(static_cast<const Variant*>(&plain().data()))) return *time;
    wrong_kind("timestamp", *this);
}

const Array& Value::as_array() const {
    if (const auto* items = std::get_if<Array>(static_cast<const Variant*>(&plain().data()))) return *items;
    wrong_kind("array", *this);
}

const Object& Value::as_object() const {
    if (const auto* members = std::get_if<Object>(static_cast<const Variant*>(&plain().data())))
        return *members;
    wrong_kind("object", *this);
}

const Opaque& Value::as_opaque() const {
    if (const auto* opaque = std::get_if<std::shared_ptr<const Opaque>>(static_cast<const Variant*>(&data())))
        return **opaque;
    wrong_kind("opaque value", *this);
}

Array& Value::as_array() {
    if (auto* items = std::get_if<Array>(static_cast<Variant*>(&data()))) return *items;
    wrong_kind("array", *this);
}

Object& Value::as_object() {
    if (auto* members = std::get_if<Object>(static_cast<Variant*>(&data()))) return *members;
    wrong_kind("object", *this);
}

const Value* Value::find(std::string_view key) const noexcept {
    const auto* members = std::get_if<Object>(static_cast<const Variant*>(&data()));
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
    if (is_null()) *this = Object();
    for (auto& [name, member] : as_object()) {
        if (name == key) return member = std::move(value);
    }
    return as_object().emplace_back(std::string(key), std::move(value)).second;
}

std::size_t Value::size() const noexcept {
    const Value& value = plain();
    if (const auto* items = std::get_if<Array>(static_cast<const Variant*>(&value.data())))
        return items->size();
    if (const auto* members = std::get_if<Object>(static_cast<const Variant*>(&value.data())))
        return members->size();
    return 0;
}

bool operator==(const Value& a, const Value& b) {
    if (a.kind() != b.kind()) return false;
    switch (a.kind()) {
        case Kind::number:
            return same_number(*std::get_if<double>(static_cast<const Variant*>(&a.data())),
                               *std::get_if<double>(static_cast<const Variant*>(&b.data())));
        case Kind::object:
            return same_members(*std::get_if<Object>(static_cast<const Variant*>(&a.data())),
                                *std::get_if<Object>(static_cast<const Variant*>(&b.data())));
        case Kind::opaque: return a.as_opaque() == b.as_opaque();
        default: return static_cast<const Variant&>(a.data()) == static_cast<const Variant&>(b.data());
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
