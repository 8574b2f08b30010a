// The options of every call: aggregates for designated initialisers, `{.queue_name = "orders", .priority =
// 3}`.
//
// Order matters to the compiler: members stand in the order of the Python SDK's manual, ours after them; new
// ones come at the end. An empty string means "not given" for every optional name and key, but not for
// `workflow_id` (an empty or blank one is refused) and not in filters. Durations take `200ms`, `0.5s`, `7 *
// 24h` and refuse a bare `30`.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dbos/codec.hpp"
#include "dbos/log.hpp"
#include "dbos/serializer.hpp"
#include "dbos/types.hpp"
#include "dbos/value.hpp"

namespace dbos {

class ConnectionSource;  // dbos/connection_source.hpp

namespace detail {
/// First member of every options struct: positional braces such as `{"tmp"}` then do not compile.
struct named_members_only {
    explicit named_members_only() = default;
};
}  // namespace detail

/// What to do when another workflow of the queue holds the deduplication id.
enum class DuplicationPolicy : std::uint8_t {
    reject,           ///< throw QueueDeduplicated
    return_existing,  ///< return a handle to the holder; the arguments of this call are dropped
};

/// What to do when the workflow id exists already.
enum class WorkflowIdReusePolicy : std::uint8_t {
    return_existing,  ///< return a handle to it, whatever its status; nothing is changed
    reject,           ///< throw WorkflowIdInUse
};

/// Options of enqueue and start_workflow. (client-side names of the Python SDK's EnqueueOptions,
/// dbos/_client.py)
struct EnqueueOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Calls by name only; a call by contract that sets it is refused.
    std::string workflow_name = {};
    /// Required for enqueue; the queue need not be registered. start_workflow without it starts now.
    std::string queue_name = {};
    /// Default: a new UUIDv7. An id that exists already gives a handle to that workflow.
    std::optional<std::string> workflow_id = {};
    /// Default: whichever version is the latest when it is dequeued.
    std::string app_version = {};
    /// From the start of its execution; then it is cancelled. Must be positive. Default: none; of a child, what is left to its
    /// parent. Infinite: none, of a child either.
    std::optional<Duration> workflow_timeout = {};
    /// One workflow of the queue at a time may be waiting or running under it.
    std::string deduplication_id = {};
    /// 0 (default) to 2 147 483 647; lower goes first.
    std::int64_t priority = 0;
    /// Accepted for compatibility and ignored, as in Python: the registration of the workflow decides.
    std::optional<std::int64_t> max_recovery_attempts = {};
    /// Required by queues with partition limits, ignored by others. In applications not beside a deduplication_id.
    std::string queue_partition_key = {};
    std::string authenticated_user = {};
    std::vector<std::string> authenticated_roles = {};
    /// Earliest start from now, by the clock of the database (SQLite: of this computer). 0 = no delay.
    std::optional<Duration> delay = {};
    /// Class and configured instance of a method in another language. Default: those of the contract, if any.
    std::string class_name = {};
    std::string instance_name = {};
    std::string assumed_role = {};
    /// An object; searchable on PostgreSQL.
    std::optional<Any> attributes = {};
    /// Owner of the workflow. Default: the application_name of the client or application.
    std::string application_name = {};
    /// return_existing needs a deduplication_id.
    DuplicationPolicy duplication_policy = DuplicationPolicy::reject;
    WorkflowIdReusePolicy workflow_id_reuse_policy = WorkflowIdReusePolicy::return_existing;
    /// Format of the arguments, and thereby of the result. Default: that of the client or application.
    std::shared_ptr<const Serializer> serializer = {};
};

/// Options of get_result.
struct GetResultOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Longest time between two looks; wake-ups make most waits shorter. At least 1 ms.
    Duration polling_interval = std::chrono::seconds(1);
    /// Throws Timeout after it. Default: none. 0 = one look.
    std::optional<Duration> timeout = {};
    /// Throws NonexistentWorkflow if the first look finds no such workflow; else an unknown id is waited for.
    bool fail_if_missing = false;
};

