// Shutdown beside everything else: starts that race with it, a database that is away, steps that do not end (safety 27, 34, 53).
#include <atomic>
#include <future>
#include <thread>

#include "support/app.hpp"
#include "support/proxy.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;
using dbos::test::Proxy;

namespace {

inline constexpr auto Job = dbos::workflow<int(int)>("job");

class Shutdown : public dbos::test::AppTest {
   public:
    std::string status_of(const std::string& id) {
        return scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = '" + id + "'");
    }
    /// Runs `work` on a thread; false if it does not return in time (then the test program cannot go on, and says so).
    template <class F>
    void in_bounded_time(const char* what, F work, std::chrono::seconds bound = 60s) {
        auto done = std::async(std::launch::async, std::move(work));
        if (done.wait_for(bound) == std::future_status::ready) return done.get();
        std::fprintf(stderr, "%s did not return\n%s\n", what, log.text().c_str());
        std::abort();
    }
};
DBOS_FOR_EVERY_DATABASE(Shutdown);

TEST_P(Shutdown, a_start_beside_it_is_refused_or_kept) {
    std::atomic<int> bodies{0};
    const auto body = [&](dbos::Context& ctx, int n) {
        ++bodies;
        return ctx.step("s", [n] { return n; });
    };
    std::atomic<int> accepted{0}, refused{0}, number{0};
    for (int round = 0; round < 4; ++round) {
        dbos::App app(app_options());
        app.implement(Job, body);
        app.register_queue({.name = "q"});
        app.launch();
        const int before = accepted;
        std::vector<std::thread> starters;
        for (int t = 0; t < 4; ++t) {
            starters.emplace_back([&, t] {
                for (int i = 0; i < 1000; ++i) {
                    try {
                        const std::string id = "w" + std::to_string(++number);
                        if (t == 0) {
                            app.start_workflow_async(Job, {.workflow_id = id}, i).get();
                        } else {
                            app.start_workflow(Job, {.queue_name = t == 1 ? "q" : "", .workflow_id = id}, i);
                        }
                        ++accepted;
                    } catch (const dbos::UsageError&) {  // after shutdown()
                        ++refused;
                        return;
                    } catch (const dbos::ClientClosed&) {  // in the middle of it: may have been written
                        ++refused;
                        return;
                    }
                }
            });
        }
        ASSERT_TRUE(eventually([&] { return accepted > before + 20; }));
        EXPECT_TRUE(app.shutdown(dbos::Duration(0), 20s).empty());
        for (auto& starter : starters) starter.join();
    }
    EXPECT_GE(refused, 16);
    const auto rows = std::stoi(scalar("SELECT count(*) FROM @workflow_status"));
    EXPECT_GE(rows, accepted);
    EXPECT_LE(rows, accepted + refused);
    // What was accepted is never lost: the next process runs it.
    dbos::App next(app_options());
    next.implement(Job, body);
    next.register_queue({.name = "q"});
    next.launch();
    EXPECT_TRUE(eventually(
        [&] {
            return scalar("SELECT count(*) FROM @workflow_status WHERE status = 'SUCCESS'") ==
                   std::to_string(rows);
        },
        60))
        << scalar("SELECT count(*) FROM @workflow_status WHERE status <> 'SUCCESS'") << " of " << rows;
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs"), std::to_string(rows));
}

TEST_P(Shutdown, a_child_start_beside_it_is_recovered_with_its_parent) {
    const auto parent = [&](dbos::Context& ctx, int n) {
        if (n < 0) return ctx.step("leaf", [n] { return -n; });
        int sum = 0;
        for (int i = 1; i <= 8; ++i) sum += ctx.start_workflow(Job, {}, -i).get_result();
        return sum;
    };
    for (int round = 0; round < 4; ++round) {
        dbos::App app(app_options());
        app.implement(Job, parent);
        app.launch();
        for (int i = 0; i < 5; ++i)
            app.start_workflow(Job, {.workflow_id = "p" + std::to_string(round) + "-" + std::to_string(i)},
                               1);
        const int want = 10 * (round + 1);
        ASSERT_TRUE(
            eventually([&] { return std::stoi(scalar("SELECT count(*) FROM @operation_outputs")) >= want; }));
        EXPECT_TRUE(app.shutdown(dbos::Duration(0), 20s).empty());
    }
    dbos::App next(app_options());
    next.implement(Job, parent);
    next.launch();
    EXPECT_TRUE(eventually(
        [&] { return scalar("SELECT count(*) FROM @workflow_status WHERE status <> 'SUCCESS'") == "0"; },
        60));
    // Every child exists once, under the number of its start.
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE parent_workflow_id IS NOT NULL"), "160");
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_output WHERE output = '36'"), "20");
}

TEST_P(Shutdown, several_at_once_and_again_are_one) {
    dbos::App app(app_options());
    Gate gate;
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        return ctx.step("s", [&] {
            gate.pass();
            return n;
        });
    });
    app.launch();
    app.start_workflow(Job, {.workflow_id = "w"}, 1);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    std::vector<std::thread> callers;
    for (int i = 0; i < 3; ++i) callers.emplace_back([&] { app.shutdown(dbos::Duration(0), 20s); });
    gate.open();
    for (auto& caller : callers) caller.join();
    EXPECT_TRUE(app.shutdown().empty());
    EXPECT_THROW(app.client(), dbos::UsageError);
    EXPECT_THROW(app.launch(), dbos::UsageError);
}

