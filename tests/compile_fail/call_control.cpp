// expect: compiles
#include "dbos/client.hpp"

inline constexpr auto Add = dbos::workflow<int(int, double)>("add");
inline constexpr auto Greet = dbos::workflow<std::string(std::string, bool)>("greet");

struct Order {
    std::string id = {};
    int cents = 0;
};
DBOS_FIELDS(Order, id, cents)
inline constexpr auto Checkout = dbos::workflow<void(const Order&)>("checkout");

void call(dbos::Client& client, Order order) {
    client.enqueue(Add, {.queue_name = "q"}, 1L, 2);
    client.enqueue(Greet, {}, "x", true);
    client.enqueue(Checkout, {}, order);
    client.enqueue(Checkout, {}, {"o-17", 4200});
    client.enqueue(Checkout, {}, {.id = "o"});
    client.enqueue_async(Add, {}, 1, 2.5);
    client.enqueue<int>({.workflow_name = "add", .queue_name = "q"}, 1, dbos::named("b", 2.5));
    client.list_workflows({.status = {dbos::Status::error, dbos::Status::cancelled}, .limit = 3});
}
