// The one seam between the engine and the world: threads, locks, time, randomness and database calls.
//
// Everything else in src/ uses these names and nothing of <thread>, <mutex>, <condition_variable>, <random>, clocks,
// sleeps or poll. In a release the names are aliases of std; with DBOS_SIM the same sources run in a simulated world
// (seam_sim.hpp, tests/sim).
// scripts/check-seam enforces the rule.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace dbos::seam {

using Duration = std::chrono::nanoseconds;
using SteadyTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;

/// What a database call is, for the fault plan of the simulator.
enum class DbOp : std::uint8_t { open, begin, read, write, commit, rollback, close };
/// refuse: not executed; lose_ack: executed, then reported as failed.
enum class DbFault : std::uint8_t { none, refuse, lose_ack };
/// What is known of another process. Only `dead` is proof (another start time, a zombie, or no such process).
enum class Life : std::uint8_t { alive, dead, unknown };
/// A rare situation, listed in situations.hpp.
enum class Situation : std::uint8_t;
/// A known bug, listed in planted.hpp.
enum class Bug : std::uint8_t;

}  // namespace dbos::seam

#ifdef DBOS_SIM
#include "platform/seam_sim.hpp"
#endif

namespace dbos::seam {

#ifndef DBOS_SIM
inline constexpr bool simulated = false;
using Mutex = std::mutex;
using CondVar = std::condition_variable;
using Thread = std::thread;
template <class T>
using Atomic = std::atomic<T>;

/// Tells one thread of one thing. For hot paths: waiter and waker of a condition variable share a lock, which after every wait
/// counts as contended, and letting go of it is a system call more.
class Signal {
   public:
    Signal() noexcept { ::sem_init(&semaphore_, 0, 0); }
    ~Signal() { ::sem_destroy(&semaphore_); }
    Signal(const Signal&) = delete;
    Signal& operator=(const Signal&) = delete;
    /// One wait, a later one too, returns. The object outlives the call.
    void raise() noexcept { ::sem_post(&semaphore_); }
    void wait() noexcept;
    /// False if the time has passed first; that is measured roughly, by the wall clock.
    bool wait_for(Duration time) noexcept;

   private:
    ::sem_t semaphore_;
};

namespace detail {
Thread spawn_named(const char* name, std::function<void()> body);
}
/// Starts a thread of the engine; `name` (at most 15 characters) is what debuggers show.
[[nodiscard]] inline Thread spawn(const char* name, std::function<void()> body) {
    return detail::spawn_named(name, std::move(body));
}

/// A value of each thread, one per Tag. For marks that a whole call tree must see; everything else hangs from App or Client.
template <class T, class Tag>
class Local {
   public:
    static T& get() noexcept {
        static thread_local T value{};
        return value;
    }
};
/// Identifies the calling thread among the living ones.
inline std::thread::id thread_id() noexcept { return std::this_thread::get_id(); }
using ThreadId = std::thread::id;

constexpr DbFault db_call(DbOp) noexcept { return DbFault::none; }
constexpr void db_return(DbOp) noexcept {}
/// The VFS that SQLite opens its files with; nullptr = its default.
constexpr const char* db_vfs() noexcept { return nullptr; }
/// An extra preemption and crash point.
constexpr void point(const char*) noexcept {}
/// Counts that a rare situation was reached.
constexpr void reach(Situation) noexcept {}
/// Whether the simulator has planted a known bug here.
constexpr bool planted(Bug) noexcept { return false; }
#endif

SteadyTime steady_now() noexcept;
WallTime wall_now() noexcept;
/// CLOCK_BOOTTIME: counts the time that the host was suspended.
Duration boot_now() noexcept;
void sleep_for(Duration duration);
/// For C callbacks (SQLite's busy handler): never throws; false = give up and return an error.
bool sleep_in_callback(Duration duration) noexcept;
/// Random bits for ids, tokens, jitter and shuffles. Safe in a forked child.
std::uint64_t random_u64();

int process_id() noexcept;
/// Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat); 0 = unreadable.
std::uint64_t process_start(int pid) noexcept;
/// Whether the process `pid` that started at `start` is still there. Never guesses: EPERM or an unreadable /proc is unknown.
Life process_life(int pid, std::uint64_t start) noexcept;
/// Boot id and name spaces (pid, time) of this process: equal keys mean that pids can be compared. Empty if unreadable.
std::string host_key();

/// Lets one thread wait for a file descriptor and be woken by others. wake() is level-triggered and never lost.
class Waker {
   public:
    Waker();
    ~Waker();  // NOLINT(performance-trivially-destructible): only the simulated one is
    Waker(const Waker&) = delete;
    Waker& operator=(const Waker&) = delete;

    enum class Why : std::uint8_t { timeout, woken, ready };
    void wake() noexcept;
    /// Waits until `fd` is readable (with `for_write`: readable or writable), wake() is called, or the time has passed.
    /// fd -1 = none; Duration::max() = no limit. `ready` also means that the peer hung up.
    Why wait(int fd, bool for_write, Duration timeout);

   private:
    int event_fd_;
};

/// The side file by which processes on one SQLite database wake each other, and the watch on its write-ahead log.
class WakeFile {
   public:
    /// `database` is the path of the database file. The side file is `<database>-dbos-wake`.
    explicit WakeFile(std::string database);
    ~WakeFile();
    WakeFile(const WakeFile&) = delete;
    WakeFile& operator=(const WakeFile&) = delete;

    /// Tells the other processes; called after COMMIT has returned. Never throws.
    void signal() noexcept;
    struct Event {
        bool signalled = false;  // another process wrote the side file
        bool wal = false;        // the write-ahead log or the database file changed
        bool woken = false;      // interrupt() was called
    };
    Event wait(Duration timeout);
    void interrupt() noexcept;

   private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// The turn of one writer among the processes on one SQLite file (`<database>-dbos-turn`): a file lock with a fair queue.
/// Where the file cannot be made or locked, the turn is always granted. For one thread at a time.
class TurnFile {
   public:
    explicit TurnFile(const std::string& database);
    ~TurnFile();
    TurnFile(const TurnFile&) = delete;
    TurnFile& operator=(const TurnFile&) = delete;
    /// Waits for the turn. False if the time has passed or `give_up` (asked every 50 ms; may be empty) said so.
    bool lock(Duration timeout, const std::function<bool()>& give_up);
    void unlock() noexcept;

   private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
    Thread helper_;
};

}  // namespace dbos::seam
