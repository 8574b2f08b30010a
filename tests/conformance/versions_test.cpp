// Application versions (queues-and-schedules.md 6, system-database.md 4).
#include "queue_fixture.hpp"

namespace dbos::sysdb::test {
namespace {

using testing::ElementsAre;
using testing::Pair;

class Versions : public QueueTest {
   public:
    void version(const std::string& name, int timestamp, const std::optional<std::string>& application) {
        insert("application_versions", {{"version_id", "id-" + name},
                                        {"version_name", name},
                                        {"version_timestamp", std::to_string(timestamp)},
                                        {"created_at", "1"},
                                        {"application_name", application}});
    }
};
DBOS_FOR_EVERY_DATABASE(Versions);

TEST_P(Versions, A_new_version_is_inserted_and_is_the_latest) {
    version("v0", 5, "app");
    auto& mine = process();
    EXPECT_EQ(mine.latest_version("app"), "v0");
    mine.register_version("v1", "app");
    EXPECT_EQ(mine.latest_version("app"), "v1");
    const auto row =
        run("SELECT version_id, version_timestamp, created_at, application_name FROM @application_versions "
            "WHERE version_name = 'v1'");
    ASSERT_EQ(row.size(), 1u);
    EXPECT_EQ(row.at(0, 0).text().size(), 36u);
    EXPECT_GT(row.at(0, 1).integer(), now() - 60'000);
    EXPECT_EQ(row.at(0, 1).integer(), row.at(0, 2).integer());
    EXPECT_EQ(row.at(0, 3).text(), "app");
}

TEST_P(Versions, Registering_again_does_not_promote) {
    version("v0", 5, "app");
    version("v1", 9, "app");
    auto& mine = process();
    mine.register_version("v0", "app");
    EXPECT_EQ(mine.latest_version("app"), "v1");
    EXPECT_EQ(run("SELECT count(*) FROM @application_versions").at(0, 0).integer(), 2);
}

TEST_P(Versions, An_unclaimed_version_is_adopted) {
    version("v1", 9, std::nullopt);
    auto& mine = process();
    mine.register_version("v1", "app");
    const auto row = run("SELECT application_name, version_timestamp FROM @application_versions");
    ASSERT_EQ(row.size(), 1u);
    EXPECT_EQ(row.at(0, 0).text(), "app");
    EXPECT_EQ(row.at(0, 1).integer(), 9);
}

TEST_P(Versions, Another_applications_version_is_refused) {
    version("v1", 9, "billing");
    auto& mine = process();
    try {
        mine.register_version("v1", "app");
        ADD_FAILURE() << "not refused";
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(),
                    testing::AllOf(testing::HasSubstr("\"v1\""), testing::HasSubstr("\"billing\"")));
    }
    mine.register_version("v1", std::nullopt);  // a nameless process owns nothing and is in nobody's way
    EXPECT_EQ(run("SELECT count(*) FROM @application_versions").at(0, 0).integer(), 1);
}

TEST_P(Versions, The_latest_is_among_own_and_unclaimed_ones) {
    auto& mine = process();
    EXPECT_EQ(mine.latest_version("app"), std::nullopt);
    version("a", 1, "app");
    version("b", 2, std::nullopt);
    version("c", 3, "billing");
    EXPECT_EQ(mine.latest_version("app"), "b");
    EXPECT_EQ(mine.latest_version("billing"), "c");
    EXPECT_EQ(mine.latest_version(std::nullopt), "c");
}

TEST_P(Versions, Active_rows_are_counted_by_version) {
    workflow("a", {{"application_version", "v0"}});
    workflow("b", {{"application_version", "v0"}, {"status", "PENDING"}});
    workflow("c", {{"application_version", "v0"}, {"status", "DELAYED"}, {"queue_name", "r"}});
    workflow("d", {{"application_version", "v1"}, {"application_name", std::nullopt}});
    workflow("e", {{"application_version", "v1"}, {"application_name", "billing"}});
    workflow("f", {{"application_version", "v2"}, {"status", "SUCCESS"}});
    workflow("g", {{"application_version", std::nullopt}});
    EXPECT_THAT(process().active_versions("app"), ElementsAre(Pair("v0", 3), Pair("v1", 1)));
}

TEST_P(Versions, Eight_processes_register_at_once) {
    std::vector<seam::Thread> threads;
    seam::Atomic<int> failures{0};
    for (int n = 0; n < 8; ++n) {
        SystemDatabase& mine = process();
        threads.push_back(seam::spawn("launcher", [&mine, &failures] {
            try {
                mine.register_version("v1", "app");
            } catch (const std::exception&) {
                failures.fetch_add(1);
            }
        }));
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(failures.load(), 0);
    EXPECT_EQ(run("SELECT count(*) FROM @application_versions").at(0, 0).integer(), 1);
}

}  // namespace
}  // namespace dbos::sysdb::test
