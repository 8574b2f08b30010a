// Transactional steps: checkpoints in the program's own transaction on this database.
#include "sysdb/committer_statements.hpp"
#include "sysdb/in_transaction.hpp"

namespace dbos::sysdb {
namespace {

// The concatenation keeps partial indexes on the status away (safety 54).
constexpr sql::Statement kLockPostgres{
    "transaction_lock",
    "SELECT 1 FROM @workflow_status w WHERE w.workflow_uuid = $1 AND w.owner_xid = $2 AND w.status || '' = "
    "'PENDING' FOR NO KEY UPDATE"};
constexpr sql::Statement kOwnedSqlite{
    "transaction_owned",
    "SELECT 1 FROM @workflow_status w WHERE w.workflow_uuid = $1 AND w.owner_xid = $2 AND w.status || '' = "
    "'PENDING'",
    sql::Access::read};
constexpr sql::Statement kInsert{
    "transaction_record",
    "INSERT INTO @operation_outputs (workflow_uuid, function_id, function_name, output, error, "
    "started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name, retention_timestamp) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $7) ON CONFLICT (workflow_uuid, function_id) DO NOTHING "
    "RETURNING function_id"};
constexpr sql::Statement kLife{
    "workflow_life",
    "SELECT COALESCE(w.creator_xid, 'created ' || w.created_at) FROM @workflow_status w WHERE "
    "w.workflow_uuid = $1",
    sql::Access::read};

}  // namespace

CheckpointIn checkpoint_in(sql::Connection& connection, const Fence& fence, const StepRecord& step) {
    const sql::Params pair{std::string_view(fence.workflow_id), std::string_view(fence.token)};
    const bool postgres = connection.backend() == sql::Backend::postgres;
    if (connection.execute(postgres ? kLockPostgres : kOwnedSqlite, pair).empty()) return CheckpointIn::lost;
    const sql::Result inserted = connection.execute(
        kInsert, {std::string_view(fence.workflow_id), std::int64_t{step.function_id},
                  std::string_view(step.function_name), sql::opt(step.output), sql::opt(step.error),
                  sql::opt(step.started_at_ms), sql::opt(step.completed_at_ms), sql::opt(step.serialization),
                  sql::opt(step.application_name)});
    return inserted.empty() ? CheckpointIn::exists : CheckpointIn::inserted;
}

StepResult read_checkpoint(sql::Connection& connection, const Fence& fence, const StepRecord& step) {
    const sql::Result row = connection.query(
        "SELECT w.owner_xid, w.status, " + std::string(kStepColumns) +
            " FROM @workflow_status w LEFT JOIN @operation_outputs o ON o.workflow_uuid = w.workflow_uuid "
            "AND o.function_id = $2 WHERE w.workflow_uuid = $1",
        {std::string_view(fence.workflow_id), std::int64_t{step.function_id}});
    StepResult result;
    if (row.empty() || row.at(0, 0).text() != fence.token || row.at(0, 1).text() != "PENDING") {
        result.kind = StepResult::Kind::lost;
    } else if (row.at(0, 2).null()) {
        result.kind = StepResult::Kind::nothing;
    } else {
        result.stored = read_step_record(row, 0, 2);
        const bool ours = result.stored.completed_at_ms == step.completed_at_ms;
        result.kind = ours ? StepResult::Kind::recorded : StepResult::Kind::other;
    }
    return result;
}

Text SystemDatabase::life_of(const std::string& workflow_id) {
    return core_->with_connection([&](sql::Connection& connection) -> Text {
        const sql::Result found = connection.execute(kLife, {std::string_view(workflow_id)});
        return found.empty() ? Text() : found.at(0, 0).optional_text();
    });
}

}  // namespace dbos::sysdb
