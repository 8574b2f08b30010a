// WorkflowHandle<R>: a workflow that was started, enqueued or retrieved, wherever it runs.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "dbos/codec.hpp"
#include "dbos/export.hpp"
#include "dbos/failure.hpp"
#include "dbos/future.hpp"
#include "dbos/options.hpp"
#include "dbos/types.hpp"
#include "dbos/value.hpp"

namespace dbos {

namespace detail {

/// What a handle stands on. Client and App have one implementation, a workflow's context another, whose waits
/// are durable. Thread-safe. It keeps no thread and no connection alive.
class DBOS_EXPORT HandleState {
   public:
    virtual ~HandleState();
    virtual const std::string& workflow_id() const noexcept = 0;

    /// Blocks until the workflow has ended; its result, or throws as WorkflowHandle::get_result does.
    virtual Value await(const GetResultOptions& options, std::span<const ErrorType> errors) = 0;
    /// Told once, on any thread of the engine; must only hand over. `take` decodes: it returns the result or
    /// throws.
    using AwaitDone = OnceFunction<void(OnceFunction<Value()> take, bool failed)>;
    /// The same without a thread. `future` is the consumer: its on_abandon withdraws the wait. Must not throw
    /// for what await() reports; it goes to `done`.
    virtual void await_async(const GetResultOptions& options, std::span<const ErrorType> errors,
                             const std::shared_ptr<FutureCore>& future, AwaitDone done) = 0;

    virtual WorkflowStatus status() = 0;
    virtual Future<WorkflowStatus> status_async() = 0;
    /// Where the callbacks of this handle's Futures run.
    virtual const std::shared_ptr<CallbackQueue>& callbacks() const noexcept = 0;
};

struct HandleAccess;

}  // namespace detail

/// A workflow by its id. Copies refer to the same workflow. Thread-safe. Usable for as long as it exists;
/// after the client is destroyed its calls throw ClientClosed.
template <class R = Value>
class WorkflowHandle {
   public:
    using result_type = R;

    /// Known without a query.
    const std::string& workflow_id() const noexcept { return state_->workflow_id(); }

    /// Waits until the workflow has ended and returns its result.
    ///
    /// Throws what the workflow failed with: an error type of its contract or of the standard library, else
    /// WorkflowFailed; AwaitedWorkflowCancelled; AwaitedWorkflowMaxRecovery; NonexistentWorkflow if it was
    /// deleted meanwhile (or never existed, with fail_if_missing); Timeout; DecodeError if the result is not
    /// an R; ClientClosed; DatabaseError. (An unknown id is waited for, as in the Python SDK, dbos/_sys_db.py
    /// await_workflow_result.)
    R get_result(const GetResultOptions& options = {}) const {
        Value value = state_->await(options, errors_);
        return convert(std::move(value));
    }
    /// The same as a Future, which costs no thread.
    Future<R> get_result_async(const GetResultOptions& options = {}) const {
        auto future = std::make_shared<detail::FutureState<R>>(state_->callbacks());
        state_->await_async(
            options, errors_, future, [future](detail::OnceFunction<Value()> take, bool failed) {
                // The future itself outlives the recipe, so the recipe needs nothing of the handle.
                future->complete([take = std::move(take)]() mutable -> R { return convert(take()); }, failed);
            });
        return detail::FutureAccess::make(std::move(future));
    }

    /// The row with input and output. Throws NonexistentWorkflow, DatabaseError, ClientClosed.
    WorkflowStatus get_status() const { return state_->status(); }
    Future<WorkflowStatus> get_status_async() const { return state_->status_async(); }

   private:
    friend struct detail::HandleAccess;
    WorkflowHandle(std::shared_ptr<detail::HandleState> state, std::span<const ErrorType> errors) noexcept
        : state_(std::move(state)), errors_(errors) {}

    static R convert(Value value) {
        if constexpr (std::is_same_v<R, Value>) {
            return value;
        } else if constexpr (!std::is_void_v<R>) {
            return from_value<R>(value);
        }
    }

    std::shared_ptr<detail::HandleState> state_;
    std::span<const ErrorType> errors_;  // constants of the contract
};

namespace detail {

struct HandleAccess {
    template <class R>
    static WorkflowHandle<R> make(std::shared_ptr<HandleState> state,
                                  std::span<const ErrorType> errors = {}) noexcept {
        static_assert(require_result<R>());
        return WorkflowHandle<R>(std::move(state), errors);
    }
    template <class R>
    static const std::shared_ptr<HandleState>& state(const WorkflowHandle<R>& handle) noexcept {
        return handle.state_;
    }
    template <class R>
    static std::span<const ErrorType> errors(const WorkflowHandle<R>& handle) noexcept {
        return handle.errors_;
    }
};

template <class R>
std::vector<std::string> ids_of(const std::vector<WorkflowHandle<R>>& handles) {
    std::vector<std::string> ids;
    ids.reserve(handles.size());
    for (const auto& handle : handles) ids.push_back(handle.workflow_id());
    return ids;
}

/// Delivers an untyped handle: `take` returns it or throws. Called once, on any thread; must only hand over.
using HandleDone = OnceFunction<void(OnceFunction<std::shared_ptr<HandleState>()> take, bool failed)>;

/// A Future of a typed handle and what completes it.
template <class R>
std::pair<Future<WorkflowHandle<R>>, HandleDone> handle_future(std::shared_ptr<CallbackQueue> queue,
                                                               std::span<const ErrorType> errors = {}) {
    auto state = std::make_shared<FutureState<WorkflowHandle<R>>>(std::move(queue));
    HandleDone done = [state, errors](OnceFunction<std::shared_ptr<HandleState>()> take, bool failed) {
        state->complete(
            [take = std::move(take), errors]() mutable -> WorkflowHandle<R> {
                return HandleAccess::make<R>(take(), errors);
            },
            failed);
    };
    return {FutureAccess::make(std::move(state)), std::move(done)};
}

using HandleStates = std::vector<std::shared_ptr<HandleState>>;

template <class R>
std::vector<WorkflowHandle<R>> typed_handles(HandleStates states) {
    std::vector<WorkflowHandle<R>> handles;
    handles.reserve(states.size());
    for (auto& state : states) handles.push_back(HandleAccess::make<R>(std::move(state)));
    return handles;
}

/// Delivers untyped handles, as HandleDone does one.
using HandlesDone = OnceFunction<void(OnceFunction<HandleStates()> take, bool failed)>;

/// A Future of typed handles and what completes it.
template <class R>
std::pair<Future<std::vector<WorkflowHandle<R>>>, HandlesDone> handles_future(
    std::shared_ptr<CallbackQueue> queue) {
    auto state = std::make_shared<FutureState<std::vector<WorkflowHandle<R>>>>(std::move(queue));
    HandlesDone done = [state](OnceFunction<HandleStates()> take, bool failed) {
        state->complete([take = std::move(take)]() mutable { return typed_handles<R>(take()); }, failed);
    };
    return {FutureAccess::make(std::move(state)), std::move(done)};
}

}  // namespace detail

}  // namespace dbos
