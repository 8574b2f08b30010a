// Messages, events and streams.
#include "driver.hpp"

namespace interop {
namespace {

void check_send(Drive& drive) {
    const auto box = drive.client.enqueue(
        {.workflow_name = "mailbox", .queue_name = "open", .workflow_id = "cpp-mailbox"});
    const Value rich = Object{{"a", Array{1, 2.5, nullptr, true}}, {"text", "Gr\u00fc\u00dfe"}};
    drive.client.send("cpp-mailbox", "plain");
    drive.client.send("cpp-mailbox", rich);
    drive.client.send("cpp-mailbox", 1, {}, {.idempotency_key = "once"});
    drive.client.send("cpp-mailbox", 2, {}, {.idempotency_key = "once"});
    drive.client.send("cpp-mailbox", "for nobody", "another topic");
    std::vector<dbos::Message> many(2);
    many[0] = {.destination_id = "cpp-mailbox", .message = nullptr};
    many[1] = {.destination_id = "cpp-mailbox", .message = "bulk"};
    drive.client.send_bulk(many);
    drive.client.send_async("cpp-mailbox", "end").get();
    drive.checks.equal("send: values, each key once, topics apart, bulk in order", outcome(box),
                       Array{"plain", rich, 1, nullptr, "bulk"});
    drive.checks.throws<dbos::NonexistentWorkflow>("send: to nobody",
                                                   [&] { drive.client.send("cpp-nobody", 1); });
    many[1].destination_id = "cpp-nobody";
    drive.checks.throws<dbos::NonexistentWorkflow>("send: in bulk, one to nobody",
                                                   [&] { drive.client.send_bulk(many); });

    const auto gate =
        drive.client.enqueue({.workflow_name = "gate", .queue_name = "open", .workflow_id = "cpp-gate"});
    drive.checks.equal("events: one that is set while we wait",
                       drive.client.get_event("cpp-gate", "state", 30s).value_or("nothing"), "waiting");
    drive.client.send("cpp-gate", "early", "go");
    drive.checks.equal("send: wakes a workflow that waits", outcome(gate), "early");
    drive.checks.equal("events: the last value, of an ended workflow",
                       drive.client.get_event("cpp-gate", "state", 0s).value_or("nothing"), "through");
}

void check_events(Drive& drive) {
    const auto handle =
        drive.client.enqueue({.workflow_name = "events", .queue_name = "open", .workflow_id = "cpp-events"});
    auto waiting = drive.client.get_event_async("cpp-events", "object", 30s);
    drive.checks.equal("events: a value, through a future", waiting.get().value_or("nothing"),
                       Object{{"a", Array{1, 2.5, nullptr, true}}, {"text", "Gr\u00fc\u00dfe \U0001f600"}});
    drive.checks.equal("events: null is a value",
                       drive.client.get_event("cpp-events", "null", 30s).value_or("nothing"), nullptr);
    drive.checks.equal("events: before it changes",
                       drive.client.get_event("cpp-events", "twice", 30s).value_or("nothing"), "first");
    drive.client.send("cpp-events", 1, "go");
    outcome(handle);
    drive.checks.equal("events: after it has changed",
                       drive.client.get_event("cpp-events", "twice", 0s).value_or("nothing"), "second");
    drive.checks.holds("events: one that is never set",
                       !drive.client.get_event("cpp-events", "never", 100ms).has_value());
    const auto all = drive.client.get_all_events("cpp-events");
    drive.checks.equal("events: all of them", static_cast<int>(all.size()), 3);
    const Value theirs = drive.peer.call("event", {{"id", "cpp-events"}, {"key", "twice"}});
    drive.checks.equal("events: as their client sees it", theirs, "second");
}

}  // namespace

void check_messages(Drive& drive) {
    check_send(drive);
    check_events(drive);
}

void check_streams(Drive& drive) {
    const Array before = {1, "two", nullptr, Object{{"three", Array{3}}}};
    const auto handle = drive.client.enqueue(
        {.workflow_name = "streams", .queue_name = "open", .workflow_id = "cpp-streams"});
    reaches(drive.client, "cpp-streams", dbos::Status::pending);
    auto stream =
        drive.client.read_stream("cpp-streams", "values", {.polling_interval = 50ms, .timeout = 30s});
    Array got;
    for (int i = 0; i < 4; ++i) got.push_back(stream.next().value_or("over"));
    drive.checks.equal("streams: values while it runs", got, before);
    drive.checks.throws<dbos::StreamTimeout>("streams: a value that does not come", [&] {
        drive.client.read_stream_offset("cpp-streams", "values", 4, {.timeout = 100ms});
    });
    auto next = drive.client.read_stream_offset_async("cpp-streams", "values", 4, {.timeout = 30s});
    drive.client.send("cpp-streams", 1, "go");
    drive.checks.equal("streams: the next one, through a future", next.get(), "last");
    drive.checks.equal("streams: and through the range", stream.next().value_or("over"), "last");
    drive.checks.holds("streams: closed", !stream.next().has_value());
    outcome(handle);
    got.clear();
    for (const Value& value : drive.client.read_stream("cpp-streams", "values", {.offset = 3}))
        got.push_back(value);
    drive.checks.equal("streams: from an offset, afterwards", got, Array{before[3], "last"});
    got.clear();
    for (const Value& value : drive.client.read_stream("cpp-streams", "open")) got.push_back(value);
    drive.checks.equal("streams: one that was never closed ends with its workflow", got,
                       Array{"never closed"});
    drive.checks.throws<dbos::NonexistentWorkflow>(
        "streams: of nobody", [&] { drive.client.read_stream("cpp-nobody", "values").next(); });
}

}  // namespace interop
