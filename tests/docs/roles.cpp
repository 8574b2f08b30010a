// The programs of docs/how-to/users-and-roles.md.
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>

#include "support/app.hpp"

using namespace std::chrono_literals;

namespace {

inline constexpr auto Refund =
    dbos::workflow<std::string(std::string)>("refund");
inline constexpr auto Complaint =
    dbos::workflow<std::string(std::string)>("complaint");

// [body]
std::string refund(dbos::Context& ctx, const std::string& order) {
    return ctx.step("pay back", [&](dbos::StepContext& step) {
        return order + " paid back by " + step.authenticated_user() + " as " +
               step.assumed_role();
    });
}
// [body]

// [denied]
std::string outcome(const dbos::WorkflowHandle<std::string>& handle) {
    try {
        return handle.get_result();
    } catch (const dbos::WorkflowFailed& error) {
        if (error.type_name() != "DBOSNotAuthorizedError") throw;
        return "refused: " + error.message();
    }
}
// [denied]

// [change]
std::string complaint(dbos::Context& ctx, const std::string& order) {
    const auto inherited = outcome(ctx.start_workflow(Refund, {}, order));
    const auto given = outcome(ctx.start_workflow(
        Refund, {.authenticated_user = "bob", .authenticated_roles = {"clerk"}},
        order));
    ctx.set_authentication("robot", {"admin"});  // from here on
    const auto changed = outcome(ctx.start_workflow(Refund, {}, order));
    return inherited + "\n" + given + "\n" + changed;
}
// [change]

class Roles : public dbos::test::AppTest {};
DBOS_FOR_EVERY_DATABASE(Roles);

TEST_P(Roles, the_programs_of_the_page_do_what_it_says) {
    dbos::App app(app_options());
    // [require]
    app.implement(Refund, refund, {.required_roles = {"admin", "clerk"}});
    // [require]
    app.implement(Complaint, complaint);
    app.register_queue({.name = "desk"});
    app.launch();
    // [start]
    auto handle =
        app.start_workflow(Refund,
                           {.authenticated_user = "ann",
                            .authenticated_roles = {"customer", "clerk"}},
                           "order-17");
    // [start]
    EXPECT_EQ(handle.get_result({.timeout = 20s}),
              "order-17 paid back by ann as clerk");
    EXPECT_EQ(handle.get_status().authenticated_user, "ann");

    auto denied = app.start_workflow(
        Refund, {.queue_name = "desk", .authenticated_user = "eve"}, "order-1");
    EXPECT_EQ(outcome(denied).rfind("refused: ", 0), 0U);
    EXPECT_EQ(denied.get_status().status, dbos::Status::error);

    const auto all = app.start_workflow(Complaint,
                                        {.authenticated_user = "eve",
                                         .authenticated_roles = {"customer"}},
                                        "order-2")
                         .get_result({.timeout = 20s});
    EXPECT_EQ(all.rfind("refused: ", 0), 0U) << all;
    EXPECT_NE(all.find("\norder-2 paid back by bob as clerk"
                       "\norder-2 paid back by robot as admin"),
              std::string::npos)
        << all;
}

}  // namespace
