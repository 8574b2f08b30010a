// Opt-in: types with nlohmann's to_json and from_json are serializable, and Value converts to and from nlohmann's JSON.
//
//   #include <dbos/ext/nlohmann.hpp>
//   struct Order { std::string id; int cents; };
//   NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, cents)
//   inline constexpr auto Checkout = dbos::workflow<std::string(Order)>("checkout");
//
// nlohmann::json and nlohmann::ordered_json themselves are serializable too (the former sorts member names). DBOS_FIELDS wins
// where a type has both. The library itself never includes this header.
#pragma once

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "dbos/codec.hpp"

namespace dbos {

/// Json is nlohmann::json or nlohmann::ordered_json. Timestamps become RFC 3339 text. Throws EncodeError for what it cannot hold:
/// integers beyond 64 bits, values of other languages.
template <class Json>
Json to_nlohmann(const Value& value, const Path& path = Path()) {
    const Value& plain = value.plain();
    switch (plain.kind()) {
        case Kind::null: return nullptr;
        case Kind::boolean: return plain.as_bool();
        case Kind::integer: return plain.as_int();
        case Kind::big_integer: {
            const std::string text = plain.integer_text();
            const std::string limit = std::to_string(std::numeric_limits<std::uint64_t>::max());
            if (text.front() == '-' || text.size() > limit.size() ||
                (text.size() == limit.size() && text > limit)) {
                throw EncodeError(path.text(),
                                  "an integer beyond 64 bits would be rounded by nlohmann::json");
            }
            return static_cast<std::uint64_t>(std::stoull(text));
        }
        case Kind::number: return plain.as_double();
        case Kind::string: return plain.as_string();
        case Kind::bytes: {
            typename Json::binary_t::container_type bytes(plain.as_bytes().size());
            if (!bytes.empty()) std::memcpy(bytes.data(), plain.as_bytes().data(), bytes.size());
            return Json::binary(std::move(bytes));
        }
        case Kind::timestamp: return Json::parse(serializers::portable_json()->encode(plain));
        case Kind::array: {
            Json items = Json::array();
            std::size_t i = 0;
            for (const Value& item : plain.as_array())
                items.push_back(to_nlohmann<Json>(item, Path(path, i++)));
            return items;
        }
        case Kind::object: {
            Json members = Json::object();
            for (const auto& [key, member] : plain.as_object()) {
                members[key] = to_nlohmann<Json>(member, Path(path, std::string_view(key)));
            }
            return members;
        }
        case Kind::opaque: break;
    }
    throw EncodeError(path.text(), value.describe() + " has no form in nlohmann::json");
}

/// The value of an nlohmann JSON.
template <class Json>
Value from_nlohmann(const Json& json) {
    switch (json.type()) {
        case Json::value_t::null:
        case Json::value_t::discarded: return {};
        case Json::value_t::boolean: return json.template get<bool>();
        case Json::value_t::number_integer: return json.template get<std::int64_t>();
        case Json::value_t::number_unsigned: return json.template get<std::uint64_t>();
        case Json::value_t::number_float: return json.template get<double>();
        case Json::value_t::string: return json.template get_ref<const std::string&>();
        case Json::value_t::binary: {
            Bytes bytes(json.get_binary().size());
            if (!bytes.empty()) std::memcpy(bytes.data(), json.get_binary().data(), bytes.size());
            return bytes;
        }
        case Json::value_t::array: {
            Array items;
            items.reserve(json.size());
            for (const Json& item : json) items.push_back(from_nlohmann(item));
            return items;
        }
        case Json::value_t::object: break;
    }
    Object members;
    members.reserve(json.size());
    for (const auto& [key, member] : json.items()) members.emplace_back(key, from_nlohmann(member));
    return members;
}

namespace detail {

// Converts to nlohmann::json, but brings none of nlohmann's own overloads into the look-up, which take every enum.
struct NlohmannProbe {
    operator nlohmann::json&() const;
};
template <class T>
concept nlohmann_enum =
    std::is_enum_v<T> && !has_enumerators<T> && requires(const NlohmannProbe& json, T& value) {
        to_json(json, value);
        from_json(json, value);
    };
// Standard types, which nlohmann converts as well, keep the library's own codecs.
template <class T>
concept nlohmann_foreign =
    sequence<T> || set_like<T> || map_like<T> || is_optional<T> || is_duration<T> || is_bytes<T> ||
    one_of<T, std::string, std::monostate, Value, Any, Timestamp> ||
    requires { std::tuple_size<T>::value; } || requires { std::variant_size<T>::value; } ||
    requires { typename T::traits_type; } || requires { typename T::element_type; };
template <class T>
concept nlohmann_class =
    std::is_class_v<T> && !nlohmann_foreign<T> && !has_fields<T> &&
    requires(nlohmann::json& json, const nlohmann::json& read, const T& value, T& target) {
        to_json(json, value);
        from_json(read, target);
    };

template <class Json>
struct NlohmannCodec {
    static Value encode(const Json& json) { return from_nlohmann(json); }
    static Json decode(const Value& value, const Path& path) {
        try {
            return to_nlohmann<Json>(value, path);
        } catch (const EncodeError& error) {
            fail_decode(path, "a JSON value (" + error.reason() + ")", value);
        }
    }
};

}  // namespace detail

template <>
struct Codec<nlohmann::json> : detail::NlohmannCodec<nlohmann::json> {};
template <>
struct Codec<nlohmann::ordered_json> : detail::NlohmannCodec<nlohmann::ordered_json> {};

template <class T>
    requires(detail::nlohmann_class<T> || detail::nlohmann_enum<T>)
struct Codec<T> {
    static Value encode(const T& value) {
        nlohmann::json json;
        to_json(json, value);
        return from_nlohmann(json);
    }
    static T decode(const Value& value, const Path& path) {
        const auto json = Codec<nlohmann::json>::decode(value, path);
        try {
            T result{};
            from_json(json, result);
            return result;
        } catch (const nlohmann::json::exception& error) {
            fail_decode(path, std::string("what its from_json takes (") + error.what() + ")", value);
        }
    }
};

}  // namespace dbos
