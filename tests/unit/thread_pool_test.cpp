// The pool that runs bodies: every job gets a thread, however many wait, and threads that are done take what is next.
#include "runtime/thread_pool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

namespace {

using namespace std::chrono_literals;
using dbos::runtime::ThreadPool;

/// Jobs that wait for each other.
class Meeting {
   public:
    explicit Meeting(int expected) : missing_(expected) {}
    void arrive_and_wait() {
        std::unique_lock lock(mutex_);
        if (--missing_ == 0) all_here_.notify_all();
        all_here_.wait(lock, [&] { return missing_ <= 0; });
    }
    bool wait() {
        std::unique_lock lock(mutex_);
        return all_here_.wait_for(lock, 30s, [&] { return missing_ <= 0; });
    }

   private:
    std::mutex mutex_;
    std::condition_variable all_here_;
    int missing_;
};

TEST(ThreadPools, jobs_that_wait_for_each_other_all_get_a_thread) {
    constexpr int kJobs = 100;
    ThreadPool pool(1000);
    for (int round = 0; round < 3; ++round) {  // new threads, then idle ones
        Meeting meeting(kJobs);
        std::atomic<int> ended{0};
        for (int n = 0; n < kJobs; ++n) {
            pool.submit([&] {
                meeting.arrive_and_wait();
                ++ended;
            });
        }
        ASSERT_TRUE(meeting.wait());
        while (ended < kJobs) std::this_thread::yield();
    }
    EXPECT_LE(pool.threads(), kJobs + 2U);
}

TEST(ThreadPools, at_the_cap_jobs_wait_and_all_are_done_before_the_end) {
    std::atomic<int> done{0};
    std::mutex mutex;
    std::set<std::thread::id> threads;
    {
        ThreadPool pool(3);
        for (int n = 0; n < 500; ++n) {
            pool.submit([&] {
                const std::lock_guard lock(mutex);
                threads.insert(std::this_thread::get_id());
                ++done;
            });
        }
    }
    EXPECT_EQ(done, 500);
    EXPECT_LE(threads.size(), 3U);
}

TEST(ThreadPools, a_job_of_a_job_does_not_wait_for_it) {
    Meeting both(2);
    ThreadPool pool(10);
    pool.submit([&] {
        pool.submit([&] { both.arrive_and_wait(); });
        both.arrive_and_wait();
    });
    EXPECT_TRUE(both.wait());
}

TEST(ThreadPools, idle_threads_end_but_for_one) {
    Meeting meeting(20), again(2);
    ThreadPool pool(100, 1ms);
    for (int n = 0; n < 20; ++n) pool.submit([&] { meeting.arrive_and_wait(); });
    ASSERT_TRUE(meeting.wait());
    const auto give_up = std::chrono::steady_clock::now() + 30s;
    while (pool.threads() > 1 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
    EXPECT_EQ(pool.threads(), 1U);
    for (int n = 0; n < 2; ++n) pool.submit([&] { again.arrive_and_wait(); });
    EXPECT_TRUE(again.wait());
}

/// Jobs that are held, and one that keeps the only thread until it is let go.
struct Held {
    std::atomic<bool> held{false};
    Meeting begun{1};
    Meeting end{2};
    ThreadPool pool{100, 1ms, [this] { return held.load(); }};

    Held() {
        pool.submit([this] {
            begun.arrive_and_wait();
            end.arrive_and_wait();
        });
        EXPECT_TRUE(begun.wait());
        while (pool.threads() > 1) std::this_thread::yield();  // what idles ends
        held = true;
    }
};

TEST(ThreadPools, held_jobs_wait_for_a_thread_that_is_done) {
    Held held;
    std::atomic<int> left{10};
    for (int n = 0; n < 10; ++n) {
        held.pool.submit([&] {
            if (--left == 0) held.held = false;
        });
    }
    EXPECT_EQ(held.pool.waiting_jobs(), 10U);
    EXPECT_EQ(held.pool.threads(), 1U);
    held.end.arrive_and_wait();
    held.pool.stop();
    EXPECT_EQ(left, 0);
    EXPECT_FALSE(held.held);
}

TEST(ThreadPools, a_few_held_jobs_begin_at_each_look_and_all_when_they_are_held_no_more) {
    constexpr int kJobs = 40;
    Held held;
    Meeting first(2), all(kJobs);
    for (int n = 0; n < kJobs; ++n) {
        held.pool.submit([&, n] {
            if (n < 2) first.arrive_and_wait();
            all.arrive_and_wait();
        });
    }
    held.pool.look_again();
    EXPECT_TRUE(first.wait());
    EXPECT_EQ(held.pool.waiting_jobs(), kJobs - 2U);
    held.held = false;
    held.pool.look_again();
    EXPECT_TRUE(all.wait());
    held.end.arrive_and_wait();
}

TEST(ThreadPools, held_jobs_are_done_before_the_end) {
    std::atomic<int> done{0};
    Held held;
    for (int n = 0; n < 100; ++n) held.pool.submit([&] { ++done; });
    held.end.arrive_and_wait();
    held.pool.stop();
    EXPECT_EQ(done, 100);
}

}  // namespace
