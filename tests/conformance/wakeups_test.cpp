// What one process hears of another's commits.
#include <algorithm>
#include <thread>

#include "support/collected.hpp"
#include "support/effects.hpp"
#include "support/system_database.hpp"
#include "sysdb/wake_listener.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;

/// What a Wakeups object reported.
class Heard {
   public:
    std::function<void(const Wakeups::Event&)> handler() {
        return [this](const Wakeups::Event& event) {
            const std::lock_guard<seam::Mutex> lock(mutex_);
            events_.push_back(event);
        };
    }
    template <class F>
    bool any(F&& matches) {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        return std::any_of(events_.begin(), events_.end(), matches);
    }
    bool queue(const std::string& name) {
        return any([&](const Wakeups::Event& event) {
            return event.all ||
                   std::count(event.queue_hashes.begin(), event.queue_hashes.end(), wake_hash(name)) > 0;
        });
    }
    bool workflow(const std::string& id) {
        return any([&](const Wakeups::Event& event) {
            return event.all ||
                   std::count(event.workflow_hashes.begin(), event.workflow_hashes.end(), wake_hash(id)) > 0;
        });
    }
    bool all() {
        return any([](const Wakeups::Event& event) { return event.all; });
    }
    std::size_t count() {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        return events_.size();
    }
    void clear() {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        events_.clear();
    }

   private:
    seam::Mutex mutex_;
    std::vector<Wakeups::Event> events_;
};

class WakeUps : public SystemDatabaseTest {
   public:
    /// Begins to listen, and waits until it does.
    std::unique_ptr<Wakeups> listen(SystemDatabase& database, Heard& heard) {
        auto wakeups = std::make_unique<Wakeups>(database, heard.handler());
        if (postgres()) {
            EXPECT_TRUE(eventually([&] { return heard.all(); }));
        }
        heard.clear();
        return wakeups;
    }
};
DBOS_FOR_EVERY_DATABASE(WakeUps);

TEST_P(WakeUps, enqueues_and_outcomes_of_others_are_heard) {
    auto peer = make();
    Heard heard;
    auto wakeups = listen(*peer, heard);
    system().start_workflow(enqueued("e", "orders"));
    EXPECT_TRUE(eventually([&] { return heard.queue("orders"); }));
    heard.clear();
    system().start_workflow(pending("w", "t"));
    EXPECT_EQ(system().record_outcome({{"w", "t"}, true, "1", "limited"}), OutcomeResult::recorded);
    EXPECT_TRUE(eventually([&] { return heard.workflow("w") && heard.queue("limited"); }));
    heard.clear();
    system().cancel(std::vector<std::string>{"e"});
    EXPECT_TRUE(eventually([&] { return heard.workflow("e"); }));
}

// On PostgreSQL batches of many writes keep the ends of workflows back for a while: until the next one that tells, until there is
// nothing more to write, or until the end.
TEST_P(WakeUps, the_end_of_each_of_many_is_heard) {
    auto peer = make();
    Heard heard;
    auto wakeups = listen(*peer, heard);
    auto writer = make();
    Collected collected;
    std::vector<std::string> ids;
    for (int round = 0; round < 4; ++round) {
        const std::size_t begin = ids.size();
        for (int n = 0; n < 100; ++n) {
            ids.push_back(std::to_string(round) + "-" + std::to_string(n));
            writer->start_workflow_async(pending(ids.back(), "t"), collected.start(ids.back()));
        }
        ASSERT_TRUE(collected.wait());
        for (std::size_t n = begin; n < ids.size(); ++n)
            writer->record_outcome_async({{ids[n], "t"}, true, "1", {}}, collected.outcome(ids[n]));
        if (round == 3) writer.reset();
        ASSERT_TRUE(collected.wait());
        EXPECT_TRUE(eventually([&] {
            return std::all_of(ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.end(),
                               [&](const std::string& id) { return heard.workflow(id); });
        })) << "round "
            << round;
    }
    EXPECT_EQ(collected.errors(), 0u);
}

TEST_P(WakeUps, messages_events_and_values_of_others_are_heard) {
    system().start_workflow(pending("w", "t"));
    auto peer = make();
    Heard heard;
    auto wakeups = listen(*peer, heard);
    const auto hears = [&](const std::string& channel, const std::string& payload) {
        EXPECT_TRUE(eventually([&] {
            return heard.any([&](const Wakeups::Event& event) {
                return postgres() ? event.channel == channel && event.payload == payload : event.all;
            });
        })) << channel;
        heard.clear();
    };
    std::int32_t number = 0;
    for (const bool in_step : {false, true}) {
        const auto act = [&](const Effect& effect) {
            const Fence fence{"w", "t"};
            return (in_step ? system().apply_effect(fence, ++number, effect)
                            : system().record_effect(fence, step(++number, "", 2000), effect))
                .kind;
        };
        EXPECT_EQ(act(sets("a::b", "1")), StepResult::Kind::recorded);
        hears("dbos_workflow_events_channel", "w::a::b");
        EXPECT_EQ(act(appends("s", "1")), StepResult::Kind::recorded);
        hears("dbos_streams_channel", "w::s");
        EXPECT_EQ(act(sends({message("w", "1", "m" + std::to_string(number))})), StepResult::Kind::recorded);
        hears("dbos_notifications_channel", "w::__null__topic__");
    }
}

