// What a body sends and publishes: messages, events, streams.
#pragma once

#include "dbos/detail/context_base.hpp"
#include "dbos/export.hpp"

namespace dbos {

/// The part of Context for messages, events and streams.
class DBOS_EXPORT ContextMessages : public detail::ContextBase {
   protected:
    using ContextBase::ContextBase;
};

}  // namespace dbos
