// Core: messages and events.
#include <algorithm>
#include <set>

#include "client/core.hpp"
#include "client/marks.hpp"
#include "sysdb/database.hpp"

namespace dbos::client {
namespace {

/// A timeout below 0 is one look, as 0.
WaitOptions event_wait(Duration timeout, const GetEventOptions& options) {
    return wait_options(options.polling_interval, std::max(timeout, Duration(0)));
}

std::string described(const sysdb::EventKey& at) {
    return "event \"" + at.key + "\" of workflow \"" + at.workflow_id + '"';
}

}  // namespace

std::vector<sysdb::NewMessage> Core::prepare_messages(std::span<const Message> messages,
                                                      const Serializer* serializer) {
    const Serializer& format = serializer ? *serializer : formats_.own();
    std::set<std::string_view> keys;
    std::vector<sysdb::NewMessage> rows;
    rows.reserve(messages.size());
    for (const Message& message : messages) {
        core::check_send(message.destination_id, message.topic, message.idempotency_key);
        if (!message.idempotency_key.empty() && !keys.insert(message.idempotency_key).second) {
            throw UsageError("idempotency_key: expected a different one for each message of a call, got \"" +
                             message.idempotency_key + "\" twice");
        }
        sysdb::NewMessage& row = rows.emplace_back();
        row.destination = message.destination_id;
        if (!message.topic.empty()) row.topic = message.topic;
        row.message = format.encode(message.message.value());
        row.serialization = std::string(format.name());
        if (message.idempotency_key.empty()) {
            row.id = row.fork_key = new_id();
        } else {  // py: dbos/_sys_db.py, one id for each recipient
            row.fork_key = message.idempotency_key;
            row.id = message.idempotency_key + "::" + message.destination_id;
        }
        row.created_at_ms = database_->message_instant(row.destination);
    }
    return rows;
}

void Core::send(std::span<const sysdb::NewMessage> messages, bool to_forks) {
    guarded(*this, [&] {
        database_->send(messages, to_forks);
        return 0;
    });
}

std::optional<Value> Core::event(const std::string& workflow_id, const std::string& key, Duration timeout,
                                 const GetEventOptions& options) {
    core::check_event(workflow_id, key, timeout, options);
    const WaitOptions wait = event_wait(timeout, options);
    const std::optional<sysdb::EventRow> row = guarded(*this, [&] {
        const BlockingWait waiting;
        return hub_.wait_event({workflow_id, key}, wait);
    });
    if (!row) return std::nullopt;
    return formats_.value(row->value, row->serialization, described(row->at));
}

void Core::event_async(const std::string& workflow_id, const std::string& key, Duration timeout,
                       const GetEventOptions& options, const std::shared_ptr<detail::FutureCore>& future,
                       EventDone done) {
    core::check_event(workflow_id, key, timeout, options);
    check_open();
    const auto self = shared_from_this();
    const auto id = hub_.add_event(
        {workflow_id, key}, event_wait(timeout, options),
        [self, done = std::move(done)](std::optional<sysdb::EventRow> row, std::exception_ptr error) mutable {
            const bool failed = error != nullptr;
            done(
                [self, row = std::move(row), error]() -> std::optional<Value> {
                    if (error) rethrow_for_user(error);
                    if (!row) return std::nullopt;
                    return self->formats_.value(row->value, row->serialization, described(row->at));
                },
                failed);
        });
    future->on_abandon([self, id] { self->hub_.withdraw(id); });
}

std::map<std::string, Value> Core::events(const std::string& workflow_id) {
    core::check_workflow_id(workflow_id);
    const auto rows = guarded(*this, [&] { return database_->events(workflow_id); });
    std::map<std::string, Value> events;
    for (const sysdb::EventRow& row : rows)
        events.emplace(row.at.key, formats_.value(row.value, row.serialization, described(row.at)));
    return events;
}

}  // namespace dbos::client
