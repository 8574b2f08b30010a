// Transactional steps when commits are not acknowledged, connections are lost, and others run the same workflow (safety 36, 38).
#include <atomic>

#include "support/datasource.hpp"

using namespace std::chrono_literals;
using dbos::test::AnyDatasource;
using dbos::test::eventually;
using dbos::test::Fault;
using dbos::test::Faults;
using dbos::test::SqlError;
using dbos::test::Statements;
using dbos::test::Where;

namespace {

class TransactionFaults : public dbos::test::TransactionTest {
   public:
    std::string record(const std::string& column) {
        return scalar("SELECT " + column +
                      " FROM @operation_outputs WHERE workflow_uuid = 'w' AND function_id = 1");
    }
};
DBOS_FOR_EVERY_DATABASE(TransactionFaults);

int insert(const Statements& db, const std::string& id) {
    db("INSERT INTO @entries VALUES ('" + id + "', 1)");
    return 1;
}

TEST_P(TransactionFaults, a_lost_acknowledgement_is_ones_own_commit) {
    for (const Where where : {Where::own, Where::system}) {
        for (const Fault fault : {Fault::lose_ack, Fault::drop}) {
            const auto faults = std::make_shared<Faults>();
            std::optional<AnyDatasource> db;
            std::atomic<int> calls{0};
            auto job = engine([&](dbos::Context& ctx) {
                return db->transaction(ctx, "insert", [&](const Statements& sql) {
                    insert(sql, "x");
                    return ++calls;
                });
            });
            db = faulty(*job, where, faults);
            faults->next({fault});
            const std::string id =
                "w" + std::to_string(static_cast<int>(where)) + std::to_string(static_cast<int>(fault));
            const int expected = fault == Fault::drop ? 2 : 1;  // dropped: it was not executed
            EXPECT_EQ(start(*job, id).get_result({.timeout = 20s}), expected);
            EXPECT_EQ(calls, expected);
            EXPECT_EQ(entries(where), "1");
            EXPECT_EQ(scalar("SELECT output FROM @operation_outputs WHERE workflow_uuid = '" + id + "'"),
                      std::to_string(expected));
            user(where)->query("DELETE FROM @entries", {}, dbos::sql::Access::write);
        }
    }
}

/// Reports its first commit as lost, and executes it when the test says so.
class LateConnection final : public dbos::sql::Connection {
   public:
    struct Late {
        std::unique_ptr<dbos::sql::Connection> connection;
        bool armed = true;
    };
    LateConnection(std::unique_ptr<dbos::sql::Connection> inner, std::shared_ptr<Late> late)
        : inner_(std::move(inner)), late_(std::move(late)) {}
    dbos::sql::Backend backend() const noexcept override { return dbos::sql::Backend::postgres; }
    dbos::sql::Result execute(const dbos::sql::Statement& statement,
                              const dbos::sql::Params& params) override {
        return inner_->execute(statement, params);
    }
    dbos::sql::Result query(const std::string& text, const dbos::sql::Params& params,
                            dbos::sql::Access access) override {
        return inner_->query(text, params, access);
    }
    void script(const std::string& text) override { inner_->script(text); }
    std::vector<dbos::sql::Result> pipeline(std::span<const dbos::sql::Call> calls,
                                            const Meanwhile& m) override {
        return inner_->pipeline(calls, m);
    }
    void begin(dbos::sql::Isolation isolation) override { inner_->begin(isolation); }
    void commit() override {
        if (!std::exchange(late_->armed, false)) return inner_->commit();
        late_->connection = std::move(inner_);
        throw dbos::DatabaseError(dbos::DatabaseErrorKind::connection, "lost by the test", {}, {}, true);
    }
    void rollback() noexcept override {
        if (inner_) inner_->rollback();
    }
    bool in_transaction() const noexcept override { return inner_ && inner_->in_transaction(); }
    bool usable() const noexcept override { return inner_ && inner_->usable(); }
    void interrupt() noexcept override {
        if (inner_) inner_->interrupt();
    }
    dbos::sql::Lent lend(bool read_only) override { return inner_->lend(read_only); }
    dbos::sql::Returned take_back() noexcept override { return inner_->take_back(); }

