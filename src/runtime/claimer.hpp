// The queue runner: one thread that claims for all queues. Nothing polls per queue; a queue is looked at when something says
// that it has work (an enqueue here, a wake-up, the tick), when a slot frees while it had more, and then only while slots are free.
//
// Wake-ups are level-triggered: one that arrives during a claim makes the queue be claimed again.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/histogram.hpp"
#include "platform/seam.hpp"
#include "sysdb/records.hpp"

namespace dbos::runtime {

class Executor;

class Claimer {
   public:
    explicit Claimer(Executor& executor);
    /// stop().
    ~Claimer();
    Claimer(const Claimer&) = delete;
    Claimer& operator=(const Claimer&) = delete;

    void start();
    /// After it has returned nothing is claimed any more.
    void stop() noexcept;

    /// The queues to serve (the internal one is added).
    void set_queues(const std::vector<sysdb::QueueRow>& rows);
    bool serves(const std::string& queue) const;
    std::vector<std::string> queues() const;
    /// Of the queues served here that have any.
    std::map<std::string, sysdb::QueueLimits> limits() const;
    /// The shortest polling interval of the queues served here, within the bounds of the tick: 10 ms to 1 s.
    seam::Duration polling_interval() const;
    /// Whether an outcome on this queue frees a slot that other processes wait for.
    bool has_shared_limit(const std::string& queue) const;
    void set_latest(bool is_latest) noexcept { is_latest_.store(is_latest); }
    bool is_latest() const noexcept { return is_latest_.load(); }

    /// Whether workflows are claimed from it by partition key only.
    bool partitioned(const std::string& queue) const;

    /// Whether nothing is claimed or about to be. `next`: when the rate of a queue allows a start again, by the clock of tests.
    bool at_rest(std::optional<sysdb::Millis>& next) const;
    /// How long the claims of this process took, with the histories that they load.
    core::Histogram claim_times() const;
    /// How many claims were tried.
    std::uint64_t claims() const noexcept { return claims_.load(); }
    /// The clock of tests was moved: what waits for a rate is looked at again.
    void time_has_passed() noexcept;

    // Any thread, quick:
    void has_work(const std::string& queue) noexcept;
    void have_work(std::span<const std::uint32_t> hashes, bool all) noexcept;
    /// A claimed workflow of the queue has ended, was lost, or was not begun.
    void slot_freed(const std::string& queue, const sysdb::Fence& fence) noexcept;
    /// Hands back, between two claims, what this executor holds in the database and no run here.
    void check_orphans() noexcept;
    /// Runs were given up whose rows are to be handed back.
    void hand_back_soon() noexcept;
    /// Something that bounds all claims has changed (a body began or ended, outcomes were committed).
    void look_again() noexcept;

   private:
    struct Queue {
        sysdb::QueueRow row;
        sysdb::QueueLimits limits;
        std::uint32_t hash = 0;
        std::int32_t running = 0;       // claimed and not ended
        bool work = true;               // may have rows
        std::uint64_t signals = 0;      // counts has_work, so that one during a claim is not lost
        seam::SteadyTime not_before{};  // after a lost race for the shared limit, or with a rate used up
        std::optional<seam::SteadyTime>
            look_at;  // when a partition key that has used up its rate has starts again
        std::optional<sysdb::Millis> rate_at;      // the same as one of the two, by the durable clock
        std::map<sysdb::Fence, std::string> keys;  // partition keys of what runs
        std::map<std::string, std::int32_t> running_of_key;  // how many of them
        bool served = true;
    };
    struct Round {
        std::vector<sysdb::ClaimQueue> plain;
        std::map<std::string, std::uint64_t> signals;
        std::string alone;  // or one queue with a shared limit or partitions
        sysdb::ClaimQueue alone_claim;
        sysdb::QueueLimits limits;
        std::map<std::string, std::int32_t> running_of_key;
        bool empty() const { return plain.empty() && alone.empty(); }
    };
    void run();
    Round next_round(std::int32_t room, seam::SteadyTime& wake_at);
    static std::int32_t free_slots(const Queue& queue);
    static bool alone(const Queue& queue) { return queue.limits.shared() || queue.limits.partitioned; }
    void claim(const Round& round, std::int32_t room);
    void repair();
    /// What a claim has found beside its rows.
    struct Found {
        std::vector<sysdb::ClaimedWorkflow> rows = {};
        bool contended = false;
        std::vector<std::string> more = {};  // queues that may hold more
        std::optional<sysdb::Millis> budget_in = {};
        std::optional<sysdb::Millis> key_budget_in = {};
    };
    Found ask(const Round& round, sysdb::ClaimRequest request);
    void settle(const Round& round, const Found& found);
    void settle_one(const Round& round, const Found& found, Queue& queue, bool more);

    Executor& executor_;
    mutable seam::Mutex mutex_;
    seam::CondVar changed_;
    std::map<std::string, Queue> queues_;
    bool poked_ = false;
    bool resting_ = false;  // its thread waits
    bool stopping_ = false;
    seam::Atomic<bool> orphans_due_{false};
    std::optional<seam::SteadyTime> repair_at_;  // when to hand back what was given up
    seam::SteadyTime repaired_at_{};
    seam::Duration repair_pause_{std::chrono::seconds(1)};
    bool claim_unsure_ = false;  // of the thread: a claim failed, and may have taken rows
    bool last_was_alone_ = false;
    std::string last_alone_;
    sysdb::Millis last_instant_ = 0;  // of the thread: when the last row was enqueued
    std::size_t of_one_instant_ = 0;  // of the thread: so many before it in the same one
    seam::Atomic<std::uint64_t> claims_{0};
    core::Histogram claim_times_;
    seam::Atomic<bool> is_latest_{false};
    seam::Atomic<bool> starved_{false};  // claims wait for room
    seam::Thread thread_;
};

}  // namespace dbos::runtime
