// The durable waits of a body: results, messages, events, streams, sleeps; each alone, or several in a select.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "dbos/pending.hpp"
#include "runtime/operations.hpp"
#include "runtime/run.hpp"
#include "runtime/waiting.hpp"

namespace dbos::runtime {

inline constexpr const char* kSleep = "DBOS.sleep";  // names of the Python SDK (dbos/_core.py)
inline constexpr const char* kGetResult = "DBOS.getResult";

/// An operation in flight that a select can wait for. Body's thread only.
class Selectable : public BodyPending {
   public:
    using BodyPending::BodyPending;
    /// Makes the instant at which the wait ends durable, if it has one. Returns it.
    virtual std::optional<sysdb::Millis> make_due() { return std::nullopt; }
    /// Registers what it waits for.
    virtual void watch(const std::shared_ptr<Waiting>& waiting) = 0;
    /// Whether what get() would deliver is committed, by what its sources have told: asks nobody.
    virtual bool has_come(const Waiting& waiting) const = 0;
    /// The same by a look at the database.
    virtual bool look() = 0;
};

/// The instant at which a wait ends, under a number of its own.
class Deadline {
   public:
    /// Takes the next number. The time runs from now.
    Deadline(Run& run, Duration timeout);
    /// Recorded, once, or as it was recorded: from then on it does not change.
    sysdb::Millis make_durable();
    bool passed() const;
    /// When the wait began, in whichever life of the body that was.
    sysdb::Millis begun() const;

   private:
    Run& run_;
    const std::int32_t id_;
    const sysdb::Millis begun_;
    sysdb::Millis at_;
    bool durable_ = false;
};

/// How the hub looks for what a body waits for.
client::WaitOptions polled(Duration interval);

/// The end of a wait that began at `begun`: recorded under its number, or recorded now. `is_sleep`: it stands as the record's
/// completion.
sysdb::Millis durable_instant(Run& run, std::int32_t id, sysdb::Millis begun, sysdb::Millis wake,
                              bool is_sleep);
/// `begun` + duration; the furthest instant for an infinite duration.
sysdb::Millis instant_after(sysdb::Millis begun, Duration duration);

/// What a wait inside the body is made of: numbers, an end, sources, a look. Loops until `attempt` has recorded something.
struct DurableLoop {
    std::optional<sysdb::Millis> until = {};
    std::shared_ptr<Waiting> waiting = {};
    /// Of the sources, before the attempt that is being made.
    std::vector<std::size_t> news = {};
    /// Tries; `last` = the time is over: then it must record that. Returns the record, or nothing = wait on.
    std::function<std::optional<sysdb::StepRecord>(bool last)> attempt = {};
    /// Cheaper than an attempt: whether one is worth it. Called before the run parks.
    std::function<bool()> check = {};
    /// As in WakeSpec.
    std::optional<std::int32_t> remember = {};
    sysdb::StepRecord run(Run& of);
};

/// A result of a workflow, to be taken with get().
std::shared_ptr<Selectable> await_result(Run& run, const char* call, const std::string& workflow_id,
                                         const GetResultOptions& options, std::span<const ErrorType> errors);

}  // namespace dbos::runtime
