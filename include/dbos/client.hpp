// dbos::Client: starts, watches and manages the workflows of a system database from a program that runs none
// itself.
//
//   dbos::Client client({.system_database_url = url});
//   auto handle = client.enqueue(Checkout, {.queue_name = "orders", .workflow_timeout = 30s}, order);
//   auto any = client.enqueue<dbos::Value>({.workflow_name = "process_task", .queue_name = "q"}, 1,
//   dbos::named("fast", true)); Receipt receipt = handle.get_result();
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "dbos/codec.hpp"
#include "dbos/connection_source.hpp"
#include "dbos/detail/owned.hpp"
#include "dbos/explain.hpp"
#include "dbos/export.hpp"
#include "dbos/failure.hpp"
#include "dbos/future.hpp"
#include "dbos/handle.hpp"
#include "dbos/options.hpp"
#include "dbos/schedule.hpp"
#include "dbos/stream.hpp"
#include "dbos/types.hpp"
#include "dbos/value.hpp"
#include "dbos/workflow.hpp"

struct pg_conn;  // libpq's PGconn
struct sqlite3;

namespace dbos {

namespace client {
class Core;  // src/client/core.hpp; sysdb has one too. NOLINT(bugprone-forward-declaration-namespace)
struct PreparedStart;  // src/client/core.hpp
}  // namespace client

namespace detail {

struct ClientAccess;
class DebouncerBase;

/// What a call says about the workflow beside its options.
struct CallTarget {
    std::string_view name = {};  // of the contract; empty = options.workflow_name
    std::string_view class_name = {};
    std::string_view config_name = {};
    bool by_contract = false;
};

template <class R, class... A, class... E>
CallTarget call_target(const Workflow<R(A...), E...>& contract) noexcept {
    return {contract.name(), contract.class_name(), contract.config_name(), true};
}

}  // namespace detail

/// One call of enqueue_bulk; made by enqueue_request().
class EnqueueRequest {
   public:
    EnqueueRequest(const detail::CallTarget& target, EnqueueOptions options, Arguments arguments)
        : target_(target), options_(std::move(options)), arguments_(std::move(arguments)) {}

   private:
    friend class Client;
    detail::CallTarget target_;  // names of a contract, which is a constant
    EnqueueOptions options_;
    Arguments arguments_;
};

/// A call for enqueue_bulk, by contract or by name, with the arguments of enqueue. Encodes them at once.
template <class R, class... A, class... E>
EnqueueRequest enqueue_request(const Workflow<R(A...), E...>& contract, EnqueueOptions options,
                               detail::argument_t<A>... args) {
    return {detail::call_target(contract), std::move(options), detail::encode_arguments(contract, args...)};
}
template <class R, class... A, class... E, class... U>
    requires(!detail::fits<detail::types<A...>, detail::types<U...>>)
EnqueueRequest enqueue_request(const Workflow<R(A...), E...>&, EnqueueOptions options, U&&...) {
    detail::explain_misfit<detail::types<A...>, detail::types<U...>>();
    return {{}, std::move(options), {}};
}
template <class... U>
EnqueueRequest enqueue_request(EnqueueOptions options, U&&... args) {
    return {{}, std::move(options), to_arguments(args...)};
}

/// A connection of the caller's with an open transaction, for the `_in_transaction` calls: converts from a `PGconn*` or a
/// `sqlite3*`. The calls add rows to that transaction, and are done or undone with it; they neither begin, end nor repeat
/// anything. On PostgreSQL they replace the unnamed prepared statement.
class CallerTransaction {
   public:
    /// `notify`: workers hear of the workflow when the transaction commits. Without, they find it within a second; the commit of
    /// a transaction that notifies waits for all others that do, and cannot be prepared (PREPARE TRANSACTION).
    CallerTransaction(pg_conn* connection, bool notify = false) noexcept
        : postgres_(connection), notify_(notify) {}
    CallerTransaction(sqlite3* connection) noexcept : sqlite_(connection), is_sqlite_(true) {}
    bool is_sqlite() const noexcept { return is_sqlite_; }
    pg_conn* postgres() const noexcept { return postgres_; }
    sqlite3* sqlite() const noexcept { return sqlite_; }
    bool notify() const noexcept { return notify_; }

   private:
    pg_conn* postgres_ = nullptr;
    sqlite3* sqlite_ = nullptr;
    bool is_sqlite_ = false;
    bool notify_ = false;
};

/// A client of a system database. It creates and migrates nothing, and works with databases of every SDK.
///
/// Thread-safe; neither copyable nor movable. Every method has an `_async` twin with the same effect: it
/// encodes its arguments and checks its options before it returns (and throws for them), everything else
/// arrives in the Future.
///
/// Errors of every method: UsageError (a bad option; a call in a workflow's body, where the ctx. twin
/// belongs, or a blocking call on a callback thread), ConfigError (no system tables, too old ones, no
/// permission), DatabaseError, ClientClosed.
class DBOS_EXPORT Client {
   public:
    /// Throws ConfigError for a bad option or URL and, unless `lazy`, DatabaseError if the database cannot be
    /// reached.
    explicit Client(ClientOptions options);
    /// destroy().
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// Sends the writes already accepted (at most 10 s; what remains fails with ClientClosed and is counted
    /// in the log), fails all waits with ClientClosed, joins the threads, closes the connections. Idempotent.
    /// On a callback thread it joins all but that one, which ends by itself.
    void destroy() noexcept;
    /// Asks the database for an answer (`SELECT 1`); throws what a call would throw.
    void check_connection();
    Future<void> check_connection_async();

