// Leases of executors: rows of dbos_cpp_executors (a table of this library; other SDKs ignore it). Safety 22-27.
//
// Every instant is the database clock's (clock_timestamp() on PostgreSQL), so that the clocks of hosts do not matter.
#include <algorithm>

#include "sysdb/claim_sql.hpp"
#include "sysdb/database.hpp"

namespace dbos::sysdb {

namespace {

#define DBOS_LEASE_COLUMNS                                                                                \
    "application_name, executor_id, incarnation, version, counter, expires_at, lease_ms, host_key, pid, " \
    "process_start"

#define DBOS_LEASE_INSERT(now)                                                                              \
    "INSERT INTO @dbos_cpp_executors AS e (" DBOS_LEASE_COLUMNS                                             \
    ", started_at, updated_at) "                                                                            \
    "VALUES (CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS BIGINT),"   \
    " " now                                                                                                 \
    " + CAST($6 AS BIGINT), CAST($6 AS BIGINT), CAST($7 AS TEXT), CAST($8 AS INTEGER), CAST($9 AS BIGINT)," \
    " " now ", " now ") ON CONFLICT (application_name, executor_id) DO "

#define DBOS_LEASE_TAKE(now)                                                                          \
    DBOS_LEASE_INSERT(now)                                                                            \
    "UPDATE SET incarnation = excluded.incarnation, version = excluded.version,"                      \
    " counter = CASE WHEN e.counter < excluded.counter THEN excluded.counter ELSE e.counter + 1 END," \
    " expires_at = excluded.expires_at, lease_ms = excluded.lease_ms, host_key = excluded.host_key,"  \
    " pid = excluded.pid, process_start = excluded.process_start, started_at = excluded.started_at,"  \
    " updated_at = excluded.updated_at "                                                              \
    "WHERE e.incarnation = excluded.incarnation OR (e.incarnation = CAST($10 AS TEXT)"                \
    " AND (e.counter = CAST($11 AS BIGINT) OR e.expires_at <= excluded.updated_at)) RETURNING counter"

#define DBOS_LEASE_RENEW(now)                                                                          \
    "UPDATE @dbos_cpp_executors SET counter = CAST($4 AS BIGINT), expires_at = " now                   \
    " + CAST($5 AS BIGINT),"                                                                           \
    " lease_ms = CAST($5 AS BIGINT), updated_at = " now                                                \
    " WHERE application_name = CAST($1 AS TEXT) AND executor_id = CAST($2 AS TEXT) AND incarnation = " \
    "CAST($3 AS TEXT)"

#define DBOS_LEASE_EXPIRE(now)                                                                         \
    "UPDATE @dbos_cpp_executors SET expires_at = " now ", updated_at = " now                           \
    " WHERE application_name = CAST($1 AS TEXT) AND executor_id = CAST($2 AS TEXT) AND incarnation = " \
    "CAST($3 AS TEXT)"                                                                                 \
    " AND expires_at > " now

#define DBOS_LEASE_PRUNE(now)                                                                           \
    "DELETE FROM @dbos_cpp_executors AS e WHERE e.application_name = CAST($1 AS TEXT)"                  \
    " AND e.expires_at < " now                                                                          \
    " - CAST($2 AS BIGINT)"                                                                             \
    " AND NOT EXISTS (SELECT 1 FROM @workflow_status w WHERE w.status = 'PENDING' AND w.executor_id = " \
    "e.executor_id)"

// On SQLite the clock is a parameter, always the last.
constexpr Dialects kTake{{"lease_take", DBOS_LEASE_TAKE(DBOS_CLOCK_PG)},
                         {"lease_take", DBOS_LEASE_TAKE("$12")}};
constexpr Dialects kInsert{{"lease_insert", DBOS_LEASE_INSERT(DBOS_CLOCK_PG) "NOTHING"},
                           {"lease_insert", DBOS_LEASE_INSERT("$10") "NOTHING"}};
constexpr Dialects kRenew{{"lease_renew", DBOS_LEASE_RENEW(DBOS_CLOCK_PG)},
                          {"lease_renew", DBOS_LEASE_RENEW("$6")}};
constexpr Dialects kExpire{{"lease_expire", DBOS_LEASE_EXPIRE(DBOS_CLOCK_PG)},
                           {"lease_expire", DBOS_LEASE_EXPIRE("$4")}};
constexpr Dialects kPrune{{"lease_prune", DBOS_LEASE_PRUNE(DBOS_CLOCK_PG)},
                          {"lease_prune", DBOS_LEASE_PRUNE("$3")}};

constexpr sql::Statement kFind{
    "lease_find",
    "SELECT " DBOS_LEASE_COLUMNS
    ", expires_at <= updated_at FROM @dbos_cpp_executors"
    " WHERE application_name = CAST($1 AS TEXT) AND executor_id = CAST($2 AS TEXT)",
    sql::Access::read};
constexpr sql::Statement kList{"lease_list",
                               "SELECT " DBOS_LEASE_COLUMNS
                               " FROM @dbos_cpp_executors WHERE application_name = CAST($1 AS TEXT)",
                               sql::Access::read};

constexpr Millis kKeptFor = Millis{30} * 24 * 3600 * 1000;

Millis millis(seam::Duration duration) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

LeaseRow read_lease(const sql::Result& result, std::size_t row) {
    LeaseRow lease;
    lease.application_name = result.at(row, 0).string();
    lease.executor_id = result.at(row, 1).string();
    lease.incarnation = result.at(row, 2).string();
    lease.version = result.at(row, 3).string();
    lease.counter = result.at(row, 4).integer();
    lease.expires_at = result.at(row, 5).integer();
    lease.lease_ms = result.at(row, 6).integer();
    lease.host_key = result.at(row, 7).optional_text();
    lease.pid = static_cast<std::int32_t>(result.at(row, 8).optional_integer().value_or(0));
    lease.process_start = result.at(row, 9).optional_integer().value_or(0);
    return lease;
}

sql::Params insert_params(const LeaseRow& lease, seam::Duration duration) {
    return {std::string_view(lease.application_name),
            std::string_view(lease.executor_id),
            std::string_view(lease.incarnation),
            std::string_view(lease.version),
            lease.counter,
            millis(duration),
            sql::opt(lease.host_key),
            lease.pid > 0 ? sql::Param(std::int64_t{lease.pid}) : sql::Param(),
            lease.process_start > 0 ? sql::Param(lease.process_start) : sql::Param()};
}

/// Executes with the clock as last parameter where the database has none of its own.
sql::Result with_clock(SystemDatabase::Core& core, sql::Connection& connection, const Dialects& statement,
                       sql::Params params) {
    if (core.backend == sql::Backend::sqlite) params.emplace_back(core.clock.real_now_ms());
    return connection.execute(statement.on(core.backend), params);
}

}  // namespace

LeaseTake SystemDatabase::take_lease(LeaseRow& mine, const std::optional<LeaseRow>& seen,
                                     seam::Duration duration) {
    Core& core = *core_;
    return core.with_lane(core.lease_lane, [&](sql::Connection& connection) {
        sql::Params params = insert_params(mine, duration);
        params.push_back(seen ? sql::Param(std::string_view(seen->incarnation)) : sql::Param());
        params.push_back(seen ? sql::Param(seen->counter) : sql::Param());
        const sql::Result taken = with_clock(core, connection, kTake, std::move(params));
        if (taken.empty()) return LeaseTake::held;
        mine.counter = taken.at(0, 0).integer();
        return LeaseTake::taken;
    });
}

std::optional<LeaseRow> SystemDatabase::find_lease(const std::string& application_name,
                                                   const std::string& executor_id) {
    return core_->with_connection([&](sql::Connection& connection) -> std::optional<LeaseRow> {
        const sql::Result found =
            connection.execute(kFind, {std::string_view(application_name), std::string_view(executor_id)});
        if (found.empty()) return std::nullopt;
        LeaseRow lease = read_lease(found, 0);
        lease.released = found.at(0, 10).boolean();  // every renewal sets an end that lies ahead
        return lease;
    });
}

std::vector<LeaseRow> SystemDatabase::list_leases(const std::string& application_name) {
    return core_->with_connection([&](sql::Connection& connection) {
        const sql::Result found = connection.execute(kList, {std::string_view(application_name)});
        std::vector<LeaseRow> leases;
        for (std::size_t row = 0; row < found.size(); ++row) leases.push_back(read_lease(found, row));
        std::ranges::sort(leases, {}, &LeaseRow::executor_id);
        return leases;
    });
}

LeaseRenewal SystemDatabase::renew_lease(const LeaseRow& mine, seam::Duration duration) {
    Core& core = *core_;
    return core.try_lane(core.lease_lane, [&](sql::Connection& connection) {
        const sql::Result renewed =
            with_clock(core, connection, kRenew,
                       {std::string_view(mine.application_name), std::string_view(mine.executor_id),
                        std::string_view(mine.incarnation), mine.counter, millis(duration)});
        if (renewed.affected() > 0) return LeaseRenewal::renewed;
        const sql::Result inserted = with_clock(core, connection, kInsert, insert_params(mine, duration));
        return inserted.affected() > 0 ? LeaseRenewal::inserted : LeaseRenewal::replaced;
    });
}

void SystemDatabase::expire_lease(const LeaseRow& mine) {
    Core& core = *core_;
    if (core.lease_lane.stopped()) {
        throw DatabaseError(DatabaseErrorKind::closed, "the database did not answer during the shutdown");
    }
    core.try_lane(core.lease_lane, [&](sql::Connection& connection) {
        return with_clock(core, connection, kExpire,
                          {std::string_view(mine.application_name), std::string_view(mine.executor_id),
                           std::string_view(mine.incarnation)})
            .affected();
    });
}

std::size_t SystemDatabase::prune_leases(const std::string& application_name) {
    Core& core = *core_;
    return core.with_lane(core.maintenance_lane, [&](sql::Connection& connection) {
        const auto removed =
            with_clock(core, connection, kPrune, {std::string_view(application_name), kKeptFor}).affected();
        return static_cast<std::size_t>(removed);
    });
}

}  // namespace dbos::sysdb
