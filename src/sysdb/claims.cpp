// Claims from queues without a shared limit: one statement for all of them.
//
// Columns written: queues-and-schedules.md 1.7 (py: dbos/_queue.py, ts: wfqueue.ts, go: queue.go), application_name by
// COALESCE. The UPDATE names no indexable column but the id: with `status = …` in it, a generic plan reads the whole partial
// index once per row.
//
// The claim's commit does not wait for the disk. If the server crashes before it is there, the rows are queued as before, and
// what has begun here can record nothing: its fence is gone. The first record that was acknowledged has brought the claim to
// the disk with it. (Claims under a shared limit wait: a rate counts their starts.)
//
// The histories come in the same round trip, from a statement that sees what was recorded until the rows were locked.
#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>
#include <tuple>
#include <unordered_map>

#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/claim_state.hpp"
#include "sysdb/database.hpp"

namespace dbos::sysdb {

namespace {

constexpr sql::Statement kClaimPostgres{
    "claim",
    "WITH q AS ("
    "  SELECT q.name, q.lim, q.priority::int4 AS priority, q.created_at"
    "  FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS q(name, lim, priority, created_at)"
    "), t AS MATERIALIZED (SELECT " DBOS_CLOCK_PG " AS now, set_config('synchronous_commit', 'off', true) AS lazy"
    "), cand AS MATERIALIZED ("
    "  SELECT c.workflow_uuid"
    "  FROM q CROSS JOIN LATERAL ("
    "    SELECT w.workflow_uuid FROM @workflow_status w"
    "    WHERE w.queue_name = q.name AND w.status = 'ENQUEUED'"
    "      AND (w.priority, w.created_at) >= (q.priority, q.created_at)"
    "      AND (w.application_version = $5::text OR (w.application_version IS NULL AND $6::boolean))"
    "      AND ($7::text IS NULL OR w.application_name = $7 OR w.application_name IS NULL)"
    "      AND w.name = ANY ($8::text[])"
    "    ORDER BY w.priority, w.created_at"
    "    LIMIT q.lim"
    "    FOR NO KEY UPDATE SKIP LOCKED) c"
    "), upd AS ("
    DBOS_TAKEN_PG("$9::text", "$5", "$7", "FALSE", "$10::text")
    "  WHERE w.workflow_uuid = ANY (ARRAY(SELECT workflow_uuid FROM cand))"
    "  RETURNING " DBOS_CLAIM_COLUMNS("w.") "), told AS MATERIALIZED ("
    "  SELECT set_config('" DBOS_CLAIMED_SETTING "', array_agg(workflow_uuid)::text, true) FROM upd) "
    "SELECT u.*, " DBOS_INPUT_COLUMNS_PG
    " FROM told CROSS JOIN upd u" DBOS_WITH_INPUTS_PG("u")};

// The literal list is what lets the planner use the partial index.
constexpr sql::Statement kCandidatesSqlite{
    "claim_candidates",
    "SELECT workflow_uuid FROM workflow_status "
    "WHERE queue_name = $1 AND status = 'ENQUEUED' AND status IN ('ENQUEUED', 'PENDING')"
    "  AND (priority, created_at) >= ($2, $3)"
    "  AND (application_version = $4 OR (application_version IS NULL AND $5))"
    "  AND ($6 IS NULL OR application_name = $6 OR application_name IS NULL)"
    "  AND name IN (SELECT value FROM json_each($7)) "
    "ORDER BY priority, created_at LIMIT $8",
    sql::Access::read};

#define DBOS_TAKEN_LITE(deadline_begins)                                                              \
    "UPDATE workflow_status SET status = 'PENDING', executor_id = $2, application_version = $3,"      \
    " application_name = COALESCE(application_name, $4), started_at_epoch_ms = $5, updated_at = $5, " \
    "rate_limited = $7,"                                                                              \
    " recovery_attempts = COALESCE(recovery_attempts, 0) + 1,"                                        \
    " workflow_deadline_epoch_ms = CASE WHEN " deadline_begins                                        \
    "   THEN $5 + workflow_timeout_ms ELSE workflow_deadline_epoch_ms END,"                           \
    " owner_xid = $6 "                                                                                \
    "WHERE workflow_uuid IN (SELECT value FROM json_each($1)) "                                       \
    "RETURNING " DBOS_CLAIM_COLUMNS("")
constexpr sql::Statement kTakeSqlite{
    "claim_take", DBOS_TAKEN_LITE("workflow_timeout_ms IS NOT NULL AND workflow_deadline_epoch_ms IS NULL")};
constexpr sql::Statement kTakeAnew{"claim_take_anew",  // only with a planted bug
                                   DBOS_TAKEN_LITE("workflow_timeout_ms IS NOT NULL")};
#undef DBOS_TAKEN_LITE

constexpr sql::Statement kInputsSqlite{
    "claim_inputs",
    "SELECT i.workflow_uuid, " DBOS_INPUT_COLUMNS_LITE
    " FROM json_each($1) a JOIN workflow_input i ON i.workflow_uuid = a.value",
    sql::Access::read};

// Fenced by MATERIALIZED: with `status` beside the other conditions, the index over all PENDING rows would do as well.
constexpr Dialects kClaimed{
    {"claimed_with_token",
     "WITH c AS MATERIALIZED ("
     "  SELECT * FROM @workflow_status w"
     "  WHERE w.started_at_epoch_ms >= $1::bigint AND w.executor_id = $2::text AND w.owner_xid = $3::text) "
     "SELECT " DBOS_CLAIM_COLUMNS("c.") ", " DBOS_INPUT_COLUMNS_PG
                                        " FROM c" DBOS_WITH_INPUTS_PG("c") " WHERE c.status = 'PENDING'",
     sql::Access::read},
    {"claimed_with_token",
     "SELECT " DBOS_CLAIM_COLUMNS(
         "w.") ", " DBOS_INPUT_COLUMNS_LITE
               " FROM workflow_status w LEFT JOIN workflow_input i ON i.workflow_uuid = w.workflow_uuid"
               " WHERE w.started_at_epoch_ms >= $1 AND w.executor_id = $2 AND w.owner_xid = $3 AND +w.status "
               "= 'PENDING'",
     sql::Access::read}};

/// Longer than this for a claim: dead entries are likely in the way of its scans.
constexpr seam::Duration kSlowClaim = std::chrono::milliseconds(10);

QueuePosition position(const ClaimedWorkflow& workflow) { return {workflow.priority, workflow.created_at}; }

std::vector<ClaimedWorkflow> claim_on_postgres(sql::Connection& connection, const ClaimRequest& request,
                                               std::span<const std::int32_t> shares,
                                               const ClaimState& state) {
    sql::TextArray names;
    sql::IntArray limits;
    sql::IntArray priorities;
    sql::IntArray instants;
    for (std::size_t n = 0; n < request.queues.size(); ++n) {
        if (shares[n] <= 0) continue;
        const QueuePosition start = state.start(request.queues[n].name);
        names.emplace_back(request.queues[n].name);
        limits.emplace_back(shares[n]);
        priorities.emplace_back(start.priority);
        instants.emplace_back(start.created_at);
    }
    if (names.empty()) return {};
    const std::int64_t most = std::reduce(shares.begin(), shares.end(), std::int64_t{0});
    const std::vector<sql::Call> calls{
        {&kClaimPostgres,
         {names, limits, priorities, instants, std::string_view(request.application_version),
          request.is_latest_version, sql::opt(request.application_name), text_array(request.workflow_names),
          std::string_view(request.executor_id), std::string_view(request.token)}},
        histories_of_claimed(most)};
    const std::vector<sql::Result> results = connection.pipeline(calls);
    std::vector<ClaimedWorkflow> claimed;
    claimed.reserve(results[0].size());
    for (std::size_t row = 0; row < results[0].size(); ++row)
        claimed.push_back(read_claimed(results[0], row, request.token));
    read_histories(results[1], claimed);
    return claimed;
}

std::vector<ClaimedWorkflow> claim_on_sqlite(sql::Connection& connection, const ClaimRequest& request,
                                             std::span<const std::int32_t> shares, const ClaimState& state,
                                             Millis now_ms) {
    const auto find = [&](std::size_t n, std::int64_t limit) {
        const std::string& queue = request.queues[n].name;
        return candidates_on_sqlite(connection, request, queue, state.start(queue), limit);
    };
    bool any = false;
    for (std::size_t n = 0; n < request.queues.size() && !any; ++n)
        any = shares[n] > 0 && !find(n, 1).empty();
    if (!any) return {};                 // where nothing is to be claimed, nobody waits for the writers' lock
    std::vector<ClaimedWorkflow> early;  // only with a planted bug
    const bool too_early = seam::planted(seam::Bug::history_before_claim);
    for (std::size_t n = 0; n < request.queues.size() && too_early; ++n) {
        for (const std::string& id : find(n, shares[n])) early.emplace_back().workflow_id = id;
    }
    load_histories(connection, early);
    std::vector<std::string> ids;
    sql::Transaction transaction(connection);
    for (std::size_t n = 0; n < request.queues.size(); ++n) {
        if (shares[n] > 0) std::ranges::move(find(n, shares[n]), std::back_inserter(ids));
    }
    std::vector<ClaimedWorkflow> claimed = take_on_sqlite(connection, request, ids, now_ms, false);
    if (claimed.empty()) {
        transaction.rollback();
    } else {
        transaction.commit();
    }
    if (!too_early) load_histories(connection, claimed);
    for (ClaimedWorkflow& seen : early) {
        const auto row = std::ranges::find(claimed, seen.workflow_id, &ClaimedWorkflow::workflow_id);
        if (row != claimed.end()) row->history = std::move(seen.history);
    }
    return claimed;
}

/// One claim: shares, the statement, and once more for queues that wanted more than their share while others had nothing.
class Claim {
   public:
    Claim(SystemDatabase::Core& core, const ClaimRequest& request)
        : core_(core), state_(*core.claims), request_(request), budget_(request.max_rows) {
        if (core.backend == sql::Backend::sqlite && state_.peers())
            budget_ = std::min(budget_, kSharedFileClaim);
    }

