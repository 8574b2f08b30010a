// Long waits free their thread: the body is unwound and replayed. Nobody who looks from outside can tell.
#include <atomic>
#include <set>

#include "support/app.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;

namespace {

inline constexpr auto Body = dbos::workflow<int(int)>("body");
inline constexpr auto Child = dbos::workflow<int(int)>("child");

class Parking : public dbos::test::AppTest {
   protected:
    dbos::AppOptions options() {
        dbos::AppOptions options = app_options();
        options.park_after = 0s;
        return options;
    }
};
DBOS_FOR_EVERY_DATABASE(Parking);

TEST_P(Parking, a_sleep_replays_the_body_and_runs_no_step_again) {
    dbos::App app(options());
    std::atomic<int> lives{0}, steps{0};
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        ++lives;
        const int a = ctx.step("first", [&] {
            ++steps;
            return n + 1;
        });
        ctx.sleep(50ms);
        return a + ctx.step("second", [&] {
            ++steps;
            return 10;
        });
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {.workflow_id = "w"}, 1).get_result(), 12);
    EXPECT_EQ(steps, 2);
    EXPECT_EQ(lives, 2);
    const auto recorded = app.client().list_workflow_steps("w");
    ASSERT_EQ(recorded.size(), 3u);
    EXPECT_EQ(recorded[1].function_name, "DBOS.sleep");
    EXPECT_EQ(app.retrieve_workflow("w").get_status().recovery_attempts, 1);
}

TEST_P(Parking, a_short_wait_does_not_park) {
    dbos::AppOptions patient = options();
    patient.park_after = 30s;
    dbos::App app(patient);
    std::atomic<int> lives{0};
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        ++lives;
        ctx.sleep(20ms);
        return n;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {}, 1).get_result(), 1);
    EXPECT_EQ(lives, 1);
}

TEST_P(Parking, a_body_that_must_not_be_unwound_keeps_its_thread) {
    dbos::App app(options());
    std::atomic<int> lives{0};
    app.implement(Body,
                  [&](dbos::Context& ctx, int n) {
                      ++lives;
                      ctx.sleep(20ms);
                      return n;
                  },
                  {.park = false});
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {}, 1).get_result(), 1);
    EXPECT_EQ(lives, 1);
}

TEST_P(Parking, a_parent_is_woken_by_the_end_of_its_child) {
    dbos::App app(options());
    Gate gate;
    std::atomic<int> lives{0};
    app.implement(Child, [&](dbos::Context&, int n) {
        gate.pass();
        return n * 2;
    });
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        ++lives;
        return ctx.start_workflow(Child, {}, n).get_result();
    });
    app.launch();
    auto handle = app.start_workflow(Body, {}, 21);
    ASSERT_TRUE(eventually([&] { return lives == 1 && gate.arrived() == 1; }));
    gate.open();
    EXPECT_EQ(handle.get_result(), 42);
    EXPECT_GE(lives, 1);
}

TEST_P(Parking, a_parked_run_holds_its_queue_slot) {
    dbos::App app(options());
    std::atomic<int> begun{0};
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        ctx.step("count", [&] { return ++begun; });
        ctx.sleep(300ms);
        return n;
    });
    app.register_queue({.name = "one", .worker_concurrency = 1});
    app.launch();
    auto first = app.start_workflow(Body, {.queue_name = "one"}, 1);
    auto second = app.start_workflow(Body, {.queue_name = "one"}, 2);
    EXPECT_EQ(first.get_result(), 1);
    EXPECT_EQ(second.get_result(), 2);
    const auto a = first.get_status(), b = second.get_status();
    EXPECT_GE(*b.dequeued_at, *a.completed_at);
}

TEST_P(Parking, a_cancel_reaches_a_parked_run) {
    dbos::App app(options());
    std::atomic<int> after{0};
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        ctx.step("before", [] {});
        ctx.sleep(1h);
        ++after;
        return n;
    });
    app.register_queue({.name = "one", .worker_concurrency = 1});
    app.launch();
    auto handle = app.start_workflow(Body, {.queue_name = "one", .workflow_id = "c"}, 1);
    ASSERT_TRUE(eventually([&] { return app.client().list_workflow_steps("c").size() == 2; }));
    app.client().cancel_workflow("c");
    EXPECT_THROW(handle.get_result(), dbos::AwaitedWorkflowCancelled);
    // Its slot is free again for the next one.
    auto next = app.start_workflow(Body, {.queue_name = "one", .workflow_id = "n"}, 1);
    EXPECT_TRUE(eventually([&] { return app.client().list_workflow_steps("n").size() == 2; }));
    EXPECT_EQ(after, 0);
}

