#include "workload.hpp"

#include <stdexcept>
#include <vector>

#include "bodies.hpp"
#include "duet.hpp"

namespace dbos::sim {

namespace {

std::string chain(const Bodies& bodies, Context& ctx, std::int64_t bits) {
    Shape shape(bits);
    std::string result;
    const auto steps = 1 + shape.below(4);
    for (std::uint64_t i = 0; i < steps; ++i)
        result += bodies.step(ctx, "step " + std::to_string(i), bodies.plan_step(shape)) + ",";
    return result;
}

std::string sleeper(const Bodies& bodies, Context& ctx, std::int64_t bits) {
    Shape shape(bits);
    std::string result = bodies.step(ctx, "before", bodies.plan_step(shape)) + ",";
    const Nanos lengths[] = {0, 20 * kMillisecond, 700 * kMillisecond, bodies.pace() * 5 / 7,
                             bodies.pace() * 20 / 7};
    const Nanos length = lengths[shape.below(5)];
    ctx.sleep(seam::Duration(length));
    bodies.watch().slept(ctx.workflow_id(), 0, length);
    return result + bodies.step(ctx, "after", bodies.plan_step(shape)) + ",";
}

std::string fan(const Bodies& bodies, Context& ctx, std::int64_t bits) {
    Shape shape(bits);
    auto a = bodies.async_step(ctx, "a", bodies.plan_step(shape));
    auto b = bodies.async_step(ctx, "b", bodies.plan_step(shape));
    auto c = bodies.async_step(ctx, "c", bodies.plan_step(shape));
    std::string result = a.get() + ",";
    result += b.get() + ",";
    return result + c.get() + ",";
}

std::string scripted(const Bodies& bodies, Context& ctx, std::int64_t digits) {
    const Nanos takes[] = {0,
                           0,
                           30 * kMillisecond,
                           400 * kMillisecond,
                           bodies.pace() * 3 / 7,
                           bodies.pace() * 12 / 7,
                           bodies.pace() * 3,
                           0,
                           100 * kMillisecond};
    const bool at_once = digits % 10 == 1;
    std::vector<Pending<std::string>> pending;
    std::string result;
    int number = 0, sleeps = 0;
    for (digits /= 10; digits > 0; digits /= 10) {
        const auto digit = static_cast<std::size_t>(digits % 10);
        if (digit == 9) {
            ctx.sleep(seam::Duration(bodies.pace() * 3));
            bodies.watch().slept(ctx.workflow_id(), sleeps++, bodies.pace() * 3);
            continue;
        }
        const std::string name = "step " + std::to_string(number++);
        const StepPlan plan{.takes = takes[digit], .failures = digit == 8 ? 2 : 0};
        if (at_once) {
            pending.push_back(bodies.async_step(ctx, name, plan));
        } else {
            result += bodies.step(ctx, name, plan) + ",";
        }
    }
    for (auto& step : pending) result += step.get() + ",";
    return result;
}

std::string talker(const Bodies& bodies, Context& ctx, std::int64_t bits) {
    Shape shape(bits);
    std::string result;
    std::vector<Pending<void>> pending;
    int said = 0;
    const auto rounds = 1 + shape.below(3);
    for (std::uint64_t round = 0; round < rounds; ++round) {
        for (auto left = 1 + shape.below(5); left > 0; --left) {
            const std::string value = "b" + std::to_string(said++);
            const SendOptions once{.idempotency_key = ctx.workflow_id() + ":" + value};
            switch (shape.below(8)) {
                case 0: ctx.write_stream(kTalk, value); break;
                case 1:
                case 2: pending.push_back(ctx.write_stream_async(kTalk, value)); break;
                case 3: ctx.set_event(kTalk, value); break;
                case 4: pending.push_back(ctx.set_event_async(kTalk, value)); break;
                case 5: ctx.send(ctx.workflow_id(), value, kTalk, once); break;
                case 6:
                    ctx.send_bulk({{.destination_id = ctx.workflow_id(), .message = value, .topic = kTalk},
                                   {.destination_id = ctx.workflow_id(), .message = value, .topic = kTalk}});
                    break;
                default:
                    try {
                        ctx.send_bulk(
                            {{.destination_id = ctx.workflow_id(), .message = value, .topic = kTalk},
                             {.destination_id = "nobody", .message = value, .topic = kTalk}});
                        fail("a message was sent to nobody");
                    } catch (const NonexistentWorkflow&) {  // recorded
                    }
            }
        }
        const std::string name = "step " + std::to_string(round);
        const StepPlan plan = bodies.plan_step(shape);
        result +=
            (shape.below(2) == 0 ? bodies.loud_step(ctx, name, plan) : bodies.step(ctx, name, plan)) + ",";
        if (shape.below(3) == 0) {
            for (auto& one : pending) one.get();
            pending.clear();
        }
    }
    ctx.close_stream(kTalk);
    return result;
}

std::string parent(const Bodies& bodies, Context& ctx, std::int64_t bits) {
    Shape shape(bits);
    std::vector<WorkflowHandle<std::string>> children;
    const auto count = 1 + shape.below(3);
    for (std::uint64_t i = 0; i < count; ++i) {
        const char* queues[] = {"", kWide, kShared, kNarrow};
        EnqueueOptions options{.queue_name = queues[shape.below(4)]};
        if (shape.below(8) == 0) options.workflow_timeout = seam::Duration(bodies.pace() * 5 / 7);
        children.push_back(shape.below(3) == 0 ? ctx.start_workflow(Sleeper, options, shape.rest())
                                               : ctx.start_workflow(Chain, options, shape.rest()));
    }
    bodies.step(ctx, "between", bodies.plan_step(shape));
    std::string result;
    for (auto& child : children) {
        try {
            result += child.get_result();
        } catch (const std::exception&) {  // a child that failed or was cancelled
            result += "!";
        }
    }
    return result;
}

}  // namespace

void prepare(App& app, StepWatch& watch, Nanos pace, const MoreQueues& more) {
    const Bodies bodies(watch, pace);
    const auto implement = [&](const auto& contract, auto body, const ImplementOptions& options = {}) {
        app.implement(
            contract,
            [bodies, body, &watch](Context& ctx, std::int64_t bits) {
                struct Stay {
                    StepWatch& watch;
                    const std::string executor, workflow;
                    ~Stay() { watch.body(executor, workflow, false); }
                };
                watch.body(ctx.executor_id(), ctx.workflow_id(), true);
                const Stay stay{watch, ctx.executor_id(), ctx.workflow_id()};
                return body(bodies, ctx, bits);
            },
            options);
    };
    implement(Chain, chain);
    implement(Sleeper, sleeper);
    implement(Fan, fan);
    implement(Parent, parent);
    implement(Scripted, scripted);
    implement(Talker, talker);
    implement(Duet, [pace](const Bodies&, Context& ctx, std::int64_t bits) { return duet(ctx, bits, pace); });
    implement(Listener, [pace](const Bodies& of, Context& ctx, std::int64_t bits) {
        return listener(ctx, bits, pace, of.watch());
    });
    implement(Fragile, fragile, {.max_recovery_attempts = kFragileLimit});
    implement(Reviser, reviser);
    implement(Guardian, guardian);
    implement(Reformed, reformed);
    implement(Bookkeeper,
              [books = SqliteDatasource(kBooks), system = app.system_datasource<SqliteDatasource>()](
                  const Bodies& of, Context& ctx, std::int64_t bits) {
                  return bookkeeper(of, ctx, bits, books, system);
              });
    implement(Guarded, chain, {.required_roles = {kRole}});
    app.implement(
        Ticked, [](Context&, std::chrono::system_clock::time_point, std::int64_t) { return std::string(); });
    app.register_queue({.name = kWide});
    app.register_queue({.name = kNarrow, .worker_concurrency = kNarrowLimit});
    app.register_queue({.name = kShared, .concurrency = kSharedLimit});
    if (more.flood) app.register_queue({.name = kFlood});
    if (!more.crowds) return;
    const auto rate = [](const Rate& of) {
        return RateLimit{.limit = of.starts, .period = std::chrono::milliseconds(of.period_ms)};
    };
    app.register_queue({.name = kRated, .limiter = rate(kRatedRate)});
    app.register_queue({.name = kKeyed, .partition_concurrency = 1});
    app.register_queue({.name = kMixed,
                        .worker_concurrency = kMixedWorkerLimit,
                        .concurrency = kMixedLimit,
                        .limiter = rate(kMixedRate),
                        .partition_worker_concurrency = kMixedKeyWorkerLimit,
                        .partition_concurrency = kMixedKeyLimit,
                        .partition_limiter = rate(kMixedKeyRate)});
}

}  // namespace dbos::sim
