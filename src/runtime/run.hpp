// One execution of a workflow's body: its fence, its history, its step numbers, and the one place where it waits.
//
// Keyed by (workflow, token): two runs of one workflow may be in the process, the stale one stops at its next fenced write.
// The body's thread numbers and waits; any thread may interrupt.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "dbos/app.hpp"
#include "dbos/context.hpp"
#include "platform/seam.hpp"
#include "sysdb/records.hpp"

namespace dbos::sql {
class Connection;
}

namespace dbos::runtime {

class Executor;
enum class Point : std::uint8_t;

class Waiting;

/// What a durable wait waits for: a durable instant, sources, a condition of this process.
struct WakeSpec {
    std::optional<sysdb::Millis> until = {};
    /// Asked under the run's lock, after every Run::notify(). A wait with such a condition never parks.
    std::function<bool()> ready = {};
    /// Sources; news of any of them ends the wait. They go along when the run parks.
    std::shared_ptr<Waiting> waiting = {};
    /// Looks at the database for what the sources wait for, before the run parks: true = it is there.
    std::function<bool()> check = {};
    /// With `ready`: what it asks for keeps the run from parking by itself, for as long as it runs.
    bool may_park = false;
    /// Of the operation whose `until` no record holds: the parked run remembers it.
    std::optional<std::int32_t> remember = {};
};

/// An end that no record holds, of the operation of this number.
struct Remembered {
    std::int32_t function_id = 0;
    sysdb::Millis until = 0;
};

/// Where the back-off of a step stands while its run is parked. Memory only: a recovery begins at the first attempt again.
struct BackOff {
    std::int32_t function_id = 0;
    int attempts = 0;  // that have failed
    std::vector<std::string> errors = {};
    sysdb::Millis next = 0;
};
enum class Woken : std::uint8_t { ready, due };

/// `next` becomes `end`, if that is earlier, and an end at all: for ever is core::to_millis of an infinite duration, from now on.
inline void earliest(std::optional<sysdb::Millis>& next, const std::optional<sysdb::Millis>& end) {
    constexpr sysdb::Millis never = std::numeric_limits<sysdb::Millis>::max() / 4;
    if (end && *end < never && (!next || *end < *next)) next = end;
}

class Run : public std::enable_shared_from_this<Run> {
   public:
    struct Birth {
        sysdb::Fence fence;
        const detail::Implementation* implementation = nullptr;
        std::string inputs;
        std::string serialization;
        std::optional<sysdb::Millis> deadline_ms;
        sysdb::Text queue_name;
        sysdb::Text authenticated_user;
        sysdb::Text authenticated_roles;
        sysdb::Text assumed_role;
        sysdb::History history;   // the first records: empty on a first execution
        std::uint32_t lapse = 0;  // the lease's lapse number before the row became ours
        std::int64_t recovery_attempts = 1;
        seam::Duration last_replay{};            // how long the replay of the life before took
        std::unique_ptr<BackOff> back_off = {};  // of a step in whose back-off the life before parked
        std::optional<Remembered> remembered = {};
    };
    /// What is left when the stack has gone.
    struct Parked {
        std::optional<sysdb::Millis> until = {};
        std::shared_ptr<Waiting> waiting = {};
        std::unique_ptr<BackOff> back_off = {};
        std::optional<Remembered> remembered = {};
        seam::Duration replay{};
    };
    Run(Executor& executor, Birth birth);

    Executor& executor() const noexcept { return executor_; }
    const Birth& birth() const noexcept { return birth_; }
    const std::string& id() const noexcept { return birth_.fence.workflow_id; }
    const sysdb::Fence& fence() const noexcept { return birth_.fence; }
    /// Not null once authorize() has returned. Any thread; only the body's sets it.
    std::shared_ptr<const Authentication> authentication() const;
    void set_authentication(Authentication authentication);
    /// Throws NotAuthorized if the workflow requires a role that its user has not; notes the assumed one.
    void authorize();
    std::span<const ErrorType> errors() const noexcept { return birth_.implementation->errors; }

