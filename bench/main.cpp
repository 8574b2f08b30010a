// Measures the library against what the database itself can do, interleaved in one run: on this machine only the ratios mean
// something. PostgreSQL: the server of DBOS_TEST_POSTGRES_URL (scripts/with-postgres); SQLite: a file in the temporary folder.
//
//   dbos_bench [--rounds N] [--seconds S] [--only WORD]
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <map>
#include <string>

#include "bench.hpp"

namespace {

constexpr int kFutures = 10000;

struct Options {
    int rounds = 3;
    int seconds = 3;
    std::string only;
};

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!std::strcmp(argv[i], "--rounds")) options.rounds = std::atoi(argv[i + 1]);
        if (!std::strcmp(argv[i], "--seconds")) options.seconds = std::atoi(argv[i + 1]);
        if (!std::strcmp(argv[i], "--only")) options.only = argv[i + 1];
    }
    return options;
}

class Figures {
   public:
    void add(const std::string& name, double value) {
        std::printf("  %-34s %10.0f /s\n", name.c_str(), value);
        std::fflush(stdout);
        values_[name].push_back(value);
    }
    double of(const std::string& name) const {
        const auto found = values_.find(name);
        return found == values_.end() ? 0 : bench::median(found->second);
    }
    /// The median of the ratios of single rounds: what the machine did meanwhile cancels out.
    double ratio(const std::string& name, const std::string& floor) const {
        const auto a = values_.find(name), b = values_.find(floor);
        if (a == values_.end() || b == values_.end()) return 0;
        std::vector<double> ratios;
        for (std::size_t i = 0; i < std::min(a->second.size(), b->second.size()); ++i)
            ratios.push_back(a->second[i] / b->second[i]);
        return bench::median(ratios);
    }

   private:
    std::map<std::string, std::vector<double>> values_;
};

