// What Client and App share: the operations on a system database, the waiter hub, the threads for callbacks and for short
// asynchronous calls. Handles and Futures hold it; after close() it holds no thread and no connection.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/callbacks.hpp"
#include "client/decode.hpp"
#include "client/hub.hpp"
#include "client/workers.hpp"
#include "core/durations.hpp"
#include "core/options.hpp"
#include "dbos/client.hpp"
#include "dbos/error.hpp"
#include "sysdb/manage.hpp"
#include "sysdb/system_database.hpp"
#include "value/uuid.hpp"

namespace dbos::client {

struct CoreOptions {
    std::string database_key;      // equal for clients of one database: printable URL and schema
    std::string application_name;  // owner of what is written, filter of listings; empty = none
    std::shared_ptr<const Serializer> serializer;
    LogSink log;
    CallbackExecutor executor;
    bool wakeups = true;
    bool retry_connection_errors = true;
    /// As HubOptions::runs_here.
    std::function<bool(const std::string& workflow_id)> runs_here = {};
    Duration query_timeout = std::chrono::seconds(30);
    /// How long a debouncer waits for a key that a workflow keeps although it has left its delay: only executors that do not
    /// clear the key then (Java's) keep it that long.
    seam::Duration debounce_patience = std::chrono::seconds(5);
    /// Names the twin in errors of calls made in a body: "ctx.".
    const char* body_twin = "ctx.";
};

/// What a start asks for beside its row; kept until its result is known.
struct StartPolicy {
    DuplicationPolicy duplication = DuplicationPolicy::reject;
    WorkflowIdReusePolicy reuse = WorkflowIdReusePolicy::return_existing;
};

/// A start that was checked and encoded.
struct PreparedStart {
    sysdb::NewWorkflow row;
    StartPolicy policy;
};

class Core : public std::enable_shared_from_this<Core> {
   public:
    Core(std::shared_ptr<sysdb::SystemDatabase> database, CoreOptions options);
    ~Core();
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;

    // --- starting

    /// Checks the options, makes id and token, encodes the arguments. The status is ENQUEUED or DELAYED; for a direct start
    /// (no queue) the caller completes the row: status, executor, version. Throws UsageError, EncodeError.
    PreparedStart prepare(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                          core::StartKind kind);
    /// What became of it: the id of the workflow to watch (that of the holder for return_existing), or throws
    /// WorkflowIdInUse, ConflictingWorkflow, QueueDeduplicated. Logs a warning when the queue differs.
    std::string settle(const PreparedStart& start, const sysdb::StartResult& result) const;
    std::shared_ptr<detail::HandleState> enqueue(const detail::CallTarget& target, EnqueueOptions&& options,
                                                 Arguments&& arguments);
    void enqueue_async(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                       detail::HandleDone done);

    std::vector<std::shared_ptr<detail::HandleState>> enqueue_bulk(const std::vector<PreparedStart>& starts);

    // --- schedules and queue definitions (schedules.cpp)
    std::string context_text(const Value& context, ScheduleStyle style, const Serializer* given) const;
    /// Checks and encodes one.
    sysdb::ScheduleRow prepare_schedule(const ScheduleOptions& options);
    void create_schedule(const sysdb::ScheduleRow& row, sysdb::Gate* gate = nullptr);
    void apply_schedules(std::span<const sysdb::ScheduleRow> rows);
    std::vector<WorkflowSchedule> list_schedules(const ListSchedulesOptions& options);
    /// The rows of what it lists, and of get_schedule(); shown() makes the one of the other.
    std::vector<sysdb::ScheduleRow> schedule_rows(const ListSchedulesOptions& options);
    std::optional<sysdb::ScheduleRow> schedule_row(const std::string& name);
    WorkflowSchedule shown(const sysdb::ScheduleRow& row) const;
    std::optional<WorkflowSchedule> get_schedule(const std::string& name);
    void delete_schedule(const std::string& name, sysdb::Gate* gate = nullptr);
    void set_schedule_status(const std::string& name, const char* status, sysdb::Gate* gate = nullptr);
    /// Throws UsageError.
    void check_schedule_update(const std::string& name, const ScheduleUpdate& update);
    void update_schedule(const std::string& name, const ScheduleUpdate& update, sysdb::Gate* gate = nullptr);
    std::vector<std::shared_ptr<detail::HandleState>> backfill_schedule(const std::string& name,
                                                                        Instant start, Instant end,
                                                                        ScheduleStyle style);
    std::shared_ptr<detail::HandleState> trigger_schedule(const std::string& name, ScheduleStyle style);
    /// The row of one run of a schedule; an empty version is none. Throws DecodeError: the context.
    sysdb::NewWorkflow run_of(const sysdb::ScheduleRow& schedule, std::string id,
                              std::chrono::system_clock::time_point time, const std::string& version = {});
    QueueDefinition register_queue(const QueueDefinition& queue, QueueConflict on_conflict);
    QueueDefinition update_queue(const std::string& name,
                                 const std::function<void(QueueDefinition&)>& change);
    std::optional<QueueDefinition> retrieve_queue(const std::string& name);
    std::vector<QueueDefinition> list_queues(const std::string& application_name);
    void delete_queue(const std::string& name);

