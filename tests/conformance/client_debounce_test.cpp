// Debouncer: one workflow for a burst of calls, in the rows that every SDK's debouncers share.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "client/core.hpp"
#include "dbos/debouncer.hpp"
#include "dbos/types.hpp"
#include "support/client_rows.hpp"

namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

inline constexpr auto Process = dbos::workflow<int(std::string)>("process");

class ClientDebounce : public dbos::test::ClientTest {
   public:
    std::string column(const std::string& id, const std::string& name) {
        return query_text("SELECT " + name + " FROM @workflow_status WHERE workflow_uuid = '" + id + "'");
    }
    std::string inputs(const std::string& id) {
        return query_text("SELECT inputs FROM @workflow_input WHERE workflow_uuid = '" + id + "'");
    }
    std::int64_t delay(const std::string& id) {
        return std::stoll(column(id, "delay_until_epoch_ms")) - std::stoll(column(id, "updated_at"));
    }
};
DBOS_FOR_EVERY_DATABASE(ClientDebounce);

TEST_P(ClientDebounce, calls_of_a_burst_are_one_workflow_with_the_last_arguments) {
    dbos::Debouncer debouncer(client(), Process, {.queue = "q"});
    const auto first = debouncer.debounce("k", 60s, "a");
    EXPECT_EQ(column(first.workflow_id(), "status"), "DELAYED");
    EXPECT_EQ(column(first.workflow_id(), "deduplication_id"), "process-k");
    EXPECT_EQ(column(first.workflow_id(), "queue_name"), "q");
    EXPECT_EQ(column(first.workflow_id(), "debounce_deadline_epoch_ms"), "NULL");
    EXPECT_THAT(column(first.workflow_id(), "CAST(is_debounced AS TEXT)"), testing::AnyOf("true", "1"));
    EXPECT_EQ(inputs(first.workflow_id()), R"({"positionalArgs":["a"],"namedArgs":{}})");
    EXPECT_NEAR(static_cast<double>(delay(first.workflow_id())), 60'000, 5000);
    const auto second = debouncer.debounce_async("k", 600s, "b").get();
    EXPECT_EQ(second.workflow_id(), first.workflow_id());
    EXPECT_EQ(inputs(first.workflow_id()), R"({"positionalArgs":["b"],"namedArgs":{}})");
    EXPECT_NEAR(static_cast<double>(delay(first.workflow_id())), 600'000, 5000);
    // A shorter period wins as well: the last call decides.
    debouncer.debounce("k", 1s, "c");
    EXPECT_LT(delay(first.workflow_id()), 5000);
    EXPECT_NE(debouncer.debounce("k2", 60s, "x").workflow_id(), first.workflow_id());
    EXPECT_EQ(query_text("SELECT count(*) FROM @workflow_status"), "2");
}

TEST_P(ClientDebounce, only_the_timeout_of_the_call_that_began_the_burst_counts) {
    dbos::Debouncer without(client(), Process, {.queue = "q"});
    dbos::Debouncer with(client(), Process, {.debounce_timeout = 5s, .queue = "q"});
    const auto handle = without.debounce("k", 60s, "a");
    EXPECT_EQ(with.debounce("k", 3600s, "b").workflow_id(), handle.workflow_id());
    EXPECT_EQ(column(handle.workflow_id(), "debounce_deadline_epoch_ms"), "NULL");
    EXPECT_NEAR(static_cast<double>(delay(handle.workflow_id())), 3'600'000, 5000);
}

TEST_P(ClientDebounce, a_timeout_caps_every_delay_of_the_burst) {
    dbos::Debouncer debouncer(client(), Process, {.debounce_timeout = 5s, .queue = "q"});
    const auto handle = debouncer.debounce("k", 3600s, "a");
    EXPECT_LE(delay(handle.workflow_id()), 5000);
    const std::string deadline = column(handle.workflow_id(), "debounce_deadline_epoch_ms");
    EXPECT_EQ(column(handle.workflow_id(), "delay_until_epoch_ms"), deadline);
    debouncer.debounce("k", 3600s, "b");
    EXPECT_EQ(column(handle.workflow_id(), "delay_until_epoch_ms"), deadline);
    EXPECT_EQ(column(handle.workflow_id(), "debounce_deadline_epoch_ms"), deadline);
    debouncer.debounce("k", 0s, "c");
    EXPECT_LE(delay(handle.workflow_id()), 0);
}

TEST_P(ClientDebounce, by_name_and_in_the_style_of_other_sdks) {
    dbos::DebouncerClient python(
        client(), {.workflow_name = "f", .queue_name = "q", .workflow_id = "w", .app_version = "v"});
    EXPECT_EQ(python.debounce<int>("k", 60s, 1, dbos::named("n", 2)).workflow_id(), "w");
    EXPECT_EQ(inputs("w"), R"({"positionalArgs":[1],"namedArgs":{"n":2}})");
    EXPECT_EQ(column("w", "application_version"), "v");
    EXPECT_EQ(column("w", "deduplication_id"), "f-k");
    dbos::Debouncer typescript(client(), {.workflow_name = "f", .class_name = "C"},
                               {.style = dbos::DebounceStyle::typescript});
    const auto handle = typescript.debounce("k", 60s, 1);
    EXPECT_EQ(column(handle.workflow_id(), "deduplication_id"), "C.f-k");
    EXPECT_EQ(column(handle.workflow_id(), "queue_name"), "_dbos_internal_queue");
    dbos::Debouncer classless(client(), {.workflow_name = "f"}, {.style = dbos::DebounceStyle::typescript});
    EXPECT_EQ(column(classless.debounce("k", 60s, 1).workflow_id(), "deduplication_id"), ".f-k");
    dbos::Debouncer own(client(), {.workflow_name = "f", .queue_name = "q"}, {.deduplication_id = "mine"});
    EXPECT_EQ(column(own.debounce("", 60s, 1).workflow_id(), "deduplication_id"), "mine");
}

TEST_P(ClientDebounce, after_the_start_a_new_burst_begins) {
    dbos::Debouncer debouncer(client(), Process, {.queue = "q"});
    const std::string first = debouncer.debounce("k", 60s, "a").workflow_id();
    // What the sweep of due delays does.
    execute("UPDATE @workflow_status SET status = 'ENQUEUED', deduplication_id = NULL");
    const std::string second = debouncer.debounce("k", 60s, "b").workflow_id();
    EXPECT_NE(first, second);
    EXPECT_EQ(inputs(first), R"({"positionalArgs":["a"],"namedArgs":{}})");
    client().cancel_workflow(second);
    EXPECT_NE(debouncer.debounce("k", 60s, "c").workflow_id(), second);
}

TEST_P(ClientDebounce, a_start_that_holds_its_key_is_waited_for) {
    // An application of an older release does not let go of the key when the delay is over.
    dbos::Debouncer debouncer(client(), Process, {.queue = "q"});
    const std::string first = debouncer.debounce("k", 60s, "a").workflow_id();
    execute("UPDATE @workflow_status SET status = 'PENDING'");
    auto waiting = debouncer.debounce_async("k", 60s, "b");
    std::string second;
    std::thread blocked([&] { second = debouncer.debounce("k", 60s, "b").workflow_id(); });
    EXPECT_FALSE(waiting.wait_for(300ms));
    execute("UPDATE @workflow_status SET status = 'SUCCESS', deduplication_id = NULL");
    blocked.join();
    EXPECT_NE(second, first);
    EXPECT_EQ(waiting.get().workflow_id(), second);
}

TEST_P(ClientDebounce, a_start_that_keeps_its_key_is_given_up_after_a_while) {
    dbos::Debouncer debouncer(client(), Process, {.queue = "q"});
    const std::string holder = debouncer.debounce("k", 60s, "a").workflow_id();
    execute("UPDATE @workflow_status SET status = 'PENDING'");
    EXPECT_EQ(dbos::client::CoreOptions().debounce_patience, 5s);
    dbos::sysdb::DatabaseOptions database;
    database.open = options();
    dbos::client::CoreOptions core_options;
    core_options.serializer = dbos::serializers::portable_json();
    core_options.log = log.sink();
    core_options.debounce_patience = 350ms;
    const auto core = std::make_shared<dbos::client::Core>(
        std::make_shared<dbos::sysdb::SystemDatabase>(database), core_options);
    const auto impatient = dbos::client::make_client(core);
    dbos::Debouncer second(*impatient, Process, {.queue = "q"});
    const auto given_up = [&](const std::function<void()>& call) {
        const auto began = std::chrono::steady_clock::now();
        try {
            call();
            ADD_FAILURE() << "joined, or began a new one";
        } catch (const dbos::QueueDeduplicated& error) {
            EXPECT_EQ(error.workflow_id(), holder);
            EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("process-k"), HasSubstr("\"q\"")));
        }
        // It has looked again and again, not once.
        EXPECT_GE(std::chrono::steady_clock::now() - began, 350ms);
    };
    given_up([&] { second.debounce("k", 60s, "b"); });
    given_up([&] { second.debounce_async("k", 60s, "b").get(); });
    EXPECT_EQ(query_text("SELECT count(*) FROM @workflow_status"), "1");
    EXPECT_EQ(inputs(holder), R"({"positionalArgs":["a"],"namedArgs":{}})");
    // The next call begins with all its patience, and joins what has come free.
    execute("UPDATE @workflow_status SET status = 'SUCCESS', deduplication_id = NULL");
    EXPECT_NE(second.debounce("k", 60s, "c").workflow_id(), holder);
    core->close();
}

