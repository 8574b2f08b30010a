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

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <ratio>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "dbos/detail/macros.hpp"
#include "dbos/error.hpp"
#include "dbos/export.hpp"
#include "dbos/serializer.hpp"
#include "dbos/value.hpp"

namespace dbos {

/// Specialise it for a type of yours that no macro fits:
///   static dbos::Value encode(const T&);
///   static T decode(const dbos::Value&, const dbos::Path&);     // throws DecodeError, see dbos::fail_decode
template <class T>
struct Codec;

/// Names a type in a function found beside it (argument-dependent look-up).
template <class T>
struct Tag {};

/// Whether values of T can be stored and read back.
template <class T>
concept Serializable = std::same_as<T, std::remove_cvref_t<T>> &&
                       requires(const T& value, const Value& stored, const Path& path) {
                           { Codec<T>::encode(value) } -> std::same_as<Value>;
                           { Codec<T>::decode(stored, path) } -> std::same_as<T>;
                       };

namespace detail {

template <class T>
struct Stored {
    using type = T;
};
template <>
struct Stored<const char*> {
    using type = std::string;
};
template <>
struct Stored<char*> {
    using type = std::string;
};
template <>
struct Stored<std::string_view> {
    using type = std::string;
};
template <>
struct Stored<std::nullptr_t> {
    using type = Value;
};
/// What is stored when a T is given: decayed, texts as std::string.
template <class T>
using stored_t = typename Stored<std::decay_t<T>>::type;

struct Probe {
    template <class M>
    void operator()(const char*, M) const;
};
template <class T>
concept has_fields = std::is_class_v<T> && requires(Tag<T> tag) { dbos_visit_fields(tag, Probe{}); };
template <class E>
concept has_enumerators = std::is_enum_v<E> && requires(Tag<E> tag) { dbos_visit_enumerators(tag, Probe{}); };
template <class E>
concept has_error_name = requires(Tag<E> tag) {
    { dbos_error_name(tag) } -> std::same_as<std::string_view>;
};

template <class T>
inline constexpr bool is_bytes = std::same_as<T, Bytes>;
template <class T>
concept sequence = !is_bytes<T> && requires(T& c, const T& k, typename T::value_type v) {
    c.push_back(std::move(v));
    k.begin();
    k.end();
} && !requires { typename T::traits_type; };
template <class T>
concept map_like = requires(T& c, typename T::key_type key, typename T::mapped_type value) {
    c.insert_or_assign(std::move(key), std::move(value));
};
template <class T>
concept set_like = !map_like<T> && requires(T& c, typename T::key_type key) {
    requires std::same_as<typename T::key_type, typename T::value_type>;
    c.insert(std::move(key));
};

DBOS_EXPORT Value big_unsigned(std::uint64_t value);
DBOS_EXPORT bool decode_bool(const Value& value, const Path& path);
DBOS_EXPORT std::int64_t decode_int(const Value& value, const Path& path, std::int64_t low,
                                    std::int64_t high);
DBOS_EXPORT std::uint64_t decode_unsigned(const Value& value, const Path& path, std::uint64_t high);
DBOS_EXPORT double decode_double(const Value& value, const Path& path);
DBOS_EXPORT float decode_float(const Value& value, const Path& path);
DBOS_EXPORT const std::string& decode_string(const Value& value, const Path& path);
/// Also accepts base64 text, the form that Go and Java give to bytes.
DBOS_EXPORT Bytes decode_bytes(const Value& value, const Path& path);
/// Also accepts RFC 3339 text, the form of portable_json.
DBOS_EXPORT Timestamp decode_timestamp(const Value& value, const Path& path);
DBOS_EXPORT const Array& decode_array(const Value& value, const Path& path);
DBOS_EXPORT const Array& decode_array(const Value& value, const Path& path, std::size_t size);
/// `scratch` holds the members if the value is a map of another language with text keys.
DBOS_EXPORT const Object& decode_object(const Value& value, const Path& path, Object& scratch);
/// Seconds of a number, or of a duration of another language.
DBOS_EXPORT double decode_seconds(const Value& value, const Path& path);
DBOS_EXPORT std::chrono::system_clock::time_point decode_time(const Value& value, const Path& path);
[[noreturn]] DBOS_EXPORT void fail_enumerator(const Path& path, const std::vector<const char*>& names,
                                              const Value& found);
[[noreturn]] DBOS_EXPORT void fail_unknown_enumerator(long long value);
[[noreturn]] DBOS_EXPORT void fail_variant(const Path& path, const std::vector<std::string>& reasons);
[[noreturn]] DBOS_EXPORT void fail_ambiguous_variant(std::size_t held, std::size_t earlier);
[[noreturn]] DBOS_EXPORT void fail_duration();
/// std::round; <cmath> is dear to include.
DBOS_EXPORT double round_to_integer(double value) noexcept;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_duration = false;
template <class R, class P>
inline constexpr bool is_duration<std::chrono::duration<R, P>> = true;
template <class T>
inline constexpr bool is_shared_or_weak = false;
template <class T>
inline constexpr bool is_shared_or_weak<std::shared_ptr<T>> = true;

/// Refuses a type with a sentence that names the cure. True if it is serializable.
template <class T>
constexpr bool require_serializable() {
    if constexpr (!Serializable<T>) {
        if constexpr (std::is_reference_v<T> || std::is_pointer_v<T> || std::ranges::enable_view<T>) {
            static_assert(
                Serializable<T>,
                "dbos: a view, span, pointer or reference cannot be stored; a result must own its data "
                "(std::string, std::vector, ...)");
        } else if constexpr (is_shared_or_weak<T>) {
            static_assert(
                Serializable<T>,
                "dbos: std::shared_ptr is not serializable, for sharing would be lost; use the value itself, "
                "std::optional or std::unique_ptr");
        } else if constexpr (std::is_enum_v<T>) {
            static_assert(
                Serializable<T>,
                "dbos: this enum is not serializable; add DBOS_ENUM(Enum, enumerators...) beside it");
        } else if constexpr (one_of<T, char, wchar_t, char8_t, char16_t, char32_t>) {
            static_assert(Serializable<T>,
                          "dbos: a single character is not serializable; use std::string or an integer type");
        } else if constexpr (map_like<T>) {
            static_assert(Serializable<T>,
                          "dbos: this map is not serializable; its keys must be std::string and its values "
                          "serializable");
        } else if constexpr (requires { std::variant_size<T>::value; }) {
            static_assert(
                Serializable<T>,
                "dbos: this variant is not serializable; its alternatives must be serializable and must "
                "differ in their stored form (two integers, two texts or a number before an integer do not)");
        } else {
            static_assert(Serializable<T>,
                          "dbos: this type is not serializable; add DBOS_FIELDS(Type, members...) beside it "
                          "(or include "
                          "dbos/ext/nlohmann.hpp if it has to_json and from_json)");
        }
        return false;
    } else {
        return true;
    }
}

/// The same for the result of a workflow or step; void is fine.
template <class T>
constexpr bool require_result() {
    if constexpr (std::is_void_v<T>) {
        return true;
    } else if constexpr (std::is_reference_v<T>) {
        static_assert(!std::is_reference_v<T>,
                      "dbos: a reference cannot be stored; a result must own its data: return by value");
        return false;
    } else if constexpr (one_of<std::remove_cv_t<T>, const char*, char*>) {
        return true;
    } else {
        return require_serializable<std::remove_cv_t<T>>();
    }
}

}  // namespace detail

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

// ---- The built-in types
// --------------------------------------------------------------------------------------------------------

template <>
struct Codec<Value> {
    static Value encode(const Value& value) { return value; }
    static Value decode(const Value& value, const Path&) { return value; }
};

template <>
struct Codec<bool> {
    static Value encode(bool value) { return value; }
    static bool decode(const Value& value, const Path& path) { return detail::decode_bool(value, path); }
};

template <detail::integer I>
struct Codec<I> {
    static Value encode(I value) { return value; }
    static I decode(const Value& value, const Path& path) {
        using Limits = std::numeric_limits<I>;
        if constexpr (std::is_signed_v<I>) {
            return static_cast<I>(detail::decode_int(value, path, Limits::min(), Limits::max()));
        } else {
            return static_cast<I>(detail::decode_unsigned(value, path, Limits::max()));
        }
    }
};

template <>
struct Codec<double> {
    static Value encode(double value) { return value; }
    static double decode(const Value& value, const Path& path) { return detail::decode_double(value, path); }
};

template <>
struct Codec<float> {
    static Value encode(float value) { return value; }
    static float decode(const Value& value, const Path& path) { return detail::decode_float(value, path); }
};

template <>
struct Codec<std::string> {
    static Value encode(const std::string& value) { return value; }
    static std::string decode(const Value& value, const Path& path) {
        return detail::decode_string(value, path);
    }
};

template <>
struct Codec<Bytes> {
    static Value encode(const Bytes& value) { return value; }
    static Bytes decode(const Value& value, const Path& path) { return detail::decode_bytes(value, path); }
};

template <>
struct Codec<Object> {
    static Value encode(const Object& value) { return value; }
    static Object decode(const Value& value, const Path& path) {
        Object scratch;
        return detail::decode_object(value, path, scratch);
    }
};

template <>
struct Codec<Timestamp> {
    static Value encode(const Timestamp& value) { return value; }
    static Timestamp decode(const Value& value, const Path& path) {
        return detail::decode_timestamp(value, path);
    }
};

template <class D>
struct Codec<std::chrono::time_point<std::chrono::system_clock, D>> {
    using T = std::chrono::time_point<std::chrono::system_clock, D>;
    static Value encode(const T& value) {
        return Timestamp::from(std::chrono::time_point_cast<std::chrono::system_clock::duration>(value));
    }
    static T decode(const Value& value, const Path& path) {
        return std::chrono::floor<D>(detail::decode_time(value, path));
    }
};

/// Seconds: an integer for types of whole seconds, else a number.
template <class R, class P>
struct Codec<std::chrono::duration<R, P>> {
    using T = std::chrono::duration<R, P>;
    static Value encode(const T& value) {
        if constexpr (std::integral<R> && P::den == 1) {
            return static_cast<std::int64_t>(std::chrono::duration_cast<std::chrono::seconds>(value).count());
        } else {
            const double seconds = std::chrono::duration<double>(value).count();
            if constexpr (std::integral<R>) {
                if (!(seconds < limit() && seconds > -limit()) || from_seconds(seconds) != value)
                    detail::fail_duration();
            }
            return seconds;
        }
    }
    static T decode(const Value& value, const Path& path) {
        const double seconds = detail::decode_seconds(value, path);
        if constexpr (std::integral<R>) {
            if (!(seconds < limit() && seconds > -limit()))
                fail_decode(path, "a duration within the range of its type", value);
        }
        return from_seconds(seconds);
    }

