// What a body does with other workflows: each a recorded operation.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "client/core.hpp"
#include "client/decode.hpp"
#include "client/marks.hpp"
#include "core/durations.hpp"
#include "core/options.hpp"
#include "platform/planted.hpp"
#include "runtime/errors.hpp"
#include "runtime/executor.hpp"
#include "runtime/manage.hpp"
#include "runtime/operations.hpp"
#include "runtime/probe.hpp"
#include "runtime/record_values.hpp"
#include "runtime/run.hpp"
#include "runtime/waits.hpp"

namespace dbos {

namespace runtime {

namespace {

constexpr const char* kGetStatus = "DBOS.getStatus";

/// A workflow that a body started: its waits are recorded operations of that body.
class ChildHandle final : public detail::HandleState {
   public:
    ChildHandle(Run& run, std::string workflow_id)
        : run_(run.shared_from_this()), workflow_id_(std::move(workflow_id)) {}

    const std::string& workflow_id() const noexcept override { return workflow_id_; }
    Value await(const GetResultOptions& options, std::span<const ErrorType> errors) override {
        return *await_result(*run_, "get_result", workflow_id_, options, errors)->get();
    }
    void await_async(const GetResultOptions&, std::span<const ErrorType>,
                     const std::shared_ptr<detail::FutureCore>&, AwaitDone) override {
        refuse("get_result_async");
    }
    WorkflowStatus status() override;
    Future<WorkflowStatus> status_async() override { refuse("get_status_async"); }
    const std::shared_ptr<detail::CallbackQueue>& callbacks() const noexcept override {
        return run_->executor().callbacks();
    }

   private:
    [[noreturn]] void refuse(const char* operation) const {
        throw UsageError(std::string(operation) +
                             " was called on a handle that a workflow's body made: a body waits with "
                             "get_result(), which is recorded",
                         run_->id());
    }
    const std::shared_ptr<Run> run_;
    const std::string workflow_id_;
};

WorkflowStatus ChildHandle::status() {
    client::Core& core = run_->executor().core();
    const Value row = run_operation(
        *run_, "get_status", kGetStatus,
        recorded_call(*run_, [&core, id = workflow_id_] { return to_value(core.status_row(id)); }));
    return core.formats().status(from_value<sysdb::ListedWorkflow>(row));
}

/// What an ended workflow's row says, as a record of DBOS.getResult in the application's own format.
void fill_result(Run& run, const sysdb::ResultRow& row, sysdb::StepRecord& record,
                 std::span<const ErrorType> errors) {
    Executor& executor = run.executor();
    const Serializer& format = executor.serializer();
    std::optional<Failure> failure;
    if (row.status == "SUCCESS") {
        try {
            record.output = row.output
                                ? format.encode(executor.format_of(row.serialization).decode(*row.output))
                                : "null";
        } catch (const Error&) {  // undecodable here, or not storable in our format: the same on every replay
            failure = describe(std::current_exception(), errors);
        }
    } else if (row.status == "ERROR") {
        const Serializer* format_of_row = nullptr;
        try {
            format_of_row = &executor.format_of(row.serialization);
        } catch (const DecodeError&) {  // read_failure recognises by shape
        }
        failure = read_failure(row.error.value_or(""), format_of_row);
    } else if (row.status == "CANCELLED") {
        failure = describe(std::make_exception_ptr(AwaitedWorkflowCancelled(row.workflow_id)));
    } else {
        failure = describe(std::make_exception_ptr(AwaitedWorkflowMaxRecovery(row.workflow_id)));
    }
    if (failure) record.error = format.encode_error(*failure);
    record.serialization = std::string(format.name());
}

/// Delivers a DBOS.getResult record: what the awaited workflow failed with is thrown by the awaited contract's types, what the
/// wait itself met (cancelled, dead-lettered, deleted, timed out) as the library's own errors.
Value deliver_result(Run& run, const sysdb::StepRecord& record, const std::string& workflow_id,
                     std::span<const ErrorType> errors) {
    const Serializer& format = run.executor().format_of(record.serialization);
    if (!record.error || record.error->empty())
        return record.output ? format.decode(*record.output) : Value();
    const Failure failure = read_failure(*record.error, &format);
    // The data names the workflow: an awaited workflow may have failed with such an error of its own.
    const auto is = [&](const std::exception_ptr& own) {
        const Failure expected = describe(own);
        return expected.type_name == failure.type_name && expected.data == failure.data;
    };
    if (is(std::make_exception_ptr(AwaitedWorkflowCancelled(workflow_id))))
        throw AwaitedWorkflowCancelled(workflow_id);
    if (is(std::make_exception_ptr(AwaitedWorkflowMaxRecovery(workflow_id))))
        throw AwaitedWorkflowMaxRecovery(workflow_id);
    if (is(std::make_exception_ptr(NonexistentWorkflow(workflow_id)))) throw NonexistentWorkflow(workflow_id);
    if (is(std::make_exception_ptr(Timeout("", workflow_id)))) throw Timeout(failure.message, workflow_id);
    raise_workflow(failure, errors, workflow_id);
}

/// Two numbers with a time-out, as in TypeScript: first the durable deadline, then the result.
class AwaitResult final : public Selectable {
   public:
    AwaitResult(Run& run, const char* call, std::string workflow_id, const GetResultOptions& options,
                std::span<const ErrorType> errors)
        : Selectable(run, call), workflow_id_(std::move(workflow_id)), options_(options), errors_(errors) {
        if (options_.timeout) deadline_.emplace(run, *options_.timeout);
        id_ = run.reserve();
    }

