// dbos::testing: test your workflows. Not part of <dbos/dbos.hpp>.
//
//   TEST(Checkout, charges_once) {
//       dbos::testing::TestApp app;                                        // its own database, in memory
//       app.implement(Checkout, checkout);
//       EXPECT_EQ(app.run(Checkout, {}, Order{"o-17", 4200}).charge_id, "charge-o-17");   // sleeps take no time
//
//       auto report = dbos::testing::crash_everywhere(app, Checkout, {}, Order{"o-17", 4200});
//       EXPECT_TRUE(report.passed()) << report;                            // it ends the same, wherever it is killed
//       auto replays = dbos::testing::check_determinism(app, Checkout, {}, Order{"o-17", 4200});
//       EXPECT_TRUE(replays.passed()) << replays;                          // it asks for the same when it is replayed
//   }
//
// A TestApp and what is made of it belong to one thread, that of the test; the clock may be used by others too.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "dbos/app.hpp"
#include "dbos/detail/owned.hpp"
#include "dbos/export.hpp"

namespace dbos::testing {

/// How a TestApp is made.
struct TestAppOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// `sqlite:///:memory:`, or a `postgresql://…` URL of a server for tests: there the TestApp has a schema of its own, which its
    /// destructor drops. SQLite files are refused: nothing is left on disk.
    std::string system_database_url = "sqlite:///:memory:";
    /// Let the virtual clock go on by itself while somebody waits for a workflow; see TestClock.
    bool auto_advance = true;
    /// What the virtual clock shows at first. Default: the time of day.
    std::optional<std::chrono::system_clock::time_point> now = {};
    /// Everything else. `name` is "test-app" unless it is given; system_database_url, system_database_engine, dbos_system_schema
    /// and executor_id are the TestApp's own. The default `log_sink` writes warnings and errors to standard error. What a life logs that has been
    /// killed is dropped.
    AppOptions app = {};
};

class TestApp;

/// The virtual clock of a TestApp. It stands still until it is moved, and never goes back. Thread-safe.
///
/// Virtual: durable sleeps, ctx.now(), the time-outs of recv, get_event and the like in bodies, the back-off between attempts of
/// a step and of a transaction, delays of workflows (`delay`, debouncers), workflow time-outs, the ticks of schedules (exactly on
/// time here), and the instants that the engine records.
///
/// Not virtual: std::chrono clocks and sleeps in your code, StepOptions::timeout, time-outs of a Client or a handle
/// (GetResultOptions::timeout, Client::get_event …), leases, ids, and everything that PostgreSQL takes from its own clock (the
/// instants of creation and of the start of queued workflows).
///
/// With `auto_advance` the clock goes on by itself, straight to the next instant at which something is due, while somebody outside
/// of the workflows waits for one (get_result, run(), get_event, read_stream, wait_all …) and nothing else can happen: every
/// body waits, no step runs, nothing can be claimed, nothing is being written. So a workflow that waits a week for a message gets
/// it if you send it first, and its time-out if nobody does.
class DBOS_EXPORT TestClock {
   public:
    ~TestClock();
    TestClock(const TestClock&) = delete;
    TestClock& operator=(const TestClock&) = delete;
    std::chrono::system_clock::time_point now() const;
    /// Moves the clock, stopping at each instant at which something is due until every workflow waits again, and at the end.
    /// Throws UsageError for a negative duration or in a body; Timeout if the workflows do not come to rest within
    /// 30 s of real time (a step that blocks).
    void advance(Duration duration);
    /// The same, to an instant. Nothing happens if that has passed.
    void advance_to(std::chrono::system_clock::time_point instant);

   private:
    friend class TestApp;
    struct Impl;
    explicit TestClock(Impl* impl) noexcept;
    detail::Owned<Impl> impl_;
};

/// An App for tests: on a database of its own, launched when it is needed, with a virtual clock, and able to die and live again.
/// One life after the other serves the same database: workflows that a life leaves behind are recovered by the next.
class DBOS_EXPORT TestApp {
   public:
    /// Throws ConfigError (URL).
    explicit TestApp(TestAppOptions options = {});
    /// Shuts down, interrupting what runs at its next durable call, and drops the database.
    ~TestApp();
    TestApp(const TestApp&) = delete;
    TestApp& operator=(const TestApp&) = delete;

