// dbos::Context: what a workflow body does durably.
//
//   Receipt checkout(dbos::Context& ctx, const Order& order) {
//       auto charge = ctx.step("charge", [&] { return charge_card(order); }, {.max_attempts = 5, .interval = 200ms});
//       auto weight = ctx.async_step("weigh", [&] { return weigh(order); });       // runs beside what follows
//       auto label = ctx.start_workflow(PrintLabel, {.queue_name = "labels"}, order.id);
//       ctx.sleep(24h);                                                            // survives restarts
//       return {.charge_id = charge, .tracking = label.get_result(), .grams = weight.get()};
//   }
//
// The body is replayed after a crash: recorded steps answer from their records, so everything outside of steps must do the
// same on every run. Each durable call takes the next step number, in program order.
//
// A Context belongs to the thread of its body. Calls from any other thread throw UsageError; inside a step's callable only
// another step may be called (it runs as a plain function). Durable calls may throw dbos::Interrupt: let it pass.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "dbos/client.hpp"
#include "dbos/codec.hpp"
#include "dbos/context_manage.hpp"
#include "dbos/error.hpp"
#include "dbos/export.hpp"
#include "dbos/handle.hpp"
#include "dbos/options.hpp"
#include "dbos/pending.hpp"
#include "dbos/step.hpp"
#include "dbos/workflow.hpp"

namespace dbos {

namespace detail {

DBOS_EXPORT Value run_step(runtime::Run& run, const Name& name, StepCall call, const StepOptions& options);
DBOS_EXPORT std::shared_ptr<PendingState> start_step(runtime::Run& run, const Name& name,
                                                     std::unique_ptr<StepFunction> function,
                                                     const StepOptions& options);
DBOS_EXPORT std::shared_ptr<HandleState> start_child(runtime::Run& run, const CallTarget& target,
                                                     EnqueueOptions options, Arguments arguments);

}  // namespace detail

/// See the head of this file.
class DBOS_EXPORT Context : public ContextManaging {
   public:
    /// Made by the runtime.
    explicit Context(runtime::Run& run) noexcept : ContextManaging(run) {}

    const std::string& workflow_id() const noexcept;
    /// Identity of the executor that runs this body now, and the application version it runs it under.
    const std::string& executor_id() const noexcept;
    const std::string& application_version() const noexcept;
    /// Whether the body is being unwound by an Interrupt (for destructors that must not act then).
    bool interrupted() const noexcept;

    /// Runs `function` at most once after it has been recorded: the result (or error) is committed before this returns, and a
    /// replay returns the record. `function` takes nothing or a StepContext&; its result must be serializable and own its data.
    ///
    /// An error is thrown as its record decodes: types of the workflow's throws<…>() list and the standard exceptions as
    /// themselves, everything else as StepFailed; with `max_attempts` > 1 and every attempt failed, StepRetriesExhausted.
    /// Throws UnexpectedStep if another step is recorded under this number.
    template <class F>
    auto step(const Name& name, F&& function, const StepOptions& options = {}) -> detail::step_result_t<F> {
        using R = detail::step_result_t<F>;
        using Fn = std::remove_reference_t<F>;
        if constexpr (detail::require_step<F>()) {
            detail::StepCall call{const_cast<void*>(static_cast<const void*>(std::addressof(function))),
                                  [](void* object, StepContext& context) {
                                      return detail::call_step(*static_cast<Fn*>(object), context);
                                  }};
            if constexpr (std::is_void_v<R>) {
                detail::run_step(run_, name, call, options);
            } else {
                return from_value<R>(detail::run_step(run_, name, call, options));
            }
        }
    }

    /// The same beside what follows: takes its number now, runs on another thread. Take the result with get() in the body.
    template <class F>
    auto async_step(const Name& name, F&& function, const StepOptions& options = {})
        -> Pending<detail::step_result_t<F>> {
        using Fn = std::remove_cvref_t<F>;
        static_assert(detail::require_step<F>());
        return detail::PendingAccess::make<detail::step_result_t<F>>(detail::start_step(
            run_, name, std::make_unique<detail::StepFunctionOf<Fn>>(std::forward<F>(function)), options));
    }

    /// Sleeps durably: the instant of waking is recorded, and a restart waits only for what is left of it. An infinite duration
    /// sleeps until the workflow is cancelled. Throws UsageError for NaN or a negative duration.
    void sleep(Duration duration);

    // --- children (workflow.hpp explains the overloads)

    /// Starts a child: on the queue of `options.queue_name`, or at once in this process if none is given. Its id is
    /// `<this id>-<step number>` unless the options give one. The child's row and this step's record are one transaction.
    /// Throws QueueDeduplicated, ConflictingWorkflow (both recorded), UsageError for options that need a queue or for a
    /// workflow that is not implemented here and has no queue.
    template <class R, class... A, class... E>
    WorkflowHandle<R> start_workflow(const Workflow<R(A...), E...>& contract, EnqueueOptions options,
                                     detail::argument_t<A>... args) {
        return detail::HandleAccess::make<R>(
            detail::start_child(run_, detail::call_target(contract), std::move(options),
                                detail::encode_arguments(contract, args...)),
            contract.error_types());
    }
    template <class R, class... A, class... E, class... U>
        requires(!detail::fits<detail::types<A...>, detail::types<U...>>)
    WorkflowHandle<R> start_workflow(const Workflow<R(A...), E...>& contract, EnqueueOptions options,
                                     U&&... args) {
        detail::explain_misfit<detail::types<A...>, detail::types<U...>>();
        return refused(contract, options, args...);
    }
    /// By name, for workflows of other applications and languages.
    template <class R = Value, class... U>
    WorkflowHandle<R> start_workflow(EnqueueOptions options, U&&... args) {
        return detail::HandleAccess::make<R>(
            detail::start_child(run_, {}, std::move(options), to_arguments(args...)));
    }

   private:
    template <class R, class... A, class... E, class... U>
    static WorkflowHandle<R> refused(const Workflow<R(A...), E...>&, U&&...);  // never defined
};

}  // namespace dbos
