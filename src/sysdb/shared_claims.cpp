// Claims from a queue whose limits all processes share: how many run, how many start in a period.
//
// PostgreSQL, READ COMMITTED, three statements (safety 6): the advisory lock of (schema, queue) lets one claimer of this
// library at a time through; the candidates are locked without waiting; a new statement, with a new snapshot, counts what
// runs and takes the rest. REPEATABLE READ with NOWAIT, as the other SDKs do, does not see processes that select other rows.
// SQLite: one writer at a time, so counting and taking in one BEGIN IMMEDIATE is enough.
//
// A period is looked at on the database clock, read after the lock: what counts is started_at_epoch_ms of rows that a claim
// under a rate limit has marked (queues-and-schedules.md 1.5; py: dbos/_sys_db.py). Rows that went back to the queue, were
// cancelled or dead-lettered have none.
#include <algorithm>
#include <limits>
#include <optional>

#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/claim_state.hpp"
#include "sysdb/database.hpp"

namespace dbos::sysdb {

namespace {

/// What the two limits leave; a limit that is NULL is not counted for.
#define DBOS_FREE_PG(concurrency, pending, max, period, skipped)                                       \
    "LEAST(CASE WHEN " concurrency "::bigint IS NULL THEN 2147483647 ELSE " concurrency " - " skipped  \
    " - " DBOS_RUNNING_PG(pending) " END, CASE WHEN " max "::bigint IS NULL THEN 2147483647 ELSE " max \
                                   " - " skipped                                                       \
                                   " - "                                                               \
                                   "(SELECT count(*) FROM " DBOS_STARTS_PG(period) ") END)"
#define DBOS_CANDIDATES_PG                                                                        \
    "SELECT w.workflow_uuid FROM @workflow_status w "                                             \
    "WHERE w.queue_name = $1::text AND w.status = 'ENQUEUED'"                                     \
    "  AND (w.priority, w.created_at) >= ($3::bigint::int4, $4::bigint)"                          \
    "  AND (w.application_version = $5::text OR (w.application_version IS NULL AND $6::boolean))" \
    "  AND ($2::text IS NULL OR w.application_name = $2 OR w.application_name IS NULL)"           \
    "  AND w.name = ANY ($7::text[]) "                                                            \
    "ORDER BY w.priority, w.created_at LIMIT "

constexpr sql::Statement kCandidates{"claim_shared_candidates",
                                     "WITH " DBOS_TIME_PG " " DBOS_CANDIDATES_PG
                                     "GREATEST(0, LEAST($8::bigint, " DBOS_FREE_PG(
                                         "$9", "$10", "$11", "$12", "0") ")) FOR NO KEY UPDATE NOWAIT"};

// Around somebody's lock: what stands in front without locking it, and then what of it can be locked.
constexpr sql::Statement kHead{"claim_shared_head", DBOS_CANDIDATES_PG "$8::bigint", sql::Access::read};
constexpr sql::Statement kLockable{
    "claim_shared_lockable",
    "SELECT w.workflow_uuid, w.status, w.queue_name FROM unnest($1::text[]) WITH ORDINALITY AS a(id, place)"
    " CROSS JOIN LATERAL (SELECT w.workflow_uuid, w.status, w.queue_name FROM @workflow_status w"
    "  WHERE w.workflow_uuid = a.id FOR NO KEY UPDATE SKIP LOCKED) w ORDER BY a.place"};

constexpr sql::Statement kTake{
    "claim_shared_take",
    "WITH " DBOS_TIME_PG ", n AS (SELECT " DBOS_FREE_PG(
        "$3", "$9", "$10", "$11",
        "$4::bigint") " AS n"
    "), cand AS MATERIALIZED ("
    "  SELECT a.id AS workflow_uuid FROM n JOIN unnest($5::text[]) WITH ORDINALITY AS a(id, place)"
    "    ON a.place <= n.n"
    "), upd AS ("
    DBOS_TAKEN_PG("$6::text", "$7::text", "$2", "$10::bigint IS NOT NULL", "$8::text")
    "  WHERE w.workflow_uuid = ANY (ARRAY(SELECT workflow_uuid FROM cand))"
    "  RETURNING " DBOS_CLAIM_COLUMNS("w.") ") "
    "SELECT u.*, " DBOS_INPUT_COLUMNS_PG
    " FROM upd u" DBOS_WITH_INPUTS_PG("u")};

// How many run; how many have started in the period; how long until the rate allows a start (NULL: now): the max-th newest
// start has then left the period.
constexpr sql::Statement kBudget{
    "claim_budget",
    "WITH " DBOS_TIME_PG " SELECT CASE WHEN $4::bigint IS NULL THEN 0 ELSE " DBOS_RUNNING_PG(
        "$3") " END, CASE WHEN $5::bigint IS NULL THEN 0 ELSE (SELECT count(*) FROM " DBOS_STARTS_PG("$6") ") END,"
    " CASE WHEN $5::bigint IS NULL THEN NULL ELSE (SELECT s.started_at_epoch_ms + $6 - (SELECT now FROM t) "
    "FROM " DBOS_STARTS_PG("$6") " ORDER BY s.started_at_epoch_ms DESC OFFSET GREATEST(0, $5 - 1) LIMIT 1) END",
    sql::Access::read};

constexpr sql::Statement kRunningSqlite{"claim_running", DBOS_RUNNING_LITE, sql::Access::read};

constexpr sql::Statement kStartsSqlite{
    "claim_starts",
    "SELECT started_at_epoch_ms FROM workflow_status WHERE queue_name = $1 AND rate_limited = TRUE"
    " AND started_at_epoch_ms > $3 AND +status NOT IN ('ENQUEUED', 'DELAYED')"
    " AND ($2 IS NULL OR application_name = $2 OR application_name IS NULL)"
    " ORDER BY started_at_epoch_ms DESC LIMIT $4",
    sql::Access::read};

/// Rows of a shared claim that were locked, in their order, and how many of the head were locked by others.
struct Locked {
    std::vector<std::string> ids;
    std::int64_t skipped = 0;
};

sql::Param number(const std::optional<std::int32_t>& value) {
    return value ? sql::Param(std::int64_t{*value}) : sql::Param();
}

class SharedClaim {
   public:
    SharedClaim(SystemDatabase::Core& core, const SharedClaimRequest& request)
        : core_(core),
          request_(request),
          queue_(request.base.queues.front()),
          most_(
              std::min(request.concurrency.value_or(kNoLimit), request.rate ? request.rate->max : kNoLimit)),
          limit_(std::min({queue_.limit, request.base.max_rows, most_})),
          start_(core.claims->start(queue_.name)) {}

