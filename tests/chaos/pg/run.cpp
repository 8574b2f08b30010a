#include "chaos/pg/run.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <thread>

#include "chaos/pg/callers.hpp"
#include "chaos/pg/fleet.hpp"
#include "chaos/pg/oracle.hpp"
#include "chaos/pg/proxy.hpp"
#include "chaos/pg/server.hpp"
#include "chaos/pg/workload.hpp"
#include "support/database.hpp"

namespace dbos::chaos {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kEveryKindFrom = 60s;
constexpr auto kBetweenRareFaults = 10s;

class Run {
   public:
    explicit Run(const Settings& settings)
        : settings_(settings),
          random_(settings.seed, 1),
          database_(sql::Backend::postgres),
          server_(database_),
          directory_(make_run_directory("dbos-chaos")),
          side_(directory_ + "/side.log"),
          proxy_({parameter(database_.url(), "host"), parameter(database_.url(), "port")}, directory_,
                 settings.seed),
          fleet_([this](std::size_t i) { return command(i); },
                 [this](const std::string& what) { known_.wrong("exits", what); }, side_, timeline_) {}

    int all() {
        if (!server_.commits_have_times()) {
            std::fprintf(stderr,
                         "dbos_chaos_pg: the server must be started with track_commit_timestamp=on, as in"
                         " `DBOS_POSTGRES_OPTIONS='-c track_commit_timestamp=on' scripts/with-postgres …`\n");
            return 2;
        }
        fleet_.start_all();
        if (!test::eventually([&] { return side_.count("up ") >= Fleet::kWorkers; }, 60)) {
            std::fprintf(stderr, "dbos_chaos_pg: the workers do not come up; their logs are in %s\n",
                         directory_.c_str());
            return 2;
        }
        server_.watch();
        const auto end = Clock::now() + settings_.duration;
        const auto give_up = end + settings_.drain;
        proxy_.faults(!settings_.calm);
        fleet_.excuse_launches(!settings_.calm);
        std::string only_queue;
        for (const std::string queue : {kNarrow, kShared, kRated, kKeyed}) {
            if (settings_.misbehave == "wide-" + queue) only_queue = queue;
        }
        Callers callers(client_options(), only_queue, settings_.seed, end, give_up, known_);
        next_rare_ = Clock::now() + kBetweenRareFaults / 2;
        while (Clock::now() < end) {
            std::this_thread::sleep_for(milliseconds(random_.between(50, 700)));
            if (!settings_.calm) disturb();
            fleet_.revive();
        }
        make_peace();
        while (!unfinished(*server_.open()).empty() && Clock::now() < give_up) {
            fleet_.revive();
            std::this_thread::sleep_for(200ms);
        }
        callers.join();
        fleet_.shut_down();
        return report(judge(*server_.open(), known_, side_, timeline_), callers.calls());
    }

   private:
    using Fault = void (Run::*)();

    std::string url(bool local) const {
        return proxied_url(database_.url(), proxy_.port(), directory_, local);
    }
    std::vector<std::string> command(std::size_t i) const {
        return {"--worker",
                url(i % 2 == 0),
                database_.schema(),
                side_.path(),
                directory_ + "/worker" + std::to_string(i) + ".log",
                settings_.misbehave};
    }
    ClientOptions client_options() const {
        ClientOptions options;
        options.system_database_url = url(false) + "&options=-c%20chaos.actor%3Dclient";
        options.dbos_system_schema = database_.schema();
        options.application_name = kApplication;
        options.lazy = true;
        options.log_sink = [log = test::SideLog(directory_ + "/client.log")](const LogRecord& record) {
            log.write(to_logfmt(record));
        };
        return options;
    }

    // --- faults, of processes and of the way to the server; those of messages are the proxy's ---

    /// Drawn like cards: each comes before any comes again.
    Fault draw(std::vector<Fault>& deck, std::initializer_list<Fault> all) {
        if (deck.empty()) {
            deck = all;
            for (std::size_t i = deck.size(); i > 1; --i) std::swap(deck[i - 1], deck[random_.below(i)]);
        }
        const Fault fault = deck.back();
        deck.pop_back();
        return fault;
    }