TEST_P(Parking, a_peer_takes_over_parked_runs_when_the_process_is_gone) {
    std::atomic<int> steps{0};
    const auto body = [&](dbos::Context& ctx, int n) {
        ctx.step("before", [&] { ++steps; });
        ctx.sleep(500ms);
        return n + 1;
    };
    {
        dbos::App first(options());
        first.implement(Body, body);
        first.launch();
        first.start_workflow(Body, {.workflow_id = "t"}, 1);
        ASSERT_TRUE(eventually([&] { return first.client().list_workflow_steps("t").size() == 2; }));
    }
    dbos::App second(options());
    second.implement(Body, body);
    second.launch();
    EXPECT_EQ(second.retrieve_workflow<int>("t").get_result(), 2);
    EXPECT_EQ(steps, 1);
}

TEST_P(Parking, a_back_off_goes_on_at_its_attempt) {
    dbos::App app(options());
    std::atomic<int> lives{0}, attempts{0};
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        ++lives;
        return n + ctx.step("shaky",
                            [&](dbos::StepContext& step) {
                                if (++attempts < 3) throw std::runtime_error("no");
                                return step.attempt();
                            },
                            {.max_attempts = 5, .interval = 30ms});
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {}, 10).get_result(), 13);
    EXPECT_EQ(attempts, 3);
    EXPECT_EQ(lives, 3);
}

TEST_P(Parking, exhausted_attempts_list_the_errors_of_all_lives) {
    dbos::App app(options());
    app.implement(Body, [&](dbos::Context& ctx, int) -> int {
        try {
            ctx.step("bad", [] { throw std::runtime_error("no"); }, {.max_attempts = 3, .interval = 10ms});
        } catch (const dbos::StepRetriesExhausted& error) {
            return static_cast<int>(error.errors().size());
        }
        return 0;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {}, 1).get_result(), 3);
}

TEST_P(Parking, a_run_whose_async_step_is_under_way_blocks_until_it_has_ended) {
    dbos::App app(options());
    std::atomic<int> lives{0}, runs{0};
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        ++lives;
        auto slow = ctx.async_step("slow", [&](dbos::StepContext& step) {
            ++runs;
            std::this_thread::sleep_for(100ms);
            return step.stop_token().stop_requested() ? -1 : n;
        });
        ctx.sleep(20ms);
        return slow.get();
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {}, 7).get_result(), 7);
    EXPECT_EQ(runs, 1);
    EXPECT_EQ(lives, 1);
}

TEST_P(Parking, swallowing_the_interrupt_only_delays_it) {
    dbos::App app(options());
    std::atomic<int> swallowed{0};
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        try {
            ctx.sleep(30ms);
        } catch (...) {
            ++swallowed;
        }
        ctx.step("after", [] {});
        return n;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {.workflow_id = "s"}, 4).get_result(), 4);
    EXPECT_EQ(swallowed, 1);
    EXPECT_EQ(app.client().list_workflow_steps("s").size(), 2u);
}

TEST_P(Parking, wait_all_over_many_children_is_one_wait) {
    dbos::App app(options());
    std::atomic<int> lives{0};
    app.implement(Child, [](dbos::Context& ctx, int n) {
        ctx.sleep(20ms);
        return n;
    });
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        ++lives;
        std::vector<dbos::WorkflowHandle<int>> children;
        for (int i = 0; i < n; ++i) children.push_back(ctx.start_workflow(Child, {}, i));
        ctx.wait_all(children);
        int sum = 0;
        for (const auto& child : children) sum += child.get_result();
        return sum;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {.workflow_id = "p"}, 50).get_result(), 49 * 50 / 2);
    const auto steps = app.client().list_workflow_steps("p");
    EXPECT_EQ(std::count_if(steps.begin(), steps.end(),
                            [](const auto& step) { return step.function_name == "DBOS.waitAll"; }),
              1);
}

TEST_P(Parking, wait_first_gives_the_one_that_has_ended) {
    dbos::App app(options());
    app.implement(Child, [](dbos::Context& ctx, int n) {
        ctx.sleep(n == 1 ? dbos::Duration(0.02) : dbos::Duration(3600));
        return n;
    });
    app.implement(Body, [&](dbos::Context& ctx, int) {
        std::vector<dbos::WorkflowHandle<int>> children;
        for (int i = 0; i < 3; ++i) children.push_back(ctx.start_workflow(Child, {}, i));
        return ctx.wait_first(children).get_result();
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {}, 0).get_result(), 1);
}

