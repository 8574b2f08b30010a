// Claims from a partitioned queue: a pass looks at some partition keys from where the last pass ended, in one statement that
// drops the keys whose limits are used up, and takes the first rows of the others; what it finds nothing in costs no
// transaction (safety 55).
//
// Keys come in a random order where a budget is short, so that a flooded key starves nobody; and passes go round, so that no
// key waits behind the others. With partition_concurrency 1 the first row of a key is the one that is due, whatever its name:
// if its workflow is not implemented here, the key is left to those who have it, else its order would be lost.
//
// PostgreSQL: the lock of the queue as for every shared limit (shared_claims.cpp), the rows locked around what others hold, and
// then counts in new statements. A key of which a row was locked by somebody else is left alone, as NOWAIT does in the other
// SDKs. Limits of the whole queue beside those of partitions: SERIALIZABLE, because the other SDKs' claims of other keys lock no
// row of ours (safety 6). What runs of a key is counted whoever owns it.
#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/claim_state.hpp"
#include "sysdb/database.hpp"

namespace dbos::sysdb {

namespace {

constexpr std::int64_t kMostKeys = 1000;  // of one pass
constexpr std::int64_t kFewestKeys = 64;
constexpr std::int64_t kMostOfKey = 20;  // rows of one key in a pass
constexpr int kSerializableAttempts = 3;
constexpr std::int64_t kNoLimit = std::numeric_limits<std::int32_t>::max();

#define DBOS_KEY_PENDING_PG(pending)                                           \
    "@workflow_status p WHERE p.queue_name = $1::text AND p.status = " pending \
    "::text"                                                                   \
    " AND p.status IN ('ENQUEUED', 'PENDING') AND p.queue_partition_key = k.key"

// $1 queue, $2 application, $3 version, $4 latest, $5 names, $6 first key, $7 keys, $8 rows of a key, $9 limit of a key,
// $10 'PENDING', $11 whatever the name. One key more than asked for is where the next pass starts.
constexpr sql::Statement kLookPostgres{
    "claim_keys",
    "WITH RECURSIVE keys(key, n) AS ("
    "  (SELECT w.queue_partition_key, 1::bigint FROM @workflow_status w WHERE w.queue_name = $1::text"
    "    AND w.status = 'ENQUEUED' AND w.queue_partition_key >= $6::text ORDER BY w.queue_partition_key LIMIT 1)"
    "  UNION ALL"
    "  SELECT (SELECT w.queue_partition_key FROM @workflow_status w WHERE w.queue_name = $1::text"
    "    AND w.status = 'ENQUEUED' AND w.queue_partition_key > k.key ORDER BY w.queue_partition_key LIMIT 1), k.n + 1"
    "  FROM keys k WHERE k.key IS NOT NULL AND k.n <= $7::bigint) "
    "SELECT k.n, k.key, c.workflow_uuid, c.name, c.priority, c.created_at, p.n "
    "FROM keys k CROSS JOIN LATERAL ("
    "  SELECT CASE WHEN $9::bigint IS NULL OR k.n > $7 THEN 0 ELSE (SELECT count(*) FROM (SELECT 1 FROM "
    DBOS_KEY_PENDING_PG("$10") " LIMIT $9) x) END AS n OFFSET 0) p "
    "LEFT JOIN LATERAL ("
    "  SELECT w.workflow_uuid, w.name, w.priority, w.created_at FROM @workflow_status w"
    "  WHERE w.queue_name = $1 AND w.status = 'ENQUEUED' AND w.queue_partition_key = k.key"
    "   AND (w.application_version = $3::text OR (w.application_version IS NULL AND $4::boolean))"
    "   AND ($2::text IS NULL OR w.application_name = $2 OR w.application_name IS NULL)"
    "   AND ($11::boolean OR w.name = ANY ($5::text[]))"
    "  ORDER BY w.priority, w.created_at, w.workflow_uuid"
    "  LIMIT CASE WHEN k.n > $7 THEN 0 ELSE GREATEST(0, LEAST($8::bigint, COALESCE($9 - p.n, $8))) END) c ON TRUE "
    "WHERE k.key IS NOT NULL",
    sql::Access::read};

constexpr sql::Statement kTryQueueLock{"claim_queue_try_lock",
                                       "SELECT pg_try_advisory_xact_lock(hashtextextended('dbos_cpp_claim:' "
                                       "|| $1::text || ':' || $2::text, 0))"};

constexpr sql::Statement kLockRows{
    "claim_partition_lock",
    "SELECT a.id, w.status, w.queue_name, w.queue_partition_key FROM unnest($1::text[]) AS a(id) LEFT JOIN "
    "LATERAL ("
    "  SELECT w.status, w.queue_name, w.queue_partition_key FROM @workflow_status w"
    "  WHERE w.workflow_uuid = a.id FOR NO KEY UPDATE SKIP LOCKED) w ON TRUE"};

constexpr sql::Statement kPendingOfKeys{
    "claim_keys_running",
    "SELECT k.key, (SELECT count(*) FROM " DBOS_KEY_PENDING_PG("$3") ") FROM unnest($2::text[]) AS k(key)",
    sql::Access::read};

// Starts of the period with their keys, newest first, and the time.
constexpr Dialects kStartsOfKeys{
    {"claim_keys_starts",
     "WITH " DBOS_TIME_PG
     " SELECT s.queue_partition_key, s.started_at_epoch_ms, (SELECT now FROM t) FROM " DBOS_STARTS_PG(
         "$3") " AND s.queue_partition_key IS NOT NULL ORDER BY s.started_at_epoch_ms DESC",
     sql::Access::read},
    {"claim_keys_starts",
     "SELECT queue_partition_key, started_at_epoch_ms, $4 FROM workflow_status WHERE queue_name = $1"
     " AND rate_limited = TRUE AND started_at_epoch_ms > $4 - $3 AND +status NOT IN ('ENQUEUED', 'DELAYED')"
     " AND ($2 IS NULL OR application_name = $2 OR application_name IS NULL) AND queue_partition_key IS NOT "
     "NULL"
     " ORDER BY started_at_epoch_ms DESC",
     sql::Access::read}};

// The rows are locked and have been looked at under the lock.
constexpr sql::Statement kTakePostgres{
    "claim_partition_take",
    "WITH " DBOS_TIME_PG ", upd AS ("
    DBOS_TAKEN_PG("$3::text", "$4::text", "$2::text", "$6::boolean", "$5::text")
    "  WHERE w.workflow_uuid = ANY ($1::text[])"
    "  RETURNING " DBOS_CLAIM_COLUMNS("w.") ") "
    "SELECT u.*, " DBOS_INPUT_COLUMNS_PG
    " FROM upd u" DBOS_WITH_INPUTS_PG("u")};

#define DBOS_LITE_QUEUED "queue_name = $1 AND status = 'ENQUEUED' AND status IN ('ENQUEUED', 'PENDING')"
constexpr sql::Statement kFirstKeyLite{
    "claim_key_first",
    "SELECT queue_partition_key FROM workflow_status WHERE " DBOS_LITE_QUEUED
    " AND queue_partition_key >= $2 ORDER BY queue_partition_key LIMIT 1",
    sql::Access::read};
constexpr sql::Statement kNextKeyLite{
    "claim_key_next",
    "SELECT queue_partition_key FROM workflow_status WHERE " DBOS_LITE_QUEUED
    " AND queue_partition_key > $2 ORDER BY queue_partition_key LIMIT 1",
    sql::Access::read};
constexpr sql::Statement kKeyRunningLite{
    "claim_key_running",
    "SELECT count(*) FROM workflow_status WHERE queue_name = $1 AND status = 'PENDING'"
    " AND status IN ('ENQUEUED', 'PENDING') AND queue_partition_key = $2",
    sql::Access::read};
constexpr sql::Statement kKeyRowsLite{
    "claim_key_rows",
    "SELECT workflow_uuid, name, priority, created_at FROM workflow_status WHERE " DBOS_LITE_QUEUED
    " AND queue_partition_key = $2 AND (application_version = $3 OR (application_version IS NULL AND $4))"
    " AND ($5 IS NULL OR application_name = $5 OR application_name IS NULL)"
    " AND ($6 OR name IN (SELECT value FROM json_each($7)))"
    " ORDER BY priority, created_at, workflow_uuid LIMIT $8",
    sql::Access::read};

struct Row {
    std::int64_t priority = 0;
    std::int64_t created_at = 0;
    std::string id;
    friend auto operator<=>(const Row&, const Row&) = default;
};

struct Key {
    std::string key;
    std::int64_t running = 0;
    std::vector<Row> rows;  // the first of it
};

/// The starts of a period: how many of a key, and when that many have left it.
class Starts {
   public:
    void add(const std::string& key, Millis started) { instants_[key].push_back(started); }
    std::int64_t of(const std::string& key) const {
        const auto found = instants_.find(key);
        return found == instants_.end() ? 0 : std::ssize(found->second);
    }
    /// When a key that has used up its starts has one again.
    Millis back_at(const std::string& key, const StartRate& rate) const {
        const auto& newest = instants_.at(key);
        return newest[static_cast<std::size_t>(std::max(rate.max, 1)) - 1] + rate.period_ms;
    }
    Millis now = 0;