    ClaimResult run(sql::Connection& connection) {
        std::vector<ClaimQueue> wanted = request_.queues;
        std::vector<bool> empty(wanted.size(), false);
        const std::size_t turn = seam::planted(seam::Bug::turn_never_passes) ? 0 : state_.turn();
        while (budget_ > 0) {
            const std::vector<std::int32_t> shares = share_out(wanted, budget_, turn);
            if (std::reduce(shares.begin(), shares.end()) == 0) break;
            std::map<std::string_view, std::int32_t> got;
            std::vector<ClaimedWorkflow> rows = attempt(connection, shares);
            budget_ -= static_cast<std::int32_t>(rows.size());
            claimed_.insert(claimed_.end(), std::move_iterator(rows.begin()), std::move_iterator(rows.end()));
            for (const ClaimedWorkflow& workflow : claimed_) ++got[workflow.queue_name];
            bool more = false;
            for (std::size_t n = 0; n < wanted.size(); ++n) {
                // A queue that did not fill its share is empty for now.
                const std::int32_t total = got[request_.queues[n].name];
                const std::int32_t before = request_.queues[n].limit - wanted[n].limit;
                empty[n] = empty[n] || (shares[n] > 0 && total - before < shares[n]);
                wanted[n].limit = empty[n] || shares[n] <= 0 ? 0 : request_.queues[n].limit - total;
                more = more || wanted[n].limit > 0;
            }
            if (!more) break;
        }
        ClaimResult result{.workflows = std::move(claimed_)};
        for (std::size_t n = 0; n < wanted.size(); ++n) {
            if (!empty[n]) result.more.push_back(wanted[n].name);
        }
        return result;
    }

