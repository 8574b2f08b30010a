// dbos_bench_parked: so many workflows that sleep in one process, and how late they wake.
//
//   dbos_bench_parked URL [--workflows 1000000] [--over 120] [--lead SECONDS]
//
// Every workflow sleeps until an instant of its own; these are spread evenly over `over` seconds that begin when all have been
// started: `lead` seconds after the first start, which is reckoned from the rate of some workflows that are started before.
// How late a body goes on after its sleep is measured inside of it.
//
//   dbos_bench_parked URL --takeover [--workflows 100000]
//
// A process that holds so many parked workflows is killed with SIGKILL; a peer takes them all over. How long that takes from the
// kill on, and how much was left of the peer's own lease when it was least.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "dbos/dbos.hpp"
#include "runtime/app_impl.hpp"

namespace {

using Clock = std::chrono::system_clock;
using std::chrono::milliseconds;

constexpr auto Sleeper = dbos::workflow<void(std::int64_t)>("sleeper");
constexpr std::size_t kInFlight = 4000;  // starts that wait for their commit
constexpr std::int64_t kTried = 40'000;  // workflows that tell the rate of starts
constexpr double kSlack = 1.4;           // the rate falls as the tables grow

constexpr std::int64_t kDay = std::int64_t{24} * 3600 * 1000;

double resident_mib() {
    std::ifstream status("/proc/self/statm");
    long total = 0, resident = 0;
    status >> total >> resident;
    return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

std::int64_t now_ms() {
    return std::chrono::duration_cast<milliseconds>(Clock::now().time_since_epoch()).count();
}

class Window {
   public:
    void enter() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return in_flight_ < kInFlight; });
        ++in_flight_;
    }
    void leave(bool failed) {
        std::lock_guard lock(mutex_);
        --in_flight_;
        failed_ += failed ? 1 : 0;
        changed_.notify_all();
    }
    std::size_t wait_for_all() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return in_flight_ == 0; });
        return failed_;
    }

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t in_flight_ = 0;
    std::size_t failed_ = 0;
};

/// Starts `count` workflows that sleep until `until(n)`; returns how many could not be started.
template <class F>
std::size_t start_all(dbos::App& app, std::int64_t count, const F& until) {
    Window window;
    for (std::int64_t n = 0; n < count; ++n) {
        window.enter();
        app.start_workflow_async(Sleeper, {}, until(n))
            .then([&](const auto&) { window.leave(false); },
                  [&](const std::exception_ptr&) { window.leave(true); });
    }
    return window.wait_for_all();
}

/// Seconds that so many starts will take.
double reckoned_lead(dbos::App& app, std::int64_t workflows, const std::atomic<std::int64_t>& begun) {
    const std::int64_t tried = std::min(workflows, kTried);
    const std::int64_t far = now_ms() + kDay;
    const auto begin = std::chrono::steady_clock::now();
    start_all(app, tried, [&](std::int64_t) { return far; });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    while (begun.load() < tried) std::this_thread::sleep_for(milliseconds(5));
    const auto rows = app.client().list_workflows({.status = "PENDING", .load_input = false});
    std::vector<std::string> ids;
    for (const auto& row : rows) ids.push_back(row.workflow_id);
    app.client().cancel_workflows(ids);
    return kSlack * took.count() * static_cast<double>(workflows) / static_cast<double>(tried);
}

/// One wake-up.
struct WakeUp {
    std::int32_t at = 0;    // ms from the first that was due to when this one was
    std::int32_t late = 0;  // ms
};

