// send, send_bulk, get_event, get_all_events: the rows that they write, what they refuse, and how they wait.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dbos/types.hpp"
#include "support/client_rows.hpp"

namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

struct Approval {
    bool ok = false;
    std::string by = {};
};
DBOS_FIELDS(Approval, ok, by)

class ClientMessages : public dbos::test::ClientTest {
   public:
    std::string notification(const std::string& column, const std::string& where = "1 = 1") {
        return query_text("SELECT " + column + " FROM @notifications WHERE " + where);
    }
};
DBOS_FOR_EVERY_DATABASE(ClientMessages);

TEST_P(ClientMessages, a_message_is_a_row_that_every_sdk_reads) {
    insert_workflow("w", "PENDING");
    client().send("w", Approval{true, "ann"}, "approval");
    EXPECT_EQ(notification("destination_uuid"), "w");
    EXPECT_EQ(notification("topic"), "approval");
    EXPECT_EQ(notification("message"), R"({"ok":true,"by":"ann"})");
    EXPECT_EQ(notification("serialization"), "portable_json");
    EXPECT_EQ(notification("message_uuid").size(), 36u);
    EXPECT_THAT(notification("CAST(consumed AS TEXT)"), testing::AnyOf("false", "0"));
    client().send_async("w", 7).get();
    EXPECT_EQ(notification("topic", "message = '7'"), "__null__topic__");
    client().send("w", nullptr, "");
    EXPECT_EQ(notification("topic", "message = 'null'"), "__null__topic__");
}

TEST_P(ClientMessages, a_key_sends_once_to_each_destination) {
    insert_workflow("w", "PENDING");
    insert_workflow("v", "SUCCESS");  // whoever has ended accepts messages, too
    for (int i = 0; i < 3; ++i) {
        client().send("w", i, "t", {.idempotency_key = "k"});
        client().send_async("v", i, {}, {.idempotency_key = "k"}).get();
    }
    EXPECT_EQ(notification("count(*)"), "2");
    EXPECT_EQ(notification("message", "message_uuid = 'k::w'"), "0");
    EXPECT_EQ(notification("message", "message_uuid = 'k::v'"), "0");
    // Also when the first was received.
    execute("UPDATE @notifications SET consumed = TRUE");
    client().send("w", 9, "t", {.idempotency_key = "k"});
    EXPECT_EQ(notification("count(*)"), "2");
    // Without a key each call is a message.
    client().send("w", 1);
    client().send("w", 1);
    EXPECT_EQ(notification("count(*)"), "4");
}

TEST_P(ClientMessages, an_unknown_destination_is_refused_and_nothing_of_the_call_is_written) {
    insert_workflow("w", "PENDING");
    EXPECT_THROW(client().send("nobody", 1), dbos::NonexistentWorkflow);
    EXPECT_THROW(client().send_async("nobody", 1).get(), dbos::NonexistentWorkflow);
    EXPECT_THAT(refusal([&] {
                    client().send_bulk({{.destination_id = "w", .message = 1},
                                        {.destination_id = "nobody", .message = 2},
                                        {.destination_id = "no-one", .message = 3}});
                }),
                testing::AllOf(HasSubstr("nobody"), HasSubstr("no-one")));
    EXPECT_EQ(notification("count(*)"), "0");
}

TEST_P(ClientMessages, bulk_keeps_its_order_and_refuses_a_key_that_stands_twice) {
    insert_workflow("w", "PENDING");
    insert_workflow("v", "PENDING");
    std::vector<dbos::Message> messages;
    for (int i = 0; i < 20; ++i)
        messages.push_back({.destination_id = "w", .message = i, .topic = "t" + std::to_string(i % 2)});
    messages.push_back({.destination_id = "v", .message = "once", .idempotency_key = "k"});
    client().send_bulk(messages);
    client().send_bulk_async({}).get();
    client().send_bulk({});
    EXPECT_EQ(notification("count(*)"), "21");
    // Receivers take them by this instant.
    EXPECT_EQ(notification("count(DISTINCT created_at_epoch_ms)", "destination_uuid = 'w'"), "20");
    EXPECT_EQ(
        query_text(
            "SELECT count(*) FROM @notifications a JOIN @notifications b ON a.destination_uuid = 'w' AND "
            "b.destination_uuid = 'w' AND a.created_at_epoch_ms < b.created_at_epoch_ms AND "
            "CAST(a.message AS INTEGER) > CAST(b.message AS INTEGER)"),
        "0");
    messages.push_back({.destination_id = "w", .message = "twice", .idempotency_key = "k"});
    EXPECT_THAT(refusal([&] { client().send_bulk(messages); }), HasSubstr("\"k\" twice"));
    EXPECT_EQ(notification("count(*)"), "21");
}

TEST_P(ClientMessages, forks_get_copies_that_are_sent_once_as_well) {
    insert_workflow("w", "SUCCESS");
    insert_workflow("f1", "PENDING", {{"forked_from", "w"}});
    insert_workflow("f2", "PENDING", {{"forked_from", "f1"}});
    insert_workflow("f3", "PENDING", {{"forked_from", "w"}});
    insert_workflow("other", "PENDING");
    for (int i = 0; i < 2; ++i)
        client().send("w", "hello", "t", {.idempotency_key = "k", .send_to_forks = true});
    EXPECT_EQ(notification("count(*)"), "4");
    for (const std::string to : {"w", "f1", "f2", "f3"})
        EXPECT_EQ(notification("message_uuid", "destination_uuid = '" + to + "'"), "k::" + to);
    client().send_bulk({{.destination_id = "f1", .message = 1}, {.destination_id = "other", .message = 2}},
                       {.send_to_forks = true});
    EXPECT_EQ(notification("count(*)"), "7");
}

