#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "support/client_rows.hpp"
#include "sysdb/listing.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::ListWorkflowsOptions;
using dbos::Status;
using dbos::WorkflowStatus;
using testing::ElementsAre;

class ClientListing : public dbos::test::ClientTest {
   public:
    std::vector<std::string> ids(const ListWorkflowsOptions& options) {
        std::vector<std::string> found;
        for (const WorkflowStatus& row : client().list_workflows(options)) found.push_back(row.workflow_id);
        return found;
    }
};
DBOS_FOR_EVERY_DATABASE(ClientListing);

/// A row as the oracle sees it.
struct Row {
    std::string id = {};
    std::string status = "SUCCESS";
    std::string name = "work";
    std::optional<std::string> app_version = {};
    std::optional<std::string> forked_from = {};
    std::optional<std::string> parent = {};
    std::optional<std::string> user = {};
    std::optional<std::string> queue = {};
    std::optional<std::string> executor = {};
    std::optional<std::string> schedule = {};
    std::optional<std::string> application = {};
    std::int64_t created = 1000;
    std::optional<std::int64_t> completed = {};
    std::optional<std::int64_t> started = {};
    bool was_forked = false;
};

const std::vector<Row>& rows() {
    static const std::vector<Row> all = {
        {.id = "a-1",
         .status = "ENQUEUED",
         .app_version = "v1",
         .queue = "q1",
         .application = "shop",
         .created = 1000},
        {.id = "a-2",
         .status = "PENDING",
         .name = "other",
         .user = "ann",
         .queue = "q1",
         .executor = "e1",
         .created = 2000,
         .started = 2100},
        {.id = "a%3",
         .status = "SUCCESS",
         .app_version = "v2",
         .parent = "a-1",
         .user = "",
         .executor = "",
         .created = 2000,
         .completed = 2500,
         .started = 2200},
        {.id = "A-4",
         .status = "ERROR",
         .forked_from = "a%3",
         .queue = "q2",
         .schedule = "nightly",
         .application = "office",
         .created = 3000,
         .completed = 4000},
        {.id = "b_5",
         .status = "CANCELLED",
         .name = "other",
         .parent = "",
         .application = "",
         .created = 4000,
         .completed = 4000,
         .was_forked = true},
        {.id = "b_6", .status = "DELAYED", .queue = "q2", .application = "shop", .created = 5000},
        {.id = "bx7",
         .status = "MAX_RECOVERY_ATTEMPTS_EXCEEDED",
         .app_version = "",
         .schedule = "",
         .created = 6000},
    };
    return all;
}

dbos::test::Cell cell(const std::optional<std::string>& text) {
    return text ? dbos::test::Cell(*text) : dbos::test::Cell(nullptr);
}
dbos::test::Cell cell(const std::optional<std::int64_t>& number) {
    return number ? dbos::test::Cell(*number) : dbos::test::Cell(nullptr);
}

bool among(const std::vector<std::string>& wanted, const std::optional<std::string>& value) {
    return std::any_of(wanted.begin(), wanted.end(),
                       [&](const std::string& text) { return value.value_or("") == text; });
}

dbos::Instant at(std::int64_t epoch_ms) {
    return std::chrono::system_clock::time_point(std::chrono::milliseconds(epoch_ms));
}

