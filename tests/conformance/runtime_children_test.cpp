// Child workflows and queues.
#include <atomic>

#include "support/app.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;

namespace {

inline constexpr auto Parent = dbos::workflow<int(int)>("parent");
inline constexpr auto Child = dbos::workflow<int(int)>("child").throws<>();

class Children : public dbos::test::AppTest {};
DBOS_FOR_EVERY_DATABASE(Children);

TEST_P(Children, have_derived_ids_and_their_results_are_recorded) {
    dbos::App app(app_options());
    std::atomic<int> children{0};
    app.implement(Child, [&](dbos::Context&, int n) {
        ++children;
        return n * 10;
    });
    app.implement(Parent, [&](dbos::Context& ctx, int n) {
        auto direct = ctx.start_workflow(Child, {}, n);
        auto queued = ctx.start_workflow(Child, {.queue_name = "q"}, n + 1);
        auto pinned = ctx.start_workflow(Child, {.workflow_id = "pinned"}, n + 2);
        return direct.get_result() + queued.get_result() + pinned.get_result();
    });
    app.register_queue({.name = "q"});
    app.launch();
    auto handle = app.start_workflow(Parent, {.workflow_id = "p"}, 1);
    EXPECT_EQ(handle.get_result(), 10 + 20 + 30);
    EXPECT_EQ(children, 3);
    const auto steps = app.client().list_workflow_steps("p");
    ASSERT_EQ(steps.size(), 6u);
    EXPECT_EQ(steps[0].function_name, "child");
    EXPECT_EQ(steps[0].child_workflow_id, "p-1");
    EXPECT_EQ(steps[1].child_workflow_id, "p-2");
    EXPECT_EQ(steps[2].child_workflow_id, "pinned");
    EXPECT_EQ(steps[3].function_name, "DBOS.getResult");
    EXPECT_EQ(steps[3].child_workflow_id, "p-1");
    EXPECT_EQ(steps[3].output, dbos::Value(10));
    const auto status = app.retrieve_workflow("p-2").get_status();
    EXPECT_EQ(status.parent_workflow_id, "p");
    EXPECT_EQ(status.queue_name, "q");
    EXPECT_EQ(app.retrieve_workflow("pinned").get_status().parent_workflow_id, "p");
}

TEST_P(Children, started_without_a_wait_are_as_those_started_with_one) {
    auto options = app_options();
    options.executor_id = "one";
    constexpr int kChildren = 200;
    std::atomic<int> children{0}, lives{0};
    Gate gate;
    const auto implement = [&](dbos::App& app) {
        app.implement(Child, [&](dbos::Context&, int n) {
            ++children;
            return n;
        });
        app.implement(Parent, [&](dbos::Context& ctx, int first) {
            std::vector<dbos::Pending<dbos::WorkflowHandle<int>>> pendings;
            for (int i = 0; i < kChildren; ++i) {
                pendings.push_back(i % 2 == 0
                                       ? ctx.start_workflow_async(Child, {}, first + i)
                                       : ctx.start_workflow_async<int>(
                                             {.workflow_name = "child", .queue_name = "q"}, first + i));
            }
            std::vector<dbos::WorkflowHandle<int>> handles;
            for (auto& pending : pendings) handles.push_back(pending.get());
            ctx.step("all are started", [] {});
            if (++lives == 1) gate.pass();
            int sum = 0;
            for (auto& handle : handles) sum += handle.get_result();
            return sum;
        });
        app.register_queue({.name = "q"});
    };
    {
        dbos::App app(options);
        implement(app);
        app.launch();
        app.start_workflow(Parent, {.workflow_id = "p"}, 1000);
        ASSERT_TRUE(gate.wait_for_arrivals(1));
        EXPECT_TRUE(eventually([&] { return children == kChildren; }));
        app.shutdown(0s, 0s);
        gate.open();
    }
    dbos::App app(options);
    implement(app);
    app.launch();
    EXPECT_EQ(app.retrieve_workflow(Parent, "p").get_result({.timeout = 30s}),
              kChildren * 1000 + kChildren * (kChildren - 1) / 2);
    EXPECT_EQ(children, kChildren);
    const auto steps = app.client().list_workflow_steps("p");
    ASSERT_GE(steps.size(), static_cast<std::size_t>(kChildren));
    for (int i = 0; i < kChildren; ++i) {
        EXPECT_EQ(steps[static_cast<std::size_t>(i)].child_workflow_id, "p-" + std::to_string(i + 1));
        EXPECT_EQ(app.retrieve_workflow("p-" + std::to_string(i + 1)).get_status().parent_workflow_id, "p");
    }
}

TEST_P(Children, started_without_a_wait_and_refused_are_the_steps_error) {
    dbos::App app(app_options());
    Gate gate;
    app.implement(Child, [&](dbos::Context&, int n) {
        gate.pass();
        return n;
    });
    app.implement(Parent, [](dbos::Context& ctx, int n) {
        auto refused = ctx.start_workflow_async(Child, {.queue_name = "q", .deduplication_id = "d"}, n);
        auto holder =
            ctx.start_workflow_async(Child,
                                     {.queue_name = "q",
                                      .deduplication_id = "d",
                                      .duplication_policy = dbos::DuplicationPolicy::return_existing},
                                     n);
        int found = holder.get().workflow_id() == "holder" ? 10 : 20;
        try {
            static_cast<void>(refused.get());
        } catch (const dbos::QueueDeduplicated& error) {
            found += error.deduplication_id() == "d" ? 1 : 2;
        }
        // Nobody asks for this one: its refusal is recorded all the same.
        static_cast<void>(ctx.start_workflow_async(Child, {.queue_name = "q", .deduplication_id = "d"}, n));
        return found;
    });
    app.register_queue({.name = "q"});
    app.launch();
    app.start_workflow(Child, {.queue_name = "q", .workflow_id = "holder", .deduplication_id = "d"}, 1);
    auto parent = app.start_workflow(Parent, {.workflow_id = "p"}, 5);
    EXPECT_EQ(parent.get_result(), 11);
    const auto steps = app.client().list_workflow_steps("p");
    ASSERT_EQ(steps.size(), 3u);
    EXPECT_TRUE(steps[0].error.has_value());
    EXPECT_EQ(steps[1].child_workflow_id, "holder");
    EXPECT_TRUE(steps[2].error.has_value());
    gate.open();
}

TEST_P(Children, errors_reach_the_parent_as_the_contract_says) {
    dbos::App app(app_options());
    app.implement(Child, [](dbos::Context&, int) -> int { throw std::domain_error("child failed"); });
    app.implement(Parent, [](dbos::Context& ctx, int n) {
        auto child = ctx.start_workflow(Child, {}, n);
        try {
            return child.get_result();
        } catch (const std::domain_error& error) {
            return static_cast<int>(std::string(error.what()).size());
        }
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Parent, {}, 1).get_result(), 12);
}

TEST_P(Children, a_deduplication_refusal_is_recorded_as_the_steps_error) {
    dbos::App app(app_options());
    Gate gate;
    app.implement(Child, [&](dbos::Context&, int n) {
        gate.pass();
        return n;
    });
    app.implement(Parent, [](dbos::Context& ctx, int n) {
        try {
            ctx.start_workflow(Child, {.queue_name = "q", .deduplication_id = "d"}, n);
        } catch (const dbos::QueueDeduplicated& error) {
            return error.deduplication_id() == "d" ? 1 : 2;
        }
        return 0;
    });
    app.register_queue({.name = "q"});
    app.launch();
    app.start_workflow(Child, {.queue_name = "q", .workflow_id = "holder", .deduplication_id = "d"}, 1);
    auto refused = app.start_workflow(Parent, {}, 5);
    EXPECT_EQ(refused.get_result(), 1);
    EXPECT_THROW(app.start_workflow(Child, {.queue_name = "q", .deduplication_id = "d"}, 1),
                 dbos::QueueDeduplicated);
    EXPECT_EQ(app.start_workflow(Child,
                                 {.queue_name = "q",
                                  .deduplication_id = "d",
                                  .duplication_policy = dbos::DuplicationPolicy::return_existing},
                                 1)
                  .workflow_id(),
              "holder");
    const auto steps = app.client().list_workflow_steps(refused.workflow_id());
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_TRUE(steps[0].error.has_value());
    gate.open();
}

TEST_P(Children, waiting_with_a_timeout_is_durable) {
    dbos::App app(app_options());
    Gate gate;
    app.implement(Child, [&](dbos::Context&, int n) {
        gate.pass();
        return n;
    });
    app.implement(Parent, [](dbos::Context& ctx, int n) {
        auto child = ctx.start_workflow(Child, {}, n);
        try {
            return child.get_result({.timeout = 30ms});
        } catch (const dbos::Timeout&) {
            return -1;
        }
    });
    app.launch();
    auto handle = app.start_workflow(Parent, {.workflow_id = "p"}, 1);
    EXPECT_EQ(handle.get_result(), -1);
    const auto steps = app.client().list_workflow_steps("p");
    ASSERT_EQ(steps.size(), 3u);
    EXPECT_EQ(steps[1].function_name, "DBOS.sleep");
    EXPECT_EQ(steps[2].function_name, "DBOS.getResult");
    gate.open();
}

TEST_P(Children, worker_concurrency_bounds_what_one_process_runs) {
    dbos::App app(app_options());
    std::atomic<int> running{0}, most{0};
    app.implement(Child, [&](dbos::Context& ctx, int n) {
        return ctx.step("work", [&] {
            const int now = ++running;
            int seen = most.load();
            while (now > seen && !most.compare_exchange_weak(seen, now)) {
            }
            static_cast<void>(eventually([&] { return most > 1; }));  // there are slots for a second one
            std::this_thread::sleep_for(2ms);
            --running;
            return n;
        });
    });
    app.register_queue({.name = "narrow", .worker_concurrency = 3});
    app.launch();
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int i = 0; i < 40; ++i) handles.push_back(app.start_workflow(Child, {.queue_name = "narrow"}, i));
    for (int i = 0; i < 40; ++i) EXPECT_EQ(handles[static_cast<std::size_t>(i)].get_result(), i);
    EXPECT_LE(most, 3);
    EXPECT_GT(most, 1);
}

