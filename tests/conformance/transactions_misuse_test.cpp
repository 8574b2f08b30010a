// Transactional steps: what callables must not do, what cannot be stored, and who may not write.
#include <gmock/gmock.h>

#include <atomic>

#include "support/datasource.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::SqlError;
using dbos::test::Statements;
using dbos::test::Where;
using testing::HasSubstr;

namespace {

class TransactionMisuse : public dbos::test::TransactionTest {
   public:
    /// The text of the InvalidTransaction that `callable` ends with, on the first run and from the record.
    template <class F>
    std::string invalid(Where where, F callable) {
        dbos::App app(app_options());
        auto db = datasource(app, where);
        std::string first;
        inline_job(app, [&](dbos::Context& ctx) {
            try {
                db.transaction(ctx, "bad", callable);
            } catch (const dbos::InvalidTransaction& error) {
                first = error.detail();
                return 1;
            }
            return 0;
        });
        app.launch();
        auto handle = app.start_workflow<int>({.workflow_name = "job"});
        EXPECT_EQ(handle.get_result({.timeout = 20s}), 1);
        const auto steps = app.client().list_workflow_steps(handle.workflow_id());
        EXPECT_EQ(steps.size(), 1u);
        EXPECT_THAT(scalar("SELECT error FROM @operation_outputs WHERE workflow_uuid = '" +
                           handle.workflow_id() + "'"),
                    HasSubstr("InvalidTransaction"));
        return first;
    }
};
DBOS_FOR_EVERY_DATABASE(TransactionMisuse);

int insert(const Statements& db, const std::string& id) {
    db("INSERT INTO @entries VALUES ('" + id + "', 1)");
    return 1;
}

TEST_P(TransactionMisuse, who_ends_the_transaction_is_told) {
    for (const Where where : {Where::own, Where::system}) {
        EXPECT_THAT(invalid(where,
                            [](const Statements& sql) {
                                insert(sql, "a");
                                sql("ROLLBACK");
                            }),
                    HasSubstr("has ended its transaction"));
        EXPECT_THAT(invalid(where,
                            [](const Statements& sql) {
                                insert(sql, "b");
                                sql("COMMIT");
                            }),
                    HasSubstr("has ended its transaction"));
        EXPECT_THAT(invalid(where,
                            [](const Statements& sql) {
                                sql("ROLLBACK");
                                sql("BEGIN");
                                insert(sql, "c");
                            }),
                    HasSubstr("has ended its transaction"));
        // PostgreSQL lets it commit; SQLite does not.
        EXPECT_EQ(entries(where), postgres() ? "1" : "0");
        user(where)->query("DELETE FROM @entries", {}, dbos::sql::Access::write);
    }
}

TEST_P(TransactionMisuse, savepoints_are_fine) {
    dbos::App app(app_options());
    auto db = own();
    inline_job(app, [&](dbos::Context& ctx) {
        return db.transaction(ctx, "savepoints", [&](const Statements& sql) {
            insert(sql, "kept");
            sql("SAVEPOINT s");
            EXPECT_THROW(insert(sql, "kept"), SqlError);
            sql("ROLLBACK TO SAVEPOINT s");
            sql("RELEASE SAVEPOINT s");
            return insert(sql, "also");
        });
    });
    app.launch();
    EXPECT_EQ(run(app), 1);
    EXPECT_EQ(entries(Where::own), "2");
}

TEST_P(TransactionMisuse, a_failed_statement_cannot_be_hidden) {
    if (!postgres()) GTEST_SKIP() << "SQLite undoes the statement alone";
    for (const Where where : {Where::own, Where::system}) {
        EXPECT_THAT(invalid(where,
                            [](const Statements& sql) {
                                insert(sql, "x");
                                try {
                                    insert(sql, "x");
                                } catch (const SqlError&) {
                                }
                            }),
                    HasSubstr("23505"));
        EXPECT_EQ(entries(where), "0");
    }
}

TEST_P(TransactionMisuse, a_command_in_progress_is_told) {
    if (!postgres()) GTEST_SKIP() << "PostgreSQL alone";
    EXPECT_THAT(invalid(Where::own,
                        [](const Statements& sql) {
                            insert(sql, "x");
                            PQsendQuery(sql.postgres(), "SELECT 1");
                        }),
                HasSubstr("in progress"));
    EXPECT_EQ(entries(Where::own), "0");
}

TEST_P(TransactionMisuse, calls_that_the_transaction_would_not_cover_are_refused) {
    dbos::App app(app_options());
    auto db = own();
    std::atomic<int> refused{0}, calls{0};
    const auto refuses = [&](const char* cure, const std::function<void()>& call) {
        ++calls;
        try {
            call();
            ADD_FAILURE() << "not refused: " << cure;
        } catch (const dbos::UsageError& error) {
            EXPECT_THAT(error.what(), HasSubstr(cure));
            ++refused;
        }
    };
    inline_job(app, [&](dbos::Context& ctx) {
        refuses("use ctx.transaction", [&] { db.run([](const Statements&) {}); });
        db.transaction(ctx, "calls", [&](const Statements& sql) {
            insert(sql, "x");
            refuses("before or after the transaction", [&] { ctx.step("inner", [] {}); });
            refuses("before or after the transaction", [&] { ctx.send("x", 1); });
            refuses("before or after the transaction", [&] { ctx.set_event("x", 1); });
            refuses("before or after the transaction", [&] { ctx.get_all_events("x"); });
            refuses("before or after the transaction", [&] { ctx.sleep(1s); });
            refuses("before or after the transaction", [&] { auto p = ctx.async_step("inner", [] {}); });
            refuses("before or after the transaction",
                    [&] { db.transaction(ctx, "inner", [](const Statements&) {}); });
            refuses("before or after the transaction", [&] { db.run([](const Statements&) {}); });
            refuses("before or after the transaction", [&] { app.start_workflow({.workflow_name = "job"}); });
            refuses("before or after the transaction", [&] { app.client().cancel_workflow("x"); });
        });
        ctx.step("step", [&] {
            refuses("inside a step", [&] { db.transaction(ctx, "inner", [](const Statements&) {}); });
            EXPECT_EQ(db.run([](const Statements& sql) { return insert(sql, "from a step"); }), 1);
        });
        return 1;
    });
    app.launch();
    auto handle = app.start_workflow<int>({.workflow_name = "job"});
    EXPECT_EQ(handle.get_result({.timeout = 20s}), 1);
    EXPECT_EQ(refused, calls);
    EXPECT_EQ(calls, 12);
    EXPECT_EQ(app.client().list_workflow_steps(handle.workflow_id()).size(), 2u);
    EXPECT_EQ(entries(Where::own), "2");
}

TEST_P(TransactionMisuse, a_result_that_cannot_be_stored_undoes_the_writes) {
    for (const Where where : {Where::own, Where::system}) {
        std::atomic<int> calls{0};
        dbos::App app(app_options());
        auto db = datasource(app, where);
        inline_job(app, [&](dbos::Context& ctx) {
            try {
                db.transaction(ctx, "bad", [&](const Statements& sql) {
                    ++calls;
                    insert(sql, "x");
                    return std::string("\xff is no UTF-8");
                });
            } catch (const dbos::EncodeError&) {
                return 1;
            }
            return 0;
        });
        app.launch();
        EXPECT_EQ(run(app), 1);
        EXPECT_EQ(calls, 1);
        EXPECT_EQ(entries(where), "0");
        EXPECT_EQ(
            scalar("SELECT count(*) FROM @operation_outputs WHERE error IS NOT NULL AND output IS NULL"),
            where == Where::own ? "1" : "2");
    }
}

TEST_P(TransactionMisuse, a_role_that_may_only_write_rows_uses_the_table_that_is_there) {
    if (!postgres()) GTEST_SKIP() << "PostgreSQL alone";
    const std::string role = "dbos_tx_" + std::to_string(getpid());
    const std::string schema = options().schema;
    execute("CREATE ROLE " + role + " LOGIN");
    const std::shared_ptr<void> dropped(nullptr, [&](void*) {
        execute("DROP OWNED BY " + role);
        execute("DROP ROLE " + role);
    });
    execute("GRANT USAGE ON SCHEMA \"" + schema + "\" TO " + role);
    execute("GRANT SELECT, INSERT, UPDATE, DELETE ON @entries TO " + role);
    std::string url = database().url();
    url.replace(url.find("postgres@"), 8, role);
    dbos::App app(app_options());
    const dbos::PostgresDatasource db(url, {.schema = schema});
    std::atomic<int> calls{0};
    inline_job(app, [&](dbos::Context& ctx) {
        return ctx.transaction(db, "insert", [&](PGconn* connection) {
            ++calls;
            return insert(Statements(connection, schema), "x");
        });
    });
    app.launch();
    try {
        run(app);
        ADD_FAILURE() << "it could create the table";
    } catch (const dbos::WorkflowFailed& error) {
        EXPECT_THAT(error.message(), HasSubstr("let its owner execute: CREATE SCHEMA"));
    }
    EXPECT_EQ(calls, 0);
    runtime_table()->ensure_table(*user(Where::own));
    execute("GRANT SELECT, INSERT, DELETE ON @datasource_outputs TO " + role);
    EXPECT_EQ(run(app), 1);
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(witnesses(), "0");
}

TEST_P(TransactionMisuse, the_writer_lock_of_the_system_file_is_watched) {
    if (postgres()) GTEST_SKIP() << "SQLite alone";
    dbos::App app(app_options());
    auto db = datasource(app, Where::system);
    inline_job(app, [&](dbos::Context& ctx) {
        db.transaction(ctx, "slow", [&](const Statements&) {
            EXPECT_TRUE(eventually([&] { return log.count("holds the writer lock") == 1; }));
        });
        db.transaction(ctx, "quick", [&](const Statements& sql) { insert(sql, "x"); });
        return 1;
    });
    app.launch();
    EXPECT_EQ(run(app), 1);
    EXPECT_EQ(log.count("holds the writer lock"), 1);
    EXPECT_EQ(scalar("SELECT recovery_attempts FROM @workflow_status WHERE name = 'job'"), "1");
}

TEST_P(TransactionMisuse, kinds_that_do_not_fit_are_refused) {
    dbos::App app(app_options());
    if (postgres()) {
        EXPECT_THROW(app.system_datasource<dbos::SqliteDatasource>(), dbos::UsageError);
    } else {
        EXPECT_THROW(app.system_datasource<dbos::PostgresDatasource>(), dbos::UsageError);
    }
    EXPECT_THROW(dbos::PostgresDatasource("sqlite:///x"), dbos::ConfigError);
    EXPECT_THROW(dbos::SqliteDatasource("postgresql://localhost/x"), dbos::ConfigError);
    EXPECT_THROW(dbos::SqliteDatasource(""), dbos::ConfigError);
    EXPECT_THROW(dbos::SqliteDatasource("x", {.pool_size = 0}), dbos::UsageError);
    EXPECT_THROW(dbos::SqliteDatasource("x", {.schema = ""}), dbos::UsageError);
    auto none = [] { return static_cast<sqlite3*>(nullptr); };
    const auto source = dbos::sqlite_connections(none, [](sqlite3*, bool) {});
    EXPECT_THROW(dbos::PostgresDatasource{source}, dbos::ConfigError);
    EXPECT_THROW(dbos::SqliteDatasource{source}, dbos::DatabaseError);

    dbos::App other(app_options("other"));
    auto foreign = datasource(other, Where::system);
    inline_job(app, [&](dbos::Context& ctx) {
        EXPECT_THROW(foreign.transaction(ctx, "foreign", [](const Statements&) {}), dbos::UsageError);
        return 1;
    });
    app.launch();
    EXPECT_EQ(run(app), 1);
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs"), "0");
}

TEST_P(TransactionMisuse, connections_of_the_programs_own_pool_serve) {
    std::atomic<int> lent{0}, returned{0};
    dbos::App app(app_options());
    const auto implement = [&](auto db, auto statements) {
        inline_job(app, [&, db, statements](dbos::Context& ctx) {
            return ctx.transaction(db, "insert", [&](auto* c) { return insert(statements(c), "x"); });
        });
        app.launch();
        EXPECT_EQ(run(app), 1);
    };
    if (postgres()) {
        const auto source = dbos::postgres_connections(
            [&] {
                ++lent;
                return PQconnectdb(database().url().c_str());
            },
            [&](PGconn* c, bool good) {
                EXPECT_TRUE(good);
                ++returned;
                PQfinish(c);
            });
        implement(dbos::PostgresDatasource(source, {.schema = options().schema}),
                  [&](PGconn* c) { return Statements(c, options().schema); });
    } else {
        const auto source = dbos::sqlite_connections(
            [&] {
                ++lent;
                sqlite3* handle = nullptr;
                sqlite3_open(user_options(Where::own).url.path.c_str(), &handle);
                return handle;
            },
            [&](sqlite3* handle, bool good) {
                EXPECT_TRUE(good);
                ++returned;
                sqlite3_close(handle);
            });
        implement(dbos::SqliteDatasource(source), [](sqlite3* c) { return Statements(c); });
    }
    EXPECT_EQ(entries(Where::own), "1");
    EXPECT_GT(lent, 0);
}

}  // namespace
