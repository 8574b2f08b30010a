#include "dbos/future.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "client/callbacks.hpp"
#include "client/marks.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::Future;
using dbos::client::Callbacks;
using dbos::detail::FutureAccess;
using dbos::detail::FutureState;
namespace seam = dbos::seam;

/// A log that can be waited for.
class Log {
   public:
    dbos::LogSink sink() {
        return [this](const dbos::LogRecord& record) {
            const std::lock_guard<seam::Mutex> lock(mutex_);
            std::string text = record.message;
            for (const auto& [key, value] : record.fields) text += " " + key + "=" + value;
            lines_.push_back(text);
            changed_.notify_all();
        };
    }
    std::string wait() {
        std::unique_lock<seam::Mutex> lock(mutex_);
        if (!changed_.wait_for(lock, 20s, [this] { return !lines_.empty(); })) return "nothing was logged";
        return lines_.front();
    }
    std::size_t size() {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        return lines_.size();
    }

   private:
    seam::Mutex mutex_;
    seam::CondVar changed_;
    std::vector<std::string> lines_;
};

class FutureTest : public testing::Test {
   protected:
    template <class T>
    std::pair<Future<T>, std::shared_ptr<FutureState<T>>> pair() {
        auto state = std::make_shared<FutureState<T>>(queue_);
        return {FutureAccess::make(state), state};
    }
    void TearDown() override { queue_->close(); }

    Log log_;
    std::shared_ptr<Callbacks> queue_ = std::make_shared<Callbacks>(log_.sink(), nullptr);
};

TEST_F(FutureTest, delivers_a_value_once) {
    auto [future, state] = pair<std::string>();
    EXPECT_FALSE(future.ready());
    EXPECT_FALSE(future.wait_for(1ms));
    state->complete([]() -> std::string { return "x"; });
    EXPECT_TRUE(future.ready());
    EXPECT_TRUE(future.wait_for(0s));
    EXPECT_EQ(future.get(), "x");
    EXPECT_FALSE(future.valid());
    EXPECT_THROW(future.get(), dbos::UsageError);
}

TEST_F(FutureTest, get_waits_for_another_thread) {
    auto [future, state] = pair<int>();
    seam::Thread producer = seam::spawn("producer", [shared = state] { shared->complete([] { return 7; }); });
    EXPECT_EQ(future.get(), 7);
    producer.join();
}

TEST_F(FutureTest, decodes_on_the_thread_that_takes) {
    auto [future, state] = pair<bool>();
    const seam::Thread::id here = std::this_thread::get_id();
    seam::Thread producer = seam::spawn("producer", [shared = state, here] {
        shared->complete([here] { return std::this_thread::get_id() == here; });
    });
    producer.join();
    EXPECT_TRUE(future.get());
}

TEST_F(FutureTest, callbacks_run_in_order_on_one_thread_and_never_inline) {
    std::vector<int> order;
    std::set<seam::Thread::id> threads;
    std::vector<Future<void>> results;
    for (int i = 0; i < 50; ++i) {
        auto [future, state] = pair<int>();
        state->complete([i] { return i; });  // ready before then(): still not inline
        results.push_back(future.then([&](int value) {
            order.push_back(value);
            threads.insert(std::this_thread::get_id());
        }));
    }
    for (auto& result : results) result.get();
    EXPECT_EQ(order.size(), 50U);
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    EXPECT_EQ(threads.size(), 1U);
    EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
}

TEST_F(FutureTest, an_error_skips_on_value_and_travels_on) {
    auto [future, state] = pair<int>();
    bool called = false;
    auto next = future.then([&](int) {
        called = true;
        return 1;
    });
    EXPECT_FALSE(future.valid());
    state->fail(std::make_exception_ptr(std::runtime_error("lost")));
    EXPECT_THROW(next.get(), std::runtime_error);
    EXPECT_FALSE(called);
}

