// Schedules and versions, as a body sees them.
#include "core/options.hpp"
#include "runtime/manage.hpp"
#include "runtime/record_values.hpp"

namespace dbos {

namespace runtime {
namespace {

ManagedCall<void> create_call(Run& run, const ScheduleOptions& options) {
    client::Core& core = run.executor().core();
    // Its id is made before any repetition.
    auto row = std::make_shared<sysdb::ScheduleRow>();
    return write_call(
        run, "ctx.create_schedule", "DBOS.createSchedule",
        [&core, options, row] { *row = core.prepare_schedule(options); },
        [row](client::Core& to, sysdb::Gate* gate) { to.create_schedule(*row, gate); });
}

ManagedCall<std::vector<WorkflowSchedule>> list_call(Run& run, const ListSchedulesOptions& options) {
    using Rows = std::vector<sysdb::ScheduleRow>;
    return read_call<std::vector<WorkflowSchedule>, Rows>(
        run, "ctx.list_schedules", "DBOS.listSchedules", [] {},
        [options](client::Core& core) { return core.schedule_rows(options); },
        [](client::Core& core, const Rows& rows) {
            std::vector<WorkflowSchedule> schedules;
            for (const sysdb::ScheduleRow& row : rows) schedules.push_back(core.shown(row));
            return schedules;
        });
}

ManagedCall<std::optional<WorkflowSchedule>> get_call(Run& run, const std::string& name) {
    using Row = std::optional<sysdb::ScheduleRow>;
    using Shown = std::optional<WorkflowSchedule>;
    return read_call<Shown, Row>(
        run, "ctx.get_schedule", "DBOS.getSchedule", [] {},
        [name](client::Core& core) { return core.schedule_row(name); },
        [](client::Core& core, const Row& row) { return row ? Shown(core.shown(*row)) : std::nullopt; });
}

ManagedCall<void> delete_call(Run& run, const std::string& name) {
    return write_call(
        run, "ctx.delete_schedule", "DBOS.deleteSchedule", [] {},
        [name](client::Core& core, sysdb::Gate* gate) { core.delete_schedule(name, gate); });
}

ManagedCall<void> status_call(Run& run, const char* call, const char* record, const std::string& name,
                              const char* status) {
    return write_call(
        run, call, record, [] {},
        [name, status](client::Core& core, sysdb::Gate* gate) {
            core.set_schedule_status(name, status, gate);
        });
}
ManagedCall<void> pause_call(Run& run, const std::string& name) {
    return status_call(run, "ctx.pause_schedule", "DBOS.pauseSchedule", name, "PAUSED");
}
ManagedCall<void> resume_call(Run& run, const std::string& name) {
    return status_call(run, "ctx.resume_schedule", "DBOS.resumeSchedule", name, "ACTIVE");
}

ManagedCall<void> update_call(Run& run, const std::string& name, const ScheduleUpdate& update) {
    client::Core& core = run.executor().core();
    return write_call(
        run, "ctx.update_schedule", "DBOS.updateSchedule",
        [&core, name, update] { core.check_schedule_update(name, update); },
        [name, update](client::Core& to, sysdb::Gate* gate) { to.update_schedule(name, update, gate); });
}

/// For calls that a body may not make: the core, inside a step.
client::Core& only_in_step(Run& run, const char* call) {
    if (run.in_step()) return run.executor().core();
    run.enter(call);
    throw UsageError(std::string(call) + " was called in the body of workflow \"" + run.id() +
                         "\", where it is not recorded and would happen again at every replay; call it in a "
                         "step, or outside of workflows",
                     run.id());
}

/// For calls that are not recorded: the core, on a thread of the body or of a step.
client::Core& unrecorded(Run& run, const char* call) {
    if (!run.in_step()) run.enter(call);
    return run.executor().core();
}

}  // namespace
}  // namespace runtime

using runtime::run_call;
using runtime::start_call;
template <class T>
using Many = std::vector<T>;

void ContextManaging::create_schedule(const ScheduleOptions& options) {
    run_call(run_, runtime::create_call(run_, options));
}
Pending<void> ContextManaging::create_schedule_async(const ScheduleOptions& options) {
    return pending<void>(start_call(run_, runtime::create_call(run_, options)));
}

Many<WorkflowSchedule> ContextManaging::list_schedules(const ListSchedulesOptions& options) {
    return run_call(run_, runtime::list_call(run_, options));
}
Pending<Many<WorkflowSchedule>> ContextManaging::list_schedules_async(ListSchedulesOptions options) {
    return pending<Many<WorkflowSchedule>>(start_call(run_, runtime::list_call(run_, options)));
}

std::optional<WorkflowSchedule> ContextManaging::get_schedule(const std::string& name) {
    return run_call(run_, runtime::get_call(run_, name));
}
Pending<std::optional<WorkflowSchedule>> ContextManaging::get_schedule_async(std::string name) {
    return pending<std::optional<WorkflowSchedule>>(start_call(run_, runtime::get_call(run_, name)));
}

void ContextManaging::delete_schedule(const std::string& name) {
    run_call(run_, runtime::delete_call(run_, name));
}
Pending<void> ContextManaging::delete_schedule_async(std::string name) {
    return pending<void>(start_call(run_, runtime::delete_call(run_, name)));
}
void ContextManaging::pause_schedule(const std::string& name) {
    run_call(run_, runtime::pause_call(run_, name));
}
Pending<void> ContextManaging::pause_schedule_async(std::string name) {
    return pending<void>(start_call(run_, runtime::pause_call(run_, name)));
}
void ContextManaging::resume_schedule(const std::string& name) {
    run_call(run_, runtime::resume_call(run_, name));
}
Pending<void> ContextManaging::resume_schedule_async(std::string name) {
    return pending<void>(start_call(run_, runtime::resume_call(run_, name)));
}
void ContextManaging::update_schedule(const std::string& name, const ScheduleUpdate& update) {
    run_call(run_, runtime::update_call(run_, name, update));
}
Pending<void> ContextManaging::update_schedule_async(const std::string& name, const ScheduleUpdate& update) {
    return pending<void>(start_call(run_, runtime::update_call(run_, name, update)));
}

void ContextManaging::apply_schedules(const std::vector<ScheduleOptions>& schedules) {
    client::Core& core = runtime::only_in_step(run_, "ctx.apply_schedules");
    std::vector<sysdb::ScheduleRow> rows;
    for (const ScheduleOptions& schedule : schedules) rows.push_back(core.prepare_schedule(schedule));
    core.apply_schedules(rows);
}
std::vector<WorkflowHandle<Value>> ContextManaging::backfill_schedule(const std::string& schedule_name,
                                                                      Instant start, Instant end,
                                                                      const RunScheduleOptions& options) {
    return detail::typed_handles<Value>(runtime::only_in_step(run_, "ctx.backfill_schedule")
                                            .backfill_schedule(schedule_name, start, end, options.style));
}
WorkflowHandle<Value> ContextManaging::trigger_schedule(const std::string& schedule_name,
                                                        const RunScheduleOptions& options) {
    return detail::HandleAccess::make<Value>(
        runtime::only_in_step(run_, "ctx.trigger_schedule").trigger_schedule(schedule_name, options.style));
}

// ---------------------------------------------------------------------------------------------------- versions

Many<VersionInfo> ContextManaging::list_application_versions() {
    return runtime::unrecorded(run_, "ctx.list_application_versions").versions();
}
Pending<Many<VersionInfo>> ContextManaging::list_application_versions_async() {
    client::Core& core = runtime::unrecorded(run_, "ctx.list_application_versions_async");
    return pending<Many<VersionInfo>>(runtime::done_pending([&] { return core.versions(); }));
}
Many<VersionInfo> ContextManaging::list_versions() { return list_application_versions(); }
Pending<Many<VersionInfo>> ContextManaging::list_versions_async() {
    return list_application_versions_async();
}

VersionInfo ContextManaging::get_latest_application_version() {
    return runtime::unrecorded(run_, "ctx.get_latest_application_version").latest_version();
}
Pending<VersionInfo> ContextManaging::get_latest_application_version_async() {
    client::Core& core = runtime::unrecorded(run_, "ctx.get_latest_application_version_async");
    return pending<VersionInfo>(runtime::done_pending([&] { return core.latest_version(); }));
}
VersionInfo ContextManaging::get_latest_version() { return get_latest_application_version(); }
Pending<VersionInfo> ContextManaging::get_latest_version_async() {
    return get_latest_application_version_async();
}

void ContextManaging::set_latest_application_version(const std::string& version_name,
                                                     const std::string& application_name) {
    runtime::unrecorded(run_, "ctx.set_latest_application_version")
        .set_latest_version(version_name, application_name);
}
Pending<void> ContextManaging::set_latest_application_version_async(std::string version_name,
                                                                    std::string application_name) {
    client::Core& core = runtime::unrecorded(run_, "ctx.set_latest_application_version_async");
    return pending<void>(
        runtime::done_pending([&] { core.set_latest_version(version_name, application_name); }));
}
void ContextManaging::set_latest_version(const std::string& version_name,
                                         const std::string& application_name) {
    set_latest_application_version(version_name, application_name);
}
Pending<void> ContextManaging::set_latest_version_async(std::string version_name,
                                                        std::string application_name) {
    return set_latest_application_version_async(std::move(version_name), std::move(application_name));
}

}  // namespace dbos
