// The daylight-saving rule that ends a TZif file (POSIX TZ, extended by RFC 8536 3.3): "EST5EDT,M3.2.0,M11.1.0". Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace dbos::core {

/// Which offset holds from one change to the next, for ever. Seconds everywhere; offsets count east of UTC.
class PosixRule {
   public:
    /// nullopt if the text is no rule of that grammar.
    static std::optional<PosixRule> parse(std::string_view text);

    struct Span {
        std::int64_t begin = 0;  // seconds since 1970; INT64_MIN and INT64_MAX stand for "always"
        std::int64_t end = 0;    // exclusive
        std::int32_t offset = 0;
    };
    /// The span that holds the instant `seconds`, which must lie within ±8e11 (years -23000 … 27000).
    Span span_at(std::int64_t seconds) const;

   private:
    /// A day of the year in one of the three forms, and a time on it, which may be negative or beyond 24 h.
    struct Change {
        enum class Form : std::uint8_t { julian, zero_based, weekday } form = Form::weekday;
        int month = 0;
        int week = 0;
        int day = 0;
        std::int32_t time = 0;
    };
    class Reader;
    static std::int64_t local_time(const Change& change, std::int64_t year);

    std::int32_t standard_ = 0;
    std::int32_t daylight_ = 0;
    bool changes_ = false;
    Change to_daylight_;
    Change to_standard_;
};

}  // namespace dbos::core