TEST_P(ClientListing, every_filter_agrees_with_its_definition) {
    for (const Row& row : rows()) {
        insert_workflow(row.id, row.status,
                        {{"name", row.name},
                         {"application_version", cell(row.app_version)},
                         {"forked_from", cell(row.forked_from)},
                         {"parent_workflow_id", cell(row.parent)},
                         {"authenticated_user", cell(row.user)},
                         {"queue_name", cell(row.queue)},
                         {"executor_id", cell(row.executor)},
                         {"schedule_name", cell(row.schedule)},
                         {"application_name", cell(row.application)},
                         {"created_at", row.created},
                         {"completed_at", cell(row.completed)},
                         {"started_at_epoch_ms", cell(row.started)},
                         {"was_forked_from", row.was_forked}});
    }
    struct Case {
        const char* what;
        ListWorkflowsOptions options;
        std::function<bool(const Row&)> matches;
    };
    using Strings = std::vector<std::string>;
    const std::vector<Case> cases = {
        {"no filter", {}, [](const Row&) { return true; }},
        {"ids",
         {.workflow_ids = {"a-1", "bx7", "none"}},
         [](const Row& r) { return r.id == "a-1" || r.id == "bx7"; }},
        {"no ids", {.workflow_ids = Strings{}}, [](const Row&) { return false; }},
        {"status", {.status = Status::error}, [](const Row& r) { return r.status == "ERROR"; }},
        {"statuses",
         {.status = {Status::error, Status::delayed}},
         [](const Row& r) { return r.status == "ERROR" || r.status == "DELAYED"; }},
        {"no status", {.status = Strings{}}, [](const Row&) { return false; }},
        {"from", {.start_time = at(2000)}, [](const Row& r) { return r.created >= 2000; }},
        {"to", {.end_time = at(2000)}, [](const Row& r) { return r.created <= 2000; }},
        {"from to text",
         {.start_time = "1970-01-01T00:00:02Z", .end_time = "1970-01-01T00:00:04.000Z"},
         [](const Row& r) { return r.created >= 2000 && r.created <= 4000; }},
        {"name", {.name = "other"}, [](const Row& r) { return r.name == "other"; }},
        {"names", {.name = {"other", "work"}}, [](const Row&) { return true; }},
        {"version", {.app_version = "v1"}, [](const Row& r) { return r.app_version == "v1"; }},
        {"no version", {.app_version = ""}, [](const Row& r) { return among({""}, r.app_version); }},
        {"version or none",
         {.app_version = {"v1", ""}},
         [](const Row& r) { return among({"v1", ""}, r.app_version); }},
        {"forked from", {.forked_from = "a%3"}, [](const Row& r) { return r.forked_from == "a%3"; }},
        {"parent", {.parent_workflow_id = {"a-1"}}, [](const Row& r) { return r.parent == "a-1"; }},
        {"user", {.user = "ann"}, [](const Row& r) { return r.user == "ann"; }},
        {"empty user", {.user = ""}, [](const Row& r) { return among({""}, r.user); }},
        {"no user given", {.user = std::optional<std::string>()}, [](const Row&) { return true; }},
        {"queue", {.queue_name = {"q1", "q2"}}, [](const Row& r) { return among({"q1", "q2"}, r.queue); }},
        {"prefix", {.workflow_id_prefix = "a"}, [](const Row& r) { return r.id.starts_with("a"); }},
        {"prefix percent", {.workflow_id_prefix = "a%"}, [](const Row& r) { return r.id.starts_with("a%"); }},
        {"prefix underscore",
         {.workflow_id_prefix = "b_"},
         [](const Row& r) { return r.id.starts_with("b_"); }},
        {"prefixes",
         {.workflow_id_prefix = {"A", "bx"}},
         [](const Row& r) { return r.id.starts_with("A") || r.id.starts_with("bx"); }},
        {"empty prefix", {.workflow_id_prefix = ""}, [](const Row&) { return false; }},
        {"no prefixes", {.workflow_id_prefix = Strings{}}, [](const Row&) { return false; }},
        {"executor", {.executor_id = "e1"}, [](const Row& r) { return r.executor == "e1"; }},
        {"no executor", {.executor_id = ""}, [](const Row& r) { return among({""}, r.executor); }},
        {"queues only",
         {.queues_only = true},
         [](const Row& r) { return r.queue && among({"DELAYED", "ENQUEUED", "PENDING"}, r.status); }},
        {"queues only with status",
         {.status = {"ERROR", "DELAYED"}, .queues_only = true},
         [](const Row& r) { return r.queue && r.status == "DELAYED"; }},
        {"completed after", {.completed_after = at(4000)}, [](const Row& r) { return r.completed >= 4000; }},
        {"completed before",
         {.completed_before = at(2500)},
         [](const Row& r) { return r.completed && *r.completed <= 2500; }},
        {"dequeued after", {.dequeued_after = at(2200)}, [](const Row& r) { return r.started >= 2200; }},
        {"dequeued before",
         {.dequeued_before = at(2100)},
         [](const Row& r) { return r.started && *r.started <= 2100; }},
        {"was forked", {.was_forked_from = true}, [](const Row& r) { return r.was_forked; }},
        {"was not forked", {.was_forked_from = false}, [](const Row& r) { return !r.was_forked; }},
        {"has parent", {.has_parent = true}, [](const Row& r) { return r.parent.has_value(); }},
        {"has no parent", {.has_parent = false}, [](const Row& r) { return !r.parent; }},
        {"schedule", {.schedule_name = "nightly"}, [](const Row& r) { return r.schedule == "nightly"; }},
        {"no schedule", {.schedule_name = ""}, [](const Row& r) { return among({""}, r.schedule); }},
        {"application",
         {.application_name = "shop"},
         [](const Row& r) { return !r.application || r.application == "shop"; }},
        {"two applications",
         {.application_name = {"shop", "office"}},
         [](const Row& r) { return !r.application || among({"shop", "office"}, r.application); }},
        {"all at once",
         {.status = {"ENQUEUED", "DELAYED"},
          .start_time = at(0),
          .name = "work",
          .queue_name = {"q1", "q2"},
          .workflow_id_prefix = {"a", "b"},
          .has_parent = false,
          .application_name = "shop"},
         [](const Row& r) { return r.id == "a-1" || r.id == "b_6"; }},
    };
    for (const Case& test : cases) {
        std::vector<const Row*> expected;
        for (const Row& row : rows()) {
            if (test.matches(row)) expected.push_back(&row);
        }
        const auto before = [](const Row* a, const Row* b) {
            return std::pair(a->created, a->id) < std::pair(b->created, b->id);
        };
        std::sort(expected.begin(), expected.end(), before);
        std::vector<std::string> names;
        for (const Row* row : expected) names.push_back(row->id);
        std::vector<std::string> found = ids(test.options);
        // Rows of one instant: by id, in the order of the database's collation.
        const auto order = [&](std::vector<std::string>& list) { std::sort(list.begin(), list.end()); };
        std::vector<std::string> sorted_found = found;
        order(sorted_found);
        order(names);
        EXPECT_EQ(sorted_found, names) << test.what;
    }
}

