// Runs of an executor: taking over claimed and started rows, running bodies, recording outcomes, losing ownership.
#include <cxxabi.h>
#include <algorithm>
#include <set>
#include <utility>

#include "client/marks.hpp"
#include "core/log.hpp"
#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "runtime/errors.hpp"
#include "runtime/executor.hpp"

namespace dbos::runtime {

namespace {

constexpr std::size_t kNotBegunMax = 800;  // those that are held in front of threads that are done soon
// Writes that wait, and bodies not begun, at which claims pause: what is claimed beyond them waits for the database as well, and
// the claims keep the database from writing (bench-queues).
constexpr std::size_t kUnwrittenMax = seam::simulated ? 6 : 1536;
constexpr std::int32_t kClaimRows = 100;
// On a busy server a claim holds its locks and its snapshot until its processes have had enough of the processors: it is kept
// short. Not where no body waits to begin: there the claims do not keep up with the threads, of a distant server for instance.
// Nor where many rows share one instant: each claim reads all entries before its own. On SQLite it costs a turn at the file and a
// flush.
constexpr std::int32_t kClaimRowsWhereBodiesWait = 25;
constexpr std::size_t kUnwrittenOfWokenMax = 4096;
constexpr std::size_t kRunningMax = 4096;  // bodies that claims fill up to, waits not counted

/// For a planted bug.
bool is_undecodable(const std::exception_ptr& error) {
    try {
        if (error) std::rethrow_exception(error);
    } catch (const DecodeError&) {
        return true;
    } catch (...) {
        return false;
    }
    return false;
}

}  // namespace

std::int32_t Executor::claim_room(bool one_instant) {
    const std::int32_t all = room(kUnwrittenMax);
    const bool dear = one_instant || database().backend() == sql::Backend::sqlite;
    const std::lock_guard lock(mutex_);
    return std::min(all, not_begun_ > 0 && !dear ? kClaimRowsWhereBodiesWait : kClaimRows);
}

std::int32_t Executor::wake_room() { return room(kUnwrittenOfWokenMax); }

std::int32_t Executor::room(std::size_t most_unwritten) {
    const std::size_t unwritten = database().pending_writes();
    std::lock_guard lock(mutex_);
    if (ending_) return 0;
    if (unwritten + not_begun_ >= most_unwritten) {
        seam::reach(seam::Situation::claims_wait_for_writes);
        return 0;
    }
    const std::size_t bound = permits_.limit() == 0 ? kRunningMax : std::min(permits_.limit(), kRunningMax);
    const std::size_t wanted = permits_.demand() + not_begun_;
    if (wanted >= bound) return 0;
    return static_cast<std::int32_t>(std::min({bound - wanted, most_unwritten - unwritten - not_begun_,
                                               kNotBegunMax - std::min(kNotBegunMax, not_begun_)}));
}

bool Executor::reserve(const sysdb::Fence& fence) {
    std::lock_guard lock(mutex_);
    if (phase_.load() != Phase::serving || lease_->replaced()) return false;
    reserved_.insert(fence);
    return true;
}

void Executor::unreserve(const sysdb::Fence& fence) noexcept {
    std::lock_guard lock(mutex_);
    reserved_.erase(fence);
    changed_.notify_all();
}

std::vector<sysdb::Fence> Executor::running() const {
    std::lock_guard lock(mutex_);
    std::vector<sysdb::Fence> fences;
    fences.reserve(runs_.size());
    for (const auto& [fence, run] : runs_) fences.push_back(fence);
    return fences;
}

bool Executor::runs_here(const std::string& workflow_id) const {
    std::lock_guard lock(mutex_);
    const auto found = runs_.lower_bound({workflow_id, ""});
    return found != runs_.end() && found->first.workflow_id == workflow_id && !found->second->interrupted();
}

void Executor::hand_back_orphans() {
    const auto now = durable_now();
    std::set<sysdb::Fence> early;  // only with a planted bug
    if (seam::planted(seam::Bug::orphans_without_reservations)) {
        std::lock_guard lock(mutex_);
        for (const auto& [fence, run] : runs_) early.insert(fence);
    }
    const auto drop_held = [this, &early](std::vector<sysdb::Fence>& fences) {
        // One look: a run that parks or wakes stands in both places before it leaves one.
        std::lock_guard lock(mutex_);
        std::erase_if(fences, [&](const sysdb::Fence& fence) {
            if (seam::planted(seam::Bug::orphans_without_reservations)) return early.contains(fence);
            return runs_.contains(fence) || reserved_.contains(fence);
        });
        parking_.drop_parked(fences);
    };
    const auto queues =
        database().hand_back_orphans(lease_->row(), drop_held, names_, orphans_since_ - 5'000);
    orphans_since_ = now;
    for (const auto& queue : queues) {
        log_to(log(), LogLevel::warn, "workflows that no run held were handed back to their queue",
               {{"queue", queue}});
        claimer_.has_work(queue);
    }
}

void Executor::begin(std::shared_ptr<Run> run) {
    {
        std::lock_guard lock(mutex_);
        runs_.insert_or_assign(run->fence(), run);
        reserved_.erase(run->fence());
        ++not_begun_;
        // Who comes too late to be interrupted with the others is interrupted here.
        if (lease_->replaced()) {
            run->interrupt(Interrupt::Reason::lost_ownership);
        } else if (phase_.load() != Phase::serving) {
            run->interrupt(Interrupt::Reason::shutdown);
        }
    }
    submit([this, run] {
        {
            std::lock_guard lock(mutex_);
            --not_begun_;
        }
        claimer_.look_again();
        execute(run);
        claimer_.look_again();
    });
}

void Executor::dispatch(sysdb::ClaimedWorkflow row, std::uint32_t lapse) {
    const detail::Implementation* implementation = find_implementation(row.name);
    const sysdb::Fence fence{row.workflow_id, row.token};
    const auto limit = implementation ? implementation->options.max_recovery_attempts : 0;
    if (!implementation) {
        // A row met all the same stays PENDING, as in the other SDKs, until somebody who implements it recovers it.
        log_to(log(), LogLevel::error, "a claimed workflow has no body here; it stays PENDING",
               {{"workflow_id", row.workflow_id}, {"workflow", row.name}});
        claimer_.slot_freed(row.queue_name, fence);
        return;
    }
    const std::int64_t most = limit + (seam::planted(seam::Bug::dead_letter_late) ? 2 : 1);
    if (limit > 0 && row.recovery_attempts > most) {
        const bool done = guarded("dead-lettering a workflow", [&] {
            if (database().dead_letter(fence, row.recovery_attempts)) {
                seam::reach(seam::Situation::dead_lettered);
                log_to(
                    log(), LogLevel::error,
                    "a workflow was taken up too often and is given up (MAX_RECOVERY_ATTEMPTS_EXCEEDED)",
                    {{"workflow_id", row.workflow_id}, {"attempts", std::to_string(row.recovery_attempts)}});
            }
        });
        if (!done) return abandon(fence, row.queue_name);
        claimer_.slot_freed(row.queue_name, fence);
        return;
    }
    if (row.inputs_deferred) {
        if (!guarded("reading the inputs of a claimed workflow",
                     [&] { row.inputs = database().inputs(row.workflow_id); })) {
            return abandon(fence, row.queue_name);
        }
    }
    Run::Birth birth{.fence = fence,
                     .implementation = implementation,
                     .inputs = row.inputs.value_or(""),
                     .serialization = row.serialization.value_or(""),
                     .deadline_ms = row.deadline_ms,
                     .queue_name = row.queue_name,
                     .authenticated_user = row.authenticated_user,
                     .authenticated_roles = row.authenticated_roles,
                     .assumed_role = row.assumed_role,
                     .history = std::move(row.history),
                     .lapse = lapse,
                     .recovery_attempts = row.recovery_attempts};
    begin(std::make_shared<Run>(*this, std::move(birth)));
}

void Executor::begin_direct(const sysdb::NewWorkflow& row, const detail::Implementation& implementation,
                            std::uint32_t lapse) {
    Run::Birth birth{.fence = {row.workflow_id, row.token},
                     .implementation = &implementation,
                     .inputs = row.inputs,
                     .serialization = row.serialization,
                     .deadline_ms = row.deadline_ms,
                     .queue_name = {},
                     .authenticated_user = row.authenticated_user,
                     .authenticated_roles = row.authenticated_roles,
                     .assumed_role = row.assumed_role,
                     .history = {},
                     .lapse = lapse};
    begin(std::make_shared<Run>(*this, std::move(birth)));
}

const Serializer& Executor::format_of(const sysdb::Text& name) const {
    if (!name || name->empty() || *name == options_.serializer->name()) return *options_.serializer;
    if (const Serializer* found = find_serializer(*name)) return *found;
    throw DecodeError("$", "a format that this version reads (portable_json)", "\"" + *name + "\"",
                      "unknown_format", *name);
}

void Executor::execute(const std::shared_ptr<Run>& run) {
    permits_.acquire();
    struct Permit {
        Permits& permits;
        ~Permit() { permits.release(); }
    } permit{permits_};

    const Serializer* format = &serializer();
    std::exception_ptr error;
    std::string payload;
    bool interrupted = false;
    run->body_begins();
    try {
        // An empty id can never be awaited or recovered: it ends at once (runtime protocol 1.7).
        if (run->id().find_first_not_of(" \t\r\n") == std::string::npos)
            throw UsageError("a workflow id must not be blank");
        format = &format_of(run->birth().serialization);
        run->authorize();
        const Arguments arguments =
            run->birth().inputs.empty() ? Arguments() : format->decode_inputs(run->birth().inputs);
        Context context(*run);
        const client::BodyMark mark(core_->database_key());
        try {
            // Encoded before the deferred calls. A result that cannot be stored is the workflow's error.
            run->reached(Point::body, 0, "");
            payload = format->encode(run->birth().implementation->body(context, arguments));
        } catch (const Interrupt&) {
            throw;
        } catch (abi::__forced_unwind&) {
            throw;
        } catch (...) {
            error = std::current_exception();
        }
        if (!run->interrupted() && !run->sticky_error()) {
            const auto deferred = run->run_deferred();
            if (!error) error = deferred;
        }
    } catch (const Interrupt&) {
        interrupted = true;
    } catch (abi::__forced_unwind&) {
        throw;
    } catch (...) {
        error = std::current_exception();
    }
    run->body_ended();
    run->join_async_steps();
    if (run->interrupt_reason() == Interrupt::Reason::park) {
        transactions_.ended(*run);  // before the next life, which notes its own
        return park(run);
    }
    struct Forgotten {
        Transactions& transactions;
        const Run& run;
        ~Forgotten() { transactions.ended(run); }
    } const forgotten{transactions_, *run};
    if (auto sticky = run->sticky_error()) error = sticky;
    if (seam::planted(seam::Bug::undecodable_given_back) && is_undecodable(error))
        return abandon(run->fence(), run->birth().queue_name);
    if (!interrupted && !run->interrupted()) {
        if (error) payload = encode_error(*format, error, run->errors());
        if (probe()) {
            probe()->outcome(*run, !error, payload);
            run->passed(Point::outcome, 0, "");
        }
    }
    if (run->interrupted() || interrupted) {
        // Over for us: the outcome is somebody else's to write. Handles read it from the database.
        if (run->interrupt_reason() != Interrupt::Reason::shutdown) {
            log_to(log(), LogLevel::info, "a run ended without an outcome: it was cancelled or taken over",
                   {{"workflow_id", run->id()}});
        }
        if (run->given_up()) {
            abandon(run->fence(), run->birth().queue_name);
        } else {
            release(run->fence(), run->birth().queue_name);
        }
        hub().notify_ended(run->id());
        return;
    }
    transactions_.forget(*run);
    finish(run, !error, std::move(payload));
}

void Executor::park(const std::shared_ptr<Run>& run) {
    if (!parking_.park(run)) {  // the process shuts down: the row is recovered
        release(run->fence(), run->birth().queue_name);
        return;
    }
    std::lock_guard lock(mutex_);
    const auto found = runs_.find(run->fence());
    // It may have been woken already: then the new run stands here.
    if (found != runs_.end() && found->second == run) runs_.erase(found);
    changed_.notify_all();
}

void Executor::finish(const std::shared_ptr<Run>& run, bool success, std::string payload) {
    {
        std::lock_guard lock(mutex_);
        ++outcomes_pending_;
    }
    sysdb::Outcome outcome{
        .fence = run->fence(), .success = success, .payload = std::move(payload), .queue_name = {}};
    sysdb::Text queue = run->birth().queue_name;
    if (queue && claimer_.has_shared_limit(*queue)) outcome.queue_name = queue;
    if (queue && seam::planted(seam::Bug::slot_freed_early))
        claimer_.slot_freed(*std::exchange(queue, std::nullopt), run->fence());
    // What waits here for the result is told without a query.
    auto row = std::make_shared<sysdb::ResultRow>(
        sysdb::ResultRow{.workflow_id = run->id(),
                         .status = success ? "SUCCESS" : "ERROR",
                         .output = success ? sysdb::Text(outcome.payload) : sysdb::Text(),
                         .error = success ? sysdb::Text() : sysdb::Text(outcome.payload),
                         .serialization = run->birth().serialization});
    // The body's thread is free at once; the slot only when the outcome has been committed.
    database().record_outcome_async(std::move(outcome), [this, run, row, queue](sysdb::OutcomeResult result,
                                                                                std::exception_ptr error) {
        const bool recorded = !error && result == sysdb::OutcomeResult::recorded;
        if (error) {
            log_to(log(), LogLevel::error, "an outcome could not be recorded; the workflow will be recovered",
                   {{"workflow_id", run->id()}});
        } else if (!recorded) {
            log_to(log(), LogLevel::info, "a run ended without an outcome: it was cancelled or taken over",
                   {{"workflow_id", run->id()}});
        }
        if (error) {
            abandon(run->fence(), queue);
        } else {
            release(run->fence(), queue);
        }
        // After the release: who registers a wait from now on looks at the database.
        if (recorded) {
            run->passed(Point::ended, 0, "");
            hub().deliver(*row);
        } else {
            hub().notify_ended(run->id());
        }
        {
            std::lock_guard lock(mutex_);
            --outcomes_pending_;
            if (ending_) changed_.notify_all();
        }
    });
}

void Executor::release(const sysdb::Fence& fence, const sysdb::Text& queue) noexcept {
    if (queue) claimer_.slot_freed(*queue, fence);
    std::lock_guard lock(mutex_);
    runs_.erase(fence);
    if (ending_) changed_.notify_all();
}

void Executor::abandon(const sysdb::Fence& fence, const sysdb::Text& queue) noexcept {
    {
        std::lock_guard lock(mutex_);
        runs_.erase(fence);
        abandoned_.emplace(fence, queue);
        if (ending_) changed_.notify_all();
    }
    claimer_.hand_back_soon();
}

bool Executor::hand_back_abandoned() {
    std::map<sysdb::Fence, sysdb::Text> given_up;
    {
        std::lock_guard lock(mutex_);
        given_up = abandoned_;
    }
    if (given_up.empty()) return true;
    std::vector<sysdb::Fence> fences;
    for (const auto& [fence, queue] : given_up) fences.push_back(fence);
    std::vector<std::string> queues;
    std::vector<bool> owned;
    const bool asked = guarded("handing back workflows whose runs were given up", [&] {
        queues = database().hand_back(lease_->row(), fences);
        owned = database().still_owned(fences);  // a row that somebody had locked was passed over
    });
    if (!asked) return false;
    bool all = true;
    for (std::size_t i = 0; i < fences.size(); ++i) {
        if (owned[i]) {
            all = false;
            continue;
        }
        {
            std::lock_guard lock(mutex_);
            abandoned_.erase(fences[i]);
        }
        seam::reach(seam::Situation::abandoned_handed_back);
        if (const auto& queue = given_up.at(fences[i])) claimer_.slot_freed(*queue, fences[i]);
    }
    for (const auto& queue : queues) claimer_.has_work(queue);
    return all;
}

void Executor::run_lost(const sysdb::Fence& fence, const std::string& status) {
    std::shared_ptr<Run> run;
    {
        std::lock_guard lock(mutex_);
        const auto found = runs_.find(fence);
        if (found == runs_.end()) return;
        run = found->second;
    }
    seam::reach(status == "CANCELLED" ? seam::Situation::cancel_seen_by_tick
                                      : seam::Situation::loss_seen_by_tick);
    run->interrupt(status == "CANCELLED" ? Interrupt::Reason::cancelled : Interrupt::Reason::lost_ownership);
}

void Executor::explain_loss(Run& run) {
    auto reason = Interrupt::Reason::lost_ownership;
    guarded("reading the status of a workflow that was taken from us", [&] {
        const std::string ids[] = {run.id()};
        for (const auto& [id, status] : database().statuses(ids)) {
            if (status == "CANCELLED") reason = Interrupt::Reason::cancelled;
        }
    });
    if (reason == Interrupt::Reason::cancelled) seam::reach(seam::Situation::cancel_seen_by_write);
    run.interrupt(reason);
}

void Executor::recheck_ownership(const Run& asking) {
    std::lock_guard one_at_a_time(recheck_mutex_);
    if (lease_->fresh(asking.checked_lapse())) return;  // somebody has asked for all meanwhile
    seam::reach(seam::Situation::ownership_rechecked);
    // The number is read before the question: a lapse during it is checked again.
    const std::uint32_t lapse = lease_->lapse_number();
    std::vector<std::shared_ptr<Run>> runs;
    std::vector<sysdb::Fence> fences;
    {
        std::lock_guard lock(mutex_);
        for (const auto& [fence, run] : runs_) {
            runs.push_back(run);
            fences.push_back(fence);
        }
    }
    const auto owned = database().still_owned(fences);
    for (std::size_t i = 0; i < runs.size(); ++i) {
        if (owned[i]) {
            runs[i]->set_checked_lapse(lapse);
        } else {
            seam::reach(seam::Situation::lost_at_recheck);
            runs[i]->interrupt(Interrupt::Reason::lost_ownership);
        }
    }
}

}  // namespace dbos::runtime
