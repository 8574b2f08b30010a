// Claims from a queue whose concurrency all processes share (safety 6).
#include "queue_fixture.hpp"

namespace dbos::sysdb::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class SharedClaims : public QueueTest {
   public:
    SharedClaimRequest shared(int concurrency, int limit = 100, const std::string& token = "t-1") const {
        return {.base = claim_of({{"q", limit}}, token), .concurrency = concurrency};
    }
};
DBOS_FOR_EVERY_DATABASE(SharedClaims);

TEST_P(SharedClaims, Claims_up_to_the_limit_and_says_when_nothing_is_left_of_it) {
    workflows("w", 5, 1000, 1, {{"workflow_timeout_ms", "5000"}});
    auto& mine = process();
    const auto first = mine.claim_shared(shared(2));
    EXPECT_THAT(ids(first.workflows), ElementsAre("w1", "w2"));
    EXPECT_FALSE(first.contended);
    EXPECT_FALSE(first.no_budget);
    EXPECT_EQ(value("status", "w1"), "PENDING");
    EXPECT_EQ(value("owner_xid", "w1"), "t-1");
    EXPECT_EQ(value("executor_id", "w1"), "me");
    EXPECT_EQ(number("recovery_attempts", "w1"), 1);
    EXPECT_EQ(number("workflow_deadline_epoch_ms", "w1"), number("started_at_epoch_ms", "w1") + 5000);
    const auto second = mine.claim_shared(shared(2, 100, "t-2"));
    EXPECT_THAT(second.workflows, IsEmpty());
    EXPECT_TRUE(second.no_budget);
    EXPECT_FALSE(second.contended);
    run("UPDATE @workflow_status SET status = 'SUCCESS', owner_xid = NULL WHERE workflow_uuid = 'w1'");
    EXPECT_THAT(ids(mine.claim_shared(shared(2, 100, "t-3")).workflows), ElementsAre("w3"));
}

TEST_P(SharedClaims, The_free_slots_of_the_process_bound_it_too) {
    workflows("w", 5, 1000, 1);
    EXPECT_THAT(ids(process().claim_shared(shared(4, 1)).workflows), ElementsAre("w1"));
}

TEST_P(SharedClaims, An_empty_queue_is_not_a_spent_budget) {
    const auto result = process().claim_shared(shared(2));
    EXPECT_THAT(result.workflows, IsEmpty());
    EXPECT_FALSE(result.no_budget);
}

TEST_P(SharedClaims, Running_rows_of_own_and_no_application_count_in_every_version) {
    workflow("a", {{"status", "PENDING"}, {"application_version", "v0"}});
    workflow("b", {{"status", "PENDING"}, {"application_name", std::nullopt}});
    workflow("c", {{"status", "PENDING"}, {"application_name", "billing"}});
    workflows("w", 5, 1000, 1);
    EXPECT_EQ(process().claim_shared(shared(3)).workflows.size(), 1u);
}

TEST_P(SharedClaims, More_than_one_queue_is_refused) {
    auto request = shared(1);
    request.base.queues.push_back({"r", 1});
    EXPECT_THROW(process().claim_shared(request), UsageError);
}