TEST_P(ClientListing, orders_limits_and_pages) {
    for (int i = 0; i < 7; ++i) {
        insert_workflow("w" + std::to_string(i), "SUCCESS", {{"created_at", 1000 + (i / 2) * 10}});
    }
    EXPECT_THAT(ids({}), ElementsAre("w0", "w1", "w2", "w3", "w4", "w5", "w6"));
    EXPECT_THAT(ids({.sort_desc = true}), ElementsAre("w6", "w5", "w4", "w3", "w2", "w1", "w0"));
    EXPECT_THAT(ids({.limit = 2}), ElementsAre("w0", "w1"));
    EXPECT_THAT(ids({.limit = 2, .offset = 3}), ElementsAre("w3", "w4"));
    EXPECT_THAT(ids({.offset = 5}), ElementsAre("w5", "w6"));
    EXPECT_THAT(ids({.limit = 2, .offset = 1, .sort_desc = true}), ElementsAre("w5", "w4"));
    EXPECT_THAT(ids({.limit = 0}), ElementsAre());
    EXPECT_THROW(client().list_workflows({.limit = -1}), dbos::UsageError);
}

TEST_P(ClientListing, a_named_client_sees_its_own_and_unclaimed_rows) {
    insert_workflow("mine", "SUCCESS", {{"application_name", "shop"}, {"created_at", 1}});
    insert_workflow("nobody", "SUCCESS", {{"created_at", 2}});
    insert_workflow("theirs", "SUCCESS", {{"application_name", "office"}, {"created_at", 3}});
    auto options = client_options();
    options.application_name = "shop";
    const auto named = make_client(std::move(options));
    const auto listed = [&](const ListWorkflowsOptions& list) {
        std::vector<std::string> found;
        for (const WorkflowStatus& row : named->list_workflows(list)) found.push_back(row.workflow_id);
        return found;
    };
    EXPECT_THAT(listed({}), ElementsAre("mine", "nobody"));
    EXPECT_THAT(listed({.application_name = "office"}), ElementsAre("nobody", "theirs"));
    EXPECT_THAT(listed({.workflow_ids = {"theirs"}}), ElementsAre("theirs"));
    EXPECT_EQ(named->retrieve_workflow("theirs").get_status().application_name, "office");
    EXPECT_THAT(ids({}), ElementsAre("mine", "nobody", "theirs"));
}

