// Managing workflows, versions, queues and schedules.
#include "property/client/run.hpp"

#include <algorithm>

namespace dbos::property {

using namespace std::chrono_literals;

namespace {

const std::string kDone = "done";

std::string missing_of(const Model& model, const std::vector<std::string>& ids) {
    std::string missing;
    for (const std::string& id : ids) {
        if (!model.rows.contains(id)) missing += (missing.empty() ? "" : ", ") + id;
    }
    return missing;
}

}  // namespace

void Run::cancel() {
    const std::vector<std::string> ids = some_ids(3);
    const CancelOptions options{.cancel_children = random_.one_in(3)};
    const Span span;
    check("cancel", kDone, outcome([&] {
              if (ids.size() == 1 && random_.one_in(2)) {
                  client_->cancel_workflow(ids[0], options);
              } else if (async()) {
                  client_->cancel_workflows_async(ids, options).get();
              } else {
                  client_->cancel_workflows(ids, options);
              }
              return kDone;
          }));
    const Model before = options.cancel_children ? model_ : Model();
    model_.cancel(ids, options.cancel_children, span.when());
    for (const std::string& id : ids) touch(id);
    for (const auto& [id, row] : before.rows) {
        if (row.status != model_.rows.at(id).status) touch(id);
    }
    if (options.cancel_children) {
        for (const auto& [id, row] : model_.rows) {
            if (row.status == "CANCELLED" && !(row.updated == before.rows.at(id).updated)) touch(id);
        }
    }
}

void Run::resume() {
    settle_ended();
    const bool many = random_.one_in(2);
    std::vector<std::string> ids = many ? some_ids(4) : std::vector{any_id()};
    const ResumeOptions options{.queue_name = random_.one_in(2) ? queue_name() : ""};
    const std::string missing = missing_of(model_, ids);
    std::string expected = missing.empty() ? "resumed" : "NonexistentWorkflow " + missing;
    const bool contract = !many && random_.one_in(4);
    if (contract && missing.empty() && model_.rows.at(ids[0]).name != "pay")
        expected = "ConflictingWorkflow " + ids[0];
    const Span span;
    check("resume", expected, outcome([&] {
              if (contract) {
                  client_->resume_workflow(Pay, ids[0], options);
              } else if (many) {
                  const auto handles = async() ? client_->resume_workflows_async(ids, options).get()
                                               : client_->resume_workflows(ids, options);
                  for (std::size_t n = 0; n < ids.size(); ++n) {
                      if (handles.at(n).workflow_id() != ids[n])
                          return std::string("handles in another order");
                  }
              } else if (async()) {
                  client_->resume_workflow_async(ids[0], options).get();
              } else {
                  client_->resume_workflow(ids[0], options);
              }
              return std::string("resumed");
          }));
    if (expected == "resumed") model_.resume(ids, options.queue_name, span.when());
    for (const std::string& id : ids) touch(id);
}

void Run::remove() {
    settle_ended();
    const bool crowded = model_.rows.size() > 200;
    const std::vector<std::string> ids = some_ids(crowded ? 60 : 2);
    const DeleteOptions options{.delete_children = random_.one_in(3)};
    check("delete", kDone, outcome([&] {
              if (async()) {
                  client_->delete_workflows_async(ids, options).get();
              } else {
                  client_->delete_workflows(ids, options);
              }
              return kDone;
          }));
    for (const auto& [id, row] : model_.rows) {
        if (row.parent) touch(id);
    }
    model_.remove(ids, options.delete_children);
    for (const std::string& id : ids) touch(id);
}

void Run::delay() {
    const Row* delayed = row_with([](const Row& r) { return r.status == "DELAYED"; });
    const std::string id = delayed && random_.one_in(2) ? delayed->id : any_id();
    Row* row = model_.find(id);
    const bool moves = row && row->status == "DELAYED";
    const std::int64_t ms = random_.between(0, 500000);
    const bool instant = random_.one_in(2);
    const std::int64_t until = wall_ms() + ms;
    const Span span;
    check("set_workflow_delay", kDone, outcome([&] {
              if (instant) {
                  client_->set_workflow_delay(
                      id, Instant(std::chrono::system_clock::time_point(std::chrono::milliseconds(until))));
              } else if (async()) {
                  client_->set_workflow_delay_async(id, std::chrono::milliseconds(ms)).get();
              } else {
                  client_->set_workflow_delay(id, std::chrono::milliseconds(ms));
              }
              return kDone;
          }));
    touch(id);
    if (!moves) return;
    const When when = span.when();
    row->delay = instant ? When::exactly(until) : When{when.from + ms, when.to + ms};
    row->updated = when;
}

void Run::priority() {
    const std::string id = any_id();
    const std::int64_t to = random_.one_in(10) ? -1 : random_.between(0, 9);
    check("set_workflow_priority", to < 0 ? "UsageError" : kDone, outcome([&] {
              if (async()) {
                  client_->set_workflow_priority_async(id, to).get();
              } else {
                  client_->set_workflow_priority(id, to);
              }
              return kDone;
          }));
    touch(id);
    Row* row = model_.find(id);
    if (to >= 0 && row && (row->status == "ENQUEUED" || row->status == "DELAYED")) row->priority = to;
}

void Run::attributes() {
    const std::string id = any_id();
    std::optional<Any> value;
    if (!random_.one_in(5)) value = Any(draw_attributes());
    const UpdateAttributesOptions options{.merge = value && random_.one_in(2)};
    const Span span;
    check("update_workflow_attributes", kDone, outcome([&] {
              if (async()) {
                  client_->update_workflow_attributes_async(id, value, options).get();
              } else {
                  client_->update_workflow_attributes(id, value, options);
              }
              return kDone;
          }));
    touch(id);
    Row* row = model_.find(id);
    if (!row) return;
    row->updated = span.when();
    if (!value) {
        row->attributes.reset();
    } else if (!options.merge || !row->attributes) {
        row->attributes = sorted_text(value->value());
    } else {
        Object merged = find_serializer("portable_json")->decode(*row->attributes).as_object();
        for (const auto& [key, member] : value->value().as_object()) {
            std::erase_if(merged, [&](const auto& old) { return old.first == key; });
            merged.emplace_back(key, member);
        }
        row->attributes = sorted_text(Value(std::move(merged)));
    }
}

void Run::fork() {
    std::vector<ForkRequest> requests;
    std::set<std::string> missing, taken;
    for (int n = random_.between(1, random_.one_in(3) ? 4 : 1); n > 0; --n) {
        ForkRequest request;
        const Row* long_one = row_with([](const Row& r) { return r.steps.size() > 2; });
        request.workflow_id = long_one && !random_.one_in(4) ? long_one->id : any_id();
        request.start_step = random_.between(0, 6);
        ForkOptions& o = request.options;
        o.new_workflow_id = fresh_id();
        if (random_.one_in(12)) o.new_workflow_id = any_id(1 << 30);
        if (model_.find(*o.new_workflow_id)) taken.insert(*o.new_workflow_id);
        if (random_.one_in(3)) o.queue_name = queue_name();
        if (!o.queue_name.empty() && random_.one_in(3)) o.queue_partition_key = "k1";
        if (random_.one_in(4)) o.application_version = prefix_ + "v2";
        if (o.application_version.empty() && random_.one_in(4)) o.latest_version = true;
        if (random_.one_in(4)) o.workflow_timeout = 30s;
        if (!model_.find(request.workflow_id)) missing.insert(request.workflow_id);
        requests.push_back(std::move(request));
    }
    std::set<std::string> ids;
    bool twice = false;
    for (const ForkRequest& request : requests)
        twice = !ids.insert(*request.options.new_workflow_id).second || twice;
    std::string expected = "forked";
    if (!taken.empty()) expected = "WorkflowIdInUse";
    if (!missing.empty()) expected = "NonexistentWorkflow";
    if (twice) expected = "UsageError";
    const Span span;
    std::string got = outcome([&] {
        if (requests.size() == 1 && random_.one_in(2)) {
            client_->fork_workflow(requests[0].workflow_id, requests[0].start_step, requests[0].options);
        } else if (async()) {
            client_->fork_workflows_async(requests).get();
        } else {
            client_->fork_workflows(requests);
        }
        return std::string("forked");
    });
    check("fork", expected, got.starts_with("another") ? got : got.substr(0, got.find(' ')));
    for (const ForkRequest& request : requests) {
        touch(request.workflow_id);
        touch(*request.options.new_workflow_id);
        if (expected != "forked") continue;
        Row& original = model_.rows.at(request.workflow_id);
        original.was_forked_from = true;
        Row copy = model_.fork(original, request.start_step, *request.options.new_workflow_id,
                               request.options, span.when());
        model_.rows.emplace(copy.id, std::move(copy));
    }
}

void Run::rewind() {
    settle_ended();
    const Row* ended = row_with([](const Row& r) { return r.ended(); });
    const std::string id = ended && !random_.one_in(5) ? ended->id : any_id();
    Row* row = model_.find(id);
    const std::int64_t from = random_.between(0, 5);
    RewindOptions options;
    if (random_.one_in(2)) options.queue_name = queue_name();
    if (!options.queue_name.empty() && random_.one_in(3)) options.queue_partition_key = "k2";
    if (random_.one_in(3)) options.application_version = prefix_ + "v3";
    std::string expected = "rewound";
    if (row && !row->ended()) expected = "UsageError";
    if (!row) expected = "NonexistentWorkflow " + id;
    const Span span;
    check("rewind", expected, outcome([&] {
              if (async()) {
                  client_->rewind_workflow_async(id, from, options).get();
              } else {
                  client_->rewind_workflow(id, from, options);
              }
              return std::string("rewound");
          }));
    touch(id);
    if (expected == "rewound") model_.rewind(*row, from, options, span.when());
}

// ---------------------------------------------------------------------------------------------------- versions

void Run::versions() {
    if (random_.one_in(2)) {
        const std::string version = prefix_ + pick({"v1", "v2", "v3", "v9"});
        const auto found = std::ranges::find(model_.versions, version);
        check("set_latest_version", found == model_.versions.end() ? "NotFound" : kDone, outcome([&] {
                  if (async()) {
                      client_->set_latest_version_async(version).get();
                  } else {
                      client_->set_latest_application_version(version);
                  }
                  return kDone;
              }));
        if (found == model_.versions.end()) return;
        model_.versions.erase(found);
        model_.versions.push_back(version);
    }
    std::string expected, got;
    for (auto version = model_.versions.rbegin(); version != model_.versions.rend(); ++version)
        expected += *version + " ";
    for (const VersionInfo& version :
         async() ? client_->list_versions_async().get() : client_->list_versions())
        got += version.version_name + " ";
    check("list_versions", expected, got);
    check("get_latest_version", model_.versions.back(), client_->get_latest_version().version_name);
}

// ---------------------------------------------------------------------------------------------------- queues

namespace {
std::string shown(const QueueDefinition& queue) {
    const auto number = [](const std::optional<std::int64_t>& n) {
        return n ? std::to_string(*n) : std::string("-");
    };
    return queue.name + " " + number(queue.worker_concurrency) + " " + number(queue.concurrency) + " " +
           std::to_string(queue.limiter.limit) + "/" + std::to_string(queue.limiter.period.count()) + " " +
           number(queue.partition_concurrency) + " " + std::to_string(queue.polling_interval.count()) + " " +
           queue.application_name;
}
}  // namespace

void Run::queues() {
    const std::string name = prefix_ + pick({"a", "b", "c"});
    const auto there = model_.queues.find(name);
    switch (random_.below(4)) {
        case 0:
        case 1: {
            QueueDefinition queue;
            queue.name = name;
            if (random_.one_in(2)) queue.worker_concurrency = random_.between(1, 5);
            if (random_.one_in(2)) queue.concurrency = random_.between(5, 9);
            if (random_.one_in(3)) queue.limiter = {random_.between(1, 9), 2.5s};
            if (random_.one_in(3)) queue.partition_concurrency = random_.between(1, 5);
            if (random_.one_in(3)) queue.polling_interval = 0.5s;
            const bool keep = random_.one_in(3);
            const QueueConflict conflict = keep ? QueueConflict::keep : QueueConflict::update;
            QueueDefinition expected = queue;
            expected.application_name = application_;
            if (keep && there != model_.queues.end()) expected = there->second;
            check("register_queue", shown(expected), outcome([&] {
                      return shown(async() ? client_->register_queue_async(queue, conflict).get()
                                           : client_->register_queue(queue, conflict));
                  }));
            model_.queues.insert_or_assign(name, expected);
            break;
        }
        case 2:
            client_->delete_queue(name);
            model_.queues.erase(name);
            break;
        default: {
            const auto got = client_->retrieve_queue(name);
            check("retrieve_queue", there == model_.queues.end() ? "none" : shown(there->second),
                  got ? shown(*got) : "none");
        }
    }
    std::string expected, got;
    for (const auto& [key, queue] : model_.queues) expected += shown(queue) + "; ";
    for (const QueueDefinition& queue : client_->list_queues()) got += shown(queue) + "; ";
    check("list_queues", expected, got);
}

// ---------------------------------------------------------------------------------------------------- schedules

namespace {
std::string shown(const ScheduleModel& schedule) {
    const ScheduleOptions& o = schedule.options;
    return o.schedule_name + " " + o.workflow_name + " " + o.schedule + " " + schedule.status + " " +
           text_of(o.context ? o.context->value() : Value()) + " " +
           (o.automatic_backfill ? "backfill " : "") + o.cron_timezone + " " + o.queue_name + " " +
           o.workflow_class_name;
}
std::string shown(const WorkflowSchedule& s) {
    return s.schedule_name + " " + s.workflow_name + " " + s.schedule + " " + s.status + " " +
           text_of(s.context) + " " + (s.automatic_backfill ? "backfill " : "") +
           s.cron_timezone.value_or("") + " " + s.queue_name.value_or("") + " " +
           s.workflow_class_name.value_or("");
}
}  // namespace

void Run::schedules() {
    const auto draw = [&] {
        ScheduleOptions options;
        options.schedule_name = prefix_ + pick({"s1", "s2", "s3"});
        options.workflow_name = pick({"pay", "mail"});
        options.schedule = pick({"0 * * * *", "*/5 * * * *", "@daily"});
        if (random_.one_in(2)) options.context = Any(draw_value());
        if (random_.one_in(3)) options.cron_timezone = "Europe/Berlin";
        if (random_.one_in(3)) options.queue_name = queue_name();
        options.automatic_backfill = random_.one_in(3);
        return options;
    };
    const ScheduleOptions options = draw();
    const std::string& name = options.schedule_name;
    const auto there = model_.schedules.find(name);
    const bool exists = there != model_.schedules.end();
    switch (random_.below(7)) {
        case 0:
            check("create_schedule", exists ? "AlreadyExists" : kDone, outcome([&] {
                      async() ? client_->create_schedule_async(options).get()
                              : client_->create_schedule(options);
                      return kDone;
                  }));
            if (!exists) model_.schedules[name].options = options;
            break;
        case 1: {
            std::vector<ScheduleOptions> several{options};
            if (ScheduleOptions other = draw(); other.schedule_name != name) several.push_back(other);
            client_->apply_schedules(several);
            for (const ScheduleOptions& one : several) model_.schedules[one.schedule_name].options = one;
            break;
        }
        case 2:
            client_->pause_schedule(name);
            if (exists) there->second.status = "PAUSED";
            break;
        case 3:
            async() ? client_->resume_schedule_async(name).get() : client_->resume_schedule(name);
            if (exists) there->second.status = "ACTIVE";
            break;
        case 4:
            client_->delete_schedule(name);
            model_.schedules.erase(name);
            break;
        case 5: {
            const ScheduleUpdate update{.schedule = "30 2 * * *", .queue_name = queue_name()};
            check("update_schedule", exists ? kDone : "NotFound", outcome([&] {
                      client_->update_schedule(name, update);
                      return kDone;
                  }));
            if (!exists) break;
            there->second.options.schedule = *update.schedule;
            there->second.options.queue_name = *update.queue_name;
            break;
        }
        default: {
            const auto got = async() ? client_->get_schedule_async(name).get() : client_->get_schedule(name);
            check("get_schedule", exists ? shown(there->second) : "none", got ? shown(*got) : "none");
            if (!got || !exists) break;
            if (there->second.id.empty()) there->second.id = got->schedule_id;
            check("id of a schedule", there->second.id, got->schedule_id);
        }
    }
    std::string expected, got;
    for (const auto& [key, schedule] : model_.schedules) expected += shown(schedule) + "; ";
    for (const WorkflowSchedule& schedule : client_->list_schedules()) got += shown(schedule) + "; ";
    check("list_schedules", expected, got);
}

void Run::trigger() {
    const std::string name = prefix_ + pick({"s1", "s2", "s3"});
    const auto there = model_.schedules.find(name);
    const bool exists = there != model_.schedules.end();
    const bool backfill = random_.one_in(2);
    std::vector<std::string> ids;
    const Span span;
    const std::string start = "2026-01-0" + std::to_string(random_.between(1, 3)) + "T00:30:00Z";
    check(backfill ? "backfill_schedule" : "trigger_schedule", exists ? kDone : "NotFound", outcome([&] {
              if (!backfill) {
                  ids.push_back(client_->trigger_schedule(name).workflow_id());
              } else {
                  const std::string end = start.substr(0, 11) + "03:30:00Z";
                  for (const auto& handle : client_->backfill_schedule(name, start, end))
                      ids.push_back(handle.workflow_id());
              }
              return kDone;
          }));
    if (!exists) return;
    const ScheduleOptions& o = there->second.options;
    if (backfill && o.schedule == "0 * * * *") check("runs of three hours", "3", std::to_string(ids.size()));
    if (backfill && o.schedule == "*/5 * * * *")
        check("runs of three hours", "35", std::to_string(ids.size()));
    for (const std::string& id : ids) {
        if (!id.starts_with("sched-" + name)) diverged("a run of " + name + " has the id " + id);
        touch(id);
        if (model_.find(id)) continue;
        Row row;
        row.id = id;
        row.name = o.workflow_name;
        row.queue = o.queue_name.empty() ? "_dbos_internal_queue" : o.queue_name;
        row.version = model_.versions.back();
        row.application = application_;
        row.schedule = name;
        row.created = row.updated = span.when();
        row.input = client_->retrieve_workflow(id).get_status().input.value();  // its time is the clock's
        check("context of a run", text_of(o.context ? o.context->value() : Value()),
              row.input.positional.size() == 2 ? text_of(row.input.positional[1])
                                               : "another number of arguments");
        model_.rows.emplace(id, std::move(row));
    }
}

}  // namespace dbos::property
