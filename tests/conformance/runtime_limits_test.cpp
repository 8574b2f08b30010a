// What applications make of the limits of queues: rates, partitions, both, one process and several, and limits that change
// while they run (queues-and-schedules.md 1 and 3; py: tests/test_queue.py).
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "runtime/executor.hpp"
#include "support/app.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using testing::HasSubstr;

namespace {

inline constexpr auto Job = dbos::workflow<int(int)>("job");
inline constexpr auto Held = dbos::workflow<std::string(std::string)>("held");

/// Bodies that stand until they are let go, by name.
class Stage {
   public:
    std::string play(const std::string& name) {
        std::unique_lock lock(mutex_);
        started_.push_back(name);
        ++inside_;
        most_ = std::max(most_, inside_);
        changed_.notify_all();
        changed_.wait(lock, [&] { return all_ || let_go_.contains(name); });
        --inside_;
        return name;
    }
    void let_go(const std::string& name) {
        std::lock_guard lock(mutex_);
        let_go_.insert(name);
        changed_.notify_all();
    }
    void let_all_go() {
        std::lock_guard lock(mutex_);
        all_ = true;
        changed_.notify_all();
    }
    bool wait_for(std::size_t count, std::chrono::seconds time = 30s) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, time, [&] { return started_.size() >= count; });
    }
    std::vector<std::string> started() {
        std::lock_guard lock(mutex_);
        return started_;
    }
    int most() {
        std::lock_guard lock(mutex_);
        return most_;
    }

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> started_;
    std::set<std::string> let_go_;
    bool all_ = false;
    int inside_ = 0, most_ = 0;
};

class QueueLimits : public dbos::test::AppTest {
   public:
    /// Whatever stands on the stage is let go before the application ends, which waits for its steps.
    class Running {
       public:
        Running(dbos::AppOptions options, Stage& stage, const std::function<void(dbos::App&)>& configure)
            : stage_(stage), app_(std::make_unique<dbos::App>(std::move(options))) {
            configure(*app_);
            app_->launch();
        }
        ~Running() { stage_.let_all_go(); }
        Running(const Running&) = delete;
        Running& operator=(const Running&) = delete;
        dbos::App* operator->() { return app_.get(); }

       private:
        Stage& stage_;
        std::unique_ptr<dbos::App> app_;
    };
    Running held_app(const std::function<void(dbos::App&)>& configure, dbos::AppOptions options) {
        return Running(std::move(options), stage, [&](dbos::App& app) {
            app.implement(Held, [this](dbos::Context& ctx, const std::string& name) {
                return ctx.step("stand", [&] { return stage.play(name); });
            });
            app.implement(Job, [](dbos::Context&, int n) { return n; });
            configure(app);
        });
    }
    Running held_app(const std::function<void(dbos::App&)>& configure) {
        return held_app(configure, app_options());
    }
    void TearDown() override {
        stage.let_all_go();
        AppTest::TearDown();
    }
    std::int64_t rows(const std::string& where) {
        return std::stoll(scalar("SELECT count(*) FROM @workflow_status WHERE " + where));
    }
    /// No period of the recorded starts holds more than the rate allows.
    void expect_rate(const std::string& where, std::size_t most, std::int64_t period_ms) {
        const auto found =
            open()->query("SELECT started_at_epoch_ms FROM @workflow_status WHERE " + where + " ORDER BY 1");
        for (std::size_t n = most; n < found.size(); ++n) {
            EXPECT_GE(found.at(n, 0).integer() - found.at(n - most, 0).integer(), period_ms)
                << where << ", start " << n;
        }
    }
    Stage stage;
};
DBOS_FOR_EVERY_DATABASE(QueueLimits);

TEST_P(QueueLimits, a_rate_is_used_up_and_never_exceeded) {
    auto app = held_app([](dbos::App& made) {
        made.register_queue({.name = "q", .limiter = {.limit = 4, .period = 600ms}});
    });
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int i = 0; i < 12; ++i) handles.push_back(app->start_workflow(Job, {.queue_name = "q"}, i));
    for (int i = 0; i < 12; ++i)
        EXPECT_EQ(handles[static_cast<std::size_t>(i)].get_result({.timeout = 30s}), i);
    expect_rate("queue_name = 'q'", 4, 600);
    EXPECT_EQ(rows("rate_limited AND queue_name = 'q'"), 12);
}

