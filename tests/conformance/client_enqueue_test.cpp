#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "dbos/types.hpp"
#include "support/client_rows.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::Future;
using dbos::WorkflowStatus;
using testing::ElementsAre;
using testing::HasSubstr;

struct Order {
    std::string id = {};
    int cents = 0;
};
DBOS_FIELDS(Order, id, cents)

inline constexpr auto Checkout = dbos::workflow<std::string(Order)>("checkout");
inline constexpr auto Refund = dbos::workflow<std::string(Order)>("refund");
inline constexpr auto Resize =
    dbos::workflow<void(std::string, bool)>("resize", dbos::params("path", "*", "fast"));
inline constexpr auto Method = dbos::workflow<void(int)>("run").in_class("Shop", "main");

class ClientEnqueue : public dbos::test::ClientTest {
   public:
    std::string column(const std::string& id, const std::string& column) {
        return query_text("SELECT " + column + " FROM @workflow_status WHERE workflow_uuid = '" + id + "'");
    }
    std::string inputs(const std::string& id) {
        return query_text("SELECT inputs FROM @workflow_input WHERE workflow_uuid = '" + id + "'");
    }
};
DBOS_FOR_EVERY_DATABASE(ClientEnqueue);

TEST_P(ClientEnqueue, writes_the_row_that_every_sdk_reads) {
    const auto handle =
        client().enqueue(Checkout, {.queue_name = "orders", .workflow_id = "o-17"}, {"o-17", 4200});
    EXPECT_EQ(handle.workflow_id(), "o-17");
    EXPECT_EQ(inputs("o-17"), R"({"positionalArgs":[{"id":"o-17","cents":4200}],"namedArgs":{}})");
    EXPECT_EQ(column("o-17", "status"), "ENQUEUED");
    EXPECT_EQ(column("o-17", "name"), "checkout");
    EXPECT_EQ(column("o-17", "queue_name"), "orders");
    EXPECT_EQ(column("o-17", "serialization"), "portable_json");
    EXPECT_EQ(column("o-17", "recovery_attempts"), "0");
    EXPECT_EQ(column("o-17", "priority"), "0");
    EXPECT_EQ(column("o-17", "length(creator_xid)"), "36");
    EXPECT_EQ(column("o-17", "CASE WHEN created_at = updated_at AND created_at > 1700000000000 THEN 1 END"),
              "1");
    for (const char* absent : {"class_name",
                               "config_name",
                               "executor_id",
                               "application_id",
                               "application_version",
                               "owner_xid",
                               "inputs",
                               "workflow_timeout_ms",
                               "workflow_deadline_epoch_ms",
                               "deduplication_id",
                               "queue_partition_key",
                               "authenticated_user",
                               "authenticated_roles",
                               "attributes",
                               "application_name",
                               "parent_workflow_id",
                               "started_at_epoch_ms",
                               "completed_at",
                               "delay_until_epoch_ms",
                               "schedule_name"}) {
        EXPECT_EQ(column("o-17", absent), "NULL") << absent;
    }
}

