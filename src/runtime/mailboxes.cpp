#include "runtime/mailboxes.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/log.hpp"

namespace dbos::runtime {

namespace {

constexpr std::size_t kChunk = 2000;
constexpr auto kRound = std::chrono::seconds(1);
constexpr auto kForEach = std::chrono::microseconds(50);  // a round over n boxes takes n of these, at least

std::string payload_of(const std::string& workflow_id, const std::string& topic) {
    return workflow_id + "::" + topic;
}

}  // namespace

Mailboxes::Mailboxes(sysdb::SystemDatabase& database, LogSink log)
    : database_(database), log_(std::move(log)) {}

Mailboxes::~Mailboxes() { stop(); }

void Mailboxes::stop() noexcept {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
}

Mailboxes::Id Mailboxes::add(const std::string& workflow_id, const std::string& topic,
                             std::function<void()> signal) {
    std::lock_guard lock(mutex_);
    const Id id = next_++;
    boxes_.emplace(id, Box{workflow_id, topic, std::move(signal)});
    by_payload_.emplace(payload_of(workflow_id, topic), id);
    if (!thread_.joinable() && !stopping_) {
        thread_ = seam::spawn("dbos-mail", [this] { run(); });
    } else if (boxes_.size() == 1) {
        changed_.notify_all();
    }
    return id;
}

void Mailboxes::remove(Id id) noexcept {
    std::unique_lock lock(mutex_);
    const auto box = boxes_.find(id);
    if (box == boxes_.end()) return;
    auto [at, end] = by_payload_.equal_range(payload_of(box->second.workflow_id, box->second.topic));
    while (at != end && at->second != id) ++at;
    if (at != end) by_payload_.erase(at);
    boxes_.erase(box);
}

void Mailboxes::notified(std::string_view payload) noexcept {
    std::vector<std::function<void()>> signals;
    {
        std::lock_guard lock(mutex_);
        for (auto [at, end] = by_payload_.equal_range(payload); at != end; ++at)
            signals.push_back(boxes_.at(at->second).signal);
    }
    for (const auto& signal : signals) signal();
}

void Mailboxes::look_at_all() noexcept {
    std::lock_guard lock(mutex_);
    if (boxes_.empty()) return;
    all_ = true;
    changed_.notify_all();
}

void Mailboxes::run() {
    std::unique_lock lock(mutex_);
    auto next = seam::steady_now() + kRound;
    for (;;) {
        if (stopping_) return;
        if (boxes_.empty()) {
            changed_.wait(lock, [&] { return stopping_ || !boxes_.empty(); });
            next = seam::steady_now() + kRound;
            continue;
        }
        if (!all_ && seam::steady_now() < next) {
            changed_.wait_until(lock, next);
            continue;
        }
        const auto begun = seam::steady_now();
        all_ = false;
        look(lock);
        // A chunk has its share of the round; and a look costs no more than a tenth of the time.
        const auto round =
            std::max<seam::Duration>(kRound, kForEach * static_cast<std::int64_t>(boxes_.size()));
        const auto chunks = static_cast<std::int64_t>(boxes_.size() / kChunk + 1);
        next = std::max(begun + round / chunks, seam::steady_now() + (seam::steady_now() - begun) * 9);
    }
}

void Mailboxes::look(std::unique_lock<seam::Mutex>& lock) {
    std::vector<Id> ids;
    std::vector<std::pair<std::string, std::string>> pairs;
    auto at = boxes_.upper_bound(last_looked_);
    while (ids.size() < std::min(kChunk, boxes_.size())) {
        if (at == boxes_.end()) at = boxes_.begin();
        if (!ids.empty() && at->first == ids.front()) break;
        ids.push_back(at->first);
        pairs.emplace_back(at->second.workflow_id, at->second.topic);
        ++at;
    }
    last_looked_ = ids.back();
    lock.unlock();
    std::vector<bool> there;
    try {
        there = database_.have_messages(pairs);
        failing_ = false;
    } catch (const std::exception& error) {
        if (!std::exchange(failing_, true)) {
            log_to(log_, LogLevel::warn, "looking for messages failed; trying again every second",
                   {{"error", error.what()}});
        }
    }
    lock.lock();
    std::vector<std::function<void()>> signals;
    for (std::size_t n = 0; n < there.size(); ++n) {
        if (!there[n]) continue;
        if (const auto box = boxes_.find(ids[n]); box != boxes_.end()) signals.push_back(box->second.signal);
    }
    lock.unlock();
    for (const auto& signal : signals) signal();
    lock.lock();
}

}  // namespace dbos::runtime
