// expect: dbos: named arguments stand after all positional ones
#include "dbos/failure.hpp"

auto arguments() { return dbos::to_arguments(dbos::named("fast", true), 1); }
