#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <mutex>
#include <set>

#include "client/hub.hpp"
#include "client/marks.hpp"
#include "dbos/types.hpp"
#include "support/client_rows.hpp"
#include "sysdb/database.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::Future;
using dbos::Value;
using testing::HasSubstr;
namespace seam = dbos::seam;

struct CardDeclined : std::runtime_error {
    using std::runtime_error::runtime_error;
    int code = 0;
};
DBOS_ERROR(CardDeclined, code)

inline constexpr auto Pay = dbos::workflow<int(int)>("pay").throws<CardDeclined>();

class ClientResults : public dbos::test::ClientTest {};
DBOS_FOR_EVERY_DATABASE(ClientResults);

std::size_t threads_of_this_process() {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
        count += entry.exists() ? 1 : 0;
    return count;
}

TEST_P(ClientResults, a_finished_workflow_gives_its_result) {
    insert_ended("ok", "SUCCESS", R"({"a":[1,2.5,null]})");
    insert_ended("null", "SUCCESS", std::nullopt);
    insert_ended("number", "SUCCESS", "7");
    EXPECT_EQ(client().retrieve_workflow("ok").get_result().at("a").at(1).as_double(), 2.5);
    EXPECT_TRUE(client().retrieve_workflow("null").get_result().is_null());
    EXPECT_EQ(client().retrieve_workflow<int>("number").get_result(), 7);
    EXPECT_EQ(client().retrieve_workflow<int>("number").get_result_async().get(), 7);
    client().retrieve_workflow<void>("number").get_result();
    EXPECT_THROW(client().retrieve_workflow<std::string>("number").get_result(), dbos::DecodeError);
    EXPECT_THROW(client().retrieve_workflow<std::string>("number").get_result_async().get(),
                 dbos::DecodeError);
}

