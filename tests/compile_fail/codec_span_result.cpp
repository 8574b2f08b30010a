// expect: a result must own its data
#include "dbos/failure.hpp"

#include <span>

static_assert(dbos::detail::require_result<std::span<const int>>());
