// New runs of workflows from a step on (py: dbos/_sys_db.py fork_workflow; go: ForkWorkflows).
//
// On PostgreSQL one statement per table serves all forks of a batch, row by row (LATERAL … OFFSET 0: a plain join that was
// planned on small tables reads them whole, for ever). On SQLite the same texts run once per fork.
#include <algorithm>
#include <map>
#include <unordered_map>

#include "sysdb/claim_sql.hpp"
#include "sysdb/manage.hpp"
#include "sysdb/managed_write.hpp"

namespace dbos::sysdb {
namespace {

/// The forks of a batch that have their rows, copied table by table.
class Copier {
   public:
    Copier(ManagedWrite& write, std::span<const Fork* const> forks,
           const std::unordered_map<std::string, Text>& owners)
        : write_(write), forks_(forks), owners_(owners) {}

    /// Inserts the status rows that are not there yet; returns the ids of those inserted.
    std::vector<std::string> insert_rows(Millis now) {
        std::string columns =
            "workflow_uuid, status, queue_name, queue_partition_key, forked_from, application_version, "
            "workflow_timeout_ms, created_at, updated_at, recovery_attempts, priority, name, class_name, "
            "config_name, application_id, authenticated_user, authenticated_roles, assumed_role, "
            "serialization";
        std::string values =
            "f.fork, 'ENQUEUED', f.queue, f.part_key, f.original, CASE WHEN f.latest = 1 THEN NULL ELSE "
            "COALESCE(f.version, w.application_version) END, f.timeout, "
            "f.now, f.now, 0, 0, w.name, w.class_name, w.config_name, w.application_id, "
            "w.authenticated_user, "
            "w.authenticated_roles, w.assumed_role, w.serialization";
        const auto also = [&](const char* column, const char* value) {
            columns += std::string(", ") + column;
            values += std::string(", ") + value;
        };
        also(write_.layout.creator_token ? "creator_xid" : "owner_xid", "f.token");
        if (write_.layout.ownership) also("application_name", "f.owner");
        if (write_.layout.attributes) also("attributes", "w.attributes");
        if (!write_.layout.payload_tables) also("inputs", "w.inputs");
        const std::string text =
            "INSERT INTO @workflow_status (" + columns + ") SELECT " + values + " FROM " + source() +
            joined("w", "SELECT w.* FROM @workflow_status w WHERE w.workflow_uuid = f.original") +
            " WHERE true ON CONFLICT DO NOTHING RETURNING workflow_uuid";
        std::vector<std::string> inserted;
        run(text, now, [&](const sql::Result& rows) {
            for (std::size_t row = 0; row < rows.size(); ++row) inserted.push_back(rows.at(row, 0).string());
        });
        return inserted;
    }

    void copy(Millis now) {
        const Layout& layout = write_.layout;
        if (layout.payload_tables) {
            std::string inputs = "i.inputs";
            std::string from = "@workflow_input i WHERE i.workflow_uuid = f.original";
            if (layout.legacy_payloads) {
                inputs = "COALESCE(i.inputs, w.inputs)";
                from =
                    "@workflow_status w LEFT JOIN @workflow_input i ON i.workflow_uuid = w.workflow_uuid "
                    "WHERE "
                    "w.workflow_uuid = f.original";
            }
            run("INSERT INTO @workflow_input (workflow_uuid, inputs, retention_timestamp) SELECT f.fork, "
                "x.inputs, f.now FROM " +
                    source() + joined("x", "SELECT " + inputs + " AS inputs FROM " + from),
                now);
        }
        std::string extra;
        std::string extra_values;
        if (layout.ownership) {
            extra += ", application_name";
            extra_values += ", f.owner";
        }
        if (layout.step_retention) {
            extra += ", retention_timestamp";
            extra_values += ", f.now";
        }
        const std::string step =
            "function_id, function_name, output, error, child_workflow_id, started_at_epoch_ms, "
            "completed_at_epoch_ms, serialization";
        copy_table("operation_outputs", step, extra, extra_values, now);
        copy_table("workflow_events_history", "function_id, key, value, serialization", "", "", now);
        copy_table("streams", "key, value, \"offset\", function_id, serialization", "", "", now);
        copy_events(now);
        replace_children();
    }

   private:
    /// The forks as a table `f`.
    std::string source() const {
        if (write_.postgres()) {
            return "unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], "
                   "$7::text[], "
                   "$8::bigint[], $9::bigint[], $10::text[], $11::bigint[]) AS f(original, fork, step, "
                   "queue, "
                   "part_key, version, owner, latest, timeout, token, now)";
        }
        return "(SELECT $1 AS original, $2 AS fork, $3 AS step, $4 AS queue, $5 AS part_key, $6 AS version, "
               "$7 "
               "AS owner, $8 AS latest, $9 AS timeout, $10 AS token, $11 AS now) f";
    }

