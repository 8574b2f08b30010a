// What the workers of a chaos run do: workflows whose course their argument says, and a side log of every step that begins.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dbos/dbos.hpp"

namespace dbos::chaos {

inline constexpr const char* kApplication = "chaos";
inline constexpr const char* kWide = "wide";      // without limits
inline constexpr const char* kNarrow = "narrow";  // worker_concurrency 3
inline constexpr const char* kShared = "shared";  // concurrency 4
inline constexpr int kLeaseMs = 2'000, kRenewalMs = 500;
inline constexpr int kNotLaunched = 3;  // exit code of a worker that could not reach the database

inline constexpr auto Chain = workflow<std::string(std::int64_t)>("chain");  // steps one after another
inline constexpr auto Sleeper =
    workflow<std::string(std::int64_t)>("sleeper");                      // a durable sleep between two steps
inline constexpr auto Fan = workflow<std::string(std::int64_t)>("fan");  // steps at once
inline constexpr auto Parent = workflow<std::string(std::int64_t)>("parent");  // queued and direct children

/// The worker process: `arguments` are --worker, URL, schema, side log, log file. Ends with SIGTERM. The side log gets
/// `up PID` and, for every attempt of a step, `begin WORKFLOW STEP VALUE ATTEMPT MICROSECONDS` before its work and the same with
/// `end` after it (attempts from 1, time of the system clock); VALUE is what the step returns, new each time.
int work(const std::vector<std::string>& arguments);

}  // namespace dbos::chaos
