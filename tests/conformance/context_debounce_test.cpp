// Debouncers of bodies: a call is one recorded operation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>

#include "dbos/testing.hpp"
#include "support/app.hpp"
#include "testing/test_app.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::Context;
using dbos::testing::TestApp;
using dbos::testing::TestAppOptions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto Process = dbos::workflow<std::string(std::string)>("process");
constexpr auto Other = dbos::workflow<std::string(std::string)>("other");
constexpr auto Calls = dbos::workflow<std::string()>("calls");

class ContextDebounce : public ::testing::TestWithParam<dbos::sql::Backend> {
   public:
    void SetUp() override {
        if (postgres() && !dbos::test::need_postgres()) GTEST_SKIP();
    }
    void TearDown() override {
        if (HasFailure()) std::cerr << log.text();
    }
    bool postgres() const { return GetParam() == dbos::sql::Backend::postgres; }
    std::unique_ptr<TestApp> make(std::function<std::string(Context&)> body) {
        TestAppOptions options;
        if (postgres()) options.system_database_url = *dbos::test::postgres_url();
        options.app.log_sink = log.sink();
        auto app = std::make_unique<TestApp>(options);
        app->register_queue({.name = "q"});
        app->implement(Process, [this](Context& ctx, const std::string& text) {
            return ctx.step("process", [&] {
                std::lock_guard lock(mutex_);
                processed_.push_back(text);
                return text + "!";
            });
        });
        app->implement(Other, [](Context&, const std::string& text) { return text; });
        app->implement(Calls, std::move(body));
        return app;
    }
    std::vector<std::string> processed() {
        std::lock_guard lock(mutex_);
        return processed_;
    }
    static std::string column(TestApp& app, const std::string& id, const std::string& name) {
        const auto found = app.impl().connect()->query(
            "SELECT " + name + " FROM @workflow_status WHERE workflow_uuid = '" + id + "'");
        return found.empty() ? "(no row)" : found.at(0, 0).null() ? "NULL" : found.at(0, 0).string();
    }
    static std::string rows(TestApp& app) {
        return app.impl().connect()->query("SELECT count(*) FROM @workflow_status").at(0, 0).string();
    }
    dbos::test::LogBook log;

   private:
    std::mutex mutex_;
    std::vector<std::string> processed_;
};
DBOS_FOR_EVERY_DATABASE(ContextDebounce);

TEST_P(ContextDebounce, calls_of_a_burst_are_one_child_with_the_last_arguments) {
    const auto app = make([](Context& ctx) {
        dbos::Debouncer debouncer(ctx, Process, {.queue = "q"});
        const auto first = debouncer.debounce("k", 60s, "a");
        const auto second = debouncer.debounce("k", 10s, "b");
        return first.workflow_id() + " " + second.workflow_id() + " " + second.get_result();
    });
    EXPECT_EQ(app->run(Calls, {.workflow_id = "c"}), "c-1 c-1 b!");
    EXPECT_THAT(processed(), ElementsAre("b"));
    EXPECT_EQ(column(*app, "c-1", "parent_workflow_id"), "c");
    EXPECT_EQ(column(*app, "c-1", "queue_name"), "q");
    EXPECT_EQ(column(*app, "c-1", "application_version"), "test-app-1");
    EXPECT_THAT(app->operations("c"),
                ElementsAre(HasSubstr("DBOS.debounce_delayed_workflow"),
                            HasSubstr("DBOS.debounce_delayed_workflow"), HasSubstr("DBOS.getResult")));
    EXPECT_EQ(rows(*app), "2");
}

TEST_P(ContextDebounce, ends_the_same_wherever_the_process_dies) {
    const auto app = make([](Context& ctx) {
        dbos::Debouncer debouncer(ctx, Process, {.debounce_timeout = 100s, .queue = "q"});
        const auto handle = debouncer.debounce("k", 60s, "a");
        ctx.sleep(30s);
        debouncer.debounce("k", 60s, "b");
        const std::string first = handle.get_result();
        return first + debouncer.debounce("k", 1s, "c").get_result();
    });
    const auto report = dbos::testing::crash_everywhere(*app, Calls, {});
    EXPECT_TRUE(report.passed()) << report;
    EXPECT_EQ(report.expected.text, "\"b!c!\"");
    const auto replays = dbos::testing::check_determinism(*app, Calls, {});
    EXPECT_TRUE(replays.passed()) << replays;
}

