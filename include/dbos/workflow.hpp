// Contracts: what a workflow is called, takes, returns and throws, shared by those who call it and those who
// implement it.
//
//   inline constexpr auto Checkout = dbos::workflow<Receipt(Order)>("checkout").throws<CardDeclined>();
//   inline constexpr auto Resize =
//       dbos::workflow<std::string(std::string, bool)>("resize", dbos::params("path", "*", "fast"));
//
// A contract is a constant without state; it says nothing of where its body runs or in which language.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "dbos/codec.hpp"
#include "dbos/error.hpp"
#include "dbos/export.hpp"
#include "dbos/failure.hpp"
#include "dbos/value.hpp"

namespace dbos {

namespace detail {

// Never defined: their names are what a compiler prints when a literal is refused.
void name_must_be_1_to_255_printable_characters();
void names_starting_with_DBOS_dot_are_reserved();
void params_must_name_every_parameter_of_the_workflow_once();

consteval void check_literal_name(std::string_view text) {
    if (text.empty() || text.size() > 255) name_must_be_1_to_255_printable_characters();
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) name_must_be_1_to_255_printable_characters();
    }
    if (text.starts_with("DBOS.")) names_starting_with_DBOS_dot_are_reserved();
}

}  // namespace detail

/// The name of a workflow or step: a literal, checked by the compiler, or a `constexpr dbos::Name`.
///
/// 1 to 255 bytes without control characters; names that start with `DBOS.` are reserved. A step's name must
/// be the same on every replay, so a run-time text needs Name::dynamic(), which says that it is.
class DBOS_EXPORT Name {
   public:
    template <std::size_t N>
    consteval Name(const char (&literal)[N]) : text_(literal, N - 1) {
        detail::check_literal_name(text_);
    }
    constexpr Name(const Name& other) : text_(other.text_) {
        if (other.owned_) adopt(*other.owned_);
    }
    constexpr Name(Name&& other) noexcept
        : text_(other.text_), owned_(std::exchange(other.owned_, nullptr)) {}
    Name& operator=(const Name&) = delete;
    Name& operator=(Name&&) = delete;
    constexpr ~Name() { delete owned_; }

    /// A name made at run time, which the caller promises to be the same on every replay. Throws UsageError
    /// for a text that a literal would be refused for.
    static Name dynamic(std::string text);

    constexpr std::string_view text() const noexcept { return text_; }
    std::string string() const { return std::string(text_); }

   private:
    constexpr Name() = default;
    constexpr void adopt(std::string text) {
        owned_ = new std::string(std::move(text));
        text_ = *owned_;
    }
    std::string_view text_ = {};
    const std::string* owned_ = nullptr;  // of a dynamic name
};

/// Names of a workflow's parameters, from params().
template <std::size_t N>
struct ParamNames {
    std::array<std::string_view, N> names = {};
};

/// Optional parameter names of a contract; those after `"*"` are sent as named arguments, as in Python.
template <std::size_t... N>
consteval auto params(const char (&... names)[N]) {
    return ParamNames<sizeof...(N)>{{std::string_view(names, N - 1)...}};
}

namespace detail {

template <class... T>
struct types {
    static constexpr std::size_t count = sizeof...(T);
};

/// An integer parameter of a contract: takes an integer of any width and checks its range.
template <integer I>
class IntegerArgument {
   public:
    IntegerArgument() = default;
    template <integer J>
    IntegerArgument(J value) : value_(static_cast<I>(value)) {
        if (!std::in_range<I>(value)) {
            throw UsageError("an integer argument is out of range: expected " +
                             std::to_string(std::numeric_limits<I>::min()) + " to " +
                             std::to_string(std::numeric_limits<I>::max()) + ", got " +
                             std::to_string(value));
        }
    }
    template <class T>
        requires(!integer<T> && !std::is_arithmetic_v<T> && std::is_convertible_v<T, I>)
    IntegerArgument(const T& value) : value_(value) {}
    I get() const noexcept { return value_; }

