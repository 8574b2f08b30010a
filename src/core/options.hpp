// What options may hold. Each function throws UsageError (ConfigError for options of a whole client) with a sentence of the
// form "expected …, got …"; none looks at a database.
#pragma once

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
