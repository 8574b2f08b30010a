// The SQLite driver: one handle, prepared statements, rows copied out.
#pragma once

#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sql/connection.hpp"
#include "sql/statement_cache.hpp"

namespace dbos::sql::sqlite {

struct StatementDeleter {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
};
using StatementPtr = std::unique_ptr<sqlite3_stmt, StatementDeleter>;

/// The DatabaseError of an extended result code; `what` names the statement or the act.
DatabaseError error_of(int code, const char* message, std::string_view what);

class SqliteConnection final : public Connection {
   public:
    explicit SqliteConnection(const OpenOptions& options);
    ~SqliteConnection() override;

    Backend backend() const noexcept override { return Backend::sqlite; }
    Result execute(const Statement& statement, const Params& params) override;
    Result query(const std::string& text, const Params& params, Access access) override;
    void script(const std::string& text) override;
    using Connection::pipeline;
    std::vector<Result> pipeline(std::span<const Call> calls, const Meanwhile& meanwhile) override;
    void begin(Isolation isolation) override;
    void commit() override;
    void rollback() noexcept override;
    bool in_transaction() const noexcept override { return in_transaction_; }
    bool usable() const noexcept override;
    // Other threads write that memory through SQLite, which orders the accesses by itself.
    __attribute__((no_sanitize("thread"))) std::optional<std::uint32_t> file_commits() noexcept override;
    /// Thread-safe; sticky.
    void interrupt() noexcept override { interrupted_.store(true); }
    Lent lend(bool read_only) override;
    Returned take_back() noexcept override;

   private:
    struct Prepared {
        std::string label;
        StatementPtr statement;
        std::string text;  // of the Statement it was made of
    };
    class Turn;
    class Committing;

    void open(const OpenOptions& options);
    void borrow(const OpenOptions& options);
    /// Closes the handle, or gives it back.
    void let_go() noexcept;
    std::int64_t setting(const char* pragma);
    void configure(const OpenOptions& options);
    void enter_wal();
    void watch_log();
    void pragma(const char* text);
    StatementPtr prepare(const std::string& text, std::string_view label, bool keep);
    Prepared& prepared_of(const Statement& statement);
    Prepared& prepared_of(const std::string& text);
    void bind(sqlite3_stmt* statement, const Params& params, std::string_view label);
    Result run(Prepared& prepared, const Params& params, Access access);
    Result step(Prepared& prepared, const Params& params);
    void step_all(const char* text);
    void simple(const char* text, const char* label);
    enum class Control : std::uint8_t { begin, begin_immediate, commit, count };
    void control(Control what, const char* label);
    void check(std::string_view what) const;
    /// Takes the turn of writers, once; the busy time of the current act counts from here.
    void take_turn();
    void release_turn() noexcept;
    void end_transaction() noexcept;
    [[noreturn]] void raise(int code, std::string_view what);
    [[noreturn]] void raise_fault(std::string_view what, bool outcome_unknown) const;
    static int on_busy(void* self, int count) noexcept;
    static int on_progress(void* self) noexcept;
    static int on_commit(void* self, sqlite3* db, const char* schema, int frames) noexcept;

    const int pid_ = seam::process_id();
    sqlite3* db_ = nullptr;
    std::shared_ptr<ConnectionSource> source_;  // whose handle it is, if it is not ours
    struct Settings {
        std::int64_t busy_timeout = 0, foreign_keys = 0, synchronous = 0;
    } settings_;  // of the caller's handle, before we had it
    std::string path_;
    std::unordered_map<const Statement*, std::unique_ptr<Prepared>> by_statement_;
    TextCache<Prepared> by_text_;
    std::array<StatementPtr, static_cast<std::size_t>(Control::count)> controls_;
    std::deque<std::string> arena_;  // array parameters while a statement runs
    std::unique_ptr<seam::TurnFile> turn_;
    std::shared_ptr<CommitCount> commits_;
    const volatile std::uint32_t* wal_index_ = nullptr;  // its header, in the memory that all processes share
    bool wal_ = false;  // the file has a write-ahead log, by what was seen when it was opened
    bool has_turn_ = false;
    bool in_transaction_ = false;
    bool lent_read_only_ = false;
    bool ended_by_others_ = false;   // the program's code has ended the transaction, or SQLite has
    bool failed_ = false;            // a statement of the transaction failed: only rollback() is left
    seam::SteadyTime busy_since_{};  // when the current act began to wait for others
    bool counting_ = false;          // the wait for the turn and the one for the lock count together
    seam::Atomic<bool> interrupted_{false};
};

}  // namespace dbos::sql::sqlite