TEST_P(ClientDebounce, a_key_that_something_else_holds_is_refused) {
    client().enqueue({.workflow_name = "process",
                      .queue_name = "q",
                      .workflow_id = "hand",
                      .deduplication_id = "process-k"});
    dbos::Debouncer debouncer(client(), Process, {.queue = "q"});
    try {
        debouncer.debounce("k", 60s, "a");
        ADD_FAILURE();
    } catch (const dbos::QueueDeduplicated& error) {
        EXPECT_EQ(error.workflow_id(), "hand");
    }
    EXPECT_THROW(debouncer.debounce_async("k", 60s, "a").get(), dbos::QueueDeduplicated);
    // Another workflow under the same id, and another application's.
    dbos::Debouncer f(client(), {.workflow_name = "f", .queue_name = "q"}, {.deduplication_id = "shared"});
    dbos::Debouncer g(client(), {.workflow_name = "g", .queue_name = "q"}, {.deduplication_id = "shared"});
    f.debounce("k", 60s, 1);
    EXPECT_THROW(g.debounce("k", 60s, 1), dbos::QueueDeduplicated);
    dbos::Debouncer mine(client(), {.workflow_name = "h", .queue_name = "q"}, {.application_name = "mine"});
    dbos::Debouncer theirs(client(), {.workflow_name = "h", .queue_name = "q"},
                           {.application_name = "theirs"});
    dbos::Debouncer anyone(client(), {.workflow_name = "h", .queue_name = "q"});
    const std::string id = anyone.debounce("k", 60s, 1).workflow_id();
    EXPECT_EQ(mine.debounce("k", 60s, 2).workflow_id(), id);
    EXPECT_EQ(column(id, "application_name"), "mine");
    EXPECT_THROW(theirs.debounce("k", 60s, 3), dbos::QueueDeduplicated);
    EXPECT_EQ(anyone.debounce("k", 60s, 4).workflow_id(), id);
}

