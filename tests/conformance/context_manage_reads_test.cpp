// What a body may look at: listings, statuses, aggregates, schedules and versions; a replay sees what the first run saw.
#include <gmock/gmock.h>

#include "support/context_manage.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::Context;
using dbos::Status;
using dbos::Value;
using dbos::test::error_of;
using dbos::test::Job;
using testing::HasSubstr;

class ContextReads : public dbos::test::ContextManageTest {
   public:
    static std::string ids(const std::vector<dbos::WorkflowStatus>& workflows) {
        std::string text;
        for (const auto& workflow : workflows) text += (text.empty() ? "" : ",") + workflow.workflow_id;
        return text;
    }
};
DBOS_FOR_EVERY_DATABASE(ContextReads);

TEST_P(ContextReads, list_workflows_as_step) {
    enqueue("a");
    enqueue("b");
    body = [](Context& ctx) {
        std::string text = ids(ctx.list_workflows({.status = Status::enqueued}));
        text += " " + ids(ctx.list_queued_workflows({.queue_name = "idle"}));
        text += " " + ids(ctx.list_workflows({.workflow_ids = {"nobody"}}));
        text += " " + ids(ctx.list_workflows({.status = Status::pending}));
        return text;
    };
    const std::string expected = "a,b a,b  w";
    EXPECT_EQ(run("w"), expected);
    EXPECT_EQ(step_names("w"),
              "DBOS.listWorkflows DBOS.listQueuedWorkflows DBOS.listWorkflows DBOS.listWorkflows");
    app().client().cancel_workflow("a");
    enqueue("c");
    EXPECT_EQ(replay("w"), expected);
}

TEST_P(ContextReads, list_workflows_async) {
    enqueue("a");
    answer = [](Context& ctx) { return ctx.step("s", [] { return std::string("x"); }); };
    app().start_workflow(Job, {.workflow_id = "done"}).get_result();
    body = [](Context& ctx) {
        auto all = ctx.list_workflows_async({.status = Status::enqueued});
        auto queued = ctx.list_queued_workflows_async();
        auto steps = ctx.list_workflow_steps_async("done");
        auto status = ctx.get_workflow_status_async("done");
        auto none = ctx.get_workflow_status_async("nobody");
        auto groups = ctx.get_workflow_aggregates_async({.group_by_name = true});
        auto retrieved = ctx.retrieve_workflow_async(Job, "done");
        std::string text = ids(all.get()) + " " + ids(queued.get()) + " " + steps.get().at(0).function_name;
        text += " " + status.get().value().status + (none.get() ? " there" : " absent");
        text += " " + groups.get().at(0).name.value_or("");
        return text + " " + retrieved.get().get_result();
    };
    EXPECT_EQ(run("w"), "a a s SUCCESS absent job x");
    EXPECT_EQ(replay("w"), "a a s SUCCESS absent job x");
}

