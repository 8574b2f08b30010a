// From the text of a cron expression to its value.
#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/cron.hpp"
#include "dbos/error.hpp"

namespace dbos::core {

namespace {

constexpr std::array<std::string_view, 12> kMonths = {"jan", "feb", "mar", "apr", "may", "jun",
                                                      "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> kWeekdays = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Field {
    std::string_view name;
    int least = 0;
    int most = 0;
    std::span<const std::string_view> names = {};  // names[0] stands for `least`
    std::string_view expected;
};

constexpr Field kSecond{"second", 0, 59, {}, "0-59"};
constexpr Field kMinute{"minute", 0, 59, {}, "0-59"};
constexpr Field kHour{"hour", 0, 23, {}, "0-23"};
constexpr Field kMonthDay{"day of month", 1, 31, {}, "1-31, L or ?"};
constexpr Field kMonth{"month", 1, 12, kMonths, "1-12 or jan … dec"};
constexpr Field kWeekday{"day of week", 0, 7, kWeekdays, "0-7 (0 and 7 are Sunday), sun … sat, d#n, Ld or ?"};
constexpr Field kYear{"year", 1970, 2099, {}, "1970-2099"};

constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return result;
}

std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (const char c : text.substr(0, 100)) result += c >= ' ' && c != 0x7F ? c : '?';
    return result + (text.size() > 100 ? "…\"" : "\"");
}

