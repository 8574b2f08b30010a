// A connection that dies at its n-th call, as a killed process does.
#pragma once

#include <csignal>
#include <memory>
#include <stdexcept>
#include <utility>

#include "sql/connection.hpp"

namespace dbos::schema_test {

struct Crash : std::runtime_error {
    Crash() : std::runtime_error("crashed") {}
};

class CrashingConnection final : public sql::Connection {
   public:
    enum class How : std::uint8_t { exception, kill };
    /// Dies instead of making call number `at`.
    CrashingConnection(std::unique_ptr<sql::Connection> inner, int at, How how = How::exception)
        : inner_(std::move(inner)), left_(at), how_(how) {}

    sql::Backend backend() const noexcept override { return inner_->backend(); }
    sql::Result execute(const sql::Statement& statement, const sql::Params& params) override {
        count();
        return inner_->execute(statement, params);
    }
    sql::Result query(const std::string& text, const sql::Params& params, sql::Access access) override {
        count();
        return inner_->query(text, params, access);
    }
    void script(const std::string& text) override {
        count();
        inner_->script(text);
    }
    using sql::Connection::pipeline;
    std::vector<sql::Result> pipeline(std::span<const sql::Call> calls, const Meanwhile& meanwhile) override {
        count();
        return inner_->pipeline(calls, meanwhile);
    }
    void begin(sql::Isolation isolation) override {
        count();
        inner_->begin(isolation);
    }
    void commit() override {
        count();
        inner_->commit();
    }
    void rollback() noexcept override {
        if (!dead_) inner_->rollback();
    }
    bool in_transaction() const noexcept override { return !dead_ && inner_->in_transaction(); }
    bool usable() const noexcept override { return !dead_ && inner_->usable(); }
    void interrupt() noexcept override { inner_->interrupt(); }

   private:
    void count() {
        if (dead_) throw Crash();
        if (--left_ > 0) return;
        if (how_ == How::kill) std::raise(SIGKILL);
        dead_ = true;
        inner_->interrupt();
        throw Crash();
    }
    std::unique_ptr<sql::Connection> inner_;
    int left_;
    How how_;
    bool dead_ = false;
};

}  // namespace dbos::schema_test
