#include <cmath>

#include "sysdb/records.hpp"

namespace dbos::sysdb {

namespace {

/// There is a rate limit only with both of its halves (ts: wfqueue.ts).
std::optional<StartRate> rate_of(const std::optional<std::int32_t>& max,
                                 const std::optional<double>& period) {
    constexpr double kLongest = 1e15;  // milliseconds; what is longer never ends
    if (!max || !period || !(*period > 0)) return std::nullopt;
    return StartRate{.max = *max,
                     .period_ms = static_cast<Millis>(std::min(std::ceil(*period * 1000), kLongest))};
}

}  // namespace

QueueLimits limits_of(const QueueRow& row) {
    const bool keyed = row.partition_concurrency || row.partition_worker_concurrency ||
                       row.partition_rate_limit_max.has_value();
    QueueLimits limits;
    limits.partitioned = keyed || row.partition_queue;
    if (limits.partitioned && !keyed) {
        limits.partition_worker_concurrency = row.worker_concurrency;
        limits.partition_concurrency = row.concurrency;
        limits.partition_rate = rate_of(row.rate_limit_max, row.rate_limit_period_sec);
        return limits;
    }
    limits.worker_concurrency = row.worker_concurrency;
    limits.concurrency = row.concurrency;
    limits.rate = rate_of(row.rate_limit_max, row.rate_limit_period_sec);
    limits.partition_worker_concurrency = row.partition_worker_concurrency;
    limits.partition_concurrency = row.partition_concurrency;
    limits.partition_rate = rate_of(row.partition_rate_limit_max, row.partition_rate_limit_period_sec);
    return limits;
}

}  // namespace dbos::sysdb
