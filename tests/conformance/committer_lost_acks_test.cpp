// Every kind of write whose acknowledgement is lost, whether it was executed or not (safety 2 and 3); outcomes of both kinds
// in one batch.
#include <thread>

#include "support/committer.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;

class CommitterLostAcks : public CommitterTest {
   public:
    void SetUp() override {
        CommitterTest::SetUp();
        if (IsSkipped() || HasFailure()) return;
        for (const char* id : {"steps", "good", "bad", "parent"}) database().start_workflow(pending(id, "t"));
    }
    /// One write of every kind, together in a batch. The child's start blocks, so it has a thread.
    ChildResult every_kind(std::function<void()> before_release) {
        ChildResult started;
        std::thread starting;
        together([&] {
            starting =
                std::thread([&] { started = database().start_child(child("parent", 0, enqueued("child"))); });
            database().start_workflow_async(pending("direct", "t"), collected().start("direct"));
            database().start_workflow_async(enqueued("queued"), collected().start("queued"));
            record("steps", 0, collected().step("step"));
            record("steps", 1, collected().step("first wins"), "1", OnConflict::first_wins);
            end("good", true, "\"fine\"", collected().outcome("good"));
            end("bad", false, "\"failed\"", collected().outcome("bad"));
            // "gate" and the seven above: all are in before the gate opens.
            EXPECT_TRUE(eventually([&] { return database().pending_writes() == 8; }));
            before_release();
        });
        starting.join();
        return started;
    }
    std::vector<std::string> steps_of(const std::string& id) {
        return rows(
            "SELECT function_id, output, child_workflow_id FROM @operation_outputs WHERE "
            "workflow_uuid = $1 ORDER BY 1",
            {std::string_view(id)});
    }
    void expect_all_written(const ChildResult& started) {
        EXPECT_EQ(collected().errors(), 0u);
        EXPECT_EQ(collected().started("direct").kind, StartResult::Kind::created);
        EXPECT_EQ(collected().started("direct").status, "PENDING");
        EXPECT_EQ(collected().started("direct").owner_xid, "t");
        EXPECT_EQ(collected().started("queued").kind, StartResult::Kind::created);
        EXPECT_EQ(collected().recorded("step").kind, StepResult::Kind::recorded);
        EXPECT_EQ(collected().recorded("first wins").kind, StepResult::Kind::recorded);
        EXPECT_EQ(collected().recorded("first wins").stored.output, "1");
        EXPECT_EQ(started.checkpoint, StepResult::Kind::recorded);
        EXPECT_EQ(started.start.kind, StartResult::Kind::created);
        EXPECT_EQ(collected().ended("good"), OutcomeResult::recorded);
        EXPECT_EQ(collected().ended("bad"), OutcomeResult::recorded);
        EXPECT_EQ(steps_of("steps"), (std::vector<std::string>{"0|1|-", "1|1|-"}));
        EXPECT_EQ(steps_of("parent"), (std::vector<std::string>{"0|-|child"}));
        EXPECT_EQ(rows("SELECT w.workflow_uuid, w.status, o.output, o.error, w.owner_xid FROM "
                       "@workflow_status w JOIN @workflow_output o ON o.workflow_uuid = w.workflow_uuid "
                       "ORDER BY 1"),
                  (std::vector<std::string>{"bad|ERROR|-|\"failed\"|-", "good|SUCCESS|\"fine\"|-|-"}));
        EXPECT_EQ(one("SELECT count(*) FROM @workflow_input i JOIN @workflow_status w ON w.workflow_uuid = "
                      "i.workflow_uuid WHERE w.workflow_uuid IN ('direct', 'queued', 'child')"),
                  "3");
    }
};
DBOS_FOR_EVERY_DATABASE(CommitterLostAcks);

TEST_P(CommitterLostAcks, a_batch_of_every_kind_that_was_executed) {
    main().next({Fault::none, Fault::lose_ack, Fault::lose_ack});
    expect_all_written(every_kind([] {}));
}

TEST_P(CommitterLostAcks, a_batch_of_every_kind_that_was_not_executed) {
    main().next({Fault::none, Fault::drop, Fault::refuse, Fault::drop});
    expect_all_written(every_kind([] {}));
}

TEST_P(CommitterLostAcks, each_kind_alone_that_was_not_executed) {
    main().next({Fault::drop});
    EXPECT_EQ(database().start_workflow(pending("a", "t")).owner_xid, "t");
    main().next({Fault::drop});
    EXPECT_EQ(database().record_step({"a", "t"}, step(0, "1", 2000)).kind, StepResult::Kind::recorded);
    main().next({Fault::drop});
    EXPECT_EQ(database().record_step({"a", "t"}, step(1, "2", 2000), OnConflict::first_wins).stored.output,
              "2");
    main().next({Fault::drop});
    const ChildResult started = database().start_child(child("a", 2, enqueued("a-2")));
    EXPECT_EQ(started.checkpoint, StepResult::Kind::recorded);
    EXPECT_EQ(started.start.kind, StartResult::Kind::created);
    main().next({Fault::drop});
    EXPECT_EQ(database().record_outcome({{"a", "t"}, false, "\"e\"", {}}), OutcomeResult::recorded);
    EXPECT_EQ(steps_of("a"), (std::vector<std::string>{"0|1|-", "1|2|-", "2|-|a-2"}));
    EXPECT_EQ(one("SELECT status FROM @workflow_status WHERE workflow_uuid = 'a'"), "ERROR");
}

