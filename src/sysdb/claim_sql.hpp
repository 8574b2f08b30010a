// What the statements about queues have in common: the columns that a claim writes and returns, and how they are read.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sql/connection.hpp"
#include "sysdb/claim_state.hpp"
#include "sysdb/records.hpp"

namespace dbos::sysdb {

/// One operation in the texts of both databases.
struct Dialects {
    sql::Statement postgres;
    sql::Statement sqlite;
    const sql::Statement& on(sql::Backend backend) const noexcept {
        return backend == sql::Backend::postgres ? postgres : sqlite;
    }
};

// What every text about workflow_status repeats. Status values are literals, so that partial indexes serve generic plans.
// NOLINTBEGIN(cppcoreguidelines-macro-usage): texts are put together at compile time
#define DBOS_CLOCK_PG "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
/// Columns of ClaimedWorkflow without inputs; see read_claimed. The prefix is the alias of workflow_status.
#define DBOS_CLAIM_COLUMNS(w)                                                                          \
    w "workflow_uuid, " w "name, " w "class_name, " w "config_name, " w "queue_name, " w               \
      "queue_partition_key, " w "priority, " w "created_at, " w "recovery_attempts, " w                \
      "workflow_deadline_epoch_ms, " w "serialization, " w "authenticated_user, " w "assumed_role, " w \
      "authenticated_roles, " w "attributes, " w "application_name"
/// Inputs up to 64 KiB come along.
#define DBOS_INPUT_COLUMNS_PG                                                 \
    "CASE WHEN octet_length(i.inputs) <= 65536 THEN i.inputs END AS inputs, " \
    "i.inputs IS NULL OR octet_length(i.inputs) > 65536 AS deferred"
/// Row by row: a plain join that was planned on empty tables reads all inputs, for ever.
#define DBOS_WITH_INPUTS_PG(claimed)                                                              \
    " LEFT JOIN LATERAL (SELECT i.inputs FROM @workflow_input i WHERE i.workflow_uuid = " claimed \
    ".workflow_uuid OFFSET 0) i ON TRUE"
#define DBOS_INPUT_COLUMNS_LITE                                                       \
    "CASE WHEN length(CAST(i.inputs AS BLOB)) <= 65536 THEN i.inputs END AS inputs, " \
    "i.inputs IS NULL OR length(CAST(i.inputs AS BLOB)) > 65536 AS deferred"
// NOLINTEND(cppcoreguidelines-macro-usage)

/// Views of texts, as an array parameter; the texts must outlive the call.
sql::TextArray text_array(std::span<const std::string> texts);

/// Adds a row of DBOS_CLAIM_COLUMNS and, if they follow, the input columns.
ClaimedWorkflow read_claimed(const sql::Result& result, std::size_t row, const std::string& token);

ClaimState::Scope scope_of(const ClaimRequest& request);

/// SQLite: the first claimable rows of a queue from `start` on, and their claim. Inside a transaction.
std::vector<std::string> candidates_on_sqlite(sql::Connection& connection, const ClaimRequest& request,
                                              const std::string& queue, QueuePosition start,
                                              std::int64_t limit);
std::vector<ClaimedWorkflow> take_on_sqlite(sql::Connection& connection, const ClaimRequest& request,
                                            const std::vector<std::string>& ids, Millis now_ms);

/// The first of each queue, the second of each queue, …; within a queue in its order.
void order_for_dispatch(std::vector<ClaimedWorkflow>& workflows, std::span<const ClaimQueue> queues);

/// The rows that carry this token: what a claim has got whose acknowledgement was lost. `since` bounds started_at_epoch_ms.
std::vector<ClaimedWorkflow> claimed_with_token(sql::Connection& connection, const ClaimRequest& request,
                                                Millis since);

/// Reads the recorded steps of all of them. Must begin after the claim has committed.
void load_histories(sql::Connection& connection, std::vector<ClaimedWorkflow>& workflows);

/// Largest number of rows of one claim on a file that several processes write, so that none waits long for its turn.
inline constexpr std::int32_t kSharedFileClaim = 50;

/// How many slots each queue gets: `rows` shared out one by one, starting with queue `turn`, never more than its limit.
std::vector<std::int32_t> share_out(std::span<const ClaimQueue> queues, std::int32_t rows, std::size_t turn);

}  // namespace dbos::sysdb