    /// Puts a workflow in a queue and returns its handle. Enqueuing an id again gives the same workflow and
    /// changes nothing.
    ///
    /// Throws, beside the errors of every method, ConflictingWorkflow (the id belongs to a workflow of
    /// another name or class), QueueDeduplicated, WorkflowIdInUse, EncodeError.
    template <class R, class... A, class... E>
    WorkflowHandle<R> enqueue(const Workflow<R(A...), E...>& contract, EnqueueOptions options,
                              detail::argument_t<A>... args) {
        return detail::HandleAccess::make<R>(start(detail::call_target(contract), std::move(options),
                                                   detail::encode_arguments(contract, args...)),
                                             contract.error_types());
    }
    template <class R, class... A, class... E, class... U>
        requires(!detail::fits<detail::types<A...>, detail::types<U...>>)
    WorkflowHandle<R> enqueue(const Workflow<R(A...), E...>&, const EnqueueOptions&, U&&...) {
        detail::explain_misfit<detail::types<A...>, detail::types<U...>>();
        return refused<WorkflowHandle<R>>();
    }
    /// The same by name: `options.workflow_name` is required; named() arguments stand last.
    template <class R = Value, class... U>
    WorkflowHandle<R> enqueue(EnqueueOptions options, U&&... args) {
        return detail::HandleAccess::make<R>(start({}, std::move(options), to_arguments(args...)));
    }

    template <class R, class... A, class... E>
    Future<WorkflowHandle<R>> enqueue_async(const Workflow<R(A...), E...>& contract, EnqueueOptions options,
                                            detail::argument_t<A>... args) {
        auto [future, done] = detail::handle_future<R>(callbacks(), contract.error_types());
        start_async(detail::call_target(contract), std::move(options),
                    detail::encode_arguments(contract, args...), std::move(done));
        return std::move(future);
    }
    template <class R, class... A, class... E, class... U>
        requires(!detail::fits<detail::types<A...>, detail::types<U...>>)
    Future<WorkflowHandle<R>> enqueue_async(const Workflow<R(A...), E...>&, const EnqueueOptions&, U&&...) {
        detail::explain_misfit<detail::types<A...>, detail::types<U...>>();
        return refused<Future<WorkflowHandle<R>>>();
    }
    template <class R = Value, class... U>
    Future<WorkflowHandle<R>> enqueue_async(EnqueueOptions options, U&&... args) {
        auto [future, done] = detail::handle_future<R>(callbacks());
        start_async({}, std::move(options), to_arguments(args...), std::move(done));
        return std::move(future);
    }

    /// Puts up to 5 000 workflows in their queues in one transaction; handles in the order of the calls. Every option of
    /// enqueue may be used; an id that exists gives its handle. Throws BulkRefused, which names every call that enqueue would
    /// refuse; nothing is written then.
    template <class R = Value>
    std::vector<WorkflowHandle<R>> enqueue_bulk(std::vector<EnqueueRequest> requests) {
        return handles<R>(bulk(std::move(requests)));
    }
    template <class R = Value>
    Future<std::vector<WorkflowHandle<R>>> enqueue_bulk_async(std::vector<EnqueueRequest> requests) {
        auto state = std::make_shared<detail::FutureState<std::vector<WorkflowHandle<R>>>>(callbacks());
        bulk_async(std::move(requests), [state](detail::OnceFunction<States()> take, bool failed) {
            state->complete([take = std::move(take)]() mutable { return handles<R>(take()); }, failed);
        });
        return detail::FutureAccess::make(std::move(state));
    }

    /// enqueue in the caller's own transaction: the workflow exists if and when it commits. A refusal (QueueDeduplicated,
    /// ConflictingWorkflow, WorkflowIdInUse) leaves the transaction usable. Throws UsageError if the connection cannot be used:
    /// no transaction, a failed one, pipeline mode, another client_encoding than UTF8. DatabaseError is the caller's to handle.
    template <class R, class... A, class... E>
    WorkflowHandle<R> enqueue_in_transaction(const CallerTransaction& transaction,
                                             const Workflow<R(A...), E...>& contract, EnqueueOptions options,
                                             detail::argument_t<A>... args) {
        return detail::HandleAccess::make<R>(
            start_in(transaction, detail::call_target(contract), std::move(options),
                     detail::encode_arguments(contract, args...)),
            contract.error_types());
    }
    template <class R, class... A, class... E, class... U>
        requires(!detail::fits<detail::types<A...>, detail::types<U...>>)
    WorkflowHandle<R> enqueue_in_transaction(const CallerTransaction&, const Workflow<R(A...), E...>&,
                                             const EnqueueOptions&, U&&...) {
        detail::explain_misfit<detail::types<A...>, detail::types<U...>>();
        return refused<WorkflowHandle<R>>();
    }
    template <class R = Value, class... U>
    WorkflowHandle<R> enqueue_in_transaction(const CallerTransaction& transaction, EnqueueOptions options,
                                             U&&... args) {
        return detail::HandleAccess::make<R>(
            start_in(transaction, {}, std::move(options), to_arguments(args...)));
    }
    /// Tells the workers of a queue at once that it has work; for after the commit of an enqueue_in_transaction.
    void wake(const std::string& queue_name);
    Future<void> wake_async(std::string queue_name);

