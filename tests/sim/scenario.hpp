// One world of the campaign: several applications and a client on one database, and what may go wrong.
#pragma once

#include <optional>
#include <vector>

#include "sim.hpp"

namespace dbos::sim {

inline constexpr Nanos kUsualLease = 7 * kSecond;

enum class Direction : std::uint8_t;
enum class ErrandKind : std::uint8_t;

inline constexpr const char* kOldVersion = "shop-1";  // as in the template, by default
inline constexpr const char* kNewVersion = "shop-2";

/// A call of the client to the scripted workflow.
struct Script {
    std::int64_t digits = 0;
    const char* queue = "";
    bool cancelled = false;
};

/// What a seed means. Everything that differs between worlds is drawn here.
struct Scenario {
    Plan plan;
    Nanos lease = kUsualLease;
    Nanos pace = kUsualLease;  // the lease, or a tenth: how long what takes long takes
    int apps = 2;
    int host_keys = 0;  // 0: all on one host; 1: each its own; 2: unreadable
    int direct = 2;     // workflows that each application starts
    int queued = 4;     // workflows that the client enqueues
    int cancels = 0;
    std::vector<ErrandKind> errands;  // of the client, beside its calls
    bool has(ErrandKind kind) const;
    int shutdowns = 0;   // graceful ends, followed by a new start
    bool fresh = false;  // the database is empty: the applications migrate it
    bool check_pid = true;
    bool retry = true;       // the applications repeat calls after a lost connection
    Nanos client_pause = 0;  // longest pause of the client between two calls
    bool wakeups = true;
    Nanos park_after = 3600 * kSecond;  // waits block
    /// The first application stays at the old version, the others get the new one then. Without it all have one.
    std::optional<Nanos> upgrade_at = {};
    std::int64_t max_running = 0;  // bodies at once in one application; 0 = no limit
    bool configured_ids = false;   // a process that is started again has the executor id of the one before

    Direction direction{};
    std::vector<Script> scripts;     // beside the queued workflows
    std::int64_t direct_script = 0;  // the direct workflows are scripted too; 0 = they are not
    Nanos direct_pause = 0;          // between two of them

    /// A length that is told for the usual lease: what it is with this one, and at this pace.
    Nanos by_lease(Nanos usual) const noexcept {
        return usual / kMillisecond * lease / (kUsualLease / kMillisecond);
    }
    Nanos by_pace(Nanos usual) const noexcept {
        return usual / kMillisecond * pace / (kUsualLease / kMillisecond);
    }
};

/// Draws of what a world is: of the seed alone, not of the world's own sequence.
class Dice {
   public:
    explicit Dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 0x1234567) {}
    std::uint64_t below(std::uint64_t limit) {
        state_ += 0x9e3779b97f4a7c15ull;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return (z ^ (z >> 31)) % limit;
    }
    bool one_in(std::uint64_t n) { return below(n) == 0; }
    template <class T, std::size_t N>
    T pick(const T (&values)[N]) {
        return values[below(N)];
    }

   private:
    std::uint64_t state_;
};

Scenario scenario_of(std::uint64_t seed);
/// What a seed's world is, in one line.
std::string describe(const Scenario& scenario);
/// The bytes of a migrated database without workflows; empty worlds begin with them.
std::string make_template();
/// Runs it; a failure ends the OS process (sim::on_failure).
Outcome play(const Scenario& scenario, const std::string& database_template);

}  // namespace dbos::sim
