// Recorded operations that run no code of the program: messages, events, streams, managing calls. Each takes its number in the
// body, in program order; replays its record if there is one; else is performed, here or beside the body, and leaves a record.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "dbos/pending.hpp"
#include "runtime/run.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::runtime {

/// Performs an operation and returns the record that was committed; it is given the record to fill in: number, name, begin and
/// owner. Runs on the body's thread or on one of the pool. Throws Interrupt or a sticky error; what it records as an error it
/// returns as a record.
using Perform = std::function<sysdb::StepRecord(sysdb::StepRecord)>;

/// A record of this run that begins now: number, name, begin, owner.
sysdb::StepRecord new_record(Run& run, std::int32_t id, const std::string& name);

/// Commits `value` as the record's output in the application's format.
sysdb::StepRecord record_value(Run& run, sysdb::StepRecord record, const Value& value);

/// Commits `error` as the record's error. Interrupts and lost connections are no results: Interrupt is thrown again, and a
/// DatabaseError of a kind that a later attempt may not meet ends the run, which is left to be recovered.
sysdb::StepRecord record_failure(Run& run, sysdb::StepRecord record, const std::exception_ptr& error);

/// Reads or writes that are no checkpoint themselves: commits what `call` returns, or the error that it throws.
Perform recorded_call(Run& run, std::function<Value()> call);

/// On the body's thread, now. `call` names it in errors: "ctx.send".
Value run_operation(Run& run, const char* call, const std::string& name, const Perform& perform);
/// What detail::PendingValue expects of an operation whose result is no Value, made of its record's value.
using MakeObject = std::function<std::shared_ptr<void>(const Value&)>;
/// Takes the number now and performs it on a thread of the pool.
std::shared_ptr<detail::PendingState> start_operation(Run& run, const char* call, const std::string& name,
                                                      Perform perform, MakeObject make = {});

/// What every Pending of a body is: it belongs to a run, and is taken once, by the body.
class BodyPending : public detail::PendingState {
   public:
    /// `call` names it in errors: "ctx.recv_async".
    BodyPending(Run& run, const char* call) : run_(run.shared_from_this()), call_(call) {}

   protected:
    /// Every get() begins here. Throws UsageError at the second.
    void take();
    /// What get() is of, for that error.
    virtual std::string described() const { return '"' + std::string(call_) + '"'; }

    const std::shared_ptr<Run> run_;
    const char* const call_;
};

/// One that another thread completes.
class CompletedPending : public BodyPending {
   public:
    using BodyPending::BodyPending;
    std::optional<Value> get() override;
    bool ready() const override { return done_.load(); }
    /// The value of one that is done, or throws its error.
    virtual Value value() = 0;

   protected:
    /// To be called once: `fill` sets what value() needs.
    template <class F>
    void complete(F&& fill) {
        {
            std::lock_guard lock(mutex_);
            fill();
            done_.store(true);
            finished_.notify_all();
        }
        run_->notify();
    }
    /// The body's own wait, but deaf to interrupts.
    void await_completion() noexcept;

   private:
    seam::Mutex mutex_;
    seam::CondVar finished_;
    seam::Atomic<bool> done_{false};
};

/// One that is performed on a thread of the pool, and joined before the body's stack unwinds.
class PooledPending : public CompletedPending, public std::enable_shared_from_this<PooledPending> {
   public:
    PooledPending(Run& run, const char* call, std::int32_t id, std::string name)
        : CompletedPending(run, call), id_(id), name_(std::move(name)) {}
    void start();
    /// It is recorded already.
    void resolve(sysdb::StepRecord record);
    Value value() override;
    void finish() noexcept override;

   protected:
    /// On a thread of the pool. An interrupt or a sticky error that it throws meets the body at its next durable call. None: it
    /// goes on when resume() is called, which it has seen to.
    virtual std::optional<sysdb::StepRecord> perform() = 0;
    /// perform() again. Never waits.
    void resume();
    /// The body does not wait for the value any more, only for the end.
    virtual void end_soon() noexcept {}

    const std::int32_t id_;
    const std::string name_;

   private:
    sysdb::StepRecord record_;
    std::exception_ptr error_;
};

/// One whose checkpoint was submitted to the committer: its writes leave in the order of the calls, and no thread waits for it.
/// What the committer answers is looked at on the body's thread.
class SubmittedPending : public CompletedPending {
   public:
    using CompletedPending::CompletedPending;
    /// It is recorded already.
    void resolve();
    void finish() noexcept override;

   protected:
    /// The committer has answered; complete() comes next. A failed write ends the run: its body must not go on past an operation
    /// without a record, whether it asks for the result or not.
    void answered(const sysdb::StepRecord& record, bool recorded, const std::exception_ptr& error) noexcept;
    /// Before value() returns: makes the record that stands, once. Throws Interrupt or a sticky error.
    void settle();
    virtual void make_record() = 0;

   private:
    bool settled_ = false;
};

/// Such an operation whose result is a plain record.
class SubmittedOperation final : public SubmittedPending,
                                 public std::enable_shared_from_this<SubmittedOperation> {
   public:
    /// What a result means that is no plain record: returns the record of the refusal.
    using Refused = std::function<sysdb::StepRecord(Run&, sysdb::StepRecord, const sysdb::StepResult&)>;
    SubmittedOperation(Run& run, const char* call, sysdb::StepRecord record, Refused refused);
    /// To be called once, by the committer.
    sysdb::Completion<sysdb::StepResult> completion();
    /// What is to be committed, until it is submitted.
    const sysdb::StepRecord& record() const noexcept { return record_; }

    Value value() override;

   private:
    void make_record() override;

    const Refused refused_;
    sysdb::StepRecord record_;
    sysdb::StepResult result_;
};

}  // namespace dbos::runtime
