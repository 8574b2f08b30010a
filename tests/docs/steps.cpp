// The programs of docs/how-to/steps.md.
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>
#include <dbos/testing.hpp>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>

using namespace std::chrono_literals;

namespace {

using Lines = std::vector<std::string>;

// [errors]
struct SoldOut : std::runtime_error {
    using std::runtime_error::runtime_error;
};
DBOS_ERROR(SoldOut)

inline constexpr auto Order =
    dbos::workflow<std::string(std::string)>("order").throws<SoldOut>();
// [errors]

/// Fails as often as it is told to.
class Warehouse {
   public:
    std::string reserve(const std::string& item) {
        ++calls;
        if (item == "moon") throw SoldOut("there is one only");
        if (calls <= failures) throw std::runtime_error("no connection");
        return item + " on shelf 7";
    }
    std::atomic<int> calls{0};
    int failures = 0;
};
Warehouse warehouse;

// [retries]
std::string order(dbos::Context& ctx, const std::string& item) {
    const auto worth_it = [](const std::exception& error) {
        return dynamic_cast<const SoldOut*>(&error) == nullptr;
    };
    try {
        return ctx.step("reserve", [&] { return warehouse.reserve(item); },
                        {.max_attempts = 4,
                         .interval = 500ms,
                         .backoff_rate = 3,
                         .should_retry = worth_it});
    } catch (const SoldOut& error) {
        return std::string("sold out: ") + error.what();
    } catch (const dbos::StepRetriesExhausted& error) {
        return "gave up: " + error.errors().back();
    }
}
// [retries]

/// A dealer that answers only when it is asked again.
std::string ask_dealer(const std::string& item, int attempt,
                       const std::stop_token& stop) {
    if (attempt > 1) return item + " for 100";
    std::mutex mutex;
    std::condition_variable_any answer;
    std::unique_lock lock(mutex);
    answer.wait(lock, stop, [] { return false; });
    return "too late";
}

inline constexpr auto Quote = dbos::workflow<std::string(std::string)>("quote");

// [timeout]
std::string quote(dbos::Context& ctx, const std::string& item) {
    return ctx.step("ask",
                    [&](dbos::StepContext& step) {
                        return ask_dealer(item, step.attempt(),
                                          step.stop_token());
                    },
                    {.max_attempts = 2, .timeout = 500ms});
}
// [timeout]

int weigh(const std::string& parcel) { return static_cast<int>(parcel.size()); }
int distance(const std::string& parcel) { return parcel == "far" ? 9 : 1; }

inline constexpr auto Postage = dbos::workflow<int(std::string)>("postage");

// [beside]
int postage(dbos::Context& ctx, const std::string& parcel) {
    auto weight = ctx.async_step("weigh", [&] { return weigh(parcel); });
    auto way = ctx.async_step("distance", [&] { return distance(parcel); });
    return weight.get() * way.get();
}
// [beside]

inline constexpr auto Freight =
    dbos::workflow<int(std::vector<std::string>)>("freight");

// [map]
int freight(dbos::Context& ctx, const std::vector<std::string>& parcels) {
    const auto weights =
        ctx.map("weigh", parcels, weigh,
                {.max_parallel = 4, .step = {.max_attempts = 3}});
    int sum = 0;
    for (const int weight : weights) sum += weight;
    return sum;
}
// [map]

std::set<std::string> rented;
std::string rent_van(const std::string& id) {
    rented.insert(id);  // by the same key again: the same van
    return id;
}
void drive(const std::string& to) {
    if (to == "island") throw std::runtime_error("no bridge");
}

inline constexpr auto Deliver = dbos::workflow<void(std::string)>("deliver");

// [defer]
void return_van(const std::string& van) { rented.erase(van); }

void deliver(dbos::Context& ctx, const std::string& to) {
    const auto van =
        ctx.step("rent", [&] { return rent_van(ctx.workflow_id()); });
    ctx.defer("return", return_van, van);
    ctx.step("drive", [&] { drive(to); });
}
// [defer]

inline constexpr auto Load =
    dbos::workflow<int(std::vector<std::string>)>("load");

// [nested]
int weigh_carefully(dbos::Context& ctx, const std::string& parcel) {
    return ctx.step("weigh", [&] { return weigh(parcel); });
}

int load(dbos::Context& ctx, const std::vector<std::string>& parcels) {
    return ctx.step("load", [&] {
        int sum = 0;
        for (const auto& parcel : parcels)
            sum += weigh_carefully(ctx, parcel);  // a part of "load"
        return sum;
    });
}
// [nested]

Lines names(dbos::testing::TestApp& app, const std::string& id) {
    Lines lines;
    for (const auto& step : app.client().list_workflow_steps(id))
        lines.push_back(step.function_name);
    return lines;
}

TEST(Steps, are_tried_again_where_that_may_help) {
    dbos::testing::TestApp app;
    app.implement(Order, order);
    warehouse.failures = 2;
    EXPECT_EQ(app.run(Order, {}, "lamp"), "lamp on shelf 7");
    EXPECT_EQ(warehouse.calls.exchange(0), 3);
    EXPECT_EQ(app.run(Order, {}, "moon"), "sold out: there is one only");
    EXPECT_EQ(warehouse.calls.exchange(0), 1);
    warehouse.failures = 99;
    const auto begin = app.clock().now();
    EXPECT_EQ(app.run(Order, {.workflow_id = "o"}, "lamp"),
              "gave up: runtime_error: no connection");
    EXPECT_EQ(warehouse.calls.exchange(0), 4);
    EXPECT_GE(app.clock().now() - begin, 6500ms);  // 0.5 + 1.5 + 4.5
    EXPECT_EQ(names(app, "o"), Lines{"reserve"});
}

TEST(Steps, end_an_attempt_that_takes_too_long) {
    dbos::testing::TestApp app;
    app.implement(Quote, quote);
    EXPECT_EQ(app.run(Quote, {}, "lamp"), "lamp for 100");
}

TEST(Steps, run_beside_each_other) {
    dbos::testing::TestApp app;
    app.implement(Postage, postage);
    app.implement(Freight, freight);
    EXPECT_EQ(app.run(Postage, {.workflow_id = "p"}, "far"), 27);
    EXPECT_EQ(names(app, "p"), (Lines{"weigh", "distance"}));
    EXPECT_EQ(app.run(Freight, {.workflow_id = "f"}, Lines{"a", "bb", "ccc"}),
              6);
    EXPECT_EQ(names(app, "f"), (Lines{"weigh", "weigh", "weigh"}));
}

TEST(Steps, that_are_deferred_run_at_the_end) {
    dbos::testing::TestApp app;
    app.implement(Deliver, deliver);
    app.run(Deliver, {.workflow_id = "town"}, "town");
    EXPECT_THROW(app.run(Deliver, {.workflow_id = "island"}, "island"),
                 std::runtime_error);
    EXPECT_TRUE(rented.empty());
    EXPECT_EQ(names(app, "town"), (Lines{"rent", "drive", "return"}));
    EXPECT_EQ(names(app, "island"), (Lines{"rent", "drive", "return"}));
}

TEST(Steps, within_a_step_are_plain_functions) {
    dbos::testing::TestApp app;
    app.implement(Load, load);
    EXPECT_EQ(app.run(Load, {.workflow_id = "l"}, Lines{"a", "bb"}), 3);
    EXPECT_EQ(names(app, "l"), Lines{"load"});
}

}  // namespace