    /// As App::implement; before the launch. `body` must be copyable: each life has a copy.
    template <class R, class... A, class... E, class F>
    void implement(const Workflow<R(A...), E...>& workflow, F body, const ImplementOptions& options = {}) {
        if constexpr (detail::require_body<F, R, A...>()) {
            configure([workflow, body = std::move(body), options](App& app) {
                app.implement(workflow, body, options);
            });
        }
    }
    /// As App::register_queue; before the launch.
    void register_queue(QueueOptions options);
    /// Called with each life's App before it is launched, in the order of the calls: for whatever App has and this class has not.
    /// Throws UsageError after the launch.
    void configure(std::function<void(App&)> setup);

    /// Launches if that has not happened; every call below does so. Throws as App::launch.
    void launch();
    /// The App of the present life, launched. Valid until crash(), crash_everywhere() or check_determinism(), and so are its
    /// client and its handles: after those retrieve_workflow() gives new ones.
    App& app();
    Client& client() { return app().client(); }

    /// Starts a workflow, as App::start_workflow.
    template <class R, class... A, class... E>
    WorkflowHandle<R> start_workflow(const Workflow<R(A...), E...>& contract, EnqueueOptions options,
                                     detail::argument_t<A>... args) {
        return app().start_workflow(contract, std::move(options), detail::argument<A>::get(args)...);
    }
    /// The same, and waits for its result. Throws what the workflow failed with.
    template <class R, class... A, class... E>
    R run(const Workflow<R(A...), E...>& contract, EnqueueOptions options, detail::argument_t<A>... args) {
        return app()
            .start_workflow(contract, std::move(options), detail::argument<A>::get(args)...)
            .get_result();
    }

    TestClock& clock() noexcept { return *clock_; }

    /// The process dies: from now on nothing is written, and every run is interrupted at its next durable call. Returns when the
    /// last step has ended. The next call launches a new life, which recovers what was left.
    ///
    /// Unlike in a real death, stacks unwind (destructors run, dbos::Interrupt passes), and what your code keeps in memory stays.
    void crash();

    /// The recorded operations of a workflow, a line each: number, name, result or error.
    std::vector<std::string> operations(const std::string& workflow_id);

    /// For the functions below.
    struct Impl;
    Impl& impl() noexcept { return *impl_; }

   private:
    detail::Owned<Impl> impl_;
    detail::Owned<TestClock> clock_;
};

/// How a workflow ended: its record in the database.
struct Outcome {
    bool success = false;
    /// The result or error as it is encoded, by default in portable JSON.
    std::string text = {};
    friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// Options of crash_everywhere and check_determinism.
struct CheckOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// The id of the workflow, the same in every run.
    std::string workflow_id = "test-workflow";
    /// Called before each run, on an empty database: sets back what your steps work on.
    std::function<void()> before_each = {};
    /// Called when the workflow has been started and before its body begins: sends it the messages that it will wait for, starts
    /// workflows that it talks with.
    std::function<void(Client& client)> prepare = {};
    /// Called after each run; what it throws is a finding. For what must hold whatever happened: charged exactly once.
    std::function<void()> after_each = {};
    /// Whether two outcomes are the same. Default: equal. For results that hold random or real time.
    std::function<bool(const Outcome& expected, const Outcome& got)> same = {};
    /// A run that has not ended after this much real time is a finding.
    Duration timeout = std::chrono::seconds(30);
    /// Of check_determinism: how often it is replayed.
    int replays = 3;
};

/// Where a process died. Operations are those of the workflow and of every other workflow that ran.
enum class CrashPoint : std::uint8_t {
    before_body,        // the row is there, the body has not begun
    before_step,        // before a step's or transaction's callable
    before_checkpoint,  // after it (or, of other operations, before anything), before the record
    after_commit,       // after a transaction in a database of yours has committed, before the record
    after_checkpoint,   // after the record
    before_outcome,     // after the body, before the result or error is recorded
    after_outcome       // after that
};

