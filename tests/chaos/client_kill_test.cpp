// The backends of a client are terminated at random moments while it enqueues and sends, from several threads and through
// Futures, one by one and in bulk: every call is done exactly once, and none fails with what the rules say to repeat. Short here;
// DBOS_TEST_KILL_CALLS=10000 is the long form.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "chaos/pg/random.hpp"
#include "support/client_rows.hpp"

namespace {

using namespace std::chrono_literals;
using dbos::chaos::Random;

inline constexpr auto Pay = dbos::workflow<int(int)>("pay");

/// Terminates backends of one application_name until it is destroyed.
class Killer {
   public:
    Killer(const dbos::sql::OpenOptions& options, std::string victims, std::uint64_t seed)
        : connection_(dbos::sql::open(options)), victims_(std::move(victims)), random_(seed, 99) {
        thread_ = std::thread([this] {
            while (!stop_) {
                const auto hit = connection_->query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '" +
                    victims_ + "' ORDER BY random() LIMIT " + std::to_string(random_.between(1, 3)));
                killed_ += hit.size();
                // A pause in the library's own retries is 0.1 s and more: kills in bursts hit those as well.
                std::this_thread::sleep_for(
                    std::chrono::milliseconds(random_.one_in(8) ? 150 : random_.between(1, 25)));
            }
        });
    }
    ~Killer() { stop(); }
    std::size_t stop() {
        stop_ = true;
        if (thread_.joinable()) thread_.join();
        return killed_;
    }

   private:
    std::unique_ptr<dbos::sql::Connection> connection_;
    const std::string victims_;
    Random random_;
    std::atomic<bool> stop_{false};
    std::size_t killed_ = 0;
    std::thread thread_;
};

class ClientKill : public dbos::test::ClientTest {
   public:
    static int calls() {
        const char* given = std::getenv("DBOS_TEST_KILL_CALLS");
        return given && *given ? std::atoi(given) : 800;
    }
    static std::uint64_t seed() {
        const char* given = std::getenv("DBOS_TEST_SEED");
        return given && *given ? std::strtoull(given, nullptr, 10) : 1;
    }
    /// A client whose connections can be told from all others.
    std::unique_ptr<dbos::Client> victim() {
        dbos::ClientOptions options = client_options();
        name_ = "dbos_kill_" + database().schema();
        const bool more = options.system_database_url.find('?') != std::string::npos;
        options.system_database_url += (more ? "&" : "?") + std::string("application_name=") + name_;
        return make_client(std::move(options));
    }
    std::string number(const std::string& query) { return query_text(query); }
    const std::string& name() const { return name_; }

   private:
    std::string name_;
};
INSTANTIATE_TEST_SUITE_P(Every, ClientKill, testing::Values(dbos::sql::Backend::postgres),
                         dbos::test::backend_name);

/// What came of all calls; filled by several threads.
struct Outcomes {
    std::atomic<int> done{0};
    std::mutex mutex;
    std::string errors;
    template <class F>
    void of(F call) {
        try {
            call();
            ++done;
        } catch (const std::exception& error) {
            const std::lock_guard lock(mutex);
            errors += std::string(error.what()) + "\n";
        }
    }
};

