// What the other client tests leave out of docs/reference/client.list: formats, ignored and bounded options, twins.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "dbos/debouncer.hpp"
#include "dbos/serializer.hpp"
#include "dbos/types.hpp"
#include "support/client_rows.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::ListQueuedWorkflowsOptions;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

/// portable_json with a mark in front.
class Marked final : public dbos::Serializer {
   public:
    std::string_view name() const noexcept override { return "marked"; }
    std::string encode_inputs(const dbos::Arguments& arguments) const override {
        return "!" + plain_->encode_inputs(arguments);
    }
    dbos::Arguments decode_inputs(std::string_view text) const override {
        return plain_->decode_inputs(text.substr(1));
    }
    std::string encode(const dbos::Value& value) const override { return "!" + plain_->encode(value); }
    dbos::Value decode(std::string_view text) const override { return plain_->decode(text.substr(1)); }
    std::string encode_error(const dbos::Failure& failure) const override {
        return "!" + plain_->encode_error(failure);
    }
    dbos::Failure decode_error(std::string_view text) const override {
        return plain_->decode_error(text.substr(1));
    }

   private:
    std::shared_ptr<const dbos::Serializer> plain_ = dbos::serializers::portable_json();
};

class ClientSurface : public dbos::test::ClientTest {
   public:
    std::unique_ptr<dbos::Client> with(void (*change)(dbos::ClientOptions&)) {
        auto options = client_options();
        change(options);
        return make_client(std::move(options));
    }
    std::string inputs(const std::string& id) {
        return query_text("SELECT inputs FROM @workflow_input WHERE workflow_uuid = '" + id + "'");
    }
    std::string message(const std::string& destination) {
        return query_text(
            "SELECT serialization || ' ' || message FROM @notifications WHERE destination_uuid = '" +
            destination + "'");
    }
    std::string context(const std::string& schedule) {
        return query_text("SELECT context FROM @workflow_schedules WHERE schedule_name = '" + schedule + "'");
    }
};
DBOS_FOR_EVERY_DATABASE(ClientSurface);

TEST_P(ClientSurface, values_are_written_in_the_format_of_the_client_or_of_the_call) {
    const auto marked = std::make_shared<const Marked>();
    const auto portable = dbos::serializers::portable_json();
    auto own = client_options();
    own.serializer = marked;
    const auto other = make_client(std::move(own));

    other->enqueue({.workflow_name = "f", .queue_name = "q", .workflow_id = "a"}, 1);
    EXPECT_EQ(inputs("a"), R"(!{"positionalArgs":[1],"namedArgs":{}})");
    EXPECT_EQ(other->retrieve_workflow("a").get_status().serialization, "marked");
    EXPECT_EQ(other->retrieve_workflow("a").get_status().input->positional.at(0).as_int(), 1);
    other->enqueue({.workflow_name = "f", .queue_name = "q", .workflow_id = "b", .serializer = portable}, 1);
    client().enqueue({.workflow_name = "f", .queue_name = "q", .workflow_id = "c", .serializer = marked}, 1);
    EXPECT_EQ(inputs("b"), R"({"positionalArgs":[1],"namedArgs":{}})");
    EXPECT_THAT(inputs("c"), StartsWith("!"));

    other->send("a", 1);
    client().send("b", 1, {}, {.serializer = marked});
    client().send_bulk({{.destination_id = "c", .message = 1}}, {.serializer = marked});
    EXPECT_EQ(message("a"), "marked !1");
    EXPECT_EQ(message("b"), "marked !1");
    EXPECT_EQ(message("c"), "marked !1");

    other->create_schedule(
        {.schedule_name = "s", .workflow_name = "f", .schedule = "@hourly", .context = "x"});
    client().create_schedule({.schedule_name = "t",
                              .workflow_name = "f",
                              .schedule = "@hourly",
                              .context = "x",
                              .serializer = marked});
    client().create_schedule(
        {.schedule_name = "u", .workflow_name = "f", .schedule = "@hourly", .raw_context = "as it is"});
    EXPECT_EQ(context("s"), "!\"x\"");
    EXPECT_EQ(context("t"), "!\"x\"");
    EXPECT_EQ(context("u"), "as it is");
    EXPECT_EQ(other->get_schedule("s")->context.as_string(), "x");
    client().update_schedule("s", {.context = "y", .serializer = marked});
    client().update_schedule("t", {.raw_context = "raw"});
    EXPECT_EQ(context("s"), "!\"y\"");
    EXPECT_EQ(context("t"), "raw");
}