   private:
    static constexpr double limit() {
        return static_cast<double>(std::numeric_limits<R>::max()) * static_cast<double>(P::num) /
               static_cast<double>(P::den);
    }
    static T from_seconds(double seconds) {
        const double ticks = seconds * static_cast<double>(P::den) / static_cast<double>(P::num);
        if constexpr (std::integral<R>) {
            return T(static_cast<R>(detail::round_to_integer(ticks)));
        } else {
            return T(static_cast<R>(ticks));
        }
    }
};

template <>
struct Codec<std::monostate> {
    static Value encode(std::monostate) { return {}; }
    static std::monostate decode(const Value& value, const Path& path) {
        if (!value.is_null()) fail_decode(path, "null", value);
        return {};
    }
};

template <Serializable T>
struct Codec<std::optional<T>> {
    static Value encode(const std::optional<T>& value) { return value ? Codec<T>::encode(*value) : Value(); }
    static std::optional<T> decode(const Value& value, const Path& path) {
        if (value.is_null()) return std::nullopt;
        return Codec<T>::decode(value, path);
    }
};

template <Serializable T, class D>
struct Codec<std::unique_ptr<T, D>> {
    static Value encode(const std::unique_ptr<T, D>& value) {
        return value ? Codec<T>::encode(*value) : Value();
    }
    static std::unique_ptr<T, D> decode(const Value& value, const Path& path) {
        if (value.is_null()) return {};
        return std::unique_ptr<T, D>(new T(Codec<T>::decode(value, path)));
    }
};

template <detail::sequence C>
    requires Serializable<typename C::value_type>
struct Codec<C> {
    using T = typename C::value_type;
    static Value encode(const C& items) {
        Array array;
        array.reserve(items.size());
        for (const auto& item : items) array.push_back(Codec<T>::encode(static_cast<const T&>(item)));
        return array;
    }
    static C decode(const Value& value, const Path& path) {
        C items;
        std::size_t i = 0;
        for (const Value& item : detail::decode_array(value, path)) {
            items.push_back(Codec<T>::decode(item, Path(path, i++)));
        }
        return items;
    }
};

template <detail::set_like C>
    requires Serializable<typename C::key_type>
struct Codec<C> {
    using T = typename C::key_type;
    static Value encode(const C& items) {
        Array array;
        array.reserve(items.size());
        for (const T& item : items) array.push_back(Codec<T>::encode(item));
        return array;
    }
    static C decode(const Value& value, const Path& path) {
        C items;
        std::size_t i = 0;
        for (const Value& item : detail::decode_array(value, path))
            items.insert(Codec<T>::decode(item, Path(path, i++)));
        return items;
    }
};

template <detail::map_like C>
    requires std::same_as<typename C::key_type, std::string> && Serializable<typename C::mapped_type>
struct Codec<C> {
    using T = typename C::mapped_type;
    static Value encode(const C& members) {
        Object object;
        object.reserve(members.size());
        for (const auto& [key, value] : members) object.emplace_back(key, Codec<T>::encode(value));
        return object;
    }
    static C decode(const Value& value, const Path& path) {
        C members;
        Object scratch;
        for (const auto& [key, member] : detail::decode_object(value, path, scratch)) {
            members.insert_or_assign(key, Codec<T>::decode(member, Path(path, key)));
        }
        return members;
    }
};

template <Serializable T, std::size_t N>
struct Codec<std::array<T, N>> {
    static Value encode(const std::array<T, N>& items) {
        Array array;
        array.reserve(N);
        for (const T& item : items) array.push_back(Codec<T>::encode(item));
        return array;
    }
    static std::array<T, N> decode(const Value& value, const Path& path) {
        const Array& array = detail::decode_array(value, path, N);
        return [&]<std::size_t... I>(std::index_sequence<I...>) {
            return std::array<T, N>{Codec<T>::decode(array[I], Path(path, I))...};
        }(std::make_index_sequence<N>());
    }
};

template <Serializable A, Serializable B>
struct Codec<std::pair<A, B>> {
    static Value encode(const std::pair<A, B>& pair) {
        Array array;
        array.push_back(Codec<A>::encode(pair.first));
        array.push_back(Codec<B>::encode(pair.second));
        return array;
    }
    static std::pair<A, B> decode(const Value& value, const Path& path) {
        const Array& array = detail::decode_array(value, path, 2);
        return {Codec<A>::decode(array[0], Path(path, std::size_t{0})),
                Codec<B>::decode(array[1], Path(path, 1))};
    }
};

template <Serializable... T>
struct Codec<std::tuple<T...>> {
    static Value encode(const std::tuple<T...>& tuple) {
        Array array;
        array.reserve(sizeof...(T));
        std::apply([&](const T&... item) { (array.push_back(Codec<T>::encode(item)), ...); }, tuple);
        return array;
    }
    static std::tuple<T...> decode(const Value& value, const Path& path) {
        [[maybe_unused]] const Array& array = detail::decode_array(value, path, sizeof...(T));
        return [&]<std::size_t... I>(std::index_sequence<I...>) {
            return std::tuple<T...>{Codec<T>::decode(array[I], Path(path, I))...};
        }(std::index_sequence_for<T...>());
    }
};

namespace detail {
/// The stored form of scalar types, where two alternatives of a variant can collide visibly. 0 = not known.
template <class T>
constexpr int scalar_form() {
    if constexpr (std::same_as<T, bool>) return 1;
    if constexpr (integer<T>) return 2;
    if constexpr (std::floating_point<T> || is_duration<T>) return 3;
    if constexpr (std::same_as<T, std::string> || std::is_enum_v<T>) return 4;
    if constexpr (std::same_as<T, std::monostate>) return 5;
    if constexpr (std::same_as<T, Value>) return 6;
    return 0;
}
template <class... T>
constexpr bool distinct_forms() {
    constexpr int forms[] = {scalar_form<T>()...};
    for (std::size_t i = 0; i < sizeof...(T); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (forms[i] != 0 && forms[i] == forms[j]) return false;
            if (forms[i] == 2 && forms[j] == 3) return false;  // 5 would be read as 5.0
            if (forms[j] == 6) return false;                   // a Value takes everything
        }
    }
    return true;
}
}  // namespace detail

