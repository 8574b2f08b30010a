// Transactional steps: the program's writes and the step's record are both there, once, or neither (runtime protocol 3.6, 12.7).
#include <atomic>

#include "support/datasource.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;
using dbos::test::SqlError;
using dbos::test::Statements;
using dbos::test::Where;

namespace {

inline constexpr auto Job = dbos::workflow<int(int)>("job");

class Transactions : public dbos::test::TransactionTest {
   public:
    std::string record(const std::string& column, int step = 1) {
        return scalar(
            "SELECT " + column +
            " FROM @operation_outputs WHERE workflow_uuid = 'w' AND function_id = " + std::to_string(step));
    }
    /// As if the process had died with the workflow before `between`: what it does after that is not recorded.
    void die(dbos::App& app, const std::string& id, Gate& between) {
        execute("UPDATE @workflow_status SET owner_xid = 'nobody' WHERE workflow_uuid = '" + id + "'");
        const int before = log.count("cancelled or taken over");
        between.open();
        ASSERT_TRUE(eventually([&] { return log.count("cancelled or taken over") > before; }));
        app.shutdown(0s, 20s);
    }
};
DBOS_FOR_EVERY_DATABASE(Transactions);

int insert(const Statements& db, const std::string& id, int n) {
    db("INSERT INTO @entries VALUES ('" + id + "', " + std::to_string(n) + ")");
    return n;
}

TEST_P(Transactions, writes_and_record_are_one_and_the_result_is_replayed) {
    for (const Where where : {Where::own, Where::system}) {
        const std::string id = where == Where::own ? "w" : "s";
        std::atomic<int> calls{0};
        dbos::App app(app_options());
        auto db = datasource(app, where);
        Gate between;
        app.implement(Job, [&](dbos::Context& ctx, int n) {
            const int a = db.transaction(ctx, "first", [&](const Statements& sql) {
                ++calls;
                return insert(sql, id + "-1", n);
            });
            between.pass();
            db.transaction(ctx, "second", [&](const Statements& sql) { insert(sql, id + "-2", a); });
            return a + 1;
        });
        app.launch();
        auto handle = app.start_workflow(Job, {.workflow_id = id}, 7);
        ASSERT_TRUE(between.wait_for_arrivals(1));
        const std::string token =
            scalar("SELECT creator_xid FROM @workflow_status WHERE workflow_uuid = '" + id + "'");
        if (where == Where::own) {
            EXPECT_EQ(
                user_value(where,
                           "SELECT workflow_id || '|' || step_id || '|' || output || '|' || serialization "
                           "FROM @datasource_outputs WHERE error IS NULL"),
                id + "#" + token + "|1|7|portable_json");
        } else if (!postgres()) {
            EXPECT_EQ(
                user_value(where, "SELECT count(*) FROM sqlite_master WHERE name = 'datasource_outputs'"),
                "0");
        }
        between.open();
        EXPECT_EQ(handle.get_result({.timeout = 20s}), 8);
        EXPECT_EQ(app.start_workflow(Job, {.workflow_id = id}, 9).get_result(), 8);
        EXPECT_EQ(calls, 1);
        EXPECT_EQ(user_value(where, "SELECT sum(n) FROM @entries WHERE id LIKE '" + id + "-%'"), "14");
        const auto steps = app.client().list_workflow_steps(id);
        ASSERT_EQ(steps.size(), 2u);
        EXPECT_EQ(steps[0].function_name, "first");
        EXPECT_EQ(steps[0].output, dbos::Value(7));
        EXPECT_EQ(steps[1].function_name, "second");
        EXPECT_EQ(steps[1].output, dbos::Value());
        EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = '" + id +
                         "' AND serialization = 'portable_json' AND application_name = 'test-app' AND "
                         "completed_at_epoch_ms >= started_at_epoch_ms AND retention_timestamp IS NOT NULL"),
                  "2");
        // They have no use any more.
        if (where == Where::own) {
            EXPECT_EQ(witnesses(), "0");
        }
    }
}

TEST_P(Transactions, an_error_rolls_back_and_is_recorded_once) {
    for (const Where where : {Where::own, Where::system}) {
        const std::string id = where == Where::own ? "w" : "s";
        std::atomic<int> calls{0}, caught{0};
        Gate between;
        const auto body = [&](dbos::App& app) {
            app.implement(Job, [&, db = datasource(app, where)](dbos::Context& ctx, int n) {
                try {
                    db.transaction(ctx, "fails", [&](const Statements& sql) {
                        ++calls;
                        insert(sql, id, n);
                        throw std::out_of_range("too far");
                    });
                } catch (const std::out_of_range& error) {
                    EXPECT_STREQ(error.what(), "too far");
                    ++caught;
                }
                between.pass();
                return ctx.step("after", [] { return 5; });
            });
        };
        auto options = app_options();
        options.executor_id = "executor";
        {
            dbos::App app(options);
            body(app);
            app.launch();
            app.start_workflow(Job, {.workflow_id = id}, 7);
            ASSERT_TRUE(between.wait_for_arrivals(1));
            if (where == Where::own) {
                EXPECT_EQ(witnesses(), "1");
            }
            die(app, id, between);
        }
        EXPECT_EQ(entries(where), "0");
        dbos::App app(options);
        body(app);
        app.launch();
        EXPECT_EQ(app.retrieve_workflow(Job, id).get_result({.timeout = 20s}), 5);
        EXPECT_EQ(calls, 1);
        EXPECT_EQ(caught, 2);
        EXPECT_EQ(entries(where), "0");
    }
}

