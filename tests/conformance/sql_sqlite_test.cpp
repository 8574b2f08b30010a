// What only the SQLite driver has: files, several processes, :memory:, interrupts.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/database.hpp"

namespace dbos::sql {
namespace {

using namespace std::chrono_literals;

constexpr Statement kInsert{"insert_t", "INSERT INTO @t(id) VALUES ($1)"};
constexpr Statement kCount{"count_t", "SELECT count(*) FROM @t", Access::read};

class SqlSqlite : public testing::Test {
   public:
    OpenOptions file(const std::string& name = "x.sqlite") const {
        OpenOptions options;
        options.url = Url::parse("sqlite:///" + (directory.path() / name).string());
        return options;
    }
    static std::string failure(const OpenOptions& options, DatabaseErrorKind kind) {
        try {
            open(options);
        } catch (const DatabaseError& error) {
            EXPECT_EQ(error.kind(), kind) << error.what();
            EXPECT_FALSE(error.transient());
            return error.what();
        }
        ADD_FAILURE() << options.url.path << " was opened";
        return {};
    }
    static std::string value(Connection& connection, const char* text) {
        return connection.query(text).at(0, 0).string();
    }
    test::TemporaryDirectory directory;
};

/// Runs `body` in a child process and returns its exit code.
template <class Body>
pid_t fork_child(Body body) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    int code = 99;
    try {
        code = body();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "child: %s\n", error.what());
    }
    ::_exit(code);
}

