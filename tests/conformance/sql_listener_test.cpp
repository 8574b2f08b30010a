// LISTEN: delivery, loss, self-test.
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "support/database.hpp"

namespace dbos::sql {
namespace {

using namespace std::chrono_literals;

class SqlListener : public testing::Test {
   public:
    void SetUp() override {
        if (!test::need_postgres()) return;
        database.emplace(Backend::postgres);
        connection = open(database->options());
        channel = database->schema() + " \"Odd\"";
    }
    Listener::Handler handler() {
        return {.notified =
                    [this](std::string_view name, std::string_view payload) {
                        const std::lock_guard lock(mutex);
                        heard.emplace_back(name, payload);
                    },
                .reconnected = [this] { ++subscriptions; }};
    }
    OpenOptions named() const {
        OpenOptions options = database->options();
        options.application_name = "listener " + options.schema;
        return options;
    }
    void notify(const std::string& payload) {
        connection->query("SELECT pg_notify($1, $2)", {std::string_view(channel), std::string_view(payload)},
                          Access::write);
    }
    std::size_t count() {
        const std::lock_guard lock(mutex);
        return heard.size();
    }

    std::optional<test::TestDatabase> database;
    std::unique_ptr<Connection> connection;
    std::string channel;
    std::mutex mutex;
    std::vector<std::pair<std::string, std::string>> heard;
    std::atomic<int> subscriptions{0};
};

TEST_F(SqlListener, delivers_in_order) {
    const Listener listener(named(), {"other", channel}, handler());
    ASSERT_TRUE(test::eventually([&] { return subscriptions == 1; }));
    EXPECT_TRUE(listener.connected());
    for (int i = 0; i < 50; ++i) notify("p" + std::to_string(i));
    ASSERT_TRUE(test::eventually([&] { return count() == 50; }));
    EXPECT_EQ(heard.front(), std::pair(channel, std::string("p0")));
    EXPECT_EQ(heard.back().second, "p49");
}

TEST_F(SqlListener, subscribes_again_after_a_loss) {
    const OpenOptions options = named();
    const Listener listener(options, {channel}, handler());
    for (int round = 1; round <= 3; ++round) {
        ASSERT_TRUE(test::eventually([&] { return subscriptions == round; }));
        notify("round " + std::to_string(round));
        ASSERT_TRUE(test::eventually([&] { return count() == static_cast<std::size_t>(round); }));
        connection->query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
            {std::string_view(options.application_name)});
    }
    EXPECT_TRUE(test::eventually([&] { return subscriptions == 4; }));
}

TEST_F(SqlListener, self_test) {
    Listener listener(named(), {channel}, handler());
    EXPECT_TRUE(listener.self_test(20s));
    EXPECT_TRUE(listener.self_test(20s));
    EXPECT_EQ(count(), 0U) << "its own channel is not the handler's";
    OpenOptions nowhere = named();
    nowhere.url = Url::parse("postgresql://127.0.0.1:1/none");
    Listener lost(nowhere, {channel}, handler());
    EXPECT_FALSE(lost.self_test(10ms));
    EXPECT_FALSE(lost.connected());
}

TEST_F(SqlListener, ends_at_once_and_calls_nothing_afterwards) {
    for (int i = 0; i < 20; ++i) {
        const Listener listener(named(), {channel}, handler());
    }
    const int before = subscriptions;
    notify("too late");
    EXPECT_EQ(subscriptions, before);
    EXPECT_EQ(count(), 0U);
}

}  // namespace
}  // namespace dbos::sql
