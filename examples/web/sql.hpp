// A few lines of SQL on SQLite or on PostgreSQL, in the database that the workflows are in.
//
//   web::Database database(app, url);
//   auto id = database.transaction(ctx, "create_order", [](web::Sql& sql) {     // in a workflow: exactly once
//       return std::stoi(sql("INSERT INTO orders (status) VALUES ($1) RETURNING order_id", 0).at(0).at(0));
//   });
//   auto rows = database.run([](web::Sql& sql) { return sql("SELECT * FROM orders"); });   // elsewhere
#pragma once

#include <libpq-fe.h>
#include <sqlite3.h>

#include <dbos/dbos.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace web {

/// The connection that a transaction lends. Calls execute one statement with parameters $1, $2 … and return the rows, each
/// column as text, NULL as "". Throws std::runtime_error.
class Sql {
   public:
    using Rows = std::vector<std::vector<std::string>>;

    explicit Sql(sqlite3* connection) : sqlite_(connection) {}
    explicit Sql(PGconn* connection) : postgres_(connection) {}
    bool sqlite() const { return sqlite_ != nullptr; }

    template <class... P>
    Rows operator()(const char* statement, const P&... parameters) {
        std::vector<std::string> texts;
        (texts.push_back(text(parameters)), ...);
        return sqlite() ? on_sqlite(statement, texts) : on_postgres(statement, texts);
    }

   private:
    static std::string text(const std::string& value) { return value; }
    static std::string text(int value) { return std::to_string(value); }

    Rows on_sqlite(const char* statement, const std::vector<std::string>& parameters) {
        sqlite3_stmt* made = nullptr;
        const int prepared = sqlite3_prepare_v2(sqlite_, statement, -1, &made, nullptr);
        const std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> query(made, sqlite3_finalize);
        if (prepared != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(sqlite_));
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            const int index =
                sqlite3_bind_parameter_index(query.get(), ("$" + std::to_string(i + 1)).c_str());
            sqlite3_bind_text(query.get(), index, parameters[i].c_str(), -1, SQLITE_STATIC);
        }
        Rows rows;
        int code = SQLITE_OK;
        while ((code = sqlite3_step(query.get())) == SQLITE_ROW) {
            auto& row = rows.emplace_back();
            for (int column = 0; column < sqlite3_column_count(query.get()); ++column) {
                const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(query.get(), column));
                row.emplace_back(bytes != nullptr ? bytes : "");
            }
        }
        if (code != SQLITE_DONE) throw std::runtime_error(sqlite3_errmsg(sqlite_));
        return rows;
    }

    Rows on_postgres(const char* statement, const std::vector<std::string>& parameters) {
        std::vector<const char*> values;
        for (const auto& parameter : parameters) values.push_back(parameter.c_str());
        const std::unique_ptr<PGresult, void (*)(PGresult*)> result(
            PQexecParams(postgres_, statement, static_cast<int>(values.size()), nullptr, values.data(),
                         nullptr, nullptr, 0),
            PQclear);
        const auto status = PQresultStatus(result.get());
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
            throw std::runtime_error(PQerrorMessage(postgres_));
        Rows rows;
        for (int row = 0; row < PQntuples(result.get()); ++row) {
            auto& columns = rows.emplace_back();
            for (int column = 0; column < PQnfields(result.get()); ++column)
                columns.emplace_back(PQgetvalue(result.get(), row, column));
        }
        return rows;
    }

    sqlite3* sqlite_ = nullptr;
    PGconn* postgres_ = nullptr;
};

/// The system database of an App, for tables of the program. Usable while the App is launched.
class Database {
   public:
    Database(dbos::App& app, const std::string& url)
        : datasource_(url.starts_with("sqlite:")
                          ? Datasource(app.system_datasource<dbos::SqliteDatasource>())
                          : Datasource(app.system_datasource<dbos::PostgresDatasource>())) {}

    /// A transactional step: what `function(Sql&)` writes and the record of the step are one transaction.
    template <class F>
    auto transaction(dbos::Context& ctx, const dbos::Name& name, F function) const {
        return std::visit(
            [&](const auto& datasource) {
                return ctx.transaction(datasource, name, [&](auto* connection) {
                    Sql sql(connection);
                    return function(sql);
                });
            },
            datasource_);
    }

    /// One transaction outside of a workflow.
    template <class F>
    auto run(F function) const {
        return std::visit(
            [&](const auto& datasource) {
                return datasource.run([&](auto* connection) {
                    Sql sql(connection);
                    return function(sql);
                });
            },
            datasource_);
    }

   private:
    using Datasource = std::variant<dbos::SqliteDatasource, dbos::PostgresDatasource>;
    Datasource datasource_;
};

}  // namespace web
