// Client::explain: what the facts about a queued workflow mean, in the order in which a claim would meet them.
#include "client/explain.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "client/client_impl.hpp"
#include "client/core.hpp"
#include "core/options.hpp"
#include "sysdb/database.hpp"

namespace dbos {
namespace client {
namespace {

using sysdb::LivingExecutor;
using sysdb::QueueFacts;

constexpr std::int64_t kCountedAhead = 1000;

std::string quoted(const std::string& text) { return '"' + text + '"'; }

std::string plural(std::int64_t count, const std::string& what) {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string seconds(std::int64_t ms) {
    std::string text = std::to_string(ms / 1000) + "." + std::to_string(ms % 1000 / 100);
    if (text.ends_with(".0")) text.resize(text.size() - 2);
    return text + " s";
}

class Judge {
   public:
    explicit Judge(const QueueFacts& facts) : facts_(facts) {}

    std::vector<Reason> run() {
        if (facts_.status == "PENDING") {
            running();
        } else if (facts_.status == "DELAYED") {
            delayed();
        } else if (facts_.status != "ENQUEUED") {
            add({.obstacle = Obstacle::ended, .text = "it has ended: " + facts_.status});
        } else {
            queue();
            executors();
            if (facts_.queue) budgets();
        }
        return std::move(reasons_);
    }

   private:
    void add(Reason reason) { reasons_.push_back(std::move(reason)); }

    void running() {
        const std::string executor = facts_.executor_id.value_or("");
        const bool lives = std::ranges::any_of(
            facts_.living, [&](const LivingExecutor& living) { return living.executor_id == executor; });
        if (lives)
            return add({.obstacle = Obstacle::running, .text = "it runs on executor " + quoted(executor)});
        add({.obstacle = Obstacle::abandoned,
             .text = "its executor " + quoted(executor) +
                     " has no lease: a living executor of this library hands it back to its queue, if it was "
                     "one of "
                     "this library; executors of other SDKs have none"});
    }

    void delayed() {
        const std::int64_t until = facts_.delay_until_ms.value_or(0);
        add({.obstacle = Obstacle::delayed,
             .text = "it is delayed" + (until > facts_.now_ms
                                            ? " for " + seconds(until - facts_.now_ms)
                                            : " and due: a living executor of its application enqueues it"),
             .until_epoch_ms = until});
        if (facts_.living.empty()) no_executor();
    }

    void no_executor() {
        add({.obstacle = Obstacle::no_executor,
             .text = "no executor of this library is alive for " + application() +
                     "; executors of other SDKs leave no sign in the database"});
    }
    std::string application() const {
        return facts_.application_name ? "application " + quoted(*facts_.application_name)
                                       : "any application";
    }

    void queue() {
        if (facts_.queue_name == std::string(sysdb::kInternalQueue)) return;
        const std::string name = quoted(facts_.queue_name.value_or(""));
        if (!facts_.queue) {
            return add({.obstacle = Obstacle::no_queue,
                        .text = "queue " + name + " is not registered, so no application serves it"});
        }
        const auto& owner = facts_.queue->application_name;
        if (owner && facts_.application_name && owner != facts_.application_name) {
            add({.obstacle = Obstacle::foreign_queue,
                 .text = "queue " + name + " belongs to application " + quoted(*owner) +
                         ", the workflow to " + quoted(*facts_.application_name) + ": nobody serves both"});
        }
        const auto paused = [](const auto& limit) { return limit && *limit <= 0; };
        if (paused(facts_.limits.worker_concurrency) || paused(facts_.limits.partition_worker_concurrency)) {
            add({.obstacle = Obstacle::paused,
                 .text = "queue " + name + " is paused: its worker_concurrency is 0",
                 .limit = 0});
        }
        if (facts_.limits.partitioned && !facts_.partition_key) {
            add({.obstacle = Obstacle::no_partition_key,
                 .text = "queue " + name +
                         " is partitioned, and the workflow has no queue_partition_key: it never runs"});
        }
    }

    /// Leaves in `fit_` those that may claim it.
    void executors() {
        if (facts_.living.empty()) return no_executor();
        std::set<std::string> versions;
        const std::string wanted = facts_.version.value_or(facts_.latest_version.value_or(""));
        for (const LivingExecutor& living : facts_.living) {
            versions.insert(living.version);
            if (living.version == wanted || (!facts_.version && !facts_.latest_version))
                fit_.push_back(&living);
        }
        if (!fit_.empty()) return;
        std::string have;
        for (const std::string& version : versions) have += (have.empty() ? "" : ", ") + quoted(version);
        if (facts_.version) {
            add({.obstacle = Obstacle::other_version,
                 .text = "it is pinned to version " + quoted(wanted) +
                         ", which no living executor has (they have " + have + ')'});
        } else {
            add({.obstacle = Obstacle::not_latest,
                 .text =
                     "it has no version, so only the latest runs it, which is " + quoted(wanted) +
                     ", and no living executor has that (they have " + have +
                     "); start one, or make another version the latest with set_latest_application_version"});
        }
    }

    void limit(Obstacle obstacle, std::int64_t count, const std::optional<std::int32_t>& limit,
               const std::string& of) {
        if (!limit || count < *limit) return;
        add({.obstacle = obstacle,
             .text = std::to_string(count) + " of " + plural(*limit, "workflow") + " of " + of + " run",
             .count = count,
             .limit = *limit});
    }

    void workers(Obstacle obstacle, const std::optional<std::int32_t>& limit,
                 std::int64_t LivingExecutor::* running, const std::string& of) {
        if (!limit || *limit <= 0 || fit_.empty()) return;
        std::int64_t most = 0, all = 0;
        for (const LivingExecutor* executor : fit_) {
            if (executor->*running < *limit) return;
            most = std::max(most, executor->*running);
            all += executor->*running;
        }
        add({.obstacle = obstacle,
             .text = (fit_.size() == 1 ? "the living executor runs " : "each living executor runs ") +
                     plural(*limit, "workflow") + " of " + of + ", as many as it may",
             .count = all,
             .limit = *limit});
    }

    void rate(Obstacle obstacle, const std::optional<sysdb::StartRate>& rate,
              const std::optional<std::int64_t>& next, const std::string& of) {
        if (!rate || !next || *next <= facts_.now_ms) return;
        add({.obstacle = obstacle,
             .text = "all of the " + plural(rate->max, "start") + " in " + seconds(rate->period_ms) + " of " +
                     of + " are used" +
                     (rate->max > 0 ? "; the next one in " + seconds(*next - facts_.now_ms) : ""),
             .until_epoch_ms = rate->max > 0 ? next : std::nullopt,
             .limit = rate->max});
    }

    void budgets() {
        const std::string queue = "the queue";
        limit(Obstacle::concurrency, facts_.running, facts_.limits.concurrency, queue);
        workers(Obstacle::worker_concurrency, facts_.limits.worker_concurrency, &LivingExecutor::running,
                queue);
        rate(Obstacle::rate_limit, facts_.limits.rate, facts_.budget_at_ms, queue);
        if (facts_.limits.partitioned && facts_.partition_key) {
            const std::string key = "partition " + quoted(*facts_.partition_key);
            limit(Obstacle::partition_concurrency, facts_.running_of_key, facts_.limits.partition_concurrency,
                  key);
            workers(Obstacle::partition_worker_concurrency, facts_.limits.partition_worker_concurrency,
                    &LivingExecutor::running_of_key, key);
            rate(Obstacle::partition_rate_limit, facts_.limits.partition_rate, facts_.key_budget_at_ms, key);
        }
        if (facts_.ahead > 0) {
            const bool more = facts_.ahead >= kCountedAhead;
            add({.obstacle = Obstacle::others_first,
                 .text = (more ? "at least " : "") + plural(facts_.ahead, "workflow") + " of " +
                         (facts_.limits.partitioned && facts_.partition_key ? "its partition" : queue) +
                         (facts_.ahead == 1 ? " comes first" : " come first"),
                 .count = facts_.ahead});
        }
    }

    const QueueFacts& facts_;
    std::vector<const LivingExecutor*> fit_;
    std::vector<Reason> reasons_;
};

}  // namespace

std::vector<Reason> reasons_of(const sysdb::QueueFacts& facts) { return Judge(facts).run(); }

Explain Core::explain(const std::string& workflow_id) {
    core::check_workflow_id(workflow_id);
    const auto facts = guarded(*this, [&] { return database_->queue_facts(workflow_id); });
    if (!facts) throw NonexistentWorkflow(workflow_id);
    return {.workflow_id = workflow_id,
            .status = facts->status,
            .queue_name = facts->queue_name.value_or(""),
            .reasons = reasons_of(*facts)};
}

}  // namespace client

bool Explain::has(Obstacle obstacle) const noexcept {
    return std::ranges::any_of(reasons, [&](const Reason& reason) { return reason.obstacle == obstacle; });
}

std::string Explain::text() const {
    std::string line = workflow_id + " is " + status;
    if (!queue_name.empty()) line += " on queue \"" + queue_name + '"';
    if (reasons.empty()) return line + ": nothing stands in its way, the next claim takes it";
    const char* divider = ": ";
    for (const Reason& reason : reasons) {
        line += divider + reason.text;
        divider = "; ";
    }
    return line;
}

Explain Client::explain(const std::string& workflow_id) {
    impl_->core->check_thread("explain", false, true);
    return impl_->core->explain(workflow_id);
}

Future<Explain> Client::explain_async(std::string workflow_id) {
    core::check_workflow_id(workflow_id);
    return impl_->core->in_background<Explain>(
        [core = impl_->core, id = std::move(workflow_id)] { return core->explain(id); });
}

}  // namespace dbos
