// The waiter hub: one thread and one connection serve all waits for results of a client or application.
//
// Order everywhere: register, check, then wait; a wake-up that arrives during a check forces another one. Wake-ups (own
// commits, NOTIFY, the wake file) make the common case immediate; each wait is looked at once in its polling interval in any
// case. A check asks for ids and statuses of at most 2 000 waits; payloads follow in statements of their own. Nothing is
// decoded here.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dbos/future.hpp"
#include "dbos/log.hpp"
#include "platform/seam.hpp"
#include "sysdb/listing.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::client {

struct HubOptions {
    LogSink log = {};
    bool wakeups = true;                  // false: polling only
    bool retry_connection_errors = true;  // false: a lost connection fails all waits
    /// Whether this process runs the workflow now and will deliver() its end: such a wait needs no first look.
    std::function<bool(const std::string& workflow_id)> runs_here = {};
    seam::Duration idle_close =
        std::chrono::seconds(60);  // connections are closed so long after the last wait
};

struct WaitOptions {
    seam::Duration polling_interval = std::chrono::seconds(1);
    std::optional<seam::Duration> timeout = {};
    bool fail_if_missing = false;
    bool seen = false;  // the row is known to have existed
};

class WaiterHub {
   public:
    /// Called once: with the row of a workflow that has ended, or with an error: Timeout, NonexistentWorkflow, ClientClosed,
    /// DatabaseError, ConfigError. On the hub's thread (or on that of add() and close() after a close): must only hand over.
    using Done = detail::OnceFunction<void(sysdb::ResultRow row, std::exception_ptr error)>;
    using WaitId = std::uint64_t;

    /// Opens nothing and starts nothing before the first wait. `database` must outlive the hub.
    WaiterHub(sysdb::SystemDatabase& database, HubOptions options);
    /// close() and join().
    ~WaiterHub();
    WaiterHub(const WaiterHub&) = delete;
    WaiterHub& operator=(const WaiterHub&) = delete;

    WaitId add(std::string workflow_id, const WaitOptions& options, Done done);
    /// The wait's Done is destroyed without a call, unless it is being called already.
    void withdraw(WaitId id) noexcept;
    /// Blocks the calling thread on a slot of its own; throws what Done would be told.
    sysdb::ResultRow wait(const std::string& workflow_id, const WaitOptions& options);
    /// This process has committed the end of the workflow. Cheap if nobody waits for it. Any thread.
    void notify_ended(const std::string& workflow_id) noexcept;

    /// This process has committed the outcome of a workflow that it ran: its waits end at once, without a query. To be called
    /// after HubOptions::runs_here has become false for it. Any thread.
    void deliver(const sysdb::ResultRow& row) noexcept;

    /// Fails all waits with ClientClosed and stops the thread, without waiting for it.
    void close() noexcept;
    void join() noexcept;

    struct Stats {
        std::size_t waits = 0;
        std::uint64_t checks = 0;    // statements that asked for statuses
        std::uint64_t payloads = 0;  // statements that read payloads
        bool connected = false;
    };
    Stats stats() const;

   private:
    struct Wait {
        std::string workflow_id;
        Done done;
        seam::Duration interval{};
        seam::Duration back_off = std::chrono::seconds(1);
        std::optional<seam::SteadyTime> deadline;
        seam::SteadyTime due{};
        std::optional<seam::SteadyTime> missing_since;
        seam::SteadyTime asked{};  // when the last check of it began
        bool seen = false;
        bool fail_if_missing = false;
        bool woken = false;  // due because of a wake-up
    };
    struct Finished {
        Done done;
        sysdb::ResultRow row;
        std::exception_ptr error;
    };
    using Lock = std::unique_lock<seam::Mutex>;

    void run() noexcept;
    void idle(Lock& lock);
    void check(Lock& lock);
    std::vector<std::string> collect(seam::SteadyTime now, bool& by_wake);
    void ask(const std::vector<std::string>& ids, bool& productive);
    void read_payloads(const std::vector<std::string>& ids, bool& productive);
    void connect();
    void disconnect(Lock& lock) noexcept;
    void apply_statuses(const std::vector<std::string>& ids,
                        const std::map<std::string, std::string>& statuses);
    void apply_row(const sysdb::ResultRow& row, std::vector<Finished>& finished);
    void check_failed(Lock& lock, const std::vector<std::string>& ids, std::exception_ptr error,
                      bool transient, bool connection);
    void finish_ids(const std::vector<std::string>& ids, bool only_overdue, std::exception_ptr error,
                    std::vector<Finished>& finished);
    void woken(const sysdb::Wakeups::Event& event) noexcept;
    void make_due(WaitId id, Wait& wait, seam::SteadyTime due);
    Wait take(std::map<WaitId, Wait>::iterator position);
    static void finish(std::vector<Finished>& finished) noexcept;

    sysdb::SystemDatabase& database_;
    const HubOptions options_;
    mutable seam::Mutex mutex_;  // guards what follows, but for what only the hub thread uses
    seam::CondVar changed_;
    std::map<WaitId, Wait> waits_;
    std::map<std::string, std::set<WaitId>> by_id_;
    std::multimap<std::uint32_t, std::string> by_hash_;
    std::set<std::pair<seam::SteadyTime, WaitId>> due_;
    WaitId next_id_ = 1;
    bool closed_ = false;
    seam::Thread thread_;
    std::unique_ptr<sql::Connection>
        connection_;                      // changed by the hub thread under the lock, used by it without
    seam::SteadyTime pause_until_{};      // after a failed check
    seam::SteadyTime wake_not_before_{};  // pacing of checks that remote wake-ups ask for
    std::uint64_t checks_ = 0;
    std::uint64_t payloads_ = 0;
    seam::Atomic<std::size_t> waiting_{0};
    // Hub thread only.
    std::unique_ptr<sysdb::Wakeups> wakeups_;
    int failures_ = 0;
};

}  // namespace dbos::client
