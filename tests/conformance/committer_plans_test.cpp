// The plans of the committer's statements: prepared while the tables are empty, used when they are large (safety rule 54).
#include <map>

#include "support/collected.hpp"
#include "support/effects.hpp"
#include "support/faulty_connection.hpp"
#include "support/system_database.hpp"
#include "sysdb/committer_statements.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;

class CommitterPlans : public SystemDatabaseTest {
   public:
    /// One of each kind, alone and in a batch.
    void exercise(SystemDatabase& database, Faults& faults, const std::string& tag) {
        const auto id = [&tag](const std::string& name) { return tag + name; };
        for (const char* name : {"a", "b", "c"}) database.start_workflow(pending(id(name), "t"));
        database.record_step({id("a"), "t"}, step(0, "1", 2000));
        database.record_step({id("a"), "t"}, step(0, "1", 2001));  // a foreign record is read
        database.record_step({id("a"), "t"}, step(1, "1", 2000), OnConflict::first_wins);
        database.record_step({id("a"), "t"}, step(1, "1", 2001), OnConflict::first_wins);
        ChildStart child;
        child.parent = {id("a"), "t"};
        child.checkpoint = step(2, "1", 2000);
        child.child = enqueued(id("a-2"));
        database.start_child(child);
        Collected collected;
        faults.close_gate();
        database.record_step_async({id("b"), "t"}, step(0, "0", 2000), OnConflict::report,
                                   collected.step("gate"));
        faults.wait_for_commit();
        for (int n = 1; n < 4; ++n) {
            const std::string number = std::to_string(n);
            database.start_workflow_async(enqueued(id("e" + number)), collected.start("e" + number));
            database.record_step_async({id("b"), "t"}, step(n, "1", 2000), OnConflict::report,
                                       collected.step(number));
            database.record_step_async({id("b"), "t"}, step(10 + n, "1", 2000), OnConflict::first_wins,
                                       collected.step("f" + number));
        }
        NewWorkflow again = enqueued(id("a"));
        again.token = "x";
        again.deduplication_id = "d";
        database.start_workflow_async(again, collected.start("again"));
        database.record_outcome_async({{id("c"), "t"}, true, "1", {}}, collected.outcome("c"));
        faults.open_gate();
        ASSERT_TRUE(collected.wait());
        // Batches of one kind have statements of their own.
        only(database, faults, collected, id);
        effects(database, faults, collected, id);
        database.record_outcome({{id("a"), "t"}, true, "1", {}});
    }

   private:
    /// Each effect, recorded and applied, alone and in a batch.
    template <class Id>
    void effects(SystemDatabase& database, Faults& faults, Collected& collected, Id&& id) {
        const Fence fence{id("b"), "t"};
        int number = 200;
        const auto messages = [&] {
            return std::vector<NewMessage>{message(id("b"), "1", id("m" + std::to_string(number))),
                                           message(id("a"), "1", id("n" + std::to_string(number)))};
        };
        const std::vector<std::function<Effect()>> kinds{
            [&] { return sends(messages()); },
            [&] { return sends(messages(), true); },
            [] { return sets("k", "1"); },
            [] { return appends("k", "1"); },
            [] { return receives(true); },
            [] { return receives(); },
            [&] { return sends({message("no-" + id("x"), "1", id("o" + std::to_string(number)))}); }};
        for (const auto& kind : kinds) {
            database.record_effect(fence, step(number++, "1", 2000), kind());
            const Effect effect = kind();
            if (!std::holds_alternative<ReceiveEffect>(effect)) database.apply_effect(fence, 1, effect);
        }
        faults.close_gate();
        database.record_step_async(fence, step(number++, "0", 2000), OnConflict::report,
                                   collected.step("effect gate"));
        faults.wait_for_commit();
        for (const auto& kind : kinds) {
            database.record_effect_async(fence, step(number, "1", 2000), kind(),
                                         collected.step("effect " + std::to_string(number)));
            ++number;
        }
        faults.open_gate();
        ASSERT_TRUE(collected.wait());
    }

