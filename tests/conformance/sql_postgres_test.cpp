// What only the PostgreSQL driver has: lost connections, poolers, interrupts, passwords, plans.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <vector>

#include "support/database.hpp"

namespace dbos::sql {
namespace {

using namespace std::chrono_literals;

class SqlPostgres : public testing::Test {
   public:
    void SetUp() override {
        if (!test::need_postgres()) return;
        database.emplace(Backend::postgres);
        connection = open(options());
        connection->script("CREATE TABLE @t(id BIGINT PRIMARY KEY)");
    }
    const OpenOptions& options() { return database->options(); }
    std::int64_t count() { return open(options())->query("SELECT count(*) FROM @t").at(0, 0).integer(); }
    static std::int64_t pid_of(Connection& other) {
        return other.query("SELECT pg_backend_pid()").at(0, 0).integer();
    }
    void terminate(std::int64_t pid) {
        EXPECT_TRUE(open(options())->query("SELECT pg_terminate_backend($1::int)", {pid}).at(0, 0).boolean());
    }
    /// Terminates the backend `pid` as soon as it runs a statement with this text.
    void terminate_when_running(std::int64_t pid, const std::string& text) {
        const auto watcher = open(options());
        EXPECT_TRUE(test::eventually([&] {
            return !watcher
                        ->query(
                            "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query "
                            "LIKE $2",
                            {pid, std::string_view(text)})
                        .empty();
        }));
        terminate(pid);
    }
    template <class Act>
    DatabaseError failure(Act act) {
        try {
            act();
        } catch (const DatabaseError& error) {
            return error;
        }
        ADD_FAILURE() << "nothing was thrown";
        return DatabaseError(DatabaseErrorKind::other, "none");
    }

