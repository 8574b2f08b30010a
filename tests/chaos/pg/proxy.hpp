// A proxy between the engine and a PostgreSQL server that does, at the boundaries of the protocol's messages, what networks do.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "chaos/pg/random.hpp"

namespace dbos::chaos {

/// Where the server listens. `host` that starts with `/` is the directory of its Unix socket.
struct Upstream {
    std::string host;
    std::string port;
};

/// Listens on 127.0.0.1 and on a Unix socket. For each connection, a sequence of faults from the seed and the number of the
/// connection: a message is delayed; a statement is held back for longer than half a lease; the connection is cut before a
/// message of either side is delivered; the acknowledgement is swallowed: the server has executed everything up to a Sync and
/// has said so, and the client sees the connection cut, after none or some of the replies. Connections whose start-up options
/// say chaos.actor=client count as the client's. Needs sslmode=disable and gssencmode=disable. Thread-safe.
class Proxy {
   public:
    /// `directory`: for the Unix socket. Throws std::system_error.
    Proxy(Upstream upstream, std::string directory, std::uint64_t seed);
    ~Proxy();
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    int port() const noexcept { return port_; }
    /// Faults on messages, off at first.
    void faults(bool on) noexcept { faults_ = on; }
    /// While refused, every connection is closed as soon as it is made; those that exist are cut.
    void refuse(bool on);
    /// While gone, nobody listens, and the Unix socket is not there; connections that exist are cut. Throws
    /// std::system_error if it cannot come back.
    void gone(bool on);
    std::uint64_t cuts() const noexcept { return cuts_; }
    std::uint64_t swallowed() const noexcept { return swallowed_; }
    /// Of those: of a write that was committed; and those of the client.
    std::uint64_t swallowed_commits() const noexcept { return swallowed_commits_; }
    std::uint64_t swallowed_of_client() const noexcept { return swallowed_of_client_; }
    std::uint64_t delays() const noexcept { return delays_; }
    std::uint64_t stalls() const noexcept { return stalls_; }
    std::uint64_t messages() const noexcept { return messages_; }

   private:
    class Link;
    struct Entry {
        std::unique_ptr<Link> link;
        std::thread thread;
    };
    bool listen();
    void deafen();
    std::string socket_path() const;
    void cut_all();
    void accept_all();
    void start(int client);
    void reap(bool all);

    const Upstream upstream_;
    const std::string directory_;
    const std::uint64_t seed_;
    int port_ = 0;
    std::mutex listening_;  // guards the next two once the acceptor runs; taken before mutex_
    int tcp_ = -1, unix_ = -1;
    std::atomic<bool> faults_{false}, refusing_{false}, ending_{false};
    std::atomic<std::uint64_t> cuts_{0}, swallowed_{0}, swallowed_commits_{0}, swallowed_of_client_{0};
    std::atomic<std::uint64_t> delays_{0}, stalls_{0}, messages_{0};
    std::mutex mutex_;
    std::list<Entry> links_;
    std::uint64_t made_ = 0;
    std::thread acceptor_;
};

}  // namespace dbos::chaos
