#include "errands.hpp"

#include "core/schedule_ids.hpp"
#include "duet.hpp"
#include "errand_tools.hpp"

namespace dbos::sim {

namespace {

class Doer : public ErrandTools {
   public:
    using ErrandTools::ErrandTools;

    void run(const Errand& errand) {
        trace("errand " + errand.id);
        switch (errand.kind) {
            case ErrandKind::resume: return resume(errand);
            case ErrandKind::remove: return remove(errand);
            case ErrandKind::fork: return fork(errand);
            case ErrandKind::send: return send(errand);
            case ErrandKind::debounce: return debounce(errand);
            case ErrandKind::bulk: return bulk(errand);
            case ErrandKind::rearrange: return rearrange(errand);
            case ErrandKind::wait_in_vain: return wait_in_vain(errand);
            case ErrandKind::transaction: return transaction(errand);
            case ErrandKind::talk: return talk(errand);
            case ErrandKind::duet: return duet(errand);
            case ErrandKind::schedule: return schedule(errand);
            case ErrandKind::crowd: return crowd(errand);
            case ErrandKind::rewind: return do_rewind(*this, errand);
            case ErrandKind::fragile: return do_fragile(*this, errand);
            case ErrandKind::deadline: return do_deadline(*this, errand);
            case ErrandKind::unrunnable: return do_unrunnable(*this, errand);
            case ErrandKind::flood: return do_flood(*this, errand);
            case ErrandKind::reform: return do_reform(*this, errand);
            case ErrandKind::books: return do_books(*this, errand);
            case ErrandKind::count: break;
        }
    }

   private:
    WorkflowHandle<std::string> enqueue(const std::string& id, std::int64_t bits,
                                        EnqueueOptions options = {}) {
        options.workflow_id = id;
        options.queue_name = kWide;
        auto handle = client_.enqueue(Chain, options, bits);
        accepted(id);
        return handle;
    }

    void resume(const Errand& errand) {
        constexpr std::int64_t kLongEnough = 3430;  // three steps, to be cancelled in one of them
        const std::vector<std::string> ids = {errand.id + "-a", errand.id + "-b"};
        std::vector<Future<std::string>> waiting;
        for (const auto& id : ids) {
            note([&] { known_.managed.insert(id); });
            waiting.push_back(client_.enqueue(Scripted, {.queue_name = kWide, .workflow_id = id}, kLongEnough)
                                  .get_result_async());
            accepted(id);
        }
        pause(pace_ / 7);
        client_.cancel_workflows(ids);
        pause(pace_ / 7);
        const auto resumed = client_.resume_workflows<std::string>(ids);
        for (auto& result : waiting) ended([&] { return result.get(); });
        for (const auto& handle : resumed) {
            if (!ended([&] { return handle.get_result(); }))
                fail(handle.workflow_id() + " was resumed, and its wait says that it is cancelled");
        }
    }

    void remove(const Errand& errand) {
        bool begun = false;
        note([&] { begun = known_.deleting.contains(errand.id); });
        std::optional<Future<std::string>> waiting;
        if (!begun) {
            waiting = enqueue(errand.id, errand.bits).get_result_async();
            pause(pace_ / 3);
            note([&] { known_.deleting.insert(errand.id); });
        }
        client_.delete_workflow(errand.id);
        note([&] { known_.deleted.insert(errand.id); });
        if (client_.get_workflow_status(errand.id)) fail(errand.id + " was deleted, and is listed");
        if (!waiting) return;
        try {
            ended([&] { return waiting->get(); });
        } catch (const NonexistentWorkflow&) {  // the wait was still under way
        }
    }

    void fork(const Errand& errand) {
        const std::string id = errand.id + "-fork";
        const auto original = enqueue(errand.id, errand.bits);
        ended([&] { return original.get_result(); });
        const auto steps = client_.list_workflow_steps(errand.id);
        if (steps.empty()) fail(errand.id + " has ended, and has no steps");
        const auto from = steps[static_cast<std::size_t>(errand.bits) % steps.size()].function_id;
        fork_once(Chain, errand.id, from, id);
    }

    void send(const Errand& errand) {
        enqueue(errand.id, errand.bits);
        for (int i = 0; i < 3; ++i) {
            const std::string key = errand.id + ":" + std::to_string(i);
            client_.send(errand.id, i, "topic", {.idempotency_key = key});
            note([&] { known_.sent.emplace(key, errand.id); });
            pause(pace_ / 20);
        }
        std::vector<Message> again;
        for (int i = 0; i < 4; ++i)
            again.push_back({.destination_id = errand.id,
                             .message = i,
                             .topic = "topic",
                             .idempotency_key = errand.id + ":" + std::to_string(i)});
        client_.send_bulk(again);
        note([&] { known_.sent.emplace(errand.id + ":3", errand.id); });
    }

