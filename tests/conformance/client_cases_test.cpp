// What the client tests of the other SDKs assert against a running application, and cases that no other test here has; see
// client_cases.list.
#include <gmock/gmock.h>

#include <atomic>
#include <mutex>

#include "dbos/debouncer.hpp"
#include "support/app.hpp"
#include "support/client_rows.hpp"

namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

inline constexpr auto Add = dbos::workflow<int(int, int)>("add");
inline constexpr auto Slow = dbos::workflow<int()>("slow");
inline constexpr auto Note = dbos::workflow<void(std::string)>("note");
inline constexpr auto Waiting = dbos::workflow<int()>("waiting");
inline constexpr auto Parent = dbos::workflow<std::string()>("parent");

/// An application and a client of it that has another connection, as in another program.
class ClientCases : public dbos::test::AppTest {
   public:
    dbos::App& app() {
        if (app_) return *app_;
        dbos::AppOptions options = app_options();
        options.application_version = "v1";
        app_ = std::make_unique<dbos::App>(options);
        app_->implement(Add, [this](dbos::Context& ctx, int a, int b) {
            return ctx.step("add", [&] {
                ++runs_;
                return a + b;
            });
        });
        app_->implement(Slow, [this](dbos::Context& ctx) {
            gate.pass();
            return ctx.step("after", [] { return 1; });
        });
        app_->implement(Note, [this](dbos::Context& ctx, const std::string& text) {
            ctx.step("note", [&] { side_->write(text); });
        });
        app_->implement(Parent, [](dbos::Context& ctx) {
            auto child = ctx.start_workflow(Add, {.queue_name = "q"}, 1, 1);
            child.get_result();
            return child.workflow_id();
        });
        app_->implement(Waiting, [](dbos::Context& ctx) {
            return ctx.start_workflow(Slow, {.workflow_id = "child"}).get_result();
        });
        app_->register_queue({.name = "q"});
        app_->register_queue({.name = "one", .worker_concurrency = 1});
        app_->launch();
        return *app_;
    }
    dbos::ClientOptions client_options() {
        dbos::ClientOptions options;
        options.system_database_url = database().url();
        options.dbos_system_schema = database().schema();
        options.application_name = "test-app";
        options.log_sink = log.sink();
        return options;
    }
    dbos::Client& client() {
        if (!client_) {
            app();
            client_ = std::make_unique<dbos::Client>(client_options());
        }
        return *client_;
    }
    int runs() const { return runs_; }
    std::vector<std::string> notes() const { return side_->lines(); }
    dbos::WorkflowStatus row(const std::string& id) { return client().retrieve_workflow(id).get_status(); }
    void TearDown() override {
        gate.open();
        client_.reset();
        app_.reset();
        AppTest::TearDown();
    }

    dbos::test::Gate gate;

   private:
    class Notes {
       public:
        void write(const std::string& text) {
            const std::lock_guard lock(mutex_);
            lines_.push_back(text);
        }
        std::vector<std::string> lines() const {
            const std::lock_guard lock(mutex_);
            return lines_;
        }

       private:
        mutable std::mutex mutex_;
        std::vector<std::string> lines_;
    };
    std::unique_ptr<Notes> side_ = std::make_unique<Notes>();
    std::atomic<int> runs_{0};
    std::unique_ptr<dbos::App> app_;
    std::unique_ptr<dbos::Client> client_;
};
DBOS_FOR_EVERY_DATABASE(ClientCases);

TEST_P(ClientCases, an_enqueued_workflow_runs_and_is_listed_with_and_without_payloads) {
    const auto handle = client().enqueue(Add, {.queue_name = "q", .workflow_id = "w"}, 2, 3);
    EXPECT_EQ(handle.workflow_id(), "w");
    EXPECT_EQ(handle.get_result(), 5);
    const auto with = client().list_workflows({.workflow_ids = "w"});
    ASSERT_EQ(with.size(), 1u);
    EXPECT_EQ(with[0].input->positional.size(), 2u);
    EXPECT_EQ(with[0].output->as_int(), 5);
    EXPECT_EQ(with[0].app_version, "v1");  // stamped when it was dequeued
    const auto without =
        client().list_workflows({.workflow_ids = "w", .load_input = false, .load_output = false});
    EXPECT_FALSE(without[0].input || without[0].output);
}

TEST_P(ClientCases, one_id_is_one_run_with_the_first_arguments) {
    const auto first = client().enqueue(Add, {.queue_name = "q", .workflow_id = "w"}, 2, 3);
    const auto second = client().enqueue_async(Add, {.queue_name = "q", .workflow_id = "w"}, 20, 30).get();
    EXPECT_EQ(first.get_result(), 5);
    EXPECT_EQ(second.get_result(), 5);
    EXPECT_EQ(client().enqueue(Add, {.queue_name = "q", .workflow_id = "w"}, 7, 7).get_result(), 5);
    EXPECT_EQ(runs(), 1);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status"), "1");
}

