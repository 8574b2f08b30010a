#include "runtime/effects.hpp"

#include <string>
#include <utility>

#include "runtime/executor.hpp"
#include "runtime/operations.hpp"

namespace dbos::runtime {

namespace {

NonexistentWorkflow nonexistent(const sysdb::StepResult& result) {
    std::string ids;
    for (const std::string& id : result.missing) ids += (ids.empty() ? "" : ", ") + id;
    return NonexistentWorkflow(ids);
}

/// The record of an operation whose effect was refused.
sysdb::StepRecord refused(Run& run, sysdb::StepRecord record, const sysdb::StepResult& result) {
    return record_failure(run, std::move(record), std::make_exception_ptr(nonexistent(result)));
}

constexpr const char* kNotWritten =
    "what an operation writes could not be written; the workflow is left to be recovered";

/// From inside a step.
void apply(Run& run, const EffectCall& call) {
    const sysdb::Effect effect = call.make();
    const InEngine engine(run);
    run.throw_if_interrupted();
    const std::int32_t step = run.step_number();
    sysdb::StepResult result;
    try {
        result = run.executor().database().apply_effect(run.fence(), step, effect);
    } catch (const DatabaseError& error) {
        run.give_up(error, kNotWritten, call.name);
    }
    if (result.kind == sysdb::StepResult::Kind::missing) throw nonexistent(result);
    run.settle({.function_id = step, .function_name = call.name}, sysdb::OnConflict::report,
               std::move(result));
}

/// What the body of a step gets for an asynchronous call: it has been done.
class Applied final : public detail::PendingState {
   public:
    std::optional<Value> get() override { return std::nullopt; }
    bool ready() const override { return true; }
    void finish() noexcept override {}
};

/// The effect of a call that is about to take the next number: none if that is recorded.
std::optional<sysdb::Effect> prepared(Run& run, const EffectCall& call) {
    run.enter(call.call);
    if (run.next_is_recorded()) return std::nullopt;
    return call.make();
}

sysdb::StepRecord checkpoint(Run& run, std::int32_t id, const EffectCall& call) {
    sysdb::StepRecord record = new_record(run, id, call.name);
    record.completed_at_ms = run.executor().durable_now();
    return record;
}

}  // namespace

void perform_effect(Run& run, const EffectCall& call) {
    if (run.in_step()) return apply(run, call);
    const std::optional<sysdb::Effect> effect = prepared(run, call);
    const InEngine engine(run);
    const std::int32_t id = run.reserve();
    if (const auto* record = run.recorded(id, call.name)) {
        static_cast<void>(deliver(run, *record, call.name));
        return;
    }
    sysdb::StepRecord record = checkpoint(run, id, call);
    sysdb::StepResult result = run.write_effect(record, *effect);
    record = result.kind == sysdb::StepResult::Kind::missing
                 ? refused(run, std::move(record), result)
                 : run.settle(record, sysdb::OnConflict::report, std::move(result));
    static_cast<void>(deliver(run, record, call.name));
}

std::shared_ptr<detail::PendingState> submit_effect(Run& run, const EffectCall& call) {
    if (run.in_step()) {
        apply(run, call);
        return std::make_shared<Applied>();
    }
    std::optional<sysdb::Effect> effect = prepared(run, call);
    const InEngine engine(run);
    const std::int32_t id = run.reserve();
    const auto* recorded = run.recorded(id, call.name);
    const auto operation = std::make_shared<SubmittedOperation>(
        run, call.call, recorded ? *recorded : checkpoint(run, id, call), refused);
    if (recorded) {
        operation->resolve();
        return operation;
    }
    run.reached(Point::checkpoint, id, call.name);
    try {
        run.executor().database().record_effect_async(run.fence(), operation->record(), std::move(*effect),
                                                      operation->completion());
    } catch (const DatabaseError& error) {
        run.give_up(error, kNotWritten, call.name);
    }
    return operation;
}

}  // namespace dbos::runtime
