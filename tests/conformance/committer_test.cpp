// What batches hold and in which order they leave.
#include <algorithm>
#include <functional>
#include <thread>

#include "support/collected.hpp"
#include "support/faulty_connection.hpp"
#include "support/system_database.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;

class CommitterBatches : public SystemDatabaseTest {
   public:
    void SetUp() override {
        SystemDatabaseTest::SetUp();
        if (IsSkipped()) return;
        gated_ = with_faults();
        gated_->start_workflow(pending("first", "t"));
    }
    void TearDown() override {
        faults_->open_gate();
        gated_.reset();
        SystemDatabaseTest::TearDown();
    }
    std::unique_ptr<SystemDatabase> with_faults(DatabaseOptions with = {}) {
        with.decorate = FaultyConnection::wrap(faults_);
        return make(std::move(with));
    }
    /// What `submit` submits stands in one batch (as far as the committer lets it).
    template <class F>
    void together(F&& submit) {
        faults_->close_gate();
        gated_->record_step_async({"first", "t"}, step(next_++, "0", 2000), OnConflict::report,
                                  collected_.step("gate"));
        faults_->wait_for_commit();
        submit();
        faults_->open_gate();
        ASSERT_TRUE(collected_.wait());
    }
    SystemDatabase& gated() { return *gated_; }
    Faults& faults() { return *faults_; }
    Collected& collected() { return collected_; }

   private:
    std::shared_ptr<Faults> faults_ = std::make_shared<Faults>();
    std::unique_ptr<SystemDatabase> gated_;
    Collected collected_;
    std::int32_t next_ = 1000;
};
DBOS_FOR_EVERY_DATABASE(CommitterBatches);

TEST_P(CommitterBatches, everything_that_waits_is_one_commit) {
    for (int n = 0; n < 30; ++n) gated().start_workflow(pending("w" + std::to_string(n), "t"));
    const int before = faults().commits();
    together([&] {
        for (int n = 0; n < 30; ++n) {
            const std::string id = "w" + std::to_string(n);
            gated().record_step_async({id, "t"}, step(0, "1", 2000), OnConflict::report,
                                      collected().step(id));
            gated().start_workflow_async(enqueued("q" + id), collected().start("q" + id));
        }
    });
    EXPECT_EQ(faults().commits() - before, 2);  // the gate's and one more
    for (int n = 0; n < 30; ++n) {
        const std::string id = "w" + std::to_string(n);
        EXPECT_EQ(collected().recorded(id).kind, StepResult::Kind::recorded);
        EXPECT_EQ(collected().started("q" + id).kind, StartResult::Kind::created);
    }
    EXPECT_EQ(one("SELECT count(*) FROM @operation_outputs"), "31");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status w JOIN @workflow_input i ON i.workflow_uuid = "
                  "w.workflow_uuid AND "
                  "i.retention_timestamp = w.created_at"),
              "61");
}

TEST_P(CommitterBatches, the_fence_compares_pairs) {
    // W was taken over inside this process: its stale run (W, t1) and its new run (W, t2) write beside (V, t1) and (U, t2).
    gated().start_workflow(pending("W", "t2"));
    gated().start_workflow(pending("V", "t1"));
    gated().start_workflow(pending("U", "t2"));
    const int before = faults().commits();
    together([&] {
        gated().record_step_async({"W", "t1"}, step(0, "stale", 2000), OnConflict::report,
                                  collected().step("stale"));
        gated().record_step_async({"W", "t2"}, step(1, "new", 2000), OnConflict::report,
                                  collected().step("new"));
        gated().record_step_async({"V", "t1"}, step(0, "v", 2000), OnConflict::report, collected().step("v"));
        gated().record_step_async({"U", "t1"}, step(0, "u", 2000), OnConflict::first_wins,
                                  collected().step("u stale"));
        gated().record_step_async({"U", "t2"}, step(1, "u", 2000), OnConflict::first_wins,
                                  collected().step("u"));
        gated().record_outcome_async({{"V", "t2"}, true, "1", {}}, collected().outcome("v stale"));
    });
    EXPECT_EQ(faults().commits() - before, 2);
    EXPECT_EQ(collected().recorded("stale").kind, StepResult::Kind::lost);
    EXPECT_EQ(collected().recorded("new").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().recorded("v").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().recorded("u stale").kind, StepResult::Kind::lost);
    EXPECT_EQ(collected().recorded("u").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().ended("v stale"), OutcomeResult::lost);
    EXPECT_EQ(rows("SELECT workflow_uuid, function_id, output FROM @operation_outputs WHERE workflow_uuid <> "
                   "'first' ORDER BY 1, 2"),
              (std::vector<std::string>{"U|1|u", "V|0|v", "W|1|new"}));
}