    std::optional<Value> get() override {
        take();
        const InEngine engine(*run_);
        const auto due = make_due();
        if (const auto* record = run_->recorded(id_, kGetResult))
            return deliver_result(*run_, *record, workflow_id_, errors_);
        sysdb::StepRecord record = new_record(*run_, id_, kGetResult);
        record.child_workflow_id = workflow_id_;
        const auto waiting = std::make_shared<Waiting>(run_->executor());
        watch(waiting);
        DurableLoop loop;
        loop.until = due;
        loop.waiting = waiting;
        loop.attempt = [&](bool last) -> std::optional<sysdb::StepRecord> {
            const auto told = waiting->told(source_);
            if (told.row) row_ = told.row;
            if (row_) return commit(record);
            if (told.error) return failed(record, told.error);
            if (!last) return std::nullopt;
            if (look()) return commit(record);
            return failed(record, std::make_exception_ptr(
                                      Timeout("workflow \"" + workflow_id_ + "\" did not end within " +
                                                  std::to_string(options_.timeout->count()) + " s",
                                              workflow_id_)));
        };
        loop.check = [&] { return look(); };
        return deliver_result(*run_, loop.run(*run_), workflow_id_, errors_);
    }
    bool ready() const override { return false; }
    void finish() noexcept override {}
    std::optional<sysdb::Millis> make_due() override {
        return deadline_ ? std::optional(deadline_->make_durable()) : std::nullopt;
    }
    void watch(const std::shared_ptr<Waiting>& waiting) override {
        source_ = waiting->on_result(workflow_id_, polled(options_.polling_interval));
    }
    bool has_come(const Waiting& waiting) const override { return waiting.told(source_).anything(); }
    bool look() override {
        if (run_->recorded(id_, kGetResult)) return true;
        const std::string ids[] = {workflow_id_};
        for (auto& row : run_->executor().database().results(ids)) {
            if (is_terminal(row.status)) row_ = std::move(row);
        }
        return row_.has_value();
    }

   private:
    sysdb::StepRecord commit(sysdb::StepRecord record) {
        fill_result(*run_, *row_, record, errors_);
        record.completed_at_ms = run_->executor().durable_now();
        return run_->record(record, sysdb::OnConflict::first_wins);
    }
    sysdb::StepRecord failed(sysdb::StepRecord record, const std::exception_ptr& error) {
        try {
            std::rethrow_exception(error);
        } catch (const NonexistentWorkflow&) {
        } catch (const Timeout&) {
        } catch (const DatabaseError& failure) {
            run_->give_up(failure.kind());
            run_->throw_if_interrupted();
        } catch (const ClientClosed&) {
            throw Interrupt(Interrupt::Reason::shutdown, run_->id());
        }
        const Serializer& format = run_->executor().serializer();
        record.error = format.encode_error(describe(error));
        record.serialization = std::string(format.name());
        record.completed_at_ms = run_->executor().durable_now();
        return run_->record(record, sysdb::OnConflict::first_wins);
    }

