// Launch, shutdown and identity of an executor. How it reaches its database is in opening.cpp, what it does with runs in
// dispatch.cpp, starts in starts.cpp.
#include "runtime/executor.hpp"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "core/durations.hpp"
#include "core/log.hpp"
#include "core/options.hpp"
#include "platform/host.hpp"
#include "platform/situations.hpp"
#include "sysdb/manage.hpp"
#include "value/uuid.hpp"

namespace dbos::runtime {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr std::size_t kSmallestThreadBound = 64;
// Writes that wait, at which bodies wait for threads that are done with theirs: a body that begins would wait behind them, and
// cost a thread more and its wake-up (bench-queues).
constexpr std::size_t kHoldingWrites = seam::simulated ? 2 : 128;
constexpr std::size_t kPostThreads = 4;
constexpr auto kGrace = seconds(3);  // for database calls that a shutdown joins, before they are interrupted
constexpr auto kAfterClose = seconds(10);  // for calls that were just failed to return

std::string environment(const char* name) {
    const char* value =
        std::getenv(name);  // NOLINT(concurrency-mt-unsafe): read once, while one thread configures
    return value ? value : "";
}

AppOptions with_defaults(AppOptions options) {
    core::check_app(options);
    if (options.system_database_url.empty() && !options.system_database_engine) {
        std::string file = options.name;
        std::replace(file.begin(), file.end(), '-', '_');
        options.system_database_url = "sqlite:///" + file + ".sqlite";
    }
    if (!options.serializer) options.serializer = serializers::portable_json();
    if (!options.log_sink) options.log_sink = stderr_log_sink();
    if (options.application_version.empty()) options.application_version = environment("DBOS__APPVERSION");
    if (options.application_version.empty()) options.application_version = options.name + "-1";
    if (options.executor_id.empty()) options.executor_id = environment("DBOS__VMID");
    if (options.max_threads == 0) {
        options.max_threads =
            static_cast<std::int64_t>(std::max(kSmallestThreadBound, seam::map_count_limit() / 4));
    }
    return options;
}

}  // namespace

Executor::Executor(AppOptions options)
    : options_(with_defaults(std::move(options))),
      executor_id_(options_.executor_id),
      configured_id_(!options_.executor_id.empty()),
      version_(options_.application_version),
      application_id_(environment("DBOS__APPID")),
      permits_(
          static_cast<std::size_t>(options_.max_running > 0 ? options_.max_running : options_.max_threads)),
      claimer_(*this),
      ticker_(*this),
      scheduler_(*this),
      parking_(*this) {
    if (!options_.system_database_engine)  // a malformed URL is refused here, not at launch
        static_cast<void>(sql::Url::parse(options_.system_database_url));
    // Unique per process by default: host, process, and a random part for the next process of the same number.
    if (executor_id_.empty()) {
        executor_id_ =
            seam::host_name() + "-" + std::to_string(seam::process_id()) + "-" + uuid4().substr(0, 8);
    }
}

Executor::~Executor() {
    if (phase_.load() == Phase::configuring) return;
    for (;;) {
        const auto left = shutdown(Duration(0), Duration(10));
        if (left.empty()) break;
        for (const auto& step : left) {
            log_to(log(), LogLevel::warn,
                   "the application waits for a step that does not end; it must heed its stop_token()",
                   {{"step", step}});
        }
    }
}

void Executor::implement(detail::Implementation implementation) {
    if (phase_.load() != Phase::configuring) {
        throw UsageError("implement(\"" + implementation.name +
                         "\") was called after launch(): implement every workflow before it");
    }
    const std::string name = implementation.name;
    if (!implementations_.emplace(name, std::move(implementation)).second) {
        throw UsageError("a body for workflow \"" + name +
                         "\" is implemented already: one application implements a name once");
    }
    names_.push_back(name);
    std::sort(names_.begin(), names_.end());
}

const detail::Implementation* Executor::find_implementation(std::string_view name) const {
    const auto found = implementations_.find(name);
    return found == implementations_.end() ? nullptr : &found->second;
}

void Executor::register_queue(const QueueOptions& options) {
    core::check_queue(options);
    std::lock_guard lock(queues_mutex_);
    for (const auto& known : queue_options_) {
        if (known.name == options.name) {
            throw UsageError("queue \"" + options.name +
                             "\" is registered already in this application: register it once");
        }
    }
    if (launched()) {
        register_queue_row(options);
        reload_queues();
    }
    queue_options_.push_back(options);
}

