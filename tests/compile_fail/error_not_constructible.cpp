// expect: dbos: a type of DBOS_ERROR must be constructible from std::string (its message) or by default
#include "dbos/failure.hpp"

struct Declined : std::exception {
    explicit Declined(int code) : number(code) {}
    int number;
};
DBOS_ERROR(Declined, number)

inline constexpr auto known = dbos::error_type<Declined>();
