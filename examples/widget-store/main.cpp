// A shop that sells widgets, and neither loses nor doubles an order, whenever it is killed.
#include <charconv>
#include <chrono>
#include <dbos/dbos.hpp>
#include <iostream>
#include <optional>
#include <string>

#include "page.hpp"
#include "shop.hpp"

using namespace std::chrono_literals;

inline constexpr auto Checkout = dbos::workflow<void()>("checkout_workflow");
inline constexpr auto DispatchOrder = dbos::workflow<void(int)>("dispatch_order_workflow");

constexpr const char* kPaymentId = "payment_id";  // event: where to pay; null if there is nothing to pay for
constexpr const char* kPaymentStatus = "payment_status";  // topic: "paid", or anything else
constexpr const char* kOrderId = "order_id";              // event: the order is paid for or cancelled

// The body runs again from its beginning after a crash; what has been done is then read from its record. Each transaction
// commits its rows together with that record, so that no widget is reserved twice.
void checkout(dbos::Context& ctx, const web::Database& database) {
    const int order_id = database.transaction(ctx, "create_order", shop::create_order);
    const auto set_status = [&](shop::OrderStatus status) {
        database.transaction(ctx, "update_order_status",
                             [&](web::Sql& sql) { shop::set_order_status(sql, order_id, status); });
    };

    if (!database.transaction(ctx, "reserve_inventory", shop::reserve_inventory)) {
        set_status(shop::OrderStatus::cancelled);
        ctx.set_event(kPaymentId, dbos::Value());
        return;
    }

    ctx.set_event(kPaymentId, ctx.workflow_id());
    const auto payment =
        ctx.recv<std::string>(kPaymentStatus, 120s);  // a message that came before a crash is not lost
    if (payment == "paid") {
        set_status(shop::OrderStatus::paid);
        ctx.start_workflow(DispatchOrder, {}, order_id);
    } else {
        database.transaction(ctx, "undo_reserve_inventory", shop::undo_reserve_inventory);
        set_status(shop::OrderStatus::cancelled);
    }
    ctx.set_event(kOrderId, std::to_string(order_id));
}

void dispatch_order(dbos::Context& ctx, const web::Database& database, int order_id) {
    for (int part = 0; part < 10; ++part) {
        ctx.sleep(1s);
        database.transaction(ctx, "update_order_progress",
                             [&](web::Sql& sql) { shop::advance_order(sql, order_id); });
    }
}

std::optional<int> to_number(const std::string& text) {
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

void add_routes(web::Server& server, dbos::App& app, const web::Database& database) {
    using web::Request, web::Response;

    server.Get("/", [](const Request&, Response& response) { web::reply_html(response, kPage); });

    // The key of the request is the id of the workflow: pressing the button twice is one checkout.
    server.post("/checkout/([^/]+)", [&](const Request& request, Response& response) {
        const std::string key = request.matches[1];
        app.start_workflow(Checkout, {.workflow_id = key});
        const auto payment_id = app.client().get_event<std::string>(key, kPaymentId);
        if (!payment_id) return web::refuse(response, 500, "the checkout failed: is there anything left?");
        response.set_content(*payment_id, "text/plain");
    });
    server.post("/payment_webhook/([^/]+)/([^/]+)", [&](const Request& request, Response& response) {
        const std::string payment_id = request.matches[1], status = request.matches[2];
        app.client().send(payment_id, status, kPaymentStatus);
        const auto order_id = app.client().get_event<std::string>(payment_id, kOrderId);
        if (!order_id) return web::refuse(response, 500, "the payment was not processed");
        response.set_content(*order_id, "text/plain");
    });

    server.Get("/product", [&](const Request&, Response& response) {
        web::reply(response, database.run(shop::product));
    });
    server.Get("/orders",
               [&](const Request&, Response& response) { web::reply(response, database.run(shop::orders)); });
    server.Get("/order/([^/]+)", [&](const Request& request, Response& response) {
        const auto order_id = to_number(request.matches[1]);
        if (!order_id) return web::refuse(response, 400, "the id of an order is a number");
        const auto order = database.run([&](web::Sql& sql) { return shop::order(sql, *order_id); });
        if (order.is_null()) return web::refuse(response, 404, "there is no such order");
        web::reply(response, order);
    });
    server.post("/restock", [&](const Request&, Response& response) {
        database.run(shop::restock);
        web::reply(response, {{"message", "restocked"}});
    });
    server.post("/crash_application", [](const Request&, Response&) { web::crash(); });
}

int main(int argc, char** argv) {
    const auto settings = web::parse_settings(argc, argv, "sqlite:///widget-store.sqlite");
    dbos::App app({.name = "widget-store", .system_database_url = settings.database_url});
    const web::Database database(app, settings.database_url);
    app.implement(Checkout, [&](dbos::Context& ctx) { checkout(ctx, database); });
    app.implement(DispatchOrder,
                  [&](dbos::Context& ctx, int order_id) { dispatch_order(ctx, database, order_id); });
    app.launch();
    database.run(shop::create_tables);

    web::Server server;
    add_routes(server, app, database);
    server.start(settings);
    app.wait();  // until Ctrl-C
}