    std::optional<test::TestDatabase> database;
    std::unique_ptr<Connection> connection;
};

TEST_F(SqlPostgres, killed_while_it_writes_alone_the_outcome_is_unknown) {
    const auto pid = pid_of(*connection);
    seam::Thread killer = seam::spawn("killer", [&] { terminate_when_running(pid, "%pg_sleep(30)%"); });
    const auto error =
        failure([&] { connection->query("INSERT INTO @t SELECT 1 FROM pg_sleep(30)", {}, Access::write); });
    killer.join();
    EXPECT_EQ(error.kind(), DatabaseErrorKind::connection) << error.what();
    EXPECT_TRUE(error.outcome_unknown());
    EXPECT_TRUE(error.transient());
    EXPECT_FALSE(connection->usable());
    EXPECT_EQ(failure([&] { connection->query("SELECT 1"); }).kind(), DatabaseErrorKind::connection);
    EXPECT_EQ(count(), 0);
}

TEST_F(SqlPostgres, killed_in_a_transaction_or_a_read_the_outcome_is_known) {
    {
        const auto pid = pid_of(*connection);
        Transaction transaction(*connection);
        connection->query("INSERT INTO @t VALUES (1)", {}, Access::write);
        seam::Thread killer = seam::spawn("killer", [&] { terminate_when_running(pid, "%pg_sleep(30)%"); });
        const auto error = failure(
            [&] { connection->query("INSERT INTO @t SELECT 2 FROM pg_sleep(30)", {}, Access::write); });
        killer.join();
        EXPECT_EQ(error.kind(), DatabaseErrorKind::connection);
        EXPECT_FALSE(error.outcome_unknown());
    }
    connection = open(options());
    const auto pid = pid_of(*connection);
    seam::Thread killer = seam::spawn("killer", [&] { terminate_when_running(pid, "%pg_sleep(30)%"); });
    const auto error = failure([&] { connection->query("SELECT pg_sleep(30)"); });
    killer.join();
    EXPECT_EQ(error.kind(), DatabaseErrorKind::connection);
    EXPECT_FALSE(error.outcome_unknown());
    EXPECT_EQ(count(), 0);
}

TEST_F(SqlPostgres, killed_at_commit_the_outcome_is_unknown) {
    // A deferred trigger makes COMMIT itself wait.
    connection->script(
        "CREATE FUNCTION @slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(30); RETURN "
        "NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON @t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
        "EXECUTE FUNCTION @slow()");
    const auto pid = pid_of(*connection);
    connection->begin();
    connection->query("INSERT INTO @t VALUES (1)", {}, Access::write);
    seam::Thread killer = seam::spawn("killer", [&] { terminate_when_running(pid, "COMMIT%"); });
    const auto error = failure([&] { connection->commit(); });
    killer.join();
    EXPECT_EQ(error.kind(), DatabaseErrorKind::connection) << error.what();
    EXPECT_TRUE(error.outcome_unknown());
    EXPECT_FALSE(connection->in_transaction());
}

TEST_F(SqlPostgres, killed_in_a_writing_pipeline_the_outcome_is_unknown) {
    constexpr Statement kWrite{"slow_write", "INSERT INTO @t SELECT $1 FROM pg_sleep($2)"};
    const auto pid = pid_of(*connection);
    const std::vector<Call> calls{{&kWrite, {std::int64_t{1}, 0.0}}, {&kWrite, {std::int64_t{2}, 30.0}}};
    seam::Thread killer = seam::spawn("killer", [&] { terminate_when_running(pid, "%pg_sleep($2)%"); });
    const auto error = failure([&] { connection->pipeline(calls); });
    killer.join();
    EXPECT_EQ(error.kind(), DatabaseErrorKind::connection);
    EXPECT_TRUE(error.outcome_unknown());
    EXPECT_EQ(count(), 0);
}

TEST_F(SqlPostgres, an_error_of_commit_is_reported_and_known) {
    connection->script("CREATE TABLE @u(id BIGINT CONSTRAINT late UNIQUE DEFERRABLE INITIALLY DEFERRED)");
    connection->begin();
    connection->query("INSERT INTO @u VALUES (1), (1)", {}, Access::write);
    const auto error = failure([&] { connection->commit(); });
    EXPECT_EQ(error.kind(), DatabaseErrorKind::unique_violation);
    EXPECT_EQ(error.constraint(), "late");
    EXPECT_FALSE(error.outcome_unknown());
    EXPECT_FALSE(connection->in_transaction());
    EXPECT_EQ(connection->query("SELECT count(*) FROM @u").at(0, 0).integer(), 0);
}

TEST_F(SqlPostgres, an_idle_connection_that_was_killed_is_replaced_by_the_pool) {
    Pool pool(options(), 2);
    std::int64_t pid = 0;
    {
        auto lease = pool.acquire();
        pid = pid_of(*lease);
    }
    terminate(pid);
    EXPECT_TRUE(test::eventually(
        [&] { return connection->query("SELECT 1 FROM pg_stat_activity WHERE pid = $1", {pid}).empty(); }));
    // It is not listed any more some time before its socket is closed, which is when it ends.
    EXPECT_TRUE(test::eventually([&] { return !std::filesystem::exists("/proc/" + std::to_string(pid)); }));
    auto lease = pool.acquire();
    EXPECT_EQ(lease->query("SELECT 1").at(0, 0).integer(), 1);
}

TEST_F(SqlPostgres, interrupt_ends_a_sleeping_query) {
    std::atomic<bool> started{false};
    const auto pid = pid_of(*connection);
    seam::Thread other = seam::spawn("interrupts", [&] {
        const auto watcher = open(options());
        test::eventually([&] {
            return !watcher
                        ->query(
                            "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep(30)%'",
                            {pid})
                        .empty();
        });
        started = true;
        connection->interrupt();
    });
    const auto error = failure([&] { connection->query("SELECT pg_sleep(30)"); });
    other.join();
    EXPECT_TRUE(started);
    EXPECT_EQ(error.kind(), DatabaseErrorKind::connection);
    EXPECT_NE(std::string(error.what()).find("interrupted"), std::string::npos) << error.what();
    EXPECT_FALSE(connection->usable());
    connection = open(options());
    EXPECT_TRUE(test::eventually([&] {
        return connection->query("SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active'", {pid})
            .empty();
    })) << "the statement goes on without anybody to wait for it";
}

TEST_F(SqlPostgres, a_reply_that_takes_too_long_fails_the_connection) {
    OpenOptions impatient = options();
    impatient.reply_timeout = 50ms;
    const auto other = open(impatient);
    EXPECT_EQ(failure([&] { other->query("SELECT pg_sleep(30)"); }).kind(), DatabaseErrorKind::connection);
    EXPECT_FALSE(other->usable());
}

/// A server that accepts and never answers.
class SilentServer {
   public:
    SilentServer() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
        EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
        EXPECT_EQ(::listen(fd_, 8), 0);
        port_ = ntohs(address.sin_port);
    }
    ~SilentServer() { stop(); }
    SilentServer(const SilentServer&) = delete;
    SilentServer& operator=(const SilentServer&) = delete;
    void stop() {
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
        for (const int client : clients) ::close(client);
        clients.clear();
    }
    std::string url(const std::string& more = {}) const {
        return "postgresql://ann:hunter2@127.0.0.1:" + std::to_string(port_) + "/jobs" + more;
    }
    void await_client() const {
        const int client = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
        EXPECT_GE(client, 0);
        clients.push_back(client);
    }
    mutable std::vector<int> clients;

