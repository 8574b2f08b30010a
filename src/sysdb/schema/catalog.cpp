#include "sysdb/schema/catalog.hpp"

#include <algorithm>

namespace dbos::sysdb::schema {
namespace {

using enum Type;
using D = Default;

constexpr Null kNotNull = Null::no;
constexpr Null kNullable = Null::yes;

constexpr Column kWorkflowStatus[] = {
    {"workflow_uuid", text, Null::no_on_postgres},
    {"status", text},
    {"name", text},
    {"authenticated_user", text},
    {"assumed_role", text},
    {"authenticated_roles", text},
    {"request", text},
    {"output", text},
    {"error", text},
    {"executor_id", text},
    {"created_at", int8, kNotNull, D::epoch_ms},
    {"updated_at", int8, kNotNull, D::epoch_ms},
    {"application_version", text},
    {"application_id", text},
    {"class_name", varchar255, kNullable, D::null},
    {"config_name", varchar255, kNullable, D::null},
    {"recovery_attempts", int8, kNullable, D::zero},
    {"queue_name", text},
    {"workflow_timeout_ms", int8},
    {"workflow_deadline_epoch_ms", int8},
    {"inputs", text},
    {"started_at_epoch_ms", int8},
    {"deduplication_id", text},
    {"priority", int4, kNotNull, D::zero},
    {"queue_partition_key", text},
    {"forked_from", text},
    {"owner_xid", text, kNullable, D::null},
    {"parent_workflow_id", text, kNullable, D::null},
    {"serialization", text, kNullable, D::null},
    {"delay_until_epoch_ms", int8_added, kNullable, D::null},
    {"was_forked_from", boolean, kNotNull, D::no},
    {"rate_limited", boolean, kNotNull, D::no},
    {"completed_at", int8_added},
    {"attributes", json},
    {"schedule_name", text},
    {"debounce_deadline_epoch_ms", int8_added, kNullable, D::null},
    {"is_debounced", boolean, kNotNull, D::no},
    {"application_name", text, kNullable, D::null, 100},
    {"creator_xid", text, kNullable, D::null, 123},
};

constexpr Column kWorkflowInput[] = {
    {"workflow_uuid", text, kNotNull},
    {"inputs", text},
    {"retention_timestamp", int8, kNotNull, D::epoch_ms},
};

constexpr Column kWorkflowOutput[] = {
    {"workflow_uuid", text, kNotNull},
    {"output", text},
    {"error", text},
    {"retention_timestamp", int8, kNotNull, D::epoch_ms},
};

constexpr Column kOperationOutputs[] = {
    {"workflow_uuid", text, kNotNull},
    {"function_id", int4, kNotNull},
    {"function_name", text, kNotNull, D::empty},
    {"output", text},
    {"error", text},
    {"child_workflow_id", text},
    {"started_at_epoch_ms", int8},
    {"completed_at_epoch_ms", int8},
    {"serialization", text},
    {"application_name", text, kNullable, D::null, 104},
    {"retention_timestamp", int8, kNotNull, D::epoch_ms, 110},
};

constexpr Column kNotifications[] = {
    {"message_uuid", text, kNotNull, D::uuid},
    {"destination_uuid", text, kNotNull},
    {"topic", text},
    {"message", text, kNotNull},
    {"created_at_epoch_ms", int8, kNotNull, D::epoch_ms},
    {"serialization", text, kNullable, D::null},
    {"consumed", boolean, kNotNull, D::no},
    {"consumed_by_function_id", int4, kNullable, D::none, 121},
};

constexpr Column kWorkflowEvents[] = {
    {"workflow_uuid", text, kNotNull},
    {"key", text, kNotNull},
    {"value", text, kNotNull},
    {"serialization", text, kNullable, D::null},
};

constexpr Column kWorkflowEventsHistory[] = {
    {"workflow_uuid", text, kNotNull},
    {"function_id", int4, kNotNull},
    {"key", text, kNotNull},
    {"value", text, kNotNull},
    {"serialization", text, kNullable, D::null},
};

constexpr Column kStreams[] = {
    {"workflow_uuid", text, kNotNull},
    {"key", text, kNotNull},
    {"value", text, kNotNull},
    {"offset", int4, kNotNull},
    {"function_id", int4, kNotNull, D::zero},
    {"serialization", text, kNullable, D::null},
};

constexpr Column kQueues[] = {
    {"queue_id", text, Null::no_on_postgres, D::uuid_text},
    {"name", text, kNotNull},
    {"concurrency", int4},
    {"worker_concurrency", int4},
    {"rate_limit_max", int4},
    {"rate_limit_period_sec", real},
    {"priority_enabled", boolean, kNotNull, D::no},
    {"partition_queue", boolean, kNotNull, D::no},
    {"polling_interval_sec", real, kNotNull, D::one},
    {"created_at", int8, kNotNull, D::epoch_ms},
    {"updated_at", int8, kNotNull, D::epoch_ms},
    {"application_name", text, kNullable, D::null, 101},
    {"partition_concurrency", int4, kNullable, D::null, 108},
    {"partition_worker_concurrency", int4, kNullable, D::null, 108},
    {"partition_rate_limit_max", int4, kNullable, D::null, 108},
    {"partition_rate_limit_period_sec", real, kNullable, D::null, 108},
};

constexpr Column kWorkflowSchedules[] = {
    {"schedule_id", text, Null::no_on_postgres},
    {"schedule_name", text, kNotNull},
    {"workflow_name", text, kNotNull},
    {"workflow_class_name", text},
    {"schedule", text, kNotNull},
    {"status", text, kNotNull, D::active},
    {"context", text, kNotNull},
    {"last_fired_at", text, kNullable, D::null},
    {"automatic_backfill", boolean, kNotNull, D::no},
    {"cron_timezone", text, kNullable, D::null},
    {"queue_name", text, kNullable, D::null},
    {"application_name", text, kNullable, D::null, 102},
};

constexpr Column kApplicationVersions[] = {
    {"version_id", text, kNotNull},
    {"version_name", text, kNotNull},
    {"version_timestamp", int8, kNotNull, D::epoch_ms},
    {"created_at", int8, kNotNull, D::epoch_ms},
    {"application_name", text, kNullable, D::null, 103},
};

constexpr Column kEventDispatch[] = {
    {"service_name", text, kNotNull}, {"workflow_fn_name", text, kNotNull},
    {"key", text, kNotNull},          {"value", text},
    {"update_seq", numeric_seq},      {"update_time", numeric_time},
};

constexpr Column kMigrations[] = {{"version", int8, kNotNull}};

constexpr Table kTables[] = {
    {"workflow_status", kWorkflowStatus, "workflow_uuid"},
    {"workflow_input", kWorkflowInput, "workflow_uuid", {}, {}, 109},
    {"workflow_output", kWorkflowOutput, "workflow_uuid", {}, {}, 109},
    {"operation_outputs", kOperationOutputs, "workflow_uuid, function_id"},
    {"notifications", kNotifications, "message_uuid", {}, "destination_uuid"},
    {"workflow_events", kWorkflowEvents, "workflow_uuid, key", {}, "workflow_uuid"},
    {"workflow_events_history",
     kWorkflowEventsHistory,
     "workflow_uuid, function_id, key",
     {},
     "workflow_uuid"},
    {"streams", kStreams, "workflow_uuid, key, \"offset\"", {}, "workflow_uuid"},
    {"queues", kQueues, "queue_id", "name"},
    {"workflow_schedules", kWorkflowSchedules, "schedule_id", "schedule_name"},
    {"application_versions", kApplicationVersions, "version_id", "version_name"},
    {"event_dispatch_kv", kEventDispatch, "service_name, workflow_fn_name, key", {}, {}, 0, true},
    {"dbos_migrations", kMigrations, "version"},
};

constexpr std::string_view kQueuedPostgres = "(status = ANY (ARRAY['ENQUEUED'::text, 'PENDING'::text]))";
constexpr std::string_view kQueuedSqlite = "\"status\" IN ('ENQUEUED', 'PENDING')";

constexpr Index kIndexes[] = {
    {.name = "workflow_status_created_at_index", .table = "workflow_status", .columns = "created_at"},
    {.name = "idx_workflow_status_pending",
     .table = "workflow_status",
     .columns = "created_at",
     .where_postgres = "(status = 'PENDING'::text)",
     .where_sqlite = "\"status\" = 'PENDING'"},
    {.name = "idx_workflow_status_failed",
     .table = "workflow_status",
     .columns = "status, created_at",
     .where_postgres =
         "(status = ANY (ARRAY['ERROR'::text, 'CANCELLED'::text, 'MAX_RECOVERY_ATTEMPTS_EXCEEDED'::text]))",
     .where_sqlite = "\"status\" IN ('ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')"},
    {.name = "idx_workflow_status_in_flight_v2",
     .table = "workflow_status",
     .columns = "queue_name, status, priority, created_at",
     .include = "application_name",
     .where_postgres = kQueuedPostgres,
     .where_sqlite = kQueuedSqlite,
     .since = 115},
    {.name = "idx_workflow_status_partition_dequeue_v3",
     .table = "workflow_status",
     .columns = "queue_name, status, queue_partition_key, priority, created_at, workflow_uuid",
     .include = "application_name",
     .where_postgres =
         "((status = ANY (ARRAY['ENQUEUED'::text, 'PENDING'::text])) AND (queue_partition_key IS NOT NULL))",
     .where_sqlite = "\"status\" IN ('ENQUEUED', 'PENDING') AND \"queue_partition_key\" IS NOT NULL",
     .since = 117},
    {.name = "idx_workflow_status_delayed",
     .table = "workflow_status",
     .columns = "delay_until_epoch_ms",
     .where_postgres = "(status = 'DELAYED'::text)",
     .where_sqlite = "status = 'DELAYED'"},
    {.name = "idx_workflow_status_deadline",
     .table = "workflow_status",
     .columns = "workflow_deadline_epoch_ms",
     .where_postgres = "((status = ANY (ARRAY['ENQUEUED'::text, 'PENDING'::text, 'DELAYED'::text])) AND "
                       "(workflow_deadline_epoch_ms IS NOT NULL))",
     .where_sqlite =
         "\"status\" IN ('ENQUEUED', 'PENDING', 'DELAYED') AND \"workflow_deadline_epoch_ms\" IS NOT NULL",
     .since = 122},
    {.name = "idx_workflow_status_rate_limited",
     .table = "workflow_status",
     .columns = "queue_name, started_at_epoch_ms",
     .where_postgres = "(rate_limited = true)",
     .where_sqlite = "\"rate_limited\" = TRUE"},
    {.name = "uq_workflow_status_dedup_id",
     .table = "workflow_status",
     .columns = "queue_name, deduplication_id",
     .where_postgres = "(deduplication_id IS NOT NULL)",
     .where_sqlite = "\"deduplication_id\" IS NOT NULL",
     .unique = true},
    {.name = "idx_workflow_status_completed_at",
     .table = "workflow_status",
     .columns = "completed_at",
     .where_postgres = "(completed_at IS NOT NULL)",
     .where_sqlite = "\"completed_at\" IS NOT NULL"},
    {.name = "idx_workflow_status_started_at",
     .table = "workflow_status",
     .columns = "started_at_epoch_ms",
     .where_postgres = "(started_at_epoch_ms IS NOT NULL)",
     .where_sqlite = "\"started_at_epoch_ms\" IS NOT NULL"},
    {.name = "idx_workflow_status_forked_from",
     .table = "workflow_status",
     .columns = "forked_from",
     .where_postgres = "(forked_from IS NOT NULL)",
     .where_sqlite = "\"forked_from\" IS NOT NULL"},
    {.name = "idx_workflow_status_parent_workflow_id",
     .table = "workflow_status",
     .columns = "parent_workflow_id",
     .where_postgres = "(parent_workflow_id IS NOT NULL)",
     .where_sqlite = "\"parent_workflow_id\" IS NOT NULL"},
    {.name = "idx_workflow_status_schedule_name",
     .table = "workflow_status",
     .columns = "schedule_name",
     .where_postgres = "(schedule_name IS NOT NULL)",
     .where_sqlite = "\"schedule_name\" IS NOT NULL"},
    {.name = "idx_workflow_status_attributes",
     .table = "workflow_status",
     .columns = "attributes",
     .where_postgres = "(attributes IS NOT NULL)",
     .gin = true},
    {.name = "idx_operation_outputs_completed_at_function_name_v2",
     .table = "operation_outputs",
     .columns = "completed_at_epoch_ms, function_name",
     .include = "application_name",
     .since = 119},
    {.name = "idx_operation_outputs_retention",
     .table = "operation_outputs",
     .columns = "retention_timestamp",
     .since = 111},
    {.name = "idx_workflow_input_retention",
     .table = "workflow_input",
     .columns = "retention_timestamp",
     .since = 109},
    {.name = "idx_workflow_output_retention",
     .table = "workflow_output",
     .columns = "retention_timestamp",
     .since = 109},
    {.name = "idx_workflow_topic", .table = "notifications", .columns = "destination_uuid, topic"},
    {.name = "uq_application_versions_owner_version",
     .table = "application_versions",
     .columns = "application_name, version_name",
     .where_postgres = "(application_name IS NOT NULL)",
     .where_sqlite = "\"application_name\" IS NOT NULL",
     .unique = true,
     .since = 106},
    {.name = "uq_application_versions_unclaimed_version",
     .table = "application_versions",
     .columns = "version_name",
     .where_postgres = "(application_name IS NULL)",
     .where_sqlite = "\"application_name\" IS NULL",
     .unique = true,
     .since = 107},
    {.name = "idx_application_versions_timestamp",
     .table = "application_versions",
     .columns = "version_timestamp DESC",
     .since = 124},
    {.name = "idx_application_versions_owner_timestamp",
     .table = "application_versions",
     .columns = "application_name, version_timestamp DESC",
     .since = 125},
};

constexpr DroppedIndex kDroppedIndexes[] = {
    {"idx_notifications", 114},
    {"idx_workflow_status_in_flight", 116},
    {"idx_workflow_status_partition_dequeue_v2", 118},
    {"idx_operation_outputs_completed_at_function_name", 120},
};

constexpr Column kExecutors[] = {
    {"application_name", text, kNotNull},
    {"executor_id", text, kNotNull},
    {"incarnation", text, kNotNull},         // random per launch: a lease is taken by compare-and-set on it
    {"version", text, kNotNull},             // application version that this process runs
    {"counter", int8, kNotNull},             // +1 per renewal; what a sweeper watches
    {"expires_at", int8, kNotNull},          // epoch ms, database clock
    {"lease_ms", int8, kNotNull, D::lease},  // how long a sweeper must see the counter unchanged
    {"host_key", text},                      // NULL = unknown, equal to nothing
    {"pid", int4},
    {"process_start", int8},                      // clock ticks since boot
    {"started_at", int8, kNotNull, D::epoch_ms},  // epoch ms
    {"updated_at", int8, kNotNull, D::epoch_ms},  // epoch ms of the last renewal
};

constexpr Table kExecutorsTable{"dbos_cpp_executors", kExecutors, "application_name, executor_id"};

}  // namespace

std::span<const Table> tables() noexcept { return kTables; }
std::span<const Index> indexes() noexcept { return kIndexes; }
std::span<const DroppedIndex> dropped_indexes() noexcept { return kDroppedIndexes; }
const Table& executors_table() noexcept { return kExecutorsTable; }

const Table* find_table(std::string_view name) noexcept {
    const auto* found = std::ranges::find(kTables, name, &Table::name);
    return found == std::end(kTables) ? nullptr : found;
}

bool is_online(int version) noexcept {
    return version == 107 || version == 111 || (version >= 114 && version <= 120) || version == 122 ||
           version == 124 || version == 125;
}

}  // namespace dbos::sysdb::schema
