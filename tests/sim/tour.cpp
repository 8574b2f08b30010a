#include "tour.hpp"

#include <sqlite3.h>

#include <stdexcept>
#include <vector>

namespace dbos::sim {

using namespace std::chrono_literals;

const char* const kTourResult =
    "steps:abcde149;mail:m1,m2,m3,m4,-,;event:v2,2;stream:s0,s1,s2,s1;"
    "children:guest,guest,guest,guest,denied;select:0,now;"
    "managed:DELAYED,1,1,CANCELLED,guest,guest,guest,gone;others:36,new,kept,1,1;ledger:30,30";

namespace {

using Texts = std::string;

/// A step as the others of the worlds: the oracle sees it begin and end.
class Steps {
   public:
    Steps(StepWatch& watch, Context& ctx) : watch_(watch), ctx_(ctx) {}
    auto gives(std::string value, int failures = 0) const {
        return [&watch = watch_, executor = ctx_.executor_id(), value, failures](StepContext& step) {
            watch.begins(executor, step.workflow_id(), step.step_id(), step.attempt());
            struct Stay {
                StepWatch& watch;
                const std::string &executor, &workflow;
                ~Stay() { watch.ends(executor, workflow); }
            } const stay{watch, executor, step.workflow_id()};
            if (step.attempt() <= failures) throw std::domain_error("bad luck");
            return value;
        };
    }

   private:
    StepWatch& watch_;
    Context& ctx_;
};

Texts steps(Context& ctx, const Steps& step) {
    Texts result = ctx.step("plain", step.gives("a"));
    result += ctx.step("again", step.gives("b", 1), {.max_attempts = 3, .interval = 100ms});
    try {
        ctx.step("fails", step.gives("?", 9));
    } catch (const StepFailed&) {
        result += "?";
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
    auto queued = ctx.start_workflow(Guest, {.queue_name = kWide}, 0);
    auto pending = ctx.start_workflow_async(Guest, {.queue_name = kWide}, 0);
    auto another = ctx.start_workflow_async(Guest, {}, 0);
    auto refused = ctx.start_workflow_async(Guest, {.queue_name = kNarrow, .deduplication_id = "held"}, 0);
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

Texts select(Context& ctx) {
    ctx.set_event("soon", "now");
    auto soon = ctx.get_event_async<std::string>(ctx.workflow_id(), "soon", 60s);
    auto never = ctx.recv_async<std::string>("nobody writes", 60s);
    auto late = ctx.sleep_async(30s);
    const auto winner = ctx.select(soon, never, late);
    return std::to_string(winner) + "," + soon.get().value_or("-");
}

Texts managed(Context& ctx) {
    ctx.set_workflow_delay(kHeld, Duration(7200));
    ctx.set_workflow_priority(kHeld, 3);
    ctx.update_workflow_attributes(kHeld, Object{{"seen", true}});
    Texts result = ctx.get_workflow_status(kHeld)->status + ",";
    result += std::to_string(ctx.list_workflows({.workflow_ids = kHeld}).size()) + ",";
    result += std::to_string(ctx.list_queued_workflows({.queue_name = kNarrow}).size()) + ",";
    ctx.cancel_workflow(kHeld);
    result += ctx.retrieve_workflow(kHeld).get_status().status + ",";
    result += ctx.resume_workflow(Guest, kHeld).get_result() + ",";
    result += ctx.fork_workflow(Guest, kHeld, 1, {.new_workflow_id = kForked}).get_result() + ",";
    result += ctx.rewind_workflow(Guest, kHeld, 1).get_result() + ",";
    ctx.delete_workflow(kForked);
    return result + (ctx.get_workflow_status(kForked) ? "kept" : "gone");
}

Texts others(Context& ctx) {
    static_cast<void>(ctx.now());
    Texts result = std::to_string(ctx.random_uuid().size());
    result += ctx.patch("new way") ? ",new" : ",old";
    ctx.deprecate_patch("older way");
    ctx.create_schedule({.schedule_name = "nightly", .workflow_name = "guest", .schedule = "0 3 * * *"});
    ctx.pause_schedule("nightly");
    result += ctx.get_schedule("nightly") ? ",kept" : ",gone";
    ctx.delete_schedule("nightly");
    result += "," + std::to_string(ctx.list_application_versions().size());
    return result + "," + std::to_string(ctx.list_workflow_steps(kHeld).size());
}

void execute(sqlite3* database, const std::string& sql) {
    if (sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
        throw std::runtime_error(sql + ": " + sqlite3_errmsg(database));
}

std::int64_t sum(sqlite3* database) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(database, "SELECT sum(amount) FROM tour_ledger", -1, &statement, nullptr) !=
        SQLITE_OK)
        throw std::runtime_error(sqlite3_errmsg(database));
    const bool found = sqlite3_step(statement) == SQLITE_ROW;
    const std::int64_t value = found ? sqlite3_column_int64(statement, 0) : -1;
    sqlite3_finalize(statement);
    return value;
}

Texts ledger(Context& ctx, const SqliteDatasource& shop) {
    for (const int amount : {10, 20}) {
        ctx.transaction(shop, "add", [amount](sqlite3* database) {
            execute(database, "CREATE TABLE IF NOT EXISTS tour_ledger (amount INTEGER)");
            execute(database, "INSERT INTO tour_ledger (amount) VALUES (" + std::to_string(amount) + ")");
        });
    }
    return std::to_string(ctx.transaction(shop, "sum", sum, {.read_only = true}));
}

std::string tour(Context& ctx, const Steps& step, const SqliteDatasource& system,
                 const SqliteDatasource& shop) {
    ctx.defer("leave", [] {});
    static_cast<void>(ctx.start_workflow(
        Guest,
        {.queue_name = kNarrow, .workflow_id = kHeld, .deduplication_id = "held", .delay = Duration(3600)},
        0));
    std::string result = "steps:" + steps(ctx, step);
    result += ";mail:" + mail(ctx);
    result += ";event:" + event(ctx);
    result += ";stream:" + stream(ctx);
    result += ";children:" + children(ctx);
    result += ";select:" + select(ctx);
    result += ";managed:" + managed(ctx);
    result += ";others:" + others(ctx);
    return result + ";ledger:" + ledger(ctx, system) + "," + ledger(ctx, shop);
}

}  // namespace

void prepare_tour(App& app, StepWatch& watch) {
    const auto implement = [&](const auto& contract, auto body) {
        app.implement(contract, [body, &watch](Context& ctx, std::int64_t) {
            struct Stay {
                StepWatch& watch;
                const std::string executor, workflow;
                ~Stay() { watch.body(executor, workflow, false); }
            };
            watch.body(ctx.executor_id(), ctx.workflow_id(), true);
            const Stay stay{watch, ctx.executor_id(), ctx.workflow_id()};
            return body(ctx, Steps(watch, ctx));
        });
    };
    const auto system = app.system_datasource<SqliteDatasource>();
    const SqliteDatasource shop(kShop);
    implement(Tour,
              [system, shop](Context& ctx, const Steps& step) { return tour(ctx, step, system, shop); });
    implement(Guest, [](Context& ctx, const Steps& step) { return ctx.step("greet", step.gives("guest")); });
    app.register_queue({.name = kWide});
    app.register_queue({.name = kNarrow, .worker_concurrency = kNarrowLimit});
    app.register_queue({.name = kShared, .concurrency = kSharedLimit});
}

}  // namespace dbos::sim
