// What parked runs need: whether there is a message, and all that a run begins with once more.
#include <unordered_map>

#include "sysdb/claim_sql.hpp"
#include "sysdb/database.hpp"

namespace dbos::sysdb {
namespace {

// A look-up by the primary key for each row, whatever was known of the tables when it was planned.
constexpr Dialects kParked{
    {"parked",
     "SELECT " DBOS_CLAIM_COLUMNS(
         "w.") ", " DBOS_INPUT_COLUMNS_PG
               ", w.owner_xid FROM unnest($1::text[], $2::text[]) AS r(id, token) CROSS JOIN LATERAL ("
               "SELECT * FROM @workflow_status w WHERE w.workflow_uuid = r.id AND "
               "w.owner_xid = r.token AND w.status || '' = 'PENDING' OFFSET "
               "0) w" DBOS_WITH_INPUTS_PG("w"),
     sql::Access::read},
    {"parked",
     "SELECT " DBOS_CLAIM_COLUMNS(
         "w.") ", " DBOS_INPUT_COLUMNS_LITE
               ", w.owner_xid FROM json_each($1) a CROSS JOIN workflow_status w ON w.workflow_uuid = a.value"
               " LEFT JOIN workflow_input i ON i.workflow_uuid = w.workflow_uuid"
               " WHERE w.owner_xid IN (SELECT value FROM json_each($2)) AND +w.status = 'PENDING'",
     sql::Access::read}};

constexpr sql::Statement kMessagesPostgres{
    "have_messages",
    "SELECT r.n FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS r(id, topic, n) CROSS JOIN LATERAL "
    "(SELECT 1 FROM @notifications m WHERE m.destination_uuid = r.id AND m.topic = r.topic AND NOT "
    "m.consumed LIMIT 1) m",
    sql::Access::read};
constexpr sql::Statement kMessagesSqlite{
    "have_messages",
    "SELECT 1 FROM notifications WHERE destination_uuid = $1 AND topic = $2 AND consumed = 0 LIMIT 1",
    sql::Access::read};

constexpr sql::Statement kSettlePostgres{
    "settle_attempts",
    "UPDATE @workflow_status w SET recovery_attempts = 1 FROM (SELECT w.workflow_uuid FROM "
    "unnest($1::text[], "
    "$2::text[]) AS r(id, token) CROSS JOIN LATERAL (SELECT w.workflow_uuid FROM @workflow_status w WHERE "
    "w.workflow_uuid = r.id AND w.owner_xid = r.token AND w.status || '' = 'PENDING' FOR NO KEY UPDATE SKIP "
    "LOCKED) w) l WHERE w.workflow_uuid = l.workflow_uuid"};
constexpr sql::Statement kSettleSqlite{
    "settle_attempts",
    "UPDATE workflow_status SET recovery_attempts = 1 WHERE workflow_uuid = $1 AND owner_xid = $2 AND "
    "+status = 'PENDING'"};

}  // namespace

std::vector<ClaimedWorkflow> SystemDatabase::parked(std::span<const Fence> fences) {
    std::unordered_map<std::string_view, const Fence*> by_id;
    for (const Fence& fence : fences) by_id.emplace(fence.workflow_id, &fence);
    return core_->with_connection([&](sql::Connection& connection) {
        sql::TextArray ids, tokens;
        for (const Fence& fence : fences) {
            ids.emplace_back(fence.workflow_id);
            tokens.emplace_back(fence.token);
        }
        const sql::Result found = connection.execute(kParked.on(connection.backend()), {ids, tokens});
        std::vector<ClaimedWorkflow> rows;
        rows.reserve(found.size());
        for (std::size_t row = 0; row < found.size(); ++row) {
            const auto fence = by_id.find(found.at(row, 0).text());
            // Pair by pair: runs of one claim share a token.
            if (fence != by_id.end() && found.at(row, found.columns() - 1).text() == fence->second->token)
                rows.push_back(read_claimed(found, row, fence->second->token));
        }
        // After the owner was seen: what a later owner records meanwhile is only more to replay, and fenced off at once.
        load_histories(connection, rows);
        return rows;
    });
}

std::vector<bool> SystemDatabase::have_messages(
    std::span<const std::pair<std::string, std::string>> mailboxes) {
    return core_->with_connection([&](sql::Connection& connection) {
        std::vector<bool> there(mailboxes.size(), false);
        if (connection.backend() == sql::Backend::sqlite) {
            for (std::size_t n = 0; n < mailboxes.size(); ++n) {
                there[n] = !connection
                                .execute(kMessagesSqlite, {std::string_view(mailboxes[n].first),
                                                           std::string_view(mailboxes[n].second)})
                                .empty();
            }
            return there;
        }
        sql::TextArray ids, topics;
        for (const auto& [id, topic] : mailboxes) {
            ids.emplace_back(id);
            topics.emplace_back(topic);
        }
        const sql::Result found = connection.execute(kMessagesPostgres, {ids, topics});
        for (std::size_t row = 0; row < found.size(); ++row)
            there[static_cast<std::size_t>(found.at(row, 0).integer() - 1)] = true;
        return there;
    });
}

void SystemDatabase::settle_attempts(std::span<const Fence> fences) {
    core_->with_connection([&](sql::Connection& connection) {
        if (connection.backend() == sql::Backend::postgres) {
            sql::TextArray ids, tokens;
            for (const Fence& fence : fences) {
                ids.emplace_back(fence.workflow_id);
                tokens.emplace_back(fence.token);
            }
            connection.execute(kSettlePostgres, {ids, tokens});
            return 0;
        }
        sql::Transaction transaction(connection);
        for (const Fence& fence : fences) {
            connection.execute(kSettleSqlite,
                               {std::string_view(fence.workflow_id), std::string_view(fence.token)});
        }
        transaction.commit();
        return 0;
    });
}

std::optional<Millis> SystemDatabase::next_due(Millis after) {
    return core_->with_connection([&](sql::Connection& connection) {
        const sql::Result found = connection.query(
            "SELECT min(due) FROM ("
            "SELECT min(delay_until_epoch_ms) AS due FROM @workflow_status"
            " WHERE status = 'DELAYED' AND delay_until_epoch_ms > $1 "
            "UNION ALL SELECT min(workflow_deadline_epoch_ms) FROM @workflow_status"
            " WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED') AND workflow_deadline_epoch_ms > $1) x",
            {after});
        return found.at(0, 0).optional_integer();
    });
}

}  // namespace dbos::sysdb
