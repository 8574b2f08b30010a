// expect: a transaction's callable takes what its datasource lends
#include "dbos/context.hpp"

void program(const dbos::SqliteDatasource& db) {
    db.run([] {});
}
