// The lease of one executor: taken at launch, renewed by a thread of its own, expired at shutdown.
//
// A step body begins only under a fresh lease. Lease time and lapse number stand in one atomic word, so that a check is one
// load followed by one reading of the clock; a run remembers the lapse number under which it was last known to be owned.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "dbos/log.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::runtime {

class LeaseKeeper {
   public:
    struct Options {
        seam::Duration lease = std::chrono::seconds(7);
        seam::Duration renew_every = std::chrono::seconds(2);
        bool check_pid = true;
        LogSink log = {};
        /// Another incarnation holds our id: called once, on the lease thread.
        std::function<void()> replaced = {};
    };

    LeaseKeeper(sysdb::SystemDatabase& database, sysdb::LeaseRow mine, Options options);
    /// stop().
    ~LeaseKeeper();
    LeaseKeeper(const LeaseKeeper&) = delete;
    LeaseKeeper& operator=(const LeaseKeeper&) = delete;

    /// Takes the lease. A configured id that another incarnation holds (and did not expire in a shutdown): waits up to the
    /// lease plus one second, and throws ConfigError if the holder renews meanwhile. `keep_waiting` false ends the wait with ConfigError.
    void take(const std::function<bool()>& keep_waiting);
    /// Starts the renewals.
    void start();
    /// Ends the renewals and expires the row (best effort, its last write).
    void stop() noexcept;

    /// Whether the lease is fresh and did not lapse since number `checked`. One load, then the clock; nothing after it.
    bool fresh(std::uint32_t checked) const noexcept;
    bool expired() const noexcept;
    /// Another incarnation holds the id: nothing begins here any more.
    bool replaced() const noexcept { return replaced_.load(); }
    std::uint32_t lapse_number() const noexcept;
    /// Waits until the lease is not expired; false if `until` passed or the keeper stopped.
    bool wait_until_not_expired(seam::Duration at_most);
    /// Renews soon if the last renewal is older than half the time between two, and waits for it, but not longer than `at_most`.
    /// Before something that keeps renewals out (the writer lock of a SQLite file).
    void refresh(seam::Duration at_most);
    /// Boot time of the last renewal that succeeded (when it was sent); zero before the first.
    seam::Duration last_renewal() const noexcept;
    const sysdb::LeaseRow& row() const noexcept { return mine_; }

   private:
    void run();
    bool renew_once();
    void publish(seam::Duration sent, bool lapsed);

    sysdb::SystemDatabase& database_;
    sysdb::LeaseRow mine_;
    const Options options_;
    seam::Atomic<std::uint64_t> word_{0};  // valid until (boot clock, ms) << 20 | lapse number
    seam::Atomic<std::int64_t> last_renewal_ns_{0};
    seam::Mutex mutex_;
    seam::CondVar changed_;
    bool stopping_ = false;
    bool hurry_ = false;  // renew now
    bool taken_ = false;
    seam::Atomic<bool> replaced_{false};
    seam::Thread thread_;
};

}  // namespace dbos::runtime
