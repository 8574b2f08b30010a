#include "chaos/pg/oracle.hpp"

#include <sstream>

#include "chaos/pg/history.hpp"

namespace dbos::chaos {

namespace {

constexpr const char* kBodies =
    "(function_name LIKE 'step %' OR function_name IN ('before', 'after', 'between', 'a', 'b', 'c'))";

struct Row {
    std::string name, status, output;
};

/// An attempt, of the side log.
struct Attempt {
    std::string value;
    int number = 0;  // from 1: of the tries of one execution
    std::int64_t at_us = 0;
    bool ended = false;
};
using Attempts =
    std::map<std::string, std::vector<Attempt>>;  // "WORKFLOW STEP" → in the order of their beginning

std::string unquoted(const std::string& json) {
    return json.size() >= 2 && json.front() == '"' ? json.substr(1, json.size() - 2) : json;
}

std::string text(const sql::Result& result, std::size_t row, std::size_t column) {
    return result.at(row, column).string();
}

std::map<std::string, Row> read_rows(sql::Connection& server) {
    const auto result = server.query(
        "SELECT w.workflow_uuid, w.name, w.status, coalesce(o.output, w.output, '') FROM @workflow_status w"
        " LEFT JOIN @workflow_output o ON o.workflow_uuid = w.workflow_uuid");
    std::map<std::string, Row> rows;
    for (std::size_t i = 0; i < result.size(); ++i)
        rows[text(result, i, 0)] = {text(result, i, 1), text(result, i, 2), unquoted(text(result, i, 3))};
    return rows;
}

Attempts read_attempts(const test::SideLog& side) {
    Attempts attempts;
    for (const std::string& line : side.lines()) {
        std::istringstream words(line);
        std::string verb, workflow, step;
        Attempt attempt;
        words >> verb >> workflow >> step >> attempt.value >> attempt.number >> attempt.at_us;
        auto& of_step = attempts[workflow + " " + step];
        if (verb == "begin") of_step.push_back(attempt);
        if (verb != "end") continue;
        for (Attempt& begun : of_step) begun.ended = begun.ended || begun.value == attempt.value;
    }
    return attempts;
}

void judge_outcomes(const std::map<std::string, Row>& rows, const Known& known, Verdict& verdict) {
    for (const std::string& id : known.all_accepted()) {
        if (!rows.contains(id)) verdict.add("lost", id + " was accepted and has no row");
    }
    for (const auto& [id, value] : known.all_outcomes()) {
        const auto row = rows.find(id);
        const bool success = row != rows.end() && row->second.status == "SUCCESS";
        if (success != value.has_value() || (success && row->second.output != *value))
            verdict.add("lost",
                        "the caller was told that " + id + " ended with " + value.value_or("an error") +
                            ", the row says " +
                            (row == rows.end() ? "nothing" : row->second.status + " " + row->second.output));
    }
    for (const auto& [word, all] : known.all_wrong()) {
        for (const std::string& what : all) verdict.add(word.c_str(), what);
    }
}

/// Records against bodies; returns what the outcome of each workflow must be.
std::map<std::string, std::string> judge_steps(sql::Connection& server, const Attempts& attempts,
                                               Verdict& verdict) {
    const auto records = server.query(
        "SELECT workflow_uuid, function_id, function_name, coalesce(output, ''),"
        " (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint"
        " FROM @operation_outputs WHERE " +
        std::string(kBodies) + " ORDER BY workflow_uuid, function_id");
    std::map<std::string, std::string> expected;
    std::set<std::string> names;
    for (std::size_t i = 0; i < records.size(); ++i) {
        const std::string workflow = text(records, i, 0), number = text(records, i, 1);
        const std::string value = unquoted(text(records, i, 3));
        const std::string what = "step " + number + " of " + workflow;
        ++verdict.steps;
        expected[workflow] += value + ",";
        if (!names.insert(workflow + " " + text(records, i, 2)).second)
            verdict.add("repeated", what + " is recorded under two numbers");
        const auto found = attempts.find(workflow + " " + number);
        if (found == attempts.end()) {
            verdict.add("lost", what + " is recorded, but no body ever began");
            continue;
        }
        bool ended = value.empty();  // the record of an error
        std::size_t executions = 0;
        for (const Attempt& attempt : found->second) {
            ended = ended || (attempt.value == value && attempt.ended);
            if (attempt.number == 1) ++executions;
            if (attempt.at_us > records.at(i, 4).integer())
                verdict.add("repeated", what + " began again (" + attempt.value + ") " +
                                            std::to_string(attempt.at_us - records.at(i, 4).integer()) +
                                            " us after the record of " + value + " was committed");
        }
        if (!ended) verdict.add("lost", what + " is recorded as " + value + ", which no body returned");
        if (executions > 1) verdict.begun_again += executions - 1;
    }
    return expected;
}

/// Nothing is recorded of a workflow that has ended. A row that has ended is not written again, so its last writer ended it.
void judge_late_records(sql::Connection& server, Verdict& verdict) {
    const auto late = server.query(
        "SELECT o.workflow_uuid, o.function_id, w.status FROM @operation_outputs o"
        " JOIN @workflow_status w ON w.workflow_uuid = o.workflow_uuid WHERE w.status IN ('SUCCESS', "
        "'ERROR', 'CANCELLED')"
        " AND pg_xact_commit_timestamp(o.xmin) > pg_xact_commit_timestamp(w.xmin)");
    for (std::size_t i = 0; i < late.size(); ++i)
        verdict.add("repeated", "step " + text(late, i, 1) + " of " + text(late, i, 0) +
                                    " was recorded after the workflow had ended with " + text(late, i, 2));
}

/// What parents must have made of their children, in the order of their starts.
std::map<std::string, std::string> results_of_children(sql::Connection& server,
                                                       const std::map<std::string, Row>& rows) {
    const auto starts = server.query(
        "SELECT workflow_uuid, child_workflow_id FROM @operation_outputs o WHERE child_workflow_id IS NOT "
        "NULL AND"
        " function_name IN ('chain', 'sleeper') ORDER BY workflow_uuid, function_id");
    std::map<std::string, std::string> results;
    for (std::size_t i = 0; i < starts.size(); ++i) {
        const auto child = rows.find(text(starts, i, 1));
        const bool success = child != rows.end() && child->second.status == "SUCCESS";
        results[text(starts, i, 0)] += success ? child->second.output : "!";
    }
    return results;
}

std::set<std::string> workflows_with_failed_steps(sql::Connection& server) {
    const auto rows =
        server.query("SELECT DISTINCT workflow_uuid FROM @operation_outputs WHERE error IS NOT NULL");
    std::set<std::string> failed;
    for (std::size_t i = 0; i < rows.size(); ++i) failed.insert(text(rows, i, 0));
    return failed;
}

}  // namespace

std::vector<std::string> unfinished(sql::Connection& server) {
    const auto rows = server.query(
        "SELECT workflow_uuid, name, status, coalesce(queue_name, '-'), coalesce(executor_id, '-')"
        " FROM @workflow_status WHERE status NOT IN"
        " ('SUCCESS', 'ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED') ORDER BY 1");
    std::vector<std::string> found;
    for (std::size_t i = 0; i < rows.size(); ++i)
        found.push_back(text(rows, i, 0) + " (" + text(rows, i, 1) + ") is " + text(rows, i, 2) + ", queue " +
                        text(rows, i, 3) + ", executor " + text(rows, i, 4));
    return found;
}

Verdict judge(sql::Connection& server, const Known& known, const test::SideLog& side,
              const Timeline& timeline) {
    Verdict verdict;
    const auto rows = read_rows(server);
    verdict.workflows = rows.size();
    for (const std::string& what : unfinished(server)) verdict.add("stranded", what);
    judge_outcomes(rows, known, verdict);
    const auto from_steps = judge_steps(server, read_attempts(side), verdict);
    judge_late_records(server, verdict);
    judge_events(read_events(server), side.lines(), timeline, verdict);
    const auto from_children = results_of_children(server, rows);
    const auto failed = workflows_with_failed_steps(server);
    for (const auto& [id, row] : rows) {
        if (row.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED" || (row.status == "ERROR" && !failed.contains(id)))
            verdict.add("lost", id + " ended with " + row.status + ", but no step of it has failed");
        if (row.status != "SUCCESS") continue;
        const auto& expected = row.name == "parent" ? from_children : from_steps;
        const auto found = expected.find(id);
        if (found == expected.end() || found->second != row.output)
            verdict.add("lost", "the outcome of " + id + " does not follow from its records: " + row.output +
                                    " against " + (found == expected.end() ? "nothing" : found->second));
    }
    return verdict;
}

}  // namespace dbos::chaos