TEST_P(ClientListing, shows_every_column) {
    insert_workflow("w1", "PENDING",
                    {{"name", "checkout"},
                     {"class_name", "Shop"},
                     {"config_name", "main"},
                     {"authenticated_user", "ann"},
                     {"assumed_role", "admin"},
                     {"authenticated_roles", R"(["admin", "user"])"},
                     {"serialization", "portable_json"},
                     {"created_at", 11},
                     {"updated_at", 12},
                     {"queue_name", "q"},
                     {"executor_id", "e"},
                     {"application_version", "v"},
                     {"application_id", "app"},
                     {"workflow_timeout_ms", 13},
                     {"workflow_deadline_epoch_ms", 14},
                     {"deduplication_id", "d"},
                     {"priority", 15},
                     {"queue_partition_key", "p"},
                     {"forked_from", "f"},
                     {"was_forked_from", true},
                     {"parent_workflow_id", "parent"},
                     {"started_at_epoch_ms", 16},
                     {"delay_until_epoch_ms", 17},
                     {"completed_at", 18},
                     {"attributes", R"({"k": [1, "two"]})"},
                     {"schedule_name", "s"},
                     {"application_name", "shop"},
                     {"recovery_attempts", 19}});
    insert("workflow_input",
           {{"workflow_uuid", "w1"}, {"inputs", R"({"positionalArgs":[1,"a"],"namedArgs":{"n":2}})"}});
    insert(
        "workflow_output",
        {{"workflow_uuid", "w1"}, {"output", "[1]"}, {"error", R"({"name":"ValueError","message":"bad"})"}});
    const WorkflowStatus row = client().list_workflows().at(0);
    EXPECT_EQ(row.workflow_id, "w1");
    EXPECT_EQ(row.status, Status::pending);
    EXPECT_EQ(row.name, "checkout");
    EXPECT_EQ(row.class_name, "Shop");
    EXPECT_EQ(row.config_name, "main");
    EXPECT_EQ(row.authenticated_user, "ann");
    EXPECT_EQ(row.assumed_role, "admin");
    EXPECT_THAT(row.authenticated_roles, ElementsAre("admin", "user"));
    ASSERT_TRUE(row.input);
    EXPECT_EQ(row.input->positional, (std::vector<dbos::Value>{1, "a"}));
    ASSERT_EQ(row.input->named.size(), 1U);
    EXPECT_EQ(row.input->named[0].first, "n");
    EXPECT_EQ(row.output, dbos::Value(dbos::Array{1}));
    ASSERT_TRUE(row.error);
    EXPECT_EQ(row.error->type_name, "ValueError");
    EXPECT_EQ(row.error->message, "bad");
    EXPECT_EQ(row.created_at, 11);
    EXPECT_EQ(row.updated_at, 12);
    EXPECT_EQ(row.queue_name, "q");
    EXPECT_EQ(row.executor_id, "e");
    EXPECT_EQ(row.app_version, "v");
    EXPECT_EQ(row.app_id, "app");
    EXPECT_EQ(row.workflow_timeout_ms, 13);
    EXPECT_EQ(row.workflow_deadline_epoch_ms, 14);
    EXPECT_EQ(row.deduplication_id, "d");
    EXPECT_EQ(row.priority, 15);
    EXPECT_EQ(row.queue_partition_key, "p");
    EXPECT_EQ(row.forked_from, "f");
    EXPECT_TRUE(row.was_forked_from);
    EXPECT_EQ(row.parent_workflow_id, "parent");
    EXPECT_EQ(row.dequeued_at, 16);
    EXPECT_EQ(row.delay_until_epoch_ms, 17);
    EXPECT_EQ(row.completed_at, 18);
    ASSERT_TRUE(row.attributes);
    EXPECT_EQ(row.attributes->at("k").at(1).as_string(), "two");
    EXPECT_EQ(row.schedule_name, "s");
    EXPECT_EQ(row.application_name, "shop");
    EXPECT_EQ(row.recovery_attempts, 19);
    EXPECT_EQ(row.serialization, "portable_json");

    const WorkflowStatus bare = client().list_workflows({.load_input = false, .load_output = false}).at(0);
    EXPECT_FALSE(bare.input || bare.output || bare.error);
    const WorkflowStatus output = client().list_workflows({.load_input = false}).at(0);
    EXPECT_TRUE(!output.input && output.output && output.error);
    EXPECT_EQ(client().retrieve_workflow("w1").get_status().input->positional.size(), 2U);
    EXPECT_EQ(client().retrieve_workflow("w1").get_status_async().get().name, "checkout");
}

TEST_P(ClientListing, treats_empty_texts_of_other_sdks_as_absent) {
    insert_workflow("ts", "ENQUEUED",
                    {{"authenticated_user", ""},
                     {"assumed_role", ""},
                     {"authenticated_roles", "null"},
                     {"executor_id", ""},
                     {"application_id", ""},
                     {"class_name", ""},
                     {"attributes", "null"},
                     {"queue_name", "q"}});
    const WorkflowStatus row = client().list_workflows().at(0);
    EXPECT_FALSE(row.authenticated_user || row.assumed_role || row.executor_id || row.app_id ||
                 row.class_name);
    EXPECT_TRUE(row.authenticated_roles.empty());
    EXPECT_FALSE(row.attributes);
}

