#include "support/tour.hpp"

#include <stdexcept>
#include <vector>

namespace dbos::test {

using namespace std::chrono_literals;

const char* const kTourResult =
    "steps:abcde149;mail:m1,m2,m3,m4,-,;event:v2,2;stream:s0,s1,s2,s1;"
    "children:guest,guest,guest,guest,denied;debounced:one,guest;select:0,now;"
    "managed:DELAYED,1,1,CANCELLED,guest,guest,guest,gone;others:36,new,kept,1,1;ledger:30";

namespace {

using Texts = std::string;

class Steps {
   public:
    explicit Steps(const TourStep& step) : step_(step) {}
    auto gives(std::string value, int failures = 0) const {
        return [step = step_, value = std::move(value), failures](StepContext& context) {
            return step(context, value, failures);
        };
    }

   private:
    const TourStep& step_;
};

Texts steps(Context& ctx, const Steps& step) {
    Texts result = ctx.step("plain", step.gives("a"));
    result += ctx.step("again", step.gives("b", 1), {.max_attempts = 3, .interval = 100ms});
    try {
        ctx.step("fails", step.gives("?", 9));
    } catch (const std::domain_error&) {
        result += "c";
    }
    {
        auto d = ctx.async_step("d", step.gives("d"));
        auto e = ctx.async_step("e", step.gives("e"));
        ctx.sleep(300ms);
        result += d.get() + e.get();
    }
    const std::vector<int> numbers{1, 2, 3};
    for (const int square : ctx.map("square", numbers, [](int n) { return n * n; }, {.max_parallel = 2}))
        result += std::to_string(square);
    return result;
}

Texts mail(Context& ctx) {
    const std::string id = ctx.workflow_id();
    ctx.send(id, "m1", "mail");
    auto sent = ctx.send_async(id, "m2", "mail", {.idempotency_key = "m2"});
    ctx.send_bulk({{.destination_id = id, .message = "m3", .topic = "mail"},
                   {.destination_id = id, .message = "m4", .topic = "mail"}});
    sent.get();
    Texts result;
    for (int i = 0; i < 3; ++i) result += ctx.recv<std::string>("mail", 60s).value_or("-") + ",";
    auto last = ctx.recv_async<std::string>("mail", 60s);
    result += last.get().value_or("-") + ",";
    return result + ctx.recv<std::string>("mail", 200ms).value_or("-") + ",";
}

Texts event(Context& ctx) {
    ctx.set_event("first", "v1");
    ctx.set_event_async("first", "v2").get();
    ctx.set_event("second", 2);
    const auto value = ctx.get_event<std::string>(ctx.workflow_id(), "first", 60s);
    return value.value_or("-") + "," + std::to_string(ctx.get_all_events(ctx.workflow_id()).size());
}

Texts stream(Context& ctx) {
    ctx.write_stream("pages", "s0");
    auto s1 = ctx.write_stream_async("pages", "s1");
    auto s2 = ctx.write_stream_async("pages", "s2");
    ctx.close_stream("pages");
    s1.get();
    s2.get();
    Texts result;
    auto pages = ctx.read_stream<std::string>(ctx.workflow_id(), "pages");
    while (const auto page = pages.next()) result += *page + ",";
    return result + ctx.read_stream_offset<std::string>(ctx.workflow_id(), "pages", 1);
}

Texts children(Context& ctx) {
    auto direct = ctx.start_workflow(Guest, {}, 0);
    auto queued = ctx.start_workflow(Guest, {.queue_name = kTourQueue}, 0);
    auto pending = ctx.start_workflow_async(Guest, {.queue_name = kTourQueue}, 0);
    auto another = ctx.start_workflow_async(Guest, {}, 0);
    auto refused = ctx.start_workflow_async(
        Guest, {.queue_name = kHeldQueue, .deduplication_id = held_by(ctx.workflow_id())}, 0);
    const std::vector<WorkflowHandle<std::string>> all{direct, queued, pending.get(), another.get()};
    static_cast<void>(ctx.wait_first(all));
    ctx.wait_all(all);
    Texts result = direct.get_result() + "," + queued.get_result();
    for (std::size_t i = 2; i < all.size(); ++i) result += "," + ctx.get_result_async(all[i]).get();
    try {
        static_cast<void>(refused.get());
        return result + ",taken";
    } catch (const QueueDeduplicated&) {
        return result + ",denied";
    }
}

Texts debounced(Context& ctx) {
    Debouncer debouncer(ctx, Guest, {.queue = kTourQueue});
    const auto put_off = debouncer.debounce(ctx.workflow_id(), Duration(3600), 0);
    const auto runs = debouncer.debounce(ctx.workflow_id(), 100ms, 0);
    return (put_off.workflow_id() == runs.workflow_id() ? "one," : "two,") + runs.get_result();
}

Texts select(Context& ctx) {
    ctx.set_event("soon", "now");
    auto soon = ctx.get_event_async<std::string>(ctx.workflow_id(), "soon", 60s);
    auto never = ctx.recv_async<std::string>("nobody writes", 60s);
    auto late = ctx.sleep_async(30s);
    const auto winner = ctx.select(soon, never, late);
    return std::to_string(winner) + "," + soon.get().value_or("-");
}

Texts managed(Context& ctx) {
    const std::string held = held_by(ctx.workflow_id()), forked = forked_by(ctx.workflow_id());
    ctx.set_workflow_delay(held, Duration(7200));
    ctx.set_workflow_priority(held, 3);
    ctx.update_workflow_attributes(held, Object{{"seen", true}});
    Texts result = ctx.get_workflow_status(held)->status + ",";
    result += std::to_string(ctx.list_workflows({.workflow_ids = held}).size()) + ",";
    result += std::to_string(ctx.list_workflows({.workflow_ids = held, .queues_only = true}).size()) + ",";
    ctx.cancel_workflow(held);
    result += ctx.retrieve_workflow(held).get_status().status + ",";
    result += ctx.resume_workflow(Guest, held).get_result() + ",";
    result += ctx.fork_workflow(Guest, held, 1, {.new_workflow_id = forked}).get_result() + ",";
    result += ctx.rewind_workflow(Guest, held, 1).get_result() + ",";
    ctx.delete_workflow(forked);
    return result + (ctx.get_workflow_status(forked) ? "kept" : "gone");
}

Texts others(Context& ctx) {
    const std::string nightly = ctx.workflow_id() + "-nightly";
    const auto held = held_by(ctx.workflow_id());
    static_cast<void>(ctx.now());
    Texts result = std::to_string(ctx.random_uuid().size());
    result += ctx.patch("new way") ? ",new" : ",old";
    ctx.deprecate_patch("older way");
    ctx.create_schedule({.schedule_name = nightly, .workflow_name = "guest", .schedule = "0 3 * * *"});
    ctx.pause_schedule(nightly);
    result += ctx.get_schedule(nightly) ? ",kept" : ",gone";
    ctx.delete_schedule(nightly);
    result += "," + std::to_string(ctx.list_application_versions().size());
    return result + "," + std::to_string(ctx.list_workflow_steps(held).size());
}

}  // namespace

std::string tour(Context& ctx, const TourStep& callable, const TourLedger& ledger) {
    const Steps step(callable);
    ctx.defer("leave", [] {});
    const std::string held = held_by(ctx.workflow_id());
    static_cast<void>(ctx.start_workflow(
        Guest,
        {.queue_name = kHeldQueue, .workflow_id = held, .deduplication_id = held, .delay = Duration(3600)},
        0));
    std::string result = "steps:" + steps(ctx, step);
    result += ";mail:" + mail(ctx);
    result += ";event:" + event(ctx);
    result += ";stream:" + stream(ctx);
    result += ";children:" + children(ctx);
    result += ";debounced:" + debounced(ctx);
    result += ";select:" + select(ctx);
    result += ";managed:" + managed(ctx);
    result += ";others:" + others(ctx);
    return result + ";ledger:" + ledger(ctx);
}

std::string guest(Context& ctx, const TourStep& callable) {
    return ctx.step("greet", Steps(callable).gives("guest"));
}

}  // namespace dbos::test
