// Managing calls whose acknowledgement is lost, that wait for a lock, or that meet a database of another layout.
#include <gmock/gmock.h>

#include "support/managed.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::test::error_of;
using dbos::test::Fault;
using dbos::test::Faults;
using testing::AllOf;
using testing::HasSubstr;

class ManageFaults : public dbos::test::ManageTest {
   public:
    /// The next commits of client `c` meet these.
    dbos::Client& with(std::vector<Fault> list) {
        if (!client_) client_ = faulty_client(faults);
        faults->next(std::move(list));
        return *client_;
    }
    void TearDown() override {
        client_.reset();
        ManageTest::TearDown();
    }
    std::shared_ptr<Faults> faults = std::make_shared<Faults>();

   private:
    std::unique_ptr<dbos::Client> client_;
};
DBOS_FOR_EVERY_DATABASE(ManageFaults);

TEST_P(ManageFaults, calls_that_may_be_repeated_are) {
    for (const Fault fault : {Fault::refuse, Fault::lose_ack, Fault::drop}) {
        execute(
            "DELETE FROM @workflow_status; DELETE FROM @workflow_input; DELETE FROM @workflow_output; DELETE "
            "FROM "
            "@operation_outputs");
        insert_workflow("w", "DELAYED", {{"queue_name", "q"}});
        with({fault}).set_workflow_priority("w", 4);
        with({fault}).set_workflow_delay("w", dbos::Instant("2031-01-01T00:00:00Z"));
        with({fault}).update_workflow_attributes("w", dbos::Value(dbos::Object{{"a", 1}}));
        EXPECT_EQ(row("w", "priority, delay_until_epoch_ms"), "4|1924992000000");
        EXPECT_NE(row("w", "attributes"), "-");
        with({fault, fault}).cancel_workflow("w");
        EXPECT_EQ(row("w", "status"), "CANCELLED");
        with({fault}).resume_workflow("w");
        EXPECT_EQ(row("w", "status"), "ENQUEUED");
        with({fault}).delete_workflow("w");
        EXPECT_EQ(row("w", "status"), "no row");
    }
}

TEST_P(ManageFaults, a_repeated_resume_does_not_take_a_row_from_who_has_claimed_it_since) {
    insert_workflow("w", "CANCELLED", {{"owner_xid", "before"}});
    faults->meanwhile([&] {
        execute(
            "UPDATE @workflow_status SET status = 'PENDING', owner_xid = 'claimed' WHERE workflow_uuid = "
            "'w'");
    });
    with({Fault::lose_ack}).resume_workflow("w");
    EXPECT_EQ(row("w", "status, owner_xid"), "PENDING|claimed");
    // Nobody has: the owner is the one of before, so the first attempt was not committed.
    execute("UPDATE @workflow_status SET status = 'PENDING', owner_xid = 'before'");
    with({Fault::drop}).resume_workflow("w");
    EXPECT_EQ(row("w", "status, owner_xid"), "ENQUEUED|-");
}

TEST_P(ManageFaults, a_fork_whose_acknowledgement_was_lost_is_recognised) {
    insert_history("w");
    for (const Fault fault : {Fault::lose_ack, Fault::drop, Fault::refuse}) {
        const auto fork = with({fault}).fork_workflow("w", 2);
        EXPECT_EQ(contents(fork.workflow_id()), "0,1 / e=1,once=x / 0,1");
    }
    EXPECT_EQ(count("workflow_status"), "4");
    with({Fault::lose_ack}).fork_workflow("w", 2, {.new_workflow_id = "f"});
    EXPECT_THROW(with({Fault::drop}).fork_workflow("w", 2, {.new_workflow_id = "f"}), dbos::WorkflowIdInUse);
}