   private:
    std::map<std::string, std::vector<Millis>> instants_;  // newest first
};

/// What a pass saw.
struct Look {
    std::vector<Key> keys;
    std::string next;  // the key behind them; empty: there is none
    Starts starts;
};

struct Chosen {
    std::string key;
    std::string id;
};

struct Choice {
    std::vector<Chosen> rows;
    bool left = false;                   // rows that no limit but the budget of this claim kept back
    std::optional<Millis> back_in = {};  // of the first key that has used up its starts
};

class PartitionClaim {
   public:
    PartitionClaim(SystemDatabase::Core& core, const PartitionClaimRequest& request)
        : core_(core),
          request_(request),
          limits_(request.limits),
          queue_(request.base.queues.front()),
          walk_(core.claims->walk(queue_.name)),
          strict_(limits_.partition_concurrency == 1 && !seam::planted(seam::Bug::head_by_name)),
          names_(request.base.workflow_names.begin(), request.base.workflow_names.end()) {
        budget_ = std::min<std::int64_t>(queue_.limit, request.base.max_rows);
        if (core.backend == sql::Backend::sqlite && core.claims->peers())
            budget_ = std::min<std::int64_t>(budget_, kSharedFileClaim);
    }

    PartitionClaimResult run(sql::Connection& connection) {
        for (int attempt = 1;; ++attempt) {
            try {
                return connection.backend() == sql::Backend::postgres ? on_postgres(connection)
                                                                      : on_sqlite(connection);
            } catch (const DatabaseError& error) {
                if (!met_others(error)) throw;
                if (error.sqlstate() == "40001" && attempt < kSerializableAttempts) continue;
                return {
                    .workflows = {}, .contended = true, .more = false, .budget_in = {}, .key_budget_in = {}};
            }
        }
    }