    /// The handle of a workflow that exists. Throws NonexistentWorkflow.
    template <class R = Value>
    WorkflowHandle<R> retrieve_workflow(const std::string& workflow_id) {
        return detail::HandleAccess::make<R>(retrieve({}, workflow_id));
    }
    /// The same; throws ConflictingWorkflow if the recorded name is not that of the contract.
    template <class R, class... A, class... E>
    WorkflowHandle<R> retrieve_workflow(const Workflow<R(A...), E...>& contract,
                                        const std::string& workflow_id) {
        return detail::HandleAccess::make<R>(retrieve(detail::call_target(contract), workflow_id),
                                             contract.error_types());
    }
    template <class R = Value>
    Future<WorkflowHandle<R>> retrieve_workflow_async(const std::string& workflow_id) {
        auto [future, done] = detail::handle_future<R>(callbacks());
        retrieve_async({}, workflow_id, std::move(done));
        return std::move(future);
    }
    template <class R, class... A, class... E>
    Future<WorkflowHandle<R>> retrieve_workflow_async(const Workflow<R(A...), E...>& contract,
                                                      const std::string& workflow_id) {
        auto [future, done] = detail::handle_future<R>(callbacks(), contract.error_types());
        retrieve_async(detail::call_target(contract), workflow_id, std::move(done));
        return std::move(future);
    }

    /// Sends a message to a workflow, whatever its status. Give an idempotency_key: a repeated call then sends nothing twice.
    /// Throws NonexistentWorkflow if the destination does not exist, EncodeError.
    void send(const std::string& destination_id, const Any& message,
              const std::optional<std::string>& topic = {}, const SendOptions& options = {});
    Future<void> send_async(const std::string& destination_id, const Any& message,
                            const std::optional<std::string>& topic = {}, const SendOptions& options = {});
    /// Sends all messages in one transaction, in this order; none if one of the destinations does not exist.
    /// Throws UsageError if an idempotency_key stands there twice.
    void send_bulk(const std::vector<Message>& messages, const SendBulkOptions& options = {});
    Future<void> send_bulk_async(const std::vector<Message>& messages, const SendBulkOptions& options = {});

    /// send and send_bulk in the caller's own transaction, also to a workflow that it has just enqueued. Receivers are woken by
    /// its commit. NonexistentWorkflow leaves the transaction usable; UsageError as for enqueue_in_transaction.
    void send_in_transaction(const CallerTransaction& transaction, const std::string& destination_id,
                             const Any& message, const std::optional<std::string>& topic = {},
                             const SendOptions& options = {});
    void send_bulk_in_transaction(const CallerTransaction& transaction, const std::vector<Message>& messages,
                                  const SendBulkOptions& options = {});

    /// The current value of an event of a workflow; waits for it up to `timeout`, then nullopt. 0 = one look. Neither the
    /// workflow's existence nor its status matters. Throws DecodeError if the value is no T.
    template <class T = Value>
    std::optional<T> get_event(const std::string& workflow_id, const std::string& key,
                               Duration timeout = std::chrono::seconds(60),
                               const GetEventOptions& options = {}) {
        return as<T>(event(workflow_id, key, timeout, options));
    }
    template <class T = Value>
    Future<std::optional<T>> get_event_async(const std::string& workflow_id, const std::string& key,
                                             Duration timeout = std::chrono::seconds(60),
                                             const GetEventOptions& options = {}) {
        auto state = std::make_shared<detail::FutureState<std::optional<T>>>(callbacks());
        event_async(workflow_id, key, timeout, options, state,
                    [state](detail::OnceFunction<std::optional<Value>()> take, bool failed) {
                        state->complete([take = std::move(take)]() mutable { return as<T>(take()); }, failed);
                    });
        return detail::FutureAccess::make(std::move(state));
    }
    /// All current events of a workflow; empty for an unknown id. Throws DecodeError.
    std::map<std::string, Value> get_all_events(const std::string& workflow_id);
    Future<std::map<std::string, Value>> get_all_events_async(std::string workflow_id);
    /// All messages to a workflow, whether or not it has received them, in the order in which they were sent; empty for an unknown
    /// id. Throws DecodeError.
    std::vector<Notification> get_all_notifications(const std::string& workflow_id);
    Future<std::vector<Notification>> get_all_notifications_async(std::string workflow_id);
    /// The values that all streams of a workflow have by now, by key; a stream that was closed before its first value has none.
    /// Empty for an unknown id. Throws DecodeError.
    std::map<std::string, std::vector<Value>> get_all_stream_entries(const std::string& workflow_id);
    Future<std::map<std::string, std::vector<Value>>> get_all_stream_entries_async(std::string workflow_id);

    /// The values of a stream, one after another, as they are written, until it is closed or its workflow has ended:
    ///
    ///   for (auto& line : client.read_stream<std::string>(id, "log")) …
    ///
    /// Nothing is read before the first value is asked for. Reading throws NonexistentWorkflow, StreamTimeout, DecodeError.
    template <class T = Value>
    Stream<T> read_stream(const std::string& workflow_id, const std::string& key,
                          const ReadStreamOptions& options = {}) {
        return Stream<T>(stream(workflow_id, key, options));
    }
    template <class T = Value>
    AsyncStream<T> read_stream_async(const std::string& workflow_id, const std::string& key,
                                     const ReadStreamOptions& options = {}) {
        return AsyncStream<T>(stream(workflow_id, key, options));
    }
    /// One value of a stream. Throws StreamTimeout, at once if the stream ends before this offset.
    template <class T = Value>
    T read_stream_offset(const std::string& workflow_id, const std::string& key, std::int64_t offset,
                         const ReadStreamOffsetOptions& options = {}) {
        return from_value<T>(stream_value(workflow_id, key, offset, options));
    }
    template <class T = Value>
    Future<T> read_stream_offset_async(const std::string& workflow_id, const std::string& key,
                                       std::int64_t offset, const ReadStreamOffsetOptions& options = {}) {
        auto state = std::make_shared<detail::FutureState<T>>(callbacks());
        stream_value_async(
            workflow_id, key, offset, options, state,
            [state](detail::OnceFunction<Value()> take, bool failed) {
                state->complete([take = std::move(take)]() mutable { return from_value<T>(take()); }, failed);
            });
        return detail::FutureAccess::make(std::move(state));
    }

