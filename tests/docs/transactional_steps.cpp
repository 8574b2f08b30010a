// The programs of docs/how-to/transactional-steps.md.
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sqlite3.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "dbos/dbos.hpp"
#include "support/app.hpp"

using namespace std::chrono_literals;

namespace {

// [transfer]
struct Transfer {
    std::string from = {};
    std::string to = {};
    int cents = 0;
};
DBOS_FIELDS(Transfer, from, to, cents)

inline constexpr auto Pay = dbos::workflow<int(Transfer)>("pay");

/// Moves the money and returns what is left.
int move(PGconn* connection, const Transfer& order) {
    const std::string cents = std::to_string(order.cents);
    const char* values[] = {cents.c_str(), order.from.c_str(),
                            order.to.c_str()};
    const std::unique_ptr<PGresult, void (*)(PGresult*)> result(
        PQexecParams(connection,
                     "WITH credit AS (UPDATE accounts SET cents = cents + "
                     "$1::int WHERE id = $3) UPDATE accounts SET cents = cents "
                     "- $1::int WHERE id = $2 RETURNING cents",
                     3, nullptr, values, nullptr, nullptr, 0),
        PQclear);
    if (PQresultStatus(result.get()) != PGRES_TUPLES_OK)
        throw std::runtime_error(PQerrorMessage(connection));
    return std::stoi(PQgetvalue(result.get(), 0, 0));
}
// [transfer]

class TransactionalSteps : public dbos::test::AppTest {};
DBOS_FOR_EVERY_DATABASE(TransactionalSteps);

TEST_P(TransactionalSteps, in_a_database_of_the_program) {
    if (!postgres()) GTEST_SKIP() << "PostgreSQL alone";
    const std::string url =
        database().url() + "?options=-csearch_path%3D" + database().schema();
    dbos::App app(app_options());
    // [own]
    dbos::PostgresDatasource bank(url);

    app.register_datasource(bank);  // its table is made at launch()
    app.implement(Pay, [bank](dbos::Context& ctx, const Transfer& order) {
        return ctx.transaction(bank, "move", [&](PGconn* connection) {
            return move(connection, order);
        });
    });
    // [own]
    bank.run([](PGconn* connection) {
        PQclear(
            PQexec(connection,
                   "CREATE TABLE accounts (id text PRIMARY KEY, cents int)"));
        PQclear(PQexec(connection,
                       "INSERT INTO accounts VALUES ('a', 100), ('b', 0)"));
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Pay, {}, {"a", "b", 30})
                  .get_result({.timeout = 20s}),
              70);
    EXPECT_EQ(scalar("SELECT cents FROM @accounts WHERE id = 'b'"), "30");
    execute("DROP TABLE IF EXISTS dbos.datasource_outputs");
}

TEST_P(TransactionalSteps, in_the_system_database) {
    if (postgres()) GTEST_SKIP() << "the page shows SQLite";
    dbos::App app(app_options());
    // [system]
    auto file = app.system_datasource<dbos::SqliteDatasource>();

    app.implement(Pay, [file](dbos::Context& ctx, const Transfer& order) {
        return ctx.transaction(file, "note", [&](sqlite3* connection) {
            char* sql = sqlite3_mprintf("INSERT INTO notes VALUES (%Q, %d)",
                                        order.from.c_str(), order.cents);
            const int code =
                sqlite3_exec(connection, sql, nullptr, nullptr, nullptr);
            sqlite3_free(sql);
            if (code != SQLITE_OK)
                throw std::runtime_error(sqlite3_errmsg(connection));
            return sqlite3_changes(connection);
        });
    });
    // [system]
    execute("CREATE TABLE notes (id TEXT, cents INTEGER)");
    app.launch();
    EXPECT_EQ(app.start_workflow(Pay, {}, {"a", "b", 30})
                  .get_result({.timeout = 20s}),
              1);
    EXPECT_EQ(scalar("SELECT cents FROM notes WHERE id = 'a'"), "30");
}

}  // namespace
