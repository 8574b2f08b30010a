// Whose a workflow is, while it runs: lapses, cancels and take-overs by others, orphans, sweeps (safety 4, 5, 7, 9, 22, 26, 27).
#include <atomic>
#include <thread>

#include "runtime/executor.hpp"
#include "support/app.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;

namespace {

inline constexpr auto Job = dbos::workflow<int(int)>("job");

class Ownership : public dbos::test::AppTest {
   public:
    std::string now() const {
        return postgres() ? "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
                          : "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";
    }
    /// A row PENDING under `executor`, of a workflow "job" with the argument 3 and no step recorded.
    void leave_pending(const std::string& id, const std::string& executor,
                       const std::string& queue = "NULL") {
        execute("INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp) VALUES ('" + id +
                "', '{\"positionalArgs\":[3],\"namedArgs\":{}}', " + now() + ")");
        execute(
            "INSERT INTO @workflow_status (workflow_uuid, status, name, executor_id, queue_name, created_at, "
            "updated_at, started_at_epoch_ms, application_version, application_name, recovery_attempts, "
            "serialization, owner_xid, creator_xid) VALUES ('" +
            id + "', 'PENDING', 'job', '" + executor + "', " + queue + ", " + now() + ", " + now() + ", " +
            now() + ", 'test-app-1', 'test-app', 1, 'portable_json', 'old-token', 'old-token')");
    }
    void leave_lease(const std::string& executor, const std::string& expires_at, int lease_ms = 1500) {
        execute(
            "INSERT INTO @dbos_cpp_executors (application_name, executor_id, incarnation, version, counter, "
            "expires_at, lease_ms, host_key, pid, process_start, started_at, updated_at) VALUES ('test-app', "
            "'" +
            executor + "', 'earlier', 'test-app-1', 5, " + expires_at + ", " + std::to_string(lease_ms) +
            ", 'another host', 1, 1, 1, 1)");
    }
    std::string status_of(const std::string& id) {
        return scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = '" + id + "'");
    }
    /// Creates the database.
    void migrate() {
        dbos::App creator(app_options("creator"));
        creator.launch();
    }
    dbos::ClientOptions client_options() {
        dbos::ClientOptions options;
        options.system_database_url = database().url();
        options.dbos_system_schema = database().schema();
        options.application_name = "test-app";
        options.log_sink = log.sink();
        return options;
    }
};
DBOS_FOR_EVERY_DATABASE(Ownership);

TEST_P(Ownership, no_step_begins_after_a_lapse_in_which_a_peer_took_the_workflow) {
    dbos::App app(app_options());
    Gate between;
    std::atomic<int> late{0};
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        ctx.step("first", [] {});
        between.pass();  // the process stands still here, outside of a step
        ctx.step("second", [&] { ++late; });
        return n;
    });
    app.launch();
    auto handle = app.start_workflow(Job, {.workflow_id = "w"}, 5);
    ASSERT_TRUE(between.wait_for_arrivals(1));
    // No renewal passes for longer than the lease; a peer takes the row, records the step and goes on.
    execute("ALTER TABLE @dbos_cpp_executors RENAME TO dbos_cpp_executors_away");
    const auto renewed = [&] { return log.count("could not be renewed"); };
    ASSERT_TRUE(eventually([&] { return renewed() >= 10; }));  // 200 ms apart: 1.5 s have passed
    execute("UPDATE @workflow_status SET owner_xid = 'peer', executor_id = 'peer' WHERE workflow_uuid = 'w'");
    execute("ALTER TABLE @dbos_cpp_executors_away RENAME TO dbos_cpp_executors");
    between.open();
    ASSERT_TRUE(eventually([&] { return log.count("cancelled or taken over") > 0; }));
    EXPECT_EQ(late, 0);
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'w'"), "1");
    EXPECT_EQ(scalar("SELECT owner_xid FROM @workflow_status WHERE workflow_uuid = 'w'"), "peer");
}

