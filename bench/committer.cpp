// The committer driven bare, with no application and no user code, beside the same floors: where time goes below the
// runtime. One line a figure and round.
//
//   dbos_bench_committer [--rounds N] [--seconds S] [--only WORD]
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "bench.hpp"
#include "sysdb/database.hpp"
#include "sysdb/schema/migrate.hpp"

namespace {

using Clock = std::chrono::steady_clock;
namespace seam = dbos::seam;
namespace sysdb = dbos::sysdb;
using sysdb::DatabaseOptions;
using sysdb::Fence;
using sysdb::Millis;
using sysdb::NewWorkflow;
using sysdb::OutcomeResult;
using sysdb::StartResult;
using sysdb::StepRecord;
using sysdb::StepResult;
using sysdb::SystemDatabase;

NewWorkflow workflow(const std::string& id) {
    NewWorkflow w;
    w.workflow_id = id;
    w.token = "98f00d9f-84f4-4cc1-8993-" + id.substr(id.size() - 12);
    w.status = "PENDING";
    w.name = "wf1";
    w.inputs = R"({"positionalArgs":[1],"namedArgs":{}})";
    w.serialization = "portable_json";
    w.executor_id = "local";
    w.application_version = "v1";
    w.application_name = "bench";
    return w;
}

StepRecord step(std::int32_t number, Millis now) {
    StepRecord record;
    record.function_id = number;
    record.function_name = "s";
    record.output = "2";
    record.started_at_ms = record.completed_at_ms = now;
    record.serialization = "portable_json";
    record.application_name = "bench";
    return record;
}

std::string id_of(int thread, long number) {
    char id[64];  // more than any int and long take
    std::snprintf(id, sizeof id, "%08llx-bbbb-cccc-%04d-%012ld",
                  static_cast<unsigned long long>(seam::random_u64() & 0xffffffffu), thread, number);
    return id;
}

void check(bool ok) {
    if (!ok) throw std::runtime_error("a write did not have the expected result");
}

struct Rate {
    double per_second = 0;
    double cpu_us = 0;  // of this process, for each
};

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Runs `body(thread, number)`, which returns how much it did, for a while on many threads.
template <class F>
Rate rate(int threads, double seconds, F&& body) {
    std::atomic<long> done{0};
    std::atomic<bool> stop{false};
    std::vector<std::thread> running;
    running.reserve(static_cast<std::size_t>(threads));
    const double cpu = cpu_seconds();
    const auto start = Clock::now();
    for (int thread = 0; thread < threads; ++thread) {
        running.emplace_back([&, thread] {
            for (long number = 0; !stop.load(std::memory_order_relaxed); ++number)
                done.fetch_add(body(thread, number));
        });
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const double count = static_cast<double>(done.load());
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    const double used = cpu_seconds() - cpu;
    stop.store(true);
    for (std::thread& thread : running) thread.join();
    return {count / elapsed, 1e6 * used / count};
}

DatabaseOptions options_for(const std::string& url) {
    DatabaseOptions options;
    options.open.url = dbos::sql::Url::parse(url);
    return options;
}

/// Checkpoints a second of one workflow, one after the other.
Rate sequential(const std::string& url, double seconds) {
    SystemDatabase system(options_for(url));
    const NewWorkflow w = workflow(id_of(0, 0));
    system.start_workflow(w);
    const Fence fence{w.workflow_id, w.token};
    return rate(1, seconds, [&](int, long number) {
        const auto record = step(static_cast<std::int32_t>(number), system.clock().now_ms());
        check(system.record_step(fence, record).kind == StepResult::Kind::recorded);
        return 1;
    });
}

/// One-step workflows a second (start, step, outcome), `callers` at a time.
Rate workflows(const std::string& url, int callers, double seconds) {
    SystemDatabase system(options_for(url));
    return rate(callers, seconds, [&](int thread, long number) {
        const NewWorkflow w = workflow(id_of(thread, number));
        const Fence fence{w.workflow_id, w.token};
        check(system.start_workflow(w).kind == StartResult::Kind::created);
        check(system.record_step(fence, step(1, system.clock().now_ms())).kind == StepResult::Kind::recorded);
        check(system.record_outcome({fence, true, "2", {}}) == OutcomeResult::recorded);
        return 1;
    });
}

/// Checkpoints a second, `callers` workflows of ten steps at a time.
Rate steps(const std::string& url, int callers, double seconds) {
    SystemDatabase system(options_for(url));
    return rate(callers, seconds, [&](int thread, long number) {
        const NewWorkflow w = workflow(id_of(thread, number));
        const Fence fence{w.workflow_id, w.token};
        check(system.start_workflow(w).kind == StartResult::Kind::created);
        for (std::int32_t n = 0; n < 10; ++n) {
            check(system.record_step(fence, step(n, system.clock().now_ms())).kind ==
                  StepResult::Kind::recorded);
        }
        check(system.record_outcome({fence, true, "2", {}}) == OutcomeResult::recorded);
        return 10;
    });
}

void report(const char* name, const Rate& ours, double floor) {
    std::printf("%-24s %8.0f/s, floor %8.0f/s, %3.0f %%, %5.0f us of processor each\n", name, ours.per_second,
                floor, 100 * ours.per_second / floor, ours.cpu_us);
    std::fflush(stdout);
}

void on_postgres(const std::string& server, int seconds, const std::string& only) {
    const auto wanted = [&](const char* name) { return std::string(name).find(only) != std::string::npos; };
    const std::string name = "dbos_bench_committer_" + std::to_string(::getpid());
    struct Dropped {
        const std::string &server, &name;
        ~Dropped() { bench::drop_database(server, name); }
    } const dropped{server, name};
    const auto fresh = [&] {
        bench::drop_database(server, name);
        const std::string url = bench::create_database(server, name);
        sysdb::migrate(options_for(url).open);
        return url;
    };
    if (wanted("seq")) {
        const double floor = bench::postgres_sequential(fresh(), seconds);
        report("seq", sequential(fresh(), seconds), floor);
    }
    if (wanted("wf1")) {
        const double floor = bench::postgres_batched(fresh(), seconds);
        report("wf1@64", workflows(fresh(), 64, seconds), floor);
        report("wf1@256", workflows(fresh(), 256, seconds), floor);
    }
    if (wanted("steps")) {
        const double floor = bench::postgres_batched(fresh(), seconds);
        report("steps@64 (wf1 floor)", steps(fresh(), 64, seconds), floor);
        report("steps@256 (wf1 floor)", steps(fresh(), 256, seconds), floor);
    }
}

void on_sqlite(int seconds, const std::string& only) {
    const auto wanted = [&](const char* name) { return std::string(name).find(only) != std::string::npos; };
    const auto folder =
        std::filesystem::temp_directory_path() / ("dbos_bench_committer_" + std::to_string(::getpid()));
    int files = 0;
    const auto fresh = [&] {
        std::filesystem::create_directories(folder);
        const std::string url = "sqlite:///" + (folder / (std::to_string(++files) + ".sqlite")).string();
        sysdb::migrate(options_for(url).open);
        return url;
    };
    if (wanted("sqlite-seq"))
        report("sqlite-seq", sequential(fresh(), seconds), bench::sqlite_steps(1, 5000 * seconds));
    if (wanted("sqlite-one"))
        report("sqlite-one-step@64", workflows(fresh(), 64, seconds),
               bench::sqlite_steps(64, 30000 * seconds));
    if (wanted("sqlite-steps"))
        report("sqlite-steps@64", steps(fresh(), 64, seconds), bench::sqlite_steps(64, 30000 * seconds));
    std::filesystem::remove_all(folder);
}

}  // namespace

int main(int argc, char** argv) {
    int rounds = 3, seconds = 3;
    std::string only;
    for (int at = 1; at + 1 < argc; at += 2) {
        if (!std::strcmp(argv[at], "--rounds")) rounds = std::atoi(argv[at + 1]);
        if (!std::strcmp(argv[at], "--seconds")) seconds = std::atoi(argv[at + 1]);
        if (!std::strcmp(argv[at], "--only")) only = argv[at + 1];
    }
    try {
        const char* const server = std::getenv("DBOS_TEST_POSTGRES_URL");
        if (!server) std::fputs("DBOS_TEST_POSTGRES_URL is not set: SQLite alone\n", stderr);
        for (int round = 0; round < rounds; ++round) {
            if (server) on_postgres(server, seconds, only);
            on_sqlite(seconds, only);
        }
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "dbos_bench_committer: %s\n", error.what());
        return 1;
    }
}
