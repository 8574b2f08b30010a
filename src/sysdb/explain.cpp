// What a claim of one workflow would find, read in one snapshot: for explanations.
#include <limits>

#include "sysdb/claim_sql.hpp"
#include "sysdb/database.hpp"
#include "sysdb/explain.hpp"
#include "sysdb/listing.hpp"

namespace dbos::sysdb {
namespace {

constexpr Dialects kNow{{"explain_now", "SELECT " DBOS_CLOCK_PG, sql::Access::read},
                        {"explain_now", "SELECT 0", sql::Access::read}};

constexpr sql::Statement kRow{"explain_row",
                              "SELECT w.status, w.queue_name, w.queue_partition_key, w.application_version, "
                              "w.application_name, w.executor_id,"
                              " w.priority, w.created_at, w.delay_until_epoch_ms, w.started_at_epoch_ms"
                              " FROM @workflow_status w WHERE w.workflow_uuid = $1",
                              sql::Access::read};

// The table is made by the first executor of this library.
constexpr Dialects kLeasesExist{
    {"explain_leases_exist",
     "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
     " WHERE n.nspname = $1::text AND c.relname = 'dbos_cpp_executors')",
     sql::Access::read},
    {"explain_leases_exist",
     "SELECT $1 IS NOT NULL AND EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'dbos_cpp_executors')",
     sql::Access::read}};

constexpr sql::Statement kLiving{
    "explain_living",
    "SELECT executor_id, version FROM @dbos_cpp_executors WHERE expires_at > $2"
    " AND (CAST($1 AS TEXT) IS NULL OR application_name = CAST($1 AS TEXT)) ORDER BY executor_id",
    sql::Access::read};

// The limits count what the claims count: all names and versions, of the owner and of nobody.
#define DBOS_COUNTED(alias)                                                                \
    "(CAST($2 AS TEXT) IS NULL OR " alias ".application_name = CAST($2 AS TEXT) OR " alias \
    ".application_name "                                                                   \
    "IS NULL)"

constexpr sql::Statement kRunning{
    "explain_running",
    "SELECT p.executor_id, count(*), sum(CASE WHEN p.queue_partition_key = CAST($3 AS TEXT) THEN 1 ELSE 0 "
    "END)"
    " FROM @workflow_status p WHERE p.queue_name = $1 AND p.status = 'PENDING' AND p.status IN ('ENQUEUED', "
    "'PENDING') AND " DBOS_COUNTED("p") " GROUP BY p.executor_id",
    sql::Access::read};

// The start whose leaving the window frees one: of `max` allowed ones the one before the last `max - 1`.
#define DBOS_OLDEST(more)                                                                                    \
    "SELECT s.started_at_epoch_ms FROM @workflow_status s WHERE s.queue_name = $1 AND s.rate_limited = "     \
    "TRUE AND s.status NOT IN ('ENQUEUED', 'DELAYED') AND s.started_at_epoch_ms > $3 AND " DBOS_COUNTED("s") \
        more " ORDER BY s.started_at_epoch_ms DESC LIMIT 1 OFFSET $4"
constexpr sql::Statement kOldest{"explain_oldest", DBOS_OLDEST(""), sql::Access::read};
constexpr sql::Statement kOldestOfKey{"explain_oldest_of_key", DBOS_OLDEST(" AND s.queue_partition_key = $5"),
                                      sql::Access::read};

#define DBOS_AHEAD(more)                                                                             \
    "SELECT count(*) FROM (SELECT 1 FROM @workflow_status a WHERE a.queue_name = $1 AND a.status = " \
    "'ENQUEUED' AND a.status IN ('ENQUEUED', 'PENDING') AND " DBOS_COUNTED("a") more                 \
        " AND (a.priority < $3 OR (a.priority = $3 AND a.created_at < $4)) LIMIT 1000) x"
constexpr sql::Statement kAhead{"explain_ahead", DBOS_AHEAD(""), sql::Access::read};
constexpr sql::Statement kAheadOfKey{"explain_ahead_of_key", DBOS_AHEAD(" AND a.queue_partition_key = $5"),
                                     sql::Access::read};

class Facts {
   public:
    Facts(SystemDatabase::Core& core, sql::Connection& connection, const std::string& id)
        : core_(core), connection_(connection), id_(id) {}

