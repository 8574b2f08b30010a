// Workers that do what the oracles of a chaos run must find: an oracle that nothing can make fail proves nothing.
#pragma once

#include <span>
#include <string>
#include <thread>

namespace dbos::chaos {

/// A way to misbehave, and the word of the verdict that must follow.
struct Proof {
    const char* how;
    const char* finding;
};

/// All of them. "" behaves.
std::span<const Proof> proofs();

/// In the worker process. Those that happen in bodies or at the registration of queues are asked for with is(); the others
/// are done to the database by a thread, on a connection of its own, until the process ends.
class Misbehaviour {
   public:
    /// Throws std::invalid_argument for a way that does not exist.
    explicit Misbehaviour(std::string how);
    Misbehaviour(const Misbehaviour&) = delete;
    Misbehaviour& operator=(const Misbehaviour&) = delete;
    ~Misbehaviour();

    bool is(const char* how) const { return how_ == how; }
    /// Once the application is up.
    void start(const std::string& url, const std::string& schema, const std::string& executor_id);

   private:
    void run(std::stop_token stop, const std::string& url, const std::string& schema,
             const std::string& executor_id) const;
    const std::string how_;
    std::jthread thread_;
};

}  // namespace dbos::chaos
