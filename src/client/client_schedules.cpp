// Client: schedules and queue definitions.
#include "client/client_impl.hpp"
#include "core/options.hpp"

namespace dbos {

namespace {

std::vector<WorkflowHandle<Value>> typed(const std::vector<std::shared_ptr<detail::HandleState>>& states) {
    std::vector<WorkflowHandle<Value>> handles;
    handles.reserve(states.size());
    for (const auto& state : states) handles.push_back(detail::HandleAccess::make<Value>(state));
    return handles;
}

std::vector<sysdb::ScheduleRow> schedule_rows(client::Core& core,
                                              const std::vector<ScheduleOptions>& schedules) {
    std::vector<sysdb::ScheduleRow> rows;
    rows.reserve(schedules.size());
    for (const ScheduleOptions& schedule : schedules) rows.push_back(core.prepare_schedule(schedule));
    return rows;
}

}  // namespace

void Client::create_schedule(const ScheduleOptions& options) {
    impl_->core->check_thread("create_schedule", true, true);
    impl_->core->create_schedule(impl_->core->prepare_schedule(options));
}
Future<void> Client::create_schedule_async(const ScheduleOptions& options) {
    impl_->core->check_thread("create_schedule_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, row = impl_->core->prepare_schedule(options)] { core->create_schedule(row); });
}

std::vector<WorkflowSchedule> Client::list_schedules(const ListSchedulesOptions& options) {
    impl_->core->check_thread("list_schedules", false, true);
    return impl_->core->list_schedules(options);
}
Future<std::vector<WorkflowSchedule>> Client::list_schedules_async(ListSchedulesOptions options) {
    return impl_->core->in_background<std::vector<WorkflowSchedule>>(
        [core = impl_->core, options = std::move(options)] { return core->list_schedules(options); });
}

std::optional<WorkflowSchedule> Client::get_schedule(const std::string& name) {
    impl_->core->check_thread("get_schedule", false, true);
    return impl_->core->get_schedule(name);
}
Future<std::optional<WorkflowSchedule>> Client::get_schedule_async(std::string name) {
    return impl_->core->in_background<std::optional<WorkflowSchedule>>(
        [core = impl_->core, name = std::move(name)] { return core->get_schedule(name); });
}

void Client::delete_schedule(const std::string& name) {
    impl_->core->check_thread("delete_schedule", true, true);
    impl_->core->delete_schedule(name);
}
Future<void> Client::delete_schedule_async(std::string name) {
    impl_->core->check_thread("delete_schedule_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, name = std::move(name)] { core->delete_schedule(name); });
}

void Client::pause_schedule(const std::string& name) {
    impl_->core->check_thread("pause_schedule", true, true);
    impl_->core->set_schedule_status(name, "PAUSED");
}
Future<void> Client::pause_schedule_async(std::string name) {
    impl_->core->check_thread("pause_schedule_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, name = std::move(name)] { core->set_schedule_status(name, "PAUSED"); });
}

void Client::resume_schedule(const std::string& name) {
    impl_->core->check_thread("resume_schedule", true, true);
    impl_->core->set_schedule_status(name, "ACTIVE");
}
Future<void> Client::resume_schedule_async(std::string name) {
    impl_->core->check_thread("resume_schedule_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, name = std::move(name)] { core->set_schedule_status(name, "ACTIVE"); });
}

void Client::update_schedule(const std::string& name, const ScheduleUpdate& update) {
    impl_->core->check_thread("update_schedule", true, true);
    impl_->core->update_schedule(name, update);
}
Future<void> Client::update_schedule_async(const std::string& name, const ScheduleUpdate& update) {
    impl_->core->check_thread("update_schedule_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, name, update] { core->update_schedule(name, update); });
}

void Client::apply_schedules(const std::vector<ScheduleOptions>& schedules) {
    impl_->core->check_thread("apply_schedules", true, true);
    impl_->core->apply_schedules(schedule_rows(*impl_->core, schedules));
}
Future<void> Client::apply_schedules_async(const std::vector<ScheduleOptions>& schedules) {
    impl_->core->check_thread("apply_schedules_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, rows = schedule_rows(*impl_->core, schedules)] { core->apply_schedules(rows); });
}

std::vector<WorkflowHandle<Value>> Client::backfill_schedule(const std::string& schedule_name, Instant start,
                                                             Instant end, const RunScheduleOptions& options) {
    impl_->core->check_thread("backfill_schedule", true, true);
    return typed(impl_->core->backfill_schedule(schedule_name, start, end, options.style));
}
Future<std::vector<WorkflowHandle<Value>>> Client::backfill_schedule_async(
    const std::string& schedule_name, Instant start, Instant end, const RunScheduleOptions& options) {
    impl_->core->check_thread("backfill_schedule_async", true, false);
    return impl_->core->in_background<std::vector<WorkflowHandle<Value>>>(
        [core = impl_->core, schedule_name, start, end, style = options.style] {
            return typed(core->backfill_schedule(schedule_name, start, end, style));
        });
}

WorkflowHandle<Value> Client::trigger_schedule(const std::string& schedule_name,
                                               const RunScheduleOptions& options) {
    impl_->core->check_thread("trigger_schedule", true, true);
    return detail::HandleAccess::make<Value>(impl_->core->trigger_schedule(schedule_name, options.style));
}
Future<WorkflowHandle<Value>> Client::trigger_schedule_async(const std::string& schedule_name,
                                                             const RunScheduleOptions& options) {
    impl_->core->check_thread("trigger_schedule_async", true, false);
    return impl_->core->in_background<WorkflowHandle<Value>>(
        [core = impl_->core, schedule_name, style = options.style] {
            return detail::HandleAccess::make<Value>(core->trigger_schedule(schedule_name, style));
        });
}

QueueDefinition Client::register_queue(const QueueDefinition& queue, QueueConflict on_conflict) {
    impl_->core->check_thread("register_queue", true, true);
    return impl_->core->register_queue(queue, on_conflict);
}
Future<QueueDefinition> Client::register_queue_async(const QueueDefinition& queue,
                                                     QueueConflict on_conflict) {
    impl_->core->check_thread("register_queue_async", true, false);
    return impl_->core->in_background<QueueDefinition>(
        [core = impl_->core, queue, on_conflict] { return core->register_queue(queue, on_conflict); });
}

QueueDefinition Client::update_queue(const std::string& name,
                                     const std::function<void(QueueDefinition&)>& change) {
    impl_->core->check_thread("update_queue", true, true);
    return impl_->core->update_queue(name, change);
}
Future<QueueDefinition> Client::update_queue_async(std::string name,
                                                   std::function<void(QueueDefinition&)> change) {
    impl_->core->check_thread("update_queue_async", true, false);
    return impl_->core->in_background<QueueDefinition>(
        [core = impl_->core, name = std::move(name), change = std::move(change)] {
            return core->update_queue(name, change);
        });
}

std::optional<QueueDefinition> Client::retrieve_queue(const std::string& name) {
    impl_->core->check_thread("retrieve_queue", false, true);
    return impl_->core->retrieve_queue(name);
}
Future<std::optional<QueueDefinition>> Client::retrieve_queue_async(std::string name) {
    return impl_->core->in_background<std::optional<QueueDefinition>>(
        [core = impl_->core, name = std::move(name)] { return core->retrieve_queue(name); });
}

std::vector<QueueDefinition> Client::list_queues(const std::string& application_name) {
    impl_->core->check_thread("list_queues", false, true);
    return impl_->core->list_queues(application_name);
}
Future<std::vector<QueueDefinition>> Client::list_queues_async(std::string application_name) {
    return impl_->core->in_background<std::vector<QueueDefinition>>(
        [core = impl_->core, name = std::move(application_name)] { return core->list_queues(name); });
}

void Client::delete_queue(const std::string& name) {
    impl_->core->check_thread("delete_queue", true, true);
    impl_->core->delete_queue(name);
}
Future<void> Client::delete_queue_async(std::string name) {
    impl_->core->check_thread("delete_queue_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, name = std::move(name)] { core->delete_queue(name); });
}

}  // namespace dbos
