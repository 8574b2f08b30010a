#include "worker.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>

#include "pipeline.hpp"

namespace archive {

namespace {

constexpr const char* kDatabase = "DBOS_ARCHIVE_DATABASE";
constexpr const char* kKey = "DBOS_ARCHIVE_KEY";
constexpr const char* kProcess = "DBOS_ARCHIVE_PROCESS";
constexpr const char* kOut = "DBOS_ARCHIVE_OUT";
constexpr const char* kPace = "DBOS_ARCHIVE_PACE_MS";
constexpr const char* kParent = "DBOS_ARCHIVE_PARENT";

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    if (value == nullptr)
        throw std::runtime_error(std::string("--worker is for dbos-archive itself: ") + name + " is not set");
    return value;
}

}  // namespace

std::string application_name(const std::string& key) { return "dbos-archive-" + key; }
std::string tree_queue(const std::string& key) { return "archive-trees-" + key; }
std::string file_queue(const std::string& key) { return "archive-files-" + key; }

dbos::AppOptions app_options(const std::string& database_url, const std::string& key) {
    return {.name = application_name(key),
            .system_database_url = database_url,
            .log_sink = dbos::stderr_log_sink(dbos::LogLevel::error)};
}

std::vector<std::string> to_environment(const WorkerSettings& settings) {
    const auto entry = [](const char* name, const std::string& value) {
        return std::string(name) + '=' + value;
    };
    return {entry(kDatabase, settings.database_url),
            entry(kKey, settings.key),
            entry(kProcess, settings.process),
            entry(kOut, settings.out),
            entry(kPace, std::to_string(settings.pace.count())),
            entry(kParent, std::to_string(::getpid()))};
}

WorkerSettings from_environment() {
    return {.database_url = variable(kDatabase),
            .key = variable(kKey),
            .process = variable(kProcess),
            .out = variable(kOut),
            .pace = std::chrono::milliseconds(std::stoi(variable(kPace)))};
}

int run_worker() {
    // No worker outlives the program: the kernel kills it with its parent. The parent may have ended before the call.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (std::to_string(::getppid()) != variable(kParent)) return 0;

    const WorkerSettings settings = from_environment();
    const Pipeline pipeline(settings.process, settings.out, settings.pace);
    dbos::App app(app_options(settings.database_url, settings.key));
    app.implement(ArchiveTree, std::bind_front(&Pipeline::archive_tree, &pipeline));
    app.implement(ArchiveFile, std::bind_front(&Pipeline::archive_file, &pipeline));
    app.register_queue({.name = tree_queue(settings.key)});
    app.register_queue({.name = file_queue(settings.key), .worker_concurrency = kFilesPerWorker});
    app.launch();

    app.wait();  // until SIGTERM; then steps in flight end and are recorded, the rest is left to the next worker
    return 0;
}

}  // namespace archive
