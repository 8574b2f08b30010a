// A batch as the calls of one pipeline on PostgreSQL: row statements for one or two writes, else one statement a kind over
// arrays.
#pragma once

#include <array>
#include <deque>
#include <string>
#include <vector>

#include "sysdb/committer_statements.hpp"

namespace dbos::sysdb {

/// The statements of a set-based batch whose rows are looked at.
namespace batch_part {
inline constexpr std::size_t starts = 0, children = 1, checkpoints = 2, steps = 3, firsts = 4, effects = 5,
                             outcomes = 6;
}

/// Views into the writes and `lock_timeout`, which outlive it.
class PostgresPlan {
   public:
    PostgresPlan(const CommitterStatements& statements, std::span<Write* const> writes,
                 const std::string& lock_timeout, Rows rows);
    PostgresPlan(const PostgresPlan&) = delete;
    PostgresPlan& operator=(const PostgresPlan&) = delete;

    /// Adds the notifying statement behind the transaction, if anything was enqueued or published, or if workflows have ended
    /// (hashes of their ids: those of this batch, and any that were kept back).
    void notify(const std::string& schema, std::span<Write* const> writes, std::vector<std::uint32_t> ended);

    const std::vector<sql::Call>& calls() const noexcept { return calls_; }
    bool by_rows() const noexcept { return by_rows_; }
    /// by_rows: the writes in the order of the calls from first_row() on.
    const std::vector<Write*>& rows() const noexcept { return rows_; }
    std::size_t first_row() const noexcept { return first_row_; }
    /// Sets: the call of a part, 0 = not in this batch.
    std::size_t call(std::size_t part) const noexcept { return at_[part]; }
    /// Sets: starts, children and effects in order of submission, the others by workflow id. Effects stand together, a call each
    /// from call(batch_part::effects) on.
    std::vector<Write*>& of(WriteKind kind) { return kinds_[static_cast<std::size_t>(kind)]; }

   private:
    void plan_rows(std::span<Write* const> writes);
    void plan_start(const Write& write, sql::Params& params);
    void plan_step(const Write& write, sql::Params& params);
    void plan_outcome(const Outcome& outcome, sql::Params& params);
    void plan_sets();
    void plan_lock();
    void plan_starts(const std::vector<Write*>& writes, const sql::Statement* statement, std::size_t part);
    void plan_inputs();
    void plan_checkpoints();
    void plan_steps(const std::vector<Write*>& writes, const sql::Statement* statement, std::size_t part);
    void plan_effects();
    void plan_effect(const Write& write);
    void bind_checkpoint(const Write& write, sql::Params& params);
    void plan_outcomes(const sql::Statement* statement);
    void add(std::size_t part, const sql::Statement* statement, sql::Params params);

    const CommitterStatements* statements_;
    Rows inserted_;
    bool by_rows_ = false;
    std::deque<std::string> payloads_;
    std::array<std::vector<Write*>, 7> kinds_;
    std::array<std::size_t, 7> at_{};
    std::vector<Write*> rows_;
    std::size_t first_row_ = 1;
    std::vector<sql::Call> calls_;
};

}  // namespace dbos::sysdb
