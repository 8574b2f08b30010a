#include "supervisor.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "manifest.hpp"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX has it in no header

namespace archive {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kMaxEarlyFailures = 5;
constexpr std::chrono::seconds kEarly{3};

std::string describe(int status) {
    if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
    return "exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

Supervisor::Supervisor(WorkerSettings settings, int workers, bool restart, const SideLog& log)
    : settings_(std::move(settings)),
      wanted_(static_cast<std::size_t>(workers)),
      restart_(restart),
      log_(log),
      run_(random_hex(8)) {
    log_.append({.event = Event::run, .process = run_, .pid = ::getpid()});
}

Supervisor::~Supervisor() { stop(); }

void Supervisor::start() {
    while (workers_.size() < wanted_) spawn();
}

// posix_spawn and not fork: the client of this process may have threads.
void Supervisor::spawn() {
    settings_.process = run_ + '.' + std::to_string(next_++);
    std::vector<std::string> variables = to_environment(settings_);
    std::vector<char*> environment;
    for (char** entry = environ; *entry != nullptr; ++entry) environment.push_back(*entry);
    for (std::string& entry : variables) environment.push_back(entry.data());
    environment.push_back(nullptr);

    std::string program = "/proc/self/exe";
    std::string name = "dbos-archive";
    std::string flag = "--worker";
    char* arguments[] = {name.data(), flag.data(), nullptr};

    // The supervisor waits for its signals with sigtimedwait; a worker begins with none blocked.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

    pid_t pid = 0;
    const int error =
        ::posix_spawn(&pid, program.c_str(), &actions, &attributes, arguments, environment.data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error != 0)
        throw std::runtime_error("cannot start a worker: " + std::generic_category().message(error));
    log_.append({.event = Event::start, .process = settings_.process, .pid = pid});
    workers_[settings_.process] = {.pid = pid, .started = steady_clock::now()};
}

void Supervisor::look_after() {
    const auto snapshot = workers_;
    for (const auto& [process, worker] : snapshot) {
        int status = 0;
        if (::waitpid(worker.pid, &status, WNOHANG) == worker.pid) ended(process, status);
    }
    if (early_failures_ >= kMaxEarlyFailures) {
        throw std::runtime_error("workers end soon after their start, again and again; the last one with " +
                                 last_failure_);
    }
    if (restart_) start();
    if (workers_.empty()) throw std::runtime_error("no worker is left, and --no-restart was given");
}

void Supervisor::ended(const std::string& process, int status) {
    const Worker worker = workers_.at(process);
    log_.append({.event = Event::exit, .process = process, .pid = worker.pid, .rest = describe(status)});
    const bool early = !WIFSIGNALED(status) && steady_clock::now() - worker.started < kEarly;
    early_failures_ = early ? early_failures_ + 1 : 0;
    last_failure_ = describe(status);
    workers_.erase(process);
}

bool Supervisor::freeze(const std::string& process, pid_t pid) {
    ::kill(pid, SIGSTOP);
    for (;;) {
        int status = 0;
        const pid_t told = ::waitpid(pid, &status, WUNTRACED);
        if (told < 0 && errno == EINTR) continue;
        if (told == pid && WIFSTOPPED(status)) return true;
        if (told == pid) ended(process, status);
        return false;
    }
}

// The record comes before the signal: whoever takes the work over writes behind it, because nobody can before the death.
std::string Supervisor::kill_frozen(const std::string& process, pid_t pid, std::size_t in_flight) {
    log_.append({.event = Event::kill, .process = process, .pid = pid, .rest = std::to_string(in_flight)});
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    workers_.erase(process);
    return "killed worker " + process + " (pid " + std::to_string(pid) + ") with " +
           std::to_string(in_flight) + (in_flight == 1 ? " step" : " steps") + " in flight";
}

void Supervisor::stop(std::chrono::seconds patience) noexcept {
    for (const auto& [process, worker] : workers_) ::kill(worker.pid, SIGTERM);
    const auto deadline = steady_clock::now() + patience;
    while (!workers_.empty()) {
        const bool late = steady_clock::now() >= deadline;
        const auto snapshot = workers_;
        for (const auto& [process, worker] : snapshot) {
            if (late) ::kill(worker.pid, SIGKILL);
            int status = 0;
            const pid_t told = ::waitpid(worker.pid, &status, late ? 0 : WNOHANG);
            if (told == 0 || (told < 0 && errno == EINTR)) continue;
            try {
                ended(process, status);
            } catch (const std::exception&) {  // the log is full; the process is gone all the same
                workers_.erase(process);
            }
        }
        if (!workers_.empty()) std::this_thread::sleep_for(milliseconds(5));
    }
}

}  // namespace archive
