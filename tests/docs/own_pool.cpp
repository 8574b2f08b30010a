// The program of docs/reference/connection-strings.md.
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include "fixture.hpp"
#include "support/own_pool.hpp"

namespace {

/// A pool as a program may have one.
class Pool : public dbos::test::OwnPool {
   public:
    using OwnPool::OwnPool;
    PGconn* take() { return static_cast<PGconn*>(OwnPool::take()); }
};

class OwnPoolPage : public dbos::test::ShopTest {};
INSTANTIATE_TEST_SUITE_P(Every, OwnPoolPage,
                         testing::Values(dbos::sql::Backend::postgres),
                         dbos::test::backend_name);

TEST_P(OwnPoolPage, an_application_takes_its_connections_and_gives_them_back) {
    Pool pool(GetParam(), database().url(), "");
    dbos::AppOptions options = app_options();
    // [engine]
    options.system_database_engine = dbos::postgres_connections(
        [&] { return pool.take(); },
        [&](PGconn* connection, bool good) { pool.put(connection, good); });
    dbos::App app(options);
    // [engine]
    app.implement(Checkout, dbos::test::checkout);
    app.launch();
    EXPECT_EQ(app.start_workflow(Checkout, {}, Order{"o-1", 5})
                  .get_result()
                  .charge_id,
              "charge-o-1");
    EXPECT_GT(pool.lent(), 0u);
    app.shutdown();
    EXPECT_EQ(pool.lent(), 0u);
}

}  // namespace
