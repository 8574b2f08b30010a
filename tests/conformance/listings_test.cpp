// The listings of the manual, compiled as they stand (but for what this version does not have) and run.
#include <atomic>
#include <functional>

#include "support/app.hpp"

using namespace std::chrono_literals;

namespace listing {

struct Order {
    std::string id = {};
    int cents = 0;
};
struct Receipt {
    std::string order_id = {};
    std::string charge_id = {};
};
DBOS_FIELDS(Order, id, cents)
DBOS_FIELDS(Receipt, order_id, charge_id)
struct CardDeclined : std::runtime_error {
    using std::runtime_error::runtime_error;
};
DBOS_ERROR(CardDeclined)

inline constexpr auto Checkout = dbos::workflow<Receipt(Order)>("checkout").throws<CardDeclined>();
inline constexpr auto PrintLabel = dbos::workflow<std::string(std::string)>("print_label");
inline constexpr auto Resize =
    dbos::workflow<std::string(std::string, bool)>("resize", dbos::params("path", "*", "fast"));

std::string charge_card(const Order& order) {
    if (order.cents > 100'000) throw CardDeclined("over the limit");
    return "ch-" + order.id;
}
int weigh(const Order&) { return 250; }
std::atomic<int> shipped{0};
void ship(const std::string&, int) { ++shipped; }

Receipt checkout(dbos::Context& ctx, const Order& order) {
    auto charge = ctx.step(
        "charge", [&] { return charge_card(order); },
        {.max_attempts = 5, .interval = 200ms, .should_retry = [](const std::exception&) { return false; }});
    auto label =
        ctx.start_workflow(PrintLabel, {.queue_name = "labels"}, order.id);  // child, maybe another language
    auto weight =
        ctx.async_step("weigh", [&] { return weigh(order); });  // parallel steps, ids in program order
    auto tracking = label.get_result();                         // durable waits stand in the body …
    auto grams = weight.get();
    ctx.step("ship", [&] { ship(tracking, grams); });  // … steps only do the work
    return {.order_id = order.id, .charge_id = charge};
}

struct Shop {
    std::string prefix = {};
    std::string print(dbos::Context& ctx, const std::string& id) const {
        return ctx.step("print", [&] { return prefix + id; });
    }
};

class Listings : public dbos::test::AppTest {};
DBOS_FOR_EVERY_DATABASE(Listings);

TEST_P(Listings, of_an_application_and_of_its_client) {
    shipped = 0;
    const Shop shop{.prefix = "T-"};
    dbos::App app(app_options("shop"));
    app.implement(Checkout, checkout);
    app.implement(PrintLabel, std::bind_front(&Shop::print, &shop));
    app.implement(Resize, [](dbos::Context&, const std::string& path, bool fast) {
        return path + (fast ? " fast" : " slow");
    });
    app.register_queue({.name = "labels"});
    app.register_queue({.name = "orders", .worker_concurrency = 16});
    app.launch();  // migrates, recovers, serves
    auto started = app.start_workflow(Checkout, {.workflow_id = "o-17"}, Order{"o-17", 4200});
    EXPECT_EQ(started.get_result().charge_id, "ch-o-17");
    EXPECT_EQ(app.start_workflow(Checkout, {.workflow_id = "o-18"}, {"o-18", 1}).get_result().order_id,
              "o-18");  // braces
    EXPECT_EQ(app.start_workflow(Checkout, {}, {.id = "o-19"}).get_result().charge_id, "ch-o-19");

    dbos::ClientOptions options;
    options.system_database_url = database().url();
    options.dbos_system_schema = database().schema();
    options.application_name = "shop";
    options.log_sink = log.sink();
    dbos::Client client(options);  // another program
    const Order order{"o-20", 7};
    auto handle = client.enqueue(Checkout, {.queue_name = "orders", .workflow_timeout = 30s}, order);
    Receipt receipt = handle.get_result();  // a failure throws CardDeclined, or WorkflowFailed
    EXPECT_EQ(receipt.charge_id, "ch-o-20");
    auto any = client.enqueue<dbos::Value>({.workflow_name = "resize", .queue_name = "orders"}, "a.png",
                                           dbos::named("fast", true));
    EXPECT_EQ(any.get_result(), dbos::Value("a.png fast"));
    EXPECT_EQ(client.enqueue(Resize, {.queue_name = "orders"}, "b.png", false).get_result(), "b.png slow");
    EXPECT_THROW(client.enqueue(Checkout, {.queue_name = "orders"}, Order{"rich", 200'000}).get_result(),
                 CardDeclined);
    try {
        client
            .enqueue({.workflow_name = "resize", .queue_name = "orders"}, "a.png",
                     dbos::named("faster", true))
            .get_result();
        ADD_FAILURE() << "a named argument that the contract does not have was taken";
    } catch (const dbos::WorkflowFailed& error) {
        EXPECT_NE(error.message().find("faster"), std::string::npos) << error.message();
    }
    dbos::test::Gate done;
    client.enqueue_async(Checkout, {.queue_name = "orders"}, order)
        .then([&](dbos::WorkflowHandle<Receipt> later) { return later.get_result_async(); })
        .then(
            [&](Receipt last) {
                EXPECT_EQ(last.order_id, "o-20");
                done.open();
                done.pass();
            },
            [&](std::exception_ptr) {
                ADD_FAILURE();
                done.open();
                done.pass();
            });
    EXPECT_TRUE(done.wait_for_arrivals(1));
    EXPECT_EQ(shipped, 5);  // once for each checkout that was not declined
}

}  // namespace listing