    // --- the body's thread
    void body_begins();
    void body_ended() noexcept;
    /// Every durable call begins here: right thread, not unwinding, not interrupted, no sticky error.
    void enter(const char* operation);
    /// The next step number. After enter().
    std::int32_t reserve() noexcept { return ++last_id_; }
    /// Whether the next number is recorded: this call is a replay.
    bool next_is_recorded() { return peek() != nullptr; }
    /// The record of a number, or null. Throws UnexpectedStep (sticky) if another operation is recorded there.
    const sysdb::StepRecord* recorded(std::int32_t id, const std::string& name);
    /// For dbos::testing: the run has come to this point. Throws Interrupt if the probe has interrupted it.
    void reached(Point point, std::int32_t number, const std::string& name, int attempt = 1);
    /// The same on a thread that is not the run's: throws nothing.
    void passed(Point point, std::int32_t number, const std::string& name) noexcept;
    /// The record of the next number, whatever it is; null = none. Whether any number above it is recorded.
    const sysdb::StepRecord* peek() { return find(last_id_ + 1); }
    bool recorded_above();
    /// To be called when the body ends.
    void defer(std::string name, std::unique_ptr<detail::StepFunction> function) {
        deferred_.push_back({std::move(name), std::move(function)});
    }
    /// Calls what was put off, last first, each as a step. Returns the first error; throws Interrupt or a sticky error.
    std::exception_ptr run_deferred();
    /// The one wait. Gives the run permit back while it blocks; throws Interrupt. A long one parks: it throws Interrupt of
    /// reason `park`, and a new run of the body begins when it may be over.
    Woken wait(const WakeSpec& spec);
    /// The same in the back-off of a step.
    void back_off(BackOff state);
    /// The back-off that the life before parked in, if it was that of this step.
    std::optional<BackOff> resumed_back_off(std::int32_t id);
    /// The end that the life before gave the wait of this number.
    std::optional<sysdb::Millis> remembered(std::int32_t id) const {
        const auto& known = birth_.remembered;
        return known && known->function_id == id ? std::optional(known->until) : std::nullopt;
    }
    /// After the stack has returned by a park.
    Parked take_parked() noexcept { return std::move(parked_); }
    /// The wait of a step beside the body, which holds no thread: `resume` is called once, when it is over or the run is
    /// interrupted, on a thread that must not block.
    void pause_step(WakeSpec spec, std::function<void()> resume);
    /// Throws `error` now and at every later durable call; it will be the outcome.
    [[noreturn]] void fail_for_good(std::exception_ptr error);

    // --- steps
    /// Whether the calling thread runs a step of this run (then durable calls are refused, nested steps run plainly). Throws
    /// UsageError in the callable of a transaction, where nothing of a context may be called.
    bool in_step() const;
    /// The number of that step; of the innermost one.
    std::int32_t step_number() const;
    void step_begins(std::int32_t number);
    void step_ended() noexcept;
    /// Blocks until the lease is fresh and the run was owned since its last lapse. Throws Interrupt.
    void ensure_owned();
    /// Commits a checkpoint of this run. Throws Interrupt when the fence is lost, StepNondeterminism (sticky) on a foreign record.
    sysdb::StepRecord record(const sysdb::StepRecord& step, sysdb::OnConflict on_conflict);
    /// What the result of such a write means: the record that stands, or throws as record() does.
    sysdb::StepRecord settle(const sysdb::StepRecord& step, sysdb::OnConflict on_conflict,
                             sysdb::StepResult result);
    /// The same with an effect: what became of it, for settle() and for the refusals that the effect knows. Throws Interrupt.
    sysdb::StepResult write_effect(const sysdb::StepRecord& step, const sysdb::Effect& effect);
    /// One receive of a topic at a time. Throws UsageError at the second.
    void receive_begins(const std::string& topic);
    void receive_ended(const std::string& topic) noexcept { receives_.erase(topic); }
    /// Registers a stop source that an interrupt stops; stopped at once if the run is interrupted.
    void add_stop_source(std::stop_source source);
    void remove_stop_source(const std::stop_source& source) noexcept;
    /// The connection that the body's transaction uses now: its calls fail when the run is cancelled or taken over.
    void lend(sql::Connection& connection);
    /// It is used no more: waits for an interrupt of it that is under way.
    void lend_nothing() noexcept;
    /// Asynchronous steps that have begun or wait to begin.
    void async_step_added(const std::string& name);
    void async_step_ended(const std::string& name) noexcept;
    void join_async_steps();
    std::vector<std::string> steps_running() const;
    /// Whether a thread is in the program's own code (the body or a step's callable), not in a durable call of it. What is
    /// not waits for the database or for a thread, and ends when those calls fail.
    bool in_user_code() const noexcept { return user_threads_.load() > 0; }
    void user_code(int threads) noexcept { user_threads_.fetch_add(threads); }
    void name_step(const std::string& name);  // the step that the body's thread runs; empty = none

