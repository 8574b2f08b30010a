// Retention, the global timeout, forks from a failed step, and what observers read of a workflow.
#include <gmock/gmock.h>

#include "support/managed.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::Instant;
using dbos::test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

Instant at(std::int64_t epoch_ms) {
    return std::chrono::system_clock::time_point(std::chrono::milliseconds(epoch_ms));
}

class ClientUpkeep : public dbos::test::ManageTest {
   protected:
    /// Ended at this instant, with everything that a workflow has.
    void ended(const std::string& id, std::int64_t completed_at, const std::string& status = "SUCCESS") {
        insert_history(id, status);
        execute("UPDATE @workflow_status SET completed_at = " + std::to_string(completed_at) +
                " WHERE workflow_uuid = '" + id + "'");
        for (const char* table : {"workflow_input", "workflow_output", "operation_outputs"}) {
            execute(std::string("UPDATE @") + table + " SET retention_timestamp = " +
                    std::to_string(completed_at) + " WHERE workflow_uuid = '" + id + "'");
        }
    }
    std::string left() {
        const auto rows = open()->query("SELECT workflow_uuid FROM @workflow_status ORDER BY workflow_uuid");
        std::string text;
        for (std::size_t row = 0; row < rows.size(); ++row) text += rows.at(row, 0).string() + " ";
        return text;
    }
    /// Rows of every table that belongs to a workflow.
    std::string all_of(const std::string& id) {
        std::string text;
        for (const char* table : {"workflow_status", "workflow_input", "workflow_output", "operation_outputs",
                                  "workflow_events", "workflow_events_history", "streams"})
            text += count(table, "workflow_uuid = '" + id + "'") + " ";
        return text + count("notifications", "destination_uuid = '" + id + "'");
    }
};
DBOS_FOR_EVERY_DATABASE(ClientUpkeep);

TEST_P(ClientUpkeep, what_ended_before_the_cutoff_goes_with_all_that_belongs_to_it) {
    ended("old", 1000);
    ended("cancelled", 1500, "CANCELLED");
    ended("dead", 1600, "MAX_RECOVERY_ATTEMPTS_EXCEEDED");
    ended("foreign", 1700);
    execute("UPDATE @workflow_status SET application_name = 'somebody' WHERE workflow_uuid = 'foreign'");
    ended("new", 2000);
    insert_workflow("running", "PENDING", {{"created_at", 1}});
    insert_workflow("waiting", "ENQUEUED", {{"created_at", 1}});
    insert_workflow("later", "DELAYED", {{"created_at", 1}});
    const auto removed = client().garbage_collect({.cutoff = at(2000)});
    EXPECT_EQ(left(), "later new running waiting ");
    EXPECT_EQ(removed.workflows, 4);
    EXPECT_EQ(removed.payloads, 8);
    EXPECT_EQ(removed.steps, 16);
    EXPECT_FALSE(removed.busy);
    EXPECT_EQ(all_of("old"), "0 0 0 0 0 0 0 0");
    EXPECT_EQ(all_of("new"), "1 1 1 4 2 5 4 2");
}

TEST_P(ClientUpkeep, about_so_many_that_ended_last_are_kept) {
    for (std::int64_t n = 1; n <= 6; ++n) ended("w" + std::to_string(n), 1000 * n);
    EXPECT_EQ(client().garbage_collect({.rows_threshold = 7}).workflows, 0);
    EXPECT_EQ(client().garbage_collect({.rows_threshold = 4}).workflows, 2);
    EXPECT_EQ(left(), "w3 w4 w5 w6 ");
    // Of both, the one that removes more.
    EXPECT_EQ(client().garbage_collect({.cutoff = at(5000), .rows_threshold = 3}).workflows, 2);
    EXPECT_EQ(client().garbage_collect_async({.cutoff = at(1), .rows_threshold = 1}).get().workflows, 1);
    EXPECT_EQ(left(), "w6 ");
}

TEST_P(ClientUpkeep, batches_are_transactions_of_their_own_and_an_interrupted_call_is_gone_on_with) {
    for (int n = 1; n <= 7; ++n) ended("w" + std::to_string(n), n <= 3 ? 1000 : 1000 + n);
    auto faults = std::make_shared<dbos::test::Faults>();
    faults->next({dbos::test::Fault::none, dbos::test::Fault::none, dbos::test::Fault::drop});
    auto interrupted = faulty_client(faults, false);
    EXPECT_THAT(error_of<dbos::DatabaseError>(
                    [&] { interrupted->garbage_collect({.cutoff = at(5000), .batch_size = 2}); }),
                HasSubstr("lost"));
    EXPECT_EQ(left(), "w5 w6 w7 ");
    EXPECT_EQ(client().garbage_collect({.cutoff = at(5000), .batch_size = 2}).workflows, 3);
    EXPECT_EQ(left(), "");
}

