#include "sysdb/committer.hpp"

#include <algorithm>
#include <string>

#include "platform/host.hpp"
#include "platform/planted.hpp"
#include "platform/situations.hpp"

namespace dbos::sysdb {
namespace {

constexpr seam::Duration kLockTimeout = std::chrono::milliseconds(200);
/// A start that is found free to be written this often and never can be: something hides the row that is in its way.
constexpr int kMostRounds = 100;
/// How many runs that have lost an effect are remembered; they end within moments.
constexpr std::size_t kMostBroken = 4096;
/// How often an effect gives way to writers that do not keep to our locks.
constexpr int kMostCollisions = 10;

std::exception_ptr closed_error(bool ambiguous) {
    return std::make_exception_ptr(DatabaseError(
        DatabaseErrorKind::closed, "the client or application was closed before this write was acknowledged",
        {}, {}, ambiguous));
}

/// For a thread of its own: what several threads are told is nobody's to change.
std::exception_ptr own_copy(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const DatabaseError& failure) {
        return std::make_exception_ptr(DatabaseError(failure));
    } catch (...) {
        return error;
    }
}

/// A writer that does not keep to the lock of the workflow has taken the offset, or a destination was deleted meanwhile.
bool met_another(const Write& write, const DatabaseError& error) {
    return (write.effect_as<StreamEffect>() && error.kind() == DatabaseErrorKind::unique_violation) ||
           (write.effect_as<SendEffect>() && error.kind() == DatabaseErrorKind::foreign_key);
}

std::string seconds(seam::Duration duration) {
    return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count());
}

}  // namespace

void Committer::Lane::interrupt() noexcept {
    const std::lock_guard<seam::Mutex> lock(guard);
    if (connection) connection->interrupt();
}

Committer::Committer(SystemDatabase::Core& core) : core_(core), told_at_once_(seam::processors()) {
    waiting_runs_.reserve(core.options.batch_max_writes);
    for (Lane* lane : {&main_, &side_}) {
        lane->writer = core.backend == sql::Backend::postgres ? make_postgres_writer(core, order_)
                                                              : make_sqlite_writer(core, order_);
        lane->writer->set_lock_timeout(kLockTimeout);
    }
    main_thread_ = seam::spawn("dbos-commit", [this] { main_loop(); });
}

Committer::~Committer() { close(seam::Duration::zero()); }

void Committer::close(seam::Duration drain) noexcept {
    closing_.store(true);
    {
        std::unique_lock<seam::Mutex> lock(idle_mutex_);
        idle_.wait_for(lock, drain, [this] { return pending_.load() == 0; });
    }
    stopping_.store(true);
    core_.stop.request();
    if (pending_.load() != 0) {
        core_.interrupt_all();
        main_.interrupt();
        side_.interrupt();
    }
    signal_.fetch_add(1);
    signal_.notify_all();
    if (main_thread_.joinable()) main_thread_.join();
    seam::Thread side;
    {
        const std::lock_guard<seam::Mutex> lock(side_mutex_);
        side_changed_.notify_all();
        side = std::move(side_thread_);
    }
    if (side.joinable()) side.join();
    if (!core_.options.open.source) return;
    for (Lane* lane : {&main_, &side_}) {  // the program's own go back to it now, not with this object
        const std::lock_guard<seam::Mutex> lock(lane->guard);
        lane->connection.reset();
    }
}

// ------------------------------------------------------------------------------------------------------------ callers

Write& Committer::take() {
    const std::lock_guard<seam::Mutex> lock(slots_mutex_);
    if (free_.empty()) {
        slots_.push_back(std::make_unique<Write>());
        free_.reserve(slots_.size());
        return *slots_.back();
    }
    Write& write = *free_.back();
    free_.pop_back();
    if (seam::planted(seam::Bug::slot_on_the_stack)) std::construct_at(&write.done);
    return write;
}

void Committer::give_back(Write& write) noexcept {
    write.reset();
    if (seam::planted(seam::Bug::slot_on_the_stack)) std::destroy_at(&write.done);
    const std::lock_guard<seam::Mutex> lock(slots_mutex_);
    free_.push_back(&write);
}

bool Committer::submit(Write& write) {
    pending_.fetch_add(1);
    if (closing_.load()) {
        if (pending_.fetch_sub(1) == 1) settled();
        return false;
    }
    Write* head = inbox_.load(std::memory_order_relaxed);
    do {
        write.next = head;
    } while (
        !inbox_.compare_exchange_weak(head, &write, std::memory_order_release, std::memory_order_relaxed));
    if (head == nullptr) {
        signal_.fetch_add(1);
        signal_.notify_one();
    }
    return true;
}

