// Transactional steps for tests: one way to write them for both databases, in a database of the program and in the system database.
#pragma once

#include <libpq-fe.h>
#include <sqlite3.h>

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "runtime/executor.hpp"
#include "sql/text.hpp"
#include "support/app.hpp"
#include "support/faulty_connection.hpp"

namespace dbos::test {

struct SqlError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// The program's statements on the lent connection. `@name` is a table of the test's schema.
class Statements {
   public:
    Statements(PGconn* connection, std::string schema) : postgres_(connection), schema_(std::move(schema)) {}
    explicit Statements(sqlite3* connection) : sqlite_(connection) {}

    /// The first value of the result; throws SqlError.
    std::string operator()(const std::string& text) const {
        const auto backend = postgres_ ? sql::Backend::postgres : sql::Backend::sqlite;
        const std::string expanded = sql::expand(text, backend, schema_);
        std::string value;
        if (postgres_) {
            const std::unique_ptr<PGresult, void (*)(PGresult*)> result(PQexec(postgres_, expanded.c_str()),
                                                                        PQclear);
            const auto status = PQresultStatus(result.get());
            if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
                throw SqlError(PQerrorMessage(postgres_));
            if (PQntuples(result.get()) > 0) value = PQgetvalue(result.get(), 0, 0);
            return value;
        }
        const auto see = [](void* to, int, char** values, char**) {
            if (values[0]) *static_cast<std::string*>(to) = values[0];
            return 0;
        };
        char* message = nullptr;
        const int code = sqlite3_exec(sqlite_, expanded.c_str(), see, &value, &message);
        const std::string why = message ? message : "";
        sqlite3_free(message);
        if (code != SQLITE_OK) throw SqlError(why);
        return value;
    }
    PGconn* postgres() const noexcept { return postgres_; }
    sqlite3* sqlite() const noexcept { return sqlite_; }
    CallerTransaction caller() const {
        return postgres_ ? CallerTransaction(postgres_) : CallerTransaction(sqlite_);
    }

   private:
    PGconn* postgres_ = nullptr;
    sqlite3* sqlite_ = nullptr;
    std::string schema_;
};

/// A datasource of either kind.
class AnyDatasource {
   public:
    AnyDatasource(PostgresDatasource datasource, std::string schema)
        : postgres_(std::move(datasource)), schema_(std::move(schema)) {}
    explicit AnyDatasource(SqliteDatasource datasource) : sqlite_(std::move(datasource)) {}
    AnyDatasource(std::shared_ptr<runtime::Datasource> state, std::string schema)
        : schema_(std::move(schema)) {
        if (state->sqlite()) {
            sqlite_.emplace(std::move(state));
        } else {
            postgres_.emplace(std::move(state));
        }
    }

    template <class F>
    auto transaction(Context& ctx, const Name& name, F&& function,
                     const TransactionOptions& options = {}) const {
        if (postgres_)
            return ctx.transaction(
                *postgres_, name, [&](PGconn* c) { return function(Statements(c, schema_)); }, options);
        return ctx.transaction(*sqlite_, name, [&](sqlite3* c) { return function(Statements(c)); }, options);
    }
    template <class F>
    auto run(F&& function, const TransactionOptions& options = {}) const {
        if (postgres_)
            return postgres_->run([&](PGconn* c) { return function(Statements(c, schema_)); }, options);
        return sqlite_->run([&](sqlite3* c) { return function(Statements(c)); }, options);
    }
    const detail::DatasourceBase& base() const {
        return postgres_ ? static_cast<const detail::DatasourceBase&>(*postgres_) : *sqlite_;
    }
    runtime::Datasource& state() const { return *base().state(); }

