#include "runtime/claimer.hpp"

#include <algorithm>
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

constexpr std::int32_t kMaxRows = 200;
constexpr double kLongestPoll = 1.0;  // seconds
constexpr double kShortestPoll = 0.01;
constexpr auto kAfterContention = milliseconds(20);
constexpr auto kAfterFailure = std::chrono::seconds(1);
constexpr auto kLongestRepairPause = std::chrono::seconds(30);

/// Whether this version can keep every limit of the queue.
bool supported(const sysdb::QueueRow& row) {
    return !row.rate_limit_max && !row.partition_queue && !row.partition_concurrency &&
           !row.partition_worker_concurrency && !row.partition_rate_limit_max;
}

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
    for (const auto& name : serve_queues(rows)) {
        log_to(executor_.log(), LogLevel::warn,
               "a queue is not served: it has a rate limit or partitions, which this version does not "
               "implement",
               {{"queue", name}});
    }
}

std::vector<std::string> Claimer::serve_queues(const std::vector<sysdb::QueueRow>& rows) {
    std::vector<std::string> refused;
    std::lock_guard lock(mutex_);
    for (auto& [name, queue] : queues_) queue.served = false;
    auto serve = [&](const sysdb::QueueRow& row) {
        auto [at, added] = queues_.try_emplace(row.name);
        Queue& queue = at->second;
        if (added) queue.hash = sysdb::wake_hash(row.name);
        if (added || !(queue.row == row)) queue.work = true;
        queue.row = row;
        queue.served = supported(row);
        if (!queue.served && warned_.insert(row.name).second) refused.push_back(row.name);
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
    return refused;
}

bool Claimer::serves(const std::string& queue) const {
    std::lock_guard lock(mutex_);
    const auto found = queues_.find(queue);
    return found != queues_.end() && found->second.served;
}

bool Claimer::at_rest() const {
    std::lock_guard lock(mutex_);
    const auto now = seam::steady_now();
    return resting_ && !poked_ && !repair_at_ &&
           std::none_of(queues_.begin(), queues_.end(), [&](const auto& entry) {
               return entry.second.served && entry.second.work && entry.second.not_before > now;
           });
}

std::vector<std::string> Claimer::queues() const {
    std::lock_guard lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, queue] : queues_) {
        if (queue.served) names.push_back(name);
    }
    return names;
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
    return found != queues_.end() && found->second.row.concurrency.has_value();
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

void Claimer::slot_freed(const std::string& name) noexcept {
    std::lock_guard lock(mutex_);
    const auto found = queues_.find(name);
    if (found == queues_.end()) return;
    Queue& queue = found->second;
    --queue.running;
    if (queue.row.concurrency) {  // the last claim may have found the shared limit used up
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
    if (!starved_.load()) return;
    std::lock_guard lock(mutex_);
    poked_ = true;
    changed_.notify_all();
}

std::int32_t Claimer::free_slots(const Queue& queue) {
    if (!queue.row.worker_concurrency) return kMaxRows;
    return std::clamp(*queue.row.worker_concurrency - queue.running, 0, kMaxRows);
}

Claimer::Round Claimer::next_round(std::int32_t room, seam::SteadyTime& wake_at) {
    Round round;
    if (room <= 0) return round;
    const auto now = seam::steady_now();
    auto take_shared = [&] {
        for (auto& [name, queue] : queues_) {
            if (!queue.served || !queue.work || !queue.row.concurrency || free_slots(queue) == 0) continue;
            if (queue.not_before > now) {
                wake_at = std::min(wake_at, queue.not_before);
                continue;
            }
            round.shared = name;
            round.shared_claim = {name, std::min(free_slots(queue), room)};
            round.concurrency = *queue.row.concurrency;
            round.signals[name] = queue.signals;
            // The next round begins behind it: no queue waits for the others to run dry.
            queue.not_before = now + milliseconds(1);
            return true;
        }
        return false;
    };
    auto take_plain = [&] {
        for (const auto& [name, queue] : queues_) {
            if (!queue.served || !queue.work || queue.row.concurrency || queue.not_before > now) continue;
            const auto free = std::min(free_slots(queue), room);
            if (free == 0) continue;
            round.plain.push_back({name, free});
            round.signals[name] = queue.signals;
        }
        return !round.plain.empty();
    };
    // Both kinds in turn.
    if (last_was_shared_ ? (take_plain() || take_shared()) : (take_shared() || take_plain()))
        last_was_shared_ = !round.shared.empty();
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
                room = executor_.claim_room();
                if (room > 0) starved_.store(false);
                if (!claim_unsure_) round = next_round(std::min(room, kMaxRows), wake_at);
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
        claim(round, std::min(room, kMaxRows));
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

void Claimer::claim(const Round& round, std::int32_t room) {
    sysdb::ClaimRequest request{.queues = round.plain,
                                .max_rows = room,
                                .token = executor_.new_token(),
                                .executor_id = executor_.executor_id(),
                                .application_version = executor_.application_version(),
                                .application_name = executor_.application_name(),
                                .is_latest_version = is_latest(),
                                .workflow_names = executor_.workflow_names()};
    std::uint32_t lapse = executor_.lease().lapse_number();
    std::vector<sysdb::ClaimedWorkflow> rows;
    bool contended = false;
    try {
        if (round.shared.empty()) {
            rows = executor_.database().claim(request);
        } else {
            request.queues = {round.shared_claim};
            auto result = executor_.database().claim_shared({std::move(request), round.concurrency});
            rows = std::move(result.workflows);
            contended = result.contended;
        }
    } catch (const std::exception& error) {
        log_to(executor_.log(), LogLevel::error, "a claim failed; trying again", {{"error", error.what()}});
        claim_unsure_ = true;
        return hand_back_soon();
    }
    settle(round, rows, static_cast<std::int32_t>(rows.size()) >= room, contended);
    if (seam::planted(seam::Bug::lapse_read_after_claim)) lapse = executor_.lease().lapse_number();
    for (auto& row : rows) executor_.dispatch(std::move(row), lapse);
}

void Claimer::settle(const Round& round, const std::vector<sysdb::ClaimedWorkflow>& rows, bool full,
                     bool contended) {
    std::map<std::string, std::int32_t> claimed;
    for (const auto& row : rows) ++claimed[row.queue_name];
    std::lock_guard lock(mutex_);
    for (const auto& [name, count] : claimed) {
        const auto [at, added] = queues_.try_emplace(name);
        if (added) at->second.served = at->second.work = false;  // its definition went during the claim
        at->second.running += count;
    }
    const auto now = seam::steady_now();
    auto settle_one = [&](const sysdb::ClaimQueue& asked) {
        const auto found = queues_.find(asked.name);
        if (found == queues_.end()) return;
        Queue& queue = found->second;
        if (contended) queue.not_before = now + kAfterContention;
        if (contended || full || claimed[asked.name] >= asked.limit) return;  // there may be more
        if (queue.signals == round.signals.at(asked.name)) {
            queue.work = false;
        } else {
            seam::reach(seam::Situation::wake_during_claim);
        }
    };
    for (const auto& asked : round.plain) settle_one(asked);
    if (!round.shared.empty()) settle_one(round.shared_claim);
}

}  // namespace dbos::runtime
