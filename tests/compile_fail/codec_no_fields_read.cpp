// expect: dbos: this type is not serializable; add DBOS_FIELDS(Type, members...) beside it
#include "dbos/failure.hpp"

struct Order {
    int cents = 0;
};

Order read(const dbos::Value& value) { return dbos::from_value<Order>(value); }
