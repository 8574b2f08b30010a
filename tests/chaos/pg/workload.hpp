// What the workers of a chaos run do: workflows whose course their argument says, and a side log of every body.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dbos/dbos.hpp"

namespace dbos::chaos {

inline constexpr const char* kApplication = "chaos";
inline constexpr const char* kWide = "wide";      // without limits
inline constexpr const char* kNarrow = "narrow";  // worker_concurrency kNarrowLimit
inline constexpr const char* kShared = "shared";  // concurrency kSharedLimit
inline constexpr const char* kRated = "rated";    // kRateLimit starts in kRatePeriodMs
inline constexpr const char* kKeyed =
    "keyed";  // concurrency kKeyedLimit, one at a time of each partition key
inline constexpr std::size_t kNarrowLimit = 3, kSharedLimit = 4, kRateLimit = 6, kKeyedLimit = 3;
inline constexpr int kRatePeriodMs = 1'000;
inline constexpr int kLeaseMs = 2'000, kRenewalMs = 500;
inline constexpr int kNotLaunched = 3;  // exit code of a worker that could not reach the database

inline constexpr auto Chain = workflow<std::string(std::int64_t)>("chain");  // steps one after another
inline constexpr auto Sleeper =
    workflow<std::string(std::int64_t)>("sleeper");                      // a durable sleep between two steps
inline constexpr auto Fan = workflow<std::string(std::int64_t)>("fan");  // steps at once
inline constexpr auto Parent = workflow<std::string(std::int64_t)>("parent");  // queued and direct children

inline constexpr auto Stubborn =
    workflow<std::string(std::int64_t)>("stubborn");  // one step that fails again and again, for ten seconds

/// The worker process: `arguments` are --worker, URL, schema, side log, log file and, if it is to do what the oracles must
/// find, how (misbehave.hpp). Ends with SIGTERM. The side log gets `up PID`, and with times of the system clock
/// `enter WORKFLOW PID MICROSECONDS` and `leave …` around every body of a workflow, and for every attempt of a step
/// `begin WORKFLOW STEP VALUE ATTEMPT MICROSECONDS` before its work and the same with `end` after it (attempts from 1). VALUE is
/// what the step returns, `PID.` and a number, new each time.
int work(const std::vector<std::string>& arguments);

}  // namespace dbos::chaos
