// What a batch says to PostgreSQL, as calls of one pipeline.
#include "sysdb/committer_plan.hpp"

#include <algorithm>

namespace dbos::sysdb {
namespace {

/// A payload of NOTIFY is shorter than 8 000 bytes.
constexpr std::size_t kLongestPayload = 7999;

bool by_id(const Write* a, const Write* b) { return a->id() < b->id(); }

std::optional<std::string_view> optional(const Text& text) {
    return text ? std::optional<std::string_view>(*text) : std::optional<std::string_view>();
}

void bind_messages(const SendEffect& send, sql::Params& params) {
    std::array<sql::TextArray, 5> texts;
    sql::IntArray instants;
    sql::TextArray fork_keys;
    for (const NewMessage& m : send.messages) {
        texts[0].emplace_back(m.destination);
        texts[1].emplace_back(m.topic);
        texts[2].emplace_back(m.message);
        texts[3].emplace_back(m.serialization);
        texts[4].emplace_back(m.id);
        instants.emplace_back(m.created_at_ms);
        if (send.to_forks) fork_keys.emplace_back(m.fork_key);
    }
    for (auto& array : texts) params.emplace_back(std::move(array));
    params.emplace_back(std::move(instants));
    if (send.to_forks) params.emplace_back(std::move(fork_keys));
}

}  // namespace

PostgresPlan::PostgresPlan(const CommitterStatements& statements, std::span<Write* const> writes,
                           const std::string& lock_timeout, Rows rows)
    : statements_(&statements), inserted_(rows) {
    for (Write* write : writes) of(write->is_effect() ? WriteKind::effect : write->kind).push_back(write);
    calls_.push_back({&statements.lock_timeout, {std::string_view(lock_timeout)}});
    const bool few = writes.size() <= 2 && of(WriteKind::child).empty() &&
                     of(WriteKind::first_wins).empty() &&
                     (of(WriteKind::effect).empty() || writes.size() == 1);
    by_rows_ =
        few ||
        !statements.layout.payload_tables;  // clients of an old database start workflows, and nothing else
    by_rows_ ? plan_rows(writes) : plan_sets();
}

void PostgresPlan::plan_rows(std::span<Write* const> writes) {
    rows_.assign(writes.begin(), writes.end());
    const auto locks = [](const Write* write) { return write->kind != WriteKind::start; };
    if (rows_.size() == 2 && locks(rows_[0]) && (!locks(rows_[1]) || by_id(rows_[1], rows_[0]))) {
        std::swap(rows_[0], rows_[1]);  // locks are taken in the order of ids
    }
    // The last offset of a stream is read by a statement that begins when the lock was granted.
    if (!of(WriteKind::effect).empty() && rows_.front()->effect_as<StreamEffect>()) plan_lock();
    first_row_ = calls_.size();
    for (const Write* write : rows_) {
        if (write->is_effect()) {
            plan_effect(*write);
            continue;
        }
        sql::Params params;
        switch (write->kind) {
            case WriteKind::start: plan_start(*write, params); break;
            case WriteKind::outcome: plan_outcome(*write->outcome, params); break;
            default: plan_step(*write, params); break;
        }
    }
}

void PostgresPlan::plan_start(const Write& write, sql::Params& params) {
    params.reserve(statements_->start_columns().size() + 3);
    statements_->bind_row(*write.workflow, params);
    params.emplace_back(write.created_floor);
    params.emplace_back(write.created_step);
    if (statements_->layout.payload_tables) params.emplace_back(std::string_view(write.workflow->inputs));
    calls_.push_back({&statements_->start_row, std::move(params)});
}

void PostgresPlan::plan_step(const Write& write, sql::Params& params) {
    bind_checkpoint(write, params);
    calls_.push_back({&statements_->step_row, std::move(params)});
}

void PostgresPlan::bind_checkpoint(const Write& write, sql::Params& params) {
    const StepRecord& step = *write.step;
    params.reserve(11);
    params.emplace_back(std::string_view(write.fence->workflow_id));
    params.emplace_back(std::string_view(write.fence->token));
    params.emplace_back(std::int64_t{step.function_id});
    params.emplace_back(std::string_view(step.function_name));
    for (const Text* text : {&step.output, &step.error, &step.child_workflow_id})
        params.push_back(sql::opt(*text));
    params.push_back(sql::opt(step.started_at_ms));
    params.push_back(sql::opt(step.completed_at_ms));
    params.push_back(sql::opt(step.serialization));
    params.push_back(sql::opt(step.application_name));
}

void PostgresPlan::plan_outcome(const Outcome& outcome, sql::Params& params) {
    const sql::Param payload{std::string_view(outcome.payload)};
    params.emplace_back(std::string_view(outcome.fence.workflow_id));
    params.emplace_back(std::string_view(outcome.fence.token));
    params.emplace_back(std::string_view(outcome.success ? "SUCCESS" : "ERROR"));
    params.push_back(outcome.success ? payload : sql::Param());
    params.push_back(outcome.success ? sql::Param() : payload);
    calls_.push_back({&statements_->outcome_row, std::move(params)});
}

void PostgresPlan::plan_sets() {
    at_.fill(0);
    for (const WriteKind kind : {WriteKind::step, WriteKind::first_wins, WriteKind::outcome}) {
        std::sort(of(kind).begin(), of(kind).end(), by_id);
    }
    const auto fencing =
        std::count_if(kinds_.begin() + 1, kinds_.end(), [](const auto& kind) { return !kind.empty(); });
    const bool locked = fencing > 1 || !of(WriteKind::effect).empty();
    if (locked) plan_lock();
    if (!of(WriteKind::start).empty())
        plan_starts(of(WriteKind::start), &statements_->start_set, batch_part::starts);
    if (!of(WriteKind::child).empty())
        plan_starts(of(WriteKind::child), &statements_->child_set, batch_part::children);
    if (!of(WriteKind::start).empty() || !of(WriteKind::child).empty()) plan_inputs();
    if (!of(WriteKind::child).empty()) plan_checkpoints();
    if (!of(WriteKind::step).empty()) {
        plan_steps(of(WriteKind::step), &statements_->step_set.of(locked, inserted_), batch_part::steps);
    }
    if (!of(WriteKind::first_wins).empty()) {
        plan_steps(of(WriteKind::first_wins),
                   locked ? &statements_->first_wins_set_locked : &statements_->first_wins_set,
                   batch_part::firsts);
    }
    plan_effects();
    if (!of(WriteKind::outcome).empty()) {
        plan_outcomes(&statements_->outcome_set.of(locked, inserted_));
    }
}

void PostgresPlan::plan_lock() {
    sql::TextArray ids;
    for (std::size_t kind = 1; kind < kinds_.size(); ++kind) {
        for (const Write* write : kinds_[kind]) ids.emplace_back(write->id());
    }
    sql::Params params;
    params.emplace_back(std::move(ids));
    calls_.push_back({&statements_->lock, std::move(params)});
}

void PostgresPlan::plan_starts(const std::vector<Write*>& writes, const sql::Statement* statement,
                               std::size_t part) {
    std::vector<const NewWorkflow*> workflows;
    sql::IntArray floors, steps;
    for (const Write* write : writes) {
        workflows.push_back(write->workflow);
        floors.emplace_back(write->created_floor);
        steps.emplace_back(write->created_step);
    }
    sql::Params params;
    params.reserve(statements_->start_columns().size() + 5);
    statements_->bind_set(workflows, params);
    params.emplace_back(std::move(floors));
    params.emplace_back(std::move(steps));
    if (part == batch_part::children) {
        sql::TextArray parents, tokens;
        sql::IntArray numbers;
        for (const Write* write : writes) {
            parents.emplace_back(write->fence->workflow_id);
            tokens.emplace_back(write->fence->token);
            numbers.emplace_back(write->step->function_id);
        }
        params.emplace_back(std::move(parents));
        params.emplace_back(std::move(tokens));
        params.emplace_back(std::move(numbers));
    }
    add(part, statement, std::move(params));
}

void PostgresPlan::plan_inputs() {
    sql::TextArray ids, inputs;
    for (const WriteKind kind : {WriteKind::start, WriteKind::child}) {
        for (const Write* write : of(kind)) {
            ids.emplace_back(write->workflow->workflow_id);
            inputs.emplace_back(write->workflow->inputs);
        }
    }
    sql::Params params;
    params.emplace_back(std::move(ids));
    params.emplace_back(std::move(inputs));
    const bool anew = inserted_ == Rows::taken_for_new;
    calls_.push_back({anew ? &statements_->input_set_new : &statements_->input_set, std::move(params)});
}

void PostgresPlan::plan_checkpoints() {
    sql::TextArray ids, tokens, functions, children, names, classes, configs, creators, formats, applications;
    sql::IntArray numbers, started, completed;
    for (const Write* write : of(WriteKind::child)) {
        ids.emplace_back(write->fence->workflow_id);
        tokens.emplace_back(write->fence->token);
        numbers.emplace_back(write->step->function_id);
        functions.emplace_back(write->step->function_name);
        children.emplace_back(write->workflow->workflow_id);
        names.emplace_back(write->workflow->name);
        classes.push_back(optional(write->workflow->class_name));
        configs.push_back(optional(write->workflow->config_name));
        creators.push_back(write->refuse_existing ? std::optional<std::string_view>(write->workflow->token)
                                                  : std::nullopt);
        formats.push_back(optional(write->step->serialization));
        applications.push_back(optional(write->step->application_name));
        started.push_back(write->step->started_at_ms);
        completed.push_back(write->step->completed_at_ms);
    }
    sql::Params params;
    for (sql::TextArray* texts : {&ids, &tokens}) params.emplace_back(std::move(*texts));
    params.emplace_back(std::move(numbers));
    for (sql::TextArray* texts :
         {&functions, &children, &names, &classes, &configs, &creators, &formats, &applications}) {
        params.emplace_back(std::move(*texts));
    }
    params.emplace_back(std::move(started));
    params.emplace_back(std::move(completed));
    add(batch_part::checkpoints, &statements_->checkpoint_set, std::move(params));
}

void PostgresPlan::plan_steps(const std::vector<Write*>& writes, const sql::Statement* statement,
                              std::size_t part) {
    std::array<sql::TextArray, 8> texts;
    std::array<sql::IntArray, 3> numbers;
    for (auto& array : texts) array.reserve(writes.size());
    for (auto& array : numbers) array.reserve(writes.size());
    for (const Write* write : writes) {
        const StepRecord& step = *write->step;
        texts[0].emplace_back(write->fence->workflow_id);
        texts[1].emplace_back(write->fence->token);
        texts[2].emplace_back(step.function_name);
        texts[3].push_back(optional(step.output));
        texts[4].push_back(optional(step.error));
        texts[5].push_back(optional(step.child_workflow_id));
        texts[6].push_back(optional(step.serialization));
        texts[7].push_back(optional(step.application_name));
        numbers[0].emplace_back(step.function_id);
        numbers[1].push_back(step.started_at_ms);
        numbers[2].push_back(step.completed_at_ms);
    }
    sql::Params params;
    params.reserve(11);
    params.emplace_back(std::move(texts[0]));
    params.emplace_back(std::move(texts[1]));
    params.emplace_back(std::move(numbers[0]));
    for (std::size_t n = 2; n < 6; ++n) params.emplace_back(std::move(texts[n]));
    params.emplace_back(std::move(numbers[1]));
    params.emplace_back(std::move(numbers[2]));
    params.emplace_back(std::move(texts[6]));
    params.emplace_back(std::move(texts[7]));
    add(part, statement, std::move(params));
}

void PostgresPlan::plan_outcomes(const sql::Statement* statement) {
    std::array<sql::TextArray, 5> texts;
    for (auto& array : texts) array.reserve(of(WriteKind::outcome).size());
    for (const Write* write : of(WriteKind::outcome)) {
        const Outcome& outcome = *write->outcome;
        texts[0].emplace_back(outcome.fence.workflow_id);
        texts[1].emplace_back(outcome.fence.token);
        texts[2].emplace_back(outcome.success ? "SUCCESS" : "ERROR");
        texts[outcome.success ? 3 : 4].emplace_back(outcome.payload);
        texts[outcome.success ? 4 : 3].emplace_back(std::nullopt);
    }
    sql::Params params;
    for (auto& array : texts) params.emplace_back(std::move(array));
    add(batch_part::outcomes, statement, std::move(params));
}

void PostgresPlan::add(std::size_t part, const sql::Statement* statement, sql::Params params) {
    at_[part] = calls_.size();
    calls_.push_back({statement, std::move(params)});
}

void PostgresPlan::plan_effects() {
    if (of(WriteKind::effect).empty()) return;
    at_[batch_part::effects] = calls_.size();
    for (const Write* write : of(WriteKind::effect)) plan_effect(*write);
}

void PostgresPlan::plan_effect(const Write& write) {
    const bool recorded = write.kind == WriteKind::effect;
    const CommitterStatements::EffectTexts& texts = recorded ? statements_->recorded : statements_->applied;
    sql::Params params;
    params.reserve(18);
    if (recorded) {
        bind_checkpoint(write, params);
    } else {
        params.emplace_back(std::string_view(write.fence->workflow_id));
        params.emplace_back(std::string_view(write.fence->token));
        params.emplace_back(std::int64_t{write.step->function_id});
    }
    const sql::Statement* statement = nullptr;
    if (const auto* receive = write.effect_as<ReceiveEffect>()) {
        statement = &statements_->receive;
        params.emplace_back(std::string_view(receive->topic));
        params.emplace_back(receive->record_nothing);
    } else if (const auto* send = write.effect_as<SendEffect>()) {
        statement = send->to_forks ? &texts.send_to_forks : &texts.send;
        bind_messages(*send, params);
    } else if (const auto* event = write.effect_as<EventEffect>()) {
        statement = &texts.event;
        for (const std::string* text : {&event->key, &event->value, &event->serialization})
            params.emplace_back(std::string_view(*text));
    } else {
        const StreamEffect& append = *write.effect_as<StreamEffect>();
        statement = &texts.stream;
        for (const std::string* text : {&append.key, &append.value, &append.serialization})
            params.emplace_back(std::string_view(*text));
    }
    calls_.push_back({statement, std::move(params)});
}

void PostgresPlan::notify(const std::string& schema, std::span<Write* const> writes,
                          std::vector<std::uint32_t> ended) {
    std::vector<std::uint32_t> queues;
    sql::TextArray channels, payloads;
    // What other SDKs listen to; they compare payloads whole. One that is too long would fail the commit.
    const auto publish = [&](const char* channel, const Write& write, const std::string& key) {
        std::string payload = write.fence->workflow_id + "::" + key;
        if (payload.size() > kLongestPayload) return;
        channels.emplace_back(channel);
        payloads.emplace_back(payloads_.emplace_back(std::move(payload)));
    };
    for (const Write* write : writes) {
        if (const auto* event = write->effect_as<EventEffect>())
            publish("dbos_workflow_events_channel", *write, event->key);
        if (const auto* append = write->effect_as<StreamEffect>())
            publish("dbos_streams_channel", *write, append->key);
        if (write->workflow && write->workflow->status == "ENQUEUED" && write->workflow->queue_name) {
            queues.push_back(wake_hash(*write->workflow->queue_name));
        }
        if (write->outcome && write->outcome->queue_name)
            queues.push_back(wake_hash(*write->outcome->queue_name));
    }
    if (!queues.empty() || !ended.empty()) {
        channels.emplace_back(kWakeChannel);
        payloads.emplace_back(payloads_.emplace_back(wake_payload(schema, queues, ended)));
    }
    if (channels.empty()) return;
    sql::Params params;
    params.emplace_back(std::move(channels));
    params.emplace_back(std::move(payloads));
    // A transaction that notifies holds a lock of the whole server until its commit is on the disk: within the batch's own, the
    // batches of all processes would be committed one by one.
    calls_.push_back({&statements_->notify, std::move(params), true});
}

}  // namespace dbos::sysdb
