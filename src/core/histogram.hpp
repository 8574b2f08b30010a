// Durations counted in classes: a small, fixed size, and quantiles that are right within a twentieth.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <span>

namespace dbos::core {

class Histogram {
   public:
    void add(std::chrono::nanoseconds duration) noexcept {
        const double micros = std::max(1.0, static_cast<double>(duration.count()) / 1000);
        const auto place = static_cast<std::size_t>(std::log2(micros) * kPerOctave);
        ++counts_[std::min(place, kClasses - 1)];
        ++total_;
    }
    /// Adds what another one has counted (its counts()).
    void add(std::span<const std::uint64_t> counts) noexcept {
        for (std::size_t place = 0; place < std::min(counts.size(), kClasses); ++place) {
            counts_[place] += counts[place];
            total_ += counts[place];
        }
    }
    std::span<const std::uint64_t> counts() const noexcept { return counts_; }
    std::uint64_t total() const noexcept { return total_; }
    /// The upper end of the class in which this share of all lies, in ms; 0 without any.
    double quantile_ms(double share) const noexcept {
        auto left = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(total_)));
        for (std::size_t place = 0; place < kClasses; ++place) {
            if (counts_[place] >= left && left > 0)
                return std::exp2(static_cast<double>(place + 1) / kPerOctave) / 1000;
            left -= counts_[place];
        }
        return 0;
    }

   private:
    static constexpr double kPerOctave = 16;
    static constexpr std::size_t kClasses = 448;  // 1 us to 4 min
    std::array<std::uint64_t, kClasses> counts_{};
    std::uint64_t total_ = 0;
};

}  // namespace dbos::core
