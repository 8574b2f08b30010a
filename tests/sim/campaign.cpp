#include "campaign.hpp"

#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>

namespace dbos::sim {

namespace {

struct Child {
    pid_t pid = -1;
    int pipe = -1;
    unsigned cpu = 0;
    std::uint64_t next = 0;  // the world that it runs
    std::uint64_t end = 0;
    std::string text;
    bool failed = false;
};

void say(int pipe, std::string line) {
    line += '\n';
    for (std::size_t at = 0; at < line.size();) {
        const ssize_t put = ::write(pipe, line.data() + at, line.size() - at);
        if (put < 0 && errno != EINTR) std::_Exit(9);
        if (put > 0) at += static_cast<std::size_t>(put);
    }
}

class Runner {
   public:
    Runner(const Campaign& campaign, const std::function<Outcome(std::uint64_t, Tasks)>& play)
        : campaign_(campaign), play_(play), next_(campaign.first), end_(campaign.first + campaign.worlds) {
        for (unsigned job = 0; job < std::max(1u, campaign.jobs); ++job) free_cpus_.push_back(job);
    }

    CampaignResult run() {
        const auto begun = std::chrono::steady_clock::now();
        for (;;) {
            while (!free_cpus_.empty() && more()) launch();
            if (children_.empty()) break;
            listen();
        }
        result_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
        return std::move(result_);
    }

   private:
    bool more() const {
        if (result_.failures.size() >= campaign_.most_failures) return false;
        return !rests_.empty() || next_ < end_;
    }

    void launch() {
        Child child;
        if (!rests_.empty()) {
            child.next = rests_.back().first;
            child.end = rests_.back().second;
            rests_.pop_back();
        } else {
            child.next = next_;
            child.end = next_ = std::min(end_, next_ + campaign_.batch);
        }
        child.cpu = free_cpus_.back();
        free_cpus_.pop_back();
        int ends[2];
        if (::pipe(ends) != 0) {
            std::perror("sim: pipe");
            std::_Exit(9);
        }
        std::fflush(nullptr);
        child.pid = ::fork();
        if (child.pid == 0) {
            ::close(ends[0]);
            work(child, ends[1]);
        }
        ::close(ends[1]);
        child.pipe = ends[0];
        children_.push_back(std::move(child));
    }

    [[noreturn]] void work(const Child& child, int pipe) const {
        if (campaign_.tasks == Tasks::threads) {  // handing over the baton is quickest on one processor
            cpu_set_t cpus;
            CPU_ZERO(&cpus);
            CPU_SET(child.cpu, &cpus);
            ::sched_setaffinity(0, sizeof cpus, &cpus);
        }
        for (std::uint64_t seed = child.next; seed < child.end; ++seed) {
            say(pipe, "begin " + std::to_string(seed));
            on_failure = [pipe, seed](const std::string& what) {
                std::string line = what;
                std::replace(line.begin(), line.end(), '\n', '\1');
                say(pipe, "fail " + std::to_string(seed) + ' ' + line);
                std::_Exit(7);
            };
            ::alarm(campaign_.seconds_per_world);
            const Outcome outcome = play_(seed, campaign_.tasks);
            std::ostringstream line;
            line << "end " << seed << ' ' << outcome.hash << ' ' << outcome.steps << ' ' << outcome.switches
                 << ' ' << outcome.virtual_ns << ' ' << outcome.crashes;
            say(pipe, line.str());
        }
        std::_Exit(0);
    }

    void listen() {
        std::vector<pollfd> entries;
        for (const Child& child : children_) entries.push_back({child.pipe, POLLIN, 0});
        ::poll(entries.data(), entries.size(), -1);
        for (std::size_t i = entries.size(); i-- > 0;) {
            if (entries[i].revents == 0) continue;
            char buffer[4096];
            const ssize_t got = ::read(children_[i].pipe, buffer, sizeof buffer);
            if (got > 0) {
                children_[i].text.append(buffer, static_cast<std::size_t>(got));
                take_lines(children_[i]);
            } else if (got == 0) {
                bury(children_[i]);
                children_.erase(children_.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
    }

    void take_lines(Child& child) {
        for (std::size_t end = 0; (end = child.text.find('\n')) != std::string::npos;) {
            std::istringstream line(child.text.substr(0, end));
            child.text.erase(0, end + 1);
            std::string kind;
            std::uint64_t seed = 0;
            line >> kind >> seed;
            if (kind == "begin") child.next = seed;
            if (kind == "end") {
                Outcome outcome;
                line >> outcome.hash >> outcome.steps >> outcome.switches >> outcome.virtual_ns >>
                    outcome.crashes;
                result_.outcomes.emplace(seed, outcome);
                child.next = seed + 1;
                if (campaign_.progress) campaign_.progress(result_.outcomes.size());
            }
            if (kind == "fail") {
                std::string what;
                std::getline(line >> std::ws, what);
                std::replace(what.begin(), what.end(), '\1', '\n');
                fail_seed(seed, what);
                child.failed = true;
            }
        }
    }

    void bury(Child& child) {
        ::close(child.pipe);
        int status = 0;
        while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
        }
        const bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (!well && !child.failed) {
            std::string what = "the child ended with exit code " + std::to_string(WEXITSTATUS(status));
            if (WIFSIGNALED(status)) {
                what = WTERMSIG(status) == SIGALRM
                           ? "the world did not end in " + std::to_string(campaign_.seconds_per_world) + " s"
                           : std::string("the child was killed by ") + strsignal(WTERMSIG(status));
            }
            fail_seed(child.next, what);
        }
        if (!well && child.next + 1 < child.end) rests_.emplace_back(child.next + 1, child.end);
        free_cpus_.push_back(child.cpu);
    }

    void fail_seed(std::uint64_t seed, const std::string& what) {
        if (result_.failures.emplace(seed, what).second && campaign_.failed) campaign_.failed(seed, what);
    }

    const Campaign& campaign_;
    const std::function<Outcome(std::uint64_t, Tasks)>& play_;
    std::uint64_t next_;
    std::uint64_t end_;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> rests_;  // of batches that a failure cut short
    std::vector<Child> children_;
    std::vector<unsigned> free_cpus_;
    CampaignResult result_;
};

}  // namespace

CampaignResult run_campaign(const Campaign& campaign,
                            const std::function<Outcome(std::uint64_t, Tasks)>& play) {
    return Runner(campaign, play).run();
}

void share_situations() {
    constexpr std::size_t kSize = 4096;
    void* memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        std::perror("sim: mmap");
        std::_Exit(9);
    }
    situations = static_cast<std::uint64_t*>(memory);
}

}  // namespace dbos::sim
