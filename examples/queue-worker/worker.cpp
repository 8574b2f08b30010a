// Runs what the server enqueues. Any number of these may run, here or, with PostgreSQL, elsewhere.
#include <chrono>
#include <iostream>
#include <thread>

#include "../web/settings.hpp"
#include "contract.hpp"

using namespace std::chrono_literals;

void work(dbos::Context& ctx, int num_steps) {
    ctx.set_event(kProgress, Progress{0, num_steps});
    for (int i = 0; i < num_steps; ++i) {
        ctx.step("step", [&] {
            std::this_thread::sleep_for(1s);
            std::cout << "Step " << i << " of " << ctx.workflow_id() << " is done" << std::endl;
        });
        ctx.set_event(kProgress, Progress{i + 1, num_steps});
    }
}

int main(int argc, char** argv) {
    const auto settings = web::parse_settings(argc, argv, kDatabase);
    dbos::App app({.name = kApplication, .system_database_url = settings.database_url});
    app.implement(Work, work);
    app.register_queue({.name = kQueue});
    app.launch();
    std::cout << "Waiting for work" << std::endl;
    app.wait();  // until Ctrl-C
}