   private:
    std::optional<PostgresDatasource> postgres_;
    std::optional<SqliteDatasource> sqlite_;
    std::string schema_;
};

enum class Where : std::uint8_t { own, system };

/// `entries(id primary key, n)` is in the database of the program (`own`: a file of its own on SQLite) and in the system database.
class TransactionTest : public AppTest {
   public:
    void SetUp() override {
        AppTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        {
            App creator(app_options("creator"));
            creator.launch();
        }
        for (const Where where : {Where::own, Where::system}) {
            if (postgres() && where == Where::system) continue;  // the same tables
            user(where)->query("CREATE TABLE @entries (id TEXT PRIMARY KEY, n INTEGER)", {},
                               sql::Access::write);
        }
    }
    sql::OpenOptions user_options(Where where) const {
        sql::OpenOptions open = options();
        if (!postgres() && where == Where::own) {
            open.url.path = (directory_.path() / "own.sqlite").string();
            open.url.printable = "sqlite:///" + open.url.path;
        }
        return open;
    }
    std::unique_ptr<sql::Connection> user(Where where) const { return sql::open(user_options(where)); }
    std::string user_value(Where where, const std::string& text) const {
        const auto found = user(where)->query(text);
        return found.empty() || found.at(0, 0).null() ? "" : found.at(0, 0).string();
    }
    std::string entries(Where where) const { return user_value(where, "SELECT count(*) FROM @entries"); }
    std::string witnesses() const {
        return user_value(Where::own, "SELECT count(*) FROM @datasource_outputs");
    }

    AnyDatasource datasource(App& app, Where where) {
        if (where == Where::own) return own();
        if (postgres()) return {app.system_datasource<PostgresDatasource>(), options().schema};
        return AnyDatasource(app.system_datasource<SqliteDatasource>());
    }
    AnyDatasource own() {
        const auto open = user_options(Where::own);
        if (postgres()) return {PostgresDatasource(database().url(), {.schema = open.schema}), open.schema};
        return AnyDatasource(SqliteDatasource(open.url.path));
    }
    /// Whose commits can be made to fail; its table is there already.
    AnyDatasource faulty(runtime::Executor& engine, Where where, sql::OpenOptions open) {
        std::shared_ptr<runtime::Datasource> state;
        if (where == Where::own) {
            state = std::make_shared<runtime::Datasource>(open, 5);
            state->ensure_table(*user(Where::own));
        } else {
            state = std::make_shared<runtime::Datasource>(open, 5, engine);
            state->bind({std::shared_ptr<void>(), &engine.database()});
        }
        return {state, open.schema};
    }
    AnyDatasource faulty(runtime::Executor& engine, Where where, const std::shared_ptr<Faults>& faults) {
        auto open = user_options(where);
        open.decorate = FaultyConnection::wrap(faults);
        return faulty(engine, where, std::move(open));
    }
    /// An engine whose workflow "job" is `body`.
    std::unique_ptr<runtime::Executor> engine(std::function<int(Context&)> body) {
        auto made = std::make_unique<runtime::Executor>(app_options());
        made->implement({.name = "job", .body = [body = std::move(body)](Context& ctx, const Arguments&) {
                             return to_value(body(ctx));
                         }});
        made->launch();
        return made;
    }
    static WorkflowHandle<int> start(runtime::Executor& engine, const std::string& id) {
        return detail::HandleAccess::make<int>(
            engine.start({}, {.workflow_name = "job", .workflow_id = id}, {}));
    }

    std::shared_ptr<runtime::Datasource> runtime_table() const {
        return std::make_shared<runtime::Datasource>(user_options(Where::own), 1);
    }
    static void inline_job(App& app, std::function<int(Context&)> body) {
        app.implement(workflow<int()>("job"), [body = std::move(body)](Context& ctx) { return body(ctx); });
    }
    static int run(App& app) {
        return app.start_workflow<int>({.workflow_name = "job"})
            .get_result({.timeout = std::chrono::seconds(30)});
    }
    /// A statement that fails as if the transaction had lost against another one.
    static void lose(const Statements& sql) {
        if (sql.postgres() != nullptr) {
            sql("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure'; END $$");
            return;
        }
        throw DatabaseError(DatabaseErrorKind::busy, "database is locked", "sqlite:5");
    }

   private:
    TemporaryDirectory directory_;
};

}  // namespace dbos::test
