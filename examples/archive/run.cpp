#include "run.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <iostream>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "manifest.hpp"
#include "plan.hpp"
#include "progress.hpp"
#include "sidelog.hpp"
#include "supervisor.hpp"
#include "verify.hpp"
#include "worker.hpp"

namespace archive {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

namespace {

// In a URL, % and ? mean something else.
std::string sqlite_url(const fs::path& path) {
    std::string url = "sqlite:///";
    for (const char c : path.native()) {
        url += c == '%' ? "%25" : c == '?' ? "%3F" : c == '#' ? "%23" : std::string(1, c);
    }
    return url;
}

// OUT and what belongs to a run in it. Directories that this run made are removed again unless it came to work.
class Output {
   public:
    explicit Output(const fs::path& out) : out_(out) {
        for (const fs::path& directory : {out / "objects", state_directory(out)}) {
            if (!fs::exists(directory)) made_.push_back(directory);
        }
        for (fs::path missing = out; !fs::exists(missing); missing = missing.parent_path())
            made_.push_back(missing);
        for (const fs::path& directory : {temporary_directory(out), out / "objects"}) {
            std::error_code error;
            fs::create_directories(directory, error);
            if (error) {
                const std::string reason = error.message();
                remove_made();
                throw std::runtime_error("cannot write to " + out.native() + ": " + reason);
            }
        }
    }
    ~Output() {
        if (!kept_) remove_made();
        if (lock_ >= 0) ::close(lock_);
    }
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;

    // The descriptor is inherited by the workers: the lock is free when the last of them is gone.
    void lock() {
        const fs::path path = state_directory(out_) / "lock";
        lock_ = ::open(path.c_str(), O_RDWR | O_CREAT, 0666);  // NOLINT: not close-on-exec, on purpose
        if (lock_ < 0)
            throw std::runtime_error("cannot write to " + path.native() + ": " +
                                     std::generic_category().message(errno));
        // Workers of a run that was killed are on their way out.
        for (int patience = 100; ::flock(lock_, LOCK_EX | LOCK_NB) != 0; --patience) {
            if (patience == 0)
                throw std::runtime_error("another dbos-archive is at work on " + out_.native());
            std::this_thread::sleep_for(milliseconds(50));
        }
    }

    // A random text, made once: an output that was removed and made again is another one.
    std::string identity() const {
        const fs::path path = state_directory(out_) / "id";
        if (!stamp_of(path)) write_file(path, unique_temporary(out_, "id"), random_hex(32));
        return read_file(path);
    }

    void keep() noexcept { kept_ = true; }

    void remove_temporaries() const {
        for (const auto& entry : fs::directory_iterator(temporary_directory(out_))) fs::remove(entry.path());
    }

   private:
    void remove_made() noexcept {
        std::error_code ignored;
        for (const fs::path& directory : made_) {
            directory.parent_path() == out_ ? fs::remove_all(directory, ignored)
                                            : fs::remove(directory, ignored);
        }
    }

    const fs::path out_;
    std::vector<fs::path> made_;  // inner first
    int lock_ = -1;
    bool kept_ = false;
};

// Signals arrive where they are asked for: in the loop of the supervisor. Blocked before the first thread exists.
class Signals {
   public:
    Signals() {
        sigemptyset(&set_);
        for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&set_, signal);
        ::sigprocmask(SIG_BLOCK, &set_, nullptr);
    }
    /// The signal that arrived within the time; 0: none.
    int wait(milliseconds time) const {
        const timespec limit{.tv_sec = time.count() / 1000, .tv_nsec = (time.count() % 1000) * 1'000'000};
        const int signal = ::sigtimedwait(&set_, nullptr, &limit);
        return signal < 0 ? 0 : signal;
    }

   private:
    sigset_t set_{};
};

// When workers are killed: each time `every` more files are finished, one; in the demonstration the fourth time all.
class KillPlan {
   public:
    KillPlan(const Options& options, std::size_t files, std::size_t done)
        : every_(options.kill_after > 0 ? static_cast<std::size_t>(options.kill_after)
                 : options.demo         ? std::max<std::size_t>(1, files / 6)
                                        : 0),
          next_(done + every_ / 2),
          demo_(options.demo) {}
    bool due(std::size_t done) const { return every_ > 0 && done >= next_; }
    bool all() const { return demo_ && count_ % 4 == 3; }
    void carried_out(std::size_t done) {
        ++count_;
        next_ = std::max(next_, done) + every_;
    }

