// The programs of docs/how-to/change-running-code.md.
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>

#include "support/app.hpp"

using namespace std::chrono_literals;
using dbos::Status;
using dbos::test::eventually;

namespace {

inline constexpr auto Order = dbos::workflow<std::string(std::string)>("order");

std::string pack(const std::string& item) { return item; }
std::string check(const std::string& item) { return item + " checked"; }

// [before]
std::string order_before(dbos::Context& ctx, const std::string& item) {
    auto parcel = ctx.step("pack", [&] { return pack(item); });
    ctx.recv("paid", 7 * 24h);
    return parcel;
}
// [before]

// [patched]
std::string order_patched(dbos::Context& ctx, const std::string& item) {
    auto checked = item;
    if (ctx.patch("check-first"))
        checked = ctx.step("check", [&] { return check(item); });
    auto parcel = ctx.step("pack", [&] { return pack(checked); });
    ctx.recv("paid", 7 * 24h);
    return parcel;
}
// [patched]

// [deprecated]
std::string order_deprecated(dbos::Context& ctx, const std::string& item) {
    ctx.deprecate_patch("check-first");
    auto checked = ctx.step("check", [&] { return check(item); });
    auto parcel = ctx.step("pack", [&] { return pack(checked); });
    ctx.recv("paid", 7 * 24h);
    return parcel;
}
// [deprecated]

// [after]
std::string order_after(dbos::Context& ctx, const std::string& item) {
    auto checked = ctx.step("check", [&] { return check(item); });
    auto parcel = ctx.step("pack", [&] { return pack(checked); });
    ctx.recv("paid", 7 * 24h);
    return parcel;
}
// [after]

using Body = std::string (*)(dbos::Context&, const std::string&);

class Changes : public dbos::test::AppTest {
   public:
    /// An application with this body; what it leaves running goes on in the next one.
    void with(Body body, const std::function<void(dbos::App&)>& act,
              const std::string& version = {}) {
        auto options = app_options("shop");
        options.application_version = version;
        dbos::App app(options);
        app.implement(Order, body);
        app.launch();
        act(app);
    }
    /// Starts one that gets as far as its wait.
    static void start(dbos::App& app, const std::string& id) {
        app.start_workflow(Order, {.workflow_id = id}, "lamp");
        ASSERT_TRUE(eventually([&] {
            const auto steps = app.client().list_workflow_steps(id);
            return !steps.empty() && steps.back().function_name == "DBOS.sleep";
        }));
    }
    static std::string end(dbos::App& app, const std::string& id) {
        app.client().send(id, true, "paid");
        return app.retrieve_workflow(Order, id).get_result({.timeout = 20s});
    }
};
DBOS_FOR_EVERY_DATABASE(Changes);

TEST_P(Changes, each_run_keeps_the_branch_that_it_took) {
    with(order_before, [&](dbos::App& app) {
        start(app, "old");
        start(app, "older");
    });
    with(order_patched, [&](dbos::App& app) {
        EXPECT_EQ(end(app, "old"), "lamp");
        start(app, "new");
        const auto steps = app.client().list_workflow_steps("new");
        EXPECT_EQ(steps.at(0).function_name, "DBOS.patch-check-first");
    });
    with(order_deprecated, [&](dbos::App& app) {
        EXPECT_EQ(end(app, "new"), "lamp checked");
        // Too early: a run of the old branch was left.
        EXPECT_THROW(end(app, "older"), dbos::WorkflowFailed);
        const auto status = app.client().get_workflow_status("older");
        ASSERT_TRUE(status && status->error);
        EXPECT_EQ(status->error->type_name, "DBOSUnexpectedStepError");
        start(app, "newer");
    });
    with(order_after,
         [&](dbos::App& app) { EXPECT_EQ(end(app, "newer"), "lamp checked"); });
}

TEST_P(Changes, a_version_is_served_by_itself_alone) {
    with(order_before, [&](dbos::App& app) { start(app, "old"); }, "shop-1");
    with(
        order_after,
        [&](dbos::App& app) {
            dbos::Client& client = app.client();
            // [left]
            const auto left = client.list_workflows(
                {.status = {Status::pending, Status::enqueued, Status::delayed},
                 .app_version = "shop-1"});
            // [left]
            ASSERT_EQ(left.size(), 1U);
            EXPECT_EQ(left[0].workflow_id, "old");
            EXPECT_EQ(client.get_latest_application_version().version_name,
                      "shop-2");
            // [move]
            for (const auto& workflow : left) {
                client.cancel_workflow(workflow.workflow_id);
                client.fork_workflow(
                    Order, workflow.workflow_id, 1,
                    {.application_version = "shop-2",
                     .new_workflow_id = workflow.workflow_id + "-on-2"});
            }
            // [move]
            EXPECT_EQ(end(app, "old-on-2"), "lamp checked");
        },
        "shop-2");
}

}  // namespace