    // Schedules. Errors: ConfigError (another application owns the name), UsageError (a bad cron expression or zone).

    /// Makes a schedule, ACTIVE. Throws AlreadyExists.
    void create_schedule(const ScheduleOptions& options);
    Future<void> create_schedule_async(const ScheduleOptions& options);
    /// By name.
    std::vector<WorkflowSchedule> list_schedules(const ListSchedulesOptions& options = {});
    Future<std::vector<WorkflowSchedule>> list_schedules_async(ListSchedulesOptions options = {});
    std::optional<WorkflowSchedule> get_schedule(const std::string& name);
    Future<std::optional<WorkflowSchedule>> get_schedule_async(std::string name);
    /// No schedule of the name: nothing. The same for pausing and resuming.
    void delete_schedule(const std::string& name);
    Future<void> delete_schedule_async(std::string name);
    void pause_schedule(const std::string& name);
    Future<void> pause_schedule_async(std::string name);
    void resume_schedule(const std::string& name);
    Future<void> resume_schedule_async(std::string name);
    /// Throws NotFound.
    void update_schedule(const std::string& name, const ScheduleUpdate& update);
    Future<void> update_schedule_async(const std::string& name, const ScheduleUpdate& update);
    /// Makes or changes all of these in one transaction, or none. Those that exist keep their id, their status and their last
    /// firing; others in the table are left alone.
    void apply_schedules(const std::vector<ScheduleOptions>& schedules);
    Future<void> apply_schedules_async(const std::vector<ScheduleOptions>& schedules);
    /// Enqueues the runs that the schedule would have started after `start` and before `end`, in the order of time, also of a
    /// paused one. A run that exists already is not started again; its handle is returned. 100 a transaction: after an error the
    /// same call goes on. Throws NotFound, InitializationError (no application version is known), DecodeError (the context is
    /// in a format that this client does not read).
    std::vector<WorkflowHandle<Value>> backfill_schedule(const std::string& schedule_name, Instant start,
                                                         Instant end, const RunScheduleOptions& options = {});
    Future<std::vector<WorkflowHandle<Value>>> backfill_schedule_async(
        const std::string& schedule_name, Instant start, Instant end, const RunScheduleOptions& options = {});
    /// Enqueues one run now. Throws as backfill_schedule.
    WorkflowHandle<Value> trigger_schedule(const std::string& schedule_name,
                                           const RunScheduleOptions& options = {});
    Future<WorkflowHandle<Value>> trigger_schedule_async(const std::string& schedule_name,
                                                         const RunScheduleOptions& options = {});

    // Queue definitions. Workflows may be enqueued on queues that nobody has defined.

    /// Defines a queue, or changes (`keep`: leaves) one that is defined; returns it as it is then. Running applications notice.
    /// Throws UsageError for limits that contradict each other and for update_if_latest_version (a client has no version),
    /// ConfigError if another application owns the name.
    QueueDefinition register_queue(const QueueDefinition& queue,
                                   QueueConflict on_conflict = QueueConflict::update);
    Future<QueueDefinition> register_queue_async(const QueueDefinition& queue,
                                                 QueueConflict on_conflict = QueueConflict::update);
    /// Changes a queue in one transaction: `change` gets it as it is, and may be called again. Name, owner and partition_queue
    /// stay. Running applications notice within their polling interval. Returns it as it is then. Throws NotFound; UsageError
    /// as register_queue, and for limits of a queue of the old partitioned form (register it anew instead).
    QueueDefinition update_queue(const std::string& name,
                                 const std::function<void(QueueDefinition&)>& change);
    Future<QueueDefinition> update_queue_async(std::string name,
                                               std::function<void(QueueDefinition&)> change);
    std::optional<QueueDefinition> retrieve_queue(const std::string& name);
    Future<std::optional<QueueDefinition>> retrieve_queue_async(std::string name);
    /// By name: those of the application (default: of the client) and those without an owner.
    std::vector<QueueDefinition> list_queues(const std::string& application_name = {});
    Future<std::vector<QueueDefinition>> list_queues_async(std::string application_name = {});
    /// Work that waits in it stays. No queue of the name: nothing.
    void delete_queue(const std::string& name);
    Future<void> delete_queue_async(std::string name);