    // --- any thread
    void interrupt(Interrupt::Reason reason) noexcept;
    /// Ends the run because the database refused what it needs; its row stays ours until it has been handed back.
    void give_up(DatabaseErrorKind why) noexcept;
    /// The same for what the body called, and throws the Interrupt. `message` says what could not be done, `operation` in what.
    [[noreturn]] void give_up(const DatabaseError& why, const char* message, const std::string& operation);
    bool given_up() const noexcept { return given_up_.load(); }
    bool interrupted() const noexcept { return stop_.load() != kGoing; }
    std::optional<Interrupt::Reason> interrupt_reason() const noexcept;
    void throw_if_interrupted();
    /// Whether each of its threads waits for what has not come; `next` becomes the first of their ends, if that is earlier.
    bool at_rest(std::optional<sysdb::Millis>& next) const;
    /// A wait's condition may hold now.
    void notify() noexcept;
    std::exception_ptr sticky_error() const;
    bool ended() const noexcept { return ended_.load(); }
    std::uint32_t checked_lapse() const noexcept { return checked_lapse_.load(); }
    void set_checked_lapse(std::uint32_t lapse) noexcept { checked_lapse_.store(lapse); }

   private:
    static constexpr int kGoing = -1;
    struct Pause {
        WakeSpec spec;
        std::function<void()> resume;
    };
    /// Records are asked for in the order of their numbers; those below are given up.
    const sysdb::StepRecord* find(std::int32_t id);
    void read_history_from(std::int32_t id);
    template <class F>
    sysdb::StepResult written(const sysdb::StepRecord& step, F&& write);
    /// Without a value: `blocked_until` has come, and nothing stands in the way of parking.
    std::optional<Woken> wait_locked(std::unique_lock<seam::Mutex>& lock, const WakeSpec& spec,
                                     std::optional<seam::SteadyTime> blocked_until);
    /// How long this wait blocks before the run parks; nullopt = it does not park.
    std::optional<seam::Duration> limit_of(const WakeSpec& spec) const;
    [[noreturn]] void park(const WakeSpec& spec);
    /// Whether it is over; else how long to sleep at most before it is looked at again.
    std::optional<Woken> look(const WakeSpec& spec, seam::Duration& nap) const;
    /// Resumes the pauses that are over; with the lock held, which it gives back.
    void end_pauses(std::unique_lock<seam::Mutex> lock) noexcept;
    /// Looks at the pause again when its end has come, unless it is over then.
    void watch(const Pause* pause);
    void interrupt_lent() noexcept;
    void replay_ends() noexcept;

