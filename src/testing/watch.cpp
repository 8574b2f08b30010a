#include "runtime/run.hpp"
#include "testing/test_app.hpp"

namespace dbos::testing {

namespace {

CrashPoint crash_point(runtime::Point point) {
    switch (point) {
        case runtime::Point::body: return CrashPoint::before_body;
        case runtime::Point::step: return CrashPoint::before_step;
        case runtime::Point::checkpoint: return CrashPoint::before_checkpoint;
        case runtime::Point::committed: return CrashPoint::after_commit;
        case runtime::Point::recorded: return CrashPoint::after_checkpoint;
        case runtime::Point::outcome: return CrashPoint::before_outcome;
        case runtime::Point::ended: break;
    }
    return CrashPoint::after_outcome;
}

}  // namespace

void Watch::begin(std::string workflow_id, std::optional<Boundary> die_at, bool stop_deviations) {
    std::lock_guard lock(mutex_);
    watching_ = true;
    workflow_id_ = std::move(workflow_id);
    closed_ = true;
    die_at_ = std::move(die_at);
    stop_deviations_ = stop_deviations;
    ended_ = false;
    boundaries_.clear();
    known_.clear();
    asked_.clear();
    outcome_.reset();
}

void Watch::end() {
    std::lock_guard lock(mutex_);
    watching_ = false;
    closed_ = false;
    die_at_.reset();
    stop_deviations_ = false;
    changed_.notify_all();
}

void Watch::open() {
    std::lock_guard lock(mutex_);
    closed_ = false;
    changed_.notify_all();
}

void Watch::new_life(std::shared_ptr<Life> life) {
    std::lock_guard lock(mutex_);
    life_ = std::move(life);
}

void Watch::kill() {
    std::lock_guard lock(mutex_);
    if (life_) life_->dead.store(true);
    changed_.notify_all();
}

void Watch::ended() {
    std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
}

Watch::End Watch::wait(seam::Duration timeout) {
    const auto until = seam::steady_now() + timeout;
    std::unique_lock lock(mutex_);
    const bool over = changed_.wait_until(lock, until, [&] { return life_->dead.load() || ended_; });
    if (life_->dead.load()) return End::died;
    die_at_.reset();  // who looks at the life now finds it alive
    stop_deviations_ = false;
    return over ? End::ended : End::none;
}

std::vector<Boundary> Watch::boundaries() {
    std::lock_guard lock(mutex_);
    return boundaries_;
}

std::vector<Watch::Asked> Watch::asked() {
    std::lock_guard lock(mutex_);
    return asked_;
}

std::optional<Outcome> Watch::outcome() {
    std::lock_guard lock(mutex_);
    return outcome_;
}

void Watch::reached(runtime::Run& run, runtime::Point point, std::int32_t number, const std::string& name,
                    int attempt) {
    std::unique_lock lock(mutex_);
    if (point == runtime::Point::body && run.id() == workflow_id_)
        changed_.wait(lock, [&] { return !closed_ || life_->dead.load(); });
    if (watching_ && !closed_ && !life_->dead.load()) {
        Boundary boundary{.point = crash_point(point),
                          .workflow_id = run.id(),
                          .number = number,
                          .name = name,
                          .attempt = attempt};
        const bool here = die_at_ && *die_at_ == boundary;
        if (known_.insert(boundary.text()).second) boundaries_.push_back(std::move(boundary));
        if (here) life_->dead.store(true);
        changed_.notify_all();
    }
    const bool dead = life_->dead.load();
    lock.unlock();
    if (dead) run.interrupt(Interrupt::Reason::shutdown);
}

void Watch::asked(runtime::Run& run, std::int32_t number, const std::string& name,
                  const sysdb::StepRecord* record) {
    std::unique_lock lock(mutex_);
    if (!watching_ || run.id() != workflow_id_ || life_->dead.load()) return;
    asked_.push_back({.number = number, .name = name, .recorded = record ? record->function_name : ""});
    if (!stop_deviations_ || (record && record->function_name == name)) return;
    life_->dead.store(true);
    changed_.notify_all();
    lock.unlock();
    run.interrupt(Interrupt::Reason::shutdown);
    run.throw_if_interrupted();
}

void Watch::outcome(runtime::Run& run, bool success, const std::string& payload) {
    std::lock_guard lock(mutex_);
    if (watching_ && run.id() == workflow_id_ && !life_->dead.load())
        outcome_ = Outcome{.success = success, .text = payload};
}

}  // namespace dbos::testing