   private:
    I value_ = 0;
};

template <class A>
struct argument {
    using type = A;
    static A&& get(A& value) noexcept { return std::move(value); }
};
template <integer A>
struct argument<A> {
    using type = IntegerArgument<A>;
    static A get(const type& value) noexcept { return value.get(); }
};
/// The type by which a call takes the argument of a parameter A; deduces nothing.
template <class A>
using argument_t = typename argument<A>::type;

template <class T>
struct optional_of {
    using type = void;
};
template <class T>
struct optional_of<std::optional<T>> {
    using type = T;
};

template <class A, class U>
consteval bool fits_one() {
    using V = std::remove_cvref_t<U>;
    using Inner = typename optional_of<A>::type;
    if constexpr (!std::is_convertible_v<U, A>) {
        return false;
    } else if constexpr (std::is_same_v<V, std::nullptr_t>) {
        return !std::is_class_v<A>;
    } else if constexpr (std::is_same_v<A, bool>) {
        return std::is_same_v<V, bool> || std::is_class_v<V>;
    } else if constexpr (std::is_arithmetic_v<A>) {
        return !std::is_same_v<V, bool> && !(std::is_integral_v<A> && std::is_floating_point_v<V>);
    } else if constexpr (std::is_arithmetic_v<Inner> && std::is_arithmetic_v<V>) {
        // No wrapper checks a range here, so an integer must fit by its type.
        if constexpr (integer<Inner> && integer<V>) {
            return std::in_range<Inner>(std::numeric_limits<V>::max()) &&
                   std::in_range<Inner>(std::numeric_limits<V>::min());
        } else {
            return fits_one<Inner, U>();
        }
    } else {
        return true;
    }
}

template <class Parameters, class Given>
struct fits_helper : std::false_type {};
template <class... A, class... U>
    requires(sizeof...(A) == sizeof...(U))
struct fits_helper<types<A...>, types<U...>> : std::bool_constant<(fits_one<A, U>() && ...)> {};
/// Whether a call with these arguments is one of the contract's: same count, convertible, no bool for a
/// number or the other way round, no floating-point number for an integer, no nullptr for an object.
template <class Parameters, class Given>
inline constexpr bool fits = fits_helper<Parameters, Given>::value;

/// Body of the overloads that exist for their sentences.
template <class Parameters, class Given>
constexpr void explain_misfit() {
    static_assert(Parameters::count == Given::count, "dbos: wrong number of arguments for this workflow");
    static_assert(Parameters::count != Given::count || fits<Parameters, Given>,
                  "dbos: an argument does not convert to the workflow's parameter type");
}

}  // namespace detail

template <class Signature, class... E>
class Workflow;

/// A contract. Made by dbos::workflow(); all of it is known at compile time.
template <class R, class... A, class... E>
class Workflow<R(A...), E...> {
   public:
    using result_type = R;
    using parameter_types = detail::types<A...>;
    using arguments_tuple = std::tuple<A...>;
    static constexpr std::size_t arity = sizeof...(A);

    /// Name on the wire.
    constexpr std::string_view name() const noexcept { return name_; }
    /// Class and instance of a method of another language; empty = none.
    constexpr std::string_view class_name() const noexcept { return class_name_; }
    constexpr std::string_view config_name() const noexcept { return config_name_; }
    /// Names of the parameters; empty if the contract has none.
    constexpr std::span<const std::string_view> params() const noexcept {
        return {params_.data(), has_params_ ? arity : 0};
    }
    /// How many leading parameters are sent by position; the rest by name.
    constexpr std::size_t positional_count() const noexcept { return positional_; }
    /// The listed error types, for encoding and raising.
    static constexpr std::span<const ErrorType> error_types() noexcept { return kErrors; }

    /// The same contract with more error types: what a failed step or the workflow may throw as this type.
    template <class... More>
    consteval Workflow<R(A...), E..., More...> throws() const {
        (static_cast<void>(error_type<More>()), ...);  // refused here, not where the list is first used
        Workflow<R(A...), E..., More...> copy;
        copy.name_ = name_;
        copy.class_name_ = class_name_;
        copy.config_name_ = config_name_;
        copy.params_ = params_;
        copy.has_params_ = has_params_;
        copy.positional_ = positional_;
        return copy;
    }
    /// The same contract for a method of a class (and configured instance) of an application in another
    /// language.
    template <std::size_t N>
    consteval Workflow in_class(const char (&class_name)[N]) const {
        Workflow copy = *this;
        copy.class_name_ = std::string_view(class_name, N - 1);
        return copy;
    }
    template <std::size_t N, std::size_t M>
    consteval Workflow in_class(const char (&class_name)[N], const char (&config_name)[M]) const {
        Workflow copy = in_class(class_name);
        copy.config_name_ = std::string_view(config_name, M - 1);
        return copy;
    }

   private:
    template <class Signature, class... F>
    friend class Workflow;
    template <class Signature, std::size_t N, std::size_t P>
    friend consteval auto workflow(const char (&name)[N], ParamNames<P> params);
    constexpr Workflow() = default;

    static constexpr std::array<ErrorType, sizeof...(E)> kErrors = {error_type<E>()...};
    std::string_view name_ = {};
    std::string_view class_name_ = {};
    std::string_view config_name_ = {};
    std::array<std::string_view, arity> params_ = {};
    bool has_params_ = false;
    std::size_t positional_ = arity;
};

