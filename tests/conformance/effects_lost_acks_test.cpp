// Effects whose acknowledgement is lost, whether they were executed or not: each scenario of safety 36 and 37.
#include "support/effects.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;
using Kind = StepResult::Kind;

class EffectsLostAcks : public EffectsTest {
   public:
    void SetUp() override {
        EffectsTest::SetUp();
        if (IsSkipped() || HasFailure()) return;
        for (const char* id : {"w", "x"}) database().start_workflow(pending(id, "t"));
        database().record_effect(
            {"x", "t"}, checkpoint(1),
            sends({message("w", "\"first\"", "m1", 10), message("w", "\"second\"", "m2", 20)}));
    }
    StepResult does(std::int32_t number, const Effect& effect) {
        return database().record_effect({"w", "t"}, checkpoint(number), effect);
    }
    void expect_each_once() {
        EXPECT_EQ(events(), (Lines{"w|k|1"}));
        EXPECT_EQ(history(), (Lines{"w|2|k|1"}));
        EXPECT_EQ(streams(), (Lines{"w|s|0|a|3"}));
        EXPECT_EQ(messages(), (Lines{"m1|w|\"first\"|1", "m2|w|\"second\"|-", "m3|x|1|-"}));
        EXPECT_EQ(steps_of("w"), (Lines{"1|\"first\"", "2|-", "3|-", "4|-"}));
    }
    void each_alone(const std::vector<Fault>& faults) {
        main().next(faults);
        const StepResult received = does(1, receives());
        EXPECT_EQ(received.kind, Kind::recorded);
        EXPECT_EQ(received.stored.output, "\"first\"") << "a second one would reach nobody";
        EXPECT_EQ(received.stored.serialization, "portable_json");
        main().next(faults);
        EXPECT_EQ(does(2, sets("k", "1")).kind, Kind::recorded);
        main().next(faults);
        EXPECT_EQ(does(3, appends("s", "a")).kind, Kind::recorded);
        main().next(faults);
        EXPECT_EQ(does(4, sends({message("x", "1", "m3")})).kind, Kind::recorded);
        expect_each_once();
    }
    void all_in_a_batch(const std::vector<Fault>& faults) {
        main().next(faults);
        together([&] {
            act("w", 1, receives(), collected().step("receive"));
            act("w", 2, sets("k", "1"), collected().step("event"));
            act("w", 3, appends("s", "a"), collected().step("append"));
            act("w", 4, sends({message("x", "1", "m3")}), collected().step("send"));
        });
    }
    void expect_all_recorded() {
        EXPECT_EQ(collected().errors(), 0u);
        for (const char* name : {"receive", "event", "append", "send"})
            EXPECT_EQ(collected().recorded(name).kind, Kind::recorded) << name;
        EXPECT_EQ(collected().recorded("receive").stored.output, "\"first\"");
        expect_each_once();
    }
};
DBOS_FOR_EVERY_DATABASE(EffectsLostAcks);

TEST_P(EffectsLostAcks, each_alone_that_was_executed) { each_alone({Fault::lose_ack, Fault::lose_ack}); }
TEST_P(EffectsLostAcks, each_alone_that_was_not_executed) { each_alone({Fault::drop, Fault::refuse}); }
TEST_P(EffectsLostAcks, each_alone_that_was_executed_at_last) { each_alone({Fault::drop, Fault::lose_ack}); }

TEST_P(EffectsLostAcks, a_batch_that_was_executed) {
    all_in_a_batch({Fault::none, Fault::lose_ack, Fault::lose_ack});
    expect_all_recorded();
}

TEST_P(EffectsLostAcks, a_batch_that_was_not_executed) {
    all_in_a_batch({Fault::none, Fault::drop, Fault::refuse, Fault::drop});
    expect_all_recorded();
}

