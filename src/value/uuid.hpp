// UUIDs as lower-case text with hyphens.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "platform/seam.hpp"

namespace dbos {

/// Random (version 4), from the seam.
std::string uuid4();

/// Version 7 (RFC 9562): milliseconds, a 12-bit counter, random bits. The ids of one generator strictly
/// increase as texts, also when the clock goes back. Thread-safe.
class Uuid7Generator {
   public:
    using Clock = std::function<std::int64_t()>;  // milliseconds since 1970
    using Random = std::function<std::uint64_t()>;

    /// Wall clock and randomness of the seam.
    Uuid7Generator();
    Uuid7Generator(Clock clock, Random random);
    Uuid7Generator(const Uuid7Generator&) = delete;
    Uuid7Generator& operator=(const Uuid7Generator&) = delete;

    std::string next();

   private:
    Clock clock_;
    Random random_;
    seam::Mutex mutex_;
    std::int64_t last_ms_ = 0;
    std::uint32_t counter_ = 0;
};

}  // namespace dbos
