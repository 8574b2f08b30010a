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

#include <concepts>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

#include "dbos/client.hpp"
#include "dbos/codec.hpp"
#include "dbos/error.hpp"
#include "dbos/export.hpp"
#include "dbos/handle.hpp"
#include "dbos/options.hpp"
#include "dbos/workflow.hpp"

namespace dbos {

namespace runtime {
class Run;
}

/// What a step's callable may ask about the attempt it runs in. Valid during the call only; usable from threads that the
/// callable starts.
class DBOS_EXPORT StepContext {
   public:
    const std::string& workflow_id() const noexcept { return *workflow_id_; }
    /// Number of the step within the workflow, from 1.
    int step_id() const noexcept { return step_id_; }
    /// From 1.
    int attempt() const noexcept { return attempt_; }
    int max_attempts() const noexcept { return max_attempts_; }
    /// Asked to stop when the step's timeout has passed, the workflow is cancelled or taken over, its Pending is destroyed, or
    /// the application shuts down. Cooperative: the runtime waits for the callable in every case.
    std::stop_token stop_token() const noexcept { return stop_; }

    /// For the runtime and for tests of step functions.
    StepContext(const std::string& workflow_id, int step_id, int attempt, int max_attempts,
                std::stop_token stop)
        : workflow_id_(&workflow_id),
          step_id_(step_id),
          attempt_(attempt),
          max_attempts_(max_attempts),
          stop_(std::move(stop)) {}

   private:
    const std::string* workflow_id_;
    int step_id_;
    int attempt_;
    int max_attempts_;
    std::stop_token stop_;
};

namespace detail {

template <class F>
concept plain_step = std::invocable<F&>;
template <class F>
concept context_step = std::invocable<F&, StepContext&>;

template <class F>
struct StepReturn {
    using type = void;
};
template <plain_step F>
struct StepReturn<F> {
    using type = std::invoke_result_t<F&>;
};
template <class F>
    requires(!plain_step<F> && context_step<F>)
struct StepReturn<F> {
    using type = std::invoke_result_t<F&, StepContext&>;
};
/// What a step returns to the body: decayed, texts as std::string.
template <class F>
struct StepResult {
    using raw = typename StepReturn<F>::type;
    using type = std::conditional_t<std::is_void_v<raw>, void,
                                    stored_t<std::conditional_t<std::is_void_v<raw>, int, raw>>>;
};
template <class F>
using step_result_t = typename StepResult<std::remove_cvref_t<F>>::type;

template <class F>
constexpr bool require_step() {
    using Fn = std::remove_cvref_t<F>;
    static_assert(plain_step<Fn> || context_step<Fn>,
                  "dbos: a step's callable is called with no argument or with a dbos::StepContext&");
    if constexpr (plain_step<Fn> || context_step<Fn>) return require_result<typename StepReturn<Fn>::type>();
    return false;
}

template <class F>
Value call_step(F& function, StepContext& context) {
    using R = typename StepReturn<F>::type;
    if constexpr (plain_step<F>) {
        if constexpr (std::is_void_v<R>) {
            function();
            return {};
        } else {
            return to_value(function());
        }
    } else {
        if constexpr (std::is_void_v<R>) {
            function(context);
            return {};
        } else {
            return to_value(function(context));
        }
    }
}

/// A borrowed callable of a step, type erased.
struct StepCall {
    void* object;
    Value (*invoke)(void*, StepContext&);
};

/// An owned one.
class StepFunction {
   public:
    virtual ~StepFunction() = default;
    virtual Value operator()(StepContext& context) = 0;
};
template <class F>
class StepFunctionOf final : public StepFunction {
   public:
    explicit StepFunctionOf(F&& function) : function_(std::move(function)) {}
    explicit StepFunctionOf(const F& function) : function_(function) {}
    Value operator()(StepContext& context) override { return call_step(function_, context); }

   private:
    F function_;
};

/// An asynchronous step in flight. Thread-safe as Pending needs it.
class DBOS_EXPORT PendingStep {
   public:
    virtual ~PendingStep();
    /// Once; later calls throw UsageError.
    virtual Value get() = 0;
    virtual bool ready() const = 0;
    /// Requests stop, joins, leaves the record (safety rule: a step that was called leaves a record before the body goes on).
    virtual void finish() noexcept = 0;
};

DBOS_EXPORT Value run_step(runtime::Run& run, const Name& name, StepCall call, const StepOptions& options);
DBOS_EXPORT std::shared_ptr<PendingStep> start_step(runtime::Run& run, const Name& name,
                                                    std::unique_ptr<StepFunction> function,
                                                    const StepOptions& options);
DBOS_EXPORT std::shared_ptr<HandleState> start_child(runtime::Run& run, const CallTarget& target,
                                                     EnqueueOptions options, Arguments arguments);

}  // namespace detail

/// The result of an asynchronous step, to come. Move-only; belongs to its run: get() on another thread, inside a step or after
/// the body has ended throws UsageError. Declare it after everything its callable refers to: the destructor requests stop,
/// waits for the callable and lets its value or error be recorded; it never throws.
template <class T>
class [[nodiscard]] Pending {
   public:
    Pending(Pending&&) noexcept = default;
    Pending& operator=(Pending&& other) noexcept {
        if (this != &other) {
            if (state_) state_->finish();
            state_ = std::move(other.state_);
        }
        return *this;
    }
    ~Pending() {
        if (state_) state_->finish();
    }
    /// Waits durably, then returns the step's value or throws its error. Once.
    T get() {
        if (!state_)
            throw UsageError("this Pending was moved from: call get() on the object it was moved to");
        // The state stays: if an Interrupt leaves get(), the destructor still has to join the callable.
        if constexpr (std::is_void_v<T>) {
            state_->get();
        } else {
            return from_value<T>(state_->get());
        }
    }
    /// Whether get() would return at once. Not durable: do not branch on it outside of a step.
    bool ready() const { return state_ && state_->ready(); }

   private:
    friend class Context;
    explicit Pending(std::shared_ptr<detail::PendingStep> state) : state_(std::move(state)) {}
    std::shared_ptr<detail::PendingStep> state_;
};

/// See the head of this file.
class DBOS_EXPORT Context {
   public:
    /// Made by the runtime.
    explicit Context(runtime::Run& run) noexcept : run_(run) {}
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

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
        return Pending<detail::step_result_t<F>>(detail::start_step(
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
    runtime::Run& run_;
};

}  // namespace dbos
