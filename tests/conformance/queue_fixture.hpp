// What the tests of queues, claims, leases and ticks share: a migrated database, rows written and read as they stand, and
// connections that fail where a test wants it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/database.hpp"
#include "sysdb/claim_state.hpp"
#include "sysdb/database.hpp"
#include "sysdb/schema/migrate.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::sysdb::test {

using Values = std::map<std::string, std::optional<std::string>>;

/// Passes everything on, and lets a test look in before a statement or lose the acknowledgement after it.
class HookedConnection : public sql::Connection {
   public:
    struct Hooks {
        std::function<void(const sql::Statement&, const sql::Params&)> before = {};
        std::function<bool(const std::string& statement)> lose_ack = {};  // "commit" for a commit
    };
    HookedConnection(std::unique_ptr<sql::Connection> inner, std::shared_ptr<Hooks> hooks)
        : inner_(std::move(inner)), hooks_(std::move(hooks)) {}

    sql::Backend backend() const noexcept override { return inner_->backend(); }
    sql::Result execute(const sql::Statement& statement, const sql::Params& params) override {
        if (hooks_->before) hooks_->before(statement, params);
        sql::Result result = inner_->execute(statement, params);
        if (!inner_->in_transaction()) lose(statement.name);
        return result;
    }
    sql::Result query(const std::string& text, const sql::Params& params, sql::Access access) override {
        return inner_->query(text, params, access);
    }
    void script(const std::string& text) override { inner_->script(text); }
    using sql::Connection::pipeline;
    std::vector<sql::Result> pipeline(std::span<const sql::Call> calls, const Meanwhile& meanwhile) override {
        for (const sql::Call& call : calls) {
            if (hooks_->before) hooks_->before(*call.statement, call.params);
        }
        std::vector<sql::Result> results = inner_->pipeline(calls, meanwhile);
        if (!inner_->in_transaction()) {
            for (const sql::Call& call : calls) lose(call.statement->name);
        }
        return results;
    }
    void begin(sql::Isolation isolation) override { inner_->begin(isolation); }
    void commit() override {
        inner_->commit();
        lose("commit");
    }
    void rollback() noexcept override { inner_->rollback(); }
    bool in_transaction() const noexcept override { return inner_->in_transaction(); }
    bool usable() const noexcept override { return usable_ && inner_->usable(); }
    void interrupt() noexcept override { inner_->interrupt(); }

   private:
    void lose(const std::string& what) {
        if (!hooks_->lose_ack || !hooks_->lose_ack(what)) return;
        usable_ = false;
        throw DatabaseError(DatabaseErrorKind::connection,
                            "the acknowledgement of " + what + " was lost (test)", "08006", {}, true);
    }

    std::unique_ptr<sql::Connection> inner_;
    std::shared_ptr<Hooks> hooks_;
    bool usable_ = true;
};

class QueueTest : public dbos::test::DatabaseTest {
   public:
    void SetUp() override {
        DatabaseTest::SetUp();
        if (IsSkipped() || HasFatalFailure() || (postgres() && !dbos::test::postgres_url())) return;
        sql_ = open();
        migrate(*sql_, database().schema(), {.log = [](const LogRecord&) {}});
    }
    void TearDown() override {
        databases_.clear();
        sql_.reset();
        DatabaseTest::TearDown();
    }

    /// One process more on the database.
    SystemDatabase& process(std::shared_ptr<HookedConnection::Hooks> hooks = nullptr, LocalWake wake = {}) {
        DatabaseOptions given;
        given.open = options();
        given.local_wake = std::move(wake);
        if (hooks) {
            given.decorate =
                [hooks](std::unique_ptr<sql::Connection> inner) -> std::unique_ptr<sql::Connection> {
                return std::make_unique<HookedConnection>(std::move(inner), hooks);
            };
        }
        databases_.push_back(std::make_unique<SystemDatabase>(std::move(given)));
        return *databases_.back();
    }

    sql::Connection& sql() { return *sql_; }
    sql::Result run(const std::string& text, const sql::Params& params = {}) {
        return sql_->query(text, params, sql::Access::write);
    }

