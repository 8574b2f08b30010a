// Leases and sweeps (safety 22-27; runtime.md 4.2, 6.1).
#include "queue_fixture.hpp"

namespace dbos::sysdb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

LeaseRow lease_of(const std::string& id, const std::string& incarnation, std::int64_t counter = 1) {
    LeaseRow lease;
    lease.application_name = "app";
    lease.executor_id = id;
    lease.incarnation = incarnation;
    lease.version = "v1";
    lease.counter = counter;
    lease.host_key = "boot:1";
    lease.pid = 4711;
    lease.process_start = 99;
    return lease;
}

class Leases : public QueueTest {};
DBOS_FOR_EVERY_DATABASE(Leases);

TEST_P(Leases, Taking_writes_the_row_as_given) {
    auto& mine = process();
    LeaseRow lease = lease_of("e", "one", 5);
    const std::int64_t before = now();
    ASSERT_EQ(mine.take_lease(lease, std::nullopt, 7s), LeaseTake::taken);
    EXPECT_EQ(lease.counter, 5);
    const auto found = mine.find_lease("app", "e");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->incarnation, "one");
    EXPECT_EQ(found->version, "v1");
    EXPECT_EQ(found->counter, 5);
    EXPECT_EQ(found->lease_ms, 7000);
    EXPECT_GE(found->expires_at, before + 7000 - 1);
    EXPECT_LE(found->expires_at, now() + 7000 + 1);
    EXPECT_EQ(found->host_key, "boot:1");
    EXPECT_EQ(found->pid, 4711);
    EXPECT_EQ(found->process_start, 99);
    EXPECT_EQ(mine.find_lease("app", "other"), std::nullopt);
    EXPECT_EQ(mine.find_lease("billing", "e"), std::nullopt);
}

TEST_P(Leases, What_is_unknown_about_a_process_is_stored_as_nothing) {
    LeaseRow lease = lease_of("e", "one");
    lease.host_key.reset();
    lease.pid = 0;
    lease.process_start = 0;
    auto& mine = process();
    mine.take_lease(lease, std::nullopt, 7s);
    EXPECT_TRUE(run("SELECT host_key FROM @dbos_cpp_executors").at(0, 0).null());
    EXPECT_TRUE(run("SELECT pid FROM @dbos_cpp_executors").at(0, 0).null());
    EXPECT_EQ(mine.find_lease("app", "e")->host_key, std::nullopt);
}

TEST_P(Leases, An_id_cannot_be_held_twice) {
    auto& mine = process();
    LeaseRow one = lease_of("e", "one");
    LeaseRow two = lease_of("e", "two");
    mine.take_lease(one, std::nullopt, 7s);
    EXPECT_EQ(mine.take_lease(two, std::nullopt, 7s), LeaseTake::held);
    const auto seen = mine.find_lease("app", "e");
    // The holder renews: what was seen is not true any more.
    one.counter = 2;
    mine.renew_lease(one, 7s);
    EXPECT_EQ(mine.take_lease(two, seen, 7s), LeaseTake::held);
    EXPECT_EQ(mine.find_lease("app", "e")->incarnation, "one");
    // It does not renew any more: the caller has waited, or knows that it is dead.
    EXPECT_EQ(mine.take_lease(two, mine.find_lease("app", "e"), 7s), LeaseTake::taken);
    EXPECT_EQ(two.counter, 3) << "the counter goes on";
    EXPECT_EQ(mine.renew_lease(one, 7s), LeaseRenewal::replaced);
    EXPECT_EQ(mine.find_lease("app", "e")->incarnation, "two");
}

TEST_P(Leases, An_expired_lease_is_taken_whatever_its_counter) {
    auto& mine = process();
    LeaseRow one = lease_of("e", "one");
    mine.take_lease(one, std::nullopt, 7s);
    const auto seen = mine.find_lease("app", "e");
    one.counter = 2;
    mine.renew_lease(one, 7s);
    mine.expire_lease(one);
    LeaseRow two = lease_of("e", "two");
    EXPECT_EQ(mine.take_lease(two, std::nullopt, 7s), LeaseTake::held) << "unseen";
    EXPECT_EQ(mine.take_lease(two, seen, 7s), LeaseTake::taken);
}