TEST_P(QueueLimits, a_generous_rate_beside_one_at_a_time_changes_nothing) {
    auto app = held_app([](dbos::App& made) {
        made.register_queue({.name = "q", .concurrency = 1, .limiter = {.limit = 100, .period = 60s}});
    });
    auto first = app->start_workflow(Held, {.queue_name = "q"}, "one");
    auto second = app->start_workflow(Held, {.queue_name = "q"}, "two");
    ASSERT_TRUE(stage.wait_for(1));
    EXPECT_EQ(rows("status = 'ENQUEUED'"), 1);
    stage.let_go("one");
    ASSERT_TRUE(stage.wait_for(2));
    stage.let_go("two");
    EXPECT_EQ(second.get_result({.timeout = 20s}), "two");
    EXPECT_EQ(stage.most(), 1);
}

TEST_P(QueueLimits, queues_with_different_limits_do_not_disturb_each_other) {
    auto app = held_app([](dbos::App& made) {
        made.register_queue({.name = "narrow", .concurrency = 1});
        made.register_queue({.name = "rated", .limiter = {.limit = 3, .period = 500ms}});
        made.register_queue({.name = "keyed", .partition_concurrency = 1});
        made.register_queue({.name = "spent", .limiter = {.limit = 1, .period = 1h}});
    });
    auto blocker = app->start_workflow(Held, {.queue_name = "narrow"}, "blocker");
    auto key = app->start_workflow(Held, {.queue_name = "keyed", .queue_partition_key = "a"}, "key");
    ASSERT_TRUE(stage.wait_for(2));
    for (int i = 0; i < 3; ++i) app->start_workflow(Job, {.queue_name = "spent"}, i);
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int i = 0; i < 7; ++i) handles.push_back(app->start_workflow(Job, {.queue_name = "rated"}, i));
    for (auto& handle : handles) handle.get_result({.timeout = 20s});
    expect_rate("queue_name = 'rated'", 3, 500);
    EXPECT_TRUE(eventually([&] { return rows("queue_name = 'spent' AND status = 'SUCCESS'") == 1; }));
    EXPECT_EQ(rows("queue_name = 'spent' AND status = 'ENQUEUED'"), 2);
}

TEST_P(QueueLimits, a_blocked_partition_does_not_block_another) {
    auto app =
        held_app([](dbos::App& made) { made.register_queue({.name = "q", .partition_concurrency = 1}); });
    const auto enqueue = [&](const std::string& key, const std::string& name) {
        return app->start_workflow(Held, {.queue_name = "q", .queue_partition_key = key}, name);
    };
    auto blocked = enqueue("a", "a1");
    auto behind = enqueue("a", "a2");
    ASSERT_TRUE(stage.wait_for(1));
    stage.let_go("b1");
    EXPECT_EQ(enqueue("b", "b1").get_result({.timeout = 20s}), "b1");
    stage.let_go("c1");
    EXPECT_EQ(app->client()
                  .enqueue(Held, {.queue_name = "q", .queue_partition_key = "c"}, "c1")
                  .get_result({.timeout = 20s}),
              "c1");
    EXPECT_EQ(behind.get_status().status, dbos::Status::enqueued);
    stage.let_go("a1");
    stage.let_go("a2");
    EXPECT_EQ(behind.get_result({.timeout = 20s}), "a2");
}

TEST_P(QueueLimits, the_workflows_of_a_key_run_one_after_another_in_their_order) {
    auto app =
        held_app([](dbos::App& made) { made.register_queue({.name = "q", .partition_concurrency = 1}); });
    stage.let_all_go();
    std::vector<dbos::WorkflowHandle<std::string>> handles;
    std::map<std::string, std::vector<std::string>> expected;
    for (int i = 0; i < 10; ++i) {
        for (const std::string key : {"a", "b", "c"}) {
            const std::string name = key + std::to_string(i);
            expected[key].push_back(name);
            // Of one millisecond the order is that of the ids.
            handles.push_back(app->start_workflow(
                Held, {.queue_name = "q", .workflow_id = name, .queue_partition_key = key}, name));
        }
    }
    for (auto& handle : handles) handle.get_result({.timeout = 60s});
    std::map<std::string, std::vector<std::string>> seen;
    for (const std::string& name : stage.started()) seen[name.substr(0, 1)].push_back(name);
    EXPECT_EQ(seen, expected);
}

