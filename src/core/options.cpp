#include "core/options.hpp"

#include <cmath>
#include <limits>

#include "dbos/error.hpp"

namespace dbos::core {
namespace {

constexpr std::size_t kMaxKeyBytes = 2600;  // a btree entry of PostgreSQL holds about 2 700
constexpr std::int64_t kMaxPriority = 2147483647;
constexpr std::int64_t kMaxPool = 1000;

[[noreturn]] void usage(const std::string& what, const std::string& expected, const std::string& got) {
    throw UsageError(what + ": expected " + expected + ", got " + got);
}

std::string quoted(std::string_view text) { return '"' + std::string(text) + '"'; }

std::string seconds(Duration duration) {
    std::string text = std::to_string(duration.count());
    return text + " s";
}

void check_text(std::string_view what, std::string_view text) {
    if (text.find('\0') != std::string_view::npos) {
        usage(std::string(what), "text without U+0000, which no database stores", "text with U+0000 in it");
    }
}

void check_bytes(const std::string& what, std::size_t bytes) {
    if (bytes > kMaxKeyBytes) {
        usage(what, "at most " + std::to_string(kMaxKeyBytes) + " bytes together", std::to_string(bytes));
    }
}

void check_positive(const std::string& what, Duration duration) {
    if (std::isnan(duration.count()) || duration.count() <= 0)
        usage(what, "a positive duration", seconds(duration));
}

void check_not_negative(const std::string& what, Duration duration) {
    if (std::isnan(duration.count()) || duration.count() < 0)
        usage(what, "0 or a positive duration", seconds(duration));
}

void check_limit(const char* what, const std::optional<std::int64_t>& value) {
    if (value && *value < 0) usage(what, "0 or more", std::to_string(*value));
}

bool holds_nul(const Value& value) {
    switch (value.kind()) {
        case Kind::string: return value.as_string().find('\0') != std::string::npos;
        case Kind::array:
            for (const Value& item : value.as_array()) {
                if (holds_nul(item)) return true;
            }
            return false;
        case Kind::object:
            for (const auto& [key, member] : value.as_object()) {
                if (key.find('\0') != std::string::npos || holds_nul(member)) return true;
            }
            return false;
        default: return false;
    }
}

void check_attributes(const char* what, const std::optional<Any>& attributes) {
    if (!attributes) return;
    const Value& value = attributes->value();
    if (value.kind() != Kind::object) usage(what, "an object", value.describe());
    if (holds_nul(value))
        usage(what, "texts without U+0000, which no database stores", "text with U+0000 in it");
}

void check_schema(const std::string& schema) {
    if (blank(schema))
        throw ConfigError("dbos_system_schema: expected the name of a schema, got an empty text");
    if (schema.find('\0') != std::string::npos)
        throw ConfigError("dbos_system_schema: expected text without U+0000");
    if (schema.size() > 63) {
        throw ConfigError("dbos_system_schema: expected at most 63 bytes, the limit of PostgreSQL, got " +
                          std::to_string(schema.size()));
    }
}

void check_common(std::int64_t pool, Duration query_timeout, Duration idle_timeout) {
    if (pool < 1 || pool > kMaxPool) {
        throw ConfigError("system_database_pool_size: expected 1 to " + std::to_string(kMaxPool) + ", got " +
                          std::to_string(pool));
    }
    if (std::isnan(query_timeout.count()) || query_timeout.count() < 0) {
        throw ConfigError("observability_query_timeout: expected 0 or a positive duration, got " +
                          seconds(query_timeout));
    }
    if (std::isnan(idle_timeout.count()) || std::isinf(idle_timeout.count()) || idle_timeout.count() < 0) {
        throw ConfigError(
            "system_database_idle_transaction_timeout: expected 0 (as the server is set) or a positive "
            "duration, got " +
            seconds(idle_timeout));
    }
}

}  // namespace

bool blank(std::string_view text) noexcept {
    return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

void check_workflow_id(std::string_view id) {
    if (blank(id))
        usage("workflow_id", "an id that is not blank (leave it out for a generated one)", quoted(id));
    check_text("workflow_id", id);
    check_bytes("workflow_id", id.size());
}

void check_start(const EnqueueOptions& options, std::string_view name, StartKind kind) {
    if (blank(name)) usage("workflow_name", "the name of the workflow", quoted(name));
    check_text("workflow_name", name);
    if (options.workflow_id) check_workflow_id(*options.workflow_id);
    if (kind == StartKind::enqueue && options.queue_name.empty()) {
        usage("queue_name", "the queue to put workflow " + quoted(name) + " in", "none");
    }
    if (!options.queue_name.empty() && blank(options.queue_name)) {
        usage("queue_name", "a name that is not blank", quoted(options.queue_name));
    }
    check_priority(options.priority);
    if (options.workflow_timeout) check_positive("workflow_timeout", *options.workflow_timeout);
    if (options.delay) check_delay(*options.delay);
    if (options.duplication_policy == DuplicationPolicy::return_existing &&
        options.deduplication_id.empty()) {
        usage("duplication_policy", "a deduplication_id beside return_existing", "none");
    }
    if (options.queue_name.empty() &&
        (options.priority != 0 || (options.delay && options.delay->count() > 0) ||
         !options.deduplication_id.empty() || !options.queue_partition_key.empty())) {
        usage("queue_name",
              "a queue, because priority, delay, deduplication_id or queue_partition_key is given", "none");
    }
    for (const auto& [what, text] : std::initializer_list<std::pair<const char*, const std::string*>>{
             {"queue_name", &options.queue_name},
             {"app_version", &options.app_version},
             {"deduplication_id", &options.deduplication_id},
             {"queue_partition_key", &options.queue_partition_key},
             {"authenticated_user", &options.authenticated_user},
             {"class_name", &options.class_name},
             {"instance_name", &options.instance_name},
             {"assumed_role", &options.assumed_role},
             {"application_name", &options.application_name}}) {
        check_text(what, *text);
    }
    for (const std::string& role : options.authenticated_roles) check_text("authenticated_roles", role);
    check_bytes("queue_name and deduplication_id",
                options.queue_name.size() + options.deduplication_id.size());
    check_bytes("queue_name, queue_partition_key and workflow_id",
                options.queue_name.size() + options.queue_partition_key.size() +
                    (options.workflow_id ? options.workflow_id->size() : 36));
    check_attributes("attributes", options.attributes);
}

void check_ids(std::span<const std::string> ids) {
    for (const std::string& id : ids) check_text("workflow_id", id);
}

void check_priority(std::int64_t priority) {
    if (priority < 0 || priority > kMaxPriority)
        usage("priority", "0 to " + std::to_string(kMaxPriority), std::to_string(priority));
}

void check_delay(Duration delay) {
    check_not_negative("delay", delay);
    if (std::isinf(delay.count())) usage("delay", "a finite duration", "an infinite one");
}

void check_optional_name(const char* what, std::string_view name) {
    if (name.empty()) return;
    if (blank(name)) usage(what, "a name that is not blank", quoted(name));
    check_text(what, name);
    check_bytes(what, name.size());
}

void check_new_attributes(const std::optional<Any>& attributes, const UpdateAttributesOptions& options) {
    if (!attributes && options.merge) usage("attributes", "an object to merge", "none");
    check_attributes("attributes", attributes);
}

namespace {

void check_queue_and_key(const std::string& queue, const std::string& key, std::size_t id_bytes) {
    check_optional_name("queue_name", queue);
    check_text("queue_partition_key", key);
    if (queue.empty() && !key.empty()) {
        usage("queue_name", "a queue, because queue_partition_key is given", "none");
    }
    check_bytes("queue_name, queue_partition_key and workflow_id", queue.size() + key.size() + id_bytes);
}

void check_start_step(std::int64_t step) {
    constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    if (step < 0 || step > most)
        usage("start_step", "the number of a step, 0 to " + std::to_string(most), std::to_string(step));
}

void check_bucket(const std::optional<Duration>& bucket) {
    if (!bucket) return;
    if (!(bucket->count() >= 0.001) || std::isinf(bucket->count()))
        usage("time_bucket", "a finite duration of at least 1 ms", seconds(*bucket));
}

}  // namespace

void check_fork(const ForkRequest& request) {
    const ForkOptions& options = request.options;
    check_workflow_id(request.workflow_id);
    check_start_step(request.start_step);
    if (options.new_workflow_id) check_workflow_id(*options.new_workflow_id);
    check_optional_name("application_version", options.application_version);
    if (options.latest_version && !options.application_version.empty()) {
        usage("application_version", "none, because latest_version is given",
              quoted(options.application_version));
    }
    check_queue_and_key(options.queue_name, options.queue_partition_key,
                        options.new_workflow_id ? options.new_workflow_id->size() : 36);
    for (const auto& [before, after] : options.replacement_children) {
        check_text("replacement_children", before);
        check_workflow_id(after);
    }
    if (options.workflow_timeout) check_positive("workflow_timeout", *options.workflow_timeout);
}

void check_rewind(const std::string& workflow_id, std::int64_t start_step, const RewindOptions& options) {
    check_workflow_id(workflow_id);
    check_start_step(start_step);
    check_optional_name("application_version", options.application_version);
    check_queue_and_key(options.queue_name, options.queue_partition_key, workflow_id.size());
}

void check_rename(const std::optional<std::string>& old_name, const std::string& new_name,
                  const RenameApplicationOptions& options) {
    if (old_name && blank(*old_name)) usage("old_name", "the name of an application", quoted(*old_name));
    if (!old_name && !options.adopt_unclaimed_rows)
        usage("old_name", "a name, or adopt_unclaimed_rows", "neither");
    if (blank(new_name)) usage("new_name", "the name of an application", quoted(new_name));
    if (old_name) check_text("old_name", *old_name);
    check_text("new_name", new_name);
    check_bytes("new_name", new_name.size());
    if (old_name && *old_name == new_name) usage("new_name", "another name", quoted(new_name));
    if (options.batch_size && *options.batch_size < 1)
        usage("batch_size", "1 or more, or none", std::to_string(*options.batch_size));
}

void check_garbage_collect(const GarbageCollectOptions& options) {
    constexpr std::int64_t kLargestBatch = 100'000;
    if (!options.cutoff && !options.rows_threshold)
        usage("cutoff", "a cutoff or a rows_threshold", "neither");
    if (options.rows_threshold && *options.rows_threshold < 1)
        usage("rows_threshold", "1 or more", std::to_string(*options.rows_threshold));
    if (options.batch_size < 1 || options.batch_size > kLargestBatch)
        usage("batch_size", "1 to 100000", std::to_string(options.batch_size));
    if (!(options.pause >= Duration(0)) || std::isinf(options.pause.count()))
        usage("pause", "0 s or more", std::to_string(options.pause.count()) + " s");
}

void check_fork_from_failure(const ForkFromFailureOptions& options) {
    if (options.from_last_step && !options.from_step_name.empty())
        usage("from_step_name", "one of from_last_step and from_step_name", "both");
    if (options.fork.new_workflow_id)
        usage("new_workflow_id", "none: several workflows may be forked",
              quoted(*options.fork.new_workflow_id));
}

void check_aggregates(const WorkflowAggregatesOptions& options) {
    check_bucket(options.time_bucket);
    check_list(options.filter);
    const ListWorkflowsOptions& filter = options.filter;
    if (filter.limit || filter.offset || filter.sort_desc || !filter.load_input || !filter.load_output) {
        usage("filter", "conditions only", "limit, offset, sort_desc, load_input or load_output");
    }
    if (!options.time_bucket && !options.group_by_status && !options.group_by_name &&
        !options.group_by_queue_name && !options.group_by_executor_id &&
        !options.group_by_application_version && !options.group_by_application_name) {
        usage("group_by", "at least one group_by_… or a time_bucket", "none");
    }
}

void check_aggregates(const StepAggregatesOptions& options) {
    check_bucket(options.time_bucket);
    if (!options.time_bucket && !options.group_by_function_name && !options.group_by_status &&
        !options.group_by_application_name) {
        usage("group_by", "at least one group_by_… or a time_bucket", "none");
    }
}

void check_get_result(const GetResultOptions& options) {
    check_positive("polling_interval", options.polling_interval);
    if (options.timeout) check_not_negative("timeout", *options.timeout);
}

void check_send(std::string_view destination_id, std::string_view topic, std::string_view idempotency_key) {
    if (blank(destination_id)) usage("destination_id", "the id of a workflow", quoted(destination_id));
    check_text("destination_id", destination_id);
    check_text("topic", topic);
    check_text("idempotency_key", idempotency_key);
    check_bytes("idempotency_key and destination_id", idempotency_key.size() + destination_id.size());
    check_bytes("topic and destination_id", topic.size() + destination_id.size());
}

void check_event(std::string_view workflow_id, std::string_view key, Duration timeout,
                 const GetEventOptions& options) {
    check_workflow_id(workflow_id);
    check_text("key", key);
    check_bytes("workflow_id and key", workflow_id.size() + key.size());
    if (std::isnan(timeout.count())) usage("timeout", "a duration", seconds(timeout));
    check_positive("polling_interval", options.polling_interval);
}

void check_stream(std::string_view workflow_id, std::string_view key, const ReadStreamOptions& options) {
    check_workflow_id(workflow_id);
    check_text("key", key);
    check_bytes("workflow_id and key", workflow_id.size() + key.size());
    if (options.offset < 0) usage("offset", "0 or more", std::to_string(options.offset));
    check_positive("polling_interval", options.polling_interval);
    if (options.timeout) check_not_negative("timeout", *options.timeout);
}

void check_wait(const WaitWorkflowsOptions& options) {
    check_positive("polling_interval", options.polling_interval);
    if (options.timeout) check_not_negative("timeout", *options.timeout);
}

void check_list(const ListWorkflowsOptions& options) {
    check_limit("limit", options.limit);
    check_limit("offset", options.offset);
    check_attributes("attributes", options.attributes);
}

void check_steps(const ListStepsOptions& options) {
    check_limit("limit", options.limit);
    check_limit("offset", options.offset);
}

void check_step(const StepOptions& options, std::string_view step_name) {
    const std::string where = "step " + quoted(step_name) + ", ";
    if (options.max_attempts < 1)
        usage(where + "max_attempts", "1 or more", std::to_string(options.max_attempts));
    check_not_negative(where + "interval", options.interval);
    if (std::isnan(options.backoff_rate) || std::isinf(options.backoff_rate) || options.backoff_rate < 1) {
        usage(where + "backoff_rate", "1 or more", std::to_string(options.backoff_rate));
    }
    if (options.timeout) check_positive(where + "timeout", *options.timeout);
}

void check_queue(const QueueOptions& options) {
    if (blank(options.name)) usage("queue name", "a name that is not blank", quoted(options.name));
    check_text("queue name", options.name);
    check_bytes("queue name", options.name.size());
    if (options.name.starts_with(kReservedQueuePrefix)) {
        usage("queue name", "a name that does not start with \"_dbos_\", which is reserved",
              quoted(options.name));
    }
    const std::string where = "queue " + quoted(options.name) + ", ";
    using Limit = std::pair<const char*, std::optional<std::int64_t>>;
    const Limit worker{"worker_concurrency", options.worker_concurrency};
    const Limit all{"concurrency", options.concurrency};
    const Limit partition_worker{"partition_worker_concurrency", options.partition_worker_concurrency};
    const Limit partition{"partition_concurrency", options.partition_concurrency};
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    const auto bounded = [&](const Limit& limit, std::int64_t least) {
        const auto& [what, value] = limit;
        if (value && (*value < least || *value > kMost))
            usage(where + what, std::to_string(least) + " or more", std::to_string(*value));
    };
    bounded(worker, 0);
    for (const Limit& limit : {all, partition_worker, partition}) bounded(limit, 1);
    // The rules of every SDK (py: dbos/_queue.py): none is above one that contains it.
    for (const auto& [inner, outer] :
         {std::pair(partition_worker, partition), std::pair(partition_worker, worker), std::pair(worker, all),
          std::pair(partition, all), std::pair(partition_worker, all)}) {
        if (inner.second && outer.second && *inner.second > *outer.second) {
            usage(where + inner.first,
                  "at most " + std::string(outer.first) + " (" + std::to_string(*outer.second) + ")",
                  std::to_string(*inner.second));
        }
    }
    for (const auto& [what, rate] :
         {std::pair("limiter", options.limiter), std::pair("partition_limiter", options.partition_limiter)}) {
        if (rate.none()) continue;
        bounded({what, rate.limit}, 1);
        check_positive(where + what + " period", rate.period);
    }
    check_positive(where + "polling_interval", options.polling_interval);
}

void check_client(const ClientOptions& options) {
    if (blank(options.system_database_url) && !options.system_database_engine) {
        throw ConfigError(
            "system_database_url: expected postgresql://user@host/database or sqlite:///path, got an empty "
            "text");
    }
    check_schema(options.dbos_system_schema);
    check_common(options.system_database_pool_size, options.observability_query_timeout,
                 options.system_database_idle_transaction_timeout);
    if (options.lazy && options.use_listen_notify.value_or(false)) {
        throw ConfigError(
            "lazy and use_listen_notify: expected at most one of them to be true, for a lazy client connects "
            "to nothing; "
            "leave use_listen_notify unset to use notifications where they work");
    }
}

void check_app(const AppOptions& options) {
    if (blank(options.name))
        throw ConfigError("name: expected the name of the application, got an empty text");
    for (const auto& [what, text] :
         {std::pair("name", &options.name), std::pair("application_version", &options.application_version),
          std::pair("executor_id", &options.executor_id)}) {
        if (text->find('\0') != std::string::npos)
            throw ConfigError(std::string(what) + ": expected text without U+0000");
    }
    check_schema(options.dbos_system_schema);
    check_common(options.system_database_pool_size, options.observability_query_timeout,
                 options.system_database_idle_transaction_timeout);
    const auto bad = [](Duration duration) { return std::isnan(duration.count()) || duration.count() <= 0; };
    if (bad(options.lease_renewal) || bad(options.lease_duration) ||
        options.lease_duration < options.lease_renewal * 2.0) {
        throw ConfigError("lease_duration: expected at least twice lease_renewal, got " +
                          seconds(options.lease_duration) + " and " + seconds(options.lease_renewal));
    }
    if (!(options.park_after.count() >= 0)) {
        throw ConfigError("park_after: expected 0 or a positive duration, got " +
                          seconds(options.park_after));
    }
    if (!(options.scheduler_polling_interval.count() > 0)) {
        throw ConfigError("scheduler_polling_interval: expected a positive duration, got " +
                          seconds(options.scheduler_polling_interval));
    }
    if (options.max_threads < 0 || options.max_running < 0) {
        throw ConfigError("max_threads and max_running: expected 0 (the default) or more, got " +
                          std::to_string(options.max_threads) + " and " +
                          std::to_string(options.max_running));
    }
}

ListWorkflowsOptions queued(const ListQueuedWorkflowsOptions& options) {
    ListWorkflowsOptions all;
    all.workflow_ids = options.workflow_ids;
    all.status = options.status;
    all.start_time = options.start_time;
    all.end_time = options.end_time;
    all.name = options.name;
    all.app_version = options.app_version;
    all.forked_from = options.forked_from;
    all.parent_workflow_id = options.parent_workflow_id;
    all.user = options.user;
    all.queue_name = options.queue_name;
    all.limit = options.limit;
    all.offset = options.offset;
    all.sort_desc = options.sort_desc;
    all.workflow_id_prefix = options.workflow_id_prefix;
    all.load_input = options.load_input;
    all.load_output = options.load_output;
    all.executor_id = options.executor_id;
    all.queues_only = true;
    all.completed_after = options.completed_after;
    all.completed_before = options.completed_before;
    all.dequeued_after = options.dequeued_after;
    all.dequeued_before = options.dequeued_before;
    all.was_forked_from = options.was_forked_from;
    all.has_parent = options.has_parent;
    all.schedule_name = options.schedule_name;
    all.attributes = options.attributes;
    all.application_name = options.application_name;
    all.is_fork = options.is_fork;
    all.class_name = options.class_name;
    all.instance_name = options.instance_name;
    all.deduplication_id = options.deduplication_id;
    all.is_debounced = options.is_debounced;
    return all;
}

}  // namespace dbos::core
