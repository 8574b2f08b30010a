// The queue runner under trouble: failing claims, foreign heads of line, slots that outcomes hold, threads that are few, and how
// often it looks (safety 8, 9, 16, 19, 21, 30, 46, 51).
#include <atomic>
#include <set>
#include <thread>

#include "client/core.hpp"
#include "runtime/app_impl.hpp"
#include "runtime/executor.hpp"
#include "support/app.hpp"
#include "sysdb/database.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;

namespace {

inline constexpr auto Job = dbos::workflow<int(int)>("job");
inline constexpr auto Parent = dbos::workflow<int(int)>("parent");

class QueueRunner : public dbos::test::AppTest {
   public:
    std::string now() const {
        return postgres() ? "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
                          : "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";
    }
    /// An enqueued row as another SDK writes it: nobody is told. Its argument is 7.
    void enqueue_quietly(const std::string& id, const std::string& created_at, const std::string& version,
                         const std::string& queue = "q") {
        execute("INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp) VALUES ('" + id +
                "', '{\"positionalArgs\":[7],\"namedArgs\":{}}', 1)");
        execute(
            "INSERT INTO @workflow_status (workflow_uuid, status, name, queue_name, priority, created_at, "
            "updated_at, application_version, application_name, recovery_attempts, serialization, "
            "creator_xid) "
            "VALUES ('" +
            id + "', 'ENQUEUED', 'job', '" + queue + "', 0, " + created_at + ", 1, " + version +
            ", 'test-app', 0, 'portable_json', 'x')");
    }
    std::string numbers(int count) const {
        const std::string text = std::to_string(count);
        return postgres() ? "generate_series(1, " + text + ") AS g(n)"
                          : "(WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < " +
                                text + ") SELECT n FROM g) AS g";
    }
    /// The database refuses a kind of write from now on.
    void refuse(const std::string& write, const std::string& table, const std::string& condition) {
        if (postgres()) {
            execute(
                "CREATE OR REPLACE FUNCTION @refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "'BEGIN RAISE EXCEPTION ''refused''; END'");
            execute("CREATE TRIGGER refused BEFORE " + write + " ON @" + table + " FOR EACH ROW WHEN (" +
                    condition + ") EXECUTE FUNCTION @refuse()");
        } else {
            execute("CREATE TRIGGER refused BEFORE " + write + " ON " + table + " WHEN " + condition +
                    " BEGIN SELECT RAISE(ABORT, 'refused'); END");
        }
    }
    void accept(const std::string& table) {
        execute(postgres() ? "DROP TRIGGER refused ON @" + table : "DROP TRIGGER refused");
    }
    void break_claims() {
        refuse("UPDATE", "workflow_status", "OLD.status = 'ENQUEUED' AND NEW.status = 'PENDING'");
    }
    void mend_claims() { accept("workflow_status"); }
};
DBOS_FOR_EVERY_DATABASE(QueueRunner);

/// How many are inside at once, and the most that ever were.
class Crowd {
   public:
    void in() {
        const int now = ++inside_;
        for (int seen = most_; now > seen && !most_.compare_exchange_weak(seen, now);) {
        }
    }
    void out() { --inside_; }
    int most() const { return most_; }

   private:
    std::atomic<int> inside_{0}, most_{0};
};

TEST_P(QueueRunner, claims_that_fail_neither_leak_slots_nor_exceed_them) {
    dbos::App app(app_options());
    Crowd crowd;
    Gate gate;
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        return ctx.step("work", [&] {
            crowd.in();
            if (n >= 100) gate.pass();
            std::this_thread::sleep_for(1ms);
            crowd.out();
            return n;
        });
    });
    app.register_queue({.name = "narrow", .worker_concurrency = 3});
    app.register_queue({.name = "shared", .worker_concurrency = 3, .concurrency = 3});
    app.launch();
    for (const std::string queue : {"narrow", "shared"}) {
        const int failures = log.count("a claim failed");
        break_claims();
        std::vector<dbos::WorkflowHandle<int>> handles;
        for (int i = 0; i < 20; ++i) handles.push_back(app.start_workflow(Job, {.queue_name = queue}, i));
        ASSERT_TRUE(eventually([&] { return log.count("a claim failed") >= failures + 2; }));
        EXPECT_EQ(crowd.most(), queue == "narrow" ? 0 : 3);
        mend_claims();
        for (int i = 0; i < 20; ++i)
            EXPECT_EQ(handles[static_cast<std::size_t>(i)].get_result({.timeout = 30s}), i);
        // All slots are there again: three run at once.
        const int arrived = gate.arrived();
        std::vector<dbos::WorkflowHandle<int>> wide;
        for (int i = 0; i < 3; ++i) wide.push_back(app.start_workflow(Job, {.queue_name = queue}, 100 + i));
        EXPECT_TRUE(gate.wait_for_arrivals(arrived + 3));
        gate.open();
        for (auto& handle : wide) handle.get_result({.timeout = 30s});
    }
    EXPECT_EQ(crowd.most(), 3);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status <> 'SUCCESS'"), "0");
}

