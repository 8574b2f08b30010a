#include "sysdb/database.hpp"

#include <algorithm>
#include <string>

#include "sysdb/committer.hpp"
#include "sysdb/committer_statements.hpp"

namespace dbos::sysdb {
namespace {

constexpr sql::Statement kDatabaseTime{
    "database_time", "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", sql::Access::read};

constexpr sql::Statement kNotify{"notify_wake", "SELECT pg_notify('dbos_cpp_wake', $1)"};

/// A payload of dbos_cpp_wake names no more hashes than this: it must stay below 8 000 bytes.
constexpr std::size_t kMostHashes = 800;

Millis to_millis(seam::Duration duration) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

DatabaseOptions counted(DatabaseOptions options) {
    options.open.commits = std::make_shared<sql::CommitCount>();
    return options;
}

Millis wall_millis() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(seam::wall_now().time_since_epoch()).count();
}

}  // namespace

// ---------------------------------------------------------------------------------------------------- retry.hpp

void StopSignal::request() noexcept {
    const std::lock_guard<seam::Mutex> lock(mutex_);
    requested_.store(true, std::memory_order_release);
    changed_.notify_all();
}

bool StopSignal::wait(seam::Duration duration) {
    std::unique_lock<seam::Mutex> lock(mutex_);
    return changed_.wait_for(lock, duration, [this] { return requested(); });
}

void Retrier::closed(const DatabaseError& error) const {
    throw DatabaseError(
        DatabaseErrorKind::closed,
        std::string("the client or application was closed while a database call was being repeated; "
                    "its last error: ") +
            error.what(),
        error.sqlstate(), {}, error.outcome_unknown() || attempt_.ambiguous);
}

void Retrier::failed(const DatabaseError& error) {
    attempt_.ambiguous = attempt_.ambiguous || error.outcome_unknown();
    if (stop_.requested() || error.kind() == DatabaseErrorKind::closed) closed(error);
    if (error.kind() == DatabaseErrorKind::undefined_object && !reprobed_ && policy_.layout_changed) {
        reprobed_ = true;
        policy_.layout_changed();
        ++attempt_.number;
        return;
    }
    if (!error.transient()) throw;
    if (error.kind() == DatabaseErrorKind::connection && !policy_.retry_connection_errors) throw;
    const seam::SteadyTime now = seam::steady_now();
    if (error.kind() != DatabaseErrorKind::busy) {
        busy_ = false;
    } else if (!busy_) {
        busy_ = true;
        busy_since_ = now;
    } else if (now - busy_since_ >= kBlockedAfter) {
        throw DatabaseError(
            DatabaseErrorKind::blocked,
            std::string("a lock was not granted for 30 s; does this thread, or another program, hold an "
                        "open transaction? Last error: ") +
                error.what(),
            error.sqlstate());
    }
    if (policy_.failed) policy_.failed(error, attempt_.number);
    if (stop_.wait(sql::retry_delay(attempt_.number, kRetryCap))) closed(error);
    ++attempt_.number;
}

// ---------------------------------------------------------------------------------------------------- DurableClock

DurableClock::DurableClock(std::shared_ptr<const seam::Atomic<std::int64_t>> virtual_now) noexcept
    : virtual_now_(std::move(virtual_now)) {
    offset_ms_.store(wall_millis() - to_millis(seam::boot_now()));
}

Millis DurableClock::real_now_ms() const noexcept {
    const Millis now = to_millis(seam::boot_now()) + offset_ms_.load(std::memory_order_acquire);
    Millis last = last_ms_.load(std::memory_order_acquire);
    while (now > last) {
        if (last_ms_.compare_exchange_weak(last, now, std::memory_order_acq_rel)) return now;
    }
    return last;
}

void DurableClock::observe(Millis database_now_ms, seam::Duration sent, seam::Duration received) noexcept {
    // The reading was taken somewhere between the two instants: what the old offset cannot explain moves it.
    const Millis least = database_now_ms - to_millis(received) - 1;
    const Millis most = database_now_ms - to_millis(sent) + 1;
    const Millis offset = offset_ms_.load(std::memory_order_acquire);
    if (offset < least || offset > most)
        offset_ms_.store(least + (most - least) / 2, std::memory_order_release);
}

// ---------------------------------------------------------------------------------------------------- Core

void SystemDatabase::Core::check_process() const {
    if (seam::process_id() == process) return;
    throw UsageError(
        "a database connection was used in a forked child process: it stays with the parent; exec another "
        "program, or "
        "(not with the same SQLite file) open a new App or Client after fork()");
}