TEST_P(QueueLimits, small_partitions_are_served_long_before_two_large_ones_are_drained) {
    auto app = held_app([](dbos::App& made) {
        made.register_queue({.name = "q", .worker_concurrency = 2, .partition_worker_concurrency = 1});
    });
    std::vector<dbos::EnqueueRequest> requests;
    const auto add = [&](const std::string& key, int count) {
        for (int i = 0; i < count; ++i)
            requests.push_back(
                dbos::enqueue_request(Job, {.queue_name = "q", .queue_partition_key = key}, i));
    };
    add("big-1", 60);
    add("big-2", 60);
    for (int key = 0; key < 5; ++key) add("small-" + std::to_string(key), 1);
    auto handles = app->client().enqueue_bulk<int>(std::move(requests));
    for (std::size_t i = 120; i < handles.size(); ++i) handles[i].get_result({.timeout = 60s});
    EXPECT_GT(rows("status = 'ENQUEUED' AND queue_partition_key LIKE 'big%'"), 40);
    for (auto& handle : handles) handle.get_result({.timeout = 60s});
}

TEST_P(QueueLimits, limits_of_partitions_and_of_the_queue_hold_together_over_two_processes) {
    const auto configure = [](dbos::App& made) {
        made.register_queue({.name = "q",
                             .worker_concurrency = 3,
                             .concurrency = 5,
                             .partition_worker_concurrency = 1,
                             .partition_concurrency = 2});
    };
    auto one = held_app(configure);
    auto two = held_app(configure);
    std::vector<dbos::WorkflowHandle<std::string>> handles;
    for (int i = 0; i < 4; ++i) {
        for (const std::string key : {"a", "b", "c", "d"})
            handles.push_back(one->start_workflow(Held, {.queue_name = "q", .queue_partition_key = key},
                                                  key + std::to_string(i)));
    }
    ASSERT_TRUE(stage.wait_for(5));
    EXPECT_EQ(rows("status = 'PENDING'"), 5);
    EXPECT_LE(
        std::stoi(scalar("SELECT max(n) FROM (SELECT count(*) AS n FROM @workflow_status WHERE status = "
                         "'PENDING' GROUP BY queue_partition_key) x")),
        2);
    EXPECT_LE(
        std::stoi(scalar("SELECT max(n) FROM (SELECT count(*) AS n FROM @workflow_status WHERE status = "
                         "'PENDING' GROUP BY executor_id) x")),
        3);
    EXPECT_EQ(scalar("SELECT max(n) FROM (SELECT count(*) AS n FROM @workflow_status WHERE status = "
                     "'PENDING' GROUP BY queue_partition_key, executor_id) x"),
              "1");
    stage.let_all_go();
    for (auto& handle : handles) handle.get_result({.timeout = 60s});
    EXPECT_LE(stage.most(), 5);
}

TEST_P(QueueLimits, processes_share_the_global_limit_and_keep_their_own) {
    const auto configure = [](dbos::App& made) {
        made.register_queue({.name = "q", .worker_concurrency = 5, .concurrency = 10});
    };
    auto one = held_app(configure);
    auto two = held_app(configure);
    std::vector<dbos::WorkflowHandle<std::string>> handles;
    for (int i = 0; i < 11; ++i)
        handles.push_back(one->start_workflow(Held, {.queue_name = "q"}, "w" + std::to_string(i)));
    ASSERT_TRUE(stage.wait_for(10));
    EXPECT_EQ(rows("status = 'PENDING' AND executor_id = '" + one->executor_id() + "'"), 5);
    EXPECT_EQ(rows("status = 'PENDING' AND executor_id = '" + two->executor_id() + "'"), 5);
    EXPECT_EQ(rows("status = 'ENQUEUED'"), 1);
    stage.let_all_go();
    for (auto& handle : handles) handle.get_result({.timeout = 30s});
}

