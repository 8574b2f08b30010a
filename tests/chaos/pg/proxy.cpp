#include "chaos/pg/proxy.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <system_error>
#include <vector>

#include "chaos/pg/workload.hpp"

namespace dbos::chaos {

namespace {

constexpr std::uint64_t kCutOneIn = 3'000;   // messages, of either side
constexpr std::uint64_t kSwallowOneIn = 80;  // synchronisations
constexpr std::uint64_t kSwallowOfClientOneIn = 6;
constexpr std::uint64_t kDelayOneIn = 60;   // messages: up to kDelayMs
constexpr std::uint64_t kStallOneIn = 600;  // synchronisations: the server takes longer than half a lease
constexpr int kDelayMs = 30, kStallAtLeastMs = kLeaseMs / 2 + 1, kStallAtMostMs = 2 * kLeaseMs;
constexpr int kPollMs = 200;
constexpr auto kAcceptPause = std::chrono::milliseconds(5);
// Outside of the ports that the kernel gives to clients: nobody else takes ours while nobody listens.
constexpr int kFirstPort = 20'000, kPorts = 12'000;
constexpr int kPortsToTry = 100;

// Codes in place of the protocol version (PostgreSQL, "Message Formats").
constexpr std::uint32_t kCancelRequest = 80877102, kSslRequest = 80877103, kGssRequest = 80877104;

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

std::uint32_t number_at(std::string_view text, std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(text[at + i]);
    return value;
}

sockaddr_un unix_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        throw std::length_error("the socket's path is too long: " + path);
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// Whether a command's tag says that something was written.
bool writes(std::string_view complete) {
    const std::string_view tag = complete.substr(std::min<std::size_t>(complete.size(), 5));
    if (tag.starts_with("COMMIT")) return true;
    const bool changes = tag.starts_with("INSERT") || tag.starts_with("UPDATE") || tag.starts_with("DELETE");
    return changes && !tag.ends_with(std::string_view(" 0\0", 3));
}

template <class Address>
const sockaddr* any(const Address& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

void no_delay(int fd) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int connect_to(const Upstream& upstream) {
    const bool local = upstream.host.starts_with("/");
    const int fd = ::socket(local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int code = 0;
    if (local) {
        const sockaddr_un address = unix_address(upstream.host + "/.s.PGSQL." + upstream.port);
        code = ::connect(fd, any(address), sizeof address);
    } else {
        const sockaddr_in address = loopback(std::stoi(upstream.port));
        code = ::connect(fd, any(address), sizeof address);
        no_delay(fd);
    }
    if (code == 0) return fd;
    ::close(fd);
    return -1;
}

bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

/// Appends what has come; false at the end of the stream.
bool receive(int fd, std::string& buffer) {
    char bytes[65536];
    const ssize_t got = ::recv(fd, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EINTR) return true;
    if (got <= 0) return false;
    buffer.append(bytes, static_cast<std::size_t>(got));
    return true;
}

/// Takes the first message off the buffer; empty if it is not complete. `typed`: a type byte comes before the length.
std::string take_message(std::string& buffer, bool typed) {
    const std::size_t head = typed ? 1 : 0;
    if (buffer.size() < head + 4) return {};
    const std::size_t length = head + number_at(buffer, head);
    if (buffer.size() < length) return {};
    std::string message = buffer.substr(0, length);
    buffer.erase(0, length);
    return message;
}

}  // namespace

/// One connection. run() belongs to its thread.
class Proxy::Link {
   public:
    Link(Proxy& proxy, int client, std::uint64_t number)
        : proxy_(proxy), random_(proxy.seed_, number), client_(client) {}
    ~Link() {
        ::close(client_);
        if (server_ >= 0) ::close(server_);
    }
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    void run() {
        server_ = connect_to(proxy_.upstream_);
        if (server_ >= 0) shuttle();
        // Both ends learn of it now; the numbers stay ours until the thread is joined.
        ::shutdown(client_, SHUT_RDWR);
        if (server_ >= 0) ::shutdown(server_, SHUT_RDWR);
        done_ = true;
    }
    bool done() const noexcept { return done_; }
    /// Thread-safe: the connection is cut soon.
    void cut() noexcept { cut_ = true; }

   private:
    void shuttle() {
        while (!cut_) {
            pollfd ends[] = {{client_, POLLIN, 0}, {server_, POLLIN, 0}};
            if (::poll(ends, 2, kPollMs) < 0 && errno != EINTR) return;
            if (ends[0].revents != 0) {
                if (!receive(client_, from_client_) || !from_client()) return;
            }
            if (ends[1].revents != 0) {
                if (!receive(server_, from_server_) || !from_server()) return;
            }
        }
        ++proxy_.cuts_;
    }

    bool from_client() {
        while (!cut_) {
            const std::string message = take_message(from_client_, started_);
            if (message.empty()) return true;
            bool asks_for_reply = false;
            if (!started_) {
                const std::uint32_t code = message.size() >= 8 ? number_at(message, 4) : 0;
                if (code == kSslRequest || code == kGssRequest) {
                    if (!send_all(client_, "N")) return false;
                    continue;
                }
                started_ = true;
                asks_for_reply = code != kCancelRequest;
                of_client_ = message.find("chaos.actor=client") != std::string::npos;
            } else {
                asks_for_reply = message[0] == 'S' || message[0] == 'Q';
            }
            if (!withholding() && !fault()) return false;
            if (asks_for_reply) {
                stall();
                ++asked_;
                if (swallow_at_ == 0 && proxy_.faults_ &&
                    random_.one_in(of_client_ ? kSwallowOfClientOneIn : kSwallowOneIn))
                    swallow_at_ = asked_;
            }
            if (!send_all(server_, message)) return false;
        }
        return true;
    }

    bool from_server() {
        while (!cut_) {
            const std::string message = take_message(from_server_, true);
            if (message.empty()) return true;
            const bool ready = message[0] == 'Z';
            if (withholding()) {
                withheld_.push_back(message);
                if (ready) return swallow(message.back() == 'I');
                continue;
            }
            if (!fault()) return false;
            if (ready) ++ready_;
            if (!send_all(client_, message)) return false;
        }
        return true;
    }

    /// The replies that come now belong to the synchronisation whose acknowledgement is swallowed.
    bool withholding() const { return swallow_at_ != 0 && ready_ + 1 == swallow_at_; }

    /// All of it is executed, and committed unless a transaction is open. The client gets some of the replies at most.
    /// Always false.
    bool swallow(bool committed) {
        for (std::uint64_t left = random_.below(withheld_.size()), i = 0; i < left; ++i) {
            if (!send_all(client_, withheld_[i])) break;
        }
        ++proxy_.swallowed_;
        ++proxy_.cuts_;
        const bool wrote = std::ranges::any_of(
            withheld_, [](const std::string& one) { return one[0] == 'C' && writes(one); });
        if (committed && wrote) ++proxy_.swallowed_commits_;
        if (committed && wrote && of_client_) ++proxy_.swallowed_of_client_;
        return false;
    }

    /// Delays what is delivered next; false if the connection is to be cut instead.
    bool fault() {
        ++proxy_.messages_;
        if (!proxy_.faults_) return true;
        if (random_.one_in(kCutOneIn)) {
            ++proxy_.cuts_;
            return false;
        }
        if (random_.one_in(kDelayOneIn)) {
            ++proxy_.delays_;
            std::this_thread::sleep_for(std::chrono::milliseconds(random_.between(1, kDelayMs)));
        }
        return true;
    }

    /// A statement that takes long: what came before the Sync is executed, holds its locks, and is not committed.
    void stall() {
        if (!proxy_.faults_ || !random_.one_in(kStallOneIn)) return;
        ++proxy_.stalls_;
        std::this_thread::sleep_for(
            std::chrono::milliseconds(random_.between(kStallAtLeastMs, kStallAtMostMs)));
    }

    Proxy& proxy_;
    Random random_;
    const int client_;
    int server_ = -1;
    std::string from_client_, from_server_;
    std::vector<std::string> withheld_;
    bool started_ = false, of_client_ = false;
    std::uint64_t asked_ = 0, ready_ = 0;  // synchronisations, and acknowledgements
    std::uint64_t swallow_at_ = 0;         // number of the one whose acknowledgement is swallowed; 0 = none
    std::atomic<bool> cut_{false}, done_{false};
};

Proxy::Proxy(Upstream upstream, std::string directory, std::uint64_t seed)
    : upstream_(std::move(upstream)), directory_(std::move(directory)), seed_(seed) {
    Random random(seed_, 0);
    for (int i = 0; port_ == 0 && i < kPortsToTry; ++i) {
        port_ = kFirstPort + static_cast<int>(random.below(kPorts));
        if (!listen()) port_ = 0;
    }
    if (port_ == 0) fail("the proxy cannot listen on 127.0.0.1 and on a Unix socket");
    acceptor_ = std::thread([this] { accept_all(); });
}

Proxy::~Proxy() {
    ending_ = true;
    acceptor_.join();
    reap(true);
    deafen();
}

bool Proxy::listen() {
    const int on = 1;
    tcp_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unix_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const sockaddr_in address = loopback(port_);
    const sockaddr_un path = unix_address(socket_path());
    if (tcp_ >= 0 && unix_ >= 0 && ::setsockopt(tcp_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        ::bind(tcp_, any(address), sizeof address) == 0 && ::listen(tcp_, 100) == 0 &&
        ::bind(unix_, any(path), sizeof path) == 0 && ::listen(unix_, 100) == 0)
        return true;
    deafen();
    return false;
}

void Proxy::deafen() {
    for (int* one : {&tcp_, &unix_}) {
        if (*one >= 0) ::close(*one);
        *one = -1;
    }
    ::unlink(socket_path().c_str());
}

std::string Proxy::socket_path() const { return directory_ + "/.s.PGSQL." + std::to_string(port_); }

void Proxy::refuse(bool on) {
    refusing_ = on;
    if (on) cut_all();
}

void Proxy::gone(bool on) {
    const std::lock_guard lock(listening_);
    if (on) {
        deafen();
        cut_all();
    } else if (tcp_ < 0 && !listen()) {
        fail("the proxy cannot listen again");
    }
}

void Proxy::cut_all() {
    const std::lock_guard lock(mutex_);
    for (Entry& entry : links_) entry.link->cut();
}

void Proxy::accept_all() {
    while (!ending_) {
        std::this_thread::sleep_for(kAcceptPause);
        const std::lock_guard lock(listening_);
        for (const int listening : {tcp_, unix_}) {
            if (listening < 0) continue;
            const int client = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
            if (client >= 0) start(client);
        }
        reap(false);
    }
}

void Proxy::start(int client) {
    no_delay(client);
    const std::lock_guard lock(mutex_);
    if (refusing_) {
        ::close(client);
        return;
    }
    Entry& entry = links_.emplace_back(std::make_unique<Link>(*this, client, ++made_), std::thread());
    entry.thread = std::thread([link = entry.link.get()] { link->run(); });
}

void Proxy::reap(bool all) {
    const std::lock_guard lock(mutex_);
    for (auto at = links_.begin(); at != links_.end();) {
        if (all) at->link->cut();
        if (!all && !at->link->done()) {
            ++at;
            continue;
        }
        at->thread.join();
        at = links_.erase(at);
    }
}

}  // namespace dbos::chaos