void Committer::run(Write& write) {
    if (!submit(write)) std::rethrow_exception(closed_error(false));
    if (seam::planted(seam::Bug::check_before_register)) write.done.wait_for(seam::Duration::zero());
    write.done.wait();
    if (write.heir && !seam::planted(seam::Bug::word_not_passed_on)) write.heir->done.raise();
    if (write.error) std::rethrow_exception(write.error);
}

void Committer::post(Write& write) {
    if (submit(write)) return;
    write.error = closed_error(false);
    pending_.fetch_add(1);
    complete(write);
}

// ------------------------------------------------------------------------------------------------------------ main thread

void Committer::drain_inbox() {
    Write* list = inbox_.exchange(nullptr, std::memory_order_acquire);
    arrived_.clear();
    for (; list != nullptr; list = list->next) arrived_.push_back(list);
    backlog_.insert(backlog_.end(), arrived_.rbegin(), arrived_.rend());
}

void Committer::main_loop() {
    std::vector<Write*> batch;
    for (;;) {
        int seen = signal_.load(std::memory_order_acquire);
        drain_inbox();
        if (seam::planted(seam::Bug::idle_signal_read_late)) seen = signal_.load(std::memory_order_acquire);
        if (stopping_.load() || backlog_.empty()) acknowledge();
        if (stopping_.load()) {
            fail_all(backlog_);
            tell_others();
            if (pending_.load() == 0) return;
            if (inbox_.load() == nullptr) signal_.wait(seen);
            continue;
        }
        if (backlog_.empty()) {
            tell_others();
            tell_of_room();
            signal_.wait(seen, std::memory_order_acquire);
            continue;
        }
        form_batch(batch);
        commit_batch(batch);
    }
}

void Committer::form_batch(std::vector<Write*>& batch) {
    batch.clear();
    held_.clear();
    keys_.clear();
    std::size_t bytes = 0;
    while (!backlog_.empty() && batch.size() < core_.options.batch_max_writes) {
        Write* write = backlog_.front();
        if (!batch.empty() && bytes + write->bytes > core_.options.batch_max_bytes) break;
        backlog_.pop_front();
        if (fails_with_its_run(*write)) {
            complete(*write);
            continue;
        }
        const bool aside =
            (core_.backend == sql::Backend::postgres && write->bytes > kLargePayload) || goes_aside(*write);
        if (aside && !keys_.names(*write)) {
            move_aside(*write);
        } else if (aside) {
            keys_.hold(*write);
            held_.push_back(write);
        } else if (keys_.admit(*write) == BatchKeys::Verdict::join) {
            bytes += write->bytes;
            batch.push_back(write);
        } else {
            held_.push_back(write);
        }
    }
    backlog_.insert(backlog_.begin(), held_.begin(), held_.end());
}

void Committer::commit_batch(std::vector<Write*>& batch) {
    if (batch.empty()) return acknowledge();
    std::exception_ptr failure;
    const Ran ran = run_writes(main_, batch, failure);
    if (ran == Ran::refused) {
        for (Write* write : batch) fail(*write, own_copy(failure));
    } else if (ran != Ran::done) {
        commit_singly(batch, ran, failure);
    }
    finish(batch);
}

void Committer::commit_singly(std::vector<Write*>& batch, Ran together, std::exception_ptr failure) {
    // One bad or blocked write must not hurt the others; those behind a blocked one of the same workflow follow it.
    for (Write*& write : batch) {
        if (write->resolved || write->again || fails_with_its_run(*write)) continue;
        Ran alone = together;
        if (goes_aside(*write)) {
            alone = Ran::blocked;
        } else if (batch.size() > 1) {
            alone = run_writes(main_, {&write, 1}, failure);
        }
        if (alone == Ran::blocked) {
            move_aside(*write);
            write = nullptr;  // of the side thread now
        } else if (alone != Ran::done) {
            fail(*write, failure);
        }
    }
    std::erase(batch, nullptr);
}

void Committer::fail(Write& write, const std::exception_ptr& error) {
    if (write.resolved) return;
    write.error = error;
    write.resolved = true;
    write.again = false;
    if (!write.is_effect()) return;
    const std::lock_guard<seam::Mutex> lock(broken_mutex_);
    if (broken_.size() >= kMostBroken) broken_.clear();
    broken_.emplace(*write.fence, error);
    any_broken_.store(true);
}

