// How runs end, and who may write the end: what the other SDKs assert of their runtimes (runtime_cases.list).
#include <atomic>
#include <limits>
#include <thread>

#include "support/app.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;

namespace {

inline constexpr auto Job = dbos::workflow<int(int)>("job");
inline constexpr auto Child = dbos::workflow<int(int)>("child");
inline constexpr auto Maybe = dbos::workflow<std::optional<std::string>(int)>("maybe");
inline constexpr auto Ratio = dbos::workflow<double(double)>("ratio");
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

class Outcomes : public dbos::test::AppTest {
   public:
    std::string column(const std::string& id, const std::string& name) {
        return scalar("SELECT " + name + " FROM @workflow_status WHERE workflow_uuid = '" + id + "'");
    }
    void migrate() {
        dbos::App creator(app_options("creator"));
        creator.launch();
    }
    /// A row of the workflow "job" with the argument 3, as recovery leaves it for a claim.
    void leave_enqueued(const std::string& id, int attempts) {
        execute("INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp) VALUES ('" + id +
                "', '{\"positionalArgs\":[3],\"namedArgs\":{}}', 1)");
        execute(
            "INSERT INTO @workflow_status (workflow_uuid, status, name, queue_name, created_at, updated_at, "
            "application_version, application_name, recovery_attempts, serialization, creator_xid, priority) "
            "VALUES ('" +
            id + "', 'ENQUEUED', 'job', '_dbos_internal_queue', 1, 1, 'test-app-1', 'test-app', " +
            std::to_string(attempts) + ", 'portable_json', 'token', 0)");
    }
    /// The same id runs again from the first line of its body, over its records.
    void run_again(const std::string& id) {
        execute(
            "UPDATE @workflow_status SET status = 'ENQUEUED', queue_name = '_dbos_internal_queue', owner_xid "
            "= NULL, completed_at = NULL WHERE workflow_uuid = '" +
            id + "'");
    }
};
DBOS_FOR_EVERY_DATABASE(Outcomes);

TEST_P(Outcomes, a_null_result_is_stored_replayed_and_recovered) {
    std::atomic<int> bodies{0}, steps{0};
    dbos::App app(app_options());
    app.implement(Maybe, [&](dbos::Context& ctx, int) {
        ++bodies;
        return ctx.step("nothing", [&]() -> std::optional<std::string> {
            ++steps;
            return std::nullopt;
        });
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Maybe, {.workflow_id = "w"}, 1).get_result({.timeout = 20s}), std::nullopt);
    EXPECT_EQ(app.start_workflow(Maybe, {.workflow_id = "w"}, 1).get_result({.timeout = 20s}), std::nullopt);
    EXPECT_EQ(bodies, 1);
    EXPECT_EQ(app.client().list_workflow_steps("w").at(0).output, dbos::Value());
    EXPECT_EQ(app.retrieve_workflow("w").get_status().output, dbos::Value());
    run_again("w");
    ASSERT_TRUE(eventually([&] { return bodies == 2 && column("w", "status") == "SUCCESS"; }));
    EXPECT_EQ(app.retrieve_workflow(Maybe, "w").get_result({.timeout = 20s}), std::nullopt);
    EXPECT_EQ(steps, 1);
}

TEST_P(Outcomes, a_row_with_a_blank_id_ends_as_an_error_and_runs_nothing) {
    migrate();
    std::atomic<int> bodies{0};
    leave_enqueued("", 0);
    leave_enqueued("next", 0);
    dbos::App app(app_options());
    app.implement(Job, [&](dbos::Context&, int n) {
        ++bodies;
        return n;
    });
    app.launch();
    EXPECT_EQ(app.retrieve_workflow(Job, "next").get_result({.timeout = 20s}), 3);
    ASSERT_TRUE(eventually([&] { return column("", "status") == "ERROR"; }));
    EXPECT_EQ(bodies, 1);
    EXPECT_EQ(column("", "recovery_attempts"), "1");
}

TEST_P(Outcomes, the_dead_letter_comes_after_the_limit_and_a_resume_begins_anew) {
    migrate();
    std::atomic<int> bodies{0};
    leave_enqueued("last-chance", 2);
    leave_enqueued("too-often", 3);
    dbos::App app(app_options());
    app.implement(Job,
                  [&](dbos::Context&, int n) {
                      ++bodies;
                      return n;
                  },
                  {.max_recovery_attempts = 2});
    app.launch();
    EXPECT_EQ(app.retrieve_workflow(Job, "last-chance").get_result({.timeout = 20s}), 3);
    EXPECT_THROW(app.retrieve_workflow(Job, "too-often").get_result({.timeout = 20s}),
                 dbos::AwaitedWorkflowMaxRecovery);
    EXPECT_EQ(bodies, 1);
    EXPECT_NE(column("too-often", "completed_at"), "");
    EXPECT_EQ(column("too-often", "queue_name"), "");
    // A start under that id gives its handle and runs nothing.
    EXPECT_THROW(app.start_workflow(Job, {.workflow_id = "too-often"}, 3).get_result({.timeout = 20s}),
                 dbos::AwaitedWorkflowMaxRecovery);
    EXPECT_EQ(bodies, 1);
    EXPECT_EQ(app.client().resume_workflow<int>("too-often").get_result({.timeout = 20s}), 3);
    EXPECT_EQ(column("too-often", "recovery_attempts"), "1");
    EXPECT_EQ(bodies, 2);
}

TEST_P(Outcomes, only_the_run_that_owns_a_pending_row_writes_its_end) {
    Gate gate;
    dbos::App app(app_options());
    app.implement(Job, [&](dbos::Context&, int n) {
        gate.pass();
        return n;
    });
    app.launch();
    const std::vector<std::string> statuses{
        "CANCELLED", "ENQUEUED", "DELAYED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "SUCCESS", "ERROR"};
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (const auto& status : statuses)
        handles.push_back(app.start_workflow(Job, {.workflow_id = status}, 1));
    auto taken = app.start_workflow(Job, {.workflow_id = "taken"}, 1);
    auto gone = app.start_workflow(Job, {.workflow_id = "gone"}, 1);
    ASSERT_TRUE(gate.wait_for_arrivals(static_cast<int>(statuses.size()) + 2));
    for (const auto& status : statuses) {
        // A queue that nobody serves, so that what is queued stays there.
        execute("UPDATE @workflow_status SET status = '" + status +
                "', owner_xid = NULL, queue_name = 'nobody', delay_until_epoch_ms = 9000000000000 WHERE "
                "workflow_uuid = '" +
                status + "'");
    }
    execute("UPDATE @workflow_status SET owner_xid = 'peer' WHERE workflow_uuid = 'taken'");
    execute("DELETE FROM @workflow_status WHERE workflow_uuid = 'gone'");
    execute(
        "INSERT INTO @workflow_output (workflow_uuid, output, retention_timestamp) VALUES ('SUCCESS', '77', "
        "1)");
    execute(
        "INSERT INTO @workflow_output (workflow_uuid, error, retention_timestamp) VALUES ('ERROR', "
        "'{\"name\":\"out_of_range\",\"message\":\"of another run\"}', 1)");
    gate.open();
    EXPECT_THROW(handles[0].get_result({.timeout = 20s}), dbos::AwaitedWorkflowCancelled);
    EXPECT_THROW(handles[3].get_result({.timeout = 20s}), dbos::AwaitedWorkflowMaxRecovery);
    EXPECT_EQ(handles[4].get_result({.timeout = 20s}), 77);
    EXPECT_THROW(handles[5].get_result({.timeout = 20s}), std::out_of_range);
    EXPECT_THROW(gone.get_result({.timeout = 20s}), dbos::NonexistentWorkflow);
    ASSERT_TRUE(app.shutdown(20s).empty());
    for (const auto& status : statuses) EXPECT_EQ(column(status, "status"), status);
    EXPECT_EQ(column("taken", "status"), "PENDING");
    EXPECT_EQ(column("taken", "owner_xid"), "peer");
    EXPECT_EQ(column("gone", "count(*)"), "0");
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_output"), "2");
}

TEST_P(Outcomes, what_is_cancelled_after_its_last_step_stays_so_and_a_resume_repeats_no_step) {
    std::atomic<int> bodies{0}, steps{0};
    Gate gate;
    dbos::App app(app_options());
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        ++bodies;
        const int value = ctx.step("last", [&] {
            ++steps;
            return n + 1;
        });
        gate.pass();
        return value;
    });
    app.launch();
    auto handle = app.start_workflow(Job, {.workflow_id = "w"}, 1);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    app.client().cancel_workflow("w");
    gate.open();
    EXPECT_THROW(handle.get_result({.timeout = 20s}), dbos::AwaitedWorkflowCancelled);
    ASSERT_TRUE(eventually([&] { return log.count("cancelled or taken over") > 0; }));
    EXPECT_EQ(column("w", "status"), "CANCELLED");
    EXPECT_EQ(app.client().resume_workflow<int>("w").get_result({.timeout = 20s}), 2);
    app.client().resume_workflow("w");  // what has succeeded is left alone
    EXPECT_EQ(column("w", "status"), "SUCCESS");
    EXPECT_EQ(bodies, 2);
    EXPECT_EQ(steps, 1);
}