TEST_P(EffectsLostAcks, what_is_stored_is_delivered_not_what_came_meanwhile) {
    main().next({Fault::lose_ack});
    main().meanwhile([&] {
        write(
            "INSERT INTO @notifications (message_uuid, destination_uuid, topic, message, "
            "created_at_epoch_ms) "
            "VALUES ('m0', 'w', '__null__topic__', '\"older\"', 1)");
    });
    EXPECT_EQ(does(1, receives()).stored.output, "\"first\"");
    EXPECT_EQ(one("SELECT count(*) FROM @notifications WHERE consumed"), "1");
    main().next({Fault::lose_ack});
    main().meanwhile([&] {
        write(
            "INSERT INTO @notifications (message_uuid, destination_uuid, topic, message) VALUES ('m9', 'w', "
            "'empty', '\"late\"')");
    });
    const StepResult nothing = does(2, receives(true, "empty"));
    EXPECT_EQ(nothing.kind, Kind::recorded);
    EXPECT_EQ(nothing.stored.output, std::nullopt) << "nothing was recorded, and stays";
    EXPECT_EQ(one("SELECT count(*) FROM @notifications WHERE consumed"), "1");
}

TEST_P(EffectsLostAcks, an_event_that_was_set_again_meanwhile_is_not_set_back) {
    main().next({Fault::lose_ack});
    main().meanwhile([&] { make()->record_effect({"w", "t"}, checkpoint(2, 3000), sets("k", "2")); });
    EXPECT_EQ(does(1, sets("k", "1")).kind, Kind::recorded);
    EXPECT_EQ(events(), (Lines{"w|k|2"}));
    EXPECT_EQ(history(), (Lines{"w|1|k|1", "w|2|k|2"}));
}

TEST_P(EffectsLostAcks, a_peer_that_took_over_before_the_repeat) {
    main().next({Fault::none, Fault::drop});
    main().meanwhile([&] {
        write("UPDATE @workflow_status SET owner_xid = 'peer' WHERE workflow_uuid = 'w'");
        make()->record_effect({"w", "peer"}, checkpoint(1, 3000), receives());
    });
    together([&] {
        act("w", 1, receives(), collected().step("receive"));
        act("w", 2, sets("k", "1"), collected().step("event"));
        act("w", 3, appends("s", "a"), collected().step("append"));
        act("w", 4, sends({message("x", "1", "m3")}), collected().step("send"));
    });
    EXPECT_EQ(collected().errors(), 0u);
    for (const char* name : {"receive", "event", "append", "send"})
        EXPECT_EQ(collected().recorded(name).kind, Kind::lost) << name;
    EXPECT_EQ(messages(), (Lines{"m1|w|\"first\"|1", "m2|w|\"second\"|-"}));
    EXPECT_EQ(events(), Lines{});
    EXPECT_EQ(streams(), Lines{});
}

TEST_P(EffectsLostAcks, a_peer_that_took_over_after_the_commit) {
    // What was committed stays, once; the stale run is told that it has lost.
    main().next({Fault::lose_ack});
    main().meanwhile(
        [&] { write("UPDATE @workflow_status SET owner_xid = 'peer' WHERE workflow_uuid = 'w'"); });
    EXPECT_EQ(does(3, appends("s", "a")).kind, Kind::lost);
    EXPECT_EQ(streams(), (Lines{"w|s|0|a|3"}));
}

TEST_P(EffectsLostAcks, another_record_of_the_same_run) {
    main().next({Fault::drop});
    main().meanwhile([&] { make()->record_step({"w", "t"}, step(1, "theirs", 3000)); });
    const StepResult result = does(1, receives());
    EXPECT_EQ(result.kind, Kind::other);
    EXPECT_EQ(result.stored.output, "theirs");
    EXPECT_EQ(one("SELECT count(*) FROM @notifications WHERE consumed"), "0");
}

TEST_P(EffectsLostAcks, a_destination_that_appears_before_the_repeat) {
    main().next({Fault::drop});
    main().meanwhile([&] { make()->start_workflow(enqueued("new")); });
    EXPECT_EQ(does(1, sends({message("new", "1", "m")})).kind, Kind::recorded);
    EXPECT_EQ(one("SELECT count(*) FROM @notifications WHERE destination_uuid = 'new'"), "1");
}

