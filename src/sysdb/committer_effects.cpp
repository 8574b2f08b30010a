// Effects: what a recorded operation does beside its checkpoint (safety rules 36 and 37). Their texts for both databases, and
// what the rows mean that are read after one that was not plain.
//
// On PostgreSQL an effect is one statement: the fence with its lock, the checkpoint ON CONFLICT DO NOTHING, and the rows of the
// effect joined on what the checkpoint returns. A repeat after a lost acknowledgement meets its checkpoint and does nothing.
#include <set>
#include <string>

#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "sysdb/committer_texts.hpp"

namespace dbos::sysdb {
namespace {

/// $1 workflow, $2 token; the lock is a repetition where a statement ahead has taken it.
std::string locked_run() {
    return "l AS MATERIALIZED (SELECT w.workflow_uuid AS id FROM @workflow_status w WHERE w.workflow_uuid = "
           "$1::text AND " +
           texts::fence("$2::text") + " FOR NO KEY UPDATE)";
}

/// The record of $3 to $11, if `from` gives the row of a run.
std::string checkpoint(const std::string& output, const std::string& serialization, const std::string& from) {
    return "c AS (" + std::string(texts::kStepInsert) + "SELECT l.id, $3::bigint::int, $4::text, " + output +
           ", $6::text, $7::text, $8::bigint, $9::bigint, " + serialization + ", $11::text, " + texts::kNow +
           " FROM " + from +
           " ON CONFLICT (workflow_uuid, function_id) DO NOTHING RETURNING o.workflow_uuid AS id, o.output, "
           "o.serialization)";
}

/// `c` is who may act: one row with the workflow's id, or none.
std::string acting(bool recorded, const std::string& condition = {}) {
    const std::string from = "l" + (condition.empty() ? "" : " WHERE " + condition);
    if (recorded) return locked_run() + ", " + checkpoint("$5::text", "$10::text", from);
    return locked_run() + ", c AS MATERIALIZED (SELECT l.id FROM " + from + ")";
}

/// A parameter of the effect, counted from 1.
class Numbers {
   public:
    explicit Numbers(bool recorded) : before_(recorded ? 11 : 3) {}
    std::string operator()(int n, const char* type) const {
        return "$" + std::to_string(before_ + n) + "::" + type;
    }

