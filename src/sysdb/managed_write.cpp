#include "sysdb/managed_write.hpp"

#include <algorithm>
#include <stdexcept>

#include "platform/situations.hpp"
#include "sysdb/blockers.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/committer_statements.hpp"
#include "sysdb/listing_text.hpp"

namespace dbos::sysdb {
namespace {

// Pool connections keep the plans of their statements; one that was made while the tables were small would read them whole
// when they have grown. So each execution is planned for its parameters: these calls are rare.
constexpr sql::Statement kSettings{
    "managed_settings",
    "SELECT set_config('lock_timeout', $1::text, true), set_config('plan_cache_mode', 'force_custom_plan', "
    "true), set_config('jit', 'off', true)",
    sql::Access::read};
constexpr sql::Statement kDatabaseTime{"managed_now", "SELECT " DBOS_CLOCK_PG, sql::Access::read};
constexpr sql::Statement kVersion{"managed_version", "SELECT max(version) FROM @dbos_migrations",
                                  sql::Access::read};

// The columns of the databases that an application runs on (version 123 and newer).
constexpr sql::Statement kCheckpoint{
    "managed_checkpoint",
    "INSERT INTO @operation_outputs (workflow_uuid, function_id, function_name, output, error, "
    "child_workflow_id, started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name, "
    "retention_timestamp) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (workflow_uuid, "
    "function_id) DO NOTHING",
    sql::Access::write};

/// Ends an attempt whose gate is closed; its result is set.
struct GateClosed {};

/// How long a call that was blocked waits once more, so that it can be asked whom it waits for.
constexpr seam::Duration kOnceMore = std::chrono::seconds(1);
constexpr std::size_t kNamedIds = 5;

std::string named(const ManagingCall& call) {
    std::string text = call.name;
    for (std::size_t n = 0; n < std::min(call.ids.size(), kNamedIds); ++n) {
        text += (n == 0 ? " of \"" : "\", \"") + call.ids[n];
    }
    if (!call.ids.empty()) text += '"';
    if (call.ids.size() > kNamedIds)
        text += " and " + std::to_string(call.ids.size() - kNamedIds) + " others";
    return text;
}

std::string seconds(seam::Duration duration) {
    return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count());
}

std::vector<std::string> listed(const std::set<std::string>& names) { return {names.begin(), names.end()}; }

/// One managing call through its attempts.
class Managing {
   public:
    Managing(SystemDatabase::Core& core, const ManagingCall& call,
             const std::function<void(ManagedWrite&)>& body)
        : core_(core), call_(call), body_(body) {}

    void run() {
        try {
            core_.with_connection([this](sql::Connection& connection, const Attempt& attempt) {
                attempted(connection, attempt);
                return true;
            });
        } catch (const GateClosed&) {  // what an attempt that was committed has changed is told below
            if (call_.gate->result.kind != StepResult::Kind::recorded) return;
        }
        const auto queues = listed(queues_);
        core_.claims->forget(queues);
        tell_after_commit(core_, {.queues = queues, .ended = ended_});
    }

   private:
    void attempted(sql::Connection& connection, const Attempt& attempt) {
        if (attempt.ambiguous) seam::reach(seam::Situation::managed_repeated);
        if (core_.backend == sql::Backend::sqlite) return once(connection, attempt, {});
        try {
            once(connection, attempt, core_.options.blocked_after);
        } catch (const DatabaseError& error) {
            if (error.kind() != DatabaseErrorKind::busy) throw;
            explain_block(connection, attempt);
        }
    }

    /// In one transaction; again, from the start, if the layout has changed meanwhile (safety 31).
    void once(sql::Connection& connection, const Attempt& attempt, seam::Duration lock_timeout) {
        for (int round = 0;; ++round) {
            const Layout layout = core_.layout(connection);
            sql::Transaction transaction(connection);
            if (lock_timeout > seam::Duration::zero()) {
                const std::string limit =
                    std::to_string(
                        std::chrono::duration_cast<std::chrono::milliseconds>(lock_timeout).count()) +
                    "ms";
                connection.execute(kSettings, {std::string_view(limit)});
            }
            ManagedWrite write(core_, connection, layout, attempt, call_.gate);
            body_(write);
            if (!write.gate_passed()) throw std::logic_error(named(call_) + " has not passed its gate");
            // The tables are locked against a migration by now, so what is read here holds until the commit.
            if (!layout.payload_tables && round < 2) {
                const auto version = connection.execute(kVersion).at(0, 0).optional_integer();
                if (version && *version != layout.version) {
                    transaction.rollback();
                    core_.forget_layout();
                    continue;
                }
            }
            queues_ = write.queues;
            ended_ = write.ended;
            const auto queues = listed(queues_);
            notify_in_transaction(core_, connection, {.queues = queues, .ended = ended_});
            commit(transaction, layout);
            return;
        }
    }

    void commit(sql::Transaction& transaction, const Layout& layout) {
        try {
            transaction.commit();
        } catch (const DatabaseError& error) {
            const bool repeatable = call_.gate != nullptr || call_.repeat == Repeat::always ||
                                    (call_.repeat == Repeat::where_fenced && layout.creator_token);
            if (repeatable || !error.outcome_unknown()) throw;
            throw OutcomeUnknown(named(call_) +
                                     " was sent, but its acknowledgement was lost, and a repeat could undo "
                                     "what happened since: look at the result, then call again if needed. "
                                     "The error was: " +
                                     error.what(),
                                 call_.ids.size() == 1 ? call_.ids.front() : std::string());
        }
    }

