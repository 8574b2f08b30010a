// The waiter hub: one thread and one connection serve all waits of a client or application: for results, for the mere end of a
// workflow, for events and for values of streams.
//
// Order everywhere: register, check, then wait; a wake-up that arrives during a check forces another one. Wake-ups (own
// commits, NOTIFY, the wake file) make the common case immediate; each wait is looked at once in its polling interval in any
// case. A check asks for ids and statuses of at most 2 500 waits, in one statement a kind; payloads follow in statements of
// their own. Values of streams are read by who asked for them. Nothing is decoded here.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dbos/future.hpp"
#include "dbos/log.hpp"
#include "platform/seam.hpp"
#include "sysdb/listing.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::client {

struct HubOptions {
    LogSink log = {};
    bool wakeups = true;                  // false: polling only
    bool retry_connection_errors = true;  // false: a lost connection fails all waits
    /// Whether this process runs the workflow now and will deliver() its end: such a wait needs no first look.
    std::function<bool(const std::string& workflow_id)> runs_here = {};
    seam::Duration idle_close =
        std::chrono::seconds(60);  // connections are closed so long after the last wait
};

struct WaitOptions {
    seam::Duration polling_interval = std::chrono::seconds(1);
    std::optional<seam::Duration> timeout = {};
    bool fail_if_missing = false;
    bool seen = false;    // the row is known to have existed
    bool inside = false;  // of a body
};

/// Blocks the calling thread on a slot of its own until the callback that `add` is given has been called, with a T and an error.
/// Returns the one or throws the other.
template <class T, class Add>
T block_until_told(Add add) {
    struct Slot {
        seam::Mutex mutex;
        seam::CondVar changed;
        bool ready = false;
        T value{};
        std::exception_ptr error;
    };
    // Shared: the notifier still holds it when this thread has gone on.
    const auto slot = std::make_shared<Slot>();
    add([slot](T value, std::exception_ptr error) {
        const std::lock_guard<seam::Mutex> lock(slot->mutex);
        slot->value = std::move(value);
        slot->error = std::move(error);
        slot->ready = true;
        slot->changed.notify_one();
    });
    std::unique_lock<seam::Mutex> lock(slot->mutex);
    slot->changed.wait(lock, [&] { return slot->ready; });
    if (slot->error) std::rethrow_exception(slot->error);
    return std::move(slot->value);
}

class WaiterHub {
   public:
    /// Called once: with the row of a workflow that has ended, or with an error: Timeout, NonexistentWorkflow, ClientClosed,
    /// DatabaseError, ConfigError. On the hub's thread (or on that of add() and close() after a close): must only hand over.
    using Done = detail::OnceFunction<void(sysdb::ResultRow row, std::exception_ptr error)>;
    using WaitId = std::uint64_t;
    /// The same; nullopt = no such event in time.
    using EventDone =
        detail::OnceFunction<void(std::optional<sysdb::EventRow> event, std::exception_ptr error)>;
    /// The same; false = nothing at this position in time, true = a value, or the workflow has ended.
    using StreamDone = detail::OnceFunction<void(bool ready, std::exception_ptr error)>;

    /// Opens nothing and starts nothing before the first wait. `database` must outlive the hub.
    WaiterHub(sysdb::SystemDatabase& database, HubOptions options);
    /// close() and join().
    ~WaiterHub();
    WaiterHub(const WaiterHub&) = delete;
    WaiterHub& operator=(const WaiterHub&) = delete;

    WaitId add(std::string workflow_id, const WaitOptions& options, Done done);
    /// Waits for the end alone: the row that `done` is told has an id and a status.
    WaitId add_end(std::string workflow_id, const WaitOptions& options, Done done);
    /// Whether the workflow exists is not asked.
    WaitId add_event(sysdb::EventKey key, const WaitOptions& options, EventDone done);
    /// NonexistentWorkflow at once if there is no such workflow.
    WaitId add_stream(sysdb::StreamPosition position, const WaitOptions& options, StreamDone done);
    /// The wait's Done is destroyed without a call, unless it is being called already.
    void withdraw(WaitId id) noexcept;
    /// Blocks the calling thread on a slot of its own; throws what Done would be told.
    sysdb::ResultRow wait(const std::string& workflow_id, const WaitOptions& options);
    std::optional<sysdb::EventRow> wait_event(const sysdb::EventKey& key, const WaitOptions& options);
    bool wait_stream(const sysdb::StreamPosition& position, const WaitOptions& options);
    /// This process has committed the end of the workflow. Cheap if nobody waits for it. Any thread.
    void notify_ended(const std::string& workflow_id) noexcept;

    /// This process has committed an event or a value of a stream: channel and payload as on the shared channels. Any thread.
    void notify_published(const std::string& channel, const std::string& payload) noexcept;

    /// This process has committed the outcome of a workflow that it ran: its waits end at once, without a query. To be called
    /// after HubOptions::runs_here has become false for it. Any thread.
    void deliver(const sysdb::ResultRow& row) noexcept;

    /// Fails all waits with ClientClosed and stops the thread, without waiting for it.
    void close() noexcept;
    void join() noexcept;