TEST_P(CommitterBatches, every_result_of_every_kind_in_one_batch) {
    for (const char* id : {"a", "b", "c", "d", "e"}) gated().start_workflow(pending(id, "t"));
    gated().record_step({"a", "t"}, step(0, "mine", 2000));
    gated().record_step({"b", "t"}, step(0, "foreign", 1999));
    gated().record_step({"c", "t"}, step(0, "sleep", 1999));
    NewWorkflow holder = enqueued("holder");
    holder.deduplication_id = "d";
    gated().start_workflow(holder);
    together([&] {
        NewWorkflow refused = enqueued("refused");
        refused.deduplication_id = "d";
        NewWorkflow existing = enqueued("holder");
        existing.token = "x";
        gated().start_workflow_async(enqueued("new"), collected().start("new"));
        gated().start_workflow_async(existing, collected().start("existing"));
        gated().start_workflow_async(refused, collected().start("refused"));
        gated().record_step_async({"a", "t"}, step(0, "mine", 2000), OnConflict::report,
                                  collected().step("mine"));
        gated().record_step_async({"a", "t"}, step(1, "next", 2000), OnConflict::report,
                                  collected().step("next"));
        gated().record_step_async({"b", "t"}, step(0, "b", 2000), OnConflict::report,
                                  collected().step("other"));
        gated().record_step_async({"c", "t"}, step(0, "later", 2000), OnConflict::first_wins,
                                  collected().step("first"));
        gated().record_step_async({"gone", "t"}, step(0, "x", 2000), OnConflict::report,
                                  collected().step("gone"));
        gated().record_outcome_async({{"d", "t"}, true, "1", {}}, collected().outcome("d"));
        gated().record_outcome_async({{"e", "x"}, false, "1", {}}, collected().outcome("e"));
    });
    EXPECT_EQ(collected().errors(), 0u);
    EXPECT_EQ(collected().started("new").kind, StartResult::Kind::created);
    EXPECT_EQ(collected().started("existing").kind, StartResult::Kind::existing);
    EXPECT_EQ(collected().started("existing").name, "wf");
    EXPECT_EQ(collected().started("refused").kind, StartResult::Kind::deduplicated);
    EXPECT_EQ(collected().started("refused").holder, "holder");
    EXPECT_EQ(collected().recorded("mine").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().recorded("next").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().recorded("other").kind, StepResult::Kind::other);
    EXPECT_EQ(collected().recorded("other").stored.output, "foreign");
    EXPECT_EQ(collected().recorded("first").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().recorded("first").stored.output, "sleep");
    EXPECT_EQ(collected().recorded("gone").kind, StepResult::Kind::lost);
    EXPECT_EQ(collected().ended("d"), OutcomeResult::recorded);
    EXPECT_EQ(collected().ended("e"), OutcomeResult::lost);
}

TEST_P(CommitterBatches, one_conflict_key_stands_once_in_a_batch) {
    gated().start_workflow(pending("w", "t"));
    const int before = faults().commits();
    together([&] {
        gated().record_step_async({"w", "t"}, step(0, "1", 2000), OnConflict::report,
                                  collected().step("one"));
        gated().record_step_async({"w", "t"}, step(0, "2", 2001), OnConflict::report,
                                  collected().step("two"));
        NewWorkflow a = enqueued("a"), b = enqueued("b");
        a.deduplication_id = b.deduplication_id = "d";
        gated().start_workflow_async(a, collected().start("a"));
        gated().start_workflow_async(b, collected().start("b"));
        NewWorkflow same = enqueued("a");
        same.token = "x";
        gated().start_workflow_async(same, collected().start("same"));
    });
    // On PostgreSQL the checkpoint that "two" meets is a surprise: that batch is written twice.
    EXPECT_EQ(faults().commits() - before, postgres() ? 4 : 3);
    EXPECT_EQ(collected().recorded("one").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().recorded("two").kind, StepResult::Kind::other);
    EXPECT_EQ(collected().started("a").kind, StartResult::Kind::created);
    EXPECT_EQ(collected().started("b").kind, StartResult::Kind::deduplicated);
    EXPECT_EQ(collected().started("same").kind, StartResult::Kind::existing);
}

