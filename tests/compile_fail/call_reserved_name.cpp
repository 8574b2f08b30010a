// expect: names_starting_with_DBOS_dot_are_reserved
#include "dbos/workflow.hpp"

inline constexpr auto Bad = dbos::workflow<int()>("DBOS.sleep");
