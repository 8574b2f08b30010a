// Clocks, sleeping and named threads.
#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "platform/seam.hpp"

namespace dbos::seam {

namespace {

/// Sleeps on the monotonic clock and resumes after signals.
void sleep_uninterrupted(Duration duration) noexcept {
    if (duration <= Duration::zero()) return;
    timespec rest{};
    rest.tv_sec = static_cast<time_t>(duration.count() / 1'000'000'000);
    rest.tv_nsec = static_cast<long>(duration.count() % 1'000'000'000);
    while (::clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, &rest) == EINTR) {
    }
}

}  // namespace

void Signal::wait() noexcept {
    while (::sem_wait(&semaphore_) != 0) {  // EINTR
    }
}

bool Signal::wait_for(Duration time) noexcept {
    timespec end{};
    ::clock_gettime(CLOCK_REALTIME, &end);
    const auto nanos = end.tv_nsec + std::max(time, Duration::zero()).count();
    end.tv_sec += static_cast<time_t>(nanos / 1'000'000'000);
    end.tv_nsec = static_cast<long>(nanos % 1'000'000'000);
    // sem_clockwait() would take the steady clock, but the thread sanitizer does not know it.
    while (::sem_timedwait(&semaphore_, &end) != 0) {
        if (errno == ETIMEDOUT) return false;
    }
    return true;
}

Thread detail::spawn_named(const char* name, std::function<void()> body) {
    return Thread([name = std::string(name).substr(0, 15), run = std::move(body)] {
        ::pthread_setname_np(::pthread_self(), name.c_str());
        run();
    });
}

SteadyTime steady_now() noexcept { return std::chrono::steady_clock::now(); }
WallTime wall_now() noexcept { return std::chrono::system_clock::now(); }

Duration boot_now() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return std::chrono::seconds(now.tv_sec) + Duration(now.tv_nsec);
}

void sleep_for(Duration duration) { sleep_uninterrupted(duration); }

bool sleep_in_callback(Duration duration) noexcept {
    sleep_uninterrupted(duration);
    return true;
}

}  // namespace dbos::seam
