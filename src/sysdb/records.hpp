// What the domain operations of the system database take and return. Payloads are stored text: this layer never
// encodes or decodes them. Times are epoch milliseconds. Absent = std::nullopt = SQL NULL.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace dbos::sysdb {

using Text = std::optional<std::string>;
using Millis = std::int64_t;

/// The queue of everything that has none; never a row of `queues` (py, ts, go: dbos_executor).
inline constexpr std::string_view kInternalQueue = "_dbos_internal_queue";

/// A run of a workflow: the pair that every fenced write compares, row by row (never two independent sets).
struct Fence {
    std::string workflow_id = {};
    std::string token = {};  // owner_xid of the execution
    friend auto operator<=>(const Fence&, const Fence&) = default;
};

/// A row to insert into workflow_status and workflow_input.
struct NewWorkflow {
    std::string workflow_id = {};
    std::string token = {};   // creator_xid; also owner_xid of a PENDING row. Made before any retry loop.
    std::string status = {};  // PENDING, ENQUEUED or DELAYED
    std::string name = {};
    Text class_name = {};   // NULL, never ''
    Text config_name = {};  // NULL, never ''
    std::string inputs = {};
    std::string serialization = {};
    Text executor_id = {};
    Text application_version = {};
    Text application_id = {};
    Text application_name = {};
    Text authenticated_user = {};
    Text assumed_role = {};
    Text authenticated_roles = {};  // JSON array text
    Text queue_name = {};
    Text queue_partition_key = {};
    Text deduplication_id = {};
    std::int32_t priority = 0;
    std::optional<Millis> timeout_ms = {};
    std::optional<Millis> deadline_ms = {};
    std::optional<Millis> delay_until_ms = {};
    Text parent_workflow_id = {};
    Text attributes = {};  // JSON object text
    Text schedule_name = {};
};

/// What became of a start or enqueue.
struct StartResult {
    enum class Kind : std::uint8_t {
        created,      // the row is ours (also when only the acknowledgement of our own insert was lost)
        existing,     // a row of this id was there; the fields below describe it, nothing was changed
        deduplicated  // (queue, deduplication id) is held by `holder`; nothing was written
    };
    Kind kind = Kind::created;
    // The row as it stands. created: as inserted, unless a peer has taken it over meanwhile.
    std::string status = {};
    std::string name = {};
    Text class_name = {};
    Text config_name = {};
    Text queue_name = {};
    Text serialization = {};
    Text owner_xid = {};
    std::int64_t recovery_attempts = 0;
    std::optional<Millis> deadline_ms = {};
    std::string holder = {};  // deduplicated: the workflow that holds the deduplication id
};

/// A row of operation_outputs.
struct StepRecord {
    std::int32_t function_id = 0;
    std::string function_name = {};
    Text output = {};
    Text error = {};
    Text child_workflow_id = {};
    std::optional<Millis> started_at_ms = {};
    std::optional<Millis> completed_at_ms = {};  // computed once: the identity of the record in a retry
    Text serialization = {};
    Text application_name = {};
};

/// What is recorded of a workflow, as far as it was read.
struct History {
    std::vector<StepRecord> records = {};  // by function_id
    /// What is not among `records` is not recorded, up to this number.
    std::int32_t known_to = std::numeric_limits<std::int32_t>::max();
};

/// What a checkpoint does if the number is already recorded.
enum class OnConflict : std::uint8_t {
    report,      // StepResult::Kind::other unless the record is ours
    first_wins,  // sleeps and awaited results: the stored record is delivered
};

struct StepResult {
    enum class Kind : std::uint8_t {
        recorded,  // committed by this call (or by an attempt of it whose acknowledgement was lost)
        lost,      // the fence: the run no longer owns the workflow
        other,     // somebody else's record stands there (`stored`)
        missing,   // an effect refers to workflows that do not exist (`missing`): nothing was written
        nothing    // there was nothing to receive, and that was not to be recorded: nothing was written
    };
    Kind kind = Kind::recorded;
    // What stands there: of first_wins, of a receive, after a lost acknowledgement, the foreign record.
    StepRecord stored = {};
    std::vector<std::string> missing = {};
};

/// Makes a recorded operation of a managing call: its transaction first locks the run's own row together with the rows that it
/// changes, compares the fence and inserts the checkpoint; only if that was inserted the call has its effect (safety 36).
struct Gate {
    Fence fence = {};
    StepRecord checkpoint = {};  // complete: completed_at_ms tells it from a record of somebody else
    /// What became of it, when the call has returned: recorded, lost or other. After a lost acknowledgement `stored` is set.
    StepResult result = {};
    /// The call has taken the run's own row away from it: it was among those cancelled, resumed or deleted.
    bool own_run_ended = false;
};

