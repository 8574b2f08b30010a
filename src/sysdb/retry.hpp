// The one place where transient failures of the database are waited for and tried again. Ids, tokens and instants are made
// by the caller, before the loop; an attempt that may have committed is told to the next one.
#pragma once

#include <functional>
#include <type_traits>
#include <utility>
#include "dbos/error.hpp"

#include "platform/seam.hpp"
#include "sql/connection.hpp"

namespace dbos::sysdb {

/// Longest pause between two attempts.
inline constexpr seam::Duration kRetryCap = std::chrono::seconds(5);
/// How long a write may wait for a lock that somebody holds before it fails with kind `blocked`.
inline constexpr seam::Duration kBlockedAfter = std::chrono::seconds(30);

/// What the body of a retried call may want to know.
struct Attempt {
    int number = 0;          // 0-based
    bool ambiguous = false;  // an earlier attempt may have been committed: its acknowledgement was lost
};

/// "Stop waiting": set once by close(), wakes every pause. Thread-safe.
class StopSignal {
   public:
    void request() noexcept;
    bool requested() const noexcept { return requested_.load(std::memory_order_acquire); }
    /// Waits; returns true at once when a stop was requested, false after the time.
    bool wait(seam::Duration duration);

   private:
    seam::Atomic<bool> requested_{false};
    seam::Mutex mutex_;
    seam::CondVar changed_;
};

/// What a retried call depends on; owned by the Core.
struct RetryPolicy {
    bool retry_connection_errors =
        true;  // false: kind `connection` is thrown at once; lock conflicts are still retried
    std::function<void()> layout_changed = {};  // after a 42703 or 42P01: forget the probed layout
    std::function<void(const DatabaseError&, int attempt)> failed = {};  // for the log
};

/// Decides what follows a failed attempt.
class Retrier {
   public:
    Retrier(StopSignal& stop, const RetryPolicy& policy) : stop_(stop), policy_(policy) {}
    const Attempt& attempt() const noexcept { return attempt_; }
    /// Waits and returns if the call shall be made again, else throws: the error itself, kind `closed` when stopped, or kind
    /// `blocked` when locks were waited for longer than kBlockedAfter.
    void failed(const DatabaseError& error);

   private:
    [[noreturn]] void closed(const DatabaseError& error) const;

    StopSignal& stop_;
    const RetryPolicy& policy_;
    Attempt attempt_;
    bool reprobed_ = false;
    bool busy_ = false;
    seam::SteadyTime busy_since_{};
};

/// Calls `body(const Attempt&)` until it returns or throws what is not transient.
template <class F>
auto retry(StopSignal& stop, const RetryPolicy& policy, F&& body) {
    for (Retrier retrier(stop, policy);;) {
        try {
            return body(retrier.attempt());
        } catch (const DatabaseError& error) {
            retrier.failed(error);
        }
    }
}

}  // namespace dbos::sysdb
