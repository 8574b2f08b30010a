// What the tests of worlds share: SQLite is set up once, and the database that worlds begin with is made once.
#pragma once

#include <string>

#include "scenario.hpp"

namespace dbos::sim {

inline const std::string& database_template() {
    static const std::string bytes = [] {
        vfs::install();
        return make_template();
    }();
    return bytes;
}

}  // namespace dbos::sim
