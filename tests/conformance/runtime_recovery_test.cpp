// What happens when executors end, die, stop or lose their lease.
#include <atomic>

#include "support/app.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;

namespace {

inline constexpr auto Job = dbos::workflow<int(int)>("job");

class Recovery : public dbos::test::AppTest {
   public:
    /// A row as a dead executor left it: PENDING, two steps recorded, a lease that has expired long ago.
    void leave_behind(const std::string& id, const std::string& executor,
                      const std::string& steps_name = "step") {
        const std::string now = postgres() ? "(extract(epoch FROM now()) * 1000)::bigint"
                                           : "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";
        execute(
            "INSERT INTO @workflow_status (workflow_uuid, status, name, executor_id, created_at, updated_at, "
            "application_version, "
            "application_name, recovery_attempts, serialization, owner_xid, creator_xid) VALUES ('" +
            id + "', 'PENDING', 'job', '" + executor + "', " + now + ", " + now +
            ", 'test-app-1', 'test-app', 1, 'portable_json', 'old-token', 'old-token')");
        execute("INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp) VALUES ('" + id +
                "', '{\"positionalArgs\":[3],\"namedArgs\":{}}', " + now + ")");
        execute(
            "INSERT INTO @operation_outputs (workflow_uuid, function_id, function_name, output, "
            "started_at_epoch_ms, "
            "completed_at_epoch_ms, serialization, retention_timestamp) VALUES ('" +
            id + "', 1, '" + steps_name + "', '100', 1, 2, 'portable_json', " + now + ")");
    }
    void leave_lease(const std::string& executor) {
        execute(
            "INSERT INTO @dbos_cpp_executors (application_name, executor_id, incarnation, version, counter, "
            "expires_at, lease_ms, "
            "pid, process_start, started_at, updated_at) VALUES ('test-app', '" +
            executor + "', 'inc', 'test-app-1', 5, 1000, 1500, 1, 1, 1, 1)");
    }
};
DBOS_FOR_EVERY_DATABASE(Recovery);

TEST_P(Recovery, a_dead_executors_workflow_goes_on_after_its_last_recorded_step) {
    std::atomic<int> steps{0};
    dbos::App app(app_options());
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        int sum = 0;
        for (int i = 0; i < n; ++i)
            sum += ctx.step("step", [&] {
                ++steps;
                return 1;
            });
        return sum;
    });
    {
        dbos::App creator(app_options());  // creates the database
        creator.launch();
    }
    leave_behind("w", "dead-one");
    leave_lease("dead-one");
    app.launch();
    EXPECT_EQ(app.retrieve_workflow(Job, "w").get_result({.timeout = 20s}), 100 + 1 + 1);
    EXPECT_EQ(steps, 2);
    const auto status = app.retrieve_workflow("w").get_status();
    EXPECT_EQ(status.recovery_attempts, 2);
    EXPECT_EQ(status.queue_name, "_dbos_internal_queue");
    EXPECT_EQ(status.executor_id, app.executor_id());
}

TEST_P(Recovery, a_history_that_does_not_fit_the_code_is_an_error_that_sticks) {
    dbos::App app(app_options());
    std::atomic<int> refunds{0};
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        try {
            ctx.step("step", [] { return 1; });
        } catch (const std::exception&) {
            ctx.step("refund", [&] { ++refunds; });
        }
        return n;
    });
    {
        dbos::App creator(app_options());
        creator.launch();
    }
    leave_behind("w", "dead-one", "another step");
    leave_lease("dead-one");
    app.launch();
    try {
        app.retrieve_workflow(Job, "w").get_result({.timeout = 20s});
        ADD_FAILURE() << "nothing was thrown";
    } catch (const dbos::WorkflowFailed& error) {
        EXPECT_NE(error.message().find("another step"), std::string::npos) << error.message();
        EXPECT_EQ(error.type_name(), "DBOSUnexpectedStepError");
    }
    EXPECT_EQ(refunds, 0);
}

