// What the rows mean that are read after a write whose result was not plain: a lost fence, a lost acknowledgement, or a
// record of somebody else.
#include <string>

#include "dbos/error.hpp"
#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "sysdb/committer_statements.hpp"

namespace dbos::sysdb {
namespace {

/// What an index entry may hold (a third of a page, less what surrounds it).
constexpr std::size_t kLargestKey = 2600;

void refuse_nul(const NewWorkflow& workflow, const char* what, std::string_view text) {
    if (text.find('\0') == std::string_view::npos) return;
    throw UsageError("workflow " + std::string(workflow.workflow_id.c_str()) + ": the " + what +
                         " holds the character U+0000, which no database column can; remove it",
                     workflow.workflow_id);
}

void refuse_long(const NewWorkflow& workflow, const char* what, std::size_t size) {
    if (size <= kLargestKey) return;
    throw UsageError("workflow " + workflow.workflow_id.substr(0, 64) + "…: " + what + " take " +
                         std::to_string(size) + " bytes together, more than the " +
                         std::to_string(kLargestKey) + " that an index entry can hold; use shorter ones",
                     workflow.workflow_id);
}

bool same(const Text& a, const Text& b) { return a.value_or("") == b.value_or(""); }

/// Columns of read_start.
void fill_start(StartResult& result, const sql::Result& row) {
    result.status = row.at(0, 0).string();
    result.name = row.at(0, 1).string();
    result.class_name = row.at(0, 2).optional_text();
    result.config_name = row.at(0, 3).optional_text();
    result.queue_name = row.at(0, 4).optional_text();
    result.serialization = row.at(0, 5).optional_text();
    result.owner_xid = row.at(0, 6).optional_text();
    result.recovery_attempts = row.at(0, 7).optional_integer().value_or(0);
    result.deadline_ms = row.at(0, 8).optional_integer();
}

}  // namespace

bool fence_holds(const Write& write, const sql::Result& row) {
    return !row.empty() && row.at(0, 0).text() == write.fence->token && row.at(0, 1).text() == "PENDING";
}

bool row_is_ours(const Write& write, const sql::Result& row) {
    return !row.empty() && !row.at(0, 9).null() && row.at(0, 9).text() == write.workflow->token;
}

void validate_start(const NewWorkflow& w) {
    refuse_nul(w, "workflow id", w.workflow_id);
    refuse_nul(w, "name", w.name);
    refuse_nul(w, "input", w.inputs);
    for (const Text* text : {&w.class_name, &w.config_name, &w.executor_id, &w.application_version,
                             &w.application_id, &w.application_name, &w.authenticated_user, &w.assumed_role,
                             &w.authenticated_roles, &w.queue_name, &w.queue_partition_key,
                             &w.deduplication_id, &w.parent_workflow_id, &w.schedule_name, &w.attributes}) {
        if (*text) refuse_nul(w, "row", **text);
    }
    const auto size = [](const Text& text) { return text ? text->size() : 0; };
    refuse_long(w, "the workflow id", w.workflow_id.size());
    if (w.deduplication_id) {
        refuse_long(w, "queue name and deduplication id", size(w.queue_name) + size(w.deduplication_id));
    }
    if (w.queue_partition_key) {
        refuse_long(w, "queue name, partition key and workflow id",
                    size(w.queue_name) + size(w.queue_partition_key) + w.workflow_id.size());
    }
    if (!w.attributes) return;
    // An escaped U+0000: \u0000 after an even number of backslashes.
    const std::string& json = *w.attributes;
    for (std::size_t at = json.find('\\'); at != std::string::npos; at = json.find('\\', at + 2)) {
        if (json.compare(at, 6, "\\u0000") != 0) continue;
        throw UsageError("workflow " + w.workflow_id +
                             ": the attributes hold the character U+0000 (escaped), which " +
                             "PostgreSQL cannot store; remove it",
                         w.workflow_id);
    }
}

StepRecord read_step_record(const sql::Result& result, std::size_t row, std::size_t first) {
    StepRecord record;
    record.function_id = static_cast<std::int32_t>(result.at(row, first).optional_integer().value_or(0));
    record.function_name = result.at(row, first + 1).string();
    record.output = result.at(row, first + 2).optional_text();
    record.error = result.at(row, first + 3).optional_text();
    record.child_workflow_id = result.at(row, first + 4).optional_text();
    record.started_at_ms = result.at(row, first + 5).optional_integer();
    record.completed_at_ms = result.at(row, first + 6).optional_integer();
    record.serialization = result.at(row, first + 7).optional_text();
    record.application_name = result.at(row, first + 8).optional_text();
    return record;
}

bool insert_start(const CommitterStatements& statements, sql::Connection& connection,
                  const NewWorkflow& workflow, Millis at, sql::Params& params) {
    params.clear();
    statements.bind_row(workflow, params);
    params.emplace_back(at);
    if (connection.execute(statements.start_row, params).affected() == 0) return false;
    insert_input(statements, connection, workflow, at);
    return true;
}

void insert_input(const CommitterStatements& statements, sql::Connection& connection,
                  const NewWorkflow& workflow, Millis at) {
    if (!statements.layout.payload_tables) return;
    const sql::Params payload{std::string_view(workflow.workflow_id), std::string_view(workflow.inputs), at};
    if (connection.execute(statements.input_row, payload).affected() > 0) return;
    // A workflow of this id was deleted by an older SDK, which leaves steps and payloads behind.
    const sql::Params id{std::string_view(workflow.workflow_id)};
    connection.execute(statements.input_update, payload);
    connection.execute(statements.delete_steps, id);
    connection.execute(statements.delete_output, id);
}

void created(const CommitterStatements& statements, Write& write) {
    const NewWorkflow& w = *write.workflow;
    StartResult& result = write.start_result;
    result.kind = StartResult::Kind::created;
    result.status = w.status;
    result.name = w.name;
    result.class_name = w.class_name;
    result.config_name = w.config_name;
    result.queue_name = w.queue_name;
    result.serialization = w.serialization;
    const bool runs = w.status == "PENDING";
    result.owner_xid = runs || !statements.layout.creator_token ? Text(w.token) : Text();
    result.recovery_attempts = runs ? 1 : 0;
    result.deadline_ms = w.deadline_ms;
    write.enqueued = w.status == "ENQUEUED";
    write.resolved = true;
}

void settle_start(const CommitterStatements&, Write& write, const sql::Result& row,
                  const sql::Result& holder) {
    StartResult& result = write.start_result;
    write.resolved = true;
    if (!row.empty()) {
        fill_start(result, row);
        result.kind = row_is_ours(write, row) ? StartResult::Kind::created : StartResult::Kind::existing;
        seam::reach(result.kind == StartResult::Kind::created ? seam::Situation::own_start_recognised
                                                              : seam::Situation::start_of_existing);
        write.enqueued = result.kind == StartResult::Kind::created && result.status == "ENQUEUED";
    } else if (!holder.empty()) {
        seam::reach(seam::Situation::deduplicated);
        result.kind = StartResult::Kind::deduplicated;
        result.holder = holder.at(0, 0).string();
    } else {
        write.resolved = false;
        write.again = true;
    }
}

void settle_step(Write& write, const sql::Result& row) {
    StepResult& result = write.step_result;
    write.resolved = true;
    if (!fence_holds(write, row)) {
        seam::reach(seam::Situation::step_fence_lost);
        result.kind = StepResult::Kind::lost;
    } else if (row.at(0, 2).null()) {
        write.resolved = false;
        write.again = true;
    } else {
        result.stored = read_step_record(row, 0, 2);
        const bool ours = result.stored.completed_at_ms == write.step->completed_at_ms &&
                          !seam::planted(seam::Bug::own_record_taken_for_anothers);
        const bool takes_any = write.kind == WriteKind::first_wins;
        result.kind = ours || takes_any ? StepResult::Kind::recorded : StepResult::Kind::other;
        if (ours) seam::reach(seam::Situation::own_step_recognised);
    }
}

void settle_child(const CommitterStatements& statements, Write& write, const sql::Result& checkpoint,
                  const sql::Result& row, const sql::Result& holder) {
    write.resolved = true;
    if (!fence_holds(write, checkpoint)) {
        seam::reach(seam::Situation::child_fence_lost);
        write.checkpoint = StepResult::Kind::lost;
        return;
    }
    const bool recorded = !checkpoint.at(0, 2).null();
    if (recorded) {
        StepRecord stored = read_step_record(checkpoint, 0, 2);
        if (stored.completed_at_ms != write.step->completed_at_ms ||
            !same(stored.child_workflow_id, write.step->child_workflow_id)) {
            write.checkpoint = StepResult::Kind::other;
            write.step_result.stored = std::move(stored);
            return;
        }
    }
    write.checkpoint = StepResult::Kind::recorded;
    settle_start(statements, write, row, holder);
    // A child of the same name without a checkpoint: it was inserted by somebody else in between.
    const StartResult& start = write.start_result;
    const bool refused = write.refuse_existing && start.kind == StartResult::Kind::existing;
    if (!recorded && write.resolved && !refused && start.kind != StartResult::Kind::deduplicated &&
        start.name == write.workflow->name && same(start.class_name, write.workflow->class_name) &&
        same(start.config_name, write.workflow->config_name)) {
        write.resolved = false;
        write.again = true;
    }
}

void settle_outcome(Write& write, const sql::Result& row) {
    const Outcome& outcome = *write.outcome;
    const bool ours = !row.empty() && row.at(0, 0).text() == (outcome.success ? "SUCCESS" : "ERROR") &&
                      row.at(0, outcome.success ? 1 : 2).text() == outcome.payload;
    write.outcome_result = ours ? OutcomeResult::recorded : OutcomeResult::lost;
    if (ours) seam::reach(seam::Situation::own_outcome_recognised);
    write.ended = ours;
    write.resolved = true;
}

}  // namespace dbos::sysdb