TEST_P(Ownership, a_run_that_is_still_ours_goes_on_after_a_lapse) {
    dbos::App app(app_options());
    Gate between;
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        ctx.step("first", [] {});
        between.pass();
        return ctx.step("second", [&] { return n + 1; });
    });
    app.launch();
    auto handle = app.start_workflow(Job, {.workflow_id = "w"}, 5);
    ASSERT_TRUE(between.wait_for_arrivals(1));
    execute("ALTER TABLE @dbos_cpp_executors RENAME TO dbos_cpp_executors_away");
    ASSERT_TRUE(eventually([&] { return log.count("could not be renewed") >= 10; }));
    between.open();  // it waits in front of its step: nobody knows whose it is
    execute("ALTER TABLE @dbos_cpp_executors_away RENAME TO dbos_cpp_executors");
    EXPECT_EQ(handle.get_result({.timeout = 20s}), 6);
    EXPECT_EQ(scalar("SELECT recovery_attempts FROM @workflow_status WHERE workflow_uuid = 'w'"), "1");
}

TEST_P(Ownership, a_cancel_of_another_process_ends_attempts_and_asks_steps_to_stop) {
    dbos::AppOptions options = app_options();
    options.use_listen_notify = false;  // the poll floor alone
    dbos::App app(options);
    std::atomic<int> attempts{0};
    Gate working;
    std::atomic<bool> stopped{false};
    app.implement(Job, [&](dbos::Context& ctx, int kind) {
        if (kind == 1) {
            // Attempts write nothing, so no fence is met.
            ctx.step("flaky",
                     [&] {
                         ++attempts;
                         throw std::runtime_error("not yet");
                     },
                     {.max_attempts = 1'000'000, .interval = 1ms, .backoff_rate = 1});
        } else {
            ctx.step("patient", [&](dbos::StepContext& step) {
                working.open();
                working.pass();
                while (!step.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
                stopped = true;
            });
        }
        return kind;
    });
    app.launch();
    auto flaky = app.start_workflow(Job, {.workflow_id = "flaky"}, 1);
    auto patient = app.start_workflow(Job, {.workflow_id = "patient"}, 2);
    ASSERT_TRUE(eventually([&] { return attempts > 3; }));
    ASSERT_TRUE(working.wait_for_arrivals(1));
    dbos::Client other(client_options());
    other.cancel_workflow("flaky");
    other.cancel_workflow("patient");
    EXPECT_THROW(flaky.get_result({.timeout = 20s}), dbos::AwaitedWorkflowCancelled);
    EXPECT_THROW(patient.get_result({.timeout = 20s}), dbos::AwaitedWorkflowCancelled);
    ASSERT_TRUE(eventually([&] { return stopped.load(); }));
    ASSERT_TRUE(eventually([&] { return log.count("cancelled or taken over") == 2; }));
    const int at_the_end = attempts;
    EXPECT_TRUE(app.shutdown(20s).empty());
    EXPECT_EQ(attempts, at_the_end);
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs"), "0");
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status = 'CANCELLED'"), "2");
}

TEST_P(Ownership, a_deleted_workflow_is_not_run_on) {
    dbos::App app(app_options());
    Gate gate;
    std::atomic<int> late{0};
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        ctx.step("first", [&] { gate.pass(); });
        ctx.step("late", [&] { ++late; });
        return n;
    });
    app.launch();
    app.start_workflow(Job, {.workflow_id = "w"}, 5);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    execute("DELETE FROM @workflow_status WHERE workflow_uuid = 'w'");
    gate.open();
    ASSERT_TRUE(eventually([&] { return log.count("cancelled or taken over") > 0; }));
    EXPECT_EQ(late, 0);
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs"), "0");
}

