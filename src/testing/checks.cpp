// crash_everywhere and check_determinism.
#include <algorithm>
#include <utility>

#include "core/durations.hpp"
#include "testing/test_app.hpp"

namespace dbos::testing {

namespace {

using Lines = std::vector<std::string>;

class Check {
   public:
    Check(TestApp& app, const CheckOptions& options, const checks::Start& start)
        : app_(app.impl()), options_(options), start_(start), timeout_(core::to_nanos(options.timeout)) {
        app_.app();  // the database exists
    }
    ~Check() {
        app_.watch.end();
        app_.end_life(true);
        try {
            app_.wipe();
        } catch (const std::exception&) {  // the server has gone: the next call says so
        }
    }
    Check(const Check&) = delete;
    Check& operator=(const Check&) = delete;

    /// A new run on an empty database, until it has ended or died.
    Watch::End begin(std::optional<Boundary> die_at) {
        app_.watch.end();
        app_.end_life(true);
        app_.wipe();
        if (options_.before_each) options_.before_each();
        app_.watch.begin(options_.workflow_id, std::move(die_at), false);
        App& app = app_.app();
        start_(app);
        if (options_.prepare) options_.prepare(app.client());
        tell_end();
        app_.watch.open();
        return app_.watch.wait(timeout_);
    }
    /// The process dies, unless it has; a new one begins, which dies there.
    Watch::End go_on(std::optional<Boundary> die_at = {}, bool stop_deviations = false) {
        end_life();
        app_.connect()->query("UPDATE @workflow_status SET recovery_attempts = 1 WHERE workflow_uuid = $1",
                              {std::string_view(options_.workflow_id)}, sql::Access::write);
        app_.watch.begin(options_.workflow_id, std::move(die_at), stop_deviations);
        app_.app();
        tell_end();
        app_.watch.open();
        return app_.watch.wait(timeout_);
    }
    void end_life() { app_.end_life(true); }
    Watch& watch() { return app_.watch; }

    std::vector<TestApp::Impl::Operation> operations() { return app_.operations(options_.workflow_id); }
    Lines recorded() {
        Lines lines;
        for (auto& operation : operations()) lines.push_back(std::move(operation.line));
        return lines;
    }
    Outcome outcome() {
        const std::string ids[] = {options_.workflow_id};
        const auto rows = app_.executor().database().results(ids);
        if (rows.empty()) return {.success = false, .text = "(the workflow was deleted)"};
        const auto& row = rows.front();
        if (row.status == "SUCCESS") return {.success = true, .text = row.output.value_or("")};
        return {.success = false, .text = row.error.value_or(row.status)};
    }
    bool same(const Outcome& expected, const Outcome& got) const {
        return options_.same ? options_.same(expected, got) : expected == got;
    }
    /// What is wrong after a run, empty = nothing.
    std::string after() const {
        if (!options_.after_each) return {};
        try {
            options_.after_each();
        } catch (const std::exception& error) {
            return std::string("after_each says: ") + error.what();
        }
        return {};
    }
    std::string too_long() const {
        return "did not end within " + std::to_string(core::to_millis(options_.timeout)) + " ms";
    }

   private:
    void tell_end() {
        app_.executor().hub().add(options_.workflow_id, {.seen = true},
                                  [&watch = app_.watch](const sysdb::ResultRow&, std::exception_ptr error) {
                                      if (!error) watch.ended();
                                  });
    }

