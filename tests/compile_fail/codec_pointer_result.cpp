// expect: a result must own its data
#include "dbos/failure.hpp"

static_assert(dbos::detail::require_result<int*>());
