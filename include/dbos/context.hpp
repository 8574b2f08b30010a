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

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "dbos/client.hpp"
#include "dbos/codec.hpp"
#include "dbos/context_manage.hpp"
#include "dbos/context_transactions.hpp"
#include "dbos/error.hpp"
#include "dbos/export.hpp"
#include "dbos/handle.hpp"
#include "dbos/options.hpp"
#include "dbos/pending.hpp"
#include "dbos/step.hpp"
#include "dbos/stream.hpp"
#include "dbos/workflow.hpp"

namespace dbos {

namespace detail {

DBOS_EXPORT Value run_step(runtime::Run& run, const Name& name, StepCall call, const StepOptions& options);
DBOS_EXPORT std::shared_ptr<PendingState> start_step(runtime::Run& run, const Name& name,
                                                     std::unique_ptr<StepFunction> function,
                                                     const StepOptions& options);
/// One step for each function, at most `max_parallel` at once; all run, then the values, or the error of the lowest index.
DBOS_EXPORT std::vector<Value> map_steps(runtime::Run& run, const Name& name,
                                         std::vector<std::unique_ptr<StepFunction>> functions,
                                         const StepOptions& options, std::size_t max_parallel);
/// The type as a dependent name: programs that only include this pay nothing for it.
template <class>
struct StepList {
    using type = std::vector<std::unique_ptr<StepFunction>>;
};
DBOS_EXPORT void defer_step(runtime::Run& run, const Name& name, std::unique_ptr<StepFunction> function,
                            const StepOptions& options);
DBOS_EXPORT std::shared_ptr<HandleState> start_child(runtime::Run& run, const CallTarget& target,
                                                     EnqueueOptions options, Arguments arguments);
DBOS_EXPORT std::shared_ptr<PendingState> start_child_async(runtime::Run& run, const CallTarget& target,
                                                            std::span<const ErrorType> errors,
                                                            EnqueueOptions options, Arguments arguments);
DBOS_EXPORT std::shared_ptr<PendingState> result_of(runtime::Run& run, const char* call,
                                                    const std::shared_ptr<HandleState>& handle,
                                                    const GetResultOptions& options,
                                                    std::span<const ErrorType> errors);
DBOS_EXPORT std::shared_ptr<PendingState> receive(runtime::Run& run, const char* call,
                                                  const std::optional<std::string>& topic, Duration timeout);
DBOS_EXPORT std::shared_ptr<PendingState> event_of(runtime::Run& run, const char* call,
                                                   const std::string& workflow_id, const std::string& key,
                                                   Duration timeout, const GetEventOptions& options);
/// In a step it is not recorded.
DBOS_EXPORT std::optional<Value> event_value(runtime::Run& run, const std::string& workflow_id,
                                             const std::string& key, Duration timeout,
                                             const GetEventOptions& options);
DBOS_EXPORT std::shared_ptr<PendingState> begin_sleep(runtime::Run& run, const char* call, Duration duration);
DBOS_EXPORT std::shared_ptr<StreamSource> body_stream(runtime::Run& run, const std::string& workflow_id,
                                                      const std::string& key,
                                                      const ReadStreamOptions& options);
DBOS_EXPORT Value body_stream_value(runtime::Run& run, const std::string& workflow_id, const std::string& key,
                                    std::int64_t offset, const ReadStreamOffsetOptions& options);
DBOS_EXPORT std::size_t wait_first_of(runtime::Run& run, const std::vector<std::string>& ids,
                                      const WaitWorkflowsOptions& options);
DBOS_EXPORT void wait_for_all(runtime::Run& run, const std::vector<std::string>& ids,
                              const WaitWorkflowsOptions& options);
DBOS_EXPORT std::size_t select(runtime::Run& run, const std::shared_ptr<PendingState>* pendings,
                               std::size_t size);

/// A call that was put off: its function and copies of its arguments.
template <class F, class... A>
struct Deferred {
    F function;
    std::tuple<A...> arguments;
    auto operator()() { return std::apply(function, arguments); }
};
template <class F>
constexpr bool captures_nothing =
    std::is_empty_v<F> || (std::is_pointer_v<F> && std::is_function_v<std::remove_pointer_t<F>>);

}  // namespace detail

/// See the head of this file.
class DBOS_EXPORT Context : public ContextTransactions {
   public:
    /// Made by the runtime.
    explicit Context(runtime::Run& run) noexcept : ContextTransactions(run) {}

    const std::string& workflow_id() const noexcept;
    /// Identity of the executor that runs this body now, and the application version it runs it under.
    const std::string& executor_id() const noexcept;
    const std::string& application_version() const noexcept;
    /// For whom the workflow runs: as the call that started it says (`EnqueueOptions::authenticated_user`), or its parent, on every
    /// run of the body. Empty = nobody.
    const std::string& authenticated_user() const noexcept;
    const std::vector<std::string>& authenticated_roles() const noexcept;
    /// The first of ImplementOptions::required_roles that the roles hold; without such, what the starter's options say.
    const std::string& assumed_role() const noexcept;
    /// From here on the body and the children that it starts run for this user. Not recorded: a replay calls it again. What the
    /// workflow itself requires was checked before. On the body's thread; throws UsageError elsewhere.
    void set_authentication(std::string user, std::vector<std::string> roles);
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

