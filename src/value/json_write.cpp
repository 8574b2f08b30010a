#include <charconv>

#include "value/json.hpp"
#include "value/text.hpp"

namespace dbos {
namespace {

void append_escape(std::string& out, unsigned char c) {
    switch (c) {
        case '"': out += "\\\""; return;
        case '\\': out += "\\\\"; return;
        case '\b': out += "\\b"; return;
        case '\f': out += "\\f"; return;
        case '\n': out += "\\n"; return;
        case '\r': out += "\\r"; return;
        case '\t': out += "\\t"; return;
        default: break;
    }
    constexpr const char* hex = "0123456789abcdef";
    out += "\\u00";
    out.push_back(hex[c >> 4U]);
    out.push_back(hex[c & 15U]);
}

}  // namespace

bool append_json_string(std::string& out, std::string_view text) {
    out.push_back('"');
    std::size_t copied = 0;
    std::size_t at = 0;
    while (at < text.size()) {
        const auto c = static_cast<unsigned char>(text[at]);
        if (c >= 0x80U) {
            const std::size_t length = utf8_length(text, at);
            if (length == 0) return false;
            at += length;
        } else if (c < 0x20U || c == '"' || c == '\\') {
            out.append(text.substr(copied, at - copied));
            append_escape(out, c);
            copied = ++at;
        } else {
            ++at;
        }
    }
    out.append(text.substr(copied));
    out.push_back('"');
    return true;
}

void append_json_number(std::string& out, double value) {
    char buffer[32];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
    const std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
    out.append(text);
    if (text.find_first_of(".e") == std::string_view::npos) out.append(".0");
}

void append_json_integer(std::string& out, std::int64_t value) {
    char buffer[24];
    out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}

}  // namespace dbos
