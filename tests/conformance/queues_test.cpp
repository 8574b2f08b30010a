// Rows of `queues`, due delays, passed deadlines, orphans (queues-and-schedules.md 1.2, 1.9, 1.10; safety 7).
#include "queue_fixture.hpp"

namespace dbos::sysdb::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Queues : public QueueTest {
   public:
    static QueueRow full() {
        QueueRow row;
        row.name = "q";
        row.concurrency = 10;
        row.worker_concurrency = 5;
        row.rate_limit_max = 7;
        row.rate_limit_period_sec = 1.5;
        row.priority_enabled = true;
        row.partition_queue = true;
        row.polling_interval_sec = 0.25;
        row.application_name = "app";
        row.partition_concurrency = 3;
        row.partition_worker_concurrency = 2;
        row.partition_rate_limit_max = 4;
        row.partition_rate_limit_period_sec = 60;
        return row;
    }
    static QueueRow plain(const std::string& name, const Text& application) {
        QueueRow row;
        row.name = name;
        row.application_name = application;
        return row;
    }
    static std::vector<std::string> names(const std::vector<QueueRow>& rows) {
        std::vector<std::string> result;
        for (const auto& row : rows) result.push_back(row.name);
        return result;
    }
};
DBOS_FOR_EVERY_DATABASE(Queues);

