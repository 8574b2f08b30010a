// Claims from partitioned queues (safety 55, queues-and-schedules.md 1.5 and 1.6).
#include <set>

#include "queue_fixture.hpp"

namespace dbos::sysdb::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

class PartitionClaims : public QueueTest {
   public:
    static QueueLimits exclusive() {
        QueueLimits limits;
        limits.partitioned = true;
        limits.partition_concurrency = 1;
        return limits;
    }
    PartitionClaimRequest request(const QueueLimits& limits, int limit = 100,
                                  const std::string& token = "t-1") const {
        return {.base = claim_of({{"q", limit}}, token), .limits = limits, .running = {}, .signals = 0};
    }
    void keyed(const std::string& key, int count, const Values& values = {}) {
        Values row{{"queue_partition_key", key}};
        for (const auto& [column, value] : values) row[column] = value;
        workflows(key, count, 1000, 1, row);
    }
    void end(const std::string& where) {
        run("UPDATE @workflow_status SET status = 'SUCCESS', owner_xid = NULL WHERE status = 'PENDING' AND " +
            where);
    }
    std::string marked() const { return postgres() ? "TRUE" : "1"; }
};
DBOS_FOR_EVERY_DATABASE(PartitionClaims);

TEST_P(PartitionClaims, One_of_each_key_runs_at_a_time_in_order) {
    keyed("a", 3, {{"workflow_timeout_ms", "5000"}});
    keyed("b", 3);
    auto& mine = process();
    const auto first = mine.claim_partitions(request(exclusive()));
    EXPECT_THAT(ids(first.workflows), UnorderedElementsAre("a1", "b1"));
    EXPECT_EQ(first.workflows.front().queue_partition_key.value_or(""),
              first.workflows.front().workflow_id.substr(0, 1));
    EXPECT_EQ(value("owner_xid", "a1"), "t-1");
    EXPECT_EQ(value("executor_id", "a1"), "me");
    EXPECT_EQ(number("recovery_attempts", "a1"), 1);
    EXPECT_EQ(number("workflow_deadline_epoch_ms", "a1"), number("started_at_epoch_ms", "a1") + 5000);
    EXPECT_EQ(count("rate_limited"), 0);
    EXPECT_THAT(mine.claim_partitions(request(exclusive(), 100, "t-2")).workflows, IsEmpty());
    end("workflow_uuid = 'b1'");
    EXPECT_THAT(ids(mine.claim_partitions(request(exclusive(), 100, "t-3")).workflows), ElementsAre("b2"));
}

TEST_P(PartitionClaims, Full_partitions_cost_no_transaction) {
    keyed("a", 3);
    std::vector<std::string> statements;
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    hooks->before = [&](const sql::Statement& statement, const sql::Params&) {
        statements.emplace_back(statement.name);
    };
    auto& mine = process(hooks);
    mine.claim_partitions(request(exclusive()));
    statements.clear();
    EXPECT_THAT(mine.claim_partitions(request(exclusive(), 100, "t-2")).workflows, IsEmpty());
    if (postgres()) {
        EXPECT_THAT(statements, ElementsAre("claim_keys"));
    } else {
        EXPECT_THAT(statements, ElementsAre("claim_key_first", "claim_key_running", "claim_key_next"));
    }
}

TEST_P(PartitionClaims, Rows_without_a_key_are_never_claimed) {
    workflows("w", 3, 1000, 1);
    keyed("a", 1);
    EXPECT_THAT(ids(process().claim_partitions(request(exclusive())).workflows), ElementsAre("a1"));
    EXPECT_THAT(process().claim_partitions(request(exclusive(), 100, "t-2")).workflows, IsEmpty());
}

TEST_P(PartitionClaims, Running_rows_of_other_applications_hold_their_key) {
    keyed("a", 1);
    keyed("b", 1);
    workflow("theirs",
             {{"queue_partition_key", "a"}, {"status", "PENDING"}, {"application_name", "billing"}});
    EXPECT_THAT(ids(process().claim_partitions(request(exclusive())).workflows), ElementsAre("b1"));
}