TEST_P(ClientUpkeep, an_acknowledgement_that_was_lost_costs_nothing) {
    for (int n = 1; n <= 5; ++n) ended("w" + std::to_string(n), 1000 + n);
    auto faults = std::make_shared<dbos::test::Faults>();
    faults->next({dbos::test::Fault::lose_ack, dbos::test::Fault::drop});
    faulty_client(faults)->garbage_collect({.cutoff = at(5000), .batch_size = 2});
    EXPECT_EQ(left(), "");
}

TEST_P(ClientUpkeep, payloads_without_a_workflow_go_when_they_are_as_old) {
    for (const char* id : {"gone", "gone lately"}) {
        const int at = std::string(id) == "gone" ? 1000 : 9000;
        insert("workflow_input", {{"workflow_uuid", id}, {"inputs", "1"}, {"retention_timestamp", at}});
        insert("workflow_output", {{"workflow_uuid", id}, {"output", "1"}, {"retention_timestamp", at}});
        for (int n = 0; n < 3; ++n) {
            insert("operation_outputs", {{"workflow_uuid", id},
                                         {"function_id", n},
                                         {"function_name", "s"},
                                         {"retention_timestamp", at}});
        }
    }
    insert_workflow("running", "PENDING");
    insert("workflow_input", {{"workflow_uuid", "running"}, {"inputs", "1"}, {"retention_timestamp", 1000}});
    const auto removed = client().garbage_collect({.cutoff = at(5000), .batch_size = 1});
    EXPECT_EQ(removed.workflows, 0);
    EXPECT_EQ(removed.payloads, 2);
    EXPECT_EQ(removed.steps, 3);
    EXPECT_EQ(count("workflow_input"), "2");
    EXPECT_EQ(count("operation_outputs"), "3");
}

TEST_P(ClientUpkeep, one_at_a_time_collects) {
    if (GetParam() != dbos::sql::Backend::postgres) GTEST_SKIP() << "SQLite has one writer at a time";
    ended("old", 1000);
    const auto other = open();
    // The key of the other SDKs: the first eight bytes of the SHA-256 of this text.
    const std::string key = "('x' || left(encode(sha256(convert_to('dbos.retention." + database().schema() +
                            "', 'UTF8')), 'hex'), 16))::bit(64)::bigint";
    other->query("SELECT pg_advisory_lock(" + key + ")", {}, dbos::sql::Access::write);
    EXPECT_TRUE(client().garbage_collect({.cutoff = at(5000)}).busy);
    EXPECT_EQ(left(), "old ");
    other->query("SELECT pg_advisory_unlock(" + key + ")", {}, dbos::sql::Access::write);
    EXPECT_EQ(client().garbage_collect({.cutoff = at(5000)}).workflows, 1);
}

TEST_P(ClientUpkeep, garbage_collect_says_what_it_needs) {
    using dbos::UsageError;
    const auto refused = [&](const dbos::GarbageCollectOptions& options) {
        return error_of<UsageError>([&] { client().garbage_collect(options); });
    };
    EXPECT_THAT(refused({}), HasSubstr("a cutoff or a rows_threshold"));
    EXPECT_THAT(refused({.rows_threshold = 0}), HasSubstr("1 or more"));
    EXPECT_THAT(refused({.rows_threshold = 1, .batch_size = 0}), HasSubstr("batch_size"));
    EXPECT_THAT(refused({.rows_threshold = 1, .pause = -1s}), HasSubstr("pause"));
    EXPECT_THAT(error_of<UsageError>([&] { client().garbage_collect_async({}); }), HasSubstr("cutoff"));
}

TEST_P(ClientUpkeep, the_global_timeout_cancels_what_was_created_before) {
    insert_workflow("running", "PENDING", {{"created_at", 1000}, {"application_name", "shop"}});
    insert_workflow("waiting", "ENQUEUED", {{"created_at", 2000}, {"queue_name", "q"}});
    insert_workflow("later", "DELAYED", {{"created_at", 1500}});
    insert_workflow("new", "PENDING", {{"created_at", 2001}, {"application_name", "shop"}});
    insert_workflow("foreign", "PENDING", {{"created_at", 1000}, {"application_name", "somebody"}});
    insert_workflow("done", "SUCCESS", {{"created_at", 1000}, {"application_name", "shop"}});
    auto options = client_options();
    options.application_name = "shop";
    const auto shop = make_client(options);
    EXPECT_EQ(shop->global_timeout(at(2000)), 3);
    EXPECT_EQ(shop->global_timeout_async(at(2000)).get(), 0);
    std::string text;
    for (const auto& status : client().list_workflows())
        text += status.workflow_id + "=" + status.status + " ";
    EXPECT_THAT(text, HasSubstr("running=CANCELLED"));
    EXPECT_THAT(text, HasSubstr("waiting=CANCELLED"));
    EXPECT_THAT(text, HasSubstr("later=CANCELLED"));
    EXPECT_THAT(text, HasSubstr("new=PENDING"));
    EXPECT_THAT(text, HasSubstr("foreign=PENDING"));
    EXPECT_THAT(text, HasSubstr("done=SUCCESS"));
}

