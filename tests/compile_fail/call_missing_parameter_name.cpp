// expect: params_must_name_every_parameter_of_the_workflow_once
#include "dbos/workflow.hpp"

inline constexpr auto Bad = dbos::workflow<int(int, int)>("bad", dbos::params("a", "*"));
