// The domain operations of the system database, written once over both drivers. One object per App or Client.
//
// Writes of running work (starts, checkpoints, outcomes) go through the committer: one thread per writer connection that
// commits whatever waits as one transaction. Everything else is a short transaction on a pool connection or, for claims and
// ticks, on a connection of its own. Transient failures are retried here and nowhere else; ids and tokens are made by the
// caller, before.
//
// Thread-safe. Implemented in one file per noun: database.cpp, workflows.cpp, steps.cpp, committer*.cpp, effects.cpp, queues.cpp,
// schedules.cpp, firing.cpp, claims.cpp, shared_claims.cpp, claim_state.cpp, leases.cpp, recovery.cpp, tick.cpp, versions.cpp, listing.cpp, messages.cpp,
// events.cpp, streams.cpp, manage.cpp, fork.cpp, rewind.cpp, rename.cpp, aggregates.cpp.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dbos/log.hpp"
#include "sql/connection.hpp"
#include "sysdb/records.hpp"
#include "sysdb/schema/migrate.hpp"

namespace dbos::sysdb {

struct LastSteps;
struct ListQuery;
struct ListedWorkflow;
struct StepQuery;
struct Removed;
struct QueueFacts;
struct Resume;
struct Retention;
struct Fork;
struct Rewind;
struct Rename;
struct Renamed;
struct VersionRow;
struct WorkflowAggregateQuery;
struct WorkflowAggregateRow;
struct StepAggregateQuery;
struct StepAggregateRow;

/// Completion of an asynchronous write: exactly one call, with a result or an exception. Runs on the committer thread: it
/// must only hand over (post to another thread, release a slot), never wait, never run user code.
template <class R>
using Completion = std::function<void(R, std::exception_ptr)>;

/// What this process committed: told on the committing thread after the commit; must be quick and not throw.
struct LocalWake {
    std::function<void(const std::string& queue_name)> enqueued = {};
    std::function<void(const std::string& workflow_id)> ended = {};
    /// A message was sent or consumed, an event set, a value of a stream appended by this workflow.
    std::function<void(const std::string& workflow_id, const Effect& effect)> published = {};
    /// A schedule was made, changed or deleted.
    std::function<void()> schedules_changed = {};
    /// Fewer writes are pending.
    std::function<void()> written = {};
};

struct DatabaseOptions {
    sql::OpenOptions open;
    std::size_t pool_size = 5;
    bool retry_connection_errors = true;
    LogSink log = {};
    LocalWake local_wake = {};
    /// Called before a rewind of this workflow, with the first step that runs again. What it throws ends the call.
    std::function<void(const std::string& workflow_id, std::int64_t start_step)> rewinding = {};
    std::size_t batch_max_writes = 512;
    std::size_t batch_max_bytes = 4u << 20;
    /// Notify on dbos_cpp_wake (PostgreSQL) or the wake file (SQLite) after commits that others may wait for.
    bool notify = true;
    /// A start that has waited this long for a lock fails with kind `blocked`; a checkpoint is reported, and waits on.
    seam::Duration blocked_after = std::chrono::seconds(30);
    /// Wraps every connection outside of the pool as it is opened (committer, claims, tick, lease); for fault injection.
    /// Those of the pool: OpenOptions::decorate.
    std::function<std::unique_ptr<sql::Connection>(std::unique_ptr<sql::Connection>)> decorate = {};
    /// Stands in for the durable clock, if given (dbos::testing): it shows this instant until it is changed.
    std::shared_ptr<const seam::Atomic<std::int64_t>> virtual_now = {};
};

/// "Durable now": the database clock as this process sees it; never goes back. SQLite: the wall clock.
class DurableClock {
   public:
    /// Starts with the wall clock of this host. With `virtual_now`, now_ms() is what that holds.
    explicit DurableClock(std::shared_ptr<const seam::Atomic<std::int64_t>> virtual_now = {}) noexcept;
    Millis now_ms() const noexcept { return virtual_now_ ? virtual_now_->load() : real_now_ms(); }
    /// For leases: also under a virtual clock they are kept in real time.
    Millis real_now_ms() const noexcept;
    /// A reading of the database clock, asked at `sent` and answered at `received` (boot clock).
    void observe(Millis database_now_ms, seam::Duration sent, seam::Duration received) noexcept;

