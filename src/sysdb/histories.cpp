// What is recorded of workflows that are about to run. A claim brings the first records of each along, within a budget of bytes;
// the rest is read as the replay comes to it (safety 48), so that neither one long history nor many of them fill the memory.
#include <algorithm>
#include <unordered_map>

#include "sysdb/claim_sql.hpp"
#include "sysdb/database.hpp"
#include "sysdb/listing.hpp"

namespace dbos::sysdb {

namespace {

constexpr std::int32_t kFirst = 32;  // records of each workflow that a claim brings along
constexpr std::int64_t kClaimBytes = std::int64_t{32} << 20;
constexpr std::int64_t kPageBytes = std::int64_t{8} << 20;
constexpr std::int64_t kPageRecords = 4096;

// Behind the id in the order of read_step.
#define DBOS_RECORD_COLUMNS                                                                        \
    "h.workflow_uuid, h.function_id, h.function_name, h.child_workflow_id, h.started_at_epoch_ms," \
    " h.completed_at_epoch_ms, h.serialization"
// Payloads of what would exceed the budget are not read from where large ones are kept, but for their length.
#define DBOS_RECORD_BYTES(length) "coalesce(" length "(o.output), 0) + coalesce(" length "(o.error), 0) + 256"
#define DBOS_FIRST_RECORDS(length, source) \
    "SELECT " DBOS_RECORD_COLUMNS                                                                     \
    ", CASE WHEN h.bytes <= $2 THEN h.output END, CASE WHEN h.bytes <= $2 THEN h.error END, h.application_name, h.bytes > $2 " \
    "FROM (SELECT o.*, sum(" DBOS_RECORD_BYTES(length) ") OVER (PARTITION BY o.workflow_uuid ORDER BY"     \
    " o.function_id) AS bytes FROM " source " AND o.function_id <= $3) h ORDER BY h.workflow_uuid, h.function_id"
#define DBOS_NEXT_RECORDS(length, table) \
    "SELECT " DBOS_RECORD_COLUMNS                                                                            \
    ", CASE WHEN h.before < $2 THEN h.output END, CASE WHEN h.before < $2 THEN h.error END, h.application_name, h.before >= $2 "   \
    "FROM (SELECT o.*, coalesce(sum(" DBOS_RECORD_BYTES(length) ") OVER (ORDER BY o.function_id ROWS BETWEEN"  \
    " UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before FROM (SELECT * FROM " table " WHERE workflow_uuid = $1" \
    " AND function_id >= $3 ORDER BY function_id LIMIT $4) o) h ORDER BY h.function_id"

constexpr Dialects kFirstRecords{
    {"claim_histories",
     DBOS_FIRST_RECORDS("octet_length", "@operation_outputs o WHERE o.workflow_uuid = ANY ($1::text[])"),
     sql::Access::read},
    {"claim_histories",
     DBOS_FIRST_RECORDS("length",
                        "json_each($1) a CROSS JOIN operation_outputs o WHERE o.workflow_uuid = a.value"),
     sql::Access::read}};

// Of the rows that the statement before it in the transaction has claimed.
constexpr sql::Statement kFirstRecordsOfClaimed{
    "claim_histories",
    DBOS_FIRST_RECORDS("octet_length",
                       "@operation_outputs o WHERE o.workflow_uuid = ANY (NULLIF(current_setting($1::text, "
                       "true), '')::text[])"),
    sql::Access::read};

constexpr Dialects kNextRecords{
    {"history_from", DBOS_NEXT_RECORDS("octet_length", "@operation_outputs"), sql::Access::read},
    {"history_from", DBOS_NEXT_RECORDS("length", "operation_outputs"), sql::Access::read}};

/// Appends the next record, or ends what is known before it, if it was left out for its size.
void append(History& history, const sql::Result& result, std::size_t row) {
    const auto number = static_cast<std::int32_t>(result.at(row, 1).integer());
    if (number > history.known_to) return;
    if (result.at(row, 10).boolean()) {
        history.known_to = number - 1;
        return;
    }
    history.records.push_back(read_step(result, row, 1));
    history.records.back().application_name = result.at(row, 9).optional_text();
}

}  // namespace

void load_histories(sql::Connection& connection, std::vector<ClaimedWorkflow>& workflows) {
    if (workflows.empty()) return;
    sql::TextArray ids;
    for (const ClaimedWorkflow& workflow : workflows) ids.emplace_back(workflow.workflow_id);
    const std::int64_t budget = kClaimBytes / std::ssize(workflows);
    read_histories(connection.execute(kFirstRecords.on(connection.backend()), {ids, budget, kFirst}),
                   workflows);
}

sql::Call histories_of_claimed(std::int64_t most) {
    return {&kFirstRecordsOfClaimed, {std::string_view(DBOS_CLAIMED_SETTING), kClaimBytes / most, kFirst}};
}

void read_histories(const sql::Result& result, std::vector<ClaimedWorkflow>& workflows) {
    std::unordered_map<std::string_view, History*> by_id;
    for (ClaimedWorkflow& workflow : workflows) {
        workflow.history = {.records = {}, .known_to = kFirst};
        by_id[workflow.workflow_id] = &workflow.history;
    }
    for (std::size_t row = 0; row < result.size(); ++row)
        append(*by_id.at(result.at(row, 0).text()), result, row);
}

History SystemDatabase::history_from(const std::string& workflow_id, std::int32_t number) {
    return core_->with_connection([&](sql::Connection& connection) {
        const sql::Result result =
            connection.execute(kNextRecords.on(connection.backend()),
                               {std::string_view(workflow_id), kPageBytes, number, kPageRecords});
        History history;
        for (std::size_t row = 0; row < result.size(); ++row) append(history, result, row);
        const bool all = std::ssize(history.records) < kPageRecords;
        if (!all) history.known_to = std::min(history.known_to, history.records.back().function_id);
        return history;
    });
}

}  // namespace dbos::sysdb
