#include "value/text.hpp"

#include <array>

namespace dbos {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int16_t, 256> kDigits = [] {
    std::array<std::int16_t, 256> digits{};
    digits.fill(-1);
    for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
        digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int16_t>(i);
    }
    return digits;
}();

unsigned byte_at(std::string_view text, std::size_t at) noexcept {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
}

bool continues(std::string_view text, std::size_t at) noexcept {
    return (byte_at(text, at) & 0xC0U) == 0x80U;
}

}  // namespace

std::size_t utf8_length(std::string_view text, std::size_t at, bool surrogates) noexcept {
    const unsigned first = byte_at(text, at);
    if (at >= text.size()) return 0;
    if (first < 0x80U) return 1;
    const unsigned second = byte_at(text, at + 1);
    if (first >= 0xC2U && first <= 0xDFU) return continues(text, at + 1) ? 2 : 0;
    if (first >= 0xE0U && first <= 0xEFU) {
        if (!continues(text, at + 1) || !continues(text, at + 2)) return 0;
        if (first == 0xE0U && second < 0xA0U) return 0;
        if (first == 0xEDU && second >= 0xA0U && !surrogates) return 0;
        return 3;
    }
    if (first >= 0xF0U && first <= 0xF4U) {
        if (!continues(text, at + 1) || !continues(text, at + 2) || !continues(text, at + 3)) return 0;
        if (first == 0xF0U && second < 0x90U) return 0;
        if (first == 0xF4U && second >= 0x90U) return 0;
        return 4;
    }
    return 0;
}

std::size_t find_invalid_utf8(std::string_view text) noexcept {
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t length = utf8_length(text, at);
        if (length == 0) return at;
        at += length;
    }
    return std::string_view::npos;
}

bool has_surrogate(std::string_view text) noexcept {
    bool found = false;
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t length = utf8_length(text, at, true);
        if (length == 0) return false;
        found = found || utf8_length(text, at) == 0;
        at += length;
    }
    return found;
}

void append_utf8(std::string& text, std::uint32_t code_point) {
    const auto put = [&text](std::uint32_t byte) { text.push_back(static_cast<char>(byte)); };
    if (code_point < 0x80U) {
        put(code_point);
    } else if (code_point < 0x800U) {
        put(0xC0U | (code_point >> 6U));
        put(0x80U | (code_point & 0x3FU));
    } else if (code_point < 0x10000U) {
        put(0xE0U | (code_point >> 12U));
        put(0x80U | ((code_point >> 6U) & 0x3FU));
        put(0x80U | (code_point & 0x3FU));
    } else {
        put(0xF0U | (code_point >> 18U));
        put(0x80U | ((code_point >> 12U) & 0x3FU));
        put(0x80U | ((code_point >> 6U) & 0x3FU));
        put(0x80U | (code_point & 0x3FU));
    }
}

std::string to_base64(std::string_view bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t count = bytes.size() - i < 3 ? bytes.size() - i : 3;
        const unsigned group =
            (byte_at(bytes, i) << 16U) | (byte_at(bytes, i + 1) << 8U) | byte_at(bytes, i + 2);
        text.push_back(kAlphabet[(group >> 18U) & 63U]);
        text.push_back(kAlphabet[(group >> 12U) & 63U]);
        text.push_back(count > 1 ? kAlphabet[(group >> 6U) & 63U] : '=');
        text.push_back(count > 2 ? kAlphabet[group & 63U] : '=');
    }
    return text;
}

std::string to_base64(const Bytes& bytes) {
    return to_base64(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::optional<std::string> from_base64(std::string_view text, bool blanks) {
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3);
    unsigned group = 0;
    int digits = 0;
    int padding = 0;
    for (const char c : text) {
        if (blanks && (c == ' ' || c == '\n' || c == '\r' || c == '\t')) continue;
        if (c == '=') {
            if (++padding > 2 || digits < 2) return std::nullopt;
            continue;
        }
        const int digit = kDigits[static_cast<unsigned char>(c)];
        if (digit < 0 || padding != 0) return std::nullopt;
        group = (group << 6U) | static_cast<unsigned>(digit);
        if (++digits == 4) {
            bytes.push_back(static_cast<char>(group >> 16U));
            bytes.push_back(static_cast<char>(group >> 8U));
            bytes.push_back(static_cast<char>(group));
            group = 0;
            digits = 0;
        }
    }
    if (digits == 0) return padding == 0 ? std::optional(bytes) : std::nullopt;
    if (digits + padding != 4) return std::nullopt;
    if (digits == 2) {
        if ((group & 0xFU) != 0) return std::nullopt;
        bytes.push_back(static_cast<char>(group >> 4U));
    } else {
        if ((group & 0x3U) != 0) return std::nullopt;
        bytes.push_back(static_cast<char>(group >> 10U));
        bytes.push_back(static_cast<char>(group >> 2U));
    }
    return bytes;
}

}  // namespace dbos
