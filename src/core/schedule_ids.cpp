#include "core/schedule_ids.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "core/civil.hpp"

namespace dbos::core {

namespace {

using std::chrono::seconds;

std::string padded(std::int64_t value, std::size_t width) {
    std::string digits = std::to_string(value);
    return digits.size() < width ? std::string(width - digits.size(), '0') + digits : digits;
}

/// `2026-03-01T05:00`, and `:07` unless `no_zero_seconds` leaves out a zero.
std::string local_text(Instant instant, seconds offset, bool no_zero_seconds) {
    const std::int64_t local = (instant.time_since_epoch() + offset).count();
    const std::int64_t day = floor_divide(local, kDaySeconds);
    const std::int64_t time = local - day * kDaySeconds;
    const Date date = date_of(day);
    std::string text = padded(date.year, 4) + '-' + padded(date.month, 2) + '-' + padded(date.day, 2) + 'T' +
                       padded(time / 3600, 2) + ':' + padded(time / 60 % 60, 2);
    if (!no_zero_seconds || time % 60 != 0) text += ':' + padded(time % 60, 2);
    return text;
}

/// `+05:30`; `+05:53:28` where the zone has odd seconds and the SDK shows them.
std::string offset_text(seconds offset, bool odd_seconds) {
    const std::int64_t size = std::abs(offset.count());
    std::string text = offset.count() < 0 ? "-" : "+";
    text += padded(size / 3600, 2) + ':' + padded(size / 60 % 60, 2);
    if (odd_seconds && size % 60 != 0) text += ':' + padded(size % 60, 2);
    return text;
}

std::string offset_or_z(seconds offset, bool odd_seconds) {
    return offset.count() == 0 ? "Z" : offset_text(offset, odd_seconds);
}

std::string id_of(std::string_view schedule_name, const std::string& rest) {
    return "sched-" + std::string(schedule_name) + '-' + rest;
}

/// The fraction of a second cut to `digits`, with its dot.
std::string fraction(std::int64_t nanos, std::size_t digits) {
    return digits == 0 ? std::string() : '.' + padded(nanos, 9).substr(0, digits);
}

}  // namespace

std::string tick_text(ScheduleDialect dialect, Instant tick, const TimeZone& zone) {
    const seconds offset = zone.offset_at(tick);
    switch (dialect) {
        case ScheduleDialect::typescript: return local_text(tick, seconds(0), false) + ".000Z";
        case ScheduleDialect::go: return local_text(tick, offset, false) + offset_or_z(offset, false);
        case ScheduleDialect::java: return local_text(tick, offset, true) + offset_or_z(offset, true);
        case ScheduleDialect::python: break;
    }
    return local_text(tick, offset, false) + offset_text(offset, true);
}

std::string instant_text(Instant instant) { return local_text(instant, seconds(0), false) + 'Z'; }

std::string tick_id(ScheduleDialect dialect, std::string_view schedule_name, Instant tick,
                    const TimeZone& zone) {
    return id_of(schedule_name, tick_text(dialect, tick, zone));
}

std::string backfill_id(ScheduleDialect dialect, std::string_view schedule_name, Instant tick,
                        const TimeZone& zone) {
    std::string id = tick_id(dialect, schedule_name, tick, zone);
    if (dialect == ScheduleDialect::java) id += '[' + zone.name() + ']';
    return id;
}

std::string trigger_id(ScheduleDialect dialect, std::string_view schedule_name, Moment now,
                       const TimeZone& zone) {
    const Instant whole = std::chrono::floor<seconds>(now);
    const std::int64_t nanos = (now - whole).count();
    const std::string utc = local_text(whole, seconds(0), false);
    std::string text;
    switch (dialect) {
        case ScheduleDialect::python:
            text = utc + fraction(nanos, nanos / 1000 == 0 ? 0 : 6) + "+00:00";
            break;
        case ScheduleDialect::typescript: text = utc + fraction(nanos, 3) + 'Z'; break;
        case ScheduleDialect::go: {
            const seconds offset = zone.offset_at(whole);
            std::string digits = fraction(nanos, nanos == 0 ? 0 : 9);
            while (digits.ends_with('0')) digits.pop_back();
            text = local_text(whole, offset, false) + digits + offset_or_z(offset, false);
            break;
        }
        case ScheduleDialect::java: {
            const std::size_t digits = nanos == 0               ? 0
                                       : nanos % 1'000'000 == 0 ? 3
                                       : nanos % 1000 == 0      ? 6
                                                                : 9;
            text = utc + fraction(nanos, digits) + 'Z';
            break;
        }
    }
    return id_of(schedule_name, "trigger-" + text);
}

std::vector<std::string> possible_tick_ids(std::string_view schedule_name, Instant tick,
                                           const TimeZone& zone) {
    std::vector<std::string> ids;
    const auto add = [&](std::string id) {
        if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(std::move(id));
    };
    for (const TimeZone& where : {zone, TimeZone()}) {
        for (const ScheduleDialect dialect : {ScheduleDialect::python, ScheduleDialect::typescript,
                                              ScheduleDialect::go, ScheduleDialect::java}) {
            add(tick_id(dialect, schedule_name, tick, where));
            add(backfill_id(dialect, schedule_name, tick, where));
        }
    }
    return ids;
}

}  // namespace dbos::core
