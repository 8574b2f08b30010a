// Reads of workflow rows, and the dead letter.
#include <algorithm>
#include <unordered_map>

#include "sysdb/committer_statements.hpp"
#include "sysdb/database.hpp"

namespace dbos::sysdb {
namespace {

constexpr const char* kNow = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

sql::Params ids_of(std::span<const std::string> ids) {
    sql::TextArray array;
    array.reserve(ids.size());
    for (const std::string& id : ids) array.emplace_back(id);
    sql::Params params;
    params.emplace_back(std::move(array));
    return params;
}

/// " … = ANY($1)" in the words of the database.
std::string among(sql::Backend backend, const std::string& column) {
    return column + (backend == sql::Backend::postgres ? " = ANY($1::text[])"
                                                       : " IN (SELECT value FROM json_each($1))");
}

/// A payload column where it may stand in either place.
std::string payload(const Layout& layout, const char* table, const char* column) {
    std::string legacy = std::string("w.") + column;
    if (!layout.payload_tables) return legacy;
    const std::string own = std::string(table) + "." + column;
    return layout.legacy_payloads ? "COALESCE(" + own + ", " + legacy + ")" : own;
}

std::string join_payload(const Layout& layout, const char* table, const char* alias) {
    if (!layout.payload_tables) return "";
    return std::string(" LEFT JOIN @") + table + " " + alias + " ON " + alias +
           ".workflow_uuid = w.workflow_uuid";
}

}  // namespace

std::vector<ResultRow> SystemDatabase::results(std::span<const std::string> ids) {
    return core_->with_connection([&](sql::Connection& connection) {
        const Layout layout = core_->layout(connection);
        const sql::Result found =
            connection.query("SELECT w.workflow_uuid, w.status, " + payload(layout, "o", "output") + ", " +
                                 payload(layout, "o", "error") + ", w.serialization FROM @workflow_status w" +
                                 join_payload(layout, "workflow_output", "o") + " WHERE " +
                                 among(core_->backend, "w.workflow_uuid"),
                             ids_of(ids));
        std::vector<ResultRow> rows;
        rows.reserve(found.size());
        for (std::size_t row = 0; row < found.size(); ++row) {
            rows.push_back({found.at(row, 0).string(), found.at(row, 1).string(),
                            found.at(row, 2).optional_text(), found.at(row, 3).optional_text(),
                            found.at(row, 4).optional_text()});
        }
        return rows;
    });
}

std::vector<std::pair<std::string, std::string>> SystemDatabase::statuses(std::span<const std::string> ids) {
    return core_->with_connection([&](sql::Connection& connection) {
        const sql::Result found =
            connection.query("SELECT w.workflow_uuid, w.status FROM @workflow_status w WHERE " +
                                 among(core_->backend, "w.workflow_uuid"),
                             ids_of(ids));
        std::vector<std::pair<std::string, std::string>> rows;
        rows.reserve(found.size());
        for (std::size_t row = 0; row < found.size(); ++row) {
            rows.emplace_back(found.at(row, 0).string(), found.at(row, 1).string());
        }
        return rows;
    });
}

Text SystemDatabase::inputs(const std::string& workflow_id) {
    return core_->with_connection([&](sql::Connection& connection) -> Text {
        const Layout layout = core_->layout(connection);
        const sql::Result found =
            connection.query("SELECT " + payload(layout, "i", "inputs") + " FROM @workflow_status w" +
                                 join_payload(layout, "workflow_input", "i") + " WHERE w.workflow_uuid = $1",
                             {std::string_view(workflow_id)});
        return found.empty() ? Text() : found.at(0, 0).optional_text();
    });
}

bool SystemDatabase::dead_letter(const Fence& fence, std::int64_t attempts_read) {
    return core_->with_connection([&](sql::Connection& connection, const Attempt& attempt) {
        const bool postgres = core_->backend == sql::Backend::postgres;
        const std::string id = fence.workflow_id;
        sql::Params params{std::string_view(fence.workflow_id), std::string_view(fence.token), attempts_read};
        if (!postgres) params.emplace_back(core_->clock.now_ms());
        const std::string now = postgres ? "t.now" : "$4";
        const sql::Result changed = connection.query(
            "UPDATE @workflow_status SET status = 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', deduplication_id = NULL, "
            "started_at_epoch_ms = NULL, queue_name = NULL, owner_xid = NULL, updated_at = " +
                now + ", completed_at = " + now +
                (postgres ? " FROM (SELECT " + std::string(kNow) + " AS now) t" : "") +
                " WHERE workflow_uuid = $1 AND owner_xid = $2 AND recovery_attempts >= $3 AND status || '' = "
                "'PENDING' "
                "RETURNING workflow_uuid",
            params, sql::Access::write);
        if (!changed.empty()) {
            core_->announce_ended(connection, {id});
            return true;
        }
        if (!attempt.ambiguous) return false;
        const sql::Result found =
            connection.query("SELECT w.status FROM @workflow_status w WHERE w.workflow_uuid = $1",
                             {std::string_view(fence.workflow_id)});
        return !found.empty() && found.at(0, 0).text() == "MAX_RECOVERY_ATTEMPTS_EXCEEDED";
    });
}

std::vector<bool> SystemDatabase::still_owned(std::span<const Fence> fences) {
    std::vector<std::string> ids;
    for (const Fence& fence : fences) ids.push_back(fence.workflow_id);
    return core_->with_connection([&](sql::Connection& connection) {
        const sql::Result found =
            connection.query("SELECT w.workflow_uuid, w.owner_xid FROM @workflow_status w WHERE " +
                                 among(core_->backend, "w.workflow_uuid") + " AND w.status || '' = 'PENDING'",
                             ids_of(ids));
        std::unordered_map<std::string_view, std::string_view> owners;
        for (std::size_t row = 0; row < found.size(); ++row)
            owners[found.at(row, 0).text()] = found.at(row, 1).text();
        std::vector<bool> owned;
        for (const Fence& fence : fences) {
            const auto owner = owners.find(fence.workflow_id);
            owned.push_back(owner != owners.end() && owner->second == fence.token);
        }
        return owned;
    });
}

std::vector<std::vector<StepRecord>> SystemDatabase::histories(std::span<const std::string> ids) {
    return core_->with_connection([&](sql::Connection& connection) {
        std::string columns = kStepColumns;
        const std::string application = "o.application_name";
        if (!core_->layout(connection).ownership) {
            columns.replace(columns.find(application), application.size(), "NULL");
        }
        const sql::Result found = connection.query(
            "SELECT o.workflow_uuid, " + columns + " FROM @operation_outputs o WHERE " +
                among(core_->backend, "o.workflow_uuid") + " ORDER BY o.workflow_uuid, o.function_id",
            ids_of(ids));
        std::vector<std::vector<StepRecord>> histories(ids.size());
        std::unordered_map<std::string_view, std::vector<std::size_t>> places;
        for (std::size_t n = 0; n < ids.size(); ++n) places[ids[n]].push_back(n);
        for (std::size_t row = 0; row < found.size(); ++row) {
            for (const std::size_t place : places[found.at(row, 0).text()]) {
                histories[place].push_back(read_step_record(found, row, 1));
            }
        }
        return histories;
    });
}

}  // namespace dbos::sysdb
