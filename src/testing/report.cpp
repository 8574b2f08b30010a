// What the checks have found, as text.
#include <ostream>

#include "dbos/testing.hpp"

namespace dbos::testing {

namespace {

std::string shown(const Outcome& outcome) { return (outcome.success ? "result " : "error ") + outcome.text; }

void list(std::string& text, const char* title, const std::vector<std::string>& lines) {
    text += std::string("    ") + title + (lines.empty() ? " nothing\n" : "\n");
    for (const auto& line : lines) text += "      " + line + "\n";
}

}  // namespace

std::string Boundary::text() const {
    const std::string operation = std::to_string(number) + " \"" + name + "\"";
    const std::string of = " of " + workflow_id;
    const std::string tried = attempt > 1 ? ", attempt " + std::to_string(attempt) : "";
    switch (point) {
        case CrashPoint::before_body: return "before the body" + of;
        case CrashPoint::before_step: return "before step " + operation + of + tried;
        case CrashPoint::before_checkpoint: return "before the record of " + operation + of;
        case CrashPoint::after_commit: return "after the commit of " + operation + of;
        case CrashPoint::after_checkpoint: return "after the record of " + operation + of;
        case CrashPoint::before_outcome: return "before the outcome" + of;
        case CrashPoint::after_outcome: break;
    }
    return "after the outcome" + of;
}

std::string CrashReport::text() const {
    std::string text = std::to_string(boundaries.size()) + " crashes";
    if (!unreached.empty())
        text += " (" + std::to_string(unreached.size()) + " boundaries not reached again)";
    if (broken.empty()) return text + ", always the " + shown(expected) + "\n";
    text += ", " + std::to_string(broken.size()) + " of them change what comes of the workflow; expected " +
            shown(expected) + "\n";
    for (const BrokenBoundary& one : broken) {
        text += "  crash " + one.boundary.text() + ": " + one.why + "\n";
        list(text, "recorded when it died:", one.recorded);
        list(text, "recorded at the end:", one.at_the_end);
    }
    return text;
}

std::string DeterminismReport::text() const {
    if (deviations.empty())
        return "replays of " + std::to_string(recorded.size()) + " operations, always the same\n";
    std::string text = "a replay does otherwise than the records say\n";
    for (const Deviation& one : deviations) {
        text += "  replay " + std::to_string(one.replay) +
                (one.number > 0 ? ", operation " + std::to_string(one.number) : ", outcome") + ": recorded " +
                one.recorded + ", attempted " + one.attempted + "\n";
    }
    list(text, "history:", recorded);
    return text;
}

std::ostream& operator<<(std::ostream& out, const CrashReport& report) { return out << report.text(); }
std::ostream& operator<<(std::ostream& out, const DeterminismReport& report) { return out << report.text(); }

}  // namespace dbos::testing
