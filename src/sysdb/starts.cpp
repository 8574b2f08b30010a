#include "sysdb/in_transaction.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "sysdb/announce.hpp"
#include "sysdb/committer_statements.hpp"

namespace dbos::sysdb {
namespace {

/// From so many rows on, one statement over arrays is quicker than one a row.
constexpr std::size_t kSet = 3;
/// How far a row's instant may run ahead of the clock, for the order within a partition.
constexpr Millis kFurthestAhead = 1000;

class Starts {
   public:
    Starts(const CommitterStatements& statements, sql::Connection& connection,
           std::span<const NewWorkflow> rows)
        : statements_(statements), connection_(connection), writes_(rows.size()) {
        std::map<std::pair<std::string, std::string>, std::int64_t> partitions;
        for (std::size_t n = 0; n < rows.size(); ++n) {
            validate_start(rows[n]);
            writes_[n].workflow = &rows[n];
            statements_.check(writes_[n]);
            if (rows[n].queue_partition_key)
                writes_[n].created_step =
                    partitions[{rows[n].queue_name.value_or(""), *rows[n].queue_partition_key}]++;
        }
    }

    void insert_sqlite(Millis now) {
        sql::Params params;
        for (Write& write : writes_) {
            const NewWorkflow& workflow = *write.workflow;
            const Millis at = now + std::min<Millis>(write.created_step, kFurthestAhead);
            if (insert_start(statements_, connection_, workflow, at, params)) created(statements_, write);
        }
    }

    void insert_rows() {
        std::vector<sql::Call> calls;
        for (const Write& write : writes_) {
            sql::Params params;
            statements_.bind_row(*write.workflow, params);
            params.emplace_back(write.created_floor);
            params.emplace_back(write.created_step);
            if (statements_.layout.payload_tables)
                params.emplace_back(std::string_view(write.workflow->inputs));
            calls.push_back({&statements_.start_row, std::move(params)});
        }
        const auto results = connection_.pipeline(calls);
        for (std::size_t n = 0; n < writes_.size(); ++n) {
            if (!results[n].empty()) created(statements_, writes_[n]);
        }
    }

    void insert_set() {
        std::vector<const NewWorkflow*> workflows;
        sql::IntArray floors, steps;
        std::unordered_map<std::string_view, Write*> first;
        for (Write& write : writes_) {
            workflows.push_back(write.workflow);
            floors.emplace_back(0);
            steps.emplace_back(write.created_step);
            first.emplace(write.workflow->workflow_id, &write);
        }
        sql::Params params;
        statements_.bind_set(workflows, params);
        params.emplace_back(std::move(floors));
        params.emplace_back(std::move(steps));
        const sql::Result inserted = connection_.execute(statements_.start_set, params);
        sql::TextArray ids, inputs;
        for (std::size_t row = 0; row < inserted.size(); ++row) {
            Write& write = *first.at(inserted.at(row, 0).text());
            created(statements_, write);
            ids.emplace_back(write.workflow->workflow_id);
            inputs.emplace_back(write.workflow->inputs);
        }
        if (statements_.layout.payload_tables && !ids.empty())
            connection_.execute(statements_.input_set, {std::move(ids), std::move(inputs)});
    }

    /// What stood in the way of the others.
    std::vector<StartResult> settle() {
        std::vector<sql::Call> reads;
        for (const Write& write : writes_) {
            if (write.resolved) continue;
            const NewWorkflow& workflow = *write.workflow;
            reads.push_back({&statements_.read_start, {std::string_view(workflow.workflow_id)}});
            reads.push_back({&statements_.read_holder,
                             {sql::opt(workflow.queue_name), sql::opt(workflow.deduplication_id)}});
        }
        const auto results = reads.empty() ? std::vector<sql::Result>() : connection_.pipeline(reads);
        std::vector<StartResult> told;
        std::size_t at = 0;
        for (Write& write : writes_) {
            if (!write.resolved) {
                settle_start(statements_, write, results[at], results[at + 1]);
                at += 2;
                if (!write.resolved)
                    write.start_result.kind = StartResult::Kind::deduplicated;  // it has let go
            }
            told.push_back(std::move(write.start_result));
        }
        return told;
    }

   private:
    const CommitterStatements& statements_;
    sql::Connection& connection_;
    std::vector<Write> writes_;
};

}  // namespace

std::vector<StartResult> start_in(SystemDatabase::Core& core, sql::Connection& connection,
                                  const Layout& layout, std::span<const NewWorkflow> rows, bool savepoints) {
    const CommitterStatements& statements = core.start_statements(layout);
    Starts starts(statements, connection, rows);
    if (connection.backend() == sql::Backend::sqlite) {
        starts.insert_sqlite(core.clock.now_ms());
    } else if (savepoints || rows.size() < kSet) {
        starts.insert_rows();
    } else {
        starts.insert_set();
    }
    return starts.settle();
}

std::vector<std::string> queues_of(std::span<const NewWorkflow> rows, std::span<const StartResult> results) {
    std::set<std::string> queues;
    for (std::size_t n = 0; n < rows.size(); ++n) {
        if (results[n].kind == StartResult::Kind::created && rows[n].status == "ENQUEUED" &&
            rows[n].queue_name)
            queues.insert(*rows[n].queue_name);
    }
    return {queues.begin(), queues.end()};
}

void SystemDatabase::wake(const std::string& queue) {
    const std::string queues[] = {queue};
    core_->with_connection(
        [&](sql::Connection& connection) { notify_in_transaction(*core_, connection, {.queues = queues}); });
    tell_after_commit(*core_, {.queues = queues});
}

std::vector<StartResult> SystemDatabase::start_workflows(
    std::span<const NewWorkflow> rows, const std::function<bool(std::span<const StartResult>)>& accept) {
    if (rows.empty()) return {};
    std::vector<std::string> queues;
    auto results = core_->with_connection([&](sql::Connection& connection) {
        const Layout layout = core_->layout(connection);
        sql::Transaction transaction(connection);
        auto told = start_in(*core_, connection, layout, rows, false);
        queues.clear();
        if (!accept(told)) {
            transaction.rollback();
            return told;
        }
        queues = queues_of(rows, told);
        notify_in_transaction(*core_, connection, {.queues = queues});
        transaction.commit();
        return told;
    });
    tell_after_commit(*core_, {.queues = queues});
    return results;
}

}  // namespace dbos::sysdb
