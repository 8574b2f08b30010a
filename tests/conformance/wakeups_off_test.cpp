// Wake-ups are hints: everything works without them, and what other programs write is found (safety 18 and 19).
#include <atomic>

#include "support/app.hpp"

using namespace std::chrono_literals;

namespace {

inline constexpr auto Twice = dbos::workflow<int(int)>("twice");
inline constexpr auto Parent = dbos::workflow<int(int)>("parent");

class WithoutWakeUps : public dbos::test::AppTest {
   public:
    dbos::AppOptions quiet(const std::string& executor_id = "quiet") {
        dbos::AppOptions options = app_options();
        options.use_listen_notify = false;
        options.executor_id =
            executor_id + database().schema();  // what the server sees of it is of this test alone
        return options;
    }
    static void implement(dbos::App& app) {
        app.implement(Twice,
                      [](dbos::Context& ctx, int n) { return ctx.step("double", [n] { return 2 * n; }); });
        app.implement(Parent, [](dbos::Context& ctx, int n) {
            auto direct = ctx.start_workflow(Twice, {}, n);
            auto queued = ctx.start_workflow(Twice, {.queue_name = "q"}, n);
            return direct.get_result() + queued.get_result();
        });
        app.register_queue({.name = "q"});
        app.register_queue({.name = "limited", .concurrency = 1});
    }
};
DBOS_FOR_EVERY_DATABASE(WithoutWakeUps);

TEST_P(WithoutWakeUps, everything_works) {
    dbos::App app(quiet());
    implement(app);
    app.launch();
    dbos::ClientOptions options;
    options.system_database_url = database().url();
    options.dbos_system_schema = database().schema();
    options.log_sink = log.sink();
    options.use_listen_notify = false;
    dbos::Client client(options);
    EXPECT_EQ(app.start_workflow(Twice, {}, 1).get_result(), 2);
    EXPECT_EQ(app.start_workflow(Twice, {.queue_name = "q"}, 2).get_result(), 4);
    EXPECT_EQ(app.start_workflow(Parent, {}, 3).get_result(), 12);
    EXPECT_EQ(client.enqueue(Twice, {.queue_name = "q"}, 4).get_result(), 8);
    EXPECT_EQ(client.enqueue(Parent, {.queue_name = "q"}, 5).get_result(), 20);
    auto first = client.enqueue(Twice, {.queue_name = "limited"}, 6);
    auto second = client.enqueue(Twice, {.queue_name = "limited"}, 7);
    EXPECT_EQ(first.get_result_async().get(), 12);
    EXPECT_EQ(second.get_result_async().get(), 14);
    EXPECT_EQ(client.enqueue(Twice, {.queue_name = "q", .delay = 100ms}, 8).get_result(), 16);
    if (postgres()) {
        EXPECT_EQ(
            scalar("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND application_name "
                   "LIKE left('dbos_cpp_" +
                   app.executor_id() + "', 63)"),
            "0");
    }
}

TEST_P(WithoutWakeUps, two_applications_share_the_work) {
    // Neither hears of the other: work that one enqueues for a queue with a shared limit is done by both, or by either.
    dbos::App one(quiet("one")), two(quiet("two"));
    for (dbos::App* app : {&one, &two}) {
        implement(*app);
        app->launch();
    }
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int n = 0; n < 20; ++n) {
        handles.push_back((n % 2 == 0 ? one : two).start_workflow(Twice, {.queue_name = "q"}, n));
    }
    for (int n = 0; n < 20; ++n) EXPECT_EQ(handles[static_cast<std::size_t>(n)].get_result(), 2 * n);
}

