// One application of a mixed fleet, in C++ (see fleet in run, and docs/wire/interop.md).
//
//   interop_fleet URL COUNT LANGUAGES    as fleet.py, as application fleet-cpp
#include <chrono>
#include <dbos/dbos.hpp>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

constexpr auto FleetJob = dbos::workflow<std::string(std::string, int)>("fleet_job");

void enqueue(dbos::Client& client, int count, const std::vector<std::string>& languages) {
    for (int number = 0; number < count; ++number) {
        for (const std::string& language : languages) {
            for (const char* kind : {"shared", "rated", "keyed"}) {
                dbos::EnqueueOptions options;
                options.queue_name = std::string(kind) + "-" + language;
                options.application_name = "fleet-" + language;
                if (kind == std::string("keyed"))
                    options.queue_partition_key = "key" + std::to_string(number % 2);
                client.enqueue(FleetJob, options, "cpp", number);
            }
        }
    }
    std::cout << "ENQUEUED" << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    std::vector<std::string> languages;
    std::istringstream list(argv[3]);
    for (std::string language; std::getline(list, language, ',');) languages.push_back(language);

    dbos::App app(
        {.name = "fleet-cpp", .system_database_url = argv[1], .application_version = "fleet-cpp-1"});
    app.implement(FleetJob, [](dbos::Context& ctx, const std::string& origin, int number) {
        return ctx.step("work", [&] {
            std::this_thread::sleep_for(50ms);
            return origin + " " + std::to_string(number) + " by cpp";
        });
    });
    app.register_queue({.name = "shared-cpp", .concurrency = 3});
    app.register_queue({.name = "rated-cpp", .limiter = {.limit = 4, .period = 1s}});
    app.register_queue({.name = "keyed-cpp", .partition_concurrency = 1});
    app.launch();
    std::cout << "READY" << std::endl;
    // Ends with the process: it may wait for a line that never comes.
    std::thread([&app, &languages, count = std::stoi(argv[2])] {
        std::string line;
        if (std::getline(std::cin, line)) enqueue(app.client(), count, languages);
    }).detach();
    app.wait();
    std::cout.flush();
    std::_Exit(0);
}
