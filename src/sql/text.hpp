// Statement texts: expansion of @names and $n, and the JSON form of array parameters.
#pragma once

#include <string>
#include <string_view>

#include "sql/connection.hpp"

namespace dbos::sql {

/// `"name"` with inner quotes doubled.
std::string quote_identifier(std::string_view name);

/// Replaces @name by `"schema".name` (PostgreSQL) or `name` (SQLite), and, on SQLite, $1 by ?1. Literals, quoted
/// identifiers and comments stay as they are; so do the operators @>, <@, @@ and a lone @. The bodies of dollar quotes are
/// expanded as SQL.
std::string expand(std::string_view text, Backend backend, std::string_view schema);

/// Throws UsageError if a text of the parameters holds U+0000, which no database can store.
void refuse_nul(const Params& params, std::string_view statement);

void append_json(std::string& out, const TextArray& values);
void append_json(std::string& out, const IntArray& values);
void append_json(std::string& out, const BoolArray& values);

}  // namespace dbos::sql
