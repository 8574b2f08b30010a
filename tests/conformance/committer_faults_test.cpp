// Lost acknowledgements, refused connections, locks that somebody holds, and the end of a process.
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "support/collected.hpp"
#include "support/faulty_connection.hpp"
#include "support/system_database.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;

class CommitterFaults : public SystemDatabaseTest {
   public:
    void SetUp() override {
        SystemDatabaseTest::SetUp();
        if (IsSkipped()) return;
        system().start_workflow(pending("w", "t"));
        system().start_workflow(pending("v", "t"));
    }
    std::unique_ptr<SystemDatabase> faulty(DatabaseOptions with = {}) {
        with.decorate = FaultyConnection::wrap(faults_);
        return make(std::move(with));
    }
    Faults& faults() { return *faults_; }

   private:
    std::shared_ptr<Faults> faults_ = std::make_shared<Faults>();
};
DBOS_FOR_EVERY_DATABASE(CommitterFaults);

ChildStart child(const std::string& parent, std::int32_t number, const NewWorkflow& workflow) {
    ChildStart start;
    start.parent = {parent, "t"};
    start.checkpoint = SystemDatabaseTest::step(number, "", 5000);
    start.checkpoint.output.reset();
    start.child = workflow;
    return start;
}

TEST_P(CommitterFaults, a_lost_acknowledgement_is_recognised_as_ones_own) {
    auto database = faulty();
    for (const Fault fault : {Fault::refuse, Fault::lose_ack}) {
        const std::string id = fault == Fault::refuse ? "r" : "l";
        faults().next({fault});
        const StartResult start = database->start_workflow(pending(id, "t"));
        EXPECT_EQ(start.kind, StartResult::Kind::created);
        EXPECT_EQ(start.owner_xid, "t");
        faults().next({fault, fault});
        EXPECT_EQ(database->record_step({id, "t"}, step(0, "1", 2000)).kind, StepResult::Kind::recorded);
        faults().next({fault});
        const StepResult first = database->record_step({id, "t"}, step(1, "1", 2000), OnConflict::first_wins);
        EXPECT_EQ(first.kind, StepResult::Kind::recorded);
        EXPECT_EQ(first.stored.completed_at_ms, 2000);
        faults().next({fault});
        const ChildResult started = database->start_child(child(id, 2, enqueued(id + "-2")));
        EXPECT_EQ(started.checkpoint, StepResult::Kind::recorded);
        EXPECT_EQ(started.start.kind, StartResult::Kind::created);
        faults().next({fault});
        EXPECT_EQ(database->record_outcome({{id, "t"}, true, "42", {}}), OutcomeResult::recorded);
    }
    EXPECT_EQ(one("SELECT count(*) FROM @operation_outputs"), "6");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status"), "6");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_output WHERE output = '42'"), "2");
}

TEST_P(CommitterFaults, a_lost_acknowledgement_of_a_whole_batch) {
    auto database = faulty();
    Collected collected;
    database->start_workflow(pending("u", "t"));
    faults().close_gate();
    database->record_step_async({"u", "t"}, step(0, "0", 2000), OnConflict::report, collected.step("gate"));
    faults().wait_for_commit();
    for (int n = 0; n < 20; ++n) {
        const std::string id = "n" + std::to_string(n);
        database->start_workflow_async(enqueued(id), collected.start(id));
    }
    database->record_step_async({"w", "t"}, step(0, "1", 2000), OnConflict::report, collected.step("w0"));
    database->record_step_async({"w", "t"}, step(1, "1", 2000), OnConflict::first_wins, collected.step("w1"));
    database->record_step_async({"w", "old"}, step(2, "1", 2000), OnConflict::report,
                                collected.step("stale"));
    database->record_outcome_async({{"v", "t"}, false, "bad", {}}, collected.outcome("v"));
    faults().next({Fault::none, Fault::lose_ack, Fault::lose_ack});
    faults().open_gate();
    ASSERT_TRUE(collected.wait());
    EXPECT_EQ(collected.errors(), 0u);
    for (int n = 0; n < 20; ++n) {
        EXPECT_EQ(collected.started("n" + std::to_string(n)).kind, StartResult::Kind::created);
    }
    EXPECT_EQ(collected.recorded("w0").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected.recorded("w1").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected.recorded("stale").kind, StepResult::Kind::lost);
    EXPECT_EQ(collected.ended("v"), OutcomeResult::recorded);
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_input"), "23");
}