/// A child start: the child's row and the parent's checkpoint in one transaction.
struct ChildStart {
    Fence parent = {};
    StepRecord checkpoint = {};  // child_workflow_id is set
    NewWorkflow child = {};
    /// A child row that somebody else inserted is a refusal: no checkpoint is written then (start.kind = existing).
    bool refuse_existing = false;
};

struct ChildResult {
    StepResult::Kind checkpoint = StepResult::Kind::recorded;  // recorded, lost or other
    StepRecord stored = {};                                    // other: what is recorded at that number
    StartResult start =
        {};  // valid when recorded. `deduplicated`, a name mismatch, or an existing row that is refused: the checkpoint
    // was NOT written; the caller records the refusal as the step's error
};

struct Outcome {
    Fence fence = {};
    bool success = true;
    std::string payload = {};  // output or error text in the row's format
    Text queue_name = {};  // of a queue with a limit that all processes share: its slot is free for others
};

enum class OutcomeResult : std::uint8_t { recorded, lost };

/// A workflow claimed from a queue, ready for dispatch.
struct ClaimedWorkflow {
    std::string workflow_id = {};
    std::string token = {};
    std::string name = {};
    Text class_name = {};
    Text config_name = {};
    std::string queue_name = {};
    Text queue_partition_key = {};
    Text inputs =
        {};  // nullopt with inputs_deferred: larger than 64 KiB, or not in workflow_input: read at dispatch
    bool inputs_deferred = false;
    Text serialization = {};
    std::int64_t recovery_attempts = 0;
    std::optional<Millis> deadline_ms = {};
    std::int32_t priority = 0;
    Millis created_at = 0;
    Text authenticated_user = {};
    Text assumed_role = {};
    Text authenticated_roles = {};
    Text attributes = {};
    Text application_name = {};
    History history = {};  // the first records; read after the claim committed
};

/// One queue in a claim.
struct ClaimQueue {
    std::string name = {};
    std::int32_t limit = 0;  // free slots here
};

struct ClaimRequest {
    std::vector<ClaimQueue> queues = {};  // without a shared limit
    std::int32_t max_rows = 200;          // in all
    std::string token = {};               // made before the retry loop, fresh for each claim
    std::string executor_id = {};
    std::string application_version = {};
    Text application_name = {};
    bool is_latest_version = false;                // rows without a version are then claimed too
    std::vector<std::string> workflow_names = {};  // implemented here; others are left alone
};

struct ClaimResult {
    std::vector<ClaimedWorkflow> workflows = {};
    std::vector<std::string> more =
        {};  // queues that gave all that they were asked for, or were not asked: may hold more
};

/// At most `max` starts in any `period_ms`, over all processes.
struct StartRate {
    std::int32_t max = 0;
    Millis period_ms = 0;
    friend bool operator==(const StartRate&, const StartRate&) = default;
};

/// A queue with a limit that all processes share; claimed alone.
struct SharedClaimRequest {
    ClaimRequest base;                             // `queues` holds exactly this one
    std::optional<std::int32_t> concurrency = {};  // the global limit
    std::optional<StartRate> rate = {};            // at least one of the two
};

struct SharedClaimResult {
    std::vector<ClaimedWorkflow> workflows = {};
    bool contended =
        false;  // somebody holds a lock on the queue's head: nothing was claimed, try again later
    bool no_budget = false;  // a limit was reached: not worth a try before a slot is freed, or …
    std::optional<Millis> budget_in = {};  // … before that many milliseconds have passed
    bool more = false;  // took fewer than it was asked for, to let other processes have the file: go on
};

/// A row of `queues`.
struct QueueRow {
    std::string name = {};
    std::optional<std::int32_t> concurrency = {};
    std::optional<std::int32_t> worker_concurrency = {};
    std::optional<std::int32_t> rate_limit_max = {};
    std::optional<double> rate_limit_period_sec = {};
    bool priority_enabled = false;
    bool partition_queue = false;
    double polling_interval_sec = 1.0;
    Text application_name = {};
    std::optional<std::int32_t> partition_concurrency = {};
    std::optional<std::int32_t> partition_worker_concurrency = {};
    std::optional<std::int32_t> partition_rate_limit_max = {};
    std::optional<double> partition_rate_limit_period_sec = {};
    friend bool operator==(const QueueRow&, const QueueRow&) = default;
};

/// What a row of `queues` allows, each limit in its scope (py: dbos/_queue.py). A row with `partition_queue` and no partition_*
/// limit is of the old form: its plain limits hold for each partition.
struct QueueLimits {
    std::optional<std::int32_t> worker_concurrency = {};
    std::optional<std::int32_t> concurrency = {};
    std::optional<StartRate> rate = {};
    bool partitioned = false;
    std::optional<std::int32_t> partition_worker_concurrency = {};
    std::optional<std::int32_t> partition_concurrency = {};
    std::optional<StartRate> partition_rate = {};

