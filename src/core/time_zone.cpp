#include "core/time_zone.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

#include "core/posix_rule.hpp"
#include "dbos/error.hpp"

namespace dbos::core {

struct TimeZone::Data {
    std::string name;
    std::vector<std::int64_t> changes;  // ascending
    std::vector<std::int32_t> offsets;  // offsets[i] holds from changes[i] on
    std::int32_t first_offset = 0;      // before the first change
    std::optional<PosixRule> rule;      // from the last change on; none: the last offset for ever
};

namespace {

constexpr std::int64_t kFarthest = 800'000'000'000;  // what PosixRule and std::chrono::year can follow
constexpr std::int32_t kWidestOffset = 26 * 3600;    // RFC 8536 3.2: less than 26 hours

[[noreturn]] void damaged(const std::string& name, const std::string& what) {
    throw ConfigError("time zone \"" + name + "\": its zone file cannot be used: " + what +
                      ". Install the package tzdata anew, or set TZDIR to a folder of compiled zone files");
}

/// Reads big-endian numbers; what is beyond the end throws.
class Bytes {
   public:
    Bytes(const std::string& name, std::string_view bytes) : name_(name), rest_(bytes) {}

    std::string_view take(std::size_t count) {
        if (count > rest_.size()) {
            damaged(name_, "it ends " + std::to_string(count - rest_.size()) + " bytes early");
        }
        const std::string_view taken = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return taken;
    }
    std::int64_t number(std::size_t bytes) {
        std::uint64_t value = 0;
        for (const char byte : take(bytes)) value = value << 8U | static_cast<unsigned char>(byte);
        return bytes == 4 ? static_cast<std::int32_t>(static_cast<std::uint32_t>(value))
                          : static_cast<std::int64_t>(value);
    }
    std::string_view rest() const { return rest_; }

   private:
    const std::string& name_;
    std::string_view rest_;
};

/// The counts of one of the two blocks of a file.
struct Header {
    int version = 1;
    std::size_t ut_marks = 0, standard_marks = 0, leaps = 0, changes = 0, types = 0, letters = 0;

