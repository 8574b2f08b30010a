// Checkpoints, child starts and outcomes: what a run writes, through the committer.
#include "sysdb/committer.hpp"
#include "sysdb/committer_slot.hpp"
#include "sysdb/committer_statements.hpp"

namespace dbos::sysdb {
namespace {

std::size_t size_of(const StepRecord& step) {
    return (step.output ? step.output->size() : 0) + (step.error ? step.error->size() : 0) + 128;
}

std::size_t size_of(const NewWorkflow& workflow) {
    return workflow.inputs.size() + (workflow.attributes ? workflow.attributes->size() : 0) + 512;
}

WriteKind kind_of(OnConflict on_conflict) {
    return on_conflict == OnConflict::first_wins ? WriteKind::first_wins : WriteKind::step;
}

}  // namespace

StartResult SystemDatabase::start_workflow(const NewWorkflow& workflow) {
    validate_start(workflow);
    Committer& committer = core_->committer();
    Slot slot(committer);
    slot->kind = WriteKind::start;
    slot->workflow = &workflow;
    slot->bytes = size_of(workflow);
    committer.run(*slot);
    return std::move(slot->start_result);
}

void SystemDatabase::start_workflow_async(NewWorkflow workflow, Completion<StartResult> done) {
    validate_start(workflow);
    Committer& committer = core_->committer();
    Write& write = committer.take();
    write.kind = WriteKind::start;
    write.bytes = size_of(workflow);
    write.workflow = &write.owned.emplace<NewWorkflow>(std::move(workflow));
    write.completion = std::move(done);
    committer.post(write);
}

StepResult SystemDatabase::record_step(const Fence& fence, const StepRecord& step, OnConflict on_conflict) {
    Committer& committer = core_->committer();
    Slot slot(committer);
    slot->kind = kind_of(on_conflict);
    slot->fence = &fence;
    slot->step = &step;
    slot->bytes = size_of(step);
    if (!step.completed_at_ms) {  // the identity of the record in a retry
        StepInput& owned = slot->owned.emplace<StepInput>(StepInput{fence, step});
        owned.step.completed_at_ms = core_->clock.now_ms();
        slot->step = &owned.step;
    }
    committer.run(*slot);
    return std::move(slot->step_result);
}

void SystemDatabase::record_step_async(Fence fence, StepRecord step, OnConflict on_conflict,
                                       Completion<StepResult> done) {
    Committer& committer = core_->committer();
    Write& write = committer.take();
    write.kind = kind_of(on_conflict);
    write.bytes = size_of(step);
    StepInput& owned = write.owned.emplace<StepInput>(StepInput{std::move(fence), std::move(step)});
    if (!owned.step.completed_at_ms) owned.step.completed_at_ms = core_->clock.now_ms();
    write.fence = &owned.fence;
    write.step = &owned.step;
    write.completion = std::move(done);
    committer.post(write);
}

ChildResult SystemDatabase::start_child(const ChildStart& start) {
    validate_start(start.child);
    Committer& committer = core_->committer();
    Slot slot(committer);
    slot->kind = WriteKind::child;
    slot->fence = &start.parent;
    slot->workflow = &start.child;
    slot->refuse_existing = start.refuse_existing;
    StepInput& owned = slot->owned.emplace<StepInput>(StepInput{start.parent, start.checkpoint});
    owned.step.child_workflow_id = start.child.workflow_id;
    if (!owned.step.completed_at_ms) owned.step.completed_at_ms = core_->clock.now_ms();
    slot->step = &owned.step;
    slot->bytes = size_of(start.child);
    committer.run(*slot);
    return child_result(*slot);
}

void SystemDatabase::start_child_async(ChildStart start, Completion<ChildResult> done) {
    validate_start(start.child);
    start.checkpoint.child_workflow_id = start.child.workflow_id;
    if (!start.checkpoint.completed_at_ms) start.checkpoint.completed_at_ms = core_->clock.now_ms();
    Committer& committer = core_->committer();
    Write& write = committer.take();
    const ChildStart& owned = write.owned.emplace<ChildStart>(std::move(start));
    write.kind = WriteKind::child;
    write.fence = &owned.parent;
    write.step = &owned.checkpoint;
    write.workflow = &owned.child;
    write.refuse_existing = owned.refuse_existing;
    write.bytes = size_of(owned.child);
    write.completion = std::move(done);
    committer.post(write);
}

OutcomeResult SystemDatabase::record_outcome(const Outcome& outcome) {
    Committer& committer = core_->committer();
    Slot slot(committer);
    slot->kind = WriteKind::outcome;
    slot->fence = &outcome.fence;
    slot->outcome = &outcome;
    slot->bytes = outcome.payload.size() + 128;
    committer.run(*slot);
    return slot->outcome_result;
}

void SystemDatabase::record_outcome_async(Outcome outcome, Completion<OutcomeResult> done) {
    Committer& committer = core_->committer();
    Write& write = committer.take();
    write.kind = WriteKind::outcome;
    write.bytes = outcome.payload.size() + 128;
    write.outcome = &write.owned.emplace<Outcome>(std::move(outcome));
    write.fence = &write.outcome->fence;
    write.completion = std::move(done);
    committer.post(write);
}

std::size_t SystemDatabase::pending_writes() const noexcept {
    const Committer* started = core_->started_committer();
    return started ? started->pending() : 0;
}

std::size_t SystemDatabase::waiting_writes() const noexcept {
    const Committer* started = core_->started_committer();
    return started ? started->waiting() : 0;
}

}  // namespace dbos::sysdb
