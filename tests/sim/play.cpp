// The world of a scenario: its applications, its client, and the controller that starts them again and judges the end.
#include <memory>
#include <vector>

#include "directed.hpp"
#include "errands.hpp"
#include "oracle.hpp"
#include "scenario.hpp"
#include "workload.hpp"

namespace dbos::sim {

using namespace std::chrono_literals;

namespace {

constexpr const char* kPath = "world.sqlite";
constexpr const char* kUrl = "sqlite:///world.sqlite";
constexpr const char* kName = "shop";
constexpr Nanos kCallFaultsEnd = 60 * kSecond;  // afterwards the database answers
constexpr Nanos kPatience = 400 * kSecond;      // for everything to end, once nothing goes wrong any more

class World {
   public:
    World(const Scenario& scenario, const std::string& database)
        : scenario_(scenario), dice_(scenario.plan.seed ^ 0x5eed), oracle_(kPath, scenario.lease, known_) {
        if (!scenario.fresh) vfs::put(kPath, database);
        instances_.resize(static_cast<std::size_t>(scenario.apps));
        on_commit = [this](const std::string& path) { oracle_.committed(path); };
        director_ = make_director(scenario, oracle_, [this](int instance) {
            instances_[static_cast<std::size_t>(instance)].stop = true;
        });
        sim::director = director_.get();
        const Plan& plan = scenario.plan;
        if (plan.faults.empty() && plan.refuse_per_1024 == 0 && plan.lose_ack_per_1024 == 0 &&
            plan.sync_max <= 50 * kMillisecond && !scenario.has(ErrandKind::fragile) && !director_) {
            const bool come_and_go =
                scenario.shutdowns > 0 || scenario.upgrade_at || scenario.has(ErrandKind::fragile);
            oracle_.nothing_goes_wrong(come_and_go ? 0 : scenario.apps);
        }
        on_change = [this](const char* table, std::int64_t rowid) { oracle_.changed(table, rowid); };
        for (int i = 0; i < scenario_.queued; ++i) calls_.push_back(draw_call(i));
        for (const Script& script : scenario_.scripts) calls_.push_back(scripted_call(script));
        for (const ErrandKind kind : scenario_.errands)
            errands_.push_back({kind, "e" + std::to_string(errands_.size()), draw_bits()});
        for (auto& instance : instances_) {
            for (int i = 0; i < scenario_.direct; ++i) instance.direct.push_back(draw_bits());
        }
    }
    ~World() {
        on_commit = nullptr;
        on_change = nullptr;
        sim::director = nullptr;
    }

    void control() {
        const Unseen unseen;
        for (int i = 0; i < scenario_.apps; ++i) start_app(i);
        start_client();
        Nanos calm_since = 0;
        int shutdowns = scenario_.shutdowns;
        while (!over()) {
            seam::sleep_for(500ms);
            const Nanos call_faults_end = scenario_.by_lease(kCallFaultsEnd);
            if (world_ns() > call_faults_end) end_call_faults();
            if (shutdowns > 0 && dice_.one_in(12)) {
                --shutdowns;
                instances_[dice_.below(instances_.size())].stop = true;
            }
            upgrade();
            bring_back();
            if (faults_left() && world_ns() < 10 * call_faults_end) {
                calm_since = 0;
            } else if (calm_since == 0) {
                calm_since = world_ns();
            } else if (world_ns() - calm_since > kPatience) {
                fail(client_done_
                         ? "workflows are stranded:" + oracle_.unfinished()
                         : "a wait of the client does not end: " + client_at_ + oracle_.unfinished());
            }
        }
        end();
        oracle_.final_state();
    }

   private:
    static constexpr int kParentCall = 2;
    static constexpr int kScriptedCall = 5;
    struct Call {
        std::string id;
        int contract = 0;
        EnqueueOptions options;
        std::int64_t bits = 0;
        bool cancelled = false;
        bool waits_async = false;
    };
    /// A thread that is waited for, however its scope is left.
    class Joined {
       public:
        explicit Joined(seam::Thread thread) : thread_(std::move(thread)) {}
        ~Joined() { join(); }
        Joined(const Joined&) = delete;
        Joined& operator=(const Joined&) = delete;
        void join() {
            if (thread_.joinable()) thread_.join();
        }

       private:
        seam::Thread thread_;
    };
    struct Instance {
        int process = -1;
        int starts = 0;
        bool stop = false;
        Nanos down_since = 0;
        bool started_all = false;  // its direct workflows
        std::vector<std::int64_t> direct;
    };

