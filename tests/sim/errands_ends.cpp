// Errands whose workflows end in other ways than most (runtime.md 11: 7, 17, 39, 40, 42, 44), the flood of a queue, and transactions.
#include <vector>

#include "errand_tools.hpp"

namespace dbos::sim {

namespace {

class Ends : public ErrandTools {
   public:
    explicit Ends(const ErrandTools& tools) : ErrandTools(tools) {}

    void rewind(const Errand& errand) {
        const auto handle =
            client_.enqueue(Reviser, {.queue_name = kWide, .workflow_id = errand.id}, errand.bits);
        accepted(errand.id);
        for (int times = 0; times < 2; ++times) {
            ended([&] { return handle.get_result(); });
            const auto steps = client_.list_workflow_steps(errand.id, {.load_output = false});
            if (steps.empty()) fail(errand.id + " has ended, and has no steps");
            const auto cut = steps[draw() % steps.size()].function_id;
            note([&] {
                const auto [at, added] = known_.rewound.emplace(errand.id, static_cast<int>(cut));
                if (!added) at->second = static_cast<int>(cut);
            });
            try {
                client_.rewind_workflow(Reviser, errand.id, cut);
            } catch (const OutcomeUnknown&) {  // done, or not
            }
        }
        ended([&] { return handle.get_result(); });
    }

    void fragile(const Errand& errand) {
        note([&] { known_.deadly.emplace(errand.id, static_cast<int>(1 + errand.bits % 4)); });
        const auto handle =
            client_.enqueue(Fragile, {.queue_name = kWide, .workflow_id = errand.id}, errand.bits / 4);
        accepted(errand.id);
        ended([&] { return handle.get_result(); });
    }

    void deadline(const Errand& errand) {
        const EnqueueOptions options{
            .queue_name = kWide, .workflow_id = errand.id, .workflow_timeout = seam::Duration(pace_)};
        const auto handle = client_.enqueue(Guardian, options, errand.bits);
        accepted(errand.id);
        ended([&] { return handle.get_result(); });
    }

    /// Each of them is enqueued and spoilt in one transaction of the client's own: nobody sees it whole.
    void unrunnable(const Errand& errand) {
        const char* const spoilt[] = {
            "UPDATE workflow_input SET inputs = '{\"positionalArgs\":[1' WHERE workflow_uuid = ",
            R"(UPDATE workflow_input SET inputs = '{"positionalArgs":["x"],"namedArgs":{}}' WHERE workflow_uuid = )",
            "UPDATE workflow_status SET serialization = 'martian' WHERE workflow_uuid = ", ""};
        for (std::size_t n = 0; n < std::size(spoilt); ++n) {
            const std::string id = errand.id + "-" + std::to_string(n);
            note([&] { known_.unrunnable.insert(id); });
            const bool in_role = *spoilt[n] == 0;
            if (in_role) {
                client_.enqueue(Guarded,
                                {.queue_name = kWide, .workflow_id = id, .authenticated_roles = {"guest"}},
                                errand.bits);
            } else if (!enqueue_spoilt(id, spoilt[n], errand.bits)) {
                continue;
            }
            accepted(id);
            client_.wake(kWide);
            const auto handle = client_.retrieve_workflow<Value>(id);
            if (!ended([&] { return handle.get_result(); })) fail(id + " cannot be run, and was cancelled");
        }
    }

    void flood(const Errand& errand) {
        constexpr int kMany = 30;
        constexpr std::int64_t kHalfASecond = 30;  // one step of 400 ms
        std::vector<EnqueueRequest> requests;
        for (int i = 0; i < kMany; ++i) {
            const EnqueueOptions options{.queue_name = kFlood,
                                         .workflow_id = errand.id + "-" + std::to_string(i)};
            requests.push_back(enqueue_request(Scripted, options, kHalfASecond));
        }
        const auto handles = client_.enqueue_bulk<std::string>(std::move(requests));
        for (const auto& handle : handles) accepted(handle.workflow_id());
        pause(kSecond);
        std::vector<WorkflowHandle<std::string>> others;
        for (const char* queue : {kWide, kShared, kNarrow}) {
            const std::string id = errand.id + "-" + queue;
            others.push_back(
                client_.enqueue(Scripted, {.queue_name = queue, .workflow_id = id}, kHalfASecond));
            accepted(id);
        }
        client_.wait_all(others);
        client_.wait_all(handles);
    }

    /// The fork copies what stands below its cut. What its code does in another way is an error there, and nothing above.
    void reform(const Errand& errand) {
        const std::string id = errand.id + kReform;
        const auto original =
            client_.enqueue(Reformed, {.queue_name = kWide, .workflow_id = errand.id}, errand.bits);
        accepted(errand.id);
        ended([&] { return original.get_result(); });
        const auto steps = client_.list_workflow_steps(errand.id, {.load_output = false});
        const auto place = static_cast<std::size_t>(reformed_place(errand.bits));
        if (steps.size() <= place) fail(errand.id + " has ended, and has not all of its steps");
        const auto from = steps[static_cast<std::size_t>(errand.bits / 7) % steps.size()].function_id;
        const auto changed = steps[place].function_id;
        if (changed < from) note([&] { known_.misfits.emplace(id, static_cast<int>(changed)); });
        fork_once(Reformed, errand.id, from, id);
    }

    /// The oracle compares the ledgers with the records.
    void books(const Errand& errand) {
        const auto handle =
            client_.enqueue(Bookkeeper, {.queue_name = kWide, .workflow_id = errand.id}, errand.bits);
        accepted(errand.id);
        ended([&] { return handle.get_result(); });
    }

   private:
    bool enqueue_spoilt(const std::string& id, const std::string& sql, std::int64_t bits) {
        if (client_.get_workflow_status(id)) return true;  // by an earlier life of this client
        OwnConnection own(path_);
        if (!own.run("BEGIN IMMEDIATE")) return false;
        client_.enqueue_in_transaction(CallerTransaction(own.get()), Chain,
                                       {.queue_name = kWide, .workflow_id = id}, bits);
        if (!own.run((sql + "'" + id + "'").c_str())) return false;
        return own.run("COMMIT");
    }
};

}  // namespace

void do_rewind(const ErrandTools& tools, const Errand& errand) { Ends(tools).rewind(errand); }
void do_fragile(const ErrandTools& tools, const Errand& errand) { Ends(tools).fragile(errand); }
void do_deadline(const ErrandTools& tools, const Errand& errand) { Ends(tools).deadline(errand); }
void do_unrunnable(const ErrandTools& tools, const Errand& errand) { Ends(tools).unrunnable(errand); }
void do_flood(const ErrandTools& tools, const Errand& errand) { Ends(tools).flood(errand); }
void do_reform(const ErrandTools& tools, const Errand& errand) { Ends(tools).reform(errand); }
void do_books(const ErrandTools& tools, const Errand& errand) { Ends(tools).books(errand); }

}  // namespace dbos::sim
