// What one process hears of another's commits.
#include "support/collected.hpp"
#include "support/system_database.hpp"

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