   private:
    std::size_t every_;
    std::size_t next_;
    bool demo_;
    int count_ = 0;
};

class Archiver {
   public:
    explicit Archiver(const Options& options)
        : options_(options),
          url_(options.database_url.empty() ? sqlite_url(state_directory(options.out) / "state.sqlite")
                                            : options.database_url) {}

    int run();

   private:
    void connect(const std::string& key);
    void read_log();
    void close_books_of_earlier_runs();
    void take_plan(Plan plan);
    void tell_plan(const Walk& walk);
    int work();
    void kill_workers(Supervisor& supervisor, KillPlan& plan);
    Progress::Numbers numbers(int workers) const;
    bool nothing_done_twice();
    int report(const Walk& walk);

    const Options& options_;
    std::string url_;
    Signals signals_;
    Progress progress_;
    std::optional<dbos::Client> client_;
    std::optional<SideLog> log_;
    std::optional<LogReader> reader_;
    LogState state_;
    Plan plan_;
    std::unordered_set<std::string> planned_;  // the children of the plan
    std::size_t files_done_ = 0;               // of them, by the side log
};

int Archiver::run() {
    // The form of the URL is checked before anything is written; SQLite needs its directory before it can be opened.
    const dbos::Client form_of_url({.system_database_url = url_, .lazy = true});
    const Walk walk = archive::walk(options_.directory, options_.out, options_.sources_only);
    Output output(options_.out);
    output.lock();
    const std::string key = archive_key(options_, output.identity());
    connect(key);
    output.keep();

    log_.emplace(log_path(options_.out));
    reader_.emplace(log_path(options_.out));
    close_books_of_earlier_runs();
    take_plan(make_plan(options_, key, walk, *client_));
    tell_plan(walk);
    if (!plan_.complete) {
        for (const std::string& id : plan_.superseded) client_->cancel_workflow(id);
        if (const int signal = work(); signal != 0) {
            progress_.say("archive: stopped by signal " + std::to_string(signal) +
                          "; the same command again goes on where it was");
            return 128 + signal;
        }
    }
    output.remove_temporaries();
    return report(walk);
}

// The tables are made by an application; a client creates nothing.
void Archiver::connect(const std::string& key) {
    {
        dbos::AppOptions app_options = archive::app_options(url_, key);
        app_options.retry_connection_errors = false;
        dbos::App app(std::move(app_options));
        app.launch();
    }
    client_.emplace(dbos::ClientOptions{.system_database_url = url_,
                                        .application_name = application_name(key),
                                        .log_sink = dbos::stderr_log_sink(dbos::LogLevel::error)});
}

void Archiver::read_log() {
    for (const Record& record : reader_->read()) {
        const bool first = record.event == Event::done && state_.done().count(record.workflow) == 0;
        if (first && planned_.count(record.workflow) != 0) ++files_done_;
        state_.add(record);
    }
}

// We hold the lock, so whatever an earlier run has started is gone, also if nobody was left to write that down.
void Archiver::close_books_of_earlier_runs() {
    read_log();
    const auto processes = state_.processes();
    for (const auto& [name, process] : processes) {
        if (!process.dead) log_->append({.event = Event::gone, .process = name, .pid = process.pid});
    }
    read_log();
}

void Archiver::take_plan(Plan plan) {
    plan_ = std::move(plan);
    for (const SourceFile& file : plan_.tree.files) {
        planned_.insert(file.workflow_id);
        files_done_ += state_.done().count(file.workflow_id);
    }
}

void Archiver::tell_plan(const Walk& walk) {
    progress_.say("archive: " + std::to_string(walk.files.size()) + " files of " +
                  options_.directory.native());
    progress_.say("      to " + options_.out.native());
    const std::size_t workflows = plan_.tree.files.size() + 1;
    if (plan_.complete) {
        progress_.say("all " + std::to_string(workflows) +
                      " workflow ids exist and have ended: nothing is done twice");
    } else if (plan_.known > 0) {
        progress_.say(std::to_string(plan_.known) + " of " + std::to_string(workflows) +
                      " workflow ids exist already: going on where an earlier run was");
    }
}

Progress::Numbers Archiver::numbers(int workers) const {
    return {.files = plan_.tree.files.size(),
            .done = files_done_,
            .executed = state_.executed(),
            .replayed = state_.replayed(),
            .kills = state_.kills(),
            .workers = workers};
}

// The whole job is one workflow; its result is the end. Returns the signal that stopped the run, or 0.
int Archiver::work() {
    // In the demonstration the steps are slow enough to be watched: about fifteen seconds for all of them.
    const auto lanes = long{options_.workers} * kFilesPerWorker;
    const long steps = 4 * static_cast<long>(plan_.tree.files.size()) + 1;
    const milliseconds pace(options_.demo ? std::clamp(15'000 * lanes / steps, 5L, 400L) : 0L);

    Supervisor supervisor({.database_url = url_, .key = plan_.key, .out = options_.out, .pace = pace},
                          options_.workers, options_.restart, *log_);
    auto handle = client_->enqueue(
        ArchiveTree, {.queue_name = tree_queue(plan_.key), .workflow_id = plan_.tree_id}, plan_.tree);
    supervisor.start();
    auto summary = handle.get_result_async();
    KillPlan kills(options_, plan_.tree.files.size(), files_done_);
    while (!summary.ready()) {
        const int signal = signals_.wait(milliseconds(25));
        if (signal == SIGINT || signal == SIGTERM) {
            supervisor.stop();
            progress_.finish();
            return signal;
        }
        supervisor.look_after();
        read_log();
        progress_.show(numbers(supervisor.alive()));
        if (kills.due(files_done_)) kill_workers(supervisor, kills);
    }
    read_log();
    progress_.show(numbers(supervisor.alive()));
    progress_.finish();
    summary.get();  // throws what the workflow failed with
    const bool same = !options_.demo || nothing_done_twice();
    supervisor.stop();
    read_log();
    if (!same) throw std::runtime_error("enqueued again, the finished job ran steps again");
    return 0;
}

void Archiver::kill_workers(Supervisor& supervisor, KillPlan& plan) {
    int killed = 0;
    const int wanted = plan.all() ? supervisor.alive() : 1;
    for (; killed < wanted; ++killed) {
        const std::string told = supervisor.kill_one(state_, [&] { read_log(); });
        if (told.empty()) break;
        progress_.say(told);
    }
    if (killed > 0) plan.carried_out(files_done_);
}

// The same job, enqueued once more while the workers are there: its id exists, so its result is there at once.
bool Archiver::nothing_done_twice() {
    const auto executed = state_.executed();
    auto again = client_->enqueue(
        ArchiveTree, {.queue_name = tree_queue(plan_.key), .workflow_id = plan_.tree_id}, plan_.tree);
    again.get_result();
    read_log();
    progress_.say("enqueued the same job again: the result is there, " +
                  std::to_string(state_.executed() - executed) + " steps ran");
    return state_.executed() == executed;
}

int Archiver::report(const Walk& walk) {
    const Findings findings = verify(plan_, *client_, state_);
    for (const NotArchived& entry : walk.skipped)
        progress_.say("not archived: \"" + entry.path + "\": " + entry.reason);
    for (const std::string& note : findings.notes) progress_.say("note: " + note);
    progress_.say(
        "verification, from the manifest, the objects, the sources, the side log and the database:");
    progress_.say("  " + std::to_string(findings.files) + " files, each once in the manifest; " +
                  std::to_string(findings.archived) + " archived, " + std::to_string(findings.bytes) +
                  " bytes in " + std::to_string(findings.object_bytes) + "; " +
                  std::to_string(findings.rehashed) + " sources read again and found equal");
    progress_.say("  " + std::to_string(findings.steps) + " steps recorded, " +
                  std::to_string(findings.executions) + " executions: " + std::to_string(findings.repeats) +
                  " repeated, each in flight when its process ended; " + std::to_string(state_.replayed()) +
                  " taken from their checkpoints");
    if (findings.violations.empty()) {
        progress_.good("archive: verified " + std::to_string(findings.archived) + " files, " +
                       std::to_string(state_.kills()) + " kills survived");
        return 0;
    }
    constexpr std::size_t kShown = 20;
    for (std::size_t i = 0; i < std::min(kShown, findings.violations.size()); ++i) {
        progress_.bad("violation: " + findings.violations[i]);
    }
    progress_.bad("archive: " + std::to_string(findings.violations.size()) + " violations");
    return 1;
}

}  // namespace

int run(const Options& options) { return Archiver(options).run(); }

}  // namespace archive
