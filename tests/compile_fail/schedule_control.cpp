// expect: compiles
#include "dbos/app.hpp"
#include "dbos/debouncer.hpp"

using Time = std::chrono::system_clock::time_point;
inline constexpr auto Report = dbos::workflow<void(Time, std::string)>("report");
inline constexpr auto Plain = dbos::workflow<void(Time, std::optional<int>)>("plain");
inline constexpr auto Open = dbos::workflow<void(Time, dbos::Value)>("open");

void declare(dbos::App& app) {
    app.schedule(Report, {.schedule_name = "a", .schedule = "0 5 * * *"}, "sales");
    app.schedule(Plain, {.schedule_name = "b", .schedule = "0 5 * * *"}, 7);
    app.schedule(Plain, {.schedule_name = "c", .schedule = "0 5 * * *"});
    app.schedule(Open, {.schedule_name = "d", .schedule = "0 5 * * *"});
}

void body(dbos::Context& ctx) {
    dbos::Debouncer by_contract(ctx, Plain, {.queue = "q"});
    by_contract.debounce("k", std::chrono::seconds(1), Time(), 7);
    dbos::Debouncer by_name(ctx, dbos::EnqueueOptions{.workflow_name = "f"});
    by_name.debounce("k", std::chrono::seconds(1), 1, "two");
}
