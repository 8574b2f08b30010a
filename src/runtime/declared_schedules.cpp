// Schedules that a program declares: checked when they are declared and at launch, and then written.
#include <algorithm>
#include <utility>

#include "core/log.hpp"
#include "runtime/executor.hpp"
#include "sysdb/firing.hpp"

namespace dbos::runtime {

namespace {

/// Whether a row is what its declaration says, but for what a re-apply leaves alone.
bool same_definition(const sysdb::ScheduleRow& there, const sysdb::ScheduleRow& wanted) {
    return there.workflow_name == wanted.workflow_name &&
           there.workflow_class_name == wanted.workflow_class_name && there.schedule == wanted.schedule &&
           there.context == wanted.context && there.automatic_backfill == wanted.automatic_backfill &&
           there.cron_timezone == wanted.cron_timezone && there.queue_name == wanted.queue_name &&
           there.application_name == wanted.application_name;
}

}  // namespace

void Executor::declare_schedule(std::string_view workflow_name, ScheduleOptions&& options, Value&& context) {
    const std::string where = "schedule \"" + options.schedule_name + "\"";
    if (phase_.load() != Phase::configuring) {
        throw UsageError(where +
                         " was declared after launch(): declare schedules before it, or use "
                         "client().create_schedule()");
    }
    const auto refuse = [&](const char* option, const char* why) {
        throw UsageError(where + ": " + option + " was given, but " + why + "; leave it out");
    };
    if (!options.workflow_name.empty()) refuse("workflow_name", "the contract says which workflow it is");
    if (options.context || options.raw_context) refuse("context", "it is an argument of schedule()");
    if (options.style != ScheduleStyle::cpp || options.serializer)
        refuse("style or serializer", "this application fires the schedule itself");
    if (!options.application_name.empty() && options.application_name != options_.name)
        refuse("application_name", "an App declares its own schedules");
    for (const auto& known : schedule_options_) {
        if (known.schedule_name == options.schedule_name)
            throw UsageError(where + " is declared already in this application: declare it once");
    }
    options.workflow_name = workflow_name;
    options.context = Any(context);
    options.application_name = options_.name;
    client::check_schedule(options);
    schedule_options_.push_back(std::move(options));
}

void Executor::check_declared_queues() const {
    for (const auto& schedule : schedule_options_) {
        const auto queue = std::ranges::find(queue_options_, schedule.queue_name, &QueueOptions::name);
        if (queue != queue_options_.end())
            sysdb::require_schedulable(schedule.schedule_name, definition_of(*queue));
    }
}

void Executor::check_schedules() {
    for (const auto& schedule : schedule_options_) {
        const std::string where = "schedule \"" + schedule.schedule_name + "\": ";
        if (find_implementation(schedule.workflow_name) == nullptr) {
            throw UsageError(where + "workflow \"" + schedule.workflow_name +
                             "\" has no body in this application: implement() it before launch()");
        }
        if (schedule.queue_name.empty()) continue;
        // Also one that this process does not serve.
        if (const auto queue = database().find_queue(schedule.queue_name))
            sysdb::require_schedulable(schedule.schedule_name, *queue);
        try {
            check_queue(schedule.queue_name);
        } catch (const UsageError& error) {
            throw UsageError(where + error.what());
        }
    }
}

void Executor::apply_schedules(bool latest) {
    std::vector<sysdb::ScheduleRow> rows;
    for (const auto& schedule : schedule_options_) {
        sysdb::ScheduleRow row = core_->prepare_schedule(schedule);
        const auto there = database().find_schedule(row.schedule_name);
        if (there && same_definition(*there, row)) continue;
        if (there && !latest) {
            log_to(log(), LogLevel::warn,
                   "a schedule keeps the definition of a newer version of the application",
                   {{"schedule", row.schedule_name}});
            continue;
        }
        rows.push_back(std::move(row));
    }
    if (!rows.empty()) database().apply_schedules(rows);
}

}  // namespace dbos::runtime