    void explain_block(sql::Connection& connection, const Attempt& attempt) {
        Blockers blockers(core_, connection);
        try {
            once(connection, attempt, kOnceMore);
        } catch (const DatabaseError& error) {
            if (error.kind() != DatabaseErrorKind::busy) throw;
            throw DatabaseError(DatabaseErrorKind::blocked,
                                named(call_) + " has waited " +
                                    seconds(core_.options.blocked_after + kOnceMore) +
                                    " s for a lock; held by server process " + blockers.finish() +
                                    " (pg_stat_activity.pid); does this thread, or another program, hold an "
                                    "open transaction?",
                                error.sqlstate());
        }
    }

    SystemDatabase::Core& core_;
    const ManagingCall& call_;
    const std::function<void(ManagedWrite&)>& body_;
    std::set<std::string> queues_;
    std::vector<std::string> ended_;
};

}  // namespace

void managed_write(SystemDatabase::Core& core, const ManagingCall& call,
                   const std::function<void(ManagedWrite&)>& body) {
    Managing(core, call, body).run();
}

std::vector<LockedRow> ManagedWrite::lock(std::span<const std::string> ids, Lock strength) {
    if (gate_passed()) return lock_rows(ids, strength);
    const std::string& own = gate_->fence.workflow_id;
    const bool among_them = std::ranges::find(ids, own) != ids.end();
    std::vector<std::string> all(ids.begin(), ids.end());
    if (!among_them) all.push_back(own);
    std::vector<LockedRow> rows = lock_rows(all, strength);
    pass_gate(rows);
    if (!among_them) std::erase_if(rows, [&own](const LockedRow& row) { return row.id == own; });
    return rows;
}

void ManagedWrite::pass_gate(std::span<const LockedRow> rows) {
    gate_->result = {};
    gate_->own_run_ended = false;
    const auto own = std::ranges::find(rows, gate_->fence.workflow_id, &LockedRow::id);
    if (own == rows.end() || own->owner_xid != gate_->fence.token || own->status != "PENDING") {
        seam::reach(seam::Situation::step_fence_lost);
        gate_->result.kind = StepResult::Kind::lost;
        throw GateClosed();
    }
    const StepRecord& step = gate_->checkpoint;
    const sql::Result inserted = connection.execute(
        kCheckpoint,
        {std::string_view(gate_->fence.workflow_id), std::int64_t{step.function_id},
         std::string_view(step.function_name), sql::opt(step.output), sql::opt(step.error),
         sql::opt(step.child_workflow_id), sql::opt(step.started_at_ms), sql::opt(step.completed_at_ms),
         sql::opt(step.serialization), sql::opt(step.application_name), now_ms()});
    passed_ = inserted.affected() > 0;
    if (passed_) return;
    const sql::Result found =
        connection.execute(core.start_statements(layout).read_step,
                           {std::string_view(gate_->fence.workflow_id), std::int64_t{step.function_id}});
    gate_->result.stored = read_step_record(found, 0, 2);
    const bool ours = gate_->result.stored.completed_at_ms == step.completed_at_ms;
    if (ours) seam::reach(seam::Situation::own_step_recognised);
    gate_->result.kind = ours ? StepResult::Kind::recorded : StepResult::Kind::other;
    throw GateClosed();
}

void ManagedWrite::release(std::span<const LockedRow> rows) noexcept {
    if (gate_ == nullptr) return;
    for (const LockedRow& row : rows)
        gate_->own_run_ended = gate_->own_run_ended || row.id == gate_->fence.workflow_id;
}

std::vector<LockedRow> ManagedWrite::lock_rows(std::span<const std::string> ids, Lock strength) {
    if (ids.empty()) return {};
    std::string text = "SELECT w.workflow_uuid, w.status, w.name, w.queue_name, w.owner_xid, " +
                       std::string(layout.ownership ? "w.application_name" : "NULL") +
                       " FROM @workflow_status w WHERE " + among("w.workflow_uuid", 1);
    if (postgres()) {
        text += std::string(" ORDER BY w.workflow_uuid COLLATE \"C\" FOR ") +
                (strength == Lock::remove ? "UPDATE" : "NO KEY UPDATE");
    }
    const sql::Result found = write(text, {text_array(ids)});
    std::vector<LockedRow> rows;
    rows.reserve(found.size());
    for (std::size_t row = 0; row < found.size(); ++row) {
        rows.push_back({found.at(row, 0).string(), found.at(row, 1).string(), found.at(row, 2).string(),
                        found.at(row, 3).optional_text(), found.at(row, 4).optional_text(),
                        found.at(row, 5).optional_text()});
    }
    return rows;
}

Millis ManagedWrite::now_ms() {
    if (!now_) now_ = postgres() ? connection.execute(kDatabaseTime).at(0, 0).integer() : core.durable_now();
    return *now_;
}

std::string ManagedWrite::among(const std::string& column, std::size_t n) const {
    return is_one_of(core.backend, column, n);
}

sql::TextArray ids_of(std::span<const LockedRow> rows) {
    sql::TextArray array;
    array.reserve(rows.size());
    for (const LockedRow& row : rows) array.emplace_back(row.id);
    return array;
}

void check_name(const LockedRow& row, const Text& expected) {
    if (!expected || row.name == *expected) return;
    throw ConflictingWorkflow(row.id,
                              "its name is \"" + row.name + "\", the contract says \"" + *expected + '"');
}

void check_all_exist(std::span<const std::string> ids, std::span<const LockedRow> rows) {
    std::set<std::string_view> found;
    for (const LockedRow& row : rows) found.insert(row.id);
    std::string missing;
    for (const std::string& id : ids) {
        if (!found.insert(id).second) continue;
        missing += (missing.empty() ? "" : ", ") + id;
    }
    if (!missing.empty()) throw NonexistentWorkflow(missing);
}

}  // namespace dbos::sysdb