TEST_P(CommitterBatches, writes_of_one_workflow_leave_in_order) {
    gated().start_workflow(pending("w", "t"));
    together([&] {
        gated().record_step_async({"w", "t"}, step(0, "1", 2000), OnConflict::report,
                                  collected().step("before"));
        gated().record_outcome_async({{"w", "t"}, true, "1", {}}, collected().outcome("end"));
        gated().record_step_async({"w", "t"}, step(1, "1", 2000), OnConflict::report,
                                  collected().step("after"));
    });
    EXPECT_EQ(collected().recorded("before").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().ended("end"), OutcomeResult::recorded);
    EXPECT_EQ(collected().recorded("after").kind, StepResult::Kind::lost);
}

TEST_P(CommitterBatches, large_payloads_keep_the_order_of_their_workflow) {
    for (const char* id : {"w", "v"}) gated().start_workflow(pending(id, "t"));
    const std::string large(400'000, 'x');
    together([&] {
        gated().record_step_async({"w", "t"}, step(0, "1", 2000), OnConflict::report,
                                  collected().step("small"));
        gated().record_step_async({"w", "t"}, step(1, large, 2000), OnConflict::report,
                                  collected().step("large"));
        gated().record_step_async({"w", "t"}, step(2, "1", 2000), OnConflict::report,
                                  collected().step("next"));
        gated().record_outcome_async({{"w", "t"}, true, "1", {}}, collected().outcome("end"));
        gated().record_step_async({"v", "t"}, step(1, large, 2000), OnConflict::report,
                                  collected().step("v large"));
        gated().record_outcome_async({{"v", "t"}, true, large, {}}, collected().outcome("v end"));
        gated().record_step_async({"w", "t"}, step(3, "1", 2000), OnConflict::report,
                                  collected().step("late"));
    });
    for (const char* name : {"small", "large", "next", "v large"}) {
        EXPECT_EQ(collected().recorded(name).kind, StepResult::Kind::recorded) << name;
    }
    EXPECT_EQ(collected().ended("end"), OutcomeResult::recorded);
    EXPECT_EQ(collected().ended("v end"), OutcomeResult::recorded);
    EXPECT_EQ(collected().recorded("late").kind, StepResult::Kind::lost);
    EXPECT_EQ(one("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = 'w'"), "3");
}

TEST_P(CommitterBatches, partitions_strictly_increase_in_order_of_submission) {
    together([&] {
        for (int n = 0; n < 60; ++n) {
            NewWorkflow w = enqueued("w" + std::to_string(100 + n));
            w.queue_partition_key = n % 2 == 0 ? "even" : "odd";
            if (n % 3 == 0) w.queue_partition_key.reset();
            gated().start_workflow_async(w, collected().start(w.workflow_id));
        }
    });
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status WHERE queue_name = 'q'"), "60");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status a JOIN @workflow_status b ON a.workflow_uuid < "
                  "b.workflow_uuid AND "
                  "a.queue_partition_key = b.queue_partition_key WHERE a.created_at >= b.created_at"),
              "0");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status a JOIN @workflow_status b ON a.workflow_uuid < "
                  "b.workflow_uuid "
                  "WHERE a.queue_name = 'q' AND b.queue_name = 'q' AND a.queue_partition_key IS NULL AND "
                  "b.queue_partition_key IS NULL AND a.created_at > b.created_at"),
              "0");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status w JOIN @workflow_input i ON i.workflow_uuid = "
                  "w.workflow_uuid WHERE "
                  "i.retention_timestamp <> w.created_at OR w.updated_at <> w.created_at"),
              "0");
}

TEST_P(CommitterBatches, one_bad_write_hurts_no_other) {
    if (!postgres()) {
        write(
            "CREATE TRIGGER bad BEFORE INSERT ON workflow_status WHEN NEW.attributes = '{' BEGIN SELECT "
            "RAISE(ABORT, "
            "'refused'); END");
    }
    for (int n = 0; n < 10; ++n) gated().start_workflow(pending("w" + std::to_string(n), "t"));
    together([&] {
        for (int n = 0; n < 10; ++n) {
            const std::string id = "w" + std::to_string(n);
            gated().record_step_async({id, "t"}, step(0, "1", 2000), OnConflict::report,
                                      collected().step(id));
        }
        NewWorkflow bad = enqueued("bad");
        bad.attributes = "{";
        gated().start_workflow_async(bad, collected().start("bad"));
        StepRecord nul = step(1, std::string("a\0b", 3), 2000);
        gated().record_step_async({"w0", "t"}, nul, OnConflict::report, collected().step("nul"));
        gated().start_workflow_async(enqueued("good"), collected().start("good"));
    });
    EXPECT_THROW(std::rethrow_exception(collected().error("bad")), DatabaseError);
    for (int n = 0; n < 10; ++n) {
        EXPECT_EQ(collected().recorded("w" + std::to_string(n)).kind, StepResult::Kind::recorded);
    }
    EXPECT_EQ(collected().started("good").kind, StartResult::Kind::created);
    if (postgres()) {
        EXPECT_THROW(std::rethrow_exception(collected().error("nul")), UsageError);
    }
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status WHERE workflow_uuid = 'bad'"), "0");
}

