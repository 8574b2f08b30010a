// Versions, the name of an application, aggregates, and the filters of listings that came last.
#include <gmock/gmock.h>

#include "support/app.hpp"
#include "support/managed.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::test::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ClientVersions : public dbos::test::ManageTest {
   public:
    void version(const std::string& name, int timestamp, const dbos::test::Cell& application) {
        insert("application_versions", {{"version_id", "id-" + name},
                                        {"version_name", name},
                                        {"version_timestamp", timestamp},
                                        {"created_at", 1},
                                        {"application_name", application}});
    }
    std::unique_ptr<dbos::Client> named(const std::string& application) {
        auto with = client_options();
        with.application_name = application;
        return make_client(std::move(with));
    }
    static std::vector<std::string> names(const std::vector<dbos::VersionInfo>& versions) {
        std::vector<std::string> found;
        for (const auto& version : versions) found.push_back(version.version_name);
        return found;
    }
};
DBOS_FOR_EVERY_DATABASE(ClientVersions);

TEST_P(ClientVersions, the_newest_is_the_latest_and_others_can_be_promoted) {
    EXPECT_THAT(client().list_versions(), IsEmpty());
    EXPECT_THROW(client().get_latest_version(), dbos::InitializationError);
    EXPECT_THROW(client().get_latest_version_async().get(), dbos::InitializationError);
    version("v1", 5, "shop");
    version("v2", 6, "shop");
    version("free", 4, nullptr);
    version("b1", 7, "billing");
    const auto shop = named("shop");
    EXPECT_THAT(names(client().list_versions()), ElementsAre("b1", "v2", "v1", "free"));
    EXPECT_THAT(names(shop->list_application_versions_async().get()), ElementsAre("v2", "v1", "free"));
    EXPECT_EQ(shop->get_latest_application_version().version_name, "v2");
    EXPECT_EQ(client().get_latest_version_async().get().version_name, "b1");
    shop->set_latest_version("v1");
    const auto first = shop->get_latest_version();
    EXPECT_EQ(first.version_name, "v1");
    EXPECT_EQ(first.version_id, "id-v1");
    EXPECT_EQ(first.created_at, 1);
    EXPECT_EQ(first.application_name, "shop");
    shop->set_latest_version_async("v2").get();  // also within the same millisecond
    EXPECT_EQ(shop->get_latest_version().version_name, "v2");
    EXPECT_GT(shop->get_latest_version().version_timestamp, first.version_timestamp);
    execute("UPDATE @application_versions SET version_timestamp = 9000000000000 WHERE version_name = 'b1'");
    client().set_latest_application_version("v1");
    EXPECT_EQ(client().get_latest_version().version_timestamp, 9000000000001);
}

TEST_P(ClientVersions, a_promotion_minds_the_owner) {
    version("v1", 5, "shop");
    version("free", 4, nullptr);
    EXPECT_THAT(error_of<dbos::ConfigError>([&] { named("billing")->set_latest_version("v1"); }),
                AllOf(HasSubstr("\"shop\""), HasSubstr("\"billing\"")));
    EXPECT_THAT(error_of<dbos::NotFound>([&] { client().set_latest_version("unknown"); }),
                HasSubstr("unknown"));
    EXPECT_THROW(client().set_latest_version(" "), dbos::UsageError);
    EXPECT_EQ(query_text("SELECT max(version_timestamp) FROM @application_versions"), "5");
    client().set_latest_version("free", "billing");
    EXPECT_EQ(query_text("SELECT application_name FROM @application_versions WHERE version_name = 'free'"),
              "billing");
    client().set_latest_version("v1");  // whoever has no name takes the only one
    EXPECT_EQ(query_text("SELECT application_name FROM @application_versions WHERE version_name = 'v1'"),
              "shop");
}