   private:
    const std::shared_ptr<const seam::Atomic<std::int64_t>> virtual_now_;
    mutable seam::Atomic<std::int64_t> offset_ms_{0};  // database minus boot clock
    mutable seam::Atomic<std::int64_t> last_ms_{0};
};

class SystemDatabase {
   public:
    /// Opens nothing; the first use or open() connects.
    explicit SystemDatabase(DatabaseOptions options);
    /// close().
    ~SystemDatabase();
    SystemDatabase(const SystemDatabase&) = delete;
    SystemDatabase& operator=(const SystemDatabase&) = delete;

    /// Connects, probes the layout and measures the clock. Throws ConfigError or DatabaseError (not retried).
    void open();
    /// The same, and creates or upgrades the system database first.
    void open(const MigrateOptions& options);
    /// Writes accepted before are sent for at most `drain`; what remains fails with kind `closed`. Later calls fail so too.
    void close(seam::Duration drain = std::chrono::seconds(10)) noexcept;
    /// A claim that fails from now on is not repeated: its thread can be joined also while the database is away.
    void stop_claims() noexcept;
    /// The same for ticks and whatever runs on pool connections. Writes through the committer go on.
    void stop_upkeep() noexcept;
    /// The claim that runs now fails too; what it may have claimed is recovered.
    void interrupt_claims() noexcept;
    /// The tick, the maintenance and the renewal that run now fail too, and no lease is expired any more.
    void interrupt_upkeep() noexcept;

    sql::Backend backend() const noexcept;
    /// The layout, probed once and again after a 42703/42P01.
    Layout layout();
    DurableClock& clock() noexcept;
    /// The durable instant "now": the database clock as measured last. SQLite: the wall clock.
    Millis durable_now() noexcept;
    sql::Pool& pool() noexcept;
    const DatabaseOptions& options() const noexcept;

    // --- writes through the committer (committer*.cpp, workflows.cpp, steps.cpp)
    StartResult start_workflow(const NewWorkflow& workflow);
    void start_workflow_async(NewWorkflow workflow, Completion<StartResult> done);
    /// All in one transaction (starts.cpp), which is committed if `accept` says so of the results; else nothing is written.
    /// Results in the order of the rows. Rows are ENQUEUED or DELAYED. `accept` is called again when the call is repeated.
    std::vector<StartResult> start_workflows(std::span<const NewWorkflow> rows,
                                             const std::function<bool(std::span<const StartResult>)>& accept);
    /// Tells whoever serves the queue that it has work: after a start in a transaction of the caller's.
    void wake(const std::string& queue);
    StepResult record_step(const Fence& fence, const StepRecord& step,
                           OnConflict on_conflict = OnConflict::report);
    void record_step_async(Fence fence, StepRecord step, OnConflict on_conflict, Completion<StepResult> done);
    /// A checkpoint with an effect (safety 36). `stored` of the result is set wherever it may differ from `checkpoint`.
    StepResult record_effect(const Fence& fence, const StepRecord& checkpoint, const Effect& effect);
    void record_effect_async(Fence fence, StepRecord checkpoint, Effect effect, Completion<StepResult> done);
    /// The effect alone, from inside the step of this number: fenced, and repeated if the step is. Not for receives.
    StepResult apply_effect(const Fence& fence, std::int32_t step_id, const Effect& effect);
    ChildResult start_child(const ChildStart& start);
    void start_child_async(ChildStart start, Completion<ChildResult> done);
    OutcomeResult record_outcome(const Outcome& outcome);
    void record_outcome_async(Outcome outcome, Completion<OutcomeResult> done);
    /// Writes accepted and not yet committed.
    std::size_t pending_writes() const noexcept;
    /// Those of them that nothing but the database keeps waiting, no lock of somebody else.
    std::size_t waiting_writes() const noexcept;

