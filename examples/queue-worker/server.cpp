// Takes orders over HTTP and enqueues them. It runs nothing itself, and does not link to what does.
#include <chrono>
#include <string>

#include "../web/web.hpp"
#include "contract.hpp"
#include "page.hpp"

using namespace std::chrono_literals;
using web::Request, web::Response;

web::Json statuses(dbos::Client& client) {
    web::Json all = web::Json::array();
    for (const auto& workflow :
         client.list_workflows({.name = std::string(Work.name()), .sort_desc = true})) {
        web::Json status = {{"workflow_id", workflow.workflow_id},
                            {"workflow_status", workflow.status},
                            {"steps_completed", nullptr},
                            {"num_steps", nullptr}};
        // Nothing as long as it waits in the queue.
        if (const auto progress = client.get_event<Progress>(workflow.workflow_id, kProgress, 0s)) {
            status["steps_completed"] = progress->steps_completed;
            status["num_steps"] = progress->num_steps;
        }
        all.push_back(std::move(status));
    }
    return all;
}

int main(int argc, char** argv) {
    const auto settings = web::parse_settings(argc, argv, kDatabase);
    // Lazy: the worker makes the tables, and may be started later.
    dbos::Client client(
        {.system_database_url = settings.database_url, .application_name = kApplication, .lazy = true});
    web::Server server;
    server.Get("/", [](const Request&, Response& response) { web::reply_html(response, kPage); });
    server.post("/api/workflows", [&](const Request&, Response& response) {
        client.enqueue(Work, {.queue_name = kQueue}, 10);
        web::reply(response, {{"status", "enqueued"}});
    });
    server.Get("/api/workflows",
               [&](const Request&, Response& response) { web::reply(response, statuses(client)); });
    server.start(settings);
    web::wait_for_signal();  // Ctrl-C
}
