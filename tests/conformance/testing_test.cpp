// dbos::testing on every database: lives, the clock, crashes everywhere, replays.
#include "dbos/testing.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <map>
#include <set>
#include <thread>

#include "support/app.hpp"
#include "support/datasource.hpp"
#include "testing/test_app.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::Context;
using dbos::testing::CrashPoint;
using dbos::testing::TestApp;
using dbos::testing::TestAppOptions;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr auto Job = dbos::workflow<std::string(std::string)>("testing-job");
constexpr auto Part = dbos::workflow<int(int)>("testing-part");
constexpr auto Count = dbos::workflow<int()>("testing-count");

/// Where there is a server; a TestApp makes its own schema.
class Testing : public ::testing::TestWithParam<dbos::sql::Backend> {
   public:
    void SetUp() override {
        if (postgres() && !dbos::test::need_postgres()) GTEST_SKIP();
    }
    bool postgres() const { return GetParam() == dbos::sql::Backend::postgres; }
    TestAppOptions options() {
        TestAppOptions options;
        if (postgres()) options.system_database_url = *dbos::test::postgres_url();
        options.app.log_sink = log.sink();
        return options;
    }
    dbos::test::LogBook log;
};
DBOS_FOR_EVERY_DATABASE(Testing);

// ------------------------------------------------------------------------------------------------------------ lives

TEST_P(Testing, two_apps_have_databases_of_their_own) {
    TestApp one(options());
    TestApp two(options());
    for (TestApp* app : {&one, &two})
        app->implement(Job, [](Context& ctx, const std::string& text) {
            return ctx.step("echo", [&] { return text; });
        });
    EXPECT_EQ(one.run(Job, {.workflow_id = "same"}, "one"), "one");
    EXPECT_EQ(two.run(Job, {.workflow_id = "same"}, "two"), "two");
    EXPECT_THAT(one.operations("same"), ElementsAre("1 echo: \"one\""));
}

TEST(TestingOptions, the_schema_goes_with_the_app) {
    if (!dbos::test::need_postgres()) GTEST_SKIP();
    const auto exists = [](const std::string& schema) {
        dbos::sql::OpenOptions open;
        open.url = dbos::sql::Url::parse(*dbos::test::postgres_url());
        return dbos::sql::open(open)
            ->query("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)",
                    {std::string_view(schema)})
            .at(0, 0)
            .boolean();
    };
    std::string schema;
    {
        TestApp app({.system_database_url = *dbos::test::postgres_url()});
        app.launch();
        schema = app.impl()
                     .connect()
                     ->query(
                         "SELECT n.nspname::text FROM @application_versions v JOIN pg_class c ON c.oid = "
                         "v.tableoid"
                         " JOIN pg_namespace n ON n.oid = c.relnamespace LIMIT 1")
                     .at(0, 0)
                     .string();
        EXPECT_TRUE(exists(schema));
    }
    EXPECT_FALSE(exists(schema));
}

TEST_P(Testing, a_life_goes_on_where_the_one_before_died) {
    TestApp app(options());
    dbos::test::Gate gate;
    std::atomic<int> first{0};
    std::atomic<int> second{0};
    app.implement(Job, [&](Context& ctx, const std::string&) -> std::string {
        ctx.step("first", [&] { ++first; });
        ctx.step("second", [&] {
            ++second;
            gate.pass();
        });
        return "done";
    });
    app.start_workflow(Job, {.workflow_id = "w"}, "");
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    std::thread opener([&] { gate.open(); });
    app.crash();  // the second step ends, and is not recorded any more
    opener.join();
    EXPECT_EQ(app.app().retrieve_workflow(Job, "w").get_result(), "done");
    EXPECT_EQ(first, 1);
    EXPECT_EQ(second, 2);
}

TEST_P(Testing, is_not_changed_after_its_launch) {
    TestApp app(options());
    app.launch();
    EXPECT_THROW(app.register_queue({.name = "late"}), dbos::UsageError);
}

