// dbos::App: a process that runs durable workflows.
//
//   int main() {
//       dbos::App app({.name = "shop", .system_database_url = "sqlite:///shop.sqlite"});
//       app.implement(Checkout, checkout);
//       app.register_queue({.name = "orders", .worker_concurrency = 16});
//       app.launch();                                      // migrates, recovers, serves
//       auto handle = app.start_workflow(Checkout, {.workflow_id = "o-17"}, Order{"o-17", 4200});
//       std::cout << handle.get_result().charge_id << '\n';
//   }
//
// One object is one executor: it holds a lease under an id of its own, and peers of the same application and version take its
// workflows over when it dies. Several Apps may live in one process. Thread-safe after launch(); before it, one thread.
#pragma once

#include <chrono>
#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "dbos/client.hpp"
#include "dbos/context.hpp"
#include "dbos/datasource.hpp"
#include "dbos/detail/owned.hpp"
#include "dbos/export.hpp"
#include "dbos/options.hpp"
#include "dbos/schedule.hpp"
#include "dbos/workflow.hpp"

namespace dbos {

/// How a body is run.
struct ImplementOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// A workflow whose process died this often while it ran is dead-lettered (MAX_RECOVERY_ATTEMPTS_EXCEEDED): it runs at
    /// most once more than that. 0 = no limit.
    std::int64_t max_recovery_attempts = 100;
    /// Whether a long wait of the body may free its thread: an Interrupt unwinds the body, which is replayed when the wait is
    /// over. false: for a body that cannot be unwound; its waits hold a thread each.
    bool park = true;
    /// The authenticated roles must hold one of these; the first one that they hold is the body's assumed_role(). Else the workflow
    /// ends with NotAuthorized on whatever way it was started, and its body does not run. Empty = everybody may.
    std::vector<std::string> required_roles = {};
};

namespace detail {

/// What the runtime keeps of an implemented workflow.
struct Implementation {
    std::string name = {};
    std::function<Value(Context&, const Arguments&)> body = {};
    std::span<const ErrorType> errors = {};
    ImplementOptions options = {};
};

template <class F, class R, class... A>
constexpr bool require_body() {
    using Fn = std::remove_cvref_t<F>;
    constexpr bool callable = std::is_invocable_v<const Fn&, Context&, A...>;
    constexpr bool callable_if_mutable = std::is_invocable_v<Fn&, Context&, A...>;
    static_assert(callable || !callable_if_mutable,
                  "dbos: bodies run concurrently, so the body must be callable as const: no mutable lambda, "
                  "no non-const operator()");
    static_assert(callable || callable_if_mutable || !std::is_invocable_v<const Fn&, Context, A...>,
                  "dbos: the body must take dbos::Context& by reference, not by value");
    static_assert(callable || callable_if_mutable,
                  "dbos: the body cannot be called as body(dbos::Context&, parameters of the workflow...)");
    if constexpr (callable) {
        static_assert(!std::is_nothrow_invocable_v<const Fn&, Context&, A...>,
                      "dbos: a noexcept body cannot be implemented: waits leave it by exception");
        static_assert(std::is_same_v<std::invoke_result_t<const Fn&, Context&, A...>, R>,
                      "dbos: the body's result type is not the result type of the workflow");
    }
    return callable;
}

template <class Time>
constexpr void require_schedule_time() {
    static_assert(std::is_same_v<Time, std::chrono::system_clock::time_point> || std::is_same_v<Time, Value>,
                  "dbos: the first parameter of a scheduled workflow is the instant of the tick: a "
                  "std::chrono::system_clock::time_point");
}

}  // namespace detail

/// See the head of this file.
class DBOS_EXPORT App {
   public:
    /// Checks the options; connects to nothing. Throws ConfigError (URL, name) or UsageError.
    explicit App(AppOptions options);
    /// shutdown(), then waits until the last step has ended, logging every 10 s what it waits for.
    ~App();
    App(const App&) = delete;
    App& operator=(const App&) = delete;