   private:
    std::unique_ptr<dbos::sql::Connection> inner_;
    std::shared_ptr<Late> late_;
};

TEST_P(TransactionFaults, an_error_after_ones_own_late_commit_is_not_what_happened) {
    if (!postgres()) GTEST_SKIP() << "a commit on SQLite is not under way when the next transaction begins";
    for (const Where where : {Where::own, Where::system}) {
        const auto late = std::make_shared<LateConnection::Late>();
        std::optional<AnyDatasource> db;
        std::atomic<int> calls{0};
        auto job = engine([&](dbos::Context& ctx) {
            return db->transaction(ctx, "order",
                                   [&](const Statements& sql) {
                                       ++calls;
                                       if (late->connection) late->connection->commit();
                                       return insert(
                                           sql, "order-17");  // the second time: its own unique violation
                                   },
                                   {.isolation_level = dbos::IsolationLevel::read_committed});
        });
        auto open = user_options(where);
        open.decorate =
            [late](std::unique_ptr<dbos::sql::Connection> inner) -> std::unique_ptr<dbos::sql::Connection> {
            return std::make_unique<LateConnection>(std::move(inner), late);
        };
        db = faulty(*job, where, open);
        const std::string id = where == Where::own ? "w" : "s";
        EXPECT_EQ(start(*job, id).get_result({.timeout = 20s}), 1);
        EXPECT_EQ(calls, 2);
        EXPECT_EQ(entries(where), "1");
        EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs WHERE output = '1' AND error IS NULL AND "
                         "workflow_uuid = '" +
                         id + "'"),
                  "1");
        late->connection.reset();
        user(where)->query("DELETE FROM @entries", {}, dbos::sql::Access::write);
    }
}

TEST_P(TransactionFaults, a_run_that_was_taken_over_commits_nothing) {
    for (const Where where : {Where::own, Where::system}) {
        const std::string id = where == Where::own ? "w" : "s";
        std::optional<AnyDatasource> db;
        auto job = engine([&](dbos::Context& ctx) {
            return db->transaction(ctx, "insert", [&](const Statements& sql) {
                const std::string take =
                    "UPDATE @workflow_status SET owner_xid = 'peer' WHERE workflow_uuid = '" + id + "'";
                // The file of SQLite cannot be written by others meanwhile.
                if (!postgres() && where == Where::system) {
                    sql(take);
                } else {
                    execute(take);
                }
                return insert(sql, "x");
            });
        });
        db = faulty(*job, where, std::make_shared<Faults>());
        start(*job, id);
        ASSERT_TRUE(eventually(
            [&] { return log.count("cancelled or taken over") == (where == Where::own ? 1 : 2); }));
        EXPECT_EQ(entries(where), "0");
        EXPECT_EQ(witnesses(), "0");
        EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs"), "0");
    }
}

TEST_P(TransactionFaults, what_a_duplicate_has_committed_is_what_happened) {
    if (!postgres()) GTEST_SKIP() << "two transactions on SQLite do not overlap";
    auto db = own();
    std::atomic<int> calls{0};
    auto job = engine([&](dbos::Context& ctx) {
        return db.transaction(ctx, "insert", [&](const Statements& sql) {
            ++calls;
            const std::string token =
                scalar("SELECT creator_xid FROM @workflow_status WHERE workflow_uuid = 'w'");
            user(Where::own)
                ->query("INSERT INTO @entries VALUES ('theirs', 1)", {}, dbos::sql::Access::write);
            user(Where::own)
                ->query(
                    "INSERT INTO @datasource_outputs (workflow_id, step_id, output, serialization) VALUES "
                    "('w#" +
                        token + "', 1, '100', 'portable_json') ON CONFLICT DO NOTHING",
                    {}, dbos::sql::Access::write);
            return insert(sql, "ours");
        });
    });
    EXPECT_EQ(start(*job, "w").get_result({.timeout = 20s}), 100);
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(user_value(Where::own, "SELECT count(*) FROM @entries WHERE id = 'ours'"), "0");
    EXPECT_EQ(record("output"), "100");
}

TEST_P(TransactionFaults, what_lost_against_another_is_run_again) {
    for (const Where where : {Where::own, Where::system}) {
        for (const bool swallow : {false, true}) {
            if (!postgres() && swallow) continue;
            std::atomic<int> calls{0};
            dbos::App app(app_options());
            auto db = datasource(app, where);
            inline_job(app, [&](dbos::Context& ctx) {
                return db.transaction(ctx, "contended", [&](const Statements& sql) {
                    insert(sql, "x");
                    if (++calls > 2) return calls.load();
                    try {
                        lose(sql);
                    } catch (const SqlError&) {
                        if (!swallow) throw;
                    }
                    return 0;
                });
            });
            app.launch();
            EXPECT_EQ(run(app), 3);
            EXPECT_EQ(entries(where), "1");
            user(where)->query("DELETE FROM @entries", {}, dbos::sql::Access::write);
        }
    }
}

