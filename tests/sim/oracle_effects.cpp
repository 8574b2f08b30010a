// What must hold at the end of what workflows sent, published and wrote in transactions (runtime.md 11: 20 to 22, 29 to 33).
#include "oracle.hpp"

namespace dbos::sim {

namespace {

std::string unquoted(const std::string& json) {
    return json.size() >= 2 && json.front() == '"' ? json.substr(1, json.size() - 2) : json;
}

/// Recorded operations of a name that were not refused, as a condition on `o`.
std::string recorded(const std::string& name) {
    return "o.function_name = '" + name + "' AND o.error IS NULL";
}

}  // namespace

/// A query that must find nothing; its first row says what is wrong.
void Oracle::none(const std::string& what, const std::string& sql) {
    const auto rows = ask(sql);
    if (!rows) fail("the oracle cannot read what workflows have sent and published");
    if (rows->empty()) return;
    std::string first;
    for (const auto& value : rows->front()) first += (first.empty() ? "" : " ") + value.value_or("NULL");
    fail(what + ": " + first);
}

void Oracle::judge_effects() {
    const std::string of_step = " WHERE o.workflow_uuid = x.workflow_uuid AND o.function_id = x.function_id";
    none(
        "an event was set, and its history does not have it",
        "SELECT o.workflow_uuid, o.function_id FROM operation_outputs o WHERE " + recorded("DBOS.setEvent") +
            " AND NOT EXISTS (SELECT 1 FROM workflow_events_history x WHERE x.workflow_uuid = o.workflow_uuid"
            " AND x.function_id = o.function_id)");
    none("an event of a body has no record",
         "SELECT x.workflow_uuid, x.function_id, x.value FROM workflow_events_history x WHERE x.key = 'talk' "
         "AND "
         "NOT EXISTS (SELECT 1 FROM operation_outputs o" +
             of_step + " AND " + recorded("DBOS.setEvent") + ")");
    none("an event does not have the value that was set last",
         "SELECT e.workflow_uuid, e.key, e.value FROM workflow_events e WHERE e.key = 'talk' AND e.value <> "
         "(SELECT "
         "x.value FROM workflow_events_history x WHERE x.workflow_uuid = e.workflow_uuid AND x.key = e.key "
         "ORDER BY "
         "x.function_id DESC LIMIT 1)");
    none("an event has a history, and no value",
         "SELECT x.workflow_uuid, x.key FROM workflow_events_history x WHERE NOT EXISTS (SELECT 1 FROM "
         "workflow_events e WHERE e.workflow_uuid = x.workflow_uuid AND e.key = x.key)");
    none(
        "a message was consumed by no receive",
        "SELECT n.destination_uuid, n.message FROM notifications n WHERE n.consumed AND NOT EXISTS (SELECT 1 "
        "FROM operation_outputs o WHERE o.workflow_uuid = n.destination_uuid AND o.function_id = "
        "n.consumed_by_function_id AND o.function_name = 'DBOS.recv' AND o.output = n.message)");
    none("a receive has recorded a message that is not consumed, or by another",
         "SELECT o.workflow_uuid, o.function_id, o.output FROM operation_outputs o WHERE o.function_name = "
         "'DBOS.recv' AND o.output IS NOT NULL AND (SELECT count(*) FROM notifications n WHERE "
         "n.destination_uuid = o.workflow_uuid AND n.consumed AND n.consumed_by_function_id = o.function_id "
         "AND n.message = o.output) <> 1");
    // A body's message does not name its step, so they are counted. A bulk is of two, and of none if it was refused.
    none("a workflow has sent, and has records for",
         "SELECT * FROM (SELECT w.workflow_uuid, (SELECT count(*) FROM notifications n WHERE "
         "n.destination_uuid = "
         "w.workflow_uuid AND n.topic = 'talk') AS sent, (SELECT coalesce(sum(CASE o.function_name WHEN "
         "'DBOS.send' THEN 1 ELSE 2 END), 0) FROM operation_outputs o WHERE o.workflow_uuid = "
         "w.workflow_uuid AND "
         "o.function_name IN ('DBOS.send', 'DBOS.send_bulk') AND o.error IS NULL) AS recorded FROM "
         "workflow_status w "
         "WHERE w.name = 'talker') WHERE sent <> recorded");
}

void Oracle::judge_streams() {
    none("a stream has gaps",
         "SELECT workflow_uuid, key, count(*), max(\"offset\") FROM streams GROUP BY workflow_uuid, key "
         "HAVING "
         "count(*) <> max(\"offset\") + 1 OR min(\"offset\") <> 0");
    const std::string writes =
        "o.function_name IN ('DBOS.writeStream', 'DBOS.closeStream') AND o.error IS NULL";
    none("a write of a body is not there exactly once",
         "SELECT * FROM (SELECT o.workflow_uuid, o.function_id, (SELECT count(*) FROM streams x WHERE "
         "x.workflow_uuid = o.workflow_uuid AND x.function_id = o.function_id) AS times FROM "
         "operation_outputs o "
         "WHERE " +
             writes + ") WHERE times <> 1");
    none("a write of a body has no record",
         "SELECT x.workflow_uuid, x.function_id, x.value FROM streams x WHERE x.key = 'talk' AND NOT EXISTS "
         "(SELECT "
         "1 FROM operation_outputs o WHERE o.workflow_uuid = x.workflow_uuid AND o.function_id = "
         "x.function_id AND " +
             writes + ")");
    none("the writes of a body are not in the order of its program",
         "SELECT x.workflow_uuid, x.\"offset\", x.value, y.value FROM streams x JOIN streams y ON "
         "y.workflow_uuid = "
         "x.workflow_uuid AND y.key = x.key AND y.\"offset\" = x.\"offset\" + 1 WHERE x.key = 'talk' AND "
         "x.function_id >= y.function_id");
    // A step that has sent its message writes once more before it ends.
    none("a step has ended without its last write",
         "SELECT o.workflow_uuid, o.function_id FROM operation_outputs o JOIN notifications n ON "
         "n.message_uuid = "
         "o.workflow_uuid || ':noise:' || o.function_id || '::' || o.workflow_uuid WHERE o.function_name "
         "LIKE 'step "
         "%' AND o.error IS NULL AND (SELECT count(*) FROM streams x WHERE x.workflow_uuid = o.workflow_uuid "
         "AND "
         "x.function_id = o.function_id) < 2");
    for (const auto& [id, heard] : known_.heard) {
        const auto rows = ask(
            "SELECT value FROM streams WHERE workflow_uuid = ? AND key = 'talk' ORDER BY \"offset\"", {id});
        if (!rows) continue;
        for (std::size_t n = 0; n < heard.size(); ++n) {
            if (n < rows->size() && unquoted((*rows)[n][0].value_or("")) == heard[n]) continue;
            fail("a reader of " + id + " has seen \"" + heard[n] + "\" at " + std::to_string(n) +
                 ", which the stream does not have there");
        }
    }
}

/// Each transaction that is recorded as done has written once, in the attempt that is recorded; one that has failed has written
/// nothing; and nothing was written without a record.
void Oracle::judge_books() {
    const auto records = ask(
        "SELECT workflow_uuid, function_name, output, error FROM operation_outputs WHERE function_name LIKE "
        "'book %'");
    const bool books = !vfs::bytes_of(kBooks).empty();
    if (!records || (books && !ask(std::string("ATTACH '") + kBooks + "' AS books")))
        fail("the oracle cannot read the books");
    std::map<std::string, std::string> written;  // workflow and transaction → values
    for (const char* ledger : {"main.ledger", "books.ledger"}) {
        const auto entries = ask(std::string("SELECT workflow, name, value FROM ") + ledger);
        if (!entries) continue;  // nobody has written into it
        for (const auto& entry : *entries)
            written[*entry[0] + ", " + *entry[1]] += (entry[2] ? *entry[2] : "NULL") + ",";
    }
    for (const auto& record : *records) {
        const std::string key = *record[0] + ", " + *record[1];
        const std::string expected = record[3] ? "" : unquoted(record[2].value_or("")) + ",";
        if (written[key] != expected)
            fail("the ledger has \"" + written[key] + "\" of " + key + ", its record says \"" + expected +
                 "\"");
        written.erase(key);
    }
    if (!written.empty())
        fail("the ledger has \"" + written.begin()->second + "\" of " + written.begin()->first +
             ", which has no record");
    const auto witnesses = ask(
        "SELECT d.workflow_id, d.step_id FROM books.datasource_outputs d WHERE NOT EXISTS (SELECT 1 FROM "
        "operation_outputs o WHERE d.workflow_id LIKE o.workflow_uuid || '#%' AND o.function_id = d.step_id "
        "AND o.output IS d.output AND o.error IS d.error)");
    if (witnesses && !witnesses->empty())
        fail("a witness of " + witnesses->front()[0].value_or("") + ", step " +
             witnesses->front()[1].value_or("") + ", says what its record does not");
}

}  // namespace dbos::sim
