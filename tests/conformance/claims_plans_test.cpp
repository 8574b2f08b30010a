// The plans of every statement about queues, claims, leases, recovery, versions, ticks and firings: prepared while the tables are
// empty (a prepared statement keeps that plan), looked at with 100 000 rows (safety 54). No table scan, no index that is read
// whole where a place in it is known.
#include <cctype>
#include <set>

#include "queue_fixture.hpp"
#include "sql/text.hpp"
#include "sysdb/firing.hpp"

namespace dbos::sysdb::test {
namespace {

using namespace std::chrono_literals;

struct Captured {
    std::string name;
    std::string text;
    std::vector<std::string> literals;
};

std::string quoted(std::string_view text) {
    std::string result = "'";
    for (const char c : text) result += c == '\'' ? std::string("''") : std::string(1, c);
    return result + "'";
}

struct Literal {
    std::string operator()(std::monostate) const { return "NULL"; }
    std::string operator()(bool value) const { return value ? "TRUE" : "FALSE"; }
    std::string operator()(std::int64_t value) const { return "'" + std::to_string(value) + "'"; }
    std::string operator()(double value) const { return std::to_string(value); }
    std::string operator()(std::string_view value) const { return quoted(value); }
    std::string operator()(const sql::TextArray& values) const {
        return array(values, [](std::string_view text) { return quoted(text); }, "text");
    }
    std::string operator()(const sql::IntArray& values) const {
        return array(
            values, [](std::int64_t number) { return "'" + std::to_string(number) + "'::bigint"; }, "bigint");
    }
    std::string operator()(const sql::BoolArray& values) const {
        return array(values, [](bool value) { return std::string(value ? "TRUE" : "FALSE"); }, "boolean");
    }
    template <class Array, class F>
    std::string array(const Array& values, F&& literal, const char* type) const {
        std::string result = "ARRAY[";
        for (const auto& value : values) {
            if (result.back() != '[') result += ", ";
            result += value ? literal(*value) : std::string("NULL");
        }
        return result + "]::" + type + "[]";
    }
};

class Plans : public QueueTest {
   public:
    /// Every operation once, on whatever stands in the database.
    void operate(SystemDatabase& mine) {
        auto tick = tick_of({"q", "r", "k"});
        tick.limits["q"].concurrency = 10;
        tick.limits["k"].partitioned = true;
        mine.tick(tick);
        mine.claim(claim_of({{"q", 50}, {"r", 50}}));
        mine.claim_shared({.base = claim_of({{"q", 10}}, "t-2"), .concurrency = 10});
        mine.claim_shared({.base = claim_of({{"q", 10}}, "t-4"),
                           .concurrency = 30'000,
                           .rate = StartRate{.max = 40'000, .period_ms = 60'000}});
        QueueLimits keyed;
        keyed.partitioned = true;
        keyed.partition_concurrency = 2;
        keyed.partition_rate = StartRate{.max = 2, .period_ms = 60'000};
        mine.claim_partitions(
            {.base = claim_of({{"k", 10}}, "t-5"), .limits = keyed, .running = {}, .signals = 0});
        keyed.concurrency = 100;
        mine.claim_partitions(
            {.base = claim_of({{"k", 10}}, "t-6"), .limits = keyed, .running = {}, .signals = 0});
        mine.enqueue_due(now(), "app");
        mine.cancel_overdue(now(), "app");
        const std::vector<std::string> names{"job"};
        LeaseRow lease{.application_name = "app",
                       .executor_id = "me",
                       .incarnation = "me-1",
                       .version = "v1",
                       .host_key = {}};
        mine.hand_back_orphans(lease, [](std::vector<Fence>&) {}, names, 1);
        lease.executor_id = "dead";
        lease.incarnation = "dead-1";
        mine.take_lease(lease, std::nullopt, 7s);
        mine.renew_lease(lease, 7s);
        mine.sweep(lease, "app", "v1");
        mine.pending_executors("app", "v1");
        mine.expire_lease(lease);
        mine.prune_leases("app");
        mine.active_versions("app");
        mine.fire(firing({"tick-1"}));
        mine.fire(firing({"tick-2", "tick-3"}));
    }

    /// Ticks of the seeded schedule.
    static Firing firing(const std::vector<std::string>& ids) {
        Firing firing;
        firing.schedule.schedule_id = "schedule-1";
        firing.schedule.schedule_name = "s";
        firing.schedule.workflow_name = "job";
        firing.schedule.schedule = "0 * * * *";
        firing.schedule.context = "null";
        firing.application_name = "app";
        for (const std::string& id : ids) {
            Firing::Tick tick;
            tick.row.workflow_id = id;
            tick.row.token = "token-" + id;
            tick.row.status = "ENQUEUED";
            tick.row.name = "job";
            tick.row.inputs = "[]";
            tick.row.serialization = "portable_json";
            tick.row.queue_name = "ticks";
            tick.row.application_name = "app";
            tick.row.schedule_name = "s";
            tick.ids = {id, id + "-of-typescript", id + "-of-go"};
            firing.ticks.push_back(std::move(tick));
        }
        firing.newest = "2026-03-01T05:00:00+00:00";
        firing.newest_ms = *fired_instant(firing.newest);
        return firing;
    }

    void seed() {
        for (const char* name : {"v0", "v1"}) {
            insert("application_versions", {{"version_id", "id-" + std::string(name)},
                                            {"version_name", name},
                                            {"version_timestamp", std::string(name) == "v1" ? "9" : "5"},
                                            {"created_at", "1"},
                                            {"application_name", "app"}});
        }
        insert("workflow_schedules", {{"schedule_id", "schedule-1"},
                                      {"schedule_name", "s"},
                                      {"workflow_name", "job"},
                                      {"schedule", "0 * * * *"},
                                      {"status", "ACTIVE"},
                                      {"context", "null"},
                                      {"application_name", "app"}});
        workflow("seed", {{"queue_name", "seeded"}});
        for (const std::string key : {"a", "b", "c", "d", "e"})
            workflow("seed-" + key, {{"queue_name", "k"}, {"queue_partition_key", key}});
        workflow(
            "seed-claimed",
            {{"status", "PENDING"}, {"executor_id", "me"}, {"owner_xid", "t"}, {"started_at_epoch_ms", "5"}});
        workflow("seed-due", {{"status", "DELAYED"}, {"delay_until_epoch_ms", "5"}});
        workflow("seed-late", {{"workflow_deadline_epoch_ms", "5"}});
    }

    void load() {
        const std::string finished = "9000000";
        workflows("done", 60'000, 1000, 1,
                  {{"status", "SUCCESS"},
                   {"started_at_epoch_ms", "7"},
                   {"completed_at", finished},
                   {"executor_id", "me"}});
        workflows("q", 20'000, 1000, 1);
        workflows("r", 5'000, 1000, 1, {{"queue_name", "r"}});
        workflows("k", 20'000, 1000, 1, {{"queue_name", "k"}});
        run("UPDATE @workflow_status SET queue_partition_key = 'key' || created_at % 500 WHERE queue_name = "
            "'k'");
        workflows("p", 10'000, 1000, 1,
                  {{"status", "PENDING"},
                   {"executor_id", "peer"},
                   {"owner_xid", "x"},
                   {"started_at_epoch_ms", "8"}});
        workflows("late", 5'000, 1000, 1,
                  {{"status", "DELAYED"},
                   {"delay_until_epoch_ms", "99999999999999"},
                   {"workflow_deadline_epoch_ms", "99999999999999"}});
        run("INSERT INTO @operation_outputs (workflow_uuid, function_id, function_name, output, "
            "retention_timestamp) "
            "SELECT workflow_uuid, 0, 'step', '1', 1000 FROM @workflow_status WHERE status = 'SUCCESS'");
        run("INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp) "
            "SELECT workflow_uuid, '[]', 1000 FROM @workflow_status WHERE workflow_uuid NOT LIKE 'seed%'");
    }

    std::vector<Captured> capture() {
        std::vector<Captured> captured;
        std::set<const sql::Statement*> known;
        auto hooks = std::make_shared<HookedConnection::Hooks>();
        int lost = 0;
        hooks->lose_ack = [&](const std::string& what) { return what == "claim_histories" && lost++ == 0; };
        hooks->before = [&](const sql::Statement& statement, const sql::Params& params) {
            if (!known.insert(&statement).second) return;
            Captured entry{
                statement.name, sql::expand(statement.text, options().url.backend, database().schema()), {}};
            for (const auto& param : params) entry.literals.push_back(std::visit(Literal{}, param));
            captured.push_back(std::move(entry));
        };
        auto& mine = process(hooks);
        seed();
        run("UPDATE @workflow_status SET queue_name = 'q' WHERE workflow_uuid = 'seed'");
        operate(mine);
        // The statements of the rarer ways: around somebody's lock, a head of others.
        mine.core().claims->contended("q", true, seam::boot_now() - 2s);
        run("UPDATE @workflow_status SET status = 'ENQUEUED', queue_name = 'q', name = 'job' WHERE "
            "workflow_uuid LIKE 'seed%'");
        mine.claim_shared({.base = claim_of({{"q", 10}}, "t-3"), .concurrency = 10});
        workflows("head", 300, 5, 1, {{"name", "elsewhere"}, {"queue_name", "h"}});
        mine.tick(tick_of({"h"}));
        run("DELETE FROM @workflow_status");
        run("DELETE FROM @workflow_input");
        run("DELETE FROM @dbos_cpp_executors");
        return captured;
    }

    std::string explain(sql::Connection& connection, const std::string& prepared, const Captured& entry,
                        const std::string& how = "EXPLAIN ") {
        sql::Result rows;
        if (postgres()) {
            std::string call = how + "EXECUTE " + prepared;
            for (std::size_t n = 0; n < entry.literals.size(); ++n)
                call += (n == 0 ? "(" : ", ") + entry.literals[n];
            rows = connection.query(call + (entry.literals.empty() ? "" : ")"), {}, sql::Access::write);
        } else {
            rows = connection.query("EXPLAIN QUERY PLAN " + entry.text, sql::Params(entry.literals.size()),
                                    sql::Access::read);
        }
        std::string plan;
        for (std::size_t row = 0; row < rows.size(); ++row)
            plan += rows.at(row, rows.columns() - 1).string() + "\n";
        return plan;
    }

    static bool needed_pending(const std::string& name) {
        return name == "orphans_page" || name == "sweep" || name == "pending_executors";
    }

    /// The index that a statement stands or falls with.
    static void expect_indexes(const std::string& name, const std::string& plan) {
        const std::map<std::string, std::string> needed{
            {"claim", "idx_workflow_status_in_flight_v2"},
            {"claim_candidates", "idx_workflow_status_in_flight_v2"},
            {"claim_shared_candidates", "idx_workflow_status_in_flight_v2"},
            {"claim_shared_head", "idx_workflow_status_in_flight_v2"},
            {"claim_budget", "idx_workflow_status_rate_limited"},
            {"claim_running", "idx_workflow_status_in_flight_v2"},
            {"claim_starts", "idx_workflow_status_rate_limited"},
            {"claim_keys", "idx_workflow_status_partition_dequeue_v3"},
            {"claim_keys_running", "idx_workflow_status_partition_dequeue_v3"},
            {"claim_keys_starts", "idx_workflow_status_rate_limited"},
            {"claim_key_first", "idx_workflow_status_partition_dequeue_v3"},
            {"claim_key_next", "idx_workflow_status_partition_dequeue_v3"},
            {"claim_key_running", "idx_workflow_status_partition_dequeue_v3"},
            {"claim_key_rows", "idx_workflow_status_partition_dequeue_v3"},
            {"tick_probe", "idx_workflow_status_in_flight_v2"},
            {"tick_running", "idx_workflow_status_in_flight_v2"},
            {"tick_full", "idx_workflow_status_in_flight_v2"},
            {"scan_first", "idx_workflow_status_in_flight_v2"},
            {"scan_last", "idx_workflow_status_in_flight_v2"},
            {"scan_passed", "idx_workflow_status_in_flight_v2"},
            {"scan_queues", "idx_workflow_status_in_flight_v2"},
            {"claimed_with_token", "idx_workflow_status_started_at"},
            {"orphans_recent", "idx_workflow_status_started_at"},
            {"orphans_page", "idx_workflow_status_pending"},
            {"sweep", "idx_workflow_status_pending"},
            {"pending_executors", "idx_workflow_status_pending"},
            {"enqueue_due", "idx_workflow_status_delayed"},
            {"overdue", "idx_workflow_status_deadline"}};
        // An index that holds only what is PENDING looks as good as any other while it is empty.
        const bool all_pending = plan.find("idx_workflow_status_pending") != std::string::npos;
        EXPECT_TRUE(!all_pending || name == "lease_prune" || name == "version_active" || needed_pending(name))
            << name << "\n"
            << plan;
        const auto found = needed.find(name);
        if (found == needed.end()) return;
        EXPECT_NE(plan.find(found->second), std::string::npos)
            << name << " does not use " << found->second << "\n"
            << plan;
    }

    /// A tick costs as much in a large database as in a small one: the look for its ids, and one row in each index.
    static void expect_few_pages(const std::string& name, const std::string& plan) {
        if (name != "committer_fire_look" && name != "committer_fire_row" && name != "schedule_fired") return;
        EXPECT_NE(plan.find("actual time"), std::string::npos) << plan;
        if (name == "committer_fire_row") {  // it came as far as to write
            EXPECT_NE(plan.find("Insert on workflow_status"), std::string::npos) << plan;
            EXPECT_EQ(plan.find("never executed"), std::string::npos) << plan;
        }
        const std::size_t first = plan.find("Buffers: shared");  // of the whole statement
        ASSERT_NE(first, std::string::npos) << plan;
        const std::string line = plan.substr(first, plan.find('\n', first) - first);
        std::int64_t pages = 0;
        for (const char* kind : {"hit=", "read="}) {
            const std::size_t at = line.find(kind);
            if (at != std::string::npos) pages += std::stoll(line.substr(at + std::string(kind).size()));
        }
        EXPECT_GT(pages, 0) << plan;
        EXPECT_LE(pages, 200) << name << "\n" << plan;
    }

    /// PostgreSQL: rows that an index delivered for nothing. 100 000 rows stand in the tables.
    void expect_little_read(sql::Connection& connection, const std::vector<Captured>& captured) {
        const std::set<std::string> whole{"pending_executors", "version_active", "lease_prune",
                                          "orphans_recent", "sweep"};
        for (std::size_t n = 0; n < captured.size(); ++n) {
            if (whole.contains(captured[n].name))
                continue;  // read all PENDING, or all that started since, by design
            connection.begin();
            const std::string plan =
                explain(connection, "p" + std::to_string(n), captured[n], "EXPLAIN (ANALYZE, BUFFERS) ");
            connection.rollback();
            expect_few_pages(captured[n].name, plan);
            for (std::size_t at = plan.find("Rows Removed by"); at != std::string::npos;
                 at = plan.find("Rows Removed by", at + 1)) {
                const std::size_t colon = plan.find(':', at);
                EXPECT_LE(std::stoll(plan.substr(colon + 1)), 1000) << captured[n].name << "\n" << plan;
            }
        }
    }
};
DBOS_FOR_EVERY_DATABASE(Plans);

/// "workflow_status" and the like in a line of a plan.
bool names_a_large_table(const std::string& line) {
    return line.find("workflow_status") != std::string::npos ||
           line.find("operation_outputs") != std::string::npos ||
           line.find("workflow_input") != std::string::npos;
}

TEST_P(Plans, No_statement_reads_a_table_from_end_to_end) {
    const std::vector<Captured> captured = capture();
    std::set<std::string> names;
    for (const auto& entry : captured) names.insert(entry.name);
    const std::vector<std::string> expected = postgres() ? std::vector<std::string>{"tick",
                                                                                    "scan_queues",
                                                                                    "claim",
                                                                                    "claim_histories",
                                                                                    "claimed_with_token",
                                                                                    "claim_shared_candidates",
                                                                                    "claim_shared_take",
                                                                                    "claim_shared_head",
                                                                                    "claim_shared_lockable",
                                                                                    "claim_budget",
                                                                                    "claim_keys",
                                                                                    "claim_keys_running",
                                                                                    "claim_keys_starts",
                                                                                    "claim_partition_lock",
                                                                                    "claim_partition_take",
                                                                                    "enqueue_due",
                                                                                    "overdue",
                                                                                    "cancel_overdue",
                                                                                    "orphans_recent",
                                                                                    "orphans_page",
                                                                                    "hand_back",
                                                                                    "sweep",
                                                                                    "sweep_judged",
                                                                                    "pending_executors",
                                                                                    "lease_take",
                                                                                    "lease_renew",
                                                                                    "lease_expire",
                                                                                    "lease_prune",
                                                                                    "version_active",
                                                                                    "committer_fire_look",
                                                                                    "committer_fire_row",
                                                                                    "schedule_fired"}
                                                         : std::vector<std::string>{"tick_state",
                                                                                    "tick_probe",
                                                                                    "tick_full",
                                                                                    "scan_first",
                                                                                    "scan_last",
                                                                                    "scan_passed",
                                                                                    "claim_candidates",
                                                                                    "claim_take",
                                                                                    "claim_inputs",
                                                                                    "claim_histories",
                                                                                    "claimed_with_token",
                                                                                    "claim_running",
                                                                                    "claim_starts",
                                                                                    "claim_key_first",
                                                                                    "claim_key_next",
                                                                                    "claim_key_running",
                                                                                    "claim_key_rows",
                                                                                    "claim_keys_starts",
                                                                                    "tick_running",
                                                                                    "enqueue_due",
                                                                                    "overdue",
                                                                                    "cancel_overdue",
                                                                                    "orphans_recent",
                                                                                    "orphans_page",
                                                                                    "hand_back",
                                                                                    "sweep",
                                                                                    "pending_executors",
                                                                                    "lease_prune",
                                                                                    "version_active",
                                                                                    "committer_fire_look",
                                                                                    "committer_fire_row",
                                                                                    "schedule_fired"};
    for (const std::string& name : expected) EXPECT_TRUE(names.contains(name)) << name << " was not captured";

    auto pinned = options();
    pinned.pinned_plans = true;
    auto connection = sql::open(pinned);
    if (postgres()) {
        // Known to be empty is worse than unknown: then a join that reads a whole index looks cheapest.
        for (const char* table :
             {"workflow_status", "operation_outputs", "workflow_input", "dbos_cpp_executors"})
            connection->query("VACUUM @" + std::string(table), {}, sql::Access::write);
        for (std::size_t n = 0; n < captured.size(); ++n) {  // planned while empty
            const std::string name = "p" + std::to_string(n);
            connection->script("PREPARE " + name + " AS " + captured[n].text);
            explain(*connection, name, captured[n]);
        }
    }
    load();
    for (std::size_t n = 0; n < captured.size(); ++n) {
        const std::string plan = explain(*connection, "p" + std::to_string(n), captured[n]);
        std::string line;
        for (const char c : plan + "\n") {
            if (c != '\n') {
                line += c;
                continue;
            }
            if (names_a_large_table(line)) {
                // SQLite says SCAN also of a partial index that is read whole: all PENDING rows, all DELAYED rows.
                const bool bad = postgres()
                                     ? line.find("Seq Scan") != std::string::npos
                                     : line.find("SCAN") != std::string::npos &&
                                           line.find("idx_workflow_status_pending") == std::string::npos &&
                                           line.find("idx_workflow_status_delayed") == std::string::npos &&
                                           line.find("idx_workflow_status_in_flight_v2") == std::string::npos;
                EXPECT_FALSE(bad) << captured[n].name << "\n" << plan;
            }
            line.clear();
        }
        expect_indexes(captured[n].name, plan);
    }
    if (postgres()) expect_little_read(*connection, captured);
}

}  // namespace
}  // namespace dbos::sysdb::test
