// A batch on PostgreSQL: one pipeline, one round trip, one (implicit) transaction, and behind it what notifies. Results are
// matched back by workflow id and step number; what is not plain is read afterwards.
#include <algorithm>

#include "sysdb/committer_plan.hpp"

namespace dbos::sysdb {
namespace {

class PostgresWriter final : public BatchWriter {
   public:
    PostgresWriter(SystemDatabase::Core& core, CreationOrder& order) : core_(core), order_(order) {}

    void set_lock_timeout(seam::Duration timeout) override {
        lock_timeout_ =
            std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count());
    }

    void write(sql::Connection& connection, std::span<Write* const> writes,
               const sql::Connection::Meanwhile& meanwhile) override {
        statements_ = &sets_.of(core_.layout(connection));
        for (Write* write : writes) {
            statements_->check(*write);
            write->unsettle();
        }
        order_.plan(writes);
        const bool expected = wary_ > 0 || std::ranges::any_of(writes, &Write::ambiguous);
        if (wary_ > 0) --wary_;
        try {
            send(connection, writes, expected ? Rows::looked_for : Rows::taken_for_new, meanwhile);
        } catch (const DatabaseError& error) {
            if (expected || error.kind() != DatabaseErrorKind::unique_violation) throw;
            wary_ = kWaryBatches;
            send(connection, writes, Rows::looked_for, meanwhile);
        }
        settle(connection, writes);
    }

    void tell(sql::Connection& connection) override {
        if (untold_.empty() || !connection.usable()) return;
        std::vector<std::uint32_t> no_queues;
        const std::string payload = wake_payload(core_.options.open.schema, no_queues, untold_);
        connection.execute(statements_->notify, {sql::TextArray{std::string_view(kWakeChannel)},
                                                 sql::TextArray{std::string_view(payload)}});
        told();
    }

   private:
    /// Where many workflows end, those who wait for them elsewhere hear of it so often. A notification wakes a process of the
    /// server and a thread for every process that listens, and each batch would send one.
    static constexpr seam::Duration kTellEvery = std::chrono::milliseconds(50);
    static constexpr std::size_t kMany = 32;  // writes of a batch

    /// Where one row was there already, others are likely to be: workflows that were resumed, or that two processes run.
    static constexpr int kWaryBatches = 100;

    void send(sql::Connection& connection, std::span<Write* const> writes, Rows rows,
              const sql::Connection::Meanwhile& meanwhile) {
        PostgresPlan plan(*statements_, writes, lock_timeout_, rows);
        std::vector<std::uint32_t> ended;
        bool now = true;
        if (core_.options.notify) {
            ended = untold_;
            for (const Write* write : writes) {
                if (write->outcome) ended.push_back(wake_hash(write->outcome->fence.workflow_id));
            }
            now = writes.size() < kMany || seam::steady_now() - told_at_ >= kTellEvery;
            plan.notify(core_.options.open.schema, writes, now ? ended : std::vector<std::uint32_t>());
        }
        const std::vector<sql::Result> results = connection.pipeline(plan.calls(), meanwhile);
        plan.by_rows() ? match_rows(plan, results) : match_sets(plan, results);
        if (!now) {
            untold_ = std::move(ended);
        } else if (!ended.empty()) {
            told();
        }
    }

    void told() {
        untold_.clear();
        told_at_ = seam::steady_now();
    }

    void match_rows(const PostgresPlan& plan, const std::vector<sql::Result>& results) {
        for (std::size_t n = 0; n < plan.rows().size(); ++n) {
            Write& write = *plan.rows()[n];
            const sql::Result& result = results[plan.first_row() + n];
            if (write.is_effect()) {
                acted(write, result);
            } else if (write.kind == WriteKind::step) {
                result.empty() ? lost(write) : recorded(write, result.at(0, 0).optional_integer());
            } else if (result.empty()) {
                continue;
            } else if (write.kind == WriteKind::start) {
                inserted(write, result.at(0, 1).integer());
            } else {
                ended(write);
            }
        }
    }

