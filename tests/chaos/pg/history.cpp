#include "chaos/pg/history.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "chaos/pg/workload.hpp"

namespace dbos::chaos {

namespace {

constexpr Micros kMillisecond = 1'000, kSecond = 1'000'000;
constexpr Micros kLease = kLeaseMs * kMillisecond;
// A tick looks once in less than half a second: an outage of this length was seen by every process that ran.
constexpr Micros kSeenOutage = 3 * kSecond / 2;
// From the commit of a cancellation until the body is left. The engine looks once a second; the rest is for statements that
// the proxy holds back, for rows that others hold, and for a body that takes its time.
constexpr Micros kCancelLimit = 8 * kSecond;

bool terminal(const std::string& status) {
    return status == "SUCCESS" || status == "ERROR" || status == "CANCELLED" ||
           status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED";
}

std::string milliseconds(Micros time) { return std::to_string(time / kMillisecond) + " ms"; }

/// PENDING workflows that share a limit.
class Running {
   public:
    Running(std::string what, std::size_t limit) : what_(std::move(what)), limit_(limit) {}
    void set(const std::string& id, bool runs) {
        if (runs) {
            ids_.insert(id);
        } else {
            ids_.erase(id);
        }
    }
    /// A finding, once for each time that the limit is passed.
    std::string judge(Micros at) {
        const bool was = std::exchange(over_, ids_.size() > limit_);
        if (!over_ || was) return {};
        std::string text = std::to_string(ids_.size()) + " workflows of " + what_ + " ran at once at " +
                           std::to_string(at) + ":";
        for (const std::string& id : ids_) text += " " + id;
        return text;
    }

   private:
    std::string what_;
    std::size_t limit_;
    std::set<std::string> ids_;
    bool over_ = false;
};

/// Goes through the events once.
class History {
   public:
    History(const Timeline& timeline, Verdict& verdict)
        : timeline_(timeline), verdict_(verdict), outages_(timeline.sharp_outages()) {}

    void add(const Event& event) {
        if (event.at != at_) judge_limits();  // commits of one moment have no order
        at_ = event.at;
        if (event.kind == "lease") {
            leases_[event.subject] = {event.pid, event.expires_at_ms * kMillisecond, event.at};
        } else if (event.kind == "row") {
            row(event);
        } else if (event.verb == "DELETE") {
            verdict_.add("lost",
                         "the " + event.kind + " of " + event.subject + " was deleted: " + event.old_outcome);
        } else {
            verdict_.add("changed", "the " + event.kind + " of " + event.subject + " has changed from " +
                                        event.old_outcome + " to " + event.outcome);
        }
    }
    void end() { judge_limits(); }
    /// When each was cancelled, and the first queue of each.
    const std::map<std::string, Micros>& cancels() const { return cancels_; }
    const std::map<std::string, std::string>& queues() const { return queues_; }

   private:
    struct Lease {
        int pid = 0;
        Micros expires = 0, renewed = 0;
    };

    void row(const Event& event) {
        if (!event.queue.empty()) queues_.emplace(event.subject, event.queue);
        const bool runs = event.status == "PENDING";
        shared_.set(event.subject, runs && event.queue == kShared);
        keyed_.set(event.subject, runs && event.queue == kKeyed);
        for (auto& [key, running] : keys_)
            running.set(event.subject, runs && event.queue == kKeyed && key == event.key);
        if (event.queue == kKeyed && !keys_.contains(event.key))
            keys_.try_emplace(event.key, Running{"partition " + event.key + " of the queue keyed", 1})
                .first->second.set(event.subject, runs);
        start(event);
        if (event.verb == "DELETE") {
            verdict_.add("lost", "the row of " + event.subject + " was deleted, " + event.old_status);
            return;
        }
        if (event.verb != "UPDATE") return;
        if (event.status == "CANCELLED") cancels_.emplace(event.subject, event.at);
        if (terminal(event.old_status) &&
            (event.status != event.old_status || event.outcome != event.old_outcome))
            verdict_.add("changed", event.subject + " had ended with " + event.old_status + " " +
                                        event.old_outcome + ", and then was " + event.status + " " +
                                        event.outcome);
        const bool taken =
            event.old_status == "PENDING" &&
            (event.status == "ENQUEUED" || (event.status == "PENDING" && event.owner != event.old_owner));
        if (taken) judge_taking(event);
    }

