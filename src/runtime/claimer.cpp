#include "runtime/claimer.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/durations.hpp"
#include "core/log.hpp"
#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "runtime/executor.hpp"
#include "sysdb/database.hpp"

namespace dbos::runtime {

using std::chrono::milliseconds;

namespace {

constexpr std::size_t kManyOfOneInstant = 5000;  // rows in a row
constexpr double kLongestPoll = 1.0;             // seconds
constexpr double kShortestPoll = 0.01;
constexpr auto kAfterContention = milliseconds(20);
constexpr auto kAfterFailure = std::chrono::seconds(1);
constexpr auto kLongestRepairPause = std::chrono::seconds(30);

}  // namespace

Claimer::Claimer(Executor& executor) : executor_(executor) {}

Claimer::~Claimer() { stop(); }

void Claimer::start() {
    thread_ = seam::spawn("dbos-claim", [this] { run(); });
}

void Claimer::stop() noexcept {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
}

void Claimer::set_queues(const std::vector<sysdb::QueueRow>& rows) {
    std::lock_guard lock(mutex_);
    for (auto& [name, queue] : queues_) queue.served = false;
    auto serve = [&](const sysdb::QueueRow& row) {
        auto [at, added] = queues_.try_emplace(row.name);
        Queue& queue = at->second;
        if (added) queue.hash = sysdb::wake_hash(row.name);
        if (added || !(queue.row == row)) {
            queue.work = true;
            queue.not_before = {};  // of the limits that were
        }
        queue.row = row;
        queue.limits = sysdb::limits_of(row);
        queue.served = true;
    };
    sysdb::QueueRow internal;
    internal.name = kInternalQueue;
    serve(internal);
    for (const auto& row : rows) {
        if (row.name != kInternalQueue) serve(row);
    }
    std::erase_if(queues_,
                  [](const auto& entry) { return !entry.second.served && entry.second.running == 0; });
    poked_ = true;
    changed_.notify_all();
}

bool Claimer::serves(const std::string& queue) const {
    std::lock_guard lock(mutex_);
    const auto found = queues_.find(queue);
    return found != queues_.end() && found->second.served;
}

bool Claimer::partitioned(const std::string& queue) const {
    std::lock_guard lock(mutex_);
    const auto found = queues_.find(queue);
    return found != queues_.end() && found->second.limits.partitioned;
}

bool Claimer::at_rest(std::optional<sysdb::Millis>& next) const {
    std::lock_guard lock(mutex_);
    if (!resting_ || poked_ || repair_at_) return false;
    const auto now = seam::steady_now();
    // On a server the rate is one of its clock, which goes on by itself.
    const bool own_clock = executor_.database().backend() == sql::Backend::sqlite;
    for (const auto& [name, queue] : queues_) {
        if (!queue.served) continue;
        const bool waits = queue.work && queue.not_before > now;
        if (!waits && !queue.look_at) continue;
        if (!own_clock || !queue.rate_at) return false;
        next = std::min(next.value_or(*queue.rate_at), *queue.rate_at);
    }
    return true;
}

void Claimer::time_has_passed() noexcept {
    std::lock_guard lock(mutex_);
    for (auto& [name, queue] : queues_) {
        if (!queue.rate_at) continue;
        queue.rate_at.reset();
        queue.look_at.reset();
        queue.not_before = {};
        queue.work = true;
        poked_ = true;
    }
    if (poked_) changed_.notify_all();
}

std::vector<std::string> Claimer::queues() const {
    std::lock_guard lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, queue] : queues_) {
        if (queue.served) names.push_back(name);
    }
    return names;
}

std::map<std::string, sysdb::QueueLimits> Claimer::limits() const {
    std::lock_guard lock(mutex_);
    std::map<std::string, sysdb::QueueLimits> limits;
    for (const auto& [name, queue] : queues_) {
        if (queue.served && alone(queue)) limits.emplace(name, queue.limits);
    }
    return limits;
}