TEST_P(QueueLimits, both_rates_bind_and_two_processes_share_them) {
    const auto configure = [](dbos::App& made) {
        made.register_queue({.name = "q",
                             .limiter = {.limit = 3, .period = 500ms},
                             .partition_limiter = {.limit = 2, .period = 800ms}});
    };
    auto one = held_app(configure);
    auto two = held_app(configure);
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int i = 0; i < 4; ++i) {
        for (const std::string key : {"a", "b"})
            handles.push_back(one->start_workflow(Job, {.queue_name = "q", .queue_partition_key = key}, i));
    }
    for (auto& handle : handles) handle.get_result({.timeout = 60s});
    expect_rate("queue_name = 'q'", 3, 500);
    for (const std::string key : {"a", "b"}) expect_rate("queue_partition_key = '" + key + "'", 2, 800);
}

TEST_P(QueueLimits, the_old_form_of_partitions_is_honoured_and_not_written) {
    {
        dbos::App first(app_options());  // makes the tables
        first.launch();
    }
    execute(
        "INSERT INTO @queues (queue_id, name, worker_concurrency, partition_queue, priority_enabled, "
        "polling_interval_sec, created_at, updated_at) VALUES ('x', 'old', 1, " +
        std::string(postgres() ? "TRUE, FALSE" : "1, 0") + ", 0.1, 1, 1)");
    auto app = held_app([](dbos::App&) {});
    for (const std::string key : {"a", "b"}) {
        for (int i = 0; i < 2; ++i)
            app->start_workflow(Held, {.queue_name = "old", .queue_partition_key = key}, key);
    }
    ASSERT_TRUE(stage.wait_for(2));
    EXPECT_THAT(stage.started(), testing::UnorderedElementsAre("a", "b"));
    EXPECT_EQ(rows("status = 'ENQUEUED'"), 2);
    stage.let_all_go();
    EXPECT_TRUE(eventually([&] { return rows("status = 'SUCCESS'") == 4; }));
    auto& client = app->client();
    for (const auto& change : std::vector<std::function<void(dbos::QueueDefinition&)>>{
             [](auto& q) { q.concurrency = 3; }, [](auto& q) { q.worker_concurrency = 3; },
             [](auto& q) { q.limiter = {3, 1s}; }, [](auto& q) { q.partition_concurrency = 3; }}) {
        EXPECT_THROW(client.update_queue("old", change), dbos::UsageError);
    }
    EXPECT_EQ(client.update_queue("old", [](auto& q) { q.polling_interval = 500ms; }).polling_interval,
              dbos::Duration(500ms));
    EXPECT_TRUE(client.retrieve_queue("old")->partition_queue);
}

TEST_P(QueueLimits, limits_that_change_hold_for_running_applications) {
    auto app = held_app([](dbos::App& made) { made.register_queue({.name = "q", .concurrency = 1}); });
    for (int i = 0; i < 4; ++i) app->start_workflow(Held, {.queue_name = "q"}, "w" + std::to_string(i));
    ASSERT_TRUE(stage.wait_for(1));
    EXPECT_EQ(rows("status = 'ENQUEUED'"), 3);
    auto& client = app->client();
    EXPECT_EQ(client.update_queue("q", [](auto& queue) { queue.concurrency = 3; }).concurrency, 3);
    ASSERT_TRUE(stage.wait_for(3));
    EXPECT_EQ(rows("status = 'ENQUEUED'"), 1);
    // 0 is the pause of a queue, on every process.
    client.update_queue("q", [](auto& queue) { queue.worker_concurrency = 0; });
    EXPECT_TRUE(eventually([&] {
        const auto there = client.retrieve_queue("q");
        return there && there->worker_concurrency == 0;
    }));
    std::this_thread::sleep_for(1500ms);  // past the poll at which it is noticed
    stage.let_all_go();
    EXPECT_TRUE(eventually([&] { return rows("status = 'SUCCESS'") == 3; }));
    std::this_thread::sleep_for(1200ms);
    EXPECT_EQ(rows("status = 'ENQUEUED'"), 1);
    client.update_queue("q", [](auto& queue) { queue.worker_concurrency = std::nullopt; });
    EXPECT_TRUE(eventually([&] { return rows("status = 'SUCCESS'") == 4; }));
}

