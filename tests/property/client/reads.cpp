// Reading: listings, status, results and waits, events, streams, steps, aggregates.
#include "property/client/run.hpp"

#include <algorithm>

namespace dbos::property {

using namespace std::chrono_literals;

namespace {

Instant instant(std::int64_t ms) {
    return std::chrono::system_clock::time_point(std::chrono::milliseconds(ms));
}

ListQueuedWorkflowsOptions queued(const ListWorkflowsOptions& o) {
    ListQueuedWorkflowsOptions q;
    q.status = o.status;
    q.name = o.name;
    q.queue_name = o.queue_name;
    q.user = o.user;
    q.app_version = o.app_version;
    q.workflow_id_prefix = o.workflow_id_prefix;
    q.limit = o.limit;
    q.offset = o.offset;
    q.sort_desc = o.sort_desc;
    q.load_input = o.load_input;
    q.load_output = o.load_output;
    return q;
}

}  // namespace

void Run::list() {
    verify_touched();  // reads all instants
    ListWorkflowsOptions o;
    const bool in_queues = random_.one_in(5);
    for (auto n = random_.below(4); n > 0; --n) {
        switch (random_.below(in_queues ? 5 : 18)) {
            case 0:
                o.status = {"ENQUEUED", pick({"PENDING", "SUCCESS", "CANCELLED", "DELAYED", "ERROR"})};
                break;
            case 1: o.name = pick({"pay", "ship", "mail", "nobody"}); break;
            case 2: o.queue_name = random_.one_in(3) ? "" : queue_name(); break;
            case 3: o.user = pick({"ann", "bob", ""}); break;
            case 4: o.app_version = prefix_ + pick({"v1", "v2"}); break;
            case 5: o.workflow_id_prefix = {prefix_ + "1", prefix_ + "2"}; break;
            case 6: o.was_forked_from = random_.one_in(2); break;
            case 7: o.has_parent = random_.one_in(2); break;
            case 8: o.is_fork = random_.one_in(2); break;
            case 9: o.is_debounced = random_.one_in(2); break;
            case 10: o.class_name = pick({"Shop", "Mall", ""}); break;
            case 11: o.deduplication_id = {"d1", "d2"}; break;
            case 12: o.application_name = {application_ + "-other", application_}; break;
            case 13: {
                const Row* row = any_row();
                if (!row) break;
                o.start_time = instant(row->created.from);
                if (random_.one_in(2)) o.end_time = instant(row->created.from + 1000);
                break;
            }
            case 14: {
                const Row* row = row_with([](const Row& r) { return r.completed.has_value(); });
                if (row) o.completed_before = instant(row->completed->from);
                break;
            }
            case 15: {
                const Row* row = row_with([](const Row& r) { return r.dequeued.has_value(); });
                if (row) o.dequeued_after = instant(row->dequeued->from);
                break;
            }
            case 16: o.workflow_ids = some_ids(5); break;
            default:
                if (settings_.url.starts_with("postgres")) o.attributes = Any(draw_attributes());
        }
    }
    o.queues_only = in_queues || random_.one_in(6);
    o.sort_desc = random_.one_in(2);
    o.load_input = random_.one_in(2);
    o.load_output = random_.one_in(2);
    if (random_.one_in(2)) o.limit = static_cast<std::int64_t>(random_.below(30));
    if (random_.one_in(3)) o.offset = static_cast<std::int64_t>(random_.below(20));
    std::vector<const Row*> expected = listed(model_, o, application_);
    if (o.offset)
        expected.erase(expected.begin(),
                       expected.begin() + std::min<std::ptrdiff_t>(*o.offset, std::ssize(expected)));
    if (o.limit && std::ssize(expected) > *o.limit) expected.resize(static_cast<std::size_t>(*o.limit));
    const auto got = in_queues ? client_->list_queued_workflows(queued(o))
                     : async() ? client_->list_workflows_async(o).get()
                               : client_->list_workflows(o);
    std::string expected_ids, got_ids;
    for (const Row* row : expected) expected_ids += row->id + " ";
    for (const WorkflowStatus& row : got) got_ids += row.workflow_id + " ";
    check("list_workflows", expected_ids, got_ids);
    if (expected_ids != got_ids) return;
    for (const WorkflowStatus& row : got) {
        const std::string text = differences(*model_.find(row.workflow_id), row, o.load_input, o.load_output);
        if (!text.empty()) diverged("list_workflows, " + row.workflow_id + ": " + text);
    }
}

void Run::status() {
    const std::string id = any_id();
    Row* row = model_.find(id);
    std::optional<WorkflowStatus> got;
    std::string expected = row ? "there" : "NonexistentWorkflow " + id;
    const bool contract = random_.one_in(4);
    if (contract && row && row->name != "pay") expected = "ConflictingWorkflow " + id;
    check("retrieve_workflow", expected, outcome([&] {
              if (contract) {
                  got = client_->retrieve_workflow(Pay, id).get_status();
              } else {
                  got = async() ? client_->retrieve_workflow_async(id).get().get_status_async().get()
                                : client_->retrieve_workflow(id).get_status();
              }
              return std::string("there");
          }));
    if (!got) {
        got = client_->get_workflow_status(id);
        check("get_workflow_status", row ? "there" : "none", got ? "there" : "none");
    }
    if (!row || !got) return;
    if (const std::string text = differences(*row, *got, true, true); !text.empty())
        diverged("status of " + id + ": " + text);
}

// ---------------------------------------------------------------------------------------------------- results

std::string Run::expected_result(const Row* row) const {
    if (!row->ended()) return "Timeout";
    if (row->status == "SUCCESS") return "value " + *row->output;
    if (row->status == "ERROR") return "WorkflowFailed " + *row->error;
    return "AwaitedWorkflowCancelled";
}

void Run::result() {
    const Row* ended = row_with([](const Row& r) { return r.ended(); });
    const std::string id = ended && random_.one_in(2) ? ended->id : any_id();
    const Row* row = model_.find(id);
    check("get_result", row ? expected_result(row) : "NonexistentWorkflow " + id, outcome([&] {
              const auto handle = client_->retrieve_workflow(id);
              const GetResultOptions options{.timeout = 0s};
              return "value " +
                     text_of(async() ? handle.get_result_async(options).get() : handle.get_result(options));
          }));
}

void Run::waits() {
    std::set<std::string> ids;
    for (int n = random_.between(1, 6); n > 0; --n) ids.insert(any_id(1 << 30));
    std::vector<WorkflowHandle<Value>> handles;
    bool any = false, all = true;
    for (const std::string& id : ids) {
        const Row* row = model_.find(id);
        if (!row) return;
        any = any || row->ended();
        all = all && row->ended();
        handles.push_back(client_->retrieve_workflow(id));
    }
    const WaitWorkflowsOptions options{.timeout = 0s};
    check("wait_first", any ? "an ended one" : "Timeout", outcome([&] {
              const std::string first = async()
                                            ? client_->wait_first_async(handles, options).get().workflow_id()
                                            : client_->wait_first(handles, options).workflow_id();
              return std::string(model_.rows.at(first).ended() ? "an ended one" : "one that has not ended");
          }));
    check(
        "wait_all", all ? "all" : "Timeout", outcome([&] {
            return std::string(client_->wait_all(handles, options).size() == handles.size() ? "all" : "some");
        }));
}

void Run::outstanding() {
    if (outstanding_.size() >= 40) return settle_ended();
    Row* row = row_with([](const Row& r) { return !r.ended(); });
    if (!row) return;
    outstanding_.emplace_back(
        row->id, client_->retrieve_workflow(row->id).get_result_async({.polling_interval = 100ms}));
}

void Run::settle_ended() {
    std::erase_if(outstanding_, [&](auto& wait) {
        auto& [id, future] = wait;
        const Row* row = model_.find(id);
        if (row && !row->ended()) {
            if (future.ready())
                diverged("a wait for " + id + ", which is " + row->status +
                         ", has ended: " + outcome([&] { return text_of(future.get()); }));
            return false;
        }
        if (!row && !future.ready() && !settling_all_) return false;  // it is told of within seconds
        if (!future.wait_for(20s)) {
            diverged("a wait for " + id + " has not ended, although the workflow is " +
                     (row ? row->status : "deleted"));
            return true;
        }
        check("get_result_async of " + id, row ? expected_result(row) : "NonexistentWorkflow " + id,
              outcome([&] { return "value " + text_of(future.get()); }));
        return true;
    });
}

void Run::settle_all_outstanding() {
    settling_all_ = true;
    settle_ended();
    outstanding_.clear();
    settling_all_ = false;
}

// ---------------------------------------------------------------------------------------------------- events, streams, steps

void Run::events() {
    const Row* with = row_with([](const Row& r) { return !r.events.empty(); });
    const std::string id = with && random_.one_in(2) ? with->id : any_id();
    const std::string key = pick({"e1", "e::2"});
    const Row* row = model_.find(id);
    std::string expected = "none";
    if (row && row->events.contains(key)) expected = row->events.at(key);
    const auto got = async() ? client_->get_event_async(id, key, 0s).get() : client_->get_event(id, key, 0s);
    check("get_event", expected, got ? text_of(*got) : "none");
    std::string all, got_all;
    if (row) {
        for (const auto& [name, value] : row->events) all += name + "=" + value + " ";
    }
    for (const auto& [name, value] : client_->get_all_events(id))
        got_all += name + "=" + text_of(value) + " ";
    check("get_all_events", all, got_all);
}

void Run::streams() {
    const Row* with = row_with([](const Row& r) { return !r.streams.empty(); });
    const std::string id = with && !random_.one_in(4) ? with->id : any_id();
    const Row* row = model_.find(id);
    const auto offset = static_cast<std::int64_t>(random_.below(3));
    std::string expected;
    bool end = false;
    if (row && row->streams.contains("s")) {
        const auto& entries = row->streams.at("s");
        for (std::size_t n = static_cast<std::size_t>(offset); n < entries.size() && !end; ++n) {
            end = entries[n].end;
            if (!end) expected += entries[n].value + " ";
        }
    }
    expected += !row ? "NonexistentWorkflow " + id : end || row->ended() ? "end" : "StreamTimeout";
    std::string got;
    const ReadStreamOptions options{.offset = offset, .timeout = 0s};
    const std::string last = outcome([&] {
        if (async()) {
            auto stream = client_->read_stream_async(id, "s", options);
            while (const auto value = stream.next().get()) got += text_of(*value) + " ";
        } else {
            auto stream = client_->read_stream(id, "s", options);
            while (const auto value = stream.next()) got += text_of(*value) + " ";
        }
        return std::string("end");
    });
    check("read_stream", expected, got + last);
}

void Run::steps() {
    const std::string id = any_id();
    const Row* row = model_.find(id);
    ListStepsOptions options;
    options.load_output = random_.one_in(2);
    if (random_.one_in(3)) options.limit = random_.between(0, 3);
    if (random_.one_in(3)) options.offset = random_.between(0, 3);
    std::string expected, got;
    std::int64_t n = 0;
    if (row) {
        for (const auto& [number, step] : row->steps) {
            if (n++ < options.offset.value_or(0)) continue;
            if (options.limit && n > options.offset.value_or(0) + *options.limit) break;
            expected += std::to_string(number) + " " + step.name + " " +
                        (options.load_output ? step.output : "") + "; ";
        }
    }
    for (const StepInfo& step : client_->list_workflow_steps(id, options)) {
        got += std::to_string(step.function_id) + " " + step.function_name + " " +
               (step.output ? text_of(*step.output) : "") + "; ";
    }
    check("list_workflow_steps", expected, got);
}

void Run::aggregates() {
    WorkflowAggregatesOptions options;
    options.group_by_status = true;
    options.group_by_name = random_.one_in(2);
    options.group_by_queue_name = random_.one_in(2);
    if (random_.one_in(2)) options.filter.user = "ann";
    std::map<std::string, std::int64_t> expected, got;
    const auto key = [&](const Text& status, const Text& name, const Text& queue) {
        return status.value_or("-") + (options.group_by_name ? " " + name.value_or("-") : "") +
               (options.group_by_queue_name ? " " + queue.value_or("-") : "");
    };
    for (const Row* row : listed(model_, options.filter, application_))
        ++expected[key(row->status, row->name, row->queue)];
    for (const WorkflowAggregate& group : client_->get_workflow_aggregates(options))
        got[key(group.status, group.name, group.queue_name)] = group.count.value_or(-1);
    const auto text = [](const std::map<std::string, std::int64_t>& groups) {
        std::string all;
        for (const auto& [name, n] : groups) all += name + "=" + std::to_string(n) + "; ";
        return all;
    };
    check("get_workflow_aggregates", text(expected), text(got));
}

}  // namespace dbos::property
