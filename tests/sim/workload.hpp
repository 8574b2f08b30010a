// What runs in the worlds: workflows whose course is drawn by who starts them, and what is known of them from outside.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "dbos/dbos.hpp"
#include "sim.hpp"

struct sqlite3;

namespace dbos::sim {

// The argument says what the body does; a replay does the same.
inline constexpr auto Chain = workflow<std::string(std::int64_t)>("chain");  // steps one after another
inline constexpr auto Sleeper =
    workflow<std::string(std::int64_t)>("sleeper");                      // a durable sleep between two steps
inline constexpr auto Fan = workflow<std::string(std::int64_t)>("fan");  // steps at once
/// The first decimal digit (the lowest) is the mode: 1 = all steps at once, 0 = one after another. Each further one is a step:
/// 1 takes no time, 2 a moment, 3 to 6 longer, up to three leases; 8 fails twice; 9 is a durable sleep.
inline constexpr auto Scripted = workflow<std::string(std::int64_t)>("scripted");
/// Sends, sets events and writes a stream, in its body and in its steps. The n-th write of the body is "b<n>", n from 0.
inline constexpr auto Talker = workflow<std::string(std::int64_t)>("talker");
inline constexpr const char* kTalk =
    "talk";  // its stream, which it closes; its event; the topic of what it sends itself
inline constexpr const char* kNoise = "noise";  // stream and event of its steps
inline constexpr auto Parent = workflow<std::string(std::int64_t)>("parent");  // children, queued and direct

/// What schedules start: does nothing. The context of its schedules is the number of their change.
inline constexpr auto Ticked =
    workflow<std::string(std::chrono::system_clock::time_point, std::int64_t)>("ticked");

// What the errands of errands_ends.cpp need, in workload_ends.cpp.
/// Kills its process as often as StepWatch::dies() says.
inline constexpr auto Fragile = workflow<std::string(std::int64_t)>("fragile");
inline constexpr std::int64_t kFragileLimit = 2;  // its max_recovery_attempts
/// Publishes and receives between its steps, to be rewound.
inline constexpr auto Reviser = workflow<std::string(std::int64_t)>("reviser");
inline constexpr const char* kDraft = "draft";  // its events, its topic
/// Children that take longer than it may.
inline constexpr auto Guardian = workflow<std::string(std::int64_t)>("guardian");
/// For those with the role kRole.
inline constexpr auto Guarded = workflow<std::string(std::int64_t)>("guarded");
inline constexpr const char* kRole = "admin";
/// One operation after another. A fork whose id ends with kReform does one of them, the reformed_place() th from 0, in another way.
inline constexpr auto Reformed = workflow<std::string(std::int64_t)>("reformed");
inline constexpr const char* kReform = "-reform";
std::int64_t reformed_place(std::int64_t bits);
/// Transactions "book <n>", each of which writes its value into the ledger of its database: in kBooks, or the system database.
inline constexpr auto Bookkeeper = workflow<std::string(std::int64_t)>("bookkeeper");
inline constexpr const char* kBooks = "books.sqlite";  // a database of the program
/// In the callable of a transaction. Throws what SQLite says.
void execute(sqlite3* database, const std::string& sql);

inline constexpr const char* kWide = "wide";      // without limits
inline constexpr const char* kNarrow = "narrow";  // worker_concurrency 1
inline constexpr const char* kShared = "shared";  // concurrency 2
inline constexpr std::int64_t kNarrowLimit = 1;
inline constexpr std::int64_t kSharedLimit = 2;

inline constexpr const char* kFlood = "flood";  // without limits; only in worlds with a flood

// Only in worlds with crowds.
inline constexpr const char* kRated = "rated";  // a rate
inline constexpr const char* kKeyed =
    "keyed";  // partition_concurrency 1: the workflows of a key in their order
inline constexpr const char* kMixed = "mixed";  // every limit, of the queue and of its keys
struct Rate {
    std::int64_t starts;
    std::int64_t period_ms;
};
inline constexpr Rate kRatedRate{2, 700};
inline constexpr Rate kMixedRate{4, 1500};
inline constexpr Rate kMixedKeyRate{2, 900};
inline constexpr std::int64_t kMixedLimit = 3;
inline constexpr std::int64_t kMixedWorkerLimit = 2;
inline constexpr std::int64_t kMixedKeyLimit = 2;
inline constexpr std::int64_t kMixedKeyWorkerLimit = 1;

/// What the outside knows: what callers were told. It is no part of the world, and asking it is no point.
struct Known {
    std::set<std::string> accepted;               // a start or an enqueue has returned
    std::map<std::string, std::string> outcomes;  // a wait has returned: "SUCCESS <value>" or a status
    // Of errands; some before the call, because it may be done though nobody is told.
    std::set<std::string> managed;                             // cancelled and resumed
    std::map<std::string, int> rewound;                        // run again from this step on, after their end
    std::set<std::string> rearranged;                          // their attributes are changed
    std::map<std::string, int> deadly;                         // how often they kill their process
    std::set<std::string> unrunnable;                          // whose end must be an error
    std::map<std::string, std::pair<std::string, int>> forks;  // of which workflow, from which step on
    std::map<std::string, int> misfits;          // forks, and the record that does not fit their code
    std::set<std::string> deleting, deleted;     // a delete has begun; it has returned
    std::map<std::string, std::string> sent;     // idempotency key → destination: a send has returned
    std::map<std::string, std::int64_t> rounds;  // the attribute that was last set
    std::map<std::string, std::vector<std::string>> heard;  // what a reader of a talker's stream has seen
    std::map<std::string, std::int64_t> schedules;  // whose ticks are made up for from this instant on
    std::set<std::string> unscheduled;              // their delete has begun
};

/// Told when bodies and the callables of steps begin. `attempt` from 1.
class StepWatch {
   public:
    virtual ~StepWatch() = default;
    virtual void begins(const std::string& executor_id, const std::string& workflow_id, int step,
                        int attempt) = 0;
    /// A body begins (or ends, or is unwound).
    /// The callable of a step has returned or thrown.
    virtual void ends(const std::string& /*executor_id*/, const std::string& /*workflow_id*/) {}
    virtual void body(const std::string& executor_id, const std::string& workflow_id, bool begins) = 0;
    /// The n-th sleep of a body has ended, from 0.
    virtual void slept(const std::string& /*workflow_id*/, int /*n*/, Nanos /*length*/) {}
    /// What the n-th wait of a body has given it, from 0. "-," = it timed out.
    virtual void told(const std::string& /*workflow_id*/, std::size_t /*n*/, const std::string& /*value*/) {}
    /// Whether the process of this step shall die now.
    virtual bool dies(const std::string& /*workflow_id*/) { return false; }
};

/// Queues that only some worlds have.
struct MoreQueues {
    bool crowds = false;  // with rates and partitions
    bool flood = false;
};

/// Attaches the bodies and the queues. What takes long takes some part of `pace`, or a few of it.
void prepare(App& app, StepWatch& watch, Nanos pace, const MoreQueues& more = {});

}  // namespace dbos::sim
