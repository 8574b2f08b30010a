// The statement texts of the committer for one database and layout, and how starts become their parameters.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sql/connection.hpp"
#include "sysdb/committer.hpp"
#include "sysdb/schema/layout.hpp"

namespace dbos::sysdb {

/// A column of workflow_status that a start fills in: text or whole number.
struct StartColumn {
    const char* name;
    const char* type;      // PostgreSQL
    bool Layout::* needs;  // capability without which the column is left out; nullptr = always there
    std::optional<std::string_view> (*text)(const NewWorkflow&, const Layout&);
    std::optional<std::int64_t> (*number)(const NewWorkflow&);
};

/// What a batch on PostgreSQL takes its checkpoints, payloads and outcomes for. To look whether a row is there before it is
/// inserted, and to insert it so that another may come first, costs a tenth of a batch.
enum class Rows : unsigned char { taken_for_new, looked_for };

/// Owns its texts; the Statement objects are identified by address, so it neither moves nor copies.
class CommitterStatements {
   public:
    /// `generation` makes the names of prepared statements differ between layouts met by one connection.
    CommitterStatements(sql::Backend backend, const Layout& layout, int generation);
    CommitterStatements(const CommitterStatements&) = delete;
    CommitterStatements& operator=(const CommitterStatements&) = delete;

    const Layout layout;

    // Those that the layout has no use for stay without a text.
    // Both databases.
    sql::Statement read_start{}, read_holder{}, read_step{}, read_outcome{};
    // One row a statement. On SQLite the start's inputs and the outcome's payload are statements of their own.
    sql::Statement start_row{}, step_row{}, outcome_row{};
    // SQLite.
    sql::Statement input_row{}, input_update{}, delete_steps{}, delete_output{}, output_row{};
    // Ticks of schedules (firing.cpp).
    sql::Statement fire_look{}, fire_row{};
    // Effects: with a checkpoint, and without one from inside a step. SQLite writes the checkpoint by step_row.
    struct EffectTexts {
        sql::Statement event{}, stream{}, send{}, send_to_forks{};
    };
    EffectTexts recorded{}, applied{};
    sql::Statement receive{}, read_missing{};
    // SQLite: what an effect consists of.
    sql::Statement fence_row{}, event_row{}, history_row{}, stream_row{}, message_row{}, forks_of{},
        next_message{}, consume{};
    // PostgreSQL, over arrays. `_locked`: an own statement ahead has taken the locks. `_new`: takes all rows for new, and fails
    // with a unique violation where one is there.
    sql::Statement lock_timeout{}, lock{}, start_set{}, input_set{}, input_set_new{}, child_set{},
        checkpoint_set{}, first_wins_set{}, first_wins_set_locked{}, notify{};
    struct SetTexts {
        sql::Statement unlocked{}, locked{}, unlocked_new{}, locked_new{};
        const sql::Statement& of(bool is_locked, Rows rows) const noexcept {
            if (rows == Rows::taken_for_new) return is_locked ? locked_new : unlocked_new;
            return is_locked ? locked : unlocked;
        }
    };
    SetTexts step_set{}, outcome_set{};

    /// Columns in parameter order.
    const std::vector<const StartColumn*>& start_columns() const noexcept { return columns_; }
    /// Appends the columns of one start as single parameters.
    void bind_row(const NewWorkflow& workflow, sql::Params& params) const;
    /// Appends the columns of many starts as arrays.
    void bind_set(const std::vector<const NewWorkflow*>& workflows, sql::Params& params) const;
    /// Throws ConfigError if a value has no column in this layout, or if runs cannot be written in it at all.
    void check(const Write& write) const;

   private:
    sql::Statement make(const char* name, std::string text, sql::Access access = sql::Access::write);
    void make_reads();
    void make_postgres();
    void make_postgres_starts();
    void make_postgres_children();
    void make_postgres_steps();
    void make_postgres_effects();
    void make_postgres_outcomes();
    void make_sqlite();
    void make_firing(sql::Backend backend);
    void make_sqlite_effects();
    std::string column_names() const;

    int generation_;
    std::deque<std::string> texts_;
    std::vector<const StartColumn*> columns_;
};

/// The statements of each layout met. They live as long as the connections that have prepared them.
class StatementSets {
   public:
    explicit StatementSets(sql::Backend backend) : backend_(backend) {}
    const CommitterStatements& of(const Layout& layout);

   private:
    sql::Backend backend_;
    std::deque<CommitterStatements> sets_;
};

/// Refuses before any SQL what no row could hold (safety rule 13). Throws UsageError.
void validate_start(const NewWorkflow& workflow);

// What the reads of an unclear result mean: fill in the result and set `resolved`, or set `again`.
void settle_start(const CommitterStatements& statements, Write& write, const sql::Result& row,
                  const sql::Result& holder);
void settle_step(Write& write, const sql::Result& row);
/// Whether a row of read_start was inserted by this write (an attempt of it).
bool row_is_ours(const Write& write, const sql::Result& row);
void settle_child(const CommitterStatements& statements, Write& write, const sql::Result& checkpoint,
                  const sql::Result& row, const sql::Result& holder);
void settle_outcome(Write& write, const sql::Result& row);
/// `checkpoint` as read_step gives it; `missing`: destinations of a send that do not exist, as read_missing gives them.
void settle_effect(Write& write, const sql::Result& checkpoint, const sql::Result& missing);
/// Whether the run of a write owns its workflow by the first two columns of read_step.
bool fence_holds(const Write& write, const sql::Result& row);
/// The destinations of a send, each once, as an array parameter.
sql::TextArray destinations_of(const SendEffect& send);
/// What a receive leaves behind for this message: the checkpoint with the message as its output.
StepRecord received(const StepRecord& checkpoint, Text message, Text serialization);
/// SQLite: inserts a start with its payload, stamped with `at`, in the open transaction; false = something stood in the way.
/// `params` is room that callers use again.
bool insert_start(const CommitterStatements& statements, sql::Connection& connection,
                  const NewWorkflow& workflow, Millis at, sql::Params& params);
/// The payload of a row that this transaction of SQLite has inserted.
void insert_input(const CommitterStatements& statements, sql::Connection& connection,
                  const NewWorkflow& workflow, Millis at);
/// The result of a start or child that this transaction inserted.
void created(const CommitterStatements& statements, Write& write);
/// Columns of kStepColumns from `first` on.
StepRecord read_step_record(const sql::Result& result, std::size_t row, std::size_t first);
/// As selected for read_step_record, of the table with alias `o`.
extern const char* const kStepColumns;

}  // namespace dbos::sysdb
