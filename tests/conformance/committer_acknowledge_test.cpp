// When callers are told. Those of one batch are told while the next one is at the server, so they must be told as well when
// the next one cannot be sent, when there is no connection for it, and at the end.
#include <random>
#include <thread>

#include "support/app.hpp"
#include "support/committer.hpp"
#include "sysdb/committer.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;

class CommitterAcknowledges : public CommitterTest {
   public:
    void SetUp() override {
        CommitterTest::SetUp();
        if (IsSkipped() || HasFailure()) return;
        for (const char* id : {"v", "w"}) database().start_workflow(pending(id, "t"));
    }
    /// "w" stands in one batch and "v" in the next one.
    void one_after_the_other() {
        main().close_gate();
        record("w", 0, collected().step("w"));
        main().wait_for_commit();
        record("v", 0, collected().step("v"));
        main().open_gate();
    }
};
DBOS_FOR_EVERY_DATABASE(CommitterAcknowledges);

TEST_P(CommitterAcknowledges, while_the_next_batch_is_at_the_server) {
    // The next one has been executed, and its answer has not been looked at yet.
    bool told = false;
    main().next({Fault::none, Fault::lose_ack});
    main().meanwhile([&] { told = collected().has("w"); });
    one_after_the_other();
    ASSERT_TRUE(collected().wait());
    EXPECT_TRUE(told);
    EXPECT_EQ(collected().recorded("w").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().recorded("v").kind, StepResult::Kind::recorded);
}

TEST_P(CommitterAcknowledges, when_the_next_batch_cannot_be_sent) {
    main().next({Fault::none});
    main().always(Fault::refuse);
    one_after_the_other();
    EXPECT_TRUE(collected().wait_for("w")) << "the next batch will never be written";
    EXPECT_FALSE(collected().has("v"));
    main().always(Fault::none);
    ASSERT_TRUE(collected().wait());
    EXPECT_EQ(collected().recorded("w").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().recorded("v").kind, StepResult::Kind::recorded);
}

TEST_P(CommitterAcknowledges, when_the_next_batch_is_refused_for_good) {
    DatabaseOptions with;
    with.retry_connection_errors = false;
    use(lanes(with));
    main().next({Fault::none, Fault::refuse});
    one_after_the_other();
    ASSERT_TRUE(collected().wait());
    EXPECT_EQ(collected().recorded("w").kind, StepResult::Kind::recorded);
    EXPECT_THROW(std::rethrow_exception(collected().error("v")), DatabaseError);
}

TEST_P(CommitterAcknowledges, when_the_connection_is_lost_and_the_next_one_takes_long) {
    Gate connecting;
    seam::Atomic<bool> slow{false};
    use(lanes({}, [&] {
        if (slow.load()) connecting.pass();
    }));
    slow.store(true);
    main().next({Fault::sever});
    one_after_the_other();
    EXPECT_TRUE(collected().wait_for("w")) << "it was committed; only the next batch needs a connection";
    EXPECT_TRUE(connecting.wait_for_arrivals(1));
    EXPECT_FALSE(collected().has("v"));
    connecting.open();
    ASSERT_TRUE(collected().wait());
    EXPECT_EQ(collected().recorded("w").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().recorded("v").kind, StepResult::Kind::recorded);
}

TEST_P(CommitterAcknowledges, when_the_server_ends_the_session) {
    if (!postgres()) GTEST_SKIP() << "a file has no sessions";
    auto holder = open();
    holder->begin();
    holder->query("SELECT 1 FROM @workflow_status WHERE workflow_uuid = 'v' FOR UPDATE", {},
                  sql::Access::write);
    one_after_the_other();
    EXPECT_TRUE(collected().wait_for("w")) << "the next batch waits for a lock";
    EXPECT_FALSE(collected().has("v"));
    write(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query "
        "LIKE '%' "
        "|| $1 || '%'",
        {std::string_view(database().options().open.schema)});
    holder->commit();
    ASSERT_TRUE(collected().wait());
    EXPECT_EQ(collected().recorded("w").kind, StepResult::Kind::recorded);
    EXPECT_EQ(collected().recorded("v").kind, StepResult::Kind::recorded);
}

