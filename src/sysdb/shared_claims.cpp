// Claims from a queue whose limit all processes share.
//
// PostgreSQL, READ COMMITTED, three statements (safety 6): the advisory lock of (schema, queue) lets one claimer of this
// library at a time through; the candidates are locked without waiting; a new statement, with a new snapshot, counts what
// runs and takes the rest. REPEATABLE READ with NOWAIT, as the other SDKs do, does not see processes that select other rows.
// SQLite: one writer at a time, so counting and taking in one BEGIN IMMEDIATE is enough.
#include <algorithm>
#include <optional>

#include "platform/planted.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/claim_state.hpp"
#include "sysdb/database.hpp"

namespace dbos::sysdb {

namespace {

// A claimer that was stopped inside its transaction must not hold up the others.
constexpr sql::Statement kBounds{"claim_bounds",
                                 "SELECT set_config('lock_timeout', '200', true), "
                                 "set_config('idle_in_transaction_session_timeout', '10000', true)"};

constexpr sql::Statement kQueueLock{
    "claim_queue_lock",
    "SELECT pg_advisory_xact_lock(hashtextextended('dbos_cpp_claim:' || $1::text || ':' || $2::text, 0))"};

// `pending` is a parameter that says 'PENDING': with the literal, the index over all PENDING rows of all queues would do.
#define DBOS_RUNNING_PG(pending)                                                                     \
    "(SELECT count(*) FROM @workflow_status p WHERE p.queue_name = $1::text AND p.status = " pending \
    "::text"                                                                                         \
    " AND p.status IN ('ENQUEUED', 'PENDING')"                                                       \
    " AND ($2::text IS NULL OR p.application_name = $2 OR p.application_name IS NULL))"
#define DBOS_CANDIDATES_PG                                                                        \
    "SELECT w.workflow_uuid FROM @workflow_status w "                                             \
    "WHERE w.queue_name = $1::text AND w.status = 'ENQUEUED'"                                     \
    "  AND (w.priority, w.created_at) >= ($3::bigint::int4, $4::bigint)"                          \
    "  AND (w.application_version = $5::text OR (w.application_version IS NULL AND $6::boolean))" \
    "  AND ($2::text IS NULL OR w.application_name = $2 OR w.application_name IS NULL)"           \
    "  AND w.name = ANY ($7::text[]) "                                                            \
    "ORDER BY w.priority, w.created_at LIMIT "

constexpr sql::Statement kCandidates{
    "claim_shared_candidates", DBOS_CANDIDATES_PG
    "GREATEST(0, LEAST($8::bigint, $9::bigint - " DBOS_RUNNING_PG("$10") ")) FOR NO KEY UPDATE NOWAIT"};

// Around somebody's lock: what stands in front without locking it, and then what of it can be locked.
constexpr sql::Statement kHead{"claim_shared_head", DBOS_CANDIDATES_PG "$8::bigint", sql::Access::read};
constexpr sql::Statement kLockable{
    "claim_shared_lockable",
    "SELECT w.workflow_uuid, w.status, w.queue_name FROM unnest($1::text[]) WITH ORDINALITY AS a(id, place)"
    " CROSS JOIN LATERAL (SELECT w.workflow_uuid, w.status, w.queue_name FROM @workflow_status w"
    "  WHERE w.workflow_uuid = a.id FOR NO KEY UPDATE SKIP LOCKED) w ORDER BY a.place"};

constexpr sql::Statement kTake{
    "claim_shared_take",
    "WITH n AS (SELECT $3::bigint - $4::bigint - " DBOS_RUNNING_PG("$9") " AS n"
    "), t AS MATERIALIZED (SELECT " DBOS_CLOCK_PG " AS now"
    "), cand AS MATERIALIZED ("
    "  SELECT a.id AS workflow_uuid FROM n JOIN unnest($5::text[]) WITH ORDINALITY AS a(id, place)"
    "    ON a.place <= n.n"
    "), upd AS ("
    "  UPDATE @workflow_status w"
    "  SET status = 'PENDING', executor_id = $6::text, application_version = $7::text,"
    "      application_name = COALESCE(w.application_name, $2),"
    "      started_at_epoch_ms = (SELECT now FROM t), updated_at = (SELECT now FROM t), rate_limited = FALSE,"
    "      recovery_attempts = COALESCE(w.recovery_attempts, 0) + 1,"
    "      workflow_deadline_epoch_ms = CASE"
    "        WHEN w.workflow_timeout_ms IS NOT NULL AND w.workflow_deadline_epoch_ms IS NULL"
    "        THEN (SELECT now FROM t) + w.workflow_timeout_ms ELSE w.workflow_deadline_epoch_ms END,"
    "      owner_xid = $8::text"
    "  WHERE w.workflow_uuid = ANY (ARRAY(SELECT workflow_uuid FROM cand))"
    "  RETURNING " DBOS_CLAIM_COLUMNS("w.") ") "
    "SELECT u.*, " DBOS_INPUT_COLUMNS_PG
    " FROM upd u" DBOS_WITH_INPUTS_PG("u")};

constexpr sql::Statement kRunning{"claim_running", "SELECT " DBOS_RUNNING_PG("$3"), sql::Access::read};

constexpr sql::Statement kRunningSqlite{
    "claim_running",
    "SELECT count(*) FROM workflow_status WHERE queue_name = $1 AND status = 'PENDING'"
    " AND status IN ('ENQUEUED', 'PENDING') AND ($2 IS NULL OR application_name = $2 OR application_name IS "
    "NULL)",
    sql::Access::read};

constexpr std::string_view kPending = "PENDING";

/// Rows of a shared claim that were locked, in their order, and how many of the head were locked by others.
struct Locked {
    std::vector<std::string> ids;
    std::int64_t skipped = 0;
};

class SharedClaim {
   public:
    SharedClaim(SystemDatabase::Core& core, const SharedClaimRequest& request)
        : core_(core),
          request_(request),
          queue_(request.base.queues.front()),
          limit_(std::min({queue_.limit, request.base.max_rows, request.concurrency})),
          start_(core.claims->start(queue_.name)) {}