TEST_P(ClientResults, each_end_has_its_error) {
    insert_ended("failed", "ERROR", std::nullopt,
                 R"({"name":"ValueError","message":"bad","code":3,"data":{"x":1}})");
    insert_ended("known", "ERROR", std::nullopt,
                 R"({"name":"CardDeclined","message":"no","data":{"code":7}})");
    insert_ended("standard", "ERROR", std::nullopt, R"({"name":"out_of_range","message":"far"})");
    insert_ended("empty", "ERROR", std::nullopt, std::nullopt);
    insert_ended("cancelled", "CANCELLED", std::nullopt);
    insert_ended("dead", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", std::nullopt);
    insert_workflow("foreign", "SUCCESS", {{"serialization", "some_other_format"}});
    insert("workflow_output", {{"workflow_uuid", "foreign"}, {"output", "<x>"}});
    const auto get = [&](const char* id) { return client().retrieve_workflow(id).get_result(); };
    try {
        get("failed");
        ADD_FAILURE();
    } catch (const dbos::WorkflowFailed& error) {
        EXPECT_EQ(error.type_name(), "ValueError");
        EXPECT_EQ(error.message(), "bad");
        EXPECT_EQ(error.workflow_id(), "failed");
        EXPECT_EQ(error.failure().data.at("x").as_int(), 1);
    }
    try {
        // The contract's list makes it the C++ type.
        dbos::detail::HandleAccess::make<int>(
            dbos::detail::HandleAccess::state(client().retrieve_workflow<int>("known")), Pay.error_types())
            .get_result();
        ADD_FAILURE();
    } catch (const CardDeclined& error) {
        EXPECT_STREQ(error.what(), "no");
        EXPECT_EQ(error.code, 7);
    }
    EXPECT_THROW(get("standard"), std::out_of_range);
    EXPECT_THROW(get("empty"), dbos::WorkflowFailed);
    EXPECT_THROW(get("cancelled"), dbos::AwaitedWorkflowCancelled);
    EXPECT_THROW(get("dead"), dbos::AwaitedWorkflowMaxRecovery);
    EXPECT_THROW(get("foreign"), dbos::DecodeError);
    EXPECT_THROW(client().retrieve_workflow("failed").get_result_async().get(), dbos::WorkflowFailed);
}

TEST_P(ClientResults, retrieve_looks_first) {
    insert_workflow("w", "ENQUEUED", {{"name", "pay"}});
    EXPECT_EQ(client().retrieve_workflow("w").workflow_id(), "w");
    EXPECT_EQ(client().retrieve_workflow(Pay, "w").workflow_id(), "w");
    EXPECT_THROW(client().retrieve_workflow("unknown"), dbos::NonexistentWorkflow);
    EXPECT_THROW(client().retrieve_workflow_async("unknown").get(), dbos::NonexistentWorkflow);
    EXPECT_THROW(client().retrieve_workflow(""), dbos::UsageError);
    insert_workflow("other", "ENQUEUED", {{"name", "ship"}});
    EXPECT_THROW(client().retrieve_workflow(Pay, "other"), dbos::ConflictingWorkflow);
    EXPECT_EQ(client().retrieve_workflow_async(Pay, "w").get().get_status().name, "pay");
}

TEST_P(ClientResults, a_waiter_sees_the_end_that_another_process_writes) {
    insert_workflow("w", "PENDING");
    auto handle = client().retrieve_workflow<int>("w");
    Future<int> async = handle.get_result_async();
    std::optional<int> blocking;
    seam::Thread thread =
        seam::spawn("waiter", [&] { blocking = handle.get_result({.polling_interval = 50ms}); });
    EXPECT_FALSE(async.wait_for(0s));
    end("w", "SUCCESS", "5");
    EXPECT_EQ(async.get(), 5);
    thread.join();
    EXPECT_EQ(blocking, 5);
}

TEST_P(ClientResults, timeouts_say_what_was_seen) {
    insert_workflow("w", "ENQUEUED");
    auto handle = client().retrieve_workflow("w");
    try {
        handle.get_result({.timeout = 0s});
        ADD_FAILURE();
    } catch (const dbos::Timeout& error) {
        EXPECT_THAT(error.what(), HasSubstr("ENQUEUED"));
        EXPECT_EQ(error.workflow_id(), "w");
    }
    EXPECT_THROW(handle.get_result({.timeout = 50ms}), dbos::Timeout);
    EXPECT_THROW(handle.get_result_async({.timeout = 50ms}).get(), dbos::Timeout);
    EXPECT_THROW(handle.get_result({.polling_interval = 0s}), dbos::UsageError);
    // A finished one is no time-out, however short.
    end("w", "SUCCESS", "1");
    EXPECT_EQ(handle.get_result({.timeout = 0s}).as_int(), 1);
}

TEST_P(ClientResults, a_deleted_workflow_ends_the_wait) {
    insert_workflow("w", "PENDING");
    auto waiting = client().retrieve_workflow("w").get_result_async({.polling_interval = 20ms});
    execute("DELETE FROM @workflow_status");
    EXPECT_THROW(waiting.get(), dbos::NonexistentWorkflow);
}

TEST_P(ClientResults, a_callback_gets_the_result) {
    insert_ended("a", "SUCCESS", "1");
    insert_ended("b", "SUCCESS", "2");
    auto sum =
        client()
            .retrieve_workflow_async<int>("a")
            .then([](dbos::WorkflowHandle<int> handle) { return handle.get_result_async(); })
            .then([this](int a) {
                return client().retrieve_workflow_async<int>("b").then([a](dbos::WorkflowHandle<int> handle) {
                    return handle.get_result_async().then([a](int b) { return a + b; });
                });
            });
    EXPECT_EQ(sum.get(), 3);
}

TEST_P(ClientResults, blocking_calls_on_the_callback_thread_are_refused) {
    insert_ended("a", "SUCCESS", "1");
    const auto refused = [&](auto call) {
        return client().check_connection_async().then([call] {
            try {
                call();
            } catch (const dbos::UsageError& error) {
                return std::string(error.what());
            }
            return std::string("allowed");
        });
    };
    auto handle = std::make_shared<dbos::WorkflowHandle<int>>(client().retrieve_workflow<int>("a"));
    EXPECT_THAT(refused([=] { handle->get_result(); }).get(), HasSubstr("get_result_async"));
    EXPECT_THAT(refused([=] { handle->get_status(); }).get(), HasSubstr("get_status_async"));
    EXPECT_THAT(refused([this] { client().list_workflows(); }).get(), HasSubstr("list_workflows_async"));
    EXPECT_THAT(refused([this] { client().cancel_workflow("a"); }).get(), HasSubstr("cancel_workflow_async"));
    EXPECT_THAT(refused([this] { client().enqueue({.workflow_name = "w", .queue_name = "q"}); }).get(),
                HasSubstr("enqueue_async"));
}

TEST_P(ClientResults, writes_and_waits_in_a_body_are_refused) {
    insert_ended("a", "SUCCESS", "1");
    auto handle = client().retrieve_workflow<int>("a");
    const std::string elsewhere = "another database";
    const dbos::client::BodyMark body(elsewhere);
    EXPECT_THROW(handle.get_result(), dbos::UsageError);
    EXPECT_THROW(handle.get_result_async(), dbos::UsageError);
    try {
        client().enqueue({.workflow_name = "w", .queue_name = "q"});
        ADD_FAILURE();
    } catch (const dbos::UsageError& error) {
        EXPECT_THAT(error.what(), HasSubstr("wrap it in ctx.step"));
    }
    EXPECT_THROW(client().cancel_workflow("a"), dbos::UsageError);
    EXPECT_EQ(handle.get_status().status, dbos::Status::success);  // reads are allowed
    EXPECT_EQ(client().list_workflows().size(), 1U);
    const dbos::client::BodyMarkLifted step;
    EXPECT_EQ(handle.get_result(), 1);
}

TEST_P(ClientResults, destroy_ends_all_waits) {
    insert_workflow("w", "PENDING");
    auto own = make_client(client_options());
    auto handle = own->retrieve_workflow("w");
    std::vector<Future<Value>> futures;
    for (int i = 0; i < 100; ++i) futures.push_back(handle.get_result_async());
    seam::Mutex mutex;
    std::vector<std::string> seen;
    std::vector<seam::Thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.push_back(seam::spawn("waiter", [&] {
            std::string what = "no error";
            try {
                handle.get_result();
            } catch (const dbos::ClientClosed&) {
                what = "closed";
            } catch (const std::exception& error) {
                what = error.what();
            }
            const std::lock_guard<seam::Mutex> lock(mutex);
            seen.push_back(what);
        }));
    }
    own->destroy();
    own->destroy();
    for (auto& future : futures) EXPECT_THROW(future.get(), dbos::ClientClosed);
    for (auto& thread : threads) thread.join();
    EXPECT_THAT(seen, testing::ElementsAre("closed", "closed", "closed", "closed"));
    EXPECT_THROW(handle.get_result(), dbos::ClientClosed);
    EXPECT_THROW(handle.get_status(), dbos::ClientClosed);
    EXPECT_THROW(handle.get_status_async().get(), dbos::ClientClosed);
    EXPECT_THROW(own->list_workflows(), dbos::ClientClosed);
    EXPECT_THROW(own->check_connection(), dbos::ClientClosed);
    EXPECT_THROW(own->enqueue({.workflow_name = "w", .queue_name = "q"}), dbos::ClientClosed);
    own.reset();
    EXPECT_THROW(handle.get_result_async().get(), dbos::ClientClosed);  // the handle outlives the client
}

