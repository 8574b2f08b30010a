#include "runtime/run.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>
#include <utility>

#include "client/decode.hpp"
#include "client/marks.hpp"
#include "core/log.hpp"
#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "runtime/executor.hpp"
#include "runtime/probe.hpp"
#include "runtime/waiting.hpp"
#include "sql/connection.hpp"

namespace dbos::runtime {

using std::chrono::milliseconds;

Run::Run(Executor& executor, Birth birth)
    : executor_(executor), birth_(std::move(birth)), checked_lapse_(birth_.lapse) {}

std::shared_ptr<const Authentication> Run::authentication() const {
    std::lock_guard lock(mutex_);
    return authentication_;
}

void Run::set_authentication(Authentication authentication) {
    auto next = std::make_shared<const Authentication>(std::move(authentication));
    std::lock_guard lock(mutex_);
    authentication_ = std::move(next);
}

void Run::authorize() {
    Authentication known{.user = birth_.authenticated_user.value_or(""),
                         .roles = client::roles_of(birth_.authenticated_roles),
                         .assumed_role = birth_.assumed_role.value_or("")};
    const auto& required = birth_.implementation->options.required_roles;
    const auto held = std::ranges::find_if(required, [&](const std::string& role) {
        return std::ranges::find(known.roles, role) != known.roles.end();
    });
    if (!required.empty()) {
        if (held == required.end())
            throw NotAuthorized(id(), birth_.implementation->name, known.user, required);
        known.assumed_role = *held;
    }
    set_authentication(std::move(known));
}

void Run::body_begins() {
    body_thread_ = seam::thread_id();
    begun_ = seam::steady_now();
    uncaught_at_entry_ = std::uncaught_exceptions();
    user_code(1);
}

void Run::body_ended() noexcept {
    user_code(-1);
    ended_.store(true);
}

void Run::enter(const char* operation) {
    const auto refuse = [&](const std::string& cure) {
        throw UsageError(std::string(operation) + " was called " + cure, id());
    };
    if (ended()) refuse("after the body of workflow \"" + id() + "\" had ended; take results in the body");
    client::refuse_in_transaction(operation, id());
    if (in_step())
        refuse("inside a step of workflow \"" + id() +
               "\"; a step only does its work: call it in the body, before or after the step");
    if (seam::thread_id() != body_thread_) {
        refuse("on a thread that does not run the body of workflow \"" + id() +
               "\"; use ctx.async_step for work on other threads");
    }
    if (std::uncaught_exceptions() > uncaught_at_entry_) {
        log_to(executor_.log(), LogLevel::error,
               "a durable call was made while the body is being unwound (from a destructor); move it out of "
               "the destructor",
               {{"workflow_id", id()}, {"operation", operation}});
    }
    if (interrupted() || sticky_error()) {
        const int throws = ++throws_;
        if (throws >= 3) {
            log_to(executor_.log(), LogLevel::warn,
                   "the body goes on after its interrupt or error was thrown; let dbos::Interrupt pass and "
                   "end the body",
                   {{"workflow_id", id()}, {"operation", operation}});
            seam::sleep_for(std::min<seam::Duration>(milliseconds(10) * (1LL << std::min(throws - 3, 7)),
                                                     std::chrono::seconds(1)));
        }
    }
    throw_if_interrupted();
    if (auto error = sticky_error()) std::rethrow_exception(error);
}

void Run::read_history_from(std::int32_t id_wanted) {
    seam::reach(seam::Situation::history_read_on);
    try {
        birth_.history = executor_.database().history_from(id(), id_wanted);
    } catch (const DatabaseError& error) {
        give_up(error, "what is recorded could not be read; the workflow is left to be recovered", "replay");
    }
}

const sysdb::StepRecord* Run::find(std::int32_t id_wanted) {
    if (id_wanted > birth_.history.known_to) read_history_from(id_wanted);
    const auto& history = birth_.history.records;
    const auto found =
        std::lower_bound(history.begin(), history.end(), id_wanted,
                         [](const sysdb::StepRecord& r, std::int32_t i) { return r.function_id < i; });
    return found != history.end() && found->function_id == id_wanted ? &*found : nullptr;
}

bool Run::recorded_above() {
    const auto above = [&] {
        const auto& records = birth_.history.records;
        return !records.empty() && records.back().function_id > last_id_ + 1;
    };
    if (above()) return true;
    if (birth_.history.known_to == std::numeric_limits<std::int32_t>::max()) return false;
    read_history_from(last_id_ + 1);
    return above();
}

std::exception_ptr Run::run_deferred() {
    std::exception_ptr first;
    while (!deferred_.empty()) {
        const Deferred last = std::move(deferred_.back());
        deferred_.pop_back();
        detail::StepCall call{last.function.get(), [](void* function, StepContext& context) {
                                  return (*static_cast<detail::StepFunction*>(function))(context);
                              }};
        try {
            static_cast<void>(detail::run_step(*this, Name::dynamic(last.name), call, {}));
        } catch (const Interrupt&) {
            throw;
        } catch (...) {
            const auto error = std::current_exception();
            if (sticky_error()) throw;
            if (first) {
                log_to(executor_.log(), LogLevel::error,
                       "a deferred call failed after another one; its error is only recorded",
                       {{"workflow_id", id()}, {"step", last.name}});
            } else {
                first = error;
            }
        }
    }
    return first;
}

const sysdb::StepRecord* Run::recorded(std::int32_t id_wanted, const std::string& name) {
    const auto* found = find(id_wanted);
    if (Probe* probe = executor_.probe()) probe->asked(*this, id_wanted, name, found);
    if (!found) {
        replay_ends();
    } else if (found->function_name != name && !seam::planted(seam::Bug::names_not_compared)) {
        fail_for_good(std::make_exception_ptr(UnexpectedStep(id(), id_wanted, name, found->function_name)));
    }
    return found;
}

void Run::fail_for_good(std::exception_ptr error) {
    {
        std::lock_guard lock(mutex_);
        if (!sticky_) sticky_ = error;
        error = sticky_;
    }
    ++throws_;
    std::rethrow_exception(error);
}

std::exception_ptr Run::sticky_error() const {
    std::lock_guard lock(mutex_);
    return sticky_;
}

std::optional<Interrupt::Reason> Run::interrupt_reason() const noexcept {
    const int stop = stop_.load();
    if (stop == kGoing) return std::nullopt;
    return static_cast<Interrupt::Reason>(stop);
}

void Run::throw_if_interrupted() {
    if (const auto reason = interrupt_reason()) throw Interrupt(*reason, id());
}

void Run::interrupt(Interrupt::Reason reason) noexcept {
    int going = kGoing;
    if (!stop_.compare_exchange_strong(going, static_cast<int>(reason))) {
        // A shutdown may turn out to be a loss, and a park to be either; the first reason stays otherwise.
        int shutdown = static_cast<int>(Interrupt::Reason::shutdown);
        int park = static_cast<int>(Interrupt::Reason::park);
        const bool replaced = stop_.compare_exchange_strong(park, static_cast<int>(reason)) ||
                              (reason != Interrupt::Reason::shutdown &&
                               stop_.compare_exchange_strong(shutdown, static_cast<int>(reason)));
        if (!replaced) return;
    }
    std::vector<std::stop_source> sources;
    {
        std::lock_guard lock(mutex_);
        sources = stop_sources_;
        if (!seam::planted(seam::Bug::cancel_unseen_by_wait)) woken_.notify_all();
    }
    end_pauses(std::unique_lock(mutex_));
    // Stop callbacks are user code: never on the thread that found the reason.
    if (sources.empty() && !lends_.load()) return;
    executor_.post([self = shared_from_this(), sources = std::move(sources)]() mutable {
        for (std::stop_source& source : sources) source.request_stop();
        self->interrupt_lent();
    });
}

void Run::interrupt_lent() noexcept {
    const auto reason = interrupt_reason();
    // A shutdown lets a transaction end.
    if (!reason || *reason == Interrupt::Reason::shutdown || *reason == Interrupt::Reason::park) return;
    std::lock_guard lock(lent_mutex_);
    if (lent_ != nullptr) lent_->interrupt();
}

void Run::lend(sql::Connection& connection) {
    {
        std::lock_guard lock(lent_mutex_);
        lent_ = &connection;
    }
    lends_.store(true);
    interrupt_lent();
}

void Run::lend_nothing() noexcept {
    std::lock_guard lock(lent_mutex_);
    lends_.store(false);
    lent_ = nullptr;
}

void Run::give_up(DatabaseErrorKind why) noexcept {
    given_up_.store(true);
    interrupt(why == DatabaseErrorKind::closed ? Interrupt::Reason::shutdown
                                               : Interrupt::Reason::lost_ownership);
}

void Run::give_up(const DatabaseError& why, const char* message, const std::string& operation) {
    log_to(executor_.log(), LogLevel::error, message,
           {{"workflow_id", id()}, {"operation", operation}, {"error", why.what()}});
    give_up(why.kind());
    throw Interrupt(*interrupt_reason(), id());
}

void Run::notify() noexcept {
    std::unique_lock lock(mutex_);
    woken_.notify_all();
    end_pauses(std::move(lock));
}

std::optional<Woken> Run::look(const WakeSpec& spec, seam::Duration& nap) const {
    if ((spec.ready && spec.ready()) || (spec.waiting && spec.waiting->has_news())) return Woken::ready;
    // The durable clock may be corrected meanwhile, so no nap is longer than 10 s.
    milliseconds longest = std::chrono::seconds(10);
    if (spec.until) {
        const auto left = *spec.until - executor_.durable_now();
        if (left <= 0) return Woken::due;
        longest = std::min(longest, milliseconds(left));
    }
    nap = longest;
    return std::nullopt;
}

void Run::pause_step(WakeSpec spec, std::function<void()> resume) {
    auto pause = std::make_unique<Pause>(Pause{std::move(spec), std::move(resume)});
    const Pause* const known = pause.get();
    {
        std::lock_guard lock(mutex_);
        waits_.push_back(&pause->spec);
        pauses_.push_back(std::move(pause));
    }
    watch(known);  // an interrupt or a stop that came before it is seen here
}

void Run::end_pauses(std::unique_lock<seam::Mutex> lock) noexcept {
    std::vector<std::unique_ptr<Pause>> over;
    for (auto& pause : pauses_) {
        seam::Duration nap{};
        if (!interrupted() && !look(pause->spec, nap)) continue;
        std::erase(waits_, &pause->spec);
        over.push_back(std::move(pause));
    }
    std::erase(pauses_, nullptr);
    lock.unlock();
    for (const auto& pause : over) pause->resume();
}

void Run::watch(const Pause* pause) {
    end_pauses(std::unique_lock(mutex_));
    seam::Duration nap{};
    {
        std::lock_guard lock(mutex_);
        if (std::ranges::find(pauses_, pause, &std::unique_ptr<Pause>::get) == pauses_.end()) return;
        static_cast<void>(look(pause->spec, nap));  // due meanwhile: no nap
    }
    executor_.timers().at(seam::steady_now() + nap, [weak = weak_from_this(), pause] {
        if (const auto run = weak.lock()) run->watch(pause);
    });
}

std::optional<Woken> Run::wait_locked(std::unique_lock<seam::Mutex>& lock, const WakeSpec& spec,
                                      std::optional<seam::SteadyTime> blocked_until) {
    waits_.push_back(&spec);
    struct Over {
        std::vector<const WakeSpec*>& waits;
        const WakeSpec* spec;
        ~Over() { std::erase(waits, spec); }
    } const over{waits_, &spec};  // under the lock, on every way out
    for (;;) {
        if (const auto reason = interrupt_reason()) throw Interrupt(*reason, id());
        seam::Duration nap{};
        if (const auto woken = look(spec, nap)) return woken;
        auto nap_until = seam::steady_now() + nap;
        // None of its steps may be under way: a park would have to stop it, or leave it without a stack to refer to.
        if (blocked_until && async_steps_.empty()) {
            if (seam::steady_now() >= *blocked_until) return std::nullopt;
            nap_until = std::min(nap_until, *blocked_until);
        }
        woken_.wait_until(lock, nap_until);
    }
}

std::optional<seam::Duration> Run::limit_of(const WakeSpec& spec) const {
    const bool can_park = birth_.implementation->options.park && (!spec.ready || spec.may_park) &&
                          (spec.until || spec.waiting) && std::uncaught_exceptions() <= uncaught_at_entry_;
    if (!can_park) return std::nullopt;
    const seam::Duration limit = executor_.park_limit(replay_.value_or(birth_.last_replay));
    if (spec.waiting) return limit;
    // A known end: at once, if it is further away than that.
    const auto left = *spec.until - executor_.durable_now();
    if (left <= std::chrono::duration_cast<milliseconds>(limit).count()) return std::nullopt;
    return seam::Duration(0);
}

Woken Run::wait(const WakeSpec& spec) {
    replay_ends();
    if (spec.waiting) {
        spec.waiting->attach([weak = weak_from_this()] {
            if (const auto run = weak.lock()) run->notify();
        });
    }
    const auto limit = limit_of(spec);
    std::optional<seam::SteadyTime> blocked_until;
    if (limit) blocked_until = seam::steady_now() + *limit;
    {
        executor_.permits().release();
        executor_.claimer().look_again();
        struct Back {
            Permits& permits;
            ~Back() { permits.acquire(); }
        } back{executor_.permits()};
        std::unique_lock lock(mutex_);
        if (const auto woken = wait_locked(lock, spec, blocked_until)) return *woken;
    }
    if (spec.check && spec.check()) return Woken::ready;
    park(spec);
}

void Run::park(const WakeSpec& spec) {
    parked_.until = spec.until;
    parked_.waiting = spec.waiting;
    if (spec.remember && spec.until) parked_.remembered = Remembered{*spec.remember, *spec.until};
    parked_.replay = replay_.value_or(seam::Duration(0));
    int going = kGoing;
    if (!stop_.compare_exchange_strong(going, static_cast<int>(Interrupt::Reason::park))) {
        parked_ = {};
        throw_if_interrupted();
    }
    throw Interrupt(Interrupt::Reason::park, id());
}

void Run::back_off(BackOff state) {
    const WakeSpec spec{.until = state.next};
    parked_.back_off = std::make_unique<BackOff>(std::move(state));
    wait(spec);
    parked_.back_off.reset();
}

std::optional<BackOff> Run::resumed_back_off(std::int32_t id_wanted) {
    if (!birth_.back_off || birth_.back_off->function_id != id_wanted) return std::nullopt;
    const auto state = std::move(birth_.back_off);
    return std::move(*state);
}

void Run::replay_ends() noexcept {
    if (!replay_) replay_ = seam::steady_now() - begun_;
}

bool Run::in_step() const {
    client::refuse_in_transaction("a durable call", id());
    std::lock_guard lock(mutex_);
    return step_threads_.contains(seam::thread_id());
}

std::int32_t Run::step_number() const {
    std::lock_guard lock(mutex_);
    const auto mine = step_threads_.equal_range(seam::thread_id());
    return mine.first == mine.second ? 0 : std::prev(mine.second)->second;
}

void Run::step_begins(std::int32_t number) {
    std::lock_guard lock(mutex_);
    step_threads_.emplace(seam::thread_id(), number);
}

void Run::step_ended() noexcept {
    std::lock_guard lock(mutex_);
    const auto mine = step_threads_.equal_range(seam::thread_id());
    if (mine.first != mine.second) step_threads_.erase(std::prev(mine.second));
}

void Run::ensure_owned() {
    LeaseKeeper& lease = executor_.lease();
    for (;;) {
        throw_if_interrupted();
        // The check is one word and then the clock; nothing stands between it and the step's body.
        if (lease.fresh(checked_lapse_.load())) return;
        if (lease.replaced()) {
            interrupt(Interrupt::Reason::lost_ownership);
        } else if (lease.expired()) {
            lease.wait_until_not_expired(milliseconds(500));
        } else {
            try {
                executor_.recheck_ownership(*this);
            } catch (const DatabaseError& error) {
                log_to(executor_.log(), LogLevel::error,
                       "whether a run is still ours could not be asked; it is left to be recovered",
                       {{"workflow_id", id()}, {"error", error.what()}});
                give_up(error.kind());
            }
        }
    }
}

template <class F>
sysdb::StepResult Run::written(const sysdb::StepRecord& step, F&& write) {
    try {
        return write();
    } catch (const DatabaseError& error) {
        // The body must not go on past a step without a record: the run ends here, its row stays PENDING, and is recovered.
        give_up(error, "a checkpoint could not be written; the workflow is left to be recovered",
                step.function_name);
    }
}

sysdb::StepRecord Run::record(const sysdb::StepRecord& step, sysdb::OnConflict on_conflict) {
    reached(Point::checkpoint, step.function_id, step.function_name);
    auto stored =
        settle(step, on_conflict,
               written(step, [&] { return executor_.database().record_step(fence(), step, on_conflict); }));
    reached(Point::recorded, step.function_id, step.function_name);
    return stored;
}

void Run::reached(Point point, std::int32_t number, const std::string& name, int attempt) {
    Probe* const probe = executor_.probe();
    if (!probe) return;
    probe->reached(*this, point, number, name, attempt);
    throw_if_interrupted();
}

void Run::passed(Point point, std::int32_t number, const std::string& name) noexcept {
    if (Probe* const probe = executor_.probe()) probe->reached(*this, point, number, name, 1);
}

bool Run::at_rest(std::optional<sysdb::Millis>& next) const {
    std::lock_guard lock(mutex_);
    if (waits_.size() != async_steps_.size() + 1) return false;  // the body, and each step beside it
    for (const WakeSpec* wait : waits_) {
        if ((wait->ready && wait->ready()) || (wait->waiting && wait->waiting->has_news())) return false;
        earliest(next, wait->until);
    }
    return true;
}

sysdb::StepRecord Run::settle(const sysdb::StepRecord& step, sysdb::OnConflict on_conflict,
                              sysdb::StepResult result) {
    switch (result.kind) {
        case sysdb::StepResult::Kind::recorded:
            if (!result.stored.function_name.empty()) return std::move(result.stored);
            return step;
        case sysdb::StepResult::Kind::other:
            if (on_conflict == sysdb::OnConflict::first_wins) return std::move(result.stored);
            fail_for_good(std::make_exception_ptr(StepNondeterminism(
                id(), step.function_id,
                "it was recorded by this execution already as \"" + result.stored.function_name +
                    "\", this call is \"" + step.function_name + "\"")));
        case sysdb::StepResult::Kind::lost:
        case sysdb::StepResult::Kind::missing:
        case sysdb::StepResult::Kind::nothing: break;
    }
    executor_.explain_loss(*this);
    throw_if_interrupted();
    throw Interrupt(Interrupt::Reason::lost_ownership, id());
}

sysdb::StepResult Run::write_effect(const sysdb::StepRecord& step, const sysdb::Effect& effect) {
    reached(Point::checkpoint, step.function_id, step.function_name);
    auto result = written(step, [&] { return executor_.database().record_effect(fence(), step, effect); });
    if (result.kind == sysdb::StepResult::Kind::recorded)
        reached(Point::recorded, step.function_id, step.function_name);
    return result;
}

void Run::receive_begins(const std::string& topic) {
    if (receives_.insert(topic).second) return;
    throw UsageError("a second receive of topic \"" + topic +
                         "\" was begun while another is in flight: take the first one's value before, or let "
                         "it go",
                     id());
}

void Run::add_stop_source(std::stop_source source) {
    {
        std::lock_guard lock(mutex_);
        stop_sources_.push_back(source);
    }
    if (interrupted()) source.request_stop();
}

void Run::remove_stop_source(const std::stop_source& source) noexcept {
    std::lock_guard lock(mutex_);
    std::erase(stop_sources_, source);
}

void Run::async_step_added(const std::string& name) {
    std::lock_guard lock(mutex_);
    async_steps_.insert(name);
}

void Run::async_step_ended(const std::string& name) noexcept {
    std::lock_guard lock(mutex_);
    async_steps_.erase(async_steps_.find(name));
    woken_.notify_all();
}

void Run::join_async_steps() {
    std::unique_lock lock(mutex_);
    woken_.wait(lock, [&] { return async_steps_.empty(); });
}

void Run::name_step(const std::string& name) {
    std::lock_guard lock(mutex_);
    body_step_ = name;
}

std::vector<std::string> Run::steps_running() const {
    std::lock_guard lock(mutex_);
    std::vector<std::string> names(async_steps_.begin(), async_steps_.end());
    if (!body_step_.empty()) names.push_back(body_step_);
    return names;
}

}  // namespace dbos::runtime