TEST_P(Transactions, a_commit_whose_checkpoint_was_lost_is_found_and_not_done_again) {
    std::atomic<int> calls{0};
    Gate between;
    auto options = app_options();
    options.executor_id = "executor";
    auto db = own();
    const auto implement = [&](dbos::App& app) {
        app.implement(Job, [&](dbos::Context& ctx, int n) {
            const int value = db.transaction(ctx, "insert", [&](const Statements& sql) {
                ++calls;
                return insert(sql, "x", n);
            });
            between.pass();
            return ctx.step("after", [&] { return value + 1; });
        });
    };
    {
        dbos::App app(options);
        implement(app);
        app.launch();
        app.start_workflow(Job, {.workflow_id = "w"}, 7);
        ASSERT_TRUE(between.wait_for_arrivals(1));
        execute("DELETE FROM @operation_outputs WHERE workflow_uuid = 'w'");
        die(app, "w", between);
    }
    ASSERT_EQ(scalar("SELECT count(*) FROM @operation_outputs"), "0");
    dbos::App app(options);
    implement(app);
    app.launch();
    EXPECT_EQ(app.retrieve_workflow(Job, "w").get_result({.timeout = 20s}), 8);
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(entries(Where::own), "1");
    EXPECT_EQ(record("output"), "7");
    EXPECT_EQ(witnesses(), "0");
}

TEST_P(Transactions, an_earlier_life_of_the_id_answers_for_nothing) {
    std::atomic<int> calls{0};
    auto db = own();
    dbos::App app(app_options());
    Gate first;
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        db.transaction(ctx, "insert", [&](const Statements& sql) {
            return insert(sql, "call " + std::to_string(++calls), n);
        });
        if (n == 1) first.pass();
        return ctx.step("after", [&] { return n; });
    });
    app.launch();
    auto handle = app.start_workflow(Job, {.workflow_id = "order-17"}, 1);
    ASSERT_TRUE(first.wait_for_arrivals(1));
    app.client().cancel_workflow("order-17");
    first.open();
    EXPECT_THROW(handle.get_result({.timeout = 20s}), dbos::AwaitedWorkflowCancelled);
    EXPECT_EQ(witnesses(), "1");
    app.client().delete_workflow("order-17");
    EXPECT_EQ(app.start_workflow(Job, {.workflow_id = "order-17"}, 2).get_result({.timeout = 20s}), 2);
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(entries(Where::own), "2");
}

TEST_P(Transactions, concurrent_counters_lose_nothing) {
    for (const Where where : {Where::own, Where::system}) {
        constexpr int kWorkflows = 12;
        dbos::App app(app_options());
        auto db = datasource(app, where);
        const std::string row = where == Where::own ? "own" : "system";
        user(where)->query("INSERT INTO @entries VALUES ('" + row + "', 0)", {}, dbos::sql::Access::write);
        app.implement(Job, [&](dbos::Context& ctx, int) {
            int n = 0;
            for (int i = 0; i < 3; ++i) {
                n = db.transaction(ctx, "increment", [&](const Statements& sql) {
                    const int next = std::stoi(sql("SELECT n FROM @entries WHERE id = '" + row + "'")) + 1;
                    sql("UPDATE @entries SET n = " + std::to_string(next) + " WHERE id = '" + row + "'");
                    return next;
                });
            }
            return n;
        });
        app.launch();
        std::vector<dbos::WorkflowHandle<int>> handles;
        for (int i = 0; i < kWorkflows; ++i)
            handles.push_back(app.start_workflow(Job, {.workflow_id = row + std::to_string(i)}, 0));
        for (auto& handle : handles) EXPECT_GT(handle.get_result({.timeout = 60s}), 0);
        EXPECT_EQ(user_value(where, "SELECT n FROM @entries WHERE id = '" + row + "'"),
                  std::to_string(kWorkflows * 3));
    }
}

