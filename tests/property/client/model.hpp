// What the rows of one process must look like: a model of the system database that does what the documentation of Client says.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chaos/pg/random.hpp"
#include "dbos/client.hpp"

namespace dbos::property {

using Random = chaos::Random;
using Text = std::optional<std::string>;

/// An instant that is known to lie in a range, until it is read; from then on it must stay as it is. Epoch milliseconds.
struct When {
    std::int64_t from = 0;
    std::int64_t to = 0;
    static When exactly(std::int64_t ms) { return {ms, ms}; }
    friend bool operator==(const When&, const When&) = default;
};
using MaybeWhen = std::optional<When>;

struct Step {
    std::string name;
    std::string output;  // as portable_json
    friend bool operator==(const Step&, const Step&) = default;
};

struct StreamEntry {
    std::string value;  // as portable_json
    std::int64_t step = 0;
    bool end = false;
};

struct Row {
    std::string id;
    std::string status = "ENQUEUED";
    std::string name;
    Text class_name, config_name, user, assumed_role;
    std::vector<std::string> roles;
    Arguments input;
    Text output;  // as portable_json, of SUCCESS
    Text error;   // message, of ERROR
    Text queue, version, deduplication, partition, forked_from, parent, attributes, schedule, executor;
    std::string application;
    std::optional<std::int64_t> timeout_ms;
    std::int64_t priority = 0;
    std::int64_t attempts = 0;
    bool was_forked_from = false;
    bool debounced = false;
    MaybeWhen debounce_deadline;
    When created, updated;
    MaybeWhen completed, dequeued, delay, deadline;
    std::map<std::int64_t, Step> steps;
    std::map<std::int64_t, std::map<std::string, std::string>> history;  // events by step
    std::map<std::string, std::string> events;
    std::map<std::string, std::vector<StreamEntry>> streams;

    bool ended() const { return status != "ENQUEUED" && status != "DELAYED" && status != "PENDING"; }
    bool completed_for_good() const { return status == "SUCCESS" || status == "ERROR"; }
};

struct SentMessage {
    std::string destination;
    std::string topic;
    std::string text;  // as portable_json
    std::optional<std::int64_t> consumed_by;
};

struct ScheduleModel {
    ScheduleOptions options;
    std::string status = "ACTIVE";
    std::string id;  // once read
};

class Model {
   public:
    std::map<std::string, Row> rows;
    std::map<std::string, SentMessage> messages;  // by id; of those without a key the id is known once read
    std::vector<SentMessage> unkeyed;
    std::map<std::string, ScheduleModel> schedules;
    std::map<std::string, QueueDefinition> queues;
    std::vector<std::string> versions;  // oldest promotion first

    Row* find(const std::string& id);
    /// The row that holds a deduplication id of a queue.
    Row* holder(const std::string& queue, const std::string& deduplication);
    std::vector<std::string> children_of(const std::set<std::string>& parents) const;
    std::set<std::string> forks_below(const std::string& origin) const;
    void erase(const std::string& id);

    void cancel(const std::vector<std::string>& ids, bool children, const When& now);
    void resume(const std::vector<std::string>& ids, const std::string& queue, const When& now);
    void remove(const std::vector<std::string>& ids, bool children);
    Row fork(const Row& original, std::int64_t start, const std::string& id, const ForkOptions& options,
             const When& now) const;
    void rewind(Row& row, std::int64_t start, const RewindOptions& options, const When& now);
};

/// As portable_json.
std::string text_of(const Value& value);
/// The same for attributes, whose order jsonb does not keep.
std::string sorted_text(const Value& value);
/// What differs, as text; empty = nothing. Learns instants that were a range.
std::string differences(Row& expected, const WorkflowStatus& got, bool with_input, bool with_output);
/// Whether the row passes the filters; `own` = application_name of the client.
bool passes(const Row& row, const ListWorkflowsOptions& options, const std::string& own);
/// The rows of a listing in its order, without limit and offset. All instants must have been read.
std::vector<const Row*> listed(const Model& model, const ListWorkflowsOptions& options,
                               const std::string& own);

}  // namespace dbos::property
