// expect: Duration
#include "dbos/failure.hpp"

struct Options {
    dbos::Duration timeout = {};
};
Options options{.timeout = 30};
