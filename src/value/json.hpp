// JSON text to Value and the pieces of the way back. The text is parsed by nlohmann's SAX interface; what
// that library refuses or rounds and stored texts hold all the same (lone surrogates, NaN tokens, integers of
// any size) is carried around it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "dbos/value.hpp"

namespace dbos {

/// What a stored text may hold at most (serialization formats, limits).
struct JsonLimits {
    std::size_t bytes = std::size_t{64} << 20U;
    std::size_t depth = 512;
    std::size_t nodes = 1'000'000;
    std::size_t digits = 4300;  // of one integer
};

struct JsonReadOptions {
    JsonLimits limits = {};
    /// Accept the tokens NaN, Infinity and -Infinity, which Python's writer emits.
    bool nonfinite = false;
    /// Numbers with fraction or exponent become the annotation `number` {value, text}, for formats that need
    /// the token.
    bool number_text = false;
    /// Named in errors.
    std::string_view format = {};
};

/// The whole text. Digits-only tokens are integers (exact at any size), all others doubles; duplicate
/// members: the last wins, at the place of the first; lone surrogate escapes become WTF-8. Throws DecodeError
/// with refusal bad_utf8, bad_json, bad_number, depth or limit.
Value parse_json(std::string_view text, const JsonReadOptions& options = {});

/// Appends a string literal, escaping only what JSON must escape. False (and nothing usable appended) if the
/// text is not valid UTF-8.
[[nodiscard]] bool append_json_string(std::string& out, std::string_view text);

/// Appends the shortest text that reads back as the same double, with `.` or exponent: `5.0`, `1e+21`,
/// `-0.0`. Finite only.
void append_json_number(std::string& out, double value);
void append_json_integer(std::string& out, std::int64_t value);

}  // namespace dbos