bool Executor::is_or_becomes_latest() {
    if (options_.make_latest_version) return true;
    const auto latest = database().latest_version(options_.name);
    if (!latest || *latest == version_) return true;
    // One that is not known yet is the latest as soon as it is registered.
    const auto known = database().list_versions(options_.name, std::numeric_limits<std::int32_t>::max(), 0);
    return std::ranges::none_of(known, [&](const auto& row) { return row.version_name == version_; });
}

sysdb::QueueRow Executor::definition_of(const QueueOptions& queue) const {
    sysdb::QueueRow row;
    row.name = queue.name;
    const auto number = [](const std::optional<std::int64_t>& value) {
        return value ? std::optional(static_cast<std::int32_t>(*value)) : std::nullopt;
    };
    row.concurrency = number(queue.concurrency);
    row.worker_concurrency = number(queue.worker_concurrency);
    row.partition_concurrency = number(queue.partition_concurrency);
    row.partition_worker_concurrency = number(queue.partition_worker_concurrency);
    if (!queue.limiter.none()) {
        row.rate_limit_max = number(queue.limiter.limit);
        row.rate_limit_period_sec = queue.limiter.period.count();
    }
    if (!queue.partition_limiter.none()) {
        row.partition_rate_limit_max = number(queue.partition_limiter.limit);
        row.partition_rate_limit_period_sec = queue.partition_limiter.period.count();
    }
    row.partition_queue = row.partition_concurrency || row.partition_worker_concurrency ||
                          row.partition_rate_limit_max.has_value();
    row.priority_enabled = true;
    row.polling_interval_sec = queue.polling_interval.count();
    row.application_name = options_.name;
    return row;
}

void Executor::register_queue_row(const QueueOptions& queue) {
    const bool update =
        queue.on_conflict == QueueConflict::update ||
        (queue.on_conflict == QueueConflict::update_if_latest_version && is_or_becomes_latest());
    database().upsert_queue(definition_of(queue), update);
}

void Executor::reload_queues() {
    auto rows = database().list_queues(options_.name);
    if (const auto& listened = options_.listen_queues) {
        std::erase_if(rows, [&](const sysdb::QueueRow& row) {
            return std::ranges::find(*listened, row.name) == listened->end();
        });
    }
    claimer_.set_queues(rows);
}

void Executor::check_queued(const sysdb::NewWorkflow& row) {
    const std::string& queue = *row.queue_name;
    if (row.queue_partition_key && row.deduplication_id) {  // as py: dbos/_queue.py
        throw UsageError(
            "queue_partition_key and deduplication_id: expected at most one of them, got both (queue \"" +
            queue + "\"); nothing was enqueued");
    }
    if (!row.queue_partition_key && claimer_.partitioned(queue)) {
        throw UsageError(
            "queue \"" + queue +
            "\" is partitioned: give a queue_partition_key, for a workflow without one would never "
            "run; nothing was enqueued");
    }
    check_queue(queue);
}

void Executor::check_queue(const std::string& queue) {
    if (queue.empty() || claimer_.serves(queue)) return;
    if (queue == kInternalQueue || database().find_queue(queue)) return;
    throw UsageError("queue \"" + queue + "\" is not known: call register_queue({.name = \"" + queue +
                     "\"}), or check the spelling; nothing was enqueued");
}

seam::Duration Executor::lease_duration() const { return core::to_nanos(options_.lease_duration); }

std::string Executor::new_token() const { return uuid4(); }

void Executor::published(const std::string& workflow_id, const sysdb::Effect& effect) noexcept {
    client::Core* core = local_core_.load();
    if (!core) return;
    if (const auto* send = std::get_if<sysdb::SendEffect>(&effect)) {
        for (const auto& message : send->messages)
            mailboxes_->notified(message.destination + "::" + message.topic);
    } else if (const auto* event = std::get_if<sysdb::EventEffect>(&effect)) {
        core->hub().notify_published(sysdb::kEventChannel, workflow_id + "::" + event->key);
    } else if (const auto* stream = std::get_if<sysdb::StreamEffect>(&effect)) {
        core->hub().notify_published(sysdb::kStreamChannel, workflow_id + "::" + stream->key);
    }
}

Client& Executor::client() {
    check_serving("client()");
    return *client_;
}

const std::shared_ptr<detail::CallbackQueue>& Executor::callbacks() const {
    check_serving("start_workflow_async");
    return core_->callbacks();
}

