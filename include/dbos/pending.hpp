// Pending<T>: the result of a durable operation that a body has begun and does not wait for yet.
//
//   auto weight = ctx.async_step("weigh", [&] { return weigh(order); });
//   auto reply = ctx.recv_async<Reply>("reply", 1h);
//   … weight.get() … reply.get()
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "dbos/codec.hpp"
#include "dbos/error.hpp"
#include "dbos/export.hpp"
#include "dbos/handle.hpp"

namespace dbos {

namespace detail {

/// A durable operation in flight. Belongs to its run's body thread.
class DBOS_EXPORT PendingState {
   public:
    virtual ~PendingState();
    /// Waits durably for the value; nullopt = none came in time. Throws the operation's error. Once; later calls throw
    /// UsageError.
    virtual std::optional<Value> get() = 0;
    /// The same for an operation whose result is no Value (handles, listings): what PendingValue<T> of its type expects. Null
    /// for others, which it leaves as they are.
    virtual std::shared_ptr<void> get_object() { return {}; }
    virtual bool ready() const = 0;
    /// Whether get() was called.
    bool taken() const noexcept { return taken_; }
    /// Ends what runs for it and leaves its record (safety rule: a step that was called leaves a record before the body goes on).
    virtual void finish() noexcept = 0;

   protected:
    bool taken_ = false;
};

template <class T>
struct PendingValue {
    static T take(PendingState& state) {
        std::optional<Value> value = state.get();
        return value ? from_value<T>(*value) : T();
    }
};
template <>
struct PendingValue<void> {
    static void take(PendingState& state) { static_cast<void>(state.get()); }
};
/// Takes a T that the operation has made itself.
template <class T>
struct PendingObject {
    static T take(PendingState& state) { return std::move(*std::static_pointer_cast<T>(state.get_object())); }
};
/// What operations that make handles have made.
struct MadeHandles {
    HandleStates states = {};
    std::span<const ErrorType> errors = {};  // of the contract
};
template <class R>
struct PendingValue<WorkflowHandle<R>> {
    static WorkflowHandle<R> take(PendingState& state) {
        MadeHandles made = PendingObject<MadeHandles>::take(state);
        return HandleAccess::make<R>(std::move(made.states.front()), made.errors);
    }
};
template <class R>
struct PendingValue<std::vector<WorkflowHandle<R>>> {
    static std::vector<WorkflowHandle<R>> take(PendingState& state) {
        return typed_handles<R>(PendingObject<MadeHandles>::take(state).states);
    }
};

struct PendingAccess;

}  // namespace detail

/// A value to come. Move-only; belongs to its run: get() on another thread, inside a step or after the body has ended throws
/// UsageError. That of a step is declared after everything its callable refers to: the destructor requests stop, waits for the
/// callable and lets its value or error be recorded; it never throws. Destroying any other withdraws nothing that is recorded:
/// a message is consumed by get() alone.
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
    /// Waits durably, then returns the value or throws the operation's error. Once.
    T get() {
        if (!state_)
            throw UsageError("this Pending was moved from: call get() on the object it was moved to");
        // The state stays: if an Interrupt leaves get(), the destructor still has to join the callable.
        return detail::PendingValue<T>::take(*state_);
    }
    /// Whether get() would return at once. Not durable: do not branch on it outside of a step.
    bool ready() const { return state_ && state_->ready(); }

   private:
    friend struct detail::PendingAccess;
    explicit Pending(std::shared_ptr<detail::PendingState> state) : state_(std::move(state)) {}
    std::shared_ptr<detail::PendingState> state_;
};

namespace detail {

struct PendingAccess {
    template <class T>
    static Pending<T> make(std::shared_ptr<PendingState> state) {
        return Pending<T>(std::move(state));
    }
    template <class T>
    static const std::shared_ptr<PendingState>& state(const Pending<T>& pending) {
        return pending.state_;
    }
};

}  // namespace detail

}  // namespace dbos
