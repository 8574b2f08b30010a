#include "program.hpp"

namespace dbos::test {
namespace {

TEST(QueueWorker, killed_at_every_operation) {
    on_every_database([](ExampleDatabase& database) {
        Http http;
        Program server(example("queue-worker", "queue-server"), serve_on(database),
                       database.directory() / "server");
        Program worker(example("queue-worker", "queue-worker"), {"--db", database.url()},
                       database.directory() / "worker");
        server.start();
        http.server_is_at(server.wait_for_port());
        EXPECT_NE(http.get("/").body.find("<!DOCTYPE html>"), std::string::npos);
        EXPECT_EQ(http.get("/api/workflows").status, 500);  // there are no tables yet
        worker.start();
        EXPECT_TRUE(
            eventually([&] { return worker.output().find("Waiting for work") != std::string::npos; }));
        EXPECT_EQ(http.get("/api/workflows").json(), Json::array());
        worker.kill();
        database.slow_down();

        // Nobody runs it: it waits, also without the server.
        EXPECT_EQ(http.post("/api/workflows").json(), Json({{"status", "enqueued"}}));
        server.start();
        http.server_is_at(server.wait_for_port());
        auto row = http.get("/api/workflows").json().at(0);
        EXPECT_EQ(row.at("workflow_status"), "ENQUEUED");
        EXPECT_TRUE(row.at("steps_completed").is_null() && row.at("num_steps").is_null());
        const std::string id = row.at("workflow_id");

        int last = 0;
        const auto kills = kill_at_every_operation(database, worker, nullptr, [&] {
            EXPECT_TRUE(eventually(
                [&] {
                    const auto answer = http.get("/api/workflows");
                    EXPECT_EQ(answer.status, 200) << answer.body;
                    row = answer.json().at(0);
                    EXPECT_EQ(row.at("workflow_id"), id);
                    if (!row.at("steps_completed").is_null()) {
                        EXPECT_GE(row.at("steps_completed"), last);
                        EXPECT_EQ(row.at("num_steps"), 10);
                        last = row.at("steps_completed");
                    }
                    return row.at("workflow_status") == "SUCCESS";
                },
                60));
        });
        expect_killed_everywhere(database, kills);
        EXPECT_EQ(last, 10);
        EXPECT_EQ(database.one("SELECT count(*) FROM @operation_outputs"), "21");
        EXPECT_TRUE(worker.terminate());
        EXPECT_TRUE(server.terminate());
    });
}

}  // namespace
}  // namespace dbos::test
