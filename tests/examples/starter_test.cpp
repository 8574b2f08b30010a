#include "program.hpp"

namespace dbos::test {
namespace {

std::string succeeded(ExampleDatabase& database, const std::string& workflow) {
    return database.one("SELECT count(*) FROM @workflow_status WHERE status = 'SUCCESS' AND name = '" +
                        workflow + "'");
}

TEST(Starter, three_steps_killed_at_every_operation) {
    on_every_database([](ExampleDatabase& database) {
        Http http;
        Program program(example("starter", "starter"), serve_on(database), database.directory() / "log");
        program.start();
        program.wait_for_port();
        database.slow_down();
        int last = 0;
        const auto kills = kill_at_every_operation(database, program, &http, [&] {
            EXPECT_EQ(http.get("/workflow/task").status, 200);
            EXPECT_TRUE(eventually(
                [&] {
                    const int step = std::stoi(http.get("/last_step/task").body);
                    EXPECT_GE(step, last);
                    last = step;
                    return last == 3;
                },
                60));
        });
        expect_killed_everywhere(database, kills);
        EXPECT_TRUE(eventually([&] { return succeeded(database, "workflow") == "1"; }));
        EXPECT_EQ(database.one("SELECT count(*) FROM @operation_outputs"), "6");
        EXPECT_EQ(http.get("/workflow/task").status, 200);  // it has been done
        EXPECT_EQ(database.one("SELECT count(*) FROM @workflow_status"), "1");
        EXPECT_TRUE(program.terminate());
    });
}

TEST(Starter, queue_schedule_and_approvals_killed_at_every_operation) {
    on_every_database([](ExampleDatabase& database) {
        Http http;
        Program program(example("starter", "starter"), serve_on(database), database.directory() / "log");
        program.start();
        http.server_is_at(program.wait_for_port());
        database.slow_down();
        EXPECT_EQ(http.post("/schedule/apply", R"({"cron": "0 5 1 1 *"})").json(), Json({{"ok", true}}));
        EXPECT_EQ(http.post("/schedule/trigger").json(), Json({{"ok", true}}));
        for (int i = 0; i < 4; ++i) EXPECT_EQ(http.post("/queue/enqueue").json(), Json({{"ok", true}}));
        const std::string yes = http.post("/comm/start").json().at("workflow_id");
        const std::string no = http.post("/comm/start").json().at("workflow_id");
        EXPECT_EQ(http.get("/comm/status/" + yes).json(), Json({{"state", "step1"}}));

        const auto reaches = [&](const std::string& id, const std::string& state) {
            return eventually([&] { return http.get("/comm/status/" + id).json().at("state") == state; }, 60);
        };
        const auto kills = kill_at_every_operation(database, program, &http, [&] {
            EXPECT_TRUE(reaches(yes, "waiting"));
            EXPECT_EQ(http.post("/comm/approve/" + yes).json(), Json({{"ok", true}}));
            EXPECT_TRUE(reaches(no, "waiting"));
            EXPECT_EQ(http.post("/comm/deny/" + no).json(), Json({{"ok", true}}));
            EXPECT_TRUE(reaches(no, "denied"));
            EXPECT_TRUE(reaches(yes, "completed"));
            EXPECT_TRUE(eventually(
                [&] {
                    const auto counts = http.get("/queue/status").json().at("workflow_counts");
                    EXPECT_LE(counts.value("PENDING", 0), 3);
                    return counts.value("SUCCESS", 0) == 4;
                },
                60));
        });
        expect_killed_everywhere(database, kills);
        EXPECT_TRUE(eventually([&] { return succeeded(database, "communication_workflow") == "2"; }));
        EXPECT_TRUE(eventually([&] { return succeeded(database, "scheduled_workflow") == "1"; }));
        EXPECT_EQ(database.one("SELECT count(*) FROM @workflow_status"), "7");
        EXPECT_TRUE(program.terminate());
    });
}

TEST(Starter, routes) {
    on_every_database([](ExampleDatabase& database) {
        Http http;
        Program program(example("starter", "starter"), serve_on(database), database.directory() / "log");
        program.start();
        http.server_is_at(program.wait_for_port());
        EXPECT_NE(http.get("/").body.find("<!DOCTYPE html>"), std::string::npos);
        EXPECT_EQ(http.get("/last_step/nobody").body, "0");
        EXPECT_EQ(http.get("/comm/status/nobody").json(), Json({{"state", "step1"}}));
        EXPECT_EQ(http.post("/comm/approve/nobody").status, 500);

        const auto schedule = [&] {
            const auto status = http.get("/schedule/status").json();
            EXPECT_EQ(status.at("workflow_counts"), Json::object());
            return status.at("cron").get<std::string>() + ": " +
                   status.at("schedule_status").get<std::string>();
        };
        EXPECT_EQ(schedule(), "*/5 * * * * *: UNKNOWN");
        EXPECT_EQ(http.post("/schedule/trigger").status, 500);
        http.post("/schedule/apply", R"({"cron": "0 5 1 1 *"})");
        EXPECT_EQ(schedule(), "0 5 1 1 *: ACTIVE");
        http.post("/schedule/pause");
        EXPECT_EQ(schedule(), "0 5 1 1 *: PAUSED");
        http.post("/schedule/resume");
        EXPECT_EQ(schedule(), "0 5 1 1 *: ACTIVE");
        http.post("/schedule/pause");
        http.post("/schedule/apply", R"({"cron": "0 6 1 1 *"})");
        EXPECT_EQ(schedule(), "0 6 1 1 *: ACTIVE");
        EXPECT_EQ(http.post("/schedule/apply", R"({"cron": "soon"})").status, 500);

        const auto limit = [&] {
            return http.get("/queue/status").json().at("worker_concurrency").get<int>();
        };
        EXPECT_EQ(limit(), 3);
        http.post("/queue/concurrency", R"({"concurrency": 5})");
        EXPECT_EQ(limit(), 5);
        EXPECT_EQ(http.get("/queue/status").json().at("workflow_counts"), Json::object());
        EXPECT_EQ(http.try_post("/crash"), std::nullopt);
        EXPECT_EQ(program.wait(), 1);
        program.start();
        http.server_is_at(program.wait_for_port());
        EXPECT_EQ(limit(), 5);
        http.post("/queue/concurrency", R"({"concurrency": 0})");
        EXPECT_EQ(limit(), 3);
        EXPECT_TRUE(program.terminate());
    });
}

}  // namespace
}  // namespace dbos::test