void Executor::take_lease() {
    sysdb::LeaseRow row;
    row.application_name = options_.name;
    row.executor_id = executor_id_;
    row.incarnation = uuid4();
    row.version = version_;
    const std::string host = seam::host_key();
    if (!host.empty()) row.host_key = host;
    row.pid = seam::process_id();
    row.process_start = static_cast<std::int64_t>(seam::process_start(row.pid));
    lease_ = std::make_unique<LeaseKeeper>(
        database(), std::move(row),
        LeaseKeeper::Options{.lease = lease_duration(),
                             .renew_every = core::to_nanos(options_.lease_renewal),
                             .check_pid = options_.check_pid,
                             .log = log(),
                             .replaced = [this] { lost_lease(); }});
    lease_->take([this] { return phase_.load() == Phase::launching; });
}

void Executor::launch() {
    Phase configuring = Phase::configuring;
    if (!phase_.compare_exchange_strong(configuring, Phase::launching)) {
        throw UsageError(
            "launch() was called twice: an App is launched once; make another App to launch again");
    }
    try {
        check_declared_queues();
        open_database();
        reaching([this] { transactions_.launch(); });
        take_lease();
        lease_->start();
        // Before anything is started or claimed here: what an earlier process under this id left behind.
        if (configured_id_) database().recover_own(executor_id_, options_.name, version_);
        timers_ = std::make_unique<Timers>();
        // Waits hold a thread and no permit, so the pool is bounded by what the process can have, not by max_threads.
        pool_ = std::make_unique<ThreadPool>(
            std::max(static_cast<std::size_t>(options_.max_threads), seam::map_count_limit() / 4),
            ThreadPool::kIdleTime, [this] { return database().waiting_writes() >= kHoldingWrites; });
        looking_pool_.store(pool_.get());
        posts_ = std::make_unique<ThreadPool>(kPostThreads);
        for (const auto& queue : queue_options_) register_queue_row(queue);
        reload_queues();
        orphans_since_ = durable_now();
        if (options_.use_listen_notify.value_or(true)) {
            wakeups_ =
                std::make_unique<sysdb::Wakeups>(database(), [this](const sysdb::Wakeups::Event& event) {
                    claimer_.have_work(event.queue_hashes, event.all || event.all_queues);
                    if (event.channel == sysdb::kMessageChannel) mailboxes_->notified(event.payload);
                    if (event.all) mailboxes_->look_at_all();
                });
        }
        check_schedules();
        phase_.store(Phase::serving);
        claimer_.start();
        // A version is registered by a process that can claim: else the latest version might have nobody to run it.
        database().register_version(version_, options_.name);
        auto latest = database().latest_version(options_.name);
        if (options_.make_latest_version && latest != version_) {
            database().promote_version(version_, options_.name);
            latest = version_;
        }
        claimer_.set_latest(!latest || *latest == version_);
        if (latest && *latest != version_) {
            log_to(log(), LogLevel::warn,
                   "this is not the latest version of the application: workflows without a version are left "
                   "to the latest",
                   {{"version", version_}, {"latest", *latest}});
        }
        ticker_.start();
        apply_schedules(!latest || *latest == version_);
        scheduler_.start();
    } catch (...) {
        const auto why = std::current_exception();
        if (phase_.load() == Phase::serving) {
            while (!shutdown(Duration(0), Duration(10)).empty()) {
            }
        } else {
            stop_services();
        }
        phase_.store(Phase::stopped);
        std::rethrow_exception(why);
    }
}

void Executor::lost_lease() {
    log_to(log(), LogLevel::error,
           "another process holds this executor's id: nothing is started or claimed here any more",
           {{"executor_id", executor_id_}});
    std::vector<std::shared_ptr<Run>> runs;
    {
        std::lock_guard lock(mutex_);
        for (const auto& [fence, run] : runs_) runs.push_back(run);
    }
    for (const auto& run : runs) run->interrupt(Interrupt::Reason::lost_ownership);
    parking_.forget_all();
}

seam::Duration Executor::park_limit(seam::Duration replay) const {
    const auto park_after = core::to_nanos(options_.park_after);
    if (park_after == seam::Duration(0) || pool_->crowded()) return seam::Duration(0);
    return std::max(park_after, 100 * replay);
}

