// What a body sends and publishes. Names of the records are those of the Python SDK (dbos/_sys_db.py, dbos/_dbos.py).
#include <utility>

#include "client/core.hpp"
#include "core/options.hpp"
#include "dbos/context.hpp"
#include "runtime/effects.hpp"
#include "runtime/executor.hpp"
#include "runtime/operations.hpp"

namespace dbos {

namespace {

using runtime::EffectCall;
using runtime::Run;

const Serializer& row_format(Run& run) { return run.executor().format_of(run.birth().serialization); }

sysdb::Effect send_effect(Run& run, std::span<const Message> messages, const SendBulkOptions& options) {
    const Serializer& format = options.serializer ? *options.serializer : row_format(run);
    return sysdb::SendEffect{run.executor().core().prepare_messages(messages, &format),
                             options.send_to_forks};
}

EffectCall send_call(Run& run, const char* call, const std::string& destination_id, const Any& message,
                     const std::optional<std::string>& topic, const SendOptions& options) {
    return {call, "DBOS.send", [&run, &destination_id, &message, &topic, &options] {
                const Message one[] = {{.destination_id = destination_id,
                                        .message = message,
                                        .topic = topic.value_or(""),
                                        .idempotency_key = options.idempotency_key}};
                return send_effect(
                    run, one, {.send_to_forks = options.send_to_forks, .serializer = options.serializer});
            }};
}

EffectCall bulk_call(Run& run, const char* call, const std::vector<Message>& messages,
                     const SendBulkOptions& options) {
    return {call, "DBOS.send_bulk",
            [&run, &messages, &options] { return send_effect(run, messages, options); }};
}

EffectCall event_call(Run& run, const char* call, const std::string& key, const Any& value) {
    return {call, "DBOS.setEvent", [&run, &key, &value] {
                core::check_event(run.id(), key, Duration(0), {});
                const Serializer& format = row_format(run);
                return sysdb::Effect(
                    sysdb::EventEffect{key, format.encode(value.value()), std::string(format.name())});
            }};
}

EffectCall write_call(Run& run, const char* call, const std::string& key, const Any& value) {
    return {call, "DBOS.writeStream", [&run, &key, &value] {
                core::check_stream(run.id(), key, {});
                if (value.value() == Value(std::string(sysdb::kStreamEnd))) {
                    throw UsageError("value: expected anything but \"" + std::string(sysdb::kStreamEnd) +
                                         "\", which ends a stream; end it with close_stream",
                                     run.id());
                }
                const Serializer& format = row_format(run);
                return sysdb::Effect(
                    sysdb::StreamEffect{key, format.encode(value.value()), std::string(format.name())});
            }};
}

EffectCall close_call(Run& run, const char* call, const std::string& key) {
    return {call, "DBOS.closeStream", [&run, &key] {
                core::check_stream(run.id(), key, {});
                return sysdb::Effect(
                    sysdb::StreamEffect{key, '"' + std::string(sysdb::kStreamEnd) + '"', "portable_json"});
            }};
}

Pending<void> pending(Run& run, const EffectCall& call) {
    return detail::PendingAccess::make<void>(runtime::submit_effect(run, call));
}

constexpr const char* kGetEvents = "DBOS.get_events";

Value events_of(Run& run, const std::string& workflow_id) {
    Object events;
    for (auto& [key, value] : run.executor().core().events(workflow_id))
        events.emplace_back(key, std::move(value));
    return events;
}

}  // namespace

void ContextMessages::send(const std::string& destination_id, const Any& message,
                           const std::optional<std::string>& topic, const SendOptions& options) {
    runtime::perform_effect(run_, send_call(run_, "ctx.send", destination_id, message, topic, options));
}
Pending<void> ContextMessages::send_async(const std::string& destination_id, const Any& message,
                                          const std::optional<std::string>& topic,
                                          const SendOptions& options) {
    return pending(run_, send_call(run_, "ctx.send_async", destination_id, message, topic, options));
}

void ContextMessages::send_bulk(const std::vector<Message>& messages, const SendBulkOptions& options) {
    runtime::perform_effect(run_, bulk_call(run_, "ctx.send_bulk", messages, options));
}
Pending<void> ContextMessages::send_bulk_async(const std::vector<Message>& messages,
                                               const SendBulkOptions& options) {
    return pending(run_, bulk_call(run_, "ctx.send_bulk_async", messages, options));
}

void ContextMessages::set_event(const std::string& key, const Any& value) {
    runtime::perform_effect(run_, event_call(run_, "ctx.set_event", key, value));
}
Pending<void> ContextMessages::set_event_async(const std::string& key, const Any& value) {
    return pending(run_, event_call(run_, "ctx.set_event_async", key, value));
}

void ContextMessages::write_stream(const std::string& key, const Any& value) {
    runtime::perform_effect(run_, write_call(run_, "ctx.write_stream", key, value));
}
Pending<void> ContextMessages::write_stream_async(const std::string& key, const Any& value) {
    return pending(run_, write_call(run_, "ctx.write_stream_async", key, value));
}

void ContextMessages::close_stream(const std::string& key) {
    runtime::perform_effect(run_, close_call(run_, "ctx.close_stream", key));
}
Pending<void> ContextMessages::close_stream_async(const std::string& key) {
    return pending(run_, close_call(run_, "ctx.close_stream_async", key));
}

std::map<std::string, Value> ContextMessages::get_all_events(const std::string& workflow_id) {
    if (run_.in_step()) return run_.executor().core().events(workflow_id);
    core::check_workflow_id(workflow_id);
    return from_value<std::map<std::string, Value>>(runtime::run_operation(
        run_, "ctx.get_all_events", kGetEvents,
        runtime::recorded_call(run_, [this, &workflow_id] { return events_of(run_, workflow_id); })));
}
Pending<std::map<std::string, Value>> ContextMessages::get_all_events_async(const std::string& workflow_id) {
    core::check_workflow_id(workflow_id);
    return detail::PendingAccess::make<std::map<std::string, Value>>(runtime::start_operation(
        run_, "ctx.get_all_events_async", kGetEvents,
        runtime::recorded_call(run_, [this, workflow_id] { return events_of(run_, workflow_id); })));
}

}  // namespace dbos
