// The conditions of listings and aggregates, put together as text with their parameters.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sysdb/listing.hpp"
#include "sysdb/schema/layout.hpp"

namespace dbos::sysdb {

/// `expression` is one of the texts of parameter `n`.
std::string is_one_of(sql::Backend backend, std::string_view expression, std::size_t n);
/// A payload column of `ws`, where it may stand in either place; `table` = alias of the payload table.
std::string payload(const Layout& layout, const char* table, const char* column);
/// Layout A may become B under a living client (safety.md 31): the version of the same snapshot tells.
std::string version_column(const Layout& layout);

/// Collects conditions. Views of the query go into the parameters, so it must outlive them.
class ConditionText {
   public:
    ConditionText(const Layout& layout, sql::Backend backend) : layout_(layout), backend_(backend) {}

    /// All filters of a listing, on `ws`.
    void filters(const ListQuery& query);
    void also(const std::string& condition);
    /// Adds a parameter; its number.
    std::string add(sql::Param param);
    /// `column` nullptr: the database has none, so it is NULL in every row.
    void one_of(const char* column, const ListQuery::Texts& texts, bool null_matches = false);
    void prefixes(const char* column, const ListQuery::Texts& prefixes);
    void bound(const char* column, const char* comparison, const std::optional<Millis>& value);
    void flag(const char* column, const std::optional<bool>& value);
    const char* cast() const { return backend_ == sql::Backend::postgres ? "::bigint" : ""; }

    /// "" or " WHERE …".
    const std::string& where() const noexcept { return where_; }
    const sql::Params& params() const noexcept { return params_; }

   private:
    void flags(const ListQuery& query);

    const Layout& layout_;
    const sql::Backend backend_;
    std::string where_;
    sql::Params params_;
};

/// PostgreSQL's statement_timeout, for the transaction: '<n>' milliseconds.
extern const sql::Statement kListingTimeout;

}  // namespace dbos::sysdb