    /// Claimed alone, for the budget is spent by all processes.
    bool queue_wide() const { return concurrency || rate; }
    bool shared() const { return queue_wide() || partition_concurrency || partition_rate; }
    /// Starts are counted.
    bool rated() const { return rate || partition_rate; }
    /// The end of a workflow may be what another process waits for.
    bool slots_shared() const { return concurrency || partition_concurrency; }
    friend bool operator==(const QueueLimits&, const QueueLimits&) = default;
};
QueueLimits limits_of(const QueueRow& row);

/// A partitioned queue; claimed alone.
struct PartitionClaimRequest {
    ClaimRequest base;  // `queues` holds exactly this one
    QueueLimits limits = {};
    std::map<std::string, std::int32_t> running = {};  // here, of partition keys; if there is a limit of it
    // Grows with every wake-up: keys that the round has passed before it are looked at again.
    std::uint64_t signals = 0;
};

struct PartitionClaimResult {
    std::vector<ClaimedWorkflow> workflows = {};
    bool contended = false;  // somebody was in the way everywhere: try again later
    bool more = false;       // the pass ended in front of further keys, or left rows behind: go on
    std::optional<Millis> budget_in = {};      // the rate of the queue was used up, for so many milliseconds
    std::optional<Millis> key_budget_in = {};  // that of a key: it has starts again after so many
};

/// A row of workflow_schedules. Absent where others write ''.
struct ScheduleRow {
    std::string schedule_id = {};
    std::string schedule_name = {};
    std::string workflow_name = {};
    Text workflow_class_name = {};
    std::string schedule = {};
    std::string status = {};
    std::string context = {};  // in the format of the application that fires it
    Text last_fired_at = {};
    bool automatic_backfill = false;
    Text cron_timezone = {};
    Text queue_name = {};
    Text application_name = {};
};

/// Ticks of one schedule that are to run, oldest first.
struct Firing {
    ScheduleRow schedule = {};   // as it was read: nothing is fired if it has changed since
    Text application_name = {};  // whose latest version runs them if nobody owns the schedule
    struct Tick {
        NewWorkflow row = {};               // ENQUEUED; its version is decided when it is written
        std::vector<std::string> ids = {};  // under which some SDK may have run it already
    };
    std::vector<Tick> ticks = {};
    Millis newest_ms = 0;
    std::string newest = {};  // the newest tick as last_fired_at holds it
};

struct Fired {
    enum class Kind : std::uint8_t {
        done,  // every tick has run, or will: `started` of them were inserted by this call
        changed,  // the schedule is not ACTIVE any more, has gone, or has another definition: nothing was written
        no_version,  // no version of its application is registered: nothing was written
    };
    Kind kind = Kind::done;
    std::size_t started = 0;
};

/// A row of dbos_cpp_executors.
struct LeaseRow {
    std::string application_name = {};
    std::string executor_id = {};
    std::string incarnation = {};  // random, one per launch
    std::string version = {};      // application version
    std::int64_t counter = 0;
    Millis expires_at = 0;  // database clock
    Millis lease_ms =
        0;  // how long the counter must be seen unchanged; written by take and renew from `duration`
    Text host_key = {};  // equal keys: pids can be compared; NULL equals nothing
    std::int32_t pid = 0;
    std::int64_t process_start = 0;
    bool released = false;  // read by find_lease: its holder expired it in a shutdown
};

enum class LeaseTake : std::uint8_t { taken, held };
enum class LeaseRenewal : std::uint8_t {
    renewed,
    inserted,  // the row was missing and was inserted again (the counter goes on)
    replaced   // another incarnation holds the id: stop
};

/// What the tick asks, once a second.
struct TickRequest {
    Millis now_ms = 0;  // durable now
    Text application_name = {};
    std::string application_version = {};
    bool is_latest_version = false;
    std::vector<std::string> workflow_names = {};
    std::vector<Fence> running = {};                 // to learn of cancelled, deleted or taken runs
    std::vector<std::string> queues = {};            // to probe for claimable rows
    std::map<std::string, QueueLimits> limits = {};  // of those that have any
};

struct TickReport {
    Millis database_now_ms = 0;
    bool due_delays = false;
    bool passed_deadlines = false;
    struct Lost {
        Fence fence = {};
        std::string status = {};  // empty: the row is gone
    };
    std::vector<Lost> lost = {};
    std::string queues_fingerprint = {};     // changes when a row of `queues` in scope changes
    std::string schedules_fingerprint = {};  // the same of the schedules, whatever they have fired
    Text latest_version = {};
    std::vector<std::string> queues_with_work = {};
    std::vector<LeaseRow> leases = {};  // of this application
};