    void match_sets(PostgresPlan& plan, const std::vector<sql::Result>& results) {
        if (const std::size_t call = plan.call(batch_part::starts)) {
            match_starts(results[call], plan.of(WriteKind::start),
                         [&](Write& write, Millis at) { inserted(write, at); });
        }
        if (plan.call(batch_part::children)) match_children(plan, results);
        if (const std::size_t call = plan.call(batch_part::steps)) {
            const sql::Result& result = results[call];
            match(result, plan.of(WriteKind::step), true, [&](Write& write, std::size_t row) {
                recorded(write, result.at(row, 2).optional_integer());
            });
            for (Write* write : plan.of(WriteKind::step)) {
                if (!write->resolved && !write->foreign) lost(*write);
            }
        }
        if (const std::size_t call = plan.call(batch_part::firsts)) {
            match(results[call], plan.of(WriteKind::first_wins), true, [](Write& write, std::size_t) {
                write.step_result.kind = StepResult::Kind::recorded;
                write.step_result.stored = *write.step;
                write.resolved = true;
            });
        }
        if (const std::size_t call = plan.call(batch_part::effects)) {
            const std::vector<Write*>& writes = plan.of(WriteKind::effect);
            for (std::size_t n = 0; n < writes.size(); ++n) acted(*writes[n], results[call + n]);
        }
        if (const std::size_t call = plan.call(batch_part::outcomes)) {
            match(results[call], plan.of(WriteKind::outcome), false,
                  [](Write& write, std::size_t) { ended(write); });
        }
    }

    void match_children(PostgresPlan& plan, const std::vector<sql::Result>& results) {
        std::vector<Write*> writes = plan.of(WriteKind::child);
        match_starts(results[plan.call(batch_part::children)], writes, [&](Write& write, Millis at) {
            order_.stamped(write, at);
            write.inserted = true;
        });
        std::sort(writes.begin(), writes.end(),
                  [](const Write* a, const Write* b) { return a->id() < b->id(); });
        match(results[plan.call(batch_part::checkpoints)], writes, true, [&](Write& write, std::size_t) {
            if (!write.inserted) return;  // the child was there: read what it is
            created(*statements_, write);
            write.checkpoint = StepResult::Kind::recorded;
        });
    }

    /// Rows in the order of the arrays, less those that met a conflict.
    template <class F>
    static void match_starts(const sql::Result& result, const std::vector<Write*>& writes, F&& found) {
        std::size_t at = 0;
        for (std::size_t row = 0; row < result.size(); ++row) {
            const std::string_view id = result.at(row, 0).text();
            for (std::size_t tried = 0; tried < writes.size(); ++tried, ++at) {
                if (at >= writes.size()) at = 0;
                if (writes[at]->workflow->workflow_id == id) break;
            }
            found(*writes[at++], result.at(row, 1).integer());
        }
    }

    /// Rows of (workflow id[, number, …]), usually in the order of the writes, which are sorted by workflow id.
    template <class F>
    static void match(const sql::Result& result, const std::vector<Write*>& writes, bool numbered,
                      F&& found) {
        std::size_t first = 0;
        const auto is = [&](std::size_t at, std::string_view id) {
            return at < writes.size() && writes[at]->id() == id;
        };
        for (std::size_t row = 0; row < result.size(); ++row) {
            const std::string_view id = result.at(row, 0).text();
            if (!is(first, id)) {
                const std::string_view last =
                    first < writes.size() ? std::string_view(writes[first]->id()) : id;
                while (is(first, last)) ++first;
            }
            if (!is(first, id)) {
                const auto less = [](const Write* write, std::string_view key) { return write->id() < key; };
                first = static_cast<std::size_t>(std::lower_bound(writes.begin(), writes.end(), id, less) -
                                                 writes.begin());
            }
            for (std::size_t at = first; is(at, id); ++at) {
                if (numbered && writes[at]->step->function_id != result.at(row, 1).integer()) continue;
                found(*writes[at], row);
                break;
            }
        }
    }

    void inserted(Write& write, Millis created_at) {
        order_.stamped(write, created_at);
        created(*statements_, write);
    }

