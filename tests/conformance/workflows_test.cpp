#include "support/system_database.hpp"
#include "sysdb/schema/layout.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;

class Workflows : public SystemDatabaseTest {};
DBOS_FOR_EVERY_DATABASE(Workflows);

TEST_P(Workflows, a_direct_start_writes_every_column) {
    NewWorkflow w = pending("w", "t");
    w.class_name = "K";
    w.config_name = "";
    w.authenticated_user = "me";
    w.assumed_role = "r";
    w.authenticated_roles = "[\"r\"]";
    w.timeout_ms = 1000;
    w.deadline_ms = 4102444800000;
    w.parent_workflow_id = "p";
    w.attributes = R"({"a":1})";
    w.schedule_name = "s";
    w.application_id = "id";
    const StartResult result = system().start_workflow(w);
    EXPECT_EQ(result.kind, StartResult::Kind::created);
    EXPECT_EQ(result.status, "PENDING");
    EXPECT_EQ(result.owner_xid, "t");
    EXPECT_EQ(result.recovery_attempts, 1);
    EXPECT_EQ(result.deadline_ms, 4102444800000);
    EXPECT_EQ(
        one("SELECT status, name, class_name, config_name, serialization, executor_id, application_version, "
            "application_id, application_name, authenticated_user, assumed_role, authenticated_roles, "
            "queue_name FROM "
            "@workflow_status"),
        "PENDING|wf|K|-|portable_json|here|v1|id|app|me|r|[\"r\"]|-");
    EXPECT_EQ(
        one("SELECT recovery_attempts, workflow_timeout_ms, workflow_deadline_epoch_ms, "
            "delay_until_epoch_ms, "
            "parent_workflow_id, schedule_name, owner_xid, creator_xid, priority, inputs, output, error, "
            "started_at_epoch_ms, completed_at FROM @workflow_status"),
        "1|1000|4102444800000|-|p|s|t|t|0|-|-|-|-|-");
    EXPECT_EQ(one("SELECT created_at = updated_at, retention_timestamp = created_at, i.inputs, created_at > "
                  "1700000000000 FROM "
                  "@workflow_status w JOIN @workflow_input i ON i.workflow_uuid = w.workflow_uuid"),
              postgres() ? "t|t|{\"positionalArgs\":[1]}|t" : "1|1|{\"positionalArgs\":[1]}|1");
    EXPECT_EQ(one(postgres() ? "SELECT attributes->>'a' FROM @workflow_status"
                             : "SELECT json_extract(attributes, '$.a') FROM @workflow_status"),
              "1");
}

TEST_P(Workflows, an_enqueue_has_no_owner_and_no_attempt) {
    NewWorkflow w = enqueued("w");
    w.priority = 7;
    w.queue_partition_key = "k";
    w.deduplication_id = "d";
    EXPECT_EQ(system().start_workflow(w).kind, StartResult::Kind::created);
    EXPECT_EQ(one("SELECT status, queue_name, queue_partition_key, deduplication_id, priority, "
                  "recovery_attempts, owner_xid, "
                  "creator_xid, executor_id FROM @workflow_status"),
              "ENQUEUED|q|k|d|7|0|-|token-w|-");
    w.workflow_id = "later";
    w.deduplication_id.reset();
    w.status = "DELAYED";
    w.delay_until_ms = 4102444800000;
    system().start_workflow(w);
    EXPECT_EQ(one("SELECT status, delay_until_epoch_ms FROM @workflow_status WHERE workflow_uuid = 'later'"),
              "DELAYED|4102444800000");
}

TEST_P(Workflows, an_existing_row_is_described_and_left_alone) {
    system().start_workflow(enqueued("w"));
    const std::string before = one("SELECT updated_at, creator_xid FROM @workflow_status");
    NewWorkflow other = pending("w", "mine");
    other.name = "other";
    other.inputs = "changed";
    const StartResult result = system().start_workflow(other);
    EXPECT_EQ(result.kind, StartResult::Kind::existing);
    EXPECT_EQ(result.status, "ENQUEUED");
    EXPECT_EQ(result.name, "wf");
    EXPECT_EQ(result.queue_name, "q");
    EXPECT_EQ(result.owner_xid, std::nullopt);
    EXPECT_EQ(one("SELECT updated_at, creator_xid FROM @workflow_status"), before);
    EXPECT_EQ(one("SELECT inputs FROM @workflow_input"), "{\"positionalArgs\":[1]}");
}

