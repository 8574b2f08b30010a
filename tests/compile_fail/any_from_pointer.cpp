// expect: Any
#include "dbos/failure.hpp"

int number = 5;
dbos::Any any = &number;
