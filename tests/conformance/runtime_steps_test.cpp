// Steps and waits in detail: attempts, time-outs, numbers, times (runtime_cases.list).
#include <atomic>
#include <numeric>
#include <set>
#include <thread>

#include "support/context.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;
using dbos::test::Steps;

namespace {

inline constexpr auto Waiter = dbos::workflow<int(int)>("waiter");

class StepRules : public dbos::test::ContextTest {
   public:
    dbos::StepInfo info(int n, const std::string& id = "w") {
        return app->client().list_workflow_steps(id).at(static_cast<std::size_t>(n - 1));
    }
    static std::int64_t length(const dbos::StepInfo& step) {
        return *step.completed_at_epoch_ms - *step.started_at_epoch_ms;
    }
};
DBOS_FOR_EVERY_DATABASE(StepRules);

TEST_P(StepRules, the_last_attempt_is_followed_by_no_pause_and_its_error_lists_all) {
    std::atomic<int> attempts{0};
    std::vector<std::string> errors;
    launch([&](dbos::Context& ctx, const std::string&) {
        try {
            // The pause after the second attempt would last for an hour.
            ctx.step("fails", [&] { throw std::runtime_error("no " + std::to_string(++attempts)); },
                     {.max_attempts = 2, .interval = 1ms, .backoff_rate = 1e9});
        } catch (const dbos::StepRetriesExhausted& error) {
            errors = error.errors();
            EXPECT_EQ(error.step_name(), "fails");
            EXPECT_EQ(error.max_attempts(), 2);
        }
        return "done";
    });
    run();
    EXPECT_EQ(attempts, 2);
    EXPECT_EQ(errors, (Steps{"runtime_error: no 1", "runtime_error: no 2"}));
    errors.clear();
    replay();
    EXPECT_EQ(attempts, 2);
    EXPECT_EQ(errors, (Steps{"runtime_error: no 1", "runtime_error: no 2"})) << "the record has them too";
}

TEST_P(StepRules, a_predicate_is_asked_after_the_last_attempt_as_well) {
    std::atomic<int> asked{0};
    std::string caught;
    launch([&](dbos::Context& ctx, const std::string&) {
        try {
            ctx.step(
                "fails",
                [&](dbos::StepContext& step) { throw std::runtime_error(std::to_string(step.attempt())); },
                {.max_attempts = 2, .interval = 1ms, .should_retry = [&](const std::exception& error) {
                     ++asked;
                     return std::string(error.what()) != "2";
                 }});
        } catch (const std::runtime_error& error) {  // the original, not "exhausted"
            caught = error.what();
        }
        return "done";
    });
    run();
    EXPECT_EQ(asked, 2);
    EXPECT_EQ(caught, "2");
    EXPECT_EQ(info(1).error.value().type_name, "runtime_error");
}

TEST_P(StepRules, a_callable_sees_its_number_and_attempt) {
    Steps seen;
    launch([&](dbos::Context& ctx, const std::string&) {
        const auto note = [&](dbos::StepContext& step) {
            seen.push_back(step.workflow_id() + " " + std::to_string(step.step_id()) + " " +
                           std::to_string(step.attempt()) + "/" + std::to_string(step.max_attempts()));
            if (step.attempt() < step.max_attempts()) throw std::runtime_error("again");
        };
        ctx.step("one", note);
        ctx.step("two", note, {.max_attempts = 2, .interval = 1ms});
        return "done";
    });
    run();
    EXPECT_EQ(seen, (Steps{"w 1 1/1", "w 2 1/2", "w 2 2/2"}));
}

TEST_P(StepRules, a_timeout_ends_one_attempt_and_is_replayed) {
    std::atomic<int> attempts{0}, caught{0};
    launch([&](dbos::Context& ctx, const std::string&) {
        const auto slow = [&](dbos::StepContext& step) {
            ++attempts;
            // The second attempt is in time.
            while (step.attempt() == 1 && !step.stop_token().stop_requested()) std::this_thread::yield();
            return step.attempt();
        };
        EXPECT_EQ(ctx.step("retried", slow, {.max_attempts = 2, .interval = 1ms, .timeout = 30ms}), 2);
        try {
            ctx.step("alone", slow, {.timeout = 30ms});
        } catch (const dbos::StepTimeout& error) {
            EXPECT_EQ(error.step_name(), "alone");
            ++caught;
        }
        EXPECT_EQ(ctx.step("in time", [] { return 5; }, {.timeout = 1h}), 5);
        EXPECT_THROW(ctx.step("own error", [] { throw std::out_of_range("x"); }, {.timeout = 1h}),
                     std::out_of_range);
        for (const dbos::Duration wrong : {dbos::Duration(0), dbos::Duration(-1)})
            EXPECT_THROW(ctx.step("wrong", [] {}, {.timeout = wrong}), dbos::UsageError);
        EXPECT_THROW(ctx.step("wrong", [] {}, {.max_attempts = 0}), dbos::UsageError);
        return "done";
    });
    run();
    EXPECT_EQ(attempts, 3);
    EXPECT_EQ(steps(), (Steps{"1 retried", "2 alone", "3 in time", "4 own error"}));
    replay();
    EXPECT_EQ(attempts, 3);
    EXPECT_EQ(caught, 2);
}

TEST_P(StepRules, a_workflow_that_is_recovered_between_attempts_ends_once) {
    std::atomic<int> failures{0}, ends{0};
    const auto body = [&](dbos::Context& ctx, const std::string&) {
        ctx.step("shaky",
                 [&] {
                     if (++failures == 1) throw std::runtime_error("once");
                 },
                 // The first application does not live to see the second attempt.
                 {.max_attempts = 2, .interval = failures == 0 ? dbos::Duration(1h) : dbos::Duration(1ms)});
        ctx.step("end", [&] { ++ends; });
        return "done";
    };
    launch(body);
    app->start_workflow(dbos::test::Speaker, {.workflow_id = "w"}, std::string());
    ASSERT_TRUE(eventually([&] { return log.count("will be tried again") == 1; }));
    app.emplace(app_options());
    app->implement(dbos::test::Silent, [](dbos::Context&) {});
    launch(body);
    app->retrieve_workflow("w").get_result({.timeout = 30s});
    EXPECT_EQ(failures, 2);
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(steps(), (Steps{"1 shaky", "2 end"}));
}

TEST_P(StepRules, the_result_of_a_step_that_a_shutdown_meets_in_its_pause_is_not_recorded) {
    launch([&](dbos::Context& ctx, const std::string&) {
        ctx.step("shaky", [] { throw std::runtime_error("no"); }, {.max_attempts = 2, .interval = 1h});
        return "done";
    });
    app->start_workflow(dbos::test::Speaker, {.workflow_id = "w"}, std::string());
    ASSERT_TRUE(eventually([&] { return log.count("will be tried again") == 1; }));
    EXPECT_TRUE(app->shutdown().empty());
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'w'"), "0");
    EXPECT_EQ(scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = 'w'"), "PENDING");
}

TEST_P(StepRules, a_long_history_is_replayed_to_its_end) {
    constexpr int kSteps = 100;
    std::atomic<int> calls{0};
    std::atomic<bool> patched{false};
    launch([&](dbos::Context& ctx, const std::string&) {
        int sum = 0;
        for (int n = 1; n <= kSteps; ++n) {
            sum += ctx.step("add", [&] { return ++calls, n; });
            // At the last record that a claim brings along, and with none left.
            if (n == 31 || n == kSteps) patched = ctx.patch("later");
        }
        return std::to_string(sum);
    });
    EXPECT_EQ(run(), "5050");
    EXPECT_TRUE(patched);
    replay();
    EXPECT_EQ(calls, kSteps);
    EXPECT_TRUE(patched);
    EXPECT_EQ(steps().size(), kSteps + 2U);
}

TEST_P(StepRules, pauses_beside_the_body_hold_no_thread_and_end_with_it) {
    constexpr int kSteps = 40;
    std::set<std::thread::id> threads;  // the attempts follow each other
    launch([&](dbos::Context& ctx, const std::string&) {
        std::vector<dbos::Pending<void>> pending;
        for (int n = 1; n <= kSteps; ++n) {
            pending.push_back(ctx.async_step("shaky",
                                             [&] {
                                                 threads.insert(std::this_thread::get_id());
                                                 throw std::runtime_error("no");
                                             },
                                             {.max_attempts = 2, .interval = 1h}));
            EXPECT_TRUE(eventually([&] { return log.count("will be tried again") == n; }));
        }
        return "done";
    });
    EXPECT_EQ(run(), "done");
    EXPECT_LE(threads.size(), 10U);
    EXPECT_EQ(
        scalar("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'w' AND error LIKE '%no%'"),
        std::to_string(kSteps));
}

TEST_P(StepRules, a_shutdown_ends_the_pause_of_a_step_beside_the_body) {
    launch([&](dbos::Context& ctx, const std::string&) {
        ctx.async_step("shaky", [] { throw std::runtime_error("no"); }, {.max_attempts = 2, .interval = 1h})
            .get();
        return "done";
    });
    app->start_workflow(dbos::test::Speaker, {.workflow_id = "w"}, std::string());
    ASSERT_TRUE(eventually([&] { return log.count("will be tried again") == 1; }));
    EXPECT_TRUE(app->shutdown().empty());
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'w'"), "0");
    EXPECT_EQ(scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = 'w'"), "PENDING");
}

TEST_P(StepRules, times_say_when_it_began_and_ended_and_stay_on_replay) {
    app->implement(Waiter, [](dbos::Context&, int n) { return n; });
    launch([&](dbos::Context& ctx, const std::string&) {
        ctx.step("step", [] { return 1; });
        ctx.sleep(60ms);
        EXPECT_EQ(ctx.recv("t", 40ms), std::nullopt);
        EXPECT_EQ(ctx.get_event("nobody", "k", 40ms), std::nullopt);
        auto child = ctx.start_workflow(Waiter, {.workflow_id = "child"}, 1);
        child.get_result();
        ctx.set_event("k", 1);
        return "done";
    });
    run();
    const auto before = app->client().list_workflow_steps("w");
    ASSERT_EQ(steps(), (Steps{"1 step", "2 DBOS.sleep", "3 DBOS.recv", "4 DBOS.sleep", "5 DBOS.getEvent",
                              "6 DBOS.sleep", "7 waiter", "8 DBOS.getResult", "9 DBOS.setEvent"}));
    for (const auto& step : before) {
        ASSERT_TRUE(step.started_at_epoch_ms && step.completed_at_epoch_ms) << step.function_name;
        EXPECT_GE(length(step), 0) << step.function_name;
    }
    EXPECT_EQ(length(before[1]), 60) << "as long as the sleep, however long it took";
    EXPECT_EQ(length(before[3]), 0) << "the deadline of a receive is set at once";
    EXPECT_EQ(length(before[5]), 0);
    EXPECT_GE(length(before[2]), 40);
    EXPECT_GE(length(before[4]), 40);
    EXPECT_EQ(length(before[6]), 0) << "of the start, not of the child's run";
    for (std::size_t i = 1; i < before.size(); ++i)
        EXPECT_GE(*before[i].started_at_epoch_ms, *before[i - 1].started_at_epoch_ms) << i;
    replay();
    const auto after = app->client().list_workflow_steps("w");
    ASSERT_EQ(after.size(), before.size());
    for (std::size_t i = 0; i < after.size(); ++i) {
        EXPECT_EQ(after[i].started_at_epoch_ms, before[i].started_at_epoch_ms) << i;
        EXPECT_EQ(after[i].completed_at_epoch_ms, before[i].completed_at_epoch_ms) << i;
    }
}

TEST_P(StepRules, what_is_under_way_together_is_numbered_in_program_order) {
    app->implement(Waiter, [](dbos::Context&, int n) { return n; });
    std::atomic<int> calls{0};
    launch([&](dbos::Context& ctx, const std::string&) {
        auto a = ctx.async_step("a", [&] { return ++calls, 1; });
        auto sent = ctx.send_async("to", 1);
        auto b = ctx.async_step("b", [&] { return ++calls, 2; });
        auto written = ctx.write_stream_async("s", 1);
        auto set = ctx.set_event_async("k", 1);
        auto child = ctx.start_workflow(Waiter, {}, 7);
        auto slept = ctx.sleep_async(1ms);
        auto again = ctx.write_stream_async("s", 2);
        auto result = ctx.get_result_async(child);
        // Taken in another order than they were begun in.
        const int sum = result.get() + b.get() + a.get();
        again.get(), set.get(), slept.get(), written.get(), sent.get();
        return std::to_string(sum);
    });
    const Steps expected{"1 a",
                         "2 DBOS.send",
                         "3 b",
                         "4 DBOS.writeStream",
                         "5 DBOS.setEvent",
                         "6 waiter",
                         "7 DBOS.sleep",
                         "8 DBOS.writeStream",
                         "9 DBOS.getResult"};
    EXPECT_EQ(run(), "10");
    EXPECT_EQ(steps(), expected);
    EXPECT_EQ(read("s"), (std::vector<int>{1, 2}));
    replay();
    EXPECT_EQ(steps(), expected);
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(messages().size(), 1u);
    EXPECT_EQ(read("s"), (std::vector<int>{1, 2}));
}

TEST_P(StepRules, hundreds_that_wait_for_one_event_need_few_threads) {
    constexpr int kWaiters = 300;
    auto options = app_options();
    options.max_running = 4;
    options.park_after = 0s;
    app.emplace(std::move(options));
    app->implement(dbos::test::Silent, [](dbos::Context&) {});
    app->implement(
        Waiter, [](dbos::Context& ctx, int n) { return n + ctx.get_event<int>("w", "go", 60s).value_or(0); });
    Gate gate;
    launch([&](dbos::Context& ctx, const std::string&) {
        ctx.step("hold", [&] { gate.pass(); });
        ctx.set_event("go", 1000);
        return "done";
    });
    auto setter = app->start_workflow(dbos::test::Speaker, {.workflow_id = "w"}, std::string());
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    std::vector<dbos::WorkflowHandle<int>> waiters;
    for (int i = 0; i < kWaiters; ++i) waiters.push_back(app->start_workflow(Waiter, {}, i));
    // The deadline of each wait stands in the database: all have begun to wait, beside the step that holds a permit.
    ASSERT_TRUE(eventually([&] {
        return scalar("SELECT count(*) FROM @operation_outputs WHERE function_name = 'DBOS.sleep'") ==
               std::to_string(kWaiters);
    }));
    gate.open();
    for (int i = 0; i < kWaiters; ++i)
        EXPECT_EQ(waiters[static_cast<std::size_t>(i)].get_result({.timeout = 60s}), i + 1000);
    setter.get_result({.timeout = 20s});
}

}  // namespace
