// expect: dbos: named arguments stand after all positional ones
#include "dbos/client.hpp"

inline constexpr auto Add = dbos::workflow<int(int, double)>("add");
inline constexpr auto Greet = dbos::workflow<std::string(std::string, bool)>("greet");

void call(dbos::Client& client) { client.enqueue({.workflow_name = "w"}, dbos::named("a", 1), 2); }
