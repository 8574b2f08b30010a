// The managing calls of a body (ctx.cancel_workflow and its like): what they do, what they leave as their record, and what a
// replay sees of it.
#include <gmock/gmock.h>

#include <thread>

#include "support/context_manage.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::Context;
using dbos::Status;
using dbos::Value;
using dbos::test::error_of;
using dbos::test::Job;
using testing::AllOf;
using testing::HasSubstr;

class ContextManage : public dbos::test::ContextManageTest {};
DBOS_FOR_EVERY_DATABASE(ContextManage);

TEST_P(ContextManage, bulk_cancel) {
    enqueue("a");
    enqueue("b");
    body = [](Context& ctx) {
        ctx.cancel_workflows({"a", "b", "nobody"});
        ctx.cancel_workflow("a");
        ctx.cancel_workflows({});
        return std::string("done");
    };
    EXPECT_EQ(run("w"), "done");
    EXPECT_EQ(status("a") + status("b"), "CANCELLEDCANCELLED");
    EXPECT_EQ(steps("w"), "DBOS.cancelWorkflow=null DBOS.cancelWorkflow=null DBOS.cancelWorkflow=null");
    app().client().resume_workflow("a", {.queue_name = "idle"});
    EXPECT_EQ(replay("w"), "done");
    EXPECT_EQ(status("a"), "ENQUEUED") << "the effect was repeated";
}

TEST_P(ContextManage, cancel_workflow_children) {
    enqueue("p");
    enqueue("c");
    enqueue("g");
    execute("UPDATE @workflow_status SET parent_workflow_id = 'p' WHERE workflow_uuid = 'c'");
    execute("UPDATE @workflow_status SET parent_workflow_id = 'c' WHERE workflow_uuid = 'g'");
    body = [](Context& ctx) {
        ctx.cancel_workflow("p", {.cancel_children = true});
        return std::string();
    };
    run("w");
    EXPECT_EQ(status("p") + status("c") + status("g"), "CANCELLEDCANCELLEDCANCELLED");
}

TEST_P(ContextManage, a_workflow_may_cancel_and_resume_and_delete_itself) {
    int after = 0;
    body = [&](Context& ctx) {
        ctx.cancel_workflow(ctx.workflow_id());
        ctx.step("after", [&] { ++after; });
        return std::string("on");
    };
    EXPECT_THROW(run("w"), dbos::AwaitedWorkflowCancelled);
    EXPECT_EQ(after, 0);
    EXPECT_EQ(steps("w"), "DBOS.cancelWorkflow=null");
    EXPECT_EQ(app().client().resume_workflow<std::string>("w").get_result({.timeout = 20s}), "on");
    EXPECT_EQ(after, 1);

    body = [](Context& ctx) {
        ctx.resume_workflow(ctx.workflow_id());
        return ctx.step("after", [] { return std::string("resumed"); });
    };
    EXPECT_EQ(run("r"), "resumed");
    EXPECT_EQ(steps("r"), "DBOS.resumeWorkflow=null after=\"resumed\"");

    body = [](Context& ctx) {
        ctx.delete_workflow(ctx.workflow_id());
        return ctx.step("after", [] { return std::string("deleted"); });
    };
    EXPECT_THROW(run("d"), dbos::NonexistentWorkflow);
    EXPECT_EQ(steps("d"), "");
}

TEST_P(ContextManage, bulk_resume) {
    for (const char* id : {"a", "b"}) {
        enqueue(id);
        app().client().cancel_workflow(id);
    }
    body = [](Context& ctx) {
        auto handles = ctx.resume_workflows<std::string>({"a", "b"}, {.queue_name = "served"});
        std::string all = handles.at(0).get_result();
        all += handles.at(1).get_result();
        all += ctx.resume_workflow(Job, "a").get_result();
        return all;
    };
    EXPECT_EQ(run("w"), "from afrom bfrom a");
    EXPECT_EQ(steps("w"),
              "DBOS.resumeWorkflow=null DBOS.getResult=\"from a\" DBOS.getResult=\"from b\" "
              "DBOS.resumeWorkflow=null DBOS.getResult=\"from a\"");
    EXPECT_EQ(replay("w"), "from afrom bfrom a");
}

TEST_P(ContextManage, resume_nonexistent_workflow) {
    enqueue("a");
    app().client().cancel_workflow("a");
    body = [](Context& ctx) {
        std::string met = error_of<dbos::NonexistentWorkflow>([&] { ctx.resume_workflows({"a", "nobody"}); });
        return met +
               error_of<dbos::ConflictingWorkflow>([&] { ctx.resume_workflow(dbos::test::Other, "a"); });
    };
    const std::string met = run("w");
    EXPECT_THAT(met, AllOf(HasSubstr("nobody"), HasSubstr("\"other\"")));
    EXPECT_EQ(status("a"), "CANCELLED");
    EXPECT_EQ(errors("w"), "DBOSNonExistentWorkflowError DBOSConflictingWorkflowError");
    // The refusal is the record: it stays, although it would be allowed now.
    enqueue("nobody");
    EXPECT_EQ(replay("w"), met);
    EXPECT_EQ(status("a"), "CANCELLED");
}

