// The state behind SystemDatabase, shared by the files that implement it: connections, layout, clock and the retry loops.
//
// How to write an operation:
//     auto rows = core_->with_connection([&](sql::Connection& c) { return c.execute(kStatement, params); });
// runs on a pool connection; with_lane(core_->claim_lane, …) on the dedicated one for claims. Both repeat the lambda after
// transient failures, so it must be repeatable as a whole; a lambda that takes a second parameter `const Attempt&` learns
// whether an earlier attempt may have committed. A transaction inside is begun and committed inside. Statements that
// depend on the layout ask core_->layout(connection) inside, because 42703 and 42P01 probe again and repeat once.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "sysdb/retry.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::sysdb {

class Committer;
class CommitterStatements;
class StatementSets;
class WakeListener;
class ClaimState;  // cursors and the like of the claims; thread-safe (claim_state.hpp)
std::shared_ptr<ClaimState> make_claim_state();

/// A connection outside of the pool, opened at first use, for one kind of work. Calls take turns.
class Lane {
   public:
    explicit Lane(bool pinned) : pinned_plans(pinned) {}
    const bool pinned_plans;
    /// Attempts that fail from now on are not repeated.
    void stop() noexcept { stopped_.request(); }
    bool stopped() const noexcept { return stopped_.requested(); }
    /// stop(), and the attempt that runs now fails.
    void interrupt() noexcept;
    /// Lets go of the connection, unless a call uses it now: that one was interrupted, and it goes with the object.
    void close() noexcept;

   private:
    friend struct SystemDatabase::Core;
    StopSignal stopped_;  // no attempt is repeated any more
    seam::Mutex use_;     // held during an attempt
    seam::Mutex guard_;   // guards the pointer, for interrupt()
    std::unique_ptr<sql::Connection> connection_;
};

struct SystemDatabase::Core {
    explicit Core(DatabaseOptions options);
    ~Core();
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;

    const DatabaseOptions options;
    const sql::Backend backend;
    const int process;  // the process that made this object
    DurableClock clock;
    StopSignal stop;    // of everything
    StopSignal upkeep;  // calls on pool connections are not repeated any more
    RetryPolicy policy;
    sql::Pool pool;
    /// SQLite: the commits of all connections of this object; tells own changes of the file from foreign ones.
    const sql::CommitCount& own_commits() const noexcept { return *options.open.commits; }

    Lane claim_lane{true};
    Lane tick_lane{true};
    Lane maintenance_lane{
        true};  // sweeps, due delays, deadlines: thousands of rows, and no tick waits for them
    Lane lease_lane{false};
    const std::shared_ptr<ClaimState> claims = make_claim_state();

    /// Last instants given to messages, by a hash of the destination; two destinations may share one.
    seam::Mutex message_mutex;
    std::array<Millis, 1024> message_instants{};

    /// Throws UsageError in a forked child.
    void check_process() const;
    /// The committer; started by its first write. Throws kind `closed` after close().
    Committer& committer();
    /// The committer if it has been started, else null.
    Committer* started_committer() const noexcept;
    /// A connection of its own, through DatabaseOptions::decorate.
    std::unique_ptr<sql::Connection> open_dedicated(bool pinned_plans);
    /// The layout, probed on `connection` if it is not known.
    Layout layout(sql::Connection& connection);
    Layout know_layout(Layout found, sql::Connection& connection);
    void forget_layout() noexcept;
    /// As SystemDatabase::durable_now.
    Millis durable_now() noexcept;
    /// Asks the database for its time.
    void measure_clock(sql::Connection& connection);
    /// The texts of starts outside of the committer; they live as long as this object.
    const CommitterStatements& start_statements(const Layout& layout);
    /// The side file of a database file of SQLite, made at first use; null elsewhere.
    seam::WakeFile* wake_file();
    /// Tells who waits, here and elsewhere, that these workflows have ended. After the commit; on PostgreSQL in a statement
    /// of its own. Failures are dropped: it is a hint.
    void announce_ended(sql::Connection& connection, const std::vector<std::string>& ids) noexcept;
    /// Who listens for wake-ups of other processes; lives as long as somebody subscribes.
    std::shared_ptr<WakeListener> wake_listener();
    /// Interrupts and fails everything in progress on pool and lanes.
    void interrupt_all() noexcept;
    /// As SystemDatabase::close.
    void close(seam::Duration drain) noexcept;

    /// On a pool connection, repeated after transient failures.
    template <class F>
    auto with_connection(F&& body) {
        check_process();
        return retry(upkeep, policy, [&](const Attempt& attempt) {
            sql::Pool::Lease lease = pool.acquire();
            return invoke(body, *lease, attempt);
        });
    }

    /// On a dedicated connection, repeated after transient failures. The lane is free between the attempts.
    template <class F>
    auto with_lane(Lane& lane, F&& body) {
        check_process();
        return retry(lane.stopped_, policy, [&](const Attempt& attempt) {
            const std::lock_guard<seam::Mutex> turn(lane.use_);
            return invoke(body, lane_connection(lane), attempt);
        });
    }

    /// Once; what fails is thrown. For what its caller repeats by itself, at its own pace.
    template <class F>
    auto try_lane(Lane& lane, F&& body) {
        check_process();
        const std::lock_guard<seam::Mutex> turn(lane.use_);
        return body(lane_connection(lane));
    }

   private:
    template <class F>
    static auto invoke(F& body, sql::Connection& connection, const Attempt& attempt) {
        if constexpr (std::is_invocable_v<F&, sql::Connection&, const Attempt&>) {
            return body(connection, attempt);
        } else {
            return body(connection);
        }
    }
    sql::Connection& lane_connection(Lane& lane);

    seam::Mutex starts_mutex_;
    std::unique_ptr<StatementSets> starts_;

    seam::Mutex wake_mutex_;
    std::weak_ptr<WakeListener> wake_listener_;

    seam::Mutex mutex_;  // guards what follows
    std::optional<Layout> layout_;
    std::unique_ptr<seam::WakeFile> wake_file_;
    bool closed_ = false;  // close() has begun: no committer is started any more
    std::unique_ptr<Committer> committer_;
    seam::Atomic<Committer*> started_{nullptr};
};

/// Where this library tells its other processes of work and ended workflows.
inline constexpr const char* kWakeChannel = "dbos_cpp_wake";

/// FNV-1a, 32 bits: how queues and workflows are named in payloads of dbos_cpp_wake.
std::uint32_t wake_hash(std::string_view text) noexcept;

/// `<schema> q:<hash>,<hash> w:<hash>,…`; too many hashes of a kind become `*`. The lists are sorted and cleared of repeats.
std::string wake_payload(const std::string& schema, std::vector<std::uint32_t>& queues,
                         std::vector<std::uint32_t>& workflows);

}  // namespace dbos::sysdb
