// What a body does with workflows that it did not start, and with schedules: looks, cancels, resumes, forks, …
//
//   auto stuck = ctx.list_workflows({.status = dbos::Status::error, .name = "checkout"});
//   for (const auto& workflow : stuck) ctx.fork_workflow(Checkout, workflow.workflow_id, 3);
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dbos/client.hpp"
#include "dbos/context_messages.hpp"
#include "dbos/export.hpp"
#include "dbos/handle.hpp"
#include "dbos/options.hpp"
#include "dbos/pending.hpp"
#include "dbos/schedule.hpp"
#include "dbos/types.hpp"
#include "dbos/workflow.hpp"

namespace dbos {

namespace detail {

template <>
struct PendingValue<std::optional<WorkflowStatus>> : PendingObject<std::optional<WorkflowStatus>> {};
template <>
struct PendingValue<std::vector<WorkflowStatus>> : PendingObject<std::vector<WorkflowStatus>> {};
template <>
struct PendingValue<std::vector<StepInfo>> : PendingObject<std::vector<StepInfo>> {};
template <>
struct PendingValue<std::vector<WorkflowAggregate>> : PendingObject<std::vector<WorkflowAggregate>> {};
template <>
struct PendingValue<std::vector<StepAggregate>> : PendingObject<std::vector<StepAggregate>> {};
template <>
struct PendingValue<std::optional<WorkflowSchedule>> : PendingObject<std::optional<WorkflowSchedule>> {};
template <>
struct PendingValue<std::vector<WorkflowSchedule>> : PendingObject<std::vector<WorkflowSchedule>> {};
template <>
struct PendingValue<VersionInfo> : PendingObject<VersionInfo> {};
template <>
struct PendingValue<std::vector<VersionInfo>> : PendingObject<std::vector<VersionInfo>> {};

}  // namespace detail

/// The part of Context that manages workflows and schedules: the methods of Client of the same names.
///
/// Every call is a recorded operation with one step number (but for the versions, at the end): its effect and its record are
/// one transaction, so that the effect happens once, and a replay sees the answer of the first run. What the call was refused
/// with is recorded too; only options that are wrong by themselves (UsageError) are refused before a number is taken. A call
/// that waits for a lock for longer than 30 s, or whose connection is lost for good, ends this run, which is recovered. Each
/// method has an `_async` twin, which takes its number now and does the rest beside what follows.
///
/// Inside a step's callable the same calls act at once, as those of Client do: nothing is recorded, and they are repeated if the
/// step is. A handle made there acts directly as well; one made by the body waits durably, and in the body only. An `_async`
/// twin has done its work when it returns.
///
/// The ids of this workflow itself may be given: it notices what became of it at its next durable call.
class DBOS_EXPORT ContextManaging : public ContextMessages {
   public:
    /// The handle of a workflow that exists. Throws NonexistentWorkflow; by contract, ConflictingWorkflow if the recorded name
    /// is another one.
    template <class R = Value>
    WorkflowHandle<R> retrieve_workflow(const std::string& workflow_id) {
        return one<R>(retrieve({}, {}, workflow_id));
    }
    template <class R, class... A, class... E>
    WorkflowHandle<R> retrieve_workflow(const Workflow<R(A...), E...>& contract,
                                        const std::string& workflow_id) {
        return one<R>(retrieve(detail::call_target(contract), contract.error_types(), workflow_id));
    }
    template <class R = Value>
    Pending<WorkflowHandle<R>> retrieve_workflow_async(const std::string& workflow_id) {
        return pending<WorkflowHandle<R>>(retrieve_later({}, {}, workflow_id));
    }
    template <class R, class... A, class... E>
    Pending<WorkflowHandle<R>> retrieve_workflow_async(const Workflow<R(A...), E...>& contract,
                                                       const std::string& workflow_id) {
        return pending<WorkflowHandle<R>>(
            retrieve_later(detail::call_target(contract), contract.error_types(), workflow_id));
    }

