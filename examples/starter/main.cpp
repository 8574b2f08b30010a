// One workflow of each kind behind buttons: steps, a schedule, a queue, and a person who must agree.
#include <chrono>
#include <dbos/dbos.hpp>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>

#include "../web/web.hpp"
#include "page.hpp"

using namespace std::chrono_literals;
using web::Request, web::Response;

namespace {

void work(std::chrono::seconds duration, const char* done) {
    std::this_thread::sleep_for(duration);
    std::cout << done << std::endl;
}

std::chrono::system_clock::time_point ten_minutes_ago() { return std::chrono::system_clock::now() - 10min; }

/// How many workflows of a name there are in each status; of those that were created in the last ten minutes.
web::Json count_by_status(dbos::App& app, std::string_view workflow_name) {
    web::Json counts = web::Json::object();
    const auto groups = app.client().get_workflow_aggregates(
        {.group_by_status = true, .filter = {.start_time = ten_minutes_ago(), .name = workflow_name}});
    for (const auto& group : groups) counts[group.status.value_or("")] = group.count.value_or(0);
    return counts;
}

const web::Json kOk = {{"ok", true}};

// --- three steps, each of which runs again only if the process dies in the middle of it

inline constexpr auto ThreeSteps = dbos::workflow<void()>("workflow");
constexpr const char* kStepsEvent = "steps_event";

void three_steps(dbos::Context& ctx) {
    ctx.step("step_one", [] { work(5s, "Step 1 is done"); });
    ctx.set_event(kStepsEvent, 1);  // what the page shows
    ctx.step("step_two", [] { work(5s, "Step 2 is done"); });
    ctx.set_event(kStepsEvent, 2);
    ctx.step("step_three", [] { work(5s, "Step 3 is done"); });
    ctx.set_event(kStepsEvent, 3);
}

void add_step_routes(web::Server& server, dbos::App& app) {
    server.Get("/workflow/([^/]+)", [&app](const Request& request, Response&) {
        app.start_workflow(ThreeSteps,
                           {.workflow_id = request.matches[1]});  // once, however often it is asked for
    });
    server.Get("/last_step/([^/]+)", [&app](const Request& request, Response& response) {
        const auto step = app.client().get_event<int>(request.matches[1], kStepsEvent, 0s);
        response.set_content(std::to_string(step.value_or(0)), "text/plain");
    });
    server.post("/crash", [](const Request&, Response&) { web::crash(); });
}

// --- a schedule

using Time = std::chrono::system_clock::time_point;
inline constexpr auto Scheduled = dbos::workflow<void(Time, dbos::Value)>("scheduled_workflow");
constexpr const char* kSchedule = "scheduled-workflow";
constexpr const char* kCron = "*/5 * * * * *";

void scheduled(dbos::Context& ctx, Time, const dbos::Value&) {
    ctx.sleep(1s);
    ctx.step("report", [] { std::cout << "The scheduled workflow is done" << std::endl; });
}

void add_schedule_routes(web::Server& server, dbos::App& app) {
    server.Get("/schedule/status", [&app](const Request&, Response& response) {
        const auto schedule = app.client().get_schedule(kSchedule);
        web::reply(response, {{"cron", schedule ? schedule->schedule : kCron},
                              {"schedule_status", schedule ? schedule->status : "UNKNOWN"},
                              {"workflow_counts", count_by_status(app, Scheduled.name())}});
    });
    server.post("/schedule/apply", [&app](const Request& request, Response& response) {
        auto cron = web::body_member<std::string>(request, "cron", kCron);
        if (cron.empty()) cron = kCron;
        app.client().apply_schedules(
            {{.schedule_name = kSchedule, .workflow_name = std::string(Scheduled.name()), .schedule = cron}});
        app.client().resume_schedule(kSchedule);  // a schedule that exists keeps its state otherwise
        web::reply(response, kOk);
    });
    server.post("/schedule/pause", [&app](const Request&, Response& response) {
        app.client().pause_schedule(kSchedule);
        web::reply(response, kOk);
    });
    server.post("/schedule/resume", [&app](const Request&, Response& response) {
        app.client().resume_schedule(kSchedule);
        web::reply(response, kOk);
    });
    server.post("/schedule/trigger", [&app](const Request&, Response& response) {
        app.client().trigger_schedule(kSchedule);
        web::reply(response, kOk);
    });
}

// --- a queue that runs a few at a time

inline constexpr auto Enqueued = dbos::workflow<void()>("enqueued_workflow");
constexpr const char* kQueue = "demo-queue";
constexpr int kConcurrency = 3;

void enqueued(dbos::Context& ctx) {
    ctx.sleep(5s);
    ctx.step("report", [] { std::cout << "An enqueued workflow is done" << std::endl; });
}

void add_queue_routes(web::Server& server, dbos::App& app) {
    server.Get("/queue/status", [&app](const Request&, Response& response) {
        const auto queue = app.client().retrieve_queue(kQueue);
        web::reply(response, {{"worker_concurrency",
                               queue ? queue->worker_concurrency.value_or(kConcurrency) : kConcurrency},
                              {"workflow_counts", count_by_status(app, Enqueued.name())}});
    });
    server.post("/queue/enqueue", [&app](const Request&, Response& response) {
        app.start_workflow(Enqueued, {.queue_name = kQueue});
        web::reply(response, kOk);
    });
    server.post("/queue/concurrency", [&app](const Request& request, Response& response) {
        const int wanted = web::body_member(request, "concurrency", kConcurrency);
        app.client().register_queue(
            {.name = kQueue, .worker_concurrency = wanted < 1 ? kConcurrency : wanted});
        web::reply(response, kOk);
    });
}

// --- a workflow that waits for an answer

inline constexpr auto Approval = dbos::workflow<void()>("communication_workflow");
constexpr const char* kTopic = "approval";
constexpr const char* kState = "comm_status";

void approval(dbos::Context& ctx) {
    ctx.step("comm_step_one", [] { work(2s, "Step 1 is done; an answer is waited for"); });
    ctx.set_event(kState, "waiting");
    const auto decision = ctx.recv<std::string>(kTopic, 120s);
    if (decision == "approve") {
        ctx.set_event(kState, "step2");
        ctx.step("comm_step_two", [] { work(2s, "Step 2 is done"); });
        ctx.set_event(kState, "completed");
    } else {
        ctx.set_event(kState, decision == "deny" ? "denied" : "timeout");
    }
}

void add_approval_routes(web::Server& server, dbos::App& app) {
    server.Get("/comm/status/([^/]+)", [&app](const Request& request, Response& response) {
        const auto state = app.client().get_event<std::string>(request.matches[1], kState, 0s);
        web::reply(response, {{"state", state.value_or("step1")}});
    });
    server.post("/comm/start", [&app](const Request&, Response& response) {
        web::reply(response, {{"workflow_id", app.start_workflow(Approval, {}).workflow_id()}});
    });
    server.post("/comm/approve/([^/]+)", [&app](const Request& request, Response& response) {
        app.client().send(request.matches[1], "approve", kTopic);
        web::reply(response, kOk);
    });
    server.post("/comm/deny/([^/]+)", [&app](const Request& request, Response& response) {
        app.client().send(request.matches[1], "deny", kTopic);
        web::reply(response, kOk);
    });
}

}  // namespace

int main(int argc, char** argv) {
    const auto settings = web::parse_settings(argc, argv, "sqlite:///starter.sqlite");
    dbos::App app({.name = "starter", .system_database_url = settings.database_url});
    app.implement(ThreeSteps, three_steps);
    app.implement(Scheduled, scheduled);
    app.implement(Enqueued, enqueued);
    app.implement(Approval, approval);
    // A limit that was changed with /queue/concurrency is kept.
    app.register_queue(
        {.name = kQueue, .worker_concurrency = kConcurrency, .on_conflict = dbos::QueueConflict::keep});
    app.launch();

    web::Server server;
    server.Get("/", [](const Request&, Response& response) { web::reply_html(response, kPage); });
    add_step_routes(server, app);
    add_schedule_routes(server, app);
    add_queue_routes(server, app);
    add_approval_routes(server, app);
    server.start(settings);
    app.wait();  // until Ctrl-C
}
