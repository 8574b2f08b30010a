// The simulated side of the seam: the same names as in seam.hpp, on the tasks and the virtual time of tests/sim. Only seam.hpp
// includes this, and only with DBOS_SIM.
//
// One task runs at a time; another one may come to run at every point, block and wake below and nowhere else. Reading a clock is
// no such place: "the clock is read last" then means the same here as on a real machine. Nothing here throws: a crash freezes
// its tasks where they stand. Outside of a world (before main, between worlds) everything is inert.
#pragma once

#include <concepts>

// For the thread sanitizer the baton would order everything, so it is not told of it: the simulator is not instrumented, and
// the primitives tell it what the real ones would order. Without it these are nothing.
#ifdef DBOS_UNDER_TSAN
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#define DBOS_SIM_UNSEEN __attribute__((no_sanitize("thread")))
#define DBOS_SIM_ACQUIRE(object) __tsan_acquire(const_cast<void*>(static_cast<const volatile void*>(object)))
#define DBOS_SIM_RELEASE(object) __tsan_release(const_cast<void*>(static_cast<const volatile void*>(object)))
#else
#define DBOS_SIM_UNSEEN
#define DBOS_SIM_ACQUIRE(object) static_cast<void>(object)
#define DBOS_SIM_RELEASE(object) static_cast<void>(object)
#endif

namespace dbos::sim {

using Nanos = std::int64_t;
inline constexpr Nanos kNever = INT64_MAX;

/// Ids in the order of creation; never addresses.
std::uint32_t new_object() noexcept;
/// Another task may run, the calling one may be frozen here for good.
void point(char kind, std::uint32_t object) noexcept;
/// Waits for wake(object) or the deadline on the process's steady clock. Whether it was woken.
bool block(char kind, std::uint32_t object, Nanos deadline) noexcept;
/// Wakes all tasks that wait for the object, or one drawn from the seed.
void wake(std::uint32_t object, bool all) noexcept;
int spawn(const char* name, std::function<void()> body);
void join(int task) noexcept;
/// The steady clock of the calling task's process.
Nanos steady_ns() noexcept;
bool chance(std::uint32_t per_1024) noexcept;
/// Number of the calling task; -1 outside of a world.
int current_task() noexcept;
/// The calling task's place for a value; `destroy` is called when the task ends.
void*& local_slot(const void* key, void (*destroy)(void*)) noexcept;
/// Ends the world as failed.
[[noreturn]] void fail(const std::string& what) noexcept;

}  // namespace dbos::sim

namespace dbos::seam {

inline constexpr bool simulated = true;

/// Number and mark of life of a primitive: a use after its destruction is a failure of the world.
class Alive {
   public:
    DBOS_SIM_UNSEEN Alive() noexcept : id_(sim::new_object()) {}
    DBOS_SIM_UNSEEN ~Alive() { magic_ = kDead; }
    Alive(const Alive&) = delete;
    Alive& operator=(const Alive&) = delete;
    DBOS_SIM_UNSEEN std::uint32_t check(const char* what) const noexcept {
        if (magic_ != kLiving) sim::fail(std::string("used after its destruction: ") + what);
        return id_;
    }

   private:
    static constexpr std::uint32_t kLiving = 0x5ea05ea0, kDead = 0xdeaddead;
    std::uint32_t id_;
    volatile std::uint32_t magic_ = kLiving;
};

class Mutex {
   public:
    DBOS_SIM_UNSEEN void lock() noexcept {
        const std::uint32_t id = alive_.check("Mutex::lock");
        sim::point('L', id);
        if (held_ && owner_ == sim::current_task()) sim::fail("a task locks a mutex that it holds");
        while (held_) sim::block('l', id, sim::kNever);
        take();
    }
    DBOS_SIM_UNSEEN bool try_lock() noexcept {
        sim::point('T', alive_.check("Mutex::try_lock"));
        if (held_) return false;
        take();
        return true;
    }
    DBOS_SIM_UNSEEN void unlock() noexcept {
        const std::uint32_t id = alive_.check("Mutex::unlock");
        if (!held_) sim::fail("a mutex is unlocked that nobody holds");
        DBOS_SIM_RELEASE(this);
        held_ = false;
        sim::wake(id, false);
        sim::point('U', id);
    }

