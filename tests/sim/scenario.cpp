#include "scenario.hpp"

#include <algorithm>

#include "directed.hpp"
#include "errands.hpp"

namespace dbos::sim {

namespace {

Fault draw_fault(Dice& dice, const Scenario& scenario) {
    Fault fault;
    // Faults fall where things happen: most worlds are over after some 5 000 to 30 000 steps.
    fault.at_step = 500 + dice.below(dice.pick({2000u, 8000u, 30'000u}));
    fault.instance = static_cast<int>(dice.below(static_cast<std::uint64_t>(scenario.apps) + 1));
    const Nanos longest = dice.pick({100, 1000, 3000, 20'000}) * kMillisecond;
    fault.amount = dice.one_in(3) ? scenario.by_lease(longest) : scenario.by_pace(longest);
    fault.amount = static_cast<Nanos>(1 + dice.below(static_cast<std::uint64_t>(fault.amount)));
    switch (dice.below(10)) {
        case 0:
        case 1:
        case 2: fault.kind = FaultKind::crash; break;
        case 3:
        case 4:
        case 5:
        case 6:
            fault.kind = FaultKind::stop;
            // About as long as it takes to be found dead: the judged one is back when its rows are swept.
            if (dice.one_in(3))
                fault.amount = scenario.lease * static_cast<Nanos>(600 + dice.below(900)) / 1000;
            break;
        case 7:
            fault.kind = FaultKind::host_sleep;
            if (dice.one_in(2)) fault.instance = kEveryone;
            break;
        case 8:
            fault.kind = FaultKind::wall_jump;
            fault.instance = kEveryone;  // they share the machine that has the file
            fault.amount = (static_cast<Nanos>(dice.below(120)) - 60) * kSecond;
            break;
        default:
            fault.kind = FaultKind::away;
            fault.instance = kEveryone;
            break;
    }
    return fault;
}

/// Nothing goes wrong in it.
void calm(Scenario& scenario) {
    scenario.plan.faults.clear();
    scenario.plan.refuse_per_1024 = scenario.plan.lose_ack_per_1024 = 0;
    scenario.plan.sync_max = std::min(scenario.plan.sync_max, 20 * kMillisecond);
    scenario.shutdowns = 0;
}

/// What ends in other ways than most. Drawn for itself, each: the worlds without it stay what they were.
void draw_ends(Scenario& scenario) {
    const std::uint64_t seed = scenario.plan.seed;
    Dice rewinding(seed ^ 0x3e314d);
    if (rewinding.one_in(12)) scenario.errands.push_back(ErrandKind::rewind);
    Dice dying(seed ^ 0xf3a61);
    if (dying.one_in(24)) scenario.errands.push_back(ErrandKind::fragile);
    Dice expiring(seed ^ 0xdead11);
    if (expiring.one_in(16)) {
        scenario.errands.push_back(ErrandKind::deadline);
        if (expiring.one_in(2)) calm(scenario);
    }
    Dice spoiling(seed ^ 0x5b011);
    if (spoiling.one_in(20)) scenario.errands.push_back(ErrandKind::unrunnable);
    Dice reforming(seed ^ 0x4ef04a);
    if (reforming.one_in(16)) scenario.errands.push_back(ErrandKind::reform);
    Dice keeping(seed ^ 0xb00c5);
    if (keeping.one_in(10)) {
        for (auto count = 1 + keeping.below(3); count > 0; --count)
            scenario.errands.push_back(ErrandKind::books);
    }
    Dice upgrading(seed ^ 0x09e4ade);
    if (upgrading.one_in(8)) {
        scenario.upgrade_at = static_cast<Nanos>(upgrading.below(6000)) * kMillisecond;
        if (upgrading.one_in(6)) calm(scenario);
    }
    Dice flooding(seed ^ 0xf100d);
    if (flooding.one_in(40)) {
        calm(scenario);
        scenario.pace = scenario.lease / 10;
        scenario.direct = scenario.queued = scenario.cancels = 0;
        scenario.errands = {ErrandKind::flood};
        scenario.upgrade_at.reset();
        scenario.max_running = 1 + static_cast<std::int64_t>(flooding.below(2));
    }
}

}  // namespace

bool Scenario::has(ErrandKind kind) const { return std::ranges::find(errands, kind) != errands.end(); }

Scenario scenario_of(std::uint64_t seed) {
    Dice dice(seed);
    Scenario scenario;
    Plan& plan = scenario.plan;
    plan.seed = seed;
    plan.switch_per_1024 = dice.pick({20u, 60u, 200u, 500u});
    plan.refuse_per_1024 = dice.one_in(3) ? 1 + static_cast<std::uint32_t>(dice.below(40)) : 0;
    plan.lose_ack_per_1024 = dice.one_in(3) ? 1 + static_cast<std::uint32_t>(dice.below(60)) : 0;
    // Most worlds are small and quick: a hundred of them meet more than ten large ones.
    scenario.lease = dice.pick({2, 2, 5, 5, 7}) * kSecond;
    scenario.pace = dice.one_in(5) ? scenario.lease : scenario.lease / 10;
    plan.sync_max = scenario.by_lease(dice.pick({0, 0, 2, 50, 50, 1000}) * kMillisecond);
    plan.reuse_pids = dice.one_in(3);
    plan.life_unknown = dice.one_in(6);
    scenario.apps = dice.one_in(12) ? 3 : 2;
    scenario.host_keys = dice.one_in(3) ? 1 + static_cast<int>(dice.below(2)) : 0;
    scenario.direct = static_cast<int>(dice.below(3));
    scenario.queued = 2 + static_cast<int>(dice.below(dice.one_in(6) ? 8 : 2));
    scenario.cancels = dice.one_in(3) ? 1 + static_cast<int>(dice.below(2)) : 0;
    scenario.shutdowns = dice.one_in(4) ? 1 + static_cast<int>(dice.below(2)) : 0;
    scenario.fresh = dice.one_in(25);
    scenario.check_pid = !dice.one_in(4);
    scenario.retry = !dice.one_in(5);
    scenario.client_pause = dice.pick({Nanos{0}, 50 * kMillisecond, scenario.by_pace(4 * kSecond)});
    for (auto count = dice.below(7); count > 0; --count) {
        const Fault fault = draw_fault(dice, scenario);
        const auto later = std::upper_bound(
            plan.faults.begin(), plan.faults.end(), fault,
            [](const Fault& one, const Fault& other) { return one.at_step < other.at_step; });
        plan.faults.insert(later, fault);
    }
    scenario.configured_ids = dice.one_in(5);
    scenario.wakeups = !dice.one_in(20);
    for (auto count = dice.one_in(5) ? 1 + dice.below(3) : 0; count > 0; --count)
        scenario.errands.push_back(static_cast<ErrandKind>(dice.below(kErrandKinds)));
    // Drawn for itself: the worlds without it stay what they were.
    Dice talking(seed ^ 0x7a1c);
    if (talking.one_in(6)) {
        scenario.errands.push_back(ErrandKind::talk);
        if (talking.one_in(2)) scenario.errands.push_back(ErrandKind::talk);
    }
    Dice ticking(seed ^ 0x71c5);
    if (ticking.one_in(6)) scenario.errands.push_back(ErrandKind::schedule);
    Dice waiting(seed ^ 0xd0e7);
    if (waiting.one_in(6)) {
        scenario.errands.push_back(ErrandKind::duet);
        scenario.park_after = waiting.one_in(2) ? 0 : kSecond;
    } else if (waiting.one_in(3)) {
        scenario.park_after = kSecond;
    }
    Dice crowding(seed ^ 0xc309d);
    if (crowding.one_in(6)) {
        for (auto count = 1 + crowding.below(2); count > 0; --count)
            scenario.errands.push_back(ErrandKind::crowd);
    }
    draw_ends(scenario);
    if (seed % kDirectedEvery == 0) {
        constexpr auto kDirections = static_cast<std::uint64_t>(Direction::count) - 1;
        direct(scenario, static_cast<Direction>(1 + seed / kDirectedEvery % kDirections));
    }
    return scenario;
}

std::string describe(const Scenario& scenario) {
    const Plan& plan = scenario.plan;
    return "seed " + std::to_string(plan.seed) + ": " + name_of(scenario.direction) +
           (scenario.direction == Direction::none ? "" : ", ") + std::to_string(scenario.apps) + " apps, " +
           std::to_string(plan.faults.size()) + " faults, switch " + std::to_string(plan.switch_per_1024) +
           ", refuse " + std::to_string(plan.refuse_per_1024) + ", lose " +
           std::to_string(plan.lose_ack_per_1024) + " of 1024, sync up to " +
           std::to_string(plan.sync_max / kMillisecond) + " ms, lease " +
           std::to_string(scenario.lease / kSecond) + " s" +
           (scenario.pace < scenario.lease ? ", quick" : "") + ", hosts " +
           std::to_string(scenario.host_keys) + (scenario.fresh ? ", fresh database" : "") +
           (scenario.errands.empty() ? "" : ", " + std::to_string(scenario.errands.size()) + " errands") +
           (scenario.wakeups ? "" : ", no wake-ups") + (scenario.upgrade_at ? ", two versions" : "") +
           (scenario.has(ErrandKind::flood) ? ", a flood" : "") +
           (scenario.configured_ids ? ", configured ids" : "") + (plan.reuse_pids ? ", pids reused" : "") +
           (plan.life_unknown ? ", /proc unreadable" : "");
}

}  // namespace dbos::sim
