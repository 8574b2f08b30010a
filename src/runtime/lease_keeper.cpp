#include "runtime/lease_keeper.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/log.hpp"
#include "platform/planted.hpp"
#include "platform/situations.hpp"

namespace dbos::runtime {

using std::chrono::milliseconds;

namespace {

constexpr unsigned kLapseBits = 20;
constexpr std::uint64_t kLapseMask = (std::uint64_t{1} << kLapseBits) - 1;

std::int64_t to_ms(seam::Duration duration) {
    return std::chrono::duration_cast<milliseconds>(duration).count();
}

}  // namespace

LeaseKeeper::LeaseKeeper(sysdb::SystemDatabase& database, sysdb::LeaseRow mine, Options options)
    : database_(database), mine_(std::move(mine)), options_(std::move(options)) {}

LeaseKeeper::~LeaseKeeper() { stop(); }

void LeaseKeeper::take(const std::function<bool()>& keep_waiting) {
    const auto refuse = [&](const char* why) {
        throw ConfigError("executor id \"" + mine_.executor_id + "\" of application \"" +
                          mine_.application_name + "\" is held by another process, " + why +
                          "; stop that process, or give this one another executor_id (or none)");
    };
    seam::Duration sent = seam::boot_now();
    auto result = database_.take_lease(mine_, std::nullopt, options_.lease);
    std::optional<sysdb::LeaseRow> seen;
    seam::SteadyTime give_up{};
    while (result == sysdb::LeaseTake::held) {
        const auto row = database_.find_lease(mine_.application_name, mine_.executor_id);
        bool over = !row || row->released;
        if (!over) {
            const auto now = seam::steady_now();
            if (!seen || seen->incarnation != row->incarnation) {
                seen = row;
                give_up = now + std::max<seam::Duration>(options_.lease, milliseconds(row->lease_ms)) +
                          std::chrono::seconds(1);
            } else if (seen->counter != row->counter) {
                seam::reach(seam::Situation::held_id_refused);
                refuse("which renews its lease");
            }
            const bool same_host =
                options_.check_pid && row->host_key && mine_.host_key && *row->host_key == *mine_.host_key;
            over =
                now >= give_up ||
                (same_host && seam::process_life(row->pid, static_cast<std::uint64_t>(row->process_start)) ==
                                  seam::Life::dead);
        }
        if (!over) {
            if (!keep_waiting()) refuse("and the launch was stopped while it waited for it");
            std::unique_lock lock(mutex_);
            changed_.wait_until(lock, seam::steady_now() + milliseconds(100));
            continue;
        }
        if (row && !row->released) seam::reach(seam::Situation::id_taken_over);
        sent = seam::boot_now();
        result = database_.take_lease(mine_, row, options_.lease);
    }
    taken_ = true;
    publish(sent, false);
}

void LeaseKeeper::start() {
    thread_ = seam::spawn("dbos-lease", [this] { run(); });
}

void LeaseKeeper::stop() noexcept {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    if (!taken_ || replaced()) return;
    taken_ = false;
    try {
        database_.expire_lease(mine_);
    } catch (const std::exception& error) {
        log_to(options_.log, LogLevel::warn,
               "the lease could not be expired at shutdown; peers take over when it lapses",
               {{"error", error.what()}});
    }
}

void LeaseKeeper::publish(seam::Duration sent, bool lapsed) {
    const std::uint64_t old = word_.load();
    const std::int64_t old_until = static_cast<std::int64_t>(old >> kLapseBits);
    const bool passed = old != 0 && to_ms(seam::boot_now()) >= old_until;
    const std::uint64_t lapses = (old & kLapseMask) + ((passed || lapsed) ? 1 : 0);
    const auto until = static_cast<std::uint64_t>(to_ms(sent + options_.lease));
    last_renewal_ns_.store(sent.count());
    word_.store(until << kLapseBits | (lapses & kLapseMask));
    std::lock_guard lock(mutex_);
    changed_.notify_all();
}

bool LeaseKeeper::renew_once() {
    const seam::Duration sent = seam::boot_now();
    ++mine_.counter;
    switch (database_.renew_lease(mine_, options_.lease)) {
        case sysdb::LeaseRenewal::renewed: publish(sent, false); return true;
        case sysdb::LeaseRenewal::inserted:
            publish(sent, true);
            return true;  // it may have been swept meanwhile
        case sysdb::LeaseRenewal::replaced: break;
    }
    seam::reach(seam::Situation::lease_replaced);
    {
        std::lock_guard lock(mutex_);
        replaced_.store(true);
        word_.store(word_.load() & kLapseMask);  // expired for good
        changed_.notify_all();
    }
    if (options_.replaced) options_.replaced();
    return false;
}

void LeaseKeeper::run() {
    auto next = seam::steady_now() + options_.renew_every;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            changed_.wait_until(lock, next, [&] { return stopping_ || hurry_; });
            if (stopping_) return;
            hurry_ = false;
        }
        const auto begun = seam::steady_now();
        try {
            if (!renew_once()) return;
            // A renewal counts from when it was sent: after a slow one the next follows at once.
            const auto took = seam::steady_now() - begun;
            if (took > std::chrono::seconds(1)) seam::reach(seam::Situation::slow_renewal);
            next = took > std::chrono::seconds(1) ? seam::steady_now() : begun + options_.renew_every;
        } catch (const std::exception& error) {
            log_to(options_.log, LogLevel::warn, "the lease could not be renewed; trying again",
                   {{"error", error.what()}});
            next = seam::steady_now() + milliseconds(200);
        }
    }
}

bool LeaseKeeper::fresh(std::uint32_t checked) const noexcept {
    const std::uint64_t word = word_.load();
    if ((word & kLapseMask) != checked && !seam::planted(seam::Bug::healed_lapse_unseen)) {
        seam::reach(seam::Situation::healed_lapse_seen);
        return false;
    }
    const seam::Duration now = seam::planted(seam::Bug::lease_on_steady_clock)
                                   ? seam::Duration(seam::steady_now().time_since_epoch())
                                   : seam::boot_now();
    return to_ms(now) < static_cast<std::int64_t>(word >> kLapseBits);
}

bool LeaseKeeper::expired() const noexcept {
    const std::uint64_t word = word_.load();
    return to_ms(seam::boot_now()) >= static_cast<std::int64_t>(word >> kLapseBits);
}

std::uint32_t LeaseKeeper::lapse_number() const noexcept {
    return static_cast<std::uint32_t>(word_.load() & kLapseMask);
}

bool LeaseKeeper::wait_until_not_expired(seam::Duration at_most) {
    const auto until = seam::steady_now() + at_most;
    std::unique_lock lock(mutex_);
    if (expired()) seam::reach(seam::Situation::lapsed_lease_waited_for);
    while (expired()) {
        if (stopping_ || seam::steady_now() >= until) return false;
        changed_.wait_until(lock, until);
    }
    return true;
}

void LeaseKeeper::refresh(seam::Duration at_most) {
    const seam::Duration wanted = seam::boot_now() - options_.renew_every / 2;
    const auto until = seam::steady_now() + at_most;
    std::unique_lock lock(mutex_);
    while (last_renewal() < wanted && !stopping_ && !replaced() && seam::steady_now() < until) {
        hurry_ = true;
        changed_.notify_all();
        changed_.wait_until(lock, until);
    }
}

seam::Duration LeaseKeeper::last_renewal() const noexcept { return seam::Duration(last_renewal_ns_.load()); }

}  // namespace dbos::runtime
