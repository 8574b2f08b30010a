// Cron expressions: the text of `workflow_schedules.schedule`, and the instants at which it fires. Pure: no clock, no I/O.
//
// The grammar is that of the Python SDK (py 2.x: dbos/_croniter.py), the instants are those of TypeScript 5.3.0 and, for six
// fields, Go 1.x: an instant fires iff its wall clock in the zone matches every field. So a wall time that daylight saving
// skips never fires, one that occurs twice fires twice, and nothing depends on when anybody began to count.
//
//     minute hour day-of-month month day-of-week                       5 fields: at second 0
//     second minute hour day-of-month month day-of-week                6 fields
//     second minute hour day-of-month month day-of-week year           7 fields, only with CronOptions::years
//     @hourly @daily @midnight @weekly @monthly @yearly @annually      the whole text, without blanks around it
//
//     field = item[,item…]    item = * | a | a-b | */step | a/step (= a-max/step) | a-b/step
//     day of month: also L (last day), a-L, ?      day of week: 0-7 (0 and 7 = Sunday), also d#n, name-name#n, Ld (last d), ?
//     names: jan … dec, sun … sat; letters of either case
#pragma once

#include <array>
#include <bitset>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/time_zone.hpp"

namespace dbos::core {

/// What day of month and day of week mean together when both are restricted.
enum class DayRule : std::uint8_t {
    either,  // one match is enough: Python, Go, Unix. `#` and `Ld` make the day of month ignored, as in Python
    both,    // both must match: TypeScript, Java
};

/// The dialect of a schedule's owner. The defaults are what C++ accepts for a new schedule.
struct CronOptions {
    DayRule day_rule = DayRule::either;
    /// Accept a seventh field, the year (1970-2099). Only Python has it: for rows that Python wrote.
    bool years = false;
    /// Accept ranges whose end comes before their begin (`22-2`, `fri-mon`): TypeScript, Python 3.4. Steps count on over the end.
    bool wrapped_ranges = false;
};

/// A parsed expression: a plain value; thread-safe as any const object.
class Cron {
   public:
    using Millis = std::chrono::sys_time<std::chrono::milliseconds>;

    /// Throws UsageError that names the field, what it got and what was expected. Expressions that can never fire (`0 0 30 2 *`)
    /// are accepted, because rows hold them: see can_fire().
    static Cron parse(std::string_view text, const CronOptions& options = {});

    /// Whether a date exists that matches. For validation at creation.
    bool can_fire() const;
    /// Whether the wall clock of this instant matches every field.
    bool matches(Instant instant, const TimeZone& zone) const;
    /// The first firing strictly after `base`; nullopt if there is none within 50 calendar years (years 1-9999 only).
    /// Bounded: at most about 20 000 days are looked at.
    std::optional<Instant> next_after(Millis base, const TimeZone& zone) const;
    /// The last firing strictly before `base`, with the same bounds.
    std::optional<Instant> previous_before(Millis base, const TimeZone& zone) const;

   private:
    friend class CronParser;
    static constexpr int kFirstYear = 1970;
    static constexpr std::size_t kYears = 130;
    /// How the two day fields are joined.
    enum class Days : std::uint8_t { both, either, weekday_only };

    bool has_year(std::int64_t year) const;
    bool has_day(std::int64_t days) const;
    bool has_time(int second_of_day) const;
    int next_time(int second_of_day) const;      // -1: none any more that day
    int previous_time(int second_of_day) const;  // -1: none so early
    std::optional<std::int64_t> first_local(std::int64_t from, std::int64_t to) const;
    std::optional<std::int64_t> last_local(std::int64_t from, std::int64_t to) const;

    // One bit a value.
    std::uint64_t seconds_ = 1;
    std::uint64_t minutes_ = 0;
    std::uint64_t hours_ = 0;
    std::uint64_t month_days_ = 0;
    bool last_month_day_ = false;
    std::uint64_t months_ = 0;
    std::uint64_t weekdays_ = 0;                     // bits 0-6
    std::array<std::uint8_t, 7> nth_weekdays_ = {};  // bits 1-5 = n-th, bit 6 = last
    std::optional<std::bitset<kYears>> years_ = {};  // none = any year
    Days days_ = Days::both;
};

/// The firings t with after < t < before, in order: those of a backfill (Java: before included, `include_end`).
class CronRange {
   public:
    CronRange(Cron cron, TimeZone zone, Cron::Millis after, Cron::Millis before, bool include_end = false);
    std::optional<Instant> next();

   private:
    Cron cron_;
    TimeZone zone_;
    Cron::Millis at_;
    Cron::Millis end_;  // exclusive
};

struct NewestTicks {
    std::vector<Instant> ticks = {};  // ascending
    bool more = false;                // older ones exist after `after`
};
/// The newest `limit` firings with after < t < before; its cost depends on `limit`, not on the length of the range.
NewestTicks newest_ticks(const Cron& cron, const TimeZone& zone, Cron::Millis after, Cron::Millis before,
                         std::size_t limit);

}  // namespace dbos::core
