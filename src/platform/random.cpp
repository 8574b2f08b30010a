// Randomness from the kernel.
#include <sys/random.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "platform/seam.hpp"

namespace dbos::seam {

namespace {

void fill(void* target, std::size_t size) noexcept {
    auto* bytes = static_cast<unsigned char*>(target);
    while (size > 0) {
        const ssize_t got = ::getrandom(bytes, size, 0);
        if (got < 0) {
            if (errno == EINTR) continue;
            std::abort();  // a kernel without getrandom: no safe id can be made
        }
        bytes += got;
        size -= static_cast<std::size_t>(got);
    }
}

/// A cache of kernel randomness. The flag is only ever tried: a thread that finds it taken, or a forked child whose
/// parent held it at the fork, asks the kernel directly, so nothing can block or be handed out twice.
struct Cache {
    std::atomic_flag taken = ATOMIC_FLAG_INIT;
    pid_t owner = 0;
    std::size_t left = 0;
    std::uint64_t words[32] = {};
};
constinit Cache cache;

}  // namespace

std::uint64_t random_u64() {
    std::uint64_t value = 0;
    if (cache.taken.test_and_set(std::memory_order_acquire)) {
        fill(&value, sizeof value);
        return value;
    }
    const pid_t self = ::getpid();
    if (cache.left == 0 || cache.owner != self) {
        fill(cache.words, sizeof cache.words);
        cache.owner = self;
        cache.left = std::size(cache.words);
    }
    std::uint64_t& word = cache.words[--cache.left];
    value = word;
    word = 0;
    cache.taken.clear(std::memory_order_release);
    return value;
}

}  // namespace dbos::seam