TEST_P(ClientUpkeep, the_global_timeout_reaches_more_than_one_page) {
    for (int n = 0; n < 1003; ++n) insert_workflow("w" + std::to_string(n), "ENQUEUED", {{"created_at", 1}});
    EXPECT_EQ(client().global_timeout(at(1)), 1003);
    EXPECT_EQ(count("workflow_status", "status = 'CANCELLED'"), "1003");
}

TEST_P(ClientUpkeep, a_fork_from_failure_goes_on_at_the_step_that_failed) {
    insert_history("failed", "ERROR");
    execute("UPDATE @operation_outputs SET output = NULL, error = '{}' WHERE function_id IN (0, 2)");
    insert_history("sound");
    insert_workflow("empty", "ERROR");
    const auto forks = client().fork_from_failure({"failed", "sound", "empty"});
    ASSERT_EQ(forks.size(), 3U);
    EXPECT_THAT(contents(forks[0].workflow_id()), testing::StartsWith("0,1 /"));    // 2 runs again
    EXPECT_THAT(contents(forks[1].workflow_id()), testing::StartsWith("0,1,2 /"));  // its last one
    EXPECT_EQ(row(forks[2].workflow_id(), "status, forked_from"), "ENQUEUED|empty");

    const auto last = client().fork_from_failure_async({"failed"}, {.from_last_step = true}).get();
    EXPECT_THAT(contents(last.at(0).workflow_id()), testing::StartsWith("0,1,2 /"));
    const auto named = client().fork_from_failure(
        {"failed"}, {.from_step_name = "s1", .fork = {.application_version = "v2", .queue_name = "q2"}});
    EXPECT_THAT(contents(named.at(0).workflow_id()), testing::StartsWith("0 /"));
    EXPECT_EQ(row(named.at(0).workflow_id(), "application_version, queue_name"), "v2|q2");
}

TEST_P(ClientUpkeep, a_fork_from_failure_that_cannot_be_writes_nothing) {
    insert_history("w", "ERROR");
    EXPECT_THAT(error_of<dbos::NotFound>([&] { client().fork_from_failure({"w"}, {.from_step_name = "x"}); }),
                HasSubstr("no recorded step of the name \"x\""));
    EXPECT_THAT(error_of<dbos::NonexistentWorkflow>([&] { client().fork_from_failure({"w", "missing"}); }),
                HasSubstr("missing"));
    EXPECT_THAT(error_of<dbos::UsageError>([&] {
                    client().fork_from_failure({"w"}, {.from_last_step = true, .from_step_name = "s1"});
                }),
                HasSubstr("one of"));
    EXPECT_THAT(error_of<dbos::UsageError>(
                    [&] { client().fork_from_failure({"w"}, {.fork = {.new_workflow_id = "f"}}); }),
                HasSubstr("new_workflow_id"));
    EXPECT_EQ(count("workflow_status"), "1");
}

TEST_P(ClientUpkeep, all_messages_and_all_streams_of_a_workflow_are_read) {
    insert_history("w", "PENDING");
    execute("UPDATE @notifications SET serialization = 'portable_json', created_at_epoch_ms = 1000");
    client().send("w", std::string("later"));
    const auto messages = client().get_all_notifications("w");
    ASSERT_EQ(messages.size(), 3U);
    EXPECT_EQ(messages[0].topic, "t");
    EXPECT_EQ(messages[0].message, dbos::Value(1));
    EXPECT_TRUE(messages[0].consumed);
    EXPECT_EQ(messages[0].created_at_epoch_ms, 1000);
    EXPECT_FALSE(messages[1].consumed);
    EXPECT_EQ(messages[2].topic, std::nullopt);
    EXPECT_EQ(messages[2].message, dbos::Value("later"));

    insert("streams", {{"workflow_uuid", "w"},
                       {"key", "open"},
                       {"value", "\"x\""},
                       {"\"offset\"", 0},
                       {"function_id", 7},
                       {"serialization", "portable_json"}});
    const auto streams = client().get_all_stream_entries("w");
    ASSERT_EQ(streams.size(), 2U);
    EXPECT_THAT(streams.at("s"), ElementsAre(dbos::Value(0), dbos::Value(1), dbos::Value(2)));
    EXPECT_THAT(streams.at("open"), ElementsAre(dbos::Value("x")));
    EXPECT_TRUE(client().get_all_notifications_async("nobody").get().empty());
    EXPECT_TRUE(client().get_all_stream_entries_async("nobody").get().empty());
}

}  // namespace
