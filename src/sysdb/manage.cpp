// Cancel, resume, delete, and the changes of single columns (py: dbos/_sys_db.py; ts: system_database.ts).
#include <functional>
#include <unordered_map>
#include <unordered_set>

#include "platform/planted.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/manage.hpp"
#include "sysdb/managed_write.hpp"

namespace dbos::sysdb {
namespace {

std::vector<LockedRow> not_completed(std::vector<LockedRow> rows) {
    std::erase_if(rows, [](const LockedRow& row) { return row.completed(); });
    return rows;
}

void add_queue(std::set<std::string>& queues, const LockedRow& row) {
    if (row.queue_name) queues.insert(*row.queue_name);
}

/// The workflows that these have started.
std::vector<std::string> children_of(ManagedWrite& write, std::span<const std::string> ids) {
    const sql::Result found =
        write.connection.query("SELECT w.workflow_uuid FROM @workflow_status w WHERE " +
                                   write.among("w.parent_workflow_id", 1) + " ORDER BY w.workflow_uuid",
                               {text_array(ids)});
    std::vector<std::string> children;
    children.reserve(found.size());
    for (std::size_t row = 0; row < found.size(); ++row) children.push_back(found.at(row, 0).string());
    return children;
}

/// Calls `one(level)`, which returns the children of the level, for `ids` and then for each level of children.
void level_by_level(const char* done, std::span<const std::string> ids,
                    const std::function<std::vector<std::string>(std::span<const std::string>)>& one) {
    std::unordered_set<std::string> seen(ids.begin(), ids.end());
    std::vector<std::string> level(ids.begin(), ids.end());
    for (std::size_t depth = 0; !level.empty(); ++depth) {
        std::vector<std::string> children;
        try {
            children = one(level);
        } catch (const DatabaseError& error) {
            if (depth == 0) throw;
            throw DatabaseError(
                error.kind(),
                std::string(error.what()) + "; " + done + " already: the workflows asked for" +
                    (depth > 1 ? " and their children down to level " + std::to_string(depth - 1) : "") +
                    "; the same call goes on where it ended",
                error.sqlstate(), error.constraint(), error.outcome_unknown());
        }
        std::erase_if(children, [&seen](const std::string& id) { return !seen.insert(id).second; });
        level = std::move(children);
    }
}

/// Behind a gate all of it is one transaction: what is known of the tree is locked in order, then what was added to it until
/// then. From there on it stays as it is, because whoever starts a child needs the lock of the parent.
std::vector<LockedRow> lock_tree(ManagedWrite& write, std::span<const std::string> roots,
                                 ManagedWrite::Lock strength, std::vector<std::string>& ids) {
    ids.assign(roots.begin(), roots.end());
    std::unordered_set<std::string> seen(roots.begin(), roots.end());
    const auto grow = [&](std::size_t from) {
        while (from < ids.size()) {
            auto children = children_of(write, std::span(ids).subspan(from));
            from = ids.size();
            for (std::string& child : children) {
                if (seen.insert(child).second) ids.push_back(std::move(child));
            }
        }
    };
    grow(0);
    std::vector<LockedRow> rows = write.lock(ids, strength);
    for (std::size_t locked = ids.size();; locked = ids.size()) {
        grow(0);
        if (ids.size() == locked) return rows;
        auto more = write.lock(std::span(ids).subspan(locked), strength);
        std::move(more.begin(), more.end(), std::back_inserter(rows));
    }
}

std::string set_cancelled(const Layout& layout) {
    std::string sets =
        "status = 'CANCELLED', deduplication_id = NULL, queue_name = NULL, started_at_epoch_ms = NULL, "
        "updated_at = $2";
    if (layout.creator_token) sets += ", owner_xid = NULL";
    if (layout.completed_at) sets += ", completed_at = $2";
    return sets;
}

void cancel_rows(ManagedWrite& write, std::vector<LockedRow> locked) {
    const auto rows = not_completed(std::move(locked));
    write.release(rows);
    if (!rows.empty()) {
        write.write("UPDATE @workflow_status SET " + set_cancelled(write.layout) + " WHERE " +
                        write.among("workflow_uuid", 1),
                    {ids_of(rows), write.now_ms()});
    }
    for (const LockedRow& row : rows) {
        add_queue(write.queues, row);
        write.ended.push_back(row.id);
    }
}

}  // namespace

Removed delete_rows(ManagedWrite& write, std::span<const LockedRow> rows, std::span<const std::string> ids) {
    write.release(rows);
    for (const LockedRow& row : rows) add_queue(write.queues, row);
    const sql::Params params{text_array(ids)};
    const auto remove = [&](const std::string& table) {
        return write.write("DELETE FROM @" + table + " WHERE " + write.among("workflow_uuid", 1), params)
            .affected();
    };
    Removed removed;
    if (write.layout.payload_tables) removed.payloads = remove("workflow_input") + remove("workflow_output");
    removed.steps = remove("operation_outputs");  // they cascade in layout A alone
    removed.workflows = remove("workflow_status");
    return removed;
}

std::vector<std::string> SystemDatabase::cancel(std::span<const std::string> ids, bool children, Gate* gate) {
    std::vector<std::string> cancelled;
    if (gate) {
        managed_write(*core_, {.name = "cancel_workflow", .ids = ids, .gate = gate},
                      [&](ManagedWrite& write) {
                          std::vector<std::string> all;
                          cancel_rows(write, children ? lock_tree(write, ids, ManagedWrite::Lock::update, all)
                                                      : write.lock(ids));
                          cancelled = write.ended;
                      });
        return cancelled;
    }
    level_by_level("cancelled", ids, [&](std::span<const std::string> level) {
        std::vector<std::string> next;
        std::vector<std::string> ended;
        managed_write(*core_, {.name = "cancel_workflow", .ids = level}, [&](ManagedWrite& write) {
            next.clear();
            cancel_rows(write, write.lock(level));
            ended = write.ended;
            if (children) next = children_of(write, level);
        });
        cancelled.insert(cancelled.end(), ended.begin(), ended.end());
        return next;
    });
    return cancelled;
}

void SystemDatabase::resume(std::span<const std::string> ids, const Resume& how, Gate* gate) {
    if (ids.empty() && !gate) return;
    const std::string queue = how.queue_name.value_or(std::string(kInternalQueue));
    std::optional<std::unordered_map<std::string, Text>> owners;  // as they were before the first attempt
    managed_write(
        *core_, {.name = "resume_workflow", .ids = ids, .repeat = Repeat::where_fenced, .gate = gate},
        [&](ManagedWrite& write) {
            auto rows = write.lock(ids);
            check_all_exist(ids, rows);
            for (const LockedRow& row : rows) check_name(row, how.expected_name);
            if (!owners) {
                owners.emplace();
                for (const LockedRow& row : rows) owners->emplace(row.id, row.owner_xid);
            }
            rows = not_completed(std::move(rows));
            if (write.repeated()) {
                // Whoever owns a row now has taken it after an attempt of this call: it must not be taken away.
                std::erase_if(rows, [&](const LockedRow& row) {
                    return row.owner_xid && row.owner_xid != owners->at(row.id);
                });
            }
            write.queues.insert(queue);
            if (rows.empty()) return;
            write.release(rows);
            for (const LockedRow& row : rows) add_queue(write.queues, row);
            std::string sets =
                "status = 'ENQUEUED', queue_name = $3, workflow_deadline_epoch_ms = NULL, deduplication_id = "
                "NULL, started_at_epoch_ms = NULL, updated_at = $2";
            if (!seam::planted(seam::Bug::resume_keeps_attempts)) sets += ", recovery_attempts = 0";
            if (write.layout.completed_at) sets += ", completed_at = NULL";
            if (write.layout.creator_token) sets += ", owner_xid = NULL";
            write.write("UPDATE @workflow_status SET " + sets + " WHERE " + write.among("workflow_uuid", 1),
                        {ids_of(rows), write.now_ms(), std::string_view(queue)});
        });
}

void SystemDatabase::delete_workflows(std::span<const std::string> ids, bool children, Gate* gate) {
    if (gate) {
        managed_write(*core_, {.name = "delete_workflow", .ids = ids, .gate = gate},
                      [&](ManagedWrite& write) {
                          std::vector<std::string> all(ids.begin(), ids.end());
                          const auto rows = children ? lock_tree(write, ids, ManagedWrite::Lock::remove, all)
                                                     : write.lock(ids, ManagedWrite::Lock::remove);
                          delete_rows(write, rows, all);
                      });
        return;
    }
    level_by_level("deleted", ids, [&](std::span<const std::string> level) {
        std::vector<std::string> next;
        managed_write(*core_, {.name = "delete_workflow", .ids = level}, [&](ManagedWrite& write) {
            next.clear();
            delete_rows(write, write.lock(level, ManagedWrite::Lock::remove), level);
            // No row, no fence: nobody starts children of these any more.
            if (children) next = children_of(write, level);
        });
        return next;
    });
}

void SystemDatabase::set_delay(const std::string& workflow_id, Millis until_ms, Gate* gate) {
    const std::string ids[] = {workflow_id};
    managed_write(*core_, {.name = "set_workflow_delay", .ids = ids, .gate = gate}, [&](ManagedWrite& write) {
        const auto rows = write.lock(ids);
        if (rows.empty() || rows.front().status != "DELAYED") return;
        write.write(
            "UPDATE @workflow_status SET delay_until_epoch_ms = $2, updated_at = $3 WHERE workflow_uuid = $1",
            {std::string_view(workflow_id), until_ms, write.now_ms()});
    });
}

void SystemDatabase::set_priority(const std::string& workflow_id, std::int32_t priority, Gate* gate) {
    const std::string ids[] = {workflow_id};
    managed_write(
        *core_, {.name = "set_workflow_priority", .ids = ids, .gate = gate}, [&](ManagedWrite& write) {
            const auto rows = write.lock(ids);
            if (rows.empty() || (rows.front().status != "ENQUEUED" && rows.front().status != "DELAYED"))
                return;
            add_queue(write.queues, rows.front());
            write.write("UPDATE @workflow_status SET priority = $2 WHERE workflow_uuid = $1",
                        {std::string_view(workflow_id), std::int64_t{priority}});
        });
}

void SystemDatabase::update_attributes(const std::string& workflow_id, bool repeatable,
                                       const std::function<Text(const Text&)>& change, Gate* gate) {
    const std::string ids[] = {workflow_id};
    managed_write(*core_,
                  {.name = "update_workflow_attributes",
                   .ids = ids,
                   .repeat = repeatable ? Repeat::always : Repeat::never,
                   .gate = gate},
                  [&](ManagedWrite& write) {
                      if (!write.layout.attributes) {
                          throw ConfigError(
                              "update_workflow_attributes: this system database (version " +
                              std::to_string(write.layout.version) +
                              ") is from before workflows had attributes; migrate it with a current release");
                      }
                      if (write.lock(ids).empty()) return;
                      const char* const cast = write.postgres() ? "::text" : "";
                      const sql::Result stored =
                          write.connection.query(std::string("SELECT w.attributes") + cast +
                                                     " FROM @workflow_status w WHERE w.workflow_uuid = $1",
                                                 {std::string_view(workflow_id)});
                      const Text changed = change(stored.empty() ? Text() : stored.at(0, 0).optional_text());
                      write.write(std::string("UPDATE @workflow_status SET attributes = $2") +
                                      (write.postgres() ? "::text::jsonb" : "") +
                                      ", updated_at = $3 WHERE workflow_uuid = $1",
                                  {std::string_view(workflow_id), sql::opt(changed), write.now_ms()});
                  });
}

}  // namespace dbos::sysdb
