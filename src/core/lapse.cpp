#include "core/lapse.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "platform/planted.hpp"
#include "platform/situations.hpp"

namespace dbos::core {

namespace {

/// The default executor id of the other SDKs, which hold no lease: a row of that name proves nothing about their rows.
constexpr std::string_view kSharedExecutorId = "local";

}  // namespace

LapseJudge::LapseJudge(LapseOptions options, ProcessLife life)
    : options_(std::move(options)), life_(std::move(life)) {
    if (options_.tick_gap <= seam::Duration::zero()) options_.tick_gap = options_.lease / 2;
    if (options_.renewal_gap <= seam::Duration::zero()) options_.renewal_gap = options_.lease / 7 * 5;
}

void LapseJudge::renewed(seam::Duration sent) {
    if (!renewed_ || *renewed_ < sent) renewed_ = sent;
}

void LapseJudge::tick_failed() {
    if (seam::planted(seam::Bug::evidence_survives_failed_tick)) return;
    last_tick_.reset();
    neighbours_.clear();
}

void LapseJudge::acquit(const std::string& executor_id, const std::string& incarnation) {
    const auto found = records_.find(executor_id);
    if (found != records_.end() && found->second.incarnation == incarnation) records_.erase(found);
}

bool LapseJudge::evidence_holds(seam::Duration sent, seam::Duration received) const {
    if (seam::planted(seam::Bug::evidence_survives_gaps)) return true;
    // Until the answer: a tick that hung is a gap like one that failed.
    return last_tick_ && received - *last_tick_ <= options_.tick_gap && renewed_ &&
           sent - *renewed_ <= options_.renewal_gap;
}

bool LapseJudge::on_this_host(const ObservedLease& lease) const {
    return options_.check_processes && life_ && !options_.host_key.empty() && lease.host_key &&
           *lease.host_key == options_.host_key && lease.pid > 0 && lease.process_start != 0;
}

bool LapseJudge::proved_dead(const ObservedLease& lease) const {
    return on_this_host(lease) && life_(lease.pid, lease.process_start) == seam::Life::dead;
}

bool LapseJudge::somebody_ended() const {
    return std::ranges::any_of(neighbours_,
                               [this](const ObservedLease& lease) { return proved_dead(lease); });
}

LapseJudge::Finding LapseJudge::judge(Record& record, const ObservedLease& lease,
                                      std::int64_t database_now_ms, seam::Duration sent,
                                      seam::Duration received) {
    if (record.dead) {
        if (received - record.reported < options_.look_again) return Finding::alive;
        record.reported = received;
        return Finding::again;
    }
    const seam::Duration needed =
        std::max<seam::Duration>(options_.lease, std::chrono::milliseconds(lease.lease_ms));
    const bool silent = sent - record.unchanged_since >= needed || seam::planted(seam::Bug::dead_by_expiry);
    const bool lapsed = lease.expires_at_ms <= database_now_ms && silent;
    if (!lapsed && !proved_dead(lease)) return Finding::alive;
    seam::reach(lapsed ? seam::Situation::dead_by_lease : seam::Situation::dead_by_proof);
    record.dead = true;
    record.reported = received;
    return Finding::dead;
}

LapseJudge::Verdict LapseJudge::tick(std::span<const ObservedLease> leases, std::int64_t database_now_ms,
                                     seam::Duration sent, seam::Duration received) {
    ++ticks_;
    if (!evidence_holds(sent, received)) {
        if (ticks_ > 1) seam::reach(seam::Situation::evidence_starts_anew);
        for (auto& [id, record] : records_) record.unchanged_since = received;
    }
    last_tick_ = received;
    const bool may_judge = renewed_ && sent - *renewed_ <= options_.renewal_gap;
    std::map<std::string, std::pair<Finding, const ObservedLease*>> findings;
    neighbours_.clear();
    for (const ObservedLease& lease : leases) {
        if (lease.executor_id == options_.executor_id || lease.executor_id == kSharedExecutorId) continue;
        auto [entry, added] = records_.try_emplace(lease.executor_id);
        Record& record = entry->second;
        if (added || record.incarnation != lease.incarnation || record.counter != lease.counter) {
            record = Record{
                .incarnation = lease.incarnation, .counter = lease.counter, .unchanged_since = received};
        }
        record.seen = ticks_;
        if (!may_judge) continue;
        const Finding finding = judge(record, lease, database_now_ms, sent, received);
        if (finding != Finding::alive) findings[lease.executor_id] = {finding, &lease};
        if (!record.dead && on_this_host(lease)) neighbours_.push_back(lease);
    }
    std::erase_if(records_, [&](const auto& entry) { return entry.second.seen != ticks_; });
    Verdict verdict;
    for (const auto& [id, finding] : findings) {
        (finding.first == Finding::dead ? verdict.dead : verdict.again).push_back(*finding.second);
    }
    return verdict;
}

}  // namespace dbos::core
