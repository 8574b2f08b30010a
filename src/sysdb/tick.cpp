// The tick: once a second one read-only question, and only what it reports is followed by a write.
//
// PostgreSQL: one statement of branches with a common shape (kind, texts a-d, numbers n1-n5). SQLite: the same questions in
// one read transaction. Behind it, rarely, a second statement: where the claimable rows of a queue begin whose head is full
// of rows of others (claim_state.hpp).
#include <algorithm>
#include <unordered_map>

#include "platform/situations.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/claim_state.hpp"
#include "sysdb/database.hpp"

namespace dbos::sysdb {

namespace {

#define DBOS_TICK_OWN "($2::text IS NULL OR application_name = $2 OR application_name IS NULL)"
#define DBOS_CLAIMABLE(w, version, latest, application, names)                                 \
    "(" w "application_version = " version " OR (" w "application_version IS NULL AND " latest \
    "))"                                                                                       \
    " AND (" application " IS NULL OR " w "application_name = " application " OR " w           \
    "application_name IS NULL)"                                                                \
    " AND " w "name " names

// $1 now, $2 application, $3 version, $4 latest, $5 names, $6 $7 running, $8-$12 probes (the last two: rows need a partition
// key; limit of what may run), $13 'PENDING': see claim_sql.hpp
constexpr sql::Statement kTickPostgres{
    "tick",
    "SELECT 'now' AS kind, NULL::text AS a, NULL::text AS b, NULL::text AS c, NULL::text AS d, " DBOS_CLOCK_PG " AS n1,"
    " NULL::bigint AS n2, NULL::bigint AS n3, NULL::bigint AS n4, NULL::bigint AS n5 "
    "UNION ALL SELECT 'due', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE EXISTS ("
    "  SELECT 1 FROM @workflow_status WHERE status = 'DELAYED' AND delay_until_epoch_ms <= $1::bigint AND " DBOS_TICK_OWN ") "
    "UNION ALL SELECT 'deadline', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE EXISTS ("
    "  SELECT 1 FROM @workflow_status WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED')"
    "   AND workflow_deadline_epoch_ms IS NOT NULL AND workflow_deadline_epoch_ms <= $1::bigint AND " DBOS_TICK_OWN ") "
    "UNION ALL SELECT 'lost', r.id, r.token, w.status, NULL, NULL, NULL, NULL, NULL, NULL"
    " FROM unnest($6::text[], $7::text[]) AS r(id, token) LEFT JOIN LATERAL ("
    "  SELECT w.status, w.owner_xid FROM @workflow_status w WHERE w.workflow_uuid = r.id OFFSET 0) w ON TRUE"
    " WHERE w.status IS DISTINCT FROM 'PENDING' OR w.owner_xid IS DISTINCT FROM r.token "
    "UNION ALL SELECT 'queues', count(*) || ':' || coalesce(sum(hashtextextended(q::text, 0)), 0), NULL, NULL, NULL,"
    "  NULL, NULL, NULL, NULL, NULL FROM @queues q WHERE " DBOS_TICK_OWN " "
    "UNION ALL SELECT 'schedules', count(*) || ':' || coalesce(sum(hashtextextended((s.schedule_id, s.status, s.schedule,"
    "  s.workflow_name, s.workflow_class_name, s.context, s.cron_timezone, s.queue_name, s.automatic_backfill)::text, 0)), 0),"
    "  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM @workflow_schedules s WHERE " DBOS_TICK_OWN " "
    "UNION ALL SELECT 'latest', (" DBOS_LATEST_VERSION(DBOS_TICK_OWN) "), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL "
    "UNION ALL SELECT 'work', NULL, NULL, NULL, NULL, p.place, h.priority::bigint, h.created_at,"
    "  CASE WHEN h.priority IS NULL OR p.lim IS NULL THEN 0 ELSE (SELECT count(*) FROM (SELECT 1 FROM @workflow_status r"
    "   WHERE r.queue_name = p.name AND r.status = $13::text AND r.status IN ('ENQUEUED', 'PENDING')"
    "    AND ($2 IS NULL OR r.application_name = $2 OR r.application_name IS NULL) LIMIT p.lim) running) END, NULL"
    " FROM unnest($8::text[], $9::bigint[], $10::bigint[], $11::boolean[], $12::bigint[])"
    "  WITH ORDINALITY AS p(name, priority, created_at, keyed, lim, place)"
    " LEFT JOIN LATERAL ("
    "  SELECT x.priority, x.created_at FROM ("
    "    SELECT w.priority, w.created_at, w.application_version, w.application_name, w.name, w.queue_partition_key"
    "    FROM @workflow_status w"
    "    WHERE w.queue_name = p.name AND w.status = 'ENQUEUED'"
    "      AND (w.priority, w.created_at) >= (p.priority::int4, p.created_at)"
    "    ORDER BY w.priority, w.created_at LIMIT 100) x"
    "  WHERE " DBOS_CLAIMABLE("x.", "$3::text", "$4::boolean", "$2", "= ANY ($5::text[])")
    "   AND (NOT p.keyed OR x.queue_partition_key IS NOT NULL) LIMIT 1) h ON TRUE"
    " WHERE h.priority IS NOT NULL OR EXISTS ("
    "  SELECT 1 FROM @workflow_status w WHERE w.queue_name = p.name AND w.status = 'ENQUEUED'"
    "   AND (w.priority, w.created_at) >= (p.priority::int4, p.created_at) OFFSET 100) "
    "UNION ALL SELECT 'lease', executor_id, incarnation, version, host_key, counter, expires_at, lease_ms, pid::bigint,"
    "  process_start FROM @dbos_cpp_executors WHERE application_name = $2",
    sql::Access::read};

// Where the first claimable row is, or else the last entry; and how many entries stand in front (as far as it matters).
constexpr sql::Statement kScanPostgres{
    "scan_queues",
    "SELECT q.name, f.found, f.priority, f.created_at, ("
    "  SELECT count(*) FROM (SELECT 1 FROM @workflow_status w WHERE w.queue_name = q.name AND w.status = 'ENQUEUED'"
    "   AND (w.priority, w.created_at) < (f.priority, f.created_at) LIMIT 1001) passed) "
    "FROM unnest($1::text[], $6::boolean[]) AS q(name, keyed) CROSS JOIN LATERAL ("
    "  SELECT x.found, x.priority, x.created_at FROM ("
    "    (SELECT TRUE AS found, w.priority, w.created_at FROM @workflow_status w"
    "     WHERE w.queue_name = q.name AND w.status = 'ENQUEUED' AND "
    DBOS_CLAIMABLE("w.", "$3::text", "$4::boolean", "$2::text", "= ANY ($5::text[])")
    "      AND (NOT q.keyed OR w.queue_partition_key IS NOT NULL) ORDER BY w.priority, w.created_at LIMIT 1)"
    "    UNION ALL"
    "    (SELECT FALSE, w.priority, w.created_at FROM @workflow_status w"
    "     WHERE w.queue_name = q.name AND w.status = 'ENQUEUED'"
    "     ORDER BY w.priority DESC, w.created_at DESC LIMIT 1)) x"
    "  ORDER BY x.found DESC LIMIT 1) f",
    sql::Access::read};

#define DBOS_LITE_OWN "($1 IS NULL OR application_name = $1 OR application_name IS NULL)"
#define DBOS_LITE_QUEUE "queue_name = $1 AND status = 'ENQUEUED' AND status IN ('ENQUEUED', 'PENDING')"

constexpr sql::Statement kLiteState{
    "tick_state",
    "SELECT EXISTS (SELECT 1 FROM workflow_status WHERE status = 'DELAYED' AND delay_until_epoch_ms <= $2 "
    "AND " DBOS_LITE_OWN
    "), EXISTS (SELECT 1 FROM workflow_status WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED')"
    "  AND workflow_deadline_epoch_ms IS NOT NULL AND workflow_deadline_epoch_ms <= $2 AND " DBOS_LITE_OWN
    "), (" DBOS_LATEST_VERSION(DBOS_LITE_OWN) ")",
    sql::Access::read};

constexpr sql::Statement kLiteLost{
    "tick_lost",
    "SELECT i.value, t.value, w.status FROM json_each($1) i JOIN json_each($2) t ON t.key = i.key"
    " LEFT JOIN workflow_status w ON w.workflow_uuid = i.value"
    " WHERE w.status IS NOT 'PENDING' OR w.owner_xid IS NOT t.value",
    sql::Access::read};

constexpr sql::Statement kLiteQueues{
    "tick_queues",
    "SELECT name, concurrency, worker_concurrency, rate_limit_max, rate_limit_period_sec, partition_queue,"
    " polling_interval_sec, application_name, partition_concurrency, partition_worker_concurrency,"
    " partition_rate_limit_max, partition_rate_limit_period_sec, updated_at, queue_id"
    " FROM queues WHERE " DBOS_LITE_OWN " ORDER BY queue_id",
    sql::Access::read};

// All but last_fired_at.
constexpr sql::Statement kLiteSchedules{"tick_schedules",
                                        "SELECT schedule_id, status, schedule, workflow_name, "
                                        "workflow_class_name, context, cron_timezone, queue_name,"
                                        " automatic_backfill FROM workflow_schedules WHERE " DBOS_LITE_OWN
                                        " ORDER BY schedule_id",
                                        sql::Access::read};

constexpr sql::Statement kLiteProbe{
    "tick_probe",
    "SELECT x.priority, x.created_at FROM ("
    "  SELECT priority, created_at, application_version, application_name, name, queue_partition_key FROM "
    "workflow_status"
    "  WHERE " DBOS_LITE_QUEUE
    " AND (priority, created_at) >= ($6, $7) ORDER BY priority, created_at LIMIT 100) x "
    "WHERE " DBOS_CLAIMABLE(
        "x.", "$2", "$3", "$4",
        "IN (SELECT value FROM json_each($5))") " AND (NOT $8 OR x.queue_partition_key IS NOT NULL) LIMIT 1",
    sql::Access::read};

constexpr sql::Statement kLiteFull{"tick_full",
                                   "SELECT 1 FROM workflow_status WHERE " DBOS_LITE_QUEUE
                                   " AND (priority, created_at) >= ($2, $3) LIMIT 1 OFFSET 100",
                                   sql::Access::read};

constexpr sql::Statement kLiteScan{
    "scan_first",
    "SELECT priority, created_at FROM workflow_status WHERE " DBOS_LITE_QUEUE
    " AND " DBOS_CLAIMABLE("", "$2", "$3", "$4", "IN (SELECT value FROM json_each($5))")
    " AND (NOT $6 OR queue_partition_key IS NOT NULL) ORDER BY priority, created_at LIMIT 1",
    sql::Access::read};
constexpr sql::Statement kLiteRunning{"tick_running", DBOS_RUNNING_LITE, sql::Access::read};
constexpr sql::Statement kLiteTail{"scan_last",
                                   "SELECT priority, created_at FROM workflow_status WHERE " DBOS_LITE_QUEUE
                                   " ORDER BY priority DESC, created_at DESC LIMIT 1",
                                   sql::Access::read};
constexpr sql::Statement kLitePassed{
    "scan_passed",
    "SELECT count(*) FROM (SELECT 1 FROM workflow_status WHERE " DBOS_LITE_QUEUE
    " AND (priority, created_at) < ($2, $3) LIMIT 1001)",
    sql::Access::read};

constexpr sql::Statement kLiteLeases{
    "tick_leases",
    "SELECT executor_id, incarnation, version, host_key, counter, expires_at, lease_ms, pid, process_start"
    " FROM dbos_cpp_executors WHERE application_name = $1",
    sql::Access::read};

/// A lease in the order: executor, incarnation, version, host, then counter, expires_at, lease_ms, pid, process_start.
LeaseRow read_lease(const sql::Result& result, std::size_t row, std::size_t column,
                    const Text& application_name) {
    const auto next = [&] { return result.at(row, column++); };
    LeaseRow lease;
    lease.application_name = application_name.value_or("");
    lease.executor_id = next().string();
    lease.incarnation = next().string();
    lease.version = next().string();
    lease.host_key = next().optional_text();
    lease.counter = next().integer();
    lease.expires_at = next().integer();
    lease.lease_ms = next().integer();
    lease.pid = static_cast<std::int32_t>(next().optional_integer().value_or(0));
    lease.process_start = next().optional_integer().value_or(0);
    return lease;
}

std::string fingerprint(const sql::Result& result) {
    std::string text = std::to_string(result.size()) + ":";
    for (std::size_t row = 0; row < result.size(); ++row) {
        for (std::size_t column = 0; column < result.columns(); ++column) {
            text += result.at(row, column).text();
            text += result.at(row, column).null() ? '\1' : '\2';
        }
    }
    return text;
}

/// One tick, or one attempt at it.
class Tick {
   public:
    Tick(SystemDatabase::Core& core, const TickRequest& request)
        : core_(core), state_(*core.claims), request_(request), probes_(state_.probes(request.queues)) {
        for (const std::string& queue : request.queues) work_.emplace(queue, false);
    }