    void debounce(const Errand& errand) {
        Debouncer debouncer(client_, Chain, {.queue = kWide});
        std::string last;
        std::int64_t value = 0;
        for (int i = 0; i < 3; ++i) {
            const std::int64_t bits = errand.bits + i;
            try {
                const auto handle = debouncer.debounce(errand.id, seam::Duration(pace_ / 5), bits);
                last = handle.workflow_id();
                value = bits;
                accepted(last);
            } catch (const OutcomeUnknown&) {
                last.clear();
            }
            pause(pace_ / 7);
        }
        if (last.empty()) return;
        const auto handle = client_.retrieve_workflow(Chain, last);
        ended([&] { return handle.get_result(); });
        const auto status = handle.get_status();
        if (!status.input || status.input->positional.size() != 1 ||
            status.input->positional[0] != Value(value))
            fail("the debounced workflow " + last + " did not run with the arguments of the last call");
    }

    void bulk(const Errand& errand) {
        std::vector<EnqueueRequest> requests;
        for (int i = 0; i < 3; ++i) {
            EnqueueOptions options{.queue_name = kShared, .workflow_id = errand.id + "-" + std::to_string(i)};
            requests.push_back(enqueue_request(Chain, options, errand.bits + i));
        }
        const auto handles = client_.enqueue_bulk<std::string>(std::move(requests));
        for (const auto& handle : handles) accepted(handle.workflow_id());
        const auto first = client_.wait_first(handles);
        if (!is_terminal(first.get_status().status))
            fail(first.workflow_id() + " came first, and has not ended");
        client_.wait_all(handles);
        for (const auto& handle : handles) {
            if (!is_terminal(handle.get_status().status))
                fail(handle.workflow_id() + " has not ended behind wait_all");
        }
    }

    void rearrange(const Errand& errand) {
        const auto handle = enqueue(errand.id, errand.bits, {.delay = seam::Duration(3600 * kSecond)});
        client_.set_workflow_priority(errand.id, 5);
        note([&] { known_.rearranged.insert(errand.id); });
        for (std::int64_t round = 1; round <= 2; ++round) {
            note([&] { known_.rounds.erase(errand.id); });
            client_.update_workflow_attributes(errand.id, Value(Object{{"round", Value(round)}}));
            note([&] { known_.rounds[errand.id] = round; });
        }
        client_.set_workflow_delay(errand.id, seam::Duration(0));
        ended([&] { return handle.get_result(); });
    }

    void wait_in_vain(const Errand& errand) {
        const auto handle = enqueue(errand.id, errand.bits);
        static_cast<void>(handle.get_result_async());
        if (client_.get_event(errand.id, "nothing", seam::Duration(pace_ / 10)))
            fail("an event came that nobody has set");
        for ([[maybe_unused]] const auto& value : client_.read_stream(errand.id, "nothing"))
            fail("a stream has a value that nobody has written");
        if (!is_terminal(handle.get_status().status))
            fail("a stream was over before its workflow " + errand.id);
    }

    void transaction(const Errand& errand) {
        const bool undone = errand.bits % 2 == 0;
        OwnConnection own(path_);
        if (!own.run("BEGIN IMMEDIATE")) return;
        const auto handle =
            client_.enqueue_in_transaction(CallerTransaction(own.get()), Chain,
                                           {.queue_name = kWide, .workflow_id = errand.id}, errand.bits);
        auto waiting = handle.get_result_async({.timeout = seam::Duration(pace_ * 100)});
        pause(20 * kMillisecond);
        if (undone) {
            own.run("ROLLBACK");
            if (client_.get_workflow_status(errand.id)) fail(errand.id + " was undone, and is listed");
            return;
        }
        if (!own.run("COMMIT")) return;
        accepted(errand.id);
        client_.wake(kWide);
        ended([&] { return waiting.get(); });
    }

    /// Both end, whatever happens; the oracle looks at what they have received.
    void duet(const Errand& errand) {
        EnqueueOptions options{.queue_name = kWide, .workflow_id = errand.id};
        const auto handle = client_.enqueue(Duet, options, errand.bits);
        accepted(errand.id);
        ended([&] { return handle.get_result(); });
    }

