// What the driver of a chaos run did to processes and to the way to the server, and when: the oracles excuse with it what
// nobody could have done in time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace dbos::chaos {

using Micros = std::int64_t;  // of the system clock, since 1970

inline Micros now_us() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

struct Span {
    Micros from = 0, to = 0;
};

/// Thread-safe.
class Timeline {
   public:
    /// Until here the process lived: it was told to end then, or was not seen later.
    void lived_until(int pid, Micros at) {
        const std::lock_guard lock(mutex_);
        ends_.emplace(pid, at);
    }
    /// From SIGSTOP to SIGCONT, or to a signal that ended it.
    void stopped(int pid, Span span) {
        const std::lock_guard lock(mutex_);
        stops_[pid].push_back(span);
    }
    /// Nobody reached the server; `sharp`: nobody reached it at any moment in between.
    void outage(Span span, bool sharp) {
        const std::lock_guard lock(mutex_);
        outages_.push_back(span);
        if (sharp) sharp_.push_back(span);
    }
    std::optional<Micros> end(int pid) const {
        const std::lock_guard lock(mutex_);
        const auto found = ends_.find(pid);
        return found == ends_.end() ? std::nullopt : std::optional(found->second);
    }
    /// How much of the span the process was stopped, or the server out of reach.
    Micros away(int pid, Span span) const {
        const std::lock_guard lock(mutex_);
        std::vector<Span> all = outages_;
        if (const auto found = stops_.find(pid); found != stops_.end())
            all.insert(all.end(), found->second.begin(), found->second.end());
        std::ranges::sort(all, {}, &Span::from);
        Micros sum = 0, counted = span.from;
        for (const Span& one : all) {
            const Micros from = std::max(one.from, counted), to = std::min(one.to, span.to);
            if (to <= from) continue;
            sum += to - from;
            counted = to;
        }
        return sum;
    }
    std::vector<Span> sharp_outages() const {
        const std::lock_guard lock(mutex_);
        return sharp_;
    }

   private:
    mutable std::mutex mutex_;
    std::map<int, Micros> ends_;
    std::map<int, std::vector<Span>> stops_;
    std::vector<Span> outages_, sharp_;
};

}  // namespace dbos::chaos