    std::size_t size(std::size_t time_size) const {
        return changes * (time_size + 1) + types * 6 + letters + leaps * (time_size + 4) + standard_marks +
               ut_marks;
    }
};

Header read_header(const std::string& name, Bytes& bytes) {
    if (bytes.take(4) != "TZif") damaged(name, "it does not begin with \"TZif\"");
    const char version = bytes.take(16)[0];
    Header header;
    if (version >= '2' && version <= '9') header.version = version - '0';
    for (std::size_t* count : {&header.ut_marks, &header.standard_marks, &header.leaps, &header.changes,
                               &header.types, &header.letters}) {
        const std::int64_t value = bytes.number(4);
        if (value < 0 || value > 100'000) damaged(name, "a count in its header is " + std::to_string(value));
        *count = static_cast<std::size_t>(value);
    }
    return header;
}

std::string_view footer_rule(const std::string& name, std::string_view footer) {
    const std::size_t end = footer.find('\n', 1);
    if (footer.empty() || footer[0] != '\n' || end == std::string_view::npos) {
        damaged(name, "the rule at its end is missing");
    }
    return footer.substr(1, end - 1);
}

std::optional<PosixRule> read_rule(const std::string& name, std::string_view text) {
    if (text.empty()) return std::nullopt;
    std::optional<PosixRule> rule = PosixRule::parse(text);
    if (!rule) damaged(name, "its rule \"" + std::string(text.substr(0, 80)) + "\" is not understood");
    return rule;
}

Instant instant_of(std::int64_t seconds) { return Instant(std::chrono::seconds(seconds)); }

/// Names of UTC itself, which are the same everywhere.
bool names_utc(std::string_view name) {
    constexpr std::array<std::string_view, 8> kNames = {"UTC",  "Etc/UTC",  "UCT",       "Etc/UCT",
                                                        "Zulu", "Etc/Zulu", "Universal", "Etc/Universal"};
    return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

/// Whether a name can stand for a file below the zone folder, and means the same zone on every machine.
bool is_zone_name(std::string_view name) {
    if (name.size() > 100 || name == "localtime" || name == "posixrules") return false;
    for (const char c : name) {
        const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                          c == '_' || c == '+' || c == '-' || c == '/';  // no dot: no way up
        if (!fine) return false;
    }
    return !name.empty() && name.front() != '/' && name.back() != '/' &&
           name.find("//") == std::string_view::npos;
}

std::string printable(std::string_view text) {
    std::string result;
    for (const char c : text.substr(0, 100)) result += c >= ' ' && c != 0x7F ? c : '?';
    return result;
}

}  // namespace

TimeZone::TimeZone() = default;
TimeZone::TimeZone(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

const std::string& TimeZone::name() const noexcept {
    static const std::string kUtc = "UTC";
    return data_ ? data_->name : kUtc;
}

TimeZone TimeZone::from_rule(std::string name, std::string_view rule) {
    auto data = std::make_shared<Data>();
    data->name = std::move(name);
    data->rule = PosixRule::parse(rule);
    if (!data->rule) {
        throw ConfigError("time zone \"" + data->name + "\": got the rule \"" + printable(rule) +
                          "\", expected one like \"CET-1CEST,M3.5.0,M10.5.0/3\"");
    }
    return TimeZone(std::move(data));
}

TimeZone TimeZone::from_tzif(std::string name, std::string_view bytes) {
    return TimeZone(read_tzif(std::move(name), bytes));
}

std::shared_ptr<TimeZone::Data> TimeZone::read_tzif(std::string name, std::string_view bytes) {
    auto data = std::make_shared<Data>();
    data->name = std::move(name);
    Bytes reader(data->name, bytes);
    const Header old = read_header(data->name, reader);
    if (old.version < 2)
        damaged(data->name, "it is of version 1, which ends in 2037; expected version 2 or later");
    reader.take(old.size(4));  // the same again in 32 bits
    const Header header = read_header(data->name, reader);
    if (header.types == 0 || header.types > 256) damaged(data->name, "it has no offsets");
    if (header.leaps != 0) damaged(data->name, "it counts leap seconds, which instants here do not");
    data->changes.reserve(header.changes);
    for (std::size_t i = 0; i < header.changes; ++i) {
        data->changes.push_back(reader.number(8));
        if (i > 0 && data->changes[i] <= data->changes[i - 1])
            damaged(data->name, "its changes are not in order");
    }
    const std::string_view which = reader.take(header.changes);
    std::vector<std::int32_t> types;
    for (std::size_t i = 0; i < header.types; ++i) {
        types.push_back(static_cast<std::int32_t>(reader.number(4)));
        if (types.back() <= -kWidestOffset || types.back() >= kWidestOffset) {
            damaged(data->name, "an offset in it is " + std::to_string(types.back()) + " s");
        }
        reader.take(2);  // whether daylight saving, and its abbreviation: no schedule asks
    }
    for (const char type : which) {
        const auto index = static_cast<unsigned char>(type);
        if (index >= types.size()) damaged(data->name, "a change in it leads to an offset that it lacks");
        data->offsets.push_back(types[index]);
    }
    data->first_offset = types.front();
    reader.take(header.letters + header.standard_marks + header.ut_marks);
    data->rule = read_rule(data->name, footer_rule(data->name, reader.rest()));
    return data;
}

TimeZone::Span TimeZone::span_at(Instant instant) const {
    if (!data_) return {Instant::min(), Instant::max(), std::chrono::seconds(0)};
    const std::int64_t at =
        std::clamp<std::int64_t>(instant.time_since_epoch().count(), -kFarthest, kFarthest);
    const auto& changes = data_->changes;
    const auto next = std::upper_bound(changes.begin(), changes.end(), at);
    Span span{Instant::min(), Instant::max(), std::chrono::seconds(data_->first_offset)};
    if (next != changes.begin()) {
        const auto index = static_cast<std::size_t>(std::distance(changes.begin(), next) - 1);
        span.begin = instant_of(changes[index]);
        span.offset = std::chrono::seconds(data_->offsets[index]);
    }
    if (next != changes.end()) {
        span.end = instant_of(*next);
    } else if (data_->rule) {
        const PosixRule::Span ruled = data_->rule->span_at(at);
        span.begin = std::max(span.begin, instant_of(ruled.begin));
        span.end = instant_of(ruled.end);
        span.offset = std::chrono::seconds(ruled.offset);
    }
    return span;
}

TimeZone load_time_zone(const std::string& name, const ZoneReader& read) {
    if (name.empty()) return TimeZone();
    if (names_utc(name)) return TimeZone::from_rule(name, "UTC0");
    if (!is_zone_name(name)) {
        throw UsageError("time zone: got \"" + printable(name) +
                         "\", expected a name of the IANA database, such as \"Europe/Berlin\" or \"UTC\"");
    }
    const std::optional<std::string> bytes = read(name);
    if (!bytes) {
        throw UsageError(
            "time zone: got \"" + name +
            "\", which is not in the zone database of this machine; expected a name of the IANA "
            "database, such as \"Europe/Berlin\" (mind capital letters), or install the package "
            "tzdata (tzdata-legacy for old names), or set TZDIR to a folder of compiled zone files");
    }
    return TimeZone::from_tzif(name, *bytes);
}

}  // namespace dbos::core