TEST_P(ClientResults, destroy_on_the_callback_thread) {
    insert_workflow("w", "PENDING");
    auto own = std::make_shared<std::unique_ptr<dbos::Client>>(make_client(client_options()));
    auto waiting = (*own)->retrieve_workflow("w").get_result_async();
    (*own)->check_connection_async().then([own] { own->reset(); }).get();
    EXPECT_THROW(waiting.get(), dbos::ClientClosed);
}

TEST_P(ClientResults, a_dropped_wait_is_withdrawn) {
    insert_workflow("w", "PENDING");
    dbos::sysdb::DatabaseOptions options;
    options.open = this->options();
    dbos::sysdb::SystemDatabase database(options);
    dbos::client::WaiterHub hub(database, {});
    const auto id = hub.add("w", {}, [](dbos::sysdb::ResultRow, std::exception_ptr) { ADD_FAILURE(); });
    EXPECT_EQ(hub.stats().waits, 1U);
    hub.withdraw(id);
    hub.withdraw(id);
    EXPECT_EQ(hub.stats().waits, 0U);
    auto waiting = client().retrieve_workflow("w").get_result_async();
    waiting = Future<Value>();
}

/// A hub on a database of its own, with what its waits were told.
class WaiterHub : public dbos::test::ClientTest {
   public:
    void SetUp() override {
        ClientTest::SetUp();
        if (IsSkipped()) return;
        dbos::sysdb::DatabaseOptions options;
        options.open = this->options();
        options.log = log.sink();
        database_ = std::make_unique<dbos::sysdb::SystemDatabase>(options);
    }
    void TearDown() override {
        hub_.reset();
        database_.reset();
        ClientTest::TearDown();
    }
    dbos::client::WaiterHub& hub(dbos::client::HubOptions options = {}) {
        if (!hub_) hub_ = std::make_unique<dbos::client::WaiterHub>(*database_, std::move(options));
        return *hub_;
    }
    void add(const std::string& id, const dbos::client::WaitOptions& options = {}) {
        hub().add(id, options, [this, id](dbos::sysdb::ResultRow row, std::exception_ptr error) {
            const std::lock_guard<seam::Mutex> lock(mutex_);
            std::string what = row.output.value_or(row.status);
            if (error) {
                try {
                    std::rethrow_exception(error);
                } catch (const dbos::NonexistentWorkflow&) {
                    what = "nonexistent";
                } catch (const dbos::Timeout&) {
                    what = "timeout";
                } catch (const dbos::ClientClosed&) {
                    what = "closed";
                } catch (const std::exception& known) {
                    what = known.what();
                }
            }
            told_.emplace_back(id, what);
            changed_.notify_all();
        });
    }
    std::vector<std::pair<std::string, std::string>> told(std::size_t count) {
        std::unique_lock<seam::Mutex> lock(mutex_);
        changed_.wait_for(lock, 60s, [&] { return told_.size() >= count; });
        return told_;
    }