TEST_P(ContextReads, every_field_of_a_listing_survives_the_record) {
    enqueue("full");
    execute(
        "UPDATE @workflow_status SET status = 'ERROR', class_name = 'Shop', config_name = 'eu', "
        "authenticated_user = 'ann', assumed_role = 'admin', authenticated_roles = '[\"a\",\"b\"]', "
        "executor_id = 'x', application_id = 'app', workflow_timeout_ms = 5, workflow_deadline_epoch_ms = 6, "
        "deduplication_id = 'd', priority = 7, queue_partition_key = 'k', forked_from = 'f', was_forked_from "
        "= TRUE, parent_workflow_id = 'p', started_at_epoch_ms = 8, delay_until_epoch_ms = 9, completed_at = "
        "10, attributes = '{\"t\": [1, 2.5]}', schedule_name = 's', recovery_attempts = 3 WHERE "
        "workflow_uuid "
        "= 'full'");
    execute(
        "UPDATE @workflow_input SET inputs = "
        "'{\"positionalArgs\":[1,\"x\\u0001\"],\"namedArgs\":{\"n\":1.0}}' "
        "WHERE workflow_uuid = 'full'");
    execute(
        "INSERT INTO @workflow_output (workflow_uuid, output, error, retention_timestamp) VALUES ('full', "
        "'not json', "
        "'{\"name\":\"ValueError\",\"message\":\"bad\",\"code\":7,\"data\":{\"k\":[null]}}', 0)");
    execute(
        "INSERT INTO @operation_outputs (workflow_uuid, function_id, function_name, output, error, "
        "child_workflow_id, started_at_epoch_ms, completed_at_epoch_ms, serialization, retention_timestamp) "
        "VALUES ('full', 1, 'step', '{\"a\":1}', '{\"name\":\"E\",\"message\":\"m\"}', 'child', 11, 12, "
        "'portable_json', 0)");
    std::vector<dbos::WorkflowStatus> listed;
    std::vector<dbos::StepInfo> steps;
    std::optional<dbos::WorkflowStatus> status, of_handle;
    body = [&](Context& ctx) {
        listed = ctx.list_workflows({.workflow_ids = {"full"}});
        steps = ctx.list_workflow_steps("full");
        status = ctx.get_workflow_status("full");
        of_handle = ctx.retrieve_workflow("full").get_status();
        return std::string();
    };
    const auto expect = [](const dbos::WorkflowStatus& is, const dbos::WorkflowStatus& should) {
        EXPECT_EQ(is.status, should.status);
        EXPECT_EQ(is.class_name, should.class_name);
        EXPECT_EQ(is.authenticated_roles, should.authenticated_roles);
        EXPECT_EQ(is.assumed_role, should.assumed_role);
        EXPECT_EQ(is.input, should.input);
        EXPECT_EQ(is.output, should.output);
        EXPECT_EQ(is.error, should.error);
        EXPECT_EQ(is.attributes, should.attributes);
        EXPECT_EQ(is.forked_from, should.forked_from);
        EXPECT_EQ(is.was_forked_from, should.was_forked_from);
        EXPECT_EQ(is.queue_partition_key, should.queue_partition_key);
        EXPECT_EQ(is.schedule_name, should.schedule_name);
        EXPECT_EQ(is.app_id, should.app_id);
        EXPECT_EQ(is.completed_at, should.completed_at);
        EXPECT_EQ(is.recovery_attempts, should.recovery_attempts);
        EXPECT_TRUE(is.input && is.output && is.error && is.attributes);
    };
    const auto expected = app().retrieve_workflow("full").get_status();
    const auto expected_steps = app().client().list_workflow_steps("full");
    const auto check = [&] {
        ASSERT_EQ(listed.size(), 1u);
        expect(listed[0], expected);
        expect(status.value(), expected);
        expect(of_handle.value(), expected);
        ASSERT_EQ(steps.size(), 1u);
        EXPECT_EQ(steps[0].output, expected_steps.at(0).output);
        EXPECT_EQ(steps[0].error, expected_steps.at(0).error);
        EXPECT_EQ(steps[0].child_workflow_id, "child");
        EXPECT_EQ(steps[0].started_at_epoch_ms, 11);
        EXPECT_EQ(steps[0].completed_at_epoch_ms, 12);
    };
    run("w");
    check();
    app().client().delete_workflow("full");
    listed.clear();
    steps.clear();
    replay("w");
    check();
}

TEST_P(ContextReads, get_workflow) {
    answer = [](Context&) -> std::string { throw std::domain_error("the awaited failed"); };
    EXPECT_THROW(app().start_workflow(Job, {.workflow_id = "bad"}).get_result(), std::domain_error);
    enqueue("other");
    execute("UPDATE @workflow_status SET name = 'other' WHERE workflow_uuid = 'other'");
    body = [](Context& ctx) {
        std::string met = error_of<dbos::NonexistentWorkflow>([&] { ctx.retrieve_workflow("nobody"); });
        met += error_of<dbos::ConflictingWorkflow>([&] { ctx.retrieve_workflow(Job, "other"); });
        return met + error_of<std::domain_error>([&] { ctx.retrieve_workflow(Job, "bad").get_result(); });
    };
    const std::string met = run("w");
    EXPECT_THAT(met,
                testing::AllOf(HasSubstr("nobody"), HasSubstr("\"job\""), HasSubstr("the awaited failed")));
    EXPECT_EQ(step_names("w"), "DBOS.getStatus DBOS.getStatus DBOS.getStatus DBOS.getResult");
    EXPECT_EQ(replay("w"), met);
}

TEST_P(ContextReads, get_workflow_aggregates) {
    enqueue("a");
    enqueue("b");
    body = [](Context& ctx) {
        std::string text;
        for (const auto& group : ctx.get_workflow_aggregates({.group_by_status = true}))
            text += group.status.value_or("") + "=" + std::to_string(group.count.value_or(-1)) + " ";
        return text;
    };
    EXPECT_EQ(run("w"), "ENQUEUED=2 PENDING=1 ");
    EXPECT_EQ(step_names("w"), "DBOS.getWorkflowAggregates");
    enqueue("c");
    EXPECT_EQ(replay("w"), "ENQUEUED=2 PENDING=1 ");
}