TEST_P(ClientEnqueue, writes_every_option) {
    client().enqueue({.workflow_name = "run",
                      .queue_name = "q",
                      .workflow_id = "w",
                      .app_version = "v2",
                      .workflow_timeout = 1.5s,
                      .deduplication_id = "d",
                      .priority = 5,
                      .queue_partition_key = "p",
                      .authenticated_user = "ann",
                      .authenticated_roles = {"admin", "user"},
                      .delay = 1h,
                      .class_name = "Shop",
                      .instance_name = "main",
                      .assumed_role = "admin",
                      .attributes = dbos::Object{{"k", 1}},
                      .application_name = "shop"},
                     1, "two", dbos::named("fast", true));
    EXPECT_EQ(inputs("w"), R"({"positionalArgs":[1,"two"],"namedArgs":{"fast":true}})");
    const WorkflowStatus row = client().list_workflows().at(0);
    EXPECT_EQ(row.status, dbos::Status::delayed);
    EXPECT_EQ(row.app_version, "v2");
    EXPECT_EQ(row.workflow_timeout_ms, 1500);
    EXPECT_EQ(row.deduplication_id, "d");
    EXPECT_EQ(row.priority, 5);
    EXPECT_EQ(row.queue_partition_key, "p");
    EXPECT_EQ(row.authenticated_user, "ann");
    EXPECT_THAT(row.authenticated_roles, ElementsAre("admin", "user"));
    ASSERT_TRUE(row.delay_until_epoch_ms);
    EXPECT_GT(*row.delay_until_epoch_ms, row.created_at + 3'590'000);
    EXPECT_LT(*row.delay_until_epoch_ms, row.created_at + 3'610'000);
    EXPECT_EQ(row.class_name, "Shop");
    EXPECT_EQ(row.config_name, "main");
    EXPECT_EQ(row.assumed_role, "admin");
    EXPECT_EQ(row.attributes->at("k").as_int(), 1);
    EXPECT_EQ(row.application_name, "shop");
}

TEST_P(ClientEnqueue, contracts_send_names_classes_and_parameter_names) {
    client().enqueue(Resize, {.queue_name = "q", .workflow_id = "r"}, "a.png", true);
    EXPECT_EQ(inputs("r"), R"({"positionalArgs":["a.png"],"namedArgs":{"fast":true}})");
    client().enqueue(Method, {.queue_name = "q", .workflow_id = "m"}, 1);
    EXPECT_EQ(column("m", "class_name"), "Shop");
    EXPECT_EQ(column("m", "config_name"), "main");
    EXPECT_THROW(client().enqueue(Checkout, {.workflow_name = "x", .queue_name = "q"}, {"o", 1}),
                 dbos::UsageError);
    EXPECT_THROW(client().enqueue(Method, {.queue_name = "q", .class_name = "Other"}, 1), dbos::UsageError);
    EXPECT_THROW(client().enqueue(Method, {.queue_name = "q"}, std::int64_t{1} << 40), dbos::UsageError);
}

TEST_P(ClientEnqueue, generates_ids_that_increase) {
    const std::string first = client().enqueue({.workflow_name = "w", .queue_name = "q"}).workflow_id();
    const std::string second = client().enqueue({.workflow_name = "w", .queue_name = "q"}).workflow_id();
    EXPECT_EQ(first.size(), 36U);
    EXPECT_EQ(first[14], '7');
    EXPECT_LT(first, second);
}

TEST_P(ClientEnqueue, bad_options_write_nothing) {
    EXPECT_THROW(client().enqueue({.workflow_name = "w"}), dbos::UsageError);
    EXPECT_THROW(client().enqueue({.queue_name = "q"}), dbos::UsageError);
    EXPECT_THROW(client().enqueue({.workflow_name = "w", .queue_name = "q", .workflow_id = ""}),
                 dbos::UsageError);
    EXPECT_THROW(client().enqueue_async({.workflow_name = "w", .queue_name = "q", .priority = -1}),
                 dbos::UsageError);
    EXPECT_TRUE(client().list_workflows().empty());
}

TEST_P(ClientEnqueue, an_existing_id_gives_its_workflow) {
    client().enqueue(Checkout, {.queue_name = "orders", .workflow_id = "o"}, {"first", 1});
    const std::string updated = column("o", "updated_at");
    const auto again = client().enqueue(Checkout, {.queue_name = "orders", .workflow_id = "o", .priority = 3},
                                        {"second", 2});
    EXPECT_EQ(again.workflow_id(), "o");
    EXPECT_EQ(inputs("o"), R"({"positionalArgs":[{"id":"first","cents":1}],"namedArgs":{}})");
    EXPECT_EQ(column("o", "priority"), "0");
    EXPECT_EQ(column("o", "updated_at"), updated);
    EXPECT_EQ(log.lines().size(), 0U);
    // Another queue: the same workflow, and a warning.
    client().enqueue(Checkout, {.queue_name = "other", .workflow_id = "o"}, {"third", 3});
    EXPECT_EQ(column("o", "queue_name"), "orders");
    EXPECT_EQ(log.count("another queue"), 1U);
    // Also when it has ended.
    execute("UPDATE @workflow_status SET status = 'CANCELLED', queue_name = NULL");
    EXPECT_EQ(
        client().enqueue(Checkout, {.queue_name = "orders", .workflow_id = "o"}, {"fourth", 4}).workflow_id(),
        "o");
    EXPECT_EQ(column("o", "status"), "CANCELLED");
}

