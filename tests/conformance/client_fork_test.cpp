// Forks and rewinds: what is copied, what is cut off, and what runs again.
#include <gmock/gmock.h>

#include <map>
#include <mutex>

#include "support/app.hpp"
#include "support/managed.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::test::error_of;
using testing::AllOf;
using testing::HasSubstr;

inline constexpr auto Work = dbos::workflow<int()>("work");
inline constexpr auto Other = dbos::workflow<int()>("other");
constexpr const char* kClosed = "\"__DBOS_STREAM_CLOSED__\"";

class ClientFork : public dbos::test::ManageTest {};
DBOS_FOR_EVERY_DATABASE(ClientFork);

TEST_P(ClientFork, a_fork_gets_the_steps_below_the_cut_and_what_they_wrote) {
    insert_history("w");
    const std::vector<std::string> expected = {" /  / ",
                                               "0 / e=0 / 0",
                                               "0,1 / e=1,once=x / 0,1",
                                               "0,1,2 / e=2,once=x / 0,1,2",
                                               "0,1,2,3 / e=3,once=x / 0,1,2," + std::string(kClosed),
                                               "0,1,2,3 / e=3,once=x / 0,1,2," + std::string(kClosed)};
    for (std::size_t step = 0; step < expected.size(); ++step) {
        const auto fork = client().fork_workflow("w", static_cast<std::int64_t>(step));
        std::string found = contents(fork.workflow_id());
        if (step == 0) found = found.empty() || found == " / " ? expected[0] : found;
        EXPECT_EQ(found, expected[step]) << "from step " << step;
        EXPECT_EQ(row(fork.workflow_id(), "inputs", "workflow_input"), R"({"positionalArgs":[1]})");
        EXPECT_EQ(count("notifications", "destination_uuid = '" + fork.workflow_id() + "'"), "0");
    }
    const auto fork = client().fork_workflow("w", 3);
    EXPECT_EQ(row(fork.workflow_id(),
                  "function_name, output, started_at_epoch_ms, completed_at_epoch_ms, "
                  "serialization, child_workflow_id",
                  "operation_outputs"),
              "s0|0|0|0|portable_json|- s1|1|10|11|portable_json|child s2|2|20|22|portable_json|-");
    EXPECT_EQ(count("workflow_events_history", "workflow_uuid = '" + fork.workflow_id() + "'"), "4");
}

TEST_P(ClientFork, columns_are_copied_set_or_left_out) {
    insert_history("w");
    execute("UPDATE @workflow_status SET application_name = 'shop', deduplication_id = 'd', owner_xid = 'o'");
    const auto fork = client().fork_workflow_async<int>("w", 2).get();
    EXPECT_EQ(row(fork.workflow_id(),
                  "status, queue_name, forked_from, name, class_name, config_name, authenticated_user, "
                  "authenticated_roles, application_version, application_name, serialization"),
              "ENQUEUED|_dbos_internal_queue|w|work|Shop|eu|ann|[\"a\"]|v1|shop|portable_json");
    EXPECT_EQ(row(fork.workflow_id(),
                  "priority, deduplication_id, workflow_timeout_ms, workflow_deadline_epoch_ms, owner_xid, "
                  "recovery_attempts, parent_workflow_id, completed_at, executor_id, queue_partition_key"),
              "0|-|-|-|-|0|-|-|-|-");
    EXPECT_EQ(row(fork.workflow_id(), "created_at"), row(fork.workflow_id(), "updated_at"));
    EXPECT_NE(row(fork.workflow_id(), "creator_xid"), "-");
    EXPECT_EQ(client().get_workflow_status(fork.workflow_id())->attributes,
              client().get_workflow_status("w")->attributes);
    EXPECT_EQ(row("w", "status, updated_at, owner_xid"), "SUCCESS|1001|o");
    EXPECT_TRUE(client().get_workflow_status("w")->was_forked_from);
    EXPECT_FALSE(client().get_workflow_status(fork.workflow_id())->was_forked_from);
    // A fork of a fork names its immediate source.
    EXPECT_EQ(row(client().fork_workflow(fork.workflow_id(), 0).workflow_id(), "forked_from"),
              fork.workflow_id());
}