    /// Waits until one of these workflows has ended, however, and returns its handle; which one of several, is not said.
    /// Ids that do not exist never end. Throws UsageError (no handles, or one twice), Timeout.
    template <class R>
    WorkflowHandle<R> wait_first(const std::vector<WorkflowHandle<R>>& handles,
                                 const WaitWorkflowsOptions& options = {}) {
        return handles.at(wait_first_of(detail::ids_of(handles), options));
    }
    template <class R>
    Future<WorkflowHandle<R>> wait_first_async(std::vector<WorkflowHandle<R>> handles,
                                               const WaitWorkflowsOptions& options = {}) {
        auto state = std::make_shared<detail::FutureState<WorkflowHandle<R>>>(callbacks());
        const std::vector<std::string> ids = detail::ids_of(handles);
        wait_many_async(ids, true, options, state,
                        [state, handles = std::move(handles)](detail::OnceFunction<std::size_t()> take,
                                                              bool failed) mutable {
                            state->complete(
                                [take = std::move(take), handles = std::move(handles)]() mutable {
                                    return handles.at(take());
                                },
                                failed);
                        });
        return detail::FutureAccess::make(std::move(state));
    }
    /// Waits until all of them have ended; returns them as given. Throws NonexistentWorkflow if one was deleted, Timeout.
    template <class R>
    std::vector<WorkflowHandle<R>> wait_all(std::vector<WorkflowHandle<R>> handles,
                                            const WaitWorkflowsOptions& options = {}) {
        wait_for_all(detail::ids_of(handles), options);
        return handles;
    }
    template <class R>
    Future<std::vector<WorkflowHandle<R>>> wait_all_async(std::vector<WorkflowHandle<R>> handles,
                                                          const WaitWorkflowsOptions& options = {}) {
        auto state = std::make_shared<detail::FutureState<std::vector<WorkflowHandle<R>>>>(callbacks());
        const std::vector<std::string> ids = detail::ids_of(handles);
        wait_many_async(ids, false, options, state,
                        [state, handles = std::move(handles)](detail::OnceFunction<std::size_t()> take,
                                                              bool failed) mutable {
                            state->complete(
                                [take = std::move(take), handles = std::move(handles)]() mutable {
                                    take();
                                    return std::move(handles);
                                },
                                failed);
                        });
        return detail::FutureAccess::make(std::move(state));
    }

    /// The workflows that match, by creation time. Payloads that cannot be decoded are shown as their text,
    /// with a warning in the log. Throws QueryTimeout.
    std::vector<WorkflowStatus> list_workflows(const ListWorkflowsOptions& options = {});
    Future<std::vector<WorkflowStatus>> list_workflows_async(ListWorkflowsOptions options = {});
    /// Those with a queue and of status DELAYED, ENQUEUED or PENDING: what waits in queues and what runs from
    /// them.
    std::vector<WorkflowStatus> list_queued_workflows(const ListQueuedWorkflowsOptions& options = {});
    Future<std::vector<WorkflowStatus>> list_queued_workflows_async(ListQueuedWorkflowsOptions options = {});
    /// The recorded steps of a workflow in order; empty for an unknown id.
    std::vector<StepInfo> list_workflow_steps(const std::string& workflow_id,
                                              const ListStepsOptions& options = {});
    Future<std::vector<StepInfo>> list_workflow_steps_async(std::string workflow_id,
                                                            ListStepsOptions options = {});

    /// The row of a workflow with input and output; absent for an unknown id.
    std::optional<WorkflowStatus> get_workflow_status(const std::string& workflow_id);
    Future<std::optional<WorkflowStatus>> get_workflow_status_async(std::string workflow_id);

    /// Why a workflow does not run: which limit is reached, which version nobody has, how many come first … A look at one instant,
    /// from the database alone: of executors, those of this library are seen, by their leases. Throws NonexistentWorkflow;
    /// ConfigError on databases from before queues had owners.
    Explain explain(const std::string& workflow_id);
    Future<Explain> explain_async(std::string workflow_id);

    // --- managing (py: dbos/_client.py). Writes of PostgreSQL wait at most 30 s for a lock, then throw DatabaseError of
    // kind `blocked`. Calls that must not be repeated after a lost acknowledgement throw OutcomeUnknown: rewind_workflow,
    // update_workflow_attributes with merge, set_latest_version, rename_application, and resume_workflow on databases
    // older than version 123.

    /// Cancels a workflow that has not ended with SUCCESS or ERROR; others and unknown ids are left alone. A
    /// running one is interrupted at its next step. It loses its queue and its deduplication id.
    /// With `cancel_children` every level of children is a transaction of its own; an error says how far it came.
    void cancel_workflow(const std::string& workflow_id, const CancelOptions& options = {});
    Future<void> cancel_workflow_async(std::string workflow_id, CancelOptions options = {});
    void cancel_workflows(const std::vector<std::string>& workflow_ids, const CancelOptions& options = {});
    Future<void> cancel_workflows_async(std::vector<std::string> workflow_ids, CancelOptions options = {});

    /// Puts a workflow that is cancelled, dead-lettered, or has not ended back into a queue, where it goes on after its last
    /// recorded step; one that has ended with SUCCESS or ERROR is left alone. Its timeout begins anew, its deduplication id is
    /// given up, its version stays. A run in progress loses it at its next step.
    /// Throws NonexistentWorkflow; by contract, ConflictingWorkflow if the recorded name is another one.
    template <class R = Value>
    WorkflowHandle<R> resume_workflow(const std::string& workflow_id, const ResumeOptions& options = {}) {
        return detail::HandleAccess::make<R>(resume({}, workflow_id, options));
    }
    template <class R, class... A, class... E>
    WorkflowHandle<R> resume_workflow(const Workflow<R(A...), E...>& contract, const std::string& workflow_id,
                                      const ResumeOptions& options = {}) {
        return detail::HandleAccess::make<R>(resume(detail::call_target(contract), workflow_id, options),
                                             contract.error_types());
    }
    template <class R = Value>
    Future<WorkflowHandle<R>> resume_workflow_async(std::string workflow_id, ResumeOptions options = {}) {
        auto [future, done] = detail::handle_future<R>(callbacks());
        resume_async({}, std::move(workflow_id), std::move(options), std::move(done));
        return std::move(future);
    }
    template <class R, class... A, class... E>
    Future<WorkflowHandle<R>> resume_workflow_async(const Workflow<R(A...), E...>& contract,
                                                    std::string workflow_id, ResumeOptions options = {}) {
        auto [future, done] = detail::handle_future<R>(callbacks(), contract.error_types());
        resume_async(detail::call_target(contract), std::move(workflow_id), std::move(options),
                     std::move(done));
        return std::move(future);
    }
    /// Handles in the order of the ids. If one of them is unknown nothing is changed, and NonexistentWorkflow names all
    /// that are.
    template <class R = Value>
    std::vector<WorkflowHandle<R>> resume_workflows(const std::vector<std::string>& workflow_ids,
                                                    const ResumeOptions& options = {}) {
        return detail::typed_handles<R>(resume_many(workflow_ids, options));
    }
    template <class R = Value>
    Future<std::vector<WorkflowHandle<R>>> resume_workflows_async(std::vector<std::string> workflow_ids,
                                                                  ResumeOptions options = {}) {
        auto [future, done] = detail::handles_future<R>(callbacks());
        resume_many_async(std::move(workflow_ids), std::move(options), std::move(done));
        return std::move(future);
    }

