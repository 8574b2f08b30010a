// Those who call in a chaos run: threads that enqueue workflows through the proxy, cancel some, and wait for all.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "chaos/pg/oracle.hpp"
#include "chaos/pg/random.hpp"
#include "dbos/dbos.hpp"

namespace dbos::chaos {

/// Thread-safe counts of what the callers did.
struct Calls {
    std::atomic<std::uint64_t> enqueued_again{0};  // by a caller that does not believe the first answer
    std::atomic<std::uint64_t> repeated{0};        // by a caller that got an error instead of an answer
    std::atomic<std::uint64_t> cancels{0};
    std::atomic<std::size_t> overdue{0};  // waits that did not end in time
};

class Callers {
   public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::uint64_t kThreads = 12;

    /// `options` of the clients. `only_queue`: where everything goes, unless it is empty. `end`: no calls begin after it; `give_up`: no wait lasts longer.
    Callers(const ClientOptions& options, std::string only_queue, std::uint64_t seed, Clock::time_point end,
            Clock::time_point give_up, Known& known);
    ~Callers() { join(); }
    void join();
    const Calls& calls() const noexcept { return calls_; }

   private:
    using Handle = WorkflowHandle<std::string>;
    static ClientOptions without_repeats(ClientOptions options);
    void drive(std::uint64_t thread);
    Handle enqueue(Random& random, const std::string& id);
    Handle enqueue_once(Client& client, std::uint64_t kind, const EnqueueOptions& options,
                        std::int64_t shape);
    Handle enqueue_until_told(std::uint64_t kind, const EnqueueOptions& options, std::int64_t shape);
    void enqueue_again(Random& random, std::uint64_t kind, EnqueueOptions options, std::int64_t shape);
    void cancel(const std::string& id);
    void wait(Handle& handle);

    const std::string only_queue_;
    const std::uint64_t seed_;
    const Clock::time_point end_, give_up_;
    Known& known_;
    Calls calls_;
    Client client_;
    Client blunt_;  // repeats nothing by itself
    std::vector<std::thread> threads_;
};

}  // namespace dbos::chaos
