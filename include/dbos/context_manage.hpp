// What a body does with workflows that it did not start: looks, cancels, resumes, forks.
#pragma once

#include "dbos/context_messages.hpp"
#include "dbos/export.hpp"

namespace dbos {

/// The part of Context that manages workflows and schedules. Every call is a recorded operation: a replay sees the same answer.
class DBOS_EXPORT ContextManaging : public ContextMessages {
   protected:
    using ContextMessages::ContextMessages;
};

}  // namespace dbos
