#include "chaos/pg/fleet.hpp"

#include <thread>

#include "chaos/pg/workload.hpp"

namespace dbos::chaos {

namespace {

using namespace std::chrono_literals;

constexpr auto kRestartPause = 300ms;
constexpr auto kExitLimit = 60s;
constexpr std::size_t kLogArgument = 4, kLastLines = 12;

}  // namespace

void Fleet::start_all() {
    for (std::size_t i = 0; i < kWorkers; ++i) start(i);
}

void Fleet::start(std::size_t i) {
    Worker& worker = workers_[i];
    worker = {};
    worker.excused = excused_;
    worker.process = std::make_unique<test::Process>(command_(i));
    worker.pid = worker.process->pid();
    worker.seen_at = now_us();
}

bool Fleet::kill(std::size_t i, Pause restart_after) {
    Worker& worker = workers_[i];
    if (!worker.process || !worker.process->running()) return false;
    ask_to_end(worker, SIGKILL);
    worker.process->reap();
    worker = {};
    worker.restart_at = Clock::now() + restart_after;
    return true;
}

bool Fleet::stop(std::size_t i, Pause duration) {
    Worker& worker = workers_[i];
    if (!worker.process || worker.stopped || worker.asked) return false;
    worker.process->kill(SIGSTOP);
    worker.stopped = true;
    worker.stopped_since = now_us();
    worker.stopped_until = Clock::now() + duration;
    return true;
}

bool Fleet::terminate(std::size_t i) {
    Worker& worker = workers_[i];
    if (!worker.process || worker.stopped || worker.asked) return false;
    ask_to_end(worker, SIGTERM);  // revive() meets its end
    return true;
}

bool Fleet::start_now(std::size_t i) {
    if (workers_[i].process) return false;
    start(i);
    return true;
}

void Fleet::ask_to_end(Worker& worker, int signal) {
    if (worker.stopped) timeline_.stopped(worker.pid, {worker.stopped_since, now_us()});
    const Micros now = now_us();
    timeline_.lived_until(worker.pid, worker.process->running() ? now : worker.seen_at);
    worker.asked = true;
    worker.asked_at = Clock::now();
    worker.process->kill(signal);
}

void Fleet::go_on(Worker& worker) {
    worker.stopped = false;
    worker.process->kill(SIGCONT);
    timeline_.stopped(worker.pid, {worker.stopped_since, now_us()});
}

void Fleet::revive() {
    for (std::size_t i = 0; i < kWorkers; ++i) {
        Worker& worker = workers_[i];
        if (worker.stopped && Clock::now() >= worker.stopped_until) go_on(worker);
        if (worker.process && worker.asked && Clock::now() > worker.asked_at + kExitLimit) {
            complaint_("worker " + std::to_string(worker.pid) + " does not end after SIGTERM" +
                       last_lines(i));
            worker.process->kill(SIGKILL);
            worker.process->reap();
            worker = {};
        }
        const Micros looked_at = now_us();
        if (worker.process && worker.process->running()) {
            worker.seen_at = looked_at;
        } else if (worker.process) {
            timeline_.lived_until(worker.pid, worker.seen_at);
            judge_end(i);
            worker = {};
            worker.restart_at = Clock::now() + kRestartPause;
        }
        if (!worker.process && Clock::now() >= worker.restart_at) start(i);
    }
}

void Fleet::judge_end(std::size_t i) {
    const Worker& worker = workers_[i];
    const int code = worker.process->reap();
    if (code == kNotLaunched && (worker.asked || worker.excused)) {
        ++failed_launches_;
        return;
    }
    // SIGTERM ends a process that has not come so far as to handle it.
    if (worker.asked &&
        (code == 0 || (code == -SIGTERM && side_.count("up " + std::to_string(worker.pid)) == 0)))
        return;
    complaint_("worker " + std::to_string(worker.pid) + (worker.asked ? ", asked to end," : "") +
               " has ended with " +
               (code < 0 ? "signal " + std::to_string(-code) : "exit code " + std::to_string(code)) +
               last_lines(i));
}

std::string Fleet::last_lines(std::size_t i) const {
    std::string text = "; the last lines of its log:";
    const auto lines = test::SideLog(command_(i).at(kLogArgument)).lines();
    for (std::size_t at = lines.size() - std::min(lines.size(), kLastLines); at < lines.size(); ++at)
        text += "\n    " + lines[at];
    return text;
}

void Fleet::peace() {
    excused_ = false;
    for (Worker& worker : workers_) {
        if (worker.stopped) go_on(worker);
        worker.restart_at = {};
    }
    revive();
}

void Fleet::shut_down() {
    for (Worker& worker : workers_) {
        if (worker.process && !worker.asked) ask_to_end(worker, SIGTERM);
    }
    const auto limit = Clock::now() + kExitLimit;
    for (std::size_t i = 0; i < kWorkers; ++i) {
        if (!workers_[i].process) continue;
        while (workers_[i].process->running() && Clock::now() < limit) std::this_thread::sleep_for(20ms);
        if (!workers_[i].process->running()) {
            judge_end(i);
        } else {
            complaint_("worker " + std::to_string(workers_[i].pid) + " does not end after SIGTERM" +
                       last_lines(i));
        }
        workers_[i] = {};
    }
}

}  // namespace dbos::chaos
