#include "sql/text.hpp"

#include <charconv>
#include <cstddef>

namespace dbos::sql {

namespace {

bool starts_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool in_name(char c) { return starts_name(c) || is_digit(c); }

/// Whether expand() has to look closer at what begins with this character.
bool may_begin_something(char c) {
    return c == '\'' || c == '"' || c == '-' || c == '/' || c == '@' || c == '$';
}

/// The end (one past) of the literal, quoted identifier or comment that begins at `at`; `at` if none begins there.
std::size_t skip_opaque(std::string_view text, std::size_t at) {
    const char c = text[at];
    const auto until = [&](std::string_view end, std::size_t from) {
        const std::size_t found = text.find(end, from);
        return found == std::string_view::npos ? text.size() : found + end.size();
    };
    // A doubled quote ends one literal and begins the next, which comes to the same.
    if (c == '\'' || c == '"') return until(std::string_view(&c, 1), at + 1);
    if (c == '-' && text.substr(at, 2) == "--") return until("\n", at + 2);
    if (c == '/' && text.substr(at, 2) == "/*") return until("*/", at + 2);
    return at;
}

std::size_t name_end(std::string_view text, std::size_t from) {
    while (from < text.size() && in_name(text[from])) ++from;
    return from;
}

void append_json_string(std::string& out, std::string_view text) {
    constexpr char kHex[] = "0123456789abcdef";
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20) {
            out += "\\u00";
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        } else {
            out += c;
        }
    }
    out += '"';
}

template <class Array, class Append>
void append_array(std::string& out, const Array& values, Append append) {
    out += '[';
    bool first = true;
    for (const auto& value : values) {
        if (!first) out += ',';
        first = false;
        if (value) {
            append(*value);
        } else {
            out += "null";
        }
    }
    out += ']';
}

void check_nul(std::string_view text, std::string_view statement, std::size_t number) {
    if (text.find('\0') == std::string_view::npos) return;
    throw UsageError(
        "statement \"" + std::string(statement) + "\": parameter " + std::to_string(number) +
        " holds the character U+0000, which the system database cannot store; remove or escape it");
}

}  // namespace

std::string quote_identifier(std::string_view name) {
    std::string quoted = "\"";
    for (const char c : name) {
        if (c == '"') quoted += '"';
        quoted += c;
    }
    return quoted += '"';
}

std::string expand(std::string_view text, Backend backend, std::string_view schema) {
    const std::string prefix = backend == Backend::postgres ? quote_identifier(schema) + "." : std::string();
    std::string out;
    out.reserve(text.size() + 64);
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t plain = at;
        while (at < text.size() && !may_begin_something(text[at])) ++at;
        out += text.substr(plain, at - plain);
        if (at == text.size()) break;
        const std::size_t opaque = skip_opaque(text, at);
        if (opaque != at) {
            out += text.substr(at, opaque - at);
            at = opaque;
            continue;
        }
        const char c = text[at];
        const char before = at > 0 ? text[at - 1] : ' ';
        const char after = at + 1 < text.size() ? text[at + 1] : ' ';
        if (c == '@' && starts_name(after) && before != '<' && before != '@' && !in_name(before)) {
            const std::size_t end = name_end(text, at + 1);
            out += prefix;
            out += text.substr(at + 1, end - at - 1);
            at = end;
        } else if (c == '$' && backend == Backend::sqlite && is_digit(after) && !in_name(before)) {
            out += '?';
            ++at;
        } else {
            out += c;
            ++at;
        }
    }
    return out;
}

void refuse_nul(const Params& params, std::string_view statement) {
    for (std::size_t i = 0; i < params.size(); ++i) {
        if (const auto* text = std::get_if<std::string_view>(&params[i])) {
            check_nul(*text, statement, i + 1);
        } else if (const auto* array = std::get_if<TextArray>(&params[i])) {
            for (const auto& element : *array) {
                if (element) check_nul(*element, statement, i + 1);
            }
        }
    }
}

void append_json(std::string& out, const TextArray& values) {
    append_array(out, values, [&out](std::string_view text) { append_json_string(out, text); });
}

void append_json(std::string& out, const IntArray& values) {
    append_array(out, values, [&out](std::int64_t number) {
        char digits[24];
        out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
    });
}

void append_json(std::string& out, const BoolArray& values) {
    append_array(out, values, [&out](bool value) { out += value ? "true" : "false"; });
}

}  // namespace dbos::sql
