#include "value/uuid.hpp"

#include <chrono>
#include <utility>

namespace dbos {
namespace {

constexpr std::uint32_t kCounterMax = 0xFFF;

std::string uuid_text(std::uint64_t high, std::uint64_t low) {
    constexpr const char* hex = "0123456789abcdef";
    std::string text;
    text.reserve(36);
    for (int nibble = 0; nibble < 32; ++nibble) {
        if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) text.push_back('-');
        const std::uint64_t word = nibble < 16 ? high : low;
        text.push_back(hex[(word >> (60U - 4U * static_cast<unsigned>(nibble % 16))) & 0xFU]);
    }
    return text;
}

constexpr std::uint64_t variant(std::uint64_t low) {
    return (low & 0x3FFFFFFFFFFFFFFFULL) | 0x8000000000000000ULL;
}

std::int64_t wall_ms() {
    return std::chrono::floor<std::chrono::milliseconds>(seam::wall_now()).time_since_epoch().count();
}

}  // namespace

std::string uuid4() {
    const std::uint64_t high = (seam::random_u64() & 0xFFFFFFFFFFFF0FFFULL) | 0x4000ULL;
    return uuid_text(high, variant(seam::random_u64()));
}

Uuid7Generator::Uuid7Generator() : Uuid7Generator(wall_ms, seam::random_u64) {}
Uuid7Generator::Uuid7Generator(Clock clock, Random random)
    : clock_(std::move(clock)), random_(std::move(random)) {}

std::string Uuid7Generator::next() {
    const std::uint64_t random = random_();
    const std::int64_t now = clock_();
    std::int64_t ms = 0;
    std::uint32_t counter = 0;
    {
        const std::lock_guard lock(mutex_);
        if (now > last_ms_) {
            last_ms_ = now;
            // Starts in the lower half, so that a burst within one millisecond has room.
            counter_ = static_cast<std::uint32_t>(random >> 53U);
        } else if (++counter_ > kCounterMax) {
            ++last_ms_;
            counter_ = 0;
        }
        ms = last_ms_;
        counter = counter_;
    }
    const std::uint64_t high = (static_cast<std::uint64_t>(ms) << 16U) | 0x7000ULL | counter;
    return uuid_text(high, variant(random_()));
}

}  // namespace dbos
