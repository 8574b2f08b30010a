// What stands in the way of a workflow: the judgement alone, without a database.
#pragma once

#include <vector>

#include "dbos/explain.hpp"
#include "sysdb/explain.hpp"

namespace dbos::client {

/// In the order in which a claim would meet them.
std::vector<Reason> reasons_of(const sysdb::QueueFacts& facts);

}  // namespace dbos::client
