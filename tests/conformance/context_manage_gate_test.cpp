// The gate of a managing call in a body: effect and checkpoint are one transaction, whatever becomes of its acknowledgement.
#include <gmock/gmock.h>

#include <thread>

#include "support/managed.hpp"

namespace {

using dbos::sysdb::Gate;
using dbos::sysdb::StepResult;
using dbos::sysdb::SystemDatabase;
using dbos::test::error_of;
using dbos::test::Fault;
using dbos::test::Faults;
using testing::HasSubstr;

/// A managing call, and what of the world it changes.
struct Call {
    std::string name;
    std::function<void(SystemDatabase&, Gate*)> make;
    std::string probe;  // a query; another answer after the effect
};

class ContextManageGate : public dbos::test::ManageTest {
   public:
    void SetUp() override {
        ManageTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        dbos::sysdb::DatabaseOptions with;
        with.open = options();
        with.open.decorate = dbos::test::FaultyConnection::wrap(faults);
        database_ = std::make_unique<SystemDatabase>(std::move(with));
        database_->layout();
    }
    void TearDown() override {
        database_.reset();
        ManageTest::TearDown();
    }
    SystemDatabase& system() { return *database_; }

    /// The workflows and schedules that the calls change. What the run "me" has recorded stays.
    void reset_targets() {
        execute(
            "DELETE FROM @operation_outputs WHERE workflow_uuid <> 'me'; DELETE FROM @workflow_input; DELETE "
            "FROM @workflow_output; DELETE FROM @workflow_events; DELETE FROM @workflow_events_history; "
            "DELETE FROM @streams; DELETE FROM @notifications; DELETE FROM @workflow_schedules; DELETE FROM "
            "@workflow_status WHERE workflow_uuid <> 'me'");
        insert_workflow("w", "PENDING", {{"owner_xid", "o"}, {"queue_name", "q"}});
        insert_workflow("child", "ENQUEUED", {{"parent_workflow_id", "w"}});
        insert_workflow("grandchild", "DELAYED", {{"parent_workflow_id", "child"}});
        insert_workflow("waiting", "DELAYED",
                        {{"name", "job"},
                         {"queue_name", "q"},
                         {"deduplication_id", "waiting"},
                         {"delay_until_epoch_ms", 1},
                         {"is_debounced", true}});
        insert_history("ended");
        insert("workflow_schedules", {{"schedule_id", "i"},
                                      {"schedule_name", "s"},
                                      {"workflow_name", "job"},
                                      {"schedule", "* * * * *"},
                                      {"status", "ACTIVE"},
                                      {"context", "null"}});
    }
    /// The world of one call: the targets, and a run "me" that has recorded nothing.
    void reset() {
        execute("DELETE FROM @operation_outputs; DELETE FROM @workflow_status");
        insert_workflow("me", "PENDING", {{"owner_xid", "token"}});
        reset_targets();
    }
    static Gate gate(const std::string& token = "token", std::int64_t completed = 77) {
        Gate made;
        made.fence = {"me", token};
        made.checkpoint = {.function_id = 3,
                           .function_name = "DBOS.call",
                           .output = "null",
                           .started_at_ms = 70,
                           .completed_at_ms = completed,
                           .serialization = "portable_json",
                           .application_name = "app"};
        return made;
    }
    std::string checkpoint() {
        return row("me", "function_id, function_name, output, completed_at_epoch_ms, application_name",
                   "operation_outputs");
    }

