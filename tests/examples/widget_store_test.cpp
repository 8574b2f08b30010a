#include "program.hpp"

namespace dbos::test {
namespace {

// What `POST /checkout/KEY` and the payment give, however often the server dies: an answer of 200 in the end.
std::string buy(const Http& http, const std::string& key, const std::string& status) {
    const auto payment = http.post("/checkout/" + key);
    EXPECT_EQ(payment.status, 200) << payment.body;
    EXPECT_EQ(payment.body, key);
    const auto order = http.post("/payment_webhook/" + payment.body + "/" + status);
    EXPECT_EQ(order.status, 200) << order.body;
    return order.body;
}

int inventory(const Http& http) { return http.get("/product").json().at("inventory").get<int>(); }

void expect_order(const Http& http, const std::string& id, int status, int remaining) {
    const auto order = http.get("/order/" + id).json();
    EXPECT_EQ(order.at("order_id"), std::stoi(id));
    EXPECT_EQ(order.at("order_status"), status);
    EXPECT_EQ(order.at("progress_remaining"), remaining);
    EXPECT_TRUE(order.at("last_update_time").is_string());
}

void wait_for_status(const Http& http, const std::string& id, int status) {
    EXPECT_TRUE(eventually([&] { return http.get("/order/" + id).json().at("order_status") == status; }, 60));
}

TEST(WidgetStore, killed_at_every_operation_sells_each_widget_once) {
    on_every_database([](ExampleDatabase& database) {
        Http http;
        Program program(example("widget-store", "widget-store"), serve_on(database),
                        database.directory() / "log");
        program.start();
        program.wait_for_port();
        database.slow_down();

        std::string paid, cancelled;
        auto kills = kill_at_every_operation(database, program, &http, [&] {
            std::thread other([&] { cancelled = buy(http, "not-paid", "failed"); });
            paid = buy(http, "paid", "paid");
            wait_for_status(http, paid, 1);
            other.join();
        });
        expect_killed_everywhere(database, kills);
        expect_order(http, paid, 1, 0);
        expect_order(http, cancelled, -1, 10);
        EXPECT_EQ(inventory(http), 99);
        EXPECT_EQ(http.get("/orders").json().size(), 2u);
        EXPECT_TRUE(eventually([&] {
            return database.one("SELECT count(*) FROM @workflow_status WHERE status = 'SUCCESS'") == "3";
        }));
        EXPECT_EQ(database.one("SELECT count(*) FROM @workflow_status"), "3");

        // Nothing left: the order is cancelled, and the widget that is not there is not sold.
        database.script("UPDATE products SET inventory = 0");
        kills = kill_at_every_operation(database, program, &http,
                                        [&] { EXPECT_EQ(http.post("/checkout/nothing-left").status, 500); });
        // Not always the third number: those of a PostgreSQL sequence that a kill has rolled back are gone.
        const auto orders = http.get("/orders").json();
        ASSERT_EQ(orders.size(), 3u);
        expect_order(http, std::to_string(orders.back().at("order_id").get<int>()), -1, 10);
        EXPECT_EQ(inventory(http), 0);
        EXPECT_EQ(http.post("/restock").status, 200);
        EXPECT_EQ(inventory(http), 100);
        EXPECT_TRUE(program.terminate());
    });
}

TEST(WidgetStore, routes) {
    on_every_database([](ExampleDatabase& database) {
        Http http;
        Program program(example("widget-store", "widget-store"), serve_on(database),
                        database.directory() / "log");
        program.start();
        http.server_is_at(program.wait_for_port());

        EXPECT_NE(http.get("/").body.find("<!DOCTYPE html>"), std::string::npos);
        const auto product = http.get("/product").json();
        EXPECT_EQ(product.at("product_id"), 1);
        EXPECT_EQ(product.at("price"), 99.99);
        EXPECT_EQ(product.at("inventory"), 100);
        EXPECT_TRUE(product.at("product").is_string() && product.at("description").is_string());
        EXPECT_EQ(http.get("/orders").json(), Json::array());
        EXPECT_EQ(http.get("/order/1").status, 404);
        EXPECT_EQ(http.get("/order/one").status, 400);
        EXPECT_EQ(http.post("/payment_webhook/nobody/paid").status, 500);

        // Twice the same key is one order; the crash route is the end of the process, and not of the order.
        EXPECT_EQ(http.post("/checkout/key").body, "key");
        EXPECT_EQ(http.post("/checkout/key").body, "key");
        EXPECT_EQ(http.try_post("/crash_application"), std::nullopt);
        EXPECT_EQ(program.wait(), 1);
        program.start();
        http.server_is_at(program.wait_for_port());
        expect_order(http, "1", 0, 10);
        EXPECT_EQ(http.post("/checkout/key").body, "key");
        EXPECT_EQ(http.post("/payment_webhook/key/paid").body, "1");
        EXPECT_EQ(http.post("/payment_webhook/key/failed").body, "1");  // comes too late
        EXPECT_EQ(http.get("/orders").json().size(), 1u);
        EXPECT_EQ(http.get("/order/1").json().at("order_status"), 2);
        EXPECT_EQ(inventory(http), 99);
        EXPECT_TRUE(program.terminate());
    });
}

}  // namespace
}  // namespace dbos::test