/// status and payload of one workflow in one snapshot.
struct ResultRow {
    std::string workflow_id = {};
    std::string status = {};
    Text output = {};
    Text error = {};
    Text serialization = {};
};

/// Topic column of a message without a topic (all SDKs).
inline constexpr const char* kNullTopic = "__null__topic__";

// The channels on which all SDKs tell of a message (a trigger of its table does), an event, a value of a stream. The payload is
// `<workflow id>::<topic or key>`.
inline constexpr const char* kMessageChannel = "dbos_notifications_channel";
inline constexpr const char* kEventChannel = "dbos_workflow_events_channel";
inline constexpr const char* kStreamChannel = "dbos_streams_channel";

/// A message to a workflow, as one row of notifications.
struct NewMessage {
    std::string destination;
    std::string topic = kNullTopic;
    std::string message;
    std::string serialization;
    std::string id;        // message_uuid; a row of this id is left as it is
    std::string fork_key;  // a descendant's copy has the id `<fork_key>::<descendant>`
    Millis created_at_ms = 0;
};

// --- What a recorded operation does beside its checkpoint: in the same transaction, and only if that checkpoint was inserted.

/// Inserts messages; ids that exist are left as they are. All or none: refused (`missing`) if a destination does not exist.
struct SendEffect {
    std::vector<NewMessage> messages = {};
    bool to_forks = false;  // a copy goes to every descendant by fork as well
};
/// Consumes the oldest message of the workflow's topic, which becomes output and format of the checkpoint.
struct ReceiveEffect {
    std::string topic = kNullTopic;
    bool record_nothing =
        false;  // no message: a checkpoint without an output; else none is written (`nothing`)
};
/// Sets an event, and its history at the number of the checkpoint.
struct EventEffect {
    std::string key = {};
    std::string value = {};
    std::string serialization = {};
};
/// Appends a value to a stream of the workflow.
struct StreamEffect {
    std::string key = {};
    std::string value = {};
    std::string serialization = {};
};
using Effect = std::variant<SendEffect, ReceiveEffect, EventEffect, StreamEffect>;

/// What a wait for an event asks for.
struct EventKey {
    std::string workflow_id;
    std::string key;
    friend auto operator<=>(const EventKey&, const EventKey&) = default;
};

/// The current value of an event.
struct EventRow {
    EventKey at;
    std::string value;
    Text serialization;
};

/// What a wait for a value of a stream asks for.
struct StreamPosition {
    std::string workflow_id;
    std::string key;
    std::int64_t offset = 0;
    friend auto operator<=>(const StreamPosition&, const StreamPosition&) = default;
};

/// The value that closes a stream: in every application's streams a text of portable JSON (py: dbos/_sys_db.py), bare from Go
/// and older TypeScript.
inline constexpr std::string_view kStreamEnd = "__DBOS_STREAM_CLOSED__";

/// Whether a wait at a position of a stream is over.
enum class StreamState : std::uint8_t { no_workflow, nothing_yet, value_or_end };

struct StreamValue {
    std::string value;
    Text serialization;
};

/// One of all values of a workflow's streams.
struct KeyedStreamValue {
    std::string key;
    StreamValue value;
};

/// A message to a workflow, consumed or not.
struct MessageRow {
    Text topic;
    std::string message;
    Text serialization;
    Millis created_at = 0;
    bool consumed = false;
};

/// Consecutive values of a stream from an offset on.
struct StreamPage {
    Text status;  // of the workflow; NULL = there is none
    std::vector<StreamValue> values;
};

/// One call of a debouncer.
struct DebounceCall {
    NewWorkflow row;  // as it is created if no other is waiting: DELAYED, with queue and deduplication id
    Millis bounce_until_ms =
        0;  // until when a workflow that waits already is put off, within its own deadline
    std::optional<Millis>
        deadline_ms;             // of the first call of a burst: no later one can put the start off beyond it
    bool compare_class = false;  // TypeScript's debouncers tell classes apart
};

struct DebounceResult {
    enum class Kind : std::uint8_t {
        bounced,   // `workflow_id` waits on, with the new arguments
        started,   // `start` says what became of the new row
        held,      // by `workflow_id`, which is not a debounced workflow of this name and application
        starting,  // `workflow_id` has left its delay: the key is free when it lets go
    };
    Kind kind = Kind::bounced;
    std::string workflow_id;
    StartResult start;
    bool wrote = false;
};

}  // namespace dbos::sysdb
