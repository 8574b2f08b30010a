// The engine of one App: everything that runs workflows, wired together. The parts are in files of their own (claimer, ticker,
// lease_keeper, run, steps, children); this class starts and stops them in order and keeps the runs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "client/callbacks.hpp"
#include "client/core.hpp"
#include "client/hub.hpp"
#include "dbos/app.hpp"
#include "runtime/claimer.hpp"
#include "runtime/lease_keeper.hpp"
#include "runtime/mailboxes.hpp"
#include "runtime/parking.hpp"
#include "runtime/permits.hpp"
#include "runtime/probe.hpp"
#include "runtime/run.hpp"
#include "runtime/scheduler.hpp"
#include "runtime/thread_pool.hpp"
#include "runtime/ticker.hpp"
#include "runtime/timers.hpp"
#include "runtime/transactions.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::runtime {

/// Queue of resumes, forks and recovered direct starts; every process serves it (py: dbos/_queue.py).
using sysdb::kInternalQueue;

class Executor {
   public:
    explicit Executor(AppOptions options);
    ~Executor();
    Executor(const Executor&) = delete;
    Executor& operator=(const Executor&) = delete;

    /// For dbos::testing, before launch().
    void instrument(Instruments instruments) { instruments_ = std::move(instruments); }
    void implement(detail::Implementation implementation);
    void register_queue(const QueueOptions& options);
    void declare_schedule(std::string_view workflow_name, ScheduleOptions&& options, Value&& context);
    void launch();
    std::vector<std::string> shutdown(Duration completion_timeout, Duration step_timeout);
    /// Blocks until shutdown() was called or a termination signal came.
    void wait_for_end();
    bool launched() const noexcept { return phase_.load() == Phase::serving; }

    std::shared_ptr<detail::HandleState> start(const detail::CallTarget& target, EnqueueOptions&& options,
                                               Arguments&& arguments);
    void start_async(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                     detail::HandleDone done);
    Client& client();
    const std::shared_ptr<detail::CallbackQueue>& callbacks() const;

    // --- for bodies
    /// The row of a start, with what this executor adds to it. `implementation` is set if its body is here. Without `check`
    /// (a replay) it does not matter whether queue and body are known now.
    client::PreparedStart prepare(const detail::CallTarget& target, EnqueueOptions&& options,
                                  Arguments&& arguments, const detail::Implementation*& implementation,
                                  bool check);
    /// Commits a child and the parent's checkpoint, and runs the child here if it is a direct one. Returns the record that
    /// stands, with the id to watch or the refusal.
    sysdb::StepRecord start_child(Run& run, const sysdb::StepRecord& checkpoint,
                                  const client::PreparedStart& child,
                                  const detail::Implementation* implementation);
    /// The same without a wait. `done` runs on the committer's thread; what it is given goes to child_started() on the body's.
    void start_child_async(Run& run, const sysdb::StepRecord& checkpoint,
                           std::shared_ptr<const client::PreparedStart> child,
                           const detail::Implementation* implementation,
                           sysdb::Completion<sysdb::ChildResult> done);
    /// What the result of a child's start means: the record that stands. Throws Interrupt, or a sticky error.
    sysdb::StepRecord child_started(Run& run, sysdb::StepRecord checkpoint,
                                    const client::PreparedStart& child, const sysdb::ChildResult& result);

    // --- for the parts
    const AppOptions& options() const noexcept { return options_; }
    const LogSink& log() const noexcept { return options_.log_sink; }
    /// How the system database is opened. With an engine, one of its connections is looked at: throws DatabaseError.
    sql::OpenOptions system_options() const;
    const std::string& executor_id() const noexcept { return executor_id_; }
    const std::string& application_version() const noexcept { return version_; }
    const std::string& application_name() const noexcept { return options_.name; }
    seam::Duration lease_duration() const;
    const std::vector<std::string>& workflow_names() const noexcept { return names_; }
    const detail::Implementation* find_implementation(std::string_view name) const;
    const Serializer& serializer() const noexcept { return *options_.serializer; }
    /// The format of a row; the application's own for NULL and ''. Throws DecodeError for one that is not known.
    const Serializer& format_of(const sysdb::Text& name) const;
    sysdb::SystemDatabase& database() noexcept { return *database_; }
    client::WaiterHub& hub() noexcept { return core_->hub(); }
    client::Core& core() noexcept { return *core_; }
    LeaseKeeper& lease() noexcept { return *lease_; }
    Claimer& claimer() noexcept { return claimer_; }
    Permits& permits() noexcept { return permits_; }
    Timers& timers() noexcept { return *timers_; }
    Mailboxes& mailboxes() noexcept { return *mailboxes_; }
    Parking& parking() noexcept { return parking_; }
    /// How long a wait blocks before its run parks.
    seam::Duration park_limit(seam::Duration replay) const;
    Transactions& transactions() noexcept { return transactions_; }
    sysdb::Millis durable_now() const noexcept { return database_->clock().now_ms(); }
    std::string new_token() const;

