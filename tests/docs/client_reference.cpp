// The programs of docs/reference/client.md: each stands between two marks, is cut out for the page, and runs here.
#include <libpq-fe.h>
#include <sqlite3.h>

#include <cstdlib>
#include <ranges>

#include "fixture.hpp"

namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

class ClientReference : public dbos::test::ShopTest {};
DBOS_FOR_EVERY_DATABASE(ClientReference);

TEST_P(ClientReference, constructor) {
    if (postgres())
        GTEST_SKIP() << "the page's program uses the default schema";
    setenv("DBOS_SYSTEM_DATABASE_URL", database().url().c_str(), 1);
    // [constructor]
    dbos::Client client(
        {.system_database_url = std::getenv("DBOS_SYSTEM_DATABASE_URL"),
         .application_name = "shop",
         .lazy = true});
    // [constructor]
    // [check_connection]
    client.check_connection();  // throws what a call would throw
    // [check_connection]
    // [destroy]
    client.destroy();
    // [destroy]
    EXPECT_THROW(client.check_connection(), dbos::ClientClosed);
}

TEST_P(ClientReference, enqueue) {
    open_shop();
    auto& client = this->client();
    // [enqueue]
    auto handle = client.enqueue(
        Checkout, {.queue_name = "orders", .workflow_timeout = 30s},
        {.id = "o-17", .cents = 4200});
    Receipt receipt = handle.get_result();
    // [enqueue]
    EXPECT_EQ(receipt.charge_id, "charge-o-17");
    // [enqueue_by_name]
    auto task = client.enqueue<std::string>(
        {.workflow_name = "process_task", .queue_name = "tasks", .priority = 5},
        64, dbos::named("fast", true));
    std::string text = task.get_result();
    // [enqueue_by_name]
    EXPECT_EQ(text, "64 fast");
    bool charged = false;
    // [enqueue_async]
    dbos::Future<void> finished =
        client
            .enqueue_async(Checkout, {.queue_name = "orders"},
                           {.id = "o-18", .cents = 1})
            .then([](auto started) { return started.get_result_async(); })
            .then([&](const Receipt& paid) {
                charged = paid.charge_id == "charge-o-18";
            });
    finished.get();
    // [enqueue_async]
    EXPECT_TRUE(charged);
}

TEST_P(ClientReference, retrieve_workflow) {
    open_shop();
    auto& client = this->client();
    client.enqueue(Checkout, {.queue_name = "orders", .workflow_id = "o-17"},
                   {"o-17", 4200});
    // [retrieve_workflow]
    auto handle = client.retrieve_workflow(Checkout, "o-17");
    Receipt receipt = handle.get_result();
    auto any = client.retrieve_workflow(
        "o-17");  // of a workflow without a contract here
    dbos::Value value = any.get_result();
    // [retrieve_workflow]
    EXPECT_EQ(value.at("charge_id").as_string(), receipt.charge_id);
    // [retrieve_workflow_async]
    auto charge = client.retrieve_workflow_async(Checkout, "o-17")
                      .then([](auto found) { return found.get_result_async(); })
                      .then([](const Receipt& paid) { return paid.charge_id; });
    // [retrieve_workflow_async]
    EXPECT_EQ(charge.get(), "charge-o-17");
}

TEST_P(ClientReference, results) {
    open_shop();
    auto& client = this->client();
    std::string said;
    // [get_result]
    auto handle = client.enqueue(Checkout, {.queue_name = "orders"},
                                 {.id = "o-0", .cents = 0});
    try {
        Receipt receipt = handle.get_result({.timeout = 60s});
    } catch (const CardDeclined& error) {  // on the contract's throws<…>()
        said = error.what();
    } catch (
        const dbos::WorkflowFailed& error) {  // any other, of whatever language
        said = error.type_name() + ": " + error.message();
    } catch (const dbos::AwaitedWorkflowCancelled&) {
        said = "somebody cancelled it";
    } catch (const dbos::Timeout&) {
        said = "still running";
    }
    // [get_result]
    EXPECT_EQ(said, "no money in it");
    // [get_status]
    dbos::WorkflowStatus status = handle.get_status();
    bool failed = status.status == dbos::Status::error;
    std::optional<dbos::WorkflowStatus> unknown =
        client.get_workflow_status("no such id");
    // [get_status]
    EXPECT_TRUE(failed);
    EXPECT_FALSE(unknown);
}

