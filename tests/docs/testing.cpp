// The C++ programs of docs/how-to/test-your-workflows.md.
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>
#include <dbos/testing.hpp>

#include <map>
#include <random>

using namespace std::chrono_literals;

namespace {

// [workflow]
struct Subscription {
    std::string customer = {};
    int cents = 0;
};
DBOS_FIELDS(Subscription, customer, cents)

inline constexpr auto Trial =
    dbos::workflow<std::string(Subscription)>("trial");

class Shop {
   public:
    std::string trial(dbos::Context& ctx, const Subscription& wanted) {
        ctx.step("welcome", [&] { mails_.push_back(wanted.customer); });
        const auto cancelled = ctx.recv<std::string>("cancel", 30 * 24h);
        if (cancelled) return "cancelled: " + *cancelled;
        return ctx.step("charge", [&] {
            // The key makes a second call of the step harmless.
            charges_.try_emplace(ctx.workflow_id(), wanted.cents);
            return "charged " + std::to_string(charges_.at(ctx.workflow_id()));
        });
    }
    int charged() const {
        int sum = 0;
        for (const auto& [key, cents] : charges_) sum += cents;
        return sum;
    }
    void clear() { *this = Shop(); }

   private:
    std::vector<std::string> mails_;
    std::map<std::string, int> charges_;
};
// [workflow]

// [simple]
TEST(TrialWorkflow, charges_after_thirty_days) {
    Shop shop;
    dbos::testing::TestApp app;
    app.implement(Trial, std::bind_front(&Shop::trial, &shop));

    EXPECT_EQ(app.run(Trial, {}, {"ann", 900}), "charged 900");
    EXPECT_EQ(shop.charged(), 900);
}
// [simple]

// [clock]
TEST(TrialWorkflow, charges_nothing_until_then) {
    Shop shop;
    dbos::testing::TestApp app;
    app.implement(Trial, std::bind_front(&Shop::trial, &shop));

    auto handle = app.start_workflow(Trial, {}, {"ann", 900});
    app.clock().advance(29 * 24h);
    EXPECT_EQ(shop.charged(), 0);
    app.client().send(handle.workflow_id(), "too dear", "cancel");
    app.clock().advance(10 * 24h);
    EXPECT_EQ(handle.get_result(), "cancelled: too dear");
    EXPECT_EQ(shop.charged(), 0);
}
// [clock]

// [crash]
TEST(TrialWorkflow, ends_the_same_wherever_it_is_killed) {
    Shop shop;
    dbos::testing::TestApp app;
    app.implement(Trial, std::bind_front(&Shop::trial, &shop));

    const auto report = dbos::testing::crash_everywhere(
        app, Trial,
        {.before_each = [&] { shop.clear(); },
         .after_each =
             [&] {
                 if (shop.charged() != 900)
                     throw std::runtime_error("charged " +
                                              std::to_string(shop.charged()));
             }},
        {"ann", 900});
    EXPECT_TRUE(report.passed()) << report;
}
// [crash]

// [messages]
TEST(TrialWorkflow, is_cancelled_once_wherever_it_is_killed) {
    Shop shop;
    dbos::testing::TestApp app;
    app.implement(Trial, std::bind_front(&Shop::trial, &shop));

    const auto report = dbos::testing::crash_everywhere(
        app, Trial,
        {.workflow_id = "trial-of-ann",
         .before_each = [&] { shop.clear(); },
         .prepare =
             [](dbos::Client& client) {
                 client.send("trial-of-ann", "too dear", "cancel");
             }},
        {"ann", 900});
    EXPECT_TRUE(report.passed()) << report;
    EXPECT_EQ(report.expected.text, R"("cancelled: too dear")");
}
// [messages]

// [determinism]
TEST(TrialWorkflow, is_replayed_as_it_ran) {
    Shop shop;
    dbos::testing::TestApp app;
    app.implement(Trial, std::bind_front(&Shop::trial, &shop));

    const auto report =
        dbos::testing::check_determinism(app, Trial, {}, {"ann", 900});
    EXPECT_TRUE(report.passed()) << report;
}
// [determinism]

// [broken]
inline constexpr auto Draw = dbos::workflow<int()>("draw");

int draw(dbos::Context& ctx) {
    std::random_device dice;  // not recorded: another number at every replay
    const int lots = 1 + static_cast<int>(dice() % 1'000'000);
    return lots + ctx.step("bonus", [] { return 1; });
}
// [broken]

TEST(Draw, is_found_out) {
    dbos::testing::TestApp app;
    app.implement(Draw, draw);
    // [found]
    const auto report = dbos::testing::check_determinism(app, Draw, {});
    EXPECT_FALSE(report.passed());
    std::cout << report;
    // [found]
    ASSERT_EQ(report.deviations.size(), 1U);
    EXPECT_EQ(report.deviations[0].number, 0);
    EXPECT_EQ(report.deviations[0].recorded, "result " + report.expected.text);
}

}  // namespace
