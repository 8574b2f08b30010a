#include "program.hpp"

namespace dbos::test {
namespace {

int workflows(ExampleDatabase& database, const std::string& name, const std::string& condition = "1 = 1") {
    return std::stoi(
        database.one("SELECT count(*) FROM @workflow_status WHERE name = '" + name + "' AND " + condition));
}

TEST(Toolbox, killed_at_every_operation_writes_each_row_once) {
    on_every_database([](ExampleDatabase& database) {
        Http http;
        Program program(example("toolbox", "toolbox"), serve_on(database), database.directory() / "log");
        program.start();
        program.wait_for_port();
        database.slow_down();
        const std::vector<std::pair<std::string, std::string>> all = {
            {"/queue", "queue_workflow"},
            {"/workflow", "example_workflow"},
            {"/transaction", "transaction_workflow"},
            {"/tx-step/world", "tx_step_workflow"},
            {"/debounce/key", "debouncer_workflow"}};
        const auto kills = kill_at_every_operation(database, program, &http, [&] {
            // The answers are lost: each workflow is there nonetheless, and ends.
            for (const auto& [path, name] : all) {
                EXPECT_TRUE(eventually(
                    [&] {
                        if (workflows(database, name) == 0) static_cast<void>(http.try_get(path));
                        return workflows(database, name) > 0;
                    },
                    60));
            }
            EXPECT_TRUE(eventually(
                [&] {
                    return database.one("SELECT count(*) FROM @workflow_status WHERE status <> 'SUCCESS'") ==
                           "0";
                },
                60));
        });
        expect_killed_everywhere(database, kills);
        EXPECT_EQ(workflows(database, "task_workflow"), 10 * workflows(database, "queue_workflow"));
        EXPECT_EQ(workflows(database, "debouncer_workflow"), 1);
        EXPECT_EQ(database.one("SELECT count(*) FROM example_table"),
                  std::to_string(workflows(database, "transaction_workflow")));
        EXPECT_EQ(database.one("SELECT greet_count FROM greetings WHERE name = 'world'"),
                  std::to_string(workflows(database, "tx_step_workflow")));
        EXPECT_TRUE(program.terminate());
    });
}

TEST(Toolbox, routes) {
    on_every_database([](ExampleDatabase& database) {
        Http http;
        Program program(example("toolbox", "toolbox"), serve_on(database), database.directory() / "log");
        program.start();
        http.server_is_at(program.wait_for_port());
        EXPECT_NE(http.get("/").body.find("<!DOCTYPE html>"), std::string::npos);
        EXPECT_EQ(http.get("/workflow").status, 200);
        EXPECT_EQ(http.get("/transaction").body, "the table has 1 rows\n");
        EXPECT_EQ(http.get("/tx-step/world").body, "world has been greeted 1 times\n");
        EXPECT_EQ(http.get("/debounce/key").status, 200);
        EXPECT_EQ(http.try_get("/crash"), std::nullopt);
        EXPECT_EQ(program.wait(), 1);
        program.start();
        http.server_is_at(program.wait_for_port());
        EXPECT_EQ(http.get("/transaction").body, "the table has 2 rows\n");
        EXPECT_EQ(http.get("/tx-step/world").body, "world has been greeted 2 times\n");
        EXPECT_EQ(http.get("/debounce/key").status, 200);  // put off once more
        EXPECT_EQ(http.get("/queue").body, "10 tasks are done\n");
        EXPECT_TRUE(
            eventually([&] { return workflows(database, "debouncer_workflow", "status = 'SUCCESS'") > 0; }));
        EXPECT_EQ(
            database.one("SELECT schedule FROM @workflow_schedules WHERE schedule_name = 'run_every_15min'"),
            "*/15 * * * *");
        EXPECT_TRUE(program.terminate());
    });
}

}  // namespace
}  // namespace dbos::test