    /// " JOIN (select) alias" for each fork by itself. SQLite has no LATERAL: its planner sees one row in `f`.
    std::string joined(const std::string& alias, const std::string& select) const {
        if (write_.postgres()) return " CROSS JOIN LATERAL (" + select + " OFFSET 0) " + alias;
        // "SELECT columns FROM t … WHERE condition" becomes a correlated subquery per column elsewhere; here the
        // parameters stand in the place of f's columns.
        std::string own = select;
        for (const auto& [name, parameter] : {std::pair("f.original", "$1"), std::pair("f.step", "$3")}) {
            for (std::size_t at = own.find(name); at != std::string::npos; at = own.find(name, at)) {
                own.replace(at, std::string_view(name).size(), parameter);
            }
        }
        return " CROSS JOIN (" + own + ") " + alias;
    }

    void copy_table(const std::string& table, const std::string& columns, const std::string& extra,
                    const std::string& extra_values, Millis now) {
        run("INSERT INTO @" + table + " (workflow_uuid, " + columns + extra + ") SELECT f.fork, " +
                prefixed(columns) + extra_values + " FROM " + source() +
                joined("x", "SELECT " + columns + " FROM @" + table +
                                " WHERE workflow_uuid = f.original AND function_id < f.step"),
            now);
    }

    /// Of each key the last value that stands below the cut, for each fork by itself.
    void copy_events(Millis now) {
        run("INSERT INTO @workflow_events (workflow_uuid, key, value, serialization) SELECT f.fork, x.key, "
            "x.value, x.serialization FROM " +
                source() +
                joined(
                    "x",
                    "SELECT h.key, h.value, h.serialization FROM @workflow_events_history h WHERE "
                    "h.workflow_uuid = f.original AND h.function_id < f.step AND NOT EXISTS (SELECT 1 FROM "
                    "@workflow_events_history l WHERE l.workflow_uuid = f.original AND l.key = h.key AND "
                    "l.function_id < f.step AND l.function_id > h.function_id)"),
            now);
    }

    static std::string prefixed(const std::string& columns) {
        std::string text = "x.";
        for (const char c : columns) {
            text += c;
            if (c == ' ') text += "x.";
        }
        return text;
    }

    void replace_children() {
        for (const Fork* fork : forks_) {
            if (fork->replacement_children.empty()) continue;
            sql::TextArray before;
            sql::TextArray after;
            for (const auto& [old_id, new_id] : fork->replacement_children) {
                before.emplace_back(old_id);
                after.emplace_back(new_id);
            }
            const std::string pairs = write_.postgres()
                                          ? "unnest($2::text[], $3::text[]) AS m(old_id, new_id)"
                                          : "(SELECT a.value AS old_id, b.value AS new_id FROM json_each($2) "
                                            "a JOIN json_each($3) b ON "
                                            "a.key = b.key) m";
            write_.write("UPDATE @operation_outputs AS o SET child_workflow_id = m.new_id FROM " + pairs +
                             " WHERE o.workflow_uuid = $1 AND o.child_workflow_id = m.old_id",
                         {std::string_view(fork->new_workflow_id), std::move(before), std::move(after)});
        }
    }

    void run(
        const std::string& text, Millis now,
        const std::function<void(const sql::Result&)>& each = [](const sql::Result&) {}) {
        if (write_.postgres()) return each(write_.write(text, arrays(now)));
        for (const Fork* fork : forks_) each(write_.write(text, scalars(*fork, now)));
    }

    std::string_view queue_of(const Fork& fork) const {
        return fork.queue_name ? std::string_view(*fork.queue_name) : kInternalQueue;
    }

    sql::Params scalars(const Fork& fork, Millis now) const {
        return {std::string_view(fork.workflow_id),
                std::string_view(fork.new_workflow_id),
                fork.start_step,
                queue_of(fork),
                sql::opt(fork.queue_partition_key),
                sql::opt(fork.application_version),
                sql::opt(owners_.at(fork.workflow_id)),
                std::int64_t{fork.latest_version ? 1 : 0},
                sql::opt(fork.timeout_ms),
                std::string_view(fork.token),
                now};
    }

    sql::Params arrays(Millis now) const {
        sql::TextArray originals, ids, queues, partitions, versions, owners, tokens;
        sql::IntArray steps, latest, timeouts, nows;
        const auto text = [](const Text& value) {
            return value ? std::optional<std::string_view>(*value) : std::nullopt;
        };
        for (const Fork* fork : forks_) {
            originals.emplace_back(fork->workflow_id);
            ids.emplace_back(fork->new_workflow_id);
            steps.emplace_back(fork->start_step);
            queues.emplace_back(queue_of(*fork));
            partitions.push_back(text(fork->queue_partition_key));
            versions.push_back(text(fork->application_version));
            owners.push_back(text(owners_.at(fork->workflow_id)));
            latest.emplace_back(fork->latest_version ? 1 : 0);
            timeouts.push_back(fork->timeout_ms);
            tokens.emplace_back(fork->token);
            nows.emplace_back(now);
        }
        return {std::move(originals),  std::move(ids),      std::move(steps),  std::move(queues),
                std::move(partitions), std::move(versions), std::move(owners), std::move(latest),
                std::move(timeouts),   std::move(tokens),   std::move(nows)};
    }

