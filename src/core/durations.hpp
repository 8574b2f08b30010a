// From the durations of the API, which are floating-point seconds, to whole units. Saturating; infinite = for ever.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>

#include "dbos/value.hpp"

namespace dbos::core {

/// "For ever": far enough, and safe to add to any clock.
inline constexpr std::chrono::nanoseconds kForever = std::chrono::hours(24 * 365 * 100);

/// Whole milliseconds, cut off as the Python SDK does (dbos/_client.py).
inline std::int64_t to_millis(Duration duration) noexcept {
    const double millis = duration.count() * 1000.0;
    if (std::isnan(millis) || millis <= 0) return 0;
    if (millis >= 9.0e15) return std::numeric_limits<std::int64_t>::max() / 4;
    // 0.3 s is 300 ms, not 299: a product that is a whole number but for rounding counts as that number.
    return static_cast<std::int64_t>(millis + 1e-6);
}

inline std::chrono::nanoseconds to_nanos(Duration duration) noexcept {
    if (std::isnan(duration.count()) || duration.count() <= 0) return std::chrono::nanoseconds(0);
    if (duration >= Duration(kForever)) return kForever;
    return std::chrono::duration_cast<std::chrono::nanoseconds>(duration);
}

}  // namespace dbos::core
