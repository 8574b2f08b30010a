// Starting and messaging: enqueue in all its forms, debounce, send.
#include <libpq-fe.h>
#include <sqlite3.h>
#include <cmath>

#include <memory>

#include "dbos/debouncer.hpp"
#include "property/client/run.hpp"

namespace dbos::property {

using namespace std::chrono_literals;

namespace {
constexpr When kLater{};  // set by stamp()
}

// ---------------------------------------------------------------------------------------------------- enqueue

Run::Call Run::draw_call(bool with_id) {
    Call call;
    EnqueueOptions& o = call.options;
    call.contract = random_.one_in(5);
    if (call.contract) {
        call.arguments.positional.emplace_back(pick({"x", "y"}));
    } else {
        o.workflow_name = pick({"pay", "ship", "mail"});
        for (auto n = random_.below(3); n > 0; --n) call.arguments.positional.push_back(draw_value());
        if (random_.one_in(4)) call.arguments.named.emplace_back("k", draw_value());
    }
    o.queue_name = queue_name();
    if (random_.one_in(7)) {
        o.workflow_id = any_id(4);
    } else if (with_id || !random_.one_in(4)) {
        o.workflow_id = fresh_id();
    }
    if (random_.one_in(4)) o.app_version = prefix_ + pick({"v1", "v2", "v9"});
    if (random_.one_in(4)) o.workflow_timeout = std::chrono::milliseconds(random_.between(1, 100000));
    if (random_.one_in(3)) {
        o.deduplication_id = pick({"d1", "d2", "d3", "pay-key1"});
        if (random_.one_in(3)) o.duplication_policy = DuplicationPolicy::return_existing;
    }
    if (random_.one_in(4)) o.workflow_id_reuse_policy = WorkflowIdReusePolicy::reject;
    if (random_.one_in(3)) o.priority = random_.between(0, 5);
    if (random_.one_in(6)) o.queue_partition_key = pick({"k1", "k2"});
    if (random_.one_in(4)) o.authenticated_user = pick({"ann", "bob"});
    if (random_.one_in(6)) o.authenticated_roles = {"admin", "it's"};
    if (random_.one_in(6)) o.assumed_role = "admin";
    if (random_.one_in(4)) o.delay = std::chrono::milliseconds(random_.between(0, 500000));
    if (!call.contract && random_.one_in(6)) o.class_name = pick({"Shop", "Mall"});
    if (!call.contract && random_.one_in(8)) o.instance_name = "eu";
    if (random_.one_in(4)) o.attributes = Any(draw_attributes());
    if (random_.one_in(10)) o.application_name = application_ + "-other";
    return call;
}

std::string Run::start(const Call& call, std::vector<std::string>& created) {
    const EnqueueOptions& o = call.options;
    const std::string name = call.contract ? "pay" : o.workflow_name;
    const auto given = [](const std::string& text) { return text.empty() ? std::nullopt : Text(text); };
    if (o.workflow_id) {
        touch(*o.workflow_id);
        if (const Row* row = model_.find(*o.workflow_id)) {
            if (o.workflow_id_reuse_policy == WorkflowIdReusePolicy::reject)
                return "WorkflowIdInUse " + row->id;
            if (row->name != name || row->class_name != given(o.class_name) ||
                row->config_name != given(o.instance_name))
                return "ConflictingWorkflow " + row->id;
            return "handle " + row->id;
        }
    }
    if (!o.deduplication_id.empty()) {
        if (const Row* holder = model_.holder(o.queue_name, o.deduplication_id)) {
            touch(holder->id);
            if (o.duplication_policy == DuplicationPolicy::return_existing) return "handle " + holder->id;
            return "QueueDeduplicated " + o.deduplication_id;
        }
    }
    Row row;
    row.id = o.workflow_id ? *o.workflow_id : "new";
    row.name = name;
    row.class_name = given(o.class_name);
    row.config_name = given(o.instance_name);
    row.user = given(o.authenticated_user);
    row.assumed_role = given(o.assumed_role);
    row.roles = o.authenticated_roles;
    row.input = call.arguments;
    row.queue = o.queue_name;
    row.version = given(o.app_version);
    row.deduplication = given(o.deduplication_id);
    row.partition = given(o.queue_partition_key);
    if (o.attributes) row.attributes = sorted_text(o.attributes->value());
    row.application = o.application_name.empty() ? application_ : o.application_name;
    if (o.workflow_timeout) row.timeout_ms = std::llround(o.workflow_timeout->count() * 1000);
    row.priority = o.priority;
    row.created = row.updated = kLater;
    if (o.delay && o.delay->count() > 0) {
        row.status = "DELAYED";
        row.delay = When::exactly(std::llround(o.delay->count() * 1000));
    }
    created.push_back(row.id);
    const std::string said = row.id == "new" ? "new" : "handle " + row.id;
    model_.rows.insert_or_assign(row.id, std::move(row));
    return said;
}

void Run::stamp(const std::vector<std::string>& created, const When& when) {
    for (const std::string& id : created) {
        Row& row = model_.rows.at(id);
        row.created = row.updated = when;
        if (row.partition) row.created.to = row.updated.to = when.to + 1000;
        if (row.delay) row.delay = When{when.from + row.delay->from, when.to + row.delay->to};
        touch(id);
    }
}

void Run::enqueue() {
    const Call call = draw_call(false);
    std::vector<std::string> created;
    const std::string expected = start(call, created);
    const Span span;
    std::string id;
    const std::string got = outcome([&] {
        if (call.contract) {
            const std::string text = call.arguments.positional[0].as_string();
            id = async() ? client_->enqueue_async(Pay, call.options, text).get().workflow_id()
                         : client_->enqueue(Pay, call.options, text).workflow_id();
        } else if (async()) {
            id = spread(call.arguments, [&](const auto&... arguments) {
                return client_->enqueue_async(call.options, arguments...).get().workflow_id();
            });
        } else {
            id = spread(call.arguments, [&](const auto&... arguments) {
                return client_->enqueue(call.options, arguments...).workflow_id();
            });
        }
        return "handle " + id;
    });
    stamp(created, span.when());
    if (expected != "new") return check("enqueue", expected, got);
    touched_.erase("new");
    Row row = std::move(model_.rows.at("new"));
    model_.rows.erase("new");
    if (id.size() != 36) return diverged("enqueue: expected a new id, got " + got);
    row.id = id;
    touch(id);
    model_.rows.emplace(id, std::move(row));
}

void Run::enqueue_burst() {
    // Many at once, without waiting; one id twice: whichever is first has its arguments written.
    std::vector<Future<WorkflowHandle<Value>>> futures;
    std::vector<std::string> expected, created;
    const Span span;
    const int n = random_.between(3, 10);
    for (int i = 0; i < n; ++i) {
        Call call = draw_call(true);
        call.options.duplication_policy = DuplicationPolicy::reject;
        if (call.contract) call.options.workflow_name = "pay";
        if (i == n - 1 && random_.one_in(2)) {
            const std::string again = created.empty() ? fresh_id() : created.front();
            call.options.workflow_id = again;
        } else {
            call.options.workflow_id = fresh_id();
        }
        call.options.deduplication_id.clear();
        expected.push_back(start(call, created));
        futures.push_back(spread(call.arguments, [&](const auto&... arguments) {
            return client_->enqueue_async(call.options, arguments...);
        }));
    }
    for (std::size_t i = 0; i < futures.size(); ++i) {
        check("enqueue_async in a burst", expected[i],
              outcome([&] { return "handle " + futures[i].get().workflow_id(); }));
    }
    stamp(created, span.when());
    count("enqueue_async", static_cast<std::uint64_t>(n - 1));
}

void Run::enqueue_bulk() {
    std::vector<EnqueueRequest> requests;
    std::vector<std::string> created, expected;
    std::string refused = "BulkRefused", handles = "handles";
    std::set<std::string> refused_ids;
    const int n = random_.between(1, 12);
    const bool careful = random_.one_in(2);  // no refusals, so that many are written as well
    for (int i = 0; i < n; ++i) {
        Call call = draw_call(true);
        if (careful) {
            call.options.workflow_id = fresh_id();
            call.options.deduplication_id.clear();
            call.options.duplication_policy = DuplicationPolicy::reject;
        }
        // One id refused here and accepted there: which of the two went first would be the library's to say.
        if (refused_ids.contains(*call.options.workflow_id)) call.options.workflow_id = fresh_id();
        const std::string said = start(call, created);
        if (said.starts_with("handle ")) {
            handles += said.substr(6);
        } else {
            refused += " " + std::to_string(i);
            refused_ids.insert(*call.options.workflow_id);
        }
        if (call.contract) {
            requests.push_back(enqueue_request(Pay, call.options, call.arguments.positional[0].as_string()));
        } else {
            requests.push_back(spread(call.arguments, [&](const auto&... arguments) {
                return enqueue_request(call.options, arguments...);
            }));
        }
    }
    const bool all = refused == "BulkRefused";
    if (!all) {
        for (const std::string& id : created) model_.rows.erase(id);
        created.clear();
    }
    const Span span;
    check("enqueue_bulk", all ? handles : refused, outcome([&] {
              std::string text = "handles";
              const auto got =
                  async() ? client_->enqueue_bulk_async(requests).get() : client_->enqueue_bulk(requests);
              for (const auto& handle : got) text += " " + handle.workflow_id();
              return text;
          }));
    stamp(created, span.when());
    count("enqueue in bulk", static_cast<std::uint64_t>(n - 1));
}

// ---------------------------------------------------------------------------------------------------- in a transaction

namespace {

/// The caller's own connection.
class Caller {
   public:
    explicit Caller(const std::string& url) {
        const sql::Url parsed = sql::Url::parse(url);
        if (parsed.backend == sql::Backend::postgres) {
            postgres_ = PQconnectdb(parsed.conninfo.c_str());
        } else {
            sqlite3_open(parsed.path.c_str(), &sqlite_);
            sqlite3_busy_timeout(sqlite_, 30000);
        }
    }
    ~Caller() {
        PQfinish(postgres_);
        sqlite3_close(sqlite_);
    }
    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;
    void run(const char* text) {
        if (postgres_) {
            PQclear(PQexec(postgres_, text));
        } else if (sqlite3_exec(sqlite_, text, nullptr, nullptr, nullptr) != SQLITE_OK) {
            throw std::runtime_error(std::string(text) + ": " + sqlite3_errmsg(sqlite_));
        }
    }
    void begin() { run(postgres_ ? "BEGIN" : "BEGIN IMMEDIATE"); }
    CallerTransaction transaction() const {
        return postgres_ ? CallerTransaction(postgres_) : CallerTransaction(sqlite_);
    }

