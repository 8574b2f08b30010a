// expect: this workflow needs a context
#include "dbos/app.hpp"

inline constexpr auto Report =
    dbos::workflow<void(std::chrono::system_clock::time_point, std::string)>("report");

void declare(dbos::App& app) { app.schedule(Report, {.schedule_name = "daily", .schedule = "0 5 * * *"}); }