std::unique_ptr<sql::Connection> SystemDatabase::Core::open_dedicated(bool pinned_plans) {
    auto connection = pool.open_dedicated(pinned_plans);
    return options.decorate ? options.decorate(std::move(connection)) : std::move(connection);
}

sql::Connection& SystemDatabase::Core::lane_connection(Lane& lane) {
    if (stop.requested()) {
        throw DatabaseError(DatabaseErrorKind::closed, "the client or application has been closed");
    }
    if (!lane.connection_ || !lane.connection_->usable()) {
        auto fresh = open_dedicated(lane.pinned_plans);
        const std::lock_guard<seam::Mutex> lock(lane.guard_);
        std::swap(lane.connection_, fresh);
    }
    return *lane.connection_;
}

Layout SystemDatabase::Core::layout(sql::Connection& connection) {
    {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        if (layout_) return *layout_;
    }
    return know_layout(probe(connection, options.open.schema), connection);
}

Layout SystemDatabase::Core::know_layout(Layout found, sql::Connection& connection) {
    // Who has no tick measures the clock with the layout: at the first use of the database, and after a change of it.
    measure_clock(connection);
    const std::lock_guard<seam::Mutex> lock(mutex_);
    layout_ = found;
    return found;
}

void SystemDatabase::Core::forget_layout() noexcept {
    const std::lock_guard<seam::Mutex> lock(mutex_);
    layout_.reset();
}

Millis SystemDatabase::Core::durable_now() noexcept {
    if (backend == sql::Backend::sqlite) {  // nobody has to be asked, and no tick may be there to ask
        const seam::Duration now = seam::boot_now();
        clock.observe(wall_millis(), now, seam::boot_now());
    }
    return clock.now_ms();
}

void SystemDatabase::Core::measure_clock(sql::Connection& connection) {
    const seam::Duration sent = seam::boot_now();
    if (backend == sql::Backend::sqlite) {
        clock.observe(wall_millis(), sent, seam::boot_now());
        return;
    }
    const sql::Result result = connection.execute(kDatabaseTime);
    clock.observe(result.at(0, 0).integer(), sent, seam::boot_now());
}

void SystemDatabase::stop_claims() noexcept { core_->claim_lane.stop(); }

void SystemDatabase::stop_upkeep() noexcept {
    core_->tick_lane.stop();
    core_->maintenance_lane.stop();
    core_->upkeep.request();
}

void SystemDatabase::interrupt_claims() noexcept { core_->claim_lane.interrupt(); }

void SystemDatabase::interrupt_upkeep() noexcept {
    core_->upkeep.request();
    for (Lane* lane : {&core_->tick_lane, &core_->maintenance_lane, &core_->lease_lane}) lane->interrupt();
}

void Lane::interrupt() noexcept {
    stop();
    const std::lock_guard<seam::Mutex> lock(guard_);
    if (connection_) connection_->interrupt();
}

void Lane::close() noexcept {
    std::unique_ptr<sql::Connection> connection;
    const std::unique_lock<seam::Mutex> turn(use_, std::try_to_lock);
    if (!turn.owns_lock()) return;
    const std::lock_guard<seam::Mutex> lock(guard_);
    std::swap(connection, connection_);
}

void SystemDatabase::Core::interrupt_all() noexcept {
    upkeep.request();
    pool.close();
    for (Lane* lane : {&claim_lane, &tick_lane, &maintenance_lane, &lease_lane}) lane->interrupt();
}

SystemDatabase::Core::Core(DatabaseOptions given)
    : options(counted(std::move(given))),
      backend(options.open.url.backend),
      process(seam::process_id()),
      clock(options.virtual_now),
      pool(options.open, options.pool_size) {
    policy.retry_connection_errors = options.retry_connection_errors;
    policy.layout_changed = [this] { forget_layout(); };
    policy.failed = [this](const DatabaseError& error, int attempt) {
        if (!options.log) return;
        try {
            options.log({LogLevel::warn,
                         "a database call failed and is repeated",
                         {{"error", error.what()}, {"attempt", std::to_string(attempt)}}});
        } catch (...) {  // what a sink throws is dropped
        }
    };
}

SystemDatabase::Core::~Core() = default;

Committer& SystemDatabase::Core::committer() {
    check_process();
    if (Committer* started = started_.load(std::memory_order_acquire)) return *started;
    const std::lock_guard<seam::Mutex> lock(mutex_);
    if (closed_) {
        throw DatabaseError(DatabaseErrorKind::closed, "the client or application has been closed");
    }
    if (!committer_) {
        committer_ = std::make_unique<Committer>(*this);
        started_.store(committer_.get(), std::memory_order_release);
    }
    return *committer_;
}