TEST_P(ContextReads, get_step_aggregates) {
    body = [](Context& ctx) {
        ctx.step("s", [] {});
        ctx.step("s", [] {});
        std::string text;
        for (const auto& group : ctx.get_step_aggregates(
                 {.group_by_function_name = true, .select_count = true, .function_name = "s"}))
            text += group.function_name.value_or("") + "=" + std::to_string(group.count.value_or(-1));
        return text + "," +
               std::to_string(ctx.get_step_aggregates_async({.group_by_status = true}).get().size());
    };
    EXPECT_EQ(run("w"), "s=2,1");
    EXPECT_EQ(replay("w"), "s=2,1");
}

TEST_P(ContextReads, schedules_are_managed_in_one_transaction_with_their_records) {
    const auto shown = [](const std::optional<dbos::WorkflowSchedule>& schedule) {
        if (!schedule) return std::string("none");
        return schedule->schedule + "/" + schedule->status + "/" + schedule->context.dump() + "/" +
               schedule->queue_name.value_or("-") + "/" + schedule->application_name.value_or("-");
    };
    body = [&](Context& ctx) {
        ctx.create_schedule({.schedule_name = "s",
                             .workflow_name = "job",
                             .schedule = "@yearly",
                             .context = Value(dbos::Object{{"k", 1}})});
        std::string text = shown(ctx.get_schedule("s"));
        text +=
            error_of<dbos::AlreadyExists>([&] {
                ctx.create_schedule({.schedule_name = "s", .workflow_name = "job", .schedule = "@yearly"});
            }).starts_with("schedule \"s\" exists")
                ? " !"
                : " ?";
        ctx.pause_schedule("s");
        ctx.update_schedule("s", {.schedule = "@hourly", .queue_name = "q"});
        text += " " + shown(ctx.get_schedule("s"));
        ctx.resume_schedule("s");
        text += " " + shown(ctx.list_schedules({.schedule_name_prefix = "s"}).at(0));
        text += error_of<dbos::NotFound>([&] {
                    ctx.update_schedule("nothing", {.schedule = "@hourly"});
                }).starts_with("schedule \"nothing\"")
                    ? " !"
                    : " ?";
        ctx.delete_schedule("s");
        return text + " " + shown(ctx.get_schedule("s"));
    };
    const std::string seen =
        "@yearly/ACTIVE/{\"k\":1}/-/test-app ! @hourly/PAUSED/{\"k\":1}/q/test-app "
        "@hourly/ACTIVE/{\"k\":1}/q/test-app ! none";
    EXPECT_EQ(run("w"), seen);
    EXPECT_EQ(step_names("w"),
              "DBOS.createSchedule DBOS.getSchedule DBOS.createSchedule DBOS.pauseSchedule "
              "DBOS.updateSchedule DBOS.getSchedule DBOS.resumeSchedule DBOS.listSchedules "
              "DBOS.updateSchedule DBOS.deleteSchedule DBOS.getSchedule");
    app().client().create_schedule({.schedule_name = "s", .workflow_name = "job", .schedule = "@monthly"});
    EXPECT_EQ(replay("w"), seen);
    EXPECT_EQ(app().client().get_schedule("s").value().schedule, "@monthly");
}

TEST_P(ContextReads, schedules_async) {
    body = [](Context& ctx) {
        auto made =
            ctx.create_schedule_async({.schedule_name = "s", .workflow_name = "job", .schedule = "@yearly"});
        made.get();
        auto paused = ctx.pause_schedule_async("s");
        paused.get();
        auto changed = ctx.update_schedule_async("s", {.schedule = "@hourly"});
        changed.get();
        std::string text = ctx.get_schedule_async("s").get().value().schedule;
        text += std::to_string(ctx.list_schedules_async({.status = "PAUSED"}).get().size());
        ctx.resume_schedule_async("s").get();
        ctx.delete_schedule_async("s").get();
        return text + (ctx.get_schedule("s") ? "there" : "gone");
    };
    EXPECT_EQ(run("w"), "@hourly1gone");
    EXPECT_EQ(replay("w"), "@hourly1gone");
}

TEST_P(ContextReads, versions_are_asked_without_a_record) {
    body = [](Context& ctx) {
        std::string text = ctx.get_latest_version().version_name;
        text += " " + std::to_string(ctx.list_application_versions().size());
        text += " " + std::to_string(ctx.list_versions_async().get().size());
        ctx.set_latest_version(ctx.application_version());
        ctx.set_latest_version_async(ctx.application_version()).get();
        text += " " + ctx.get_latest_application_version_async().get().version_name;
        text += error_of<dbos::NotFound>([&] { ctx.set_latest_version("none"); }).empty() ? "" : " !";
        return text + " " + ctx.step("in", [&] { return ctx.get_latest_version().version_name; });
    };
    EXPECT_EQ(run("w"), "test-app-1 1 1 test-app-1 ! test-app-1");
    EXPECT_EQ(step_names("w"), "in");
}

}  // namespace