TEST_P(ClientFork, options_say_where_and_as_what_it_runs) {
    insert_history("w");
    const auto made = client().fork_workflow("w", 2,
                                             {.application_version = "v2",
                                              .queue_name = "q2",
                                              .queue_partition_key = "p",
                                              .replacement_children = {{"child", "twin"}, {"twin", "no"}},
                                              .workflow_timeout = 1500ms,
                                              .new_workflow_id = "f"});
    EXPECT_EQ(made.workflow_id(), "f");
    EXPECT_EQ(row("f", "application_version, queue_name, queue_partition_key, workflow_timeout_ms"),
              "v2|q2|p|1500");
    EXPECT_EQ(row("f", "function_id, child_workflow_id", "operation_outputs"), "0|- 1|twin");
    EXPECT_EQ(
        row(client().fork_workflow("w", 0, {.latest_version = true}).workflow_id(), "application_version"),
        "-");
    auto shop = make_client([&] {
        auto with = client_options();
        with.application_name = "shop";
        return with;
    }());
    EXPECT_EQ(row(shop->fork_workflow("w", 0).workflow_id(), "application_name"), "shop");
    for (const dbos::ForkOptions& bad :
         {dbos::ForkOptions{.queue_partition_key = "p"}, dbos::ForkOptions{.new_workflow_id = " "},
          dbos::ForkOptions{.workflow_timeout = 0s},
          dbos::ForkOptions{.application_version = "v", .latest_version = true}}) {
        EXPECT_THROW(client().fork_workflow("w", 0, bad), dbos::UsageError);
        EXPECT_THROW(client().fork_workflow_async("w", 0, bad), dbos::UsageError);
    }
    EXPECT_THROW(client().fork_workflow("w", -1), dbos::UsageError);
}

TEST_P(ClientFork, nothing_is_written_if_it_cannot_be) {
    insert_history("w");
    insert_workflow("taken", "SUCCESS");
    const std::string before = count("operation_outputs");
    EXPECT_THAT(
        error_of<dbos::NonexistentWorkflow>([&] {
            client().fork_workflows({{.workflow_id = "w"}, {.workflow_id = "x"}, {.workflow_id = "y"}});
        }),
        HasSubstr("x, y"));
    EXPECT_THAT(error_of<dbos::WorkflowIdInUse>([&] {
                    client()
                        .fork_workflows_async(
                            {{.workflow_id = "w", .start_step = 2},
                             {.workflow_id = "w", .start_step = 2, .options = {.new_workflow_id = "taken"}}})
                        .get();
                }),
                HasSubstr("taken"));
    EXPECT_THROW(client().fork_workflow("w", 0, {.new_workflow_id = "w"}), dbos::WorkflowIdInUse);
    EXPECT_THROW(client().fork_workflow(Other, "w", 0), dbos::ConflictingWorkflow);
    EXPECT_THROW(client().fork_workflows({{.workflow_id = "w", .options = {.new_workflow_id = "f"}},
                                          {.workflow_id = "w", .options = {.new_workflow_id = "f"}}}),
                 dbos::UsageError);
    EXPECT_EQ(count("workflow_status"), "2");
    EXPECT_EQ(count("operation_outputs"), before);
    EXPECT_FALSE(client().get_workflow_status("w")->was_forked_from);
    EXPECT_TRUE(client().fork_workflows({}).empty());
}

TEST_P(ClientFork, a_batch_may_fork_one_original_twice) {
    insert_history("w");
    insert_history("v");
    const auto forks =
        client().fork_workflows({{.workflow_id = "w", .start_step = 2},
                                 {.workflow_id = "v", .start_step = 1},
                                 {.workflow_id = "w", .start_step = 4, .options = {.queue_name = "q2"}}});
    ASSERT_EQ(forks.size(), 3u);
    EXPECT_EQ(contents(forks[0].workflow_id()), "0,1 / e=1,once=x / 0,1");
    EXPECT_EQ(contents(forks[1].workflow_id()), "0 / e=0 / 0");
    EXPECT_EQ(contents(forks[2].workflow_id()), "0,1,2,3 / e=3,once=x / 0,1,2," + std::string(kClosed));
    EXPECT_EQ(row(forks[1].workflow_id(), "forked_from, queue_name"), "v|_dbos_internal_queue");
    EXPECT_EQ(row(forks[2].workflow_id(), "forked_from, queue_name"), "w|q2");
}

TEST_P(ClientFork, inputs_in_the_old_column_are_found) {
    insert_workflow("w", "SUCCESS", {{"inputs", "[1]"}});
    EXPECT_EQ(row(client().fork_workflow("w", 0).workflow_id(), "inputs", "workflow_input"), "[1]");
}

TEST_P(ClientFork, rewind_cuts_the_history_and_enqueues_the_same_id) {
    insert_history("w");
    execute(
        "UPDATE @workflow_status SET deduplication_id = 'd', owner_xid = 'o', output = '1', "
        "recovery_attempts = 4");
    auto handle = client().rewind_workflow(Work, "w", 2);
    EXPECT_EQ(handle.workflow_id(), "w");
    EXPECT_EQ(contents("w"), "0,1 / e=1,once=x / 0,1,2");  // values of streams stay, their end does not
    EXPECT_EQ(row("w",
                  "status, queue_name, queue_partition_key, owner_xid, deduplication_id, recovery_attempts, "
                  "completed_at, started_at_epoch_ms, output, application_version, workflow_timeout_ms"),
              "ENQUEUED|_dbos_internal_queue|-|-|-|0|-|-|-|v1|5000");
    EXPECT_EQ(row("w", "output", "workflow_output"), "no row");
    EXPECT_EQ(count("notifications"), "0");
    EXPECT_EQ(count("workflow_events_history", "function_id >= 2"), "0");
    EXPECT_EQ(row("w", "inputs", "workflow_input"), R"({"positionalArgs":[1]})");

    insert_history("v", "CANCELLED");
    client()
        .rewind_workflow_async("v", 3,
                               {.application_version = "v2", .queue_name = "q2", .queue_partition_key = "p"})
        .get();
    EXPECT_EQ(row("v", "application_version, queue_name, queue_partition_key"), "v2|q2|p");
    EXPECT_EQ(count("notifications", "destination_uuid = 'v'"), "1");  // received before the cut
    EXPECT_EQ(contents("v"), "0,1,2 / e=2,once=x / 0,1,2");
}

