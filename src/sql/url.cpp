#include <libpq-fe.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sql/open.hpp"

namespace dbos::sql {

namespace {

constexpr std::string_view kForms =
    "expected postgresql://user:password@host:port/database, sqlite:///relative/file, "
    "sqlite:////absolute/file or "
    "sqlite:///:memory:";

/// Hides what may be a password, also in texts that do not parse: all between the scheme and the last @, and values of keys
/// that end in "password".
std::string mask(const std::string& text) {
    std::string masked = text;
    const std::size_t scheme = masked.find("://");
    const std::size_t at = masked.rfind('@');
    if (at != std::string::npos) {
        const std::size_t colon = masked.find(':', scheme == std::string::npos ? 0 : scheme + 3);
        if (colon < at) masked.replace(colon + 1, at - colon - 1, "***");
    }
    const bool query = scheme != std::string::npos;
    for (std::size_t from = 0; (from = masked.find("password", from)) != std::string::npos;) {
        from += 8;
        std::size_t value = masked.find_first_not_of(' ', from);
        if (value == std::string::npos || masked[value] != '=') continue;
        value = masked.find_first_not_of(' ', value + 1);
        if (value == std::string::npos) break;
        std::size_t end = value;
        if (masked[value] == '\'') {
            for (++end; end < masked.size() && masked[end] != '\''; ++end) {
                if (masked[end] == '\\') ++end;
            }
            end = std::min(end + 1, masked.size());
        } else {
            end = std::min(masked.find(query ? '&' : ' ', value), masked.size());
        }
        masked.replace(value, end - value, "***");
        from = value;
    }
    return masked;
}

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
    throw ConfigError("system database URL \"" + mask(text) + "\": " + why);
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/// nullopt if a % is not followed by two hexadecimal digits, or stands for U+0000.
std::optional<std::string> percent_decoded(std::string_view text) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded += text[i];
            continue;
        }
        const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0 || high + low == 0) return std::nullopt;
        decoded += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return decoded;
}

Url sqlite_url(const std::string& text, std::string_view rest) {
    Url url;
    url.backend = Backend::sqlite;
    if (rest.starts_with("//")) {
        // SQLAlchemy: an empty host, then the path behind one slash.
        rest.remove_prefix(2);
        if (!rest.empty() && rest.front() != '/') {
            refuse(text,
                   "a SQLite URL has no host; write three slashes for a relative path, four for an absolute "
                   "one");
        }
        if (!rest.empty()) rest.remove_prefix(1);
        if (const std::size_t query = rest.find('?'); query != std::string_view::npos) {
            if (query + 1 < rest.size())
                refuse(text, "parameters after the file name are not supported for SQLite");
            rest = rest.substr(0, query);
        }
        const auto decoded = percent_decoded(rest);
        if (!decoded)
            refuse(text, "a % must be followed by two hexadecimal digits; write %25 for a percent sign");
        url.path = *decoded;
    } else {
        url.path = rest;
    }
    if (url.path.empty())
        refuse(text, "the file name is missing; write sqlite:///file.sqlite or sqlite:///:memory:");
    if (url.path.find('\0') != std::string::npos) refuse(text, "the file name holds the character U+0000");
    const bool absolute = url.path.front() == '/';
    url.printable = (absolute ? "sqlite:////" : "sqlite:///") + url.path.substr(absolute ? 1 : 0);
    return url;
}

bool known_parameter(std::string_view key) {
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> defaults(PQconndefaults(),
                                                                                &PQconninfoFree);
    for (const PQconninfoOption* option = defaults.get(); option != nullptr && option->keyword != nullptr;
         ++option) {
        if (key == option->keyword) return true;
    }
    return key == "ssl";  // JDBC's ssl=true, which libpq translates
}

