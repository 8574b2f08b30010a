// expect: dbos: an argument does not convert to the workflow's parameter type
#include "dbos/client.hpp"

inline constexpr auto Add = dbos::workflow<int(int, double)>("add");
inline constexpr auto Greet = dbos::workflow<std::string(std::string, bool)>("greet");

void call(dbos::Client& client) { client.enqueue(Greet, {}, "x", 1); }
