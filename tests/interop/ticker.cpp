// One of two executors on one schedule, in C++, and who looks at what they do (see tick in run, and docs/wire/interop.md).
//
//   interop_ticker URL    joins a Python executor of the application `ticking` and fires with it
#include <algorithm>
#include <chrono>
#include <iostream>
#include <set>
#include <string>
#include <thread>

#include <dbos/dbos.hpp>

using namespace std::chrono_literals;

namespace {

constexpr auto Ticked =
    dbos::workflow<dbos::Value(std::chrono::system_clock::time_point, dbos::Value)>("ticked");

int failures = 0;
void check(const std::string& name, bool holds, const std::string& got) {
    std::cout << (holds ? "ok      " : "not ok  ") << name << (holds ? "" : ": " + got) << std::endl;
    failures += holds ? 0 : 1;
}

std::int64_t second_of(const std::string& id) {
    return dbos::Instant(id.substr(std::string("sched-both-").size())).epoch_ms() / 1000;
}

/// What ran of the schedule, in the order of its ticks.
std::vector<dbos::WorkflowStatus> runs(dbos::Client& client) {
    auto found = client.list_workflows({.load_input = false, .load_output = false, .schedule_name = "both"});
    std::sort(found.begin(), found.end(), [](const auto& one, const auto& other) {
        return second_of(one.workflow_id) < second_of(other.workflow_id);
    });
    return found;
}

void tick(dbos::App& app) {
    dbos::Client& client = app.client();
    client.create_schedule({.schedule_name = "both",
                            .workflow_name = "ticked",
                            .schedule = "* * * * * *",
                            .context = "of both",
                            .cron_timezone = "America/New_York",
                            .style = dbos::ScheduleStyle::python});
    const auto by_cpp = [](const auto& run) { return run.serialization == "portable_json"; };
    std::vector<dbos::WorkflowStatus> found;
    std::size_t ours = 0;
    for (int i = 0; i < 600; ++i) {
        std::this_thread::sleep_for(100ms);
        found = runs(client);
        ours = static_cast<std::size_t>(std::count_if(found.begin(), found.end(), by_cpp));
        if (found.size() >= 20 && ours >= 3 && found.size() - ours >= 3) break;
    }
    check("schedule: both executors have fired", ours >= 3 && found.size() - ours >= 3,
          std::to_string(ours) + " of " + std::to_string(found.size()) + " by C++");
    client.delete_schedule("both");
    std::this_thread::sleep_for(2s);
    found = runs(client);
    std::set<std::int64_t> seconds;
    for (const auto& run : found) seconds.insert(second_of(run.workflow_id));
    check("schedule: no tick ran twice", seconds.size() == found.size(), std::to_string(found.size()));
    const auto length = static_cast<std::size_t>(*seconds.rbegin() - *seconds.begin() + 1);
    check("schedule: no tick is missing", length == found.size(),
          std::to_string(found.size()) + " in " + std::to_string(length) + " s");
    // What Python started is in its own format, which is not read here.
    bool all_ended = true, same = true;
    for (const auto& run : found) {
        const auto handle = client.retrieve_workflow<dbos::Value>(run.workflow_id);
        try {
            const dbos::Value result = handle.get_result({.timeout = 60s});
            same = same && (!by_cpp(run) || result == dbos::Value("of both"));
        } catch (const dbos::DecodeError&) {
            same = same && !by_cpp(run);
        }
        all_ended = all_ended && handle.get_status().status == "SUCCESS";
    }
    check("schedule: every run has ended well", all_ended, "another status");
    check("schedule: those that C++ fired have got the context in Python", same, "another");
    const auto last =
        client.list_workflows({.start_time = std::chrono::system_clock::now() - 1s, .name = "ticked"});
    check("schedule: a deleted one fires no more", last.empty(), std::to_string(last.size()));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: interop_ticker URL\n";
        return 2;
    }
    try {
        dbos::App app({.name = "ticking", .system_database_url = argv[1], .application_version = "cpp-1"});
        app.implement(Ticked, [](dbos::Context&, std::chrono::system_clock::time_point,
                                 const dbos::Value& context) { return context; });
        app.launch();
        app.client().set_latest_application_version("python-1");
        tick(app);
    } catch (const std::exception& error) {
        std::cerr << "interop_ticker: " << error.what() << '\n';
        return 1;
    }
    return failures == 0 ? 0 : 1;
}
