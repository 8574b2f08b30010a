#include "platform/zone_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace dbos::seam {

namespace {

constexpr std::size_t kLargest = 1 << 20;  // the largest known has 4 KB

std::optional<std::string> read_regular_file(const std::string& path) {
    // O_NONBLOCK: a pipe in the folder must not make the caller wait.
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return std::nullopt;
    std::optional<std::string> text;
    struct stat status{};
    if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        text.emplace();
        char buffer[8192];
        for (;;) {
            const ssize_t got = ::read(fd, buffer, sizeof buffer);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0 || text->size() > kLargest) text.reset();
            if (got <= 0 || !text) break;
            text->append(buffer, static_cast<std::size_t>(got));
        }
    }
    ::close(fd);
    return text;
}

}  // namespace

std::optional<std::string> read_zone_file(const std::string& name) {
    const char* own = std::getenv("TZDIR");
    if (own != nullptr && *own != '\0') {
        if (auto text = read_regular_file(std::string(own) + '/' + name)) return text;
    }
    for (const char* folder : {"/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"}) {
        if (auto text = read_regular_file(std::string(folder) + '/' + name)) return text;
    }
    return std::nullopt;
}

}  // namespace dbos::seam
