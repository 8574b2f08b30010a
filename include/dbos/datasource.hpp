// Transactional steps: what a step writes to the program's own database and the record of the step are one.
//
//   dbos::PostgresDatasource db("postgresql://localhost/shop");
//
//   void transfer(dbos::Context& ctx, const Transfer& order) {
//       ctx.transaction(db, "debit", [&](PGconn* connection) {
//           execute(connection, "UPDATE accounts SET cents = cents - $1 WHERE id = $2", order.cents, order.from);
//       });
//   }
//
// The callable runs in a transaction that the library begins and commits. Beside its rows the transaction writes one row that says
// so, into the table `datasource_outputs` of the same database; so the writes happen exactly once, wherever the process dies,
// whoever takes the workflow over. In the system database itself (App::system_datasource) the step's own record is that row.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "dbos/codec.hpp"
#include "dbos/connection_source.hpp"
#include "dbos/export.hpp"
#include "dbos/options.hpp"

namespace dbos {

namespace runtime {
class Datasource;
}

/// How transactions of concurrent steps are kept apart. On SQLite one transaction writes at a time: all are `serializable`.
enum class IsolationLevel : std::uint8_t {
    serializable,     ///< as if one after the other; what lost is run again
    repeatable_read,  ///< one snapshot; an update that lost against another is run again
    read_committed,   ///< each statement sees what was committed before it
};

/// Options of a transactional step.
struct TransactionOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    IsolationLevel isolation_level = IsolationLevel::serializable;
    /// The callable can write nothing. Only the step's result is recorded, nothing in the datasource: the cheaper step, and the
    /// one for a role or a server that may not write.
    bool read_only = false;
};

/// Options of a datasource.
struct DatasourceOptions {
    detail::named_members_only only_named_members = detail::named_members_only();
    /// Transactions that run at once; more wait for a connection. From 1.
    std::int64_t pool_size = 5;
    /// Schema of the table `datasource_outputs` (PostgreSQL; SQLite has none). Schema and table are created if they are missing.
    std::string schema = "dbos";
};

namespace detail {

/// What a callable may be lent: one of the two.
struct LentConnection {
    pg_conn* postgres = nullptr;
    sqlite3* sqlite = nullptr;
};

/// A borrowed callable of a transaction, type erased.
struct TransactionCall {
    void* object;
    Value (*invoke)(void*, const LentConnection&);
};

/// What all datasources are. Copies share their connections. Thread-safe.
class DBOS_EXPORT DatasourceBase {
   public:
    const std::shared_ptr<runtime::Datasource>& state() const noexcept { return state_; }

   protected:
    explicit DatasourceBase(std::shared_ptr<runtime::Datasource> state) noexcept : state_(std::move(state)) {}
    ~DatasourceBase() = default;
    DatasourceBase(const DatasourceBase&) = default;
    DatasourceBase& operator=(const DatasourceBase&) = default;

   private:
    std::shared_ptr<runtime::Datasource> state_;
};

DBOS_EXPORT std::shared_ptr<runtime::Datasource> postgres_datasource(const std::string& url,
                                                                     const DatasourceOptions& options);
DBOS_EXPORT std::shared_ptr<runtime::Datasource> sqlite_datasource(const std::string& path,
                                                                   const DatasourceOptions& options);
DBOS_EXPORT std::shared_ptr<runtime::Datasource> borrowing_datasource(
    std::shared_ptr<ConnectionSource> source, bool sqlite, const DatasourceOptions& options);
DBOS_EXPORT void run_alone(runtime::Datasource& datasource, const TransactionCall& call,
                           const TransactionOptions& options);

template <class D>
concept is_datasource = std::is_base_of_v<DatasourceBase, std::remove_cvref_t<D>>;

/// What a callable returns; void where it does not fit.
template <class D, class F>
struct TransactionReturn {
    using type = void;
    static constexpr bool fits = false;
};
template <is_datasource D, class F>
    requires std::is_invocable_v<F&, typename D::Argument>
struct TransactionReturn<D, F> {
    using type = std::invoke_result_t<F&, typename D::Argument>;
    static constexpr bool fits = true;
};
template <class D, class F>
using transaction_return_t = typename TransactionReturn<std::remove_cvref_t<D>, std::remove_cvref_t<F>>::type;
/// What a transactional step returns to the body: decayed, texts as std::string.
template <class D, class F, class R = transaction_return_t<D, F>>
using transaction_result_t =
    std::conditional_t<std::is_void_v<R>, void, stored_t<std::conditional_t<std::is_void_v<R>, int, R>>>;
template <class R>
using decayed_or_void = std::conditional_t<std::is_void_v<R>, void, std::decay_t<R>>;

template <class D, class F>
constexpr bool require_callable() {
    static_assert(is_datasource<D>,
                  "dbos: the first argument of a transaction is its datasource: dbos::PostgresDatasource, "
                  "dbos::SqliteDatasource, or one of dbos/ext/");
    if constexpr (is_datasource<D>) {
        constexpr bool fits = TransactionReturn<std::remove_cvref_t<D>, std::remove_cvref_t<F>>::fits;
        static_assert(fits,
                      "dbos: a transaction's callable takes what its datasource lends: PGconn* "
                      "(PostgresDatasource), sqlite3* (SqliteDatasource), pqxx::transaction_base& "
                      "(PqxxDatasource), SQLite::Database& (SqliteCppDatasource)");
        return fits;
    }
    return false;
}

}  // namespace detail