TEST(TestingOptions, files_are_refused) {
    EXPECT_THROW(TestApp({.system_database_url = "sqlite:///file.sqlite"}), dbos::ConfigError);
}

// ------------------------------------------------------------------------------------------------------------ the clock

TEST_P(Testing, a_year_of_sleep_passes_at_once) {
    TestApp app(options());
    app.implement(Count, [](Context& ctx) {
        const auto begin = ctx.now();
        for (int month = 0; month < 12; ++month) ctx.sleep(30 * 24h);
        return static_cast<int>((ctx.now() - begin) / 24h);
    });
    EXPECT_EQ(app.run(Count, {}), 360);
}

TEST_P(Testing, the_clock_moves_as_far_as_it_is_told) {
    auto with = options();
    with.now = std::chrono::sys_days(std::chrono::year(2031) / 5 / 17);
    with.auto_advance = false;
    TestApp app(std::move(with));
    app.implement(Count, [](Context& ctx) {
        ctx.sleep(24h);
        ctx.set_event("day", 1);
        ctx.sleep(24h);
        ctx.set_event("day", 2);
        ctx.sleep(24h);
        return 3;
    });
    const auto handle = app.start_workflow(Count, {.workflow_id = "days"});
    const auto day = [&] { return app.client().get_event<int>("days", "day", 0s); };
    app.clock().advance(23h);
    EXPECT_EQ(day(), std::nullopt);
    app.clock().advance(1h);
    EXPECT_EQ(day(), 1);
    app.clock().advance(24h);
    EXPECT_EQ(day(), 2);
    EXPECT_EQ(app.clock().now(), std::chrono::sys_days(std::chrono::year(2031) / 5 / 19));
    app.clock().advance(48h);
    EXPECT_EQ(handle.get_result(), 3);
    EXPECT_THROW(app.clock().advance(-1s), dbos::UsageError);
}

TEST_P(Testing, back_off_delay_and_timeouts_are_virtual) {
    TestApp app(options());
    app.register_queue({.name = "later"});
    std::atomic<int> attempts{0};
    app.implement(Job, [&](Context& ctx, const std::string& what) -> std::string {
        if (what == "retry") {
            ctx.step("flaky",
                     [&] {
                         if (++attempts < 5) throw std::runtime_error("again");
                     },
                     {.max_attempts = 5, .interval = 600s, .backoff_rate = 3});
        } else if (what == "retry beside") {
            const dbos::StepOptions patient{.max_attempts = 3, .interval = 600s};
            auto flaky = ctx.async_step(
                "flaky",
                [](dbos::StepContext& step) {
                    if (step.attempt() < 3) throw std::runtime_error("again");
                },
                patient);
            flaky.get();
        } else if (what == "recv") {
            if (!ctx.recv<int>("nothing", 7 * 24h)) return "nobody";
        } else if (what == "for ever") {
            ctx.sleep(1000 * 24h);
        }
        return what;
    });
    EXPECT_EQ(app.run(Job, {}, "retry"), "retry");
    EXPECT_EQ(app.run(Job, {}, "retry beside"), "retry beside");
    EXPECT_EQ(app.run(Job, {}, "recv"), "nobody");
    EXPECT_EQ(app.run(Job, {.queue_name = "later", .delay = 24h}, "late"), "late");
    EXPECT_THROW(app.run(Job, {.workflow_timeout = 3600s}, "for ever"), dbos::AwaitedWorkflowCancelled);
}

TEST_P(Testing, time_stands_still_while_something_runs) {
    TestApp app(options());
    dbos::test::Gate gate;
    app.implement(Count, [](Context& ctx) {
        ctx.sleep(24h);
        return 1;
    });
    app.implement(Job, [&](Context& ctx, const std::string&) -> std::string {
        ctx.step("blocked", [&] { gate.pass(); });
        return "free";
    });
    const auto begin = app.clock().now();
    const auto blocked = app.start_workflow(Job, {}, "");
    auto sleeping = app.start_workflow(Count, {}).get_result_async();
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    EXPECT_FALSE(sleeping.wait_for(100ms));
    EXPECT_EQ(app.clock().now(), begin);
    gate.open();
    EXPECT_EQ(sleeping.get(), 1);
    EXPECT_EQ(app.clock().now(), begin + 24h);
    EXPECT_EQ(blocked.get_result(), "free");
}