TEST_P(QueueRunner, a_run_that_the_database_refuses_holds_its_slot_until_its_row_is_handed_back) {
    dbos::App app(app_options());
    std::atomic<int> refused{0};
    std::set<std::string> pending;  // by one body at a time, if the limit holds
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        if (n == 1) ++refused;
        pending.insert(scalar("SELECT count(*) FROM @workflow_status WHERE status = 'PENDING'"));
        return ctx.step("work", [&] { return n; });
    });
    app.register_queue({.name = "narrow", .worker_concurrency = 1});
    app.launch();
    refuse("INSERT", "operation_outputs", "NEW.workflow_uuid = 'refused'");
    auto first = app.start_workflow(Job, {.queue_name = "narrow", .workflow_id = "refused"}, 1);
    auto second = app.start_workflow(Job, {.queue_name = "narrow"}, 2);
    ASSERT_TRUE(eventually([&] { return refused >= 3; }));
    accept("operation_outputs");
    EXPECT_EQ(first.get_result({.timeout = 30s}), 1);
    EXPECT_EQ(second.get_result({.timeout = 30s}), 2);
    EXPECT_EQ(pending, std::set<std::string>{"1"});
}

TEST_P(QueueRunner, a_refused_outcome_holds_its_slot_too) {
    dbos::App app(app_options());
    std::atomic<int> bodies{0};
    std::set<std::string> pending;
    app.implement(Job, [&](dbos::Context&, int n) {
        ++bodies;
        pending.insert(scalar("SELECT count(*) FROM @workflow_status WHERE status = 'PENDING'"));
        return n;
    });
    app.register_queue({.name = "narrow", .worker_concurrency = 1});
    app.launch();
    refuse("UPDATE", "workflow_status", "NEW.status = 'SUCCESS' AND NEW.workflow_uuid = 'refused'");
    auto first = app.start_workflow(Job, {.queue_name = "narrow", .workflow_id = "refused"}, 1);
    auto second = app.start_workflow(Job, {.queue_name = "narrow"}, 2);
    ASSERT_TRUE(eventually([&] { return bodies >= 2; }));
    accept("workflow_status");
    EXPECT_EQ(first.get_result({.timeout = 30s}), 1);
    EXPECT_EQ(second.get_result({.timeout = 30s}), 2);
    EXPECT_EQ(pending, std::set<std::string>{"1"});
}

TEST_P(QueueRunner, connections_that_die_under_claims_lose_nothing_and_exceed_no_limit) {
    if (!postgres()) GTEST_SKIP() << "a file has no connections to kill";
    dbos::AppOptions options = app_options();
    options.executor_id = "killed";
    dbos::App app(options);
    Crowd crowd;
    std::atomic<int> steps{0};
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        return ctx.step("work", [&] {
            crowd.in();
            ++steps;
            std::this_thread::sleep_for(2ms);
            crowd.out();
            return n;
        });
    });
    app.register_queue({.name = "narrow", .worker_concurrency = 4});
    app.launch();
    constexpr int kJobs = 150;
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int i = 0; i < kJobs; ++i) handles.push_back(app.start_workflow(Job, {.queue_name = "narrow"}, i));
    std::atomic<bool> stop{false};
    std::thread killer([&] {
        const auto connection = open();
        while (!stop) {
            connection->query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
                "'dbos_cpp_killed'",
                {}, dbos::sql::Access::write);
            std::this_thread::sleep_for(60ms);
        }
    });
    EXPECT_TRUE(eventually([&] { return steps >= kJobs / 2; }, 60));
    stop = true;
    killer.join();
    // A claim whose rows were never seen is handed back by the slow check.
    for (int i = 0; i < kJobs; ++i)
        EXPECT_EQ(handles[static_cast<std::size_t>(i)].get_result({.timeout = 60s}), i);
    EXPECT_LE(crowd.most(), 4);
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs"), std::to_string(kJobs));
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status <> 'SUCCESS'"), "0");
}

