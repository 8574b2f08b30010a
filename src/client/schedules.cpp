// Core: schedules and queue definitions.
#include <algorithm>
#include <chrono>
#include <limits>

#include "client/core.hpp"
#include "codec/schedule_context.hpp"
#include "core/cron.hpp"
#include "core/durations.hpp"
#include "core/schedule_ids.hpp"
#include "platform/zone_file.hpp"
#include "sysdb/database.hpp"
#include "sysdb/firing.hpp"
#include "value/uuid.hpp"

namespace dbos::client {
namespace {

constexpr std::size_t kRunsAtOnce = 100;

core::ScheduleDialect dialect(ScheduleStyle style) {
    switch (style) {
        case ScheduleStyle::typescript: return core::ScheduleDialect::typescript;
        case ScheduleStyle::go: return core::ScheduleDialect::go;
        case ScheduleStyle::java: return core::ScheduleDialect::java;
        default: return core::ScheduleDialect::python;
    }
}

core::CronOptions cron_options(ScheduleStyle style) {
    const bool both = style == ScheduleStyle::typescript || style == ScheduleStyle::java;
    return {.day_rule = both ? core::DayRule::both : core::DayRule::either,
            .years = false,
            .wrapped_ranges = style == ScheduleStyle::typescript};
}

[[noreturn]] void usage(const std::string& what, const std::string& expected, const std::string& got) {
    throw UsageError(what + ": expected " + expected + ", got " + got);
}

void check_name(const std::string& where, const char* what, const std::string& text, bool required) {
    if (required && core::blank(text)) usage(where + what, "a name that is not blank", '"' + text + '"');
    if (text.find('\0') != std::string::npos)
        usage(where + what, "text without U+0000", "text with U+0000 in it");
}

void check_cron(const std::string& where, const std::string& text, ScheduleStyle style) {
    if (!core::Cron::parse(text, cron_options(style)).can_fire())
        usage(where + "schedule", "an expression that a date exists for", '"' + text + '"');
}

core::TimeZone zone_of(const sysdb::Text& name) {
    return core::load_time_zone(name.value_or(""), seam::read_zone_file);
}

bool passes(const OneOrMany& filter, const std::string& value) {
    return !filter.values() || std::ranges::find(*filter.values(), value) != filter.values()->end();
}

bool passes_prefix(const OneOrMany& filter, const std::string& value) {
    return !filter.values() ||
           std::ranges::any_of(*filter.values(), [&](const std::string& p) { return value.starts_with(p); });
}

NotFound no_schedule(const std::string& name) {
    return NotFound("schedule \"" + name + "\" does not exist; list_schedules shows those that do");
}

std::optional<std::int32_t> small(const std::optional<std::int64_t>& number) {
    return number ? std::optional(static_cast<std::int32_t>(*number)) : std::nullopt;
}

void check_queue(const QueueDefinition& queue) {
    core::check_queue({.name = queue.name,
                       .worker_concurrency = queue.worker_concurrency,
                       .concurrency = queue.concurrency,
                       .limiter = queue.limiter,
                       .partition_worker_concurrency = queue.partition_worker_concurrency,
                       .partition_concurrency = queue.partition_concurrency,
                       .partition_limiter = queue.partition_limiter,
                       .polling_interval = queue.polling_interval});
}

RateLimit rate(const std::optional<std::int32_t>& limit, const std::optional<double>& period) {
    if (!limit || !period) return {};
    return {*limit, Duration(*period)};
}

QueueDefinition shown(const sysdb::QueueRow& row) {
    return {.name = row.name,
            .worker_concurrency = row.worker_concurrency,
            .concurrency = row.concurrency,
            .limiter = rate(row.rate_limit_max, row.rate_limit_period_sec),
            .partition_worker_concurrency = row.partition_worker_concurrency,
            .partition_concurrency = row.partition_concurrency,
            .partition_limiter = rate(row.partition_rate_limit_max, row.partition_rate_limit_period_sec),
            .polling_interval = Duration(row.polling_interval_sec),
            .application_name = row.application_name.value_or(""),
            .partition_queue = row.partition_queue};
}

void set_limits(sysdb::QueueRow& row, const QueueDefinition& queue) {
    const auto rate = [](const RateLimit& limit, std::optional<std::int32_t>& max,
                         std::optional<double>& period) {
        max = limit.none() ? std::nullopt : small(limit.limit);
        period = limit.none() ? std::nullopt : std::optional(limit.period.count());
    };
    row.concurrency = small(queue.concurrency);
    row.worker_concurrency = small(queue.worker_concurrency);
    row.partition_concurrency = small(queue.partition_concurrency);
    row.partition_worker_concurrency = small(queue.partition_worker_concurrency);
    rate(queue.limiter, row.rate_limit_max, row.rate_limit_period_sec);
    rate(queue.partition_limiter, row.partition_rate_limit_max, row.partition_rate_limit_period_sec);
    row.partition_queue = row.partition_concurrency || row.partition_worker_concurrency ||
                          row.partition_rate_limit_max.has_value();
    row.priority_enabled = true;
    row.polling_interval_sec = queue.polling_interval.count();
}

}  // namespace

// ---------------------------------------------------------------------------------------------------- definitions

std::string Core::context_text(const Value& context, ScheduleStyle style, const Serializer* given) const {
    return given != nullptr ? given->encode(context) : write_schedule_context(context, style, formats_.own());
}

void check_schedule(const ScheduleOptions& options) {
    const std::string where = "schedule \"" + options.schedule_name + "\", ";
    check_name("", "schedule_name", options.schedule_name, true);
    check_name(where, "workflow_name", options.workflow_name, true);
    check_name(where, "workflow_class_name", options.workflow_class_name, false);
    check_name(where, "queue_name", options.queue_name, false);
    check_name(where, "application_name", options.application_name, false);
    check_cron(where, options.schedule, options.style);
    zone_of(options.cron_timezone);
    if (options.context && options.raw_context) usage(where + "context", "context or raw_context", "both");
}

sysdb::ScheduleRow Core::prepare_schedule(const ScheduleOptions& options) {
    check_schedule(options);
    const Value context = options.context ? options.context->value() : Value();
    const std::string& owner =
        options.application_name.empty() ? options_.application_name : options.application_name;
    return {
        .schedule_id = uuid4(),
        .schedule_name = options.schedule_name,
        .workflow_name = options.workflow_name,
        // An empty text is no class to TypeScript, and NULL another class than none: its scheduler would refuse its own runs.
        .workflow_class_name = options.style == ScheduleStyle::typescript
                                   ? sysdb::Text(options.workflow_class_name)
                                   : text_or_null(options.workflow_class_name),
        .schedule = options.schedule,
        .status = "ACTIVE",
        .context = options.raw_context ? *options.raw_context
                                       : context_text(context, options.style, options.serializer.get()),
        .last_fired_at = {},
        .automatic_backfill = options.automatic_backfill,
        .cron_timezone = text_or_null(options.cron_timezone),
        .queue_name = text_or_null(options.queue_name),
        .application_name = text_or_null(owner)};
}

void Core::create_schedule(const sysdb::ScheduleRow& row, sysdb::Gate* gate) {
    guarded(*this, [&] {
        database_->create_schedule(row, gate);
        return 0;
    });
}

void Core::apply_schedules(std::span<const sysdb::ScheduleRow> rows) {
    guarded(*this, [&] {
        database_->apply_schedules(rows);
        return 0;
    });
}

WorkflowSchedule Core::shown(const sysdb::ScheduleRow& row) const {
    WorkflowSchedule schedule{.schedule_id = row.schedule_id,
                              .schedule_name = row.schedule_name,
                              .workflow_name = row.workflow_name,
                              .workflow_class_name = text_or_null(row.workflow_class_name.value_or("")),
                              .schedule = row.schedule,
                              .status = row.status,
                              .context = {},
                              .raw_context = row.context,
                              .last_fired_at = row.last_fired_at,
                              .automatic_backfill = row.automatic_backfill,
                              .cron_timezone = row.cron_timezone,
                              .queue_name = row.queue_name,
                              .application_name = row.application_name};
    try {
        schedule.context = read_schedule_context(row.context, formats_.own());
    } catch (const Error&) {  // the row does not say in which format it is
        schedule.context = row.context;
    }
    return schedule;
}

std::vector<WorkflowSchedule> Core::list_schedules(const ListSchedulesOptions& options) {
    std::vector<WorkflowSchedule> schedules;
    for (const sysdb::ScheduleRow& row : schedule_rows(options)) schedules.push_back(shown(row));
    return schedules;
}

std::vector<sysdb::ScheduleRow> Core::schedule_rows(const ListSchedulesOptions& options) {
    auto rows = guarded(*this, [&] { return database_->list_schedules(); });
    const OneOrMany owners = !options.application_name.values() && !options_.application_name.empty()
                                 ? OneOrMany(options_.application_name)
                                 : options.application_name;
    std::erase_if(rows, [&](const sysdb::ScheduleRow& row) {
        return !(passes(options.status, row.status) && passes(options.workflow_name, row.workflow_name) &&
                 passes_prefix(options.schedule_name_prefix, row.schedule_name) &&
                 (!row.application_name || passes(owners, *row.application_name)));
    });
    return rows;
}

std::optional<WorkflowSchedule> Core::get_schedule(const std::string& name) {
    const auto row = schedule_row(name);
    return row ? std::optional(shown(*row)) : std::nullopt;
}

std::optional<sysdb::ScheduleRow> Core::schedule_row(const std::string& name) {
    return guarded(*this, [&] { return database_->find_schedule(name); });
}

void Core::delete_schedule(const std::string& name, sysdb::Gate* gate) {
    guarded(*this, [&] {
        database_->delete_schedule(name, gate);
        return 0;
    });
}

void Core::set_schedule_status(const std::string& name, const char* status, sysdb::Gate* gate) {
    guarded(*this, [&] {
        database_->set_schedule_status(name, status, gate);
        return 0;
    });
}

void Core::check_schedule_update(const std::string& name, const ScheduleUpdate& update) {
    const std::string where = "schedule \"" + name + "\", ";
    if (update.schedule) check_cron(where, *update.schedule, update.style);
    if (update.cron_timezone) static_cast<void>(zone_of(update.cron_timezone));
    if (update.queue_name) check_name(where, "queue_name", *update.queue_name, false);
    if (update.context && update.raw_context) usage(where + "context", "context or raw_context", "both");
}

void Core::update_schedule(const std::string& name, const ScheduleUpdate& update, sysdb::Gate* gate) {
    check_schedule_update(name, update);
    sysdb::Text context = update.raw_context;
    if (update.context)
        context = context_text(update.context->value(), update.style, update.serializer.get());
    const auto change = [&](sysdb::ScheduleRow& row) {
        if (update.schedule) row.schedule = *update.schedule;
        if (context) row.context = *context;
        if (update.automatic_backfill) row.automatic_backfill = *update.automatic_backfill;
        if (update.cron_timezone) row.cron_timezone = text_or_null(*update.cron_timezone);
        if (update.queue_name) row.queue_name = text_or_null(*update.queue_name);
    };
    guarded(*this, [&] {
        database_->update_schedule(name, change, gate);
        return 0;
    });
}

// ---------------------------------------------------------------------------------------------------- runs

/// The schedule, whose runs can be claimed.
sysdb::ScheduleRow Core::schedule_to_run(const std::string& name) {
    return guarded(*this, [&] {
        auto schedule = database_->find_schedule(name);
        if (!schedule) throw no_schedule(name);
        if (schedule->queue_name) {
            if (const auto queue = database_->find_queue(*schedule->queue_name))
                sysdb::require_schedulable(name, *queue);
        }
        return std::move(*schedule);
    });
}

std::string Core::version_for(const sysdb::ScheduleRow& schedule) {
    const sysdb::Text owner =
        schedule.application_name ? schedule.application_name : text_or_null(options_.application_name);
    const auto version = guarded(*this, [&] { return database_->latest_version(owner); });
    if (!version) {
        throw InitializationError("No application versions found: schedule \"" + schedule.schedule_name +
                                  "\" has nobody to run it; launch its application first");
    }
    return *version;
}

sysdb::NewWorkflow Core::run_of(const sysdb::ScheduleRow& schedule, std::string id,
                                std::chrono::system_clock::time_point time, const std::string& version) {
    Arguments arguments;
    arguments.positional.push_back(to_value(time));
    try {
        arguments.positional.push_back(read_schedule_context(schedule.context, formats_.own()));
    } catch (const Error& error) {
        throw DecodeError("context of schedule \"" + schedule.schedule_name + '"',
                          "text in the format " + std::string(formats_.own().name()) +
                              " (make the client with the serializer of the application)",
                          error.what());
    }
    EnqueueOptions options;
    options.workflow_name = schedule.workflow_name;
    options.queue_name = schedule.queue_name.value_or(std::string(sysdb::kInternalQueue));
    options.workflow_id = std::move(id);
    options.app_version = version;
    options.class_name = schedule.workflow_class_name.value_or("");
    options.application_name = schedule.application_name.value_or("");
    sysdb::NewWorkflow row =
        prepare({}, std::move(options), std::move(arguments), core::StartKind::enqueue).row;
    row.schedule_name = schedule.schedule_name;
    return row;
}

std::vector<std::shared_ptr<detail::HandleState>> Core::backfill_schedule(const std::string& name,
                                                                          Instant start, Instant end,
                                                                          ScheduleStyle style) {
    const sysdb::ScheduleRow schedule = schedule_to_run(name);
    const core::TimeZone zone = zone_of(schedule.cron_timezone);
    // What its own application accepted may have a seventh field.
    core::CronOptions accepted = cron_options(style);
    accepted.years = true;
    using core::Cron;
    core::CronRange range(Cron::parse(schedule.schedule, accepted), zone,
                          Cron::Millis(std::chrono::milliseconds(start.epoch_ms())),
                          Cron::Millis(std::chrono::milliseconds(end.epoch_ms())),
                          style == ScheduleStyle::java);
    std::vector<std::shared_ptr<detail::HandleState>> handles;
    std::vector<sysdb::NewWorkflow> rows;
    std::string version;
    const auto flush = [&] {
        guarded(*this, [&] {
            database_->start_workflows(rows, [](std::span<const sysdb::StartResult>) { return true; });
            return 0;
        });
        for (const sysdb::NewWorkflow& row : rows) handles.push_back(handle(row.workflow_id, true));
        rows.clear();
    };
    while (const auto tick = range.next()) {
        if (version.empty()) version = version_for(schedule);
        rows.push_back(run_of(schedule,
                              core::backfill_id(dialect(style), name, *tick,
                                                style == ScheduleStyle::go ? core::TimeZone() : zone),
                              *tick, version));
        if (rows.size() == kRunsAtOnce) flush();
    }
    if (!rows.empty()) flush();
    return handles;
}

std::shared_ptr<detail::HandleState> Core::trigger_schedule(const std::string& name, ScheduleStyle style) {
    const sysdb::ScheduleRow schedule = schedule_to_run(name);
    // Once, before anything is repeated: the id is made of it.
    const auto now = seam::wall_now();
    const sysdb::NewWorkflow row = run_of(schedule, core::trigger_id(dialect(style), name, core::Moment(now)),
                                          now, version_for(schedule));
    const sysdb::StartResult result = guarded(*this, [&] { return database_->start_workflow(row); });
    return handle(settle({row, {}}, result), true);
}

// ---------------------------------------------------------------------------------------------------- queues

QueueDefinition Core::register_queue(const QueueDefinition& queue, QueueConflict on_conflict) {
    if (on_conflict == QueueConflict::update_if_latest_version) {
        usage("on_conflict", "update or keep, because a client has no version", "update_if_latest_version");
    }
    check_queue(queue);
    sysdb::QueueRow row;
    row.name = queue.name;
    set_limits(row, queue);
    row.application_name =
        text_or_null(queue.application_name.empty() ? options_.application_name : queue.application_name);
    return guarded(*this, [&] {
        database_->upsert_queue(row, on_conflict == QueueConflict::update);
        const auto there = database_->find_queue(row.name);
        return client::shown(there ? *there : row);
    });
}

QueueDefinition Core::update_queue(const std::string& name,
                                   const std::function<void(QueueDefinition&)>& change) {
    return guarded(*this, [&] {
        return client::shown(database_->update_queue(name, [&](sysdb::QueueRow& row) {
            const QueueDefinition before = client::shown(row);
            QueueDefinition queue = before;
            change(queue);
            queue.name = before.name;
            queue.application_name = before.application_name;
            check_queue(queue);
            const sysdb::QueueRow there = row;
            const sysdb::QueueLimits limits = sysdb::limits_of(there);
            set_limits(row, queue);
            const bool old_form = there.partition_queue && !there.partition_concurrency &&
                                  !there.partition_worker_concurrency && !there.partition_rate_limit_max;
            if (!old_form) return;
            row.partition_queue = true;
            // No row of that form is written here, but its interval may be changed.
            if (!(sysdb::limits_of(row) == limits)) {
                throw UsageError(
                    "queue \"" + name +
                    "\" is partitioned in the old form, in which the limits of the queue hold for "
                    "each partition: register it anew, with partition limits, to change them");
            }
        }));
    });
}

std::optional<QueueDefinition> Core::retrieve_queue(const std::string& name) {
    const auto row = guarded(*this, [&] { return database_->find_queue(name); });
    return row ? std::optional(client::shown(*row)) : std::nullopt;
}

std::vector<QueueDefinition> Core::list_queues(const std::string& application_name) {
    const auto rows = guarded(*this, [&] {
        return database_->list_queues(
            text_or_null(application_name.empty() ? options_.application_name : application_name));
    });
    std::vector<QueueDefinition> queues;
    for (const sysdb::QueueRow& row : rows) queues.push_back(client::shown(row));
    return queues;
}

void Core::delete_queue(const std::string& name) {
    guarded(*this, [&] {
        database_->delete_queue(name);
        return 0;
    });
}

}  // namespace dbos::client
