// expect: a transaction's callable takes what its datasource lends
#include "dbos/context.hpp"

void body(dbos::Context& ctx, const dbos::PostgresDatasource& db) {
    ctx.transaction(db, "debit", [](sqlite3*) {});
}
