// Which executors are dead: the judgement over what the ticks of this process saw. Pure: no clock, no database, no process
// table; everything comes in as arguments.
//
// An executor is dead if its process was proved dead on the same host, or if its lease has expired by the database clock
// AND this process itself has seen its counter unchanged for one whole lease, on its own boot clock, over ticks that all
// succeeded and while its own renewals went through. Any gap in that evidence (a failed or late tick, a late renewal of our
// own) starts the evidence of everybody anew: a database that was away for half a minute let nobody renew, and the first
// process that is back must not rob the fleet.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "platform/seam.hpp"

namespace dbos::core {

/// One lease as a tick reported it.
struct ObservedLease {
    std::string executor_id = {};
    std::string incarnation = {};
    std::int64_t counter = 0;
    std::int64_t expires_at_ms = 0;  // database clock
    std::int64_t lease_ms = 0;  // how long its counter must be seen unchanged; at least our own lease counts
    std::optional<std::string> host_key = {};  // equal keys: pids can be compared; nullopt equals nothing
    int pid = 0;
    std::uint64_t process_start = 0;  // 0 = unknown
    friend bool operator==(const ObservedLease&, const ObservedLease&) = default;
};

struct LapseOptions {
    std::string executor_id = {};  // our own: never judged
    std::string incarnation = {};  // our own
    std::string host_key = {};     // our own; empty = unreadable, no process is compared
    seam::Duration lease = std::chrono::seconds(7);
    /// The longest pause between two ticks, and the greatest age of our own renewal, over which evidence is kept.
    /// 0 = half a lease for ticks, 5/7 of one for renewals.
    seam::Duration tick_gap{0};
    seam::Duration renewal_gap{0};
    /// After how long a dead executor whose rows were handed back is looked at again.
    seam::Duration look_again = std::chrono::seconds(60);
    /// Whether processes on the same host are asked for (safe only where pids are honest).
    bool check_processes = true;
};

/// Not thread-safe; belongs to the thread that ticks.
class LapseJudge {
   public:
    /// What is known of a process: pid and start time. Called only for leases with our own host key.
    using ProcessLife = std::function<seam::Life(int pid, std::uint64_t start)>;

    explicit LapseJudge(LapseOptions options, ProcessLife life = seam::process_life);

    /// Our own lease was renewed; `sent` = boot time at which that renewal was sent. Before the first call nobody is dead.
    void renewed(seam::Duration sent);
    /// A tick failed: the evidence of all starts anew. Executors already judged stay so.
    void tick_failed();

    struct Verdict {
        std::vector<ObservedLease> dead;  // newly found dead, ordered by executor id: sweep them
        std::vector<ObservedLease>
            again;  // dead before, not looked at for `look_again`: sweep those that have rows
    };
    /// A tick that succeeded: all leases of the application, the database clock it reported, and the boot times at which it
    /// was sent and answered.
    Verdict tick(std::span<const ObservedLease> leases, std::int64_t database_now_ms, seam::Duration sent,
                 seam::Duration received);
    /// Whether a process on this host that the last tick found alive has ended since: worth a tick ahead of time.
    bool somebody_ended() const;
    /// A sweep of `executor_id` found that `incarnation` had renewed or was replaced: it is observed from scratch.
    void acquit(const std::string& executor_id, const std::string& incarnation);

   private:
    struct Record {
        std::string incarnation;
        std::int64_t counter = 0;
        seam::Duration unchanged_since{0};  // boot time at which this counter was first seen, answer received
        bool dead = false;
        seam::Duration reported{0};
        std::uint64_t seen = 0;  // number of the last tick that listed it
    };
    enum class Finding : std::uint8_t { alive, dead, again };

    bool evidence_holds(seam::Duration sent, seam::Duration received) const;
    Finding judge(Record& record, const ObservedLease& lease, std::int64_t database_now_ms,
                  seam::Duration sent, seam::Duration received);
    bool on_this_host(const ObservedLease& lease) const;
    bool proved_dead(const ObservedLease& lease) const;

    LapseOptions options_;
    ProcessLife life_;
    std::map<std::string, Record> records_;
    std::vector<ObservedLease> neighbours_;    // on this host, alive at the last tick
    std::optional<seam::Duration> renewed_;    // our last renewal
    std::optional<seam::Duration> last_tick_;  // received; nullopt after a failure
    std::uint64_t ticks_ = 0;
};

}  // namespace dbos::core
