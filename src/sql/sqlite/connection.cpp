#include "sql/sqlite/connection.hpp"

#include <chrono>
#include <utility>

#include "platform/planted.hpp"
#include "sql/open.hpp"
#include "sql/sqlite/rows.hpp"
#include "sql/text.hpp"

namespace dbos::sql::sqlite {

using namespace std::chrono_literals;

namespace {

/// How long a call waits in all for the locks of others.
constexpr seam::Duration kLongestWait = 30s;

/// Makes a statement ready for its next execution on every way out.
class Reset {
   public:
    explicit Reset(sqlite3_stmt* statement) : statement_(statement) {}
    ~Reset() {
        sqlite3_reset(statement_);
        sqlite3_clear_bindings(statement_);  // texts were bound as views of the caller's
    }
    Reset(const Reset&) = delete;
    Reset& operator=(const Reset&) = delete;

   private:
    sqlite3_stmt* statement_;
};

}  // namespace

/// Holds the turn of writers for one call outside of a transaction.
class SqliteConnection::Turn {
   public:
    Turn(SqliteConnection& connection, bool wanted)
        : connection_(connection), taken_(wanted && !connection.has_turn_) {
        if (taken_) connection_.take_turn();
    }
    ~Turn() {
        if (taken_) connection_.release_turn();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    SqliteConnection& connection_;
    bool taken_;
};

/// Counts a commit as running: from before others can see it until it is counted as committed.
class SqliteConnection::Committing {
   public:
    Committing(SqliteConnection& connection, bool commits)
        : count_(commits ? connection.commits_.get() : nullptr) {
        if (count_ != nullptr) count_->running.fetch_add(1);
    }
    ~Committing() {
        if (count_ != nullptr) count_->running.fetch_sub(1);
    }
    Committing(const Committing&) = delete;
    Committing& operator=(const Committing&) = delete;

