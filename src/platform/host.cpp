#include "platform/host.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <thread>

#include "dbos/error.hpp"

namespace dbos::seam {

std::string host_name() {
    char name[256] = {};
    if (gethostname(name, sizeof name - 1) != 0 || name[0] == 0) return "host";
    return std::string(name).substr(0, 64);
}

std::size_t map_count_limit() noexcept {
    constexpr std::size_t kKernelDefault = 65530;
    try {
        std::ifstream file("/proc/sys/vm/max_map_count");
        std::size_t count = 0;
        if (file >> count && count > 0) return count;
    } catch (...) {  // unreadable: the default
    }
    return kKernelDefault;
}

std::size_t processors() noexcept { return std::max(1U, std::thread::hardware_concurrency()); }

namespace {

// A signal handler can reach nothing but statics; this is the only state of the library that is one.
std::atomic<int> signal_event{-1};
struct sigaction previous_int, previous_term;

void on_signal(int) {
    const int saved = errno;
    const std::uint64_t one = 1;
    const int fd = signal_event.load();
    if (fd >= 0) static_cast<void>(!write(fd, &one, sizeof one));
    errno = saved;
}

}  // namespace

TerminationSignals::TerminationSignals() {
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    int none = -1;
    if (!signal_event.compare_exchange_strong(none, fd)) {
        close(fd);
        throw UsageError(
            "wait() is running on another App of this process: only one can wait for the termination "
            "signals");
    }
    struct sigaction action = {};
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, &previous_int);
    sigaction(SIGTERM, &action, &previous_term);
}

TerminationSignals::~TerminationSignals() {
    sigaction(SIGINT, &previous_int, nullptr);
    sigaction(SIGTERM, &previous_term, nullptr);
    close(signal_event.exchange(-1));
}

bool TerminationSignals::arrived() const noexcept {
    pollfd watched{signal_event.load(), POLLIN, 0};
    return poll(&watched, 1, 0) > 0;
}

void TerminationSignals::wait(Duration at_most) {
    pollfd watched{signal_event.load(), POLLIN, 0};
    poll(&watched, 1,
         static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(at_most).count()));
}

}  // namespace dbos::seam