TEST_P(ClientEnqueue, another_name_or_class_is_a_conflict) {
    client().enqueue(Checkout, {.queue_name = "q", .workflow_id = "o"}, {"o", 1});
    try {
        client().enqueue(Refund, {.queue_name = "q", .workflow_id = "o"}, {"o", 1});
        ADD_FAILURE();
    } catch (const dbos::ConflictingWorkflow& error) {
        EXPECT_THAT(error.what(), HasSubstr("\"checkout\""));
        EXPECT_THAT(error.what(), HasSubstr("\"refund\""));
        EXPECT_EQ(error.workflow_id(), "o");
    }
    EXPECT_THROW(
        client().enqueue(Checkout, {.queue_name = "q", .workflow_id = "o", .class_name = "Shop"}, {"o", 1}),
        dbos::ConflictingWorkflow);
    EXPECT_THROW(
        client().enqueue(Checkout, {.queue_name = "q", .workflow_id = "o", .instance_name = "x"}, {"o", 1}),
        dbos::ConflictingWorkflow);
    EXPECT_THROW(client().enqueue_async(Refund, {.queue_name = "q", .workflow_id = "o"}, {"o", 1}).get(),
                 dbos::ConflictingWorkflow);
    // '' of another SDK is no class.
    execute("UPDATE @workflow_status SET class_name = '', config_name = ''");
    EXPECT_EQ(client().enqueue(Checkout, {.queue_name = "q", .workflow_id = "o"}, {"o", 1}).workflow_id(),
              "o");
}

TEST_P(ClientEnqueue, reuse_of_an_id_can_be_refused) {
    const dbos::EnqueueOptions options = {.queue_name = "q",
                                          .workflow_id = "o",
                                          .workflow_id_reuse_policy = dbos::WorkflowIdReusePolicy::reject};
    client().enqueue(Checkout, options, {"o", 1});
    EXPECT_THROW(client().enqueue(Checkout, options, {"o", 1}), dbos::WorkflowIdInUse);
    EXPECT_THROW(client().enqueue(Refund, options, {"o", 1}),
                 dbos::WorkflowIdInUse);  // checked before the name
}

TEST_P(ClientEnqueue, one_workflow_holds_a_deduplication_id) {
    client().enqueue(Checkout, {.queue_name = "q", .workflow_id = "first", .deduplication_id = "d"},
                     {"o", 1});
    try {
        client().enqueue(Checkout, {.queue_name = "q", .workflow_id = "second", .deduplication_id = "d"},
                         {"o", 1});
        ADD_FAILURE();
    } catch (const dbos::QueueDeduplicated& error) {
        EXPECT_EQ(error.workflow_id(), "second");
        EXPECT_EQ(error.queue_name(), "q");
        EXPECT_EQ(error.deduplication_id(), "d");
    }
    EXPECT_EQ(column("second", "status"), "no row");
    EXPECT_EQ(inputs("second"), "no row");
    EXPECT_THROW(client()
                     .enqueue_async(
                         Checkout, {.queue_name = "q", .workflow_id = "s", .deduplication_id = "d"}, {"o", 1})
                     .get(),
                 dbos::QueueDeduplicated);
    // Another queue is another matter; the same id again is no duplicate of itself.
    client().enqueue(Checkout, {.queue_name = "r", .workflow_id = "third", .deduplication_id = "d"},
                     {"o", 1});
    client().enqueue(Checkout, {.queue_name = "q", .workflow_id = "first", .deduplication_id = "d"},
                     {"o", 1});
    const dbos::EnqueueOptions holder = {.queue_name = "q",
                                         .deduplication_id = "d",
                                         .duplication_policy = dbos::DuplicationPolicy::return_existing};
    EXPECT_EQ(client().enqueue(Refund, holder, {"o", 1}).workflow_id(), "first");
    EXPECT_EQ(client().enqueue_async(Refund, holder, {"o", 1}).get().workflow_id(), "first");
    execute("UPDATE @workflow_status SET deduplication_id = NULL WHERE workflow_uuid = 'first'");
    EXPECT_NE(client().enqueue(Refund, holder, {"o", 1}).workflow_id(), "first");
}

