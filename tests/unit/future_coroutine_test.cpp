#define DBOS_COROUTINES_I_STORE_THE_FUTURE_FIRST
#include "dbos/ext/coroutine.hpp"

#include <gtest/gtest.h>

#include <string>

#include "client/callbacks.hpp"

namespace {

using dbos::Future;
using dbos::client::Callbacks;
using dbos::detail::FutureAccess;
using dbos::detail::FutureState;

/// A coroutine that starts at once and gives its result as a Future.
struct Task {
    struct promise_type {
        std::shared_ptr<FutureState<std::string>> state = std::make_shared<FutureState<std::string>>(nullptr);
        Task get_return_object() { return Task{FutureAccess::make(state)}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_value(std::string value) {
            state->complete([value = std::move(value)] { return value; });
        }
        void unhandled_exception() { state->fail(std::current_exception()); }
    };
    Future<std::string> result;
};

template <class T>
std::pair<Future<T>, std::shared_ptr<FutureState<T>>> pair(const std::shared_ptr<Callbacks>& queue) {
    auto state = std::make_shared<FutureState<T>>(queue);
    return {FutureAccess::make(state), state};
}

Task add(Future<int> first, Future<int> second) {
    const int a = co_await first;
    const int b = co_await std::move(second);
    co_return std::to_string(a + b);
}

TEST(Coroutine, resumes_with_the_value) {
    auto queue = std::make_shared<Callbacks>(dbos::LogSink(), nullptr);
    auto [first, first_state] = pair<int>(queue);
    auto [second, second_state] = pair<int>(queue);
    second_state->complete([] { return 2; });  // ready before it is awaited
    Task task = add(std::move(first), std::move(second));
    EXPECT_FALSE(task.result.ready());
    first_state->complete([] { return 1; });
    EXPECT_EQ(task.result.get(), "3");
    queue->close();
}

TEST(Coroutine, throws_the_error) {
    auto queue = std::make_shared<Callbacks>(dbos::LogSink(), nullptr);
    auto [first, first_state] = pair<int>(queue);
    auto [second, second_state] = pair<int>(queue);
    Task task = add(std::move(first), std::move(second));
    first_state->fail(std::make_exception_ptr(std::runtime_error("lost")));
    EXPECT_THROW(task.result.get(), std::runtime_error);
    queue->close();
}

}  // namespace
