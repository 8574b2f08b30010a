// Cancel, resume, delete, delay, priority, attributes: what they do to rows, and to those who wait.
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <cmath>

#include "support/app.hpp"
#include "support/managed.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::test::error_of;
using testing::AllOf;
using testing::HasSubstr;

inline constexpr auto Work = dbos::workflow<int()>("work");
inline constexpr auto Other = dbos::workflow<int()>("other");

class ClientManage : public dbos::test::ManageTest {};
DBOS_FOR_EVERY_DATABASE(ClientManage);

TEST_P(ClientManage, cancel_takes_what_has_not_completed_out_of_its_queue) {
    insert_workflow(
        "queued", "ENQUEUED",
        {{"queue_name", "q"}, {"deduplication_id", "d"}, {"queue_partition_key", "p"}, {"priority", 3}});
    insert_workflow("running", "PENDING",
                    {{"owner_xid", "o"}, {"started_at_epoch_ms", 5}, {"queue_name", "q"}});
    insert_workflow("dead", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", {{"completed_at", 1}});
    insert_workflow("good", "SUCCESS", {{"queue_name", "q"}});
    insert_workflow("bad", "ERROR", {{"queue_name", "q"}});
    client().cancel_workflow("queued");
    client().cancel_workflows({"running", "dead", "good", "bad", "unknown"});
    client().cancel_workflows({});
    const std::string columns =
        "status, queue_name, deduplication_id, started_at_epoch_ms, owner_xid, queue_partition_key, priority";
    EXPECT_EQ(row("queued", columns), "CANCELLED|-|-|-|-|p|3");
    EXPECT_EQ(row("running", columns), "CANCELLED|-|-|-|-|-|0");
    EXPECT_EQ(row("dead", "status"), "CANCELLED");
    EXPECT_NE(row("dead", "completed_at"), "1");
    EXPECT_EQ(row("dead", "completed_at"), row("dead", "updated_at"));
    EXPECT_EQ(row("good", "status, queue_name"), "SUCCESS|q");
    EXPECT_EQ(row("bad", "status, queue_name"), "ERROR|q");
    EXPECT_EQ(count("workflow_status"), "5");
}

TEST_P(ClientManage, cancel_reaches_every_level_of_children_also_below_completed_ones) {
    insert_workflow("p", "PENDING", {{"parent_workflow_id", "g2"}});  // a circle must end too
    insert_workflow("c1", "SUCCESS", {{"parent_workflow_id", "p"}});
    insert_workflow("c2", "ENQUEUED", {{"parent_workflow_id", "p"}, {"queue_name", "q"}});
    insert_workflow("g1", "PENDING", {{"parent_workflow_id", "c1"}});
    insert_workflow("g2", "DELAYED", {{"parent_workflow_id", "c2"}});
    insert_workflow("stranger", "PENDING");
    client().cancel_workflow("p");
    EXPECT_EQ(row("c2", "status"), "ENQUEUED");
    client().cancel_workflow_async("p", {.cancel_children = true}).get();
    for (const char* id : {"p", "c2", "g1", "g2"}) EXPECT_EQ(row(id, "status"), "CANCELLED") << id;
    EXPECT_EQ(row("c1", "status"), "SUCCESS");
    EXPECT_EQ(row("stranger", "status"), "PENDING");
}

TEST_P(ClientManage, a_cancel_ends_the_waits_of_this_process_at_once) {
    insert_workflow("p", "PENDING");
    insert_workflow("c", "PENDING", {{"parent_workflow_id", "p"}});
    auto result = client().retrieve_workflow("c").get_result_async({.polling_interval = 24h});
    client().cancel_workflow("p", {.cancel_children = true});
    ASSERT_TRUE(result.wait_for(60s));
    EXPECT_THROW(result.get(), dbos::AwaitedWorkflowCancelled);
}

TEST_P(ClientManage, resume_puts_back_into_a_queue_what_has_not_completed) {
    insert_workflow("cancelled", "CANCELLED",
                    {{"completed_at", 5},
                     {"recovery_attempts", 9},
                     {"workflow_deadline_epoch_ms", 6},
                     {"workflow_timeout_ms", 100},
                     {"application_version", "v1"}});
    insert_workflow(
        "running", "PENDING",
        {{"owner_xid", "o"}, {"queue_name", "q"}, {"deduplication_id", "d"}, {"started_at_epoch_ms", 5}});
    insert_ended("done", "SUCCESS", "7");
    auto handle = client().resume_workflow<int>("cancelled");
    EXPECT_EQ(handle.workflow_id(), "cancelled");
    EXPECT_EQ(row("cancelled",
                  "status, queue_name, recovery_attempts, completed_at, workflow_deadline_epoch_ms, "
                  "workflow_timeout_ms, application_version"),
              "ENQUEUED|_dbos_internal_queue|0|-|-|100|v1");
    const auto handles = client().resume_workflows({"done", "running"}, {.queue_name = "q2"});
    ASSERT_EQ(handles.size(), 2u);
    EXPECT_EQ(handles[0].workflow_id(), "done");
    EXPECT_EQ(row("running", "status, queue_name, owner_xid, deduplication_id, started_at_epoch_ms"),
              "ENQUEUED|q2|-|-|-");
    EXPECT_EQ(row("done", "status, queue_name"), "SUCCESS|-");
    EXPECT_EQ(client().resume_workflow_async(Work, "done").get().get_result(), 7);
    EXPECT_TRUE(client().resume_workflows({}).empty());
}

TEST_P(ClientManage, resume_changes_nothing_if_an_id_is_unknown_or_of_another_workflow) {
    insert_workflow("a", "CANCELLED");
    EXPECT_THAT(error_of<dbos::NonexistentWorkflow>([&] { client().resume_workflows({"x", "a", "y"}); }),
                AllOf(HasSubstr("x, y"), testing::Not(HasSubstr("a, "))));
    EXPECT_THROW(client().resume_workflows_async({"a", "x"}).get(), dbos::NonexistentWorkflow);
    EXPECT_THROW(client().resume_workflow("x"), dbos::NonexistentWorkflow);
    EXPECT_THAT(error_of<dbos::ConflictingWorkflow>([&] { client().resume_workflow(Other, "a"); }),
                AllOf(HasSubstr("\"work\""), HasSubstr("\"other\"")));
    EXPECT_EQ(row("a", "status"), "CANCELLED");
    EXPECT_THROW(client().resume_workflow(" "), dbos::UsageError);
    EXPECT_EQ(client().resume_workflow(Work, "a").workflow_id(), "a");
    EXPECT_EQ(row("a", "status"), "ENQUEUED");
}

TEST_P(ClientManage, delays_move_while_a_workflow_is_delayed) {
    insert_workflow("d", "DELAYED", {{"queue_name", "q"}, {"delay_until_epoch_ms", 5}, {"updated_at", 1}});
    insert_workflow("e", "ENQUEUED", {{"queue_name", "q"}, {"delay_until_epoch_ms", 5}, {"updated_at", 1}});
    client().set_workflow_delay("d", dbos::Instant("2031-01-01T00:00:00Z"));
    EXPECT_EQ(row("d", "delay_until_epoch_ms"), "1924992000000");
    EXPECT_NE(row("d", "updated_at"), "1");
    const auto before = std::chrono::duration_cast<std::chrono::milliseconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
    client().set_workflow_delay_async("d", 1h).get();
    EXPECT_NEAR(std::stod(row("d", "delay_until_epoch_ms")), static_cast<double>(before + 3'600'000),
                600'000);
    client().set_workflow_delay("e", 1h);
    client().set_workflow_delay("unknown", 1h);
    EXPECT_EQ(row("e", "delay_until_epoch_ms, updated_at"), "5|1");
    EXPECT_THROW(client().set_workflow_delay("d", -1s), dbos::UsageError);
    EXPECT_THROW(client().set_workflow_delay_async("d", dbos::Duration(INFINITY)), dbos::UsageError);
}

TEST_P(ClientManage, priorities_change_while_a_workflow_waits) {
    insert_workflow("d", "DELAYED", {{"queue_name", "q"}, {"updated_at", 1}});
    insert_workflow("e", "ENQUEUED", {{"queue_name", "q"}, {"updated_at", 1}});
    insert_workflow("r", "PENDING", {{"queue_name", "q"}});
    client().set_workflow_priority("d", 3);
    client().set_workflow_priority_async("e", 2147483647).get();
    client().set_workflow_priority("r", 3);
    client().set_workflow_priority("unknown", 3);
    EXPECT_EQ(row("d", "priority, updated_at"), "3|1");
    EXPECT_EQ(row("e", "priority, updated_at"), "2147483647|1");
    EXPECT_EQ(row("r", "priority"), "0");
    EXPECT_THROW(client().set_workflow_priority("d", -1), dbos::UsageError);
    EXPECT_THROW(client().set_workflow_priority("d", 2147483648), dbos::UsageError);
}

struct Tags {
    int tenant = 0;
    std::string note = {};
};
DBOS_FIELDS(Tags, tenant, note)

TEST_P(ClientManage, attributes_are_replaced_merged_and_removed) {
    using dbos::Object;
    using dbos::Value;
    insert_workflow("w", "SUCCESS", {{"attributes", "null"}, {"updated_at", 1}});
    const auto stored = [&] { return client().get_workflow_status("w")->attributes.value_or(Value("none")); };
    EXPECT_EQ(stored(), Value("none"));
    client().update_workflow_attributes("w", Tags{1, "a"},
                                        {.merge = true});  // what is no object counts as empty
    EXPECT_EQ(stored(), dbos::to_value(Tags{1, "a"}));
    client().update_workflow_attributes("w", Value(Object{{"note", nullptr}, {"more", Object{{"x", 1}}}}),
                                        {.merge = true});
    client()
        .update_workflow_attributes_async("w", Value(Object{{"more", Object{{"y", 2}}}}), {.merge = true})
        .get();
    const Value merged = stored();
    EXPECT_EQ(merged.as_object().size(), 3u);
    for (const auto& [key, value] : merged.as_object()) {
        if (key == "tenant") {
            EXPECT_EQ(value, Value(1));
        } else if (key == "note") {
            EXPECT_TRUE(value.is_null());
        } else {
            EXPECT_EQ(value, Value(Object{{"y", 2}})) << key;
        }
    }
    EXPECT_NE(row("w", "updated_at"), "1");
    client().update_workflow_attributes("w", Tags{2, "b"});
    EXPECT_EQ(stored().as_object().size(), 2u);
    client().update_workflow_attributes("w", std::nullopt);
    EXPECT_EQ(row("w", "attributes"), "-");
    client().update_workflow_attributes("unknown", Tags{});
    EXPECT_THROW(client().update_workflow_attributes("w", std::nullopt, {.merge = true}), dbos::UsageError);
    EXPECT_THROW(client().update_workflow_attributes("w", 3), dbos::UsageError);
    EXPECT_EQ(count("workflow_status"), "1");
}

TEST_P(ClientManage, delete_leaves_nothing_behind) {
    const auto left = [&](const std::string& id) {
        std::string tables;
        for (const char* table : {"workflow_status", "workflow_input", "workflow_output", "operation_outputs",
                                  "workflow_events", "workflow_events_history", "streams"}) {
            if (count(table, "workflow_uuid = '" + id + "'") != "0") tables += std::string(table) + ' ';
        }
        if (count("notifications", "destination_uuid = '" + id + "'") != "0") tables += "notifications";
        return tables;
    };
    for (const char* id : {"a", "b", "c", "d"}) insert_history(id);
    ASSERT_NE(left("a"), "");
    client().delete_workflow("a");
    EXPECT_EQ(left("a"), "");
    execute(
        "UPDATE @workflow_status SET parent_workflow_id = 'b', status = 'PENDING' WHERE workflow_uuid = 'c'");
    execute("UPDATE @workflow_status SET parent_workflow_id = 'c' WHERE workflow_uuid = 'd'");
    client().delete_workflows({"b", "unknown"});
    EXPECT_EQ(left("b"), "");
    EXPECT_NE(left("c"), "");
    // Its parent is gone already: a repeat still finds the children.
    client().delete_workflows_async({"b"}, {.delete_children = true}).get();
    EXPECT_EQ(left("c") + left("d"), "");
    client().delete_workflows({});
    EXPECT_FALSE(client().get_workflow_status("a"));
    EXPECT_FALSE(client().get_workflow_status_async("b").get());
}

TEST_P(ClientManage, calls_are_refused_after_destroy) {
    auto other = make_client(client_options());
    other->destroy();
    EXPECT_THROW(other->cancel_workflows({}), dbos::ClientClosed);
    EXPECT_THROW(other->resume_workflow("x"), dbos::ClientClosed);
    EXPECT_THROW(other->delete_workflow_async("x").get(), dbos::ClientClosed);
}

// ------------------------------------------------------------------------------------------- with an application

class ManagedApp : public dbos::test::AppTest {};
DBOS_FOR_EVERY_DATABASE(ManagedApp);

TEST_P(ManagedApp, a_workflow_cancelled_between_steps_goes_on_after_resume) {
    dbos::test::Gate gate;
    std::atomic<int> first{0}, second{0};
    dbos::App app(app_options());
    app.implement(Work, [&](dbos::Context& ctx) {
        ctx.step("first", [&] { ++first; });
        if (ctx.step("gate", [&] {
                gate.pass();
                return 1;
            }) != 1)
            return 0;
        ctx.step("second", [&] { ++second; });
        return 7;
    });
    app.launch();
    auto handle = app.start_workflow(Work, {.workflow_id = "w"});
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    app.client().cancel_workflow("w");
    gate.open();
    EXPECT_THROW(handle.get_result(), dbos::AwaitedWorkflowCancelled);
    EXPECT_EQ(second, 0);
    auto resumed = app.client().resume_workflow(Work, "w");
    EXPECT_EQ(resumed.get_result(), 7);
    EXPECT_EQ(first, 1);
    EXPECT_EQ(second, 1);
    EXPECT_EQ(resumed.get_status().queue_name, "_dbos_internal_queue");
    EXPECT_EQ(app.client().resume_workflow(Work, "w").get_result(), 7);  // a completed one is left alone
}

TEST_P(ManagedApp, a_resumed_workflow_gets_its_timeout_again) {
    dbos::App app(app_options());
    app.implement(Work, [](dbos::Context& ctx) {
        ctx.sleep(1h);
        return 1;
    });
    app.register_queue({.name = "q"});
    app.launch();
    auto handle = app.client().enqueue(Work, {.queue_name = "q", .workflow_timeout = 100ms});
    EXPECT_THROW(handle.get_result(), dbos::AwaitedWorkflowCancelled);
    const auto before = handle.get_status().workflow_deadline_epoch_ms;
    ASSERT_TRUE(before);
    app.client().resume_workflow(handle.workflow_id());
    EXPECT_THROW(
        {
            // Cancelled again, at a later deadline.
            EXPECT_TRUE(dbos::test::eventually(
                [&] {
                    const auto status = handle.get_status();
                    return status.status == dbos::Status::cancelled &&
                           status.workflow_deadline_epoch_ms > before;
                },
                60));
            handle.get_result();
        },
        dbos::AwaitedWorkflowCancelled);
}

TEST_P(ManagedApp, a_delayed_workflow_runs_when_its_delay_is_moved_to_the_past) {
    dbos::App app(app_options());
    app.implement(Work, [](dbos::Context&) { return 3; });
    app.register_queue({.name = "q"});
    app.launch();
    auto handle = app.client().enqueue(Work, {.queue_name = "q", .delay = 24h});
    EXPECT_EQ(handle.get_status().status, dbos::Status::delayed);
    app.client().set_workflow_delay(handle.workflow_id(), 0s);
    EXPECT_EQ(handle.get_result({.timeout = 60s}), 3);
    auto cancelled = app.client().enqueue(Work, {.queue_name = "q", .delay = 24h});
    app.client().cancel_workflow(cancelled.workflow_id());
    EXPECT_EQ(app.client().resume_workflow(Work, cancelled.workflow_id()).get_result({.timeout = 60s}), 3);
}

}  // namespace