/// Whether it is an effect of a run that has lost one before it; it fails then.
bool Committer::fails_with_its_run(Write& write) {
    if (!write.is_effect() || !any_broken_.load()) return false;
    const std::lock_guard<seam::Mutex> lock(broken_mutex_);
    const auto found = broken_.find(*write.fence);
    if (found == broken_.end()) return false;
    seam::reach(seam::Situation::effect_behind_a_failed_one);
    write.error = own_copy(found->second);
    write.resolved = true;
    write.again = false;
    return true;
}

sql::Connection& Committer::connection_of(Lane& lane) {
    if (!lane.connection || !lane.connection->usable()) {
        if (&lane == &main_) acknowledge();  // whose write has been committed does not wait for a connection
        auto fresh = core_.open_dedicated(true);
        const std::lock_guard<seam::Mutex> lock(lane.guard);
        std::swap(lane.connection, fresh);
    }
    return *lane.connection;
}

Committer::Ran Committer::run_writes(Lane& lane, std::span<Write* const> writes,
                                     std::exception_ptr& failure) {
    std::vector<Write*> open(writes.begin(), writes.end());
    bool reprobed = false;
    int collisions = 0;
    sql::Connection::Meanwhile meanwhile;
    if (&lane == &main_) meanwhile = [this] { acknowledge(); };
    for (int attempt = 0;; ++attempt) {
        try {
            lane.writer->write(connection_of(lane), open, meanwhile);
            return Ran::done;
        } catch (const DatabaseError& error) {
            failure = std::current_exception();
            for (Write* write : open) write->ambiguous = write->ambiguous || error.outcome_unknown();
            const bool lost = error.kind() == DatabaseErrorKind::connection;
            if (stopping_.load()) {
                for (Write* write : open) fail(*write, closed_error(write->ambiguous));
                return Ran::done;
            }
            if (error.kind() == DatabaseErrorKind::undefined_object && !reprobed) {
                reprobed = true;
                core_.forget_layout();
                continue;
            }
            if (error.kind() == DatabaseErrorKind::busy) {
                if (core_.backend == sql::Backend::postgres) return Ran::blocked;
                if (!wait_out_busy(open, error)) return Ran::done;
            } else if (lost && !core_.options.retry_connection_errors) {
                return Ran::refused;
            } else if (writes.size() == 1 && met_another(*writes.front(), error) &&
                       ++collisions < kMostCollisions) {
                // It was rolled back: the next attempt sees what stood in its way.
            } else if (!error.transient() || (!lost && writes.size() > 1)) {
                return Ran::failed;
            }
            seam::reach(seam::Situation::batch_repeated);
            log(LogLevel::warn, "a commit failed and is repeated", open.front(), error.what());
        } catch (const std::exception&) {
            failure = std::current_exception();
            return Ran::failed;
        }
        if (meanwhile) meanwhile();
        core_.stop.wait(sql::retry_delay(attempt, kRetryCap));
        std::erase_if(open, [](const Write* write) { return write->resolved || write->again; });
        if (open.empty()) return Ran::done;
    }
}

bool Committer::wait_out_busy(std::span<Write* const> writes, const DatabaseError& error) {
    const seam::SteadyTime now = seam::steady_now();
    bool any = false;
    for (Write* write : writes) {
        if (write->since == seam::SteadyTime{}) write->since = now;
        // Checkpoints are exempt: a run has nobody to ask.
        if (write->kind == WriteKind::start && now - write->since >= core_.options.blocked_after) {
            fail(*write, std::make_exception_ptr(
                             DatabaseError(DatabaseErrorKind::blocked,
                                           write->describe() + " has waited " + seconds(now - write->since) +
                                               " s for the writer lock of the database file, which another "
                                               "connection holds; does this "
                                               "thread, or another program, hold an open transaction? " +
                                               error.what(),
                                           error.sqlstate())));
        }
        any = any || !write->resolved;
    }
    return any;
}

void Committer::finish(std::vector<Write*>& writes) {
    announce(writes);
    std::vector<Write*> once_more;
    for (Write*& write : writes) {
        if (!goes_again(*write)) continue;
        once_more.push_back(write);
        write = nullptr;
    }
    std::erase(writes, nullptr);
    backlog_.insert(backlog_.begin(), once_more.begin(), once_more.end());
    acknowledge();
    finished_.swap(writes);
    if (core_.backend == sql::Backend::sqlite) acknowledge();  // nobody else works there meanwhile
}

