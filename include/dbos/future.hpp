// dbos::Future<T>: what the `_async` methods of Client, App and WorkflowHandle return.
//
//   client.enqueue_async(Checkout, {.queue_name = "orders"}, order)
//       .then([](dbos::WorkflowHandle<Receipt> handle) { return handle.get_result_async(); })
//       .then([](Receipt receipt) { … }, [](std::exception_ptr error) { … });
//
// A Future costs no thread. It is move-only and one-shot: get() or then(), once. Its destructor neither
// blocks nor cancels a write; a pure wait (get_result_async and the like) that nobody waits for any more is
// withdrawn. Callbacks run one after another on the one callback thread of the client (or on its `executor`),
// never inside the call that registers them. On that thread no call may block: get() of a Future that is not
// ready throws UsageError there.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "dbos/detail/owned.hpp"
#include "dbos/error.hpp"
#include "dbos/export.hpp"
#include "dbos/value.hpp"

namespace dbos {

template <class T>
class Future;

namespace detail {

/// A callable that is called at most once and need not be copyable (std::move_only_function is C++23).
template <class Signature>
class OnceFunction;

/// One type for what all of them hold: an instantiation of unique_ptr for each signature costs every translation unit more than
/// the rest of it.
struct OnceModel {
    virtual ~OnceModel() = default;
};

template <class R, class... A>
class OnceFunction<R(A...)> {
    struct Base : OnceModel {
        virtual R call(A...) = 0;
    };
    template <class F>
    struct Model final : Base {
        explicit Model(F&& f) : function(std::move(f)) {}
        R call(A... args) override { return function(std::forward<A>(args)...); }
        F function;
    };

   public:
    OnceFunction() = default;
    template <class F>
        requires(!std::is_same_v<std::decay_t<F>, OnceFunction> &&
                 std::is_invocable_r_v<R, std::decay_t<F>&, A...>)
    OnceFunction(F&& f) : model_(new Model<std::decay_t<F>>(std::decay_t<F>(std::forward<F>(f)))) {}
    explicit operator bool() const noexcept { return model_ != nullptr; }
    R operator()(A... args) {
        const std::unique_ptr<OnceModel> model = std::move(model_);
        return static_cast<Base&>(*model).call(std::forward<A>(args)...);
    }

   private:
    std::unique_ptr<OnceModel> model_;
};

/// Where continuations run: the callback thread of a client or application.
class DBOS_EXPORT CallbackQueue {
   public:
    virtual ~CallbackQueue();
    /// Runs `task` later. Never inline, never throws for a full queue. After the owner is closed: a task
    /// still runs, on a thread that ends by itself.
    virtual void post(OnceFunction<void()> task) noexcept = 0;
    /// Whether the calling thread is running a callback of this queue.
    virtual bool on_this_thread() const noexcept = 0;
    /// An error that nobody observed: logged at error level.
    virtual void unobserved(std::exception_ptr error) noexcept = 0;
    /// Throws UsageError if the calling thread must not block in `operation` (a callback, or a body of a
    /// workflow).
    virtual void check_may_block(const char* operation) const = 0;
};

/// The part of a Future's shared state that does not know its type. Thread-safe.
class DBOS_EXPORT FutureCore {
   public:
    explicit FutureCore(std::shared_ptr<CallbackQueue> queue);
    virtual ~FutureCore();
    FutureCore(const FutureCore&) = delete;
    FutureCore& operator=(const FutureCore&) = delete;

    bool ready() const noexcept;
    /// Blocks until it is ready. Throws UsageError where blocking is forbidden.
    void wait(const char* operation);
    bool wait_for(Duration timeout, const char* operation);
    /// Posts `task` to the queue as soon as the state is ready. One continuation at most.
    void on_ready(OnceFunction<void()> task);
    /// Told once if the consumer goes away before the state is ready, without a continuation.
    void on_abandon(OnceFunction<void()> task);
    /// The consumer goes away.
    void abandon() noexcept;
    const std::shared_ptr<CallbackQueue>& queue() const noexcept { return queue_; }

