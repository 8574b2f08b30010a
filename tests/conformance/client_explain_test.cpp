// Client::explain: why a workflow waits, in every case that a claim knows.
#include <gmock/gmock.h>

#include "support/managed.hpp"

namespace {

using dbos::Obstacle;
using dbos::test::Cells;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ClientExplain : public dbos::test::ManageTest {
   protected:
    void SetUp() override {
        ManageTest::SetUp();
        now_ =
            std::stoll(query_text(GetParam() == dbos::sql::Backend::postgres
                                      ? "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
                                      : "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"));
    }
    void queue(const std::string& name, Cells cells = {}) {
        cells.insert(cells.begin(),
                     {{"queue_id", name}, {"name", name}, {"created_at", 1}, {"updated_at", 1}});
        insert("queues", cells);
    }
    void executor(const std::string& id, const std::string& version, std::int64_t left_ms = 60'000) {
        insert("dbos_cpp_executors", {{"application_name", "shop"},
                                      {"executor_id", id},
                                      {"incarnation", id},
                                      {"version", version},
                                      {"counter", 1},
                                      {"expires_at", now_ + left_ms},
                                      {"lease_ms", 7000},
                                      {"pid", 1},
                                      {"process_start", 1},
                                      {"started_at", 1},
                                      {"updated_at", 1}});
    }
    void waiting(const std::string& id, Cells cells = {}) {
        cells.insert(cells.end(), {{"queue_name", "q"}, {"application_name", "shop"}});
        cells.emplace_back("created_at", next_++);
        insert_workflow(id, "ENQUEUED", cells);
    }
    void running(const std::string& id, const std::string& executor_id, Cells cells = {}) {
        cells.insert(cells.end(), {{"queue_name", "q"},
                                   {"application_name", "shop"},
                                   {"executor_id", executor_id},
                                   {"started_at_epoch_ms", now_ - 1000}});
        insert_workflow(id, "PENDING", cells);
    }
    std::vector<Obstacle> obstacles(const std::string& id) {
        std::vector<Obstacle> found;
        for (const auto& reason : client().explain(id).reasons) found.push_back(reason.obstacle);
        return found;
    }
    std::int64_t now_ = 0;

   private:
    std::int64_t next_ = 1000;
};
DBOS_FOR_EVERY_DATABASE(ClientExplain);

TEST_P(ClientExplain, what_nothing_hinders_is_next) {
    queue("q");
    executor("e1", "v1");
    waiting("w");
    EXPECT_THAT(obstacles("w"), IsEmpty());
    EXPECT_EQ(client().explain_async("w").get().text(),
              "w is ENQUEUED on queue \"q\": nothing stands in its way, the next claim takes it");
    waiting("later");
    EXPECT_THAT(obstacles("later"), ElementsAre(Obstacle::others_first));
    EXPECT_EQ(client().explain("later").reasons.at(0).count, 1);
}

TEST_P(ClientExplain, what_does_not_wait_says_what_it_does) {
    executor("e1", "v1");
    executor("gone", "v1", -1);
    running("runs", "e1");
    running("left", "gone");
    insert_ended("done", "SUCCESS", "1");
    insert_workflow(
        "later", "DELAYED",
        {{"queue_name", "q"}, {"application_name", "shop"}, {"delay_until_epoch_ms", now_ + 60'000}});
    EXPECT_THAT(obstacles("runs"), ElementsAre(Obstacle::running));
    EXPECT_THAT(obstacles("left"), ElementsAre(Obstacle::abandoned));
    EXPECT_THAT(obstacles("done"), ElementsAre(Obstacle::ended));
    EXPECT_THAT(obstacles("later"), ElementsAre(Obstacle::delayed));
    EXPECT_EQ(client().explain("later").reasons.at(0).until_epoch_ms, now_ + 60'000);
    EXPECT_THROW(client().explain("unknown"), dbos::NonexistentWorkflow);
}

TEST_P(ClientExplain, a_queue_that_nobody_serves) {
    executor("e1", "v1");
    waiting("w");
    EXPECT_THAT(obstacles("w"), ElementsAre(Obstacle::no_queue));
    queue("q", {{"application_name", "another"}});
    EXPECT_THAT(obstacles("w"), ElementsAre(Obstacle::foreign_queue));
    execute("UPDATE @queues SET application_name = NULL, worker_concurrency = 0");
    EXPECT_THAT(obstacles("w"), ElementsAre(Obstacle::paused));
    execute("UPDATE @queues SET worker_concurrency = NULL");
    execute("UPDATE @dbos_cpp_executors SET expires_at = 1");
    EXPECT_THAT(obstacles("w"), ElementsAre(Obstacle::no_executor));
}

TEST_P(ClientExplain, versions_that_nobody_has) {
    queue("q");
    executor("e1", "v1");
    insert("application_versions", {{"version_id", "1"},
                                    {"version_name", "v1"},
                                    {"version_timestamp", 1},
                                    {"created_at", 1},
                                    {"application_name", "shop"}});
    waiting("pinned", {{"application_version", "v0"}});
    waiting("fits", {{"application_version", "v1"}, {"priority", -1}});
    waiting("any", {{"priority", -2}});
    EXPECT_TRUE(client().explain("pinned").has(Obstacle::other_version));
    EXPECT_THAT(client().explain("pinned").text(), HasSubstr("pinned to version \"v0\""));
    EXPECT_FALSE(client().explain("fits").has(Obstacle::other_version));
    EXPECT_THAT(obstacles("any"), IsEmpty());
    insert("application_versions", {{"version_id", "2"},
                                    {"version_name", "v2"},
                                    {"version_timestamp", 2},
                                    {"created_at", 2},
                                    {"application_name", "shop"}});
    EXPECT_THAT(obstacles("any"), ElementsAre(Obstacle::not_latest));
    EXPECT_THAT(client().explain("any").text(), HasSubstr("set_latest_application_version"));
}

TEST_P(ClientExplain, limits_that_are_reached) {
    queue("q", {{"concurrency", 2}, {"worker_concurrency", 1}});
    executor("e1", "v1");
    executor("e2", "v1");
    waiting("w");
    running("r1", "e1");
    EXPECT_THAT(obstacles("w"), IsEmpty());
    running("r2", "e2");
    EXPECT_THAT(obstacles("w"), ElementsAre(Obstacle::concurrency, Obstacle::worker_concurrency));
    EXPECT_THAT(client().explain("w").text(), HasSubstr("2 of 2 workflows of the queue run"));
    execute("UPDATE @workflow_status SET application_name = 'another' WHERE workflow_uuid = 'r2'");
    EXPECT_THAT(obstacles("w"), IsEmpty());
}

TEST_P(ClientExplain, rates_that_are_used_up) {
    queue("q", {{"rate_limit_max", 2}, {"rate_limit_period_sec", 10}});
    executor("e1", "v1");
    waiting("w");
    running("r1", "e1", {{"rate_limited", true}});
    EXPECT_THAT(obstacles("w"), IsEmpty());
    running("r2", "e1", {{"rate_limited", true}});
    execute("UPDATE @workflow_status SET started_at_epoch_ms = " + std::to_string(now_ - 3000) +
            " WHERE workflow_uuid = 'r1'");
    EXPECT_THAT(obstacles("w"), ElementsAre(Obstacle::rate_limit));
    EXPECT_EQ(client().explain("w").reasons.at(0).until_epoch_ms, now_ + 7000);
    execute("UPDATE @workflow_status SET started_at_epoch_ms = " + std::to_string(now_ - 20'000) +
            " WHERE workflow_uuid = 'r1'");
    EXPECT_THAT(obstacles("w"), IsEmpty());
}

TEST_P(ClientExplain, partitions) {
    queue("q", {{"partition_queue", true},
                {"partition_concurrency", 1},
                {"partition_worker_concurrency", 1},
                {"partition_rate_limit_max", 1},
                {"partition_rate_limit_period_sec", 10}});
    executor("e1", "v1");
    waiting("keyless");
    waiting("a", {{"queue_partition_key", "k1"}});
    waiting("b", {{"queue_partition_key", "k2"}});
    running("r", "e1", {{"queue_partition_key", "k1"}, {"rate_limited", true}});
    EXPECT_TRUE(client().explain("keyless").has(Obstacle::no_partition_key));
    EXPECT_THAT(obstacles("a"),
                ElementsAre(Obstacle::partition_concurrency, Obstacle::partition_worker_concurrency,
                            Obstacle::partition_rate_limit));
    EXPECT_THAT(client().explain("a").text(), HasSubstr("partition \"k1\""));
    EXPECT_THAT(obstacles("b"), IsEmpty());
    waiting("b2", {{"queue_partition_key", "k2"}});
    EXPECT_THAT(obstacles("b2"), ElementsAre(Obstacle::others_first));
}

TEST_P(ClientExplain, a_database_without_executors_of_this_library) {
    queue("q");
    waiting("w");
    execute("DROP TABLE @dbos_cpp_executors");
    EXPECT_THAT(obstacles("w"), ElementsAre(Obstacle::no_executor));
}

}  // namespace
