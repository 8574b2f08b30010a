// The common value: what every stored format is read into and written from.
//
//   dbos::Value v = dbos::Object{{"id", "o-17"}, {"items", dbos::Array{1, 2.5, nullptr}}};
//   v.at("items").at(0).as_int();                   // 1
//
// JSON-like kinds (null … object) are held as they are. Whatever a format knows beyond them (a Python set, a
// Java Long, an instance of a class) is Opaque. A Value is a tree and owns all of it; copies are independent.
// Thread-safe as any const object.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "dbos/error.hpp"
#include "dbos/export.hpp"

namespace dbos {

class Value;

/// Every duration of the API: takes `200ms`, `0.5s`, `7 * 24h`, refuses a bare `30`.
using Duration = std::chrono::duration<double>;

using Bytes = std::vector<std::byte>;
/// Write `Array{Value(Array{1, 2})}` for an array that holds one array: compilers differ on `Array{Array{1, 2}}` (some copy).
using Array = std::vector<Value>;
/// Members in the order of the text. A key is there once when it came from a decoder (the last one wins).
using Object = std::vector<std::pair<std::string, Value>>;

namespace detail {
template <class T, class... Ts>
concept one_of = (std::same_as<T, Ts> || ...);
template <class T>
concept integer = std::integral<T> && !one_of<T, bool, char, wchar_t, char8_t, char16_t, char32_t>;
}  // namespace detail

/// An instant. `offset_seconds` is how its writer spelled it (0 = UTC) and is kept, not interpreted.
struct DBOS_EXPORT Timestamp {
    std::int64_t seconds = 0;  ///< since 1970-01-01T00:00:00Z, rounded down
    std::int32_t nanos = 0;    ///< 0 … 999 999 999
    std::int32_t offset_seconds = 0;

    static Timestamp from(std::chrono::system_clock::time_point time) noexcept;
    /// From milliseconds since 1970, the unit of the database.
    static Timestamp from_ms(std::int64_t epoch_ms) noexcept;
    /// Throws DecodeError if the instant is outside of the clock's range (years 1678 … 2261).
    std::chrono::system_clock::time_point time_point() const;
    /// Milliseconds since 1970, rounded down.
    std::int64_t epoch_ms() const noexcept { return seconds * 1000 + nanos / 1'000'000; }
    bool operator==(const Timestamp&) const = default;
};

/// An integer beyond 64 bits, as decimal text without leading zeros. Made by Value::integer().
class DBOS_EXPORT BigInteger {
   public:
    const std::string& text() const noexcept { return text_; }
    bool operator==(const BigInteger&) const = default;

   private:
    friend class Value;
    explicit BigInteger(std::string text) : text_(std::move(text)) {}
    std::string text_;
};

/// A value that only its own language understands: inspectable, encoded by the format that made it or not at
/// all.
///
/// With an empty `module` it is an annotation of the common value model (docs/wire): `set`, `tuple`,
/// `decimal`, `uuid`, `duration`, `map`, `undefined`, an `int` with a Java flavour …; its state is an object
/// with the members of that kind
/// (`items`, `value`, …). Value::plain() gives the JSON-like value inside.
struct Opaque;

/// Kinds in the order of storage.
enum class Kind : std::uint8_t {
    null,
    boolean,
    integer,
    big_integer,
    number,
    string,
    bytes,
    timestamp,
    array,
    object,
    opaque,
};

/// Name of a kind as error texts spell it: `null`, `boolean`, `integer`, …
DBOS_EXPORT const char* to_string(Kind kind) noexcept;

class DBOS_EXPORT Value {
   public:
    Value() noexcept;
    Value(std::nullptr_t) noexcept : Value() {}
    /// Exactly bool: a pointer or an integer never becomes one.
    template <std::same_as<bool> B>
    Value(B value) noexcept {
        hold_bool(value);
    }
    template <detail::integer I>
    Value(I value) {
        if constexpr (std::is_unsigned_v<I> && sizeof(I) >= sizeof(std::int64_t)) {
            hold_unsigned(value);
        } else {
            hold_int(value);
        }
    }
    template <std::floating_point F>
    Value(F value) noexcept {
        hold_double(static_cast<double>(value));
    }
    /// Must not be null.
    Value(const char* text);
    Value(std::string_view text);
    Value(std::string text) noexcept;
    Value(Bytes bytes) noexcept;
    Value(Timestamp time) noexcept;
    Value(Array items) noexcept;
    Value(Object members) noexcept;
    Value(BigInteger integer) noexcept;
    Value(Opaque opaque);
    Value(const Value&);
    Value(Value&&) noexcept;
    Value& operator=(const Value&);
    Value& operator=(Value&&) noexcept;
    ~Value();

