// What the managing operations of SystemDatabase take and return: resume, fork, rewind, rename, versions, aggregates.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "platform/seam.hpp"
#include "sysdb/listing.hpp"
#include "sysdb/records.hpp"

namespace dbos::sysdb {

struct Resume {
    Text queue_name = {};     // nullopt: the internal queue
    Text expected_name = {};  // rows of another name are refused with ConflictingWorkflow
};

/// One new run of a workflow from a step on. Id and token are made before any retry loop.
struct Fork {
    std::string workflow_id = {};  // the original
    std::int64_t start_step = 0;   // steps below it are copied
    std::string new_workflow_id = {};
    std::string token = {};
    /// A fork of the same original that has this id already is this one: it is left as it is.
    bool attach = false;
    Text expected_name = {};
    Text application_version = {};  // nullopt: that of the original …
    bool latest_version = false;    // … or none, so that the latest version takes it
    Text queue_name = {};           // nullopt: the internal queue
    Text queue_partition_key = {};
    std::optional<Millis> timeout_ms = {};
    std::map<std::string, std::string> replacement_children =
        {};  // child of the original → child of the fork
};

/// The highest numbers among the recorded steps of a workflow.
struct LastSteps {
    std::optional<std::int64_t> any = {};
    std::optional<std::int64_t> failed = {};  // with an error
    std::optional<std::int64_t> named = {};
};

struct Rewind {
    std::string workflow_id = {};
    std::int64_t start_step = 0;
    Text expected_name = {};
    Text application_version = {};  // nullopt: stays
    Text queue_name = {};           // nullopt: the internal queue
    Text queue_partition_key = {};
};

struct Rename {
    Text old_name = {};  // nullopt: only rows without an owner, with `adopt_unclaimed`
    std::string new_name = {};
    std::optional<std::int64_t> batch_size = 10000;  // nullopt: one transaction
    bool adopt_unclaimed = false;
};

/// Which ended workflows go: those that ended before the later of the two.
struct Retention {
    std::optional<Millis> cutoff = {};
    std::optional<std::int64_t> keep = {};  // about so many that ended last
    std::int64_t batch_size = 10000;
    seam::Duration pause = {};  // between two batches
};

/// How many rows of each kind are gone.
struct Removed {
    std::int64_t workflows = 0;
    std::int64_t payloads = 0;  // of inputs and outputs
    std::int64_t steps = 0;
    bool busy = false;  // somebody else removes
    Removed& operator+=(const Removed& more) {
        workflows += more.workflows;
        payloads += more.payloads;
        steps += more.steps;
        return *this;
    }
};

/// How many rows of each kind have changed their owner.
struct Renamed {
    std::int64_t queues = 0;
    std::int64_t schedules = 0;
    std::int64_t versions = 0;
    std::int64_t workflows = 0;
    std::int64_t steps = 0;
};

/// A row of application_versions.
struct VersionRow {
    std::string version_id = {};
    std::string version_name = {};
    Millis version_timestamp = 0;
    Millis created_at = 0;
    Text application_name = {};
};

struct WorkflowAggregateQuery {
    ListQuery filter = {};  // bounds, order and payloads are not looked at
    bool by_status = false;
    bool by_name = false;
    bool by_queue_name = false;
    bool by_executor_id = false;
    bool by_application_version = false;
    bool by_application_name = false;
    std::optional<Millis> bucket_ms = {};  // of created_at
    bool count = false;
    bool min_created_at = false;
    bool max_queue_wait = false;
    bool max_latency = false;
};

/// One group; columns that were not asked for are absent.
struct WorkflowAggregateRow {
    Text status = {};
    Text name = {};
    Text queue_name = {};
    Text executor_id = {};
    Text application_version = {};
    Text application_name = {};
    std::optional<Millis> bucket = {};
    std::optional<std::int64_t> count = {};
    std::optional<Millis> min_created_at = {};
    std::optional<Millis> max_queue_wait_ms = {};
    std::optional<Millis> max_latency_ms = {};
};

struct StepAggregateQuery {
    bool by_function_name = false;
    bool by_status = false;
    bool by_application_name = false;
    std::optional<Millis> bucket_ms = {};  // of completed_at_epoch_ms
    bool count = false;
    bool max_duration = false;
    ListQuery::Texts status;  // SUCCESS, ERROR
    ListQuery::Texts function_name;
    ListQuery::Texts workflow_id_prefix;
    ListQuery::Texts application_name;  // rows without an owner match in any case
    std::optional<Millis> completed_from, completed_to;
    Millis timeout_ms = 0;
};

struct StepAggregateRow {
    Text function_name = {};
    Text status = {};
    Text application_name = {};
    std::optional<Millis> bucket = {};
    std::optional<std::int64_t> count = {};
    std::optional<Millis> max_duration_ms = {};
};

}  // namespace dbos::sysdb