TEST_P(ManageFaults, calls_that_must_not_be_repeated_say_so) {
    insert_history("w");
    insert("application_versions", {{"version_id", "i"},
                                    {"version_name", "v1"},
                                    {"version_timestamp", 5},
                                    {"application_name", "shop"}});
    const auto unknown = [&](Fault fault, const char* call, const std::function<void(dbos::Client&)>& run) {
        const std::string text = error_of<dbos::OutcomeUnknown>([&] { run(with({fault})); });
        EXPECT_THAT(text, HasSubstr(call));
        return text;
    };
    EXPECT_THAT(unknown(Fault::lose_ack, "rewind_workflow",
                        [](dbos::Client& client) { client.rewind_workflow("w", 2); }),
                HasSubstr("\"w\""));
    EXPECT_EQ(row("w", "status"), "ENQUEUED");
    const dbos::Value tags = dbos::Object{{"a", 1}};
    unknown(Fault::drop, "update_workflow_attributes",
            [&](dbos::Client& client) { client.update_workflow_attributes("w", tags, {.merge = true}); });
    unknown(Fault::lose_ack, "set_latest_version",
            [](dbos::Client& client) { client.set_latest_version("v1"); });
    EXPECT_NE(query_text("SELECT version_timestamp FROM @application_versions"), "5");
    unknown(Fault::drop, "rename_application",
            [](dbos::Client& client) { client.rename_application("shop", "store"); });
    EXPECT_EQ(query_text("SELECT application_name FROM @application_versions"), "shop");
    try {
        with({}).rewind_workflow_async("w").get();
        FAIL() << "it has not ended";
    } catch (const dbos::UsageError&) {
    }
    execute("UPDATE @workflow_status SET status = 'ERROR'");
    try {
        with({Fault::none, Fault::lose_ack}).set_latest_version("v1");
        with({}).rewind_workflow("w");
        FAIL() << "the acknowledgement was lost";
    } catch (const dbos::DatabaseError& error) {
        EXPECT_TRUE(error.outcome_unknown());
        EXPECT_FALSE(error.transient());
        EXPECT_EQ(error.workflow_id(), "w");
    }
    // A refusal before the commit is known: it is repeated.
    execute("UPDATE @workflow_status SET status = 'ERROR'");
    with({Fault::refuse}).rewind_workflow("w");
    EXPECT_EQ(row("w", "status"), "ENQUEUED");
}

TEST_P(ManageFaults, without_retries_the_first_failure_is_thrown) {
    insert_workflow("w", "PENDING");
    auto client = faulty_client(faults, false);
    faults->next({Fault::refuse});
    EXPECT_THROW(client->cancel_workflow("w"), dbos::DatabaseError);
    EXPECT_EQ(row("w", "status"), "PENDING");
    insert_workflow("c", "PENDING", {{"parent_workflow_id", "w"}});
    faults->next({Fault::none, Fault::refuse});
    EXPECT_THAT(
        error_of<dbos::DatabaseError>([&] { client->cancel_workflow("w", {.cancel_children = true}); }),
        HasSubstr("cancelled already: the workflows asked for"));
    EXPECT_EQ(row("w", "status"), "CANCELLED");
    EXPECT_EQ(row("c", "status"), "PENDING");
    client->cancel_workflow("w", {.cancel_children = true});
    EXPECT_EQ(row("c", "status"), "CANCELLED");
}

TEST_P(ManageFaults, a_call_that_waits_for_a_lock_says_who_holds_it) {
    if (!postgres()) GTEST_SKIP() << "SQLite does not tell who holds its lock";
    insert_workflow("w", "PENDING");
    const auto holder = open();
    const std::string pid = holder->query("SELECT pg_backend_pid()").at(0, 0).string();
    dbos::sysdb::DatabaseOptions with;
    with.open = options();
    with.blocked_after = 100ms;
    dbos::sysdb::SystemDatabase database(with);
    dbos::sql::Transaction lock(*holder);
    holder->query("UPDATE @workflow_status SET priority = 5", {}, dbos::sql::Access::write);
    const std::vector<std::string> ids{"w"};
    try {
        database.cancel(ids);
        FAIL() << "the row was locked";
    } catch (const dbos::DatabaseError& error) {
        EXPECT_EQ(error.kind(), dbos::DatabaseErrorKind::blocked);
        EXPECT_THAT(error.what(), AllOf(HasSubstr("cancel_workflow of \"w\""), HasSubstr(pid)));
    }
    lock.commit();
    EXPECT_EQ(database.cancel(ids), ids);
}

