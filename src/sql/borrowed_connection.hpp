// What connections that belong to the caller have in common. For src/sql only.
#pragma once

#include <stdexcept>
#include <string_view>
#include <vector>

#include "sql/connection.hpp"

namespace dbos::sql {

/// Runs statements unprepared, one by one; neither begins nor ends anything.
class BorrowedConnection : public Connection {
   public:
    Result execute(const Statement& statement, const Params& params) final {
        return run(statement.text, params, statement.name);
    }
    Result query(const std::string& text, const Params& params, Access) final {
        return run(text, params, "query");
    }
    void script(const std::string& text) final { run(text, {}, "script"); }
    using Connection::pipeline;
    std::vector<Result> pipeline(std::span<const Call> calls, const Meanwhile&) final {
        std::vector<Result> results;
        results.reserve(calls.size());
        for (const Call& call : calls) results.push_back(execute(*call.statement, call.params));
        return results;
    }
    void begin(Isolation) final { not_ours(); }
    void commit() final { not_ours(); }
    void rollback() noexcept final {}
    void interrupt() noexcept final {}

   private:
    [[noreturn]] static void not_ours() {
        throw std::logic_error("a transaction of the caller's is neither begun nor ended here");
    }
    virtual Result run(std::string_view text, const Params& params, const char* what) = 0;
};

}  // namespace dbos::sql