    /// The row of a workflow with input and output; absent for an unknown id.
    std::optional<WorkflowStatus> get_workflow_status(const std::string& workflow_id);
    Pending<std::optional<WorkflowStatus>> get_workflow_status_async(std::string workflow_id);
    /// The workflows that match, as they were when this was first called: a replay sees the same list. Throws QueryTimeout.
    std::vector<WorkflowStatus> list_workflows(const ListWorkflowsOptions& options = {});
    Pending<std::vector<WorkflowStatus>> list_workflows_async(ListWorkflowsOptions options = {});
    std::vector<WorkflowStatus> list_queued_workflows(const ListQueuedWorkflowsOptions& options = {});
    Pending<std::vector<WorkflowStatus>> list_queued_workflows_async(ListQueuedWorkflowsOptions options = {});
    std::vector<StepInfo> list_workflow_steps(const std::string& workflow_id,
                                              const ListStepsOptions& options = {});
    Pending<std::vector<StepInfo>> list_workflow_steps_async(std::string workflow_id,
                                                             ListStepsOptions options = {});
    std::vector<WorkflowAggregate> get_workflow_aggregates(const WorkflowAggregatesOptions& options);
    Pending<std::vector<WorkflowAggregate>> get_workflow_aggregates_async(WorkflowAggregatesOptions options);
    std::vector<StepAggregate> get_step_aggregates(const StepAggregatesOptions& options);
    Pending<std::vector<StepAggregate>> get_step_aggregates_async(StepAggregatesOptions options);

    /// Cancels workflows that have not ended with SUCCESS or ERROR; others and unknown ids are left alone. With
    /// `cancel_children` all of them in one transaction.
    void cancel_workflow(const std::string& workflow_id, const CancelOptions& options = {});
    Pending<void> cancel_workflow_async(std::string workflow_id, CancelOptions options = {});
    void cancel_workflows(const std::vector<std::string>& workflow_ids, const CancelOptions& options = {});
    Pending<void> cancel_workflows_async(std::vector<std::string> workflow_ids, CancelOptions options = {});

    /// Puts workflows that have not ended with SUCCESS or ERROR back into a queue, where they go on after their last recorded
    /// step. Throws NonexistentWorkflow that names all unknown ids, nothing is changed then; ConflictingWorkflow.
    template <class R = Value>
    WorkflowHandle<R> resume_workflow(const std::string& workflow_id, const ResumeOptions& options = {}) {
        return one<R>(resume({}, {}, {workflow_id}, options));
    }
    template <class R, class... A, class... E>
    WorkflowHandle<R> resume_workflow(const Workflow<R(A...), E...>& contract, const std::string& workflow_id,
                                      const ResumeOptions& options = {}) {
        return one<R>(resume(detail::call_target(contract), contract.error_types(), {workflow_id}, options));
    }
    template <class R = Value>
    std::vector<WorkflowHandle<R>> resume_workflows(const std::vector<std::string>& workflow_ids,
                                                    const ResumeOptions& options = {}) {
        return detail::typed_handles<R>(resume({}, {}, workflow_ids, options).states);
    }
    template <class R = Value>
    Pending<WorkflowHandle<R>> resume_workflow_async(std::string workflow_id, ResumeOptions options = {}) {
        return pending<WorkflowHandle<R>>(resume_later({}, {}, {std::move(workflow_id)}, std::move(options)));
    }
    template <class R, class... A, class... E>
    Pending<WorkflowHandle<R>> resume_workflow_async(const Workflow<R(A...), E...>& contract,
                                                     std::string workflow_id, ResumeOptions options = {}) {
        return pending<WorkflowHandle<R>>(resume_later(detail::call_target(contract), contract.error_types(),
                                                       {std::move(workflow_id)}, std::move(options)));
    }
    template <class R = Value>
    Pending<std::vector<WorkflowHandle<R>>> resume_workflows_async(std::vector<std::string> workflow_ids,
                                                                   ResumeOptions options = {}) {
        return pending<std::vector<WorkflowHandle<R>>>(
            resume_later({}, {}, std::move(workflow_ids), std::move(options)));
    }

