// Python's pickle, as far as JSON goes: None, bool, int of 64 bits, float, str, list, tuple, dict with texts as keys.
#pragma once

#include <string>
#include <string_view>

#include "dbos/value.hpp"

namespace dbos {

/// Base64 of protocol 4, which every supported Python reads. Throws EncodeError.
std::string write_plain_pickle(const Value& value);

/// Base64 whose bytes begin as a pickle of protocol 2 to 5 does.
bool looks_like_pickle(std::string_view text) noexcept;

/// Runs nothing and looks nothing up. Throws DecodeError, also for everything beyond plain values.
Value read_plain_pickle(std::string_view text);

}  // namespace dbos
