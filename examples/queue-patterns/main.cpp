// Fair queueing, rate limits and debouncing: three things that queues can do for many tenants.
#include <chrono>
#include <dbos/dbos.hpp>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "../web/web.hpp"
#include "page.hpp"

using namespace std::chrono_literals;
using web::Json, web::Request, web::Response;

namespace {

constexpr auto kWork = 5s;  // how long each workflow takes

// --- fair queueing: two at a time of each tenant, four in all in this process. A manager of each tenant's queue waits for the work
// on the queue that all tenants share.

inline constexpr auto FairManager = dbos::workflow<void()>("fair_queue_concurrency_manager");
inline constexpr auto FairWork = dbos::workflow<void()>("fair_queue_workflow");
constexpr const char* kPartitioned = "partitioned-queue";
constexpr const char* kConcurrency = "concurrency-queue";

void fair_manager(dbos::Context& ctx) {
    ctx.start_workflow(FairWork, {.queue_name = kConcurrency}).get_result();
}
void fair_work(dbos::Context& ctx) { ctx.sleep(kWork); }

// --- rate limiting: two starts in ten seconds

inline constexpr auto Limited = dbos::workflow<void()>("rate_limited_queue_workflow");
constexpr const char* kRateLimited = "rate-limited-queue";

void limited(dbos::Context& ctx) { ctx.sleep(kWork); }

// --- debouncing: the last input of a tenant, ten seconds after it came

inline constexpr auto Debounced = dbos::workflow<void(std::string, std::string)>("debouncer_workflow");
constexpr const char* kDebounced = "debouncer-queue";
constexpr auto kQuiet = 10s;

void debounced(dbos::Context& ctx, const std::string& tenant, const std::string& input) {
    ctx.step("report", [&] { std::cout << "The input of " << tenant << " is " << input << std::endl; });
    ctx.sleep(kWork);
}

// --- what is shown

Json text_or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(); }

/// An argument of a workflow, as text.
Json argument(const dbos::WorkflowStatus& workflow, std::size_t place) {
    if (!workflow.input || workflow.input->positional.size() <= place) return nullptr;
    const dbos::Value& value = workflow.input->positional[place];
    return value.kind() == dbos::Kind::string ? Json(value.as_string()) : Json();
}

Json list(dbos::Client& client, const std::string& name) {
    const bool by_tenant = name.find("fair_queue") != std::string::npos;
    const bool has_input = name == Debounced.name();
    Json all = Json::array();
    for (const auto& workflow : client.list_workflows({.name = name, .sort_desc = true})) {
        all.push_back({{"workflow_id", workflow.workflow_id},
                       {"workflow_status", workflow.status},
                       {"workflow_name", workflow.name},
                       {"start_time", workflow.created_at},
                       {"tenant_id", by_tenant   ? text_or_null(workflow.queue_partition_key)
                                     : has_input ? argument(workflow, 0)
                                                 : Json()},
                       {"input", has_input ? argument(workflow, 1) : Json()}});
    }
    return all;
}

dbos::Instant half_an_hour_ago() { return std::chrono::system_clock::now() - 30min; }

Json counted_by_tenant(const std::vector<dbos::WorkflowStatus>& workflows) {
    std::map<std::string, int> counts;
    for (const auto& workflow : workflows) ++counts[workflow.queue_partition_key.value_or("unknown")];
    Json all = Json::array();
    for (const auto& [tenant, count] : counts) all.push_back({{"tenant_id", tenant}, {"count", count}});
    return all;
}

Json fair_pipeline(dbos::Client& client) {
    const std::string manager(FairManager.name());
    const auto waiting = client.list_workflows({.status = {"ENQUEUED", "PENDING"}, .name = manager});
    const auto ended =
        client.list_workflows({.status = "SUCCESS", .start_time = half_an_hour_ago(), .name = manager});
    // The work has no key: its parent's is its tenant.
    std::map<std::string, std::string> tenants;
    for (const auto& workflow : waiting)
        tenants[workflow.workflow_id] = workflow.queue_partition_key.value_or("unknown");
    Json running = Json::array();
    for (const auto& work :
         client.list_workflows({.status = "PENDING", .name = std::string(FairWork.name())})) {
        const auto tenant = tenants.find(work.parent_workflow_id.value_or(""));
        running.push_back({{"workflow_id", work.workflow_id},
                           {"tenant_id", tenant == tenants.end() ? "unknown" : tenant->second}});
    }
    return {{"enqueued", counted_by_tenant(waiting)},
            {"pending_concurrency", running},
            {"success", counted_by_tenant(ended)}};
}