seam::Duration Claimer::polling_interval() const {
    std::lock_guard lock(mutex_);
    double shortest = kLongestPoll;
    for (const auto& [name, queue] : queues_) {
        if (queue.served) shortest = std::min(shortest, queue.row.polling_interval_sec);
    }
    return core::to_nanos(Duration(std::max(shortest, kShortestPoll)));
}

bool Claimer::has_shared_limit(const std::string& name) const {
    std::lock_guard lock(mutex_);
    const auto found = queues_.find(name);
    return found != queues_.end() && found->second.limits.slots_shared();
}

void Claimer::has_work(const std::string& name) noexcept {
    std::lock_guard lock(mutex_);
    const auto found = queues_.find(name);
    if (found == queues_.end()) return;
    found->second.work = true;
    ++found->second.signals;
    poked_ = true;
    changed_.notify_all();
}

void Claimer::have_work(std::span<const std::uint32_t> hashes, bool all) noexcept {
    std::lock_guard lock(mutex_);
    bool any = false;
    for (auto& [name, queue] : queues_) {
        if (!all && std::find(hashes.begin(), hashes.end(), queue.hash) == hashes.end()) continue;
        queue.work = true;
        ++queue.signals;
        any = true;
    }
    if (!any) return;
    poked_ = true;
    changed_.notify_all();
}

void Claimer::slot_freed(const std::string& name, const sysdb::Fence& fence) noexcept {
    std::lock_guard lock(mutex_);
    const auto found = queues_.find(name);
    if (found == queues_.end()) return;
    Queue& queue = found->second;
    --queue.running;
    if (const auto key = queue.keys.find(fence); key != queue.keys.end()) {
        const auto running = queue.running_of_key.find(key->second);
        if (--running->second == 0) queue.running_of_key.erase(running);
        queue.keys.erase(key);
    }
    // The last claim may have found a shared limit, or that of the key, used up.
    if (queue.limits.slots_shared() || queue.limits.partitioned) {
        queue.work = true;
        ++queue.signals;
    }
    if (!queue.work) return;
    poked_ = true;
    changed_.notify_all();
}

void Claimer::check_orphans() noexcept {
    std::lock_guard lock(mutex_);
    orphans_due_.store(true);
    poked_ = true;
    changed_.notify_all();
}

void Claimer::hand_back_soon() noexcept {
    std::lock_guard lock(mutex_);
    if (repair_at_) return;
    // Later each time: every attempt counts towards the workflow's last, and the database may need longer to be well again.
    const auto now = seam::steady_now();
    if (now - repaired_at_ > 2 * kLongestRepairPause) repair_pause_ = kAfterFailure;
    repair_at_ = now + repair_pause_;
    repair_pause_ = std::min<seam::Duration>(2 * repair_pause_, kLongestRepairPause);
    poked_ = true;
    changed_.notify_all();
}

void Claimer::look_again() noexcept {
    if (!starved_.load() || !starved_.exchange(false)) return;
    std::lock_guard lock(mutex_);
    poked_ = true;
    changed_.notify_all();
}

std::int32_t Claimer::free_slots(const Queue& queue) {
    if (!queue.limits.worker_concurrency) return std::numeric_limits<std::int32_t>::max();
    return std::max(*queue.limits.worker_concurrency - queue.running, 0);
}