    template <class Id>
    void only(SystemDatabase& database, Faults& faults, Collected& collected, Id&& id) {
        for (int n = 0; n < 3; ++n) database.start_workflow(pending(id("o" + std::to_string(n)), "t"));
        for (const int kind : {0, 1, 2}) {
            faults.close_gate();
            database.record_step_async({id("b"), "t"}, step(100 + kind, "0", 2000), OnConflict::report,
                                       collected.step("gate" + std::to_string(kind)));
            faults.wait_for_commit();
            for (int n = 0; n < 3; ++n) {
                const std::string name = id("o" + std::to_string(n));
                if (kind == 2) {
                    database.record_outcome_async({{name, "t"}, true, "1", {}},
                                                  collected.outcome("end" + name));
                } else {
                    database.record_step_async({name, "t"}, step(kind, "1", 2000),
                                               kind == 0 ? OnConflict::report : OnConflict::first_wins,
                                               collected.step(name + std::to_string(kind)));
                }
            }
            faults.open_gate();
            ASSERT_TRUE(collected.wait());
        }
    }
};
DBOS_FOR_EVERY_DATABASE(CommitterPlans);

TEST_P(CommitterPlans, no_statement_scans_a_table_that_has_grown) {
    if (!postgres()) GTEST_SKIP() << "see the test of texts";
    if (peek().query("SELECT current_setting('server_version_num')::int").at(0, 0).integer() < 150000) {
        GTEST_SKIP() << "the counters of a session cannot be flushed before PostgreSQL 15";
    }
    auto faults = std::make_shared<Faults>();
    DatabaseOptions with;
    sql::Connection* committing = nullptr;
    with.decorate = [&, wrap = FaultyConnection::wrap(faults)](std::unique_ptr<sql::Connection> inner) {
        committing = inner.get();
        return wrap(std::move(inner));
    };
    auto database = make(with);
    // Known to be empty is worse than unknown: then a join that reads a whole index looks cheapest.
    for (const char* table : {"workflow_status", "operation_outputs", "workflow_input", "workflow_output",
                              "notifications", "workflow_events", "workflow_events_history", "streams"})
        write("VACUUM @" + std::string(table));
    exercise(*database, *faults, "empty-");  // prepares, and plans, everything
    write(
        "INSERT INTO @workflow_status (workflow_uuid, status, name, queue_name, owner_xid) SELECT 'x' || n, "
        "CASE WHEN n % 5 = 0 "
        "THEN 'PENDING' WHEN n % 5 = 1 THEN 'ENQUEUED' ELSE 'SUCCESS' END, 'wf', 'q', 't' FROM "
        "generate_series(1, 100000) n");
    write(
        "INSERT INTO @operation_outputs (workflow_uuid, function_id, function_name) SELECT 'x' || n, 0, 's' "
        "FROM "
        "generate_series(1, 100000) n");
    write(
        "INSERT INTO @workflow_input (workflow_uuid, inputs) SELECT 'x' || n, '1' FROM generate_series(1, "
        "100000) n");
    write(
        "INSERT INTO @workflow_output (workflow_uuid, output) SELECT 'x' || n, '1' FROM generate_series(1, "
        "100000) n");

    write(
        "INSERT INTO @notifications (message_uuid, destination_uuid, topic, message) SELECT 'x' || n, 'x' || "
        "n, "
        "'t', '1' FROM generate_series(1, 100000) n");
    write(
        "INSERT INTO @workflow_events (workflow_uuid, key, value) SELECT 'x' || n, 'k', '1' FROM "
        "generate_series(1, 100000) n");
    write(
        "INSERT INTO @workflow_events_history (workflow_uuid, function_id, key, value) SELECT 'x' || n, 1, "
        "'k', "
        "'1' FROM generate_series(1, 100000) n");
    write(
        "INSERT INTO @streams (workflow_uuid, key, value, \"offset\") SELECT 'x' || 1 + n % 1000, 'k', '1', "
        "n / "
        "1000 "
        "FROM generate_series(1, 100000) n");

    const std::string schema = options().schema;
    const auto uses = [&](const std::string& text) {
        std::map<std::string, std::int64_t> counts;
        const sql::Result found = peek().query(text, {std::string_view(schema)});
        for (std::size_t row = 0; row < found.size(); ++row)
            counts[found.at(row, 0).string()] = found.at(row, 1).integer();
        return counts;
    };
    const std::string scans =
        "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE schemaname = $1 AND relname IN "
        "('workflow_status', 'operation_outputs', 'workflow_input', 'workflow_output', 'notifications', "
        "'workflow_events', 'workflow_events_history', 'streams')";
    const std::string indexes =
        "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes WHERE schemaname = $1";
    // A whole index read by one scan counts as one use of it, but its entries show.
    const std::string entries =
        "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE schemaname = $1";
    // What a session has counted reaches the view when it is told to; the committer is idle here. The rows above were checked
    // against their workflows by the session of the test.
    const auto flush = [&] {
        write("SELECT pg_stat_force_next_flush()");
        committing->query("SELECT pg_stat_force_next_flush()", {}, sql::Access::write);
    };
    flush();
    const auto before = uses(scans), before_indexes = uses(indexes), before_entries = uses(entries);
    exercise(*database, *faults, "full-");
    flush();
    EXPECT_GT(uses(indexes).at("workflow_status_pkey"), before_indexes.at("workflow_status_pkey") + 20);
    EXPECT_EQ(uses(scans), before);
    for (const auto& [index, count] : uses(entries)) {
        EXPECT_LT(count, before_entries.at(index) + 10'000) << index << " was read from end to end";
    }
    for (const auto& [index, count] : uses(indexes)) {
        const bool by_key = index.ends_with("_pkey") || index == "uq_workflow_status_dedup_id" ||
                            index == "idx_workflow_topic" || index.find("forked_from") != std::string::npos;
        if (!by_key) {
            EXPECT_EQ(count, before_indexes.at(index)) << index;
        }
    }
}

TEST_P(CommitterPlans, every_text_reaches_its_rows_by_key) {
    if (postgres()) GTEST_SKIP() << "see the test of use";
    const CommitterStatements statements(sql::Backend::sqlite, probe(peek(), options().schema), 0);
    for (const sql::Statement* statement :
         {&statements.read_start,   &statements.read_holder,   &statements.read_step,
          &statements.read_outcome, &statements.start_row,     &statements.step_row,
          &statements.outcome_row,  &statements.input_row,     &statements.input_update,
          &statements.delete_steps, &statements.delete_output, &statements.output_row,
          &statements.fence_row,    &statements.event_row,     &statements.history_row,
          &statements.stream_row,   &statements.message_row,   &statements.forks_of,
          &statements.next_message, &statements.consume,       &statements.read_missing}) {
        ASSERT_NE(statement->text, nullptr);
        const std::string text = statement->text;
        std::size_t parameters = 0;
        for (std::size_t n = 1; text.find("$" + std::to_string(n)) != std::string::npos; ++n) parameters = n;
        const sql::Result plan = peek().query("EXPLAIN QUERY PLAN " + text, sql::Params(parameters));
        for (std::size_t row = 0; row < plan.size(); ++row) {
            const std::string line = plan.at(row, 3).string();
            if (line.find("VIRTUAL TABLE") != std::string::npos) continue;  // json_each
            EXPECT_EQ(line.find("SCAN"), std::string::npos) << statement->name << ": " << line;
            const bool by_index = line.find("idx_workflow_topic") != std::string::npos ||
                                  line.find("forked_from") != std::string::npos;
            EXPECT_TRUE(by_index || line.find("idx_") == std::string::npos)
                << statement->name << ": " << line;
        }
    }
}

}  // namespace
}  // namespace dbos::test