// ------------------------------------------------------------------------------------------------------------ crashes

TEST_P(Testing, a_sound_workflow_survives_a_crash_everywhere) {
    TestApp app(options());
    app.register_queue({.name = "parts"});
    std::map<int, int> calls;
    std::mutex mutex;
    app.implement(Part, [&](Context& ctx, int n) {
        return ctx.step("square", [&] {
            std::lock_guard lock(mutex);
            ++calls[n];
            return n * n;
        });
    });
    app.implement(Job, [](Context& ctx, const std::string& name) {
        const auto queued = ctx.start_workflow(Part, {.queue_name = "parts"}, 3);
        const auto direct = ctx.start_workflow(Part, {}, 4);
        auto beside = ctx.async_step("beside", [] { return 5; });
        ctx.set_event("phase", "waiting");
        ctx.sleep(3600s);
        const auto word = ctx.recv<std::string>("word", 60s).value_or("none");
        const int sum = queued.get_result() + direct.get_result() + beside.get();
        return name + " " + word + " " + std::to_string(sum);
    });
    const auto report = dbos::testing::crash_everywhere(
        app, Job,
        {.workflow_id = "w",
         .before_each =
             [&] {
                 std::lock_guard lock(mutex);
                 calls.clear();
             },
         .prepare = [](dbos::Client& client) { client.send("w", "hello", "word"); },
         .after_each =
             [&] {
                 std::lock_guard lock(mutex);
                 for (const auto& [n, times] : calls)
                     if (times > 2) throw std::runtime_error("a step ran three times");
             }},
        "job");
    EXPECT_TRUE(report.passed()) << report;
    EXPECT_EQ(report.expected.text, R"("job hello 30")");
    std::set<CrashPoint> points;
    std::set<std::string> workflows;
    for (const auto& boundary : report.boundaries) {
        points.insert(boundary.point);
        workflows.insert(boundary.workflow_id);
    }
    EXPECT_THAT(points, SizeIs(6));  // all but after_commit
    EXPECT_THAT(workflows, SizeIs(3));
    EXPECT_GE(report.boundaries.size(), 30U);
}

TEST_P(Testing, an_effect_outside_of_a_step_is_found) {
    TestApp app(options());
    int sent = 0;
    app.implement(Count, [&](Context& ctx) {
        ctx.step("one", [] {});
        ++sent;
        ctx.step("two", [] {});
        return 1;
    });
    const auto report =
        dbos::testing::crash_everywhere(app, Count,
                                        {.before_each = [&] { sent = 0; },
                                         .after_each =
                                             [&] {
                                                 if (sent != 1)
                                                     throw std::runtime_error("sent " + std::to_string(sent));
                                             }});
    EXPECT_FALSE(report.passed());
    std::vector<std::string> where;
    for (const auto& broken : report.broken) where.push_back(broken.boundary.text());
    EXPECT_THAT(where, ElementsAre("before step 2 \"two\" of test-workflow",
                                   "before the record of 2 \"two\" of test-workflow",
                                   "after the record of 2 \"two\" of test-workflow",
                                   "before the outcome of test-workflow"));
    EXPECT_THAT(report.broken.front().why, HasSubstr("sent 2"));
    EXPECT_THAT(report.broken.front().recorded, ElementsAre("1 one: null"));
    EXPECT_THAT(report.broken.front().at_the_end, ElementsAre("1 one: null", "2 two: null"));
    EXPECT_THAT(report.text(),
                HasSubstr("crash before step 2 \"two\" of test-workflow: after_each says: sent 2"));
}

