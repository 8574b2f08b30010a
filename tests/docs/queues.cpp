// The programs of docs/how-to/limit-queues.md.
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>
#include <dbos/testing.hpp>

#include <algorithm>
#include <map>
#include <mutex>

using namespace std::chrono_literals;

namespace {

inline constexpr auto Mail = dbos::workflow<int(int)>("mail");
inline constexpr auto Import =
    dbos::workflow<std::string(std::string)>("import");

/// What was seen of the starts.
struct Seen {
    std::mutex mutex;
    std::vector<std::string> files;
};

TEST(Queues, start_no_more_in_a_period_than_the_rate_allows) {
    dbos::testing::TestApp app;
    app.implement(Mail, [](dbos::Context&, int number) { return number; });
    app.configure([](dbos::App& life) {
        // [rate]
        life.register_queue(
            {.name = "mails", .limiter = {.limit = 50, .period = 60s}});
        // [rate]
    });
    const auto begun = app.clock().now();
    std::vector<dbos::WorkflowHandle<int>> mails;
    for (int number = 0; number < 120; ++number)
        mails.push_back(
            app.start_workflow(Mail, {.queue_name = "mails"}, number));
    for (auto& mail : mails) mail.get_result();
    EXPECT_GE(app.clock().now() - begun, 120s);  // in the time of the test
}

TEST(Queues, keep_the_order_of_a_key) {
    dbos::testing::TestApp app;
    Seen seen;
    app.implement(Import, [&seen](dbos::Context& ctx, const std::string& file) {
        return ctx.step("import", [&] {
            std::lock_guard lock(seen.mutex);
            seen.files.push_back(file);
            return file;
        });
    });
    app.configure([](dbos::App& life) {
        // [partitions]
        life.register_queue({.name = "imports", .partition_concurrency = 1});
        // [partitions]
    });
    std::vector<dbos::WorkflowHandle<std::string>> imports;
    for (const std::string file : {"1", "2", "3"}) {
        for (const std::string tenant : {"ann", "bob"}) {
            // [key]
            imports.push_back(
                app.start_workflow(Import,
                                   {.queue_name = "imports",
                                    .workflow_id = tenant + "-" + file,
                                    .queue_partition_key = tenant},
                                   tenant + "-" + file));
            // [key]
        }
    }
    for (auto& import : imports) import.get_result();
    std::map<std::string, std::vector<std::string>> order;
    for (const std::string& file : seen.files)
        order[file.substr(0, 3)].push_back(file.substr(4));
    EXPECT_EQ(order["ann"], (std::vector<std::string>{"1", "2", "3"}));
    EXPECT_EQ(order["bob"], (std::vector<std::string>{"1", "2", "3"}));
    EXPECT_THROW(app.start_workflow(Import, {.queue_name = "imports"}, "x"),
                 dbos::UsageError);
}

TEST(Queues, have_limits_of_both_kinds) {
    dbos::testing::TestApp app;
    app.configure([](dbos::App& life) {
        // [both]
        life.register_queue(
            {.name = "calls",
             .worker_concurrency = 20,  // of this process
             .concurrency = 100,        // of all processes
             .limiter = {.limit = 1000, .period = 60s},
             .partition_worker_concurrency = 2,  // of a tenant, here
             .partition_concurrency = 5,         // of a tenant, everywhere
             .partition_limiter = {.limit = 100, .period = 60s}});
        // [both]
    });
    const auto calls = app.client().retrieve_queue("calls");
    ASSERT_TRUE(calls);
    EXPECT_TRUE(calls->partition_queue);
}

TEST(Queues, change_while_applications_run) {
    dbos::testing::TestApp app;
    app.implement(Mail, [](dbos::Context&, int number) { return number; });
    app.register_queue({.name = "mails", .worker_concurrency = 4});
    auto& client = app.client();
    // [pause]
    client.update_queue("mails", [](dbos::QueueDefinition& queue) {
        queue.worker_concurrency = 0;  // no process takes anything
    });
    // [pause]
    EXPECT_EQ(client.retrieve_queue("mails")->worker_concurrency, 0);
    // [change]
    client.update_queue("mails", [](dbos::QueueDefinition& queue) {
        queue.worker_concurrency = 8;
        queue.limiter = {.limit = 10, .period = 1s};
    });
    // [change]
    EXPECT_EQ(app.run(Mail, {.queue_name = "mails"}, 7), 7);
}

TEST(Queues, are_served_by_those_who_listen) {
    dbos::testing::TestApp source;  // a database
    // [listen]
    dbos::AppOptions options{.name = "studio"};
    options.listen_queues = {{"pictures", "films"}};
    // [listen]
    EXPECT_EQ(options.listen_queues->size(), 2U);
}

}  // namespace
