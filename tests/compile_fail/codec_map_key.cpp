// expect: dbos: this map is not serializable; its keys must be std::string
#include "dbos/failure.hpp"

#include <map>

dbos::Value stored() { return dbos::to_value(std::map<int, int>()); }
