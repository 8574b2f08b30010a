// Workflows and steps as a program sees them, on both databases.
#include <atomic>
#include <set>
#include <thread>

#include "support/app.hpp"

using namespace std::chrono_literals;
using dbos::test::Gate;

namespace shop {
struct Order {
    std::string id = {};
    int cents = 0;
};
struct Receipt {
    std::string order_id = {};
    std::string charge_id = {};
};
struct CardDeclined : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct Coded : std::exception {
    int code = 0;
    std::string why = {};
    const char* what() const noexcept override { return "coded"; }
};
DBOS_FIELDS(Order, id, cents)
DBOS_FIELDS(Receipt, order_id, charge_id)
DBOS_ERROR(CardDeclined)
DBOS_ERROR(Coded, code, why)
}  // namespace shop
using namespace shop;

namespace {

inline constexpr auto Checkout = dbos::workflow<Receipt(Order)>("checkout").throws<CardDeclined, Coded>();
inline constexpr auto Count = dbos::workflow<int(int)>("count");
inline constexpr auto Nothing = dbos::workflow<void()>("nothing");

class Runtime : public dbos::test::AppTest {};
DBOS_FOR_EVERY_DATABASE(Runtime);

TEST_P(Runtime, runs_a_workflow_once_and_answers_from_the_record_afterwards) {
    std::atomic<int> bodies{0}, charges{0};
    dbos::App app(app_options());
    app.implement(Checkout, [&](dbos::Context& ctx, const Order& order) {
        ++bodies;
        auto charge = ctx.step("charge", [&] {
            ++charges;
            return "ch-" + order.id;
        });
        return Receipt{.order_id = order.id, .charge_id = charge};
    });
    app.launch();
    auto handle = app.start_workflow(Checkout, {.workflow_id = "o-17"}, Order{"o-17", 4200});
    EXPECT_EQ(handle.workflow_id(), "o-17");
    EXPECT_EQ(handle.get_result().charge_id, "ch-o-17");
    EXPECT_EQ(app.start_workflow(Checkout, {.workflow_id = "o-17"}, Order{"other", 1}).get_result().charge_id,
              "ch-o-17");
    EXPECT_EQ(app.retrieve_workflow(Checkout, "o-17").get_result().order_id, "o-17");
    EXPECT_EQ(bodies, 1);
    EXPECT_EQ(charges, 1);

    const auto status = handle.get_status();
    EXPECT_EQ(status.status, dbos::Status::success);
    EXPECT_EQ(status.name, "checkout");
    EXPECT_EQ(status.recovery_attempts, 1);
    EXPECT_EQ(status.executor_id, app.executor_id());
    EXPECT_EQ(status.app_version, "test-app-1");
    EXPECT_EQ(status.application_name, "test-app");
    EXPECT_EQ(status.serialization, "portable_json");
    EXPECT_TRUE(status.completed_at.has_value());
    const auto steps = app.client().list_workflow_steps("o-17");
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].function_id, 1);
    EXPECT_EQ(steps[0].function_name, "charge");
    EXPECT_EQ(steps[0].output, dbos::Value("ch-o-17"));
    EXPECT_EQ(scalar("SELECT owner_xid FROM @workflow_status WHERE workflow_uuid = 'o-17'"), "");
    EXPECT_NE(scalar("SELECT creator_xid FROM @workflow_status WHERE workflow_uuid = 'o-17'"), "");
}

TEST_P(Runtime, generated_ids_are_distinct_and_void_results_work) {
    dbos::App app(app_options());
    std::atomic<int> ran{0};
    app.implement(Nothing, [&](dbos::Context& ctx) { ctx.step("nothing", [&] { ++ran; }); });
    app.launch();
    auto a = app.start_workflow(Nothing, {});
    auto b = app.start_workflow(Nothing, {});
    EXPECT_LT(a.workflow_id(), b.workflow_id());
    a.get_result();
    b.get_result();
    EXPECT_EQ(ran, 2);
    EXPECT_EQ(scalar("SELECT output FROM @workflow_output WHERE workflow_uuid = '" + a.workflow_id() + "'"),
              "null");
}