    /// An integer of any size from decimal text (`-?[0-9]+`); int64 where it fits. Throws DecodeError on
    /// other text.
    static Value integer(std::string_view decimal);
    /// An annotation of the common value model: Opaque with an empty module.
    static Value annotated(std::string name, Object members);

    Kind kind() const noexcept;
    bool is_null() const noexcept { return kind() == Kind::null; }
    /// The value inside an annotation that holds one (member `value` or `items`); itself otherwise. All
    /// accessors but kind() and as_opaque() look through annotations.
    const Value& plain() const noexcept;

    // Each throws DecodeError (`at $: expected integer, got string "three"`) on another kind.
    bool as_bool() const;
    /// Integers that fit in 64 bits.
    std::int64_t as_int() const;
    /// Numbers and integers (rounded to double where they must be).
    double as_double() const;
    /// Decimal text of an integer of any size.
    std::string integer_text() const;
    const std::string& as_string() const;
    const Bytes& as_bytes() const;
    Timestamp as_timestamp() const;
    const Array& as_array() const;
    const Object& as_object() const;
    const Opaque& as_opaque() const;
    Array& as_array();
    Object& as_object();

    /// Member of an object; nullptr if it is absent or this is no object. Linear in the number of members.
    const Value* find(std::string_view key) const noexcept;
    /// Member of an object, element of an array. Throws DecodeError if it is not there.
    const Value& at(std::string_view key) const;
    const Value& at(std::size_t index) const;
    /// Sets a member; a null value becomes an object first. Throws DecodeError if this is anything else.
    Value& set(std::string_view key, Value value);
    /// Elements of an array, members of an object, else 0.
    std::size_t size() const noexcept;

    /// Equal kind and content. Objects compare without order, numbers by value, but NaN equals NaN and 0.0 is
    /// not -0.0; an integer never equals a number.
    friend DBOS_EXPORT bool operator==(const Value& a, const Value& b);

    /// Kind and a short excerpt, for error texts: `string "three"`, `array of 3`.
    std::string describe() const;
    /// JSON text that shows every kind (what JSON has no form for: `{"$type":…}`). For people and logs; never
    /// throws but for memory, and no decoder reads it.
    std::string dump() const;

   private:
    // A std::variant that only value.cpp sees: to instantiate it costs a unit more than the rest of the public headers.
    struct Data;
    Data& data() noexcept;
    const Data& data() const noexcept;
    void hold_bool(bool value) noexcept;
    void hold_int(std::int64_t value) noexcept;
    void hold_unsigned(std::uint64_t value);
    void hold_double(double value) noexcept;

    alignas(std::max_align_t) std::byte storage_[48];
};

struct DBOS_EXPORT Opaque {
    std::string module = {};
    std::string name = {};
    Value state = {};
    bool operator==(const Opaque&) const = default;
};

/// The arguments of a workflow.
struct DBOS_EXPORT Arguments {
    std::vector<Value> positional = {};
    Object named = {};
    bool operator==(const Arguments&) const = default;
};

/// An error as it is recorded. What a format cannot hold is empty.
struct DBOS_EXPORT Failure {
    /// Short type name: `ValueError`, `CardDeclined`, `runtime_error`.
    std::string type_name = {};
    std::string message = {};
    /// An integer or a text; null = none.
    Value code = {};
    /// Null = none.
    Value data = {};
    /// What native formats know beyond: an object with some of `class`, `args`, `props`, `state`, `errors`,
    /// `cause`, `stack`.
    Value details = {};
    /// The stored text and the name of its format; empty if it was not read from a record.
    std::string raw = {};
    std::string format = {};
    bool operator==(const Failure&) const = default;
};

/// Where a decoder is in the value, for error texts. Lives on the stack and refers to its parent.
class DBOS_EXPORT Path {
   public:
    /// The root, `$`, or the name of what is decoded.
    constexpr explicit Path(std::string_view root = "$") noexcept : name_(root) {}
    constexpr Path(const Path& parent, std::string_view member) noexcept : parent_(&parent), name_(member) {}
    constexpr Path(const Path& parent, std::size_t element) noexcept : parent_(&parent), element_(element) {}
    Path(const Path&) = delete;
    Path& operator=(const Path&) = delete;
    /// `$.items[0].count`
    std::string text() const;

   private:
    const Path* parent_ = nullptr;
    std::string_view name_ = {};
    std::size_t element_ = static_cast<std::size_t>(-1);
};

/// Throws DecodeError: `at <path>: expected <expected>, got <found>`.
[[noreturn]] DBOS_EXPORT void fail_decode(const Path& path, std::string_view expected, const Value& found);
[[noreturn]] DBOS_EXPORT void fail_decode(const Path& path, std::string_view expected, std::string found);

namespace detail {
/// The member of this name; nullptr if there is none.
DBOS_EXPORT const Value* find_member(const Object& members, std::string_view name) noexcept;
}  // namespace detail

}  // namespace dbos
