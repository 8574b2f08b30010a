// The end of a wait, in the form that poll() wants. For src/platform only.
#pragma once

#include <climits>

#include "platform/seam.hpp"

namespace dbos::seam::detail {

/// A point in time; Duration::max() (or anything beyond a century) means never.
class Deadline {
   public:
    explicit Deadline(Duration timeout)
        : never_(timeout > std::chrono::hours(24 * 36500)),
          end_(never_ ? SteadyTime{} : steady_now() + timeout) {}
    bool passed() const noexcept { return !never_ && steady_now() >= end_; }
    Duration left() const noexcept {
        if (never_) return Duration::max();
        const Duration rest = end_ - steady_now();
        return rest > Duration::zero() ? rest : Duration::zero();
    }
    /// Rounded up, so that a wait does not end a moment early and spin.
    int poll_milliseconds() const noexcept {
        if (never_) return -1;
        const auto rest = std::chrono::ceil<std::chrono::milliseconds>(left()).count();
        return rest > INT_MAX ? INT_MAX : static_cast<int>(rest);
    }

   private:
    bool never_;
    SteadyTime end_;
};

}  // namespace dbos::seam::detail
