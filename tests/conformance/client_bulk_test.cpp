// enqueue_bulk: one transaction, every option, all or nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dbos/types.hpp"
#include "support/client_rows.hpp"

namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

struct Order {
    std::string id = {};
    int cents = 0;
};
DBOS_FIELDS(Order, id, cents)

inline constexpr auto Pay = dbos::workflow<int(Order)>("pay");

class ClientBulk : public dbos::test::ClientTest {
   public:
    std::string count(const std::string& where = "1 = 1") {
        return query_text("SELECT count(*) FROM @workflow_status WHERE " + where);
    }
};
DBOS_FOR_EVERY_DATABASE(ClientBulk);

TEST_P(ClientBulk, many_are_written_as_one_call_each_would_write_them) {
    for (const int n : {1, 2, 300}) {
        std::vector<dbos::EnqueueRequest> requests;
        const std::string prefix = std::to_string(n) + "-";
        for (int i = 0; i < n; ++i) {
            requests.push_back(dbos::enqueue_request(
                Pay, {.queue_name = "q", .workflow_id = prefix + std::to_string(i), .priority = i},
                {"o", i}));
        }
        const auto handles = client().enqueue_bulk<int>(std::move(requests));
        ASSERT_EQ(handles.size(), static_cast<std::size_t>(n));
        client().enqueue(Pay, {.queue_name = "q", .workflow_id = prefix + "single", .priority = n - 1},
                         {"o", n - 1});
        for (int i = 0; i < n; ++i) {
            const auto& handle = handles[static_cast<std::size_t>(i)];
            EXPECT_EQ(handle.workflow_id(), prefix + std::to_string(i));
            const dbos::WorkflowStatus row = handle.get_status();
            EXPECT_EQ(row.status, "ENQUEUED");
            EXPECT_EQ(row.input->positional.at(0).at("cents").as_int(), i);
            EXPECT_EQ(row.priority, i);
        }
        // The last one has the columns of a single call.
        const std::string same =
            "a.status = b.status AND a.name = b.name AND a.queue_name = b.queue_name AND a.priority = "
            "b.priority AND "
            "a.serialization = b.serialization AND a.owner_xid IS NULL AND b.owner_xid IS NULL AND a.inputs "
            "IS NULL "
            "AND a.executor_id IS NULL AND a.recovery_attempts = b.recovery_attempts AND "
            "length(a.creator_xid) = 36";
        EXPECT_EQ(
            query_text(
                "SELECT count(*) FROM @workflow_status a JOIN @workflow_status b ON a.workflow_uuid = '" +
                prefix + std::to_string(n - 1) + "' AND b.workflow_uuid = '" + prefix + "single' WHERE " +
                same),
            "1");
    }
    EXPECT_EQ(query_text("SELECT count(*) FROM @workflow_input"), count());
    EXPECT_TRUE(client().enqueue_bulk({}).empty());
}

TEST_P(ClientBulk, an_existing_id_gives_its_handle_and_keeps_its_arguments) {
    client().enqueue(Pay, {.queue_name = "q", .workflow_id = "old"}, {"first", 1});
    for (int round = 0; round < 2; ++round) {
        std::vector<dbos::EnqueueRequest> requests;
        for (const char* id : {"old", "a", "a", "b", "old"})
            requests.push_back(
                dbos::enqueue_request(Pay, {.queue_name = "q", .workflow_id = id}, {"second", round}));
        const auto handles = client().enqueue_bulk_async<int>(std::move(requests)).get();
        ASSERT_EQ(handles.size(), 5u);
        EXPECT_EQ(handles[2].workflow_id(), "a");
    }
    EXPECT_EQ(count(), "3");
    EXPECT_EQ(client().retrieve_workflow("old").get_status().input->positional.at(0).at("id").as_string(),
              "first");
    EXPECT_EQ(client().retrieve_workflow("a").get_status().input->positional.at(0).at("cents").as_int(), 0);
}