    const std::string workflow_id_;
    const GetResultOptions options_;
    const std::span<const ErrorType> errors_;
    std::optional<Deadline> deadline_;
    std::int32_t id_ = 0;
    std::size_t source_ = 0;
    std::optional<sysdb::ResultRow> row_;
};

}  // namespace

std::shared_ptr<detail::HandleState> body_handle(Run& run, std::string workflow_id) {
    return std::make_shared<ChildHandle>(run, std::move(workflow_id));
}

void inherit_authentication(Run& run, sysdb::NewWorkflow& child) {
    if (child.authenticated_user) return;
    const auto own = run.authentication();
    if (!own->user.empty()) child.authenticated_user = own->user;
    if (!child.authenticated_roles && !own->roles.empty())
        child.authenticated_roles = client::roles_text(own->roles);
}

std::shared_ptr<Selectable> await_result(Run& run, const char* call, const std::string& workflow_id,
                                         const GetResultOptions& options, std::span<const ErrorType> errors) {
    run.enter(call);
    core::check_get_result(options);
    return std::make_shared<AwaitResult>(run, call, workflow_id, options, errors);
}

namespace {

/// A start of a child that takes the next number of the body.
struct ChildCall {
    std::shared_ptr<client::PreparedStart> start;
    const detail::Implementation* implementation = nullptr;
    sysdb::StepRecord record;  // what is recorded, or is to be
    bool recorded = false;
};

ChildCall begin_child(Run& run, const detail::CallTarget& target, EnqueueOptions&& options,
                      Arguments&& arguments) {
    Executor& executor = run.executor();
    const bool own_timeout = options.workflow_timeout.has_value();
    const bool own_id = options.workflow_id.has_value();
    // Refused before a number is taken: what is wrong with the call is wrong on every run. What is recorded is not asked again.
    const bool check = !run.next_is_recorded();
    ChildCall call;
    call.start = std::make_shared<client::PreparedStart>(
        executor.prepare(target, std::move(options), std::move(arguments), call.implementation, check));
    sysdb::NewWorkflow& child = call.start->row;
    const std::int32_t id = run.reserve();
    if (!own_id) child.workflow_id = run.id() + "-" + std::to_string(id);
    if (const auto* record = run.recorded(id, child.name)) {
        call.record = *record;
        call.recorded = true;
        return call;
    }
    child.parent_workflow_id = run.id();
    inherit_authentication(run, child);
    if (!own_timeout && !seam::planted(seam::Bug::child_without_deadline))
        child.deadline_ms = run.birth().deadline_ms;
    const auto now = executor.durable_now();
    call.record = {.function_id = id,
                   .function_name = child.name,
                   .child_workflow_id = child.workflow_id,
                   .started_at_ms = now,
                   .completed_at_ms = now,
                   .application_name = executor.application_name()};
    return call;
}

/// The handle that a record stands for, or its error thrown.
std::shared_ptr<detail::HandleState> child_of(Run& run, const sysdb::StepRecord& record,
                                              const client::PreparedStart& start) {
    if (record.error && !record.error->empty()) static_cast<void>(deliver(run, record, record.function_name));
    return body_handle(run, record.child_workflow_id.value_or(start.row.workflow_id));
}

class StartedChild final : public SubmittedPending, public std::enable_shared_from_this<StartedChild> {
   public:
    StartedChild(Run& run, ChildCall call, std::span<const ErrorType> errors)
        : SubmittedPending(run, "ctx.start_workflow_async"), call_(std::move(call)), errors_(errors) {}

    void start() {
        if (call_.recorded) return resolve();
        run_->reached(Point::checkpoint, call_.record.function_id, call_.record.function_name);
        run_->executor().start_child_async(
            *run_, call_.record, call_.start, call_.implementation,
            [self = shared_from_this()](sysdb::ChildResult result, const std::exception_ptr& error) {
                self->answered(self->call_.record, result.checkpoint == sysdb::StepResult::Kind::recorded,
                               error);
                self->complete([&] { self->result_ = std::move(result); });
            });
    }
    std::shared_ptr<void> get_object() override {
        static_cast<void>(get());
        return std::make_shared<detail::MadeHandles>(
            detail::MadeHandles{.states = {child_of(*run_, call_.record, *call_.start)}, .errors = errors_});
    }
    Value value() override {
        settle();
        return {};
    }

   private:
    void make_record() override {
        call_.record = run_->executor().child_started(*run_, std::move(call_.record), *call_.start, result_);
    }

    ChildCall call_;
    const std::span<const ErrorType> errors_;
    sysdb::ChildResult result_;
};

}  // namespace

}  // namespace runtime

namespace detail {

std::shared_ptr<HandleState> start_child(runtime::Run& run, const CallTarget& target, EnqueueOptions options,
                                         Arguments arguments) {
    run.enter("ctx.start_workflow");
    const runtime::InEngine engine(run);
    auto call = runtime::begin_child(run, target, std::move(options), std::move(arguments));
    if (!call.recorded)
        call.record = run.executor().start_child(run, call.record, *call.start, call.implementation);
    return runtime::child_of(run, call.record, *call.start);
}

std::shared_ptr<PendingState> start_child_async(runtime::Run& run, const CallTarget& target,
                                                std::span<const ErrorType> errors, EnqueueOptions options,
                                                Arguments arguments) {
    run.enter("ctx.start_workflow_async");
    const runtime::InEngine engine(run);
    auto child = std::make_shared<runtime::StartedChild>(
        run, runtime::begin_child(run, target, std::move(options), std::move(arguments)), errors);
    child->start();
    return child;
}

}  // namespace detail

void Context::sleep(Duration duration) {
    static_cast<void>(detail::begin_sleep(run_, "ctx.sleep", duration)->get());
}

const std::string& Context::workflow_id() const noexcept { return run_.id(); }
const std::string& Context::executor_id() const noexcept { return run_.executor().executor_id(); }
const std::string& Context::application_version() const noexcept {
    return run_.executor().application_version();
}
const std::string& Context::authenticated_user() const noexcept { return run_.authentication()->user; }
const std::vector<std::string>& Context::authenticated_roles() const noexcept {
    return run_.authentication()->roles;
}
const std::string& Context::assumed_role() const noexcept { return run_.authentication()->assumed_role; }
void Context::set_authentication(std::string user, std::vector<std::string> roles) {
    run_.enter("ctx.set_authentication");
    run_.set_authentication({.user = std::move(user),
                             .roles = std::move(roles),
                             .assumed_role = run_.authentication()->assumed_role});
}
bool Context::interrupted() const noexcept { return run_.interrupted(); }

}  // namespace dbos