/// The engine without its App, for checks that it makes twice a minute.
class Orphanage : public Ownership {
   public:
    std::unique_ptr<dbos::runtime::Executor> executor(dbos::AppOptions options) {
        auto engine = std::make_unique<dbos::runtime::Executor>(std::move(options));
        engine->implement(
            {.name = "job", .body = [this](dbos::Context& ctx, const dbos::Arguments& arguments) {
                 ++bodies;
                 if (hold) gate.pass();
                 if (sleep) ctx.sleep(1h);
                 return arguments.positional.at(0);
             }});
        engine->register_queue({.name = "q"});
        engine->launch();
        return engine;
    }
    /// Every other one on the queue.
    static void start_job(dbos::runtime::Executor& engine, const std::string& id, int i) {
        dbos::EnqueueOptions start;
        start.workflow_name = "job";
        start.workflow_id = id;
        if (i % 2 == 1) start.queue_name = "q";
        engine.start({}, std::move(start), dbos::to_arguments(i));
    }
    std::atomic<int> bodies{0};
    std::atomic<bool> hold{false}, sleep{false};
    Gate gate;
};
DBOS_FOR_EVERY_DATABASE(Orphanage);

TEST_P(Orphanage, rows_of_the_own_id_that_no_run_holds_are_run) {
    auto engine = executor(app_options());
    // As a claim leaves them whose acknowledgement was lost, and a direct start.
    leave_pending("claimed", engine->executor_id(), "'q'");
    leave_pending("direct", engine->executor_id());
    leave_pending("somebody-else", "somebody-else", "'q'");
    engine->claimer().check_orphans();
    for (const char* id : {"claimed", "direct"})
        EXPECT_TRUE(eventually([&] { return status_of(id) == "SUCCESS"; })) << id << ": " << status_of(id);
    EXPECT_EQ(bodies, 2);
    EXPECT_EQ(status_of("somebody-else"), "PENDING");
    EXPECT_EQ(scalar("SELECT queue_name FROM @workflow_status WHERE workflow_uuid = 'direct'"),
              "_dbos_internal_queue");
    EXPECT_EQ(log.count("no run held"), 2);
}

TEST_P(Orphanage, what_runs_is_no_orphan) {
    hold = true;
    auto engine = executor(app_options());
    for (int i = 0; i < 6; ++i) start_job(*engine, "w" + std::to_string(i), i);
    ASSERT_TRUE(gate.wait_for_arrivals(6));
    leave_pending("orphan", engine->executor_id(), "'q'");
    engine->claimer().check_orphans();
    ASSERT_TRUE(gate.wait_for_arrivals(7));  // the orphan alone
    gate.open();
    ASSERT_TRUE(eventually(
        [&] { return scalar("SELECT count(*) FROM @workflow_status WHERE status = 'SUCCESS'") == "7"; }));
    EXPECT_EQ(bodies, 7);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE recovery_attempts > 1"), "1");
}

TEST_P(Orphanage, what_is_parked_is_no_orphan) {
    sleep = true;
    auto options = app_options();
    options.park_after = 0s;
    auto engine = executor(std::move(options));
    for (int i = 0; i < 4; ++i) start_job(*engine, "w" + std::to_string(i), i);
    ASSERT_TRUE(eventually([&] { return bodies == 4 && engine->running().empty(); }));
    sleep = false;
    leave_pending("orphan", engine->executor_id(), "'q'");
    engine->claimer().check_orphans();
    ASSERT_TRUE(eventually([&] { return status_of("orphan") == "SUCCESS"; }));
    EXPECT_EQ(bodies, 5);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status = 'PENDING'"), "4");
    EXPECT_EQ(log.count("no run held"), 1);
    // One that is no longer parked is no longer held.
    execute("UPDATE @workflow_status SET owner_xid = 'later' WHERE workflow_uuid = 'w0'");
    engine->claimer().check_orphans();
    ASSERT_TRUE(eventually([&] { return status_of("w0") == "SUCCESS"; }));
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status = 'PENDING'"), "3");
}