   private:
    std::unique_ptr<dbos::sysdb::SystemDatabase> database_;
    std::unique_ptr<dbos::client::WaiterHub> hub_;
    seam::Mutex mutex_;
    seam::CondVar changed_;
    std::vector<std::pair<std::string, std::string>> told_;
};
DBOS_FOR_EVERY_DATABASE(WaiterHub);

TEST_P(WaiterHub, opens_nothing_before_the_first_wait) {
    EXPECT_FALSE(hub().stats().connected);
    insert_ended("w", "SUCCESS", "1");
    add("w");
    EXPECT_EQ(told(1).at(0).second, "1");
    EXPECT_EQ(hub().stats().payloads, 1U);  // a lone wait costs one statement
    EXPECT_EQ(hub().stats().checks, 0U);
}

TEST_P(WaiterHub, closes_its_connections_when_idle) {
    insert_ended("w", "SUCCESS", "1");
    hub({.idle_close = 10ms});
    add("w");
    told(1);
    EXPECT_TRUE(dbos::test::eventually([&] { return !hub().stats().connected; }));
    add("w");
    EXPECT_EQ(told(2).size(), 2U);
}

TEST_P(WaiterHub, a_local_end_is_seen_without_waiting_for_the_poll) {
    insert_workflow("w", "PENDING");
    hub({.wakeups = false});
    add("w", {.polling_interval = std::chrono::hours(1)});
    // The first look has been made: only the notice can bring the end.
    ASSERT_TRUE(dbos::test::eventually([&] { return hub().stats().payloads == 1; }));
    end("w", "SUCCESS", "9");
    hub().notify_ended("another");
    hub().notify_ended("w");
    EXPECT_EQ(told(1).at(0).second, "9");
}

