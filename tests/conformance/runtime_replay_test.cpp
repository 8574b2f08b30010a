// What a recovered workflow does not do again, and what its replay decides the same way (runtime_cases.list).
#include <atomic>
#include <set>

#include "support/context.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;
using dbos::test::Speaker;
using dbos::test::Steps;

namespace {

inline constexpr auto Child = dbos::workflow<int(int)>("child");

class Replays : public dbos::test::ContextTest {
   public:
    /// Another process with the same code.
    void next_life(const dbos::AppOptions& options) {
        app.emplace(options);
        app->implement(dbos::test::Silent, [](dbos::Context&) {});
    }
    std::string column(const std::string& id, const std::string& name) {
        return scalar("SELECT " + name + " FROM @workflow_status WHERE workflow_uuid = '" + id + "'");
    }
};
DBOS_FOR_EVERY_DATABASE(Replays);

TEST_P(Replays, nothing_that_was_written_before_the_end_of_the_process_is_written_again) {
    Gate gate;
    std::atomic<int> children{0};
    const auto body = [&](dbos::Context& ctx, const std::string&) {
        ctx.send("to", 1);
        ctx.send("to", 2);
        ctx.set_event("k", "first");
        for (int i = 0; i < 3; ++i) ctx.write_stream("s", i);
        ctx.step("writes", [&] { ctx.write_stream("s", 3); });
        const int result = ctx.start_workflow(Child, {.queue_name = "q"}, 5).get_result();
        const auto random = ctx.random_uuid();
        ctx.set_event("k", random);
        ctx.step("gate", [&] { gate.pass(); });
        ctx.close_stream("s");
        return std::to_string(result) +
               (ctx.get_event<std::string>("w", "k", 0s) == random ? " same" : " another");
    };
    const auto start = [&] {
        app->implement(Child, [&](dbos::Context&, int n) {
            ++children;
            return n;
        });
        app->register_queue({.name = "q"});
        launch(body);
    };
    start();
    app->start_workflow(Speaker, {.workflow_id = "w"}, std::string());
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    // A peer has taken the workflow: what this process does from now on counts for nothing.
    execute(
        "UPDATE @workflow_status SET owner_xid = 'nobody', executor_id = 'nobody' WHERE workflow_uuid = 'w'");
    gate.open();
    ASSERT_TRUE(eventually([&] { return log.count("cancelled or taken over") > 0; }));
    next_life(app_options());
    start();
    replay();
    EXPECT_EQ(app->retrieve_workflow(Speaker, "w").get_result({.timeout = 20s}), "5 same");
    EXPECT_GE(bodies, 2);  // more if its waits park
    EXPECT_EQ(children, 1);
    EXPECT_EQ(messages().size(), 2u);
    EXPECT_EQ(read("s"), (std::vector<int>{0, 1, 2, 3}));
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_events_history WHERE workflow_uuid = 'w'"), "2");
}

TEST_P(Replays, a_duplicate_that_attaches_is_recorded_as_the_child) {
    Gate gate;
    app->implement(Child, [&](dbos::Context&, int n) {
        gate.pass();
        return n;
    });
    app->register_queue({.name = "q"});
    std::vector<std::string> seen;
    launch([&](dbos::Context& ctx, const std::string&) {
        auto child = ctx.start_workflow(Child,
                                        {.queue_name = "q",
                                         .deduplication_id = "d",
                                         .duplication_policy = dbos::DuplicationPolicy::return_existing},
                                        7);
        seen.push_back(child.workflow_id());
        return std::to_string(child.get_result());
    });
    const dbos::EnqueueOptions holder{.queue_name = "q", .workflow_id = "holder", .deduplication_id = "d"};
    app->start_workflow(Child, holder, 1);
    auto handle = app->start_workflow(Speaker, {.workflow_id = "w"}, std::string());
    ASSERT_TRUE(eventually([&] { return steps().size() == 1; }));
    gate.open();
    EXPECT_EQ(handle.get_result({.timeout = 20s}), "1");
    EXPECT_EQ(app->client().list_workflow_steps("w").at(0).child_workflow_id, "holder");
    EXPECT_EQ(steps(), (Steps{"1 child", "2 DBOS.getResult"}));
    // The slot is free by now: a call that was made anew would start a child of its own.
    replay();
    EXPECT_EQ(seen.back(), "holder");
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE name = 'child'"), "1");
    // After the end of the holder a new start under the same id is a new workflow.
    EXPECT_EQ(run("w2"), "7");
    EXPECT_EQ(seen.back(), "w2-1");
}

TEST_P(Replays, two_patches_one_after_the_other) {
    std::atomic<int> code{0};
    const auto body = [&](dbos::Context& ctx, const std::string&) -> std::string {
        std::string taken;
        const auto note = [&](const char* name) {
            taken += ctx.step(dbos::Name::dynamic(name), [&] { return name; });
        };
        switch (code) {
            case 0: note("a"); break;
            case 1: ctx.patch("one") ? note("b") : note("a"); break;
            case 2:
                if (ctx.patch("two")) {
                    note("c");
                } else {
                    ctx.patch("one") ? note("b") : note("a");
                }
                break;
            case 3: ctx.deprecate_patch("two"), note("c"); break;
            default: note("c"); break;
        }
        note("-end");
        return taken;
    };
    launch(body);
    const Steps results{"a-end", "b-end", "c-end", "c-end", "c-end"};
    for (int n = 0; n < 5; ++n) {
        code = n;
        EXPECT_EQ(run("w" + std::to_string(n)), results[static_cast<std::size_t>(n)]) << n;
    }
    // Every history of an earlier code, under the next one.
    for (const auto& [id, under, taken] : {std::tuple{"w0", 1, "a-end"},
                                           {"w0", 2, "a-end"},
                                           {"w1", 2, "b-end"},
                                           {"w2", 3, "c-end"},
                                           {"w3", 4, "c-end"}}) {
        code = under;
        replay(id);
        EXPECT_EQ(app->retrieve_workflow(Speaker, id).get_result({.timeout = 20s}), taken) << under;
    }
    // A fork takes the branch that its copied history stands for.
    code = 2;
    EXPECT_EQ(app->client().fork_workflow<std::string>("w1", 3).get_result({.timeout = 20s}), "b-end");
    EXPECT_EQ(app->client().fork_workflow<std::string>("w1", 0).get_result({.timeout = 20s}), "c-end");
    // Histories that are too old for the code.
    for (const auto& [id, under] : {std::pair{"w0", 3}, {"w1", 3}, {"w2", 1}}) {
        code = under;
        auto fork = app->client().fork_workflow<std::string>(id, 100);
        EXPECT_THROW(fork.get_result({.timeout = 20s}), dbos::WorkflowFailed) << id << " " << under;
        EXPECT_EQ(fork.get_status().error.value().type_name, "DBOSUnexpectedStepError");
    }
}

TEST_P(Replays, a_replay_stands_beside_the_run_that_lost_it) {
    // Compensation under duplicates: one history, whichever run has written which part of it.
    Gate gate;
    std::atomic<int> first{0}, undone{0};
    const auto body = [&](dbos::Context& ctx, const std::string&) {
        ctx.step("do", [&] {
            if (++first == 1) gate.pass();  // stands still with its step done and unrecorded
        });
        try {
            ctx.step("fails", [] { throw std::runtime_error("no"); });
        } catch (const std::runtime_error&) {
            ctx.step("undo", [&] { ++undone; });
        }
        return "done";
    };
    launch(body);
    app->start_workflow(Speaker, {.workflow_id = "w"}, std::string());
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    replay();  // a second run of the same process, to its end
    gate.open();
    ASSERT_TRUE(eventually([&] { return log.count("cancelled or taken over") > 0; }));
    EXPECT_EQ(undone, 1);
    EXPECT_EQ(first, 2) << "at least once: the first one was never recorded";
    EXPECT_EQ(steps(), (Steps{"1 do", "2 fails", "3 undo"}));
    EXPECT_EQ(column("w", "status"), "SUCCESS");
}

TEST_P(Replays, attributes_belong_to_the_workflow_they_were_given_to) {
    app->implement(Child, [](dbos::Context&, int n) { return n; });
    launch([&](dbos::Context& ctx, const std::string&) {
        ctx.start_workflow(Child, {.workflow_id = "plain"}, 1).get_result();
        ctx.start_workflow(Child,
                           {.workflow_id = "own", .attributes = dbos::Any(dbos::Object{{"a", "child"}})}, 1)
            .get_result();
        return "done";
    });
    app->start_workflow(Speaker, {.workflow_id = "w", .attributes = dbos::Any(dbos::Object{{"a", "parent"}})},
                        std::string())
        .get_result({.timeout = 20s});
    const auto of = [&](const std::string& id) { return app->retrieve_workflow(id).get_status().attributes; };
    EXPECT_EQ(of("w"), (dbos::Object{{"a", "parent"}}));
    EXPECT_EQ(of("own"), (dbos::Object{{"a", "child"}}));
    EXPECT_EQ(of("plain"), std::nullopt);
    const auto fork = app->client().fork_workflow("w", 0);
    EXPECT_EQ(of(fork.workflow_id()), (dbos::Object{{"a", "parent"}}));
}

TEST_P(Replays, the_first_of_several_is_recorded_and_none_is_refused) {
    Gate gate;
    app->implement(Child, [&](dbos::Context&, int n) {
        if (n == 1) gate.pass();
        return n;
    });
    std::set<std::string> winners;
    launch([&](dbos::Context& ctx, const std::string&) {
        std::vector<dbos::WorkflowHandle<int>> children;
        EXPECT_THROW(ctx.wait_first(children), dbos::UsageError);
        for (int n : {1, 2}) children.push_back(ctx.start_workflow(Child, {}, n));
        winners.insert(ctx.wait_first(children).workflow_id());
        ctx.step("open", [&] { gate.open(); });
        ctx.wait_all(children);
        return "done";
    });
    run();
    replay();  // both have ended by now, and the first is still the first
    EXPECT_EQ(winners, (std::set<std::string>{"w-2"}));
}

}  // namespace
