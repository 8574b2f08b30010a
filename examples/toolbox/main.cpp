// A template to start from: each route runs a workflow of another kind and answers when it has ended.
#include <chrono>
#include <dbos/dbos.hpp>
#include <iostream>
#include <string>
#include <vector>

#include "../web/sql.hpp"
#include "../web/web.hpp"

using namespace std::chrono_literals;
using web::Request, web::Response;

namespace {

void say(const std::string& sentence) { std::cout << sentence << std::endl; }

// --- steps

inline constexpr auto Example = dbos::workflow<void()>("example_workflow");

void example(dbos::Context& ctx) {
    ctx.step("step_one", [] { say("Step one is done"); });
    ctx.step("step_two", [] { say("Step two is done"); });
}

// --- a queue

inline constexpr auto Task = dbos::workflow<int(int)>("task_workflow");
inline constexpr auto QueueTasks = dbos::workflow<int()>("queue_workflow");
constexpr const char* kQueue = "example-queue";

int task(dbos::Context& ctx, int number) {
    ctx.sleep(5s);
    ctx.step("report", [&] { say("Task " + std::to_string(number) + " is done"); });
    return number;
}

int queue_tasks(dbos::Context& ctx) {
    std::vector<dbos::WorkflowHandle<int>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(ctx.start_workflow(Task, {.queue_name = kQueue}, i));
    int done = 0;
    for (const auto& handle : tasks) {
        handle.get_result();
        ++done;
    }
    return done;
}

// --- transactions: the rows and the records of the steps are committed together

inline constexpr auto Transactions = dbos::workflow<int()>("transaction_workflow");
inline constexpr auto Greet = dbos::workflow<int(std::string)>("tx_step_workflow");

void create_tables(web::Sql& sql) {
    sql("CREATE TABLE IF NOT EXISTS example_table (name VARCHAR(255))");
    sql("CREATE TABLE IF NOT EXISTS greetings (name TEXT NOT NULL PRIMARY KEY, greet_count INTEGER DEFAULT "
        "0)");
}

int insert_and_count(dbos::Context& ctx, const web::Database& database) {
    database.transaction(ctx, "insert_row",
                         [](web::Sql& sql) { sql("INSERT INTO example_table (name) VALUES ('dbos')"); });
    return database.transaction(ctx, "count_rows", [](web::Sql& sql) {
        return std::stoi(sql("SELECT count(*) FROM example_table").at(0).at(0));
    });
}

int greet(dbos::Context& ctx, const web::Database& database, const std::string& name) {
    return database.transaction(ctx, "insert_greeting", [&](web::Sql& sql) {
        return std::stoi(
            sql("INSERT INTO greetings (name, greet_count) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE "
                "SET greet_count = greetings.greet_count + 1 RETURNING greet_count",
                name)
                .at(0)
                .at(0));
    });
}

// --- a debouncer: of many calls of one key, the last one runs when there were none for five seconds

inline constexpr auto Debounced = dbos::workflow<void(std::string)>("debouncer_workflow");

void debounced(dbos::Context& ctx, const std::string& key) {
    ctx.step("report", [&] { say("The debounced workflow of '" + key + "' runs"); });
}

// --- a schedule

using Time = std::chrono::system_clock::time_point;
inline constexpr auto Quarterly = dbos::workflow<void(Time, dbos::Value)>("run_every_15min");

void quarterly(dbos::Context& ctx, Time, const dbos::Value&) {
    ctx.step("report", [] { say("A quarter of an hour has passed"); });
}

constexpr const char* kPage = R"html(<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>DBOS toolbox for C++</title>
<h1>Toolbox</h1>
<p>Each of these starts a workflow; look at the output of the program.</p>
<ul>
  <li><a href="/workflow">/workflow</a>: two steps
  <li><a href="/queue">/queue</a>: ten tasks of five seconds
  <li><a href="/transaction">/transaction</a>: two transactions
  <li><a href="/tx-step/world">/tx-step/world</a>: a greeting that is counted
  <li><a href="/debounce/key">/debounce/key</a>: runs five seconds after the last call
  <li><a href="/crash">/crash</a>: ends the program; start it again
</ul>
</html>
)html";

void add_routes(web::Server& server, dbos::App& app, dbos::Debouncer<void(std::string)>& debouncer) {
    const auto answer = [](Response& response, const std::string& sentence) {
        response.set_content(sentence + "\n", "text/plain");
    };
    server.Get("/", [](const Request&, Response& response) { web::reply_html(response, kPage); });
    server.Get("/workflow", [=, &app](const Request&, Response& response) {
        app.start_workflow(Example, {}).get_result();
        answer(response, "both steps are done");
    });
    server.Get("/queue", [=, &app](const Request&, Response& response) {
        const int done = app.start_workflow(QueueTasks, {}).get_result();
        answer(response, std::to_string(done) + " tasks are done");
    });
    server.Get("/transaction", [=, &app](const Request&, Response& response) {
        const int rows = app.start_workflow(Transactions, {}).get_result();
        answer(response, "the table has " + std::to_string(rows) + " rows");
    });
    server.Get("/tx-step/([^/]+)", [=, &app](const Request& request, Response& response) {
        const std::string name = request.matches[1];
        const int count = app.start_workflow(Greet, {}, name).get_result();
        answer(response, name + " has been greeted " + std::to_string(count) + " times");
    });
    server.Get("/debounce/([^/]+)", [=, &debouncer](const Request& request, Response& response) {
        const std::string key = request.matches[1];
        const auto handle = debouncer.debounce(key, 5s, key);
        answer(response, handle.workflow_id() + " will run");
    });
    server.Get("/crash", [](const Request&, Response&) { web::crash(); });
}

}  // namespace

int main(int argc, char** argv) {
    const auto settings = web::parse_settings(argc, argv, "sqlite:///toolbox.sqlite");
    dbos::App app({.name = "toolbox", .system_database_url = settings.database_url});
    const web::Database database(app, settings.database_url);
    app.implement(Example, example);
    app.implement(Task, task);
    app.implement(QueueTasks, queue_tasks);
    app.implement(Transactions, [&](dbos::Context& ctx) { return insert_and_count(ctx, database); });
    app.implement(Greet,
                  [&](dbos::Context& ctx, const std::string& name) { return greet(ctx, database, name); });
    app.implement(Debounced, debounced);
    app.implement(Quarterly, quarterly);
    app.register_queue({.name = kQueue});
    app.launch();
    database.run(create_tables);
    app.client().apply_schedules({{.schedule_name = "run_every_15min",
                                   .workflow_name = std::string(Quarterly.name()),
                                   .schedule = "*/15 * * * *"}});
    dbos::Debouncer debouncer(app, Debounced, {.debounce_timeout = 1min});

    web::Server server;
    add_routes(server, app, debouncer);
    server.start(settings);
    app.wait();  // until Ctrl-C
}
