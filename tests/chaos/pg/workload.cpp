#include "chaos/pg/workload.hpp"

#include <sys/prctl.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <thread>

#include "chaos/pg/misbehave.hpp"
#include "chaos/pg/random.hpp"
#include "chaos/pg/timeline.hpp"
#include "support/process.hpp"

namespace dbos::chaos {

namespace {

using std::chrono::milliseconds;
using test::SideLog;

constexpr auto kDeaf = std::chrono::seconds(12);

struct StepPlan {
    int takes_ms = 0;
    int failures = 0;  // attempts that fail
    int attempts = 3;  // if one fails
    double backoff_rate = 2;
};

StepPlan plan_step(Random& shape) {
    constexpr int kTakes[] = {0, 0, 0, 1, 5, 20, 60, 300};
    StepPlan plan;
    plan.takes_ms = kTakes[shape.below(std::size(kTakes))];
    const std::uint64_t luck = shape.below(16);
    plan.failures = luck == 0 ? 9 : luck < 3 ? static_cast<int>(luck) : 0;
    return plan;
}

/// The side of the bodies that must be known outside of the database.
class Bodies {
   public:
    Bodies(SideLog side, const Misbehaviour& wrong) : side_(std::move(side)), wrong_(wrong) {}

    std::string workflow(Context& ctx, const std::function<std::string()>& body) {
        const std::string what = ctx.workflow_id() + " " + std::to_string(getpid()) + " ";
        write("enter " + what);
        struct Leave {
            const Bodies& bodies;
            const std::string& what;
            ~Leave() { bodies.write("leave " + what); }
        } const leave{*this, what};
        if (!wrong_.is("deaf")) return body();
        try {
            return body();
        } catch (const Interrupt&) {
            std::this_thread::sleep_for(kDeaf);
            throw;
        }
    }
    std::string step(Context& ctx, const std::string& name, const StepPlan& plan) {
        int number = 0;
        const auto value = ctx.step(
            Name::dynamic(name),
            [&](StepContext& step) {
                number = step.step_id();
                return run(step, plan);
            },
            options(plan));
        if (number > 0 && wrong_.is("body-twice")) {
            StepContext again(ctx.workflow_id(), number, 1, 1, {});
            run(again, {});
        }
        return value;
    }
    auto async_step(Context& ctx, const std::string& name, const StepPlan& plan) {
        return ctx.async_step(
            Name::dynamic(name), [this, plan](StepContext& step) { return run(step, plan); }, options(plan));
    }

   private:
    static StepOptions options(const StepPlan& plan) {
        return {.max_attempts = plan.failures > 0 ? plan.attempts : 1,
                .interval = milliseconds(50),
                .backoff_rate = plan.backoff_rate};
    }
    std::string run(StepContext& step, const StepPlan& plan) {
        const std::string value = std::to_string(getpid()) + "." + std::to_string(++count_);
        const std::string what = step.workflow_id() + " " + std::to_string(step.step_id()) + " " + value +
                                 " " + std::to_string(step.attempt()) + " ";
        write("begin " + what);
        std::this_thread::sleep_for(milliseconds(plan.takes_ms));
        if (step.attempt() <= plan.failures) throw std::runtime_error("bad luck");
        write("end " + what);
        return value;
    }
    void write(const std::string& line) const { side_.write(line + std::to_string(now_us())); }

