// What is known of this and of other processes: /proc, pidfd, name spaces.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>
#include <string_view>

#include "platform/seam.hpp"

namespace dbos::seam {

namespace {

/// The text of a small file of /proc; empty if it cannot be read.
std::string read_small_file(const char* path) {
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return {};
    std::string text;
    char buffer[1024];
    for (;;) {
        const ssize_t got = ::read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            if (got < 0) text.clear();
            break;
        }
        text.append(buffer, static_cast<std::size_t>(got));
    }
    ::close(fd);
    return text;
}

struct Stat {
    char state = 0;
    std::uint64_t start = 0;
};

/// Fields 3 and 22 of /proc/PID/stat. The command (field 2) may hold anything, so counting begins at its last bracket.
Stat read_stat(int pid) {
    char path[64] = "/proc/";
    char* end = std::to_chars(path + 6, path + 32, pid).ptr;
    std::memcpy(end, "/stat", 6);
    const std::string text = read_small_file(path);
    const std::size_t bracket = text.rfind(')');
    if (bracket == std::string::npos || bracket + 2 >= text.size()) return {};
    Stat stat;
    std::string_view rest = std::string_view(text).substr(bracket + 2);
    stat.state = rest.front();
    for (int field = 3; field < 22; ++field) {
        const std::size_t space = rest.find(' ');
        if (space == std::string_view::npos) return {};
        rest.remove_prefix(space + 1);
    }
    std::from_chars(rest.data(), rest.data() + rest.size(), stat.start);
    return stat;
}

/// Whether a pidfd says that the process has ended.
bool pidfd_ended(int pid) noexcept {
    const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (fd < 0) return false;
    pollfd entry{fd, POLLIN, 0};
    const bool ended = ::poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN) != 0;
    ::close(fd);
    return ended;
}

std::string read_link(const char* path) {
    char buffer[256];
    const ssize_t size = ::readlink(path, buffer, sizeof buffer);
    return size > 0 ? std::string(buffer, static_cast<std::size_t>(size)) : std::string();
}

}  // namespace

// Every call of the engine asks, and a system call each time was a thirtieth of what a short workflow costs its thread.
int process_id() noexcept {
    static std::atomic<int> known = ::getpid();
    static const bool told_of_forks =
        ::pthread_atfork(nullptr, nullptr, [] { known.store(::getpid(), std::memory_order_relaxed); }) == 0;
    return told_of_forks ? known.load(std::memory_order_relaxed) : ::getpid();
}

std::uint64_t process_start(int pid) noexcept {
    try {
        return read_stat(pid).start;
    } catch (...) {
        return 0;
    }
}

Life process_life(int pid, std::uint64_t start) noexcept {
    if (pid <= 0) return Life::unknown;
    if (::kill(pid, 0) != 0) return errno == ESRCH ? Life::dead : Life::unknown;
    try {
        if (pidfd_ended(pid)) return Life::dead;
        const Stat stat = read_stat(pid);
        if (stat.state == 'Z' || stat.state == 'X') return Life::dead;
        if (stat.start == 0 || start == 0) return Life::unknown;
        return stat.start == start ? Life::alive : Life::dead;
    } catch (...) {
        return Life::unknown;
    }
}

std::string host_key() {
    std::string boot = read_small_file("/proc/sys/kernel/random/boot_id");
    while (!boot.empty() && (boot.back() == '\n' || boot.back() == ' ')) boot.pop_back();
    const std::string pid_space = read_link("/proc/self/ns/pid");
    const std::string time_space = read_link("/proc/self/ns/time");
    if (boot.empty() || pid_space.empty() || time_space.empty()) return {};
    return boot + '/' + pid_space + '/' + time_space;
}

}  // namespace dbos::seam