TEST_P(Runtime, errors_keep_their_type_on_the_first_run_and_in_the_result) {
    dbos::App app(app_options());
    std::string caught;
    app.implement(Checkout, [&](dbos::Context& ctx, const Order& order) -> Receipt {
        if (order.id == "declined") {
            try {
                ctx.step("charge", [] { throw CardDeclined("no funds"); });
            } catch (const CardDeclined& error) {
                caught = error.what();
                throw;
            }
        }
        if (order.id == "coded") {
            ctx.step("charge", [] {
                Coded error;
                error.code = 7;
                error.why = "because";
                throw error;
            });
        }
        if (order.id == "standard") ctx.step("charge", []() -> int { throw std::out_of_range("too far"); });
        struct Unlisted : std::runtime_error {
            using std::runtime_error::runtime_error;
        };
        if (order.id == "unlisted") {
            try {
                ctx.step("charge", [] { throw Unlisted("who knows"); });
            } catch (const Unlisted&) {
                caught = "the original, which a replay could not throw";
            } catch (const dbos::StepFailed& error) {
                caught = error.message();
                throw;
            }
        }
        return {};
    });
    app.launch();
    EXPECT_THROW(app.start_workflow(Checkout, {}, Order{"declined", 1}).get_result(), CardDeclined);
    EXPECT_EQ(caught, "no funds");
    try {
        app.start_workflow(Checkout, {.workflow_id = "c"}, Order{"coded", 1}).get_result();
        ADD_FAILURE() << "nothing was thrown";
    } catch (const Coded& error) {
        EXPECT_EQ(error.code, 7);
        EXPECT_EQ(error.why, "because");
    }
    EXPECT_THROW(app.start_workflow(Checkout, {}, Order{"standard", 1}).get_result(), std::out_of_range);
    try {
        app.start_workflow(Checkout, {}, Order{"unlisted", 1}).get_result();
        ADD_FAILURE() << "nothing was thrown";
    } catch (const dbos::WorkflowFailed& error) {
        EXPECT_EQ(error.message(), "who knows");
    }
    EXPECT_EQ(caught, "who knows");
    EXPECT_EQ(app.retrieve_workflow("c").get_status().status, dbos::Status::error);
}

TEST_P(Runtime, steps_are_tried_again_as_their_options_say) {
    dbos::App app(app_options());
    std::vector<int> attempts;
    app.implement(Count, [&](dbos::Context& ctx, int failures) {
        return ctx.step("flaky",
                        [&](dbos::StepContext& step) {
                            attempts.push_back(step.attempt());
                            EXPECT_EQ(step.max_attempts(), 4);
                            if (step.attempt() <= failures)
                                throw std::runtime_error("attempt " + std::to_string(step.attempt()));
                            return step.attempt();
                        },
                        {.max_attempts = 4, .interval = 1ms, .should_retry = [](const std::exception& error) {
                             return std::string(error.what()) != "attempt 9";
                         }});
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Count, {}, 2).get_result(), 3);
    EXPECT_EQ(attempts, (std::vector{1, 2, 3}));
    attempts.clear();
    auto exhausted = app.start_workflow(Count, {}, 99);
    EXPECT_THROW(exhausted.get_result(), std::exception);
    EXPECT_EQ(attempts, (std::vector{1, 2, 3, 4}));
    const auto steps = app.client().list_workflow_steps(exhausted.workflow_id());
    ASSERT_EQ(steps.size(), 1u);
    ASSERT_TRUE(steps[0].error);
    EXPECT_EQ(steps[0].error->type_name, "DBOSMaxStepRetriesExceeded");
}

TEST_P(Runtime, a_predicate_that_says_no_records_the_original_error_at_once) {
    dbos::App app(app_options());
    std::atomic<int> attempts{0};
    app.implement(Count, [&](dbos::Context& ctx, int) {
        return ctx.step("picky",
                        [&]() -> int {
                            ++attempts;
                            throw std::logic_error("fatal");
                        },
                        {.max_attempts = 5, .interval = 1ms, .should_retry = [](const std::exception&) {
                             return false;
                         }});
    });
    app.launch();
    EXPECT_THROW(app.start_workflow(Count, {}, 1).get_result(), std::logic_error);
    EXPECT_EQ(attempts, 1);
}

TEST_P(Runtime, a_timeout_asks_the_step_to_stop_and_waits_for_it) {
    dbos::App app(app_options());
    std::atomic<bool> returned{false};
    app.implement(Count, [&](dbos::Context& ctx, int) {
        return ctx.step("slow",
                        [&](dbos::StepContext& step) {
                            while (!step.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
                            returned = true;
                            return 1;
                        },
                        {.timeout = 20ms});
    });
    app.launch();
    auto handle = app.start_workflow(Count, {}, 1);
    EXPECT_THROW(handle.get_result(), std::exception);
    EXPECT_TRUE(returned);
    const auto steps = app.client().list_workflow_steps(handle.workflow_id());
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].error->type_name, "DBOSStepTimeoutError");
}

