#include "dbos/version.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace {

TEST(Version, IsMajorMinorPatch) {
    int parts[3] = {-1, -1, -1};
    char rest = 0;
    const std::string text(dbos::version());
    ASSERT_EQ(std::sscanf(text.c_str(), "%d.%d.%d%c", &parts[0], &parts[1], &parts[2], &rest), 3) << text;
}

}  // namespace
