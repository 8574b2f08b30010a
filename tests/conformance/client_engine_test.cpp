// system_database_engine: a client on connections that the program owns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sqlite3.h>

#include <mutex>
#include <set>
#include <thread>

#include "support/client_rows.hpp"

namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// A pool of the program's, of either back end. Never closes what the client has.
class OwnPool {
   public:
    OwnPool(dbos::sql::Backend backend, std::string url, std::string path)
        : sqlite_(backend == dbos::sql::Backend::sqlite), url_(std::move(url)), path_(std::move(path)) {}
    ~OwnPool() {
        for (void* connection : idle_) close(connection);
        for (void* connection : lent_) close(connection);
    }
    OwnPool(const OwnPool&) = delete;
    OwnPool& operator=(const OwnPool&) = delete;

    std::shared_ptr<dbos::ConnectionSource> source() {
        if (sqlite_) {
            return dbos::sqlite_connections(
                [this] { return static_cast<sqlite3*>(take()); },
                [this](sqlite3* connection, bool good) { put(connection, good); });
        }
        return dbos::postgres_connections([this] { return static_cast<PGconn*>(take()); },
                                          [this](PGconn* connection, bool good) { put(connection, good); });
    }

    void* take() {
        const std::lock_guard lock(mutex_);
        if (refusals_ > 0) {
            --refusals_;
            return nullptr;
        }
        void* connection = idle_.empty() ? open() : *idle_.begin();
        idle_.erase(connection);
        lent_.insert(connection);
        most_ = std::max(most_, lent_.size());
        return connection;
    }
    void put(void* connection, bool good) {
        const std::lock_guard lock(mutex_);
        EXPECT_EQ(lent_.erase(connection), 1u);
        good_ += good ? 1 : 0;
        if (good) {
            idle_.insert(connection);
        } else {
            close(connection);
        }
    }
    std::size_t lent() const {
        const std::lock_guard lock(mutex_);
        return lent_.size();
    }
    std::size_t most() const { return most_; }
    std::size_t opened() const { return opened_; }
    std::size_t good() const { return good_; }
    int refusals_left() const {
        const std::lock_guard lock(mutex_);
        return refusals_;
    }
    void refuse(int times) {
        const std::lock_guard lock(mutex_);
        refusals_ = times;
    }
    /// What a connection says to a query, on every idle one.
    std::set<std::string> ask_all(const char* query) {
        const std::lock_guard lock(mutex_);
        std::set<std::string> answers;
        for (void* connection : idle_) answers.insert(ask(connection, query));
        return answers;
    }
    void run(void* connection, const char* statement) { ask(connection, statement); }

   private:
    void* open() {
        ++opened_;
        if (sqlite_) {
            sqlite3* handle = nullptr;
            EXPECT_EQ(sqlite3_open(path_.c_str(), &handle), SQLITE_OK);
            sqlite3_busy_timeout(handle, 1234);
            return handle;
        }
        PGconn* connection = PQconnectdb(url_.c_str());
        EXPECT_EQ(PQstatus(connection), CONNECTION_OK) << PQerrorMessage(connection);
        PQclear(PQexec(connection, "SET client_encoding TO 'UTF8'; SET enable_seqscan TO on"));
        return connection;
    }
    void close(void* connection) const {
        if (sqlite_) {
            sqlite3_close(static_cast<sqlite3*>(connection));
        } else {
            PQfinish(static_cast<PGconn*>(connection));
        }
    }
    std::string ask(void* connection, const char* query) const {
        std::string text;
        if (sqlite_) {
            char* error = nullptr;
            sqlite3_exec(
                static_cast<sqlite3*>(connection), query,
                [](void* to, int columns, char** values, char**) {
                    for (int i = 0; i < columns; ++i)
                        *static_cast<std::string*>(to) += values[i] ? values[i] : "";
                    return 0;
                },
                &text, &error);
            if (error) text = error;
            sqlite3_free(error);
            return text;
        }
        PGresult* result = PQexec(static_cast<PGconn*>(connection), query);
        if (PQresultStatus(result) == PGRES_FATAL_ERROR) text = PQresultErrorMessage(result);
        for (int row = 0; row < PQntuples(result); ++row) text += PQgetvalue(result, row, 0);
        PQclear(result);
        return text;
    }

    const bool sqlite_;
    const std::string url_, path_;
    mutable std::mutex mutex_;
    std::set<void*> idle_, lent_;
    std::size_t opened_ = 0, most_ = 0, good_ = 0;
    int refusals_ = 0;
};

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