    /// Moves the earliest start of a DELAYED workflow: so long from now (by the clock of the database; SQLite: of this
    /// computer), or to an instant. One that is over makes it due at once. Others and unknown ids are left alone.
    void set_workflow_delay(const std::string& workflow_id, Duration delay);
    void set_workflow_delay(const std::string& workflow_id, Instant until);
    Future<void> set_workflow_delay_async(std::string workflow_id, Duration delay);
    Future<void> set_workflow_delay_async(std::string workflow_id, Instant until);
    /// Of an ENQUEUED or DELAYED workflow; others and unknown ids are left alone. 0 to 2 147 483 647, lower goes first.
    void set_workflow_priority(const std::string& workflow_id, std::int64_t priority);
    Future<void> set_workflow_priority_async(std::string workflow_id, std::int64_t priority);
    /// Replaces the attributes of a workflow of any status by this object, or with `merge` its outermost keys;
    /// std::nullopt removes them. Unknown ids are left alone.
    void update_workflow_attributes(const std::string& workflow_id, const std::optional<Any>& attributes,
                                    const UpdateAttributesOptions& options = {});
    Future<void> update_workflow_attributes_async(std::string workflow_id, std::optional<Any> attributes,
                                                  UpdateAttributesOptions options = {});

    /// Removes workflows of any status with their steps, messages, events and streams; unknown ids are left alone. A run in
    /// progress fails at its next step. Waits for their results end with NonexistentWorkflow.
    /// With `delete_children` every level of children is a transaction of its own; an error says how far it came.
    void delete_workflow(const std::string& workflow_id, const DeleteOptions& options = {});
    Future<void> delete_workflow_async(std::string workflow_id, DeleteOptions options = {});
    void delete_workflows(const std::vector<std::string>& workflow_ids, const DeleteOptions& options = {});
    Future<void> delete_workflows_async(std::vector<std::string> workflow_ids, DeleteOptions options = {});

    /// Starts a new workflow from a step of another one, whatever the status of that: it gets the arguments, all steps below
    /// `start_step`, and the events and stream values that they have written; those steps replay, the rest runs. Number
    /// the steps as list_workflow_steps() does (Python counts from 1, the others from 0). Messages, priority, deduplication
    /// id and timeout are not copied.
    /// Throws NonexistentWorkflow, WorkflowIdInUse; by contract, ConflictingWorkflow if the recorded name is another one.
    template <class R = Value>
    WorkflowHandle<R> fork_workflow(const std::string& workflow_id, std::int64_t start_step,
                                    const ForkOptions& options = {}) {
        return detail::HandleAccess::make<R>(fork({}, workflow_id, start_step, options));
    }
    template <class R, class... A, class... E>
    WorkflowHandle<R> fork_workflow(const Workflow<R(A...), E...>& contract, const std::string& workflow_id,
                                    std::int64_t start_step, const ForkOptions& options = {}) {
        return detail::HandleAccess::make<R>(
            fork(detail::call_target(contract), workflow_id, start_step, options), contract.error_types());
    }
    template <class R = Value>
    Future<WorkflowHandle<R>> fork_workflow_async(const std::string& workflow_id, std::int64_t start_step,
                                                  const ForkOptions& options = {}) {
        auto [future, done] = detail::handle_future<R>(callbacks());
        fork_async({}, workflow_id, start_step, options, std::move(done));
        return std::move(future);
    }
    template <class R, class... A, class... E>
    Future<WorkflowHandle<R>> fork_workflow_async(const Workflow<R(A...), E...>& contract,
                                                  const std::string& workflow_id, std::int64_t start_step,
                                                  const ForkOptions& options = {}) {
        auto [future, done] = detail::handle_future<R>(callbacks(), contract.error_types());
        fork_async(detail::call_target(contract), workflow_id, start_step, options, std::move(done));
        return std::move(future);
    }
    /// All of them in one transaction, or none. Handles in order.
    template <class R = Value>
    std::vector<WorkflowHandle<R>> fork_workflows(const std::vector<ForkRequest>& requests) {
        return detail::typed_handles<R>(fork_many(requests));
    }
    template <class R = Value>
    Future<std::vector<WorkflowHandle<R>>> fork_workflows_async(const std::vector<ForkRequest>& requests) {
        auto [future, done] = detail::handles_future<R>(callbacks());
        fork_many_async(requests, std::move(done));
        return std::move(future);
    }