TEST_P(WaiterHub, an_end_during_the_check_is_not_lost) {
    // Register, check, wait: whatever the interleaving of end and notice with the checks, each wait ends at once.
    hub({.wakeups = false});
    for (int i = 0; i < 40; ++i) {
        const std::string id = "w" + std::to_string(i);
        insert_workflow(id, "PENDING");
        add(id, {.polling_interval = std::chrono::hours(1)});
        end(id, "SUCCESS", std::to_string(i));
        hub().notify_ended(id);
        ASSERT_EQ(told(static_cast<std::size_t>(i) + 1).size(), static_cast<std::size_t>(i) + 1);
    }
}

/// Another process: its commits reach the hub by NOTIFY or the wake file alone.
class Peer {
   public:
    explicit Peer(const dbos::sql::OpenOptions& open) : database_(options(open)) {}
    void start(const std::string& id) {
        dbos::sysdb::NewWorkflow row;
        row.workflow_id = id;
        row.token = "token-" + id;
        row.status = "PENDING";
        row.name = "work";
        row.inputs = "{}";
        row.serialization = "portable_json";
        row.executor_id = "peer";
        database_.start_workflow(row);
    }
    void end(const std::string& id, const std::string& output) {
        dbos::sysdb::Outcome outcome;
        outcome.fence = {id, "token-" + id};
        outcome.payload = output;
        ASSERT_EQ(database_.record_outcome(outcome), dbos::sysdb::OutcomeResult::recorded);
    }

   private:
    static dbos::sysdb::DatabaseOptions options(const dbos::sql::OpenOptions& open) {
        dbos::sysdb::DatabaseOptions options;
        options.open = open;
        return options;
    }
    dbos::sysdb::SystemDatabase database_;
};

TEST_P(WaiterHub, a_peer_wakes_the_wait) {
    Peer peer(options());
    for (int i = 0; i < 10; ++i) {
        const std::string id = "w" + std::to_string(i);
        peer.start(id);
        add(id, {.polling_interval = std::chrono::hours(1)});
        const auto looks = hub().stats().payloads;
        ASSERT_TRUE(dbos::test::eventually([&] { return hub().stats().payloads > looks || i > 0; }));
        peer.end(id, std::to_string(i));
        ASSERT_EQ(told(static_cast<std::size_t>(i) + 1).back(), std::pair(id, std::to_string(i)));
    }
}

TEST_P(WaiterHub, a_writer_that_knows_nothing_of_the_wake_file_wakes_the_wait) {
    if (postgres()) GTEST_SKIP() << "an outcome of another SDK is not notified there";
    for (int i = 0; i < 5; ++i) {
        const std::string id = "w" + std::to_string(i);
        insert_workflow(id, "PENDING");
        const auto looks = hub().stats().payloads;
        add(id, {.polling_interval = std::chrono::hours(1)});
        ASSERT_TRUE(dbos::test::eventually([&] { return hub().stats().payloads > looks; }));
        end(id, "SUCCESS", std::to_string(i));
        ASSERT_EQ(told(static_cast<std::size_t>(i) + 1).back(), std::pair(id, std::to_string(i)));
    }
}