std::vector<std::string> Executor::shutdown(Duration completion_timeout, Duration step_timeout) {
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
        changed_.notify_all();
    }
    std::lock_guard one_at_a_time(shutdown_mutex_);
    if (phase_.load() == Phase::stopped || phase_.load() == Phase::configuring) {
        phase_.store(Phase::stopped);
        return {};
    }
    scheduler_.request_stop();
    database().stop_claims();
    {
        const auto grace = after_grace([this] { database_->interrupt_claims(); });
        claimer_.stop();
    }
    auto idle = [&] { return runs_.empty() && outcomes_pending_ == 0 && reserved_.empty(); };
    if (phase_.load() == Phase::serving) {
        std::unique_lock lock(mutex_);
        // Parked runs that wake meanwhile are waited for too; those that wait for longer, or for others, are not.
        const auto timeout = core::to_nanos(completion_timeout);
        const auto soon = durable_now() + core::to_millis(completion_timeout);
        changed_.wait_until(lock, seam::steady_now() + timeout,
                            [&] { return idle() && parking_.due_before(soon) == 0; });
        phase_.store(Phase::stopping);  // under the lock: from here on nothing is reserved
    }
    std::vector<std::shared_ptr<Run>> runs;
    {
        std::lock_guard lock(mutex_);
        for (const auto& [fence, run] : runs_) runs.push_back(run);
    }
    for (const auto& run : runs) run->interrupt(Interrupt::Reason::shutdown);
    runs.clear();
    parking_.stop();
    std::vector<std::string> running;
    {
        // The lease and the committer live until the last step has ended: its result is still recorded.
        std::unique_lock lock(mutex_);
        if (!changed_.wait_until(lock, seam::steady_now() + core::to_nanos(step_timeout), idle)) {
            running = code_running();
            seam::reach(seam::Situation::shutdown_left_steps);
            if (!running.empty()) return running;
            const auto writes = std::to_string(runs_.size() + reserved_.size());
            lock.unlock();
            // Nothing but the database is waited for, and it may never come back. What it does not take is recovered.
            log_to(log(), LogLevel::warn,
                   "shutdown: the database does not acknowledge the last writes; they are given up after 10 "
                   "s, and their "
                   "workflows are recovered later",
                   {{"workflows", writes}});
            database().close();
            lock.lock();
            changed_.wait_until(lock, seam::steady_now() + kAfterClose, idle);
            running = code_running();
            if (!idle())
                return running.empty() ? std::vector<std::string>{"(calls of the database)"} : running;
        }
    }
    stop_services();
    phase_.store(Phase::stopped);
    return {};
}

std::vector<std::string> Executor::code_running() const {
    std::vector<std::string> running;
    for (const auto& [fence, run] : runs_) {
        if (!run->in_user_code()) continue;
        const auto steps = run->steps_running();
        for (const auto& step : steps) running.push_back(run->id() + ": " + step);
        if (steps.empty()) running.push_back(run->id() + ": (the body, between its steps)");
    }
    return running;
}

void Executor::stop_services() noexcept {
    if (database_) {
        database_->stop_claims();
        database_->stop_upkeep();
    }
    claimer_.stop();
    {
        const auto grace = after_grace([this] { database_->interrupt_upkeep(); });
        scheduler_.stop();
        ticker_.stop();
        wakeups_.reset();
        parking_.stop();
        if (mailboxes_) mailboxes_->stop();
        if (pool_) pool_->stop();  // the committer knows it to the end
        posts_.reset();
        if (lease_) lease_->stop();
    }
    timers_.reset();
    transactions_.close();
    if (core_) {
        core_->close();
    } else if (database_) {  // a launch that came to nothing
        database_->close();
    }
    looking_pool_.store(nullptr);
}

std::shared_ptr<void> Executor::after_grace(std::function<void()> interrupt) {
    if (!timers_) return nullptr;
    const auto id = timers_->at(seam::steady_now() + kGrace, std::move(interrupt));
    return {nullptr, [this, id](void*) { timers_->cancel(id); }};
}

void Executor::wait_for_end() {
    seam::TerminationSignals signals;
    for (;;) {
        if (signals.arrived()) return;
        std::unique_lock lock(mutex_);
        if (ending_) return;
        lock.unlock();
        signals.wait(milliseconds(200));
    }
}

bool Executor::guarded(const char* what, const std::function<void()>& work) noexcept {
    try {
        work();
        return true;
    } catch (const std::exception& error) {
        if (phase_.load() <= Phase::serving) {
            log_to(log(), LogLevel::warn, "upkeep failed; it is tried again",
                   {{"what", what}, {"error", error.what()}});
        }
        return false;
    }
}

void Executor::check_serving(const char* operation) const {
    switch (phase_.load()) {
        case Phase::serving: return;
        case Phase::configuring:
        case Phase::launching:
            throw UsageError(std::string(operation) + " was called before launch(): launch the App first");
        case Phase::stopping:
        case Phase::stopped:
            throw UsageError(std::string(operation) + " was called after shutdown(): nothing was started");
    }
}

}  // namespace dbos::runtime
