#include "sysdb/claim_state.hpp"

#include <algorithm>
#include <utility>

#include "sysdb/database.hpp"

namespace dbos::sysdb {

namespace {

constexpr seam::Duration kLongestScanPause = std::chrono::seconds(30);
constexpr int kScanPauseFactor = 50;
constexpr seam::Duration kLongContention = std::chrono::seconds(1);
using Lock = std::lock_guard<seam::Mutex>;

}  // namespace

std::shared_ptr<ClaimState> make_claim_state() { return std::make_shared<ClaimState>(); }

void ClaimState::reset(Queue& queue) {
    const auto contended_since = queue.contended_since;
    const bool spent = queue.spent;
    Walk walk = std::move(queue.walk);
    queue = Queue{};
    queue.contended_since = contended_since;
    queue.spent = spent;
    queue.walk = std::move(walk);
}

const ClaimState::Queue* ClaimState::find(const std::string& queue) const {
    const auto found = queues_.find(queue);
    return found == queues_.end() ? nullptr : &found->second;
}

void ClaimState::enter(Scope scope) {
    std::ranges::sort(scope.names);
    const Lock lock(mutex_);
    if (scope_ == scope) return;
    scope_ = std::move(scope);
    for (auto& [name, queue] : queues_) reset(queue);
}

void ClaimState::definitions(const std::string& fingerprint) {
    const Lock lock(mutex_);
    if (fingerprint_ == fingerprint) return;
    fingerprint_ = fingerprint;
    for (auto& [name, queue] : queues_) reset(queue);
}

void ClaimState::forget(std::span<const std::string> queues) {
    const Lock lock(mutex_);
    for (const std::string& name : queues) {
        const auto found = queues_.find(name);
        if (found != queues_.end()) reset(found->second);
    }
}

void ClaimState::forget_all() {
    const Lock lock(mutex_);
    for (auto& [name, queue] : queues_) reset(queue);
}

QueuePosition ClaimState::start(const std::string& queue) const {
    const Lock lock(mutex_);
    const Queue* known = find(queue);
    if (!known) return {};
    if (known->at_head) return *known->at_head;
    return known->cursor.value_or(QueuePosition{});
}

void ClaimState::claimed(const std::string& queue, std::span<const QueuePosition> rows, bool slow) {
    const Lock lock(mutex_);
    Queue& known = queues_[queue];
    if (!known.cursor) {
        if (slow && !rows.empty()) known.cursor = *std::ranges::min_element(rows);
        return;
    }
    std::optional<QueuePosition> before;
    std::optional<QueuePosition> behind;
    for (const QueuePosition& row : rows) {
        auto& least = row < *known.cursor ? before : behind;
        if (!least || row < *least) least = row;
    }
    // As long as rows come from in front of the cursor there may be more of them.
    known.at_head = before;
    if (behind && !before) known.cursor = behind;
}

std::size_t ClaimState::turn() {
    const Lock lock(mutex_);
    return turn_++;
}

std::vector<ClaimState::Probe> ClaimState::probes(std::span<const std::string> queues) const {
    const Lock lock(mutex_);
    std::vector<Probe> result;
    for (const std::string& name : queues) {
        result.push_back({.queue = name, .from = {}, .head = true});
        const Queue* known = find(name);
        if (!known) continue;
        const auto& place = known->cursor ? known->cursor : known->scanned;
        if (place) result.push_back({.queue = name, .from = *place, .head = false});
    }
    return result;
}

void ClaimState::probed(const Probe& probe, const Probed& seen) {
    const Lock lock(mutex_);
    Queue& known = queues_[probe.queue];
    if (!probe.head) return;
    known.head_full = seen.full;
    if (known.cursor && seen.hit && *seen.hit < *known.cursor) known.at_head = seen.hit;
}

std::vector<std::string> ClaimState::scans_due(seam::Duration now) const {
    const Lock lock(mutex_);
    std::vector<std::string> result;
    for (const auto& [name, queue] : queues_) {
        if (!queue.head_full && !queue.cursor) continue;
        if (queue.next_scan && now < *queue.next_scan) continue;
        result.push_back(name);
    }
    return result;
}

void ClaimState::scanned(const std::string& queue, QueuePosition place, std::int64_t passed,
                         seam::Duration took, seam::Duration now) {
    const Lock lock(mutex_);
    Queue& known = queues_[queue];
    known.next_scan = now + std::min<seam::Duration>(took * kScanPauseFactor, kLongestScanPause);
    known.scanned.reset();
    known.cursor.reset();
    known.at_head.reset();
    if (passed >= kProbeEntries) known.scanned = place;
    if (passed >= kKeepCursorAfter) known.cursor = place;
}

void ClaimState::peers(bool present) {
    const Lock lock(mutex_);
    peers_ = present;
}

bool ClaimState::peers() const {
    const Lock lock(mutex_);
    return peers_;
}

bool ClaimState::contended_for_long(const std::string& queue, seam::Duration now) const {
    const Lock lock(mutex_);
    const Queue* known = find(queue);
    return known && known->contended_since && now - *known->contended_since >= kLongContention;
}

void ClaimState::contended(const std::string& queue, bool is, seam::Duration now) {
    const Lock lock(mutex_);
    auto& since = queues_[queue].contended_since;
    if (!is) since.reset();
    if (is && !since) since = now;
}

bool ClaimState::spent(const std::string& queue) const {
    const Lock lock(mutex_);
    const Queue* known = find(queue);
    return known && known->spent;
}

void ClaimState::spent(const std::string& queue, bool is) {
    const Lock lock(mutex_);
    queues_[queue].spent = is;
}

ClaimState::Walk ClaimState::walk(const std::string& queue) const {
    const Lock lock(mutex_);
    const Queue* known = find(queue);
    return known ? known->walk : Walk{};
}

void ClaimState::walked(const std::string& queue, Walk next) {
    const Lock lock(mutex_);
    queues_[queue].walk = std::move(next);
}

Millis ClaimState::sweep_from(const std::string& incarnation) const {
    const Lock lock(mutex_);
    const auto found = sweeps_.find(incarnation);
    return found == sweeps_.end() ? 0 : found->second;
}

void ClaimState::swept(const std::string& incarnation, std::optional<Millis> next) {
    const Lock lock(mutex_);
    if (next) {
        sweeps_[incarnation] = *next;
    } else {
        sweeps_.erase(incarnation);
    }
}

ClaimState::Page ClaimState::orphan_page() const {
    const Lock lock(mutex_);
    return orphan_page_;
}

void ClaimState::orphan_page(Page next) {
    const Lock lock(mutex_);
    orphan_page_ = std::move(next);
}

}  // namespace dbos::sysdb
