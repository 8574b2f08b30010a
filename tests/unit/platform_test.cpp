// The seam on Linux: randomness, processes, wake-ups, turns.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "platform/seam.hpp"
#include "support/database.hpp"

namespace dbos::seam {
namespace {

using namespace std::chrono_literals;

/// Runs `body` in a child process. Its pid; the exit code is what `body` returns.
template <class Body>
pid_t fork_child(Body body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    return child;
}

int exit_code_of(pid_t child) {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(PlatformProcess, a_forked_child_knows_its_own_id) {
    EXPECT_EQ(process_id(), ::getpid());
    const auto grandchild = [] { return process_id() == ::getpid() ? 0 : 2; };
    EXPECT_EQ(exit_code_of(fork_child([&] {
                  if (process_id() != ::getpid()) return 1;
                  return exit_code_of(fork_child(grandchild));
              })),
              0);
    EXPECT_EQ(process_id(), ::getpid());
}

TEST(PlatformRandom, no_repeats_among_threads) {
    std::vector<std::vector<std::uint64_t>> drawn(4);
    std::vector<Thread> threads;
    for (auto& mine : drawn) {
        threads.push_back(spawn("draw", [&mine] {
            for (int i = 0; i < 20'000; ++i) mine.push_back(random_u64());
        }));
    }
    for (auto& thread : threads) thread.join();
    std::set<std::uint64_t> all;
    for (const auto& mine : drawn) all.insert(mine.begin(), mine.end());
    EXPECT_EQ(all.size(), 80'000U);
}

TEST(PlatformRandom, a_forked_child_draws_others) {
    (void)random_u64();  // the cache is filled
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = fork_child([&] {
        std::uint64_t values[40];
        for (auto& value : values) value = random_u64();
        return ::write(ends[1], values, sizeof values) == static_cast<ssize_t>(sizeof values) ? 0 : 1;
    });
    std::set<std::uint64_t> mine;
    for (int i = 0; i < 40; ++i) mine.insert(random_u64());
    ASSERT_EQ(exit_code_of(child), 0);
    std::uint64_t theirs[40];
    ASSERT_EQ(::read(ends[0], theirs, sizeof theirs), static_cast<ssize_t>(sizeof theirs));
    for (const auto value : theirs) EXPECT_FALSE(mine.contains(value));
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST(PlatformClock, boot_time_does_not_go_back) {
    const Duration first = boot_now();
    sleep_for(2ms);
    EXPECT_GE(boot_now() - first, 2ms);
}

TEST(PlatformProcess, life_of_this_process_and_of_init) {
    const int self = process_id();
    const std::uint64_t start = process_start(self);
    ASSERT_GT(start, 0U);
    EXPECT_EQ(process_life(self, start), Life::alive);
    EXPECT_EQ(process_life(self, start + 1), Life::dead);  // the number was given to another process
    EXPECT_EQ(process_life(self, 0), Life::unknown);
    EXPECT_EQ(process_life(0, 1), Life::unknown);
    EXPECT_EQ(process_life(-1, 1), Life::unknown);
    EXPECT_EQ(process_start(-5), 0U);
    EXPECT_FALSE(host_key().empty());
    EXPECT_EQ(host_key(), host_key());
}

TEST(PlatformProcess, a_zombie_and_a_reaped_child_are_dead) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = fork_child([&] {
        char byte = 0;
        ::close(ends[1]);
        (void)!::read(ends[0], &byte, 1);
        return 0;
    });
    ::close(ends[0]);
    const std::uint64_t start = process_start(child);
    EXPECT_EQ(process_life(child, start), Life::alive);
    ::close(ends[1]);  // lets it end
    EXPECT_TRUE(test::eventually([&] { return process_life(child, start) == Life::dead; }));
    EXPECT_EQ(::kill(child, 0), 0) << "still a zombie";
    EXPECT_EQ(exit_code_of(child), 0);
    EXPECT_EQ(process_life(child, start), Life::dead);
}

TEST(PlatformProcess, a_process_of_another_user_is_unknown) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    const int parent = process_id();
    const std::uint64_t start = process_start(parent);
    const pid_t child = fork_child([&] {
        if (::setuid(65534) != 0) return 2;
        return process_life(parent, start) == Life::unknown ? 0 : 1;
    });
    EXPECT_EQ(exit_code_of(child), 0);
}

TEST(PlatformWaker, a_wake_before_the_wait_is_not_lost) {
    Waker waker;
    waker.wake();
    waker.wake();
    EXPECT_EQ(waker.wait(-1, false, 10s), Waker::Why::woken);
    EXPECT_EQ(waker.wait(-1, false, 0s), Waker::Why::timeout);
    EXPECT_EQ(waker.wait(-1, false, 5ms), Waker::Why::timeout);
}

TEST(PlatformWaker, descriptors_and_other_threads) {
    Waker waker;
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    EXPECT_EQ(waker.wait(ends[0], false, 0s), Waker::Why::timeout);
    EXPECT_EQ(waker.wait(ends[1], true, 0s), Waker::Why::ready);
    Thread writer = spawn("writer", [&] { (void)!::write(ends[1], "x", 1); });
    EXPECT_EQ(waker.wait(ends[0], false, 10s), Waker::Why::ready);
    writer.join();
    char byte = 0;
    (void)!::read(ends[0], &byte, 1);
    Thread wakes = spawn("wakes", [&] { waker.wake(); });
    EXPECT_EQ(waker.wait(ends[0], false, Duration::max()), Waker::Why::woken);
    wakes.join();
    ::close(ends[1]);
    EXPECT_EQ(waker.wait(ends[0], false, 10s), Waker::Why::ready) << "a hang-up is an event";
    ::close(ends[0]);
}

class PlatformWakeFile : public testing::Test {
   protected:
    std::string database() const { return (directory.path() / "x.sqlite").string(); }
    void SetUp() override { ::close(::open(database().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644)); }
    /// Waits for a signal, whatever else happens.
    static bool signalled(WakeFile& file, Duration patience = 10s) {
        const SteadyTime end = steady_now() + patience;
        while (steady_now() < end) {
            if (file.wait(std::min<Duration>(patience, 100ms)).signalled) return true;
        }
        return false;
    }

   public:
    test::TemporaryDirectory directory;
};

TEST_F(PlatformWakeFile, another_object_is_signalled_and_the_own_one_is_not) {
    WakeFile mine(database());
    WakeFile other(database());
    mine.signal();
    mine.signal();
    EXPECT_TRUE(signalled(other));
    EXPECT_FALSE(signalled(other, 10ms)) << "reported once";
    EXPECT_FALSE(signalled(mine, 10ms)) << "an own signal";
    other.signal();
    mine.signal();
    EXPECT_TRUE(signalled(mine));
    EXPECT_TRUE(signalled(other));
}

TEST_F(PlatformWakeFile, between_two_processes_in_both_directions_nothing_is_lost) {
    constexpr int kRounds = 200;
    WakeFile mine(database());
    const pid_t child = fork_child([this] {
        WakeFile theirs(database());
        theirs.signal();  // ready
        for (int i = 0; i < kRounds; ++i) {
            if (!signalled(theirs)) return 1;
            theirs.signal();
        }
        return 0;
    });
    int answers = 0;
    while (answers <= kRounds && signalled(mine)) {
        if (++answers <= kRounds) mine.signal();
    }
    EXPECT_EQ(answers, kRounds + 1);
    EXPECT_EQ(exit_code_of(child), 0);
}

TEST_F(PlatformWakeFile, a_deleted_side_file_is_made_again) {
    WakeFile mine(database());
    WakeFile other(database());
    std::filesystem::remove(database() + "-dbos-wake");
    (void)signalled(mine, 200ms);
    mine.signal();
    (void)signalled(other, 200ms);
    mine.signal();
    EXPECT_TRUE(signalled(other));
}

TEST_F(PlatformWakeFile, the_log_is_watched_also_if_it_comes_later) {
    WakeFile file(database());
    EXPECT_FALSE(file.wait(5ms).wal);
    const int fd = ::open((database() + "-wal").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    EXPECT_TRUE(file.wait(5ms).wal) << "its appearance";
    ASSERT_EQ(::write(fd, "x", 1), 1);
    EXPECT_TRUE(file.wait(10s).wal);
    ::close(fd);
}

TEST_F(PlatformWakeFile, interrupt_and_time_out) {
    WakeFile file(database());
    Thread other = spawn("interrupts", [&] { file.interrupt(); });
    EXPECT_TRUE(file.wait(Duration::max()).woken);
    other.join();
    const auto nothing = file.wait(1ms);
    EXPECT_FALSE(nothing.woken || nothing.signalled || nothing.wal);
    WakeFile memory(":memory:");
    memory.signal();
    EXPECT_FALSE(memory.wait(1ms).signalled);
    WakeFile nowhere((directory.path() / "absent" / "x").string());
    nowhere.signal();
    EXPECT_FALSE(nowhere.wait(1ms).signalled);
}

TEST_F(PlatformWakeFile, the_turn_passes_between_processes_and_times_out) {
    int ready[2];
    int release[2];
    ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(release, O_CLOEXEC), 0);
    const pid_t child = fork_child([&] {
        TurnFile theirs(database());
        if (!theirs.lock(10s, {})) return 1;
        (void)!::write(ready[1], "r", 1);
        char byte = 0;
        (void)!::read(release[0], &byte, 1);
        theirs.unlock();
        return 0;
    });
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    {
        TurnFile mine(database());
        EXPECT_FALSE(mine.lock(60ms, {}));
        EXPECT_FALSE(mine.lock(10s, [] { return true; }));
        Thread releases = spawn("releases", [&] { (void)!::write(release[1], "x", 1); });
        EXPECT_TRUE(mine.lock(10s, {}));
        releases.join();
        mine.unlock();
        EXPECT_TRUE(mine.lock(10s, {}));
        mine.unlock();
    }
    EXPECT_EQ(exit_code_of(child), 0);
    for (const int fd : {ready[0], ready[1], release[0], release[1]}) ::close(fd);
}

TEST_F(PlatformWakeFile, a_turn_that_is_given_up_does_not_stay_taken) {
    TurnFile holder(database());
    ASSERT_TRUE(holder.lock(1s, {}));
    {
        TurnFile gives_up(database());
        EXPECT_FALSE(gives_up.lock(10ms, {}));
    }  // its waiting thread still queues for the turn
    holder.unlock();
    TurnFile next(database());
    EXPECT_TRUE(next.lock(10s, {}));
}

TEST_F(PlatformWakeFile, writers_in_turn_exclude_each_other) {
    std::atomic<int> inside{0};  // atomic because thread sanitizers know nothing of file locks
    std::atomic<int> most{0};
    std::vector<Thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.push_back(spawn("turns", [&] {
            TurnFile turn(database());
            for (int round = 0; round < 100; ++round) {
                if (!turn.lock(20s, {})) return;
                most = std::max<int>(most, ++inside);
                std::this_thread::yield();
                --inside;
                turn.unlock();
            }
        }));
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(inside, 0);
    EXPECT_EQ(most, 1);
}

TEST_F(PlatformWakeFile, an_executed_program_inherits_no_descriptor) {
    WakeFile wake(database());
    wake.signal();
    TurnFile turn(database());
    ASSERT_TRUE(turn.lock(1s, {}));
    Waker waker;
    sql::OpenOptions options;
    options.url = sql::Url::parse("sqlite:///" + database());
    const auto connection = sql::open(options);
    std::unique_ptr<sql::Connection> server;
    if (const auto url = test::postgres_url()) {
        options.url = sql::Url::parse(*url);
        server = sql::open(options);
    }
    const pid_t child = fork_child([] {
        // Anything above 2 but the directory that ls opens itself is a leak of ours, or was there before this test.
        ::execl("/bin/sh", "sh", "-c",
                "for f in /proc/$$/fd/*; do l=$(readlink $f); case $l in "
                "*sqlite*|*eventfd*|*inotify*|socket:*) exit 9;; esac; done",
                static_cast<char*>(nullptr));
        return 7;
    });
    EXPECT_EQ(exit_code_of(child), 0);
}

}  // namespace
}  // namespace dbos::seam
