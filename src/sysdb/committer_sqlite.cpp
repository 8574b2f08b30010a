// A batch on SQLite: row statements in one transaction, with the decisions made in between.
#include <algorithm>
#include <set>

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
            case WriteKind::effect: recorded_effect(c, write); break;
            case WriteKind::applied_effect: applied_effect(c, write); break;
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

    bool checkpoint(sql::Connection& c, const Write& write) { return checkpoint(c, write, *write.step); }

    bool checkpoint(sql::Connection& c, const Write& write, const StepRecord& step) {
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

    /// Those of its destinations that do not exist.
    sql::Result missing(sql::Connection& c, const Write& write) {
        const auto* send = write.effect_as<SendEffect>();
        return send ? c.execute(statements_->read_missing, {destinations_of(*send)}) : sql::Result();
    }

    void recorded_effect(sql::Connection& c, Write& write) {
        write.step_result = {};  // of an attempt before
        const sql::Result absent = missing(c, write);
        sql::Result message;
        StepRecord record = *write.step;
        if (const auto* receive = write.effect_as<ReceiveEffect>()) {
            message = c.execute(statements_->next_message, {std::string_view(write.fence->workflow_id),
                                                            std::string_view(receive->topic)});
            if (!message.empty())
                record = received(record, message.at(0, 1).optional_text(), message.at(0, 2).optional_text());
        }
        if (!may_act(write, absent, message) || !checkpoint(c, write, record)) {
            const sql::Result row = read_step(c, write);
            if constexpr (seam::simulated) look_for_successor(write, row);
            settle_effect(write, row, absent);
            const bool mine = write.resolved && write.step_result.kind == StepResult::Kind::recorded;
            if (!mine || !seam::planted(seam::Bug::effect_without_gate)) return;
        } else if (write.effect_as<ReceiveEffect>()) {
            write.step_result.stored = record;
        }
        act(c, write, message);
        write.step_result.kind = StepResult::Kind::recorded;
        write.resolved = write.published = true;
    }

    static bool may_act(const Write& write, const sql::Result& absent, const sql::Result& message) {
        if (!absent.empty()) return false;
        const auto* receive = write.effect_as<ReceiveEffect>();
        return !receive || receive->record_nothing || !message.empty();
    }

    void applied_effect(sql::Connection& c, Write& write) {
        const Fence& fence = *write.fence;
        const sql::Result absent = missing(c, write);
        const sql::Params run{std::string_view(fence.workflow_id), token(fence)};
        if (c.execute(statements_->fence_row, run).empty() || !absent.empty()) {
            settle_effect(write, read_step(c, write), absent);
            return;
        }
        act(c, write, {});
        write.step_result.kind = StepResult::Kind::recorded;
        write.resolved = write.published = true;
    }

    void act(sql::Connection& c, const Write& write, const sql::Result& message) {
        const std::string_view id = write.fence->workflow_id;
        const std::int64_t number = write.step->function_id;
        if (const auto* send = write.effect_as<SendEffect>()) {
            for (const NewMessage& m : send->messages) insert_message(c, m, m.destination, m.id);
            if (send->to_forks) {
                for (const NewMessage& m : send->messages) copy_to_forks(c, m);
            }
        } else if (const auto* event = write.effect_as<EventEffect>()) {
            const sql::Params row{id, std::string_view(event->key), std::string_view(event->value),
                                  std::string_view(event->serialization)};
            c.execute(statements_->event_row, row);
            sql::Params history = row;
            history.emplace_back(number);
            c.execute(statements_->history_row, history);
        } else if (const auto* append = write.effect_as<StreamEffect>()) {
            note_append(write, append->key);
            c.execute(statements_->stream_row,
                      {id, std::string_view(append->key), std::string_view(append->value),
                       std::string_view(append->serialization), number});
        } else if (!message.empty()) {
            c.execute(statements_->consume, {message.at(0, 0).text(), number});
        }
    }

    /// For the simulator: whether another value of the stream stands in this batch.
    void note_append(const Write& write, const std::string& key) const {
        if constexpr (seam::simulated) {
            for (const Write* other : batch_) {
                const auto* append = other->effect_as<StreamEffect>();
                if (append && other != &write && append->key == key && other->id() == write.id())
                    seam::reach(seam::Situation::two_appends_in_one_batch);
            }
        }
    }

    void insert_message(sql::Connection& c, const NewMessage& m, const std::string& destination,
                        const std::string& id) {
        c.execute(statements_->message_row,
                  {std::string_view(destination), std::string_view(m.topic), std::string_view(m.message),
                   std::string_view(m.serialization), std::string_view(id), m.created_at_ms});
    }

    /// To all descendants by fork.
    void copy_to_forks(sql::Connection& c, const NewMessage& m) {
        std::set<std::string> known{m.destination};
        std::vector<std::string> open{m.destination};
        while (!open.empty()) {
            const std::string origin = std::move(open.back());
            open.pop_back();
            const sql::Result forks = c.execute(statements_->forks_of, {std::string_view(origin)});
            for (std::size_t row = 0; row < forks.size(); ++row) {
                const std::string fork = forks.at(row, 0).string();
                if (!known.insert(fork).second) continue;
                open.push_back(fork);
                insert_message(c, m, fork, m.fork_key + "::" + fork);
            }
        }
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
