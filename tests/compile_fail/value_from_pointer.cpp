// expect: Value
#include "dbos/failure.hpp"

int number = 5;
dbos::Value value = &number;