TEST_P(Children, concurrency_bounds_what_all_processes_run) {
    std::atomic<int> running{0}, most{0};
    const auto body = [&](dbos::Context& ctx, int n) {
        return ctx.step("work", [&] {
            const int now = ++running;
            int seen = most.load();
            while (now > seen && !most.compare_exchange_weak(seen, now)) {
            }
            std::this_thread::sleep_for(2ms);
            --running;
            return n;
        });
    };
    dbos::App first(app_options()), second(app_options());
    for (dbos::App* app : {&first, &second}) {
        app->implement(Child, body);
        app->register_queue({.name = "shared", .concurrency = 2});
        app->launch();
    }
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int i = 0; i < 30; ++i) handles.push_back(first.start_workflow(Child, {.queue_name = "shared"}, i));
    for (int i = 0; i < 30; ++i) EXPECT_EQ(handles[static_cast<std::size_t>(i)].get_result(), i);
    EXPECT_LE(most, 2);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE recovery_attempts <> 1"), "0");
}

TEST_P(Children, a_parent_on_a_queue_of_one_does_not_block_its_child) {
    dbos::AppOptions options = app_options();
    options.max_running = 1;
    dbos::App app(options);
    app.implement(Child, [](dbos::Context& ctx, int n) { return ctx.step("s", [&] { return n + 1; }); });
    app.implement(Parent, [](dbos::Context& ctx, int n) {
        return ctx.start_workflow(Child, {.queue_name = "q"}, n).get_result();
    });
    app.register_queue({.name = "q"});
    app.launch();
    EXPECT_EQ(app.start_workflow(Parent, {.queue_name = "q"}, 1).get_result(), 2);
}

