// expect: add DBOS_ERROR(Type, fields...) beside it
#include "dbos/workflow.hpp"

struct Declined : std::runtime_error {
    using std::runtime_error::runtime_error;
};
inline constexpr auto Bad = dbos::workflow<int()>("bad").throws<Declined>();