   private:
    bool serializable() const { return limits_.queue_wide(); }

    QueueBudget wide(sql::Connection& connection, Millis now) const {
        if (!limits_.queue_wide()) return {.free = kNoLimit, .back_in = {}};
        return queue_budget(connection, request_.base, limits_.concurrency, limits_.rate, now);
    }

    std::int64_t keys_wanted(std::int64_t budget) const {
        return std::clamp(4 * budget, kFewestKeys, kMostKeys);
    }
    /// More of a key would not be taken by one claim.
    std::int64_t rows_wanted(std::int64_t budget) const {
        std::int64_t rows = std::min(budget, kMostOfKey);
        if (limits_.partition_worker_concurrency)
            rows = std::min<std::int64_t>(rows, *limits_.partition_worker_concurrency);
        if (limits_.partition_rate) rows = std::min<std::int64_t>(rows, limits_.partition_rate->max);
        return strict_ ? std::min<std::int64_t>(rows, 1) : rows;
    }

    /// Of a key of which `running` are PENDING, from no limit but its own.
    std::int64_t free_of(const std::string& key, std::int64_t running, const Starts& starts) const {
        std::int64_t free = kNoLimit;
        if (limits_.partition_concurrency) free = *limits_.partition_concurrency - running;
        if (limits_.partition_worker_concurrency) {
            const auto here = request_.running.find(key);
            free = std::min<std::int64_t>(free, *limits_.partition_worker_concurrency -
                                                    (here == request_.running.end() ? 0 : here->second));
        }
        if (limits_.partition_rate) free = std::min(free, limits_.partition_rate->max - starts.of(key));
        return free;
    }