TEST_P(WithoutWakeUps, messages_events_and_streams_of_another_application_are_found) {
    static constexpr auto Listener = dbos::workflow<int(int)>("listener");
    static constexpr auto Speaker = dbos::workflow<int(int)>("speaker");
    dbos::App one(quiet("one")), two(quiet("two"));
    for (dbos::App* app : {&one, &two}) {
        app->implement(Listener, [](dbos::Context& ctx, int) {
            const int message = ctx.recv<int>("topic", 30s).value_or(-1);
            const int event = ctx.get_event<int>("speaker", "event", 30s).value_or(-1);
            int sum = 0;
            for (const int value : ctx.read_stream<int>("speaker", "stream", {.timeout = 30s})) sum += value;
            return message * 10'000 + event * 100 + sum;
        });
        app->implement(Speaker, [](dbos::Context& ctx, int n) {
            // Answers what it was asked, so the listener waits before each of them is written.
            const auto next = [&] { return ctx.recv<int>("go", 30s).value_or(-1); };
            ctx.send("listener", next());
            ctx.send("listener", next(), "topic");
            ctx.set_event("event", next());
            ctx.write_stream("stream", next());
            ctx.close_stream("stream");
            return n;
        });
        app->launch();
    }
    auto listener = one.start_workflow(Listener, {.workflow_id = "listener"}, 0);
    auto speaker = two.start_workflow(Speaker, {.workflow_id = "speaker"}, 7);
    const auto steps_of_listener = [&](const char* name) {
        return scalar(
            std::string("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'listener' AND "
                        "function_name = '") +
            name + "'");
    };
    // The deadline of the receive, then of the event, stand in the database while it waits.
    ASSERT_TRUE(dbos::test::eventually([&] { return steps_of_listener("DBOS.sleep") == "1"; }));
    dbos::Client client({.system_database_url = database().url(),
                         .dbos_system_schema = database().schema(),
                         .use_listen_notify = false});
    client.send("speaker", 1, "go");
    client.send("speaker", 2, "go");
    ASSERT_TRUE(dbos::test::eventually([&] { return steps_of_listener("DBOS.sleep") == "2"; }));
    client.send("speaker", 3, "go");
    ASSERT_TRUE(dbos::test::eventually([&] { return steps_of_listener("DBOS.getEvent") == "1"; }));
    client.send("speaker", 4, "go");
    EXPECT_EQ(listener.get_result({.timeout = 60s}), 20'304);
    EXPECT_EQ(speaker.get_result({.timeout = 60s}), 7);
}

class ForeignWriters : public WithoutWakeUps {};
DBOS_FOR_EVERY_DATABASE(ForeignWriters);

TEST_P(ForeignWriters, an_application_finds_what_another_program_writes) {
    // A program that knows nothing of our side file or channel: plain SQL, as other SDKs write.
    dbos::App app(app_options());
    implement(app);
    app.launch();
    for (int n = 0; n < 5; ++n) {
        const std::string id = "foreign-" + std::to_string(n);
        const auto other = open();
        other->begin();
        other->query(
            "INSERT INTO @workflow_status (workflow_uuid, status, name, queue_name, serialization, priority, "
            "created_at, updated_at) VALUES ('" +
                id + "', 'ENQUEUED', 'twice', 'q', 'portable_json', 0, 1000, 1000)",
            {}, dbos::sql::Access::write);
        other->query("INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp) VALUES ('" +
                         id + "', '{\"positionalArgs\":[" + std::to_string(n) + "],\"namedArgs\":{}}', 1000)",
                     {}, dbos::sql::Access::write);
        other->commit();
        EXPECT_EQ(app.retrieve_workflow(Twice, id).get_result(), 2 * n);
    }
}

TEST_P(ForeignWriters, a_wait_hears_the_end_that_another_program_writes) {
    if (postgres()) GTEST_SKIP() << "an outcome of another SDK is not notified there; the poll finds it";
    dbos::App app(app_options());
    implement(app);
    app.launch();
    execute(
        "INSERT INTO workflow_status (workflow_uuid, status, name, serialization) VALUES ('elsewhere', "
        "'PENDING', "
        "'twice', 'portable_json')");
    auto result = app.retrieve_workflow(Twice, "elsewhere")
                      .get_result_async({.polling_interval = std::chrono::hours(1)});
    EXPECT_FALSE(result.wait_for(50ms));
    const auto other = open();
    other->script(
        "INSERT INTO workflow_output (workflow_uuid, output) VALUES ('elsewhere', '42'); UPDATE "
        "workflow_status SET "
        "status = 'SUCCESS' WHERE workflow_uuid = 'elsewhere'");
    EXPECT_EQ(result.get(), 42);
}

TEST_P(ForeignWriters, a_log_sink_may_call_the_application) {
    // A workflow that nobody implements is logged by the tick, without a lock.
    std::atomic<dbos::App*> shared{nullptr};
    std::atomic<int> enqueued{0};
    dbos::AppOptions options = app_options();
    options.log_sink = [&](const dbos::LogRecord& record) {
        if (std::string_view(record.message).find("no body is implemented here") == std::string_view::npos)
            return;
        if (dbos::App* app = shared.load()) app->start_workflow(Twice, {.queue_name = "q"}, 1);
        ++enqueued;
    };
    dbos::App app(options);
    implement(app);
    app.launch();
    shared.store(&app);
    app.client().enqueue({.workflow_name = "unknown", .queue_name = "q"});
    EXPECT_TRUE(dbos::test::eventually([&] { return enqueued.load() > 0; }));
    shared.store(nullptr);
    EXPECT_TRUE(dbos::test::eventually(
        [&] { return scalar("SELECT count(*) FROM @workflow_status WHERE status = 'SUCCESS'") == "1"; }));
}

}  // namespace
