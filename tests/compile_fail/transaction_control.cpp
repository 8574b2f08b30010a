// expect: compiles
#include "dbos/app.hpp"
#include "dbos/context.hpp"

struct Balance {
    int cents = 0;
};
DBOS_FIELDS(Balance, cents)

int named(pg_conn*);

void body(dbos::Context& ctx, const dbos::PostgresDatasource& db, const dbos::SqliteDatasource& file,
          dbos::App& app) {
    const Balance balance = ctx.transaction(db, "debit", [](pg_conn*) { return Balance{.cents = 1}; });
    ctx.transaction(file, "note", [](sqlite3*) {}, {.read_only = true});
    const int n =
        ctx.transaction(db, "named", named, {.isolation_level = dbos::IsolationLevel::read_committed});
    const std::string text = ctx.transaction(
        db, dbos::Name::dynamic("x"), [](auto* connection) { return connection != nullptr ? "a" : "b"; });
    int calls = balance.cents + n + static_cast<int>(text.size());
    ctx.transaction(db, "mutable", [calls](pg_conn*) mutable { return ++calls; });
    app.register_datasource(db);
    const auto system = app.system_datasource<dbos::SqliteDatasource>();
    system.run([](sqlite3* connection) { return connection; });  // outside of a workflow nothing is stored
}
