#include "oracle.hpp"

#include <sqlite3.h>

#include <set>

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

std::optional<Oracle::Table> Oracle::ask(const char* sql, const std::vector<std::string>& values) {
    const Quiet nobody_else;
    if (!database_) {
        if (sqlite3_open_v2(path_.c_str(), &database_, SQLITE_OPEN_READWRITE, "sim") != SQLITE_OK) {
            sqlite3_close(database_);
            database_ = nullptr;
            return std::nullopt;
        }
    }
    std::optional<Table> table(std::in_place);
    sqlite3_stmt*& statement = statements_[sql];
    int code = SQLITE_OK;
    if (!statement)
        code = sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
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

bool Oracle::read_state() {
    const auto version = ask("PRAGMA data_version");
    if (!version || (*version)[0][0] == version_) return false;
    const auto rows =
        ask("SELECT w.workflow_uuid, w.status, w.executor_id, w.owner_xid, w.queue_name,"
            " coalesce(o.output, w.output, '') || '|' || coalesce(o.error, w.error, '')"
            " FROM workflow_status w LEFT JOIN workflow_output o ON o.workflow_uuid = w.workflow_uuid");
    const auto leases = ask("SELECT executor_id, incarnation, counter FROM dbos_cpp_executors");
    const auto steps =
        ask("SELECT workflow_uuid, function_id, function_name || '|' || coalesce(output, '') || '|' ||"
            " coalesce(error, '') || '|' || coalesce(child_workflow_id, '') FROM operation_outputs");
    if (!rows || !leases || !steps) return false;
    version_ = *(*version)[0][0];
    before_ = std::move(rows_);
    rows_.clear();
    for (const auto& row : *rows) {
        const auto text = [&](std::size_t i) { return row[i].value_or(""); };
        const auto old = before_.find(text(0));
        Row& now = rows_[text(0)];
        now = {text(1), text(2), text(3), text(4), text(5), 0};
        if (terminal(now.status))
            now.ended_at =
                old != before_.end() && old->second.ended_at > 0 ? old->second.ended_at : world_ns();
    }
    for (const auto& row : *leases) {
        Lease& lease = leases_[row[0].value_or("")];
        const std::int64_t counter = std::stoll(row[2].value_or("0"));
        if (lease.incarnation == row[1] && lease.counter == counter) continue;
        lease.incarnation = row[1].value_or("");
        lease.counter = counter;
        lease.renewed_at = world_ns();
    }
    for (const auto& row : *steps) {
        auto& recorded = steps_[row[0].value_or("")];
        const int number = std::stoi(row[1].value_or("0"));
        const auto [at, added] = recorded.emplace(number, row[2].value_or(""));
        if (!added && at->second != row[2])
            fail("the record of step " + std::to_string(number) + " of " + *row[0] + " has changed from " +
                 at->second + " to " + row[2].value_or(""));
        if (!added) continue;
        const auto ended = rows_.find(*row[0]);
        if (ended != rows_.end() && ended->second.ended_at > 0 && ended->second.ended_at < world_ns())
            fail("step " + std::to_string(number) + " of " + *row[0] +
                 " was recorded after the workflow had ended (" + ended->second.status + ")");
    }
    return true;
}

void Oracle::committed() {
    if (!read_state()) return;
    for (const auto& [id, before] : before_) {
        const auto now = rows_.find(id);
        if (now == rows_.end()) fail("workflow " + id + " is lost: its row has gone");
        judge_row(id, before, now->second);
    }
    judge_limits();
}

void Oracle::judge_row(const std::string& id, const Row& before, const Row& now) {
    if (terminal(before.status)) {
        if (before.status != now.status || before.outcome != now.outcome)
            fail("the outcome of " + id + " has changed from " + before.status + " " + before.outcome +
                 " to " + now.status + " " + now.outcome);
        return;
    }
    if (before.status != "PENDING" || before.owner.empty()) return;
    const bool taken = now.status == "ENQUEUED" || (now.status == "PENDING" && now.owner != before.owner);
    if (!taken) return;
    const auto found = leases_.find(before.executor);
    if (found == leases_.end() || found->second.process < 0) return;
    const Lease& lease = found->second;
    if (lease.process == current_process() || ended(lease.process)) return;
    if (world_ns() - lease.renewed_at < lease_)
        fail("executor " + before.executor + " (p" + std::to_string(lease.process) + ") lives and renewed " +
             std::to_string((world_ns() - lease.renewed_at) / kMillisecond) + " ms ago, but " + id +
             " was taken from it by p" + std::to_string(current_process()));
}

void Oracle::judge_limits() {
    std::map<std::string, std::int64_t> shared, own;
    for (const auto& [id, row] : rows_) {
        if (row.status != "PENDING") continue;
        if (row.queue == kShared && ++shared[row.queue] > kSharedLimit)
            fail("more than " + std::to_string(kSharedLimit) +
                 " workflows of the queue \"shared\" are running");
        if (row.queue == kNarrow && ++own[row.executor] > kNarrowLimit)
            fail("executor " + row.executor + " runs more than " + std::to_string(kNarrowLimit) +
                 " workflow of the queue \"narrow\"");
    }
}

void Oracle::body(const std::string& executor_id, const std::string& workflow_id, bool begins) {
    if (tracing()) trace((begins ? "BODY begins of " : "BODY ends of ") + workflow_id);
    auto& running = narrow_bodies_[executor_id];
    if (!begins) {
        running.erase(workflow_id);  // a cancelled row has lost its queue
        return;
    }
    const auto row = rows_.find(workflow_id);
    if (row == rows_.end() || row->second.queue != kNarrow) return;
    running.insert(workflow_id);
    if (static_cast<std::int64_t>(running.size()) > kNarrowLimit)
        fail("executor " + executor_id + " runs more than " + std::to_string(kNarrowLimit) +
             " body of the queue \"narrow\"");
}

void Oracle::begins(const std::string& executor_id, const std::string& workflow_id, int step, int attempt) {
    const Quiet nobody_else;
    if (tracing())
        trace("BODY of step " + std::to_string(step) + " of " + workflow_id + " begins, attempt " +
              std::to_string(attempt));
    const auto record = ask("SELECT 1 FROM operation_outputs WHERE workflow_uuid = ? AND function_id = ?",
                            {workflow_id, std::to_string(step)});
    if (record && !record->empty())
        fail("a finished step runs again: step " + std::to_string(step) + " of " + workflow_id + " on " +
             executor_id);
    const auto row =
        ask("SELECT status, executor_id FROM workflow_status WHERE workflow_uuid = ?", {workflow_id});
    if (!row) return;
    if (row->empty()) fail("a step runs of " + workflow_id + ", which has no row");
    const std::string status = (*row)[0][0].value_or("");
    const std::string owner = (*row)[0][1].value_or("");
    if (status == "CANCELLED") return;  // seen within a second
    if (status != "PENDING" || owner != executor_id)
        fail("step " + std::to_string(step) + " of " + workflow_id + " begins on " + executor_id +
             ", but the row is " + status + " of " + owner);
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

std::size_t Oracle::workflows() { return rows_.size(); }

void Oracle::final_state() {
    version_.clear();
    committed();
    for (const auto& id : known_.accepted) {
        if (!rows_.contains(id)) fail("workflow " + id + " is lost: it was accepted and has no row");
    }
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

/// An outcome must follow from the recorded steps: values of attempts that were not recorded must not be in it, and an error
/// of a workflow is one of its steps.
void Oracle::judge_steps() {
    const auto steps =
        ask("SELECT workflow_uuid, output, error FROM operation_outputs WHERE function_name LIKE 'step %' OR"
            " function_name IN ('before', 'between', 'after', 'a', 'b', 'c') ORDER BY workflow_uuid, "
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
        if (row.status == "CANCELLED") continue;
        if (row.status != (failed.contains(id) ? "ERROR" : "SUCCESS"))
            fail("workflow " + id + " ended as " + row.status + " " + row.outcome + ", but " +
                 (failed.contains(id) ? "a step" : "no step") + " of it has failed");
        if (row.status != "SUCCESS" || name[1] == "parent") continue;
        const std::string outcome = unquoted(row.outcome.substr(0, row.outcome.find('|')));
        if (outcome != expected[id])
            fail("the outcome of " + id + " does not follow from its steps: " + outcome + " against " +
                 expected[id]);
    }
}

}  // namespace dbos::sim