TEST_P(ClientCases, a_timeout_counts_from_the_start_and_cancels) {
    client().enqueue(Slow, {.queue_name = "one"});
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    const auto patient =
        client().enqueue(Slow, {.queue_name = "one", .workflow_id = "w", .workflow_timeout = 60s});
    EXPECT_EQ(row("w").workflow_timeout_ms, 60000);
    EXPECT_FALSE(row("w").workflow_deadline_epoch_ms);  // not while it waits
    const auto late = client().enqueue(Slow, {.queue_name = "q", .workflow_timeout = 100ms});
    EXPECT_THROW(late.get_result(), dbos::AwaitedWorkflowCancelled);
    EXPECT_EQ(late.get_status().status, "CANCELLED");
    gate.open();
    EXPECT_EQ(patient.get_result(), 1);
    const auto ended = row("w");
    EXPECT_EQ(ended.workflow_deadline_epoch_ms, *ended.dequeued_at + 60000);
}

TEST_P(ClientCases, children_share_the_deadline_of_their_parent) {
    const auto parent = client().enqueue(Waiting, {.queue_name = "q", .workflow_timeout = 500ms});
    EXPECT_THROW(parent.get_result(), dbos::AwaitedWorkflowCancelled);
    EXPECT_THROW(client().retrieve_workflow(Slow, "child").get_result(), dbos::AwaitedWorkflowCancelled);
    EXPECT_EQ(row("child").workflow_deadline_epoch_ms, parent.get_status().workflow_deadline_epoch_ms);
}

TEST_P(ClientCases, a_version_is_matched_when_given_and_stamped_when_not) {
    app();
    const auto any = client().enqueue(Add, {.queue_name = "q"}, 1, 1);
    const auto own = client().enqueue(Add, {.queue_name = "q", .app_version = "v1"}, 1, 1);
    const auto other =
        client().enqueue(Add, {.queue_name = "q", .workflow_id = "other", .app_version = "v9"}, 1, 1);
    EXPECT_EQ(any.get_result(), 2);
    EXPECT_EQ(own.get_result(), 2);
    EXPECT_EQ(any.get_status().app_version, "v1");
    EXPECT_EQ(row("other").status, "ENQUEUED");
    // Behind it in the queue, and run: the other one was looked at and left.
    EXPECT_EQ(client().enqueue(Add, {.queue_name = "q"}, 1, 1).get_result(), 2);
    EXPECT_EQ(row("other").status, "ENQUEUED");
}

TEST_P(ClientCases, priorities_decide_and_none_goes_first) {
    client().enqueue(Slow, {.queue_name = "one"});
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    std::vector<dbos::WorkflowHandle<void>> handles;
    for (const int priority : {5, 1, 0}) {
        handles.push_back(
            client().enqueue(Note, {.queue_name = "one", .priority = priority}, std::to_string(priority)));
    }
    gate.open();
    for (const auto& handle : handles) handle.get_result();
    EXPECT_THAT(notes(), testing::ElementsAre("0", "1", "5"));
}

TEST_P(ClientCases, a_deduplication_id_is_held_until_the_end) {
    client().enqueue(Slow, {.queue_name = "q", .workflow_id = "first", .deduplication_id = "d"});
    ASSERT_TRUE(gate.wait_for_arrivals(1));  // running: still held
    const auto queued = client().list_queued_workflows();
    ASSERT_EQ(queued.size(), 1u);
    EXPECT_EQ(queued[0].deduplication_id, "d");
    EXPECT_THROW(client().enqueue(Add, {.queue_name = "q", .deduplication_id = "d"}, 1, 1),
                 dbos::QueueDeduplicated);
    EXPECT_EQ(client()
                  .enqueue(Slow, {.queue_name = "q", .workflow_id = "first", .deduplication_id = "d"})
                  .workflow_id(),
              "first");
    const auto attached =
        client().enqueue<int>({.workflow_name = "slow",
                               .queue_name = "q",
                               .deduplication_id = "d",
                               .duplication_policy = dbos::DuplicationPolicy::return_existing});
    EXPECT_EQ(attached.workflow_id(), "first");
    gate.open();
    EXPECT_EQ(attached.get_result(), 1);
    EXPECT_EQ(client().enqueue(Add, {.queue_name = "q", .deduplication_id = "d"}, 1, 1).get_result(), 2);
}