std::int32_t quantile(const std::vector<std::int32_t>& sorted, double share) {
    if (sorted.empty()) return 0;
    return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

/// When they were late.
void print_windows(const std::vector<WakeUp>& wake_ups) {
    constexpr std::int32_t kWindow = 10'000;
    std::vector<std::vector<std::int32_t>> windows;
    for (const WakeUp& wake_up : wake_ups) {
        const auto window = static_cast<std::size_t>(std::max(0, wake_up.at) / kWindow);
        if (windows.size() <= window) windows.resize(window + 1);
        windows[window].push_back(wake_up.late);
    }
    std::printf("parked: p99 of each ten seconds, ms:");
    for (auto& late : windows) {
        std::sort(late.begin(), late.end());
        std::printf(" %d", quantile(late, 0.99));
    }
    std::printf("\n");
}

int run(const std::string& url, std::int64_t workflows, double over, std::optional<double> given_lead) {
    std::mutex mutex;
    std::vector<WakeUp> wake_ups;
    wake_ups.reserve(static_cast<std::size_t>(workflows));
    std::atomic<std::int64_t> woken{0}, begun{0}, first{0};

    dbos::App app({.name = "parked", .system_database_url = url});
    app.implement(Sleeper, [&](dbos::Context& ctx, std::int64_t until) {
        ++begun;
        ctx.sleep(milliseconds(std::max<std::int64_t>(0, until - now_ms())));
        const auto after = static_cast<std::int32_t>(now_ms() - until);
        ++woken;
        std::lock_guard lock(mutex);
        wake_ups.push_back({static_cast<std::int32_t>(until - first.load()), after});
    });
    app.launch();
    const double empty = resident_mib();
    const double lead = given_lead ? *given_lead : reckoned_lead(app, workflows, begun);
    begun = 0;

    const auto begin = std::chrono::steady_clock::now();
    const auto seconds = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    first = now_ms() + static_cast<std::int64_t>(lead * 1000);
    const auto failed = start_all(app, workflows, [&, first = first.load()](std::int64_t n) {
        const auto place = (n * 7919) % workflows;  // not in the order of the starts
        return first + static_cast<std::int64_t>(static_cast<double>(place) * over * 1000 /
                                                 static_cast<double>(workflows));
    });
    const double started = seconds();
    while (begun.load() < workflows - static_cast<std::int64_t>(failed))
        std::this_thread::sleep_for(milliseconds(20));
    std::this_thread::sleep_for(milliseconds(500));  // the last ones park
    double most = resident_mib();
    std::fprintf(stderr,
                 "started in %.0f s, %zu failed, %.0f MiB resident (%.0f before), %lld awake already\n",
                 started, failed, most, empty, static_cast<long long>(woken.load()));
    const auto expected = workflows - static_cast<std::int64_t>(failed);
    while (woken.load() < expected) {
        std::this_thread::sleep_for(milliseconds(200));
        most = std::max(most, resident_mib());
    }
    const double all_woken = seconds();
    // Their outcomes.
    for (;;) {
        const auto active = app.client().list_workflows({.status = "PENDING", .limit = 1});
        if (active.empty()) break;
        std::this_thread::sleep_for(milliseconds(200));
    }
    print_windows(wake_ups);
    std::vector<std::int32_t> late;
    for (const WakeUp& wake_up : wake_ups) late.push_back(wake_up.late);
    std::sort(late.begin(), late.end());
    const auto at = [&](double share) { return quantile(late, share); };
    std::printf(
        "parked: woken within %.0f s of the first start; late p50 %d ms, p99 %d ms, most %d ms; %zu of "
        "%lld\n",
        all_woken, at(0.5), at(0.99), at(1.0), late.size(), static_cast<long long>(workflows));
    std::printf("parked: %lld workflows, %.0f MiB resident, started in %.0f s, wake-up p99 %d ms late\n",
                static_cast<long long>(workflows), most, started, at(0.99));
    return late.size() == static_cast<std::size_t>(workflows) ? 0 : 1;
}

void sleep_until(dbos::Context& ctx, std::int64_t until) {
    ctx.sleep(milliseconds(std::max<std::int64_t>(0, until - now_ms())));
}

/// The process that will be killed: says "held" when all its workflows sleep.
int hold(const std::string& url, std::int64_t workflows) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::atomic<std::int64_t> begun{0};
    dbos::App app({.name = "parked", .system_database_url = url});
    app.implement(Sleeper, [&](dbos::Context& ctx, std::int64_t until) {
        ++begun;
        sleep_until(ctx, until);
    });
    app.launch();
    start_all(app, workflows, [](std::int64_t) { return now_ms() + kDay; });
    while (begun.load() < workflows) std::this_thread::sleep_for(milliseconds(20));
    std::this_thread::sleep_for(milliseconds(500));  // the last ones park
    std::printf("held\n");
    std::fflush(stdout);
    ::pause();
    return 0;
}

