// The files of the zone database.
#pragma once

#include <optional>
#include <string>

namespace dbos::seam {

/// The bytes of the compiled zone file `name` ("Europe/Berlin"), looked for in $TZDIR, then in /usr/share/zoneinfo and the
/// other usual folders. nullopt if no folder has a readable file of that name, or it has more than a megabyte. The caller has
/// checked that the name leads nowhere else (core/time_zone.hpp). Safe from any thread.
std::optional<std::string> read_zone_file(const std::string& name);

}  // namespace dbos::seam
