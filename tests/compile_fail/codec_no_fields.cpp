// expect: dbos: this type is not serializable; add DBOS_FIELDS(Type, members...) beside it
#include "dbos/failure.hpp"

struct Order {
    int cents = 0;
};

dbos::Value stored() { return dbos::to_value(Order{}); }
