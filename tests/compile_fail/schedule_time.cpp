// expect: the first parameter of a scheduled workflow is the instant of the tick
#include "dbos/app.hpp"

inline constexpr auto Report = dbos::workflow<void(int, std::string)>("report");

void declare(dbos::App& app) {
    app.schedule(Report, {.schedule_name = "daily", .schedule = "0 5 * * *"}, "sales");
}