    /// The first of each key, the second of each key, …
    Choice choose(const Look& look, std::int64_t budget) const {
        Choice choice;
        struct Open {
            const Key* key;
            std::int64_t free;
        };
        std::vector<Open> open;
        std::int64_t rows = 0;
        for (const Key& key : look.keys) {
            const std::int64_t free = free_of(key.key, key.running, look.starts);
            if (limits_.partition_rate && look.starts.of(key.key) >= limits_.partition_rate->max &&
                limits_.partition_rate->max > 0) {
                const Millis back = look.starts.back_at(key.key, *limits_.partition_rate) - look.starts.now;
                choice.back_in = std::min(choice.back_in.value_or(back), back);
            }
            if (free <= 0 || key.rows.empty()) continue;
            open.push_back({&key, std::min<std::int64_t>(free, std::ssize(key.rows))});
            rows += open.back().free;
            choice.left = choice.left || free > std::ssize(key.rows);  // it may have further ones
        }
        if (strict_) choice.left = false;
        if (rows > budget) {
            choice.left = true;
            for (std::size_t n = open.size(); n > 1; --n)
                std::swap(open[n - 1], open[seam::random_u64() % n]);
        }
        for (std::int64_t place = 0; budget > 0; ++place) {
            bool any = false;
            for (const Open& one : open) {
                if (place >= one.free || budget <= 0) continue;
                choice.rows.push_back({one.key->key, one.key->rows[static_cast<std::size_t>(place)].id});
                --budget;
                any = true;
            }
            if (!any) break;
        }
        return choice;
    }

    /// The pass is over: where the next one starts, and whether one is worth while.
    bool go_on(const Look& look, bool left) {
        ClaimState::Walk next{.from = look.next,
                              .left = walk_.left || left,
                              .signals = walk_.from.empty() ? request_.signals : walk_.signals};
        // What was enqueued since the round began may stand at keys that it has passed.
        const bool more = !look.next.empty() || next.left || next.signals != request_.signals;
        if (look.next.empty()) next.left = false;
        core_.claims->walked(queue_.name, std::move(next));
        return more;
    }

    void add_row(Key& key, std::string id, const std::string& name, std::int64_t priority,
                 std::int64_t created_at) const {
        if (strict_ && !names_.contains(name)) {
            seam::reach(seam::Situation::head_of_others);
            return;
        }
        key.rows.push_back({priority, created_at, std::move(id)});
    }

    // ------------------------------------------------------------------------------------------------ PostgreSQL