/// The first alternative that decodes. A value that an earlier alternative would take is refused when it is
/// written.
template <Serializable... T>
    requires(detail::distinct_forms<T...>())
struct Codec<std::variant<T...>> {
    using V = std::variant<T...>;
    static Value encode(const V& variant) {
        Value stored = std::visit(
            [](const auto& held) { return Codec<std::remove_cvref_t<decltype(held)>>::encode(held); },
            variant);
        std::size_t taken = sizeof...(T);
        std::size_t i = 0;
        ((taken == sizeof...(T) && i < variant.index() && decodes<T>(stored) ? void(taken = i) : void(), ++i),
         ...);
        if (taken < variant.index()) detail::fail_ambiguous_variant(variant.index(), taken);
        return stored;
    }
    static V decode(const Value& value, const Path& path) {
        std::optional<V> result;
        std::vector<std::string> reasons;
        (attempt<T>(value, path, result, reasons), ...);
        if (!result) detail::fail_variant(path, reasons);
        return std::move(*result);
    }

   private:
    template <class A>
    static bool decodes(const Value& stored) {
        try {
            (void)Codec<A>::decode(stored, Path());
            return true;
        } catch (const DecodeError&) {
            return false;
        }
    }
    template <class A>
    static void attempt(const Value& value, const Path& path, std::optional<V>& result,
                        std::vector<std::string>& reasons) {
        if (result) return;
        try {
            result.emplace(Codec<A>::decode(value, path));
        } catch (const DecodeError& error) {
            reasons.emplace_back(error.what());
        }
    }
};