    SharedClaimResult run(sql::Connection& connection) {
        if (core_.backend == sql::Backend::sqlite) return on_sqlite(connection);
        const seam::Duration now = seam::boot_now();
        try {
            SharedClaimResult result =
                on_postgres(connection, core_.claims->contended_for_long(queue_.name, now));
            core_.claims->contended(queue_.name, false, now);
            return result;
        } catch (const DatabaseError& error) {
            const bool lock =
                error.sqlstate() == "55P03" || error.sqlstate() == "40001" || error.sqlstate() == "40P01";
            if (!lock || error.outcome_unknown()) throw;
            core_.claims->contended(queue_.name, true, now);
            return {.workflows = {}, .contended = true, .no_budget = false};
        }
    }

   private:
    sql::Params candidate_params() const {
        const ClaimRequest& base = request_.base;
        return {std::string_view(queue_.name),
                sql::opt(base.application_name),
                start_.priority,
                start_.created_at,
                std::string_view(base.application_version),
                base.is_latest_version,
                text_array(base.workflow_names)};
    }

    std::vector<sql::Result> locked_call(sql::Connection& connection, const sql::Statement& last,
                                         sql::Params params) const {
        const std::vector<sql::Call> calls{
            {&kBounds, {}},
            {&kQueueLock, {std::string_view(core_.options.open.schema), std::string_view(queue_.name)}},
            {&last, std::move(params)}};
        return connection.pipeline(calls);
    }

    Locked lock_head(sql::Connection& connection) const {
        sql::Params params = candidate_params();
        params.emplace_back(std::int64_t{limit_});
        params.emplace_back(std::int64_t{request_.concurrency});
        params.emplace_back(kPending);
        return {.ids = ids_of(locked_call(connection, kCandidates, std::move(params)).back()), .skipped = 0};
    }

    Locked lock_around(sql::Connection& connection) const {
        sql::Params params = candidate_params();
        params.emplace_back(std::int64_t{request_.concurrency});
        const std::vector<std::string> head =
            ids_of(locked_call(connection, kHead, std::move(params)).back());
        const sql::Result free = connection.execute(kLockable, {text_array(head)});
        Locked locked;
        for (std::size_t row = 0; row < free.size(); ++row) {
            if (free.at(row, 1).text() != "ENQUEUED" || free.at(row, 2).text() != queue_.name) continue;
            locked.ids.push_back(free.at(row, 0).string());
        }
        locked.skipped = static_cast<std::int64_t>(head.size() - locked.ids.size());
        if (std::ssize(locked.ids) > limit_) locked.ids.resize(static_cast<std::size_t>(limit_));
        return locked;
    }

