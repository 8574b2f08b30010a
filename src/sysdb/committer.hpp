// Group commit: whatever waits is written in one transaction. Callers submit writes; one thread drains them, commits and
// completes each. Concurrency forms the batches, not a timer: an idle system commits at once.
//
// Two threads at most. The main one commits batches. The side one (PostgreSQL only, started when needed) takes what must
// not stall the others: writes that wait for a lock, and payloads over kLargePayload. Writes that name one workflow leave in
// the order of submission, across both.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "platform/seam.hpp"
#include "sql/connection.hpp"
#include "sysdb/database.hpp"
#include "sysdb/records.hpp"

namespace dbos::sysdb {

/// Payloads above go on the side connection.
inline constexpr std::size_t kLargePayload = 256u << 10;

/// Kinds in the order in which a batch writes them.
enum class WriteKind : std::uint8_t {
    start,
    child,
    step,
    first_wins,
    effect,          // a checkpoint and what it gates
    applied_effect,  // an effect from inside a step: fenced, without a checkpoint
    outcome
};

/// A step checkpoint of an asynchronous caller.
struct StepInput {
    Fence fence;
    StepRecord step;
};

/// An effect of an asynchronous caller, or of one that has no record of its own.
struct EffectInput {
    Fence fence;
    StepRecord step;
    Effect effect;
};

/// One submitted write. Pooled and owned by the committer: who waits for it may be notified after it has gone on.
struct Write {
    WriteKind kind = WriteKind::start;
    // Where the input stands: with a blocking caller, or in `owned`.
    const NewWorkflow* workflow = nullptr;  // start; child: the child
    const Fence* fence = nullptr;           // all but start; child: the parent's
    const StepRecord* step = nullptr;  // child, step, first_wins, effect; applied_effect: its number only
    const Effect* effect = nullptr;    // effect, applied_effect
    const Outcome* outcome = nullptr;
    bool refuse_existing = false;  // child: ChildStart::refuse_existing
    std::variant<std::monostate, NewWorkflow, StepInput, ChildStart, EffectInput, Outcome> owned;
    std::size_t bytes = 0;

    // How it went.
    bool resolved = false;   // the result stands
    bool again = false;      // what stood in the way has gone: to be written once more
    bool ambiguous = false;  // an attempt may have been committed
    bool foreign = false;    // step: a record of somebody else stands there
    bool inserted = false;   // child: its row was inserted by this transaction
    bool enqueued = false;   // committed as ENQUEUED by this call
    bool ended = false;      // a run ended by this call
    bool published = false;  // a message, an event or a value of a stream was written by this call
    StartResult start_result;
    StepResult step_result;
    StepResult::Kind checkpoint = StepResult::Kind::recorded;  // child
    OutcomeResult outcome_result = OutcomeResult::recorded;
    std::exception_ptr error;

    // Who waits: a completion, or a thread.
    std::variant<std::monostate, Completion<StartResult>, Completion<StepResult>, Completion<ChildResult>,
                 Completion<OutcomeResult>>
        completion;
    // One for each write: nobody is woken in vain, and no waiter spins as std::atomic::wait does.
    seam::Signal done;

    // Of the committer.
    Write* next = nullptr;
    Write* heir = nullptr;           // a write of another run, whose waiter this one's wakes
    seam::SteadyTime since{};        // first attempt, when it waits for a lock
    seam::SteadyTime reported{};     // last warning about that
    int rounds = 0;                  // how often it was found to be written once more
    std::int64_t created_floor = 0;  // starts: created_at is not less …
    std::int64_t created_step = 0;   // … plus this
    std::vector<std::string> side_keys;

    const std::string& id() const noexcept { return fence ? fence->workflow_id : workflow->workflow_id; }
    /// "The write `start of workflow x`", for errors and logs.
    std::string describe() const;
    /// Before an attempt: nothing is known of its result.
    void unsettle() noexcept { resolved = again = foreign = inserted = enqueued = ended = published = false; }
    void reset();
    template <class E>
    const E* effect_as() const noexcept {
        return effect ? std::get_if<E>(effect) : nullptr;
    }
    bool is_effect() const noexcept { return effect != nullptr; }
};

/// What became of a child's start; leaves nothing of it there.
inline ChildResult child_result(Write& write) {
    return {write.checkpoint, std::move(write.step_result.stored), std::move(write.start_result)};
}

/// Whether a write joins the batch that is being formed. Keeps the order of writes that name one workflow, and lets one
/// write a conflict key in.
class BatchKeys {
   public:
    enum class Verdict : std::uint8_t {
        join,
        hold,  // for a later batch; and so is whatever names the same workflow
    };
    Verdict admit(const Write& write);
    /// Whether the batch, or something held, names a workflow or the deduplication id of this write.
    bool names(const Write& write) const;
    void hold(const Write& write);
    void clear();

   private:
    struct Entry {
        WriteKind last = WriteKind::start;
        bool held = false;
        std::vector<std::int32_t> steps;
        std::vector<std::string_view> events;
    };
    bool effect_fits(const Write& write, const Entry* run) const;

    std::unordered_map<std::string_view, Entry> workflows_;
    std::unordered_set<std::string_view> messages_;
    std::unordered_map<std::string, int> deduplications_;
};

/// Makes created_at strictly increasing per (queue, partition key) and non-decreasing else. Thread-safe.
class CreationOrder {
   public:
    void plan(std::span<Write* const> writes);
    /// Learns what a start was stamped with.
    void stamped(const Write& write, Millis created_at);

