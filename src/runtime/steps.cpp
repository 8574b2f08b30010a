// Steps: attempts, time-outs, back-off, records; and the asynchronous form.
#include <cxxabi.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "client/marks.hpp"
#include "core/log.hpp"
#include "core/options.hpp"
#include "platform/planted.hpp"
#include "runtime/errors.hpp"
#include "runtime/executor.hpp"
#include "runtime/operations.hpp"
#include "runtime/probe.hpp"
#include "runtime/run.hpp"

namespace dbos {

namespace runtime {

namespace {

constexpr double kLongestBackOffSeconds = 3600;  // the cap of the Python and TypeScript SDKs

std::string describe_briefly(const std::exception_ptr& error) {
    const Failure failure = [&] {
        try {
            return describe(error);
        } catch (const std::exception& problem) {
            return Failure{.type_name = "Error", .message = problem.what()};
        }
    }();
    return failure.type_name + ": " + failure.message;
}

/// Marks the calling thread as one that runs a step, and lifts the mark of a body meanwhile.
class InStep {
   public:
    InStep(Run& run, std::int32_t number, bool on_body_thread)
        : run_(run), waits_(client::thread_marks().wait) {
        run_.step_begins(number);
        // The body's thread holds a run permit: whoever blocks in a client call gives it back meanwhile.
        if (on_body_thread) {
            client::thread_marks().wait = {
                [](void* executor) { static_cast<Executor*>(executor)->wait_begins(); },
                [](void* executor) { static_cast<Executor*>(executor)->wait_ends(); }, &run.executor()};
        }
    }
    ~InStep() {
        client::thread_marks().wait = waits_;
        run_.step_ended();
    }
    InStep(const InStep&) = delete;
    InStep& operator=(const InStep&) = delete;

   private:
    Run& run_;
    const client::WaitMark waits_;
    const client::BodyMarkLifted lifted_;
};

/// Requests stop when the timeout passes; afterwards says whether it did.
class StepTimer {
   public:
    StepTimer(Run& run, const std::optional<Duration>& timeout, std::stop_source stop)
        : timers_(run.executor().timers()) {
        if (!timeout || timeout->count() > 1e9) return;
        state_ = std::make_shared<State>();
        state_->stop = std::move(stop);
        id_ = timers_.at(seam::steady_now() + std::chrono::duration_cast<seam::Duration>(*timeout),
                         [state = state_, &executor = run.executor()] {
                             state->fired.store(true);
                             executor.post([state] { state->stop.request_stop(); });
                         });
    }
    ~StepTimer() {
        if (state_) timers_.cancel(id_);
    }
    bool fired() const noexcept { return state_ && state_->fired.load(); }