TEST_P(WaiterHub, a_log_sink_may_call_back) {
    dbos::sysdb::DatabaseOptions with;
    with.open = options();
    with.decorate = [](std::unique_ptr<dbos::sql::Connection>) -> std::unique_ptr<dbos::sql::Connection> {
        throw dbos::DatabaseError(dbos::DatabaseErrorKind::connection, "refused by the test");
    };
    dbos::sysdb::SystemDatabase database(with);
    std::unique_ptr<dbos::client::WaiterHub> mine;
    seam::Atomic<int> logged{0};
    mine = std::make_unique<dbos::client::WaiterHub>(
        database, dbos::client::HubOptions{.log = [&](const dbos::LogRecord&) {
            mine->notify_ended("w");
            EXPECT_EQ(mine->stats().waits, 1U);
            logged.fetch_add(1);
        }});
    mine->add("w", {}, [](dbos::sysdb::ResultRow, std::exception_ptr) {});
    EXPECT_TRUE(dbos::test::eventually([&] { return logged.load() > 0; }));
}

TEST_P(WaiterHub, a_notification_of_others_causes_no_statement) {
    if (!postgres()) GTEST_SKIP() << "the wake file says only that something changed";
    Peer peer(options());
    for (const char* id : {"first", "mine", "other"}) peer.start(id);
    add("first", {.polling_interval = std::chrono::hours(1)});
    peer.end("first", "0");
    told(1);  // the subscription stands, or its first event has been seen
    add("mine", {.polling_interval = std::chrono::hours(1)});
    ASSERT_TRUE(dbos::test::eventually([&] { return hub().stats().payloads >= 2; }));
    ASSERT_TRUE(dbos::test::eventually([&] {
        return query_text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%dbos_cpp_wake%'") !=
               "0";
    }));
    const auto before = hub().stats();
    for (int i = 0; i < 20; ++i) {
        const std::string id = "noise" + std::to_string(i);
        peer.start(id);
        peer.end(id, "1");
    }
    peer.end("mine", "2");
    EXPECT_EQ(told(2).back().second, "2");
    EXPECT_LE(hub().stats().payloads + hub().stats().checks, before.payloads + before.checks + 2);
}

TEST_P(WaiterHub, an_unknown_id_is_waited_for_and_may_appear) {
    hub({.wakeups = false});
    add("later", {.polling_interval = 5ms});
    ASSERT_TRUE(dbos::test::eventually([&] { return hub().stats().payloads >= 1; }));
    insert_ended("later", "SUCCESS", "1");
    EXPECT_EQ(told(1).at(0).second, "1");
}

TEST_P(WaiterHub, an_unknown_id_can_be_an_error) {
    add("none", {.fail_if_missing = true});
    EXPECT_EQ(told(1).at(0).second, "nonexistent");
    add("none", {.timeout = 20ms});
    EXPECT_EQ(told(2).at(1).second, "timeout");
}

TEST_P(WaiterHub, a_seen_id_that_vanishes_is_an_error) {
    add("gone", {.polling_interval = 10ms, .seen = true});
    EXPECT_EQ(told(1).at(0).second, "nonexistent");
}

TEST_P(WaiterHub, a_resumed_workflow_is_waited_for) {
    insert_workflow("w", "CANCELLED");
    insert_workflow("x", "PENDING");
    hub({.wakeups = false});
    add("x", {.polling_interval = 10ms});
    add("w");
    EXPECT_EQ(told(1).at(0), std::pair(std::string("w"), std::string("CANCELLED")));
    end("x", "SUCCESS", "2");
    EXPECT_EQ(told(2).at(1).second, "2");
}

TEST_P(WaiterHub, many_waits_on_one_workflow) {
    insert_workflow("w", "PENDING");
    for (int i = 0; i < 500; ++i) add("w", {.polling_interval = 10ms});
    end("w", "SUCCESS", "1");
    EXPECT_EQ(told(500).size(), 500U);
    EXPECT_EQ(hub().stats().waits, 0U);
}

TEST_P(WaiterHub, large_payloads_come_in_several_reads) {
    const std::string large = '"' + std::string(3u << 20, 'x') + '"';
    for (int i = 0; i < 6; ++i) insert_workflow("w" + std::to_string(i), "PENDING");
    for (int i = 0; i < 6; ++i) end("w" + std::to_string(i), "SUCCESS", large);
    for (int i = 0; i < 6; ++i) add("w" + std::to_string(i));
    const auto all = told(6);
    ASSERT_EQ(all.size(), 6U);
    for (const auto& [id, output] : all) EXPECT_EQ(output.size(), large.size());
    EXPECT_GE(hub().stats().payloads, 3U);
}

