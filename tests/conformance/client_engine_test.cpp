// system_database_engine: a client on connections that the program owns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sqlite3.h>

#include <set>

#include "support/client_rows.hpp"
#include "support/own_pool.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::test::OwnPool;
using testing::HasSubstr;

class ClientEngine : public dbos::test::ClientTest {
   public:
    bool sqlite() const { return GetParam() == dbos::sql::Backend::sqlite; }
    OwnPool pool() { return {GetParam(), database().url(), database().options().url.path}; }
    std::unique_ptr<dbos::Client> client_on(OwnPool& pool) {
        auto options = client_options();
        options.system_database_url.clear();
        options.system_database_engine = pool.source();
        options.system_database_pool_size = 2;
        return make_client(std::move(options));
    }
};
DBOS_FOR_EVERY_DATABASE(ClientEngine);

TEST_P(ClientEngine, serves_calls_writes_and_waits_and_gets_everything_back) {
    OwnPool own = pool();
    {
        const auto client = client_on(own);
        const auto handle = client->enqueue({.workflow_name = "f", .queue_name = "q", .workflow_id = "a"}, 1);
        EXPECT_EQ(handle.get_status().status, "ENQUEUED");
        client->send("a", "hello");
        auto result = handle.get_result_async();
        EXPECT_FALSE(client->get_event("a", "nothing", 10ms));
        client->set_workflow_priority("a", 3);
        EXPECT_EQ(client->list_workflows().size(), 1u);
        end("a", "SUCCESS", "42");
        EXPECT_EQ(result.get().as_int(), 42);
        EXPECT_GT(own.lent(), 0u);
    }
    EXPECT_EQ(own.lent(), 0u);
    EXPECT_LE(own.most(), 6u) << "pool_size, two to write, two to wait";
    EXPECT_EQ(query_text("SELECT count(*) FROM @notifications"), "1");
    // What comes back is as it was.
    if (sqlite()) {
        EXPECT_EQ(own.ask_all("PRAGMA busy_timeout"), std::set<std::string>{"1234"});
        EXPECT_EQ(own.ask_all("PRAGMA foreign_keys"), std::set<std::string>{"0"});
        EXPECT_EQ(own.ask_all("PRAGMA wal_autocheckpoint"), std::set<std::string>{"1000"});
    } else {
        EXPECT_EQ(own.ask_all("SELECT * FROM pg_listening_channels()"), std::set<std::string>{""});
        EXPECT_EQ(own.ask_all("SHOW enable_seqscan"), std::set<std::string>{"on"});
        EXPECT_EQ(own.ask_all("SELECT 1"), std::set<std::string>{"1"});
    }
}

TEST_P(ClientEngine, uses_connections_again_that_another_client_has_used) {
    OwnPool own = pool();
    for (const char* id : {"a", "b", "c"}) {
        const auto client = client_on(own);
        client->enqueue({.workflow_name = "f", .queue_name = "q", .workflow_id = id}, 1);
        EXPECT_EQ(client->retrieve_workflow(id).get_status().status, "ENQUEUED");
    }
    EXPECT_EQ(own.lent(), 0u);
    EXPECT_LE(own.opened(), own.most()) << "a connection was given back as broken";
}

TEST_P(ClientEngine, tries_again_when_it_gets_none) {
    OwnPool own = pool();
    const auto client = client_on(own);
    own.refuse(2);
    client->enqueue({.workflow_name = "f", .queue_name = "q", .workflow_id = "a"}, 1);
    EXPECT_EQ(client->list_workflows().size(), 1u);
    EXPECT_EQ(own.refusals_left(), 0);

    auto options = client_options();
    options.system_database_url.clear();
    options.system_database_engine = own.source();
    options.retry_connection_errors = false;
    own.refuse(1);
    EXPECT_THAT(refusal([&] { make_client(std::move(options)); }),
                HasSubstr("system_database_engine gave no connection: acquire() returned nullptr"));
}

TEST_P(ClientEngine, refuses_a_connection_with_a_transaction_and_gives_it_back) {
    OwnPool own = pool();
    void* const connection = own.take();
    own.run(connection, "BEGIN");
    own.put(connection, true);
    EXPECT_THAT(refusal([&] { client_on(own)->list_workflows(); }),
                HasSubstr("system_database_engine: expected an"));
    EXPECT_EQ(own.lent(), 0u);
}

TEST(ConnectionSource, needs_both_functions_and_a_file) {
    EXPECT_THROW(dbos::postgres_connections({}, [](PGconn*, bool) {}), dbos::ConfigError);
    EXPECT_THROW(dbos::sqlite_connections([]() -> sqlite3* { return nullptr; }, {}), dbos::ConfigError);
    sqlite3* memory = nullptr;
    ASSERT_EQ(sqlite3_open(":memory:", &memory), SQLITE_OK);
    dbos::ClientOptions options;
    options.system_database_engine = dbos::sqlite_connections([&] { return memory; }, [](sqlite3*, bool) {});
    try {
        dbos::Client client(std::move(options));
        ADD_FAILURE() << "a database in memory was taken";
    } catch (const dbos::ConfigError& error) {
        EXPECT_THAT(error.what(), HasSubstr("got one in memory"));
    }
    sqlite3_close(memory);
}

}  // namespace
