#include "property/client/model.hpp"

#include <algorithm>

#include "dbos/serializer.hpp"

namespace dbos::property {

Row* Model::find(const std::string& id) {
    const auto found = rows.find(id);
    return found == rows.end() ? nullptr : &found->second;
}

Row* Model::holder(const std::string& queue, const std::string& deduplication) {
    for (auto& [id, row] : rows) {
        if (row.queue == queue && row.deduplication == deduplication) return &row;
    }
    return nullptr;
}

std::vector<std::string> Model::children_of(const std::set<std::string>& parents) const {
    std::vector<std::string> found;
    for (const auto& [id, row] : rows) {
        if (row.parent && parents.contains(*row.parent)) found.push_back(id);
    }
    return found;
}

std::set<std::string> Model::forks_below(const std::string& origin) const {
    std::set<std::string> all, level{origin};
    while (!level.empty()) {
        std::set<std::string> next;
        for (const auto& [id, row] : rows) {
            if (row.forked_from && level.contains(*row.forked_from) && id != origin && all.insert(id).second)
                next.insert(id);
        }
        level = std::move(next);
    }
    return all;
}

void Model::erase(const std::string& id) {
    rows.erase(id);
    std::erase_if(messages, [&](const auto& item) { return item.second.destination == id; });
    std::erase_if(unkeyed, [&](const SentMessage& message) { return message.destination == id; });
}

namespace {

template <class F>
void level_by_level(const Model& model, const std::vector<std::string>& ids, bool children, F one) {
    std::set<std::string> seen(ids.begin(), ids.end()), level = seen;
    while (!level.empty()) {
        std::vector<std::string> below;
        if (children) below = model.children_of(level);
        for (const std::string& id : level) one(id);
        level.clear();
        for (const std::string& id : below) {
            if (seen.insert(id).second) level.insert(id);
        }
    }
}

}  // namespace

void Model::cancel(const std::vector<std::string>& ids, bool children, const When& now) {
    level_by_level(*this, ids, children, [&](const std::string& id) {
        Row* row = find(id);
        if (!row || row->completed_for_good()) return;
        row->status = "CANCELLED";
        row->queue.reset();
        row->deduplication.reset();
        row->dequeued.reset();
        row->updated = now;
        row->completed = now;
    });
}

/// What resume and rewind do to a row.
static void enqueue_again(Row& row, const std::string& queue, const When& now) {
    row.status = "ENQUEUED";
    row.queue = queue.empty() ? "_dbos_internal_queue" : queue;
    row.attempts = 0;
    row.deadline.reset();
    row.deduplication.reset();
    row.dequeued.reset();
    row.completed.reset();
    row.updated = now;
}

void Model::resume(const std::vector<std::string>& ids, const std::string& queue, const When& now) {
    for (const std::string& id : ids) {
        Row& row = rows.at(id);
        if (row.completed_for_good()) continue;
        enqueue_again(row, queue, now);
    }
}

void Model::remove(const std::vector<std::string>& ids, bool children) {
    level_by_level(*this, ids, children, [&](const std::string& id) { erase(id); });
}

Row Model::fork(const Row& original, std::int64_t start, const std::string& id, const ForkOptions& options,
                const When& now) const {
    Row row;
    row.id = id;
    row.name = original.name;
    row.class_name = original.class_name;
    row.config_name = original.config_name;
    row.user = original.user;
    row.roles = original.roles;
    row.assumed_role = original.assumed_role;
    row.input = original.input;
    row.attributes = original.attributes;
    row.application = original.application;
    row.queue = options.queue_name.empty() ? "_dbos_internal_queue" : options.queue_name;
    if (!options.queue_partition_key.empty()) row.partition = options.queue_partition_key;
    row.forked_from = original.id;
    if (!options.application_version.empty()) {
        row.version = options.application_version;
    } else if (!options.latest_version) {
        row.version = original.version;
    }
    if (options.workflow_timeout)
        row.timeout_ms = static_cast<std::int64_t>(options.workflow_timeout->count() * 1000);
    row.created = row.updated = now;
    for (const auto& [step, what] : original.steps) {
        if (step < start) row.steps.emplace(step, what);
    }
    for (const auto& [step, events] : original.history) {
        if (step >= start) continue;
        row.history.emplace(step, events);
        for (const auto& [key, value] : events) row.events[key] = value;  // the later step wins
    }
    for (const auto& [key, entries] : original.streams) {
        for (const StreamEntry& entry : entries) {
            if (entry.step < start) row.streams[key].push_back(entry);
        }
    }
    return row;
}

void Model::rewind(Row& row, std::int64_t start, const RewindOptions& options, const When& now) {
    std::set<std::string> cut;
    for (auto step = row.history.lower_bound(start); step != row.history.end(); ++step) {
        for (const auto& [key, value] : step->second) cut.insert(key);
    }
    for (const std::string& key : cut) row.events.erase(key);
    row.history.erase(row.history.lower_bound(start), row.history.end());
    for (const auto& [step, events] : row.history) {
        for (const auto& [key, value] : events) {
            if (cut.contains(key)) row.events[key] = value;
        }
    }
    for (auto& [key, entries] : row.streams)
        std::erase_if(entries, [&](const StreamEntry& entry) { return entry.end && entry.step >= start; });
    row.steps.erase(row.steps.lower_bound(start), row.steps.end());
    const auto goes = [&](const SentMessage& message) {
        return message.destination == row.id && (!message.consumed_by || *message.consumed_by >= start);
    };
    std::erase_if(messages, [&](const auto& item) { return goes(item.second); });
    std::erase_if(unkeyed, goes);
    row.output.reset();
    row.error.reset();
    enqueue_again(row, options.queue_name, now);
    row.partition =
        options.queue_partition_key.empty() ? std::nullopt : std::optional(options.queue_partition_key);
    if (!options.application_version.empty()) row.version = options.application_version;
}

// ---------------------------------------------------------------------------------------------------- comparing

std::string text_of(const Value& value) { return find_serializer("portable_json")->encode(value); }

std::string sorted_text(const Value& value) {
    if (value.kind() != Kind::object) return text_of(value);
    Object members = value.as_object();
    std::ranges::sort(members, {}, [](const auto& member) { return member.first; });
    return text_of(Value(std::move(members)));
}

namespace {

class Differences {
   public:
    void compare(const char* what, const std::string& expected, const std::string& got) {
        if (expected == got) return;
        text_ += std::string(text_.empty() ? "" : "; ") + what + ": expected " + expected + ", got " + got;
    }
    void compare(const char* what, const Text& expected, const Text& got) {
        compare(what, shown(expected), shown(got));
    }
    void compare(const char* what, std::int64_t expected, std::int64_t got) {
        compare(what, std::to_string(expected), std::to_string(got));
    }
    void compare(const char* what, const std::optional<std::int64_t>& expected,
                 const std::optional<std::int64_t>& got) {
        compare(what, shown(expected), shown(got));
    }
    void compare(const char* what, When& expected, std::int64_t got) {
        if (got < expected.from || got > expected.to) {
            compare(what, std::to_string(expected.from) + ".." + std::to_string(expected.to),
                    std::to_string(got));
        }
        expected = When::exactly(got);
    }
    void compare(const char* what, MaybeWhen& expected, const std::optional<std::int64_t>& got) {
        if (expected && got) return compare(what, *expected, *got);
        compare(what, expected ? "an instant" : "-", got ? std::to_string(*got) : "-");
    }
    const std::string& text() const { return text_; }

