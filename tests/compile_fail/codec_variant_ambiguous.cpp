// expect: dbos: this variant is not serializable
#include "dbos/failure.hpp"

dbos::Value stored() { return dbos::to_value(std::variant<double, int>(5)); }
