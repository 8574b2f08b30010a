// Handing PENDING rows back to their queues: those of dead executors, of an earlier life of our own id, and our own that no
// run holds. Columns: runtime.md 4.2 and 6.1 (py, ts, go). Recovery never runs anything; a claim does.
#include <algorithm>
#include <set>

#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "sysdb/announce.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/claim_state.hpp"
#include "sysdb/database.hpp"

namespace dbos::sysdb {

namespace {

constexpr std::size_t kRowsAtOnce = 1000;
constexpr std::int64_t kOrphanPage = 5000;

#define DBOS_HAND_BACK                                                   \
    "status = 'ENQUEUED', started_at_epoch_ms = NULL, owner_xid = NULL," \
    " queue_name = COALESCE(queue_name, '_dbos_internal_queue')"
#define DBOS_HAND_BACK_PG                                                \
    "status = 'ENQUEUED', started_at_epoch_ms = NULL, owner_xid = NULL," \
    " queue_name = COALESCE(w.queue_name, '_dbos_internal_queue'), updated_at = " DBOS_CLOCK_PG

// The lease row stays locked until the rows are handed back: its executor cannot come back to life in between.
constexpr Dialects kJudged{
    {"sweep_judged",
     "SELECT 1 FROM @dbos_cpp_executors WHERE application_name = $1::text AND executor_id = $2::text"
     " AND incarnation = $3::text AND counter = $4::bigint FOR NO KEY UPDATE"},
    {"sweep_judged",
     "SELECT 1 FROM dbos_cpp_executors WHERE application_name = $1 AND executor_id = $2"
     " AND incarnation = $3 AND counter = $4"}};

// From created_at $4 on: without a place to start from, every call would read what the calls before have handed back.
constexpr Dialects kSweep{
    {"sweep",
     "WITH cand AS MATERIALIZED ("
     "  SELECT w.workflow_uuid FROM @workflow_status w"
     "  WHERE w.status = 'PENDING' AND w.created_at >= $4::bigint AND w.executor_id = $1::text"
     "    AND w.application_version = $2::text"
     "    AND ($3::text IS NULL OR w.application_name = $3 OR w.application_name IS NULL)"
     "  ORDER BY w.created_at LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED) "
     "UPDATE @workflow_status w SET " DBOS_HAND_BACK_PG
     " WHERE w.workflow_uuid = ANY (ARRAY(SELECT workflow_uuid FROM cand)) RETURNING w.queue_name, "
     "w.created_at"},
    {"sweep",
     "UPDATE workflow_status SET " DBOS_HAND_BACK ", updated_at = $5 WHERE workflow_uuid IN ("
     "  SELECT workflow_uuid FROM workflow_status"
     "  WHERE status = 'PENDING' AND created_at >= $4 AND executor_id = $1 AND application_version = $2"
     "    AND ($3 IS NULL OR application_name = $3 OR application_name IS NULL)"
     "  ORDER BY created_at LIMIT 1000) RETURNING queue_name, created_at"}};

constexpr Dialects kPendingExecutors{
    {"pending_executors",
     "SELECT DISTINCT executor_id FROM @workflow_status WHERE status = 'PENDING' AND executor_id IS NOT NULL"
     " AND application_version = $1::text AND ($2::text IS NULL OR application_name = $2 OR application_name "
     "IS NULL)",
     sql::Access::read},
    {"pending_executors",
     "SELECT DISTINCT executor_id FROM workflow_status WHERE status = 'PENDING' AND executor_id IS NOT NULL"
     " AND application_version = $1 AND ($2 IS NULL OR application_name = $2 OR application_name IS NULL)",
     sql::Access::read}};

// What started since: by the index over started_at, which CASE keeps the only one in question.
constexpr Dialects kStartedSince{
    {"orphans_recent",
     "SELECT w.workflow_uuid, w.owner_xid, w.name, w.executor_id, w.started_at_epoch_ms FROM "
     "@workflow_status w"
     " WHERE w.started_at_epoch_ms >= $1::bigint AND (w.started_at_epoch_ms, w.workflow_uuid) > ($1, "
     "$2::text)"
     "  AND w.executor_id = $3::text AND CASE WHEN w.status = 'PENDING' THEN TRUE ELSE FALSE END"
     " ORDER BY w.started_at_epoch_ms, w.workflow_uuid LIMIT 5000",
     sql::Access::read},
    {"orphans_recent",
     "SELECT workflow_uuid, owner_xid, name, executor_id, started_at_epoch_ms FROM workflow_status"
     " WHERE started_at_epoch_ms >= $1 AND (started_at_epoch_ms > $1 OR workflow_uuid > $2)"
     "  AND executor_id = $3 AND +status = 'PENDING'"
     " ORDER BY started_at_epoch_ms, workflow_uuid LIMIT 5000",
     sql::Access::read}};

// Everything PENDING, page by page, whoever runs it: the page is bounded by what it reads, not by what it finds.
constexpr Dialects kPendingPage{
    {"orphans_page",
     "SELECT w.workflow_uuid, w.owner_xid, w.name, w.executor_id, w.created_at FROM @workflow_status w"
     " WHERE w.status = 'PENDING' AND w.created_at >= $1::bigint AND (w.created_at, w.workflow_uuid) > ($1, "
     "$2::text)"
     " ORDER BY w.created_at, w.workflow_uuid LIMIT 5000",
     sql::Access::read},
    {"orphans_page",
     "SELECT workflow_uuid, owner_xid, name, executor_id, created_at FROM workflow_status"
     " WHERE status = 'PENDING' AND created_at >= $1 AND (created_at > $1 OR workflow_uuid > $2)"
     " ORDER BY created_at, workflow_uuid LIMIT 5000",
     sql::Access::read}};

// Only as long as the lease is ours: rows of a later incarnation of our id look like ours that nobody holds. The pairs were
// read before this statement began, so whoever wrote them had taken the lease by then, and its snapshot shows that. A row that
// somebody has locked waits for a later look: claims wait for this one.
constexpr Dialects kHandBack{
    {"hand_back",
     "WITH mine AS MATERIALIZED ("
     "  SELECT a.id FROM unnest($1::text[], $2::text[]) AS a(id, token) CROSS JOIN LATERAL ("
     "    SELECT 1 FROM @workflow_status w WHERE w.workflow_uuid = a.id AND w.owner_xid = a.token"
     "      AND w.executor_id = $3::text AND CASE WHEN w.status = 'PENDING' THEN TRUE ELSE FALSE END"
     "      AND (w.application_name = $4::text OR w.application_name IS NULL)"
     "    FOR NO KEY UPDATE SKIP LOCKED) w"
     "  WHERE EXISTS (SELECT 1 FROM @dbos_cpp_executors e WHERE e.application_name = $4"
     "    AND e.executor_id = $3 AND e.incarnation = $5::text)) "
     "UPDATE @workflow_status w SET " DBOS_HAND_BACK_PG
     " WHERE w.workflow_uuid = ANY (ARRAY(SELECT id FROM mine)) RETURNING w.queue_name"},
    {"hand_back", "UPDATE workflow_status SET " DBOS_HAND_BACK
                  ", updated_at = $6 WHERE workflow_uuid = $1 AND owner_xid = $2"
                  " AND executor_id = $3 AND +status = 'PENDING'"
                  " AND (application_name = $4 OR application_name IS NULL)"
                  " AND EXISTS (SELECT 1 FROM dbos_cpp_executors e WHERE e.application_name = $4"
                  "  AND e.executor_id = $3 AND e.incarnation = $5) RETURNING queue_name"}};

std::vector<std::string> distinct(const std::set<std::string>& names) { return {names.begin(), names.end()}; }

void add_queues(std::set<std::string>& queues, const sql::Result& result) {
    for (std::size_t row = 0; row < result.size(); ++row) queues.insert(result.at(row, 0).string());
}

/// One batch of kSweep inside the open transaction.
sql::Result hand_back_of(SystemDatabase::Core& core, sql::Connection& connection,
                         const std::string& executor_id, const Text& application_name,
                         const std::string& application_version, Millis from) {
    sql::Params params{std::string_view(executor_id), std::string_view(application_version),
                       sql::opt(application_name), from};
    if (core.backend == sql::Backend::sqlite) params.emplace_back(core.clock.now_ms());
    return connection.execute(kSweep.on(core.backend), params);
}

Millis last_created(const sql::Result& result) {
    Millis last = 0;
    for (std::size_t row = 0; row < result.size(); ++row) last = std::max(last, result.at(row, 1).integer());
    return last;
}

void told(SystemDatabase::Core& core, const std::vector<std::string>& queues) {
    core.claims->forget(queues);
    tell_after_commit(core, {.queues = queues});
}

/// The queues that got rows. Not to be called inside a transaction.
std::set<std::string> hand_back_rows(SystemDatabase::Core& core, const LeaseRow& mine,
                                     std::span<const Fence> fences) {
    std::set<std::string> all;
    for (; !fences.empty(); fences = fences.subspan(std::min(fences.size(), kRowsAtOnce))) {
        const auto batch = fences.first(std::min(fences.size(), kRowsAtOnce));
        all.merge(core.with_lane(core.maintenance_lane, [&](sql::Connection& connection) {
            std::set<std::string> queues;
            sql::Transaction transaction(connection);
            if (core.backend == sql::Backend::postgres) {
                sql::TextArray ids;
                sql::TextArray tokens;
                for (const Fence& fence : batch) {
                    ids.emplace_back(fence.workflow_id);
                    tokens.emplace_back(fence.token);
                }
                add_queues(queues, connection.execute(kHandBack.postgres,
                                                      {ids, tokens, std::string_view(mine.executor_id),
                                                       std::string_view(mine.application_name),
                                                       std::string_view(mine.incarnation)}));
            } else {
                for (const Fence& fence : batch) {
                    add_queues(queues, connection.execute(
                                           kHandBack.sqlite,
                                           {std::string_view(fence.workflow_id),
                                            std::string_view(fence.token), std::string_view(mine.executor_id),
                                            std::string_view(mine.application_name),
                                            std::string_view(mine.incarnation), core.clock.now_ms()}));
                }
            }
            notify_in_transaction(core, connection, {.queues = distinct(queues)});
            transaction.commit();
            return queues;
        }));
    }
    return all;
}

/// Rows PENDING under our id whose pair no run here holds.
class Orphans {
   public:
    Orphans(SystemDatabase::Core& core, const LeaseRow& mine,
            const std::function<void(std::vector<Fence>&)>& drop_held,
            std::span<const std::string> implemented)
        : core_(core), mine_(mine), executor_id_(mine.executor_id), drop_held_(drop_held) {
        implemented_.insert(implemented.begin(), implemented.end());
    }