   protected:
    /// The producer is done; everything written before is visible to whoever sees ready().
    void set_ready() noexcept;

   private:
    struct Impl;
    std::shared_ptr<CallbackQueue> queue_;
    Owned<Impl> impl_;
};

/// The state holds a recipe rather than a value: decoding happens on the thread that takes the result, never
/// on the thread that delivers it.
template <class T>
class FutureState final : public FutureCore {
   public:
    using FutureCore::FutureCore;
    ~FutureState() override {
        if (produce_ && failed_) report();
    }
    /// Exactly one of complete() and fail(), once.
    void complete(OnceFunction<T()> produce, bool failed = false) noexcept {
        produce_ = std::move(produce);
        failed_ = failed;
        set_ready();
    }
    void fail(std::exception_ptr error) noexcept {
        complete([error = std::move(error)]() -> T { std::rethrow_exception(error); }, true);
    }
    /// The result; call once, when ready.
    T take() {
        if (!produce_) throw UsageError("this Future's result was taken before: call get() or then() once");
        return produce_();
    }

   private:
    void report() noexcept {
        const std::shared_ptr<CallbackQueue> target = queue();
        if (!target) return;
        target->post([target, produce = std::move(produce_)]() mutable {
            try {
                static_cast<void>(produce());
            } catch (...) {
                target->unobserved(std::current_exception());
            }
        });
    }
    OnceFunction<T()> produce_;
    bool failed_ = false;
};

template <class T>
struct is_future : std::false_type {};
template <class T>
struct is_future<Future<T>> : std::true_type {};

template <class F, class T>
struct continuation {
    using result = std::invoke_result_t<F&, T>;
};
template <class F>
struct continuation<F, void> {
    using result = std::invoke_result_t<F&>;
};

template <class T>
struct flattened {
    using type = std::decay_t<T>;
};
template <>
struct flattened<void> {
    using type = void;
};
template <class T>
struct flattened<Future<T>> {
    using type = T;
};
template <class F, class T>
using then_t = typename flattened<typename continuation<F, T>::result>::type;

struct FutureAccess;

}  // namespace detail

/// The result of an asynchronous call, to come. See the head of this file.
///
/// One object belongs to one thread at a time; different Futures are independent.
template <class T>
class Future {
   public:
    using value_type = T;

    /// An empty Future; everything but assignment, valid() and destruction throws UsageError.
    Future() noexcept = default;
    Future(Future&& other) noexcept = default;
    Future& operator=(Future&& other) noexcept {
        if (this != &other) {
            release();
            state_ = std::move(other.state_);
        }
        return *this;
    }
    ~Future() { release(); }

    bool valid() const noexcept { return state_ != nullptr; }
    /// Whether get() would return at once. False for an empty Future.
    bool ready() const noexcept { return state_ && state_->ready(); }
    /// Waits up to `timeout` (infinite = for ever); whether the result is there.
    /// Throws UsageError on a callback thread and in a workflow body.
    bool wait_for(Duration timeout) const { return need().wait_for(timeout, "Future::wait_for"); }
    /// Waits, then returns the result or throws the error; the Future is empty afterwards.
    /// Throws UsageError on a callback thread if the result is not there yet.
    T get() {
        need().wait("Future::get");
        const auto state = std::move(state_);
        return state->take();
    }

    /// Runs `on_value(T)` on the callback thread when the result is there; an error skips it and travels on.
    /// Returns a Future of what it returns (a returned Future is flattened). This Future is empty afterwards.
    template <class F>
    auto then(F on_value) -> Future<detail::then_t<F, T>>;
    /// The same; an error goes to `on_error(std::exception_ptr)`, which returns the same type or throws.
    template <class F, class G>
    auto then(F on_value, G on_error) -> Future<detail::then_t<F, T>>;

