// What runs in the worlds: workflows whose course is drawn by who starts them, and what is known of them from outside.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "dbos/dbos.hpp"
#include "sim.hpp"

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

inline constexpr const char* kWide = "wide";      // without limits
inline constexpr const char* kNarrow = "narrow";  // worker_concurrency 1
inline constexpr const char* kShared = "shared";  // concurrency 2
inline constexpr std::int64_t kNarrowLimit = 1;
inline constexpr std::int64_t kSharedLimit = 2;

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
    std::set<std::string> managed;               // cancelled and resumed
    std::set<std::string> rewound;               // run again from a step on, after their end
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
};

/// Attaches the bodies and the queues. What takes long takes some part of `pace`, or a few of it. `crowds`: also the queues
/// with rates and partitions.
void prepare(App& app, StepWatch& watch, Nanos pace, bool crowds = false);

}  // namespace dbos::sim
