// The programs of docs/reference/errors.md and docs/explanation/guarantees.md.
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>
#include <set>

#include "support/app.hpp"

namespace {

using namespace std::chrono_literals;

// [catch]
struct CardDeclined : std::runtime_error {
    using std::runtime_error::runtime_error;
    std::string reason = {};
};
DBOS_ERROR(CardDeclined, reason)

inline constexpr auto Pay =
    dbos::workflow<int(int)>("pay").throws<CardDeclined>();

int pay(dbos::Context& ctx, int cents) {
    try {
        return ctx.step("charge", [&] {
            if (cents == 0) {
                CardDeclined error("declined");
                error.reason = "nothing to pay";
                throw error;
            }
            return cents;
        });
    } catch (const CardDeclined&) {
        ctx.step("tell", [] { /* … */ });
        throw;  // the workflow ends with it
    }
}

std::string outcome(const dbos::WorkflowHandle<int>& handle) {
    try {
        return "paid " + std::to_string(handle.get_result({.timeout = 30s}));
    } catch (const CardDeclined& error) {  // the contract lists it
        return error.reason;
    } catch (const dbos::WorkflowFailed& error) {  // what it does not list
        return error.type_name() + ": " + error.message();
    } catch (const dbos::AwaitedWorkflowCancelled&) {
        return "cancelled";
    } catch (const dbos::Timeout&) {
        return "not yet";
    }
}
// [catch]

/// A service that does once what it is asked for twice under one key.
struct Bank {
    std::set<std::string> keys = {};
    int calls = 0;
    std::string charge(int cents, const std::string& key) {
        ++calls;
        keys.insert(key);
        return "charged " + std::to_string(cents);
    }
} bank;

inline constexpr auto Charge = dbos::workflow<std::string(int)>("charge");

// [key]
std::string charge(dbos::Context& ctx, int cents) {
    const std::string key = ctx.random_uuid();  // recorded before the call
    return ctx.step("charge", [&] { return bank.charge(cents, key); },
                    {.max_attempts = 5});
}
// [key]

constexpr std::string_view kRecord = R"(
// [record]
{"name":"DBOSQueueDeduplicatedError","message":"workflow \"w-1\" was not enqueued: another one in queue \"orders\" holds the deduplication id \"o-17\"","code":12,"data":{"workflowID":"w-1","queueName":"orders","deduplicationID":"o-17"}}
// [record]
)";

class ErrorsPage : public dbos::test::AppTest {};
DBOS_FOR_EVERY_DATABASE(ErrorsPage);

TEST_P(ErrorsPage, a_key_is_the_same_in_every_life) {
    bank = {};
    dbos::App app(app_options());
    app.implement(Charge, charge);
    app.launch();
    app.start_workflow(Charge, {.workflow_id = "w"}, 7).get_result();
    // As after a crash behind the call: its record is missing.
    execute("DELETE FROM @operation_outputs WHERE function_name = 'charge'");
    execute(
        "UPDATE @workflow_status SET status = 'ENQUEUED', completed_at = NULL, "
        "queue_name = '_dbos_internal_queue'");
    ASSERT_TRUE(dbos::test::eventually([&] {
        return scalar(
                   "SELECT status || recovery_attempts FROM "
                   "@workflow_status") == "SUCCESS2";
    }));
    EXPECT_EQ(bank.calls, 2);
    EXPECT_EQ(bank.keys.size(), 1u);
}

TEST_P(ErrorsPage, the_programs_of_the_page_do_what_it_says) {
    static constexpr auto Twice = dbos::workflow<void()>("twice");
    dbos::App app(app_options());
    app.implement(Pay, pay);
    app.implement(Twice, [](dbos::Context& ctx) {
        const dbos::EnqueueOptions options{.queue_name = "orders",
                                           .deduplication_id = "o-17"};
        ctx.start_workflow(Pay, options, 1);
    });
    app.register_queue({.name = "orders"});
    app.launch();
    EXPECT_EQ(outcome(app.start_workflow(Pay, {}, 5)), "paid 5");
    EXPECT_EQ(outcome(app.start_workflow(Pay, {}, 0)), "nothing to pay");
    dbos::Client& client = app.client();
    client.enqueue(
        Pay, {.queue_name = "orders", .deduplication_id = "o-17", .delay = 1h},
        1);
    EXPECT_THROW(app.start_workflow(Twice, {.workflow_id = "w"}).get_result(),
                 dbos::WorkflowFailed);
    const std::string record = scalar(
        "SELECT error FROM @operation_outputs WHERE workflow_uuid = 'w'");
    EXPECT_EQ("\n// [record]\n" + record + "\n// [record]\n", kRecord);
}

}  // namespace