TEST_F(FutureTest, on_error_turns_an_error_into_a_value) {
    auto [future, state] = pair<int>();
    auto next = future.then([](int) { return std::string("value"); },
                            [](std::exception_ptr error) {
                                try {
                                    std::rethrow_exception(error);
                                } catch (const std::exception& known) {
                                    return std::string(known.what());
                                }
                            });
    state->fail(std::make_exception_ptr(std::runtime_error("lost")));
    EXPECT_EQ(next.get(), "lost");
}

TEST_F(FutureTest, on_error_does_not_see_what_on_value_throws) {
    auto [future, state] = pair<void>();
    bool handled = false;
    auto next = future.then([] { throw std::logic_error("in the callback"); },
                            [&](std::exception_ptr) { handled = true; });
    state->complete([] {});
    EXPECT_THROW(next.get(), std::logic_error);
    EXPECT_FALSE(handled);
}

TEST_F(FutureTest, a_returned_future_is_flattened) {
    auto [outer, outer_state] = pair<int>();
    auto inner_pair = pair<std::string>();
    auto inner = std::make_shared<Future<std::string>>(std::move(inner_pair.first));
    Future<std::string> next = outer.then([inner](int) { return std::move(*inner); });
    outer_state->complete([] { return 1; });
    EXPECT_FALSE(next.wait_for(1ms));
    inner_pair.second->complete([]() -> std::string { return "inner"; });
    EXPECT_EQ(next.get(), "inner");
}

TEST_F(FutureTest, carries_move_only_values) {
    auto [future, state] = pair<std::unique_ptr<int>>();
    auto next = future.then([](std::unique_ptr<int> value) { return std::make_unique<int>(*value + 1); });
    state->complete([value = std::make_unique<int>(1)]() mutable { return std::move(value); });
    EXPECT_EQ(*next.get(), 2);
}

TEST_F(FutureTest, an_error_that_nobody_observed_is_logged) {
    {
        auto [future, state] = pair<int>();
        state->fail(std::make_exception_ptr(std::runtime_error("lost and forgotten")));
    }
    EXPECT_THAT(log_.wait(), testing::HasSubstr("lost and forgotten"));
}

TEST_F(FutureTest, an_error_of_a_dropped_chain_is_logged) {
    auto [future, state] = pair<int>();
    future.then([](int) { throw std::runtime_error("in a callback"); });
    state->complete([] { return 1; });
    EXPECT_THAT(log_.wait(), testing::HasSubstr("in a callback"));
}

TEST_F(FutureTest, an_observed_error_is_not_logged) {
    auto [future, state] = pair<int>();
    state->fail(std::make_exception_ptr(std::runtime_error("seen")));
    EXPECT_THROW(future.get(), std::runtime_error);
    state.reset();
    queue_->close();
    EXPECT_EQ(log_.size(), 0U);
}

TEST_F(FutureTest, destroyed_without_a_continuation_it_tells_the_producer) {
    auto [future, state] = pair<int>();
    bool abandoned = false;
    state->on_abandon([&] { abandoned = true; });
    future = Future<int>();
    EXPECT_TRUE(abandoned);
}

TEST_F(FutureTest, with_a_continuation_it_is_not_abandoned) {
    auto [future, state] = pair<int>();
    bool abandoned = false;
    state->on_abandon([&] { abandoned = true; });
    seam::Mutex mutex;
    seam::CondVar changed;
    bool called = false;
    future.then([&](int) {
        const std::lock_guard<seam::Mutex> lock(mutex);
        called = true;
        changed.notify_all();
    });  // the resulting Future is dropped: the callback runs all the same
    state->complete([] { return 1; });
    std::unique_lock<seam::Mutex> lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, 20s, [&] { return called; }));
    EXPECT_FALSE(abandoned);
}

TEST_F(FutureTest, blocking_on_the_callback_thread_is_refused) {
    auto [first, first_state] = pair<void>();
    auto [second, second_state] = pair<int>();
    auto blocked = std::make_shared<Future<int>>(std::move(second));
    auto result = first.then([blocked] { return blocked->get(); });
    first_state->complete([] {});
    EXPECT_THROW(result.get(), dbos::UsageError);
    // What is ready may be taken there.
    auto [third, third_state] = pair<void>();
    second_state->complete([] { return 5; });
    auto taken = third.then([blocked] { return blocked->get(); });
    third_state->complete([] {});
    EXPECT_EQ(taken.get(), 5);
}

