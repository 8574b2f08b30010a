#include "directed.hpp"

#include <initializer_list>
#include <set>
#include <string>
#include <utility>

#include "errands.hpp"
#include "platform/situations.hpp"
#include "workload.hpp"

namespace dbos::sim {

namespace {

constexpr Nanos kUntilResumed = 120 * kSecond;
constexpr const char* kFirst = "q0";
constexpr const char* kFirstErrand = "e0-a";

/// The argument of a scripted workflow: how its steps run, and what each takes (workload.cpp).
std::int64_t script(int mode, std::initializer_list<int> steps) {
    std::int64_t digits = 0, place = 10;
    for (const int step : steps) {
        digits += step * place;
        place *= 10;
    }
    return digits + mode;
}
constexpr int kOneByOne = 0;
constexpr int kAtOnce = 1;
constexpr int kShort = 1, kSecondPart = 3, kLong = 5, kVeryLong = 6, kFails = 8, kSleeps = 9;

bool in_task(const char* name) { return task_name() == name; }

/// What most of them need: the process that runs the first workflow.
class Base : public Director {
   public:
    explicit Base(const Oracle& oracle) : oracle_(oracle) {}

   protected:
    bool taken_over() const {
        return oracle_.status(kFirst) == "PENDING" && oracle_.process_of(kFirst) >= 0 &&
               oracle_.process_of(kFirst) != victim_;
    }
    /// Not in the middle of a write: others would wait for its lock.
    void stop_between_writes(Nanos amount = kUntilResumed) {
        if (victim_ < 0 || stopped_ || current_process() != victim_ || files::in_turn(victim_)) return;
        stopped_ = true;
        stop(victim_, amount);
    }
    const Oracle& oracle_;
    int victim_ = -1;
    bool stopped_ = false;
    bool resumed_ = false;
    Nanos resumed_at_ = 0;

    void resume_victim() {
        resumed_ = true;
        resumed_at_ = world_ns();
        resume(victim_);
    }
};

class TwoRunsInOneBatch final : public Base {
   public:
    using Base::Base;
    void step_begins(const std::string& workflow_id, int, int) override {
        if (victim_ >= 0) return;
        (workflow_id == kFirst ? first_ : others_) = current_process();
        if (first_ < 0 || others_ != first_) return;
        victim_ = current_process();
    }
    seam::DbFault call(seam::DbOp) override {
        stop_between_writes();
        return seam::DbFault::none;
    }
    void committed() override {
        if (!stopped_ || resumed_ || oracle_.status(kFirst) != "ENQUEUED") return;
        crash(current_process());  // so that the victim itself claims what was taken from it
        resume_victim();
    }

