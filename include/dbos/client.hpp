// dbos::Client: starts, watches and manages the workflows of a system database from a program that runs none
// itself.
//
//   dbos::Client client({.system_database_url = url});
//   auto handle = client.enqueue(Checkout, {.queue_name = "orders", .workflow_timeout = 30s}, order);
//   auto any = client.enqueue<dbos::Value>({.workflow_name = "process_task", .queue_name = "q"}, 1,
//   dbos::named("fast", true)); Receipt receipt = handle.get_result();
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "dbos/codec.hpp"
#include "dbos/export.hpp"
#include "dbos/failure.hpp"
#include "dbos/future.hpp"
#include "dbos/handle.hpp"
#include "dbos/options.hpp"
#include "dbos/types.hpp"
#include "dbos/value.hpp"
#include "dbos/workflow.hpp"

namespace dbos {

namespace detail {

struct ClientAccess;

/// What a call says about the workflow beside its options.
struct CallTarget {
    std::string_view name = {};  // of the contract; empty = options.workflow_name
    std::string_view class_name = {};
    std::string_view config_name = {};
    bool by_contract = false;
};

template <class R, class... A, class... E>
CallTarget call_target(const Workflow<R(A...), E...>& contract) noexcept {
    return {contract.name(), contract.class_name(), contract.config_name(), true};
}

}  // namespace detail

/// A client of a system database. It creates and migrates nothing, and works with databases of every SDK.
///
/// Thread-safe; neither copyable nor movable. Every method has an `_async` twin with the same effect: it
/// encodes its arguments and checks its options before it returns (and throws for them), everything else
/// arrives in the Future.
///
/// Errors of every method: UsageError (a bad option; a call in a workflow's body, where the ctx. twin
/// belongs, or a blocking call on a callback thread), ConfigError (no system tables, too old ones, no
/// permission), DatabaseError, ClientClosed.
class DBOS_EXPORT Client {
   public:
    /// Throws ConfigError for a bad option or URL and, unless `lazy`, DatabaseError if the database cannot be
    /// reached.
    explicit Client(ClientOptions options);
    /// destroy().
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// Sends the writes already accepted (at most 10 s; what remains fails with ClientClosed and is counted
    /// in the log), fails all waits with ClientClosed, joins the threads, closes the connections. Idempotent.
    /// On a callback thread it joins all but that one, which ends by itself.
    void destroy() noexcept;
    /// Asks the database for an answer (`SELECT 1`); throws what a call would throw.
    void check_connection();
    Future<void> check_connection_async();

    /// Puts a workflow in a queue and returns its handle. Enqueuing an id again gives the same workflow and
    /// changes nothing.
    ///
    /// Throws, beside the errors of every method, ConflictingWorkflow (the id belongs to a workflow of
    /// another name or class), QueueDeduplicated, WorkflowIdInUse, EncodeError.
    template <class R, class... A, class... E>
    WorkflowHandle<R> enqueue(const Workflow<R(A...), E...>& contract, EnqueueOptions options,
                              detail::argument_t<A>... args) {
        return detail::HandleAccess::make<R>(start(detail::call_target(contract), std::move(options),
                                                   detail::encode_arguments(contract, args...)),
                                             contract.error_types());
    }
    template <class R, class... A, class... E, class... U>
        requires(!detail::fits<detail::types<A...>, detail::types<U...>>)
    WorkflowHandle<R> enqueue(const Workflow<R(A...), E...>&, const EnqueueOptions&, U&&...) {
        detail::explain_misfit<detail::types<A...>, detail::types<U...>>();
        return refused<WorkflowHandle<R>>();
    }
    /// The same by name: `options.workflow_name` is required; named() arguments stand last.
    template <class R = Value, class... U>
    WorkflowHandle<R> enqueue(EnqueueOptions options, U&&... args) {
        return detail::HandleAccess::make<R>(start({}, std::move(options), to_arguments(args...)));
    }

