// Days and dates of the proleptic Gregorian calendar, over int64 so that no date of a zone file or a schedule overflows.
#pragma once

#include <chrono>
#include <cstdint>

namespace dbos::core {

inline constexpr std::int64_t kDaySeconds = 86400;

struct Date {
    std::int64_t year = 1970;
    int month = 1;  // 1-12
    int day = 1;    // 1-31
};

/// Rounds towards minus infinity; `divisor` > 0.
constexpr std::int64_t floor_divide(std::int64_t value, std::int64_t divisor) noexcept {
    return value / divisor - (value % divisor < 0 ? 1 : 0);
}

constexpr bool is_leap(std::int64_t year) noexcept {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

constexpr int days_in_month(std::int64_t year, int month) noexcept {
    constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : kDays[month - 1];
}

/// Days since 1970-01-01. Years beyond ±32000 are not supported (std::chrono::year).
constexpr std::int64_t days_of(std::int64_t year, int month, int day) noexcept {
    const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(year)),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    return std::chrono::sys_days(date).time_since_epoch().count();
}

constexpr Date date_of(std::int64_t days) noexcept {
    const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
    return {static_cast<int>(date.year()), static_cast<int>(static_cast<unsigned>(date.month())),
            static_cast<int>(static_cast<unsigned>(date.day()))};
}

/// 0 = Sunday. Day 0 was a Thursday.
constexpr int weekday_of(std::int64_t days) noexcept {
    return static_cast<int>(days + 4 - floor_divide(days + 4, 7) * 7);
}

}  // namespace dbos::core