    /// One step for each element of a range, at most `options.max_parallel` at once, and what they return, in order.
    ///
    ///   auto sums = ctx.map("hash", files, [](const std::string& file) { return sha256(file); }, {.max_parallel = 4});
    ///
    /// The range is copied, and all numbers are taken at once. Every element runs, whatever fails; when all are recorded, the
    /// error of the lowest index is thrown. `function` is called as const, from several threads at once.
    template <std::ranges::input_range Range, class F>
    auto map(const Name& name, Range&& range, F function, const MapOptions& options = {}) {
        using Element = std::ranges::range_value_t<Range>;
        static_assert(std::invocable<const F&, const Element&>,
                      "dbos: the callable of map is called as const with an element of the range");
        using R = std::invoke_result_t<const F&, const Element&>;
        typename detail::StepList<F>::type functions;
        auto shared = std::make_shared<const F>(std::move(function));
        for (auto&& element : range) {
            auto call = [shared, element = Element(std::forward<decltype(element)>(element))] {
                return (*shared)(element);
            };
            static_assert(detail::require_step<decltype(call)>());
            functions.push_back(std::make_unique<detail::StepFunctionOf<decltype(call)>>(std::move(call)));
        }
        auto values = detail::map_steps(run_, name, std::move(functions), options.step, options.max_parallel);
        if constexpr (!std::is_void_v<R>) {
            std::vector<detail::stored_t<R>> results;
            results.reserve(values.size());
            for (Value& value : values) results.push_back(from_value<detail::stored_t<R>>(value));
            return results;
        }
    }

    /// Calls `function(arguments…)` as a step when the body ends, by value or error: the last one first, each whatever the
    /// others do. Never when it is unwound (parked, cancelled, taken over, shut down): a cancelled workflow leaves its deferred
    /// calls out. The body's error stays the outcome; else the first error of a deferred call is. The body's locals are gone by
    /// then, so `function` captures nothing, and the arguments are copied.
    template <class F, class... A>
    void defer(const Name& name, F function, A... arguments) {
        static_assert(detail::captures_nothing<F>,
                      "dbos: a deferred function runs when the body's locals are gone: it may capture "
                      "nothing; pass what it "
                      "needs as arguments");
        using Call = detail::Deferred<F, std::decay_t<A>...>;
        static_assert(detail::require_step<Call>());
        detail::defer_step(run_, name,
                           std::make_unique<detail::StepFunctionOf<Call>>(
                               Call{function, std::tuple<std::decay_t<A>...>(std::move(arguments)...)}),
                           {});
    }

    /// Sleeps durably: the instant of waking is recorded, and a restart waits only for what is left of it. An infinite duration
    /// sleeps until the workflow is cancelled. Throws UsageError for NaN or a negative duration.
    void sleep(Duration duration);
    /// The same, to be waited for with get() or in a select.
    Pending<void> sleep_async(Duration duration) {
        return detail::PendingAccess::make<void>(detail::begin_sleep(run_, "ctx.sleep_async", duration));
    }
    /// The time of day, recorded: the same on every replay.
    std::chrono::system_clock::time_point now();
    /// A random UUID (version 4), recorded.
    std::string random_uuid();

    // --- messages, events and streams of others

    /// Takes the oldest message of a topic that was sent to this workflow, exactly once; nullopt if none comes in time. A null
    /// message is as none. No topic: messages without one. 0 = one look. Throws UsageError while another receive of this
    /// topic is in flight; as from_value for a message that is no T.
    template <class T = Value>
    std::optional<T> recv(const std::optional<std::string>& topic = {},
                          Duration timeout = std::chrono::seconds(60)) {
        return detail::PendingValue<std::optional<T>>::take(
            *detail::receive(run_, "ctx.recv", topic, timeout));
    }
    /// The same, to be waited for with get() or in a select. The message is consumed by get(). The time runs from this call.
    template <class T = Value>
    Pending<std::optional<T>> recv_async(const std::optional<std::string>& topic = {},
                                         Duration timeout = std::chrono::seconds(60)) {
        return detail::PendingAccess::make<std::optional<T>>(
            detail::receive(run_, "ctx.recv_async", topic, timeout));
    }
    /// The value of another workflow's event when it has one; nullopt if it has none in time. Recorded: a replay sees the same
    /// value. In a step it is not recorded.
    template <class T = Value>
    std::optional<T> get_event(const std::string& workflow_id, const std::string& key,
                               Duration timeout = std::chrono::seconds(60),
                               const GetEventOptions& options = {}) {
        const auto value = detail::event_value(run_, workflow_id, key, timeout, options);
        return value ? from_value<std::optional<T>>(*value) : std::nullopt;
    }
    template <class T = Value>
    Pending<std::optional<T>> get_event_async(const std::string& workflow_id, const std::string& key,
                                              Duration timeout = std::chrono::seconds(60),
                                              const GetEventOptions& options = {}) {
        return detail::PendingAccess::make<std::optional<T>>(
            detail::event_of(run_, "ctx.get_event_async", workflow_id, key, timeout, options));
    }
    /// The values of a stream of a workflow. Each that is read is recorded, and so is the end. In a step nothing is recorded.
    /// Throws NonexistentWorkflow, StreamTimeout, DecodeError (all recorded).
    template <class T = Value>
    Stream<T> read_stream(const std::string& workflow_id, const std::string& key,
                          const ReadStreamOptions& options = {}) {
        return Stream<T>(detail::body_stream(run_, workflow_id, key, options));
    }
    /// One value of a stream. Throws StreamTimeout also if the stream has ended before.
    template <class T = Value>
    T read_stream_offset(const std::string& workflow_id, const std::string& key, std::int64_t offset,
                         const ReadStreamOffsetOptions& options = {}) {
        return from_value<T>(detail::body_stream_value(run_, workflow_id, key, offset, options));
    }

