// What the writes of managers (cancel, resume, fork, …) have in common: one transaction on a pool connection, repeated after
// transient failures, that knows its layout and tells others what it has changed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "sysdb/announce.hpp"
#include "sysdb/claim_state.hpp"
#include "sysdb/database.hpp"
#include "sysdb/manage.hpp"

namespace dbos::sysdb {

/// What a call does after an attempt that may have been committed (its acknowledgement was lost).
enum class Repeat : std::uint8_t {
    always,        ///< goes on; a repeat changes nothing, or recognises what it has done
    where_fenced,  ///< the same, but only where owner_xid tells a run from another (layout B)
    never,         ///< throws OutcomeUnknown
};

struct ManagingCall {
    const char* name;  // for errors: "cancel_workflow"
    std::span<const std::string> ids = {};
    Repeat repeat = Repeat::always;
    /// Of a call in a workflow's body: it may always be repeated. ManagedWrite::lock() passes it.
    Gate* gate = nullptr;
};

/// A row of workflow_status under a lock.
struct LockedRow {
    std::string id = {};
    std::string status = {};
    std::string name = {};
    Text queue_name = {};
    Text owner_xid = {};
    Text application_name = {};
    bool completed() const noexcept { return status == "SUCCESS" || status == "ERROR"; }
};

/// One attempt of a managing call: its transaction, and what others must be told.
class ManagedWrite {
   public:
    ManagedWrite(SystemDatabase::Core& of, sql::Connection& on, const Layout& as, const Attempt& in,
                 Gate* through = nullptr)
        : core(of), connection(on), layout(as), attempt(in), gate_(through) {}

    enum class Lock : std::uint8_t { update, remove };
    /// The rows of these ids that exist, locked in the order that all writers keep (safety 11). The first call of an attempt
    /// passes the gate, if there is one: it stands before every write, also with no ids. If the gate is closed the attempt
    /// ends here.
    std::vector<LockedRow> lock(std::span<const std::string> ids, Lock strength = Lock::update);
    /// Notes that these rows belong to no run any more.
    void release(std::span<const LockedRow> rows) noexcept;
    /// The clock of the database (SQLite: of this computer), read once; call it when the locks are held.
    Millis now_ms();
    /// "column is one of $n", an array of texts.
    std::string among(const std::string& column, std::size_t n) const;
    sql::Result write(const std::string& text, const sql::Params& params) {
        return connection.query(text, params, sql::Access::write);
    }
    /// Whether an earlier attempt may have been committed. Never behind a gate, which has told.
    bool repeated() const noexcept { return attempt.ambiguous && gate_ == nullptr; }
    bool gate_passed() const noexcept { return gate_ == nullptr || passed_; }
    bool postgres() const noexcept { return core.backend == sql::Backend::postgres; }

    SystemDatabase::Core& core;
    sql::Connection& connection;
    const Layout& layout;
    const Attempt& attempt;
    std::set<std::string> queues;    // have new work, or a free slot
    std::vector<std::string> ended;  // workflows that ended

   private:
    std::vector<LockedRow> lock_rows(std::span<const std::string> ids, Lock strength);
    void pass_gate(std::span<const LockedRow> rows);

    std::optional<Millis> now_;
    Gate* gate_;
    bool passed_ = false;
};

/// Calls `body(ManagedWrite&)` inside a transaction and commits it; the whole is repeated after transient failures as `call`
/// says. A gate's result is set when it returns. Waits for locks no longer than DatabaseOptions::blocked_after, then throws kind `blocked`, which names the holder.
void managed_write(SystemDatabase::Core& core, const ManagingCall& call,
                   const std::function<void(ManagedWrite&)>& body);

/// Views of the ids of rows, as an array parameter; the rows must outlive the call.
sql::TextArray ids_of(std::span<const LockedRow> rows);

/// Removes what belongs to these ids, whether or not they still have a row; `rows` are those that have, locked.
Removed delete_rows(ManagedWrite& write, std::span<const LockedRow> rows, std::span<const std::string> ids);

/// Throws ConflictingWorkflow if `expected` is another name.
void check_name(const LockedRow& row, const Text& expected);
/// Throws NonexistentWorkflow that names all of `ids` which are not among `rows`.
void check_all_exist(std::span<const std::string> ids, std::span<const LockedRow> rows);

}  // namespace dbos::sysdb
