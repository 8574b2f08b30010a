#include "sweep.hpp"

#include <memory>

#include "oracle.hpp"
#include "tour.hpp"

namespace dbos::sim {

using namespace std::chrono_literals;

namespace {

constexpr const char* kPath = "world.sqlite";
constexpr const char* kUrl = "sqlite:///world.sqlite";
constexpr const char* kName = "shop";
constexpr Nanos kLease = 3 * kSecond;
constexpr Nanos kDown = 500 * kMillisecond;  // before a process that died is started again
constexpr Nanos kPatience = 400 * kSecond;

bool writes(seam::DbOp op) { return op == seam::DbOp::write || op == seam::DbOp::commit; }

/// Counts the calls of the first process, and lets happen what is to happen at one of them.
class Sweeper final : public Director {
   public:
    Sweeper(const CrashPoint& point, std::vector<seam::DbOp>* seen) : point_(point), seen_(seen) {}
    seam::DbFault call(seam::DbOp op) override {
        if (current_process() != 0) return seam::DbFault::none;
        ++calls_;
        if (seen_) seen_->push_back(op);
        if (dies_at_next_) crash(0);
        if (calls_ != point_.call) return seam::DbFault::none;
        trace(std::string("MISHAP ") + name_of(point_.mishap));
        switch (point_.mishap) {
            case Mishap::none: break;
            case Mishap::dies_before: crash(0); break;
            case Mishap::dies_after: dies_at_next_ = true; break;
            case Mishap::no_answer: return seam::DbFault::lose_ack;
            case Mishap::refused: return seam::DbFault::refuse;
            case Mishap::stopped: stop(0, kLease * 4); break;
        }
        return seam::DbFault::none;
    }
    void committed() override {
        if (dies_at_next_ && current_process() == 0) crash(0);
    }

   private:
    const CrashPoint point_;
    std::vector<seam::DbOp>* const seen_;
    std::uint64_t calls_ = 0;
    bool dies_at_next_ = false;
};

class TourWorld {
   public:
    TourWorld(const CrashPoint& point, const std::string& database, std::vector<seam::DbOp>* seen)
        : oracle_(kPath, kLease, known_), sweeper_(point, seen) {
        vfs::put(kPath, database);
        const std::string held = test::held_by(kTour), forked = test::forked_by(kTour);
        known_.accepted = {kTour, held};
        known_.managed = {held};
        known_.rewound = {{held, 1}};
        known_.rearranged = {held};
        known_.deleting = {forked};
        known_.deleted = {forked};
        on_commit = [this](const std::string& path) { oracle_.committed(path); };
        on_change = [this](const char* table, std::int64_t rowid) { oracle_.changed(table, rowid); };
        sim::director = &sweeper_;
        instances_.resize(point.mishap == Mishap::stopped ? 2 : 1);
    }

    void control() {
        const Unseen unseen;
        start(0);
        const Nanos begun = world_ns();
        while (oracle_.status(kTour).empty() || !oracle_.all_ended()) {
            seam::sleep_for(100ms);
            // A peer comes when the tour is under way: what it takes over is then the first process's.
            if (instances_.size() > 1 && instances_[1].process < 0 && !oracle_.status(kTour).empty())
                start(1);
            bring_back();
            if (world_ns() - begun > kPatience) fail("a tour does not end:" + oracle_.unfinished());
        }
        for (auto& instance : instances_) instance.stop = true;
        const Nanos ended = world_ns();
        for (bool running = true; running;) {
            running = false;
            for (const auto& instance : instances_)
                running = running || (instance.process >= 0 && !sim::ended(instance.process));
            seam::sleep_for(100ms);
            if (world_ns() - ended > kPatience) fail("a shutdown does not end");
        }
        known_.outcomes[kTour] = "SUCCESS " + tour_result();
        oracle_.final_state();
    }

   private:
    struct Instance {
        int process = -1;
        bool stop = false;
        Nanos down_since = 0;
    };

    void start(std::size_t number) {
        Instance& instance = instances_[number];
        instance.down_since = 0;
        instance.process =
            start_process(static_cast<int>(number), "host", [this, number] { process(number); });
    }

    void bring_back() {
        for (std::size_t i = 0; i < instances_.size(); ++i) {
            Instance& instance = instances_[i];
            if (instance.process < 0 || !sim::ended(instance.process)) continue;
            if (instance.down_since == 0) {
                instance.down_since = world_ns();
            } else if (world_ns() - instance.down_since > kDown) {
                start(i);
            }
        }
    }

    void process(std::size_t number) {
        App app({.name = kName,
                 .system_database_url = kUrl,
                 .lease_duration = seam::Duration(kLease),
                 .lease_renewal = seam::Duration(kLease / 3),
                 .log_sink = [](const LogRecord& record) {
                     if (tracing()) trace("log " + to_logfmt(record));
                 }});
        {
            const Unseen unseen;
            oracle_.executor(app.executor_id(), current_process());
        }
        prepare_tour(app, oracle_);
        try {
            app.launch();
            while (number == 0) {
                try {
                    app.start_workflow(test::Tour, {.workflow_id = kTour}, 0);
                    break;
                } catch (const DatabaseError&) {  // a caller tries again under the same id
                    seam::sleep_for(100ms);
                }
            }
        } catch (const std::exception& error) {  // the process ends, and is started again
            trace(std::string("launch failed: ") + error.what());
            return;
        }
        for (bool stop = false; !stop;) {
            seam::sleep_for(100ms);
            const Unseen unseen;
            stop = instances_[number].stop;
        }
    }

    Known known_;
    Oracle oracle_;
    Sweeper sweeper_;
    std::vector<Instance> instances_;
};

Outcome play(const CrashPoint& point, const Plan& plan, const std::string& database_template,
             std::vector<seam::DbOp>* seen) {
    return run(plan, [&] {
        // Never destroyed: what is frozen still refers to it.
        auto& world = *new TourWorld(point, database_template, seen);
        world.control();
        on_commit = nullptr;
        on_change = nullptr;
        director = nullptr;
    });
}

}  // namespace

const char* name_of(Mishap mishap) noexcept {
    switch (mishap) {
        case Mishap::none: return "none";
        case Mishap::dies_before: return "dies before";
        case Mishap::dies_after: return "dies after";
        case Mishap::no_answer: return "no answer";
        case Mishap::refused: return "refused";
        case Mishap::stopped: return "stopped";
    }
    return "?";
}

std::vector<CrashPoint> crash_points(const std::string& database_template) {
    std::vector<seam::DbOp> seen;
    play({}, {}, database_template, &seen);
    std::vector<CrashPoint> points;
    for (std::uint64_t call = 1; call <= seen.size(); ++call) {
        for (const Mishap mishap : {Mishap::dies_before, Mishap::refused, Mishap::stopped})
            points.push_back({mishap, call});
        if (!writes(seen[call - 1])) continue;
        for (const Mishap mishap : {Mishap::dies_after, Mishap::no_answer}) points.push_back({mishap, call});
    }
    return points;
}

Outcome play(const CrashPoint& point, const Plan& plan, const std::string& database_template) {
    return play(point, plan, database_template, nullptr);
}

}  // namespace dbos::sim