int exit_code_of(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_F(SqlSqlite, settings_of_a_connection) {
    const auto connection = open(file());
    EXPECT_EQ(value(*connection, "PRAGMA journal_mode"), "wal");
    EXPECT_EQ(value(*connection, "PRAGMA synchronous"), "2");
    EXPECT_EQ(value(*connection, "PRAGMA foreign_keys"), "1");
    OpenOptions normal = file();
    normal.full_sync = false;
    EXPECT_EQ(value(*open(normal), "PRAGMA synchronous"), "1");
}

TEST_F(SqlSqlite, a_statement_at_the_address_of_another_one_is_another_one) {
    const auto connection = open(file());
    Statement statement{"one", "SELECT 1", Access::read};
    EXPECT_EQ(connection->execute(statement, {}).at(0, 0).integer(), 1);
    statement = {"two", "SELECT $1 + 1", Access::read};
    EXPECT_EQ(connection->execute(statement, {std::int64_t{1}}).at(0, 0).integer(), 2);
}

TEST_F(SqlSqlite, files_that_cannot_be_opened_say_why) {
    EXPECT_NE(failure(file("absent/x.sqlite"), DatabaseErrorKind::other).find("does not exist; create it"),
              std::string::npos);
    EXPECT_NE(failure(file("."), DatabaseErrorKind::other).find("is a directory"), std::string::npos);
    OpenOptions missing = file("missing.sqlite");
    missing.create_file = false;
    EXPECT_NE(failure(missing, DatabaseErrorKind::other).find("does not exist"), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(missing.url.path)) << "opening must not make it";
    std::ofstream(file("text.sqlite").url.path) << std::string(4096, 'x');
    EXPECT_NE(failure(file("text.sqlite"), DatabaseErrorKind::other).find("not a SQLite database"),
              std::string::npos);
}

TEST_F(SqlSqlite, a_read_only_file_and_a_read_only_connection) {
    {
        const auto connection = open(file());
        connection->script("CREATE TABLE @t(id INTEGER PRIMARY KEY)");
    }
    OpenOptions reader = file();
    reader.read_only = true;
    {
        const auto connection = open(reader);
        EXPECT_EQ(connection->execute(kCount).at(0, 0).integer(), 0);
        try {
            connection->execute(kInsert, {std::int64_t{1}});
            ADD_FAILURE();
        } catch (const DatabaseError& error) {
            EXPECT_EQ(error.kind(), DatabaseErrorKind::read_only) << error.what();
        }
    }
    ::chmod(directory.path().c_str(), 0755);
    ::chmod(file().url.path.c_str(), 0444);
    const int code = exit_code_of(fork_child([this] {
        if (::geteuid() == 0 && ::setuid(65534) != 0) return 3;  // root may write everything
        try {
            open(file());
        } catch (const DatabaseError& error) {
            const bool clear = std::string(error.what()).find("read-only") != std::string::npos;
            return error.kind() == DatabaseErrorKind::read_only && clear && !error.transient() ? 0 : 2;
        }
        return 1;
    }));
    EXPECT_EQ(code, 0);
}

TEST_F(SqlSqlite, four_processes_write_one_file) {
    open(file())->script("CREATE TABLE @t(id INTEGER PRIMARY KEY)");
    constexpr int kProcesses = 4;
    constexpr int kRows = 60;
    std::vector<pid_t> children;
    for (int p = 0; p < kProcesses; ++p) {
        children.push_back(fork_child([this, p] {
            const auto connection = open(file());
            for (std::int64_t row = 0; row < kRows; ++row) {
                const std::int64_t id = std::int64_t{p} * 1000 + row * 2;
                if (row % 3 == 0) {
                    connection->execute(kInsert, {id});
                    connection->execute(kInsert, {id + 1});
                } else if (row % 3 == 1) {
                    const std::vector<Call> calls{{&kInsert, {id}}, {&kInsert, {id + 1}}};
                    connection->pipeline(calls);
                } else {
                    Transaction transaction(*connection);
                    const auto before = connection->execute(kCount).at(0, 0).integer();
                    connection->execute(kInsert, {id});
                    connection->execute(kInsert, {id + 1});
                    if (connection->execute(kCount).at(0, 0).integer() != before + 2) return 1;
                    transaction.commit();
                }
            }
            return 0;
        }));
    }
    for (const pid_t child : children) EXPECT_EQ(exit_code_of(child), 0);
    EXPECT_EQ(open(file())->execute(kCount).at(0, 0).integer(), kProcesses * kRows * 2);
}

TEST_F(SqlSqlite, many_processes_open_a_new_file_at_once) {
    std::vector<pid_t> children;
    for (int p = 0; p < 6; ++p) {
        children.push_back(fork_child([this] {
            open(file())->script("CREATE TABLE IF NOT EXISTS @t(id INTEGER PRIMARY KEY)");
            return 0;
        }));
    }
    for (const pid_t child : children) EXPECT_EQ(exit_code_of(child), 0);
}

TEST_F(SqlSqlite, a_killed_writer_leaves_no_turn_behind) {
    open(file())->script("CREATE TABLE @t(id INTEGER PRIMARY KEY)");
    int ready[2];
    ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    const pid_t child = fork_child([&] {
        const auto connection = open(file());
        connection->begin();
        connection->execute(kInsert, {std::int64_t{1}});
        (void)!::write(ready[1], "r", 1);
        for (;;) ::pause();
        return 0;
    });
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    ::kill(child, SIGKILL);
    EXPECT_EQ(exit_code_of(child), 128 + SIGKILL);
    const auto connection = open(file());
    connection->execute(kInsert, {std::int64_t{2}});
    EXPECT_EQ(connection->execute(kCount).at(0, 0).integer(), 1);
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST_F(SqlSqlite, interrupt_ends_a_long_query_and_a_wait_for_the_turn) {
    const auto holder = open(file());
    const auto connection = open(file());
    seam::Thread other = seam::spawn("interrupts", [&] {
        seam::sleep_for(20ms);
        connection->interrupt();
    });
    EXPECT_THROW(connection->query(
                     "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"),
                 DatabaseError);
    other.join();
    EXPECT_FALSE(connection->usable());

    const auto waits = open(file());
    Transaction transaction(*holder);
    seam::Thread again = seam::spawn("interrupts", [&] {
        seam::sleep_for(20ms);
        waits->interrupt();
    });
    try {
        waits->begin();
        ADD_FAILURE();
    } catch (const DatabaseError& error) {
        EXPECT_EQ(error.kind(), DatabaseErrorKind::connection) << error.what();
    }
    again.join();
}

TEST_F(SqlSqlite, a_forked_child_leaves_the_file_alone) {
    auto connection = open(file());
    connection->script("CREATE TABLE @t(id INTEGER PRIMARY KEY)");
    EXPECT_EQ(exit_code_of(fork_child([&] {
                  int code = 1;
                  try {
                      connection->execute(kCount);
                  } catch (const UsageError&) {
                      code = 0;
                  }
                  connection.reset();
                  return code;
              })),
              0);
    connection->execute(kInsert, {std::int64_t{1}});
    EXPECT_TRUE(std::filesystem::exists(file().url.path + "-wal"));
}

class SqlMemory : public testing::Test {
   public:
    void SetUp() override {
        OpenOptions options;
        options.url = Url::parse("sqlite:///:memory:");
        pool = std::make_unique<Pool>(options, 4);
        pool->acquire()->script("CREATE TABLE @t(id INTEGER PRIMARY KEY)");
    }
    std::unique_ptr<Pool> pool;
};

TEST_F(SqlMemory, every_connection_of_a_pool_sees_one_private_database) {
    const auto committer = pool->open_dedicated(true);
    committer->execute(kInsert, {std::int64_t{1}});
    auto first = pool->acquire();
    auto second = pool->acquire();
    EXPECT_EQ(first->execute(kCount).at(0, 0).integer(), 1);
    EXPECT_EQ(second->execute(kCount).at(0, 0).integer(), 1);
    Pool other(pool->options(), 1);
    EXPECT_THROW(other.acquire()->execute(kCount), DatabaseError);
}

TEST_F(SqlMemory, writers_and_readers_take_turns) {
    constexpr int kRounds = 200;
    std::vector<seam::Thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.push_back(seam::spawn("memory", [this, t] {
            const auto own = pool->open_dedicated(false);
            for (int round = 0; round < kRounds; ++round) {
                const std::int64_t id = t * 10'000 + round * 2;
                if (t % 2 == 0) {
                    Transaction transaction(*own);
                    const auto before = own->execute(kCount).at(0, 0).integer();
                    own->execute(kInsert, {id});
                    own->execute(kInsert, {id + 1});
                    EXPECT_EQ(own->execute(kCount).at(0, 0).integer(), before + 2)
                        << "nobody writes in between";
                    if (round % 5 != 0) transaction.commit();
                } else {
                    auto lease = pool->acquire();
                    EXPECT_EQ(lease->execute(kCount).at(0, 0).integer() % 2, 0)
                        << "half a transaction was seen";
                }
            }
        }));
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(pool->acquire()->execute(kCount).at(0, 0).integer(), 2 * 2 * (kRounds - kRounds / 5));
}

TEST_F(SqlMemory, a_connection_that_goes_in_a_transaction_gives_its_turn_back) {
    {
        const auto own = pool->open_dedicated(false);
        own->begin();
        own->execute(kInsert, {std::int64_t{1}});
    }
    EXPECT_EQ(pool->acquire()->execute(kCount).at(0, 0).integer(), 0);
}

TEST_F(SqlMemory, close_interrupts_who_waits_for_the_turn) {
    const auto own = pool->open_dedicated(false);
    own->begin();
    auto lease = pool->acquire();
    seam::Thread closer = seam::spawn("closer", [&] {
        seam::sleep_for(20ms);
        pool->close();
    });
    EXPECT_THROW(lease->execute(kCount), DatabaseError);
    closer.join();
    own->rollback();
}

}  // namespace
}  // namespace dbos::sql
