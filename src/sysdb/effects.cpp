// Effects of recorded operations and of steps, through the committer.
#include "sysdb/committer.hpp"
#include "sysdb/committer_slot.hpp"

namespace dbos::sysdb {
namespace {

std::size_t size_of(const Effect& effect) {
    if (const auto* send = std::get_if<SendEffect>(&effect)) {
        std::size_t bytes = 0;
        for (const NewMessage& message : send->messages) bytes += message.message.size() + 256;
        return bytes;
    }
    if (const auto* event = std::get_if<EventEffect>(&effect)) return 2 * event->value.size() + 256;
    if (const auto* append = std::get_if<StreamEffect>(&effect)) return append->value.size() + 256;
    return 256;
}

/// Binds a write to what it owns.
void bind(Write& write, EffectInput input, WriteKind kind, Millis now) {
    EffectInput& owned = write.owned.emplace<EffectInput>(std::move(input));
    if (kind == WriteKind::effect && !owned.step.completed_at_ms) owned.step.completed_at_ms = now;
    write.kind = kind;
    write.fence = &owned.fence;
    write.step = &owned.step;
    write.effect = &owned.effect;
    write.bytes = size_of(owned.effect) + 256;
}

}  // namespace

StepResult SystemDatabase::record_effect(const Fence& fence, const StepRecord& checkpoint,
                                         const Effect& effect) {
    Committer& committer = core_->committer();
    Slot slot(committer);
    bind(*slot, {fence, checkpoint, effect}, WriteKind::effect, core_->clock.now_ms());
    committer.run(*slot);
    return std::move(slot->step_result);
}

void SystemDatabase::record_effect_async(Fence fence, StepRecord checkpoint, Effect effect,
                                         Completion<StepResult> done) {
    Committer& committer = core_->committer();
    Write& write = committer.take();
    bind(write, {std::move(fence), std::move(checkpoint), std::move(effect)}, WriteKind::effect,
         core_->clock.now_ms());
    write.completion = std::move(done);
    committer.post(write);
}

StepResult SystemDatabase::apply_effect(const Fence& fence, std::int32_t step_id, const Effect& effect) {
    if (std::holds_alternative<ReceiveEffect>(effect))
        throw UsageError("a message can be received by a body only, not inside a step", fence.workflow_id);
    Committer& committer = core_->committer();
    Slot slot(committer);
    bind(*slot, {fence, {.function_id = step_id}, effect}, WriteKind::applied_effect, 0);
    committer.run(*slot);
    return std::move(slot->step_result);
}

}  // namespace dbos::sysdb