    /// Starts a new workflow from a step of another one. Its id is `<this id>-<step number>` unless the options give one, that
    /// of the k-th fork of fork_workflows (from 1) `<this id>-<step number>-<k>`; a fork of the same original that has such an
    /// id already, because this workflow was rewound, is taken as it is.
    /// Throws NonexistentWorkflow, WorkflowIdInUse; by contract, ConflictingWorkflow.
    template <class R = Value>
    WorkflowHandle<R> fork_workflow(const std::string& workflow_id, std::int64_t start_step,
                                    const ForkOptions& options = {}) {
        return one<R>(fork({}, {}, workflow_id, start_step, options));
    }
    template <class R, class... A, class... E>
    WorkflowHandle<R> fork_workflow(const Workflow<R(A...), E...>& contract, const std::string& workflow_id,
                                    std::int64_t start_step, const ForkOptions& options = {}) {
        return one<R>(
            fork(detail::call_target(contract), contract.error_types(), workflow_id, start_step, options));
    }
    /// All of them in one transaction, or none. Handles in order.
    template <class R = Value>
    std::vector<WorkflowHandle<R>> fork_workflows(const std::vector<ForkRequest>& requests) {
        return detail::typed_handles<R>(fork_all(requests).states);
    }
    template <class R = Value>
    Pending<WorkflowHandle<R>> fork_workflow_async(const std::string& workflow_id, std::int64_t start_step,
                                                   const ForkOptions& options = {}) {
        return pending<WorkflowHandle<R>>(fork_later({}, {}, workflow_id, start_step, options));
    }
    template <class R, class... A, class... E>
    Pending<WorkflowHandle<R>> fork_workflow_async(const Workflow<R(A...), E...>& contract,
                                                   const std::string& workflow_id, std::int64_t start_step,
                                                   const ForkOptions& options = {}) {
        return pending<WorkflowHandle<R>>(fork_later(detail::call_target(contract), contract.error_types(),
                                                     workflow_id, start_step, options));
    }
    template <class R = Value>
    Pending<std::vector<WorkflowHandle<R>>> fork_workflows_async(const std::vector<ForkRequest>& requests) {
        return pending<std::vector<WorkflowHandle<R>>>(fork_all_later(requests));
    }

    /// Runs an ended workflow again from a step on, under its own id.
    /// Throws NonexistentWorkflow; UsageError if it has not ended; by contract, ConflictingWorkflow.
    template <class R = Value>
    WorkflowHandle<R> rewind_workflow(const std::string& workflow_id, std::int64_t start_step = 0,
                                      const RewindOptions& options = {}) {
        return one<R>(rewind({}, {}, workflow_id, start_step, options));
    }
    template <class R, class... A, class... E>
    WorkflowHandle<R> rewind_workflow(const Workflow<R(A...), E...>& contract, const std::string& workflow_id,
                                      std::int64_t start_step = 0, const RewindOptions& options = {}) {
        return one<R>(
            rewind(detail::call_target(contract), contract.error_types(), workflow_id, start_step, options));
    }
    template <class R = Value>
    Pending<WorkflowHandle<R>> rewind_workflow_async(const std::string& workflow_id,
                                                     std::int64_t start_step = 0,
                                                     const RewindOptions& options = {}) {
        return pending<WorkflowHandle<R>>(rewind_later({}, {}, workflow_id, start_step, options));
    }
    template <class R, class... A, class... E>
    Pending<WorkflowHandle<R>> rewind_workflow_async(const Workflow<R(A...), E...>& contract,
                                                     const std::string& workflow_id,
                                                     std::int64_t start_step = 0,
                                                     const RewindOptions& options = {}) {
        return pending<WorkflowHandle<R>>(rewind_later(detail::call_target(contract), contract.error_types(),
                                                       workflow_id, start_step, options));
    }

    /// Removes workflows of any status with all that belongs to them; unknown ids are left alone. With `delete_children` all of
    /// them in one transaction.
    void delete_workflow(const std::string& workflow_id, const DeleteOptions& options = {});
    Pending<void> delete_workflow_async(std::string workflow_id, DeleteOptions options = {});
    void delete_workflows(const std::vector<std::string>& workflow_ids, const DeleteOptions& options = {});
    Pending<void> delete_workflows_async(std::vector<std::string> workflow_ids, DeleteOptions options = {});

    /// Moves the earliest start of a DELAYED workflow; others and unknown ids are left alone. The same for the priority of one
    /// that is ENQUEUED or DELAYED, and for the attributes of any.
    void set_workflow_delay(const std::string& workflow_id, Duration delay);
    void set_workflow_delay(const std::string& workflow_id, Instant until);
    Pending<void> set_workflow_delay_async(std::string workflow_id, Duration delay);
    Pending<void> set_workflow_delay_async(std::string workflow_id, Instant until);
    void set_workflow_priority(const std::string& workflow_id, std::int64_t priority);
    Pending<void> set_workflow_priority_async(std::string workflow_id, std::int64_t priority);
    void update_workflow_attributes(const std::string& workflow_id, const std::optional<Any>& attributes,
                                    const UpdateAttributesOptions& options = {});
    Pending<void> update_workflow_attributes_async(std::string workflow_id, std::optional<Any> attributes,
                                                   UpdateAttributesOptions options = {});

    // Schedules. Errors, recorded: AlreadyExists (create), NotFound (update), ConfigError (another application owns the name).
    // A bad cron expression or zone is a UsageError before a number is taken.

