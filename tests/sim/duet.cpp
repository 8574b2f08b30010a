#include "duet.hpp"

#include <optional>
#include <stdexcept>

namespace dbos::sim {

namespace {

constexpr const char* kMail = "mail";
constexpr const char* kNews = "news";
constexpr const char* kPages = "pages";

/// The bits of an argument, taken one after another.
class Bits {
   public:
    explicit Bits(std::int64_t bits) : bits_(static_cast<std::uint64_t>(bits)) {}
    std::uint64_t below(std::uint64_t limit) {
        bits_ ^= bits_ >> 29;
        bits_ *= 0xbf58476d1ce4e5b9ull;
        bits_ ^= bits_ >> 32;
        return bits_ % limit;
    }
    bool one_in(std::uint64_t chances) { return below(chances) == 0; }
    Nanos time(Nanos pace) {
        const Nanos times[] = {0, 3 * kMillisecond, 80 * kMillisecond, pace * 2 / 7, pace, pace * 3};
        return times[below(std::size(times))];
    }
    std::int64_t rest() { return static_cast<std::int64_t>(below(std::uint64_t{1} << 40)); }

   private:
    std::uint64_t bits_;
};

Duration span(Nanos time) { return seam::Duration(time); }

std::string text(const std::optional<std::string>& value) { return value.value_or("-") + ","; }

void take_time(Context& ctx, const char* name, Nanos time) {
    ctx.step(Name::dynamic(name), [time] {
        if (time > 0) seam::sleep_for(seam::Duration(time));
    });
}

}  // namespace

std::string listener(Context& ctx, std::int64_t argument, Nanos pace, StepWatch& watch) {
    Bits bits(argument);
    std::size_t waits = 0;
    const auto told = [&](const std::string& value) {
        watch.told(ctx.workflow_id(), waits++, value);
        return value;
    };
    const std::string partner = ctx.workflow_id().substr(0, ctx.workflow_id().rfind('-'));
    std::string result;
    {
        auto mail = ctx.recv_async<std::string>(kMail, span(bits.time(pace)));
        auto limit = ctx.sleep_async(span(bits.time(pace)));
        auto news = ctx.get_event_async<std::string>(partner, kNews, span(bits.time(pace)));
        const bool works = bits.one_in(3);
        const Nanos work = bits.time(pace) / 4;
        auto step = ctx.async_step("aside", [works, work] {
            if (works && work > 0) seam::sleep_for(seam::Duration(work));
            return 1;
        });
        if (bits.one_in(2)) step.get();
        result += told(std::to_string(ctx.select(mail, limit, news)) + ":");
        result += told(text(mail.get()));
        if (bits.one_in(2)) result += told(text(news.get()));
    }
    if (ctx.patch("more")) {
        for (auto left = bits.below(3); left > 0; --left)
            result += told(text(ctx.recv<std::string>(kMail, span(bits.time(pace)))));
    }
    if (bits.one_in(3)) {
        try {
            auto pages = ctx.read_stream<std::string>(partner, kPages, {.timeout = span(bits.time(pace))});
            while (const auto page = pages.next()) result += told(*page + ",");
        } catch (const StreamTimeout&) {
            result += told("late,");
        }
    }
    ctx.defer("leave", [] {});
    return result;
}

std::string duet(Context& ctx, std::int64_t argument, Nanos pace) {
    Bits bits(argument);
    EnqueueOptions options;
    if (bits.one_in(2)) options.queue_name = kWide;
    std::vector<WorkflowHandle<std::string>> others;
    others.push_back(ctx.start_workflow(Listener, options, bits.rest()));
    if (bits.one_in(3)) others.push_back(ctx.start_workflow(Listener, {}, bits.rest()));
    take_time(ctx, "think", bits.time(pace) / 3);
    const auto messages = 1 + bits.below(3);
    for (std::uint64_t n = 0; n < messages; ++n) {
        for (const auto& other : others) ctx.send(other.workflow_id(), "m" + std::to_string(n), kMail);
        if (bits.one_in(2)) ctx.write_stream(kPages, "p" + std::to_string(n));
        if (bits.one_in(3)) take_time(ctx, "write", bits.time(pace) / 5);
    }
    ctx.set_event(kNews, "n");
    ctx.close_stream(kPages);
    std::string result;
    if (bits.one_in(2)) {
        result += ctx.wait_first(others).workflow_id() + ";";
    } else {
        ctx.wait_all(others);
    }
    for (const auto& other : others) {
        try {
            result += other.get_result() + ";";
        } catch (const std::exception&) {  // cancelled, deleted
            result += "!;";
        }
    }
    return result;
}

}  // namespace dbos::sim
