// What a recorded operation does beside its checkpoint: messages, events and streams (safety 36, 37, 52; runtime.md 5).
#include "support/effects.hpp"

namespace dbos::test {
namespace {

using namespace sysdb;
using Kind = StepResult::Kind;

class Effects : public EffectsTest {
   public:
    void SetUp() override {
        EffectsTest::SetUp();
        if (IsSkipped() || HasFailure()) return;
        for (const char* id : {"w", "x"}) database().start_workflow(pending(id, "t"));
    }
    StepResult does(const std::string& id, std::int32_t number, const Effect& effect,
                    const std::string& token = "t", Millis completed_at = 2000) {
        return database().record_effect({id, token}, checkpoint(number, completed_at), effect);
    }
    const std::vector<Effect> each = {sends({message("x", "\"m\"", "m1")}), sets("k", "1"), appends("k", "1"),
                                      receives(true)};
};
DBOS_FOR_EVERY_DATABASE(Effects);

TEST_P(Effects, an_event_its_history_and_its_checkpoint) {
    EXPECT_EQ(does("w", 1, sets("k", "1")).kind, Kind::recorded);
    EXPECT_EQ(does("w", 2, sets("k", "2")).kind, Kind::recorded);
    EXPECT_EQ(does("w", 3, sets("other", "3")).kind, Kind::recorded);
    EXPECT_EQ(events(), (Lines{"w|k|2", "w|other|3"}));
    EXPECT_EQ(history(), (Lines{"w|1|k|1", "w|2|k|2", "w|3|other|3"}));
    EXPECT_EQ(rows("SELECT workflow_uuid, function_id, function_name, output, error, child_workflow_id, "
                   "started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name FROM "
                   "@operation_outputs WHERE workflow_uuid = 'w' AND function_id = 1"),
              (Lines{"w|1|s1|-|-|-|1999|2000|portable_json|app"}));
    EXPECT_EQ(one("SELECT DISTINCT serialization FROM @workflow_events"), "portable_json");
    EXPECT_EQ(one("SELECT DISTINCT serialization FROM @workflow_events_history"), "portable_json");
}

TEST_P(Effects, values_of_a_stream_are_numbered_by_key_and_workflow) {
    EXPECT_EQ(does("w", 1, appends("k", "a")).kind, Kind::recorded);
    EXPECT_EQ(does("w", 2, appends("k", "b")).kind, Kind::recorded);
    EXPECT_EQ(does("w", 3, appends("l", "c")).kind, Kind::recorded);
    EXPECT_EQ(does("x", 1, appends("k", "d")).kind, Kind::recorded);
    EXPECT_EQ(streams(), (Lines{"w|k|0|a|1", "w|k|1|b|2", "w|l|0|c|3", "x|k|0|d|1"}));
    EXPECT_EQ(one("SELECT DISTINCT serialization FROM @streams"), "portable_json");
}

TEST_P(Effects, messages_are_written_once_by_id) {
    EXPECT_EQ(
        does("w", 1, sends({message("x", "\"1\"", "m1", 10, "t"), message("w", "\"2\"", "m2", 11)})).kind,
        Kind::recorded);
    EXPECT_EQ(does("w", 2, sends({message("x", "\"again\"", "m1"), message("x", "\"3\"", "m3")})).kind,
              Kind::recorded);
    EXPECT_EQ(messages(), (Lines{"m1|x|\"1\"|-", "m2|w|\"2\"|-", "m3|x|\"3\"|-"}));
    EXPECT_EQ(one("SELECT topic, created_at_epoch_ms, serialization, destination_uuid FROM @notifications "
                  "WHERE message_uuid = 'm1'"),
              "t|10|portable_json|x");
    EXPECT_EQ(does("w", 3, sends({})).kind, Kind::recorded) << "an empty bulk is a step all the same";
    EXPECT_EQ(steps_of("w").size(), 3u);
}

TEST_P(Effects, a_missing_destination_refuses_the_whole_bulk) {
    const StepResult result = does("w", 1,
                                   sends({message("x", "1", "m1"), message("no", "1", "m2"),
                                          message("gone", "1", "m3"), message("no", "1", "m4")}));
    EXPECT_EQ(result.kind, Kind::missing);
    EXPECT_EQ(result.missing, (std::vector<std::string>{"gone", "no"}));
    EXPECT_EQ(nothing_written(), Lines{});
    EXPECT_EQ(steps_of("w"), Lines{}) << "the number is free for the error";
    EXPECT_EQ(database().record_step({"w", "t"}, step(1, "error", 2000)).kind, Kind::recorded);
    const StepResult applied = database().apply_effect({"w", "t"}, 2, sends({message("no", "1", "m")}));
    EXPECT_EQ(applied.kind, Kind::missing);
    EXPECT_EQ(applied.missing, (std::vector<std::string>{"no"}));
    EXPECT_EQ(nothing_written(), Lines{});
}

TEST_P(Effects, copies_reach_every_descendant_by_fork) {
    const auto fork = [&](const std::string& id, const std::string& of) {
        database().start_workflow(pending(id, "t"));
        write("UPDATE @workflow_status SET forked_from = $1 WHERE workflow_uuid = $2",
              {std::string_view(of), std::string_view(id)});
    };
    fork("f1", "x");
    fork("f2", "x");
    fork("f11", "f1");
    write("UPDATE @workflow_status SET forked_from = 'f11' WHERE workflow_uuid = 'x'");  // a circle
    EXPECT_EQ(does("w", 1, sends({message("x", "1", "m", 7, "t")}, true)).kind, Kind::recorded);
    const Lines expected{"m|x|1|-", "m::f1|f1|1|-", "m::f11|f11|1|-", "m::f2|f2|1|-"};
    EXPECT_EQ(messages(), expected);
    EXPECT_EQ(one("SELECT DISTINCT topic, created_at_epoch_ms, serialization FROM @notifications"),
              "t|7|portable_json");
    EXPECT_EQ(database().apply_effect({"w", "t"}, 2, sends({message("x", "1", "m", 7, "t")}, true)).kind,
              Kind::recorded);
    EXPECT_EQ(messages(), expected) << "what is there already";
    EXPECT_EQ(does("w", 3, sends({message("w", "1", "n")}, true)).kind, Kind::recorded);
    EXPECT_EQ(messages().size(), 5u) << "no forks, no copies";
}

TEST_P(Effects, a_receive_takes_the_oldest_by_instant_and_id) {
    does("x", 1,
         sends({message("w", "\"c\"", "m3", 20), message("w", "\"b\"", "m2", 10),
                message("w", "\"a\"", "m1", 10), message("w", "\"t\"", "m0", 1, "topic"),
                message("x", "\"x\"", "m4", 1)}));
    write("UPDATE @notifications SET serialization = NULL WHERE message_uuid = 'm2'");
    const StepResult first = does("w", 1, receives());
    EXPECT_EQ(first.kind, Kind::recorded);
    EXPECT_EQ(first.stored.output, "\"a\"");
    EXPECT_EQ(first.stored.serialization, "portable_json");
    EXPECT_EQ(first.stored.function_id, 1);
    const StepResult second = does("w", 2, receives());
    EXPECT_EQ(second.stored.output, "\"b\"");
    EXPECT_EQ(second.stored.serialization, std::nullopt) << "the message's own";
    EXPECT_EQ(does("w", 3, receives(true)).stored.output, "\"c\"");
    EXPECT_EQ(does("w", 4, receives(false, "topic")).stored.output, "\"t\"");
    EXPECT_EQ(steps_of("w"), (Lines{"1|\"a\"", "2|\"b\"", "3|\"c\"", "4|\"t\""}));
    EXPECT_EQ(messages(),
              (Lines{"m0|w|\"t\"|4", "m1|w|\"a\"|1", "m2|w|\"b\"|2", "m3|w|\"c\"|3", "m4|x|\"x\"|-"}));
}

TEST_P(Effects, a_receive_that_finds_nothing) {
    EXPECT_EQ(does("w", 1, receives()).kind, Kind::nothing);
    EXPECT_EQ(steps_of("w"), Lines{});
    const StepResult recorded = does("w", 1, receives(true));
    EXPECT_EQ(recorded.kind, Kind::recorded);
    EXPECT_EQ(recorded.stored.output, std::nullopt);
    EXPECT_EQ(steps_of("w"), (Lines{"1|-"}));
    does("x", 1, sends({message("w", "\"late\"", "m")}));
    const StepResult replay = does("w", 1, receives(true));
    EXPECT_EQ(replay.kind, Kind::recorded);
    EXPECT_EQ(replay.stored.output, std::nullopt) << "what is stored, not what came since";
    EXPECT_EQ(messages(), (Lines{"m|w|\"late\"|-"}));
}

TEST_P(Effects, who_lost_the_fence_does_nothing) {
    for (const Effect& effect : each) {
        EXPECT_EQ(does("w", 1, effect, "other").kind, Kind::lost);
        EXPECT_EQ(does("nobody", 1, effect).kind, Kind::lost);
        if (!std::holds_alternative<ReceiveEffect>(effect)) {
            EXPECT_EQ(database().apply_effect({"w", "other"}, 1, effect).kind, Kind::lost);
        }
    }
    write("UPDATE @workflow_status SET status = 'CANCELLED'");  // as an older SDK does: the owner stays
    for (const Effect& effect : each) EXPECT_EQ(does("w", 1, effect).kind, Kind::lost);
    EXPECT_EQ(database().apply_effect({"w", "t"}, 1, each[1]).kind, Kind::lost);
    EXPECT_EQ(nothing_written(), Lines{});
    EXPECT_EQ(steps_of("w"), Lines{});
}

TEST_P(Effects, a_lost_fence_counts_more_than_a_missing_destination) {
    EXPECT_EQ(does("w", 1, sends({message("no", "1", "m")}), "other").kind, Kind::lost);
    EXPECT_EQ(database().apply_effect({"w", "other"}, 1, sends({message("no", "1", "m")})).kind, Kind::lost);
}

TEST_P(Effects, a_foreign_checkpoint_gates_the_effect) {
    database().record_step({"w", "t"}, step(1, "theirs", 1000));
    for (const Effect& effect : each) {
        const StepResult result = does("w", 1, effect);
        EXPECT_EQ(result.kind, Kind::other);
        EXPECT_EQ(result.stored.output, "theirs");
    }
    EXPECT_EQ(nothing_written(), Lines{});
}

TEST_P(Effects, an_own_checkpoint_gates_the_effect) {
    does("x", 1, sends({message("w", "\"first\"", "m1", 10), message("w", "\"second\"", "m2", 20)}));
    does("w", 1, sets("k", "1"));
    does("w", 2, sets("k", "2"));
    does("w", 3, appends("k", "1"));
    does("w", 4, receives());
    EXPECT_EQ(does("w", 1, sets("k", "1")).kind, Kind::recorded);
    EXPECT_EQ(does("w", 3, appends("k", "1")).kind, Kind::recorded);
    EXPECT_EQ(does("w", 4, receives()).stored.output, "\"first\"");
    EXPECT_EQ(events(), (Lines{"w|k|2"})) << "a repeat does not set it back";
    EXPECT_EQ(streams(), (Lines{"w|k|0|1|3"}));
    EXPECT_EQ(messages(), (Lines{"m1|w|\"first\"|4", "m2|w|\"second\"|-"}));
}

TEST_P(Effects, inside_a_step_there_is_no_checkpoint) {
    const auto applies = [&](const Effect& effect) {
        return database().apply_effect({"w", "t"}, 5, effect).kind;
    };
    for (int n = 0; n < 2; ++n) {  // as a step that runs twice
        EXPECT_EQ(applies(sends({message("x", "1", "m1")})), Kind::recorded);
        EXPECT_EQ(applies(sets("k", std::to_string(n))), Kind::recorded);
        EXPECT_EQ(applies(appends("k", std::to_string(n))), Kind::recorded);
    }
    EXPECT_THROW(applies(receives()), UsageError);
    EXPECT_EQ(steps_of("w"), Lines{});
    EXPECT_EQ(messages(), (Lines{"m1|x|1|-"}));
    EXPECT_EQ(events(), (Lines{"w|k|1"}));
    EXPECT_EQ(history(), (Lines{"w|5|k|1"}));
    EXPECT_EQ(streams(), (Lines{"w|k|0|0|5", "w|k|1|1|5"}));
}

TEST_P(Effects, a_batch_of_every_effect) {
    does("x", 1, sends({message("w", "\"in\"", "m0")}));
    database().start_workflow(pending("y", "t"));
    const int before = main().commits();
    together([&] {
        record("w", 1, collected().step("step"));
        act("w", 2, sets("k", "1"), collected().step("event"));
        act("w", 3, appends("s", "a"), collected().step("append"));
        act("w", 4, sends({message("x", "1", "m1")}), collected().step("send"));
        act("w", 5, receives(), collected().step("receive"));
        act("w", 6, receives(false, "empty"), collected().step("nothing"));
        act("w", 7, sends({message("no", "1", "m2")}), collected().step("missing"));
        act("x", 2, sets("k", "2"), collected().step("other event"));
        act("y", 1, sets("k", "3"), collected().step("stale"), "wrong");
        end("x", true, "1", collected().outcome("end"));
        database().start_workflow_async(enqueued("new"), collected().start("start"));
    });
    EXPECT_EQ(main().commits() - before, 2) << "the gate's, and one for all of them";
    EXPECT_EQ(collected().errors(), 0u);
    for (const char* name : {"step", "event", "append", "send", "receive", "other event"})
        EXPECT_EQ(collected().recorded(name).kind, Kind::recorded) << name;
    EXPECT_EQ(collected().recorded("receive").stored.output, "\"in\"");
    EXPECT_EQ(collected().recorded("nothing").kind, Kind::nothing);
    EXPECT_EQ(collected().recorded("missing").missing, (std::vector<std::string>{"no"}));
    EXPECT_EQ(collected().recorded("stale").kind, Kind::lost);
    EXPECT_EQ(collected().ended("end"), OutcomeResult::recorded);
    EXPECT_EQ(collected().started("start").kind, StartResult::Kind::created);
    EXPECT_EQ(steps_of("w"), (Lines{"1|1", "2|-", "3|-", "4|-", "5|\"in\""}));
    EXPECT_EQ(events(), (Lines{"w|k|1", "x|k|2"}));
    EXPECT_EQ(streams(), (Lines{"w|s|0|a|3"}));
    EXPECT_EQ(messages(), (Lines{"m0|w|\"in\"|5", "m1|x|1|-"}));
}

TEST_P(Effects, appends_of_a_batch_take_offsets_in_order_of_submission) {
    const int before = main().commits();
    together([&] {
        for (int n = 0; n < 20; ++n) {
            const std::string name = std::to_string(n);
            act("w", n + 1, appends(n % 5 == 0 ? "l" : "k", name), collected().step("w" + name));
            act("x", n + 1, appends("k", name), collected().step("x" + name));
        }
    });
    EXPECT_EQ(main().commits() - before, 2);
    Lines expected;
    for (const std::string key : {"k", "l"}) {
        int offset = 0;
        for (int n = 0; n < 20; ++n) {
            if ((n % 5 == 0) == (key == "l"))
                expected.push_back(std::to_string(offset++) + "|" + std::to_string(n));
        }
        EXPECT_EQ(
            rows("SELECT \"offset\", value FROM @streams WHERE workflow_uuid = 'w' AND key = $1 ORDER BY 1",
                 {std::string_view(key)}),
            expected);
        expected.clear();
    }
    for (int n = 0; n < 20; ++n) expected.push_back(std::to_string(n) + "|" + std::to_string(n));
    EXPECT_EQ(rows("SELECT \"offset\", value FROM @streams WHERE workflow_uuid = 'x' ORDER BY 1"), expected);
}

TEST_P(Effects, an_event_or_message_stands_once_in_a_batch) {
    const int before = main().commits();
    together([&] {
        act("w", 1, sets("k", "1"), collected().step("1"));
        act("w", 2, sets("k", "2"), collected().step("2"));
        act("w", 3, sets("k", "3"), collected().step("3"));
        act("x", 1, sends({message("w", "\"one\"", "m")}), collected().step("4"));
        database().record_effect_async({"first", "t"}, checkpoint(2), sends({message("w", "\"two\"", "m")}),
                                       collected().step("5"));
    });
    EXPECT_EQ(main().commits() - before, 4) << "the gate, and a batch for each value of the event";
    EXPECT_EQ(events(), (Lines{"w|k|3"}));
    EXPECT_EQ(history().size(), 3u);
    EXPECT_EQ(messages(), (Lines{"m|w|\"one\"|-"}));
}

TEST_P(Effects, two_runs_of_one_workflow_in_one_batch) {
    // (w, t) was taken over by (w, t2); beside them runs (x, t): the token alone passes, the pair does not.
    write("UPDATE @workflow_status SET owner_xid = 't2' WHERE workflow_uuid = 'w'");
    together([&] {
        act("w", 1, sets("k", "stale"), collected().step("stale event"), "t");
        act("w", 2, appends("k", "stale"), collected().step("stale append"), "t");
        act("w", 3, sends({message("x", "\"stale\"", "m1")}), collected().step("stale send"), "t");
        act("w", 4, sets("k", "new"), collected().step("event"), "t2");
        act("w", 5, appends("k", "new"), collected().step("append"), "t2");
        act("x", 1, sets("k", "1"), collected().step("x"), "t");
    });
    for (const char* name : {"stale append", "stale send"})
        EXPECT_EQ(collected().recorded(name).kind, Kind::lost) << name;
    EXPECT_EQ(collected().recorded("stale event").kind, Kind::lost);
    for (const char* name : {"event", "append", "x"})
        EXPECT_EQ(collected().recorded(name).kind, Kind::recorded) << name;
    EXPECT_EQ(events(), (Lines{"w|k|new", "x|k|1"}));
    EXPECT_EQ(streams(), (Lines{"w|k|0|new|5"}));
    EXPECT_EQ(messages(), Lines{});
}

TEST_P(Effects, effects_of_steps_keep_their_order) {
    std::vector<seam::Thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.push_back(seam::spawn("test", [&, thread] {
            for (int n = 0; n < 10; ++n)
                database().apply_effect({"w", "t"}, thread, appends("k", std::to_string(n)));
        }));
    }
    for (seam::Thread& thread : threads) thread.join();
    Lines offsets;
    for (int n = 0; n < 40; ++n) offsets.push_back(std::to_string(n));
    EXPECT_EQ(rows("SELECT \"offset\" FROM @streams WHERE workflow_uuid = 'w' ORDER BY 1"), offsets);
    for (int thread = 0; thread < 4; ++thread) {
        Lines values;
        for (int n = 0; n < 10; ++n) values.push_back(std::to_string(n));
        EXPECT_EQ(rows("SELECT value FROM @streams WHERE function_id = $1 ORDER BY \"offset\"",
                       {std::int64_t{thread}}),
                  values);
    }
}

TEST_P(Effects, writers_of_other_programs_are_given_way_to) {
    // As an SDK that takes no lock: it appends while we do.
    auto other = open();
    seam::Thread thread = seam::spawn("test", [&] {
        for (int n = 0; n < 20; ++n) {
            for (;;) {
                try {
                    other->query(
                        "INSERT INTO @streams (workflow_uuid, key, value, \"offset\", function_id) SELECT "
                        "'w', "
                        "'k', 'theirs', COALESCE(MAX(\"offset\"), -1) + 1, 9 FROM @streams WHERE "
                        "workflow_uuid = 'w' AND key = 'k'",
                        {}, sql::Access::write);
                    break;
                } catch (const DatabaseError& error) {
                    if (error.kind() != DatabaseErrorKind::unique_violation && !error.transient()) throw;
                }
            }
        }
    });
    for (int n = 0; n < 20; ++n) EXPECT_EQ(does("w", n + 1, appends("k", "ours")).kind, Kind::recorded);
    thread.join();
    EXPECT_EQ(one("SELECT count(*), max(\"offset\") FROM @streams WHERE workflow_uuid = 'w'"), "40|39");
    EXPECT_EQ(one("SELECT count(*) FROM @streams WHERE value = 'ours'"), "20");
}

TEST_P(Effects, large_values_keep_the_order_of_their_workflow) {
    const std::string large(300 << 10, 'v');
    together([&] {
        act("w", 1, appends("k", "a"), collected().step("a"));
        act("w", 2, appends("k", large), collected().step("large"));
        act("w", 3, appends("k", "b"), collected().step("b"));
    });
    EXPECT_EQ(rows("SELECT \"offset\", length(value) FROM @streams ORDER BY 1"),
              (Lines{"0|1", "1|307200", "2|1"}));
}

TEST_P(Effects, the_local_process_is_told) {
    std::vector<std::string> told;
    DatabaseOptions with;
    with.local_wake.published = [&](const std::string& id, const Effect& effect) {
        if (const auto* send = std::get_if<SendEffect>(&effect))
            told.push_back(id + " to " + send->messages[0].destination);
        if (const auto* event = std::get_if<EventEffect>(&effect))
            told.push_back(id + " event " + event->key);
        if (const auto* append = std::get_if<StreamEffect>(&effect))
            told.push_back(id + " stream " + append->key);
    };
    auto other = make(std::move(with));
    other->record_effect({"w", "t"}, checkpoint(1), sets("k", "1"));
    other->record_effect({"w", "t"}, checkpoint(2), appends("s", "1"));
    other->apply_effect({"w", "t"}, 3, sends({message("x", "1", "m")}));
    other->record_effect({"w", "wrong"}, checkpoint(4), sets("k", "2"));
    other->record_effect({"w", "t"}, checkpoint(1), sets("k", "1"));  // a repeat: nothing was written
    other->close();
    EXPECT_EQ(told, (std::vector<std::string>{"w event k", "w stream s", "w to x"}));
}

}  // namespace
}  // namespace dbos::test