TEST_P(Leases, Taking_twice_is_taking_once) {
    LeaseRow lease = lease_of("e", "one");
    int lost = 0;
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    hooks->lose_ack = [&](const std::string& what) { return what == "lease_take" && lost++ == 0; };
    EXPECT_EQ(process(hooks).take_lease(lease, std::nullopt, 7s), LeaseTake::taken);
    EXPECT_GE(lost, 1);
}

TEST_P(Leases, A_renewal_moves_counter_and_end) {
    auto& mine = process();
    LeaseRow lease = lease_of("e", "one");
    mine.take_lease(lease, std::nullopt, 1s);
    const auto before = mine.find_lease("app", "e");
    lease.counter = 2;
    EXPECT_EQ(mine.renew_lease(lease, 7s), LeaseRenewal::renewed);
    const auto after = mine.find_lease("app", "e");
    EXPECT_EQ(after->counter, 2);
    EXPECT_GE(after->expires_at, before->expires_at + 5000);
    EXPECT_EQ(after->lease_ms, 7000);
}

TEST_P(Leases, A_missing_row_is_inserted_again_and_the_counter_goes_on) {
    auto& mine = process();
    LeaseRow lease = lease_of("e", "one");
    mine.take_lease(lease, std::nullopt, 7s);
    run("DELETE FROM @dbos_cpp_executors");
    lease.counter = 9;
    EXPECT_EQ(mine.renew_lease(lease, 7s), LeaseRenewal::inserted);
    const auto row = mine.find_lease("app", "e");
    ASSERT_TRUE(row);
    EXPECT_EQ(row->counter, 9);
    EXPECT_EQ(row->incarnation, "one");
    lease.counter = 10;
    EXPECT_EQ(mine.renew_lease(lease, 7s), LeaseRenewal::renewed);
}