TEST_P(Shutdown, wait_returns_when_another_thread_shuts_down) {
    dbos::App app(app_options());
    app.implement(Job, [](dbos::Context&, int n) { return n; });
    app.launch();
    in_bounded_time("wait()", [&] {
        std::thread other([&] { app.shutdown(); });
        app.wait();
        other.join();
    });
    EXPECT_THROW(app.start_workflow(Job, {}, 1), dbos::UsageError);
}

/// The database goes away while an application runs.
class DatabaseAway : public Shutdown {
   public:
    void SetUp() override {
        Shutdown::SetUp();
        if (IsSkipped() || !postgres()) return;
        const std::string url = database().url();
        const auto colon = url.rfind(':');
        const auto slash = url.find('/', colon);
        proxy_ = std::make_unique<Proxy>(
            static_cast<std::uint16_t>(std::stoi(url.substr(colon + 1, slash - colon - 1))));
        proxied_ = url.substr(0, colon + 1) + std::to_string(proxy_->port()) + url.substr(slash);
    }
    void TearDown() override {
        blocker_.reset();
        proxy_.reset();
        Shutdown::TearDown();
    }
    dbos::AppOptions away_options() {
        dbos::AppOptions options = app_options();
        if (postgres()) options.system_database_url = proxied_;
        return options;
    }
    /// PostgreSQL: refuses connections, or swallows everything. SQLite: somebody holds the writer lock for ever.
    void take_away(bool silently) {
        if (postgres()) {
            proxy_->set(silently ? Proxy::Mode::freeze : Proxy::Mode::refuse);
            return;
        }
        blocker_ = open();
        blocker_->begin();
        blocker_->query("UPDATE @workflow_status SET name = name", {}, dbos::sql::Access::write);
    }
    void bring_back() {
        if (postgres()) proxy_->set(Proxy::Mode::pass);
        if (blocker_) blocker_->rollback();
    }

   private:
    std::unique_ptr<Proxy> proxy_;
    std::string proxied_;
    std::unique_ptr<dbos::sql::Connection> blocker_;
};
DBOS_FOR_EVERY_DATABASE(DatabaseAway);

TEST_P(DatabaseAway, an_idle_application_ends_in_bounded_time) {
    for (const bool silently : {false, true}) {
        auto app = std::make_unique<dbos::App>(away_options());
        app->implement(Job, [](dbos::Context&, int n) { return n; });
        app->register_queue({.name = "q"});
        app->launch();
        EXPECT_EQ(app->start_workflow(Job, {.queue_name = "q"}, 1).get_result({.timeout = 20s}), 1);
        take_away(silently);
        in_bounded_time("the end of an idle application", [&] { app.reset(); });
        bring_back();
        if (!postgres()) break;
    }
}