TEST_P(ClientCases, results_are_read_when_the_application_has_gone) {
    dbos::WorkflowHandle<int> handle = client().enqueue(Add, {.queue_name = "q"}, 2, 2);
    handle.get_result();
    app().shutdown();
    EXPECT_EQ(client().retrieve_workflow(Add, handle.workflow_id()).get_result(), 4);
    EXPECT_EQ(client().retrieve_workflow(Add, handle.workflow_id()).get_result_async().get(), 4);
}

TEST_P(ClientCases, user_and_roles_are_stored_and_go_to_children) {
    const auto parent = client().enqueue(Parent, {.queue_name = "q",
                                                  .authenticated_user = "ann",
                                                  .authenticated_roles = {"admin", "ops"},
                                                  .assumed_role = "admin"});
    const auto child = row(parent.get_result());
    for (const auto& status : {parent.get_status(), child}) {
        EXPECT_EQ(status.authenticated_user, "ann");
        EXPECT_THAT(status.authenticated_roles, testing::ElementsAre("admin", "ops"));
    }
    EXPECT_EQ(parent.get_status().assumed_role, "admin");
    EXPECT_FALSE(child.assumed_role);
    EXPECT_EQ(child.parent_workflow_id, parent.workflow_id());
}

TEST_P(ClientCases, a_bulk_runs) {
    std::vector<dbos::EnqueueRequest> requests;
    for (int n = 0; n < 20; ++n) requests.push_back(dbos::enqueue_request(Add, {.queue_name = "q"}, n, 1));
    client();
    int sum = 0;
    for (const auto& handle : client().enqueue_bulk<int>(std::move(requests))) sum += handle.get_result();
    EXPECT_EQ(sum, 210);
}

TEST_P(ClientCases, a_nameless_client_is_served_and_a_debounced_workflow_runs_with_the_last_arguments) {
    app();
    dbos::ClientOptions options = client_options();
    options.application_name.clear();
    dbos::Client nameless(options);
    const auto handle = nameless.enqueue(Add, {.queue_name = "q"}, 2, 2);
    EXPECT_EQ(handle.get_result(), 4);
    dbos::Debouncer debouncer(nameless, Add, {.queue = "q"});
    const auto first = debouncer.debounce("k", 3600s, 1, 1);
    const auto second = debouncer.debounce("k", 0s, 5, 5);
    EXPECT_EQ(first.workflow_id(), second.workflow_id());
    EXPECT_EQ(first.get_result(), 10);
    EXPECT_NE(debouncer.debounce("k", 0s, 1, 1).workflow_id(), first.workflow_id());
}

/// Cases of a client alone.
class ClientAlone : public dbos::test::ClientTest {};
DBOS_FOR_EVERY_DATABASE(ClientAlone);

TEST_P(ClientAlone, a_missing_database_is_named_and_not_created) {
    if (!postgres()) GTEST_SKIP() << "for a file: ClientOpening.a_missing_sqlite_file_is_not_created";
    std::string url = database().url();
    const std::string name = "dbos_no_such_database";
    const auto slash = url.rfind('/');
    url = url.substr(0, slash + 1) + name;
    EXPECT_THAT(refusal([&] {
                    dbos::Client({.system_database_url = url, .lazy = true, .retry_connection_errors = false})
                        .list_workflows();
                }),
                HasSubstr(name));
    EXPECT_EQ(query_text("SELECT count(*) FROM pg_database WHERE datname = '" + name + "'"), "0");
}

TEST_P(ClientAlone, a_locked_file_is_waited_for_also_without_connection_retries) {
    if (postgres()) GTEST_SKIP() << "of SQLite";
    dbos::ClientOptions options = client_options();
    options.retry_connection_errors = false;
    const auto impatient = make_client(std::move(options));
    const auto blocker = open();
    blocker->begin();
    blocker->query("UPDATE @dbos_migrations SET version = version", {}, dbos::sql::Access::write);
    auto started = impatient->enqueue_async({.workflow_name = "w", .queue_name = "q", .workflow_id = "w"});
    EXPECT_FALSE(started.wait_for(100ms));
    blocker->rollback();
    EXPECT_EQ(started.get().workflow_id(), "w");
}

TEST_P(ClientAlone, roles_and_attributes_that_say_null_are_none) {
    insert_workflow("null", "SUCCESS", {{"authenticated_roles", "null"}, {"attributes", "null"}});
    insert_workflow("empty", "SUCCESS", {{"authenticated_roles", "[]"}});
    insert_workflow("absent", "SUCCESS");
    for (const char* id : {"null", "empty", "absent"}) {
        const auto row = client().get_workflow_status(id);
        ASSERT_TRUE(row);
        EXPECT_TRUE(row->authenticated_roles.empty()) << id;
        EXPECT_FALSE(row->attributes) << id;
    }
}

}  // namespace
