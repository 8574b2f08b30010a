// The managing methods of dbos::Client and their twins: on which threads they may be called, and where they run.
#include "client/client_impl.hpp"
#include "core/options.hpp"

namespace dbos {

using client::deliver_in_background;
using HandlePointer = std::shared_ptr<detail::HandleState>;

std::optional<WorkflowStatus> Client::get_workflow_status(const std::string& workflow_id) {
    impl_->core->check_thread("get_workflow_status", false, true);
    return impl_->core->find_status(workflow_id);
}

Future<std::optional<WorkflowStatus>> Client::get_workflow_status_async(std::string workflow_id) {
    return impl_->core->in_background<std::optional<WorkflowStatus>>(
        [core = impl_->core, id = std::move(workflow_id)] { return core->find_status(id); });
}

void Client::cancel_workflow(const std::string& workflow_id, const CancelOptions& options) {
    impl_->core->check_thread("cancel_workflow", true, true);
    impl_->core->cancel(std::span(&workflow_id, 1), options);
}

Future<void> Client::cancel_workflow_async(std::string workflow_id, CancelOptions options) {
    impl_->core->check_thread("cancel_workflow_async", true, false);
    return impl_->core->in_background<void>([core = impl_->core, id = std::move(workflow_id), options] {
        core->cancel(std::span(&id, 1), options);
    });
}

void Client::cancel_workflows(const std::vector<std::string>& workflow_ids, const CancelOptions& options) {
    impl_->core->check_thread("cancel_workflows", true, true);
    impl_->core->cancel(workflow_ids, options);
}

Future<void> Client::cancel_workflows_async(std::vector<std::string> workflow_ids, CancelOptions options) {
    impl_->core->check_thread("cancel_workflows_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, ids = std::move(workflow_ids), options] { core->cancel(ids, options); });
}

HandlePointer Client::resume(const detail::CallTarget& target, const std::string& workflow_id,
                             const ResumeOptions& options) {
    impl_->core->check_thread("resume_workflow", true, true);
    return impl_->core->resume(target, std::span(&workflow_id, 1), options).front();
}

void Client::resume_async(const detail::CallTarget& target, std::string workflow_id, ResumeOptions options,
                          detail::HandleDone done) {
    impl_->core->check_thread("resume_workflow_async", true, false);
    core::check_workflow_id(workflow_id);
    core::check_optional_name("queue_name", options.queue_name);
    deliver_in_background<HandlePointer>(
        impl_->core, std::move(done),
        [target, id = std::move(workflow_id), options = std::move(options)](client::Core& core) {
            return core.resume(target, std::span(&id, 1), options).front();
        });
}

detail::HandleStates Client::resume_many(const std::vector<std::string>& workflow_ids,
                                         const ResumeOptions& options) {
    impl_->core->check_thread("resume_workflows", true, true);
    return impl_->core->resume({}, workflow_ids, options);
}

void Client::resume_many_async(std::vector<std::string> workflow_ids, ResumeOptions options,
                               detail::HandlesDone done) {
    impl_->core->check_thread("resume_workflows_async", true, false);
    for (const std::string& id : workflow_ids) core::check_workflow_id(id);
    core::check_optional_name("queue_name", options.queue_name);
    deliver_in_background<detail::HandleStates>(
        impl_->core, std::move(done),
        [ids = std::move(workflow_ids), options = std::move(options)](client::Core& core) {
            return core.resume({}, ids, options);
        });
}

void Client::set_workflow_delay(const std::string& workflow_id, Duration delay) {
    impl_->core->check_thread("set_workflow_delay", true, true);
    impl_->core->set_delay(workflow_id, delay);
}

void Client::set_workflow_delay(const std::string& workflow_id, Instant until) {
    impl_->core->check_thread("set_workflow_delay", true, true);
    impl_->core->set_delay(workflow_id, until);
}

Future<void> Client::set_workflow_delay_async(std::string workflow_id, Duration delay) {
    impl_->core->check_thread("set_workflow_delay_async", true, false);
    core::check_delay(delay);
    return impl_->core->in_background<void>(
        [core = impl_->core, id = std::move(workflow_id), delay] { core->set_delay(id, delay); });
}

Future<void> Client::set_workflow_delay_async(std::string workflow_id, Instant until) {
    impl_->core->check_thread("set_workflow_delay_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, id = std::move(workflow_id), until] { core->set_delay(id, until); });
}

void Client::set_workflow_priority(const std::string& workflow_id, std::int64_t priority) {
    impl_->core->check_thread("set_workflow_priority", true, true);
    impl_->core->set_priority(workflow_id, priority);
}

Future<void> Client::set_workflow_priority_async(std::string workflow_id, std::int64_t priority) {
    impl_->core->check_thread("set_workflow_priority_async", true, false);
    core::check_priority(priority);
    return impl_->core->in_background<void>(
        [core = impl_->core, id = std::move(workflow_id), priority] { core->set_priority(id, priority); });
}

void Client::update_workflow_attributes(const std::string& workflow_id, const std::optional<Any>& attributes,
                                        const UpdateAttributesOptions& options) {
    impl_->core->check_thread("update_workflow_attributes", true, true);
    impl_->core->update_attributes(workflow_id, attributes, options);
}

Future<void> Client::update_workflow_attributes_async(std::string workflow_id, std::optional<Any> attributes,
                                                      UpdateAttributesOptions options) {
    impl_->core->check_thread("update_workflow_attributes_async", true, false);
    core::check_new_attributes(attributes, options);
    return impl_->core->in_background<void>([core = impl_->core, id = std::move(workflow_id),
                                             attributes = std::move(attributes),
                                             options] { core->update_attributes(id, attributes, options); });
}

void Client::delete_workflow(const std::string& workflow_id, const DeleteOptions& options) {
    impl_->core->check_thread("delete_workflow", true, true);
    impl_->core->delete_workflows(std::span(&workflow_id, 1), options);
}

Future<void> Client::delete_workflow_async(std::string workflow_id, DeleteOptions options) {
    impl_->core->check_thread("delete_workflow_async", true, false);
    return impl_->core->in_background<void>([core = impl_->core, id = std::move(workflow_id), options] {
        core->delete_workflows(std::span(&id, 1), options);
    });
}

void Client::delete_workflows(const std::vector<std::string>& workflow_ids, const DeleteOptions& options) {
    impl_->core->check_thread("delete_workflows", true, true);
    impl_->core->delete_workflows(workflow_ids, options);
}

Future<void> Client::delete_workflows_async(std::vector<std::string> workflow_ids, DeleteOptions options) {
    impl_->core->check_thread("delete_workflows_async", true, false);
    return impl_->core->in_background<void>([core = impl_->core, ids = std::move(workflow_ids), options] {
        core->delete_workflows(ids, options);
    });
}

HandlePointer Client::fork(const detail::CallTarget& target, const std::string& workflow_id,
                           std::int64_t start_step, const ForkOptions& options) {
    impl_->core->check_thread("fork_workflow", true, true);
    const ForkRequest request{.workflow_id = workflow_id, .start_step = start_step, .options = options};
    return impl_->core->fork(impl_->core->prepare_forks(target, std::span(&request, 1))).front();
}

void Client::fork_async(const detail::CallTarget& target, const std::string& workflow_id,
                        std::int64_t start_step, const ForkOptions& options, detail::HandleDone done) {
    impl_->core->check_thread("fork_workflow_async", true, false);
    const ForkRequest request{.workflow_id = workflow_id, .start_step = start_step, .options = options};
    deliver_in_background<HandlePointer>(impl_->core, std::move(done),
                                         [forks = impl_->core->prepare_forks(target, std::span(&request, 1))](
                                             client::Core& core) { return core.fork(forks).front(); });
}

detail::HandleStates Client::fork_many(const std::vector<ForkRequest>& requests) {
    impl_->core->check_thread("fork_workflows", true, true);
    return impl_->core->fork(impl_->core->prepare_forks({}, requests));
}

void Client::fork_many_async(const std::vector<ForkRequest>& requests, detail::HandlesDone done) {
    impl_->core->check_thread("fork_workflows_async", true, false);
    deliver_in_background<detail::HandleStates>(
        impl_->core, std::move(done),
        [forks = impl_->core->prepare_forks({}, requests)](client::Core& core) { return core.fork(forks); });
}

HandlePointer Client::rewind(const detail::CallTarget& target, const std::string& workflow_id,
                             std::int64_t start_step, const RewindOptions& options) {
    impl_->core->check_thread("rewind_workflow", true, true);
    return impl_->core->rewind(target, workflow_id, start_step, options);
}

void Client::rewind_async(const detail::CallTarget& target, const std::string& workflow_id,
                          std::int64_t start_step, const RewindOptions& options, detail::HandleDone done) {
    impl_->core->check_thread("rewind_workflow_async", true, false);
    core::check_rewind(workflow_id, start_step, options);
    deliver_in_background<HandlePointer>(impl_->core, std::move(done),
                                         [target, workflow_id, start_step, options](client::Core& core) {
                                             return core.rewind(target, workflow_id, start_step, options);
                                         });
}

// ---------------------------------------------------------------------------------------------------- versions

std::vector<VersionInfo> Client::list_application_versions() {
    impl_->core->check_thread("list_versions", false, true);
    return impl_->core->versions();
}

Future<std::vector<VersionInfo>> Client::list_application_versions_async() {
    return impl_->core->in_background<std::vector<VersionInfo>>(
        [core = impl_->core] { return core->versions(); });
}

VersionInfo Client::get_latest_application_version() {
    impl_->core->check_thread("get_latest_version", false, true);
    return impl_->core->latest_version();
}

Future<VersionInfo> Client::get_latest_application_version_async() {
    return impl_->core->in_background<VersionInfo>([core = impl_->core] { return core->latest_version(); });
}

void Client::set_latest_application_version(const std::string& version_name,
                                            const std::string& application_name) {
    impl_->core->check_thread("set_latest_version", true, true);
    impl_->core->set_latest_version(version_name, application_name);
}

Future<void> Client::set_latest_application_version_async(std::string version_name,
                                                          std::string application_name) {
    impl_->core->check_thread("set_latest_version_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, version = std::move(version_name), application = std::move(application_name)] {
            core->set_latest_version(version, application);
        });
}

RenamedRows Client::rename_application(const std::optional<std::string>& old_name,
                                       const std::string& new_name, const RenameApplicationOptions& options) {
    impl_->core->check_thread("rename_application", true, true);
    return impl_->core->rename_application(old_name, new_name, options);
}

Future<RenamedRows> Client::rename_application_async(std::optional<std::string> old_name,
                                                     std::string new_name, RenameApplicationOptions options) {
    impl_->core->check_thread("rename_application_async", true, false);
    core::check_rename(old_name, new_name, options);
    return impl_->core->in_background<RenamedRows>(
        [core = impl_->core, old_name = std::move(old_name), new_name = std::move(new_name), options] {
            return core->rename_application(old_name, new_name, options);
        });
}

// ---------------------------------------------------------------------------------------------------- aggregates

std::vector<WorkflowAggregate> Client::get_workflow_aggregates(const WorkflowAggregatesOptions& options) {
    impl_->core->check_thread("get_workflow_aggregates", false, true);
    return impl_->core->aggregates(options);
}

Future<std::vector<WorkflowAggregate>> Client::get_workflow_aggregates_async(
    WorkflowAggregatesOptions options) {
    core::check_aggregates(options);
    return impl_->core->in_background<std::vector<WorkflowAggregate>>(
        [core = impl_->core, options = std::move(options)] { return core->aggregates(options); });
}

std::vector<StepAggregate> Client::get_step_aggregates(const StepAggregatesOptions& options) {
    impl_->core->check_thread("get_step_aggregates", false, true);
    return impl_->core->aggregates(options);
}

Future<std::vector<StepAggregate>> Client::get_step_aggregates_async(StepAggregatesOptions options) {
    core::check_aggregates(options);
    return impl_->core->in_background<std::vector<StepAggregate>>(
        [core = impl_->core, options = std::move(options)] { return core->aggregates(options); });
}

}  // namespace dbos
