// Calls a macro for each argument. Up to 250 arguments.
#pragma once

#include <string_view>

namespace dbos::detail {
/// `shop::CardDeclined` → `CardDeclined`.
constexpr std::string_view unqualified(std::string_view name) noexcept {
    const auto colon = name.rfind(':');
    return colon == std::string_view::npos ? name : name.substr(colon + 1);
}
}  // namespace dbos::detail

#define DBOS_DETAIL_PARENS ()
#define DBOS_DETAIL_EXPAND(...) \
    DBOS_DETAIL_EXPAND3(DBOS_DETAIL_EXPAND3(DBOS_DETAIL_EXPAND3(DBOS_DETAIL_EXPAND3(__VA_ARGS__))))
#define DBOS_DETAIL_EXPAND3(...) \
    DBOS_DETAIL_EXPAND2(DBOS_DETAIL_EXPAND2(DBOS_DETAIL_EXPAND2(DBOS_DETAIL_EXPAND2(__VA_ARGS__))))
#define DBOS_DETAIL_EXPAND2(...) \
    DBOS_DETAIL_EXPAND1(DBOS_DETAIL_EXPAND1(DBOS_DETAIL_EXPAND1(DBOS_DETAIL_EXPAND1(__VA_ARGS__))))
#define DBOS_DETAIL_EXPAND1(...) \
    DBOS_DETAIL_EXPAND0(DBOS_DETAIL_EXPAND0(DBOS_DETAIL_EXPAND0(DBOS_DETAIL_EXPAND0(__VA_ARGS__))))
#define DBOS_DETAIL_EXPAND0(...) __VA_ARGS__

// macro(Type, argument) for each argument.
#define DBOS_DETAIL_EACH(macro, Type, ...) \
    __VA_OPT__(DBOS_DETAIL_EXPAND(DBOS_DETAIL_EACH_STEP(macro, Type, __VA_ARGS__)))
#define DBOS_DETAIL_EACH_STEP(macro, Type, first, ...) \
    macro(Type, first) __VA_OPT__(DBOS_DETAIL_EACH_AGAIN DBOS_DETAIL_PARENS(macro, Type, __VA_ARGS__))
#define DBOS_DETAIL_EACH_AGAIN() DBOS_DETAIL_EACH_STEP

#define DBOS_DETAIL_VISIT(Type, member) visitor(#member, &Type::member);
#define DBOS_DETAIL_ENUMERATE(Enum, enumerator) visitor(#enumerator, Enum::enumerator);
