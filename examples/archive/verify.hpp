// The independent verification: holds the manifest, the objects, the side log and the database against each other and
// against the sources. It trusts none of them, and reads the database through the client only.
#pragma once

#include "contract.hpp"
#include "executions.hpp"
#include "plan.hpp"
#include "sidelog.hpp"

namespace archive {

/// `state` is the whole side log. All workers must have ended.
Findings verify(const Plan& plan, dbos::Client& client, const LogState& state);

}  // namespace archive