bool Committer::goes_again(Write& write) {
    if (write.again && ++write.rounds > kMostRounds) {
        fail(write, std::make_exception_ptr(
                        DatabaseError(DatabaseErrorKind::other,
                                      write.describe() + ": a row stands in its way that cannot be read")));
    }
    return write.again;
}

void Committer::acknowledge() noexcept {
    if (finished_.empty()) return;
    for (Write* write : finished_) {  // from here on they belong to whoever waited
        if (write->fence && std::holds_alternative<std::monostate>(write->completion)) {
            waiting_runs_.push_back(write);
        } else {
            complete(*write);
        }
    }
    finished_.clear();
    tell_runs();
    tell_of_room();
}

/// Of what the last batches have kept back. They look for themselves too: a failure costs them that time.
void Committer::tell_others() noexcept {
    if (!main_.connection) return;
    try {
        main_.writer->tell(*main_.connection);
    } catch (const std::exception& error) {
        log(LogLevel::debug, "other processes could not be told of ended workflows", nullptr, error.what());
    }
}

/// Fewer writes wait.
void Committer::tell_of_room() noexcept {
    if (core_.options.local_wake.written) core_.options.local_wake.written();
}

/// As many at a time as there are processors: each wakes the next. All at once they would stand in line with the threads and
/// processes that claim and commit. Whoever else waits, of whatever priority, is told by the committer.
void Committer::tell_runs() noexcept {
    std::vector<Write*>& runs = waiting_runs_;
    const std::size_t first = std::min(told_at_once_, runs.size());
    for (std::size_t n = first; n < runs.size(); ++n) {
        runs[n - told_at_once_]->heir = runs[n];
        seam::reach(seam::Situation::waiter_told_by_another);
    }
    const bool last = !runs.empty() && pending_.fetch_sub(runs.size()) == runs.size();
    for (std::size_t n = 0; n < first; ++n) runs[n]->done.raise();
    runs.clear();
    if (last) settled();
}

void Committer::announce(std::span<Write* const> writes) noexcept {
    const LocalWake& wake = core_.options.local_wake;
    bool any = false;
    for (const Write* write : writes) {
        if (write->error) continue;
        any = any || write->enqueued || write->ended || write->published;
        if (write->published && wake.published) wake.published(write->fence->workflow_id, *write->effect);
        if (write->enqueued && wake.enqueued && write->workflow->queue_name)
            wake.enqueued(*write->workflow->queue_name);
        if (write->ended && wake.ended) wake.ended(write->fence->workflow_id);
        if (write->ended && wake.enqueued && write->outcome->queue_name)
            wake.enqueued(*write->outcome->queue_name);
    }
    if (!any || !core_.options.notify || core_.backend != sql::Backend::sqlite) return;
    try {
        if (seam::WakeFile* file = core_.wake_file()) file->signal();
    } catch (const std::exception&) {  // the poll floor finds it
    }
}

void Committer::complete(Write& write) noexcept {
    const bool last = pending_.fetch_sub(1) == 1;  // first: who has been told does not count as pending
    bool posted = true;
    if (auto* done = std::get_if<Completion<StartResult>>(&write.completion)) {
        (*done)(std::move(write.start_result), write.error);
    } else if (auto* recorded = std::get_if<Completion<StepResult>>(&write.completion)) {
        (*recorded)(std::move(write.step_result), write.error);
    } else if (auto* born = std::get_if<Completion<ChildResult>>(&write.completion)) {
        (*born)(child_result(write), write.error);
    } else if (auto* ended = std::get_if<Completion<OutcomeResult>>(&write.completion)) {
        (*ended)(write.outcome_result, write.error);
    } else {
        posted = false;
        write.done.raise();  // the slot outlives its waiter
    }
    if (posted) give_back(write);
    if (last) settled();
}

/// Nothing is pending any more: close() and the main thread wait for that.
void Committer::settled() noexcept {
    if (!closing_.load()) return;
    const std::lock_guard<seam::Mutex> lock(idle_mutex_);
    idle_.notify_all();
    signal_.fetch_add(1);
    signal_.notify_all();
}

void Committer::fail_all(std::deque<Write*>& writes) noexcept {
    for (Write* write : writes) {
        write->error = closed_error(write->ambiguous);
        complete(*write);
    }
    writes.clear();
}

void Committer::log(LogLevel level, const char* message, const Write* write,
                    const std::string& detail) const noexcept {
    if (!core_.options.log) return;
    try {
        core_.options.log({level, message, {{"write", write ? write->describe() : ""}, {"detail", detail}}});
    } catch (...) {  // what a sink throws is dropped
    }
}

}  // namespace dbos::sysdb