TEST_P(Leases, Expiring_is_for_the_own_incarnation_only) {
    auto& mine = process();
    LeaseRow one = lease_of("e", "one");
    mine.take_lease(one, std::nullopt, 60s);
    mine.expire_lease(lease_of("e", "two"));
    EXPECT_GT(mine.find_lease("app", "e")->expires_at, now() + 30'000);
    mine.expire_lease(one);
    const auto expired = mine.find_lease("app", "e")->expires_at;
    EXPECT_LE(expired, now() + 1);
    mine.expire_lease(one);
    EXPECT_EQ(mine.find_lease("app", "e")->expires_at, expired);
}

TEST_P(Leases, Leases_are_listed_by_application) {
    auto& mine = process();
    for (const char* id : {"b", "a", "C"}) {
        LeaseRow lease = lease_of(id, id);
        mine.take_lease(lease, std::nullopt, 7s);
    }
    LeaseRow foreign = lease_of("z", "z");
    foreign.application_name = "billing";
    mine.take_lease(foreign, std::nullopt, 7s);
    std::vector<std::string> names;
    for (const auto& lease : mine.list_leases("app")) names.push_back(lease.executor_id);
    EXPECT_THAT(names, ElementsAre("C", "a", "b"));
}

TEST_P(Leases, Old_rows_are_removed_unless_a_pending_row_names_them) {
    auto& mine = process();
    for (const char* id : {"old", "used", "young"}) {
        LeaseRow lease = lease_of(id, id);
        mine.take_lease(lease, std::nullopt, 7s);
    }
    const auto long_ago = std::to_string(now() - 31ll * 24 * 3600 * 1000);
    run("UPDATE @dbos_cpp_executors SET expires_at = " + long_ago + " WHERE executor_id IN ('old', 'used')");
    workflow("w", {{"status", "PENDING"}, {"executor_id", "used"}});
    EXPECT_EQ(mine.prune_leases("app"), 1u);
    EXPECT_EQ(mine.find_lease("app", "old"), std::nullopt);
    EXPECT_TRUE(mine.find_lease("app", "used"));
    EXPECT_TRUE(mine.find_lease("app", "young"));
}

class Sweeps : public QueueTest {
   public:
    LeaseRow dead(const std::string& id = "dead") {
        LeaseRow lease = lease_of(id, id + "-1", 8);
        process().take_lease(lease, std::nullopt, 1s);
        return lease;
    }
    void pending(const std::string& id, const Values& values = {}) {
        Values row{{"status", "PENDING"},        {"executor_id", "dead"},
                   {"owner_xid", "t"},           {"recovery_attempts", "3"},
                   {"started_at_epoch_ms", "7"}, {"workflow_deadline_epoch_ms", "99"},
                   {"deduplication_id", id}};
        for (const auto& [column, value] : values) row[column] = value;
        workflow(id, row);
    }
};
DBOS_FOR_EVERY_DATABASE(Sweeps);

TEST_P(Sweeps, Writes_the_columns_of_a_recovery) {
    const LeaseRow lease = dead();
    pending("queued");
    pending("direct", {{"queue_name", std::nullopt}, {"started_at_epoch_ms", std::nullopt}});
    pending("unclaimed", {{"application_name", std::nullopt}, {"queue_name", "r"}});
    pending("version", {{"application_version", "v0"}});
    pending("foreign", {{"application_name", "billing"}});
    pending("peer", {{"executor_id", "peer"}});
    pending("ended", {{"status", "SUCCESS"}});
    std::vector<std::string> woken;
    auto& mine = process(nullptr, {.enqueued = [&](const std::string& queue) { woken.push_back(queue); }});
    const auto sweep = mine.sweep(lease, "app", "v1");
    EXPECT_EQ(sweep.handed_back, 3u);
    EXPECT_FALSE(sweep.more);
    EXPECT_FALSE(sweep.judged_wrong);
    EXPECT_THAT(sweep.queues, ElementsAre("_dbos_internal_queue", "q", "r"));
    EXPECT_THAT(woken, ElementsAre("_dbos_internal_queue", "q", "r"));
    for (const char* id : {"queued", "direct", "unclaimed"}) {
        EXPECT_EQ(value("status", id), "ENQUEUED");
        EXPECT_EQ(value("started_at_epoch_ms", id), std::nullopt);
        EXPECT_EQ(value("owner_xid", id), std::nullopt);
        EXPECT_EQ(number("recovery_attempts", id), 3);
        EXPECT_EQ(value("deduplication_id", id), id);
        EXPECT_EQ(number("workflow_deadline_epoch_ms", id), 99);
        EXPECT_EQ(value("executor_id", id), "dead");
        EXPECT_EQ(number("created_at", id), 1000);
        EXPECT_GT(number("updated_at", id), 1000);
        EXPECT_EQ(value("completed_at", id), std::nullopt);
    }
    EXPECT_EQ(value("queue_name", "queued"), "q");
    EXPECT_EQ(value("queue_name", "direct"), "_dbos_internal_queue");
    for (const char* id : {"version", "foreign", "peer"}) EXPECT_EQ(value("status", id), "PENDING");
    EXPECT_EQ(value("status", "ended"), "SUCCESS");
}

TEST_P(Sweeps, Only_the_judged_incarnation_as_it_was_judged) {
    const LeaseRow lease = dead();
    pending("w");
    auto& mine = process();
    LeaseRow renewed = lease;
    renewed.counter = 9;
    mine.renew_lease(renewed, 7s);
    auto sweep = mine.sweep(lease, "app", "v1");
    EXPECT_TRUE(sweep.judged_wrong);
    EXPECT_EQ(sweep.handed_back, 0u);
    LeaseRow next = lease_of("dead", "dead-2", 1);
    ASSERT_EQ(mine.take_lease(next, renewed, 7s), LeaseTake::taken);
    sweep = mine.sweep(renewed, "app", "v1");
    EXPECT_TRUE(sweep.judged_wrong);
    run("DELETE FROM @dbos_cpp_executors");
    EXPECT_TRUE(mine.sweep(next, "app", "v1").judged_wrong);
    EXPECT_EQ(value("status", "w"), "PENDING");
}

TEST_P(Sweeps, Goes_a_thousand_rows_at_a_time) {
    const LeaseRow lease = dead();
    workflows("w", 2500, 1000, 0, {{"status", "PENDING"}, {"executor_id", "dead"}, {"owner_xid", "t"}});
    auto& mine = process();
    std::vector<std::size_t> steps;
    std::vector<bool> more;
    for (int n = 0; n < 3; ++n) {
        const auto sweep = mine.sweep(lease, "app", "v1");
        steps.push_back(sweep.handed_back);
        more.push_back(sweep.more);
    }
    EXPECT_THAT(steps, ElementsAre(1000u, 1000u, 500u));
    EXPECT_THAT(more, ElementsAre(true, true, false));
    EXPECT_EQ(count("status = 'PENDING'"), 0);
    // Looked at again later: from the beginning.
    pending("late", {{"created_at", "1"}});
    EXPECT_EQ(mine.sweep(lease, "app", "v1").handed_back, 1u);
}

TEST_P(Sweeps, Two_sweepers_hand_every_row_back_once) {
    const LeaseRow lease = dead();
    constexpr int kRows = 6000;
    workflows("w", kRows, 1000, 1, {{"status", "PENDING"}, {"executor_id", "dead"}, {"owner_xid", "t"}});
    std::vector<std::size_t> got(3, 0);
    std::vector<seam::Thread> threads;
    for (std::size_t n = 0; n < got.size(); ++n) {
        SystemDatabase& mine = process();
        threads.push_back(seam::spawn("sweeper", [&lease, &got, &mine, n] {
            for (bool more = true; more;) {
                const auto sweep = mine.sweep(lease, "app", "v1");
                got[n] += sweep.handed_back;
                more = sweep.more;
            }
        }));
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(got[0] + got[1] + got[2], static_cast<std::size_t>(kRows));
    EXPECT_EQ(count("status = 'ENQUEUED'"), kRows);
}

TEST_P(Sweeps, A_locked_row_is_left_for_the_next_look) {
    if (!postgres()) GTEST_SKIP() << "SQLite has no row locks";
    const LeaseRow lease = dead();
    pending("a");
    pending("b");
    auto other = open();
    other->begin();
    other->query("SELECT 1 FROM @workflow_status WHERE workflow_uuid = 'a' FOR UPDATE", {},
                 sql::Access::write);
    auto& mine = process();
    EXPECT_EQ(mine.sweep(lease, "app", "v1").handed_back, 1u);
    other->rollback();
    EXPECT_EQ(mine.sweep(lease, "app", "v1").handed_back, 1u);
}

TEST_P(Sweeps, The_holder_of_a_lease_cannot_come_back_in_the_middle) {
    if (!postgres()) GTEST_SKIP() << "SQLite has one writer at a time";
    const LeaseRow lease = dead();
    pending("w");
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    bool refused = false;
    hooks->before = [&](const sql::Statement& statement, const sql::Params&) {
        if (std::string(statement.name) != "sweep") return;
        auto holder = open();
        holder->begin();
        holder->query("SELECT set_config('lock_timeout', '100', true)", {}, sql::Access::write);
        try {
            holder->query("UPDATE @dbos_cpp_executors SET counter = counter + 1", {}, sql::Access::write);
        } catch (const DatabaseError& error) {
            refused = error.sqlstate() == "55P03";
        }
    };
    EXPECT_EQ(process(hooks).sweep(lease, "app", "v1").handed_back, 1u);
    EXPECT_TRUE(refused);
}

TEST_P(Sweeps, The_own_id_is_recovered_without_a_lease) {
    workflows("w", 1500, 1000, 1, {{"status", "PENDING"}, {"executor_id", "dead"}, {"owner_xid", "t"}});
    pending("other", {{"application_version", "v0"}});
    auto& mine = process();
    EXPECT_EQ(mine.recover_own("dead", "app", "v1"), 1500u);
    EXPECT_EQ(count("status = 'ENQUEUED' AND owner_xid IS NULL"), 1500);
    EXPECT_EQ(mine.recover_own("dead", "app", "v1"), 0u);
    EXPECT_THAT(mine.pending_executors("app", "v1"), IsEmpty());
    EXPECT_THAT(mine.pending_executors("app", "v0"), ElementsAre("dead"));
}

TEST_P(Sweeps, Peers_are_notified) {
    if (!postgres()) GTEST_SKIP() << "the wake file has its own tests";
    const LeaseRow lease = dead();
    pending("w");
    auto hooks = std::make_shared<HookedConnection::Hooks>();
    std::vector<std::string> payloads;
    hooks->before = [&](const sql::Statement& statement, const sql::Params& params) {
        if (std::string(statement.name) == "notify_wake")
            payloads.emplace_back(std::get<std::string_view>(params[0]));
    };
    process(hooks).sweep(lease, "app", "v1");
    char expected[64];
    std::snprintf(expected, sizeof expected, " q:%08x w:", wake_hash("q"));
    EXPECT_THAT(payloads, ElementsAre(database().schema() + expected));
}

}  // namespace
}  // namespace dbos::sysdb::test