    // --- debouncing (debounce.cpp)
    sysdb::DebounceCall prepare_debounce(const detail::CallTarget& target, const DebouncerOptions& options,
                                         const std::string& key, Duration period, Arguments&& arguments);
    std::shared_ptr<detail::HandleState> debounce(const sysdb::DebounceCall& call);
    /// What became of one attempt: the id of the workflow that will run; none = again. Throws QueueDeduplicated and as settle().
    sysdb::Text debounced(const sysdb::DebounceCall& call, const sysdb::DebounceResult& result);
    /// Waits a moment for a workflow that has left its delay to let go of the key. Throws QueueDeduplicated if it has not done so
    /// by `until`, which is set at the first call: an executor of another SDK keeps the key for as long as the workflow runs.
    void await_release(const sysdb::DebounceCall& call, const sysdb::DebounceResult& result,
                       std::optional<seam::SteadyTime>& until);
    void debounce_async(std::shared_ptr<const sysdb::DebounceCall> call, detail::HandleDone done,
                        std::optional<seam::SteadyTime> until = {});
    void check_patience(const sysdb::DebounceCall& call, const sysdb::DebounceResult& result,
                        std::optional<seam::SteadyTime>& until) const;

    // --- in a transaction of the caller's (in_transaction.cpp)
    std::shared_ptr<detail::HandleState> enqueue_in(const CallerTransaction& transaction,
                                                    const detail::CallTarget& target,
                                                    EnqueueOptions&& options, Arguments&& arguments);
    void send_in(const CallerTransaction& transaction, std::span<const sysdb::NewMessage> messages,
                 bool to_forks);
    void wake(const std::string& queue);

    // --- watching

    /// A handle on an id; `seen` = its row is known to have existed.
    std::shared_ptr<detail::HandleState> handle(std::string workflow_id, bool seen);
    std::shared_ptr<detail::HandleState> retrieve(const detail::CallTarget& target,
                                                  const std::string& workflow_id);
    WorkflowStatus status(const std::string& workflow_id);
    /// Its row. Throws NonexistentWorkflow.
    sysdb::ListedWorkflow status_row(const std::string& workflow_id);
    Value result(const std::string& workflow_id, bool seen, const GetResultOptions& options,
                 std::span<const ErrorType> errors);
    void result_async(const std::string& workflow_id, bool seen, const GetResultOptions& options,
                      std::span<const ErrorType> errors, const std::shared_ptr<detail::FutureCore>& future,
                      detail::HandleState::AwaitDone done);
    std::vector<WorkflowStatus> list(const ListWorkflowsOptions& options);
    std::vector<StepInfo> steps(const std::string& workflow_id, const ListStepsOptions& options);
    /// The rows of what they list; formats() shows them.
    std::vector<sysdb::ListedWorkflow> list_rows(const ListWorkflowsOptions& options);
    std::vector<sysdb::StepRecord> step_rows(const std::string& workflow_id, const ListStepsOptions& options);

    // --- messages, events and streams (messages.cpp, streams.cpp)

    /// Checks and encodes; ids and instants are made here, once.
    std::vector<sysdb::NewMessage> prepare_messages(std::span<const Message> messages,
                                                    const Serializer* serializer);
    void send(std::span<const sysdb::NewMessage> messages, bool to_forks);
    std::optional<Value> event(const std::string& workflow_id, const std::string& key, Duration timeout,
                               const GetEventOptions& options);
    using EventDone =
        detail::OnceFunction<void(detail::OnceFunction<std::optional<Value>()> take, bool failed)>;
    void event_async(const std::string& workflow_id, const std::string& key, Duration timeout,
                     const GetEventOptions& options, const std::shared_ptr<detail::FutureCore>& future,
                     EventDone done);
    std::map<std::string, Value> events(const std::string& workflow_id);
    std::shared_ptr<detail::StreamSource> stream(std::string workflow_id, std::string key,
                                                 const ReadStreamOptions& options);