// ---- User types: the other side of DBOS_FIELDS, DBOS_MEMBERS and DBOS_ENUM
// ----------------------------------------------------

namespace detail {
template <class T>
struct EncodeFields {
    const T& source;
    Object& members;
    template <class M>
    void operator()(const char* name, M T::* member) const {
        if constexpr (require_serializable<M>()) members.emplace_back(name, Codec<M>::encode(source.*member));
    }
};
template <class T>
struct DecodeFields {
    T& target;
    const Object& members;
    const Path& path;
    template <class M>
    void operator()(const char* name, M T::* member) const {
        if constexpr (require_serializable<M>()) {
            const Value* found = find_member(members, name);
            if (found != nullptr) {
                target.*member = Codec<M>::decode(*found, Path(path, std::string_view(name)));
            } else if constexpr (is_optional<M>) {
                target.*member = std::nullopt;
            } else {
                fail_decode(Path(path, std::string_view(name)), "a value",
                            std::string("nothing: the member is missing"));
            }
        }
    }
};
template <class E>
struct FindName {
    E value;
    const char*& name;
    void operator()(const char* candidate, E enumerator) const {
        if (name == nullptr && enumerator == value) name = candidate;
    }
};
template <class E>
struct FindEnumerator {
    const std::string& text;
    std::optional<E>& found;
    void operator()(const char* name, E enumerator) const {
        if (!found && text == name) found = enumerator;
    }
};
template <class E>
struct CollectNames {
    std::vector<const char*>& names;
    void operator()(const char* name, E) const { names.push_back(name); }
};
}  // namespace detail

