// dbos_chaos_pg [--seed S] [--seconds T]: three workers and a client on a real PostgreSQL server behind a proxy that cuts, delays
// and swallows; workers are killed and stopped, the proxy goes, the server is restarted. Then peace, everything must come to
// its end, and what the server remembers is judged. `--prove` shows that each oracle can fail. `--tours` kills a workflow that uses
// every operation in many places (tours.hpp).
//
// The seed decides what is drawn. When it happens is decided by real processes as well, so a seed gives the same kind of run,
// not the same run.
#include <charconv>
#include <cstdio>
#include <stdexcept>

#include "chaos/pg/run.hpp"
#include "chaos/pg/tours.hpp"
#include "chaos/pg/workload.hpp"
#include "support/database.hpp"

namespace dbos::chaos {

namespace {

constexpr const char* kUsage =
    "usage: dbos_chaos_pg [--seed S] [--seconds T] [--drain T] [--calm] [--every-kind] [--misbehave HOW] | "
    "--tours [--seed S] [--points N] | --prove";

std::uint64_t to_number(const std::string& option, const std::string& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
        throw std::invalid_argument(option + " takes a whole number, got \"" + text + "\"");
    return value;
}

Settings parse(const std::vector<std::string>& arguments) {
    Settings settings;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& option = arguments[i];
        if (option == "--calm") {
            settings.calm = true;
        } else if (option == "--every-kind") {
            settings.every_kind = true;
        } else if (i + 1 == arguments.size()) {
            throw std::invalid_argument(std::string(kUsage) + "; got \"" + option + "\"");
        } else if (const std::string& value = arguments[++i]; option == "--misbehave") {
            settings.misbehave = value;
        } else if (option == "--seed") {
            settings.seed = to_number(option, value);
        } else if (option == "--seconds") {
            settings.duration = std::chrono::seconds(to_number(option, value));
        } else if (option == "--drain") {
            settings.drain = std::chrono::seconds(to_number(option, value));
        } else {
            throw std::invalid_argument(std::string(kUsage) + "; got \"" + option + "\"");
        }
    }
    return settings;
}

TourSettings parse_tours(const std::vector<std::string>& arguments) {
    TourSettings settings;
    for (std::size_t i = 1; i + 1 < arguments.size(); i += 2) {
        const std::uint64_t value = to_number(arguments[i], arguments[i + 1]);
        if (arguments[i] == "--seed") {
            settings.seed = value;
        } else if (arguments[i] == "--points") {
            settings.crash_points = value;
        } else {
            throw std::invalid_argument(std::string(kUsage) + "; got \"" + arguments[i] + "\"");
        }
    }
    if (arguments.size() % 2 == 0)
        throw std::invalid_argument(std::string(kUsage) + "; got \"" + arguments.back() +
                                    "\" without a value");
    return settings;
}

}  // namespace

}  // namespace dbos::chaos

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const bool worker = !arguments.empty() && arguments[0] == "--worker";
    try {
        if (worker) return dbos::chaos::work(arguments);
        if (!arguments.empty() && arguments[0] == "--tour-worker")
            return dbos::chaos::work_on_tours(arguments);
        if (!dbos::test::postgres_url()) {
            std::fprintf(
                stderr,
                "dbos_chaos_pg: DBOS_TEST_POSTGRES_URL is not set: run it under scripts/with-postgres\n");
            return 2;
        }
        if (arguments == std::vector<std::string>{"--prove"}) return dbos::chaos::prove();
        if (!arguments.empty() && arguments[0] == "--tours")
            return dbos::chaos::run_tours(dbos::chaos::parse_tours(arguments));
        return dbos::chaos::run(dbos::chaos::parse(arguments));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", worker ? "worker" : "dbos_chaos_pg", error.what());
        return 2;
    }
}
