// What the executors of applications do, written with SQL as another process would, and the same in the model.
#include "property/client/run.hpp"

namespace dbos::property {

void Run::execute() {
    Row* row = row_with([](const Row& r) { return !r.ended(); });
    if (!row) return;
    touch(row->id);
    if (row->status == "PENDING") {
        if (random_.one_in(4)) return finish(*row);
        return step(*row);
    }
    if (random_.one_in(6)) return adopt(*row);
    claim(*row);
}

/// What a parent does when it starts a child: here, of a workflow that is there already.
void Run::adopt(Row& row) {
    const Row* parent = any_row();
    if (parent->id == row.id) return;
    row.parent = parent->id;
    others_->script("UPDATE @workflow_status SET parent_workflow_id = " + literal(parent->id) +
                    " WHERE workflow_uuid = " + literal(row.id));
}

void Run::claim(Row& row) {
    const std::int64_t now = wall_ms();
    const std::string id = literal(row.id);
    if (row.status == "DELAYED") {
        row.status = "ENQUEUED";
        if (row.debounced) row.deduplication.reset();
        others_->script(
            "UPDATE @workflow_status SET status = 'ENQUEUED', updated_at = " + std::to_string(now) +
            ", deduplication_id = CASE WHEN is_debounced THEN NULL ELSE deduplication_id END"
            " WHERE workflow_uuid = " +
            id);
        row.updated = When::exactly(now);
        return;
    }
    row.status = "PENDING";
    row.executor = "executor";
    if (!row.version) row.version = prefix_ + "v1";
    row.attempts += 1;
    row.dequeued = row.updated = When::exactly(now);
    std::string deadline = "NULL";
    if (row.timeout_ms) {
        row.deadline = When::exactly(now + *row.timeout_ms);
        deadline = std::to_string(now + *row.timeout_ms);
    } else {
        row.deadline.reset();
    }
    others_->script(
        "UPDATE @workflow_status SET status = 'PENDING', executor_id = 'executor', "
        "application_version = " +
        literal(row.version) + ", recovery_attempts = " + std::to_string(row.attempts) +
        ", started_at_epoch_ms = " + std::to_string(now) + ", updated_at = " + std::to_string(now) +
        ", workflow_deadline_epoch_ms = " + deadline + ", owner_xid = 'token' WHERE workflow_uuid = " + id);
}

void Run::step(Row& row) {
    const std::int64_t n = row.steps.empty() ? 0 : row.steps.rbegin()->first + 1;
    if (n > 8) return finish(row);
    const std::string id = literal(row.id), number = std::to_string(n);
    const std::string name = pick({"one", "two"});
    const std::string value = text_of(draw_value());
    row.steps[n] = {name, value};
    std::string text =
        "INSERT INTO @operation_outputs (workflow_uuid, function_id, function_name, output, "
        "serialization, started_at_epoch_ms, completed_at_epoch_ms) VALUES (" +
        id + ", " + number + ", " + literal(name) + ", " + literal(value) + ", 'portable_json', 1, 2);";
    if (random_.one_in(3)) {
        const std::string key = pick({"e1", "e::2"});
        row.history[n][key] = value;
        row.events[key] = value;
        const std::string columns =
            "(" + id + ", " + literal(key) + ", " + literal(value) + ", 'portable_json'";
        text += "INSERT INTO @workflow_events (workflow_uuid, key, value, serialization) VALUES " + columns +
                ") ON CONFLICT (workflow_uuid, key) DO UPDATE SET value = excluded.value;"
                "INSERT INTO @workflow_events_history (workflow_uuid, key, value, serialization, "
                "function_id) VALUES " +
                columns + ", " + number + ");";
    } else if (random_.one_in(2)) {
        auto& entries = row.streams["s"];
        const bool closed = !entries.empty() && entries.back().end;
        if (!closed) {
            const bool end = random_.one_in(5);
            const std::string entry = end ? "\"__DBOS_STREAM_CLOSED__\"" : value;
            text +=
                "INSERT INTO @streams (workflow_uuid, key, value, \"offset\", function_id, serialization) "
                "VALUES (" +
                id + ", 's', " + literal(entry) + ", " +
                "(SELECT COALESCE(max(\"offset\") + 1, 0) FROM @streams WHERE workflow_uuid = " + id +
                " AND key = 's'), " + number + ", 'portable_json');";
            entries.push_back({entry, n, end});
        } else if (entries.empty()) {
            row.streams.erase("s");
        }
    } else {
        for (auto& [key, message] : model_.messages) {
            if (message.destination != row.id || message.consumed_by) continue;
            message.consumed_by = n;
            text += "UPDATE @notifications SET consumed = TRUE, consumed_by_function_id = " + number +
                    " WHERE message_uuid = " + literal(key) + ";";
            break;
        }
    }
    others_->script(text);
}

void Run::finish(Row& row) {
    const std::int64_t now = wall_ms();
    const bool fine = !random_.one_in(4);
    row.status = fine ? "SUCCESS" : "ERROR";
    if (fine) {
        row.output = text_of(draw_value());
    } else {
        row.error = "no " + std::to_string(random_.below(1000));
    }
    row.deduplication.reset();
    row.updated = When::exactly(now);
    row.completed = When::exactly(now);
    Text error;
    if (row.error)
        error = find_serializer("portable_json")
                    ->encode_error({.type_name = "ValueError", .message = *row.error});
    others_->script("INSERT INTO @workflow_output (workflow_uuid, output, error) VALUES (" + literal(row.id) +
                    ", " + literal(fine ? row.output : Text()) + ", " + literal(error) +
                    "); UPDATE @workflow_status SET status = " + literal(row.status) +
                    ", owner_xid = NULL, deduplication_id = NULL, updated_at = " + std::to_string(now) +
                    ", completed_at = " + std::to_string(now) + " WHERE workflow_uuid = " + literal(row.id));
}

}  // namespace dbos::property
