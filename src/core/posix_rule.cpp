#include "core/posix_rule.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "core/civil.hpp"

namespace dbos::core {

namespace {

constexpr std::int64_t kAlways = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kSinceEver = std::numeric_limits<std::int64_t>::min();

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

/// Reads a rule from left to right; each function says whether the text went on as the grammar wants.
class PosixRule::Reader {
   public:
    explicit Reader(std::string_view text) : text_(text) {}

    bool done() const { return at_ == text_.size(); }
    bool sees(char c) const { return !done() && text_[at_] == c; }
    bool accept(char c) {
        if (!sees(c)) return false;
        ++at_;
        return true;
    }
    /// `EST`, or `<+0330>`.
    bool name() {
        const bool quoted = accept('<');
        const std::size_t begin = at_;
        while (!done() && (is_letter(text_[at_]) ||
                           (quoted && (is_digit(text_[at_]) || text_[at_] == '+' || text_[at_] == '-')))) {
            ++at_;
        }
        return at_ - begin >= 3 && (!quoted || accept('>'));
    }
    bool number(int least, int most, int& result) {
        const std::size_t begin = at_;
        for (result = 0; !done() && is_digit(text_[at_]) && at_ - begin < 3; ++at_) {
            result = result * 10 + (text_[at_] - '0');
        }
        return at_ > begin && result >= least && result <= most;
    }
    /// [+-]h[h[h]][:mm[:ss]]
    bool clock(int most_hours, std::int32_t& seconds) {
        const bool negative = accept('-');
        if (!negative) accept('+');
        int part = 0;
        if (!number(0, most_hours, part)) return false;
        seconds = part * 3600;
        if (accept(':')) {
            if (!number(0, 59, part)) return false;
            seconds += part * 60;
            if (accept(':')) {
                if (!number(0, 59, part)) return false;
                seconds += part;
            }
        }
        if (negative) seconds = -seconds;
        return true;
    }
    bool change(Change& change) {
        if (!accept(',')) return false;
        if (accept('M')) {
            change.form = Change::Form::weekday;
            if (!number(1, 12, change.month) || !accept('.') || !number(1, 5, change.week) || !accept('.') ||
                !number(0, 6, change.day)) {
                return false;
            }
        } else if (accept('J')) {
            change.form = Change::Form::julian;
            if (!number(1, 365, change.day)) return false;
        } else {
            change.form = Change::Form::zero_based;
            if (!number(0, 365, change.day)) return false;
        }
        change.time = 2 * 3600;
        return !accept('/') || clock(167, change.time);
    }

   private:
    std::string_view text_;
    std::size_t at_ = 0;
};

std::optional<PosixRule> PosixRule::parse(std::string_view text) {
    Reader reader(text);
    PosixRule rule;
    if (!reader.name() || !reader.clock(24, rule.standard_)) return std::nullopt;
    rule.standard_ = -rule.standard_;  // POSIX counts west of Greenwich
    if (reader.done()) return rule;
    if (!reader.name()) return std::nullopt;
    rule.changes_ = true;
    rule.daylight_ = rule.standard_ + 3600;
    if (!reader.done() && !reader.sees(',')) {
        if (!reader.clock(24, rule.daylight_)) return std::nullopt;
        rule.daylight_ = -rule.daylight_;
    }
    if (!reader.change(rule.to_daylight_) || !reader.change(rule.to_standard_) || !reader.done()) {
        return std::nullopt;
    }
    return rule;
}

std::int64_t PosixRule::local_time(const Change& change, std::int64_t year) {
    std::int64_t days = 0;
    switch (change.form) {
        case Change::Form::zero_based: days = days_of(year, 1, 1) + change.day; break;
        case Change::Form::julian:  // 1-365; 29 February is never counted
            days = days_of(year, 1, 1) + change.day - 1 + (is_leap(year) && change.day >= 60 ? 1 : 0);
            break;
        case Change::Form::weekday: {
            const std::int64_t first = days_of(year, change.month, 1);
            const int ahead = (change.day - weekday_of(first) + 7) % 7;
            int day = ahead + (change.week - 1) * 7;
            if (day >= days_in_month(year, change.month)) day -= 7;  // week 5 = the last one
            days = first + day;
            break;
        }
    }
    return days * kDaySeconds + change.time;
}

PosixRule::Span PosixRule::span_at(std::int64_t seconds) const {
    if (!changes_) return {kSinceEver, kAlways, standard_};
    struct At {
        std::int64_t instant = 0;
        bool daylight = false;
    };
    std::array<At, 6> changes;
    const std::int64_t year = date_of(floor_divide(seconds + standard_, kDaySeconds)).year;
    for (int i = 0; i < 3; ++i) {
        const auto place = 2 * static_cast<std::size_t>(i);
        changes[place] = {local_time(to_daylight_, year + i - 1) - standard_, true};
        changes[place + 1] = {local_time(to_standard_, year + i - 1) - daylight_, false};
    }
    // Daylight time all year is written as an end that coincides with the next start: the start wins.
    std::sort(changes.begin(), changes.end(), [](const At& left, const At& right) {
        return left.instant != right.instant ? left.instant < right.instant : left.daylight < right.daylight;
    });
    Span span{kSinceEver, kAlways, standard_};
    for (const At& change : changes) {
        if (change.instant > seconds) {
            span.end = change.instant;
            break;
        }
        span.begin = change.instant;
        span.offset = change.daylight ? daylight_ : standard_;
    }
    return span;
}

}  // namespace dbos::core