    std::vector<std::string> run(Millis started_since) {
        Page page{.instant = started_since, .id = {}};
        while (look(kStartedSince, page, true) == kOrphanPage) {
        }
        const ClaimState::Page from = core_.claims->orphan_page();
        Page older{.instant = from.created_at, .id = from.workflow_id};
        const bool more = look(kPendingPage, older, false) == kOrphanPage;
        core_.claims->orphan_page(more ? ClaimState::Page{older.instant, older.id} : ClaimState::Page{});
        const auto names = distinct(queues_);
        told(core_, names);
        return names;
    }

   private:
    struct Page {
        Millis instant = 0;
        std::string id;
    };

    /// Looks at one page and moves `page` behind it; returns how many rows it had.
    std::int64_t look(const Dialects& statement, Page& page, bool only_mine) {
        std::vector<Fence> orphans;
        Page next = page;
        const auto count = core_.with_lane(core_.maintenance_lane, [&](sql::Connection& connection) {
            orphans.clear();
            sql::Params params{page.instant, std::string_view(page.id)};
            if (only_mine) params.emplace_back(std::string_view(executor_id_));
            const sql::Result rows = connection.execute(statement.on(core_.backend), params);
            for (std::size_t row = 0; row < rows.size(); ++row) {
                if (rows.at(row, 1).null() || rows.at(row, 3).text() != executor_id_) continue;
                if (!implemented_.contains(rows.at(row, 2).string())) continue;
                orphans.push_back(
                    {.workflow_id = rows.at(row, 0).string(), .token = rows.at(row, 1).string()});
            }
            drop_held_(orphans);
            if (!rows.empty()) {
                next = {.instant = rows.at(rows.size() - 1, 4).integer(),
                        .id = rows.at(rows.size() - 1, 0).string()};
            }
            return static_cast<std::int64_t>(rows.size());
        });
        page = next;
        if (!orphans.empty()) seam::reach(seam::Situation::orphans_handed_back);
        queues_.merge(hand_back_rows(core_, mine_, orphans));
        return count;
    }