TEST_P(Parking, select_takes_what_comes_first_and_replays_it) {
    dbos::App app(options());
    app.implement(Child, [](dbos::Context& ctx, int n) {
        ctx.sleep(30ms);
        return n;
    });
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        auto child = ctx.start_workflow(Child, {}, n);
        auto result = ctx.get_result_async(child);
        auto limit = ctx.sleep_async(1h);
        const auto winner = ctx.select(limit, result);
        ctx.sleep(10ms);  // another life
        return winner == 1 ? result.get() : -1;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {}, 5).get_result(), 5);
}

TEST_P(Parking, select_is_won_by_a_sleep_too) {
    dbos::App app(options());
    app.implement(Body, [&](dbos::Context& ctx, int) {
        auto never = ctx.get_event_async<int>("nobody", "nothing", 1h);
        auto limit = ctx.sleep_async(30ms);
        return static_cast<int>(ctx.select(never, limit));
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {}, 5).get_result(), 1);
}

TEST_P(Parking, select_refuses_what_cannot_win) {
    dbos::App app(options());
    app.implement(Body, [&](dbos::Context& ctx, int) {
        int refused = 0;
        auto a = ctx.sleep_async(0s);
        a.get();
        auto b = ctx.sleep_async(0s);
        try {
            ctx.select(a, b);
        } catch (const dbos::UsageError&) {
            ++refused;
        }
        try {
            ctx.select(b, b);
        } catch (const dbos::UsageError&) {
            ++refused;
        }
        auto c = std::move(b);
        try {
            ctx.select(b, c);
        } catch (const dbos::UsageError&) {
            ++refused;
        }
        return refused;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {.workflow_id = "r"}, 5).get_result(), 3);
    EXPECT_EQ(app.client().list_workflow_steps("r").size(), 2u);  // refused before a number was taken
}

TEST_P(Parking, map_runs_every_element_and_throws_the_first_error) {
    dbos::App app(options());
    std::atomic<int> runs{0}, at_once{0}, most{0};
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        std::vector<int> numbers(static_cast<std::size_t>(n));
        for (int i = 0; i < n; ++i) numbers[static_cast<std::size_t>(i)] = i;
        const auto squares = ctx.map("square", numbers,
                                     [&](int i) {
                                         const int now = ++at_once;
                                         int before = most;
                                         while (before < now && !most.compare_exchange_weak(before, now)) {
                                         }
                                         std::this_thread::sleep_for(2ms);
                                         --at_once;
                                         ++runs;
                                         return i * i;
                                     },
                                     {.max_parallel = 3});
        ctx.sleep(10ms);
        try {
            ctx.map("fails", numbers, [&](int i) {
                ++runs;
                if (i % 2) throw std::runtime_error(std::to_string(i));
                return i;
            });
        } catch (const std::runtime_error& error) {
            return squares[static_cast<std::size_t>(n - 1)] + std::stoi(error.what());
        }
        return -1;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {}, 8).get_result(), 49 + 1);
    EXPECT_EQ(runs, 16);
    EXPECT_LE(most, 3);
}

TEST_P(Parking, deferred_calls_run_once_when_the_body_ends_last_first) {
    dbos::App app(options());
    static std::vector<std::string> calls;
    static std::mutex mutex;
    calls.clear();
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        const auto note = [](const std::string& what) {
            std::lock_guard lock(mutex);
            calls.push_back(what);
        };
        ctx.defer("release", note, std::string("first"));
        ctx.sleep(10ms);
        ctx.defer("release", note, std::string("second"));
        if (n == 1) throw std::runtime_error("body");
        return n;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {.workflow_id = "d0"}, 0).get_result(), 0);
    EXPECT_EQ(calls, (std::vector<std::string>{"second", "first"}));
    EXPECT_THROW(app.start_workflow(Body, {.workflow_id = "d1"}, 1).get_result(), std::runtime_error);
    EXPECT_EQ(calls.size(), 4u);
}

TEST_P(Parking, now_and_random_ids_are_recorded) {
    dbos::App app(options());
    std::vector<std::pair<std::int64_t, std::string>> seen;
    app.implement(Body, [&](dbos::Context& ctx, int n) {
        const auto at = ctx.now().time_since_epoch().count();
        const auto id = ctx.random_uuid();
        seen.emplace_back(at, id);
        ctx.sleep(500ms);
        return n;
    });
    app.launch();
    app.start_workflow(Body, {}, 0).get_result();
    ASSERT_EQ(seen.size(), 2u);
    EXPECT_EQ(seen[0], seen[1]);
}

}  // namespace
