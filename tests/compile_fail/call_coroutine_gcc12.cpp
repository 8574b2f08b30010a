// expect: store the Future in a variable, then co_await it
#include "dbos/ext/coroutine.hpp"

#if defined(__clang__) || __GNUC__ >= 13
#error "this compiler needs no: store the Future in a variable, then co_await it"
#endif
