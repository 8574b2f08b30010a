// expect: dbos: this error type is not known; add DBOS_ERROR(Type, fields...) beside it
#include "dbos/failure.hpp"

struct Declined : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline constexpr auto known = dbos::error_type<Declined>();