TEST_P(Runtime, asynchronous_steps_run_beside_each_other_and_are_numbered_in_program_order) {
    dbos::App app(app_options());
    Gate gate;
    app.implement(Count, [&](dbos::Context& ctx, int n) {
        auto a = ctx.async_step("a", [&] {
            gate.pass();
            return n + 1;
        });
        auto b = ctx.async_step("b", [&] {
            gate.pass();
            return n + 2;
        });
        const int c = ctx.step("c", [&] {
            EXPECT_TRUE(gate.wait_for_arrivals(2));  // both are running now
            gate.open();
            return n + 3;
        });
        return a.get() * 10000 + b.get() * 100 + c;
    });
    app.launch();
    auto handle = app.start_workflow(Count, {}, 1);
    EXPECT_EQ(handle.get_result(), 20304);
    const auto steps = app.client().list_workflow_steps(handle.workflow_id());
    ASSERT_EQ(steps.size(), 3u);
    EXPECT_EQ(steps[0].function_name, "a");
    EXPECT_EQ(steps[1].function_name, "b");
    EXPECT_EQ(steps[2].function_name, "c");
}

TEST_P(Runtime, a_pending_that_goes_away_leaves_the_record_of_its_step) {
    dbos::App app(app_options());
    std::atomic<bool> stopped{false};
    app.implement(Count, [&](dbos::Context& ctx, int n) {
        Gate begun;
        {
            auto lost = ctx.async_step("lost", [&](dbos::StepContext& step) {
                begun.open();
                begun.pass();
                while (!step.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
                stopped = true;
                return n;
            });
            EXPECT_TRUE(begun.wait_for_arrivals(1));
        }
        EXPECT_TRUE(stopped);
        return ctx.step("next", [&] { return n + 1; });
    });
    app.launch();
    auto handle = app.start_workflow(Count, {}, 1);
    EXPECT_EQ(handle.get_result(), 2);
    const auto steps = app.client().list_workflow_steps(handle.workflow_id());
    ASSERT_EQ(steps.size(), 2u);
    EXPECT_EQ(steps[0].function_name, "lost");
    EXPECT_EQ(steps[0].output, dbos::Value(1));
}

TEST_P(Runtime, a_step_in_a_step_is_a_plain_function) {
    dbos::App app(app_options());
    app.implement(Count, [&](dbos::Context& ctx, int n) {
        return ctx.step("outer", [&] { return ctx.step("inner", [&] { return n * 2; }) + 1; });
    });
    app.launch();
    auto handle = app.start_workflow(Count, {}, 4);
    EXPECT_EQ(handle.get_result(), 9);
    EXPECT_EQ(app.client().list_workflow_steps(handle.workflow_id()).size(), 1u);
}

TEST_P(Runtime, sleep_records_its_instant_and_is_not_slept_again) {
    dbos::App app(app_options());
    app.implement(Count, [&](dbos::Context& ctx, int ms) {
        ctx.sleep(std::chrono::milliseconds(ms));
        return ms;
    });
    app.launch();
    auto handle = app.start_workflow(Count, {}, 30);
    EXPECT_EQ(handle.get_result(), 30);
    const auto steps = app.client().list_workflow_steps(handle.workflow_id());
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].function_name, "DBOS.sleep");
    EXPECT_EQ(steps[0].output->as_int(), *steps[0].completed_at_epoch_ms);
    EXPECT_GE(app.retrieve_workflow(handle.workflow_id()).get_status().completed_at,
              *steps[0].completed_at_epoch_ms);
}

TEST_P(Runtime, what_a_body_may_not_do_is_refused_with_a_sentence) {
    dbos::App app(app_options());
    std::vector<std::string> sentences;
    app.implement(Count, [&](dbos::Context& ctx, int n) {
        const auto refused = [&](auto&& call) {
            try {
                call();
                sentences.emplace_back("nothing was thrown");
            } catch (const dbos::UsageError& error) {
                sentences.emplace_back(error.what());
            }
        };
        refused([&] { app.start_workflow(Count, {}, 1); });
        refused([&] { ctx.step("s", [&] { ctx.sleep(1ms); }); });
        std::string other;
        std::thread([&] {
            try {
                ctx.sleep(1ms);
            } catch (const dbos::UsageError& error) {
                other = error.what();
            }
        }).join();
        sentences.push_back(other);
        refused([&] { ctx.sleep(-1s); });
        refused([&] { ctx.start_workflow({.workflow_name = "nobody"}, 1); });
        refused([&] { ctx.start_workflow(Count, {.queue_name = "no-such-queue"}, 1); });
        refused([&] { app.shutdown(); });
        return n;
    });
    app.launch();
    EXPECT_EQ(app.start_workflow(Count, {}, 1).get_result(), 1);
    ASSERT_EQ(sentences.size(), 7u);
    EXPECT_NE(sentences[0].find("ctx."), std::string::npos) << sentences[0];
    EXPECT_NE(sentences[2].find("thread"), std::string::npos) << sentences[2];
    EXPECT_NE(sentences[3].find("positive"), std::string::npos) << sentences[3];
    EXPECT_NE(sentences[4].find("nobody"), std::string::npos) << sentences[4];
    EXPECT_NE(sentences[5].find("no-such-queue"), std::string::npos) << sentences[5];
}

