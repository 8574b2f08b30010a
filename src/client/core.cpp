#include "client/core.hpp"

#include <cmath>

#include "client/marks.hpp"
#include "core/durations.hpp"
#include "core/log.hpp"
#include "dbos/error.hpp"
#include "sysdb/database.hpp"
#include "sysdb/listing.hpp"

namespace dbos::client {
namespace {

constexpr std::size_t kWorkerThreads = 2;

/// What a call says and what the contract says; both must agree.
std::string either(const char* option, std::string&& given, std::string_view contract) {
    if (given.empty()) return std::string(contract);
    if (!contract.empty() && given != contract) {
        throw UsageError(std::string(option) + ": expected \"" + std::string(contract) +
                         "\", which the contract says, or nothing, got \"" + given + '"');
    }
    return std::move(given);
}

std::string or_empty(const sysdb::Text& text) { return text.value_or(""); }

std::string quoted(std::string_view text) { return '"' + std::string(text) + '"'; }

WaitOptions result_wait(const GetResultOptions& options, bool seen) {
    core::check_get_result(options);
    WaitOptions wait = wait_options(options.polling_interval, options.timeout);
    wait.fail_if_missing = options.fail_if_missing;
    wait.seen = seen;
    return wait;
}

std::optional<sysdb::Millis> millis(const std::optional<Instant>& instant) {
    return instant ? std::optional(instant->epoch_ms()) : std::nullopt;
}

/// The handle of Client and App.
class ClientHandle final : public detail::HandleState {
   public:
    ClientHandle(std::shared_ptr<Core> core, std::string workflow_id, bool seen)
        : core_(std::move(core)), workflow_id_(std::move(workflow_id)), seen_(seen) {}

    const std::string& workflow_id() const noexcept override { return workflow_id_; }
    Value await(const GetResultOptions& options, std::span<const ErrorType> errors) override {
        core_->check_thread("get_result", true, true);
        return core_->result(workflow_id_, seen_, options, errors);
    }
    void await_async(const GetResultOptions& options, std::span<const ErrorType> errors,
                     const std::shared_ptr<detail::FutureCore>& future, AwaitDone done) override {
        core_->check_thread("get_result_async", true, false);
        core_->result_async(workflow_id_, seen_, options, errors, future, std::move(done));
    }
    WorkflowStatus status() override {
        core_->check_thread("get_status", false, true);
        return core_->status(workflow_id_);
    }
    Future<WorkflowStatus> status_async() override {
        return core_->in_background<WorkflowStatus>(
            [core = core_, id = workflow_id_] { return core->status(id); });
    }
    const std::shared_ptr<detail::CallbackQueue>& callbacks() const noexcept override {
        return core_->callbacks();
    }