TEST_P(ClientEnqueue, a_named_client_owns_what_it_enqueues) {
    auto options = client_options();
    options.application_name = "shop";
    const auto named = make_client(std::move(options));
    named->enqueue(Checkout, {.queue_name = "q", .workflow_id = "mine"}, {"o", 1});
    named->enqueue(Checkout, {.queue_name = "q", .workflow_id = "theirs", .application_name = "office"},
                   {"o", 1});
    EXPECT_EQ(column("mine", "application_name"), "shop");
    EXPECT_EQ(column("theirs", "application_name"), "office");
}

TEST_P(ClientEnqueue, cancel_takes_a_workflow_out_of_its_queue) {
    auto handle = client().enqueue(Checkout, {.queue_name = "q", .workflow_id = "o", .deduplication_id = "d"},
                                   {"o", 1});
    auto waiting = handle.get_result_async();
    client().cancel_workflow("o");
    EXPECT_THROW(waiting.get(), dbos::AwaitedWorkflowCancelled);
    EXPECT_THROW(handle.get_result(), dbos::AwaitedWorkflowCancelled);
    const WorkflowStatus row = handle.get_status();
    EXPECT_EQ(row.status, dbos::Status::cancelled);
    EXPECT_FALSE(row.queue_name || row.deduplication_id);
    EXPECT_TRUE(row.completed_at);
    client().cancel_workflow("unknown");
    insert_ended("done", "SUCCESS", "1");
    client().cancel_workflow_async("done").get();
    EXPECT_EQ(client().retrieve_workflow("done").get_status().status, dbos::Status::success);
}

TEST_P(ClientEnqueue, writes_the_old_layout_too) {
    execute("DROP TABLE @workflow_input");
    execute("DROP TABLE @workflow_output");
    execute("ALTER TABLE @workflow_status DROP COLUMN creator_xid");
    execute("UPDATE @dbos_migrations SET version = 108");
    client().enqueue(Checkout, {.queue_name = "q", .workflow_id = "o"}, {"o", 1});
    EXPECT_EQ(column("o", "inputs"), R"({"positionalArgs":[{"id":"o","cents":1}],"namedArgs":{}})");
    EXPECT_EQ(column("o", "length(owner_xid)"), "36");
    EXPECT_EQ(client().enqueue(Checkout, {.queue_name = "q", .workflow_id = "o"}, {"o", 2}).workflow_id(),
              "o");
    EXPECT_EQ(client().list_workflows().at(0).input->positional.size(), 1U);
}

TEST_P(ClientEnqueue, a_database_that_was_never_initialised_says_so) {
    const dbos::test::TestDatabase fresh(GetParam());
    if (!postgres()) dbos::sql::open(fresh.options());
    auto options = client_options();
    options.system_database_url = fresh.url();
    options.dbos_system_schema = fresh.schema();
    const auto other = make_client(std::move(options));
    const auto what = [](auto call) {
        try {
            call();
        } catch (const dbos::ConfigError& error) {
            return std::string(error.what());
        }
        return std::string("accepted");
    };
    EXPECT_THAT(what([&] { other->enqueue(Checkout, {.queue_name = "q"}, {"o", 1}); }),
                HasSubstr("not initialised"));
    EXPECT_THAT(what([&] { other->enqueue_async(Checkout, {.queue_name = "q"}, {"o", 1}).get(); }),
                HasSubstr("not initialised"));
    EXPECT_THAT(what([&] { other->list_workflows(); }), HasSubstr("not initialised"));
    EXPECT_THAT(what([&] { other->cancel_workflow("x"); }), HasSubstr("not initialised"));
    other->check_connection();
}