TEST_P(ClientKill, every_enqueue_and_every_send_is_done_once) {
    const int n = calls(), quarter = n / 4;
    const auto client = victim();
    // Destinations of the messages, and futures that wait all the while: no kill ends them.
    for (int i = 0; i < 20; ++i)
        client->enqueue(Pay, {.queue_name = "q", .workflow_id = "to" + std::to_string(i)}, i);
    std::vector<dbos::Future<int>> waits;
    for (int i = 0; i < 20; ++i)
        waits.push_back(client->retrieve_workflow(Pay, "to" + std::to_string(i)).get_result_async());

    Outcomes outcomes;
    const auto id = [](int i) { return "w" + std::to_string(i); };
    const auto options = [&](int i) {
        return dbos::EnqueueOptions{
            .queue_name = "q", .workflow_id = id(i), .deduplication_id = i % 3 ? "" : "d" + id(i)};
    };
    const auto to = [](int i) { return "to" + std::to_string(i % 20); };
    const auto send_options = [](int i) {
        // Every fourth without a key: its id is made once as well.
        return dbos::SendOptions{.idempotency_key = i % 4 ? "k" + std::to_string(i) : ""};
    };
    Killer killer(this->options(), name(), seed());
    std::vector<std::thread> threads;
    for (int part = 0; part < 2; ++part) {
        threads.emplace_back([&, part] {  // one by one
            for (int i = part; i < quarter; i += 2) {
                outcomes.of([&] { client->enqueue(Pay, options(i), i); });
                outcomes.of([&] { client->send(to(i), i, "t", send_options(i)); });
            }
        });
    }
    threads.emplace_back([&] {  // Futures, 32 at a time
        for (int begin = quarter; begin < 2 * quarter; begin += 32) {
            std::vector<dbos::Future<dbos::WorkflowHandle<int>>> starts;
            std::vector<dbos::Future<void>> sends;
            for (int i = begin; i < std::min(begin + 32, 2 * quarter); ++i) {
                starts.push_back(client->enqueue_async(Pay, options(i), i));
                sends.push_back(client->send_async(to(i), i, "t", send_options(i)));
            }
            for (auto& start : starts) outcomes.of([&] { start.get(); });
            for (auto& send : sends) outcomes.of([&] { send.get(); });
        }
    });
    threads.emplace_back([&] {  // in bulk, 50 at a time
        for (int begin = 2 * quarter; begin < n; begin += 50) {
            std::vector<dbos::EnqueueRequest> requests;
            std::vector<dbos::Message> messages;
            for (int i = begin; i < std::min(begin + 50, n); ++i) {
                requests.push_back(dbos::enqueue_request(Pay, options(i), i));
                messages.push_back({.destination_id = to(i),
                                    .message = i,
                                    .topic = "t",
                                    .idempotency_key = send_options(i).idempotency_key});
            }
            const bool async = begin / 50 % 2 == 0;
            outcomes.of([&] {
                if (async) {
                    client->enqueue_bulk_async<int>(requests).get();
                } else {
                    client->enqueue_bulk<int>(requests);
                }
                outcomes.done += static_cast<int>(requests.size()) - 1;
            });
            outcomes.of([&] {
                if (async) {
                    client->send_bulk_async(messages).get();
                } else {
                    client->send_bulk(messages);
                }
                outcomes.done += static_cast<int>(messages.size()) - 1;
            });
        }
    });
    for (auto& thread : threads) thread.join();
    const std::size_t killed = killer.stop();

    EXPECT_EQ(outcomes.errors, "");
    EXPECT_EQ(outcomes.done, 2 * n);
    EXPECT_GT(killed, 10u);
    const std::string wanted = std::to_string(n);
    EXPECT_EQ(number("SELECT count(*) FROM @workflow_status WHERE workflow_uuid LIKE 'w%'"), wanted);
    EXPECT_EQ(number("SELECT count(*) FROM @workflow_input WHERE workflow_uuid LIKE 'w%' AND inputs = "
                     "'{\"positionalArgs\":[' || substr(workflow_uuid, 2) || '],\"namedArgs\":{}}'"),
              wanted);
    EXPECT_EQ(number("SELECT count(*) FROM @notifications"), wanted);
    EXPECT_EQ(number("SELECT count(DISTINCT message) FROM @notifications"), wanted);
    EXPECT_EQ(
        number("SELECT count(*) FROM @notifications WHERE destination_uuid = 'to' || (message::int % 20)"),
        wanted);
    for (auto& wait : waits) EXPECT_FALSE(wait.ready());
    for (int i = 0; i < 20; ++i) end("to" + std::to_string(i), "SUCCESS", std::to_string(i));
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(waits[static_cast<std::size_t>(i)].wait_for(30s));
        EXPECT_EQ(waits[static_cast<std::size_t>(i)].get(), i);
    }
    std::printf("chaos: %d enqueues and %d sends, %zu backends terminated, each done once\n", n, n, killed);
}

