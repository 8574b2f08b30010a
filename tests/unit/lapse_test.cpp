// The judgement which executors are dead (safety 22-27), on clocks made up by the test.
#include "core/lapse.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace dbos::core {
namespace {

using namespace std::chrono_literals;
using seam::Duration;
using seam::Life;

constexpr std::int64_t kEpoch = 1'700'000'000'000;
constexpr Duration kLease = 7s;

std::int64_t millis(Duration duration) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

/// A fleet on one database. Executors renew every 2 s while they live; the judge ticks every second.
class Fleet {
   public:
    explicit Fleet(LapseOptions options = {}) {
        options.executor_id = "me";
        options.incarnation = "mine";
        if (options.host_key.empty()) options.host_key = "host-1";
        judge.emplace(options, [this](int pid, std::uint64_t start) {
            ++lookups;
            const auto found = processes.find({pid, start});
            return found == processes.end() ? Life::alive : found->second;
        });
    }

    void add(const std::string& id, int pid = 0, std::optional<std::string> host = std::nullopt) {
        leases[id] = {.executor_id = id,
                      .incarnation = id + "-1",
                      .counter = 1,
                      .expires_at_ms = database_now() + millis(kLease),
                      .lease_ms = millis(kLease),
                      .host_key = std::move(host),
                      .pid = pid,
                      .process_start = pid == 0 ? 0u : 77u};
        living[id] = true;
    }

    std::int64_t database_now() const { return kEpoch + millis(boot) + wall_jump_ms; }

    void renew_all() {
        for (auto& [id, lease] : leases) {
            if (!living[id]) continue;
            ++lease.counter;
            lease.expires_at_ms = database_now() + millis(kLease);
        }
    }

    /// One second: renewals every second second, then a tick; the names of those newly found dead.
    std::vector<std::string> second() {
        boot += 1s;
        const bool renew = (boot / 1s) % 2 == 0;
        if (renew && writes_work) {
            renew_all();
            if (i_renew) judge->renewed(boot);
        }
        if (!ticks_work) {
            judge->tick_failed();
            return {};
        }
        return names(tick().dead);
    }

    LapseJudge::Verdict tick() {
        std::vector<ObservedLease> rows;
        for (const auto& [id, lease] : leases) rows.push_back(lease);
        return judge->tick(rows, database_now(), boot, boot + 1ms);
    }

    static std::vector<std::string> names(const std::vector<ObservedLease>& rows) {
        std::vector<std::string> result;
        for (const auto& row : rows) result.push_back(row.executor_id);
        return result;
    }

    /// Seconds until somebody was found dead; -1 if nobody was within `limit`.
    int seconds_until_death(int limit, std::vector<std::string>* who = nullptr) {
        for (int n = 1; n <= limit; ++n) {
            const auto dead = second();
            if (dead.empty()) continue;
            if (who) *who = dead;
            return n;
        }
        return -1;
    }

    void settle() { ASSERT_EQ(seconds_until_death(12), -1); }

