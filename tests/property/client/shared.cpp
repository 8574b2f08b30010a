// Rows that both processes work on. What one call must say depends on the other process; what must hold for every order is
// counted here and checked by the parent against the database (main.cpp).
#include "dbos/debouncer.hpp"
#include "property/client/run.hpp"

namespace dbos::property {

using namespace std::chrono_literals;

namespace {
constexpr int kIds = 12;
constexpr const char* kApplication = "shared";
}  // namespace

void Run::shared() {
    const std::string id = "s-" + std::to_string(random_.below(kIds));
    const std::string me = std::to_string(settings_.process);
    const auto fine = [&](const char* what, const std::string& expected, const std::string& got) {
        check(std::string("shared rows, ") + what, expected, got);
    };
    EnqueueOptions o;
    o.workflow_name = "shared";
    o.application_name = kApplication;
    switch (random_.below(10)) {
        case 0:  // the same id from both: always its handle
            o.queue_name = "shared-q";
            o.workflow_id = id;
            fine("enqueue", id, outcome([&] { return client_->enqueue(o, me).workflow_id(); }));
            break;
        case 1: {  // who is first makes it, the other is refused: one row for each success
            o.queue_name = "shared-q";
            o.workflow_id = "c-" + std::to_string(done_ / 4);
            o.workflow_id_reuse_policy = WorkflowIdReusePolicy::reject;
            const std::string got = outcome([&] {
                return async() ? client_->enqueue_async(o, me).get().workflow_id()
                               : client_->enqueue(o, me).workflow_id();
            });
            if (got == *o.workflow_id) {
                ++shared_counts_["claimed ids"];
            } else {
                fine("enqueue of a claimed id", "WorkflowIdInUse " + *o.workflow_id, got);
            }
            break;
        }
        case 2: {  // one holder for each deduplication id
            o.workflow_name = "shared-dedup";
            o.queue_name = "shared-dq";
            o.deduplication_id = pick({"x1", "x2", "x3"});
            o.workflow_id = fresh_id() + "-dedup";
            const std::string got = outcome([&] { return client_->enqueue(o, me).workflow_id(); });
            if (got == *o.workflow_id) {
                ++shared_counts_["holders"];
            } else {
                fine("enqueue with a held deduplication id", "QueueDeduplicated " + o.deduplication_id, got);
            }
            break;
        }
        case 3: {  // the holder, whoever it is; then it lets go
            o.workflow_name = "shared-dedup";
            o.queue_name = "shared-dq";
            o.deduplication_id = pick({"x1", "x2", "x3"});
            o.workflow_id = fresh_id() + "-dedup";
            o.duplication_policy = DuplicationPolicy::return_existing;
            const std::string got = outcome([&] { return client_->enqueue(o, me).workflow_id(); });
            if (got == *o.workflow_id) ++shared_counts_["holders"];
            if (!got.ends_with("-dedup")) fine("enqueue with return_existing", "a holder", got);
            fine("cancel of a holder", "done", outcome([&] {
                     client_->cancel_workflow(got);
                     return std::string("done");
                 }));
            break;
        }
        case 4: {  // messages: each key once, each other one once
            Message message;
            message.destination_id = id;
            message.message = Any(me);
            const bool keyed = random_.one_in(2);
            if (keyed) message.idempotency_key = "sk" + std::to_string(random_.below(300));
            const std::string got = outcome([&] {
                client_->send(id, message.message, {}, {.idempotency_key = message.idempotency_key});
                return std::string("sent");
            });
            if (got != "sent") {
                fine("send", "NonexistentWorkflow " + id, got);
            } else if (keyed) {
                shared_counts_["key " + message.idempotency_key + "::" + id] = 1;
            } else {
                ++shared_counts_["unkeyed messages"];
            }
            break;
        }
        case 5: {  // each process has a key of its own in one object: no merge may lose the other's
            if (!client_->get_workflow_status(id)) break;
            const std::string key = "p" + me;
            Object change;
            change.emplace_back(key, static_cast<std::int64_t>(done_));
            fine("merge of attributes", "done", outcome([&] {
                     client_->update_workflow_attributes(id, Any(Value(std::move(change))), {.merge = true});
                     return std::string("done");
                 }));
            const auto row = client_->get_workflow_status(id);
            const Value* merged = row && row->attributes ? row->attributes->find(key) : nullptr;
            fine("own key of merged attributes", std::to_string(done_),
                 merged ? std::to_string(merged->as_int()) : "none");
            shared_counts_["attribute " + id + " " + key] = done_;
            break;
        }
        case 6: {  // any order of these is legal, and none may fail
            fine("cancel, resume or priority", "done", outcome([&] {
                     switch (random_.below(3)) {
                         case 0: client_->cancel_workflow(id, {.cancel_children = true}); break;
                         case 1: client_->set_workflow_priority(id, random_.between(0, 9)); break;
                         default:
                             if (client_->get_workflow_status(id)) client_->resume_workflow(id);
                     }
                     return std::string("done");
                 }));
            break;
        }
        case 7: {
            if (!client_->get_workflow_status(id)) break;
            const std::string fork = fresh_id() + "-fork";
            fine("fork", fork, outcome([&] {
                     return client_->fork_workflow(id, 1, {.new_workflow_id = fork}).workflow_id();
                 }));
            ++shared_counts_["forks"];
            break;
        }
        case 8: {  // versions: both promote; each promotion has its own instant
            fine("set_latest_version", "done", outcome([&] {
                     client_->set_latest_version(pick({"shared-1", "shared-2", "shared-3"}), kApplication);
                     return std::string("done");
                 }));
            break;
        }
        default: {  // a row that comes and goes
            std::string fleeting = "d-" + std::to_string(random_.below(4));
            o.queue_name = "shared-q";
            o.workflow_id = fleeting;
            const bool remove = random_.one_in(2);
            fine("enqueue or delete", fleeting, outcome([&] {
                     if (!remove) return client_->enqueue(o, me).workflow_id();
                     client_->delete_workflow(fleeting);
                     return fleeting;
                 }));
        }
    }
}

std::string Run::shared_report() const {
    std::string text;
    for (const auto& [name, number] : shared_counts_) text += name + "\t" + std::to_string(number) + "\n";
    return text;
}

}  // namespace dbos::property