TEST_P(Workflows, a_second_start_never_shadows_legacy_inputs) {
    system().start_workflow(enqueued("w"));
    write("DELETE FROM @workflow_input");
    write("UPDATE @workflow_status SET inputs = 'legacy'");
    EXPECT_EQ(system().start_workflow(pending("w", "mine")).kind, StartResult::Kind::existing);
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_input"), "0");
    EXPECT_EQ(system().inputs("w"), "legacy");
}

TEST_P(Workflows, the_same_token_is_the_same_start) {
    system().start_workflow(pending("w", "t"));
    const StartResult again = system().start_workflow(pending("w", "t"));
    EXPECT_EQ(again.kind, StartResult::Kind::created);
    EXPECT_EQ(again.status, "PENDING");
    EXPECT_EQ(again.owner_xid, "t");
    // A peer has taken it over meanwhile: created by us, but not ours to run.
    write("UPDATE @workflow_status SET owner_xid = 'peer', recovery_attempts = 2");
    const StartResult taken = system().start_workflow(pending("w", "t"));
    EXPECT_EQ(taken.kind, StartResult::Kind::created);
    EXPECT_EQ(taken.owner_xid, "peer");
    EXPECT_EQ(taken.recovery_attempts, 2);
}

TEST_P(Workflows, a_held_deduplication_id_refuses_and_names_the_holder) {
    NewWorkflow holder = enqueued("holder");
    holder.deduplication_id = "d";
    system().start_workflow(holder);
    NewWorkflow w = enqueued("w");
    w.deduplication_id = "d";
    const StartResult result = system().start_workflow(w);
    EXPECT_EQ(result.kind, StartResult::Kind::deduplicated);
    EXPECT_EQ(result.holder, "holder");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status"), "1");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_input"), "1");
    // The id itself comes first, and another queue is another slot.
    EXPECT_EQ(system().start_workflow(holder).kind, StartResult::Kind::created);
    w.queue_name = "other";
    EXPECT_EQ(system().start_workflow(w).kind, StartResult::Kind::created);
}

TEST_P(Workflows, leftovers_of_a_deleted_workflow_go) {
    system().start_workflow(pending("w", "t"));
    system().record_step({"w", "t"}, step(0, "\"old\"", 2000));
    system().record_outcome({{"w", "t"}, true, "\"old\"", {}});
    write("DELETE FROM @workflow_status");  // as SDKs do that know nothing of the payload tables
    NewWorkflow again = pending("w", "t2");
    again.inputs = "new";
    EXPECT_EQ(system().start_workflow(again).kind, StartResult::Kind::created);
    EXPECT_EQ(one("SELECT inputs FROM @workflow_input"), "new");
    EXPECT_EQ(one("SELECT count(*) FROM @operation_outputs"), "0");
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_output"), "0");
}

TEST_P(Workflows, what_no_row_can_hold_is_refused_before_any_sql) {
    NewWorkflow w = enqueued("w");
    w.name = std::string("a\0b", 3);
    EXPECT_THROW(system().start_workflow(w), UsageError);
    w = enqueued("w");
    w.attributes = R"({"a":"\u0000"})";
    EXPECT_THROW(system().start_workflow(w), UsageError);
    w.attributes = R"({"a":"\\u0000"})";  // a backslash and text: harmless
    EXPECT_EQ(system().start_workflow(w).kind, StartResult::Kind::created);
    w = enqueued(std::string(2601, 'x'));
    EXPECT_THROW(system().start_workflow(w), UsageError);
    w = enqueued("v");
    w.deduplication_id = std::string(2600, 'x');
    EXPECT_THROW(system().start_workflow(w), UsageError);
    w = enqueued(std::string(1300, 'x'));
    w.queue_partition_key = std::string(1300, 'x');
    EXPECT_THROW(system().start_workflow(w), UsageError);
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status"), "1");
}

TEST_P(Workflows, creation_times_of_a_partition_strictly_increase) {
    std::vector<std::string> ids;
    for (int n = 0; n < 40; ++n) {
        NewWorkflow w = enqueued("w" + std::to_string(100 + n));
        w.queue_partition_key = "k";
        system().start_workflow(w);
    }
    EXPECT_EQ(rows("SELECT a.workflow_uuid FROM @workflow_status a JOIN @workflow_status b ON "
                   "a.workflow_uuid < b.workflow_uuid "
                   "WHERE a.created_at >= b.created_at"),
              std::vector<std::string>{});
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status w JOIN @workflow_input i ON i.workflow_uuid = "
                  "w.workflow_uuid WHERE "
                  "i.retention_timestamp = w.created_at"),
              "40");
}

