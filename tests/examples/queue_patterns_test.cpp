#include "program.hpp"

namespace dbos::test {
namespace {

int workflows(ExampleDatabase& database, const std::string& name, const std::string& condition = "1 = 1") {
    return std::stoi(
        database.one("SELECT count(*) FROM @workflow_status WHERE name = '" + name + "' AND " + condition));
}

constexpr const char* kManager = "fair_queue_concurrency_manager";
constexpr const char* kWork = "fair_queue_workflow";
constexpr const char* kLimited = "rate_limited_queue_workflow";
constexpr const char* kDebounced = "debouncer_workflow";

TEST(QueuePatterns, killed_at_every_operation_keeps_every_limit) {
    on_every_database([](ExampleDatabase& database) {
        Http http;
        Program program(example("queue-patterns", "queue-patterns"), serve_on(database),
                        database.directory() / "log");
        program.start();
        program.wait_for_port();
        database.slow_down();
        int most_of_a_tenant = 0;
        const auto kills = kill_at_every_operation(database, program, &http, [&] {
            const auto submitted = [&](const std::string& path, const std::string& name, int count) {
                EXPECT_TRUE(eventually(
                    [&] {
                        if (workflows(database, name) >= count) return true;
                        static_cast<void>(http.try_post(path));
                        return false;
                    },
                    60));
            };
            submitted("/api/workflows/fair_queue?tenant_id=alice", kManager, 3);
            submitted("/api/workflows/fair_queue?tenant_id=bob", kManager, 4);
            submitted("/api/workflows/rate_limited_queue", kLimited, 3);
            submitted("/api/workflows/debouncer?tenant_id=ann&input=first", kDebounced, 1);
            static_cast<void>(http.post("/api/workflows/debouncer?tenant_id=ann&input=last"));
            EXPECT_TRUE(eventually(
                [&] {
                    most_of_a_tenant = std::max(
                        most_of_a_tenant, workflows(database, kManager,
                                                    "status = 'PENDING' AND queue_partition_key = 'alice'"));
                    return database.one("SELECT count(*) FROM @workflow_status WHERE status <> 'SUCCESS'") ==
                           "0";
                },
                120));
        });
        expect_killed_everywhere(database, kills);
        EXPECT_GE(most_of_a_tenant, 1);
        EXPECT_LE(most_of_a_tenant, 2);
        EXPECT_EQ(workflows(database, kWork), workflows(database, kManager));
        // Of any three starts in a row the last is ten seconds after the first.
        EXPECT_EQ(database.one("SELECT count(*) FROM (SELECT started_at_epoch_ms - lag(started_at_epoch_ms, "
                               "2) OVER (ORDER BY "
                               "started_at_epoch_ms) AS apart FROM @workflow_status WHERE name = "
                               "'rate_limited_queue_workflow')"
                               " x WHERE apart < 10000"),
                  "0");
        EXPECT_TRUE(program.terminate());
    });
}

TEST(QueuePatterns, routes) {
    on_every_database([](ExampleDatabase& database) {
        Http http;
        Program program(example("queue-patterns", "queue-patterns"), serve_on(database),
                        database.directory() / "log");
        program.start();
        http.server_is_at(program.wait_for_port());
        EXPECT_NE(http.get("/").body.find("<!DOCTYPE html>"), std::string::npos);
        EXPECT_EQ(http.post("/api/workflows/fair_queue").status, 422);
        EXPECT_EQ(http.post("/api/workflows/debouncer?tenant_id=ann").status, 422);
        EXPECT_EQ(http.get("/api/workflows").status, 422);

        const Json mix = http.post("/api/workflows/fair_queue/random_mix").json();
        EXPECT_EQ(mix.at("total"), 50);
        EXPECT_EQ(workflows(database, kManager), 50);
        EXPECT_TRUE(eventually([&] { return workflows(database, kWork, "status = 'PENDING'") == 4; }));
        const Json fair = http.get("/api/fair_queue/pipeline").json();
        EXPECT_EQ(fair.at("pending_concurrency").size(), 4U);
        int waiting = 0;
        for (const Json& tenant : fair.at("enqueued")) waiting += tenant.at("count").get<int>();
        EXPECT_EQ(waiting, 50);
        EXPECT_EQ(workflows(database, kManager, "status = 'PENDING'"), 8);  // two of each of four tenants
        const Json listed = http.get(std::string("/api/workflows?workflow_name=") + kManager).json();
        EXPECT_EQ(listed.size(), 50U);
        EXPECT_TRUE(listed.at(0).at("tenant_id").is_string());

        EXPECT_EQ(http.post("/api/workflows/debouncer?tenant_id=ann&input=first").status, 200);
        EXPECT_EQ(http.post("/api/workflows/debouncer?tenant_id=ann&input=last%20one").status, 200);
        const Json delayed = http.get("/api/debouncer/pipeline").json().at("delayed");
        ASSERT_EQ(delayed.size(), 1U);
        EXPECT_EQ(delayed.at(0).at("tenant_id"), "ann");
        EXPECT_EQ(delayed.at(0).at("input"), "last one");
        EXPECT_TRUE(delayed.at(0).at("delay_until").is_number());
        for (int n = 0; n < 3; ++n) EXPECT_EQ(http.post("/api/workflows/rate_limited_queue").status, 200);
        EXPECT_TRUE(eventually([&] { return workflows(database, kLimited, "status = 'SUCCESS'") == 2; }));
        EXPECT_TRUE(
            eventually([&] { return workflows(database, kDebounced, "status = 'SUCCESS'") == 1; }, 60));
        EXPECT_TRUE(program.terminate());
    });
}

}  // namespace
}  // namespace dbos::test
