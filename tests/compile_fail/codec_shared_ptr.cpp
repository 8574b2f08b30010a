// expect: dbos: std::shared_ptr is not serializable, for sharing would be lost
#include "dbos/failure.hpp"

dbos::Value stored() { return dbos::to_value(std::make_shared<int>(5)); }
