// Events of workflows: their current values, and what the waiter hub asks about them.
#include "sysdb/database.hpp"
#include "sysdb/listing.hpp"

namespace dbos::sysdb {
namespace {

constexpr sql::Statement kSizes{
    "event_sizes",
    "SELECT a.id, a.k, e.size FROM unnest($1::text[], $2::text[]) AS a(id, k) CROSS JOIN LATERAL ("
    "SELECT octet_length(w.value) AS size FROM @workflow_events w WHERE w.workflow_uuid = a.id AND w.key = "
    "a.k"
    " OFFSET 0) e",
    sql::Access::read};
constexpr sql::Statement kValues{
    "event_values",
    "SELECT a.id, a.k, e.value, e.serialization FROM unnest($1::text[], $2::text[]) AS a(id, k) CROSS JOIN "
    "LATERAL ("
    "SELECT w.value, w.serialization FROM @workflow_events w WHERE w.workflow_uuid = a.id AND w.key = a.k"
    " OFFSET 0) e",
    sql::Access::read};
constexpr sql::Statement kSize{
    "event_size", "SELECT length(value) FROM workflow_events WHERE workflow_uuid = $1 AND key = $2",
    sql::Access::read};
constexpr sql::Statement kValue{
    "event_value", "SELECT value, serialization FROM workflow_events WHERE workflow_uuid = $1 AND key = $2",
    sql::Access::read};
constexpr sql::Statement kAll{"events",
                              "SELECT w.key, w.value, w.serialization FROM @workflow_events w WHERE "
                              "w.workflow_uuid = $1 ORDER BY w.key",
                              sql::Access::read};

sql::Params arrays(std::span<const EventKey> keys) {
    sql::TextArray ids, names;
    for (const EventKey& key : keys) {
        ids.emplace_back(key.workflow_id);
        names.emplace_back(key.key);
    }
    sql::Params params;
    params.emplace_back(std::move(ids));
    params.emplace_back(std::move(names));
    return params;
}

sql::Params pair(const EventKey& key) {
    return {std::string_view(key.workflow_id), std::string_view(key.key)};
}

}  // namespace

std::vector<std::pair<EventKey, std::int64_t>> wait_event_sizes(sql::Connection& connection,
                                                                std::span<const EventKey> keys) {
    std::vector<std::pair<EventKey, std::int64_t>> sizes;
    if (connection.backend() == sql::Backend::sqlite) {
        for (const EventKey& key : keys) {
            const sql::Result row = connection.execute(kSize, pair(key));
            if (!row.empty()) sizes.emplace_back(key, row.at(0, 0).integer());
        }
        return sizes;
    }
    const sql::Result rows = connection.execute(kSizes, arrays(keys));
    for (std::size_t row = 0; row < rows.size(); ++row) {
        sizes.emplace_back(EventKey{rows.at(row, 0).string(), rows.at(row, 1).string()},
                           rows.at(row, 2).integer());
    }
    return sizes;
}

std::vector<EventRow> wait_events(sql::Connection& connection, std::span<const EventKey> keys) {
    std::vector<EventRow> events;
    if (connection.backend() == sql::Backend::sqlite) {
        for (const EventKey& key : keys) {
            const sql::Result row = connection.execute(kValue, pair(key));
            if (!row.empty()) events.push_back({key, row.at(0, 0).string(), row.at(0, 1).optional_text()});
        }
        return events;
    }
    const sql::Result rows = connection.execute(kValues, arrays(keys));
    for (std::size_t row = 0; row < rows.size(); ++row) {
        events.push_back({{rows.at(row, 0).string(), rows.at(row, 1).string()},
                          rows.at(row, 2).string(),
                          rows.at(row, 3).optional_text()});
    }
    return events;
}

std::vector<EventRow> SystemDatabase::events(const std::string& workflow_id) {
    return core_->with_connection([&](sql::Connection& connection) {
        const sql::Result rows = connection.execute(kAll, {std::string_view(workflow_id)});
        std::vector<EventRow> events;
        for (std::size_t row = 0; row < rows.size(); ++row) {
            events.push_back({{workflow_id, rows.at(row, 0).string()},
                              rows.at(row, 1).string(),
                              rows.at(row, 2).optional_text()});
        }
        return events;
    });
}

std::optional<EventRow> SystemDatabase::event(const EventKey& key) {
    auto rows = core_->with_connection(
        [&](sql::Connection& connection) { return wait_events(connection, std::span(&key, 1)); });
    return rows.empty() ? std::nullopt : std::optional(std::move(rows.front()));
}

}  // namespace dbos::sysdb
