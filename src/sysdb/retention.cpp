// Removing what ended long ago, whosever it is (go: sysdb/retention.go, whose lock key this is, so that rounds of other tools and
// ours pass each other by). The lock is held for one batch at a time: it needs no connection of its own, and none is left behind.
#include <algorithm>
#include <utility>

#include "sysdb/claim_sql.hpp"
#include "sysdb/manage.hpp"
#include "sysdb/managed_write.hpp"

namespace dbos::sysdb {
namespace {

constexpr const char* kCall = "garbage_collect";

bool active(const LockedRow& row) {
    return row.status == "PENDING" || row.status == "ENQUEUED" || row.status == "DELAYED";
}

class Collection {
   public:
    Collection(SystemDatabase::Core& core, const Retention& which) : core_(core), which_(which) {}

    Removed run() {
        Removed total;
        std::optional<Millis> cutoff;
        Millis from = 0, next = 0;
        const auto batch = [&](const auto& body) {
            std::int64_t found = 0;
            Removed removed;
            managed_write(core_, {.name = kCall}, [&](ManagedWrite& write) {
                found = 0;
                removed = {};
                removed.busy = !mine(write);
                if (!removed.busy) found = body(write, removed);
            });
            total += removed;
            total.busy = removed.busy;
            return found >= which_.batch_size && !removed.busy && !core_.upkeep.wait(which_.pause);
        };
        while (batch([&](ManagedWrite& write, Removed& removed) {
            if (!cutoff) cutoff = reckoned(write);
            return ended(write, {from, *cutoff}, next, removed);
        })) {
            from = next;  // what is gone is not read again
        }
        for (const char* table : {"workflow_input", "workflow_output", "operation_outputs"}) {
            const bool steps = std::string_view(table) == "operation_outputs";
            while (!total.busy && batch([&](ManagedWrite& write, Removed& removed) {
                if (!write.layout.payload_tables)
                    return std::int64_t{0};  // there, they go with their workflow
                const std::int64_t gone = orphans(write, table, *cutoff);
                (steps ? removed.steps : removed.payloads) = gone;
                return gone;
            })) {
            }
        }
        return total;
    }

   private:
    /// Whether nobody else removes now.
    bool mine(ManagedWrite& write) const {
        if (!write.postgres()) return true;
        return write.connection
            .query(
                "SELECT pg_try_advisory_xact_lock(('x' || encode(substring(sha256(convert_to("
                "'dbos.retention.' || $1, 'UTF8')) FOR 8), 'hex'))::bit(64)::bigint)",
                {std::string_view(core_.options.open.schema)}, sql::Access::write)
            .at(0, 0)
            .boolean();
    }

    Millis reckoned(ManagedWrite& write) const {
        if (!write.layout.completed_at) {
            throw ConfigError(std::string(kCall) + ": this system database (version " +
                              std::to_string(write.layout.version) +
                              ") is from before workflows had an end; migrate it with a current release");
        }
        Millis cutoff = which_.cutoff.value_or(0);
        if (which_.keep) {
            const sql::Result last = write.connection.query(
                "SELECT completed_at FROM @workflow_status WHERE completed_at IS NOT NULL"
                " ORDER BY completed_at DESC LIMIT 1 OFFSET $1",
                {*which_.keep - 1});
            if (!last.empty()) cutoff = std::max(cutoff, last.at(0, 0).integer());
        }
        return cutoff;
    }

    /// One batch of workflows that ended in [span.first, span.second); `next` is where the last of them stands. How many were
    /// found.
    std::int64_t ended(ManagedWrite& write, std::pair<Millis, Millis> span, Millis& next,
                       Removed& removed) const {
        const sql::Result found = write.connection.query(
            "SELECT workflow_uuid, completed_at FROM @workflow_status WHERE completed_at >= $1 AND "
            "completed_at < $2 ORDER BY completed_at LIMIT $3",
            {span.first, span.second, which_.batch_size});
        std::vector<std::string> ids;
        for (std::size_t row = 0; row < found.size(); ++row) ids.push_back(found.at(row, 0).string());
        if (ids.empty()) return 0;
        std::vector<LockedRow> rows = write.lock(ids, ManagedWrite::Lock::remove);
        std::erase_if(rows, active);  // resumed since
        ids.clear();
        for (const LockedRow& row : rows) ids.push_back(row.id);
        removed = delete_rows(write, rows, ids);
        next = found.at(found.size() - 1, 1).integer();
        return static_cast<std::int64_t>(found.size());
    }

    /// A start writes its payload with its row, so one without a row is left over. The age is asked for once more at the row
    /// itself: who starts an id anew meanwhile renews it.
    std::int64_t orphans(ManagedWrite& write, const std::string& table, Millis cutoff) const {
        return write
            .write("DELETE FROM @" + table +
                       " WHERE retention_timestamp < $1 AND workflow_uuid IN ("
                       "SELECT x.workflow_uuid FROM @" +
                       table +
                       " x WHERE x.retention_timestamp < $1 AND NOT EXISTS ("
                       "SELECT 1 FROM @workflow_status w WHERE w.workflow_uuid = x.workflow_uuid) LIMIT $2)",
                   {cutoff, which_.batch_size})
            .affected();
    }

    SystemDatabase::Core& core_;
    const Retention& which_;
};

}  // namespace

Removed SystemDatabase::remove_ended(const Retention& which) { return Collection(*core_, which).run(); }

}  // namespace dbos::sysdb
