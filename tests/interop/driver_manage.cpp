// Listing, and what is done to workflows that exist.
#include <algorithm>

#include "driver.hpp"

namespace interop {
namespace {

Value ids(const std::vector<dbos::WorkflowStatus>& rows) {
    Array all;
    for (const auto& row : rows) all.emplace_back(row.workflow_id);
    return all;
}

Value sorted_ids(std::vector<dbos::WorkflowStatus> rows) {
    std::ranges::sort(rows, {}, &dbos::WorkflowStatus::workflow_id);
    return ids(rows);
}

void check_failures(Drive& drive) {
    const auto handle = drive.client.enqueue(
        {.workflow_name = "fails", .queue_name = "open", .workflow_id = "cpp-fails"}, "no funds");
    drive.checks.equal("failure: type and message", outcome(handle), Array{"CardDeclined", "no funds"});
    try {
        handle.get_result();
    } catch (const dbos::WorkflowFailed& error) {
        drive.checks.equal("failure: code and data", Array{error.failure().code, error.failure().data},
                           Array{402, Object{{"left", 3}}});
    }
    const auto row = handle.get_status();
    const dbos::Failure failure = row.error.value_or(dbos::Failure());
    drive.checks.equal("failure: in a listing", Array{row.status, failure.type_name, failure.message},
                       Array{"ERROR", "CardDeclined", "no funds"});
    drive.checks.throws<dbos::NonexistentWorkflow>("retrieve: nobody",
                                                   [&] { drive.client.retrieve_workflow("cpp-nobody"); });
}

}  // namespace

void check_listing(Drive& drive) {
    const auto& list = [&](const dbos::ListWorkflowsOptions& options) {
        return ids(drive.client.list_workflows(options));
    };
    std::vector<std::string> all;
    for (int i = 0; i < 3; ++i) {
        all.push_back("cpp-list_" + std::to_string(i));
        outcome(drive.client.enqueue({.workflow_name = "echo",
                                      .queue_name = "open",
                                      .workflow_id = all.back(),
                                      .authenticated_user = "lister"},
                                     i));
    }
    outcome(
        drive.client.enqueue({.workflow_name = "echo", .queue_name = "open", .workflow_id = "cpp-listx3"}));
    drive.checks.equal("list: by prefix, in order", list({.workflow_id_prefix = "cpp-list_"}),
                       Array{all[0], all[1], all[2]});
    drive.checks.equal("list: newest first, a page",
                       list({.limit = 1, .offset = 1, .sort_desc = true, .workflow_id_prefix = "cpp-list_"}),
                       Array{all[1]});
    drive.checks.equal("list: by name, user, queue, status and version",
                       list({.status = dbos::Status::success,
                             .name = "echo",
                             .app_version = "interop-1",
                             .user = "lister",
                             .queue_name = "open"}),
                       Array{all[0], all[1], all[2]});
    drive.checks.equal("list: by ids and status",
                       list({.workflow_ids = {all[0], all[1]}, .status = dbos::Status::error}), Array{});
    const auto row = drive.client.list_workflows({.workflow_ids = all[2]}).at(0);
    drive.checks.equal(
        "list: input and output",
        Array{row.input ? Value(Array(row.input->positional)) : Value(), row.output.value_or(Value())},
        Array{Array{2}, 2});
    drive.checks.holds("list: times in order",
                       !drive.before(row.dequeued_at.value_or(0), row.created_at) &&
                           !drive.before(row.completed_at.value_or(0), row.dequeued_at.value_or(1)));
    drive.checks.equal(
        "list: by time of creation",
        list({.start_time = std::chrono::system_clock::time_point(std::chrono::milliseconds(row.created_at)),
              .user = "lister"}),
        Array{all[2]});
    const auto bare =
        drive.client.list_workflows({.workflow_ids = all[2], .load_input = false, .load_output = false})
            .at(0);
    drive.checks.holds("list: without payloads", !bare.input && !bare.output);
    check_failures(drive);

    const auto handle = drive.client.enqueue({.workflow_name = "tokens", .queue_name = "open"}, 2);
    const Value got = outcome(handle);
    const auto steps = drive.client.list_workflow_steps(handle.workflow_id());
    Array names;
    Array numbers;
    for (const auto& step : steps) {
        names.emplace_back(step.function_name);
        numbers.emplace_back(step.function_id);
    }
    const std::int64_t first = drive.first_step();
    drive.checks.equal("steps: names", names, Array{"token", "DBOS.setEvent", "token", "DBOS.setEvent"});
    drive.checks.equal("steps: numbers", numbers, Array{first, first + 1, first + 2, first + 3});
    drive.checks.equal(
        "steps: a page",
        static_cast<int>(
            drive.client.list_workflow_steps(handle.workflow_id(), {.limit = 2, .offset = 3}).size()),
        1);
    const auto caught = drive.client.enqueue({.workflow_name = "caught", .queue_name = "open"}, "declined");
    outcome(caught);
    const auto refused = drive.client.list_workflow_steps(caught.workflow_id());
    drive.checks.holds("steps: a failed one shows an error",
                       refused.size() == 2 && refused[0].error.has_value() && !refused[1].error.has_value());
}

namespace {

void check_cancel(Drive& drive) {
    const auto far = drive.client.enqueue({.workflow_name = "echo", .queue_name = "open", .delay = 1h}, 1);
    drive.client.cancel_workflow(far.workflow_id());
    drive.checks.equal("cancel: one that waits", outcome(far), "cancelled");
    drive.client.resume_workflow(far.workflow_id());
    drive.checks.equal("resume: it runs at once", outcome(far), 1);

    const auto slow =
        drive.client.enqueue({.workflow_name = "gate", .queue_name = "open", .workflow_id = "cpp-cancelled"});
    drive.client.get_event("cpp-cancelled", "state", 30s);
    drive.client.cancel_workflow("cpp-cancelled");
    drive.checks.equal("cancel: one that runs", outcome(slow), "cancelled");
    const auto row = slow.get_status();
    drive.checks.equal("cancel: recorded", Array{row.status, row.queue_name.value_or("")},
                       Array{"CANCELLED", ""});
    drive.client.send("cpp-cancelled", "after all", "go");
    const auto resumed = drive.client.resume_workflow("cpp-cancelled", {.queue_name = "open"});
    drive.checks.equal("resume: goes on where it was", outcome(resumed), "after all");
    drive.client.cancel_workflow("cpp-cancelled");
    drive.client.resume_workflow("cpp-cancelled");
    drive.checks.equal("cancel and resume: leave an ended one alone", slow.get_status().status, "SUCCESS");
    drive.checks.throws<dbos::NonexistentWorkflow>(
        "resume: nobody", [&] { drive.client.resume_workflows({"cpp-cancelled", "cpp-nobody"}); });

    const auto parent = drive.client.enqueue(
        {.workflow_name = "parent", .queue_name = "open", .workflow_id = "cpp-parent"}, 2);
    reaches(drive.client, "cpp-parent-child-1", dbos::Status::pending);
    drive.checks.equal("children: listed by their parent",
                       sorted_ids(drive.client.list_workflows({.parent_workflow_id = "cpp-parent"})),
                       Array{"cpp-parent-child-0", "cpp-parent-child-1"});
    drive.client.cancel_workflow("cpp-parent", {.cancel_children = true});
    drive.checks.equal("cancel: with children",
                       sorted_ids(drive.client.list_workflows(
                           {.status = dbos::Status::cancelled, .workflow_id_prefix = "cpp-parent"})),
                       Array{"cpp-parent", "cpp-parent-child-0", "cpp-parent-child-1"});
    for (const char* child : {"cpp-parent-child-0", "cpp-parent-child-1"})
        drive.client.send(child, child, "go");
    drive.client.resume_workflows({"cpp-parent", "cpp-parent-child-0", "cpp-parent-child-1"});
    drive.checks.equal("resume: all of them", outcome(parent),
                       Array{"cpp-parent-child-0", "cpp-parent-child-1"});
}

void check_waits(Drive& drive) {
    const auto held =
        drive.client.enqueue({.workflow_name = "gate", .queue_name = "open", .workflow_id = "cpp-wait-gate"});
    const auto quick = drive.client.enqueue({.workflow_name = "echo", .queue_name = "open"}, 1);
    drive.checks.equal("wait: for the first",
                       drive.client.wait_first(std::vector{held, quick}, {.timeout = 30s}).workflow_id(),
                       quick.workflow_id());
    drive.client.send("cpp-wait-gate", 1, "go");
    drive.checks.equal(
        "wait: for all",
        static_cast<int>(drive.client.wait_all(std::vector{held, quick}, {.timeout = 30s}).size()), 2);
    drive.checks.throws<dbos::Timeout>("wait: given up", [&] {
        drive.client.enqueue({.workflow_name = "echo", .queue_name = "nobody's"}, 1)
            .get_result({.timeout = 100ms});
    });
}

void check_delete(Drive& drive) {
    const auto box =
        drive.client.enqueue({.workflow_name = "gate", .queue_name = "open", .workflow_id = "cpp-deleted"});
    drive.client.send("cpp-deleted", 1, "go");
    outcome(box);
    drive.client.delete_workflow("cpp-deleted");
    drive.checks.holds("delete: gone", !drive.client.get_workflow_status("cpp-deleted").has_value());
    drive.checks.equal("delete: its steps as well",
                       static_cast<int>(drive.client.list_workflow_steps("cpp-deleted").size()), 0);
    drive.client.delete_workflow("cpp-parent", {.delete_children = true});
    drive.checks.equal("delete: with children",
                       ids(drive.client.list_workflows({.workflow_id_prefix = "cpp-parent"})), Array{});
    drive.client.update_workflow_attributes("cpp-pinned", Object{{"a", 1}, {"b", 2}});
    drive.client.update_workflow_attributes("cpp-pinned", Object{{"b", 3}}, {.merge = true});
    const Value theirs = drive.peer.call("status", {{"id", "cpp-pinned"}});
    drive.checks.equal("attributes: as their client sees them",
                       theirs.find("attributes") ? theirs.at("attributes") : theirs,
                       Object{{"a", 1}, {"b", 3}});
}

}  // namespace

void check_manage(Drive& drive) {
    check_cancel(drive);
    check_waits(drive);
    check_delete(drive);
}

namespace {

/// How many of the first tokens are the same.
std::int64_t common(const Value& a, const Value& b) {
    std::int64_t count = 0;
    if (a.kind() != dbos::Kind::array || b.kind() != dbos::Kind::array) return -1;
    for (std::size_t i = 0; i < a.size() && i < b.size() && a.at(i) == b.at(i); ++i) ++count;
    return count;
}

}  // namespace

void check_forks(Drive& drive) {
    const auto original = drive.client.enqueue(
        {.workflow_name = "tokens", .queue_name = "open", .workflow_id = "cpp-tokens"}, 3);
    const Value tokens = outcome(original);
    const std::int64_t second_token = drive.first_step() + 2;
    const auto fork = drive.client.fork_workflow("cpp-tokens", second_token, {.new_workflow_id = "cpp-fork"});
    drive.checks.equal("fork: what it replays", common(outcome(fork), tokens), 1);
    drive.checks.equal("fork: and does the rest", outcome(fork).size(), 3U);
    const auto row = fork.get_status();
    drive.checks.equal("fork: recorded",
                       Array{row.forked_from.value_or(""), original.get_status().was_forked_from},
                       Array{"cpp-tokens", true});
    const auto again = drive.client.fork_workflow("cpp-tokens", drive.first_step());
    drive.checks.equal("fork: from the first step", common(outcome(again), tokens), 0);
    const auto whole = drive.client.fork_workflow("cpp-tokens", 100, {.queue_name = "open"});
    drive.checks.equal("fork: from behind the last, in a queue", outcome(whole), tokens);
    drive.checks.equal("fork: events came along",
                       drive.client.get_event(whole.workflow_id(), "last", 0s).value_or("nothing"), 2);
    const auto pinned = drive.client.fork_workflow("cpp-tokens", 100, {.application_version = "interop-7"});
    drive.checks.equal("fork: for a version that nobody runs", pinned.get_status().status, "ENQUEUED");
    drive.client.cancel_workflow(pinned.workflow_id());
    drive.checks.throws<dbos::NonexistentWorkflow>("fork: of nobody",
                                                   [&] { drive.client.fork_workflow("cpp-nobody", 1); });
    drive.checks.throws<dbos::WorkflowIdInUse>("fork: under an id that is taken", [&] {
        drive.client.fork_workflow("cpp-tokens", 1, {.new_workflow_id = "cpp-fork"});
    });

    const auto rewound = drive.client.rewind_workflow("cpp-tokens", second_token);
    drive.checks.equal("rewind: the same id runs again from there", common(outcome(rewound), tokens), 1);
}

}  // namespace interop
