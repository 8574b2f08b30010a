// expect: add DBOS_FIELDS(Type, members...) beside it
#include "dbos/client.hpp"

inline constexpr auto Add = dbos::workflow<int(int, double)>("add");
inline constexpr auto Greet = dbos::workflow<std::string(std::string, bool)>("greet");

struct Order {};
void call(dbos::Client& client) { client.enqueue({.workflow_name = "w"}, Order()); }
