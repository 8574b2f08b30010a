// Errors that are hard to record, and ids that are taken.
#include <atomic>
#include <thread>

#include "support/app.hpp"

using namespace std::chrono_literals;
using dbos::test::Gate;

namespace {

inline constexpr auto Job = dbos::workflow<int(int)>("job");
inline constexpr auto Child = dbos::workflow<int(int)>("child");

struct Plain {  // no std::exception
    int code = 0;
};
struct NullText : std::exception {
    const char* what() const noexcept override { return ""; }
};

class Errors : public dbos::test::AppTest {
   public:
    /// What the record of a step, or of a workflow, says of its error.
    static void expect_readable(const dbos::Failure& failure) {
        for (const std::string& text : {failure.type_name, failure.message}) {
            for (const char c : text) {
                const auto byte = static_cast<unsigned char>(c);
                EXPECT_TRUE((byte >= 0x20 && byte < 0x80) || c == '\n' || c == '\t') << text;
            }
        }
    }
};
DBOS_FOR_EVERY_DATABASE(Errors);

TEST_P(Errors, texts_that_are_not_utf8_are_recorded_readable) {
    dbos::App app(app_options());
    const std::string broken("disk \xff\xfe full \xc3 here", 19);
    app.implement(Job, [&](dbos::Context& ctx, int kind) {
        switch (kind) {
            case 0: ctx.step("s", [&]() -> int { throw std::runtime_error(broken); }); break;
            case 1:
                ctx.step("s", [&]() -> int { throw std::runtime_error(broken); },
                         {.max_attempts = 2, .interval = 1ms});
                break;
            case 2: ctx.step("s", [&]() -> int { throw broken; }); break;
            case 3: {
                auto pending = ctx.async_step("s", [&]() -> int { throw std::logic_error(broken); });
                return pending.get();
            }
            default: throw std::runtime_error(broken);  // of the body itself
        }
        return 0;
    });
    app.launch();
    for (int kind = 0; kind < 5; ++kind) {
        auto handle = app.start_workflow(Job, {.workflow_id = "w" + std::to_string(kind)}, kind);
        try {
            handle.get_result({.timeout = 20s});
            ADD_FAILURE() << "nothing was thrown for " << kind;
        } catch (const std::exception& error) {
            const std::string text = error.what();
            EXPECT_NE(text.find("disk ?? full ? here"), std::string::npos) << kind << ": " << text;
        }
        EXPECT_EQ(handle.get_status().status, dbos::Status::error);
        ASSERT_TRUE(handle.get_status().error) << kind;
        expect_readable(*handle.get_status().error);
        const auto steps = app.client().list_workflow_steps(handle.workflow_id());
        ASSERT_EQ(steps.size(), kind == 4 ? 0u : 1u);
        if (kind < 4) {
            ASSERT_TRUE(steps[0].error);
            expect_readable(*steps[0].error);
        }
    }
}

TEST_P(Errors, a_zero_byte_and_a_text_without_end_are_recorded) {
    dbos::App app(app_options());
    app.implement(Job, [&](dbos::Context& ctx, int kind) {
        return ctx.step("s", [&]() -> int {
            if (kind == 0) throw std::string("a\0b", 3);
            if (kind == 1) throw NullText();
            throw std::runtime_error(std::string(3 << 20, 'x'));
        });
    });
    app.launch();
    for (int kind = 0; kind < 3; ++kind) {
        auto handle = app.start_workflow(Job, {}, kind);
        EXPECT_ANY_THROW(handle.get_result({.timeout = 20s})) << kind;
        EXPECT_EQ(handle.get_status().status, dbos::Status::error) << kind;
        EXPECT_TRUE(app.client().list_workflow_steps(handle.workflow_id()).at(0).error) << kind;
    }
}

TEST_P(Errors, what_is_no_std_exception_is_recorded_with_its_type) {
    dbos::App app(app_options());
    std::atomic<int> tries{0};
    std::string caught;
    app.implement(Job, [&](dbos::Context& ctx, int kind) {
        const auto raise = [&]() -> int {
            ++tries;
            if (kind == 0) throw 42;
            if (kind == 1) throw Plain{7};
            if (kind == 2) throw "a literal";
            if (kind == 3) throw std::string("a string");
            throw static_cast<const char*>(nullptr);  // NOLINT(misc-throw-by-value-catch-by-reference)
        };
        if (kind == 5) throw 42;  // of the body
        try {
            return ctx.step("s", raise, {.max_attempts = 2, .interval = 1ms});
        } catch (const std::exception& error) {  // as on a replay: always something with a text
            caught = error.what();
            throw;
        }
    });
    app.launch();
    const char* const types[] = {"int", "Plain", "char const*", "string", "char const*", "int"};
    for (int kind = 0; kind < 6; ++kind) {
        tries = 0;
        caught.clear();
        auto handle = app.start_workflow(Job, {}, kind);
        try {
            handle.get_result({.timeout = 20s});
            ADD_FAILURE() << "nothing was thrown for " << kind;
        } catch (const std::exception& error) {
            const std::string text = error.what();
            if (kind == 2) {
                EXPECT_NE(text.find("a literal"), std::string::npos) << text;
            }
            if (kind == 3) {
                EXPECT_NE(text.find("a string"), std::string::npos) << text;
            }
        }
        const auto status = handle.get_status();
        EXPECT_EQ(status.status, dbos::Status::error);
        ASSERT_TRUE(status.error);
        if (kind == 5) {
            EXPECT_EQ(status.error->type_name, types[kind]);
            EXPECT_EQ(tries, 0);
            continue;
        }
        EXPECT_EQ(tries, 2) << kind;
        EXPECT_NE(caught, "") << kind;
        const auto steps = app.client().list_workflow_steps(handle.workflow_id());
        ASSERT_EQ(steps.size(), 1u);
        ASSERT_TRUE(steps[0].error);
        EXPECT_NE(steps[0].error->message.find(types[kind]), std::string::npos) << steps[0].error->message;
    }
}

TEST_P(Errors, a_predicate_that_throws_ends_the_attempts) {
    dbos::App app(app_options());
    std::atomic<int> tries{0};
    app.implement(Job, [&](dbos::Context& ctx, int) {
        return ctx.step("s",
                        [&]() -> int {
                            ++tries;
                            throw std::runtime_error("first");
                        },
                        {.max_attempts = 5,
                         .interval = 1ms,
                         .should_retry = [](const std::exception&) -> bool { throw 42; }});
    });
    app.launch();
    auto handle = app.start_workflow(Job, {}, 1);
    EXPECT_ANY_THROW(handle.get_result({.timeout = 20s}));
    EXPECT_EQ(tries, 1);
    EXPECT_EQ(app.client().list_workflow_steps(handle.workflow_id()).at(0).error->type_name, "int");
}

class ReusePolicy : public Errors {
   public:
    static dbos::EnqueueOptions rejecting(const std::string& id, const std::string& queue = "") {
        dbos::EnqueueOptions options;
        options.workflow_id = id;
        options.queue_name = queue;
        options.workflow_id_reuse_policy = dbos::WorkflowIdReusePolicy::reject;
        return options;
    }
};
DBOS_FOR_EVERY_DATABASE(ReusePolicy);

TEST_P(ReusePolicy, reject_in_a_body_is_recorded_as_the_steps_error) {
    dbos::App app(app_options());
    std::string status, name;
    app.implement(Child, [](dbos::Context&, int n) { return n; });
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        try {
            ctx.start_workflow(Child, rejecting("taken", n % 2 == 1 ? "q" : ""), n);
            return 0;
        } catch (const dbos::WorkflowIdInUse& error) {
            status = error.workflow_status();
            name = error.workflow_name();
        }
        return ctx.step("after", [n] { return n + 1; });
    });
    app.register_queue({.name = "q"});
    app.launch();
    app.start_workflow(Child, {.workflow_id = "taken"}, 1).get_result();
    for (int n : {1, 2}) {
        auto handle = app.start_workflow(Job, {}, n);
        EXPECT_EQ(handle.get_result({.timeout = 20s}), n + 1);
        EXPECT_EQ(status, "SUCCESS");
        EXPECT_EQ(name, "child");
        const auto steps = app.client().list_workflow_steps(handle.workflow_id());
        ASSERT_EQ(steps.size(), 2u);
        EXPECT_EQ(steps[0].function_name, "child");
        EXPECT_EQ(steps[0].child_workflow_id.value_or(""), "taken");
        ASSERT_TRUE(steps[0].error);
        EXPECT_EQ(steps[0].error->type_name, "DBOSWorkflowIDInUseError");
    }
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE name = 'child'"), "1");
}

