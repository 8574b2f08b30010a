// Lets GoogleTest print values.
#pragma once

#include <ostream>

#include "dbos/value.hpp"

namespace dbos {
inline void PrintTo(const Value& value, std::ostream* out) { *out << value.dump(); }
}  // namespace dbos