    // --- for dbos::testing
    /// Null in production.
    Probe* probe() const noexcept { return instruments_.probe; }
    /// Whether nothing goes on here but waits; then `next` is the first instant at which one of them ends.
    bool at_rest(std::optional<sysdb::Millis>& next);
    /// The durable clock has been set forward: does what is due now.
    void time_has_passed();

    /// A body's thread begins and ends a wait of its own, outside of Run::wait.
    void wait_begins() {
        permits_.release();
        claimer_.look_again();
    }
    void wait_ends() { permits_.acquire(); }
    /// Runs a job on the pool: a body or a step.
    void submit(std::function<void()> job) { pool_->submit(std::move(job)); }
    /// Runs something short off the calling thread, also when the pool for bodies is at its bound.
    void post(std::function<void()> job) { posts_->submit(std::move(job)); }
    /// Runs `work`; logs what it throws. False if it threw.
    bool guarded(const char* what, const std::function<void()>& work) noexcept;

    // --- runs
    /// Rows that a claim may take now. `one_instant`: many had been enqueued in one.
    std::int32_t claim_room(bool one_instant);
    /// Parked runs that may be woken now: in time, so more of them may wait for the database than of claimed ones.
    std::int32_t wake_room();
    /// Takes over a claimed row: registers it, and runs it on the pool.
    void dispatch(sysdb::ClaimedWorkflow row, std::uint32_t lapse);
    /// A row that is about to become ours (a direct start): counted as held from now on.
    /// False if nothing may begin here any more.
    bool reserve(const sysdb::Fence& fence);
    void unreserve(const sysdb::Fence& fence) noexcept;
    /// Runs a row that this process has just inserted as PENDING. It was reserved.
    void begin_direct(const sysdb::NewWorkflow& row, const detail::Implementation& implementation,
                      std::uint32_t lapse);
    /// Registers a run and begins it on the pool.
    void begin(std::shared_ptr<Run> run);
    /// The runs whose rows are ours, but for parked ones.
    std::vector<sysdb::Fence> running() const;
    /// Whether a run of this workflow is going on in this process, its outcome not yet committed.
    bool runs_here(const std::string& workflow_id) const;
    /// The tick found that a run is over for us: `status` empty = the row is gone.
    void run_lost(const sysdb::Fence& fence, const std::string& status);
    /// Why a fence was lost: interrupts the run accordingly.
    void explain_loss(Run& run);
    /// After a lapse of the lease: asks which runs are still ours, interrupts the others.
    void recheck_ownership(const Run& asking);
    void reload_queues();
    /// Some process has made, changed, paused, resumed or deleted one.
    void schedules_changed() noexcept { scheduler_.look_again(); }
    /// Throws UsageError if nobody has registered the queue.
    void check_queue(const std::string& queue);
    /// The same, and if the row could never be claimed from it.
    void check_queued(const sysdb::NewWorkflow& row);
    void hand_back_orphans();
    /// Hands back the rows of runs that were given up, and frees their slots. False if some are left.
    bool hand_back_abandoned();

   private:
    enum class Phase : std::uint8_t { configuring, launching, serving, stopping, stopped };

