// system_database_engine of an application: it runs on connections that the program owns, and none is left when it has ended.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "support/app.hpp"
#include "support/datasource.hpp"
#include "support/own_pool.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;
using dbos::test::OwnPool;
using testing::HasSubstr;

inline constexpr auto Job = dbos::workflow<int(int)>("job");
inline constexpr auto Parent = dbos::workflow<int(int)>("parent");

class AppEngine : public dbos::test::AppTest {
   public:
    OwnPool pool() { return {GetParam(), database().url(), database().options().url.path}; }
    dbos::AppOptions engine_options(OwnPool& pool) {
        dbos::AppOptions options = app_options();
        options.system_database_url.clear();
        options.system_database_engine = pool.source();
        options.system_database_pool_size = 2;
        return options;
    }
    /// An App on the pool that adds up in steps, waits for messages and calls itself on a queue.
    std::unique_ptr<dbos::App> app_on(OwnPool& pool) { return app_with(engine_options(pool)); }
    static std::unique_ptr<dbos::App> app_with(const dbos::AppOptions& options) {
        auto app = std::make_unique<dbos::App>(options);
        app->implement(Job, [](dbos::Context& ctx, int n) {
            int sum = 0;
            for (int i = 0; i < n; ++i) sum += ctx.step("one", [] { return 1; });
            return sum;
        });
        app->implement(Parent, [](dbos::Context& ctx, int n) {
            const auto child = ctx.start_workflow(Job, {.queue_name = "q"}, n);
            ctx.set_event("asked", n);
            return child.get_result() + ctx.recv<int>("more", 20s).value_or(1000);
        });
        app->register_queue({.name = "q", .concurrency = 2});
        return app;
    }
    void expect_as_before(OwnPool& own) {
        EXPECT_EQ(own.lent(), 0u);
        EXPECT_EQ(own.good(), own.given_back()) << "a connection was given back as broken";
        if (postgres()) {
            EXPECT_EQ(own.ask_all("SELECT * FROM pg_listening_channels()"), std::set<std::string>{""});
            EXPECT_EQ(own.ask_all("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = "
                                  "'advisory'"),
                      std::set<std::string>{"0"});
            EXPECT_EQ(own.ask_all("SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM "
                                  "pg_settings WHERE source = 'session' AND name NOT IN ('client_encoding', "
                                  "'enable_seqscan')"),
                      std::set<std::string>{""});
            EXPECT_EQ(own.ask_all("SHOW enable_seqscan"), std::set<std::string>{"on"});
        } else {
            EXPECT_EQ(own.ask_all("PRAGMA busy_timeout"), std::set<std::string>{"1234"});
            EXPECT_EQ(own.ask_all("PRAGMA foreign_keys"), std::set<std::string>{"0"});
            EXPECT_EQ(own.ask_all("PRAGMA wal_autocheckpoint"), std::set<std::string>{"1000"});
        }
    }
};
DBOS_FOR_EVERY_DATABASE(AppEngine);

TEST_P(AppEngine, serves_and_gives_everything_back_when_it_has_ended) {
    OwnPool own = pool();
    for (int life = 0; life < 2;
         ++life) {  // the second one meets what the first one has left on the connections
        const auto app = app_on(own);
        app->launch();
        const std::string id = "p" + std::to_string(life);
        const auto handle = app->start_workflow(Parent, {.workflow_id = id}, 3);
        EXPECT_EQ(app->client().get_event<int>(id, "asked", 20s), 3);
        app->client().send(id, 10, "more");
        EXPECT_EQ(handle.get_result({.timeout = 20s}), 13);
        EXPECT_EQ(app->client().enqueue(Job, {.queue_name = "q"}, 2).get_result({.timeout = 20s}), 2);
        EXPECT_GT(own.lent(), 0u);
        EXPECT_TRUE(app->shutdown().empty());
        expect_as_before(own);  // the App is still there
    }
    EXPECT_LE(own.most(), 11u) << "system_database_pool_size and nine";
    EXPECT_LE(own.opened(), own.most()) << "a connection was opened in vain";
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status = 'SUCCESS'"), "6");
}

