// Messages to workflows: rows of notifications. A trigger of the table wakes receivers on PostgreSQL.
#include <algorithm>
#include <set>

#include "sysdb/claim_sql.hpp"
#include "sysdb/database.hpp"
#include "sysdb/in_transaction.hpp"

namespace dbos::sysdb {
namespace {

constexpr Millis kFurthestAhead = 1000;

constexpr sql::Statement kInsertAll{
    "send",
    "INSERT INTO @notifications (destination_uuid, topic, message, serialization, message_uuid, "
    "created_at_epoch_ms)"
    " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])"
    " ON CONFLICT (message_uuid) DO NOTHING"};
constexpr sql::Statement kInsertOne{"send",
                                    "INSERT INTO notifications (destination_uuid, topic, message, "
                                    "serialization, message_uuid, created_at_epoch_ms)"
                                    " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (message_uuid) DO NOTHING"};

constexpr Dialects kForksOf{
    {"forks_of", "SELECT w.workflow_uuid FROM @workflow_status w WHERE w.forked_from = ANY($1::text[])",
     sql::Access::read},
    {"forks_of",
     "SELECT workflow_uuid FROM workflow_status WHERE forked_from IN (SELECT value FROM json_each($1))",
     sql::Access::read}};

constexpr Dialects kMissing{
    {"send_missing",
     "SELECT a.id FROM unnest($1::text[]) AS a(id)"
     " WHERE NOT EXISTS (SELECT 1 FROM @workflow_status w WHERE w.workflow_uuid = a.id)",
     sql::Access::read},
    {"send_missing",
     "SELECT a.value FROM json_each($1) a"
     " WHERE NOT EXISTS (SELECT 1 FROM workflow_status w WHERE w.workflow_uuid = a.value)",
     sql::Access::read}};

constexpr sql::Statement kMessagesOf{
    "messages",
    "SELECT n.topic, n.message, n.serialization, n.created_at_epoch_ms, n.consumed FROM @notifications n"
    " WHERE n.destination_uuid = $1 ORDER BY n.created_at_epoch_ms, n.message_uuid",
    sql::Access::read};

sql::TextArray views(const std::set<std::string>& texts) { return {texts.begin(), texts.end()}; }

/// All descendants by fork, in the order of their ids.
std::set<std::string> descendants(sql::Connection& connection, const std::string& origin) {
    std::set<std::string> found;
    std::set<std::string> level{origin};
    while (!level.empty()) {
        const sql::Result rows = connection.execute(kForksOf.on(connection.backend()), {views(level)});
        level.clear();
        for (std::size_t row = 0; row < rows.size(); ++row) {
            std::string id = rows.at(row, 0).string();
            if (id != origin && found.insert(id).second) level.insert(std::move(id));
        }
    }
    return found;
}

void insert(sql::Connection& connection, std::span<const NewMessage> messages) {
    if (connection.backend() == sql::Backend::sqlite) {
        for (const NewMessage& m : messages) {
            connection.execute(kInsertOne, {std::string_view(m.destination), std::string_view(m.topic),
                                            std::string_view(m.message), std::string_view(m.serialization),
                                            std::string_view(m.id), m.created_at_ms});
        }
        return;
    }
    sql::TextArray destinations, topics, texts, formats, ids;
    sql::IntArray instants;
    for (const NewMessage& m : messages) {
        destinations.emplace_back(m.destination);
        topics.emplace_back(m.topic);
        texts.emplace_back(m.message);
        formats.emplace_back(m.serialization);
        ids.emplace_back(m.id);
        instants.emplace_back(m.created_at_ms);
    }
    connection.execute(kInsertAll, {destinations, topics, texts, formats, ids, instants});
}

/// Those of the destinations that do not exist, as a text.
std::string missing(sql::Connection& connection, std::span<const NewMessage> messages) {
    std::set<std::string> destinations;
    for (const NewMessage& m : messages) destinations.insert(m.destination);
    const sql::Result rows = connection.execute(kMissing.on(connection.backend()), {views(destinations)});
    std::string text;
    for (std::size_t row = 0; row < rows.size(); ++row)
        text += (text.empty() ? "" : ", ") + rows.at(row, 0).string();
    return text;
}

void insert_with_copies(sql::Connection& connection, std::span<const NewMessage> messages, bool to_forks) {
    std::vector<NewMessage> copies;
    if (to_forks) {
        for (const NewMessage& message : messages) {
            for (const std::string& fork : descendants(connection, message.destination)) {
                NewMessage& copy = copies.emplace_back(message);
                copy.destination = fork;
                copy.id = message.fork_key + "::" + fork;
            }
        }
    }
    insert(connection, messages);
    if (!copies.empty()) insert(connection, copies);
}

}  // namespace

Millis SystemDatabase::message_instant(const std::string& destination) {
    const Millis now = durable_now();
    const std::lock_guard<seam::Mutex> lock(core_->message_mutex);
    Millis& last = core_->message_instants[wake_hash(destination) % core_->message_instants.size()];
    last = std::min(std::max(now, last + 1), now + kFurthestAhead);
    return last;
}

void SystemDatabase::send(std::span<const NewMessage> messages, bool to_forks) {
    if (messages.empty()) return;
    try {
        core_->with_connection([&](sql::Connection& connection) {
            if (!to_forks && (messages.size() == 1 || core_->backend == sql::Backend::postgres)) {
                insert(connection, messages);  // one statement commits by itself
                return;
            }
            sql::Transaction transaction(connection);
            insert_with_copies(connection, messages, to_forks);
            transaction.commit();
        });
    } catch (const DatabaseError& error) {
        if (error.kind() != DatabaseErrorKind::foreign_key) throw;
        const std::string unknown = core_->with_connection(
            [&](sql::Connection& connection) { return missing(connection, messages); });
        // It may have come into being meanwhile: then say what the insert has found.
        throw NonexistentWorkflow(unknown.empty() ? messages.front().destination : unknown);
    }
    if (const auto& published = core_->options.local_wake.published)
        published({}, SendEffect{{messages.begin(), messages.end()}, to_forks});
    if (core_->options.notify) {
        if (seam::WakeFile* file = core_->wake_file()) file->signal();
    }
}

void send_in(sql::Connection& connection, std::span<const NewMessage> messages, bool to_forks) {
    if (messages.empty()) return;
    // Asked first: a foreign key that is violated spoils the transaction, and on a raw handle of SQLite none is enforced.
    if (const std::string unknown = missing(connection, messages); !unknown.empty())
        throw NonexistentWorkflow(unknown);
    insert_with_copies(connection, messages, to_forks);
}

std::vector<MessageRow> SystemDatabase::messages(const std::string& workflow_id) {
    return core_->with_connection([&](sql::Connection& connection) {
        const sql::Result rows = connection.execute(kMessagesOf, {std::string_view(workflow_id)});
        std::vector<MessageRow> messages;
        for (std::size_t row = 0; row < rows.size(); ++row) {
            messages.push_back({.topic = rows.at(row, 0).optional_text(),
                                .message = rows.at(row, 1).string(),
                                .serialization = rows.at(row, 2).optional_text(),
                                .created_at = rows.at(row, 3).integer(),
                                .consumed = rows.at(row, 4).boolean()});
        }
        return messages;
    });
}

}  // namespace dbos::sysdb