TEST_P(ClientFork, rewind_needs_an_ended_workflow_of_that_name) {
    insert_history("w", "PENDING");
    EXPECT_THAT(error_of<dbos::UsageError>([&] { client().rewind_workflow("w"); }),
                AllOf(HasSubstr("PENDING"), HasSubstr("cancel it first")));
    execute("UPDATE @workflow_status SET status = 'ERROR'");
    EXPECT_THROW(client().rewind_workflow("x"), dbos::NonexistentWorkflow);
    EXPECT_THROW(client().rewind_workflow(Other, "w"), dbos::ConflictingWorkflow);
    EXPECT_THROW(client().rewind_workflow("w", -1), dbos::UsageError);
    EXPECT_THROW(client().rewind_workflow_async("w", 0, {.queue_partition_key = "p"}), dbos::UsageError);
    EXPECT_EQ(row("w", "status"), "ERROR");
    EXPECT_THAT(contents("w"), HasSubstr("0,1,2,3"));
}

// ------------------------------------------------------------------------------------------- with an application

class ForkedApp : public dbos::test::AppTest {
   public:
    /// A workflow of five steps whose result is the sum of what they return; counts how often each has run.
    void launch(dbos::App& app) {
        app.implement(Work, [this](dbos::Context& ctx) {
            int sum = 0;
            for (int n = 0; n < 5; ++n) {
                sum += ctx.step(dbos::Name::dynamic("s" + std::to_string(n)), [this, n] {
                    const std::lock_guard lock(mutex_);
                    ++runs_[n];
                    return n;
                });
            }
            return sum;
        });
        app.launch();
    }
    std::string runs() {
        const std::lock_guard lock(mutex_);
        std::string text;
        for (const auto& [step, times] : runs_) text += std::to_string(times) + ' ';
        return text;
    }

   private:
    std::mutex mutex_;
    std::map<int, int> runs_;
};
DBOS_FOR_EVERY_DATABASE(ForkedApp);

TEST_P(ForkedApp, a_fork_replays_exactly_the_steps_below_the_cut) {
    dbos::App app(app_options());
    launch(app);
    EXPECT_EQ(app.start_workflow(Work, {.workflow_id = "w"}).get_result(), 10);
    EXPECT_EQ(runs(), "1 1 1 1 1 ");
    const auto steps = app.client().list_workflow_steps("w");
    ASSERT_EQ(steps.size(), 5u);
    EXPECT_EQ(
        app.client().fork_workflow(Work, "w", steps[3].function_id, {.new_workflow_id = "f"}).get_result(),
        10);
    EXPECT_EQ(runs(), "1 1 1 2 2 ");
    auto again = app.client().fork_workflow_async(Work, "f", steps[1].function_id).get();
    EXPECT_EQ(again.get_result(), 10);
    EXPECT_EQ(runs(), "1 2 2 3 3 ");
    EXPECT_EQ(app.client().list_workflows().size(), 3u);
    EXPECT_EQ(app.client().list_workflows({.is_fork = true}).size(), 2u);
    EXPECT_EQ(app.client().list_workflow_steps("f").size(), 5u);
    EXPECT_FALSE(app.client().list_workflow_steps("f", {.load_output = false})[0].output);
    EXPECT_EQ(app.client().fork_workflow<int>("w", 100).get_result(), 10);
    EXPECT_EQ(runs(), "1 2 2 3 3 ");
}

TEST_P(ForkedApp, a_rewound_workflow_runs_again_from_the_cut) {
    dbos::App app(app_options());
    launch(app);
    EXPECT_EQ(app.start_workflow(Work, {.workflow_id = "w"}).get_result(), 10);
    const auto steps = app.client().list_workflow_steps("w");
    EXPECT_EQ(app.client().rewind_workflow(Work, "w", steps[2].function_id).get_result(), 10);
    EXPECT_EQ(runs(), "1 1 2 2 2 ");
    EXPECT_EQ(app.client().rewind_workflow(Work, "w").get_result(), 10);
    EXPECT_EQ(runs(), "2 2 3 3 3 ");
    EXPECT_EQ(app.client().list_workflows().size(), 1u);
}

}  // namespace