TEST_P(ContextDebounce, the_key_is_free_as_soon_as_the_delay_is_over) {
    const auto app = make([](Context& ctx) {
        dbos::Debouncer debouncer(ctx, Process, {});
        const auto first = debouncer.debounce("k", 1s, "a");
        ctx.sleep(2s);
        const auto second = debouncer.debounce("k", 1s, "b");
        return first.workflow_id() + " " + second.workflow_id() + " " + first.get_result() +
               second.get_result();
    });
    EXPECT_EQ(app->run(Calls, {.workflow_id = "c"}), "c-1 c-3 a!b!");
    EXPECT_EQ(column(*app, "c-1", "queue_name"), "_dbos_internal_queue");
    EXPECT_EQ(column(*app, "c-1", "deduplication_id"), "NULL");
}

TEST_P(ContextDebounce, the_deadline_of_the_parent_is_not_that_of_the_child) {
    const auto app = make([](Context& ctx) {
        dbos::Debouncer plain(ctx, Process, {});
        dbos::Debouncer timed(ctx, Process, {.workflow_options = {.workflow_timeout = 50s}});
        const std::string first = plain.debounce("k", 600s, "a").workflow_id();
        return first + " " + timed.debounce("l", 600s, "b").workflow_id();
    });
    EXPECT_EQ(app->run(Calls, {.workflow_id = "c", .workflow_timeout = 20s}), "c-1 c-2");
    EXPECT_EQ(column(*app, "c-1", "workflow_deadline_epoch_ms"), "NULL");
    EXPECT_EQ(column(*app, "c-1", "workflow_timeout_ms"), "NULL");
    EXPECT_EQ(column(*app, "c-2", "workflow_timeout_ms"), "50000");
    app->clock().advance(601s);
    EXPECT_EQ(app->app().retrieve_workflow(Process, "c-1").get_result(), "a!");
}

TEST_P(ContextDebounce, a_key_that_something_else_holds_is_a_recorded_error) {
    const auto app = make([](Context& ctx) {
        dbos::Debouncer debouncer(ctx, Process, {.queue = "q"});
        try {
            return debouncer.debounce("k", 1s, "a").workflow_id();
        } catch (const dbos::QueueDeduplicated& error) {
            ctx.sleep(5s);
            return "held by " + error.workflow_id();
        }
    });
    app->client().enqueue(
        Other, {.queue_name = "q", .workflow_id = "victim", .deduplication_id = "process-k", .delay = 3600s},
        "x");
    EXPECT_EQ(app->run(Calls, {.workflow_id = "c"}), "held by victim");
    EXPECT_EQ(column(*app, "victim", "status"), "DELAYED");
    EXPECT_THAT(app->operations("c"),
                ElementsAre(HasSubstr("DBOS.debounce_delayed_workflow"), HasSubstr("DBOS.sleep")));
}

TEST_P(ContextDebounce, a_start_that_keeps_its_key_is_a_recorded_error_after_a_while) {
    dbos::AppOptions options;
    options.name = "app";
    options.log_sink = log.sink();
    dbos::test::TestDatabase database(GetParam());
    options.system_database_url = database.url();
    options.dbos_system_schema = database.schema();
    dbos::App app(options);
    app.impl().executor.instrument({.core = [](dbos::client::CoreOptions& core) {
        EXPECT_EQ(core.debounce_patience, 5s);
        core.debounce_patience = 350ms;
    }});
    app.register_queue({.name = "q"});
    app.implement(Process, [](Context&, const std::string& text) { return text; });
    std::atomic<int> bodies{0};
    app.implement(Calls, [&](Context& ctx) {
        ++bodies;
        dbos::Debouncer debouncer(ctx, Process, {.queue = "q"});
        try {
            return debouncer.debounce("k", 1s, "b").workflow_id();
        } catch (const dbos::QueueDeduplicated& error) {
            return "held by " + error.workflow_id();
        }
    });
    app.launch();
    // As an executor of another SDK runs it: started, and its key kept.
    const auto connection = dbos::sql::open(database.options());
    dbos::DebouncerClient theirs(app.client(),
                                 {.workflow_name = "process", .queue_name = "q", .workflow_id = "theirs"});
    theirs.debounce("k", 3600s, "a");
    connection->query("UPDATE @workflow_status SET status = 'PENDING', executor_id = 'theirs'", {},
                      dbos::sql::Access::write);
    EXPECT_EQ(app.start_workflow(Calls, {.workflow_id = "c"}).get_result({.timeout = 30s}), "held by theirs");
    const auto steps = app.client().list_workflow_steps("c");
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].function_name, "DBOS.debounce_delayed_workflow");
    EXPECT_TRUE(steps[0].error);
    // The refusal is the record: a replay asks nobody, although the key has come free.
    connection->query(
        "UPDATE @workflow_status SET status = 'SUCCESS', deduplication_id = NULL WHERE "
        "workflow_uuid = 'theirs'",
        {}, dbos::sql::Access::write);
    connection->query(
        "UPDATE @workflow_status SET status = 'ENQUEUED', queue_name = '_dbos_internal_queue', "
        "owner_xid = NULL, completed_at = NULL WHERE workflow_uuid = 'c'",
        {}, dbos::sql::Access::write);
    ASSERT_TRUE(dbos::test::eventually([&] { return bodies >= 2; }));
    EXPECT_EQ(app.retrieve_workflow(Calls, "c").get_result({.timeout = 30s}), "held by theirs");
}

