#include "sql/borrowed.hpp"

#include <libpq-fe.h>

#include "sql/borrowed_connection.hpp"
#include "sql/postgres/params.hpp"
#include "sql/postgres/rows.hpp"
#include "sql/source.hpp"
#include "sql/text.hpp"

namespace dbos::sql {
namespace postgres {
namespace {

[[noreturn]] void refuse(const std::string& got, const std::string& cure) {
    throw UsageError("the PGconn: expected a connection with an open transaction, got " + got + "; " + cure);
}

void check(PGconn* connection) {
    if (connection == nullptr) refuse("a null pointer", "pass the connection that has the transaction");
    if (PQstatus(connection) != CONNECTION_OK) refuse("a broken connection", "connect again");
    if (PQpipelineStatus(connection) != PQ_PIPELINE_OFF)
        refuse("one in pipeline mode", "leave it with PQexitPipelineMode before the call");
    switch (PQtransactionStatus(connection)) {
        case PQTRANS_INTRANS: break;
        case PQTRANS_INERROR: refuse("one whose transaction has failed", "roll it back, and begin again");
        case PQTRANS_ACTIVE:
            refuse("one with a command in progress", "read its results (or end the COPY) first");
        default: refuse("none", "execute BEGIN before the call");
    }
    const char* encoding = PQparameterStatus(connection, "client_encoding");
    if (encoding == nullptr || std::string_view(encoding) != "UTF8") {
        refuse(std::string("client_encoding ") + (encoding ? encoding : "unknown"),
               "SET client_encoding TO 'UTF8': other encodings would be stored as something else");
    }
}

class BorrowedPostgres final : public BorrowedConnection {
   public:
    BorrowedPostgres(PGconn* connection, std::string schema)
        : connection_(connection), schema_(std::move(schema)) {}

    Backend backend() const noexcept override { return Backend::postgres; }
    bool in_transaction() const noexcept override {
        return PQtransactionStatus(connection_) == PQTRANS_INTRANS;
    }
    bool usable() const noexcept override { return PQstatus(connection_) == CONNECTION_OK; }

   private:
    Result run(std::string_view text, const Params& params, const char* what) override {
        refuse_nul(params, what);
        EncodedParams encoded;
        encoded.encode(params);
        const std::string expanded = expand(text, Backend::postgres, schema_);
        ResultPtr result(PQexecParams(connection_, expanded.c_str(), encoded.count(), encoded.types.data(),
                                      encoded.values.data(), encoded.lengths.data(), encoded.formats.data(),
                                      0));
        if (!result) {
            throw DatabaseError(
                DatabaseErrorKind::connection,
                std::string("statement \"") + what + "\" failed: " + PQerrorMessage(connection_));
        }
        const ExecStatusType status = PQresultStatus(result.get());
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
            throw error_of(result.get(), what, false);
        return result_of(std::move(result));
    }

    PGconn* connection_;
    std::string schema_;
};

}  // namespace
}  // namespace postgres

std::unique_ptr<Connection> borrow(pg_conn* connection, const std::string& schema) {
    postgres::check(connection);
    return std::make_unique<postgres::BorrowedPostgres>(connection, schema);
}

namespace {
std::string text(const char* value) { return value ? value : ""; }
}  // namespace

Url postgres::url_of(const pg_conn* connection) {
    Url url;
    url.backend = Backend::postgres;
    url.database = text(PQdb(connection));
    url.printable = "postgresql://" + text(PQuser(connection)) + "@" + text(PQhost(connection)) + ":" +
                    text(PQport(connection)) + "/" + url.database;
    return url;
}

std::string identity(pg_conn* connection) {
    return text(PQhost(connection)) + '\n' + text(PQport(connection)) + '\n' + text(PQdb(connection));
}

}  // namespace dbos::sql