    TestApp::Impl& app_;
    const CheckOptions& options_;
    const checks::Start& start_;
    const seam::Duration timeout_;
};

std::string shown(const Outcome& outcome) { return (outcome.success ? "result " : "error ") + outcome.text; }

}  // namespace

namespace checks {

CrashReport crash_everywhere(TestApp& app, const CheckOptions& options, const Start& start) {
    Check check(app, options, start);
    CrashReport report;
    if (check.begin({}) != Watch::End::ended)
        throw UsageError("crash_everywhere: the undisturbed run of the workflow " + check.too_long());
    report.expected = check.outcome();
    check.end_life();  // what other workflows still do is not part of it
    report.boundaries = check.watch().boundaries();
    if (std::string why = check.after(); !why.empty())
        throw UsageError("crash_everywhere: after the undisturbed run, " + why);
    for (const Boundary& boundary : report.boundaries) {
        auto end = check.begin(boundary);
        BrokenBoundary broken{.boundary = boundary};
        if (end == Watch::End::died) {
            check.end_life();
            broken.recorded = check.recorded();
            end = check.go_on();
        } else {
            report.unreached.push_back(boundary);
        }
        if (end != Watch::End::ended) {
            broken.why = "the workflow " + check.too_long();
        } else if (const Outcome got = check.outcome(); !check.same(report.expected, got)) {
            broken.why = "it ended with " + shown(got) + " instead of " + shown(report.expected);
        } else {
            broken.why = check.after();
        }
        if (broken.why.empty()) continue;
        broken.at_the_end = check.recorded();
        report.broken.push_back(std::move(broken));
    }
    return report;
}

namespace {

/// What a replay did not ask for although it is recorded. The end of a wait with a time-out has a record of its own, which a
/// replay reads only if the wait itself has none; a patch that is being withdrawn is not asked for.
std::vector<Deviation> left_out(int replay, const std::vector<TestApp::Impl::Operation>& recorded,
                                const std::vector<Watch::Asked>& asked) {
    std::vector<Deviation> deviations;
    int before = 0;
    std::string name_before;
    for (const auto& operation : recorded) {
        const bool follows = before == operation.number - 1;
        const bool end_of_a_wait = operation.name == "DBOS.sleep" &&
                                   (!follows || name_before == "DBOS.recv" || name_before == "DBOS.getEvent");
        before = operation.number;
        name_before = operation.name;
        const bool was_asked = std::ranges::any_of(
            asked, [&](const Watch::Asked& one) { return one.number == operation.number; });
        if (was_asked || end_of_a_wait || operation.name.starts_with("DBOS.patch-")) continue;
        deviations.push_back({.replay = replay,
                              .number = operation.number,
                              .recorded = operation.name,
                              .attempted = "(nothing)"});
    }
    return deviations;
}

}  // namespace

DeterminismReport check_determinism(TestApp& app, const CheckOptions& options, const Start& start) {
    Check check(app, options, start);
    DeterminismReport report;
    const Boundary end_of_body{.point = CrashPoint::before_outcome, .workflow_id = options.workflow_id};
    if (check.begin(end_of_body) != Watch::End::died)
        throw UsageError("check_determinism: the first run of the workflow " + check.too_long());
    report.expected = check.watch().outcome().value_or(Outcome());
    check.end_life();
    const auto history = check.operations();
    report.recorded = check.recorded();
    for (int replay = 1; replay <= options.replays && report.deviations.empty(); ++replay) {
        const auto end = check.go_on(end_of_body, true);
        check.end_life();
        const auto asked = check.watch().asked();
        const auto got = check.watch().outcome();
        for (const auto& one : asked) {
            if (one.recorded == one.name) continue;
            report.deviations.push_back({.replay = replay,
                                         .number = one.number,
                                         .recorded = one.recorded.empty() ? "(nothing)" : one.recorded,
                                         .attempted = one.name});
        }
        if (!report.deviations.empty()) break;
        if (end != Watch::End::died || !got) {
            report.deviations.push_back({.replay = replay,
                                         .recorded = shown(report.expected),
                                         .attempted = "(" + check.too_long() + ")"});
            break;
        }
        report.deviations = left_out(replay, history, asked);
        if (report.deviations.empty() && !check.same(report.expected, *got)) {
            report.deviations.push_back(
                {.replay = replay, .recorded = shown(report.expected), .attempted = shown(*got)});
        }
    }
    return report;
}

}  // namespace checks

}  // namespace dbos::testing
