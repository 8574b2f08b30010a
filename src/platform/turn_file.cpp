// The turn of one writer among the processes on one SQLite file: flock, with a bounded wait.
//
// flock() queues its waiters fairly but cannot time out, and a stopped process may hold the turn for ever. So a wait
// for a taken lock happens on a thread of its own, and the caller waits for that thread.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <mutex>

#include "platform/seam.hpp"

namespace dbos::seam {

struct TurnFile::Impl {
    enum class State : std::uint8_t { idle, wanted, granted, failed, abandoned };

    int fd = -1;
    Mutex mutex;
    CondVar changed;
    State state = State::idle;
    bool stopping = false;

    ~Impl() {
        if (fd >= 0) ::close(fd);
    }

    void serve() {
        std::unique_lock lock(mutex);
        for (;;) {
            changed.wait(lock, [this] { return stopping || state == State::wanted; });
            if (stopping) return;
            lock.unlock();
            int result = 0;
            while ((result = ::flock(fd, LOCK_EX)) != 0 && errno == EINTR) {
            }
            lock.lock();
            if (state == State::abandoned) {
                if (result == 0) ::flock(fd, LOCK_UN);
                state = State::idle;
            } else {
                state = result == 0 ? State::granted : State::failed;
            }
            changed.notify_all();
        }
    }
};

TurnFile::TurnFile(const std::string& database) : impl_(std::make_shared<Impl>()) {
    // Without the file (read-only directory) writers meet in SQLite's own lock: slower under contention, never wrong.
    impl_->fd = ::open((database + "-dbos-turn").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
}

TurnFile::~TurnFile() {
    if (!helper_.joinable()) return;
    bool stuck = false;
    {
        std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
        stuck = impl_->state == Impl::State::wanted || impl_->state == Impl::State::abandoned;
    }
    impl_->changed.notify_all();
    // A helper that waits for a stopped process cannot be joined; it keeps what it needs alive, and ends with the lock.
    if (stuck) {
        helper_.detach();
    } else {
        helper_.join();
    }
}

bool TurnFile::lock(Duration timeout, const std::function<bool()>& give_up) {
    Impl& impl = *impl_;
    if (impl.fd < 0) return true;
    std::unique_lock lock(impl.mutex);
    if (impl.state == Impl::State::idle) {
        if (::flock(impl.fd, LOCK_EX | LOCK_NB) == 0) return true;
        if (errno != EWOULDBLOCK && errno != EINTR) return true;  // a file system without flock
        if (!helper_.joinable()) helper_ = spawn("dbos-turn", [held = impl_] { held->serve(); });
        impl.state = Impl::State::wanted;
    } else {
        impl.state = Impl::State::wanted;  // the helper still waits for an abandoned turn: take it over
    }
    impl.changed.notify_all();
    const SteadyTime end = steady_now() + timeout;
    while (impl.state == Impl::State::wanted) {
        const SteadyTime now = steady_now();
        if (now >= end || (give_up && give_up())) {
            impl.state = Impl::State::abandoned;
            return false;
        }
        impl.changed.wait_until(lock, std::min(end, now + std::chrono::milliseconds(50)));
    }
    impl.state = Impl::State::idle;
    return true;
}

void TurnFile::unlock() noexcept {
    if (impl_->fd >= 0) ::flock(impl_->fd, LOCK_UN);
}

}  // namespace dbos::seam
