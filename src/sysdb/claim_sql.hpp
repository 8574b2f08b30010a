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
#define DBOS_CLAIMED_SETTING "dbos_cpp.claimed"
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
// `pending` is a parameter that says 'PENDING': with the literal, the index over all PENDING rows of all queues would do.
#define DBOS_RUNNING_PG(pending)                                                                     \
    "(SELECT count(*) FROM @workflow_status p WHERE p.queue_name = $1::text AND p.status = " pending \
    "::text"                                                                                         \
    " AND p.status IN ('ENQUEUED', 'PENDING')"                                                       \
    " AND ($2::text IS NULL OR p.application_name = $2 OR p.application_name IS NULL))"
#define DBOS_RUNNING_LITE                                                                 \
    "SELECT count(*) FROM workflow_status WHERE queue_name = $1 AND status = 'PENDING'"   \
    " AND status IN ('ENQUEUED', 'PENDING') AND ($2 IS NULL OR application_name = $2 OR " \
    "application_name IS NULL)"
// The latest version among those that `own` holds for.
#define DBOS_LATEST_VERSION(own) \
    "SELECT version_name FROM @application_versions WHERE " own " ORDER BY version_timestamp DESC LIMIT 1"
// Starts of the last `period` milliseconds. `t` holds the database time. The pair is what the index of all starts of all queues
// cannot serve: on empty tables it looks as good as that of the starts under a rate.
#define DBOS_STARTS_PG(period)                                                        \
    "@workflow_status s WHERE s.queue_name = $1::text AND s.rate_limited = TRUE"      \
    " AND (s.queue_name, s.started_at_epoch_ms) > ($1, (SELECT now FROM t) - " period \
    "::bigint) AND s.status NOT IN ('ENQUEUED', 'DELAYED')"                           \
    " AND ($2::text IS NULL OR s.application_name = $2 OR s.application_name IS NULL)"
#define DBOS_TIME_PG "t AS MATERIALIZED (SELECT " DBOS_CLOCK_PG " AS now)"
// What a claim writes (queues-and-schedules.md 1.7), at the time that `t` holds.
#define DBOS_TAKEN_PG(executor, version, application, rated, token)                                         \
    "UPDATE @workflow_status w SET status = 'PENDING', executor_id = " executor                             \
    ", application_version = " version ", application_name = COALESCE(w.application_name, " application     \
    "), started_at_epoch_ms = (SELECT now FROM t), updated_at = (SELECT now FROM t), rate_limited = " rated \
    ", recovery_attempts = COALESCE(w.recovery_attempts, 0) + 1, workflow_deadline_epoch_ms = CASE"         \
    " WHEN w.workflow_timeout_ms IS NOT NULL AND w.workflow_deadline_epoch_ms IS NULL"                      \
    " THEN (SELECT now FROM t) + w.workflow_timeout_ms ELSE w.workflow_deadline_epoch_ms END,"              \
    " owner_xid = " token " "
// NOLINTEND(cppcoreguidelines-macro-usage)

// A claimer that was stopped inside its transaction must not hold up the others.
inline constexpr sql::Statement kBounds{"claim_bounds",
                                        "SELECT set_config('lock_timeout', '200', true), "
                                        "set_config('idle_in_transaction_session_timeout', '10000', true)"};

inline constexpr sql::Statement kQueueLock{
    "claim_queue_lock",
    "SELECT pg_advisory_xact_lock(hashtextextended('dbos_cpp_claim:' || $1::text || ':' || $2::text, 0))"};

/// Of an application; NULL: of all.
inline constexpr sql::Statement kLatestVersion{
    "version_latest",
    DBOS_LATEST_VERSION(
        "CAST($1 AS TEXT) IS NULL OR application_name = CAST($1 AS TEXT) OR application_name IS NULL"),
    sql::Access::read};

/// A parameter of statements that count what runs, see DBOS_RUNNING_PG.
inline constexpr std::string_view kPending = "PENDING";

/// What the limits of a whole queue leave.
struct QueueBudget {
    std::int64_t free = 0;
    std::optional<Millis> back_in = {};  // without any, because of the rate: until when, from now
};
/// Of request.queues.front(). PostgreSQL: by its own clock.
QueueBudget queue_budget(sql::Connection& connection, const ClaimRequest& request,
                         const std::optional<std::int32_t>& concurrency, const std::optional<StartRate>& rate,
                         Millis now_ms);

/// Whether a claim met a lock or a snapshot of others, and nothing of it was done.
bool met_others(const DatabaseError& error) noexcept;

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
                                            const std::vector<std::string>& ids, Millis now_ms,
                                            bool rate_limited);

/// The first of each queue, the second of each queue, …; within a queue in its order.
void order_for_dispatch(std::vector<ClaimedWorkflow>& workflows, std::span<const ClaimQueue> queues);

/// The rows that carry this token: what a claim has got whose acknowledgement was lost. `since` bounds started_at_epoch_ms.
std::vector<ClaimedWorkflow> claimed_with_token(sql::Connection& connection, const ClaimRequest& request,
                                                Millis since);

/// Reads the first recorded steps of all of them (histories.cpp). Must begin when their rows are claimed: whoever had them
/// before can record nothing more from then on.
void load_histories(sql::Connection& connection, std::vector<ClaimedWorkflow>& workflows);

/// PostgreSQL: the same for at most `most` rows, behind a statement of the same pipeline that has told in DBOS_CLAIMED_SETTING
/// which rows it has claimed, and locked.
sql::Call histories_of_claimed(std::int64_t most);
void read_histories(const sql::Result& result, std::vector<ClaimedWorkflow>& workflows);

/// Largest number of rows of one claim on a file that several processes write, so that none waits long for its turn.
inline constexpr std::int32_t kSharedFileClaim = 50;

/// How many slots each queue gets: `rows` shared out one by one, starting with queue `turn`, never more than its limit.
std::vector<std::int32_t> share_out(std::span<const ClaimQueue> queues, std::int32_t rows, std::size_t turn);

}  // namespace dbos::sysdb
