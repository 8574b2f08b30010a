// Debouncers of bodies: each call is one recorded operation.
#include "dbos/debouncer.hpp"

#include <utility>

#include "runtime/manage.hpp"
#include "runtime/probe.hpp"

namespace dbos {

namespace runtime {
namespace {

// py: dbos/_debouncer.py
constexpr const char* kRecord = "DBOS.debounce_delayed_workflow";

/// The row of a call with this number, as ctx.start_workflow would make it, but without the deadline of the run.
void complete(Run& run, std::int32_t number, bool own_id, sysdb::NewWorkflow& row) {
    Executor& executor = run.executor();
    if (!own_id) row.workflow_id = run.id() + "-" + std::to_string(number);
    row.parent_workflow_id = run.id();
    const bool own = row.application_name == executor.application_name();
    if (!row.application_version && own && executor.find_implementation(row.name) != nullptr)
        row.application_version = executor.application_version();
    inherit_authentication(run, row);
}

/// Commits the record in one transaction with what the call does; its output is the id of the workflow that will run.
sysdb::StepRecord perform(Run& run, sysdb::StepRecord record, const sysdb::DebounceCall& call) {
    client::Core& core = run.executor().core();
    const Serializer& format = run.executor().serializer();
    run.reached(Point::checkpoint, record.function_id, record.function_name);
    record.serialization = std::string(format.name());
    sysdb::Gate gate;
    try {
        std::optional<seam::SteadyTime> until;
        for (;;) {
            record.completed_at_ms = run.executor().durable_now();
            gate = {.fence = run.fence(), .checkpoint = record};
            const auto result =
                run.executor().database().debounce(call, gate, [&](const sysdb::DebounceResult& found) {
                    const sysdb::Text id = core.debounced(call, found);
                    record.output = id ? sysdb::Text(format.encode(Value(*id))) : std::nullopt;
                    return record.output;
                });
            if (result.wrote || gate.result.kind != sysdb::StepResult::Kind::recorded ||
                !gate.result.stored.function_name.empty())
                break;
            core.await_release(call, result, until);
            run.throw_if_interrupted();
        }
    } catch (...) {
        return record_failure(run, std::move(record), std::current_exception());
    }
    record = run.settle(record, sysdb::OnConflict::report, std::move(gate.result));
    run.reached(Point::recorded, record.function_id, record.function_name);
    return record;
}

}  // namespace
}  // namespace runtime

detail::DebouncerBase::DebouncerBase(ContextBase& context, const CallTarget& target, DebouncerOptions options)
    : core_(context.run_.executor().core().shared_from_this()),
      target_(target),
      options_(std::move(options)) {
    // What every call would be refused for is refused at once.
    core_->prepare_debounce(target_, options_, "key", Duration(0), {});
    in_body_ = [&run = context.run_](const DebouncerBase& of, const std::string& key, Duration period,
                                     Arguments&& arguments) {
        auto call = of.core_->prepare_debounce(of.target_, of.options_, key, period, std::move(arguments));
        if (run.in_step()) return of.core_->debounce(call);
        const bool own_id = of.options_.workflow_options.workflow_id.has_value();
        const Value id =
            runtime::run_operation(run, "debounce", runtime::kRecord, [&](sysdb::StepRecord record) {
                runtime::complete(run, record.function_id, own_id, call.row);
                return runtime::perform(run, std::move(record), call);
            });
        return runtime::body_handle(run, id.as_string());
    };
}

}  // namespace dbos