TEST_P(Recovery, an_executor_without_a_lease_of_this_library_is_never_guessed_dead) {
    dbos::App app(app_options());
    app.implement(Job, [](dbos::Context&, int n) { return n; });
    {
        dbos::App creator(app_options());
        creator.launch();
    }
    leave_behind("w", "local");
    app.launch();
    auto marker = app.start_workflow(Job, {}, 1);
    marker.get_result();
    // Longer than a lease and some ticks: what would be swept had been swept by then.
    std::this_thread::sleep_for(3s);
    EXPECT_EQ(scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = 'w'"), "PENDING");
    EXPECT_EQ(scalar("SELECT executor_id FROM @workflow_status WHERE workflow_uuid = 'w'"), "local");
}

TEST_P(Recovery, a_configured_id_recovers_its_own_rows_at_launch_and_cannot_be_held_twice) {
    auto options = app_options();
    options.executor_id = "worker-1";
    {
        dbos::App creator(app_options());
        creator.launch();
    }
    leave_behind("w", "worker-1");
    dbos::App app(options);
    app.implement(Job, [](dbos::Context& ctx, int n) {
        int sum = 0;
        for (int i = 0; i < n; ++i) sum += ctx.step("step", [] { return 1; });
        return sum;
    });
    app.launch();
    EXPECT_EQ(app.executor_id(), "worker-1");
    EXPECT_EQ(app.retrieve_workflow(Job, "w").get_result({.timeout = 20s}), 102);
    dbos::App twin(options);
    EXPECT_THROW(twin.launch(), dbos::ConfigError);
    app.shutdown();
    dbos::App next(options);  // expired at shutdown: no wait beyond the lease
    EXPECT_NO_THROW(next.launch());
}

TEST_P(Recovery, shutdown_leaves_unfinished_work_to_a_peer) {
    std::atomic<int> first_steps{0}, last_steps{0};
    const auto body = [&](dbos::Context& ctx, int n) {
        ctx.step("first", [&] { ++first_steps; });
        ctx.sleep(std::chrono::milliseconds(n));
        ctx.step("last", [&] { ++last_steps; });
        return n;
    };
    auto first = std::make_unique<dbos::App>(app_options());
    first->implement(Job, body);
    first->launch();
    first->start_workflow(Job, {.workflow_id = "w"}, 1500);
    ASSERT_TRUE(eventually(
        [&] { return scalar("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'w'") == "2"; }));
    first.reset();  // interrupts the sleep at once
    EXPECT_EQ(scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = 'w'"), "PENDING");
    dbos::App second(app_options());
    second.implement(Job, body);
    second.launch();
    EXPECT_EQ(second.retrieve_workflow(Job, "w").get_result({.timeout = 30s}), 1500);
    EXPECT_EQ(first_steps, 1);
    EXPECT_EQ(last_steps, 1);
}

TEST_P(Recovery, shutdown_waits_for_work_when_it_is_given_time) {
    dbos::App app(app_options());
    Gate gate;
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        ctx.step("gate", [&] { gate.pass(); });
        return ctx.step("end", [&] { return n; });
    });
    app.launch();
    auto handle = app.start_workflow(Job, {.workflow_id = "w"}, 5);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    gate.open();
    EXPECT_TRUE(app.shutdown(20s).empty());
    EXPECT_EQ(scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = 'w'"), "SUCCESS");
}

TEST_P(Recovery, shutdown_names_the_steps_that_do_not_end_and_their_results_are_still_recorded) {
    dbos::App app(app_options());
    Gate gate;
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        ctx.step("stubborn", [&] { gate.pass(); });
        return n;
    });
    app.launch();
    app.start_workflow(Job, {.workflow_id = "w"}, 5);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    const auto left = app.shutdown(dbos::Duration(0), 50ms);
    ASSERT_EQ(left.size(), 1u);
    EXPECT_EQ(left[0], "w: stubborn");
    gate.open();
    EXPECT_TRUE(app.shutdown(dbos::Duration(0), 20s).empty());
    EXPECT_EQ(scalar("SELECT function_name FROM @operation_outputs WHERE workflow_uuid = 'w'"), "stubborn");
    EXPECT_EQ(scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = 'w'"), "PENDING");
}

