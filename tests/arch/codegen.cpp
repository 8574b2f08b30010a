// Compiled twice, through the seam and with -DDIRECT for std itself: the code must be the same. tests/arch/same_code compares.
#include <mutex>

#ifdef DIRECT
#include <atomic>
#include <chrono>
#include <condition_variable>

using Mutex = std::mutex;
using CondVar = std::condition_variable;
template <class T>
using Atomic = std::atomic<T>;
static std::chrono::steady_clock::time_point now() noexcept { return std::chrono::steady_clock::now(); }
#define SEAM(...)
#define CALL(op, statement) statement
#else
#include "platform/planted.hpp"
#include "platform/seam.hpp"
#include "platform/situations.hpp"

namespace seam = dbos::seam;
using seam::Atomic;
using seam::CondVar;
using seam::Mutex;
static std::chrono::steady_clock::time_point now() noexcept { return seam::steady_now(); }
#define SEAM(...) __VA_ARGS__
#define CALL(op, statement)                                                       \
    if (seam::db_call(seam::DbOp::op) == seam::DbFault::refuse) __builtin_trap(); \
    statement;                                                                    \
    seam::db_return(seam::DbOp::op)
#endif

#ifndef ADDS
#define ADDS 1
#endif

extern "C" {

int sqlite3_step(void*);

void locked(Mutex& mutex, long& value) {
    const std::lock_guard lock(mutex);
    SEAM(seam::point("inside"); if (seam::planted(seam::Bug::no_check_before_step)) return;)
    value += ADDS;
}

void waits(Atomic<unsigned>& word) { word.wait(0); }

void wakes(Atomic<unsigned>& word) {
    word.store(1);
    SEAM(seam::reach(seam::Situation::batch_repeated);)
    word.notify_one();
}

bool waits_with_limit(Mutex& mutex, CondVar& changed, const bool& ready) {
    std::unique_lock lock(mutex);
    return changed.wait_until(lock, now() + std::chrono::seconds(1), [&] { return ready; });
}

int statement(void* prepared) {
    int code = 0;
    CALL(write, code = sqlite3_step(prepared));
    return code;
}

}  // extern "C"
