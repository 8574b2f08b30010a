// dbos_chaos_pg [--seed S] [--seconds T]: three workers and a client on a real PostgreSQL server behind a proxy that cuts, delays
// and swallows; workers are killed and stopped. Then peace, everything must come to its end, and the database is judged.
//
// The seed decides what is drawn. When it happens is decided by real processes as well, so a seed gives the same kind of run,
// not the same run.
#include <libpq-fe.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>

#include "chaos/pg/oracle.hpp"
#include "chaos/pg/proxy.hpp"
#include "chaos/pg/workload.hpp"
#include "support/database.hpp"

namespace dbos::chaos {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kWorkers = 3;
constexpr std::uint64_t kClientThreads = 12;
constexpr auto kRestartPause = 300ms;
constexpr auto kDrainLimit = 150s;  // what a lost claim left behind is looked for every 30 s
constexpr auto kExitLimit = 40s;

struct Settings {
    std::uint64_t seed = 1;
    std::chrono::seconds duration{20};
};

/// A parameter of a connection string.
std::string parameter(const std::string& url, const char* keyword) {
    std::string value;
    PQconninfoOption* all = PQconninfoParse(url.c_str(), nullptr);
    for (PQconninfoOption* one = all; one != nullptr && one->keyword != nullptr; ++one) {
        if (std::strcmp(one->keyword, keyword) == 0 && one->val != nullptr) value = one->val;
    }
    PQconninfoFree(all);
    return value;
}

class Run {
   public:
    explicit Run(const Settings& settings)
        : settings_(settings),
          random_(settings.seed, 1),
          database_(sql::Backend::postgres),
          directory_(make_directory()),
          side_(directory_ + "/side.log"),
          proxy_({parameter(database_.url(), "host"), parameter(database_.url(), "port")}, directory_,
                 settings.seed) {}

    int all() {
        auto server = sql::open(database_.options());
        if (server->query("SHOW track_commit_timestamp").at(0, 0).text() != "on") {
            std::fprintf(stderr,
                         "dbos_chaos_pg: the server must be started with track_commit_timestamp=on, as in"
                         " `DBOS_POSTGRES_OPTIONS='-c track_commit_timestamp=on' scripts/with-postgres …`\n");
            return 2;
        }
        for (std::size_t i = 0; i < kWorkers; ++i) start(i);
        if (!test::eventually([&] { return side_.count("up ") >= kWorkers; }, 60)) {
            std::fprintf(stderr, "dbos_chaos_pg: the workers do not come up; their logs are in %s\n",
                         directory_.c_str());
            return 2;
        }
        end_ = Clock::now() + settings_.duration;
        give_up_ = end_ + kDrainLimit;
        proxy_.faults(true);
        Client client(client_options());
        std::vector<std::thread> threads;
        for (std::uint64_t i = 0; i < kClientThreads; ++i) threads.emplace_back([&, i] { drive(client, i); });
        while (Clock::now() < end_) disturb();
        make_peace();
        for (auto& thread : threads) thread.join();
        while (!unfinished(*server).empty() && Clock::now() < give_up_) {
            revive();
            std::this_thread::sleep_for(100ms);
        }
        client.destroy();
        stop_workers();
        return report(judge(*server, known_, side_));
    }

   private:
    struct Worker {
        std::unique_ptr<test::Process> process;
        Clock::time_point stopped_until{}, restart_at{};
        bool stopped = false;
    };

    static std::string make_directory() {
        std::string pattern = (std::filesystem::temp_directory_path() / "dbos-chaos-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed for " + pattern);
        return pattern;
    }
    /// Through the proxy: by its Unix socket, or by TCP.
    std::string url(bool local) const {
        return "postgresql://" + parameter(database_.url(), "user") + "@/" +
               parameter(database_.url(), "dbname") + "?host=" + (local ? directory_ : "127.0.0.1") +
               "&port=" + std::to_string(proxy_.port()) + "&sslmode=disable&gssencmode=disable";
    }
    ClientOptions client_options() const {
        ClientOptions options;
        options.system_database_url = url(false);
        options.dbos_system_schema = database_.schema();
        options.application_name = kApplication;
        options.lazy = true;
        options.log_sink = [log = test::SideLog(directory_ + "/client.log")](const LogRecord& record) {
            log.write(to_logfmt(record));
        };
        return options;
    }

    // --- workers and faults (this thread alone) ---

    void start(std::size_t i) {
        Worker& worker = workers_[i];
        worker = {};
        worker.process = std::make_unique<test::Process>(
            std::vector<std::string>{"--worker", url(i % 2 == 0), database_.schema(), side_.path(),
                                     directory_ + "/worker" + std::to_string(i) + ".log"});
    }