TEST_P(ClientReference, waits) {
    open_shop();
    auto& client = this->client();
    // [wait_first]
    std::vector<dbos::WorkflowHandle<Receipt>> handles;
    for (const char* id : {"o-1", "o-2", "o-3"})
        handles.push_back(
            client.enqueue(Checkout, {.queue_name = "orders"}, {id, 100}));
    auto first = client.wait_first(handles, {.timeout = 60s});
    client.wait_all(handles);
    // [wait_first]
    EXPECT_EQ(first.get_status().status, dbos::Status::success);
}

TEST_P(ClientReference, send) {
    auto& client = this->client();
    insert_workflow("o-17", "PENDING");
    insert_workflow("o-18", "PENDING");
    // [send]
    client.send("o-17", Order{.id = "o-17", .cents = 4300}, "change",
                {.idempotency_key = "c-1"});
    // [send]
    // [send_async]
    dbos::Future<void> sent = client.send_async("o-17", "hurry up", "notes",
                                                {.idempotency_key = "n-1"});
    sent.get();
    // [send_async]
    // [send_bulk]
    client.send_bulk({{.destination_id = "o-17",
                       .message = "sale",
                       .idempotency_key = "s-17"},
                      {.destination_id = "o-18",
                       .message = "sale",
                       .idempotency_key = "s-18"}});
    // [send_bulk]
    EXPECT_EQ(scalar("SELECT count(*) FROM @notifications"), "4");
}

TEST_P(ClientReference, get_event) {
    auto& client = this->client();
    insert_workflow("o-17", "PENDING");
    write_event("o-17", "progress", "40");
    // [get_event]
    std::optional<int> progress =
        client.get_event<int>("o-17", "progress", 10s);
    // [get_event]
    EXPECT_EQ(progress, 40);
    int shown = 0;
    // [get_event_async]
    client.get_event_async<int>("o-17", "progress")
        .then([&](std::optional<int> value) { shown = value.value_or(-1); })
        .get();
    // [get_event_async]
    EXPECT_EQ(shown, 40);
    // [get_all_events]
    std::map<std::string, dbos::Value> events = client.get_all_events("o-17");
    // [get_all_events]
    EXPECT_EQ(events.at("progress").as_int(), 40);
}

TEST_P(ClientReference, read_stream) {
    auto& client = this->client();
    insert_workflow("o-17", "PENDING");
    for (int i = 0; i < 3; ++i)
        write_stream("o-17", "log", i, "\"line " + std::to_string(i) + "\"");
    write_stream("o-17", "log", 3, "\"__DBOS_STREAM_CLOSED__\"");
    std::vector<std::string> seen;
    // [read_stream]
    for (const std::string& line :
         client.read_stream<std::string>("o-17", "log"))
        seen.push_back(line);
    // [read_stream]
    EXPECT_THAT(seen, ElementsAre("line 0", "line 1", "line 2"));
    seen.clear();
    // [read_stream_async]
    auto stream = client.read_stream_async<std::string>("o-17", "log");
    while (std::optional<std::string> line = stream.next().get())
        seen.push_back(*line);
    // [read_stream_async]
    EXPECT_THAT(seen, ElementsAre("line 0", "line 1", "line 2"));
    // [read_stream_offset]
    auto second = client.read_stream_offset<std::string>("o-17", "log", 1,
                                                         {.timeout = 10s});
    // [read_stream_offset]
    EXPECT_EQ(second, "line 1");
}

