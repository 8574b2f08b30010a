// The codecs of the built-in types and of types with DBOS_FIELDS, DBOS_MEMBERS and DBOS_ENUM. Include dbos/codec.hpp.
#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "dbos/detail/codec_base.hpp"

namespace dbos {

// ---- The built-in types ----

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
struct DBOS_EXPORT Codec<Bytes> {
    static Value encode(const Bytes& value);
    static Bytes decode(const Value& value, const Path& path) { return detail::decode_bytes(value, path); }
};

template <>
struct DBOS_EXPORT Codec<Object> {
    static Value encode(const Object& value);
    static Object decode(const Value& value, const Path& path);
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
        std::string reasons;
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
                        std::string& reasons) {
        if (result) return;
        try {
            result.emplace(Codec<A>::decode(value, path));
        } catch (const DecodeError& error) {
            detail::add_reason(reasons, error);
        }
    }
};

// ---- User types: the other side of DBOS_FIELDS, DBOS_MEMBERS and DBOS_ENUM ----

namespace detail {
template <class T>
struct EncodeFields {
    const T& source;
    Object& members;
    template <class M>
    void operator()(const char* name, M T::* member) const {
        if constexpr (require_serializable<M>()) add_member(members, name, Codec<M>::encode(source.*member));
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
    std::string& names;
    void operator()(const char* name, E) const { add_enumerator(names, name); }
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
            std::string names;
            dbos_visit_enumerators(Tag<E>(), detail::CollectNames<E>{names});
            detail::fail_enumerator(path, names, value);
        }
        return *found;
    }
};

}  // namespace dbos