    void create_schedule(const ScheduleOptions& options);
    Pending<void> create_schedule_async(const ScheduleOptions& options);
    std::vector<WorkflowSchedule> list_schedules(const ListSchedulesOptions& options = {});
    Pending<std::vector<WorkflowSchedule>> list_schedules_async(ListSchedulesOptions options = {});
    std::optional<WorkflowSchedule> get_schedule(const std::string& name);
    Pending<std::optional<WorkflowSchedule>> get_schedule_async(std::string name);
    /// No schedule of the name: nothing. The same for pausing and resuming.
    void delete_schedule(const std::string& name);
    Pending<void> delete_schedule_async(std::string name);
    void pause_schedule(const std::string& name);
    Pending<void> pause_schedule_async(std::string name);
    void resume_schedule(const std::string& name);
    Pending<void> resume_schedule_async(std::string name);
    void update_schedule(const std::string& name, const ScheduleUpdate& update);
    Pending<void> update_schedule_async(const std::string& name, const ScheduleUpdate& update);
    /// Not in a body, where they throw UsageError: call them in a step.
    void apply_schedules(const std::vector<ScheduleOptions>& schedules);
    std::vector<WorkflowHandle<Value>> backfill_schedule(const std::string& schedule_name, Instant start,
                                                         Instant end, const RunScheduleOptions& options = {});
    WorkflowHandle<Value> trigger_schedule(const std::string& schedule_name,
                                           const RunScheduleOptions& options = {});

    // Versions, in both spellings of the SDKs. Nothing is recorded, no number is taken: a replay asks, or sets, again; an `_async`
    // twin has done its work when it returns. Whoever branches on the answer calls these in a step. (py: dbos/_dbos.py)

    std::vector<VersionInfo> list_application_versions();
    Pending<std::vector<VersionInfo>> list_application_versions_async();
    std::vector<VersionInfo> list_versions();
    Pending<std::vector<VersionInfo>> list_versions_async();
    /// Throws InitializationError if there is none.
    VersionInfo get_latest_application_version();
    Pending<VersionInfo> get_latest_application_version_async();
    VersionInfo get_latest_version();
    Pending<VersionInfo> get_latest_version_async();
    /// Throws NotFound, ConfigError, OutcomeUnknown.
    void set_latest_application_version(const std::string& version_name,
                                        const std::string& application_name = {});
    Pending<void> set_latest_application_version_async(std::string version_name,
                                                       std::string application_name = {});
    void set_latest_version(const std::string& version_name, const std::string& application_name = {});
    Pending<void> set_latest_version_async(std::string version_name, std::string application_name = {});

   protected:
    using ContextMessages::ContextMessages;

   private:
    using Errors = std::span<const ErrorType>;
    using State = std::shared_ptr<detail::PendingState>;
    detail::MadeHandles retrieve(const detail::CallTarget& target, Errors errors,
                                 const std::string& workflow_id);
    State retrieve_later(const detail::CallTarget& target, Errors errors, const std::string& workflow_id);
    detail::MadeHandles resume(const detail::CallTarget& target, Errors errors, std::vector<std::string> ids,
                               ResumeOptions options);
    State resume_later(const detail::CallTarget& target, Errors errors, std::vector<std::string> ids,
                       ResumeOptions options);
    detail::MadeHandles fork(const detail::CallTarget& target, Errors errors, const std::string& workflow_id,
                             std::int64_t start_step, const ForkOptions& options);
    State fork_later(const detail::CallTarget& target, Errors errors, const std::string& workflow_id,
                     std::int64_t start_step, const ForkOptions& options);
    detail::MadeHandles fork_all(const std::vector<ForkRequest>& requests);
    State fork_all_later(const std::vector<ForkRequest>& requests);
    detail::MadeHandles rewind(const detail::CallTarget& target, Errors errors,
                               const std::string& workflow_id, std::int64_t start_step,
                               const RewindOptions& options);
    State rewind_later(const detail::CallTarget& target, Errors errors, const std::string& workflow_id,
                       std::int64_t start_step, const RewindOptions& options);

    template <class R>
    static WorkflowHandle<R> one(detail::MadeHandles made) {
        return detail::HandleAccess::make<R>(std::move(made.states.front()), made.errors);
    }
    template <class T>
    static Pending<T> pending(State state) {
        return detail::PendingAccess::make<T>(std::move(state));
    }
};

}  // namespace dbos