TEST_P(CommitterFaults, what_others_did_meanwhile_is_seen) {
    auto database = faulty();
    // A start whose acknowledgement was lost, taken over by a peer: created by us, not ours to run.
    faults().meanwhile(
        [this] { write("UPDATE @workflow_status SET owner_xid = 'peer' WHERE workflow_uuid = 'x'"); });
    faults().next({Fault::lose_ack});
    const StartResult start = database->start_workflow(pending("x", "t"));
    EXPECT_EQ(start.kind, StartResult::Kind::created);
    EXPECT_EQ(start.owner_xid, "peer");
    // A step: the run is lost, whatever is recorded.
    faults().meanwhile(
        [this] { write("UPDATE @workflow_status SET owner_xid = 'peer' WHERE workflow_uuid = 'w'"); });
    faults().next({Fault::lose_ack});
    EXPECT_EQ(database->record_step({"w", "t"}, step(0, "1", 2000)).kind, StepResult::Kind::lost);
    // An outcome that was refused, and the run cancelled: nobody's acknowledgement was lost.
    faults().next({Fault::refuse});
    write("UPDATE @workflow_status SET status = 'CANCELLED', owner_xid = NULL WHERE workflow_uuid = 'v'");
    EXPECT_EQ(database->record_outcome({{"v", "t"}, true, "42", {}}), OutcomeResult::lost);
}

TEST_P(CommitterFaults, a_repeated_start_does_not_clear_what_a_peer_has_recorded) {
    auto database = faulty();
    faults().meanwhile([this] {
        // A worker has claimed and begun it before the acknowledgement got lost.
        write("UPDATE @workflow_status SET owner_xid = 'peer', status = 'PENDING' WHERE workflow_uuid = 'x'");
        auto peer = make();
        peer->record_step({"x", "peer"}, step(0, "1", 2000));
    });
    faults().next({Fault::lose_ack});
    EXPECT_EQ(database->start_workflow(enqueued("x")).kind, StartResult::Kind::created);
    EXPECT_EQ(one("SELECT count(*) FROM @operation_outputs"), "1");
}

TEST_P(CommitterFaults, without_retries_the_error_says_that_the_outcome_is_unknown) {
    DatabaseOptions with;
    with.retry_connection_errors = false;
    auto database = faulty(with);
    faults().next({Fault::lose_ack, Fault::refuse});
    try {
        database->record_step({"w", "t"}, step(0, "1", 2000));
        FAIL();
    } catch (const DatabaseError& error) {
        EXPECT_EQ(error.kind(), DatabaseErrorKind::connection);
        EXPECT_TRUE(error.outcome_unknown());
    }
    try {
        database->record_step({"w", "t"}, step(1, "1", 2000));
        FAIL();
    } catch (const DatabaseError& error) {
        EXPECT_EQ(error.kind(), DatabaseErrorKind::connection);
        EXPECT_FALSE(error.outcome_unknown());
    }
    EXPECT_EQ(database->record_step({"w", "t"}, step(2, "1", 2000)).kind, StepResult::Kind::recorded);
}

TEST_P(CommitterFaults, close_sends_what_waits) {
    auto database = faulty();
    Collected collected;
    faults().close_gate();
    for (int n = 0; n < 10; ++n) {
        const std::string id = "n" + std::to_string(n);
        database->start_workflow_async(enqueued(id), collected.start(id));
    }
    faults().wait_for_commit();
    std::thread closing([&] { database->close(std::chrono::seconds(60)); });
    faults().open_gate();
    closing.join();
    ASSERT_TRUE(collected.wait(1));
    EXPECT_EQ(collected.errors(), 0u);
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status WHERE workflow_uuid LIKE 'n%'"), "10");
}

TEST_P(CommitterFaults, close_fails_what_cannot_be_sent) {
    auto database = faulty();
    faults().always(Fault::refuse);
    Collected collected;
    for (int n = 0; n < 10; ++n) {
        const std::string id = "n" + std::to_string(n);
        database->start_workflow_async(enqueued(id), collected.start(id));
    }
    EXPECT_TRUE(eventually([&] { return faults().commits() > 0; }));
    database->close(std::chrono::milliseconds(1));
    ASSERT_TRUE(collected.wait(1));
    for (int n = 0; n < 10; ++n) {
        try {
            std::rethrow_exception(collected.error("n" + std::to_string(n)));
        } catch (const DatabaseError& error) {
            EXPECT_EQ(error.kind(), DatabaseErrorKind::closed);
        }
    }
    EXPECT_EQ(database->pending_writes(), 0u);
}