TEST_P(WakeUps, writes_of_other_programs_are_heard) {
    auto peer = make();
    Heard heard;
    auto wakeups = listen(*peer, heard);
    if (postgres()) {
        write("INSERT INTO @workflow_status (workflow_uuid, status, name) VALUES ('d', 'PENDING', 'wf')");
        write("INSERT INTO @notifications (destination_uuid, topic, message) VALUES ('d', 'topic', '1')");
        EXPECT_TRUE(eventually([&] {
            return heard.any([](const Wakeups::Event& event) {
                return event.channel == "dbos_notifications_channel" && event.payload == "d::topic";
            });
        }));
    } else {
        write(
            "UPDATE dbos_migrations SET version = version");  // a program that knows nothing of the side file
        write("INSERT INTO workflow_status (workflow_uuid, status, name) VALUES ('d', 'PENDING', 'wf')");
        EXPECT_TRUE(eventually([&] { return heard.all(); }));
    }
}

LeaseRow lease_of(const std::string& id) {
    LeaseRow lease;
    lease.application_name = "app";
    lease.executor_id = lease.incarnation = id;
    lease.version = "v1";
    lease.counter = 1;
    return lease;
}

TEST_P(WakeUps, own_commits_on_any_path_are_not_heard) {
    if (postgres()) GTEST_SKIP() << "what is heard there is said, not concluded from a change";
    // A process hears all of its own commits by the log of the file, on each of its connections.
    auto mine = make();
    Heard heard;
    auto wakeups = listen(*mine, heard);
    LeaseRow lease = lease_of("me");
    EXPECT_EQ(mine->take_lease(lease, std::nullopt, std::chrono::seconds(7)), LeaseTake::taken);
    ClaimRequest claim;
    claim.queues = {{"q", 5}};
    claim.max_rows = 5;
    claim.executor_id = "me";
    claim.application_version = "v1";
    claim.application_name = "app";
    claim.is_latest_version = true;
    claim.workflow_names = {"wf"};
    std::vector<std::thread> threads;
    threads.emplace_back([&] {  // its own connection; so have the others
        for (int n = 0; n < 40; ++n) {
            ++lease.counter;
            EXPECT_EQ(mine->renew_lease(lease, std::chrono::seconds(7)), LeaseRenewal::renewed);
        }
    });
    threads.emplace_back([&] {
        for (int n = 0; n < 40; ++n) {
            mine->start_workflow(enqueued("e" + std::to_string(n)));
            claim.token = "t" + std::to_string(n);
            mine->claim(claim);
        }
    });
    threads.emplace_back([&] {
        for (int n = 0; n < 20; ++n) {
            const std::string id = "c" + std::to_string(n);
            mine->start_workflow(pending(id, "t"));
            mine->cancel(std::vector<std::string>{id});
            mine->register_version("v" + std::to_string(n), "app");
            mine->enqueue_due(1, "app");
        }
    });
    for (std::thread& thread : threads) thread.join();
    // The watch looks at changes in order: whatever it concluded from those above came before this one.
    write("UPDATE dbos_migrations SET version = version");
    EXPECT_TRUE(eventually([&] { return heard.all(); }));
    EXPECT_EQ(heard.count(), 1u);
}

TEST_P(WakeUps, a_change_of_others_is_heard_among_own_ones) {
    if (postgres()) GTEST_SKIP() << "what is heard there is said, not concluded from a change";
    auto mine = make();
    Heard heard;
    auto wakeups = listen(*mine, heard);
    LeaseRow lease = lease_of("me");
    mine->take_lease(lease, std::nullopt, std::chrono::seconds(7));
    seam::Atomic<bool> done{false};
    std::thread renewing([&] {  // without a pause: every look finds own commits
        while (!done.load()) {
            ++lease.counter;
            mine->renew_lease(lease, std::chrono::seconds(7));
        }
    });
    for (int n = 0; n < 20; ++n) {
        heard.clear();
        write("UPDATE dbos_migrations SET version = version");
        EXPECT_TRUE(eventually([&] { return heard.all(); })) << n;
    }
    done.store(true);
    renewing.join();
}

TEST_P(WakeUps, another_schema_is_none_of_ours) {
    if (!postgres()) GTEST_SKIP() << "a file has one schema";
    auto peer = make();
    Heard heard;
    auto wakeups = listen(*peer, heard);
    const TestDatabase other(sql::Backend::postgres);
    migrate(other.options());
    DatabaseOptions with;
    with.open = other.options();
    SystemDatabase stranger(with);
    stranger.start_workflow(enqueued("foreign", "orders"));
    system().start_workflow(enqueued("own", "own"));
    EXPECT_TRUE(eventually([&] { return heard.queue("own"); }));
    EXPECT_FALSE(heard.queue("orders"));
}