    Look look_postgres(sql::Connection& connection, std::int64_t budget) const {
        const ClaimRequest& base = request_.base;
        const std::int64_t keys = keys_wanted(budget);
        const sql::Result rows = connection.execute(
            kLookPostgres,
            {std::string_view(queue_.name), sql::opt(base.application_name),
             std::string_view(base.application_version), base.is_latest_version,
             text_array(base.workflow_names), std::string_view(walk_.from), keys, rows_wanted(budget),
             limits_.partition_concurrency ? sql::Param(std::int64_t{*limits_.partition_concurrency})
                                           : sql::Param(),
             kPending, strict_});
        std::map<std::int64_t, Key> by_place;
        Look look;
        for (std::size_t row = 0; row < rows.size(); ++row) {
            const std::int64_t place = rows.at(row, 0).integer();
            if (place > keys) {
                look.next = rows.at(row, 1).string();
                continue;
            }
            Key& key = by_place[place];
            key.key = rows.at(row, 1).string();
            key.running = rows.at(row, 6).integer();
            if (rows.at(row, 2).null()) continue;
            add_row(key, rows.at(row, 2).string(), rows.at(row, 3).string(), rows.at(row, 4).integer(),
                    rows.at(row, 5).integer());
        }
        for (auto& [place, key] : by_place) {
            std::ranges::sort(key.rows);
            look.keys.push_back(std::move(key));
        }
        read_starts(connection, look.starts, 0);
        return look;
    }

    void read_starts(sql::Connection& connection, Starts& starts, Millis now) const {
        if (!limits_.partition_rate) return;
        sql::Params params{std::string_view(queue_.name), sql::opt(request_.base.application_name),
                           limits_.partition_rate->period_ms};
        if (core_.backend == sql::Backend::sqlite) params.emplace_back(now);
        const sql::Result rows = connection.execute(kStartsOfKeys.on(core_.backend), params);
        for (std::size_t row = 0; row < rows.size(); ++row) {
            starts.add(rows.at(row, 0).string(), rows.at(row, 1).integer());
            starts.now = rows.at(row, 2).integer();
        }
    }

    PartitionClaimResult on_postgres(sql::Connection& connection) {
        const QueueBudget whole = wide(connection, 0);
        if (whole.free <= 0) {
            return {.workflows = {},
                    .contended = false,
                    .more = false,
                    .budget_in = whole.back_in,
                    .key_budget_in = {}};
        }
        const std::int64_t budget = std::min(budget_, whole.free);
        const Look look = look_postgres(connection, budget);
        const Choice choice = choose(look, budget);
        PartitionClaimResult result;
        if (choice.rows.empty()) {
            result.key_budget_in = choice.back_in;
            result.more = go_on(look, choice.left);
            return result;
        }
        const sql::Isolation isolation =
            serializable() ? sql::Isolation::serializable : sql::Isolation::read_committed;
        sql::Transaction transaction(connection, isolation);
        const Locked locked = lock(connection, choice.rows);
        if (!locked.mine || locked.rows.empty()) {
            transaction.rollback();
            result.contended = !locked.mine || locked.skipped;
            result.more = go_on(look, true);
            return result;
        }
        const std::vector<std::string> ids = within_limits(connection, locked.rows);
        if (ids.empty()) {
            transaction.rollback();
            result.more = go_on(look, true);
            return result;
        }
        const ClaimRequest& base = request_.base;
        const sql::Result taken = connection.execute(
            kTakePostgres,
            {text_array(ids), sql::opt(base.application_name), std::string_view(base.executor_id),
             std::string_view(base.application_version), std::string_view(base.token), limits_.rated()});
        for (std::size_t row = 0; row < taken.size(); ++row)
            result.workflows.push_back(read_claimed(taken, row, base.token));
        transaction.commit();
        result.key_budget_in = choice.back_in;
        result.more = go_on(look, choice.left || ids.size() < choice.rows.size());
        return result;
    }

    struct Locked {
        bool mine = true;      // the lock of the queue
        bool skipped = false;  // somebody holds a row
        std::vector<Chosen> rows;
    };

