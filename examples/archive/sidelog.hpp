// The side log: what really ran, written by the steps themselves and not by the engine.
//
// One line a record, appended by a single write to a descriptor opened with O_APPEND, so that lines of several processes
// never mix and a line that was written is there whatever happens to its writer:
//
//   time_ms kind process pid workflow step execution rest
//
// `process` is RUN.N: the N-th worker of one run of the supervisor. `execution` is RUN.N/K: one attempt of one step.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace archive {

enum class Event : std::uint8_t {
    run,    // a supervisor began
    start,  // a worker was started
    kill,  // a worker was stopped, found with steps in flight (`rest`: how many), and is now killed with SIGKILL
    exit,    // a worker ended otherwise (`rest` says how)
    gone,    // a worker of an earlier run whose end nobody saw
    begin,   // an attempt of a step begins
    end,     // … has done its work (its checkpoint is not yet recorded)
    fail,    // … has failed (`rest`: the message)
    replay,  // a step was not run: its result came from its checkpoint
    done,    // the body of a child reached its end (`rest`: the state of the file)
};

struct Record {
    std::int64_t time_ms = 0;
    Event event = Event::run;
    std::string process = {};
    std::int64_t pid = 0;
    std::string workflow = {};
    std::string step = {};
    std::string execution = {};
    std::string rest = {};
};

/// Appends. Thread-safe, also between processes.
class SideLog {
   public:
    /// Creates the file if it is missing. Throws std::runtime_error.
    explicit SideLog(const std::filesystem::path& path);
    ~SideLog();
    SideLog(const SideLog&) = delete;
    SideLog& operator=(const SideLog&) = delete;
    /// The time is added; characters that would break the line are replaced.
    void append(const Record& record) const;

   private:
    int fd_;
};

/// Reads what was appended since the last call. A line without its end is left for the next time.
class LogReader {
   public:
    explicit LogReader(std::filesystem::path path) : path_(std::move(path)) {}
    ~LogReader();
    LogReader(const LogReader&) = delete;
    LogReader& operator=(const LogReader&) = delete;
    /// Throws std::runtime_error on a line that is no record.
    std::vector<Record> read();

   private:
    std::filesystem::path path_;
    int fd_ = -1;
    std::string rest_;
    std::int64_t line_ = 0;
};

std::filesystem::path log_path(const std::filesystem::path& out);

/// One attempt of one step, as the log tells it.
struct Execution {
    std::string id;
    std::string process;
    std::size_t began = 0;  // position in the log
    bool ended = false;
    bool failed = false;
};

/// What the log says so far.
class LogState {
   public:
    void add(const Record& record);

    struct Process {
        std::int64_t pid = 0;
        bool dead = false;
        bool killed = false;                   // by the supervisor
        std::size_t died = 0;                  // position of the record
        std::set<std::string> in_flight = {};  // executions begun, neither ended nor failed
        bool by_signal = false;                // dead, not by the supervisor, and not of its own will
    };
    using StepKey = std::pair<std::string, std::string>;  // workflow, step

    const std::map<std::string, Process>& processes() const noexcept { return processes_; }
    const std::map<StepKey, std::vector<Execution>>& steps() const noexcept { return steps_; }
    /// Children whose body reached the end, and the state of the file.
    const std::map<std::string, std::string>& done() const noexcept { return done_; }
    std::int64_t executed() const noexcept { return executed_; }
    std::int64_t replayed() const noexcept { return replayed_; }
    /// Kills by the supervisor, and all other deaths of workers with work in hand: by hand, or with the supervisor.
    std::int64_t kills() const noexcept;

   private:
    std::size_t position_ = 0;
    std::map<std::string, Process> processes_;
    std::map<StepKey, std::vector<Execution>> steps_;
    std::map<std::string, std::string> done_;
    std::int64_t executed_ = 0;
    std::int64_t replayed_ = 0;
};

}  // namespace archive
