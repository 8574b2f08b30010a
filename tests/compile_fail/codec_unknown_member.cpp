// expect: aa
#include "dbos/failure.hpp"

struct Order {
    int a = 0;
};
DBOS_FIELDS(Order, aa)

dbos::Value stored() { return dbos::to_value(Order{}); }
