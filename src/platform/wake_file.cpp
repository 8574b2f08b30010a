// The side file by which processes on one SQLite database wake each other.
//
// A signal appends one byte. A watcher compares the size of the file with what it has seen and with what this process
// appended itself, so that own signals do not wake it and none of others is lost. inotify only says when to look.
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

#include "platform/deadline.hpp"
#include "platform/seam.hpp"

namespace dbos::seam {

namespace {

constexpr off_t kLargestSideFile = 1 << 20;
/// The write-ahead log changes several times in one commit; it is reported at most this often.
constexpr Duration kLogReportInterval = std::chrono::milliseconds(5);

void close_descriptor(int& fd) noexcept {
    if (fd >= 0) ::close(fd);
    fd = -1;
}

/// Reads all pending events away. Returns whether there were any, and whether a watched file has gone.
struct Drained {
    bool any = false;
    bool gone = false;
};
Drained drain(int fd) noexcept {
    Drained drained;
    alignas(inotify_event) char buffer[4096];
    for (;;) {
        const ssize_t got = ::read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return drained;
        drained.any = true;
        for (ssize_t at = 0; at < got;) {
            const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
            if ((event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0) drained.gone = true;
            at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        }
    }
}

}  // namespace

struct WakeFile::Impl {
    std::string database;
    bool has_file = true;
    int pid = process_id();
    int event_fd = -1;
    int side_watch = -1;  // inotify on the side file
    int log_watch = -1;   // inotify on the log and the database file
    bool watches_side = false;
    bool watches_log = false;
    SteadyTime log_reported{};

    Mutex mutex;  // below: the side file as seen by signal() and wait()
    int side_fd = -1;
    off_t seen = 0;
    off_t own = 0;        // bytes appended by this object since `seen`
    bool missed = false;  // report a signal at the next look

    ~Impl() {
        close_descriptor(event_fd);
        close_descriptor(side_watch);
        close_descriptor(log_watch);
        close_descriptor(side_fd);
    }

    std::string side_path() const { return database + "-dbos-wake"; }

    void open_side() noexcept {
        if (side_fd >= 0 || !has_file) return;
        struct stat info{};
        const mode_t mode = ::stat(database.c_str(), &info) == 0 ? info.st_mode & 0666 : 0644;
        side_fd = ::open(side_path().c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, mode);
        if (side_fd < 0) return;
        seen = ::fstat(side_fd, &info) == 0 ? info.st_size : 0;
        own = 0;
    }

    /// Whether another process has signalled since the last look.
    bool look() noexcept {
        std::lock_guard lock(mutex);
        struct stat info{};
        if (side_fd < 0 || ::fstat(side_fd, &info) != 0) return false;
        bool signalled = missed || info.st_size - seen != own;  // a smaller file was emptied by a peer
        seen = info.st_size;
        if (info.st_nlink == 0) {  // deleted: peers write, or will make, another one
            close_descriptor(side_fd);
            open_side();
            watches_side = false;
            signalled = true;
        }
        missed = false;
        own = 0;
        return signalled;
    }

    /// (Re-)establishes missing watches. Returns whether something may have been missed meanwhile.
    Event watch() {
        Event found;
        if (!has_file) return found;
        if (!watches_side && side_watch >= 0) {
            {
                std::lock_guard lock(mutex);
                open_side();
            }
            watches_side = ::inotify_add_watch(side_watch, side_path().c_str(), IN_MODIFY | IN_ATTRIB) >= 0;
        }
        if (!watches_log && log_watch >= 0) {
            const std::uint32_t mask = IN_MODIFY | IN_DELETE_SELF | IN_MOVE_SELF;
            ::inotify_add_watch(log_watch, database.c_str(), mask);
            watches_log = ::inotify_add_watch(log_watch, (database + "-wal").c_str(), mask) >= 0;
            found.wal = watches_log;
        }
        return found;
    }
};

WakeFile::WakeFile(std::string database) : impl_(std::make_unique<Impl>()) {
    Impl& impl = *impl_;
    impl.has_file = !database.empty() && database != ":memory:";
    impl.database = std::move(database);
    impl.event_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (impl.event_fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    if (!impl.has_file) return;
    // Where inotify is exhausted or missing, waits end by their time-out: the caller's poll floor.
    impl.side_watch = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    impl.log_watch = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    impl.watch();
}

WakeFile::~WakeFile() = default;

void WakeFile::signal() noexcept {
    Impl& impl = *impl_;
    if (!impl.has_file || process_id() != impl.pid) return;
    try {
        std::lock_guard lock(impl.mutex);
        impl.open_side();
        if (impl.side_fd < 0) return;
        struct stat info{};
        if (::fstat(impl.side_fd, &info) == 0) {
            if (info.st_nlink == 0) {  // deleted: peers watch, or will make, another one
                close_descriptor(impl.side_fd);
                impl.open_side();
                impl.missed = true;
            } else if (info.st_size > kLargestSideFile && ::ftruncate(impl.side_fd, 0) == 0) {
                impl.seen = impl.own = 0;
                impl.missed = true;  // what was not looked at yet is gone with the bytes
            }
        }
        if (impl.side_fd < 0) return;
        const char byte = '.';
        ssize_t written = 0;
        while ((written = ::write(impl.side_fd, &byte, 1)) < 0 && errno == EINTR) {
        }
        if (written == 1) ++impl.own;
    } catch (...) {  // a mutex that cannot be locked: peers fall back to their poll floor
    }
}

WakeFile::Event WakeFile::wait(Duration timeout) {
    Impl& impl = *impl_;
    const detail::Deadline deadline(timeout);
    Event event = impl.watch();
    event.signalled = impl.look();
    bool log_pending = event.wal;
    for (;;) {
        const Duration quiet = impl.log_reported + kLogReportInterval - steady_now();
        event.wal = log_pending && (event.signalled || quiet <= Duration::zero());
        if (event.wal) impl.log_reported = steady_now();
        if (event.signalled || event.wal || event.woken || deadline.passed()) return event;

        int limit = deadline.poll_milliseconds();
        const bool hold_log = quiet > Duration::zero();
        if (hold_log) {
            const int pause = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(quiet).count());
            if (limit < 0 || pause < limit) limit = pause;
        }
        pollfd entries[3] = {{impl.event_fd, POLLIN, 0},
                             {impl.watches_side ? impl.side_watch : -1, POLLIN, 0},
                             {hold_log ? -1 : impl.log_watch, POLLIN, 0}};
        const int count = ::poll(entries, 3, limit);
        if (count < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
        if (count <= 0) continue;
        if (entries[0].revents != 0) {
            std::uint64_t drained = 0;
            event.woken = ::read(impl.event_fd, &drained, sizeof drained) > 0;
        }
        if (entries[1].revents != 0) {
            drain(impl.side_watch);
            event.signalled = impl.look();
            if (!impl.watches_side) impl.watch();
        }
        if (entries[2].revents != 0) {
            const Drained drained = drain(impl.log_watch);
            log_pending = log_pending || drained.any;
            if (drained.gone) impl.watches_log = false;
        }
    }
}

void WakeFile::interrupt() noexcept {
    const std::uint64_t one = 1;
    while (::write(impl_->event_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

}  // namespace dbos::seam