TEST_P(QueueRunner, a_slot_is_freed_by_the_committed_outcome_not_by_the_end_of_the_body) {
    if (!postgres()) GTEST_SKIP() << "who blocks a write to a file blocks claims too";
    dbos::App app(app_options());
    std::atomic<int> bodies{0};
    app.implement(Job, [&](dbos::Context&, int n) {
        if (n < 100) ++bodies;
        return n;
    });
    app.register_queue({.name = "one", .worker_concurrency = 1});
    app.register_queue({.name = "other"});
    auto blocker = open();
    app.launch();
    // The row is locked by somebody's transaction before its outcome is written.
    auto first = app.start_workflow(Job, {.queue_name = "one", .workflow_id = "first", .delay = 300ms}, 1);
    blocker->begin();
    // Blocks the outcome, and lets the claim pass: only updates that set completed_at meet it.
    blocker->query("SELECT pg_advisory_xact_lock(4711)", {}, dbos::sql::Access::write);
    execute(
        "CREATE FUNCTION @hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM "
        "pg_advisory_xact_lock(4711); "
        "RETURN NEW; END'");
    execute(
        "CREATE TRIGGER hold BEFORE UPDATE ON @workflow_status FOR EACH ROW WHEN (NEW.status = 'SUCCESS' AND "
        "NEW.workflow_uuid = 'first') EXECUTE FUNCTION @hold()");
    ASSERT_TRUE(eventually([&] { return bodies == 1; }));
    auto second = app.start_workflow(Job, {.queue_name = "one", .workflow_id = "second"}, 2);
    // The runner serves others meanwhile, again and again, and finds no slot for the second.
    for (int i = 0; i < 3; ++i) {
        auto other = app.start_workflow(Job, {.queue_name = "other"}, 100 + i);
        ASSERT_TRUE(eventually([&] {
            return scalar("SELECT count(*) FROM @workflow_status WHERE workflow_uuid = '" +
                          other.workflow_id() + "' AND status <> 'ENQUEUED'") == "1";
        }));
    }
    EXPECT_EQ(bodies, 1);
    EXPECT_EQ(scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = 'second'"), "ENQUEUED");
    blocker->rollback();
    EXPECT_EQ(first.get_result({.timeout = 30s}), 1);
    EXPECT_EQ(second.get_result({.timeout = 30s}), 2);
    EXPECT_EQ(bodies, 2);
}

TEST_P(QueueRunner, rows_behind_and_in_front_of_a_long_foreign_head_are_run) {
    dbos::AppOptions options = app_options();
    options.use_listen_notify = false;
    dbos::App app(options);
    app.implement(Job, [](dbos::Context&, int n) { return n; });
    app.register_queue({.name = "q"});
    app.launch();
    // 3 000 rows of another version at the head, which only an executor of that version may take.
    execute(
        "INSERT INTO @workflow_status (workflow_uuid, status, name, queue_name, priority, created_at, "
        "updated_at, "
        "application_version, application_name, recovery_attempts, serialization, creator_xid) SELECT 'f' || "
        "g.n, "
        "'ENQUEUED', 'job', 'q', 0, 1000000 + g.n, 1, 'v-other', 'test-app', 0, 'portable_json', 'x' FROM " +
        numbers(3000));
    enqueue_quietly("behind", now(), "'test-app-1'");
    const auto done = [&](const std::string& id) {
        return scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = '" + id + "'") == "SUCCESS";
    };
    EXPECT_TRUE(eventually([&] { return done("behind"); }, 40));
    // In the middle of the head, where no window looks: a row that was committed late.
    enqueue_quietly("middle", "1001500", "'test-app-1'");
    // At the head: what a delay or a recovery brings back.
    enqueue_quietly("front", "1000", "'test-app-1'");
    EXPECT_TRUE(eventually([&] { return done("front"); }, 40));
    EXPECT_TRUE(eventually([&] { return done("middle"); }, 40));
    EXPECT_EQ(app.start_workflow(Job, {.queue_name = "q"}, 5).get_result({.timeout = 20s}), 5);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status = 'ENQUEUED'"), "3000");
}

TEST_P(QueueRunner, the_shortest_polling_interval_is_how_often_it_looks) {
    dbos::AppOptions options = app_options();
    options.use_listen_notify = false;  // nobody tells: only a look finds them
    dbos::runtime::Executor engine(options);
    engine.implement({.name = "job", .body = [](dbos::Context&, const dbos::Arguments& arguments) {
                          return arguments.positional.at(0);
                      }});
    engine.register_queue({.name = "slow", .polling_interval = 5s});
    engine.launch();
    EXPECT_EQ(engine.claimer().polling_interval(), 1s);  // the tick has other work too
    engine.register_queue({.name = "q", .polling_interval = 20ms});
    EXPECT_EQ(engine.claimer().polling_interval(), 20ms);
    engine.register_queue({.name = "greedy", .polling_interval = 0.1ms});
    EXPECT_EQ(engine.claimer().polling_interval(), 10ms);
    for (int i = 0; i < 10; ++i) {
        const std::string id = "w" + std::to_string(i);
        enqueue_quietly(id, now(), "'test-app-1'");
        ASSERT_TRUE(eventually([&] {
            return scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = '" + id + "'") ==
                   "SUCCESS";
        })) << id;
    }
    // Another process changes the row: it holds for this one at its next look.
    execute("UPDATE @queues SET polling_interval_sec = 0.5 WHERE name <> 'slow'");
    EXPECT_TRUE(eventually([&] { return engine.claimer().polling_interval() == 500ms; }));
}

TEST_P(QueueRunner, a_polling_interval_of_get_result_is_how_often_it_looks_in_a_body_too) {
    dbos::AppOptions options = app_options();
    options.use_listen_notify = false;
    dbos::runtime::Executor engine(options);
    engine.implement({.name = "parent", .body = [](dbos::Context& ctx, const dbos::Arguments&) {
                          // A child of a program that is not there: the test ends it.
                          auto child = ctx.start_workflow({.workflow_name = "elsewhere",
                                                           .queue_name = "q",
                                                           .workflow_id = "child",
                                                           .application_name = "elsewhere"});
                          return child.get_result({.polling_interval = 10ms});
                      }});
    engine.register_queue({.name = "q"});
    engine.launch();
    dbos::EnqueueOptions start;
    start.workflow_name = "parent";
    start.workflow_id = "parent";
    engine.start({}, std::move(start), {});
    // At a look a second it would be at 20 by then.
    EXPECT_TRUE(eventually([&] { return engine.hub().stats().payloads >= 100; }));
    execute(
        "INSERT INTO @workflow_output (workflow_uuid, output, retention_timestamp) VALUES ('child', '2', 1)");
    execute("UPDATE @workflow_status SET status = 'SUCCESS' WHERE workflow_uuid = 'child'");
    EXPECT_TRUE(eventually(
        [&] { return scalar("SELECT output FROM @workflow_output WHERE workflow_uuid = 'parent'") == "2"; }));
}

TEST_P(QueueRunner, no_more_is_claimed_while_many_writes_wait) {
    if (!postgres()) GTEST_SKIP() << "what keeps writes waiting keeps claims waiting there";
    constexpr int kJobs = 5000, kMost = 2500;
    {
        dbos::App enqueuer(app_options());
        enqueuer.launch();
        std::vector<dbos::EnqueueRequest> requests;
        for (int i = 0; i < kJobs; ++i)
            requests.push_back(
                dbos::enqueue_request(Job, {.queue_name = "q", .workflow_id = std::to_string(i)}, i));
        enqueuer.client().enqueue_bulk(std::move(requests));
    }
    const auto other = open();
    other->begin(dbos::sql::Isolation::read_committed);
    other->query("LOCK TABLE @operation_outputs IN EXCLUSIVE MODE");  // readers pass
    dbos::App app(app_options());
    app.implement(Job, [](dbos::Context& ctx, int n) { return ctx.step("work", [n] { return n + 1; }); });
    app.register_queue({.name = "q"});
    app.launch();
    const auto claimed = [this] {
        return std::stoi(scalar("SELECT count(*) FROM @workflow_status WHERE status = 'PENDING'"));
    };
    const auto& claimer = app.impl().executor.claimer();
    std::optional<dbos::sysdb::Millis> next;
    ASSERT_TRUE(eventually([&] { return claimed() >= 500 && claimer.at_rest(next); }));
    EXPECT_LT(claimed(), kMost);
    // The first ones took many rows, those that found bodies waiting few.
    EXPECT_GT(
        std::stoi(scalar("SELECT max(n) FROM (SELECT count(*) AS n FROM @workflow_status WHERE status = "
                         "'PENDING' GROUP BY started_at_epoch_ms) c")),
        25);
    EXPECT_GT(claimer.claims() * 50, static_cast<std::uint64_t>(claimed()));
    other->rollback();
    for (int i = 0; i < kJobs; ++i)
        EXPECT_EQ(app.retrieve_workflow(Job, std::to_string(i)).get_result({.timeout = 60s}), i + 1);
}

TEST_P(QueueRunner, few_threads_are_enough_for_parents_that_wait_for_children) {
    dbos::AppOptions options = app_options();
    options.max_threads = 2;
    dbos::App app(options);
    Crowd crowd;
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        crowd.in();
        std::this_thread::sleep_for(1ms);
        crowd.out();
        auto half = ctx.async_step("half", [n] { return n / 2; });
        return half.get() * 2 + ctx.step("rest", [n] { return n % 2; });
    });
    app.implement(Parent, [&](dbos::Context& ctx, int n) {
        crowd.in();
        std::this_thread::sleep_for(1ms);
        crowd.out();
        std::vector<dbos::WorkflowHandle<int>> children;
        for (int i = 0; i < 3; ++i)
            children.push_back(ctx.start_workflow(Job, {.queue_name = i == 1 ? "q" : ""}, n));
        int sum = 0;
        for (auto& child : children) sum += child.get_result();
        return sum;
    });
    app.register_queue({.name = "q"});
    app.launch();
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int i = 0; i < 12; ++i)
        handles.push_back(app.start_workflow(Parent, {.queue_name = i % 2 == 0 ? "q" : ""}, i));
    for (int i = 0; i < 12; ++i)
        EXPECT_EQ(handles[static_cast<std::size_t>(i)].get_result({.timeout = 30s}), 3 * i);
    EXPECT_LE(crowd.most(), 2);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status <> 'SUCCESS'"), "0");
}

