// What the committer says to PostgreSQL. Fenced statements compare (workflow, token) pairs row by row, and lock the status
// rows in the order of their ids, in the statement itself or in one ahead of it (`_locked`).
#include <string>

#include "sysdb/committer_texts.hpp"

namespace dbos::sysdb {
namespace {

constexpr const char* kNow = texts::kNow;

/// created_at of a start: not before those of this process before it, and at most a second ahead of the clock.
constexpr const char* kCreation =
    "(SELECT r.*, LEAST(GREATEST(t.now, r.floor) + r.step, t.now + 1000) AS at FROM r, t ORDER BY r.n) r";

using texts::fence;

/// Rows of `r` that pass the fence.
///
/// LATERAL with OFFSET 0 or a lock is not flattened, so every row of `r` is one look-up by the primary key. A plain join that
/// was planned while the table was empty scans the whole index, and goes on doing so when the table has grown; that is also
/// why updates and deletes name their rows by `= ANY(ARRAY(…))`.
std::string fenced(bool locked) {
    const std::string look =
        " CROSS JOIN LATERAL (SELECT 1 FROM @workflow_status w WHERE w.workflow_uuid = r.id AND " +
        fence("r.token");
    if (locked) return "l AS MATERIALIZED (SELECT r.* FROM r" + look + " OFFSET 0) w)";
    return "l AS MATERIALIZED (SELECT r.* FROM (SELECT * FROM r ORDER BY r.id COLLATE \"C\") r" + look +
           " FOR NO KEY UPDATE) w)";
}

/// "$1::text[], …" and the names.
struct Unnest {
    std::string parameters;
    std::string names;
    std::size_t count = 0;
    void add(const std::string& name, const std::string& type) {
        parameters += (count ? ", $" : "$") + std::to_string(count + 1) + "::" + type + "[]";
        names += (count ? ", " : "") + name;
        ++count;
    }
    std::string rows() const {
        return "r AS MATERIALIZED (SELECT * FROM unnest(" + parameters + ") WITH ORDINALITY AS r(" + names +
               ", n))";
    }
};

const char* array_type(const StartColumn& column) { return column.number ? "bigint" : "text"; }

/// "r.a::text, …" of the columns of a start.
std::string selected(const std::vector<const StartColumn*>& columns) {
    std::string values;
    for (const StartColumn* column : columns) {
        values += std::string("r.c_") + column->name;
        if (std::string_view(column->type) != array_type(*column)) values += std::string("::") + column->type;
        values += ", ";
    }
    return values + "r.at, r.at";
}

constexpr const char* kStepInsert = texts::kStepInsert;

}  // namespace

void CommitterStatements::make_postgres() {
    lock_timeout = make("lock_timeout", "SELECT set_config('lock_timeout', $1, true)", sql::Access::read);
    notify = make(
        "notify",
        "SELECT pg_notify(r.channel, r.payload) FROM unnest($1::text[], $2::text[]) AS r(channel, payload)");
    lock = make(
        "lock",
        "SELECT count(*) FROM (SELECT r.id FROM unnest($1::text[]) AS r(id) ORDER BY r.id COLLATE \"C\") r "
        "CROSS JOIN LATERAL (SELECT 1 FROM @workflow_status w WHERE w.workflow_uuid = r.id FOR NO KEY "
        "UPDATE) w");
    make_postgres_starts();
    if (!layout.creator_token || !layout.payload_tables || !layout.step_retention)
        return;  // no runs there, only clients
    make_postgres_children();
    make_postgres_steps();
    make_postgres_effects();
    make_postgres_outcomes();
}

void CommitterStatements::make_postgres_starts() {
    Unnest rows;
    std::string single;
    for (const StartColumn* column : columns_) {
        rows.add(std::string("c_") + column->name, array_type(*column));
        single += (single.empty() ? "$" : ", $") + std::to_string(rows.count) + "::" + column->type;
    }
    rows.add("floor", "bigint");
    rows.add("step", "bigint");
    const std::string into = "INSERT INTO @workflow_status (" + column_names() + ") ";
    const std::string clock = std::string("t AS MATERIALIZED (SELECT ") + kNow + " AS now)";
    const std::string conflict = " ON CONFLICT DO NOTHING RETURNING workflow_uuid, created_at";
    start_set = make("start_set", "WITH " + clock + ", " + rows.rows() + " " + into + "SELECT " +
                                      selected(columns_) + " FROM " + kCreation + conflict);

    const std::string floor = "$" + std::to_string(columns_.size() + 1) + "::bigint";
    const std::string step = "$" + std::to_string(columns_.size() + 2) + "::bigint";
    const std::string insert = into + "SELECT " + single +
                               ", c.at, c.at FROM (SELECT LEAST(GREATEST(t.now, " + floor + ") + " + step +
                               ", t.now + 1000) AS at FROM t) c" + conflict;
    if (!layout.payload_tables) {
        start_row = make("start_row", "WITH " + clock + " " + insert);
        return;
    }
    const std::string upsert = texts::kInputUpsert;
    const std::string input_into = texts::kInputInto;
    start_row = make("start_row", "WITH " + clock + ", s AS (" + insert + "), " + input_into +
                                      "SELECT s.workflow_uuid, $" + std::to_string(columns_.size() + 3) +
                                      "::text, s.created_at FROM s" + upsert +
                                      "SELECT s.workflow_uuid, s.created_at FROM s");
    // Created here = inserted by this transaction.
    const std::string inputs =
        "SELECT r.id, r.inputs, w.created_at FROM unnest($1::text[], $2::text[]) AS r(id, inputs) CROSS JOIN "
        "LATERAL (SELECT w.created_at FROM @workflow_status w WHERE w.workflow_uuid = r.id AND w.xmin = "
        "pg_current_xact_id()::xid OFFSET 0) w";
    input_set =
        make("input_set", "WITH " + input_into + inputs + upsert + "SELECT count(*) FROM i WHERE i.met");
    input_set_new =
        make("input_set_new",
             "INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp) " + inputs);
}

void CommitterStatements::make_postgres_children() {
    Unnest rows;
    for (const StartColumn* column : columns_)
        rows.add(std::string("c_") + column->name, array_type(*column));
    rows.add("floor", "bigint");
    rows.add("step", "bigint");
    rows.add("id", "text");  // of the parent
    rows.add("token", "text");
    rows.add("fid", "bigint");
    child_set = make("child_set", std::string("WITH t AS MATERIALIZED (SELECT ") + kNow + " AS now), " +
                                      rows.rows() + ", " + fenced(false) + " INSERT INTO @workflow_status (" +
                                      column_names() + ") SELECT " + selected(columns_) +
                                      " FROM (SELECT l.*, LEAST(GREATEST(t.now, l.floor) + l.step, t.now + "
                                      "1000) AS at FROM l, t ORDER BY l.n) r WHERE "
                                      "NOT EXISTS (SELECT FROM @operation_outputs o WHERE o.workflow_uuid = "
                                      "r.id AND o.function_id = r.fid::int) ON "
                                      "CONFLICT DO NOTHING RETURNING workflow_uuid, created_at");
    // The checkpoint joins on a child of the same name, class and instance, and of the same creator where no other row will
    // do. The parent is locked by the statement before.
    Unnest steps;
    for (const char* name : {"id", "token"}) steps.add(name, "text");
    steps.add("fid", "bigint");
    for (const char* name :
         {"fname", "child", "name", "class", "config", "creator", "serialization", "application"}) {
        steps.add(name, "text");
    }
    for (const char* name : {"started", "completed"}) steps.add(name, "bigint");
    checkpoint_set =
        make("checkpoint_set",
             "WITH " + steps.rows() + ", " + fenced(true) + " " + kStepInsert +
                 "SELECT l.id, l.fid::int, l.fname, NULL, NULL, l.child, l.started, l.completed, "
                 "l.serialization, l.application, " +
                 kNow +
                 " FROM l CROSS JOIN LATERAL (SELECT 1 FROM @workflow_status c WHERE c.workflow_uuid = "
                 "l.child AND "
                 "c.name = l.name AND COALESCE(c.class_name, '') = COALESCE(l.class, '') AND "
                 "COALESCE(c.config_name, '') = COALESCE(l.config, '') AND "
                 "(l.creator IS NULL OR c.creator_xid = l.creator) OFFSET 0) c ON CONFLICT "
                 "(workflow_uuid, function_id) DO NOTHING RETURNING o.workflow_uuid, o.function_id");
}

void CommitterStatements::make_postgres_steps() {
    Unnest rows;
    for (const char* name : {"id", "token"}) rows.add(name, "text");
    rows.add("fid", "bigint");
    for (const char* name : {"fname", "output", "error", "child"}) rows.add(name, "text");
    for (const char* name : {"started", "completed"}) rows.add(name, "bigint");
    for (const char* name : {"serialization", "application"}) rows.add(name, "text");
    const std::string select =
        "SELECT l.id, l.fid::int, l.fname, l.output, l.error, l.child, l.started, l.completed, "
        "l.serialization, "
        "l.application, t.now FROM l, (SELECT " +
        std::string(kNow) + " AS now) t ";
    const std::string conflict = "ON CONFLICT (workflow_uuid, function_id) ";
    const std::string repeat = conflict + "DO UPDATE SET completed_at_epoch_ms = o.completed_at_epoch_ms ";
    const std::string key = "RETURNING o.workflow_uuid, o.function_id";
    for (const bool locked : {false, true}) {
        const std::string head = "WITH " + rows.rows() + ", " + fenced(locked) + " " + kStepInsert + select;
        const std::string stored = key + ", o.completed_at_epoch_ms";
        (locked ? step_set.locked : step_set.unlocked) =
            make(locked ? "step_set_locked" : "step_set", head + repeat + stored);
        (locked ? step_set.locked_new : step_set.unlocked_new) =
            make(locked ? "step_set_locked_new" : "step_set_new", head + stored);
        (locked ? first_wins_set_locked : first_wins_set) =
            make(locked ? "first_wins_set_locked" : "first_wins_set", head + conflict + "DO NOTHING " + key);
    }
    step_row = make(
        "step_row",
        "WITH l AS MATERIALIZED (SELECT w.workflow_uuid AS id FROM @workflow_status w WHERE w.workflow_uuid "
        "= "
        "$1::text AND " +
            fence("$2::text") + " FOR NO KEY UPDATE) " + kStepInsert +
            "SELECT l.id, $3::bigint::int, $4::text, $5::text, $6::text, $7::text, $8::bigint, $9::bigint, "
            "$10::text, $11::text, " +
            kNow + " FROM l " + repeat + "RETURNING o.completed_at_epoch_ms");
}

void CommitterStatements::make_postgres_outcomes() {
    const std::string clock = std::string("t AS MATERIALIZED (SELECT ") + kNow + " AS now)";
    const std::string changes =
        " owner_xid = NULL, deduplication_id = NULL, updated_at = (SELECT now FROM t), completed_at = "
        "(SELECT "
        "now FROM t) WHERE ";
    const std::string into =
        "INSERT INTO @workflow_output (workflow_uuid, output, error, retention_timestamp) SELECT ";
    const std::string again =
        " ON CONFLICT (workflow_uuid) DO UPDATE SET output = EXCLUDED.output, error = EXCLUDED.error, "
        "retention_timestamp = EXCLUDED.retention_timestamp";
    for (const bool locked : {false, true}) {
        // `l` has locked the rows and compared the pairs.
        const std::string head =
            "WITH " + clock +
            ", r AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], "
            "$5::text[]) AS r(id, token, status, output, error)), " +
            fenced(locked) +
            ", u AS (UPDATE @workflow_status w SET status = CASE WHEN w.workflow_uuid = ANY(ARRAY(SELECT id "
            "FROM l WHERE status = 'ERROR')) THEN 'ERROR' ELSE 'SUCCESS' END," +
            changes + "w.workflow_uuid = ANY(ARRAY(SELECT id FROM l))), o AS (" + into +
            "l.id, l.output, l.error, t.now FROM l, t";
        const std::string ids = ") SELECT l.id FROM l";
        (locked ? outcome_set.locked : outcome_set.unlocked) =
            make(locked ? "outcome_set_locked" : "outcome_set", head + again + ids);
        (locked ? outcome_set.locked_new : outcome_set.unlocked_new) =
            make(locked ? "outcome_set_locked_new" : "outcome_set_new", head + ids);
    }
    outcome_row =
        make("outcome_row", "WITH " + clock + ", u AS (UPDATE @workflow_status w SET status = $3::text," +
                                changes + "w.workflow_uuid = $1::text AND " + fence("$2::text") +
                                " RETURNING w.workflow_uuid), o AS (" + into +
                                "u.workflow_uuid, $4::text, $5::text, t.now FROM u, t" + again +
                                ") SELECT u.workflow_uuid FROM u");
}

}  // namespace dbos::sysdb
