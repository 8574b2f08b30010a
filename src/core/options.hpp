// What options may hold. Each function throws UsageError (ConfigError for options of a whole client) with a sentence of the
// form "expected …, got …"; none looks at a database.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "dbos/options.hpp"

namespace dbos::core {

enum class StartKind : bool { enqueue, direct };

/// Reserved prefix of queue names (protocol constant of all SDKs).
inline constexpr std::string_view kReservedQueuePrefix = "_dbos_";

/// `name` is the workflow's name: that of the contract, or options.workflow_name.
void check_start(const EnqueueOptions& options, std::string_view name, StartKind kind);
void check_get_result(const GetResultOptions& options);
/// Of a message: its destination, topic and idempotency key.
void check_send(std::string_view destination_id, std::string_view topic, std::string_view idempotency_key);
void check_event(std::string_view workflow_id, std::string_view key, Duration timeout,
                 const GetEventOptions& options);
void check_stream(std::string_view workflow_id, std::string_view key, const ReadStreamOptions& options);
void check_wait(const WaitWorkflowsOptions& options);
void check_list(const ListWorkflowsOptions& options);
void check_steps(const ListStepsOptions& options);
/// Ids of a call that leaves unknown ones alone.
void check_ids(std::span<const std::string> ids);
void check_priority(std::int64_t priority);
void check_delay(Duration delay);
/// A name that may be left out: no U+0000, not blank.
void check_optional_name(const char* what, std::string_view name);
void check_new_attributes(const std::optional<Any>& attributes, const UpdateAttributesOptions& options);
void check_fork(const ForkRequest& request);
void check_rewind(const std::string& workflow_id, std::int64_t start_step, const RewindOptions& options);
void check_rename(const std::optional<std::string>& old_name, const std::string& new_name,
                  const RenameApplicationOptions& options);
void check_garbage_collect(const GarbageCollectOptions& options);
void check_fork_from_failure(const ForkFromFailureOptions& options);
void check_aggregates(const WorkflowAggregatesOptions& options);
void check_aggregates(const StepAggregatesOptions& options);
void check_step(const StepOptions& options, std::string_view step_name);
void check_queue(const QueueOptions& options);
/// Throws ConfigError.
void check_client(const ClientOptions& options);
/// Throws ConfigError.
void check_app(const AppOptions& options);
/// Not empty, not blank, no U+0000, at most 2 600 bytes.
void check_workflow_id(std::string_view id);
bool blank(std::string_view text) noexcept;

ListWorkflowsOptions queued(const ListQueuedWorkflowsOptions& options);

}  // namespace dbos::core