   private:
    seam::Mutex mutex_;
    Millis last_ = 0;
    std::unordered_map<std::string, Millis> partitions_;
};

class CommitterStatements;

/// Writes a batch in one transaction. Throws, with nothing applied, or with an unknown outcome (DatabaseError).
/// Returns with each write `resolved` or marked `again`. `meanwhile`: see sql::Connection::pipeline.
class BatchWriter {
   public:
    virtual ~BatchWriter() = default;
    virtual void write(sql::Connection& connection, std::span<Write* const> writes,
                       const sql::Connection::Meanwhile& meanwhile) = 0;
    /// Tells others what was kept back while many writes came. Throws DatabaseError.
    virtual void tell(sql::Connection&) {}
    /// 0 = as long as the writer waits by itself.
    virtual void set_lock_timeout(seam::Duration) {}
};

std::unique_ptr<BatchWriter> make_postgres_writer(SystemDatabase::Core& core, CreationOrder& order);
std::unique_ptr<BatchWriter> make_sqlite_writer(SystemDatabase::Core& core, CreationOrder& order);

class Committer {
   public:
    explicit Committer(SystemDatabase::Core& core);
    /// close() has been called.
    ~Committer();
    Committer(const Committer&) = delete;
    Committer& operator=(const Committer&) = delete;

    /// A slot to fill in, until give_back().
    Write& take();
    void give_back(Write& write) noexcept;
    /// Submits and waits; throws what went wrong. Throws kind `closed` after close().
    void run(Write& write);
    /// Submits; the completion is called on a committer thread, and the slot goes back by itself. After close() the
    /// completion is called at once, with kind `closed`.
    void post(Write& write);

    std::size_t pending() const noexcept { return pending_.load(std::memory_order_acquire); }
    /// Without those on the side.
    std::size_t waiting() const noexcept {
        const std::size_t aside = side_count_.load(std::memory_order_acquire);
        return std::max(pending(), aside) - aside;
    }
    /// Accepts nothing more, sends what waits for at most `drain`, fails the rest with kind `closed`, and ends the threads.
    void close(seam::Duration drain) noexcept;

   private:
    /// One connection with its thread's tools.
    struct Lane {
        std::unique_ptr<BatchWriter> writer;
        seam::Mutex guard;  // of the pointer, for interrupt()
        std::unique_ptr<sql::Connection> connection;
        void interrupt() noexcept;
    };
    enum class Ran : std::uint8_t {
        done,     // every write is resolved, or is to be written again
        blocked,  // a lock was not granted in time
        failed,   // one of them is bad; nothing was applied
        refused   // the connection failed, and is not to be tried again
    };

    bool submit(Write& write);
    void main_loop();
    void drain_inbox();
    void form_batch(std::vector<Write*>& batch);
    bool goes_aside(const Write& write);
    void commit_batch(std::vector<Write*>& batch);
    void commit_singly(std::vector<Write*>& batch, Ran together, std::exception_ptr failure);
    void fail(Write& write, const std::exception_ptr& error);
    bool fails_with_its_run(Write& write);
    Ran run_writes(Lane& lane, std::span<Write* const> writes, std::exception_ptr& failure);
    sql::Connection& connection_of(Lane& lane);
    bool wait_out_busy(std::span<Write* const> writes, const DatabaseError& error);
    void finish(std::vector<Write*>& writes);
    bool goes_again(Write& write);
    void acknowledge() noexcept;
    void tell_runs() noexcept;
    void tell_others() noexcept;
    void tell_of_room() noexcept;
    void announce(std::span<Write* const> writes) noexcept;
    void complete(Write& write) noexcept;
    void settled() noexcept;
    void fail_all(std::deque<Write*>& writes) noexcept;

    bool start_side();
    void move_aside(Write& write);
    void leave_side(Write& write);
    void side_loop();
    void side_pass(std::deque<Write*>& queue);
    bool still_waits(Write& write);
    void explain_block(Write& write);

    void log(LogLevel level, const char* message, const Write* write,
             const std::string& detail) const noexcept;

    SystemDatabase::Core& core_;
    CreationOrder order_;

    seam::Mutex slots_mutex_;
    std::vector<std::unique_ptr<Write>> slots_;
    std::vector<Write*> free_;

    // Submission: a stack that the main thread takes as a whole.
    seam::Atomic<Write*> inbox_{nullptr};
    seam::Atomic<int> signal_{0};
    seam::Atomic<std::size_t> pending_{0};
    seam::Atomic<bool> closing_{false};   // nothing is accepted any more
    seam::Atomic<bool> stopping_{false};  // what waits fails
    seam::Mutex idle_mutex_;
    seam::CondVar idle_;

    // Of the main thread.
    Lane main_;
    std::deque<Write*> backlog_;
    std::vector<Write*> held_;
    std::vector<Write*> waiting_runs_;  // whose writes are finished, and who have not been told
    const std::size_t told_at_once_;
    std::vector<Write*> arrived_;
    std::vector<Write*> finished_;  // their callers are told while the database works on the next batch
    BatchKeys keys_;

    // Runs one of whose effects could not be written: those behind it are not written either, or a replay would bring them out
    // of order. Such a run has been given up.
    seam::Mutex broken_mutex_;
    std::map<Fence, std::exception_ptr> broken_;
    seam::Atomic<bool> any_broken_{false};

    // Between the threads.
    Lane side_;
    seam::Mutex side_mutex_;
    seam::CondVar side_changed_;
    std::deque<Write*> side_inbox_;
    std::unordered_map<std::string, int> side_keys_;
    bool side_ended_ = false;  // the thread takes nothing any more
    seam::Atomic<std::size_t> side_count_{0};

    seam::Thread main_thread_;
    seam::Thread side_thread_;
};

}  // namespace dbos::sysdb
