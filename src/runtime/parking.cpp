#include "runtime/parking.hpp"

#include <algorithm>
#include <chrono>
#include <unordered_map>

#include "core/log.hpp"
#include "platform/situations.hpp"
#include "runtime/executor.hpp"
#include "runtime/waiting.hpp"

namespace dbos::runtime {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr std::size_t kWakesPerStatement = 500;
constexpr std::size_t kWatchedPerStatement = 2000;
constexpr std::size_t kSettledPerStatement = 1000;
constexpr auto kWatchPause = seconds(1);
constexpr auto kLongestNap = seconds(1);  // the durable clock may be corrected meanwhile
constexpr auto kNoRoomPause = milliseconds(1);
constexpr auto kSettledAfter = seconds(60);

/// As good as the fence itself: where two meet, a row that nobody runs waits until the process ends.
std::size_t mark_of(const sysdb::Fence& fence) {
    const std::hash<std::string> hash;
    return hash(fence.workflow_id) * 31 + hash(fence.token);
}

}  // namespace

Parking::~Parking() { stop(); }

void Parking::stop() noexcept {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
    forget_all();
}

void Parking::forget_all() noexcept {
    std::map<Key, Entry> entries;
    {
        std::lock_guard lock(mutex_);
        entries.swap(entries_);
        marks_.clear();
        due_ = {};
        woken_.clear();
    }
}

void Parking::drop_parked(std::vector<sysdb::Fence>& fences) const {
    std::lock_guard lock(mutex_);
    std::erase_if(fences, [this](const sysdb::Fence& fence) { return marks_.contains(mark_of(fence)); });
}

Parking::Entry Parking::take(std::map<Key, Entry>::iterator at) {
    marks_.erase(marks_.find(mark_of(at->second.fence)));
    Entry entry = std::move(at->second);
    entries_.erase(at);
    return entry;
}

std::size_t Parking::due_before(sysdb::Millis instant) const {
    std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(), [&](const auto& entry) {
        return entry.second.until && *entry.second.until <= instant;
    }));
}

bool Parking::at_rest(std::optional<sysdb::Millis>& next) const {
    std::lock_guard lock(mutex_);
    if (waking_ || !woken_.empty()) return false;
    for (const auto& [key, entry] : entries_) earliest(next, entry.until);
    return !next || *next > executor_.durable_now();
}

void Parking::time_has_passed() noexcept {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
}

bool Parking::park(const std::shared_ptr<Run>& run) {
    Run::Parked parked = run->take_parked();
    const std::shared_ptr<Waiting> waiting = parked.waiting;
    Key key = 0;
    {
        std::lock_guard lock(mutex_);
        if (stopping_) return false;
        key = next_++;
        Entry& entry = entries_[key];
        entry.fence = run->fence();
        marks_.insert(mark_of(entry.fence));
        entry.implementation = run->birth().implementation;
        if (const auto& queue = run->birth().queue_name) entry.queue = &*queue_names_.insert(*queue).first;
        entry.until = parked.until;
        entry.waiting = std::move(parked.waiting);
        entry.back_off = std::move(parked.back_off);
        entry.remembered = parked.remembered;
        entry.replay = parked.replay;
        entry.since = seam::steady_now();
        entry.attempts_high = run->birth().recovery_attempts > 1;
        bool sooner = entries_.size() == 1;  // the thread waits for a first one without looking at instants
        if (entry.until) {
            sooner = sooner || due_.empty() || *entry.until < due_.top().first;
            due_.emplace(*entry.until, key);
        }
        if (sooner) changed_.notify_all();
        if (!thread_.joinable()) thread_ = seam::spawn("dbos-parking", [this] { this->run(); });
    }
    seam::reach(seam::Situation::parked);
    // It may have signalled while the stack unwound: then this wakes the run at once.
    if (waiting) waiting->attach([this, key] { woken(key); });
    return true;
}

void Parking::woken(Key key) noexcept {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    woken_.push_back(key);
    changed_.notify_all();
}