int run(const Options& options) {
    const char* server = std::getenv("DBOS_TEST_POSTGRES_URL");
    if (!server) {
        std::fputs(
            "dbos_bench: DBOS_TEST_POSTGRES_URL is not set; run it as `make bench` or under "
            "scripts/with-postgres\n",
            stderr);
        return 2;
    }
    Figures figures;
    bench::Latency latency, sqlite_latency;
    bench::Waits waits, sqlite_waits;
    const auto wanted = [&](const char* what) {
        return options.only.empty() || std::string(what).find(options.only) != std::string::npos;
    };
    const std::string name = "dbos_bench_" + std::to_string(getpid());
    for (int round = 1; round <= options.rounds; ++round) {
        std::printf("round %d of %d\n", round, options.rounds);
        // A fresh database each round: plans are made while its tables are empty, as in a new installation.
        const std::string url = bench::create_database(server, name);
        const auto file = std::filesystem::temp_directory_path() / (name + ".sqlite");
        const std::string sqlite = "sqlite:///" + file.string();
        try {
            if (wanted("latency"))
                latency = bench::enqueue_to_result(url, 200);  // also creates the schema
            else
                bench::sequential_steps(url, 0.1);
            if (wanted("seq")) {
                bench::empty_tables(url);
                figures.add("floor: sequential commits", bench::postgres_sequential(url, options.seconds));
                figures.add("sequential steps", bench::sequential_steps(url, options.seconds));
            }
            if (wanted("wf1")) {
                bench::empty_tables(url);
                figures.add("floor: batches of 32 workflows", bench::postgres_batched(url, options.seconds));
                bench::empty_tables(url);
                figures.add("one-step workflows, 64 in flight",
                            bench::one_step_workflows(url, 64, options.seconds));
                bench::empty_tables(url);
                figures.add("one-step workflows, 256 in flight",
                            bench::one_step_workflows(url, 256, options.seconds));
            }
            if (wanted("steps")) {
                bench::empty_tables(url);
                figures.add("steps, 64 workflows of 10", bench::many_steps(url, 64, options.seconds));
                bench::empty_tables(url);
                figures.add("steps, 256 workflows of 10", bench::many_steps(url, 256, options.seconds));
            }
            if (wanted("client") && round == options.rounds) {
                // `latency` is the figure of PostgreSQL.
                if (!wanted("latency")) latency = bench::enqueue_to_result(url, 200);
                sqlite_latency = bench::enqueue_to_result(sqlite, 200);
                waits = bench::waiting_futures(url, kFutures, 2 * options.seconds);
                sqlite_waits = bench::waiting_futures(sqlite, kFutures, 2 * options.seconds);
            }
            if (wanted("sqlite")) {
                figures.add("SQLite floor: sequential", bench::sqlite_steps(1, 5000 * options.seconds));
                figures.add("SQLite sequential steps", bench::sequential_steps(sqlite, options.seconds));
                figures.add("SQLite floor: batches of 64", bench::sqlite_steps(64, 30000 * options.seconds));
                figures.add("SQLite steps, 64 workflows of 10",
                            bench::many_steps(sqlite, 64, options.seconds));
                figures.add("SQLite one-step, 64 in flight",
                            bench::one_step_workflows(sqlite, 64, options.seconds));
            }
        } catch (...) {
            bench::drop_database(server, name);
            throw;
        }
        bench::drop_database(server, name);
        for (const char* suffix : {"", "-wal", "-shm", "-dbos-wake", "-dbos-turn"})
            std::filesystem::remove(file.string() + suffix);
    }
    const auto percent = [&](const char* ours, const char* floor) {
        return 100 * figures.ratio(ours, floor);
    };
    std::printf(
        "steps, 64 workflows of 10: %.0f/s; 256: %.0f/s; sqlite 64 of 10: %.0f/s (%.0f %% of its floor); "
        "sqlite wf1@64: %.0f/s; "
        "enqueue-to-result p99 %.1f ms\n",
        figures.of("steps, 64 workflows of 10"), figures.of("steps, 256 workflows of 10"),
        figures.of("SQLite steps, 64 workflows of 10"),
        percent("SQLite steps, 64 workflows of 10", "SQLite floor: batches of 64"),
        figures.of("SQLite one-step, 64 in flight"), latency.p99_ms);
    const auto told = [](const char* database, const bench::Waits& w) {
        std::printf(
            "  %s: %d futures wait: %.1f MiB, %.1f statements/s, and %.1f/s while others end at %.0f/s; all "
            "told "
            "in %.1f s\n",
            database, kFutures, w.mib, w.idle_statements, w.busy_statements, w.others, w.all_told_seconds);
    };
    told("postgres", waits);
    told("sqlite", sqlite_waits);
    std::printf(
        "client: enqueue-to-result p50 %.1f ms, p99 %.1f ms; sqlite p50 %.1f ms, p99 %.1f ms; %d waiting "
        "futures "
        "%.1f MiB, %.1f statements/s; sqlite %.1f MiB, %.1f statements/s\n",
        latency.p50_ms, latency.p99_ms, sqlite_latency.p50_ms, sqlite_latency.p99_ms, kFutures, waits.mib,
        std::max(waits.idle_statements, waits.busy_statements), sqlite_waits.mib,
        std::max(sqlite_waits.idle_statements, sqlite_waits.busy_statements));
    std::printf(
        "bench: seq %.0f steps/s (%.0f %% of floor); wf1@64 %.0f/s (%.0f %%); wf1@256 %.0f/s (%.0f %%); "
        "sqlite seq %.0f/s (%.0f %%); "
        "enqueue-to-result p50 %.1f ms\n",
        figures.of("sequential steps"), percent("sequential steps", "floor: sequential commits"),
        figures.of("one-step workflows, 64 in flight"),
        percent("one-step workflows, 64 in flight", "floor: batches of 32 workflows"),
        figures.of("one-step workflows, 256 in flight"),
        percent("one-step workflows, 256 in flight", "floor: batches of 32 workflows"),
        figures.of("SQLite sequential steps"), percent("SQLite sequential steps", "SQLite floor: sequential"),
        latency.p50_ms);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(parse(argc, argv));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "dbos_bench: %s\n", error.what());
        return 1;
    }
}