TEST_P(EffectsLostAcks, inside_a_step_only_messages_are_told_from_repeats) {
    // Effects of steps have only the fence: they may repeat.
    main().next({Fault::lose_ack});
    EXPECT_EQ(database().apply_effect({"w", "t"}, 5, sends({message("x", "1", "m3")})).kind, Kind::recorded);
    main().next({Fault::drop});
    EXPECT_EQ(database().apply_effect({"w", "t"}, 5, appends("s", "a")).kind, Kind::recorded);
    EXPECT_EQ(streams(), (Lines{"w|s|0|a|5"}));
    main().next({Fault::drop});
    main().meanwhile(
        [&] { write("UPDATE @workflow_status SET owner_xid = 'peer' WHERE workflow_uuid = 'w'"); });
    EXPECT_EQ(database().apply_effect({"w", "t"}, 5, appends("s", "b")).kind, Kind::lost);
    EXPECT_EQ(streams().size(), 1u);
    EXPECT_EQ(one("SELECT count(*) FROM @notifications WHERE message_uuid = 'm3'"), "1");
}

TEST_P(EffectsLostAcks, without_retries_the_error_says_that_the_outcome_is_unknown) {
    DatabaseOptions with;
    with.retry_connection_errors = false;
    use(lanes(std::move(with)));
    main().next({Fault::lose_ack});
    try {
        does(1, receives());
        FAIL();
    } catch (const DatabaseError& error) {
        EXPECT_TRUE(error.outcome_unknown());
    }
}

TEST_P(EffectsLostAcks, what_follows_an_effect_that_failed_is_not_written_either) {
    // Else a replay would append, or set, the first one behind the others.
    DatabaseOptions with;
    with.retry_connection_errors = false;
    use(lanes(std::move(with)));
    main().next({Fault::none, Fault::refuse});
    together([&] {
        act("w", 1, sets("k", "1"), collected().step("failed"));
        act("w", 2, sets("k", "2"), collected().step("held"));  // for the next batch
        act("w", 3, appends("s", "a"), collected().step("behind"));
        database().record_step_async({"first", "t"}, step(500, "1", 2000), OnConflict::report,
                                     collected().step("another"));
    });
    for (const char* name : {"failed", "held", "behind"}) EXPECT_NE(collected().error(name), nullptr) << name;
    EXPECT_EQ(events(), Lines{});
    EXPECT_EQ(streams(), Lines{});
    EXPECT_THROW(does(4, sets("k", "4")), DatabaseError) << "nor what is submitted later";
    EXPECT_EQ(database().record_effect({"x", "t"}, checkpoint(7), sets("k", "1")).kind, Kind::recorded);
    // Whoever takes the run over writes again.
    write("UPDATE @workflow_status SET owner_xid = 't2' WHERE workflow_uuid = 'w'");
    EXPECT_EQ(database().record_effect({"w", "t2"}, checkpoint(1), sets("k", "1")).kind, Kind::recorded);
}

// ------------------------------------------------------------------------------------------------ locks (PostgreSQL)

class EffectLocks : public EffectsLostAcks {
   public:
    void SetUp() override {
        EffectsLostAcks::SetUp();
        if (!IsSkipped() && !postgres()) GTEST_SKIP() << "one writer at a time";
    }
};
DBOS_FOR_EVERY_DATABASE(EffectLocks);