TEST_P(Outcomes, many_starts_of_one_id_run_the_body_once_and_all_get_its_result) {
    std::atomic<int> bodies{0};
    dbos::App first(app_options()), second(app_options());
    for (dbos::App* app : {&first, &second}) {
        app->implement(Job, [&](dbos::Context& ctx, int n) {
            ++bodies;
            return ctx.step("s", [&] { return n; });
        });
        app->launch();
    }
    std::atomic<int> same{0};
    std::vector<std::thread> starters;
    const auto start = [&](dbos::App& app, int n) {
        // Every start has an argument of its own; all results are of the one that ran.
        const int result = app.start_workflow(Job, {.workflow_id = "w"}, n).get_result({.timeout = 30s});
        if (result == app.retrieve_workflow(Job, "w").get_result({.timeout = 30s})) ++same;
    };
    for (int i = 0; i < 16; ++i) starters.emplace_back([&, i] { start(i % 2 == 0 ? first : second, i); });
    for (auto& starter : starters) starter.join();
    EXPECT_EQ(bodies, 1);
    EXPECT_EQ(same, 16);
    EXPECT_EQ(column("w", "recovery_attempts"), "1");
}

TEST_P(Outcomes, a_child_that_failed_with_a_lost_connection_ends_the_wait_of_its_parent) {
    dbos::App app(app_options());
    app.implement(Child, [](dbos::Context&, int) -> int {
        throw dbos::DatabaseError(dbos::DatabaseErrorKind::connection, "the child's own database is away");
    });
    app.implement(Job, [](dbos::Context& ctx, int n) {
        try {
            return ctx.start_workflow(Child, {}, n).get_result();
        } catch (const dbos::WorkflowFailed& error) {
            return error.type_name() == "DatabaseError" ? 1 : 2;
        }
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Job, {}, 0).get_result({.timeout = 20s}), 1);
}

