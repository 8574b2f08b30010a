// The C++ programs of docs/how-to/from-python-to-cpp.md; from_python.py is the other side. One test runs them in their order.
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>
#include <thread>

#include "support/database.hpp"

namespace {

// [workflow]
using namespace std::chrono_literals;

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

inline constexpr auto Checkout =
    dbos::workflow<Receipt(Order)>("checkout", dbos::params("order"));

std::string charge(const Order& order) { return "charge-" + order.id; }
void pack(const Order&) {}

Receipt checkout(dbos::Context& ctx, const Order& order) {
    auto charge_id = ctx.step("charge", [&] { return charge(order); },
                              {.max_attempts = 5, .interval = 200ms});
    ctx.sleep(100ms);
    ctx.step("pack", [&] { pack(order); });
    return {.order_id = order.id, .charge_id = charge_id};
}
// [workflow]

// [parallel]
struct Quote {
    int cents = 0;
    int days = 0;
};
DBOS_FIELDS(Quote, cents, days)

inline constexpr auto MakeQuote = dbos::workflow<Quote(Order)>("quote");

int price_of(const Order& order) { return order.cents; }
int days_for(const Order&) { return 3; }

Quote quote(dbos::Context& ctx, const Order& order) {
    auto price = ctx.async_step("price_of", [&] { return price_of(order); });
    auto days = ctx.async_step("days_for", [&] { return days_for(order); });
    return {.cents = price.get(), .days = days.get()};
}
// [parallel]

// [children]
using Orders = std::vector<Order>;
using Texts = std::vector<std::string>;
inline constexpr auto CheckoutAll =
    dbos::workflow<Texts(Orders)>("checkout_all");

Texts checkout_all(dbos::Context& ctx, const Orders& orders) {
    std::vector<dbos::WorkflowHandle<Receipt>> handles;
    for (const Order& order : orders)
        handles.push_back(
            ctx.start_workflow(Checkout, {.queue_name = "orders"}, order));
    Texts charges;
    for (auto& handle : handles)
        charges.push_back(handle.get_result().charge_id);
    return charges;
}
// [children]

// [errors]
struct CardDeclined : std::runtime_error {
    using std::runtime_error::runtime_error;
};
DBOS_ERROR(CardDeclined)

inline constexpr auto Pay =
    dbos::workflow<std::string(Order)>("pay").throws<CardDeclined>();

void authorize(const Order& order) {
    if (order.cents <= 0) throw CardDeclined("no money in it");
}

std::string pay(dbos::Context& ctx, const Order& order) {
    try {
        ctx.step("authorize", [&] { authorize(order); });
    } catch (const CardDeclined& error) {
        if (order.id == "test") return std::string("sorry: ") + error.what();
        throw;
    }
    return "paid";
}
// [errors]

// [scheduled]
using Time = std::chrono::system_clock::time_point;
inline constexpr auto Report =
    dbos::workflow<std::string(Time, std::string)>("report");

std::string report(dbos::Context&, Time, const std::string& to) {
    return "report for " + to;
}
// [scheduled]

TEST(FromPython, every_program_runs) {
    const dbos::test::TestDatabase database(dbos::sql::Backend::sqlite);
    const std::string& url = database.url();

    // [app]
    dbos::App app({.name = "shop",
                   .system_database_url = url,
                   .application_version = "shop-1"});
    app.implement(Checkout, checkout);
    app.implement(MakeQuote, quote);
    app.implement(CheckoutAll, checkout_all);
    app.implement(Pay, pay);
    app.implement(Report, report);
    app.register_queue({.name = "orders", .worker_concurrency = 16});
    app.launch();
    // [app]

    // [start]
    auto started = app.start_workflow(Checkout, {.workflow_id = "o-17"},
                                      {.id = "o-17", .cents = 4200});
    Receipt receipt = started.get_result();
    // [start]
    EXPECT_EQ(receipt.charge_id, "charge-o-17");
    EXPECT_EQ(app.start_workflow(MakeQuote, {}, {"o", 7}).get_result().cents,
              7);
    EXPECT_EQ(
        app.start_workflow(CheckoutAll, {}, {{"a", 1}, {"b", 1}}).get_result(),
        (Texts{"charge-a", "charge-b"}));

    // [client]
    dbos::Client client(
        {.system_database_url = url, .application_name = "shop"});
    // [client]

    // [enqueue]
    auto handle = client.enqueue(Checkout,
                                 {.queue_name = "orders",
                                  .workflow_id = "o-18",
                                  .workflow_timeout = 30s},
                                 {.id = "o-18", .cents = 4200});
    receipt = handle.get_result();
    // [enqueue]
    EXPECT_EQ(receipt.charge_id, "charge-o-18");

    // [by_name]
    auto any =
        client.enqueue({.workflow_name = "checkout", .queue_name = "orders"},
                       dbos::named("order", Order{.id = "o-19", .cents = 1}));
    std::string charge_id = any.get_result().at("charge_id").as_string();
    // [by_name]
    EXPECT_EQ(charge_id, "charge-o-19");

    // [asynchronous]
    dbos::Future<std::string> paid =
        client
            .enqueue_async(Checkout, {.queue_name = "orders"},
                           {.id = "o-20", .cents = 1})
            .then([](auto begun) { return begun.get_result_async(); })
            .then([](const Receipt& done) { return done.charge_id; });
    // [asynchronous]
    EXPECT_EQ(paid.get(), "charge-o-20");

    std::string said;
    // [failure]
    auto refused = client.enqueue(Pay, {.queue_name = "orders"},
                                  {.id = "o-0", .cents = 0});
    try {
        said = refused.get_result();
    } catch (const dbos::AwaitedWorkflowCancelled&) {
        said = "cancelled";
    } catch (const CardDeclined& error) {  // the contract lists it
        said = error.what();
    } catch (const dbos::WorkflowFailed& error) {  // what it does not
        said = error.type_name() + ": " + error.message();
    }
    // [failure]
    EXPECT_EQ(said, "no money in it");
    EXPECT_EQ(app.start_workflow(Pay, {}, {"test", 0}).get_result(),
              "sorry: no money in it");

    // [manage]
    client.cancel_workflow("o-18");
    auto steps = client.list_workflow_steps("o-17");
    auto fork =
        client.fork_workflow(Checkout, "o-17", steps.back().function_id);
    fork.get_result();
    auto failures = client.list_workflows(
        {.status = {dbos::Status::error, dbos::Status::cancelled},
         .start_time = "2026-01-01T00:00:00Z",
         .limit = 50});
    // [manage]
    EXPECT_EQ(failures.size(), 1u);

    // [messages]
    client.send("o-17", dbos::Object{{"ok", true}}, "approval",
                {.idempotency_key = "a-1"});
    auto progress = client.get_event<int>("o-17", "progress", 100ms);
    for (const auto& line : client.read_stream<std::string>("o-17", "log"))
        std::cout << line << '\n';
    // [messages]
    EXPECT_EQ(progress, std::nullopt);

    // [debounce]
    dbos::Debouncer debouncer(client, Checkout,
                              {.debounce_timeout = 10min, .queue = "orders"});
    auto put_off =
        debouncer.debounce("o-21", 100ms, {.id = "o-21", .cents = 4300});
    // [debounce]
    EXPECT_EQ(put_off.get_result().order_id, "o-21");

    // [schedules]
    client.create_schedule({.schedule_name = "daily-report",
                            .workflow_name = "report",
                            .schedule = "0 5 * * *",
                            .context = "sales"});
    auto runs = client.backfill_schedule("daily-report", "2026-03-01T00:00:00Z",
                                         "2026-03-04T00:00:00Z");
    auto run = client.trigger_schedule("daily-report");
    // [schedules]
    EXPECT_EQ(run.get_result().as_string(), "report for sales");
    EXPECT_EQ(runs.size(), 3u);

    std::thread somebody([&] { app.shutdown(); });
    // [close]
    client.destroy();  // or the end of its scope
    app.wait();        // until SIGTERM or shutdown()
    // [close]
    somebody.join();
}

}  // namespace