    TickReport run(sql::Connection& connection) {
        seen_.assign(probes_.size(), {});
        if (core_.backend == sql::Backend::postgres) {
            ask_postgres(connection);
        } else {
            sql::Transaction transaction(connection, sql::Isolation::read_only);
            ask_sqlite(connection);
            transaction.commit();
        }
        std::ranges::sort(report_.leases, {}, &LeaseRow::executor_id);
        state_.definitions(report_.queues_fingerprint);
        const auto living = std::ranges::count_if(report_.leases, [&](const LeaseRow& lease) {
            return lease.expires_at > report_.database_now_ms;
        });
        state_.peers(living > 1);
        for (std::size_t n = 0; n < probes_.size(); ++n) {
            state_.probed(probes_[n], seen_[n]);
            if (seen_[n].hit && !seen_[n].spent) work_[probes_[n].queue] = true;
            if (seen_[n].hit && seen_[n].spent) seam::reach(seam::Situation::spent_seen_by_tick);
        }
        scan(connection);
        for (const std::string& queue : request_.queues) {
            if (work_[queue]) report_.queues_with_work.push_back(queue);
        }
        return std::move(report_);
    }

   private:
    sql::Params scope() const {
        return {sql::opt(request_.application_name), std::string_view(request_.application_version),
                request_.is_latest_version, text_array(request_.workflow_names)};
    }