    struct Stats {
        std::size_t waits = 0;
        std::uint64_t checks = 0;    // statements that asked for statuses
        std::uint64_t payloads = 0;  // statements that read payloads
        bool connected = false;
    };
    Stats stats() const;
    /// Whether no wait is being looked at or about to be because of news; `outside` becomes the number of waits that are not of a
    /// body.
    bool at_rest(std::size_t& outside) const;

   private:
    enum class Kind : std::uint8_t { result, end, event, stream };
    /// What a wait is told: what its kind needs of it.
    struct Answer {
        sysdb::ResultRow row = {};
        std::optional<sysdb::EventRow> event = {};
        bool ready = false;
    };
    using Told = detail::OnceFunction<void(Answer answer, std::exception_ptr error)>;
    struct Wait {
        Kind kind = Kind::result;
        std::string workflow_id;
        std::string key;  // event, stream
        std::int64_t offset = 0;
        Told done;
        seam::Duration interval{};
        seam::Duration back_off = std::chrono::seconds(1);
        std::optional<seam::SteadyTime> deadline;
        seam::SteadyTime due{};
        std::optional<seam::SteadyTime> missing_since;
        seam::SteadyTime asked{};  // when the last check of it began
        bool seen = false;
        bool fail_if_missing = false;
        bool inside = false;
        bool woken = false;      // due because of a wake-up
        bool woken_all = false;  // … that named nobody
        /// Channel and payload that announce a change on the shared channels of all SDKs; empty for results and ends.
        std::string payload() const;
    };
    struct Finished {
        Told done;
        Answer answer;
        std::exception_ptr error;
    };
    /// What one check looks at.
    struct Due {
        std::vector<WaitId> waits;
        std::set<std::string> ids;  // results and ends
        std::set<sysdb::EventKey> events;
        std::set<sysdb::StreamPosition> streams;
        bool by_wake = false;
        std::size_t woken_all = 0;
    };
    using Lock = std::unique_lock<seam::Mutex>;

    WaitId add_row_wait(Kind kind, std::string workflow_id, const WaitOptions& options, Done done);
    WaitId add_wait(Wait wait, const WaitOptions& options);
    void run() noexcept;
    void idle(Lock& lock);
    void connect();
    void disconnect(Lock& lock) noexcept;

    // hub_checks.cpp
    void check(Lock& lock);
    Due collect(seam::SteadyTime now);
    /// Whether it may be looked at with those that are due, although its own time comes a little later.
    bool early(const Wait& wait, seam::SteadyTime now) const noexcept;
    void ask(const Due& due, bool& productive);
    void ask_results(const std::vector<std::string>& ids, bool& productive);
    /// Whether all rows that are there have ended.
    bool read_payloads(const std::vector<std::string>& ids, bool& productive);
    /// The payloads of rows that had ended when they were asked for.
    void read_ended(const std::vector<std::string>& ids, bool& productive);
    void ask_events(const std::vector<sysdb::EventKey>& keys, bool& productive);
    void read_events(const std::vector<sysdb::EventKey>& keys, bool& productive);
    void ask_streams(const std::vector<sysdb::StreamPosition>& positions, bool& productive);
    void apply_statuses(const std::vector<std::string>& ids,
                        const std::map<std::string, std::string>& statuses);
    void apply_row(const sysdb::ResultRow& row, std::vector<Finished>& finished);
    /// Ends those of these waits that had their last look.
    void end_overdue(const std::vector<WaitId>& waits);
    void check_failed(Lock& lock, const std::vector<WaitId>& waits, std::exception_ptr error, bool transient,
                      bool connection);
    void fail(const std::vector<WaitId>& waits, bool only_overdue, const std::exception_ptr& error,
              std::vector<Finished>& finished);

    void woken(const sysdb::Wakeups::Event& event) noexcept;
    void make_due(WaitId id, Wait& wait, seam::SteadyTime due);
    Wait take(std::map<WaitId, Wait>::iterator position);
    static void finish(std::vector<Finished>& finished) noexcept;

    sysdb::SystemDatabase& database_;
    const HubOptions options_;
    mutable seam::Mutex mutex_;  // guards what follows, but for what only the hub thread uses
    seam::CondVar changed_;
    std::map<WaitId, Wait> waits_;
    std::map<std::string, std::set<WaitId>> by_id_;
    std::multimap<std::uint32_t, std::string> by_hash_;
    std::map<std::string, std::set<WaitId>> by_payload_;  // channel and payload of events and streams
    std::set<std::pair<seam::SteadyTime, WaitId>> due_;
    WaitId next_id_ = 1;
    bool closed_ = false;
    bool checking_ = false;
    seam::Thread thread_;
    std::unique_ptr<sql::Connection>
        connection_;                      // changed by the hub thread under the lock, used by it without
    seam::SteadyTime pause_until_{};      // after a failed check
    seam::SteadyTime wake_not_before_{};  // pacing of checks that remote wake-ups ask for
    seam::SteadyTime all_not_before_{};   // the same for wake-ups that name nobody
    std::uint64_t checks_ = 0;
    std::uint64_t payloads_ = 0;
    seam::Atomic<std::size_t> waiting_{0};
    // Hub thread only.
    std::unique_ptr<sysdb::Wakeups> wakeups_;
    int failures_ = 0;
};

}  // namespace dbos::client
