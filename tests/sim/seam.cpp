// The simulated side of the functions of the seam: clocks, sleeps, randomness, database calls, processes.
#include <cstdint>
#include <string>

#include "platform/host.hpp"
#include "world.hpp"

namespace dbos::seam {

using namespace sim;

namespace {
constexpr Nanos kWallBase = 1'700'000'000 * kSecond;
}

SteadyTime steady_now() noexcept { return SteadyTime(Duration(steady_ns())); }
WallTime wall_now() noexcept {
    const Unseen unseen;
    Nanos now = kWallBase;
    if (world) now += world->now;
    if (current_process() >= 0) now += host_of(instance_of(current_process())).wall_jumps;
    return WallTime(std::chrono::duration_cast<WallTime::duration>(Duration(now)));
}
Duration boot_now() noexcept { return Duration(world ? world->now : 0); }

void sleep_for(Duration duration) {
    if (duration > Duration::zero()) block('z', 0, steady_ns() + duration.count());
}
bool sleep_in_callback(Duration duration) noexcept {
    if (quiet()) return false;
    sleep_for(duration);
    return true;
}
std::uint64_t random_u64() { return draw(); }

DbFault db_call(DbOp op) noexcept {
    const Unseen unseen;
    sim::point('D', static_cast<std::uint32_t>(op));
    if (quiet() || current->process < 0 || op == DbOp::rollback || op == DbOp::close) return DbFault::none;
    if (director) {
        const DbFault fault = director->call(op);
        if (fault != DbFault::none) trace("FAULT by the direction of this world");
        if (fault != DbFault::none) return fault;
    }
    if (world->now < world->away_until) return DbFault::refuse;
    if (!world->call_faults) return DbFault::none;
    if (chance(world->plan.refuse_per_1024)) {
        trace("FAULT the next database call is refused");
        return DbFault::refuse;
    }
    if ((op == DbOp::commit || op == DbOp::write) && chance(world->plan.lose_ack_per_1024)) {
        trace("FAULT the next acknowledgement is lost");
        return DbFault::lose_ack;
    }
    return DbFault::none;
}
void db_return(DbOp op) noexcept { sim::point('d', static_cast<std::uint32_t>(op)); }
const char* db_vfs() noexcept { return "sim"; }
void point(const char* name) noexcept { sim::point('p', static_cast<std::uint32_t>(name[0])); }
void reach(Situation what) noexcept {
    if (situations) __atomic_fetch_add(situations + static_cast<int>(what), 1, __ATOMIC_RELAXED);
    if (world && director) director->reached(what);
}

bool planted(Bug bug) noexcept { return bug == planted_bug; }

int process_id() noexcept {
    const Unseen unseen;
    const int process = current_process();
    return process < 0 ? 1 : process_at(process).pid;
}
std::uint64_t process_start(int pid) noexcept {
    const Unseen unseen;
    if (!world || world->plan.life_unknown) return 0;
    for (int p = process_count(); p-- > 0;) {
        if (process_at(p).pid == pid && !ended(p)) return process_at(p).start;
    }
    return 0;
}
Life process_life(int pid, std::uint64_t start) noexcept {
    if (!world || world->plan.life_unknown) return Life::unknown;
    sim::point('k', 0);
    const std::uint64_t found = process_start(pid);
    return found == start && found != 0 ? Life::alive : Life::dead;
}
std::string host_key() {
    const Unseen unseen;
    const int process = current_process();
    return process < 0 ? std::string() : process_at(process).host_key;
}
std::string host_name() { return "sim"; }
std::size_t map_count_limit() noexcept { return 4096; }
std::size_t processors() noexcept { return 2; }

TerminationSignals::TerminationSignals() = default;
TerminationSignals::~TerminationSignals() = default;
bool TerminationSignals::arrived() const noexcept { return false; }
void TerminationSignals::wait(Duration at_most) { sleep_for(at_most); }

}  // namespace dbos::seam
