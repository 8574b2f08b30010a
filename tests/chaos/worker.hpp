// Worker processes for the chaos tests: the test program again, with --worker.
//
// A worker logs `begin STEP ID PID` before and `end STEP ID PID` after the work of a step, in an append-only file. The invariants
// are read off that file and the database: every workflow ends, and no step begins after its record was committed.
#pragma once

#include <sqlite3.h>
#include <sys/file.h>

#include <map>
#include <thread>

#include "support/app.hpp"
#include "support/process.hpp"

namespace dbos::test {

using namespace std::chrono_literals;

/// As `lease_ms` of a worker: the library's own times.
inline constexpr int kDefaultLease = 0;

inline constexpr auto Job = dbos::workflow<int(int, int)>("job");  // steps, milliseconds a step

inline int job(dbos::Context& ctx, int steps, int ms, const SideLog& side) {
    const std::string me = ctx.workflow_id();
    int sum = 0;
    for (int i = 1; i <= steps; ++i) {
        sum += ctx.step("work", [&] {
            const std::string tail = std::to_string(i) + " " + me + " " + std::to_string(getpid());
            side.write("begin " + tail);
            std::this_thread::sleep_for(std::chrono::milliseconds(ms));
            side.write("end " + tail);
            return i;
        });
    }
    return sum;
}

inline int work(const std::vector<std::string>& arguments) {
    dbos::AppOptions options;
    options.name = "chaos";
    options.system_database_url = arguments.at(1);
    options.dbos_system_schema = arguments.at(2);
    const SideLog side(arguments.at(3));
    options.check_pid = arguments.at(4) == "pid";
    if (const int lease_ms = std::stoi(arguments.at(5)); lease_ms != kDefaultLease) {
        options.lease_duration = std::chrono::milliseconds(lease_ms);
        options.lease_renewal = options.lease_duration / 4;
    }
    dbos::App app(options);
    app.implement(Job, [&](dbos::Context& ctx, int steps, int ms) { return job(ctx, steps, ms, side); });
    app.register_queue({.name = "q", .worker_concurrency = 4});
    app.register_queue({.name = "many"});
    app.launch();
    side.write("up " + app.executor_id() + " " + std::to_string(getpid()));
    app.wait();
    side.write("down " + std::to_string(getpid()));
    return 0;
}

class ChaosTest : public dbos::test::AppTest {
   public:
    Process worker(bool check_pid, int lease_ms) {
        const std::size_t before = side.count("up ");
        Process process({"--worker", database().url(), database().schema(), side_path(),
                         check_pid ? "pid" : "no-pid", std::to_string(lease_ms)});
        EXPECT_TRUE(eventually([&] { return side.count("up ") > before; }, 60));
        return process;
    }
    std::string side_path() const { return (directory_.path() / "side.log").string(); }
    dbos::ClientOptions client_options() {
        dbos::ClientOptions options;
        options.system_database_url = database().url();
        options.dbos_system_schema = database().schema();
        options.application_name = "chaos";
        options.log_sink = log.sink();
        return options;
    }
    /// No step ran again after its record, and none twice but for what was in flight at a death.
    void verify(dbos::Client& client, std::size_t workflows, int steps, std::size_t repeats_allowed) {
        std::map<std::string, int> begun, ended;
        for (const auto& line : side.lines()) {
            const std::string key = line.substr(line.find(' ') + 1, line.rfind(' ') - line.find(' ') - 1);
            if (line.starts_with("begin ")) ++begun[key];
            if (line.starts_with("end ")) ++ended[key];
        }
        std::size_t repeats = 0;
        for (const auto& [key, times] : begun) repeats += static_cast<std::size_t>(times - 1);
        EXPECT_EQ(begun.size(), workflows * static_cast<std::size_t>(steps));
        EXPECT_LE(repeats, repeats_allowed);
        EXPECT_EQ(
            client
                .list_workflows({.status = dbos::Status::success, .load_input = false, .load_output = false})
                .size(),
            workflows);
    }

    /// Who is stopped within a write to a SQLite file blocks every other writer until it goes on: not what is tested here.
    void stop_outside_of_a_write(const Process& process) {
        for (;;) {
            process.kill(SIGSTOP);
            if (postgres() || file_is_writable()) return;
            process.kill(SIGCONT);
            std::this_thread::sleep_for(2ms);
        }
    }

   protected:
    bool file_is_writable() {
        const std::string file = options().url.path;
        const int turn = ::open((file + "-dbos-turn").c_str(), O_RDWR | O_CLOEXEC);
        const bool free_turn = turn < 0 || ::flock(turn, LOCK_EX | LOCK_NB) == 0;
        if (turn >= 0) ::close(turn);
        sqlite3* db = nullptr;
        bool free_file = sqlite3_open(file.c_str(), &db) == SQLITE_OK;
        sqlite3_busy_timeout(db, 20);
        free_file = free_file &&
                    sqlite3_exec(db, "BEGIN IMMEDIATE; ROLLBACK", nullptr, nullptr, nullptr) == SQLITE_OK;
        sqlite3_close(db);
        return free_turn && free_file;
    }

   private:
    dbos::test::TemporaryDirectory directory_;

   public:
    SideLog side{side_path()};
};

inline std::vector<dbos::WorkflowHandle<int>> enqueue(dbos::Client& client, int count, int steps, int ms) {
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int i = 0; i < count; ++i)
        handles.push_back(
            client.enqueue(Job, {.queue_name = "q", .workflow_id = "w" + std::to_string(i)}, steps, ms));
    return handles;
}

}  // namespace dbos::test
