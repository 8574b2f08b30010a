// The plans of managing calls: on tables that were empty when their statements were first prepared, and are large now.
#include <map>

#include "support/faulty_connection.hpp"
#include "support/system_database.hpp"
#include "sysdb/manage.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;

class ManagePlans : public SystemDatabaseTest {
   public:
    /// Every call once, on rows of its own.
    void exercise(SystemDatabase& database, const std::string& tag) {
        const auto rows = [&](const std::string& id, const std::string& status, const std::string& parent) {
            write(
                "INSERT INTO @workflow_status (workflow_uuid, status, name, queue_name, parent_workflow_id) "
                "VALUES ('" +
                id + "', '" + status + "', 'wf', 'q', " + parent + ")");
            write("INSERT INTO @workflow_input (workflow_uuid, inputs) VALUES ('" + id + "', '1')");
            for (const char* step : {"0", "1"}) {
                write(
                    "INSERT INTO @operation_outputs (workflow_uuid, function_id, function_name, "
                    "child_workflow_id) "
                    "VALUES ('" +
                    id + "', " + step + ", 's', 'c')");
                write(
                    "INSERT INTO @workflow_events_history (workflow_uuid, function_id, key, value) VALUES "
                    "('" +
                    id + "', " + step + ", 'k', 'v')");
                write("INSERT INTO @streams (workflow_uuid, function_id, key, value, \"offset\") VALUES ('" +
                      id + "', " + step + ", 'k', 'v', " + step + ")");
            }
        };
        const std::string a = tag + "a", b = tag + "b", c = tag + "c";
        rows(a, "ENQUEUED", "NULL");
        rows(b, "DELAYED", "'" + a + "'");
        rows(c, "SUCCESS", "'" + b + "'");
        const std::vector<std::string> ids{a};
        database.set_priority(a, 3);
        database.set_delay(b, 5);
        database.update_attributes(a, true, [](const Text&) { return Text("{}"); });
        database.cancel(ids, true);
        database.resume(ids, {});
        std::vector<Fork> forks(2);
        for (std::size_t n = 0; n < 2; ++n) {
            forks[n].workflow_id = n == 0 ? a : c;
            forks[n].start_step = 1;
            forks[n].new_workflow_id = tag + "f" + std::to_string(n);
            forks[n].token = "t";
            forks[n].replacement_children = {{"c", "d"}};
        }
        database.fork(forks, {});
        Rewind rewind;
        rewind.workflow_id = c;
        rewind.start_step = 1;
        database.rewind(rewind);
        database.delete_workflows(ids, true);
    }
};
DBOS_FOR_EVERY_DATABASE(ManagePlans);

TEST_P(ManagePlans, no_statement_scans_a_table_that_has_grown) {
    if (!postgres()) GTEST_SKIP() << "the counters are those of PostgreSQL";
    if (peek().query("SELECT current_setting('server_version_num')::int").at(0, 0).integer() < 150000) {
        GTEST_SKIP() << "the counters of a session cannot be flushed before PostgreSQL 15";
    }
    std::vector<sql::Connection*> connections;
    DatabaseOptions with;
    with.pool_size = 1;
    with.open = options();
    with.open.decorate = [&](std::unique_ptr<sql::Connection> inner) {
        connections.push_back(inner.get());
        return inner;
    };
    SystemDatabase database(with);
    const std::vector<std::string> tables{"workflow_status", "operation_outputs", "workflow_input",
                                          "workflow_output", "workflow_events",   "workflow_events_history",
                                          "streams",         "notifications"};
    peek().script("SET plan_cache_mode = force_custom_plan");  // what the test itself writes is not looked at
    for (const std::string& table : tables) write("VACUUM @" + table);
    for (int round = 0; round < 8; ++round) exercise(database, "empty" + std::to_string(round) + "-");
    ASSERT_EQ(connections.size(), 1u);
    const std::string many = " FROM generate_series(1, 20000) n";
    write(
        "INSERT INTO @workflow_status (workflow_uuid, status, name, queue_name) SELECT 'x' || n, 'SUCCESS', "
        "'wf', 'q'" +
        many);
    write(
        "INSERT INTO @operation_outputs (workflow_uuid, function_id, function_name) SELECT 'x' || n, 0, 's'" +
        many);
    write("INSERT INTO @workflow_input (workflow_uuid, inputs) SELECT 'x' || n, '1'" + many);
    write("INSERT INTO @workflow_output (workflow_uuid, output) SELECT 'x' || n, '1'" + many);
    write("INSERT INTO @workflow_events (workflow_uuid, key, value) SELECT 'x' || n, 'k', 'v'" + many);
    write(
        "INSERT INTO @workflow_events_history (workflow_uuid, function_id, key, value) SELECT 'x' || n, 0, "
        "'k', 'v'" +
        many);
    write(
        "INSERT INTO @streams (workflow_uuid, function_id, key, value, \"offset\") SELECT 'x' || n, 0, 'k', "
        "'v', 0" +
        many);
    write(
        "INSERT INTO @notifications (message_uuid, destination_uuid, topic, message) SELECT 'x' || n, 'x' || "
        "n, 't', "
        "'1'" +
        many);
    const auto read = [&] {
        std::map<std::string, std::int64_t> counts;
        const std::string schema = options().schema;
        const sql::Result found =
            peek().query("SELECT relname, seq_scan FROM pg_stat_user_tables WHERE schemaname = $1",
                         {std::string_view(schema)});
        for (std::size_t row = 0; row < found.size(); ++row)
            counts[found.at(row, 0).string()] = found.at(row, 1).integer();
        return counts;
    };
    const auto flush = [&] {
        connections.front()->query("SELECT pg_stat_force_next_flush()", {}, sql::Access::write);
    };
    flush();
    const auto before = read();
    exercise(database, "full-");
    flush();
    const auto after = read();
    for (const std::string& table : tables) EXPECT_EQ(after.at(table), before.at(table)) << table;
}

}  // namespace
}  // namespace dbos::test