    // --- workflows (workflows.cpp)
    /// Status and payload in one snapshot; ids without a row are left out.
    std::vector<ResultRow> results(std::span<const std::string> ids);
    /// Of these ids: which exist, and their status. Ids and statuses only.
    std::vector<std::pair<std::string, std::string>> statuses(std::span<const std::string> ids);
    Text inputs(const std::string& workflow_id);
    /// Dead-letters a claimed row (runtime.md 1.9); false if it was not ours any more.
    bool dead_letter(const Fence& fence, std::int64_t attempts_read);
    /// Which of these runs are still ours: status PENDING and owner_xid equal, pair by pair. Order as given.
    std::vector<bool> still_owned(std::span<const Fence> fences);
    /// The recorded steps of these runs, ordered; index as given.
    std::vector<std::vector<StepRecord>> histories(std::span<const std::string> ids);

    /// The first instant after `after` at which a delay or a deadline is due; for clocks of tests (it may read many rows).
    std::optional<Millis> next_due(Millis after);

    // --- histories.cpp
    /// The records of a workflow from this number on: the first 8 MiB of them, and one at least if there is one.
    History history_from(const std::string& workflow_id, std::int32_t number);

    // --- parked runs (waking.cpp)
    /// What those of these runs that are still ours begin with again: inputs (as in a claim), history, deadline.
    std::vector<ClaimedWorkflow> parked(std::span<const Fence> fences);
    /// Which of these (workflow, topic) have a message that was not consumed; index as given.
    std::vector<bool> have_messages(std::span<const std::pair<std::string, std::string>> mailboxes);
    /// Runs that have been parked for long do not kill their process: their attempts count from 1 again (safety 53).
    void settle_attempts(std::span<const Fence> fences);
    // --- transactional steps (transactions.cpp; in_transaction.hpp for those in this database)
    /// What tells this life of the workflow's id from others: creator_xid, or the instant of its creation where an older SDK has
    /// written none. Empty: there is no such row.
    Text life_of(const std::string& workflow_id);

    // --- listing (listing.cpp, listing.hpp)
    /// One SELECT with all filters, by creation time and id.
    std::vector<ListedWorkflow> list_workflows(const ListQuery& query);
    /// The steps of a workflow by number; none for an unknown id. application_name is not read.
    std::vector<StepRecord> list_steps(const StepQuery& query);

    // --- messages (messages.cpp)
    /// Instants for messages to this destination: strictly increasing in this process, at most 1 s ahead of the durable clock,
    /// because receivers take messages in this order (safety 52).
    Millis message_instant(const std::string& destination);
    /// Inserts all messages in one transaction; ids that exist are left as they are. `to_forks`: a copy goes to every
    /// descendant by fork as well. Throws NonexistentWorkflow with the destinations that do not exist; nothing is written then.
    void send(std::span<const NewMessage> messages, bool to_forks);

    // --- events and streams (events.cpp, streams.cpp)
    /// All current events of a workflow by key.
    std::vector<EventRow> events(const std::string& workflow_id);
    /// All messages to a workflow, consumed or not, in the order in which they were sent.
    std::vector<MessageRow> messages(const std::string& workflow_id);
    /// All values of all streams of a workflow, ordered by key and place, without the marks of their ends.
    std::vector<KeyedStreamValue> stream_values(const std::string& workflow_id);
    /// The current value of one; nullopt = it was never set.
    std::optional<EventRow> event(const EventKey& key);
    /// Up to 100 values and, but for the first one, 1 MiB, and the status of the workflow in the same snapshot.
    StreamPage read_stream(const StreamPosition& from);

    // --- debouncing (debounce.cpp)
    /// Puts off the workflow that waits under this key and gives it the new arguments, or creates one. Throws OutcomeUnknown if a
    /// put-off may have been committed, ConfigError if the database is from before debouncing.
    DebounceResult debounce(const DebounceCall& call);
    /// The same as an operation of a body. `output` is asked for what its checkpoint is to hold: none = nothing is written, not even
    /// that, and the call is to be made again; what it throws undoes it. `wrote` of the result: the checkpoint is there.
    using DebounceOutput = std::function<Text(const DebounceResult&)>;
    DebounceResult debounce(const DebounceCall& call, Gate& gate, const DebounceOutput& output);

