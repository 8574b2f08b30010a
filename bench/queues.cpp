// dbos_bench_queues: how fast queues are worked off, and what it costs to wait for work.
//
//   dbos_bench_queues URL [--jobs 100000] [--only lockstep,drain,stranded,ties,sqlite,idle]
//
// URL is a PostgreSQL server; databases of its own are made on it. For the statements a second of an idle process the server must have
// been started with shared_preload_libraries = pg_stat_statements, as `make bench-queues` does.
#include <fcntl.h>
#include <libpq-fe.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench.hpp"
#include "core/histogram.hpp"
#include "dbos/dbos.hpp"
#include "runtime/app_impl.hpp"
#include "sysdb/records.hpp"
#include "sysdb/system_database.hpp"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto Job = dbos::workflow<std::int64_t(std::int64_t)>("job");
constexpr const char* kQueue = "jobs";
constexpr int kWorkers = 4;
constexpr int kIdleQueues = 35;
constexpr int kManyQueues = 500;

double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double at_share(std::vector<double> values, double share) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

/// A plain connection, for what no process of ours does.
class Sql {
   public:
    explicit Sql(const std::string& url) : connection_(PQconnectdb(url.c_str()), PQfinish) {
        if (PQstatus(connection_.get()) != CONNECTION_OK)
            throw std::runtime_error(PQerrorMessage(connection_.get()));
        run("SET client_min_messages = warning");
    }
    /// The first column of the first row; "" without rows.
    std::string run(const std::string& text) {
        const std::unique_ptr<PGresult, void (*)(PGresult*)> result(PQexec(connection_.get(), text.c_str()),
                                                                    PQclear);
        const auto status = PQresultStatus(result.get());
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
            throw std::runtime_error(text + ": " + PQerrorMessage(connection_.get()));
        if (PQntuples(result.get()) == 0 || PQgetisnull(result.get(), 0, 0)) return "";
        return PQgetvalue(result.get(), 0, 0);
    }
    double number(const std::string& text) {
        const std::string value = run(text);
        return value.empty() ? 0 : std::stod(value);
    }

   private:
    std::unique_ptr<PGconn, void (*)(PGconn*)> connection_;
};

/// A database that goes with the object.
class Database {
   public:
    Database(const std::string& server, const std::string& name) : server_(server), name_(name) {
        bench::drop_database(server_, name_);
        url_ = bench::create_database(server_, name_);
    }
    ~Database() { bench::drop_database(server_, name_); }
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;
    const std::string& url() const { return url_; }

   private:
    std::string server_, name_, url_;
};

std::unique_ptr<dbos::App> make_app(const std::string& url) {
    auto app = std::make_unique<dbos::App>(dbos::AppOptions{.name = "bench", .system_database_url = url});
    app->implement(Job,
                   [](dbos::Context& ctx, std::int64_t n) { return ctx.step("add", [n] { return n + 1; }); });
    return app;
}

/// A worker process, until it is told to end by SIGTERM; then it tells how long its claims took (counts of a histogram).
int work(const std::string& url) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto app = make_app(url);
    app->register_queue({.name = kQueue});
    app->launch();
    std::printf("up\n");
    std::fflush(stdout);
    app->wait();
    const auto claims = app->impl().executor.claimer().claim_times();
    for (const std::uint64_t count : claims.counts()) std::printf("%" PRIu64 " ", count);
    std::printf("\n");
    return 0;
}