/// Options of list_workflows. All given filters must hold.
struct ListWorkflowsOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Given, the application_name filter of the client does not apply.
    OneOrMany workflow_ids = {};
    OneOrMany status = {};
    /// Created at or after, at or before.
    std::optional<Instant> start_time = {};
    std::optional<Instant> end_time = {};
    OneOrMany name = {};
    OneOrMany app_version = {};
    OneOrMany forked_from = {};
    OneOrMany parent_workflow_id = {};
    OneOrMany user = {};
    OneOrMany queue_name = {};
    /// Default: all. 0 = none.
    std::optional<std::int64_t> limit = {};
    std::optional<std::int64_t> offset = {};
    /// By creation time, then id; false = oldest first.
    bool sort_desc = false;
    OneOrMany workflow_id_prefix = {};
    bool load_input = true;
    bool load_output = true;
    OneOrMany executor_id = {};
    /// Only workflows with a queue and of status DELAYED, ENQUEUED or PENDING (`status`, if given, must hold
    /// as well).
    bool queues_only = false;
    std::optional<Instant> completed_after = {};
    std::optional<Instant> completed_before = {};
    std::optional<Instant> dequeued_after = {};
    std::optional<Instant> dequeued_before = {};
    std::optional<bool> was_forked_from = {};
    std::optional<bool> has_parent = {};
    OneOrMany schedule_name = {};
    /// Rows whose attributes contain this object. PostgreSQL only.
    std::optional<Any> attributes = {};
    /// Default: the application_name of the client, if it has one. Rows without an owner match in any case.
    OneOrMany application_name = {};
    /// Whether it is a fork of another workflow.
    std::optional<bool> is_fork = {};
    OneOrMany class_name = {};
    /// Configured instance of the class.
    OneOrMany instance_name = {};
    OneOrMany deduplication_id = {};
    std::optional<bool> is_debounced = {};
};

/// Options of list_queued_workflows: those of list_workflows without queues_only.
struct ListQueuedWorkflowsOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    OneOrMany workflow_ids = {};
    OneOrMany status = {};
    std::optional<Instant> start_time = {};
    std::optional<Instant> end_time = {};
    OneOrMany name = {};
    OneOrMany app_version = {};
    OneOrMany forked_from = {};
    OneOrMany parent_workflow_id = {};
    OneOrMany user = {};
    OneOrMany queue_name = {};
    std::optional<std::int64_t> limit = {};
    std::optional<std::int64_t> offset = {};
    bool sort_desc = false;
    OneOrMany workflow_id_prefix = {};
    bool load_input = true;
    bool load_output = true;
    OneOrMany executor_id = {};
    std::optional<Instant> completed_after = {};
    std::optional<Instant> completed_before = {};
    std::optional<Instant> dequeued_after = {};
    std::optional<Instant> dequeued_before = {};
    std::optional<bool> was_forked_from = {};
    std::optional<bool> has_parent = {};
    OneOrMany schedule_name = {};
    std::optional<Any> attributes = {};
    OneOrMany application_name = {};
    std::optional<bool> is_fork = {};
    OneOrMany class_name = {};
    OneOrMany instance_name = {};
    OneOrMany deduplication_id = {};
    std::optional<bool> is_debounced = {};
};

/// Options of list_workflow_steps.
struct ListStepsOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    bool load_output = true;
    std::optional<std::int64_t> limit = {};
    std::optional<std::int64_t> offset = {};
};

/// Options of send.
struct SendOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// A second message of this key to this destination is dropped, even if the first was received long ago.
    std::string idempotency_key = {};
    /// A copy goes to every workflow that was forked from the destination, or from its forks. (py: dbos/_sys_db.py send)
    bool send_to_forks = false;
    /// Format of the message. Default: that of the client.
    std::shared_ptr<const Serializer> serializer = {};
};

/// One message of send_bulk.
struct Message {
    detail::named_members_only only_named_members = detail::named_members_only();
    std::string destination_id = {};
    Any message = {};
    std::string topic = {};
    /// As in SendOptions; no key may stand twice in one call.
    std::string idempotency_key = {};
};

/// Options of send_bulk, for all its messages.
struct SendBulkOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    bool send_to_forks = false;
    std::shared_ptr<const Serializer> serializer = {};
};

/// Options of get_event.
struct GetEventOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// As in GetResultOptions.
    Duration polling_interval = std::chrono::seconds(1);
};

/// Options of read_stream.
struct ReadStreamOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Of the first value to read. 0 or more.
    std::int64_t offset = 0;
    /// As in GetResultOptions.
    Duration polling_interval = std::chrono::seconds(1);
    /// For each value; then StreamTimeout. Default: none. 0 = one look.
    std::optional<Duration> timeout = {};
};

/// Options of read_stream_offset.
struct ReadStreamOffsetOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    Duration polling_interval = std::chrono::seconds(1);
    std::optional<Duration> timeout = {};
};

/// Options of wait_first and wait_all.
struct WaitWorkflowsOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// As in GetResultOptions.
    Duration polling_interval = std::chrono::seconds(1);
    /// Throws Timeout after it. Default: none. 0 = one look.
    std::optional<Duration> timeout = {};
};