TEST_P(WakeUps, the_local_process_is_told_at_once) {
    std::vector<std::string> told;
    DatabaseOptions with;
    with.local_wake.enqueued = [&](const std::string& queue) { told.push_back("q " + queue); };
    with.local_wake.ended = [&](const std::string& id) { told.push_back("w " + id); };
    auto database = make(with);
    database->start_workflow(enqueued("e", "orders"));
    database->start_workflow(pending("w", "t"));
    NewWorkflow delayed = enqueued("later", "orders");
    delayed.status = "DELAYED";
    delayed.delay_until_ms = 4102444800000;
    database->start_workflow(delayed);
    database->record_outcome({{"w", "t"}, true, "1", "limited"});
    database->record_outcome({{"w", "t"}, true, "1", "limited"});  // lost: nothing ended
    database->close();
    EXPECT_EQ(told, (std::vector<std::string>{"q orders", "w w", "q limited"}));
}

TEST(WakePayload, many_names_become_all) {
    std::vector<std::uint32_t> queues, workflows;
    for (std::uint32_t n = 0; n < 2000; ++n) workflows.push_back(n * 7919u);
    queues = {1, 1, 2};
    EXPECT_EQ(wake_payload("my \"odd\" schema", queues, workflows),
              "my \"odd\" schema q:00000001,00000002 w:*");
    workflows.resize(700);
    queues = {};
    EXPECT_LT(wake_payload(std::string(63, 'x'), queues, workflows).size(), 8000u);
    EXPECT_EQ(wake_hash("a"), 0xe40c292cu);
}

TEST(WakePayload, what_is_built_is_read_back) {
    for (const std::string schema : {"dbos", "my \"odd\" schema", "a q:1 w:2", " q: w:", ""}) {
        for (const std::size_t queues : {0u, 1u, 3u, 400u, 401u}) {
            for (const std::size_t workflows : {0u, 2u, 400u, 401u, 800u, 801u}) {
                std::vector<std::uint32_t> q, w;
                for (std::size_t n = 0; n < queues; ++n) q.push_back(wake_hash("queue" + std::to_string(n)));
                for (std::size_t n = 0; n < workflows; ++n) w.push_back(wake_hash("id" + std::to_string(n)));
                const std::string payload = wake_payload(schema, q, w);
                EXPECT_LT(payload.size(), 8000u);
                const Wakeups::Event event = WakeListener::parse(payload, schema);
                SCOPED_TRACE(schema + " " + std::to_string(queues) + " " + std::to_string(workflows));
                EXPECT_FALSE(event.all);
                EXPECT_EQ(event.all_queues, queues > 400);
                EXPECT_EQ(event.all_workflows, workflows > 800 - std::min<std::size_t>(queues, 400));
                if (!event.all_queues) {
                    EXPECT_EQ(event.queue_hashes, q);  // sorted when it was built
                }
                if (!event.all_workflows) {
                    EXPECT_EQ(event.workflow_hashes, w);
                }
                const Wakeups::Event other = WakeListener::parse(payload, schema + "2");
                EXPECT_TRUE(!other.all_queues && !other.all_workflows && other.queue_hashes.empty() &&
                            other.workflow_hashes.empty());
            }
        }
    }
}

TEST(WakePayload, what_is_no_payload_says_nothing) {
    for (const std::string payload :
         {"", "dbos", "dbos q:1", "dbos w:1", "q:1 w:1", "dbos  q:1 w:1", "dbosq:1 w:1"}) {
        const Wakeups::Event event = WakeListener::parse(payload, "dbos");
        EXPECT_FALSE(event.all || event.all_queues || event.all_workflows) << payload;
        EXPECT_TRUE(event.queue_hashes.empty() && event.workflow_hashes.empty()) << payload;
    }
    // Only whole hashes count.
    const Wakeups::Event event =
        WakeListener::parse("dbos q:xyz,00000001,123456789,,2 w:-1,0000000a", "dbos");
    EXPECT_EQ(event.queue_hashes, (std::vector<std::uint32_t>{1, 2}));
    EXPECT_EQ(event.workflow_hashes, (std::vector<std::uint32_t>{10}));
}

TEST(DurableClockTest, never_goes_back_and_follows_the_database) {
    DurableClock clock;
    const Millis wall = clock.now_ms();
    EXPECT_GT(wall, 1'700'000'000'000);
    const auto sent = seam::boot_now();
    clock.observe(wall + 60'000, sent, sent);
    const Millis ahead = clock.now_ms();
    EXPECT_GE(ahead, wall + 59'000);
    clock.observe(wall, sent, sent);
    EXPECT_GE(clock.now_ms(), ahead);
}

}  // namespace
}  // namespace dbos::test
