// What bodies send, and the events they set, over real applications (runtime.md 12.1).
#include <map>
#include <thread>

#include "support/context.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Gate;
using dbos::test::Silent;
using dbos::test::Speaker;
using dbos::test::Steps;

namespace {

class ContextMessages : public dbos::test::ContextTest {};
DBOS_FOR_EVERY_DATABASE(ContextMessages);

// ----------------------------------------------------------------------------------------------------------- messages

TEST_P(ContextMessages, a_send_is_a_step_and_is_not_repeated) {
    launch([](dbos::Context& ctx, const std::string&) {
        ctx.send("to", 1);
        ctx.send("to", "two", "topic");
        ctx.send("to", dbos::Value());
        return "done";
    });
    run();
    const Steps expected{"__null__topic__|1", "topic|\"two\"", "__null__topic__|null"};
    EXPECT_EQ(messages(), expected);
    EXPECT_EQ(steps(), (Steps{"1 DBOS.send", "2 DBOS.send", "3 DBOS.send"}));
    EXPECT_EQ(lines("SELECT output, error, child_workflow_id, application_name FROM @operation_outputs WHERE "
                    "workflow_uuid = 'w' AND function_id = 1"),
              (Steps{"-|-|-|test-app"}));
    replay();
    EXPECT_EQ(bodies, 2);
    EXPECT_EQ(messages(), expected);
    EXPECT_EQ(steps().size(), 3u);
    // As if the process had died before the third commit: that one is sent, the others are not.
    execute("DELETE FROM @operation_outputs WHERE workflow_uuid = 'w' AND function_id = 3");
    execute("DELETE FROM @notifications WHERE message = 'null'");
    replay();
    EXPECT_EQ(messages(), expected);
    EXPECT_EQ(steps().size(), 3u);
}

TEST_P(ContextMessages, a_missing_destination_is_the_steps_recorded_error) {
    std::vector<std::string> caught;
    launch([&](dbos::Context& ctx, const std::string&) {
        try {
            ctx.send("nobody", 1);
        } catch (const dbos::NonexistentWorkflow& error) {
            caught.emplace_back(error.what());
        }
        auto sending = ctx.send_async("nobody", 2);
        try {
            sending.get();
        } catch (const dbos::NonexistentWorkflow& error) {
            caught.emplace_back(error.what());
        }
        try {
            ctx.send_bulk({{.destination_id = "to", .message = 1}, {.destination_id = "gone", .message = 2}});
        } catch (const dbos::NonexistentWorkflow& error) {
            caught.emplace_back(error.what());
        }
        return "done";
    });
    run();
    ASSERT_EQ(caught.size(), 3u);
    EXPECT_NE(caught[0].find("nobody"), std::string::npos);
    EXPECT_NE(caught[2].find("gone"), std::string::npos);
    EXPECT_EQ(messages(), Steps{}) << "all or nothing";
    EXPECT_EQ(steps(), (Steps{"1 DBOS.send", "2 DBOS.send", "3 DBOS.send_bulk"}));
    EXPECT_EQ(
        scalar("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'w' AND error IS NOT NULL"),
        "3");
    app->start_workflow(Silent, {.workflow_id = "nobody"}).get_result();
    replay();
    ASSERT_EQ(caught.size(), 6u) << "although it exists now";
    EXPECT_EQ(caught[3], caught[0]);
    EXPECT_EQ(caught[5], caught[2]);
    EXPECT_EQ(messages("nobody"), Steps{});
}

TEST_P(ContextMessages, idempotency_keys_bulks_and_forks) {
    launch([](dbos::Context& ctx, const std::string&) {
        for (int n = 0; n < 2; ++n) ctx.send("to", n, {}, {.idempotency_key = "key"});
        ctx.send_bulk({{.destination_id = "to", .message = 2, .topic = "t"},
                       {.destination_id = "to", .message = 3, .topic = "t", .idempotency_key = "key"},
                       {.destination_id = "to", .message = 4, .topic = "t", .idempotency_key = "key2"},
                       {.destination_id = "other", .message = 5}});
        ctx.send_bulk({});
        ctx.send("to", 6, "forks", {.idempotency_key = "f", .send_to_forks = true});
        return "done";
    });
    execute("UPDATE @workflow_status SET forked_from = 'to' WHERE workflow_uuid = 'other'");
    run();
    EXPECT_EQ(messages(), (Steps{"__null__topic__|0", "t|2", "t|4", "forks|6"}));
    EXPECT_EQ(messages("other"), (Steps{"__null__topic__|5", "forks|6"}));
    EXPECT_EQ(lines("SELECT message_uuid FROM @notifications WHERE topic = 'forks' ORDER BY 1"),
              (Steps{"f::other", "f::to"}));
    EXPECT_EQ(steps(),
              (Steps{"1 DBOS.send", "2 DBOS.send", "3 DBOS.send_bulk", "4 DBOS.send_bulk", "5 DBOS.send"}));
}

TEST_P(ContextMessages, wrong_arguments_take_no_number) {
    std::vector<std::string> caught;
    launch([&](dbos::Context& ctx, const std::string&) {
        const auto refused = [&](const std::function<void()>& call) {
            try {
                call();
                ADD_FAILURE() << "nothing was thrown";
            } catch (const dbos::UsageError& error) {
                caught.emplace_back(error.what());
            }
        };
        const std::string nul("a\0b", 3), longest(2600, 'x');
        refused([&] { ctx.send("", 1); });
        refused([&] { ctx.send("to", 1, nul); });
        refused([&] { ctx.send("to", 1, {}, {.idempotency_key = longest}); });
        refused([&] {
            ctx.send_bulk({{.destination_id = "to", .message = 1, .idempotency_key = "k"},
                           {.destination_id = "other", .message = 2, .idempotency_key = "k"}});
        });
        refused([&] { ctx.set_event(longest, 1); });
        refused([&] { ctx.set_event(nul, 1); });
        refused([&] { ctx.write_stream(nul, 1); });
        refused([&] { ctx.write_stream("k", "__DBOS_STREAM_CLOSED__"); });
        refused([&] { ctx.close_stream(longest); });
        refused([&] { static_cast<void>(ctx.set_event_async(longest, 1)); });
        refused([&] { ctx.get_all_events(" "); });
        EXPECT_THROW(ctx.set_event("k", std::string("\xff\xfe")), dbos::EncodeError);
        ctx.set_event("k", 1);
        return "done";
    });
    run();
    ASSERT_EQ(caught.size(), 11u);
    EXPECT_NE(caught[3].find("\"k\" twice"), std::string::npos) << caught[3];
    EXPECT_EQ(steps(), (Steps{"1 DBOS.setEvent"}));
    EXPECT_EQ(messages(), Steps{});
}

TEST_P(ContextMessages, calls_on_other_threads_are_refused) {
    launch([&](dbos::Context& ctx, const std::string&) {
        std::thread other([&] { EXPECT_THROW(ctx.set_event("k", 1), dbos::UsageError); });
        other.join();
        return "done";
    });
    run();
    EXPECT_EQ(steps(), Steps{});
}

// ------------------------------------------------------------------------------------------------------------- events

TEST_P(ContextMessages, events_are_seen_outside_and_set_again) {
    Gate gate;
    launch([&](dbos::Context& ctx, const std::string&) {
        ctx.set_event("status", "begun");
        ctx.step("wait", [&] { gate.pass(); });
        ctx.set_event("status", "ended");
        ctx.set_event("nothing", dbos::Value());
        return "done";
    });
    auto waiting = app->client().get_event_async<std::string>("w", "status", 20s);
    auto handle = app->start_workflow(Speaker, {.workflow_id = "w"}, std::string());
    EXPECT_EQ(waiting.get(), "begun") << "a waiter from before hears of it";
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    EXPECT_EQ(app->client().get_event<std::string>("w", "status", 0s), "begun");
    gate.open();
    handle.get_result();
    EXPECT_EQ(app->client().get_event<std::string>("w", "status", 20s), "ended")
        << "the last value, after the end";
    EXPECT_EQ(app->client().get_event("w", "nothing", 20s), dbos::Value());
    EXPECT_EQ(app->client().get_event("w", "never", 0s), std::nullopt);
    const auto all = app->client().get_all_events("w");
    EXPECT_EQ(all.size(), 2u);
    EXPECT_EQ(steps(), (Steps{"1 DBOS.setEvent", "2 wait", "3 DBOS.setEvent", "4 DBOS.setEvent"}));
    EXPECT_EQ(lines("SELECT function_id, key, value, serialization FROM @workflow_events_history ORDER BY 1"),
              (Steps{"1|status|\"begun\"|portable_json", "3|status|\"ended\"|portable_json",
                     "4|nothing|null|portable_json"}));
    execute("UPDATE @workflow_events SET value = '\"mark\"' WHERE key = 'status'");
    replay();
    EXPECT_EQ(scalar("SELECT value FROM @workflow_events WHERE key = 'status'"), "\"mark\"")
        << "a replay sets nothing";
}

TEST_P(ContextMessages, all_events_of_a_workflow_are_a_recorded_read) {
    std::vector<std::string> seen;
    launch([&](dbos::Context& ctx, const std::string& input) {
        if (input == "set") {
            ctx.set_event("a", 1);
            ctx.set_event("b", "two");
            return std::string("set");
        }
        const auto note = [&](const std::map<std::string, dbos::Value>& events) {
            std::string text;
            for (const auto& [key, value] : events) text += key + " ";
            seen.push_back(text);
        };
        note(ctx.get_all_events("source"));
        auto later = ctx.get_all_events_async("source");
        note(later.get());
        note(ctx.get_all_events("unknown"));
        ctx.step("in a step", [&] { note(ctx.get_all_events("source")); });
        return std::string("done");
    });
    run("source", "set");
    run();
    EXPECT_EQ(seen, (Steps{"a b ", "a b ", "", "a b "}));
    EXPECT_EQ(steps(), (Steps{"1 DBOS.get_events", "2 DBOS.get_events", "3 DBOS.get_events", "4 in a step"}));
    execute("DELETE FROM @workflow_events");
    replay();
    EXPECT_EQ(seen, (Steps{"a b ", "a b ", "", "a b ", "a b ", "a b ", ""}));
}

// ---------------------------------------------------------------------------------------------------------- ownership

TEST_P(ContextMessages, a_run_that_was_cancelled_writes_nothing_more) {
    Gate gate;
    launch([&](dbos::Context& ctx, const std::string& input) {
        ctx.step("wait", [&] {
            if (input == "step") {
                gate.pass();
                ctx.write_stream("s", 1);
            }
        });
        gate.pass();
        ctx.set_event("k", 1);
        return "done";
    });
    for (const std::string input : {"body", "step"}) {
        auto handle = app->start_workflow(Speaker, {.workflow_id = input}, std::string(input));
        ASSERT_TRUE(gate.wait_for_arrivals(input == "body" ? 1 : 2));
        app->client().cancel_workflow(input);
    }
    gate.open();
    for (const std::string id : {"body", "step"})
        EXPECT_THROW(app->retrieve_workflow(Speaker, id).get_result({.timeout = 30s}), dbos::Error);
    ASSERT_TRUE(eventually(
        [&] { return scalar("SELECT count(*) FROM @workflow_status WHERE status = 'PENDING'") == "0"; }));
    app->shutdown();
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_events"), "0");
    EXPECT_EQ(scalar("SELECT count(*) FROM @streams"), "0");
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs WHERE function_name LIKE 'DBOS.%'"), "0");
}

/// Portable JSON under another name.
class OwnFormat final : public dbos::Serializer {
   public:
    std::string_view name() const noexcept override { return "own_format"; }
    std::string encode_inputs(const dbos::Arguments& arguments) const override {
        return json_->encode_inputs(arguments);
    }
    dbos::Arguments decode_inputs(std::string_view text) const override { return json_->decode_inputs(text); }
    std::string encode(const dbos::Value& value) const override { return json_->encode(value); }
    dbos::Value decode(std::string_view text) const override { return json_->decode(text); }
    std::string encode_error(const dbos::Failure& failure) const override {
        return json_->encode_error(failure);
    }
    dbos::Failure decode_error(std::string_view text) const override { return json_->decode_error(text); }

