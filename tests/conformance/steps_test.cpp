#include "support/system_database.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;

class Steps : public SystemDatabaseTest {
   public:
    void SetUp() override {
        SystemDatabaseTest::SetUp();
        if (IsSkipped()) return;
        system().start_workflow(pending("w", "t"));
    }
};
DBOS_FOR_EVERY_DATABASE(Steps);

TEST_P(Steps, a_checkpoint_is_recorded_with_all_its_columns) {
    const StepResult result = system().record_step({"w", "t"}, step(3, "\"x\"", 2000));
    EXPECT_EQ(result.kind, StepResult::Kind::recorded);
    EXPECT_EQ(one("SELECT workflow_uuid, function_id, function_name, output, error, child_workflow_id, "
                  "started_at_epoch_ms, "
                  "completed_at_epoch_ms, serialization, application_name FROM @operation_outputs"),
              "w|3|s3|\"x\"|-|-|1999|2000|portable_json|app");
    EXPECT_EQ(
        one("SELECT o.retention_timestamp >= w.created_at FROM @operation_outputs o, @workflow_status w"),
        postgres() ? "t" : "1");
}

TEST_P(Steps, a_wrong_token_or_a_missing_workflow_loses) {
    EXPECT_EQ(system().record_step({"w", "other"}, step(1, "1", 2000)).kind, StepResult::Kind::lost);
    EXPECT_EQ(system().record_step({"nobody", "t"}, step(1, "1", 2000)).kind, StepResult::Kind::lost);
    EXPECT_EQ(one("SELECT count(*) FROM @operation_outputs"), "0");
}

TEST_P(Steps, a_repeat_is_recognised_by_its_time) {
    EXPECT_EQ(system().record_step({"w", "t"}, step(1, "1", 2000)).kind, StepResult::Kind::recorded);
    EXPECT_EQ(system().record_step({"w", "t"}, step(1, "1", 2000)).kind, StepResult::Kind::recorded);
}

TEST_P(Steps, a_foreign_record_is_reported_and_kept) {
    system().record_step({"w", "t"}, step(1, "1", 2000));
    const StepResult result = system().record_step({"w", "t"}, step(1, "2", 3000));
    EXPECT_EQ(result.kind, StepResult::Kind::other);
    EXPECT_EQ(result.stored.output, "1");
    EXPECT_EQ(result.stored.completed_at_ms, 2000);
    EXPECT_EQ(one("SELECT output FROM @operation_outputs"), "1");
}

TEST_P(Steps, first_wins_delivers_what_stands) {
    EXPECT_EQ(system().record_step({"w", "t"}, step(1, "1", 2000), OnConflict::first_wins).stored.output,
              "1");
    const StepResult result = system().record_step({"w", "t"}, step(1, "2", 3000), OnConflict::first_wins);
    EXPECT_EQ(result.kind, StepResult::Kind::recorded);
    EXPECT_EQ(result.stored.output, "1");
    EXPECT_EQ(result.stored.completed_at_ms, 2000);
    EXPECT_EQ(system().record_step({"w", "x"}, step(1, "2", 3000), OnConflict::first_wins).kind,
              StepResult::Kind::lost);
}

TEST_P(Steps, a_record_without_a_time_gets_one) {
    StepRecord record = step(1, "1", 2000);
    record.completed_at_ms.reset();
    EXPECT_EQ(system().record_step({"w", "t"}, record).kind, StepResult::Kind::recorded);
    EXPECT_EQ(one("SELECT completed_at_epoch_ms > 1700000000000 FROM @operation_outputs"),
              postgres() ? "t" : "1");
}

TEST_P(Steps, an_outcome_ends_the_run) {
    EXPECT_EQ(system().record_outcome({{"w", "wrong"}, true, "1", {}}), OutcomeResult::lost);
    EXPECT_EQ(system().record_outcome({{"w", "t"}, true, "42", {}}), OutcomeResult::recorded);
    EXPECT_EQ(one("SELECT w.status, w.owner_xid, w.deduplication_id, w.completed_at = w.updated_at, "
                  "w.completed_at >= "
                  "w.created_at, w.output, o.output, o.error, o.retention_timestamp = w.completed_at, "
                  "w.recovery_attempts, "
                  "w.executor_id FROM @workflow_status w JOIN @workflow_output o ON o.workflow_uuid = "
                  "w.workflow_uuid"),
              postgres() ? "SUCCESS|-|-|t|t|-|42|-|t|1|here" : "SUCCESS|-|-|1|1|-|42|-|1|1|here");
    EXPECT_EQ(system().record_outcome({{"w", "t"}, true, "42", {}}), OutcomeResult::lost);
    EXPECT_EQ(system().record_step({"w", "t"}, step(1, "1", 2000)).kind, StepResult::Kind::lost);
}

TEST_P(Steps, an_error_is_an_outcome) {
    EXPECT_EQ(system().record_outcome({{"w", "t"}, false, "bad", {}}), OutcomeResult::recorded);
    EXPECT_EQ(one("SELECT w.status, o.output, o.error FROM @workflow_status w JOIN @workflow_output o ON "
                  "o.workflow_uuid = "
                  "w.workflow_uuid"),
              "ERROR|-|bad");
}