    /// Attaches a body to a workflow, before launch(). It is invoked as std::as_const(body)(context, arguments...), from several
    /// threads at once; its result is exactly the workflow's. Throws UsageError if the name is implemented already.
    /// Member functions: app.implement(Checkout, std::bind_front(&Shop::checkout, &shop)).
    template <class R, class... A, class... E, class F>
    void implement(const Workflow<R(A...), E...>& workflow, F&& body, const ImplementOptions& options = {}) {
        if constexpr (detail::require_body<F, R, A...>()) {
            add(detail::Implementation{.name = std::string(workflow.name()),
                                       .body =
                                           [fn = std::decay_t<F>(std::forward<F>(body)), workflow](
                                               Context& context, const Arguments& arguments) {
                                               auto args = detail::decode_arguments(workflow, arguments);
                                               auto call = [&](auto&&... arg) -> R {
                                                   return std::as_const(fn)(context, std::move(arg)...);
                                               };
                                               if constexpr (std::is_void_v<R>) {
                                                   std::apply(call, std::move(args));
                                                   return Value();
                                               } else {
                                                   return to_value(std::apply(call, std::move(args)));
                                               }
                                           },
                                       .errors = workflow.error_types(),
                                       .options = options});
        }
    }

    /// Declares a queue that this application serves, before or after launch(). At launch its row in the system database is
    /// inserted, or updated as `on_conflict` says. Throws UsageError for limits that do not fit, ConfigError if another
    /// application owns the name.
    void register_queue(const QueueOptions& options);

    /// Declares a schedule of a workflow of this App, before launch(): the workflow gets the instant of the tick and the context.
    /// launch() inserts its row, or gives it this definition if it differs and this version of the application is the latest one
    /// (`apply_schedules`: whether it is paused and when it was fired last stay). A row whose declaration has gone from the program
    /// goes on: delete it with client().delete_schedule().
    ///
    ///     app.schedule(DailyReport, {.schedule_name = "daily", .schedule = "0 5 * * *", .cron_timezone = "Europe/Berlin"}, "sales");
    ///
    /// Throws UsageError: a name that is declared already, a cron expression or zone that cannot be used, a time that is not that
    /// of a schedule of this App. launch() throws it for a workflow that is not implemented, and for a queue that nobody has
    /// registered or that is partitioned, for a run of a schedule has no partition key.
    template <class R, class Time, class C, class... E>
    void schedule(const Workflow<R(Time, C), E...>& workflow, ScheduleOptions options,
                  detail::argument_t<C> context) {
        detail::require_schedule_time<Time>();
        declare_schedule(workflow.name(), std::move(options), to_value(detail::argument<C>::get(context)));
    }
    /// The same for a workflow that can do without a context.
    template <class R, class Time, class C, class... E>
    void schedule(const Workflow<R(Time, C), E...>& workflow, ScheduleOptions options) {
        detail::require_schedule_time<Time>();
        static_assert(std::is_same_v<C, Value> || !std::is_void_v<typename detail::optional_of<C>::type>,
                      "dbos: this workflow needs a context: schedule(workflow, options, context)");
        declare_schedule(workflow.name(), std::move(options), Value());
    }

    /// The system database as a datasource of ctx.transaction: there the step's own record is part of the transaction, which is
    /// the cheapest form. `D` is PostgresDatasource, SqliteDatasource or PqxxDatasource. Usable from launch() to shutdown(), and
    /// only by workflows of this App. Throws UsageError if the system database is of the other kind.
    ///
    /// On SQLite a transaction holds the one writer lock of the file, which every other workflow's next step waits for.
    template <class D>
    D system_datasource() {
        static_assert(
            std::is_constructible_v<D, std::shared_ptr<runtime::Datasource>>,
            "dbos: the system database is lent as dbos::PostgresDatasource, dbos::SqliteDatasource or "
            "dbos::PqxxDatasource");
        return D(system_datasource(D::is_sqlite));
    }
    /// Makes a datasource known: launch() creates its table `datasource_outputs` if it is missing (else its first transaction does
    /// it), so that a lack of rights shows there, and rewind_workflow through client() removes its rows of the steps that run
    /// again. Throws DatabaseError if the App is launched already and the table cannot be made.
    void register_datasource(const detail::DatasourceBase& datasource);

    /// Connects, migrates (unless `run_migrations` is off), takes the executor's lease, recovers what a configured executor id
    /// left behind, and starts to serve. A connection that fails is tried again for 10 s, unless retry_connection_errors is off.
    /// Throws ConfigError, DatabaseError; nothing runs then. Once.
    void launch();
    /// Blocks until SIGINT or SIGTERM arrives (or shutdown() is called on another thread), then shuts down gracefully.
    void wait();
    /// Claims nothing more, lets running workflows end for at most `completion_timeout` (default 0: interrupts them at their next
    /// durable call), and expires the lease. What has not ended stays PENDING and is recovered by peers or the next launch.
    /// Returns the steps that still run, as `workflow id: step name`; their results are still recorded when they end.
    /// Idempotent. Throws UsageError in a body or on a callback thread.
    std::vector<std::string> shutdown(Duration completion_timeout = Duration(0),
                                      Duration step_timeout = Duration(5));