// On PostgreSQL a batch takes its checkpoints, payloads and outcomes for new, and is written once more where one is not.
class CommitterCollisions : public CommitterBatches {
   public:
    /// Two batches, each with a row of `kind` that is there already, beside others that are new.
    void meet_twice(const std::string& kind, const std::function<void(const std::string& id)>& leave,
                    const std::function<void(const std::string& id)>& submit) {
        for (const char* round : {"1", "2"}) {
            const std::string there = kind + round;
            const std::string others = std::string("other") + round;
            for (const char* n : {"a", "b"}) gated().start_workflow(pending(others + n, "t"));
            leave(there);
            const int before = faults().commits();
            together([&] {
                gated().start_workflow_async(enqueued(others + "c"), collected().start(others + "c"));
                gated().record_step_async({others + "a", "t"}, step(0, "1", 2000), OnConflict::report,
                                          collected().step(others));
                gated().record_outcome_async({{others + "b", "t"}, true, "1", {}},
                                             collected().outcome(others));
                submit(there);
            });
            const bool surprised = postgres() && *round == '1';  // the second time it expects such rows
            EXPECT_EQ(faults().commits() - before, surprised ? 3 : 2) << there;
            EXPECT_EQ(collected().started(others + "c").kind, StartResult::Kind::created);
            EXPECT_EQ(collected().recorded(others).kind, StepResult::Kind::recorded);
            EXPECT_EQ(collected().ended(others), OutcomeResult::recorded);
        }
        EXPECT_EQ(collected().errors(), 0u);
        EXPECT_EQ(
            rows("SELECT w.workflow_uuid, s.function_id, i.workflow_uuid, o.output FROM "
                 "@workflow_status w LEFT JOIN @operation_outputs s ON s.workflow_uuid = "
                 "w.workflow_uuid LEFT JOIN @workflow_input i ON i.workflow_uuid = w.workflow_uuid "
                 "LEFT JOIN @workflow_output o ON o.workflow_uuid = w.workflow_uuid WHERE "
                 "w.workflow_uuid LIKE 'other1%' ORDER BY 1"),
            (std::vector<std::string>{"other1a|0|other1a|-", "other1b|-|other1b|1", "other1c|-|other1c|-"}));
    }
};
DBOS_FOR_EVERY_DATABASE(CommitterCollisions);

TEST_P(CommitterCollisions, with_a_checkpoint) {
    meet_twice(
        "step",
        [&](const std::string& id) {
            gated().start_workflow(pending(id, "t"));
            gated().record_step({id, "t"}, step(0, "theirs", 1999));
        },
        [&](const std::string& id) {
            gated().record_step_async({id, "t"}, step(0, "ours", 2000), OnConflict::report,
                                      collected().step(id));
        });
    EXPECT_EQ(collected().recorded("step1").kind, StepResult::Kind::other);
    EXPECT_EQ(collected().recorded("step2").stored.output, "theirs");
}

TEST_P(CommitterCollisions, with_the_payload_of_a_deleted_workflow) {
    meet_twice(
        "input",
        [&](const std::string& id) {
            write("INSERT INTO @workflow_input (workflow_uuid, inputs) VALUES ('" + id + "', 'old')");
        },
        [&](const std::string& id) { gated().start_workflow_async(enqueued(id), collected().start(id)); });
    EXPECT_EQ(collected().started("input1").kind, StartResult::Kind::created);
    EXPECT_EQ(collected().started("input2").kind, StartResult::Kind::created);
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_input WHERE inputs = 'old'"), "0");
}

TEST_P(CommitterCollisions, with_an_outcome_of_before) {
    meet_twice(
        "output",
        [&](const std::string& id) {
            gated().start_workflow(pending(id, "t"));
            write("INSERT INTO @workflow_output (workflow_uuid, error) VALUES ('" + id + "', 'old')");
        },
        [&](const std::string& id) {
            gated().record_outcome_async({{id, "t"}, true, "\"new\"", {}}, collected().outcome(id));
        });
    EXPECT_EQ(collected().ended("output1"), OutcomeResult::recorded);
    EXPECT_EQ(rows("SELECT workflow_uuid, output, error FROM @workflow_output WHERE workflow_uuid LIKE "
                   "'output%' ORDER BY 1"),
              (std::vector<std::string>{"output1|\"new\"|-", "output2|\"new\"|-"}));
}