    std::int64_t draw_bits() { return static_cast<std::int64_t>(dice_.below(std::uint64_t{1} << 52)); }

    seam::Duration draw_time(Nanos usual) {
        return seam::Duration(
            static_cast<Nanos>(1 + dice_.below(static_cast<std::uint64_t>(scenario_.by_pace(usual)))));
    }

    Call draw_call(int number) {
        Call call;
        call.id = "q" + std::to_string(number);
        call.contract = static_cast<int>(dice_.below(5));
        call.options.workflow_id = call.id;
        // A parent that holds a slot of the queue its children wait in may wait for ever: by its author's fault.
        call.options.queue_name =
            call.contract == kParentCall ? kWide : dice_.pick({kWide, kNarrow, kShared});
        if (dice_.one_in(6)) call.options.priority = static_cast<std::int64_t>(dice_.below(3));
        if (dice_.one_in(8)) call.options.delay = draw_time(4 * kSecond);
        if (dice_.one_in(8)) call.options.workflow_timeout = draw_time(15 * kSecond);
        call.bits = draw_bits();
        if (scenario_.upgrade_at && number % 3 > 0)
            call.options.app_version = number % 3 == 1 ? kNewVersion : kOldVersion;
        if (dice_.one_in(8)) call.options.deduplication_id = "one at a time";
        call.cancelled = number < scenario_.cancels;
        call.waits_async = dice_.one_in(2);
        return call;
    }

    Call scripted_call(const Script& script) {
        Call call;
        call.id = "q" + std::to_string(calls_.size());
        call.contract = kScriptedCall;
        call.options.workflow_id = call.id;
        call.options.queue_name = script.queue;
        call.bits = script.digits;
        call.cancelled = script.cancelled;
        return call;
    }

    /// Two processes of one configured id, one after the other; or at the same time, which is what a lease forbids.
    std::string executor_id(int number) const {
        if (!scenario_.configured_ids) return {};
        return "executor-" +
               std::to_string(scenario_.direction == Direction::id_taken_over ? number % 2 : number);
    }

    std::string version(int number) const {
        if (!scenario_.upgrade_at) return {};
        return number > 0 && upgraded_ ? kNewVersion : kOldVersion;
    }

    std::string host_key(int instance) const {
        if (scenario_.host_keys == 2) return {};
        return scenario_.host_keys == 1 ? "host-" + std::to_string(instance) : "host";
    }

    static LogSink log_sink() {
        if (!tracing()) return [](const LogRecord&) {};
        return [](const LogRecord& record) { trace("log " + to_logfmt(record)); };
    }

    // --- an application's process

    void start_app(int number) {
        Instance& instance = instances_[static_cast<std::size_t>(number)];
        ++instance.starts;
        instance.stop = false;
        instance.down_since = 0;
        instance.process = start_process(number, host_key(number), [this, number] { app_main(number); });
    }

    void app_main(int number) {
        Instance& instance = instances_[static_cast<std::size_t>(number)];
        std::string version;
        {
            const Unseen unseen;
            version = this->version(number);
        }
        App app({.name = kName,
                 .system_database_url = kUrl,
                 .application_version = version,
                 .executor_id = executor_id(number),
                 .lease_duration = seam::Duration(scenario_.lease),
                 .lease_renewal = seam::Duration(scenario_.by_lease(2 * kSecond)),
                 .check_pid = scenario_.check_pid,
                 .use_listen_notify = scenario_.wakeups,
                 .max_running = scenario_.max_running,
                 .park_after = seam::Duration(scenario_.park_after),
                 .retry_connection_errors = scenario_.retry,
                 .log_sink = log_sink()});
        {
            const Unseen unseen;
            oracle_.executor(app.executor_id(), current_process(), version);
        }
        prepare(app, oracle_, scenario_.pace,
                {.crowds = scenario_.has(ErrandKind::crowd), .flood = scenario_.has(ErrandKind::flood)});
        try {
            app.launch();
        } catch (const std::exception& error) {  // the process ends, and is started again
            trace(std::string("launch failed: ") + error.what());
            return;
        }
        start_direct(app, number, instance);
        while (!stops(instance)) seam::sleep_for(200ms);
        trace("the application shuts down");
        Nanos for_completion = 0, for_steps = 0;
        {
            const Unseen unseen;
            for_completion = scenario_.by_pace(dice_.pick({0, 500, 5000}) * kMillisecond);
            for_steps = scenario_.by_pace(dice_.pick({100, 1000, 5000}) * kMillisecond);
        }
        // Steps that still run are waited for by the destructor.
        app.shutdown(seam::Duration(for_completion), seam::Duration(for_steps));
    }