   private:
    struct State {
        std::stop_source stop;
        seam::Atomic<bool> fired{false};
    };
    Timers& timers_;
    std::shared_ptr<State> state_;
    Timers::Id id_{};
};

}  // namespace

StepAttempts::Attempt StepAttempts::attempt_once(const std::function<Value(StepContext&)>& call, int number,
                                                 const std::stop_source& outer) {
    Attempt attempt;
    // Each attempt has a stop source of its own: a timeout ends the attempt, not the step.
    std::stop_source stop;
    std::stop_callback forward(outer.get_token(), [&stop] { stop.request_stop(); });
    StepContext context(run_.id(), id_, number, static_cast<int>(options_.max_attempts), stop.get_token(),
                        authentication_);
    const StepTimer timer(run_, options_.timeout, stop);
    {
        const InStep in_step(run_, id_, on_body_thread_);
        run_.reached(Point::step, id_, name_, number);
        if (!seam::planted(seam::Bug::no_check_before_step)) run_.ensure_owned();
        const InUserCode user(run_);
        // The last look stands directly before the body: not even a counter is touched in between.
        if (!seam::planted(seam::Bug::no_check_before_step)) run_.ensure_owned();
        try {
            attempt.value = call(context);
        } catch (const Interrupt&) {
            throw;
        } catch (abi::__forced_unwind&) {
            throw;
        } catch (...) {
            attempt.error = std::current_exception();
        }
    }
    if (timer.fired()) {
        attempt.error = std::make_exception_ptr(StepTimeout(run_.id(), name_, options_.timeout->count()));
    }
    return attempt;
}

bool StepAttempts::should_retry(const std::exception_ptr& error) {
    if (!options_.should_retry) return true;
    const InStep in_step(run_, id_, on_body_thread_);
    const InUserCode user(run_);
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& exception) {
        return options_.should_retry(exception);
    } catch (...) {
        return true;  // not a std::exception: nothing that the predicate could look at
    }
}

bool StepAttempts::goes_on(std::exception_ptr& error) {
    // A value is kept; an error after the interrupt may be nothing but its consequence, and a replay shall try again.
    run_.throw_if_interrupted();
    state_.errors.push_back(describe_briefly(error));
    bool retry = false;
    try {
        retry = should_retry(error);
    } catch (...) {  // a failing predicate's failure becomes the step's error
        error = std::current_exception();
        return false;
    }
    if (!retry || options_.max_attempts == 1) return false;
    if (state_.attempts >= options_.max_attempts + (seam::planted(seam::Bug::one_attempt_more) ? 1 : 0)) {
        error = std::make_exception_ptr(
            StepRetriesExhausted(run_.id(), name_, options_.max_attempts, state_.errors));
        return false;
    }
    log_to(run_.executor().log(), LogLevel::warn, "a step failed and will be tried again",
           {{"workflow_id", run_.id()},
            {"step", name_},
            {"attempt", std::to_string(state_.attempts)},
            {"error", state_.errors.back()}});
    const double seconds =
        std::min(options_.interval.count() * std::pow(options_.backoff_rate, state_.attempts - 1),
                 kLongestBackOffSeconds);
    state_.next = run_.executor().durable_now() + static_cast<sysdb::Millis>(std::ceil(seconds * 1000));
    return true;
}

sysdb::StepRecord StepAttempts::commit(const Attempt& attempt) {
    Executor& executor = run_.executor();
    const Serializer& format = executor.serializer();
    sysdb::StepRecord record{.function_id = id_,
                             .function_name = name_,
                             .started_at_ms = began_,
                             .serialization = std::string(format.name()),
                             .application_name = executor.application_name()};
    std::exception_ptr error = attempt.error;
    if (!error) {
        try {
            record.output = format.encode(attempt.value);
        } catch (
            const std::
                exception&) {  // what cannot be stored is the step's recorded error; trying again would not help
            error = std::current_exception();
        }
    }
    if (error) record.error = encode_error(format, error, run_.errors());
    record.completed_at_ms = executor.durable_now();
    return run_.record(record, sysdb::OnConflict::report);
}

std::optional<sysdb::StepRecord> StepAttempts::advance(const Call& call, const std::stop_source& stop) {
    if (!began_) began_ = run_.executor().durable_now();
    if (last_error_) {  // a pause is over
        run_.throw_if_interrupted();
        // Its Pending was destroyed: no further attempt.
        if (stop.stop_requested()) return commit({.error = last_error_});
    }
    Attempt attempt = attempt_once(call, ++state_.attempts, stop);
    if (attempt.error && goes_on(attempt.error)) {
        last_error_ = attempt.error;
        return std::nullopt;
    }
    return commit(attempt);
}

sysdb::StepRecord StepAttempts::run(const Call& call, const std::stop_source& stop) {
    began_ = run_.executor().durable_now();
    if (auto resumed = run_.resumed_back_off(id_)) {  // the run parked in the pause before this attempt
        state_ = std::move(*resumed);
        if (state_.next > run_.executor().durable_now()) run_.back_off(state_);
    }
    for (;;) {
        if (auto record = advance(call, stop)) return std::move(*record);
        run_.back_off(state_);
    }
}

Value deliver(Run& run, const sysdb::StepRecord& record, const std::string& step_name) {
    const Serializer& format = run.executor().format_of(record.serialization);
    if (record.error && !record.error->empty()) {
        raise_step(read_failure(*record.error, &format), run.errors(), run.id(), step_name);
    }
    return record.output ? format.decode(*record.output) : Value();
}

/// An asynchronous step: the callable is owned here.
class AsyncStep final : public PooledPending {
   public:
    AsyncStep(Run& run, std::int32_t id, std::string name, std::unique_ptr<detail::StepFunction> function,
              StepOptions options)
        : PooledPending(run, "Pending::get", id, std::move(name)),
          function_(std::move(function)),
          options_(std::move(options)),
          authentication_(run.authentication()) {}

   private:
    std::string described() const override { return "the step \"" + name_ + '"'; }
    void end_soon() noexcept override {
        stop_.request_stop();
        run_->notify();  // it may be in a back-off
    }
    std::optional<sysdb::StepRecord> perform() override {
        // The callable refers to the stack that may go as soon as the step is done.
        struct Gone {
            AsyncStep* step;
            ~Gone() {
                if (step == nullptr) return;
                step->run_->remove_stop_source(step->stop_);
                step->function_.reset();
            }
        } gone{this};
        if (!attempts_) {
            run_->add_stop_source(stop_);
            if (stop_.stop_requested() && !run_->interrupted()) return record_abandoned();
            attempts_.emplace(*run_, id_, name_, options_, false, authentication_);
        }
        auto record =
            attempts_->advance([this](StepContext& context) { return (*function_)(context); }, stop_);
        if (record) return record;
        gone.step = nullptr;
        // From here on another thread may have the step.
        run_->pause_step({.until = attempts_->next_at(), .ready = [this] { return stop_.stop_requested(); }},
                         [this] { resume(); });
        return std::nullopt;
    }