TEST_P(Transactions, outside_of_a_workflow_it_is_one_transaction_and_no_record) {
    auto db = own();
    EXPECT_EQ(db.run([](const Statements& sql) { return insert(sql, "a", 3); }), 3);
    db.run([](const Statements& sql) { insert(sql, "b", 4); });
    EXPECT_THROW(db.run([](const Statements& sql) {
        insert(sql, "c", 5);
        throw std::logic_error("no");
    }),
                 std::logic_error);
    EXPECT_EQ(user_value(Where::own, "SELECT sum(n) FROM @entries"), "7");
    EXPECT_EQ(db.run([](const Statements& sql) { return sql("SELECT count(*) FROM @entries"); },
                     {.read_only = true}),
              "2");
    EXPECT_THROW(db.run([](const Statements& sql) { insert(sql, "d", 6); }, {.read_only = true}), SqlError);
    EXPECT_THROW(user(Where::own)->query("SELECT 1 FROM @datasource_outputs"), dbos::DatabaseError);
    dbos::App app(app_options());
    auto system = datasource(app, Where::system);
    EXPECT_THROW(system.run([](const Statements&) {}), dbos::UsageError);
    app.launch();
    system.run([](const Statements& sql) { insert(sql, "e", 6); });
    EXPECT_EQ(user_value(Where::system, "SELECT n FROM @entries WHERE id = 'e'"), "6");
    app.shutdown();
    EXPECT_THROW(system.run([](const Statements&) {}), dbos::UsageError);
}

TEST_P(Transactions, read_only_ones_record_the_step_alone) {
    for (const Where where : {Where::own, Where::system}) {
        dbos::App app(app_options());
        auto db = datasource(app, where);
        app.implement(Job, [&](dbos::Context& ctx, int) {
            try {
                db.transaction(ctx, "write", [](const Statements& sql) { insert(sql, "x", 1); },
                               {.read_only = true});
                ADD_FAILURE() << "it could write";
            } catch (const dbos::StepFailed&) {
            }
            return db.transaction(
                ctx, "read",
                [](const Statements& sql) { return std::stoi(sql("SELECT count(*) FROM @entries")); },
                {.read_only = true});
        });
        app.launch();
        const std::string id = where == Where::own ? "w" : "s";
        EXPECT_EQ(app.start_workflow(Job, {.workflow_id = id}, 1).get_result({.timeout = 20s}), 0);
        EXPECT_EQ(app.client().list_workflow_steps(id).size(), 2u);
        EXPECT_THROW(user(Where::own)->query("SELECT 1 FROM @datasource_outputs"), dbos::DatabaseError);
        // The connection can write again.
        EXPECT_EQ(db.run([](const Statements& sql) { return insert(sql, "y", 1); }), 1);
        user(where)->query("DELETE FROM @entries", {}, dbos::sql::Access::write);
    }
}

TEST_P(Transactions, a_workflow_is_enqueued_in_the_transaction_or_not_at_all) {
    dbos::App app(app_options());
    auto db = datasource(app, Where::system);
    app.register_queue({.name = "q"});
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        if (n > 0) return n;
        const auto enqueue = [&](const Statements& sql, const std::string& id) {
            app.client().enqueue_in_transaction(sql.caller(), Job, {.queue_name = "q", .workflow_id = id},
                                                41);
        };
        try {
            db.transaction(ctx, "no", [&](const Statements& sql) {
                enqueue(sql, "never");
                throw std::runtime_error("undone");
            });
        } catch (const std::runtime_error&) {
        }
        db.transaction(ctx, "yes", [&](const Statements& sql) {
            insert(sql, "x", 1);
            enqueue(sql, "child");
        });
        return 1;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Job, {}, 0).get_result({.timeout = 20s}), 1);
    EXPECT_EQ(app.retrieve_workflow(Job, "child").get_result({.timeout = 20s}), 41);
    EXPECT_THROW(app.retrieve_workflow(Job, "never"), dbos::NonexistentWorkflow);
}

TEST_P(Transactions, a_rewind_removes_what_would_answer_for_the_steps_that_run_again) {
    auto db = own();
    std::atomic<int> calls{0};
    dbos::App app(app_options());
    app.register_datasource(db.base());
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        int sum = 0;
        for (int i = 0; i < n; ++i)
            sum += db.transaction(ctx, "insert", [&](const Statements& sql) {
                return insert(sql, "call " + std::to_string(++calls), 1);
            });
        return sum;
    });
    app.launch();
    EXPECT_EQ(witnesses(), "0");  // the table is there
    EXPECT_EQ(app.start_workflow(Job, {.workflow_id = "w"}, 2).get_result({.timeout = 20s}), 2);
    // As if they could not be removed at the end.
    const std::string key =
        "w#" + scalar("SELECT creator_xid FROM @workflow_status WHERE workflow_uuid = 'w'");
    for (const int step : {1, 2})
        user(Where::own)
            ->query(
                "INSERT INTO @datasource_outputs (workflow_id, step_id, output, serialization) VALUES ('" +
                    key + "', " + std::to_string(step) + ", '100', 'portable_json')",
                {}, dbos::sql::Access::write);
    app.client().rewind_workflow("w", 2);
    EXPECT_EQ(app.retrieve_workflow(Job, "w").get_result({.timeout = 20s}), 2);
    EXPECT_EQ(calls, 3);
}

}  // namespace