TEST_P(CommitterAcknowledges, at_close) {
    // "w" has been committed, "v" stands before its commit, and "u" waits.
    main().close_gate();
    record("w", 0, collected().step("w"));
    main().wait_for_commit();
    record("v", 0, collected().step("v"));
    main().pass_one();
    main().wait_for_commit();
    record("u", 0, collected().step("u"));
    std::thread closing([&] { database().close(std::chrono::nanoseconds(0)); });
    // Nothing is accepted any more: close() has begun.
    int asked = 0;
    EXPECT_TRUE(eventually([&] {
        const std::string name = "late" + std::to_string(asked++);
        database().start_workflow_async(enqueued(name), collected().start(name));
        return collected().has(name);  // refused on the spot; an accepted one waits behind the gate
    }));
    main().open_gate();
    closing.join();
    ASSERT_TRUE(collected().wait(1));
    EXPECT_EQ(collected().recorded("w").kind, StepResult::Kind::recorded);
    EXPECT_EQ(database().pending_writes(), 0u);
    // The others were told what is true of them.
    for (const char* id : {"v", "u"}) {
        const bool there = one("SELECT count(*) FROM @operation_outputs WHERE workflow_uuid = $1",
                               {std::string_view(id)}) == "1";
        if (!collected().error(id)) {
            EXPECT_TRUE(there || collected().recorded(id).kind == StepResult::Kind::lost) << id;
            continue;
        }
        try {
            std::rethrow_exception(collected().error(id));
        } catch (const DatabaseError& error) {
            EXPECT_EQ(error.kind(), DatabaseErrorKind::closed);
            EXPECT_TRUE(!there || error.outcome_unknown()) << id;
        }
    }
}

/// What callbacks said of many starts.
class Told {
   public:
    void operator()(std::size_t n, const std::exception_ptr& error) {
        ++calls[n];
        if (!error) {
            created[n] = 1;
            return;
        }
        try {
            std::rethrow_exception(error);
        } catch (const DatabaseError& known) {
            if (known.outcome_unknown()) unknown[n] = 1;
            if (known.kind() != DatabaseErrorKind::closed) ++wrong;
        } catch (...) {
            ++wrong;
        }
    }
    explicit Told(std::size_t count) : calls(count), created(count), unknown(count) {}
    std::vector<seam::Atomic<int>> calls, created, unknown;
    seam::Atomic<int> wrong{0};
};

TEST_P(CommitterAcknowledges, everybody_once_whenever_it_is_closed) {
    // Writers on many threads, small and large payloads, while the object is closed. Each is told once, and truly.
    constexpr std::size_t kThreads = 6, kEach = 60, kCount = kThreads * kEach;
    const std::uint64_t seed = seam::random_u64();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const std::string large(kLargePayload + 1, 'x');
    for (int round = 0; round < 12; ++round) {
        Told told(kCount);  // outlives who calls it
        auto database = make();
        seam::Atomic<std::size_t> begun{0};
        const std::string prefix = "r" + std::to_string(round) + "-";
        std::vector<std::thread> threads;
        for (std::size_t thread = 0; thread < kThreads; ++thread) {
            threads.emplace_back([&, thread] {
                for (std::size_t n = thread * kEach; n < (thread + 1) * kEach; ++n) {
                    NewWorkflow workflow = enqueued(prefix + std::to_string(n));
                    if (n % 16 == 0) workflow.inputs = large;
                    begun.fetch_add(1);
                    try {
                        database->start_workflow_async(
                            workflow, [&told, n](const StartResult&, std::exception_ptr e) { told(n, e); });
                    } catch (const DatabaseError&) {  // closed before the committer was ever started
                        told(n, std::current_exception());
                    }
                }
            });
        }
        const std::size_t until = random() % kCount;
        while (begun.load() < until) std::this_thread::yield();
        database->close(std::chrono::microseconds(random() % 2000));
        for (std::thread& thread : threads) thread.join();
        EXPECT_EQ(database->pending_writes(), 0u);
        std::vector<char> there(kCount);
        for (const std::string& id :
             rows("SELECT workflow_uuid FROM @workflow_status WHERE workflow_uuid LIKE $1",
                  {std::string_view(prefix + "%")})) {
            there[std::stoul(id.substr(prefix.size()))] = 1;
        }
        EXPECT_EQ(told.wrong.load(), 0);
        for (std::size_t n = 0; n < kCount; ++n) {
            ASSERT_EQ(told.calls[n].load(), 1) << n;
            if (told.unknown[n].load() == 0) {
                ASSERT_EQ(told.created[n].load(), there[n]) << n;
            }
        }
    }
}

}  // namespace
}  // namespace dbos::test