    static void lost(Write& write) {
        write.step_result.kind = StepResult::Kind::lost;
        write.resolved = true;
    }

    static void recorded(Write& write, std::optional<Millis> completed_at) {
        write.foreign = completed_at != write.step->completed_at_ms;
        if (write.foreign) return;
        write.step_result.kind = StepResult::Kind::recorded;
        write.resolved = true;
    }

    /// An effect with the checkpoint it stands on; no row is read afterwards.
    static void acted(Write& write, const sql::Result& result) {
        if (result.empty()) return;
        write.step_result.kind = StepResult::Kind::recorded;
        if (write.effect_as<ReceiveEffect>()) {
            write.step_result.stored =
                received(*write.step, result.at(0, 1).optional_text(), result.at(0, 2).optional_text());
        }
        write.resolved = write.published = true;
    }

    static void ended(Write& write) {
        write.outcome_result = OutcomeResult::recorded;
        write.ended = write.resolved = true;
    }

    /// Reads what is not plain yet, in one round trip. The batch has been committed: after a failure here only these are
    /// written again.
    void settle(sql::Connection& connection, std::span<Write* const> writes) {
        std::vector<Write*> unclear;
        std::vector<sql::Call> reads;
        for (Write* write : writes) {
            if (write->resolved) continue;
            if (write->outcome && !write->ambiguous) {
                write->outcome_result = OutcomeResult::lost;
                write->resolved = true;
                continue;
            }
            write->ambiguous = true;
            unclear.push_back(write);
            plan_reads(*write, reads);
        }
        if (unclear.empty()) return;
        const std::vector<sql::Result> results = connection.pipeline(reads);
        std::size_t at = 0;
        const sql::Result none;
        const auto next = [&]() -> const sql::Result& { return results[at++]; };
        for (Write* write : unclear) {
            if (write->outcome) {
                settle_outcome(*write, next());
                continue;
            }
            if (write->is_effect()) {
                const sql::Result& checkpoint = next();
                settle_effect(*write, checkpoint, write->effect_as<SendEffect>() ? next() : none);
                continue;
            }
            if (!write->workflow) {
                settle_step(*write, next());
                continue;
            }
            const sql::Result& checkpoint = write->step ? next() : none;
            const sql::Result& row = next();
            const sql::Result& holder = write->workflow->deduplication_id ? next() : none;
            write->step ? settle_child(*statements_, *write, checkpoint, row, holder)
                        : settle_start(*statements_, *write, row, holder);
        }
    }

    void plan_reads(const Write& write, std::vector<sql::Call>& reads) const {
        if (write.outcome) {
            reads.push_back(
                {&statements_->read_outcome, {std::string_view(write.outcome->fence.workflow_id)}});
            return;
        }
        if (write.step) {
            reads.push_back(
                {&statements_->read_step,
                 {std::string_view(write.fence->workflow_id), std::int64_t{write.step->function_id}}});
        }
        if (const auto* send = write.effect_as<SendEffect>())
            reads.push_back({&statements_->read_missing, {destinations_of(*send)}});
        if (!write.workflow) return;
        const NewWorkflow& workflow = *write.workflow;
        reads.push_back({&statements_->read_start, {std::string_view(workflow.workflow_id)}});
        if (workflow.deduplication_id) {
            reads.push_back({&statements_->read_holder,
                             {sql::opt(workflow.queue_name), std::string_view(*workflow.deduplication_id)}});
        }
    }

    SystemDatabase::Core& core_;
    CreationOrder& order_;
    StatementSets sets_{sql::Backend::postgres};
    const CommitterStatements* statements_ = nullptr;
    std::string lock_timeout_ = "200";
    std::vector<std::uint32_t> untold_;  // hashes of workflows that have ended
    seam::SteadyTime told_at_;
    int wary_ = 0;  // so many batches more are expected to meet rows that are there
};

}  // namespace

std::unique_ptr<BatchWriter> make_postgres_writer(SystemDatabase::Core& core, CreationOrder& order) {
    return std::make_unique<PostgresWriter>(core, order);
}

}  // namespace dbos::sysdb