   private:
    const std::shared_ptr<const dbos::Serializer> json_ = dbos::serializers::portable_json();
};

TEST_P(ContextMessages, values_are_stored_in_the_format_of_the_workflows_row) {
    auto options = app_options();
    options.serializer = std::make_shared<OwnFormat>();
    app.emplace(std::move(options));
    app->implement(Silent, [](dbos::Context&) {});
    app->register_queue({.name = "q"});
    launch([](dbos::Context& ctx, const std::string&) {
        ctx.set_event("k", 1);
        ctx.write_stream("s", 1);
        ctx.close_stream("s");
        ctx.send("to", 1, ctx.workflow_id());
        ctx.send("to", 1, ctx.workflow_id(), {.serializer = dbos::serializers::portable_json()});
        return "done";
    });
    run("own");
    dbos::Client client({.system_database_url = database().url(), .dbos_system_schema = database().schema()});
    client.enqueue(Speaker, {.queue_name = "q", .workflow_id = "portable"}, std::string())
        .get_result({.timeout = 30s});
    for (const std::string id : {"own", "portable"}) {
        const std::string format = id == "own" ? "own_format" : "portable_json";
        EXPECT_EQ(scalar("SELECT serialization FROM @workflow_events WHERE workflow_uuid = '" + id + "'"),
                  format);
        EXPECT_EQ(lines("SELECT serialization FROM @streams WHERE workflow_uuid = '" + id +
                        "' ORDER BY \"offset\""),
                  (Steps{format, "portable_json"}));
        EXPECT_EQ(lines("SELECT serialization FROM @notifications WHERE topic = '" + id +
                        "' ORDER BY created_at_epoch_ms"),
                  (Steps{format, "portable_json"}));
    }
    EXPECT_EQ(client.get_event<int>("portable", "k", 20s), 1);
    EXPECT_EQ(read("s", "own"), (std::vector<int>{1}));
}

}  // namespace
