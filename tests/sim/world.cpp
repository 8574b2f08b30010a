// The scheduler: tasks, virtual time, faults, and the trace hash.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <utility>

#include "platform/situations.hpp"
#include "world.hpp"

#ifdef DBOS_UNDER_TSAN
// NOLINTBEGIN(readability-identifier-naming): functions of the sanitizer
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
// NOLINTEND(readability-identifier-naming)
#endif

namespace dbos::sim {

std::function<void(const std::string&)> on_failure;
std::function<void(const std::string&)> on_commit;
std::function<void(const char*, std::int64_t)> on_change;
std::uint64_t* situations = nullptr;
seam::Bug planted_bug{};
Director* director = nullptr;
World* world = nullptr;
Task* current = nullptr;

namespace {

constexpr std::uint32_t kJoinBit = 1u << 30;  // objects that stand for the end of a task
constexpr int kPidBase = 1000;

void mix(std::uint64_t value) noexcept {
    world->hash = (world->hash ^ value) * 1099511628211ull;
    world->hash ^= world->hash >> 29;
}

Nanos steady_lag(const Task& task) noexcept {
    return task.process < 0 ? 0 : host_of(process_at(task.process).instance).slept;
}
bool is_stopped(const Task& task) noexcept {
    return task.process >= 0 && world->now < process_at(task.process).stopped_until;
}
std::string where(const Task& task) {
    return task.process < 0 ? "controller" : "p" + std::to_string(task.process) + "/" + task.name;
}

void print_line(const Task& task, const std::string& text) {
    std::fprintf(stderr, "%9llu %12.6f  %-16s %s\n", static_cast<unsigned long long>(world->steps),
                 static_cast<double>(world->now) / 1e9, where(task).c_str(), text.c_str());
}

/// The process ends: nothing of it runs again, its locks go.
void freeze(int process) noexcept {
    for (Task* task : world->live) {
        if (task->process == process) task->state = State::frozen;
    }
    std::erase_if(world->live, [](const Task* task) { return task->state == State::frozen; });
    process_at(process).stopped_until = 0;
    vfs::drop(process);
    files::drop(process);
}

const char* name_of(FaultKind kind) {
    constexpr const char* kNames[] = {"crash", "stop", "host sleeps", "wall clock jumps", "database away"};
    return kNames[static_cast<int>(kind)];
}

void sleep_host(int instance, Nanos amount) noexcept {
    host_of(instance).slept += amount;
    for (Task* task : world->live) {
        if (task->process >= 0 && process_at(task->process).instance == instance &&
            task->state == State::blocked && task->due != kNever)
            task->due += amount;
    }
}

void strike(const Fault& fault) noexcept {
    mix(0xfa170000u + static_cast<unsigned>(fault.kind));
    if (world->plan.trace > 0)
        print_line(*current, "FAULT " + std::string(name_of(fault.kind)) + ", instance " +
                                 (fault.instance == kEveryone ? "all" : std::to_string(fault.instance)) +
                                 ", " + std::to_string(fault.amount / kMillisecond) + " ms");
    if (fault.kind == FaultKind::away) {
        world->away_until = std::max(world->away_until, world->now + fault.amount);
        count_as_away(world->now, world->away_until);
    }
    const int first = fault.instance == kEveryone ? 0 : fault.instance;
    const int last = fault.instance == kEveryone ? static_cast<int>(world->hosts.size()) - 1 : fault.instance;
    for (int instance = first; instance <= last; ++instance) {
        if (fault.kind == FaultKind::wall_jump) host_of(instance).wall_jumps += fault.amount;
        if (fault.kind == FaultKind::host_sleep) sleep_host(instance, fault.amount);
        for (std::size_t p = 0; p < world->processes.size(); ++p) {
            Process& process = world->processes[p];
            if (process.instance != instance || process.crashed || process.exited) continue;
            if (fault.kind == FaultKind::crash) crash(static_cast<int>(p));
            if (fault.kind == FaultKind::stop || fault.kind == FaultKind::host_sleep)
                process.stopped_until = std::max(process.stopped_until, world->now + fault.amount);
        }
    }
}

void strike_due() noexcept {
    const auto& faults = world->plan.faults;
    while (world->next_fault < faults.size() && faults[world->next_fault].at_step <= world->steps)
        strike(faults[world->next_fault++]);
}

void find_candidates() noexcept {
    auto& candidates = world->candidates;
    for (;;) {
        candidates.clear();
        Nanos next = kNever;
        for (Task* task : world->live) {
            if (task->due > world->now) {
                next = std::min(next, task->due);
            } else if (is_stopped(*task)) {
                next = std::min(next, process_at(task->process).stopped_until);
            } else {
                candidates.push_back(task);
            }
        }
        if (!candidates.empty()) return;
        if (next == kNever) {
            std::string waiting;
            for (const Task* task : world->live) {
                if (task->state == State::blocked)
                    waiting +=
                        "\n    " + where(*task) + " in " + task->waits_for + std::to_string(task->object);
            }
            fail("everybody waits for ever:" + waiting);
        }
        world->now = next;  // nobody can run: time jumps
    }
}

Task& choose() noexcept {
    if (current->state == State::ready && !is_stopped(*current) && !chance(world->plan.switch_per_1024))
        return *current;
    find_candidates();
    return *world->candidates[draw() % world->candidates.size()];
}

void reschedule(bool ends = false) noexcept {
    Task& me = *current;
    Task& next = choose();
    if (next.state == State::blocked) {
        next.state = State::ready;
        next.due = 0;
        next.notified = false;
    }
    if (&next == &me) return;
    current = &next;
    ++world->switches;
    if (ends) {
        me.place.leave_to(next.place);
    } else {
        me.place.switch_to(next.place);
    }
}

void step(char kind, std::uint32_t object) noexcept {
    constexpr Nanos kShortest = 500;
    world->now += kShortest + static_cast<Nanos>(world->steps & 0xff);
    ++world->steps;
    mix((static_cast<std::uint64_t>(current->id) << 40) ^ (static_cast<std::uint64_t>(kind) << 32) ^ object);
    mix(static_cast<std::uint64_t>(world->now));
    if (world->plan.trace > 1) print_line(*current, std::string(1, kind) + ' ' + std::to_string(object));
    if (world->steps > world->plan.max_steps) fail("the world does not end: too many steps");
    strike_due();
}

void destroy_locals(Task& task) noexcept {
    for (const auto& local : task.locals) {
        if (local.value) local.destroy(local.value);
    }
    task.locals.clear();
}

/// A process that ends in order has joined its threads, and closed its files.
void judge_end(int process) {
    std::string left;
    for (const Task* other : world->live) {
        if (other->process == process) left += " the thread " + other->name;
    }
    if (const std::size_t open = vfs::open_files(process); open > 0)
        left += " " + std::to_string(open) + " open files";
    if (files::watches(process)) left += " a watch of a file";
    if (files::in_turn(process)) left += " a turn to write";
    if (!left.empty()) fail("the process has ended, and has left:" + left);
}

void run_task(Task& task, std::function<void()>& body, bool is_root) noexcept {
    try {
        body();
    } catch (const std::exception& error) {
        fail("an exception leaves a thread: " + std::string(error.what()));
    } catch (...) {
        fail("an exception leaves a thread");
    }
    body = nullptr;
    destroy_locals(task);
    DBOS_SIM_RELEASE(&task);
    const Unseen unseen;
    task.state = State::done;
    std::erase(world->live, &task);
    if (is_root) {
        judge_end(task.process);
        process_at(task.process).exited = true;
        trace("the process has ended");
        freeze(task.process);
    }
    wake(kJoinBit | static_cast<std::uint32_t>(task.id), true);
    // A fiber does not come back.
    reschedule(true);
}

int add_task(std::string name, int process, std::function<void()> body, bool is_root) {
    auto holder = std::make_shared<Task*>(nullptr);
    auto task = std::make_unique<Task>(world->plan.tasks, [holder, run = std::move(body), is_root]() mutable {
        run_task(**holder, run, is_root);
    });
    *holder = task.get();
    task->id = static_cast<int>(world->tasks.size());
    task->name = std::move(name);
    task->process = process;
    world->live.push_back(task.get());
    world->tasks.push_back(std::move(task));
    return world->tasks.back()->id;
}

}  // namespace

Host& host_of(int instance) noexcept {
    auto& hosts = world->hosts;
    if (hosts.size() <= static_cast<std::size_t>(instance))
        hosts.resize(static_cast<std::size_t>(instance) + 1);
    return hosts[static_cast<std::size_t>(instance)];
}

// ------------------------------------------------------------------------------------------------ primitives

void fail(const std::string& what) noexcept {
    std::string text = what;
    if (world) {
        text += "  [seed " + std::to_string(world->plan.seed) + ", step " + std::to_string(world->steps) +
                ", " + std::to_string(static_cast<double>(world->now) / 1e9) + " s, " + where(*current) + "]";
        if (world->plan.trace > 0) print_line(*current, "FAIL " + what);
    }
    if (on_failure) on_failure(text);
    std::fprintf(stderr, "sim: FAIL %s\n", text.c_str());
    std::fflush(nullptr);
    std::_Exit(7);
}

DBOS_SIM_UNSEEN std::uint32_t new_object() noexcept { return world ? ++world->objects : 0; }
bool quiet() noexcept { return !world || world->quiet > 0; }

void point(char kind, std::uint32_t object) noexcept {
    if (quiet()) return;
    const Unseen unseen;
    step(kind, object);
    reschedule();
}

bool block(char kind, std::uint32_t object, Nanos deadline) noexcept {
    if (quiet()) fail("a wait where nobody else can run");
    const Unseen unseen;
    Task& me = *current;
    step(kind, object);
    if (me.state == State::ready) {  // not killed by a fault of this step
        me.state = State::blocked;
        me.waits_for = kind;
        me.object = object;
        me.notified = false;
        const Nanos lag = steady_lag(me);
        me.due = deadline >= kNever - lag ? kNever : deadline + lag;
    }
    reschedule();
    return me.notified;
}

void wake(std::uint32_t object, bool all) noexcept {
    if (!world) return;
    const Unseen unseen;
    Task* chosen = nullptr;
    std::uint64_t seen = 0;
    const auto ready = [](Task& task) {
        task.state = State::ready;
        task.notified = true;
        task.due = 0;
    };
    for (Task* task : world->live) {
        if (task->object != object || task->state != State::blocked) continue;
        if (all) {
            ready(*task);
        } else {
            ++seen;
            if (seen == 1 || draw() % seen == 0) chosen = task;
        }
    }
    if (chosen) ready(*chosen);
}

int spawn(const char* name, std::function<void()> body) {
    const Unseen unseen;
    point('S', 0);
    const int id = add_task(name, current->process, std::move(body), false);
    point('S', static_cast<std::uint32_t>(id));
    return id;
}

void join(int task) noexcept {
    const Unseen unseen;
    point('J', static_cast<std::uint32_t>(task));
    const Task& joined = *world->tasks[static_cast<std::size_t>(task)];
    while (joined.state != State::done) block('j', kJoinBit | static_cast<std::uint32_t>(task), kNever);
    DBOS_SIM_ACQUIRE(&joined);
}

Nanos steady_ns() noexcept { return world ? world->now - steady_lag(*current) : 0; }

DBOS_SIM_UNSEEN std::uint64_t draw() noexcept {
    if (!world) return 4;
    std::uint64_t z = (world->random += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

bool chance(std::uint32_t per_1024) noexcept { return per_1024 > 0 && (draw() & 1023) < per_1024; }
int current_task() noexcept { return world ? current->id : -1; }

void*& local_slot(const void* key, void (*destroy)(void*)) noexcept {
    const Unseen unseen;
    static std::vector<Task::Local> outside;
    auto& locals = world ? current->locals : outside;
    for (auto& local : locals) {
        if (local.key == key) return local.value;
    }
    return locals.emplace_back(Task::Local{key, nullptr, destroy}).value;
}

// ------------------------------------------------------------------------------------------------ worlds

Outcome run(const Plan& plan, const std::function<void()>& controller) {
    const Unseen unseen;
    auto holder = std::make_unique<World>(plan);
    World& made = *holder;
    world = &made;
    vfs::reset();
    files::reset();
    made.tasks.push_back(std::make_unique<Task>(plan.tasks));
    current = made.tasks.front().get();
    made.live.push_back(current);
    current->name = "controller";
    controller();
    const Outcome outcome{made.hash, made.steps, made.switches, made.now, made.crashes};
    on_commit = nullptr;
    on_change = nullptr;
    vfs::reset();
    files::reset();
    destroy_locals(*current);
    bool frozen = false;
    for (auto& task : made.tasks) {
        if (task->state == State::done) task->place.finished();
        frozen = frozen || task->state == State::frozen || task->state == State::blocked;
    }
    world = nullptr;
    current = nullptr;
    // Frozen stacks refer to it; the forked child ends soon.
    if (frozen) static_cast<void>(holder.release());
    return outcome;
}

int start_process(int instance, std::string host_key, std::function<void()> root) {
    const Unseen unseen;
    host_of(instance);
    Process process;
    process.instance = instance;
    process.start = world->steps + 1;
    process.host_key = std::move(host_key);
    process.pid =
        kPidBase + (world->plan.reuse_pids ? instance : 100 + static_cast<int>(world->processes.size()));
    world->processes.push_back(std::move(process));
    const int number = process_count() - 1;
    add_task("main", number, std::move(root), true);
    trace("process p" + std::to_string(number) + " of instance " + std::to_string(instance) + " starts");
    return number;
}

void crash(int process) noexcept {
    Process& killed = process_at(process);
    if (killed.crashed || killed.exited) return;
    for (const Task* task : world->live) {
        if (task->process == process && task->in_file) seam::reach(seam::Situation::crash_in_commit);
    }
    killed.crashed = true;
    ++world->crashes;
    freeze(process);
}

void stop(int process, Nanos amount) noexcept {
    mix(0xfa17ffu);
    trace("FAULT p" + std::to_string(process) + " is stopped");
    process_at(process).stopped_until = std::max(process_at(process).stopped_until, world->now + amount);
}

void resume(int process) noexcept {
    trace("p" + std::to_string(process) + " is resumed");
    process_at(process).stopped_until = 0;
}

void host_sleeps(int instance, Nanos amount) noexcept {
    strike({.at_step = 0, .kind = FaultKind::host_sleep, .instance = instance, .amount = amount});
}

void count_as_away(Nanos from, Nanos until) { world->aways.emplace_back(from, until); }

Nanos away_since(Nanos instant) noexcept {
    constexpr Nanos kShort = 3500 * kMillisecond;  // what a tick may overlook
    // Breaks may overlap: what they share counts once.
    std::vector<std::pair<Nanos, Nanos>> breaks = world->aways;
    std::ranges::sort(breaks);
    Nanos sum = 0;
    for (std::size_t i = 0; i < breaks.size();) {
        const Nanos from = breaks[i].first;
        Nanos until = breaks[i].second;
        for (++i; i < breaks.size() && breaks[i].first <= until; ++i)
            until = std::max(until, breaks[i].second);
        const Nanos length = std::min(until, world->now) - std::max(from, instant);
        sum += std::max<Nanos>(0, length - kShort);
    }
    return sum;
}

const std::string& task_name() noexcept {
    static const std::string nobody;
    return world ? current->name : nobody;
}

bool crashed(int process) noexcept { return process_at(process).crashed; }
bool ended(int process) noexcept { return crashed(process) || process_at(process).exited; }
bool stopped(int process) noexcept { return world->now < process_at(process).stopped_until; }
int current_process() noexcept { return world ? current->process : -1; }
int instance_of(int process) noexcept { return process_at(process).instance; }
int process_count() noexcept { return static_cast<int>(world->processes.size()); }
Nanos world_ns() noexcept { return world->now; }
Nanos sync_max() noexcept { return world ? world->plan.sync_max : 0; }

bool faults_left() noexcept {
    if (world->next_fault < world->plan.faults.size() || world->now < world->away_until) return true;
    for (int p = 0; p < process_count(); ++p) {
        if (stopped(p)) return true;
    }
    return false;
}

void end_call_faults() noexcept { world->call_faults = false; }

void note(std::uint64_t value) noexcept {
    const Unseen unseen;
    if (!quiet()) mix(value);
}
DBOS_SIM_UNSEEN void in_file(bool now) noexcept {
    if (world && !quiet()) current->in_file = now;
}
bool tracing() noexcept { return world && world->plan.trace > 0; }
void trace(const std::string& text) noexcept {
    const Unseen unseen;
    if (tracing()) print_line(*current, text);
}

#ifdef DBOS_UNDER_TSAN
Unseen::Unseen() noexcept {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
Unseen::~Unseen() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#else
Unseen::Unseen() noexcept = default;
Unseen::~Unseen() = default;
#endif

DBOS_SIM_UNSEEN Quiet::Quiet() noexcept { ++world->quiet; }
DBOS_SIM_UNSEEN Quiet::~Quiet() { --world->quiet; }

}  // namespace dbos::sim