    Executor& executor_;
    Birth birth_;
    std::shared_ptr<const Authentication> authentication_;
    std::int32_t last_id_ = 0;
    int uncaught_at_entry_ = 0;
    seam::SteadyTime begun_{};
    struct Deferred {
        std::string name;
        std::unique_ptr<detail::StepFunction> function;
    };
    std::vector<Deferred> deferred_;
    std::set<std::string> receives_;        // topics of receives in flight
    std::optional<seam::Duration> replay_;  // until the first operation that is not recorded
    Parked parked_;
    seam::Atomic<int> throws_{0};  // how often an interrupt or sticky error was thrown into this stack
    seam::ThreadId body_thread_{};
    seam::Atomic<int> stop_{kGoing};  // an Interrupt::Reason
    seam::Atomic<std::uint32_t> checked_lapse_;
    seam::Atomic<bool> ended_{false};
    seam::Atomic<bool> given_up_{false};
    seam::Atomic<int> user_threads_{0};

    mutable seam::Mutex mutex_;
    seam::CondVar woken_;
    std::vector<const WakeSpec*> waits_;  // of its threads that wait now, and of its pauses
    std::vector<std::unique_ptr<Pause>> pauses_;
    std::exception_ptr sticky_;
    std::multimap<seam::ThreadId, std::int32_t> step_threads_;  // with the step's number
    std::vector<std::stop_source> stop_sources_;
    seam::Mutex lent_mutex_;  // held while the connection is interrupted, which may take its time
    sql::Connection* lent_ = nullptr;
    seam::Atomic<bool> lends_{false};
    std::multiset<std::string> async_steps_;
    std::string body_step_;
};

/// The calling thread leaves the body's code for a durable call.
class InEngine {
   public:
    explicit InEngine(Run& run) noexcept : run_(run) { run_.user_code(-1); }
    ~InEngine() { run_.user_code(1); }
    InEngine(const InEngine&) = delete;
    InEngine& operator=(const InEngine&) = delete;

   private:
    Run& run_;
};

/// The calling thread calls what the program gave to a step.
class InUserCode {
   public:
    explicit InUserCode(Run& run) noexcept : run_(run) { run_.user_code(1); }
    ~InUserCode() { run_.user_code(-1); }
    InUserCode(const InUserCode&) = delete;
    InUserCode& operator=(const InUserCode&) = delete;

   private:
    Run& run_;
};

/// Runs a step's attempts and commits its record; used by both forms of step.
class StepAttempts {
   public:
    StepAttempts(Run& run, std::int32_t id, std::string name, const StepOptions& options, bool on_body_thread,
                 std::shared_ptr<const Authentication> authentication)
        : run_(run),
          id_(id),
          name_(std::move(name)),
          options_(options),
          on_body_thread_(on_body_thread),
          authentication_(std::move(authentication)),
          state_{.function_id = id} {}
    using Call = std::function<Value(StepContext&)>;
    /// All attempts, on the body's thread: the record that was committed. Throws Interrupt, or a sticky error; never the
    /// step's own error.
    sysdb::StepRecord run(const Call& call, const std::stop_source& stop);
    /// One attempt. None: another one is to follow at next_at(). Throws as run() does.
    std::optional<sysdb::StepRecord> advance(const Call& call, const std::stop_source& stop);
    sysdb::Millis next_at() const noexcept { return state_.next; }

   private:
    struct Attempt {
        Value value = {};
        std::exception_ptr error = {};
    };
    Attempt attempt_once(const Call& call, int number, const std::stop_source& stop);
    bool should_retry(const std::exception_ptr& error);
    /// What the failure of an attempt leads to: true = another attempt; else `error` is the step's own.
    bool goes_on(std::exception_ptr& error);
    sysdb::StepRecord commit(const Attempt& attempt);

    Run& run_;
    const std::int32_t id_;
    const std::string name_;
    const StepOptions& options_;
    const bool on_body_thread_;
    const std::shared_ptr<const Authentication> authentication_;
    std::optional<sysdb::Millis> began_;
    BackOff state_;
    std::exception_ptr last_error_;  // of the attempt before a pause
};

/// The value of a record, or its error thrown as the contract says.
Value deliver(Run& run, const sysdb::StepRecord& record, const std::string& step_name);

}  // namespace dbos::runtime
