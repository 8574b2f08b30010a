// Streams that bodies write, calls inside steps, and many calls at once (runtime.md 12.4 and 12.5).
#include "support/context.hpp"

using namespace std::chrono_literals;
using dbos::test::Gate;
using dbos::test::Speaker;
using dbos::test::Steps;

namespace {

class ContextStreams : public dbos::test::ContextTest {};
DBOS_FOR_EVERY_DATABASE(ContextStreams);

// ------------------------------------------------------------------------------------------------------------ streams

TEST_P(ContextStreams, a_stream_is_written_read_and_closed) {
    launch([](dbos::Context& ctx, const std::string&) {
        for (int n = 0; n < 5; ++n) {
            ctx.write_stream("s", n);
            if (n % 2 == 0) ctx.write_stream("t", n * 10);
        }
        ctx.close_stream("s");
        return "done";
    });
    run();
    EXPECT_EQ(read("s"), (std::vector<int>{0, 1, 2, 3, 4}));
    EXPECT_EQ(read("t"), (std::vector<int>{0, 20, 40})) << "unclosed: ends with its workflow";
    EXPECT_EQ(stream("s"),
              (Steps{"0|0|1", "1|1|3", "2|2|4", "3|3|6", "4|4|7", "5|\"__DBOS_STREAM_CLOSED__\"|9"}));
    EXPECT_EQ(steps().back(), "9 DBOS.closeStream");
    EXPECT_EQ(steps().front(), "1 DBOS.writeStream");
    EXPECT_EQ(scalar("SELECT DISTINCT serialization FROM @streams"), "portable_json");
    replay();
    EXPECT_EQ(stream("s").size(), 6u);
    EXPECT_EQ(stream("t").size(), 3u);
}

TEST_P(ContextStreams, a_reader_hears_of_values_while_the_workflow_runs) {
    Gate gate;
    launch([&](dbos::Context& ctx, const std::string&) {
        ctx.write_stream("s", 1);
        ctx.step("wait", [&] { gate.pass(); });
        ctx.write_stream("s", 2);
        return "done";
    });
    auto handle = app->start_workflow(Speaker, {.workflow_id = "w"}, std::string());
    auto values = app->client().read_stream_async<int>("w", "s");
    EXPECT_EQ(values.next().get(), 1);
    gate.open();
    EXPECT_EQ(values.next().get(), 2);
    EXPECT_EQ(values.next().get(), std::nullopt);
    handle.get_result();
}

// -------------------------------------------------------------------------------------------------------- inside steps

TEST_P(ContextStreams, calls_inside_a_step_act_at_once_and_again_in_each_attempt) {
    std::atomic<int> attempts{0};
    launch([&](dbos::Context& ctx, const std::string&) {
        ctx.step("first", [] {});
        ctx.step("writer",
                 [&] {
                     const int attempt = ++attempts;
                     ctx.write_stream("s", attempt);
                     ctx.set_event("attempt", attempt);
                     ctx.send("to", attempt);
                     ctx.send("to", attempt, "once", {.idempotency_key = "key"});
                     ctx.send_async("to", attempt, "async").get();
                     EXPECT_THROW(ctx.send("nobody", 1), dbos::NonexistentWorkflow);
                     EXPECT_THROW(ctx.send("", 1), dbos::UsageError);
                     if (attempt < 3) throw std::runtime_error("again");
                     ctx.close_stream("s");
                 },
                 {.max_attempts = 3, .interval = 1ms});
        auto beside = ctx.async_step("beside", [&] {
            ctx.write_stream("other", 1);
            ctx.step("inner", [&] { ctx.write_stream("other", 2); });
        });
        beside.get();
        return "done";
    });
    run();
    EXPECT_EQ(read("s"), (std::vector<int>{1, 2, 3}));
    EXPECT_EQ(stream("s"), (Steps{"0|1|2", "1|2|2", "2|3|2", "3|\"__DBOS_STREAM_CLOSED__\"|2"}));
    EXPECT_EQ(stream("other"), (Steps{"0|1|3", "1|2|3"})) << "a step inside a step has no number";
    EXPECT_EQ(lines("SELECT function_id, key, value FROM @workflow_events_history"), (Steps{"2|attempt|3"}));
    EXPECT_EQ(scalar("SELECT count(*) FROM @notifications WHERE topic = '__null__topic__'"), "3");
    EXPECT_EQ(scalar("SELECT count(*) FROM @notifications WHERE topic = 'async'"), "3");
    EXPECT_EQ(lines("SELECT message FROM @notifications WHERE topic = 'once'"), (Steps{"1"}));
    EXPECT_EQ(steps(), (Steps{"1 first", "2 writer", "3 beside"}));
    replay();
    EXPECT_EQ(attempts, 3);
    EXPECT_EQ(stream("s").size(), 4u);
}

// ------------------------------------------------------------------------------------------------------- many at once

TEST_P(ContextStreams, many_at_once_keep_the_order_of_the_program) {
    constexpr int kMany = 60;
    launch([](dbos::Context& ctx, const std::string&) {
        std::vector<dbos::Pending<void>> pending;
        for (int n = 0; n < kMany; ++n) {
            pending.push_back(ctx.write_stream_async("s", n));
            pending.push_back(ctx.send_async("to", n));
            pending.push_back(ctx.set_event_async("e", n));
        }
        pending.push_back(ctx.close_stream_async("s"));
        pending.push_back(ctx.send_bulk_async({{.destination_id = "other", .message = 1}}));
        for (auto& one : pending) one.get();
        return "done";
    });
    run();
    std::vector<int> expected;
    Steps expected_messages;
    for (int n = 0; n < kMany; ++n) {
        expected.push_back(n);
        expected_messages.push_back("__null__topic__|" + std::to_string(n));
    }
    const auto check = [&] {
        EXPECT_EQ(read("s"), expected);
        EXPECT_EQ(messages(), expected_messages);
        EXPECT_EQ(scalar("SELECT value FROM @workflow_events WHERE key = 'e'"), std::to_string(kMany - 1));
        EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_events_history"), std::to_string(kMany));
    };
    check();
    const Steps names = steps();
    ASSERT_EQ(names.size(), 3u * kMany + 2);
    EXPECT_EQ(names[0], "1 DBOS.writeStream");
    EXPECT_EQ(names[1], "2 DBOS.send");
    EXPECT_EQ(names[2], "3 DBOS.setEvent");
    EXPECT_EQ(names[std::size_t{3} * kMany], std::to_string(3 * kMany + 1) + " DBOS.closeStream");
    replay();
    check();
    EXPECT_EQ(steps(), names);
}

TEST_P(ContextStreams, a_pending_that_nobody_asks_leaves_its_record) {
    launch([](dbos::Context& ctx, const std::string&) {
        {
            auto event = ctx.set_event_async("k", 1);
        }
        {
            auto missing = ctx.send_async("nobody", 1);
        }
        auto last = ctx.write_stream_async("s", 1);
        return "done";
    });
    EXPECT_EQ(run(), "done");
    EXPECT_EQ(steps(), (Steps{"1 DBOS.setEvent", "2 DBOS.send", "3 DBOS.writeStream"}));
    EXPECT_NE(scalar("SELECT error FROM @operation_outputs WHERE workflow_uuid = 'w' AND function_id = 2"),
              "");
}

TEST_P(ContextStreams, steps_write_one_stream_together) {
    launch([](dbos::Context& ctx, const std::string&) {
        std::vector<dbos::Pending<void>> pending;
        for (int n = 0; n < 8; ++n) {
            pending.push_back(ctx.async_step("write", [&ctx] {
                for (int i = 0; i < 5; ++i) ctx.write_stream("s", i);
            }));
        }
        for (auto& one : pending) one.get();
        return "done";
    });
    run();
    EXPECT_EQ(scalar("SELECT count(*) FROM @streams"), "40");
    EXPECT_EQ(scalar("SELECT max(\"offset\") FROM @streams"), "39");
    EXPECT_EQ(scalar("SELECT count(DISTINCT function_id) FROM @streams"), "8");
}

}  // namespace
