#include "client/decode.hpp"

#include "core/log.hpp"
#include "dbos/error.hpp"

namespace dbos::client {
namespace {

sysdb::Text present(sysdb::Text text) {
    if (text && text->empty()) text.reset();
    return text;
}

}  // namespace

std::vector<std::string> roles_of(const sysdb::Text& text) {
    std::vector<std::string> names;
    if (!text || text->empty()) return names;
    const Value value = find_serializer("portable_json")->decode(*text);
    if (value.kind() != Kind::array) return names;
    for (const Value& item : value.as_array()) {
        if (item.kind() == Kind::string) names.push_back(item.as_string());
    }
    return names;
}

std::string roles_text(const std::vector<std::string>& roles) {
    Array items;
    for (const std::string& role : roles) items.emplace_back(role);
    return find_serializer("portable_json")->encode(Value(std::move(items)));
}

/// What could not be decoded in one call, for one warning.
struct Formats::Trouble {
    std::size_t count = 0;
    std::string workflow_id;  // the first
    std::string reason;

    void add(const std::string& id, const std::string& why) {
        if (count++ > 0) return;
        workflow_id = id;
        reason = why;
    }
};

Formats::Formats(std::shared_ptr<const Serializer> own, LogSink log)
    : own_(own ? std::move(own) : serializers::portable_json()), log_(std::move(log)) {}

const Serializer* Formats::find(const sysdb::Text& name) const noexcept {
    if (!name || name->empty() || *name == own_->name()) return own_.get();
    return find_serializer(*name);
}

Value Formats::result(const sysdb::ResultRow& row, std::span<const ErrorType> errors) const {
    if (row.status == to_string(Status::cancelled)) throw AwaitedWorkflowCancelled(row.workflow_id);
    if (row.status == to_string(Status::max_recovery_attempts_exceeded))
        throw AwaitedWorkflowMaxRecovery(row.workflow_id);
    const Serializer* format = find(row.serialization);
    if (row.status == to_string(Status::error)) {
        Failure failure = read_failure(row.error.value_or(""), format);
        if (failure.type_name.empty() && failure.message.empty()) failure.message = "no error was recorded";
        raise_workflow(failure, errors, row.workflow_id);
    }
    if (!row.output) return {};
    return value(*row.output, row.serialization, "result of workflow \"" + row.workflow_id + '"');
}

Value Formats::value(const std::string& text, const sysdb::Text& format, const std::string& where) const {
    const Serializer* serializer = find(format);
    if (serializer == nullptr) {
        throw DecodeError(where, "a format that this program knows", '"' + format.value_or("") + '"',
                          "unknown_format", format.value_or(""));
    }
    return serializer->decode(text);
}

Value Formats::safe_value(const std::string& text, const sysdb::Text& format, Trouble& trouble) const {
    const Serializer* serializer = find(format);
    if (serializer == nullptr) {
        trouble.add({}, "unknown format " + format.value_or(""));
        return text;
    }
    try {
        return serializer->decode(text);
    } catch (const Error& error) {
        trouble.add({}, error.what());
        return text;
    }
}

WorkflowStatus Formats::status(sysdb::ListedWorkflow row, Trouble& trouble) const {
    WorkflowStatus status;
    const std::size_t before = trouble.count;
    const Serializer* format = find(row.serialization);
    if (row.inputs) {
        try {
            if (format == nullptr) throw DecodeError("$", "a known format", row.serialization.value_or(""));
            status.input = format->decode_inputs(*row.inputs);
        } catch (const Error& error) {
            trouble.add({}, error.what());
            status.raw_input = std::move(row.inputs);
        }
    }
    if (row.output) status.output = safe_value(*row.output, row.serialization, trouble);
    // Go writes '' where there is no error.
    if (row.error && !row.error->empty()) status.error = read_failure(*row.error, format);
    if (row.attributes) {
        Value attributes = safe_value(*row.attributes, "portable_json", trouble);
        if (!attributes.is_null()) status.attributes = std::move(attributes);
    }
    try {
        status.authenticated_roles = roles_of(row.authenticated_roles);
    } catch (const Error& error) {
        trouble.add({}, error.what());
    }
    if (before == 0 && trouble.count > 0) trouble.workflow_id = row.workflow_id;
    status.workflow_id = std::move(row.workflow_id);
    status.status = std::move(row.status);
    status.name = std::move(row.name);
    status.class_name = present(std::move(row.class_name));
    status.config_name = present(std::move(row.config_name));
    status.authenticated_user = present(std::move(row.authenticated_user));
    status.assumed_role = present(std::move(row.assumed_role));
    status.created_at = row.created_at;
    status.updated_at = row.updated_at;
    status.queue_name = std::move(row.queue_name);
    status.executor_id = present(std::move(row.executor_id));
    status.app_version = present(std::move(row.application_version));
    status.app_id = present(std::move(row.application_id));
    status.workflow_timeout_ms = row.timeout_ms;
    status.workflow_deadline_epoch_ms = row.deadline_ms;
    status.deduplication_id = std::move(row.deduplication_id);
    status.priority = row.priority;
    status.queue_partition_key = std::move(row.queue_partition_key);
    status.forked_from = std::move(row.forked_from);
    status.was_forked_from = row.was_forked_from;
    status.parent_workflow_id = std::move(row.parent_workflow_id);
    status.dequeued_at = row.started_at_ms;
    status.delay_until_epoch_ms = row.delay_until_ms;
    status.completed_at = row.completed_at_ms;
    status.schedule_name = std::move(row.schedule_name);
    status.application_name = present(std::move(row.application_name));
    status.recovery_attempts = row.recovery_attempts;
    status.serialization = std::move(row.serialization);
    return status;
}

WorkflowStatus Formats::status(sysdb::ListedWorkflow row) const {
    Trouble trouble;
    WorkflowStatus result = status(std::move(row), trouble);
    report(trouble);
    return result;
}

std::vector<WorkflowStatus> Formats::statuses(std::vector<sysdb::ListedWorkflow> rows) const {
    Trouble trouble;
    std::vector<WorkflowStatus> result;
    result.reserve(rows.size());
    for (sysdb::ListedWorkflow& row : rows) result.push_back(status(std::move(row), trouble));
    report(trouble);
    return result;
}

std::vector<StepInfo> Formats::steps(const std::string& workflow_id,
                                     std::vector<sysdb::StepRecord> records) const {
    Trouble trouble;
    std::vector<StepInfo> result;
    result.reserve(records.size());
    for (sysdb::StepRecord& record : records) {
        StepInfo info;
        info.function_id = record.function_id;
        info.function_name = std::move(record.function_name);
        if (record.output) info.output = safe_value(*record.output, record.serialization, trouble);
        if (record.error && !record.error->empty())
            info.error = read_failure(*record.error, find(record.serialization));
        info.child_workflow_id = present(std::move(record.child_workflow_id));
        info.started_at_epoch_ms = record.started_at_ms;
        info.completed_at_epoch_ms = record.completed_at_ms;
        info.serialization = std::move(record.serialization);
        result.push_back(std::move(info));
    }
    if (trouble.count > 0) trouble.workflow_id = workflow_id;
    report(trouble);
    return result;
}

void Formats::report(const Trouble& trouble) const {
    if (trouble.count == 0) return;
    log_to(log_, LogLevel::warn, "payloads that cannot be decoded are shown as their stored text",
           {{"count", std::to_string(trouble.count)},
            {"workflow_id", trouble.workflow_id},
            {"first", trouble.reason}});
}

}  // namespace dbos::client
