#include "value/json_scan.hpp"

#include <charconv>

#include "value/text.hpp"

namespace dbos::json {
namespace {

// Digits that surely fit in a double, so that the parser passes the token through.
constexpr std::size_t kPlainDigits = 300;

std::optional<std::uint32_t> unicode_escape(std::string_view text, std::size_t at) {
    if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return std::nullopt;
    std::uint32_t unit = 0;
    const char* const begin = text.data() + at + 2;
    const auto [end, error] = std::from_chars(begin, begin + 4, unit, 16);
    if (error != std::errc() || end != begin + 4) return std::nullopt;
    return unit;
}

class Scanner {
   public:
    Scanner(std::string_view text, const JsonReadOptions& options) : text_(text), options_(options) {}

    std::optional<std::string> run() {
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (c == '"') {
                ++at_;
                string();
            } else if (c == '-' || (c >= '0' && c <= '9')) {
                number();
            } else if (c == '\0') {
                // The parser would take it for the end of the text.
                refuse(options_, "bad_json", "JSON", "a NUL at byte " + std::to_string(at_));
            } else if (c == 'N') {
                token("NaN", "n");
            } else if (c == 'I') {
                token("Infinity", "p");
            } else {
                ++at_;
            }
        }
        if (copied_ == 0) return std::nullopt;
        out_.append(text_.substr(copied_));
        return std::move(out_);
    }

   private:
    // Replaces the next `length` bytes.
    void replace(std::size_t length, const std::string& by) {
        out_.append(text_.substr(copied_, at_ - copied_));
        out_.append(by);
        at_ += length;
        copied_ = at_;
    }

    void string() {
        while (at_ < text_.size() && text_[at_] != '"') {
            if (text_[at_] == '\\') {
                escape();
            } else if (text_.substr(at_, kMark.size()) == kMark) {
                replace(kMark.size(), std::string(kMark) + "e");
            } else {
                ++at_;
            }
        }
        ++at_;
    }

    void escape() {
        const auto unit = unicode_escape(text_, at_);
        if (!unit) {
            at_ += 2;
        } else if (*unit == 0xFDD0U) {
            replace(6, std::string(kMark) + "e");
        } else if (*unit < 0xD800U || *unit > 0xDFFFU) {
            at_ += 6;
        } else {
            const auto next = unicode_escape(text_, at_ + 6);
            if (*unit < 0xDC00U && next && *next >= 0xDC00U && *next <= 0xDFFFU) {
                at_ += 12;
            } else {
                replace(6, std::string(kMark) + "s" + std::string(text_.substr(at_ + 2, 4)));
            }
        }
    }

    void number() {
        const std::size_t sign = text_[at_] == '-' ? 1 : 0;
        if (sign == 1 && text_.substr(at_ + 1, 1) == "I") {
            token("-Infinity", "m");
            return;
        }
        std::size_t end = text_.find_first_not_of("0123456789", at_ + sign);
        if (end == std::string_view::npos) end = text_.size();
        const std::size_t digits = end - at_ - sign;
        const bool integer =
            end == text_.size() || std::string_view(".eE").find(text_[end]) == std::string_view::npos;
        if (!integer || digits <= kPlainDigits || text_[at_ + sign] == '0') {
            end = text_.find_first_not_of("0123456789.eE+-", end);
            at_ = end == std::string_view::npos ? text_.size() : end;
            return;
        }
        if (digits > options_.limits.digits) {
            refuse(options_, "bad_number", "an integer within the limit of digits",
                   std::to_string(digits) + " digits");
        }
        const std::size_t length = end - at_;
        replace(length, "\"" + std::string(kMark) + "b" + std::string(text_.substr(at_, length)) + "\"");
    }

    void token(std::string_view word, const char* letter) {
        if (options_.nonfinite && text_.substr(at_, word.size()) == word) {
            replace(word.size(), "\"" + std::string(kMark) + letter + "\"");
        } else {
            ++at_;
        }
    }

    std::string_view text_;
    const JsonReadOptions& options_;
    std::size_t at_ = 0;
    std::size_t copied_ = 0;
    std::string out_;
};

}  // namespace

void refuse(const JsonReadOptions& options, const char* code, std::string expected, std::string found) {
    throw DecodeError("$", std::move(expected), std::move(found), code, std::string(options.format));
}

std::optional<std::string> mark(std::string_view text, const JsonReadOptions& options) {
    if (text.size() > options.limits.bytes) {
        refuse(options, "limit", "a text within the size limit", std::to_string(text.size()) + " bytes");
    }
    const std::size_t invalid = find_invalid_utf8(text);
    if (invalid != std::string_view::npos) {
        refuse(options, "bad_utf8", "valid UTF-8", "an invalid byte at offset " + std::to_string(invalid));
    }
    // The parser would skip it; the other readers of these texts do not.
    if (text.substr(0, 3) == "\xEF\xBB\xBF") refuse(options, "bad_json", "JSON", "a byte order mark");
    return Scanner(text, options).run();
}

std::string unmark(std::string_view text) {
    std::string result;
    std::size_t at = 0;
    while (true) {
        const std::size_t found = text.find(kMark, at);
        result.append(text.substr(at, found - at));
        if (found == std::string_view::npos) return result;
        at = found + kMark.size() + 1;
        if (text[at - 1] == 's') {
            std::uint32_t unit = 0;
            std::from_chars(text.data() + at, text.data() + at + 4, unit, 16);
            append_utf8(result, unit);
            at += 4;
        } else {
            result.append(kMark);
        }
    }
}

}  // namespace dbos::json