TEST_P(Outcomes, what_no_format_can_hold_is_an_error_at_its_place) {
    std::atomic<int> bodies{0};
    dbos::App app(app_options());
    app.implement(Ratio, [&](dbos::Context& ctx, double n) {
        ++bodies;
        if (n > 1) {
            EXPECT_THROW(ctx.set_event("k", kNan), dbos::EncodeError);
            EXPECT_THROW(ctx.write_stream("k", kNan), dbos::EncodeError);
            EXPECT_THROW(ctx.send(ctx.workflow_id(), kNan), dbos::EncodeError);
            EXPECT_THROW(ctx.start_workflow(Ratio, {}, kNan), dbos::EncodeError);
            EXPECT_THROW(ctx.step("s", [] { return kNan; }), dbos::EncodeError);
            return n;
        }
        return kNan;
    });
    app.launch();
    // An argument: nothing is written.
    EXPECT_THROW(app.start_workflow(Ratio, {}, kNan), dbos::EncodeError);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status"), "0");
    // A result: the workflow's error.
    auto result = app.start_workflow(Ratio, {.workflow_id = "result"}, 1);
    EXPECT_THROW(result.get_result({.timeout = 20s}), dbos::WorkflowFailed);
    EXPECT_EQ(column("result", "status"), "ERROR");
    EXPECT_EQ(result.get_status().error.value().type_name, "EncodeError");
    // Within the body only the step has taken a number, and its error is recorded.
    EXPECT_EQ(app.start_workflow(Ratio, {.workflow_id = "body"}, 2).get_result({.timeout = 20s}), 2);
    const auto steps = app.client().list_workflow_steps("body");
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].function_id, 1);
    EXPECT_EQ(steps[0].error.value().type_name, "EncodeError");
    EXPECT_EQ(bodies, 2);
}

TEST_P(Outcomes, deadlines_are_inherited_kept_and_replaced) {
    Gate gate;
    std::atomic<int> bodies{0};
    dbos::App app(app_options());
    app.implement(Child, [&](dbos::Context&, int n) { return n; });
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        ++bodies;
        ctx.start_workflow(Child, {.workflow_id = "plain"}, n);
        ctx.start_workflow(Child, {.queue_name = "q", .workflow_id = "queued"}, n);
        ctx.start_workflow(Child, {.workflow_id = "own", .workflow_timeout = 2h}, n);
        constexpr dbos::Duration kNever(std::numeric_limits<double>::infinity());
        ctx.start_workflow(Child, {.workflow_id = "detached", .workflow_timeout = kNever}, n);
        gate.pass();
        return n;
    });
    app.register_queue({.name = "q"});
    app.launch();
    app.start_workflow(Job, {.workflow_id = "p", .workflow_timeout = 1h}, 1);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    const auto deadline = [&](const std::string& id) { return column(id, "workflow_deadline_epoch_ms"); };
    const std::string parents = deadline("p");
    ASSERT_NE(parents, "");
    EXPECT_EQ(deadline("plain"), parents);
    EXPECT_EQ(deadline("queued"), parents);
    EXPECT_GT(std::stoll(deadline("own")), std::stoll(parents));
    EXPECT_EQ(deadline("detached"), "");
    gate.open();
    EXPECT_EQ(app.retrieve_workflow(Job, "p").get_result({.timeout = 20s}), 1);
    run_again("p");
    ASSERT_TRUE(eventually([&] { return bodies == 2 && column("p", "status") == "SUCCESS"; }));
    EXPECT_EQ(deadline("p"), parents);
    // A deadline that has passed cancels the parent and the children that share it.
    execute(
        "UPDATE @workflow_status SET workflow_deadline_epoch_ms = 1000, status = 'ENQUEUED', queue_name = "
        "'nobody', owner_xid = NULL, completed_at = NULL WHERE workflow_uuid IN ('p', 'plain', 'queued')");
    for (const char* id : {"p", "plain", "queued"})
        EXPECT_TRUE(eventually([&] { return column(id, "status") == "CANCELLED"; })) << id;
    EXPECT_EQ(column("own", "status"), "SUCCESS");
}

}  // namespace
