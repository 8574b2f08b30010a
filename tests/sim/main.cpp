// dbos_sim: campaigns over seeds, and the replay of one.
//
//     dbos_sim [--seeds N] [--first F] [--jobs J] [--threads] [--hashes] [--any-situations]
//     dbos_sim --replay SEED [--points] [--threads]
//     dbos_sim --crash-points [--jobs J]           a mishap at every database call of one tour (sweep.hpp)
//     dbos_sim --point N                           one of those, with its trace
//     dbos_sim --same [--seeds N] [--first F]      the same trace from threads, fibers, batches and single worlds
//     dbos_sim --bugs                              what can be planted; any of the above with --bug NAME
//     dbos_sim --hunt [--bug NAME] [--seeds N]     the first seed that finds each bug, as tests/sim/planted.txt has them
//     dbos_sim --prove FILE                        plays the seeds of such a file, with their bugs and without
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include "campaign.hpp"
#include "hunt.hpp"
#include "platform/situations.hpp"
#include "scenario.hpp"
#include "sweep.hpp"

namespace {

using namespace dbos::sim;

struct Options {
    std::uint64_t first = 1;
    std::uint64_t seeds = 1000;
    unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
    Tasks tasks = kUsualTasks;
    bool hashes = false;
    bool any_situations = false;
    bool same = false;
    bool hunt = false;
    const char* prove = nullptr;
    bool crash_points = false;
    std::uint64_t point = 0;
    std::uint64_t replay = 0;
    int trace = 1;
};

[[noreturn]] void usage() {
    std::fputs(
        "usage: dbos_sim [--seeds N] [--first F] [--jobs J] [--threads] [--hashes] [--any-situations]\n"
        "       dbos_sim --replay SEED [--points] [--quiet] [--threads]\n"
        "       dbos_sim --crash-points [--jobs J]\n"
        "       dbos_sim --point N [--points] [--quiet]\n"
        "       dbos_sim --same [--seeds N] [--first F] [--jobs J]\n"
        "       dbos_sim --hunt [--bug NAME] [--seeds N] [--first F] [--jobs J]\n"
        "       dbos_sim --prove FILE [--jobs J]\n"
        "       dbos_sim --bugs\n"
        "each with --bug NAME: with a known bug planted in the engine\n",
        stderr);
    std::exit(2);
}

[[noreturn]] void list_bugs() {
    for (int i = 1; i < static_cast<int>(dbos::seam::Bug::count); ++i)
        std::printf("%-32s %s\n", dbos::seam::kBugs[i].name, dbos::seam::kBugs[i].text);
    std::exit(0);
}

Options parse(int count, char** arguments) {
    Options options;
    for (int i = 1; i < count; ++i) {
        const std::string name = arguments[i];
        const auto text = [&] {
            if (++i >= count) usage();
            return arguments[i];
        };
        const auto number = [&]() -> std::uint64_t {
            if (++i >= count) usage();
            char* end = nullptr;
            const std::uint64_t value = std::strtoull(arguments[i], &end, 10);
            if (*end != 0 || end == arguments[i]) usage();
            return value;
        };
        if (name == "--seeds") {
            options.seeds = number();
        } else if (name == "--first") {
            options.first = number();
        } else if (name == "--jobs") {
            options.jobs = static_cast<unsigned>(number());
        } else if (name == "--replay") {
            options.replay = number();
        } else if (name == "--threads") {
            options.tasks = Tasks::threads;
        } else if (name == "--hashes") {
            options.hashes = true;
        } else if (name == "--any-situations") {
            options.any_situations = true;
        } else if (name == "--crash-points") {
            options.crash_points = true;
        } else if (name == "--point") {
            options.point = number();
        } else if (name == "--same") {
            options.same = true;
        } else if (name == "--hunt") {
            options.hunt = true;
        } else if (name == "--prove") {
            options.prove = text();
        } else if (name == "--bug") {
            const auto bug = find_bug(text());
            if (!bug) usage();
            planted_bug = *bug;
        } else if (name == "--bugs") {
            list_bugs();
        } else if (name == "--points") {
            options.trace = 2;
        } else if (name == "--quiet") {
            options.trace = 0;
        } else {
            usage();
        }
    }
    return options;
}

int replay(const Options& options, const std::string& database) {
    Scenario scenario = scenario_of(options.replay);
    scenario.plan.tasks = options.tasks;
    scenario.plan.trace = options.trace;
    std::fprintf(stderr, "%s\n", describe(scenario).c_str());
    const Outcome outcome = play(scenario, database);
    std::printf("sim: seed %" PRIu64 " ended well, hash %016" PRIx64 ", %" PRIu64
                " steps, %.1f s of virtual time\n",
                options.replay, outcome.hash, outcome.steps, static_cast<double>(outcome.virtual_ns) / 1e9);
    std::fflush(nullptr);
    std::_Exit(0);  // frozen stacks stay
}

Plan point_plan(const Options& options, int trace) {
    Plan plan;
    plan.tasks = options.tasks;
    plan.trace = trace;
    return plan;
}

int replay_point(const Options& options, const std::string& database) {
    const auto points = crash_points(database);
    if (options.point > points.size()) usage();
    const CrashPoint& point = points[options.point - 1];
    std::fprintf(stderr, "crash point %" PRIu64 " of %zu: %s, call %" PRIu64 "\n", options.point,
                 points.size(), name_of(point.mishap), point.call);
    play(point, point_plan(options, options.trace), database);
    std::printf("sim: crash point %" PRIu64 " ended well\n", options.point);
    std::fflush(nullptr);
    std::_Exit(0);  // frozen stacks stay
}

/// Worlds are numbered by their crash points here, from 1.
int sweep(const Options& options, const std::string& database) {
    const auto points = crash_points(database);
    const Campaign plan{.worlds = points.size(),
                        .jobs = options.jobs,
                        .tasks = options.tasks,
                        .failed = [&](std::uint64_t number, const std::string& what) {
                            const CrashPoint& point = points[number - 1];
                            std::printf("sim: FAIL crash point %" PRIu64 " (%s, call %" PRIu64
                                        "): %s\n     replay: build/sim/dbos_sim --point %" PRIu64 "\n",
                                        number, name_of(point.mishap), point.call, what.c_str(), number);
                            std::fflush(stdout);
                        }};
    const auto result = run_campaign(plan, [&](std::uint64_t number, Tasks) {
        return play(points[number - 1], point_plan(options, 0), database);
    });
    std::printf("sim: %zu crash points at %" PRIu64 " database calls, %zu failures, %.0f worlds/s\n",
                points.size(), points.empty() ? 0 : points.back().call, result.failures.size(),
                static_cast<double>(result.outcomes.size()) / std::max(result.seconds, 0.001));
    return result.failures.empty() && result.outcomes.size() == points.size() ? 0 : 1;
}

Outcome play_seed(std::uint64_t seed, Tasks tasks, const std::string& database) {
    Scenario scenario = scenario_of(seed);
    scenario.plan.tasks = tasks;
    return play(scenario, database);
}

void print_failure(std::uint64_t seed, const std::string& what) {
    std::string replay = "make sim-replay SEED=" + std::to_string(seed);
    if (planted_bug != dbos::seam::Bug::none)
        replay += std::string(" ARGS=\"--bug ") + name_of(planted_bug) + '"';
    std::printf("sim: FAIL seed %" PRIu64 ": %s\n     replay: %s\n", seed, what.c_str(), replay.c_str());
    std::fflush(stdout);
}

void print_progress(std::uint64_t done, std::uint64_t of, std::uint64_t failures,
                    std::chrono::duration<double> since) {
    std::fprintf(stderr, "sim: %" PRIu64 " of %" PRIu64 " worlds, %" PRIu64 " failures, %.0f worlds/s\n",
                 done, of, failures, static_cast<double>(done) / since.count());
}

/// Of the children that have ended.
double processor_seconds() {
    rusage used{};
    ::getrusage(RUSAGE_CHILDREN, &used);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

int same(const Options& options, const std::string& database) {
    const auto play = [&](std::uint64_t seed, Tasks tasks) { return play_seed(seed, tasks, database); };
    Campaign campaign{
        .first = options.first, .worlds = options.seeds, .jobs = options.jobs, .failed = print_failure};
    const auto batches = run_campaign(campaign, play);
    campaign.batch = 1;
    const auto alone = run_campaign(campaign, play);
    campaign.tasks = Tasks::threads;
    const auto threads = run_campaign(campaign, play);
    campaign.batch = 10;
    const auto again = run_campaign(campaign, play);
    std::uint64_t different = 0;
    for (const auto& [seed, outcome] : batches.outcomes) {
        bool equal = true;
        for (const auto* other : {&alone, &threads, &again}) {
            const auto found = other->outcomes.find(seed);
            equal = equal && found != other->outcomes.end() && found->second.hash == outcome.hash;
        }
        if (equal) continue;
        ++different;
        std::printf("sim: seed %" PRIu64 " differs\n", seed);
    }
    std::printf("sim: %zu seeds, %" PRIu64
                " of them not the same as fibers in a batch, fibers alone, threads alone and "
                "threads in a batch\n",
                batches.outcomes.size(), different);
    return different == 0 && batches.failures.empty() ? 0 : 1;
}

int hunt_bugs(const Options& options, const std::string& database) {
    const dbos::seam::Bug only = planted_bug;
    std::puts(
        "# The first seed that finds each planted bug, and what is then said: written by `make sim-hunt`.");
    int missed = 0;
    for (int i = 1; i < static_cast<int>(dbos::seam::Bug::count); ++i) {
        const auto bug = static_cast<dbos::seam::Bug>(i);
        if (only != dbos::seam::Bug::none && only != bug) continue;
        const Campaign campaign{
            .first = options.first, .worlds = options.seeds, .jobs = options.jobs, .tasks = options.tasks};
        const auto found = hunt(
            bug, campaign, [&](std::uint64_t seed, Tasks tasks) { return play_seed(seed, tasks, database); });
        missed += found ? 0 : 1;
        std::printf("%s%s %" PRIu64 " %s\n", found ? "" : "# not found: ", name_of(bug),
                    found ? found->seed : options.seeds, found ? found->says.c_str() : "worlds");
        std::fflush(stdout);
    }
    return missed == 0 ? 0 : 1;
}

int prove_table(const Options& options, const std::string& database) {
    std::ifstream file(options.prove);
    const auto finds = read_finds(file);
    const auto wrong = prove(finds, options.jobs, 0, [&](std::uint64_t seed, Tasks tasks) {
        return play_seed(seed, tasks, database);
    });
    for (const auto& what : wrong) std::printf("sim: %s\n", what.c_str());
    std::printf("sim: %zu planted bugs, %zu failures\n", finds.size(), wrong.size());
    return wrong.empty() && !finds.empty() ? 0 : 1;
}

int campaign(const Options& options, const std::string& database) {
    share_situations();
    std::uint64_t failures = 0;
    const auto begun = std::chrono::steady_clock::now();
    auto said = begun;
    const Campaign plan{.first = options.first,
                        .worlds = options.seeds,
                        .jobs = options.jobs,
                        .tasks = options.tasks,
                        .failed =
                            [&](std::uint64_t seed, const std::string& what) {
                                ++failures;
                                print_failure(seed, what);
                            },
                        .progress =
                            [&](std::uint64_t done) {
                                const auto now = std::chrono::steady_clock::now();
                                if (now - said < std::chrono::seconds(5)) return;
                                said = now;
                                print_progress(done, options.seeds, failures, now - begun);
                            }};
    const auto result =
        run_campaign(plan, [&](std::uint64_t seed, Tasks tasks) { return play_seed(seed, tasks, database); });
    std::uint64_t steps = 0, crashes = 0;
    dbos::sim::Nanos virtual_ns = 0;
    for (const auto& [seed, outcome] : result.outcomes) {
        steps += outcome.steps;
        crashes += static_cast<std::uint64_t>(outcome.crashes);
        virtual_ns += outcome.virtual_ns;
        if (options.hashes)
            std::printf("%" PRIu64 " %016" PRIx64 " %" PRIu64 "\n", seed, outcome.hash, outcome.steps);
    }
    const auto worlds = static_cast<double>(std::max<std::size_t>(1, result.outcomes.size()));
    std::printf(
        "sim: per world %.0f steps, %.1f s of virtual time, %.2f crashes, %.1f ms of processor time\n",
        static_cast<double>(steps) / worlds, static_cast<double>(virtual_ns) / 1e9 / worlds,
        static_cast<double>(crashes) / worlds, processor_seconds() * 1000 / worlds);
    constexpr int kSituations = static_cast<int>(dbos::seam::Situation::count);
    int unreached = 0;
    for (int i = 0; i < kSituations; ++i) {
        const auto& text = dbos::seam::kSituations[i];
        std::printf("sim:   %-32s %12" PRIu64 "   %s%s\n", text.name, situations[i], text.rule,
                    situations[i] == 0 ? "   UNREACHED" : "");
        unreached += situations[i] == 0 ? 1 : 0;
    }
    std::printf("sim: %zu worlds, %zu failures, %d of %d situations unreached, %.0f worlds/s\n",
                result.outcomes.size() + result.failures.size(), result.failures.size(), unreached,
                kSituations, static_cast<double>(result.outcomes.size()) / std::max(result.seconds, 0.001));
    return result.failures.empty() && (unreached == 0 || options.any_situations) ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    const Options options = parse(count, arguments);
    vfs::install();
    const auto bug = std::exchange(planted_bug, dbos::seam::Bug::none);
    const std::string database = make_template();
    planted_bug = bug;
    if (options.hunt) return hunt_bugs(options, database);
    if (options.prove) return prove_table(options, database);
    if (options.point > 0) return replay_point(options, database);
    if (options.crash_points) return sweep(options, database);
    if (options.replay > 0) return replay(options, database);
    return options.same ? same(options, database) : campaign(options, database);
}