TEST_P(ClientDebounce, options_that_make_no_sense_are_refused_when_it_is_made) {
    const auto refusal = [&](dbos::EnqueueOptions options) -> std::string {
        options.workflow_name = "f";
        options.queue_name = "q";
        try {
            const dbos::Debouncer accepted(client(), std::move(options));
            return "accepted";
        } catch (const dbos::UsageError& error) {
            return error.what();
        }
    };
    EXPECT_THAT(refusal({.deduplication_id = "d"}), HasSubstr("deduplication_id"));
    EXPECT_THAT(refusal({.delay = 1s}), HasSubstr("delay"));
    EXPECT_THAT(refusal({.priority = 1}), HasSubstr("priority"));
    EXPECT_THAT(refusal({.queue_partition_key = "p"}), HasSubstr("queue_partition_key"));
    EXPECT_THAT(refusal({.duplication_policy = dbos::DuplicationPolicy::return_existing}),
                HasSubstr("return_existing"));
    EXPECT_THAT(refusal({.workflow_id_reuse_policy = dbos::WorkflowIdReusePolicy::reject}),
                HasSubstr("reject"));
    EXPECT_EQ(refusal({}), "accepted");
    EXPECT_THROW(dbos::Debouncer(client(), dbos::EnqueueOptions{}), dbos::UsageError);
    dbos::Debouncer debouncer(client(), Process, {.queue = "q"});
    EXPECT_THROW(debouncer.debounce("", 1s, "a"), dbos::UsageError);
    EXPECT_THROW(debouncer.debounce("k", -1s, "a"), dbos::UsageError);
    EXPECT_THROW(debouncer.debounce_async("k", -1s, "a"), dbos::UsageError);
    EXPECT_EQ(query_text("SELECT count(*) FROM @workflow_status"), "0");
}

TEST_P(ClientDebounce, many_threads_and_one_key_make_one_workflow) {
    dbos::Debouncer debouncer(client(), Process, {.queue = "q"});
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; ++i) {
        threads.emplace_back([&] {
            for (int n = 0; n < 5; ++n) debouncer.debounce("k", 60s, std::to_string(n));
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(query_text("SELECT count(*) FROM @workflow_status"), "1");
    EXPECT_EQ(query_text("SELECT count(*) FROM @workflow_input"), "1");
}

}  // namespace
