// manifest.json: what became of every file of the directory.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "contract.hpp"

namespace archive {

struct Manifest {
    int format = 1;
    std::string root = {};
    std::vector<FileResult> files = {};
};
DBOS_FIELDS(Manifest, format, root, files)

/// JSON, one file a line.
std::string to_text(const Manifest& manifest);
/// Throws dbos::Error on anything else than such a text.
Manifest manifest_from(const std::string& text);

/// A name in the temporary directory that no other execution of a step has.
std::filesystem::path unique_temporary(const std::filesystem::path& out, const std::string& purpose);
/// Lower-case hexadecimal digits from the system's random source.
std::string random_hex(int digits);

}  // namespace archive
