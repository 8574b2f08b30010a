// Real processes for tests: this test program again, as a worker.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

extern char** environ;

namespace dbos::test {

/// A child process; killed and reaped by the destructor.
class Process {
   public:
    Process(const std::vector<std::string>& arguments) {
        std::vector<char*> argv;
        const std::string self = "/proc/self/exe";
        argv.push_back(const_cast<char*>(self.c_str()));
        for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
        argv.push_back(nullptr);
        if (posix_spawn(&pid_, self.c_str(), nullptr, nullptr, argv.data(), environ) != 0)
            throw std::runtime_error("posix_spawn failed");
    }
    Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)), code_(other.code_) {}
    Process& operator=(Process&& other) noexcept {
        std::swap(pid_, other.pid_);
        std::swap(code_, other.code_);
        return *this;
    }
    ~Process() {
        if (pid_ <= 0) return;
        kill(SIGKILL);
        reap();
    }
    pid_t pid() const noexcept { return pid_; }
    void kill(int signal) const {
        if (pid_ > 0) ::kill(pid_, signal);  // -1 would mean every process of this user
    }
    /// Waits for its end; the exit code, or minus the signal.
    int reap() {
        int status = 0;
        if (pid_ > 0 && waitpid(pid_, &status, 0) == pid_) ended(status);
        return code_;
    }
    /// Once it is false, reap() tells how it ended.
    bool running() {
        int status = 0;
        if (pid_ > 0 && waitpid(pid_, &status, WNOHANG) == pid_) ended(status);
        return pid_ > 0;
    }

   private:
    void ended(int status) {
        pid_ = -1;
        code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    pid_t pid_ = -1;
    int code_ = 0;
};

/// An append-only file that processes write whole lines to, one write(2) each.
class SideLog {
   public:
    explicit SideLog(std::string path) : path_(std::move(path)) {}
    void write(const std::string& line) const {
        const int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) return;
        const std::string text = line + "\n";
        static_cast<void>(!::write(fd, text.data(), text.size()));
        ::close(fd);
    }
    const std::string& path() const noexcept { return path_; }
    std::vector<std::string> lines() const {
        std::vector<std::string> result;
        const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) return result;
        std::string text;
        char buffer[65536];
        for (ssize_t got; (got = ::read(fd, buffer, sizeof buffer)) > 0;)
            text.append(buffer, static_cast<std::size_t>(got));
        ::close(fd);
        for (std::size_t from = 0, to; (to = text.find('\n', from)) != std::string::npos; from = to + 1)
            result.push_back(text.substr(from, to - from));
        return result;
    }
    std::size_t count(const std::string& text) const {
        std::size_t found = 0;
        for (const auto& line : lines()) found += line.find(text) != std::string::npos ? 1 : 0;
        return found;
    }

   private:
    std::string path_;
};

}  // namespace dbos::test
