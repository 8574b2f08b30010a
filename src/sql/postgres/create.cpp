// Creation of the database itself, through the maintenance database of the server.
#include "sql/open.hpp"
#include "sql/postgres/link.hpp"
#include "sql/text.hpp"

namespace dbos::sql::postgres {

namespace {

std::string quote_literal(std::string_view text) {
    std::string quoted = " E'";
    for (const char c : text) {
        if (c == '\'' || c == '\\') quoted += c;
        quoted += c;
    }
    return quoted += '\'';
}

ResultPtr ask(Link& link, const std::string& text, const Url& url) {
    try {
        return link.simple(text.c_str());
    } catch (const LinkLost& lost) {
        throw DatabaseError(DatabaseErrorKind::connection,
                            "the connection to " + url.printable + " was lost: " + lost.message);
    }
}

bool exists(const OpenOptions& options) {
    try {
        Link link;
        link.connect(options);
        return true;
    } catch (const DatabaseError&) {
        return false;
    }
}

}  // namespace

bool create_database_if_missing(const Url& url) {
    OpenOptions options;
    options.url = url;
    if (url.database.empty()) return false;  // libpq's default, which only the server's answer would tell
    Link link;
    try {
        link.connect(options, "postgres");
    } catch (const DatabaseError&) {
        // The maintenance database may be closed to this role; then the database must be there already.
        if (exists(options)) return false;
        throw;
    }
    const ResultPtr found =
        ask(link, "SELECT 1 FROM pg_catalog.pg_database WHERE datname =" + quote_literal(url.database), url);
    if (PQresultStatus(found.get()) != PGRES_TUPLES_OK) throw error_of(found.get(), "find database", false);
    if (PQntuples(found.get()) > 0) return false;
    const ResultPtr made = ask(link, "CREATE DATABASE " + quote_identifier(url.database), url);
    if (PQresultStatus(made.get()) == PGRES_COMMAND_OK) return true;
    const char* sqlstate = PQresultErrorField(made.get(), PG_DIAG_SQLSTATE);
    const std::string_view state = sqlstate != nullptr ? sqlstate : "";
    if (state == "42P04" || state == "23505") return false;  // another process was faster
    throw error_of(made.get(), "create database", false);
}

}  // namespace dbos::sql::postgres
