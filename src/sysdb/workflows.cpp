// Reads of workflow rows, and the dead letter.
#include <algorithm>
#include <unordered_map>

#include "sysdb/claim_sql.hpp"
#include "sysdb/committer_statements.hpp"
#include "sysdb/database.hpp"
#include "sysdb/listing.hpp"
#include "sysdb/listing_text.hpp"

namespace dbos::sysdb {
std::vector<ResultRow> SystemDatabase::results(std::span<const std::string> ids) {
    return core_->with_connection(
        [&](sql::Connection& connection) { return wait_results(*core_, connection, ids); });
}

std::vector<std::pair<std::string, std::string>> SystemDatabase::statuses(std::span<const std::string> ids) {
    return core_->with_connection(
        [&](sql::Connection& connection) { return wait_statuses(connection, ids); });
}

Text SystemDatabase::inputs(const std::string& workflow_id) {
    return core_->with_connection([&](sql::Connection& connection) -> Text {
        const Layout layout = core_->layout(connection);
        const sql::Result found = connection.query(
            "SELECT " + payload(layout, "i", "inputs") + " FROM @workflow_status ws" +
                (layout.payload_tables ? " LEFT JOIN @workflow_input i ON i.workflow_uuid = ws.workflow_uuid"
                                       : "") +
                " WHERE ws.workflow_uuid = $1",
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
                (postgres ? " FROM (SELECT " + std::string(DBOS_CLOCK_PG) + " AS now) t" : "") +
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
        const sql::Result found = connection.query(
            "SELECT w.workflow_uuid, w.owner_xid FROM @workflow_status w WHERE " +
                is_one_of(core_->backend, "w.workflow_uuid", 1) + " AND w.status || '' = 'PENDING'",
            {text_array(ids)});
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
                is_one_of(core_->backend, "o.workflow_uuid", 1) + " ORDER BY o.workflow_uuid, o.function_id",
            {text_array(ids)});
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
