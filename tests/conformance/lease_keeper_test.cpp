// The keeper of one lease, alone (safety 4, 22, 23): freshness, lapses, replacement, and what a launch waits for.
#include <atomic>
#include <optional>
#include <thread>

#include "runtime/lease_keeper.hpp"
#include "support/app.hpp"
#include "support/system_database.hpp"

using namespace std::chrono_literals;
using dbos::runtime::LeaseKeeper;
using dbos::sysdb::LeaseRow;
using dbos::test::eventually;
namespace seam = dbos::seam;

namespace {

class Keeper : public dbos::test::SystemDatabaseTest {
   public:
    /// A keeper of the executor "e"; each has an incarnation of its own unless one is given.
    std::unique_ptr<LeaseKeeper> keeper(LeaseKeeper::Options options,
                                        const std::string& incarnation = "one") {
        LeaseRow row;
        row.application_name = "app";
        row.executor_id = "e";
        row.incarnation = incarnation;
        row.version = "v1";
        row.host_key = seam::host_key();
        row.pid = seam::process_id();
        row.process_start = static_cast<std::int64_t>(seam::process_start(row.pid));
        options.log = log.sink();
        return std::make_unique<LeaseKeeper>(system(), std::move(row), std::move(options));
    }
    /// The lease of an earlier life of the executor "e": on another host, so that its process cannot be asked for.
    void leave_lease(int lease_ms, const std::string& incarnation = "earlier") {
        LeaseRow row;
        row.application_name = "app";
        row.executor_id = "e";
        row.incarnation = incarnation;
        row.version = "v1";
        row.host_key = "another host";
        row.pid = 1;
        row.process_start = 1;
        ASSERT_EQ(system().take_lease(row, std::nullopt, std::chrono::milliseconds(lease_ms)),
                  dbos::sysdb::LeaseTake::taken);
    }
    static constexpr auto kGoOn = [] { return true; };
    dbos::test::LogBook log;
};
DBOS_FOR_EVERY_DATABASE(Keeper);

TEST_P(Keeper, nothing_is_fresh_before_the_lease_was_taken_and_everything_while_it_is_renewed) {
    auto mine = keeper({.lease = 30s, .renew_every = 10ms});
    EXPECT_FALSE(mine->fresh(0));
    EXPECT_TRUE(mine->expired());
    mine->take(kGoOn);
    EXPECT_TRUE(mine->fresh(0));
    EXPECT_EQ(mine->lapse_number(), 0u);
    mine->start();
    const auto first = mine->last_renewal();
    ASSERT_TRUE(eventually([&] { return mine->last_renewal() > first; }));
    ASSERT_TRUE(eventually([&] {
        return std::stoll(one("SELECT counter FROM @dbos_cpp_executors WHERE executor_id = 'e'")) > 3;
    }));
    EXPECT_TRUE(mine->fresh(0));
    EXPECT_EQ(mine->lapse_number(), 0u);
}

TEST_P(Keeper, a_lease_that_nobody_renews_ends_by_the_boot_clock) {
    auto mine = keeper({.lease = 50ms, .renew_every = 1h});
    mine->take(kGoOn);
    ASSERT_TRUE(eventually([&] { return mine->expired(); }));
    EXPECT_GE(seam::boot_now(), mine->last_renewal() + 49ms);
    EXPECT_FALSE(mine->fresh(mine->lapse_number()));
    EXPECT_FALSE(mine->wait_until_not_expired(10ms));
}

TEST_P(Keeper, a_lapse_that_a_renewal_has_healed_still_counts) {
    // Each renewal comes after the lease has ended: what a stop of the process does to it.
    auto mine = keeper({.lease = 40ms, .renew_every = 120ms});
    mine->take(kGoOn);
    const std::uint32_t checked = mine->lapse_number();
    mine->start();
    ASSERT_TRUE(eventually([&] { return mine->lapse_number() > checked; }));
    // Whoever checked before must ask again, also while the lease is fresh; whoever asks now may go on.
    ASSERT_TRUE(eventually([&] { return mine->fresh(mine->lapse_number()); }));
    EXPECT_FALSE(mine->fresh(checked));
    EXPECT_TRUE(mine->wait_until_not_expired(20s));
}

TEST_P(Keeper, a_row_that_is_missing_is_inserted_again_and_counts_as_a_lapse) {
    auto mine = keeper({.lease = 30s, .renew_every = 20ms});
    mine->take(kGoOn);
    mine->start();
    ASSERT_TRUE(eventually([&] { return std::stoll(one("SELECT counter FROM @dbos_cpp_executors")) > 2; }));
    const auto counter = std::stoll(one("SELECT counter FROM @dbos_cpp_executors"));
    write("DELETE FROM @dbos_cpp_executors");
    ASSERT_TRUE(eventually([&] { return mine->lapse_number() == 1; }));
    EXPECT_FALSE(mine->fresh(0));
    EXPECT_TRUE(mine->fresh(1));
    EXPECT_GT(std::stoll(one("SELECT counter FROM @dbos_cpp_executors")), counter);
    EXPECT_EQ(one("SELECT incarnation FROM @dbos_cpp_executors"), "one");
}

TEST_P(Keeper, who_was_replaced_is_never_fresh_again_and_leaves_the_row_alone) {
    std::atomic<int> told{0};
    auto mine = keeper({.lease = 30s, .renew_every = 20ms, .replaced = [&] { ++told; }});
    mine->take(kGoOn);
    mine->start();
    write("UPDATE @dbos_cpp_executors SET incarnation = 'two'");
    ASSERT_TRUE(eventually([&] { return told == 1; }));
    EXPECT_TRUE(mine->replaced());
    EXPECT_TRUE(mine->expired());
    EXPECT_FALSE(mine->fresh(mine->lapse_number()));
    const auto expires = one("SELECT expires_at FROM @dbos_cpp_executors");
    mine->stop();
    EXPECT_EQ(one("SELECT incarnation FROM @dbos_cpp_executors"), "two");
    EXPECT_EQ(one("SELECT expires_at FROM @dbos_cpp_executors"), expires);
    EXPECT_EQ(told, 1);
}

TEST_P(Keeper, stop_expires_the_row_and_the_next_life_takes_it_at_once) {
    auto mine = keeper({.lease = 1h, .renew_every = 1h});
    mine->take(kGoOn);
    mine->start();
    mine->stop();
    auto next = keeper({.lease = 1h, .renew_every = 1h}, "two");
    next->take([]() -> bool {
        ADD_FAILURE() << "it waited for an expired lease";
        return false;
    });
    EXPECT_TRUE(next->fresh(0));
    EXPECT_EQ(one("SELECT incarnation FROM @dbos_cpp_executors"), "two");
}

TEST_P(Keeper, the_lease_of_an_earlier_life_is_waited_out) {
    leave_lease(600);
    const auto begun = seam::steady_now();
    auto mine = keeper({.lease = 300ms, .renew_every = 1h});
    mine->take(kGoOn);  // throws if it gives up
    EXPECT_GE(seam::steady_now() - begun, 590ms);
    EXPECT_EQ(one("SELECT incarnation FROM @dbos_cpp_executors"), "one");
    EXPECT_TRUE(mine->fresh(0) || mine->expired());
}

TEST_P(Keeper, a_holder_that_renews_refuses_the_launch_and_keeps_its_lease) {
    auto holder = keeper({.lease = 30s, .renew_every = 20ms}, "holder");
    holder->take(kGoOn);
    holder->start();
    auto mine = keeper({.lease = 30s, .renew_every = 1h, .check_pid = true}, "late");
    try {
        mine->take(kGoOn);
        ADD_FAILURE() << "two hold one id";
    } catch (const dbos::ConfigError& error) {
        const std::string text = error.what();
        EXPECT_NE(text.find("executor id \"e\""), std::string::npos) << text;
        EXPECT_NE(text.find("renews"), std::string::npos) << text;
        EXPECT_NE(text.find("executor_id"), std::string::npos) << text;
    }
    mine.reset();
    EXPECT_EQ(one("SELECT incarnation FROM @dbos_cpp_executors"), "holder");
    EXPECT_TRUE(holder->fresh(0));
}

TEST_P(Keeper, a_wait_for_a_lease_can_be_stopped) {
    leave_lease(3'600'000);
    auto mine = keeper({.lease = 1h, .renew_every = 1h});
    int asked = 0;
    EXPECT_THROW(mine->take([&] { return ++asked < 3; }), dbos::ConfigError);
    EXPECT_EQ(asked, 3);
    EXPECT_EQ(one("SELECT incarnation FROM @dbos_cpp_executors"), "earlier");
}

TEST_P(Keeper, a_dead_process_of_this_host_is_not_waited_for) {
    leave_lease(3'600'000);
    // The same host, and a start time that the process of this number does not have.
    write("UPDATE @dbos_cpp_executors SET host_key = $1, pid = $2, process_start = 1",
          {std::string_view(seam::host_key()), std::int64_t{seam::process_id()}});
    auto mine = keeper({.lease = 1h, .renew_every = 1h});
    int asked = 0;
    mine->take([&] { return ++asked < 100; });
    EXPECT_EQ(asked, 0);
    EXPECT_EQ(one("SELECT incarnation FROM @dbos_cpp_executors"), "one");
}

TEST_P(Keeper, renewals_that_fail_are_tried_again_and_the_lapse_is_counted) {
    auto mine = keeper({.lease = 150ms, .renew_every = 30ms});
    mine->take(kGoOn);
    mine->start();
    write("ALTER TABLE @dbos_cpp_executors RENAME TO dbos_cpp_executors_away");
    ASSERT_TRUE(eventually([&] { return mine->expired(); }));
    ASSERT_TRUE(eventually([&] { return log.count("could not be renewed") > 0; }));
    write("ALTER TABLE @dbos_cpp_executors_away RENAME TO dbos_cpp_executors");
    ASSERT_TRUE(eventually([&] { return mine->lapse_number() >= 1; }));
    EXPECT_FALSE(mine->fresh(0));
    EXPECT_FALSE(mine->replaced());
}

}  // namespace
