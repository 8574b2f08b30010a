// Time zones: which offset from UTC holds when. Pure: the bytes of a zone file come in as an argument; who reads them is
// platform/zone_file.hpp, or memory in tests and simulations.
//
// Own reader, because g++ 12 has no std::chrono::tzdb, and the packaged date-tz 3.0.1 reads files whenever it likes, holds
// its own locks, and ignores the rule at the end of a file, so that it knows no daylight saving after 2037.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace dbos::core {

/// A point in time in whole seconds; UTC, without leap seconds.
using Instant = std::chrono::sys_seconds;

/// An immutable zone; copies share their data. Thread-safe as any const object.
class TimeZone {
   public:
    /// UTC, named "UTC".
    TimeZone();

    /// From the bytes of a TZif file of version 2 or later (RFC 8536). Throws ConfigError if they are damaged, of version 1, or
    /// count leap seconds ("right/…"): such a zone is never guessed.
    static TimeZone from_tzif(std::string name, std::string_view bytes);
    /// From a POSIX rule such as "CET-1CEST,M3.5.0,M10.5.0/3". Throws ConfigError if it is none.
    static TimeZone from_rule(std::string name, std::string_view rule);

    const std::string& name() const noexcept;

    /// A stretch of time with one offset. Neighbouring spans may have the same one.
    struct Span {
        Instant begin;                   // Instant::min() = since ever
        Instant end;                     // exclusive; Instant::max() = for ever
        std::chrono::seconds offset{0};  // east of UTC
    };
    /// The span that holds an instant. Beyond about 23 000 years from now: that of the nearest instant within.
    Span span_at(Instant instant) const;
    std::chrono::seconds offset_at(Instant instant) const { return span_at(instant).offset; }

   private:
    struct Data;
    explicit TimeZone(std::shared_ptr<const Data> data);
    static std::shared_ptr<Data> read_tzif(std::string name, std::string_view bytes);
    std::shared_ptr<const Data> data_;  // nullptr = UTC
};

/// Gives the bytes of the zone file with a name, or nullopt if there is none. seam::read_zone_file is one.
using ZoneReader = std::function<std::optional<std::string>(const std::string& name)>;

/// The zone with an IANA name, exactly as written ("Europe/Berlin"). An empty name, "UTC" and its aliases need no file.
/// Throws UsageError for a name that cannot be one or has no file, ConfigError for a file that cannot be used; never falls back
/// to UTC. Reads the file at each call: callers keep the result.
TimeZone load_time_zone(const std::string& name, const ZoneReader& read);

}  // namespace dbos::core