TEST_P(ContextDebounce, keys_of_two_workflows_that_make_one_id_do_not_mix) {
    constexpr auto Short = dbos::workflow<std::string(std::string)>("colw");
    constexpr auto Long = dbos::workflow<std::string(std::string)>("colw-b");
    const auto app = make([&](Context& ctx) {
        dbos::Debouncer one(ctx, Short, {.queue = "q"});
        dbos::Debouncer other(ctx, Long, {.queue = "q"});
        const auto victim = one.debounce("b-k", 100s, "victim");
        try {
            other.debounce("k", 1s, "attacker");
        } catch (const dbos::QueueDeduplicated&) {
            return "refused " + victim.get_result();
        }
        return std::string("mixed");
    });
    app->implement(Short, [](Context&, const std::string& text) { return text; });
    app->implement(Long, [](Context&, const std::string& text) { return text; });
    EXPECT_EQ(app->run(Calls, {}), "refused victim");
}

TEST_P(ContextDebounce, options_and_a_pinned_id_apply) {
    const auto app = make([](Context& ctx) {
        dbos::Debouncer debouncer(
            ctx, Process,
            {.queue = "q",
             .workflow_options = {.workflow_id = "pinned", .app_version = "v9", .workflow_timeout = 5s}});
        const auto first = debouncer.debounce("k", 600s, "a").workflow_id();
        return first + " " + debouncer.debounce("k", 600s, "b").workflow_id();
    });
    EXPECT_EQ(app->run(Calls, {.workflow_id = "c"}), "pinned pinned");
    EXPECT_EQ(column(*app, "pinned", "application_version"), "v9");
    EXPECT_EQ(column(*app, "pinned", "workflow_timeout_ms"), "5000");
    EXPECT_EQ(column(*app, "pinned", "parent_workflow_id"), "c");
}

TEST_P(ContextDebounce, a_target_of_another_application_has_no_version) {
    const auto app = make([](Context& ctx) {
        dbos::Debouncer debouncer(ctx, Process, {.queue = "q", .application_name = "billing"});
        return debouncer.debounce("k", 600s, "a").workflow_id();
    });
    const std::string id = app->run(Calls, {});
    EXPECT_EQ(column(*app, id, "application_name"), "billing");
    EXPECT_EQ(column(*app, id, "application_version"), "NULL");
}

TEST_P(ContextDebounce, in_a_step_it_is_a_plain_call_and_asynchronously_it_is_refused) {
    const auto app = make([](Context& ctx) {
        dbos::Debouncer debouncer(ctx, Process, {.queue = "q"});
        const std::string id =
            ctx.step("call", [&] { return debouncer.debounce("k", 600s, "a").workflow_id(); });
        try {
            debouncer.debounce_async("k", 1s, "b");
            return std::string("not refused");
        } catch (const dbos::UsageError& error) {
            return id.substr(0, 2) + " " + error.what();
        }
    });
    const std::string said = app->run(Calls, {.workflow_id = "c"});
    EXPECT_THAT(said, HasSubstr("a body calls debounce()"));
    EXPECT_EQ(rows(*app), "2");
}

TEST_P(ContextDebounce, wrong_options_take_no_number) {
    const auto app = make([](Context& ctx) {
        try {
            dbos::Debouncer debouncer(ctx, Process, {.workflow_options = {.priority = 3}});
            return std::string("accepted");
        } catch (const dbos::UsageError&) {
        }
        dbos::Debouncer debouncer(ctx, Process, {});
        try {
            debouncer.debounce("", 1s, "a");
            return std::string("accepted");
        } catch (const dbos::UsageError&) {
        }
        return debouncer.debounce("k", 1s, "a").workflow_id();
    });
    EXPECT_EQ(app->run(Calls, {.workflow_id = "c"}), "c-1");
}

}  // namespace
