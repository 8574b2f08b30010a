// What may stand in one batch, and in which order.
#include <algorithm>

#include "sysdb/committer.hpp"

namespace dbos::sysdb {
namespace {

std::string pair_key(const Text& queue, const Text& key) {
    return queue.value_or("") + '\0' + key.value_or("");
}

/// Where in a batch a kind stands: effects in order of submission, whether they are recorded or not.
WriteKind phase(WriteKind kind) { return kind == WriteKind::applied_effect ? WriteKind::effect : kind; }

/// created_at may run ahead of the clock by no more than this.
constexpr std::size_t kRememberedPartitions = 4096;

}  // namespace

std::string Write::describe() const {
    switch (kind) {
        case WriteKind::start: return "start of workflow " + workflow->workflow_id;
        case WriteKind::child:
            return "start of workflow " + workflow->workflow_id + " by step " +
                   std::to_string(step->function_id) + " of workflow " + fence->workflow_id;
        case WriteKind::step:
        case WriteKind::first_wins:
        case WriteKind::effect:
            return "checkpoint " + std::to_string(step->function_id) + " (" + step->function_name +
                   ") of workflow " + fence->workflow_id;
        case WriteKind::applied_effect:
            return "message, event or stream value of step " + std::to_string(step->function_id) +
                   " of workflow " + fence->workflow_id;
        case WriteKind::outcome: break;
    }
    return "outcome of workflow " + fence->workflow_id;
}

void Write::reset() {
    workflow = nullptr;
    fence = nullptr;
    step = nullptr;
    effect = nullptr;
    outcome = nullptr;
    refuse_existing = false;
    owned.emplace<std::monostate>();
    completion.emplace<std::monostate>();
    bytes = 0;
    unsettle();
    ambiguous = false;
    start_result = {};
    step_result = {};
    checkpoint = StepResult::Kind::recorded;
    outcome_result = OutcomeResult::recorded;
    error = nullptr;
    next = heir = nullptr;
    since = reported = {};
    rounds = 0;
    created_floor = created_step = 0;
    side_keys.clear();
}

BatchKeys::Verdict BatchKeys::admit(const Write& write) {
    const auto entry = [this](const std::string& id) {
        const auto found = workflows_.find(id);
        return found == workflows_.end() ? nullptr : &found->second;
    };
    const auto refuse = [&] {
        hold(write);
        return Verdict::hold;
    };
    const bool numbered = write.step && write.kind != WriteKind::applied_effect;
    if (write.workflow) {  // a new row: nothing else in the batch may name it
        if (entry(write.workflow->workflow_id)) return refuse();
        if (write.workflow->deduplication_id &&
            deduplications_.contains(
                pair_key(write.workflow->queue_name, write.workflow->deduplication_id))) {
            return refuse();
        }
    }
    if (write.fence) {
        if (const Entry* run = entry(write.fence->workflow_id)) {
            const bool later = run->last > phase(write.kind) || run->last == WriteKind::outcome;
            const bool taken = numbered && std::find(run->steps.begin(), run->steps.end(),
                                                     write.step->function_id) != run->steps.end();
            if (run->held || later || taken || !effect_fits(write, run)) return refuse();
        } else if (!effect_fits(write, nullptr)) {
            return refuse();
        }
        Entry& run = workflows_[write.fence->workflow_id];
        run.last = phase(write.kind);
        if (numbered) run.steps.push_back(write.step->function_id);
        if (const auto* event = write.effect_as<EventEffect>()) run.events.emplace_back(event->key);
        if (const auto* send = write.effect_as<SendEffect>()) {
            for (const NewMessage& message : send->messages) messages_.insert(message.id);
        }
    }
    if (write.workflow) {
        workflows_[write.workflow->workflow_id].last = WriteKind::start;
        if (write.workflow->deduplication_id) {
            deduplications_.emplace(pair_key(write.workflow->queue_name, write.workflow->deduplication_id),
                                    1);
        }
    }
    return Verdict::join;
}

/// One event of a key, one message of an id. Values of a stream need no key: each append is a statement of its own, so they
/// take consecutive offsets in the order of submission.
bool BatchKeys::effect_fits(const Write& write, const Entry* run) const {
    if (const auto* event = write.effect_as<EventEffect>()) {
        return !run || std::find(run->events.begin(), run->events.end(), event->key) == run->events.end();
    }
    if (const auto* send = write.effect_as<SendEffect>()) {
        return std::none_of(send->messages.begin(), send->messages.end(),
                            [this](const NewMessage& message) { return messages_.contains(message.id); });
    }
    return true;
}

bool BatchKeys::names(const Write& write) const {
    if (write.fence && workflows_.contains(write.fence->workflow_id)) return true;
    if (!write.workflow) return false;
    const NewWorkflow& workflow = *write.workflow;
    return workflows_.contains(workflow.workflow_id) ||
           (workflow.deduplication_id &&
            deduplications_.contains(pair_key(workflow.queue_name, workflow.deduplication_id)));
}

void BatchKeys::hold(const Write& write) {
    if (write.workflow) {
        workflows_[write.workflow->workflow_id].held = true;
        if (write.workflow->deduplication_id) {
            deduplications_.emplace(pair_key(write.workflow->queue_name, write.workflow->deduplication_id),
                                    1);
        }
    }
    if (write.fence) workflows_[write.fence->workflow_id].held = true;
}

void BatchKeys::clear() {
    workflows_.clear();
    messages_.clear();
    deduplications_.clear();
}

void CreationOrder::plan(std::span<Write* const> writes) {
    const std::lock_guard<seam::Mutex> lock(mutex_);
    std::unordered_map<std::string, std::int64_t> ahead;
    for (Write* write : writes) {
        if (!write->workflow) continue;
        write->created_floor = last_;
        write->created_step = 0;
        if (!write->workflow->queue_partition_key) continue;
        std::string key = pair_key(write->workflow->queue_name, write->workflow->queue_partition_key);
        if (const auto known = partitions_.find(key); known != partitions_.end()) {
            write->created_floor = std::max(last_, known->second + 1);
        }
        write->created_step = ahead[std::move(key)]++;
    }
}

void CreationOrder::stamped(const Write& write, Millis created_at) {
    const std::lock_guard<seam::Mutex> lock(mutex_);
    if (!write.workflow->queue_partition_key) {
        last_ = std::max(last_, created_at);
        return;
    }
    if (partitions_.size() >= kRememberedPartitions) {
        // What lies behind the clock by more than any step ahead of it orders nothing any more.
        const Millis old = std::max(last_, created_at) - 2000;
        std::erase_if(partitions_, [old](const auto& partition) { return partition.second < old; });
    }
    Millis& last = partitions_[pair_key(write.workflow->queue_name, write.workflow->queue_partition_key)];
    last = std::max(last, created_at);
}

}  // namespace dbos::sysdb