TEST_P(ClientMessages, bad_input_is_refused_before_anything_is_written) {
    insert_workflow("w", "PENDING");
    EXPECT_THAT(refusal([&] { client().send("", 1); }), HasSubstr("destination_id: expected"));
    EXPECT_THAT(refusal([&] { client().send("w", 1, std::string("a\0b", 3)); }), HasSubstr("topic"));
    EXPECT_THAT(refusal([&] { client().send_async(" ", 1); }), HasSubstr("destination_id: expected"));
    EXPECT_THROW(client().get_event("", "k", 0s), dbos::UsageError);
    EXPECT_THROW(client().get_event_async(" ", "k", 0s), dbos::UsageError);
    EXPECT_THROW(client().get_event("w", "k", 0s, {.polling_interval = 0s}), dbos::UsageError);
    EXPECT_EQ(notification("count(*)"), "0");
}

TEST_P(ClientMessages, an_event_is_read_in_any_state_and_null_is_a_value) {
    insert_workflow("w", "ERROR");
    insert("workflow_events",
           {{"workflow_uuid", "w"}, {"key", "price"}, {"value", "42"}, {"serialization", "portable_json"}});
    insert(
        "workflow_events",
        {{"workflow_uuid", "w"}, {"key", "nothing"}, {"value", "null"}, {"serialization", "portable_json"}});
    insert("workflow_events",
           {{"workflow_uuid", "w"}, {"key", "odd"}, {"value", "<x>"}, {"serialization", "some_format"}});
    EXPECT_EQ(client().get_event<int>("w", "price"), 42);
    EXPECT_EQ(client().get_event_async<int>("w", "price").get(), 42);
    const auto null = client().get_event("w", "nothing");
    ASSERT_TRUE(null.has_value());
    EXPECT_TRUE(null->is_null());
    EXPECT_EQ(client().get_event("w", "none", 0s), std::nullopt);
    EXPECT_EQ(client().get_event("w", "none", -5s), std::nullopt);
    EXPECT_EQ(client().get_event_async("nobody", "none", 10ms).get(), std::nullopt);
    EXPECT_THROW(client().get_event<std::string>("w", "price"), dbos::DecodeError);
    EXPECT_THROW(client().get_event("w", "odd"), dbos::DecodeError);
    execute("DELETE FROM @workflow_events WHERE key = 'odd'");
    const auto all = client().get_all_events("w");
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all.at("price").as_int(), 42);
    EXPECT_TRUE(client().get_all_events_async("nobody").get().empty());
}

TEST_P(ClientMessages, an_event_that_comes_later_ends_its_waits_and_only_those) {
    insert_workflow("w", "PENDING");
    auto waiting = client().get_event_async<std::string>("w", "k", 60s);
    auto other_key = client().get_event_async<std::string>("w", "k2", 60s);
    auto other_workflow = client().get_event_async<std::string>("v", "k", 60s);
    std::vector<dbos::Future<std::optional<std::string>>> many;
    for (int i = 0; i < 300; ++i) many.push_back(client().get_event_async<std::string>("w", "k", 60s));
    EXPECT_FALSE(waiting.wait_for(50ms));
    insert("workflow_events",
           {{"workflow_uuid", "w"}, {"key", "k"}, {"value", "\"done\""}, {"serialization", "portable_json"}});
    EXPECT_EQ(waiting.get(), "done");
    for (auto& future : many) EXPECT_EQ(future.get(), "done");
    EXPECT_FALSE(other_key.ready());
    EXPECT_FALSE(other_workflow.ready());
}

TEST_P(ClientMessages, many_events_of_one_check_come_in_batches) {
    constexpr int kEvents = 250;
    std::vector<dbos::Future<std::optional<std::string>>> waits;
    for (int i = 0; i < kEvents; ++i) {
        insert_workflow("w" + std::to_string(i), "PENDING");
        waits.push_back(client().get_event_async<std::string>("w" + std::to_string(i), "k", 60s));
    }
    const std::string big(100'000, 'x');
    for (int i = 0; i < kEvents; ++i) {
        insert("workflow_events", {{"workflow_uuid", "w" + std::to_string(i)},
                                   {"key", "k"},
                                   {"value", '"' + big + std::to_string(i) + '"'},
                                   {"serialization", "portable_json"}});
    }
    for (int i = 0; i < kEvents; ++i)
        EXPECT_EQ(waits[static_cast<std::size_t>(i)].get(), big + std::to_string(i));
}

TEST_P(ClientMessages, waits_end_when_the_client_is_closed) {
    insert_workflow("w", "PENDING");
    auto mine = make_client(client_options());
    auto event = mine->get_event_async("w", "k", 60s);
    auto stream = mine->read_stream_async("w", "s");
    auto value = stream.next();
    mine->destroy();
    EXPECT_THROW(event.get(), dbos::ClientClosed);
    EXPECT_THROW(value.get(), dbos::ClientClosed);
    EXPECT_THROW(mine->send("w", 1), dbos::ClientClosed);
    EXPECT_THROW(mine->get_event("w", "k", 0s), dbos::ClientClosed);
}

}  // namespace