    /// One fault, or a pause; and what earlier ones have left to do.
    void disturb() {
        std::this_thread::sleep_for(milliseconds(random_.between(50, 500)));
        const auto now = Clock::now();
        if (refused_until_ != Clock::time_point{} && now >= refused_until_) {
            refused_until_ = {};
            proxy_.refuse(false);
        }
        const std::size_t i = random_.below(kWorkers);
        const auto later = now + milliseconds(random_.between(100, 2 * kLeaseMs));
        switch (random_.below(16)) {
            case 0:
            case 1:
            case 2:
                if (!workers_[i].process) break;
                workers_[i].process->kill(SIGKILL);
                workers_[i].process->reap();
                ++kills_;
                workers_[i] = {};
                workers_[i].restart_at = random_.one_in(2) ? now : later;
                break;
            case 3:
            case 4:
            case 5:
                if (!workers_[i].process || workers_[i].stopped) break;
                workers_[i].process->kill(SIGSTOP);
                workers_[i].stopped = true;
                workers_[i].stopped_until = later;
                ++stops_;
                break;
            case 6:
                if (!workers_[i].process || workers_[i].stopped) break;
                workers_[i].process->kill(SIGTERM);  // revive() meets its end
                break;
            case 7:
                if (refused_until_ != Clock::time_point{}) break;
                proxy_.refuse(true);
                refused_until_ = later;
                ++outages_;
                break;
            default: break;
        }
        revive();
    }

    void revive() {
        for (std::size_t i = 0; i < kWorkers; ++i) {
            Worker& worker = workers_[i];
            if (worker.stopped && Clock::now() >= worker.stopped_until) {
                worker.stopped = false;
                worker.process->kill(SIGCONT);
            }
            if (worker.process && !worker.process->running()) {
                worker = {};
                worker.restart_at = Clock::now() + kRestartPause;
            }
            if (!worker.process && Clock::now() >= worker.restart_at) start(i);
        }
    }

    void make_peace() {
        proxy_.faults(false);
        proxy_.refuse(false);
        for (Worker& worker : workers_) {
            if (worker.stopped) worker.process->kill(SIGCONT);
            worker.stopped = false;
            worker.restart_at = {};
        }
        revive();
    }

    void stop_workers() {
        for (Worker& worker : workers_) {
            if (worker.process) worker.process->kill(SIGTERM);
        }
        const auto limit = Clock::now() + kExitLimit;
        for (Worker& worker : workers_) {
            while (worker.process && worker.process->running() && Clock::now() < limit)
                std::this_thread::sleep_for(20ms);
            if (worker.process && worker.process->running())
                known_.wrong("worker " + std::to_string(worker.process->pid()) +
                             " does not end after SIGTERM");
        }
    }

    // --- the client ---

    void drive(Client& client, std::uint64_t thread) {
        Random random(settings_.seed, 100 + thread);
        for (std::uint64_t round = 0; Clock::now() < end_; ++round) {
            std::vector<WorkflowHandle<std::string>> handles;
            const auto count = 1 + random.below(6);
            for (std::uint64_t i = 0; i < count; ++i) {
                const std::string id =
                    "w" + std::to_string(thread) + "-" + std::to_string(round) + "-" + std::to_string(i);
                try {
                    handles.push_back(enqueue(client, random, id));
                    known_.accepted(id);
                    if (random.one_in(12)) client.cancel_workflow(id);
                } catch (const std::exception& error) {
                    known_.wrong("a call about " + id + " failed: " + error.what());
                }
            }
            for (auto& handle : handles) wait(handle);
        }
    }