TEST_P(QueueLimits, a_rate_that_is_raised_is_not_waited_for) {
    auto app = held_app(
        [](dbos::App& made) { made.register_queue({.name = "q", .limiter = {.limit = 1, .period = 1h}}); });
    app->start_workflow(Job, {.queue_name = "q"}, 1);
    auto second = app->start_workflow(Job, {.queue_name = "q"}, 2);
    EXPECT_TRUE(eventually([&] { return rows("status = 'SUCCESS'") == 1; }));
    EXPECT_EQ(rows("status = 'ENQUEUED'"), 1);
    app->client().update_queue("q", [](auto& queue) { queue.limiter = {}; });
    EXPECT_EQ(second.get_result({.timeout = 20s}), 2);
}

TEST_P(QueueLimits, a_queue_that_is_deleted_rests_and_goes_on_when_it_is_there_again) {
    auto app = held_app([](dbos::App& made) { made.register_queue({.name = "q"}); });
    EXPECT_EQ(app->start_workflow(Job, {.queue_name = "q"}, 1).get_result({.timeout = 20s}), 1);
    auto& client = app->client();
    client.delete_queue("q");
    EXPECT_EQ(client.retrieve_queue("q"), std::nullopt);
    std::this_thread::sleep_for(1500ms);  // past the poll at which it is noticed
    auto waiting = client.enqueue(Job, {.queue_name = "q"}, 2);
    std::this_thread::sleep_for(1200ms);
    EXPECT_EQ(waiting.get_status().status, dbos::Status::enqueued);
    client.register_queue({.name = "q", .worker_concurrency = 1});
    EXPECT_EQ(waiting.get_result({.timeout = 20s}), 2);
}

TEST_P(QueueLimits, work_for_a_queue_that_nobody_has_defined_waits_for_its_definition) {
    auto app = held_app([](dbos::App&) {});
    auto waiting = app->client().enqueue(Job, {.queue_name = "later"}, 7);
    EXPECT_THROW(app->start_workflow(Job, {.queue_name = "later"}, 8), dbos::UsageError);
    EXPECT_EQ(waiting.get_status().status, dbos::Status::enqueued);
    app->register_queue({.name = "later"});
    EXPECT_EQ(waiting.get_result({.timeout = 20s}), 7);
}

TEST_P(QueueLimits, only_the_queues_that_it_listens_to_and_the_internal_one_are_served) {
    auto options = app_options();
    options.listen_queues = {{"heard"}};
    const auto configure = [](dbos::App& made) {
        made.register_queue({.name = "heard"});
        made.register_queue({.name = "unheard"});
    };
    auto app = held_app(configure, options);
    auto unheard = app->start_workflow(Job, {.queue_name = "unheard"}, 1);
    EXPECT_EQ(app->start_workflow(Job, {.queue_name = "heard"}, 2).get_result({.timeout = 20s}), 2);
    auto internal = app->client().enqueue(Job, {.queue_name = "nowhere"}, 3);
    EXPECT_EQ(app->client().resume_workflow<int>(internal.workflow_id()).get_result({.timeout = 20s}), 3);
    EXPECT_EQ(unheard.get_status().status, dbos::Status::enqueued);
    auto other = held_app(configure);
    EXPECT_EQ(unheard.get_result({.timeout = 20s}), 1);
}

TEST_P(QueueLimits, an_older_version_does_not_change_the_definition_of_a_queue) {
    const auto launch = [&](const std::string& version, std::int64_t concurrency,
                            dbos::QueueConflict conflict) {
        auto options = app_options();
        options.application_version = version;
        dbos::App app(options);
        app.implement(Job, [](dbos::Context&, int n) { return n; });
        app.register_queue({.name = "q", .concurrency = concurrency, .on_conflict = conflict});
        app.launch();
        return app.client().retrieve_queue("q")->concurrency;
    };
    using enum dbos::QueueConflict;
    EXPECT_EQ(launch("v1", 1, update_if_latest_version), 1);
    EXPECT_EQ(launch("v1", 2, update_if_latest_version), 2);
    EXPECT_EQ(launch("v1", 3, keep), 2);
    EXPECT_EQ(launch("v2", 4, update_if_latest_version), 4) << "a new version is the latest";
    EXPECT_EQ(launch("v1", 5, update_if_latest_version), 4);
    EXPECT_EQ(launch("v1", 6, update), 6);
}

