// expect: compiles
#include "dbos/failure.hpp"

namespace shop {
struct Order {
    int cents = 0;
};
DBOS_FIELDS(Order, cents)
struct Declined : std::runtime_error {
    using std::runtime_error::runtime_error;
};
DBOS_ERROR(Declined)
enum class Colour { red };
DBOS_ENUM(Colour, red)
}  // namespace shop

dbos::Value stored() { return dbos::to_value(shop::Order{}); }
inline constexpr auto known = dbos::error_type<shop::Declined>();
static_assert(dbos::detail::require_result<void>() && dbos::detail::require_result<const char*>());
static_assert(dbos::detail::require_result<std::vector<shop::Colour>>());
