// expect: the first argument of a transaction is its datasource
#include "dbos/context.hpp"

void body(dbos::Context& ctx, pg_conn* connection) {
    ctx.transaction(connection, "debit", [](pg_conn*) {});
}
