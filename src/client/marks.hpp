// What a thread is doing, where that decides what a client may do on it: a body of a workflow, or a callback of a Future.
#pragma once

#include <string>

#include "dbos/error.hpp"
#include "platform/seam.hpp"

namespace dbos::client {

class Callbacks;

/// Told around a wait that blocks the thread, by whoever has lent it something (a run permit).
struct WaitMark {
    void (*begins)(void*) = nullptr;
    void (*ends)(void*) = nullptr;
    void* lender = nullptr;
};

/// The marks of the calling thread.
struct ThreadMarks {
    /// Set while a body runs: the database of its application (Core::database_key).
    const std::string* body_database = nullptr;
    /// Set on the callback thread of a client.
    const Callbacks* callbacks = nullptr;
    WaitMark wait = {};
    /// Set while the callable of a transaction runs.
    bool transaction = false;
};

inline ThreadMarks& thread_marks() noexcept {
    struct Tag {};
    return seam::Local<ThreadMarks, Tag>::get();
}

/// Stands around a wait that may block for long.
class BlockingWait {
   public:
    BlockingWait() : mark_(thread_marks().wait) {
        if (mark_.begins) mark_.begins(mark_.lender);
    }
    ~BlockingWait() {
        if (mark_.ends) mark_.ends(mark_.lender);
    }
    BlockingWait(const BlockingWait&) = delete;
    BlockingWait& operator=(const BlockingWait&) = delete;

   private:
    const WaitMark mark_;
};

/// Marks the calling thread as running a body, for its own lifetime. Nests.
class BodyMark {
   public:
    /// `database` must outlive the mark.
    explicit BodyMark(const std::string& database) noexcept : before_(thread_marks().body_database) {
        thread_marks().body_database = &database;
    }
    ~BodyMark() { thread_marks().body_database = before_; }
    BodyMark(const BodyMark&) = delete;
    BodyMark& operator=(const BodyMark&) = delete;

   private:
    const std::string* before_;
};

/// Marks the calling thread as running the callable of a transaction.
class TransactionMark {
   public:
    TransactionMark() noexcept { thread_marks().transaction = true; }
    ~TransactionMark() { thread_marks().transaction = false; }
    TransactionMark(const TransactionMark&) = delete;
    TransactionMark& operator=(const TransactionMark&) = delete;
};

/// Throws UsageError in the callable of a transaction. `operation` names the call; its effects would not be the transaction's.
inline void refuse_in_transaction(const std::string& operation, const std::string& workflow_id = {}) {
    if (!thread_marks().transaction) return;
    throw UsageError(
        operation +
            " was called inside a transaction, whose commit and retries it would not follow: call it "
            "before or after the transaction (a client's _in_transaction calls may stand inside)",
        workflow_id);
}

/// Lifts the mark while a step's callable runs on the body's thread.
class BodyMarkLifted {
   public:
    BodyMarkLifted() noexcept : before_(thread_marks().body_database) {
        thread_marks().body_database = nullptr;
    }
    ~BodyMarkLifted() { thread_marks().body_database = before_; }
    BodyMarkLifted(const BodyMarkLifted&) = delete;
    BodyMarkLifted& operator=(const BodyMarkLifted&) = delete;

   private:
    const std::string* before_;
};

}  // namespace dbos::client