TEST_P(SharedClaims, Four_claimers_that_know_different_names_never_exceed_the_limit) {
    constexpr int kLimit = 10;
    constexpr int kEach = 60;
    for (int n = 0; n < 4; ++n) {
        workflows("w" + std::to_string(n) + "-", kEach, 1000, 1, {{"name", "job-" + std::to_string(n)}});
    }
    seam::Atomic<bool> stop{false};
    seam::Atomic<bool> give_up{false};
    std::vector<seam::Thread> threads;
    std::vector<int> finished(4, 0);
    for (std::size_t n = 0; n < 4; ++n) {
        SystemDatabase& mine = process();
        threads.push_back(seam::spawn("claimer", [this, n, &mine, &finished, &give_up] {
            auto connection = open();
            for (int round = 0; finished[n] < kEach && !give_up.load(); ++round) {
                auto request = shared(kLimit, 7, "t-" + std::to_string(n) + "-" + std::to_string(round));
                request.base.workflow_names = {"job-" + std::to_string(n)};
                const auto result = mine.claim_shared(request);
                for (const auto& row : result.workflows) {
                    connection->query(
                        "UPDATE @workflow_status SET status = 'SUCCESS', owner_xid = NULL WHERE "
                        "workflow_uuid = $1",
                        {std::string_view(row.workflow_id)}, sql::Access::write);
                    ++finished[n];
                }
                if (result.workflows.empty()) seam::sleep_for(std::chrono::milliseconds(1));
            }
        }));
    }
    std::int64_t peak = 0;
    seam::Thread watcher = seam::spawn("watcher", [&] {
        auto connection = open();
        const auto end = seam::steady_now() + std::chrono::seconds(60);
        while (!stop.load()) {
            const auto running =
                connection->query("SELECT count(*) FROM @workflow_status WHERE status = 'PENDING'")
                    .at(0, 0)
                    .integer();
            peak = std::max(peak, running);
            if (seam::steady_now() > end) give_up.store(true);
            seam::sleep_for(std::chrono::milliseconds(1));
        }
    });
    for (auto& thread : threads) thread.join();
    stop.store(true);
    watcher.join();
    EXPECT_LE(peak, kLimit);
    EXPECT_THAT(finished, testing::Each(kEach));
}

TEST_P(SharedClaims, A_claimer_of_other_names_cannot_count_before_the_first_has_committed) {
    // The hole of REPEATABLE READ with NOWAIT, step by step: it selects other rows, so nothing but the queue's lock is in
    // its way.
    if (!postgres()) GTEST_SKIP() << "SQLite has one writer at a time";
    workflows("a", 10, 1000, 1, {{"name", "A"}});
    workflows("b", 10, 1000, 1, {{"name", "B"}});
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    SystemDatabase& second = process();
    SharedClaimResult inner;
    bool nested = false;
    hooks->before = [&](const sql::Statement& statement, const sql::Params&) {
        if (std::string(statement.name) != "claim_shared_take" || nested) return;
        nested = true;
        auto request = shared(10, 10, "t-2");
        request.base.workflow_names = {"B"};
        inner = second.claim_shared(request);
    };
    auto request = shared(10, 10, "t-1");
    request.base.workflow_names = {"A"};
    const auto outer = process(hooks).claim_shared(request);
    ASSERT_TRUE(nested);
    EXPECT_TRUE(inner.contended);
    EXPECT_EQ(outer.workflows.size(), 10u);
    EXPECT_EQ(count("status = 'PENDING'"), 10);
}

TEST_P(SharedClaims, A_lock_on_the_head_contends_and_after_a_second_is_counted_as_running) {
    if (!postgres()) GTEST_SKIP() << "SQLite has no row locks";
    workflows("w", 6, 1000, 1);
    auto other = open();
    other->begin();
    other->query("SELECT 1 FROM @workflow_status WHERE workflow_uuid = 'w1' FOR UPDATE", {},
                 sql::Access::write);
    auto& mine = process();
    const auto first = mine.claim_shared(shared(3));
    EXPECT_TRUE(first.contended);
    EXPECT_THAT(first.workflows, IsEmpty());
    // A second later (told to the state instead of waited for).
    mine.core().claims->contended("q", false, seam::Duration(0));
    mine.core().claims->contended("q", true, seam::boot_now() - std::chrono::seconds(2));
    const auto second = mine.claim_shared(shared(3, 100, "t-2"));
    EXPECT_FALSE(second.contended);
    EXPECT_THAT(ids(second.workflows), ElementsAre("w2", "w3")) << "w1 counts as running";
    other->rollback();
    EXPECT_THAT(ids(mine.claim_shared(shared(3, 100, "t-3")).workflows), ElementsAre("w1"));
}

TEST_P(SharedClaims, A_lost_acknowledgement_is_looked_up_by_token) {
    workflows("w", 5, 1000, 1);
    int lost = 0;
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    hooks->lose_ack = [&](const std::string& what) { return what == "commit" && lost++ == 0; };
    const auto result = process(hooks).claim_shared(shared(2));
    EXPECT_GE(lost, 1);
    EXPECT_THAT(ids(result.workflows), ElementsAre("w1", "w2"));
    EXPECT_EQ(count("status = 'PENDING'"), 2);
}

