// A connection in the hands of the program's own code.
#include <libpq-events.h>

#include <algorithm>
#include <cstring>

#include "sql/postgres/connection.hpp"

namespace dbos::sql::postgres {
namespace {

// A mark that lives as long as the transaction: who commits and begins another loses it.
constexpr Statement kMark{
    "lend_mark",
    "SELECT set_config('dbos_cpp.transaction', $1, true), set_config('transaction_read_only', $2, true)",
    Access::read};
constexpr Statement kLook{"lend_look",
                          "SELECT current_setting('dbos_cpp.transaction', true), "
                          "set_config('idle_in_transaction_session_timeout', '10s', true)",
                          Access::read};

constexpr std::string_view kInFailedTransaction = "25P02";

/// Notes the SQLSTATE of every error; the program's own code keeps texts at best.
int on_event(PGEventId event, void* info, void*) {
    if (event != PGEVT_RESULTCREATE) return 1;
    const auto* created = static_cast<const PGEventResultCreate*>(info);
    auto* const to = static_cast<char*>(PQinstanceData(created->conn, on_event));
    const char* const sqlstate = PQresultErrorField(created->result, PG_DIAG_SQLSTATE);
    if (to == nullptr || sqlstate == nullptr || sqlstate == kInFailedTransaction) return 1;
    if (PQresultStatus(created->result) == PGRES_FATAL_ERROR) std::strncpy(to, sqlstate, 5);
    return 1;
}

}  // namespace

Lent PostgresConnection::lend(bool read_only) {
    const std::string mark = std::to_string(++transactions_lent_);
    execute(kMark, {std::string_view(mark), std::string_view(read_only ? "on" : "off")});
    PGconn* const connection = link_.get();
    PQregisterEventProc(connection, on_event, "dbos", nullptr);  // once; it stays
    std::fill(std::begin(lent_error_), std::end(lent_error_), '\0');
    PQsetInstanceData(connection, on_event, lent_error_);
    if (PQexitPipelineMode(connection) == 0 || PQsetnonblocking(connection, 0) != 0) {
        drop();
        throw DatabaseError(DatabaseErrorKind::connection, "the connection could not be lent");
    }
    lent_ = true;
    return {.postgres = connection};
}

Returned PostgresConnection::take_back() noexcept {
    Returned returned{Returned::State::broken, {}};
    if (!std::exchange(lent_, false) || seam::process_id() != pid_ || link_.get() == nullptr) return returned;
    PQsetInstanceData(link_.get(), on_event, nullptr);
    returned.state = look_back();
    returned.error = lent_error_;
    if (returned.state == Returned::State::busy || returned.state == Returned::State::broken) drop();
    return returned;
}

Returned::State PostgresConnection::look_back() noexcept {
    using enum Returned::State;
    PGconn* const connection = link_.get();
    if (PQstatus(connection) != CONNECTION_OK) return broken;
    if (PQpipelineStatus(connection) != PQ_PIPELINE_OFF) return busy;
    const PGTransactionStatusType status = PQtransactionStatus(connection);
    if (PQsetnonblocking(connection, 1) != 0 || PQenterPipelineMode(connection) == 0) return busy;
    if (status == PQTRANS_INERROR) return failed;
    if (status != PQTRANS_INTRANS) return status == PQTRANS_IDLE ? ended : busy;
    try {
        const Result found = execute(kLook, {});
        return found.at(0, 0).text() == std::to_string(transactions_lent_) ? open : ended;
    } catch (const DatabaseError& error) {
        std::strncpy(lent_error_, error.sqlstate().c_str(), kSqlstate);
        return usable() ? failed : broken;
    } catch (...) {
        return broken;
    }
}

}  // namespace dbos::sql::postgres