Claimer::Round Claimer::next_round(std::int32_t room, seam::SteadyTime& wake_at) {
    Round round;
    if (room <= 0) return round;
    const auto now = seam::steady_now();
    const auto take = [&](const std::string& name, Queue& queue) {
        if (queue.look_at && *queue.look_at <= now) {
            queue.look_at.reset();
            queue.rate_at.reset();
            queue.work = true;
        }
        if (queue.look_at) wake_at = std::min(wake_at, *queue.look_at);
        if (!queue.served || !queue.work || free_slots(queue) == 0) return false;
        if (queue.not_before > now) {
            wake_at = std::min(wake_at, queue.not_before);
            return false;
        }
        round.alone = last_alone_ = name;
        round.alone_claim = {name, std::min(free_slots(queue), room)};
        round.limits = queue.limits;
        if (queue.limits.partition_worker_concurrency && !seam::planted(seam::Bug::key_slots_unseen))
            round.running_of_key = queue.running_of_key;
        round.signals[name] = queue.signals;
        return true;
    };
    // They come in turn, so that no queue waits for the others to run dry.
    const auto take_alone = [&] {
        const auto behind = queues_.upper_bound(last_alone_);
        for (auto at = behind; at != queues_.end(); ++at) {
            if (alone(at->second) && take(at->first, at->second)) return true;
        }
        for (auto at = queues_.begin(); at != behind; ++at) {
            if (alone(at->second) && take(at->first, at->second)) return true;
        }
        return false;
    };
    const auto take_plain = [&] {
        for (const auto& [name, queue] : queues_) {
            if (!queue.served || !queue.work || alone(queue) || queue.not_before > now) continue;
            const auto free = std::min(free_slots(queue), room);
            if (free == 0) continue;
            round.plain.push_back({name, free});
            round.signals[name] = queue.signals;
        }
        return !round.plain.empty();
    };
    // Both kinds in turn.
    if (last_was_alone_ ? (take_plain() || take_alone()) : (take_alone() || take_plain()))
        last_was_alone_ = !round.alone.empty();
    return round;
}

void Claimer::run() {
    for (;;) {
        Round round;
        std::int32_t room = 0;
        bool repair_due = false;
        {
            std::unique_lock lock(mutex_);
            for (;;) {
                if (stopping_) return;
                poked_ = false;
                const auto now = seam::steady_now();
                auto wake_at = now + std::chrono::seconds(1);
                repair_due = repair_at_ && *repair_at_ <= now;
                if (repair_at_) wake_at = std::min(wake_at, *repair_at_);
                starved_.store(true);  // before the look, so that room made meanwhile is told
                room = executor_.claim_room(of_one_instant_ >= kManyOfOneInstant);
                if (room > 0) starved_.store(false);
                if (!claim_unsure_) round = next_round(room, wake_at);
                if (!round.empty() || orphans_due_.load() || repair_due) break;
                resting_ = true;
                changed_.wait_until(lock, wake_at, [&] { return stopping_ || poked_; });
                resting_ = false;
            }
        }
        // No claim, and nothing handed back, under a lapsed lease: a peer may be handing our rows back, or hold our id.
        if (!executor_.lease().wait_until_not_expired(milliseconds(200))) continue;
        // Between claims, when everything that this process has claimed is registered.
        if (orphans_due_.exchange(false))
            executor_.guarded("looking for workflows that no run holds",
                              [&] { executor_.hand_back_orphans(); });
        if (repair_due) repair();
        if (round.empty()) continue;
        claim(round, room);
    }
}

void Claimer::repair() {
    {
        std::lock_guard lock(mutex_);
        repair_at_.reset();
        repaired_at_ = seam::steady_now();
    }
    bool done = executor_.hand_back_abandoned();
    // Rows that a failed claim has taken use up their queues' limits: they go back before the next claim.
    if (claim_unsure_) {
        claim_unsure_ = !executor_.guarded("looking for workflows that a failed claim has taken",
                                           [&] { executor_.hand_back_orphans(); });
        done = done && !claim_unsure_;
    }
    if (!done) hand_back_soon();
}

core::Histogram Claimer::claim_times() const {
    std::lock_guard lock(mutex_);
    return claim_times_;
}

void Claimer::claim(const Round& round, std::int32_t room) {
    sysdb::ClaimRequest request{
        .queues = round.plain,
        .max_rows = room,
        .token = executor_.new_token(),
        .executor_id = executor_.executor_id(),
        .application_version = executor_.application_version(),
        .application_name = executor_.application_name(),
        .is_latest_version = is_latest() || seam::planted(seam::Bug::every_version_is_latest),
        .workflow_names = executor_.workflow_names()};
    std::uint32_t lapse = executor_.lease().lapse_number();
    claims_.fetch_add(1);
    Found found;
    try {
        const seam::Duration begun = seam::boot_now();
        found = ask(round, std::move(request));
        const std::lock_guard lock(mutex_);
        claim_times_.add(seam::boot_now() - begun);
    } catch (const std::exception& error) {
        log_to(executor_.log(), LogLevel::error, "a claim failed; trying again", {{"error", error.what()}});
        claim_unsure_ = true;
        return hand_back_soon();
    }
    for (const sysdb::ClaimedWorkflow& row : found.rows) {
        const bool same = row.created_at == std::exchange(last_instant_, row.created_at);
        of_one_instant_ = same ? of_one_instant_ + 1 : 0;
    }
    settle(round, found);
    if (seam::planted(seam::Bug::lapse_read_after_claim)) lapse = executor_.lease().lapse_number();
    for (auto& row : found.rows) executor_.dispatch(std::move(row), lapse);
}

