// A connection that the test can stop before a commit, refuse, or rob of its acknowledgement.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "sql/connection.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::test {

enum class Fault : std::uint8_t {
    none,
    refuse,    // not executed, and said so
    lose_ack,  // executed, and reported as lost
    drop,      // not executed, and reported as lost
    sever      // executed and acknowledged; then the connection is gone
};

/// What happens to commits; shared by the connections of one SystemDatabase. Thread-safe.
class Faults {
   public:
    /// The next commits meet these, in order; later ones pass.
    void next(std::vector<Fault> faults) {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        faults_.insert(faults_.end(), faults.begin(), faults.end());
    }
    /// Every commit meets this until it is changed.
    void always(Fault fault) {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        always_ = fault;
    }
    /// Called once before it is reported that an acknowledgement was lost.
    void meanwhile(std::function<void()> action) {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        meanwhile_ = std::move(action);
    }
    /// Commits wait from now on …
    void close_gate() {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        closed_ = true;
        waiting_ = 0;
    }
    /// Lets the one that stands before the closed gate through; the next one stops again.
    void pass_one() {
        std::unique_lock<seam::Mutex> lock(mutex_);
        passes_ = 1;
        changed_.notify_all();
        changed_.wait(lock, [this] { return passes_ == 0; });
    }
    /// … until this.
    void open_gate() {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        closed_ = false;
        changed_.notify_all();
    }
    /// Waits until a commit stands before the gate.
    void wait_for_commit() {
        std::unique_lock<seam::Mutex> lock(mutex_);
        changed_.wait(lock, [this] { return waiting_ > 0; });
    }
    int commits() {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        return commits_;
    }

    Fault before_commit() {
        std::unique_lock<seam::Mutex> lock(mutex_);
        ++waiting_;
        changed_.notify_all();
        changed_.wait(lock, [this] { return !closed_ || passes_ > 0; });
        if (passes_ > 0) --passes_;
        changed_.notify_all();
        --waiting_;
        ++commits_;
        if (faults_.empty()) return always_;
        const Fault fault = faults_.front();
        faults_.erase(faults_.begin());
        return fault;
    }
    void lost() {
        std::function<void()> action;
        {
            const std::lock_guard<seam::Mutex> lock(mutex_);
            action = std::exchange(meanwhile_, {});
        }
        if (action) action();
    }

   private:
    seam::Mutex mutex_;
    seam::CondVar changed_;
    std::vector<Fault> faults_;
    Fault always_ = Fault::none;
    std::function<void()> meanwhile_;
    bool closed_ = false;
    int passes_ = 0;
    int waiting_ = 0;
    int commits_ = 0;
};

class FaultyConnection final : public sql::Connection {
   public:
    FaultyConnection(std::unique_ptr<sql::Connection> inner, std::shared_ptr<Faults> faults)
        : inner_(std::move(inner)), faults_(std::move(faults)) {}

    sql::Backend backend() const noexcept override { return inner_->backend(); }
    sql::Result execute(const sql::Statement& statement, const sql::Params& params) override {
        return inner_->execute(statement, params);
    }
    sql::Result query(const std::string& text, const sql::Params& params, sql::Access access) override {
        return inner_->query(text, params, access);
    }
    void script(const std::string& text) override { inner_->script(text); }
    using sql::Connection::pipeline;
    std::vector<sql::Result> pipeline(std::span<const sql::Call> calls, const Meanwhile& meanwhile) override {
        bool writes = false;
        for (const sql::Call& call : calls) writes = writes || call.statement->access == sql::Access::write;
        if (!writes) return inner_->pipeline(calls, meanwhile);
        const Fault fault = begin_fault();
        auto results = inner_->pipeline(calls, meanwhile);
        end_fault(fault);
        return results;
    }
    void begin(sql::Isolation isolation) override { inner_->begin(isolation); }
    void commit() override {
        const Fault fault = begin_fault();
        inner_->commit();
        end_fault(fault);
    }
    void rollback() noexcept override { inner_->rollback(); }
    bool in_transaction() const noexcept override { return inner_->in_transaction(); }
    bool usable() const noexcept override { return !broken_ && inner_->usable(); }
    void interrupt() noexcept override { inner_->interrupt(); }
    sql::Lent lend(bool read_only) override { return inner_->lend(read_only); }
    sql::Returned take_back() noexcept override { return inner_->take_back(); }

    static std::function<std::unique_ptr<sql::Connection>(std::unique_ptr<sql::Connection>)> wrap(
        std::shared_ptr<Faults> faults) {
        return [faults](std::unique_ptr<sql::Connection> inner) -> std::unique_ptr<sql::Connection> {
            return std::make_unique<FaultyConnection>(std::move(inner), faults);
        };
    }

   private:
    Fault begin_fault() {
        const Fault fault = faults_->before_commit();
        if (fault != Fault::refuse && fault != Fault::drop) return fault;
        broken_ = true;
        if (inner_->in_transaction()) inner_->rollback();
        if (fault == Fault::refuse) throw DatabaseError(DatabaseErrorKind::connection, "refused by the test");
        lose();
    }
    void end_fault(Fault fault) {
        broken_ = broken_ || fault == Fault::lose_ack || fault == Fault::sever;
        if (fault == Fault::lose_ack) lose();
    }
    [[noreturn]] void lose() {
        faults_->lost();
        throw DatabaseError(DatabaseErrorKind::connection, "acknowledgement lost by the test", {}, {}, true);
    }

    std::unique_ptr<sql::Connection> inner_;
    std::shared_ptr<Faults> faults_;
    bool broken_ = false;
};

}  // namespace dbos::test
