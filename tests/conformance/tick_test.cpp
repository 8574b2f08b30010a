// The tick: what it reports, and that it writes nothing.
#include "queue_fixture.hpp"

namespace dbos::sysdb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

class Ticks : public QueueTest {};
DBOS_FOR_EVERY_DATABASE(Ticks);

TEST_P(Ticks, An_idle_database_reports_nothing) {
    const std::int64_t before = now();
    auto& mine = process();
    const TickReport report = mine.tick(tick_of());
    EXPECT_GE(report.database_now_ms, before - 1);
    EXPECT_LE(report.database_now_ms, now() + 1);
    EXPECT_FALSE(report.due_delays);
    EXPECT_FALSE(report.passed_deadlines);
    EXPECT_THAT(report.lost, IsEmpty());
    EXPECT_EQ(report.latest_version, std::nullopt);
    EXPECT_THAT(report.queues_with_work, IsEmpty());
    EXPECT_THAT(report.leases, IsEmpty());
    EXPECT_NEAR(static_cast<double>(mine.clock().now_ms()), static_cast<double>(now()), 2000);
}

TEST_P(Ticks, Due_delays_and_passed_deadlines_of_own_and_unclaimed_rows) {
    auto& mine = process();
    auto request = tick_of();
    const std::string due = std::to_string(request.now_ms);
    const std::string later = std::to_string(request.now_ms + 1);
    workflow("a", {{"status", "DELAYED"}, {"delay_until_epoch_ms", later}});
    workflow("b", {{"workflow_deadline_epoch_ms", later}});
    workflow("c", {{"status", "DELAYED"}, {"delay_until_epoch_ms", due}, {"application_name", "billing"}});
    workflow("d", {{"workflow_deadline_epoch_ms", due}, {"application_name", "billing"}});
    workflow("e", {{"workflow_deadline_epoch_ms", due}, {"status", "SUCCESS"}});
    auto report = mine.tick(request);
    EXPECT_FALSE(report.due_delays);
    EXPECT_FALSE(report.passed_deadlines);
    request.now_ms += 1;
    report = mine.tick(request);
    EXPECT_TRUE(report.due_delays);
    EXPECT_TRUE(report.passed_deadlines);
    request.application_name.reset();
    request.now_ms -= 1;
    report = mine.tick(request);
    EXPECT_TRUE(report.due_delays);
    EXPECT_TRUE(report.passed_deadlines);
}

TEST_P(Ticks, Runs_that_are_lost_pair_by_pair) {
    workflow("mine", {{"status", "PENDING"}, {"owner_xid", "t1"}});
    workflow("cancelled", {{"status", "CANCELLED"}, {"owner_xid", std::nullopt}});
    workflow("taken", {{"status", "PENDING"}, {"owner_xid", "t2"}});
    auto request = tick_of();
    request.running = {{"mine", "t1"}, {"cancelled", "t1"}, {"taken", "t1"}, {"taken", "t2"}, {"gone", "t1"}};
    const auto report = process().tick(request);
    std::map<std::string, std::string> lost;
    for (const auto& entry : report.lost)
        lost[entry.fence.workflow_id + "/" + entry.fence.token] = entry.status;
    EXPECT_THAT(lost, ElementsAre(testing::Pair("cancelled/t1", "CANCELLED"), testing::Pair("gone/t1", ""),
                                  testing::Pair("taken/t1", "PENDING")));
}

TEST_P(Ticks, Queues_with_claimable_rows_only_and_in_the_order_asked) {
    workflow("a", {{"queue_name", "work"}});
    workflow("b", {{"queue_name", "version"}, {"application_version", "v0"}});
    workflow("c", {{"queue_name", "name"}, {"name", "elsewhere"}});
    workflow("d", {{"queue_name", "owner"}, {"application_name", "billing"}});
    workflow("e", {{"queue_name", "latest"}, {"application_version", std::nullopt}});
    workflow("f", {{"queue_name", "unasked"}});
    workflow("g", {{"queue_name", "running"}, {"status", "PENDING"}});
    auto& mine = process();
    auto request = tick_of({"work", "version", "name", "owner", "latest", "running", "empty"});
    EXPECT_THAT(mine.tick(request).queues_with_work, ElementsAre("work", "latest"));
    request.is_latest_version = false;
    EXPECT_THAT(mine.tick(request).queues_with_work, ElementsAre("work"));
    request.queues = {};
    EXPECT_THAT(mine.tick(request).queues_with_work, IsEmpty());
}

TEST_P(Ticks, Rows_deep_behind_others_are_seen) {
    for (const int depth : {99, 100, 101, 500, 2000}) {
        const std::string queue = "q" + std::to_string(depth);
        workflows("foreign" + queue + "-", depth, 1000, 1, {{"queue_name", queue}, {"name", "elsewhere"}});
        workflow("mine-" + queue, {{"queue_name", queue}, {"created_at", "9000"}});
        auto& mine = process();
        EXPECT_THAT(mine.tick(tick_of({queue})).queues_with_work, ElementsAre(queue));
        EXPECT_THAT(mine.tick(tick_of({queue})).queues_with_work, ElementsAre(queue)) << "and again";
        EXPECT_THAT(ids(mine.claim(claim_of({{queue, 5}})).workflows), ElementsAre("mine-" + queue));
    }
}

TEST_P(Ticks, New_rows_behind_a_head_of_nothing_but_others_are_seen_at_the_next_tick) {
    workflows("foreign", 2000, 1000, 1, {{"name", "elsewhere"}});
    auto& mine = process();
    EXPECT_THAT(mine.tick(tick_of()).queues_with_work, IsEmpty());
    workflow("mine", {{"created_at", "9000"}});
    EXPECT_THAT(mine.tick(tick_of()).queues_with_work, ElementsAre("q"));
}