class Worker {
   public:
    explicit Worker(const std::string& url) {
        if (::pipe2(ends_, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
        pid_ = ::fork();
        if (pid_ == 0) {
            ::dup2(ends_[1], STDOUT_FILENO);
            ::execl("/proc/self/exe", "dbos_bench_queues", url.c_str(), "--worker", nullptr);
            ::_exit(127);
        }
        ::close(ends_[1]);
    }
    ~Worker() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
        ::close(ends_[0]);
    }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    std::string line() const {
        std::string text;
        for (char c = 0;;) {
            if (::read(ends_[0], &c, 1) != 1) throw std::runtime_error("a worker has ended");
            if (c == '\n') return text;
            text += c;
        }
    }
    /// Adds how long its claims took.
    void end(dbos::core::Histogram& claims) {
        ::kill(pid_, SIGTERM);
        std::istringstream counts(line());
        claims.add(std::vector<std::uint64_t>(std::istream_iterator<std::uint64_t>(counts), {}));
        ::waitpid(std::exchange(pid_, -1), nullptr, 0);
    }

   private:
    pid_t pid_ = -1;
    int ends_[2] = {-1, -1};
};

/// The p99 of the claims of all of them, in ms.
double end_all(const std::vector<std::unique_ptr<Worker>>& workers) {
    dbos::core::Histogram claims;
    for (const auto& worker : workers) worker->end(claims);
    return claims.quantile_ms(0.99);
}

/// A file that goes with the object.
class File {
   public:
    explicit File(const std::string& name)
        : directory_(std::filesystem::temp_directory_path() / (name + '-' + std::to_string(::getpid()))) {
        std::filesystem::create_directories(directory_);
    }
    ~File() {
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    std::string url() const { return "sqlite:///" + (directory_ / "queues.sqlite").string(); }

   private:
    const std::filesystem::path directory_;
};

void enqueue(const std::string& url, std::int64_t jobs) {
    constexpr std::int64_t kAtOnce = 5000;
    dbos::Client client({.system_database_url = url, .application_name = "bench"});
    for (std::int64_t done = 0; done < jobs;) {
        std::vector<dbos::EnqueueRequest> requests;
        for (; done < jobs && std::ssize(requests) < kAtOnce; ++done)
            requests.push_back(dbos::enqueue_request(Job, {.queue_name = kQueue}, done));
        client.enqueue_bulk(requests);
    }
}

/// 500 jobs on a queue that lets 20 run at once: from the first enqueue until all have ended.
double lockstep(const std::string& server) {
    constexpr int kJobs = 500;
    const Database database(server, "dbos_bench_lockstep");
    const auto app = make_app(database.url());
    app->register_queue({.name = kQueue, .worker_concurrency = 20});
    app->launch();
    std::vector<double> rounds;
    for (int round = 0; round < 7; ++round) {
        std::vector<dbos::EnqueueRequest> requests;
        for (int n = 0; n < kJobs; ++n)
            requests.push_back(dbos::enqueue_request(Job, {.queue_name = kQueue}, n));
        const auto begin = Clock::now();
        auto handles = app->client().enqueue_bulk(requests);
        for (auto& handle : handles) handle.get_result();
        rounds.push_back(since(begin));
    }
    return bench::median(rounds);
}

struct Drain {
    double rate = 0;       // jobs a second, from the first claim to the last end
    double claim_p99 = 0;  // ms, of the claims of all processes
    double pause = 0;      // seconds: the longest that a process did not begin a job while some were left
};

/// `jobs` one-step workflows, worked off by four processes. `before` prepares the table.
Drain drain(const std::string& server, std::int64_t jobs, const std::function<void(Sql&)>& before) {
    const Database database(server, "dbos_bench_drain");
    {
        const auto app = make_app(database.url());  // makes the tables
        app->register_queue({.name = kQueue});
        app->launch();
    }
    Sql sql(database.url());
    enqueue(database.url(), jobs);
    before(sql);
    sql.run("VACUUM ANALYZE dbos.workflow_status");
    sql.run("CHECKPOINT");
    std::vector<std::unique_ptr<Worker>> workers;
    for (int n = 0; n < kWorkers; ++n) workers.push_back(std::make_unique<Worker>(database.url()));
    for (const auto& worker : workers) worker->line();
    // Looked for from the end of the index on, which costs nothing until the last ones run.
    // The queued ones are looked for from the end of the index on, which costs nothing until the last ones are claimed.
    const auto some = [](const std::string& status) {
        return "EXISTS (SELECT 1 FROM (SELECT 1 FROM dbos.workflow_status WHERE queue_name = 'jobs' AND "
               "status = '" +
               status +
               "' AND status IN ('ENQUEUED', 'PENDING') AND application_version IS DISTINCT FROM 'another'"
               " ORDER BY priority DESC, created_at DESC LIMIT 1) x)";
    };
    const std::string left = "SELECT (" + some("ENQUEUED") + " OR " + some("PENDING") + ")::int";
    while (sql.number(left) > 0) std::this_thread::sleep_for(100ms);
    Drain result;
    const std::string ended = " FROM dbos.workflow_status WHERE name = 'job' AND status = 'SUCCESS'";
    result.rate = static_cast<double>(jobs) * 1000 /
                  sql.number("SELECT max(completed_at) - min(started_at_epoch_ms)" + ended);
    result.pause =
        sql.number(
            "SELECT max(next - at) FROM (SELECT started_at_epoch_ms AS at, lead(started_at_epoch_ms) OVER ("
            "PARTITION BY executor_id ORDER BY started_at_epoch_ms) AS next" +
            ended + ") x") /
        1000;
    result.claim_p99 = end_all(workers);
    return result;
}

/// The same on one SQLite file; from the moment when all processes are up.
Drain drain_file(std::int64_t jobs) {
    const File file("dbos_bench_queues");
    {
        const auto app = make_app(file.url());
        app->register_queue({.name = kQueue});
        app->launch();
    }
    enqueue(file.url(), jobs);
    dbos::Client client({.system_database_url = file.url(), .application_name = "bench"});
    const auto left = [&client] {
        return !client.list_queued_workflows({.limit = 1, .sort_desc = true, .load_input = false}).empty();
    };
    std::vector<std::unique_ptr<Worker>> workers;
    for (int n = 0; n < kWorkers; ++n) workers.push_back(std::make_unique<Worker>(file.url()));
    for (const auto& worker : workers) worker->line();
    const auto begin = Clock::now();
    while (left()) std::this_thread::sleep_for(50ms);
    Drain result;
    result.rate = static_cast<double>(jobs) / since(begin);
    result.claim_p99 = end_all(workers);
    return result;
}

/// The same rows by four connections that do nothing else: claims of 100, one step and one outcome each.
double bare(const std::string& server, std::int64_t jobs) {
    const Database database(server, "dbos_bench_bare");
    {
        const auto app = make_app(database.url());
        app->register_queue({.name = kQueue});
        app->launch();
    }
    enqueue(database.url(), jobs);
    Sql sql(database.url());
    sql.run("VACUUM ANALYZE dbos.workflow_status");
    sql.run("CHECKPOINT");
    const auto begin = Clock::now();
    std::vector<std::thread> threads;
    for (int n = 0; n < kWorkers; ++n) {
        threads.emplace_back([&, n] {
            Sql own(database.url());
            own.run("SET jit = off");
            own.run("SET enable_seqscan = off");
            own.run("SET enable_hashjoin = off");
            own.run("SET enable_mergejoin = off");
            const std::string token = std::to_string(n);
            own.run(
                "PREPARE claim(text) AS WITH cand AS MATERIALIZED (SELECT w.workflow_uuid FROM "
                "dbos.workflow_status w"
                " WHERE w.queue_name = 'jobs' AND w.status = 'ENQUEUED' AND w.name = ANY (ARRAY['job'])"
                " ORDER BY w.priority, w.created_at LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED), upd AS ("
                " UPDATE dbos.workflow_status w SET status = 'PENDING', executor_id = $1, "
                "application_version = 'v',"
                " started_at_epoch_ms = t.now, updated_at = t.now, rate_limited = FALSE,"
                " recovery_attempts = w.recovery_attempts + 1, owner_xid = $1"
                " FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) t"
                " WHERE w.workflow_uuid = ANY (ARRAY(SELECT workflow_uuid FROM cand)) RETURNING "
                "w.workflow_uuid)"
                " SELECT array_agg(u.workflow_uuid), array_agg(i.inputs) FROM upd u LEFT JOIN "
                "dbos.workflow_input i"
                " ON i.workflow_uuid = u.workflow_uuid");
            own.run(
                "PREPARE step(text[]) AS INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, "
                "function_name,"
                " output, started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name)"
                " SELECT w.workflow_uuid, 1, 'add', '2', 1, 2, 'portable_json', 'bench' FROM "
                "dbos.workflow_status w"
                " WHERE w.workflow_uuid = ANY ($1) ORDER BY w.workflow_uuid FOR NO KEY UPDATE");
            own.run(
                "PREPARE outcome(text[]) AS WITH u AS (UPDATE dbos.workflow_status w SET status = 'SUCCESS', "
                "owner_xid ="
                " NULL, deduplication_id = NULL, updated_at = t.now, completed_at = t.now FROM (SELECT"
                " (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) t WHERE w.workflow_uuid = "
                "ANY ($1)"
                " RETURNING w.workflow_uuid) INSERT INTO dbos.workflow_output (workflow_uuid, output)"
                " SELECT workflow_uuid, '2' FROM u");
            for (;;) {
                const std::string ids = own.run("EXECUTE claim('" + token + "')");
                if (ids.empty()) return;
                own.run("EXECUTE step('" + ids + "')");
                own.run("EXECUTE outcome('" + ids + "')");
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    return static_cast<double>(jobs) / since(begin);
}

struct Idle {
    double statements = 0;  // a second, of one process with 35 idle queues
    double start_p99 = 0;   // s, from the enqueue of a client that notifies nobody to the claim
    double tick_p50 = 0;    // ms, with 500 queues
};

Idle idle(const std::string& server) {
    const Database database(server, "dbos_bench_idle");
    Sql sql(database.url());
    const bool counted =
        sql.run("SHOW shared_preload_libraries").find("pg_stat_statements") != std::string::npos;
    if (counted) sql.run("CREATE EXTENSION pg_stat_statements");
    const auto app = make_app(database.url());
    for (int n = 0; n < kIdleQueues; ++n) app->register_queue({.name = "idle" + std::to_string(n)});
    app->launch();
    std::this_thread::sleep_for(3s);  // the launch's own work
    Idle result;
    if (counted) {
        constexpr double kSeconds = 20;
        const std::string calls =
            "SELECT sum(calls) FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE "
            "datname ="
            " current_database()) AND query NOT LIKE '%pg_stat_statements%'";
        const double before = sql.number(calls);
        std::this_thread::sleep_for(std::chrono::duration<double>(kSeconds));
        result.statements = (sql.number(calls) - before) / kSeconds;
    }
    // As the Python client does it: rows alone.
    std::mt19937 random(1);
    std::vector<double> waits;
    for (int n = 0; n < 60; ++n) {
        std::this_thread::sleep_for(std::chrono::milliseconds(random() % 400));
        const std::string id = "python-" + std::to_string(n);
        sql.run(
            "BEGIN; INSERT INTO dbos.workflow_status (workflow_uuid, status, name, queue_name, "
            "application_name,"
            " serialization, created_at, updated_at, recovery_attempts, priority) SELECT '" +
            id + "', 'ENQUEUED', 'job', 'idle" + std::to_string(n % kIdleQueues) +
            "', 'bench', 'portable_json', t.now, t.now, 0, 0 FROM (SELECT (extract(epoch FROM "
            "clock_timestamp()) *"
            " 1000)::bigint AS now) t; INSERT INTO dbos.workflow_input (workflow_uuid, inputs) VALUES ('" +
            id + R"(', '{"positionalArgs":[1]}'); COMMIT)");
    }
    std::this_thread::sleep_for(3s);
    result.start_p99 =
        sql.number(
            "SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY coalesce(started_at_epoch_ms - created_at,"
            " 1e9)) FROM dbos.workflow_status WHERE workflow_uuid LIKE 'python-%'") /
        1000;

    dbos::sysdb::DatabaseOptions with;
    with.open.url = dbos::sql::Url::parse(database.url());
    dbos::sysdb::SystemDatabase system(std::move(with));
    dbos::sysdb::TickRequest request{.now_ms = 0,
                                     .application_name = "bench",
                                     .application_version = "bench-1",
                                     .is_latest_version = true,
                                     .workflow_names = {"job"}};
    for (int n = 0; n < kManyQueues; ++n) {
        dbos::sysdb::QueueRow row;
        row.name = "many" + std::to_string(n);
        row.application_name = "bench";
        system.upsert_queue(row, true);
        request.queues.push_back(row.name);
    }
    std::vector<double> ticks;
    for (int n = 0; n < 300; ++n) {
        const auto begin = Clock::now();
        system.tick(request);
        ticks.push_back(since(begin) * 1000);
        std::this_thread::sleep_for(5ms);
    }
    result.tick_p50 = at_share(ticks, 0.5);
    return result;
}

int run(const std::string& server, std::int64_t jobs, const std::string& only) {
    const auto wanted = [&](const char* part) {
        return only.empty() || only.find(part) != std::string::npos;
    };
    double locked = 0, floor = 0;
    Drain plain;
    Idle waits;
    if (wanted("lockstep")) {
        locked = lockstep(server);
        std::printf("  500 jobs, 20 at a time: %.2f s\n", locked);
    }
    if (wanted("drain") || wanted("stranded") || wanted("ties")) {
        floor = bare(server, jobs);
        std::printf("  bare statements, 4 connections: %.0f jobs/s\n", floor);
        plain = drain(server, jobs, [](Sql&) {});
        const double again = bare(server, jobs);  // what a machine does drifts while it is measured
        std::printf("  bare statements, again: %.0f jobs/s\n", again);
        floor = (floor + again) / 2;
        std::printf(
            "  %lld jobs, 4 processes: %.0f/s (%.0f %% of bare), claim p99 %.0f ms, longest pause %.2f s\n",
            static_cast<long long>(jobs), plain.rate, 100 * plain.rate / floor, plain.claim_p99, plain.pause);
        std::fflush(stdout);
    }
    const auto compared = [&](const char* what, const Drain& with) {
        std::printf("  %s: %.0f/s (%.0f %% of the rate without), claim p99 %.0f ms, longest pause %.2f s\n",
                    what, with.rate, 100 * with.rate / plain.rate, with.claim_p99, with.pause);
        std::fflush(stdout);
    };
    if (wanted("stranded")) {
        compared("100 000 rows of another version at the head", drain(server, jobs, [](Sql& sql) {
                     sql.run(
                         "INSERT INTO dbos.workflow_status (workflow_uuid, status, name, queue_name, "
                         "application_name,"
                         " application_version, created_at, updated_at, recovery_attempts, priority)"
                         " SELECT 'stranded-' || g, 'ENQUEUED', 'job', 'jobs', 'bench', 'another', g, g, 0, 0"
                         " FROM generate_series(1, 100000) g");
                 }));
    }
    if (wanted("ties")) {
        compared("one created_at for all", drain(server, jobs, [](Sql& sql) {
                     sql.run("UPDATE dbos.workflow_status SET created_at = 1000");
                 }));
    }
    if (wanted("sqlite")) {
        const std::int64_t some = jobs / 5;
        const Drain file = drain_file(some);
        std::printf("  %lld jobs on one SQLite file, 4 processes: %.0f/s, claim p99 %.0f ms\n",
                    static_cast<long long>(some), file.rate, file.claim_p99);
        std::fflush(stdout);
    }
    if (wanted("idle")) {
        waits = idle(server);
        std::printf(
            "  35 idle queues: %.1f statements/s; an enqueue that notifies nobody starts within %.2f s "
            "(p99); "
            "tick with 500 queues %.1f ms (p50)\n",
            waits.statements, waits.start_p99, waits.tick_p50);
    }
    std::printf(
        "queues: 500 jobs/20 slots %.2f s; %lldk jobs 4 processes %.0f/s (%.0f %% of bare SQL); claim p99 "
        "%.0f ms; "
        "idle %.1f statements/s\n",
        locked, static_cast<long long>(jobs / 1000), plain.rate, floor > 0 ? 100 * plain.rate / floor : 0,
        plain.claim_p99, waits.statements);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(
            stderr,
            "usage: dbos_bench_queues URL [--jobs N] [--only lockstep,drain,stranded,ties,sqlite,idle]\n");
        return 2;
    }
    std::int64_t jobs = 100'000;
    std::string only;
    bool worker = false;
    for (int n = 2; n < argc; ++n) {
        const std::string option = argv[n];
        worker = worker || option == "--worker";
        if (n + 1 == argc) break;
        if (option == "--jobs") jobs = std::atoll(argv[n + 1]);
        if (option == "--only") only = argv[n + 1];
    }
    try {
        return worker ? work(argv[1]) : run(argv[1], jobs, only);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "dbos_bench_queues: %s\n", error.what());
        return 1;
    }
}