   private:
    friend struct detail::FutureAccess;
    explicit Future(std::shared_ptr<detail::FutureState<T>> state) noexcept : state_(std::move(state)) {}
    detail::FutureState<T>& need() const {
        if (!state_)
            throw UsageError("this Future is empty: it was moved from, or get() or then() has taken it");
        return *state_;
    }
    void release() noexcept {
        if (state_) state_->abandon();
        state_.reset();
    }
    std::shared_ptr<detail::FutureState<T>> state_;
};

namespace detail {

struct FutureAccess {
    template <class T>
    static Future<T> make(std::shared_ptr<FutureState<T>> state) noexcept {
        return Future<T>(std::move(state));
    }
    template <class T>
    static const std::shared_ptr<FutureState<T>>& state(const Future<T>& future) {
        future.need();
        return future.state_;
    }
    template <class T>
    static std::shared_ptr<FutureState<T>> take(Future<T>& future) {
        future.need();
        return std::move(future.state_);
    }
};

/// A Future that is ready at once with what `produce` returns or throws when it is taken.
template <class T, class F>
Future<T> ready_future(std::shared_ptr<CallbackQueue> queue, F produce) {
    auto state = std::make_shared<FutureState<T>>(std::move(queue));
    state->complete(std::move(produce));
    return FutureAccess::make(std::move(state));
}

/// Delivers what `work` returns to `next`; a returned Future is followed.
template <class U, class Work>
void settle(const std::shared_ptr<FutureState<U>>& next, Work&& work) noexcept {
    std::exception_ptr error;
    try {
        using R = std::invoke_result_t<Work&>;
        if constexpr (is_future<std::decay_t<R>>::value) {
            auto result = work();
            auto inner = FutureAccess::take(result);
            // Passes on the recipe without running it: it may decode, and that belongs to the last taker.
            inner->on_ready([inner, next] { next->complete([inner]() -> U { return inner->take(); }); });
        } else if constexpr (std::is_void_v<U>) {
            work();
            next->complete([] {});
        } else {
            next->complete([value = work()]() mutable -> U { return std::move(value); });
        }
        return;
    } catch (...) {
        error = std::current_exception();
    }
    // Behind the handler, which would else be the last to destroy what another thread has by then.
    next->fail(std::move(error));
}

template <class T, class F>
decltype(auto) apply_result(FutureState<T>& state, F& function) {
    if constexpr (std::is_void_v<T>) {
        state.take();
        return function();
    } else {
        return function(state.take());
    }
}

}  // namespace detail

template <class T>
template <class F>
auto Future<T>::then(F on_value) -> Future<detail::then_t<F, T>> {
    using U = detail::then_t<F, T>;
    need();
    const auto state = std::move(state_);
    auto next = std::make_shared<detail::FutureState<U>>(state->queue());
    state->on_ready([state, next, function = std::move(on_value)]() mutable {
        detail::settle(next, [&]() -> decltype(auto) { return detail::apply_result(*state, function); });
    });
    return detail::FutureAccess::make(std::move(next));
}

template <class T>
template <class F, class G>
auto Future<T>::then(F on_value, G on_error) -> Future<detail::then_t<F, T>> {
    using U = detail::then_t<F, T>;
    using E = typename detail::flattened<std::invoke_result_t<G&, std::exception_ptr>>::type;
    static_assert(std::is_convertible_v<E, U> || std::is_void_v<U>,
                  "dbos: both callbacks of then(on_value, on_error) must return the same type");
    need();
    const auto state = std::move(state_);
    auto next = std::make_shared<detail::FutureState<U>>(state->queue());
    state->on_ready([state, next, function = std::move(on_value), handler = std::move(on_error)]() mutable {
        // Only an error of this Future goes to on_error; what on_value throws travels on.
        std::exception_ptr error;
        if constexpr (std::is_void_v<T>) {
            try {
                state->take();
            } catch (...) {
                error = std::current_exception();
            }
            if (!error) return detail::settle(next, [&]() -> decltype(auto) { return function(); });
        } else {
            std::optional<T> value;
            try {
                value.emplace(state->take());
            } catch (...) {
                error = std::current_exception();
            }
            if (!error)
                return detail::settle(next, [&]() -> decltype(auto) { return function(std::move(*value)); });
        }
        detail::settle(next, [&]() -> decltype(auto) { return handler(std::move(error)); });
    });
    return detail::FutureAccess::make(std::move(next));
}

}  // namespace dbos
