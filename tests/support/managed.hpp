// For tests of managing calls: a client whose connections can be robbed of acknowledgements, databases from before the payload
// split, and rows with everything that belongs to them.
#pragma once

#include <memory>
#include <string>

#include "client/core.hpp"
#include "support/client_rows.hpp"
#include "support/errors.hpp"
#include "support/faulty_connection.hpp"

namespace dbos::test {

class ManageTest : public ClientTest {
   public:
    /// A client of its own; what happens to its commits is said by `faults`. The layout is known already.
    std::unique_ptr<Client> faulty_client(const std::shared_ptr<Faults>& faults, bool retry = true) {
        sysdb::DatabaseOptions with;
        with.open = options();
        with.open.create_file = false;
        with.open.decorate = FaultyConnection::wrap(faults);
        with.retry_connection_errors = retry;
        auto database = std::make_shared<sysdb::SystemDatabase>(std::move(with));
        database->layout();
        client::CoreOptions core;
        core.database_key = "test";
        core.log = log.sink();
        core.retry_connection_errors = retry;
        return client::make_client(std::make_shared<client::Core>(std::move(database), std::move(core)));
    }

    /// `columns` of a workflow, joined by '|'; NULL = '-'.
    std::string row(const std::string& id, const std::string& columns,
                    const std::string& table = "workflow_status") {
        const sql::Result found = open()->query("SELECT " + columns + " FROM @" + table +
                                                " WHERE workflow_uuid = '" + id + "' ORDER BY 1");
        std::string text;
        for (std::size_t line = 0; line < found.size(); ++line) {
            if (line > 0) text += ' ';
            for (std::size_t column = 0; column < found.columns(); ++column) {
                const sql::Cell cell = found.at(line, column);
                text += (column > 0 ? "|" : "") + (cell.null() ? "-" : cell.string());
            }
        }
        return found.empty() ? "no row" : text;
    }
    std::string count(const std::string& table, const std::string& condition = "1 = 1") {
        return query_text("SELECT count(*) FROM @" + table + " WHERE " + condition);
    }

    /// Before the payload split: no payload tables, no creator_xid.
    void make_layout_a() {
        execute(
            "DROP TABLE @workflow_input; DROP TABLE @workflow_output; ALTER TABLE @workflow_status DROP "
            "COLUMN "
            "creator_xid; UPDATE @dbos_migrations SET version = 99");
    }
    void upgrade_to_layout_b() {
        execute(
            "CREATE TABLE @workflow_input (workflow_uuid TEXT NOT NULL PRIMARY KEY, inputs TEXT, "
            "retention_timestamp BIGINT NOT NULL DEFAULT 0); CREATE TABLE @workflow_output (workflow_uuid "
            "TEXT NOT "
            "NULL PRIMARY KEY, output TEXT, error TEXT, retention_timestamp BIGINT NOT NULL DEFAULT 0); "
            "ALTER TABLE "
            "@workflow_status ADD COLUMN creator_xid TEXT; UPDATE @dbos_migrations SET version = 125");
    }

    /// An ended workflow of four steps (0 to 3): step n sets event "e" to n, and "once" at step 1; writes n to stream "s", which
    /// step 3 closes; and one message was received by step 2, another is unread.
    void insert_history(const std::string& id, const std::string& status = "SUCCESS") {
        insert_workflow(id, status,
                        {{"serialization", "portable_json"},
                         {"class_name", "Shop"},
                         {"config_name", "eu"},
                         {"authenticated_user", "ann"},
                         {"authenticated_roles", "[\"a\"]"},
                         {"application_version", "v1"},
                         {"queue_name", "q"},
                         {"priority", 7},
                         {"workflow_timeout_ms", 5000},
                         {"created_at", 1000},
                         {"updated_at", 1001},
                         {"completed_at", 2000},
                         {"attributes", "{\"tenant\": 1}"}});
        insert("workflow_input", {{"workflow_uuid", id}, {"inputs", R"({"positionalArgs":[1]})"}});
        insert("workflow_output", {{"workflow_uuid", id}, {"output", "42"}});
        for (int n = 0; n < 4; ++n) {
            const std::string number = std::to_string(n);
            insert("operation_outputs", {{"workflow_uuid", id},
                                         {"function_id", n},
                                         {"function_name", "s" + number},
                                         {"output", number},
                                         {"started_at_epoch_ms", 10 * n},
                                         {"completed_at_epoch_ms", 10 * n + n},
                                         {"serialization", "portable_json"},
                                         {"child_workflow_id", n == 1 ? Cell("child") : Cell(nullptr)}});
            history(id, n, "e", number);
            if (n == 1) history(id, n, "once", "x");
            insert("streams", {{"workflow_uuid", id},
                               {"key", "s"},
                               {"value", n == 3 ? Cell("\"__DBOS_STREAM_CLOSED__\"") : Cell(number)},
                               {"\"offset\"", n},
                               {"function_id", n},
                               {"serialization", "portable_json"}});
        }
        insert("workflow_events", {{"workflow_uuid", id}, {"key", "e"}, {"value", "3"}});
        insert("workflow_events", {{"workflow_uuid", id}, {"key", "once"}, {"value", "x"}});
        insert("notifications", {{"message_uuid", id + "-read"},
                                 {"destination_uuid", id},
                                 {"topic", "t"},
                                 {"message", "1"},
                                 {"consumed", true},
                                 {"consumed_by_function_id", 2}});
        insert(
            "notifications",
            {{"message_uuid", id + "-unread"}, {"destination_uuid", id}, {"topic", "t"}, {"message", "2"}});
    }

    /// What a workflow has, as text: numbers of steps, events, stream values.
    std::string contents(const std::string& id) {
        std::string text;
        const auto add = [&](const std::string& sql) {
            const sql::Result found = open()->query(sql);
            text += text.empty() ? "" : " / ";
            for (std::size_t line = 0; line < found.size(); ++line)
                text += (line ? "," : "") + found.at(line, 0).string();
        };
        const std::string where = " WHERE workflow_uuid = '" + id + "' ORDER BY 1";
        add("SELECT function_id FROM @operation_outputs" + where);
        add("SELECT key || '=' || value FROM @workflow_events" + where);
        add("SELECT value FROM @streams WHERE workflow_uuid = '" + id + "' ORDER BY \"offset\"");
        return text;
    }

   private:
    void history(const std::string& id, int step, const std::string& key, const std::string& value) {
        insert("workflow_events_history",
               {{"workflow_uuid", id}, {"function_id", step}, {"key", key}, {"value", value}});
    }
};

}  // namespace dbos::test
