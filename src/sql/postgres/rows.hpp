// What a PGresult says, as a Result.
#pragma once

#include <libpq-fe.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "sql/connection.hpp"
#include "sql/postgres/link.hpp"

namespace dbos::sql::postgres {

class PostgresRows final : public Result::Rows {
   public:
    explicit PostgresRows(ResultPtr result) : result_(std::move(result)) {}
    std::size_t rows() const noexcept override { return static_cast<std::size_t>(PQntuples(result_.get())); }
    std::size_t columns() const noexcept override {
        return static_cast<std::size_t>(PQnfields(result_.get()));
    }
    Cell cell(std::size_t row, std::size_t column) const override {
        const int r = static_cast<int>(row);
        const int c = static_cast<int>(column);
        if (PQgetisnull(result_.get(), r, c) != 0) return {};
        return Cell(
            {PQgetvalue(result_.get(), r, c), static_cast<std::size_t>(PQgetlength(result_.get(), r, c))});
    }
    std::string_view column_name(std::size_t column) const override {
        const char* name = PQfname(result_.get(), static_cast<int>(column));
        return name != nullptr ? name : "";
    }

   private:
    ResultPtr result_;
};

inline Result result_of(ResultPtr result) {
    if (PQresultStatus(result.get()) == PGRES_TUPLES_OK)
        return {std::make_unique<PostgresRows>(std::move(result)), 0};
    std::int64_t affected = 0;
    const char* const count = PQcmdTuples(result.get());
    std::from_chars(count, count + std::strlen(count), affected);
    return {nullptr, affected};
}

}  // namespace dbos::sql::postgres
