// What the application's own language manages as well: debouncing, schedules, versions, and rows in its own format.
#include "driver.hpp"

#include <dbos/debouncer.hpp>

namespace interop {

namespace {

void check_period(Drive& drive, const dbos::DebouncerOptions& options) {
    dbos::Debouncer debouncer(drive.client, {.workflow_name = "echo", .queue_name = "open"}, options);
    const auto first = debouncer.debounce("user-1", 1h, "first");
    const auto second = debouncer.debounce("user-1", 1h, "second");
    const auto other = debouncer.debounce("user-2", 300ms, "other");
    const auto last = debouncer.debounce("user-1", 300ms, "last");
    drive.checks.equal(
        "debounce: one workflow for a burst",
        Array{second.workflow_id() == first.workflow_id(), last.workflow_id() == first.workflow_id(),
              other.workflow_id() == first.workflow_id()},
        Array{true, true, false});
    drive.checks.equal("debounce: with the last arguments", outcome(last), "last");
    drive.checks.equal("debounce: keys apart", outcome(other), "other");
    const auto after = debouncer.debounce("user-1", 100ms, "after");
    drive.checks.holds("debounce: a new workflow afterwards", after.workflow_id() != first.workflow_id());
    drive.checks.equal("debounce: which runs as well", outcome(after), "after");
    dbos::DebouncerOptions capped = options;
    capped.debounce_timeout = 500ms;
    dbos::Debouncer limited(drive.client, {.workflow_name = "echo", .queue_name = "open"}, capped);
    limited.debounce("user-3", 1h, 1);
    drive.checks.equal("debounce: not put off beyond the limit", outcome(limited.debounce("user-3", 1h, 2)),
                       2);
}

}  // namespace

void check_debounce(Drive& drive) {
    dbos::DebouncerOptions options;
    if (!drive.python()) options.style = dbos::DebounceStyle::typescript;
    check_period(drive, options);

    dbos::Debouncer ours(drive.client, {.workflow_name = "echo", .queue_name = "open"}, options);
    const auto theirs = [&](const char* key, double period, const Value& value) {
        return drive.peer.call(
            "debounce",
            {{"name", "echo"}, {"queue", "open"}, {"key", key}, {"period", period}, {"value", value}});
    };
    const auto first = ours.debounce("both-1", 1h, "ours");
    drive.checks.equal("debounce: their call joins our burst", theirs("both-1", 0.2, "theirs"),
                       first.workflow_id());
    drive.checks.equal("debounce: and its arguments win", outcome(first), "theirs");
    const Value id = theirs("both-2", 3600, "theirs");
    const auto second = ours.debounce("both-2", 200ms, "ours");
    drive.checks.equal("debounce: our call joins their burst", second.workflow_id(), id);
    drive.checks.equal("debounce: and its arguments win here as well", outcome(second), "ours");
}

// --- schedules

namespace {

dbos::ScheduleStyle style(const Drive& drive) {
    return drive.python() ? dbos::ScheduleStyle::python : dbos::ScheduleStyle::typescript;
}

void check_schedule_rows(Drive& drive) {
    dbos::Client& client = drive.client;
    const Value context = Object{{"who", "c++"}, {"list", Array{1, 2.5, nullptr, true, "Gr\u00fc\u00dfe"}}};
    dbos::ScheduleOptions yearly{.schedule_name = "cpp-yearly",
                                 .workflow_name = "scheduled",
                                 .schedule = "0 5 1 1 *",
                                 .context = context,
                                 .cron_timezone = "Europe/Berlin",
                                 .queue_name = "open",
                                 .style = style(drive)};
    client.create_schedule(yearly);
    drive.checks.throws<dbos::AlreadyExists>("schedules: a name that is taken",
                                             [&] { client.create_schedule(yearly); });
    const Value seen = drive.peer.call("schedule", {{"name", "cpp-yearly"}});
    drive.checks.equal("schedules: ours as their client sees it", seen,
                       Object{{"schedule_name", "cpp-yearly"},
                              {"workflow_name", "scheduled"},
                              {"schedule", "0 5 1 1 *"},
                              {"status", "ACTIVE"},
                              {"context", context},
                              {"cron_timezone", "Europe/Berlin"},
                              {"queue_name", "open"},
                              {"application_name", "interop"}});
    client.pause_schedule("cpp-yearly");
    drive.checks.equal("schedules: paused", client.get_schedule("cpp-yearly")->status, "PAUSED");
    client.resume_schedule("cpp-yearly");
    drive.checks.equal("schedules: resumed",
                       drive.peer.call("schedule", {{"name", "cpp-yearly"}}).at("status"), "ACTIVE");
    client.update_schedule("cpp-yearly", {.schedule = "0 6 1 1 *", .style = style(drive)});
    drive.checks.equal("schedules: updated", client.get_schedule("cpp-yearly")->schedule, "0 6 1 1 *");
    dbos::ScheduleOptions monthly = yearly;
    monthly.schedule_name = "cpp-monthly";
    monthly.schedule = "0 0 1 * *";
    client.apply_schedules({yearly, monthly});
    Value listed = drive.peer.call("schedules", {{"prefix", "cpp-"}});
    drive.checks.equal("schedules: applied, listed by their client", listed,
                       Array{"cpp-monthly", "cpp-yearly"});

    const auto run = client.trigger_schedule("cpp-yearly", {.style = style(drive)});
    const Value got = outcome(run);
    drive.checks.equal("schedules: triggered, its context arrives", got.size() == 2 ? got.at(1) : got,
                       context);
    client.delete_schedule("cpp-monthly");
    client.delete_schedule("cpp-yearly");
    drive.checks.equal("schedules: deleted", drive.peer.call("schedules", {{"prefix", "cpp-"}}), Array{});
}

/// A schedule of theirs, seen and run by us; backfills of both meet in the same ids.
void check_their_schedule(Drive& drive) {
    dbos::Client& client = drive.client;
    drive.peer.call("create_schedule", {{"schedule_name", "their-daily"},
                                        {"workflow_name", "scheduled"},
                                        {"schedule", "30 3 * * *"},
                                        {"context", "of theirs"},
                                        {"cron_timezone", "America/New_York"},
                                        {"queue_name", "open"},
                                        {"application_name", "interop"}});
    Array names;
    for (const auto& schedule : client.list_schedules({.schedule_name_prefix = "their-"}))
        names.emplace_back(schedule.schedule_name);
    drive.checks.equal("schedules: theirs in our list", names, Array{"their-daily"});
    const auto schedule = client.get_schedule("their-daily");
    drive.checks.equal("schedules: with its context", schedule ? schedule->context : Value(), "of theirs");
    const auto runs = client.backfill_schedule("their-daily", "2026-03-07T00:00:00Z", "2026-03-10T00:00:00Z",
                                               {.style = style(drive)});
    Array ours;
    for (const auto& run : runs) ours.emplace_back(run.workflow_id());
    drive.checks.equal("schedules: three runs over a change of clocks", static_cast<int>(ours.size()), 3);
    const Value again = drive.peer.call("backfill", {{"name", "their-daily"},
                                                     {"start", "2026-03-07T00:00:00+00:00"},
                                                     {"end", "2026-03-10T00:00:00+00:00"}});
    drive.checks.equal("schedules: their backfill finds the same runs", again, ours);
    const Value got = outcome(runs.front());
    drive.checks.holds(
        "schedules: a run has its time and context",
        got.size() == 2 && got.at(1) == "of theirs" && got.at(0).as_string().starts_with("2026-03-07"));
    const auto later = drive.peer.call("backfill", {{"name", "their-daily"},
                                                    {"start", "2026-03-10T00:00:00+00:00"},
                                                    {"end", "2026-03-11T00:00:00+00:00"}});
    const auto same = client.backfill_schedule("their-daily", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z",
                                               {.style = style(drive)});
    drive.checks.equal("schedules: our backfill finds theirs",
                       Array{static_cast<int>(same.size()), same.empty() ? "" : same[0].workflow_id()},
                       Array{1, later.size() == 1 ? later.at(0) : later});
    client.delete_schedule("their-daily");
}

/// One of ours that their scheduler fires.
void check_live_schedule(Drive& drive) {
    drive.client.create_schedule({.schedule_name = "live",
                                  .workflow_name = "scheduled",
                                  .schedule = "* * * * * *",
                                  .context = "every second",
                                  .queue_name = "open",
                                  .style = style(drive)});
    std::vector<dbos::WorkflowStatus> runs;
    soon([&] {
        runs = drive.client.list_workflows({.status = dbos::Status::success, .schedule_name = "live"});
        return runs.size() >= 2;
    });
    drive.client.delete_schedule("live");
    drive.checks.holds("schedules: their application fires one of ours", runs.size() >= 2);
}

}  // namespace

void check_schedules(Drive& drive) {
    check_schedule_rows(drive);
    check_their_schedule(drive);
    check_live_schedule(drive);
}

void check_versions(Drive& drive) {
    dbos::Client& client = drive.client;
    Array names;
    for (const auto& version : client.list_versions()) names.emplace_back(version.version_name);
    drive.checks.equal("versions: newest first", names, Array{"interop-1", "interop-0"});
    drive.checks.equal("versions: the latest", client.get_latest_version().version_name, "interop-1");
    client.set_latest_version("interop-0");
    drive.checks.equal("versions: their client sees what we made the latest", drive.peer.call("latest"),
                       "interop-0");
    const auto unbound = client.enqueue({.workflow_name = "echo", .queue_name = "open"}, "unbound");
    const auto bound =
        client.enqueue({.workflow_name = "echo", .queue_name = "open", .app_version = "interop-1"}, "bound");
    drive.checks.equal("versions: work for the version that runs is done", outcome(bound), "bound");
    drive.checks.equal("versions: work without one waits for the latest", unbound.get_status().status,
                       "ENQUEUED");
    client.set_latest_application_version("interop-1");
    drive.checks.equal("versions: and is done when it is there", outcome(unbound), "unbound");
    drive.checks.throws<dbos::NotFound>("versions: an unknown one",
                                        [&] { client.set_latest_version("interop-9"); });
}

/// What the application has started itself stands there in its own format.
void check_native(Drive& drive) {
    dbos::Client& client = drive.client;
    const auto row = client.get_workflow_status("native").value_or(dbos::WorkflowStatus());
    drive.checks.equal("native: listed", Array{row.status, row.name, row.serialization.value_or("")},
                       Array{"SUCCESS", "tokens", drive.python() ? "py_pickle" : "js_superjson"});
    drive.checks.holds("native: its result as it is stored",
                       row.output && row.output->kind() == dbos::Kind::string && !row.input && row.raw_input);
    drive.checks.throws<dbos::DecodeError>("native: its result is refused",
                                           [&] { client.retrieve_workflow("native").get_result(); });
    const auto failed = client.get_workflow_status("native-failed").value_or(dbos::WorkflowStatus());
    drive.checks.holds("native: a failure as it is stored",
                       failed.status == dbos::Status::error && failed.error && !failed.error->raw.empty());
    const auto fork = client.fork_workflow("native", drive.first_step() + 2, {.latest_version = true});
    drive.checks.holds("native: a fork of it is run",
                       reaches(client, fork.workflow_id(), dbos::Status::success));
    const Value theirs = drive.peer.call("result", {{"id", fork.workflow_id()}});
    drive.checks.equal("native: and their client reads what both have in common",
                       theirs.size() == 2 ? theirs.at(0) : theirs,
                       drive.peer.call("result", {{"id", "native"}}).at(0));
    client.delete_workflow(fork.workflow_id());
}

/// Both clients on the same workflows.
void check_both(Drive& drive) {
    dbos::Client& client = drive.client;
    const Value theirs = drive.peer.call(
        "enqueue", {{"name", "gate"}, {"queue", "open"}, {"args", Array{}}, {"workflow_id", "their-gate"}});
    drive.checks.equal("both: they enqueue, we see it", client.retrieve_workflow("their-gate").workflow_id(),
                       theirs);
    client.get_event("their-gate", "state", 30s);
    drive.checks.equal(
        "both: we enqueue an id of theirs again",
        client.enqueue({.workflow_name = "gate", .queue_name = "open", .workflow_id = "their-gate"})
            .workflow_id(),
        "their-gate");
    drive.checks.equal(
        "both: they enqueue an id of ours again",
        drive.peer.call(
            "enqueue",
            {{"name", "echo"}, {"queue", "open"}, {"args", Array{1}}, {"workflow_id", "cpp-pinned"}}),
        "cpp-pinned");
    client.send("their-gate", "from us", "go");
    drive.checks.equal("both: we send, they read the result",
                       drive.peer.call("result", {{"id", "their-gate"}}), "from us");
    const auto ours =
        client.enqueue({.workflow_name = "gate", .queue_name = "open", .workflow_id = "our-gate"});
    client.get_event("our-gate", "state", 30s);
    drive.peer.call("cancel", {{"id", "our-gate"}});
    drive.checks.equal("both: they cancel ours", outcome(ours), "cancelled");
    drive.peer.call("send", {{"id", "our-gate"}, {"message", "from them"}, {"topic", "go"}});
    drive.peer.call("resume", {{"id", "our-gate"}});
    drive.checks.equal("both: they resume it and send", outcome(ours), "from them");
    const Value forked = drive.peer.call("fork", {{"id", "our-gate"}, {"step", 100}});
    drive.checks.equal(
        "both: they fork ours",
        forked.kind() == dbos::Kind::string ? outcome(client.retrieve_workflow(forked.as_string())) : forked,
        "from them");
    const auto mine = client.fork_workflow("their-gate", 100);
    drive.checks.equal("both: we fork theirs", drive.peer.call("result", {{"id", mine.workflow_id()}}),
                       "from us");
    const Value status = drive.peer.call("status", {{"id", "cpp-context"}});
    drive.checks.equal("both: what they see of one of ours",
                       Array{status.at("status"), status.at("name"), status.at("user"), status.at("roles"),
                             status.at("version"), status.at("queue")},
                       Array{"SUCCESS", "context", "ada", Array{"admin", "reader"}, "interop-1", "open"});
    drive.peer.call("enqueue", {{"name", "gate"},
                                {"queue", "open"},
                                {"args", Array{}},
                                {"workflow_id", "their-dedup"},
                                {"deduplication_id", "shared"}});
    drive.checks.throws<dbos::QueueDeduplicated>("both: a deduplication id that they hold", [&] {
        client.enqueue({.workflow_name = "gate", .queue_name = "open", .deduplication_id = "shared"});
    });
    client.cancel_workflow("their-dedup");
    client.enqueue({.workflow_name = "gate",
                    .queue_name = "open",
                    .workflow_id = "our-dedup",
                    .deduplication_id = "shared"});
    const Value refused = drive.peer.call(
        "enqueue", {{"name", "gate"}, {"queue", "open"}, {"args", Array{}}, {"deduplication_id", "shared"}});
    drive.checks.equal("both: one that we hold",
                       refused.kind() == dbos::Kind::array ? refused.at(0) : refused,
                       drive.python() ? "DBOSQueueDeduplicatedError" : "DBOSQueueDuplicatedError");
    client.cancel_workflow("our-dedup");
}

}  // namespace interop