TEST_P(SharedClaims, Schemas_do_not_hold_each_other_up) {
    if (!postgres()) GTEST_SKIP() << "one file, one schema";
    workflow("w");
    auto other = open();
    other->begin();
    other->query("SELECT pg_advisory_xact_lock(hashtextextended('dbos_cpp_claim:elsewhere:q', 0))", {},
                 sql::Access::write);
    EXPECT_FALSE(process().claim_shared(shared(2)).contended);
    other->rollback();
}

// ------------------------------------------------------------------------------------------------ rates

class RatedClaims : public SharedClaims {
   public:
    SharedClaimRequest rated(int max, Millis period, int limit = 100, const std::string& token = "t-1",
                             std::optional<std::int32_t> concurrency = {}) const {
        return {.base = claim_of({{"q", limit}}, token),
                .concurrency = concurrency,
                .rate = StartRate{.max = max, .period_ms = period}};
    }
    /// As if it had started so many milliseconds ago.
    void started(const std::string& id, std::int64_t ago, const Values& values = {}) {
        Values row{{"status", "SUCCESS"},
                   {"rate_limited", "TRUE"},
                   {"started_at_epoch_ms", std::to_string(now() - ago)}};
        if (!postgres()) row["rate_limited"] = "1";
        for (const auto& [column, value] : values) row[column] = value;
        workflow(id, row);
    }
};
DBOS_FOR_EVERY_DATABASE(RatedClaims);