    /// What counts for the rate: every row that has a start and does not wait (queues-and-schedules.md 1.5).
    void start(const Event& event) {
        const bool counts = event.queue == kRated && event.started_at_ms > 0 && event.status != "ENQUEUED" &&
                            event.status != "DELAYED" && event.verb != "DELETE";
        if (!counts) {
            starts_.erase(event.subject);
            return;
        }
        starts_[event.subject] = event.started_at_ms;
        if (event.status == "PENDING") last_start_ = std::max(last_start_, event.started_at_ms);
    }

    void judge_limits() {
        for (const std::string& finding : {shared_.judge(at_), keyed_.judge(at_)}) {
            if (!finding.empty()) verdict_.add("limits", finding);
        }
        for (auto& [key, running] : keys_) {
            const std::string finding = running.judge(at_);
            if (!finding.empty()) verdict_.add("limits", finding);
        }
        if (last_start_ <= judged_start_) return;
        judged_start_ = last_start_;
        const auto within = static_cast<std::size_t>(std::ranges::count_if(starts_, [&](const auto& entry) {
            return entry.second > last_start_ - kRatePeriodMs && entry.second <= last_start_;
        }));
        if (within > kRateLimit)
            verdict_.add("limits", std::to_string(within) + " workflows of the queue rated started in the " +
                                       std::to_string(kRatePeriodMs) + " ms before " + std::to_string(at_));
    }

    void judge_taking(const Event& event) {
        const auto found = leases_.find(event.old_executor);
        const std::string what = event.subject + " was taken from " + event.old_executor + " by " +
                                 (event.actor.empty() ? "somebody" : event.actor) + " at " +
                                 std::to_string(event.at);
        if (found == leases_.end()) {
            verdict_.add("robbed", what + ", which never had a lease");
            return;
        }
        const Lease& lease = found->second;
        if (event.actor == std::to_string(lease.pid)) return;  // what a lost claim left behind
        ++verdict_.taken_over;
        if (const auto end = timeline_.end(lease.pid); end && *end <= event.at) return;
        if (event.at < lease.expires) {
            verdict_.add("robbed", what + ": it lived, had renewed its lease " +
                                       milliseconds(event.at - lease.renewed) + " before, and held it for " +
                                       milliseconds(lease.expires - event.at) + " more");
        }
        for (const Span& outage : outages_) {
            if (outage.to - outage.from < kSeenOutage || event.at < outage.from ||
                event.at >= outage.to + kLease || lease.renewed < outage.from - kLease)
                continue;
            verdict_.add("robbed", what + ": nobody reached the server until " +
                                       milliseconds(event.at - outage.to) +
                                       " before, and its lease was good when that began");
        }
    }

    const Timeline& timeline_;
    Verdict& verdict_;
    const std::vector<Span> outages_;
    std::map<std::string, Lease> leases_;
    std::map<std::string, Micros> cancels_;
    std::map<std::string, std::string> queues_;
    Running shared_{"the queue shared", kSharedLimit}, keyed_{"the queue keyed", kKeyedLimit};
    std::map<std::string, Running> keys_;         // by partition key
    std::map<std::string, std::int64_t> starts_;  // of the queue rated
    std::int64_t last_start_ = 0, judged_start_ = 0;
    Micros at_ = 0;
};

/// What the side log says of the bodies, against the history.
class Bodies {
   public:
    Bodies(const History& history, const Timeline& timeline, Verdict& verdict)
        : history_(history), timeline_(timeline), verdict_(verdict) {}

