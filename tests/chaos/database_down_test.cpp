// The server goes away for longer than a lease and comes back: nobody is robbed, nothing is lost. Needs a server of its own
// (DBOS_TEST_OWN_SERVER=1 under scripts/with-postgres), because it stops it.
#include <sys/stat.h>

#include <cstdlib>
#include <thread>

#include "chaos/worker.hpp"

using namespace std::chrono_literals;
using dbos::test::enqueue;
using dbos::test::eventually;

namespace {

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

/// pg_ctl as the owner of the data directory.
int pg_ctl(const std::string& arguments) {
    const std::string data = environment("DBOS_TEST_POSTGRES_DATA");
    struct stat owner{};
    if (stat(data.c_str(), &owner) != 0) return -1;
    std::string command = environment("DBOS_TEST_POSTGRES_BIN") + "/pg_ctl -D " + data + " -w -l " + data +
                          "/restart.log " + arguments + " > /dev/null 2>&1";
    if (owner.st_uid != getuid())
        command = "cd / && setpriv --reuid=" + std::to_string(owner.st_uid) +
                  " --regid=" + std::to_string(owner.st_gid) + " --clear-groups " + command;
    return std::system(command.c_str());
}

class DatabaseDown : public dbos::test::ChaosTest {};
INSTANTIATE_TEST_SUITE_P(Every, DatabaseDown, testing::Values(dbos::sql::Backend::postgres),
                         dbos::test::backend_name);

TEST_P(DatabaseDown, for_several_leases_robs_nobody_and_loses_nothing) {
    if (environment("DBOS_TEST_OWN_SERVER") != "1")
        GTEST_SKIP() << "it stops the server: run it with DBOS_TEST_OWN_SERVER=1";
    const std::string given = environment("DBOS_TEST_DOWN_SECONDS");
    const int seconds = given.empty() ? 6 : std::stoi(given);
    auto first = worker(false, 2000), second = worker(false, 2000);
    dbos::Client client(client_options());
    auto handles = enqueue(client, 8, 6, 100);
    ASSERT_TRUE(eventually([&] { return side.count("end ") >= 8; }));
    ASSERT_EQ(pg_ctl("stop -m immediate"), 0);
    std::this_thread::sleep_for(std::chrono::seconds(seconds));
    ASSERT_EQ(pg_ctl("start -o '-p " + environment("PGPORT") + "'"), 0);
    for (auto& handle : handles) EXPECT_EQ(handle.get_result({.timeout = 90s}), 21);
    verify(client, 8, 6, 0);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE recovery_attempts <> 1"), "0");
    first.kill(SIGTERM);
    second.kill(SIGTERM);
    EXPECT_EQ(first.reap(), 0);
    EXPECT_EQ(second.reap(), 0);
}

}  // namespace