    void disturb() {
        constexpr Fault nothing = nullptr;
        Fault fault = draw(common_, {&Run::kill, &Run::kill, &Run::kill, &Run::stop, &Run::stop, &Run::stop,
                                     &Run::terminate, &Run::hold_rows, nothing, nothing, nothing, nothing,
                                     nothing, nothing, nothing, nothing});
        if (unreachable_ && Clock::now() >= unreachable_until_) reach_again();
        if (Clock::now() >= next_rare_) {
            fault = draw(rare_, {&Run::refuse, &Run::go_away, &Run::restart_server, &Run::stop_long});
            next_rare_ = Clock::now() + kBetweenRareFaults;
        }
        if (fault != nullptr) (this->*fault)();
    }

    std::size_t somebody() { return random_.below(Fleet::kWorkers); }
    milliseconds up_to_two_leases() { return milliseconds(random_.between(100, 2 * kLeaseMs)); }
    milliseconds an_outage() { return milliseconds(random_.between(kLeaseMs / 2, 2 * kLeaseMs)); }

    void kill() { kills_ += fleet_.kill(somebody(), random_.one_in(2) ? 0ms : up_to_two_leases()) ? 1 : 0; }
    void stop() { stops_ += fleet_.stop(somebody(), up_to_two_leases()) ? 1 : 0; }
    void terminate() { shutdowns_ += fleet_.terminate(somebody()) ? 1 : 0; }
    void stop_long() {
        const auto duration = milliseconds(random_.between(3 * kLeaseMs / 2, 4 * kLeaseMs));
        for (std::size_t first = somebody(), i = 0; i < Fleet::kWorkers; ++i) {
            if (!fleet_.stop((first + i) % Fleet::kWorkers, duration)) continue;
            ++long_stops_;
            return;
        }
        rare_.push_back(&Run::stop_long);  // all are stopped or end: next time
    }
    void hold_rows() {
        if (holder_.valid() && holder_.wait_for(0s) != std::future_status::ready) return;
        if (holder_.valid()) rows_held_ += holder_.get();
        holder_ = std::async(std::launch::async,
                             [this, duration = an_outage()] { return server_.hold_rows(duration); });
    }
    void refuse() {
        if (unreachable_) return;
        proxy_.refuse(true);
        ++outages_;
        be_unreachable();
    }
    /// And a worker that starts meanwhile.
    void go_away() {
        if (unreachable_) return;
        proxy_.gone(true);
        ++absences_;
        be_unreachable();
        for (std::size_t first = somebody(), i = 0; i < Fleet::kWorkers; ++i) {
            const std::size_t one = (first + i) % Fleet::kWorkers;
            kills_ += fleet_.kill(one, 0ms) ? 1 : 0;
            if (!fleet_.start_now(one)) continue;
            ++lonely_starts_;
            return;
        }
    }
    void be_unreachable() {
        unreachable_ = true;
        unreachable_since_ = now_us();
        unreachable_until_ = Clock::now() + an_outage();
    }
    void reach_again() {
        timeline_.outage({unreachable_since_, now_us()}, true);
        unreachable_ = false;
        proxy_.refuse(false);
        proxy_.gone(false);
    }
    void restart_server() {
        if (!server_.may_restart()) return;
        const Micros since = now_us();
        server_.restart();
        timeline_.outage({since, now_us()}, false);
        ++restarts_;
    }
    void make_peace() {
        proxy_.faults(false);
        if (unreachable_) reach_again();
        if (holder_.valid()) rows_held_ += holder_.get();
        fleet_.peace();
    }

    // --- the end ---

