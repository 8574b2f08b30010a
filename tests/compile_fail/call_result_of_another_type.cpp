// expect: convert
#include "dbos/client.hpp"

inline constexpr auto Add = dbos::workflow<int(int, double)>("add");
inline constexpr auto Greet = dbos::workflow<std::string(std::string, bool)>("greet");

void call(dbos::Client& client) {
    int* result = client.enqueue(Add, {}, 1, 2.0).get_result();
    (void)result;
}