TEST_P(Children, a_delayed_workflow_waits_for_its_time_and_a_deadline_cancels) {
    dbos::App app(app_options());
    app.implement(Child, [](dbos::Context& ctx, int n) {
        ctx.sleep(std::chrono::milliseconds(n));
        return n;
    });
    app.register_queue({.name = "q"});
    app.launch();
    auto delayed = app.start_workflow(Child, {.queue_name = "q", .delay = 200ms}, 1);
    EXPECT_EQ(delayed.get_status().status, dbos::Status::delayed);
    auto overdue = app.start_workflow(Child, {.queue_name = "q", .workflow_timeout = 100ms}, 60'000);
    EXPECT_EQ(delayed.get_result(), 1);
    EXPECT_THROW(overdue.get_result(), dbos::AwaitedWorkflowCancelled);
    EXPECT_EQ(overdue.get_status().status, dbos::Status::cancelled);
}

TEST_P(Children, a_name_that_nobody_implements_stays_enqueued_with_one_warning) {
    dbos::App app(app_options());
    app.implement(Child, [](dbos::Context&, int n) { return n; });
    app.register_queue({.name = "q"});
    app.launch();
    auto stranger = app.start_workflow({.workflow_name = "stranger", .queue_name = "q"}, 1);
    auto known = app.start_workflow(Child, {.queue_name = "q"}, 7);
    EXPECT_EQ(known.get_result(), 7);
    EXPECT_TRUE(eventually([&] { return log.count("workflow=stranger") > 0; }));
    EXPECT_EQ(stranger.get_status().status, dbos::Status::enqueued);
    EXPECT_EQ(log.count("workflow=stranger"), 1);
}

TEST_P(Children, cancel_stops_a_running_workflow_at_its_next_durable_call) {
    dbos::App app(app_options());
    Gate gate;
    std::atomic<int> after{0};
    app.implement(Child, [&](dbos::Context& ctx, int n) {
        ctx.step("first", [&] { gate.pass(); });
        ctx.step("second", [&] { ++after; });
        return n;
    });
    app.launch();
    auto handle = app.start_workflow(Child, {.workflow_id = "w"}, 1);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    app.client().cancel_workflow("w");
    gate.open();
    EXPECT_THROW(handle.get_result(), dbos::AwaitedWorkflowCancelled);
    app.shutdown(20s);
    EXPECT_EQ(after, 0);
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'w'"),
              "0");  // nothing recorded after it
    EXPECT_EQ(scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = 'w'"), "CANCELLED");
}

}  // namespace