    static WorkflowHandle<std::string> enqueue(Client& client, Random& random, const std::string& id) {
        const char* queues[] = {kWide, kWide, kNarrow, kShared};
        EnqueueOptions options{.queue_name = queues[random.below(std::size(queues))], .workflow_id = id};
        if (random.one_in(4)) options.deduplication_id = "d-" + id;
        // The id is new: whoever is told that it is in use has met its own lost acknowledgement.
        if (random.one_in(2)) options.workflow_id_reuse_policy = WorkflowIdReusePolicy::reject;
        if (random.one_in(6)) options.delay = milliseconds(random.between(1, 1'500));
        const auto shape = static_cast<std::int64_t>(random.below(1u << 30));
        switch (random.below(6)) {
            case 0: options.queue_name = kWide; return client.enqueue(Parent, options, shape);
            case 1: return client.enqueue(Sleeper, options, shape);
            case 2: return client.enqueue(Fan, options, shape);
            default: return client.enqueue(Chain, options, shape);
        }
    }

    void wait(WorkflowHandle<std::string>& handle) {
        const auto left = std::max<Clock::duration>(give_up_ - Clock::now(), 1s);
        try {
            known_.outcome(handle.workflow_id(),
                           handle.get_result({.timeout = std::chrono::duration_cast<milliseconds>(left)}));
        } catch (const Timeout&) {
            overdue_.fetch_add(1);  // the row says whether it has ended
        } catch (const DatabaseError& error) {
            known_.wrong("the wait for " + handle.workflow_id() + " failed: " + error.what());
        } catch (const std::exception&) {
            known_.outcome(handle.workflow_id(), std::nullopt);
        }
    }

    // --- the end ---

    int report(const Verdict& verdict) {
        const auto show = [](const char* what, const std::vector<std::string>& found) {
            constexpr std::size_t kShown = 20;
            for (std::size_t i = 0; i < found.size() && i < kShown; ++i)
                std::printf("chaos: %s: %s\n", what, found[i].c_str());
        };
        show("lost", verdict.lost);
        show("repeated", verdict.repeated);
        show("stranded", verdict.stranded);
        auto stranded = verdict.stranded.size();
        if (stranded == 0 && overdue_ > 0) {  // ended, and whoever waited was not told
            stranded = overdue_;
            std::printf("chaos: stranded: %zu waits have not ended\n", stranded);
        }
        const bool idle = kills_ == 0 || proxy_.cuts() == 0 || proxy_.swallowed() == 0;
        const bool good =
            verdict.lost.empty() && verdict.repeated.empty() && stranded == 0 && verdict.steps > 0;
        if (idle) std::printf("chaos: a kind of fault never occurred: give it more time\n");
        std::printf(
            "chaos: seed %llu: %zu steps, %zu begun again, %llu stops, %llu outages, %llu messages, %llu "
            "delays,"
            " %llu acknowledgements swallowed\n",
            number(settings_.seed), verdict.steps, verdict.begun_again, number(stops_), number(outages_),
            number(proxy_.messages()), number(proxy_.delays()), number(proxy_.swallowed()));
        if (good) {
            std::filesystem::remove_all(directory_);
        } else {
            std::printf("chaos: failed with --seed %llu; the logs are in %s\n", number(settings_.seed),
                        directory_.c_str());
        }
        std::printf("chaos: %zu workflows, %llu kills, %llu cuts, %zu lost, %zu repeated, %zu stranded\n",
                    verdict.workflows, number(kills_), number(proxy_.cuts()), verdict.lost.size(),
                    verdict.repeated.size(), stranded);
        return good ? 0 : 1;
    }
    static unsigned long long number(std::uint64_t value) { return value; }

    const Settings settings_;
    Random random_;
    test::TestDatabase database_;
    const std::string directory_;
    const test::SideLog side_;
    Proxy proxy_;
    Known known_;
    std::array<Worker, kWorkers> workers_;
    Clock::time_point end_{}, give_up_{}, refused_until_{};
    std::uint64_t kills_ = 0, stops_ = 0, outages_ = 0;
    std::atomic<std::size_t> overdue_{0};
};

std::uint64_t to_number(const std::string& option, const std::string& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
        throw std::invalid_argument(option + " takes a whole number, got \"" + text + "\"");
    return value;
}

Settings parse(const std::vector<std::string>& arguments) {
    Settings settings;
    for (std::size_t i = 0; i < arguments.size(); i += 2) {
        const bool known = arguments[i] == "--seed" || arguments[i] == "--seconds";
        if (!known || i + 1 == arguments.size())
            throw std::invalid_argument("usage: dbos_chaos_pg [--seed S] [--seconds T], got \"" +
                                        arguments[i] + "\"");
        const std::uint64_t value = to_number(arguments[i], arguments[i + 1]);
        if (arguments[i] == "--seed") settings.seed = value;
        if (arguments[i] == "--seconds") settings.duration = std::chrono::seconds(value);
    }
    return settings;
}

}  // namespace

}  // namespace dbos::chaos

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const bool worker = !arguments.empty() && arguments[0] == "--worker";
    try {
        if (worker) return dbos::chaos::work(arguments);
        const auto settings = dbos::chaos::parse(arguments);
        if (!dbos::test::postgres_url()) {
            std::fprintf(
                stderr,
                "dbos_chaos_pg: DBOS_TEST_POSTGRES_URL is not set: run it under scripts/with-postgres\n");
            return 2;
        }
        return dbos::chaos::Run(settings).all();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", worker ? "worker" : "dbos_chaos_pg", error.what());
        return 2;
    }
}
