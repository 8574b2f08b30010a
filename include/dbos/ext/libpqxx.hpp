// Transactional steps with libpqxx (6.4 and later; from 7.7 on with its own means).
//
//   dbos::PqxxDatasource db("postgresql://localhost/shop");
//   ctx.transaction(db, "debit", [&](pqxx::transaction_base& tx) {
//       tx.exec_params("UPDATE accounts SET cents = cents - $1 WHERE id = $2", order.cents, order.from);
//   });
//
// `tx` works in the transaction that the library has begun. It ends with the callable: do not commit or abort it. Types of libpqxx
// that need the transaction to themselves (subtransaction is fine; another work or robusttransaction is not) are refused by libpqxx.
#pragma once

#include <libpq-fe.h>

#include <pqxx/pqxx>

#include <memory>
#include <string>
#include <utility>

#include "dbos/datasource.hpp"

namespace dbos {

namespace detail {

#if defined(PQXX_VERSION_MAJOR) && PQXX_VERSION_MAJOR >= 7

/// A connection of libpqxx on one that is somebody else's.
class PqxxBorrowed {
   public:
    explicit PqxxBorrowed(pg_conn* connection)
        : connection_(pqxx::connection::seize_raw_connection(connection)) {}
    ~PqxxBorrowed() { static_cast<void>(std::move(connection_).release_raw_connection()); }
    PqxxBorrowed(const PqxxBorrowed&) = delete;
    PqxxBorrowed& operator=(const PqxxBorrowed&) = delete;
    pqxx::connection& get() noexcept { return connection_; }

   private:
    pqxx::connection connection_;
};

#else

/// "Connects" by taking the connection that is there, and leaves it alone in the end.
class PqxxPolicy final : public pqxx::connectionpolicy {
   public:
    explicit PqxxPolicy(pg_conn* connection)
        : pqxx::connectionpolicy(std::string()), connection_(connection) {}
    handle do_startconnect(handle) override { return connection_; }
    handle do_completeconnect(handle) override {
        // Called again after a loss: the transaction is gone with the connection.
        if (PQstatus(connection_) != CONNECTION_OK)
            throw pqxx::broken_connection(PQerrorMessage(connection_));
        return connection_;
    }
    handle do_dropconnect(handle) noexcept override { return nullptr; }
    handle do_disconnect(handle) noexcept override { return nullptr; }
    bool is_ready(handle given) const noexcept override { return given != nullptr; }

   private:
    pg_conn* connection_;
};

class PqxxConnection final : public pqxx::connection_base {
   public:
    explicit PqxxConnection(pg_conn* connection) : pqxx::connection_base(policy_), policy_(connection) {
        init();
    }
    ~PqxxConnection() { close(); }
    PqxxConnection(const PqxxConnection&) = delete;
    PqxxConnection& operator=(const PqxxConnection&) = delete;

   private:
    PqxxPolicy policy_;
};

/// A connection of libpqxx on one that is somebody else's.
class PqxxBorrowed {
   public:
    explicit PqxxBorrowed(pg_conn* connection) : connection_(connection) {}
    PqxxConnection& get() noexcept { return connection_; }

   private:
    PqxxConnection connection_;
};

#endif

}  // namespace detail

/// A PostgreSQL database of the program, whose callables get a `pqxx::transaction_base&`. Otherwise as PostgresDatasource.
class PqxxDatasource : public DatasourceOf<PqxxDatasource, pqxx::transaction_base&> {
   public:
    static constexpr bool is_sqlite = false;
    /// As the constructors of PostgresDatasource.
    explicit PqxxDatasource(const std::string& url, const DatasourceOptions& options = {})
        : DatasourceOf(detail::postgres_datasource(url, options)) {}
    explicit PqxxDatasource(std::shared_ptr<ConnectionSource> source, const DatasourceOptions& options = {})
        : DatasourceOf(detail::borrowing_datasource(std::move(source), is_sqlite, options)) {}
    explicit PqxxDatasource(std::shared_ptr<runtime::Datasource> state) noexcept
        : DatasourceOf(std::move(state)) {}

    template <class With>
    static void lend(const detail::LentConnection& connection, With&& with) {
        // libpqxx sets a notice processor, which must not outlive its connection object.
        struct Notices {
            pg_conn* connection;
            PQnoticeProcessor processor;
            ~Notices() { PQsetNoticeProcessor(connection, processor, nullptr); }
        } const notices{connection.postgres, PQsetNoticeProcessor(connection.postgres, nullptr, nullptr)};
        detail::PqxxBorrowed borrowed(connection.postgres);
        pqxx::nontransaction transaction(borrowed.get(), "dbos");
        pqxx::transaction_base& argument = transaction;
        with(argument);
    }
};

}  // namespace dbos
