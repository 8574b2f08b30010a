#include "dbos/version.hpp"

namespace dbos {

std::string_view version() noexcept { return DBOS_VERSION; }

}  // namespace dbos