    // --- managing (manage.cpp, fork.cpp, rewind.cpp, rename.cpp, aggregates.cpp; manage.hpp). One transaction a call, on a
    // pool connection. With a gate: an operation of a body, in one transaction with its checkpoint; the gate says what became of
    // it, and no acknowledgement is in doubt.
    /// Cancels rows that are not SUCCESS or ERROR (runtime.md 4.2); unknown ids are ignored. With `children` also all that
    /// these have started, however deep, one transaction a level (with a gate: one for all). Returns what was cancelled.
    std::vector<std::string> cancel(std::span<const std::string> ids, bool children = false,
                                    Gate* gate = nullptr);
    /// Puts rows that are not SUCCESS or ERROR back into a queue; all or, if an id is missing, none (NonexistentWorkflow).
    /// Layout A: OutcomeUnknown after a lost acknowledgement.
    void resume(std::span<const std::string> ids, const Resume& how, Gate* gate = nullptr);
    /// Removes rows of any status with all that belongs to them; unknown ids are ignored. `children` as in cancel().
    void delete_workflows(std::span<const std::string> ids, bool children = false, Gate* gate = nullptr);
    /// Removes ended workflows of all applications with all that belongs to them, one transaction a batch, and payloads and
    /// steps of that age whose workflow has gone (retention.cpp). Repeating it goes on where it was. Throws ConfigError (a
    /// database from before ends were recorded).
    Removed remove_ended(const Retention& which);
    /// Of a DELAYED row; others are left alone.
    void set_delay(const std::string& workflow_id, Millis until_ms, Gate* gate = nullptr);
    /// Of an ENQUEUED or DELAYED row; others are left alone.
    void set_priority(const std::string& workflow_id, std::int32_t priority, Gate* gate = nullptr);
    /// Stores what `change` makes of the stored JSON text; called again in a repeat. `repeatable`: its result does not depend
    /// on what is stored; else OutcomeUnknown after a lost acknowledgement.
    void update_attributes(const std::string& workflow_id, bool repeatable,
                           const std::function<Text(const Text&)>& change, Gate* gate = nullptr);
    LastSteps last_steps(const std::string& workflow_id, const std::string& name);
    /// All or none. Throws NonexistentWorkflow, ConflictingWorkflow, WorkflowIdInUse. `application_name` owns forks of
    /// originals that nobody owns.
    void fork(std::span<const Fork> forks, const Text& application_name, Gate* gate = nullptr);
    /// Throws NonexistentWorkflow, ConflictingWorkflow, UsageError (not ended), ConfigError (layout A), OutcomeUnknown.
    void rewind(const Rewind& how, Gate* gate = nullptr);
    /// Throws ConfigError (a living executor of the old name, no ownership in this database), OutcomeUnknown.
    Renamed rename_application(const Rename& how);
    /// Ordered by their columns.
    std::vector<WorkflowAggregateRow> aggregate_workflows(const WorkflowAggregateQuery& query);
    std::vector<StepAggregateRow> aggregate_steps(const StepAggregateQuery& query);

