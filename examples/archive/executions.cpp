#include "executions.hpp"

#include <utility>

namespace archive {

namespace {

void violation(Findings& findings, std::string sentence) {
    findings.violations.push_back(std::move(sentence));
}

std::string step_name(const LogState::StepKey& key) { return "step \"" + key.second + "\" of " + key.first; }

// Whatever ran before the last execution failed, or was cut off by the end of its process before the next one began. The
// supervisor's kills stand in the log before anybody could take the work over; other ends may be noticed later than that.
void check_repeats(const LogState::StepKey& key, const std::vector<Execution>& executions,
                   const LogState& state, Findings& findings) {
    for (std::size_t i = 0; i + 1 < executions.size(); ++i) {
        const Execution& earlier = executions[i];
        const Execution& later = executions[i + 1];
        if (earlier.failed) continue;
        ++findings.repeats;
        const LogState::Process& process = state.processes().at(earlier.process);
        if (!process.dead || earlier.process == later.process ||
            (process.killed && process.died > later.began)) {
            violation(findings, step_name(key) + " ran again (" + later.id + ") although " + earlier.process +
                                    ", which had begun it (" + earlier.id + "), was alive");
        }
    }
}

}  // namespace

void check_executions(const LogState& state, const Recorded& recorded, Findings& findings) {
    for (const auto& [key, executions] : state.steps()) {
        findings.executions += executions.size();
        check_repeats(key, executions, state, findings);
        // The recorded result is the one of the last execution: none began after the checkpoint was there.
        const Execution& last = executions.back();
        const auto record = recorded.steps.find(key);
        if (record == recorded.steps.end()) {
            if (recorded.finished.count(key.first) != 0)
                violation(findings, step_name(key) + " ran, and has no checkpoint");
        } else if (record->second.empty() && !last.failed) {
            violation(findings,
                      step_name(key) + " is recorded as failed, but its last execution did not fail");
        } else if (!record->second.empty() && record->second != last.id) {
            violation(findings, step_name(key) + " ran again (" + last.id +
                                    ") after its checkpoint was recorded by " + record->second);
        }
    }
    for (const auto& [key, execution] : recorded.steps) {
        ++findings.steps;
        if (state.steps().count(key) == 0) {
            violation(findings, step_name(key) + " is recorded, but the side log does not know it");
        }
    }
}

}  // namespace archive
