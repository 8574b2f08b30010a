// Managing calls of a body in their four forms: recorded or (inside a step) direct, now or beside what follows.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "dbos/pending.hpp"
#include "runtime/executor.hpp"
#include "runtime/operations.hpp"

namespace dbos::runtime {

/// The handle of a workflow whose waits are recorded operations of this run.
std::shared_ptr<detail::HandleState> body_handle(Run& run, std::string workflow_id);

/// A workflow that a body starts is for whom the body runs, unless the call says otherwise.
void inherit_authentication(Run& run, sysdb::NewWorkflow& child);

/// Commits the record, with this output, in one transaction with what the call of the engine's does. What that throws is recorded
/// as its error, as record_failure() does.
sysdb::StepRecord record_gated(Run& run, sysdb::StepRecord record, const Value& output,
                               const std::function<void(sysdb::Gate&)>& effect);

/// A result that is there already.
class DonePending final : public detail::PendingState {
   public:
    /// `object` = for results that are no Value.
    explicit DonePending(std::shared_ptr<void> object) : object_(std::move(object)) {}
    // Kept, not thrown: NOLINTNEXTLINE(bugprone-throw-keyword-missing)
    explicit DonePending(std::exception_ptr error) : error_(std::move(error)) {}
    std::optional<Value> get() override {
        if (error_) std::rethrow_exception(error_);
        return Value();
    }
    std::shared_ptr<void> get_object() override {
        get();
        return object_;
    }
    bool ready() const override { return true; }
    void finish() noexcept override {}

   private:
    std::shared_ptr<void> object_;
    std::exception_ptr error_;
};

/// One managing call whose result is a T.
template <class T>
struct ManagedCall {
    const char* call;  // for errors: "ctx.cancel_workflow"
    const char* name;  // of the record
    /// Throws for what is wrong with the call by itself. Not asked on a replay.
    std::function<void()> check;
    /// What it does inside a step.
    std::function<T()> direct;
    Perform perform;
    /// The result that a record's value stands for.
    std::function<T(const Value&)> read;
};

template <class T>
T run_call(Run& run, const ManagedCall<T>& call) {
    if (run.in_step()) {
        call.check();
        return call.direct();
    }
    run.enter(call.call);
    if (!run.next_is_recorded()) call.check();
    const Value value = run_operation(run, call.call, call.name, call.perform);
    return call.read(value);
}

/// The result of `work`, which is called now.
template <class F>
std::shared_ptr<detail::PendingState> done_pending(F&& work) {
    using T = std::invoke_result_t<F&>;
    try {
        if constexpr (std::is_void_v<T>) {
            work();
            return std::make_shared<DonePending>(std::shared_ptr<void>());
        } else {
            return std::make_shared<DonePending>(std::make_shared<T>(work()));
        }
    } catch (const Interrupt&) {
        throw;
    } catch (...) {
        return std::make_shared<DonePending>(std::current_exception());
    }
}

template <class T>
std::shared_ptr<detail::PendingState> start_call(Run& run, ManagedCall<T> call) {
    if (run.in_step()) {
        call.check();
        return done_pending(call.direct);
    }
    run.enter(call.call);
    if (!run.next_is_recorded()) call.check();
    MakeObject make;
    if constexpr (!std::is_void_v<T>) {
        make = [read = std::move(call.read)](const Value& value) { return std::make_shared<T>(read(value)); };
    }
    return start_operation(run, call.call, call.name, std::move(call.perform), std::move(make));
}

/// A write without a result: `effect` is called with the gate, or without one inside a step.
ManagedCall<void> write_call(Run& run, const char* call, const char* name, std::function<void()> check,
                             std::function<void(client::Core&, sysdb::Gate*)> effect);

/// A read whose rows are recorded. `rows` asks, `show` makes of them what the caller sees.
template <class T, class Rows>
ManagedCall<T> read_call(Run& run, const char* call, const char* name, std::function<void()> check,
                         std::function<Rows(client::Core&)> rows,
                         std::function<T(client::Core&, Rows)> show) {
    client::Core& core = run.executor().core();
    return {.call = call,
            .name = name,
            .check = std::move(check),
            .direct = [&core, rows, show] { return show(core, rows(core)); },
            .perform = recorded_call(run, [&core, rows] { return to_value(rows(core)); }),
            .read = [&core, show](const Value& value) { return show(core, from_value<Rows>(value)); }};
}

}  // namespace dbos::runtime
