// A process dies and nobody starts it again: how long its peers take, with the library's own lease times.
#include <algorithm>
#include <sstream>

#include "chaos/worker.hpp"

using namespace std::chrono_literals;
using dbos::test::enqueue;
using dbos::test::eventually;
using dbos::test::Process;

namespace {

constexpr std::size_t kJobs = 4;  // as many as one process runs at a time

class Takeover : public dbos::test::ChaosTest {
   protected:
    struct Worker {
        Process process;
        std::string executor_id;
    };

    Worker start(bool check_pid) {
        Process process = worker(check_pid, dbos::test::kDefaultLease);
        const std::string pid = " " + std::to_string(process.pid());
        for (const std::string& line : side.lines()) {
            if (line.starts_with("up ") && line.ends_with(pid)) return {std::move(process), word(line, 1)};
        }
        throw std::runtime_error("the worker did not say its executor id");
    }

    /// Stops a worker in the middle of its steps, does something, kills it, and waits until others have begun each of these
    /// steps again.
    template <class F>
    void kill_and_wait(Worker& victim, const char* what, F&& meanwhile) {
        const std::string pid = std::to_string(victim.process.pid());
        ASSERT_TRUE(eventually([&] { return in_flight(pid).size() >= 2; }));
        stop_outside_of_a_write(victim.process);
        const auto stopped = std::chrono::steady_clock::now();
        const std::vector<std::string> lost = in_flight(pid);
        meanwhile();
        victim.process.kill(SIGKILL);
        victim.process.reap();
        ASSERT_GE(lost.size(), 1u);
        const auto all_begun_again = [&] {
            return std::ranges::all_of(
                lost, [&](const std::string& step) { return side.count("begin " + step) >= 2; });
        };
        ASSERT_TRUE(eventually(all_begun_again, 60));
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - stopped;
        std::printf("%s: %zu steps in flight were begun again by peers after %.2f s\n", what, lost.size(),
                    took.count());
    }

    /// "STEP ID" of what this process has begun and not ended.
    std::vector<std::string> in_flight(const std::string& pid) {
        std::map<std::string, int> open;
        for (const std::string& line : side.lines()) {
            if (!line.ends_with(" " + pid)) continue;
            if (line.starts_with("begin ")) ++open[word(line, 1) + " " + word(line, 2)];
            if (line.starts_with("end ")) --open[word(line, 1) + " " + word(line, 2)];
        }
        std::vector<std::string> steps;
        for (const auto& [step, count] : open) {
            if (count > 0) steps.push_back(step);
        }
        return steps;
    }

    /// Rows as a process with many waiting workflows has them: PENDING, of this executor.
    void add_pending(const std::string& executor_id, int count) {
        const std::string version =
            scalar("SELECT version FROM @dbos_cpp_executors WHERE executor_id = '" + executor_id + "'");
        const std::string numbers =
            postgres() ? "SELECT g FROM generate_series(1, " + std::to_string(count) + ") g"
                       : "WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < " +
                             std::to_string(count) + ") SELECT g FROM n";
        execute(
            "INSERT INTO @workflow_status (workflow_uuid, status, name, queue_name, executor_id, created_at, "
            "updated_at,"
            " application_version, application_name, recovery_attempts, serialization, owner_xid, "
            "creator_xid)"
            " SELECT 'many-' || g, 'PENDING', 'job', 'many', '" +
            executor_id + "', g, g, '" + version + "', 'chaos', 1, 'portable_json', 'token', 'token' FROM (" +
            numbers + ") n");
        execute(
            "INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp)"
            " SELECT workflow_uuid, '{\"positionalArgs\":[0,0],\"namedArgs\":{}}', created_at FROM "
            "@workflow_status"
            " WHERE queue_name = 'many'");
    }

    static std::string word(const std::string& line, int number) {
        std::istringstream words(line);
        std::string text;
        for (int n = 0; n <= number; ++n) words >> text;
        return text;
    }
};
DBOS_FOR_EVERY_DATABASE(Takeover);

TEST_P(Takeover, by_the_check_of_the_pid_or_when_the_lease_has_lapsed) {
    for (const bool check_pid : {true, false}) {
        Worker first = start(check_pid);
        dbos::Client client(client_options());
        std::vector<dbos::WorkflowHandle<int>> handles;
        for (std::size_t i = 0; i < kJobs; ++i) {
            handles.push_back(client.enqueue(
                dbos::test::Job,
                {.queue_name = "q", .workflow_id = (check_pid ? "p" : "n") + std::to_string(i)}, 10, 200));
        }
        ASSERT_TRUE(
            eventually([&] { return in_flight(std::to_string(first.process.pid())).size() == kJobs; }));
        Worker second = start(check_pid);
        kill_and_wait(first, check_pid ? "pid check on" : "pid check off", [] {});
        for (auto& handle : handles) EXPECT_EQ(handle.get_result({.timeout = 60s}), 55);
        verify(client, check_pid ? kJobs : 2 * kJobs, 10, check_pid ? 4 : 8);
    }
}

TEST_P(Takeover, of_three_processes_with_ten_thousand_pending_rows) {
    Worker victim = start(false), second = start(false), third = start(false);
    dbos::Client client(client_options());
    auto handles = enqueue(client, 10, 6, 400);
    kill_and_wait(victim, "three processes, 10 000 rows, pid check off",
                  [&] { add_pending(victim.executor_id, 10'000); });
    for (auto& handle : handles) EXPECT_EQ(handle.get_result({.timeout = 90s}), 21);
    EXPECT_TRUE(eventually(
        [&] {
            return scalar(
                       "SELECT count(*) FROM @workflow_status WHERE queue_name = 'many' AND status = "
                       "'SUCCESS'") == "10000";
        },
        120));
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status <> 'SUCCESS'"), "0");
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE recovery_attempts > 2"), "0");
}

}  // namespace