    Locked lock(sql::Connection& connection, const std::vector<Chosen>& chosen) const {
        std::vector<std::string> ids;
        std::map<std::string, std::string> keys;
        for (const Chosen& row : chosen) {
            ids.push_back(row.id);
            keys.emplace(row.id, row.key);
        }
        std::vector<sql::Call> calls{{&kBounds, {}}};
        if (limits_.shared()) {
            calls.push_back({serializable() ? &kTryQueueLock : &kQueueLock,
                             {std::string_view(core_.options.open.schema), std::string_view(queue_.name)}});
        }
        calls.push_back({&kLockRows, {text_array(ids)}});
        const std::vector<sql::Result> results = connection.pipeline(calls);
        Locked locked;
        if (serializable()) locked.mine = results[1].at(0, 0).boolean();
        const sql::Result& rows = results.back();
        std::set<std::string> left_alone;
        std::set<std::string> held;
        for (std::size_t row = 0; row < rows.size(); ++row) {
            const std::string id = rows.at(row, 0).string();
            const std::string& key = keys.at(id);
            const bool skipped = rows.at(row, 1).null();
            const bool there = !skipped && rows.at(row, 1).text() == "ENQUEUED" &&
                               rows.at(row, 2).text() == queue_.name && rows.at(row, 3).text() == key;
            if (there) held.insert(id);
            if (!there && limits_.shared()) left_alone.insert(key);
            locked.skipped = locked.skipped || skipped;
        }
        for (const Chosen& row : chosen) {
            if (held.contains(row.id) && !left_alone.contains(row.key)) locked.rows.push_back(row);
        }
        return locked;
    }

    /// Counted again, under the lock of the queue.
    std::vector<std::string> within_limits(sql::Connection& connection,
                                           const std::vector<Chosen>& rows) const {
        std::map<std::string, std::int64_t> running;
        if (limits_.partition_concurrency) {
            std::vector<std::string> keys;
            for (const Chosen& row : rows) {
                if (running.emplace(row.key, 0).second) keys.push_back(row.key);
            }
            const sql::Result counts = connection.execute(
                kPendingOfKeys, {std::string_view(queue_.name), text_array(keys), kPending});
            for (std::size_t row = 0; row < counts.size(); ++row)
                running[counts.at(row, 0).string()] = counts.at(row, 1).integer();
        }
        Starts starts;
        read_starts(connection, starts, 0);
        std::int64_t budget = std::min(budget_, wide(connection, 0).free);
        std::map<std::string, std::int64_t> taken;
        std::vector<std::string> ids;
        for (const Chosen& row : rows) {
            if (budget <= 0) break;
            if (free_of(row.key, running[row.key], starts) <= taken[row.key]) continue;
            ids.push_back(row.id);
            ++taken[row.key];
            --budget;
        }
        return ids;
    }
    // ------------------------------------------------------------------------------------------------ SQLite

    Look look_sqlite(sql::Connection& connection, std::int64_t budget, Millis now) const {
        const std::int64_t keys = keys_wanted(budget);
        Look look;
        sql::Result found =
            connection.execute(kFirstKeyLite, {std::string_view(queue_.name), std::string_view(walk_.from)});
        while (!found.empty()) {
            if (std::ssize(look.keys) == keys) {
                look.next = found.at(0, 0).string();
                break;
            }
            look.keys.push_back(look_at_key(connection, found.at(0, 0).string(), budget));
            found = connection.execute(
                kNextKeyLite, {std::string_view(queue_.name), std::string_view(look.keys.back().key)});
        }
        read_starts(connection, look.starts, now);
        return look;
    }