TEST_P(ClientSurface, a_schedule_of_another_sdk_keeps_its_dialect) {
    // TypeScript's cron has ranges that wrap around, Python's of our own style has none.
    const auto style = dbos::ScheduleStyle::typescript;
    client().create_schedule(
        {.schedule_name = "s", .workflow_name = "f", .schedule = "@hourly", .style = style});
    EXPECT_THROW(client().update_schedule("s", {.schedule = "0 22-2 * * *"}), dbos::UsageError);
    client().update_schedule("s", {.schedule = "0 22-2 * * *", .style = style});
    EXPECT_EQ(client().get_schedule("s")->schedule, "0 22-2 * * *");
}

TEST_P(ClientSurface, max_recovery_attempts_is_accepted_and_changes_nothing) {
    client().enqueue(
        {.workflow_name = "f", .queue_name = "q", .workflow_id = "w", .max_recovery_attempts = 3});
    EXPECT_EQ(client().retrieve_workflow("w").get_status().recovery_attempts, 0);
    EXPECT_EQ(client().retrieve_workflow("w").get_status().status, dbos::Status::enqueued);
}

TEST_P(ClientSurface, the_pool_has_the_size_of_the_options) {
    EXPECT_THAT(refusal([&] { with([](auto& options) { options.system_database_pool_size = 0; }); }),
                HasSubstr("system_database_pool_size"));
    EXPECT_THAT(refusal([&] { with([](auto& options) { options.system_database_pool_size = 1001; }); }),
                HasSubstr("system_database_pool_size"));
    // One connection serves whoever comes.
    const auto narrow = with([](auto& options) { options.system_database_pool_size = 1; });
    std::vector<std::thread> callers;
    for (int i = 0; i < 8; ++i)
        callers.emplace_back([&, i] {
            const std::string id = "w" + std::to_string(i);
            narrow->enqueue({.workflow_name = "f", .queue_name = "q", .workflow_id = id});
            EXPECT_EQ(narrow->list_workflows({.workflow_ids = id}).size(), 1u);
        });
    for (auto& caller : callers) caller.join();
    EXPECT_EQ(narrow->list_workflows().size(), 8u);
}

TEST_P(ClientSurface, the_schema_is_the_one_of_the_options) {
    const auto elsewhere = with([](auto& options) { options.dbos_system_schema = "no such schema"; });
    if (postgres()) {
        EXPECT_THAT(refusal([&] { elsewhere->list_workflows(); }), HasSubstr("no such schema"));
    } else {
        EXPECT_TRUE(elsewhere->list_workflows().empty());  // SQLite has none
    }
}

