// The simulator as scenarios see it: worlds of several processes in one, every choice of which comes from a seed.
//
// A world has tasks (threads of the engine), which belong to processes, which are runs of instances. The controller is task 0
// and belongs to no process. One task runs at a time; who runs next, what fails and how long things take is drawn from the seed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "platform/seam.hpp"

struct sqlite3;
struct sqlite3_file;

namespace dbos::sim {

inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;
inline constexpr int kEveryone = -1;

enum class FaultKind : std::uint8_t {
    crash,       // the process is frozen where it stands; its locks go, its bytes stay
    stop,        // SIGSTOP, and SIGCONT after `amount`
    host_sleep,  // the host is suspended for `amount`: the steady clock does not count it, the boot clock does
    wall_jump,   // the wall clock is set, by `amount`
    away,        // the database refuses every call for `amount`
};
struct Fault {
    std::uint64_t at_step = 0;
    FaultKind kind = FaultKind::crash;
    int instance = kEveryone;
    Nanos amount = 0;
};

enum class Tasks : std::uint8_t { fibers, threads };
#ifdef DBOS_UNDER_TSAN
inline constexpr Tasks kUsualTasks = Tasks::threads;  // the sanitizer is told nothing of fibers
#else
inline constexpr Tasks kUsualTasks = Tasks::fibers;
#endif

struct Plan {
    std::uint64_t seed = 1;
    Tasks tasks = kUsualTasks;
    std::uint32_t switch_per_1024 = 300;
    std::uint32_t refuse_per_1024 = 0;
    std::uint32_t lose_ack_per_1024 = 0;
    Nanos sync_max =
        0;  // the longest fsync: without latency, windows of microseconds never meet those of seconds
    bool reuse_pids = false;    // a restarted instance gets the process number of the one before
    bool life_unknown = false;  // /proc tells nothing
    std::vector<Fault> faults;  // in the order of at_step
    std::uint64_t max_steps = 20'000'000;
    int trace = 0;  // 1 = events, 2 = every point
};

struct Outcome {
    std::uint64_t hash = 0;  // over switches, virtual time and written bytes
    std::uint64_t steps = 0;
    std::uint64_t switches = 0;
    Nanos virtual_ns = 0;
    int crashes = 0;
};

/// One world, until the controller returns. A failure does not return: on_failure is called and the OS process ends.
Outcome run(const Plan& plan, const std::function<void()>& controller);
/// Told what failed and where, in the world's own words.
extern std::function<void(const std::string&)> on_failure;
/// Called when a process has ended a write transaction in a file, before anybody else runs. Empty = nothing.
extern std::function<void(const std::string& path)> on_commit;
/// Called for every row that a process changes, before it is committed: table and rowid. Empty = nothing.
extern std::function<void(const char* table, std::int64_t rowid)> on_change;
/// Counters of situations, one per seam::Situation, in memory that forked children share. nullptr = not counted.
extern std::uint64_t* situations;
/// What seam::planted() says yes to. Bug{0} = none.
extern seam::Bug planted_bug;

/// Sees what happens in a world, in the task that it happens to, and may interfere.
class Director {
   public:
    virtual ~Director() = default;
    /// Before a database call of a process; may sleep. Anything but `none` happens instead of what the plan draws.
    virtual seam::DbFault call(seam::DbOp) { return seam::DbFault::none; }
    virtual void reached(seam::Situation) {}
    /// A write transaction has ended, and the oracle has looked.
    virtual void committed() {}
    /// The callable of a step begins.
    virtual void step_begins(const std::string& /*workflow_id*/, int /*step*/, int /*attempt*/) {}
};
/// Of the world that runs; nullptr = none.
extern Director* director;

/// Starts a process of an instance. When `root` returns, the process has ended as by exit().
int start_process(int instance, std::string host_key, std::function<void()> root);
bool crashed(int process) noexcept;
/// Crashed, or its root has returned.
bool ended(int process) noexcept;
bool stopped(int process) noexcept;
/// The process of the running task; -1 = the controller's.
int current_process() noexcept;
int instance_of(int process) noexcept;
/// Kills a process, as the fault does.
void crash(int process) noexcept;
/// As the fault does; ends after `amount` or with resume().
void stop(int process, Nanos amount) noexcept;
void resume(int process) noexcept;
void host_sleeps(int instance, Nanos amount) noexcept;
/// In this time the database answers nobody, or so badly that it comes to that.
void count_as_away(Nanos from, Nanos until);
/// How long the database was away since then, short breaks left out.
Nanos away_since(Nanos instant) noexcept;
/// Name of the running task.
const std::string& task_name() noexcept;
/// Whether faults of the plan are still to come or in effect (a process is stopped, the database is away).
bool faults_left() noexcept;
/// From now on nothing is refused and no acknowledgement is lost.
void end_call_faults() noexcept;
Nanos world_ns() noexcept;
std::uint64_t draw() noexcept;
/// A value that must be the same in every run of the seed.
void note(std::uint64_t value) noexcept;
/// A line of the trace.
void trace(const std::string& text) noexcept;
bool tracing() noexcept;
/// While it lives nobody else runs, nothing fails and no time passes: for oracles.
class Quiet {
   public:
    Quiet() noexcept;
    ~Quiet();
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;
};

/// While it lives the thread sanitizer sees nothing of what this thread does: the state of the simulator is everybody's.
class Unseen {
   public:
    Unseen() noexcept;
    ~Unseen();
    Unseen(const Unseen&) = delete;
    Unseen& operator=(const Unseen&) = delete;
};

namespace vfs {
/// Registers the file system as SQLite's default. Once, before anything uses SQLite.
void install();
/// No files, and the randomness of a fresh SQLite.
void reset() noexcept;
/// The process is dead: its locks go, its handles do nothing any more.
void drop(int process) noexcept;
/// How many handles of files that have a name it has not closed.
std::size_t open_files(int process) noexcept;
std::string bytes_of(const std::string& path);
void put(const std::string& path, const std::string& bytes);
/// Hooks of the simulator into a connection.
void attach(sqlite3* database) noexcept;

/// Files that no world sees: what connections begin with, see connections.cpp.
void put_image(const std::string& path, const std::string& bytes);
/// Whether the world's file began as the image of this path.
bool is_from_image(const std::string& path) noexcept;
/// While it lives files are those of the images.
class InImages {
   public:
    InImages() noexcept;
    ~InImages();
    InImages(const InImages&) = delete;
    InImages& operator=(const InImages&) = delete;
};
/// A file that was opened among the images is from now on the world's of the same path, of the running process.
void move_out(sqlite3_file* file) noexcept;
}  // namespace vfs

namespace connections {  // that have read the schema and prepared their statements, see connections.cpp
/// Makes them for worlds whose file of this path begins with these bytes. Not in a world; `rehearsal` plays some, in a child.
void prepare(const std::string& path, const std::string& bytes, const std::function<void()>& rehearsal);
/// All of them are unused again.
void reset() noexcept;
}  // namespace connections

namespace memory {  // SQLite's
/// Before SQLite is initialised.
void install();
/// What SQLite has now, it has for ever.
void keep() noexcept;
/// The rest of its memory is free: no connection is used any more.
void reset() noexcept;
/// Whether SQLite's memory is this; not so with a sanitizer.
bool installed() noexcept;
/// Memory that was filled before the worlds, and can be filled so again.
struct Piece {
    struct Run {
        char* begin;
        std::vector<char> bytes;
    };
    std::vector<Run> runs;
};
/// What SQLite takes from now on lies in one piece, which end_piece() returns, as it then is, and keeps.
void begin_piece();
Piece end_piece();
void put_back(const Piece& piece) noexcept;
}  // namespace memory

namespace files {  // wake and turn files
void reset() noexcept;
void drop(int process) noexcept;
/// Whether a wake file of the process is there.
bool watches(int process) noexcept;
/// Whether the process has, or waits for, a turn to write.
bool in_turn(int process) noexcept;
/// A file was written: what inotify would tell its watchers.
void written(const std::string& path) noexcept;
}  // namespace files

/// For the parts of the simulator.
bool quiet() noexcept;
/// The running task begins or ends a write to the database's files.
void in_file(bool now) noexcept;
Nanos sync_max() noexcept;
int process_count() noexcept;

}  // namespace dbos::sim
