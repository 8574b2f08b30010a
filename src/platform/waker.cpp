// A wait on one descriptor that other threads can end: eventfd and poll.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "platform/deadline.hpp"
#include "platform/seam.hpp"

namespace dbos::seam {

Waker::Waker() : event_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (event_fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

Waker::~Waker() { ::close(event_fd_); }

void Waker::wake() noexcept {
    const std::uint64_t one = 1;
    // EAGAIN means that the counter is full: the wake-up is already there.
    while (::write(event_fd_, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

Waker::Why Waker::wait(int fd, bool for_write, Duration timeout) {
    const detail::Deadline deadline(timeout);
    for (;;) {
        pollfd entries[2] = {{event_fd_, POLLIN, 0},
                             {fd, static_cast<short>(for_write ? POLLIN | POLLOUT : POLLIN), 0}};
        const int count = ::poll(entries, fd < 0 ? 1 : 2, deadline.poll_milliseconds());
        if (count < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
        if (count > 0 && entries[0].revents != 0) {
            std::uint64_t drained = 0;
            if (::read(event_fd_, &drained, sizeof drained) > 0) return Why::woken;
        }
        if (count > 0 && fd >= 0 && entries[1].revents != 0) return Why::ready;
        if (deadline.passed()) return Why::timeout;
    }
}

}  // namespace dbos::seam