TEST_P(RatedClaims, As_many_start_as_the_rate_allows_and_then_it_says_when_the_next_may) {
    workflows("w", 5, 1000, 1);
    auto& mine = process();
    const auto before = now();
    const auto first = mine.claim_shared(rated(3, 60'000));
    EXPECT_THAT(ids(first.workflows), ElementsAre("w1", "w2", "w3"));
    EXPECT_FALSE(first.no_budget);
    EXPECT_FALSE(first.budget_in);
    EXPECT_EQ(count("status = 'PENDING' AND rate_limited"), 3);
    EXPECT_GE(number("started_at_epoch_ms", "w1"), before);
    const auto second = mine.claim_shared(rated(3, 60'000, 100, "t-2"));
    EXPECT_THAT(second.workflows, IsEmpty());
    EXPECT_TRUE(second.no_budget);
    ASSERT_TRUE(second.budget_in);
    EXPECT_GT(*second.budget_in, 40'000);
    EXPECT_LE(*second.budget_in, 60'000);
}

TEST_P(RatedClaims, The_oldest_start_that_counts_says_when) {
    started("a", 55'000);
    started("b", 30'000);
    started("c", 10'000);
    workflow("w");
    auto& mine = process();
    const auto spent = mine.claim_shared(rated(3, 60'000));
    ASSERT_TRUE(spent.budget_in);
    EXPECT_GT(*spent.budget_in, 0);
    EXPECT_LE(*spent.budget_in, 5'000);
    const auto later = mine.claim_shared(rated(2, 60'000, 100, "t-2"));
    ASSERT_TRUE(later.budget_in);
    EXPECT_GT(*later.budget_in, 20'000) << "two starts have to leave the period";
    EXPECT_THAT(ids(mine.claim_shared(rated(3, 50'000, 100, "t-3")).workflows), ElementsAre("w"));
}

TEST_P(RatedClaims, What_counts_are_marked_starts_of_own_and_no_application_that_are_not_undone) {
    started("unmarked", 1'000, {{"rate_limited", postgres() ? "FALSE" : "0"}});
    started("foreign", 1'000, {{"application_name", "billing"}});
    started("requeued", 1'000, {{"status", "ENQUEUED"}, {"application_version", "elsewhere"}});
    started("cancelled", 1'000, {{"status", "CANCELLED"}, {"started_at_epoch_ms", std::nullopt}});
    started("other queue", 1'000, {{"queue_name", "r"}});
    started("old", 61'000);
    started("unclaimed", 1'000, {{"application_name", std::nullopt}});
    started("running", 1'000, {{"status", "PENDING"}});
    workflows("w", 5, 1000, 1);
    EXPECT_THAT(ids(process().claim_shared(rated(3, 60'000)).workflows), ElementsAre("w1"));
}

TEST_P(RatedClaims, A_spent_rate_opens_no_transaction) {
    started("a", 1'000);
    workflow("w");
    std::vector<std::string> statements;
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    hooks->before = [&](const sql::Statement& statement, const sql::Params&) {
        statements.emplace_back(statement.name);
    };
    auto& mine = process(hooks);
    EXPECT_TRUE(mine.claim_shared(rated(1, 60'000)).no_budget);
    if (postgres()) {
        EXPECT_THAT(statements, ElementsAre("claim_budget"));
    } else {
        EXPECT_THAT(statements, ElementsAre("claim_starts"));
    }
}

TEST_P(RatedClaims, Both_limits_hold) {
    workflows("w", 9, 1000, 1);
    auto& mine = process();
    EXPECT_EQ(mine.claim_shared(rated(3, 60'000, 100, "t-1", 2)).workflows.size(), 2u);
    const auto full = mine.claim_shared(rated(3, 60'000, 100, "t-2", 2));
    EXPECT_TRUE(full.no_budget);
    EXPECT_FALSE(full.budget_in) << "a slot is what it waits for";
    run("UPDATE @workflow_status SET status = 'SUCCESS' WHERE status = 'PENDING'");
    EXPECT_EQ(mine.claim_shared(rated(3, 60'000, 100, "t-3", 2)).workflows.size(), 1u);
    run("UPDATE @workflow_status SET status = 'SUCCESS' WHERE status = 'PENDING'");
    EXPECT_TRUE(mine.claim_shared(rated(3, 60'000, 100, "t-4", 2)).budget_in);
}

TEST_P(RatedClaims, A_locked_head_admits_nothing) {
    if (!postgres()) GTEST_SKIP() << "SQLite has no row locks";
    workflows("w", 6, 1000, 1);
    auto other = open();
    other->begin();
    other->query("SELECT 1 FROM @workflow_status WHERE workflow_uuid = 'w1' FOR UPDATE", {},
                 sql::Access::write);
    const auto result = process().claim_shared(rated(3, 60'000));
    EXPECT_TRUE(result.contended);
    EXPECT_THAT(result.workflows, IsEmpty());
    other->rollback();
}

TEST_P(RatedClaims, Four_claimers_that_know_different_names_never_exceed_the_rate) {
    constexpr int kMax = 5;
    constexpr Millis kPeriod = 150;
    constexpr int kEach = 12;
    for (int n = 0; n < 4; ++n)
        workflows("w" + std::to_string(n) + "-", kEach, 1000, 1, {{"name", "job-" + std::to_string(n)}});
    std::vector<seam::Thread> threads;
    const auto end = seam::steady_now() + std::chrono::seconds(60);
    for (int n = 0; n < 4; ++n) {
        SystemDatabase& mine = process();
        threads.push_back(seam::spawn("claimer", [this, n, &mine, end] {
            int claimed = 0;
            for (int round = 0; claimed < kEach && seam::steady_now() < end; ++round) {
                auto request =
                    rated(kMax, kPeriod, 7, "t-" + std::to_string(n) + "-" + std::to_string(round));
                request.base.workflow_names = {"job-" + std::to_string(n)};
                claimed += static_cast<int>(mine.claim_shared(request).workflows.size());
                seam::sleep_for(std::chrono::milliseconds(1));
            }
        }));
    }
    for (auto& thread : threads) thread.join();
    const auto rows =
        run("SELECT started_at_epoch_ms FROM @workflow_status WHERE status = 'PENDING' ORDER BY 1");
    ASSERT_EQ(rows.size(), 4u * kEach);
    for (std::size_t n = kMax; n < rows.size(); ++n) {
        EXPECT_GE(rows.at(n, 0).integer() - rows.at(n - kMax, 0).integer(), kPeriod)
            << "more than " << kMax << " starts in one period";
    }
}

}  // namespace
}  // namespace dbos::sysdb::test
