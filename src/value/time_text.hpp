// RFC 3339 texts and dates.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dbos/value.hpp"

namespace dbos {

/// `2025-06-15T10:30:00.123Z`, offset `+02:00` or `Z`; `T` may be a blank or `t`, up to nine fraction digits
/// (more: nullopt), leap seconds refused. A text without offset is refused unless `local` is given, then it
/// is taken as UTC. nullopt for other texts.
std::optional<Timestamp> parse_rfc3339(std::string_view text, bool local = false);

/// The same as milliseconds since 1970, rounded down.
std::optional<std::int64_t> parse_epoch_ms(std::string_view text);

/// UTC with `digits` fraction digits (0, 3, 6 or 9) and `Z`; years outside 0 … 9999 as `±YYYYYY`. The rest is
/// cut off.
std::string format_utc(const Timestamp& time, int digits);

/// UTC with three digits: what Python and TypeScript write.
std::string format_epoch_ms(std::int64_t epoch_ms);

/// In its own offset, without trailing zeros in the fraction and without offset text:
/// `2025-06-15T12:30:00.5`.
std::string format_local(const Timestamp& time);

}  // namespace dbos
