// The programs of docs/how-to/manage-from-a-workflow.md.
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>
#include <dbos/testing.hpp>

#include <atomic>
#include <map>

using namespace std::chrono_literals;
using dbos::Status;

namespace {

inline constexpr auto Checkout = dbos::workflow<std::string(int)>("checkout");
inline constexpr auto Repair = dbos::workflow<int()>("repair");
inline constexpr auto Stop = dbos::workflow<int(std::string)>("stop");
inline constexpr auto Go = dbos::workflow<int()>("go");
inline constexpr auto Sweep = dbos::workflow<int()>("sweep");

std::atomic<bool> bank_is_open{true};
std::atomic<int> charges{0};

std::string checkout(dbos::Context& ctx, int cents) {
    ctx.step("charge", [&] { charges += cents; });
    return ctx.step("book", [&] {
        if (!bank_is_open) throw std::runtime_error("the bank is closed");
        return "booked " + std::to_string(cents);
    });
}

// [repair]
int repair(dbos::Context& ctx) {
    const auto failed = ctx.list_workflows(
        {.status = Status::error, .name = "checkout", .limit = 100});
    std::vector<dbos::WorkflowHandle<std::string>> repaired;
    for (const auto& workflow : failed) {
        const auto steps = ctx.list_workflow_steps(workflow.workflow_id);
        if (steps.empty()) continue;
        // The steps before the last one are copied, that one runs again.
        repaired.push_back(ctx.fork_workflow(Checkout, workflow.workflow_id,
                                             steps.back().function_id));
    }
    ctx.wait_all(repaired);
    return static_cast<int>(repaired.size());
}
// [repair]

// [stop]
int stop(dbos::Context& ctx, const std::string& customer) {
    const auto active = ctx.list_workflows(
        {.status = {Status::enqueued, Status::delayed, Status::pending},
         .user = customer});
    std::vector<std::string> ids;
    for (const auto& workflow : active)
        if (workflow.workflow_id != ctx.workflow_id())
            ids.push_back(workflow.workflow_id);
    ctx.cancel_workflows(ids, {.cancel_children = true});
    return static_cast<int>(ids.size());
}

int go(dbos::Context& ctx) {
    std::vector<std::string> ids;
    for (const auto& workflow :
         ctx.list_workflows({.status = Status::cancelled}))
        ids.push_back(workflow.workflow_id);
    // Each goes on after its last recorded step.
    for (const auto& handle : ctx.resume_workflows(ids)) handle.get_result();
    return static_cast<int>(ids.size());
}
// [stop]

// [sweep]
int sweep(dbos::Context& ctx) {
    const auto old = ctx.list_workflows(
        {.status = {Status::success, Status::error, Status::cancelled},
         .limit = 1000,
         .load_input = false,
         .load_output = false,
         .completed_before = ctx.now() - 30 * 24h});
    std::vector<std::string> ids;
    for (const auto& workflow : old) ids.push_back(workflow.workflow_id);
    ctx.delete_workflows(ids);
    return static_cast<int>(ids.size());
}
// [sweep]

inline constexpr auto Report = dbos::workflow<std::string(int)>("report");
inline constexpr auto Correct =
    dbos::workflow<std::string(std::string)>("correct");

std::atomic<int> rate{10};

std::string report(dbos::Context& ctx, int hours) {
    const int kept = ctx.step("hours", [&] { return hours; });
    return ctx.step("sum", [&] { return std::to_string(kept * rate); });
}

// [rewind]
std::string correct(dbos::Context& ctx, const std::string& id) {
    // The second step and what follows it run again, under the same id.
    return ctx.rewind_workflow(Report, id, 2).get_result();
}
// [rewind]

TEST(Managing, failed_workflows_are_forked_at_the_step_that_failed) {
    dbos::testing::TestApp app;
    app.implement(Checkout, checkout);
    app.implement(Repair, repair);
    bank_is_open = false;
    EXPECT_THROW(app.run(Checkout, {.workflow_id = "c"}, 5),
                 std::runtime_error);
    bank_is_open = true;
    EXPECT_EQ(app.run(Checkout, {}, 7), "booked 7");
    EXPECT_EQ(app.run(Repair, {.workflow_id = "r"}), 1);
    EXPECT_EQ(charges, 12);  // the fork has not charged again
    // repair's steps: 1 list, 2 list of steps, 3 fork
    const auto fork = app.client().get_workflow_status("r-3");
    ASSERT_TRUE(fork);
    EXPECT_EQ(fork->forked_from, "c");
    EXPECT_EQ(fork->status, Status::success);
}

TEST(Managing, workflows_are_cancelled_and_go_on) {
    dbos::testing::TestApp app({.auto_advance = false});
    constexpr auto Wait = dbos::workflow<int(int)>("wait");
    app.implement(Wait, [](dbos::Context& ctx, int n) {
        ctx.sleep(1h);
        return n;
    });
    app.implement(Stop, stop);
    app.implement(Go, go);
    auto anns = app.start_workflow(
        Wait, {.workflow_id = "a", .authenticated_user = "ann"}, 1);
    app.start_workflow(Wait, {.workflow_id = "b", .authenticated_user = "bob"},
                       1);
    EXPECT_EQ(app.run(Stop, {.authenticated_user = "ann"}, "ann"), 1);
    EXPECT_THROW(anns.get_result(), dbos::AwaitedWorkflowCancelled);
    auto going = app.start_workflow(Go, {});
    app.clock().advance(2h);
    EXPECT_EQ(going.get_result(), 1);
    EXPECT_EQ(app.client().get_workflow_status("a").value().status,
              Status::success);
}

TEST(Managing, ended_workflows_run_again_from_a_step) {
    dbos::testing::TestApp app;
    app.implement(Report, report);
    app.implement(Correct, correct);
    EXPECT_EQ(app.run(Report, {.workflow_id = "may"}, 3), "30");
    rate = 12;
    EXPECT_EQ(app.run(Correct, {}, "may"), "36");
    EXPECT_EQ(app.app().retrieve_workflow(Report, "may").get_result(), "36");
}

TEST(Managing, old_workflows_are_deleted) {
    dbos::testing::TestApp app;
    app.implement(Checkout, checkout);
    app.implement(Sweep, sweep);
    app.run(Checkout, {.workflow_id = "old"}, 1);
    app.clock().advance(31 * 24h);
    app.run(Checkout, {.workflow_id = "young"}, 1);
    EXPECT_EQ(app.run(Sweep, {}), 1);
    EXPECT_FALSE(app.client().get_workflow_status("old"));
    EXPECT_TRUE(app.client().get_workflow_status("young"));
}

}  // namespace