TEST_P(ClientListing, reads_payloads_of_older_writers) {
    // An SDK older than the payload tables on a newer database writes the legacy columns.
    insert_workflow("old", "SUCCESS",
                    {{"serialization", "portable_json"},
                     {"inputs", R"({"positionalArgs":[7]})"},
                     {"output", "\"done\""}});
    const WorkflowStatus row = client().list_workflows().at(0);
    EXPECT_EQ(row.input->positional, std::vector<dbos::Value>{7});
    EXPECT_EQ(row.output, dbos::Value("done"));
    EXPECT_EQ(client().retrieve_workflow<std::string>("old").get_result(), "done");
}

TEST_P(ClientListing, shows_what_cannot_be_decoded_as_text_with_one_warning) {
    for (int i = 0; i < 3; ++i) {
        const std::string id = "w" + std::to_string(i);
        insert_workflow(id, "SUCCESS", {{"serialization", "some_other_format"}, {"created_at", i}});
        insert("workflow_input", {{"workflow_uuid", id}, {"inputs", "<in>"}});
        insert("workflow_output", {{"workflow_uuid", id}, {"output", "<out>"}});
    }
    insert_workflow("broken", "ERROR", {{"serialization", "portable_json"}, {"created_at", 9}});
    insert("workflow_output", {{"workflow_uuid", "broken"}, {"output", "{"}, {"error", "not json"}});
    const auto all = client().list_workflows();
    ASSERT_EQ(all.size(), 4U);
    EXPECT_EQ(all[0].raw_input, "<in>");
    EXPECT_FALSE(all[0].input);
    EXPECT_EQ(all[0].output, dbos::Value("<out>"));
    EXPECT_EQ(all[3].output, dbos::Value("{"));
    ASSERT_TRUE(all[3].error);
    EXPECT_EQ(all[3].error->raw, "not json");
    EXPECT_EQ(log.count("cannot be decoded"), 1U);
    EXPECT_EQ(log.count("workflow_id=w0"), 1U);
}

TEST_P(ClientListing, queued_workflows_wait_in_queues_or_run_from_them) {
    insert_workflow("direct", "PENDING", {{"created_at", 1}});
    insert_workflow("delayed", "DELAYED", {{"queue_name", "q"}, {"created_at", 2}});
    insert_workflow("waiting", "ENQUEUED", {{"queue_name", "q"}, {"created_at", 3}});
    insert_workflow("running", "PENDING", {{"queue_name", "r"}, {"created_at", 4}});
    insert_workflow("done", "SUCCESS", {{"queue_name", "q"}, {"created_at", 5}});
    const auto listed = [&](const dbos::ListQueuedWorkflowsOptions& options) {
        std::vector<std::string> found;
        for (const WorkflowStatus& row : client().list_queued_workflows(options))
            found.push_back(row.workflow_id);
        return found;
    };
    EXPECT_THAT(listed({}), ElementsAre("delayed", "waiting", "running"));
    EXPECT_THAT(listed({.queue_name = "q"}), ElementsAre("delayed", "waiting"));
    EXPECT_THAT(listed({.status = Status::pending}), ElementsAre("running"));
    EXPECT_EQ(client().list_queued_workflows_async().get().size(), 3U);
}

TEST_P(ClientListing, attributes_are_searched_on_postgres) {
    insert_workflow("a", "SUCCESS", {{"attributes", R"({"customer": "c1", "size": 1})"}});
    insert_workflow("b", "SUCCESS", {{"attributes", R"({"customer": "c2"})"}});
    insert_workflow("c", "SUCCESS");
    const ListWorkflowsOptions options = {.attributes = dbos::Object{{"customer", "c1"}}};
    if (postgres()) {
        EXPECT_THAT(ids(options), ElementsAre("a"));
    } else {
        EXPECT_THROW(client().list_workflows(options), dbos::UsageError);
    }
    EXPECT_EQ(ids({.attributes = dbos::Any(dbos::Object{})}).size(), 3U);
}

