// What is behind TestApp: the lives on one database, what watches their runs, and the clock.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dbos/testing.hpp"
#include "platform/seam.hpp"
#include "runtime/app_impl.hpp"
#include "runtime/probe.hpp"
#include "testing/mortal.hpp"

namespace dbos::testing {

/// What happens to a run of the checks: which boundaries it passes, where it dies, what its replay asks for.
class Watch final : public runtime::Probe {
   public:
    struct Asked {
        int number = 0;
        std::string name;
        std::string recorded;  // the name that its history holds; empty = none
    };
    /// Forgets what was seen, and watches a run of this workflow. Until open() its body waits, and nothing dies. `die_at`: the life
    /// dies there; `stop_deviations`: also where the workflow asks for what its history does not hold.
    void begin(std::string workflow_id, std::optional<Boundary> die_at, bool stop_deviations);
    /// Watches nothing any more.
    void end();
    void open();
    void new_life(std::shared_ptr<Life> life);
    /// From now on nothing is written.
    void kill();

    enum class End : std::uint8_t { none, ended, died };
    void ended();  // the workflow has an outcome
    /// Waits until the workflow has ended or the life has died; none = the time is over. Then it dies no more.
    End wait(seam::Duration timeout);

    std::vector<Boundary> boundaries();
    std::vector<Asked> asked();
    std::optional<Outcome> outcome();

    void reached(runtime::Run& run, runtime::Point point, std::int32_t number, const std::string& name,
                 int attempt) override;
    void asked(runtime::Run& run, std::int32_t number, const std::string& name,
               const sysdb::StepRecord* record) override;
    void outcome(runtime::Run& run, bool success, const std::string& payload) override;

   private:
    void die(std::unique_lock<seam::Mutex>& lock);

    seam::Mutex mutex_;
    seam::CondVar changed_;
    std::shared_ptr<Life> life_;
    bool watching_ = false;
    bool closed_ = false;
    bool ended_ = false;
    bool stop_deviations_ = false;
    std::string workflow_id_;
    std::optional<Boundary> die_at_;
    std::vector<Boundary> boundaries_;
    std::set<std::string> known_;  // their texts
    std::vector<Asked> asked_;
    std::optional<Outcome> outcome_;
};

struct TestApp::Impl {
    explicit Impl(TestAppOptions given);
    ~Impl();

    /// The App of a life that is alive; a new life if there is none.
    App& app();
    runtime::Executor& executor() { return app().impl().executor; }
    /// Ends the life: by a death (nothing more is written), or in order.
    void end_life(bool death);
    /// Deletes every workflow. No life must be there.
    void wipe();
    struct Operation {
        int number = 0;
        std::string name;
        std::string line;  // as TestApp::operations shows it
    };
    /// Of a workflow; also between two lives.
    std::vector<Operation> operations(const std::string& workflow_id);
    /// A connection of nobody's life.
    std::unique_ptr<sql::Connection> connect();

    TestAppOptions options;
    sql::OpenOptions open;  // of the database
    std::vector<std::function<void(App&)>> setups;
    Watch watch;
    const std::shared_ptr<seam::Atomic<std::int64_t>> now;
    bool launched_once = false;

    // The clock's thread looks at the present life under the lock; it is the test's thread that changes it.
    seam::Mutex life_mutex;
    std::unique_ptr<App> present;
    bool alive = false;

   private:
    void launch_life();
    std::shared_ptr<Life> life_;
};

struct TestClock::Impl {
    explicit Impl(TestApp::Impl& owner);
    ~Impl();
    void advance_to(sysdb::Millis instant);
    sysdb::Millis now() const { return app.now->load(); }

    TestApp::Impl& app;

   private:
    /// Waits until nothing but waits goes on; then the first instant at which something is due. Throws Timeout.
    std::optional<sysdb::Millis> rest();
    /// Whether nothing but waits goes on at this moment. `next` as above. Under life_mutex.
    bool at_rest(std::optional<sysdb::Millis>& next, std::size_t& outside);
    void set(sysdb::Millis instant);
    void run();  // auto_advance

    seam::Mutex moving_;  // one at a time
    seam::Mutex mutex_;
    seam::CondVar changed_;
    bool stopping_ = false;
    seam::Thread thread_;
};

}  // namespace dbos::testing