    bool keyed(const std::string& queue) const {
        const auto found = request_.limits.find(queue);
        return found != request_.limits.end() && found->second.partitioned;
    }
    /// Of the whole queue: if so many run, a claim would be in vain.
    std::optional<std::int64_t> limit(const std::string& queue) const {
        const auto found = request_.limits.find(queue);
        if (found == request_.limits.end() || !found->second.concurrency) return std::nullopt;
        return std::max(0, *found->second.concurrency);
    }

    void ask_postgres(sql::Connection& connection) {
        sql::TextArray ids;
        sql::TextArray tokens;
        for (const Fence& fence : request_.running) {
            ids.emplace_back(fence.workflow_id);
            tokens.emplace_back(fence.token);
        }
        sql::TextArray queues;
        sql::IntArray priorities;
        sql::IntArray instants;
        sql::BoolArray need_key;
        sql::IntArray limits;
        for (const ClaimState::Probe& probe : probes_) {
            need_key.emplace_back(keyed(probe.queue));
            limits.push_back(limit(probe.queue));
            queues.emplace_back(probe.queue);
            priorities.emplace_back(probe.from.priority);
            instants.emplace_back(probe.from.created_at);
        }
        sql::Params params{request_.now_ms};
        std::ranges::move(scope(), std::back_inserter(params));
        for (sql::Param param :
             {sql::Param(ids), sql::Param(tokens), sql::Param(queues), sql::Param(priorities),
              sql::Param(instants), sql::Param(need_key), sql::Param(limits), sql::Param(kPending)}) {
            params.push_back(std::move(param));
        }
        const seam::Duration sent = seam::boot_now();
        const sql::Result rows = connection.execute(kTickPostgres, params);
        const seam::Duration received = seam::boot_now();
        for (std::size_t row = 0; row < rows.size(); ++row) read_branch(rows, row);
        core_.clock.observe(report_.database_now_ms, sent, received);
    }

