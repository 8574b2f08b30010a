// The connections of a life: when it is dead, they execute nothing any more.
#pragma once

#include <memory>
#include <utility>

#include "sql/connection.hpp"

namespace dbos::testing {

/// Shared by everything of one life.
struct Life {
    seam::Atomic<bool> dead{false};
};

/// A connection that refuses every call when its process is dead, but for the one that a real process leaves to its lease: that
/// it runs out.
class MortalConnection final : public sql::Connection {
   public:
    MortalConnection(std::unique_ptr<sql::Connection> inner, std::shared_ptr<const Life> life)
        : inner_(std::move(inner)), life_(std::move(life)) {}

    sql::Backend backend() const noexcept override { return inner_->backend(); }
    sql::Result execute(const sql::Statement& statement, const sql::Params& params) override {
        if (statement.name != std::string_view("lease_expire")) check();
        return inner_->execute(statement, params);
    }
    sql::Result query(const std::string& text, const sql::Params& params, sql::Access access) override {
        check();
        return inner_->query(text, params, access);
    }
    void script(const std::string& text) override {
        check();
        inner_->script(text);
    }
    using sql::Connection::pipeline;
    std::vector<sql::Result> pipeline(std::span<const sql::Call> calls, const Meanwhile& meanwhile) override {
        check();
        return inner_->pipeline(calls, meanwhile);
    }
    void begin(sql::Isolation isolation) override {
        check();
        inner_->begin(isolation);
    }
    void commit() override {
        if (life_->dead.load()) inner_->rollback();
        check();
        inner_->commit();
    }
    void rollback() noexcept override { inner_->rollback(); }
    bool in_transaction() const noexcept override { return inner_->in_transaction(); }
    bool usable() const noexcept override { return inner_->usable(); }
    std::optional<std::uint32_t> file_commits() noexcept override { return inner_->file_commits(); }
    void interrupt() noexcept override { inner_->interrupt(); }
    sql::Lent lend(bool read_only) override {
        check();
        return inner_->lend(read_only);
    }
    sql::Returned take_back() noexcept override { return inner_->take_back(); }

   private:
    void check() const {
        if (life_->dead.load())
            throw DatabaseError(DatabaseErrorKind::closed, "the process is dead (crash of the test)");
    }

    const std::unique_ptr<sql::Connection> inner_;
    const std::shared_ptr<const Life> life_;
};

}  // namespace dbos::testing