/// How the key of a debouncer becomes a deduplication id: as in the SDK whose own debouncers it is to share bursts with.
enum class DebounceStyle : std::uint8_t {
    python,      ///< `<workflow>-<key>`; Go's is the same
    typescript,  ///< `<class>.<workflow>-<key>`, `.<workflow>-<key>` without a class
};

/// Options of a Debouncer.
struct DebouncerOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// The start is put off no longer than this after the first call of a burst. Default: for as long as calls come.
    std::optional<Duration> debounce_timeout = {};
    /// Where the workflow waits. Default: the queue of the workflow options, else the internal queue.
    std::string queue = {};
    /// Application that runs the workflow. Default: that of the workflow options, else of the client.
    std::string application_name = {};
    /// Of a debouncer by contract: what enqueue would be told. Not deduplication_id, delay, priority, queue_partition_key,
    /// return_existing or reject.
    EnqueueOptions workflow_options = {};
    DebounceStyle style = DebounceStyle::python;
    /// Instead of what `style` makes of the key.
    std::string deduplication_id = {};
};

/// Options of cancel_workflow and cancel_workflows.
struct CancelOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Also all that the workflow has started, and what those have started, whatever became of their parents.
    bool cancel_children = false;
};

/// Options of resume_workflow and resume_workflows.
struct ResumeOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Default: the internal queue, which has no limits.
    std::string queue_name = {};
};

/// Options of delete_workflow and delete_workflows.
struct DeleteOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Also all that the workflow has started, and what those have started.
    bool delete_children = false;
};

/// Options of update_workflow_attributes.
struct UpdateAttributesOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Keys that are not given stay (only the outermost are compared). Default: the whole object is replaced.
    bool merge = false;
};

/// Options of fork_workflow.
struct ForkOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Default: that of the original.
    std::string application_version = {};
    /// Default: the internal queue, which has no limits.
    std::string queue_name = {};
    /// Needs a queue_name.
    std::string queue_partition_key = {};
    /// Ids of children of the original, and what stands in their place in the copied steps.
    std::map<std::string, std::string> replacement_children = {};
    /// From the start of its execution. Must be positive. Default: none, whatever the original had.
    std::optional<Duration> workflow_timeout = {};
    /// Id of the fork. Default: a new UUIDv7. Taken ids throw WorkflowIdInUse.
    std::optional<std::string> new_workflow_id = {};
    /// No version: the fork runs on whichever is the latest when it is dequeued. Not beside application_version.
    bool latest_version = false;
};

/// One fork of fork_workflows.
struct ForkRequest {
    detail::named_members_only only_named_members = detail::named_members_only();
    std::string workflow_id = {};
    /// As in fork_workflow.
    std::int64_t start_step = 0;
    ForkOptions options = {};
};

/// Options of fork_from_failure. Without from_last_step and from_step_name a workflow goes on at the last step that has an error,
/// or, if none has, at its last one.
struct ForkFromFailureOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// At its last recorded step, failed or not.
    bool from_last_step = false;
    /// At the last recorded step of this name. Not beside from_last_step.
    std::string from_step_name = {};
    /// Of every fork; new_workflow_id must not be given.
    ForkOptions fork = {};
};

/// Options of garbage_collect: which ended workflows go. At least one of `cutoff` and `rows_threshold` is needed; of two, the one
/// that removes more decides.
struct GarbageCollectOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Those that ended before it.
    std::optional<Instant> cutoff = {};
    /// All but about so many that ended last. At least 1.
    std::optional<std::int64_t> rows_threshold = {};
    /// Workflows that one transaction removes. 1 to 100 000.
    std::int64_t batch_size = 10000;
    /// Between two transactions, for the sake of everybody else.
    Duration pause = Duration(0);
};

/// Options of rewind_workflow.
struct RewindOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Default: it stays as it is.
    std::string application_version = {};
    /// Default: the internal queue, which has no limits.
    std::string queue_name = {};
    /// Needs a queue_name.
    std::string queue_partition_key = {};
};

/// Options of rename_application.
struct RenameApplicationOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Rows of ended workflows, and steps, that one transaction renames. Absent: everything in one transaction.
    std::optional<std::int64_t> batch_size = 10000;
    /// Also rows without an owner.
    bool adopt_unclaimed_rows = false;
};