   private:
    const std::shared_ptr<Core> core_;
    const std::string workflow_id_;
    const bool seen_;
};

}  // namespace

void rethrow_for_user(std::exception_ptr error) {
    try {
        std::rethrow_exception(std::move(error));
    } catch (const DatabaseError& known) {
        if (known.kind() == DatabaseErrorKind::closed) throw ClientClosed();
        throw;
    }
}

Core::Core(std::shared_ptr<sysdb::SystemDatabase> database, CoreOptions options)
    : options_(std::move(options)),
      formats_(options_.serializer, options_.log),
      database_(std::move(database)),
      own_callbacks_(std::make_shared<Callbacks>(options_.log, options_.executor)),
      callbacks_(own_callbacks_),
      hub_(*database_, {.log = options_.log,
                        .wakeups = options_.wakeups,
                        .retry_connection_errors = options_.retry_connection_errors,
                        .runs_here = options_.runs_here}),
      workers_(kWorkerThreads) {}

Core::~Core() { close(); }

void Core::check_open() const {
    if (closed_.load()) throw ClientClosed();
}

void Core::check_thread(const char* operation, bool writes_or_waits, bool blocks) const {
    check_process(operation);
    if (blocks && own_callbacks_->on_this_thread()) {
        throw UsageError(std::string(operation) +
                         " would block the callback thread, on which every other callback waits: use " +
                         operation + "_async and return its Future from the callback, or add then()");
    }
    if (writes_or_waits && !std::string_view(operation).ends_with("_in_transaction"))
        refuse_in_transaction(operation);
    const std::string* body = thread_marks().body_database;
    if (!writes_or_waits || body == nullptr) return;
    std::string name = operation;
    if (*body != options_.database_key) {
        throw UsageError(
            name +
            " was called in the body of a workflow, where it would run again at every replay; wrap it in "
            "ctx.step (it is a client of another database)");
    }
    std::string twin = name == "get_result" || name == "get_result_async"
                           ? "take the handle from ctx.start_workflow or ctx.retrieve_workflow"
                           : "use " + std::string(options_.body_twin) +
                                 (name.starts_with("enqueue") ? "start_workflow" : name);
    throw UsageError(name +
                     " was called in the body of a workflow, where it would run again at every replay; " +
                     twin + ", or call it in a step");
}

// ---------------------------------------------------------------------------------------------------- starting

PreparedStart Core::prepare(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                            core::StartKind kind) {
    if (target.by_contract && !options.workflow_name.empty()) {
        throw UsageError("workflow_name: expected nothing, because the contract names the workflow " +
                         quoted(target.name) + ", got " + quoted(options.workflow_name));
    }
    const std::string_view name = target.by_contract ? target.name : std::string_view(options.workflow_name);
    core::check_start(options, name, kind);
    const Serializer& format = options.serializer ? *options.serializer : formats_.own();

    PreparedStart start;
    start.policy = {options.duplication_policy, options.workflow_id_reuse_policy};
    sysdb::NewWorkflow& row = start.row;
    row.workflow_id = options.workflow_id ? std::move(*options.workflow_id) : new_id();
    row.token = uuid4();
    row.name = std::string(name);
    row.class_name = text_or_null(either("class_name", std::move(options.class_name), target.class_name));
    row.config_name =
        text_or_null(either("instance_name", std::move(options.instance_name), target.config_name));
    row.inputs = format.encode_inputs(arguments);
    row.serialization = std::string(format.name());
    row.application_version = text_or_null(std::move(options.app_version));
    row.application_name = options.application_name.empty()
                               ? text_or_null(options_.application_name)
                               : text_or_null(std::move(options.application_name));
    row.authenticated_user = text_or_null(std::move(options.authenticated_user));
    row.assumed_role = text_or_null(std::move(options.assumed_role));
    if (!options.authenticated_roles.empty())
        row.authenticated_roles = roles_text(options.authenticated_roles);
    row.queue_name = text_or_null(std::move(options.queue_name));
    row.queue_partition_key = text_or_null(std::move(options.queue_partition_key));
    row.deduplication_id = text_or_null(std::move(options.deduplication_id));
    row.priority = static_cast<std::int32_t>(options.priority);
    if (options.workflow_timeout && !std::isinf(options.workflow_timeout->count())) {
        row.timeout_ms = std::max<std::int64_t>(core::to_millis(*options.workflow_timeout), 1);
    }
    row.status = to_string(Status::enqueued);
    if (options.delay && options.delay->count() > 0) {
        row.status = to_string(Status::delayed);
        row.delay_until_ms = database_->durable_now() + core::to_millis(*options.delay);
    }
    if (options.attributes)
        row.attributes = find_serializer("portable_json")->encode(options.attributes->value());
    return start;
}

std::string Core::settle(const PreparedStart& start, const sysdb::StartResult& result) const {
    using Kind = sysdb::StartResult::Kind;
    const sysdb::NewWorkflow& row = start.row;
    if (result.kind == Kind::deduplicated) {
        if (start.policy.duplication == DuplicationPolicy::return_existing && !result.holder.empty())
            return result.holder;
        throw QueueDeduplicated(row.workflow_id, row.queue_name.value_or(""),
                                row.deduplication_id.value_or(""));
    }
    if (result.kind == Kind::created) return row.workflow_id;
    if (start.policy.reuse == WorkflowIdReusePolicy::reject) {
        throw WorkflowIdInUse(row.workflow_id, result.status, result.name);
    }
    const auto conflict = [&](const char* what, const std::string& theirs, const std::string& ours) {
        throw ConflictingWorkflow(row.workflow_id, "its " + std::string(what) + " is " + quoted(theirs) +
                                                       ", this call asks for " + quoted(ours));
    };
    if (result.name != row.name) conflict("name", result.name, row.name);
    if (or_empty(result.class_name) != or_empty(row.class_name)) {
        conflict("class", or_empty(result.class_name), or_empty(row.class_name));
    }
    if (or_empty(result.config_name) != or_empty(row.config_name)) {
        conflict("instance", or_empty(result.config_name), or_empty(row.config_name));
    }
    // A cancelled workflow has lost its queue.
    if (result.queue_name && row.queue_name && *result.queue_name != *row.queue_name) {
        log_to(options_.log, LogLevel::warn, "the workflow exists in another queue and stays there",
               {{"workflow_id", row.workflow_id},
                {"queue", *result.queue_name},
                {"asked_for", *row.queue_name}});
    }
    return row.workflow_id;
}

std::shared_ptr<detail::HandleState> Core::enqueue(const detail::CallTarget& target, EnqueueOptions&& options,
                                                   Arguments&& arguments) {
    check_open();
    const PreparedStart start =
        prepare(target, std::move(options), std::move(arguments), core::StartKind::enqueue);
    return guarded(*this, [&] {
        for (;;) {
            const sysdb::StartResult result = database_->start_workflow(start.row);
            const bool let_go =
                result.kind == sysdb::StartResult::Kind::deduplicated && result.holder.empty();
            if (!let_go) return handle(settle(start, result), true);
        }
    });
}

std::vector<std::shared_ptr<detail::HandleState>> Core::enqueue_bulk(
    const std::vector<PreparedStart>& starts) {
    check_open();
    std::vector<sysdb::NewWorkflow> rows;
    rows.reserve(starts.size());
    for (const PreparedStart& start : starts) rows.push_back(start.row);
    std::vector<std::string> ids;
    std::vector<BulkRefused::Refusal> refusals;
    bool let_go = false;
    const auto accept = [&](std::span<const sysdb::StartResult> results) {
        ids.clear();
        refusals.clear();
        let_go = false;
        for (std::size_t n = 0; n < results.size(); ++n) {
            try {
                // The holder has just let go: once more, all of it.
                let_go = let_go || (results[n].kind == sysdb::StartResult::Kind::deduplicated &&
                                    results[n].holder.empty());
                ids.push_back(settle(starts[n], results[n]));
            } catch (const Error&) {
                refusals.push_back({n, std::current_exception()});
            }
        }
        return refusals.empty();
    };
    guarded(*this, [&] {
        do {
            database_->start_workflows(rows, accept);
        } while (let_go);
        return 0;
    });
    if (!refusals.empty()) throw BulkRefused(std::move(refusals));
    std::vector<std::shared_ptr<detail::HandleState>> handles;
    handles.reserve(ids.size());
    for (std::string& id : ids) handles.push_back(handle(std::move(id), true));
    return handles;
}

void Core::enqueue_async(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                         detail::HandleDone done) {
    check_open();
    start_async(std::make_shared<PreparedStart>(
                    prepare(target, std::move(options), std::move(arguments), core::StartKind::enqueue)),
                std::move(done));
}

void Core::start_async(std::shared_ptr<PreparedStart> start, detail::HandleDone done) {
    const auto shared_done = std::make_shared<detail::HandleDone>(std::move(done));
    const auto self = shared_from_this();
    const auto completed = [self, start, shared_done](sysdb::StartResult result, std::exception_ptr error) {
        const bool let_go =
            !error && result.kind == sysdb::StartResult::Kind::deduplicated && result.holder.empty();
        if (let_go) {
            // The holder has just let go: once more, but not from the committer's own thread.
            self->workers_.post(
                [self, start, shared_done] { self->start_async(start, std::move(*shared_done)); });
            return;
        }
        const bool may_fail = error || result.kind != sysdb::StartResult::Kind::created;
        (*shared_done)(
            [self, start, result = std::move(result), error]() -> std::shared_ptr<detail::HandleState> {
                if (error) rethrow_for_user(error);
                return self->handle(self->settle(*start, result), true);
            },
            may_fail);
    };
    std::exception_ptr refused;
    try {
        database_->start_workflow_async(start->row, completed);
    } catch (...) {
        refused = std::current_exception();
    }
    if (refused) completed({}, refused);
}

// ---------------------------------------------------------------------------------------------------- watching

std::shared_ptr<detail::HandleState> Core::handle(std::string workflow_id, bool seen) {
    return std::make_shared<ClientHandle>(shared_from_this(), std::move(workflow_id), seen);
}

std::shared_ptr<detail::HandleState> Core::retrieve(const detail::CallTarget& target,
                                                    const std::string& workflow_id) {
    find_row(target, workflow_id);
    return handle(workflow_id, true);
}

sysdb::ListedWorkflow Core::find_row(const detail::CallTarget& target, const std::string& workflow_id) {
    core::check_workflow_id(workflow_id);
    sysdb::ListQuery query;
    query.workflow_ids = {workflow_id};
    query.load_input = false;
    query.load_output = false;
    auto rows = guarded(*this, [&] { return database_->list_workflows(query); });
    if (rows.empty()) throw NonexistentWorkflow(workflow_id);
    if (target.by_contract && rows.front().name != target.name) {
        throw ConflictingWorkflow(workflow_id, "its name is " + quoted(rows.front().name) +
                                                   ", the contract says " + quoted(target.name));
    }
    return std::move(rows.front());
}

WorkflowStatus Core::status(const std::string& workflow_id) {
    return formats_.status(status_row(workflow_id));
}

sysdb::ListedWorkflow Core::status_row(const std::string& workflow_id) {
    auto row = find_row(workflow_id);
    if (!row) throw NonexistentWorkflow(workflow_id);
    return std::move(*row);
}

Value Core::result(const std::string& workflow_id, bool seen, const GetResultOptions& options,
                   std::span<const ErrorType> errors) {
    const WaitOptions wait = result_wait(options, seen);
    const sysdb::ResultRow row = guarded(*this, [&] {
        const BlockingWait waiting;
        return hub_.wait(workflow_id, wait);
    });
    return formats_.result(row, errors);
}

void Core::result_async(const std::string& workflow_id, bool seen, const GetResultOptions& options,
                        std::span<const ErrorType> errors, const std::shared_ptr<detail::FutureCore>& future,
                        detail::HandleState::AwaitDone done) {
    const WaitOptions wait = result_wait(options, seen);
    const auto self = shared_from_this();
    const auto id = hub_.add(
        workflow_id, wait,
        [self, errors, done = std::move(done)](sysdb::ResultRow row, std::exception_ptr error) mutable {
            const bool failed = error || row.status != to_string(Status::success);
            done(
                [self, errors, row = std::move(row), error]() -> Value {
                    if (error) rethrow_for_user(error);
                    return self->formats_.result(row, errors);
                },
                failed);
        });
    future->on_abandon([self, id] { self->hub_.withdraw(id); });
}

sysdb::ListQuery Core::list_query(const ListWorkflowsOptions& options) const {
    core::check_list(options);
    sysdb::ListQuery query;
    query.workflow_ids = options.workflow_ids.values();
    query.status = options.status.values();
    query.name = options.name.values();
    query.app_version = options.app_version.values();
    query.forked_from = options.forked_from.values();
    query.parent_workflow_id = options.parent_workflow_id.values();
    query.user = options.user.values();
    query.queue_name = options.queue_name.values();
    query.workflow_id_prefix = options.workflow_id_prefix.values();
    query.executor_id = options.executor_id.values();
    query.schedule_name = options.schedule_name.values();
    query.application_name = options.application_name.values();
    // The own name is a default for questions about everything, not for questions about ids.
    if (!query.application_name && !query.workflow_ids && !options_.application_name.empty()) {
        query.application_name = {options_.application_name};
    }
    query.created_from = millis(options.start_time);
    query.created_to = millis(options.end_time);
    query.completed_from = millis(options.completed_after);
    query.completed_to = millis(options.completed_before);
    query.dequeued_from = millis(options.dequeued_after);
    query.dequeued_to = millis(options.dequeued_before);
    query.was_forked_from = options.was_forked_from;
    query.has_parent = options.has_parent;
    query.is_fork = options.is_fork;
    query.class_name = options.class_name.values();
    query.config_name = options.instance_name.values();
    query.deduplication_id = options.deduplication_id.values();
    query.is_debounced = options.is_debounced;
    if (options.attributes && options.attributes->value().size() > 0) {
        if (database_->backend() == sql::Backend::sqlite) {
            throw UsageError(
                "attributes: expected PostgreSQL, because SQLite cannot search in them, got a SQLite "
                "database");
        }
        query.attributes = find_serializer("portable_json")->encode(options.attributes->value());
    }
    query.queues_only = options.queues_only;
    query.limit = options.limit;
    query.offset = options.offset;
    query.descending = options.sort_desc;
    query.load_input = options.load_input;
    query.load_output = options.load_output;
    query.timeout_ms = core::to_millis(options_.query_timeout);
    return query;
}

std::vector<WorkflowStatus> Core::list(const ListWorkflowsOptions& options) {
    return formats_.statuses(list_rows(options));
}

std::vector<sysdb::ListedWorkflow> Core::list_rows(const ListWorkflowsOptions& options) {
    const sysdb::ListQuery query = list_query(options);
    return guarded_listing([&] { return database_->list_workflows(query); });
}

std::vector<StepInfo> Core::steps(const std::string& workflow_id, const ListStepsOptions& options) {
    return formats_.steps(workflow_id, step_rows(workflow_id, options));
}

std::vector<sysdb::StepRecord> Core::step_rows(const std::string& workflow_id,
                                               const ListStepsOptions& options) {
    core::check_steps(options);
    const sysdb::StepQuery query{workflow_id, options.load_output, options.limit, options.offset};
    return guarded(*this, [&] { return database_->list_steps(query); });
}

// ---------------------------------------------------------------------------------------------------- life

void Core::check_connection() {
    guarded(*this, [&] {
        return database_->core().with_connection(
            [](sql::Connection& connection) { return connection.query("SELECT 1").size(); });
    });
}

void Core::check_process(const char* operation) const {
    if (!forked()) return;
    throw UsageError(
        std::string(operation) +
        " was called in a forked child process: threads and connections of a Client or App stay with the "
        "parent; exec another program, or (not with the same SQLite file) make another one after fork()");
}

void Core::close(seam::Duration drain) noexcept {
    if (forked()) return;  // threads, locks and connections are the parent's
    if (closed_.exchange(true)) return;
    hub_.close();
    database_->close(drain);
    hub_.join();
    workers_.close();
    own_callbacks_->close();
}

}  // namespace dbos::client