TEST_P(Queues, Every_column_comes_back_as_it_was_written) {
    auto& mine = process();
    EXPECT_TRUE(mine.upsert_queue(full(), false));
    EXPECT_EQ(mine.find_queue("q"), full());
    EXPECT_TRUE(mine.upsert_queue(plain("empty", std::nullopt), false));
    EXPECT_EQ(mine.find_queue("empty"), plain("empty", std::nullopt));
    EXPECT_EQ(mine.find_queue("missing"), std::nullopt);
    const auto row = run("SELECT queue_id, created_at, updated_at FROM @queues WHERE name = 'q'");
    EXPECT_EQ(row.at(0, 0).text().size(), 36u);
    EXPECT_GT(row.at(0, 1).integer(), now() - 60'000);
    EXPECT_GT(row.at(0, 2).integer(), now() - 60'000);
}

TEST_P(Queues, An_update_overwrites_every_setting_and_without_it_nothing_changes) {
    auto& mine = process();
    mine.upsert_queue(full(), true);
    EXPECT_FALSE(mine.upsert_queue(plain("q", "app"), false));
    EXPECT_EQ(mine.find_queue("q"), full());
    EXPECT_FALSE(mine.upsert_queue(plain("q", "app"), true));
    EXPECT_EQ(mine.find_queue("q"), plain("q", "app"));
}

TEST_P(Queues, A_row_that_is_as_it_should_be_is_not_written) {
    auto& mine = process();
    const auto writes = [&](const QueueRow& row) {
        run("UPDATE @queues SET updated_at = 1 WHERE name = 'q'");
        EXPECT_FALSE(mine.upsert_queue(row, true));
        return run("SELECT updated_at FROM @queues WHERE name = 'q'").at(0, 0).integer() != 1;
    };
    mine.upsert_queue(full(), true);
    EXPECT_FALSE(writes(full()));
    auto other = full();
    other.partition_rate_limit_period_sec = 77;
    EXPECT_TRUE(writes(other));
    EXPECT_EQ(mine.find_queue("q"), other);
    EXPECT_FALSE(writes(other));
    mine.upsert_queue(plain("q", std::nullopt), true);
    EXPECT_FALSE(writes(plain("q", std::nullopt)));
    run("UPDATE @queues SET application_name = NULL WHERE name = 'q'");
    EXPECT_TRUE(writes(plain("q", "app")));  // adopted
    EXPECT_FALSE(writes(plain("q", "app")));
}

TEST_P(Queues, Names_have_one_owner) {
    auto& mine = process();
    mine.upsert_queue(plain("q", std::nullopt), true);
    mine.upsert_queue(plain("q", "app"), true);  // unclaimed: adopted
    EXPECT_EQ(mine.find_queue("q")->application_name, "app");
    mine.upsert_queue(plain("q", std::nullopt), true);  // nameless writers keep the owner
    EXPECT_EQ(mine.find_queue("q")->application_name, "app");
    for (const bool update : {true, false}) {
        try {
            mine.upsert_queue(plain("q", "billing"), update);
            ADD_FAILURE() << "another application's name was taken";
        } catch (const ConfigError& error) {
            EXPECT_THAT(error.what(), testing::HasSubstr("application \"app\" owns"));
        }
    }
    EXPECT_EQ(mine.find_queue("q")->application_name, "app");
}

TEST_P(Queues, A_list_holds_own_and_unclaimed_rows_in_order) {
    auto& mine = process();
    for (const auto& [name, application] : std::vector<std::pair<std::string, Text>>{
             {"b", "app"}, {"a", std::nullopt}, {"c", "billing"}, {"B", "app"}}) {
        mine.upsert_queue(plain(name, application), true);
    }
    EXPECT_THAT(names(mine.list_queues("app")), ElementsAre("B", "a", "b"));
    EXPECT_THAT(names(mine.list_queues(std::nullopt)), ElementsAre("B", "a", "b", "c"));
}

TEST_P(Queues, Due_delays_are_enqueued) {
    const std::int64_t t = now();
    workflow(
        "due",
        {{"status", "DELAYED"}, {"delay_until_epoch_ms", std::to_string(t - 1)}, {"deduplication_id", "d"}});
    workflow("exact",
             {{"status", "DELAYED"}, {"delay_until_epoch_ms", std::to_string(t)}, {"queue_name", "r"}});
    workflow("later", {{"status", "DELAYED"}, {"delay_until_epoch_ms", std::to_string(t + 1)}});
    workflow("foreign", {{"status", "DELAYED"},
                         {"delay_until_epoch_ms", "1"},
                         {"application_name", "billing"},
                         {"queue_name", "s"}});
    workflow("bounced", {{"status", "DELAYED"},
                         {"delay_until_epoch_ms", "1"},
                         {"deduplication_id", "b"},
                         {"is_debounced", "1"},
                         {"application_name", std::nullopt}});
    std::vector<std::string> woken;
    auto& mine = process(nullptr, {.enqueued = [&](const std::string& queue) { woken.push_back(queue); }});
    EXPECT_THAT(mine.enqueue_due(t, "app"), ElementsAre("q", "r"));
    EXPECT_THAT(sorted(woken), ElementsAre("q", "r"));
    EXPECT_EQ(value("status", "due"), "ENQUEUED");
    EXPECT_EQ(value("deduplication_id", "due"), "d");
    EXPECT_EQ(number("created_at", "due"), 1000);
    EXPECT_GE(number("updated_at", "due"), t - 1);
    EXPECT_EQ(value("status", "exact"), "ENQUEUED");
    EXPECT_EQ(value("status", "later"), "DELAYED");
    EXPECT_EQ(value("status", "foreign"), "DELAYED");
    EXPECT_EQ(value("status", "bounced"), "ENQUEUED");
    EXPECT_EQ(value("deduplication_id", "bounced"), std::nullopt);
    EXPECT_THAT(mine.enqueue_due(t, "app"), IsEmpty());
}

TEST_P(Queues, A_thousand_and_more_due_delays_go_in_one_call) {
    workflows("w", 2500, 1000, 1, {{"status", "DELAYED"}, {"delay_until_epoch_ms", "5"}});
    EXPECT_THAT(process().enqueue_due(now(), "app"), ElementsAre("q"));
    EXPECT_EQ(count("status = 'ENQUEUED'"), 2500);
}

TEST_P(Queues, Overdue_workflows_are_cancelled_in_every_active_state) {
    const std::int64_t t = now();
    for (const char* status : {"ENQUEUED", "PENDING", "DELAYED", "SUCCESS", "ERROR"}) {
        workflow(status, {{"status", status},
                          {"workflow_deadline_epoch_ms", std::to_string(t)},
                          {"deduplication_id", status},
                          {"owner_xid", "t"},
                          {"started_at_epoch_ms", "7"},
                          {"executor_id", "e"}});
    }
    workflow("in_time", {{"workflow_deadline_epoch_ms", std::to_string(t + 1)}});
    workflow("without");
    workflow("foreign", {{"workflow_deadline_epoch_ms", "1"}, {"application_name", "billing"}});
    std::vector<std::string> ended;
    auto& mine = process(nullptr, {.ended = [&](const std::string& id) { ended.push_back(id); }});
    EXPECT_EQ(mine.cancel_overdue(t, "app"), 3u);
    EXPECT_THAT(sorted(ended), ElementsAre("DELAYED", "ENQUEUED", "PENDING"));
    for (const char* id : {"ENQUEUED", "PENDING", "DELAYED"}) {
        EXPECT_EQ(value("status", id), "CANCELLED");
        EXPECT_EQ(value("deduplication_id", id), std::nullopt);
        EXPECT_EQ(value("queue_name", id), std::nullopt);
        EXPECT_EQ(value("started_at_epoch_ms", id), std::nullopt);
        EXPECT_EQ(value("owner_xid", id), std::nullopt);
        EXPECT_EQ(value("executor_id", id), "e");
        EXPECT_GE(number("completed_at", id), t - 1);
        EXPECT_EQ(number("updated_at", id), number("completed_at", id));
        EXPECT_EQ(number("workflow_deadline_epoch_ms", id), t);
    }
    EXPECT_EQ(value("status", "SUCCESS"), "SUCCESS");
    EXPECT_EQ(value("status", "ERROR"), "ERROR");
    EXPECT_EQ(value("status", "in_time"), "ENQUEUED");
    EXPECT_EQ(value("status", "without"), "ENQUEUED");
    EXPECT_EQ(value("status", "foreign"), "ENQUEUED");
    EXPECT_EQ(mine.cancel_overdue(t, "app"), 0u);
}

TEST_P(Queues, A_thousand_and_more_overdue_workflows_go_in_one_call) {
    workflows("w", 2001, 1000, 1, {{"workflow_deadline_epoch_ms", "5"}});
    EXPECT_EQ(process().cancel_overdue(now(), "app"), 2001u);
    EXPECT_EQ(count("status = 'CANCELLED'"), 2001);
}

TEST_P(Queues, A_locked_row_does_not_hold_up_due_delays_and_deadlines) {
    if (!postgres()) GTEST_SKIP() << "SQLite has no row locks";
    for (const char* id : {"a", "b"}) {
        workflow(std::string("d") + id, {{"status", "DELAYED"}, {"delay_until_epoch_ms", "5"}});
        workflow(std::string("o") + id, {{"workflow_deadline_epoch_ms", "5"}});
    }
    auto other = open();
    other->begin();
    other->query("SELECT 1 FROM @workflow_status WHERE workflow_uuid IN ('da', 'oa') FOR UPDATE", {},
                 sql::Access::write);
    auto& mine = process();
    mine.enqueue_due(now(), "app");
    EXPECT_EQ(mine.cancel_overdue(now(), "app"), 1u);
    EXPECT_EQ(value("status", "db"), "ENQUEUED");
    EXPECT_EQ(value("status", "da"), "DELAYED");
    other->rollback();
}

class Orphans : public QueueTest {
   public:
    void pending(const std::string& id, const std::string& token, Values values = {}) {
        Values row{{"status", "PENDING"},
                   {"executor_id", "me"},
                   {"owner_xid", token},
                   {"started_at_epoch_ms", "5000"},
                   {"recovery_attempts", "1"}};
        for (auto& [column, value] : values) row[column] = value;
        workflow(id, row);
    }
    /// The lease of "me", taken at its first use.
    const LeaseRow& lease() {
        if (lease_.incarnation.empty()) {
            lease_ = incarnation("one");
            EXPECT_EQ(process().take_lease(lease_, std::nullopt, std::chrono::seconds(7)), LeaseTake::taken);
        }
        return lease_;
    }
    static LeaseRow incarnation(const std::string& name) {
        LeaseRow row;
        row.application_name = "app";
        row.executor_id = "me";
        row.incarnation = name;
        row.version = "v1";
        row.counter = 1;
        return row;
    }
    static auto held_are(std::vector<Fence> held) {
        return [held = std::move(held)](std::vector<Fence>& fences) {
            std::erase_if(fences,
                          [&](const Fence& fence) { return std::ranges::find(held, fence) != held.end(); });
        };
    }
    const std::vector<std::string> names{"job"};

   private:
    LeaseRow lease_;
};
DBOS_FOR_EVERY_DATABASE(Orphans);

TEST_P(Orphans, Rows_that_no_run_holds_are_handed_back) {
    pending("lost", "t1", {{"deduplication_id", "d"}});
    pending("held", "t1");
    pending("stale", "t2");  // held under an older token: the row has moved on
    pending("unknown", "t1", {{"name", "elsewhere"}});
    pending("other", "t1", {{"executor_id", "peer"}});
    pending("ownerless", "t1", {{"owner_xid", std::nullopt}});
    pending("direct", "t1", {{"queue_name", std::nullopt}, {"created_at", "1001"}});
    const std::vector<Fence> held{{"held", "t1"}, {"stale", "t1"}, {"zz", "t9"}};
    auto& mine = process();
    EXPECT_THAT(mine.hand_back_orphans(lease(), held_are(held), names, 4000),
                ElementsAre("_dbos_internal_queue", "q"));
    for (const char* id : {"lost", "stale", "direct"}) {
        EXPECT_EQ(value("status", id), "ENQUEUED") << id;
        EXPECT_EQ(value("owner_xid", id), std::nullopt);
        EXPECT_EQ(value("started_at_epoch_ms", id), std::nullopt);
        EXPECT_EQ(number("recovery_attempts", id), 1);
    }
    EXPECT_EQ(value("deduplication_id", "lost"), "d");
    EXPECT_EQ(value("queue_name", "direct"), "_dbos_internal_queue");
    for (const char* id : {"held", "unknown", "other", "ownerless"})
        EXPECT_EQ(value("status", id), "PENDING") << id;
}

TEST_P(Orphans, A_claim_whose_rows_nobody_took_comes_back) {
    workflows("w", 3, 1000, 1);
    auto& mine = process();
    const std::int64_t before = now() - 1000;
    const auto claimed = mine.claim(claim_of({{"q", 3}})).workflows;
    ASSERT_EQ(claimed.size(), 3u);
    const std::vector<Fence> held{{claimed[0].workflow_id, claimed[0].token}};
    EXPECT_THAT(mine.hand_back_orphans(lease(), held_are(held), names, before), ElementsAre("q"));
    EXPECT_THAT(sorted(ids(mine.claim(claim_of({{"q", 3}}, "t-2")).workflows)), ElementsAre("w2", "w3"));
}

TEST_P(Orphans, Older_rows_are_looked_at_page_by_page) {
    workflows(
        "w", 12'000, 1000, 0,
        {{"status", "PENDING"}, {"executor_id", "me"}, {"owner_xid", "t"}, {"started_at_epoch_ms", "1"}});
    auto& mine = process();
    const std::int64_t since = now();
    std::vector<std::int64_t> left;
    for (int n = 0; n < 3; ++n) {
        mine.hand_back_orphans(lease(), held_are({}), names, since);
        left.push_back(count("status = 'PENDING'"));
    }
    EXPECT_THAT(left, ElementsAre(7000, 2000, 0));
}

TEST_P(Orphans, Everything_that_started_since_is_looked_at_in_one_call) {
    workflows(
        "w", 6'000, 1000, 1,
        {{"status", "PENDING"}, {"executor_id", "me"}, {"owner_xid", "t"}, {"started_at_epoch_ms", "9000"}});
    process().hand_back_orphans(lease(), held_are({}), names, 9000);
    EXPECT_EQ(count("status = 'PENDING'"), 0);
}

TEST_P(Orphans, An_executor_whose_id_was_taken_hands_nothing_back) {
    pending("old", "t1");
    auto& mine = process();
    const LeaseRow old = lease();
    LeaseRow next = incarnation("two");
    ASSERT_EQ(process().take_lease(next, mine.find_lease("app", "me"), std::chrono::seconds(7)),
              LeaseTake::taken);
    pending("new", "t2");  // claimed by the later incarnation: PENDING under this id, and held by no run here
    EXPECT_THAT(mine.hand_back_orphans(old, held_are({}), names, 0), testing::IsEmpty());
    EXPECT_EQ(count("status = 'PENDING'"), 2);
    const std::vector<Fence> held{{"new", "t2"}};
    EXPECT_THAT(process().hand_back_orphans(next, held_are(held), names, 0), ElementsAre("q"));
    EXPECT_EQ(value("status", "old"), "ENQUEUED");
    EXPECT_EQ(value("status", "new"), "PENDING");
}

TEST_P(Orphans, The_lease_is_compared_in_the_statement_that_hands_back) {
    // The id is taken between the look and the hand-back.
    pending("w", "t1");
    const LeaseRow old = lease();
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    bool taken = false;
    hooks->before = [&](const sql::Statement& statement, const sql::Params&) {
        const bool reading = std::string(statement.name).starts_with("orphans_");
        if (!reading || taken) return;
        taken = true;
        run("UPDATE @dbos_cpp_executors SET incarnation = 'two'");
    };
    EXPECT_THAT(process(hooks).hand_back_orphans(old, held_are({}), names, 0), testing::IsEmpty());
    EXPECT_TRUE(taken);
    EXPECT_EQ(value("status", "w"), "PENDING");
}

TEST_P(Orphans, Another_application_under_the_same_id_keeps_its_rows) {
    pending("theirs", "t1", {{"application_name", "billing"}});
    pending("ours", "t1");
    EXPECT_THAT(process().hand_back_orphans(lease(), held_are({}), names, 0), ElementsAre("q"));
    EXPECT_EQ(value("status", "theirs"), "PENDING");
    EXPECT_EQ(value("status", "ours"), "ENQUEUED");
}

TEST_P(Orphans, A_locked_row_is_left_for_the_next_look) {
    if (!postgres()) GTEST_SKIP() << "SQLite has no row locks";
    pending("a", "t1");
    pending("b", "t1");
    const LeaseRow mine = lease();
    auto other = open();
    other->begin();
    other->query("SELECT 1 FROM @workflow_status WHERE workflow_uuid = 'a' FOR UPDATE", {},
                 sql::Access::write);
    process().hand_back_orphans(mine, held_are({}), names, 4000);
    EXPECT_EQ(value("status", "a"), "PENDING");
    EXPECT_EQ(value("status", "b"), "ENQUEUED");
    other->rollback();
    process().hand_back_orphans(mine, held_are({}), names,
                                now());  // what started earlier comes with the pages
    EXPECT_EQ(value("status", "a"), "ENQUEUED");
}

TEST_P(Orphans, A_terminal_row_that_keeps_a_token_is_not_revived) {
    pending("cancelled", "t1", {{"status", "CANCELLED"}});  // an older SDK leaves owner_xid
    process().hand_back_orphans(lease(), held_are({}), names, 0);
    EXPECT_EQ(value("status", "cancelled"), "CANCELLED");
}

}  // namespace
}  // namespace dbos::sysdb::test