    std::optional<QueueFacts> run() {
        const Layout layout = core_.layout(connection_);
        if (!layout.queues || !layout.ownership || !layout.partition_limits) {
            throw ConfigError(
                "explain: this system database (version " + std::to_string(layout.version) +
                ") is from before queues had owners and partitions; migrate it with a current release");
        }
        const bool leases = leases_exist();
        sql::Transaction transaction(connection_, sql::Isolation::read_only);
        facts_.now_ms = core_.backend == sql::Backend::postgres
                            ? connection_.execute(kNow.postgres, {}).at(0, 0).integer()
                            : core_.clock.now_ms();
        if (!read_row()) return std::nullopt;
        if (leases) read_living();
        if (facts_.status == "ENQUEUED" && facts_.queue_name) read_queue(layout);
        transaction.rollback();
        return std::move(facts_);
    }

   private:
    bool leases_exist() {
        return connection_
            .execute(kLeasesExist.on(core_.backend), {std::string_view(core_.options.open.schema)})
            .at(0, 0)
            .boolean();
    }

    bool read_row() {
        const sql::Result row = connection_.execute(kRow, {std::string_view(id_)});
        if (row.empty()) return false;
        facts_.status = row.at(0, 0).string();
        facts_.queue_name = row.at(0, 1).optional_text();
        facts_.partition_key = row.at(0, 2).optional_text();
        facts_.version = row.at(0, 3).optional_text();
        facts_.application_name = row.at(0, 4).optional_text();
        facts_.executor_id = row.at(0, 5).optional_text();
        priority_ = row.at(0, 6).integer();
        created_at_ = row.at(0, 7).integer();
        facts_.delay_until_ms = row.at(0, 8).optional_integer();
        facts_.started_at_ms = row.at(0, 9).optional_integer();
        return true;
    }

    void read_living() {
        const sql::Result rows =
            connection_.execute(kLiving, {sql::opt(facts_.application_name), facts_.now_ms});
        for (std::size_t row = 0; row < rows.size(); ++row)
            facts_.living.push_back(
                {.executor_id = rows.at(row, 0).string(), .version = rows.at(row, 1).string()});
    }

    void read_queue(const Layout& layout) {
        facts_.queue = queue_row(connection_, layout, *facts_.queue_name);
        if (facts_.queue) facts_.limits = limits_of(*facts_.queue);
        const sql::Result latest = connection_.execute(kLatestVersion, {sql::opt(facts_.application_name)});
        if (!latest.empty()) facts_.latest_version = latest.at(0, 0).string();

        const std::string_view queue = *facts_.queue_name;
        const sql::Result running = connection_.execute(
            kRunning, {queue, sql::opt(facts_.application_name), sql::opt(facts_.partition_key)});
        for (std::size_t row = 0; row < running.size(); ++row) {
            const std::int64_t all = running.at(row, 1).integer();
            const std::int64_t of_key = running.at(row, 2).optional_integer().value_or(0);
            facts_.running += all;
            facts_.running_of_key += of_key;
            for (LivingExecutor& executor : facts_.living) {
                if (running.at(row, 0).null() || executor.executor_id != running.at(row, 0).text()) continue;
                executor.running = all;
                executor.running_of_key = of_key;
            }
        }
        if (facts_.limits.rate) facts_.budget_at_ms = next_start(*facts_.limits.rate, false);
        if (facts_.limits.partition_rate && facts_.partition_key)
            facts_.key_budget_at_ms = next_start(*facts_.limits.partition_rate, true);

        const bool by_key = facts_.limits.partitioned && facts_.partition_key;
        sql::Params params{queue, sql::opt(facts_.application_name), priority_, created_at_};
        if (by_key) params.emplace_back(std::string_view(*facts_.partition_key));
        facts_.ahead = connection_.execute(by_key ? kAheadOfKey : kAhead, params).at(0, 0).integer();
    }

    /// When the rate allows another start, if not now.
    std::optional<Millis> next_start(const StartRate& rate, bool of_key) {
        if (rate.max <= 0) return std::numeric_limits<Millis>::max();
        sql::Params params{std::string_view(*facts_.queue_name), sql::opt(facts_.application_name),
                           facts_.now_ms - rate.period_ms, std::int64_t{rate.max - 1}};
        if (of_key) params.emplace_back(std::string_view(*facts_.partition_key));
        const sql::Result oldest = connection_.execute(of_key ? kOldestOfKey : kOldest, params);
        if (oldest.empty()) return std::nullopt;
        return oldest.at(0, 0).integer() + rate.period_ms;
    }

    SystemDatabase::Core& core_;
    sql::Connection& connection_;
    const std::string& id_;
    QueueFacts facts_;
    std::int64_t priority_ = 0;
    Millis created_at_ = 0;
};

}  // namespace

std::optional<QueueFacts> SystemDatabase::queue_facts(const std::string& workflow_id) {
    return core_->with_connection(
        [&](sql::Connection& connection) { return Facts(*core_, connection, workflow_id).run(); });
}

}  // namespace dbos::sysdb
