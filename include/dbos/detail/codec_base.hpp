// What a codec is, and the compiled parts of the built-in ones. Include dbos/codec.hpp.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "dbos/error.hpp"
#include "dbos/export.hpp"
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
/// Appends a member. Out of line, like its neighbours here: a translation unit that only includes pays for no container.
DBOS_EXPORT void add_member(Object& members, const char* name, Value value);
DBOS_EXPORT void add_enumerator(std::string& names, const char* name);
[[noreturn]] DBOS_EXPORT void fail_enumerator(const Path& path, const std::string& names, const Value& found);
[[noreturn]] DBOS_EXPORT void fail_unknown_enumerator(long long value);
DBOS_EXPORT void add_reason(std::string& reasons, const DecodeError& error);
[[noreturn]] DBOS_EXPORT void fail_variant(const Path& path, const std::string& reasons);
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

}  // namespace dbos