TEST_P(Steps, a_cancel_that_left_the_owner_in_place_still_stops_the_run) {
    write("UPDATE @workflow_status SET status = 'CANCELLED'");  // as an older SDK does
    EXPECT_EQ(system().record_step({"w", "t"}, step(1, "1", 2000)).kind, StepResult::Kind::lost);
    EXPECT_EQ(system().record_outcome({{"w", "t"}, true, "1", {}}), OutcomeResult::lost);
    EXPECT_EQ(one("SELECT status FROM @workflow_status"), "CANCELLED");
}

// ------------------------------------------------------------------------------------------------ children

ChildStart child_of(const std::string& parent, const std::string& token, std::int32_t number,
                    const NewWorkflow& child) {
    ChildStart start;
    start.parent = {parent, token};
    start.checkpoint = SystemDatabaseTest::step(number, "", 5000 + number);
    start.checkpoint.output.reset();
    start.checkpoint.serialization.reset();
    start.checkpoint.function_name = child.name;
    start.child = child;
    start.child.parent_workflow_id = parent;
    return start;
}

TEST_P(Steps, a_child_and_its_checkpoint_are_written_together) {
    const ChildResult result = system().start_child(child_of("w", "t", 4, enqueued("w-4")));
    EXPECT_EQ(result.checkpoint, StepResult::Kind::recorded);
    EXPECT_EQ(result.start.kind, StartResult::Kind::created);
    EXPECT_EQ(result.start.status, "ENQUEUED");
    EXPECT_EQ(
        one("SELECT function_id, function_name, child_workflow_id, output, error, completed_at_epoch_ms FROM "
            "@operation_outputs WHERE workflow_uuid = 'w'"),
        "4|wf|w-4|-|-|5004");
    EXPECT_EQ(one("SELECT w.status, w.parent_workflow_id, i.inputs FROM @workflow_status w JOIN "
                  "@workflow_input i ON "
                  "i.workflow_uuid = w.workflow_uuid WHERE w.workflow_uuid = 'w-4'"),
              "ENQUEUED|w|{\"positionalArgs\":[1]}");
    // The same once more, as after a lost acknowledgement.
    const ChildResult again = system().start_child(child_of("w", "t", 4, enqueued("w-4")));
    EXPECT_EQ(again.checkpoint, StepResult::Kind::recorded);
    EXPECT_EQ(again.start.kind, StartResult::Kind::created);
    EXPECT_EQ(one("SELECT count(*) FROM @operation_outputs"), "1");
}

TEST_P(Steps, a_lost_run_starts_no_child) {
    const ChildResult result = system().start_child(child_of("w", "wrong", 4, enqueued("w-4")));
    EXPECT_EQ(result.checkpoint, StepResult::Kind::lost);
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status"), "1");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_input"), "1");
}

TEST_P(Steps, a_number_that_holds_another_record_starts_no_child) {
    system().record_step({"w", "t"}, step(4, "1", 2000));
    const ChildResult result = system().start_child(child_of("w", "t", 4, enqueued("w-4")));
    EXPECT_EQ(result.checkpoint, StepResult::Kind::other);
    EXPECT_EQ(result.stored.function_name, "s4");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status"), "1");
}

TEST_P(Steps, an_existing_child_of_the_same_name_is_adopted) {
    system().start_workflow(enqueued("mine"));
    ChildStart start = child_of("w", "t", 4, enqueued("mine"));
    start.child.token = "another";
    const ChildResult result = system().start_child(start);
    EXPECT_EQ(result.checkpoint, StepResult::Kind::recorded);
    EXPECT_EQ(result.start.kind, StartResult::Kind::existing);
    EXPECT_EQ(one("SELECT child_workflow_id FROM @operation_outputs"), "mine");
    EXPECT_EQ(one("SELECT creator_xid FROM @workflow_status WHERE workflow_uuid = 'mine'"), "token-mine");
}

TEST_P(Steps, a_child_of_another_name_or_class_leaves_no_checkpoint) {
    NewWorkflow other = enqueued("mine");
    other.class_name = "K";
    system().start_workflow(other);
    ChildStart start = child_of("w", "t", 4, enqueued("mine"));
    start.child.token = "another";
    const ChildResult result = system().start_child(start);
    EXPECT_EQ(result.checkpoint, StepResult::Kind::recorded);
    EXPECT_EQ(result.start.kind, StartResult::Kind::existing);
    EXPECT_EQ(result.start.class_name, "K");
    EXPECT_EQ(one("SELECT count(*) FROM @operation_outputs"), "0");
}

TEST_P(Steps, a_deduplicated_child_leaves_no_checkpoint) {
    NewWorkflow holder = enqueued("holder");
    holder.deduplication_id = "d";
    system().start_workflow(holder);
    NewWorkflow child = enqueued("w-4");
    child.deduplication_id = "d";
    const ChildResult result = system().start_child(child_of("w", "t", 4, child));
    EXPECT_EQ(result.checkpoint, StepResult::Kind::recorded);
    EXPECT_EQ(result.start.kind, StartResult::Kind::deduplicated);
    EXPECT_EQ(result.start.holder, "holder");
    EXPECT_EQ(one("SELECT count(*) FROM @operation_outputs"), "0");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status"), "2");
}

}  // namespace
}  // namespace dbos::test