TEST_P(QueueLimits, what_could_never_run_is_refused) {
    auto app = held_app([](dbos::App& made) {
        made.register_queue({.name = "keyed", .partition_concurrency = 1});
        made.register_queue({.name = "plain"});
    });
    const auto refusal = [&](dbos::EnqueueOptions options) {
        try {
            app->start_workflow(Job, std::move(options), 1);
        } catch (const dbos::UsageError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    EXPECT_THAT(refusal({.queue_name = "keyed"}), HasSubstr("queue_partition_key"));
    EXPECT_THAT(refusal({.queue_name = "keyed", .deduplication_id = "d", .queue_partition_key = "k"}),
                HasSubstr("deduplication_id"));
    EXPECT_EQ(rows("TRUE"), 0);
    EXPECT_EQ(app->start_workflow(Job, {.queue_name = "plain", .queue_partition_key = "k"}, 4)
                  .get_result({.timeout = 20s}),
              4);
}

TEST_P(QueueLimits, a_resumed_workflow_of_a_partition_runs_at_once_on_the_internal_queue) {
    auto app =
        held_app([](dbos::App& made) { made.register_queue({.name = "q", .partition_concurrency = 1}); });
    app->start_workflow(Held, {.queue_name = "q", .queue_partition_key = "a"}, "first");
    auto second = app->start_workflow(Held, {.queue_name = "q", .queue_partition_key = "a"}, "second");
    ASSERT_TRUE(stage.wait_for(1));
    app->client().resume_workflow<std::string>(second.workflow_id());
    ASSERT_TRUE(stage.wait_for(2));
    stage.let_all_go();
    EXPECT_EQ(second.get_result({.timeout = 20s}), "second");
}

TEST_P(QueueLimits, a_recovered_workflow_of_a_key_runs_before_those_behind_it) {
    auto app =
        held_app([](dbos::App& made) { made.register_queue({.name = "q", .partition_concurrency = 1}); });
    auto first = app->start_workflow(Held, {.queue_name = "q", .queue_partition_key = "a"}, "first");
    ASSERT_TRUE(stage.wait_for(1));
    auto second = app->start_workflow(Held, {.queue_name = "q", .queue_partition_key = "a"}, "second");
    // Handed back, as by a process that takes its executor for dead: its run here loses its row.
    execute(
        "UPDATE @workflow_status SET status = 'ENQUEUED', owner_xid = NULL, started_at_epoch_ms = NULL "
        "WHERE workflow_uuid = '" +
        first.workflow_id() + "'");
    ASSERT_TRUE(stage.wait_for(2));
    EXPECT_THAT(stage.started(), testing::ElementsAre("first", "first"));
    stage.let_all_go();
    EXPECT_EQ(second.get_result({.timeout = 30s}), "second");
}

TEST_P(QueueLimits, thirty_five_queues_cost_no_more_statements_than_one) {
    dbos::AppOptions options = app_options();
    dbos::runtime::Executor engine(options);
    engine.implement({.name = "job", .body = [](dbos::Context&, const dbos::Arguments& arguments) {
                          return arguments.positional.at(0);
                      }});
    for (int i = 0; i < 35; ++i) {
        dbos::QueueOptions queue{.name = "q" + std::to_string(i)};
        if (i % 5 == 1) queue.limiter = {.limit = 1, .period = 1h};
        if (i % 5 == 2) queue.partition_concurrency = 1;
        if (i % 5 == 3) queue.concurrency = 1;
        if (i % 5 == 4) queue.partition_limiter = {.limit = 1, .period = 1h};
        engine.register_queue(queue);
    }
    engine.launch();
    EXPECT_EQ(engine.claimer().queues().size(), 36u);
    // Nothing waits in them: it claims from none, whatever the tick says of others.
    EXPECT_TRUE(eventually([&] {
        std::optional<dbos::sysdb::Millis> next;
        return engine.claimer().at_rest(next);
    }));
    const auto claims = engine.claimer().claims();
    std::this_thread::sleep_for(2500ms);
    EXPECT_EQ(engine.claimer().claims(), claims);
}

}  // namespace
