// Streams of workflows: reading them in pages, and what the waiter hub asks about positions in them.
#include "dbos/types.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/database.hpp"
#include "sysdb/listing.hpp"

namespace dbos::sysdb {
namespace {

// The sum of the sizes before a value bounds the page; the first value comes whatever its size.
#define DBOS_STREAM_PAGE(status_table, streams_table, length)                                         \
    "SELECT ws.status, p.at, p.value, p.serialization FROM " status_table                             \
    " ws LEFT JOIN ("                                                                                 \
    "SELECT s.\"offset\" AS at, s.value, s.serialization,"                                            \
    " sum(" length "(s.value)) OVER (ORDER BY s.\"offset\") - " length                                \
    "(s.value) AS before FROM " streams_table                                                         \
    " s WHERE s.workflow_uuid = $1 AND s.key = $2 AND s.\"offset\" >= $3 AND s.\"offset\" < $3 + 100" \
    ") p ON p.before < 1048576 WHERE ws.workflow_uuid = $1 ORDER BY p.at"

constexpr Dialects kPage{
    {"stream_page", DBOS_STREAM_PAGE("@workflow_status", "@streams", "octet_length"), sql::Access::read},
    {"stream_page", DBOS_STREAM_PAGE("workflow_status", "streams", "length"), sql::Access::read}};
#undef DBOS_STREAM_PAGE

constexpr sql::Statement kAllValues{
    "stream_values",
    "SELECT s.key, s.value, s.serialization FROM @streams s WHERE s.workflow_uuid = $1 ORDER BY s.key, "
    "s.\"offset\"",
    sql::Access::read};

constexpr sql::Statement kStates{
    "stream_states",
    "SELECT a.n, w.status, w.there FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS "
    "a(id, k, o, n)"
    " CROSS JOIN LATERAL (SELECT ws.status, EXISTS (SELECT 1 FROM @streams s WHERE s.workflow_uuid = a.id"
    "  AND s.key = a.k AND s.\"offset\" = a.o) AS there FROM @workflow_status ws WHERE ws.workflow_uuid = "
    "a.id OFFSET 0) w",
    sql::Access::read};
constexpr sql::Statement kState{
    "stream_state",
    "SELECT ws.status, EXISTS (SELECT 1 FROM streams s WHERE s.workflow_uuid = $1 AND s.key = $2"
    " AND s.\"offset\" = $3) FROM workflow_status ws WHERE ws.workflow_uuid = $1",
    sql::Access::read};

StreamState state(const sql::Cell& status, const sql::Cell& there) {
    return there.boolean() || is_terminal(status.string()) ? StreamState::value_or_end
                                                           : StreamState::nothing_yet;
}

}  // namespace

std::vector<StreamState> wait_streams(sql::Connection& connection,
                                      std::span<const StreamPosition> positions) {
    std::vector<StreamState> states(positions.size(), StreamState::no_workflow);
    if (connection.backend() == sql::Backend::sqlite) {
        for (std::size_t n = 0; n < positions.size(); ++n) {
            const StreamPosition& at = positions[n];
            const sql::Result row = connection.execute(
                kState, {std::string_view(at.workflow_id), std::string_view(at.key), at.offset});
            if (!row.empty()) states[n] = state(row.at(0, 0), row.at(0, 1));
        }
        return states;
    }
    sql::TextArray ids, keys;
    sql::IntArray offsets;
    for (const StreamPosition& at : positions) {
        ids.emplace_back(at.workflow_id);
        keys.emplace_back(at.key);
        offsets.emplace_back(at.offset);
    }
    const sql::Result rows = connection.execute(kStates, {ids, keys, offsets});
    for (std::size_t row = 0; row < rows.size(); ++row) {
        states[static_cast<std::size_t>(rows.at(row, 0).integer() - 1)] =
            state(rows.at(row, 1), rows.at(row, 2));
    }
    return states;
}

StreamPage SystemDatabase::read_stream(const StreamPosition& from) {
    return core_->with_connection([&](sql::Connection& connection) {
        const sql::Result rows =
            connection.execute(kPage.on(connection.backend()),
                               {std::string_view(from.workflow_id), std::string_view(from.key), from.offset});
        StreamPage page;
        if (rows.empty()) return page;
        page.status = rows.at(0, 0).string();
        for (std::size_t row = 0; row < rows.size(); ++row) {
            // Only what follows without a gap: what is missing may be committed yet.
            const std::int64_t next = from.offset + static_cast<std::int64_t>(page.values.size());
            if (rows.at(row, 1).null() || rows.at(row, 1).integer() != next) break;
            page.values.push_back({rows.at(row, 2).string(), rows.at(row, 3).optional_text()});
        }
        return page;
    });
}

std::vector<KeyedStreamValue> SystemDatabase::stream_values(const std::string& workflow_id) {
    return core_->with_connection([&](sql::Connection& connection) {
        const sql::Result rows = connection.execute(kAllValues, {std::string_view(workflow_id)});
        std::vector<KeyedStreamValue> values;
        for (std::size_t row = 0; row < rows.size(); ++row) {
            values.push_back(
                {rows.at(row, 0).string(), {rows.at(row, 1).string(), rows.at(row, 2).optional_text()}});
        }
        return values;
    });
}

}  // namespace dbos::sysdb