TEST_P(ClientVersions, a_renamed_application_keeps_all_its_rows) {
    for (const char* status : {"PENDING", "ENQUEUED", "DELAYED", "SUCCESS", "ERROR", "CANCELLED"}) {
        insert_workflow(std::string("shop-") + status, status,
                        {{"application_name", "shop"}, {"updated_at", 1}});
        insert("operation_outputs", {{"workflow_uuid", std::string("shop-") + status},
                                     {"function_id", 0},
                                     {"function_name", "s"},
                                     {"application_name", "shop"}});
    }
    insert_workflow("free", "SUCCESS");
    insert_workflow("billing", "SUCCESS", {{"application_name", "billing"}});
    version("v1", 5, "shop");
    insert("queues", {{"queue_id", "i"}, {"name", "q"}, {"application_name", "shop"}});
    const auto counts = [](const dbos::RenamedRows& rows) {
        return std::vector{rows.queues, rows.schedules, rows.versions, rows.workflows, rows.steps};
    };
    EXPECT_THAT(counts(client().rename_application("shop", "store", {.batch_size = 2})),
                ElementsAre(1, 0, 1, 6, 6));
    EXPECT_EQ(count("workflow_status", "application_name = 'store'"), "6");
    EXPECT_EQ(count("workflow_status", "application_name = 'shop'"), "0");
    EXPECT_EQ(row("shop-SUCCESS", "updated_at"), "1");
    EXPECT_THAT(counts(client().rename_application("shop", "store")), ElementsAre(0, 0, 0, 0, 0));
    EXPECT_THAT(counts(client()
                           .rename_application_async(
                               "store", "shop", {.batch_size = std::nullopt, .adopt_unclaimed_rows = true})
                           .get()),
                ElementsAre(1, 0, 1, 7, 6));
    EXPECT_EQ(row("free", "application_name"), "shop");
    EXPECT_EQ(row("billing", "application_name"), "billing");
    insert_workflow("later", "PENDING");
    EXPECT_THAT(counts(client().rename_application(std::nullopt, "shop", {.adopt_unclaimed_rows = true})),
                ElementsAre(0, 0, 0, 1, 0));
    EXPECT_THROW(client().rename_application(std::nullopt, "shop"), dbos::UsageError);
    EXPECT_THROW(client().rename_application("", "shop"), dbos::UsageError);
    EXPECT_THROW(client().rename_application("shop", "shop"), dbos::UsageError);
    EXPECT_THROW(client().rename_application("shop", " "), dbos::UsageError);
    EXPECT_THROW(client().rename_application("shop", "x", {.batch_size = 0}), dbos::UsageError);
}

TEST_P(ClientVersions, workflows_are_counted_and_measured_in_groups) {
    insert_workflow("a", "SUCCESS",
                    {{"created_at", 1000},
                     {"started_at_epoch_ms", 1010},
                     {"completed_at", 1500},
                     {"queue_name", "q"},
                     {"application_name", "shop"}});
    insert_workflow("b", "SUCCESS",
                    {{"created_at", 1999},
                     {"started_at_epoch_ms", 2100},
                     {"completed_at", 2200},
                     {"application_version", "v1"}});
    insert_workflow("c", "ERROR", {{"created_at", 2000}, {"name", "other"}, {"application_name", "billing"}});
    const auto by_status = client().get_workflow_aggregates({.group_by_status = true,
                                                             .select_count = true,
                                                             .select_min_created_at = true,
                                                             .select_max_queue_wait_ms = true,
                                                             .select_max_total_latency_ms = true});
    ASSERT_EQ(by_status.size(), 2u);
    EXPECT_EQ(by_status[0].status, "ERROR");
    EXPECT_EQ(by_status[0].count, 1);
    EXPECT_EQ(by_status[0].max_queue_wait_ms, std::nullopt);
    EXPECT_EQ(by_status[1].status, "SUCCESS");
    EXPECT_EQ(by_status[1].count, 2);
    EXPECT_EQ(by_status[1].min_created_at, 1000);
    EXPECT_EQ(by_status[1].max_queue_wait_ms, 101);
    EXPECT_EQ(by_status[1].max_total_latency_ms, 500);
    EXPECT_EQ(by_status[1].name, std::nullopt);

    const auto by_second = client().get_workflow_aggregates_async({.time_bucket = 1s}).get();
    ASSERT_EQ(by_second.size(), 2u);
    EXPECT_EQ(by_second[0].time_bucket, 1000);
    EXPECT_EQ(by_second[0].count, 2);
    EXPECT_EQ(by_second[1].time_bucket, 2000);
    const auto filtered = named("shop")->get_workflow_aggregates({.group_by_name = true,
                                                                  .group_by_queue_name = true,
                                                                  .group_by_executor_id = true,
                                                                  .group_by_application_version = true,
                                                                  .group_by_application_name = true,
                                                                  .filter = {.name = "work"}});
    EXPECT_EQ(filtered.size(), 2u);  // a of the shop, and b of nobody
    EXPECT_EQ(named("billing")->get_workflow_aggregates({.group_by_name = true}).size(), 2u);
    EXPECT_THAT(client().get_workflow_aggregates({.group_by_name = true, .filter = {.workflow_ids = "x"}}),
                IsEmpty());
    EXPECT_THROW(client().get_workflow_aggregates({}), dbos::UsageError);
    EXPECT_THROW(client().get_workflow_aggregates({.time_bucket = 0s}), dbos::UsageError);
    EXPECT_THROW(client().get_workflow_aggregates_async({.group_by_name = true, .filter = {.limit = 1}}),
                 dbos::UsageError);
}

