// What is to be done: the files, the ids of their workflows, and what the database knows of them already.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "contract.hpp"
#include "files.hpp"
#include "options.hpp"

namespace archive {

struct Plan {
    std::string key = {};      // of this archive: in every id, and in the names of application and queues
    std::string tree_id = {};  // the parent workflow
    Tree tree = {};            // its input
    bool complete = false;     // the parent has ended successfully, and its manifest is in place
    std::size_t known = 0;     // workflows of the plan, the parent included, that exist already
    std::vector<std::string> superseded = {};  // unfinished workflows of earlier inputs
};

/// Twelve hexadecimal digits for this directory and this output. `out_id` is the identity of OUT (a file in it): an output
/// that was removed and made again is another archive.
std::string archive_key(const Options& options, const std::string& out_id);

/// Ids are derived from the key, the relative path, size and time of modification, so the same input is the same work. A
/// workflow of an earlier run that failed or was cancelled is left as it is, and the id gets a suffix (`~2`, …).
Plan make_plan(const Options& options, const std::string& key, const Walk& walk, dbos::Client& client);

}  // namespace archive