   private:
    CommitCount* count_;
};

SqliteConnection::~SqliteConnection() {
    if (seam::process_id() != pid_) {  // the file's locks belong to the parent: touch nothing
        for (auto& [key, prepared] : by_statement_) (void)prepared->statement.release();
        by_text_.each([](Prepared& prepared) { (void)prepared.statement.release(); });
        for (auto& statement : controls_) (void)statement.release();
        (void)turn_.release();
        return;
    }
    seam::db_call(seam::DbOp::close);
    by_statement_.clear();
    by_text_.clear();
    for (auto& statement : controls_) statement.reset();
    let_go();
    seam::db_return(seam::DbOp::close);
}

void SqliteConnection::check(std::string_view what) const {
    if (seam::process_id() != pid_) {
        throw UsageError(
            "a database connection was used in a forked child; open one there, or call exec() first");
    }
    if (interrupted_.load()) {
        throw DatabaseError(DatabaseErrorKind::connection, std::string(what) + ": the call was interrupted");
    }
}

void SqliteConnection::take_turn() {
    busy_since_ = seam::steady_now();
    counting_ = true;
    if (turn_) {
        if (!turn_->lock(kLongestWait, [this] { return interrupted_.load(); })) {
            counting_ = false;
            check("waiting for the turn to write");
            throw DatabaseError(
                DatabaseErrorKind::busy,
                "SQLite file " + path_ +
                    ": another connection has held the turn to write for 30 s; does this thread hold an open "
                    "transaction, or is a process stopped in the middle of one?",
                "sqlite:5");
        }
    }
    has_turn_ = true;
}

void SqliteConnection::release_turn() noexcept {
    if (has_turn_ && turn_) turn_->unlock();
    has_turn_ = false;
    counting_ = false;
}

int SqliteConnection::on_busy(void* self, int count) noexcept {
    auto& connection = *static_cast<SqliteConnection*>(self);
    if (connection.interrupted_.load()) return 0;
    if (count == 0 && !connection.counting_) connection.busy_since_ = seam::steady_now();
    if (seam::steady_now() - connection.busy_since_ >= kLongestWait) return 0;
    // Short and jittered, so that no waiter is late for ever; locks are held for about one fsync.
    const auto base = count < 4 ? 500us : count < 20 ? 2ms : 10ms;
    const auto jitter =
        static_cast<std::int64_t>(seam::random_u64() % static_cast<std::uint64_t>(base.count() + 1));
    return seam::sleep_in_callback(std::chrono::microseconds(base.count() / 2 + jitter)) ? 1 : 0;
}

int SqliteConnection::on_progress(void* self) noexcept {
    return static_cast<SqliteConnection*>(self)->interrupted_.load() ? 1 : 0;
}

/// Called after each commit that has changed the file. Stands in for SQLite's own hook, so it makes the checkpoints.
int SqliteConnection::on_commit(void* self, sqlite3* db, const char* schema, int frames) noexcept {
    constexpr int kCheckpointAfter = 1000;  // frames, as SQLite's default
    static_cast<SqliteConnection*>(self)->commits_->committed.fetch_add(1);
    if (frames >= kCheckpointAfter)
        sqlite3_wal_checkpoint_v2(db, schema, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    return SQLITE_OK;  // a checkpoint that could not be made is made later
}

// Layout of the shared header: sqlite.org/walformat.html, "The WAL-Index Header" (iVersion at 0, iChange at 8).
std::optional<std::uint32_t> SqliteConnection::file_commits() noexcept {
    constexpr int kRegionSize = 32768;
    constexpr std::uint32_t kVersion = 3007000;
    if (wal_index_ == nullptr) {
        sqlite3_file* file = nullptr;
        if (!wal_ || sqlite3_file_control(db_, "main", SQLITE_FCNTL_FILE_POINTER,
                                          static_cast<void*>(&file)) != SQLITE_OK)
            return {};
        if (file == nullptr || file->pMethods == nullptr || file->pMethods->iVersion < 2) return {};
        volatile void* region = nullptr;
        if (file->pMethods->xShmMap(file, 0, kRegionSize, 0, &region) != SQLITE_OK || region == nullptr)
            return {};
        wal_index_ = static_cast<const volatile std::uint32_t*>(region);
    }
    if (wal_index_[0] != kVersion) return {};
    return wal_index_[2];
}

StatementPtr SqliteConnection::prepare(const std::string& text, std::string_view label, bool keep) {
    sqlite3_stmt* raw = nullptr;
    const int code = sqlite3_prepare_v3(db_, text.c_str(), static_cast<int>(text.size()) + 1,
                                        keep ? SQLITE_PREPARE_PERSISTENT : 0, &raw, nullptr);
    StatementPtr statement(raw);
    if (code != SQLITE_OK) raise(sqlite3_extended_errcode(db_), label);
    if (!statement) throw UsageError("statement \"" + std::string(label) + "\" is empty");
    return statement;
}

SqliteConnection::Prepared& SqliteConnection::prepared_of(const Statement& statement) {
    auto& prepared = by_statement_[&statement];
    // The handle of a :memory: database outlives those who use it, whose statements may have stood at the same address.
    if (!prepared || prepared->text != statement.text) {
        StatementPtr made;
        try {
            made = prepare(expand(statement.text, Backend::sqlite, {}), statement.name, true);
        } catch (...) {
            by_statement_.erase(&statement);
            throw;
        }
        prepared = std::make_unique<Prepared>(Prepared{statement.name, std::move(made), statement.text});
    }
    return *prepared;
}

SqliteConnection::Prepared& SqliteConnection::prepared_of(const std::string& text) {
    if (Prepared* prepared = by_text_.find(text)) return *prepared;
    auto owned = std::make_unique<Prepared>(
        Prepared{"query", prepare(expand(text, Backend::sqlite, {}), "query", true), {}});
    Prepared& prepared = *owned;
    by_text_.insert(text, std::move(owned));
    return prepared;
}

void SqliteConnection::bind(sqlite3_stmt* statement, const Params& params, std::string_view label) {
    refuse_nul(params, label);
    if (const int code = bind_params(statement, params, arena_); code != SQLITE_OK) raise(code, label);
}

/// Executes with the caller's turn and transaction.
Result SqliteConnection::step(Prepared& prepared, const Params& params) {
    sqlite3_stmt* const statement = prepared.statement.get();
    const Reset reset(statement);
    bind(statement, params, prepared.label);
    int code = sqlite3_step(statement);
    std::unique_ptr<SqliteRows> rows;  // made after the first step, which sees schema changes
    if (sqlite3_column_count(statement) > 0) rows = std::make_unique<SqliteRows>(statement);
    for (; code == SQLITE_ROW; code = sqlite3_step(statement)) rows->append(statement);
    if (code != SQLITE_DONE) raise(sqlite3_extended_errcode(db_), prepared.label);
    const std::int64_t affected = rows || sqlite3_stmt_readonly(statement) != 0 ? 0 : sqlite3_changes64(db_);
    return {std::move(rows), affected};
}

Result SqliteConnection::run(Prepared& prepared, const Params& params, Access access) {
    const bool writes = access == Access::write;
    const seam::DbOp op = writes ? seam::DbOp::write : seam::DbOp::read;
    if (failed_) {
        throw DatabaseError(DatabaseErrorKind::other,
                            "statement \"" + prepared.label +
                                "\": an earlier statement of the transaction failed; roll back");
    }
    const Turn turn(*this, writes && !in_transaction_);
    const bool in_transaction = in_transaction_;
    const seam::DbFault fault = seam::db_call(op);
    if (fault == seam::DbFault::refuse) raise_fault(prepared.label, false);
    Result result;
    try {
        const Committing committing(*this, writes && !in_transaction);
        result = step(prepared, params);
        seam::db_return(op);
    } catch (...) {
        seam::db_return(op);
        failed_ = in_transaction;
        throw;
    }
    if (fault == seam::DbFault::lose_ack) {
        raise_fault(prepared.label,
                    writes && !in_transaction && !seam::planted(seam::Bug::lost_ack_taken_for_refusal));
    }
    return result;
}

Result SqliteConnection::execute(const Statement& statement, const Params& params) {
    check(statement.name);
    return run(prepared_of(statement), params, statement.access);
}

Result SqliteConnection::query(const std::string& text, const Params& params, Access access) {
    check("query");
    return run(prepared_of(text), params, access);
}

std::vector<Result> SqliteConnection::pipeline(std::span<const Call> calls, const Meanwhile&) {
    std::vector<Result> results;
    if (calls.empty()) return results;
    results.reserve(calls.size());
    const auto run_all = [&] {
        for (const auto& call : calls) results.push_back(execute(*call.statement, call.params));
    };
    if (in_transaction_) {
        run_all();
        return results;
    }
    bool writes = false;
    for (const auto& call : calls) writes = writes || call.statement->access == Access::write;
    Transaction transaction(*this, writes ? Isolation::read_committed : Isolation::read_only);
    run_all();
    transaction.commit();
    return results;
}

void SqliteConnection::step_all(const char* text) {
    for (const char* rest = text; *rest != '\0';) {
        sqlite3_stmt* raw = nullptr;
        const int code = sqlite3_prepare_v3(db_, rest, -1, 0, &raw, &rest);
        const StatementPtr statement(raw);
        if (code != SQLITE_OK) raise(sqlite3_extended_errcode(db_), "script");
        if (!statement) continue;  // blank or a comment
        int stepped = SQLITE_OK;
        while ((stepped = sqlite3_step(raw)) == SQLITE_ROW) {
        }
        if (stepped != SQLITE_DONE) raise(sqlite3_extended_errcode(db_), "script");
    }
}

void SqliteConnection::script(const std::string& text) {
    check("script");
    const std::string expanded = expand(text, Backend::sqlite, {});
    const std::size_t start = expanded.find_first_not_of(" \t\r\n");
    const std::string_view body =
        start == std::string::npos ? std::string_view() : std::string_view(expanded).substr(start);
    const auto begins = [body](std::string_view word) {
        return body.size() >= word.size() &&
               sqlite3_strnicmp(body.data(), word.data(), static_cast<int>(word.size())) == 0;
    };
    const bool bare =
        in_transaction_ || begins("PRAGMA") || begins("VACUUM");  // these do not work in a transaction
    std::optional<Transaction> transaction;
    if (!bare) transaction.emplace(*this);
    const Turn turn(*this, !in_transaction_);
    const seam::DbFault fault = seam::db_call(seam::DbOp::write);
    if (fault == seam::DbFault::refuse) raise_fault("script", false);
    try {
        const Committing committing(*this, !in_transaction_);
        step_all(expanded.c_str());
        seam::db_return(seam::DbOp::write);
    } catch (...) {
        seam::db_return(seam::DbOp::write);
        failed_ = in_transaction_;
        throw;
    }
    if (fault == seam::DbFault::lose_ack) raise_fault("script", bare && !in_transaction_);
    if (transaction) transaction->commit();
}

void SqliteConnection::begin(Isolation isolation) {
    check("begin");
    if (in_transaction_) throw UsageError("begin: a transaction is already open on this connection");
    const bool writes = isolation != Isolation::read_only;
    if (writes) take_turn();
    try {
        if (seam::db_call(seam::DbOp::begin) != seam::DbFault::none) raise_fault("begin", false);
        control(writes ? Control::begin_immediate : Control::begin, "begin");
        seam::db_return(seam::DbOp::begin);
    } catch (...) {
        if (sqlite3_get_autocommit(db_) == 0) sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
        release_turn();
        throw;
    }
    counting_ = false;  // later waits in this transaction count anew
    in_transaction_ = true;
    failed_ = false;
}

void SqliteConnection::commit() {
    if (!in_transaction_) throw UsageError("commit: no transaction is open on this connection");
    if (failed_ || sqlite3_get_autocommit(db_) != 0) {
        rollback();
        throw DatabaseError(DatabaseErrorKind::other,
                            "commit: a statement of the transaction had failed, so it was rolled back");
    }
    const seam::DbFault fault = seam::db_call(seam::DbOp::commit);
    try {
        if (fault == seam::DbFault::refuse) raise_fault("commit", false);
        check("commit");
        const Committing committing(*this, true);
        control(Control::commit, "commit");
        seam::db_return(seam::DbOp::commit);
    } catch (const DatabaseError& error) {
        // After an I/O error the log may hold the transaction or not.
        const bool unknown =
            error.sqlstate().starts_with("sqlite:") && error.kind() == DatabaseErrorKind::other;
        const DatabaseError report(error.kind(), error.what(), error.sqlstate(), error.constraint(), unknown);
        rollback();
        throw report;
    }
    end_transaction();
    if (fault == seam::DbFault::lose_ack)
        raise_fault("commit", !seam::planted(seam::Bug::lost_ack_taken_for_refusal));
}

void SqliteConnection::rollback() noexcept {
    if (!in_transaction_ || seam::process_id() != pid_) return;
    try {
        seam::db_call(seam::DbOp::rollback);
        // Some errors have rolled it back already.
        if (sqlite3_get_autocommit(db_) == 0) sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
        seam::db_return(seam::DbOp::rollback);
    } catch (...) {  // the simulated world may refuse; the handle then is as good as closed
    }
    end_transaction();
}

void SqliteConnection::end_transaction() noexcept {
    in_transaction_ = false;
    failed_ = false;
    release_turn();
}

bool SqliteConnection::usable() const noexcept {
    return seam::process_id() == pid_ && db_ != nullptr && !interrupted_.load();
}

void SqliteConnection::simple(const char* text, const char* label) {
    if (sqlite3_exec(db_, text, nullptr, nullptr, nullptr) != SQLITE_OK)
        raise(sqlite3_extended_errcode(db_), label);
}

void SqliteConnection::control(Control what, const char* label) {
    constexpr const char* kTexts[] = {"BEGIN", "BEGIN IMMEDIATE", "COMMIT"};
    const auto index = static_cast<std::size_t>(what);
    StatementPtr& statement = controls_[index];
    if (!statement) statement = prepare(kTexts[index], label, true);
    const int code = sqlite3_step(statement.get());
    sqlite3_reset(statement.get());
    if (code != SQLITE_DONE) raise(sqlite3_extended_errcode(db_), label);
}

void SqliteConnection::raise(int code, std::string_view what) {
    throw error_of(code, sqlite3_errmsg(db_),
                   "SQLite file " + path_ + ": statement \"" + std::string(what) + "\"");
}

void SqliteConnection::raise_fault(std::string_view what, bool outcome_unknown) const {
    throw DatabaseError(DatabaseErrorKind::connection,
                        "SQLite file " + path_ + ": statement \"" + std::string(what) + "\" got no answer",
                        {}, {}, outcome_unknown);
}

}  // namespace dbos::sql::sqlite
