// The public names of the client, for the compiler: what the headers lack does not build. Generated from
// docs/reference/client.list by scripts/check-client-reference --update; do not edit.
// clang-format off
#include <type_traits>

#include "dbos/client.hpp"
#include "dbos/debouncer.hpp"

namespace {

static_assert(std::is_same_v<dbos::DBOSClient, dbos::Client>);
using NamedIs = decltype(dbos::named("name", 1));
using CallerTransactionIs = dbos::CallerTransaction;
using DebouncerClientIs = dbos::DebouncerClient;
using EnqueueRequestIs = decltype(dbos::enqueue_request({}));

// Methods: a using-declaration names all overloads of a name, and refuses a name that does not exist.
struct ClientNames : dbos::Client {
    using dbos::Client::destroy;
    using dbos::Client::enqueue;
    using dbos::Client::enqueue_async;
    using dbos::Client::retrieve_workflow;
    using dbos::Client::retrieve_workflow_async;
    using dbos::Client::send;
    using dbos::Client::send_async;
    using dbos::Client::get_event;
    using dbos::Client::get_event_async;
    using dbos::Client::read_stream;
    using dbos::Client::read_stream_async;
    using dbos::Client::list_workflows;
    using dbos::Client::list_workflows_async;
    using dbos::Client::list_queued_workflows;
    using dbos::Client::list_queued_workflows_async;
    using dbos::Client::list_workflow_steps;
    using dbos::Client::list_workflow_steps_async;
    using dbos::Client::cancel_workflow;
    using dbos::Client::cancel_workflow_async;
    using dbos::Client::resume_workflow;
    using dbos::Client::resume_workflow_async;
    using dbos::Client::fork_workflow;
    using dbos::Client::fork_workflow_async;
    using dbos::Client::create_schedule;
    using dbos::Client::create_schedule_async;
    using dbos::Client::list_schedules;
    using dbos::Client::list_schedules_async;
    using dbos::Client::get_schedule;
    using dbos::Client::get_schedule_async;
    using dbos::Client::delete_schedule;
    using dbos::Client::delete_schedule_async;
    using dbos::Client::pause_schedule;
    using dbos::Client::pause_schedule_async;
    using dbos::Client::resume_schedule;
    using dbos::Client::resume_schedule_async;
    using dbos::Client::apply_schedules;
    using dbos::Client::apply_schedules_async;
    using dbos::Client::backfill_schedule;
    using dbos::Client::backfill_schedule_async;
    using dbos::Client::trigger_schedule;
    using dbos::Client::trigger_schedule_async;
    using dbos::Client::list_versions;
    using dbos::Client::list_versions_async;
    using dbos::Client::get_latest_version;
    using dbos::Client::get_latest_version_async;
    using dbos::Client::set_latest_version;
    using dbos::Client::set_latest_version_async;
    using dbos::Client::check_connection;
    using dbos::Client::check_connection_async;
    using dbos::Client::enqueue_in_transaction;
    using dbos::Client::enqueue_bulk;
    using dbos::Client::enqueue_bulk_async;
    using dbos::Client::wake;
    using dbos::Client::wake_async;
    using dbos::Client::get_workflow_status;
    using dbos::Client::get_workflow_status_async;
    using dbos::Client::wait_first;
    using dbos::Client::wait_first_async;
    using dbos::Client::wait_all;
    using dbos::Client::wait_all_async;
    using dbos::Client::send_bulk;
    using dbos::Client::send_bulk_async;
    using dbos::Client::send_in_transaction;
    using dbos::Client::send_bulk_in_transaction;
    using dbos::Client::get_all_events;
    using dbos::Client::get_all_events_async;
    using dbos::Client::read_stream_offset;
    using dbos::Client::read_stream_offset_async;
    using dbos::Client::get_workflow_aggregates;
    using dbos::Client::get_workflow_aggregates_async;
    using dbos::Client::get_step_aggregates;
    using dbos::Client::get_step_aggregates_async;
    using dbos::Client::cancel_workflows;
    using dbos::Client::cancel_workflows_async;
    using dbos::Client::resume_workflows;
    using dbos::Client::resume_workflows_async;
    using dbos::Client::fork_workflows;
    using dbos::Client::fork_workflows_async;
    using dbos::Client::rewind_workflow;
    using dbos::Client::rewind_workflow_async;
    using dbos::Client::set_workflow_delay;
    using dbos::Client::set_workflow_delay_async;
    using dbos::Client::set_workflow_priority;
    using dbos::Client::set_workflow_priority_async;
    using dbos::Client::update_workflow_attributes;
    using dbos::Client::update_workflow_attributes_async;
    using dbos::Client::delete_workflow;
    using dbos::Client::delete_workflow_async;
    using dbos::Client::delete_workflows;
    using dbos::Client::delete_workflows_async;
    using dbos::Client::register_queue;
    using dbos::Client::register_queue_async;
    using dbos::Client::update_queue;
    using dbos::Client::update_queue_async;
    using dbos::Client::retrieve_queue;
    using dbos::Client::retrieve_queue_async;
    using dbos::Client::list_queues;
    using dbos::Client::list_queues_async;
    using dbos::Client::delete_queue;
    using dbos::Client::delete_queue_async;
    using dbos::Client::update_schedule;
    using dbos::Client::update_schedule_async;
    using dbos::Client::list_application_versions;
    using dbos::Client::list_application_versions_async;
    using dbos::Client::get_latest_application_version;
    using dbos::Client::get_latest_application_version_async;
    using dbos::Client::set_latest_application_version;
    using dbos::Client::set_latest_application_version_async;
    using dbos::Client::rename_application;
    using dbos::Client::rename_application_async;
    using dbos::Client::get_all_notifications;
    using dbos::Client::get_all_notifications_async;
    using dbos::Client::get_all_stream_entries;
    using dbos::Client::get_all_stream_entries_async;
    using dbos::Client::fork_from_failure;
    using dbos::Client::fork_from_failure_async;
    using dbos::Client::garbage_collect;
    using dbos::Client::garbage_collect_async;
    using dbos::Client::explain;
    using dbos::Client::explain_async;
    using dbos::Client::global_timeout;
    using dbos::Client::global_timeout_async;
};
struct DebouncerClientNames : dbos::DebouncerClient {
    using dbos::DebouncerClient::debounce;
    using dbos::DebouncerClient::debounce_async;
};
struct DebouncerByContractNames : dbos::Debouncer<int(int)> {
    using dbos::Debouncer<int(int)>::debounce;
    using dbos::Debouncer<int(int)>::debounce_async;
};
struct WorkflowHandleNames : dbos::WorkflowHandle<int> {
    using dbos::WorkflowHandle<int>::get_result;
    using dbos::WorkflowHandle<int>::get_result_async;
    using dbos::WorkflowHandle<int>::get_status;
    using dbos::WorkflowHandle<int>::get_status_async;
};

// Options: the designators compile only in the order of the declaration, which begins as the manual does.
using ClientOptionsHas = decltype(dbos::ClientOptions{
    .system_database_url = {},
    .system_database_engine = {},
    .dbos_system_schema = {},
    .serializer = {},
    .system_database_pool_size = {},
    .use_listen_notify = {},
    .application_name = {},
    .lazy = {},
    .retry_connection_errors = {},
    .observability_query_timeout = {},
    .log_sink = {},
    .executor = {},
    .system_database_idle_transaction_timeout = {}});
using EnqueueOptionsHas = decltype(dbos::EnqueueOptions{
    .workflow_name = {},
    .queue_name = {},
    .workflow_id = {},
    .app_version = {},
    .workflow_timeout = {},
    .deduplication_id = {},
    .priority = {},
    .max_recovery_attempts = {},
    .queue_partition_key = {},
    .authenticated_user = {},
    .authenticated_roles = {},
    .delay = {},
    .class_name = {},
    .instance_name = {},
    .assumed_role = {},
    .attributes = {},
    .application_name = {},
    .duplication_policy = {},
    .workflow_id_reuse_policy = {},
    .serializer = {}});
using SendOptionsHas = decltype(dbos::SendOptions{
    .idempotency_key = {},
    .send_to_forks = {},
    .serializer = {}});
using ListWorkflowsOptionsHas = decltype(dbos::ListWorkflowsOptions{
    .workflow_ids = {},
    .status = {},
    .start_time = {},
    .end_time = {},
    .name = {},
    .app_version = {},
    .forked_from = {},
    .parent_workflow_id = {},
    .user = {},
    .queue_name = {},
    .limit = {},
    .offset = {},
    .sort_desc = {},
    .workflow_id_prefix = {},
    .load_input = {},
    .load_output = {},
    .executor_id = {},
    .queues_only = {},
    .completed_after = {},
    .completed_before = {},
    .dequeued_after = {},
    .dequeued_before = {},
    .was_forked_from = {},
    .has_parent = {},
    .schedule_name = {},
    .attributes = {},
    .application_name = {},
    .is_fork = {},
    .class_name = {},
    .instance_name = {},
    .deduplication_id = {},
    .is_debounced = {}});
using ListQueuedWorkflowsOptionsHas = decltype(dbos::ListQueuedWorkflowsOptions{
    .workflow_ids = {},
    .status = {},
    .start_time = {},
    .end_time = {},
    .name = {},
    .app_version = {},
    .forked_from = {},
    .parent_workflow_id = {},
    .user = {},
    .queue_name = {},
    .limit = {},
    .offset = {},
    .sort_desc = {},
    .workflow_id_prefix = {},
    .load_input = {},
    .load_output = {},
    .executor_id = {},
    .completed_after = {},
    .completed_before = {},
    .dequeued_after = {},
    .dequeued_before = {},
    .was_forked_from = {},
    .has_parent = {},
    .schedule_name = {},
    .attributes = {},
    .application_name = {},
    .is_fork = {},
    .class_name = {},
    .instance_name = {},
    .deduplication_id = {},
    .is_debounced = {}});
using ForkOptionsHas = decltype(dbos::ForkOptions{
    .application_version = {},
    .queue_name = {},
    .queue_partition_key = {},
    .replacement_children = {},
    .workflow_timeout = {},
    .new_workflow_id = {},
    .latest_version = {}});
using DebouncerOptionsHas = decltype(dbos::DebouncerOptions{
    .debounce_timeout = {},
    .queue = {},
    .application_name = {},
    .workflow_options = {},
    .style = {},
    .deduplication_id = {}});
using ScheduleOptionsHas = decltype(dbos::ScheduleOptions{
    .schedule_name = {},
    .workflow_name = {},
    .schedule = {},
    .context = {},
    .workflow_class_name = {},
    .automatic_backfill = {},
    .cron_timezone = {},
    .queue_name = {},
    .application_name = {},
    .serializer = {},
    .raw_context = {},
    .style = {}});
using ListSchedulesOptionsHas = decltype(dbos::ListSchedulesOptions{
    .status = {},
    .workflow_name = {},
    .schedule_name_prefix = {},
    .application_name = {}});
using GetResultOptionsHas = decltype(dbos::GetResultOptions{
    .polling_interval = {},
    .timeout = {},
    .fail_if_missing = {}});
using WaitWorkflowsOptionsHas = decltype(dbos::WaitWorkflowsOptions{
    .polling_interval = {},
    .timeout = {}});
using MessageHas = decltype(dbos::Message{
    .destination_id = {},
    .message = {},
    .topic = {},
    .idempotency_key = {}});
using SendBulkOptionsHas = decltype(dbos::SendBulkOptions{
    .send_to_forks = {},
    .serializer = {}});
using GetEventOptionsHas = decltype(dbos::GetEventOptions{
    .polling_interval = {}});
using ReadStreamOptionsHas = decltype(dbos::ReadStreamOptions{
    .offset = {},
    .polling_interval = {},
    .timeout = {}});
using ReadStreamOffsetOptionsHas = decltype(dbos::ReadStreamOffsetOptions{
    .polling_interval = {},
    .timeout = {}});
using ListStepsOptionsHas = decltype(dbos::ListStepsOptions{
    .load_output = {},
    .limit = {},
    .offset = {}});
using WorkflowAggregatesOptionsHas = decltype(dbos::WorkflowAggregatesOptions{
    .group_by_status = {},
    .group_by_name = {},
    .group_by_queue_name = {},
    .group_by_executor_id = {},
    .group_by_application_version = {},
    .group_by_application_name = {},
    .select_count = {},
    .select_min_created_at = {},
    .select_max_queue_wait_ms = {},
    .select_max_total_latency_ms = {},
    .time_bucket = {},
    .filter = {}});
using StepAggregatesOptionsHas = decltype(dbos::StepAggregatesOptions{
    .group_by_function_name = {},
    .group_by_status = {},
    .group_by_application_name = {},
    .select_count = {},
    .select_max_duration_ms = {},
    .time_bucket = {},
    .status = {},
    .function_name = {},
    .workflow_id_prefix = {},
    .completed_after = {},
    .completed_before = {},
    .application_name = {}});
using CancelOptionsHas = decltype(dbos::CancelOptions{
    .cancel_children = {}});
using ResumeOptionsHas = decltype(dbos::ResumeOptions{
    .queue_name = {}});
using ForkRequestHas = decltype(dbos::ForkRequest{
    .workflow_id = {},
    .start_step = {},
    .options = {}});
using RewindOptionsHas = decltype(dbos::RewindOptions{
    .application_version = {},
    .queue_name = {},
    .queue_partition_key = {}});
using UpdateAttributesOptionsHas = decltype(dbos::UpdateAttributesOptions{
    .merge = {}});
using DeleteOptionsHas = decltype(dbos::DeleteOptions{
    .delete_children = {}});
using QueueDefinitionHas = decltype(dbos::QueueDefinition{
    .name = {},
    .worker_concurrency = {},
    .concurrency = {},
    .limiter = {},
    .partition_worker_concurrency = {},
    .partition_concurrency = {},
    .partition_limiter = {},
    .polling_interval = {},
    .application_name = {},
    .partition_queue = {}});
using RunScheduleOptionsHas = decltype(dbos::RunScheduleOptions{
    .style = {}});
using ScheduleUpdateHas = decltype(dbos::ScheduleUpdate{
    .schedule = {},
    .context = {},
    .automatic_backfill = {},
    .cron_timezone = {},
    .queue_name = {},
    .serializer = {},
    .raw_context = {},
    .style = {}});
using RenameApplicationOptionsHas = decltype(dbos::RenameApplicationOptions{
    .batch_size = {},
    .adopt_unclaimed_rows = {}});
using ForkFromFailureOptionsHas = decltype(dbos::ForkFromFailureOptions{
    .from_last_step = {},
    .from_step_name = {},
    .fork = {}});
using GarbageCollectOptionsHas = decltype(dbos::GarbageCollectOptions{
    .cutoff = {},
    .rows_threshold = {},
    .batch_size = {},
    .pause = {}});

}  // namespace
