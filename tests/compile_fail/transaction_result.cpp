// expect: a reference cannot be stored
#include "dbos/context.hpp"

void body(dbos::Context& ctx, const dbos::PostgresDatasource& db, int& n) {
    ctx.transaction(db, "debit", [&](pg_conn*) -> int& { return n; });
}
