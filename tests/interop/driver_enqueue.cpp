// Enqueuing with every option, and the queues themselves.
#include "driver.hpp"

namespace interop {
namespace {

const Array& values() {
    static const Array all = {nullptr,
                              true,
                              0,
                              -1,
                              (std::int64_t{1} << 53) - 1,
                              0.5,
                              -1e-7,
                              "",
                              "Gr\u00fc\u00dfe, \u4e16\u754c \U0001f600",
                              "quote \" backslash \\ line\nend",
                              Array{},
                              Object{},
                              Array{1, Array{2, Array{3}}},
                              Object{{"a", Object{{"b", Array{nullptr, Object{{"c", ""}}}}}}, {"", 0}}};
    return all;
}

void check_values(Drive& drive) {
    std::vector<dbos::EnqueueRequest> requests;
    for (const Value& value : values())
        requests.push_back(dbos::enqueue_request({.workflow_name = "echo", .queue_name = "open"}, value));
    Array back;
    for (const auto& handle : drive.client.enqueue_bulk(std::move(requests))) back.push_back(outcome(handle));
    drive.checks.equal("enqueue: in bulk, values there and back", back, values());
    drive.checks.equal("enqueue: nothing given",
                       outcome(drive.client.enqueue({.workflow_name = "echo", .queue_name = "open"})),
                       nullptr);
    drive.checks.equal(
        "enqueue: several positional arguments",
        outcome(drive.client.enqueue({.workflow_name = "described", .queue_name = "open"}, "a", "b", 3, 4)),
        Object{{"first", "a"}, {"second", "b"}, {"rest", Array{3, 4}}});
    if (drive.python()) {  // TypeScript ignores named arguments
        drive.checks.equal("enqueue: named arguments",
                           outcome(drive.client.enqueue({.workflow_name = "described", .queue_name = "open"},
                                                        dbos::named("first", 1))),
                           Object{{"first", 1}, {"second", "default"}, {"rest", Array{}}});
    }
    auto future = drive.client.enqueue_async({.workflow_name = "echo", .queue_name = "open"}, "later");
    drive.checks.equal("enqueue: through futures", future.get().get_result_async().get(), "later");
}

void check_ids(Drive& drive) {
    const dbos::EnqueueOptions options{
        .workflow_name = "echo", .queue_name = "open", .workflow_id = "cpp-pinned"};
    const auto first = drive.client.enqueue(options, "first");
    drive.checks.equal("enqueue: a chosen id", first.workflow_id(), "cpp-pinned");
    drive.checks.equal("enqueue: its result", outcome(first), "first");
    drive.checks.equal("enqueue: an id again changes nothing",
                       outcome(drive.client.enqueue(options, "second")), "first");
    drive.checks.throws<dbos::WorkflowIdInUse>("enqueue: an id again, reuse refused", [&] {
        dbos::EnqueueOptions refusing = options;
        refusing.workflow_id_reuse_policy = dbos::WorkflowIdReusePolicy::reject;
        drive.client.enqueue(refusing, "third");
    });
    drive.checks.throws<dbos::ConflictingWorkflow>("enqueue: an id of another workflow", [&] {
        drive.client.enqueue({.workflow_name = "ticket", .queue_name = "open", .workflow_id = "cpp-pinned"});
    });
}

void check_recorded(Drive& drive) {
    const Object attributes = {{"customer", "c-1"}, {"tags", Array{1, 2}}};
    const auto handle = drive.client.enqueue({.workflow_name = "context",
                                              .queue_name = "open",
                                              .workflow_id = "cpp-context",
                                              .authenticated_user = "ada",
                                              .authenticated_roles = {"admin", "reader"},
                                              .attributes = attributes});
    drive.checks.equal("enqueue: user, roles and version inside the workflow", outcome(handle),
                       Object{{"id", "cpp-context"},
                              {"user", "ada"},
                              {"roles", Array{"admin", "reader"}},
                              {"version", "interop-1"}});
    const auto row = handle.get_status();
    drive.checks.equal("enqueue: attributes", row.attributes.value_or(Value()), attributes);
    drive.checks.equal("enqueue: the version is stamped when it is taken", row.app_version.value_or(""),
                       "interop-1");
    drive.checks.equal("enqueue: owner", row.application_name.value_or(""), "interop");
    if (!drive.sqlite) {
        const auto found = drive.client.list_workflows({.attributes = Object{{"customer", "c-1"}}});
        drive.checks.equal("enqueue: found by attributes",
                           found.size() == 1 ? found[0].workflow_id : std::to_string(found.size()),
                           "cpp-context");
    }
    drive.checks.equal("enqueue: a method of a class",
                       outcome(drive.client.enqueue(
                           {.workflow_name = "close", .queue_name = "open", .class_name = "Shop"}, "Monday")),
                       "closed on Monday");
    drive.checks.equal(
        "enqueue: a method of a configured instance",
        outcome(drive.client.enqueue(
            {.workflow_name = "sell", .queue_name = "open", .class_name = "Shop", .instance_name = "north"},
            "tea")),
        "north sells tea");
}

void check_deduplication(Drive& drive) {
    const dbos::EnqueueOptions options{.workflow_name = "gate",
                                       .queue_name = "open",
                                       .workflow_id = "cpp-dedup-1",
                                       .deduplication_id = "only-one"};
    const auto first = drive.client.enqueue(options);
    dbos::EnqueueOptions second = options;
    second.workflow_id = "cpp-dedup-2";
    drive.checks.throws<dbos::QueueDeduplicated>("deduplication: refused while one waits or runs",
                                                 [&] { drive.client.enqueue(second); });
    second.duplication_policy = dbos::DuplicationPolicy::return_existing;
    drive.checks.equal("deduplication: return_existing gives the holder",
                       drive.client.enqueue(second).workflow_id(), "cpp-dedup-1");
    reaches(drive.client, "cpp-dedup-1", dbos::Status::pending);
    drive.checks.throws<dbos::QueueDeduplicated>("deduplication: refused while one runs", [&] {
        dbos::EnqueueOptions again = second;
        again.duplication_policy = dbos::DuplicationPolicy::reject;
        drive.client.enqueue(again);
    });
    drive.client.send("cpp-dedup-1", "done", "go");
    drive.checks.equal("deduplication: the holder ends", outcome(first), "done");
    dbos::EnqueueOptions third = options;
    third.workflow_id = "cpp-dedup-3";
    const auto after = drive.client.enqueue(third);
    drive.client.send("cpp-dedup-3", "again", "go");
    drive.checks.equal("deduplication: free again afterwards", outcome(after), "again");
}

void check_time(Drive& drive) {
    const auto limited =
        drive.client.enqueue({.workflow_name = "slow", .queue_name = "open", .workflow_timeout = 300ms}, 600);
    drive.checks.equal("timeout: cancels a running workflow", outcome(limited), "cancelled");
    const auto row = limited.get_status();
    drive.checks.equal("timeout: recorded", row.workflow_timeout_ms.value_or(0), 300);

    const auto delayed =
        drive.client.enqueue({.workflow_name = "echo", .queue_name = "open", .delay = 1500ms}, "late");
    drive.checks.equal("delay: DELAYED at first", delayed.get_status().status, "DELAYED");
    drive.checks.equal("delay: runs in the end", outcome(delayed), "late");
    const auto seen = delayed.get_status();
    drive.checks.holds("delay: not before its time",
                       !drive.before(seen.dequeued_at.value_or(0), seen.delay_until_epoch_ms.value_or(1)));
    const auto far = drive.client.enqueue({.workflow_name = "echo", .queue_name = "open", .delay = 1h}, 1);
    drive.client.set_workflow_delay(far.workflow_id(), 0s);
    drive.checks.equal("delay: brought forward", outcome(far), 1);
}

}  // namespace

void check_enqueue(Drive& drive) {
    check_values(drive);
    check_ids(drive);
    check_recorded(drive);
    check_deduplication(drive);
    check_time(drive);
}

// --- queues

namespace {

void check_priority(Drive& drive) {
    const auto gate =
        drive.client.enqueue({.workflow_name = "gate", .queue_name = "one", .workflow_id = "cpp-gate-one"});
    reaches(drive.client, "cpp-gate-one", dbos::Status::pending);
    const auto ticket = [&](std::int64_t priority) {
        return drive.client.enqueue({.workflow_name = "ticket", .queue_name = "one", .priority = priority});
    };
    const auto last = ticket(9);
    const auto third = ticket(5);
    const auto second = ticket(5);
    const auto first = ticket(0);
    const auto moved = ticket(100);
    drive.client.set_workflow_priority(moved.workflow_id(), 7);
    const auto waiting = drive.client.list_queued_workflows({.queue_name = "one"});
    drive.checks.equal("priority: all but the running one wait", static_cast<int>(waiting.size()), 6);
    drive.client.send("cpp-gate-one", nullptr, "go");
    outcome(gate);
    const auto number = [](const auto& handle) {
        const Value got = outcome(handle);
        return got.kind() == dbos::Kind::integer ? got.as_int() : -1;
    };
    const std::int64_t base = number(first);
    drive.checks.equal(
        "priority: lower numbers first, then the order of enqueuing, moved ones where they belong",
        Array{number(third) - base, number(second) - base, number(moved) - base, number(last) - base},
        Array{1, 2, 3, 4});
}

void check_partitions(Drive& drive) {
    const auto enqueue = [&](const char* name, const char* key, const std::string& id) {
        return drive.client.enqueue(
            {.workflow_name = name, .queue_name = "parts", .workflow_id = id, .queue_partition_key = key});
    };
    const auto held = enqueue("gate", "a", "cpp-part-a");
    reaches(drive.client, "cpp-part-a", dbos::Status::pending);
    const auto behind = enqueue("ticket", "a", "cpp-part-behind");
    const auto beside = enqueue("ticket", "b", "cpp-part-beside");
    drive.checks.holds("partition: another key runs beside", outcome(beside).kind() == dbos::Kind::integer);
    drive.checks.equal("partition: the same key waits", behind.get_status().status, "ENQUEUED");
    drive.client.send("cpp-part-a", nullptr, "go");
    outcome(held);
    drive.checks.holds("partition: and runs afterwards", outcome(behind).kind() == dbos::Kind::integer);
    drive.checks.equal("partition: recorded", behind.get_status().queue_partition_key.value_or(""), "a");
}

}  // namespace

void check_queues(Drive& drive) {
    check_priority(drive);
    check_partitions(drive);
    const auto parts = drive.client.retrieve_queue("parts");
    drive.checks.holds("queues: limits of one of theirs", parts && parts->partition_concurrency == 1);
    drive.client.register_queue({.name = "cpp-made", .worker_concurrency = 2, .polling_interval = 100ms});
    drive.checks.equal(
        "queues: work on one that we have defined is run",
        outcome(drive.client.enqueue({.workflow_name = "echo", .queue_name = "cpp-made"}, "ran")), "ran");
    const Value theirs = drive.peer.call("queue", {{"name", "cpp-made"}});
    drive.checks.equal("queues: their client sees its limits",
                       theirs.find("worker_concurrency") ? theirs.at("worker_concurrency") : theirs, 2);
    drive.client.delete_queue("cpp-made");
    drive.checks.equal("queues: deleted", drive.peer.call("queue", {{"name", "cpp-made"}}), nullptr);
}

}  // namespace interop
