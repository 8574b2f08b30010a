#include "chaos/pg/tours.hpp"

#include <libpq-fe.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "chaos/pg/fleet.hpp"
#include "chaos/pg/proxy.hpp"
#include "chaos/pg/random.hpp"
#include "chaos/pg/server.hpp"
#include "chaos/pg/workload.hpp"
#include "support/tour.hpp"

namespace dbos::chaos {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kUnderWay = 120;  // tours at once
constexpr auto kAtMost = 600s;
constexpr auto kDrain = 180s;
constexpr auto kPatience = 3s;                  // for new crash points
constexpr std::ptrdiff_t kRipe = 20;            // so many are worth a kill
constexpr const char* kLedgerSchema = "tours";  // of the second datasource

void execute(PGconn* connection, const std::string& sql) {
    PGresult* result = PQexec(connection, sql.c_str());
    const bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
    const std::string problem = done ? "" : PQresultErrorMessage(result);
    PQclear(result);
    if (!done) throw std::runtime_error(problem);
}

std::string value_of(PGconn* connection, const std::string& sql) {
    PGresult* result = PQexec(connection, sql.c_str());
    const bool done = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
    const std::string value = done ? PQgetvalue(result, 0, 0) : PQresultErrorMessage(result);
    PQclear(result);
    if (!done) throw std::runtime_error(value);
    return value;
}

/// `place` tells what was written through one datasource from what was written through the other.
std::string ledger(Context& ctx, const PostgresDatasource& shop, const std::string& table,
                   const std::string& place) {
    const std::string mine = "'" + ctx.workflow_id() + "', '" + place + "'";
    for (const char* amount : {"10", "20"}) {
        ctx.transaction(shop, "add", [&](PGconn* connection) {
            execute(connection, "INSERT INTO " + table + " VALUES (" + mine + ", " + amount + ")");
        });
    }
    return ctx.transaction(shop, "sum", [&](PGconn* connection) {
        return value_of(connection,
                        "SELECT sum(amount) FROM " + table + " WHERE (tour, place) = (" + mine + ")");
    });
}

std::string expected_result() { return std::string(test::kTourResult) + ",30"; }

class ToursRun {
   public:
    explicit ToursRun(const TourSettings& settings)
        : settings_(settings),
          random_(settings.seed, 7),
          database_(sql::Backend::postgres),
          server_(database_),
          directory_(make_run_directory("dbos-tours")),
          side_(directory_ + "/side.log"),
          proxy_({parameter(database_.url(), "host"), parameter(database_.url(), "port")}, directory_,
                 settings.seed),
          fleet_([this](std::size_t i) { return command(i); },
                 [this](const std::string& what) { wrong(what); }, side_, timeline_) {}

    int all() {
        fleet_.start_all();
        if (!test::eventually([&] { return side_.count("up ") >= Fleet::kWorkers; }, 60)) {
            std::fprintf(stderr, "tours: the workers do not come up; their logs are in %s\n",
                         directory_.c_str());
            return 2;
        }
        server_.open()->query("CREATE TABLE @tour_ledger (tour text, place text, amount int)", {},
                              sql::Access::write);
        Client client(client_options());
        proxy_.faults(true);
        fleet_.excuse_launches(true);
        const auto limit = Clock::now() + kAtMost;
        while (points_.size() < settings_.crash_points && Clock::now() < limit) {
            top_up(client);
            const std::size_t worker = ripest();
            if (random_.one_in(8)) {
                stops_ += fleet_.stop(worker, milliseconds(2 * kLeaseMs)) ? 1 : 0;
            } else {
                kill(worker);
            }
        }
        if (points_.size() < settings_.crash_points)
            wrong("only " + std::to_string(points_.size()) + " crash points were reached");
        proxy_.faults(false);
        fleet_.peace();
        const auto drained = Clock::now() + kDrain;
        while (under_way() > 0 && Clock::now() < drained) {
            fleet_.revive();
            std::this_thread::sleep_for(200ms);
        }
        judge();
        fleet_.shut_down();
        return report();
    }

   private:
    std::vector<std::string> command(std::size_t i) const {
        const std::string url = proxied_url(database_.url(), proxy_.port(), directory_, i % 2 == 0);
        return {"--tour-worker", url, database_.schema(), side_.path(),
                directory_ + "/worker" + std::to_string(i) + ".log"};
    }
    ClientOptions client_options() const {
        ClientOptions options;
        options.system_database_url = database_.url();
        options.dbos_system_schema = database_.schema();
        options.application_name = kApplication;
        return options;
    }
    void wrong(const std::string& what) {
        constexpr std::size_t kShown = 20;
        if (++wrong_ <= kShown) std::printf("tours: wrong: %s\n", what.c_str());
    }