   private:
    int fd_;
    int port_ = 0;
};

TEST(SqlConnect, an_unreachable_port_is_a_connection_error_without_password) {
    SilentServer server;
    OpenOptions options;
    options.url = Url::parse(server.url());
    server.stop();
    try {
        open(options);
        FAIL();
    } catch (const DatabaseError& error) {
        EXPECT_EQ(error.kind(), DatabaseErrorKind::connection);
        EXPECT_TRUE(error.transient());
        EXPECT_FALSE(error.outcome_unknown());
        EXPECT_EQ(std::string(error.what()).find("hunter2"), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find("refused"), std::string::npos) << error.what();
    }
}

TEST(SqlConnect, a_silent_server_ends_in_the_connect_time_out) {
    const SilentServer server;
    OpenOptions options;
    options.url = Url::parse(server.url("?connect_timeout=2"));
    try {
        open(options);
        FAIL();
    } catch (const DatabaseError& error) {
        EXPECT_EQ(error.kind(), DatabaseErrorKind::connection);
        EXPECT_NE(std::string(error.what()).find("connect_timeout"), std::string::npos) << error.what();
    }
}

TEST(SqlConnect, close_of_the_pool_interrupts_a_connect) {
    const SilentServer server;
    OpenOptions options;
    options.url = Url::parse(server.url("?connect_timeout=100"));
    Pool pool(options, 1);
    seam::Thread closer = seam::spawn("closer", [&] {
        server.await_client();
        pool.close();
    });
    try {
        pool.acquire();
        ADD_FAILURE() << "connected to a server that says nothing";
    } catch (const DatabaseError& error) {
        EXPECT_EQ(error.kind(), DatabaseErrorKind::closed) << error.what();
    }
    closer.join();
}

TEST(SqlConnect, the_end_of_a_listener_interrupts_its_connect) {
    const SilentServer server;
    OpenOptions options;
    options.url = Url::parse(server.url("?connect_timeout=100"));
    const Listener listener(options, {"channel"}, {});
    server.await_client();
    EXPECT_FALSE(listener.connected());
}

TEST_F(SqlPostgres, a_wrong_password_is_a_permission_error_without_the_password) {
    const std::string url = *test::postgres_url();
    const std::size_t at = url.find('@');
    if (at == std::string::npos) GTEST_SKIP() << "the test URL names no user";
    OpenOptions wrong;
    wrong.url = Url::parse("postgresql://dbos_password:hunter2" + url.substr(at));
    if (connection->query("SELECT 1 FROM pg_roles WHERE rolname = 'dbos_password'").empty()) {
        GTEST_SKIP() << "the server has no role dbos_password (see scripts/with-postgres)";
    }
    const auto error = failure([&] { open(wrong); });
    EXPECT_EQ(error.kind(), DatabaseErrorKind::permission);
    EXPECT_EQ(error.sqlstate(), "28P01");
    EXPECT_EQ(std::string(error.what()).find("hunter2"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("password authentication failed"), std::string::npos)
        << error.what();
    EXPECT_EQ(std::string(error.what()).find("auth.c"), std::string::npos) << error.what();
}

TEST_F(SqlPostgres, defaults_of_a_connection) {
    const auto setting = [&](const char* name) {
        return connection->query("SELECT current_setting($1)", {std::string_view(name)}).at(0, 0).string();
    };
    EXPECT_EQ(setting("application_name"), "dbos_cpp");
    EXPECT_EQ(setting("client_encoding"), "UTF8");
    EXPECT_EQ(setting("enable_seqscan"), "on");
    OpenOptions pinned = options();
    pinned.pinned_plans = true;
    connection = open(pinned);
    EXPECT_EQ(setting("enable_seqscan"), "off");
    EXPECT_EQ(setting("jit"), "off");
    EXPECT_EQ(setting("plan_cache_mode"), "force_generic_plan");
}

TEST_F(SqlPostgres, statements_that_vanish_under_a_pooler_are_repeated_unnamed) {
    constexpr Statement kInsert{"insert_t", "INSERT INTO @t VALUES ($1)"};
    connection->execute(kInsert, {std::int64_t{1}});
    connection->query("DEALLOCATE ALL", {}, Access::write);
    connection->execute(kInsert, {std::int64_t{2}});
    {
        Transaction transaction(*connection);
        connection->execute(kInsert, {std::int64_t{3}});
        transaction.commit();
    }
    EXPECT_EQ(count(), 3);
    EXPECT_TRUE(connection->query("SELECT name FROM pg_prepared_statements").empty()) << "unnamed for good";
}

TEST_F(SqlPostgres, statements_that_vanish_ahead_of_a_transaction_are_repeated_with_its_begin) {
    constexpr Statement kInsert{"insert_t", "INSERT INTO @t VALUES ($1)"};
    connection->execute(kInsert, {std::int64_t{1}});
    connection->query("DEALLOCATE ALL", {}, Access::write);
    Transaction transaction(*connection);
    connection->execute(kInsert, {std::int64_t{2}});
    EXPECT_TRUE(connection->in_transaction());
    EXPECT_EQ(count(), 1);
    transaction.commit();
    EXPECT_EQ(count(), 2);
}

TEST_F(SqlPostgres, statements_that_vanish_within_a_transaction_make_it_repeatable) {
    constexpr Statement kInsert{"insert_t", "INSERT INTO @t VALUES ($1)"};
    connection->execute(kInsert, {std::int64_t{1}});
    for (int attempt = 0; attempt < 2; ++attempt) {
        try {
            Transaction transaction(*connection);
            connection->query("SELECT 1");
            if (attempt == 0) connection->query("DEALLOCATE ALL", {}, Access::write);
            connection->execute(kInsert, {std::int64_t{2}});
            transaction.commit();
            EXPECT_EQ(attempt, 1);
        } catch (const DatabaseError& error) {
            EXPECT_EQ(attempt, 0);
            EXPECT_TRUE(error.transient()) << error.what();
        }
    }
    EXPECT_EQ(count(), 2);
}

TEST_F(SqlPostgres, a_name_that_is_taken_under_a_pooler) {
    constexpr Statement kInsert{"insert_t", "INSERT INTO @t VALUES ($1)"};
    connection->execute(kInsert, {std::int64_t{1}});
    const std::string name =
        connection->query("SELECT name FROM pg_prepared_statements WHERE name LIKE 'insert_t%'")
            .at(0, 0)
            .string();
    const auto other = open(options());
    other->script("PREPARE \"" + name + "\" AS SELECT 1");
    other->execute(kInsert, {std::int64_t{2}});
    EXPECT_EQ(count(), 2);
}

TEST_F(SqlPostgres, statements_that_want_no_transaction) {
    connection->query("CREATE INDEX CONCURRENTLY t_id ON @t(id)", {}, Access::write);
    connection->script("DROP INDEX CONCURRENTLY @t_id");
    connection->script("VACUUM @t");
    for (int i = 0; i < 70; ++i) connection->query("SELECT " + std::to_string(i));
    connection->query("CREATE INDEX CONCURRENTLY t_id ON @t(id)", {}, Access::write);
}

TEST_F(SqlPostgres, kinds_by_sqlstate) {
    const auto kind = [&](const std::string& state) {
        return failure([&] {
                   connection->script("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '" + state +
                                      "'; END $$");
               })
            .kind();
    };
    EXPECT_EQ(kind("40001"), DatabaseErrorKind::serialization);
    EXPECT_EQ(kind("40P01"), DatabaseErrorKind::serialization);
    EXPECT_EQ(kind("55P03"), DatabaseErrorKind::busy);
    EXPECT_EQ(kind("42501"), DatabaseErrorKind::permission);
    EXPECT_EQ(kind("25006"), DatabaseErrorKind::read_only);
    EXPECT_EQ(kind("57014"), DatabaseErrorKind::timeout);
    EXPECT_EQ(kind("53300"), DatabaseErrorKind::connection);
    EXPECT_EQ(kind("22012"), DatabaseErrorKind::other);
    EXPECT_TRUE(connection->usable());
}

TEST_F(SqlPostgres, a_lock_timeout_set_in_a_pipeline_does_not_leak) {
    constexpr Statement kLimit{"lock_limit", "SELECT set_config('lock_timeout', '20', true)", Access::read};
    constexpr Statement kUpdate{"lock_update", "UPDATE @t SET id = id WHERE id = $1"};
    connection->query("INSERT INTO @t VALUES (1)", {}, Access::write);
    const auto other = open(options());
    Transaction holder(*other);
    other->execute(kUpdate, {std::int64_t{1}});
    const std::vector<Call> calls{{&kLimit, {}}, {&kUpdate, {std::int64_t{1}}}};
    const auto error = failure([&] { connection->pipeline(calls); });
    EXPECT_EQ(error.kind(), DatabaseErrorKind::busy);
    EXPECT_NE(std::string(error.what()).find("lock_update"), std::string::npos);
    EXPECT_EQ(connection->query("SHOW lock_timeout").at(0, 0).text(), "0");
}

TEST_F(SqlPostgres, a_call_behind_the_others_commits_by_itself_and_its_failure_is_untold) {
    constexpr Statement kInsert{"insert_t", "INSERT INTO @t VALUES ($1)"};
    const auto write = [&](std::int64_t first, std::int64_t behind) {
        const std::vector<Call> calls{{&kInsert, {first}}, {&kInsert, {behind}, true}};
        return connection->pipeline(calls);
    };
    EXPECT_EQ(write(1, 2).size(), 2U);
    EXPECT_EQ(count(), 2);
    EXPECT_EQ(write(3, 2).front().affected(), 1) << "2 is there already";
    EXPECT_EQ(count(), 3);
    EXPECT_EQ(failure([&] { write(1, 4); }).kind(), DatabaseErrorKind::unique_violation);
    EXPECT_EQ(count(), 4) << "what stands behind is not told of failures";
    constexpr Statement kTransaction{"transaction_t", "SELECT txid_current()"};
    const std::vector<Call> calls{{&kTransaction, {}}, {&kTransaction, {}, true}};
    const auto ids = connection->pipeline(calls);
    EXPECT_NE(ids[0].at(0, 0).integer(), ids[1].at(0, 0).integer());
    // Behind a pooler its statement may have gone.
    connection->query("DEALLOCATE ALL", {}, Access::write);
    write(5, 6);
    write(7, 8);
    EXPECT_EQ(count(), 8);
}

TEST_F(SqlPostgres, creates_a_missing_database_once) {
    const std::string name = "dbos \"odd\\' " + options().schema;
    std::string encoded;
    for (const char c : name) {
        if (c == ' ')
            encoded += "%20";
        else if (c == '"')
            encoded += "%22";
        else if (c == '\\')
            encoded += "%5C";
        else
            encoded += c;
    }
    const std::string base = *test::postgres_url();
    const std::size_t path = base.find('/', base.find("://") + 3);
    const Url url = Url::parse(base.substr(0, path + 1) + encoded);
    ASSERT_EQ(url.database, name);
    EXPECT_TRUE(create_database_if_missing(url));
    EXPECT_FALSE(create_database_if_missing(url));
    OpenOptions created;
    created.url = url;
    EXPECT_EQ(open(created)->query("SELECT current_database()").at(0, 0).text(), name);
    std::string quoted;
    for (const char c : name) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    connection->script("DROP DATABASE \"" + quoted + "\" WITH (FORCE)");
}

TEST_F(SqlPostgres, a_forked_child_leaves_the_connection_alone) {
    const pid_t child = ::fork();
    if (child == 0) {
        int code = 1;
        try {
            connection->query("SELECT 1");
        } catch (const UsageError&) {
            code = 0;
        } catch (...) {
            code = 2;
        }
        connection.reset();
        ::_exit(code);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(connection->query("SELECT 1").at(0, 0).integer(), 1);
}

}  // namespace
}  // namespace dbos::sql