    SharedClaimResult run(sql::Connection& connection) {
        if (core_.backend == sql::Backend::sqlite) return on_sqlite(connection);
        const seam::Duration now = seam::boot_now();
        try {
            // A spent budget costs no transaction, and a look only where it is likely to be spent.
            if (request_.rate || core_.claims->spent(queue_.name)) {
                SharedClaimResult spent = look_at_budget(connection, 0);
                if (spent.no_budget) return spent;
            }
            SharedClaimResult result =
                on_postgres(connection, core_.claims->contended_for_long(queue_.name, now));
            core_.claims->contended(queue_.name, false, now);
            core_.claims->spent(queue_.name, result.no_budget);
            return result;
        } catch (const DatabaseError& error) {
            if (!met_others(error)) throw;
            core_.claims->contended(queue_.name, true, now);
            return {.workflows = {}, .contended = true, .no_budget = false, .budget_in = {}};
        }
    }

   private:
    static constexpr std::int32_t kNoLimit = std::numeric_limits<std::int32_t>::max();

    sql::Param rate_max() const {
        return request_.rate ? sql::Param(std::int64_t{request_.rate->max}) : sql::Param();
    }
    sql::Param rate_period() const {
        return request_.rate ? sql::Param(request_.rate->period_ms) : sql::Param();
    }

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
        for (sql::Param param : {sql::Param(std::int64_t{limit_}), number(request_.concurrency),
                                 sql::Param(kPending), rate_max(), rate_period()}) {
            params.push_back(std::move(param));
        }
        return {.ids = ids_of(locked_call(connection, kCandidates, std::move(params)).back()), .skipped = 0};
    }

    Locked lock_around(sql::Connection& connection) const {
        sql::Params params = candidate_params();
        params.emplace_back(std::int64_t{most_});
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
            result = look_at_budget(connection, locked.skipped);
            transaction.rollback();
            return result;
        }
        const sql::Result taken = connection.execute(
            kTake, {std::string_view(queue_.name), sql::opt(base.application_name),
                    number(request_.concurrency), locked.skipped, text_array(locked.ids),
                    std::string_view(base.executor_id), std::string_view(base.application_version),
                    std::string_view(base.token), kPending, rate_max(), rate_period()});
        for (std::size_t row = 0; row < taken.size(); ++row) {
            result.workflows.push_back(read_claimed(taken, row, base.token));
        }
        result.no_budget = result.workflows.empty();
        transaction.commit();
        return result;
    }