TEST_P(Workflows, results_and_statuses_come_in_one_snapshot) {
    system().start_workflow(pending("a", "t"));
    system().start_workflow(pending("b", "t"));
    system().record_outcome({{"a", "t"}, true, "1", {}});
    system().record_outcome({{"b", "t"}, false, "bad", {}});
    const std::vector<std::string> ids{"a", "b", "missing"};
    std::vector<ResultRow> found = system().results(ids);
    std::sort(found.begin(), found.end(),
              [](const auto& x, const auto& y) { return x.workflow_id < y.workflow_id; });
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0].status, "SUCCESS");
    EXPECT_EQ(found[0].output, "1");
    EXPECT_EQ(found[0].error, std::nullopt);
    EXPECT_EQ(found[0].serialization, "portable_json");
    EXPECT_EQ(found[1].status, "ERROR");
    EXPECT_EQ(found[1].error, "bad");
    auto statuses = system().statuses(ids);
    std::sort(statuses.begin(), statuses.end());
    EXPECT_EQ(statuses, (std::vector<std::pair<std::string, std::string>>{{"a", "SUCCESS"}, {"b", "ERROR"}}));
    write("DELETE FROM @workflow_output WHERE workflow_uuid = 'a'");
    write("UPDATE @workflow_status SET output = 'legacy' WHERE workflow_uuid = 'a'");
    EXPECT_EQ(system().results(std::span(ids).first(1)).at(0).output, "legacy");
}

TEST_P(Workflows, cancel_takes_everything_but_the_ended) {
    NewWorkflow w = enqueued("queued");
    w.deduplication_id = "d";
    system().start_workflow(w);
    system().start_workflow(pending("running", "t"));
    system().start_workflow(pending("done", "t"));
    system().record_outcome({{"done", "t"}, true, "1", {}});
    std::vector<std::string> ended;
    DatabaseOptions with;
    with.local_wake.ended = [&ended](const std::string& id) { ended.push_back(id); };
    make(with)->cancel(std::vector<std::string>{"running", "queued", "done", "missing"});
    std::sort(ended.begin(), ended.end());
    EXPECT_EQ(ended, (std::vector<std::string>{"queued", "running"}));
    EXPECT_EQ(rows("SELECT workflow_uuid, status, deduplication_id, queue_name, owner_xid, "
                   "started_at_epoch_ms, completed_at = "
                   "updated_at FROM @workflow_status ORDER BY workflow_uuid"),
              (std::vector<std::string>{
                  postgres() ? "done|SUCCESS|-|-|-|-|t" : "done|SUCCESS|-|-|-|-|1",
                  postgres() ? "queued|CANCELLED|-|-|-|-|t" : "queued|CANCELLED|-|-|-|-|1",
                  postgres() ? "running|CANCELLED|-|-|-|-|t" : "running|CANCELLED|-|-|-|-|1"}));
    EXPECT_EQ(system().record_step({"running", "t"}, step(1, "1", 2000)).kind, StepResult::Kind::lost);
}

TEST_P(Workflows, a_dead_letter_needs_the_run_and_its_attempts) {
    system().start_workflow(pending("w", "t"));
    write("UPDATE @workflow_status SET recovery_attempts = 102, queue_name = 'q', started_at_epoch_ms = 1");
    EXPECT_FALSE(system().dead_letter({"w", "other"}, 102));
    EXPECT_FALSE(system().dead_letter({"w", "t"}, 103));
    EXPECT_TRUE(system().dead_letter({"w", "t"}, 102));
    EXPECT_EQ(one("SELECT status, queue_name, owner_xid, started_at_epoch_ms, recovery_attempts, "
                  "completed_at IS NULL FROM "
                  "@workflow_status"),
              postgres() ? "MAX_RECOVERY_ATTEMPTS_EXCEEDED|-|-|-|102|f"
                         : "MAX_RECOVERY_ATTEMPTS_EXCEEDED|-|-|-|102|0");
    EXPECT_FALSE(system().dead_letter({"w", "t"}, 102));
}

