// Core: debouncing.
#include <cmath>

#include "client/core.hpp"
#include "client/marks.hpp"
#include "core/durations.hpp"
#include "sysdb/database.hpp"

namespace dbos::client {
namespace {

/// How long to wait for a workflow that has left its delay to let go of the key, before looking again.
constexpr auto kPause = std::chrono::milliseconds(100);

void refuse(const char* option) {
    throw UsageError(std::string("Cannot debounce a workflow with ") + option +
                     ": the debouncer uses it itself, or it would have no meaning; leave it out");
}

void check(const EnqueueOptions& options, const DebouncerOptions& debouncer, const std::string& key,
           Duration period) {
    if (!options.deduplication_id.empty()) refuse("deduplication_id");
    if (options.delay) refuse("delay");
    if (options.priority != 0) refuse("priority");
    if (!options.queue_partition_key.empty()) refuse("queue_partition_key");
    if (options.duplication_policy == DuplicationPolicy::return_existing) refuse("return_existing");
    if (options.workflow_id_reuse_policy == WorkflowIdReusePolicy::reject)
        refuse("workflow_id_reuse_policy reject");
    if (key.empty() && debouncer.deduplication_id.empty())
        throw UsageError("debounce_key: expected a key, got \"\"");
    const auto finite = [](const char* what, Duration duration, bool zero) {
        if (std::isfinite(duration.count()) && (duration.count() > 0 || (zero && duration.count() == 0)))
            return;
        throw UsageError(std::string(what) + ": expected " + (zero ? "0 or " : "") +
                         "a positive, finite duration, got " + std::to_string(duration.count()) + " s");
    };
    finite("debounce_period", period, true);
    if (debouncer.debounce_timeout) finite("debounce_timeout", *debouncer.debounce_timeout, false);
}

std::string deduplication_id(const DebouncerOptions& options, const sysdb::NewWorkflow& row,
                             const std::string& key) {
    if (!options.deduplication_id.empty()) return options.deduplication_id;
    const std::string own = row.name + '-' + key;  // py: dbos/_debouncer.py; ts: src/debouncer.ts
    return options.style == DebounceStyle::typescript ? row.class_name.value_or("") + '.' + own : own;
}

}  // namespace

sysdb::DebounceCall Core::prepare_debounce(const detail::CallTarget& target, const DebouncerOptions& options,
                                           const std::string& key, Duration period, Arguments&& arguments) {
    EnqueueOptions workflow = options.workflow_options;
    check(workflow, options, key, period);
    if (!options.queue.empty()) workflow.queue_name = options.queue;
    if (workflow.queue_name.empty()) workflow.queue_name = sysdb::kInternalQueue;
    if (!options.application_name.empty()) workflow.application_name = options.application_name;
    sysdb::DebounceCall call;
    call.row = prepare(target, std::move(workflow), std::move(arguments), core::StartKind::enqueue).row;
    call.row.deduplication_id = deduplication_id(options, call.row, key);
    call.compare_class = options.style == DebounceStyle::typescript;
    // Always DELAYED, also without a delay: the key is let go when the row leaves its delay.
    call.row.status = to_string(Status::delayed);
    const sysdb::Millis now = database_->durable_now();
    call.row.delay_until_ms = call.bounce_until_ms = now + core::to_millis(period);
    if (options.debounce_timeout) {
        call.deadline_ms = now + core::to_millis(*options.debounce_timeout);
        call.row.delay_until_ms = std::min(*call.row.delay_until_ms, *call.deadline_ms);
    }
    return call;
}

sysdb::Text Core::debounced(const sysdb::DebounceCall& call, const sysdb::DebounceResult& result) {
    using Kind = sysdb::DebounceResult::Kind;
    switch (result.kind) {
        case Kind::bounced: return result.workflow_id;
        case Kind::started:
            if (result.start.kind == sysdb::StartResult::Kind::deduplicated)
                return std::nullopt;  // lost a race: again
            return settle({call.row, {}}, result.start);
        case Kind::held:
            throw QueueDeduplicated(result.workflow_id, call.row.queue_name.value_or(""),
                                    call.row.deduplication_id.value_or(""));
        case Kind::starting: break;
    }
    return std::nullopt;
}

void Core::check_patience(const sysdb::DebounceCall& call, const sysdb::DebounceResult& result,
                          std::optional<seam::SteadyTime>& until) const {
    if (!until) until = seam::steady_now() + options_.debounce_patience;
    if (seam::steady_now() < *until) return;
    throw QueueDeduplicated(result.workflow_id, call.row.queue_name.value_or(""),
                            call.row.deduplication_id.value_or(""));
}

void Core::await_release(const sysdb::DebounceCall& call, const sysdb::DebounceResult& result,
                         std::optional<seam::SteadyTime>& until) {
    if (result.kind != sysdb::DebounceResult::Kind::starting) return;
    check_patience(call, result, until);
    try {
        const BlockingWait waiting;
        hub_.wait(result.workflow_id, {.timeout = kPause});
    } catch (const Timeout&) {              // the usual case: it runs, and has let go of the key
    } catch (const NonexistentWorkflow&) {  // deleted
    }
}

std::shared_ptr<detail::HandleState> Core::debounce(const sysdb::DebounceCall& call) {
    return guarded(*this, [&] {
        for (std::optional<seam::SteadyTime> until;;) {
            const sysdb::DebounceResult result = database_->debounce(call);
            if (auto id = debounced(call, result)) return handle(*id, true);
            await_release(call, result, until);
        }
    });
}

void Core::debounce_async(std::shared_ptr<const sysdb::DebounceCall> call, detail::HandleDone done,
                          std::optional<seam::SteadyTime> until) {
    using Handle = std::shared_ptr<detail::HandleState>;
    auto shared = std::make_shared<detail::HandleDone>(std::move(done));
    workers_.post([self = shared_from_this(), call = std::move(call), shared, until]() mutable {
        std::exception_ptr error;
        try {
            sysdb::DebounceResult result;
            do {
                result = guarded(*self, [&] { return self->database_->debounce(*call); });
                if (auto id = self->debounced(*call, result)) {
                    auto state = self->handle(*id, true);
                    return (*shared)([state = std::move(state)]() -> Handle { return state; }, false);
                }
            } while (result.kind != sysdb::DebounceResult::Kind::starting);
            self->check_patience(*call, result, until);
            // Waiting costs no thread.
            self->hub_.add_end(
                result.workflow_id, {.timeout = kPause},
                [self, call, shared, until](const sysdb::ResultRow&, const std::exception_ptr&) {
                    self->debounce_async(call, std::move(*shared), until);
                });
            return;
        } catch (...) {
            error = std::current_exception();
        }
        (*shared)([error = std::move(error)]() -> Handle { rethrow_for_user(error); }, true);
    });
}

}  // namespace dbos::client
