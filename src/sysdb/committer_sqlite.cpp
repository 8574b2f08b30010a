// A batch on SQLite: row statements in one transaction, with the decisions made in between.
#include <algorithm>

#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "sysdb/committer_statements.hpp"

namespace dbos::sysdb {
namespace {

class SqliteWriter final : public BatchWriter {
   public:
    SqliteWriter(SystemDatabase::Core& core, CreationOrder& order) : core_(core), order_(order) {}

    void write(sql::Connection& connection, std::span<Write* const> writes,
               const sql::Connection::Meanwhile&) override {
        const Layout layout = core_.layout(connection);
        statements_ = &sets_.of(layout);
        for (Write* write : writes) {
            statements_->check(*write);
        }
        order_.plan(writes);
        batch_ = writes;
        tokens_.clear();
        for (const Write* write : writes) {
            if (seam::planted(seam::Bug::fence_by_two_arrays) && write->fence) tokens_ += write->fence->token;
        }
        try {
            sql::Transaction transaction(connection);
            now_ = core_.durable_now();
            for (Write* write : writes) one(connection, *write);
            transaction.commit();
        } catch (...) {
            for (Write* write : writes) write->unsettle();
            throw;
        }
    }

   private:
    /// For the simulator: whether a test of ids and tokens apart would let this stale write pass.
    void look_for_successor(const Write& stale, const sql::Result& row) const {
        if (row.empty() || row.at(0, 0).null() || row.at(0, 0).text() == stale.fence->token) return;
        for (const Write* other : batch_) {
            if (other->fence && row.at(0, 0).text() == other->fence->token)
                seam::reach(seam::Situation::two_runs_in_one_batch);
        }
    }

    /// What the owner of a fenced row is compared with.
    std::string_view token(const Fence& fence) const { return tokens_.empty() ? fence.token : tokens_; }

    void one(sql::Connection& c, Write& write) {
        write.unsettle();
        switch (write.kind) {
            case WriteKind::start: start(c, write); break;
            case WriteKind::child: child(c, write); break;
            case WriteKind::step:
            case WriteKind::first_wins: step(c, write); break;
            case WriteKind::outcome: outcome(c, write); break;
        }
    }

    bool insert(sql::Connection& c, Write& write) {
        const NewWorkflow& workflow = *write.workflow;
        const Millis at = std::min(std::max(now_, write.created_floor) + write.created_step, now_ + 1000);
        if (!insert_start(*statements_, c, workflow, at, params_)) return false;
        order_.stamped(write, at);
        return true;
    }

    sql::Result holder(sql::Connection& c, const NewWorkflow& workflow) {
        if (!workflow.deduplication_id || !workflow.queue_name) return {};
        return c.execute(statements_->read_holder, {std::string_view(*workflow.queue_name),
                                                    std::string_view(*workflow.deduplication_id)});
    }

    void start(sql::Connection& c, Write& write) {
        if (insert(c, write)) {
            created(*statements_, write);
            return;
        }
        const NewWorkflow& workflow = *write.workflow;
        settle_start(*statements_, write,
                     c.execute(statements_->read_start, {std::string_view(workflow.workflow_id)}),
                     holder(c, workflow));
    }

    bool checkpoint(sql::Connection& c, const Write& write) {
        const StepRecord& step = *write.step;
        params_.clear();
        params_.emplace_back(std::string_view(write.fence->workflow_id));
        params_.emplace_back(token(*write.fence));
        params_.emplace_back(std::int64_t{step.function_id});
        params_.emplace_back(std::string_view(step.function_name));
        for (const Text* text : {&step.output, &step.error, &step.child_workflow_id})
            params_.push_back(sql::opt(*text));
        params_.push_back(sql::opt(step.started_at_ms));
        params_.push_back(sql::opt(step.completed_at_ms));
        params_.push_back(sql::opt(step.serialization));
        params_.push_back(sql::opt(step.application_name));
        params_.emplace_back(now_);
        return c.execute(statements_->step_row, params_).affected() > 0;
    }

    sql::Result read_step(sql::Connection& c, const Write& write) {
        return c.execute(statements_->read_step,
                         {std::string_view(write.fence->workflow_id), std::int64_t{write.step->function_id}});
    }

    void step(sql::Connection& c, Write& write) {
        if (checkpoint(c, write)) {
            write.step_result.kind = StepResult::Kind::recorded;
            if (write.kind == WriteKind::first_wins) write.step_result.stored = *write.step;
            write.resolved = true;
            return;
        }
        const sql::Result row = read_step(c, write);
        if constexpr (seam::simulated) look_for_successor(write, row);
        settle_step(write, row);
    }

    void child(sql::Connection& c, Write& write) {
        const NewWorkflow& workflow = *write.workflow;
        const sql::Result before = read_step(c, write);
        const bool may = !before.empty() && before.at(0, 0).text() == write.fence->token &&
                         before.at(0, 1).text() == "PENDING" && before.at(0, 2).null();
        const bool inserted = may && insert(c, write);
        const sql::Result row = c.execute(statements_->read_start, {std::string_view(workflow.workflow_id)});
        const bool matches = !row.empty() && row.at(0, 1).text() == workflow.name &&
                             row.at(0, 2).text() == workflow.class_name.value_or("") &&
                             row.at(0, 3).text() == workflow.config_name.value_or("") &&
                             (!write.refuse_existing || row_is_ours(write, row));
        if (may && matches) checkpoint(c, write);
        if (inserted) {
            created(*statements_, write);
            write.checkpoint = StepResult::Kind::recorded;
            return;
        }
        settle_child(*statements_, write, read_step(c, write), row, holder(c, workflow));
    }

    void outcome(sql::Connection& c, Write& write) {
        const Outcome& outcome = *write.outcome;
        const std::string_view id = outcome.fence.workflow_id;
        const std::string_view status = outcome.success ? "SUCCESS" : "ERROR";
        if (c.execute(statements_->outcome_row, {id, token(outcome.fence), status, now_}).affected() > 0) {
            const sql::Param payload{std::string_view(outcome.payload)};
            c.execute(statements_->output_row, {id, outcome.success ? payload : sql::Param(),
                                                outcome.success ? sql::Param() : payload, now_});
            write.outcome_result = OutcomeResult::recorded;
            write.ended = write.resolved = true;
        } else if (write.ambiguous) {
            settle_outcome(write, c.execute(statements_->read_outcome, {id}));
        } else {
            seam::reach(seam::Situation::outcome_fence_lost);
            write.outcome_result = OutcomeResult::lost;
            write.resolved = true;
        }
    }

    SystemDatabase::Core& core_;
    CreationOrder& order_;
    StatementSets sets_{sql::Backend::sqlite};
    const CommitterStatements* statements_ = nullptr;
    Millis now_ = 0;
    std::span<Write* const> batch_;  // that is being written
    std::string tokens_;             // only with a planted bug
    sql::Params params_;
};

}  // namespace

std::unique_ptr<BatchWriter> make_sqlite_writer(SystemDatabase::Core& core, CreationOrder& order) {
    return std::make_unique<SqliteWriter>(core, order);
}

}  // namespace dbos::sysdb