    /// Inserts a row; values are the texts of SQL literals.
    void insert(const std::string& table, const Values& values) {
        std::string columns;
        std::string literals;
        for (const auto& [column, value] : values) {
            columns += (columns.empty() ? "" : ", ") + column;
            literals += (literals.empty() ? "" : ", ") + (value ? "'" + *value + "'" : std::string("NULL"));
        }
        run("INSERT INTO @" + table + " (" + columns + ") VALUES (" + literals + ")");
    }

    static Values enqueued() {
        return {{"status", "ENQUEUED"},      {"name", "job"},
                {"queue_name", "q"},         {"application_version", "v1"},
                {"application_name", "app"}, {"priority", "0"},
                {"updated_at", "1000"},      {"recovery_attempts", "0"}};
    }

    /// A workflow as an enqueue leaves it, with `values` instead of the defaults.
    void workflow(const std::string& id, const Values& values = {}) {
        Values row = enqueued();
        row["workflow_uuid"] = id;
        row["created_at"] = "1000";
        for (const auto& [column, value] : values) row[column] = value;
        insert("workflow_status", row);
        insert("workflow_input",
               {{"workflow_uuid", id}, {"inputs", "[" + id + "]"}, {"retention_timestamp", "1000"}});
    }

    /// `count` workflows `<prefix><n>` without inputs, created_at = `created_at` + n * `step`.
    void workflows(const std::string& prefix, int count, std::int64_t created_at, int step,
                   const Values& values = {}) {
        Values row = enqueued();
        for (const auto& [column, value] : values) row[column] = value;
        std::string columns = "workflow_uuid, created_at";
        std::string literals =
            "'" + prefix + "' || n, " + std::to_string(created_at) + " + n * " + std::to_string(step);
        for (const auto& [column, value] : row) {
            columns += ", " + column;
            literals += ", " + (value ? "'" + *value + "'" : std::string("NULL"));
        }
        const std::string series =
            postgres() ? "generate_series(1, " + std::to_string(count) + ") AS s(n)"
                       : "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < " +
                             std::to_string(count) + ") SELECT n FROM s)";
        run("INSERT INTO @workflow_status (" + columns + ") SELECT " + literals + " FROM " + series);
    }

    std::optional<std::string> value(const std::string& column, const std::string& id) {
        const sql::Result found =
            run("SELECT " + column + " FROM @workflow_status WHERE workflow_uuid = '" + id + "'");
        if (found.empty()) return "(no row)";
        return found.at(0, 0).optional_text();
    }
    std::int64_t number(const std::string& column, const std::string& id) {
        const auto text = value(column, id);
        return text ? std::stoll(*text) : -1;
    }
    std::int64_t count(const std::string& where) {
        return run("SELECT count(*) FROM @workflow_status WHERE " + where).at(0, 0).integer();
    }
    /// The database clock, in milliseconds.
    std::int64_t now() {
        if (!postgres()) {
            return std::chrono::duration_cast<std::chrono::milliseconds>(seam::wall_now().time_since_epoch())
                .count();
        }
        return run("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").at(0, 0).integer();
    }

    ClaimRequest claim_of(std::vector<ClaimQueue> queues, const std::string& token = "t-1") const {
        ClaimRequest request;
        request.queues = std::move(queues);
        request.token = token;
        request.executor_id = "me";
        request.application_version = "v1";
        request.application_name = "app";
        request.is_latest_version = true;
        request.workflow_names = {"job"};
        return request;
    }

    TickRequest tick_of(std::vector<std::string> queues = {"q"}) {
        TickRequest request;
        request.now_ms = now();
        request.application_name = "app";
        request.application_version = "v1";
        request.is_latest_version = true;
        request.workflow_names = {"job"};
        request.queues = std::move(queues);
        return request;
    }

    static std::vector<std::string> ids(const std::vector<ClaimedWorkflow>& claimed) {
        std::vector<std::string> result;
        for (const auto& workflow : claimed) result.push_back(workflow.workflow_id);
        return result;
    }
    static std::vector<std::string> sorted(std::vector<std::string> texts) {
        std::ranges::sort(texts);
        return texts;
    }

   private:
    std::unique_ptr<sql::Connection> sql_;
    std::vector<std::unique_ptr<SystemDatabase>> databases_;
};

}  // namespace dbos::sysdb::test