TEST_P(ClientSurface, queued_listings_take_every_filter) {
    insert_workflow("direct", "PENDING", {{"created_at", 1}});
    insert_workflow("a-1", "ENQUEUED",
                    {{"name", "f"},
                     {"queue_name", "q"},
                     {"application_version", "v1"},
                     {"forked_from", "x"},
                     {"parent_workflow_id", "p"},
                     {"authenticated_user", "ann"},
                     {"executor_id", "e1"},
                     {"class_name", "C"},
                     {"config_name", "main"},
                     {"schedule_name", "nightly"},
                     {"application_name", "shop"},
                     {"deduplication_id", "d"},
                     {"was_forked_from", true},
                     {"started_at_epoch_ms", 1100},
                     {"completed_at", 1200},
                     {"created_at", 1000}});
    insert_workflow("b-2", "PENDING", {{"name", "g"}, {"queue_name", "r"}, {"created_at", 2000}});
    insert_workflow("b-3", "DELAYED", {{"name", "g"}, {"queue_name", "r"}, {"created_at", 3000}});
    insert("workflow_input",
           {{"workflow_uuid", "a-1"}, {"inputs", R"({"positionalArgs":[1],"namedArgs":{}})"}});
    execute("UPDATE @workflow_status SET serialization = 'portable_json'");
    const auto ids = [&](const ListQueuedWorkflowsOptions& options) {
        std::vector<std::string> found;
        for (const auto& row : client().list_queued_workflows(options)) found.push_back(row.workflow_id);
        return found;
    };
    const auto at = [](int ms) {
        return dbos::Instant(std::chrono::system_clock::time_point(std::chrono::milliseconds(ms)));
    };
    EXPECT_THAT(ids({}), ElementsAre("a-1", "b-2", "b-3"));
    EXPECT_THAT(ids({.workflow_ids = {"a-1", "direct"}}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.status = {"DELAYED", "ENQUEUED"}}), ElementsAre("a-1", "b-3"));
    EXPECT_THAT(ids({.start_time = at(2000)}), ElementsAre("b-2", "b-3"));
    EXPECT_THAT(ids({.end_time = at(2000)}), ElementsAre("a-1", "b-2"));
    EXPECT_THAT(ids({.name = "g"}), ElementsAre("b-2", "b-3"));
    EXPECT_THAT(ids({.app_version = "v1"}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.forked_from = "x"}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.parent_workflow_id = "p"}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.user = "ann"}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.queue_name = "r"}), ElementsAre("b-2", "b-3"));
    EXPECT_THAT(ids({.limit = 1}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.offset = 2}), ElementsAre("b-3"));
    EXPECT_THAT(ids({.sort_desc = true}), ElementsAre("b-3", "b-2", "a-1"));
    EXPECT_THAT(ids({.workflow_id_prefix = "b-"}), ElementsAre("b-2", "b-3"));
    EXPECT_THAT(ids({.executor_id = "e1"}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.completed_after = at(1200)}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.completed_before = at(1199)}), ElementsAre());
    EXPECT_THAT(ids({.dequeued_after = at(1100)}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.dequeued_before = at(1099)}), ElementsAre());
    EXPECT_THAT(ids({.was_forked_from = true}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.has_parent = false}), ElementsAre("b-2", "b-3"));
    EXPECT_THAT(ids({.schedule_name = "nightly"}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.application_name = "store"}), ElementsAre("b-2", "b-3"));
    EXPECT_THAT(ids({.is_fork = true}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.class_name = "C"}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.instance_name = "main"}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.deduplication_id = "d"}), ElementsAre("a-1"));
    EXPECT_THAT(ids({.is_debounced = true}), ElementsAre());
    const ListQueuedWorkflowsOptions searched = {.attributes = dbos::Object{{"k", 1}}};
    if (postgres()) {
        EXPECT_THAT(ids(searched), ElementsAre());
    } else {
        EXPECT_THROW(ids(searched), dbos::UsageError);
    }
    EXPECT_TRUE(client().list_queued_workflows({.limit = 1}).at(0).input);
    EXPECT_FALSE(
        client().list_queued_workflows({.limit = 1, .load_input = false, .load_output = false}).at(0).input);
}

TEST_P(ClientSurface, applied_schedules_have_every_field) {
    client().apply_schedules({{.schedule_name = "s",
                               .workflow_name = "f",
                               .schedule = "@hourly",
                               .context = 5,
                               .workflow_class_name = "C",
                               .automatic_backfill = true}});
    const auto applied = client().get_schedule("s");
    EXPECT_EQ(applied->workflow_name, "f");
    EXPECT_EQ(applied->schedule, "@hourly");
    EXPECT_EQ(applied->context.as_int(), 5);
    EXPECT_EQ(applied->workflow_class_name, "C");
    EXPECT_TRUE(applied->automatic_backfill);
}

TEST_P(ClientSurface, every_twin_gives_what_its_method_gives) {
    for (const char* id : {"a", "b"}) insert_workflow(id, "ENQUEUED", {{"queue_name", "q"}});
    EXPECT_EQ(client().list_workflows_async({.workflow_id_prefix = "a"}).get().at(0).workflow_id, "a");
    EXPECT_EQ(client().retrieve_workflow("a").get_status_async().get().status, dbos::Status::enqueued);
    client().cancel_workflows_async({"a", "b", "unknown"}).get();
    EXPECT_EQ(client().list_workflows({.status = dbos::Status::cancelled}).size(), 2u);

    for (int i = 1; i <= 2; ++i)
        insert("application_versions", {{"version_id", "id" + std::to_string(i)},
                                        {"version_name", "v" + std::to_string(i)},
                                        {"version_timestamp", i},
                                        {"created_at", i}});
    EXPECT_EQ(client().list_versions_async().get().size(), 2u);
    EXPECT_EQ(client().list_application_versions().at(0).version_name, "v2");
    EXPECT_EQ(client().get_latest_application_version_async().get().version_name, "v2");
    client().set_latest_application_version_async("v1").get();
    EXPECT_EQ(client().get_latest_application_version_async().get().version_name, "v1");
    client().set_latest_application_version("v2", "shop");
    EXPECT_EQ(client().get_latest_version().version_name, "v2");
    EXPECT_EQ(client().get_latest_version().application_name, "shop");
}