TEST_P(CommitterLostAcks, a_peer_that_took_over_in_between_is_seen_by_every_kind) {
    // Nothing of the batch was executed. Before it is written again a peer has taken the runs over, has recorded a step and
    // an outcome of its own, and somebody else has started the workflows.
    const auto peer = make();
    main().next({Fault::none, Fault::drop});
    main().meanwhile([&] {
        write(
            "UPDATE @workflow_status SET owner_xid = 'peer' WHERE workflow_uuid IN ('steps', 'good', 'bad', "
            "'parent')");
        peer->record_step({"steps", "peer"}, step(0, "theirs", 3000));
        peer->record_outcome({{"good", "peer"}, true, "\"theirs\"", {}});
        peer->start_workflow(pending("direct", "peer"));
        NewWorkflow other = enqueued("queued");
        other.token = "peer";
        peer->start_workflow(other);
    });
    const ChildResult started = every_kind([] {});
    EXPECT_EQ(collected().errors(), 0u) << "a lost fence is the result of a row, not an error";
    EXPECT_EQ(collected().started("direct").kind, StartResult::Kind::existing);
    EXPECT_EQ(collected().started("direct").owner_xid, "peer");
    EXPECT_EQ(collected().started("queued").kind, StartResult::Kind::existing);
    EXPECT_EQ(collected().recorded("step").kind, StepResult::Kind::lost);
    EXPECT_EQ(collected().recorded("first wins").kind, StepResult::Kind::lost);
    EXPECT_EQ(started.checkpoint, StepResult::Kind::lost);
    EXPECT_EQ(collected().ended("good"), OutcomeResult::lost) << "the payload of a peer is not ours";
    EXPECT_EQ(collected().ended("bad"), OutcomeResult::lost);
    EXPECT_EQ(steps_of("steps"), (std::vector<std::string>{"0|theirs|-"}));
    EXPECT_EQ(steps_of("parent"), std::vector<std::string>{});
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status WHERE workflow_uuid = 'child'"), "0");
    EXPECT_EQ(rows("SELECT workflow_uuid, output FROM @workflow_output"),
              (std::vector<std::string>{"good|\"theirs\""}));
}

TEST_P(CommitterLostAcks, a_run_taken_over_after_the_commit_is_not_ours_to_run) {
    // Rule 3: PENDING and created by us, but the row belongs to a peer, which has even handed it on.
    main().next({Fault::none, Fault::lose_ack});
    main().meanwhile([&] {
        write(
            "UPDATE @workflow_status SET owner_xid = 'peer', recovery_attempts = 1 WHERE workflow_uuid IN "
            "('direct', 'parent', 'steps')");
    });
    const ChildResult started = every_kind([] {});
    EXPECT_EQ(collected().errors(), 0u);
    EXPECT_EQ(collected().started("direct").status, "PENDING");
    EXPECT_EQ(collected().started("direct").owner_xid, "peer") << "not to be begun here";
    EXPECT_EQ(collected().recorded("step").kind, StepResult::Kind::lost);
    EXPECT_EQ(collected().recorded("first wins").kind, StepResult::Kind::lost);
    EXPECT_EQ(started.checkpoint, StepResult::Kind::lost);
    EXPECT_EQ(collected().ended("good"), OutcomeResult::recorded) << "it had ended before";
    EXPECT_EQ(collected().ended("bad"), OutcomeResult::recorded);
}

TEST_P(CommitterLostAcks, a_record_of_somebody_else_is_told_from_ones_own) {
    // Same fence, other record: two stacks of one run.
    main().next({Fault::drop});
    main().meanwhile([&] { make()->record_step({"steps", "t"}, step(0, "theirs", 3000)); });
    const StepResult other = database().record_step({"steps", "t"}, step(0, "mine", 2000));
    EXPECT_EQ(other.kind, StepResult::Kind::other);
    EXPECT_EQ(other.stored.output, "theirs");
    main().next({Fault::drop});
    main().meanwhile([&] { make()->record_step({"steps", "t"}, step(1, "theirs", 3000)); });
    const StepResult first =
        database().record_step({"steps", "t"}, step(1, "mine", 2000), OnConflict::first_wins);
    EXPECT_EQ(first.kind, StepResult::Kind::recorded);
    EXPECT_EQ(first.stored.output, "theirs") << "deliver what is stored";
}

TEST_P(CommitterLostAcks, outcomes_of_both_kinds_in_one_batch) {
    for (int n = 0; n < 12; ++n) database().start_workflow(pending("w" + std::to_string(n), "t"));
    const int before = main().commits();
    together([&] {
        for (int n = 0; n < 12; ++n) {
            const std::string id = "w" + std::to_string(n);
            end(id, n % 3 != 0, "\"" + id + "\"", collected().outcome(id));
        }
    });
    EXPECT_EQ(main().commits() - before, 2);  // the gate's, and one for all of them
    std::vector<std::string> expected;
    for (int n : {0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9}) {
        const std::string id = "w" + std::to_string(n);
        EXPECT_EQ(collected().ended(id), OutcomeResult::recorded);
        const std::string payload = "\"" + id + "\"";
        expected.push_back(id + (n % 3 != 0 ? "|SUCCESS|" + payload + "|-" : "|ERROR|-|" + payload));
    }
    EXPECT_EQ(
        rows("SELECT w.workflow_uuid, w.status, o.output, o.error FROM @workflow_status w JOIN "
             "@workflow_output o ON o.workflow_uuid = w.workflow_uuid WHERE w.workflow_uuid LIKE 'w%' AND "
             "w.completed_at IS NOT NULL ORDER BY w.workflow_uuid" +
             std::string(postgres() ? " COLLATE \"C\"" : "")),
        expected);
}

}  // namespace
}  // namespace dbos::test