TEST_P(ClientListing, steps_in_order_with_their_own_formats) {
    insert_workflow("w", "SUCCESS");
    const auto step = [&](int number, const dbos::test::Cells& more) {
        dbos::test::Cells cells = {{"workflow_uuid", "w"}, {"function_id", number}};
        cells.insert(cells.end(), more.begin(), more.end());
        insert("operation_outputs", cells);
    };
    step(2, {{"function_name", "fail"},
             {"error", R"({"name":"ValueError","message":"bad"})"},
             {"serialization", "portable_json"}});
    step(1, {{"function_name", "charge"},
             {"output", "[1]"},
             {"serialization", "portable_json"},
             {"started_at_epoch_ms", 10},
             {"completed_at_epoch_ms", 20}});
    step(3, {{"function_name", "child"}, {"child_workflow_id", "w-3"}});
    step(4, {{"function_name", "foreign"}, {"output", "<raw>"}, {"serialization", "some_other_format"}});
    const auto steps = client().list_workflow_steps("w");
    ASSERT_EQ(steps.size(), 4U);
    EXPECT_EQ(steps[0].function_id, 1);
    EXPECT_EQ(steps[0].function_name, "charge");
    EXPECT_EQ(steps[0].output, dbos::Value(dbos::Array{1}));
    EXPECT_EQ(steps[0].started_at_epoch_ms, 10);
    EXPECT_EQ(steps[0].completed_at_epoch_ms, 20);
    EXPECT_EQ(steps[1].error->type_name, "ValueError");
    EXPECT_EQ(steps[2].child_workflow_id, "w-3");
    EXPECT_FALSE(steps[2].output || steps[2].error || steps[2].completed_at_epoch_ms);
    EXPECT_EQ(steps[3].output, dbos::Value("<raw>"));
    EXPECT_TRUE(client().list_workflow_steps("unknown").empty());
    EXPECT_EQ(client().list_workflow_steps("w", {.limit = 2, .offset = 1}).at(1).function_id, 3);
    EXPECT_EQ(client().list_workflow_steps("w", {.offset = 3}).size(), 1U);
    EXPECT_TRUE(client().list_workflow_steps("w", {.limit = 0}).empty());
    EXPECT_FALSE(client().list_workflow_steps("w", {.load_output = false}).at(0).output);
    EXPECT_EQ(client().list_workflow_steps_async("w").get().size(), 4U);
}

TEST_P(ClientListing, an_old_layout_is_read_and_its_upgrade_noticed) {
    // Before the payload split (version 108 and older): the payloads stand in workflow_status.
    execute("DROP TABLE @workflow_input");
    execute("DROP TABLE @workflow_output");
    execute("UPDATE @dbos_migrations SET version = 108");
    insert_workflow(
        "w", "SUCCESS",
        {{"serialization", "portable_json"}, {"inputs", R"({"positionalArgs":[1]})"}, {"output", "5"}});
    EXPECT_EQ(client().list_workflows().at(0).input->positional, std::vector<dbos::Value>{1});
    EXPECT_EQ(client().retrieve_workflow<int>("w").get_result(), 5);
    // An application upgrades the database under the living client: results must not become null.
    execute("CREATE TABLE @workflow_input (workflow_uuid TEXT PRIMARY KEY, inputs TEXT)");
    execute("CREATE TABLE @workflow_output (workflow_uuid TEXT PRIMARY KEY, output TEXT, error TEXT)");
    execute("UPDATE @dbos_migrations SET version = 125");
    insert_workflow("new", "SUCCESS", {{"serialization", "portable_json"}});
    insert("workflow_output", {{"workflow_uuid", "new"}, {"output", "6"}});
    EXPECT_EQ(client().retrieve_workflow<int>("new").get_result(), 6);
    EXPECT_EQ(client().list_workflows({.workflow_ids = {"new"}}).at(0).output, dbos::Value(6));
    EXPECT_EQ(client().retrieve_workflow<int>("w").get_result(), 5);
}

TEST_P(ClientListing, a_slow_listing_ends_with_query_timeout) {
    if (!postgres()) GTEST_SKIP() << "PostgreSQL's statement_timeout";
    insert_workflow("w", "SUCCESS");
    auto options = client_options();
    options.observability_query_timeout = 100ms;
    const auto limited = make_client(std::move(options));
    auto other = open();
    other->begin();
    other->query("LOCK TABLE @workflow_status IN ACCESS EXCLUSIVE MODE", {}, dbos::sql::Access::write);
    EXPECT_THROW(limited->list_workflows(), dbos::QueryTimeout);
    other->rollback();
    EXPECT_EQ(limited->list_workflows().size(), 1U);
}

}  // namespace
