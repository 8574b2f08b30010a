// expect: a result must own its data
#include "dbos/failure.hpp"

int number = 5;

dbos::Value stored() { return dbos::to_value(&number); }