TEST_P(TransactionFaults, other_errors_of_the_database_are_the_steps_error) {
    std::atomic<int> calls{0};
    dbos::App app(app_options());
    auto db = own();
    inline_job(app, [&](dbos::Context& ctx) {
        try {
            db.transaction(ctx, "twice", [&](const Statements& sql) {
                ++calls;
                insert(sql, "x");
                insert(sql, "x");
            });
        } catch (const dbos::StepFailed& error) {
            EXPECT_NE(error.message().find("entries"), std::string::npos) << error.message();
            return 1;
        }
        return 0;
    });
    app.launch();
    EXPECT_EQ(run(app), 1);
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(entries(Where::own), "0");
}

TEST_P(TransactionFaults, a_constraint_that_is_checked_at_commit_is_the_steps_error) {
    for (const Where where : {Where::own, Where::system}) {
        user(where)->query("CREATE TABLE IF NOT EXISTS @parents (id TEXT PRIMARY KEY)", {},
                           dbos::sql::Access::write);
        user(where)->query(
            "CREATE TABLE IF NOT EXISTS @children (id TEXT REFERENCES @parents (id) DEFERRABLE INITIALLY "
            "DEFERRED)",
            {}, dbos::sql::Access::write);
        std::atomic<int> calls{0};
        dbos::App app(app_options());
        auto db = datasource(app, where);
        inline_job(app, [&](dbos::Context& ctx) {
            try {
                db.transaction(ctx, "orphan", [&](const Statements& sql) {
                    ++calls;
                    sql("INSERT INTO @children VALUES ('nobody')");
                });
            } catch (const dbos::DatabaseError& error) {
                EXPECT_EQ(error.kind(), dbos::DatabaseErrorKind::foreign_key) << error.what();
                return 1;
            }
            return 0;
        });
        app.launch();
        EXPECT_EQ(run(app), 1);
        EXPECT_EQ(calls, 1);
        EXPECT_EQ(user_value(where, "SELECT count(*) FROM @children"), "0");
    }
}

TEST_P(TransactionFaults, a_lost_connection_is_replaced_and_the_transaction_run_again) {
    if (!postgres()) GTEST_SKIP() << "SQLite has no connections to lose";
    for (const Where where : {Where::own, Where::system}) {
        std::atomic<int> calls{0};
        dbos::App app(app_options());
        auto db = datasource(app, where);
        inline_job(app, [&](dbos::Context& ctx) {
            return db.transaction(ctx, "insert", [&](const Statements& sql) {
                insert(sql, "x");
                if (++calls == 1) {
                    execute("SELECT pg_terminate_backend(" + sql("SELECT pg_backend_pid()") + ")");
                    sql("SELECT 1");
                }
                return calls.load();
            });
        });
        app.launch();
        EXPECT_EQ(run(app), 2);
        EXPECT_EQ(entries(where), "1");
        user(where)->query("DELETE FROM @entries", {}, dbos::sql::Access::write);
    }
}

TEST_P(TransactionFaults, a_datasource_that_is_away_is_waited_for_until_the_workflow_is_cancelled) {
    const dbos::PostgresDatasource db("postgresql://postgres@127.0.0.1:1/nowhere");
    dbos::App app(app_options());
    inline_job(app, [&](dbos::Context& ctx) {
        ctx.transaction(db, "never", [](PGconn*) { ADD_FAILURE() << "it was called"; });
        return 0;
    });
    app.launch();
    auto handle = app.start_workflow<int>({.workflow_name = "job", .workflow_id = "w"});
    ASSERT_TRUE(eventually([&] { return log.count("is tried again") > 2; }));
    app.client().cancel_workflow("w");
    EXPECT_THROW(handle.get_result({.timeout = 20s}), dbos::AwaitedWorkflowCancelled);
    ASSERT_TRUE(eventually([&] { return log.count("cancelled or taken over") == 1; }));
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs"), "0");
}

}  // namespace