    void read_branch(const sql::Result& rows, std::size_t row) {
        const std::string_view kind = rows.at(row, 0).text();
        if (kind == "now") {
            report_.database_now_ms = rows.at(row, 5).integer();
        } else if (kind == "due") {
            report_.due_delays = true;
        } else if (kind == "deadline") {
            report_.passed_deadlines = true;
        } else if (kind == "lost") {
            report_.lost.push_back(
                {.fence = {.workflow_id = rows.at(row, 1).string(), .token = rows.at(row, 2).string()},
                 .status = rows.at(row, 3).string()});
        } else if (kind == "queues") {
            report_.queues_fingerprint = rows.at(row, 1).string();
        } else if (kind == "schedules") {
            report_.schedules_fingerprint = rows.at(row, 1).string();
        } else if (kind == "latest") {
            report_.latest_version = rows.at(row, 1).optional_text();
        } else if (kind == "work") {
            ClaimState::Probed& seen = seen_.at(static_cast<std::size_t>(rows.at(row, 5).integer()) - 1);
            seen.full = rows.at(row, 6).null();
            const auto most =
                limit(probes_.at(static_cast<std::size_t>(rows.at(row, 5).integer()) - 1).queue);
            seen.spent = most && rows.at(row, 8).integer() >= *most;
            if (!seen.full)
                seen.hit = {.priority = rows.at(row, 6).integer(), .created_at = rows.at(row, 7).integer()};
        } else {
            report_.leases.push_back(read_lease(rows, row, 1, request_.application_name));
        }
    }