Committer* SystemDatabase::Core::started_committer() const noexcept {
    return started_.load(std::memory_order_acquire);
}

void SystemDatabase::Core::close(seam::Duration drain) noexcept {
    {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        closed_ = true;  // no committer starts after this
    }
    if (Committer* started = started_committer()) started->close(drain);
    stop.request();
    interrupt_all();
    if (!options.open.source) return;
    // The program's own connections go back to it now, not with this object.
    for (Lane* lane : {&claim_lane, &tick_lane, &maintenance_lane, &lease_lane}) lane->close();
}

// ---------------------------------------------------------------------------------------------------- SystemDatabase

SystemDatabase::SystemDatabase(DatabaseOptions options) : core_(std::make_unique<Core>(std::move(options))) {}

SystemDatabase::~SystemDatabase() {
    if (seam::process_id() != core_->process) {
        (void)core_.release();  // a forked child: threads and sockets are the parent's
        return;
    }
    close();
}

void SystemDatabase::open() {
    core_->check_process();
    sql::Pool::Lease connection = core_->pool.acquire();
    core_->layout(*connection);
}

void SystemDatabase::open(const MigrateOptions& options) {
    core_->check_process();
    Layout found = migrate(core_->pool, options);
    core_->know_layout(std::move(found), *core_->pool.acquire());
}

void SystemDatabase::close(seam::Duration drain) noexcept {
    if (seam::process_id() == core_->process) core_->close(drain);
}

sql::Backend SystemDatabase::backend() const noexcept { return core_->backend; }

Layout SystemDatabase::layout() {
    return core_->with_connection([this](sql::Connection& connection) { return core_->layout(connection); });
}

DurableClock& SystemDatabase::clock() noexcept { return core_->clock; }

Millis SystemDatabase::durable_now() noexcept { return core_->durable_now(); }

sql::Pool& SystemDatabase::pool() noexcept { return core_->pool; }

const DatabaseOptions& SystemDatabase::options() const noexcept { return core_->options; }

// ---------------------------------------------------------------------------------------------------- wake-ups

std::uint32_t wake_hash(std::string_view text) noexcept {
    std::uint32_t hash = 2166136261u;
    for (const char c : text) {
        hash ^= static_cast<unsigned char>(c);
        hash *= 16777619u;
    }
    return hash;
}

std::string wake_payload(const std::string& schema, std::vector<std::uint32_t>& queues,
                         std::vector<std::uint32_t>& workflows) {
    const auto joined = [](std::vector<std::uint32_t>& hashes, std::size_t most) {
        static constexpr char kDigits[] = "0123456789abcdef";
        std::sort(hashes.begin(), hashes.end());
        hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
        if (hashes.size() > most) return std::string("*");
        std::string text;
        for (const std::uint32_t hash : hashes) {
            if (!text.empty()) text += ',';
            for (int shift = 28; shift >= 0; shift -= 4) text += kDigits[(hash >> shift) & 15];
        }
        return text;
    };
    const std::string first = joined(queues, kMostHashes / 2);
    return schema + " q:" + first +
           " w:" + joined(workflows, kMostHashes - std::min(queues.size(), kMostHashes / 2));
}

const CommitterStatements& SystemDatabase::Core::start_statements(const Layout& layout) {
    const std::lock_guard<seam::Mutex> lock(starts_mutex_);
    if (!starts_) starts_ = std::make_unique<StatementSets>(backend);
    return starts_->of(layout);
}

seam::WakeFile* SystemDatabase::Core::wake_file() {
    if (backend != sql::Backend::sqlite || options.open.url.path == ":memory:") return nullptr;
    const std::lock_guard<seam::Mutex> lock(mutex_);
    if (!wake_file_) wake_file_ = std::make_unique<seam::WakeFile>(options.open.url.path);
    return wake_file_.get();
}

void SystemDatabase::Core::announce_ended(sql::Connection& connection,
                                          const std::vector<std::string>& ids) noexcept {
    if (ids.empty()) return;
    if (options.local_wake.ended) {
        for (const std::string& id : ids) options.local_wake.ended(id);
    }
    if (!options.notify) return;
    try {
        if (seam::WakeFile* file = wake_file()) file->signal();
        if (backend != sql::Backend::postgres) return;
        std::vector<std::uint32_t> queues, workflows;
        for (const std::string& id : ids) workflows.push_back(wake_hash(id));
        const std::string payload = wake_payload(options.open.schema, queues, workflows);
        connection.execute(kNotify, {std::string_view(payload)});
    } catch (const std::exception&) {  // the poll floor finds it
    }
}

}  // namespace dbos::sysdb
