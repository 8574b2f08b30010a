// What a process remembers about the queues that it claims from: where their claimable rows begin, and who was in the way.
//
// No index holds version, owner or name, so rows of others at the head of a queue would be read again by every claim. A
// cursor per queue skips them. It says where a scan starts, never what exists: rows appear behind it (delayed, recovered,
// late-committed, of a higher priority). Three things find those: the tick looks at the first 100 entries of the queue at
// every turn; it looks for the first claimable row from the head again after 50 times the duration of the last such look
// (30 s at most); and whatever changes what is claimable forgets the cursors.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "platform/seam.hpp"
#include "sysdb/records.hpp"

namespace dbos::sysdb {

/// A place in the order of a queue.
struct QueuePosition {
    std::int64_t priority = std::numeric_limits<std::int32_t>::min();
    std::int64_t created_at = std::numeric_limits<std::int64_t>::min();
    friend auto operator<=>(const QueuePosition&, const QueuePosition&) = default;
};

/// Entries that a probe of the tick looks at, at the head and at the cursor.
inline constexpr std::int64_t kProbeEntries = 100;
/// A claim starts at a cursor only if a scan from the head passes that many entries in vain.
inline constexpr std::int64_t kKeepCursorAfter = 1000;

/// Thread-safe.
class ClaimState {
   public:
    /// What decides which rows are claimable here; a change forgets all cursors.
    struct Scope {
        std::string version;
        bool latest = false;
        Text application_name;
        std::vector<std::string> names;
        friend bool operator==(const Scope&, const Scope&) = default;
    };
    void enter(Scope scope);
    /// The definitions of the queues as the tick saw them; a change forgets all cursors.
    void definitions(const std::string& fingerprint);
    void forget(std::span<const std::string> queues);
    void forget_all();

    // --- claims
    /// Where a claim from this queue starts.
    QueuePosition start(const std::string& queue) const;
    /// A claim from `start` took rows at these places; `slow` = it took so long that dead entries are likely in the way.
    void claimed(const std::string& queue, std::span<const QueuePosition> rows, bool slow);
    /// A number that goes round, for whose turn it is when slots are few.
    std::size_t turn();

    // --- the tick
    struct Probe {
        std::string queue;
        QueuePosition from;
        bool head = true;
    };
    std::vector<Probe> probes(std::span<const std::string> queues) const;
    struct Probed {
        std::optional<QueuePosition> hit;  // the first claimable entry of the window
        bool full = false;                 // no hit, and more entries behind the window
        bool spent = false;                // a hit, and as many run as may
    };
    void probed(const Probe& probe, const Probed& seen);
    /// Queues whose windows were full of entries of others, and where a scan from the head is due.
    std::vector<std::string> scans_due(seam::Duration now) const;
    /// A scan from the head found the first claimable row, or else the last entry, at `place`, after `passed` entries.
    void scanned(const std::string& queue, QueuePosition place, std::int64_t passed, seam::Duration took,
                 seam::Duration now);
    /// Whether other living executors share the database (leases seen by the tick).
    void peers(bool present);
    bool peers() const;

    // --- contention on a queue with a shared limit
    /// Whether somebody has been in the way there for a second or longer.
    bool contended_for_long(const std::string& queue, seam::Duration now) const;
    void contended(const std::string& queue, bool is, seam::Duration now);

    /// Whether the last claim there found a limit used up.
    bool spent(const std::string& queue) const;
    void spent(const std::string& queue, bool is);

    // --- partitions
    /// Where the next pass over the partition keys of a queue starts, and whether rows were left behind since the first key.
    struct Walk {
        std::string from;  // the first key, inclusive
        bool left = false;
        std::uint64_t signals = 0;  // of the request that began at the first key
    };
    Walk walk(const std::string& queue) const;
    void walked(const std::string& queue, Walk next);

    // --- pages over PENDING rows
    /// Where the next page of a sweep of this executor starts (created_at).
    Millis sweep_from(const std::string& incarnation) const;
    void swept(const std::string& incarnation, std::optional<Millis> next);
    struct Page {
        Millis created_at = 0;
        std::string workflow_id;
    };
    Page orphan_page() const;
    void orphan_page(Page next);

   private:
    struct Queue {
        std::optional<QueuePosition> scanned;  // what the last scan from the head found; probed by the tick
        std::optional<QueuePosition> cursor;   // where claims start
        std::optional<QueuePosition>
            at_head;             // a claimable row in front of the cursor: where the next claim starts
        bool head_full = false;  // the first entries are not claimable, and there are more
        std::optional<seam::Duration> next_scan;  // boot time
        std::optional<seam::Duration> contended_since;
        bool spent = false;
        Walk walk;
    };
    static void reset(Queue& queue);
    const Queue* find(const std::string& queue) const;

    mutable seam::Mutex mutex_;
    std::optional<Scope> scope_;
    std::string fingerprint_;
    std::map<std::string, Queue> queues_;
    std::map<std::string, Millis> sweeps_;
    Page orphan_page_;
    std::size_t turn_ = 0;
    bool peers_ = false;
};

}  // namespace dbos::sysdb
