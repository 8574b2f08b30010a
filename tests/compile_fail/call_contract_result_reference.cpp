// expect: a result must own its data
#include "dbos/workflow.hpp"

inline constexpr auto Bad = dbos::workflow<const std::string&()>("bad");
