#include <algorithm>
#include <chrono>

#include "sql/connection.hpp"

namespace dbos::sql {

seam::Duration retry_delay(int attempt, seam::Duration cap) {
    using Seconds = std::chrono::duration<double>;
    constexpr int kMostDoublings = 30;  // far beyond any cap, far below overflow
    const double base = 0.1 * static_cast<double>(1LL << std::clamp(attempt, 0, kMostDoublings));
    const double capped = std::min(base, Seconds(cap).count());
    const double unit = static_cast<double>(seam::random_u64() >> 11) * 0x1p-53;  // [0, 1)
    return std::chrono::duration_cast<seam::Duration>(Seconds(capped * (0.5 + unit)));
}

}  // namespace dbos::sql