TEST_P(ClientSurface, aggregates_of_steps_take_every_filter) {
    insert_workflow("w-1", "SUCCESS", {{"application_name", "shop"}});
    insert_workflow("v-2", "SUCCESS");
    const auto step = [&](const char* id, int number, int completed, const dbos::test::Cells& more) {
        dbos::test::Cells cells = {{"workflow_uuid", id},
                                   {"function_id", number},
                                   {"function_name", "step" + std::to_string(number)},
                                   {"started_at_epoch_ms", completed - 1},
                                   {"completed_at_epoch_ms", completed}};
        cells.insert(cells.end(), more.begin(), more.end());
        insert("operation_outputs", cells);
    };
    step("w-1", 1, 1000, {{"application_name", "shop"}});
    step("w-1", 2, 2000, {{"error", "{}"}, {"application_name", "shop"}});
    step("v-2", 1, 3000, {});
    const auto counted = [&](dbos::StepAggregatesOptions options) {
        options.group_by_function_name = true;
        std::int64_t count = 0;
        for (const auto& group : client().get_step_aggregates(options)) count += *group.count;
        return count;
    };
    const auto at = [](int ms) {
        return dbos::Instant(std::chrono::system_clock::time_point(std::chrono::milliseconds(ms)));
    };
    EXPECT_EQ(counted({}), 3);
    EXPECT_EQ(counted({.status = "ERROR"}), 1);
    EXPECT_EQ(counted({.function_name = "step1"}), 2);
    EXPECT_EQ(counted({.workflow_id_prefix = "w-"}), 2);
    EXPECT_EQ(counted({.completed_after = at(2000)}), 2);
    EXPECT_EQ(counted({.completed_before = at(2000)}), 2);
    EXPECT_EQ(counted({.application_name = "store"}), 1);  // rows without an owner match
}

TEST_P(ClientSurface, a_debouncer_by_contract_takes_workflow_options) {
    static constexpr auto kProcess = dbos::workflow<int(std::string)>("process");
    dbos::Debouncer debouncer(
        client(), kProcess,
        {.queue = "q", .workflow_options = {.app_version = "v7", .workflow_timeout = 5s}});
    const auto row = debouncer.debounce("k", 60s, "a").get_status();
    EXPECT_EQ(row.app_version, "v7");
    EXPECT_EQ(row.workflow_timeout_ms, 5000);
}

TEST_P(ClientSurface, records_go_to_the_log_sink) {
    std::atomic<int> records = 0;
    auto options = client_options();
    options.log_sink = [&](const dbos::LogRecord&) { ++records; };
    insert_ended("w", "SUCCESS", "no json");
    const auto talking = make_client(std::move(options));
    EXPECT_EQ(talking->list_workflows().at(0).output, dbos::Value("no json"));
    EXPECT_TRUE(dbos::test::eventually([&] { return records > 0; }));
}

TEST_P(ClientSurface, callbacks_run_on_the_executor) {
    std::mutex mutex;
    std::vector<std::function<void()>> tasks;
    auto options = client_options();
    options.executor = [&](std::function<void()> task) {
        const std::lock_guard lock(mutex);
        tasks.push_back(std::move(task));
    };
    const auto other = make_client(std::move(options));
    std::thread::id where;
    auto counted = other->list_workflows_async().then([&](const std::vector<dbos::WorkflowStatus>& rows) {
        where = std::this_thread::get_id();
        return rows.size();
    });
    const auto run = [&] {
        const std::lock_guard lock(mutex);
        for (const auto& task : std::exchange(tasks, {})) task();
        return counted.ready();
    };
    EXPECT_TRUE(dbos::test::eventually(run));
    EXPECT_EQ(counted.get(), 0u);
    EXPECT_EQ(where, std::this_thread::get_id());
}

}  // namespace
