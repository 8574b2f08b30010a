#include "core/cron.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "core/civil.hpp"

namespace dbos::core {

namespace {

constexpr std::int64_t kSearchYears = 50;
constexpr std::int64_t kLastYear = 9999;
constexpr std::int64_t kBegin = days_of(1, 1, 1) * kDaySeconds;
constexpr std::int64_t kEnd = days_of(kLastYear + 1, 1, 1) * kDaySeconds;

bool has_bit(std::uint64_t bits, int at) { return (bits >> at & 1U) != 0; }

/// The lowest set bit that is >= `at`; -1 if there is none.
int bit_from(std::uint64_t bits, int at) {
    if (at > 63) return -1;
    bits &= ~std::uint64_t{0} << at;
    return bits == 0 ? -1 : std::countr_zero(bits);
}

/// The highest set bit that is <= `at`; -1 if there is none.
int bit_until(std::uint64_t bits, int at) {
    if (at < 0) return -1;
    if (at < 63) bits &= (std::uint64_t{1} << (at + 1)) - 1;
    return bits == 0 ? -1 : 63 - std::countl_zero(bits);
}

std::int64_t year_of(std::int64_t local) { return date_of(floor_divide(local, kDaySeconds)).year; }
std::int64_t seconds_of(Instant instant) { return instant.time_since_epoch().count(); }
Instant instant_at(std::int64_t seconds) { return Instant(std::chrono::seconds(seconds)); }

/// Whole seconds, within the years that are searched and a day around them.
std::int64_t floor_seconds(Cron::Millis time) {
    return std::clamp(seconds_of(std::chrono::floor<std::chrono::seconds>(time)), kBegin - kDaySeconds,
                      kEnd + kDaySeconds);
}

}  // namespace

bool Cron::has_year(std::int64_t year) const {
    if (!years_) return true;
    const std::int64_t at = year - kFirstYear;
    return at >= 0 && at < static_cast<std::int64_t>(kYears) && (*years_)[static_cast<std::size_t>(at)];
}

bool Cron::has_day(std::int64_t days) const {
    const Date date = date_of(days);
    if (!has_bit(months_, date.month) || !has_year(date.year)) return false;
    const int length = days_in_month(date.year, date.month);
    const auto weekday = static_cast<std::size_t>(weekday_of(days));
    const int nth = (date.day - 1) / 7 + 1;
    const bool by_month_day = has_bit(month_days_, date.day) || (last_month_day_ && date.day == length);
    const bool by_weekday = has_bit(weekdays_, static_cast<int>(weekday)) ||
                            has_bit(nth_weekdays_[weekday], nth) ||
                            (has_bit(nth_weekdays_[weekday], 6) && date.day + 7 > length);
    switch (days_) {
        case Days::either: return by_month_day || by_weekday;
        case Days::weekday_only: return by_weekday;
        case Days::both: break;
    }
    return by_month_day && by_weekday;
}

bool Cron::has_time(int second_of_day) const {
    return has_bit(hours_, second_of_day / 3600) && has_bit(minutes_, second_of_day / 60 % 60) &&
           has_bit(seconds_, second_of_day % 60);
}

int Cron::next_time(int second_of_day) const {
    if (second_of_day >= kDaySeconds) return -1;
    int hour = second_of_day / 3600;
    int minute = second_of_day / 60 % 60;
    int second = bit_from(seconds_, second_of_day % 60);
    if (!has_bit(hours_, hour)) {
        minute = second = -1;
    } else if (second < 0 || !has_bit(minutes_, minute)) {
        minute = bit_from(minutes_, minute + 1);
        second = -1;
    }
    if (minute < 0) {
        hour = bit_from(hours_, hour + 1);
        if (hour < 0) return -1;
        minute = bit_from(minutes_, 0);
    }
    if (second < 0) second = bit_from(seconds_, 0);
    return hour * 3600 + minute * 60 + second;
}

int Cron::previous_time(int second_of_day) const {
    if (second_of_day < 0) return -1;
    int hour = second_of_day / 3600;
    int minute = second_of_day / 60 % 60;
    int second = bit_until(seconds_, second_of_day % 60);
    if (!has_bit(hours_, hour)) {
        minute = second = -1;
    } else if (second < 0 || !has_bit(minutes_, minute)) {
        minute = bit_until(minutes_, minute - 1);
        second = -1;
    }
    if (minute < 0) {
        hour = bit_until(hours_, hour - 1);
        if (hour < 0) return -1;
        minute = bit_until(minutes_, 59);
    }
    if (second < 0) second = bit_until(seconds_, 59);
    return hour * 3600 + minute * 60 + second;
}

/// The first local second of [from, to) that matches.
std::optional<std::int64_t> Cron::first_local(std::int64_t from, std::int64_t to) const {
    std::int64_t day = floor_divide(from, kDaySeconds);
    int time = static_cast<int>(from - day * kDaySeconds);
    while (day * kDaySeconds + time < to) {
        const Date date = date_of(day);
        if (!has_year(date.year)) {
            day = days_of(date.year + 1, 1, 1);
        } else if (!has_bit(months_, date.month)) {
            day += days_in_month(date.year, date.month) - date.day + 1;
        } else {
            if (has_day(day)) {
                const int found = next_time(time);
                const std::int64_t local = day * kDaySeconds + found;
                if (found >= 0) return local < to ? std::optional(local) : std::nullopt;
            }
            ++day;
        }
        time = 0;
    }
    return std::nullopt;
}

/// The last local second of [from, to) that matches.
std::optional<std::int64_t> Cron::last_local(std::int64_t from, std::int64_t to) const {
    std::int64_t day = floor_divide(to - 1, kDaySeconds);
    int time = static_cast<int>(to - 1 - day * kDaySeconds);
    while (day * kDaySeconds + time >= from) {
        const Date date = date_of(day);
        if (!has_year(date.year)) {
            day = days_of(date.year, 1, 1) - 1;
        } else if (!has_bit(months_, date.month)) {
            day -= date.day;
        } else {
            if (has_day(day)) {
                const int found = previous_time(time);
                const std::int64_t local = day * kDaySeconds + found;
                if (found >= 0) return local >= from ? std::optional(local) : std::nullopt;
            }
            --day;
        }
        time = static_cast<int>(kDaySeconds - 1);
    }
    return std::nullopt;
}

bool Cron::matches(Instant instant, const TimeZone& zone) const {
    const std::int64_t local = seconds_of(instant) + zone.offset_at(instant).count();
    if (local < kBegin || local >= kEnd) return false;
    const std::int64_t day = floor_divide(local, kDaySeconds);
    return has_day(day) && has_time(static_cast<int>(local - day * kDaySeconds));
}

std::optional<Instant> Cron::next_after(Millis base, const TimeZone& zone) const {
    std::int64_t at = floor_seconds(base);
    const std::int64_t base_year = year_of(at + zone.offset_at(instant_at(at)).count());
    const std::int64_t limit = days_of(std::min(base_year + kSearchYears, kLastYear) + 1, 1, 1) * kDaySeconds;
    ++at;
    for (;;) {
        const TimeZone::Span span = zone.span_at(instant_at(at));
        const std::int64_t offset = span.offset.count();
        const std::int64_t from = std::max(at + offset, kBegin);
        if (from >= limit) return std::nullopt;
        const bool endless = span.end == Instant::max();
        const std::int64_t to = endless ? limit : std::min(seconds_of(span.end) + offset, limit);
        if (const auto local = first_local(from, to)) return instant_at(*local - offset);
        if (endless) return std::nullopt;
        at = seconds_of(span.end);
    }
}

std::optional<Instant> Cron::previous_before(Millis base, const TimeZone& zone) const {
    const std::int64_t whole = floor_seconds(base);
    std::int64_t at = base.time_since_epoch().count() % 1000 == 0 ? whole - 1 : whole;
    const std::int64_t base_year = year_of(whole + zone.offset_at(instant_at(whole)).count());
    const std::int64_t limit =
        days_of(std::max(base_year - kSearchYears, std::int64_t{1}), 1, 1) * kDaySeconds;
    for (;;) {
        const TimeZone::Span span = zone.span_at(instant_at(at));
        const std::int64_t offset = span.offset.count();
        const std::int64_t to = std::min(at + offset + 1, kEnd);
        if (to <= limit) return std::nullopt;
        const bool endless = span.begin == Instant::min();
        const std::int64_t from = endless ? limit : std::max(seconds_of(span.begin) + offset, limit);
        if (const auto local = last_local(from, to)) return instant_at(*local - offset);
        if (endless) return std::nullopt;
        at = seconds_of(span.begin) - 1;
    }
}

bool Cron::can_fire() const {
    // With the weekday every date comes back within 40 years, so three looks see all years that a year field can name.
    for (const int year : {1970, 2020, 2070}) {
        const Millis base(std::chrono::seconds(days_of(year, 1, 1) * kDaySeconds - 1));
        if (next_after(base, TimeZone())) return true;
    }
    return false;
}

CronRange::CronRange(Cron cron, TimeZone zone, Cron::Millis after, Cron::Millis before, bool include_end)
    : cron_(cron),
      zone_(std::move(zone)),
      at_(after),
      end_(include_end ? before + std::chrono::milliseconds(1) : before) {}

std::optional<Instant> CronRange::next() {
    if (at_ >= end_) return std::nullopt;
    const std::optional<Instant> found = cron_.next_after(at_, zone_);
    if (!found || *found >= end_) {
        at_ = end_;
        return std::nullopt;
    }
    at_ = *found;
    return found;
}

NewestTicks newest_ticks(const Cron& cron, const TimeZone& zone, Cron::Millis after, Cron::Millis before,
                         std::size_t limit) {
    NewestTicks newest;
    Cron::Millis at = before;
    for (;;) {
        const std::optional<Instant> found = at > after ? cron.previous_before(at, zone) : std::nullopt;
        if (!found || *found <= after) break;
        if (newest.ticks.size() == limit) {
            newest.more = true;
            break;
        }
        newest.ticks.push_back(*found);
        at = *found;
    }
    std::reverse(newest.ticks.begin(), newest.ticks.end());
    return newest;
}

}  // namespace dbos::core
