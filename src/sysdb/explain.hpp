// What SystemDatabase::queue_facts finds about one workflow and its queue.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sql/connection.hpp"
#include "sysdb/database.hpp"
#include "sysdb/records.hpp"

namespace dbos::sysdb {

struct LivingExecutor {
    std::string executor_id = {};
    std::string version = {};
    std::int64_t running = 0;  // workflows of the queue
    std::int64_t running_of_key = 0;
};

struct QueueFacts {
    Millis now_ms = 0;  // of the clock that the limits are counted by
    std::string status = {};
    Text queue_name = {};
    Text partition_key = {};
    Text version = {};
    Text application_name = {};
    Text executor_id = {};
    std::optional<Millis> delay_until_ms = {};
    std::optional<Millis> started_at_ms = {};
    std::vector<LivingExecutor> living =
        {};  // with a lease, of its application or, if nobody owns it, of all

    // Only of an ENQUEUED workflow:
    std::optional<QueueRow> queue = {};
    QueueLimits limits = {};
    Text latest_version = {};
    std::int64_t running = 0;
    std::int64_t running_of_key = 0;
    std::optional<Millis> budget_at_ms = {};  // when the rate allows a start again; absent: now
    std::optional<Millis> key_budget_at_ms = {};
    std::int64_t ahead = 0;  // at most 1000 are counted
};

/// The row of a queue, inside whatever transaction is open (queues.cpp).
std::optional<QueueRow> queue_row(sql::Connection& connection, const Layout& layout, const std::string& name);

}  // namespace dbos::sysdb