std::vector<std::string_view> split(std::string_view text, char at) {
    std::vector<std::string_view> parts;
    for (;;) {
        const std::size_t end = text.find(at);
        parts.push_back(text.substr(0, end));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

std::vector<std::string_view> split_fields(std::string_view text) {
    std::vector<std::string_view> fields;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t end = at;
        while (end < text.size() && !is_blank(text[end])) ++end;
        if (end > at) fields.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return fields;
}

/// Decimal digits only; what is too large for any field becomes a million.
std::optional<int> number(std::string_view text) {
    if (text.empty() || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
    int value = 0;
    for (const char c : text) value = std::min(value * 10 + (c - '0'), 1'000'000);
    return value;
}

bool is_name(const Field& field, std::string_view text) {
    return std::find(field.names.begin(), field.names.end(), text) != field.names.end();
}

}  // namespace

/// Parses one text; the values of each field are collected in `values_`, the rest goes into `cron_`.
class CronParser {
   public:
    CronParser(std::string_view text, const CronOptions& options) : shown_(text), options_(options) {}

    Cron parse() {
        std::string text = lower(shown_);
        for (const auto& [word, meaning] : kAliases) {
            if (text == word) text = meaning;
        }
        std::vector<std::string_view> fields = split_fields(text);
        check_count(fields);
        if (fields.size() == 5) fields.insert(fields.begin(), "0");
        cron_.seconds_ = bits(kSecond, fields[0]);
        cron_.minutes_ = bits(kMinute, fields[1]);
        cron_.hours_ = bits(kHour, fields[2]);
        cron_.month_days_ = bits(kMonthDay, fields[3]);
        const bool any_month_day = star_;
        cron_.months_ = bits(kMonth, fields[4]);
        parse_weekdays(fields[5]);
        const bool any_weekday = star_;
        if (fields.size() == 7) parse_years(fields[6]);
        join_days(fields[3], any_month_day, fields[5], any_weekday);
        return cron_;
    }

   private:
    [[noreturn]] void refuse(const std::string& what) const {
        throw UsageError("cron " + quoted(shown_) + ": " + what);
    }
    [[noreturn]] void refuse(const Field& field, std::string_view item, std::string_view expected) const {
        refuse(std::string(field.name) + ": got " + quoted(item) + ", expected " + std::string(expected));
    }
    [[noreturn]] void refuse_value(const Field& field, std::string_view item) const {
        refuse(field, item, field.expected);
    }

    void check_count(std::span<const std::string_view> fields) const {
        if (!fields.empty() && fields[0].starts_with('@')) {
            refuse(
                "got a word that is none of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, "
                "@annually "
                "(written without blanks around it)");
        }
        if (fields.size() == 7 && !options_.years) {
            refuse(
                "got 7 fields, expected 5 (minute hour day-of-month month day-of-week) or 6 (second first); "
                "a "
                "year is known to Python applications only");
        }
        if (fields.size() < 5 || fields.size() > 7) {
            refuse("got " + std::to_string(fields.size()) +
                   " fields, expected 5 (minute hour day-of-month month day-of-week) or 6 (second first)");
        }
    }

    int value(const Field& field, std::string_view item, std::string_view text) const {
        for (std::size_t i = 0; i < field.names.size(); ++i) {
            if (text == field.names[i]) return field.least + static_cast<int>(i);
        }
        const std::optional<int> found = number(text);
        if (!found || *found < field.least || *found > field.most) refuse_value(field, item);
        return *found;
    }

    /// Collects the values of a field in values_ and whether it is a `*` in star_.
    void collect(const Field& field, std::string_view text) {
        values_.assign(static_cast<std::size_t>(field.most - field.least) + 1, false);
        star_ = false;
        if (text == "?" && (field.name == kMonthDay.name || field.name == kWeekday.name)) text = "*";
        if (text[0] == 'r' || text[0] == 'h') {
            refuse(field, text,
                   std::string(field.expected) +
                       "; random and hashed values (R, H) would differ from process to process");
        }
        for (const std::string_view item : split(text, ',')) {
            if (item.empty()) refuse(field, text, "no empty item between its commas");
            if (item == "*") star_ = true;
            collect_item(field, item);
        }
        if (star_) values_.assign(values_.size(), true);
    }

    void collect_item(const Field& field, std::string_view item) {
        if (field.name == kWeekday.name && collect_special_weekday(item)) return;
        if (field.name == kMonthDay.name && item == "l") {
            cron_.last_month_day_ = true;
            return;
        }
        const std::vector<std::string_view> parts = split(item, '/');
        if (parts.size() > 2) refuse(field, item, "one step after one slash");
        int step = 1;
        if (parts.size() == 2) {
            step = number(parts[1]).value_or(0);
            if (step < 1) refuse(field, item, "a step of at least 1 after the slash");
        }
        auto [begin, end] = range(field, item, parts[0], parts.size() == 2);
        const bool weekday = field.name == kWeekday.name;
        const int cycle = weekday ? 7 : field.most - field.least + 1;
        if (begin > end) end += cycle;
        for (int at = begin; at <= end; at += step) add(field, at > field.most ? at - cycle : at);
        if (weekday) plain_weekdays_ = true;
    }

    /// What the part before the slash covers. An end before the begin means a wrapped range.
    std::pair<int, int> range(const Field& field, std::string_view item, std::string_view text,
                              bool step) const {
        if (text == "*") return {field.least, field.most};
        const std::vector<std::string_view> ends = split(text, '-');
        if (ends.size() > 2) refuse(field, item, "one dash between two values");
        const int begin = value(field, item, ends[0]);
        if (ends.size() == 1) return {begin, step ? field.most : begin};
        int end = 0;
        if (field.name == kMonthDay.name && ends[1] == "l") {
            end = field.most;
        } else {
            end = value(field, item, ends[1]);
        }
        if (field.name == kWeekday.name && end == 0 && begin != 0) end = 7;  // fri-sun; sun-sun is one day
        if (begin > end && !options_.wrapped_ranges)
            refuse(field, item, "a range that does not run backwards");
        return {begin, end};
    }

    void add(const Field& field, int value) { values_[static_cast<std::size_t>(value - field.least)] = true; }

    std::uint64_t bits(const Field& field, std::string_view text) {
        collect(field, text);
        std::uint64_t result = 0;
        for (std::size_t i = 0; i < values_.size(); ++i) {
            if (values_[i]) result |= std::uint64_t{1} << (i + static_cast<std::size_t>(field.least));
        }
        return result;
    }

    /// `d#n`, `name-name#n` and `Ld`; false for everything else.
    bool collect_special_weekday(std::string_view item) {
        if (item.size() >= 2 && item[0] == 'l' && is_digit(item[1])) {
            if (item.size() != 2 || item[1] > '7') refuse(kWeekday, item, "L and one weekday 0-7");
            mark_nth((item[1] - '0') % 7, 6);
            return true;
        }
        const std::vector<std::string_view> parts = split(item, '#');
        if (parts.size() == 1) return false;
        const int nth = parts.size() == 2 ? number(parts[1]).value_or(0) : 0;
        if (nth < 1 || nth > 5) refuse(kWeekday, item, "a number 1-5 after one #");
        const std::vector<std::string_view> ends = split(parts[0], '-');
        if (ends.size() == 1) {
            mark_nth(value(kWeekday, item, parts[0]) % 7, nth);
            return true;
        }
        if (ends.size() != 2 || !is_name(kWeekday, ends[0]) || !is_name(kWeekday, ends[1])) {
            refuse(kWeekday, item, "a weekday or a range of two names before the #");
        }
        auto [begin, end] = range(kWeekday, item, parts[0], false);
        if (begin > end) end += 7;
        for (int at = begin; at <= end; ++at) mark_nth(at % 7, nth);
        return true;
    }

    void mark_nth(int weekday, int nth) {
        auto& bits = cron_.nth_weekdays_[static_cast<std::size_t>(weekday)];
        bits = static_cast<std::uint8_t>(bits | 1U << nth);
        nth_weekdays_ = true;
    }

    void parse_weekdays(std::string_view text) {
        cron_.weekdays_ = bits(kWeekday, text);
        if ((cron_.weekdays_ & 0x80U) != 0) cron_.weekdays_ = (cron_.weekdays_ | 1U) & 0x7FU;  // 7 is Sunday
        if (nth_weekdays_ && plain_weekdays_) {
            refuse(kWeekday, text, "not both plain days and d#n or Ld in one list");
        }
    }

    void parse_years(std::string_view text) {
        collect(kYear, text);
        cron_.years_.emplace();
        for (std::size_t i = 0; i < values_.size(); ++i) (*cron_.years_)[i] = values_[i];
    }

    /// A day field that lists every value counts as `*` only if the other one is written with a `*` (py: _croniter.py).
    void join_days(std::string_view month_day, bool any_month_day, std::string_view weekday,
                   bool any_weekday) {
        constexpr std::uint64_t kAllMonthDays = 0xFFFFFFFEU;
        if (cron_.month_days_ == kAllMonthDays && weekday.find('*') != std::string_view::npos)
            any_month_day = true;
        if (cron_.weekdays_ == 0x7FU && month_day.find('*') != std::string_view::npos) any_weekday = true;
        if (options_.day_rule == DayRule::both) {
            cron_.days_ = Cron::Days::both;
        } else if (nth_weekdays_) {
            cron_.days_ = Cron::Days::weekday_only;
        } else {
            cron_.days_ = any_month_day || any_weekday ? Cron::Days::both : Cron::Days::either;
        }
    }

    std::string_view shown_;
    CronOptions options_;
    Cron cron_;
    std::vector<bool> values_;
    bool star_ = false;
    bool nth_weekdays_ = false;
    bool plain_weekdays_ = false;
};

Cron Cron::parse(std::string_view text, const CronOptions& options) {
    return CronParser(text, options).parse();
}

}  // namespace dbos::core