    SystemDatabase::Core& core_;
    const LeaseRow& mine_;
    const std::string& executor_id_;
    const std::function<void(std::vector<Fence>&)>& drop_held_;
    std::set<std::string> implemented_;
    std::set<std::string> queues_;
};

}  // namespace

SystemDatabase::Sweep SystemDatabase::sweep(const LeaseRow& dead, const Text& application_name,
                                            const std::string& application_version) {
    Core& core = *core_;
    const Millis from = core.claims->sweep_from(dead.incarnation);
    Sweep sweep = core.with_lane(core.maintenance_lane, [&](sql::Connection& connection) {
        Sweep result;
        sql::Transaction transaction(connection);
        const sql::Result judged =
            connection.execute(kJudged.on(core.backend),
                               {std::string_view(dead.application_name), std::string_view(dead.executor_id),
                                std::string_view(dead.incarnation), dead.counter});
        if (judged.empty() && !seam::planted(seam::Bug::sweep_of_the_renewed)) {
            transaction.rollback();
            seam::reach(seam::Situation::sweep_judged_wrong);
            result.judged_wrong = true;
            return result;
        }
        const sql::Result rows =
            hand_back_of(core, connection, dead.executor_id, application_name, application_version, from);
        result.handed_back = rows.size();
        if (!rows.empty()) seam::reach(seam::Situation::rows_swept);
        result.more = rows.size() == kRowsAtOnce;
        std::set<std::string> queues;
        add_queues(queues, rows);
        result.queues = distinct(queues);
        notify_in_transaction(core, connection, {.queues = result.queues});
        transaction.commit();
        core.claims->swept(dead.incarnation, result.more ? std::optional(last_created(rows)) : std::nullopt);
        return result;
    });
    if (sweep.judged_wrong) core.claims->swept(dead.incarnation, std::nullopt);
    told(core, sweep.queues);
    return sweep;
}

std::size_t SystemDatabase::recover_own(const std::string& executor_id, const Text& application_name,
                                        const std::string& application_version) {
    Core& core = *core_;
    std::size_t total = 0;
    Millis from = 0;
    std::set<std::string> queues;
    for (std::size_t moved = kRowsAtOnce; moved == kRowsAtOnce; total += moved) {
        moved = core.with_lane(core.maintenance_lane, [&](sql::Connection& connection) {
            sql::Transaction transaction(connection);
            const sql::Result rows =
                hand_back_of(core, connection, executor_id, application_name, application_version, from);
            transaction.commit();
            if (!rows.empty()) seam::reach(seam::Situation::own_id_recovered);
            from = last_created(rows);
            add_queues(queues, rows);
            return rows.size();
        });
    }
    told(core, distinct(queues));
    return total;
}

std::vector<std::string> SystemDatabase::pending_executors(const Text& application_name,
                                                           const std::string& application_version) {
    Core& core = *core_;
    return core.with_lane(core.maintenance_lane, [&](sql::Connection& connection) {
        std::set<std::string> found;
        add_queues(found,
                   connection.execute(kPendingExecutors.on(core.backend),
                                      {std::string_view(application_version), sql::opt(application_name)}));
        return distinct(found);
    });
}

std::vector<std::string> SystemDatabase::hand_back_orphans(
    const LeaseRow& mine, const std::function<void(std::vector<Fence>&)>& drop_held,
    std::span<const std::string> implemented, Millis started_since) {
    return Orphans(*core_, mine, drop_held, implemented).run(started_since);
}

std::vector<std::string> SystemDatabase::hand_back(const LeaseRow& mine, std::span<const Fence> fences) {
    const auto queues = distinct(hand_back_rows(*core_, mine, fences));
    told(*core_, queues);
    return queues;
}

}  // namespace dbos::sysdb