TEST_P(ContextManage, fork_inside_a_workflow_is_a_step) {
    answer = [](Context& ctx) {
        return ctx.step("one", [] { return std::string("1"); }) +
               ctx.step("two", [] { return std::string("2"); });
    };
    EXPECT_EQ(app().start_workflow(Job, {.workflow_id = "original"}).get_result(), "12");
    body = [](Context& ctx) {
        auto fork = ctx.fork_workflow(Job, "original", 2);
        auto many = ctx.fork_workflows<std::string>(
            {{.workflow_id = "original", .start_step = 1},
             {.workflow_id = "original", .start_step = 3, .options = {.new_workflow_id = "pinned"}},
             {.workflow_id = "original", .start_step = 3}});
        std::string all = fork.workflow_id() + "=" + fork.get_result();
        for (auto& one : many) all += " " + one.workflow_id() + "=" + one.get_result();
        return all;
    };
    const std::string expected = "w-1=12 w-2-1=12 pinned=12 w-2-3=12";
    EXPECT_EQ(run("w"), expected);
    EXPECT_EQ(app().client().list_workflow_steps("w").at(0).output, Value("w-1"));
    EXPECT_EQ(app().client().list_workflow_steps("w-1").size(), 2u);
    EXPECT_EQ(app().retrieve_workflow("w-1").get_status().forked_from, "original");
    EXPECT_EQ(replay("w"), expected);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE forked_from = 'original'"), "4");
    // Once more from its beginning: forks with derived ids are those of the first time, but what stands under an id that was
    // given may be anybody's.
    body = [&](Context& ctx) {
        std::string all = ctx.fork_workflow(Job, "original", 2).get_result();
        all += error_of<dbos::WorkflowIdInUse>(
            [&] { ctx.fork_workflow(Job, "original", 3, {.new_workflow_id = "pinned"}); });
        return all;
    };
    app().client().rewind_workflow("w");
    const std::string again = app().retrieve_workflow(Job, "w").get_result({.timeout = 20s});
    EXPECT_TRUE(again.starts_with("12")) << again;
    EXPECT_THAT(again, HasSubstr("pinned"));
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE forked_from = 'original'"), "4");
}

TEST_P(ContextManage, fork_nonexistent_workflow) {
    body = [](Context& ctx) {
        return error_of<dbos::NonexistentWorkflow>([&] { ctx.fork_workflow("nobody", 1); });
    };
    EXPECT_THAT(run("w"), HasSubstr("nobody"));
    EXPECT_EQ(errors("w"), "DBOSNonExistentWorkflowError");
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status"), "1");
}

TEST_P(ContextManage, rewind_runs_an_ended_workflow_again) {
    int runs = 0;
    answer = [&](Context& ctx) { return ctx.step("count", [&] { return std::to_string(++runs); }); };
    body = [](Context& ctx) {
        const std::string met = error_of<dbos::UsageError>([&] { ctx.rewind_workflow("w"); });
        return ctx.rewind_workflow(Job, "target").get_result() + " " + met;
    };
    EXPECT_EQ(app().start_workflow(Job, {.workflow_id = "target"}).get_result(), "1");
    const std::string result = run("w");
    EXPECT_THAT(result, AllOf(testing::StartsWith("2 "), HasSubstr("PENDING")));
    EXPECT_EQ(replay("w"), result);
    EXPECT_EQ(runs, 2);
}

TEST_P(ContextManage, bulk_delete) {
    for (const char* id : {"a", "b", "c"}) enqueue(id);
    execute("UPDATE @workflow_status SET parent_workflow_id = 'b' WHERE workflow_uuid = 'c'");
    body = [](Context& ctx) {
        ctx.delete_workflow("a");
        ctx.delete_workflows({"b", "nobody"}, {.delete_children = true});
        return std::string();
    };
    run("w");
    EXPECT_EQ(status("a") + status("b") + status("c"), "");
    EXPECT_EQ(steps("w"), "DBOS.deleteWorkflow=null DBOS.deleteWorkflow=null");
    enqueue("a");
    replay("w");
    EXPECT_EQ(status("a"), "ENQUEUED");
}

