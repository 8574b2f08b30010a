// The supervisor: starts worker processes, restarts those that die, kills them on request, and keeps the side log of it.
// Not thread-safe.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <map>
#include <string>

#include "sidelog.hpp"
#include "worker.hpp"

namespace archive {

class Supervisor {
   public:
    /// Starts nothing yet.
    Supervisor(WorkerSettings settings, int workers, bool restart, const SideLog& log);
    /// stop().
    ~Supervisor();
    Supervisor(const Supervisor&) = delete;
    Supervisor& operator=(const Supervisor&) = delete;

    /// Starts workers until there are as many as wanted. Throws std::runtime_error if a process cannot be started.
    void start();
    /// Looks for workers that ended; restarts them. Throws std::runtime_error if workers fail at their start again and
    /// again.
    void look_after();
    int alive() const noexcept { return static_cast<int>(workers_.size()); }

    /// Kills one worker that has steps in flight, judged by `state` after the worker was stopped: nothing of it moves any
    /// more when it is found to be in the middle of something. Returns a sentence, or nothing if no worker was.
    /// `refresh` brings `state` up to date.
    template <class Refresh>
    std::string kill_one(const LogState& state, Refresh refresh);

    /// SIGTERM, then SIGKILL for those that do not end within `patience`.
    void stop(std::chrono::seconds patience = std::chrono::seconds(10)) noexcept;

   private:
    struct Worker {
        pid_t pid = 0;
        std::chrono::steady_clock::time_point started = {};
    };
    void spawn();
    void ended(const std::string& process, int status);
    /// Stops a worker and waits until it stands still; false if it ended instead.
    bool freeze(const std::string& process, pid_t pid);
    std::string kill_frozen(const std::string& process, pid_t pid, std::size_t in_flight);

    WorkerSettings settings_;
    std::size_t wanted_;
    bool restart_;
    const SideLog& log_;
    std::string run_;
    int next_ = 1;
    int early_failures_ = 0;
    std::string last_failure_;
    std::map<std::string, Worker> workers_;  // by process name
    std::string last_killed_;
};

template <class Refresh>
std::string Supervisor::kill_one(const LogState& state, Refresh refresh) {
    // Beginning after the last victim, so that each has its turn.
    auto candidates = workers_;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
        auto next = candidates.upper_bound(last_killed_);
        if (next == candidates.end()) next = candidates.begin();
        last_killed_ = next->first;
        const pid_t pid = next->second.pid;
        if (!freeze(next->first, pid)) continue;
        refresh();
        const auto found = state.processes().find(next->first);
        const std::size_t in_flight = found == state.processes().end() ? 0 : found->second.in_flight.size();
        if (in_flight > 0) return kill_frozen(next->first, pid, in_flight);
        ::kill(pid, SIGCONT);
    }
    return {};
}

}  // namespace archive
