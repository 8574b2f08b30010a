// Bodies that send and publish, over a real application: what they leave in the database, as short texts.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "support/app.hpp"

namespace dbos::test {

using Steps = std::vector<std::string>;

inline constexpr auto Speaker = workflow<std::string(std::string)>("job");
inline constexpr auto Silent = workflow<void()>("idle");

class ContextTest : public AppTest {
   public:
    void SetUp() override {
        AppTest::SetUp();
        if (IsSkipped() || HasFailure()) return;
        app.emplace(app_options());
        app->implement(Silent, [](Context&) {});
    }
    void TearDown() override {
        app.reset();
        AppTest::TearDown();
    }
    /// `body` as the workflow "job"; its result is "done" unless it returns another one.
    void launch(std::function<std::string(Context&, const std::string&)> body) {
        app->implement(Speaker, [this, body = std::move(body)](Context& ctx, const std::string& input) {
            ++bodies;
            return body(ctx, input);
        });
        app->launch();
        for (const char* id : {"to", "other"}) app->start_workflow(Silent, {.workflow_id = id}).get_result();
    }
    std::string run(const std::string& id = "w", const std::string& input = "") {
        return app->start_workflow(Speaker, {.workflow_id = id}, input)
            .get_result({.timeout = std::chrono::seconds(30)});
    }
    /// The body runs again from its first line, over its records.
    void replay(const std::string& id = "w") {
        // Written, not only read: what this thread has looked at until here, the body may change.
        const int before = bodies.fetch_add(0);
        execute(
            "UPDATE @workflow_status SET status = 'ENQUEUED', queue_name = '_dbos_internal_queue', owner_xid "
            "= "
            "NULL, completed_at = NULL WHERE workflow_uuid = '" +
            id + "'");
        ASSERT_TRUE(eventually([&] { return bodies > before; }));
        app->retrieve_workflow(Speaker, id).get_result({.timeout = std::chrono::seconds(30)});
    }
    Steps steps(const std::string& id = "w") {
        Steps names;
        for (const auto& step : app->client().list_workflow_steps(id))
            names.push_back(std::to_string(step.function_id) + " " + step.function_name);
        return names;
    }
    Steps lines(const std::string& sql) {
        Steps found;
        const auto result = open()->query(sql);
        for (std::size_t row = 0; row < result.size(); ++row) {
            std::string line;
            for (std::size_t column = 0; column < result.columns(); ++column) {
                const auto cell = result.at(row, column);
                line += (column ? "|" : "") + (cell.null() ? "-" : cell.string());
            }
            found.push_back(line);
        }
        return found;
    }
    Steps messages(const std::string& to = "to") {
        return lines("SELECT topic, message FROM @notifications WHERE destination_uuid = '" + to +
                     "' ORDER BY created_at_epoch_ms, message_uuid");
    }
    Steps stream(const std::string& key, const std::string& id = "w") {
        return lines("SELECT \"offset\", value, function_id FROM @streams WHERE workflow_uuid = '" + id +
                     "' AND key = '" + key + "' ORDER BY 1");
    }
    std::vector<int> read(const std::string& key, const std::string& id = "w") {
        std::vector<int> values;
        for (const int value : app->client().read_stream<int>(id, key)) values.push_back(value);
        return values;
    }

    std::optional<App> app;
    std::atomic<int> bodies{0};
};

}  // namespace dbos::test