   private:
    static std::string shown(const Text& text) { return text ? '"' + *text + '"' : "-"; }
    static std::string shown(const std::optional<std::int64_t>& number) {
        return number ? std::to_string(*number) : "-";
    }
    std::string text_;
};

std::string shown(const Arguments& arguments) {
    return text_of(Value(Array(arguments.positional))) + text_of(Value(arguments.named));
}

}  // namespace

std::string differences(Row& row, const WorkflowStatus& got, bool with_input, bool with_output) {
    Differences d;
    d.compare("status", row.status, got.status);
    d.compare("name", row.name, got.name);
    d.compare("class", row.class_name, got.class_name);
    d.compare("instance", row.config_name, got.config_name);
    d.compare("user", row.user, got.authenticated_user);
    d.compare("assumed role", row.assumed_role, got.assumed_role);
    std::string roles, got_roles;
    for (const std::string& role : row.roles) roles += role + ",";
    for (const std::string& role : got.authenticated_roles) got_roles += role + ",";
    d.compare("roles", roles, got_roles);
    d.compare("input", with_input ? Text(shown(row.input)) : std::nullopt,
              got.input ? Text(shown(*got.input)) : std::nullopt);
    d.compare("output", with_output ? row.output : std::nullopt,
              got.output ? Text(text_of(*got.output)) : std::nullopt);
    d.compare("error", with_output ? row.error : std::nullopt,
              got.error ? Text(got.error->message) : std::nullopt);
    d.compare("queue", row.queue, got.queue_name);
    d.compare("executor", row.executor, got.executor_id);
    d.compare("version", row.version, got.app_version);
    d.compare("timeout", row.timeout_ms, got.workflow_timeout_ms);
    d.compare("deduplication id", row.deduplication, got.deduplication_id);
    d.compare("priority", row.priority, got.priority);
    d.compare("partition", row.partition, got.queue_partition_key);
    d.compare("forked from", row.forked_from, got.forked_from);
    d.compare("was forked from", row.was_forked_from, got.was_forked_from);
    d.compare("parent", row.parent, got.parent_workflow_id);
    d.compare("attributes", row.attributes,
              got.attributes ? Text(sorted_text(*got.attributes)) : std::nullopt);
    d.compare("schedule", row.schedule, got.schedule_name);
    d.compare("application", Text(row.application), got.application_name);
    d.compare("recovery attempts", row.attempts, got.recovery_attempts);
    d.compare("format", Text("portable_json"), got.serialization);
    d.compare("created at", row.created, got.created_at);
    d.compare("updated at", row.updated, got.updated_at);
    d.compare("completed at", row.completed, got.completed_at);
    d.compare("dequeued at", row.dequeued, got.dequeued_at);
    d.compare("delay until", row.delay, got.delay_until_epoch_ms);
    d.compare("deadline", row.deadline, got.workflow_deadline_epoch_ms);
    return d.text();
}

// ---------------------------------------------------------------------------------------------------- listings

namespace {

bool one_of(const OneOrMany& filter, const Text& value, bool null_matches = false) {
    if (!filter.values()) return true;
    for (const std::string& wanted : *filter.values()) {
        if (value ? *value == wanted : wanted.empty() || null_matches) return true;
    }
    return false;
}

bool prefixed(const OneOrMany& filter, const std::string& value) {
    return !filter.values() || std::ranges::any_of(*filter.values(), [&](const std::string& prefix) {
        return value.starts_with(prefix);
    });
}

bool within(const std::optional<Instant>& after, const std::optional<Instant>& before,
            const MaybeWhen& value) {
    if (!after && !before) return true;
    return value && (!after || value->from >= after->epoch_ms()) &&
           (!before || value->from <= before->epoch_ms());
}

bool flag(const std::optional<bool>& wanted, bool is) { return !wanted || *wanted == is; }

/// Whether every member of the wanted object is there.
bool contains(const Text& attributes, const std::optional<Any>& wanted) {
    if (!wanted || wanted->value().size() == 0) return true;
    if (!attributes) return false;
    const Value stored = find_serializer("portable_json")->decode(*attributes);
    for (const auto& [key, value] : wanted->value().as_object()) {
        const auto& members = stored.as_object();
        if (!std::ranges::any_of(
                members, [&](const auto& member) { return member.first == key && member.second == value; }))
            return false;
    }
    return true;
}

}  // namespace

bool passes(const Row& row, const ListWorkflowsOptions& o, const std::string& own) {
    const OneOrMany application =
        o.application_name.values() || o.workflow_ids.values() ? o.application_name : OneOrMany(own);
    return one_of(o.workflow_ids, row.id) && one_of(o.status, row.status) && one_of(o.name, row.name) &&
           one_of(o.app_version, row.version) && one_of(o.forked_from, row.forked_from) &&
           one_of(o.parent_workflow_id, row.parent) && one_of(o.user, row.user) &&
           one_of(o.queue_name, row.queue) && one_of(o.executor_id, row.executor) &&
           one_of(o.schedule_name, row.schedule) && one_of(o.class_name, row.class_name) &&
           one_of(o.instance_name, row.config_name) && one_of(o.deduplication_id, row.deduplication) &&
           one_of(application, row.application) && prefixed(o.workflow_id_prefix, row.id) &&
           within(o.start_time, o.end_time, row.created) &&
           within(o.completed_after, o.completed_before, row.completed) &&
           within(o.dequeued_after, o.dequeued_before, row.dequeued) &&
           flag(o.was_forked_from, row.was_forked_from) && flag(o.has_parent, row.parent.has_value()) &&
           flag(o.is_fork, row.forked_from.has_value()) && flag(o.is_debounced, row.debounced) &&
           (!o.queues_only || (row.queue && !row.ended())) && contains(row.attributes, o.attributes);
}

std::vector<const Row*> listed(const Model& model, const ListWorkflowsOptions& options,
                               const std::string& own) {
    std::vector<const Row*> found;
    for (const auto& [id, row] : model.rows) {
        if (passes(row, options, own)) found.push_back(&row);
    }
    std::ranges::sort(found, [&](const Row* a, const Row* b) {
        if (options.sort_desc) std::swap(a, b);
        return a->created.from != b->created.from ? a->created.from < b->created.from : a->id < b->id;
    });
    return found;
}

}  // namespace dbos::property