TEST_P(ClientVersions, steps_are_counted_and_measured_in_groups) {
    insert_history("w");
    execute("UPDATE @operation_outputs SET error = 'e', function_name = 's0' WHERE function_id = 3");
    execute("UPDATE @operation_outputs SET error = '', application_name = 'shop' WHERE function_id = 2");
    const auto groups = client().get_step_aggregates({.group_by_function_name = true,
                                                      .group_by_status = true,
                                                      .select_count = true,
                                                      .select_max_duration_ms = true});
    std::vector<std::string> text;
    for (const auto& group : groups) {
        text.push_back(*group.function_name + ' ' + *group.status + ' ' + std::to_string(*group.count) + ' ' +
                       std::to_string(*group.max_duration_ms));
    }
    EXPECT_THAT(text, ElementsAre("s0 ERROR 1 3", "s0 SUCCESS 1 0", "s1 SUCCESS 1 1", "s2 SUCCESS 1 2"));
    const auto failed =
        client().get_step_aggregates_async({.group_by_status = true, .status = "ERROR"}).get();
    ASSERT_EQ(failed.size(), 1u);
    EXPECT_EQ(failed[0].count, 1);
    EXPECT_EQ(client().get_step_aggregates({.time_bucket = 20ms}).size(), 2u);
    EXPECT_EQ(named("billing")->get_step_aggregates({.group_by_status = true})[0].count,
              1);  // but that of the shop
    const auto some =
        client().get_step_aggregates({.group_by_application_name = true,
                                      .function_name = {"s1", "s2"},
                                      .workflow_id_prefix = "w",
                                      .completed_after = std::chrono::system_clock::time_point(20ms)});
    ASSERT_EQ(some.size(), 1u);
    EXPECT_EQ(some[0].application_name, "shop");
    EXPECT_THROW(client().get_step_aggregates({}), dbos::UsageError);
}

TEST_P(ClientVersions, listings_filter_by_fork_class_instance_and_deduplication) {
    insert_workflow("fork", "SUCCESS", {{"forked_from", "x"}, {"class_name", "Shop"}, {"config_name", "eu"}});
    insert_workflow("plain", "ENQUEUED",
                    {{"queue_name", "q"}, {"deduplication_id", "d"}, {"is_debounced", true}});
    const auto ids = [&](const dbos::ListWorkflowsOptions& options) {
        std::vector<std::string> found;
        for (const auto& status : client().list_workflows(options)) found.push_back(status.workflow_id);
        return found;
    };
    EXPECT_THAT(ids({.is_fork = true}), ElementsAre("fork"));
    EXPECT_THAT(ids({.is_fork = false}), ElementsAre("plain"));
    EXPECT_THAT(ids({.class_name = "Shop"}), ElementsAre("fork"));
    EXPECT_THAT(ids({.class_name = ""}), ElementsAre("plain"));
    EXPECT_THAT(ids({.instance_name = {"eu", "us"}}), ElementsAre("fork"));
    EXPECT_THAT(ids({.deduplication_id = "d"}), ElementsAre("plain"));
    EXPECT_THAT(ids({.is_debounced = true}), ElementsAre("plain"));
    EXPECT_THAT(ids({.is_debounced = false}), ElementsAre("fork"));
    EXPECT_EQ(client().list_queued_workflows({.deduplication_id = "d", .is_debounced = true}).size(), 1u);
    EXPECT_THAT(client().list_queued_workflows({.is_fork = true}), IsEmpty());
}

class RunningApp : public dbos::test::AppTest {};
DBOS_FOR_EVERY_DATABASE(RunningApp);

TEST_P(RunningApp, a_running_application_is_not_renamed_and_its_version_is_listed) {
    dbos::App app(app_options("shop"));
    app.implement(dbos::workflow<int()>("work"), [](dbos::Context&) { return 1; });
    app.launch();
    EXPECT_EQ(app.client().get_latest_version().version_name, "shop-1");
    EXPECT_THAT(error_of<dbos::ConfigError>([&] { app.client().rename_application("shop", "store"); }),
                HasSubstr(app.executor_id()));
    app.shutdown();
    dbos::Client client({.system_database_url = database().url(),
                         .dbos_system_schema = database().schema(),
                         .log_sink = log.sink()});
    EXPECT_EQ(client.rename_application("shop", "store").versions, 1);
}

}  // namespace