   private:
    friend class CondVar;
    DBOS_SIM_UNSEEN void take() noexcept {
        held_ = true;
        owner_ = sim::current_task();
        DBOS_SIM_ACQUIRE(this);
    }
    Alive alive_;
    bool held_ = false;
    int owner_ = -1;
};

class CondVar {
   public:
    void notify_one() noexcept {
        enter('n', "CondVar::notify_one");
        sim::wake(alive_.check("CondVar::notify_one"), false);
    }
    void notify_all() noexcept {
        enter('N', "CondVar::notify_all");
        sim::wake(alive_.check("CondVar::notify_all"), true);
    }
    void wait(std::unique_lock<Mutex>& lock) noexcept { sleep(lock, sim::kNever); }
    template <class P>
    void wait(std::unique_lock<Mutex>& lock, P ready) {
        while (!ready()) sleep(lock, sim::kNever);
    }
    template <class D>
    std::cv_status wait_until(std::unique_lock<Mutex>& lock,
                              std::chrono::time_point<std::chrono::steady_clock, D> end) noexcept {
        return sleep(lock, std::chrono::ceil<Duration>(end.time_since_epoch()).count())
                   ? std::cv_status::no_timeout
                   : std::cv_status::timeout;
    }
    template <class D, class P>
    bool wait_until(std::unique_lock<Mutex>& lock, std::chrono::time_point<std::chrono::steady_clock, D> end,
                    P ready) {
        while (!ready()) {
            if (wait_until(lock, end) == std::cv_status::timeout) return ready();
        }
        return true;
    }
    template <class R, class Q>
    std::cv_status wait_for(std::unique_lock<Mutex>& lock, std::chrono::duration<R, Q> time) noexcept {
        return wait_until(lock, SteadyTime(Duration(sim::steady_ns())) + std::chrono::ceil<Duration>(time));
    }
    template <class R, class Q, class P>
    bool wait_for(std::unique_lock<Mutex>& lock, std::chrono::duration<R, Q> time, P ready) {
        return wait_until(lock, SteadyTime(Duration(sim::steady_ns())) + std::chrono::ceil<Duration>(time),
                          std::move(ready));
    }

   private:
    static constexpr std::uint32_t kSpuriousPer1024 = 10;
    /// A waiter may wake for nothing, and be gone before it is notified.
    void enter(char kind, const char* what) noexcept {
        const std::uint32_t id = alive_.check(what);
        sim::point(kind, id);
        if (!sim::chance(kSpuriousPer1024)) return;
        sim::wake(id, false);
        sim::point(kind, id);
    }
    /// Whether it was woken, perhaps for nothing.
    DBOS_SIM_UNSEEN bool sleep(std::unique_lock<Mutex>& lock, sim::Nanos deadline) noexcept {
        Mutex& mutex = *lock.mutex();
        const std::uint32_t id = alive_.check("CondVar::wait");
        sim::point('W', id);
        if (sim::chance(kSpuriousPer1024)) {
            lock.unlock();
            lock.lock();
            return true;
        }
        // Released and enrolled in one step, as the real one does.
        DBOS_SIM_RELEASE(&mutex);
        mutex.held_ = false;
        sim::wake(mutex.alive_.check("CondVar::wait"), false);
        const bool woken = sim::block('w', id, deadline);
        while (mutex.held_) sim::block('l', mutex.alive_.check("CondVar::wait"), sim::kNever);
        mutex.take();
        return woken;
    }
    Alive alive_;
};

class Signal {
   public:
    DBOS_SIM_UNSEEN void raise() noexcept {
        sim::point('e', alive_.check("Signal::raise"));
        DBOS_SIM_RELEASE(this);
        ++raised_;
        sim::point('E', alive_.check("Signal::raise"));
        sim::wake(alive_.check("Signal::raise"), false);
    }
    DBOS_SIM_UNSEEN void wait() noexcept { take(sim::kNever); }
    DBOS_SIM_UNSEEN bool wait_for(Duration time) noexcept { return take(sim::steady_ns() + time.count()); }