    // The controller changes these.
    static bool stops(const Instance& instance) {
        const Unseen unseen;
        return instance.stop;
    }
    static bool is_restart(const Instance& instance) {
        const Unseen unseen;
        return instance.starts > 1;
    }

    void start_direct(App& app, int number, Instance& instance) {
        bool unknown = is_restart(instance);  // whether an attempt may have been committed
        for (std::size_t i = 0; i < instance.direct.size() && !stops(instance);) {
            const std::string id = "d" + std::to_string(number) + "." + std::to_string(i);
            const std::int64_t bits = instance.direct[i];
            if (scenario_.direct_pause > 0) seam::sleep_for(seam::Duration(scenario_.direct_pause));
            try {
                const EnqueueOptions options{.workflow_id = id};
                if (scenario_.direct_script > 0) {
                    app.start_workflow(Scripted, options, scenario_.direct_script);
                } else if (bits % 3 == 0) {
                    app.start_workflow(Parent, options, bits);
                } else {
                    app.start_workflow(Chain, options, bits);
                }
                accepted(id);
                ++i;
                unknown = is_restart(instance);
            } catch (const DatabaseError& error) {  // a caller tries again under the same id
                trace(std::string("a direct start failed: ") + error.what());
                if (error.outcome_unknown()) unknown = true;
                if (!unknown) oracle_.refused(id);
                seam::sleep_for(300ms);
            }
        }
        if (stops(instance)) return;
        const Unseen unseen;
        instance.started_all = true;
    }

    // --- the client's process

    void start_client() {
        client_ = start_process(scenario_.apps, host_key(scenario_.apps), [this] { client_main(); });
    }

    void pause() {
        if (scenario_.client_pause > 0)
            seam::sleep_for(seam::Duration(
                static_cast<Nanos>(draw() % static_cast<std::uint64_t>(scenario_.client_pause))));
    }

    void client_main() {
        try {
            use_client();
        } catch (const std::exception& error) {  // as a program that fails, and is started again
            trace(std::string("the client failed: ") + error.what());
        }
    }

    void at(std::string what) {
        const Unseen unseen;
        client_at_ = std::move(what);
    }
    void accepted(const std::string& id) {
        const Unseen unseen;
        known_.accepted.insert(id);
    }

    void use_client() {
        Client client({.system_database_url = kUrl, .application_name = kName, .log_sink = log_sink()});
        // Beside the other calls, in a thread of its own.
        std::exception_ptr failed;
        Joined errands(seam::spawn("errands", [&] {
            try {
                do_errands(client, errands_, known_, scenario_.pace, kPath);
            } catch (...) {
                failed = std::current_exception();
            }
        }));
        make_calls(client);
        at("the errands");
        errands.join();
        if (failed) std::rethrow_exception(failed);
        at("the end");
        client.destroy();
        client_done_ = true;
    }

    void make_calls(Client& client) {
        std::vector<std::optional<WorkflowHandle<std::string>>> handles;
        for (const Call& call : calls_) {
            at("enqueue of " + call.id);
            try {
                handles.emplace_back(enqueue(client, call));
            } catch (const QueueDeduplicated&) {
                if (known_.accepted.contains(call.id))
                    fail(call.id + " was accepted, and is refused when it is started again");
                handles.emplace_back();
                trace("refused " + call.id);
                continue;
            }
            accepted(call.id);
            trace("enqueued " + call.id);
            pause();
            if (!call.cancelled) continue;
            at("cancel of " + call.id);
            client.cancel_workflow(call.id);
            trace("cancelled " + call.id);
        }
        std::vector<std::optional<Future<std::string>>> futures(handles.size());
        for (std::size_t i = 0; i < handles.size(); ++i) {
            if (handles[i] && calls_[i].waits_async) futures[i] = handles[i]->get_result_async();
        }
        for (std::size_t i = 0; i < handles.size(); ++i) {
            if (!handles[i]) continue;
            at("result of " + calls_[i].id);
            await(calls_[i].id, [&] { return futures[i] ? futures[i]->get() : handles[i]->get_result(); });
            trace("has the result of " + calls_[i].id);
        }
    }