    ManagedWrite& write_;
    std::span<const Fork* const> forks_;
    const std::unordered_map<std::string, Text>& owners_;
};

/// The forks whose row is there already: those of an earlier attempt are left out, a foreign one is refused.
std::vector<const Fork*> not_there_yet(ManagedWrite& write, std::span<const Fork> forks) {
    std::vector<const Fork*> open;
    std::map<std::string_view, const Fork*> by_id;
    for (const Fork& fork : forks) {
        open.push_back(&fork);
        by_id[fork.new_workflow_id] = &fork;
    }
    if (!write.repeated()) return open;
    std::vector<std::string> ids;
    for (const Fork& fork : forks) ids.push_back(fork.new_workflow_id);
    const std::string token = write.layout.creator_token ? "w.creator_xid" : "w.owner_xid";
    const sql::Result found = write.connection.query("SELECT w.workflow_uuid, " + token +
                                                         ", w.forked_from FROM @workflow_status w WHERE " +
                                                         write.among("w.workflow_uuid", 1),
                                                     {text_array(ids)});
    for (std::size_t row = 0; row < found.size(); ++row) {
        const Fork* fork = by_id.at(found.at(row, 0).text());
        // Layout A: whoever has taken it meanwhile may have written its own token there.
        const bool mine = write.layout.creator_token ? found.at(row, 1).text() == fork->token
                                                     : found.at(row, 2).text() == fork->workflow_id;
        if (mine) std::erase(open, fork);
    }
    return open;
}

/// Takes the forks from `open` that are there already and count as made; throws for the first one that belongs to another.
void settle_existing(ManagedWrite& write, std::span<const std::string> inserted,
                     std::vector<const Fork*>& open) {
    if (inserted.size() == open.size()) return;
    std::erase_if(open, [&](const Fork* fork) {
        if (std::ranges::find(inserted, fork->new_workflow_id) != inserted.end()) return false;
        const sql::Result there =
            write.connection.query("SELECT w.forked_from FROM @workflow_status w WHERE w.workflow_uuid = $1",
                                   {std::string_view(fork->new_workflow_id)});
        if (fork->attach && !there.empty() && there.at(0, 0).text() == fork->workflow_id) return true;
        throw WorkflowIdInUse(fork->new_workflow_id);
    });
}

}  // namespace

LastSteps SystemDatabase::last_steps(const std::string& workflow_id, const std::string& name) {
    // Go writes '' where there is no error.
    static constexpr sql::Statement kLast{
        "last_steps",
        "SELECT max(function_id), max(CASE WHEN COALESCE(error, '') <> '' THEN function_id END),"
        " max(CASE WHEN function_name = $2 THEN function_id END)"
        " FROM @operation_outputs WHERE workflow_uuid = $1",
        sql::Access::read};
    return core_->with_connection([&](sql::Connection& connection) {
        const sql::Result row =
            connection.execute(kLast, {std::string_view(workflow_id), std::string_view(name)});
        return LastSteps{.any = row.at(0, 0).optional_integer(),
                         .failed = row.at(0, 1).optional_integer(),
                         .named = row.at(0, 2).optional_integer()};
    });
}

void SystemDatabase::fork(std::span<const Fork> forks, const Text& application_name, Gate* gate) {
    if (forks.empty() && !gate) return;
    std::vector<std::string> originals;
    for (const Fork& fork : forks) originals.push_back(fork.workflow_id);
    managed_write(
        *core_, {.name = "fork_workflow", .ids = originals, .gate = gate}, [&](ManagedWrite& write) {
            for (const Fork& fork : forks) {
                write.queues.insert(fork.queue_name.value_or(std::string(kInternalQueue)));
            }
            std::vector<const Fork*> open = not_there_yet(write, forks);
            if (open.empty() && !gate) return;
            const auto rows = write.lock(originals);
            check_all_exist(originals, rows);
            std::unordered_map<std::string, Text> owners;
            for (const LockedRow& row : rows) {
                owners[row.id] = row.application_name ? row.application_name : application_name;
            }
            std::unordered_map<std::string_view, const LockedRow*> by_id;
            for (const LockedRow& row : rows) by_id[row.id] = &row;
            for (const Fork& fork : forks) check_name(*by_id.at(fork.workflow_id), fork.expected_name);

            if (open.empty()) return;
            const Millis now = write.now_ms();
            settle_existing(write, Copier(write, open, owners).insert_rows(now), open);
            if (open.empty()) return;
            // Before the copies: from here on a run of the original waits with its next record.
            write.write(
                "UPDATE @workflow_status SET was_forked_from = TRUE WHERE " + write.among("workflow_uuid", 1),
                {ids_of(rows)});
            Copier(write, open, owners).copy(now);
        });
}

}  // namespace dbos::sysdb