TEST_P(Workflows, ownership_is_asked_pair_by_pair) {
    system().start_workflow(pending("a", "t1"));
    system().start_workflow(pending("b", "t2"));
    const std::vector<Fence> fences{{"a", "t1"}, {"a", "t2"}, {"b", "t1"}, {"b", "t2"}, {"c", "t1"}};
    EXPECT_EQ(system().still_owned(fences), (std::vector<bool>{true, false, false, true, false}));
    system().record_outcome({{"a", "t1"}, true, "1", {}});
    EXPECT_EQ(system().still_owned(fences), (std::vector<bool>{false, false, false, true, false}));
}

TEST_P(Workflows, histories_are_ordered_and_stand_where_they_were_asked) {
    system().start_workflow(pending("a", "t"));
    system().start_workflow(pending("b", "t"));
    for (const int number : {2, 0, 1})
        system().record_step({"b", "t"}, step(number, std::to_string(number), 2000 + number));
    const std::vector<std::string> ids{"a", "b", "missing", "b"};
    const auto histories = system().histories(ids);
    ASSERT_EQ(histories.size(), 4u);
    EXPECT_TRUE(histories[0].empty());
    ASSERT_EQ(histories[1].size(), 3u);
    EXPECT_EQ(histories[1][2].function_id, 2);
    EXPECT_EQ(histories[1][2].output, "2");
    EXPECT_EQ(histories[1][2].completed_at_ms, 2002);
    EXPECT_EQ(histories[3].size(), 3u);
}

TEST_P(Workflows, an_old_layout_gets_the_columns_it_has) {
    // What a database before the payload split looks like to a client.
    write("DROP TABLE @workflow_input");
    write("DROP TABLE @workflow_output");
    if (postgres()) {
        for (const char* column : {"creator_xid", "application_name"}) {
            write(std::string("ALTER TABLE @workflow_status DROP COLUMN ") + column + " CASCADE");
        }
        write("ALTER TABLE @operation_outputs DROP COLUMN retention_timestamp CASCADE");
    }
    auto client = make();
    EXPECT_EQ(client->start_workflow(enqueued("w")).kind, StartResult::Kind::created);
    NewWorkflow other = enqueued("w");
    other.token = "x";
    EXPECT_EQ(client->start_workflow(other).kind, StartResult::Kind::existing);
    EXPECT_EQ(one("SELECT inputs, status FROM @workflow_status"), "{\"positionalArgs\":[1]}|ENQUEUED");
    EXPECT_EQ(client->inputs("w"), "{\"positionalArgs\":[1]}");
    if (postgres()) {
        EXPECT_EQ(one("SELECT owner_xid FROM @workflow_status"), "token-w");
        EXPECT_THROW(client->record_step({"w", "t"}, step(1, "1", 2000)), ConfigError);
    }
    // Many at once.
    std::vector<std::string> errors;
    seam::Mutex mutex;
    seam::Atomic<int> left{20};
    for (int n = 0; n < 20; ++n) {
        client->start_workflow_async(enqueued("n" + std::to_string(n)),
                                     [&](StartResult result, std::exception_ptr error) {
                                         if (error || result.kind != StartResult::Kind::created) {
                                             const std::lock_guard<seam::Mutex> lock(mutex);
                                             errors.push_back(result.name);
                                         }
                                         left.fetch_sub(1);
                                     });
    }
    EXPECT_TRUE(eventually([&] { return left.load() == 0; }));
    EXPECT_TRUE(errors.empty());
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_status"), "21");
}

TEST_P(Workflows, a_layout_that_changes_is_probed_again) {
    auto client = make();
    client->start_workflow(enqueued("before"));
    write("DROP TABLE @workflow_input");
    EXPECT_EQ(client->start_workflow(enqueued("after")).kind, StartResult::Kind::created);
    EXPECT_EQ(one("SELECT inputs FROM @workflow_status WHERE workflow_uuid = 'after'"),
              "{\"positionalArgs\":[1]}");
}

TEST_P(Workflows, a_closed_object_refuses) {
    auto client = make();
    client->start_workflow(enqueued("w"));
    client->close();
    try {
        client->start_workflow(enqueued("v"));
        FAIL();
    } catch (const DatabaseError& error) {
        EXPECT_EQ(error.kind(), DatabaseErrorKind::closed);
    }
    try {
        client->statuses(std::vector<std::string>{"w"});
        FAIL();
    } catch (const DatabaseError& error) {
        EXPECT_EQ(error.kind(), DatabaseErrorKind::closed);
    }
}

}  // namespace
}  // namespace dbos::test