    // --- waiting for several workflows (wait_many.cpp)

    /// The index of one that has ended.
    std::size_t wait_first(const std::vector<std::string>& ids, const WaitWorkflowsOptions& options);
    void wait_all(const std::vector<std::string>& ids, const WaitWorkflowsOptions& options);
    using ManyDone = detail::OnceFunction<void(detail::OnceFunction<std::size_t()> take, bool failed)>;
    /// `first` = wait_first, else wait_all (whose number means nothing).
    void wait_many_async(const std::vector<std::string>& ids, bool first, const WaitWorkflowsOptions& options,
                         const std::shared_ptr<detail::FutureCore>& future, ManyDone done);

    // --- managing (manage.cpp). As the methods of Client of the same names; options are checked. With a gate: an operation of
    // a body (sysdb::Gate).

    std::optional<WorkflowStatus> find_status(const std::string& workflow_id);
    std::optional<sysdb::ListedWorkflow> find_row(const std::string& workflow_id);
    /// As retrieve(): its row, without payloads.
    sysdb::ListedWorkflow find_row(const detail::CallTarget& target, const std::string& workflow_id);
    void cancel(std::span<const std::string> workflow_ids, const CancelOptions& options,
                sysdb::Gate* gate = nullptr);
    /// Handles in the order of the ids.
    detail::HandleStates resume(const detail::CallTarget& target, std::span<const std::string> workflow_ids,
                                const ResumeOptions& options, sysdb::Gate* gate = nullptr);
    void set_delay(const std::string& workflow_id, Duration delay, sysdb::Gate* gate = nullptr);
    void set_delay(const std::string& workflow_id, Instant until, sysdb::Gate* gate = nullptr);
    void set_priority(const std::string& workflow_id, std::int64_t priority, sysdb::Gate* gate = nullptr);
    void update_attributes(const std::string& workflow_id, const std::optional<Any>& attributes,
                           const UpdateAttributesOptions& options, sysdb::Gate* gate = nullptr);
    void delete_workflows(std::span<const std::string> workflow_ids, const DeleteOptions& options,
                          sysdb::Gate* gate = nullptr);
    /// Ids and tokens for these forks; throws UsageError.
    std::vector<sysdb::Fork> prepare_forks(const detail::CallTarget& target,
                                           std::span<const ForkRequest> requests);
    detail::HandleStates fork(const std::vector<sysdb::Fork>& forks, sysdb::Gate* gate = nullptr);
    std::shared_ptr<detail::HandleState> rewind(const detail::CallTarget& target,
                                                const std::string& workflow_id, std::int64_t start_step,
                                                const RewindOptions& options, sysdb::Gate* gate = nullptr);
    Explain explain(const std::string& workflow_id);
    std::vector<VersionInfo> versions();
    VersionInfo latest_version();
    void set_latest_version(const std::string& version_name, const std::string& application_name);
    RenamedRows rename_application(const std::optional<std::string>& old_name, const std::string& new_name,
                                   const RenameApplicationOptions& options);
    // --- upkeep.cpp
    std::vector<Notification> notifications(const std::string& workflow_id);
    std::map<std::string, std::vector<Value>> stream_entries(const std::string& workflow_id);
    std::vector<ForkRequest> failed_forks(std::span<const std::string> workflow_ids,
                                          const ForkFromFailureOptions& options);
    CollectedRows garbage_collect(const GarbageCollectOptions& options);
    std::int64_t global_timeout(Instant cutoff);

    std::vector<WorkflowAggregate> aggregates(const WorkflowAggregatesOptions& options);
    std::vector<StepAggregate> aggregates(const StepAggregatesOptions& options);
    std::vector<sysdb::WorkflowAggregateRow> aggregate_rows(const WorkflowAggregatesOptions& options);
    std::vector<sysdb::StepAggregateRow> aggregate_rows(const StepAggregatesOptions& options);
    static std::vector<WorkflowAggregate> shown(std::vector<sysdb::WorkflowAggregateRow> rows);
    static std::vector<StepAggregate> shown(std::vector<sysdb::StepAggregateRow> rows);

    void check_connection();

