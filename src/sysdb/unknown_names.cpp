// Queued workflows that nobody here implements: for a warning that names them.
#include "sysdb/database.hpp"

namespace dbos::sysdb {

namespace {

// Looks at the head of each queue only: a warning needs one example, not a count.
constexpr sql::Statement kUnknownPostgres{
    "unknown_names",
    "SELECT DISTINCT x.name, x.queue_name FROM unnest($1::text[]) AS q(name) "
    "CROSS JOIN LATERAL (SELECT w.name, w.queue_name, w.application_name FROM @workflow_status w "
    "WHERE w.queue_name = q.name AND w.status = 'ENQUEUED' "
    "ORDER BY w.priority, w.created_at LIMIT 200) x "
    "WHERE NOT (x.name = ANY($2::text[])) "
    "AND ($3::text IS NULL OR x.application_name = $3 OR x.application_name IS NULL) LIMIT 20",
    sql::Access::read};
constexpr sql::Statement kUnknownSqlite{
    "unknown_names",
    "SELECT DISTINCT name, queue_name FROM (SELECT w.name, w.queue_name, w.application_name FROM "
    "@workflow_status w "
    "WHERE w.queue_name IN (SELECT value FROM json_each($1)) AND w.status = 'ENQUEUED' "
    "AND w.status IN ('ENQUEUED','PENDING') LIMIT 1000) x "
    "WHERE x.name NOT IN (SELECT value FROM json_each($2)) "
    "AND ($3 IS NULL OR x.application_name = $3 OR x.application_name IS NULL) LIMIT 20",
    sql::Access::read};

}  // namespace

std::vector<std::pair<std::string, std::string>> SystemDatabase::unknown_names(
    std::span<const std::string> queues, std::span<const std::string> implemented,
    const Text& application_name) {
    const auto& statement = core_->backend == sql::Backend::postgres ? kUnknownPostgres : kUnknownSqlite;
    sql::Params params{sql::TextArray(queues.begin(), queues.end()),
                       sql::TextArray(implemented.begin(), implemented.end()), sql::opt(application_name)};
    const auto rows =
        core_->with_lane(core_->tick_lane, [&](sql::Connection& c) { return c.execute(statement, params); });
    std::vector<std::pair<std::string, std::string>> names;
    for (std::size_t i = 0; i < rows.size(); ++i)
        names.emplace_back(rows.at(i, 0).string(), rows.at(i, 1).string());
    return names;
}

}  // namespace dbos::sysdb