TEST_P(ClientReference, listing) {
    open_shop();
    auto& client = this->client();
    client
        .enqueue(Checkout, {.queue_name = "orders", .workflow_id = "o-17"},
                 {"o-17", 4200})
        .get_result();
    client.enqueue(Checkout, {.queue_name = "nobody", .workflow_id = "o-18"},
                   {"o-18", 1});
    // [list_workflows]
    std::vector<dbos::WorkflowStatus> page = client.list_workflows(
        {.status = {dbos::Status::success, dbos::Status::error},
         .start_time = "2026-01-01T00:00:00Z",
         .name = "checkout",
         .limit = 50,
         .sort_desc = true,
         .load_input = false});
    // [list_workflows]
    ASSERT_EQ(page.size(), 1u);
    EXPECT_EQ(page[0].workflow_id, "o-17");
    // [list_queued_workflows]
    std::size_t waiting =
        client.list_queued_workflows({.queue_name = "nobody"}).size();
    // [list_queued_workflows]
    EXPECT_EQ(waiting, 1u);
    std::string names;
    // [list_workflow_steps]
    for (const dbos::StepInfo& step : client.list_workflow_steps("o-17"))
        names +=
            std::to_string(step.function_id) + " " + step.function_name + "\n";
    // [list_workflow_steps]
    EXPECT_EQ(names, "1 charge\n2 pack\n");
    // [aggregates]
    auto groups =
        client.get_workflow_aggregates({.group_by_status = true,
                                        .group_by_queue_name = true,
                                        .select_count = true,
                                        .filter = {.name = "checkout"}});
    auto steps = client.get_step_aggregates(
        {.group_by_function_name = true, .select_max_duration_ms = true});
    // [aggregates]
    EXPECT_EQ(groups.size(), 2u);
    EXPECT_EQ(steps.size(), 2u);
}

TEST_P(ClientReference, cancel_and_resume) {
    open_shop();
    auto& client = this->client();
    client.enqueue(Checkout, {.queue_name = "nobody", .workflow_id = "o-17"},
                   {"o-17", 4200});
    // [cancel_workflow]
    client.cancel_workflow("o-17", {.cancel_children = true});
    // [cancel_workflow]
    EXPECT_EQ(client.retrieve_workflow("o-17").get_status().status,
              dbos::Status::cancelled);
    // [resume_workflow]
    auto handle = client.resume_workflow(Checkout, "o-17");
    Receipt receipt = handle.get_result();
    // [resume_workflow]
    EXPECT_EQ(receipt.order_id, "o-17");
    for (const char* id : {"o-1", "o-2"})
        client.enqueue(Checkout, {.queue_name = "nobody", .workflow_id = id},
                       {id, 1});
    // [cancel_workflows]
    client.cancel_workflows({"o-1", "o-2"});
    auto handles = client.resume_workflows<Receipt>({"o-1", "o-2"},
                                                    {.queue_name = "orders"});
    // [cancel_workflows]
    EXPECT_EQ(handles[1].get_result().order_id, "o-2");
}

TEST_P(ClientReference, fork_and_rewind) {
    open_shop();
    auto& client = this->client();
    client
        .enqueue(Checkout, {.queue_name = "orders", .workflow_id = "o-17"},
                 {"o-17", 4200})
        .get_result();
    // [fork_workflow]
    std::int64_t pack = 0;  // the step to run again, with all that follows
    for (const auto& step : client.list_workflow_steps("o-17"))
        if (step.function_name == "pack") pack = step.function_id;
    auto fork = client.fork_workflow(Checkout, "o-17", pack,
                                     {.new_workflow_id = "o-17-again"});
    Receipt receipt = fork.get_result();
    // [fork_workflow]
    EXPECT_EQ(receipt.charge_id, "charge-o-17");
    EXPECT_EQ(fork.get_status().forked_from, "o-17");
    // [fork_workflows]
    auto forks = client.fork_workflows<Receipt>(
        {{.workflow_id = "o-17", .start_step = pack},
         {.workflow_id = "o-17-again", .start_step = pack}});
    // [fork_workflows]
    EXPECT_EQ(forks[1].get_result().order_id, "o-17");
    // [rewind_workflow]
    auto rewound = client.rewind_workflow(Checkout, "o-17",
                                          pack);  // the same id runs again
    receipt = rewound.get_result();
    // [rewind_workflow]
    EXPECT_EQ(rewound.workflow_id(), "o-17");
}