TEST_P(Runtime, bad_starts_write_nothing) {
    dbos::App app(app_options());
    app.implement(Count, [](dbos::Context&, int n) { return n; });
    EXPECT_THROW(app.implement(Count, [](dbos::Context&, int n) { return n; }), dbos::UsageError);
    EXPECT_THROW(app.start_workflow(Count, {}, 1), dbos::UsageError);  // before launch
    app.launch();
    EXPECT_THROW(app.start_workflow(Count, {.queue_name = "nowhere"}, 1), dbos::UsageError);
    EXPECT_THROW(app.start_workflow(Count, {.workflow_id = ""}, 1), dbos::UsageError);
    EXPECT_THROW(app.start_workflow(Count, {.deduplication_id = "d"}, 1), dbos::UsageError);
    EXPECT_THROW(app.start_workflow({.workflow_name = "unknown"}, 1), dbos::UsageError);
    EXPECT_THROW(app.implement(Nothing, [](dbos::Context&) {}), dbos::UsageError);  // after launch
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status"), "0");
    app.shutdown();
    EXPECT_THROW(app.start_workflow(Count, {}, 1), dbos::UsageError);
}

TEST_P(Runtime, a_result_that_cannot_be_stored_is_the_steps_error) {
    static constexpr auto Bytes = dbos::workflow<int()>("bytes");
    dbos::App app(app_options());
    app.implement(Bytes, [](dbos::Context& ctx) {
        try {
            ctx.step("nan", [] { return std::numeric_limits<double>::quiet_NaN(); });
        } catch (const dbos::Error&) {
            return 1;
        } catch (const std::exception&) {
            return 1;
        }
        return 0;
    });
    app.launch();
    auto handle = app.start_workflow(Bytes, {});
    EXPECT_EQ(handle.get_result(), 1);
    EXPECT_TRUE(app.client().list_workflow_steps(handle.workflow_id()).at(0).error.has_value());
}

TEST_P(Runtime, another_workflow_under_the_same_id_is_a_conflict) {
    dbos::App app(app_options());
    app.implement(Count, [](dbos::Context&, int n) { return n; });
    app.implement(Nothing, [](dbos::Context&) {});
    app.launch();
    app.start_workflow(Count, {.workflow_id = "w"}, 1).get_result();
    EXPECT_THROW(app.start_workflow(Nothing, {.workflow_id = "w"}), dbos::ConflictingWorkflow);
    EXPECT_THROW(
        app.start_workflow(
            Count, {.workflow_id = "w", .workflow_id_reuse_policy = dbos::WorkflowIdReusePolicy::reject}, 1),
        dbos::WorkflowIdInUse);
}

TEST_P(Runtime, start_workflow_async_gives_a_handle_to_come) {
    dbos::App app(app_options());
    app.implement(Count, [](dbos::Context&, int n) { return n + 1; });
    app.launch();
    auto result = app.start_workflow_async(Count, {}, 41).then([](dbos::WorkflowHandle<int> handle) {
        return handle.get_result_async();
    });
    EXPECT_EQ(result.get(), 42);
}

TEST_P(Runtime, many_workflows_at_once_all_end) {
    dbos::App app(app_options());
    app.implement(Count, [](dbos::Context& ctx, int n) {
        return ctx.step("one", [&] { return n; }) + ctx.step("two", [&] { return n; });
    });
    app.launch();
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int i = 0; i < 300; ++i) handles.push_back(app.start_workflow(Count, {}, i));
    for (int i = 0; i < 300; ++i) EXPECT_EQ(handles[static_cast<std::size_t>(i)].get_result(), 2 * i);
    EXPECT_EQ(scalar("SELECT count(*) FROM @operation_outputs"), "600");
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status = 'SUCCESS'"), "300");
}

}  // namespace