struct Boundary {
    CrashPoint point = CrashPoint::before_body;
    std::string workflow_id = {};
    /// Number and name of the operation; 0 and empty for the body and its outcome.
    int number = 0;
    std::string name = {};
    int attempt = 1;
    /// `before step 2 "charge" of test-workflow`
    DBOS_EXPORT std::string text() const;
    friend bool operator==(const Boundary&, const Boundary&) = default;
};

/// A crash that changed what came of the workflow.
struct BrokenBoundary {
    Boundary boundary = {};
    /// What is wrong, in a sentence.
    std::string why = {};
    /// The operations that were recorded when it died, and those at the end; as TestApp::operations.
    std::vector<std::string> recorded = {};
    std::vector<std::string> at_the_end = {};
};

struct CrashReport {
    /// What comes of the workflow when nothing crashes, and every boundary that this run passed, in order.
    Outcome expected = {};
    std::vector<Boundary> boundaries = {};
    /// Of these: those that were not passed again (an asynchronous step that lost a race, for instance), so nothing died there.
    std::vector<Boundary> unreached = {};
    std::vector<BrokenBoundary> broken = {};
    bool passed() const noexcept { return broken.empty() && !boundaries.empty(); }
    DBOS_EXPORT std::string text() const;
};

/// What a replay did otherwise than the records say.
struct Deviation {
    int replay = 1;
    /// The number of the operation; 0 = the outcome.
    int number = 0;
    std::string recorded = {};
    std::string attempted = {};
};

struct DeterminismReport {
    Outcome expected = {};
    /// The history that was replayed; as TestApp::operations.
    std::vector<std::string> recorded = {};
    std::vector<Deviation> deviations = {};
    bool passed() const noexcept { return deviations.empty(); }
    DBOS_EXPORT std::string text() const;
};

DBOS_EXPORT std::ostream& operator<<(std::ostream& out, const CrashReport& report);
DBOS_EXPORT std::ostream& operator<<(std::ostream& out, const DeterminismReport& report);

/// For the templates below.
namespace checks {

using Start = std::function<void(App&)>;
DBOS_EXPORT CrashReport crash_everywhere(TestApp& app, const CheckOptions& options, const Start& start);
DBOS_EXPORT DeterminismReport check_determinism(TestApp& app, const CheckOptions& options,
                                                const Start& start);

/// Starts the workflow with a copy of the arguments, whenever it is called.
template <class R, class... A, class... E>
Start start_of(const Workflow<R(A...), E...>& contract, const std::string& id,
               detail::argument_t<A>&... args) {
    return [contract, id, kept = std::tuple<A...>(detail::argument<A>::get(args)...)](App& app) {
        std::apply([&](const A&... copy) { app.start_workflow(contract, {.workflow_id = id}, copy...); },
                   kept);
    };
}

}  // namespace checks

/// Runs a workflow once undisturbed and once for every boundary of that run: there the process dies (TestApp::crash), a new life
/// recovers the workflow, and its outcome must be that of the undisturbed run. Every run begins on an empty database: **all
/// workflows of the TestApp are deleted**, before and after.
///
/// Finds effects outside of steps, steps that cannot be repeated, code that swallows dbos::Interrupt, results that depend on what
/// is not recorded. Throws UsageError if the undisturbed run does not end in time, and what `before_each` and `prepare` throw.
template <class R, class... A, class... E>
CrashReport crash_everywhere(TestApp& app, const Workflow<R(A...), E...>& contract,
                             const CheckOptions& options, detail::argument_t<A>... args) {
    return checks::crash_everywhere(app, options, checks::start_of(contract, options.workflow_id, args...));
}

/// Runs a workflow up to its outcome, drops that, and replays the body from its complete history (`replays` times): it must ask
/// for the recorded operations, in their order, for nothing else, and return the same. A replay that deviates is stopped before
/// it does anything. Otherwise as crash_everywhere.
template <class R, class... A, class... E>
DeterminismReport check_determinism(TestApp& app, const Workflow<R(A...), E...>& contract,
                                    const CheckOptions& options, detail::argument_t<A>... args) {
    return checks::check_determinism(app, options, checks::start_of(contract, options.workflow_id, args...));
}

}  // namespace dbos::testing