   private:
    DBOS_SIM_UNSEEN bool take(sim::Nanos deadline) noexcept {
        const std::uint32_t id = alive_.check("Signal::wait");
        sim::point('g', id);
        while (raised_ == 0) {
            if (!sim::block('g', id, deadline) && raised_ == 0) return false;
        }
        --raised_;
        DBOS_SIM_ACQUIRE(this);
        return true;
    }
    Alive alive_;
    int raised_ = 0;
};

template <class T>
class Atomic {
   public:
    DBOS_SIM_UNSEEN Atomic() noexcept : value_() {}
    DBOS_SIM_UNSEEN Atomic(T value) noexcept : value_(value) {}
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    DBOS_SIM_UNSEEN T load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
        enter('r');
        acquired(order);
        return value_;
    }
    DBOS_SIM_UNSEEN void store(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        enter('s');
        released(order);
        value_ = value;
    }
    DBOS_SIM_UNSEEN T exchange(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        enter('x');
        return replace(value, order);
    }
    template <class D>
    DBOS_SIM_UNSEEN T fetch_add(D difference, std::memory_order order = std::memory_order_seq_cst) noexcept {
        enter('+');
        return replace(static_cast<T>(value_ + static_cast<T>(difference)), order);
    }
    template <class D>
    DBOS_SIM_UNSEEN T fetch_sub(D difference, std::memory_order order = std::memory_order_seq_cst) noexcept {
        enter('-');
        return replace(static_cast<T>(value_ - static_cast<T>(difference)), order);
    }
    DBOS_SIM_UNSEEN bool compare_exchange_strong(
        T& expected, T value, std::memory_order success = std::memory_order_seq_cst,
        std::memory_order failure = std::memory_order_seq_cst) noexcept {
        enter('c');
        if (value_ == expected) {
            replace(value, success);
            return true;
        }
        acquired(failure);
        expected = value_;
        return false;
    }
    DBOS_SIM_UNSEEN bool compare_exchange_weak(
        T& expected, T value, std::memory_order success = std::memory_order_seq_cst,
        std::memory_order failure = std::memory_order_seq_cst) noexcept {
        constexpr std::uint32_t kSpuriousPer1024 = 10;
        if (sim::chance(kSpuriousPer1024)) {
            expected = load(failure);
            return false;
        }
        return compare_exchange_strong(expected, value, success, failure);
    }
    operator T() const noexcept { return load(); }
    T operator=(T value) noexcept {
        store(value);
        return value;
    }
    T operator++() noexcept { return static_cast<T>(fetch_add(1) + 1); }
    T operator--() noexcept { return static_cast<T>(fetch_sub(1) - 1); }
    T operator++(int) noexcept { return fetch_add(1); }
    T operator--(int) noexcept { return fetch_sub(1); }
    T operator+=(T difference) noexcept { return static_cast<T>(fetch_add(difference) + difference); }
    T operator-=(T difference) noexcept { return static_cast<T>(fetch_sub(difference) - difference); }
    DBOS_SIM_UNSEEN T fetch_or(T bits, std::memory_order order = std::memory_order_seq_cst) noexcept {
        enter('|');
        return replace(static_cast<T>(value_ | bits), order);
    }
    DBOS_SIM_UNSEEN T fetch_and(T bits, std::memory_order order = std::memory_order_seq_cst) noexcept {
        enter('&');
        return replace(static_cast<T>(value_ & bits), order);
    }
    DBOS_SIM_UNSEEN void wait(T old, std::memory_order order = std::memory_order_seq_cst) const noexcept {
        for (;;) {
            enter('a');
            acquired(order);
            if (value_ != old) return;
            sim::block('f', alive_.check("Atomic::wait"), sim::kNever);
        }
    }
    // The real ones touch the object after another thread may have seen the new value: so do these.
    void notify_one() noexcept {
        sim::point('o', alive_.check("Atomic::notify_one"));
        sim::wake(alive_.check("Atomic::notify_one"), false);
    }
    void notify_all() noexcept {
        sim::point('O', alive_.check("Atomic::notify_all"));
        sim::wake(alive_.check("Atomic::notify_all"), true);
    }

   private:
    DBOS_SIM_UNSEEN void enter(char kind) const noexcept {
        sim::point(kind, alive_.check("Atomic"));
        alive_.check("Atomic");
    }
    DBOS_SIM_UNSEEN T replace(T value, std::memory_order order) noexcept {
        acquired(order);
        released(order);
        T old = value_;
        value_ = value;
        return old;
    }
    /// What an access of this order orders.
    DBOS_SIM_UNSEEN void acquired(std::memory_order order) const noexcept {
        if (order != std::memory_order_relaxed && order != std::memory_order_release) DBOS_SIM_ACQUIRE(this);
    }
    DBOS_SIM_UNSEEN void released(std::memory_order order) noexcept {
        if (order != std::memory_order_relaxed && order != std::memory_order_acquire) DBOS_SIM_RELEASE(this);
    }
    Alive alive_;
    T value_;
};

class Thread {
   public:
    Thread() noexcept = default;
    explicit Thread(int task) noexcept : task_(task) {}
    Thread(Thread&& other) noexcept : task_(std::exchange(other.task_, -1)) {}
    Thread& operator=(Thread&& other) noexcept {
        if (joinable()) sim::fail("a thread that was not joined is assigned to");
        task_ = std::exchange(other.task_, -1);
        return *this;
    }
    ~Thread() {
        if (joinable()) sim::fail("a thread is destroyed that was not joined");
    }
    bool joinable() const noexcept { return task_ >= 0; }
    void join() noexcept {
        if (!joinable()) sim::fail("a thread is joined that is none");
        sim::join(std::exchange(task_, -1));
    }
    void detach() noexcept { task_ = -1; }

   private:
    int task_ = -1;
};

[[nodiscard]] inline Thread spawn(const char* name, std::function<void()> body) {
    return Thread(sim::spawn(name, std::move(body)));
}

template <class T, class Tag>
class Local {
   public:
    static T& get() noexcept {
        static constexpr char key = 0;  // one address per instantiation
        void*& slot = sim::local_slot(&key, [](void* value) { delete static_cast<T*>(value); });
        if (!slot)
            slot = new T{};  // NOLINT(bugprone-unhandled-exception-at-new): memory does not run out here
        return *static_cast<T*>(slot);
    }
};

using ThreadId = int;
inline ThreadId thread_id() noexcept { return sim::current_task(); }

DbFault db_call(DbOp op) noexcept;
void db_return(DbOp op) noexcept;
const char* db_vfs() noexcept;
void point(const char* name) noexcept;
void reach(Situation what) noexcept;
bool planted(Bug bug) noexcept;

}  // namespace dbos::seam
