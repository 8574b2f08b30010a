// A TCP relay between the program under test and a server, which the test can cut or freeze: a server that is away, or a
// firewall that drops everything without a word.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dbos::test {

class Proxy {
   public:
    enum class Mode : std::uint8_t {
        pass,
        refuse,  // connections are closed, new ones at once
        freeze,  // nothing is forwarded any more, and nobody is told
    };

    /// To 127.0.0.1:`port`.
    explicit Proxy(std::uint16_t port) : target_(port), listener_(listening()), thread_([this] { run(); }) {}
    ~Proxy() {
        stop_ = true;
        thread_.join();
        close_all();
        ::close(listener_);
    }
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    std::uint16_t port() const {
        sockaddr_in address{};
        socklen_t size = sizeof address;
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        return ntohs(address.sin_port);
    }
    void set(Mode mode) { mode_ = mode; }

   private:
    static sockaddr_in local(std::uint16_t port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(port);
        return address;
    }
    static int listening() {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const sockaddr_in address = local(0);
        if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
            ::listen(fd, 64) != 0)
            throw std::runtime_error("no socket for the relay");
        return fd;
    }
    void accept_one() {
        const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (client < 0) return;
        if (mode_ == Mode::refuse) {
            ::close(client);
            return;
        }
        const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const sockaddr_in address = local(target_);
        if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            ::close(client);
            ::close(server);
            return;
        }
        pairs_.emplace_back(client, server);
    }
    void close_all() {
        for (const auto& [a, b] : pairs_) {
            ::close(a);
            ::close(b);
        }
        pairs_.clear();
    }
    /// False if one side has hung up.
    static bool relay(int from, int to) {
        char buffer[65536];
        const ssize_t got = ::recv(from, buffer, sizeof buffer, 0);
        if (got <= 0) return false;
        for (ssize_t sent = 0; sent < got;) {
            const ssize_t n = ::send(to, buffer + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
            if (n <= 0) return false;
            sent += n;
        }
        return true;
    }
    void run() {
        while (!stop_) {
            if (mode_ == Mode::refuse) close_all();
            std::vector<pollfd> fds{{listener_, POLLIN, 0}};
            if (mode_ == Mode::pass) {
                for (const auto& [a, b] : pairs_) {
                    fds.push_back({a, POLLIN, 0});
                    fds.push_back({b, POLLIN, 0});
                }
            }
            if (::poll(fds.data(), static_cast<nfds_t>(fds.size()), 20) <= 0 || mode_ != Mode::pass) {
                if (mode_ == Mode::refuse && fds[0].revents != 0) accept_one();
                if (mode_ == Mode::freeze) std::this_thread::sleep_for(std::chrono::milliseconds(5));
                continue;
            }
            std::vector<std::pair<int, int>> living;
            for (std::size_t i = 0; i < pairs_.size(); ++i) {
                const auto [a, b] = pairs_[i];
                const bool fine = (fds[1 + 2 * i].revents == 0 || relay(a, b)) &&
                                  (fds[2 + 2 * i].revents == 0 || relay(b, a));
                if (fine) {
                    living.push_back(pairs_[i]);
                } else {
                    ::close(a);
                    ::close(b);
                }
            }
            pairs_ = std::move(living);
            if (fds[0].revents != 0) accept_one();
        }
    }

    const std::uint16_t target_;
    const int listener_;
    std::atomic<Mode> mode_{Mode::pass};
    std::atomic<bool> stop_{false};
    std::vector<std::pair<int, int>> pairs_;  // of the thread
    std::thread thread_;
};

}  // namespace dbos::test