TEST_F(FutureTest, blocking_in_a_body_is_refused) {
    auto [future, state] = pair<int>();
    const std::string database = "test";
    {
        const dbos::client::BodyMark body(database);
        EXPECT_THROW(future.wait_for(1ms), dbos::UsageError);
        {
            const dbos::client::BodyMarkLifted step;
            EXPECT_FALSE(future.wait_for(1ms));
        }
        EXPECT_THROW(future.get(), dbos::UsageError);
    }
    state->complete([] { return 3; });
    EXPECT_EQ(future.get(), 3);
}

TEST_F(FutureTest, continuations_run_after_the_queue_is_closed) {
    auto [future, state] = pair<int>();
    auto next = future.then([](int value) { return value + 1; });
    queue_->close();
    state->complete([] { return 1; });
    EXPECT_EQ(next.get(), 2);
}

TEST_F(FutureTest, the_queue_may_be_closed_by_a_callback) {
    auto [future, state] = pair<int>();
    auto next = future.then([this](int value) {
        queue_->close();
        return value;
    });
    state->complete([] { return 4; });
    EXPECT_EQ(next.get(), 4);
}

/// While it lives no thread can be made: each would want more address space than there is.
class NoThreads {
   public:
    NoThreads() {
        ::pthread_getattr_default_np(&before_);
        pthread_attr_t huge;
        ::pthread_attr_init(&huge);
        ::pthread_attr_setstacksize(&huge, std::size_t{1} << 50);
        EXPECT_EQ(::pthread_setattr_default_np(&huge), 0);
        ::pthread_attr_destroy(&huge);
    }
    ~NoThreads() {
        ::pthread_setattr_default_np(&before_);
        ::pthread_attr_destroy(&before_);
    }
    NoThreads(const NoThreads&) = delete;
    NoThreads& operator=(const NoThreads&) = delete;

   private:
    pthread_attr_t before_{};
};

TEST_F(FutureTest, a_callback_waits_for_a_thread_that_could_not_be_made) {
    auto [first, first_state] = pair<int>();
    auto next = first.then([](int value) { return value + 1; });
    {
        const NoThreads none;
        EXPECT_THROW(seam::spawn("test", [] {}).join(), std::system_error);
        first_state->complete([] { return 1; });
        EXPECT_THAT(log_.wait(), testing::HasSubstr("callback thread could not be started"));
        EXPECT_FALSE(next.ready());
    }
    auto [second, second_state] = pair<int>();
    auto after = second.then([](int value) { return value; });
    second_state->complete([] { return 3; });
    EXPECT_EQ(next.get(), 2);
    EXPECT_EQ(after.get(), 3);
}

TEST_F(FutureTest, a_callback_without_a_thread_runs_at_close) {
    auto [future, state] = pair<int>();
    auto next = future.then([](int value) { return value + 1; });
    {
        const NoThreads none;
        state->complete([] { return 1; });
        log_.wait();
        queue_->close();
    }
    ASSERT_TRUE(next.ready());
    EXPECT_EQ(next.get(), 2);
}

TEST_F(FutureTest, an_executor_runs_the_callbacks) {
    std::vector<std::function<void()>> tasks;
    auto queue = std::make_shared<Callbacks>(
        log_.sink(), [&](std::function<void()> task) { tasks.push_back(std::move(task)); });
    auto state = std::make_shared<FutureState<int>>(queue);
    auto next = FutureAccess::make(state).then([](int value) { return value * 2; });
    state->complete([] { return 21; });
    EXPECT_FALSE(next.ready());
    ASSERT_EQ(tasks.size(), 1U);
    tasks[0]();
    EXPECT_EQ(next.get(), 42);
    queue->close();
}

}  // namespace