Claimer::Found Claimer::ask(const Round& round, sysdb::ClaimRequest request) {
    auto& database = executor_.database();
    Found found;
    if (round.alone.empty()) {
        auto result = database.claim(request);
        found.rows = std::move(result.workflows);
        found.more = std::move(result.more);
        return found;
    }
    request.queues = {round.alone_claim};
    bool more = false;
    if (round.limits.partitioned) {
        auto result = database.claim_partitions(
            {std::move(request), round.limits, round.running_of_key, round.signals.at(round.alone)});
        found.rows = std::move(result.workflows);
        found.contended = result.contended;
        more = result.more;
        found.budget_in = result.budget_in;
        found.key_budget_in = result.key_budget_in;
    } else {
        auto result =
            database.claim_shared({std::move(request), round.limits.concurrency, round.limits.rate});
        found.rows = std::move(result.workflows);
        found.contended = result.contended;
        // The rate may have been what ended the claim.
        more = result.more || (round.limits.rate && !found.rows.empty());
        found.budget_in = result.budget_in;
    }
    if (more || found.contended || std::ssize(found.rows) >= round.alone_claim.limit)
        found.more.push_back(round.alone);
    return found;
}

void Claimer::settle(const Round& round, const Found& found) {
    std::map<std::string, std::int32_t> claimed;
    for (const auto& row : found.rows) ++claimed[row.queue_name];
    std::lock_guard lock(mutex_);
    for (const auto& [name, count] : claimed) {
        const auto [at, added] = queues_.try_emplace(name);
        if (added) at->second.served = at->second.work = false;  // its definition went during the claim
        at->second.running += count;
    }
    for (const auto& row : found.rows) {
        if (!row.queue_partition_key) continue;
        Queue& queue = queues_[row.queue_name];
        const sysdb::Fence fence{row.workflow_id, row.token};
        if (queue.keys.emplace(fence, *row.queue_partition_key).second)
            ++queue.running_of_key[*row.queue_partition_key];
    }
    for (const auto& [name, signals] : round.signals) {
        const auto at = queues_.find(name);
        if (at == queues_.end()) continue;
        settle_one(round, found, at->second, std::ranges::find(found.more, name) != found.more.end());
    }
}

/// What is to be done next about a queue that was asked.
void Claimer::settle_one(const Round& round, const Found& found, Queue& queue, bool more) {
    const auto now = seam::steady_now();
    const auto after = [now](sysdb::Millis wait) {
        return now + milliseconds(std::max<sysdb::Millis>(wait, 1));
    };
    const bool same_limits = queue.limits == round.limits || round.alone.empty();
    if (found.contended) queue.not_before = now + kAfterContention;
    if (found.budget_in && same_limits) {
        // Nothing but time helps: neither wake-ups nor slots.
        queue.not_before = after(*found.budget_in);
        queue.rate_at = executor_.durable_now() + *found.budget_in;
        queue.work = true;
        return;
    }
    queue.rate_at.reset();
    if (found.key_budget_in && same_limits) {
        const auto at = after(*found.key_budget_in);
        queue.look_at = std::min(queue.look_at.value_or(at), at);
    }
    if (queue.look_at) {
        queue.rate_at =
            executor_.durable_now() + std::chrono::duration_cast<milliseconds>(*queue.look_at - now).count();
    }
    if (more) return;
    if (queue.signals == round.signals.at(queue.row.name)) {
        queue.work = false;
    } else {
        seam::reach(seam::Situation::wake_during_claim);
    }
}

}  // namespace dbos::runtime
