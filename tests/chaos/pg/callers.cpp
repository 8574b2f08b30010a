#include "chaos/pg/callers.hpp"

#include <deque>

#include "chaos/pg/workload.hpp"

namespace dbos::chaos {

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr auto kBluntPause = 50ms;
constexpr std::size_t kWaiting = 10;  // workflows of a thread that may be under way when it starts more

enum Kind : std::uint64_t { parent, sleeper, fan, stubborn, chain, kinds = 12 };  // the rest is chains

}  // namespace

Callers::Callers(const ClientOptions& options, std::string only_queue, std::uint64_t seed,
                 Clock::time_point end, Clock::time_point give_up, Known& known)
    : only_queue_(std::move(only_queue)),
      seed_(seed),
      end_(end),
      give_up_(give_up),
      known_(known),
      client_(options),
      blunt_(without_repeats(options)) {
    for (std::uint64_t i = 0; i < kThreads; ++i) threads_.emplace_back([this, i] { drive(i); });
}

ClientOptions Callers::without_repeats(ClientOptions options) {
    options.retry_connection_errors = false;
    return options;
}

void Callers::join() {
    for (auto& thread : threads_) thread.join();
    threads_.clear();
    client_.destroy();
    blunt_.destroy();
}

void Callers::drive(std::uint64_t thread) {
    Random random(seed_, 100 + thread);
    std::deque<Handle> handles;
    for (std::uint64_t round = 0; Clock::now() < end_; ++round) {
        const auto count = 1 + random.below(6);
        for (std::uint64_t i = 0; i < count; ++i) {
            const std::string id =
                "w" + std::to_string(thread) + "-" + std::to_string(round) + "-" + std::to_string(i);
            try {
                handles.push_back(enqueue(random, id));
            } catch (const std::exception& error) {
                known_.wrong("lost", "a call about " + id + " failed: " + error.what());
            }
        }
        for (; handles.size() > kWaiting; handles.pop_front()) wait(handles.front());
    }
    for (auto& handle : handles) wait(handle);
}

Callers::Handle Callers::enqueue(Random& random, const std::string& id) {
    const char* queues[] = {kWide, kWide, kWide, kWide, kNarrow, kShared, kRated, kKeyed};
    EnqueueOptions options{.queue_name = queues[random.below(std::size(queues))], .workflow_id = id};
    if (random.one_in(4)) options.deduplication_id = "d-" + id;
    if (random.one_in(6)) options.delay = milliseconds(random.between(1, 1'500));
    const auto shape = static_cast<std::int64_t>(random.below(1u << 30));
    const std::uint64_t kind = random.below(kinds);
    if (kind == parent || kind == stubborn) options.queue_name = kWide;
    if (!only_queue_.empty()) options.queue_name = only_queue_;
    if (options.queue_name == kKeyed) {
        options.queue_partition_key = "key" + std::to_string(random.below(4));
        options.deduplication_id.clear();  // not beside a key
    }
    const bool blunt = random.one_in(4);
    // The id is new: whoever is told that it is in use has met its own lost acknowledgement.
    if (!blunt && random.one_in(2)) options.workflow_id_reuse_policy = WorkflowIdReusePolicy::reject;
    Handle handle =
        blunt ? enqueue_until_told(kind, options, shape) : enqueue_once(client_, kind, options, shape);
    known_.accepted(id);
    if (random.one_in(6)) enqueue_again(random, kind, options, shape);
    if (kind == stubborn) {
        std::this_thread::sleep_for(milliseconds(random.between(0, 1'000)));
        cancel(id);
    } else if (random.one_in(12)) {
        cancel(id);
    }
    return handle;
}

Callers::Handle Callers::enqueue_once(Client& client, std::uint64_t kind, const EnqueueOptions& options,
                                      std::int64_t shape) {
    switch (kind) {
        case parent: return client.enqueue(Parent, options, shape);
        case sleeper: return client.enqueue(Sleeper, options, shape);
        case fan: return client.enqueue(Fan, options, shape);
        case stubborn: return client.enqueue(Stubborn, options, shape);
        default: return client.enqueue(Chain, options, shape);
    }
}

/// What a program does whose client does not repeat: the same call with the same id, until there is an answer.
Callers::Handle Callers::enqueue_until_told(std::uint64_t kind, const EnqueueOptions& options,
                                            std::int64_t shape) {
    for (;;) {
        try {
            static_cast<void>(enqueue_once(blunt_, kind, options, shape));
            break;
        } catch (const OutcomeUnknown&) {
        } catch (const DatabaseError& error) {
            if (!error.transient() || Clock::now() > give_up_) throw;
        }
        ++calls_.repeated;
        std::this_thread::sleep_for(kBluntPause);
    }
    return client_.retrieve_workflow<std::string>(*options.workflow_id);
}

/// It is accepted already: the same workflow, or a refusal, but never another run of it.
void Callers::enqueue_again(Random& random, std::uint64_t kind, EnqueueOptions options, std::int64_t shape) {
    const bool reject = random.one_in(2);
    options.workflow_id_reuse_policy =
        reject ? WorkflowIdReusePolicy::reject : WorkflowIdReusePolicy::return_existing;
    ++calls_.enqueued_again;
    try {
        const Handle handle = enqueue_once(client_, kind, options, shape);
        if (reject) known_.wrong("repeated", *options.workflow_id + " was accepted twice");
    } catch (const WorkflowIdInUse&) {
        if (!reject) throw;
    }
}

void Callers::cancel(const std::string& id) {
    client_.cancel_workflow(id);
    ++calls_.cancels;
}

void Callers::wait(Handle& handle) {
    const auto left = std::max<Clock::duration>(give_up_ - Clock::now(), 1s);
    try {
        known_.outcome(handle.workflow_id(),
                       handle.get_result({.timeout = std::chrono::duration_cast<milliseconds>(left)}));
    } catch (const Timeout&) {
        ++calls_.overdue;  // the row says whether it has ended
    } catch (const DatabaseError& error) {
        known_.wrong("lost", "the wait for " + handle.workflow_id() + " failed: " + error.what());
    } catch (const std::exception&) {
        known_.outcome(handle.workflow_id(), std::nullopt);
    }
}

}  // namespace dbos::chaos