    /// A fork of each workflow at the step where it failed, or as the options say, in the order of the ids; all or none.
    /// Throws NonexistentWorkflow; NotFound if a workflow has no step of the name that was asked for; UsageError. (py:
    /// dbos/_workflow_commands.py fork_from_failure, up to 2.30.)
    template <class R = Value>
    std::vector<WorkflowHandle<R>> fork_from_failure(const std::vector<std::string>& workflow_ids,
                                                     const ForkFromFailureOptions& options = {}) {
        return detail::typed_handles<R>(fork_failed(workflow_ids, options));
    }
    template <class R = Value>
    Future<std::vector<WorkflowHandle<R>>> fork_from_failure_async(std::vector<std::string> workflow_ids,
                                                                   ForkFromFailureOptions options = {}) {
        auto [future, done] = detail::handles_future<R>(callbacks());
        fork_failed_async(std::move(workflow_ids), std::move(options), std::move(done));
        return std::move(future);
    }

    /// Runs an ended workflow again from a step on, under its own id: steps, events and messages from there on are removed,
    /// with the result. Stream values stay, and new ones follow them; only an end of the stream is removed.
    /// Throws NonexistentWorkflow; UsageError if it has not ended; ConfigError on databases older than version 123; by
    /// contract, ConflictingWorkflow if the recorded name is another one.
    template <class R = Value>
    WorkflowHandle<R> rewind_workflow(const std::string& workflow_id, std::int64_t start_step = 0,
                                      const RewindOptions& options = {}) {
        return detail::HandleAccess::make<R>(rewind({}, workflow_id, start_step, options));
    }
    template <class R, class... A, class... E>
    WorkflowHandle<R> rewind_workflow(const Workflow<R(A...), E...>& contract, const std::string& workflow_id,
                                      std::int64_t start_step = 0, const RewindOptions& options = {}) {
        return detail::HandleAccess::make<R>(
            rewind(detail::call_target(contract), workflow_id, start_step, options), contract.error_types());
    }
    template <class R = Value>
    Future<WorkflowHandle<R>> rewind_workflow_async(const std::string& workflow_id,
                                                    std::int64_t start_step = 0,
                                                    const RewindOptions& options = {}) {
        auto [future, done] = detail::handle_future<R>(callbacks());
        rewind_async({}, workflow_id, start_step, options, std::move(done));
        return std::move(future);
    }
    template <class R, class... A, class... E>
    Future<WorkflowHandle<R>> rewind_workflow_async(const Workflow<R(A...), E...>& contract,
                                                    const std::string& workflow_id,
                                                    std::int64_t start_step = 0,
                                                    const RewindOptions& options = {}) {
        auto [future, done] = detail::handle_future<R>(callbacks(), contract.error_types());
        rewind_async(detail::call_target(contract), workflow_id, start_step, options, std::move(done));
        return std::move(future);
    }

    // --- versions. Both spellings of the SDKs.

    /// The registered versions of the client's application, and those without an owner (all, for a client without an
    /// application_name), newest first. Throws QueryTimeout.
    std::vector<VersionInfo> list_application_versions();
    Future<std::vector<VersionInfo>> list_application_versions_async();
    std::vector<VersionInfo> list_versions();
    Future<std::vector<VersionInfo>> list_versions_async();
    /// The newest of them. Throws InitializationError if there is none.
    VersionInfo get_latest_application_version();
    Future<VersionInfo> get_latest_application_version_async();
    VersionInfo get_latest_version();
    Future<VersionInfo> get_latest_version_async();
    /// Makes a registered version the latest: it takes the workflows that have no version. `application_name` = whose version
    /// is meant; default: the client's. A version without an owner is then owned by it.
    /// Throws NotFound for an unknown version (the SDKs are silent); ConfigError if another application owns it.
    void set_latest_application_version(const std::string& version_name,
                                        const std::string& application_name = {});
    Future<void> set_latest_application_version_async(std::string version_name,
                                                      std::string application_name = {});
    void set_latest_version(const std::string& version_name, const std::string& application_name = {});
    Future<void> set_latest_version_async(std::string version_name, std::string application_name = {});

    /// Gives all rows of one application another name: queues, schedules, versions and active workflows in one transaction,
    /// then ended workflows and steps in batches. `old_name` std::nullopt: only rows without an owner, with
    /// `adopt_unclaimed_rows`. Must not run while the application runs: with a living C++ executor of the old name it throws
    /// ConfigError. May be called again after an interruption.
    RenamedRows rename_application(const std::optional<std::string>& old_name, const std::string& new_name,
                                   const RenameApplicationOptions& options = {});
    Future<RenamedRows> rename_application_async(std::optional<std::string> old_name, std::string new_name,
                                                 RenameApplicationOptions options = {});

    // --- upkeep. The SDKs have had these in their own processes, and have given them up.

    /// Removes workflows of the whole database, whosever they are, that ended long ago, with all that belongs to them. Active
    /// workflows stay, however old. One transaction a batch: an interrupted call has done a part, and the next one goes on there.
    /// Passes by whoever else collects, of any SDK (the same lock). Returns what it removed, as far as it was acknowledged.
    /// Throws UsageError, ConfigError on databases from before ends were recorded.
    CollectedRows garbage_collect(const GarbageCollectOptions& options);
    Future<CollectedRows> garbage_collect_async(GarbageCollectOptions options);
    /// Cancels the active workflows of the client's application, and those without an owner (all, for a client without an
    /// application_name), that were created at or before `cutoff`; 1000 a transaction. Returns how many.
    std::int64_t global_timeout(Instant cutoff);
    Future<std::int64_t> global_timeout_async(Instant cutoff);