    std::size_t under_way() const {
        return static_cast<std::size_t>(
            server_.open()
                ->query("SELECT count(*) FROM @workflow_status WHERE name IN ('tour', 'guest') AND status IN"
                        " ('ENQUEUED', 'PENDING', 'DELAYED')"
                        " AND NOT (status = 'DELAYED' AND workflow_uuid LIKE '%-held')")
                .at(0, 0)
                .integer());
    }
    void top_up(Client& client) {
        for (std::size_t now = under_way(); now < kUnderWay; ++now) {
            const std::string id = "tour-" + std::to_string(tours_++);
            client.enqueue(test::Tour, {.queue_name = test::kTourQueue, .workflow_id = id}, 0);
        }
    }

    std::string executor_of(std::size_t worker) const {
        std::string executor;
        for (const std::string& line : side_.lines()) {
            std::istringstream words(line);
            std::string up, who;
            int number = 0;
            if (words >> up >> number >> who && up == "up" && number == fleet_.pid(worker)) executor = who;
        }
        return executor;
    }

    using Point = std::pair<std::string, std::int64_t>;  // tour, number of its records
    /// Where the tours of an executor stand.
    std::vector<Point> places(const std::string& executor) const {
        const auto rows = server_.open()->query(
            "SELECT w.workflow_uuid, (SELECT count(*) FROM @operation_outputs o WHERE o.workflow_uuid ="
            " w.workflow_uuid) FROM @workflow_status w WHERE w.name = 'tour' AND w.status = 'PENDING' AND"
            " w.executor_id = '" +
            executor + "'");
        std::vector<Point> places;
        for (std::size_t i = 0; i < rows.size(); ++i)
            places.emplace_back(rows.at(i, 0).string(), rows.at(i, 1).integer());
        return places;
    }

    /// Waits until some worker's tours stand at many places that no kill has met, so that kills follow the work and not the
    /// clock; then, or when that takes too long, the worker that has most of them.
    std::size_t ripest() {
        for (const auto until = Clock::now() + kPatience;; std::this_thread::sleep_for(50ms)) {
            fleet_.revive();
            std::size_t best = random_.below(Fleet::kWorkers);
            std::ptrdiff_t most = 0;
            for (std::size_t i = 0; i < Fleet::kWorkers; ++i) {
                if (fleet_.pid(i) == 0) continue;
                const auto fresh = std::ranges::count_if(
                    places(executor_of(i)), [&](const Point& point) { return !points_.contains(point); });
                if (fresh > most) std::tie(best, most) = std::pair(i, fresh);
            }
            if (most >= kRipe || Clock::now() >= until) return best;
        }
    }

    /// Kills a worker, and notes where its tours stand: what is committed now is all that they will have.
    void kill(std::size_t worker) {
        const std::string executor = executor_of(worker);
        if (!fleet_.kill(worker, milliseconds(random_.between(0, 500)))) return;
        ++kills_;
        for (Point& point : places(executor)) points_.insert(std::move(point));
        constexpr std::size_t kSaid = 20;
        if (kills_ % kSaid == 0)
            std::fprintf(stderr, "tours: %zu crash points by %zu kills, %zu tours\n", points_.size(), kills_,
                         tours_);
    }

    // --- the end

