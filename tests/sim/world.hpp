// The state of the one world that runs. For the scheduler and the simulated seam only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sim.hpp"
#include "tasks.hpp"

namespace dbos::sim {

enum class State : std::uint8_t { ready, blocked, done, frozen };

struct Task {
    Task(Tasks kind, std::function<void()> run) : place(kind, std::move(run)) {}
    explicit Task(Tasks kind) : place(kind) {}
    Nanos due = 0;  // world time at which it may run: 0 = now, it is ready
    std::uint32_t object = 0;
    State state = State::ready;
    char waits_for = 0;
    bool notified = false;
    int process = -1;
    int id = 0;
    std::string name;
    bool in_file = false;  // stands in a write of the database's files
    struct Local {
        const void* key;
        void* value;
        void (*destroy)(void*);
    };
    std::vector<Local> locals;
    Place place;
};

struct Process {
    int instance = 0;
    int pid = 0;
    std::uint64_t start = 0;
    std::string host_key;
    bool crashed = false;
    bool exited = false;
    Nanos stopped_until = 0;
};

/// The computer of an instance: what outlives its processes.
struct Host {
    Nanos slept = 0;  // the steady clock's lag
    Nanos wall_jumps = 0;
};

struct World {
    explicit World(const Plan& given) : plan(given), random(given.seed * 0x2545f4914f6cdd1dull + 7) {}
    const Plan plan;
    std::uint64_t random;
    std::uint64_t hash = 1469598103934665603ull;
    std::uint64_t steps = 0;
    std::uint64_t switches = 0;
    Nanos now = kSecond;
    std::uint32_t objects = 0;
    std::size_t next_fault = 0;
    int quiet = 0;
    int crashes = 0;
    Nanos away_until = 0;
    std::vector<std::pair<Nanos, Nanos>> aways;
    bool call_faults = true;
    std::vector<std::unique_ptr<Task>> tasks;
    std::vector<Process> processes;
    std::vector<Host> hosts;
    std::vector<Task*> live;  // neither done nor frozen, in the order of their ids
    std::vector<Task*> candidates;
};

extern World* world;   // nullptr between worlds
extern Task* current;  // the one task that runs

Host& host_of(int instance) noexcept;
inline Process& process_at(int process) noexcept {
    return world->processes[static_cast<std::size_t>(process)];
}

}  // namespace dbos::sim