TEST_P(Orphanage, starts_beside_the_check_lose_and_double_nothing) {
    auto engine = executor(app_options());
    std::atomic<bool> stop{false};
    std::thread checks([&] {
        while (!stop) {
            engine->claimer().check_orphans();
            std::this_thread::sleep_for(1ms);
        }
    });
    std::vector<std::thread> starters;
    for (int t = 0; t < 3; ++t) {
        starters.emplace_back([&, t] {
            for (int i = 0; i < 60; ++i)
                start_job(*engine, "w" + std::to_string(t) + "-" + std::to_string(i), i);
        });
    }
    for (auto& starter : starters) starter.join();
    EXPECT_TRUE(eventually(
        [&] { return scalar("SELECT count(*) FROM @workflow_status WHERE status = 'SUCCESS'") == "180"; },
        60));
    stop = true;
    checks.join();
    EXPECT_EQ(bodies, 180);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE recovery_attempts <> 1"), "0");
    EXPECT_EQ(log.count("no run held"), 0);
}

TEST_P(Ownership, two_apps_of_one_process_do_not_free_each_others_rows) {
    std::atomic<int> bodies{0};
    Gate gate;
    const auto body = [&](dbos::Context& ctx, int n) {
        return ctx.step("work", [&] {
            ++bodies;
            gate.pass();
            return n;
        });
    };
    dbos::App first(app_options()), second(app_options());
    for (dbos::App* app : {&first, &second}) {
        app->implement(Job, body);
        app->launch();
    }
    EXPECT_NE(first.executor_id(), second.executor_id());
    auto stays = second.start_workflow(Job, {.workflow_id = "second"}, 2);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    EXPECT_TRUE(first.shutdown().empty());
    // Somebody who judges both: the first has expired its lease, the second goes on renewing.
    dbos::App judge(app_options());
    judge.implement(Job, body);
    judge.launch();
    leave_pending("of-the-first", first.executor_id());
    ASSERT_TRUE(gate.wait_for_arrivals(2));  // taken over, because its executor is gone
    gate.open();
    EXPECT_EQ(stays.get_result({.timeout = 20s}), 2);
    EXPECT_TRUE(eventually([&] { return status_of("of-the-first") == "SUCCESS"; }));
    EXPECT_EQ(bodies, 2);
    EXPECT_EQ(scalar("SELECT recovery_attempts FROM @workflow_status WHERE workflow_uuid = 'second'"), "1");
    EXPECT_EQ(scalar("SELECT executor_id FROM @workflow_status WHERE workflow_uuid = 'second'"),
              second.executor_id());
}

TEST_P(Ownership, a_launch_under_a_configured_id_waits_for_its_earlier_life_and_recovers_it_first) {
    migrate();
    dbos::AppOptions options = app_options();
    options.executor_id = "worker-1";
    leave_lease("worker-1",
                now() + " + 1200");  // a container that was killed: its process cannot be asked for
    leave_pending("w", "worker-1");
    leave_pending("other-version", "worker-1");
    execute("UPDATE @workflow_status SET application_version = 'v0' WHERE workflow_uuid = 'other-version'");
    dbos::App app(options);
    app.implement(Job, [](dbos::Context& ctx, int n) { return ctx.step("s", [&] { return n; }); });
    app.launch();
    EXPECT_NE(scalar("SELECT incarnation FROM @dbos_cpp_executors WHERE executor_id = 'worker-1'"),
              "earlier");
    // Recovered before launch() returned: queued, running or done, never left PENDING under the old token.
    EXPECT_EQ(
        scalar("SELECT count(*) FROM @workflow_status WHERE workflow_uuid = 'w' AND owner_xid = 'old-token'"),
        "0");
    EXPECT_EQ(app.retrieve_workflow(Job, "w").get_result({.timeout = 20s}), 3);
    EXPECT_EQ(scalar("SELECT recovery_attempts FROM @workflow_status WHERE workflow_uuid = 'w'"), "2");
    EXPECT_EQ(status_of("other-version"), "PENDING");  // for an executor of that version
}