TEST_P(ClientReference, changes) {
    open_shop();
    auto& client = this->client();
    client.enqueue(Checkout,
                   {.queue_name = "orders", .workflow_id = "o-17", .delay = 1h},
                   {"o-17", 4200});
    // [set_workflow_delay]
    client.set_workflow_delay("o-17", 2h);  // from now
    client.set_workflow_delay("o-17",
                              "2026-01-01T00:00:00Z");  // past: due at once
    // [set_workflow_delay]
    client.retrieve_workflow("o-17").get_result();
    client.enqueue(Checkout, {.queue_name = "nobody", .workflow_id = "o-18"},
                   {"o-18", 1});
    // [set_workflow_priority]
    client.set_workflow_priority("o-18", 1);
    // [set_workflow_priority]
    EXPECT_EQ(client.get_workflow_status("o-18")->priority, 1);
    // [update_workflow_attributes]
    client.update_workflow_attributes(
        "o-18", dbos::Object{{"customer", "c-7"}, {"size", 3}});
    client.update_workflow_attributes("o-18", dbos::Object{{"size", 4}},
                                      {.merge = true});
    // [update_workflow_attributes]
    EXPECT_EQ(client.get_workflow_status("o-18")
                  ->attributes->at("customer")
                  .as_string(),
              "c-7");
    EXPECT_EQ(
        client.get_workflow_status("o-18")->attributes->at("size").as_int(), 4);
    // [delete_workflow]
    client.delete_workflow("o-17", {.delete_children = true});
    client.delete_workflows({"o-18", "o-19"});
    // [delete_workflow]
    EXPECT_TRUE(client.list_workflows().empty());
}

TEST_P(ClientReference, debounce) {
    open_shop();
    auto& client = this->client();
    // [debounce]
    dbos::Debouncer debouncer(client, Checkout,
                              {.debounce_timeout = 10min, .queue = "orders"});

    // Each change of an order puts the checkout off until a minute without a change; it then runs once,
    // with the last change.
    auto first = debouncer.debounce("o-17", 60s, {.id = "o-17", .cents = 4200});
    auto again = debouncer.debounce("o-17", 60s, {.id = "o-17", .cents = 4300});
    bool same = first.workflow_id() == again.workflow_id();
    // [debounce]
    EXPECT_TRUE(same);
    // [debouncer_client]
    dbos::DebouncerClient inputs(
        client, {.workflow_name = "process_task", .queue_name = "tasks"});
    auto task = inputs.debounce<std::string>("user-7", 0s, 64,
                                             dbos::named("fast", false));
    // [debouncer_client]
    EXPECT_EQ(task.get_result(), "64 slow");
    // [debounce_async]
    auto id =
        debouncer.debounce_async("o-17", 0s, {.id = "o-17", .cents = 4400})
            .then([](auto handle) { return handle.workflow_id(); });
    // [debounce_async]
    EXPECT_EQ(id.get(), first.workflow_id());
    EXPECT_EQ(first.get_result().order_id, "o-17");
    EXPECT_EQ(first.get_status().input->positional[0].at("cents").as_int(),
              4400);
}

