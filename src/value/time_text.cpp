#include "value/time_text.hpp"

#include <chrono>
#include <cstdio>

namespace dbos {
namespace {

constexpr std::int64_t kDay = 86400;

// Days since 1970-01-01 of a civil date, and back (proleptic Gregorian; Hinnant's algorithms:
// std::chrono::year ends at 32767).
std::int64_t days_from_civil(std::int64_t year, unsigned month, unsigned day) {
    year -= month <= 2 ? 1 : 0;
    const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
    const std::int64_t year_of_era = year - era * 400;
    const std::int64_t day_of_year =
        (153 * (static_cast<std::int64_t>(month) + (month > 2 ? -3 : 9)) + 2) / 5 +
        static_cast<std::int64_t>(day) - 1;
    const std::int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

struct Civil {
    std::int64_t year;
    int month;
    int day;
};

Civil civil_from_days(std::int64_t days) {
    days += 719468;
    const std::int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    const std::int64_t day_of_era = days - era * 146097;
    const std::int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const std::int64_t shifted = (5 * day_of_year + 2) / 153;
    const int day = static_cast<int>(day_of_year - (153 * shifted + 2) / 5 + 1);
    const int month = static_cast<int>(shifted < 10 ? shifted + 3 : shifted - 9);
    return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month, day};
}

// Reads fixed-width fields from the left; ok() turns false at the first that is not there.
class Fields {
   public:
    explicit Fields(std::string_view text) : text_(text) {}
    bool ok() const { return ok_; }
    bool done() const { return text_.empty(); }
    std::int64_t digits(std::size_t count) {
        std::int64_t value = 0;
        for (std::size_t i = 0; i < count; ++i) {
            if (i >= text_.size() || text_[i] < '0' || text_[i] > '9') {
                ok_ = false;
                return 0;
            }
            value = value * 10 + (text_[i] - '0');
        }
        text_.remove_prefix(count);
        return value;
    }
    bool take(std::string_view any_of) {
        if (text_.empty() || any_of.find(text_.front()) == std::string_view::npos) return false;
        text_.remove_prefix(1);
        return true;
    }
    void need(std::string_view any_of) { ok_ = take(any_of) && ok_; }
    char front() const { return text_.empty() ? '\0' : text_.front(); }
    std::size_t leading_digits() const {
        const auto end = text_.find_first_not_of("0123456789");
        return end == std::string_view::npos ? text_.size() : end;
    }

   private:
    std::string_view text_;
    bool ok_ = true;
};

int days_in_month(std::int64_t year, std::int64_t month) {
    constexpr int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

struct Parts {
    Civil date;
    int hour;
    int minute;
    int second;
};

Parts split(std::int64_t seconds) {
    std::int64_t days = seconds / kDay;
    std::int64_t rest = seconds % kDay;
    if (rest < 0) {
        rest += kDay;
        --days;
    }
    return {civil_from_days(days), static_cast<int>(rest / 3600), static_cast<int>(rest / 60 % 60),
            static_cast<int>(rest % 60)};
}

std::string format_seconds(std::int64_t seconds) {
    const Parts parts = split(seconds);
    char buffer[64];
    const bool expanded = parts.date.year < 0 || parts.date.year > 9999;
    std::snprintf(buffer, sizeof buffer,
                  expanded ? "%+07lld-%02d-%02dT%02d:%02d:%02d" : "%04lld-%02d-%02dT%02d:%02d:%02d",
                  static_cast<long long>(parts.date.year), parts.date.month, parts.date.day, parts.hour,
                  parts.minute, parts.second);
    return buffer;
}

std::string format_fraction(std::int32_t nanos, int digits) {
    char buffer[16];
    std::snprintf(buffer, sizeof buffer, "%09d", nanos);
    return std::string(buffer, static_cast<std::size_t>(digits));
}

}  // namespace

std::optional<Timestamp> parse_rfc3339(std::string_view text, bool local) {
    Fields fields(text);
    std::int64_t year = 0;
    if (fields.front() == '+' || fields.front() == '-') {
        const bool negative = fields.front() == '-';
        fields.need("+-");
        year = fields.digits(6) * (negative ? -1 : 1);
    } else {
        year = fields.digits(4);
    }
    fields.need("-");
    const std::int64_t month = fields.digits(2);
    fields.need("-");
    const std::int64_t day = fields.digits(2);
    fields.need("Tt ");
    const std::int64_t hour = fields.digits(2);
    fields.need(":");
    const std::int64_t minute = fields.digits(2);
    fields.need(":");
    const std::int64_t second = fields.digits(2);
    if (!fields.ok() || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 59) {
        return std::nullopt;
    }
    std::int64_t nanos = 0;
    if (fields.take(".,")) {
        const std::size_t count = fields.leading_digits();
        if (count == 0 || count > 9) return std::nullopt;
        nanos = fields.digits(count);
        for (std::size_t i = count; i < 9; ++i) nanos *= 10;
    }
    std::int64_t offset = 0;
    if (fields.front() == '+' || fields.front() == '-') {
        const int sign = fields.front() == '-' ? -1 : 1;
        fields.need("+-");
        const std::int64_t hours = fields.digits(2);
        fields.take(":");
        const std::int64_t minutes = fields.digits(2);
        if (hours > 23 || minutes > 59) return std::nullopt;
        offset = sign * (hours * 3600 + minutes * 60);
    } else if (!fields.take("Zz") && !local) {
        return std::nullopt;
    }
    if (!fields.ok() || !fields.done()) return std::nullopt;
    const std::int64_t days = days_from_civil(year, static_cast<unsigned>(month), static_cast<unsigned>(day));
    return Timestamp{days * kDay + hour * 3600 + minute * 60 + second - offset,
                     static_cast<std::int32_t>(nanos), static_cast<std::int32_t>(offset)};
}

std::optional<std::int64_t> parse_epoch_ms(std::string_view text) {
    const auto time = parse_rfc3339(text);
    return time ? std::optional(time->epoch_ms()) : std::nullopt;
}

std::string format_utc(const Timestamp& time, int digits) {
    std::string text = format_seconds(time.seconds);
    if (digits > 0) text += "." + format_fraction(time.nanos, digits);
    return text + "Z";
}

std::string format_epoch_ms(std::int64_t epoch_ms) { return format_utc(Timestamp::from_ms(epoch_ms), 3); }

std::string format_local(const Timestamp& time) {
    std::string text = format_seconds(time.seconds + time.offset_seconds);
    if (time.nanos != 0) {
        std::string fraction = format_fraction(time.nanos, 9);
        fraction.erase(fraction.find_last_not_of('0') + 1);
        text += "." + fraction;
    }
    return text;
}

}  // namespace dbos