TEST_P(QueueRunner, a_step_that_waits_for_another_workflow_lends_its_thread) {
    dbos::AppOptions options = app_options();
    options.max_threads = 1;
    dbos::App app(options);
    app.implement(Job, [](dbos::Context& ctx, int n) { return ctx.step("s", [n] { return n + 1; }); });
    app.implement(Parent, [&](dbos::Context& ctx, int n) {
        return ctx.step("call", [&] {
            return app.start_workflow(Job, {.workflow_id = ctx.workflow_id() + "-child"}, n).get_result();
        });
    });
    app.launch();
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int i = 0; i < 5; ++i) handles.push_back(app.start_workflow(Parent, {}, i));
    for (int i = 0; i < 5; ++i)
        EXPECT_EQ(handles[static_cast<std::size_t>(i)].get_result({.timeout = 30s}), i + 1);
}

TEST_P(QueueRunner, each_unknown_name_is_warned_of_once_and_stays_enqueued) {
    dbos::App app(app_options());
    app.implement(Job, [](dbos::Context&, int n) { return n; });
    app.register_queue({.name = "q"});
    app.launch();
    for (int i = 0; i < 3; ++i) app.start_workflow({.workflow_name = "stranger", .queue_name = "q"}, i);
    ASSERT_TRUE(eventually([&] { return log.count("workflow=stranger") > 0; }));
    // A second name brings a second look, and that one names only what is new.
    app.start_workflow({.workflow_name = "newcomer", .queue_name = "q"}, 1);
    ASSERT_TRUE(eventually([&] { return log.count("workflow=newcomer") > 0; }));
    EXPECT_EQ(log.count("workflow=stranger"), 1) << log.text();
    EXPECT_EQ(log.count("workflow=newcomer"), 1);
    EXPECT_EQ(app.start_workflow(Job, {.queue_name = "q"}, 7).get_result({.timeout = 20s}), 7);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status = 'ENQUEUED'"), "4");
}

