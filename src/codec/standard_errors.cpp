#include <any>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <typeinfo>
#include <variant>

#include "codec/known_errors.hpp"

namespace dbos {
namespace {

template <class E>
[[noreturn]] void raise_as(const Failure& failure) {
    if constexpr (std::is_constructible_v<E, const std::string&>) {
        throw E(failure.message);
    } else {
        throw E();
    }
}

// The text given to the constructor: what() without ": <text of the code>" at its end.
std::string own_text(const std::system_error& error) {
    std::string text = error.what();
    const std::string code_text = error.code().message();
    if (text == code_text) return {};
    if (text.ends_with(": " + code_text)) text.erase(text.size() - code_text.size() - 2);
    return text;
}

[[noreturn]] void raise_system_error(const Failure& failure) {
    const Value* category = failure.data.find("category");
    const bool system = category != nullptr && *category == Value("system");
    const std::error_code error(
        failure.code.kind() == Kind::integer ? static_cast<int>(failure.code.as_int()) : 0,
        system ? std::system_category() : std::generic_category());
    const Value* text = failure.data.find("text");
    const bool has_text = text != nullptr && text->kind() == Kind::string && !text->as_string().empty();
    if (has_text) throw std::system_error(error, text->as_string());
    throw std::system_error(error);
}

struct Standard {
    std::string_view name;
    void (*raise)(const Failure&);
};

constexpr Standard kStandard[] = {
    {"exception", raise_as<std::exception>},
    {"bad_exception", raise_as<std::bad_exception>},
    {"bad_alloc", raise_as<std::bad_alloc>},
    {"bad_array_new_length", raise_as<std::bad_array_new_length>},
    {"bad_cast", raise_as<std::bad_cast>},
    {"bad_any_cast", raise_as<std::bad_any_cast>},
    {"bad_typeid", raise_as<std::bad_typeid>},
    {"bad_optional_access", raise_as<std::bad_optional_access>},
    {"bad_variant_access", raise_as<std::bad_variant_access>},
    {"bad_function_call", raise_as<std::bad_function_call>},
    {"bad_weak_ptr", raise_as<std::bad_weak_ptr>},
    {"logic_error", raise_as<std::logic_error>},
    {"invalid_argument", raise_as<std::invalid_argument>},
    {"domain_error", raise_as<std::domain_error>},
    {"length_error", raise_as<std::length_error>},
    {"out_of_range", raise_as<std::out_of_range>},
    {"runtime_error", raise_as<std::runtime_error>},
    {"range_error", raise_as<std::range_error>},
    {"overflow_error", raise_as<std::overflow_error>},
    {"underflow_error", raise_as<std::underflow_error>},
    {"system_error", raise_system_error},
};

const Standard* find_standard(std::string_view name) {
    for (const Standard& entry : kStandard) {
        if (entry.name == name) return &entry;
    }
    return nullptr;
}

}  // namespace

bool describe_standard(const std::exception& error, const std::string& qualified, Failure& failure) {
    constexpr std::string_view prefix = "std::";
    if (!qualified.starts_with(prefix)) return false;
    const Standard* entry = find_standard(std::string_view(qualified).substr(prefix.size()));
    if (entry == nullptr) return false;
    failure.type_name = std::string(entry->name);
    failure.message = error.what();
    if (const auto* system = dynamic_cast<const std::system_error*>(&error)) {
        // Categories of other libraries cannot be found again by name; their code is kept as a generic one.
        const bool is_system = system->code().category() == std::system_category();
        failure.code = std::int64_t{system->code().value()};
        failure.data = Object{{"category", is_system ? "system" : system->code().category().name()},
                              {"text", own_text(*system)}};
    }
    return true;
}

void raise_standard(const Failure& failure) {
    if (const Standard* entry = find_standard(failure.type_name)) entry->raise(failure);
}

}  // namespace dbos