    // --- queues (claims.cpp, shared_claims.cpp, queues.cpp)
    /// Claims ENQUEUED rows of queues without a shared limit, in (priority, created_at) order per queue, at most
    /// `request.max_rows` in all and shared out fairly over the queues. Rows come back in dispatch order: first of each queue,
    /// second of each queue, … If the acknowledgement is lost, the rows that carry the token are read and returned.
    /// One claim at a time per object; others wait.
    ClaimResult claim(const ClaimRequest& request);
    /// Claims from one queue whose limits all processes share: never more than `concurrency` run, nor start in a period,
    /// whatever names or versions the claimers know. Does not wait for rows that somebody has locked: `contended`, or, after a second of it, around them.
    SharedClaimResult claim_shared(const SharedClaimRequest& request);
    /// Claims from one partitioned queue: a pass over some hundred partition keys from where the last one ended
    /// (partition_claims.cpp). Rows without a key are never claimed.
    PartitionClaimResult claim_partitions(const PartitionClaimRequest& request);
    /// Claims start at the head of these queues again (all: empty list), after a write that may have put rows there: a resume,
    /// a changed priority, a changed latest version. Never needed for correctness, only for promptness.
    void scan_from_head(std::span<const std::string> queues);
    /// PENDING rows of this executor that no run here holds are handed back (safety 7), if `mine` still has the lease: the
    /// statement compares the incarnation. `implemented` = workflow names known here (others stay PENDING). Rows claimed since
    /// `started_since` are all looked at, and one page of 5 000 older ones, another at each call. Returns the queues that got rows.
    /// `drop_held` takes out what a run here holds, or one that is being started. It is asked after rows were read: who holds a
    /// row before it is written, and until it has ended, cannot be missed.
    /// To be called while no claim of this process is in flight and everything claimed is held.
    std::vector<std::string> hand_back_orphans(const LeaseRow& mine,
                                               const std::function<void(std::vector<Fence>&)>& drop_held,
                                               std::span<const std::string> implemented,
                                               Millis started_since);
    /// The same for rows that are known. One that somebody has locked is passed over.
    std::vector<std::string> hand_back(const LeaseRow& mine, std::span<const Fence> fences);
    /// Rows of `queues` in scope (own and unclaimed; all without a name), ordered by name.
    std::vector<QueueRow> list_queues(const Text& application_name);
    std::optional<QueueRow> find_queue(const std::string& name);
    /// What a claim of this workflow would meet, in one snapshot (explain.cpp); absent: there is no such workflow. Throws
    /// ConfigError on databases from before queues had owners.
    std::optional<QueueFacts> queue_facts(const std::string& workflow_id);
    /// Owner resolution, insert or update (queues-and-schedules.md 1.2). Returns whether it was inserted. Throws ConfigError
    /// if another application owns the name.
    bool upsert_queue(const QueueRow& row, bool update_existing);
    /// Changes the limits of a row as read, in one transaction; `change` may be called again. Returns the row as it is then.
    /// Throws NotFound.
    QueueRow update_queue(const std::string& name, const std::function<void(QueueRow&)>& change);
    /// (workflow, queue) of rows at the heads of these queues whose name is not among `implemented`; a few examples. For a
    /// warning (unknown_names.cpp).
    std::vector<std::pair<std::string, std::string>> unknown_names(std::span<const std::string> queues,
                                                                   std::span<const std::string> implemented,
                                                                   const Text& application_name);
    /// DELAYED rows that are due become ENQUEUED; returns their queues.
    std::vector<std::string> enqueue_due(Millis now_ms, const Text& application_name);
    /// Cancels rows past their deadline, oldest first, 1000 at a time until none is left. Returns how many.
    std::size_t cancel_overdue(Millis now_ms, const Text& application_name);

    /// Deletes the definition; work that waits in the queue stays. No queue of the name: nothing.
    void delete_queue(const std::string& name);

    // --- schedules (schedules.cpp). Throw ConfigError if another application owns the name. Gates as of the managing calls.
    /// All, by name, bytewise.
    std::vector<ScheduleRow> list_schedules();
    std::optional<ScheduleRow> find_schedule(const std::string& name);
    /// A row of this schedule_id is an earlier attempt of the same call. Throws AlreadyExists.
    void create_schedule(const ScheduleRow& row, Gate* gate = nullptr);
    /// Inserts or updates all of them, or none. Rows that exist keep id, status and last firing.
    void apply_schedules(std::span<const ScheduleRow> rows);
    /// Changes cron, context, backfill, zone and queue of a row as read; `change` may be called again. Throws NotFound.
    using ScheduleChange = std::function<void(ScheduleRow&)>;
    void update_schedule(const std::string& name, const ScheduleChange& change, Gate* gate = nullptr);
    /// No schedule of the name: nothing.
    void set_schedule_status(const std::string& name, const std::string& status, Gate* gate = nullptr);
    void delete_schedule(const std::string& name, Gate* gate = nullptr);
    /// Inserts these ticks in one transaction, each tied to the row of its schedule as it stands then (safety 56), and moves
    /// last_fired_at forward.
    Fired fire(const Firing& firing);

