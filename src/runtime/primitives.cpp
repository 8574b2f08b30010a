// Small durable operations of a body: the time, random ids, patches, deferred calls.
#include <chrono>

#include "core/options.hpp"
#include "runtime/executor.hpp"
#include "runtime/operations.hpp"
#include "runtime/waits.hpp"
#include "value/uuid.hpp"

namespace dbos {

namespace {

constexpr const char* kNow = "DBOS.now";  // names of the TypeScript SDK
constexpr const char* kRandomUuid = "DBOS.randomUUID";

}  // namespace

std::chrono::system_clock::time_point Context::now() {
    const Value value = runtime::run_operation(run_, "ctx.now", kNow, runtime::recorded_call(run_, [this] {
                                                   return Value(run_.executor().durable_now());
                                               }));
    return std::chrono::system_clock::time_point(std::chrono::milliseconds(value.as_int()));
}

std::string Context::random_uuid() {
    return runtime::run_operation(run_, "ctx.random_uuid", kRandomUuid,
                                  runtime::recorded_call(run_, [] { return Value(uuid4()); }))
        .as_string();
}

namespace {

std::string marker(runtime::Run& run, const std::string& name) {
    if (core::blank(name)) throw UsageError("patch: expected a name, got \"" + name + "\"", run.id());
    return "DBOS.patch-" + name;
}

}  // namespace

bool Context::patch(const std::string& name) {
    run_.enter("ctx.patch");
    const std::string expected = marker(run_, name);
    const runtime::InEngine engine(run_);
    const sysdb::StepRecord* next = run_.peek();
    // A gap below recorded numbers is old history: a step that ran beside, and was not recorded before the crash.
    if (next ? next->function_name != expected : run_.recorded_above()) return false;
    const std::int32_t id = run_.reserve();
    if (run_.recorded(id, expected)) return true;
    auto record = runtime::new_record(run_, id, expected);
    record.completed_at_ms = record.started_at_ms;
    static_cast<void>(run_.record(record, sysdb::OnConflict::report));
    return true;
}

bool Context::deprecate_patch(const std::string& name) {
    run_.enter("ctx.deprecate_patch");
    const std::string expected = marker(run_, name);
    const sysdb::StepRecord* next = run_.peek();
    if (next && next->function_name == expected) run_.reserve();
    return true;
}

namespace detail {

void defer_step(runtime::Run& run, const Name& name, std::unique_ptr<StepFunction> function,
                const StepOptions& options) {
    run.enter("ctx.defer");
    core::check_step(options, name.text());
    run.defer(name.string(), std::move(function));
}

std::optional<Value> event_value(runtime::Run& run, const std::string& workflow_id, const std::string& key,
                                 Duration timeout, const GetEventOptions& options) {
    if (run.in_step()) return run.executor().core().event(workflow_id, key, timeout, options);
    return event_of(run, "ctx.get_event", workflow_id, key, timeout, options)->get();
}

std::shared_ptr<PendingState> result_of(runtime::Run& run, const char* call,
                                        const std::shared_ptr<HandleState>& handle,
                                        const GetResultOptions& options, std::span<const ErrorType> errors) {
    return runtime::await_result(run, call, handle->workflow_id(), options, errors);
}

}  // namespace detail

}  // namespace dbos
