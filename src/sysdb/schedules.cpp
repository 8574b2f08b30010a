// Rows of workflow_schedules.
#include <algorithm>

#include "dbos/error.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/database.hpp"
#include "sysdb/explain.hpp"
#include "sysdb/firing.hpp"
#include "sysdb/managed_write.hpp"

namespace dbos::sysdb {
namespace {

constexpr const char* kColumns =
    "schedule_id, schedule_name, workflow_name, workflow_class_name, schedule, status, context, "
    "last_fired_at, "
    "automatic_backfill, cron_timezone, queue_name, application_name";

ScheduleRow read_schedule(const sql::Result& result, std::size_t row) {
    const auto text = [&](std::size_t column) { return result.at(row, column).optional_text(); };
    const auto filled = [&](std::size_t column) {
        Text value = text(column);
        return value && value->empty() ? Text() : value;  // '' where others write NULL
    };
    return {.schedule_id = text(0).value_or(""),
            .schedule_name = text(1).value_or(""),
            .workflow_name = text(2).value_or(""),
            .workflow_class_name = filled(3),
            .schedule = text(4).value_or(""),
            .status = text(5).value_or(""),
            .context = text(6).value_or(""),
            .last_fired_at = text(7),
            .automatic_backfill = result.at(row, 8).boolean(),
            .cron_timezone = filled(9),
            .queue_name = filled(10),
            .application_name = text(11)};
}

void check_layout(const Layout& layout) {
    if (!layout.schedules || !layout.ownership) {
        throw ConfigError("schedules cannot be kept: this system database (version " +
                          std::to_string(layout.version) +
                          ") is from before they had an owner; migrate it with a current release first");
    }
}

void usable(SystemDatabase::Core& core, sql::Connection& connection) {
    check_layout(core.layout(connection));
}

std::optional<ScheduleRow> find(sql::Connection& connection, const std::string& name) {
    const sql::Result found =
        connection.query(std::string("SELECT ") + kColumns +
                             " FROM @workflow_schedules WHERE schedule_name = CAST($1 AS TEXT)",
                         {std::string_view(name)});
    return found.empty() ? std::nullopt : std::optional(read_schedule(found, 0));
}

void check_owner(const ScheduleRow& wanted, const std::optional<ScheduleRow>& there) {
    if (!there || !there->application_name || !wanted.application_name ||
        *there->application_name == *wanted.application_name)
        return;
    throw ConfigError(
        "schedule \"" + wanted.schedule_name + "\" cannot be written for application \"" +
        *wanted.application_name + "\": application \"" + *there->application_name +
        "\" owns that name. Schedule names are unique in a system database: choose another one, or delete "
        "the other application's schedule first");
}

void check_queue(sql::Connection& connection, const Layout& layout, const ScheduleRow& row) {
    if (!row.queue_name || !layout.queues) return;
    if (const auto queue = queue_row(connection, layout, *row.queue_name))
        require_schedulable(row.schedule_name, *queue);
}

sql::Params values(const ScheduleRow& row) {
    return {std::string_view(row.schedule_id),
            std::string_view(row.schedule_name),
            std::string_view(row.workflow_name),
            sql::opt(row.workflow_class_name),
            std::string_view(row.schedule),
            std::string_view(row.context),
            row.automatic_backfill,
            sql::opt(row.cron_timezone),
            sql::opt(row.queue_name),
            sql::opt(row.application_name)};
}

constexpr const char* kInsert =
    "INSERT INTO @workflow_schedules AS s (schedule_id, schedule_name, workflow_name, workflow_class_name, "
    "schedule, "
    "context, automatic_backfill, cron_timezone, queue_name, application_name, status) VALUES (CAST($1 AS "
    "TEXT), "
    "CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS TEXT), CAST($7 AS "
    "BOOLEAN), "
    "CAST($8 AS TEXT), CAST($9 AS TEXT), CAST($10 AS TEXT), 'ACTIVE') ON CONFLICT (schedule_name) DO ";

// Id, status and the last firing stay.
constexpr const char* kUpdate =
    "UPDATE SET workflow_name = excluded.workflow_name, workflow_class_name = excluded.workflow_class_name, "
    "schedule = "
    "excluded.schedule, context = excluded.context, automatic_backfill = excluded.automatic_backfill, "
    "cron_timezone = "
    "excluded.cron_timezone, queue_name = excluded.queue_name, application_name = "
    "COALESCE(s.application_name, "
    "excluded.application_name)";

/// Tells the scheduler of this process.
void changed(const SystemDatabase::Core& core) {
    if (core.options.local_wake.schedules_changed) core.options.local_wake.schedules_changed();
}

}  // namespace

void require_schedulable(const std::string& schedule_name, const QueueRow& queue) {
    if (!limits_of(queue).partitioned) return;
    throw UsageError("schedule \"" + schedule_name + "\": queue \"" + queue.name +
                     "\" is partitioned, and a run of a schedule has no queue_partition_key, so it would "
                     "never run; give the schedule another queue_name, or none");
}

std::vector<ScheduleRow> SystemDatabase::list_schedules() {
    return core_->with_connection([&](sql::Connection& connection) {
        usable(*core_, connection);
        const sql::Result found =
            connection.query(std::string("SELECT ") + kColumns + " FROM @workflow_schedules");
        std::vector<ScheduleRow> rows;
        for (std::size_t row = 0; row < found.size(); ++row) rows.push_back(read_schedule(found, row));
        std::ranges::sort(rows, {}, &ScheduleRow::schedule_name);  // bytewise on every database
        return rows;
    });
}

std::optional<ScheduleRow> SystemDatabase::find_schedule(const std::string& name) {
    return core_->with_connection([&](sql::Connection& connection) {
        usable(*core_, connection);
        return find(connection, name);
    });
}

void SystemDatabase::create_schedule(const ScheduleRow& row, Gate* gate) {
    managed_write(*core_, {.name = "create_schedule", .gate = gate}, [&](ManagedWrite& write) {
        check_layout(write.layout);
        write.lock({});
        const auto there = find(write.connection, row.schedule_name);
        if (there && there->schedule_id == row.schedule_id) return;  // an attempt of ours was committed
        check_owner(row, there);
        check_queue(write.connection, write.layout, row);
        if (write.write(std::string(kInsert) + "NOTHING RETURNING schedule_id", values(row)).empty()) {
            throw AlreadyExists(
                "schedule \"" + row.schedule_name +
                "\" exists already; use apply_schedules or update_schedule to change it, or delete it "
                "first");
        }
    });
    changed(*core_);
}

void SystemDatabase::apply_schedules(std::span<const ScheduleRow> rows) {
    core_->with_connection([&](sql::Connection& connection) {
        usable(*core_, connection);
        const Layout layout = core_->layout(connection);
        sql::Transaction transaction(connection);
        for (const ScheduleRow& row : rows) {
            check_owner(row, find(connection, row.schedule_name));
            check_queue(connection, layout, row);
            connection.query(std::string(kInsert) + kUpdate, values(row), sql::Access::write);
            check_owner(row, find(connection, row.schedule_name));  // the COALESCE hides a lost race
        }
        transaction.commit();
    });
    changed(*core_);
}

void SystemDatabase::update_schedule(const std::string& name, const ScheduleChange& change, Gate* gate) {
    managed_write(*core_, {.name = "update_schedule", .gate = gate}, [&](ManagedWrite& write) {
        check_layout(write.layout);
        write.lock({});
        auto row = find(write.connection, name);
        if (!row) {
            throw NotFound("schedule \"" + name + "\" does not exist; list_schedules shows those that do");
        }
        const Text queue = row->queue_name;
        change(*row);
        if (row->queue_name != queue) check_queue(write.connection, write.layout, *row);
        write.write(
            "UPDATE @workflow_schedules SET schedule = CAST($2 AS TEXT), context = CAST($3 AS TEXT), "
            "automatic_backfill = "
            "CAST($4 AS BOOLEAN), cron_timezone = CAST($5 AS TEXT), queue_name = CAST($6 AS TEXT) WHERE "
            "schedule_id = "
            "CAST($1 AS TEXT)",
            {std::string_view(row->schedule_id), std::string_view(row->schedule),
             std::string_view(row->context), row->automatic_backfill, sql::opt(row->cron_timezone),
             sql::opt(row->queue_name)});
    });
    changed(*core_);
}

void SystemDatabase::set_schedule_status(const std::string& name, const std::string& status, Gate* gate) {
    managed_write(*core_, {.name = "set_schedule_status", .gate = gate}, [&](ManagedWrite& write) {
        check_layout(write.layout);
        write.lock({});
        write.write(
            "UPDATE @workflow_schedules SET status = CAST($2 AS TEXT) WHERE schedule_name = CAST($1 AS TEXT)",
            {std::string_view(name), std::string_view(status)});
    });
    changed(*core_);
}

void SystemDatabase::delete_schedule(const std::string& name, Gate* gate) {
    managed_write(*core_, {.name = "delete_schedule", .gate = gate}, [&](ManagedWrite& write) {
        check_layout(write.layout);
        write.lock({});
        write.write("DELETE FROM @workflow_schedules WHERE schedule_name = CAST($1 AS TEXT)",
                    {std::string_view(name)});
    });
    changed(*core_);
}

void SystemDatabase::delete_queue(const std::string& name) {
    core_->with_connection([&](sql::Connection& connection) {
        if (!core_->layout(connection).queues) return;
        connection.query("DELETE FROM @queues WHERE name = CAST($1 AS TEXT)", {std::string_view(name)},
                         sql::Access::write);
    });
}

}  // namespace dbos::sysdb
