// expect: dbos: a type with DBOS_FIELDS or DBOS_MEMBERS must be default-constructible to be read back
#include "dbos/failure.hpp"

struct Order {
    explicit Order(int c) : cents(c) {}
    int cents;
};
DBOS_FIELDS(Order, cents)

Order read(const dbos::Value& value) { return dbos::from_value<Order>(value); }