    Key look_at_key(sql::Connection& connection, std::string name, std::int64_t budget) const {
        const ClaimRequest& base = request_.base;
        Key key{.key = std::move(name), .running = 0, .rows = {}};
        std::int64_t rows = rows_wanted(budget);
        if (limits_.partition_concurrency) {
            key.running =
                connection
                    .execute(kKeyRunningLite, {std::string_view(queue_.name), std::string_view(key.key)})
                    .at(0, 0)
                    .integer();
            rows = std::min(rows, *limits_.partition_concurrency - key.running);
        }
        if (rows <= 0) {
            seam::reach(seam::Situation::partition_full);
            return key;
        }
        const sql::Result found = connection.execute(
            kKeyRowsLite, {std::string_view(queue_.name), std::string_view(key.key),
                           std::string_view(base.application_version), base.is_latest_version,
                           sql::opt(base.application_name), strict_, text_array(base.workflow_names), rows});
        for (std::size_t row = 0; row < found.size(); ++row) {
            add_row(key, found.at(row, 0).string(), found.at(row, 1).string(), found.at(row, 2).integer(),
                    found.at(row, 3).integer());
        }
        return key;
    }

    PartitionClaimResult on_sqlite(sql::Connection& connection) {
        PartitionClaimResult result;
        Look look;
        const auto look_and_choose = [&](Millis now) {
            const QueueBudget whole = wide(connection, now);
            result.budget_in = whole.back_in;
            if (whole.free <= 0) return Choice{};
            const std::int64_t budget = std::min(budget_, whole.free);
            look = look_sqlite(connection, budget, now);
            Choice choice = choose(look, budget);
            result.key_budget_in = choice.back_in;
            return choice;
        };
        Millis now = core_.clock.now_ms();
        Choice choice = look_and_choose(now);
        const bool looked = !look.keys.empty();
        if (choice.rows.empty()) {  // nobody waits for the writers' lock in vain
            if (result.budget_in || result.key_budget_in) seam::reach(seam::Situation::rate_spent);
            result.more = looked && go_on(look, choice.left);
            return result;
        }
        sql::Transaction transaction(connection);
        now = core_.clock.now_ms();
        if (!seam::planted(seam::Bug::partition_counted_early)) choice = look_and_choose(now);
        std::vector<std::string> ids;
        for (const Chosen& row : choice.rows) ids.push_back(row.id);
        result.workflows = take_on_sqlite(connection, request_.base, ids, now, limits_.rated());
        if (result.workflows.empty()) {
            transaction.rollback();
        } else {
            transaction.commit();
        }
        result.more = go_on(look, choice.left);
        return result;
    }

    SystemDatabase::Core& core_;
    const PartitionClaimRequest& request_;
    const QueueLimits& limits_;
    const ClaimQueue& queue_;
    const ClaimState::Walk walk_;
    const bool strict_;  // the order of a key holds
    const std::set<std::string> names_;
    std::int64_t budget_ = 0;
};

}  // namespace

PartitionClaimResult SystemDatabase::claim_partitions(const PartitionClaimRequest& request) {
    const ClaimRequest& base = request.base;
    if (base.queues.size() != 1) {
        throw UsageError("a claim from a partitioned queue takes exactly one queue; got " +
                         std::to_string(base.queues.size()));
    }
    if (base.queues.front().limit <= 0 || base.max_rows <= 0 || base.workflow_names.empty()) return {};
    if (request.limits.partition_worker_concurrency.value_or(1) <= 0) return {};  // the old form's pause
    Core& core = *core_;
    core.claims->enter(scope_of(base));
    const Millis since = core.clock.now_ms() - 1000;
    bool begun = false;
    return core.with_lane(core.claim_lane, [&](sql::Connection& connection, const Attempt& attempt) {
        PartitionClaimResult result;
        if (attempt.number > 0 && begun) {
            result.workflows = claimed_with_token(connection, base, since);
            result.more = !result.workflows.empty();
        }
        begun = true;
        if (result.workflows.empty()) result = PartitionClaim(core, request).run(connection);
        order_for_dispatch(result.workflows, base.queues);
        load_histories(connection, result.workflows);
        return result;
    });
}

}  // namespace dbos::sysdb
