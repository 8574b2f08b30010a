#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "core/options.hpp"
#include "dbos/error.hpp"
#include "dbos/options.hpp"

namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(OneOrMany, takes_one_text_or_several) {
    dbos::ListWorkflowsOptions none;
    EXPECT_FALSE(none.name.values());
    none = {.name = {}};
    EXPECT_FALSE(none.name.values());
    none = {.name = std::optional<std::string>()};
    EXPECT_FALSE(none.name.values());

    const std::string text = "b";
    EXPECT_THAT(*dbos::OneOrMany("a").values(), ElementsAre("a"));
    EXPECT_THAT(*dbos::OneOrMany(text).values(), ElementsAre("b"));
    EXPECT_THAT(*dbos::OneOrMany(std::string_view("c")).values(), ElementsAre("c"));
    EXPECT_THAT(*dbos::OneOrMany(std::optional<std::string>("d")).values(), ElementsAre("d"));
    EXPECT_THAT(*dbos::OneOrMany("").values(), ElementsAre(""));
    const dbos::ListWorkflowsOptions options = {.workflow_ids = std::vector<std::string>{},
                                                .status = {dbos::Status::pending, dbos::Status::error},
                                                .name = {"a", "b"},
                                                .app_version = {"one"},
                                                .forked_from = {text, text},
                                                .user = dbos::OneOrMany(std::vector<dbos::Status>{}),
                                                .queue_name = std::vector<std::string>{"q"}};
    EXPECT_THAT(*options.workflow_ids.values(), IsEmpty());
    EXPECT_THAT(*options.status.values(), ElementsAre("PENDING", "ERROR"));
    EXPECT_THAT(*options.name.values(), ElementsAre("a", "b"));
    EXPECT_THAT(*options.app_version.values(), ElementsAre("one"));
    EXPECT_THAT(*options.forked_from.values(), ElementsAre("b", "b"));
    EXPECT_THAT(*options.user.values(), IsEmpty());
    EXPECT_THAT(*options.queue_name.values(), ElementsAre("q"));
}

TEST(Instant, reads_rfc_3339) {
    EXPECT_EQ(dbos::Instant("1970-01-01T00:00:01Z").epoch_ms(), 1000);
    EXPECT_EQ(dbos::Instant("1970-01-01T01:00:01+01:00").epoch_ms(), 1000);
    EXPECT_EQ(dbos::Instant("1970-01-01T00:00:01.2345Z").epoch_ms(), 1234);
    EXPECT_EQ(dbos::Instant("1970-01-01T00:00:01").epoch_ms(), 1000);  // no offset = UTC
    EXPECT_EQ(dbos::Instant("1970-01-02").epoch_ms(), 86'400'000);
    EXPECT_EQ(dbos::Instant(std::chrono::system_clock::time_point(1234567us)).epoch_ms(), 1234);
    EXPECT_EQ(dbos::Instant(std::chrono::system_clock::time_point(-1us)).epoch_ms(), -1);
    for (const char* bad : {"", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "1700000000"}) {
        EXPECT_THROW(dbos::Instant{bad}, dbos::UsageError) << bad;
    }
}