    /// A query that must find nothing.
    void none(const std::string& what, const std::string& sql) {
        const auto rows = server_.open()->query(sql);
        for (std::size_t i = 0; i < rows.size(); ++i) wrong(what + ": " + rows.at(i, 0).string());
    }
    void judge() {
        const auto rows = server_.open()->query(
            "SELECT w.workflow_uuid, w.status, coalesce(o.output, o.error, '') FROM @workflow_status w LEFT "
            "JOIN"
            " @workflow_output o ON o.workflow_uuid = w.workflow_uuid WHERE w.name = 'tour'");
        if (rows.size() != tours_)
            wrong(std::to_string(tours_) + " tours were accepted, and " + std::to_string(rows.size()) +
                  " have a row");
        for (std::size_t i = 0; i < rows.size(); ++i) {
            if (rows.at(i, 1).string() != "SUCCESS" ||
                rows.at(i, 2).string() != '"' + expected_result() + '"')
                wrong(rows.at(i, 0).string() + " ended as " + rows.at(i, 1).string() + " " +
                      rows.at(i, 2).string());
        }
        none("a workflow is stranded",
             "SELECT workflow_uuid || ' ' || status FROM @workflow_status WHERE status NOT IN ('SUCCESS')");
        none("a transaction was not done exactly once",
             "SELECT w.workflow_uuid FROM @workflow_status w WHERE w.name = 'tour' AND (SELECT"
             " array_agg(place || ' ' || amount ORDER BY place, amount) FROM @tour_ledger l WHERE l.tour ="
             " w.workflow_uuid) IS DISTINCT FROM ARRAY['shop 10', 'shop 20', 'system 10', 'system 20']");
        none("messages were not sent and received exactly once",
             "SELECT w.workflow_uuid FROM @workflow_status w WHERE w.name = 'tour' AND (SELECT"
             " array_agg(message || consumed ORDER BY message) FROM @notifications n WHERE "
             "n.destination_uuid ="
             " w.workflow_uuid) IS DISTINCT FROM ARRAY['\"m1\"true', '\"m2\"true', '\"m3\"true', "
             "'\"m4\"true']");
        none("a stream was not written exactly once",
             "SELECT w.workflow_uuid FROM @workflow_status w WHERE w.name = 'tour' AND (SELECT count(*) FROM"
             " @streams s WHERE s.workflow_uuid = w.workflow_uuid) <> 4");
        none("a schedule is left", "SELECT schedule_name FROM @workflow_schedules");
        none("a deleted fork is left",
             "SELECT workflow_uuid FROM @workflow_status WHERE workflow_uuid LIKE '%-forked'");
        none("a child was started twice, or not at all",
             "SELECT w.workflow_uuid FROM @workflow_status w WHERE w.name = 'tour' AND (SELECT count(*) FROM"
             " @workflow_status c WHERE c.parent_workflow_id = w.workflow_uuid) <> " +
                 std::to_string(test::kTourChildren));
    }

    int report() const {
        if (wrong_ == 0) {
            std::filesystem::remove_all(directory_);
        } else {
            std::printf("tours: failed with --seed %llu; the logs are in %s\n",
                        static_cast<unsigned long long>(settings_.seed), directory_.c_str());
        }
        std::printf("tours: %zu tours, %zu crash points, %zu kills, %zu stops, %llu cuts, %zu wrong\n",
                    tours_, points_.size(), kills_, stops_, static_cast<unsigned long long>(proxy_.cuts()),
                    wrong_);
        return wrong_ == 0 ? 0 : 1;
    }

    const TourSettings settings_;
    Random random_;
    test::TestDatabase database_;
    const Server server_;
    const std::string directory_;
    const test::SideLog side_;
    Timeline timeline_;
    Proxy proxy_;
    Fleet fleet_;
    std::set<Point> points_;
    std::size_t tours_ = 0, kills_ = 0, stops_ = 0, wrong_ = 0;
};

}  // namespace

int run_tours(const TourSettings& settings) { return ToursRun(settings).all(); }

int work_on_tours(const std::vector<std::string>& arguments) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    AppOptions options;
    options.name = kApplication;
    options.system_database_url = arguments.at(1);
    options.dbos_system_schema = arguments.at(2);
    options.lease_duration = milliseconds(kLeaseMs);
    options.lease_renewal = milliseconds(kRenewalMs);
    options.log_sink = [log = test::SideLog(arguments.at(4))](const LogRecord& record) {
        log.write(to_logfmt(record));
    };
    App app(options);
    const auto system = app.system_datasource<PostgresDatasource>();
    const PostgresDatasource shop(options.system_database_url, {.schema = kLedgerSchema});
    const std::string table = '"' + options.dbos_system_schema + "\".tour_ledger";
    const test::TourStep step = [](StepContext& context, const std::string& value, int failures) {
        if (context.attempt() <= failures) throw std::domain_error("bad luck");
        return value;
    };
    app.implement(test::Tour, [&](Context& ctx, std::int64_t) {
        return test::tour(ctx, step, [&](Context& context) {
            const std::string in_system = ledger(context, system, table, "system");
            return in_system + "," + ledger(context, shop, table, "shop");
        });
    });
    app.implement(test::Guest, [&](Context& ctx, std::int64_t) { return test::guest(ctx, step); });
    app.register_queue({.name = test::kTourQueue});
    app.register_queue({.name = test::kHeldQueue});
    try {
        app.launch();
    } catch (const DatabaseError& error) {  // whoever runs the workers starts another one
        test::SideLog(arguments.at(4)).write(std::string("launch failed: ") + error.what());
        if (error.transient()) return kNotLaunched;
        throw;
    }
    test::SideLog(arguments.at(3)).write("up " + std::to_string(getpid()) + " " + app.executor_id());
    app.wait();
    return 0;
}

}  // namespace dbos::chaos