    static std::vector<std::string> ids_of(const sql::Result& result) {
        std::vector<std::string> ids;
        for (std::size_t row = 0; row < result.size(); ++row) ids.push_back(result.at(row, 0).string());
        return ids;
    }

    SharedClaimResult on_postgres(sql::Connection& connection, bool around) const {
        const ClaimRequest& base = request_.base;
        SharedClaimResult result;
        sql::Transaction transaction(connection);
        const Locked locked = around ? lock_around(connection) : lock_head(connection);
        if (locked.ids.empty()) {
            result.no_budget = running(connection) + locked.skipped >= request_.concurrency;
            transaction.rollback();
            return result;
        }
        const sql::Result taken = connection.execute(
            kTake, {std::string_view(queue_.name), sql::opt(base.application_name),
                    std::int64_t{request_.concurrency}, locked.skipped, text_array(locked.ids),
                    std::string_view(base.executor_id), std::string_view(base.application_version),
                    std::string_view(base.token), kPending});
        for (std::size_t row = 0; row < taken.size(); ++row) {
            result.workflows.push_back(read_claimed(taken, row, base.token));
        }
        result.no_budget = result.workflows.empty();
        transaction.commit();
        return result;
    }

    std::int64_t running(sql::Connection& connection) const {
        sql::Params params{std::string_view(queue_.name), sql::opt(request_.base.application_name)};
        if (core_.backend == sql::Backend::postgres) params.emplace_back(kPending);
        const auto& statement = core_.backend == sql::Backend::postgres ? kRunning : kRunningSqlite;
        return connection.execute(statement, params).at(0, 0).integer();
    }

    SharedClaimResult on_sqlite(sql::Connection& connection) const {
        SharedClaimResult result;
        std::optional<std::int64_t> runs;
        const auto find = [&](std::int64_t most) {
            if (!runs || !seam::planted(seam::Bug::shared_limit_counted_early)) runs = running(connection);
            const std::int64_t free = request_.concurrency - *runs;
            result.no_budget = free <= 0;
            std::int64_t wanted = std::min({free, std::int64_t{limit_}, most});
            if (core_.claims->peers()) wanted = std::min<std::int64_t>(wanted, kSharedFileClaim);
            return wanted <= 0 ? std::vector<std::string>()
                               : candidates_on_sqlite(connection, request_.base, queue_.name, start_, wanted);
        };
        if (find(1).empty()) return result;  // nobody waits for the writers' lock in vain
        sql::Transaction transaction(connection);
        const auto ids = find(limit_);
        result.workflows = take_on_sqlite(connection, request_.base, ids, core_.clock.now_ms());
        if (result.workflows.empty()) {
            transaction.rollback();
        } else {
            transaction.commit();
        }
        return result;
    }

    SystemDatabase::Core& core_;
    const SharedClaimRequest& request_;
    const ClaimQueue& queue_;
    const std::int32_t limit_;
    const QueuePosition start_;
};

}  // namespace

SharedClaimResult SystemDatabase::claim_shared(const SharedClaimRequest& request) {
    const ClaimRequest& base = request.base;
    if (base.queues.size() != 1) {
        throw UsageError("a claim under a shared limit takes exactly one queue; got " +
                         std::to_string(base.queues.size()));
    }
    if (base.queues.front().limit <= 0 || base.max_rows <= 0 || base.workflow_names.empty()) return {};
    if (request.concurrency <= 0) return {.workflows = {}, .contended = false, .no_budget = true};
    Core& core = *core_;
    core.claims->enter(scope_of(base));
    const Millis since = core.clock.now_ms() - 1000;
    bool begun = false;
    return core.with_lane(core.claim_lane, [&](sql::Connection& connection, const Attempt& attempt) {
        SharedClaimResult result;
        if (attempt.number > 0 && begun) result.workflows = claimed_with_token(connection, base, since);
        begun = true;
        if (result.workflows.empty()) result = SharedClaim(core, request).run(connection);
        order_for_dispatch(result.workflows, base.queues);
        std::vector<QueuePosition> places;
        for (const ClaimedWorkflow& row : result.workflows) places.push_back({row.priority, row.created_at});
        if (!result.contended) core.claims->claimed(base.queues.front().name, places, false);
        load_histories(connection, result.workflows);
        return result;
    });
}

}  // namespace dbos::sysdb
