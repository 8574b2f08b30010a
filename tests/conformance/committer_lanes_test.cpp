// Order across the two connections of the committer: what names one workflow, or one deduplication id, leaves in the order of
// submission (safety 14). Only PostgreSQL has two.
#include <thread>

#include "support/committer.hpp"
#include "sysdb/committer.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;

class CommitterLanes : public CommitterTest {
   public:
    void SetUp() override {
        CommitterTest::SetUp();
        if (IsSkipped() || HasFailure()) return;
        for (const char* id : {"v", "w"}) database().start_workflow(pending(id, "t"));
    }
    const std::string large = std::string(kLargePayload + 1, 'x');
    NewWorkflow large_start(const std::string& id) const {
        NewWorkflow workflow = enqueued(id);
        workflow.inputs = large;
        return workflow;
    }
};
INSTANTIATE_TEST_SUITE_P(Postgres, CommitterLanes, testing::Values(sql::Backend::postgres), backend_name);

TEST_P(CommitterLanes, what_names_a_workflow_on_the_side_waits_and_others_do_not) {
    side().close_gate();
    NewWorkflow run = pending("x", "t");
    run.inputs = large;
    database().start_workflow_async(run, collected().start("x"));
    side().wait_for_commit();
    record("x", 0, collected().step("x0"));
    end("x", true, "1", collected().outcome("x"));
    record("x", 1, collected().step("late"));
    for (int n = 0; n < 20; ++n) {  // one after the other, while the side waits
        EXPECT_EQ(database().record_step({"w", "t"}, step(n, "1", 2000)).kind, StepResult::Kind::recorded);
    }
    for (const char* name : {"x", "x0", "late"}) EXPECT_FALSE(collected().has(name)) << name;
    side().open_gate();
    ASSERT_TRUE(collected().wait());
    EXPECT_EQ(collected().started("x").kind, StartResult::Kind::created);
    EXPECT_EQ(collected().recorded("x0").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().ended("x"), OutcomeResult::recorded);
    EXPECT_EQ(collected().recorded("late").kind, StepResult::Kind::lost) << "it came after the outcome";
    // Everything has left the side: the main connection has the workflow again.
    const int before = main().commits();
    EXPECT_EQ(database().record_step({"x", "t"}, step(2, "1", 2000)).kind, StepResult::Kind::lost);
    EXPECT_EQ(main().commits(), before + 1);
}

TEST_P(CommitterLanes, a_large_payload_waits_for_what_was_submitted_before_it) {
    hold();
    record("w", 0, collected().step("small"));
    end("w", true, large, collected().outcome("w"));
    record("v", 0, collected().step("v"), large);  // names nothing that waits
    main().open_gate();
    ASSERT_TRUE(collected().wait());
    EXPECT_EQ(collected().recorded("small").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().ended("w"), OutcomeResult::recorded);
    EXPECT_EQ(collected().recorded("v").kind, StepResult::Kind::recorded);
}

TEST_P(CommitterLanes, a_deduplication_id_keeps_its_order) {
    // The first holder stands in the batch, the second one is large. Were it sent aside, it would win: the main connection
    // is stopped, the side one is not, and works in the order of arrival.
    hold();
    NewWorkflow first = enqueued("first holder");
    first.deduplication_id = "d";
    NewWorkflow second = large_start("second holder");
    second.deduplication_id = "d";
    database().start_workflow_async(first, collected().start("first holder"));
    database().start_workflow_async(second, collected().start("second holder"));
    database().start_workflow_async(large_start("probe"), collected().start("probe"));
    main().pass_one();
    main().wait_for_commit();
    ASSERT_TRUE(collected().wait_for("probe"));
    main().open_gate();
    ASSERT_TRUE(collected().wait());
    EXPECT_EQ(collected().started("first holder").kind, StartResult::Kind::created);
    EXPECT_EQ(collected().started("second holder").kind, StartResult::Kind::deduplicated);
    EXPECT_EQ(collected().started("second holder").holder, "first holder");
}

TEST_P(CommitterLanes, a_child_whose_id_waits_on_the_side_does_not_overtake_it) {
    // Its parent has a checkpoint in the batch that is being formed, its own id is on the side.
    side().close_gate();
    database().start_workflow_async(large_start("c"), collected().start("c"));
    side().wait_for_commit();
    hold();
    record("w", 0, collected().step("w0"));
    ChildResult started;
    std::thread starting([&] { started = database().start_child(child("w", 1, enqueued("c"))); });
    EXPECT_TRUE(eventually([&] { return database().pending_writes() == 4; }));
    main().open_gate();
    EXPECT_TRUE(collected().wait_for("w0"));
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status WHERE workflow_uuid = 'c'"), "0");
    side().open_gate();
    starting.join();
    ASSERT_TRUE(collected().wait());
    EXPECT_EQ(collected().started("c").kind, StartResult::Kind::created);
    EXPECT_EQ(started.checkpoint, StepResult::Kind::recorded);
    EXPECT_EQ(one("SELECT length(inputs) FROM @workflow_input WHERE workflow_uuid = 'c'"),
              std::to_string(large.size()));
}

TEST_P(CommitterLanes, a_parents_large_checkpoint_comes_before_its_child) {
    side().close_gate();
    record("w", 0, collected().step("large"), large);
    side().wait_for_commit();
    ChildResult started;
    std::thread starting([&] { started = database().start_child(child("w", 1, enqueued("c"))); });
    EXPECT_TRUE(eventually([&] { return database().pending_writes() == 2; }));
    NewWorkflow again = enqueued("c");  // names the child, which waits behind its parent
    again.token = "other";
    database().start_workflow_async(again, collected().start("again"));
    EXPECT_EQ(database().record_step({"v", "t"}, step(0, "1", 2000)).kind, StepResult::Kind::recorded);
    EXPECT_FALSE(collected().has("again"));
    side().open_gate();
    starting.join();
    ASSERT_TRUE(collected().wait());
    EXPECT_EQ(started.start.kind, StartResult::Kind::created);
    EXPECT_EQ(collected().started("again").kind, StartResult::Kind::existing);
    EXPECT_EQ(
        rows("SELECT function_id, child_workflow_id FROM @operation_outputs WHERE workflow_uuid = 'w' ORDER "
             "BY 1"),
        (std::vector<std::string>{"0|-", "1|c"}));
}

}  // namespace
}  // namespace dbos::test
