// Client: what observers read of a workflow, forks from a failed step, and the removal and cancelling of what is old.
#include <utility>

#include "client/client_impl.hpp"
#include "client/core.hpp"
#include "core/durations.hpp"
#include "core/options.hpp"
#include "sysdb/database.hpp"
#include "sysdb/manage.hpp"

namespace dbos {
namespace client {
namespace {

constexpr std::int64_t kCancelledAtOnce = 1000;

}  // namespace

std::vector<Notification> Core::notifications(const std::string& workflow_id) {
    core::check_workflow_id(workflow_id);
    const auto rows = guarded(*this, [&] { return database_->messages(workflow_id); });
    std::vector<Notification> messages;
    messages.reserve(rows.size());
    for (const sysdb::MessageRow& row : rows) {
        Notification& message = messages.emplace_back();
        if (row.topic && *row.topic != sysdb::kNullTopic) message.topic = row.topic;
        message.message =
            formats_.value(row.message, row.serialization, "a message to workflow \"" + workflow_id + '"');
        message.created_at_epoch_ms = row.created_at;
        message.consumed = row.consumed;
    }
    return messages;
}

std::map<std::string, std::vector<Value>> Core::stream_entries(const std::string& workflow_id) {
    core::check_workflow_id(workflow_id);
    const auto rows = guarded(*this, [&] { return database_->stream_values(workflow_id); });
    const Value end = std::string(sysdb::kStreamEnd);
    std::map<std::string, std::vector<Value>> streams;
    for (const sysdb::KeyedStreamValue& row : rows) {
        std::vector<Value>& values = streams[row.key];
        if (row.value.value == sysdb::kStreamEnd) continue;
        Value value = formats_.value(row.value.value, row.value.serialization,
                                     "stream \"" + row.key + "\" of workflow \"" + workflow_id + '"');
        if (value != end) values.push_back(std::move(value));
    }
    return streams;
}

std::vector<ForkRequest> Core::failed_forks(std::span<const std::string> workflow_ids,
                                            const ForkFromFailureOptions& options) {
    core::check_fork_from_failure(options);
    std::vector<ForkRequest> requests;
    for (const std::string& id : workflow_ids) {
        core::check_workflow_id(id);
        const sysdb::LastSteps last =
            guarded(*this, [&] { return database_->last_steps(id, options.from_step_name); });
        auto step = options.from_last_step ? last.any : last.failed ? last.failed : last.any;
        if (!options.from_step_name.empty()) {
            if (!last.named && last.any) {
                throw NotFound("fork_from_failure: workflow \"" + id +
                               "\" has no recorded step of the name \"" + options.from_step_name + '"');
            }
            step = last.named;
        }
        requests.push_back({.workflow_id = id, .start_step = step.value_or(0), .options = options.fork});
    }
    return requests;
}

CollectedRows Core::garbage_collect(const GarbageCollectOptions& options) {
    core::check_garbage_collect(options);
    sysdb::Retention which{.keep = options.rows_threshold,
                           .batch_size = options.batch_size,
                           .pause = core::to_nanos(options.pause)};
    if (options.cutoff) which.cutoff = options.cutoff->epoch_ms();
    const sysdb::Removed removed = guarded(*this, [&] { return database_->remove_ended(which); });
    return {.workflows = removed.workflows,
            .payloads = removed.payloads,
            .steps = removed.steps,
            .busy = removed.busy};
}

std::int64_t Core::global_timeout(Instant cutoff) {
    const ListWorkflowsOptions active{.status = {"PENDING", "ENQUEUED", "DELAYED"},
                                      .end_time = cutoff,
                                      .limit = kCancelledAtOnce,
                                      .load_input = false,
                                      .load_output = false};
    const sysdb::ListQuery query = list_query(active);
    std::int64_t cancelled = 0;
    for (;;) {
        std::vector<std::string> ids;
        for (const sysdb::ListedWorkflow& row :
             guarded_listing([&] { return database_->list_workflows(query); }))
            ids.push_back(row.workflow_id);
        const auto ended = guarded(*this, [&] { return database_->cancel(ids); });
        cancelled += static_cast<std::int64_t>(ended.size());
        if (std::ssize(ids) < kCancelledAtOnce) return cancelled;
    }
}

}  // namespace client

std::vector<Notification> Client::get_all_notifications(const std::string& workflow_id) {
    impl_->core->check_thread("get_all_notifications", false, true);
    return impl_->core->notifications(workflow_id);
}

Future<std::vector<Notification>> Client::get_all_notifications_async(std::string workflow_id) {
    core::check_workflow_id(workflow_id);
    return impl_->core->in_background<std::vector<Notification>>(
        [core = impl_->core, id = std::move(workflow_id)] { return core->notifications(id); });
}

std::map<std::string, std::vector<Value>> Client::get_all_stream_entries(const std::string& workflow_id) {
    impl_->core->check_thread("get_all_stream_entries", false, true);
    return impl_->core->stream_entries(workflow_id);
}

Future<std::map<std::string, std::vector<Value>>> Client::get_all_stream_entries_async(
    std::string workflow_id) {
    core::check_workflow_id(workflow_id);
    return impl_->core->in_background<std::map<std::string, std::vector<Value>>>(
        [core = impl_->core, id = std::move(workflow_id)] { return core->stream_entries(id); });
}

detail::HandleStates Client::fork_failed(const std::vector<std::string>& workflow_ids,
                                         const ForkFromFailureOptions& options) {
    impl_->core->check_thread("fork_from_failure", true, true);
    client::Core& core = *impl_->core;
    return core.fork(core.prepare_forks({}, core.failed_forks(workflow_ids, options)));
}

void Client::fork_failed_async(std::vector<std::string> workflow_ids, ForkFromFailureOptions options,
                               detail::HandlesDone done) {
    impl_->core->check_thread("fork_from_failure_async", true, false);
    core::check_fork_from_failure(options);
    client::deliver_in_background<detail::HandleStates>(
        impl_->core, std::move(done),
        [ids = std::move(workflow_ids), options = std::move(options)](client::Core& core) {
            return core.fork(core.prepare_forks({}, core.failed_forks(ids, options)));
        });
}

CollectedRows Client::garbage_collect(const GarbageCollectOptions& options) {
    impl_->core->check_thread("garbage_collect", true, true);
    return impl_->core->garbage_collect(options);
}

Future<CollectedRows> Client::garbage_collect_async(GarbageCollectOptions options) {
    impl_->core->check_thread("garbage_collect_async", true, false);
    core::check_garbage_collect(options);
    return impl_->core->in_background<CollectedRows>(
        [core = impl_->core, options] { return core->garbage_collect(options); });
}

std::int64_t Client::global_timeout(Instant cutoff) {
    impl_->core->check_thread("global_timeout", true, true);
    return impl_->core->global_timeout(cutoff);
}

Future<std::int64_t> Client::global_timeout_async(Instant cutoff) {
    impl_->core->check_thread("global_timeout_async", true, false);
    return impl_->core->in_background<std::int64_t>(
        [core = impl_->core, cutoff] { return core->global_timeout(cutoff); });
}

}  // namespace dbos