    /// Groups of workflows, or of recorded steps, with what was asked for of each; ordered by their columns. Only names of
    /// the client's application, as in list_workflows(). Throws QueryTimeout.
    std::vector<WorkflowAggregate> get_workflow_aggregates(const WorkflowAggregatesOptions& options);
    Future<std::vector<WorkflowAggregate>> get_workflow_aggregates_async(WorkflowAggregatesOptions options);
    std::vector<StepAggregate> get_step_aggregates(const StepAggregatesOptions& options);
    Future<std::vector<StepAggregate>> get_step_aggregates_async(StepAggregatesOptions options);

   private:
    friend struct detail::ClientAccess;
    friend class detail::DebouncerBase;
    struct Impl;
    explicit Client(Impl* impl);  // takes it over

    std::shared_ptr<detail::HandleState> start(const detail::CallTarget& target, EnqueueOptions&& options,
                                               Arguments&& arguments);
    void start_async(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                     detail::HandleDone done);
    std::vector<client::PreparedStart> prepared(std::vector<EnqueueRequest>&& requests);
    std::vector<std::shared_ptr<detail::HandleState>> bulk(std::vector<EnqueueRequest>&& requests);
    using States = std::vector<std::shared_ptr<detail::HandleState>>;
    void bulk_async(std::vector<EnqueueRequest>&& requests,
                    detail::OnceFunction<void(detail::OnceFunction<States()> take, bool failed)> done);
    template <class R>
    static std::vector<WorkflowHandle<R>> handles(
        const std::vector<std::shared_ptr<detail::HandleState>>& states) {
        std::vector<WorkflowHandle<R>> typed;
        typed.reserve(states.size());
        for (const auto& state : states) typed.push_back(detail::HandleAccess::make<R>(state));
        return typed;
    }
    std::shared_ptr<detail::HandleState> start_in(const CallerTransaction& transaction,
                                                  const detail::CallTarget& target, EnqueueOptions&& options,
                                                  Arguments&& arguments);
    std::shared_ptr<detail::HandleState> retrieve(const detail::CallTarget& target,
                                                  const std::string& workflow_id);
    void retrieve_async(const detail::CallTarget& target, const std::string& workflow_id,
                        detail::HandleDone done);
    const std::shared_ptr<detail::CallbackQueue>& callbacks() const noexcept;
    std::optional<Value> event(const std::string& workflow_id, const std::string& key, Duration timeout,
                               const GetEventOptions& options);
    void event_async(
        const std::string& workflow_id, const std::string& key, Duration timeout,
        const GetEventOptions& options, const std::shared_ptr<detail::FutureCore>& future,
        detail::OnceFunction<void(detail::OnceFunction<std::optional<Value>()> take, bool failed)> done);
    std::shared_ptr<detail::StreamSource> stream(const std::string& workflow_id, const std::string& key,
                                                 const ReadStreamOptions& options);
    Value stream_value(const std::string& workflow_id, const std::string& key, std::int64_t offset,
                       const ReadStreamOffsetOptions& options);
    void stream_value_async(const std::string& workflow_id, const std::string& key, std::int64_t offset,
                            const ReadStreamOffsetOptions& options,
                            const std::shared_ptr<detail::FutureCore>& future,
                            detail::OnceFunction<void(detail::OnceFunction<Value()> take, bool failed)> done);
    std::size_t wait_first_of(const std::vector<std::string>& ids, const WaitWorkflowsOptions& options);
    void wait_for_all(const std::vector<std::string>& ids, const WaitWorkflowsOptions& options);
    void wait_many_async(
        const std::vector<std::string>& ids, bool first, const WaitWorkflowsOptions& options,
        const std::shared_ptr<detail::FutureCore>& future,
        detail::OnceFunction<void(detail::OnceFunction<std::size_t()> take, bool failed)> done);

    template <class T>
    static std::optional<T> as(std::optional<Value> value) {
        if (!value) return std::nullopt;
        return from_value<T>(*value);
    }

    std::shared_ptr<detail::HandleState> resume(const detail::CallTarget& target,
                                                const std::string& workflow_id, const ResumeOptions& options);
    void resume_async(const detail::CallTarget& target, std::string workflow_id, ResumeOptions options,
                      detail::HandleDone done);
    detail::HandleStates resume_many(const std::vector<std::string>& workflow_ids,
                                     const ResumeOptions& options);
    void resume_many_async(std::vector<std::string> workflow_ids, ResumeOptions options,
                           detail::HandlesDone done);
    std::shared_ptr<detail::HandleState> fork(const detail::CallTarget& target,
                                              const std::string& workflow_id, std::int64_t start_step,
                                              const ForkOptions& options);
    void fork_async(const detail::CallTarget& target, const std::string& workflow_id, std::int64_t start_step,
                    const ForkOptions& options, detail::HandleDone done);
    detail::HandleStates fork_many(const std::vector<ForkRequest>& requests);
    void fork_many_async(const std::vector<ForkRequest>& requests, detail::HandlesDone done);
    detail::HandleStates fork_failed(const std::vector<std::string>& workflow_ids,
                                     const ForkFromFailureOptions& options);
    void fork_failed_async(std::vector<std::string> workflow_ids, ForkFromFailureOptions options,
                           detail::HandlesDone done);
    std::shared_ptr<detail::HandleState> rewind(const detail::CallTarget& target,
                                                const std::string& workflow_id, std::int64_t start_step,
                                                const RewindOptions& options);
    void rewind_async(const detail::CallTarget& target, const std::string& workflow_id,
                      std::int64_t start_step, const RewindOptions& options, detail::HandleDone done);

    template <class Result>
    static Result refused();  // never defined: the static_assert before it has spoken

    detail::Owned<Impl> impl_;
};

/// The name of the Python SDK.
using DBOSClient = Client;

}  // namespace dbos
