// expect: no matching
#include "dbos/client.hpp"

inline constexpr auto Add = dbos::workflow<int(int, double)>("add");
inline constexpr auto Greet = dbos::workflow<std::string(std::string, bool)>("greet");

void call(dbos::Client& client) { client.enqueue(Add, {.workflow_timeout = 30}, 1, 2.0); }
