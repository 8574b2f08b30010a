// expect: add DBOS_FIELDS(Type, members...) beside it
#include "dbos/workflow.hpp"

struct Order {};
inline constexpr auto Bad = dbos::workflow<int(Order)>("bad");