    const SideLog side_;
    const Misbehaviour& wrong_;
    std::atomic<std::uint64_t> count_{0};
};

std::string chain(Bodies& bodies, Context& ctx, std::int64_t seed) {
    Random shape(static_cast<std::uint64_t>(seed));
    std::string result;
    const auto steps = 1 + shape.below(6);
    for (std::uint64_t i = 0; i < steps; ++i)
        result += bodies.step(ctx, "step " + std::to_string(i), plan_step(shape)) + ",";
    return result;
}

std::string sleeper(Bodies& bodies, Context& ctx, std::int64_t seed) {
    Random shape(static_cast<std::uint64_t>(seed));
    std::string result = bodies.step(ctx, "before", plan_step(shape)) + ",";
    constexpr int kSleeps[] = {0, 20, 300, 1'000, 3'000};
    ctx.sleep(milliseconds(kSleeps[shape.below(std::size(kSleeps))]));
    return result + bodies.step(ctx, "after", plan_step(shape)) + ",";
}

std::string fan(Bodies& bodies, Context& ctx, std::int64_t seed) {
    Random shape(static_cast<std::uint64_t>(seed));
    auto a = bodies.async_step(ctx, "a", plan_step(shape));
    auto b = bodies.async_step(ctx, "b", plan_step(shape));
    auto c = bodies.async_step(ctx, "c", plan_step(shape));
    std::string result = a.get() + ",";
    result += b.get() + ",";
    return result + c.get() + ",";
}

std::string parent(Bodies& bodies, Context& ctx, std::int64_t seed) {
    Random shape(static_cast<std::uint64_t>(seed));
    std::vector<WorkflowHandle<std::string>> children;
    const auto count = 1 + shape.below(3);
    for (std::uint64_t i = 0; i < count; ++i) {
        const char* queues[] = {"", kWide, kWide, kShared};
        EnqueueOptions options{.queue_name = queues[shape.below(std::size(queues))]};
        const auto child_seed = static_cast<std::int64_t>(shape.below(1u << 30));
        children.push_back(shape.one_in(3) ? ctx.start_workflow(Sleeper, options, child_seed)
                                           : ctx.start_workflow(Chain, options, child_seed));
    }
    bodies.step(ctx, "between", plan_step(shape));
    std::string result;
    for (auto& child : children) {
        try {
            result += child.get_result();
        } catch (const std::exception&) {  // a child that failed
            result += "!";
        }
    }
    return result;
}

std::string stubborn(Bodies& bodies, Context& ctx, std::int64_t) {
    return bodies.step(ctx, "step 0", {.failures = 200, .attempts = 201, .backoff_rate = 1}) + ",";
}

}  // namespace

int work(const std::vector<std::string>& arguments) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    Misbehaviour wrong(arguments.size() > 5 ? arguments[5] : "");
    AppOptions options;
    options.name = kApplication;
    options.system_database_url = arguments.at(1) + "&options=-c%20chaos.actor%3D" + std::to_string(getpid());
    options.dbos_system_schema = arguments.at(2);
    options.lease_duration = milliseconds(kLeaseMs);
    options.lease_renewal = milliseconds(kRenewalMs);
    options.log_sink = [log = SideLog(arguments.at(4))](const LogRecord& record) {
        log.write(to_logfmt(record));
    };
    const SideLog side(arguments.at(3));
    Bodies bodies(side, wrong);
    App app(options);
    const auto implement = [&](const auto& contract, auto body) {
        app.implement(contract, [&bodies, body](Context& ctx, std::int64_t seed) {
            return bodies.workflow(ctx, [&] { return body(bodies, ctx, seed); });
        });
    };
    implement(Chain, chain);
    implement(Sleeper, sleeper);
    implement(Fan, fan);
    implement(Parent, parent);
    implement(Stubborn, stubborn);
    constexpr std::int64_t kTooMany = 50;
    const auto limit = [&](const char* how, std::size_t right) {
        return wrong.is(how) ? kTooMany : static_cast<std::int64_t>(right);
    };
    app.register_queue({.name = kWide});
    app.register_queue({.name = kNarrow, .worker_concurrency = limit("wide-narrow", kNarrowLimit)});
    app.register_queue({.name = kShared, .concurrency = limit("wide-shared", kSharedLimit)});
    app.register_queue({.name = kRated,
                        .limiter = {.limit = limit("wide-rated", kRateLimit),
                                    .period = std::chrono::milliseconds(kRatePeriodMs)}});
    app.register_queue({.name = kKeyed,
                        .concurrency = limit("wide-keyed", kKeyedLimit),
                        .partition_concurrency = limit("wide-keyed", 1)});
    try {
        app.launch();
    } catch (const DatabaseError& error) {  // whoever runs the workers starts another one
        SideLog(arguments.at(4)).write(std::string("launch failed: ") + error.what());
        if (error.transient()) return kNotLaunched;
        throw;
    }
    side.write("up " + std::to_string(getpid()));
    wrong.start(options.system_database_url, options.dbos_system_schema, app.executor_id());
    app.wait();
    return 0;
}

}  // namespace dbos::chaos