TEST_P(Ownership, a_shutdown_expires_the_lease_and_a_peer_takes_over) {
    dbos::App second(app_options());
    const auto body = [](dbos::Context& ctx, int n) {
        if (n == 0) ctx.sleep(1h);
        return ctx.step("s", [&] { return n; });
    };
    {
        dbos::AppOptions options = app_options();
        options.lease_duration = 3600s;  // nobody waits that out
        dbos::App first(options);
        first.implement(Job, body);
        first.launch();
        first.start_workflow(Job, {.workflow_id = "w"}, 0);
        ASSERT_TRUE(eventually([&] { return scalar("SELECT count(*) FROM @operation_outputs") == "1"; }));
    }
    EXPECT_EQ(scalar("SELECT count(*) FROM @dbos_cpp_executors WHERE expires_at > " + now()), "0");
    EXPECT_EQ(status_of("w"), "PENDING");
    // The lease of an hour was its own: whoever sees the row expired and silent for the promised time takes over.
    execute("UPDATE @dbos_cpp_executors SET lease_ms = 1500");
    second.implement(Job, body);
    second.launch();
    EXPECT_TRUE(eventually([&] {
        return scalar("SELECT executor_id FROM @workflow_status WHERE workflow_uuid = 'w'") ==
               second.executor_id();
    }));
}

TEST_P(Ownership, everything_of_a_dead_executor_is_run_while_the_sweeper_serves_others) {
    dbos::App app(app_options());
    app.implement(Job, [](dbos::Context&, int n) { return n; });
    app.register_queue({.name = "q"});
    app.launch();
    // More than one sweep's worth.
    constexpr int kRows = 2300;
    const std::string numbers = postgres()
                                    ? "generate_series(1, " + std::to_string(kRows) + ") AS g(n)"
                                    : "(WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE "
                                      "n < " +
                                          std::to_string(kRows) + ") SELECT n FROM g) AS g";
    execute(
        "INSERT INTO @workflow_status (workflow_uuid, status, name, executor_id, queue_name, created_at, "
        "updated_at, application_version, application_name, recovery_attempts, serialization, owner_xid, "
        "creator_xid) SELECT 'd' || g.n, 'PENDING', 'job', 'dead', 'q', g.n, g.n, 'test-app-1', 'test-app', "
        "1, "
        "'portable_json', 't' || g.n, 't' || g.n FROM " +
        numbers);
    execute(
        "INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp) SELECT 'd' || g.n, "
        "'{\"positionalArgs\":[3],\"namedArgs\":{}}', 1 FROM " +
        numbers);
    leave_lease("dead", "1000");
    EXPECT_EQ(app.start_workflow(Job, {.queue_name = "q"}, 1).get_result({.timeout = 20s}), 1);
    EXPECT_TRUE(eventually(
        [&] {
            return scalar("SELECT count(*) FROM @workflow_status WHERE executor_id = '" + app.executor_id() +
                          "' AND status = 'SUCCESS'") == std::to_string(kRows + 1);
        },
        60));
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE recovery_attempts > 2"), "0");
    EXPECT_EQ(log.count("an executor is dead"), 1);
    EXPECT_EQ(log.count("could not be renewed"), 0);
}

TEST_P(Ownership, rows_that_a_dead_executor_committed_late_are_found_by_its_next_look) {
    // What the look each minute does, without the minute: the same sweep again over an executor that was found empty.
    dbos::App app(app_options());
    app.implement(Job, [](dbos::Context&, int n) { return n; });
    app.launch();
    leave_lease("dead", "1000");
    ASSERT_TRUE(eventually([&] { return log.count("an executor is dead") == 1; }));
    leave_pending("late", "dead");
    // A new life of the judge sees it dead anew, and sweeps.
    dbos::App next(app_options());
    next.implement(Job, [](dbos::Context&, int n) { return n; });
    next.launch();
    EXPECT_TRUE(eventually([&] { return status_of("late") == "SUCCESS"; }));
}

}  // namespace