TEST_P(PartitionClaims, The_head_of_a_key_is_looked_for_without_names_and_left_alone_if_it_is_not_ours) {
    keyed("a", 1, {{"name", "elsewhere"}});
    workflow("a-1", {{"queue_partition_key", "a"}, {"created_at", "2000"}});
    keyed("b", 1);
    EXPECT_THAT(ids(process().claim_partitions(request(exclusive())).workflows), ElementsAre("b1"));
    QueueLimits two = exclusive();
    two.partition_concurrency = 2;
    EXPECT_THAT(ids(process().claim_partitions(request(two, 100, "t-2")).workflows), ElementsAre("a-1"));
}

TEST_P(PartitionClaims, Heads_are_chosen_among_own_versions_and_applications) {
    keyed("a", 1, {{"application_version", "v0"}});
    workflow("a-1", {{"queue_partition_key", "a"}, {"created_at", "2000"}});
    keyed("b", 1, {{"application_name", "billing"}});
    keyed("c", 1, {{"application_version", std::nullopt}});
    auto& mine = process();
    auto old = request(exclusive());
    old.base.is_latest_version = false;
    EXPECT_THAT(ids(mine.claim_partitions(old).workflows), ElementsAre("a-1"));
    EXPECT_THAT(ids(mine.claim_partitions(request(exclusive(), 100, "t-2")).workflows), ElementsAre("c1"));
    EXPECT_EQ(value("application_version", "c1"), "v1");
}

TEST_P(PartitionClaims, Priority_orders_a_key) {
    keyed("a", 2);
    workflow("first", {{"queue_partition_key", "a"}, {"priority", "-1"}, {"created_at", "9000"}});
    EXPECT_THAT(ids(process().claim_partitions(request(exclusive())).workflows), ElementsAre("first"));
}

TEST_P(PartitionClaims, A_short_budget_is_shared_out_at_random_and_starves_no_key) {
    constexpr int kKeys = 12;
    for (int key = 0; key < kKeys; ++key) keyed("k" + std::to_string(key) + "-", 3);
    auto& mine = process();
    std::set<std::string> first;
    std::set<std::string> seen;
    for (int round = 0; round < 3 * kKeys; ++round) {
        const auto result = mine.claim_partitions(request(exclusive(), 1, "t-" + std::to_string(round)));
        ASSERT_EQ(result.workflows.size(), 1u) << round;
        if (round < kKeys) first.insert(*result.workflows[0].queue_partition_key);
        end("TRUE");
    }
    EXPECT_GT(first.size(), 3u) << "a third of the claims went to few of the keys";
    EXPECT_EQ(count("status = 'ENQUEUED'"), 0);
}

TEST_P(PartitionClaims, A_pass_looks_at_a_part_of_the_keys_and_the_next_one_goes_on_behind_it) {
    constexpr int kKeys = 150;  // more than the smallest pass
    workflows("w", kKeys, 1000, 1);
    run("UPDATE @workflow_status SET queue_partition_key = 'k' || (1000 + created_at)");
    auto& mine = process();
    std::set<std::string> claimed;
    int passes = 0;
    for (bool more = true; more && passes < 300; ++passes) {
        const auto result = mine.claim_partitions(request(exclusive(), 5, "t-" + std::to_string(passes)));
        for (const auto& row : result.workflows) claimed.insert(row.workflow_id);
        more = result.more;
    }
    EXPECT_EQ(claimed.size(), static_cast<std::size_t>(kKeys));
    EXPECT_LT(passes, 100);
}

TEST_P(PartitionClaims, A_flooded_key_leaves_room_for_the_others) {
    QueueLimits limits = exclusive();
    limits.partition_concurrency = 50;
    keyed("big", 500);
    keyed("x", 1);
    keyed("y", 1);
    const auto result = process().claim_partitions(request(limits, 10));
    EXPECT_EQ(result.workflows.size(), 10u);
    EXPECT_THAT(ids(result.workflows), testing::IsSupersetOf({"x1", "y1"}));
}

TEST_P(PartitionClaims, Limits_of_a_key_hold_beside_each_other) {
    QueueLimits limits;
    limits.partitioned = true;
    limits.partition_concurrency = 3;
    limits.partition_worker_concurrency = 2;
    keyed("a", 9);
    keyed("b", 9);
    auto& mine = process();
    EXPECT_THAT(ids(mine.claim_partitions(request(limits)).workflows),
                UnorderedElementsAre("a1", "a2", "b1", "b2"));
    auto again = request(limits, 100, "t-2");
    again.running = {{"a", 2}, {"b", 2}};
    EXPECT_THAT(mine.claim_partitions(again).workflows, IsEmpty());
    again.running = {{"a", 2}};  // as another process sees it
    again.base.token = "t-3";
    EXPECT_THAT(ids(mine.claim_partitions(again).workflows), ElementsAre("b3"));
}