TEST_P(ReusePolicy, reject_starts_a_child_whose_id_is_free_and_a_replay_finds_it) {
    std::atomic<int> children{0};
    Gate gate;
    const auto child = [&](dbos::Context&, int n) {
        ++children;
        return n;
    };
    const auto parent = [&](dbos::Context& ctx, int n) {
        auto handle = ctx.start_workflow(Child, rejecting("free-" + std::to_string(n), n == 2 ? "q" : ""), n);
        const int got = handle.get_result();
        ctx.step("gate", [&] { gate.pass(); });
        return got;
    };
    auto first = std::make_unique<dbos::App>(app_options());
    first->implement(Child, child);
    first->implement(Job, parent);
    first->register_queue({.name = "q"});
    first->launch();
    for (int n : {1, 2}) first->start_workflow(Job, {.workflow_id = "p" + std::to_string(n)}, n);
    ASSERT_TRUE(gate.wait_for_arrivals(2));
    // The parents are interrupted; a peer replays them, and their own children are no strangers.
    std::thread ends([&] { first.reset(); });
    gate.open();
    ends.join();
    dbos::App second(app_options());
    second.implement(Child, child);
    second.implement(Job, parent);
    second.register_queue({.name = "q"});
    second.launch();
    for (int n : {1, 2})
        EXPECT_EQ(second.retrieve_workflow(Job, "p" + std::to_string(n)).get_result({.timeout = 30s}), n);
    EXPECT_EQ(children, 2);
}