TEST_P(ContextManage, delay_priority_and_attributes) {
    enqueue("a");
    app().client().enqueue(Job, {.queue_name = "idle", .workflow_id = "d", .delay = 1h});
    body = [](Context& ctx) {
        ctx.set_workflow_priority("a", 7);
        ctx.set_workflow_delay("d", dbos::Instant("2031-01-01T00:00:00Z"));
        ctx.set_workflow_delay("d", 3h);
        ctx.update_workflow_attributes("a", Value(dbos::Object{{"x", 1}}));
        ctx.update_workflow_attributes("a", Value(dbos::Object{{"y", 2}}), {.merge = true});
        return std::string();
    };
    const auto before = app().retrieve_workflow("d").get_status().delay_until_epoch_ms.value();
    run("w");
    const auto a = app().retrieve_workflow("a").get_status();
    EXPECT_EQ(a.priority, 7);
    EXPECT_EQ(a.attributes, Value(dbos::Object{{"x", 1}, {"y", 2}}));
    const auto moved = app().retrieve_workflow("d").get_status().delay_until_epoch_ms.value() - before;
    EXPECT_GE(moved, 2 * 3600 * 1000 - 60 * 1000);
    EXPECT_LT(moved, 3 * 3600 * 1000);
    EXPECT_EQ(steps("w"),
              "DBOS.setWorkflowPriority=null DBOS.setWorkflowDelay=null DBOS.setWorkflowDelay=null "
              "DBOS.updateWorkflowAttributes=null DBOS.updateWorkflowAttributes=null");
    app().client().set_workflow_priority("a", 1);
    replay("w");
    EXPECT_EQ(app().retrieve_workflow("a").get_status().priority, 1);
}

TEST_P(ContextManage, what_is_wrong_with_the_call_takes_no_number) {
    body = [](Context& ctx) {
        int refused = 0;
        const auto refuse = [&](const std::function<void()>& call) {
            try {
                call();
            } catch (const dbos::UsageError&) {
                ++refused;
            }
        };
        refuse([&] { ctx.set_workflow_priority("a", -1); });
        refuse([&] { ctx.set_workflow_delay("a", -1s); });
        refuse([&] { ctx.fork_workflow("", 1); });
        refuse([&] { ctx.list_workflows({.limit = -1}); });
        refuse([&] { ctx.get_workflow_aggregates({}); });
        refuse(
            [&] { ctx.create_schedule({.schedule_name = "s", .workflow_name = "job", .schedule = "bad"}); });
        refuse([&] { static_cast<void>(ctx.resume_workflow_async(" ")); });
        refuse([&] { ctx.apply_schedules({}); });
        refuse([&] { ctx.trigger_schedule("s"); });
        refuse([&] { ctx.backfill_schedule("s", "2031-01-01T00:00:00Z", "2031-01-02T00:00:00Z"); });
        return ctx.step("s", [&] { return std::to_string(refused); });
    };
    EXPECT_EQ(run("w"), "10");
    EXPECT_EQ(steps("w"), "s=\"10\"");
}

TEST_P(ContextManage, a_schedule_on_a_partitioned_queue_is_a_recorded_refusal) {
    app().client().register_queue({.name = "tenants", .partition_concurrency = 1},
                                  dbos::QueueConflict::update);
    body = [](Context& ctx) {
        return error_of<dbos::UsageError>([&] {
            ctx.create_schedule({.schedule_name = "s",
                                 .workflow_name = "job",
                                 .schedule = "0 1 * * *",
                                 .queue_name = "tenants"});
        });
    };
    const std::string met = run("w");
    EXPECT_THAT(met, HasSubstr("\"tenants\" is partitioned"));
    EXPECT_TRUE(app().client().list_schedules().empty());
    app().client().delete_queue("tenants");
    EXPECT_EQ(replay("w"), met);
}

TEST_P(ContextManage, call_as_step_within_step) {
    for (const char* id : {"a", "b", "c", "done"}) enqueue(id);
    answer = [](Context&) { return std::string("plain"); };
    body = [](Context& ctx) {
        return ctx.step("outer", [&] {
            ctx.cancel_workflow("a");
            ctx.cancel_workflow_async("b").get();
            ctx.delete_workflow("c");
            ctx.update_workflow_attributes("a", Value(dbos::Object{{"x", 1}}));
            ctx.set_workflow_priority("done", 3);
            ctx.apply_schedules({{.schedule_name = "s", .workflow_name = "job", .schedule = "@yearly"}});
            std::string seen = std::to_string(ctx.list_workflows().size());
            seen += std::to_string(ctx.list_workflows_async({.status = Status::cancelled}).get().size());
            seen += std::to_string(ctx.list_schedules().size());
            // Handles that were made here act directly as well.
            auto resumed = ctx.resume_workflow(Job, "done", {.queue_name = "served"});
            seen += " " + resumed.get_result();
            seen += " " + resumed.get_status().status;
            seen += " " + ctx.retrieve_workflow_async(Job, "done").get().get_result();
            auto fork = ctx.fork_workflow<std::string>("done", 1);
            seen += fork.workflow_id().starts_with("w-") ? " derived" : " own id";
            seen += " " + fork.get_result();
            return seen + " " + error_of<dbos::NonexistentWorkflow>([&] { ctx.resume_workflow("nobody"); });
        });
    };
    const std::string seen = run("w");
    EXPECT_TRUE(seen.starts_with("421 plain SUCCESS plain own id plain ")) << seen;
    EXPECT_THAT(seen, HasSubstr("nobody"));
    EXPECT_EQ(app().client().list_workflow_steps("w").size(), 1u);
    EXPECT_EQ(status("a") + status("b") + status("c"), "CANCELLEDCANCELLED");
}