TEST_P(Testing, a_result_that_is_not_recorded_is_found) {
    TestApp app(options());
    int lives = 0;
    app.implement(Count, [&](Context& ctx) {
        const int life = ++lives;
        ctx.step("one", [] {});
        return life;
    });
    const auto report = dbos::testing::crash_everywhere(app, Count, {.before_each = [&] { lives = 0; }});
    EXPECT_EQ(report.broken.size(), report.boundaries.size() - 2) << report;  // but for both ends
    EXPECT_THAT(report.broken.back().why, HasSubstr("result 2 instead of result 1"));
}

TEST_P(Testing, errors_are_outcomes_too) {
    TestApp app(options());
    app.implement(Count, [](Context& ctx) -> int {
        ctx.step("one", [] {});
        ctx.step("two", [] { throw std::runtime_error("no"); });
        return 1;
    });
    const auto report = dbos::testing::crash_everywhere(app, Count, {});
    EXPECT_TRUE(report.passed()) << report;
    EXPECT_FALSE(report.expected.success);
    EXPECT_THAT(report.expected.text, HasSubstr("no"));
}

TEST_P(Testing, a_transaction_happens_once) {
    TestApp app(options());
    const dbos::test::TemporaryDirectory directory;
    const dbos::SqliteDatasource file("sqlite:///" + (directory.path() / "own.sqlite").string());
    const auto sql = [&](const std::string& text) {
        return file.run([&](sqlite3* connection) {
            if (sqlite3_exec(connection, text.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
                throw std::runtime_error(sqlite3_errmsg(connection));
        });
    };
    const auto rows = [&] {
        return file.run([](sqlite3* connection) {
            sqlite3_stmt* statement = nullptr;
            sqlite3_prepare_v2(connection, "SELECT count(*) FROM notes", -1, &statement, nullptr);
            sqlite3_step(statement);
            const int count = sqlite3_column_int(statement, 0);
            sqlite3_finalize(statement);
            return count;
        });
    };
    sql("CREATE TABLE notes (text TEXT)");
    app.implement(Count, [file](Context& ctx) {
        ctx.transaction(file, "note", [](sqlite3* connection) {
            if (sqlite3_exec(connection, "INSERT INTO notes VALUES ('x')", nullptr, nullptr, nullptr) !=
                SQLITE_OK)
                throw std::runtime_error(sqlite3_errmsg(connection));
        });
        return 1;
    });
    const auto report = dbos::testing::crash_everywhere(
        app, Count,
        {.before_each = [&] { sql("DELETE FROM notes"); },
         .after_each =
             [&] {
                 if (rows() != 1) throw std::runtime_error(std::to_string(rows()) + " notes");
             }});
    EXPECT_TRUE(report.passed()) << report;
    std::vector<CrashPoint> points;
    for (const auto& boundary : report.boundaries) points.push_back(boundary.point);
    EXPECT_THAT(points, Contains(CrashPoint::after_commit));
}

TEST_P(Testing, what_waits_for_ever_does_not_move_the_clock) {
    TestApp app(options());
    app.implement(Count, [](Context& ctx) {
        return ctx.recv<int>("word", dbos::Duration(std::numeric_limits<double>::infinity())).value_or(0);
    });
    const auto begin = app.clock().now();
    auto result = app.start_workflow(Count, {.workflow_id = "w"}).get_result_async();
    EXPECT_FALSE(result.wait_for(100ms));
    app.clock().advance(1000 * 24h);
    EXPECT_EQ(app.clock().now(), begin + 1000 * 24h);
    app.client().send("w", 5, "word");
    EXPECT_EQ(result.get(), 5);
}

TEST_P(Testing, a_run_that_does_not_end_is_found) {
    TestApp app(options());
    bool replayed = false;
    bool stuck = false;
    app.implement(Count, [&](Context& ctx) {
        ctx.step("one", [] {});
        if (std::exchange(replayed, true) && !stuck) {
            stuck = true;
            ctx.recv<int>("never", dbos::Duration(std::numeric_limits<double>::infinity()));
        }
        return 1;
    });
    const auto report = dbos::testing::crash_everywhere(
        app, Count, {.before_each = [&] { replayed = false; }, .timeout = 3s});
    ASSERT_EQ(report.broken.size(), 1U) << report;
    EXPECT_THAT(report.broken[0].why, HasSubstr("did not end within 3000 ms"));
}

// ------------------------------------------------------------------------------------------------------------ replays

TEST_P(Testing, a_deterministic_workflow_is_replayed_as_it_ran) {
    TestApp app(options());
    app.implement(Part, [](Context&, int n) { return n; });
    app.implement(Job, [](Context& ctx, const std::string& name) {
        ctx.patch("new");
        auto first = ctx.async_step("first", [] { return 1; });
        auto message = ctx.recv_async<int>("none", 60s);
        auto limit = ctx.sleep_async(10s);
        const auto chosen = ctx.select(message, limit);
        const auto child = ctx.start_workflow(Part, {}, 7).get_result();
        ctx.get_event<int>("test-workflow", "nothing", 5s);
        ctx.write_stream("s", 1);
        const auto squares = ctx.map("square", std::vector<int>{1, 2, 3}, [](int n) { return n * n; });
        ctx.defer("after", [] {});
        return name + std::to_string(chosen) + std::to_string(child + first.get() + squares.back()) +
               ctx.random_uuid();
    });
    const auto report = dbos::testing::check_determinism(app, Job, {}, "job");
    EXPECT_TRUE(report.passed()) << report;
    EXPECT_GE(report.recorded.size(), 10U);
}

TEST_P(Testing, another_order_is_found_before_anything_runs) {
    TestApp app(options());
    int runs = 0;
    int strange = 0;
    app.implement(Count, [&](Context& ctx) {
        if (++runs == 1) return ctx.step("one", [] { return 1; }) + ctx.step("two", [] { return 2; });
        return ctx.step("one", [] { return 1; }) + ctx.step("other", [&] { return ++strange; });
    });
    const auto report = dbos::testing::check_determinism(app, Count, {});
    ASSERT_THAT(report.deviations, SizeIs(1));
    EXPECT_EQ(report.deviations[0].number, 2);
    EXPECT_EQ(report.deviations[0].recorded, "two");
    EXPECT_EQ(report.deviations[0].attempted, "other");
    EXPECT_EQ(strange, 0);
    EXPECT_THAT(report.text(), HasSubstr("operation 2: recorded two, attempted other"));
}

TEST_P(Testing, more_and_fewer_operations_are_found) {
    for (const bool more : {true, false}) {
        TestApp app(options());
        int runs = 0;
        int extra = 0;
        app.implement(Count, [&](Context& ctx) {
            const bool first = ++runs == 1;
            ctx.step("one", [] {});
            if (first != more) ctx.step("extra", [&] { ++extra; });
            return 1;
        });
        const auto report = dbos::testing::check_determinism(app, Count, {});
        ASSERT_THAT(report.deviations, SizeIs(1)) << report;
        EXPECT_EQ(report.deviations[0].number, 2);
        EXPECT_EQ(report.deviations[0].recorded, more ? "(nothing)" : "extra");
        EXPECT_EQ(report.deviations[0].attempted, more ? "extra" : "(nothing)");
        EXPECT_EQ(extra, more ? 0 : 1);
    }
}

TEST_P(Testing, another_result_is_found) {
    TestApp app(options());
    int runs = 0;
    app.implement(Count, [&](Context& ctx) {
        ctx.step("one", [] {});
        return ++runs;
    });
    const auto report = dbos::testing::check_determinism(app, Count, {});
    ASSERT_THAT(report.deviations, SizeIs(1));
    EXPECT_EQ(report.deviations[0].number, 0);
    EXPECT_EQ(report.deviations[0].attempted, "result 2");
}

}  // namespace