TEST_P(PartitionClaims, A_limit_of_each_process_alone_needs_no_lock_of_the_queue) {
    QueueLimits limits;
    limits.partitioned = true;
    limits.partition_worker_concurrency = 2;
    keyed("a", 5);
    std::vector<std::string> statements;
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    hooks->before = [&](const sql::Statement& statement, const sql::Params&) {
        statements.emplace_back(statement.name);
    };
    EXPECT_THAT(ids(process(hooks).claim_partitions(request(limits)).workflows), ElementsAre("a1", "a2"));
    EXPECT_THAT(statements, Not(Contains("claim_queue_lock")));
}

TEST_P(PartitionClaims, Limits_of_the_queue_hold_beside_those_of_its_keys) {
    QueueLimits limits = exclusive();
    limits.partition_concurrency = 2;
    limits.concurrency = 3;
    keyed("a", 5);
    keyed("b", 5);
    auto& mine = process();
    EXPECT_EQ(mine.claim_partitions(request(limits)).workflows.size(), 3u);
    const auto full = mine.claim_partitions(request(limits, 100, "t-2"));
    EXPECT_THAT(full.workflows, IsEmpty());
    EXPECT_FALSE(full.contended);
    end("workflow_uuid = 'a1'");
    EXPECT_EQ(mine.claim_partitions(request(limits, 100, "t-3")).workflows.size(), 1u);
    EXPECT_LE(count("status = 'PENDING' AND queue_partition_key = 'a'"), 2);
    EXPECT_LE(count("status = 'PENDING' AND queue_partition_key = 'b'"), 2);
}

