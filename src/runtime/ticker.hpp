// The tick: once a second one read-only statement reports everything that needs a look, and only what it reports is followed by
// work, which runs on the maintenance thread, so that nothing slow delays the next tick. The end of a process on this host
// makes it tick at once.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "core/lapse.hpp"
#include "platform/seam.hpp"
#include "sysdb/records.hpp"

namespace dbos::runtime {

class Executor;

/// One thread that works off named jobs; a name that waits already is not added again.
class Maintenance {
   public:
    Maintenance();
    /// Drops what has not begun and waits for what runs.
    ~Maintenance();
    void add(const std::string& name, std::function<void()> job);
    void stop() noexcept;

   private:
    void run();
    seam::Mutex mutex_;
    seam::CondVar changed_;
    std::deque<std::pair<std::string, std::function<void()>>> jobs_;
    bool stopping_ = false;
    seam::Thread thread_;
};

class Ticker {
   public:
    explicit Ticker(Executor& executor);
    ~Ticker();
    void start();
    void stop() noexcept;
    /// Ticks as soon as possible.
    void poke() noexcept;

   private:
    void run();
    bool somebody_ended();
    void tick();
    void act(const sysdb::TickReport& report, seam::Duration sent, seam::Duration received);
    void judge(const sysdb::TickReport& report, seam::Duration sent, seam::Duration received);
    void sweep(const sysdb::LeaseRow& dead);
    /// Those of `dead` that PENDING rows still name, which one question finds.
    void sweep_named(const std::vector<sysdb::LeaseRow>& dead);
    void warn_of_unknown_names();
    /// Once, after the launch, which does not wait for it: counting may take long.
    void warn_of_stranded_versions();
    /// Once a minute while the latest version has nobody to run it (after a roll-back).
    void warn_of_lost_latest(const sysdb::TickReport& report);

    Executor& executor_;
    std::unique_ptr<core::LapseJudge> judge_;
    seam::Mutex judge_mutex_;  // the tick and the sweeps
    std::string queues_fingerprint_;
    std::string schedules_fingerprint_;
    seam::Atomic<bool> queues_stale_{true};
    seam::SteadyTime next_orphans_{};
    seam::SteadyTime next_names_{};
    seam::SteadyTime next_latest_{};
    std::set<std::string> warned_names_;
    bool failing_ = false;

    seam::Mutex mutex_;
    seam::CondVar changed_;
    bool stopping_ = false;
    bool poked_ = false;
    seam::Thread thread_;
    Maintenance maintenance_;
};

}  // namespace dbos::runtime