TEST_P(ManageFaults, databases_from_before_the_payload_split_are_managed_too) {
    make_layout_a();
    insert_workflow("w", "PENDING", {{"owner_xid", "o"}, {"inputs", "[1]"}, {"application_version", "v1"}});
    insert("operation_outputs", {{"workflow_uuid", "w"}, {"function_id", 0}, {"function_name", "s"}});
    insert("operation_outputs", {{"workflow_uuid", "w"}, {"function_id", 1}, {"function_name", "t"}});
    client().cancel_workflow("w");
    EXPECT_EQ(row("w", "status, owner_xid"), "CANCELLED|o");
    client().resume_workflow("w", {.queue_name = "q"});
    EXPECT_EQ(row("w", "status, queue_name, owner_xid"), "ENQUEUED|q|o");
    const auto fork = client().fork_workflow("w", 1);
    EXPECT_EQ(row(fork.workflow_id(), "status, inputs, forked_from, application_version"),
              "ENQUEUED|[1]|w|v1");
    EXPECT_EQ(row(fork.workflow_id(), "function_id", "operation_outputs"), "0");
    EXPECT_THAT(error_of<dbos::ConfigError>([&] { client().rewind_workflow("w"); }), HasSubstr("123"));
    client().delete_workflow("w");
    EXPECT_EQ(count("operation_outputs"), "1");
    EXPECT_THAT(
        error_of<dbos::OutcomeUnknown>([&] { with({Fault::lose_ack}).resume_workflow(fork.workflow_id()); }),
        HasSubstr("resume_workflow"));
    with({Fault::lose_ack}).fork_workflow(fork.workflow_id(), 0, {.new_workflow_id = "again"});
    EXPECT_EQ(count("workflow_status"), "2");
}

TEST_P(ManageFaults, a_client_that_outlives_an_upgrade_of_the_database_fences_what_it_cancels) {
    make_layout_a();
    insert_workflow("w", "PENDING", {{"owner_xid", "o"}});
    dbos::Client& client = with({});  // has seen the old layout
    client.set_workflow_priority("w", 0);
    upgrade_to_layout_b();
    client.cancel_workflow("w");
    EXPECT_EQ(row("w", "status, owner_xid"), "CANCELLED|-");
    insert("workflow_input", {{"workflow_uuid", "w"}, {"inputs", "[1]"}});
    const auto fork = client.fork_workflow("w", 0);
    EXPECT_EQ(row(fork.workflow_id(), "inputs", "workflow_input"), "[1]");
}

TEST_P(ManageFaults, transactions_that_are_left_open_are_ended_by_the_server) {
    if (!postgres()) GTEST_SKIP() << "a setting of PostgreSQL";
    const auto setting = [&](dbos::sql::OpenOptions open) {
        return dbos::sql::open(open)
            ->query("SELECT current_setting('idle_in_transaction_session_timeout')")
            .at(0, 0)
            .string();
    };
    dbos::sql::OpenOptions open = options();
    const std::string server = setting(open);
    open.idle_transaction_timeout = 61s;
    EXPECT_EQ(setting(open), "61s");
    open.pinned_plans = true;
    EXPECT_EQ(setting(open), "61s");
    open.url = dbos::sql::Url::parse(database().url() +
                                     (database().url().find('?') == std::string::npos ? "?" : "&") +
                                     "options=-c%20enable_seqscan%3Don");
    EXPECT_EQ(setting(open), server) << "the URL decides";
    EXPECT_THROW(make_client({.system_database_url = database().url(),
                              .system_database_idle_transaction_timeout = -1s}),
                 dbos::ConfigError);
}

}  // namespace
