// The version of the library.
#pragma once

#include <string_view>

#include "dbos/export.hpp"

namespace dbos {

/// Version of the library that the program runs with, `MAJOR.MINOR.PATCH`. Never throws; thread-safe.
DBOS_EXPORT std::string_view version() noexcept;

}  // namespace dbos