   private:
    PGconn* postgres_ = nullptr;
    sqlite3* sqlite_ = nullptr;
};

}  // namespace

void Run::in_transaction() {
    Caller caller(settings_.url);
    const bool commit = !random_.one_in(3);
    const Model before = commit ? Model() : model_;
    std::vector<std::string> created;
    const Span span;
    caller.begin();
    for (int n = random_.between(1, 3); n > 0; --n) {
        Call call = draw_call(true);
        if (call.contract) {
            call.contract = false;
            call.options.workflow_name = "pay";
        }
        const std::string expected = start(call, created);
        check("enqueue_in_transaction", expected, outcome([&] {
                  return "handle " + spread(call.arguments, [&](const auto&... arguments) {
                             return client_
                                 ->enqueue_in_transaction(caller.transaction(), call.options, arguments...)
                                 .workflow_id();
                         });
              }));
        if (random_.one_in(2)) continue;
        Message message = draw_message();
        message.destination_id = *call.options.workflow_id;
        check("send_in_transaction", sent(message, false), outcome([&] {
                  client_->send_in_transaction(caller.transaction(), message.destination_id, message.message,
                                               message.topic, {.idempotency_key = message.idempotency_key});
                  return std::string("sent");
              }));
    }
    caller.run(commit ? "COMMIT" : "ROLLBACK");
    if (commit) {
        stamp(created, span.when());
    } else {
        model_ = before;
    }
}

// ---------------------------------------------------------------------------------------------------- debounce

void Run::debounce() {
    const std::string name = pick({"pay", "mail"});
    const std::string key = pick({"key1", "key2"});
    const std::string queue = queue_name();
    const auto period = std::chrono::milliseconds(random_.between(0, 300000));
    const std::int64_t period_ms = period.count();
    std::optional<std::int64_t> timeout_ms;
    DebouncerOptions options;
    options.queue = queue;
    if (random_.one_in(2)) {
        timeout_ms = random_.between(1, 300000);
        options.debounce_timeout = std::chrono::milliseconds(*timeout_ms);
    }
    EnqueueOptions workflow;
    workflow.workflow_name = name;
    workflow.workflow_id = fresh_id();
    const Value argument = draw_value();

    Row* holder = model_.holder(queue, name + "-" + key);
    std::string expected;
    const bool bounces = holder && holder->debounced && holder->status == "DELAYED" && holder->name == name &&
                         holder->application == application_;
    if (bounces) {
        expected = "handle " + holder->id;
    } else if (holder) {
        // One of ours that has left its delay gives the key up when it does: the model clears it then.
        expected = "QueueDeduplicated " + name + "-" + key;
    } else {
        expected = "handle " + *workflow.workflow_id;
    }
    const Span span;
    Debouncer debouncer(*client_, workflow, options);
    check("debounce", expected, outcome([&] {
              return "handle " + (async()
                                      ? debouncer.debounce_async(key, period, argument).get().workflow_id()
                                      : debouncer.debounce(key, period, argument).workflow_id());
          }));
    const When when = span.when();
    if (holder) touch(holder->id);
    When until{when.from + period_ms, when.to + period_ms};
    const auto cap = [&](const MaybeWhen& deadline) {
        if (!deadline) return;
        until = {std::min(until.from, deadline->from), std::min(until.to, deadline->to)};
    };
    if (bounces) {
        cap(holder->debounce_deadline);
        holder->delay = until;
        holder->updated = when;
        holder->input = {.positional = {argument}, .named = {}};
    } else if (!holder) {
        Row row;
        row.id = *workflow.workflow_id;
        row.name = name;
        row.status = "DELAYED";
        row.queue = queue;
        row.deduplication = name + "-" + key;
        row.debounced = true;
        row.application = application_;
        row.input = {.positional = {argument}, .named = {}};
        row.created = row.updated = when;
        if (timeout_ms) row.debounce_deadline = When{when.from + *timeout_ms, when.to + *timeout_ms};
        cap(row.debounce_deadline);
        row.delay = until;
        touch(row.id);
        model_.rows.emplace(row.id, std::move(row));
    }
}

// ---------------------------------------------------------------------------------------------------- messages

Message Run::draw_message() {
    Message message;
    message.destination_id = any_id();
    message.message = Any(draw_value());
    if (random_.one_in(2)) message.topic = pick({"t1", "t::2"});
    if (random_.one_in(2)) message.idempotency_key = "k" + std::to_string(random_.below(6));
    return message;
}

std::string Run::sent(const Message& message, bool to_forks) {
    if (!model_.find(message.destination_id)) return "NonexistentWorkflow " + message.destination_id;
    std::set<std::string> destinations;
    if (to_forks) destinations = model_.forks_below(message.destination_id);
    destinations.insert(message.destination_id);
    for (const std::string& destination : destinations) {
        SentMessage row{.destination = destination,
                        .topic = message.topic.empty() ? "__null__topic__" : message.topic,
                        .text = text_of(message.message.value()),
                        .consumed_by = {}};
        if (message.idempotency_key.empty()) {
            model_.unkeyed.push_back(std::move(row));
        } else {
            model_.messages.emplace(message.idempotency_key + "::" + destination, std::move(row));
        }
    }
    return "sent";
}

void Run::send() {
    const Message message = draw_message();
    const SendOptions options{.idempotency_key = message.idempotency_key, .send_to_forks = random_.one_in(3)};
    const std::optional<std::string> topic = message.topic;
    check("send", sent(message, options.send_to_forks), outcome([&] {
              if (async()) {
                  client_->send_async(message.destination_id, message.message, topic, options).get();
              } else {
                  client_->send(message.destination_id, message.message, topic, options);
              }
              return std::string("sent");
          }));
}

void Run::send_bulk() {
    std::vector<Message> messages;
    std::set<std::string> keys, missing;
    for (int n = random_.between(1, 10); n > 0; --n) {
        Message message = draw_message();
        if (!message.idempotency_key.empty() && !keys.insert(message.idempotency_key).second)
            message.idempotency_key.clear();
        if (random_.one_in(2)) message.destination_id = any_id(1 << 30);
        if (!model_.find(message.destination_id)) missing.insert(message.destination_id);
        messages.push_back(std::move(message));
    }
    const SendBulkOptions options{.send_to_forks = random_.one_in(4)};
    std::string expected = "sent";
    if (missing.empty()) {
        for (const Message& message : messages) sent(message, options.send_to_forks);
    } else {
        expected = "NonexistentWorkflow";
    }
    std::string got = outcome([&] {
        if (async()) {
            client_->send_bulk_async(messages, options).get();
        } else {
            client_->send_bulk(messages, options);
        }
        return std::string("sent");
    });
    got = got.substr(0, got.find(' '));
    check("send_bulk", expected, got);
    count("send in bulk", messages.size() - 1);
}

}  // namespace dbos::property
