// The C++ programs of docs/how-to/wait-in-a-workflow.md.
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>

#include "support/app.hpp"

namespace {

using namespace std::chrono_literals;

int ask_price(const std::string& item) {
    return static_cast<int>(item.size()) * 100;
}
void close_account(const std::string&) {}

inline constexpr auto Purchase =
    dbos::workflow<std::string(std::string)>("purchase");
inline constexpr auto Resize = dbos::workflow<int(std::string)>("resize");
inline constexpr auto Album =
    dbos::workflow<int(std::vector<std::string>)>("album");
inline constexpr auto Trial = dbos::workflow<void(std::string)>("trial");

// [select]
std::string purchase(dbos::Context& ctx, const std::string& item) {
    auto price = ctx.async_step("ask", [&] { return ask_price(item); });
    auto cancel = ctx.recv_async<std::string>("cancel", 7 * 24h);
    auto limit = ctx.sleep_async(24h);
    switch (ctx.select(price, cancel, limit)) {
        case 0: return "price " + std::to_string(price.get());
        case 1: return "cancelled: " + cancel.get().value_or("");
        default: return "nobody answered";
    }
}
// [select]

// [children]
int album(dbos::Context& ctx, const std::vector<std::string>& pictures) {
    std::vector<dbos::WorkflowHandle<int>> children;
    for (const auto& picture : pictures)
        children.push_back(
            ctx.start_workflow(Resize, {.queue_name = "pictures"}, picture));
    ctx.wait_all(children);  // one wait, however many there are
    int bytes = 0;
    for (const auto& child : children) bytes += child.get_result();
    return bytes;
}
// [children]

// [map]
int checksum(dbos::Context& ctx, const std::vector<std::string>& files) {
    const auto sizes = ctx.map(
        "measure", files,
        [](const std::string& file) { return static_cast<int>(file.size()); },
        {.max_parallel = 4});
    int sum = 0;
    for (const int size : sizes) sum += size;
    return sum;
}
// [map]

// [sleep]
void trial(dbos::Context& ctx, const std::string& account) {
    ctx.set_event("phase", "trial");
    ctx.sleep(30 * 24h);  // holds no thread, and survives restarts
    ctx.step("close", [&] { close_account(account); });
}
// [sleep]

class Waits : public dbos::test::AppTest {};
DBOS_FOR_EVERY_DATABASE(Waits);

TEST_P(Waits, the_programs_of_the_page_do_what_it_says) {
    dbos::App app(app_options());
    app.implement(Purchase, purchase);
    app.implement(Resize, [](dbos::Context&, const std::string& picture) {
        return static_cast<int>(picture.size());
    });
    app.implement(Album, album);
    app.implement(Trial, trial);
    constexpr auto Sum = dbos::workflow<int(std::vector<std::string>)>("sum");
    app.implement(Sum, checksum);
    app.register_queue({.name = "pictures"});
    app.launch();
    EXPECT_EQ(app.start_workflow(Purchase, {}, "lamp").get_result(),
              "price 400");
    EXPECT_EQ(app.start_workflow(Album, {},
                                 std::vector<std::string>{"a", "bb", "ccc"})
                  .get_result(),
              6);
    EXPECT_EQ(
        app.start_workflow(Sum, {}, std::vector<std::string>{"a", "bb", "ccc"})
            .get_result(),
        6);
    const auto waiting = app.start_workflow(Trial, {}, "ann");
    EXPECT_EQ(
        app.client().get_event<std::string>(waiting.workflow_id(), "phase"),
        "trial");
    app.client().cancel_workflow(waiting.workflow_id());
    EXPECT_THROW(waiting.get_result(), dbos::AwaitedWorkflowCancelled);
}

}  // namespace