    void add(const std::string& line) {
        std::istringstream words(line);
        std::string verb, workflow;
        words >> verb >> workflow;
        int pid = 0;
        Micros at = 0;
        if (verb == "begin") {
            std::string step, value;
            int attempt = 0;
            words >> step >> value >> attempt >> at;
            heard(workflow, std::stoi(value), at, "step " + step + " begins");
        } else if (verb == "enter" || verb == "leave") {
            words >> pid >> at;
            if (verb == "enter") {
                enter(workflow, pid, at);
            } else {
                leave(workflow, pid, at);
            }
        }
    }
    /// Bodies that were never left: their process was told to end.
    void end() {
        for (const auto& [pid, bodies] : inside_) {
            const Micros last = timeline_.end(pid).value_or(now_us());
            for (const auto& [workflow, since] : bodies) heard(workflow, pid, last, "its body goes on");
        }
    }

   private:
    void enter(const std::string& workflow, int pid, Micros at) {
        heard(workflow, pid, at, "its body begins");
        auto& bodies = inside_[pid];
        bodies.emplace(workflow, at);
        std::size_t narrow = 0;
        std::string all;
        for (const auto& [id, since] : bodies) {
            const auto queue = history_.queues().find(id);
            if (queue == history_.queues().end() || queue->second != kNarrow) continue;
            ++narrow;
            all += " " + id;
        }
        if (narrow > kNarrowLimit)
            verdict_.add("limits", std::to_string(narrow) + " workflows of the queue narrow ran at once in " +
                                       std::to_string(pid) + " at " + std::to_string(at) + ":" + all);
    }
    void leave(const std::string& workflow, int pid, Micros at) {
        auto& bodies = inside_[pid];
        if (const auto found = bodies.find(workflow); found != bodies.end()) bodies.erase(found);
        if (heard(workflow, pid, at, "its body goes on")) ++verdict_.cancelled;
    }
    /// Whether it had been cancelled.
    bool heard(const std::string& workflow, int pid, Micros at, const std::string& what) {
        const auto cancelled = history_.cancels().find(workflow);
        if (cancelled == history_.cancels().end() || at < cancelled->second) return false;
        const Micros late = at - cancelled->second - timeline_.away(pid, {cancelled->second, at});
        verdict_.slowest_cancel_us = std::max(verdict_.slowest_cancel_us, late);
        if (late > kCancelLimit)
            verdict_.add("deaf", workflow + " was cancelled, and " + what + " in " + std::to_string(pid) +
                                     " " + milliseconds(late) + " later (" + std::to_string(at) + ")");
        return true;
    }

    const History& history_;
    const Timeline& timeline_;
    Verdict& verdict_;
    std::map<int, std::multimap<std::string, Micros>> inside_;  // process → bodies, since when
};

}  // namespace

std::vector<Event> read_events(sql::Connection& server) {
    const auto rows = server.query(
        "SELECT kind, subject, coalesce(actor, ''), verb, coalesce(old_status, ''), coalesce(status, ''),"
        " coalesce(old_owner, ''), coalesce(owner, ''), coalesce(old_executor, ''), coalesce(executor, ''),"
        " coalesce(queue, ''), coalesce(old_outcome, ''), coalesce(outcome, ''), coalesce(pid, 0),"
        " coalesce(expires_at, 0), coalesce(key, ''), coalesce(started_at, 0),"
        " (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint AS at FROM @chaos_history"
        " ORDER BY at, id");
    std::vector<Event> events;
    events.reserve(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const auto text = [&](std::size_t column) { return rows.at(i, column).string(); };
        events.push_back({text(0), text(1), text(2), text(3), text(4), text(5), text(6), text(7), text(8),
                          text(9), text(10), text(11), text(12), static_cast<int>(rows.at(i, 13).integer()),
                          rows.at(i, 14).integer(), text(15), rows.at(i, 16).integer(),
                          rows.at(i, 17).integer()});
    }
    return events;
}

void judge_events(const std::vector<Event>& events, const std::vector<std::string>& side_log,
                  const Timeline& timeline, Verdict& verdict) {
    History history(timeline, verdict);
    for (const Event& event : events) history.add(event);
    history.end();
    Bodies bodies(history, timeline, verdict);
    for (const std::string& line : side_log) bodies.add(line);
    bodies.end();
}

}  // namespace dbos::chaos
