// A shop for the programs of the pages: an application that serves queues, and a client beside it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "dbos/dbos.hpp"
#include "support/client_rows.hpp"

// The contracts stand as the pages show them, outside of the namespace of the tests.
// [contract]
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

inline constexpr auto Checkout =
    dbos::workflow<Receipt(Order)>("checkout").throws<CardDeclined>();
// [contract]

namespace dbos::test {

inline Receipt checkout(Context& ctx, const Order& order) {
    auto charge = ctx.step("charge", [&] {
        if (order.cents <= 0) throw CardDeclined("no money in it");
        return "charge-" + order.id;
    });
    ctx.step("pack", [] {});
    return {order.id, charge};
}

class ShopTest : public ClientTest {
   public:
    void TearDown() override {
        app_.reset();
        ClientTest::TearDown();
    }
    AppOptions app_options() {
        AppOptions options;
        options.name = "shop";
        options.application_version = "shop-1";
        options.system_database_url = database().url();
        options.dbos_system_schema = database().schema();
        options.log_sink = log.sink();
        return options;
    }
    /// Serves `checkout` and `process_task` on the queues "orders" and "tasks", and `report` for schedules.
    void open_shop() {
        app_ = std::make_unique<App>(app_options());
        app_->implement(Checkout, checkout);
        app_->implement(workflow<std::string(int, bool)>(
                            "process_task", params("size", "*", "fast")),
                        [](Context&, int size, bool fast) {
                            return std::to_string(size) +
                                   (fast ? " fast" : " slow");
                        });
        app_->implement(
            workflow<std::string(std::chrono::system_clock::time_point,
                                 std::string)>("report"),
            [](Context&, std::chrono::system_clock::time_point,
               const std::string& to) { return "report for " + to; });
        app_->register_queue({.name = "orders"});
        app_->register_queue({.name = "tasks"});
        app_->launch();
    }
    std::string scalar(const std::string& sql) { return query_text(sql); }

    /// What an application of another SDK would write: events and stream values of a workflow.
    void write_event(const std::string& id, const std::string& key,
                     const std::string& value) {
        insert("workflow_events", {{"workflow_uuid", id},
                                   {"key", key},
                                   {"value", value},
                                   {"serialization", "portable_json"}});
    }
    void write_stream(const std::string& id, const std::string& key, int offset,
                      const std::string& value) {
        insert("streams", {{"workflow_uuid", id},
                           {"key", key},
                           {"value", value},
                           {"\"offset\"", offset},
                           {"serialization", "portable_json"}});
    }

   private:
    std::unique_ptr<App> app_;
};

}  // namespace dbos::test