    // --- several waits

    /// Waits until one of these has its value, and returns its index; recorded, so that a replay takes the same branch. The
    /// lowest index if several have. Take the winner's value with get(). Losing costs nothing: a message is consumed by get()
    /// alone. Throws UsageError for one that was taken, moved from or given twice.
    ///
    ///   switch (ctx.select(quote, cancel, limit)) { case 0: return quote.get(); … }
    template <class... T>
    std::size_t select(Pending<T>&... pendings) {
        const std::shared_ptr<detail::PendingState> states[] = {detail::PendingAccess::state(pendings)...};
        return detail::select(run_, states, sizeof...(T));
    }
    template <class T>
    std::size_t select(std::span<Pending<T>> pendings) {
        std::vector<std::shared_ptr<detail::PendingState>> states;
        for (const Pending<T>& pending : pendings) states.push_back(detail::PendingAccess::state(pending));
        return detail::select(run_, states.data(), states.size());
    }
    /// Waits until one of these workflows has ended, however; recorded. Throws UsageError for no handle, Timeout,
    /// NonexistentWorkflow (both recorded).
    template <class R>
    WorkflowHandle<R> wait_first(const std::vector<WorkflowHandle<R>>& handles,
                                 const WaitWorkflowsOptions& options = {}) {
        return handles.at(detail::wait_first_of(run_, detail::ids_of(handles), options));
    }
    /// Waits until all of these workflows have ended, in one wait; recorded.
    template <class R>
    void wait_all(const std::vector<WorkflowHandle<R>>& handles, const WaitWorkflowsOptions& options = {}) {
        detail::wait_for_all(run_, detail::ids_of(handles), options);
    }
    /// handle.get_result(), to be waited for with get() or in a select.
    template <class R>
    Pending<R> get_result_async(const WorkflowHandle<R>& handle, const GetResultOptions& options = {}) {
        return detail::PendingAccess::make<R>(detail::result_of(run_, "ctx.get_result_async",
                                                                detail::HandleAccess::state(handle), options,
                                                                detail::HandleAccess::errors(handle)));
    }

    // --- changes of the code under running workflows

    /// Whether this run takes the new branch: true, and recorded, unless it has run past this place without the patch.
    ///
    ///   if (ctx.patch("charge-twice-fix")) { new code } else { old code }
    bool patch(const std::string& name);
    /// When no run of the old branch is left: `ctx.deprecate_patch("…"); new code`. Returns true.
    bool deprecate_patch(const std::string& name);

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
    /// The same without waiting for the commit: children that are started one after the other so share transactions. Takes its
    /// number now; a refusal is thrown by get().
    template <class R, class... A, class... E>
    Pending<WorkflowHandle<R>> start_workflow_async(const Workflow<R(A...), E...>& contract,
                                                    EnqueueOptions options, detail::argument_t<A>... args) {
        return detail::PendingAccess::make<WorkflowHandle<R>>(
            detail::start_child_async(run_, detail::call_target(contract), contract.error_types(),
                                      std::move(options), detail::encode_arguments(contract, args...)));
    }
    template <class R, class... A, class... E, class... U>
        requires(!detail::fits<detail::types<A...>, detail::types<U...>>)
    Pending<WorkflowHandle<R>> start_workflow_async(const Workflow<R(A...), E...>& contract,
                                                    EnqueueOptions options, U&&... args) {
        detail::explain_misfit<detail::types<A...>, detail::types<U...>>();
        return refused_async(contract, options, args...);
    }
    template <class R = Value, class... U>
    Pending<WorkflowHandle<R>> start_workflow_async(EnqueueOptions options, U&&... args) {
        return detail::PendingAccess::make<WorkflowHandle<R>>(
            detail::start_child_async(run_, {}, {}, std::move(options), to_arguments(args...)));
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
    template <class R, class... A, class... E, class... U>
    static Pending<WorkflowHandle<R>> refused_async(const Workflow<R(A...), E...>&, U&&...);
};

}  // namespace dbos
