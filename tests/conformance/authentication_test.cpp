// For whom a workflow runs, and what it requires of them.
#include <atomic>

#include "support/app.hpp"

using namespace std::chrono_literals;
using dbos::test::Gate;

namespace {

inline constexpr auto Refund = dbos::workflow<std::string(int)>("refund");
inline constexpr auto Desk = dbos::workflow<std::string(int)>("desk");

/// User, roles and assumed role as one text.
template <class C>
std::string who(const C& context) {
    std::string text = context.authenticated_user() + "|";
    for (const auto& role : context.authenticated_roles()) text += role + ",";
    return text + "|" + context.assumed_role();
}

class Authentication : public dbos::test::AppTest {
   public:
    /// Refund requires admin or clerk and tells for whom it runs; `bodies` counts.
    void implement_refund(dbos::App& app) {
        app.implement(Refund,
                      [this](dbos::Context& ctx, int) {
                          ++bodies;
                          return ctx.step("ask", [](dbos::StepContext& step) { return who(step); }) + " " +
                                 who(ctx);
                      },
                      {.required_roles = {"admin", "clerk"}});
    }
    std::atomic<int> bodies{0};
};
DBOS_FOR_EVERY_DATABASE(Authentication);

TEST_P(Authentication, the_first_required_role_that_is_held_is_assumed) {
    dbos::App app(app_options());
    implement_refund(app);
    app.launch();
    auto handle = app.start_workflow(
        Refund, {.authenticated_user = "ann", .authenticated_roles = {"guest", "clerk", "admin"}}, 1);
    EXPECT_EQ(handle.get_result(), "ann|guest,clerk,admin,|admin ann|guest,clerk,admin,|admin");
    EXPECT_EQ(handle.get_status().authenticated_user, "ann");
}

TEST_P(Authentication, without_required_roles_everybody_may) {
    dbos::App app(app_options());
    app.implement(Desk, [](dbos::Context& ctx, int) { return who(ctx); });
    app.launch();
    EXPECT_EQ(app.start_workflow(Desk, {}, 1).get_result(), "||");
    EXPECT_EQ(app.start_workflow(Desk, {.authenticated_user = "bob", .authenticated_roles = {"guest"}}, 1)
                  .get_result(),
              "bob|guest,|");
}

TEST_P(Authentication, a_denial_is_the_outcome_on_every_way) {
    dbos::App app(app_options());
    implement_refund(app);
    app.implement(Desk, [](dbos::Context& ctx, int n) {
        try {
            return ctx.start_workflow(Refund, {}, n).get_result();
        } catch (const dbos::WorkflowFailed& error) {
            return error.type_name() + " of " + error.failure().data.at("authenticatedUser").as_string();
        }
    });
    app.register_queue({.name = "q"});
    app.launch();
    const auto denied = [&](const dbos::WorkflowHandle<std::string>& handle, const std::string& user) {
        try {
            handle.get_result();
            ADD_FAILURE() << "not denied";
        } catch (const dbos::WorkflowFailed& error) {
            EXPECT_EQ(error.type_name(), "DBOSNotAuthorizedError");
            EXPECT_EQ(error.failure().data.at("workflowName"), dbos::Value("refund"));
            EXPECT_EQ(error.failure().data.at("authenticatedUser"), dbos::Value(user));
            EXPECT_EQ(error.failure().data.at("requiredRoles"), (dbos::Value(dbos::Array{"admin", "clerk"})));
            EXPECT_EQ(error.workflow_id(), handle.workflow_id());
        }
        EXPECT_EQ(handle.get_status().status, "ERROR");
    };
    denied(app.start_workflow(Refund, {}, 1), "");
    denied(app.start_workflow(Refund, {.authenticated_user = "bob", .authenticated_roles = {"guest"}}, 1),
           "bob");
    denied(app.start_workflow(Refund, {.queue_name = "q"}, 1), "");
    denied(app.client().enqueue(Refund, {.queue_name = "q", .authenticated_user = "bob"}, 1), "bob");
    EXPECT_EQ(app.start_workflow(Desk, {.authenticated_user = "eve"}, 1).get_result(),
              "DBOSNotAuthorizedError of eve");
    EXPECT_EQ(bodies, 0);
}

TEST_P(Authentication, is_what_children_inherit_unless_they_are_given_their_own) {
    dbos::App app(app_options());
    implement_refund(app);
    app.register_queue({.name = "q"});
    app.implement(Desk, [](dbos::Context& ctx, int n) {
        std::string all = ctx.start_workflow(Refund, {}, n).get_result();
        all += "; " + ctx.start_workflow(Refund, {.queue_name = "q"}, n).get_result();
        all += "; " +
               ctx.start_workflow(Refund, {.authenticated_user = "cat", .authenticated_roles = {"admin"}}, n)
                   .get_result();
        ctx.set_authentication("dan", {"admin"});
        all += "; " + who(ctx) + " " + ctx.start_workflow(Refund, {}, n).get_result();
        return all;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Desk, {.authenticated_user = "ann", .authenticated_roles = {"clerk"}}, 1)
                  .get_result(),
              "ann|clerk,|clerk ann|clerk,|clerk; ann|clerk,|clerk ann|clerk,|clerk; "
              "cat|admin,|admin cat|admin,|admin; dan|admin,| dan|admin,|admin dan|admin,|admin");
}

TEST_P(Authentication, is_restored_when_another_process_goes_on) {
    auto options = app_options();
    options.executor_id = "one";
    Gate gate;
    const auto implement = [&](dbos::App& app) {
        app.implement(Desk,
                      [&](dbos::Context& ctx, int n) {
                          ctx.step("first", [] {});
                          if (n == 1) gate.pass();
                          return ctx.step("second", [](dbos::StepContext& step) { return who(step); });
                      },
                      {.required_roles = {"clerk"}});
    };
    {
        dbos::App app(options);
        implement(app);
        app.launch();
        app.start_workflow(
            Desk, {.workflow_id = "w", .authenticated_user = "ann", .authenticated_roles = {"clerk"}}, 1);
        ASSERT_TRUE(gate.wait_for_arrivals(1));
        app.shutdown(0s, 0s);
        gate.open();
    }
    dbos::App app(options);
    implement(app);
    app.launch();
    EXPECT_EQ(app.retrieve_workflow(Desk, "w").get_result({.timeout = 20s}), "ann|clerk,|clerk");
}

TEST_P(Authentication, is_what_an_asynchronous_step_was_called_with) {
    dbos::App app(app_options());
    Gate gate;
    app.implement(Desk, [&](dbos::Context& ctx, int) {
        auto step = ctx.async_step("later", [&](dbos::StepContext& context) {
            gate.pass();
            return who(context);
        });
        ctx.set_authentication("dan", {});
        gate.open();
        return step.get() + " " + who(ctx);
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Desk, {.authenticated_user = "ann"}, 1).get_result(), "ann|| dan||");
}

TEST_P(Authentication, is_set_by_the_body_alone) {
    dbos::App app(app_options());
    app.implement(Desk, [&](dbos::Context& ctx, int) {
        return ctx.step("step", [&] {
            try {
                ctx.set_authentication("eve", {"admin"});
            } catch (const dbos::UsageError&) {
                return std::string("refused");
            }
            return std::string("taken");
        });
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Desk, {}, 1).get_result(), "refused");
}

}  // namespace