   private:
    int first_ = -1, others_ = -1;
};

class RenewedBeforeSweep final : public Base {
   public:
    using Base::Base;
    void step_begins(const std::string&, int, int) override {
        if (victim_ >= 0) return;
        victim_ = current_process();
        stop(victim_, kUntilResumed);
    }
    void reached(seam::Situation what) override {
        if (what != seam::Situation::dead_by_lease || victim_ < 0 || resumed_) return;
        resume_victim();
        stop(current_process(), 4 * kSecond);
    }
};

class StoppedInClaim final : public Base {
   public:
    using Base::Base;
    void committed() override {
        if (victim_ < 0 && in_task("dbos-claim") && oracle_.status(kFirst) == "PENDING") {
            victim_ = current_process();
        } else if (stopped_ && !resumed_ && taken_over() && oracle_.steps(kFirst) >= 2) {
            resume_victim();
        }
    }
    /// The call after the commit.
    seam::DbFault call(seam::DbOp) override {
        if (victim_ < 0 || stopped_ || current_process() != victim_ || !in_task("dbos-claim"))
            return seam::DbFault::none;
        stopped_ = true;
        stop(victim_, kUntilResumed);
        const Nanos at_most = world_ns() + kUntilResumed;
        while (!resumed_ && world_ns() < at_most) seam::sleep_for(seam::Duration(kMillisecond));
        seam::sleep_for(seam::Duration(2 * kSecond));  // the lease is renewed before the claim has returned
        return seam::DbFault::none;
    }
};

/// The database is away for all, or flaps: nobody who runs something can be told from the dead.
class DatabaseAway final : public Base {
   public:
    DatabaseAway(const Oracle& oracle, bool flaps) : Base(oracle), flaps_(flaps) {}
    void step_begins(const std::string& workflow_id, int, int) override {
        if (victim_ >= 0 || workflow_id != kFirst) return;
        victim_ = current_process();
        from_ = world_ns();
        until_ = from_ + (flaps_ ? 10 * kSecond : 12 * kSecond);
        count_as_away(from_, until_);
    }
    seam::DbFault call(seam::DbOp) override {
        if (victim_ < 0) return seam::DbFault::none;
        const Nanos now = world_ns();
        const bool mine = current_process() == victim_;
        if (now < until_ && (flaps_ ? mine || tick_fails(now) : true)) return seam::DbFault::refuse;
        const bool last = !flaps_ && mine && in_task("dbos-lease") && now < until_ + 3 * kSecond;
        return last ? seam::DbFault::refuse : seam::DbFault::none;
    }

   private:
    bool tick_fails(Nanos now) const {
        return in_task("dbos-tick") && (now - from_) % (1700 * kMillisecond) < 800 * kMillisecond;
    }
    const bool flaps_;
    Nanos from_ = 0, until_ = 0;
};

class OrphanCheckDuringStart final : public Director {
   public:
    seam::DbFault call(seam::DbOp op) override {
        const bool due = world_ns() > 28 * kSecond && world_ns() < 40 * kSecond;
        if (due && op == seam::DbOp::read && in_task("dbos-claim"))
            seam::sleep_for(seam::Duration(800 * kMillisecond));
        return seam::DbFault::none;
    }
};

class ClientDiesBeforeSignal final : public Base {
   public:
    ClientDiesBeforeSignal(const Oracle& oracle, int client) : Base(oracle), client_(client) {}
    void committed() override {
        if (victim_ >= 0 || oracle_.status(kFirst) != "ENQUEUED" || current_process() < 0 ||
            instance_of(current_process()) != client_)
            return;
        victim_ = current_process();
        crash(victim_);
    }

   private:
    const int client_;
};

/// The acknowledgement of a task's first commits is lost.
class LostAck final : public Director {
   public:
    LostAck(const char* task, int times, int client) : task_(task), left_(times), client_(client) {}
    seam::DbFault call(seam::DbOp op) override {
        if (left_ == 0 || op != seam::DbOp::commit || !in_task(task_) ||
            instance_of(current_process()) == client_)
            return seam::DbFault::none;
        --left_;
        return seam::DbFault::lose_ack;
    }

   private:
    const char* task_;
    int left_;
    const int client_;
};

class InBackOff final : public Base {
   public:
    InBackOff(const Oracle& oracle, bool host) : Base(oracle), host_(host) {}
    void step_begins(const std::string& workflow_id, int step, int attempt) override {
        if (victim_ >= 0 || workflow_id != kFirst || attempt != 1) return;
        victim_ = current_process();
        recorded_ = step;
        if (host_) {
            constexpr Nanos kSleep = 12 * kSecond;
            host_sleeps(instance_of(victim_), kSleep);
            resumed_ = true;
            resumed_at_ = world_ns() + kSleep;
        } else {
            stop(victim_, kUntilResumed);
        }
    }
    void committed() override {
        if (victim_ >= 0 && !resumed_ && taken_over() && oracle_.steps(kFirst) >= recorded_) resume_victim();
    }
    seam::DbFault call(seam::DbOp) override {
        const bool late = resumed_ && world_ns() < resumed_at_ + 2 * kSecond;
        if (late && current_process() == victim_ && in_task("dbos-tick"))
            seam::sleep_for(seam::Duration(kSecond));
        return seam::DbFault::none;
    }