TEST_P(ClientReference, schedules) {
    open_shop();
    auto& client = this->client();
    // [create_schedule]
    client.create_schedule({.schedule_name = "daily-report",
                            .workflow_name = "report",
                            .schedule = "0 5 * * *",
                            .context = "sales",
                            .cron_timezone = "Europe/Berlin"});
    // [create_schedule]
    // [list_schedules]
    auto active = client.list_schedules(
        {.status = "ACTIVE", .schedule_name_prefix = "daily-"});
    // [list_schedules]
    EXPECT_EQ(active.size(), 1u);
    // [get_schedule]
    std::optional<dbos::WorkflowSchedule> daily =
        client.get_schedule("daily-report");
    std::string cron = daily ? daily->schedule : "there is none";
    // [get_schedule]
    EXPECT_EQ(cron, "0 5 * * *");
    // [pause_schedule]
    client.pause_schedule("daily-report");
    // [pause_schedule]
    EXPECT_EQ(client.get_schedule("daily-report")->status, "PAUSED");
    // [resume_schedule]
    client.resume_schedule("daily-report");
    // [resume_schedule]
    // [update_schedule]
    client.update_schedule("daily-report",
                           {.schedule = "0 6 * * *", .queue_name = "tasks"});
    // [update_schedule]
    EXPECT_EQ(client.get_schedule("daily-report")->queue_name, "tasks");
    // [apply_schedules]
    client.apply_schedules({{.schedule_name = "daily-report",
                             .workflow_name = "report",
                             .schedule = "0 5 * * *"},
                            {.schedule_name = "weekly-report",
                             .workflow_name = "report",
                             .schedule = "@weekly"}});
    // [apply_schedules]
    EXPECT_EQ(client.list_schedules().size(), 2u);
    client.update_schedule("daily-report", {.context = "sales"});
    // [backfill_schedule]
    auto runs = client.backfill_schedule("daily-report", "2026-03-01T00:00:00Z",
                                         "2026-03-04T00:00:00Z");
    client.wait_all(runs);
    // [backfill_schedule]
    EXPECT_EQ(runs.size(), 3u);
    // [trigger_schedule]
    auto run = client.trigger_schedule("daily-report");
    std::string text = run.get_result().as_string();
    // [trigger_schedule]
    EXPECT_EQ(text, "report for sales");
    // [delete_schedule]
    client.delete_schedule("daily-report");
    // [delete_schedule]
    EXPECT_EQ(client.list_schedules().size(), 1u);
}

TEST_P(ClientReference, versions) {
    open_shop();
    auto& client = this->client();
    std::string names;
    // [list_versions]
    for (const dbos::VersionInfo& version : client.list_versions())
        names += version.version_name + "\n";
    // [list_versions]
    EXPECT_EQ(names, "shop-1\n");
    // [get_latest_version]
    std::string latest = client.get_latest_version().version_name;
    // [get_latest_version]
    EXPECT_EQ(latest, "shop-1");
    // [set_latest_version]
    client.set_latest_version("shop-1");
    // [set_latest_version]
    // [versions_async]
    auto newest = client.get_latest_version_async().then(
        [](const dbos::VersionInfo& version) { return version.version_name; });
    // [versions_async]
    EXPECT_EQ(newest.get(), "shop-1");
}

TEST_P(ClientReference, rename_application) {
    auto& client = this->client();
    insert_workflow("o-17", "SUCCESS", {{"application_name", "shop"}});
    // [rename_application]
    dbos::RenamedRows renamed = client.rename_application("shop", "store");
    // [rename_application]
    EXPECT_EQ(renamed.workflows, 1);
}

TEST_P(ClientReference, explain) {
    auto& client = this->client();
    insert_workflow("o-17", "ENQUEUED", {{"queue_name", "nobody's"}});
    std::string line;
    // [explain]
    dbos::Explain why = client.explain("o-17");
    if (why.has(dbos::Obstacle::no_queue)) line = why.text();
    // [explain]
    EXPECT_THAT(line,
                testing::HasSubstr("queue \"nobody's\" is not registered"));
}

TEST_P(ClientReference, upkeep) {
    auto& client = this->client();
    insert_workflow("o-16", "ERROR", {{"completed_at", 1000}});
    insert_workflow("o-17", "PENDING", {{"created_at", 1000}});
    client.send("o-17", std::string("hurry"));
    // [get_all_notifications]
    std::size_t unread = 0;
    for (const dbos::Notification& message :
         client.get_all_notifications("o-17"))
        unread += message.consumed ? 0 : 1;
    std::map<std::string, std::vector<dbos::Value>> streams =
        client.get_all_stream_entries("o-17");
    // [get_all_notifications]
    EXPECT_EQ(unread, 1U);
    EXPECT_TRUE(streams.empty());
    // [fork_from_failure]
    auto forks = client.fork_from_failure<Receipt>(
        {"o-16"}, {.fork = {.latest_version = true}});
    // [fork_from_failure]
    EXPECT_EQ(forks.size(), 1U);
    // [global_timeout]
    auto long_ago =
        std::chrono::system_clock::now() - std::chrono::hours(24 * 30);
    std::int64_t cancelled = client.global_timeout(long_ago);
    // [global_timeout]
    EXPECT_EQ(cancelled, 1);
    // [garbage_collect]
    dbos::CollectedRows gone = client.garbage_collect(
        {.cutoff = long_ago, .rows_threshold = 1'000'000});
    // [garbage_collect]
    EXPECT_EQ(gone.workflows, 1);
}

