#include "sql/borrowed.hpp"

#include <sqlite3.h>

#include "sql/borrowed_connection.hpp"
#include "sql/sqlite/connection.hpp"
#include "sql/sqlite/rows.hpp"

namespace dbos::sql {
namespace sqlite {
namespace {

class BorrowedSqlite final : public BorrowedConnection {
   public:
    explicit BorrowedSqlite(sqlite3* connection) : db_(connection) {}

    Backend backend() const noexcept override { return Backend::sqlite; }
    bool in_transaction() const noexcept override { return sqlite3_get_autocommit(db_) == 0; }
    bool usable() const noexcept override { return true; }

   private:
    struct Finalize {
        void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
    };
    [[noreturn]] void raise(int code, const char* what) const {
        const DatabaseError error =
            error_of(code, sqlite3_errmsg(db_), std::string("statement \"") + what + '"');
        throw DatabaseError(
            error.kind(),
            std::string(error.what()) + (sqlite3_get_autocommit(db_) == 0
                                             ? "; the transaction still stands"
                                             : "; the transaction has been rolled back by SQLite"),
            error.sqlstate(), error.constraint());
    }
    Result run(std::string_view text, const Params& params, const char* what) override {
        refuse_nul(params, what);
        const std::string expanded = expand(text, Backend::sqlite, {});
        sqlite3_stmt* made = nullptr;
        int code =
            sqlite3_prepare_v2(db_, expanded.data(), static_cast<int>(expanded.size()), &made, nullptr);
        if (code != SQLITE_OK) raise(sqlite3_extended_errcode(db_), what);
        const std::unique_ptr<sqlite3_stmt, Finalize> statement(made);
        std::deque<std::string> arena;
        code = bind_params(made, params, arena);
        if (code != SQLITE_OK) raise(code, what);
        code = sqlite3_step(made);
        std::unique_ptr<SqliteRows> rows;
        if (sqlite3_column_count(made) > 0) rows = std::make_unique<SqliteRows>(made);
        for (; code == SQLITE_ROW; code = sqlite3_step(made)) rows->append(made);
        if (code != SQLITE_DONE) raise(sqlite3_extended_errcode(db_), what);
        const std::int64_t affected = rows || sqlite3_stmt_readonly(made) != 0 ? 0 : sqlite3_changes64(db_);
        return {std::move(rows), affected};
    }

    sqlite3* db_;
};

[[noreturn]] void refuse(const std::string& got, const std::string& cure) {
    throw UsageError(
        "the sqlite3 handle: expected one with an open transaction on the system database, got " + got +
        "; " + cure);
}

}  // namespace
}  // namespace sqlite

std::unique_ptr<Connection> borrow(sqlite3* connection) {
    if (connection == nullptr) sqlite::refuse("a null pointer", "pass the handle that has the transaction");
    if (sqlite3_get_autocommit(connection) != 0)
        sqlite::refuse("none", "execute BEGIN IMMEDIATE before the call");
    auto borrowed = std::make_unique<sqlite::BorrowedSqlite>(connection);
    const Result found =
        borrowed->query("SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = 'workflow_status'",
                        {}, Access::read);
    if (found.empty()) {
        sqlite::refuse(
            "one whose main file has no system tables",
            "open the file of the system database as main: a commit over attached files is not atomic");
    }
    return borrowed;
}

std::string identity(sqlite3* connection) {
    const char* path = sqlite3_db_filename(connection, "main");
    return path != nullptr ? path : "";
}

}  // namespace dbos::sql
