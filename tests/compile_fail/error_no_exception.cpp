// expect: dbos: an error of a contract must derive from std::exception
#include "dbos/failure.hpp"

struct Declined {
    explicit Declined(const std::string&) {}
};
DBOS_ERROR(Declined)

inline constexpr auto known = dbos::error_type<Declined>();