TEST_P(QueueRunner, a_latest_version_without_an_executor_is_told_once_a_minute) {
    {
        dbos::AppOptions newer = app_options();
        newer.application_version = "v2";
        dbos::App app(newer);
        app.launch();
    }
    dbos::AppOptions options = app_options();
    options.application_version = "v1";
    dbos::App app(options);
    app.implement(Job, [](dbos::Context&, int n) { return n; });
    app.register_queue({.name = "q"});
    app.launch();
    // v1 was never registered, so it is the latest now; then somebody goes on with v2 and leaves.
    execute("UPDATE @application_versions SET version_timestamp = 9999999999999 WHERE version_name = 'v2'");
    ASSERT_TRUE(eventually([&] { return log.count("has no living executor") > 0; }));
    enqueue_quietly("unversioned", now(), "NULL");
    // Some ticks later: still one line, and the row waits for the latest version.
    const auto deadline_rows = [&](int i) {
        app.start_workflow(Job, {.queue_name = "q", .delay = 10ms}, i).get_result({.timeout = 20s});
    };
    for (int i = 0; i < 3; ++i) deadline_rows(i);
    EXPECT_EQ(log.count("has no living executor"), 1);
    EXPECT_EQ(log.count("latest=v2"), 1);
    EXPECT_EQ(scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = 'unversioned'"), "ENQUEUED");
    // With an executor of it the warning would be wrong, and the row is run.
    dbos::AppOptions newer = app_options();
    newer.application_version = "v2";
    dbos::App second(newer);
    second.implement(Job, [](dbos::Context&, int n) { return n; });
    second.register_queue({.name = "q"});
    second.launch();
    EXPECT_TRUE(eventually([&] {
        return scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = 'unversioned'") == "SUCCESS";
    }));
}

TEST_P(QueueRunner, delays_are_counted_by_the_durable_clock) {
    {
        dbos::App creator(app_options());
        creator.launch();
    }
    dbos::sysdb::DatabaseOptions options;
    options.open = this->options();
    auto system = std::make_shared<dbos::sysdb::SystemDatabase>(options);
    system->open();
    dbos::client::CoreOptions core_options;
    core_options.serializer = dbos::serializers::portable_json();
    auto core = std::make_shared<dbos::client::Core>(system, core_options);
    // A database whose clock is an hour ahead of this host's (that of a file is the host's own).
    const auto boot = dbos::seam::boot_now();
    const auto measured = system->clock().now_ms();
    system->clock().observe(measured + 3'600'000, boot, boot);
    dbos::EnqueueOptions enqueue;
    enqueue.workflow_name = "job";
    enqueue.queue_name = "q";
    enqueue.workflow_id = "w";
    enqueue.delay = 10s;
    core->enqueue({}, std::move(enqueue), {});
    const auto until = std::stoll(scalar("SELECT delay_until_epoch_ms FROM @workflow_status"));
    const auto ahead = postgres() ? 3'600'000 : 0;
    EXPECT_GE(until, measured + ahead + 10'000);
    EXPECT_LT(until, measured + ahead + 100'000);
    core->close();
}

TEST_P(QueueRunner, a_deadline_is_counted_by_the_database_from_the_start) {
    dbos::App app(app_options());
    Gate gate;
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        ctx.sleep(1h);
        return n;
    });
    app.register_queue({.name = "q"});
    app.launch();
    const auto before = std::stoll(scalar("SELECT " + now()));
    auto direct = app.start_workflow(Job, {.workflow_id = "direct", .workflow_timeout = 500ms}, 1);
    auto queued =
        app.start_workflow(Job, {.queue_name = "q", .workflow_id = "queued", .workflow_timeout = 500ms}, 1);
    EXPECT_THROW(direct.get_result({.timeout = 20s}), dbos::AwaitedWorkflowCancelled);
    EXPECT_THROW(queued.get_result({.timeout = 20s}), dbos::AwaitedWorkflowCancelled);
    for (const char* id : {"direct", "queued"}) {
        const std::string where = std::string(" FROM @workflow_status WHERE workflow_uuid = '") + id + "'";
        const auto deadline = std::stoll(scalar("SELECT workflow_deadline_epoch_ms" + where));
        EXPECT_GE(deadline, before + 500 - 1);
        // Cancelled at the deadline or after it, by the same clock.
        EXPECT_GE(std::stoll(scalar("SELECT completed_at" + where)), deadline);
        EXPECT_EQ(scalar("SELECT status" + where), "CANCELLED");
    }
}

}  // namespace
