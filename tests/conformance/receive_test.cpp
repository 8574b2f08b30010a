// Messages received, events and streams read in a body; and patches. With runs that park at once, and with runs that block.
#include <atomic>

#include "support/app.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;

namespace {

inline constexpr auto Body = dbos::workflow<std::string(int)>("body");
inline constexpr auto Other = dbos::workflow<int(int)>("other");

std::string text(const std::optional<std::string>& value) { return value.value_or("(none)"); }

class Receive : public dbos::test::AppTest {
   protected:
    dbos::AppOptions options(bool parks) {
        dbos::AppOptions options = app_options();
        options.park_after = parks ? dbos::Duration(0) : dbos::Duration(3600);
        return options;
    }
    std::size_t steps_of(dbos::App& app, const std::string& id) {
        return app.client().list_workflow_steps(id).size();
    }
    bool waits(dbos::App& app, const std::string& id, std::size_t steps) {
        return eventually([&] { return steps_of(app, id) == steps; });
    }
};
DBOS_FOR_EVERY_DATABASE(Receive);

TEST_P(Receive, send_recv) {
    for (const bool parks : {true, false}) {
        dbos::App app(options(parks));
        std::atomic<int> lives{0};
        app.implement(Body, [&](dbos::Context& ctx, int) {
            ++lives;
            auto a = ctx.recv<std::string>("topic", 20s);
            auto b = ctx.recv<std::string>({}, 20s);
            auto c = ctx.recv<std::string>("topic", 20s);
            auto none = ctx.recv<std::string>("topic", 0s);
            return text(a) + text(b) + text(c) + text(none);
        });
        app.launch();
        const std::string id = parks ? "p" : "b";
        auto handle = app.start_workflow(Body, {.workflow_id = id}, 0);
        ASSERT_TRUE(waits(app, id, 1));  // the deadline of the first receive
        app.client().send(id, "x", "topic");
        app.client().send(id, "y", "topic");
        app.client().send(id, "z");
        EXPECT_EQ(handle.get_result(), "xzy(none)");
        EXPECT_TRUE(parks || lives == 1);
        EXPECT_EQ(
            scalar("SELECT count(*) FROM @notifications WHERE consumed AND destination_uuid = '" + id + "'"),
            "3");
        const auto steps = app.client().list_workflow_steps(id);
        ASSERT_GE(steps.size(), 4u);
        EXPECT_EQ(steps[0].function_id, 1);
        EXPECT_EQ(steps[0].function_name, "DBOS.recv");
        EXPECT_EQ(steps[1].function_id, 2);
        EXPECT_EQ(steps[1].function_name, "DBOS.sleep");
        EXPECT_EQ(steps[0].output, dbos::Value("x"));
    }
}

TEST_P(Receive, recv_timeout_is_recorded) {
    for (const bool parks : {true, false}) {
        dbos::App app(options(parks));
        app.implement(Body, [&](dbos::Context& ctx, int) {
            const auto first = text(ctx.recv<std::string>("t", 30ms));
            ctx.sleep(30ms);
            return first + text(ctx.recv<std::string>("t", 20s));
        });
        app.launch();
        const std::string id = parks ? "p" : "b";
        auto handle = app.start_workflow(Body, {.workflow_id = id}, 0);
        ASSERT_TRUE(waits(app, id, 4));
        app.client().send(id, "late", "t");
        EXPECT_EQ(handle.get_result(), "(none)late");
    }
}

TEST_P(Receive, messages_between_workflows_are_received_in_the_order_of_their_sending) {
    for (const bool parks : {true, false}) {
        dbos::App app(options(parks));
        const std::string id = parks ? "p" : "b";
        app.implement(Body, [&](dbos::Context& ctx, int n) {
            std::string all;
            for (int i = 0; i < n; ++i) all += text(ctx.recv<std::string>("n", 20s));
            return all;
        });
        app.implement(Other, [&](dbos::Context& ctx, int n) {
            for (int i = 0; i < n; ++i) ctx.send(id, std::to_string(i), "n");
            return n;
        });
        app.launch();
        auto receiver = app.start_workflow(Body, {.workflow_id = id}, 8);
        app.start_workflow(Other, {}, 8);
        EXPECT_EQ(receiver.get_result(), "01234567");
    }
}

TEST_P(Receive, a_message_is_consumed_by_get_and_not_by_losing) {
    dbos::App app(options(true));
    app.implement(Body, [&](dbos::Context& ctx, int) {
        auto message = ctx.recv_async<std::string>("t", 20s);
        auto limit = ctx.sleep_async(30ms);
        const auto winner = ctx.select(message, limit);
        ctx.send(ctx.workflow_id(), "now", "t");
        return std::to_string(winner) + text(message.get());
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {.workflow_id = "w"}, 0).get_result(), "1now");
}

TEST_P(Receive, a_select_over_messages_wakes_a_parked_run) {
    dbos::App app(options(true));
    app.implement(Body, [&](dbos::Context& ctx, int) {
        auto a = ctx.recv_async<std::string>("a", 20s);
        auto b = ctx.recv_async<std::string>("b", 20s);
        auto step = ctx.async_step("quick", [] { return 1; });
        step.get();
        const auto winner = ctx.select(a, b);
        return std::to_string(winner) + text(winner == 0 ? a.get() : b.get());
    });
    app.launch();
    auto handle = app.start_workflow(Body, {.workflow_id = "w"}, 0);
    ASSERT_TRUE(waits(app, "w", 3));  // the step and two deadlines
    app.client().send("w", "hello", "b");
    EXPECT_EQ(handle.get_result(), "1hello");
}

TEST_P(Receive, a_second_live_receive_of_a_topic_is_refused) {
    dbos::App app(options(true));
    app.implement(Body, [&](dbos::Context& ctx, int) -> std::string {
        auto first = ctx.recv_async<std::string>("t", 0s);
        try {
            auto second = ctx.recv_async<std::string>("t", 0s);
        } catch (const dbos::UsageError&) {
            first.get();
            return text(ctx.recv<std::string>("t", 0s));
        }
        return "accepted";
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Body, {}, 0).get_result(), "(none)");
}

TEST_P(Receive, set_get_events) {
    for (const bool parks : {true, false}) {
        dbos::App app(options(parks));
        const std::string id = parks ? "p" : "b";
        app.implement(Other, [&](dbos::Context& ctx, int n) {
            ctx.recv<int>("go", 20s);
            ctx.set_event("key", "value-" + std::to_string(n));
            return n;
        });
        app.implement(Body, [&](dbos::Context& ctx, int) {
            const auto before = text(ctx.get_event<std::string>(id + "-other", "key", 0s));
            ctx.send(id + "-other", 1, "go");
            const auto value = text(ctx.get_event<std::string>(id + "-other", "key", 20s));
            const auto in_step =
                ctx.step("look", [&] { return text(ctx.get_event<std::string>(id + "-other", "key", 0s)); });
            return before + value + in_step + text(ctx.get_event<std::string>("nobody", "key", 10ms));
        });
        app.launch();
        app.start_workflow(Other, {.workflow_id = id + "-other"}, 7);
        EXPECT_EQ(app.start_workflow(Body, {.workflow_id = id}, 0).get_result(),
                  "(none)value-7value-7(none)");
    }
}

TEST_P(Receive, workflow_read_stream_checkpointing) {
    for (const bool parks : {true, false}) {
        dbos::App app(options(parks));
        const std::string id = parks ? "p" : "b";
        app.implement(Other, [&](dbos::Context& ctx, int n) {
            for (int i = 0; i < n; ++i) {
                ctx.write_stream("s", i);
                ctx.sleep(5ms);
            }
            ctx.close_stream("s");
            return n;
        });
        app.implement(Body, [&](dbos::Context& ctx, int) {
            std::string all;
            for (const int value : ctx.read_stream<int>(id + "-other", "s")) all += std::to_string(value);
            ctx.sleep(10ms);
            return all + std::to_string(ctx.read_stream_offset<int>(id + "-other", "s", 2));
        });
        app.launch();
        app.start_workflow(Other, {.workflow_id = id + "-other"}, 4);
        EXPECT_EQ(app.start_workflow(Body, {.workflow_id = id}, 0).get_result(), "01232");
        std::size_t reads = 0;
        for (const auto& step : app.client().list_workflow_steps(id))
            reads += step.function_name == "DBOS.readStream" ? 1 : 0;
        EXPECT_EQ(reads, 5u);
    }
}

TEST_P(Receive, workflow_read_stream_timeout_is_checkpointed) {
    dbos::App app(options(true));
    app.implement(Other, [&](dbos::Context& ctx, int n) {
        ctx.recv<int>("end", 20s);
        return n;
    });
    app.implement(Body, [&](dbos::Context& ctx, int) -> std::string {
        std::string result;
        try {
            ctx.read_stream<int>("other", "s", {.timeout = 20ms}).next();
        } catch (const dbos::StreamTimeout&) {
            result += "timeout ";
        }
        ctx.sleep(10ms);
        try {
            ctx.read_stream<int>("nobody", "s").next();
        } catch (const dbos::NonexistentWorkflow&) {
            result += "nobody ";
        }
        ctx.send("other", 1, "end");
        return result + (ctx.read_stream<int>("other", "s").next() ? "value" : "end");
    });
    app.launch();
    app.start_workflow(Other, {.workflow_id = "other"}, 0);
    EXPECT_EQ(app.start_workflow(Body, {}, 0).get_result(), "timeout nobody end");
}

TEST_P(Receive, a_run_that_was_recovered_receives_what_it_received) {
    const auto body = [&](dbos::Context& ctx, int) {
        const auto first = text(ctx.recv<std::string>("t", 20s));
        return first + text(ctx.recv<std::string>("t", 20s));
    };
    {
        dbos::App app(options(true));
        app.implement(Body, body);
        app.launch();
        app.start_workflow(Body, {.workflow_id = "w"}, 0);
        ASSERT_TRUE(waits(app, "w", 1));
        app.client().send("w", "one", "t");
        ASSERT_TRUE(waits(app, "w", 3));
    }
    dbos::App app(options(true));
    app.implement(Body, body);
    app.launch();
    app.client().send("w", "two", "t");
    EXPECT_EQ(app.retrieve_workflow<std::string>("w").get_result(), "onetwo");
}

TEST_P(Receive, patch) {
    std::atomic<int> version{1};
    const auto body = [&](dbos::Context& ctx, int) -> std::string {
        std::string result;
        if (version == 2) {
            result = ctx.patch("new") ? ctx.step("new", [] { return std::string("new"); })
                                      : ctx.step("old", [] { return std::string("old"); });
        } else if (version == 3) {
            ctx.deprecate_patch("new");
            result = ctx.step("new", [] { return std::string("new"); });
        } else {
            result = ctx.step("old", [] { return std::string("old"); });
        }
        ctx.recv<int>("end", 20s);
        return result;
    };
    const auto run = [&](int as, const std::function<void(dbos::App&)>& what) {
        version = as;
        dbos::App app(options(true));
        app.implement(Body, body);
        app.launch();
        what(app);
    };
    run(1, [&](dbos::App& app) {
        app.start_workflow(Body, {.workflow_id = "before"}, 0);
        ASSERT_TRUE(waits(app, "before", 2));
    });
    run(2, [&](dbos::App& app) {
        app.client().send("before", 1, "end");
        EXPECT_EQ(app.retrieve_workflow<std::string>("before").get_result(), "old");
        app.start_workflow(Body, {.workflow_id = "after"}, 0);
        ASSERT_TRUE(waits(app, "after", 3));
        EXPECT_EQ(app.client().list_workflow_steps("after")[0].function_name, "DBOS.patch-new");
    });
    run(3, [&](dbos::App& app) {
        app.client().send("after", 1, "end");
        EXPECT_EQ(app.retrieve_workflow<std::string>("after").get_result(), "new");
        app.start_workflow(Body, {.workflow_id = "later"}, 0);
        app.client().send("later", 1, "end");
        EXPECT_EQ(app.retrieve_workflow<std::string>("later").get_result(), "new");
    });
    run(1, [&](dbos::App& app) {
        // A history of the new branch does not fit the old code.
        auto fork = app.client().fork_workflow<std::string>("after", 3);
        try {
            fork.get_result();
            ADD_FAILURE();
        } catch (const dbos::WorkflowFailed& error) {
            EXPECT_EQ(error.type_name(), "DBOSUnexpectedStepError");
        }
    });
}

}  // namespace