TEST(Status, is_compared_with_its_text) {
    EXPECT_TRUE(std::string("MAX_RECOVERY_ATTEMPTS_EXCEEDED") ==
                dbos::Status::max_recovery_attempts_exceeded);
    EXPECT_FALSE(std::string("pending") == dbos::Status::pending);
    for (const char* active : {"PENDING", "ENQUEUED", "DELAYED"}) EXPECT_FALSE(dbos::is_terminal(active));
    for (const char* over : {"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}) {
        EXPECT_TRUE(dbos::is_terminal(over));
    }
}

std::string refusal(const std::function<void()>& check) {
    try {
        check();
    } catch (const dbos::UsageError& error) {
        return error.what();
    } catch (const dbos::ConfigError& error) {
        return error.what();
    }
    return "accepted";
}

std::string start(const dbos::EnqueueOptions& options,
                  dbos::core::StartKind kind = dbos::core::StartKind::enqueue) {
    return refusal([&] { dbos::core::check_start(options, "checkout", kind); });
}

TEST(Options, of_a_start_are_checked) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    EXPECT_EQ(start({.queue_name = "q"}), "accepted");
    EXPECT_EQ(start({.queue_name = "q",
                     .workflow_id = "o-17",
                     .workflow_timeout = 30s,
                     .deduplication_id = "d",
                     .priority = 2147483647,
                     .queue_partition_key = "p",
                     .delay = 0s,
                     .attributes = dbos::Object{{"a", 1}},
                     .duplication_policy = dbos::DuplicationPolicy::return_existing}),
              "accepted");
    EXPECT_THAT(start({}), HasSubstr("queue_name: expected the queue"));
    EXPECT_THAT(start({.queue_name = " "}), HasSubstr("not blank"));
    EXPECT_THAT(start({.queue_name = "q", .workflow_id = ""}),
                HasSubstr("workflow_id: expected an id that is not blank"));
    EXPECT_THAT(start({.queue_name = "q", .workflow_id = " \t"}), HasSubstr("workflow_id"));
    EXPECT_THAT(start({.queue_name = "q", .workflow_id = std::string(2601, 'x')}), HasSubstr("2600 bytes"));
    EXPECT_THAT(start({.queue_name = "q", .workflow_id = std::string("a\0b", 3)}), HasSubstr("U+0000"));
    EXPECT_THAT(start({.queue_name = "q", .priority = -1}),
                HasSubstr("priority: expected 0 to 2147483647, got -1"));
    EXPECT_THAT(start({.queue_name = "q", .priority = 2147483648}), HasSubstr("priority"));
    EXPECT_THAT(start({.queue_name = "q", .workflow_timeout = 0s}),
                HasSubstr("workflow_timeout: expected a positive"));
    EXPECT_THAT(start({.queue_name = "q", .workflow_timeout = dbos::Duration(nan)}),
                HasSubstr("workflow_timeout"));
    EXPECT_THAT(start({.queue_name = "q", .delay = -1s}), HasSubstr("delay"));
    EXPECT_THAT(start({.queue_name = "q", .duplication_policy = dbos::DuplicationPolicy::return_existing}),
                HasSubstr("expected a deduplication_id"));
    EXPECT_THAT(start({.queue_name = "q", .attributes = dbos::Any(dbos::Array{1})}),
                HasSubstr("attributes: expected an object"));
    EXPECT_THAT(start({.queue_name = "q", .attributes = dbos::Object{{"a", std::string("\0", 1)}}}),
                HasSubstr("U+0000"));
    EXPECT_THAT(start({.queue_name = std::string(2000, 'q'), .deduplication_id = std::string(601, 'd')}),
                HasSubstr("2600 bytes together"));
    EXPECT_EQ(start({}, dbos::core::StartKind::direct), "accepted");
    EXPECT_THAT(start({.priority = 1}, dbos::core::StartKind::direct), HasSubstr("expected a queue"));
    EXPECT_THAT(
        refusal([] { dbos::core::check_start({.queue_name = "q"}, "", dbos::core::StartKind::enqueue); }),
        HasSubstr("workflow_name"));
}

TEST(Options, of_other_calls_are_checked) {
    EXPECT_THAT(refusal([] { dbos::core::check_get_result({.polling_interval = 0s}); }),
                HasSubstr("polling_interval"));
    EXPECT_THAT(refusal([] { dbos::core::check_get_result({.timeout = -1s}); }), HasSubstr("timeout"));
    EXPECT_EQ(refusal([] { dbos::core::check_get_result({.timeout = 0s}); }), "accepted");
    EXPECT_THAT(refusal([] { dbos::core::check_list({.limit = -1}); }), HasSubstr("limit"));
    EXPECT_THAT(refusal([] { dbos::core::check_list({.offset = -1}); }), HasSubstr("offset"));
    EXPECT_THAT(refusal([] { dbos::core::check_step({.max_attempts = 0}, "charge"); }),
                HasSubstr("step \"charge\", max_attempts: expected 1 or more, got 0"));
    EXPECT_THAT(refusal([] { dbos::core::check_step({.backoff_rate = 0.5}, "charge"); }),
                HasSubstr("backoff_rate"));
    EXPECT_THAT(refusal([] { dbos::core::check_queue({.name = "_dbos_x"}); }), HasSubstr("reserved"));
    EXPECT_THAT(refusal([] { dbos::core::check_queue({.name = "q", .worker_concurrency = -1}); }),
                HasSubstr("worker_concurrency"));
    EXPECT_THAT(
        refusal([] { dbos::core::check_queue({.name = "q", .worker_concurrency = 3, .concurrency = 2}); }),
        HasSubstr("at most concurrency (2)"));
    EXPECT_EQ(refusal([] { dbos::core::check_queue({.name = "q", .worker_concurrency = 2}); }), "accepted");
    EXPECT_THAT(refusal([] { dbos::core::check_client({}); }), HasSubstr("system_database_url"));
    EXPECT_THAT(
        refusal([] {
            dbos::core::check_client({.system_database_url = "sqlite:///x", .dbos_system_schema = ""});
        }),
        HasSubstr("dbos_system_schema"));
    EXPECT_THAT(refusal([] {
                    dbos::core::check_client(
                        {.system_database_url = "sqlite:///x", .use_listen_notify = true, .lazy = true});
                }),
                HasSubstr("lazy and use_listen_notify"));
    EXPECT_THAT(
        refusal([] {
            dbos::core::check_client({.system_database_url = "sqlite:///x", .system_database_pool_size = 0});
        }),
        HasSubstr("system_database_pool_size"));
    EXPECT_THAT(refusal([] { dbos::core::check_app({.name = "shop", .lease_duration = 3s}); }),
                HasSubstr("lease_duration: expected at least twice lease_renewal"));
    EXPECT_EQ(refusal([] { dbos::core::check_app({.name = "shop"}); }), "accepted");
}

}  // namespace
