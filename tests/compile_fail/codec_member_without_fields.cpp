// expect: dbos: this type is not serializable; add DBOS_FIELDS(Type, members...) beside it
#include "dbos/failure.hpp"

struct Item {
    int count = 0;
};
struct Order {
    Item item = {};
};
DBOS_FIELDS(Order, item)

dbos::Value stored() { return dbos::to_value(Order{}); }
