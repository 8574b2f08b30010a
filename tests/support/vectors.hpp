// Golden vectors of the stored formats: tests/vectors/serialization, or the same files in the directory DBOS_VECTORS.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "dbos/value.hpp"
#include "value/json.hpp"

namespace dbos::test {

inline Array load(const std::string& file) {
    const char* directory = std::getenv("DBOS_VECTORS");
    const std::string path =
        std::string(directory != nullptr && *directory != '\0' ? directory : DBOS_TEST_VECTORS) +
        "/serialization/" + file;
    std::ifstream stream(path, std::ios::binary);
    EXPECT_TRUE(stream.good()) << "cannot read " << path;
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    return parse_json(text).as_array();
}

/// Empty if there is no such text.
inline std::string text_of(const Value& vector, const char* key) {
    const Value* found = vector.find(key);
    return found != nullptr && found->kind() == Kind::string ? found->as_string() : std::string();
}

}  // namespace dbos::test