/// What datasources of one kind have in common; `self.lend(connection, with)` calls `with(argument)`.
template <class Self, class A>
class DatasourceOf : public detail::DatasourceBase {
   public:
    using Argument = A;

    /// Runs the callable in one transaction outside of a workflow, and returns its result: no record, no table. Run again
    /// as a whole when it lost against another transaction, so it must be repeatable; errors of the callable roll back. Throws
    /// OutcomeUnknown if the connection was lost at COMMIT, UsageError in a workflow's body (use ctx.transaction) and inside
    /// another transaction.
    template <class F>
    auto run(F&& function, const TransactionOptions& options = {}) const
        -> detail::decayed_or_void<detail::transaction_return_t<Self, F>> {
        using R = detail::decayed_or_void<detail::transaction_return_t<Self, F>>;
        using Fn = std::remove_reference_t<F>;
        if constexpr (detail::require_callable<Self, F>()) {
            struct Frame {
                const Self& datasource;
                Fn& function;
                std::optional<std::conditional_t<std::is_void_v<R>, int, R>> result = {};
            } frame{static_cast<const Self&>(*this), function};
            detail::run_alone(*state(),
                              {&frame,
                               [](void* object, const detail::LentConnection& connection) {
                                   Frame& to = *static_cast<Frame*>(object);
                                   to.datasource.lend(connection, [&to](auto&& argument) {
                                       if constexpr (std::is_void_v<R>) {
                                           to.function(argument);
                                       } else {
                                           to.result.emplace(to.function(argument));
                                       }
                                   });
                                   return Value();
                               }},
                              options);
            if constexpr (!std::is_void_v<R>) return std::move(*frame.result);
        }
    }

   protected:
    using DatasourceBase::DatasourceBase;
    ~DatasourceOf() = default;
    DatasourceOf(const DatasourceOf&) = default;
    DatasourceOf& operator=(const DatasourceOf&) = default;
};

/// A PostgreSQL database of the program. Callables get a `PGconn*` in an open transaction: they execute statements on it, and
/// neither COMMIT nor ROLLBACK nor BEGIN (savepoints are fine), nor keep it. Settings are made with SET LOCAL; a statement that
/// was prepared stays on its connection, and the next callable may get another one.
class PostgresDatasource : public DatasourceOf<PostgresDatasource, pg_conn*> {
   public:
    static constexpr bool is_sqlite = false;
    /// `postgresql://…`, with the parameters of libpq. Connects at the first transaction. Throws ConfigError for another form,
    /// UsageError for options that do not fit.
    explicit PostgresDatasource(const std::string& url, const DatasourceOptions& options = {})
        : DatasourceOf(detail::postgres_datasource(url, options)) {}
    /// Connections of the program's own pool (postgres_connections), which must live longer; looks at one of them. Throws
    /// DatabaseError if there is none.
    explicit PostgresDatasource(std::shared_ptr<ConnectionSource> source,
                                const DatasourceOptions& options = {})
        : DatasourceOf(detail::borrowing_datasource(std::move(source), is_sqlite, options)) {}
    /// Made by the library.
    explicit PostgresDatasource(std::shared_ptr<runtime::Datasource> state) noexcept
        : DatasourceOf(std::move(state)) {}

    template <class With>
    static void lend(const detail::LentConnection& connection, With&& with) {
        with(connection.postgres);
    }
};

/// A SQLite file of the program. Callables get a `sqlite3*` in an open transaction that holds the file's one writer lock:
/// they execute statements on it, finalize or reset them, and neither COMMIT nor ROLLBACK nor BEGIN (savepoints are fine), nor
/// keep it. The file is put into WAL mode; connections have foreign_keys on, synchronous FULL and extended result codes, and
/// their commit and rollback hooks are the library's meanwhile.
class SqliteDatasource : public DatasourceOf<SqliteDatasource, sqlite3*> {
   public:
    static constexpr bool is_sqlite = true;
    /// A path, or `sqlite:///path`; the file is created if it is missing. Opens it at the first transaction.
    explicit SqliteDatasource(const std::string& path, const DatasourceOptions& options = {})
        : DatasourceOf(detail::sqlite_datasource(path, options)) {}
    /// Connections of the program's own pool (sqlite_connections), which must live longer; looks at one of them. Throws
    /// DatabaseError if there is none.
    explicit SqliteDatasource(std::shared_ptr<ConnectionSource> source, const DatasourceOptions& options = {})
        : DatasourceOf(detail::borrowing_datasource(std::move(source), is_sqlite, options)) {}
    /// Made by the library.
    explicit SqliteDatasource(std::shared_ptr<runtime::Datasource> state) noexcept
        : DatasourceOf(std::move(state)) {}

    template <class With>
    static void lend(const detail::LentConnection& connection, With&& with) {
        with(connection.sqlite);
    }
};

}  // namespace dbos