TEST_P(Ticks, The_fingerprint_changes_with_rows_in_scope) {
    auto& mine = process();
    QueueRow row;
    row.name = "q";
    row.application_name = "app";
    std::vector<std::string> prints{mine.tick(tick_of()).queues_fingerprint};
    mine.upsert_queue(row, true);
    prints.push_back(mine.tick(tick_of()).queues_fingerprint);
    EXPECT_EQ(mine.tick(tick_of()).queues_fingerprint, prints.back());
    row.worker_concurrency = 3;
    mine.upsert_queue(row, true);
    prints.push_back(mine.tick(tick_of()).queues_fingerprint);
    run("UPDATE @queues SET concurrency = 5");  // by whoever does not care for updated_at
    prints.push_back(mine.tick(tick_of()).queues_fingerprint);
    run("DELETE FROM @queues");
    EXPECT_EQ(mine.tick(tick_of()).queues_fingerprint, prints.front());
    row.name = "foreign";
    row.application_name = "billing";
    mine.upsert_queue(row, true);
    EXPECT_EQ(mine.tick(tick_of()).queues_fingerprint, prints.front());
    std::ranges::sort(prints);
    EXPECT_EQ(std::ranges::adjacent_find(prints), prints.end());
}

TEST_P(Ticks, The_latest_version_and_the_leases) {
    auto& mine = process();
    mine.register_version("v7", "app");
    for (const char* id : {"b", "a"}) {
        LeaseRow lease{.application_name = "app",
                       .executor_id = id,
                       .incarnation = std::string(id) + "-1",
                       .version = "v7",
                       .counter = 3,
                       .host_key = "h",
                       .pid = 12,
                       .process_start = 34};
        mine.take_lease(lease, std::nullopt, 7s);
    }
    LeaseRow foreign{.application_name = "billing",
                     .executor_id = "z",
                     .incarnation = "z",
                     .version = "v7",
                     .host_key = {}};
    mine.take_lease(foreign, std::nullopt, 7s);
    const auto report = mine.tick(tick_of());
    EXPECT_EQ(report.latest_version, "v7");
    ASSERT_EQ(report.leases.size(), 2u);
    const LeaseRow& first = report.leases[0];
    EXPECT_EQ(first.application_name, "app");
    EXPECT_EQ(first.executor_id, "a");
    EXPECT_EQ(first.incarnation, "a-1");
    EXPECT_EQ(first.version, "v7");
    EXPECT_EQ(first.counter, 3);
    EXPECT_GT(first.expires_at, report.database_now_ms + 5000);
    EXPECT_EQ(first.lease_ms, 7000);
    EXPECT_EQ(first.host_key, "h");
    EXPECT_EQ(first.pid, 12);
    EXPECT_EQ(first.process_start, 34);
    auto nameless = tick_of();
    nameless.application_name.reset();
    EXPECT_THAT(mine.tick(nameless).leases, IsEmpty());
}

TEST_P(Ticks, A_failure_is_thrown_and_the_next_tick_works) {
    int lost = 0;
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    hooks->lose_ack = [&](const std::string& what) {
        return (what == "tick" || what == "commit") && lost++ == 0;
    };
    auto& mine = process(hooks);
    EXPECT_THROW(mine.tick(tick_of()), DatabaseError);
    workflow("w");
    EXPECT_THAT(mine.tick(tick_of()).queues_with_work, ElementsAre("q"));
}

TEST_P(Ticks, One_statement_a_tick_whatever_the_number_of_queues) {
    if (!postgres()) GTEST_SKIP() << "SQLite asks in one read transaction";
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    std::vector<std::string> statements;
    hooks->before = [&](const sql::Statement& statement, const sql::Params&) {
        statements.emplace_back(statement.name);
    };
    auto& mine = process(hooks);
    std::vector<std::string> queues;
    for (int n = 0; n < 500; ++n) {
        queues.push_back("q" + std::to_string(n));
        if (n % 2 == 0) workflow("w" + std::to_string(n), {{"queue_name", queues.back()}});
    }
    EXPECT_EQ(mine.tick(tick_of(queues)).queues_with_work.size(), 250u);
    EXPECT_THAT(statements, ElementsAre("tick"));
}

TEST_P(Ticks, Limits_that_are_used_up_and_rows_without_a_key_are_no_work) {
    workflows("w", 3, 1000, 1);
    workflow("running", {{"status", "PENDING"}});
    workflow("theirs", {{"status", "PENDING"}, {"application_name", "billing"}});
    workflows("k", 3, 1000, 1, {{"queue_name", "k"}});
    auto request = tick_of({"q", "k"});
    auto& mine = process();
    EXPECT_THAT(mine.tick(request).queues_with_work, ElementsAre("q", "k"));
    request.limits["k"].partitioned = true;
    request.limits["q"].concurrency = 2;
    EXPECT_THAT(mine.tick(request).queues_with_work, ElementsAre("q"));
    request.limits["q"].concurrency = 1;
    EXPECT_THAT(mine.tick(request).queues_with_work, IsEmpty());
    run("UPDATE @workflow_status SET queue_partition_key = 'a' WHERE workflow_uuid = 'k2'");
    EXPECT_THAT(mine.tick(request).queues_with_work, ElementsAre("k"));
}

TEST_P(Ticks, A_row_with_a_key_deep_behind_others_is_seen) {
    workflows("none", 300, 1000, 1);
    workflow("keyed", {{"queue_partition_key", "a"}, {"created_at", "9000"}});
    auto request = tick_of({"q"});
    request.limits["q"].partitioned = true;
    EXPECT_THAT(process().tick(request).queues_with_work, ElementsAre("q"));
}

}  // namespace
}  // namespace dbos::sysdb::test
