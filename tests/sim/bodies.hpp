// What the bodies of workflows are made of: the bits of their argument, and steps that say when they begin and end.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

#include "workload.hpp"

namespace dbos::sim {

/// The bits of an argument, taken one after another.
class Shape {
   public:
    explicit Shape(std::int64_t bits) : bits_(static_cast<std::uint64_t>(bits)) {}
    std::uint64_t below(std::uint64_t limit) {
        const std::uint64_t value = bits_ % limit;
        bits_ = (bits_ / limit) * 0x9e3779b97f4a7c15ull + 0x7f4a7c15ull;
        bits_ ^= bits_ >> 31;
        return value;
    }
    std::int64_t rest() { return static_cast<std::int64_t>(below(std::uint64_t{1} << 40)); }

   private:
    std::uint64_t bits_;
};

struct StepPlan {
    Nanos takes = 0;
    int failures = 0;  // attempts that fail
};

class Bodies {
    class Attempt;
   public:
    Bodies(StepWatch& watch, Nanos pace) : watch_(&watch), pace_(pace) {}

    StepPlan plan_step(Shape& shape) const {
        const Nanos takes[] = {0,
                               0,
                               0,
                               0,
                               2 * kMillisecond,
                               30 * kMillisecond,
                               400 * kMillisecond,
                               pace_ * 3 / 7,
                               pace_ * 12 / 7};
        StepPlan plan;
        plan.takes = takes[shape.below(shape.below(3) == 0 ? std::size(takes) : 6)];
        const std::uint64_t luck = shape.below(12);
        plan.failures = luck == 0 ? 9 : luck < 3 ? static_cast<int>(luck) : 0;
        return plan;
    }
    Nanos pace() const { return pace_; }
    StepWatch& watch() const { return *watch_; }
    std::string step(Context& ctx, const std::string& name, const StepPlan& plan) const {
        return ctx.step(Name::dynamic(name), work(ctx, plan), options(plan));
    }
    /// A step that writes in each of its attempts, before and behind what takes its time.
    std::string loud_step(Context& ctx, const std::string& name, const StepPlan& plan) const {
        return ctx.step(
            Name::dynamic(name),
            [&ctx, watch = watch_, executor = ctx.executor_id(), plan](StepContext& step) {
                const Attempt attempt(*watch, executor, step);
                const std::string value = "s" + std::to_string(step.attempt());
                ctx.write_stream(kNoise, value);
                ctx.set_event(kNoise, value);
                std::string result = toil(step, plan);
                ctx.send(
                    step.workflow_id(), value, kNoise,
                    {.idempotency_key = step.workflow_id() + ":noise:" + std::to_string(step.step_id())});
                ctx.write_stream(kNoise, value);
                return result;
            },
            options(plan));
    }
    auto async_step(Context& ctx, const std::string& name, const StepPlan& plan) const {
        return ctx.async_step(Name::dynamic(name), work(ctx, plan), options(plan));
    }

   private:
    static StepOptions options(const StepPlan& plan) {
        return {.max_attempts = plan.failures > 0 ? 3 : 1, .interval = std::chrono::milliseconds(100)};
    }
    /// The first thing in a step: nothing stands between the engine's last look at its lease and this.
    class Attempt {
       public:
        Attempt(StepWatch& watch, const std::string& executor, const StepContext& step)
            : watch_(watch), executor_(executor), workflow_(step.workflow_id()) {
            watch_.begins(executor, workflow_, step.step_id(), step.attempt());
        }
        ~Attempt() { watch_.ends(executor_, workflow_); }
        Attempt(const Attempt&) = delete;
        Attempt& operator=(const Attempt&) = delete;

       private:
        StepWatch& watch_;
        const std::string &executor_, &workflow_;
    };
    /// The value is new in every attempt: an outcome made of another attempt's value than the recorded one shows.
    static std::string toil(StepContext& step, const StepPlan& plan) {
        if (step.attempt() > step.max_attempts())
            fail("attempt " + std::to_string(step.attempt()) + " of step " + std::to_string(step.step_id()) +
                 " of " + step.workflow_id() + ", which may have " + std::to_string(step.max_attempts()));
        if (plan.takes > 0) seam::sleep_for(seam::Duration(plan.takes));
        if (step.attempt() <= plan.failures) throw std::runtime_error("bad luck");
        return std::to_string(draw() % 1'000'000);
    }
    std::function<std::string(StepContext&)> work(Context& ctx, const StepPlan& plan) const {
        return [watch = watch_, executor = ctx.executor_id(), plan](StepContext& step) {
            const Attempt attempt(*watch, executor, step);
            return toil(step, plan);
        };
    }
    StepWatch* watch_;
    Nanos pace_;
};

std::string fragile(const Bodies& bodies, Context& ctx, std::int64_t bits);
std::string reviser(const Bodies& bodies, Context& ctx, std::int64_t bits);
std::string guardian(const Bodies& bodies, Context& ctx, std::int64_t bits);
std::string reformed(const Bodies& bodies, Context& ctx, std::int64_t bits);
std::string bookkeeper(const Bodies& bodies, Context& ctx, std::int64_t bits, const SqliteDatasource& books,
                       const SqliteDatasource& system);

}  // namespace dbos::sim
