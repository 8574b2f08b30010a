#include "sql/postgres/connection.hpp"

#include <algorithm>
#include <cstring>

#include "sql/open.hpp"
#include "sql/postgres/rows.hpp"
#include "sql/text.hpp"

namespace dbos::sql::postgres {

namespace {

constexpr std::size_t kCachedTexts = 64;
constexpr std::size_t kLabelInName = 40;  // names are cut at 63 bytes by the server

/// FNV-1a, 64 bits.
std::uint64_t hash_of(std::string_view bytes, std::uint64_t hash) {
    for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    return hash;
}

std::string name_of(const std::string& label, const std::string& text, const std::vector<Oid>& types) {
    std::uint64_t hash = hash_of(text, 0xcbf29ce484222325ULL);
    for (const Oid type : types) hash = hash_of(std::to_string(type) + ',', hash);
    char digits[17] = {};
    const char* const end = std::to_chars(digits, digits + sizeof digits, hash, 16).ptr;
    return label.substr(0, kLabelInName) + '_' + std::string(digits, static_cast<std::size_t>(end - digits));
}

const char* begin_text(Isolation isolation) {
    switch (isolation) {
        case Isolation::repeatable_read: return "BEGIN ISOLATION LEVEL REPEATABLE READ";
        case Isolation::serializable: return "BEGIN ISOLATION LEVEL SERIALIZABLE";
        case Isolation::read_only: return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        case Isolation::read_committed: break;
    }
    return "BEGIN ISOLATION LEVEL READ COMMITTED";
}

bool is_ok(const PGresult* result) {
    const ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

}  // namespace

PostgresConnection::PostgresConnection(const OpenOptions& options)
    : schema_(options.schema), printable_(options.url.printable), by_text_(kCachedTexts) {}

void PostgresConnection::connect(const OpenOptions& options) {
    if (seam::db_call(seam::DbOp::open) != seam::DbFault::none) {
        throw DatabaseError(DatabaseErrorKind::connection, "cannot connect to " + printable_);
    }
    link_.connect(options);
    seam::db_return(seam::DbOp::open);
    if (link_.plans_unpinned()) {
        // Through a pooler a setting of the session would reach other programs, so it is set for each transaction.
        for (const auto& setting : kPlanSettings) {
            local_settings_ += local_settings_.empty() ? "SELECT " : ", ";
            local_settings_ +=
                std::string("set_config('") + setting.name + "', '" + setting.value + "', true)";
        }
    }
    PQenterPipelineMode(link_.get());
}

PostgresConnection::~PostgresConnection() {
    if (lent_) static_cast<void>(take_back());
    if (seam::process_id() != pid_) link_.forget();  // the socket belongs to the parent
}

void PostgresConnection::check_owner() const {
    if (seam::process_id() == pid_) return;
    throw UsageError(
        "a database connection was used in a forked child; open one there, or call exec() first");
}

PostgresConnection::Entry& PostgresConnection::entry_of(const Statement& statement) {
    auto& entry = by_statement_[&statement];
    if (!entry) {
        entry = std::make_unique<Entry>(
            Entry{statement.name, expand(statement.text, Backend::postgres, schema_), {}});
    }
    return *entry;
}

PostgresConnection::Entry& PostgresConnection::entry_of(const std::string& text) {
    if (Entry* entry = by_text_.find(text)) return *entry;
    auto owned = std::make_unique<Entry>(Entry{"query", expand(text, Backend::postgres, schema_), {}});
    Entry& entry = *owned;
    if (const auto evicted = by_text_.insert(text, std::move(owned))) {
        for (const auto& variant : evicted->variants) {
            if (variant->ready == Ready::yes) deallocate_.push_back(variant->name);
        }
    }
    return entry;
}

/// The variant that fits the encoded parameters; a NULL fits any type.
PostgresConnection::Variant& PostgresConnection::variant_of(Entry& entry) {
    const auto fits = [this](const Variant& variant) {
        if (variant.types.size() != encoded_.types.size()) return false;
        for (std::size_t i = 0; i < variant.types.size(); ++i) {
            if (encoded_.types[i] != 0 && encoded_.types[i] != variant.types[i]) return false;
        }
        return true;
    };
    for (const auto& variant : entry.variants) {
        if (fits(*variant)) return *variant;
    }
    auto variant = std::make_unique<Variant>();
    variant->types = encoded_.types;
    if (!entry.variants.empty() && entry.variants.back()->types.size() == variant->types.size()) {
        const auto& known = entry.variants.back()->types;
        for (std::size_t i = 0; i < known.size(); ++i) {
            if (variant->types[i] == 0) variant->types[i] = known[i];
        }
    }
    variant->name = name_of(entry.label, entry.text, variant->types);
    if (const auto waiting = std::ranges::find(deallocate_, variant->name); waiting != deallocate_.end()) {
        deallocate_.erase(waiting);  // still there on the server
        variant->ready = Ready::yes;
    }
    entry.variants.push_back(std::move(variant));
    return *entry.variants.back();
}

Result PostgresConnection::execute(const Statement& statement, const Params& params) {
    check_owner();
    const Execution execution{&entry_of(statement), &params};
    Result result;
    run({&execution, 1}, {&result, 1}, statement.access == Access::write);
    return result;
}

Result PostgresConnection::query(const std::string& text, const Params& params, Access access) {
    check_owner();
    const Execution execution{&entry_of(text), &params};
    Result result;
    run({&execution, 1}, {&result, 1}, access == Access::write);
    return result;
}

std::vector<Result> PostgresConnection::pipeline(std::span<const Call> calls, const Meanwhile& meanwhile) {
    check_owner();
    std::vector<Execution> executions;
    executions.reserve(calls.size());
    bool writes = false;
    for (const auto& call : calls) {
        executions.push_back({&entry_of(*call.statement), &call.params, call.behind});
        writes = writes || call.statement->access == Access::write;
    }
    std::vector<Result> results(calls.size());
    if (!calls.empty()) run(executions, results, writes, meanwhile);
    return results;
}

void PostgresConnection::run(std::span<const Execution> executions, std::span<Result> results, bool writes,
                             const Meanwhile& meanwhile) {
    for (const auto& execution : executions) refuse_nul(*execution.params, execution.entry->label);
    const seam::DbOp op = writes ? seam::DbOp::write : seam::DbOp::read;
    const seam::DbFault fault = seam::db_call(op);
    if (fault == seam::DbFault::refuse) raise_lost({"refused"}, executions.front().entry->label, false);
    const bool commits = writes && !in_transaction();
    const char* const first = executions.front().entry->label.c_str();
    try {
        for (bool repeated = false;; repeated = true) {
            const char* const begin = pending_begin_;
            const bool had_begun = in_transaction() && begin == nullptr;
            auto failure = round_trip(executions, results, meanwhile);
            seam::db_return(op);
            if (!failure) break;
            mend(*failure);
            if (repeated || had_begun || !failure->repeat || !link_.open()) raise(*failure, commits);
            if (begin != nullptr) {
                rollback();
                pending_begin_ = begin;
            }
        }
    } catch (const LinkLost& lost) {
        raise_lost(lost, first, commits);
    }
    if (fault == seam::DbFault::lose_ack) raise_lost({"the acknowledgement was lost"}, first, commits);
}

std::optional<PostgresConnection::Failure> PostgresConnection::round_trip(
    std::span<const Execution> executions, std::span<Result> results, const Meanwhile& meanwhile) {
    if (link_.get() == nullptr) throw LinkLost{"the connection is closed"};
    items_.clear();
    if (!deallocate_.empty() && !in_transaction()) {
        // In a transaction of its own: some statements want to be the first of theirs.
        for (const auto& name : deallocate_) {
            send_auxiliary(("DEALLOCATE " + quote_identifier(name)).c_str(), "deallocate", true);
        }
        send_sync();
        deallocate_.clear();
    }
    if (pending_begin_ != nullptr) send_auxiliary(pending_begin_, "begin");
    const bool fresh = pending_begin_ != nullptr || !in_transaction();
    pending_begin_ = nullptr;
    if (fresh && !local_settings_.empty()) send_auxiliary(local_settings_.c_str(), "set_config");
    for (const auto& execution : executions) {
        if (execution.behind) send_sync();
        send_execution(execution);
    }
    send_sync();
    if (meanwhile) meanwhile();
    return receive(results);
}

void PostgresConnection::send_auxiliary(const char* text, const char* label, bool untold) {
    if (PQsendQueryParams(link_.get(), text, 0, nullptr, nullptr, nullptr, nullptr, 0) == 0) link_.lost();
    items_.push_back({Item::Kind::auxiliary, label, nullptr, untold});
}

void PostgresConnection::send_execution(const Execution& execution) {
    Entry& entry = *execution.entry;
    encoded_.encode(*execution.params);
    const auto* values = encoded_.values.data();
    const int* lengths = encoded_.lengths.data();
    const int* formats = encoded_.formats.data();
    int sent = 0;
    Variant* used = nullptr;
    if (unnamed_) {
        sent = PQsendQueryParams(link_.get(), entry.text.c_str(), encoded_.count(), encoded_.types.data(),
                                 values, lengths, formats, 0);
    } else {
        Variant& variant = variant_of(entry);
        used = &variant;
        if (variant.ready == Ready::no) {
            if (PQsendPrepare(link_.get(), variant.name.c_str(), entry.text.c_str(), encoded_.count(),
                              variant.types.data()) == 0) {
                link_.lost();
            }
            variant.ready = Ready::sent;
            items_.push_back({Item::Kind::prepare, entry.label.c_str(), &variant, execution.behind});
        }
        sent = PQsendQueryPrepared(link_.get(), variant.name.c_str(), encoded_.count(), values, lengths,
                                   formats, 0);
    }
    if (sent == 0) link_.lost();
    items_.push_back({Item::Kind::execute, entry.label.c_str(), used, execution.behind});
}

void PostgresConnection::send_sync() {
    if (PQpipelineSync(link_.get()) == 0) link_.lost();
    items_.push_back({Item::Kind::sync, "sync"});
}

std::optional<PostgresConnection::Failure> PostgresConnection::receive(std::span<Result> results) {
    std::optional<Failure> failure;
    std::size_t done = 0;
    for (const auto& item : items_) {
        ResultPtr result = link_.next();
        if (!result) link_.lost();
        const ExecStatusType status = PQresultStatus(result.get());
        if (item.kind == Item::Kind::sync && status == PGRES_PIPELINE_SYNC) continue;
        const bool ok = is_ok(result.get());
        if (item.kind == Item::Kind::prepare) item.variant->ready = ok ? Ready::yes : Ready::no;
        if (ok && item.kind == Item::Kind::execute) {
            results[done++] = result_of(std::move(result));
        } else if (ok) {
            last_tag_ = PQcmdStatus(result.get());
        } else if (is_fatal(result.get()) || !link_.open()) {
            // The session is over: nothing more will be answered, and the first error says why.
            if (!failure) failure = Failure{std::move(result), item.label, item.variant};
            return failure;
        } else if (item.untold) {
            Failure untold{std::move(result), item.label, item.variant};
            if (!failure) mend(untold);  // else the caller mends, and may repeat all
        } else if (!failure && status != PGRES_PIPELINE_ABORTED) {
            failure = Failure{std::move(result), item.label, item.variant};
        }
        if (item.kind == Item::Kind::sync) continue;
        while (ResultPtr more = link_.next()) {
        }
    }
    return failure;
}

void PostgresConnection::mend(Failure& failure) {
    const auto field = [&failure](int code) {
        const char* text = PQresultErrorField(failure.result.get(), code);
        return std::string_view(text != nullptr ? text : "");
    };
    const std::string_view sqlstate = field(PG_DIAG_SQLSTATE);
    if (unnamed_ || failure.variant == nullptr) return;
    if (sqlstate == "26000" || sqlstate == "42P05") {
        // A pooler changes the session under us between transactions.
        unnamed_ = true;
        failure.repeat = true;
    } else if (sqlstate == "0A000" && field(PG_DIAG_SOURCE_FUNCTION) == "RevalidateCachedQuery") {
        // "cached plan must not change result type": a migration has changed a table meanwhile.
        deallocate_.push_back(failure.variant->name);
        failure.variant->ready = Ready::no;
        failure.repeat = true;
    }
}

void PostgresConnection::raise(const Failure& failure, bool outcome_unknown) {
    DatabaseError error = error_of(failure.result.get(), failure.label, outcome_unknown);
    if (is_fatal(failure.result.get()) || !link_.open()) drop();
    if (failure.repeat) {  // in a transaction, which its owner must repeat
        throw DatabaseError(DatabaseErrorKind::serialization, error.what(), error.sqlstate());
    }
    throw error;
}

void PostgresConnection::raise_lost(const LinkLost& lost, std::string_view what, bool outcome_unknown) {
    drop();
    throw DatabaseError(DatabaseErrorKind::connection,
                        "the connection to " + printable_ + " was lost in statement \"" + std::string(what) +
                            "\": " + lost.message,
                        {}, {}, outcome_unknown);
}

void PostgresConnection::drop() noexcept {
    link_.close();
    pending_begin_ = nullptr;
}

void PostgresConnection::script(const std::string& text) {
    check_owner();
    if (link_.get() == nullptr) raise_lost({"the connection is closed"}, "script", false);
    const std::string expanded = expand(text, Backend::postgres, schema_);
    const bool commits = !in_transaction();
    const seam::DbFault fault = seam::db_call(seam::DbOp::write);
    if (fault == seam::DbFault::refuse) raise_lost({"refused"}, "script", false);
    try {
        if (pending_begin_ != nullptr) {
            if (auto failure = round_trip({}, {})) raise(*failure, false);
        }
        PQexitPipelineMode(link_.get());
        const Failure outcome{link_.simple(expanded.c_str()), "script"};
        seam::db_return(seam::DbOp::write);
        if (!is_ok(outcome.result.get())) {
            if (link_.open()) PQenterPipelineMode(link_.get());
            raise(outcome, commits);
        }
        PQenterPipelineMode(link_.get());
    } catch (const LinkLost& lost) {
        raise_lost(lost, "script", commits);
    }
    if (fault == seam::DbFault::lose_ack) raise_lost({"the acknowledgement was lost"}, "script", commits);
}

void PostgresConnection::begin(Isolation isolation) {
    check_owner();
    if (in_transaction()) throw UsageError("begin: a transaction is already open on this connection");
    if (seam::db_call(seam::DbOp::begin) != seam::DbFault::none) raise_lost({"refused"}, "begin", false);
    if (link_.get() == nullptr) raise_lost({"the connection is closed"}, "begin", false);
    pending_begin_ = begin_text(isolation);
    seam::db_return(seam::DbOp::begin);
}

void PostgresConnection::commit() {
    check_owner();
    const seam::DbFault fault = seam::db_call(seam::DbOp::commit);
    if (fault == seam::DbFault::refuse) raise_lost({"refused"}, "commit", false);
    if (pending_begin_ != nullptr) {
        pending_begin_ = nullptr;  // nothing was sent
        return;
    }
    if (link_.get() == nullptr) raise_lost({"the connection is closed"}, "commit", false);
    try {
        items_.clear();
        send_auxiliary("COMMIT", "commit");
        send_sync();
        const auto failure = receive({});
        seam::db_return(seam::DbOp::commit);
        if (failure) raise(*failure, true);
        if (last_tag_ != "COMMIT") {
            throw DatabaseError(DatabaseErrorKind::other,
                                "commit: a statement of the transaction had failed, so it was rolled back",
                                "25P02");
        }
    } catch (const LinkLost& lost) {
        raise_lost(lost, "commit", true);
    }
    if (fault == seam::DbFault::lose_ack) raise_lost({"the acknowledgement was lost"}, "commit", true);
}

void PostgresConnection::rollback() noexcept {
    if (seam::process_id() != pid_) return;
    if (pending_begin_ != nullptr || link_.get() == nullptr) {
        pending_begin_ = nullptr;
        return;
    }
    try {
        seam::db_call(seam::DbOp::rollback);
        items_.clear();
        send_auxiliary("ROLLBACK", "rollback");
        send_sync();
        if (receive({})) drop();
        seam::db_return(seam::DbOp::rollback);
    } catch (...) {
        drop();
    }
}

bool PostgresConnection::in_transaction() const noexcept {
    if (pending_begin_ != nullptr) return true;
    if (link_.get() == nullptr) return false;
    const PGTransactionStatusType status = PQtransactionStatus(link_.get());
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

bool PostgresConnection::usable() const noexcept { return seam::process_id() == pid_ && link_.alive(); }

std::unique_ptr<Connection> open_postgres(const OpenOptions& options) {
    auto connection = std::make_unique<PostgresConnection>(options);
    connection->connect(options);
    return connection;
}

std::unique_ptr<Connection> make_unconnected(const OpenOptions& options) {
    return std::make_unique<PostgresConnection>(options);
}

void connect(Connection& made, const OpenOptions& options) {
    static_cast<PostgresConnection&>(made).connect(options);
}

}  // namespace dbos::sql::postgres