    void open_database();
    /// Calls `what`, again while connections fail, up to Instruments::launch_patience. Throws what is left then.
    void reaching(const std::function<void()>& what);
    /// This process has committed a message, event or stream value.
    void published(const std::string& workflow_id, const sysdb::Effect& effect) noexcept;
    void take_lease();
    sysdb::QueueRow definition_of(const QueueOptions& queue) const;
    void register_queue_row(const QueueOptions& queue);
    /// Whether what is declared can be fired: by the declared queues, and, before a schedule is written, by those of the database.
    void check_declared_queues() const;
    void check_schedules();
    /// Brings the rows of declared schedules up to date, if this version is the latest.
    void apply_schedules(bool latest);
    bool is_or_becomes_latest();
    void check_serving(const char* operation) const;
    [[noreturn]] void refuse_start() const;
    void execute(const std::shared_ptr<Run>& run);
    void finish(const std::shared_ptr<Run>& run, bool success, std::string payload);
    void fail_claimed(const sysdb::ClaimedWorkflow& row, const std::exception_ptr& error);
    void release(const sysdb::Fence& fence, const sysdb::Text& queue) noexcept;
    /// The run is over and its row still PENDING and ours: its slot is free when the row has been handed back.
    void abandon(const sysdb::Fence& fence, const sysdb::Text& queue) noexcept;
    /// Its stack has gone, and its row stays ours.
    void park(const std::shared_ptr<Run>& run);
    void lost_lease();
    void stop_services() noexcept;
    /// For as long as the result lives, `interrupt` is called once if `kGrace` passes: for what is joined meanwhile.
    std::shared_ptr<void> after_grace(std::function<void()> interrupt);
    /// The steps and bodies that are in the program's own code, as shutdown() returns them. Under mutex_.
    std::vector<std::string> code_running() const;
    std::int32_t room(std::size_t most_unwritten);
    void reserve_child(Run& run, const client::PreparedStart& child);
    /// Committed, or not: runs it if it is a direct one that this call created and still owns.
    void child_committed(const client::PreparedStart& child, const sysdb::ChildResult* result,
                         const detail::Implementation* implementation, std::uint32_t lapse) noexcept;
    std::shared_ptr<detail::HandleState> started(const client::PreparedStart& start,
                                                 const sysdb::StartResult& result,
                                                 const detail::Implementation* implementation,
                                                 std::uint32_t lapse);

    AppOptions options_;
    Instruments instruments_;
    std::string executor_id_;
    bool configured_id_ = false;
    std::string version_;
    std::string application_id_;
    std::map<std::string, detail::Implementation, std::less<>> implementations_;
    std::vector<std::string> names_;
    std::vector<QueueOptions> queue_options_;
    std::vector<ScheduleOptions> schedule_options_;
    seam::Atomic<Phase> phase_{Phase::configuring};

    // In the order in which they are made; destroyed the other way round.
    std::shared_ptr<sysdb::SystemDatabase> database_;
    std::shared_ptr<client::Core> core_;
    seam::Atomic<client::Core*> local_core_{nullptr};  // core_, for the committer's thread
    std::unique_ptr<Client> client_;
    std::unique_ptr<LeaseKeeper> lease_;
    std::unique_ptr<Timers> timers_;
    Transactions transactions_{*this};
    Permits permits_;
    std::unique_ptr<ThreadPool> pool_;
    seam::Atomic<ThreadPool*> looking_pool_{nullptr};  // for the committer, which was there first
    std::unique_ptr<ThreadPool> posts_;
    Claimer claimer_;
    Ticker ticker_;
    Scheduler scheduler_;
    std::unique_ptr<Mailboxes> mailboxes_;
    Parking parking_;
    std::unique_ptr<sysdb::Wakeups> wakeups_;

    mutable seam::Mutex mutex_;  // guards what follows
    seam::CondVar changed_;
    std::map<sysdb::Fence, std::shared_ptr<Run>> runs_;
    std::set<sysdb::Fence> reserved_;
    std::map<sysdb::Fence, sysdb::Text> abandoned_;  // with their queues
    std::size_t not_begun_ = 0;                      // dispatched, its body not begun
    std::size_t outcomes_pending_ = 0;               // submitted, not committed
    bool ending_ = false;                            // shutdown was asked for
    seam::Mutex recheck_mutex_;
    seam::Mutex shutdown_mutex_;
    seam::Mutex queues_mutex_;  // of queue_options_ after launch
    sysdb::Millis orphans_since_ = 0;
};

}  // namespace dbos::runtime
