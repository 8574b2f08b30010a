// The pass over a JSON text before the parser sees it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "value/json.hpp"

namespace dbos::json {

// What the parser would refuse or round is replaced by strings that begin with the noncharacter U+FDD0, one
// letter behind it:
//   e            U+FDD0 itself, wherever the text holds it
//   s<4 hex>     a lone surrogate, inside a string
//   n, p, m      the tokens NaN, Infinity, -Infinity
//   b<digits>    an integer too long for a double
inline constexpr std::string_view kMark = "\xEF\xB7\x90";

/// The text with marks, or nothing if none was needed. Checks UTF-8 and limits; throws DecodeError.
std::optional<std::string> mark(std::string_view text, const JsonReadOptions& options);

/// Takes the marks out of a string. Only for texts that mark() rewrote.
std::string unmark(std::string_view text);

[[noreturn]] void refuse(const JsonReadOptions& options, const char* code, std::string expected,
                         std::string found);

}  // namespace dbos::json