Json debouncer_pipeline(dbos::Client& client) {
    const auto items = [&](dbos::ListWorkflowsOptions options) {
        options.name = std::string(Debounced.name());
        options.sort_desc = true;
        Json all = Json::array();
        for (const auto& workflow : client.list_workflows(options)) {
            all.push_back({{"workflow_id", workflow.workflow_id},
                           {"tenant_id", argument(workflow, 0)},
                           {"input", argument(workflow, 1)},
                           {"start_time", workflow.created_at},
                           {"delay_until",
                            workflow.delay_until_epoch_ms ? Json(*workflow.delay_until_epoch_ms) : Json()},
                           {"ran_at", workflow.dequeued_at.value_or(workflow.created_at)}});
        }
        return all;
    };
    return {{"delayed", items({.status = "DELAYED"})},
            {"pending", items({.status = "PENDING"})},
            {"completed", items({.status = "SUCCESS", .start_time = half_an_hour_ago()})}};
}

/// A parameter of the query; without it the request is refused, as by the servers of the other SDKs.
bool has(const Request& request, Response& response, const char* name) {
    if (request.has_param(name)) return true;
    web::refuse(response, 422, std::string("the parameter ") + name + " is missing");
    return false;
}

void submit_fair(dbos::App& app, const std::string& tenant) {
    app.start_workflow(FairManager, {.queue_name = kPartitioned, .queue_partition_key = tenant});
}

void add_routes(web::Server& server, dbos::App& app,
                dbos::Debouncer<void(std::string, std::string)>& debouncer) {
    server.Get("/", [](const Request&, Response& response) { web::reply_html(response, kPage); });
    server.post("/api/workflows/fair_queue", [&](const Request& request, Response& response) {
        if (!has(request, response, "tenant_id")) return;
        submit_fair(app, request.get_param_value("tenant_id"));
        web::reply(response, nullptr);
    });
    server.post("/api/workflows/fair_queue/random_mix", [&](const Request&, Response& response) {
        constexpr int kTotal = 50;
        const std::vector<std::string> tenants = {"alice", "bob", "clark", "dave"};
        std::mt19937 random(std::random_device{}());
        const std::size_t favored = random() % tenants.size();
        std::vector<double> weights(tenants.size(), 1);
        weights[favored] = 2;
        std::discrete_distribution<std::size_t> pick(weights.begin(), weights.end());
        for (int n = 0; n < kTotal; ++n) submit_fair(app, tenants[pick(random)]);
        web::reply(response, {{"total", kTotal}, {"favored", tenants[favored]}});
    });
    server.post("/api/workflows/rate_limited_queue", [&](const Request&, Response& response) {
        app.start_workflow(Limited, {.queue_name = kRateLimited});
        web::reply(response, nullptr);
    });
    server.post("/api/workflows/debouncer", [&](const Request& request, Response& response) {
        if (!has(request, response, "tenant_id") || !has(request, response, "input")) return;
        const std::string tenant = request.get_param_value("tenant_id");
        debouncer.debounce(tenant, kQuiet, tenant, request.get_param_value("input"));
        web::reply(response, nullptr);
    });
    server.Get("/api/workflows", [&](const Request& request, Response& response) {
        if (!has(request, response, "workflow_name")) return;
        web::reply(response, list(app.client(), request.get_param_value("workflow_name")));
    });
    server.Get("/api/fair_queue/pipeline", [&](const Request&, Response& response) {
        web::reply(response, fair_pipeline(app.client()));
    });
    server.Get("/api/debouncer/pipeline", [&](const Request&, Response& response) {
        web::reply(response, debouncer_pipeline(app.client()));
    });
}

}  // namespace

int main(int argc, char** argv) {
    const auto settings = web::parse_settings(argc, argv, "sqlite:///queue-patterns.sqlite");
    dbos::App app({.name = "queue-patterns", .system_database_url = settings.database_url});
    app.implement(FairManager, fair_manager);
    app.implement(FairWork, fair_work);
    app.implement(Limited, limited);
    app.implement(Debounced, debounced);
    app.register_queue({.name = kConcurrency, .worker_concurrency = 4});
    app.register_queue({.name = kPartitioned, .partition_concurrency = 2});
    app.register_queue({.name = kRateLimited, .limiter = {.limit = 2, .period = 10s}});
    app.register_queue({.name = kDebounced});
    app.launch();
    dbos::Debouncer debouncer(app, Debounced, {.queue = kDebounced});

    web::Server server;
    add_routes(server, app, debouncer);
    server.start(settings);
    app.wait();  // until Ctrl-C
}
