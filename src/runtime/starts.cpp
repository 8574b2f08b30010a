// Starting workflows: from the program, and from a body.
#include <utility>

#include "client/core.hpp"
#include "core/log.hpp"
#include "runtime/executor.hpp"
#include "runtime/operations.hpp"

namespace dbos::runtime {

client::PreparedStart Executor::prepare(const detail::CallTarget& target, EnqueueOptions&& options,
                                        Arguments&& arguments, const detail::Implementation*& implementation,
                                        bool check) {
    const bool direct = options.queue_name.empty();
    client::PreparedStart start = core_->prepare(target, std::move(options), std::move(arguments),
                                                 direct ? core::StartKind::direct : core::StartKind::enqueue);
    sysdb::NewWorkflow& row = start.row;
    const bool own = row.application_name == options_.name;
    implementation = own ? find_implementation(row.name) : nullptr;
    row.executor_id = executor_id_;
    if (!application_id_.empty()) row.application_id = application_id_;
    // What this version implements, this version runs; the workflows of others are their latest version's.
    if (!row.application_version && implementation) row.application_version = version_;
    if (!direct) {
        if (own && check) check_queued(row);
        return start;
    }
    if (!implementation && check) {
        throw UsageError(
            "workflow \"" + row.name +
            "\" has no body in this application, so it cannot be started here: implement() it, or give the "
            "queue_name of a queue whose application has it");
    }
    row.status = "PENDING";
    if (row.timeout_ms) row.deadline_ms = durable_now() + *row.timeout_ms;
    return start;
}

void Executor::refuse_start() const {
    check_serving("start_workflow");
    throw UsageError("nothing can be started here: another process holds this executor's id \"" +
                     executor_id_ + "\"");
}

/// A start is committed: runs it if it is a direct one that this call created and still owns.
std::shared_ptr<detail::HandleState> Executor::started(const client::PreparedStart& start,
                                                       const sysdb::StartResult& result,
                                                       const detail::Implementation* implementation,
                                                       std::uint32_t lapse) {
    const std::string id = core_->settle(start, result);
    if (start.row.status == "PENDING") {
        // Not `created` alone: after a long loss of connection a peer may have taken the row over already.
        if (result.kind == sysdb::StartResult::Kind::created && result.status == "PENDING" &&
            result.owner_xid == start.row.token) {
            begin_direct(start.row, *implementation, lapse);
        } else {
            unreserve({start.row.workflow_id, start.row.token});
        }
    }
    return core_->handle(id, true);
}

std::shared_ptr<detail::HandleState> Executor::start(const detail::CallTarget& target,
                                                     EnqueueOptions&& options, Arguments&& arguments) {
    check_serving("start_workflow");
    core_->check_thread("start_workflow", true, true);
    const detail::Implementation* implementation = nullptr;
    const auto start = prepare(target, std::move(options), std::move(arguments), implementation, true);
    const sysdb::Fence fence{start.row.workflow_id, start.row.token};
    const std::uint32_t lapse = lease_->lapse_number();
    const bool direct = start.row.status == "PENDING";
    if (direct && !reserve(fence)) refuse_start();
    try {
        return started(start, database().start_workflow(start.row), implementation, lapse);
    } catch (const DatabaseError&) {
        if (direct) unreserve(fence);
        client::rethrow_for_user(std::current_exception());
    } catch (...) {
        if (direct) unreserve(fence);
        throw;
    }
}

void Executor::start_async(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                           detail::HandleDone done) {
    check_serving("start_workflow_async");
    core_->check_thread("start_workflow_async", true, false);
    struct Call {
        client::PreparedStart start;
        const detail::Implementation* implementation = nullptr;
        std::uint32_t lapse = 0;
        detail::HandleDone done;
    };
    auto call = std::make_shared<Call>();
    call->start = prepare(target, std::move(options), std::move(arguments), call->implementation, true);
    call->lapse = lease_->lapse_number();
    call->done = std::move(done);
    const sysdb::Fence fence{call->start.row.workflow_id, call->start.row.token};
    const bool direct = call->start.row.status == "PENDING";
    if (direct && !reserve(fence)) refuse_start();
    const auto committed = [this, call, fence, direct](sysdb::StartResult result, std::exception_ptr error) {
        std::shared_ptr<detail::HandleState> handle;
        try {
            if (error) client::rethrow_for_user(error);
            handle = started(call->start, result, call->implementation, call->lapse);
        } catch (...) {
            if (direct) unreserve(fence);
            error = std::current_exception();
        }
        if (error) {
            call->done([error]() -> std::shared_ptr<detail::HandleState> { std::rethrow_exception(error); },
                       true);
        } else {
            call->done([handle] { return handle; }, false);
        }
    };
    try {
        database().start_workflow_async(call->start.row, committed);
    } catch (...) {
        if (direct) unreserve(fence);
        throw;
    }
}

namespace {
constexpr const char* kNotStarted = "a child could not be started; the workflow is left to be recovered";
}

void Executor::reserve_child(Run& run, const client::PreparedStart& child) {
    if (child.row.status != "PENDING" || reserve({child.row.workflow_id, child.row.token})) return;
    run.interrupt(lease_->replaced() ? Interrupt::Reason::lost_ownership : Interrupt::Reason::shutdown);
    run.throw_if_interrupted();
}

void Executor::child_committed(const client::PreparedStart& child, const sysdb::ChildResult* result,
                               const detail::Implementation* implementation, std::uint32_t lapse) noexcept {
    if (child.row.status != "PENDING") return;
    if (result != nullptr && result->checkpoint == sysdb::StepResult::Kind::recorded &&
        result->start.kind == sysdb::StartResult::Kind::created && result->start.status == "PENDING" &&
        result->start.owner_xid == child.row.token) {
        begin_direct(child.row, *implementation, lapse);
    } else {
        unreserve({child.row.workflow_id, child.row.token});
    }
}

sysdb::StepRecord Executor::start_child(Run& run, const sysdb::StepRecord& checkpoint,
                                        const client::PreparedStart& child,
                                        const detail::Implementation* implementation) {
    run.reached(Point::checkpoint, checkpoint.function_id, checkpoint.function_name);
    const std::uint32_t lapse = lease_->lapse_number();
    reserve_child(run, child);
    sysdb::ChildResult result;
    try {
        result = database().start_child(
            {run.fence(), checkpoint, child.row, child.policy.reuse == WorkflowIdReusePolicy::reject});
    } catch (const DatabaseError& error) {
        child_committed(child, nullptr, implementation, lapse);
        run.give_up(error, kNotStarted, checkpoint.function_name);
    } catch (...) {
        child_committed(child, nullptr, implementation, lapse);
        throw;
    }
    child_committed(child, &result, implementation, lapse);
    auto record = child_started(run, checkpoint, child, result);
    run.reached(Point::recorded, checkpoint.function_id, checkpoint.function_name);
    return record;
}

void Executor::start_child_async(Run& run, const sysdb::StepRecord& checkpoint,
                                 std::shared_ptr<const client::PreparedStart> child,
                                 const detail::Implementation* implementation,
                                 sysdb::Completion<sysdb::ChildResult> done) {
    const std::uint32_t lapse = lease_->lapse_number();
    reserve_child(run, *child);
    sysdb::ChildStart start{run.fence(), checkpoint, child->row,
                            child->policy.reuse == WorkflowIdReusePolicy::reject};
    try {
        database().start_child_async(
            std::move(start), [this, child, implementation, lapse, done = std::move(done)](
                                  sysdb::ChildResult result, const std::exception_ptr& error) {
                child_committed(*child, error ? nullptr : &result, implementation, lapse);
                done(std::move(result), error);
            });
    } catch (const DatabaseError& error) {
        child_committed(*child, nullptr, implementation, lapse);
        run.give_up(error, kNotStarted, checkpoint.function_name);
    } catch (...) {
        child_committed(*child, nullptr, implementation, lapse);
        throw;
    }
}

sysdb::StepRecord Executor::child_started(Run& run, sysdb::StepRecord checkpoint,
                                          const client::PreparedStart& child,
                                          const sysdb::ChildResult& result) {
    if (result.checkpoint == sysdb::StepResult::Kind::lost) {
        explain_loss(run);
        run.throw_if_interrupted();
    }
    if (result.checkpoint == sysdb::StepResult::Kind::other) {
        run.fail_for_good(std::make_exception_ptr(StepNondeterminism(
            run.id(), checkpoint.function_id,
            "this execution has recorded it already as \"" + result.stored.function_name + "\"")));
    }
    try {
        checkpoint.child_workflow_id = core_->settle(child, result.start);
    } catch (const Error&) {  // a refusal wrote nothing: it is the step's error
        return record_failure(run, std::move(checkpoint), std::current_exception());
    }
    // return_existing: the holder of the deduplication id is recorded as the child.
    if (result.start.kind == sysdb::StartResult::Kind::deduplicated)
        return run.record(checkpoint, sysdb::OnConflict::report);
    return checkpoint;
}

}  // namespace dbos::runtime