/// Options of get_workflow_aggregates: what to group by, what to compute, and which workflows. At least one
/// group_by or a time bucket is needed; without any select_ the rows are counted.
struct WorkflowAggregatesOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    bool group_by_status = false;
    bool group_by_name = false;
    bool group_by_queue_name = false;
    bool group_by_executor_id = false;
    bool group_by_application_version = false;
    bool group_by_application_name = false;
    bool select_count = false;
    bool select_min_created_at = false;
    /// From creation to the start of the execution.
    bool select_max_queue_wait_ms = false;
    /// From creation to the end.
    bool select_max_total_latency_ms = false;
    /// Groups by creation time as well, in slices of this width. At least 1 ms.
    std::optional<Duration> time_bucket = {};
    /// Which workflows; limit, offset, sort_desc and load_… must be left as they are.
    ListWorkflowsOptions filter = {};
};

/// Options of get_step_aggregates. At least one group_by or a time bucket is needed; without any select_ the steps
/// are counted.
struct StepAggregatesOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    bool group_by_function_name = false;
    /// SUCCESS or, for a step with a recorded error, ERROR.
    bool group_by_status = false;
    bool group_by_application_name = false;
    bool select_count = false;
    bool select_max_duration_ms = false;
    /// Groups by the time of completion as well, in slices of this width. At least 1 ms.
    std::optional<Duration> time_bucket = {};
    OneOrMany status = {};
    OneOrMany function_name = {};
    OneOrMany workflow_id_prefix = {};
    std::optional<Instant> completed_after = {};
    std::optional<Instant> completed_before = {};
    /// Default: the application_name of the client, if it has one. Rows without an owner match in any case.
    OneOrMany application_name = {};
};

/// Runs a callback of a Future somewhere else than on the client's callback thread. Must not run it inline.
using CallbackExecutor = std::function<void(std::function<void()>)>;

/// Options of a Client.
struct ClientOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// `postgresql://…` or `sqlite:///path`. Required unless system_database_engine is given. A client creates and migrates
    /// nothing.
    std::string system_database_url = {};
    /// The program's own connections, instead of new ones (dbos/connection_source.hpp). The URL is then ignored, and so are
    /// system_database_idle_transaction_timeout and the options of the URL.
    std::shared_ptr<ConnectionSource> system_database_engine = {};
    /// Schema of the system tables; ignored on SQLite.
    std::string dbos_system_schema = "dbos";
    /// Format of what this client writes. Default: portable_json, which every SDK reads.
    std::shared_ptr<const Serializer> serializer = {};
    /// Connections of the pool, opened when needed. 1 to 1000.
    std::int64_t system_database_pool_size = 5;
    /// Wake waits by NOTIFY, on one more connection while there are waits. Unset: on PostgreSQL where it
    /// works. true: a failure is an error (refused with `lazy`). false: never. Waits look once a second in
    /// any case.
    std::optional<bool> use_listen_notify = {};
    /// Name of the application whose workflows are meant: owner of what is enqueued, and filter of listings.
    /// Empty: rows without an owner are written, and listings show everything.
    std::string application_name = {};
    /// false: the constructor connects and throws if it cannot. true: the first call does.
    bool lazy = false;
    /// Repeat calls after a lost connection, without a limit. false: they throw DatabaseError.
    bool retry_connection_errors = true;
    /// Limit of listings on PostgreSQL; then QueryTimeout. 0 = none.
    Duration observability_query_timeout = std::chrono::seconds(30);
    /// Default: one line on standard error for each record of level info and up.
    LogSink log_sink = {};
    /// Where callbacks of Futures run. Default: one thread of the client, one callback at a time.
    CallbackExecutor executor = {};
    /// PostgreSQL ends a transaction of this client that has been idle for longer, so that a stopped program keeps no
    /// locks. 0 = as the server is set; so it stays behind a pooler that refuses the setting, and if the URL has
    /// `options`.
    Duration system_database_idle_transaction_timeout = std::chrono::seconds(60);
};

/// Options of a step.
struct StepOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// 1 = no retry.
    std::int64_t max_attempts = 1;
    /// Before the second attempt; multiplied by backoff_rate after each further one.
    Duration interval = std::chrono::seconds(1);
    double backoff_rate = 2;
    /// Receives the original error; false = do not try again. Default: always try again.
    std::function<bool(const std::exception&)> should_retry = {};
    /// Cooperative: requests stop on StepContext::stop_token(), waits for the callable, then throws
    /// StepTimeout.
    std::optional<Duration> timeout = {};
};

/// Options of map.
struct MapOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Elements under way at once. 1 or more.
    std::size_t max_parallel = 16;
    /// Of each element's step.
    StepOptions step = {};
};

/// At most `limit` starts in `period`; none if both are 0.
struct RateLimit {
    bool none() const noexcept { return limit == 0 && period.count() == 0; }
    std::int64_t limit = 0;
    Duration period = Duration(0);
    friend bool operator==(const RateLimit&, const RateLimit&) = default;
};