    SharedClaimResult look_at_budget(sql::Connection& connection, std::int64_t skipped) const {
        const QueueBudget budget =
            queue_budget(connection, request_.base, request_.concurrency, request_.rate, 0);
        SharedClaimResult result;
        result.no_budget = budget.free - skipped <= 0;
        if (result.no_budget) result.budget_in = budget.back_in;
        return result;
    }

    SharedClaimResult on_sqlite(sql::Connection& connection) const {
        SharedClaimResult result;
        std::optional<QueueBudget> budget;
        const auto find = [&](std::int64_t most, Millis now) {
            const bool early = seam::planted(request_.rate ? seam::Bug::starts_counted_early
                                                           : seam::Bug::shared_limit_counted_early);
            if (!budget || !early)
                budget = queue_budget(connection, request_.base, request_.concurrency, request_.rate, now);
            result.no_budget = budget->free <= 0;
            result.budget_in = result.no_budget ? budget->back_in : std::nullopt;
            std::int64_t wanted = std::min({budget->free, std::int64_t{limit_}, most});
            const bool capped = core_.claims->peers() && wanted > kSharedFileClaim;
            if (capped) wanted = kSharedFileClaim;
            std::vector<std::string> ids;
            if (wanted > 0)
                ids = candidates_on_sqlite(connection, request_.base, queue_.name, start_, wanted);
            result.more = capped && std::ssize(ids) == wanted;
            return ids;
        };
        if (find(1, core_.clock.now_ms()).empty()) {  // nobody waits for the writers' lock in vain
            if (result.budget_in) seam::reach(seam::Situation::rate_spent);
            return result;
        }
        sql::Transaction transaction(connection);
        const Millis now = core_.clock.now_ms();
        const auto ids = find(limit_, now);
        result.workflows = take_on_sqlite(connection, request_.base, ids, now, request_.rate.has_value());
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
    const std::int32_t most_;  // that the limits allow at best
    const std::int32_t limit_;
    const QueuePosition start_;
};

}  // namespace

QueueBudget queue_budget(sql::Connection& connection, const ClaimRequest& request,
                         const std::optional<std::int32_t>& concurrency, const std::optional<StartRate>& rate,
                         Millis now_ms) {
    constexpr std::int64_t kAll = std::numeric_limits<std::int32_t>::max();
    const std::string_view queue = request.queues.front().name;
    const sql::Param application = sql::opt(request.application_name);
    std::int64_t running = 0;
    std::int64_t started = 0;
    std::optional<Millis> rate_back_in;
    if (connection.backend() == sql::Backend::postgres) {
        const sql::Result seen =
            connection.execute(kBudget, {queue, application, kPending, number(concurrency),
                                         rate ? sql::Param(std::int64_t{rate->max}) : sql::Param(),
                                         rate ? sql::Param(rate->period_ms) : sql::Param()});
        running = seen.at(0, 0).integer();
        started = seen.at(0, 1).integer();
        rate_back_in = seen.at(0, 2).optional_integer();
    } else {
        if (concurrency)
            running = connection.execute(kRunningSqlite, {queue, application}).at(0, 0).integer();
        if (rate) {
            const sql::Result newest = connection.execute(
                kStartsSqlite, {queue, application, now_ms - rate->period_ms, std::int64_t{rate->max}});
            started = static_cast<std::int64_t>(newest.size());
            if (started >= rate->max && started > 0)
                rate_back_in = newest.at(newest.size() - 1, 0).integer() + rate->period_ms - now_ms;
        }
    }
    const std::int64_t slots = concurrency ? *concurrency - running : kAll;
    const std::int64_t starts = rate ? rate->max - started : kAll;
    // A slot is told of by the end that frees it, a start only by the clock.
    return {.free = std::min(slots, starts),
            .back_in = slots > 0 && starts <= 0 ? rate_back_in : std::nullopt};
}

SharedClaimResult SystemDatabase::claim_shared(const SharedClaimRequest& request) {
    const ClaimRequest& base = request.base;
    if (base.queues.size() != 1) {
        throw UsageError("a claim under a shared limit takes exactly one queue; got " +
                         std::to_string(base.queues.size()));
    }
    if (base.queues.front().limit <= 0 || base.max_rows <= 0 || base.workflow_names.empty()) return {};
    if (request.concurrency.value_or(1) <= 0 || (request.rate && request.rate->max <= 0))
        return {.workflows = {}, .contended = false, .no_budget = true, .budget_in = {}};
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