TEST_P(EffectLocks, an_append_waits_for_the_lock_before_it_looks_at_the_last_offset) {
    // Another writer of the stream holds the status row, as every SDK of generation B does, and has appended already.
    auto other = open();
    other->begin();
    other->query("SELECT 1 FROM @workflow_status WHERE workflow_uuid = 'w' FOR NO KEY UPDATE", {},
                 sql::Access::write);
    other->query(
        "INSERT INTO @streams (workflow_uuid, key, value, \"offset\", function_id) VALUES ('w', 's', "
        "'theirs', 0, 9)",
        {}, sql::Access::write);
    act("w", 1, appends("s", "a"), collected().step("recorded"));
    // It waits: no commit of ours stands while the lock is held.
    const bool waits = eventually([&] {
        return one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND state = "
                   "'active' "
                   "AND query LIKE '%workflow_status%'") != "0";
    });
    EXPECT_TRUE(waits);
    EXPECT_FALSE(collected().has("recorded"));
    other->commit();
    ASSERT_TRUE(collected().wait());
    EXPECT_EQ(collected().recorded("recorded").kind, Kind::recorded);
    EXPECT_EQ(streams(), (Lines{"w|s|0|theirs|9", "w|s|1|a|1"}));
}

TEST_P(EffectLocks, writers_that_lock_the_same_rows_do_not_deadlock) {
    constexpr int kProcesses = 3, kThreads = 6, kRows = 15;
    std::vector<std::unique_ptr<SystemDatabase>> processes;
    for (int n = 0; n < kProcesses; ++n) processes.push_back(make());
    for (int n = 0; n < kRows; ++n) database().start_workflow(pending("r" + std::to_string(n), "t"));
    std::vector<seam::Thread> threads;
    seam::Atomic<int> wrong{0};
    for (int process = 0; process < kProcesses; ++process) {
        for (int thread = 0; thread < kThreads; ++thread) {
            threads.push_back(seam::spawn("test", [&, process, thread] {
                for (int n = 0; n < kRows; ++n) {
                    const int row = thread % 2 == 0 ? n : kRows - 1 - n;
                    const int peer = thread % 2 == 0 ? kRows - 1 - n : n;
                    const std::int32_t number = process * 100 + thread;
                    const std::string id = "r" + std::to_string(row);
                    const std::string text = std::to_string(number);
                    const Effect effect =
                        thread % 3 == 0 ? sets("k", text)
                        : thread % 3 == 1
                            ? appends("k", text)
                            : sends({message("r" + std::to_string(peer), text, id + "-" + text)});
                    const StepResult result = processes[static_cast<std::size_t>(process)]->record_effect(
                        {id, "t"}, checkpoint(number), effect);
                    if (result.kind != Kind::recorded) wrong.fetch_add(1);
                }
            }));
        }
    }
    for (seam::Thread& thread : threads) thread.join();
    EXPECT_EQ(wrong.load(), 0);
    const int each = kProcesses * kThreads / 3 * kRows;
    EXPECT_EQ(one("SELECT count(*) FROM @workflow_events_history"), std::to_string(each));
    EXPECT_EQ(one("SELECT count(*) FROM @streams"), std::to_string(each));
    EXPECT_EQ(one("SELECT count(*) FROM @notifications WHERE destination_uuid LIKE 'r%'"),
              std::to_string(each));
    EXPECT_EQ(one("SELECT count(*) FROM (SELECT 1 FROM @streams GROUP BY workflow_uuid HAVING count(*) <> "
                  "max(\"offset\") + 1) gaps"),
              "0");
}

TEST_P(EffectLocks, a_blocked_effect_waits_and_keeps_its_order) {
    auto other = open();
    other->begin();
    other->query("SELECT 1 FROM @workflow_status WHERE workflow_uuid = 'w' FOR NO KEY UPDATE", {},
                 sql::Access::write);
    act("w", 2, appends("s", "a"), collected().step("blocked"));
    act("w", 3, appends("s", "b"), collected().step("behind"));
    act("x", 4, appends("s", "x"), collected().step("free"));
    ASSERT_TRUE(collected().wait_for("free"));
    EXPECT_FALSE(collected().has("blocked"));
    other->rollback();
    ASSERT_TRUE(collected().wait());
    EXPECT_EQ(streams(), (Lines{"w|s|0|a|2", "w|s|1|b|3", "x|s|0|x|4"}));
}

}  // namespace
}  // namespace dbos::test