TEST_P(ReusePolicy, reject_is_recorded_once_and_replayed_also_when_the_id_has_become_free) {
    std::atomic<int> children{0}, refusals{0};
    Gate gate;
    const auto child = [&](dbos::Context&, int n) {
        ++children;
        return n;
    };
    const auto parent = [&](dbos::Context& ctx, int n) {
        try {
            ctx.start_workflow(Child, rejecting("taken"), n);
        } catch (const dbos::WorkflowIdInUse&) {
            ++refusals;
        }
        ctx.step("gate", [&] { gate.pass(); });
        ctx.sleep(1s);  // the first application does not live to see its end
        return n;
    };
    auto first = std::make_unique<dbos::App>(app_options());
    first->implement(Child, child);
    first->implement(Job, parent);
    first->launch();
    first->start_workflow(Child, {.workflow_id = "taken"}, 1).get_result();
    first->start_workflow(Job, {.workflow_id = "p"}, 3);
    ASSERT_TRUE(gate.wait_for_arrivals(1));
    gate.open();
    first.reset();
    for (const char* table : {"workflow_output", "workflow_input", "workflow_status"})
        execute(std::string("DELETE FROM @") + table + " WHERE workflow_uuid = 'taken'");
    dbos::App second(app_options());
    second.implement(Child, child);
    second.implement(Job, parent);
    second.launch();
    EXPECT_EQ(second.retrieve_workflow(Job, "p").get_result({.timeout = 30s}), 3);
    EXPECT_EQ(children, 1);
    EXPECT_GE(refusals, 2);  // all but the first from the record
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE workflow_uuid = 'taken'"), "0");
}

TEST_P(ReusePolicy, many_at_once_give_the_id_to_one) {
    dbos::App app(app_options());
    app.implement(Child, [](dbos::Context&, int n) { return n; });
    app.implement(Job, [](dbos::Context& ctx, int n) {
        try {
            ctx.start_workflow(Child, rejecting("only-one"), n);
        } catch (const dbos::WorkflowIdInUse&) {
            return 0;
        }
        return 1;
    });
    app.launch();
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int i = 0; i < 30; ++i) handles.push_back(app.start_workflow(Job, {}, i));
    int won = 0;
    for (auto& handle : handles) won += handle.get_result({.timeout = 30s});
    EXPECT_EQ(won, 1);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE name = 'child'"), "1");
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs WHERE error IS NULL"), "1");
}

TEST_P(ReusePolicy, the_conflict_of_another_name_comes_after_the_refusal) {
    dbos::App app(app_options());
    app.implement(Child, [](dbos::Context&, int n) { return n; });
    std::string caught;
    app.implement(Job, [&](dbos::Context& ctx, int n) {
        try {
            // The id of this very workflow, of another name.
            ctx.start_workflow(Child, rejecting(ctx.workflow_id()), n);
        } catch (const dbos::WorkflowIdInUse&) {
            caught = "in use";
        } catch (const dbos::ConflictingWorkflow&) {
            caught = "conflict";
        }
        return n;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Job, {}, 1).get_result({.timeout = 20s}), 1);
    EXPECT_EQ(caught, "in use");
}

}  // namespace