struct Child {
    explicit Child(std::vector<std::string> arguments) {
        if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
        std::vector<char*> argv;
        for (std::string& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        pid = ::fork();
        if (pid == 0) {
            ::dup2(ends[1], STDOUT_FILENO);
            ::execv("/proc/self/exe", argv.data());
            ::_exit(127);
        }
        ::close(ends[1]);
    }
    ~Child() {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        ::close(ends[0]);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    void wait_for_a_line() const {
        for (char c = 0; c != '\n';) {
            if (::read(ends[0], &c, 1) != 1) throw std::runtime_error("the holding process has ended");
        }
    }
    pid_t pid = -1;
    int ends[2] = {-1, -1};
};

int take_over(const std::string& url, std::int64_t workflows) {
    std::atomic<std::int64_t> begun{0};
    dbos::App app({.name = "parked", .system_database_url = url});
    app.implement(Sleeper, [&](dbos::Context& ctx, std::int64_t until) {
        ++begun;
        sleep_until(ctx, until);
    });
    double took = 0, lapses = 0;
    std::int64_t mine = 0;
    {
        const Child holder({"dbos_bench_parked", url, "--hold", "--workflows", std::to_string(workflows)});
        holder.wait_for_a_line();
        app.launch();
        ::kill(holder.pid, SIGKILL);
        const auto killed = std::chrono::steady_clock::now();
        const auto lapse = app.impl().executor.lease().lapse_number();
        while (mine < workflows) {
            std::this_thread::sleep_for(milliseconds(200));
            mine = 0;
            for (const auto& group : app.client().get_workflow_aggregates(
                     {.group_by_executor_id = true, .filter = {.status = "PENDING"}})) {
                if (group.executor_id == app.executor_id()) mine = group.count.value_or(0);
            }
            took = std::chrono::duration<double>(std::chrono::steady_clock::now() - killed).count();
            if (took > 600) break;
        }
        while (begun.load() < mine) std::this_thread::sleep_for(milliseconds(20));
        lapses = app.impl().executor.lease().lapse_number() - lapse;
    }
    std::printf(
        "takeover: %lld of %lld workflows in %.1f s, %.0f lapses of the peer's lease, %.0f MiB resident\n",
        static_cast<long long>(mine), static_cast<long long>(workflows), took, lapses, resident_mib());
    return mine == workflows && lapses == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr,
                     "usage: dbos_bench_parked URL [--workflows N] [--over SECONDS] [--lead SECONDS]\n"
                     "       dbos_bench_parked URL --takeover [--workflows N]\n");
        return 2;
    }
    std::optional<std::int64_t> workflows;
    bool holds = false, takes_over = false;
    double over = 120;
    std::optional<double> lead;
    for (int n = 2; n < argc; ++n) {
        const std::string option = argv[n];
        holds = holds || option == "--hold";
        takes_over = takes_over || option == "--takeover";
        if (n + 1 == argc) break;
        if (option == "--workflows") workflows = std::atoll(argv[n + 1]);
        if (option == "--over") over = std::atof(argv[n + 1]);
        if (option == "--lead") lead = std::atof(argv[n + 1]);
    }
    try {
        if (holds) return hold(argv[1], workflows.value_or(100'000));
        if (takes_over) return take_over(argv[1], workflows.value_or(100'000));
        return run(argv[1], workflows.value_or(1'000'000), over, lead);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "dbos_bench_parked: %s\n", error.what());
        return 1;
    }
}
