// Rows of `queues`, and what moves rows of workflow_status in and out of queues without running them: due delays and passed
// deadlines.
#include <algorithm>
#include <set>
#include <tuple>

#include "sysdb/announce.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/claim_state.hpp"
#include "sysdb/database.hpp"
#include "sysdb/explain.hpp"
#include "value/uuid.hpp"

namespace dbos::sysdb {

namespace {

constexpr std::size_t kRowsAtOnce = 1000;

#define DBOS_OWN(name) "(" name " IS NULL OR application_name = " name " OR application_name IS NULL)"
#define DBOS_RELEASE \
    "status = 'ENQUEUED', deduplication_id = CASE WHEN is_debounced THEN NULL ELSE deduplication_id END"
#define DBOS_CANCEL                                                                                  \
    "status = 'CANCELLED', deduplication_id = NULL, queue_name = NULL, started_at_epoch_ms = NULL, " \
    "owner_xid = NULL"

// queues-and-schedules.md 1.9 (py: _sys_db.py, ts, go: updated_at too).
constexpr Dialects kEnqueueDue{
    {"enqueue_due",
     "WITH due AS MATERIALIZED ("
     "  SELECT workflow_uuid FROM @workflow_status"
     "  WHERE status = 'DELAYED' AND delay_until_epoch_ms <= $1::bigint AND " DBOS_OWN(
         "$2::text") "  ORDER BY delay_until_epoch_ms LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED) "
                     "UPDATE @workflow_status w SET " DBOS_RELEASE ", updated_at = " DBOS_CLOCK_PG
                     " FROM due WHERE w.workflow_uuid = due.workflow_uuid RETURNING w.queue_name"},
    {"enqueue_due", "UPDATE workflow_status SET " DBOS_RELEASE ", updated_at = $3 WHERE workflow_uuid IN ("
                    "  SELECT workflow_uuid FROM workflow_status"
                    "  WHERE status = 'DELAYED' AND delay_until_epoch_ms <= $1 AND " DBOS_OWN(
                        "$2") "  ORDER BY delay_until_epoch_ms LIMIT 1000) RETURNING queue_name"}};

// runtime.md 4.6 B, columns of 4.2. The queue that the row leaves has a free slot: it is told.
constexpr Dialects kOverdue{
    {"overdue",
     "SELECT workflow_uuid, queue_name FROM @workflow_status"
     " WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED') AND workflow_deadline_epoch_ms IS NOT NULL"
     "  AND workflow_deadline_epoch_ms <= $1::bigint AND " DBOS_OWN(
         "$2::text") " ORDER BY workflow_deadline_epoch_ms LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED"},
    {"overdue",
     "SELECT workflow_uuid, queue_name FROM workflow_status"
     " WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED') AND workflow_deadline_epoch_ms IS NOT NULL"
     "  AND workflow_deadline_epoch_ms <= $1 AND " DBOS_OWN(
         "$2") " ORDER BY workflow_deadline_epoch_ms LIMIT 1000",
     sql::Access::read}};

constexpr Dialects kCancel{
    {"cancel_overdue",
     "WITH t AS MATERIALIZED (SELECT " DBOS_CLOCK_PG " AS now) "
     "UPDATE @workflow_status w SET " DBOS_CANCEL
     ", updated_at = (SELECT now FROM t), completed_at = (SELECT now FROM t) WHERE w.workflow_uuid = ANY "
     "($1::text[])"},
    {"cancel_overdue", "UPDATE workflow_status SET " DBOS_CANCEL ", updated_at = $2, completed_at = $2"
                       " WHERE workflow_uuid IN (SELECT value FROM json_each($1))"}};

std::string queue_columns(const Layout& layout) {
    std::string columns =
        "name, concurrency, worker_concurrency, rate_limit_max, rate_limit_period_sec, priority_enabled, "
        "partition_queue, "
        "polling_interval_sec";
    columns += layout.ownership ? ", application_name" : ", NULL";
    columns += layout.partition_limits
                   ? ", partition_concurrency, partition_worker_concurrency, partition_rate_limit_max, "
                     "partition_rate_limit_period_sec"
                   : ", NULL, NULL, NULL, NULL";
    return columns;
}

std::optional<std::int32_t> small(const sql::Cell& cell) {
    const auto number = cell.optional_integer();
    return number ? std::optional(static_cast<std::int32_t>(*number)) : std::nullopt;
}

std::optional<double> real(const sql::Cell& cell) {
    return cell.null() ? std::nullopt : std::optional(cell.real());
}

QueueRow read_queue(const sql::Result& result, std::size_t row) {
    std::size_t column = 0;
    const auto next = [&] { return result.at(row, column++); };
    QueueRow queue;
    queue.name = next().string();
    queue.concurrency = small(next());
    queue.worker_concurrency = small(next());
    queue.rate_limit_max = small(next());
    queue.rate_limit_period_sec = real(next());
    queue.priority_enabled = next().boolean();
    queue.partition_queue = next().boolean();
    queue.polling_interval_sec = next().real();
    queue.application_name = next().optional_text();
    queue.partition_concurrency = small(next());
    queue.partition_worker_concurrency = small(next());
    queue.partition_rate_limit_max = small(next());
    queue.partition_rate_limit_period_sec = real(next());
    return queue;
}

sql::Param number(const std::optional<std::int32_t>& value) {
    return value ? sql::Param(std::int64_t{*value}) : sql::Param();
}

sql::Param number(const std::optional<double>& value) { return value ? sql::Param(*value) : sql::Param(); }

struct Column {
    const char* name;
    const char* type;
    sql::Param value;
};

std::vector<Column> written_columns(const Layout& layout, const QueueRow& row, Millis now) {
    std::vector<Column> columns{
        {"concurrency", "INTEGER", number(row.concurrency)},
        {"worker_concurrency", "INTEGER", number(row.worker_concurrency)},
        {"rate_limit_max", "INTEGER", number(row.rate_limit_max)},
        {"rate_limit_period_sec", "DOUBLE PRECISION", number(row.rate_limit_period_sec)},
        {"priority_enabled", "BOOLEAN", row.priority_enabled},
        {"partition_queue", "BOOLEAN", row.partition_queue},
        {"polling_interval_sec", "DOUBLE PRECISION", row.polling_interval_sec},
        {"updated_at", "BIGINT", now}};
    if (layout.partition_limits) {
        columns.push_back({"partition_concurrency", "INTEGER", number(row.partition_concurrency)});
        columns.push_back(
            {"partition_worker_concurrency", "INTEGER", number(row.partition_worker_concurrency)});
        columns.push_back({"partition_rate_limit_max", "INTEGER", number(row.partition_rate_limit_max)});
        columns.push_back({"partition_rate_limit_period_sec", "DOUBLE PRECISION",
                           number(row.partition_rate_limit_period_sec)});
    }
    return columns;
}

/// INSERT … ON CONFLICT (name). $1 = queue_id, $2 = name, $3 = created_at, $4 = application_name if there is one.
std::string upsert_text(const Layout& layout, const std::vector<Column>& columns, bool update) {
    std::string names = "queue_id, name, created_at";
    std::string values = "CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS BIGINT)";
    std::string sets;
    std::size_t place = 3;
    const auto add = [&](const std::string& name, const std::string& type, bool set) {
        names += ", " + name;
        values += ", CAST($" + std::to_string(++place) + " AS " + type + ")";
        if (set) sets += (sets.empty() ? "" : ", ") + name + " = excluded." + name;
    };
    if (layout.ownership) add("application_name", "TEXT", false);
    for (const Column& column : columns) add(column.name, column.type, true);
    if (layout.ownership)
        sets += ", application_name = COALESCE(q.application_name, excluded.application_name)";
    return "INSERT INTO @queues AS q (" + names + ") VALUES (" + values + ") ON CONFLICT (name) DO " +
           (update ? "UPDATE SET " + sets : "NOTHING");
}

/// The row as it is; throws if another application owns it.
std::optional<QueueRow> check_owner(sql::Connection& connection, const Layout& layout, const QueueRow& row) {
    std::optional<QueueRow> found = queue_row(connection, layout, row.name);
    if (!found) return found;
    const Text& owner = found->application_name;
    if (owner && row.application_name && *owner != *row.application_name) {
        throw ConfigError("queue \"" + row.name + "\" cannot be registered by application \"" +
                          *row.application_name + "\": application \"" + *owner +
                          "\" owns that name. Queue names are unique in a system database: " +
                          "choose another one, or delete the other application's queue first");
    }
    return found;
}

/// Whether an upsert of `row` would change nothing of what is there.
bool is_there(const QueueRow& there, const QueueRow& row, const Layout& layout, bool update) {
    if (!update) return true;
    const bool adopts = layout.ownership && row.application_name && !there.application_name;
    const auto values = [&layout](const QueueRow& of) {
        const bool limits = layout.partition_limits;
        return std::make_tuple(of.concurrency, of.worker_concurrency, of.rate_limit_max,
                               of.rate_limit_period_sec, of.priority_enabled, of.partition_queue,
                               of.polling_interval_sec, limits ? of.partition_concurrency : std::nullopt,
                               limits ? of.partition_worker_concurrency : std::nullopt,
                               limits ? of.partition_rate_limit_max : std::nullopt,
                               limits ? of.partition_rate_limit_period_sec : std::nullopt);
    };
    return !adopts && values(there) == values(row);
}

std::vector<std::string> distinct(const std::set<std::string>& names) { return {names.begin(), names.end()}; }

}  // namespace

std::optional<QueueRow> queue_row(sql::Connection& connection, const Layout& layout,
                                  const std::string& name) {
    const sql::Result found =
        connection.query("SELECT " + queue_columns(layout) + " FROM @queues WHERE name = CAST($1 AS TEXT)",
                         {std::string_view(name)});
    return found.empty() ? std::nullopt : std::optional(read_queue(found, 0));
}

std::vector<QueueRow> SystemDatabase::list_queues(const Text& application_name) {
    return core_->with_connection([&](sql::Connection& connection) {
        const Layout layout = core_->layout(connection);
        std::vector<QueueRow> rows;
        if (!layout.queues) return rows;
        std::string text = "SELECT " + queue_columns(layout) + " FROM @queues";
        sql::Params params;
        if (layout.ownership && application_name) {
            text += " WHERE application_name = CAST($1 AS TEXT) OR application_name IS NULL";
            params.emplace_back(std::string_view(*application_name));
        }
        const sql::Result result = connection.query(text, params);
        for (std::size_t row = 0; row < result.size(); ++row) rows.push_back(read_queue(result, row));
        std::ranges::sort(rows, {}, &QueueRow::name);  // bytewise on every database, whatever its collation
        return rows;
    });
}

std::optional<QueueRow> SystemDatabase::find_queue(const std::string& name) {
    return core_->with_connection([&](sql::Connection& connection) -> std::optional<QueueRow> {
        const Layout layout = core_->layout(connection);
        return layout.queues ? queue_row(connection, layout, name) : std::nullopt;
    });
}

bool SystemDatabase::upsert_queue(const QueueRow& row, bool update_existing) {
    const std::string id = uuid4();
    return core_->with_connection([&](sql::Connection& connection, const Attempt& attempt) {
        const Layout layout = core_->layout(connection);
        if (!layout.queues) {
            throw ConfigError("queue \"" + row.name +
                              "\" cannot be registered: this system database is from before queues " +
                              "were kept in a table; migrate it with a current release first");
        }
        // A start of an application mostly finds what it would write; who changes the row now comes after us.
        const auto there = attempt.ambiguous ? std::nullopt : check_owner(connection, layout, row);
        if (there && is_there(*there, row, layout, update_existing)) return false;
        const Millis now = core_->clock.now_ms();
        sql::Transaction transaction(connection);
        bool existed = check_owner(connection, layout, row).has_value();
        if (existed && attempt.ambiguous) {  // it may be our own row
            existed =
                connection
                    .query("SELECT 1 FROM @queues WHERE queue_id = CAST($1 AS TEXT)", {std::string_view(id)})
                    .empty();
        }
        const std::vector<Column> columns = written_columns(layout, row, now);
        sql::Params params{std::string_view(id), std::string_view(row.name), now};
        if (layout.ownership) params.push_back(sql::opt(row.application_name));
        for (const Column& column : columns) params.push_back(column.value);
        connection.query(upsert_text(layout, columns, update_existing), params, sql::Access::write);
        check_owner(connection, layout, row);  // the COALESCE hides a lost race
        transaction.commit();
        return !existed;
    });
}

QueueRow SystemDatabase::update_queue(const std::string& name, const std::function<void(QueueRow&)>& change) {
    return core_->with_connection([&](sql::Connection& connection) {
        const Layout layout = core_->layout(connection);
        sql::Transaction transaction(connection);
        std::optional<QueueRow> row;
        if (layout.queues) {
            // Locked, so that two changes of one queue come one after the other.
            if (core_->backend == sql::Backend::postgres) {
                connection.query("SELECT 1 FROM @queues WHERE name = CAST($1 AS TEXT) FOR UPDATE",
                                 {std::string_view(name)}, sql::Access::write);
            }
            row = queue_row(connection, layout, name);
        }
        if (!row) throw NotFound("queue \"" + name + "\" is not defined; list_queues shows those that are");
        const QueueRow before = *row;
        change(*row);
        if (*row == before) return *row;
        std::string sets;
        sql::Params params{std::string_view(name)};
        for (const Column& column : written_columns(layout, *row, core_->clock.now_ms())) {
            params.push_back(column.value);
            sets += (sets.empty() ? "" : ", ") + std::string(column.name) + " = CAST($" +
                    std::to_string(params.size()) + " AS " + column.type + ")";
        }
        connection.query("UPDATE @queues SET " + sets + " WHERE name = CAST($1 AS TEXT)", params,
                         sql::Access::write);
        transaction.commit();
        return *row;
    });
}

std::vector<std::string> SystemDatabase::enqueue_due(Millis now_ms, const Text& application_name) {
    std::set<std::string> queues;
    for (std::size_t moved = kRowsAtOnce; moved == kRowsAtOnce;) {
        std::set<std::string> batch;
        moved = core_->with_lane(core_->maintenance_lane, [&](sql::Connection& connection) {
            sql::Transaction transaction(connection);
            sql::Params params{now_ms, sql::opt(application_name)};
            if (core_->backend == sql::Backend::sqlite) params.emplace_back(core_->clock.now_ms());
            const sql::Result result = connection.execute(kEnqueueDue.on(core_->backend), params);
            for (std::size_t row = 0; row < result.size(); ++row) batch.insert(result.at(row, 0).string());
            const auto names = distinct(batch);
            notify_in_transaction(*core_, connection, {.queues = names});
            transaction.commit();
            return result.size();
        });
        const auto names = distinct(batch);
        core_->claims->forget(names);
        tell_after_commit(*core_, {.queues = names});
        queues.merge(batch);
    }
    return distinct(queues);
}

std::size_t SystemDatabase::cancel_overdue(Millis now_ms, const Text& application_name) {
    std::size_t total = 0;
    for (std::size_t cancelled = kRowsAtOnce; cancelled == kRowsAtOnce; total += cancelled) {
        std::vector<std::string> ids;
        std::vector<std::string> queues;
        cancelled = core_->with_lane(core_->maintenance_lane, [&](sql::Connection& connection) {
            ids.clear();
            std::set<std::string> left;
            sql::Transaction transaction(connection);
            const sql::Result found =
                connection.execute(kOverdue.on(core_->backend), {now_ms, sql::opt(application_name)});
            for (std::size_t row = 0; row < found.size(); ++row) {
                ids.push_back(found.at(row, 0).string());
                if (!found.at(row, 1).null()) left.insert(found.at(row, 1).string());
            }
            queues = distinct(left);
            if (ids.empty()) {
                transaction.rollback();
                return ids.size();
            }
            sql::Params params{text_array(ids)};
            if (core_->backend == sql::Backend::sqlite) params.emplace_back(core_->clock.now_ms());
            connection.execute(kCancel.on(core_->backend), params);
            notify_in_transaction(*core_, connection, {.queues = queues, .ended = ids});
            transaction.commit();
            return ids.size();
        });
        tell_after_commit(*core_, {.queues = queues, .ended = ids});
    }
    return total;
}

}  // namespace dbos::sysdb