    static std::vector<Call> calls() {
        static const std::vector<std::string> w{"w"}, ended{"ended"};
        const auto status = [](const char* id) {
            return std::string("SELECT max(status) FROM @workflow_status WHERE workflow_uuid = '") + id + "'";
        };
        std::vector<Call> list;
        list.push_back({"cancel", [](SystemDatabase& db, Gate* g) { db.cancel(w, false, g); }, status("w")});
        list.push_back({"cancel_children", [](SystemDatabase& db, Gate* g) { db.cancel(w, true, g); },
                        status("grandchild")});
        list.push_back({"resume", [](SystemDatabase& db, Gate* g) { db.resume(w, {}, g); }, status("w")});
        list.push_back(
            {"delete", [](SystemDatabase& db, Gate* g) { db.delete_workflows(w, false, g); }, status("w")});
        list.push_back({"delete_children",
                        [](SystemDatabase& db, Gate* g) { db.delete_workflows(w, true, g); },
                        status("grandchild")});
        list.push_back({"delay", [](SystemDatabase& db, Gate* g) { db.set_delay("grandchild", 99, g); },
                        "SELECT delay_until_epoch_ms FROM @workflow_status WHERE workflow_uuid = "
                        "'grandchild'"});
        list.push_back({"priority", [](SystemDatabase& db, Gate* g) { db.set_priority("child", 9, g); },
                        "SELECT priority FROM @workflow_status WHERE workflow_uuid = 'child'"});
        list.push_back({"attributes",
                        [](SystemDatabase& db, Gate* g) {
                            db.update_attributes("w", false, [](const auto&) { return "{\"a\": 1}"; }, g);
                        },
                        "SELECT CASE WHEN attributes IS NULL THEN 0 ELSE 1 END FROM @workflow_status WHERE "
                        "workflow_uuid = 'w'"});
        list.push_back({"fork",
                        [](SystemDatabase& db, Gate* g) {
                            const dbos::sysdb::Fork fork{.workflow_id = "ended",
                                                         .start_step = 2,
                                                         .new_workflow_id = "me-3",
                                                         .token = "fork",
                                                         .attach = true};
                            db.fork(std::span(&fork, 1), "app", g);
                        },
                        "SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'me-3'"});
        list.push_back(
            {"rewind",
             [](SystemDatabase& db, Gate* g) { db.rewind({.workflow_id = "ended", .start_step = 2}, g); },
             "SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'ended'"});
        list.push_back({"create_schedule",
                        [](SystemDatabase& db, Gate* g) {
                            db.create_schedule({.schedule_id = "j",
                                                .schedule_name = "t",
                                                .workflow_name = "job",
                                                .schedule = "* * * * *",
                                                .status = "ACTIVE",
                                                .context = "null"},
                                               g);
                        },
                        "SELECT count(*) FROM @workflow_schedules"});
        list.push_back({"pause_schedule",
                        [](SystemDatabase& db, Gate* g) { db.set_schedule_status("s", "PAUSED", g); },
                        "SELECT status FROM @workflow_schedules WHERE schedule_id = 'i'"});
        list.push_back({"update_schedule",
                        [](SystemDatabase& db, Gate* g) {
                            db.update_schedule("s", [](auto& row) { row.schedule = "@hourly"; }, g);
                        },
                        "SELECT schedule FROM @workflow_schedules WHERE schedule_id = 'i'"});
        list.push_back({"delete_schedule", [](SystemDatabase& db, Gate* g) { db.delete_schedule("s", g); },
                        "SELECT count(*) FROM @workflow_schedules"});
        list.push_back({"debounce",
                        [](SystemDatabase& db, Gate* g) {
                            dbos::sysdb::DebounceCall call;
                            call.row = {.workflow_id = "new",
                                        .token = "debounce",
                                        .status = "DELAYED",
                                        .name = "job",
                                        .inputs = "[]",
                                        .serialization = "portable_json",
                                        .application_name = "app",
                                        .queue_name = "q",
                                        .deduplication_id = "waiting",
                                        .delay_until_ms = 5'000};
                            call.bounce_until_ms = 5'000;
                            db.debounce(call, *g, [](const auto&) { return "null"; });
                        },
                        "SELECT delay_until_epoch_ms FROM @workflow_status WHERE workflow_uuid = 'waiting'"});
        return list;
    }

    std::shared_ptr<Faults> faults = std::make_shared<Faults>();

   private:
    std::unique_ptr<SystemDatabase> database_;
};
DBOS_FOR_EVERY_DATABASE(ContextManageGate);

TEST_P(ContextManageGate, effect_and_checkpoint_are_one_transaction) {
    for (const Call& call : calls()) {
        SCOPED_TRACE(call.name);
        for (const Fault fault : {Fault::none, Fault::refuse, Fault::drop}) {
            reset();
            const std::string before = query_text(call.probe);
            faults->next({fault});
            Gate through = gate();
            call.make(system(), &through);
            EXPECT_EQ(through.result.kind, StepResult::Kind::recorded);
            EXPECT_EQ(checkpoint(), "3|DBOS.call|null|77|app");
            EXPECT_NE(query_text(call.probe), before);
        }
    }
}

TEST_P(ContextManageGate, a_lost_acknowledgement_is_recognised_and_the_effect_not_repeated) {
    for (const Call& call : calls()) {
        SCOPED_TRACE(call.name);
        reset();
        const std::string before = query_text(call.probe);
        // Whatever happened after the commit must not be undone.
        faults->meanwhile([this] { reset_targets(); });
        faults->next({Fault::lose_ack});
        Gate through = gate();
        call.make(system(), &through);
        EXPECT_EQ(through.result.kind, StepResult::Kind::recorded);
        EXPECT_EQ(through.result.stored.function_name, "DBOS.call");
        EXPECT_EQ(through.result.stored.output, "null");
        EXPECT_EQ(query_text(call.probe), before);
    }
}

TEST_P(ContextManageGate, a_stale_run_has_no_effect) {
    for (const Call& call : calls()) {
        SCOPED_TRACE(call.name);
        reset();
        const std::string before = query_text(call.probe);
        Gate stale = gate("an older token");
        call.make(system(), &stale);
        EXPECT_EQ(stale.result.kind, StepResult::Kind::lost);
        execute(
            "UPDATE @workflow_status SET status = 'CANCELLED', owner_xid = NULL WHERE workflow_uuid = 'me'");
        Gate cancelled = gate();
        call.make(system(), &cancelled);
        EXPECT_EQ(cancelled.result.kind, StepResult::Kind::lost);
        execute("DELETE FROM @workflow_status WHERE workflow_uuid = 'me'");
        Gate deleted = gate();
        call.make(system(), &deleted);
        EXPECT_EQ(deleted.result.kind, StepResult::Kind::lost);
        EXPECT_EQ(checkpoint(), "no row");
        EXPECT_EQ(query_text(call.probe), before);
    }
}

TEST_P(ContextManageGate, a_record_of_somebody_else_closes_it) {
    for (const Call& call : calls()) {
        SCOPED_TRACE(call.name);
        reset();
        insert("operation_outputs",
               {{"workflow_uuid", "me"}, {"function_id", 3}, {"function_name", "other"}, {"output", "5"}});
        const std::string before = query_text(call.probe);
        Gate through = gate();
        call.make(system(), &through);
        EXPECT_EQ(through.result.kind, StepResult::Kind::other);
        EXPECT_EQ(through.result.stored.function_name, "other");
        EXPECT_EQ(query_text(call.probe), before);
    }
}

TEST_P(ContextManageGate, an_error_leaves_neither_effect_nor_checkpoint) {
    reset();
    Gate through = gate();
    const std::vector<std::string> ids{"w", "nobody"};
    EXPECT_THAT(error_of<dbos::NonexistentWorkflow>([&] { system().resume(ids, {}, &through); }),
                HasSubstr("nobody"));
    EXPECT_THAT(error_of<dbos::ConflictingWorkflow>([&] {
                    system().resume(std::span(ids).first(1), {.expected_name = "another"}, &through);
                }),
                HasSubstr("another"));
    EXPECT_THAT(error_of<dbos::UsageError>([&] { system().rewind({.workflow_id = "w"}, &through); }),
                HasSubstr("PENDING"));
    EXPECT_THAT(error_of<dbos::NotFound>([&] { system().update_schedule("none", [](auto&) {}, &through); }),
                HasSubstr("none"));
    EXPECT_EQ(row("w", "status, owner_xid"), "PENDING|o");
    EXPECT_EQ(checkpoint(), "no row");
}

TEST_P(ContextManageGate, the_run_itself_may_be_changed) {
    const std::vector<std::string> me{"me"};
    reset();
    Gate through = gate();
    system().cancel(me, true, &through);
    EXPECT_EQ(through.result.kind, StepResult::Kind::recorded);
    EXPECT_EQ(row("me", "status, owner_xid"), "CANCELLED|-");
    EXPECT_EQ(checkpoint(), "3|DBOS.call|null|77|app");

    // Its acknowledgement is lost: the run is over in any case.
    reset();
    faults->next({Fault::lose_ack});
    through = gate();
    system().cancel(me, false, &through);
    EXPECT_EQ(through.result.kind, StepResult::Kind::lost);
    EXPECT_EQ(row("me", "status"), "CANCELLED");

    reset();
    through = gate();
    system().resume(me, {.queue_name = "q"}, &through);
    EXPECT_EQ(through.result.kind, StepResult::Kind::recorded);
    EXPECT_EQ(row("me", "status, queue_name, owner_xid"), "ENQUEUED|q|-");
    EXPECT_EQ(checkpoint(), "3|DBOS.call|null|77|app");

    reset();
    through = gate();
    system().delete_workflows(me, false, &through);
    EXPECT_EQ(through.result.kind, StepResult::Kind::recorded);
    EXPECT_EQ(row("me", "status"), "no row");
    EXPECT_EQ(checkpoint(), "no row");
}

TEST_P(ContextManageGate, nothing_to_do_is_recorded_too) {
    reset();
    const std::vector<std::string> none;
    std::int32_t number = 10;
    for (const auto& call : std::vector<std::function<void(Gate*)>>{
             [&](Gate* g) { system().cancel(none, false, g); },
             [&](Gate* g) { system().cancel(none, true, g); }, [&](Gate* g) { system().resume(none, {}, g); },
             [&](Gate* g) { system().delete_workflows(none, false, g); },
             [&](Gate* g) { system().fork({}, "app", g); },
             [&](Gate* g) { system().set_delay("nobody", 1, g); },
             [&](Gate* g) { system().delete_schedule("nobody", g); }}) {
        Gate through = gate();
        through.checkpoint.function_id = number++;
        call(&through);
        EXPECT_EQ(through.result.kind, StepResult::Kind::recorded) << number;
    }
    EXPECT_EQ(count("operation_outputs", "workflow_uuid = 'me'"), "7");
}

TEST_P(ContextManageGate, a_fork_that_is_there_already_is_taken_if_it_is_of_the_same_original) {
    reset();
    insert_history("another");
    const auto fork = [&](const char* original, bool attach, std::int32_t number) {
        const dbos::sysdb::Fork one{.workflow_id = original,
                                    .start_step = 2,
                                    .new_workflow_id = "me-3",
                                    .token = "t" + std::to_string(number),
                                    .attach = attach};
        Gate through = gate();
        through.checkpoint.function_id = number;
        system().fork(std::span(&one, 1), "app", &through);
        return through.result.kind;
    };
    EXPECT_EQ(fork("ended", true, 3), StepResult::Kind::recorded);
    EXPECT_EQ(fork("ended", true, 4), StepResult::Kind::recorded);
    EXPECT_EQ(contents("me-3"), "0,1 / e=1,once=x / 0,1");
    EXPECT_THROW(fork("another", true, 5), dbos::WorkflowIdInUse);
    EXPECT_THROW(fork("ended", false, 5), dbos::WorkflowIdInUse);
    EXPECT_EQ(count("operation_outputs", "workflow_uuid = 'me'"), "2");
}

TEST_P(ContextManageGate, two_runs_that_cancel_each_other_do_not_wait_for_ever) {
    for (int round = 0; round < 20; ++round) {
        execute("DELETE FROM @operation_outputs; DELETE FROM @workflow_status");
        insert_workflow("a", "PENDING", {{"owner_xid", "ta"}});
        insert_workflow("b", "PENDING", {{"owner_xid", "tb"}});
        const auto cancel = [&](const std::string& by, const std::string& whom) {
            Gate through = gate("t" + by);
            through.fence.workflow_id = by;
            const std::vector<std::string> ids{whom};
            system().cancel(ids, round % 2 == 0, &through);
            return through.result.kind;
        };
        StepResult::Kind first{}, second{};
        std::thread other([&] { first = cancel("a", "b"); });
        second = cancel("b", "a");
        other.join();
        // Who comes second is cancelled already.
        EXPECT_EQ((first == StepResult::Kind::recorded) + (second == StepResult::Kind::recorded), 1);
        EXPECT_EQ(count("workflow_status", "status = 'CANCELLED'"), "1");
    }
}

}  // namespace
