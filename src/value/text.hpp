// UTF-8, base64, FNV-1a: small functions over text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dbos/value.hpp"

namespace dbos {

/// Length in bytes of the UTF-8 character at `at`; 0 if it is no valid one. With `surrogates` the three-byte
/// forms of U+D800 … U+DFFF are allowed (WTF-8).
std::size_t utf8_length(std::string_view text, std::size_t at, bool surrogates = false) noexcept;

/// Offset of the first invalid byte; npos if the text is valid UTF-8.
std::size_t find_invalid_utf8(std::string_view text) noexcept;

/// Whether the text is valid WTF-8 and holds a lone surrogate.
bool has_surrogate(std::string_view text) noexcept;

/// Appends a code point as UTF-8 (surrogates as WTF-8).
void append_utf8(std::string& text, std::uint32_t code_point);

/// Standard alphabet, padded, no line breaks.
std::string to_base64(std::string_view bytes);
std::string to_base64(const Bytes& bytes);

/// Strict alphabet and padding (unused bits must be zero); nullopt otherwise. With `blanks`, spaces and line
/// breaks are skipped.
std::optional<std::string> from_base64(std::string_view text, bool blanks = false);

/// 32-bit FNV-1a.
constexpr std::uint32_t fnv1a_32(std::string_view text) noexcept {
    std::uint32_t hash = 2166136261U;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
    return hash;
}

}  // namespace dbos