   private:
    int before_;
};

std::string event_text(bool recorded) {
    const Numbers p(recorded);
    const std::string values = p(1, "text") + ", " + p(2, "text") + ", " + p(3, "text") + " FROM c";
    const std::string change =
        " DO UPDATE SET value = EXCLUDED.value, serialization = EXCLUDED.serialization)";
    return "WITH " + acting(recorded) +
           ", e AS (INSERT INTO @workflow_events (workflow_uuid, key, value, serialization) SELECT c.id, " +
           values + " ON CONFLICT (workflow_uuid, key)" + change +
           ", h AS (INSERT INTO @workflow_events_history (workflow_uuid, function_id, key, value, "
           "serialization) SELECT c.id, $3::bigint::int, " +
           values + " ON CONFLICT (workflow_uuid, function_id, key)" + change + " SELECT c.id FROM c";
}

/// To be executed in a statement that begins after the lock was granted: the last offset is read in its snapshot.
std::string stream_text(bool recorded) {
    const Numbers p(recorded);
    return "WITH " + acting(recorded) +
           ", s AS (INSERT INTO @streams (workflow_uuid, key, value, \"offset\", function_id, serialization) "
           "SELECT c.id, " +
           p(1, "text") + ", " + p(2, "text") +
           ", COALESCE((SELECT s.\"offset\" FROM @streams s WHERE s.workflow_uuid = $1::text AND s.key = " +
           p(1, "text") + " ORDER BY s.\"offset\" DESC LIMIT 1), -1) + 1, $3::bigint::int, " + p(3, "text") +
           " FROM c) SELECT c.id FROM c";
}

std::string send_text(bool recorded, bool to_forks) {
    const Numbers p(recorded);
    const std::string columns =
        " (destination_uuid, topic, message, serialization, message_uuid, created_at_epoch_ms) ";
    std::string text = "WITH RECURSIVE r AS MATERIALIZED (SELECT * FROM unnest(" + p(1, "text[]") + ", " +
                       p(2, "text[]") + ", " + p(3, "text[]") + ", " + p(4, "text[]") + ", " +
                       p(5, "text[]") + ", " + p(6, "bigint[]") + (to_forks ? ", " + p(7, "text[]") : "") +
                       ") WITH ORDINALITY AS r(destination, topic, message, serialization, id, at" +
                       (to_forks ? ", fork_key" : "") + ", n)), ";
    if (to_forks) {
        // A row is one look-up by the index on forked_from; the origin is no descendant of itself.
        const std::string of =
            " CROSS JOIN LATERAL (SELECT w.workflow_uuid AS id FROM @workflow_status w WHERE w.forked_from "
            "= ";
        text += "d(n, id) AS (SELECT r.n, f.id FROM r" + of +
                "r.destination OFFSET 0) f UNION SELECT d.n, f.id FROM d" + of + "d.id OFFSET 0) f), ";
    }
    text += acting(recorded,
                   "NOT EXISTS (SELECT FROM r LEFT JOIN LATERAL (SELECT 1 AS there FROM @workflow_status w "
                   "WHERE w.workflow_uuid = r.destination OFFSET 0) w ON TRUE WHERE w.there IS NULL)");
    text += ", s AS (INSERT INTO @notifications" + columns +
            "SELECT r.destination, r.topic, r.message, r.serialization, r.id, r.at FROM r, c ORDER BY r.n "
            "ON CONFLICT (message_uuid) DO NOTHING)";
    if (to_forks) {
        text +=
            ", f AS (INSERT INTO @notifications" + columns +
            "SELECT d.id, r.topic, r.message, r.serialization, r.fork_key || '::' || d.id, r.at FROM c, r "
            "JOIN d ON d.n = r.n WHERE d.id <> r.destination ORDER BY r.n, d.id ON CONFLICT (message_uuid) "
            "DO NOTHING)";
    }
    return text + " SELECT c.id FROM c";
}

/// $12 topic, $13 whether a checkpoint is written without a message.
std::string receive_text(bool marker) {
    return "WITH " + locked_run() +
           ", p AS MATERIALIZED (SELECT n.* FROM l CROSS JOIN LATERAL (SELECT n.message_uuid, n.message, "
           "n.serialization FROM @notifications n WHERE n.destination_uuid = l.id AND n.topic = $12::text "
           "AND "
           "NOT n.consumed ORDER BY n.created_at_epoch_ms, n.message_uuid LIMIT 1) n), " +
           checkpoint("COALESCE(p.message, $5::text)",
                      "CASE WHEN p.message_uuid IS NULL THEN $10::text ELSE p.serialization END",
                      "l LEFT JOIN p ON TRUE WHERE $13::boolean OR p.message_uuid IS NOT NULL") +
           ", u AS (UPDATE @notifications n SET consumed = true" +
           (marker ? ", consumed_by_function_id = $3::bigint::int" : "") +
           " WHERE n.message_uuid = ANY(ARRAY(SELECT p.message_uuid FROM p, c))) SELECT c.id, c.output, "
           "c.serialization FROM c";
}

}  // namespace

void CommitterStatements::make_postgres_effects() {
    recorded.event = make("event", event_text(true));
    recorded.stream = make("stream", stream_text(true));
    recorded.send = make("send", send_text(true, false));
    recorded.send_to_forks = make("send_to_forks", send_text(true, true));
    applied.event = make("applied_event", event_text(false));
    applied.stream = make("applied_stream", stream_text(false));
    applied.send = make("applied_send", send_text(false, false));
    applied.send_to_forks = make("applied_send_to_forks", send_text(false, true));
    receive = make("receive", receive_text(layout.recv_marker));
    read_missing =
        make("read_missing",
             "SELECT r.id FROM unnest($1::text[]) AS r(id) LEFT JOIN LATERAL (SELECT 1 AS there FROM "
             "@workflow_status w WHERE w.workflow_uuid = r.id OFFSET 0) w ON TRUE WHERE w.there IS NULL "
             "ORDER BY r.id COLLATE \"C\"",
             sql::Access::read);
}

void CommitterStatements::make_sqlite_effects() {
    // A message's insert with its destination gone is refused by the foreign key; who sends has looked before.
    const std::string token =
        seam::planted(seam::Bug::fence_by_two_arrays) ? "instr($2, owner_xid) > 0" : "owner_xid = $2";
    fence_row = make(
        "fence_row",
        "SELECT 1 FROM @workflow_status WHERE workflow_uuid = $1 AND " + token + " AND +status = 'PENDING'",
        sql::Access::read);
    const std::string change =
        " DO UPDATE SET value = excluded.value, serialization = excluded.serialization";
    event_row =
        make("event_row",
             "INSERT INTO @workflow_events (workflow_uuid, key, value, serialization) VALUES ($1, $2, "
             "$3, $4) ON CONFLICT (workflow_uuid, key)" +
                 change);
    history_row =
        make("history_row",
             "INSERT INTO @workflow_events_history (workflow_uuid, key, value, serialization, "
             "function_id) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (workflow_uuid, function_id, key)" +
                 change);
    stream_row =
        make("stream_row",
             "INSERT INTO @streams (workflow_uuid, key, value, serialization, function_id, \"offset\") "
             "VALUES ($1, $2, $3, $4, $5, COALESCE((SELECT s.\"offset\" FROM @streams s WHERE "
             "s.workflow_uuid = $1 AND s.key = $2 ORDER BY s.\"offset\" DESC LIMIT 1), -1) + 1)");
    message_row =
        make("message_row",
             "INSERT INTO @notifications (destination_uuid, topic, message, serialization, message_uuid, "
             "created_at_epoch_ms) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (message_uuid) DO NOTHING");
    forks_of =
        make("forks_of", "SELECT workflow_uuid FROM @workflow_status WHERE forked_from = $1 ORDER BY 1",
             sql::Access::read);
    next_message =
        make("next_message",
             "SELECT message_uuid, message, serialization FROM @notifications WHERE destination_uuid = "
             "$1 AND topic = $2 AND NOT consumed ORDER BY created_at_epoch_ms, message_uuid LIMIT 1",
             sql::Access::read);
    consume =
        make("consume", std::string("UPDATE @notifications SET consumed = 1") +
                            (layout.recv_marker ? ", consumed_by_function_id = $2" : "") +
                            " WHERE message_uuid = $1" + (layout.recv_marker ? "" : " AND $2 IS NOT NULL"));
    read_missing =
        make("read_missing",
             "SELECT a.value FROM json_each($1) a WHERE NOT EXISTS (SELECT 1 FROM @workflow_status w "
             "WHERE w.workflow_uuid = a.value) ORDER BY 1",
             sql::Access::read);
}

sql::TextArray destinations_of(const SendEffect& send) {
    std::set<std::string_view> ids;
    for (const NewMessage& message : send.messages) ids.insert(message.destination);
    return {ids.begin(), ids.end()};
}

StepRecord received(const StepRecord& checkpoint, Text message, Text serialization) {
    StepRecord record = checkpoint;
    record.output = std::move(message);
    record.serialization = std::move(serialization);
    return record;
}

void settle_effect(Write& write, const sql::Result& checkpoint, const sql::Result& missing) {
    StepResult& result = write.step_result;
    result = {};
    write.resolved = true;
    if (!fence_holds(write, checkpoint)) {
        seam::reach(seam::Situation::effect_fence_lost);
        result.kind = StepResult::Kind::lost;
        return;
    }
    if (write.kind == WriteKind::effect && !checkpoint.at(0, 2).null()) {
        // Mine: what is stored counts, not what a repeat would find (another message, another offset).
        result.stored = read_step_record(checkpoint, 0, 2);
        const bool ours = result.stored.completed_at_ms == write.step->completed_at_ms;
        result.kind = ours ? StepResult::Kind::recorded : StepResult::Kind::other;
        if (ours) seam::reach(seam::Situation::own_effect_recognised);
        return;
    }
    if (!missing.empty()) {
        seam::reach(seam::Situation::sent_to_missing);
        result.kind = StepResult::Kind::missing;
        for (std::size_t row = 0; row < missing.size(); ++row)
            result.missing.push_back(missing.at(row, 0).string());
        return;
    }
    if (const auto* receive = write.effect_as<ReceiveEffect>(); receive && !receive->record_nothing) {
        result.kind = StepResult::Kind::nothing;
        return;
    }
    write.resolved = false;
    write.again = true;
}

}  // namespace dbos::sysdb