std::vector<Parking::Key> Parking::take_due(std::size_t most) {
    std::vector<Key> keys;
    const auto now = executor_.durable_now();
    while (!due_.empty() && due_.top().first <= now && keys.size() < most) {
        const Key key = due_.top().second;
        due_.pop();
        keys.push_back(key);
    }
    std::size_t taken = 0;
    while (taken < woken_.size() && keys.size() < most) {
        const Key key = woken_[taken++];
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
    woken_.erase(woken_.begin(), woken_.begin() + static_cast<std::ptrdiff_t>(taken));
    return keys;
}

void Parking::run() {
    auto pause = milliseconds(100);
    std::unique_lock lock(mutex_);
    auto next_watch = seam::steady_now() + kWatchPause;
    for (;;) {
        if (stopping_) return;
        if (entries_.empty()) {
            due_ = {};
            changed_.wait(lock, [&] { return stopping_ || !entries_.empty(); });
            continue;
        }
        if (seam::steady_now() >= next_watch) {
            lock.unlock();
            const auto begun = seam::steady_now();
            watch();
            // At most a tenth of the time.
            next_watch = std::max(begun + kWatchPause, begun + (seam::steady_now() - begun) * 10);
            lock.lock();
            continue;
        }
        const bool something =
            !woken_.empty() || (!due_.empty() && due_.top().first <= executor_.durable_now());
        if (!something) {
            auto until = std::min(next_watch, seam::steady_now() + kLongestNap);
            if (!due_.empty()) {
                const auto left = milliseconds(due_.top().first - executor_.durable_now());
                until = std::min(until, seam::steady_now() + std::min<milliseconds>(left, kLongestNap));
            }
            changed_.wait_until(lock, until);
            continue;
        }
        lock.unlock();
        const auto room = executor_.wake_room();
        lock.lock();
        if (room <= 0) {
            changed_.wait_until(lock, seam::steady_now() + kNoRoomPause, [&] { return stopping_; });
            continue;
        }
        const auto keys = take_due(std::min(kWakesPerStatement, static_cast<std::size_t>(room)));
        if (keys.empty()) continue;
        waking_ = true;
        lock.unlock();
        bool done = false;
        try {
            wake(keys);
            done = true;
            pause = milliseconds(100);
        } catch (const std::exception& error) {
            log_to(executor_.log(), LogLevel::warn, "parked workflows could not be read; trying again",
                   {{"error", error.what()}});
        }
        lock.lock();
        waking_ = false;
        if (done) continue;
        woken_.insert(woken_.end(), keys.begin(), keys.end());
        changed_.wait_until(lock, seam::steady_now() + pause, [&] { return stopping_; });
        pause = std::min<milliseconds>(pause * 2, seconds(5));
    }
}

void Parking::wake(const std::vector<Key>& keys) {
    std::vector<sysdb::Fence> fences;
    {
        std::lock_guard lock(mutex_);
        for (const Key key : keys) {
            if (const auto found = entries_.find(key); found != entries_.end())
                fences.push_back(found->second.fence);
        }
    }
    if (fences.empty()) return;  // both queues name some that have gone
    // The number is read before the question: a lapse during it is checked by the run.
    const std::uint32_t lapse = executor_.lease().lapse_number();
    auto rows = executor_.database().parked(fences);
    for (auto& row : rows) {
        if (!row.inputs_deferred) continue;
        row.inputs = executor_.database().inputs(row.workflow_id);
        row.inputs_deferred = false;
    }
    std::unordered_map<std::string, sysdb::ClaimedWorkflow> by_id;
    for (auto& row : rows) {
        std::string id = row.workflow_id;
        by_id.emplace(std::move(id), std::move(row));
    }
    for (const Key key : keys) {
        Entry entry;
        {
            std::lock_guard lock(mutex_);
            const auto found = entries_.find(key);
            if (found == entries_.end()) continue;
            // Held twice for a moment, by the run and by the entry, never by none: whoever looks for orphans sees it.
            entry = std::move(found->second);
            found->second.fence = entry.fence;
        }
        const auto row = by_id.find(entry.fence.workflow_id);
        if (row != by_id.end() && row->second.token == entry.fence.token) {
            begin_again(entry, std::move(row->second), lapse);
        } else {
            seam::reach(seam::Situation::parked_run_lost);
            drop(entry);
        }
        std::lock_guard lock(mutex_);
        if (const auto found = entries_.find(key); found != entries_.end()) take(found);
    }
}

void Parking::begin_again(Entry& entry, sysdb::ClaimedWorkflow row, std::uint32_t lapse) {
    Run::Birth birth{.fence = entry.fence,
                     .implementation = entry.implementation,
                     .inputs = row.inputs.value_or(""),
                     .serialization = row.serialization.value_or(""),
                     .deadline_ms = row.deadline_ms,
                     .queue_name = entry.queue ? sysdb::Text(*entry.queue) : sysdb::Text(),
                     .authenticated_user = row.authenticated_user,
                     .authenticated_roles = row.authenticated_roles,
                     .assumed_role = row.assumed_role,
                     .history = std::move(row.history),
                     .lapse = lapse,
                     .recovery_attempts = entry.attempts_high ? row.recovery_attempts : 1,
                     .last_replay = entry.replay,
                     .back_off = std::move(entry.back_off),
                     .remembered = entry.remembered};
    // The registrations go with the entry: the replay registers anew, and looks for itself.
    executor_.begin(std::make_shared<Run>(executor_, std::move(birth)));
}

void Parking::drop(const Entry& entry) noexcept {
    log_to(executor_.log(), LogLevel::info, "a run ended without an outcome: it was cancelled or taken over",
           {{"workflow_id", entry.fence.workflow_id}, {"parked", "true"}});
    if (entry.queue) executor_.claimer().slot_freed(*entry.queue, entry.fence);
    executor_.hub().notify_ended(entry.fence.workflow_id);
}

void Parking::watch() {
    std::vector<std::pair<Key, sysdb::Fence>> chunk;
    std::vector<sysdb::Fence> long_parked;
    {
        std::lock_guard lock(mutex_);
        auto at = entries_.upper_bound(watched_);
        if (at == entries_.end()) at = entries_.begin();
        const auto old = seam::steady_now() - kSettledAfter;
        for (; at != entries_.end() && chunk.size() < kWatchedPerStatement; ++at) {
            auto& [key, entry] = *at;
            watched_ = key;
            chunk.emplace_back(key, entry.fence);
            if (entry.attempts_high && entry.since <= old && long_parked.size() < kSettledPerStatement) {
                long_parked.push_back(entry.fence);
                entry.attempts_high = false;
            }
        }
    }
    if (chunk.empty()) return;
    executor_.guarded("looking at parked workflows", [&] {
        std::vector<sysdb::Fence> fences;
        for (const auto& [key, fence] : chunk) fences.push_back(fence);
        const auto owned = executor_.database().still_owned(fences);
        for (std::size_t n = 0; n < chunk.size(); ++n) {
            if (owned[n]) continue;
            Entry lost;
            {
                std::lock_guard lock(mutex_);
                const auto found = entries_.find(chunk[n].first);
                if (found == entries_.end()) continue;
                lost = take(found);
            }
            seam::reach(seam::Situation::parked_run_lost);
            drop(lost);
        }
        if (!long_parked.empty()) executor_.database().settle_attempts(long_parked);
    });
}

}  // namespace dbos::runtime