   private:
    std::vector<ClaimedWorkflow> attempt(sql::Connection& connection, std::span<const std::int32_t> shares) {
        const seam::Duration begun = seam::boot_now();
        std::vector<ClaimedWorkflow> rows =
            core_.backend == sql::Backend::postgres
                ? claim_on_postgres(connection, request_, shares, state_)
                : claim_on_sqlite(connection, request_, shares, state_, core_.clock.now_ms());
        const bool slow = seam::boot_now() - begun > kSlowClaim;
        std::map<std::string, std::vector<QueuePosition>> places;
        for (std::size_t n = 0; n < request_.queues.size(); ++n) {
            if (shares[n] > 0) places[request_.queues[n].name];
        }
        for (const ClaimedWorkflow& row : rows) places[row.queue_name].push_back(position(row));
        for (const auto& [queue, taken] : places) state_.claimed(queue, taken, slow);
        return rows;
    }

    SystemDatabase::Core& core_;
    ClaimState& state_;
    const ClaimRequest& request_;
    std::int32_t budget_;
    std::vector<ClaimedWorkflow> claimed_;
};

}  // namespace

std::vector<ClaimedWorkflow> take_on_sqlite(sql::Connection& connection, const ClaimRequest& request,
                                            const std::vector<std::string>& ids, Millis now_ms,
                                            bool rate_limited) {
    std::vector<ClaimedWorkflow> claimed;
    if (ids.empty()) return claimed;
    const sql::Result taken =
        connection.execute(seam::planted(seam::Bug::deadline_counts_anew) ? kTakeAnew : kTakeSqlite,
                           {text_array(ids), std::string_view(request.executor_id),
                            std::string_view(request.application_version), sql::opt(request.application_name),
                            now_ms, std::string_view(request.token), rate_limited});
    std::unordered_map<std::string, std::size_t> places;
    for (std::size_t row = 0; row < taken.size(); ++row) {
        claimed.push_back(read_claimed(taken, row, request.token));
        places[claimed.back().workflow_id] = row;
    }
    const sql::Result inputs = connection.execute(kInputsSqlite, {text_array(ids)});
    for (std::size_t row = 0; row < inputs.size(); ++row) {
        const auto place = places.find(inputs.at(row, 0).string());
        if (place == places.end()) continue;
        claimed[place->second].inputs = inputs.at(row, 1).optional_text();
        claimed[place->second].inputs_deferred = inputs.at(row, 2).boolean();
    }
    return claimed;
}

std::vector<std::string> candidates_on_sqlite(sql::Connection& connection, const ClaimRequest& request,
                                              const std::string& queue, QueuePosition start,
                                              std::int64_t limit) {
    std::vector<std::string> ids;
    const sql::Result found = connection.execute(
        kCandidatesSqlite, {std::string_view(queue), start.priority, start.created_at,
                            std::string_view(request.application_version), request.is_latest_version,
                            sql::opt(request.application_name), text_array(request.workflow_names), limit});
    for (std::size_t row = 0; row < found.size(); ++row) ids.push_back(found.at(row, 0).string());
    return ids;
}

void order_for_dispatch(std::vector<ClaimedWorkflow>& workflows, std::span<const ClaimQueue> queues) {
    std::ranges::sort(workflows, {}, [](const ClaimedWorkflow& workflow) {
        return std::tuple(workflow.priority, workflow.created_at, std::string_view(workflow.workflow_id));
    });
    std::unordered_map<std::string_view, std::size_t> places;
    for (std::size_t n = 0; n < queues.size(); ++n) places.emplace(queues[n].name, n);
    std::unordered_map<std::string_view, std::size_t> counts;
    std::vector<std::pair<std::pair<std::size_t, std::size_t>, std::size_t>> order;
    for (std::size_t n = 0; n < workflows.size(); ++n) {
        const std::string_view queue = workflows[n].queue_name;
        const auto place = places.find(queue);
        order.push_back({{counts[queue]++, place == places.end() ? queues.size() : place->second}, n});
    }
    std::ranges::sort(order);
    std::vector<ClaimedWorkflow> result;
    result.reserve(workflows.size());
    for (const auto& entry : order) result.push_back(std::move(workflows[entry.second]));
    workflows = std::move(result);
}

bool met_others(const DatabaseError& error) noexcept {
    const std::string& state = error.sqlstate();
    return (state == "55P03" || state == "40001" || state == "40P01") && !error.outcome_unknown();
}

ClaimState::Scope scope_of(const ClaimRequest& request) {
    return {.version = request.application_version,
            .latest = request.is_latest_version,
            .application_name = request.application_name,
            .names = request.workflow_names};
}

sql::TextArray text_array(std::span<const std::string> texts) {
    sql::TextArray result;
    result.reserve(texts.size());
    for (const std::string& text : texts) result.emplace_back(text);
    return result;
}

std::vector<std::int32_t> share_out(std::span<const ClaimQueue> queues, std::int32_t rows, std::size_t turn) {
    std::vector<std::int32_t> shares(queues.size(), 0);
    std::vector<std::size_t> hungry;
    for (std::size_t n = 0; n < queues.size(); ++n) {
        const std::size_t place = (turn + n) % queues.size();
        if (queues[place].limit > 0) hungry.push_back(place);
    }
    while (rows > 0 && !hungry.empty()) {
        const auto count = static_cast<std::int32_t>(hungry.size());
        const std::int32_t each = std::max(1, rows / count);
        for (const std::size_t place : hungry) {
            const std::int32_t more = std::min({each, rows, queues[place].limit - shares[place]});
            shares[place] += more;
            rows -= more;
        }
        std::erase_if(hungry, [&](std::size_t place) { return shares[place] >= queues[place].limit; });
    }
    return shares;
}

ClaimedWorkflow read_claimed(const sql::Result& result, std::size_t row, const std::string& token) {
    std::size_t column = 0;
    const auto next = [&] { return result.at(row, column++); };
    ClaimedWorkflow workflow;
    workflow.token = token;
    workflow.workflow_id = next().string();
    workflow.name = next().string();
    workflow.class_name = next().optional_text();
    workflow.config_name = next().optional_text();
    workflow.queue_name = next().string();
    workflow.queue_partition_key = next().optional_text();
    workflow.priority = static_cast<std::int32_t>(next().integer());
    workflow.created_at = next().integer();
    workflow.recovery_attempts = next().optional_integer().value_or(0);
    workflow.deadline_ms = next().optional_integer();
    workflow.serialization = next().optional_text();
    workflow.authenticated_user = next().optional_text();
    workflow.assumed_role = next().optional_text();
    workflow.authenticated_roles = next().optional_text();
    workflow.attributes = next().optional_text();
    workflow.application_name = next().optional_text();
    workflow.inputs_deferred = true;
    if (column + 1 < result.columns()) {
        workflow.inputs = next().optional_text();
        workflow.inputs_deferred = next().boolean();
    }
    return workflow;
}

std::vector<ClaimedWorkflow> claimed_with_token(sql::Connection& connection, const ClaimRequest& request,
                                                Millis since) {
    const sql::Result result =
        connection.execute(kClaimed.on(connection.backend()),
                           {since, std::string_view(request.executor_id), std::string_view(request.token)});
    std::vector<ClaimedWorkflow> claimed;
    if (!result.empty()) seam::reach(seam::Situation::own_claim_found);
    for (std::size_t row = 0; row < result.size(); ++row)
        claimed.push_back(read_claimed(result, row, request.token));
    return claimed;
}

ClaimResult SystemDatabase::claim(const ClaimRequest& request) {
    if (request.queues.empty() || request.max_rows <= 0 || request.workflow_names.empty()) return {};
    Core& core = *core_;
    core.claims->enter(scope_of(request));
    const Millis since = core.clock.now_ms() - 1000;
    bool begun = false;
    return core.with_lane(core.claim_lane, [&](sql::Connection& connection, const Attempt& attempt) {
        ClaimResult result;
        // An earlier attempt may have committed, as a whole or its first statement.
        if (attempt.number > 0 && begun && !seam::planted(seam::Bug::lost_claim_forgotten))
            result.workflows = claimed_with_token(connection, request, since);
        begun = true;
        if (result.workflows.empty()) {
            result = Claim(core, request).run(connection);
        } else {
            load_histories(connection, result.workflows);
            for (const ClaimQueue& queue : request.queues) result.more.push_back(queue.name);
        }
        order_for_dispatch(result.workflows, request.queues);
        return result;
    });
}

void SystemDatabase::scan_from_head(std::span<const std::string> queues) {
    if (queues.empty()) {
        core_->claims->forget_all();
    } else {
        core_->claims->forget(queues);
    }
}

}  // namespace dbos::sysdb
