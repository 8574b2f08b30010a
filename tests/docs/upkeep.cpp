// The programs of docs/how-to/keep-the-database-small.md.
#include <gtest/gtest.h>

#include <chrono>
#include <dbos/dbos.hpp>

#include "support/app.hpp"

using namespace std::chrono_literals;

namespace {

inline constexpr auto TidyUp = dbos::workflow<std::int64_t()>("tidy_up");
inline constexpr auto Pay = dbos::workflow<std::string()>("pay");

class Upkeep : public dbos::test::AppTest {};
DBOS_FOR_EVERY_DATABASE(Upkeep);

TEST_P(Upkeep, the_programs_of_the_page_do_what_it_says) {
    dbos::App app(app_options());
    // [workflow]
    app.implement(TidyUp, [&](dbos::Context& ctx) {
        return ctx.step("collect", [&] {
            const auto month_ago = std::chrono::system_clock::now() - 720h;
            return app.client()
                .garbage_collect({.cutoff = month_ago,
                                  .rows_threshold = 1'000'000,
                                  .batch_size = 5000,
                                  .pause = 100ms})
                .workflows;
        });
    });
    // [workflow]
    bool down = true;
    app.implement(Pay, [&](dbos::Context& ctx) {
        return ctx.step("charge", [&]() -> std::string {
            if (down) throw std::runtime_error("the bank is down");
            return "paid";
        });
    });
    app.launch();
    auto& client = app.client();
    auto failed = app.start_workflow(Pay, {.workflow_id = "p-1"});
    EXPECT_THROW(failed.get_result(), std::exception);
    down = false;
    // [again]
    std::vector<std::string> failures;
    for (const auto& row : client.list_workflows(
             {.status = "ERROR", .name = "pay", .load_input = false}))
        failures.push_back(row.workflow_id);
    auto again = client.fork_from_failure<std::string>(
        failures, {.fork = {.latest_version = true}});
    // [again]
    ASSERT_EQ(again.size(), 1U);
    EXPECT_EQ(again[0].get_result({.timeout = 30s}), "paid");
    execute(
        "UPDATE @workflow_status SET completed_at = 1000 WHERE workflow_uuid = "
        "'p-1'");
    EXPECT_EQ(app.start_workflow(TidyUp, {}).get_result({.timeout = 30s}), 1);
    EXPECT_EQ(client.get_workflow_status("p-1"), std::nullopt);
    // [timeout]
    const auto week_ago = std::chrono::system_clock::now() - 168h;
    const auto cancelled = client.global_timeout(week_ago);
    // [timeout]
    EXPECT_EQ(cancelled, 0);
}

}  // namespace