    template <class R, class... A, class... E>
    Future<WorkflowHandle<R>> enqueue_async(const Workflow<R(A...), E...>& contract, EnqueueOptions options,
                                            detail::argument_t<A>... args) {
        auto [future, done] = detail::handle_future<R>(callbacks(), contract.error_types());
        start_async(detail::call_target(contract), std::move(options),
                    detail::encode_arguments(contract, args...), std::move(done));
        return std::move(future);
    }
    template <class R, class... A, class... E, class... U>
        requires(!detail::fits<detail::types<A...>, detail::types<U...>>)
    Future<WorkflowHandle<R>> enqueue_async(const Workflow<R(A...), E...>&, const EnqueueOptions&, U&&...) {
        detail::explain_misfit<detail::types<A...>, detail::types<U...>>();
        return refused<Future<WorkflowHandle<R>>>();
    }
    template <class R = Value, class... U>
    Future<WorkflowHandle<R>> enqueue_async(EnqueueOptions options, U&&... args) {
        auto [future, done] = detail::handle_future<R>(callbacks());
        start_async({}, std::move(options), to_arguments(args...), std::move(done));
        return std::move(future);
    }

    /// The handle of a workflow that exists. Throws NonexistentWorkflow.
    template <class R = Value>
    WorkflowHandle<R> retrieve_workflow(const std::string& workflow_id) {
        return detail::HandleAccess::make<R>(retrieve({}, workflow_id));
    }
    /// The same; throws ConflictingWorkflow if the recorded name is not that of the contract.
    template <class R, class... A, class... E>
    WorkflowHandle<R> retrieve_workflow(const Workflow<R(A...), E...>& contract,
                                        const std::string& workflow_id) {
        return detail::HandleAccess::make<R>(retrieve(detail::call_target(contract), workflow_id),
                                             contract.error_types());
    }
    template <class R = Value>
    Future<WorkflowHandle<R>> retrieve_workflow_async(const std::string& workflow_id) {
        auto [future, done] = detail::handle_future<R>(callbacks());
        retrieve_async({}, workflow_id, std::move(done));
        return std::move(future);
    }
    template <class R, class... A, class... E>
    Future<WorkflowHandle<R>> retrieve_workflow_async(const Workflow<R(A...), E...>& contract,
                                                      const std::string& workflow_id) {
        auto [future, done] = detail::handle_future<R>(callbacks(), contract.error_types());
        retrieve_async(detail::call_target(contract), workflow_id, std::move(done));
        return std::move(future);
    }

    /// The workflows that match, by creation time. Payloads that cannot be decoded are shown as their text,
    /// with a warning in the log. Throws QueryTimeout.
    std::vector<WorkflowStatus> list_workflows(const ListWorkflowsOptions& options = {});
    Future<std::vector<WorkflowStatus>> list_workflows_async(ListWorkflowsOptions options = {});
    /// Those with a queue and of status DELAYED, ENQUEUED or PENDING: what waits in queues and what runs from
    /// them.
    std::vector<WorkflowStatus> list_queued_workflows(const ListQueuedWorkflowsOptions& options = {});
    Future<std::vector<WorkflowStatus>> list_queued_workflows_async(ListQueuedWorkflowsOptions options = {});
    /// The recorded steps of a workflow in order; empty for an unknown id.
    std::vector<StepInfo> list_workflow_steps(const std::string& workflow_id,
                                              const ListStepsOptions& options = {});
    Future<std::vector<StepInfo>> list_workflow_steps_async(std::string workflow_id,
                                                            ListStepsOptions options = {});

    /// Cancels a workflow that has not ended with SUCCESS or ERROR; others and unknown ids are left alone. A
    /// running one is interrupted at its next step.
    void cancel_workflow(const std::string& workflow_id);
    Future<void> cancel_workflow_async(std::string workflow_id);

   private:
    friend struct detail::ClientAccess;
    struct Impl;
    explicit Client(std::unique_ptr<Impl> impl);

    std::shared_ptr<detail::HandleState> start(const detail::CallTarget& target, EnqueueOptions&& options,
                                               Arguments&& arguments);
    void start_async(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                     detail::HandleDone done);
    std::shared_ptr<detail::HandleState> retrieve(const detail::CallTarget& target,
                                                  const std::string& workflow_id);
    void retrieve_async(const detail::CallTarget& target, const std::string& workflow_id,
                        detail::HandleDone done);
    const std::shared_ptr<detail::CallbackQueue>& callbacks() const noexcept;

    template <class Result>
    static Result refused();  // never defined: the static_assert before it has spoken

    std::unique_ptr<Impl> impl_;
};

/// The name of the Python SDK.
using DBOSClient = Client;

}  // namespace dbos
