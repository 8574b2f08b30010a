// The programs of docs/how-to/messages-events-streams.md.
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>
#include <dbos/testing.hpp>

using namespace std::chrono_literals;

namespace {

using Lines = std::vector<std::string>;

inline constexpr auto Checkout =
    dbos::workflow<std::string(std::string)>("checkout");

// [checkout]
std::string checkout(dbos::Context& ctx, const std::string& item) {
    ctx.set_event("pay_at", "https://pay.example/" + ctx.workflow_id());
    const auto payer = ctx.recv<std::string>("paid", 24h);
    ctx.set_event("state", payer ? "paid" : "given up");
    return payer ? item + " for " + *payer : "nobody paid";
}
// [checkout]

// [question]
struct Question {
    std::string from = {};
    std::string text = {};
};
DBOS_FIELDS(Question, from, text)

inline constexpr auto Ask = dbos::workflow<std::string(std::string)>("ask");
inline constexpr auto Desk = dbos::workflow<int(int)>("desk");

std::string ask(dbos::Context& ctx, const std::string& text) {
    ctx.send("desk-1", Question{ctx.workflow_id(), text}, "questions");
    return ctx.recv<std::string>("answer", 1h).value_or("no answer");
}

int desk(dbos::Context& ctx, int questions) {
    int answered = 0;
    while (answered < questions) {
        const auto question = ctx.recv<Question>("questions", 24h);
        if (!question) break;
        ctx.send(question->from, question->text + "? Yes.", "answer");
        ++answered;
    }
    return answered;
}
// [question]

inline constexpr auto Archive = dbos::workflow<int(Lines)>("archive");
inline constexpr auto Watch = dbos::workflow<Lines(std::string)>("watch");

// [write]
int archive(dbos::Context& ctx, const std::vector<std::string>& files) {
    int done = 0;
    for (const auto& file : files) {
        ctx.step("compress", [&] { /* … */ });
        ctx.write_stream("progress", file + " is done");
        ++done;
    }
    ctx.close_stream("progress");
    return done;
}
// [write]

// [follow]
std::vector<std::string> watch(dbos::Context& ctx, const std::string& id) {
    std::vector<std::string> seen;
    for (const auto& line : ctx.read_stream<std::string>(id, "progress"))
        seen.push_back(line);
    return seen;
}
// [follow]

TEST(Messages, are_received_once_and_time_out) {
    dbos::testing::TestApp app({.auto_advance = false});
    app.implement(Checkout, checkout);
    auto handle =
        app.start_workflow(Checkout, {.workflow_id = "order-17"}, "lamp");
    dbos::Client& client = app.client();
    // [client]
    // where the customer is sent to; waits until the workflow has said it
    const auto url = client.get_event<std::string>("order-17", "pay_at", 10s);
    // when the bank calls; it calls again if it is not sure that we heard
    client.send("order-17", "ann", "paid", {.idempotency_key = "call-4711"});
    // [client]
    client.send("order-17", "ann", "paid", {.idempotency_key = "call-4711"});
    EXPECT_EQ(url, "https://pay.example/order-17");
    EXPECT_EQ(handle.get_result(), "lamp for ann");
    EXPECT_EQ(client.get_event<std::string>("order-17", "state"), "paid");
    EXPECT_EQ(client.get_all_events("order-17").size(), 2U);
    auto unpaid = app.start_workflow(Checkout, {}, "lamp");
    app.clock().advance(25h);
    EXPECT_EQ(unpaid.get_result(), "nobody paid");
    EXPECT_THROW(client.send("order-18", "ann", "paid"),
                 dbos::NonexistentWorkflow);
}

TEST(Messages, go_from_workflow_to_workflow) {
    dbos::testing::TestApp app({.auto_advance = false});
    app.implement(Ask, ask);
    app.implement(Desk, desk);
    auto served = app.start_workflow(Desk, {.workflow_id = "desk-1"}, 2);
    EXPECT_EQ(app.run(Ask, {}, "Open"), "Open? Yes.");
    EXPECT_EQ(app.run(Ask, {}, "Still open"), "Still open? Yes.");
    EXPECT_EQ(served.get_result(), 2);
}

TEST(Messages, of_a_stream_arrive_in_order_and_end) {
    dbos::testing::TestApp app;
    app.implement(Archive, archive);
    app.implement(Watch, watch);
    app.start_workflow(Archive, {.workflow_id = "a-1"},
                       Lines{"a.txt", "b.txt"});
    dbos::Client& client = app.client();
    Lines lines;
    // [read]
    for (const auto& line : client.read_stream<std::string>("a-1", "progress"))
        lines.push_back(line);
    // [read]
    EXPECT_EQ(lines, (Lines{"a.txt is done", "b.txt is done"}));
    EXPECT_EQ(app.run(Watch, {}, "a-1"), lines);
    EXPECT_EQ(client.read_stream_offset<std::string>("a-1", "progress", 1),
              "b.txt is done");
}

TEST(Messages, are_there_once_wherever_a_process_dies) {
    dbos::testing::TestApp app;
    app.implement(Checkout, checkout);
    const auto report = dbos::testing::crash_everywhere(
        app, Checkout,
        {.workflow_id = "order-17",
         .prepare =
             [](dbos::Client& client) {
                 client.send("order-17", "ann", "paid");
             }},
        "lamp");
    EXPECT_TRUE(report.passed()) << report;
}

}  // namespace