/// Whether a character of the password that is not encoded has cut the URL at another place than meant; libpq may accept
/// that, and take a part of the password for the host.
bool cut_by_password(std::string_view rest) {
    const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
    const auto ats = std::ranges::count(authority, '@');
    if (ats > 1) return true;
    const std::string_view path = rest.substr(0, rest.find('?'));
    if (ats == 1 || rest.find('@') == std::string_view::npos) return false;
    const std::size_t colon = authority.rfind(':');
    const bool odd_port = colon != std::string_view::npos &&
                          authority.find(']', colon) == std::string_view::npos &&
                          authority.find_first_not_of("0123456789,", colon + 1) != std::string_view::npos;
    return odd_port || path.find('@') != std::string_view::npos;
}

/// What is wrong with a PostgreSQL URL that libpq refuses. libpq's own message may quote the password.
std::string diagnose(std::string_view rest) {
    if (!percent_decoded(rest))
        return "a % must be followed by two hexadecimal digits; write %25 for a percent sign";
    if (const std::size_t query = rest.find('?'); query != std::string_view::npos) {
        std::string_view pairs = rest.substr(query + 1);
        while (!pairs.empty()) {
            const std::string_view pair = pairs.substr(0, pairs.find('&'));
            pairs.remove_prefix(std::min(pairs.size(), pair.size() + 1));
            const std::size_t equals = pair.find('=');
            if (equals == std::string_view::npos)
                return "every parameter behind the ? has the form name=value";
            const std::string key(pair.substr(0, equals));
            if (!known_parameter(key)) return "the parameter \"" + key + "\" is not one of libpq";
        }
    }
    return "malformed; " + std::string(kForms);
}

Url postgres_url(const std::string& text, const std::string& conninfo, std::string_view rest, bool is_url) {
    if (is_url && cut_by_password(rest)) {
        refuse(text,
               "user name and password must be percent-encoded (@ as %40, / as %2F, ? as %3F, : as %3A, % as "
               "%25)");
    }
    char* message = nullptr;
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
        PQconninfoParse(conninfo.c_str(), &message), &PQconninfoFree);
    PQfreemem(message);
    if (!options) {
        refuse(text,
               is_url ? diagnose(rest)
                      : "malformed; expected key=value pairs as libpq reads them, values in '…' if needed");
    }
    std::map<std::string, std::string> given;
    for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
        if (option->val != nullptr && *option->val != '\0') given.emplace(option->keyword, option->val);
    }
    Url url;
    url.backend = Backend::postgres;
    url.conninfo = conninfo;
    url.database = given.contains("dbname") ? given["dbname"] : given["user"];
    url.printable = "postgresql://" + given["user"] + (given.contains("password") ? ":***" : "") +
                    (given["user"].empty() && !given.contains("password") ? "" : "@") +
                    (given.contains("host") ? given["host"] : given["hostaddr"]) +
                    (given.contains("port") ? ":" + given["port"] : "") + "/" + url.database;
    return url;
}

}  // namespace

Url Url::parse(const std::string& text) {
    if (text.empty()) throw ConfigError("the system database URL is empty; " + std::string(kForms));
    if (text.find('\0') != std::string::npos) refuse(text, "it holds the character U+0000");
    const std::size_t colon = text.find(':');
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos && (colon == std::string::npos || equals < colon)) {
        return postgres_url(text, text, {}, false);  // libpq's key=value form
    }
    if (colon == std::string::npos) refuse(text, "the scheme is missing; " + std::string(kForms));
    // SQLAlchemy names its driver behind a plus sign.
    const std::string scheme = text.substr(0, std::min(colon, text.find('+')));
    const std::string rest = text.substr(colon + 1);
    if (scheme == "sqlite" || scheme == "sqlite3") return sqlite_url(text, rest);
    if (scheme == "postgresql" || scheme == "postgres") {
        if (!rest.starts_with("//"))
            refuse(text, "two slashes must follow the scheme; " + std::string(kForms));
        return postgres_url(text, scheme + ":" + rest, std::string_view(rest).substr(2), true);
    }
    refuse(text, "the scheme \"" + scheme + "\" is unknown; " + std::string(kForms));
}

}  // namespace dbos::sql
