// Many processes at once, on an empty database and on an old one. Each is this program, started again as a child.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "schema_crash.hpp"
#include "schema_support.hpp"
#include "sysdb/schema/ddl.hpp"

namespace dbos::schema_test {
namespace {

using sysdb::migrate;

// The body of a child: migrates DBOS_TEST_CHILD_URL; with DBOS_TEST_CHILD_KILL_AT it is killed at that call.
TEST(SchemaRaceChild, DISABLED_Migrate) {
    const char* url = std::getenv("DBOS_TEST_CHILD_URL");
    ASSERT_NE(url, nullptr);
    sql::OpenOptions options;
    options.url = sql::Url::parse(url);
    const char* kill_at = std::getenv("DBOS_TEST_CHILD_KILL_AT");
    if (kill_at == nullptr) {
        migrate(options, quick());
        return;
    }
    CrashingConnection victim(sql::open(options), std::atoi(kill_at), CrashingConnection::How::kill);
    migrate(victim, "dbos", quick());
}

pid_t start_child(const std::string& url, int kill_at = 0) {
    std::vector<std::string> variables{"DBOS_TEST_CHILD_URL=" + url};
    if (kill_at > 0) variables.push_back("DBOS_TEST_CHILD_KILL_AT=" + std::to_string(kill_at));
    std::vector<char*> environment;
    for (char** entry = ::environ; *entry != nullptr; ++entry) {
        const std::string_view text(*entry);
        if (!text.starts_with("GTEST_") && !text.starts_with("DBOS_TEST_CHILD_"))
            environment.push_back(*entry);
    }
    for (std::string& variable : variables) environment.push_back(variable.data());
    environment.push_back(nullptr);
    std::string program = "/proc/self/exe";
    std::string filter = "--gtest_filter=SchemaRaceChild.DISABLED_Migrate";
    std::string disabled = "--gtest_also_run_disabled_tests";
    std::string brief = "--gtest_brief=1";
    std::array<char*, 5> arguments{program.data(), filter.data(), disabled.data(), brief.data(), nullptr};
    pid_t pid = -1;
    EXPECT_EQ(::posix_spawn(&pid, program.c_str(), nullptr, nullptr, arguments.data(), environment.data()),
              0);
    return pid;
}

int wait_for(pid_t pid) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return status;
}

void expect_all_succeed(const std::vector<pid_t>& children) {
    for (const pid_t child : children) {
        const int status = wait_for(child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
            << "child " << child << ": status " << status;
    }
}

Json final_postgres() { return expected_catalog(schema_vector("postgres-catalog.json")); }

TEST(SchemaRace, EightProcessesOnAMissingDatabase) {
    SKIP_WITHOUT_POSTGRES();
    const PostgresDatabase admin;
    sql::OpenOptions options;
    std::string url;
    {
        const PostgresDatabase other;
        options = other.options();
        url = other.url();
    }  // gone again
    std::vector<pid_t> children;
    for (int i = 0; i < 8; ++i) children.push_back(start_child(url));
    expect_all_succeed(children);
    {
        const auto connection = sql::open(options);
        EXPECT_EQ(difference(final_postgres(), dump_postgres(*connection, "dbos")), "");
    }
    admin.connect()->script("DROP DATABASE " + options.url.database + " WITH (FORCE)");
}

TEST(SchemaRace, EightProcessesOnAnEmptyDatabaseOneKilled) {
    SKIP_WITHOUT_POSTGRES();
    for (const int kill_at : {5, 7, 8}) {
        SCOPED_TRACE(kill_at);
        const PostgresDatabase database;
        // The victim starts first, so that it often holds the lock when it dies.
        const pid_t victim = start_child(database.url(), kill_at);
        std::vector<pid_t> children;
        for (int i = 0; i < 7; ++i) children.push_back(start_child(database.url()));
        wait_for(victim);
        expect_all_succeed(children);
        const auto connection = database.connect();
        EXPECT_EQ(difference(final_postgres(), dump_postgres(*connection, "dbos")), "");
        EXPECT_EQ(scalar(*connection, "SELECT string_agg(version::text, ',') FROM dbos.dbos_migrations"),
                  "125");
    }
}

TEST(SchemaRace, EightProcessesOnAnOldDatabaseOneKilled) {
    SKIP_WITHOUT_POSTGRES();
    const PostgresDatabase database;
    {
        const auto connection = database.connect();
        connection->script(build_script(schema_vector("postgres-catalog-v99.json"), "dbos"));
        const sysdb::schema::Target target;
        connection->script(sysdb::schema::notify_function(target) + ";" +
                           sysdb::schema::notify_trigger(target));
    }
    const pid_t victim = start_child(database.url(), 60);
    std::vector<pid_t> children;
    for (int i = 0; i < 7; ++i) children.push_back(start_child(database.url()));
    wait_for(victim);
    expect_all_succeed(children);
    const auto connection = database.connect();
    EXPECT_EQ(difference(final_postgres(), dump_postgres(*connection, "dbos")), "");
}

TEST(SchemaRace, EightProcessesOnOneSqliteFileOneKilled) {
    const SqliteFile file;
    const std::string url = "sqlite:///" + file.path();
    std::vector<pid_t> children;
    const pid_t victim = start_child(url, 5);
    for (int i = 0; i < 7; ++i) children.push_back(start_child(url));
    wait_for(victim);
    expect_all_succeed(children);
    const auto connection = file.connect();
    EXPECT_EQ(difference(expected_catalog(schema_vector("sqlite-catalog.json")), dump_sqlite(*connection)),
              "");
}

}  // namespace
}  // namespace dbos::schema_test