    sysdb::StepRecord record_abandoned() {
        Executor& executor = run_->executor();
        const auto now = executor.durable_now();
        const Serializer& format = executor.serializer();
        return run_->record(
            {.function_id = id_,
             .function_name = name_,
             .error = encode_error(format, std::make_exception_ptr(StepAbandoned(run_->id(), name_)), {}),
             .started_at_ms = now,
             .completed_at_ms = now,
             .serialization = std::string(format.name()),
             .application_name = executor.application_name()},
            sysdb::OnConflict::report);
    }

    std::unique_ptr<detail::StepFunction> function_;
    const StepOptions options_;
    const std::shared_ptr<const Authentication> authentication_;
    std::stop_source stop_;
    std::optional<StepAttempts> attempts_;  // from the first one on
};

}  // namespace runtime

StepContext::StepContext(const std::string& workflow_id, int step_id, int attempt, int max_attempts,
                         std::stop_token stop, std::shared_ptr<const Authentication> authentication)
    : workflow_id_(&workflow_id),
      step_id_(step_id),
      attempt_(attempt),
      max_attempts_(max_attempts),
      stop_(std::move(stop)),
      authentication_(authentication ? std::move(authentication) : std::make_shared<const Authentication>()) {
}

namespace detail {

PendingState::~PendingState() = default;

Value run_step(runtime::Run& run, const Name& name, StepCall call, const StepOptions& options) {
    if (run.in_step()) {
        client::refuse_in_transaction("ctx.step", run.id());
        // A step called from a step is a plain function: no number, no record, no retries (the outer step has them).
        StepContext context(run.id(), 0, 1, 1, {}, run.authentication());
        return call.invoke(call.object, context);
    }
    run.enter("ctx.step");
    const runtime::InEngine engine(run);
    core::check_step(options, name.text());
    const std::int32_t id = run.reserve();
    const std::string step_name = name.string();
    if (const auto* record = run.recorded(id, step_name)) return runtime::deliver(run, *record, step_name);

    std::stop_source stop;
    run.add_stop_source(stop);
    run.name_step(step_name);
    struct Done {
        runtime::Run& run;
        std::stop_source& stop;
        ~Done() {
            run.remove_stop_source(stop);
            run.name_step({});
        }
    } done{run, stop};
    runtime::StepAttempts attempts(run, id, step_name, options, true, run.authentication());
    const auto record =
        attempts.run([&](StepContext& context) { return call.invoke(call.object, context); }, stop);
    return runtime::deliver(run, record, step_name);
}

std::vector<Value> map_steps(runtime::Run& run, const Name& name,
                             std::vector<std::unique_ptr<StepFunction>> functions, const StepOptions& options,
                             std::size_t max_parallel) {
    run.enter("ctx.map");
    core::check_step(options, name.text());
    if (max_parallel == 0) throw UsageError("max_parallel: expected 1 or more, got 0", run.id());
    const runtime::InEngine engine(run);
    // All numbers at once, before anything runs.
    std::vector<std::shared_ptr<runtime::AsyncStep>> steps;
    std::vector<bool> recorded;
    for (auto& function : functions) {
        const std::int32_t id = run.reserve();
        const auto* record = run.recorded(id, name.string());
        steps.push_back(
            std::make_shared<runtime::AsyncStep>(run, id, name.string(), std::move(function), options));
        recorded.push_back(record != nullptr);
        if (record) steps.back()->resolve(*record);
    }
    // Whatever leaves this call, no callable runs afterwards.
    struct Joined {
        std::vector<std::shared_ptr<runtime::AsyncStep>> started;
        ~Joined() {
            for (const auto& step : started) step->finish();
        }
    } joined;
    const auto under_way = [&] {
        return static_cast<std::size_t>(std::count_if(joined.started.begin(), joined.started.end(),
                                                      [](const auto& step) { return !step->ready(); }));
    };
    for (std::size_t n = 0; n < steps.size(); ++n) {
        if (recorded[n]) continue;
        if (under_way() >= max_parallel) run.wait({.ready = [&] { return under_way() < max_parallel; }});
        joined.started.push_back(steps[n]);
        steps[n]->start();
    }
    run.wait({.ready = [&] { return under_way() == 0; }});
    std::vector<Value> values;
    values.reserve(steps.size());
    for (const auto& step : steps) values.push_back(step->value());
    return values;
}

std::shared_ptr<PendingState> start_step(runtime::Run& run, const Name& name,
                                         std::unique_ptr<StepFunction> function, const StepOptions& options) {
    run.enter("ctx.async_step");
    core::check_step(options, name.text());
    const std::int32_t id = run.reserve();
    const auto* record = run.recorded(id, name.string());
    auto step = std::make_shared<runtime::AsyncStep>(run, id, name.string(), std::move(function), options);
    if (record) {
        step->resolve(*record);
    } else {
        step->start();
    }
    return step;
}

}  // namespace detail

}  // namespace dbos