TEST_P(CommitterBatches, mixed_writes_of_many_threads_end_with_exactly_the_expected_rows) {
    constexpr int kThreads = 64, kRounds = 50;  // four writes a round
    DatabaseOptions with;
    seam::Atomic<int> ended{0}, queued{0};
    with.local_wake.ended = [&ended](const std::string&) { ended.fetch_add(1); };
    with.local_wake.enqueued = [&queued](const std::string&) { queued.fetch_add(1); };
    auto database = make(with);
    seam::Atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
        threads.emplace_back([&, thread] {
            for (int round = 0; round < kRounds; ++round) {
                const std::string id = "w" + std::to_string(thread) + "-" + std::to_string(round);
                const bool ok =
                    database->start_workflow(pending(id, "t" + id)).kind == StartResult::Kind::created &&
                    database->record_step({id, "t" + id}, step(0, "1", 2000)).kind ==
                        StepResult::Kind::recorded &&
                    database->start_workflow(enqueued("q" + id)).kind == StartResult::Kind::created &&
                    database->record_outcome({{id, "t" + id}, round % 2 == 0, "1", {}}) ==
                        OutcomeResult::recorded;
                if (!ok) wrong.fetch_add(1);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong.load(), 0);
    EXPECT_EQ(database->pending_writes(), 0u);
    const int all = kThreads * kRounds;
    EXPECT_EQ(rows("SELECT status, count(*) FROM @workflow_status WHERE workflow_uuid <> 'first' GROUP BY "
                   "status ORDER BY 1"),
              (std::vector<std::string>{"ENQUEUED|" + std::to_string(all), "ERROR|" + std::to_string(all / 2),
                                        "SUCCESS|" + std::to_string(all / 2)}));
    EXPECT_EQ(one("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid <> 'first'"),
              std::to_string(all));
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_output"), std::to_string(all));
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_input"), std::to_string(2 * all + 1));
    EXPECT_EQ(ended.load(), all);
    EXPECT_EQ(queued.load(), all);
}

TEST_P(CommitterBatches, children_of_many_parents_in_one_batch) {
    constexpr int kParents = 20;
    for (int n = 0; n < kParents; ++n) gated().start_workflow(pending("p" + std::to_string(n), "t"));
    write("UPDATE @workflow_status SET owner_xid = 'peer' WHERE workflow_uuid = 'p7'");
    std::vector<std::thread> threads;
    std::vector<ChildResult> results(std::size_t{kParents} * 2);
    faults().close_gate();
    gated().record_step_async({"first", "t"}, step(1, "0", 2000), OnConflict::report,
                              collected().step("gate"));
    faults().wait_for_commit();
    for (int n = 0; n < kParents * 2; ++n) {
        threads.emplace_back([&, n] {
            const std::string parent = "p" + std::to_string(n / 2);
            ChildStart start;
            start.parent = {parent, "t"};
            start.checkpoint = step(n % 2, "", 5000);
            start.checkpoint.output.reset();
            start.child = enqueued(parent + "-" + std::to_string(n % 2));
            start.child.token = "t" + start.child.workflow_id;
            results[static_cast<std::size_t>(n)] = gated().start_child(start);
        });
    }
    EXPECT_TRUE(eventually([&] { return gated().pending_writes() == kParents * 2 + 1; }));
    faults().open_gate();
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(collected().wait());
    for (int n = 0; n < kParents * 2; ++n) {
        const ChildResult& result = results[static_cast<std::size_t>(n)];
        if (n / 2 == 7) {
            EXPECT_EQ(result.checkpoint, StepResult::Kind::lost);
        } else {
            EXPECT_EQ(result.checkpoint, StepResult::Kind::recorded);
            EXPECT_EQ(result.start.kind, StartResult::Kind::created);
        }
    }
    EXPECT_EQ(
        one("SELECT count(*) FROM @operation_outputs o JOIN @workflow_status c ON c.workflow_uuid = "
            "o.child_workflow_id "
            "JOIN @workflow_input i ON i.workflow_uuid = c.workflow_uuid WHERE o.workflow_uuid || '-' || "
            "o.function_id = c.workflow_uuid"),
        std::to_string((kParents - 1) * 2));
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status WHERE workflow_uuid LIKE 'p%-%'"),
              std::to_string((kParents - 1) * 2));
}

}  // namespace
}  // namespace dbos::test
