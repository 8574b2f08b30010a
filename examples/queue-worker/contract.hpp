// All that the server and the worker share. Either may be a program in another language.
#pragma once

#include <dbos/dbos.hpp>

struct Progress {
    int steps_completed = 0;
    int num_steps = 0;
};
DBOS_FIELDS(Progress, steps_completed, num_steps)

inline constexpr auto Work = dbos::workflow<void(int)>("workflow");  // of so many steps
inline constexpr const char* kApplication = "dbos-queue-worker";
inline constexpr const char* kQueue = "workflow-queue";
inline constexpr const char* kProgress = "workflow_progress";  // event: Progress
inline constexpr const char* kDatabase = "sqlite:///queue-worker.sqlite";