TEST_P(CommitterFaults, a_forked_child_can_do_nothing_and_harms_nobody) {
    auto database = make();
    EXPECT_EQ(database->record_step({"w", "t"}, step(0, "1", 2000)).kind, StepResult::Kind::recorded);
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
        int refused = 0;
        try {
            database->record_step({"w", "t"}, step(1, "1", 2000));
        } catch (const UsageError&) {
            ++refused;
        }
        try {
            database->statuses(std::vector<std::string>{"w"});
        } catch (const UsageError&) {
            ++refused;
        }
        database->close();
        database.reset();
        ::_exit(refused == 2 ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    EXPECT_EQ(database->record_step({"w", "t"}, step(1, "1", 2000)).kind, StepResult::Kind::recorded);
}

// ------------------------------------------------------------------------------------------------ locks (PostgreSQL)

class CommitterLocks : public CommitterFaults {
   public:
    void SetUp() override {
        CommitterFaults::SetUp();
        if (IsSkipped()) return;
        holder_ = open();
        holder_->begin();
    }
    void TearDown() override {
        holder_.reset();
        CommitterFaults::TearDown();
    }
    sql::Connection& holder() { return *holder_; }
    void hold_new_row(const std::string& id) {
        holder().query(
            "INSERT INTO @workflow_status (workflow_uuid, status, name, queue_name, deduplication_id, "
            "creator_xid) "
            "VALUES ($1, 'ENQUEUED', 'wf', 'q', 'd', 'holder')",
            {std::string_view(id)}, sql::Access::write);
    }
    std::string holder_pid() { return holder().query("SELECT pg_backend_pid()").at(0, 0).string(); }

   private:
    std::unique_ptr<sql::Connection> holder_;
};
INSTANTIATE_TEST_SUITE_P(Postgres, CommitterLocks, testing::Values(sql::Backend::postgres), backend_name);

TEST_P(CommitterLocks, one_blocked_start_stalls_no_other_write) {
    hold_new_row("x");
    Collected collected;
    system().start_workflow_async(enqueued("x"), collected.start("x"));
    NewWorkflow deduplicated = enqueued("y");
    deduplicated.deduplication_id = "d";
    system().start_workflow_async(deduplicated, collected.start("y"));
    for (int n = 0; n < 50; ++n) {  // one after the other, beside the two that wait
        EXPECT_EQ(system().record_step({"w", "t"}, step(n, "1", 2000)).kind, StepResult::Kind::recorded);
    }
    EXPECT_FALSE(collected.has("x"));
    EXPECT_FALSE(collected.has("y"));
    holder().commit();
    ASSERT_TRUE(collected.wait());
    EXPECT_EQ(collected.started("x").kind, StartResult::Kind::existing);
    EXPECT_EQ(collected.started("y").kind, StartResult::Kind::deduplicated);
    EXPECT_EQ(collected.started("y").holder, "x");
}

TEST_P(CommitterLocks, a_rolled_back_holder_lets_the_start_through) {
    hold_new_row("x");
    Collected collected;
    system().start_workflow_async(enqueued("x"), collected.start("x"));
    EXPECT_EQ(system().record_step({"w", "t"}, step(0, "1", 2000)).kind, StepResult::Kind::recorded);
    holder().rollback();
    ASSERT_TRUE(collected.wait());
    EXPECT_EQ(collected.started("x").kind, StartResult::Kind::created);
    EXPECT_EQ(one("SELECT inputs FROM @workflow_input WHERE workflow_uuid = 'x'"),
              "{\"positionalArgs\":[1]}");
}

TEST_P(CommitterLocks, a_start_that_stays_blocked_fails_and_names_the_holder) {
    hold_new_row("x");
    DatabaseOptions with;
    with.blocked_after = std::chrono::milliseconds(300);
    auto database = make(with);
    try {
        database->start_workflow(enqueued("x"));
        FAIL();
    } catch (const DatabaseError& error) {
        EXPECT_EQ(error.kind(), DatabaseErrorKind::blocked);
        EXPECT_NE(std::string(error.what()).find("workflow x"), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find(holder_pid()), std::string::npos) << error.what();
    }
}

TEST_P(CommitterLocks, a_blocked_checkpoint_waits_and_keeps_its_order) {
    holder().query("SELECT 1 FROM @workflow_status WHERE workflow_uuid = 'w' FOR UPDATE", {},
                   sql::Access::write);
    DatabaseOptions with;
    with.blocked_after = std::chrono::milliseconds(300);
    seam::Atomic<int> reported{0};
    with.log = [&reported](const LogRecord& record) {
        if (std::string_view(record.message) == "a checkpoint waits for a lock") reported.fetch_add(1);
    };
    auto database = make(with);
    Collected collected;
    database->record_step_async({"w", "t"}, step(0, "1", 2000), OnConflict::report, collected.step("w0"));
    database->record_step_async({"w", "t"}, step(1, "1", 2000), OnConflict::report, collected.step("w1"));
    database->record_outcome_async({{"w", "t"}, true, "1", {}}, collected.outcome("w"));
    database->record_step_async({"w", "t"}, step(2, "1", 2000), OnConflict::report, collected.step("w2"));
    for (int n = 0; n < 20; ++n) {
        EXPECT_EQ(database->record_step({"v", "t"}, step(n, "1", 2000)).kind, StepResult::Kind::recorded);
    }
    EXPECT_TRUE(eventually([&] { return reported.load() > 0; }));
    EXPECT_FALSE(collected.has("w0"));
    holder().commit();
    ASSERT_TRUE(collected.wait());
    EXPECT_EQ(collected.recorded("w0").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected.recorded("w1").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected.ended("w"), OutcomeResult::recorded);
    EXPECT_EQ(collected.recorded("w2").kind, StepResult::Kind::lost);
}

TEST_P(CommitterLocks, no_lock_timeout_leaks_into_the_session) {
    // What the committer sets is of its transaction: a lone write and a batch leave the connection as it was.
    auto connection = open();
    const std::string before = connection->query("SELECT current_setting('lock_timeout')").at(0, 0).string();
    DatabaseOptions with;
    sql::Connection* seen = nullptr;
    with.decorate = [&seen](std::unique_ptr<sql::Connection> inner) {
        seen = inner.get();
        return inner;
    };
    auto database = make(with);
    EXPECT_EQ(database->record_step({"w", "t"}, step(0, "1", 2000)).kind, StepResult::Kind::recorded);
    ASSERT_NE(seen, nullptr);
    EXPECT_EQ(seen->query("SELECT current_setting('lock_timeout')").at(0, 0).string(), before);
}

TEST_P(CommitterLocks, writers_that_lock_the_same_rows_do_not_deadlock) {
    std::vector<std::unique_ptr<SystemDatabase>> processes;
    for (int n = 0; n < 3; ++n) processes.push_back(make());
    for (int n = 0; n < 40; ++n) system().start_workflow(pending("r" + std::to_string(n), "t"));
    holder().rollback();
    std::vector<std::thread> threads;
    seam::Atomic<int> wrong{0};
    for (std::size_t process = 0; process < processes.size(); ++process) {
        for (int thread = 0; thread < 8; ++thread) {
            threads.emplace_back([&, process, thread] {
                for (int n = 0; n < 40; ++n) {
                    const int row = thread % 2 == 0 ? n : 39 - n;
                    const auto number = static_cast<std::int32_t>(process * 100) + thread;
                    const StepResult result = processes[process]->record_step(
                        {"r" + std::to_string(row), "t"}, step(number, "1", 2000));
                    if (result.kind != StepResult::Kind::recorded) wrong.fetch_add(1);
                }
            });
        }
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong.load(), 0);
    EXPECT_EQ(one("SELECT count(*) FROM @operation_outputs"), std::to_string(3 * 8 * 40));
}

TEST_P(CommitterLocks, killed_connections_lose_nothing) {
    holder().rollback();
    auto database = make();
    seam::Atomic<bool> done{false};
    seam::Atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 8; ++thread) {
        threads.emplace_back([&, thread] {
            for (int n = 0; n < 40; ++n) {
                const std::string id = "k" + std::to_string(thread) + "-" + std::to_string(n);
                const bool ok =
                    database->start_workflow(pending(id, "t" + id)).kind == StartResult::Kind::created &&
                    database->record_step({id, "t" + id}, step(0, "1", 2000)).kind ==
                        StepResult::Kind::recorded &&
                    database->record_outcome({{id, "t" + id}, true, id, {}}) == OutcomeResult::recorded;
                if (!ok) wrong.fetch_add(1);
            }
        });
    }
    std::thread killer([&] {
        auto connection = open();
        for (int n = 0; n < 3 && !done.load(); ++n) {
            // Whoever has just spoken of this test's schema.
            connection->query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
                "query "
                "LIKE '%' || $1 || '%'",
                {std::string_view(database->options().open.schema)}, sql::Access::write);
            eventually([&] { return done.load() || database->pending_writes() > 0; }, 1);
        }
    });
    for (std::thread& thread : threads) thread.join();
    done.store(true);
    killer.join();
    EXPECT_EQ(wrong.load(), 0);
    peek().usable();
    const auto fresh = open();
    EXPECT_EQ(fresh->query("SELECT count(*) FROM @workflow_output").at(0, 0).string(), "320");
    EXPECT_EQ(fresh->query("SELECT count(*) FROM @operation_outputs").at(0, 0).string(), "320");
}

}  // namespace
}  // namespace dbos::test
