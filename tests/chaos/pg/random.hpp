// The random numbers of a chaos run: everything that is drawn comes from its seed.
#pragma once

#include <cstdint>

namespace dbos::chaos {

/// SplitMix64: good enough to draw faults, and any number is a good seed.
class Random {
   public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    /// Another sequence for each stream of the same seed.
    Random(std::uint64_t seed, std::uint64_t stream) : state_(seed) {
        state_ = next() ^ (stream * 0xd1342543de82ef95ull);
    }
    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }
    std::uint64_t below(std::uint64_t limit) { return next() % limit; }
    int between(int low, int high) {
        return low + static_cast<int>(next() % (static_cast<std::uint32_t>(high - low) + 1u));
    }
    bool one_in(std::uint64_t n) { return below(n) == 0; }

   private:
    std::uint64_t state_;
};

}  // namespace dbos::chaos