TEST_P(ClientEnqueue, ten_thousand_outstanding_results_cost_no_threads) {
    constexpr std::size_t kCount = 10000;
    std::vector<Future<dbos::WorkflowHandle<std::string>>> starts;
    starts.reserve(kCount);
    for (std::size_t i = 0; i < kCount; ++i) {
        starts.push_back(client().enqueue_async(Checkout, {.queue_name = "q"}, {"o", 1}));
    }
    std::vector<Future<std::string>> results;
    results.reserve(kCount);
    for (auto& start : starts) results.push_back(start.get().get_result_async());
    std::size_t threads = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
        threads += entry.exists() ? 1 : 0;
    EXPECT_LE(threads, 10U);
    execute("UPDATE @workflow_status SET status = 'SUCCESS', output = '\"done\"'");
    for (auto& result : results) ASSERT_EQ(result.get(), "done");
}

// ---------------------------------------------------------------------------------------------------- opening

std::string opening(dbos::ClientOptions options) {
    try {
        dbos::Client client(std::move(options));
        client.check_connection();
    } catch (const dbos::ConfigError& error) {
        return std::string("config: ") + error.what();
    } catch (const dbos::DatabaseError& error) {
        return std::string("database: ") + error.what();
    }
    return "opened";
}

TEST(ClientOpening, bad_options_and_urls_are_refused) {
    EXPECT_THAT(opening({}), HasSubstr("system_database_url"));
    EXPECT_THAT(opening({.system_database_url = "mysql://x"}), testing::StartsWith("config: "));
    EXPECT_THAT(opening({.system_database_url = "postgresql://u:secret@[bad"}),
                testing::Not(HasSubstr("secret")));
    EXPECT_THAT(opening({.system_database_url = "sqlite:///x", .use_listen_notify = true, .lazy = true}),
                HasSubstr("lazy"));
}

TEST(ClientOpening, a_missing_sqlite_file_is_not_created) {
    const dbos::test::TemporaryDirectory directory;
    const std::filesystem::path file = directory.path() / "none.sqlite";
    const std::string message = opening({.system_database_url = "sqlite:///" + file.string()});
    EXPECT_THAT(message, HasSubstr("none.sqlite"));
    EXPECT_FALSE(std::filesystem::exists(file));
}

TEST(ClientOpening, an_unreachable_server_is_told_at_once) {
    const std::string message =
        opening({.system_database_url = "postgresql://postgres:secret@127.0.0.1:1/none"});
    EXPECT_THAT(message, testing::StartsWith("database: "));
    EXPECT_THAT(message, HasSubstr("127.0.0.1"));
    EXPECT_THAT(message, testing::Not(HasSubstr("secret")));
    // A lazy client connects at its first call.
    dbos::Client lazy({.system_database_url = "postgresql://postgres@127.0.0.1:1/none",
                       .lazy = true,
                       .retry_connection_errors = false});
    EXPECT_THROW(lazy.check_connection(), dbos::DatabaseError);
}

TEST(ClientOpening, a_wrong_password_is_told) {
    if (!dbos::test::need_postgres()) return;
    std::string url = *dbos::test::postgres_url();
    const auto user = url.find("postgres@");
    if (user == std::string::npos) GTEST_SKIP() << "needs the role dbos_password of scripts/with-postgres";
    url.replace(user, 9, "dbos_password:wrongsecret@");
    const std::string message = opening({.system_database_url = url});
    EXPECT_THAT(message, testing::StartsWith("database: "));
    EXPECT_THAT(message, HasSubstr("password"));
    EXPECT_THAT(message, testing::Not(HasSubstr("wrongsecret")));
}

}  // namespace
