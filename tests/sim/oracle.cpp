#include "oracle.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "world.hpp"

namespace dbos::sim {

namespace {

bool terminal(const std::string& status) {
    return status == "SUCCESS" || status == "ERROR" || status == "CANCELLED" ||
           status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED";
}

std::string unquoted(const std::string& json) {
    return json.size() >= 2 && json.front() == '"' ? json.substr(1, json.size() - 2) : json;
}

}  // namespace

Oracle::Oracle(std::string path, Nanos lease, const Known& known)
    : path_(std::move(path)), lease_(lease), known_(known) {}

Oracle::~Oracle() {
    if (!database_) return;
    const Quiet nobody_else;
    for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
    sqlite3_close_v2(database_);
}

std::optional<std::vector<Oracle::Line>> Oracle::ask(const std::string& sql,
                                                     const std::vector<std::string>& values) {
    const Quiet nobody_else;
    if (!database_) {
        if (sqlite3_open_v2(path_.c_str(), &database_, SQLITE_OPEN_READWRITE, "sim") != SQLITE_OK) {
            sqlite3_close(database_);
            database_ = nullptr;
            return std::nullopt;
        }
    }
    std::optional<std::vector<Line>> table(std::in_place);
    sqlite3_stmt*& statement = statements_[sql];
    int code = SQLITE_OK;
    if (!statement)
        code = sqlite3_prepare_v3(database_, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    for (std::size_t i = 0; i < values.size() && code == SQLITE_OK; ++i) {
        code = sqlite3_bind_text(statement, static_cast<int>(i) + 1, values[i].c_str(), -1, SQLITE_TRANSIENT);
    }
    if (code == SQLITE_OK) {
        while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
            auto& row = table->emplace_back();
            for (int i = 0; i < sqlite3_column_count(statement); ++i) {
                const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
                row.push_back(text ? std::optional<std::string>(text) : std::nullopt);
            }
        }
    }
    if (code == SQLITE_DONE) {
        sqlite3_reset(statement);
        return table;
    }
    const int primary = code & 0xff;
    const bool missing =
        primary == SQLITE_ERROR && std::string(sqlite3_errmsg(database_)).starts_with("no such");
    if (primary != SQLITE_BUSY && primary != SQLITE_LOCKED && primary != SQLITE_PROTOCOL && !missing)
        fail("the oracle cannot read the database: " + std::string(sqlite3_errmsg(database_)));
    sqlite3_reset(statement);
    return std::nullopt;
}

namespace {

constexpr const char* kRowsWhere =
    "SELECT w.workflow_uuid, w.status, w.executor_id, w.owner_xid, w.queue_name,"
    " coalesce(o.output, w.output, '') || '|' || coalesce(o.error, w.error, ''), w.rowid, "
    "w.queue_partition_key,"
    " w.priority, w.created_at, CASE WHEN w.rate_limited THEN w.started_at_epoch_ms END, w.name, "
    "w.application_version, w.parent_workflow_id, coalesce(w.recovery_attempts, 0), "
    "w.workflow_deadline_epoch_ms, w.workflow_timeout_ms, w.attributes, w.name || '|' || "
    "coalesce(w.class_name, '') || '|' || coalesce(w.config_name, '') || '|' || "
    "coalesce(w.parent_workflow_id, '') || '|' || coalesce(w.serialization, '') || '|' || "
    "coalesce(w.authenticated_user, '') || '|' || coalesce(w.assumed_role, '') || '|' || "
    "coalesce(w.authenticated_roles, '') || '|' || coalesce(w.workflow_timeout_ms, '') || '|' || "
    "coalesce(w.forked_from, '') || '|' || coalesce(w.schedule_name, '') || '|' || w.created_at"
    " FROM workflow_status w LEFT JOIN workflow_output o ON o.workflow_uuid = w.workflow_uuid WHERE ";
constexpr const char* kLeasesWhere =
    "SELECT executor_id, incarnation, counter FROM dbos_cpp_executors WHERE ";
constexpr const char* kStepsWhere =
    "SELECT workflow_uuid, function_id, function_name || '|' || coalesce(output, '') || '|' ||"
    " coalesce(error, '') || '|' || coalesce(child_workflow_id, '') || '|' || started_at_epoch_ms || '|' ||"
    " completed_at_epoch_ms FROM operation_outputs WHERE ";

}  // namespace

void Oracle::changed(std::string_view table, std::int64_t rowid) {
    constexpr std::string_view kTables[] = {"workflow_status",   "workflow_output", "dbos_cpp_executors",
                                            "operation_outputs", "workflow_input",  "application_versions"};
    for (std::size_t i = 0; i < std::size(kTables); ++i) {
        if (table == kTables[i]) changed_[i].insert(rowid);
    }
}

/// What may have changed since the last time; nothing if it cannot be read now.
std::optional<Oracle::Changes> Oracle::read_changes(bool everything) {
    Changes changes;
    const auto add = [this](std::vector<Line>& to, const std::string& sql, std::int64_t value) {
        auto table = ask(sql, {std::to_string(value)});
        if (!table) return false;
        to.insert(to.end(), std::make_move_iterator(table->begin()), std::make_move_iterator(table->end()));
        return true;
    };
    if (everything) {
        const bool read = add(changes.leases, std::string(kLeasesWhere) + "? = '0'", 0) &&
                          add(changes.rows, std::string(kRowsWhere) + "? = '0'", 0) &&
                          add(changes.steps, std::string(kStepsWhere) + "? = '0'", 0);
        return read ? std::optional(std::move(changes)) : std::nullopt;
    }
    bool read = true;
    for (const auto rowid : changed_[Watched::leases])
        read = read && add(changes.leases, std::string(kLeasesWhere) + "rowid = ?", rowid);
    for (const auto rowid : changed_[Watched::rows]) {
        const std::size_t before = changes.rows.size();
        read = read && add(changes.rows, std::string(kRowsWhere) + "w.rowid = ?", rowid);
        if (changes.rows.size() == before) changes.gone.push_back(rowid);
    }
    for (const auto rowid : changed_[Watched::outputs]) {
        const char* of = "w.workflow_uuid = (SELECT workflow_uuid FROM workflow_output WHERE rowid = ?)";
        read = read && add(changes.rows, std::string(kRowsWhere) + of, rowid);
    }
    for (const auto rowid : changed_[Watched::steps])
        read = read && add(changes.steps, std::string(kStepsWhere) + "rowid = ?", rowid);
    for (const auto rowid : changed_[Watched::inputs])
        read = read &&
               add(changes.inputs, "SELECT workflow_uuid, inputs FROM workflow_input WHERE rowid = ?", rowid);
    changes.versions = !changed_[Watched::versions].empty() && !versions_.empty();
    return read ? std::optional(std::move(changes)) : std::nullopt;
}

void Oracle::committed(const std::string& path) {
    if (path != path_) return;  // rows that were changed may not be committed yet
    bool any = false;
    for (const auto& rowids : changed_) any = any || !rowids.empty();
    if (any) judge(false);
    if (director) director->committed();
}

void Oracle::judge(bool everything) {
    const auto changes = read_changes(everything);
    // Who dies between the publication of a commit and its end leaves it to be seen with the next one.
    exact_ = !std::exchange(missed_, !changes) && crashes_ == world->crashes;
    if (!changes) return;  // at the next commit
    crashes_ = world->crashes;
    if (changes->versions) note_latest();
    for (auto& rowids : changed_) rowids.clear();
    for (const Line& line : changes->leases) note_lease(line);
    std::map<std::string, Row> before;
    for (const Line& line : changes->rows) note_row(line, before);
    for (const Line& line : changes->steps) note_step(line);
    for (const Line& line : changes->inputs) note_input(line);
    for (const std::int64_t rowid : changes->gone) {
        const auto known = ids_.find(rowid);
        if (known == ids_.end()) continue;
        const std::string id = known->second;
        if (!known_.deleting.contains(id)) fail("workflow " + id + " is lost: its row has gone");
        rows_.erase(id);
        steps_.erase(id);
        inputs_.erase(id);
        runs_.erase(id);
        ids_.erase(known);
    }
    if (everything && changes->rows.size() != rows_.size())
        fail("of " + std::to_string(rows_.size()) + " workflows " + std::to_string(changes->rows.size()) +
             " are left");
    for (const auto& [id, row] : before) {
        judge_row(id, row, rows_[id]);
        judge_order(id, row, rows_[id]);
        judge_change(id, row, rows_[id]);
    }
    if (!changes->rows.empty()) judge_limits();
    if (calm_) judge_calm();
}

/// Replaces what is known of a row; `before` gets what was known.
void Oracle::note_row(const Line& line, std::map<std::string, Row>& before) {
    const auto text = [&](std::size_t i) { return line[i].value_or(""); };
    const auto [at, added] = rows_.try_emplace(text(0));
    Row& row = at->second;
    if (!added) before.try_emplace(at->first, row);
    if (added) judge_tick(at->first);
    ids_[std::stoll(text(6))] = at->first;
    const auto number = [&](std::size_t i) {
        return line[i] ? std::optional<std::int64_t>(std::stoll(*line[i])) : std::nullopt;
    };
    const Nanos ended_at = row.ended_at;
    const Nanos since = row.status == text(1) ? row.since : world_ns();
    row = {
        text(1),   text(2), text(3), text(4), text(5), 0, text(7), std::stoll(text(8)), std::stoll(text(9)),
        number(10)};
    row.name = text(11);
    row.version = text(12);
    row.parent = text(13);
    row.attempts = number(14).value_or(0);
    row.deadline = number(15);
    row.timeout = number(16);
    row.attributes = text(17);
    row.identity = text(18);
    row.since = since;
    if (terminal(row.status)) row.ended_at = ended_at > 0 ? ended_at : world_ns();
    if (added) judge_birth(at->first, row);
}

void Oracle::note_lease(const Line& line) {
    Lease& lease = leases_[line[0].value_or("")];
    const std::int64_t counter = std::stoll(line[2].value_or("0"));
    if (lease.incarnation == line[1] && lease.counter == counter) return;
    if (lease.incarnation != line[1]) {
        const auto& processes = processes_[line[0].value_or("")];
        if (!processes.empty())
            lease.process = processes.contains(current_process()) ? current_process() : *processes.rbegin();
    }
    lease.incarnation = line[1].value_or("");
    lease.counter = counter;
    lease.renewed_at = world_ns();
}

void Oracle::note_step(const Line& line) {
    const std::string id = line[0].value_or("");
    const int number = std::stoi(line[1].value_or("0"));
    const auto [at, added] = steps_[id].emplace(number, line[2].value_or(""));
    if (!added) {
        if (const auto cut = known_.rewound.find(id); cut != known_.rewound.end() && number >= cut->second) {
            at->second = line[2].value_or("");  // it runs again, at another time
        } else if (at->second != line[2]) {
            fail("the record of step " + std::to_string(number) + " of " + id + " has changed from " +
                 at->second + " to " + line[2].value_or(""));
        }
        return;
    }
    const auto ended = rows_.find(id);
    if (ended != rows_.end() && ended->second.ended_at > 0 && ended->second.ended_at < world_ns())
        fail("step " + std::to_string(number) + " of " + id + " was recorded after the workflow had ended (" +
             ended->second.status + ")");
}

void Oracle::judge_row(const std::string& id, const Row& before, const Row& now) {
    const bool managed = known_.managed.contains(id);
    if (managed && now.status == "CANCELLED") cancelled_at_[id] = world_ns();
    if (managed && before.status == "CANCELLED" && !terminal(now.status)) return;
    if (known_.rewound.contains(id) && terminal(before.status) && !terminal(now.status)) return;
    if (terminal(before.status)) {
        if (before.status != now.status || before.outcome != now.outcome)
            fail("the outcome of " + id + " has changed from " + before.status + " " + before.outcome +
                 " to " + now.status + " " + now.outcome);
        return;
    }
    if (before.status != "PENDING" || before.owner.empty()) return;
    const bool taken = now.status == "ENQUEUED" || (now.status == "PENDING" && now.owner != before.owner);
    if (!taken || managed) return;
    const auto found = leases_.find(before.executor);
    if (found == leases_.end() || found->second.process < 0) return;
    const Lease& lease = found->second;
    if (lease.process == current_process()) {
        const auto [first, last] = bodies_[lease.process].equal_range(id);
        for (auto body = first; body != last; ++body) {
            if (body->second == before.owner) fail("workflow " + id + " is handed back while its body runs");
        }
        return;
    }
    if (ended(lease.process)) return;
    // Who could not renew because the database was away is as alive as its judge.
    if (world_ns() - lease.renewed_at - away_since(lease.renewed_at) < lease_)
        fail("executor " + before.executor + " (p" + std::to_string(lease.process) + ") lives and renewed " +
             std::to_string((world_ns() - lease.renewed_at) / kMillisecond) + " ms ago, but " + id +
             " was taken from it by p" + std::to_string(current_process()));
}

void Oracle::judge_limits() {
    std::map<std::string, std::int64_t> running;
    const auto within = [&](const std::string& what, std::int64_t limit) {
        if (++running[what] > limit) fail("more than " + std::to_string(limit) + " workflows run of " + what);
    };
    std::vector<std::int64_t> rated, mixed;
    std::map<std::string, std::vector<std::int64_t>> mixed_keys;
    for (const auto& [id, row] : rows_) {
        if (row.started_at && row.queue == kRated) rated.push_back(*row.started_at);
        if (row.started_at && row.queue == kMixed) {
            mixed.push_back(*row.started_at);
            mixed_keys[row.key].push_back(*row.started_at);
        }
        if (row.status != "PENDING") continue;
        if (row.queue == kShared) within("the queue \"shared\"", kSharedLimit);
        // What a process of another version has left under a configured id is nobody's until it is handed back.
        const std::string executor = row.executor + (versions_.empty() ? "" : " of version " + row.version);
        if (row.queue == kNarrow) within("the queue \"narrow\" on executor " + executor, kNarrowLimit);
        if (row.queue == kKeyed) within("the queue \"keyed\", key " + row.key, 1);
        if (row.queue != kMixed) continue;
        within("the queue \"mixed\"", kMixedLimit);
        within("the queue \"mixed\" on executor " + executor, kMixedWorkerLimit);
        within("the queue \"mixed\", key " + row.key, kMixedKeyLimit);
        within("the queue \"mixed\", key " + row.key + " on executor " + executor, kMixedKeyWorkerLimit);
    }
    judge_rate(kRated, kRatedRate, std::move(rated));
    judge_rate(kMixed, kMixedRate, std::move(mixed));
    for (auto& [key, starts] : mixed_keys) judge_rate(kMixed, kMixedKeyRate, std::move(starts));
}

/// No period holds more starts than the rate allows.
void Oracle::judge_rate(const char* queue, const Rate& rate, std::vector<std::int64_t> starts) const {
    std::ranges::sort(starts);
    const auto most = static_cast<std::size_t>(rate.starts);
    for (std::size_t n = most; n < starts.size(); ++n) {
        if (starts[n] - starts[n - most] < rate.period_ms)
            fail("more than " + std::to_string(most) + " workflows of the queue \"" + queue +
                 "\" started in " + std::to_string(rate.period_ms) + " ms");
    }
}

/// With partition_concurrency 1 the workflows of a key start in their order: those that this version may run.
void Oracle::judge_order(const std::string& id, const Row& before, const Row& now) const {
    if (now.queue != kKeyed || before.status != "ENQUEUED" || now.status != "PENDING") return;
    for (const auto& [other, row] : rows_) {
        if (row.queue != kKeyed || row.key != now.key || row.status != "ENQUEUED") continue;
        if (row.version != now.version && row.version != before.version) continue;
        if (std::tie(row.priority, row.created_at, other) < std::tie(now.priority, now.created_at, id))
            fail("workflow " + id + " starts before " + other + " of the same partition key");
    }
}

void Oracle::body(const std::string& executor_id, const std::string& workflow_id, bool begins) {
    const Unseen unseen;
    if (tracing()) trace((begins ? "BODY begins of " : "BODY ends of ") + workflow_id);
    auto& running = narrow_bodies_[executor_id + "/" + std::to_string(current_process())];
    const auto row = rows_.find(workflow_id);
    auto& bodies = bodies_[current_process()];
    if (begins && row != rows_.end()) bodies.emplace(workflow_id, row->second.owner);
    if (begins) judge_run(workflow_id);
    if (!begins) {
        running.erase(workflow_id);  // a cancelled row has lost its queue
        if (const auto body = bodies.find(workflow_id); body != bodies.end()) bodies.erase(body);
        if (!calm_ || row == rows_.end() || row->second.status != "CANCELLED") return;
        constexpr Nanos kBound = 3 * kSecond;  // a tick a second, and what it takes
        const Nanos since = std::max(row->second.ended_at, last_step_[executor_id + workflow_id]);
        if (world_ns() - since > kBound)
            fail("the body of " + workflow_id + " ends " +
                 std::to_string((world_ns() - since) / kMillisecond) + " ms after its cancellation");
        return;
    }
    if (row == rows_.end() || row->second.queue != kNarrow) return;
    running.insert(workflow_id);
    if (static_cast<std::int64_t>(running.size()) > kNarrowLimit)
        fail("executor " + executor_id + " runs more than " + std::to_string(kNarrowLimit) +
             " body of the queue \"narrow\"");
}

void Oracle::ends(const std::string& executor_id, const std::string& workflow_id) {
    const Unseen unseen;
    last_step_[executor_id + workflow_id] = world_ns();
}

std::string Oracle::status(const std::string& id) const {
    const auto row = rows_.find(id);
    return row == rows_.end() ? "" : row->second.status;
}

int Oracle::process_of(const std::string& id) const {
    const auto row = rows_.find(id);
    const auto lease = row == rows_.end() ? leases_.end() : leases_.find(row->second.executor);
    return lease == leases_.end() ? -1 : lease->second.process;
}

int Oracle::steps(const std::string& id) const {
    const auto found = steps_.find(id);
    return found == steps_.end() ? 0 : static_cast<int>(found->second.size());
}

void Oracle::refused(const std::string& id) {
    const Unseen unseen;
    const auto row = ask("SELECT 1 FROM workflow_status WHERE workflow_uuid = ?", {id});
    if (row && !row->empty()) fail("a start was reported as not done, but " + id + " has a row");
}

void Oracle::begins(const std::string& executor_id, const std::string& workflow_id, int step, int attempt) {
    const Unseen unseen;
    const Quiet nobody_else;
    if (tracing())
        trace("BODY of step " + std::to_string(step) + " of " + workflow_id + " begins, attempt " +
              std::to_string(attempt));
    const auto record = ask("SELECT 1 FROM operation_outputs WHERE workflow_uuid = ? AND function_id = ?",
                            {workflow_id, std::to_string(step)});
    const bool stale = resumed_a_moment_ago(workflow_id);
    if (record && !record->empty() && !stale)
        fail("a finished step runs again: step " + std::to_string(step) + " of " + workflow_id + " on " +
             executor_id);
    const auto row =
        ask("SELECT status, executor_id FROM workflow_status WHERE workflow_uuid = ?", {workflow_id});
    if (!row) return;
    if (row->empty() && known_.deleting.contains(workflow_id)) return;  // seen within a second
    if (row->empty()) fail("a step runs of " + workflow_id + ", which has no row");
    const std::string status = (*row)[0][0].value_or("");
    const std::string owner = (*row)[0][1].value_or("");
    if (director) director->step_begins(workflow_id, step, attempt);
    if (status == "CANCELLED") return;  // seen within a second
    if (stale) return;
    judge_attempt(workflow_id, step, attempt);
    if (status != "PENDING" || owner != executor_id)
        fail("step " + std::to_string(step) + " of " + workflow_id + " begins on " + executor_id +
             ", but the row is " + status + " of " + owner);
}

/// Whether an older run of the workflow need not know yet that it was cancelled: it sees that at its next write, or within a
/// second.
bool Oracle::resumed_a_moment_ago(const std::string& id) const {
    constexpr Nanos kBound = 3 * kSecond;
    const auto cancelled = cancelled_at_.find(id);
    return cancelled != cancelled_at_.end() && (!calm_ || world_ns() - cancelled->second < kBound);
}

bool Oracle::all_ended() {
    for (const auto& [id, row] : rows_) {
        if (!terminal(row.status)) return false;
    }
    return unfinished().empty();
}

std::string Oracle::unfinished() {
    const auto rows =
        ask("SELECT workflow_uuid, status, queue_name, executor_id FROM workflow_status"
            " WHERE status IN ('PENDING', 'ENQUEUED', 'DELAYED') ORDER BY 1");
    if (!rows) return "the database cannot be read";
    std::string text;
    for (const auto& row : *rows)
        text += "\n    " + row[0].value_or("") + " " + row[1].value_or("") + " queue " +
                row[2].value_or("-") + " of " + row[3].value_or("-");
    return text;
}

void Oracle::final_state() {
    committed(path_);
    const auto known = rows_;
    judge(true);
    for (const auto& [id, row] : rows_) {
        const auto before = known.find(id);
        if (before == known.end() || before->second.status != row.status ||
            before->second.outcome != row.outcome)
            fail("the oracle has missed a change of " + id + " to " + row.status + " " + row.outcome);
    }
    for (const auto& id : known_.accepted) {
        if (!rows_.contains(id) && !known_.deleting.contains(id))
            fail("workflow " + id + " is lost: it was accepted and has no row");
    }
    for (const auto& id : known_.deleted) {
        if (rows_.contains(id)) fail("workflow " + id + " was deleted and has a row");
    }
    judge_errands();
    judge_effects();
    judge_streams();
    judge_rows();
    judge_ticks();
    judge_ends();
    judge_forks();
    judge_misfits();
    judge_books();
    for (const auto& [id, row] : rows_) {
        if (!terminal(row.status)) fail("workflow " + id + " is stranded: " + row.status);
        note(static_cast<std::uint64_t>(row.status[0]));
    }
    for (const auto& [id, outcome] : known_.outcomes) {
        const Row& row = rows_[id];
        const std::string now = row.status == "SUCCESS"
                                    ? "SUCCESS " + unquoted(row.outcome.substr(0, row.outcome.find('|')))
                                    : row.status;
        if (now != outcome)
            fail("a caller was told that " + id + " ended as " + outcome + ", the row says " + now);
    }
    judge_steps();
}

/// What callers were told of their messages and attributes.
void Oracle::judge_errands() {
    for (const auto& [key, destination] : known_.sent) {
        const auto rows =
            ask("SELECT 1 FROM notifications WHERE destination_uuid = ? AND message_uuid LIKE ? || '%'",
                {destination, key});
        if (rows && rows->size() != 1)
            fail("message " + key + " was sent, and " + destination + " has " + std::to_string(rows->size()) +
                 " of it");
    }
    for (const auto& [id, round] : known_.rounds) {
        const auto rows = ask(
            "SELECT json_extract(attributes, '$.round') FROM workflow_status WHERE workflow_uuid = ?", {id});
        if (rows && (rows->size() != 1 || (*rows)[0][0] != std::to_string(round)))
            fail("the attributes of " + id + " are not those that were set last");
    }
}

/// An outcome must follow from the recorded steps: values of attempts that were not recorded must not be in it, and an error
/// of a workflow is one of its steps.
void Oracle::judge_steps() {
    const auto steps =
        ask("SELECT workflow_uuid, output, error FROM operation_outputs WHERE function_name LIKE 'step %' OR"
            " function_name LIKE 'book %' OR function_name IN ('before', 'between', 'after', 'a', 'b', 'c') "
            "ORDER BY workflow_uuid, "
            "function_id");
    const auto names = ask("SELECT workflow_uuid, name FROM workflow_status");
    if (!steps || !names) fail("the oracle cannot read the steps");
    std::map<std::string, std::string> expected;
    std::set<std::string> failed;
    for (const auto& row : *steps) {
        expected[*row[0]] += unquoted(row[1].value_or("")) + ",";
        if (row[2]) failed.insert(*row[0]);
    }
    for (const auto& name : *names) {
        const std::string& id = *name[0];
        const Row& row = rows_[id];
        if (row.status == "CANCELLED" || row.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED" ||
            known_.unrunnable.contains(id) || known_.misfits.contains(id))
            continue;  // judge_ends, judge_misfits
        if (row.status != (failed.contains(id) ? "ERROR" : "SUCCESS"))
            fail("workflow " + id + " ended as " + row.status + " " + row.outcome + ", but " +
                 (failed.contains(id) ? "a step" : "no step") + " of it has failed");
        // Those of parents are made of more than steps.
        if (row.status != "SUCCESS" || name[1] == "parent" || name[1] == "duet" || name[1] == "listener" ||
            name[1] == "tour" || name[1] == "guest" || name[1] == "ticked" || name[1] == "guardian")
            continue;
        const std::string outcome = unquoted(row.outcome.substr(0, row.outcome.find('|')));
        if (outcome != expected[id])
            fail("the outcome of " + id + " does not follow from its steps: " + outcome + " against " +
                 expected[id]);
    }
}

}  // namespace dbos::sim