    Duration boot = 1000s;
    std::int64_t wall_jump_ms = 0;
    bool writes_work = true;
    bool ticks_work = true;
    bool i_renew = true;
    int lookups = 0;
    std::map<std::string, ObservedLease> leases;
    std::map<std::string, bool> living;
    std::map<std::pair<int, std::uint64_t>, Life> processes;
    std::optional<LapseJudge> judge;
};

TEST(Lapse, A_silent_executor_is_dead_within_ten_seconds_and_no_sooner_than_its_lease) {
    Fleet fleet;
    fleet.add("a");
    fleet.add("b");
    fleet.settle();
    fleet.living["a"] = false;
    std::vector<std::string> who;
    const int seconds = fleet.seconds_until_death(20, &who);
    EXPECT_GE(seconds, 6);  // its last renewal is up to 2 s old already
    EXPECT_LE(seconds, 10);
    EXPECT_EQ(who, std::vector<std::string>{"a"});
    EXPECT_EQ(fleet.seconds_until_death(30), -1) << "told once";
}

TEST(Lapse, A_database_away_for_half_a_minute_robs_nobody) {
    Fleet fleet;
    for (const char* id : {"a", "b", "c"}) fleet.add(id);
    fleet.settle();
    fleet.writes_work = fleet.ticks_work = false;
    for (int n = 0; n < 30; ++n) EXPECT_TRUE(fleet.second().empty());
    // The database is back, I am the first: everybody has expired, nobody has renewed yet.
    fleet.ticks_work = true;
    for (int n = 0; n < 5; ++n)
        EXPECT_TRUE(fleet.second().empty()) << "back-offs of the others end within 5 s";
    fleet.writes_work = true;
    fleet.settle();
}

TEST(Lapse, A_tick_that_hung_for_half_a_minute_robs_nobody) {
    Fleet fleet;
    fleet.add("a");
    fleet.settle();
    fleet.boot += 30s;  // no tick failed: the one in flight was answered late
    fleet.judge->renewed(fleet.boot);
    EXPECT_TRUE(fleet.tick().dead.empty());
    fleet.settle();
}

TEST(Lapse, A_database_that_reads_but_cannot_write_robs_nobody) {
    Fleet fleet;
    fleet.add("a");
    fleet.settle();
    fleet.writes_work = false;  // a full disk: every tick succeeds, no renewal does
    EXPECT_EQ(fleet.seconds_until_death(40), -1);
    fleet.writes_work = true;
    fleet.judge->renewed(fleet.boot);  // ours is the first that goes through again
    EXPECT_TRUE(fleet.tick().dead.empty());
    fleet.settle();
}

TEST(Lapse, A_jump_of_the_wall_clock_robs_nobody) {
    Fleet fleet;
    fleet.add("a");
    fleet.settle();
    fleet.wall_jump_ms = 3'600'000;  // all leases have expired at a stroke
    EXPECT_TRUE(fleet.tick().dead.empty());
    fleet.settle();
}

TEST(Lapse, Nobody_is_judged_before_the_own_first_renewal) {
    Fleet fleet;
    fleet.add("a", 17, "host-1");
    fleet.processes[{17, 77}] = Life::dead;
    fleet.living["a"] = false;
    fleet.i_renew = false;
    EXPECT_EQ(fleet.seconds_until_death(30), -1);
    fleet.i_renew = true;
    EXPECT_GE(fleet.seconds_until_death(10), 1);
}

TEST(Lapse, An_executor_that_was_stopped_and_goes_on_is_judged_anew) {
    Fleet fleet;
    fleet.add("a");
    fleet.settle();
    fleet.living["a"] = false;
    EXPECT_GT(fleet.seconds_until_death(20), 0);
    fleet.living["a"] = true;
    fleet.settle();
    fleet.living["a"] = false;
    EXPECT_GT(fleet.seconds_until_death(20), 0);
}

TEST(Lapse, A_counter_that_goes_on_after_the_row_was_inserted_again_shows_life) {
    Fleet fleet;
    fleet.add("a");
    fleet.settle();
    const auto row = fleet.leases["a"];
    fleet.leases.erase("a");
    EXPECT_TRUE(fleet.second().empty());
    fleet.leases["a"] = row;
    fleet.settle();
}

TEST(Lapse, What_was_seen_is_keyed_by_incarnation) {
    Fleet fleet;
    fleet.add("a");
    fleet.leases["a"].counter = 1;
    fleet.living["a"] = false;
    for (int n = 0; n < 5; ++n) EXPECT_TRUE(fleet.second().empty());
    // Another incarnation takes the id and its counter is 1 as well; the row has expired already (a clock jump).
    fleet.leases["a"].incarnation = "a-2";
    EXPECT_EQ(fleet.seconds_until_death(6), -1);
    EXPECT_GT(fleet.seconds_until_death(6), 0);
}

TEST(Lapse, A_proof_of_death_on_the_same_host_needs_no_lapse) {
    Fleet fleet;
    fleet.add("a", 17, "host-1");
    fleet.add("b", 18, "host-2");
    fleet.add("c", 19);  // no host key: equal to nothing
    fleet.settle();
    for (int pid : {17, 18, 19}) fleet.processes[{pid, 77}] = Life::dead;  // a zombie that nobody reaped, too
    std::vector<std::string> who;
    EXPECT_EQ(fleet.seconds_until_death(1, &who), 1);
    EXPECT_EQ(who, std::vector<std::string>{"a"});
}

TEST(Lapse, The_end_of_a_process_on_this_host_is_seen_between_ticks_and_once) {
    Fleet fleet;
    fleet.add("near", 11, "host-1");
    fleet.add("far", 12, "host-2");
    fleet.settle();
    EXPECT_FALSE(fleet.judge->somebody_ended());
    fleet.processes[{12, 77u}] = Life::dead;
    EXPECT_FALSE(fleet.judge->somebody_ended());
    fleet.processes[{11, 77u}] = Life::dead;
    EXPECT_TRUE(fleet.judge->somebody_ended());
    EXPECT_EQ(fleet.second(), (std::vector<std::string>{"near"}));
    EXPECT_FALSE(fleet.judge->somebody_ended());
}

TEST(Lapse, What_cannot_be_read_about_a_process_is_no_proof) {
    Fleet fleet;
    fleet.add("a", 17, "host-1");
    fleet.settle();
    fleet.processes[{17, 77}] = Life::unknown;  // EPERM, or /proc is not readable
    fleet.settle();
    fleet.living["a"] = false;
    EXPECT_GE(fleet.seconds_until_death(20), 6);
}

TEST(Lapse, The_check_of_processes_can_be_switched_off) {
    Fleet fleet({.check_processes = false});
    fleet.add("a", 17, "host-1");
    fleet.settle();
    fleet.processes[{17, 77}] = Life::dead;
    fleet.settle();
    EXPECT_EQ(fleet.lookups, 0);
}

TEST(Lapse, An_unknown_host_or_start_time_compares_with_nothing) {
    LapseOptions options{.executor_id = "me", .incarnation = "mine", .host_key = ""};
    LapseJudge judge(options, [](int, std::uint64_t) { return Life::dead; });
    judge.renewed(100s);
    ObservedLease lease{.executor_id = "a",
                        .incarnation = "x",
                        .expires_at_ms = kEpoch + 7000,
                        .host_key = "",
                        .pid = 5,
                        .process_start = 9};
    EXPECT_TRUE(judge.tick({&lease, 1}, kEpoch, 100s, 100s).dead.empty());
    LapseOptions known{.executor_id = "me", .incarnation = "mine", .host_key = "h"};
    LapseJudge other(known, [](int, std::uint64_t) { return Life::dead; });
    other.renewed(100s);
    lease.host_key = "h";
    lease.process_start = 0;
    EXPECT_TRUE(other.tick({&lease, 1}, kEpoch, 100s, 100s).dead.empty());
    lease.process_start = 9;
    EXPECT_EQ(other.tick({&lease, 1}, kEpoch, 101s, 101s).dead.size(), 1u);
}

TEST(Lapse, The_shared_id_and_the_own_id_are_never_judged) {
    Fleet fleet;
    fleet.add("local", 17, "host-1");
    fleet.add("me", 18, "host-1");
    fleet.living["local"] = fleet.living["me"] = false;
    fleet.processes[{17, 77}] = fleet.processes[{18, 77}] = Life::dead;
    EXPECT_EQ(fleet.seconds_until_death(40), -1);
    EXPECT_EQ(fleet.lookups, 0);
}

TEST(Lapse, A_longer_lease_of_another_executor_is_respected) {
    Fleet fleet;
    fleet.add("a");
    fleet.leases["a"].lease_ms = 20'000;
    fleet.settle();
    fleet.living["a"] = false;  // expired after 7 s all the same, by a database clock that jumped
    fleet.wall_jump_ms = 3'600'000;
    EXPECT_EQ(fleet.seconds_until_death(17), -1);
    EXPECT_GT(fleet.seconds_until_death(6), 0);
}

TEST(Lapse, A_dead_executor_is_looked_at_again_every_minute) {
    Fleet fleet;
    fleet.add("a");
    fleet.settle();
    fleet.living["a"] = false;
    ASSERT_GT(fleet.seconds_until_death(20), 0);
    int again = 0;
    for (int n = 0; n < 121; ++n) {
        fleet.boot += 1s;
        fleet.judge->renewed(fleet.boot);
        const auto verdict = fleet.tick();
        EXPECT_TRUE(verdict.dead.empty());
        again += static_cast<int>(verdict.again.size());
    }
    EXPECT_EQ(again, 2);
}

TEST(Lapse, A_wrong_judgement_that_the_sweep_noticed_starts_anew) {
    Fleet fleet;
    fleet.add("a");
    fleet.settle();
    fleet.living["a"] = false;
    ASSERT_GT(fleet.seconds_until_death(20), 0);
    fleet.judge->acquit("a", "another");
    EXPECT_EQ(fleet.seconds_until_death(20), -1);
    fleet.judge->acquit("a", "a-1");
    EXPECT_GE(fleet.seconds_until_death(20), 7);
}

TEST(Lapse, The_same_observations_give_the_same_verdict_in_order_of_ids) {
    Fleet fleet;
    for (const char* id : {"z", "m", "b"}) fleet.add(id);
    fleet.settle();
    for (const char* id : {"z", "m", "b"}) fleet.living[id] = false;
    std::vector<std::string> who;
    ASSERT_GT(fleet.seconds_until_death(20, &who), 0);
    EXPECT_EQ(who, (std::vector<std::string>{"b", "m", "z"}));
}

}  // namespace
}  // namespace dbos::core
