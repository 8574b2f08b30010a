// What a body does with workflows that it did not start: each call a recorded operation (names of the Python SDK,
// dbos/_dbos.py and dbos/_sys_db.py; DBOS.rewindWorkflow, DBOS.setWorkflowPriority: ts system_database.ts).
#include "runtime/manage.hpp"

#include "core/options.hpp"
#include "runtime/probe.hpp"
#include "runtime/record_values.hpp"

namespace dbos {

namespace runtime {

sysdb::StepRecord record_gated(Run& run, sysdb::StepRecord record, const Value& output,
                               const std::function<void(sysdb::Gate&)>& effect) {
    const Serializer& format = run.executor().serializer();
    run.reached(Point::checkpoint, record.function_id, record.function_name);
    sysdb::Gate gate;
    try {
        record.output = format.encode(output);
        record.serialization = std::string(format.name());
        record.completed_at_ms = run.executor().durable_now();
        gate = {.fence = run.fence(), .checkpoint = record};
        effect(gate);
    } catch (...) {
        return record_failure(run, std::move(record), std::current_exception());
    }
    if (gate.own_run_ended) run.executor().explain_loss(run);  // the body goes on to its next durable call
    record = run.settle(record, sysdb::OnConflict::report, std::move(gate.result));
    run.reached(Point::recorded, record.function_id, record.function_name);
    return record;
}

ManagedCall<void> write_call(Run& run, const char* call, const char* name, std::function<void()> check,
                             std::function<void(client::Core&, sysdb::Gate*)> effect) {
    client::Core& core = run.executor().core();
    return {.call = call,
            .name = name,
            .check = std::move(check),
            .direct = [&core, effect] { effect(core, nullptr); },
            .perform =
                [&run, &core, effect](sysdb::StepRecord record) {
                    return record_gated(run, std::move(record), Value(),
                                        [&](sysdb::Gate& gate) { effect(core, &gate); });
                },
            .read = [](const Value&) {}};
}

namespace {

using detail::MadeHandles;
using Errors = std::span<const ErrorType>;
using Ids = std::vector<std::string>;

MadeHandles body_handles(Run& run, const Ids& ids, Errors errors) {
    MadeHandles made{.states = {}, .errors = errors};
    for (const std::string& id : ids) made.states.push_back(body_handle(run, id));
    return made;
}

// ---------------------------------------------------------------------------------------------------- reads

ManagedCall<MadeHandles> retrieve_call(Run& run, const detail::CallTarget& target, Errors errors,
                                       const std::string& id) {
    client::Core& core = run.executor().core();
    return {
        .call = "ctx.retrieve_workflow",
        .name = "DBOS.getStatus",
        .check = [id] { core::check_workflow_id(id); },
        .direct = [&core, target, errors,
                   id] { return MadeHandles{.states = {core.retrieve(target, id)}, .errors = errors}; },
        .perform = recorded_call(run, [&core, target, id] { return to_value(core.find_row(target, id)); }),
        .read = [&run, id, errors](const Value&) { return body_handles(run, {id}, errors); }};
}

ManagedCall<std::optional<WorkflowStatus>> status_call(Run& run, const std::string& id) {
    using Row = std::optional<sysdb::ListedWorkflow>;
    using Shown = std::optional<WorkflowStatus>;
    return read_call<Shown, Row>(
        run, "ctx.get_workflow_status", "DBOS.getStatus", [] {},
        [id](client::Core& core) { return core.find_row(id); },
        [](client::Core& core, Row row) {
            return row ? Shown(core.formats().status(std::move(*row))) : std::nullopt;
        });
}

ManagedCall<std::vector<WorkflowStatus>> list_call(Run& run, const char* call, const char* name,
                                                   const ListWorkflowsOptions& options) {
    using Rows = std::vector<sysdb::ListedWorkflow>;
    return read_call<std::vector<WorkflowStatus>, Rows>(
        run, call, name, [options] { core::check_list(options); },
        [options](client::Core& core) { return core.list_rows(options); },
        [](client::Core& core, Rows rows) { return core.formats().statuses(std::move(rows)); });
}

ManagedCall<std::vector<WorkflowStatus>> list_call(Run& run, const ListWorkflowsOptions& options) {
    return list_call(run, "ctx.list_workflows", "DBOS.listWorkflows", options);
}

ManagedCall<std::vector<WorkflowStatus>> queued_call(Run& run, const ListQueuedWorkflowsOptions& options) {
    return list_call(run, "ctx.list_queued_workflows", "DBOS.listQueuedWorkflows", core::queued(options));
}

ManagedCall<std::vector<StepInfo>> steps_call(Run& run, const std::string& id,
                                              const ListStepsOptions& options) {
    using Rows = std::vector<sysdb::StepRecord>;
    return read_call<std::vector<StepInfo>, Rows>(
        run, "ctx.list_workflow_steps", "DBOS.listWorkflowSteps", [options] { core::check_steps(options); },
        [id, options](client::Core& core) { return core.step_rows(id, options); },
        [id](client::Core& core, Rows rows) { return core.formats().steps(id, std::move(rows)); });
}

template <class Shown, class Row, class Options>
ManagedCall<std::vector<Shown>> aggregates_call(Run& run, const char* call, const char* name,
                                                const Options& options) {
    using Rows = std::vector<Row>;
    return read_call<std::vector<Shown>, Rows>(
        run, call, name, [options] { core::check_aggregates(options); },
        [options](client::Core& core) { return core.aggregate_rows(options); },
        [](client::Core&, Rows rows) { return client::Core::shown(std::move(rows)); });
}

ManagedCall<std::vector<WorkflowAggregate>> aggregates_call(Run& run,
                                                            const WorkflowAggregatesOptions& options) {
    return aggregates_call<WorkflowAggregate, sysdb::WorkflowAggregateRow>(
        run, "ctx.get_workflow_aggregates", "DBOS.getWorkflowAggregates", options);
}

ManagedCall<std::vector<StepAggregate>> aggregates_call(Run& run, const StepAggregatesOptions& options) {
    return aggregates_call<StepAggregate, sysdb::StepAggregateRow>(run, "ctx.get_step_aggregates",
                                                                   "DBOS.getStepAggregates", options);
}

// ---------------------------------------------------------------------------------------------------- writes

ManagedCall<void> cancel_call(Run& run, Ids ids, const CancelOptions& options) {
    return write_call(
        run, "ctx.cancel_workflow", "DBOS.cancelWorkflow", [ids] { core::check_ids(ids); },
        [ids, options](client::Core& core, sysdb::Gate* gate) { core.cancel(ids, options, gate); });
}

ManagedCall<void> delete_call(Run& run, Ids ids, const DeleteOptions& options) {
    return write_call(
        run, "ctx.delete_workflow", "DBOS.deleteWorkflow", [ids] { core::check_ids(ids); },
        [ids, options](client::Core& core, sysdb::Gate* gate) { core.delete_workflows(ids, options, gate); });
}

template <class When>
ManagedCall<void> delay_call(Run& run, const std::string& id, When when) {
    const auto check = [id, when] {
        core::check_ids(std::span(&id, 1));
        if constexpr (std::is_same_v<When, Duration>) {
            core::check_delay(when);
        } else {
            static_cast<void>(when);  // every instant will do
        }
    };
    return write_call(run, "ctx.set_workflow_delay", "DBOS.setWorkflowDelay", check,
                      [id, when](client::Core& core, sysdb::Gate* gate) { core.set_delay(id, when, gate); });
}

ManagedCall<void> priority_call(Run& run, const std::string& id, std::int64_t priority) {
    const auto check = [id, priority] {
        core::check_ids(std::span(&id, 1));
        core::check_priority(priority);
    };
    return write_call(
        run, "ctx.set_workflow_priority", "DBOS.setWorkflowPriority", check,
        [id, priority](client::Core& core, sysdb::Gate* gate) { core.set_priority(id, priority, gate); });
}

ManagedCall<void> attributes_call(Run& run, const std::string& id, const std::optional<Any>& attributes,
                                  const UpdateAttributesOptions& options) {
    const auto check = [id, attributes, options] {
        core::check_ids(std::span(&id, 1));
        core::check_new_attributes(attributes, options);
    };
    return write_call(run, "ctx.update_workflow_attributes", "DBOS.updateWorkflowAttributes", check,
                      [id, attributes, options](client::Core& core, sysdb::Gate* gate) {
                          core.update_attributes(id, attributes, options, gate);
                      });
}

ManagedCall<MadeHandles> resume_call(Run& run, const detail::CallTarget& target, Errors errors, Ids ids,
                                     const ResumeOptions& options) {
    client::Core& core = run.executor().core();
    return {.call = "ctx.resume_workflow",
            .name = "DBOS.resumeWorkflow",
            .check =
                [ids, options] {
                    for (const std::string& id : ids) core::check_workflow_id(id);
                    core::check_optional_name("queue_name", options.queue_name);
                },
            .direct =
                [&core, target, errors, ids, options] {
                    return MadeHandles{.states = core.resume(target, ids, options), .errors = errors};
                },
            .perform =
                [&run, &core, target, ids, options](sysdb::StepRecord record) {
                    return record_gated(run, std::move(record), Value(),
                                        [&](sysdb::Gate& gate) { core.resume(target, ids, options, &gate); });
                },
            .read = [&run, ids, errors](const Value&) { return body_handles(run, ids, errors); }};
}

ManagedCall<MadeHandles> rewind_call(Run& run, const detail::CallTarget& target, Errors errors,
                                     const std::string& id, std::int64_t start_step,
                                     const RewindOptions& options) {
    client::Core& core = run.executor().core();
    return {.call = "ctx.rewind_workflow",
            .name = "DBOS.rewindWorkflow",
            .check = [id, start_step, options] { core::check_rewind(id, start_step, options); },
            .direct =
                [&core, target, errors, id, start_step, options] {
                    return MadeHandles{.states = {core.rewind(target, id, start_step, options)},
                                       .errors = errors};
                },
            .perform =
                [&run, &core, target, id, start_step, options](sysdb::StepRecord record) {
                    return record_gated(run, std::move(record), Value(), [&](sysdb::Gate& gate) {
                        core.rewind(target, id, start_step, options, &gate);
                    });
                },
            .read = [&run, id, errors](const Value&) { return body_handles(run, {id}, errors); }};
}

/// The forks of a call with this number: ids that the options do not give are derived from it.
std::vector<sysdb::Fork> numbered_forks(Run& run, const detail::CallTarget& target,
                                        std::vector<ForkRequest> requests, bool many, std::int32_t number) {
    std::vector<bool> derived;
    for (std::size_t n = 0; n < requests.size(); ++n) {
        auto& id = requests[n].options.new_workflow_id;
        derived.push_back(!id);
        if (id) continue;
        id = run.id() + "-" + std::to_string(number) + (many ? "-" + std::to_string(n + 1) : "");
    }
    auto forks = run.executor().core().prepare_forks(target, requests);
    for (std::size_t n = 0; n < forks.size(); ++n) forks[n].attach = derived[n];
    return forks;
}

/// The record holds the new id; of fork_workflows the list of them.
ManagedCall<MadeHandles> fork_call(Run& run, const detail::CallTarget& target, Errors errors,
                                   std::vector<ForkRequest> requests, bool many) {
    client::Core& core = run.executor().core();
    const auto perform = [&run, &core, target, requests, many](sysdb::StepRecord record) {
        std::vector<sysdb::Fork> forks;
        Ids ids;
        try {
            forks = numbered_forks(run, target, requests, many, record.function_id);
            for (const sysdb::Fork& fork : forks) ids.push_back(fork.new_workflow_id);
        } catch (...) {
            return record_failure(run, std::move(record), std::current_exception());
        }
        return record_gated(run, std::move(record), many ? to_value(ids) : Value(ids.front()),
                            [&](sysdb::Gate& gate) { core.fork(forks, &gate); });
    };
    return {.call = "ctx.fork_workflow",
            .name = "DBOS.forkWorkflow",
            .check = [&core, target, requests] { core.prepare_forks(target, requests); },
            .direct =
                [&core, target, errors, requests] {
                    return MadeHandles{.states = core.fork(core.prepare_forks(target, requests)),
                                       .errors = errors};
                },
            .perform = perform,
            .read =
                [&run, errors, many](const Value& value) {
                    return body_handles(run, many ? from_value<Ids>(value) : Ids{value.as_string()}, errors);
                }};
}

}  // namespace

}  // namespace runtime

using detail::MadeHandles;
template <class T>
using Many = std::vector<T>;

MadeHandles ContextManaging::retrieve(const detail::CallTarget& target, Errors errors,
                                      const std::string& workflow_id) {
    return run_call(run_, runtime::retrieve_call(run_, target, errors, workflow_id));
}
ContextManaging::State ContextManaging::retrieve_later(const detail::CallTarget& target, Errors errors,
                                                       const std::string& workflow_id) {
    return start_call(run_, runtime::retrieve_call(run_, target, errors, workflow_id));
}

std::optional<WorkflowStatus> ContextManaging::get_workflow_status(const std::string& workflow_id) {
    return run_call(run_, runtime::status_call(run_, workflow_id));
}
Pending<std::optional<WorkflowStatus>> ContextManaging::get_workflow_status_async(std::string workflow_id) {
    return pending<std::optional<WorkflowStatus>>(start_call(run_, runtime::status_call(run_, workflow_id)));
}

Many<WorkflowStatus> ContextManaging::list_workflows(const ListWorkflowsOptions& options) {
    return run_call(run_, runtime::list_call(run_, options));
}
Pending<Many<WorkflowStatus>> ContextManaging::list_workflows_async(ListWorkflowsOptions options) {
    return pending<Many<WorkflowStatus>>(start_call(run_, runtime::list_call(run_, options)));
}

Many<WorkflowStatus> ContextManaging::list_queued_workflows(const ListQueuedWorkflowsOptions& options) {
    return run_call(run_, runtime::queued_call(run_, options));
}
Pending<Many<WorkflowStatus>> ContextManaging::list_queued_workflows_async(
    ListQueuedWorkflowsOptions options) {
    return pending<Many<WorkflowStatus>>(start_call(run_, runtime::queued_call(run_, options)));
}

Many<StepInfo> ContextManaging::list_workflow_steps(const std::string& workflow_id,
                                                    const ListStepsOptions& options) {
    return run_call(run_, runtime::steps_call(run_, workflow_id, options));
}
Pending<Many<StepInfo>> ContextManaging::list_workflow_steps_async(std::string workflow_id,
                                                                   ListStepsOptions options) {
    return pending<Many<StepInfo>>(start_call(run_, runtime::steps_call(run_, workflow_id, options)));
}

Many<WorkflowAggregate> ContextManaging::get_workflow_aggregates(const WorkflowAggregatesOptions& options) {
    return run_call(run_, runtime::aggregates_call(run_, options));
}
Pending<Many<WorkflowAggregate>> ContextManaging::get_workflow_aggregates_async(
    WorkflowAggregatesOptions options) {
    return pending<Many<WorkflowAggregate>>(start_call(run_, runtime::aggregates_call(run_, options)));
}

Many<StepAggregate> ContextManaging::get_step_aggregates(const StepAggregatesOptions& options) {
    return run_call(run_, runtime::aggregates_call(run_, options));
}
Pending<Many<StepAggregate>> ContextManaging::get_step_aggregates_async(StepAggregatesOptions options) {
    return pending<Many<StepAggregate>>(start_call(run_, runtime::aggregates_call(run_, options)));
}

void ContextManaging::cancel_workflow(const std::string& workflow_id, const CancelOptions& options) {
    run_call(run_, runtime::cancel_call(run_, {workflow_id}, options));
}
Pending<void> ContextManaging::cancel_workflow_async(std::string workflow_id, CancelOptions options) {
    return pending<void>(start_call(run_, runtime::cancel_call(run_, {std::move(workflow_id)}, options)));
}
void ContextManaging::cancel_workflows(const std::vector<std::string>& workflow_ids,
                                       const CancelOptions& options) {
    run_call(run_, runtime::cancel_call(run_, workflow_ids, options));
}
Pending<void> ContextManaging::cancel_workflows_async(std::vector<std::string> workflow_ids,
                                                      CancelOptions options) {
    return pending<void>(start_call(run_, runtime::cancel_call(run_, std::move(workflow_ids), options)));
}

MadeHandles ContextManaging::resume(const detail::CallTarget& target, Errors errors,
                                    std::vector<std::string> ids, ResumeOptions options) {
    return run_call(run_, runtime::resume_call(run_, target, errors, std::move(ids), options));
}
ContextManaging::State ContextManaging::resume_later(const detail::CallTarget& target, Errors errors,
                                                     std::vector<std::string> ids, ResumeOptions options) {
    return start_call(run_, runtime::resume_call(run_, target, errors, std::move(ids), options));
}

namespace {
std::vector<ForkRequest> one_fork(const std::string& workflow_id, std::int64_t start_step,
                                  const ForkOptions& options) {
    return {{.workflow_id = workflow_id, .start_step = start_step, .options = options}};
}
}  // namespace

MadeHandles ContextManaging::fork(const detail::CallTarget& target, Errors errors,
                                  const std::string& workflow_id, std::int64_t start_step,
                                  const ForkOptions& options) {
    return run_call(
        run_, runtime::fork_call(run_, target, errors, one_fork(workflow_id, start_step, options), false));
}
ContextManaging::State ContextManaging::fork_later(const detail::CallTarget& target, Errors errors,
                                                   const std::string& workflow_id, std::int64_t start_step,
                                                   const ForkOptions& options) {
    return start_call(
        run_, runtime::fork_call(run_, target, errors, one_fork(workflow_id, start_step, options), false));
}
MadeHandles ContextManaging::fork_all(const std::vector<ForkRequest>& requests) {
    return run_call(run_, runtime::fork_call(run_, {}, {}, requests, true));
}
ContextManaging::State ContextManaging::fork_all_later(const std::vector<ForkRequest>& requests) {
    return start_call(run_, runtime::fork_call(run_, {}, {}, requests, true));
}

MadeHandles ContextManaging::rewind(const detail::CallTarget& target, Errors errors,
                                    const std::string& workflow_id, std::int64_t start_step,
                                    const RewindOptions& options) {
    return run_call(run_, runtime::rewind_call(run_, target, errors, workflow_id, start_step, options));
}
ContextManaging::State ContextManaging::rewind_later(const detail::CallTarget& target, Errors errors,
                                                     const std::string& workflow_id, std::int64_t start_step,
                                                     const RewindOptions& options) {
    return start_call(run_, runtime::rewind_call(run_, target, errors, workflow_id, start_step, options));
}

void ContextManaging::delete_workflow(const std::string& workflow_id, const DeleteOptions& options) {
    run_call(run_, runtime::delete_call(run_, {workflow_id}, options));
}
Pending<void> ContextManaging::delete_workflow_async(std::string workflow_id, DeleteOptions options) {
    return pending<void>(start_call(run_, runtime::delete_call(run_, {std::move(workflow_id)}, options)));
}
void ContextManaging::delete_workflows(const std::vector<std::string>& workflow_ids,
                                       const DeleteOptions& options) {
    run_call(run_, runtime::delete_call(run_, workflow_ids, options));
}
Pending<void> ContextManaging::delete_workflows_async(std::vector<std::string> workflow_ids,
                                                      DeleteOptions options) {
    return pending<void>(start_call(run_, runtime::delete_call(run_, std::move(workflow_ids), options)));
}

void ContextManaging::set_workflow_delay(const std::string& workflow_id, Duration delay) {
    run_call(run_, runtime::delay_call(run_, workflow_id, delay));
}
void ContextManaging::set_workflow_delay(const std::string& workflow_id, Instant until) {
    run_call(run_, runtime::delay_call(run_, workflow_id, until));
}
Pending<void> ContextManaging::set_workflow_delay_async(std::string workflow_id, Duration delay) {
    return pending<void>(start_call(run_, runtime::delay_call(run_, workflow_id, delay)));
}
Pending<void> ContextManaging::set_workflow_delay_async(std::string workflow_id, Instant until) {
    return pending<void>(start_call(run_, runtime::delay_call(run_, workflow_id, until)));
}

void ContextManaging::set_workflow_priority(const std::string& workflow_id, std::int64_t priority) {
    run_call(run_, runtime::priority_call(run_, workflow_id, priority));
}
Pending<void> ContextManaging::set_workflow_priority_async(std::string workflow_id, std::int64_t priority) {
    return pending<void>(start_call(run_, runtime::priority_call(run_, workflow_id, priority)));
}

void ContextManaging::update_workflow_attributes(const std::string& workflow_id,
                                                 const std::optional<Any>& attributes,
                                                 const UpdateAttributesOptions& options) {
    run_call(run_, runtime::attributes_call(run_, workflow_id, attributes, options));
}
Pending<void> ContextManaging::update_workflow_attributes_async(std::string workflow_id,
                                                                std::optional<Any> attributes,
                                                                UpdateAttributesOptions options) {
    return pending<void>(start_call(run_, runtime::attributes_call(run_, workflow_id, attributes, options)));
}

}  // namespace dbos