    static WorkflowHandle<std::string> enqueue(Client& client, const Call& call) {
        switch (call.contract) {
            case 0: return client.enqueue(Sleeper, call.options, call.bits);
            case 1: return client.enqueue(Fan, call.options, call.bits);
            case kParentCall: return client.enqueue(Parent, call.options, call.bits);
            case kScriptedCall: return client.enqueue(Scripted, call.options, call.bits);
            default: return client.enqueue(Chain, call.options, call.bits);
        }
    }

    void await(const std::string& id, const std::function<std::string()>& result) {
        std::string outcome;
        try {
            outcome = "SUCCESS " + result();
        } catch (const AwaitedWorkflowCancelled&) {
            outcome = "CANCELLED";
        } catch (const AwaitedWorkflowMaxRecovery&) {
            outcome = "MAX_RECOVERY_ATTEMPTS_EXCEEDED";
        } catch (const DatabaseError&) {
            throw;
        } catch (const NonexistentWorkflow& error) {
            fail(std::string("a wait for an accepted workflow: ") + error.what());
        } catch (const std::exception&) {
            outcome = "ERROR";
        }
        const Unseen unseen;
        const auto [told, added] = known_.outcomes.emplace(id, outcome);
        if (!added && told->second != outcome)
            fail("a caller was told that " + id + " ended as " + told->second + ", then as " + outcome);
    }

    // --- the controller

    bool over() {
        if (!client_done_ || !sim::ended(client_)) return false;
        for (const Instance& instance : instances_) {
            if (!instance.started_all && !instance.direct.empty()) return false;
        }
        return oracle_.all_ended();
    }

    /// Ends all applications but the first: what is started again has the new version.
    void upgrade() {
        if (upgraded_ || !scenario_.upgrade_at || world_ns() < *scenario_.upgrade_at) return;
        upgraded_ = true;
        for (std::size_t i = 1; i < instances_.size(); ++i) instances_[i].stop = true;
    }

    /// Restarts what has ended, after a while.
    void bring_back() {
        constexpr Nanos kDown = 1500 * kMillisecond;
        for (int i = 0; i < scenario_.apps; ++i) {
            Instance& instance = instances_[static_cast<std::size_t>(i)];
            if (!sim::ended(instance.process)) continue;
            if (instance.down_since == 0) {
                instance.down_since = world_ns();
            } else if (world_ns() - instance.down_since > kDown) {
                start_app(i);
            }
        }
        if (!client_done_ && sim::ended(client_)) start_client();
    }

    void end() {
        trace("everything has ended; the applications stop");
        end_call_faults();
        for (auto& instance : instances_) instance.stop = true;
        const Nanos begun = world_ns();
        for (;;) {
            bool running = false;
            for (const auto& instance : instances_) running = running || !sim::ended(instance.process);
            if (!running) return;
            seam::sleep_for(200ms);
            if (world_ns() - begun > kPatience && !faults_left()) fail("a shutdown does not end");
        }
    }

    const Scenario scenario_;
    Dice dice_;
    Known known_;
    Oracle oracle_;
    std::unique_ptr<Director> director_;
    std::vector<Instance> instances_;
    std::vector<Call> calls_;
    std::vector<Errand> errands_;
    int client_ = -1;
    bool client_done_ = false;
    bool upgraded_ = false;
    std::string client_at_;
};

}  // namespace

std::string make_template() {
    Plan plan;
    std::string bytes;
    run(plan, [&] {
        const int process = start_process(0, "host", [] {
            class Nobody final : public StepWatch {
                void begins(const std::string&, const std::string&, int, int) override {}
                void body(const std::string&, const std::string&, bool) override {}
            } watch;
            App app({.name = kName, .system_database_url = kUrl, .log_sink = [](const LogRecord&) {}});
            prepare(app, watch, kUsualLease);
            app.launch();
        });
        while (!ended(process)) seam::sleep_for(100ms);
        bytes = vfs::bytes_of(kPath);
    });
    connections::prepare(kPath, bytes, [&bytes] {
        constexpr std::uint64_t kWorlds = 8;
        for (std::uint64_t seed = 1; seed <= kWorlds; ++seed) play(scenario_of(seed), bytes);
    });
    return bytes;
}

Outcome play(const Scenario& scenario, const std::string& database_template) {
    return run(scenario.plan, [&] {
        // Never destroyed: what is frozen still refers to it.
        auto& world = *new World(scenario, database_template);
        world.control();
        on_commit = nullptr;
        on_change = nullptr;
        director = nullptr;
    });
}

}  // namespace dbos::sim
