// Recorded operations with an effect in the database: one transaction with their record (safety 36). Inside a step the effect alone.
#pragma once

#include <functional>
#include <memory>

#include "dbos/pending.hpp"
#include "runtime/run.hpp"

namespace dbos::runtime {

/// A call with an effect. `call` names it in errors ("ctx.send"), `name` in the record ("DBOS.send").
struct EffectCall {
    const char* call;
    const char* name;
    /// Checks the arguments and makes the effect; not asked when the call is a replay. Throws UsageError or EncodeError.
    std::function<sysdb::Effect()> make;
};

/// Performs it, and waits until it is committed. Throws what its record says.
void perform_effect(Run& run, const EffectCall& call);
/// In the body: submits it, in program order. In a step: performs it.
std::shared_ptr<detail::PendingState> submit_effect(Run& run, const EffectCall& call);

}  // namespace dbos::runtime
