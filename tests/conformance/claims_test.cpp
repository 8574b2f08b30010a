// Claims from queues without a shared limit (queues-and-schedules.md 1.5, 1.7; safety 6-8).
#include <limits>
#include <set>

#include "queue_fixture.hpp"

namespace dbos::sysdb::test {
namespace {

using testing::ElementsAre;
using testing::Ge;
using testing::IsEmpty;
using testing::SizeIs;

class Claims : public QueueTest {};
DBOS_FOR_EVERY_DATABASE(Claims);

TEST_P(Claims, Writes_the_columns_of_the_protocol) {
    workflow("w", {{"executor_id", "enqueuer"},
                   {"workflow_timeout_ms", "5000"},
                   {"deduplication_id", "d"},
                   {"queue_partition_key", "k"},
                   {"priority", "3"},
                   {"authenticated_user", "ann"},
                   {"assumed_role", "clerk"},
                   {"authenticated_roles", "[\"clerk\"]"},
                   {"attributes", "{\"a\": 1}"},
                   {"serialization", "portable_json"},
                   {"class_name", "C"},
                   {"config_name", "c"}});
    const std::int64_t before = now();
    const auto claimed = process().claim(claim_of({{"q", 10}})).workflows;
    const std::int64_t after = now();

    ASSERT_EQ(claimed.size(), 1u);
    const ClaimedWorkflow& w = claimed[0];
    EXPECT_EQ(w.workflow_id, "w");
    EXPECT_EQ(w.token, "t-1");
    EXPECT_EQ(w.name, "job");
    EXPECT_EQ(w.class_name, "C");
    EXPECT_EQ(w.config_name, "c");
    EXPECT_EQ(w.queue_name, "q");
    EXPECT_EQ(w.queue_partition_key, "k");
    EXPECT_EQ(w.priority, 3);
    EXPECT_EQ(w.created_at, 1000);
    EXPECT_EQ(w.recovery_attempts, 1);
    EXPECT_EQ(w.inputs, "[w]");
    EXPECT_FALSE(w.inputs_deferred);
    EXPECT_EQ(w.serialization, "portable_json");
    EXPECT_EQ(w.authenticated_user, "ann");
    EXPECT_EQ(w.assumed_role, "clerk");
    EXPECT_EQ(w.authenticated_roles, "[\"clerk\"]");
    EXPECT_EQ(w.attributes, "{\"a\": 1}");
    EXPECT_EQ(w.application_name, "app");
    EXPECT_THAT(w.history.records, IsEmpty());

    EXPECT_EQ(value("status", "w"), "PENDING");
    EXPECT_EQ(value("executor_id", "w"), "me");
    EXPECT_EQ(value("application_version", "w"), "v1");
    EXPECT_EQ(value("application_name", "w"), "app");
    EXPECT_EQ(value("owner_xid", "w"), "t-1");
    EXPECT_EQ(number("recovery_attempts", "w"), 1);
    EXPECT_EQ(count("workflow_uuid = 'w' AND rate_limited = FALSE"), 1);
    const std::int64_t started = number("started_at_epoch_ms", "w");
    EXPECT_GE(started, before - 1);
    EXPECT_LE(started, after + 1);
    EXPECT_EQ(number("updated_at", "w"), started);
    EXPECT_EQ(number("workflow_deadline_epoch_ms", "w"), started + 5000);
    EXPECT_EQ(w.deadline_ms, started + 5000);
    // Kept.
    EXPECT_EQ(value("queue_name", "w"), "q");
    EXPECT_EQ(number("priority", "w"), 3);
    EXPECT_EQ(value("queue_partition_key", "w"), "k");
    EXPECT_EQ(value("deduplication_id", "w"), "d");
    EXPECT_EQ(number("created_at", "w"), 1000);
    EXPECT_EQ(value("completed_at", "w"), std::nullopt);
}

TEST_P(Claims, A_deadline_that_is_set_stays_and_attempts_go_on) {
    workflow(
        "w",
        {{"workflow_timeout_ms", "5000"}, {"workflow_deadline_epoch_ms", "99"}, {"recovery_attempts", "4"}});
    const auto claimed = process().claim(claim_of({{"q", 10}})).workflows;
    ASSERT_EQ(claimed.size(), 1u);
    EXPECT_EQ(claimed[0].deadline_ms, 99);
    EXPECT_EQ(claimed[0].recovery_attempts, 5);
    EXPECT_EQ(number("workflow_deadline_epoch_ms", "w"), 99);
}

TEST_P(Claims, Rows_without_a_version_are_for_the_latest_only_and_are_stamped) {
    workflow("none", {{"application_version", std::nullopt}});
    workflow("other", {{"application_version", "v0"}});
    auto& mine = process();
    auto request = claim_of({{"q", 10}});
    request.is_latest_version = false;
    EXPECT_THAT(mine.claim(request).workflows, IsEmpty());
    request.is_latest_version = true;
    EXPECT_THAT(ids(mine.claim(request).workflows), ElementsAre("none"));
    EXPECT_EQ(value("application_version", "none"), "v1");
    EXPECT_EQ(value("status", "other"), "ENQUEUED");
}

TEST_P(Claims, Own_and_unclaimed_rows_only_and_a_nameless_process_takes_all) {
    workflow("own");
    workflow("unclaimed", {{"application_name", std::nullopt}});
    workflow("foreign", {{"application_name", "billing"}});
    EXPECT_THAT(sorted(ids(process().claim(claim_of({{"q", 10}})).workflows)),
                ElementsAre("own", "unclaimed"));
    EXPECT_EQ(value("application_name", "unclaimed"), "app");
    auto request = claim_of({{"q", 10}});
    request.application_name.reset();
    EXPECT_THAT(ids(process().claim(request).workflows), ElementsAre("foreign"));
    EXPECT_EQ(value("application_name", "foreign"), "billing");
}

TEST_P(Claims, Names_that_the_process_does_not_have_are_left_alone) {
    workflow("mine");
    workflow("unknown", {{"name", "elsewhere"}, {"created_at", "1"}});
    EXPECT_THAT(ids(process().claim(claim_of({{"q", 10}})).workflows), ElementsAre("mine"));
    EXPECT_EQ(value("status", "unknown"), "ENQUEUED");
    EXPECT_EQ(number("updated_at", "unknown"), 1000);
}

TEST_P(Claims, Other_states_and_queues_are_left_alone) {
    for (const char* status :
         {"PENDING", "DELAYED", "SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}) {
        workflow(status, {{"status", status}});
    }
    workflow("elsewhere", {{"queue_name", "r"}});
    EXPECT_THAT(process().claim(claim_of({{"q", 10}})).workflows, IsEmpty());
}

TEST_P(Claims, In_order_of_priority_and_age) {
    workflow("c", {{"priority", "1"}, {"created_at", "5"}});
    workflow("d", {{"priority", "2"}, {"created_at", "1"}});
    workflow("b", {{"priority", "0"}, {"created_at", "9"}});
    workflow("a", {{"priority", "0"}, {"created_at", "8"}});
    auto& mine = process();
    EXPECT_THAT(ids(mine.claim(claim_of({{"q", 3}})).workflows), ElementsAre("a", "b", "c"));
    EXPECT_THAT(ids(mine.claim(claim_of({{"q", 3}}, "t-2")).workflows), ElementsAre("d"));
}

TEST_P(Claims, Queues_take_turns_and_their_limits_hold) {
    for (const char* queue : {"p", "q", "r"})
        workflows(std::string(queue) + "-", 20, 1000, 1, {{"queue_name", queue}});
    auto request = claim_of({{"p", 10}, {"q", 2}, {"r", 10}});
    request.max_rows = 9;
    const auto claimed = process().claim(request).workflows;
    ASSERT_EQ(claimed.size(), 9u);
    std::map<std::string, int> per_queue;
    for (const auto& row : claimed) ++per_queue[row.queue_name];
    EXPECT_EQ(per_queue["q"], 2);
    EXPECT_GE(per_queue["p"], 3);
    EXPECT_GE(per_queue["r"], 3);
    EXPECT_EQ(claimed[0].workflow_id, "p-1");  // first of each queue, second of each queue, …
    EXPECT_EQ(claimed[1].workflow_id, "q-1");
    EXPECT_EQ(claimed[2].workflow_id, "r-1");
    EXPECT_EQ(claimed[3].workflow_id, "p-2");
}

TEST_P(Claims, Slots_of_empty_queues_go_to_the_others) {
    workflows("q-", 50, 1000, 1);
    auto request = claim_of({{"a", 100}, {"b", 100}, {"q", 100}, {"c", 100}});
    request.max_rows = 40;
    EXPECT_EQ(process().claim(request).workflows.size(), 40u);
    EXPECT_EQ(count("status = 'PENDING'"), 40);
}

TEST_P(Claims, More_queues_than_slots_are_served_in_turn) {
    std::vector<ClaimQueue> queues;
    for (int n = 0; n < 6; ++n) {
        const std::string name = "q" + std::to_string(n);
        queues.push_back({name, 10});
        workflows(name + "-", 10, 1000, 1, {{"queue_name", name}});
    }
    auto& mine = process();
    std::set<std::string> served;
    for (int n = 0; n < 6; ++n) {
        auto request = claim_of(queues, "t-" + std::to_string(n));
        request.max_rows = 2;
        for (const auto& row : mine.claim(request).workflows) served.insert(row.queue_name);
    }
    EXPECT_EQ(served.size(), 6u);
}

TEST_P(Claims, Tells_which_queues_may_hold_more) {
    workflows("q-", 50, 1000, 1);
    workflows("r-", 3, 1000, 1, {{"queue_name", "r"}});
    auto& mine = process();
    auto request = claim_of({{"none", 100}, {"q", 100}, {"r", 3}});
    request.max_rows = 40;
    auto result = mine.claim(request);
    EXPECT_EQ(result.workflows.size(), 40u);
    EXPECT_THAT(result.more, ElementsAre("q", "r"));  // r gave all that it was asked for
    result = mine.claim(claim_of({{"q", 100}, {"r", 100}}, "t-2"));
    EXPECT_EQ(result.workflows.size(), 13u);
    EXPECT_THAT(result.more, IsEmpty());
    workflows("s-", 2, 1000, 1);
    request = claim_of({{"q", 1}, {"r", 1}, {"none", 1}}, "t-3");
    request.max_rows = 1;  // not all of them can be asked
    EXPECT_THAT(mine.claim(request).more, SizeIs(Ge(2u)));
}

TEST_P(Claims, The_internal_queue_is_a_queue_like_any_other) {
    workflow("w", {{"queue_name", "_dbos_internal_queue"}});
    EXPECT_THAT(ids(process().claim(claim_of({{"_dbos_internal_queue", 1}})).workflows), ElementsAre("w"));
}

TEST_P(Claims, Large_or_legacy_inputs_are_left_for_the_dispatch) {
    workflow("fits");
    run("UPDATE @workflow_input SET inputs = '" + std::string(65536, 'x') + "' WHERE workflow_uuid = 'fits'");
    workflow("large", {{"created_at", "1001"}});
    run("UPDATE @workflow_input SET inputs = '" + std::string(65534, 'x') +
        "\u00e4!' WHERE workflow_uuid = 'large'");
    workflow("legacy", {{"created_at", "1002"}, {"inputs", "[]"}});
    run("DELETE FROM @workflow_input WHERE workflow_uuid = 'legacy'");
    const auto claimed = process().claim(claim_of({{"q", 10}})).workflows;
    ASSERT_THAT(ids(claimed), ElementsAre("fits", "large", "legacy"));
    EXPECT_EQ(claimed[0].inputs.value_or("").size(), 65536u);
    EXPECT_FALSE(claimed[0].inputs_deferred);
    for (const std::size_t n : {1u, 2u}) {
        EXPECT_EQ(claimed[n].inputs, std::nullopt);
        EXPECT_TRUE(claimed[n].inputs_deferred);
    }
}

TEST_P(Claims, Every_claimed_row_brings_its_history) {
    workflow("fresh");
    workflow("old", {{"created_at", "1001"}, {"recovery_attempts", "2"}});
    for (const char* id : {"2", "0", "10"}) {
        insert("operation_outputs", {{"workflow_uuid", "old"},
                                     {"function_id", id},
                                     {"function_name", std::string("step-") + id},
                                     {"output", "42"},
                                     {"started_at_epoch_ms", "7"},
                                     {"completed_at_epoch_ms", "8"},
                                     {"serialization", "portable_json"},
                                     {"application_name", "app"},
                                     {"retention_timestamp", "8"}});
    }
    insert("operation_outputs", {{"workflow_uuid", "old"},
                                 {"function_id", "11"},
                                 {"function_name", "child"},
                                 {"child_workflow_id", "old-11"},
                                 {"error", "bad"},
                                 {"retention_timestamp", "8"}});
    const auto claimed = process().claim(claim_of({{"q", 10}})).workflows;
    ASSERT_THAT(ids(claimed), ElementsAre("fresh", "old"));
    EXPECT_THAT(claimed[0].history.records, IsEmpty());
    const auto& history = claimed[1].history.records;
    ASSERT_EQ(history.size(), 4u);
    EXPECT_EQ(history[0].function_id, 0);
    EXPECT_EQ(history[1].function_id, 2);
    EXPECT_EQ(history[2].function_id, 10);
    EXPECT_EQ(history[2].function_name, "step-10");
    EXPECT_EQ(history[2].output, "42");
    EXPECT_EQ(history[2].error, std::nullopt);
    EXPECT_EQ(history[2].started_at_ms, 7);
    EXPECT_EQ(history[2].completed_at_ms, 8);
    EXPECT_EQ(history[2].serialization, "portable_json");
    EXPECT_EQ(history[2].application_name, "app");
    EXPECT_EQ(history[3].child_workflow_id, "old-11");
    EXPECT_EQ(history[3].error, "bad");
}

TEST_P(Claims, A_long_history_is_read_in_pieces) {
    constexpr std::int32_t kAll = std::numeric_limits<std::int32_t>::max();
    workflow("long");
    workflow("wide", {{"created_at", "1001"}});
    const auto record = [&](const char* id, int number, std::size_t bytes) {
        insert("operation_outputs", {{"workflow_uuid", id},
                                     {"function_id", std::to_string(number)},
                                     {"function_name", "step"},
                                     {"output", std::string(bytes, 'x')},
                                     {"retention_timestamp", "8"}});
    };
    for (int number = 1; number <= 40; ++number) record("long", number, 10);
    constexpr std::size_t kMega = std::size_t{1} << 20U;
    record("wide", 1, 10), record("wide", 2, 17 * kMega), record("wide", 3, 5 * kMega);
    for (int number = 5; number <= 7; ++number) record("wide", number, 5 * kMega);

    const auto claimed = process().claim(claim_of({{"q", 10}})).workflows;
    ASSERT_THAT(ids(claimed), ElementsAre("long", "wide"));
    const auto numbers = [](const dbos::sysdb::History& history) {
        std::vector<std::int32_t> found;
        for (const auto& step : history.records) found.push_back(step.function_id);
        return found;
    };
    EXPECT_THAT(claimed[0].history.records, SizeIs(32));
    EXPECT_EQ(claimed[0].history.known_to, 32);
    const auto rest = process().history_from("long", 33);
    EXPECT_THAT(numbers(rest), ElementsAre(33, 34, 35, 36, 37, 38, 39, 40));
    EXPECT_EQ(rest.known_to, kAll);
    EXPECT_THAT(process().history_from("long", 41).records, IsEmpty());

    EXPECT_THAT(numbers(claimed[1].history), ElementsAre(1)) << "a claim brings 32 MiB for all of its rows";
    EXPECT_EQ(claimed[1].history.known_to, 1);
    const auto large = process().history_from("wide", 2);
    EXPECT_THAT(numbers(large), ElementsAre(2)) << "one, however large";
    EXPECT_EQ(large.known_to, 2);
    const auto next = process().history_from("wide", 3);
    EXPECT_THAT(numbers(next), ElementsAre(3, 5));
    EXPECT_EQ(next.known_to, 5) << "4 is known not to be recorded";
    EXPECT_THAT(numbers(process().history_from("wide", 6)), ElementsAre(6, 7));
}

TEST_P(Claims, Nothing_to_ask_for_asks_nothing) {
    workflow("w");
    auto request = claim_of({});
    EXPECT_THAT(process().claim(request).workflows, IsEmpty());
    request = claim_of({{"q", 0}});
    EXPECT_THAT(process().claim(request).workflows, IsEmpty());
    request = claim_of({{"q", 5}});
    request.workflow_names.clear();
    EXPECT_THAT(process().claim(request).workflows, IsEmpty());
    EXPECT_EQ(value("status", "w"), "ENQUEUED");
}

TEST_P(Claims, Two_claimers_never_get_one_row) {
    constexpr int kRows = 1200;
    workflows("w", kRows, 1000, 1);
    std::vector<std::vector<std::string>> got(4);
    std::vector<seam::Thread> threads;
    for (std::size_t n = 0; n < got.size(); ++n) {
        SystemDatabase& mine = process();
        threads.push_back(seam::spawn("claimer", [this, n, &mine, &got] {
            for (int round = 0;; ++round) {
                auto request = claim_of({{"q", 37}}, "t-" + std::to_string(n) + "-" + std::to_string(round));
                request.executor_id = "executor-" + std::to_string(n);
                const auto claimed = mine.claim(request).workflows;
                if (claimed.empty()) return;
                for (const auto& row : claimed) got[n].push_back(row.workflow_id);
            }
        }));
    }
    for (auto& thread : threads) thread.join();
    std::set<std::string> all;
    std::size_t total = 0;
    for (std::size_t n = 0; n < got.size(); ++n) {
        total += got[n].size();
        all.insert(got[n].begin(), got[n].end());
        EXPECT_EQ(count("executor_id = 'executor-" + std::to_string(n) + "' AND status = 'PENDING'"),
                  static_cast<std::int64_t>(got[n].size()));
    }
    EXPECT_EQ(total, all.size());
    EXPECT_EQ(total, static_cast<std::size_t>(kRows));
}

TEST_P(Claims, A_lost_acknowledgement_is_looked_up_by_token) {
    workflows("w", 5, 1000, 1);
    workflow("stranger", {{"status", "PENDING"},
                          {"executor_id", "me"},
                          {"owner_xid", "another"},
                          {"started_at_epoch_ms", std::to_string(now())}});
    int lost = 0;
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    hooks->lose_ack = [&](const std::string& what) {
        return (what == "claim" || what == "commit") && lost++ == 0;
    };
    const auto claimed = process(hooks).claim(claim_of({{"q", 3}})).workflows;
    EXPECT_GE(lost, 1);
    ASSERT_THAT(ids(claimed), ElementsAre("w1", "w2", "w3"));
    EXPECT_EQ(count("owner_xid = 't-1'"), 3);
    EXPECT_EQ(claimed[0].recovery_attempts, 1);
    EXPECT_EQ(claimed[0].token, "t-1");
}

TEST_P(Claims, A_lost_reading_of_histories_loses_no_row) {
    workflow("w");
    int lost = 0;
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    hooks->lose_ack = [&](const std::string& what) { return what == "claim_histories" && lost++ == 0; };
    EXPECT_THAT(ids(process(hooks).claim(claim_of({{"q", 3}})).workflows), ElementsAre("w"));
    EXPECT_GE(lost, 1);
    EXPECT_EQ(number("recovery_attempts", "w"), 1);
}

TEST_P(Claims, Rows_behind_a_long_head_of_others_are_found_and_those_in_front_of_it_too) {
    workflows("foreign", 3000, 1000, 1, {{"application_version", "v0"}});
    workflows("mine", 5, 10'000, 1);
    auto& mine = process();
    EXPECT_THAT(mine.tick(tick_of()).queues_with_work, ElementsAre("q"));
    EXPECT_EQ(mine.core().claims->start("q").created_at, 10'001) << "the cursor skips the head of others";
    EXPECT_THAT(ids(mine.claim(claim_of({{"q", 2}})).workflows), ElementsAre("mine1", "mine2"));
    EXPECT_THAT(ids(mine.claim(claim_of({{"q", 2}}, "t-2")).workflows), ElementsAre("mine3", "mine4"));
    EXPECT_EQ(mine.core().claims->start("q").created_at, 10'003) << "it moves on with the claims";

    // An older row appears at the very head: the next tick sees it, and the next claim takes it.
    workflow("early", {{"created_at", "5"}});
    EXPECT_THAT(mine.tick(tick_of()).queues_with_work, ElementsAre("q"));
    EXPECT_THAT(ids(mine.claim(claim_of({{"q", 1}}, "t-3")).workflows), ElementsAre("early"));
    EXPECT_THAT(ids(mine.claim(claim_of({{"q", 9}}, "t-4")).workflows), ElementsAre("mine5"));

    // One in the middle, at neither window: a scan from the head finds it, soon (50 times the last one's duration).
    workflow("middle", {{"created_at", "2500"}});
    EXPECT_TRUE(dbos::test::eventually([&] { return !mine.tick(tick_of()).queues_with_work.empty(); }));
    EXPECT_THAT(ids(mine.claim(claim_of({{"q", 9}}, "t-5")).workflows), ElementsAre("middle"));
    EXPECT_EQ(count("status = 'ENQUEUED'"), 3000);
}

TEST_P(Claims, Cursors_are_forgotten_when_what_is_claimable_changes) {
    workflows("foreign", 1500, 1000, 1, {{"name", "other"}});
    workflow("mine", {{"created_at", "10000"}});
    auto& mine = process();
    mine.tick(tick_of());
    ASSERT_EQ(mine.core().claims->start("q").created_at, 10'000);
    auto request = claim_of({{"q", 3}});
    request.workflow_names = {"job", "other"};
    EXPECT_THAT(ids(mine.claim(request).workflows), ElementsAre("foreign1", "foreign2", "foreign3"));
    mine.tick(tick_of());
    ASSERT_EQ(mine.core().claims->start("q").created_at, 10'000);
    mine.scan_from_head({});
    EXPECT_EQ(mine.core().claims->start("q"), QueuePosition{});
}

TEST_P(Claims, A_row_that_a_transaction_holds_is_passed_by) {
    if (!postgres()) GTEST_SKIP() << "SQLite has no row locks";
    workflows("w", 3, 1000, 1);
    auto other = open();
    other->begin();
    other->query("SELECT 1 FROM @workflow_status WHERE workflow_uuid = 'w1' FOR UPDATE", {},
                 sql::Access::write);
    EXPECT_THAT(ids(process().claim(claim_of({{"q", 9}})).workflows), ElementsAre("w2", "w3"));
    other->rollback();
}

TEST_P(Claims, With_other_executors_on_the_file_a_claim_is_short) {
    if (postgres()) GTEST_SKIP() << "writers do not take turns there";
    workflows("w", 120, 1000, 1);
    auto& mine = process();
    for (const char* id : {"a", "b"}) {
        LeaseRow lease{
            .application_name = "app", .executor_id = id, .incarnation = id, .version = "v1", .host_key = {}};
        mine.take_lease(lease, std::nullopt, std::chrono::seconds(60));
    }
    mine.tick(tick_of());
    const auto claimed = mine.claim(claim_of({{"q", 100}}));
    EXPECT_EQ(claimed.workflows.size(), 50u);
    EXPECT_THAT(claimed.more, ElementsAre("q"));
    const auto shared = mine.claim_shared({.base = claim_of({{"q", 100}}, "t-2"), .concurrency = 200});
    EXPECT_EQ(shared.workflows.size(), 50u);
    EXPECT_TRUE(shared.more);
    EXPECT_FALSE(mine.claim_shared({.base = claim_of({{"q", 100}}, "t-3"), .concurrency = 200}).more);
}

TEST_P(Claims, Where_nothing_is_to_be_claimed_nobody_waits_for_the_writer) {
    if (postgres()) GTEST_SKIP() << "claims of others are no obstacle there";
    workflow("done", {{"status", "SUCCESS"}});
    workflow("other", {{"name", "elsewhere"}});
    workflow("running", {{"status", "PENDING"}, {"queue_name", "r"}});
    auto& mine = process();
    auto writer = open();
    writer->begin();  // the one writer of the file, for as long as it likes
    EXPECT_THAT(mine.claim(claim_of({{"q", 10}, {"r", 10}, {"none", 10}})).workflows, IsEmpty());
    EXPECT_THAT(mine.claim_shared({.base = claim_of({{"q", 10}}), .concurrency = 10}).workflows, IsEmpty());
    const auto full = mine.claim_shared({.base = claim_of({{"r", 10}}), .concurrency = 1});
    EXPECT_THAT(full.workflows, IsEmpty());
    EXPECT_TRUE(full.no_budget);
    EXPECT_THAT(mine.tick(tick_of({"q", "r"})).queues_with_work, IsEmpty());
    writer->rollback();
    workflow("w");
    EXPECT_THAT(ids(mine.claim(claim_of({{"q", 10}})).workflows), ElementsAre("w"));
    workflow("v");
    EXPECT_THAT(ids(mine.claim_shared({.base = claim_of({{"q", 10}}, "t-2"), .concurrency = 10}).workflows),
                ElementsAre("v"));
}

}  // namespace
}  // namespace dbos::sysdb::test