    struct Count {
        const char* what;
        std::uint64_t count;
        bool required = true;
    };
    std::vector<Count> counts(const Verdict& verdict, const Calls& calls) const {
        return {{"killed workers", kills_},
                {"stopped workers", stops_},
                {"workers stopped for longer than a lease", long_stops_},
                {"workers shut down", shutdowns_},
                {"times that connections were refused", outages_},
                {"times that nobody listened", absences_},
                {"workers started then", lonely_starts_},
                {"launches that failed", fleet_.failed_launches(), false},
                {"restarts of the server", restarts_, server_.may_restart()},
                {"rows held by others", rows_held_},
                {"messages", proxy_.messages()},
                {"cuts", proxy_.cuts()},
                {"delays", proxy_.delays()},
                {"statements of more than half a lease", proxy_.stalls()},
                {"acknowledgements swallowed", proxy_.swallowed()},
                {"acknowledgements of commits swallowed", proxy_.swallowed_commits()},
                {"acknowledgements of the client's commits swallowed", proxy_.swallowed_of_client()},
                {"calls repeated by the caller after an error", calls.repeated},
                {"workflows enqueued again", calls.enqueued_again},
                {"cancellations", calls.cancels},
                {"cancellations while a body ran", verdict.cancelled},
                {"steps recorded", verdict.steps},
                {"steps begun again", verdict.begun_again},
                {"rows taken over", verdict.taken_over}};
    }

    int report(Verdict verdict, const Calls& calls) {
        // Ended, and whoever waited was not told.
        if (!verdict.found.contains("stranded") && calls.overdue > 0)
            verdict.add("stranded", std::to_string(calls.overdue) + " waits have not ended");
        const bool every_kind = settings_.every_kind || settings_.duration >= kEveryKindFrom;
        std::string line;
        for (const Count& count : counts(verdict, calls)) {
            line += (line.empty() ? "" : ", ") + std::to_string(count.count) + " " + count.what;
            if (every_kind && count.required && count.count == 0)
                verdict.add("unreached", "0 " + std::string(count.what) + ": the run proves too little");
        }
        for (const auto& [word, all] : verdict.found) {
            constexpr std::size_t kShown = 20;
            for (std::size_t i = 0; i < std::min(all.size(), kShown); ++i)
                std::printf("chaos: %s: %s\n", word.c_str(), all[i].c_str());
        }
        std::printf("chaos: seed %llu: %s; the slowest cancellation was heard after %lld ms\n",
                    static_cast<unsigned long long>(settings_.seed), line.c_str(),
                    static_cast<long long>(verdict.slowest_cancel_us / 1000));
        if (verdict.found.empty()) {
            std::filesystem::remove_all(directory_);
        } else {
            std::printf("chaos: failed with --seed %llu; the logs are in %s\n",
                        static_cast<unsigned long long>(settings_.seed), directory_.c_str());
        }
        std::string last = "chaos: " + std::to_string(verdict.workflows) + " workflows, " +
                           std::to_string(kills_) + " kills, " + std::to_string(proxy_.cuts()) + " cuts";
        for (const char* word : {"lost", "repeated", "stranded"})
            last += ", " + std::to_string(verdict.found[word].size()) + " " + word;
        for (const char* word : {"limits", "robbed", "changed", "deaf", "exits", "unreached"}) {
            if (const auto size = verdict.found[word].size(); size > 0)
                last += ", " + std::to_string(size) + " " + word;
        }
        std::printf("%s\n", last.c_str());
        return std::ranges::all_of(verdict.found, [](const auto& one) { return one.second.empty(); }) ? 0 : 1;
    }

    const Settings settings_;
    Random random_;
    test::TestDatabase database_;
    const Server server_;
    const std::string directory_;
    const test::SideLog side_;
    Timeline timeline_;
    Known known_;
    Proxy proxy_;
    Fleet fleet_;
    std::vector<Fault> common_, rare_;
    std::future<std::size_t> holder_;
    Clock::time_point next_rare_{}, unreachable_until_{};
    Micros unreachable_since_ = 0;
    bool unreachable_ = false;
    std::uint64_t kills_ = 0, stops_ = 0, long_stops_ = 0, shutdowns_ = 0, outages_ = 0, absences_ = 0;
    std::uint64_t lonely_starts_ = 0, restarts_ = 0, rows_held_ = 0;
};

}  // namespace

int run(const Settings& settings) { return Run(settings).all(); }

}  // namespace dbos::chaos