TEST_P(AppEngine, recovers_what_its_last_life_has_left) {
    OwnPool own = pool();
    auto options = engine_options(own);
    options.executor_id = "worker-1";
    Gate gate;
    std::atomic<int> steps{0};
    const auto make = [&] {
        auto app = std::make_unique<dbos::App>(options);
        app->implement(Job, [&](dbos::Context& ctx, int n) {
            const int first = ctx.step("first", [&] { return ++steps; });
            gate.pass();
            return first + ctx.step("second", [&] { return n + ++steps; });
        });
        return app;
    };
    {
        const auto app = make();
        app->launch();
        app->start_workflow(Job, {.workflow_id = "w"}, 10);
        ASSERT_TRUE(gate.wait_for_arrivals(1));
        EXPECT_EQ(app->shutdown(0s, 0s).size(), 1u);  // its body is in the program's code
        gate.open();
    }
    EXPECT_EQ(own.lent(), 0u);
    const auto app = make();
    app->launch();
    EXPECT_EQ(app->retrieve_workflow(Job, "w").get_result({.timeout = 20s}), 1 + 10 + 2);
    EXPECT_EQ(steps, 2);
}

TEST_P(AppEngine, waits_for_an_engine_that_gives_none_for_a_while) {
    OwnPool own = pool();
    own.refuse(3);
    const auto app = app_on(own);
    app->launch();  // the first look at the engine, and the first connection
    EXPECT_EQ(own.refusals_left(), 0);
    EXPECT_EQ(log.count("acquire() returned nullptr"), 3);
    EXPECT_EQ(app->start_workflow(Job, {.workflow_id = "before"}, 2).get_result({.timeout = 20s}), 2);
    // What it holds breaks, and there is nothing new for some time. (A file does not break.)
    own.refuse(20);
    if (postgres()) execute("SELECT pg_terminate_backend(pid) FROM unnest(" + own.processes() + ") AS pid");
    const auto handle = app->start_workflow(Parent, {.workflow_id = "during"}, 3);
    app->client().send("during", 10, "more");
    EXPECT_EQ(handle.get_result({.timeout = 60s}), 13);
    if (postgres()) {
        EXPECT_TRUE(eventually([&] { return own.refusals_left() == 0; }));
    }
    own.refuse(0);
    EXPECT_TRUE(app->shutdown().empty());
    EXPECT_EQ(own.lent(), 0u);
}

TEST_P(AppEngine, is_asked_once_if_connections_are_not_to_be_tried_again) {
    OwnPool own = pool();
    auto options = engine_options(own);
    options.retry_connection_errors = false;
    own.refuse(1);
    const auto app = app_with(options);
    try {
        app->launch();
        ADD_FAILURE() << "launched";
    } catch (const dbos::DatabaseError& error) {
        EXPECT_THAT(error.what(), HasSubstr("system_database_engine gave no connection"));
    }
    EXPECT_EQ(own.opened(), 0u);
}

TEST_P(AppEngine, a_launch_that_is_refused_gives_everything_back) {
    OwnPool own = pool();
    auto options = engine_options(own);
    options.run_migrations = false;
    const auto app = app_with(options);
    EXPECT_THROW(app->launch(), dbos::ConfigError);  // no tables
    EXPECT_EQ(own.lent(), 0u);
    EXPECT_GT(own.good(), 0u);
}

TEST_P(AppEngine, polls_where_it_is_not_to_listen) {
    OwnPool own = pool();
    auto options = engine_options(own);
    options.use_listen_notify = false;
    const auto app = app_with(options);
    app->launch();
    const auto handle = app->start_workflow(Parent, {.workflow_id = "w"}, 3);
    if (postgres()) {
        EXPECT_EQ(scalar("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid = ANY (" +
                         own.processes() + ")"),
                  "0");
    }
    app->client().send("w", 10, "more");
    EXPECT_EQ(handle.get_result({.timeout = 20s}), 13);
}

TEST_P(AppEngine, lends_the_system_database_to_transactional_steps) {
    OwnPool own = pool();
    dbos::App app(engine_options(own));
    execute("CREATE TABLE @ledger (amount INT)");
    const auto system = postgres()
                            ? dbos::test::AnyDatasource(app.system_datasource<dbos::PostgresDatasource>(),
                                                        database().schema())
                            : dbos::test::AnyDatasource(app.system_datasource<dbos::SqliteDatasource>());
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        return system.transaction(ctx, "write", [&](const dbos::test::Statements& run) {
            run("INSERT INTO @ledger VALUES (" + std::to_string(n) + ")");
            return n;
        });
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Job, {}, 7).get_result({.timeout = 20s}), 7);
    EXPECT_EQ(scalar("SELECT sum(amount) FROM @ledger"), "7");
    EXPECT_TRUE(app.shutdown().empty());
    expect_as_before(own);
}

}  // namespace