    void ask_sqlite(sql::Connection& connection) {
        const auto application = sql::opt(request_.application_name);
        const sql::Result state = connection.execute(kLiteState, {application, request_.now_ms});
        report_.due_delays = state.at(0, 0).boolean();
        report_.passed_deadlines = state.at(0, 1).boolean();
        report_.latest_version = state.at(0, 2).optional_text();
        report_.database_now_ms =
            std::chrono::duration_cast<std::chrono::milliseconds>(seam::wall_now().time_since_epoch())
                .count();
        ask_running(connection);
        report_.queues_fingerprint = fingerprint(connection.execute(kLiteQueues, {application}));
        report_.schedules_fingerprint = fingerprint(connection.execute(kLiteSchedules, {application}));
        for (std::size_t n = 0; n < probes_.size(); ++n) seen_[n] = probe_sqlite(connection, probes_[n]);
        if (!request_.application_name) return;
        const sql::Result leases = connection.execute(kLiteLeases, {application});
        for (std::size_t row = 0; row < leases.size(); ++row) {
            report_.leases.push_back(read_lease(leases, row, 0, request_.application_name));
        }
    }

    void ask_running(sql::Connection& connection) {
        if (request_.running.empty()) return;
        sql::TextArray ids;
        sql::TextArray tokens;
        for (const Fence& fence : request_.running) {
            ids.emplace_back(fence.workflow_id);
            tokens.emplace_back(fence.token);
        }
        const sql::Result lost = connection.execute(kLiteLost, {ids, tokens});
        for (std::size_t row = 0; row < lost.size(); ++row) {
            report_.lost.push_back(
                {.fence = {.workflow_id = lost.at(row, 0).string(), .token = lost.at(row, 1).string()},
                 .status = lost.at(row, 2).string()});
        }
    }

    ClaimState::Probed probe_sqlite(sql::Connection& connection, const ClaimState::Probe& probe) const {
        sql::Params params{std::string_view(probe.queue),
                           std::string_view(request_.application_version),
                           request_.is_latest_version,
                           sql::opt(request_.application_name),
                           text_array(request_.workflow_names),
                           probe.from.priority,
                           probe.from.created_at,
                           keyed(probe.queue)};
        const sql::Result hit = connection.execute(kLiteProbe, params);
        if (!hit.empty()) {
            const auto most = limit(probe.queue);
            const bool spent = most && connection
                                               .execute(kLiteRunning, {std::string_view(probe.queue),
                                                                       sql::opt(request_.application_name)})
                                               .at(0, 0)
                                               .integer() >= *most;
            return {.hit = QueuePosition{.priority = hit.at(0, 0).integer(),
                                         .created_at = hit.at(0, 1).integer()},
                    .full = false,
                    .spent = spent};
        }
        const sql::Result full = connection.execute(
            kLiteFull, {std::string_view(probe.queue), probe.from.priority, probe.from.created_at});
        return {.hit = std::nullopt, .full = !full.empty(), .spent = false};
    }

