// Real processes: killed, stopped and continued, on both databases.
#include <map>
#include <thread>

#include "chaos/worker.hpp"

using namespace std::chrono_literals;
using dbos::test::enqueue;
using dbos::test::eventually;
using dbos::test::Job;
using dbos::test::Process;

namespace {

class Processes : public dbos::test::ChaosTest {
   protected:
    void stop_and_go_on(int lease_ms, std::chrono::seconds stopped_for);
};
DBOS_FOR_EVERY_DATABASE(Processes);

TEST_P(Processes, a_killed_worker_that_never_comes_back_is_taken_over) {
    for (const bool check_pid : {true, false}) {
        Process first = worker(check_pid, 2000), second = worker(check_pid, 2000);
        dbos::Client client(client_options());
        std::vector<dbos::WorkflowHandle<int>> handles;
        for (int i = 0; i < 8; ++i) {
            handles.push_back(client.enqueue(
                Job, {.queue_name = "q", .workflow_id = (check_pid ? "p" : "n") + std::to_string(i)}, 6,
                100));
        }
        const std::string victim = std::to_string(first.pid());
        ASSERT_TRUE(eventually([&] { return side.count(" " + victim) > 4; }));
        first.kill(SIGKILL);
        const auto killed = std::chrono::steady_clock::now();
        for (auto& handle : handles) EXPECT_EQ(handle.get_result({.timeout = 60s}), 21);
        const auto took = std::chrono::steady_clock::now() - killed;
        std::printf("all of it done %.1f s after the kill (pid check %s)\n",
                    std::chrono::duration<double>(took).count(), check_pid ? "on" : "off");
        verify(client, check_pid ? 8 : 16, 6, check_pid ? 4 : 8);
        second.kill(SIGTERM);
        EXPECT_EQ(second.reap(), 0);
    }
}

TEST_P(Processes, kills_at_any_moment_lose_nothing) {
    std::vector<Process> workers;
    for (int i = 0; i < 3; ++i) workers.push_back(worker(true, 2000));
    dbos::Client client(client_options());
    auto handles = enqueue(client, 40, 5, 50);
    std::size_t kills = 0;
    for (std::size_t round = 0; round < 6; ++round) {
        const std::size_t ends = side.count("end ");
        if (!eventually([&] { return side.count("end ") >= ends + 8; }, 60)) break;
        workers[round % 3].kill(SIGKILL);
        workers[round % 3].reap();
        ++kills;
        workers[round % 3] = worker(true, 2000);
    }
    for (auto& handle : handles) EXPECT_EQ(handle.get_result({.timeout = 60s}), 15);
    EXPECT_GE(kills, 3u);
    verify(client, 40, 5, kills * 4);
}

void Processes::stop_and_go_on(int lease_ms, std::chrono::seconds stopped_for) {
    Process stopped = worker(true, lease_ms);
    dbos::Client client(client_options());
    auto handle = client.enqueue(Job, {.queue_name = "q", .workflow_id = "w"}, 8, 150);
    const std::string pid = std::to_string(stopped.pid());
    ASSERT_TRUE(eventually([&] { return side.count("begin 3 w " + pid) == 1; }));
    stop_outside_of_a_write(stopped);
    const auto go_on = std::chrono::steady_clock::now() + stopped_for;
    Process peer = worker(true, lease_ms);
    EXPECT_EQ(handle.get_result({.timeout = 60s}), 36);
    const auto steps_before = client.list_workflow_steps("w");
    const auto lines_before = side.lines().size();
    std::this_thread::sleep_until(go_on);
    stopped.kill(SIGCONT);
    // It has to notice before it may start anything: give it a workflow to show that it is alive again.
    std::vector<dbos::WorkflowHandle<int>> more;
    for (int i = 0; i < 12; ++i)
        more.push_back(
            client.enqueue(Job, {.queue_name = "q", .workflow_id = "m" + std::to_string(i)}, 1, 50));
    for (auto& one : more) EXPECT_EQ(one.get_result({.timeout = 60s}), 1);
    ASSERT_TRUE(eventually([&] { return side.count("end 1 m") >= 12; }));
    std::size_t of_w = 0;
    const auto lines = side.lines();
    for (std::size_t i = lines_before; i < lines.size(); ++i) {
        // The step that was in flight may end; none may begin.
        if (lines[i].starts_with("begin ") && lines[i].find(" w " + pid) != std::string::npos) ++of_w;
    }
    EXPECT_EQ(of_w, 0u);
    const auto steps_after = client.list_workflow_steps("w");
    ASSERT_EQ(steps_after.size(), steps_before.size());
    for (std::size_t i = 0; i < steps_after.size(); ++i) {
        EXPECT_EQ(steps_after[i].completed_at_epoch_ms, steps_before[i].completed_at_epoch_ms);
    }
    stopped.kill(SIGTERM);
    EXPECT_EQ(stopped.reap(), 0);
}

TEST_P(Processes, a_stopped_worker_that_goes_on_repeats_nothing_that_a_peer_has_finished) {
    stop_and_go_on(1500, 0s);
}

TEST_P(Processes, a_worker_stopped_for_fifteen_seconds_with_the_default_lease_repeats_nothing) {
    stop_and_go_on(dbos::test::kDefaultLease, 15s);
}

TEST_P(Processes, sigterm_shuts_down_and_a_peer_finishes) {
    Process first = worker(true, 1500);
    dbos::Client client(client_options());
    auto handles = enqueue(client, 4, 10, 50);
    ASSERT_TRUE(eventually([&] { return side.count("begin ") >= 6; }));
    first.kill(SIGTERM);
    EXPECT_EQ(first.reap(), 0);
    EXPECT_EQ(side.count("down "), 1u);
    Process second = worker(true, 1500);
    for (auto& handle : handles) EXPECT_EQ(handle.get_result({.timeout = 60s}), 55);
    verify(client, 4, 10, 0);  // what was in flight was still recorded
}

TEST_P(Processes, a_database_that_is_blocked_for_longer_than_a_lease_robs_nobody) {
    Process first = worker(false, 1500), second = worker(false, 1500);
    dbos::Client client(client_options());
    auto handles = enqueue(client, 6, 6, 100);
    ASSERT_TRUE(eventually([&] { return side.count("end ") >= 6; }));
    {
        // Nobody can renew: the leases' table is locked (PostgreSQL), or the file's writer lock is held (SQLite).
        auto blocker = open();
        blocker->begin();
        blocker->query(postgres() ? "LOCK TABLE @dbos_cpp_executors IN ACCESS EXCLUSIVE MODE"
                                  : "UPDATE @dbos_cpp_executors SET pid = pid",
                       {}, dbos::sql::Access::write);
        std::this_thread::sleep_for(4s);
        blocker->rollback();
    }
    for (auto& handle : handles) EXPECT_EQ(handle.get_result({.timeout = 60s}), 21);
    verify(client, 6, 6, 0);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE recovery_attempts <> 1"), "0");
}

}  // namespace