TEST_P(ClientReference, enqueue_bulk) {
    open_shop();
    auto& client = this->client();
    // [enqueue_bulk]
    std::vector<dbos::EnqueueRequest> requests;
    for (int i = 0; i < 100; ++i)
        requests.push_back(
            dbos::enqueue_request(Checkout, {.queue_name = "orders"},
                                  {.id = std::to_string(i), .cents = 100}));
    auto handles = client.enqueue_bulk<Receipt>(std::move(requests));
    // [enqueue_bulk]
    client.wait_all(handles);
    EXPECT_EQ(handles[99].get_result().order_id, "99");
}

TEST_P(ClientReference, in_transaction_on_postgres) {
    if (!postgres()) GTEST_SKIP() << "PostgreSQL";
    open_shop();
    auto& client = this->client();
    PGconn* connection = PQconnectdb(options().url.conninfo.c_str());
    PQclear(PQexec(connection, "CREATE TEMPORARY TABLE orders (id text)"));
    // [enqueue_in_transaction]
    PQclear(PQexec(connection, "BEGIN"));
    PQclear(PQexec(connection, "INSERT INTO orders VALUES ('o-17')"));
    auto handle = client.enqueue_in_transaction(
        connection, Checkout, {.queue_name = "orders"}, {"o-17", 1});
    client.send_in_transaction(connection, handle.workflow_id(), "gift",
                               "notes");
    PQclear(PQexec(connection, "COMMIT"));
    client.wake("orders");  // or within a second
    // [enqueue_in_transaction]
    EXPECT_EQ(handle.get_result().order_id, "o-17");
    PQfinish(connection);
}

TEST_P(ClientReference, in_transaction_on_sqlite) {
    if (postgres()) GTEST_SKIP() << "SQLite";
    open_shop();
    auto& client = this->client();
    sqlite3* connection = nullptr;
    sqlite3_open(options().url.path.c_str(), &connection);
    sqlite3_busy_timeout(connection, 10'000);
    // [enqueue_in_transaction_sqlite]
    sqlite3_exec(connection, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
    auto handle = client.enqueue_in_transaction(
        connection, Checkout, {.queue_name = "orders"}, {"o-17", 1});
    sqlite3_exec(connection, "COMMIT", nullptr, nullptr, nullptr);
    // [enqueue_in_transaction_sqlite]
    EXPECT_EQ(handle.get_result().order_id, "o-17");
    sqlite3_close(connection);
}

TEST_P(ClientReference, queues) {
    auto& client = this->client();
    // [register_queue]
    dbos::QueueDefinition queue =
        client.register_queue({.name = "mail",
                               .worker_concurrency = 4,
                               .concurrency = 16,
                               .limiter = {.limit = 100, .period = 60s}});
    // [register_queue]
    EXPECT_EQ(queue.concurrency, 16);
    // [update_queue]
    queue = client.update_queue("mail", [](dbos::QueueDefinition& mail) {
        mail.concurrency = 32;
        mail.limiter = {};
    });
    // [update_queue]
    EXPECT_EQ(queue.concurrency, 32);
    EXPECT_EQ(queue.worker_concurrency, 4);
    // [list_queues]
    std::optional<dbos::QueueDefinition> mail = client.retrieve_queue("mail");
    std::vector<dbos::QueueDefinition> all = client.list_queues();
    client.delete_queue("mail");
    // [list_queues]
    EXPECT_TRUE(mail);
    EXPECT_EQ(all.size(), 1u);
    EXPECT_FALSE(client.retrieve_queue("mail"));
}

}  // namespace