TEST_P(DatabaseAway, a_run_that_cannot_record_its_step_does_not_hold_the_process) {
    Gate gate;
    std::atomic<int> after{0};
    const auto body = [&](dbos::Context& ctx, int n) {
        ctx.step("first", [&] { gate.pass(); });
        ctx.step("second", [&] { ++after; });
        return n;
    };
    auto app = std::make_unique<dbos::App>(away_options());
    app->implement(Job, body);
    app->launch();
    app->start_workflow(Job, {.workflow_id = "w"}, 5);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    take_away(false);
    gate.open();  // the step has ended, and its record goes nowhere
    in_bounded_time("the end of an application with a record on its way", [&] {
        EXPECT_TRUE(app->shutdown(dbos::Duration(0), 500ms).empty());
        app.reset();
    });
    EXPECT_EQ(after, 0);
    bring_back();
    EXPECT_EQ(status_of("w"), "PENDING");
    dbos::App next(app_options());
    next.implement(Job, body);
    next.launch();
    EXPECT_EQ(next.retrieve_workflow(Job, "w").get_result({.timeout = 30s}), 5);
    EXPECT_EQ(after, 1);
}

TEST_P(DatabaseAway, an_outcome_that_cannot_be_written_is_given_up_and_recovered) {
    Gate gate;
    std::atomic<int> bodies{0};
    const auto body = [&](dbos::Context&, int n) {
        ++bodies;
        gate.pass();
        return n;
    };
    auto app = std::make_unique<dbos::App>(away_options());
    app->implement(Job, body);
    app->launch();
    app->start_workflow(Job, {.workflow_id = "w"}, 5);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    take_away(false);
    gate.open();
    in_bounded_time("the end of an application with an outcome on its way", [&] {
        EXPECT_TRUE(app->shutdown(dbos::Duration(0), 200ms).empty());
        app.reset();
    });
    bring_back();
    EXPECT_EQ(status_of("w"), "PENDING");
    dbos::App next(app_options());
    next.implement(Job, body);
    next.launch();
    EXPECT_EQ(next.retrieve_workflow(Job, "w").get_result({.timeout = 30s}), 5);
    EXPECT_EQ(bodies, 2);
}

TEST_P(DatabaseAway, a_step_that_still_works_is_waited_for_and_named) {
    Gate gate;
    auto app = std::make_unique<dbos::App>(away_options());
    app->implement(Job, [&](dbos::Context& ctx, int n) {
        ctx.step("stubborn", [&] { gate.pass(); });
        return n;
    });
    app->launch();
    app->start_workflow(Job, {.workflow_id = "w"}, 5);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    take_away(false);
    in_bounded_time("shutdown() beside a working step", [&] {
        const auto left = app->shutdown(dbos::Duration(0), 200ms);
        ASSERT_EQ(left.size(), 1u);
        EXPECT_EQ(left[0], "w: stubborn");
    });
    bring_back();
    gate.open();
    in_bounded_time("shutdown() after it", [&] {
        EXPECT_TRUE(app->shutdown(dbos::Duration(0), 20s).empty());
        app.reset();
    });
    // The database was there again in time: what the step did is recorded.
    EXPECT_EQ(scalar("SELECT function_name FROM @operation_outputs WHERE workflow_uuid = 'w'"), "stubborn");
}

TEST_P(DatabaseAway, for_a_moment_is_only_a_pause) {
    dbos::App app(away_options());
    Gate gate;
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        ctx.step("first", [&] { gate.pass(); });
        return ctx.step("second", [n] { return n; });
    });
    app.register_queue({.name = "q"});
    app.launch();
    auto handle = app.start_workflow(Job, {.queue_name = "q"}, 5);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    take_away(false);
    gate.open();
    ASSERT_TRUE(eventually(
        [&] { return log.count("could not be renewed") > 0 || log.count("tick failed") > 0; }, 40));
    bring_back();
    EXPECT_EQ(handle.get_result({.timeout = 60s}), 5);
    EXPECT_EQ(scalar("SELECT recovery_attempts FROM @workflow_status"), "1");
}

}  // namespace
