// The command line.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace archive {

struct Options {
    std::filesystem::path directory = {};  // absolute, without symbolic links
    std::filesystem::path out = {};        // the same; need not exist yet
    std::string database_url = {};         // empty: SQLite inside of `out`
    int workers = 3;
    int kill_after = 0;  // kill a worker each time that many more files are finished; 0: never
    bool restart = true;
    bool demo = false;
    bool sources_only = false;  // leave out .git, build directories and the like
    bool help = false;
};

/// Throws std::runtime_error with one sentence on a command line that makes no sense, and on a directory that does not
/// exist or an output that cannot be. Writes nothing.
Options parse_options(const std::vector<std::string>& arguments);

const char* usage() noexcept;

}  // namespace archive
