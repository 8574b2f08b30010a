// A migrated system database for each test, on every back end, and small things that tests of its operations share.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "support/database.hpp"
#include "sysdb/database.hpp"
#include "sysdb/schema/migrate.hpp"

namespace dbos::test {

class SystemDatabaseTest : public DatabaseTest {
   public:
    void SetUp() override {
        DatabaseTest::SetUp();
        if (IsSkipped() || HasFatalFailure() || HasNonfatalFailure()) return;
        sysdb::migrate(options());
        peek_ = open();
        system_ = make();
    }
    void TearDown() override {
        system_.reset();
        peek_.reset();
        DatabaseTest::TearDown();
    }

    /// Another "process" on the same database.
    std::unique_ptr<sysdb::SystemDatabase> make(sysdb::DatabaseOptions options_with = {}) {
        options_with.open = options();
        return std::make_unique<sysdb::SystemDatabase>(std::move(options_with));
    }
    sysdb::SystemDatabase& system() { return *system_; }

    /// Rows of a query as text, columns separated by `|`, NULL as `-`.
    std::vector<std::string> rows(const std::string& text, const sql::Params& params = {}) {
        const sql::Result result = peek_->query(text, params);
        std::vector<std::string> lines;
        for (std::size_t row = 0; row < result.size(); ++row) {
            std::string line;
            for (std::size_t column = 0; column < result.columns(); ++column) {
                const sql::Cell cell = result.at(row, column);
                line += (column ? "|" : "") + (cell.null() ? "-" : cell.string());
            }
            lines.push_back(line);
        }
        return lines;
    }
    std::string one(const std::string& text, const sql::Params& params = {}) {
        const auto found = rows(text, params);
        return found.size() == 1 ? found.front() : "(" + std::to_string(found.size()) + " rows)";
    }
    void write(const std::string& text, const sql::Params& params = {}) {
        peek_->query(text, params, sql::Access::write);
    }
    sql::Connection& peek() { return *peek_; }

    /// A direct start.
    static sysdb::NewWorkflow pending(const std::string& id, const std::string& token = "token") {
        sysdb::NewWorkflow workflow;
        workflow.workflow_id = id;
        workflow.token = token;
        workflow.status = "PENDING";
        workflow.name = "wf";
        workflow.inputs = R"({"positionalArgs":[1]})";
        workflow.serialization = "portable_json";
        workflow.executor_id = "here";
        workflow.application_version = "v1";
        workflow.application_name = "app";
        return workflow;
    }
    static sysdb::NewWorkflow enqueued(const std::string& id, const std::string& queue = "q") {
        sysdb::NewWorkflow workflow = pending(id, "token-" + id);
        workflow.status = "ENQUEUED";
        workflow.executor_id.reset();
        workflow.queue_name = queue;
        return workflow;
    }
    static sysdb::StepRecord step(std::int32_t number, const std::string& output, std::int64_t completed_at) {
        sysdb::StepRecord record;
        record.function_id = number;
        record.function_name = "s" + std::to_string(number);
        record.output = output;
        record.started_at_ms = completed_at - 1;
        record.completed_at_ms = completed_at;
        record.serialization = "portable_json";
        record.application_name = "app";
        return record;
    }

   private:
    std::unique_ptr<sql::Connection> peek_;
    std::unique_ptr<sysdb::SystemDatabase> system_;
};

}  // namespace dbos::test
