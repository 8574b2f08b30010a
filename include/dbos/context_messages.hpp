// What a body sends and publishes: messages, events, streams.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dbos/codec.hpp"
#include "dbos/detail/context_base.hpp"
#include "dbos/export.hpp"
#include "dbos/options.hpp"
#include "dbos/pending.hpp"

namespace dbos {

/// The part of Context for messages, events and streams.
///
/// In the body each call is a recorded operation: what it writes and its record are one transaction, so a replay writes nothing
/// again, however often the workflow is recovered. It takes one step number; a call that throws UsageError or EncodeError has
/// taken none. Values are stored in the format of the workflow's own row, so whoever started it can read them.
///
/// Inside a step's callable the same calls write at once, under the number of that step and without a record of their own: they
/// are written again when the step runs again. (Messages with an idempotency_key are not.)
///
/// The `_async` forms take their number at the call and do not wait for the database. They are written in the order of the calls.
///
/// Throws dbos::Interrupt if the workflow was cancelled or taken over.
class DBOS_EXPORT ContextMessages : public detail::ContextBase {
   public:
    /// Sends a message to a workflow, whatever its status. Without a topic it is received by a recv without one. Recorded as
    /// `DBOS.send`. Throws NonexistentWorkflow (recorded) if the destination does not exist, EncodeError, UsageError.
    void send(const std::string& destination_id, const Any& message,
              const std::optional<std::string>& topic = {}, const SendOptions& options = {});
    Pending<void> send_async(const std::string& destination_id, const Any& message,
                             const std::optional<std::string>& topic = {}, const SendOptions& options = {});
    /// Sends all messages in one transaction, in this order; none if one of the destinations does not exist. Recorded as
    /// `DBOS.send_bulk`, also for no message at all. Throws as send, and UsageError if an idempotency_key stands there twice.
    void send_bulk(const std::vector<Message>& messages, const SendBulkOptions& options = {});
    Pending<void> send_bulk_async(const std::vector<Message>& messages, const SendBulkOptions& options = {});

    /// Sets an event of this workflow, which anybody can wait for with get_event. Setting it again replaces the value; forks see
    /// what it was at their start step. Recorded as `DBOS.setEvent`. Throws EncodeError, UsageError.
    void set_event(const std::string& key, const Any& value);
    Pending<void> set_event_async(const std::string& key, const Any& value);

    /// Appends a value to a stream of this workflow, which is read with read_stream. Values of the body appear once each, in the
    /// order of the calls. A value after close_stream is stored and reaches nobody. Recorded as `DBOS.writeStream`. Throws
    /// EncodeError, UsageError.
    void write_stream(const std::string& key, const Any& value);
    Pending<void> write_stream_async(const std::string& key, const Any& value);
    /// Ends a stream: its readers end here. A stream that nobody closes ends for its readers when the workflow has ended.
    /// Recorded as `DBOS.closeStream`. Throws UsageError.
    void close_stream(const std::string& key);
    Pending<void> close_stream_async(const std::string& key);

    /// All current events of a workflow; empty for an unknown id. Recorded as `DBOS.get_events` (py); inside a step it only reads.
    /// Throws DecodeError (recorded), UsageError.
    std::map<std::string, Value> get_all_events(const std::string& workflow_id);
    Pending<std::map<std::string, Value>> get_all_events_async(const std::string& workflow_id);

   protected:
    using ContextBase::ContextBase;
};

}  // namespace dbos
