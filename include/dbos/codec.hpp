// From C++ types to dbos::Value and back.
//
//   struct Order { std::string id = {}; int cents = 0; };
//   DBOS_FIELDS(Order, id, cents)                   // beside the struct, in its namespace
//   enum class Colour { red, green };
//   DBOS_ENUM(Colour, red, green)                   // stored as text
//   class Account { … DBOS_MEMBERS(Account, id_, balance_) };     // inside a class with private members
//   struct CardDeclined : std::runtime_error { using std::runtime_error::runtime_error; };
//   DBOS_ERROR(CardDeclined)                        // an exception whose type survives the record
//
// Serializable: bool, integers, floating-point numbers, std::string, optional, vector, deque, list, array,
// set, pair, tuple, maps with std::string keys, system_clock time points, durations (seconds), variant,
// unique_ptr, Value, and user types by the macros above, by dbos/ext/nlohmann.hpp, or by a specialisation of
// dbos::Codec. Whatever is stored owns its data: views, spans, pointers and references are refused at compile
// time.
//
// Decoding is strict: integers are checked against the type's range, a number never becomes an integer
// silently, every member but std::optional ones must be there, unknown members are ignored. A failure is a
// DecodeError with the JSON path of the value.
#pragma once

#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

#include "dbos/detail/codecs.hpp"
#include "dbos/detail/macros.hpp"
#include "dbos/error.hpp"
#include "dbos/export.hpp"
#include "dbos/serializer.hpp"
#include "dbos/value.hpp"

namespace dbos {

/// The stored form of a value. Throws EncodeError for what its type cannot store (an enumerator without a
/// name, …).
template <class T>
Value to_value(const T& value) {
    using S = detail::stored_t<T>;
    if constexpr (detail::require_serializable<S>()) {
        if constexpr (std::same_as<S, T>) {
            return Codec<S>::encode(value);
        } else {
            return Value(value);
        }
    } else {
        return Value();
    }
}

/// The C++ value of a stored one. Throws DecodeError with the JSON path of what does not fit.
template <class T>
T from_value(const Value& value, const Path& path = Path()) {
    static_assert(detail::require_serializable<T>());
    return Codec<T>::decode(value, path);
}

// ---- Values in options and calls ----

/// An option that holds a value: constructible from every serializable type. Encodes at once.
class Any {
   public:
    Any() = default;
    template <class T>
        requires(!std::same_as<std::remove_cvref_t<T>, Any> && Serializable<detail::stored_t<T>>)
    Any(const T& value) : value_(to_value(value)) {}
    const Value& value() const noexcept { return value_; }
    bool operator==(const Any&) const = default;

   private:
    Value value_;
};

template <>
struct Codec<Any> {
    static Value encode(const Any& any) { return any.value(); }
    static Any decode(const Value& value, const Path&) { return Any(value); }
};

/// A named argument of a call by name. See named().
struct Named {
    std::string name = {};
    Value value = {};
};

/// `client.enqueue({.workflow_name = "resize"}, path, dbos::named("fast", true))`: after all positional
/// arguments. Encodes at once.
template <class T>
Named named(std::string name, const T& value) {
    return Named{std::move(name), to_value(value)};
}

namespace detail {
DBOS_EXPORT void add_named(Arguments& arguments, Named argument);
template <class T>
inline constexpr bool is_named = std::same_as<std::remove_cvref_t<T>, Named>;
template <class... A>
constexpr bool named_come_last() {
    bool seen = false;
    bool right = true;
    ((is_named<A> ? void(seen = true) : void(right = right && !seen)), ...);
    return right;
}
}  // namespace detail

/// The arguments of a call by name. Throws UsageError if a name is empty or given twice.
template <class... A>
Arguments to_arguments(const A&... args) {
    static_assert(detail::named_come_last<A...>(), "dbos: named arguments stand after all positional ones");
    Arguments result;
    [[maybe_unused]] const auto add = [&result](const auto& argument) {
        if constexpr (detail::is_named<decltype(argument)>) {
            detail::add_named(result, argument);
        } else {
            result.positional.push_back(to_value(argument));
        }
    };
    (add(args), ...);
    return result;
}

}  // namespace dbos

/// Makes a struct serializable: an object with these members. Stands beside it, in its namespace.
#define DBOS_FIELDS(Type, ...)                                                                       \
    template <class DbosVisitor>                                                                     \
    [[maybe_unused]] constexpr void dbos_visit_fields(::dbos::Tag<Type>,                             \
                                                      [[maybe_unused]] const DbosVisitor& visitor) { \
        DBOS_DETAIL_EACH(DBOS_DETAIL_VISIT, Type __VA_OPT__(, ) __VA_ARGS__)                         \
    }

/// The same inside the class, for private members.
#define DBOS_MEMBERS(Type, ...)                                                            \
    template <class DbosVisitor>                                                           \
    friend constexpr void dbos_visit_fields(::dbos::Tag<Type>,                             \
                                            [[maybe_unused]] const DbosVisitor& visitor) { \
        DBOS_DETAIL_EACH(DBOS_DETAIL_VISIT, Type __VA_OPT__(, ) __VA_ARGS__)               \
    }

/// Stores an enum as the names of its enumerators. Stands beside it, in its namespace.
#define DBOS_ENUM(Enum, ...)                                                                              \
    template <class DbosVisitor>                                                                          \
    [[maybe_unused]] constexpr void dbos_visit_enumerators(::dbos::Tag<Enum>,                             \
                                                           [[maybe_unused]] const DbosVisitor& visitor) { \
        DBOS_DETAIL_EACH(DBOS_DETAIL_ENUMERATE, Enum __VA_OPT__(, ) __VA_ARGS__)                          \
    }

/// Lets an exception type survive its record: its name on the wire is the type's name, its fields are the
/// data. It must be constructible from std::string (the message) or by default. A field named `code` is also
/// the record's code.
#define DBOS_ERROR(Type, ...)                                                                       \
    [[maybe_unused]] constexpr std::string_view dbos_error_name(::dbos::Tag<Type>) {                \
        return ::dbos::detail::unqualified(#Type);                                                  \
    }                                                                                               \
    template <class DbosVisitor>                                                                    \
    [[maybe_unused]] constexpr void dbos_visit_error(::dbos::Tag<Type>,                             \
                                                     [[maybe_unused]] const DbosVisitor& visitor) { \
        DBOS_DETAIL_EACH(DBOS_DETAIL_VISIT, Type __VA_OPT__(, ) __VA_ARGS__)                        \
    }