TEST_P(Recovery, a_run_that_was_taken_over_commits_nothing_and_reports_the_winners_outcome) {
    dbos::App app(app_options());
    Gate gate;
    std::atomic<int> late{0};
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        ctx.step("gate", [&] { gate.pass(); });
        ctx.step("late", [&] { ++late; });
        return n;
    });
    app.launch();
    auto handle = app.start_workflow(Job, {.workflow_id = "w"}, 5);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    execute(
        "UPDATE @workflow_status SET owner_xid = 'somebody-else', executor_id = 'peer' WHERE workflow_uuid = "
        "'w'");
    gate.open();
    execute(
        "INSERT INTO @workflow_output (workflow_uuid, output, retention_timestamp) VALUES ('w', '77', 1)");
    ASSERT_TRUE(eventually([&] { return log.count("cancelled or taken over") > 0; }));
    execute("UPDATE @workflow_status SET status = 'SUCCESS', owner_xid = NULL WHERE workflow_uuid = 'w'");
    EXPECT_EQ(handle.get_result({.timeout = 20s}), 77);
    EXPECT_EQ(late, 0);
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'w'"), "0");
}

TEST_P(Recovery, a_replaced_lease_stops_everything_here) {
    dbos::App app(app_options());
    Gate gate;
    std::atomic<int> late{0};
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        ctx.step("gate", [&] { gate.pass(); });
        ctx.step("late", [&] { ++late; });
        return n;
    });
    app.launch();
    app.start_workflow(Job, {.workflow_id = "w"}, 5);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    execute("UPDATE @dbos_cpp_executors SET incarnation = 'another' WHERE executor_id = '" +
            app.executor_id() + "'");
    ASSERT_TRUE(eventually([&] { return log.count("another process holds this executor") > 0; }));
    gate.open();
    ASSERT_TRUE(eventually([&] { return log.count("cancelled or taken over") > 0; }));
    EXPECT_EQ(late, 0);
}

TEST_P(Recovery, a_workflow_that_kills_its_process_too_often_is_dead_lettered) {
    {
        dbos::App creator(app_options());
        creator.launch();
    }
    leave_behind("w", "dead-one");
    leave_lease("dead-one");
    execute("UPDATE @workflow_status SET recovery_attempts = 3 WHERE workflow_uuid = 'w'");
    std::atomic<int> bodies{0};
    dbos::App app(app_options());
    app.implement(Job,
                  [&](dbos::Context&, int n) {
                      ++bodies;
                      return n;
                  },
                  {.max_recovery_attempts = 2});
    app.launch();
    EXPECT_THROW(app.retrieve_workflow(Job, "w").get_result({.timeout = 20s}),
                 dbos::AwaitedWorkflowMaxRecovery);
    EXPECT_EQ(bodies, 0);
    EXPECT_EQ(scalar("SELECT queue_name FROM @workflow_status WHERE workflow_uuid = 'w'"), "");
    EXPECT_NE(scalar("SELECT completed_at FROM @workflow_status WHERE workflow_uuid = 'w'"), "");
}

TEST_P(Recovery, inputs_that_cannot_be_decoded_end_the_workflow_with_an_error) {
    {
        dbos::App creator(app_options());
        creator.launch();
    }
    leave_behind("w", "dead-one");
    leave_lease("dead-one");
    execute("UPDATE @workflow_input SET inputs = '{\"positionalArgs\":[\"three\"]}'");
    dbos::App app(app_options());
    app.implement(Job, [&](dbos::Context&, int n) { return n; });
    app.launch();
    try {
        app.retrieve_workflow(Job, "w").get_result({.timeout = 20s});
        ADD_FAILURE() << "nothing was thrown";
    } catch (const dbos::WorkflowFailed& error) {
        EXPECT_NE(error.message().find("expected integer"), std::string::npos) << error.message();
    }
}

}  // namespace