/// What registering a queue does to a row of that name that exists already.
enum class QueueConflict : std::uint8_t {
    update,                    ///< the row gets these limits
    keep,                      ///< the row stays, and this process uses its limits
    update_if_latest_version,  ///< `update` in the latest version of the application, else `keep`; not for clients
};

/// Options of register_queue. Limits count what is claimed and has not ended, waits included. A workflow of a queue with a
/// partition limit needs a queue_partition_key; without one it is never run.
struct QueueOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Required; names that start with `_dbos_` are reserved.
    std::string name = {};
    /// Workflows of the queue that this process runs at once. 0 = none: this process leaves the queue alone. Default: no limit.
    std::optional<std::int64_t> worker_concurrency = {};
    /// Workflows of the queue that all processes run at once. Default: no limit.
    std::optional<std::int64_t> concurrency = {};
    /// Starts of all processes in any period of that length, by the clock of the database. Default: no limit.
    RateLimit limiter = {};
    /// The same of each partition key: none is above the limit of the whole queue that contains it. partition_concurrency 1
    /// runs the workflows of a key one after another in their order.
    std::optional<std::int64_t> partition_worker_concurrency = {};
    std::optional<std::int64_t> partition_concurrency = {};
    RateLimit partition_limiter = {};
    /// Longest time until work is seen that no wake-up announced (another SDK without NOTIFY, a missed notification). Less
    /// than 10 ms counts as 10 ms, more than 1 s as 1 s; the shortest of the queues served here holds for all of them.
    Duration polling_interval = std::chrono::seconds(1);
    QueueConflict on_conflict = QueueConflict::update_if_latest_version;
};

/// Options of an App.
struct AppOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Name of the application. Required; owner of its workflows.
    std::string name = {};
    /// `sqlite:///path` or `postgresql://…`. Default: `sqlite:///<name>.sqlite`.
    std::string system_database_url = {};
    /// As in ClientOptions: the program's own connections, from the launch until the end of shutdown(). The program creates the
    /// database; launch() makes the tables in it.
    std::shared_ptr<ConnectionSource> system_database_engine = {};
    /// Schema of the system tables; ignored on SQLite.
    std::string dbos_system_schema = "dbos";
    /// Default: the environment variable DBOS__APPVERSION, else `<name>-1`.
    std::string application_version = {};
    /// Default: the environment variable DBOS__VMID, else a new one of host, process and a random part.
    std::string executor_id = {};
    /// How long an executor that is not heard of counts as alive, and how often it is heard.
    Duration lease_duration = std::chrono::seconds(7);
    Duration lease_renewal = std::chrono::seconds(2);
    /// Recover the work of processes that are provably dead on this host at once, without waiting for their
    /// lease.
    bool check_pid = true;
    /// As in ClientOptions.
    std::optional<bool> use_listen_notify = {};
    /// Queues that this process serves; the internal one always. Default: all that are registered for the application.
    std::optional<std::vector<std::string>> listen_queues = {};
    /// Create and migrate the system database at launch.
    bool run_migrations = true;
    /// Threads for bodies and steps. 0 = a quarter of vm.max_map_count.
    std::int64_t max_threads = 0;
    /// Bodies that run at once, waits not counted. 0 = as many as max_threads.
    std::int64_t max_running = 0;
    /// A wait of a body that lasts longer frees its thread: the body is unwound, and replayed when the wait is over. Never
    /// sooner than 100 times what the replay takes; at once where threads run short.
    Duration park_after = std::chrono::seconds(1);
    /// Connections of the pool. 1 to 1000.
    std::int64_t system_database_pool_size = 5;
    /// Format of what this application writes. Default: portable_json.
    std::shared_ptr<const Serializer> serializer = {};
    bool retry_connection_errors = true;
    Duration observability_query_timeout = std::chrono::seconds(30);
    LogSink log_sink = {};
    CallbackExecutor executor = {};
    /// As in ClientOptions.
    Duration system_database_idle_transaction_timeout = std::chrono::seconds(60);
    /// The schedules are read this often even where no change of them was noticed. A change is noticed within a second, and at
    /// once where this process has made it; the Python SDK knows of none between two readings (dbos/_scheduler.py).
    Duration scheduler_polling_interval = std::chrono::seconds(30);
    /// launch() makes this version the latest one of the application: workflows without a version, and the runs of schedules, are
    /// then its own. For a roll-back to an older version. Default: a version is the latest when it is launched for the first time.
    bool make_latest_version = false;
};

}  // namespace dbos