    void scan(sql::Connection& connection) {
        std::vector<std::string> due = state_.scans_due(seam::boot_now());
        std::erase_if(due, [&](const std::string& queue) { return !work_.contains(queue); });
        if (due.empty()) return;
        const seam::Duration begun = seam::boot_now();
        std::vector<Found> found = core_.backend == sql::Backend::postgres ? scan_postgres(connection, due)
                                                                           : scan_sqlite(connection, due);
        const seam::Duration now = seam::boot_now();
        for (const std::string& queue : due) {
            const auto place = std::ranges::find(found, queue, &Found::queue);
            if (place == found.end()) {
                state_.scanned(queue, {}, 0, now - begun, now);
                continue;
            }
            state_.scanned(queue, place->position, place->passed, now - begun, now);
            if (place->claimable) work_[queue] = true;
        }
    }

    struct Found {
        std::string queue;
        bool claimable = false;
        QueuePosition position;
        std::int64_t passed = 0;
    };

    std::vector<Found> scan_postgres(sql::Connection& connection, const std::vector<std::string>& due) const {
        sql::Params params{text_array(due)};
        std::ranges::move(scope(), std::back_inserter(params));
        sql::BoolArray need_key;
        for (const std::string& queue : due) need_key.emplace_back(keyed(queue));
        params.emplace_back(need_key);
        const sql::Result rows = connection.execute(kScanPostgres, params);
        std::vector<Found> found;
        for (std::size_t row = 0; row < rows.size(); ++row) {
            found.push_back(
                {.queue = rows.at(row, 0).string(),
                 .claimable = rows.at(row, 1).boolean(),
                 .position = {.priority = rows.at(row, 2).integer(), .created_at = rows.at(row, 3).integer()},
                 .passed = rows.at(row, 4).integer()});
        }
        return found;
    }

    std::vector<Found> scan_sqlite(sql::Connection& connection, const std::vector<std::string>& due) const {
        std::vector<Found> found;
        sql::Transaction transaction(connection, sql::Isolation::read_only);
        for (const std::string& queue : due) {
            sql::Params params{std::string_view(queue),
                               std::string_view(request_.application_version),
                               request_.is_latest_version,
                               sql::opt(request_.application_name),
                               text_array(request_.workflow_names),
                               keyed(queue)};
            sql::Result place = connection.execute(kLiteScan, params);
            const bool claimable = !place.empty();
            if (!claimable) place = connection.execute(kLiteTail, {std::string_view(queue)});
            if (place.empty()) continue;
            const QueuePosition position{.priority = place.at(0, 0).integer(),
                                         .created_at = place.at(0, 1).integer()};
            const sql::Result passed = connection.execute(
                kLitePassed, {std::string_view(queue), position.priority, position.created_at});
            found.push_back({.queue = queue,
                             .claimable = claimable,
                             .position = position,
                             .passed = passed.at(0, 0).integer()});
        }
        transaction.commit();
        return found;
    }

    SystemDatabase::Core& core_;
    ClaimState& state_;
    const TickRequest& request_;
    const std::vector<ClaimState::Probe> probes_;
    std::vector<ClaimState::Probed> seen_;
    std::unordered_map<std::string, bool> work_;
    TickReport report_;
};

}  // namespace

TickReport SystemDatabase::tick(const TickRequest& request) {
    Core& core = *core_;
    core.claims->enter({.version = request.application_version,
                        .latest = request.is_latest_version,
                        .application_name = request.application_name,
                        .names = request.workflow_names});
    std::exception_ptr failed;
    TickReport report = core.try_lane(core.tick_lane, [&](sql::Connection& connection) {
        try {
            return Tick(core, request).run(connection);
        } catch (...) {
            failed = std::current_exception();
            return TickReport{};
        }
    });
    if (failed) std::rethrow_exception(failed);
    return report;
}

}  // namespace dbos::sysdb