template <detail::has_fields T>
struct Codec<T> {
    static Value encode(const T& value) {
        Object members;
        dbos_visit_fields(Tag<T>(), detail::EncodeFields<T>{value, members});
        return members;
    }
    static T decode(const Value& value, const Path& path) {
        static_assert(
            std::is_default_constructible_v<T>,
            "dbos: a type with DBOS_FIELDS or DBOS_MEMBERS must be default-constructible to be read back");
        Object scratch;
        const Object& members = detail::decode_object(value, path, scratch);
        T result{};
        dbos_visit_fields(Tag<T>(), detail::DecodeFields<T>{result, members, path});
        return result;
    }
};

template <detail::has_enumerators E>
struct Codec<E> {
    static Value encode(E value) {
        const char* name = nullptr;
        dbos_visit_enumerators(Tag<E>(), detail::FindName<E>{value, name});
        if (name == nullptr) detail::fail_unknown_enumerator(static_cast<long long>(value));
        return name;
    }
    static E decode(const Value& value, const Path& path) {
        std::optional<E> found;
        dbos_visit_enumerators(Tag<E>(),
                               detail::FindEnumerator<E>{detail::decode_string(value, path), found});
        if (!found) {
            std::vector<const char*> names;
            dbos_visit_enumerators(Tag<E>(), detail::CollectNames<E>{names});
            detail::fail_enumerator(path, names, value);
        }
        return *found;
    }
};

// ---- Values in options and calls
// ------------------------------------------------------------------------------------------------

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
