// Why a workflow does not run (yet): what Client::explain tells.
//
//   dbos::Explain why = client.explain("o-17");
//   std::cout << why.text() << '\n';   // o-17 is ENQUEUED on queue "orders": 10 of 10 workflows of the queue run (concurrency); …
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dbos/export.hpp"

namespace dbos {

/// What stands in the way of a workflow that waits.
enum class Obstacle : std::uint8_t {
    ended,                         ///< it has ended, or is dead-lettered: nothing runs it any more
    running,                       ///< it runs
    abandoned,                     ///< its executor is dead, and its peers have not handed it back yet
    delayed,                       ///< its time has not come
    no_queue,                      ///< its queue is not registered
    foreign_queue,                 ///< its queue belongs to another application than the workflow
    paused,                        ///< worker_concurrency of the queue is 0
    no_partition_key,              ///< the queue is partitioned, and the workflow has no key
    no_executor,                   ///< no executor of its application is alive, as far as the database tells
    other_version,                 ///< no living executor has the version that it is pinned to
    not_latest,                    ///< it has no version, and no living executor has the latest one
    concurrency,                   ///< the queue's limit over all processes is reached
    worker_concurrency,            ///< every living executor runs as many of the queue as it may
    rate_limit,                    ///< all starts of the period are used up
    partition_concurrency,         ///< as concurrency, of its partition key
    partition_worker_concurrency,  ///< as worker_concurrency, of its partition key
    partition_rate_limit,          ///< as rate_limit, of its partition key
    others_first,                  ///< workflows that come first wait in front of it
};

/// One of the reasons.
struct DBOS_EXPORT Reason {
    Obstacle obstacle = Obstacle::others_first;
    /// In words, with the numbers.
    std::string text = {};
    /// When it ceases by itself, in epoch milliseconds of the database's clock; absent: not by itself.
    std::optional<std::int64_t> until_epoch_ms = {};
    /// How many there are (running, started, waiting), and how many there may be.
    std::optional<std::int64_t> count = {};
    std::optional<std::int64_t> limit = {};
};

/// What Client::explain returns: a look at one instant.
struct DBOS_EXPORT Explain {
    std::string workflow_id = {};
    std::string status = {};
    std::string queue_name = {};
    /// All of them, what must go first in front; empty: the next claim takes it.
    std::vector<Reason> reasons = {};

    bool has(Obstacle obstacle) const noexcept;
    /// One line for people.
    std::string text() const;
};

}  // namespace dbos
