// The managing methods of Client and App: what the options mean, and what they become for the database.
#include <cmath>
#include <set>

#include "client/core.hpp"
#include "core/durations.hpp"
#include "core/options.hpp"
#include "sysdb/database.hpp"

namespace dbos::client {
namespace {

sysdb::Text contract_name(const detail::CallTarget& target) {
    return target.by_contract ? sysdb::Text(std::string(target.name)) : std::nullopt;
}

std::string attributes_text(const Value& value) { return find_serializer("portable_json")->encode(value); }

/// The stored object with the keys of `changes` in it; what is stored but no object counts as empty.
sysdb::Text merged(const sysdb::Text& stored, const Value& changes) {
    Object result;
    if (stored) {
        const Value before = find_serializer("portable_json")->decode(*stored);
        if (before.kind() == Kind::object) result = before.as_object();
    }
    for (const auto& [key, value] : changes.as_object()) {
        bool found = false;
        for (auto& [name, member] : result) {
            if (name != key) continue;
            member = value;
            found = true;
        }
        if (!found) result.emplace_back(key, value);
    }
    return attributes_text(Value(std::move(result)));
}

VersionInfo info(sysdb::VersionRow&& row) {
    return {.version_id = std::move(row.version_id),
            .version_name = std::move(row.version_name),
            .version_timestamp = row.version_timestamp,
            .created_at = row.created_at,
            .application_name = std::move(row.application_name)};
}

std::optional<sysdb::Millis> bucket_ms(const std::optional<Duration>& bucket) {
    return bucket ? std::optional(core::to_millis(*bucket)) : std::nullopt;
}

}  // namespace

std::optional<WorkflowStatus> Core::find_status(const std::string& workflow_id) {
    auto row = find_row(workflow_id);
    if (!row) return std::nullopt;
    return formats_.status(std::move(*row));
}

std::optional<sysdb::ListedWorkflow> Core::find_row(const std::string& workflow_id) {
    sysdb::ListQuery query;
    query.workflow_ids = {workflow_id};
    auto rows = guarded(*this, [&] { return database_->list_workflows(query); });
    if (rows.empty()) return std::nullopt;
    return std::move(rows.front());
}

void Core::cancel(std::span<const std::string> workflow_ids, const CancelOptions& options,
                  sysdb::Gate* gate) {
    core::check_ids(workflow_ids);
    if (workflow_ids.empty() && !gate) return check_open();
    const auto cancelled =
        guarded(*this, [&] { return database_->cancel(workflow_ids, options.cancel_children, gate); });
    for (const std::string& id : cancelled) hub_.notify_ended(id);
}

detail::HandleStates Core::resume(const detail::CallTarget& target, std::span<const std::string> workflow_ids,
                                  const ResumeOptions& options, sysdb::Gate* gate) {
    for (const std::string& id : workflow_ids) core::check_workflow_id(id);
    core::check_optional_name("queue_name", options.queue_name);
    const sysdb::Resume how{.queue_name = text_or_null(options.queue_name),
                            .expected_name = contract_name(target)};
    guarded(*this, [&] {
        database_->resume(workflow_ids, how, gate);
        return 0;
    });
    detail::HandleStates handles;
    for (const std::string& id : workflow_ids) handles.push_back(handle(id, true));
    return handles;
}

void Core::set_delay(const std::string& workflow_id, Duration delay, sysdb::Gate* gate) {
    const std::string ids[] = {workflow_id};
    core::check_ids(ids);
    core::check_delay(delay);
    guarded(*this, [&] {
        database_->layout();  // measures the clock, if nobody has yet
        database_->set_delay(workflow_id, database_->durable_now() + core::to_millis(delay), gate);
        return 0;
    });
}

void Core::set_delay(const std::string& workflow_id, Instant until, sysdb::Gate* gate) {
    const std::string ids[] = {workflow_id};
    core::check_ids(ids);
    guarded(*this, [&] {
        database_->set_delay(workflow_id, until.epoch_ms(), gate);
        return 0;
    });
}

void Core::set_priority(const std::string& workflow_id, std::int64_t priority, sysdb::Gate* gate) {
    const std::string ids[] = {workflow_id};
    core::check_ids(ids);
    core::check_priority(priority);
    guarded(*this, [&] {
        database_->set_priority(workflow_id, static_cast<std::int32_t>(priority), gate);
        return 0;
    });
}

void Core::update_attributes(const std::string& workflow_id, const std::optional<Any>& attributes,
                             const UpdateAttributesOptions& options, sysdb::Gate* gate) {
    const std::string ids[] = {workflow_id};
    core::check_ids(ids);
    core::check_new_attributes(attributes, options);
    sysdb::Text text;
    if (attributes) text = attributes_text(attributes->value());
    guarded(*this, [&] {
        database_->update_attributes(
            workflow_id, !options.merge,
            [&](const sysdb::Text& stored) {
                return options.merge ? merged(stored, attributes->value()) : text;
            },
            gate);
        return 0;
    });
}

void Core::delete_workflows(std::span<const std::string> workflow_ids, const DeleteOptions& options,
                            sysdb::Gate* gate) {
    core::check_ids(workflow_ids);
    if (workflow_ids.empty() && !gate) return check_open();
    guarded(*this, [&] {
        database_->delete_workflows(workflow_ids, options.delete_children, gate);
        return 0;
    });
}

std::vector<sysdb::Fork> Core::prepare_forks(const detail::CallTarget& target,
                                             std::span<const ForkRequest> requests) {
    std::vector<sysdb::Fork> forks;
    std::set<std::string> ids;
    for (const ForkRequest& request : requests) {
        core::check_fork(request);
        const ForkOptions& options = request.options;
        sysdb::Fork fork;
        fork.workflow_id = request.workflow_id;
        fork.start_step = request.start_step;
        fork.new_workflow_id = options.new_workflow_id ? *options.new_workflow_id : new_id();
        fork.token = uuid4();
        fork.expected_name = contract_name(target);
        fork.application_version = text_or_null(options.application_version);
        fork.latest_version = options.latest_version;
        fork.queue_name = text_or_null(options.queue_name);
        fork.queue_partition_key = text_or_null(options.queue_partition_key);
        fork.replacement_children = options.replacement_children;
        if (options.workflow_timeout && !std::isinf(options.workflow_timeout->count())) {
            fork.timeout_ms = std::max<std::int64_t>(core::to_millis(*options.workflow_timeout), 1);
        }
        if (!ids.insert(fork.new_workflow_id).second) {
            throw UsageError("new_workflow_id: expected another id for each fork, got \"" +
                             fork.new_workflow_id + "\" twice");
        }
        forks.push_back(std::move(fork));
    }
    return forks;
}

detail::HandleStates Core::fork(const std::vector<sysdb::Fork>& forks, sysdb::Gate* gate) {
    guarded(*this, [&] {
        database_->fork(forks, text_or_null(options_.application_name), gate);
        return 0;
    });
    detail::HandleStates handles;
    for (const sysdb::Fork& fork : forks) handles.push_back(handle(fork.new_workflow_id, true));
    return handles;
}

std::shared_ptr<detail::HandleState> Core::rewind(const detail::CallTarget& target,
                                                  const std::string& workflow_id, std::int64_t start_step,
                                                  const RewindOptions& options, sysdb::Gate* gate) {
    core::check_rewind(workflow_id, start_step, options);
    const sysdb::Rewind how{.workflow_id = workflow_id,
                            .start_step = start_step,
                            .expected_name = contract_name(target),
                            .application_version = text_or_null(options.application_version),
                            .queue_name = text_or_null(options.queue_name),
                            .queue_partition_key = text_or_null(options.queue_partition_key)};
    guarded(*this, [&] {
        database_->rewind(how, gate);
        return 0;
    });
    return handle(workflow_id, true);
}

// ---------------------------------------------------------------------------------------------------- versions

std::vector<VersionInfo> Core::versions() {
    auto rows = guarded_listing([&] {
        return database_->list_versions(text_or_null(options_.application_name),
                                        std::numeric_limits<std::int64_t>::max(),
                                        core::to_millis(options_.query_timeout));
    });
    std::vector<VersionInfo> versions;
    for (sysdb::VersionRow& row : rows) versions.push_back(info(std::move(row)));
    return versions;
}

VersionInfo Core::latest_version() {
    auto rows = guarded(
        *this, [&] { return database_->list_versions(text_or_null(options_.application_name), 1, 0); });
    if (rows.empty()) {
        throw InitializationError("no application version is registered" +
                                  (options_.application_name.empty()
                                       ? ""
                                       : " for application \"" + options_.application_name + '"') +
                                  ": an application registers its version when it is launched");
    }
    return info(std::move(rows.front()));
}

void Core::set_latest_version(const std::string& version_name, const std::string& application_name) {
    if (core::blank(version_name)) {
        throw UsageError("version_name: expected the name of a registered version, got \"" + version_name +
                         '"');
    }
    core::check_optional_name("version_name", version_name);
    core::check_optional_name("application_name", application_name);
    guarded(*this, [&] {
        database_->promote_version(
            version_name,
            text_or_null(application_name.empty() ? options_.application_name : application_name));
        return 0;
    });
}

RenamedRows Core::rename_application(const std::optional<std::string>& old_name, const std::string& new_name,
                                     const RenameApplicationOptions& options) {
    core::check_rename(old_name, new_name, options);
    const sysdb::Renamed renamed = guarded(*this, [&] {
        return database_->rename_application({.old_name = old_name,
                                              .new_name = new_name,
                                              .batch_size = options.batch_size,
                                              .adopt_unclaimed = options.adopt_unclaimed_rows});
    });
    return {.queues = renamed.queues,
            .schedules = renamed.schedules,
            .versions = renamed.versions,
            .workflows = renamed.workflows,
            .steps = renamed.steps};
}

// ---------------------------------------------------------------------------------------------------- aggregates

std::vector<WorkflowAggregate> Core::aggregates(const WorkflowAggregatesOptions& options) {
    return shown(aggregate_rows(options));
}

std::vector<StepAggregate> Core::aggregates(const StepAggregatesOptions& options) {
    return shown(aggregate_rows(options));
}

std::vector<sysdb::WorkflowAggregateRow> Core::aggregate_rows(const WorkflowAggregatesOptions& options) {
    core::check_aggregates(options);
    sysdb::WorkflowAggregateQuery query;
    query.filter = list_query(options.filter);
    query.by_status = options.group_by_status;
    query.by_name = options.group_by_name;
    query.by_queue_name = options.group_by_queue_name;
    query.by_executor_id = options.group_by_executor_id;
    query.by_application_version = options.group_by_application_version;
    query.by_application_name = options.group_by_application_name;
    query.bucket_ms = bucket_ms(options.time_bucket);
    query.min_created_at = options.select_min_created_at;
    query.max_queue_wait = options.select_max_queue_wait_ms;
    query.max_latency = options.select_max_total_latency_ms;
    query.count =
        options.select_count || !(query.min_created_at || query.max_queue_wait || query.max_latency);
    return guarded_listing([&] { return database_->aggregate_workflows(query); });
}

std::vector<WorkflowAggregate> Core::shown(std::vector<sysdb::WorkflowAggregateRow> rows) {
    std::vector<WorkflowAggregate> groups;
    for (sysdb::WorkflowAggregateRow& row : rows) {
        groups.push_back({.status = std::move(row.status),
                          .name = std::move(row.name),
                          .queue_name = std::move(row.queue_name),
                          .executor_id = std::move(row.executor_id),
                          .application_version = std::move(row.application_version),
                          .application_name = std::move(row.application_name),
                          .time_bucket = row.bucket,
                          .count = row.count,
                          .min_created_at = row.min_created_at,
                          .max_queue_wait_ms = row.max_queue_wait_ms,
                          .max_total_latency_ms = row.max_latency_ms});
    }
    return groups;
}

std::vector<sysdb::StepAggregateRow> Core::aggregate_rows(const StepAggregatesOptions& options) {
    core::check_aggregates(options);
    sysdb::StepAggregateQuery query;
    query.by_function_name = options.group_by_function_name;
    query.by_status = options.group_by_status;
    query.by_application_name = options.group_by_application_name;
    query.bucket_ms = bucket_ms(options.time_bucket);
    query.max_duration = options.select_max_duration_ms;
    query.count = options.select_count || !query.max_duration;
    query.status = options.status.values();
    query.function_name = options.function_name.values();
    query.workflow_id_prefix = options.workflow_id_prefix.values();
    query.application_name = options.application_name.values();
    if (!query.application_name && !options_.application_name.empty())
        query.application_name = {options_.application_name};
    if (options.completed_after) query.completed_from = options.completed_after->epoch_ms();
    if (options.completed_before) query.completed_to = options.completed_before->epoch_ms();
    query.timeout_ms = core::to_millis(options_.query_timeout);
    return guarded_listing([&] { return database_->aggregate_steps(query); });
}

std::vector<StepAggregate> Core::shown(std::vector<sysdb::StepAggregateRow> rows) {
    std::vector<StepAggregate> groups;
    for (sysdb::StepAggregateRow& row : rows) {
        groups.push_back({.function_name = std::move(row.function_name),
                          .status = std::move(row.status),
                          .application_name = std::move(row.application_name),
                          .time_bucket = row.bucket,
                          .count = row.count,
                          .max_duration_ms = row.max_duration_ms});
    }
    return groups;
}

}  // namespace dbos::client