TEST_P(WaiterHub, a_database_that_was_never_initialised_fails_the_wait) {
    execute(
        postgres()
            ? "DROP SCHEMA \"" + database().schema() + "\" CASCADE; CREATE SCHEMA \"" + database().schema() +
                  '"'
            : "DROP TABLE dbos_migrations; DROP TABLE workflow_output; DROP TABLE workflow_input; DROP TABLE "
              "workflow_status");
    add("w");
    EXPECT_THAT(told(1).at(0).second, HasSubstr("not initialised"));
}

TEST_P(WaiterHub, ten_thousand_waits_need_one_thread_and_few_statements) {
    constexpr int kWaits = 10000;
    std::string rows;
    for (int i = 0; i < kWaits; ++i) {
        rows += (i > 0 ? ", ('w" : "('w") + std::to_string(i) + "', 'PENDING', 'work', 'portable_json')";
    }
    execute("INSERT INTO @workflow_status (workflow_uuid, status, name, serialization) VALUES " + rows);
    const std::size_t threads = threads_of_this_process();
    for (int i = 0; i < kWaits; ++i) {
        add("w" + std::to_string(i));
    }
    EXPECT_LE(threads_of_this_process(), threads + 2);  // hub and, if any, its listener
    ASSERT_TRUE(dbos::test::eventually([&] { return hub().stats().checks >= kWaits / 2000; }, 60));
    EXPECT_EQ(hub().stats().waits, static_cast<std::size_t>(kWaits));
    const auto before = hub().stats();
    execute("UPDATE @workflow_status SET status = 'SUCCESS', output = '1'");
    EXPECT_EQ(told(kWaits).size(), static_cast<std::size_t>(kWaits));
    const auto after = hub().stats();
    EXPECT_EQ(after.waits, 0U);
    EXPECT_LE(after.payloads - before.payloads, 2U * kWaits / 100);
}

TEST_P(WaiterHub, ten_thousand_waits_ask_less_than_five_times_a_second_whatever_others_do) {
    constexpr int kWaits = 10000;
    std::string rows;
    for (int i = 0; i < kWaits; ++i)
        rows += (i > 0 ? ", ('w" : "('w") + std::to_string(i) + "', 'PENDING', 'work', 'portable_json')";
    execute("INSERT INTO @workflow_status (workflow_uuid, status, name, serialization) VALUES " + rows);
    Peer peer(options());
    // Registered over the time of one interval and more: each at a moment of its own.
    for (int i = 0; i < kWaits; ++i) {
        add("w" + std::to_string(i));
        if (i % 100 == 0) seam::sleep_for(15ms);
    }
    const auto statements = [&] { return hub().stats().checks + hub().stats().payloads; };
    const std::uint64_t registered = statements();
    ASSERT_TRUE(dbos::test::eventually([&] { return statements() >= registered + 8; }));
    for (const bool busy : {false, true}) {
        const auto begun = seam::steady_now();
        const std::uint64_t before = statements();
        for (int n = 0; seam::steady_now() - begun < 3s; ++n) {
            if (!busy) {
                seam::sleep_for(100ms);
                continue;
            }
            const std::string id = "noise" + std::to_string(n);
            peer.start(id);
            peer.end(id, "1");
        }
        const double seconds = std::chrono::duration<double>(seam::steady_now() - begun).count();
        EXPECT_LE(static_cast<double>(statements() - before), 4.0 * seconds + 4) << (busy ? "busy" : "idle");
        EXPECT_GE(statements() - before, 4U) << "the floor of the polling interval goes on";
    }
    EXPECT_EQ(hub().stats().waits, static_cast<std::size_t>(kWaits));
}

}  // namespace
