// What recorded reads store: the rows of the database, with payloads as they stand there. So a replay shows exactly what the first
// run saw, whatever the application's format can hold.
#pragma once

#include "dbos/codec.hpp"
#include "sysdb/listing.hpp"
#include "sysdb/manage.hpp"
#include "sysdb/records.hpp"

namespace dbos::sysdb {

DBOS_FIELDS(ListedWorkflow, workflow_id, status, name, class_name, config_name, authenticated_user,
            assumed_role, authenticated_roles, inputs, output, error, serialization, created_at, updated_at,
            queue_name, executor_id, application_version, application_id, timeout_ms, deadline_ms,
            deduplication_id, priority, queue_partition_key, forked_from, was_forked_from, parent_workflow_id,
            started_at_ms, delay_until_ms, completed_at_ms, attributes, schedule_name, application_name,
            recovery_attempts)
DBOS_FIELDS(StepRecord, function_id, function_name, output, error, child_workflow_id, started_at_ms,
            completed_at_ms, serialization, application_name)
DBOS_FIELDS(ScheduleRow, schedule_id, schedule_name, workflow_name, workflow_class_name, schedule, status,
            context, last_fired_at, automatic_backfill, cron_timezone, queue_name, application_name)
DBOS_FIELDS(WorkflowAggregateRow, status, name, queue_name, executor_id, application_version,
            application_name, bucket, count, min_created_at, max_queue_wait_ms, max_latency_ms)
DBOS_FIELDS(StepAggregateRow, function_name, status, application_name, bucket, count, max_duration_ms)

}  // namespace dbos::sysdb
