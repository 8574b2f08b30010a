// Transactional steps through libpqxx and SQLiteCpp, where they are installed.
#include <atomic>

#include "support/datasource.hpp"

#if __has_include(<pqxx/pqxx>) && __has_include(<SQLiteCpp/SQLiteCpp.h>)
#include "dbos/ext/libpqxx.hpp"
#include "dbos/ext/sqlitecpp.hpp"

using namespace std::chrono_literals;
using dbos::test::Where;

namespace {

class TransactionsExt : public dbos::test::TransactionTest {};
DBOS_FOR_EVERY_DATABASE(TransactionsExt);

TEST_P(TransactionsExt, libpqxx_works_in_the_transaction_of_the_step) {
    if (!postgres()) GTEST_SKIP() << "PostgreSQL alone";
    const std::string table = "\"" + options().schema + "\".entries";
    const auto body = [&](const auto& db) {
        return [&, db](dbos::Context& ctx) {
            try {
                ctx.transaction(db, "fails", [&](pqxx::transaction_base& tx) {
                    tx.exec_params("INSERT INTO " + table + " VALUES ($1, $2)", "undone", 1);
                    throw std::range_error("no");
                });
            } catch (const std::range_error&) {
            }
            int calls = 0;
            return ctx.transaction(db, "insert", [&](pqxx::transaction_base& tx) {
                if (++calls == 1)
                    tx.exec(
                        "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure'; END $$");
                tx.exec_params("INSERT INTO " + table + " VALUES ($1, $2)", "kept", 7);
                const pqxx::result found = tx.exec("SELECT sum(n) FROM " + table);
                return found[0][0].as<int>() + calls;
            });
        };
    };
    for (const Where where : {Where::own, Where::system}) {
        dbos::App app(app_options());
        const auto db = where == Where::own
                            ? dbos::PqxxDatasource(database().url(), {.schema = options().schema})
                            : app.system_datasource<dbos::PqxxDatasource>();
        inline_job(app, body(db));
        app.launch();
        EXPECT_EQ(run(app), 9);
        EXPECT_EQ(entries(where), "1");
        EXPECT_EQ(db.run([&](pqxx::transaction_base& tx) {
            return tx.exec("DELETE FROM " + table).affected_rows();
        }),
                  1u);
    }
}

TEST_P(TransactionsExt, a_commit_through_libpqxx_is_told) {
    if (!postgres()) GTEST_SKIP() << "PostgreSQL alone";
    dbos::App app(app_options());
    const dbos::PqxxDatasource db(database().url(), {.schema = options().schema});
    inline_job(app, [&](dbos::Context& ctx) {
        try {
            ctx.transaction(db, "commits", [&](pqxx::transaction_base& tx) { tx.exec("COMMIT"); });
        } catch (const dbos::InvalidTransaction&) {
            return 1;
        }
        return 0;
    });
    app.launch();
    EXPECT_EQ(run(app), 1);
}

TEST_P(TransactionsExt, sqlitecpp_works_in_the_transaction_of_the_step) {
    if (postgres()) GTEST_SKIP() << "SQLite alone";
    const dbos::SqliteCppDatasource db(user_options(Where::own).url.path);
    dbos::App app(app_options());
    inline_job(app, [&](dbos::Context& ctx) {
        try {
            ctx.transaction(db, "fails", [](SQLite::Database& database) {
                database.exec("INSERT INTO entries VALUES ('undone', 1)");
                SQLite::Transaction own(database);  // a second BEGIN
            });
            return 0;
        } catch (const dbos::StepFailed&) {
        }
        try {
            ctx.transaction(db, "commits", [](SQLite::Database& database) {
                database.exec("INSERT INTO entries VALUES ('undone', 1)");
                database.exec("COMMIT");
            });
            return 0;
        } catch (const dbos::InvalidTransaction&) {
        }
        return ctx.transaction(db, "insert", [](SQLite::Database& database) {
            SQLite::Statement insert(database, "INSERT INTO entries VALUES (?, ?)");
            insert.bind(1, "kept");
            insert.bind(2, 7);
            insert.exec();
            return database.execAndGet("SELECT sum(n) FROM entries").getInt();
        });
    });
    app.launch();
    EXPECT_EQ(run(app), 7);
    EXPECT_EQ(entries(Where::own), "1");
    EXPECT_EQ(db.run([](SQLite::Database& database) { return database.exec("DELETE FROM entries"); }), 1);
    EXPECT_EQ(witnesses(), "0");
}

}  // namespace
#endif
