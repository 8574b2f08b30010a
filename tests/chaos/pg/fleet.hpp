// The workers of a chaos run, and what is done to them. Belongs to one thread.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "chaos/pg/timeline.hpp"
#include "support/process.hpp"

namespace dbos::chaos {

class Fleet {
   public:
    static constexpr std::size_t kWorkers = 3;
    using Clock = std::chrono::steady_clock;
    using Pause = std::chrono::milliseconds;

    /// `arguments` of worker i up to the log file, which is the last of them, and how it misbehaves.
    using Command = std::function<std::vector<std::string>(std::size_t i)>;
    /// Hears of every end that nobody asked for, in words with the last lines of the log.
    using Complaint = std::function<void(const std::string&)>;
    Fleet(Command command, Complaint complaint, const test::SideLog& side, Timeline& timeline)
        : command_(std::move(command)), complaint_(std::move(complaint)), side_(side), timeline_(timeline) {}

    void start_all();
    /// While on, a worker may fail to launch for want of a connection.
    void excuse_launches(bool on) noexcept { excused_ = on; }
    /// Each returns whether there was a worker to do it to.
    bool kill(std::size_t i, Pause restart_after);
    bool stop(std::size_t i, Pause duration);
    bool terminate(std::size_t i);
    /// Starts it at once if it does not run; whether it did not.
    bool start_now(std::size_t i);
    /// Continues, restarts and judges those whose time has come.
    void revive();
    /// No worker is stopped, and all run.
    void peace();
    /// SIGTERM to all; complains of those that do not end.
    void shut_down();
    /// Of worker i; 0 = it does not run.
    int pid(std::size_t i) const noexcept { return workers_[i].process ? workers_[i].pid : 0; }
    std::size_t failed_launches() const noexcept { return failed_launches_; }

   private:
    struct Worker {
        std::unique_ptr<test::Process> process;
        Clock::time_point stopped_until{}, restart_at{}, asked_at{};
        Micros stopped_since = 0, seen_at = 0;
        bool stopped = false, asked = false, excused = false;
        int pid = 0;
    };
    void start(std::size_t i);
    void go_on(Worker& worker);
    void ask_to_end(Worker& worker, int signal);
    void judge_end(std::size_t i);
    std::string last_lines(std::size_t i) const;

    const Command command_;
    const Complaint complaint_;
    const test::SideLog& side_;
    Timeline& timeline_;
    std::array<Worker, kWorkers> workers_;
    bool excused_ = false;
    std::size_t failed_launches_ = 0;
};

}  // namespace dbos::chaos