TEST_P(PartitionClaims, A_rate_of_each_key) {
    QueueLimits limits;
    limits.partitioned = true;
    limits.partition_rate = StartRate{.max = 2, .period_ms = 60'000};
    keyed("a", 5);
    keyed("b", 1);
    auto& mine = process();
    EXPECT_THAT(ids(mine.claim_partitions(request(limits)).workflows),
                UnorderedElementsAre("a1", "a2", "b1"));
    EXPECT_EQ(count("rate_limited AND status = 'PENDING'"), 3);
    end("TRUE");
    const auto spent = mine.claim_partitions(request(limits, 100, "t-2"));
    EXPECT_THAT(spent.workflows, IsEmpty());
    EXPECT_FALSE(spent.budget_in) << "other keys may start at once";
    ASSERT_TRUE(spent.key_budget_in);
    EXPECT_GT(*spent.key_budget_in, 40'000);
    keyed("c", 1);
    EXPECT_THAT(ids(mine.claim_partitions(request(limits, 100, "t-3")).workflows), ElementsAre("c1"));
}

TEST_P(PartitionClaims, Both_rates_bind) {
    QueueLimits limits;
    limits.partitioned = true;
    limits.partition_rate = StartRate{.max = 2, .period_ms = 60'000};
    limits.rate = StartRate{.max = 3, .period_ms = 60'000};
    keyed("a", 5);
    keyed("b", 5);
    auto& mine = process();
    EXPECT_EQ(mine.claim_partitions(request(limits)).workflows.size(), 3u);
    EXPECT_LE(count("status = 'PENDING' AND queue_partition_key = 'a'"), 2);
    EXPECT_LE(count("status = 'PENDING' AND queue_partition_key = 'b'"), 2);
    end("TRUE");
    const auto spent = mine.claim_partitions(request(limits, 100, "t-2"));
    EXPECT_THAT(spent.workflows, IsEmpty());
    EXPECT_TRUE(spent.budget_in);
}

TEST_P(PartitionClaims, The_old_form_holds_its_plain_limits_for_each_key) {
    QueueRow row;
    row.name = "q";
    row.partition_queue = true;
    row.concurrency = 2;
    row.worker_concurrency = 1;
    row.rate_limit_max = 5;
    row.rate_limit_period_sec = 1.8;
    QueueLimits limits = limits_of(row);
    EXPECT_TRUE(limits.partitioned);
    EXPECT_FALSE(limits.queue_wide());
    EXPECT_FALSE(limits.worker_concurrency);
    EXPECT_EQ(limits.partition_concurrency, 2);
    EXPECT_EQ(limits.partition_worker_concurrency, 1);
    EXPECT_EQ(limits.partition_rate, (StartRate{.max = 5, .period_ms = 1800}));
    keyed("a", 5);
    keyed("b", 5);
    EXPECT_THAT(ids(process().claim_partitions(request(limits)).workflows), UnorderedElementsAre("a1", "b1"));
    row.worker_concurrency = 0;
    EXPECT_THAT(process().claim_partitions(request(limits_of(row), 100, "t-2")).workflows, IsEmpty());
    row.partition_concurrency = 3;  // the new form: the plain limits are of the queue
    limits = limits_of(row);
    EXPECT_EQ(limits.concurrency, 2);
    EXPECT_EQ(limits.worker_concurrency, 0);
    EXPECT_TRUE(limits.rate);
    EXPECT_FALSE(limits.partition_rate);
}

TEST_P(PartitionClaims, A_locked_head_holds_up_its_key_alone) {
    if (!postgres()) GTEST_SKIP() << "SQLite has no row locks";
    keyed("a", 3);
    keyed("b", 3);
    auto other = open();
    other->begin();
    other->query("SELECT 1 FROM @workflow_status WHERE workflow_uuid = 'a1' FOR UPDATE", {},
                 sql::Access::write);
    QueueLimits limits = exclusive();
    auto& mine = process();
    EXPECT_THAT(ids(mine.claim_partitions(request(limits)).workflows), ElementsAre("b1"));
    const auto blocked = mine.claim_partitions(request(limits, 100, "t-2"));
    EXPECT_TRUE(blocked.contended);
    EXPECT_THAT(blocked.workflows, IsEmpty());
    limits.concurrency = 9;  // SERIALIZABLE
    end("TRUE");
    EXPECT_THAT(ids(mine.claim_partitions(request(limits, 100, "t-3")).workflows), ElementsAre("b2"));
    other->rollback();
    EXPECT_THAT(ids(mine.claim_partitions(request(limits, 100, "t-4")).workflows), ElementsAre("a1"));
}

TEST_P(PartitionClaims, A_head_that_leaves_the_queue_meanwhile_is_not_claimed) {
    if (!postgres()) GTEST_SKIP() << "SQLite looks under the writers' lock";
    keyed("a", 2);
    keyed("b", 1);
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    hooks->before = [&](const sql::Statement& statement, const sql::Params&) {
        if (std::string(statement.name) == "claim_partition_lock")
            run("UPDATE @workflow_status SET queue_name = '_dbos_internal_queue' WHERE workflow_uuid = 'a1'");
    };
    EXPECT_THAT(ids(process(hooks).claim_partitions(request(exclusive())).workflows), ElementsAre("b1"));
    EXPECT_EQ(value("status", "a1"), "ENQUEUED");
}

TEST_P(PartitionClaims, What_starts_between_the_look_and_the_lock_is_counted) {
    if (!postgres()) GTEST_SKIP() << "SQLite looks under the writers' lock";
    keyed("a", 2);
    for (const bool wide : {false, true}) {
        QueueLimits limits = exclusive();
        if (wide) limits.concurrency = 1;
        auto hooks = std::make_shared<HookedConnection::Hooks>();
        hooks->before = [&](const sql::Statement& statement, const sql::Params&) {
            if (std::string(statement.name) == "claim_bounds")
                run("UPDATE @workflow_status SET status = 'PENDING' WHERE workflow_uuid = 'a2'");
        };
        EXPECT_THAT(process(hooks).claim_partitions(request(limits)).workflows, IsEmpty()) << wide;
        run("UPDATE @workflow_status SET status = 'ENQUEUED' WHERE workflow_uuid = 'a2'");
    }
}

TEST_P(PartitionClaims, Claimers_of_different_keys_and_names_never_exceed_any_limit) {
    constexpr int kEach = 30;
    for (const std::string key : {"a", "b", "c"}) {
        for (int n = 0; n < 3; ++n)
            keyed(key + std::to_string(n) + "-", kEach / 3,
                  {{"queue_partition_key", key}, {"name", "job-" + std::to_string(n)}});
    }
    QueueLimits limits;
    limits.partitioned = true;
    limits.partition_concurrency = 2;
    limits.concurrency = 4;
    seam::Atomic<bool> stop{false};
    std::vector<seam::Thread> threads;
    const auto end = seam::steady_now() + std::chrono::seconds(60);
    for (int n = 0; n < 3; ++n) {
        SystemDatabase& mine = process();
        threads.push_back(seam::spawn("claimer", [this, n, &mine, limits, end] {
            auto connection = open();
            int finished = 0;
            for (int round = 0; finished < kEach && seam::steady_now() < end; ++round) {
                auto asked = request(limits, 7, "t-" + std::to_string(n) + "-" + std::to_string(round));
                asked.base.workflow_names = {"job-" + std::to_string(n)};
                const auto result = mine.claim_partitions(asked);
                for (const auto& row : result.workflows) {
                    connection->query(
                        "UPDATE @workflow_status SET status = 'SUCCESS', owner_xid = NULL WHERE "
                        "workflow_uuid = $1",
                        {std::string_view(row.workflow_id)}, sql::Access::write);
                    ++finished;
                }
                if (result.workflows.empty()) seam::sleep_for(std::chrono::milliseconds(1));
            }
        }));
    }
    std::int64_t most = 0;
    std::int64_t most_of_key = 0;
    seam::Thread watcher = seam::spawn("watcher", [&] {
        auto connection = open();
        while (!stop.load()) {
            const auto running = connection->query(
                "SELECT count(*) FROM @workflow_status WHERE status = 'PENDING' GROUP BY "
                "queue_partition_key");
            std::int64_t all = 0;
            for (std::size_t row = 0; row < running.size(); ++row) {
                all += running.at(row, 0).integer();
                most_of_key = std::max(most_of_key, running.at(row, 0).integer());
            }
            most = std::max(most, all);
            seam::sleep_for(std::chrono::milliseconds(1));
        }
    });
    for (auto& thread : threads) thread.join();
    stop.store(true);
    watcher.join();
    EXPECT_LE(most, 4);
    EXPECT_LE(most_of_key, 2);
    EXPECT_EQ(count("status = 'SUCCESS'"), 3 * kEach);
}

TEST_P(PartitionClaims, Two_sweeps_claim_every_head_exactly_once) {
    constexpr int kKeys = 60;
    workflows("w", kKeys, 1000, 1);
    run("UPDATE @workflow_status SET queue_partition_key = 'k' || (1000 + created_at)");
    std::vector<seam::Thread> threads;
    std::vector<std::vector<std::string>> claimed(2);
    const auto end = seam::steady_now() + std::chrono::seconds(60);
    for (std::size_t n = 0; n < 2; ++n) {
        SystemDatabase& mine = process();
        threads.push_back(seam::spawn("claimer", [this, n, &mine, &claimed, end] {
            for (int round = 0; seam::steady_now() < end; ++round) {
                const auto result = mine.claim_partitions(
                    request(exclusive(), 4, "t-" + std::to_string(n) + "-" + std::to_string(round)));
                for (const auto& row : result.workflows) claimed[n].push_back(row.workflow_id);
                if (!result.more && !result.contended) return;
            }
        }));
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(claimed[0].size() + claimed[1].size(), static_cast<std::size_t>(kKeys));
    std::set<std::string> distinct(claimed[0].begin(), claimed[0].end());
    distinct.insert(claimed[1].begin(), claimed[1].end());
    EXPECT_EQ(distinct.size(), static_cast<std::size_t>(kKeys));
}

TEST_P(PartitionClaims, A_lost_acknowledgement_is_looked_up_by_token) {
    keyed("a", 3);
    keyed("b", 3);
    int lost = 0;
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    hooks->lose_ack = [&](const std::string& what) { return what == "commit" && lost++ == 0; };
    const auto result = process(hooks).claim_partitions(request(exclusive()));
    EXPECT_GE(lost, 1);
    EXPECT_THAT(ids(result.workflows), UnorderedElementsAre("a1", "b1"));
    EXPECT_EQ(count("status = 'PENDING'"), 2);
}

TEST_P(PartitionClaims, More_than_one_queue_is_refused) {
    auto asked = request(exclusive());
    asked.base.queues.push_back({"r", 1});
    EXPECT_THROW(process().claim_partitions(asked), UsageError);
}

}  // namespace
}  // namespace dbos::sysdb::test
