// expect: dbos: a single character is not serializable; use std::string or an integer type
#include "dbos/failure.hpp"

dbos::Value stored() { return dbos::to_value('x'); }