    /// Runs `work` on one of the worker threads and delivers what it returns or throws.
    template <class T, class F>
    Future<T> in_background(F work) {
        check_process("an asynchronous call");
        auto state = std::make_shared<detail::FutureState<T>>(callbacks_);
        workers_.post([state, work = std::move(work)]() mutable { detail::settle(state, work); });
        return detail::FutureAccess::make(std::move(state));
    }

    /// Runs `task`, which must not throw, on a worker thread.
    void post(detail::OnceFunction<void()> task) { workers_.post(std::move(task)); }

    /// Whether this is a process that was forked off the one that made this object.
    bool forked() const noexcept { return seam::process_id() != process_; }
    /// Throws UsageError in a process that was forked off the one that made this object; takes no lock before.
    void check_process(const char* operation) const;
    /// Throws ClientClosed after close().
    void check_open() const;
    /// Throws UsageError on the callback thread, and in a body if `operation` writes or waits.
    void check_thread(const char* operation, bool writes_or_waits, bool blocks) const;

    sysdb::SystemDatabase& database() noexcept { return *database_; }
    WaiterHub& hub() noexcept { return hub_; }
    const Formats& formats() const noexcept { return formats_; }
    const CoreOptions& options() const noexcept { return options_; }
    const std::shared_ptr<detail::CallbackQueue>& callbacks() const noexcept { return callbacks_; }
    /// For BodyMark.
    const std::string& database_key() const noexcept { return options_.database_key; }
    std::string new_id() { return ids_.next(); }

    /// Sends accepted writes (at most `drain`), fails waits with ClientClosed, joins all threads but the calling one.
    /// Idempotent.
    void close(seam::Duration drain = std::chrono::seconds(10)) noexcept;

    /// As guarded(), for a listing: its limit of time is a QueryTimeout.
    template <class F>
    auto guarded_listing(F&& call) const {
        return guarded(*this, [&] {
            try {
                return call();
            } catch (const DatabaseError& error) {
                if (error.kind() == DatabaseErrorKind::timeout)
                    throw QueryTimeout(options_.query_timeout.count());
                throw;
            }
        });
    }

   private:
    sysdb::ListQuery list_query(const ListWorkflowsOptions& options) const;
    void start_async(std::shared_ptr<PreparedStart> start, detail::HandleDone done);

    sysdb::ScheduleRow schedule_to_run(const std::string& name);
    std::string version_for(const sysdb::ScheduleRow& schedule);
    /// The borrowed connection, and the layout of its database.
    std::unique_ptr<sql::Connection> borrow(const CallerTransaction& transaction);
    sysdb::Layout layout_of(const CallerTransaction& transaction, sql::Connection& connection);

    const int process_ = seam::process_id();
    const CoreOptions options_;
    const Formats formats_;
    Uuid7Generator ids_;
    std::shared_ptr<sysdb::SystemDatabase> database_;
    std::shared_ptr<Callbacks> own_callbacks_;
    std::shared_ptr<detail::CallbackQueue> callbacks_;
    WaiterHub hub_;
    Workers workers_;
    seam::Atomic<bool> closed_{false};
    seam::Mutex layouts_mutex_;
    std::map<std::string, sysdb::Layout> layouts_;  // of databases that callers' connections lead to
};

/// An optional name or key of a call: empty = not given.
inline sysdb::Text text_or_null(std::string text) {
    if (text.empty()) return std::nullopt;
    return text;
}

/// How long and how often to wait; an infinite timeout is none.
inline WaitOptions wait_options(Duration polling_interval, const std::optional<Duration>& timeout) {
    WaitOptions wait;
    wait.polling_interval = core::to_nanos(polling_interval);
    if (timeout && !std::isinf(timeout->count())) wait.timeout = core::to_nanos(*timeout);
    return wait;
}

/// Runs a call; a database that was closed meanwhile is the client's close.
template <class F>
auto guarded(const Core& core, F&& call) {
    core.check_open();
    try {
        return call();
    } catch (const DatabaseError& error) {
        if (error.kind() == DatabaseErrorKind::closed) throw ClientClosed();
        throw;
    }
}

/// What is wrong with a schedule by itself: names, cron expression, zone. Throws UsageError, ConfigError (zone file).
void check_schedule(const ScheduleOptions& options);

/// The error of a call as a user sees it: kind `closed` becomes ClientClosed. Rethrows.
[[noreturn]] void rethrow_for_user(std::exception_ptr error);

/// A Client on an existing core (App::client()); its destroy() leaves the core alone.
std::unique_ptr<Client> make_client(std::shared_ptr<Core> core);

}  // namespace dbos::client
