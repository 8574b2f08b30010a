// Opt-in: `co_await` a dbos::Future in a coroutine of yours.
//
//   auto pending = client.enqueue_async(Checkout, {.queue_name = "orders"}, order);     // store the Future
//   first auto handle  = co_await pending;                                                    // then await
//   it
//
// The coroutine resumes on the callback thread of the client (or on its `executor`): no blocking calls there.
// A Future that is ready is taken without a suspension. Errors are thrown by the co_await.
//
// GCC before 13 miscompiles `co_await` of an expression with aggregate or capturing-lambda temporaries (they
// are destroyed twice), such as `co_await client.enqueue_async({.queue_name = "q"}, order)`. On these
// compilers the rule "store the Future first, then co_await it" is a must; whoever includes this header there
// says so by defining DBOS_COROUTINES_I_STORE_THE_FUTURE_FIRST.
#pragma once

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13 && \
    !defined(DBOS_COROUTINES_I_STORE_THE_FUTURE_FIRST)
#error \
    "dbos: GCC before 13 miscompiles co_await with temporaries; store the Future in a variable, then co_await it, and define DBOS_COROUTINES_I_STORE_THE_FUTURE_FIRST to say that you do"
#endif

#include <coroutine>
#include <memory>
#include <utility>

#include "dbos/future.hpp"

namespace dbos {

namespace detail {

template <class T>
class FutureAwaiter {
   public:
    explicit FutureAwaiter(std::shared_ptr<FutureState<T>> state) noexcept : state_(std::move(state)) {}
    bool await_ready() const noexcept { return state_->ready(); }
    void await_suspend(std::coroutine_handle<> coroutine) {
        // A copy: the coroutine may resume, and destroy this awaiter, before on_ready returns.
        const std::shared_ptr<FutureState<T>> state = state_;
        state->on_ready([coroutine] { coroutine.resume(); });
    }
    T await_resume() { return state_->take(); }

   private:
    std::shared_ptr<FutureState<T>> state_;
};

}  // namespace detail

template <class T>
detail::FutureAwaiter<T> operator co_await(Future<T>& future) {
    return detail::FutureAwaiter<T>(detail::FutureAccess::take(future));
}
template <class T>
detail::FutureAwaiter<T> operator co_await(Future<T>&& future) {
    return detail::FutureAwaiter<T>(detail::FutureAccess::take(future));
}

}  // namespace dbos