   private:
    const bool host_;
    int recorded_ = 0;
};

class ShutdownInLongStep final : public Base {
   public:
    ShutdownInLongStep(const Oracle& oracle, std::function<void(int)> shut_down)
        : Base(oracle), shut_down_(std::move(shut_down)) {}
    void step_begins(const std::string&, int, int) override {
        if (victim_ >= 0) return;
        victim_ = current_process();
        shut_down_(instance_of(victim_));
    }

   private:
    const std::function<void(int)> shut_down_;
};

/// A wait has seen that the workflow is cancelled, and does not read its row before it was resumed.
class ResumedUnderWait final : public Director {
   public:
    explicit ResumedUnderWait(const Oracle& oracle) : oracle_(oracle) {}
    seam::DbFault call(seam::DbOp op) override {
        if (op != seam::DbOp::read || !in_task("dbos-waits") || !cancelled() || ++reads_ != 2)
            return seam::DbFault::none;
        const Nanos at_most = world_ns() + 20 * kSecond;
        while (cancelled() && world_ns() < at_most) seam::sleep_for(seam::Duration(kMillisecond));
        return seam::DbFault::none;
    }

   private:
    bool cancelled() const { return oracle_.status(kFirstErrand) == "CANCELLED"; }
    const Oracle& oracle_;
    int reads_ = 0;
};

/// The application that has the id, when it has begun its work, stands still for longer than the other one waits.
class IdTakenOver final : public Base {
   public:
    using Base::Base;
    seam::DbFault call(seam::DbOp) override {
        const bool one_of_them = instance_of(current_process()) % 2 == 0 && in_task("dbos-tick");
        if (victim_ < 0 && one_of_them && world_ns() > 4 * kSecond) victim_ = current_process();
        stop_between_writes(25 * kSecond);
        return seam::DbFault::none;
    }
};

}  // namespace

const char* name_of(Direction direction) {
    constexpr const char* kNames[] = {"",
                                      "two_runs_in_one_batch",
                                      "renewed_before_sweep",
                                      "stopped_in_claim",
                                      "database_away",
                                      "database_flaps",
                                      "orphan_check_during_start",
                                      "client_dies_before_signal",
                                      "cancel_while_asleep",
                                      "lost_ack_of_claim",
                                      "lost_ack_of_start",
                                      "lapse_healed_in_back_off",
                                      "host_sleeps_in_back_off",
                                      "shutdown_in_long_step",
                                      "resumed_under_wait",
                                      "id_taken_over"};
    static_assert(std::size(kNames) == static_cast<std::size_t>(Direction::count));
    return kNames[static_cast<int>(direction)];
}

void direct(Scenario& scenario, Direction direction) {
    const Scenario drawn = scenario;
    scenario = {};
    scenario.direction = direction;
    scenario.plan.seed = drawn.plan.seed;
    scenario.plan.switch_per_1024 = drawn.plan.switch_per_1024;
    scenario.plan.sync_max = std::min(drawn.plan.sync_max, 50 * kMillisecond);
    scenario.host_keys = 1;
    scenario.direct = 0;
    scenario.queued = 0;
    const auto add = [&](std::int64_t digits, const char* queue = kWide, bool cancelled = false) {
        scenario.scripts.push_back({digits, queue, cancelled});
    };
    switch (direction) {
        case Direction::two_runs_in_one_batch:
            scenario.plan.sync_max = kSecond;
            add(script(kAtOnce, {kVeryLong, kVeryLong}));
            for (int i = 0; i < 2; ++i)
                add(script(kOneByOne, {3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3}));
            break;
        case Direction::renewed_before_sweep:
        case Direction::shutdown_in_long_step: add(script(kOneByOne, {kLong, kShort})); break;
        case Direction::stopped_in_claim: add(script(kOneByOne, {kShort, kShort, kLong, kShort})); break;
        case Direction::database_away:
        case Direction::database_flaps: add(script(kOneByOne, {kVeryLong, kShort})); break;
        case Direction::orphan_check_during_start:
            scenario.plan.sync_max = kSecond;
            scenario.apps = 1;
            scenario.direct = 22;
            scenario.direct_pause = 800 * kMillisecond;
            scenario.direct_script = script(kOneByOne, {3, 3, 3, 3, 3});
            break;
        case Direction::client_dies_before_signal:
            scenario.plan.sync_max = kSecond;
            scenario.wakeups = false;
            add(script(kOneByOne, {kShort}));
            break;
        case Direction::cancel_while_asleep:
            scenario.client_pause = 6 * kSecond;
            add(script(kOneByOne, {kShort, kSleeps, kShort}), kWide, true);
            break;
        case Direction::lost_ack_of_claim:
            for (int i = 0; i < 4; ++i) add(script(kOneByOne, {kSecondPart, kSecondPart}), kNarrow);
            break;
        case Direction::lost_ack_of_start:
            scenario.retry = false;
            scenario.direct = 2;
            break;
        case Direction::lapse_healed_in_back_off:
        case Direction::host_sleeps_in_back_off:
            scenario.plan.sync_max = std::min(scenario.plan.sync_max, 2 * kMillisecond);
            add(script(kOneByOne, {kFails, kFails, kFails, kFails}));
            break;
        case Direction::resumed_under_wait:
            scenario.plan.sync_max = 0;
            scenario.errands = {ErrandKind::resume};
            add(script(kOneByOne, {kVeryLong, kShort}));
            break;
        case Direction::id_taken_over:
            scenario.apps = 3;
            scenario.configured_ids = true;
            for (int i = 0; i < 4; ++i) add(script(kOneByOne, {kLong, kShort, 4}), kNarrow);
            break;
        case Direction::none:
        case Direction::count: break;
    }
}

std::unique_ptr<Director> make_director(const Scenario& scenario, const Oracle& oracle,
                                        std::function<void(int)> shut_down) {
    switch (scenario.direction) {
        case Direction::two_runs_in_one_batch: return std::make_unique<TwoRunsInOneBatch>(oracle);
        case Direction::renewed_before_sweep: return std::make_unique<RenewedBeforeSweep>(oracle);
        case Direction::stopped_in_claim: return std::make_unique<StoppedInClaim>(oracle);
        case Direction::database_away: return std::make_unique<DatabaseAway>(oracle, false);
        case Direction::database_flaps: return std::make_unique<DatabaseAway>(oracle, true);
        case Direction::orphan_check_during_start: return std::make_unique<OrphanCheckDuringStart>();
        case Direction::client_dies_before_signal:
            return std::make_unique<ClientDiesBeforeSignal>(oracle, scenario.apps);
        case Direction::lost_ack_of_claim: return std::make_unique<LostAck>("dbos-claim", 1, scenario.apps);
        case Direction::lost_ack_of_start: return std::make_unique<LostAck>("dbos-commit", 2, scenario.apps);
        case Direction::lapse_healed_in_back_off: return std::make_unique<InBackOff>(oracle, false);
        case Direction::host_sleeps_in_back_off: return std::make_unique<InBackOff>(oracle, true);
        case Direction::shutdown_in_long_step:
            return std::make_unique<ShutdownInLongStep>(oracle, std::move(shut_down));
        case Direction::resumed_under_wait: return std::make_unique<ResumedUnderWait>(oracle);
        case Direction::id_taken_over: return std::make_unique<IdTakenOver>(oracle);
        case Direction::cancel_while_asleep:
        case Direction::none:
        case Direction::count: break;
    }
    return nullptr;
}

}  // namespace dbos::sim