TEST_P(ClientKill, managing_calls_are_repeated_or_say_that_their_outcome_is_unknown) {
    const int n = calls() / 20;
    const auto client = victim();
    execute(
        "INSERT INTO @application_versions (version_id, version_name, version_timestamp, created_at) VALUES "
        "('1', 'v1', 1, 1), ('2', 'v2', 2, 2)");
    for (int i = 0; i < n; ++i)
        client->enqueue(Pay, {.queue_name = "q", .workflow_id = "w" + std::to_string(i)}, i);
    Killer killer(options(), name(), seed());
    std::atomic<int> unknown{0};
    Outcomes outcomes;
    const auto may_be_unknown = [&](auto call) {
        outcomes.of([&] {
            try {
                call();
            } catch (const dbos::OutcomeUnknown&) {
                ++unknown;
            }
        });
    };
    std::vector<std::thread> threads;
    for (int part = 0; part < 4; ++part) {
        threads.emplace_back([&, part] {
            for (int i = part; i < n; i += 4) {
                const std::string id = "w" + std::to_string(i);
                outcomes.of([&] { client->set_workflow_priority(id, i); });
                outcomes.of([&] {
                    client->update_workflow_attributes(id, dbos::Any(std::map<std::string, int>{{"a", i}}));
                });
                may_be_unknown([&] {
                    client->update_workflow_attributes(id, dbos::Any(std::map<std::string, int>{{"b", i}}),
                                                       {.merge = true});
                });
                outcomes.of(
                    [&] { client->fork_workflow(id, 0, {.new_workflow_id = "f" + std::to_string(i)}); });
                outcomes.of([&] { client->cancel_workflow(id); });
                outcomes.of([&] { client->resume_workflow_async(id).get(); });
                outcomes.of([&] { client->cancel_workflows_async({id}).get(); });
                may_be_unknown([&] { client->set_latest_version(i % 2 ? "v1" : "v2"); });
                may_be_unknown([&] { client->rewind_workflow(id); });
                outcomes.of([&] { client->list_workflows({.workflow_ids = id}); });
                outcomes.of([&] { client->register_queue({.name = id}); });
                outcomes.of([&] {
                    client->create_schedule(
                        {.schedule_name = id, .workflow_name = "pay", .schedule = "@daily"});
                });
                outcomes.of([&] { client->delete_workflow_async("f" + std::to_string(i - 4)).get(); });
            }
        });
    }
    for (auto& thread : threads) thread.join();
    const std::size_t killed = killer.stop();
    EXPECT_EQ(outcomes.errors, "");
    EXPECT_EQ(outcomes.done, 13 * n);
    const std::string all = std::to_string(n);
    EXPECT_EQ(number("SELECT count(*) FROM @workflow_status WHERE workflow_uuid LIKE 'w%'"), all);
    EXPECT_EQ(number("SELECT count(*) FROM @workflow_status WHERE workflow_uuid LIKE 'f%'"), "4");
    EXPECT_EQ(
        number("SELECT count(*) FROM @workflow_status s JOIN @workflow_input i USING (workflow_uuid) WHERE "
               "workflow_uuid LIKE 'f%'"),
        "4");
    EXPECT_EQ(
        number("SELECT count(*) FROM @workflow_status WHERE workflow_uuid LIKE 'w%' AND attributes ->> 'a' = "
               "substr(workflow_uuid, 2)"),
        all);
    EXPECT_EQ(number("SELECT count(*) FROM @workflow_schedules"), all);
    EXPECT_EQ(number("SELECT count(*) FROM @queues"), all);
    std::printf("chaos: %d managing calls, %zu backends terminated, %d outcomes unknown\n", 13 * n, killed,
                unknown.load());
}

}  // namespace