TEST_P(ClientBulk, refusals_are_named_by_index_and_nothing_is_written) {
    client().enqueue(Pay, {.queue_name = "q", .workflow_id = "holder", .deduplication_id = "d"}, {"o", 1});
    client().enqueue({.workflow_name = "other", .queue_name = "q", .workflow_id = "other"});
    for (const bool many : {false, true}) {
        std::vector<dbos::EnqueueRequest> requests;
        requests.push_back(dbos::enqueue_request(Pay, {.queue_name = "q", .workflow_id = "fine"}, {"o", 1}));
        requests.push_back(
            dbos::enqueue_request(Pay, {.queue_name = "q", .deduplication_id = "d"}, {"o", 1}));
        if (many)
            requests.push_back(
                dbos::enqueue_request(Pay, {.queue_name = "q", .workflow_id = "other"}, {"o", 1}));
        try {
            client().enqueue_bulk(requests);
            ADD_FAILURE();
        } catch (const dbos::BulkRefused& error) {
            ASSERT_EQ(error.refusals().size(), many ? 2u : 1u);
            EXPECT_EQ(error.refusals()[0].index, 1u);
            EXPECT_THROW(std::rethrow_exception(error.refusals()[0].error), dbos::QueueDeduplicated);
            if (many) {
                EXPECT_EQ(error.refusals()[1].index, 2u);
                EXPECT_THROW(std::rethrow_exception(error.refusals()[1].error), dbos::ConflictingWorkflow);
            }
            EXPECT_THAT(error.what(), HasSubstr("[1]"));
        }
    }
    std::vector<dbos::EnqueueRequest> bad;
    bad.push_back(dbos::enqueue_request(Pay, {.queue_name = "q", .workflow_id = "fine"}, {"o", 1}));
    bad.push_back(dbos::enqueue_request(Pay, {.queue_name = "q", .priority = -1}, {"o", 1}));
    bad.push_back(dbos::enqueue_request({.workflow_name = "no queue"}, 1));
    EXPECT_THROW(client().enqueue_bulk_async(bad), dbos::BulkRefused);
    EXPECT_THROW(client().enqueue_bulk(std::vector(5001, bad[0])), dbos::UsageError);
    EXPECT_EQ(count(), "2");
    EXPECT_EQ(query_text("SELECT count(*) FROM @workflow_input"), "2");
}

TEST_P(ClientBulk, deduplication_within_a_call_and_with_the_holder_returned) {
    std::vector<dbos::EnqueueRequest> requests;
    for (const char* id : {"a", "b", "c"}) {
        requests.push_back(
            dbos::enqueue_request(Pay,
                                  {.queue_name = "q",
                                   .workflow_id = id,
                                   .deduplication_id = id[0] == 'c' ? "other" : "d",
                                   .duplication_policy = dbos::DuplicationPolicy::return_existing},
                                  {"o", 1}));
    }
    const auto handles = client().enqueue_bulk<int>(requests);
    EXPECT_EQ(handles[0].workflow_id(), "a");
    EXPECT_EQ(handles[1].workflow_id(), "a");
    EXPECT_EQ(handles[2].workflow_id(), "c");
    EXPECT_EQ(count(), "2");
}

TEST_P(ClientBulk, rows_of_a_partition_keep_their_order) {
    std::vector<dbos::EnqueueRequest> requests;
    for (int i = 0; i < 50; ++i)
        requests.push_back(dbos::enqueue_request(
            Pay, {.queue_name = "q", .workflow_id = std::to_string(100 + i), .queue_partition_key = "p"},
            {"o", i}));
    client().enqueue_bulk(std::move(requests));
    EXPECT_EQ(query_text("SELECT count(DISTINCT created_at) FROM @workflow_status"), "50");
    EXPECT_EQ(
        query_text(
            "SELECT count(*) FROM @workflow_status a JOIN @workflow_status b ON a.created_at < b.created_at "
            "AND a.workflow_uuid > b.workflow_uuid"),
        "0");
}

TEST_P(ClientBulk, delays_and_attributes_are_written) {
    std::vector<dbos::EnqueueRequest> requests;
    for (int i = 0; i < 4; ++i)
        requests.push_back(
            dbos::enqueue_request({.workflow_name = "run",
                                   .queue_name = "q",
                                   .workflow_timeout = 2s,
                                   .authenticated_roles = {"admin"},
                                   .delay = i % 2 ? std::optional<dbos::Duration>(1h) : std::nullopt,
                                   .attributes = dbos::Object{{"k", i}}},
                                  i, dbos::named("fast", true)));
    const auto handles = client().enqueue_bulk(std::move(requests));
    EXPECT_EQ(count("status = 'DELAYED' AND delay_until_epoch_ms > created_at + 3000000"), "2");
    EXPECT_EQ(count("workflow_timeout_ms = 2000"), "4");
    EXPECT_EQ(handles[3].get_status().attributes->at("k").as_int(), 3);
    EXPECT_TRUE(handles[3].get_status().input->named.at(0).second.as_bool());
}

}  // namespace
