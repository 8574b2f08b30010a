// A worker: a process that serves the queues of one archive until it is told to stop or its parent ends.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "contract.hpp"

namespace archive {

/// Files that one worker has in hand at once.
inline constexpr int kFilesPerWorker = 4;

struct WorkerSettings {
    std::string database_url = {};
    std::string key = {};      // of the archive: application and queues are named after it
    std::string process = {};  // name in the side log
    std::string out = {};
    std::chrono::milliseconds pace{0};
};

std::string application_name(const std::string& key);
std::string tree_queue(const std::string& key);
std::string file_queue(const std::string& key);

/// Options of the application that workers run, and that the first start creates the tables with.
dbos::AppOptions app_options(const std::string& database_url, const std::string& key);

/// The settings as environment variables for a child (a URL may hold a password, which a command line would show to
/// everybody), and back.
std::vector<std::string> to_environment(const WorkerSettings& settings);
WorkerSettings from_environment();

/// The program of a worker: runs until SIGTERM. Returns the exit code.
int run_worker();

}  // namespace archive