TEST_P(ContextManage, handles_of_the_body_are_not_used_in_steps) {
    enqueue("a");
    body = [](Context& ctx) {
        auto handle = ctx.retrieve_workflow("a");
        return ctx.step("s", [&] { return error_of<dbos::UsageError>([&] { handle.get_status(); }); });
    };
    EXPECT_THAT(run("w"), HasSubstr("inside a step"));
}

TEST_P(ContextManage, bulk_async_workflow_management) {
    for (const char* id : {"a", "b", "c", "d", "e"}) enqueue(id);
    app().client().cancel_workflow("c");
    body = [](Context& ctx) {
        auto cancelled = ctx.cancel_workflows_async({"a"});
        auto deleted = ctx.delete_workflow_async("b");
        auto resumed = ctx.resume_workflow_async(Job, "c", {.queue_name = "served"});
        auto forked = ctx.fork_workflow_async(Job, "d", 1);
        auto forks = ctx.fork_workflows_async<std::string>({{.workflow_id = "d", .start_step = 1}});
        auto refused = ctx.fork_workflow_async("nobody", 1);
        auto priority = ctx.set_workflow_priority_async("e", 4);
        auto attributes = ctx.update_workflow_attributes_async("e", std::nullopt);
        auto delay = ctx.set_workflow_delay_async("e", 1s);
        auto rewound = ctx.rewind_workflow_async("e");
        cancelled.get();
        deleted.get();
        std::string all = resumed.get().get_result();
        all += " " + forked.get().get_result();
        all += " " + forks.get().at(0).get_result();
        all += error_of<dbos::NonexistentWorkflow>([&] { refused.get(); });
        priority.get();
        attributes.get();
        delay.get();
        return all + error_of<dbos::UsageError>([&] { rewound.get(); });
    };
    const std::string all = run("w");
    EXPECT_TRUE(all.starts_with("from c from w-4 from w-5-1")) << all;
    EXPECT_THAT(all, AllOf(HasSubstr("nobody"), HasSubstr("ENQUEUED")));
    EXPECT_EQ(status("a") + status("b"), "CANCELLED");
    // Numbers in program order, whoever was done first.
    const std::string names = step_names("w");
    EXPECT_TRUE(
        names.starts_with("DBOS.cancelWorkflow DBOS.deleteWorkflow DBOS.resumeWorkflow "
                          "DBOS.forkWorkflow DBOS.forkWorkflow DBOS.forkWorkflow "
                          "DBOS.setWorkflowPriority DBOS.updateWorkflowAttributes "
                          "DBOS.setWorkflowDelay DBOS.rewindWorkflow DBOS.getResult"))
        << names;
    EXPECT_EQ(replay("w"), all);
    EXPECT_EQ(step_names("w"), names);
}

TEST_P(ContextManage, an_operation_that_is_not_awaited_is_done_before_the_workflow_ends) {
    enqueue("a");
    body = [](Context& ctx) {
        static_cast<void>(ctx.cancel_workflow_async("a"));
        return std::string();
    };
    run("w");
    EXPECT_EQ(status("a"), "CANCELLED");
    EXPECT_EQ(steps("w"), "DBOS.cancelWorkflow=null");
}

TEST_P(ContextManage, a_run_that_was_taken_over_has_no_effect) {
    enqueue("a");
    dbos::test::Gate at_step;
    body = [&](Context& ctx) {
        at_step.pass();
        ctx.cancel_workflow("a");
        return std::string("stale");
    };
    std::thread taker([&] {
        EXPECT_TRUE(at_step.wait_for_arrivals(1));
        execute(
            "UPDATE @workflow_status SET status = 'CANCELLED', owner_xid = NULL WHERE workflow_uuid = 'w'");
        at_step.open();
    });
    EXPECT_THROW(run("w"), dbos::AwaitedWorkflowCancelled);
    taker.join();
    EXPECT_EQ(status("a"), "ENQUEUED");
    EXPECT_EQ(steps("w"), "");
}

}  // namespace