    /// The id of this executor; known after launch().
    const std::string& executor_id() const;
    const std::string& application_version() const;
    /// The client operations on this application's database and name, sharing its connections: enqueue by name, listings,
    /// results, cancel. Valid from launch() to shutdown().
    Client& client();

    // --- starting workflows

    /// Starts a workflow: at once in this process, or on the queue of `options.queue_name`. An id that exists gives a handle on
    /// that workflow, and nothing runs again. Throws UsageError (in a body: use ctx.start_workflow; a queue that is not known;
    /// options that need a queue), ConflictingWorkflow, QueueDeduplicated, DatabaseError.
    template <class R, class... A, class... E>
    WorkflowHandle<R> start_workflow(const Workflow<R(A...), E...>& contract, EnqueueOptions options,
                                     detail::argument_t<A>... args) {
        return detail::HandleAccess::make<R>(start(detail::call_target(contract), std::move(options),
                                                   detail::encode_arguments(contract, args...)),
                                             contract.error_types());
    }
    template <class R, class... A, class... E, class... U>
        requires(!detail::fits<detail::types<A...>, detail::types<U...>>)
    WorkflowHandle<R> start_workflow(const Workflow<R(A...), E...>& contract, EnqueueOptions options,
                                     U&&... args) {
        detail::explain_misfit<detail::types<A...>, detail::types<U...>>();
        return refused(contract, options, args...);
    }
    template <class R = Value, class... U>
    WorkflowHandle<R> start_workflow(EnqueueOptions options, U&&... args) {
        return detail::HandleAccess::make<R>(start({}, std::move(options), to_arguments(args...)));
    }

    /// The same without blocking.
    template <class R, class... A, class... E>
    Future<WorkflowHandle<R>> start_workflow_async(const Workflow<R(A...), E...>& contract,
                                                   EnqueueOptions options, detail::argument_t<A>... args) {
        auto [future, done] = detail::handle_future<R>(callbacks(), contract.error_types());
        start_async(detail::call_target(contract), std::move(options),
                    detail::encode_arguments(contract, args...), std::move(done));
        return std::move(future);
    }
    template <class R, class... A, class... E, class... U>
        requires(!detail::fits<detail::types<A...>, detail::types<U...>>)
    Future<WorkflowHandle<R>> start_workflow_async(const Workflow<R(A...), E...>& contract,
                                                   EnqueueOptions options, U&&... args) {
        detail::explain_misfit<detail::types<A...>, detail::types<U...>>();
        return refused(contract, options, args...);
    }
    template <class R = Value, class... U>
    Future<WorkflowHandle<R>> start_workflow_async(EnqueueOptions options, U&&... args) {
        auto [future, done] = detail::handle_future<R>(callbacks());
        start_async({}, std::move(options), to_arguments(args...), std::move(done));
        return std::move(future);
    }

    /// A handle on any workflow of the database. Throws NonexistentWorkflow; by contract also ConflictingWorkflow.
    template <class R = Value>
    WorkflowHandle<R> retrieve_workflow(const std::string& workflow_id) {
        return client().retrieve_workflow<R>(workflow_id);
    }
    template <class R, class... A, class... E>
    WorkflowHandle<R> retrieve_workflow(const Workflow<R(A...), E...>& workflow,
                                        const std::string& workflow_id) {
        return client().retrieve_workflow(workflow, workflow_id);
    }

    /// For tests and tools of the library.
    struct Impl;
    Impl& impl() noexcept { return *impl_; }

   private:
    void add(detail::Implementation implementation);
    void declare_schedule(std::string_view workflow_name, ScheduleOptions&& options, Value&& context);
    std::shared_ptr<runtime::Datasource> system_datasource(bool sqlite);
    std::shared_ptr<detail::HandleState> start(const detail::CallTarget& target, EnqueueOptions&& options,
                                               Arguments&& arguments);
    void start_async(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                     detail::HandleDone done);
    const std::shared_ptr<detail::CallbackQueue>& callbacks() const;

    template <class R, class... A, class... E, class... U>
    static WorkflowHandle<R> refused(const Workflow<R(A...), E...>&, U&&...);  // never defined

    detail::Owned<Impl> impl_;
};

}  // namespace dbos