namespace detail {

template <class Signature>
struct contract_of;
template <class R, class... A>
struct contract_of<R(A...)> {
    static_assert(require_result<R>());
    static_assert((require_serializable<stored_t<A>>() && ...));
    // Held decayed, texts with their own characters.
    using type = Workflow<stored_t<R>(stored_t<A>...)>;
};

}  // namespace detail

/// Makes a contract: `dbos::workflow<Receipt(Order)>("checkout")`, with optional parameter names.
template <class Signature, std::size_t N, std::size_t P>
consteval auto workflow(const char (&name)[N], ParamNames<P> params) {
    typename detail::contract_of<Signature>::type contract;
    contract.name_ = std::string_view(name, N - 1);
    detail::check_literal_name(contract.name_);
    if constexpr (P > 0) {
        std::size_t count = 0;
        bool star = false;
        for (const std::string_view param : params.names) {
            if (param == "*" && !star) {
                star = true;
                contract.positional_ = count;
                continue;
            }
            if (param.empty() || param == "*" || count == contract.arity) {
                detail::params_must_name_every_parameter_of_the_workflow_once();
            }
            for (std::size_t i = 0; i < count; ++i) {
                if (contract.params_[i] == param)
                    detail::params_must_name_every_parameter_of_the_workflow_once();
            }
            contract.params_[count++] = param;
        }
        if (count != contract.arity) detail::params_must_name_every_parameter_of_the_workflow_once();
        contract.has_params_ = true;
    }
    return contract;
}
template <class Signature, std::size_t N>
consteval auto workflow(const char (&name)[N]) {
    return workflow<Signature>(name, ParamNames<0>{});
}

namespace detail {

template <class Contract, class... T, std::size_t... I>
Arguments encode_contract_arguments(const Contract& contract, std::index_sequence<I...>,
                                    const T&... arguments) {
    Arguments encoded;
    const std::size_t positional = contract.positional_count();
    encoded.positional.reserve(positional);
    (void)positional;
    (..., (I < positional ? static_cast<void>(encoded.positional.push_back(to_value(arguments)))
                          : static_cast<void>(encoded.named.emplace_back(std::string(contract.params()[I]),
                                                                         to_value(arguments)))));
    return encoded;
}

/// The arguments of a call by contract, encoded at once: by position, and by name after `"*"`.
template <class R, class... A, class... E>
Arguments encode_arguments(const Workflow<R(A...), E...>& contract, argument_t<A>&... arguments) {
    return encode_contract_arguments(contract, std::index_sequence_for<A...>{},
                                     static_cast<const A&>(argument<A>::get(arguments))...);
}

/// Finds the argument of each parameter: positional ones fill the parameters in order, named ones by the contract's names. A
/// missing one is nullptr. Throws DecodeError with a sentence: too many, an unknown name, a parameter given twice, or named
/// arguments for a contract without parameter names.
DBOS_EXPORT std::vector<const Value*> bind_arguments(std::string_view workflow,
                                                     std::span<const std::string_view> params,
                                                     std::size_t arity, const Arguments& arguments);
/// "the first argument", or its name.
[[noreturn]] DBOS_EXPORT void fail_missing_argument(std::string_view workflow,
                                                    std::span<const std::string_view> params,
                                                    std::size_t index);

template <class A>
A decode_argument(std::string_view workflow, std::span<const std::string_view> params, std::size_t index,
                  const Value* value) {
    if (value == nullptr) {
        if constexpr (!std::is_void_v<typename optional_of<A>::type>) {
            return std::nullopt;
        } else {
            fail_missing_argument(workflow, params, index);
        }
    } else {
        const Path arguments("arguments");
        const Path path(arguments, index);
        return from_value<A>(*value, path);
    }
}

template <class R, class... A, class... E, std::size_t... I>
std::tuple<A...> decode_bound(const Workflow<R(A...), E...>& contract, const std::vector<const Value*>& bound,
                              std::index_sequence<I...>) {
    return std::tuple<A...>{decode_argument<A>(contract.name(), contract.params(), I, bound[I])...};
}

/// The arguments of a workflow as its body takes them. Missing std::optional parameters are empty. Throws DecodeError.
template <class R, class... A, class... E>
std::tuple<A...> decode_arguments(const Workflow<R(A...), E...>& contract, const Arguments& arguments) {
    return decode_bound(contract, bind_arguments(contract.name(), contract.params(), sizeof...(A), arguments),
                        std::index_sequence_for<A...>{});
}

}  // namespace detail

}  // namespace dbos