    // --- executors (leases.cpp, recovery.cpp). Renewals use a connection of their own on PostgreSQL.
    /// Takes the lease if nobody has it, if we have it already (a repeat), or if the row still is as `seen`: same incarnation,
    /// and its counter unchanged or its time over. The caller has judged `seen` dead or waited for its lease to pass.
    /// `duration` counts from the database clock. Taken: `mine.counter` is what was written; renewals go on from there.
    LeaseTake take_lease(LeaseRow& mine, const std::optional<LeaseRow>& seen, seam::Duration duration);
    std::optional<LeaseRow> find_lease(const std::string& application_name, const std::string& executor_id);
    /// Ordered by executor id.
    std::vector<LeaseRow> list_leases(const std::string& application_name);
    /// `mine.counter` must be greater than at every earlier call of this incarnation, also when the row is inserted again.
    /// One attempt: the caller renews again by itself, sooner than a back-off would.
    LeaseRenewal renew_lease(const LeaseRow& mine, seam::Duration duration);
    /// The last write of a shutdown: expires_at = now, guarded by the incarnation.
    void expire_lease(const LeaseRow& mine);
    /// Removes rows that expired more than 30 days ago and that no PENDING row names. Returns how many.
    std::size_t prune_leases(const std::string& application_name);
    struct Sweep {
        std::size_t handed_back = 0;
        bool more = false;                // call again
        bool judged_wrong = false;        // the incarnation has changed or renewed since: nothing was done
        std::vector<std::string> queues;  // with new work
    };
    /// Hands back up to 1000 PENDING rows of a dead executor (own application and version), locking its lease row and
    /// re-checking incarnation and counter first. `dead` = the row as it was judged.
    Sweep sweep(const LeaseRow& dead, const Text& application_name, const std::string& application_version);
    /// The same for the own configured id at launch, before any start or claim (no lease of anybody is involved).
    std::size_t recover_own(const std::string& executor_id, const Text& application_name,
                            const std::string& application_version);
    /// Executors that PENDING rows of this application and version name: which dead ones are worth another sweep.
    std::vector<std::string> pending_executors(const Text& application_name,
                                               const std::string& application_version);

    // --- versions (versions.cpp)
    /// Claims or inserts the version; throws ConfigError if another application owns it.
    void register_version(const std::string& version, const Text& application_name);
    Text latest_version(const Text& application_name);
    /// In scope (own and unclaimed; all without a name), newest first, at most `limit`. `timeout_ms` as in ListQuery.
    std::vector<VersionRow> list_versions(const Text& application_name, std::int64_t limit,
                                          Millis timeout_ms);
    /// Gives it the highest timestamp. Throws NotFound, ConfigError (another application's), OutcomeUnknown.
    void promote_version(const std::string& version, const Text& application_name);
    /// Versions that have active rows, with counts: for the warning at launch. Rows without a version are not counted.
    std::vector<std::pair<std::string, std::int64_t>> active_versions(const Text& application_name);

    // --- the tick (tick.cpp)
    /// One read-only statement (SQLite: one read transaction) that says what is worth a write. Also measures the clock.
    /// A failure is thrown, not repeated: the next tick is the repetition, and whoever judges leases must know.
    TickReport tick(const TickRequest& request);

    /// The state shared by the files above; defined in database.hpp.
    struct Core;
    Core& core() noexcept { return *core_; }

   private:
    std::unique_ptr<Core> core_;
};

/// Wake-ups from other processes on the same database: LISTEN on PostgreSQL, the wake file and the write-ahead log on SQLite.
/// Only a hint; the poll floor of whoever waits stays.
class Wakeups {
   public:
    struct Event {
        bool all = false;                            // anything may have changed: check everything once
        std::vector<std::uint32_t> queue_hashes;     // queues with new work (FNV-1a 32 of the name)
        std::vector<std::uint32_t> workflow_hashes;  // workflows that ended (FNV-1a 32 of the id)
        bool all_queues = false;
        bool all_workflows = false;
        std::string channel;  // one of the shared channels, with its payload; else empty
        std::string payload;
    };
    /// `handler` runs on the listening thread: quick, no throw. Starts at once.
    Wakeups(SystemDatabase& database, std::function<void(const Event&)> handler);
    ~Wakeups();
    Wakeups(const Wakeups&) = delete;
    Wakeups& operator=(const Wakeups&) = delete;

   private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace dbos::sysdb
