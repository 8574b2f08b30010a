#include "runtime/operations.hpp"

#include <utility>

#include "core/log.hpp"
#include "runtime/errors.hpp"
#include "runtime/executor.hpp"
#include "runtime/probe.hpp"

namespace dbos::runtime {

sysdb::StepRecord new_record(Run& run, std::int32_t id, const std::string& name) {
    return {.function_id = id,
            .function_name = name,
            .started_at_ms = run.executor().durable_now(),
            .application_name = run.executor().application_name()};
}

sysdb::StepRecord record_value(Run& run, sysdb::StepRecord record, const Value& value) {
    const Serializer& format = run.executor().serializer();
    record.output = format.encode(value);
    record.serialization = std::string(format.name());
    record.completed_at_ms = run.executor().durable_now();
    return run.record(record, sysdb::OnConflict::report);
}

sysdb::StepRecord record_failure(Run& run, sysdb::StepRecord record, const std::exception_ptr& error) {
    const Serializer& format = run.executor().serializer();
    try {
        std::rethrow_exception(error);
    } catch (const Interrupt&) {
        throw;
    } catch (const ClientClosed&) {
        run.give_up(DatabaseErrorKind::closed);
    } catch (const DatabaseError& failure) {
        run.give_up(failure, "an operation could not be performed; the workflow is left to be recovered",
                    record.function_name);
    } catch (...) {  // any other error is the operation's result
    }
    run.throw_if_interrupted();
    record.output.reset();
    record.error = encode_error(format, error, run.errors());
    record.serialization = std::string(format.name());
    record.completed_at_ms = run.executor().durable_now();
    return run.record(record, sysdb::OnConflict::report);
}

Perform recorded_call(Run& run, std::function<Value()> call) {
    return [&run, call = std::move(call)](sysdb::StepRecord record) {
        Value value;
        try {
            value = call();
        } catch (...) {
            return record_failure(run, std::move(record), std::current_exception());
        }
        return record_value(run, std::move(record), value);
    };
}

Value run_operation(Run& run, const char* call, const std::string& name, const Perform& perform) {
    run.enter(call);
    const InEngine engine(run);
    const std::int32_t id = run.reserve();
    if (const auto* record = run.recorded(id, name)) return deliver(run, *record, name);
    return deliver(run, perform(new_record(run, id, name)), name);
}

void BodyPending::take() {
    run_->enter(call_);
    if (taken_) {
        throw UsageError("get() of " + described() + " was called twice: keep the value instead", run_->id());
    }
    taken_ = true;
}

std::optional<Value> CompletedPending::get() {
    take();
    const InEngine engine(*run_);
    if (!ready()) run_->wait({.ready = [this] { return done_.load(); }});
    return value();
}

void CompletedPending::await_completion() noexcept {
    run_->executor().wait_begins();
    {
        std::unique_lock lock(mutex_);
        finished_.wait(lock, [&] { return done_.load(); });
    }
    run_->executor().wait_ends();
}

void PooledPending::start() {
    run_->async_step_added(name_);
    resume();
}

void PooledPending::resume() {
    run_->executor().submit([self = shared_from_this()] {
        std::optional<sysdb::StepRecord> record;
        std::exception_ptr error;
        try {
            record = self->perform();
            if (!record) return;
        } catch (...) {
            error = std::current_exception();
        }
        self->complete([&] {
            if (record) self->record_ = std::move(*record);
            self->error_ = std::move(error);
        });
        self->run_->async_step_ended(self->name_);
    });
}

void PooledPending::resolve(sysdb::StepRecord record) {
    complete([&] { record_ = std::move(record); });
}

Value PooledPending::value() {
    if (error_) std::rethrow_exception(error_);
    return deliver(*run_, record_, name_);
}

void PooledPending::finish() noexcept {
    if (ready()) return;
    const InEngine engine(*run_);
    end_soon();
    await_completion();
}

namespace {

class PooledOperation final : public PooledPending {
   public:
    PooledOperation(Run& run, const char* call, std::int32_t id, std::string name, Perform perform,
                    MakeObject make)
        : PooledPending(run, call, id, std::move(name)),
          perform_(std::move(perform)),
          make_(std::move(make)) {}

    std::shared_ptr<void> get_object() override {
        if (!make_) return {};
        return make_(get().value_or(Value()));
    }

   private:
    std::optional<sysdb::StepRecord> perform() override { return perform_(new_record(*run_, id_, name_)); }

    const Perform perform_;
    const MakeObject make_;
};

}  // namespace

std::shared_ptr<detail::PendingState> start_operation(Run& run, const char* call, const std::string& name,
                                                      Perform perform, MakeObject make) {
    run.enter(call);
    const std::int32_t id = run.reserve();
    const auto* record = run.recorded(id, name);
    auto operation =
        std::make_shared<PooledOperation>(run, call, id, name, std::move(perform), std::move(make));
    if (record) {
        operation->resolve(*record);
    } else {
        operation->start();
    }
    return operation;
}

void SubmittedPending::resolve() {
    complete([&] { settled_ = true; });
}

void SubmittedPending::answered(const sysdb::StepRecord& record, bool recorded,
                                const std::exception_ptr& error) noexcept {
    if (!error) {
        if (recorded) run_->passed(Point::recorded, record.function_id, record.function_name);
        return;
    }
    DatabaseErrorKind kind = DatabaseErrorKind::closed;
    try {
        std::rethrow_exception(error);
    } catch (const DatabaseError& failure) {
        kind = failure.kind();
    } catch (...) {
    }
    run_->give_up(kind);
}

void SubmittedPending::settle() {
    if (settled_) return;
    settled_ = true;
    run_->throw_if_interrupted();
    make_record();
}

void SubmittedPending::finish() noexcept {
    if (settled_) return;
    const InEngine engine(*run_);
    await_completion();
    try {
        settle();
    } catch (...) {  // the body meets the interrupt or the sticky error at its next durable call
    }
}

SubmittedOperation::SubmittedOperation(Run& run, const char* call, sysdb::StepRecord record, Refused refused)
    : SubmittedPending(run, call), refused_(std::move(refused)), record_(std::move(record)) {}

sysdb::Completion<sysdb::StepResult> SubmittedOperation::completion() {
    return [self = shared_from_this()](sysdb::StepResult result, const std::exception_ptr& error) {
        self->answered(self->record_, result.kind == sysdb::StepResult::Kind::recorded, error);
        self->complete([&] { self->result_ = std::move(result); });
    };
}

void SubmittedOperation::make_record() {
    const auto kind = result_.kind;
    if (kind == sysdb::StepResult::Kind::recorded || kind == sysdb::StepResult::Kind::lost ||
        kind == sysdb::StepResult::Kind::other) {
        record_ = run_->settle(record_, sysdb::OnConflict::report, std::move(result_));
    } else {
        record_ = refused_(*run_, record_, result_);
    }
}

Value SubmittedOperation::value() {
    settle();
    return deliver(*run_, record_, record_.function_name);
}

}  // namespace dbos::runtime