    /// The oracle looks at each of its ticks.
    void schedule(const Errand& errand) {
        bool ended = false;
        note([&] { ended = known_.unscheduled.contains(errand.id); });
        if (!ended) {
            const bool backfill = errand.bits % 4 != 0;
            try {
                client_.create_schedule({.schedule_name = errand.id,
                                         .workflow_name = std::string(Ticked.name()),
                                         .schedule = "* * * * * *",
                                         .context = 0,
                                         .automatic_backfill = backfill,
                                         .queue_name = errand.bits % 2 == 0 ? kWide : ""});
            } catch (const AlreadyExists&) {  // by an earlier life of this client
            }
            if (backfill) begin_now(errand.id);
            for (std::int64_t change = 1; change <= 2; ++change) {
                seam::sleep_for(seam::Duration(static_cast<Nanos>(500 + draw() % 3000) * kMillisecond));
                client_.update_schedule(errand.id, {.context = change});
                pause(2 * kSecond);
                client_.pause_schedule(errand.id);
                pause(4 * kSecond);
                client_.resume_schedule(errand.id);
            }
            pause(4 * kSecond);
            note([&] { known_.unscheduled.insert(errand.id); });
        }
        client_.delete_schedule(errand.id);
        if (client_.get_schedule(errand.id)) fail(errand.id + " was deleted, and is listed");
    }

    /// Whoever finds the schedule makes up for its ticks from now on, though none has been fired.
    void begin_now(const std::string& name) {
        OwnConnection own(path_);
        const auto now = std::chrono::floor<std::chrono::seconds>(seam::wall_now());
        const std::string text = core::tick_text(core::ScheduleDialect::python, now, core::TimeZone());
        const std::string sql = "UPDATE workflow_schedules SET last_fired_at = '" + text +
                                "' WHERE last_fired_at IS NULL AND schedule_name = '" + name + "'";
        while (!own.run(sql.c_str())) {
        }
        // Nothing is promised of one that was fired first: others may have taken it up in between, when nothing was to be made up for.
        if (sqlite3_changes(own.get()) > 0)
            note([&] { known_.schedules.emplace(name, now.time_since_epoch().count() * 1000); });
    }

    /// A reader sees a prefix, in order, and then the end: of the stream if it was closed, else of its writer.
    void talk(const Errand& errand) {
        const auto handle =
            client_.enqueue(Talker, {.queue_name = kWide, .workflow_id = errand.id}, errand.bits);
        accepted(errand.id);
        static_cast<void>(client_.get_event(errand.id, kTalk, seam::Duration(pace_ / 10)));
        std::vector<std::string> values;
        for (const std::string& value : client_.read_stream<std::string>(errand.id, kTalk)) {
            values.push_back(value);
            note([&] { known_.heard[errand.id] = values; });
        }
        for ([[maybe_unused]] const auto& value : client_.read_stream(errand.id, kNoise)) {
            if (!value.plain().as_string().starts_with("s")) fail("a step's stream has a value of a body");
        }
        ended([&] { return handle.get_result(); });
        std::vector<std::string> again;
        for (const std::string& value : client_.read_stream<std::string>(errand.id, kTalk))
            again.push_back(value);
        if (again != values)
            fail("two readers of the stream of " + errand.id + " have seen different values");
    }

    /// All run, though none may pass the limits (the oracle looks at them). Behind a workflow that nobody implements its key
    /// waits, and no other.
    void crowd(const Errand& errand) {
        const auto bits = static_cast<std::uint64_t>(errand.bits);
        const char* queues[] = {kRated, kKeyed, kMixed, kKeyed, kMixed};
        const std::string queue = queues[bits % std::size(queues)];
        const bool keyed = queue != kRated;
        std::vector<WorkflowHandle<std::string>> handles;
        const auto add = [&](const std::string& name, const std::string& key) {
            EnqueueOptions options{.queue_name = queue, .workflow_id = errand.id + "-" + name};
            if (keyed) options.queue_partition_key = key;
            handles.push_back(client_.enqueue(Chain, options, errand.bits + std::ssize(handles)));
            accepted(*options.workflow_id);
        };
        const bool stranger = queue == kKeyed && bits % 2 == 0;
        const std::string nobodys = errand.id + "-nobody";
        if (stranger) {
            EnqueueOptions options{.workflow_name = "nobody", .queue_name = queue, .workflow_id = nobodys};
            options.queue_partition_key = "z";
            client_.enqueue<Value>(options, 1);
            accepted(nobodys);
            add("behind", "z");
        }
        const auto flood = 3 + bits / 16 % 3;
        for (std::uint64_t i = 0; i < flood; ++i) add("a" + std::to_string(i), "a");
        for (const std::string key : {"b", "c"}) add(key, key);
        if (bits / 64 % 2 == 0) pause(pace_ / 3);
        for (std::size_t i = stranger ? 1 : 0; i < handles.size(); ++i)
            ended([&] { return handles[i].get_result(); });
        if (!stranger) return;
        client_.cancel_workflow(nobodys);
        ended([&] { return handles.front().get_result(); });
    }
};

}  // namespace

void do_errands(Client& client, const std::vector<Errand>& errands, Known& known, Nanos pace,
                const std::string& path) {
    Doer doer(client, known, pace, path);
    for (const Errand& errand : errands) doer.run(errand);
}

}  // namespace dbos::sim
